//! Standard output: JSON, or text; a reader that stops reading is not an error.

use super::Failure;
use crate::daemon::advice::io_text;
use serde::Serialize;
use std::io::{ErrorKind, Write};

/// Prints a text that has its line ends.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::Failed(format!("cannot write to standard output: {}", io_text(&error)))),
    }
}

/// Prints a value for programs.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::Failed(format!("cannot write the answer as JSON: {error}")))?;
    text.push('\n');
    print(&text)
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
