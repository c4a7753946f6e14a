//! What a daemon costs: processor time and memory of all its processes, from the kernel's own books.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// A process and all that descend from it.
#[derive(Clone, Copy, Debug)]
pub struct ProcessTree {
    root: u32,
}

/// Bytes of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The highest resident size that each process ever had, added up.
    pub peak_bytes: u64,
    /// The proportional share now.
    pub settled_bytes: u64,
}

impl ProcessTree {
    /// The tree below a process.
    #[must_use]
    pub fn new(root: u32) -> ProcessTree {
        ProcessTree { root }
    }

    /// Processor time so far, of living processes and of children that ended, in user and kernel mode together.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.members().map(|pid| cpu_of(pid) + ended_children_cpu(pid)).sum()
    }

    /// Memory now.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let mut sum = Memory::default();
        for pid in self.members() {
            sum.peak_bytes += kilobytes(&format!("/proc/{pid}/status"), "VmHWM:") * 1024;
            sum.settled_bytes += kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:") * 1024;
        }
        sum
    }

    /// The process ids, the root first.
    fn members(&self) -> impl Iterator<Item = u32> {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            if let Some(parent) = stat_field(pid, 4) {
                children.entry(u32::try_from(parent).unwrap_or(0)).or_default().push(pid);
            }
        }
        let mut waiting = vec![self.root];
        std::iter::from_fn(move || {
            let pid = waiting.pop()?;
            waiting.extend(children.remove(&pid).unwrap_or_default());
            Some(pid)
        })
    }
}

/// Processor time of this process.
#[must_use]
pub fn own_cpu() -> Duration {
    cpu_of(std::process::id())
}

/// Processor time that everybody on this machine used since it started.
#[must_use]
pub fn machine_cpu() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = text.lines().next().into_iter().flat_map(|line| line.split_whitespace().skip(1));
    let ticks: Vec<u64> = ticks.filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; the guest fields that follow are part of the first two.
    let busy = ticks.iter().enumerate().filter(|(place, _)| ![3, 4].contains(place) && *place < 8);
    from_ticks(busy.map(|(_, ticks)| ticks).sum())
}

fn cpu_of(pid: u32) -> Duration {
    let clock: nix::Result<ClockId> = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()));
    clock.and_then(clock_gettime).map(Duration::from).unwrap_or_default()
}

/// Of children that ended and were waited for.
fn ended_children_cpu(pid: u32) -> Duration {
    from_ticks(stat_field(pid, 16).unwrap_or(0) + stat_field(pid, 17).unwrap_or(0))
}

/// Linux counts in hundredths of a second for every program, whatever its own ticks are.
fn from_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 10)
}

/// A field of `/proc/PID/stat` by its number in proc(5). The name, field 2, may contain anything.
fn stat_field(pid: u32, number: usize) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind_name) = text.rsplit_once(')')?;
    behind_name.split_whitespace().nth(number - 3)?.parse().ok()
}

/// The value of a line such as `Pss:   123 kB`.
fn kilobytes(path: &str, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(key));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::Instant;

    #[test]
    fn a_busy_child_is_counted_while_it_runs() {
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let tree = ProcessTree::new(child.id());
        let deadline = Instant::now() + Duration::from_secs(20);
        while tree.cpu() < Duration::from_millis(50) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let (cpu, memory) = (tree.cpu(), tree.memory());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(cpu >= Duration::from_millis(50), "{cpu:?}");
        assert!(memory.peak_bytes >= memory.settled_bytes && memory.settled_bytes > 0, "{memory:?}");
        assert_eq!(tree.cpu(), Duration::ZERO, "it is gone");
    }
}
