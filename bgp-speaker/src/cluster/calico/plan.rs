//! From the data of a cluster to one node's sessions, announcements and rules for the kernel.
//!
//! Pure and deterministic. What Calico's own programs leave to chance is settled by name, and peers in a cluster where
//! some nodes still run them see what they would see from such a node: the same names, the same end connecting, the
//! same attributes.

mod context;
mod convert;
mod fib;
mod filters;
mod kernel;
mod mesh;
mod originate;
mod peers;
mod services;
mod session;

use super::snapshot::Snapshot;
use crate::cluster::Problem;
use crate::config::filter::Filter;
use crate::config::{Family, FibRules, KernelImport, NextHopMode, Role, Secret};
use bgp_proto::{Asn, BgpId, Community, LargeCommunity};
use context::Context;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What a node says of itself, beside what the datastore says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNode {
    /// Its name in the datastore.
    pub name: String,
    /// Its name in Kubernetes; `None`: the same.
    pub kubernetes_name: Option<String>,
    /// Where its BGP identifier comes from.
    pub router_id: RouterIdSource,
    /// The namespace of its pod, where the Secrets are.
    pub namespace: String,
    /// A range of cluster IPs in place of the configured ones.
    pub cluster_ips: Option<IpNet>,
    /// The blocks in its Node's status are its own.
    pub uses_pod_cidrs: bool,
}

/// Where a BGP identifier comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouterIdSource {
    /// It is this.
    Fixed(BgpId),
    /// From the node's name.
    Hash,
    /// It is the node's IPv4 address.
    #[default]
    NodeAddress,
}

impl LocalNode {
    /// A node that says nothing but its name.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kubernetes_name: None,
            router_id: RouterIdSource::default(),
            namespace: "kube-system".to_owned(),
            cluster_ips: None,
            uses_pod_cidrs: false,
        }
    }

    /// The same node with what Calico's own programs take from the environment: `CALICO_ROUTER_ID`,
    /// `CALICO_K8S_NODE_REF`, `NAMESPACE`, `CALICO_ADVERTISE_CLUSTER_IPS` and `USE_POD_CIDR`. Empty values count as
    /// unset.
    ///
    /// # Errors
    /// The variable that cannot be read, and why.
    pub fn with_environment(mut self, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        self.router_id = match set("CALICO_ROUTER_ID").as_deref() {
            None => self.router_id,
            Some("hash") => RouterIdSource::Hash,
            Some(text) => match text.parse::<BgpId>() {
                Ok(id) if id.0 != 0 => RouterIdSource::Fixed(id),
                _ => {
                    return Err(format!(
                        "CALICO_ROUTER_ID: \"{text}\" is neither \"hash\" nor an identifier such as 10.0.0.1"
                    ));
                }
            },
        };
        if let Some(range) = set("CALICO_ADVERTISE_CLUSTER_IPS") {
            let parsed = range.parse().map_err(|_| {
                format!("CALICO_ADVERTISE_CLUSTER_IPS: \"{range}\" is no range such as 10.96.0.0/12")
            })?;
            self.cluster_ips = Some(parsed);
        }
        self.kubernetes_name = set("CALICO_K8S_NODE_REF").or(self.kubernetes_name);
        self.namespace = set("NAMESPACE").unwrap_or(self.namespace);
        self.uses_pod_cidrs |= set("USE_POD_CIDR").is_some_and(|value| value == "true");
        Ok(self)
    }

    fn kubernetes_name(&self) -> &str {
        self.kubernetes_name.as_deref().unwrap_or(&self.name)
    }
}

/// What a node is to do. Equal data give an equal plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The node's name.
    pub node: String,
    /// Its AS.
    pub asn: Asn,
    /// Its BGP identifier.
    pub router_id: BgpId,
    /// Present: it is a route reflector.
    pub cluster_id: Option<BgpId>,
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// Sorted by name. Two of them may name one address with different ports.
    pub sessions: Vec<SessionPlan>,
    /// Sorted by prefix, which is there once.
    pub originate: Vec<Origination>,
    /// Which routes go to the kernel.
    pub fib: FibRules,
    /// Which routes of others are taken from there.
    pub kernel_import: KernelImport,
    filters: BTreeMap<String, Arc<Filter>>,
    /// What is wrong with the data as a whole, and without effect therefore.
    pub problems: Vec<Problem>,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionPlan {
    /// As Calico calls it, such as `Mesh_10_0_0_2`.
    pub name: String,
    /// The neighbour.
    pub address: IpAddr,
    /// Its TCP port.
    pub port: u16,
    /// Our AS on the session.
    pub local_as: Asn,
    /// The neighbour's AS.
    pub remote_as: Asn,
    /// Our address; `None`: the kernel chooses.
    pub local_address: Option<IpAddr>,
    /// The neighbour connects.
    pub passive: bool,
    /// Whether it is a client of our reflection.
    pub role: Role,
    /// GTSM: hops that are expected.
    pub ttl_security: Option<u8>,
    /// The next hop that it is told.
    pub next_hop: NextHopMode,
    /// Time between KEEPALIVEs.
    pub keepalive_secs: Option<u16>,
    /// Advertised for graceful restart.
    pub restart_time_secs: u16,
    /// TCP MD5.
    pub password: Option<Secret>,
    /// How often our own AS may be in a received path.
    pub allow_own_as: u8,
    /// BGPFilters with rules for received routes, in order.
    pub import: Vec<String>,
    /// BGPFilters with rules for advertised routes, in order.
    pub export: Vec<String>,
}

impl SessionPlan {
    /// The only family: IPv4 routes go over IPv4, IPv6 routes over IPv6.
    pub fn family(&self) -> Family {
        if self.address.is_ipv4() { Family::Ipv4Unicast } else { Family::Ipv6Unicast }
    }

    /// Is it of one AS?
    pub fn is_internal(&self) -> bool {
        self.local_as == self.remote_as
    }
}

/// One prefix that we originate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origination {
    /// Host bits are cleared.
    pub prefix: IpNet,
    /// Why.
    pub kind: OriginationKind,
    /// Nothing but BGPFilters may let it out: it is in a pool that is not exported.
    pub is_export_disabled: bool,
    /// LOCAL_PREF: Calico's way to tell a route's priority.
    pub local_pref: u32,
    /// Attached.
    pub communities: Vec<Community>,
    /// Attached.
    pub large_communities: Vec<LargeCommunity>,
}

/// Why a prefix is originated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginationKind {
    /// An address of this node out of another's block.
    Borrowed,
    /// A block of this node.
    Block,
    /// Addresses of services.
    Service,
}

impl Origination {
    /// Are packets for addresses in it that nobody has dropped here? Not for single addresses: the pod's own route
    /// has that prefix.
    pub fn is_blackhole(&self) -> bool {
        self.kind == OriginationKind::Block && self.prefix.prefix_len() < self.prefix.max_prefix_len()
    }
}

/// Why there is no plan; the last one stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The data are not there yet, or the node was deleted.
    #[error("the datastore has no Node {node}: wait until it is registered, or set NODENAME to its name")]
    NoNode {
        /// Its name.
        node: String,
    },
    /// Nothing to make an identifier of.
    #[error(
        "node {node} has no IPv4 address to be its router id: set CALICO_ROUTER_ID to an address, or to hash"
    )]
    NoRouterId {
        /// Its name.
        node: String,
    },
}

/// What `local` is to do in the cluster that `snapshot` shows.
///
/// # Errors
/// The cluster does not know the node, or the node has nothing to make an identifier of.
pub fn plan(snapshot: &Snapshot, local: &LocalNode) -> Result<Plan, PlanError> {
    let mut problems = Vec::new();
    let context = Context::new(snapshot, local)?;
    let sessions = session::all(&context, &mut problems);
    let originate = originate::all(&context, &mut problems);
    let fib = fib::rules(&context, &mut problems);
    let kernel_import = kernel::import(&context, &sessions, &originate, &mut problems);
    problems.sort();
    problems.dedup();
    Ok(Plan {
        node: local.name.clone(),
        asn: context.asn,
        router_id: context.router_id,
        cluster_id: context.node.cluster_id,
        listen: context.listen(),
        filters: filters::all(&context, &sessions, &originate),
        sessions,
        originate,
        fib,
        kernel_import,
        problems,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(variables: &[(&str, &str)]) -> Result<LocalNode, String> {
        let value = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        LocalNode::named("n").with_environment(value)
    }

    #[test]
    fn the_environment_of_calicos_programs_is_understood() {
        assert_eq!(node(&[("NAMESPACE", "")]), Ok(LocalNode::named("n")));
        let full = node(&[
            ("CALICO_ROUTER_ID", "10.0.0.9"),
            ("CALICO_K8S_NODE_REF", "k"),
            ("NAMESPACE", "calico-system"),
            ("CALICO_ADVERTISE_CLUSTER_IPS", "10.96.0.0/12"),
            ("USE_POD_CIDR", "true"),
        ]);
        let expected = LocalNode {
            name: "n".to_owned(),
            kubernetes_name: Some("k".to_owned()),
            router_id: RouterIdSource::Fixed("10.0.0.9".parse().unwrap()),
            namespace: "calico-system".to_owned(),
            cluster_ips: Some("10.96.0.0/12".parse().unwrap()),
            uses_pod_cidrs: true,
        };
        assert_eq!(full, Ok(expected));
        assert_eq!(node(&[("CALICO_ROUTER_ID", "hash")]).unwrap().router_id, RouterIdSource::Hash);
        for bad in [("CALICO_ROUTER_ID", "0.0.0.0"), ("CALICO_ADVERTISE_CLUSTER_IPS", "10.96.0.0")] {
            assert!(node(&[bad]).unwrap_err().starts_with(bad.0));
        }
    }
}
