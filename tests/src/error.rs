//! What can go wrong in the lab, and whose fault it is.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a step of a lab could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// This machine lacks something: a privilege, a daemon. A test reports it as skipped.
    #[error("{what} is missing; {remedy}")]
    Missing {
        /// What is missing.
        what: String,
        /// The command or action that provides it.
        remedy: String,
    },
    /// A helper command ended with a failure.
    #[error("`{command}` failed ({status}): {output}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed, both streams.
        output: String,
    },
    /// A condition did not become true in time.
    #[error("waited {:.1} s for {what}; last seen: {last_seen}", after.as_secs_f64())]
    Timeout {
        /// The condition, as a phrase.
        what: String,
        /// How long was waited.
        after: Duration,
        /// What the last look showed.
        last_seen: String,
    },
    /// Something is not as the test demands.
    #[error("{what}: expected {expected}, saw {seen}")]
    Unexpected {
        /// What was looked at.
        what: String,
        /// What it should have been.
        expected: String,
        /// What it was.
        seen: String,
    },
    /// A daemon's answer could not be understood.
    #[error("cannot read the answer of {from}: {why}: {answer}")]
    Answer {
        /// The command that answered.
        from: String,
        /// What is wrong with the answer.
        why: String,
        /// The answer, shortened.
        answer: String,
    },
    /// The operating system refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl LabError {
    /// For `map_err`: wraps an [`io::Error`] with what was being done.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> LabError {
        let doing = doing.into();
        move |source| LabError::Io { doing, source }
    }

    /// An [`LabError::Answer`] with the answer cut to a readable length.
    #[must_use]
    pub fn answer(from: impl Into<String>, why: impl ToString, answer: &str) -> LabError {
        let mut answer = answer.trim().to_owned();
        if let Some((cut, _)) = answer.char_indices().nth(400) {
            answer.truncate(cut);
            answer.push('…');
        }
        LabError::Answer { from: from.into(), why: why.to_string(), answer }
    }
}
