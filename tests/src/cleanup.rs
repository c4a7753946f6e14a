//! Nothing is left behind: not after success, a panic, Ctrl-C, or a killed earlier run.
//!
//! Every namespace and every process group is registered here from its birth. A [`Lab`](crate::Lab) that is dropped
//! (also while a panic unwinds) clears its own; SIGINT, SIGTERM and SIGHUP clear everything and end the process; and
//! the first lab of a process sweeps what belongs to processes that are no longer alive.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::command::find_program;

/// What every namespace name and log folder starts with, before the process id.
pub(crate) const PREFIX: &str = "lab-";

/// Namespaces by name, process groups by their leader, and folders of logs.
struct Registry {
    namespaces: BTreeSet<String>,
    groups: BTreeSet<i32>,
    folders: BTreeSet<PathBuf>,
    leaving: Option<i32>,
}

impl Registry {
    const fn new(leaving: Option<i32>) -> Registry {
        Registry { namespaces: BTreeSet::new(), groups: BTreeSet::new(), folders: BTreeSet::new(), leaving }
    }
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry::new(None));
static PREPARE: Once = Once::new();

fn registry() -> MutexGuard<'static, Registry> {
    // The sets stay meaningful whatever panicked while holding the lock.
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Installs the signal handlers and sweeps leftovers, once per process.
pub(crate) fn prepare() {
    PREPARE.call_once(|| {
        if let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) {
            thread::spawn(move || {
                if let Some(signal) = signals.forever().next() {
                    leave(signal);
                }
            });
        }
        sweep();
    });
}

/// Clears everything of this process and exits as one that a signal ended.
fn leave(signal: i32) {
    let all = std::mem::replace(&mut *registry(), Registry::new(Some(signal)));
    for group in all.groups {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    for namespace in all.namespaces {
        delete_namespace(&namespace);
    }
    for folder in all.folders {
        let _ = fs::remove_dir_all(folder);
    }
    std::process::exit(128 + signal);
}

/// True once a signal asked this process to end: loops that print or wait should stop talking.
#[must_use]
pub fn is_leaving() -> bool {
    registry().leaving.is_some()
}

pub(crate) fn register_namespace(name: &str) {
    registry().namespaces.insert(name.to_owned());
}

/// A folder that goes when a signal ends this process.
pub(crate) fn register_folder(path: &Path) {
    registry().folders.insert(path.to_owned());
}

pub(crate) fn forget_folder(path: &Path) {
    registry().folders.remove(path);
}

pub(crate) fn register_group(pid: u32) {
    registry().groups.insert(pid.cast_signed());
}

pub(crate) fn forget_group(pid: u32) {
    registry().groups.remove(&pid.cast_signed());
}

/// Deletes a namespace and ends whatever still runs inside it.
pub(crate) fn remove_namespace(name: &str) {
    if registry().namespaces.remove(name) {
        delete_namespace(name);
    }
}

fn delete_namespace(name: &str) {
    let Some(ip) = find_program("ip") else { return };
    let pids = Command::new(&ip).args(["netns", "pids", name]).output();
    let pids = pids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()) {
        // A thread of ours that is inside for a moment must not end us.
        if pid.cast_unsigned() != std::process::id() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        let deleted = Command::new(&ip).args(["netns", "del", name]).output();
        if deleted.is_ok_and(|output| output.status.success()) || !Path::new("/run/netns").join(name).exists()
        {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Clears namespaces of processes that died without doing so (SIGKILL, power), and their logs after a day.
fn sweep() {
    for name in names_in(Path::new("/run/netns")) {
        if owner_of(&name).is_some_and(|pid| !is_alive(pid)) {
            delete_namespace(&name);
        }
    }
    let folder = std::env::temp_dir();
    for name in names_in(&folder) {
        let path = folder.join(&name);
        let age = fs::metadata(&path)
            .and_then(|data| data.modified())
            .map(|time| SystemTime::now().duration_since(time));
        let is_old = matches!(age, Ok(Ok(age)) if age > Duration::from_secs(24 * 3600));
        if is_old && owner_of(&name).is_some_and(|pid| !is_alive(pid)) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The process id inside `lab-PID-NAME` or `lab-PID.N-NAME`.
fn owner_of(name: &str) -> Option<u32> {
    let (owner, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
    owner.split('.').next()?.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_owner() {
        assert_eq!(owner_of("lab-4711-node-a"), Some(4711));
        assert_eq!(owner_of("lab-4711.3-node-a"), Some(4711));
        assert_eq!(owner_of("lab-x-node-a"), None);
        assert_eq!(owner_of("someone-elses-4711"), None);
    }
}
