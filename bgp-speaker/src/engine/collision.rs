//! Two connections to one neighbour: which one stays. RFC 4271 §6.8, RFC 6286 §2.3, RFC 4724 §5. Pure.

use super::session::StateKind;
use bgp_proto::{Asn, BgpId};

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
    /// Established for long enough that a new connection cannot be one that was made at the same time.
    pub is_settled: bool,
    /// Graceful restart was negotiated on it.
    pub has_graceful_restart: bool,
}

/// An acceptable OPEN came in on the `new` connection: the direction that must be closed, if any.
///
/// A settled session with graceful restart gives way to a new connection, which is how a restarted neighbour
/// is recognized (RFC 4724 §5); any other established session stays.
pub fn loser(new: Direction, other: OtherConnection, local: (BgpId, Asn), remote: (BgpId, Asn)) -> Option<Direction> {
    match other.state {
        StateKind::Idle | StateKind::Connect | StateKind::Active | StateKind::OpenSent => None,
        StateKind::OpenConfirm if local > remote => Some(Direction::Incoming),
        StateKind::OpenConfirm => Some(Direction::Outgoing),
        StateKind::Established if other.is_settled && other.has_graceful_restart => Some(new.other()),
        StateKind::Established => Some(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Incoming, Outgoing};

    const LOW: (BgpId, Asn) = (BgpId(1), Asn(64512));
    const HIGH: (BgpId, Asn) = (BgpId(2), Asn(64512));

    fn other(state: StateKind, is_settled: bool, has_graceful_restart: bool) -> OtherConnection {
        OtherConnection { state, is_settled, has_graceful_restart }
    }

    #[test]
    fn the_connection_of_the_higher_identifier_stays() {
        let confirm = other(StateKind::OpenConfirm, false, true);
        for new in Direction::BOTH {
            assert_eq!(loser(new, confirm, HIGH, LOW), Some(Incoming));
            assert_eq!(loser(new, confirm, LOW, HIGH), Some(Outgoing));
        }
        assert_eq!(loser(Outgoing, confirm, (BgpId(1), Asn(2)), (BgpId(1), Asn(1))), Some(Incoming));
    }

    #[test]
    fn without_an_open_on_the_other_one_there_is_no_collision_yet() {
        for state in [StateKind::Idle, StateKind::Connect, StateKind::Active, StateKind::OpenSent] {
            assert_eq!(loser(Incoming, other(state, false, true), LOW, HIGH), None);
        }
    }

    #[test]
    fn an_established_session_stays_unless_its_neighbour_has_restarted() {
        for (settled, restart, expected) in
            [(false, true, Incoming), (true, false, Incoming), (true, true, Outgoing)]
        {
            let established = other(StateKind::Established, settled, restart);
            assert_eq!(loser(Incoming, established, LOW, HIGH), Some(expected));
        }
    }
}
