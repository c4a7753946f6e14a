//! From the Loc-RIB to the kernel: learned routes via their next hop, own blocks as blackholes. What is announced as a
//! plain route stays out of the kernel.

use crate::config::AnnouncementKind;
use crate::speaker::{RouteChange, RouteSubscription, Stop};
use crate::view::FibView;
use bgp_proto::NextHop;
use fib_sync::{Change, Fib, FibConfig, FibError, NextHopSet, Route};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
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
    pub(crate) fn start(config: FibConfig, fib: Fib, subscription: RouteSubscription) -> Self {
        let fib = Arc::new(fib);
        let task = tokio::spawn(follow(fib.clone(), subscription));
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

    fn take(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

async fn follow(fib: Arc<Fib>, mut subscription: RouteSubscription) {
    let mut sets = LatestSet::default();
    while let Some(changes) = subscription.next_batch().await {
        let converged = changes.contains(&RouteChange::Converged);
        let changes: Vec<Change> =
            changes.into_iter().filter_map(|change| desired(change, &mut sets)).collect();
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

/// The next hop set made last. Routes come by the thousand over one next hop, and share one set.
#[derive(Debug, Default)]
struct LatestSet(Option<(IpAddr, NextHopSet)>);

impl LatestSet {
    fn of(&mut self, gateway: IpAddr) -> NextHopSet {
        match &self.0 {
            Some((latest, set)) if *latest == gateway => set.clone(),
            _ => {
                let set = NextHopSet::from(gateway);
                self.0 = Some((gateway, set.clone()));
                set
            }
        }
    }
}

/// What a change asks of the kernel.
fn desired(change: RouteChange, sets: &mut LatestSet) -> Option<Change> {
    match change {
        RouteChange::Local { prefix, kind: AnnouncementKind::Block } => {
            Some(Change::Set(Route::blackhole(prefix)))
        }
        RouteChange::Local { prefix, kind: AnnouncementKind::Route } | RouteChange::Withdrawn { prefix } => {
            Some(Change::Remove(prefix))
        }
        RouteChange::Learned { prefix, next_hop, .. } => {
            Some(Change::Set(Route::unicast(prefix, sets.of(gateway(next_hop)))))
        }
        RouteChange::Converged => None,
    }
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

    #[test]
    fn blocks_are_blackholes_and_plain_routes_stay_out() {
        let prefix = "10.0.0.0/26".parse().unwrap();
        let block = RouteChange::Local { prefix, kind: AnnouncementKind::Block };
        assert_eq!(desired(block, &mut LatestSet::default()), Some(Change::Set(Route::blackhole(prefix))));
        let route = RouteChange::Local { prefix, kind: AnnouncementKind::Route };
        assert_eq!(desired(route, &mut LatestSet::default()), Some(Change::Remove(prefix)));
    }

    #[test]
    fn learned_routes_go_via_their_next_hop() {
        let prefix = "10.0.0.0/26".parse().unwrap();
        let next_hop: std::net::Ipv4Addr = [172, 17, 8, 101].into();
        let learned =
            RouteChange::Learned { prefix, next_hop: NextHop::V4(next_hop), from: IpAddr::V4(next_hop) };
        assert_eq!(
            desired(learned, &mut LatestSet::default()),
            Some(Change::Set(Route::via(prefix, IpAddr::V4(next_hop))))
        );
    }
}
