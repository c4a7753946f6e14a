//! What the chores need from the system, and how it gets there on Debian and Ubuntu.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::run::{Failure, find, is_root, run};

/// A program and the package that brings it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    program: &'static str,
    package: &'static str,
}

const fn need(program: &'static str, package: &'static str) -> Need {
    Need { program, package }
}

/// To build the workspace.
pub(crate) const BUILD: &[Need] = &[
    need("cc", "gcc"),
    need("protoc", "protobuf-compiler"),
    // The definitions that etcd's own import; the compiler's package does not bring them.
    need("/usr/include/google/protobuf/descriptor.proto", "libprotobuf-dev"),
];
/// To run the demo.
pub(crate) const DEMO: &[Need] =
    &[need("ip", "iproute2"), need("bird", "bird2"), need("gobgpd", "gobgpd"), need("ping", "iputils-ping")];
/// To run the scenarios of the benchmark with the daemon that it always compares with.
pub(crate) const BENCH_QUICK: &[Need] = &[need("ip", "iproute2"), need("bird", "bird2")];
/// The other daemons that it compares with.
pub(crate) const BENCH: &[Need] =
    &[need("/usr/lib/frr/bgpd", "frr"), need("bgpctl", "openbgpd"), need("gobgpd", "gobgpd")];
/// To run the benchmark of the way from etcd.
pub(crate) const ETCD: &[Need] = &[need("ip", "iproute2"), need("etcd", "etcd-server")];
/// To run every test.
pub(crate) const TEST: &[Need] = &[
    need("ip", "iproute2"),
    need("ss", "iproute2"),
    need("bird", "bird2"),
    need("gobgpd", "gobgpd"),
    need("/usr/lib/frr/bgpd", "frr"),
    need("vtysh", "frr"),
    need("bgpctl", "openbgpd"),
    need("exabgp", "exabgp"),
    need("etcd", "etcd-server"),
];
/// To build the fuzzers.
pub(crate) const FUZZ: &[Need] = &[need("c++", "g++")];

impl Need {
    fn is_met(self) -> bool {
        if self.program.starts_with('/') {
            Path::new(self.program).is_file()
        } else {
            find(self.program).is_some()
        }
    }
}

/// Makes sure that everything needed is installed, and does nothing at all if it is.
///
/// Installed daemons are neither started nor enabled: the project starts its own, inside namespaces.
pub(crate) fn ensure(needs: &[&[Need]]) -> Result<(), Failure> {
    let mut packages: Vec<&str> =
        needs.iter().copied().flatten().filter(|need| !need.is_met()).map(|need| need.package).collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    let advice =
        format!("needed packages are missing; install them with:\n\n  sudo apt-get install --yes {list}\n");
    if !is_root() || find("apt-get").is_none() {
        return Err(Failure::usage(advice));
    }
    println!("installing {list}");
    let _guard = NoServices::new();
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(["-o", "DPkg::Lock::Timeout=120", "-qq"]).args(arguments);
        run(command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null()))
    };
    // Old package lists name files that are no longer there; without a network the lists of before may still do.
    let updated = apt(&["update"]);
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(&packages);
    let installed = apt(&arguments).and(updated.or(Ok(())));
    installed.map_err(|failure| Failure::usage(format!("{failure}; {advice}")))?;
    disable_services(&packages);
    Ok(())
}

/// While it lives, package scripts do not start daemons.
struct NoServices {
    is_ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn new() -> NoServices {
        let created = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(POLICY);
        let is_ours = created.is_ok()
            && fs::write(POLICY, "#!/bin/sh\nexit 101\n").is_ok()
            && fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)).is_ok();
        NoServices { is_ours }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}

/// Where systemd would start the new daemons at the next boot, tells it not to.
fn disable_services(packages: &[&str]) {
    if !Path::new("/run/systemd/system").is_dir() {
        return;
    }
    for (package, unit) in [
        ("bird2", "bird"),
        ("gobgpd", "gobgpd"),
        ("frr", "frr"),
        ("openbgpd", "openbgpd"),
        ("exabgp", "exabgp"),
        ("etcd-server", "etcd"),
    ] {
        if packages.contains(&package) {
            let mut command = Command::new("systemctl");
            let _ = command.args(["disable", unit]).stdout(Stdio::null()).stderr(Stdio::null()).status();
            println!("(the service {unit} is installed but disabled)");
        }
    }
}
