//! BGPConfiguration: `default` for the cluster, `node.NAME` for what one node has otherwise.

use super::super::value::{AsNumber, Cidr, GoDuration};
use super::spec;
use crate::cluster::field::{Field, Findings};
use bgp_proto::{Asn, Community, LargeCommunity};
use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Normal route priorities lie in 1..=this.
const PRIORITY_MAX: u32 = 2_147_483_646;

/// One BGPConfiguration. Absent fields are `None`, or empty where that is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BgpConfiguration {
    /// `None`: true.
    pub mesh_enabled: Option<bool>,
    /// AS of nodes that have none of their own.
    pub as_number: Option<Asn>,
    /// Local port, and the port to dial.
    pub listen_port: Option<u16>,
    /// Which addresses are listened on.
    pub bind_mode: Option<BindMode>,
    /// For mesh sessions.
    pub mesh_password: Option<SecretKeyRef>,
    /// Restart Time on mesh sessions.
    pub mesh_max_restart_time: Option<GoDuration>,
    /// Named values, for `prefix_advertisements` of the same resource.
    pub communities: BTreeMap<String, CommunityValue>,
    /// What to attach on export. `None`: not set, so that those of `default` hold.
    pub prefix_advertisements: Option<Vec<PrefixAdvertisement>>,
    /// Announced; also turns on per-service cluster IPs.
    pub service_cluster_ips: Vec<IpNet>,
    /// Allowed external IPs.
    pub service_external_ips: Vec<IpNet>,
    /// Allowed load-balancer IPs.
    pub service_load_balancer_ips: Vec<IpNet>,
    /// `Some(false)`: no load-balancer range is announced, only addresses of services.
    pub load_balancer_aggregation: Option<bool>,
    /// Interfaces whose addresses are not announced.
    pub ignored_interfaces: Vec<String>,
    /// Virtual addresses for local workload peers.
    pub local_workload_peering: Vec<IpAddr>,
    /// Whose routes BGP writes into the kernel.
    pub program_cluster_routes: Option<ProgramClusterRoutes>,
    /// Metric that means "normal", IPv4.
    pub ipv4_normal_priority: Option<u32>,
    /// Metric that means "normal", IPv6.
    pub ipv6_normal_priority: Option<u32>,
}

/// Which addresses are listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum BindMode {
    /// Any address.
    None,
    /// The node's own address of each family.
    NodeIP,
}

/// Whose routes BGP writes into the kernel; Felix writes the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum ProgramClusterRoutes {
    /// None.
    Disabled,
    /// Pools with IPIP and pools without encapsulation.
    Enabled,
    /// Pools with IPIP.
    EnabledIPIPOnly,
    /// Pools without encapsulation.
    #[default]
    EnabledNoEncapOnly,
}

/// A key of a Kubernetes Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretKeyRef {
    /// The Secret, in the namespace of the node's pod.
    pub name: String,
    /// The key in its data.
    pub key: String,
}

impl<'de> Deserialize<'de> for SecretKeyRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Password {
            secret_key_ref: Reference,
        }
        #[derive(Deserialize)]
        struct Reference {
            name: String,
            key: String,
        }
        let reference = Password::deserialize(deserializer)?.secret_key_ref;
        Ok(Self { name: reference.name, key: reference.key })
    }
}

/// A community: two numbers are a standard one, three a large one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommunityValue {
    /// `aa:nn:mm`
    Large(LargeCommunity),
    /// `aa:nn`
    Standard(Community),
}

impl std::str::FromStr for CommunityValue {
    type Err = bgp_proto::ParseValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split(':').count() {
            3 => text.parse().map(CommunityValue::Large),
            _ => text.parse().map(CommunityValue::Standard),
        }
    }
}

impl<'de> Deserialize<'de> for CommunityValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Communities for every route inside a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixAdvertisement {
    /// Which routes.
    pub cidr: IpNet,
    /// Names or values.
    pub communities: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_to_node_mesh_enabled: Field<bool>,
    as_number: Field<AsNumber>,
    listen_port: Field<u16>,
    bind_mode: Field<BindMode>,
    node_mesh_password: Field<SecretKeyRef>,
    node_mesh_max_restart_time: Field<GoDuration>,
    communities: Field<Vec<Field<NamedCommunity>>>,
    prefix_advertisements: Field<Vec<Field<Advertisement>>>,
    #[serde(rename = "serviceClusterIPs")]
    service_cluster_ips: Field<Vec<Field<Range>>>,
    #[serde(rename = "serviceExternalIPs")]
    service_external_ips: Field<Vec<Field<Range>>>,
    #[serde(rename = "serviceLoadBalancerIPs")]
    service_load_balancer_ips: Field<Vec<Field<Range>>>,
    service_load_balancer_aggregation: Field<Switch>,
    ignored_interfaces: Field<Vec<Field<String>>>,
    #[serde(rename = "localWorkloadPeeringIPV4")]
    local_workload_peering_ipv4: Field<IpAddr>,
    #[serde(rename = "localWorkloadPeeringIPV6")]
    local_workload_peering_ipv6: Field<IpAddr>,
    program_cluster_routes: Field<ProgramClusterRoutes>,
    ipv4_normal_route_priority: Field<u32>,
    ipv6_normal_route_priority: Field<u32>,
}

#[derive(Deserialize)]
struct NamedCommunity {
    name: String,
    value: CommunityValue,
}

#[derive(Deserialize)]
struct Advertisement {
    cidr: Cidr,
    #[serde(default)]
    communities: Vec<String>,
}

/// Entries without `cidr` are legal, and nothing.
#[derive(Deserialize)]
struct Range {
    cidr: Option<Cidr>,
}

#[derive(Deserialize)]
enum Switch {
    Disabled,
    Enabled,
}

impl BgpConfiguration {
    pub(in crate::cluster::calico) fn read(json: &[u8], findings: &mut Findings) -> Result<Self, String> {
        let spec: Spec = spec(json)?;
        let mut port = |field| match findings.take("spec.listenPort", field) {
            Some(0) => {
                findings.note("spec.listenPort: 0 is no port; use 1 to 65535");
                None
            }
            port => port,
        };
        let listen_port = port(spec.listen_port);
        let mut priority = |path: &str, field| {
            let priority = findings.take(path, field)?;
            if (1..=PRIORITY_MAX).contains(&priority) {
                return Some(priority);
            }
            findings.note(format!("{path}: {priority} is not in 1..{PRIORITY_MAX}"));
            None
        };
        let ipv4_normal_priority = priority("spec.ipv4NormalRoutePriority", spec.ipv4_normal_route_priority);
        let ipv6_normal_priority = priority("spec.ipv6NormalRoutePriority", spec.ipv6_normal_route_priority);
        let has_advertisements = !matches!(spec.prefix_advertisements, Field::Absent);
        let advertisements = findings.take_list("spec.prefixAdvertisements", spec.prefix_advertisements);
        let communities = findings.take_list("spec.communities", spec.communities);
        let workload_peering = [
            findings.take("spec.localWorkloadPeeringIPV4", spec.local_workload_peering_ipv4),
            findings.take("spec.localWorkloadPeeringIPV6", spec.local_workload_peering_ipv6),
        ];
        let mut ranges = |path: &str, field| {
            let ranges = findings.take_list::<Range>(path, field);
            ranges.into_iter().filter_map(|range| range.cidr.map(|cidr| cidr.0)).collect()
        };
        let service_cluster_ips = ranges("spec.serviceClusterIPs", spec.service_cluster_ips);
        let service_external_ips = ranges("spec.serviceExternalIPs", spec.service_external_ips);
        let service_load_balancer_ips = ranges("spec.serviceLoadBalancerIPs", spec.service_load_balancer_ips);
        let aggregation =
            findings.take("spec.serviceLoadBalancerAggregation", spec.service_load_balancer_aggregation);
        Ok(Self {
            mesh_enabled: findings.take("spec.nodeToNodeMeshEnabled", spec.node_to_node_mesh_enabled),
            as_number: super::super::value::nonzero_as("spec.asNumber", spec.as_number, findings),
            listen_port,
            bind_mode: findings.take("spec.bindMode", spec.bind_mode),
            mesh_password: findings.take("spec.nodeMeshPassword", spec.node_mesh_password),
            mesh_max_restart_time: findings
                .take("spec.nodeMeshMaxRestartTime", spec.node_mesh_max_restart_time),
            communities: communities.into_iter().map(|named| (named.name, named.value)).collect(),
            prefix_advertisements: has_advertisements.then(|| {
                let advertisement =
                    |a: Advertisement| PrefixAdvertisement { cidr: a.cidr.0, communities: a.communities };
                advertisements.into_iter().map(advertisement).collect()
            }),
            service_cluster_ips,
            service_external_ips,
            service_load_balancer_ips,
            load_balancer_aggregation: aggregation.map(|switch| matches!(switch, Switch::Enabled)),
            ignored_interfaces: findings.take_list("spec.ignoredInterfaces", spec.ignored_interfaces),
            local_workload_peering: workload_peering.into_iter().flatten().collect(),
            program_cluster_routes: findings.take("spec.programClusterRoutes", spec.program_cluster_routes),
            ipv4_normal_priority,
            ipv6_normal_priority,
        })
    }
}
