//! Keys of the datastore.

use ipnet::IpNet;
use std::fmt;

/// What every key starts with.
const ROOT: &str = "/calico/";
const RESOURCES: &str = "resources/v3/projectcalico.org/";
const HOST_AFFINITIES: &str = "ipam/v2/host/";
const BLOCKS: &str = "ipam/v2/assignment/";

/// A kind of resource that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Resource {
    BgpConfiguration,
    BgpFilter,
    BgpPeer,
    ClusterInformation,
    FelixConfiguration,
    IpPool,
    Node,
}

impl Resource {
    pub(super) const ALL: [Resource; 7] = [
        Resource::BgpConfiguration,
        Resource::BgpFilter,
        Resource::BgpPeer,
        Resource::ClusterInformation,
        Resource::FelixConfiguration,
        Resource::IpPool,
        Resource::Node,
    ];

    /// The folder in the datastore.
    fn folder(self) -> &'static str {
        match self {
            Resource::BgpConfiguration => "bgpconfigurations",
            Resource::BgpFilter => "bgpfilters",
            Resource::BgpPeer => "bgppeers",
            Resource::ClusterInformation => "clusterinformations",
            Resource::FelixConfiguration => "felixconfigurations",
            Resource::IpPool => "ippools",
            Resource::Node => "nodes",
        }
    }

    pub(super) fn kind(self) -> &'static str {
        match self {
            Resource::BgpConfiguration => "BGPConfiguration",
            Resource::BgpFilter => "BGPFilter",
            Resource::BgpPeer => "BGPPeer",
            Resource::ClusterInformation => "ClusterInformation",
            Resource::FelixConfiguration => "FelixConfiguration",
            Resource::IpPool => "IPPool",
            Resource::Node => "Node",
        }
    }
}

/// A key that means something to us.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    /// A block that a host claims.
    Affinity {
        node: String,
        block: IpNet,
    },
    /// A block and its addresses.
    Block(IpNet),
    Named(ResourceOrd, String),
}

/// [`Resource`] by its folder's name, so that keys sort as the datastore sorts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ResourceOrd(pub(super) Resource);

impl Ord for ResourceOrd {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.folder().cmp(other.0.folder())
    }
}

impl PartialOrd for ResourceOrd {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Key {
    /// `None`: not ours to read. A block is normalised: its host bits are cleared.
    pub(super) fn parse(text: &str) -> Option<Key> {
        let path = text.strip_prefix(ROOT)?;
        if let Some(resource) = path.strip_prefix(RESOURCES) {
            let (folder, name) = resource.split_once('/')?;
            let kind = Resource::ALL.into_iter().find(|kind| kind.folder() == folder)?;
            return is_name(name).then(|| Key::Named(ResourceOrd(kind), name.to_owned()));
        }
        if let Some(affinity) = path.strip_prefix(HOST_AFFINITIES) {
            let (node, block) = affinity.split_once('/')?;
            return Some(Key::Affinity { node: unescape(node), block: block_of(block)? });
        }
        path.strip_prefix(BLOCKS).and_then(block_of).map(Key::Block)
    }

    pub(super) fn named(kind: Resource, name: &str) -> Key {
        Key::Named(ResourceOrd(kind), name.to_owned())
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Key::Affinity { .. } => "BlockAffinity",
            Key::Block(_) => "AllocationBlock",
            Key::Named(kind, _) => kind.0.kind(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = |block: &IpNet| if block.addr().is_ipv4() { "ipv4" } else { "ipv6" };
        match self {
            Key::Affinity { node, block } => {
                let (node, family, length) = (escape(node), folder(block), block.prefix_len());
                write!(f, "{ROOT}{HOST_AFFINITIES}{node}/{family}/block/{}-{length}", block.addr())
            }
            Key::Block(block) => {
                let (family, length) = (folder(block), block.prefix_len());
                write!(f, "{ROOT}{BLOCKS}{family}/block/{}-{length}", block.addr())
            }
            Key::Named(kind, name) => write!(f, "{ROOT}{RESOURCES}{}/{name}", kind.0.folder()),
        }
    }
}

/// What a node's speaker has to read: the prefixes, each with its slash, so that `node1` is not `node10`.
///
/// With `blocks`, the address assignments too: who really owns a block, and which addresses are borrowed. They are
/// rewritten at every pod start.
pub(super) fn prefixes(node: &str, blocks: bool) -> Vec<String> {
    let resources = Resource::ALL.into_iter().map(|kind| format!("{ROOT}{RESOURCES}{}/", kind.folder()));
    let affinities = format!("{ROOT}{HOST_AFFINITIES}{}/", escape(node));
    let assignments = blocks.then(|| format!("{ROOT}{BLOCKS}"));
    resources.chain([affinities]).chain(assignments).collect()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/')
}

/// `ipv4/block/10.0.0.0-26`. The length follows the first dash; IPv6 keeps its colons.
fn block_of(path: &str) -> Option<IpNet> {
    let (family, block) = path.split_once("/block/")?;
    let block: IpNet = block.replacen('-', "/", 1).parse().ok()?;
    let is_right_family = match family {
        "ipv4" => block.addr().is_ipv4(),
        "ipv6" => block.addr().is_ipv6(),
        _ => false,
    };
    is_right_family.then(|| block.trunc())
}

fn escape(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2f")
}

fn unescape(name: &str) -> String {
    name.replace("%2f", "/").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_written_alike() {
        for text in [
            "/calico/resources/v3/projectcalico.org/bgpconfigurations/default",
            "/calico/resources/v3/projectcalico.org/bgpconfigurations/node.n1",
            "/calico/resources/v3/projectcalico.org/nodes/n1.example.org",
            "/calico/resources/v3/projectcalico.org/bgppeers/tor-a",
            "/calico/resources/v3/projectcalico.org/ippools/default-ipv4-ippool",
            "/calico/ipam/v2/host/n1/ipv4/block/192.168.0.0-26",
            "/calico/ipam/v2/host/n1/ipv6/block/fd00:10:244::40-122",
            "/calico/ipam/v2/assignment/ipv6/block/fd00:10:244::40-122",
        ] {
            assert_eq!(Key::parse(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn a_block_loses_its_host_bits() {
        let key = Key::parse("/calico/ipam/v2/assignment/ipv4/block/10.0.0.5-26").unwrap();
        assert_eq!(key, Key::Block("10.0.0.0/26".parse().unwrap()));
    }

    #[test]
    fn keys_of_others_are_none() {
        for text in [
            "",
            "/calico",
            "/bgp/v1/nodes/n1",
            "/calico/resources/v3/projectcalico.org/nodes/",
            "/calico/resources/v3/projectcalico.org/nodes/a/b",
            "/calico/resources/v3/projectcalico.org/workloadendpoints/default/w",
            "/calico/ipam/v2/virtual/load-balancer/ipv4/block/10.0.0.0-26",
            "/calico/ipam/v2/host/n1/ipv6/block/10.0.0.0-26",
            "/calico/ipam/v2/host/n1/ipv4/block/10.0.0.0",
            "/calico/ipam/v2/host/n1/ipv4/block/10.0.0.0-33",
            "/calico/ipam/v2/handle/x",
            "/calico/ipam/v2/config",
        ] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }

    #[test]
    fn folders_end_with_a_slash() {
        let prefixes = prefixes("n1", true);
        assert!(prefixes.iter().all(|prefix| prefix.ends_with('/')), "{prefixes:?}");
        assert!(prefixes.contains(&"/calico/ipam/v2/host/n1/".to_owned()));
        assert!(prefixes.contains(&"/calico/ipam/v2/assignment/".to_owned()));
    }
}
