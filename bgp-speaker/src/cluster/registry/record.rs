//! What a node says of itself.

use crate::config::DEFAULT_ASN;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// Of the schema.
pub const SCHEMA_VERSION: u32 = 1;
const DEFAULT_PORT: u16 = 179;
/// Longer values are nobody's record, in bytes.
const JSON_MAX: usize = 1 << 20;

/// The value of a node's key. See the [module](super) for what the fields mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// [`SCHEMA_VERSION`].
    pub version: u32,
    /// At most one per family, at least one.
    pub addresses: Vec<IpAddr>,
    /// TCP port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// AS.
    #[serde(default = "default_asn")]
    pub asn: u32,
    /// What it is to others.
    #[serde(default)]
    pub role: NodeRole,
    /// Of a reflector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<Ipv4Addr>,
    /// What it announces.
    #[serde(default)]
    pub blocks: Vec<IpNet>,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// What a node is to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// One of the mesh, or a client.
    #[default]
    Node,
    /// A route reflector.
    Reflector,
}

fn default_port() -> u16 {
    DEFAULT_PORT
}

fn default_asn() -> u32 {
    DEFAULT_ASN.0
}

impl NodeRecord {
    /// Reads a value.
    ///
    /// # Errors
    /// What is wrong with it, and what is done about it.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        if json.len() > JSON_MAX {
            return Err(format!("it has {} bytes, more than {JSON_MAX}; it is left out", json.len()));
        }
        let unreadable = |error: serde_json::Error| format!("unreadable: {error}; it is left out");
        let Versioned { version } = serde_json::from_slice(json).map_err(unreadable)?;
        if version != SCHEMA_VERSION {
            return Err(format!(
                "version {version} of the schema; this program reads version {SCHEMA_VERSION}; it is left out"
            ));
        }
        let record: Self = serde_json::from_slice(json).map_err(unreadable)?;
        match record.problem() {
            Some(problem) => Err(format!("{problem}; it is left out")),
            None => Ok(record),
        }
    }

    /// As it is stored.
    pub fn to_json(&self) -> String {
        // No map with keys that are no text, and no number that JSON does not have.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Its address of a family.
    pub fn address(&self, is_ipv4: bool) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| address.is_ipv4() == is_ipv4)
    }

    /// Is the other one an earlier or later record of this node? Of one name they are, if they share an address.
    pub fn is_of_same_node(&self, other: &NodeRecord) -> bool {
        self.addresses.iter().any(|address| other.addresses.contains(address))
    }

    fn problem(&self) -> Option<&'static str> {
        let unusable = |address: &IpAddr| address.is_unspecified() || address.is_multicast();
        if self.addresses.is_empty() {
            Some("addresses: there is none")
        } else if self.addresses.iter().any(unusable) {
            Some("addresses: one of them is no address of a host")
        } else if [true, false]
            .iter()
            .any(|v4| self.addresses.iter().filter(|a| a.is_ipv4() == *v4).count() > 1)
        {
            Some("addresses: more than one of a family")
        } else if self.port == 0 {
            Some("port: 0 is none")
        } else if self.asn == 0 {
            Some("asn: AS 0 is reserved (RFC 7607)")
        } else {
            None
        }
    }
}
