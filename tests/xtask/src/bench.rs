//! `cargo xtask bench`: the benchmarks that exist, by the name of their file in a package's `benches/`.

use std::fs;
use std::path::Path;

use crate::apt;
use crate::run::{Failure, cargo, run as run_command, workspace};

/// One benchmark: package and name.
type Bench = (String, String);

/// Runs the named scenarios, or all.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    let is_quick = arguments.contains(&"--quick");
    let (options, names): (Vec<&str>, Vec<&str>) =
        arguments.iter().copied().filter(|word| *word != "--quick").partition(|word| word.starts_with('-'));
    if !options.is_empty() {
        return Err(Failure::usage(format!(
            "usage: cargo xtask bench [SCENARIO..] [--quick]; not {}",
            options.join(" ")
        )));
    }
    let known = benches();
    let unknown: Vec<&str> =
        names.iter().copied().filter(|name| !known.iter().any(|(_, known)| known == name)).collect();
    if !unknown.is_empty() || known.is_empty() {
        let list: Vec<&str> = known.iter().map(|(_, name)| name.as_str()).collect();
        let known = if list.is_empty() {
            "there is none yet".into()
        } else {
            format!("there are: {}", list.join(", "))
        };
        let wanted =
            if unknown.is_empty() { String::new() } else { format!(" named {}", unknown.join(" or ")) };
        return Err(Failure::usage(format!("no benchmark{wanted}; {known}")));
    }
    apt::ensure(&[apt::BUILD])?;
    for (package, name) in known.iter().filter(|(_, name)| names.is_empty() || names.contains(&name.as_str()))
    {
        let mut command = cargo(["bench", "--package", package, "--bench", name]);
        if is_quick {
            command.args(["--", "--quick"]);
        }
        run_command(&mut command)?;
    }
    Ok(())
}

fn benches() -> Vec<Bench> {
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut found = Vec::new();
    for package in names(&workspace()) {
        for file in names(&package.join("benches")) {
            let (Some(package), Some(stem)) = (package.file_name(), file.file_stem()) else { continue };
            if file.extension().is_some_and(|extension| extension == "rs") {
                found.push((package.to_string_lossy().into_owned(), stem.to_string_lossy().into_owned()));
            }
        }
    }
    found.sort();
    found
}
