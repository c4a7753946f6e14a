//! Routes that Felix and others put into the kernel: which of them are taken, and how BIRD would rank them.

use super::context::{Context, normal_priority};
use super::{Origination, OriginationKind, SessionPlan, services};
use crate::cluster::Problem;
use crate::cluster::calico::key::{Key, Resource};
use crate::config::filter::{NamePattern, PrefixRange, PrefixSet};
use crate::config::{KernelImport, NetworkImport, NormalPriorities};
use ipnet::IpNet;
use std::sync::Arc;

/// Interfaces whose networks Calico never announces: those of workloads, and that of kube-proxy.
const IGNORED: [&str; 2] = ["cali*", "kube-ipvs*"];

/// What the filters could let out, and nothing else.
pub(super) fn import(
    context: &Context<'_>,
    sessions: &[SessionPlan],
    originate: &[Origination],
    problems: &mut Vec<Problem>,
) -> KernelImport {
    let configured = context.config.ignored_interfaces.iter().map(String::as_str);
    let mut ignored_interfaces: Vec<NamePattern> = Vec::new();
    for name in IGNORED.into_iter().chain(configured) {
        match name.parse() {
            Ok(pattern) if !ignored_interfaces.contains(&pattern) => ignored_interfaces.push(pattern),
            Ok(_) => {}
            Err(reason) => {
                let key = Key::named(Resource::BgpConfiguration, "default").to_string();
                problems.push(Problem::new(
                    "BGPConfiguration",
                    key,
                    format!("spec.ignoredInterfaces: {reason}"),
                ));
            }
        }
    }
    KernelImport {
        prefixes: exportable(context, sessions, originate),
        networks: Some(NetworkImport { ignored_interfaces }),
        priorities: Some(NormalPriorities {
            ipv4: normal_priority(context.config, true),
            ipv6: normal_priority(context.config, false),
        }),
    }
}

/// Prefixes that an export rule accepts. `None`: any, since a session has BGPFilters, which may let all of them out.
fn exportable(
    context: &Context<'_>,
    sessions: &[SessionPlan],
    originate: &[Origination],
) -> Option<Arc<PrefixSet>> {
    if sessions.iter().any(|session| !session.export.is_empty()) {
        return None;
    }
    let pools = context.snapshot.pools.values();
    let is_in_pool = |block: &IpNet| pools.clone().any(|pool| pool.cidr.contains(block));
    let blocks = originate.iter().filter(|one| one.kind == OriginationKind::Block).map(|one| one.prefix);
    let blocks = blocks.filter(|block| !is_in_pool(block));
    let pools = pools.clone().filter(|pool| !pool.is_export_disabled).map(|pool| pool.cidr);
    let announced = services::announced_ranges(context).into_iter();
    let reflected = context.node.cluster_id.map(|_| services::reflected_ranges(context));
    let all = pools.chain(blocks).chain(announced).chain(reflected.into_iter().flatten());
    Some(Arc::new(PrefixSet::new(all.map(PrefixRange::within))))
}
