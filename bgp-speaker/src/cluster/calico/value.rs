//! How Calico spells values: AS numbers, durations, prefixes, addresses with ports.

use crate::cluster::field::{Field, Findings};
use bgp_proto::Asn;
use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

/// An AS number: a JSON number, or a string in plain or dotted notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AsNumber(pub(super) Asn);

impl<'de> Deserialize<'de> for AsNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelling {
            Number(u32),
            Text(String),
        }
        match Spelling::deserialize(deserializer) {
            Ok(Spelling::Number(number)) => Ok(Self(Asn(number))),
            Ok(Spelling::Text(text)) => text.parse().map(Self).map_err(D::Error::custom),
            Err(_) => {
                Err(D::Error::custom("an AS number is 0 to 4294967295, or two halves such as 64086.59904"))
            }
        }
    }
}

/// The AS number of a field. 0 means none was chosen.
pub(super) fn nonzero_as(path: &str, field: Field<AsNumber>, findings: &mut Findings) -> Option<Asn> {
    findings.take(path, field).map(|number| number.0).filter(|asn| asn.0 != 0)
}

/// A duration in Go's notation, such as `1h30m` or `2m0s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoDuration(pub Duration);

impl FromStr for GoDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || "a duration is a sequence of numbers with units, such as 90s or 2m0s".to_owned();
        let mut rest = text.strip_prefix('+').unwrap_or(text);
        if rest == "0" {
            return Ok(Self(Duration::ZERO));
        }
        if rest.is_empty() {
            return Err(error());
        }
        let mut seconds = 0.0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
            let number: f64 = rest[..digits].parse().map_err(|_| error())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
            let unit = match &rest[..letters] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(error()),
            };
            seconds += number * unit;
            rest = &rest[letters..];
        }
        Duration::try_from_secs_f64(seconds).map(Self).map_err(|_| error())
    }
}

impl GoDuration {
    /// Rounded to whole seconds, half of one upwards.
    pub fn rounded_secs(self) -> u64 {
        self.0.as_secs() + u64::from(self.0.subsec_millis() >= 500)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A prefix, its host bits cleared. A bare address is a host prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr(pub(super) IpNet);

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        InterfaceAddress::deserialize(deserializer).map(|address| Self(address.0.trunc()))
    }
}

/// An address with the length of its network. A bare address is alone in its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InterfaceAddress(pub(super) IpNet);

impl<'de> Deserialize<'de> for InterfaceAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bare = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse::<IpNet>()
            .ok()
            .or_else(bare)
            .map(Self)
            .ok_or_else(|| D::Error::custom("expected an address and a length, such as 10.0.0.0/16"))
    }
}

/// `A.B.C.D`, `A.B.C.D:port`, an IPv6 address, `[v6]` or `[v6]:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerAddress {
    pub(super) address: IpAddr,
    /// As written; port 0 counts as none.
    pub(super) port: Option<u16>,
}

impl FromStr for PeerAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = "expected an address, 192.0.2.1:1790 or [2001:db8::1]:1790";
        let without_brackets = |text: &'_ str| -> Option<IpAddr> {
            let inner = text.strip_prefix('[')?.strip_suffix(']')?;
            inner.parse().ok().map(IpAddr::V6)
        };
        if let Some(address) = text.parse().ok().or_else(|| without_brackets(text)) {
            return Ok(Self { address, port: None });
        }
        let (address, port) = text.rsplit_once(':').ok_or(error)?;
        let address =
            without_brackets(address).or_else(|| address.parse().ok().map(IpAddr::V4)).ok_or(error)?;
        let port: u16 = port.parse().map_err(|_| error)?;
        Ok(Self { address, port: (port != 0).then_some(port) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn as_numbers_are_numbers_or_plain_or_dotted_text() {
        let read = |value| serde_json::from_value::<AsNumber>(value).map(|number| number.0.0);
        assert_eq!(read(json!(64512)).unwrap(), 64512);
        assert_eq!(read(json!("4200000001")).unwrap(), 4_200_000_001);
        assert_eq!(read(json!("64086.59905")).unwrap(), 4_200_000_001);
        for bad in [json!(-1), json!(4_294_967_296u64), json!("1.65536"), json!(""), json!(true), json!(1.5)]
        {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        let secs = |text: &str| text.parse::<GoDuration>().map(|duration| duration.0.as_secs_f64());
        for (text, expected) in [
            ("90s", 90.0),
            ("2m0s", 120.0),
            ("1h0m0.5s", 3600.5),
            ("1.5h", 5400.0),
            ("250ms", 0.25),
            ("0", 0.0),
        ] {
            assert_eq!(secs(text).unwrap(), expected, "{text}");
        }
        for bad in ["", "90", "s", "-1s", "1d", "1..5s", "1s x", "99999999999999999999999h"] {
            assert!(secs(bad).is_err(), "{bad}");
        }
        assert_eq!("1499ms".parse::<GoDuration>().unwrap().rounded_secs(), 1);
        assert_eq!("1500ms".parse::<GoDuration>().unwrap().rounded_secs(), 2);
    }

    #[test]
    fn peer_addresses_may_carry_a_port() {
        let read = |text: &str| text.parse::<PeerAddress>().map(|p| (p.address, p.port));
        assert_eq!(read("10.0.0.1").unwrap(), ("10.0.0.1".parse().unwrap(), None));
        assert_eq!(read("10.0.0.1:1790").unwrap(), ("10.0.0.1".parse().unwrap(), Some(1790)));
        assert_eq!(read("fd00::1").unwrap(), ("fd00::1".parse().unwrap(), None));
        assert_eq!(read("[fd00::1]:50").unwrap(), ("fd00::1".parse().unwrap(), Some(50)));
        for bad in ["", "host", "10.0.0.1:", "10.0.0.1:70000", "[10.0.0.1]:1", "10.0.0.1/24", "[fd00::1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prefixes_lose_their_host_bits_and_bare_addresses_stand_alone() {
        let read = |text: &str| serde_json::from_value::<Cidr>(json!(text)).map(|cidr| cidr.0.to_string());
        assert_eq!(read("192.168.5.0/16").unwrap(), "192.168.0.0/16");
        assert_eq!(read("10.0.0.5").unwrap(), "10.0.0.5/32");
        assert!(read("10.0.0.0/33").is_err());
    }
}
