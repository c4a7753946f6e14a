//! Small values that appear in several messages. Code points are open: unknown values are data.

mod community;
mod family;

use core::fmt;
use core::str::FromStr;
use std::net::Ipv4Addr;

pub use community::{Community, ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity};
pub use family::{Afi, AfiSafi, FamilySet, Safi};

/// A value's text is not in the notation that its `Display` writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found:?}")]
pub struct ParseValueError {
    expected: &'static str,
    found: String,
}

impl ParseValueError {
    pub(crate) fn new(expected: &'static str, found: &str) -> Self {
        // The text may be long; the beginning is enough to recognize it.
        ParseValueError { expected, found: found.chars().take(80).collect() }
    }
}

/// An autonomous system number of four octets (RFC 6793).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asn(pub u32);

impl Asn {
    /// AS_TRANS: stands for a four-octet number where only two octets fit (RFC 6793 §9).
    pub const TRANS: Asn = Asn(23456);

    /// The two-octet form, or AS_TRANS where two octets do not suffice (RFC 6793 §4.2.2).
    pub fn to_two_octets(self) -> u16 {
        u16::try_from(self.0).unwrap_or(23456)
    }

    /// True if the number needs four octets.
    pub const fn needs_four_octets(self) -> bool {
        self.0 > 0xffff
    }

    /// True for numbers reserved for private use (RFC 6996).
    pub const fn is_private(self) -> bool {
        matches!(self.0, 64512..=65534 | 4_200_000_000..=4_294_967_294)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<u32> for Asn {
    fn from(raw: u32) -> Self {
        Asn(raw)
    }
}

/// Accepts `asplain` (`4200000000`) and `asdot` (`64086.59904`), RFC 5396.
impl FromStr for Asn {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseValueError::new("an AS number", text);
        match text.split_once('.') {
            None => decimal::<u32>(text).map(Asn).ok_or_else(error),
            Some((high, low)) => {
                let high = decimal::<u16>(high).ok_or_else(error)?;
                let low = decimal::<u16>(low).ok_or_else(error)?;
                Ok(Asn(u32::from(high) << 16 | u32::from(low)))
            }
        }
    }
}

/// A BGP identifier: four octets, unique within an AS, not zero (RFC 6286 §2.1). Written as a dotted quad.
///
/// Zero can be built, because it can be received; `Open::decode` refuses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BgpId(pub u32);

impl BgpId {
    /// The same four octets as an address.
    pub const fn to_ipv4(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.0)
    }
}

impl fmt::Display for BgpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_ipv4(), f)
    }
}

impl From<Ipv4Addr> for BgpId {
    fn from(address: Ipv4Addr) -> Self {
        BgpId(address.to_bits())
    }
}

impl FromStr for BgpId {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<Ipv4Addr>()
            .map(BgpId::from)
            .map_err(|_| ParseValueError::new("a router id such as 192.0.2.1", text))
    }
}

/// A hold time in seconds: zero (no keepalives, the session never times out) or at least three (RFC 4271 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HoldTime(u16);

impl HoldTime {
    /// Zero: no keepalives, and silence never ends the session.
    pub const DISABLED: HoldTime = HoldTime(0);

    /// The value suggested by RFC 4271 §10.
    pub const SUGGESTED: HoldTime = HoldTime(90);

    /// The hold time of `secs` seconds, unless that is 1 or 2.
    pub const fn from_secs(secs: u16) -> Option<HoldTime> {
        match secs {
            1 | 2 => None,
            _ => Some(HoldTime(secs)),
        }
    }

    /// Seconds.
    pub const fn as_secs(self) -> u16 {
        self.0
    }

    /// True if the session never times out.
    pub const fn is_disabled(self) -> bool {
        self.0 == 0
    }
}

impl Default for HoldTime {
    fn default() -> Self {
        HoldTime::SUGGESTED
    }
}

impl TryFrom<u16> for HoldTime {
    type Error = HoldTimeError;

    fn try_from(secs: u16) -> Result<Self, Self::Error> {
        HoldTime::from_secs(secs).ok_or(HoldTimeError { secs })
    }
}

impl fmt::Display for HoldTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

/// One and two seconds are not hold times (RFC 4271 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hold time is 0 or at least 3 seconds, not {secs}")]
pub struct HoldTimeError {
    /// The refused number of seconds.
    pub secs: u16,
}

/// Plain digits: no sign, no blanks, nothing that `str::parse` would also let through.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Values with a textual notation are strings in serialized form; numbers stay numbers.
#[cfg(feature = "serde")]
mod serialization {
    use super::{
        AfiSafi, Asn, BgpId, Community, ExtendedCommunity, HoldTime, Ipv6ExtendedCommunity, LargeCommunity,
    };
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    macro_rules! as_text {
        ($($name:ident),*) => { $(
            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
                }
            }
        )* };
    }

    as_text!(AfiSafi, BgpId, Community, ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity);

    impl Serialize for Asn {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u32(self.0)
        }
    }

    impl<'de> Deserialize<'de> for Asn {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            u32::deserialize(deserializer).map(Asn)
        }
    }

    impl Serialize for HoldTime {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u16(self.as_secs())
        }
    }

    impl<'de> Deserialize<'de> for HoldTime {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            HoldTime::try_from(u16::deserialize(deserializer)?).map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asn_notations() {
        for (text, value) in [("0", 0), ("64512", 64512), ("4294967295", u32::MAX), ("1.10", 65546)] {
            assert_eq!(text.parse(), Ok(Asn(value)), "{text}");
        }
        for text in ["", "-1", "+1", " 1", "4294967296", "1.65536", "1.2.3", "AS1"] {
            assert!(text.parse::<Asn>().is_err(), "{text}");
        }
        assert_eq!(Asn(65_546).to_string(), "65546");
        assert_eq!(Asn(65_546).to_two_octets(), 23456);
        assert_eq!(Asn(64_512).to_two_octets(), 64512);
    }

    #[test]
    fn hold_time_is_zero_or_at_least_three() {
        assert_eq!(HoldTime::try_from(0).map(HoldTime::as_secs), Ok(0));
        assert_eq!(HoldTime::try_from(1), Err(HoldTimeError { secs: 1 }));
        assert_eq!(HoldTime::try_from(2), Err(HoldTimeError { secs: 2 }));
        assert_eq!(HoldTime::try_from(3).map(HoldTime::as_secs), Ok(3));
    }

    #[test]
    fn bgp_id_is_a_dotted_quad() {
        let id = BgpId(0xc000_0201);
        assert_eq!(id.to_string(), "192.0.2.1");
        assert_eq!("192.0.2.1".parse(), Ok(id));
        assert!("192.0.2".parse::<BgpId>().is_err());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn numbers_are_numbers_and_notations_are_strings() {
        use serde::Deserialize;
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, StrDeserializer, U16Deserializer, U32Deserializer};

        let text: StrDeserializer<'_, Error> = "ipv6-unicast".into_deserializer();
        assert_eq!(AfiSafi::deserialize(text), Ok(AfiSafi::IPV6_UNICAST));
        let text: StrDeserializer<'_, Error> = "no-such".into_deserializer();
        assert!(Community::deserialize(text).is_err());
        let number: U32Deserializer<Error> = 64512_u32.into_deserializer();
        assert_eq!(Asn::deserialize(number), Ok(Asn(64512)));
        let number: U16Deserializer<Error> = 2_u16.into_deserializer();
        assert!(HoldTime::deserialize(number).is_err());
    }
}
