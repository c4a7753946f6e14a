//! Services: addresses that are announced.

use crate::cluster::field::{Field, Findings};
use serde::Deserialize;
use std::net::IpAddr;

/// One Service. Addresses are those that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The type.
    pub service_type: ServiceType,
    /// Cluster IPs; none for a headless one.
    pub cluster_ips: Vec<IpAddr>,
    /// External IPs.
    pub external_ips: Vec<IpAddr>,
    /// The load-balancer IP that was asked for.
    pub load_balancer_ip: Option<IpAddr>,
    /// The load-balancer IPs that were given.
    pub ingress_ips: Vec<IpAddr>,
    /// Where traffic from outside may go.
    pub traffic_policy: TrafficPolicy,
    /// It has IPv4 addresses.
    pub has_ipv4: bool,
    /// It has IPv6 addresses.
    pub has_ipv6: bool,
}

/// Types of services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "the names are those of Kubernetes")]
pub enum ServiceType {
    #[default]
    ClusterIP,
    ExternalName,
    LoadBalancer,
    NodePort,
}

/// Where traffic from outside may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum TrafficPolicy {
    /// To any node.
    #[default]
    Cluster,
    /// To nodes with an endpoint.
    Local,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    spec: Spec,
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "type")]
    service_type: Field<ServiceType>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Field<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Field<Vec<Field<String>>>,
    #[serde(rename = "externalIPs")]
    external_ips: Field<Vec<Field<IpAddr>>>,
    #[serde(rename = "loadBalancerIP")]
    load_balancer_ip: Field<String>,
    external_traffic_policy: Field<TrafficPolicy>,
    ip_families: Field<Vec<Field<IpFamily>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum IpFamily {
    IPv4,
    IPv6,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    load_balancer: Field<LoadBalancer>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    ingress: Field<Vec<Field<Ingress>>>,
}

/// A provider that gives names gives no address.
#[derive(Deserialize)]
struct Ingress {
    ip: Option<IpAddr>,
}

impl Service {
    pub(super) fn read(json: &[u8], findings: &mut Findings) -> Result<Self, String> {
        let Object { spec, status } =
            serde_json::from_slice(json).map_err(|error| format!("unreadable: {error}"))?;
        let first = findings.take("spec.clusterIP", spec.cluster_ip).unwrap_or_default();
        let mut cluster_ips = findings.take_list("spec.clusterIPs", spec.cluster_ips);
        if cluster_ips.is_empty() {
            cluster_ips.push(first.clone());
        }
        // A headless service says so in the first of them.
        if first == "None" || first.is_empty() {
            cluster_ips.clear();
        }
        let cluster_ips: Vec<IpAddr> = cluster_ips.iter().filter_map(|text| text.parse().ok()).collect();
        let families = findings.take_list("spec.ipFamilies", spec.ip_families);
        let has = |family, is_ipv4| {
            if families.is_empty() {
                return cluster_ips.iter().any(|address| address.is_ipv4() == is_ipv4);
            }
            families.contains(&family)
        };
        let (has_ipv4, has_ipv6) = (has(IpFamily::IPv4, true), has(IpFamily::IPv6, false));
        let asked = findings.take("spec.loadBalancerIP", spec.load_balancer_ip);
        let given = findings.take("status.loadBalancer", status.load_balancer).unwrap_or_default();
        let ingress = findings.take_list("status.loadBalancer.ingress", given.ingress);
        Ok(Self {
            service_type: findings.take("spec.type", spec.service_type).unwrap_or_default(),
            has_ipv4,
            has_ipv6,
            cluster_ips,
            external_ips: findings.take_list("spec.externalIPs", spec.external_ips),
            load_balancer_ip: asked.and_then(|text| text.parse().ok()),
            ingress_ips: ingress.into_iter().filter_map(|ingress| ingress.ip).collect(),
            traffic_policy: findings
                .take("spec.externalTrafficPolicy", spec.external_traffic_policy)
                .unwrap_or_default(),
        })
    }
}
