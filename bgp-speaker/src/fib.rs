//! From the Loc-RIB to the kernel: learned routes via their next hop, own blocks as blackholes. What is announced as a
//! plain route stays out of the kernel. BGP next hops are resolved by the kernel's own routes, and through tunnels where
//! [`FibPool`]s say so.

mod pools;

pub use self::pools::{Encapsulation, EncapsulationWhen, FibPool};

use self::pools::{Pools, RuleId};
use crate::config::AnnouncementKind;
use crate::speaker::{RouteChange, RouteSubscription, SpeakerHandle, Stop};
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
    pools: watch::Sender<Vec<FibPool>>,
    /// `None` once it has stopped: handles may outlive the speaker, the kernel's programmer does not.
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    fib: Arc<Fib>,
    task: JoinHandle<()>,
}

impl FibGlue {
    /// Starts to follow the Loc-RIB of a speaker.
    pub(crate) fn start(config: FibConfig, pools: Vec<FibPool>, fib: Fib, speaker: SpeakerHandle) -> Self {
        let fib = Arc::new(fib);
        let sets = Sets { pools: Pools::new(&pools), latest: None };
        let (pools, pools_seen) = watch::channel(pools);
        let follower = Follower { fib: fib.clone(), subscription: speaker.subscribe(), speaker, sets };
        let task = tokio::spawn(follower.run(pools_seen));
        Self { config, pools, running: Mutex::new(Some(Running { fib, task })) }
    }

    /// Other rules from now on, also for routes that are in the kernel already; each is replaced in one step.
    pub(crate) fn set_pools(&self, pools: Vec<FibPool>) {
        self.pools.send_if_modified(|known| {
            let has_changed = *known != pools;
            *known = pools;
            has_changed
        });
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

/// Carries what the Loc-RIB says to the kernel.
struct Follower {
    fib: Arc<Fib>,
    speaker: SpeakerHandle,
    subscription: RouteSubscription,
    sets: Sets,
}

/// The kernel is not programmed any more.
struct Ended;

impl Follower {
    /// Goes on until the speaker or the FIB ends.
    async fn run(mut self, mut pools: watch::Receiver<Vec<FibPool>>) {
        loop {
            let step = tokio::select! {
                changes = self.subscription.next_batch() => match changes {
                    Some(changes) => self.apply(changes).await,
                    None => Err(Ended),
                },
                Ok(()) = pools.changed() => {
                    self.sets = Sets { pools: Pools::new(&pools.borrow_and_update()), latest: None };
                    self.start_over().await
                }
            };
            if step.is_err() {
                return;
            }
        }
    }

    /// Applies the whole table once more. What the old subscription has yet to tell includes withdrawals, which the new
    /// one knows nothing of: it is read to its end.
    async fn start_over(&mut self) -> Result<(), Ended> {
        let mut fresh = self.speaker.subscribe();
        let first = self.told_by(&mut fresh).await?;
        let mut old = std::mem::replace(&mut self.subscription, fresh);
        if let Some(changes) = first {
            self.apply(changes).await?;
        }
        while let Some(changes) = self.told_by(&mut old).await? {
            self.apply(changes).await?;
        }
        Ok(())
    }

    /// What a subscription has to tell by now, if anything.
    async fn told_by(&self, subscription: &mut RouteSubscription) -> Result<Option<Vec<RouteChange>>, Ended> {
        tokio::select! {
            biased;
            changes = subscription.next_batch() => changes.map(Some).ok_or(Ended),
            // Questions are answered in order: the subscription would have been by now.
            _ = self.speaker.status() => Ok(None),
        }
    }

    async fn apply(&mut self, changes: Vec<RouteChange>) -> Result<(), Ended> {
        let converged = changes.contains(&RouteChange::Converged);
        let changes: Vec<Change> =
            changes.into_iter().filter_map(|change| desired(change, &mut self.sets)).collect();
        match self.fib.apply(changes).await {
            // One route is wrong; the others were accepted.
            Err(error @ FibError::InvalidRoute { .. }) => tracing::error!(%error, "not for the kernel"),
            Err(error) => {
                tracing::error!(%error, "the kernel is no longer programmed");
                return Err(Ended);
            }
            Ok(()) => {}
        }
        if converged {
            tracing::info!("all neighbours heard, stale routes leave the kernel");
            if let Err(error) = self.fib.converged().await {
                tracing::error!(%error, "stale routes could not be removed from the kernel");
            }
        }
        Ok(())
    }
}

/// Makes next hop sets. Routes come by the thousand over one next hop, and share one set.
#[derive(Debug, Default)]
struct Sets {
    pools: Pools,
    /// The set made last, and for what.
    latest: Option<(IpAddr, RuleId, NextHopSet)>,
}

impl Sets {
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
        let mut sets = Sets { pools: Pools::new(&[pool]), latest: None };
        let prefix = "10.0.0.0/26".parse().unwrap();
        let block = RouteChange::Local { prefix, kind: AnnouncementKind::Block };
        assert_eq!(desired(block, &mut sets), Some(Change::Remove(prefix)));
        assert_eq!(desired(learned(prefix, [172, 17, 8, 101]), &mut sets), Some(Change::Remove(prefix)));
    }

    #[test]
    fn routes_of_two_pools_over_one_next_hop_have_a_way_each() {
        let tunnelled =
            FibPool { encapsulation: Encapsulation::Ipip, ..FibPool::new("10.1.0.0/16".parse().unwrap()) };
        let mut sets = Sets { pools: Pools::new(&[tunnelled]), latest: None };
        let gateway = IpAddr::from([172, 17, 8, 101]);
        let direct = sets.of(&"10.0.0.0/26".parse().unwrap(), gateway).unwrap();
        let through = sets.of(&"10.1.0.0/26".parse().unwrap(), gateway).unwrap();
        assert_eq!(direct.next_hops()[0], FibNextHop::recursive(gateway));
        assert_eq!(through.to_string(), "via 172.17.8.101 tunnel tunl0 always");
    }
}
