//! Which routes go to the kernel: the pools' table, services, WireGuard, routes to neighbours.

use super::context::Context;
use super::{peers, services};
use crate::cluster::Problem;
use crate::cluster::calico::key::{Key, Resource};
use crate::cluster::calico::model::{IpPool, ProgramClusterRoutes, ReachableBy};
use crate::config::{Encapsulation, EncapsulationMode, FibRules, PoolRule, RouteMetrics};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU8;

/// As many as BIRD merges.
const NEXT_HOPS_MAX: NonZeroU8 = NonZeroU8::new(16).expect("not zero");

pub(super) fn rules(context: &Context<'_>, problems: &mut Vec<Problem>) -> FibRules {
    FibRules {
        rejected: services::rejected(context),
        pools: pools(context, problems),
        foreign_next_hops: wireguard_peers(context),
        host_routes: host_routes(context),
        metrics: RouteMetrics::Priority,
        next_hops_max: Some(NEXT_HOPS_MAX),
    }
}

/// By CIDR. Of pools that overlap, the first by name counts.
fn pools(context: &Context<'_>, problems: &mut Vec<Problem>) -> BTreeMap<IpNet, PoolRule> {
    let mut rules: BTreeMap<IpNet, PoolRule> = BTreeMap::new();
    let mut owners: BTreeMap<IpNet, &str> = BTreeMap::new();
    for (name, pool) in &context.snapshot.pools {
        let overlaps = |other: &&IpNet| other.contains(&pool.cidr) || pool.cidr.contains(*other);
        if let Some(other) = rules.keys().find(overlaps) {
            let owner = owners.get(other).copied().unwrap_or_default();
            let reason = format!("spec.cidr: overlaps {other} of IPPool {owner}, which counts");
            problems.push(Problem::new("IPPool", Key::named(Resource::IpPool, name).to_string(), reason));
            continue;
        }
        // Rules for IPv4 pools compare with our own subnet.
        if pool.cidr.addr().is_ipv4() && context.node.ipv4.is_none() {
            continue;
        }
        rules.insert(pool.cidr, rule(pool, context));
        owners.insert(pool.cidr, name);
    }
    rules
}

fn rule(pool: &IpPool, context: &Context<'_>) -> PoolRule {
    let is_across_subnets = pool.mode == EncapsulationMode::CrossSubnet && pool.cidr.addr().is_ipv4();
    PoolRule {
        program: is_programmed(pool.encapsulation, context.program_cluster_routes()),
        encapsulation: pool.encapsulation,
        when: pool.mode,
        device: None,
        subnet: context.node.ipv4.filter(|_| is_across_subnets).map(|net| net.trunc().into()),
    }
}

/// Does BGP write the routes of pools with this encapsulation, rather than Felix?
pub(super) fn is_programmed(encapsulation: Encapsulation, setting: ProgramClusterRoutes) -> bool {
    match (encapsulation, setting) {
        (Encapsulation::Vxlan, _) | (_, ProgramClusterRoutes::Disabled) => false,
        (_, ProgramClusterRoutes::Enabled)
        | (Encapsulation::Ipip, ProgramClusterRoutes::EnabledIPIPOnly)
        | (Encapsulation::None, ProgramClusterRoutes::EnabledNoEncapOnly) => true,
        (Encapsulation::Ipip, ProgramClusterRoutes::EnabledNoEncapOnly)
        | (Encapsulation::None, ProgramClusterRoutes::EnabledIPIPOnly) => false,
    }
}

/// Nodes that route over WireGuard, as we do.
fn wireguard_peers(context: &Context<'_>) -> BTreeSet<IpAddr> {
    let families = [true, false].into_iter().filter(|is_ipv4| context.node.has_wireguard(*is_ipv4));
    let of_family = |is_ipv4| {
        let nodes = context.snapshot.nodes.values();
        let peers = nodes.filter(move |node| node.has_wireguard(is_ipv4));
        peers.filter_map(move |node| node.address(is_ipv4))
    };
    let own = [true, false].map(|is_ipv4| context.node.address(is_ipv4));
    families.flat_map(of_family).filter(|address| !own.contains(&Some(*address))).collect()
}

/// To the neighbours of BGPPeers with `reachableBy`.
fn host_routes(context: &Context<'_>) -> BTreeMap<IpNet, IpAddr> {
    let mut routes = BTreeMap::new();
    // What is wrong with them has been told with the sessions.
    for explicit in peers::explicit(context, &mut Vec::new()) {
        if let ReachableBy::Gateway(gateway) = explicit.peer.reachable_by
            && gateway.is_ipv4() == explicit.end.address.is_ipv4()
            && explicit.scope != peers::Scope::LocalWorkload
            && gateway != explicit.end.address
        {
            routes.entry(IpNet::from(explicit.end.address)).or_insert(gateway);
        }
    }
    routes
}
