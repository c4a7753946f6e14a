//! The send hold timer (RFC 9687): a neighbour that sends KEEPALIVEs but reads nothing is not there.
//!
//! Looked at with each KEEPALIVE of ours, which is often enough for a timer of minutes and costs no timer of its own.

use super::time::MonoTime;
use std::time::Duration;

/// The least that the RFC recommends.
const SEND_HOLD_TIME_MIN: Duration = Duration::from_secs(8 * 60);

/// Watches what a connection writes. One per connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendHold {
    /// Octets written so far.
    written: u64,
    /// How much that was when it was first seen that more was waiting, and when.
    stuck: Option<(u64, MonoTime)>,
}

impl SendHold {
    /// So many octets more were taken by the neighbour's TCP.
    pub fn wrote(&mut self, octets: usize) {
        self.written = self.written.wrapping_add(octets as u64);
    }

    /// Has the timer expired? `is_waiting`: there is something to write.
    pub fn has_expired(&mut self, now: MonoTime, is_waiting: bool, hold_time: Duration) -> bool {
        match self.stuck.filter(|_| is_waiting) {
            Some((written, since)) if written == self.written => {
                now.since(since) >= SEND_HOLD_TIME_MIN.max(hold_time * 2)
            }
            _ => {
                self.stuck = is_waiting.then_some((self.written, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_expires_only_while_nothing_is_taken() {
        let at = |secs| MonoTime::from_start(Duration::from_secs(secs));
        let hold_time = Duration::from_secs(90);
        let mut send_hold = SendHold::default();
        assert!(!send_hold.has_expired(at(0), false, hold_time));
        assert!(!send_hold.has_expired(at(1000), true, hold_time), "it has just begun to wait");
        assert!(!send_hold.has_expired(at(1400), true, hold_time));
        send_hold.wrote(1);
        assert!(!send_hold.has_expired(at(1490), true, hold_time), "something was taken");
        assert!(!send_hold.has_expired(at(1969), true, hold_time));
        assert!(!send_hold.has_expired(at(1970), true, Duration::from_secs(300)), "twice the hold time");
        assert!(send_hold.has_expired(at(1970), true, hold_time));
        assert!(!send_hold.has_expired(at(2000), false, hold_time), "all is written");
        assert!(!send_hold.has_expired(at(2001), true, hold_time));
    }
}
