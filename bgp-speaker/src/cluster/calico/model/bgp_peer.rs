//! BGPPeer: sessions that somebody asked for.

use super::super::selector::Selector;
use super::super::value::{AsNumber, GoDuration, PeerAddress, nonzero_as};
use super::{SecretKeyRef, spec};
use crate::cluster::field::{Field, Findings, quote};
use crate::config::NextHopMode;
use bgp_proto::Asn;
use serde::Deserialize;
use std::net::IpAddr;

/// One BGPPeer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgpPeer {
    /// On which nodes.
    pub scope: NodeScope,
    /// With whom.
    pub target: PeerTarget,
    /// Our AS on the session; honoured for addresses and local workloads.
    pub local_as: Option<Asn>,
    /// Next hop unchanged, on external sessions only. `next_hop_mode` overrides it.
    pub keep_original_next_hop: bool,
    /// `None`: not set.
    pub next_hop_mode: Option<NextHopMode>,
    /// TCP MD5.
    pub password: Option<SecretKeyRef>,
    /// `true`: the kernel chooses our address.
    pub any_source_address: bool,
    /// Restart Time that we advertise.
    pub max_restart_time: Option<GoDuration>,
    /// Time between KEEPALIVEs.
    pub keepalive_time: Option<GoDuration>,
    /// How often our AS may be in a received path; honoured for addresses.
    pub allow_own_as: u8,
    /// Expected hops; `None`: no GTSM.
    pub ttl_security: Option<u8>,
    /// A host route to the peer goes via this address.
    pub reachable_by: ReachableBy,
    /// BGPFilters by name, in order.
    pub filters: Vec<String>,
    /// The opposite direction is written by hand.
    pub is_reverse_manual: bool,
}

/// On which nodes a BGPPeer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeScope {
    /// All.
    Global,
    /// One.
    Node(String),
    /// Those that match.
    Selected(Selector),
    /// None: its selector cannot be read.
    Nowhere,
}

/// Whom a BGPPeer is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerTarget {
    /// One address.
    Address(Remote),
    /// All nodes that match.
    Nodes(Selector),
    /// Local workloads that Felix assigned to this BGPPeer, in this AS.
    LocalWorkloads(Asn),
    /// Nobody: its selector or address cannot be read.
    Nobody,
}

/// `peerIP` and `asNumber`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Where it is.
    pub address: IpAddr,
    /// As written.
    pub port: Option<u16>,
    /// Its AS, if written.
    pub asn: Option<Asn>,
}

/// `reachableBy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReachableBy {
    /// Not set.
    #[default]
    Unset,
    /// This gateway.
    Gateway(IpAddr),
    /// Set, and no address: a BGPPeer with an address is then without effect.
    Unreadable,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node: Field<String>,
    node_selector: Field<String>,
    #[serde(rename = "peerIP")]
    peer_ip: Field<String>,
    as_number: Field<AsNumber>,
    peer_selector: Field<String>,
    local_workload_selector: Field<String>,
    #[serde(rename = "localASNumber")]
    local_as_number: Field<AsNumber>,
    keep_original_next_hop: Field<bool>,
    next_hop_mode: Field<HopMode>,
    password: Field<SecretKeyRef>,
    source_address: Field<SourceAddress>,
    max_restart_time: Field<GoDuration>,
    keepalive_time: Field<GoDuration>,
    #[serde(rename = "numAllowedLocalASNumbers")]
    num_allowed_local_as_numbers: Field<i32>,
    ttl_security: Field<u8>,
    reachable_by: Field<String>,
    filters: Field<Vec<Field<String>>>,
    reverse_peering: Field<ReversePeering>,
}

#[derive(Deserialize)]
enum HopMode {
    Auto,
    Keep,
    #[serde(rename = "Self")]
    SelfAddress,
}

#[derive(Deserialize)]
enum SourceAddress {
    None,
    UseNodeIP,
}

#[derive(Deserialize)]
enum ReversePeering {
    Auto,
    Manual,
}

impl BgpPeer {
    pub(in crate::cluster::calico) fn read(json: &[u8], findings: &mut Findings) -> Result<Self, String> {
        let mut spec: Spec = spec(json)?;
        let scope = scope(&mut spec, findings);
        let target = target(&mut spec, findings);
        let next_hop_mode = findings.take("spec.nextHopMode", spec.next_hop_mode).map(|mode| match mode {
            HopMode::Auto => NextHopMode::Auto,
            HopMode::Keep => NextHopMode::Unchanged,
            HopMode::SelfAddress => NextHopMode::SelfAddress,
        });
        let source = findings.take("spec.sourceAddress", spec.source_address);
        let allowed = findings.take("spec.numAllowedLocalASNumbers", spec.num_allowed_local_as_numbers);
        Ok(Self {
            scope,
            target,
            local_as: nonzero_as("spec.localASNumber", spec.local_as_number, findings),
            keep_original_next_hop: findings
                .take("spec.keepOriginalNextHop", spec.keep_original_next_hop)
                .unwrap_or(false),
            next_hop_mode,
            password: findings.take("spec.password", spec.password),
            any_source_address: matches!(source, Some(SourceAddress::None)),
            max_restart_time: findings.take("spec.maxRestartTime", spec.max_restart_time),
            keepalive_time: findings.take("spec.keepaliveTime", spec.keepalive_time),
            allow_own_as: allowed.unwrap_or(0).clamp(0, i32::from(u8::MAX)) as u8,
            ttl_security: findings.take("spec.ttlSecurity", spec.ttl_security).filter(|hops| *hops > 0),
            reachable_by: reachable_by(spec.reachable_by, findings),
            filters: findings.take_list("spec.filters", spec.filters),
            is_reverse_manual: matches!(
                findings.take("spec.reversePeering", spec.reverse_peering),
                Some(ReversePeering::Manual)
            ),
        })
    }
}

fn scope(spec: &mut Spec, findings: &mut Findings) -> NodeScope {
    let node = findings.take("spec.node", std::mem::take(&mut spec.node)).filter(|node| !node.is_empty());
    let selector = parsed("spec.nodeSelector", &mut spec.node_selector, str::parse::<Selector>, findings);
    match (node, selector) {
        (Some(node), Ok(None)) => NodeScope::Node(node),
        (Some(node), _) => {
            findings.note("spec.nodeSelector: excludes spec.node, and is ignored");
            NodeScope::Node(node)
        }
        (None, Ok(Some(selector))) => NodeScope::Selected(selector),
        (None, Ok(None)) => NodeScope::Global,
        // What matches nothing must not become a BGPPeer of every node.
        (None, Err(Unreadable)) => NodeScope::Nowhere,
    }
}

fn target(spec: &mut Spec, findings: &mut Findings) -> PeerTarget {
    let asn = nonzero_as("spec.asNumber", std::mem::take(&mut spec.as_number), findings);
    let workloads = &mut spec.local_workload_selector;
    let workloads = parsed("spec.localWorkloadSelector", workloads, str::parse::<Selector>, findings);
    let nodes = parsed("spec.peerSelector", &mut spec.peer_selector, str::parse::<Selector>, findings);
    let address = parsed("spec.peerIP", &mut spec.peer_ip, str::parse::<PeerAddress>, findings);
    match (workloads, nodes, address) {
        // Felix has matched the selector already; that we cannot read it is no harm.
        (Err(Unreadable) | Ok(Some(_)), _, _) => match asn {
            Some(asn) => PeerTarget::LocalWorkloads(asn),
            None => {
                findings.note(
                    "spec.asNumber: spec.localWorkloadSelector needs it; the BGPPeer is without effect",
                );
                PeerTarget::Nobody
            }
        },
        (Ok(None), Ok(Some(selector)), address) => {
            if address != Ok(None) {
                findings.note("spec.peerIP: excludes spec.peerSelector, and is ignored");
            }
            PeerTarget::Nodes(selector)
        }
        (Ok(None), Ok(None), Ok(Some(peer))) => {
            PeerTarget::Address(Remote { address: peer.address, port: peer.port, asn })
        }
        (Ok(None), Ok(None), Ok(None)) => {
            findings.note(
                "spec: needs peerIP, peerSelector or localWorkloadSelector; the BGPPeer is without effect",
            );
            PeerTarget::Nobody
        }
        (Ok(None), Err(Unreadable), _) | (Ok(None), Ok(None), Err(Unreadable)) => PeerTarget::Nobody,
    }
}

fn reachable_by(mut field: Field<String>, findings: &mut Findings) -> ReachableBy {
    match parsed("spec.reachableBy", &mut field, str::parse::<IpAddr>, findings) {
        Ok(Some(gateway)) => ReachableBy::Gateway(gateway),
        Ok(None) => ReachableBy::Unset,
        Err(Unreadable) => ReachableBy::Unreadable,
    }
}

/// The field is there, but not what it should be; that has been noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unreadable;

/// A text and what it means. An empty one is as good as none.
fn parsed<T, E: std::fmt::Display>(
    path: &str,
    field: &mut Field<String>,
    parse: impl FnOnce(&str) -> Result<T, E>,
    findings: &mut Findings,
) -> Result<Option<T>, Unreadable> {
    let text = match std::mem::take(field) {
        Field::Absent => return Ok(None),
        Field::Good(text) if text.is_empty() => return Ok(None),
        Field::Good(text) => text,
        bad @ Field::Bad(_) => {
            findings.take(path, bad);
            return Err(Unreadable);
        }
    };
    parse(&text).map(Some).map_err(|error| {
        findings.note(format!("{path}: {}: {error}", quote(&text)));
        Unreadable
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(spec: serde_json::Value) -> (BgpPeer, Vec<String>) {
        let mut findings = Findings::default();
        let json = json!({"kind": "BGPPeer", "metadata": {"name": "p"}, "spec": spec}).to_string();
        (BgpPeer::read(json.as_bytes(), &mut findings).unwrap(), findings.into_vec())
    }

    #[test]
    fn a_full_resource_is_read() {
        let (peer, findings) = read(json!({
            "nodeSelector": "rack == 'r7'", "peerIP": "10.7.0.1:1790", "asNumber": "65107",
            "password": {"secretKeyRef": {"name": "bgp-keys", "key": "tor7"}}, "maxRestartTime": "90s",
            "filters": ["a", "b"], "nextHopMode": "Self", "ttlSecurity": 2, "localASNumber": 65000,
            "numAllowedLocalASNumbers": 3, "sourceAddress": "None", "reachableBy": "10.0.0.254",
            "keepaliveTime": "10s", "reversePeering": "Manual", "somethingNew": {}
        }));
        assert_eq!(findings, Vec::<String>::new());
        assert_eq!(peer.scope, NodeScope::Selected("rack == 'r7'".parse().unwrap()));
        let address = "10.7.0.1".parse().unwrap();
        assert_eq!(
            peer.target,
            PeerTarget::Address(Remote { address, port: Some(1790), asn: Some(Asn(65107)) })
        );
        assert_eq!((peer.ttl_security, peer.allow_own_as, peer.local_as), (Some(2), 3, Some(Asn(65000))));
        assert_eq!(peer.next_hop_mode, Some(NextHopMode::SelfAddress));
        assert!(peer.any_source_address && peer.is_reverse_manual);
        assert_eq!(peer.reachable_by, ReachableBy::Gateway("10.0.0.254".parse().unwrap()));
    }

    #[test]
    fn a_selector_that_cannot_be_read_matches_no_node_instead_of_all() {
        let (peer, findings) = read(json!({"nodeSelector": "rack =", "peerIP": "10.0.0.1", "asNumber": 1}));
        assert_eq!(peer.scope, NodeScope::Nowhere);
        assert!(findings[0].starts_with("spec.nodeSelector: rack =: no selector"), "{findings:?}");
        let (peer, _) = read(json!({"peerSelector": "rack ="}));
        assert_eq!(peer.target, PeerTarget::Nobody);
    }

    #[test]
    fn an_unknown_word_costs_its_field() {
        let (peer, findings) =
            read(json!({"peerIP": "fd00::1", "nextHopMode": "Sideways", "ttlSecurity": 300}));
        assert_eq!((peer.next_hop_mode, peer.ttl_security), (None, None));
        assert_eq!(findings.len(), 2, "{findings:?}");
    }

    #[test]
    fn empty_texts_are_as_good_as_none() {
        let (peer, findings) =
            read(json!({"node": "", "nodeSelector": "", "peerSelector": "", "peerIP": "10.0.0.1"}));
        assert_eq!((peer.scope, findings.len()), (NodeScope::Global, 0));
        assert!(matches!(peer.target, PeerTarget::Address(_)));
    }
}
