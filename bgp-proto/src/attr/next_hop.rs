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
}

impl NextHop {
    /// The address to resolve: the global one of a pair.
    pub const fn addr(self) -> IpAddr {
        match self {
            NextHop::V4(address) => IpAddr::V4(address),
            NextHop::V6(address) | NextHop::V6WithLinkLocal { global: address, .. } => IpAddr::V6(address),
        }
    }

    /// True if a packet could be sent there: not unspecified, not multicast, not class E. A pair without a global
    /// address is judged by its link-local one.
    pub fn is_host(self) -> bool {
        match self {
            NextHop::V4(address) => is_ipv4_host(address),
            NextHop::V6(address) => is_ipv6_host(address),
            NextHop::V6WithLinkLocal { global, link_local } if global.is_unspecified() => {
                is_ipv6_host(link_local)
            }
            NextHop::V6WithLinkLocal { global, .. } => is_ipv6_host(global),
        }
    }

    /// Octets on the wire: 4, 16 or 32.
    pub const fn wire_len(self) -> u8 {
        match self {
            NextHop::V4(_) => 4,
            NextHop::V6(_) => 16,
            NextHop::V6WithLinkLocal { .. } => 32,
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
        let link_local = "fe80::1".parse().unwrap();
        assert!(NextHop::V6WithLinkLocal { global: Ipv6Addr::UNSPECIFIED, link_local }.is_host());
    }
}
