//! Next-hop rules, both ways, without any state. RFC 4271 §5.1.3, RFC 4760 §3, RFC 8950.

use crate::config::{Family, NextHopMode};
use bgp_proto::NextHop;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Our own addresses on a session, as next hops for either family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SelfAddresses {
    /// For IPv4.
    pub v4: Option<Ipv4Addr>,
    /// For IPv6.
    pub v6: Option<Ipv6Addr>,
}

impl SelfAddresses {
    /// Takes the address of a session, and for the other family the first of `others`.
    pub fn new(session: IpAddr, others: &[IpAddr]) -> Self {
        let mut addresses = Self::default();
        for address in std::iter::once(&session).chain(others) {
            match address {
                IpAddr::V4(v4) if addresses.v4.is_none() => addresses.v4 = Some(*v4),
                IpAddr::V6(v6) if addresses.v6.is_none() => addresses.v6 = Some(*v6),
                _ => {}
            }
        }
        addresses
    }

    /// Is this one of them?
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.v4 == Some(v4),
            IpAddr::V6(v6) => self.v6 == Some(v6),
        }
    }

    /// The next hop "self" for a family; an IPv6 one for IPv4 prefixes only where both sides agreed on it.
    pub fn next_hop(&self, family: Family, extended_next_hop: bool) -> Option<NextHop> {
        match family {
            Family::Ipv4Unicast => {
                self.v4.map(NextHop::V4).or_else(|| self.v6.filter(|_| extended_next_hop).map(NextHop::V6))
            }
            Family::Ipv6Unicast => self.v6.map(NextHop::V6),
        }
    }
}

/// What decides about the next hop of an advertised path.
#[derive(Clone, Copy, Debug)]
pub struct ExportContext {
    /// Of the prefix.
    pub family: Family,
    /// Configured towards the neighbour.
    pub mode: NextHopMode,
    /// Is the neighbour of another AS?
    pub to_external: bool,
    /// Ours on this session.
    pub own: SelfAddresses,
    /// RFC 8950 was negotiated.
    pub extended_next_hop: bool,
}

/// The next hop to advertise; `received` is `None` for what we originate. `None`: we have none to give.
pub fn export_next_hop(context: &ExportContext, received: Option<NextHop>) -> Option<NextHop> {
    let own = || context.own.next_hop(context.family, context.extended_next_hop);
    match (received, context.mode) {
        (None, _) | (_, NextHopMode::SelfAddress) => own(),
        (Some(_), NextHopMode::Auto) if context.to_external => own(),
        (Some(next_hop), _) => fits(context, next_hop).then_some(next_hop),
    }
}

/// Can this next hop be written for this family on this session?
fn fits(context: &ExportContext, next_hop: NextHop) -> bool {
    match (context.family, next_hop.addr()) {
        (Family::Ipv4Unicast, IpAddr::V4(_)) | (Family::Ipv6Unicast, IpAddr::V6(_)) => true,
        (Family::Ipv4Unicast, IpAddr::V6(_)) => context.extended_next_hop,
        (Family::Ipv6Unicast, IpAddr::V4(_)) => false,
    }
}

/// Can a received address be a next hop at all (RFC 4271 §6.3: "syntactically correct" and usable)?
pub fn is_usable(next_hop: NextHop) -> bool {
    match next_hop.addr() {
        IpAddr::V4(v4) => !(v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()),
        IpAddr::V6(v6) => !(v6.is_unspecified() || v6.is_multicast()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: SelfAddresses =
        SelfAddresses { v4: Some(Ipv4Addr::new(10, 0, 0, 1)), v6: Some(Ipv6Addr::LOCALHOST) };

    fn context(mode: NextHopMode, to_external: bool) -> ExportContext {
        ExportContext { family: Family::Ipv4Unicast, mode, to_external, own: OWN, extended_next_hop: false }
    }

    #[test]
    fn who_is_the_next_hop() {
        let own = Some(NextHop::V4(Ipv4Addr::new(10, 0, 0, 1)));
        let other = Some(NextHop::V4(Ipv4Addr::new(10, 0, 0, 9)));
        let table = [
            (NextHopMode::Auto, false, None, own),
            (NextHopMode::Auto, false, other, other),
            (NextHopMode::Auto, true, other, own),
            (NextHopMode::SelfAddress, false, other, own),
            (NextHopMode::Unchanged, true, other, other),
            (NextHopMode::Unchanged, true, None, own),
        ];
        for (mode, to_external, received, expected) in table {
            assert_eq!(
                export_next_hop(&context(mode, to_external), received),
                expected,
                "{mode:?} {to_external} {received:?}"
            );
        }
    }

    #[test]
    fn an_ipv6_next_hop_for_ipv4_needs_the_capability() {
        let received = Some(NextHop::V6("fd00::9".parse().unwrap()));
        let mut context = context(NextHopMode::Auto, false);
        assert_eq!(export_next_hop(&context, received), None);
        context.extended_next_hop = true;
        assert_eq!(export_next_hop(&context, received), received);
        context.own.v4 = None;
        assert_eq!(export_next_hop(&context, None), Some(NextHop::V6(Ipv6Addr::LOCALHOST)));
    }

    #[test]
    fn the_session_address_comes_first() {
        let others = ["10.0.0.7".parse().unwrap(), "fd00::1".parse().unwrap()];
        let own = SelfAddresses::new("10.0.0.1".parse().unwrap(), &others);
        assert_eq!((own.v4, own.v6), (Some([10, 0, 0, 1].into()), Some("fd00::1".parse().unwrap())));
        assert!(own.contains("fd00::1".parse().unwrap()) && !own.contains("10.0.0.7".parse().unwrap()));
    }
}
