//! Standard output: JSON, or text; a reader that stops reading is not an error.

use super::Failure;
use crate::daemon::advice::io_text;
use serde::Serialize;
use std::io::{ErrorKind, Write};

/// Prints a text that has its line ends.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    print_open(text).map(drop)
}

/// Prints a text, and says whether somebody still reads.
pub(super) fn print_open(text: &str) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::Failed(format!("cannot write to standard output: {}", io_text(&error)))),
    }
}

/// Prints a value for programs.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&json_text(value)?)
}

/// A value for programs, with its line end.
pub(super) fn json_text(value: &impl Serialize) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::Failed(format!("cannot write the answer as JSON: {error}")))?;
    text.push('\n');
    Ok(text)
}

/// One line per fact, names in a column of their own. Facts without a value are left out.
pub(super) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
    let mut text = String::new();
    for (name, value) in facts {
        if let Some(value) = value {
            text.push_str(&format!("{name:<17}{value}\n"));
        }
    }
    text
}
