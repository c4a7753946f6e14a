//! What is shown while the benchmark runs: on standard error, one line that changes on a terminal, few lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use bgp_lab::cleanup::is_leaving;

pub(crate) struct Progress {
    is_terminal: bool,
    prefix: String,
    step_start: Instant,
    last_line: Instant,
}

/// Pause between lines where they stay.
const QUIET: Duration = Duration::from_secs(15);

const WIDTH: usize = 118;

impl Progress {
    pub(crate) fn new() -> Progress {
        let now = Instant::now();
        Progress {
            is_terminal: std::io::stderr().is_terminal(),
            prefix: String::new(),
            step_start: now,
            last_line: now,
        }
    }

    /// A line that stays.
    pub(crate) fn line(&self, text: &str) {
        self.print(&format!("{text}\n"));
    }

    /// A run begins.
    pub(crate) fn begin(&mut self, prefix: String) {
        self.prefix = prefix;
        self.step_start = Instant::now();
        self.last_line = self.step_start;
        if self.is_terminal {
            self.print(&self.prefix);
        }
    }

    /// How far the run is.
    pub(crate) fn tick(&mut self, text: &str) {
        let line = format!("{} {:.0} s: {text}", self.prefix, self.step_start.elapsed().as_secs_f64());
        if self.is_terminal {
            self.print(&line.chars().take(WIDTH).collect::<String>());
        } else if self.last_line.elapsed() > QUIET {
            self.last_line = Instant::now();
            self.print(&format!("{line}\n"));
        }
    }

    /// How it ended.
    pub(crate) fn end(&self, text: &str) {
        self.print(&format!("{} {text}\n", self.prefix));
    }

    fn print(&self, text: &str) {
        // After Ctrl-C the terminal belongs to somebody else.
        if !is_leaving() {
            let clear = if self.is_terminal { "\r\x1b[K" } else { "" };
            let mut out = std::io::stderr().lock();
            let _ = write!(out, "{clear}{text}").and_then(|()| out.flush());
        }
    }
}
