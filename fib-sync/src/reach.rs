//! How a next hop is reached that need not be a neighbour: over the kernel's own routes, or through a tunnel.

use std::fmt;

use ipnet::IpNet;

use crate::model::InterfaceName;

/// How the gateway of a [`NextHop`](crate::NextHop) is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Reach {
    /// It is a neighbour: on the interface given, or in a connected network.
    #[default]
    Neighbour,
    /// It may be anywhere: the kernel's longest match for it says which way, as for the next hop of a BGP route
    /// (RFC 4271, section 5.1.3). Routes of ours do not count, and an own address is no next hop.
    Recursive,
    /// It is the far end of a tunnel.
    Tunnel(Tunnel),
}

/// A device that reaches every gateway by itself: the gateway is written as onlink, and the device does the rest (IPIP
/// by the address, VXLAN by its neighbour and forwarding entries, which are not this crate's affair).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Tunnel {
    /// The tunnel's device. While there is none of this name, routes over it are pending.
    pub device: InterfaceName,
    /// Which gateways it is for; the others are [`Reach::Recursive`].
    pub when: TunnelWhen,
}

/// When a tunnel is used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum TunnelWhen {
    /// For every gateway.
    Always,
    /// For gateways outside this network, in which hosts reach each other without help.
    Outside(IpNet),
    /// For gateways that are in no connected network.
    CrossSubnet,
}

impl fmt::Display for TunnelWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TunnelWhen::Always => f.write_str("always"),
            TunnelWhen::Outside(network) => write!(f, "outside {network}"),
            TunnelWhen::CrossSubnet => f.write_str("cross-subnet"),
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reach::Neighbour => f.write_str("neighbour"),
            Reach::Recursive => f.write_str("recursive"),
            Reach::Tunnel(tunnel) => write!(f, "tunnel {} {}", tunnel.device, tunnel.when),
        }
    }
}
