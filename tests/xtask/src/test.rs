//! `cargo xtask test`: every test of the workspace, with an honest count.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use crate::apt;
use crate::run::{Failure, cargo, find, is_root, name_of, run as run_command, target};

/// How many tests ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// Tests that mostly wait for daemons may run beside each other, also on two cores.
const THREADS: &str = "6";

/// Builds both daemons and runs everything.
pub(crate) fn run() -> Result<(), Failure> {
    apt::ensure(&[apt::BUILD, apt::TEST])?;
    run_with(false)
}

/// Runs the tests that need etcd, with this one. Each of them must pass: a skipped one would say nothing about it.
pub(crate) fn run_with_etcd(program: &str) -> Result<(), Failure> {
    let program = std::path::absolute(program)
        .ok()
        .filter(|path| path.is_file())
        .ok_or_else(|| Failure::usage(format!("{program} is no file; name the program of an etcd")))?;
    apt::ensure(&[apt::BUILD, apt::TEST])?;
    run_command(Command::new(&program).arg("--version"))?;
    run_command(&mut cargo(["build", "--workspace", "--bins"]))?;
    let runs: [&[&str]; 3] = [
        &["--package", "bgp-speaker", "--lib", "cluster::etcd"],
        &["--package", "bgp-speaker", "--test", "datastore"],
        &["--package", "bgp-lab", "--test", "calico_*"],
    ];
    for arguments in runs {
        let mut command = cargo(["test", "--no-fail-fast"]);
        command.args(arguments).env("BGP_LAB_ETCD", &program).env("BGP_LAB_REQUIRE", "1");
        println!("\n=== {}", name_of(&command));
        run_command(&mut command)?;
    }
    Ok(())
}

/// Every test, with what is installed already; `--locked` where the lock file must not change.
pub(crate) fn run_with(is_locked: bool) -> Result<(), Failure> {
    let start = Instant::now();
    if !is_root() {
        println!(
            "not root: tests that need network namespaces will be skipped (run it as root for all of them)"
        );
    }
    let locked: &[&str] = if is_locked { &["--locked"] } else { &[] };
    run_command(cargo(["build", "--workspace", "--bins"]).args(locked))?;

    let skips = target().join(format!("skipped-tests-{}", std::process::id()));
    let _ = fs::remove_file(&skips);
    let mut runs = Vec::new();
    if find("cargo-nextest").is_some() {
        let nextest =
            ["nextest", "run", "--workspace", "--config-file", "tests/nextest.toml", "--color", "never"];
        runs.push(cargo(nextest));
        runs.push(cargo(["test", "--workspace", "--doc", "--no-fail-fast"]));
    } else {
        runs.push(cargo(["test", "--workspace", "--no-fail-fast"]));
    }
    runs.push(cargo(["test", "--manifest-path", "fuzz/Cargo.toml"]));

    let mut counts = Counts::default();
    let mut broken = Vec::new();
    for mut command in runs {
        command.args(locked).env("BGP_LAB_SKIPS", &skips).env("RUST_TEST_THREADS", THREADS);
        if env::var_os("CI").is_some_and(|value| !value.is_empty()) {
            command.env("BGP_LAB_REQUIRE", "1");
        }
        println!("\n=== {}", name_of(&command));
        let (is_success, seen) = counted(&mut command)?;
        if !is_success && seen.failed == 0 {
            // It did not compile, or a test took the process down.
            broken.push(name_of(&command));
        }
        counts = Counts {
            passed: counts.passed + seen.passed,
            failed: counts.failed + seen.failed,
            skipped: counts.skipped + seen.skipped,
        };
    }

    let reasons = fs::read_to_string(&skips).unwrap_or_default();
    let _ = fs::remove_file(&skips);
    // A skipped lab test looks like a passed one to the test runner.
    let lab_skips = reasons.lines().count().min(counts.passed);
    counts.passed -= lab_skips;
    counts.skipped += lab_skips;
    println!("\n=== summary after {} s", start.elapsed().as_secs());
    reasons.lines().for_each(|reason| println!("skipped: {reason}"));
    broken.iter().for_each(|command| println!("failed as a whole: {command}"));
    counts.failed += broken.len();
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    if counts.failed == 0 { Ok(()) } else { Err(Failure::new("")) }
}

/// Runs a test command, passes its output on as it comes, and counts.
fn counted(command: &mut Command) -> Result<(bool, Counts), Failure> {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child =
        spawned.map_err(|error| Failure::new(format!("starting {}: {error}", name_of(command))))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let counts = thread::scope(|scope| {
        let of_errors =
            scope.spawn(move || stderr.map_or(Counts::default(), |pipe| pass_on(pipe, std::io::stderr())));
        let of_output = stdout.map_or(Counts::default(), |pipe| pass_on(pipe, std::io::stdout()));
        let of_errors = of_errors.join().unwrap_or_default();
        Counts {
            passed: of_output.passed + of_errors.passed,
            failed: of_output.failed + of_errors.failed,
            skipped: of_output.skipped + of_errors.skipped,
        }
    });
    let status =
        child.wait().map_err(|error| Failure::new(format!("waiting for {}: {error}", name_of(command))))?;
    Ok((status.success(), counts))
}

fn pass_on(pipe: impl Read, mut to: impl Write) -> Counts {
    let mut counts = Counts::default();
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let _ = to.write_all(&line);
        if let Some(more) = summary(&String::from_utf8_lossy(&line)) {
            counts.passed += more.passed;
            counts.failed += more.failed;
            counts.skipped += more.skipped;
        }
        line.clear();
    }
    counts
}

/// Reads the summary line of libtest (`test result: ok. 3 passed; 0 failed; 1 ignored; ..`) or of nextest
/// (`Summary [   1.2s] 4 tests run: 3 passed, 1 failed, 2 skipped`).
fn summary(line: &str) -> Option<Counts> {
    // Indented, a `test result:` is part of what a failed test printed.
    if !line.starts_with("test result:") && !line.trim_start().starts_with("Summary [") {
        return None;
    }
    let words: Vec<&str> = line.split(|c: char| c.is_whitespace() || ",;:()".contains(c)).collect();
    let before = |name: &str| -> usize {
        let number = |pair: &[&str]| (pair[1] == name).then(|| pair[0].parse::<usize>().ok()).flatten();
        words.windows(2).filter_map(number).sum()
    };
    let timed_out = line.split("timed out").count() - 1;
    Some(Counts {
        passed: before("passed"),
        failed: before("failed").max(timed_out.min(1)),
        skipped: before("ignored") + before("skipped"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_both_runners_are_read() {
        let libtest = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 9 filtered out; finished in 48.60s";
        assert_eq!(summary(libtest), Some(Counts { passed: 12, failed: 3, skipped: 1 }));
        let nextest = "     Summary [  20.700s] 16 tests run: 15 passed (2 slow), 1 failed, 4 skipped";
        assert_eq!(summary(nextest), Some(Counts { passed: 15, failed: 1, skipped: 4 }));
        assert_eq!(summary("running 15 tests"), None);
    }
}
