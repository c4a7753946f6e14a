//! From the Loc-RIB to the kernel: learned routes via their next hop, own blocks as blackholes. What is announced as a
//! plain route stays out of the kernel. BGP next hops are resolved by the kernel's own routes, and through tunnels where
//! [`FibPool`]s say so; [`FibRules`] keep further routes out, and bring further pools.

mod pools;

pub use self::pools::{Encapsulation, EncapsulationWhen, FibPool};

use self::pools::{Pools, RuleId};
use crate::config::{AnnouncementKind, FibDecision, FibRules};
use crate::speaker::{RouteChange, RouteSubscription, Stop};
use crate::view::{FibDetailsView, FibNextHopView, FibPendingView, FibView};
use bgp_proto::NextHop;
use fib_sync::{
    Change, Fib, FibConfig, FibError, NextHopDecision, NextHopSet, Route, RouteExplanation, RouteState,
};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Carries route changes to a [`Fib`]. One per speaker with a FIB.
#[derive(Debug)]
pub(crate) struct FibGlue {
    config: FibConfig,
    /// `None` once it has stopped: handles may outlive the speaker, the kernel's programmer does not.
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    fib: Arc<Fib>,
    task: JoinHandle<()>,
}

impl FibGlue {
    /// Starts to follow the Loc-RIB.
    pub(crate) fn start(
        config: FibConfig,
        pools: Vec<FibPool>,
        fib: Fib,
        subscription: RouteSubscription,
        rules: watch::Receiver<Arc<FibRules>>,
    ) -> Self {
        let fib = Arc::new(fib);
        let sets = Sets { pools: Pools::new(&pools), configured: pools, ..Sets::default() };
        let task = tokio::spawn(follow(fib.clone(), subscription, sets, rules));
        Self { config, running: Mutex::new(Some(Running { fib, task })) }
    }

    /// Stops following. Leaving takes our routes out of the kernel, restarting leaves them there.
    ///
    /// # Errors
    /// The kernel has kept some of our routes.
    pub(crate) async fn stop(&self, stop: Stop) -> Result<(), FibError> {
        let Some(running) = self.take() else { return Ok(()) };
        running.task.abort();
        // Its end is what was wanted; what it last handed over must come before the removal.
        _ = running.task.await;
        if stop == Stop::Leave {
            let count = running.fib.remove_all().await?;
            tracing::info!(count, "our routes removed from the kernel");
        }
        Ok(())
    }

    /// Stops following, at once.
    pub(crate) fn abandon(&self) {
        if let Some(running) = self.take() {
            running.task.abort();
        }
    }

    /// The kernel's side.
    pub(crate) fn view(&self) -> FibView {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let (table, protocol) = (self.config.table, self.config.protocol);
        let Some(running) = running.as_ref().filter(|running| !running.task.is_finished()) else {
            let last_error = Some("the kernel is not programmed any more".to_owned());
            return FibView { table, protocol, last_error, ..FibView::default() };
        };
        let status = running.fib.status();
        FibView {
            table,
            protocol,
            desired: status.desired,
            installed: status.installed,
            pending: status.pending,
            conflicts: status.conflicts,
            in_sync: status.is_in_step(),
            last_error: status.last_error,
            operations_ok: status.operations_ok,
            operations_failed: status.operations_failed,
            resyncs: status.resyncs,
            repaired: status.repaired,
        }
    }

    /// The kernel's side, with every next hop and the first pending routes.
    pub(crate) async fn details(&self) -> FibDetailsView {
        let fib = self.view();
        let Some(running) = self.fib() else { return FibDetailsView { fib, ..FibDetailsView::default() } };
        let pending = running.status().pending_routes;
        let pending_routes = pending.into_iter().map(|pending| FibPendingView {
            prefix: pending.prefix,
            reason: pending.reason.to_string(),
            is_conflict: pending.is_conflict,
        });
        // A FIB that stops meanwhile has decided nothing.
        let next_hops = running.next_hops().await.unwrap_or_default();
        FibDetailsView {
            fib,
            next_hops: next_hops.iter().map(next_hop_view).collect(),
            pending_routes: pending_routes.collect(),
        }
    }

    /// What the kernel does with a prefix and why, in words; nothing if no route of ours is for exactly this prefix.
    pub(crate) async fn explain(&self, prefix: IpNet) -> Vec<String> {
        let Some(fib) = self.fib() else { return Vec::new() };
        fib.explain(prefix).await.ok().flatten().map(|told| in_words(&told)).unwrap_or_default()
    }

    fn fib(&self) -> Option<Arc<Fib>> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|running| running.fib.clone())
    }

    fn take(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

async fn follow(
    fib: Arc<Fib>,
    mut subscription: RouteSubscription,
    mut sets: Sets,
    mut rules: watch::Receiver<Arc<FibRules>>,
) {
    rules.mark_changed();
    loop {
        let changes = tokio::select! {
            biased;
            Ok(()) = rules.changed() => Vec::new(),
            changes = subscription.next_batch() => match changes {
                Some(changes) => changes,
                None => return,
            },
        };
        let converged = changes.contains(&RouteChange::Converged);
        // New rules come before the routes that are told again because of them.
        let mut demanded = sets.follow(&rules.borrow_and_update());
        demanded.extend(changes.into_iter().filter_map(|change| desired(change, &mut sets)));
        let changes = demanded;
        match fib.apply(changes).await {
            // One route is wrong; the others were accepted.
            Err(error @ FibError::InvalidRoute { .. }) => tracing::error!(%error, "not for the kernel"),
            Err(error) => return tracing::error!(%error, "the kernel is no longer programmed"),
            Ok(()) => {}
        }
        if converged {
            tracing::info!("all neighbours heard, stale routes leave the kernel");
            if let Err(error) = fib.converged().await {
                tracing::error!(%error, "stale routes could not be removed from the kernel");
            }
        }
    }
}

/// Makes next hop sets. Routes come by the thousand over one next hop, and share one set.
#[derive(Debug, Default)]
struct Sets {
    pools: Pools,
    /// Pools that hold whatever the rules say.
    configured: Vec<FibPool>,
    rules: Arc<FibRules>,
    /// The set made last, and for what.
    latest: Option<(IpAddr, RuleId, NextHopSet)>,
}

impl Sets {
    /// Takes other rules, and says what becomes of routes to neighbours.
    fn follow(&mut self, rules: &Arc<FibRules>) -> Vec<Change> {
        if Arc::ptr_eq(&self.rules, rules) {
            return Vec::new();
        }
        let old = std::mem::replace(&mut self.rules, rules.clone());
        let all: Vec<FibPool> = self.configured.iter().cloned().chain(pools::of_rules(rules)).collect();
        (self.pools, self.latest) = (Pools::new(&all), None);
        let gone = old.host_routes.keys().filter(|prefix| !rules.host_routes.contains_key(*prefix));
        let mut changes: Vec<Change> = gone.copied().map(Change::Remove).collect();
        let new = rules.host_routes.iter().filter(|(prefix, via)| old.host_routes.get(*prefix) != Some(*via));
        let routes = new.filter_map(|(prefix, via)| {
            let set = NextHopSet::new([fib_sync::NextHop::recursive(*via)]).ok()?;
            Some(Change::Set(Route::unicast(*prefix, set)))
        });
        changes.extend(routes);
        changes
    }

    /// The set for a prefix by the rule for it; `None` if such prefixes stay out of the kernel.
    fn of(&mut self, prefix: &IpNet, gateway: IpAddr) -> Option<NextHopSet> {
        let rule = self.pools.rule(prefix);
        if !self.pools.is_programmed(rule) {
            return None;
        }
        if let Some((latest, for_rule, set)) = &self.latest
            && (*latest, *for_rule) == (gateway, rule)
        {
            return Some(set.clone());
        }
        let set = NextHopSet::new([self.pools.next_hop(rule, gateway)]).ok()?;
        self.latest = Some((gateway, rule, set.clone()));
        Some(set)
    }
}

/// What a change asks of the kernel.
fn desired(change: RouteChange, sets: &mut Sets) -> Option<Change> {
    let route = match change {
        // The way to a neighbour is not for the neighbours to say.
        RouteChange::Local { prefix, .. }
        | RouteChange::Withdrawn { prefix }
        | RouteChange::Learned { prefix, .. }
            if sets.rules.host_routes.contains_key(&prefix) =>
        {
            return None;
        }
        RouteChange::Local { prefix, kind: AnnouncementKind::Block } if !sets.rules.has_blackhole(prefix) => {
            return Some(Change::Remove(prefix));
        }
        RouteChange::Learned { prefix, next_hop, .. }
            if sets.rules.learned(prefix, gateway(next_hop)) == FibDecision::Skip =>
        {
            return Some(Change::Remove(prefix));
        }
        RouteChange::Local { prefix, kind: AnnouncementKind::Block }
            if sets.pools.is_programmed(sets.pools.rule(&prefix)) =>
        {
            Route::blackhole(prefix)
        }
        RouteChange::Local { prefix, .. } | RouteChange::Withdrawn { prefix } => {
            return Some(Change::Remove(prefix));
        }
        RouteChange::Learned { prefix, next_hop, .. } => match sets.of(&prefix, gateway(next_hop)) {
            Some(set) => Route::unicast(prefix, set),
            None => return Some(Change::Remove(prefix)),
        },
        RouteChange::Converged => return None,
    };
    Some(Change::Set(route))
}

fn next_hop_view(decision: &NextHopDecision) -> FibNextHopView {
    let way = |way: &fib_sync::InstalledNextHop| {
        let gateway = way.gateway.map_or_else(String::new, |gateway| format!("via {gateway} "));
        format!("{gateway}dev {}{}", way.interface, if way.onlink { " onlink" } else { "" })
    };
    FibNextHopView {
        next_hop: decision.next_hop.gateway,
        rule: decision.next_hop.reach.to_string(),
        routes: decision.routes,
        ways: decision.ways.iter().map(way).collect(),
        because: decision.because.to_string(),
        error: decision.refusal.as_ref().map(ToString::to_string),
    }
}

fn in_words(told: &RouteExplanation) -> Vec<String> {
    let state = match &told.state {
        RouteState::Installed => "installed".to_owned(),
        RouteState::Pending { reason, .. } => format!("pending: {reason}"),
        _ => "on its way to the kernel".to_owned(),
    };
    let next_hop = |decision: &NextHopDecision| {
        let view = next_hop_view(decision);
        let ways = if view.ways.is_empty() { "nowhere".to_owned() } else { view.ways.join(", ") };
        let gateway = view.next_hop.map_or_else(|| "interface".to_owned(), |gateway| gateway.to_string());
        format!("next hop {gateway}: {ways} ({})", view.because)
    };
    std::iter::once(format!("{}: {state}", told.route)).chain(told.next_hops.iter().map(next_hop)).collect()
}

fn gateway(next_hop: NextHop) -> IpAddr {
    match next_hop {
        NextHop::V6WithLinkLocal { global, link_local } if global.is_unspecified() => IpAddr::V6(link_local),
        other => other.addr(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use fib_sync::NextHop as FibNextHop;

    #[test]
    fn blocks_are_blackholes_and_plain_routes_stay_out() {
        let prefix = "10.0.0.0/26".parse().unwrap();
        let block = RouteChange::Local { prefix, kind: AnnouncementKind::Block };
        assert_eq!(desired(block, &mut Sets::default()), Some(Change::Set(Route::blackhole(prefix))));
        let route = RouteChange::Local { prefix, kind: AnnouncementKind::Route };
        assert_eq!(desired(route, &mut Sets::default()), Some(Change::Remove(prefix)));
    }

    fn learned(prefix: IpNet, next_hop: [u8; 4]) -> RouteChange {
        let next_hop = std::net::Ipv4Addr::from(next_hop);
        RouteChange::Learned { prefix, next_hop: NextHop::V4(next_hop), from: IpAddr::V4(next_hop) }
    }

    #[test]
    fn learned_routes_go_the_kernels_way_to_their_next_hop() {
        let prefix = "10.0.0.0/26".parse().unwrap();
        let set = NextHopSet::new([FibNextHop::recursive([172, 17, 8, 101].into())]).unwrap();
        let change = desired(learned(prefix, [172, 17, 8, 101]), &mut Sets::default());
        assert_eq!(change, Some(Change::Set(Route::unicast(prefix, set))));
    }

    #[test]
    fn a_pool_that_others_write_stays_out_with_its_blocks() {
        let pool = FibPool { program: false, ..FibPool::new("10.0.0.0/16".parse().unwrap()) };
        let mut sets = Sets { pools: Pools::new(&[pool]), ..Sets::default() };
        let prefix = "10.0.0.0/26".parse().unwrap();
        let block = RouteChange::Local { prefix, kind: AnnouncementKind::Block };
        assert_eq!(desired(block, &mut sets), Some(Change::Remove(prefix)));
        assert_eq!(desired(learned(prefix, [172, 17, 8, 101]), &mut sets), Some(Change::Remove(prefix)));
    }

    #[test]
    fn rules_bring_pools_keep_services_out_and_lead_to_neighbours() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let rule = config::PoolRule {
            program: true,
            encapsulation: config::Encapsulation::Ipip,
            when: config::EncapsulationMode::CrossSubnet,
        };
        let rules = FibRules {
            pools: [
                (net("10.1.0.0/16"), rule),
                (net("10.2.0.0/16"), config::PoolRule { program: false, ..rule }),
            ]
            .into(),
            rejected: [net("10.96.0.0/12")].into(),
            own_subnet: Some("172.17.8.0/24".parse().unwrap()),
            host_routes: [(net("10.9.0.1/32"), [10, 0, 0, 1].into())].into(),
            ..FibRules::default()
        };
        let mut sets = Sets::default();
        let via = |prefix, gateway: [u8; 4]| {
            let set = NextHopSet::new([FibNextHop::recursive(gateway.into())]).unwrap();
            Change::Set(Route::unicast(net(prefix), set))
        };
        let rules = Arc::new(rules);
        assert_eq!(sets.follow(&rules), [via("10.9.0.1/32", [10, 0, 0, 1])]);
        assert_eq!(sets.follow(&rules), []);
        assert_eq!(desired(learned(net("10.9.0.1/32"), [10, 0, 0, 7]), &mut sets), None);
        for prefix in ["10.2.0.0/26", "10.96.0.1/32"] {
            let change = desired(learned(net(prefix), [172, 17, 8, 101]), &mut sets);
            assert_eq!(change, Some(Change::Remove(net(prefix))));
        }
        let through = sets.of(&net("10.1.0.0/26"), [172, 17, 9, 1].into()).unwrap().to_string();
        assert!(through.contains("tunnel tunl0"), "{through}");
        assert_eq!(sets.follow(&Arc::default()), [Change::Remove(net("10.9.0.1/32"))]);
        let change = desired(learned(net("10.2.0.0/26"), [172, 17, 8, 101]), &mut sets);
        assert_eq!(change, Some(via("10.2.0.0/26", [172, 17, 8, 101])));
    }

    #[test]
    fn routes_of_two_pools_over_one_next_hop_have_a_way_each() {
        let tunnelled =
            FibPool { encapsulation: Encapsulation::Ipip, ..FibPool::new("10.1.0.0/16".parse().unwrap()) };
        let mut sets = Sets { pools: Pools::new(&[tunnelled]), ..Sets::default() };
        let gateway = IpAddr::from([172, 17, 8, 101]);
        let direct = sets.of(&"10.0.0.0/26".parse().unwrap(), gateway).unwrap();
        let through = sets.of(&"10.1.0.0/26".parse().unwrap(), gateway).unwrap();
        assert_eq!(direct.next_hops()[0], FibNextHop::recursive(gateway));
        assert_eq!(through.to_string(), "via 172.17.8.101 tunnel tunl0 always");
    }
}
