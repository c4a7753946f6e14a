//! What the datastore holds, parsed, by key.

use super::key::{self, Key, Resource, ResourceOrd};
use super::model::{
    AffinityState, AllocationBlock, BgpConfiguration, BgpFilter, BgpPeer, ClusterInformation,
    FelixConfiguration, IpPool, Node,
};
use super::status_file::EndpointStatus;
use crate::cluster::Problem;
use crate::cluster::field::Findings;
use crate::cluster::kubernetes::{KubernetesObjects, ObjectChange};
use ipnet::IpNet;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

/// The only BGPConfiguration, FelixConfiguration and ClusterInformation of the cluster.
const DEFAULT: &str = "default";
/// What the name of a node's own BGPConfiguration starts with.
const NODE_PREFIX: &str = "node.";

/// The data of a cluster, one per node. Fed one key at a time; [`plan()`](super::plan()) reads it.
///
/// A value that cannot be read is a [`Problem`] of its key, and the last readable one stays in force.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    revision: i64,
    pub(super) default_config: Option<BgpConfiguration>,
    /// By node.
    pub(super) node_configs: BTreeMap<Box<str>, BgpConfiguration>,
    pub(super) peers: BTreeMap<Box<str>, BgpPeer>,
    pub(super) filters: BTreeMap<Box<str>, BgpFilter>,
    pub(super) pools: BTreeMap<Box<str>, IpPool>,
    pub(super) nodes: BTreeMap<Box<str>, Node>,
    /// By node (or `default`).
    pub(super) felix_configs: BTreeMap<Box<str>, FelixConfiguration>,
    cluster: Option<ClusterInformation>,
    /// By node and block.
    pub(super) affinities: BTreeMap<(Box<str>, IpNet), AffinityState>,
    pub(super) blocks: BTreeMap<IpNet, AllocationBlock>,
    pub(super) kubernetes: KubernetesObjects,
    /// By file name.
    pub(super) workloads: BTreeMap<Box<str>, EndpointStatus>,
    /// By key: the kind, and what is wrong.
    problems: BTreeMap<String, (&'static str, Vec<String>)>,
}

/// What a change of the data means for the plan.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The plan may be another one now.
    Changed,
    /// Nothing that the plan depends on is different.
    None,
}

impl Effect {
    fn of(is_changed: bool) -> Self {
        if is_changed { Effect::Changed } else { Effect::None }
    }

    /// Both, one after the other.
    pub fn and(self, other: Effect) -> Effect {
        Effect::of(self == Effect::Changed || other == Effect::Changed)
    }
}

/// A full reading of the datastore in progress; see [`Snapshot::finish_listing`].
#[derive(Debug, Default)]
pub struct Listing {
    seen: HashSet<String>,
    effect_is_changed: bool,
}

impl Snapshot {
    /// Knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The prefixes that a node's speaker lists and watches, each ending with a slash.
    ///
    /// `with_blocks` adds the address assignments, which tell who really has a block and which addresses are
    /// borrowed; the datastore rewrites them at every pod start.
    pub fn prefixes(node: &str, with_blocks: bool) -> Vec<String> {
        key::prefixes(node, with_blocks)
    }

    /// The highest revision seen.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// A key has this value since `mod_revision`. Changes come in the order of the datastore; keys of
    /// others are ignored.
    pub fn put(&mut self, key: &str, value: &[u8], mod_revision: i64) -> Effect {
        self.revision = self.revision.max(mod_revision);
        let Some(parsed) = Key::parse(key) else { return Effect::None };
        let mut findings = Findings::default();
        let outcome = self.store(&parsed, value, &mut findings);
        let mut reasons = findings.into_vec();
        let is_changed = outcome.unwrap_or_else(|reason| {
            reasons.push(format!("{reason}; what was there before stays in force"));
            false
        });
        self.note(parsed.kind(), key, reasons);
        Effect::of(is_changed)
    }

    /// A key is gone since `mod_revision`.
    pub fn delete(&mut self, key: &str, mod_revision: i64) -> Effect {
        self.revision = self.revision.max(mod_revision);
        self.problems.remove(key);
        Key::parse(key).map_or(Effect::None, |key| Effect::of(self.remove(&key)))
    }

    /// Takes one key and value of a full reading.
    pub fn put_listed(&mut self, listing: &mut Listing, key: &str, value: &[u8], mod_revision: i64) {
        let effect = self.put(key, value, mod_revision);
        listing.effect_is_changed |= effect == Effect::Changed;
        if let Some(parsed) = Key::parse(key) {
            listing.seen.insert(parsed.to_string());
            listing.seen.insert(key.to_owned());
        }
    }

    /// The full reading is complete and shows the datastore at `revision`: what it did not show is gone.
    pub fn finish_listing(&mut self, listing: Listing, revision: i64) -> Effect {
        self.revision = revision;
        let mut effect = Effect::of(listing.effect_is_changed);
        let missing: Vec<Key> = self.keys().filter(|key| !listing.seen.contains(&key.to_string())).collect();
        for key in missing {
            effect = effect.and(Effect::of(self.remove(&key)));
        }
        self.problems.retain(|key, _| listing.seen.contains(key) || !key.starts_with('/'));
        effect
    }

    /// Carries out a change of a Kubernetes object.
    pub fn apply_kubernetes(&mut self, change: &ObjectChange) -> Effect {
        match self.kubernetes.apply(change) {
            Ok(is_changed) => Effect::of(is_changed),
            Err(problem) => {
                self.note(problem.kind, &problem.key, vec![problem.reason]);
                Effect::None
            }
        }
    }

    /// A status file of Felix has this content.
    pub fn put_endpoint_status(&mut self, file: &str, json: &[u8]) -> Effect {
        let mut findings = Findings::default();
        let read = EndpointStatus::read(json, &mut findings);
        let mut reasons = findings.into_vec();
        let is_changed = match read {
            Ok(Some(status)) => {
                let is_changed = self.workloads.get(file) != Some(&status);
                self.workloads.insert(file.into(), status);
                is_changed
            }
            Ok(None) => self.workloads.remove(file).is_some(),
            Err(reason) => {
                reasons.push(reason);
                false
            }
        };
        self.note("EndpointStatus", file, reasons);
        Effect::of(is_changed)
    }

    /// A status file of Felix cannot be read; what it said last stays in force.
    pub fn endpoint_status_unreadable(&mut self, file: &str, reason: &str) {
        self.note("EndpointStatus", file, vec![format!("{reason}; what it said last stays in force")]);
    }

    /// A status file of Felix is gone.
    pub fn delete_endpoint_status(&mut self, file: &str) -> Effect {
        self.problems.remove(file);
        Effect::of(self.workloads.remove(file).is_some())
    }

    /// What is wrong with the data, by key. What is wrong with their combination is in the plan.
    pub fn problems(&self) -> Vec<Problem> {
        let own = self.problems.iter().flat_map(|(key, (kind, reasons))| {
            reasons.iter().map(move |reason| Problem::new(kind, key.clone(), reason.clone()))
        });
        own.chain(self.kubernetes.problems()).collect()
    }

    /// What the cluster says about itself.
    pub fn cluster_information(&self) -> Option<&ClusterInformation> {
        self.cluster.as_ref()
    }

    /// The addresses of all nodes, of both families.
    pub fn node_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let addresses = |node: &Node| [true, false].map(|is_ipv4| node.address(is_ipv4));
        self.nodes.values().flat_map(move |node| addresses(node).into_iter().flatten())
    }

    /// Nodes that are known.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    fn note(&mut self, kind: &'static str, key: &str, reasons: Vec<String>) {
        if reasons.is_empty() {
            self.problems.remove(key);
        } else {
            self.problems.insert(key.to_owned(), (kind, reasons));
        }
    }

    /// Reads a value and keeps it. Answers whether anything is different now.
    fn store(&mut self, key: &Key, json: &[u8], findings: &mut Findings) -> Result<bool, String> {
        match key {
            Key::Affinity { node, block } => {
                let entry = (node.as_str().into(), *block);
                match AffinityState::read(json, findings)? {
                    Some(state) => Ok(set(&mut self.affinities, entry, state)),
                    None => Ok(self.affinities.remove(&entry).is_some()),
                }
            }
            Key::Block(cidr) => match AllocationBlock::read(*cidr, json, findings)? {
                Some(block) => Ok(set(&mut self.blocks, *cidr, block)),
                None => Ok(self.blocks.remove(cidr).is_some()),
            },
            Key::Named(ResourceOrd(kind), name) => self.store_resource(*kind, name, json, findings),
        }
    }

    fn store_resource(
        &mut self,
        kind: Resource,
        name: &str,
        json: &[u8],
        findings: &mut Findings,
    ) -> Result<bool, String> {
        let entry: Box<str> = name.into();
        match kind {
            Resource::BgpConfiguration => {
                let config = BgpConfiguration::read(json, findings)?;
                match name.strip_prefix(NODE_PREFIX) {
                    _ if name == DEFAULT => Ok(set_one(&mut self.default_config, config)),
                    Some(node) => Ok(set(&mut self.node_configs, node.into(), config)),
                    None => Err(format!(
                        "metadata.name: {name} is neither {DEFAULT} nor {NODE_PREFIX}NAME; it has no effect"
                    )),
                }
            }
            Resource::BgpFilter => {
                BgpFilter::read(json, findings).map(|filter| set(&mut self.filters, entry, filter))
            }
            Resource::BgpPeer => BgpPeer::read(json, findings).map(|peer| set(&mut self.peers, entry, peer)),
            Resource::ClusterInformation => {
                let information = ClusterInformation::read(json, findings)?;
                _ = set_one(&mut self.cluster, information);
                // Told to operators; no plan depends on it.
                Ok(false)
            }
            Resource::FelixConfiguration => {
                let felix = FelixConfiguration::read(json, findings)?;
                let entry = name.strip_prefix(NODE_PREFIX).unwrap_or(name).into();
                Ok(set(&mut self.felix_configs, entry, felix))
            }
            Resource::IpPool => IpPool::read(json, findings).map(|pool| set(&mut self.pools, entry, pool)),
            Resource::Node => Node::read(json, findings).map(|node| set(&mut self.nodes, entry, node)),
        }
    }

    fn remove(&mut self, key: &Key) -> bool {
        match key {
            Key::Affinity { node, block } => {
                self.affinities.remove(&(node.as_str().into(), *block)).is_some()
            }
            Key::Block(block) => self.blocks.remove(block).is_some(),
            Key::Named(ResourceOrd(kind), name) => {
                let node = name.strip_prefix(NODE_PREFIX);
                let name = name.as_str();
                match kind {
                    Resource::BgpConfiguration if name == DEFAULT => self.default_config.take().is_some(),
                    Resource::BgpConfiguration => {
                        node.is_some_and(|node| self.node_configs.remove(node).is_some())
                    }
                    Resource::BgpFilter => self.filters.remove(name).is_some(),
                    Resource::BgpPeer => self.peers.remove(name).is_some(),
                    Resource::ClusterInformation => {
                        self.cluster = None;
                        false
                    }
                    Resource::FelixConfiguration => self.felix_configs.remove(node.unwrap_or(name)).is_some(),
                    Resource::IpPool => self.pools.remove(name).is_some(),
                    Resource::Node => self.nodes.remove(name).is_some(),
                }
            }
        }
    }

    /// The keys of all objects from the datastore.
    fn keys(&self) -> impl Iterator<Item = Key> {
        let of = |kind: Resource, name: &str| Key::named(kind, name);
        let own = |name: &str| format!("{NODE_PREFIX}{name}");
        let default_config = self.default_config.iter().map(move |_| of(Resource::BgpConfiguration, DEFAULT));
        let node_configs =
            self.node_configs.keys().map(move |node| of(Resource::BgpConfiguration, &own(node)));
        let felix_configs = self.felix_configs.keys().map(move |name| {
            let name = if &**name == DEFAULT { DEFAULT.to_owned() } else { own(name) };
            of(Resource::FelixConfiguration, &name)
        });
        let peers = self.peers.keys().map(move |name| of(Resource::BgpPeer, name));
        let filters = self.filters.keys().map(move |name| of(Resource::BgpFilter, name));
        let pools = self.pools.keys().map(move |name| of(Resource::IpPool, name));
        let nodes = self.nodes.keys().map(move |name| of(Resource::Node, name));
        let cluster = self.cluster.iter().map(move |_| of(Resource::ClusterInformation, DEFAULT));
        let affinities = self.affinities.keys();
        let affinities =
            affinities.map(|(node, block)| Key::Affinity { node: node.to_string(), block: *block });
        let blocks = self.blocks.keys().map(|block| Key::Block(*block));
        let configs = default_config.chain(node_configs).chain(felix_configs).chain(cluster);
        configs.chain(peers).chain(filters).chain(pools).chain(nodes).chain(affinities).chain(blocks)
    }
}

/// Puts an object in its place. Answers whether anything is different now.
fn set<K: Ord, T: PartialEq>(map: &mut BTreeMap<K, T>, key: K, object: T) -> bool {
    let is_changed = map.get(&key) != Some(&object);
    if is_changed {
        map.insert(key, object);
    }
    is_changed
}

fn set_one<T: PartialEq>(place: &mut Option<T>, object: T) -> bool {
    let is_changed = place.as_ref() != Some(&object);
    *place = Some(object);
    is_changed
}
