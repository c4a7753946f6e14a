//! From the records to one node's neighbours. Pure: equal records give equal plans.

use super::{NodeRecord, NodeRole, Registry, SCHEMA_VERSION, node_key};
use crate::cluster::Problem;
use crate::config::{AnnouncementKind, Neighbor, Role, SpeakerConfig};
use bgp_proto::Asn;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// What a node knows of itself beside its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRecord {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub zone: Option<String>,
}

/// Why a node cannot be one of the cluster. Its operator is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Others would not know where to connect to.
    #[error("the registry needs an address of this node: set `addresses`, or a specific address in `listen`")]
    NoAddress,
}

impl LocalRecord {
    /// What the node registers: all of it follows from its configuration.
    ///
    /// # Errors
    /// The configuration names no address of the node.
    pub fn record(&self, base: &SpeakerConfig) -> Result<NodeRecord, RegistryError> {
        let listened = base.listen.iter().map(|socket| socket.ip()).filter(|ip| !ip.is_unspecified());
        let known: Vec<IpAddr> = base.local_addresses.iter().copied().chain(listened).collect();
        let of_family = |is_ipv4| known.iter().copied().find(|address| address.is_ipv4() == is_ipv4);
        let addresses: Vec<IpAddr> = [true, false].into_iter().filter_map(of_family).collect();
        if addresses.is_empty() {
            return Err(RegistryError::NoAddress);
        }
        let blocks = base.announcements.values().filter(|a| a.kind == AnnouncementKind::Block);
        Ok(NodeRecord {
            version: SCHEMA_VERSION,
            addresses,
            port: base.listen.first().map_or(179, |socket| socket.port()),
            asn: base.asn.0,
            role: if base.cluster_id.is_some() { NodeRole::Reflector } else { NodeRole::Node },
            cluster_id: base.cluster_id.map(|id| Ipv4Addr::from(id.0)),
            blocks: blocks.map(|announcement| announcement.prefix).collect(),
            zone: self.zone.clone(),
        })
    }
}

pub(super) fn plan(
    registry: &Registry,
    local: &LocalRecord,
    base: &SpeakerConfig,
) -> Result<(SpeakerConfig, Vec<Problem>), RegistryError> {
    let own = local.record(base)?;
    let others: BTreeMap<&str, &NodeRecord> = registry
        .nodes
        .iter()
        .map(|(name, record)| (name.as_str(), record))
        .filter(|(name, _)| *name != local.name)
        .collect();
    let mut problems = overlaps(&own, local, &others);
    problems.extend(namesake(registry, local, &own));
    let mut config = base.clone();
    let all: Vec<&NodeRecord> = others.values().copied().chain([&own]).collect();
    for (name, other) in others {
        if !are_neighbors(&own, other, &all) {
            continue;
        }
        let Some(neighbor) = neighbor(name, &own, other) else {
            let reason = "no address of a family that this node has; there is no session with it";
            problems.push(Problem::new("Node", node_key(name), reason));
            continue;
        };
        if own.addresses.contains(&neighbor.address) {
            let reason = "it has an address of this node; there is no session with it";
            problems.push(Problem::new("Node", node_key(name), reason));
            continue;
        }
        // What the configuration says of a neighbour, and the first name of an address, come first.
        config.neighbors.entry(neighbor.address).or_insert(neighbor);
    }
    Ok((config, problems))
}

/// Somebody else with this node's name, who was first.
fn namesake(registry: &Registry, local: &LocalRecord, own: &NodeRecord) -> Option<Problem> {
    let registered = registry.nodes.get(&local.name).filter(|record| !record.is_of_same_node(own))?;
    let addresses: Vec<String> = registered.addresses.iter().map(ToString::to_string).collect();
    let reason = format!(
        "a node with {} is registered under this node's name: this one is not, and others do not know it, until that \
         one is gone; give it a name of its own ([etcd] node)",
        addresses.join(", ")
    );
    Some(Problem::new("Node", node_key(&local.name), reason))
}

/// Do two nodes have a session? Both ask with the records of all nodes, in any order.
fn are_neighbors(one: &NodeRecord, other: &NodeRecord, all: &[&NodeRecord]) -> bool {
    let is_reflector = |record: &NodeRecord| record.role == NodeRole::Reflector;
    match (is_reflector(one), is_reflector(other)) {
        (true, true) => true,
        (false, false) => !all.iter().any(|record| is_reflector(record)),
        (true, false) => serves(one, other, all),
        (false, true) => serves(other, one, all),
    }
}

/// A zone with reflectors of its own does without those of others.
fn serves(reflector: &NodeRecord, client: &NodeRecord, all: &[&NodeRecord]) -> bool {
    let is_near = |record: &NodeRecord| client.zone.is_some() && record.zone == client.zone;
    let has_near = all.iter().any(|record| record.role == NodeRole::Reflector && is_near(record));
    !has_near || is_near(reflector)
}

fn neighbor(name: &str, own: &NodeRecord, other: &NodeRecord) -> Option<Neighbor> {
    let both = |is_ipv4| own.address(is_ipv4).zip(other.address(is_ipv4));
    let (local, address) = both(true).or_else(|| both(false))?;
    let mut neighbor = Neighbor::ibgp(address).port(other.port).local_address(local);
    neighbor.name = name.to_owned();
    if own.asn != other.asn {
        neighbor.options.remote_as = Some(Asn(other.asn));
    } else if own.role == NodeRole::Reflector && other.role == NodeRole::Node {
        neighbor.options.role = Role::Client;
    }
    Some(neighbor)
}

/// Blocks of ours that others have too: packets for them go to either.
fn overlaps(own: &NodeRecord, local: &LocalRecord, others: &BTreeMap<&str, &NodeRecord>) -> Vec<Problem> {
    let overlap = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
    let problem = |name: &str, block: &IpNet, mine: &IpNet| {
        let reason = format!("its block {block} overlaps {mine} of node {}; both are announced", local.name);
        Problem::new("Node", node_key(name), reason)
    };
    let mut problems = Vec::new();
    for (name, record) in others {
        for block in &record.blocks {
            let mine = own.blocks.iter().find(|mine| overlap(mine, block));
            problems.extend(mine.map(|mine| problem(name, block, mine)));
        }
    }
    problems
}
