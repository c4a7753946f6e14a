//! Nodes that register themselves: a mesh, or reflectors and their clients, without anyone configuring a neighbour.
//!
//! Each node keeps one key, `/bgp/v1/nodes/<name>`, under a lease that it keeps alive; when the node is gone, so is the
//! key, and the others drop their sessions with it. The value is a [`NodeRecord`] in JSON:
//!
//! ```json
//! {
//!   "version": 1,
//!   "addresses": ["10.0.0.2", "fd00::2"],
//!   "port": 179,
//!   "asn": 64512,
//!   "role": "node",
//!   "blocks": ["192.168.1.0/26", "fd00:10:244:1::/64"],
//!   "zone": "a"
//! }
//! ```
//!
//! | field | type | absent means | is |
//! |---|---|---|---|
//! | `version` | number | required | 1: of this schema. A reader leaves out records of another one, and says so |
//! | `addresses` | addresses, at most one per family | required | where it listens. Sessions use the first family that both ends have, IPv4 before IPv6 |
//! | `port` | 1 to 65535 | 179 | where it listens |
//! | `asn` | number | 64512 | its AS. With nodes of another one, sessions are eBGP |
//! | `role` | `"node"` or `"reflector"` | `"node"` | what it is to others |
//! | `cluster_id` | dotted | none | of a reflector: the cluster that it reflects for (RFC 4456) |
//! | `blocks` | prefixes | none | what it announces; told for people and for checks, routes come by BGP |
//! | `zone` | text | none | where it is, to choose reflectors by |
//!
//! Unknown fields are ignored, so that later versions can add some.
//!
//! **Names.** A key is created, never written over: of two nodes with one name the first is registered, and the other
//! waits, and says so, until the key is gone. A node that comes back knows its earlier record by an address that both
//! have, and takes its place.
//!
//! **Who speaks with whom.** Without reflectors, all with all. With reflectors: these with each other, and every node as
//! a client with those of its zone, or with all of them if its zone has none. Every node comes to the same conclusion
//! from the same records, so both ends of a session agree.

mod plan;
mod record;
#[cfg(test)]
mod tests;

pub use plan::{LocalRecord, RegistryError};
pub use record::{NodeRecord, NodeRole, SCHEMA_VERSION};

use super::{Entry, Problem, Update};
use crate::config::SpeakerConfig;
use std::collections::BTreeMap;

/// What the keys of nodes start with.
pub const NODES_PREFIX: &str = "/bgp/v1/nodes/";
/// Longest name of a node: that of a host (RFC 1123 §2.1).
const NAME_MAX: usize = 255;

/// The key of a node.
pub fn node_key(name: &str) -> String {
    format!("{NODES_PREFIX}{name}")
}

/// All nodes that are registered, one view per node.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    revision: i64,
    nodes: BTreeMap<String, NodeRecord>,
    /// By key: what is wrong with its value.
    problems: BTreeMap<String, String>,
}

impl Registry {
    /// Takes news. Answers whether a plan may be another one now.
    pub fn update(&mut self, update: &Update) -> bool {
        match update {
            Update::Listed { entries, revision } => {
                let mut listed = Self { revision: *revision, ..Self::default() };
                for entry in entries {
                    // A record that cannot be read leaves the one before in force.
                    if let Some((name, record)) =
                        name_of(&entry.key).and_then(|n| self.nodes.get_key_value(n))
                    {
                        listed.nodes.insert(name.clone(), record.clone());
                    }
                    listed.take(entry);
                }
                let is_changed = listed.nodes != self.nodes;
                *self = listed;
                is_changed
            }
            Update::Changed { changes, revision } => {
                self.revision = self.revision.max(*revision);
                changes.iter().filter(|entry| self.take(entry)).count() > 0
            }
            Update::Down { .. } => false,
        }
    }

    /// All nodes by name.
    pub fn nodes(&self) -> &BTreeMap<String, NodeRecord> {
        &self.nodes
    }

    /// The datastore's revision as of the last news.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// What is wrong with the records.
    pub fn problems(&self) -> Vec<Problem> {
        let unreadable = self.problems.iter();
        unreadable.map(|(key, reason)| Problem::new("Node", key.clone(), reason.clone())).collect()
    }

    /// What a node with this base configuration is to be in the cluster: the base, and the neighbours that the records
    /// ask for; and what is wrong with the records as a whole.
    ///
    /// # Errors
    /// The base does not say enough to be one of the cluster.
    pub fn plan(
        &self,
        local: &LocalRecord,
        base: &SpeakerConfig,
    ) -> Result<(SpeakerConfig, Vec<Problem>), RegistryError> {
        plan::plan(self, local, base)
    }

    fn take(&mut self, entry: &Entry) -> bool {
        let Some(name) = name_of(&entry.key) else { return false };
        let Some(value) = &entry.value else {
            self.problems.remove(&entry.key);
            return self.nodes.remove(name).is_some();
        };
        match NodeRecord::from_json(value) {
            Ok(record) => {
                self.problems.remove(&entry.key);
                let is_changed = self.nodes.get(name) != Some(&record);
                self.nodes.insert(name.to_owned(), record);
                is_changed
            }
            Err(reason) => {
                self.problems.insert(entry.key.clone(), reason);
                false
            }
        }
    }
}

fn name_of(key: &str) -> Option<&str> {
    let name = key.strip_prefix(NODES_PREFIX)?;
    (!name.is_empty() && name.len() <= NAME_MAX && !name.contains('/')).then_some(name)
}
