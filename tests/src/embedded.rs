//! Speakers inside the test's own process, in a namespace of the lab.

use tokio::runtime::{Builder, Runtime};

use crate::error::LabError;

/// A runtime whose one thread, and so every socket of what runs on it, belongs to the namespace that this is called in
/// (see [`Namespace::run`](crate::Namespace::run)).
///
/// # Errors
/// If the system gives no thread.
pub fn runtime() -> Result<Runtime, LabError> {
    let built = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    built.map_err(LabError::io("making a runtime"))
}

/// A speaker has not done what it was asked to.
#[must_use]
pub fn failed(seen: &str) -> LabError {
    LabError::Unexpected { what: "a speaker".into(), expected: "success".into(), seen: seen.into() }
}
