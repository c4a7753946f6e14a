//! The only place that asks for the time.

use crate::engine::MonoTime;
use tokio::time::Instant;

/// Counts from the start of a speaker. Follows tokio's clock, so that tests can pause it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts counting.
    #[allow(clippy::disallowed_methods, reason = "the place for it")]
    pub(super) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Now.
    pub(super) fn now(&self) -> MonoTime {
        MonoTime::from_start(self.start.elapsed())
    }

    /// As a deadline for tokio.
    pub(super) fn instant(&self, at: MonoTime) -> Instant {
        self.start + at.since_start()
    }
}
