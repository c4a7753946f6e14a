//! What is in etcd, key by key, and what it means for the kernels.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::bird::BirdSession;
use crate::cluster::CLUSTER_AS;
use crate::error::LabError;
use crate::etcd::Etcd;
use crate::kernel::{KernelRoute, PROTOCOL};
use crate::lab::Node;

/// The pool of the lab's pods.
pub const POOL_V4: &str = "192.168.0.0/16";
/// Their IPv6 pool.
pub const POOL_V6: &str = "fd00:10:244::/48";

/// A node as its Node resource describes it.
#[derive(Clone, Debug)]
pub struct CalicoNode {
    /// The host.
    pub node: Node,
    /// Labels, for selectors.
    pub labels: BTreeMap<String, String>,
    /// Its own AS number, if it has one.
    pub asn: Option<u32>,
    /// Present: it is a route reflector.
    pub cluster_id: Option<Ipv4Addr>,
}

impl CalicoNode {
    /// A node without labels.
    #[must_use]
    pub fn new(node: &Node) -> CalicoNode {
        CalicoNode { node: node.clone(), labels: BTreeMap::new(), asn: None, cluster_id: None }
    }

    fn address(&self, is_v4: bool) -> IpAddr {
        if is_v4 { self.node.v4.into() } else { self.node.v6.into() }
    }
}

/// A block: who has it, and who uses which of its addresses.
#[derive(Clone, Debug)]
struct Block {
    owner: String,
    addresses: BTreeMap<IpAddr, String>,
}

/// The cluster's data, as they are in etcd too.
#[derive(Debug)]
pub struct CalicoData {
    /// `nodeToNodeMeshEnabled`.
    pub has_mesh: bool,
    /// `asNumber`.
    pub asn: u32,
    /// There is a BGPPeer by which every node speaks with every reflector.
    pub has_reflector_peer: bool,
    /// The password of the mesh, or of the sessions with reflectors.
    pub password: Option<String>,
    nodes: BTreeMap<String, CalicoNode>,
    blocks: BTreeMap<IpNet, Block>,
    /// What every node's kernel had to hold at the last [`CalicoData::remember`].
    before: BTreeMap<String, BTreeSet<String>>,
}

impl Default for CalicoData {
    fn default() -> CalicoData {
        CalicoData {
            has_mesh: true,
            asn: CLUSTER_AS,
            has_reflector_peer: false,
            password: None,
            nodes: BTreeMap::new(),
            blocks: BTreeMap::new(),
            before: BTreeMap::new(),
        }
    }
}

/// A change of etcd: a key, and its value unless it goes.
pub type Change = (String, Option<Value>);

impl CalicoData {
    /// Puts what every cluster has: its information, the default settings of BGP, and both pools.
    ///
    /// # Errors
    /// If etcd does not take it.
    pub fn found(&mut self, etcd: &Etcd) -> Result<(), LabError> {
        let pool = |cidr: &str, block_size: u8| {
            json!({
                "cidr": cidr, "blockSize": block_size, "ipipMode": "Never", "vxlanMode": "Never",
                "natOutgoing": true, "nodeSelector": "all()", "allowedUses": ["Workload", "Tunnel"]
            })
        };
        let cluster = json!({"clusterGUID": "9f2c", "calicoVersion": "v3.32.0", "datastoreReady": true});
        etcd.write(&[
            resource("ClusterInformation", "default", cluster),
            resource("BGPConfiguration", "default", json!({"logSeverityScreen": "Info"})),
            resource("IPPool", "default-ipv4-ippool", pool(POOL_V4, 26)),
            resource("IPPool", "default-ipv6-ippool", pool(POOL_V6, 122)),
        ])
        .map(drop)
    }

    /// Writes a node, new or changed.
    ///
    /// # Errors
    /// If etcd does not take it.
    pub fn put_node(&mut self, etcd: &Etcd, node: &CalicoNode) -> Result<(), LabError> {
        etcd.write(&[self.node_change(node)]).map(drop)
    }

    /// A node, new or changed, for a transaction that is to be written.
    pub fn node_change(&mut self, node: &CalicoNode) -> Change {
        self.nodes.insert(node.node.name.clone(), node.clone());
        node_resource(node)
    }

    /// Deletes a node, which has no blocks any more.
    ///
    /// # Errors
    /// If etcd does not answer.
    pub fn delete_node(&mut self, etcd: &Etcd, name: &str) -> Result<(), LabError> {
        self.nodes.remove(name);
        etcd.write(&[(resource_key("Node", name), None)]).map(drop)
    }

    /// A node takes a block, in the steps of Calico's IPAM: the claim, the block, the confirmed claim.
    ///
    /// # Errors
    /// If etcd does not take it.
    pub fn claim(&mut self, etcd: &Etcd, node: &str, block: IpNet) -> Result<(), LabError> {
        self.blocks.insert(block, Block { owner: node.to_owned(), addresses: BTreeMap::new() });
        etcd.write(&[affinity(node, block, "pending")])?;
        etcd.write(&[self.block(block)])?;
        etcd.write(&[affinity(node, block, "confirmed")]).map(drop)
    }

    /// The same in a single transaction that is to be written.
    pub fn claim_changes(&mut self, node: &str, block: IpNet) -> Vec<Change> {
        self.blocks.insert(block, Block { owner: node.to_owned(), addresses: BTreeMap::new() });
        vec![self.block(block), affinity(node, block, "confirmed")]
    }

    /// A node gives a block back, in the steps of Calico's IPAM.
    ///
    /// # Errors
    /// If etcd does not take it.
    pub fn release(&mut self, etcd: &Etcd, block: IpNet) -> Result<(), LabError> {
        let Some(Block { owner, .. }) = self.blocks.remove(&block) else { return Ok(()) };
        etcd.write(&[affinity(&owner, block, "pendingDeletion")])?;
        etcd.write(&[(block_key(block), None)])?;
        etcd.write(&[(affinity_key(&owner, block), None)]).map(drop)
    }

    /// A pod on a node gets an address, out of whosever block it is; without a node it is free again.
    ///
    /// # Errors
    /// If etcd does not take it.
    ///
    /// # Panics
    /// If no block has the address: a mistake of the test.
    pub fn assign(&mut self, etcd: &Etcd, address: IpAddr, node: Option<&str>) -> Result<(), LabError> {
        let found = self.blocks.iter_mut().find(|(cidr, _)| cidr.contains(&address));
        let (cidr, block) = found.expect("a block for the address");
        match node {
            Some(node) => _ = block.addresses.insert(address, node.to_owned()),
            None => _ = block.addresses.remove(&address),
        }
        let cidr = *cidr;
        etcd.write(&[self.block(cidr)]).map(drop)
    }

    /// The nodes by name.
    #[must_use]
    pub fn nodes(&self) -> &BTreeMap<String, CalicoNode> {
        &self.nodes
    }

    /// The blocks of a node.
    #[must_use]
    pub fn blocks_of(&self, node: &str) -> Vec<IpNet> {
        self.blocks.iter().filter(|(_, block)| block.owner == node).map(|(cidr, _)| *cidr).collect()
    }

    /// The routes that a node's kernel must hold, as [`KernelRoute`] writes them: its own blocks as blackholes, those
    /// of others via them, and addresses that somebody uses out of another's block via who uses them.
    #[must_use]
    pub fn expected_routes(&self, node: &str) -> BTreeSet<String> {
        let via = |prefix: IpNet, owner: &str| -> Option<String> {
            let gateway = self.nodes.get(owner)?.address(prefix.addr().is_ipv4());
            let route = KernelRoute {
                prefix,
                kind: "unicast".into(),
                gateway: Some(gateway),
                device: Some("eth0".into()),
                protocol: PROTOCOL,
            };
            Some(route.to_string())
        };
        let mut routes = BTreeSet::new();
        for (cidr, block) in &self.blocks {
            if block.owner == node {
                routes.insert(format!("blackhole {cidr} proto {PROTOCOL}"));
            } else {
                routes.extend(via(*cidr, &block.owner));
            }
            let is_borrowed = |user: &&String| **user != block.owner && *user != node;
            for (address, user) in block.addresses.iter().filter(|(_, user)| is_borrowed(user)) {
                routes.extend(via((*address).into(), user));
            }
        }
        routes
    }

    /// The AS of a node.
    #[must_use]
    pub fn asn_of(&self, node: &str) -> u32 {
        self.nodes.get(node).and_then(|node| node.asn).unwrap_or(self.asn)
    }

    /// The sessions that Calico's confd would give to the BIRD of a node that is no reflector.
    #[must_use]
    pub fn bird_sessions(&self, name: &str) -> Vec<BirdSession> {
        let Some(own) = self.nodes.get(name) else { return Vec::new() };
        let mut sessions = Vec::new();
        for (other_name, other) in self.nodes.iter().filter(|(other, _)| *other != name) {
            let kind = match other.cluster_id {
                None if self.has_mesh => "Mesh",
                Some(_) if self.has_reflector_peer => "Node",
                _ => continue,
            };
            for is_v4 in [true, false] {
                let (address, own) = (other.address(is_v4), own.address(is_v4));
                sessions.push(BirdSession {
                    kind,
                    address,
                    asn: self.asn_of(other_name),
                    is_passive: kind == "Mesh" && address.to_string() > own.to_string(),
                    password: self.password.clone(),
                });
            }
        }
        sessions
    }

    /// Keeps what every kernel has to hold now, for [`CalicoData::kept_prefixes`].
    pub fn remember(&mut self) {
        self.before = self.nodes.keys().map(|name| (name.clone(), self.expected_routes(name))).collect();
    }

    /// The destinations of the routes that a node's kernel must hold now as it had to at the last
    /// [`CalicoData::remember`], apart from those that lead to one of the nodes in `parted`.
    #[must_use]
    pub fn kept_prefixes(&self, name: &str, parted: &BTreeSet<String>) -> BTreeSet<IpNet> {
        let is_there = self.nodes.contains_key(name);
        let Some(before) = self.before.get(name).filter(|_| is_there) else { return BTreeSet::new() };
        let now = self.expected_routes(name);
        let parted = parted.iter().filter_map(|other| self.nodes.get(other));
        let gateways: Vec<String> = parted
            .flat_map(|other| [true, false].map(|is_v4| format!(" via {} ", other.address(is_v4))))
            .collect();
        let leads_there = |route: &str| gateways.iter().any(|gateway| route.contains(gateway));
        let kept = before.intersection(&now).filter(|route| !leads_there(route));
        kept.flat_map(|route| route.split_whitespace()).filter_map(|word| word.parse().ok()).collect()
    }

    fn block(&self, cidr: IpNet) -> Change {
        let Block { owner, addresses } = &self.blocks[&cidr];
        let offset = |address: &IpAddr| match (address, cidr) {
            (IpAddr::V4(address), IpNet::V4(cidr)) => {
                u128::from(u32::from(*address) - u32::from(cidr.network()))
            }
            (IpAddr::V6(address), IpNet::V6(cidr)) => u128::from(*address) - u128::from(cidr.network()),
            _ => u128::MAX,
        };
        let used: BTreeMap<u128, usize> = addresses.keys().map(offset).zip(0..).collect();
        let attribute = |(number, node): (usize, &String)| {
            json!({
                "handle_id": format!("k8s-pod-network.{number:08x}"),
                "secondary": {"node": node, "namespace": "default", "pod": format!("pod-{number}")}
            })
        };
        let value = json!({
            "cidr": cidr, "affinity": format!("host:{owner}"),
            "allocations": (0..64).map(|slot| used.get(&slot)).collect::<Vec<_>>(),
            "unallocated": (0..64).filter(|slot| !used.contains_key(slot)).collect::<Vec<u128>>(),
            "attributes": addresses.values().enumerate().map(attribute).collect::<Vec<_>>(),
            "sequenceNumber": 1, "deleted": false
        });
        (block_key(cidr), Some(value))
    }
}

/// A resource with the envelope that `calicoctl` gives it.
#[must_use]
pub fn resource(kind: &str, name: &str, spec: Value) -> (String, Option<Value>) {
    labelled(kind, name, &BTreeMap::new(), spec)
}

/// The key of a resource.
#[must_use]
pub fn resource_key(kind: &str, name: &str) -> String {
    format!("/calico/resources/v3/projectcalico.org/{}s/{name}", kind.to_lowercase())
}

fn labelled(kind: &str, name: &str, labels: &BTreeMap<String, String>, spec: Value) -> Change {
    let value = json!({
        "kind": kind, "apiVersion": "projectcalico.org/v3",
        "metadata": {
            "name": name, "uid": "0d1f7f1e-6a1b-4f0c-9a57-0a6f0f3b1c11", "labels": labels,
            "creationTimestamp": "2026-03-02T09:15:00Z"
        },
        "spec": spec
    });
    (resource_key(kind, name), Some(value))
}

fn node_resource(node: &CalicoNode) -> Change {
    let mut bgp = json!({
        "ipv4Address": format!("{}/24", node.node.v4), "ipv6Address": format!("{}/64", node.node.v6)
    });
    if let Some(asn) = node.asn {
        bgp["asNumber"] = json!(asn);
    }
    if let Some(cluster_id) = node.cluster_id {
        bgp["routeReflectorClusterID"] = json!(cluster_id);
    }
    let name = &node.node.name;
    let spec = json!({
        "bgp": bgp, "orchRefs": [{"nodeName": name, "orchestrator": "k8s"}],
        "addresses": [{"address": node.node.v4, "type": "InternalIP"}]
    });
    labelled("Node", name, &node.labels, spec)
}

fn in_key(block: IpNet) -> String {
    block.to_string().replacen('/', "-", 1)
}

fn family(block: IpNet) -> &'static str {
    if block.addr().is_ipv4() { "ipv4" } else { "ipv6" }
}

fn affinity_key(node: &str, block: IpNet) -> String {
    format!("/calico/ipam/v2/host/{node}/{}/block/{}", family(block), in_key(block))
}

fn affinity(node: &str, block: IpNet, state: &str) -> Change {
    (affinity_key(node, block), Some(json!({"state": state, "deleted": false})))
}

fn block_key(block: IpNet) -> String {
    format!("/calico/ipam/v2/assignment/{}/block/{}", family(block), in_key(block))
}
