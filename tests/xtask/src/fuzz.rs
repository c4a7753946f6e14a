//! `cargo xtask fuzz`: every fuzz target for its share of the time, coverage-guided, on stable Rust.
//!
//! The compiler flags are those of cargo-fuzz without the sanitizers, which need nightly and find little in code that
//! has no `unsafe`.

use std::fs;
use std::path::PathBuf;

use crate::apt;
use crate::run::{Failure, cargo, run as run_command, target, workspace};

const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1";

/// Longer inputs than the longest ordinary message say nothing new.
const INPUT_LENGTH_MAX: &str = "-max_len=4200";

/// Parses `--seconds N` and fuzzes.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    let seconds: u64 = match arguments {
        ["--seconds", count] => count.parse().ok(),
        _ => None,
    }
    .ok_or_else(|| Failure::usage("usage: cargo xtask fuzz --seconds N"))?;
    apt::ensure(&[apt::BUILD, apt::FUZZ])?;
    let targets = targets()?;
    let folder = target().join("fuzz");
    let mut build =
        cargo(["build", "--manifest-path", "fuzz/Cargo.toml", "--release", "--features", "libfuzzer"]);
    // With an explicit platform the flags do not reach build scripts.
    let platform = platform()?;
    build.args(["--bins", "--target", &platform]);
    run_command(build.env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &folder))?;

    let share = (seconds / targets.len() as u64).max(1);
    for name in &targets {
        println!("\n=== {name}, {share} s");
        let found = folder.join("corpus").join(name);
        let artifacts = workspace().join("fuzz/artifacts").join(name);
        for path in [&found, &artifacts] {
            fs::create_dir_all(path)
                .map_err(|error| Failure::new(format!("making {}: {error}", path.display())))?;
        }
        let mut fuzzer = std::process::Command::new(folder.join(&platform).join("release").join(name));
        fuzzer.arg(format!("-max_total_time={share}")).args([
            INPUT_LENGTH_MAX,
            "-rss_limit_mb=1024",
            "-timeout=10",
        ]);
        fuzzer.arg(format!("-artifact_prefix={}/", artifacts.display()));
        // libFuzzer keeps what it finds in the first folder and only reads the second.
        fuzzer.args(["-verbosity=0", "-print_final_stats=1"]).arg(&found);
        fuzzer.arg(workspace().join("fuzz/corpus").join(name));
        run_command(&mut fuzzer).map_err(|_| {
            Failure::new(format!(
                "{name} failed; the input is in {}. Add it to fuzz/corpus/{name}/ and `cargo test` replays it",
                artifacts.display()
            ))
        })?;
    }
    println!("\n{} targets, {share} s each, nothing found", targets.len());
    Ok(())
}

/// The names of the fuzz targets.
fn targets() -> Result<Vec<String>, Failure> {
    let folder: PathBuf = workspace().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).map_err(|_| Failure::usage("there are no fuzz targets yet"))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    if names.is_empty() { Err(Failure::usage("there are no fuzz targets yet")) } else { Ok(names) }
}

/// The platform that rustc builds for.
fn platform() -> Result<String, Failure> {
    let output = std::process::Command::new("rustc").arg("-vV").output();
    let text =
        output.map_err(|error| Failure::new(format!("asking rustc for its platform: {error}")))?.stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure::new("rustc does not tell its platform"))
}
