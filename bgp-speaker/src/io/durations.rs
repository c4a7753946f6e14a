//! How long things took, as counts by size.

use crate::view::DurationsView;
use std::time::Duration;

/// Upper bounds of the sizes, in microseconds.
const BOUNDS_MICROS: [u64; 12] =
    [20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 20_000, 100_000, 500_000, 2_000_000];

/// Durations of one kind of work since the start.
#[derive(Debug, Default)]
pub(super) struct Durations {
    /// How many were within each bound but not within the one before.
    counts: [u64; BOUNDS_MICROS.len()],
    count: u64,
    sum: Duration,
}

impl Durations {
    /// One more.
    pub(super) fn note(&mut self, duration: Duration) {
        self.count += 1;
        self.sum += duration;
        let bound = BOUNDS_MICROS.iter().position(|bound| duration <= Duration::from_micros(*bound));
        if let Some(index) = bound {
            self.counts[index] += 1;
        }
    }

    /// For an exporter.
    pub(super) fn view(&self) -> DurationsView {
        let mut within = 0;
        let buckets = BOUNDS_MICROS.iter().zip(self.counts).map(|(bound, count)| {
            within += count;
            (Duration::from_micros(*bound).as_secs_f64(), within)
        });
        DurationsView { buckets: buckets.collect(), count: self.count, sum_secs: self.sum.as_secs_f64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_all_that_took_no_longer() {
        let mut durations = Durations::default();
        for micros in [20, 21, 700, 5_000_000] {
            durations.note(Duration::from_micros(micros));
        }
        let view = durations.view();
        assert_eq!((view.count, view.buckets.len()), (4, BOUNDS_MICROS.len()));
        assert_eq!(view.buckets[..2], [(20e-6, 1), (50e-6, 2)]);
        assert_eq!(view.buckets.last(), Some(&(2.0, 3)));
        assert!((view.sum_secs - 5.000_741).abs() < 1e-9);
    }
}
