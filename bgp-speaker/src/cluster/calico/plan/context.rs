//! What every part of the plan needs to know of this node and its cluster.

use super::{LocalNode, PlanError, RouterIdSource};
use crate::cluster::calico::model::{BgpConfiguration, BindMode, Node, ProgramClusterRoutes};
use crate::cluster::calico::snapshot::Snapshot;
use crate::config::DEFAULT_ASN;
use crate::config::filter::local_pref_of_priority;
use bgp_proto::{Asn, BgpId};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

/// RFC 4271 §8: where BGP is spoken unless somebody says otherwise.
pub(super) const BGP_PORT: u16 = 179;
/// The metric that means "normal", unless configured.
const NORMAL_PRIORITY: u32 = 1024;

static NO_CONFIGURATION: LazyLock<BgpConfiguration> = LazyLock::new(BgpConfiguration::default);

pub(super) struct Context<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) local: &'a LocalNode,
    /// Our own.
    pub(super) node: &'a Node,
    /// The cluster's.
    pub(super) config: &'a BgpConfiguration,
    /// AS of nodes without one.
    pub(super) global_as: Asn,
    /// Ours.
    pub(super) asn: Asn,
    pub(super) router_id: BgpId,
}

impl<'a> Context<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, local: &'a LocalNode) -> Result<Self, PlanError> {
        let node = snapshot.nodes.get(local.name.as_str());
        let node = node.ok_or_else(|| PlanError::NoNode { node: local.name.clone() })?;
        let config = snapshot.default_config.as_ref().unwrap_or(&NO_CONFIGURATION);
        let global_as = config.as_number.unwrap_or(DEFAULT_ASN);
        let router_id = match local.router_id {
            RouterIdSource::Fixed(id) => Some(id),
            RouterIdSource::Hash => Some(hashed_id(&local.name)),
            RouterIdSource::NodeAddress => node.ipv4.map(|net| BgpId::from(net.addr())),
        };
        let router_id = router_id.filter(|id| id.0 != 0);
        let router_id = router_id.ok_or_else(|| PlanError::NoRouterId { node: local.name.clone() })?;
        let asn = node.asn.unwrap_or(global_as);
        Ok(Self { snapshot, local, node, config, global_as, asn, router_id })
    }

    /// The port of a node, if any is configured.
    pub(super) fn listen_port(&self, node: &str) -> Option<u16> {
        let own = self.snapshot.node_configs.get(node).and_then(|config| config.listen_port);
        own.or(self.config.listen_port)
    }

    /// The AS of a node.
    pub(super) fn as_of(&self, node: &Node) -> Asn {
        node.asn.unwrap_or(self.global_as)
    }

    /// One socket for each family in which the node has an address.
    pub(super) fn listen(&self) -> Vec<SocketAddr> {
        let port = self.listen_port(&self.local.name).unwrap_or(BGP_PORT);
        let any = |address: IpAddr| match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let is_bound = self.config.bind_mode == Some(BindMode::NodeIP);
        let addresses = [true, false].into_iter().filter_map(|is_ipv4| self.node.address(is_ipv4));
        addresses
            .map(|address| SocketAddr::new(if is_bound { address } else { any(address) }, port))
            .collect()
    }

    /// The BGPConfiguration whose `prefixAdvertisements` hold: a node's replace those of the cluster, all of them.
    pub(super) fn advertisements(&self) -> &'a BgpConfiguration {
        let own = self.snapshot.node_configs.get(self.local.name.as_str());
        own.filter(|config| config.prefix_advertisements.is_some()).unwrap_or(self.config)
    }

    pub(super) fn program_cluster_routes(&self) -> ProgramClusterRoutes {
        self.config.program_cluster_routes.unwrap_or_default()
    }

    /// The LOCAL_PREF that says that a route has normal priority.
    pub(super) fn normal_local_pref(&self, is_ipv4: bool) -> u32 {
        local_pref_of_priority(normal_priority(self.config, is_ipv4))
    }
}

/// The metric that means "normal".
pub(super) fn normal_priority(config: &BgpConfiguration, is_ipv4: bool) -> u32 {
    let configured = if is_ipv4 { config.ipv4_normal_priority } else { config.ipv6_normal_priority };
    configured.unwrap_or(NORMAL_PRIORITY)
}

/// The first octets of the name's SHA-256; the first of them is kept below the addresses for multicast.
fn hashed_id(name: &str) -> BgpId {
    let digest = Sha256::digest(name.as_bytes());
    let [mut first, second, third, fourth] = [digest[0], digest[1], digest[2], digest[3]];
    if first > 223 {
        first -= 32;
    }
    BgpId(u32::from_be_bytes([first, second, third, fourth]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_name_is_the_one_that_calico_makes() {
        assert_eq!(hashed_id("kube-master").to_string(), "25.79.212.8");
    }
}
