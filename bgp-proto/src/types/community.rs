//! Communities of four, eight and twelve octets.

use core::fmt;
use core::str::FromStr;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Asn, ParseValueError, decimal};

/// A community of four octets (RFC 1997), written `65000:100` or by its well-known name.
/// <https://www.iana.org/assignments/bgp-well-known-communities/bgp-well-known-communities.xhtml>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Community(pub u32);

impl Community {
    /// Traffic to this destination should be moved away before a shutdown (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Community = Community(0xffff_0000);
    /// The route is kept after its session was lost for long (RFC 9494 §4.6).
    pub const LLGR_STALE: Community = Community(0xffff_0006);
    /// The route must not be kept as long-lived stale (RFC 9494 §4.6).
    pub const NO_LLGR: Community = Community(0xffff_0007);
    /// Traffic to this destination should be discarded (RFC 7999).
    pub const BLACKHOLE: Community = Community(0xffff_029a);
    /// Do not advertise outside the confederation or AS (RFC 1997).
    pub const NO_EXPORT: Community = Community(0xffff_ff01);
    /// Do not advertise to any peer (RFC 1997).
    pub const NO_ADVERTISE: Community = Community(0xffff_ff02);
    /// Do not advertise to external peers, confederation members included (RFC 1997).
    pub const NO_EXPORT_SUBCONFED: Community = Community(0xffff_ff03);

    /// The community `high:low`.
    pub const fn new(high: u16, low: u16) -> Community {
        Community((high as u32) << 16 | low as u32)
    }
}

const WELL_KNOWN: &[(&str, Community)] = &[
    ("graceful-shutdown", Community::GRACEFUL_SHUTDOWN),
    ("llgr-stale", Community::LLGR_STALE),
    ("no-llgr", Community::NO_LLGR),
    ("blackhole", Community::BLACKHOLE),
    ("no-export", Community::NO_EXPORT),
    ("no-advertise", Community::NO_ADVERTISE),
    ("no-export-subconfed", Community::NO_EXPORT_SUBCONFED),
];

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match WELL_KNOWN.iter().find(|(_, community)| community == self) {
            Some((name, _)) => f.pad(name),
            None => write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff),
        }
    }
}

impl FromStr for Community {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((_, community)) = WELL_KNOWN.iter().find(|(name, _)| *name == text) {
            return Ok(*community);
        }
        text.split_once(':')
            .and_then(|(high, low)| Some(Community::new(decimal(high)?, decimal(low)?)))
            .ok_or_else(|| ParseValueError::new("a community such as 65000:100 or no-export", text))
    }
}

/// An extended community of eight octets (RFC 4360).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |I|T|  type     |   sub-type    |                               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+                               |
/// |                             value                             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// Route targets and route origins are written `rt:65000:100`, `rt:192.0.2.1:100` or, with a four-octet AS,
/// `rt:4200000000:100` (a small number in a four-octet field carries an `L`: `rt:65000L:100`); `soo:` likewise.
/// Everything else is written in hexadecimal: `0x4305000000010001`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExtendedCommunity(pub [u8; 8]);

/// High type octets of transitive communities with a global administrator (RFC 7153 §5.2.1).
const TWO_OCTET_AS: u8 = 0x00;
const IPV4_ADDRESS: u8 = 0x01;
const FOUR_OCTET_AS: u8 = 0x02;

/// Sub-types that have a name (RFC 4360 §4 and §5).
const SUB_TYPES: &[(&str, u8)] = &[("rt", 0x02), ("soo", 0x03)];

impl ExtendedCommunity {
    /// A route target of the AS. A number of two octets leaves four octets for `local`, another one two.
    ///
    /// `None` if `local` does not fit.
    pub fn route_target(asn: Asn, local: u32) -> Option<ExtendedCommunity> {
        with_as(asn, asn.needs_four_octets(), 0x02, local)
    }

    /// True if the community may leave the AS (the T bit is clear).
    pub const fn is_transitive(self) -> bool {
        let [high, ..] = self.0;
        high & 0x40 == 0
    }
}

impl fmt::Display for ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [high, low, a, b, c, d, e, g] = self.0;
        if let Some((name, _)) = SUB_TYPES.iter().find(|(_, sub_type)| *sub_type == low) {
            match high {
                TWO_OCTET_AS => {
                    return write!(
                        f,
                        "{name}:{}:{}",
                        u16::from_be_bytes([a, b]),
                        u32::from_be_bytes([c, d, e, g])
                    );
                }
                IPV4_ADDRESS => {
                    return write!(f, "{name}:{}:{}", Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([e, g]));
                }
                FOUR_OCTET_AS => {
                    let asn = Asn(u32::from_be_bytes([a, b, c, d]));
                    let mark = if asn.needs_four_octets() { "" } else { "L" };
                    return write!(f, "{name}:{asn}{mark}:{}", u16::from_be_bytes([e, g]));
                }
                _ => {}
            }
        }
        write!(f, "{:#018x}", u64::from_be_bytes(self.0))
    }
}

impl FromStr for ExtendedCommunity {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        extended(text).ok_or_else(|| ParseValueError::new("an extended community such as rt:65000:100", text))
    }
}

/// An extended community of twenty octets, around an IPv6 address (RFC 5701).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | 0x00 or 0x40  |   sub-type    |    Global administrator       |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+                               |
/// |                        (16 octets)                            |
/// |                               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                               |    Local administrator        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// Written `rt:[2001:db8::1]:100`, `soo:[2001:db8::1]:100`; other types as `0x000b:[2001:db8::1]:100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ipv6ExtendedCommunity(pub [u8; 20]);

impl fmt::Display for Ipv6ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [high, low, address @ .., a, b] = self.0;
        match SUB_TYPES.iter().find(|(_, sub_type)| (high, *sub_type) == (0, low)) {
            Some((name, _)) => f.write_str(name)?,
            None => write!(f, "{:#06x}", u16::from_be_bytes([high, low]))?,
        }
        write!(f, ":[{}]:{}", Ipv6Addr::from(address), u16::from_be_bytes([a, b]))
    }
}

impl FromStr for Ipv6ExtendedCommunity {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ipv6_extended(text).ok_or_else(|| {
            ParseValueError::new("an IPv6 extended community such as rt:[2001:db8::1]:100", text)
        })
    }
}

/// A large community of twelve octets (RFC 8092), written `64496:1:2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LargeCommunity {
    /// Global administrator: an AS number.
    pub global: u32,
    /// First local part.
    pub local1: u32,
    /// Second local part.
    pub local2: u32,
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

impl FromStr for LargeCommunity {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        large(text).ok_or_else(|| ParseValueError::new("a large community such as 64496:1:2", text))
    }
}

fn extended(text: &str) -> Option<ExtendedCommunity> {
    if let Some(hex) = text.strip_prefix("0x") {
        let is_plain = hex.len() == 16 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        return is_plain
            .then(|| u64::from_str_radix(hex, 16).ok())?
            .map(|raw| ExtendedCommunity(raw.to_be_bytes()));
    }
    let (name, rest) = text.split_once(':')?;
    let (_, sub_type) = SUB_TYPES.iter().find(|(known, _)| *known == name)?;
    let (admin, local) = rest.rsplit_once(':')?;
    let local: u32 = decimal(local)?;
    if let Ok(address) = admin.parse::<Ipv4Addr>() {
        return Some(with_four(IPV4_ADDRESS, *sub_type, address.octets(), u16::try_from(local).ok()?));
    }
    match admin.strip_suffix('L') {
        Some(number) => with_as(Asn(decimal(number)?), true, *sub_type, local),
        None => {
            let asn: Asn = Asn(decimal(admin)?);
            with_as(asn, asn.needs_four_octets(), *sub_type, local)
        }
    }
}

fn ipv6_extended(text: &str) -> Option<Ipv6ExtendedCommunity> {
    let (kind, rest) = text.split_once(":[")?;
    let (address, local) = rest.split_once("]:")?;
    let kind = match SUB_TYPES.iter().find(|(name, _)| *name == kind) {
        Some((_, sub_type)) => u16::from(*sub_type),
        None => {
            let hex = kind.strip_prefix("0x")?;
            let is_plain = hex.len() == 4 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_plain.then(|| u16::from_str_radix(hex, 16).ok())??
        }
    };
    let address: Ipv6Addr = address.parse().ok()?;
    let local: u16 = decimal(local)?;
    let mut octets = [0; 20];
    let [first, second, middle @ .., a, b] = &mut octets;
    [*first, *second] = kind.to_be_bytes();
    *middle = address.octets();
    [*a, *b] = local.to_be_bytes();
    Some(Ipv6ExtendedCommunity(octets))
}

fn with_as(asn: Asn, four_octets: bool, sub_type: u8, local: u32) -> Option<ExtendedCommunity> {
    if four_octets {
        return Some(with_four(FOUR_OCTET_AS, sub_type, asn.0.to_be_bytes(), u16::try_from(local).ok()?));
    }
    let [a, b] = u16::try_from(asn.0).ok()?.to_be_bytes();
    let [c, d, e, f] = local.to_be_bytes();
    Some(ExtendedCommunity([TWO_OCTET_AS, sub_type, a, b, c, d, e, f]))
}

fn with_four(high: u8, sub_type: u8, [a, b, c, d]: [u8; 4], local: u16) -> ExtendedCommunity {
    let [e, f] = local.to_be_bytes();
    ExtendedCommunity([high, sub_type, a, b, c, d, e, f])
}

fn large(text: &str) -> Option<LargeCommunity> {
    let (global, rest) = text.split_once(':')?;
    let (local1, local2) = rest.split_once(':')?;
    Some(LargeCommunity { global: decimal(global)?, local1: decimal(local1)?, local2: decimal(local2)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn community_notations() {
        for (text, value) in [("65000:100", 0xfde8_0064), ("no-export", 0xffff_ff01), ("0:0", 0)] {
            let community: Community = text.parse().unwrap();
            assert_eq!(community, Community(value));
            assert_eq!(community.to_string(), text);
        }
        for text in ["", "1", "65536:1", "1:65536", "1:2:3", "no-such"] {
            assert!(text.parse::<Community>().is_err(), "{text}");
        }
    }

    #[test]
    fn well_known_communities_have_their_numbers() {
        for (text, value) in [
            ("graceful-shutdown", 0xffff_0000),
            ("llgr-stale", 0xffff_0006),
            ("no-llgr", 0xffff_0007),
            ("blackhole", 0xffff_029a),
            ("no-advertise", 0xffff_ff02),
            ("no-export-subconfed", 0xffff_ff03),
        ] {
            assert_eq!(text.parse(), Ok(Community(value)), "{text}");
            assert_eq!(Community(value).to_string(), text);
        }
    }

    #[test]
    fn extended_community_notations() {
        for (text, octets) in [
            ("rt:65000:100", [0, 2, 0xfd, 0xe8, 0, 0, 0, 100]),
            ("soo:192.0.2.1:7", [1, 3, 192, 0, 2, 1, 0, 7]),
            ("rt:4200000000:1", [2, 2, 0xfa, 0x56, 0xea, 0x00, 0, 1]),
            ("rt:65000L:1", [2, 2, 0, 0, 0xfd, 0xe8, 0, 1]),
            ("0x4305000000010001", [0x43, 5, 0, 0, 0, 1, 0, 1]),
        ] {
            let community: ExtendedCommunity = text.parse().unwrap();
            assert_eq!(community, ExtendedCommunity(octets), "{text}");
            assert_eq!(community.to_string(), text);
        }
        for text in ["", "rt:1", "rt:4200000000:65536", "x:1:2", "0x12", "0x+305000000010001"] {
            assert!(text.parse::<ExtendedCommunity>().is_err(), "{text}");
        }
        assert_eq!(ExtendedCommunity::route_target(Asn(65000), 100), "rt:65000:100".parse().ok());
        assert!(ExtendedCommunity([0x40, 0, 0, 0, 0, 0, 0, 0]).to_string().starts_with("0x40"));
        assert!(!ExtendedCommunity([0x40, 0, 0, 0, 0, 0, 0, 0]).is_transitive());
    }

    #[test]
    fn ipv6_extended_community_notations() {
        for (text, head) in [("rt:[2001:db8::1]:100", [0, 2]), ("0x400b:[fd00::2]:0", [0x40, 0x0b])] {
            let community: Ipv6ExtendedCommunity = text.parse().unwrap();
            assert_eq!(community.0[..2], head);
            assert_eq!(community.to_string(), text);
        }
        for text in ["", "rt:2001:db8::1:1", "rt:[::]:65536", "0x1:[::]:1", "x:[::]:1"] {
            assert!(text.parse::<Ipv6ExtendedCommunity>().is_err(), "{text}");
        }
    }

    #[test]
    fn large_community_notation() {
        let value = LargeCommunity { global: 64496, local1: 1, local2: u32::MAX };
        assert_eq!(value.to_string(), "64496:1:4294967295");
        assert_eq!(value.to_string().parse(), Ok(value));
        assert!("1:2".parse::<LargeCommunity>().is_err());
        assert!("1:2:3:4".parse::<LargeCommunity>().is_err());
    }
}
