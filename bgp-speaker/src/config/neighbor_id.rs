//! Which neighbour is meant: an address, and where several neighbours share it, a TCP port.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{AddrParseError, IpAddr, SocketAddr};
use std::str::FromStr;

/// The TCP port of BGP, RFC 4271 §2.
pub const BGP_PORT: u16 = 179;

/// The identity of a listed neighbour: two speakers at one address differ in the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NeighborId {
    /// Where it is.
    pub address: IpAddr,
    /// Where it listens.
    pub port: u16,
}

impl From<IpAddr> for NeighborId {
    /// The neighbour on port 179.
    fn from(address: IpAddr) -> Self {
        Self { address, port: BGP_PORT }
    }
}

/// As `10.0.0.2:179` and `[fd00::2]:179`.
impl fmt::Display for NeighborId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// A neighbour as people name it: its address will do where no other neighbour has the same.
///
/// As text `10.0.0.2` or `10.0.0.2:1790`, `fd00::2` or `[fd00::2]:1790`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NeighborRef {
    /// Where it is.
    pub address: IpAddr,
    /// Where it listens; `None`: it is the only one at this address.
    pub port: Option<u16>,
}

impl NeighborRef {
    /// Is this neighbour meant, or may it be?
    pub fn matches(&self, id: NeighborId) -> bool {
        self.address == id.address && self.port.is_none_or(|port| port == id.port)
    }
}

impl From<IpAddr> for NeighborRef {
    fn from(address: IpAddr) -> Self {
        Self { address, port: None }
    }
}

impl From<NeighborId> for NeighborRef {
    fn from(id: NeighborId) -> Self {
        Self { address: id.address, port: Some(id.port) }
    }
}

impl fmt::Display for NeighborRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => self.address.fmt(f),
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
        }
    }
}

impl FromStr for NeighborRef {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        match text.parse::<SocketAddr>() {
            Ok(socket) => Ok(Self { address: socket.ip(), port: Some(socket.port()) }),
            Err(_) => text.parse::<IpAddr>().map(Self::from),
        }
    }
}

impl Serialize for NeighborRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NeighborRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A name that stands for no neighbour, or for several. Whoever asked is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NeighborError {
    /// Nobody has this address and port.
    #[error("there is no neighbour {0}")]
    Unknown(NeighborRef),
    /// More than one has this address.
    #[error("{address} is the address of several neighbours: name one of {}", listed(.candidates))]
    Ambiguous {
        /// The address.
        address: IpAddr,
        /// Who has it.
        candidates: Vec<NeighborId>,
    },
}

fn listed(candidates: &[NeighborId]) -> String {
    candidates.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// All that have an address, by port.
pub(crate) fn at_address<V>(
    neighbors: &BTreeMap<NeighborId, V>,
    address: IpAddr,
) -> impl Iterator<Item = (&NeighborId, &V)> {
    neighbors.range(NeighborId { address, port: 0 }..=NeighborId { address, port: u16::MAX })
}

/// The neighbour at an address, if it is the only one there.
pub(crate) fn alone_at<V>(neighbors: &BTreeMap<NeighborId, V>, address: IpAddr) -> Option<(&NeighborId, &V)> {
    let mut all = at_address(neighbors, address);
    all.next().filter(|_| all.next().is_none())
}

/// The one that is meant.
///
/// # Errors
/// There is none, or several.
pub(crate) fn resolve<V>(
    neighbors: &BTreeMap<NeighborId, V>,
    wanted: NeighborRef,
) -> Result<NeighborId, NeighborError> {
    let meant: Vec<NeighborId> =
        at_address(neighbors, wanted.address).map(|(id, _)| *id).filter(|id| wanted.matches(*id)).collect();
    match meant[..] {
        [] => Err(NeighborError::Unknown(wanted)),
        [only] => Ok(only),
        _ => Err(NeighborError::Ambiguous { address: wanted.address, candidates: meant }),
    }
}

/// What a neighbour is called: by its address, and with its port if another one has the same address.
pub(crate) fn called<V>(neighbors: &BTreeMap<NeighborId, V>, id: NeighborId) -> NeighborRef {
    let has_others = at_address(neighbors, id.address).any(|(other, _)| *other != id);
    if has_others { id.into() } else { id.address.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbors(texts: &[&str]) -> BTreeMap<NeighborId, ()> {
        let id = |text: &&str| {
            let wanted: NeighborRef = text.parse().unwrap();
            NeighborId { address: wanted.address, port: wanted.port.unwrap_or(BGP_PORT) }
        };
        texts.iter().map(|text| (id(text), ())).collect()
    }

    #[test]
    fn a_neighbour_is_named_by_its_address_or_with_its_port() {
        for text in ["10.0.0.2", "10.0.0.2:1790", "fd00::2", "[fd00::2]:1790"] {
            let wanted: NeighborRef = text.parse().unwrap();
            assert_eq!(wanted.to_string(), text);
            assert_eq!(serde_json::to_value(wanted).unwrap(), text);
            assert_eq!(serde_json::from_value::<NeighborRef>(text.into()).unwrap(), wanted);
        }
        for text in ["", "10.0.0.2:", "10.0.0.2:x", "fd00::2]:1", "router"] {
            assert!(text.parse::<NeighborRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_shared_address_needs_the_port() {
        let all = neighbors(&["10.0.0.1:150", "10.0.0.1:166", "10.0.0.2", "fd00::1"]);
        let found = |text: &str| {
            resolve(&all, text.parse().unwrap()).map(|id| id.to_string()).map_err(|error| error.to_string())
        };
        assert_eq!(found("10.0.0.2").unwrap(), "10.0.0.2:179");
        assert_eq!(found("10.0.0.1:166").unwrap(), "10.0.0.1:166");
        assert_eq!(found("[fd00::1]:179").unwrap(), "[fd00::1]:179");
        assert_eq!(found("10.0.0.1:179").unwrap_err(), "there is no neighbour 10.0.0.1:179");
        assert_eq!(found("10.0.0.3").unwrap_err(), "there is no neighbour 10.0.0.3");
        assert_eq!(
            found("10.0.0.1").unwrap_err(),
            "10.0.0.1 is the address of several neighbours: name one of 10.0.0.1:150, 10.0.0.1:166"
        );
        let names: Vec<String> = all.keys().map(|id| called(&all, *id).to_string()).collect();
        assert_eq!(names, ["10.0.0.1:150", "10.0.0.1:166", "10.0.0.2", "fd00::1"]);
        assert_eq!(alone_at(&all, "10.0.0.1".parse().unwrap()), None);
    }
}
