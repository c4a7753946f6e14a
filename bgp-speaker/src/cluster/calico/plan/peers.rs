//! Sessions that BGPPeers ask for, expanded to remote ends.

use super::context::{BGP_PORT, Context};
use crate::cluster::Problem;
use crate::cluster::calico::key::{Key, Resource};
use crate::cluster::calico::model::{BgpPeer, Node, NodeScope, PeerTarget, ReachableBy, Remote};
use bgp_proto::{Asn, BgpId};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Where a session's wish comes from, which is in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// A BGPPeer of all nodes.
    Global,
    /// A local workload.
    LocalWorkload,
    /// A BGPPeer of some nodes, or the opposite direction of one.
    Node,
}

/// A session that a BGPPeer asks for.
pub(super) struct Explicit<'a> {
    /// Of the BGPPeer.
    pub(super) name: &'a str,
    pub(super) peer: &'a BgpPeer,
    pub(super) end: End,
    pub(super) scope: Scope,
}

/// A remote end.
#[derive(Clone)]
pub(super) struct End {
    pub(super) address: IpAddr,
    /// `None`: 179, and no part of the session's name.
    pub(super) port: Option<u16>,
    pub(super) asn: Asn,
    pub(super) cluster_id: Option<BgpId>,
    /// An address that was written, and is a node's.
    pub(super) is_calico_node: bool,
    /// `localASNumber` and `numAllowedLocalASNumbers` count.
    pub(super) has_session_options: bool,
}

/// Two sessions are the same if address and port are.
type Identity = (IpAddr, u16);

/// The sessions of this node. Of several wishes for one session, the first BGPPeer by name wins; those of all nodes
/// come first, those of the opposite direction last.
pub(super) fn explicit<'a>(context: &Context<'a>, problems: &mut Vec<Problem>) -> Vec<Explicit<'a>> {
    let snapshot = context.snapshot;
    let cluster = Cluster::new(context);
    let peers: Vec<(&str, &BgpPeer)> = snapshot
        .peers
        .iter()
        .map(|(name, peer)| (&**name, peer))
        .filter(|peer| is_usable(peer, problems))
        .collect();
    let mut found: BTreeMap<Identity, Explicit<'a>> = BTreeMap::new();
    let mut add = |name: &'a str, peer: &'a BgpPeer, end: End, scope: Scope| {
        let is_ours = context.node.address(end.address.is_ipv4());
        if is_ours.is_some_and(|own| own != end.address) {
            let identity = (end.address, end.port.unwrap_or(BGP_PORT));
            found.entry(identity).or_insert(Explicit { name, peer, end, scope });
        }
    };
    let is_global = |peer: &BgpPeer| peer.scope == NodeScope::Global;
    for pass_is_global in [true, false] {
        for (name, peer) in peers.iter().copied().filter(|(_, peer)| is_global(peer) == pass_is_global) {
            if !holds_on(peer, &context.local.name, context.node) {
                continue;
            }
            let scope = match (&peer.target, pass_is_global) {
                (PeerTarget::LocalWorkloads(_), _) => Scope::LocalWorkload,
                (_, true) => Scope::Global,
                (_, false) => Scope::Node,
            };
            for end in cluster.ends(name, peer) {
                add(name, peer, end, scope);
            }
        }
    }
    for (name, peer) in peers.iter().copied().filter(|(_, peer)| !peer.is_reverse_manual) {
        for end in cluster.reverse_ends(peer) {
            add(name, peer, end, Scope::Node);
        }
    }
    found.into_values().collect()
}

/// `reachableBy` must be a gateway of the address's family.
fn is_usable((name, peer): &(&str, &BgpPeer), problems: &mut Vec<Problem>) -> bool {
    let PeerTarget::Address(remote) = &peer.target else { return true };
    let reason = match peer.reachable_by {
        ReachableBy::Unset => return true,
        ReachableBy::Gateway(gateway) if gateway.is_ipv4() == remote.address.is_ipv4() => return true,
        ReachableBy::Gateway(_) => {
            "spec.reachableBy: is of another IP version than peerIP; the BGPPeer is skipped"
        }
        ReachableBy::Unreadable => "spec.reachableBy: is no address; the BGPPeer is skipped",
    };
    problems.push(Problem::new("BGPPeer", Key::named(Resource::BgpPeer, name).to_string(), reason));
    false
}

/// Is the BGPPeer one of this node?
fn holds_on(peer: &BgpPeer, name: &str, node: &Node) -> bool {
    match &peer.scope {
        NodeScope::Global => true,
        NodeScope::Node(wanted) => wanted == name,
        NodeScope::Selected(selector) => selector.matches(&node.labels),
        NodeScope::Nowhere => false,
    }
}

/// The nodes, seen from BGPPeers.
struct Cluster<'a, 'b> {
    context: &'b Context<'a>,
    /// Nodes by address, the first by name. Empty if no BGPPeer names an address.
    owners: HashMap<IpAddr, Vec<(&'a str, &'a Node)>>,
}

impl<'a, 'b> Cluster<'a, 'b> {
    fn new(context: &'b Context<'a>) -> Self {
        let mut owners: HashMap<IpAddr, Vec<(&'a str, &'a Node)>> = HashMap::new();
        let has_address = |peer: &BgpPeer| matches!(peer.target, PeerTarget::Address(_));
        if context.snapshot.peers.values().any(has_address) {
            for (name, node) in &context.snapshot.nodes {
                for address in [true, false].into_iter().filter_map(|is_ipv4| node.address(is_ipv4)) {
                    owners.entry(address).or_default().push((name, node));
                }
            }
        }
        Self { context, owners }
    }

    /// With whom a BGPPeer wants sessions.
    fn ends(&self, name: &str, peer: &BgpPeer) -> Vec<End> {
        match &peer.target {
            PeerTarget::Address(remote) => vec![self.address_end(remote)],
            PeerTarget::LocalWorkloads(asn) => self.workload_ends(name, *asn),
            PeerTarget::Nobody => Vec::new(),
            PeerTarget::Nodes(selector) => {
                let nodes = self.context.snapshot.nodes.iter();
                let matching = nodes.filter(|(_, node)| selector.matches(&node.labels));
                matching.flat_map(|(name, node)| self.node_ends(name, node)).collect()
            }
        }
    }

    /// With whom the opposite direction of a BGPPeer is: we are one of its remote ends, they are its nodes.
    fn reverse_ends(&self, peer: &BgpPeer) -> Vec<End> {
        let node = self.context.node;
        let is_ipv4 = match &peer.target {
            PeerTarget::Nodes(selector) if selector.matches(&node.labels) => None,
            PeerTarget::Address(remote) if self.is_this_node(remote) => Some(remote.address.is_ipv4()),
            PeerTarget::Address(_)
            | PeerTarget::LocalWorkloads(_)
            | PeerTarget::Nobody
            | PeerTarget::Nodes(_) => return Vec::new(),
        };
        let nodes = self.context.snapshot.nodes.iter().filter(|(name, node)| holds_on(peer, name, node));
        let ends = nodes.flat_map(|(name, node)| self.node_ends(name, node));
        ends.filter(|end| is_ipv4.is_none_or(|is_ipv4| end.address.is_ipv4() == is_ipv4)).collect()
    }

    /// One for each of the node's addresses.
    fn node_ends(&self, name: &str, node: &Node) -> impl Iterator<Item = End> {
        let asn = self.context.as_of(node);
        let (port, cluster_id) = (self.context.listen_port(name), node.cluster_id);
        let addresses = [node.address(true), node.address(false)].into_iter().flatten();
        addresses.map(move |address| End {
            address,
            port,
            asn,
            cluster_id,
            is_calico_node: false,
            has_session_options: false,
        })
    }

    fn address_end(&self, remote: &Remote) -> End {
        let context = self.context;
        let owners = self.owners.get(&remote.address).map(Vec::as_slice).unwrap_or_default();
        let owner = owners.iter().find(|(_, node)| self.has_as(remote, node));
        // Without an AS number the session would have none: it is that of the node, or of the cluster.
        let asn = remote.asn.or(owner.map(|(_, node)| context.as_of(node))).unwrap_or(context.global_as);
        let port = remote.port.or_else(|| owner.and_then(|(name, _)| context.listen_port(name)));
        let is_calico_node = !owners.is_empty();
        End {
            address: remote.address,
            port,
            asn,
            cluster_id: None,
            is_calico_node,
            has_session_options: true,
        }
    }

    fn has_as(&self, remote: &Remote, node: &Node) -> bool {
        remote.asn.is_none_or(|asn| asn == self.context.as_of(node))
    }

    fn is_this_node(&self, remote: &Remote) -> bool {
        let context = self.context;
        let own_port = context.listen_port(&context.local.name).unwrap_or(BGP_PORT);
        context.node.address(remote.address.is_ipv4()) == Some(remote.address)
            && self.has_as(remote, context.node)
            && remote.port.is_none_or(|port| port == own_port)
    }

    fn workload_ends(&self, name: &str, asn: Asn) -> Vec<End> {
        let workloads = self.context.snapshot.workloads.values();
        let addresses = workloads
            .filter(|workload| workload.bgp_peer == name)
            .flat_map(|workload| [workload.ipv4, workload.ipv6].into_iter().flatten());
        let end = |address| End {
            address,
            port: None,
            asn,
            cluster_id: None,
            is_calico_node: false,
            has_session_options: true,
        };
        addresses.map(end).collect()
    }
}
