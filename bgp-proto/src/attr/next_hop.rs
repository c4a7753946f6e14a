//! Next hops of MP_REACH_NLRI.

use core::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::BufMut;

/// Where to send packets for the announced prefixes (RFC 4760 §3, RFC 2545 §3, RFC 8950 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum NextHop {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, usually global.
    V6(Ipv6Addr),
    /// A global address with the link-local one of the same interface (RFC 2545 §3).
    V6WithLinkLocal {
        /// The global address; `::` from some speakers that have none.
        global: Ipv6Addr,
        /// The link-local address.
        link_local: Ipv6Addr,
    },
    /// What families beyond plain addresses have, verbatim: nothing at all, or route distinguishers before addresses.
    Opaque(OpaqueNextHop),
}

/// The next hop of a family that this crate carries and does not interpret: 0 to 48 octets.
///
/// ```text
/// +--------------------------------------------+
/// | nothing                                    |  flow specifications (RFC 8955 §4)
/// | RD (8) | IPv4 (4)                          |  VPN-IPv4 (RFC 4364 §4.3.2)
/// | RD (8) | IPv6 (16)                         |  VPN-IPv6 (RFC 4659 §3.2.1), VPN-IPv4 (RFC 8950 §3)
/// | RD (8) | IPv6 (16) | RD (8) | IPv6 (16)    |  the same with a link-local address
/// +--------------------------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpaqueNextHop {
    len: u8,
    octets: [u8; OpaqueNextHop::MAX_LEN],
}

impl OpaqueNextHop {
    /// Two route distinguishers with an IPv6 address each.
    pub const MAX_LEN: usize = 48;

    /// `None` if there are more than [`MAX_LEN`](Self::MAX_LEN) octets.
    pub fn new(octets: &[u8]) -> Option<OpaqueNextHop> {
        let mut kept = [0; Self::MAX_LEN];
        kept.get_mut(..octets.len())?.copy_from_slice(octets);
        Some(OpaqueNextHop { len: u8::try_from(octets.len()).ok()?, octets: kept })
    }

    /// The octets as received.
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The address behind the route distinguisher, the global one of two.
    pub const fn addr(&self) -> Option<IpAddr> {
        match (self.len, &self.octets) {
            (12, [_, _, _, _, _, _, _, _, a, b, c, d, ..]) => Some(IpAddr::V4(Ipv4Addr::new(*a, *b, *c, *d))),
            (24 | 48, [_, _, _, _, _, _, _, _, rest @ ..]) => match rest.first_chunk::<16>() {
                Some(v6) => Some(IpAddr::V6(Ipv6Addr::from_bits(u128::from_be_bytes(*v6)))),
                None => None,
            },
            _ => None,
        }
    }
}

impl NextHop {
    /// The address to resolve: the global one of a pair, the one behind a route distinguisher; `0.0.0.0` where there is
    /// none.
    pub const fn addr(self) -> IpAddr {
        match self {
            NextHop::Opaque(opaque) => match opaque.addr() {
                Some(address) => address,
                None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            },
            NextHop::V4(address) => IpAddr::V4(address),
            NextHop::V6(address) | NextHop::V6WithLinkLocal { global: address, .. } => IpAddr::V6(address),
        }
    }

    /// True if a packet could be sent there: not unspecified, not multicast, not class E. A pair without a global
    /// address is judged by its link-local one; where there is no address there is nothing to object to.
    pub fn is_host(self) -> bool {
        match self {
            NextHop::Opaque(opaque) => opaque.addr().is_none_or(|address| NextHop::from(address).is_host()),
            NextHop::V4(address) => is_ipv4_host(address),
            NextHop::V6(address) => is_ipv6_host(address),
            NextHop::V6WithLinkLocal { global, link_local } if global.is_unspecified() => {
                is_ipv6_host(link_local)
            }
            NextHop::V6WithLinkLocal { global, .. } => is_ipv6_host(global),
        }
    }

    /// Octets on the wire: 4, 16 or 32; 0 to 48 for [`Opaque`](NextHop::Opaque).
    pub const fn wire_len(self) -> u8 {
        match self {
            NextHop::V4(_) => 4,
            NextHop::V6(_) => 16,
            NextHop::V6WithLinkLocal { .. } => 32,
            NextHop::Opaque(opaque) => opaque.len,
        }
    }

    /// Appends the length octet and the address or addresses, as MP_REACH_NLRI has them.
    pub fn put(self, out: &mut impl BufMut) {
        out.put_u8(self.wire_len());
        match self {
            NextHop::V4(address) => out.put_slice(&address.octets()),
            NextHop::V6(address) => out.put_slice(&address.octets()),
            NextHop::V6WithLinkLocal { global, link_local } => {
                out.put_slice(&global.octets());
                out.put_slice(&link_local.octets());
            }
            NextHop::Opaque(opaque) => out.put_slice(opaque.octets()),
        }
    }

    /// Reads 4, 16 or 32 octets.
    pub fn from_octets(octets: &[u8]) -> Option<NextHop> {
        if let Ok(v4) = <[u8; 4]>::try_from(octets) {
            return Some(NextHop::V4(v4.into()));
        }
        if let Ok(v6) = <[u8; 16]>::try_from(octets) {
            return Some(NextHop::V6(v6.into()));
        }
        let (global, link_local) = octets.split_first_chunk::<16>()?;
        let link_local = <[u8; 16]>::try_from(link_local).ok()?;
        Some(NextHop::V6WithLinkLocal { global: (*global).into(), link_local: link_local.into() })
    }
}

impl From<IpAddr> for NextHop {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => NextHop::V4(address),
            IpAddr::V6(address) => NextHop::V6(address),
        }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NextHop::V4(address) => write!(f, "{address}"),
            NextHop::V6(address) => write!(f, "{address}"),
            NextHop::V6WithLinkLocal { global, link_local } => write!(f, "{global} {link_local}"),
            NextHop::Opaque(opaque) => match opaque.addr() {
                Some(address) => write!(f, "{address}"),
                None => f.write_str("none"),
            },
        }
    }
}

/// RFC 4271 §6.3 asks for "a valid IP host address". Loopback passes: it is a matter of the receiver's policy.
pub(crate) fn is_ipv4_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && first < 224
}

fn is_ipv6_host(address: Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_addresses() {
        for (address, is_host) in [
            ("192.0.2.1", true),
            ("127.0.0.1", true),
            ("0.0.0.0", false),
            ("224.0.0.5", false),
            ("255.255.255.255", false),
        ] {
            assert_eq!(NextHop::V4(address.parse().unwrap()).is_host(), is_host, "{address}");
        }
        for (address, is_host) in
            [("2001:db8::1", true), ("fe80::1", true), ("::", false), ("ff02::1", false)]
        {
            assert_eq!(NextHop::V6(address.parse().unwrap()).is_host(), is_host, "{address}");
        }
        let vpn = |address: [u8; 4]| {
            let octets = [&[0, 0, 0xfd, 0xe8, 0, 0, 0, 1][..], &address].concat();
            NextHop::Opaque(OpaqueNextHop::new(&octets).unwrap())
        };
        assert!(vpn([192, 0, 2, 1]).is_host());
        assert_eq!(vpn([192, 0, 2, 1]).to_string(), "192.0.2.1");
        assert!(!vpn([0; 4]).is_host());
        let nothing = NextHop::Opaque(OpaqueNextHop::new(&[]).unwrap());
        assert!(nothing.is_host());
        assert_eq!(nothing.to_string(), "none");
        assert_eq!(OpaqueNextHop::new(&[0; 49]), None);
        let link_local = "fe80::1".parse().unwrap();
        assert!(NextHop::V6WithLinkLocal { global: Ipv6Addr::UNSPECIFIED, link_local }.is_host());
    }
}
