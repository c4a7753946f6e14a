//! Delays between attempts.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const MIN: Duration = Duration::from_millis(250);
const MAX: Duration = Duration::from_secs(30);

/// Doubling, with jitter, so that the nodes of a cluster do not come back to etcd all at once.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    random: RandomState,
    attempts: u64,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: MIN, random: RandomState::new(), attempts: 0 }
    }

    /// Between 50% and 150% of the present step.
    pub(super) fn next_delay(&mut self) -> Duration {
        self.attempts += 1;
        let share = self.random.hash_one(self.attempts) % 1000;
        let delay = self.next.mul_f64(0.5 + share as f64 / 1000.0);
        self.next = (self.next * 2).min(MAX);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound_and_differ() {
        let mut backoff = Backoff::new();
        let delays: Vec<_> = (0..12).map(|_| backoff.next_delay()).collect();
        assert!(delays[0] >= MIN / 2 && delays[0] <= MIN * 3 / 2, "{delays:?}");
        assert!(delays[11] >= MAX / 2 && delays[11] <= MAX * 3 / 2, "{delays:?}");
        let first: std::collections::BTreeSet<_> = (0..20).map(|_| Backoff::new().next_delay()).collect();
        assert!(first.len() > 1, "jitter");
    }
}
