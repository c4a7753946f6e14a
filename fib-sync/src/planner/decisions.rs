//! What was decided, for those who ask.

use super::*;
use crate::decision::{Because, NextHopDecision, RouteExplanation, RouteState};
use crate::model::NextHop;
use crate::reach::Tunnel;
use crate::status::InstalledNextHop;

/// rtm_protocol of the routes that the kernel makes itself, for the networks on its interfaces.
const PROTOCOL_KERNEL: u8 = 2;

impl Planner {
    /// What was decided about each next hop that is in use, in order.
    pub(crate) fn decisions(&self) -> Vec<NextHopDecision> {
        let mut by_hop: std::collections::BTreeMap<&NextHop, usize> = std::collections::BTreeMap::new();
        for (_, wanted, means) in self.wanted.iter() {
            if let RouteKind::Unicast(set) = &wanted.kind
                && means.wanting > 0
            {
                for hop in set.next_hops() {
                    *by_hop.entry(hop).or_default() += means.wanting as usize;
                }
            }
        }
        by_hop.into_iter().map(|(hop, routes)| self.decision(hop, routes)).collect()
    }

    /// Where a prefix stands, if it is wanted.
    pub(crate) fn explain(&self, prefix: &IpNet) -> Option<RouteExplanation> {
        let entry = self.routes.get(prefix)?;
        let Wanted { kind, metric } = self.wanted.value(entry.wanted()?)?.clone();
        let state = match self.pending.get(prefix) {
            _ if entry.has(Flag::InStep) => RouteState::Installed,
            Some(Pending { reason, is_conflict }) => {
                RouteState::Pending { reason: reason.clone(), is_conflict: *is_conflict }
            }
            None => RouteState::Queued,
        };
        let next_hops = match &kind {
            RouteKind::Unicast(set) => {
                set.next_hops().iter().map(|hop| self.decision(hop, self.routes_over(hop))).collect()
            }
            _ => Vec::new(),
        };
        Some(RouteExplanation { route: Route { prefix: *prefix, kind, metric }, state, next_hops })
    }

    fn routes_over(&self, hop: &NextHop) -> usize {
        let is_over =
            |kind: &RouteKind| matches!(kind, RouteKind::Unicast(set) if set.next_hops().contains(hop));
        let over = self.wanted.iter().filter(|(_, wanted, _)| is_over(&wanted.kind));
        over.map(|(_, _, means)| means.wanting as usize).sum()
    }

    fn decision(&self, hop: &NextHop, routes: usize) -> NextHopDecision {
        let (ways, refusal) = match self.environment.resolve_hop(hop) {
            Ok(hops) => (hops, None),
            Err(refusal) => (Vec::new(), Some(refusal)),
        };
        let because = if refusal.is_some() { Because::NoWay } else { self.because(hop) };
        let ways = ways.iter().map(|hop| InstalledNextHop::of(hop, &self.environment.name(hop.interface)));
        NextHopDecision { next_hop: hop.clone(), routes, because, ways: ways.collect(), refusal }
    }

    fn because(&self, hop: &NextHop) -> Because {
        let Some(gateway) = hop.gateway else { return Because::Interface };
        let route = |way: &crate::kernel::WayOut| match way.protocol {
            PROTOCOL_KERNEL => Because::Connected { network: way.prefix },
            protocol => Because::Route { prefix: way.prefix, protocol },
        };
        let asked = || match self.environment.way(gateway) {
            Some(Ok(way)) => route(way),
            _ => Because::NoWay,
        };
        match &hop.reach {
            Reach::Tunnel(tunnel @ Tunnel { device, .. })
                if self.environment.is_tunnelled(gateway, tunnel) =>
            {
                Because::Tunnel { device: device.clone() }
            }
            Reach::Tunnel(_) | Reach::Recursive => asked(),
            Reach::Neighbour if hop.interface.is_some() => Because::Interface,
            Reach::Neighbour => match self.environment.network_of(gateway) {
                Some(network) => Because::Connected { network },
                None => Because::Kernel,
            },
        }
    }
}
