//! The engine: owner of all peers, connections, tables and groups. See [`crate::engine`] for how it is driven.

mod accept;
mod apply;
#[cfg(any(test, feature = "test-util"))]
mod audit;
mod convergence;
mod explain;
mod flush;
mod import;
mod import_filter;
mod kernel;
mod neighbors;
mod sessions;
mod tables;
mod views;

use super::collision::Direction;
use super::conn::{Conn, ConnId};
use super::deadlines::{Deadlines, Owner};
use super::malformed::{MalformedLog, Problem};
use super::peer::{Peer, SourceInfo};
use super::rib::{AttrTable, Batch, Change, LoopIdentity, PrefixId, Rib, Source};
use super::session::Action;
use super::session_change::{SessionChange, SessionChangeKind};
use super::time::MonoTime;
use super::update_group::{SLOW_LOG_BYTES, UpdateGroup};
use crate::config::{Family, NeighborId, Secret, SpeakerConfig, diff};
use crate::engine::kernel::KernelTable;
use crate::engine::message_counts::MessageCounts;
use bytes::BytesMut;
use convergence::Convergence;
pub use convergence::StartKind;
use flush::WALK_IDS;
use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
pub use views::BestRoute;

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make a connection; answer with [`Engine::connected`] or [`Engine::connect_failed`].
    Connect(ConnectTarget),
    /// Write what is left, then close. The engine has forgotten the connection once the driver calls
    /// [`Engine::closed`].
    Close(ConnId),
}

/// A connection to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectTarget {
    /// Its name from now on.
    pub conn: ConnId,
    /// Where to.
    pub remote: SocketAddr,
    /// From which address of ours.
    pub local: Option<IpAddr>,
    /// TCP MD5 password.
    pub password: Option<Secret>,
    /// GTSM: expected hops.
    pub ttl_security: Option<u8>,
}

/// A prefix whose best path has changed, or what is as good, for subscribers. What is told is the latest state, not each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteChange {
    /// Of the prefix.
    pub family: Family,
    /// The prefix; [`Engine::best_route`] gives its present state.
    pub id: PrefixId,
}

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Connections are just closed, so that neighbours keep our routes (RFC 4724).
    Restart,
    /// Neighbours are told to forget us.
    Leave,
}

/// Why a connection is not wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedConnection {
    /// Neither a neighbour nor in a range.
    #[error("no neighbour with this address is configured, and no listen range contains it")]
    UnknownPeer,
    /// Its neighbour is disabled.
    #[error("the neighbour is disabled")]
    Disabled,
    /// The range is full.
    #[error("the listen range has reached max_sessions")]
    RangeFull,
    /// It has a session already, and no reason to open another one.
    #[error("the neighbour has an established session")]
    AlreadyConnected,
    /// We are on our way out.
    #[error("the speaker is stopping")]
    Stopping,
    /// It comes from farther away than its neighbour may be (RFC 5082).
    #[error(
        "ttl_security wants a TTL of at least {least}, and it came with {}: has the neighbour set it too?",
        .ttl.map_or("an unknown one".to_owned(), |ttl| ttl.to_string())
    )]
    TooFar {
        /// As the connection came, if that is known.
        ttl: Option<u8>,
        /// The least that will do.
        least: u8,
    },
}

impl RefusedConnection {
    /// A short constant name, for metrics.
    pub fn label(self) -> &'static str {
        match self {
            RefusedConnection::UnknownPeer => "unknown-peer",
            RefusedConnection::Disabled => "disabled",
            RefusedConnection::RangeFull => "range-full",
            RefusedConnection::AlreadyConnected => "already-connected",
            RefusedConnection::Stopping => "stopping",
            RefusedConnection::TooFar { .. } => "too-far",
        }
    }
}

/// One speaker.
#[derive(Debug)]
pub struct Engine {
    config: SpeakerConfig,
    seed: u64,
    started: MonoTime,
    stopping: bool,
    peers: Vec<Option<Box<Peer>>>,
    /// Slots of former peers, the oldest first.
    free_slots: VecDeque<u32>,
    /// Slots that become free with the next batch.
    left_slots: Vec<u32>,
    sources: Vec<SourceInfo>,
    by_id: BTreeMap<NeighborId, Source>,
    /// Peers by the range that admitted them.
    range_members: BTreeMap<IpNet, u32>,
    conns: HashMap<ConnId, Conn>,
    next_conn: u64,
    attrs: AttrTable,
    ribs: [Rib; Family::ALL.len()],
    kernel: KernelTable,
    /// Routes of the UPDATEs that are being handled; empty between calls.
    incoming: [Batch; Family::ALL.len()],
    groups: Vec<Option<UpdateGroup>>,
    /// Members that hold back more than this are slow.
    slow_log_bytes: usize,
    joins: Vec<(Source, Family)>,
    refreshes: Vec<(Source, Family)>,
    recheck_emptied: bool,
    /// Some group's walk of the table is under way; the group that goes on first.
    is_walking: bool,
    /// How many ids one batch walks.
    walk_ids: u32,
    next_walk: usize,
    /// Slow readers that have to wait for the next batch.
    postponed: Vec<ConnId>,
    deadlines: Deadlines,
    effects: VecDeque<Effect>,
    writable: VecDeque<ConnId>,
    route_changes: Vec<RouteChange>,
    /// Prefixes with several next hops, by family; only where routes may have them.
    shared: [HashSet<PrefixId>; Family::ALL.len()],
    convergence: Convergence,
    counters: Counters,
    malformed: MalformedLog,
    /// `None`: nobody follows them.
    session_changes: Option<VecDeque<SessionChange>>,
    /// Reused between calls.
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Counters {
    transitions: BTreeMap<(&'static str, &'static str), u64>,
    received: MessageCounts,
    sent: MessageCounts,
    update_errors: BTreeMap<(String, &'static str), u64>,
}

#[derive(Debug, Default)]
struct Scratch {
    actions: Vec<Action>,
    changes: Vec<Change>,
    attributes: Vec<u8>,
    /// Of the UPDATE that is being handled.
    problems: Vec<Problem>,
    encoded: BytesMut,
}

impl Engine {
    /// A speaker with this configuration, whose sessions start with the first [`Engine::handle_deadline`].
    ///
    /// `seed` feeds all jitter.
    pub fn new(config: SpeakerConfig, seed: u64, start: StartKind, now: MonoTime) -> Self {
        let mut engine = Self {
            seed,
            started: now,
            stopping: false,
            peers: own_sources().map(|_| None).collect(),
            free_slots: VecDeque::new(),
            left_slots: Vec::new(),
            sources: own_sources()
                .map(|_| SourceInfo::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into()))
                .collect(),
            by_id: BTreeMap::new(),
            range_members: BTreeMap::new(),
            conns: HashMap::new(),
            next_conn: 1,
            attrs: AttrTable::default(),
            ribs: [Rib::new(4), Rib::new(16)],
            kernel: KernelTable::default(),
            incoming: Default::default(),
            groups: Vec::new(),
            slow_log_bytes: SLOW_LOG_BYTES,
            joins: Vec::new(),
            refreshes: Vec::new(),
            recheck_emptied: false,
            is_walking: false,
            walk_ids: WALK_IDS,
            next_walk: 0,
            postponed: Vec::new(),
            deadlines: Deadlines::default(),
            effects: VecDeque::new(),
            writable: VecDeque::new(),
            route_changes: Vec::new(),
            shared: Default::default(),
            convergence: Convergence::new(start, now, config.graceful_restart.selection_deferral),
            counters: Counters::default(),
            malformed: MalformedLog::default(),
            session_changes: None,
            scratch: Scratch::default(),
            config: SpeakerConfig {
                neighbors: BTreeMap::new(),
                announcements: BTreeMap::new(),
                ..config.clone()
            },
        };
        let steps = diff(&engine.config, &config);
        engine.carry_out(now, &steps, config);
        engine.deadlines.arm(Owner::Convergence, now);
        engine
    }

    /// The configuration in force.
    pub fn config(&self) -> &SpeakerConfig {
        &self.config
    }

    /// Something to do besides reading and writing.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// A connection that has got something to write since it was last reported here.
    pub fn poll_writable(&mut self) -> Option<ConnId> {
        while let Some(id) = self.writable.pop_front() {
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.is_woken = false;
                return Some(id);
            }
        }
        None
    }

    /// Makes the next bytes of a connection available as slices; `false` if there are none.
    pub fn fill<'a>(&'a mut self, id: ConnId, out: &mut Vec<IoSlice<'a>>) -> bool {
        self.take_group_bytes(id);
        self.conns.get(&id).is_some_and(|conn| conn.io_slices(out))
    }

    /// The hops that a connection's neighbour may be away, if that is to be checked (RFC 5082).
    pub fn ttl_security(&self, id: ConnId) -> Option<u8> {
        let source = self.conns.get(&id)?.source;
        self.peer(source)?.options().ttl_security
    }

    /// So many bytes of what [`Engine::fill`] offered were written; may there be more?
    pub fn written(&mut self, id: ConnId, count: usize) -> bool {
        let Some(conn) = self.conns.get_mut(&id) else { return false };
        conn.written(count);
        !conn.is_done()
    }

    /// Best paths that changed since the last call, each at most once per flush.
    pub fn take_route_changes(&mut self) -> Vec<RouteChange> {
        std::mem::take(&mut self.route_changes)
    }

    /// Whether somebody follows what happens to sessions; if so, [`Engine::poll_session_change`] is to be drained.
    pub fn tell_session_changes(&mut self, is_followed: bool) {
        if is_followed {
            self.session_changes.get_or_insert_default();
        } else {
            self.session_changes = None;
        }
    }

    /// The next thing that happened to a session.
    pub fn poll_session_change(&mut self) -> Option<SessionChange> {
        self.session_changes.as_mut()?.pop_front()
    }

    fn note_session_change(&mut self, source: Source, kind: SessionChangeKind) {
        if self.session_changes.is_none() {
            return;
        }
        let Some(peer) = self.peer(source) else { return };
        let (id, name, state) = (peer.neighbor.id(), peer.neighbor.name.clone(), peer.state());
        let neighbor = self.name_of(id);
        let name = if name.is_empty() { neighbor.clone() } else { name };
        let change = SessionChange { neighbor, name, state, kind };
        self.session_changes.iter_mut().for_each(|changes| changes.push_back(change.clone()));
    }

    /// When [`Engine::handle_deadline`] wants to be called, at the latest.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.deadlines.next()
    }

    /// Is the first convergence done: has every neighbour answered, or been waited for?
    pub fn is_converged(&self) -> bool {
        self.convergence.is_done()
    }

    fn peer(&self, source: Source) -> Option<&Peer> {
        self.peers.get(source.0 as usize)?.as_deref()
    }

    fn peer_mut(&mut self, source: Source) -> Option<&mut Peer> {
        self.peers.get_mut(source.0 as usize)?.as_deref_mut()
    }

    fn identity(config: &SpeakerConfig) -> LoopIdentity {
        LoopIdentity { asn: config.asn, cluster_id: config.cluster_id }
    }

    fn new_conn(&mut self, source: Source, direction: Direction) -> ConnId {
        let id = ConnId(self.next_conn);
        self.next_conn += 1;
        self.conns.insert(id, Conn::new(source, direction));
        id
    }

    fn wake(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id)
            && !conn.is_woken
        {
            conn.is_woken = true;
            conn.is_caught_up = false;
            self.writable.push_back(id);
        }
    }
}

/// Slots that are no peer's.
fn own_sources() -> impl Iterator<Item = u32> {
    0..Source::FIRST_PEER.0
}

/// The prefix behind an id.
fn prefix_of(rib: &Rib, family: Family, id: PrefixId) -> Option<IpNet> {
    bgp_proto::decode_prefix(family.afi_safi(), rib.prefixes.key(id))
}
