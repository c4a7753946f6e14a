//! Refused connections: all are counted, few are told. Whoever may not connect can try as often as it likes, and must not
//! fill the log with it.

use crate::engine::MonoTime;
use ipnet::IpNet;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

/// A range of sources is told of once in this time.
const SILENCE: Duration = Duration::from_secs(60);
/// Ranges told of in that time; all others share a line.
const RANGES_MAX: usize = 64;
/// Sources next to each other are most likely of one mind.
const RANGE_BITS_V4: u8 = 24;
const RANGE_BITS_V6: u8 = 64;

/// Of one speaker.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// By reason.
    counts: BTreeMap<&'static str, u64>,
    /// By range; `None`: all that have no place of their own.
    recent: HashMap<Option<IpNet>, Recent>,
}

#[derive(Clone, Copy, Debug)]
struct Recent {
    told_at: MonoTime,
    /// Since then.
    untold: u64,
}

/// What is to be told of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Telling {
    /// The range that it came from; `None`: from ever other ranges.
    pub(super) range: Option<IpNet>,
    /// Refusals from there that were not told, since one was.
    pub(super) untold: u64,
}

impl Refusals {
    /// One more; is it to be told?
    pub(super) fn note(&mut self, now: MonoTime, remote: IpAddr, reason: &'static str) -> Option<Telling> {
        *self.counts.entry(reason).or_default() += 1;
        let mut range = Some(range_of(remote));
        if !self.recent.contains_key(&range) && self.recent.len() >= RANGES_MAX {
            // Their next refusal is told anyway. How many were not is left to the counters.
            self.recent.retain(|_, recent| now.since(recent.told_at) < SILENCE);
            if self.recent.len() >= RANGES_MAX {
                range = None;
            }
        }
        let known = self.recent.get_mut(&range);
        if let Some(recent) = known
            && now.since(recent.told_at) < SILENCE
        {
            recent.untold += 1;
            return None;
        }
        let before = self.recent.insert(range, Recent { told_at: now, untold: 0 });
        Some(Telling { range, untold: before.map_or(0, |before| before.untold) })
    }

    /// All, by reason.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
    }
}

fn range_of(remote: IpAddr) -> IpNet {
    let bits = if remote.is_ipv4() { RANGE_BITS_V4 } else { RANGE_BITS_V6 };
    IpNet::new(remote, bits).map_or_else(|_| remote.into(), |range| range.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_secs(secs))
    }

    fn note(refusals: &mut Refusals, secs: u64, remote: &str) -> Option<u64> {
        refusals.note(at(secs), remote.parse().unwrap(), "unknown-peer").map(|telling| telling.untold)
    }

    #[test]
    fn a_range_is_told_once_a_minute_with_what_was_kept_quiet() {
        let mut refusals = Refusals::default();
        assert_eq!(note(&mut refusals, 0, "10.0.0.1"), Some(0));
        (1..60).for_each(|secs| assert_eq!(note(&mut refusals, secs, "10.0.0.2"), None));
        assert_eq!(note(&mut refusals, 59, "10.0.1.1"), Some(0), "another range");
        assert_eq!(note(&mut refusals, 60, "10.0.0.3"), Some(59));
        assert_eq!(note(&mut refusals, 60, "fd00::1"), Some(0));
        assert_eq!(note(&mut refusals, 60, "fd00::ffff:1"), None);
        assert_eq!(refusals.counts(), [("unknown-peer".to_owned(), 64)].into());
    }

    #[test]
    fn sources_from_everywhere_share_a_line_and_cost_no_memory() {
        let mut refusals = Refusals::default();
        let told = (0..100_000_u32).filter(|number| {
            let remote = IpAddr::from((number << 8).to_be_bytes());
            refusals.note(at(0), remote, "unknown-peer").is_some()
        });
        assert_eq!(told.count(), RANGES_MAX + 1);
        assert!(refusals.recent.len() <= RANGES_MAX + 1);
        assert_eq!(note(&mut refusals, 60, "203.0.113.1"), Some(0), "there is room again");
        assert_eq!(refusals.counts()["unknown-peer"], 100_001);
    }
}
