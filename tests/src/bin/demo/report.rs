//! What the demo prints: sections, times, aligned lines of at most 100 columns; colour only on a terminal.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Instant;

/// The narrator.
pub(crate) struct Report {
    start: Instant,
    has_colour: bool,
    step: usize,
    title: String,
}

const WIDTH: usize = 96;

impl Report {
    pub(crate) fn new() -> Report {
        let has_colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Report { start: Instant::now(), has_colour, step: 0, title: String::new() }
    }

    /// Begins a step.
    pub(crate) fn section(&mut self, title: &str, explanation: &str) {
        self.step += 1;
        title.clone_into(&mut self.title);
        let head = format!("{}. {title} ", self.step);
        let rule = "─".repeat(WIDTH.saturating_sub(head.chars().count()));
        self.print(&format!("\n{}{}", self.bold(&head), self.dim(&rule)));
        if !explanation.is_empty() {
            self.print(&self.dim(explanation));
        }
    }

    /// Something happened.
    pub(crate) fn event(&self, text: impl Display) {
        self.print(&format!("{} {text}", self.dim(&format!("{:7.2} s", self.start.elapsed().as_secs_f64()))));
    }

    /// Something that had to hold, holds.
    pub(crate) fn held(&self, text: impl Display) {
        let mark = self.paint("32", "ok");
        self.print(&format!(
            "{} {mark} {text}",
            self.dim(&format!("{:7.2} s", self.start.elapsed().as_secs_f64()))
        ));
    }

    /// A line without a time.
    pub(crate) fn line(&self, text: impl Display) {
        self.print(&format!("          {text}"));
    }

    /// A command to try.
    pub(crate) fn hint(&self, command: impl Display) {
        self.print(&format!("  {command}"));
    }

    /// A heading inside a section.
    pub(crate) fn heading(&self, text: &str) {
        self.print(&format!("          {}", self.bold(text)));
    }

    /// The step that runs now, for the message of a failure.
    pub(crate) fn current_step(&self) -> String {
        format!("step {}, \"{}\"", self.step, self.title)
    }

    /// Seconds since the beginning.
    pub(crate) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Something went wrong.
    pub(crate) fn failure(&self, text: &str) {
        self.print(&format!("\n{} {text}", self.paint("31", "FAILED")));
    }

    fn print(&self, text: &str) {
        // After Ctrl-C the terminal belongs to somebody else; a closed pipe is no reason to stop either.
        if !bgp_lab::cleanup::is_leaving() {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(format!("{text}\n").as_bytes()).and_then(|()| out.flush());
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.has_colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }
}
