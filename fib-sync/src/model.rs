//! What the owner wants: routes, their kinds and their next hops.
//!
//! These types are cheap to copy around: a [`NextHopSet`] is shared, so a million routes over three next-hop sets
//! hold three sets. Nothing here knows of netlink, and nothing here has been checked against a kernel.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::sync::Arc;

use ipnet::IpNet;

use crate::reach::{Reach, Tunnel};

/// One wanted route: a prefix and what to do with packets for it. At most one per prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Route {
    /// The destination. Host bits must be zero; a prefix with host bits is refused, not truncated.
    pub prefix: IpNet,
    /// What happens to packets for it.
    pub kind: RouteKind,
    /// Its metric; `None`: that of the [`FibConfig`](crate::FibConfig). For the kernel, a route with another metric is
    /// another route: when it changes, the new one is there before the old one goes.
    pub metric: Option<u32>,
}

impl Route {
    /// A route over one gateway that is reachable through a connected network.
    pub fn via(prefix: IpNet, gateway: IpAddr) -> Route {
        Route::unicast(prefix, NextHopSet::from(gateway))
    }

    /// A route over a set of next hops.
    pub fn unicast(prefix: IpNet, next_hops: NextHopSet) -> Route {
        Route { prefix, kind: RouteKind::Unicast(next_hops), metric: None }
    }

    /// A route that drops packets silently.
    pub fn blackhole(prefix: IpNet) -> Route {
        Route { prefix, kind: RouteKind::Blackhole, metric: None }
    }

    /// The same route with a metric of its own.
    pub fn with_metric(self, metric: u32) -> Route {
        Route { metric: Some(metric), ..self }
    }

    /// Checks what the kernel would refuse for any state of its interfaces.
    pub(crate) fn validate(&self) -> Result<(), InvalidRoute> {
        if self.prefix != self.prefix.trunc() {
            return Err(InvalidRoute::HostBits);
        }
        let RouteKind::Unicast(set) = &self.kind else { return Ok(()) };
        let is_ipv6 = self.prefix.addr().is_ipv6();
        let gateways = set.next_hops().iter().filter_map(|hop| hop.gateway);
        // IPv6 next hops may carry IPv4 (RFC 5549); the reverse does not exist.
        if is_ipv6 && gateways.clone().any(|gateway| gateway.is_ipv4()) {
            return Err(InvalidRoute::GatewayFamily);
        }
        if set.preferred_source().is_some_and(|source| source.is_ipv6() != is_ipv6) {
            return Err(InvalidRoute::SourceFamily);
        }
        Ok(())
    }
}

/// A change to the desired set. The latest change of a prefix wins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Change {
    /// Nothing is wanted for this prefix any more.
    Remove(IpNet),
    /// This route is wanted, in place of any other for its prefix.
    Set(Route),
}

impl Change {
    /// The prefix that this change is about.
    pub fn prefix(&self) -> IpNet {
        match self {
            Change::Remove(prefix) => *prefix,
            Change::Set(route) => route.prefix,
        }
    }
}

/// What the kernel does with packets that match a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum RouteKind {
    /// Drops them silently.
    Blackhole,
    /// Drops them and answers "communication administratively prohibited".
    Prohibit,
    /// Forwards them over one of these next hops.
    Unicast(NextHopSet),
    /// Drops them and answers "host unreachable".
    Unreachable,
}

/// One way out. At least one of `gateway` and `interface` is set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct NextHop {
    /// The next router. Without `interface` it must be reachable through a connected network; a link-local address
    /// needs the interface. An IPv6 gateway may carry IPv4 routes.
    pub gateway: Option<IpAddr>,
    /// The interface to leave by; without it, the one that reaches `gateway`.
    pub interface: Option<InterfaceName>,
    /// Treat `gateway` as reachable on `interface` even though no connected network covers it.
    pub onlink: bool,
    /// Share of the traffic, relative to the other next hops of the set.
    pub weight: NonZeroU8,
    /// How `gateway` is reached; other than as a neighbour, it is all that is known, so `interface` and `onlink` are not.
    pub reach: Reach,
}

impl NextHop {
    /// A gateway; the interface is found through the connected networks.
    pub fn via(gateway: IpAddr) -> NextHop {
        NextHop {
            gateway: Some(gateway),
            interface: None,
            onlink: false,
            weight: NonZeroU8::MIN,
            reach: Reach::Neighbour,
        }
    }

    /// An interface without a gateway.
    pub fn dev(interface: InterfaceName) -> NextHop {
        NextHop {
            gateway: None,
            interface: Some(interface),
            onlink: false,
            weight: NonZeroU8::MIN,
            reach: Reach::Neighbour,
        }
    }

    /// A gateway that need not be a neighbour: the kernel's other routes say which way.
    pub fn recursive(gateway: IpAddr) -> NextHop {
        NextHop { reach: Reach::Recursive, ..NextHop::via(gateway) }
    }

    /// A gateway at the far end of a tunnel, or, where that is not for it, as [`recursive`](NextHop::recursive).
    pub fn tunnelled(gateway: IpAddr, tunnel: Tunnel) -> NextHop {
        NextHop { reach: Reach::Tunnel(tunnel), ..NextHop::via(gateway) }
    }

    /// The same next hop, leaving by `interface`.
    pub fn on(mut self, interface: InterfaceName) -> NextHop {
        self.interface = Some(interface);
        self
    }

    /// The same next hop, its gateway taken as reachable on the interface.
    pub fn onlink(mut self) -> NextHop {
        self.onlink = true;
        self
    }

    /// The same next hop with another weight.
    pub fn weight(mut self, weight: NonZeroU8) -> NextHop {
        self.weight = weight;
        self
    }
}

/// One or more next hops, sorted and without duplicates, and how to leave by them. Cloning shares the set.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NextHopSet(Arc<NextHopSetInner>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct NextHopSetInner {
    next_hops: Box<[NextHop]>,
    preferred_source: Option<IpAddr>,
    mtu: Option<u32>,
}

impl NextHopSet {
    /// Collects next hops into a set; the order given does not matter.
    ///
    /// # Errors
    /// [`InvalidNextHops`] when there is none, more than 256, or one with neither gateway nor interface, or
    /// `onlink` without both, or two that differ in weight only.
    pub fn new(next_hops: impl IntoIterator<Item = NextHop>) -> Result<NextHopSet, InvalidNextHops> {
        let mut next_hops: Vec<NextHop> = next_hops.into_iter().collect();
        next_hops.sort();
        next_hops.dedup();
        if next_hops.is_empty() {
            return Err(InvalidNextHops::Empty);
        }
        if next_hops.len() > NextHopSet::LEN_MAX {
            return Err(InvalidNextHops::TooMany { count: next_hops.len() });
        }
        for hop in &next_hops {
            if hop.gateway.is_none() && hop.interface.is_none() {
                return Err(InvalidNextHops::NoWayOut);
            }
            if hop.onlink && (hop.gateway.is_none() || hop.interface.is_none()) {
                return Err(InvalidNextHops::OnlinkNeedsInterface);
            }
            if hop.reach != Reach::Neighbour && (hop.gateway.is_none() || hop.interface.is_some()) {
                return Err(InvalidNextHops::ReachNeedsGatewayAlone);
            }
        }
        let same_way = |pair: &[NextHop]| {
            let [a, b] = pair else { return false };
            a.gateway == b.gateway && a.interface == b.interface && a.onlink == b.onlink && a.reach == b.reach
        };
        if next_hops.windows(2).any(same_way) {
            return Err(InvalidNextHops::TwoWeights);
        }
        Ok(NextHopSet::from_parts(next_hops))
    }

    /// The longest set, as in the kernel's own limit for a group of next hops with 8-bit weights.
    pub const LEN_MAX: usize = 256;

    fn from_parts(next_hops: Vec<NextHop>) -> NextHopSet {
        let next_hops = next_hops.into_boxed_slice();
        NextHopSet(Arc::new(NextHopSetInner { next_hops, preferred_source: None, mtu: None }))
    }

    /// The same set; packets that this host itself sends carry `source`.
    pub fn with_preferred_source(self, source: IpAddr) -> NextHopSet {
        let inner = NextHopSetInner { preferred_source: Some(source), ..(*self.0).clone() };
        NextHopSet(Arc::new(inner))
    }

    /// The same set with a path MTU in bytes.
    pub fn with_mtu(self, mtu_bytes: u32) -> NextHopSet {
        let inner = NextHopSetInner { mtu: Some(mtu_bytes), ..(*self.0).clone() };
        NextHopSet(Arc::new(inner))
    }

    /// The next hops, sorted, at least one.
    pub fn next_hops(&self) -> &[NextHop] {
        &self.0.next_hops
    }

    /// The source address of locally sent packets, if one is preferred.
    pub fn preferred_source(&self) -> Option<IpAddr> {
        self.0.preferred_source
    }

    /// The path MTU in bytes, if one is set.
    pub fn mtu(&self) -> Option<u32> {
        self.0.mtu
    }
}

impl From<IpAddr> for NextHopSet {
    fn from(gateway: IpAddr) -> NextHopSet {
        NextHopSet::from_parts(vec![NextHop::via(gateway)])
    }
}

impl fmt::Debug for NextHopSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for NextHopSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut set = serializer.serialize_struct("NextHopSet", 3)?;
        set.serialize_field("next_hops", self.next_hops())?;
        set.serialize_field("preferred_source", &self.preferred_source())?;
        set.serialize_field("mtu", &self.mtu())?;
        set.end()
    }
}

/// The name of a network interface: 1 to 15 bytes, no `/`, no white space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct InterfaceName(Arc<str>);

impl InterfaceName {
    /// Checks the name as the kernel does.
    ///
    /// # Errors
    /// [`InvalidInterfaceName`] when the kernel could have no interface of that name.
    pub fn new(name: &str) -> Result<InterfaceName, InvalidInterfaceName> {
        let is_refused = |c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0';
        if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.contains(is_refused) {
            return Err(InvalidInterfaceName { name: name.to_owned() });
        }
        Ok(InterfaceName(Arc::from(name)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for InterfaceName {
    type Err = InvalidInterfaceName;

    fn from_str(name: &str) -> Result<InterfaceName, InvalidInterfaceName> {
        InterfaceName::new(name)
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            RouteKind::Unicast(set) => write!(f, "{} {set}", self.prefix)?,
            kind => write!(f, "{kind} {}", self.prefix)?,
        }
        self.metric.map_or(Ok(()), |metric| write!(f, " metric {metric}"))
    }
}

impl fmt::Display for RouteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteKind::Blackhole => f.write_str("blackhole"),
            RouteKind::Prohibit => f.write_str("prohibit"),
            RouteKind::Unicast(set) => set.fmt(f),
            RouteKind::Unreachable => f.write_str("unreachable"),
        }
    }
}

impl fmt::Display for NextHopSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.next_hops() {
            [hop] => write!(f, "{hop}")?,
            hops => {
                for (index, hop) in hops.iter().enumerate() {
                    let space = if index == 0 { "" } else { " " };
                    write!(f, "{space}nexthop {hop} weight {}", hop.weight)?;
                }
            }
        }
        if let Some(source) = self.preferred_source() {
            write!(f, " src {source}")?;
        }
        if let Some(mtu) = self.mtu() {
            write!(f, " mtu {mtu}")?;
        }
        Ok(())
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.gateway, &self.interface) {
            (Some(gateway), Some(interface)) => write!(f, "via {gateway} dev {interface}")?,
            (Some(gateway), None) => write!(f, "via {gateway}")?,
            (None, Some(interface)) => write!(f, "dev {interface}")?,
            (None, None) => f.write_str("nowhere")?,
        }
        if self.onlink {
            f.write_str(" onlink")?;
        }
        match &self.reach {
            Reach::Neighbour => Ok(()),
            reach => write!(f, " {reach}"),
        }
    }
}

/// Why a route cannot be installed by any kernel in any state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRoute {
    /// An IPv6 prefix with an IPv4 gateway.
    #[error("an IPv6 route cannot have an IPv4 gateway")]
    GatewayFamily,
    /// Bits beyond the prefix length are set.
    #[error("the prefix has host bits set")]
    HostBits,
    /// The preferred source is of the other family.
    #[error("the preferred source is not of the prefix's family")]
    SourceFamily,
}

/// Why next hops do not make a [`NextHopSet`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidNextHops {
    /// None was given.
    #[error("a set of next hops needs at least one")]
    Empty,
    /// A next hop without gateway and without interface.
    #[error("a next hop needs a gateway or an interface")]
    NoWayOut,
    /// `onlink` says that a gateway is on an interface, so both are needed.
    #[error("an onlink next hop needs a gateway and an interface")]
    OnlinkNeedsInterface,
    /// A recursive or tunnelled next hop without gateway, or with an interface.
    #[error("a recursive or tunnelled next hop needs a gateway, and finds the interface by itself")]
    ReachNeedsGatewayAlone,
    /// More than [`NextHopSet::LEN_MAX`].
    #[error("{count} next hops in one set, at most 256 are possible")]
    TooMany {
        /// How many were given.
        count: usize,
    },
    /// The same next hop twice with different weights.
    #[error("the same next hop is given twice with different weights")]
    TwoWeights,
}

/// A name that no network interface can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot be the name of a network interface")]
pub struct InvalidInterfaceName {
    /// The refused name.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(text: &str) -> NextHop {
        NextHop::via(text.parse().unwrap())
    }

    #[test]
    fn the_order_of_next_hops_does_not_matter() {
        let one = NextHopSet::new([gateway("10.0.0.1"), gateway("10.0.0.2")]).unwrap();
        let other = NextHopSet::new([gateway("10.0.0.2"), gateway("10.0.0.1"), gateway("10.0.0.2")]).unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn impossible_next_hops_are_refused() {
        let two = NonZeroU8::new(2).unwrap();
        let nowhere = NextHop { gateway: None, ..gateway("10.0.0.1") };
        for (hops, error) in [
            (vec![], InvalidNextHops::Empty),
            (vec![nowhere], InvalidNextHops::NoWayOut),
            (vec![gateway("10.0.0.1").onlink()], InvalidNextHops::OnlinkNeedsInterface),
            (
                vec![NextHop::recursive("10.0.0.1".parse().unwrap()).on(InterfaceName::new("eth0").unwrap())],
                InvalidNextHops::ReachNeedsGatewayAlone,
            ),
            (vec![gateway("10.0.0.1"), gateway("10.0.0.1").weight(two)], InvalidNextHops::TwoWeights),
        ] {
            assert_eq!(NextHopSet::new(hops), Err(error));
        }
    }

    #[test]
    fn a_prefix_with_host_bits_is_refused() {
        let route = Route::blackhole("10.0.0.1/8".parse().unwrap());
        assert_eq!(route.validate(), Err(InvalidRoute::HostBits));
    }

    #[test]
    fn an_ipv6_gateway_may_carry_ipv4_but_not_the_reverse() {
        assert_eq!(Route::via("10.0.0.0/8".parse().unwrap(), "fe80::1".parse().unwrap()).validate(), Ok(()));
        let reverse = Route::via("fd00::/64".parse().unwrap(), "10.0.0.1".parse().unwrap());
        assert_eq!(reverse.validate(), Err(InvalidRoute::GatewayFamily));
    }

    #[test]
    fn interface_names_are_checked_as_the_kernel_does() {
        for name in ["eth0", "cali0123456789a"] {
            assert!(InterfaceName::new(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", "sixteen-bytes-xx"] {
            assert!(InterfaceName::new(name).is_err(), "{name}");
        }
    }
}
