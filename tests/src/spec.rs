//! What a daemon of the lab is told to be: one description, which every adapter writes in its daemon's own language.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::lab::Node;

/// Seconds of hold time that the lab's sessions ask for: short, so that a silent loss is noticed within a test.
pub const HOLD_TIME_SECS: u16 = 9;

/// One BGP speaker.
#[derive(Clone, Debug)]
pub struct SpeakerSpec {
    /// Its AS number.
    pub asn: u32,
    /// Its router id, also its cluster id.
    pub router_id: Ipv4Addr,
    /// The IPv4 address it speaks from.
    pub v4: Ipv4Addr,
    /// The address on the same interface that is the next hop of its IPv6 routes.
    pub v6: Ipv6Addr,
    /// Its sessions.
    pub peers: Vec<PeerSpec>,
    /// What it originates from the start.
    pub routes: Vec<RouteSpec>,
    /// Whether learned routes go into its namespace's routing table.
    pub kernel: bool,
    /// Whether its sessions carry several paths of one prefix, both ways (RFC 7911). BIRD, FRR and ours know how.
    pub add_paths: bool,
}

impl SpeakerSpec {
    /// A speaker on a node, without sessions or routes, whose router id is the node's address.
    #[must_use]
    pub fn on(node: &Node, asn: u32) -> SpeakerSpec {
        SpeakerSpec {
            asn,
            router_id: node.v4,
            v4: node.v4,
            v6: node.v6,
            peers: Vec::new(),
            routes: Vec::new(),
            kernel: false,
            add_paths: false,
        }
    }

    /// Adds a session.
    #[must_use]
    pub fn with_peer(mut self, address: impl Into<IpAddr>, asn: u32, role: PeerRole) -> SpeakerSpec {
        self.peers.push(PeerSpec { address: address.into(), asn, role });
        self
    }

    /// Adds a route to originate.
    #[must_use]
    pub fn with_route(mut self, route: RouteSpec) -> SpeakerSpec {
        self.routes.push(route);
        self
    }

    /// Learned routes go into the kernel.
    #[must_use]
    pub fn with_kernel(mut self) -> SpeakerSpec {
        self.kernel = true;
        self
    }

    /// Its sessions carry several paths of one prefix, both ways.
    #[must_use]
    pub fn with_add_paths(mut self) -> SpeakerSpec {
        self.add_paths = true;
        self
    }

    /// The next hop of a route that this speaker originates.
    #[must_use]
    pub fn next_hop_for(&self, prefix: IpNet) -> IpAddr {
        match prefix {
            IpNet::V4(_) => self.v4.into(),
            IpNet::V6(_) => self.v6.into(),
        }
    }
}

/// One session, as seen from the speaker that is configured. Both families run on it.
#[derive(Clone, Debug)]
pub struct PeerSpec {
    /// The neighbour's address.
    pub address: IpAddr,
    /// The neighbour's AS number; the same as the speaker's for iBGP.
    pub asn: u32,
    /// What the neighbour is to this speaker.
    pub role: PeerRole,
}

/// What a neighbour is to the configured speaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRole {
    /// An ordinary neighbour.
    Peer,
    /// A route reflection client of the configured speaker.
    Client,
}

/// One route to originate, with its attributes.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// The destination.
    pub prefix: IpNet,
    /// Multi-exit discriminator.
    pub med: Option<u32>,
    /// Local preference (only iBGP carries it).
    pub local_pref: Option<u32>,
    /// Standard communities.
    pub communities: Vec<(u16, u16)>,
    /// Large communities.
    pub large_communities: Vec<(u32, u32, u32)>,
    /// A node's pod block: goes to the kernel as a blackhole where the speaker has a kernel.
    pub is_block: bool,
}

impl RouteSpec {
    /// A route without optional attributes.
    ///
    /// # Panics
    /// If the text is not a prefix: a mistake of the test.
    #[must_use]
    pub fn plain(prefix: &str) -> RouteSpec {
        RouteSpec {
            prefix: prefix.parse().expect("a prefix in the test"),
            med: None,
            local_pref: None,
            communities: Vec::new(),
            large_communities: Vec::new(),
            is_block: false,
        }
    }

    /// A node's pod block.
    #[must_use]
    pub fn block(prefix: &str) -> RouteSpec {
        RouteSpec { is_block: true, ..RouteSpec::plain(prefix) }
    }

    /// A route that carries one of everything, derived from a small number.
    #[must_use]
    pub fn rich(prefix: &str, number: u16) -> RouteSpec {
        RouteSpec {
            med: Some(u32::from(number)),
            local_pref: Some(100 + u32::from(number)),
            communities: vec![(64512, number), (64512, number + 1)],
            large_communities: vec![(64512, 6, u32::from(number))],
            ..RouteSpec::plain(prefix)
        }
    }

    /// The IPv4 network, if it is one.
    #[must_use]
    pub fn v4(&self) -> Option<Ipv4Net> {
        match self.prefix {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        }
    }
}
