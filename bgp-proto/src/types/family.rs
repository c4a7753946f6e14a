//! Address families.

use core::fmt;
use core::str::FromStr;

use super::{ParseValueError, decimal};

/// An address family identifier.
/// <https://www.iana.org/assignments/address-family-numbers/address-family-numbers.xhtml>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Afi(pub u16);

impl Afi {
    /// IPv4.
    pub const IPV4: Afi = Afi(1);
    /// IPv6.
    pub const IPV6: Afi = Afi(2);
    /// Layer 2 VPN (EVPN, VPLS).
    pub const L2VPN: Afi = Afi(25);
    /// Link state.
    pub const BGP_LS: Afi = Afi(16388);
}

/// A subsequent address family identifier.
/// <https://www.iana.org/assignments/safi-namespace/safi-namespace.xhtml>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Safi(pub u8);

impl Safi {
    /// Unicast forwarding.
    pub const UNICAST: Safi = Safi(1);
    /// Multicast reverse path forwarding.
    pub const MULTICAST: Safi = Safi(2);
    /// Labelled unicast (RFC 8277).
    pub const MPLS_LABEL: Safi = Safi(4);
    /// EVPN (RFC 7432).
    pub const EVPN: Safi = Safi(70);
    /// VPN with MPLS labels (RFC 4364).
    pub const MPLS_VPN: Safi = Safi(128);
    /// Route target constraint (RFC 4684).
    pub const RT_CONSTRAINT: Safi = Safi(132);
    /// Flow specification (RFC 8955).
    pub const FLOW_SPEC: Safi = Safi(133);
    /// Flow specification of a VPN (RFC 8955 §8).
    pub const FLOW_SPEC_VPN: Safi = Safi(134);
}

/// An address family with its subsequent family: what a session negotiates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AfiSafi {
    /// The address family.
    pub afi: Afi,
    /// What the routes are used for.
    pub safi: Safi,
}

impl AfiSafi {
    /// IPv4 unicast: the family of the classic NLRI and WITHDRAWN ROUTES fields.
    pub const IPV4_UNICAST: AfiSafi = AfiSafi::new(Afi::IPV4, Safi::UNICAST);
    /// IPv6 unicast.
    pub const IPV6_UNICAST: AfiSafi = AfiSafi::new(Afi::IPV6, Safi::UNICAST);

    /// A family of the two numbers.
    pub const fn new(afi: Afi, safi: Safi) -> AfiSafi {
        AfiSafi { afi, safi }
    }
}

/// The names of `Display`, accepted back by `FromStr`. Others are written `afi-25/safi-65`.
const NAMES: &[(&str, AfiSafi)] = &[
    ("ipv4-unicast", AfiSafi::IPV4_UNICAST),
    ("ipv6-unicast", AfiSafi::IPV6_UNICAST),
    ("ipv4-multicast", AfiSafi::new(Afi::IPV4, Safi::MULTICAST)),
    ("ipv6-multicast", AfiSafi::new(Afi::IPV6, Safi::MULTICAST)),
    ("ipv4-labelled-unicast", AfiSafi::new(Afi::IPV4, Safi::MPLS_LABEL)),
    ("ipv6-labelled-unicast", AfiSafi::new(Afi::IPV6, Safi::MPLS_LABEL)),
    ("ipv4-vpn", AfiSafi::new(Afi::IPV4, Safi::MPLS_VPN)),
    ("ipv6-vpn", AfiSafi::new(Afi::IPV6, Safi::MPLS_VPN)),
    ("ipv4-rt-constraint", AfiSafi::new(Afi::IPV4, Safi::RT_CONSTRAINT)),
    ("ipv4-flowspec", AfiSafi::new(Afi::IPV4, Safi::FLOW_SPEC)),
    ("ipv6-flowspec", AfiSafi::new(Afi::IPV6, Safi::FLOW_SPEC)),
    ("ipv4-flowspec-vpn", AfiSafi::new(Afi::IPV4, Safi::FLOW_SPEC_VPN)),
    ("ipv6-flowspec-vpn", AfiSafi::new(Afi::IPV6, Safi::FLOW_SPEC_VPN)),
    ("l2vpn-evpn", AfiSafi::new(Afi::L2VPN, Safi::EVPN)),
];

impl fmt::Display for AfiSafi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, family)| family == self) {
            Some((name, _)) => f.pad(name),
            None => write!(f, "afi-{}/safi-{}", self.afi.0, self.safi.0),
        }
    }
}

impl FromStr for AfiSafi {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((_, family)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(*family);
        }
        numbered(text).ok_or_else(|| ParseValueError::new("an address family such as ipv4-unicast", text))
    }
}

/// A small set of families: sorted, no duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FamilySet(Vec<AfiSafi>);

impl FamilySet {
    /// The empty set.
    pub const fn new() -> FamilySet {
        FamilySet(Vec::new())
    }

    /// True if the family is in the set.
    pub fn contains(&self, family: AfiSafi) -> bool {
        self.0.contains(&family)
    }

    /// Adds a family; false if it was there.
    pub fn insert(&mut self, family: AfiSafi) -> bool {
        match self.0.binary_search(&family) {
            Ok(_) => false,
            Err(at) => {
                self.0.insert(at, family);
                true
            }
        }
    }

    /// Removes a family; false if it was not there.
    pub fn remove(&mut self, family: AfiSafi) -> bool {
        match self.0.binary_search(&family) {
            Ok(at) => {
                self.0.remove(at);
                true
            }
            Err(_) => false,
        }
    }

    /// The families in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = AfiSafi> + '_ {
        self.0.iter().copied()
    }

    /// How many families.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if no family is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<AfiSafi> for FamilySet {
    fn from_iter<I: IntoIterator<Item = AfiSafi>>(families: I) -> Self {
        let mut set = FamilySet(families.into_iter().collect());
        set.0.sort_unstable();
        set.0.dedup();
        set
    }
}

impl<const N: usize> From<[AfiSafi; N]> for FamilySet {
    fn from(families: [AfiSafi; N]) -> Self {
        families.into_iter().collect()
    }
}

fn numbered(text: &str) -> Option<AfiSafi> {
    let (afi, safi) = text.strip_prefix("afi-")?.split_once("/safi-")?;
    Some(AfiSafi::new(Afi(decimal(afi)?), Safi(decimal(safi)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for family in NAMES.iter().map(|(_, family)| *family).chain([AfiSafi::new(Afi(25), Safi(65))]) {
            assert_eq!(family.to_string().parse(), Ok(family));
        }
        assert_eq!(AfiSafi::IPV4_UNICAST.to_string(), "ipv4-unicast");
        assert!("ipv5-unicast".parse::<AfiSafi>().is_err());
    }

    #[test]
    fn a_family_set_is_sorted_and_unique() {
        let mut set: FamilySet =
            [AfiSafi::IPV6_UNICAST, AfiSafi::IPV4_UNICAST, AfiSafi::IPV6_UNICAST].into_iter().collect();
        assert_eq!(set, FamilySet::from([AfiSafi::IPV4_UNICAST, AfiSafi::IPV6_UNICAST]));
        assert!(!set.insert(AfiSafi::IPV4_UNICAST));
        assert!(set.remove(AfiSafi::IPV4_UNICAST));
        assert!(!set.contains(AfiSafi::IPV4_UNICAST));
        assert_eq!(set.len(), 1);
    }
}
