//! Numbers of a [`FibStatus`](crate::FibStatus) that only ever grow, by kind.

use std::time::Duration;

use crate::kernel::Op;
use crate::status::ResyncReason;

/// How requests to the kernel ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Outcomes {
    /// Carried out.
    pub ok: u64,
    /// Refused.
    pub failed: u64,
}

/// How requests to the kernel ended, by what they were to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct OperationCounts {
    /// To install or replace a route.
    pub set_route: Outcomes,
    /// To remove a route.
    pub delete_route: Outcomes,
    /// To make or change a nexthop object.
    pub set_nexthop: Outcomes,
    /// To remove a nexthop object.
    pub delete_nexthop: Outcomes,
}

impl OperationCounts {
    pub(crate) fn note(&mut self, op: &Op, is_ok: bool) {
        let outcomes = match op {
            Op::SetRoute { .. } => &mut self.set_route,
            Op::DeleteRoute { .. } => &mut self.delete_route,
            Op::SetNexthop { .. } => &mut self.set_nexthop,
            Op::DeleteNexthop { .. } => &mut self.delete_nexthop,
        };
        outcomes.ok += u64::from(is_ok);
        outcomes.failed += u64::from(!is_ok);
    }

    /// Each with a short name, for metric labels.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Outcomes)> {
        [
            ("set_route", self.set_route),
            ("delete_route", self.delete_route),
            ("set_nexthop", self.set_nexthop),
            ("delete_nexthop", self.delete_nexthop),
        ]
        .into_iter()
    }
}

/// How often the kernel was read back, other than at the start, by what led to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ResyncCounts([u64; ResyncReason::ALL.len()]);

impl ResyncCounts {
    pub(crate) fn note(&mut self, reason: ResyncReason) {
        let index = ResyncReason::ALL.iter().position(|other| *other == reason);
        if let Some(count) = index.and_then(|index| self.0.get_mut(index)) {
            *count += 1;
        }
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (ResyncReason, u64)> {
        ResyncReason::ALL.into_iter().zip(self.0)
    }
}

/// Upper bounds of the sizes of [`BatchTimes`], in microseconds.
const BOUNDS_MICROS: [u64; 10] = [50, 100, 200, 500, 1_000, 2_000, 5_000, 20_000, 100_000, 1_000_000];

/// How long the kernel took for batches of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct BatchTimes {
    /// How many were within each bound but not within the one before.
    counts: [u64; BOUNDS_MICROS.len()],
    count: u64,
    sum: Duration,
}

impl BatchTimes {
    pub(crate) fn note(&mut self, time: Duration) {
        self.count += 1;
        self.sum += time;
        let bound = BOUNDS_MICROS.iter().position(|bound| time <= Duration::from_micros(*bound));
        if let Some(count) = bound.and_then(|index| self.counts.get_mut(index)) {
            *count += 1;
        }
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How long all took together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Upper bounds, ascending, and how many took no longer.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        BOUNDS_MICROS.into_iter().zip(self.counts).scan(0, |within, (bound, count)| {
            *within += count;
            Some((Duration::from_micros(bound), *within))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_all_that_took_no_longer() {
        let mut times = BatchTimes::default();
        [40, 60, 60, 2_000_000].into_iter().for_each(|micros| times.note(Duration::from_micros(micros)));
        let buckets: Vec<_> = times.buckets().collect();
        assert_eq!(buckets[..2], [(Duration::from_micros(50), 1), (Duration::from_micros(100), 3)]);
        assert_eq!((buckets.last().unwrap().1, times.count()), (3, 4));
        assert_eq!(times.sum(), Duration::from_micros(2_000_160));
    }

    #[test]
    fn each_reason_has_its_count() {
        let mut counts = ResyncCounts::default();
        ResyncReason::ALL.into_iter().for_each(|reason| counts.note(reason));
        assert!(counts.iter().all(|(_, count)| count == 1));
        counts.note(ResyncReason::Overrun);
        assert_eq!(counts.iter().find(|(_, count)| *count == 2).unwrap().0, ResyncReason::Overrun);
    }
}
