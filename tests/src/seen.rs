//! What a daemon says about itself, in one form for all of them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;

use crate::spec::RouteSpec;

/// One session as the daemon itself reports it.
#[derive(Clone, Debug)]
pub struct SeenSession {
    /// Whether it is established.
    pub is_established: bool,
    /// How long it has been, if the daemon tells.
    pub uptime: Option<Duration>,
    /// The daemon's own words, for messages.
    pub detail: String,
}

/// One received route as the daemon itself reports it. Absent attributes are `None` or empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenRoute {
    /// The destination.
    pub prefix: IpNet,
    /// The global next hop.
    pub next_hop: Option<IpAddr>,
    /// `igp`, `egp` or `incomplete`.
    pub origin: String,
    /// The AS path, flattened.
    pub as_path: Vec<u32>,
    /// Local preference. Daemons invent one for eBGP routes, so only iBGP sessions are judged by it.
    pub local_pref: Option<u32>,
    /// Multi-exit discriminator.
    pub med: Option<u32>,
    /// Standard communities as `64512:1`.
    pub communities: BTreeSet<String>,
    /// Large communities as `64512:1:2`.
    pub large_communities: BTreeSet<String>,
    /// RFC 4456 ORIGINATOR_ID.
    pub originator_id: Option<Ipv4Addr>,
    /// RFC 4456 CLUSTER_LIST, nearest reflector first.
    pub cluster_list: Vec<Ipv4Addr>,
}

impl SeenRoute {
    /// A route with nothing but its destination; adapters fill in what their daemon shows.
    #[must_use]
    pub fn new(prefix: IpNet) -> SeenRoute {
        SeenRoute {
            prefix,
            next_hop: None,
            origin: "igp".into(),
            as_path: Vec::new(),
            local_pref: None,
            med: None,
            communities: BTreeSet::new(),
            large_communities: BTreeSet::new(),
            originator_id: None,
            cluster_list: Vec::new(),
        }
    }

    /// What a receiver should see of a route that `next_hop` originates, before any rule of the session changes it.
    #[must_use]
    pub fn of(route: &RouteSpec, next_hop: IpAddr) -> SeenRoute {
        SeenRoute {
            next_hop: Some(next_hop),
            local_pref: route.local_pref,
            med: route.med,
            communities: route.communities.iter().map(|(high, low)| format!("{high}:{low}")).collect(),
            large_communities: route
                .large_communities
                .iter()
                .map(|(a, b, c)| format!("{a}:{b}:{c}"))
                .collect(),
            ..SeenRoute::new(route.prefix)
        }
    }
}

/// One line, in the order in which one reads a route.
impl fmt::Display for SeenRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.prefix)?;
        if let Some(next_hop) = self.next_hop {
            write!(f, " via {next_hop}")?;
        }
        write!(f, " path {:?} origin {}", self.as_path, self.origin)?;
        if let Some(local_pref) = self.local_pref {
            write!(f, " pref {local_pref}")?;
        }
        if let Some(med) = self.med {
            write!(f, " med {med}")?;
        }
        if !self.communities.is_empty() {
            write!(f, " communities {:?}", self.communities)?;
        }
        if !self.large_communities.is_empty() {
            write!(f, " large {:?}", self.large_communities)?;
        }
        if let Some(originator) = self.originator_id {
            write!(f, " originator {originator} clusters {:?}", self.cluster_list)?;
        }
        Ok(())
    }
}
