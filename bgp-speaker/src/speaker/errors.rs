//! What can go wrong with a speaker, and who is at fault.

use crate::config::{ConfigError, NeighborError};
use crate::io::ListenError;

/// The speaker has stopped; nothing can be asked of it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the speaker has stopped")]
pub struct Stopped;

/// A speaker could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is wrong; all that is wrong with it.
    #[error("invalid configuration: {}", join(.0))]
    Config(Vec<ConfigError>),
    /// The network does not let us listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The kernel does not let us program its routes.
    #[cfg(feature = "fib")]
    #[error(transparent)]
    Fib(#[from] fib_sync::FibError),
}

/// A configuration was not applied; the one before is in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// It is wrong; all that is wrong with it.
    #[error("invalid configuration: {}", join(.0))]
    Invalid(Vec<ConfigError>),
    /// A new listening address does not work.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The kernel's routes cannot be followed.
    #[cfg(feature = "fib")]
    #[error(transparent)]
    Kernel(#[from] fib_sync::FibError),
    /// The speaker has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// A question that has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// There is no such neighbour, or more than one.
    #[error(transparent)]
    Neighbor(#[from] NeighborError),
    /// The speaker has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// A neighbour that was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// There is no such neighbour, or more than one.
    #[error(transparent)]
    Neighbor(#[from] NeighborError),
    /// The change could not be made.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

fn join(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A speaker has not stopped as it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// It had stopped already.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// It has stopped, but routes of ours are left in the kernel.
    #[cfg(feature = "fib")]
    #[error("all sessions are closed, but routes of ours are left in the kernel: {0}")]
    Fib(#[from] fib_sync::FibError),
}
