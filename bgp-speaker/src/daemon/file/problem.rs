//! What is wrong with a configuration file, and where.

use std::fmt;
use std::path::PathBuf;

/// One mistake: its place, its key, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Problem {
    /// The file as the user named it.
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    /// Path of the key, such as `neighbors[2].remote_as`; empty for a syntax error.
    pub(crate) key: String,
    /// What is wrong, and what would be right.
    pub(crate) message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Why there is no configuration. The operator is at fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// The file cannot be read at all.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// It can be read and is wrong. In the order of the file, at least one.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

impl FileError {
    /// One line per mistake.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            FileError::Unreadable { .. } => vec![self.to_string()],
            FileError::Invalid(problems) => problems.iter().map(Problem::to_string).collect(),
        }
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
