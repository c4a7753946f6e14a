//! `cargo xtask fuzz`: every fuzz target for its share of the time, coverage-guided, on stable Rust.
//!
//! The compiler flags are those of cargo-fuzz without the sanitizers, which need nightly and find little in code that
//! has no `unsafe`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

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
    run_for(seconds)
}

/// Every target for this long, as many beside each other as there are processors.
pub(crate) fn each_for(seconds: u64) -> Result<(), Failure> {
    let workers = thread::available_parallelism().map_or(1, usize::from) as u64;
    run_for((seconds * targets()?.len() as u64).div_ceil(workers))
}

/// All targets within this time, building not counted.
fn run_for(seconds: u64) -> Result<(), Failure> {
    apt::ensure(&[apt::BUILD, apt::FUZZ])?;
    let targets = targets()?;
    let folder = target().join("fuzz");
    let mut build =
        cargo(["build", "--manifest-path", "fuzz/Cargo.toml", "--release", "--features", "libfuzzer"]);
    // With an explicit platform the flags do not reach build scripts.
    let platform = platform()?;
    build.args(["--bins", "--target", &platform]);
    run_command(build.env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &folder))?;

    let workers = thread::available_parallelism().map_or(1, usize::from).min(targets.len());
    let share = (seconds * workers as u64 / targets.len() as u64).max(1);
    println!("{} targets, {share} s each, {workers} at a time", targets.len());
    let queue = Mutex::new(targets.iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let binaries = folder.join(&platform).join("release");
    let work = || -> Result<(), Failure> {
        while let Some(name) = next() {
            fuzz(name, &binaries, &folder, share)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(Failure::new("a worker of the fuzzing panicked")))
        })
    })?;
    println!("\n{} targets, {share} s each, nothing found", targets.len());
    Ok(())
}

/// Fuzzes one target and prints what came of it in one piece, since others run beside it.
fn fuzz(name: &str, binaries: &Path, folder: &Path, seconds: u64) -> Result<(), Failure> {
    let found = folder.join("corpus").join(name);
    let artifacts = workspace().join("fuzz/artifacts").join(name);
    for path in [&found, &artifacts] {
        fs::create_dir_all(path)
            .map_err(|error| Failure::new(format!("making {}: {error}", path.display())))?;
    }
    let mut fuzzer = Command::new(binaries.join(name));
    fuzzer.arg(format!("-max_total_time={seconds}"));
    fuzzer.args([INPUT_LENGTH_MAX, "-rss_limit_mb=1024", "-timeout=10", "-print_final_stats=1"]);
    fuzzer.arg(format!("-artifact_prefix={}/", artifacts.display()));
    // libFuzzer keeps what it finds in the first folder and only reads the second.
    fuzzer.arg(&found).arg(workspace().join("fuzz/corpus").join(name));
    let output = fuzzer.stdin(Stdio::null()).output();
    let output = output.map_err(|error| Failure::new(format!("starting {name}: {error}")))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(Failure::new(format!(
            "{text}\n{name} failed; the input is in {}. Add it to fuzz/corpus/{name}/ and `cargo test` replays it",
            artifacts.display()
        )));
    }
    println!("{name:<16} {}", summary(&text));
    Ok(())
}

/// Executions and coverage, from libFuzzer's own report.
fn summary(report: &str) -> String {
    let last = |mark: &str| {
        let after = report.rsplit_once(mark).map_or("", |(_, after)| after);
        after.split_whitespace().next().unwrap_or("?").to_owned()
    };
    let executions = last("stat::number_of_executed_units:");
    format!("{executions:>10} executions, {:>6} edges, {:>6} features covered", last(" cov: "), last(" ft: "))
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
    let output = Command::new("rustc").arg("-vV").output();
    let text =
        output.map_err(|error| Failure::new(format!("asking rustc for its platform: {error}")))?.stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure::new("rustc does not tell its platform"))
}
