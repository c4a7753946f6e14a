//! When to try again after a session or an attempt has ended.

use super::session::DownReason;
use bgp_proto::{NotificationCode, subcode};
use std::time::Duration;

const MIN: Duration = Duration::from_millis(500);
const MAX: Duration = Duration::from_secs(30);
/// A neighbour that has reset the session is back at once, but one that does so all the time is not hurried.
const AFTER_RESET: Duration = Duration::from_secs(1);

/// What the end of a session, or of an attempt, says of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It will end in the same way again.
    Same,
    /// One side's OPEN was not what the other one expected: so it will be the next time, unless somebody changes a
    /// configuration.
    Refused,
    /// The neighbour has only reset it.
    Reset,
    /// Nothing.
    Unknown,
}

impl Outlook {
    /// By how the last one ended.
    pub fn after(reason: &DownReason) -> Outlook {
        let (DownReason::NotificationReceived(n) | DownReason::NotificationSent(n)) = reason else {
            return Outlook::Unknown;
        };
        let inner = n.hard_reset_reason();
        let n = inner.as_ref().unwrap_or(n);
        match (NotificationCode(n.code), n.subcode) {
            (NotificationCode::OPEN_MESSAGE_ERROR, _) => Outlook::Refused,
            (NotificationCode::CEASE, subcode::cease::MAXIMUM_PREFIXES) => Outlook::Same,
            (
                NotificationCode::CEASE,
                subcode::cease::ADMINISTRATIVE_RESET | subcode::cease::OTHER_CONFIGURATION_CHANGE,
            ) => Outlook::Reset,
            _ => Outlook::Unknown,
        }
    }
}

/// Doubling delay with jitter, from half a second to half a minute.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    random: u64,
}

impl Backoff {
    /// The seed of the jitter: different ones, or all would come at the same time.
    pub fn new(seed: u64) -> Self {
        Self { next: MIN, random: seed | 1 }
    }

    /// Begins with short delays again: whatever earlier attempts have failed of may be different.
    pub fn forget(&mut self) {
        self.next = MIN;
    }

    /// Between 75% and 125% of the present step.
    pub fn next_delay(&mut self, outlook: Outlook) -> Duration {
        match outlook {
            Outlook::Same | Outlook::Refused => self.next = MAX,
            Outlook::Reset => self.next = self.next.min(AFTER_RESET),
            Outlook::Unknown => {}
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let delay = self.next.mul_f64(0.75 + (self.random % 1000) as f64 / 2000.0);
        self.next = (self.next * 2).min(MAX);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bgp_proto::Notification;

    #[test]
    fn retries_come_less_and_less_often_but_at_least_every_half_minute_or_so() {
        let mut backoff = Backoff::new(7);
        let delays: Vec<_> = (0..10).map(|_| backoff.next_delay(Outlook::Unknown)).collect();
        assert!(delays[0] < Duration::from_secs(1), "{delays:?}");
        assert!(delays[9] >= Duration::from_secs(22) && delays[9] <= Duration::from_secs(38), "{delays:?}");
        backoff.forget();
        assert!(backoff.next_delay(Outlook::Unknown) < Duration::from_secs(1));
        assert!(backoff.next_delay(Outlook::Same) >= Duration::from_secs(22));
        let resets: Vec<_> = (0..10).map(|_| backoff.next_delay(Outlook::Reset)).collect();
        assert!(resets.iter().all(|delay| *delay <= Duration::from_millis(1250)), "{resets:?}");
    }

    #[test]
    fn what_the_neighbour_says_tells_how_the_next_attempt_will_end() {
        let cease = |subcode| DownReason::NotificationReceived(Notification::cease(subcode));
        assert_eq!(Outlook::after(&cease(subcode::cease::MAXIMUM_PREFIXES)), Outlook::Same);
        assert_eq!(Outlook::after(&cease(subcode::cease::OTHER_CONFIGURATION_CHANGE)), Outlook::Reset);
        assert_eq!(Outlook::after(&cease(subcode::cease::ADMINISTRATIVE_RESET)), Outlook::Reset);
        assert_eq!(Outlook::after(&cease(subcode::cease::CONNECTION_COLLISION)), Outlook::Unknown);
        assert_eq!(Outlook::after(&DownReason::TcpFailed("closed".into())), Outlook::Unknown);
    }
}
