//! IPAM: who claims which block, who has it, and who uses addresses out of the blocks of others.

use super::super::value::Cidr;
use crate::cluster::field::{Field, Findings};
use ipnet::IpNet;
use serde::Deserialize;
use std::net::IpAddr;

/// How far the claim of a host to a block has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AffinityState {
    /// The host has the block. An empty value says the same: that is how old data looks.
    Confirmed,
    /// It asks for the block.
    Pending,
    /// It gives the block up.
    PendingDeletion,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Affinity {
    state: Field<String>,
    deleted: Field<Deleted>,
}

/// `true`, or the same as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Deleted {
    Flag(bool),
    Text(String),
}

impl Deleted {
    fn is_set(&self) -> bool {
        match self {
            Deleted::Flag(flag) => *flag,
            Deleted::Text(text) => text == "true",
        }
    }
}

impl AffinityState {
    /// `None`: deleted, though the key is there.
    pub(in crate::cluster::calico) fn read(
        json: &[u8],
        findings: &mut Findings,
    ) -> Result<Option<Self>, String> {
        if json.trim_ascii().is_empty() {
            return Ok(Some(AffinityState::Confirmed));
        }
        let affinity: Affinity =
            serde_json::from_slice(json).map_err(|error| format!("unreadable: {error}"))?;
        if findings.take("deleted", affinity.deleted).is_some_and(|deleted| deleted.is_set()) {
            return Ok(None);
        }
        match findings.take("state", affinity.state).as_deref() {
            None | Some("" | "confirmed") => Ok(Some(AffinityState::Confirmed)),
            Some("pending") => Ok(Some(AffinityState::Pending)),
            Some("pendingDeletion") => Ok(Some(AffinityState::PendingDeletion)),
            Some(other) => Err(format!("state: {}: unknown", crate::cluster::field::quote(other))),
        }
    }
}

/// A block, with what matters of its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationBlock {
    /// Who has it.
    pub owner: BlockOwner,
    /// Addresses that other hosts than the owner use. Often empty.
    pub borrowed: Box<[BorrowedAddress]>,
}

/// Who has a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockOwner {
    /// A node.
    Host(Box<str>),
    /// Nobody.
    Nobody,
    /// Something that is no node, such as `load-balancer`.
    Virtual,
}

impl BlockOwner {
    /// Is it this node?
    pub fn is_host(&self, node: &str) -> bool {
        matches!(self, BlockOwner::Host(host) if &**host == node)
    }
}

/// An address that a node uses out of another's block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BorrowedAddress {
    /// The address.
    pub address: IpAddr,
    /// The node that uses it.
    pub node: Box<str>,
    /// It is the end of a VXLAN or WireGuard tunnel, which no BGP peer is told of.
    pub is_tunnel_end: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Block {
    cidr: Field<Cidr>,
    affinity: Option<String>,
    host_affinity: Option<String>,
    allocations: Vec<Option<u32>>,
    attributes: Vec<Attribute>,
    deleted: Field<Deleted>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attribute {
    secondary: Option<Secondary>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Secondary {
    node: Option<Box<str>>,
    #[serde(rename = "type")]
    kind: Option<Box<str>>,
}

impl AllocationBlock {
    /// `cidr` is the block that the key names. `None`: deleted, though the key is there.
    pub(in crate::cluster::calico) fn read(
        cidr: IpNet,
        json: &[u8],
        findings: &mut Findings,
    ) -> Result<Option<Self>, String> {
        let block: Block = serde_json::from_slice(json).map_err(|error| format!("unreadable: {error}"))?;
        if findings.take("deleted", block.deleted).is_some_and(|deleted| deleted.is_set()) {
            return Ok(None);
        }
        let inside = findings.take("cidr", block.cidr);
        if inside.is_some_and(|inside| inside.0 != cidr) {
            return Err(format!("cidr: the key is about {cidr}, the value about another block"));
        }
        let legacy = block.host_affinity.map(|host| format!("host:{host}"));
        let affinity = block.affinity.or(legacy).filter(|affinity| !affinity.is_empty());
        let owner = match affinity.as_deref().map(|affinity| affinity.split_once(':')) {
            None => BlockOwner::Nobody,
            Some(Some(("host", host))) => BlockOwner::Host(host.into()),
            Some(_) => BlockOwner::Virtual,
        };
        let borrowed = borrowed(cidr, &owner, &block.allocations, &block.attributes);
        Ok(Some(Self { owner, borrowed }))
    }
}

/// Slots whose user is not the owner. Slots of nobody in particular are skipped, and so is what lies outside the block.
fn borrowed(
    cidr: IpNet,
    owner: &BlockOwner,
    allocations: &[Option<u32>],
    attributes: &[Attribute],
) -> Box<[BorrowedAddress]> {
    let mut borrowed = Vec::new();
    for (offset, slot) in allocations.iter().enumerate() {
        let Some(secondary) = slot
            .and_then(|index| attributes.get(index as usize))
            .and_then(|attribute| attribute.secondary.as_ref())
        else {
            continue;
        };
        let Some(node) = secondary.node.as_ref().filter(|node| !node.is_empty() && !owner.is_host(node))
        else {
            continue;
        };
        if let Some(address) = nth_address(cidr, offset as u64) {
            let kind = secondary.kind.as_deref().unwrap_or_default();
            let is_tunnel_end = kind.starts_with("vxlan") || kind.starts_with("wireguard");
            borrowed.push(BorrowedAddress { address, node: node.clone(), is_tunnel_end });
        }
    }
    borrowed.into_boxed_slice()
}

fn nth_address(cidr: IpNet, offset: u64) -> Option<IpAddr> {
    let address: IpAddr = match cidr {
        IpNet::V4(net) => {
            net.network().to_bits().checked_add(u32::try_from(offset).ok()?)?.to_be_bytes().into()
        }
        IpNet::V6(net) => net.network().to_bits().checked_add(u128::from(offset))?.to_be_bytes().into(),
    };
    cidr.contains(&address).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn affinity(json: &str) -> Result<Option<AffinityState>, String> {
        AffinityState::read(json.as_bytes(), &mut Findings::default())
    }

    #[test]
    fn missing_and_empty_states_are_confirmed() {
        for json in [
            "",
            " ",
            "{}",
            r#"{"state":""}"#,
            r#"{"state":"confirmed","deleted":false}"#,
            r#"{"state":null}"#,
        ] {
            assert_eq!(affinity(json), Ok(Some(AffinityState::Confirmed)), "{json}");
        }
        assert_eq!(affinity(r#"{"state":"pending"}"#), Ok(Some(AffinityState::Pending)));
        assert_eq!(affinity(r#"{"state":"pendingDeletion"}"#), Ok(Some(AffinityState::PendingDeletion)));
        assert_eq!(affinity(r#"{"state":"confirmed","deleted":"true"}"#), Ok(None));
        assert!(affinity(r#"{"state":"perhaps"}"#).is_err() && affinity("x").is_err());
    }

    #[test]
    fn borrowed_addresses_are_those_of_other_nodes_than_the_owner() {
        let json = json!({
            "cidr": "10.244.3.64/30", "affinity": "host:n1", "allocations": [0, 1, 2, 7], "unallocated": [],
            "attributes": [
                {"handle_id": "ipip-tunnel-addr-n1", "secondary": {"node": "n1", "type": "ipipTunnelAddress"}},
                {"handle_id": "k8s-pod-network.77ab", "secondary": {"node": "n2", "namespace": "web", "pod": "w-1"}},
                {"handle_id": null, "secondary": null}
            ],
            "deleted": false
        });
        let cidr = "10.244.3.64/30".parse().unwrap();
        let block = AllocationBlock::read(cidr, json.to_string().as_bytes(), &mut Findings::default());
        let block = block.unwrap().unwrap();
        assert!(block.owner.is_host("n1"));
        let borrowed = BorrowedAddress {
            address: "10.244.3.65".parse().unwrap(),
            node: "n2".into(),
            is_tunnel_end: false,
        };
        assert_eq!(*block.borrowed, [borrowed]);
    }

    #[test]
    fn slots_outside_the_block_are_nothing() {
        let json = r#"{"affinity":null,"allocations":[null,0,0],"attributes":[{"secondary":{"node":"n"}}]}"#;
        let read = |cidr: &str| {
            AllocationBlock::read(cidr.parse().unwrap(), json.as_bytes(), &mut Findings::default())
                .unwrap()
                .unwrap()
        };
        let block = read("255.255.255.254/31");
        assert_eq!((block.owner, block.borrowed.len()), (BlockOwner::Nobody, 1));
        assert_eq!(read("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127").borrowed.len(), 1);
    }

    #[test]
    fn owners_that_are_no_hosts_are_not_mistaken_for_hosts() {
        let read = |affinity: &str| {
            let json = json!({"affinity": affinity}).to_string();
            let cidr = "10.0.0.0/30".parse().unwrap();
            AllocationBlock::read(cidr, json.as_bytes(), &mut Findings::default()).unwrap().unwrap().owner
        };
        assert_eq!(read("virtual:load-balancer"), BlockOwner::Virtual);
        assert_eq!(read(""), BlockOwner::Nobody);
        assert_eq!(read("host:a:b"), BlockOwner::Host("a:b".into()));
    }
}
