//! Why a route goes where it goes: what was decided about each next hop, and where a prefix stands.

use std::fmt;

use ipnet::IpNet;

use crate::error::Refusal;
use crate::model::{InterfaceName, NextHop, Route};
use crate::status::InstalledNextHop;

/// What was decided about one next hop, for all routes over it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct NextHopDecision {
    /// As the owner gave it.
    pub next_hop: NextHop,
    /// How many wanted routes go over it, alone or among others.
    pub routes: usize,
    /// What led to the decision.
    pub because: Because,
    /// Where packets are sent: more than one where the way to the next hop is shared, none if there is no way.
    pub ways: Vec<InstalledNextHop>,
    /// Why there is no way. What the kernel itself refuses is told per route, in [`RouteState::Pending`].
    pub refusal: Option<Refusal>,
}

/// What led to a decision about a next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Because {
    /// It is a neighbour in this connected network.
    Connected {
        /// The network.
        network: IpNet,
    },
    /// The owner named the interface.
    Interface,
    /// It is left to the kernel to find it among its neighbours, or to refuse it.
    Kernel,
    /// There is no way.
    NoWay,
    /// A route that is not ours leads to it.
    Route {
        /// The prefix of that route.
        prefix: IpNet,
        /// Its protocol id.
        protocol: u8,
    },
    /// The tunnel is for it.
    Tunnel {
        /// The tunnel's device.
        device: InterfaceName,
    },
}

/// Where one prefix stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct RouteExplanation {
    /// What is wanted.
    pub route: Route,
    /// Whether the kernel has it.
    pub state: RouteState,
    /// What was decided about its next hops, in the route's order; empty for a route that drops.
    pub next_hops: Vec<NextHopDecision>,
}

/// Whether the kernel has a wanted route.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum RouteState {
    /// As wanted.
    Installed,
    /// Refused, and tried again some time.
    Pending {
        /// Why.
        reason: Refusal,
        /// Somebody else's route is in its place.
        is_conflict: bool,
    },
    /// On its way to the kernel, or about to be.
    Queued,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Because::Connected { network } => write!(f, "in the connected network {network}"),
            Because::Interface => f.write_str("its interface is given"),
            Because::Kernel => f.write_str("left to the kernel"),
            Because::NoWay => f.write_str("there is no way to it"),
            Because::Route { prefix, protocol } => {
                write!(f, "over the route to {prefix}, protocol {protocol}")
            }
            Because::Tunnel { device } => write!(f, "through the tunnel {device}"),
        }
    }
}
