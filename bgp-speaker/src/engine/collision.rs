//! Two connections to one neighbour: which one stays. RFC 4271 §6.8, RFC 6286 §2.3, RFC 4724 §5. Pure.

use super::session::StateKind;
use bgp_proto::{Asn, BgpId};
use std::time::Duration;

/// A session that has been up for so long is not replaced by chance.
pub const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// We did.
    Outgoing,
    /// The neighbour did.
    Incoming,
}

impl Direction {
    /// Both.
    pub const BOTH: [Direction; 2] = [Direction::Outgoing, Direction::Incoming];

    /// The other one.
    pub fn other(self) -> Direction {
        match self {
            Direction::Outgoing => Direction::Incoming,
            Direction::Incoming => Direction::Outgoing,
        }
    }

    /// As an index.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// The other connection, as far as the decision reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherConnection {
    /// Its state.
    pub state: StateKind,
    /// For how long its session had been up when the new connection was made; `None`: it was not yet.
    pub up_for: Option<Duration>,
    /// Graceful restart was negotiated on it.
    pub has_graceful_restart: bool,
}

/// An acceptable OPEN came in on the `new` connection: the direction that must be closed, if any.
///
/// Connections that were made at about the same time are judged by the identifiers alone, also if one of them has led to
/// a session by now: the other side may not know that yet, or may have seen the other connection first, and if each
/// side judged by its own state, both connections could be closed. (RFC 4271 §6.8 would keep the session unless
/// configured otherwise.) A connection that was made when the session was settled is closed, unless the session has
/// graceful restart: that is how a restarted neighbour is recognized (RFC 4724 §5).
pub fn loser(
    new: Direction,
    other: OtherConnection,
    local: (BgpId, Asn),
    remote: (BgpId, Asn),
) -> Option<Direction> {
    match other.state {
        StateKind::Idle | StateKind::Connect | StateKind::Active | StateKind::OpenSent => None,
        StateKind::OpenConfirm | StateKind::Established => Some(match other.up_for {
            Some(up_for) if up_for >= SETTLED_AFTER && other.has_graceful_restart => new.other(),
            Some(up_for) if up_for >= SETTLED_AFTER => new,
            _ if local > remote => Direction::Incoming,
            _ => Direction::Outgoing,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Incoming, Outgoing};

    const LOW: (BgpId, Asn) = (BgpId(1), Asn(64512));
    const HIGH: (BgpId, Asn) = (BgpId(2), Asn(64512));

    fn other(state: StateKind, up_for_secs: Option<u64>, has_graceful_restart: bool) -> OtherConnection {
        OtherConnection { state, up_for: up_for_secs.map(Duration::from_secs), has_graceful_restart }
    }

    #[test]
    fn the_connection_of_the_higher_identifier_stays() {
        let confirm = other(StateKind::OpenConfirm, None, true);
        for state in [StateKind::OpenConfirm, StateKind::Established] {
            for new in Direction::BOTH {
                assert_eq!(loser(new, other(state, None, true), HIGH, LOW), Some(Incoming));
                assert_eq!(loser(new, other(state, None, true), LOW, HIGH), Some(Outgoing));
            }
        }
        assert_eq!(loser(Outgoing, confirm, (BgpId(1), Asn(2)), (BgpId(1), Asn(1))), Some(Incoming));
    }

    #[test]
    fn without_an_open_on_the_other_one_there_is_no_collision_yet() {
        for state in [StateKind::Idle, StateKind::Connect, StateKind::Active, StateKind::OpenSent] {
            assert_eq!(loser(Incoming, other(state, None, true), LOW, HIGH), None);
        }
    }

    #[test]
    fn a_settled_session_stays_when_another_connection_is_made_unless_its_neighbour_has_restarted() {
        for (up_for_secs, restart, expected) in [(60, false, Incoming), (60, true, Outgoing)] {
            let established = other(StateKind::Established, Some(up_for_secs), restart);
            assert_eq!(loser(Incoming, established, LOW, HIGH), Some(expected));
        }
    }

    /// One saw the session first, the other the second connection.
    #[test]
    fn both_sides_close_the_same_connection_whatever_each_saw_first() {
        let saw_session_first = other(StateKind::Established, Some(4), true);
        let saw_connection_first = other(StateKind::Established, None, true);
        for (local, remote) in [(LOW, HIGH), (HIGH, LOW)] {
            let here = loser(Incoming, saw_session_first, local, remote);
            let there = loser(Outgoing, saw_connection_first, remote, local);
            assert_eq!(here.map(Direction::other), there);
        }
    }
}
