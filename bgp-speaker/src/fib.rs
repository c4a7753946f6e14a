//! From the Loc-RIB to the kernel: learned routes via their next hop, own blocks as blackholes, as far as the
//! [`FibRules`] let them. What is announced as a plain route stays out of the kernel. BGP next hops are resolved by the
//! kernel's own routes, and through tunnels where the rules say so.

mod pools;
mod translator;

use self::translator::Translator;
use crate::config::FibRules;
use crate::speaker::{RouteChange, RouteSubscription, Stop};
use crate::view::{DurationsView, FibDetailsView, FibNextHopView, FibPendingView, FibView};
use fib_sync::{
    BatchTimes, Fib, FibConfig, FibError, FibEvents, FibStatus, NextHopDecision, Outcomes, RouteExplanation,
    RouteState,
};
use ipnet::IpNet;
use std::collections::BTreeMap;
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
        fib: Fib,
        subscription: RouteSubscription,
        rules: watch::Receiver<Arc<FibRules>>,
    ) -> Self {
        let fib = Arc::new(fib);
        let task = tokio::spawn(follow(fib.clone(), subscription, rules));
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
            last_error: status.last_error.clone(),
            operations_ok: status.operations_ok,
            operations_failed: status.operations_failed,
            operations: operations(&status),
            batch_seconds: durations(&status.batch_times),
            resyncs: status.resyncs,
            resyncs_by_reason: resyncs(&status),
            repaired: status.repaired,
        }
    }

    /// What happens from now on; `None` once it has stopped.
    pub(crate) fn events(&self) -> Option<FibEvents> {
        self.fib().map(|fib| fib.events())
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
    mut rules: watch::Receiver<Arc<FibRules>>,
) {
    let mut in_force = Translator::default();
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
        let mut demanded = in_force.follow(&rules.borrow_and_update());
        demanded.extend(changes.into_iter().filter_map(|change| in_force.desired(change)));
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

fn operations(status: &FibStatus) -> Vec<(String, String, u64)> {
    let of = |(op, outcomes): (&str, Outcomes)| {
        [("ok", outcomes.ok), ("failed", outcomes.failed)]
            .map(|(result, count)| (op.to_owned(), result.to_owned(), count))
    };
    status.operations.iter().flat_map(of).collect()
}

fn resyncs(status: &FibStatus) -> BTreeMap<String, u64> {
    status.resyncs_by_reason.iter().map(|(reason, count)| (reason.as_str().to_owned(), count)).collect()
}

fn durations(times: &BatchTimes) -> DurationsView {
    DurationsView {
        buckets: times.buckets().map(|(bound, count)| (bound.as_secs_f64(), count)).collect(),
        count: times.count(),
        sum_secs: times.sum().as_secs_f64(),
    }
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
