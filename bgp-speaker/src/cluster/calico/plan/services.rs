//! Addresses of services: announced, and never in the kernel.

use super::context::Context;
use crate::cluster::kubernetes::{EndpointSlice, Service, ServiceType, TrafficPolicy};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Kubernetes' label of nodes that take no traffic for services from outside.
const EXCLUSION_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// What the cluster says about ranges of service addresses.
struct Ranges {
    cluster: Vec<IpNet>,
    external: Vec<IpNet>,
    load_balancer: Vec<IpNet>,
    is_aggregated: bool,
}

impl Ranges {
    fn of(context: &Context<'_>) -> Self {
        let config = context.config;
        let cluster = context.local.cluster_ips.map(|range| vec![range.trunc()]);
        Self {
            cluster: cluster.unwrap_or_else(|| config.service_cluster_ips.clone()),
            external: config.service_external_ips.clone(),
            load_balancer: config.service_load_balancer_ips.clone(),
            is_aggregated: config.load_balancer_aggregation.unwrap_or(true),
        }
    }

    /// Those that are announced as ranges.
    fn aggregates(&self) -> impl Iterator<Item = IpNet> {
        let external = self.external.iter().filter(|range| !is_single(range));
        let load_balancer = self.load_balancer.iter().filter(|range| !is_single(range) && self.is_aggregated);
        self.cluster.iter().chain(external).chain(load_balancer).copied()
    }
}

/// Ranges that this node announces.
pub(super) fn announced_ranges(context: &Context<'_>) -> Vec<IpNet> {
    if is_excluded(context) { Vec::new() } else { Ranges::of(context).aggregates().collect() }
}

/// Ranges whose routes a reflector passes on.
pub(super) fn reflected_ranges(context: &Context<'_>) -> Vec<IpNet> {
    let ranges = Ranges::of(context);
    ranges.load_balancer.into_iter().chain(ranges.external).collect()
}

fn is_excluded(context: &Context<'_>) -> bool {
    context.node.labels.value(EXCLUSION_LABEL) == Some("true")
}

/// Prefixes that this node announces.
pub(super) fn announced(context: &Context<'_>) -> BTreeSet<IpNet> {
    if is_excluded(context) {
        return BTreeSet::new();
    }
    let ranges = Ranges::of(context);
    let mut announced: BTreeSet<IpNet> = ranges.aggregates().collect();
    for (service, slices) in context.snapshot.kubernetes.services() {
        if is_announced(service, &slices, &ranges, context.local.kubernetes_name()) {
            announced.extend(addresses(service, &ranges).map(IpNet::from));
        }
    }
    announced
}

/// Prefixes that never go to the kernel, on any node: learned ones would lead packets past the rules for services.
pub(super) fn rejected(context: &Context<'_>) -> BTreeSet<IpNet> {
    let ranges = Ranges::of(context);
    // The addresses of single services too, which only sometimes are inside an announced range.
    let all = ranges.cluster.iter().chain(&ranges.external).chain(&ranges.load_balancer);
    all.copied().collect()
}

/// Is the service announced from this node with routes of its own?
fn is_announced(service: &Service, slices: &[&EndpointSlice], ranges: &Ranges, node: &str) -> bool {
    if service.service_type == ServiceType::ExternalName || service.cluster_ips.is_empty() {
        return false;
    }
    if service.traffic_policy == TrafficPolicy::Cluster {
        let single = |ranges: &[IpNet], address: &IpAddr| {
            ranges.iter().any(|range| is_single(range) && range.contains(address))
        };
        let has_load_balancer_ip = service.service_type == ServiceType::LoadBalancer
            && load_balancer_ips(service).any(|address| single(&ranges.load_balancer, &address));
        let has_external_ip = service.external_ips.iter().any(|address| single(&ranges.external, address));
        if has_load_balancer_ip || has_external_ip {
            return true;
        }
        if ranges.is_aggregated {
            return false;
        }
    }
    let of_family = slices.iter().filter(|slice| match slice.is_ipv4 {
        Some(true) => service.has_ipv4,
        Some(false) => service.has_ipv6,
        None => false,
    });
    match service.traffic_policy {
        TrafficPolicy::Cluster => of_family.into_iter().any(|slice| slice.has_ready),
        TrafficPolicy::Local => of_family.into_iter().any(|slice| slice.ready_nodes.contains(node)),
    }
}

/// Its addresses that may be announced.
fn addresses<'a>(service: &'a Service, ranges: &'a Ranges) -> impl Iterator<Item = IpAddr> + 'a {
    let inside = |ranges: &[IpNet], address: &IpAddr| ranges.iter().any(|range| range.contains(address));
    let cluster = service.cluster_ips.iter().filter(|_| !ranges.cluster.is_empty());
    let external = service.external_ips.iter().filter(move |address| inside(&ranges.external, address));
    let ingress = service.ingress_ips.iter().filter(move |address| inside(&ranges.load_balancer, address));
    cluster.chain(external).chain(ingress).copied()
}

fn load_balancer_ips(service: &Service) -> impl Iterator<Item = IpAddr> + '_ {
    service.load_balancer_ip.into_iter().chain(service.ingress_ips.iter().copied())
}

fn is_single(range: &IpNet) -> bool {
    range.prefix_len() == range.max_prefix_len()
}
