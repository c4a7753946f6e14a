//! A long-running process inside a namespace, with its log in a file.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::cleanup;
use crate::error::LabError;
use crate::netns::Namespace;
use crate::wait::wait_until;

/// A running (or ended) child with its own process group. Dropping it kills the group.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts a command inside the namespace; both output streams are appended to the log.
    ///
    /// # Errors
    /// If the program cannot be started or the log not be written.
    pub fn spawn(
        namespace: &Namespace,
        name: &str,
        log: &Path,
        mut command: Command,
    ) -> Result<Process, LabError> {
        let file = fs::OpenOptions::new().create(true).append(true).open(log);
        let file = file.map_err(LabError::io(format!("opening {}", log.display())))?;
        let errors = file.try_clone().map_err(LabError::io("duplicating a log file"))?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors).process_group(0);
        let child =
            namespace.run(move || command.spawn())?.map_err(LabError::io(format!("starting {name}")))?;
        cleanup::register_group(child.id());
        Ok(Process { name: name.to_owned(), child, log: log.to_owned(), status: None })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, or nothing while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Fails with the end of the log if the process has ended by itself.
    ///
    /// # Errors
    /// [`LabError::Unexpected`] if it no longer runs.
    pub fn must_run(&mut self) -> Result<(), LabError> {
        match self.ended() {
            None => Ok(()),
            Some(status) => Err(LabError::Unexpected {
                what: self.name.clone(),
                expected: "a running process".into(),
                seen: format!("{status}, with these last words:\n{}", log_tail(&self.log, 12)),
            }),
        }
    }

    /// Waits until `probe` succeeds, like [`wait_until`], but gives up at once when the process ends.
    ///
    /// # Errors
    /// [`LabError::Unexpected`] with its last words if it ended, [`LabError::Timeout`] if it does not get ready.
    pub fn wait_ready<T, S: ToString>(
        &mut self,
        what: &str,
        limit: Duration,
        mut probe: impl FnMut() -> Result<T, S>,
    ) -> Result<T, LabError> {
        wait_until(what, limit, || match self.must_run() {
            Ok(()) => probe().map(Ok).map_err(|seen| seen.to_string()),
            Err(ended) => Ok(Err(ended)),
        })?
    }

    /// Sends a signal to the process (not to its group).
    pub fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            let _ = kill(Pid::from_raw(self.child.id().cast_signed()), signal);
        }
    }

    /// Waits for the end, for at most `limit`.
    pub fn wait_end(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        while self.ended().is_none() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        self.status
    }

    /// Asks it to end (SIGTERM), waits up to five seconds, then kills it.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        self.wait_end(Duration::from_secs(5));
        self.kill();
    }

    /// Kills it and its children at once, as a crash would.
    pub fn kill(&mut self) {
        let group = Pid::from_raw(self.child.id().cast_signed());
        let _ = killpg(group, Signal::SIGKILL);
        if self.status.is_none() {
            self.status = self.child.wait().ok();
        }
        cleanup::forget_group(self.child.id());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last lines of a log file.
#[must_use]
pub fn log_tail(log: &Path, count: usize) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(count)..];
    tail.iter().map(|line| format!("    {line}\n")).collect()
}
