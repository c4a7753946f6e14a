//! One network namespace: commands, code and kernel settings inside it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::command::{need_program, output_of, output_with_input};
use crate::error::LabError;

/// A named network namespace. Cheap to clone; the [`Lab`](crate::Lab) that made it deletes it.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace, with loopback up and the settings every lab host needs: forwarding on, no duplicate
    /// address detection (addresses are usable at once), unprivileged ping.
    pub(crate) fn create(name: String) -> Result<Namespace, LabError> {
        let ip = need_program("ip", "iproute2")?;
        output_of(Command::new(ip).args(["netns", "add", &name]))?;
        let namespace = Namespace { name };
        namespace.sysctl("net/ipv6/conf/all/accept_dad", "0")?;
        namespace.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        namespace.sysctl("net/ipv4/ip_forward", "1")?;
        namespace.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        namespace.sysctl("net/ipv4/ping_group_range", "0 0")?;
        namespace.ip("link set dev lo up")?;
        Ok(namespace)
    }

    /// The name, as `ip netns` shows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for the namespace.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Runs code inside the namespace, on a thread of its own: sockets it opens and processes it starts belong there.
    ///
    /// # Errors
    /// If the namespace cannot be entered.
    ///
    /// # Panics
    /// If `work` panics.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let file = fs::File::open(self.path()).map_err(LabError::io(format!("opening {}", self.name)))?;
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET).map_err(|errno| LabError::Io {
                    doing: "entering a namespace".into(),
                    source: errno.into(),
                })?;
                Ok(work())
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a command to its end inside the namespace and returns what it printed.
    ///
    /// # Errors
    /// As [`output_of`].
    pub fn output(&self, command: &mut Command) -> Result<String, LabError> {
        self.run(|| output_of(command))?
    }

    /// Feeds lines to `ip -batch`: one process for many changes.
    ///
    /// # Errors
    /// If one of the lines is refused; those after it are not tried.
    pub fn ip(&self, script: &str) -> Result<(), LabError> {
        let ip = need_program("ip", "iproute2")?;
        let script: String = script.lines().map(|line| format!("{}\n", line.trim())).collect();
        output_with_input(Command::new(ip).args(["-n", &self.name, "-batch", "-"]), &script).map(drop)
    }

    /// Asks `ip` something: `ip -n NAME ARGUMENTS`.
    ///
    /// # Errors
    /// As [`output_of`].
    pub fn ip_show(&self, arguments: &str) -> Result<String, LabError> {
        let ip = need_program("ip", "iproute2")?;
        output_of(Command::new(ip).args(["-n", &self.name]).args(arguments.split_whitespace()))
    }

    /// Writes one `/proc/sys` value; the key is written with slashes.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), LabError> {
        self.run(|| {
            fs::write(format!("/proc/sys/{key}"), value).map_err(LabError::io(format!("setting {key}")))
        })?
    }

    /// Breaks every TCP connection to `remote` with a reset, as a crashed middlebox would.
    ///
    /// # Errors
    /// [`LabError::Missing`] if the kernel cannot do it.
    pub fn reset_tcp(&self, remote: std::net::IpAddr) -> Result<(), LabError> {
        let ss = need_program("ss", "iproute2")?;
        let remote = remote.to_string();
        let killed =
            self.output(Command::new(&ss).args(["-K", "-Htn", "state", "established", "dst", &remote]))?;
        if killed.trim().is_empty() {
            return Err(LabError::Missing {
                what: format!("a connection to {remote} that the kernel can reset"),
                remedy: "use a kernel with CONFIG_INET_DIAG_DESTROY".into(),
            });
        }
        Ok(())
    }
}
