//! `cargo xtask ci`: what must hold before a change is accepted.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::apt;
use crate::bench;
use crate::fuzz;
use crate::run::{Failure, cargo, find, run as run_command, target};
use crate::test;

/// How long each fuzz target runs.
const FUZZ_SECONDS: u64 = 20;

/// One of the things that must hold.
type Check = fn() -> Result<(), Failure>;

/// Runs every check, also after a failure, so that one run shows all there is to mend.
pub(crate) fn run() -> Result<(), Failure> {
    apt::ensure(&[apt::BUILD, apt::TEST])?;
    let checks: [(&str, Check); 8] = [
        ("formatting", formatting),
        ("clippy", clippy),
        ("documentation", documentation),
        ("dependencies", dependencies),
        ("tests", || test::run_with(true)),
        ("fuzzing", || fuzz::each_for(FUZZ_SECONDS)),
        ("codec benchmark", || bench::run(&["wire", "--quick"])),
        ("daemon benchmark", || bench::run(&["--quick"])),
    ];
    let mut report = Vec::new();
    let mut is_good = true;
    for (name, check) in checks {
        println!("\n##### {name}");
        let start = Instant::now();
        let result = check();
        if let Err(failure) = &result
            && !failure.message.is_empty()
        {
            eprintln!("{failure}");
        }
        is_good &= result.is_ok();
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        report.push(format!("{name:<16} {verdict:<8} {:>5} s", start.elapsed().as_secs()));
    }
    println!("\n##### all checks\n{}", report.join("\n"));
    if is_good { Ok(()) } else { Err(Failure::new("a check failed")) }
}

fn formatting() -> Result<(), Failure> {
    run_command(&mut cargo(["fmt", "--all", "--check"]))?;
    run_command(&mut cargo(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))
}

fn clippy() -> Result<(), Failure> {
    // The whole, and the library as agents embed it: without the daemon, with and without the kernel.
    let selections: [&[&str]; 3] = [
        &["--workspace", "--all-targets"],
        &["--package", "bgp-speaker", "--all-targets", "--no-default-features"],
        &["--package", "bgp-speaker", "--all-targets", "--no-default-features", "--features", "fib"],
    ];
    for selection in selections {
        let mut command = cargo(["clippy", "--locked"]);
        run_command(command.args(selection).args(["--", "--deny", "warnings"]))?;
    }
    Ok(())
}

fn documentation() -> Result<(), Failure> {
    run_command(cargo(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Licences, sources and duplicates always; advisories where their database can be fetched.
fn dependencies() -> Result<(), Failure> {
    let deny = cargo_deny()?;
    let check = |what: &[&str]| {
        let mut command = Command::new(&deny);
        command.args(["--workspace", "check", "--hide-inclusion-graph"]).args(what);
        command.current_dir(crate::run::workspace()).env("CARGO_TARGET_DIR", target());
        command
    };
    run_command(&mut check(&["bans", "licenses", "sources"]))?;
    let output = check(&["advisories"]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| Failure::new(format!("starting cargo-deny: {error}")))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        println!("advisories ok");
    } else if text.contains("failed to fetch advisory database")
        || text.contains("failed to load advisory database")
    {
        println!("advisories not checked: their database cannot be fetched from here");
    } else {
        return Err(Failure::new(text));
    }
    Ok(())
}

/// The cargo-deny that is installed, or a new one in the build folder (two minutes on two cores, once).
fn cargo_deny() -> Result<PathBuf, Failure> {
    let tools = target().join("tools");
    let own = tools.join("bin/cargo-deny");
    if let Some(found) = find("cargo-deny").or_else(|| own.is_file().then(|| own.clone())) {
        return Ok(found);
    }
    println!("installing cargo-deny into {}", tools.display());
    let tools = tools.to_string_lossy().into_owned();
    run_command(&mut cargo([
        "install",
        "--quiet",
        "--locked",
        "cargo-deny",
        "--version",
        "^0.20",
        "--root",
        &tools,
    ]))?;
    Ok(own)
}
