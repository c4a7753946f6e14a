//! `cargo xtask`: the project's chores, each one command on a fresh machine.
//!
//! It depends on nothing but the standard library, so that it builds anywhere, at once. What a chore needs from the
//! system, it installs itself where it may ([`apt`]), and otherwise it prints the command that does.

mod apt;
mod bench;
mod ci;
mod demo;
mod fuzz;
mod run;
mod test;

use std::process::ExitCode;

use run::Failure;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo [--check]        six nodes in network namespaces: mesh, live move to a reflector, a killed daemon;
                        --check runs unattended and succeeds only if every step held
  test                  build both daemons and run every test of the workspace
  etcd PROGRAM          run the tests that need etcd, with this one: for other versions than the installed one
  bench [SCENARIO..]    run benchmarks against other daemons; --quick to see that they work, --help for more
  fuzz --seconds N      fuzz every decoder, N seconds in all
  ci                    formatting, clippy, documentation, cargo-deny, test, fuzz corpus

Each command installs the Debian packages it needs when run as root, and otherwise names them.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.split_first() {
        Some((&"demo", rest)) => demo::run(rest),
        Some((&"test", [])) => test::run(),
        Some((&"etcd", [program])) => test::run_with_etcd(program),
        Some((&"bench", rest)) => bench::run(rest),
        Some((&"fuzz", rest)) => fuzz::run(rest),
        Some((&"ci", [])) => ci::run(),
        Some((&("help" | "--help" | "-h"), _)) => {
            println!("{USAGE}");
            Ok(())
        }
        Some((command, rest)) => {
            Err(Failure::usage(format!("cannot do `{command} {}`\n\n{USAGE}", rest.join(" "))))
        }
        None => Err(Failure::usage(USAGE)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit_code)
        }
    }
}
