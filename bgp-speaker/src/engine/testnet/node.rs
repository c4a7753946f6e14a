//! A speaker of a test network, or something else at its address.

use crate::config::{Family, SpeakerConfig};
use crate::engine::PrefixId;
use crate::engine::conn::ConnId;
use crate::engine::speaker::{BestRoute, Engine, StartKind};
use crate::engine::testnet::configure::{address, address_v6};
use crate::engine::testnet::stream::{Side, StreamId};
use crate::engine::time::MonoTime;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Index of a node; its number, which makes its addresses, is one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

impl NodeId {
    /// Counted from 1.
    pub fn number(self) -> u32 {
        self.0 as u32 + 1
    }

    /// Its IPv4 address.
    pub fn address(self) -> IpAddr {
        address(self.number())
    }

    /// Its IPv6 address.
    pub fn address_v6(self) -> IpAddr {
        address_v6(self.number())
    }

    /// Of an address.
    pub(super) fn of(address: IpAddr) -> Option<NodeId> {
        let number = match address {
            IpAddr::V4(v4) => u32::from(v4).checked_sub(0x0a00_0000)?,
            IpAddr::V6(v6) => u128::from(v6) as u32,
        };
        Some(NodeId(number.checked_sub(1)? as usize))
    }
}

/// How a speaker comes back after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revival {
    /// Forwarding went on meanwhile (RFC 4724 §4.1).
    Restarting,
    /// As if for the first time.
    Fresh,
    /// It cannot know which of the two: a reflector.
    Unknown,
}

impl From<Revival> for StartKind {
    fn from(revival: Revival) -> Self {
        match revival {
            Revival::Restarting => StartKind::Restarted,
            Revival::Fresh => StartKind::Fresh,
            Revival::Unknown => StartKind::Unknown,
        }
    }
}

/// What answers at a node's address.
#[derive(Debug)]
pub(super) enum Host {
    /// Nothing.
    Down,
    Speaker(Box<Engine>),
    /// A TCP stack whose data the test writes and reads itself.
    Stranger,
}

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) host: Host,
    pub(super) config: SpeakerConfig,
    pub(super) streams: BTreeMap<ConnId, (StreamId, Side)>,
    pub(super) wake_at: Option<MonoTime>,
    pub(super) refuses: bool,
    /// A subscriber's view of the best routes, and what it has not been told yet.
    pub(super) routes: BTreeMap<IpNet, BestRoute>,
    untold: BTreeSet<(Family, PrefixId)>,
    pub(super) lives: u64,
}

impl Node {
    pub(super) fn new(id: NodeId, config: SpeakerConfig, host: Host) -> Self {
        Self {
            id,
            host,
            config,
            streams: BTreeMap::new(),
            wake_at: None,
            refuses: false,
            routes: BTreeMap::new(),
            untold: BTreeSet::new(),
            lives: 0,
        }
    }

    pub(super) fn engine(&self) -> Option<&Engine> {
        match &self.host {
            Host::Speaker(engine) => Some(engine),
            Host::Down | Host::Stranger => None,
        }
    }

    pub(super) fn engine_mut(&mut self) -> Option<&mut Engine> {
        match &mut self.host {
            Host::Speaker(engine) => Some(engine),
            Host::Down | Host::Stranger => None,
        }
    }

    pub(super) fn other_addresses(&self) -> [IpAddr; 2] {
        [self.id.address(), self.id.address_v6()]
    }

    /// Route selection and what belongs to it; the subscriber notes what changed.
    pub(super) fn flush(&mut self) {
        let Host::Speaker(engine) = &mut self.host else { return };
        let untold = &self.untold;
        engine.flush(|family, id| untold.contains(&(family, id)));
    }

    /// The subscriber remembers which prefixes it is to be told about.
    pub(super) fn note_changes(&mut self) {
        let Host::Speaker(engine) = &mut self.host else { return };
        self.untold.extend(engine.take_route_changes().into_iter().map(|change| (change.family, change.id)));
    }

    /// The subscriber reads the latest state of up to so many prefixes. Nothing may be undecided.
    pub(super) fn tell(&mut self, count: usize) {
        let Host::Speaker(engine) = &self.host else { return };
        for (family, id) in self.untold.iter().copied().take(count).collect::<Vec<_>>() {
            self.untold.remove(&(family, id));
            let Some(prefix) = engine.prefix(family, id) else {
                panic!("{}: no prefix {id:?}", self.id.number())
            };
            match engine.best_route(family, id) {
                Some(route) => self.routes.insert(prefix, route),
                None => self.routes.remove(&prefix),
            };
        }
    }

    /// Starts anew as a subscriber too.
    pub(super) fn forget(&mut self) {
        self.routes.clear();
        self.untold.clear();
        self.streams.clear();
        self.wake_at = None;
    }
}
