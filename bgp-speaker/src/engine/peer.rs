//! A neighbour: up to two connections, back-off, and what graceful restart keeps of it. One per address and port.

use super::backoff::{Backoff, Outlook};
use super::collision::Direction;
use super::conn::ConnId;
use super::message_counts::MessageCounts;
use super::negotiate::Negotiated;
use super::policy::Policy;
use super::readvertise::Relation;
use super::rib::{AttrId, Source};
use super::session::{Session, StateKind};
use super::time::MonoTime;
use crate::config::{Family, Neighbor, NeighborId, Role, SessionOptions};
use bgp_proto::{BgpId, NextHop};
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;

/// A session that lasted this long was worth its while: the next retry comes soon again.
const BACKOFF_FORGET: Duration = Duration::from_secs(30);
/// What the tables need to know of a source of paths. Indexed by [`Source`].
#[derive(Clone, Copy, Debug)]
pub struct SourceInfo {
    /// To us.
    pub relation: Relation,
    /// BGP Identifier of its last session.
    pub router_id: BgpId,
    /// Its address.
    pub address: IpAddr,
    /// The port that tells it from others of this address.
    pub port: u16,
    /// Paths held, by family.
    pub path_count: [u32; Family::ALL.len()],
    /// Of those, best, by family.
    pub best_count: [u32; Family::ALL.len()],
}

impl SourceInfo {
    /// A peer of which nothing is known yet; also what stands in the place of our own sources.
    pub fn new(id: NeighborId) -> Self {
        Self {
            relation: Relation::NonClient,
            router_id: BgpId(0),
            address: id.address,
            port: id.port,
            path_count: [0; Family::ALL.len()],
            best_count: [0; Family::ALL.len()],
        }
    }
}

/// One connection's machine and its socket, if it has one.
#[derive(Debug)]
pub struct Connection {
    /// The machine.
    pub session: Session,
    /// The socket, or the attempt at one.
    pub conn: Option<ConnId>,
    /// When the last socket was connected.
    pub since: MonoTime,
}

/// What a session that is up adds to a peer.
#[derive(Debug)]
pub struct Established {
    /// On which connection.
    pub direction: Direction,
    /// Since.
    pub since: MonoTime,
    /// The terms.
    pub terms: Box<Negotiated>,
    /// Index of its update group, by family.
    pub groups: [Option<usize>; Family::ALL.len()],
    /// End-of-RIB received, by family.
    pub end_of_rib: [bool; Family::ALL.len()],
    /// Attribute bytes of the last UPDATE and what they were interned as.
    pub last_attributes: Option<LastAttributes>,
}

/// See [`Established::last_attributes`].
#[derive(Debug)]
pub struct LastAttributes {
    /// As received.
    pub bytes: Vec<u8>,
    /// With which next hop.
    pub next_hop: Option<NextHop>,
    /// The set; a reference is held.
    pub attr: AttrId,
}

/// Routes kept for a neighbour that restarts (RFC 4724 §4.2).
#[derive(Debug)]
pub struct Retention {
    /// Until then it must be back, or, once it is back, have sent its End-of-RIB.
    pub until: MonoTime,
    /// Families with stale paths.
    pub stale: [bool; Family::ALL.len()],
    /// We ended the session, and the neighbour went on.
    pub closed_by_us: bool,
}

/// A neighbour.
#[derive(Debug)]
pub struct Peer {
    /// Its slot.
    pub source: Source,
    /// Its configuration; that of a dynamic neighbour is made from its range.
    pub neighbor: Neighbor,
    /// What its import policy stands for.
    pub import: Policy,
    /// The range that admitted it.
    pub range: Option<IpNet>,
    /// It stays only until others have taken its place.
    pub is_leaving: bool,
    /// By [`Direction::index`].
    pub connections: [Connection; 2],
    /// The session, if it is up.
    pub established: Option<Established>,
    /// Stale routes.
    pub retention: Option<Retention>,
    /// When to connect again.
    pub retry_at: Option<MonoTime>,
    /// When its configuration last changed in a way that its session depends on.
    pub changed_at: MonoTime,
    /// In the present state since.
    pub state_since: MonoTime,
    /// Why the last session ended.
    pub last_error: Option<String>,
    /// Sessions that reached Established.
    pub established_count: u64,
    /// When it last turned out not to be who had connected to us; `None`: not since its last session.
    pub mistaken_at: Option<MonoTime>,
    /// Messages received.
    pub messages_received: MessageCounts,
    /// Messages sent, or queued.
    pub messages_sent: MessageCounts,
    /// Messages received that were not as they should be.
    pub malformed_count: u64,
    backoff: Backoff,
}

impl Peer {
    /// In Idle.
    pub fn new(
        source: Source,
        neighbor: Neighbor,
        import: Policy,
        range: Option<IpNet>,
        seed: u64,
        now: MonoTime,
    ) -> Self {
        let seed = seed ^ u64::from(source.0 - Source::KERNEL.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let connection = |salt: u32| Connection {
            session: Session::new((seed as u32) ^ salt | 1),
            conn: None,
            since: now,
        };
        Self {
            source,
            neighbor,
            import,
            range,
            is_leaving: false,
            connections: [connection(0), connection(0x5555_0000)],
            established: None,
            retention: None,
            retry_at: None,
            changed_at: now,
            state_since: now,
            last_error: None,
            established_count: 0,
            mistaken_at: None,
            messages_received: MessageCounts::default(),
            messages_sent: MessageCounts::default(),
            malformed_count: 0,
            backoff: Backoff::new(seed),
        }
    }

    /// Its options.
    pub fn options(&self) -> &SessionOptions {
        &self.neighbor.options
    }

    /// Do we open connections to it?
    pub fn connects(&self) -> bool {
        self.neighbor.enabled && !self.neighbor.passive && self.range.is_none() && !self.is_leaving
    }

    /// The machine of a direction.
    pub fn session(&self, direction: Direction) -> &Session {
        &self.connections[direction.index()].session
    }

    /// The state to show: the farthest of its connections.
    pub fn state(&self) -> StateKind {
        let [outgoing, incoming] = &self.connections;
        outgoing.session.kind().max(incoming.session.kind())
    }

    /// How much a new connection from its address is for it, the lowest value the most. A connection does not tell which
    /// of several neighbours of one address has made it, so that it goes to one that can do with it: without a session,
    /// then without another connection, then one that such a guess was not wrong for lately, then one that waits for it.
    pub fn acceptance(&self) -> (bool, bool, bool, Option<MonoTime>, bool) {
        (
            !self.neighbor.enabled,
            self.established.is_some(),
            self.connections[Direction::Incoming.index()].conn.is_some(),
            self.mistaken_at,
            !self.neighbor.passive,
        )
    }

    /// No connection, no attempt, no routes kept.
    pub fn is_gone(&self) -> bool {
        self.retention.is_none() && self.connections.iter().all(|c| c.conn.is_none())
    }

    /// What it is to us, given our AS on its session.
    pub fn relation(&self, is_external: bool) -> Relation {
        match (is_external, self.options().role) {
            (true, _) => Relation::External,
            (false, Role::Client) => Relation::Client,
            (false, Role::Peer) => Relation::NonClient,
        }
    }

    /// For how long the session had been up at a time; `None`: it was not yet.
    pub fn up_for(&self, at: MonoTime) -> Option<Duration> {
        let since = self.established.as_ref()?.since;
        (at >= since).then(|| at.since(since))
    }

    /// Plans an attempt for now, if we are to connect, with another configuration: what failed before may work now.
    pub fn connect_soon(&mut self, now: MonoTime) {
        self.changed_at = now;
        self.backoff.forget();
        if self.connects() {
            self.retry_at = Some(now);
        }
    }

    /// Plans the next attempt, and says when: longer each time, until a session has lasted, or was only reset.
    pub fn schedule_retry(&mut self, now: MonoTime, outlook: Outlook) -> MonoTime {
        if self.established.as_ref().is_some_and(|established| now.since(established.since) >= BACKOFF_FORGET)
        {
            self.backoff.forget();
        }
        // The other side's configuration is about to change, where ours just has.
        let is_new = now.since(self.changed_at) < BACKOFF_FORGET;
        let outlook = if outlook == Outlook::Refused && is_new { Outlook::Unknown } else { outlook };
        let at = now + self.backoff.next_delay(outlook);
        self.retry_at = Some(at);
        at
    }
}
