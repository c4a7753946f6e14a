//! `cargo xtask bench`: the scenarios of the lab's program `bench`, and the benchmarks of single parts, by the name of their
//! file in a package's `benches/`.

use std::fs;
use std::path::Path;

use crate::apt;
use crate::demo::in_own_network;
use crate::run::{Failure, cargo, run as run_command, target, workspace};

/// One benchmark: the folder of its package, and its name.
type Bench = (String, String);

/// The benchmarks that start the speaker's release build: of the way into the kernel, and of the way from etcd.
const WITH_SPEAKER: [&str; 2] = ["fib", "cluster"];
/// The one that starts etcd.
const WITH_ETCD: &str = "cluster";

/// What is built for `--quick`, which measures nothing.
const QUICK_PROFILE: &str = "quick";

/// Runs the scenarios of the program `bench` (all, or those named), and the named benchmarks of `benches/` folders, such
/// as `fib`.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    let known = benches();
    let (names, rest): (Vec<&str>, Vec<&str>) =
        arguments.iter().copied().partition(|word| known.iter().any(|(_, name)| name == word));
    let (flags, words): (Vec<&str>, Vec<&str>) =
        rest.iter().copied().partition(|word| ["--quick", "--json"].contains(word));
    if names.is_empty() && words.iter().any(|word| ["-h", "--help"].contains(word)) {
        let list: Vec<&str> = known.iter().map(|(_, name)| name.as_str()).collect();
        println!("besides the scenarios there are, by name: {}", list.join(", "));
    }
    if !names.is_empty() {
        apt::ensure(&[apt::BUILD])?;
    }
    for (package, name) in known.iter().filter(|(_, name)| names.contains(&name.as_str())) {
        if name == WITH_ETCD {
            apt::ensure(&[apt::ETCD])?;
        }
        if WITH_SPEAKER.contains(&name.as_str()) {
            run_command(&mut cargo(["build", "--release", "--package", "bgp-speaker"]))?;
        }
        let manifest = workspace().join(package).join("Cargo.toml");
        let mut command = cargo(["bench", "--bench", name, "--manifest-path"]);
        // The lab has its daemons log everything unless told otherwise, which takes its time.
        command.arg(manifest).env("RUST_LOG", "info");
        // Those that start the release build are built alike.
        if flags.contains(&"--quick") && !WITH_SPEAKER.contains(&name.as_str()) {
            command.args(["--profile", QUICK_PROFILE]);
        }
        if !flags.is_empty() {
            command.arg("--").args(&flags);
        }
        run_command(&mut command)?;
    }
    if names.is_empty() || !words.is_empty() { run_scenarios(&rest) } else { Ok(()) }
}

/// Builds the daemons and the program with optimization, and hands over.
fn run_scenarios(arguments: &[&str]) -> Result<(), Failure> {
    let is_quick = arguments.contains(&"--quick");
    let others = if is_quick { &[] } else { apt::BENCH };
    let profile = if is_quick { QUICK_PROFILE } else { "release" };
    apt::ensure(&[apt::BUILD, apt::BENCH_QUICK, others])?;
    eprintln!("building");
    let mut build = cargo(["build", "--profile", profile, "--bins"]);
    build.args(["--package", "route-reflector", "--package", "bgp-speaker", "--package", "bgp-lab"]);
    run_command(&mut build)?;
    // It comes back here, since checks may follow it.
    run_command(in_own_network(&target().join(profile).join("bench"))?.args(arguments))
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
