//! `cargo xtask demo`: builds, and hands over to the lab's `demo` program.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::apt;
use crate::run::{self, Failure, cargo, executables, find, is_root};

/// Everything that a user without root needs to have a network of its own.
const ENTER: &str = "mount -t tmpfs tmpfs /run && mkdir /run/netns && exec \"$0\" \"$@\"";

const FORBIDDEN: &str = "\
this needs network namespaces. It is not run by root, and this system does not let others make them. Either

  run it as root:            sudo -E env \"PATH=$PATH\" cargo xtask ...
  or allow it for all users: sudo sysctl -w kernel.unprivileged_userns_clone=1      (Debian, where the key exists)
                             sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0           (Ubuntu)
                             sudo sysctl -w user.max_user_namespaces=10000               (where it is 0)";

/// Builds and runs the demo.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    if !matches!(arguments, [] | ["--check"]) {
        return Err(Failure::usage("usage: cargo xtask demo [--check]"));
    }
    apt::ensure(&[apt::BUILD, apt::DEMO])?;
    let build = [
        "build",
        "--package",
        "bgp-speaker",
        "--package",
        "route-reflector",
        "--package",
        "bgp-lab",
        "--bins",
    ];
    println!("building");
    run::run(&mut cargo(build))?;
    let mut command = in_own_network(&executables().join("demo"))?;
    let error = command.args(arguments).exec();
    Err(Failure::new(format!("starting the demo: {error}")))
}

/// A program that may make network namespaces: as it is for root, in a user namespace of its own for others.
pub(crate) fn in_own_network(program: &Path) -> Result<Command, Failure> {
    if is_root() {
        return Ok(Command::new(program));
    }
    if !can_unshare() {
        return Err(Failure::usage(FORBIDDEN));
    }
    eprintln!("not root: using a user namespace of our own");
    let mut command = Command::new("unshare");
    command.args(["-Urnm", "sh", "-c", ENTER]).arg(program);
    Ok(command)
}

/// Tries it: no setting tells for sure.
fn can_unshare() -> bool {
    let mut command = Command::new("unshare");
    command.args(["-Urnm", "sh", "-c", ENTER, "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    find("unshare").is_some() && command.status().is_ok_and(|status| status.success())
}
