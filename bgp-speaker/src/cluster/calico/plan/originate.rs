//! What this node originates: its blocks, addresses out of the blocks of others, services.

use super::context::Context;
use super::filters::advertised_communities;
use super::{Origination, OriginationKind, services};
use crate::cluster::Problem;
use crate::cluster::calico::key::Key;
use crate::cluster::calico::model::AffinityState;
use crate::config::filter::CommunityValue;
use bgp_proto::{Community, LargeCommunity};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};

/// By prefix.
pub(super) fn all(context: &Context<'_>, problems: &mut Vec<Problem>) -> Vec<Origination> {
    let mut kinds: BTreeMap<IpNet, OriginationKind> = BTreeMap::new();
    kinds.extend(services::announced(context).into_iter().map(|prefix| (prefix, OriginationKind::Service)));
    kinds.extend(borrowed(context).map(|prefix| (prefix, OriginationKind::Borrowed)));
    kinds.extend(blocks(context, problems).into_iter().map(|prefix| (prefix, OriginationKind::Block)));
    let pools = &context.snapshot.pools;
    let is_disabled =
        |prefix: &IpNet| pools.values().any(|pool| pool.is_export_disabled && pool.cidr.contains(prefix));
    let originate = kinds.into_iter().map(|(prefix, kind)| {
        let (communities, large_communities) = communities(context, prefix);
        Origination {
            prefix,
            kind,
            is_export_disabled: is_disabled(&prefix),
            local_pref: context.normal_local_pref(prefix.addr().is_ipv4()),
            communities,
            large_communities,
        }
    });
    originate.collect()
}

/// Blocks that this node has, without any that overlap.
fn blocks(context: &Context<'_>, problems: &mut Vec<Problem>) -> Vec<IpNet> {
    let node = context.local.name.as_str();
    let claims = context.snapshot.affinities.iter().filter(|((owner, _), _)| &**owner == node);
    let claimed = claims.filter(|((_, block), state)| is_ours(context, *block, **state, problems));
    let mut blocks: BTreeSet<IpNet> = claimed.map(|((_, block), _)| *block).collect();
    if context.local.uses_pod_cidrs {
        blocks.extend(context.node.pod_cidrs.iter());
    }
    let mut kept: Vec<IpNet> = Vec::with_capacity(blocks.len());
    // In order, a block that overlaps follows the wider one at once.
    for block in blocks {
        match kept.last() {
            Some(wider) if wider.contains(&block) => {
                let key = Key::Affinity { node: node.to_owned(), block };
                let reason = format!("lies inside this node's block {wider}, and is not announced by itself");
                problems.push(Problem::new(key.kind(), key.to_string(), reason));
            }
            _ => kept.push(block),
        }
    }
    kept
}

/// Hosts claim blocks; the block itself says who has it. Without it the claim counts.
fn is_ours(context: &Context<'_>, block: IpNet, state: AffinityState, problems: &mut Vec<Problem>) -> bool {
    let node = context.local.name.as_str();
    let owned = context.snapshot.blocks.get(&block).map(|known| known.owner.is_host(node));
    match (state, owned) {
        (AffinityState::Pending, _) => false,
        (AffinityState::Confirmed, None | Some(true)) => true,
        // As long as the block is not given away, its pods need it.
        (AffinityState::PendingDeletion, owned) => owned == Some(true),
        (AffinityState::Confirmed, Some(false)) => {
            let key = Key::Affinity { node: node.to_owned(), block };
            let reason = "the block does not belong to this node, and is not announced";
            problems.push(Problem::new(key.kind(), key.to_string(), reason));
            false
        }
    }
}

/// Addresses of this node's pods out of blocks of others, where a pool lets them out.
fn borrowed<'a>(context: &'a Context<'_>) -> impl Iterator<Item = IpNet> + 'a {
    let node = context.local.name.as_str();
    let all = context.snapshot.blocks.values().flat_map(|block| block.borrowed.iter());
    let ours = all.filter(move |address| &*address.node == node && !address.is_tunnel_end);
    let prefixes = ours.map(|borrowed| IpNet::from(borrowed.address));
    prefixes.filter(|prefix| context.snapshot.pools.values().any(|pool| pool.cidr.contains(prefix)))
}

/// Communities of every entry that covers the prefix. Names that nobody defined vanish, as do repetitions.
fn communities(context: &Context<'_>, prefix: IpNet) -> (Vec<Community>, Vec<LargeCommunity>) {
    let entries = advertised_communities(context).into_iter().filter(|(cidr, _)| cidr.contains(&prefix));
    let (mut standard, mut large) = (BTreeSet::new(), BTreeSet::new());
    for value in entries.flat_map(|(_, values)| values) {
        match value {
            CommunityValue::Large(value) => _ = large.insert(value),
            CommunityValue::Standard(value) => _ = standard.insert(value),
            CommunityValue::Extended(_) => {}
        }
    }
    (standard.into_iter().collect(), large.into_iter().collect())
}
