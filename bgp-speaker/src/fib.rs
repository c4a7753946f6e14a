//! From the Loc-RIB to the kernel: learned routes via their next hop, own blocks as blackholes. What is announced as a
//! plain route stays out of the kernel.

use crate::config::AnnouncementKind;
use crate::speaker::{RouteChange, RouteSubscription, Stop};
use crate::view::FibView;
use bgp_proto::NextHop;
use fib_sync::{Change, Fib, FibConfig, Route};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Carries route changes to a [`Fib`]. One per speaker with a FIB.
#[derive(Debug)]
pub(crate) struct FibGlue {
    config: FibConfig,
    fib: Arc<Fib>,
    task: JoinHandle<()>,
}

impl FibGlue {
    /// Starts to follow the Loc-RIB.
    pub(crate) fn start(config: FibConfig, fib: Fib, subscription: RouteSubscription) -> Self {
        let fib = Arc::new(fib);
        let task = tokio::spawn(follow(fib.clone(), subscription));
        Self { config, fib, task }
    }

    /// Stops following. Leaving takes our routes out of the kernel, restarting leaves them there.
    pub(crate) async fn stop(&self, stop: Stop) {
        self.abandon();
        if stop == Stop::Leave {
            match self.fib.remove_all().await {
                Ok(count) => tracing::info!(count, "our routes removed from the kernel"),
                Err(error) => tracing::error!(%error, "our routes could not be removed from the kernel"),
            }
        }
    }

    /// Stops following, at once.
    pub(crate) fn abandon(&self) {
        self.task.abort();
    }

    /// The kernel's side.
    pub(crate) fn view(&self) -> FibView {
        let status = self.fib.status();
        FibView {
            table: self.config.table,
            protocol: self.config.protocol,
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
}

async fn follow(fib: Arc<Fib>, mut subscription: RouteSubscription) {
    while let Some(changes) = subscription.next_batch().await {
        let converged = changes.contains(&RouteChange::Converged);
        let changes: Vec<Change> = changes.into_iter().filter_map(desired).collect();
        if let Err(error) = fib.apply(changes).await {
            // Each route was checked when it was received: this is the task's end, which nothing outlives.
            tracing::error!(%error, "the kernel is no longer programmed");
            return;
        }
        if converged {
            tracing::info!("all neighbours heard, stale routes leave the kernel");
            if let Err(error) = fib.converged().await {
                tracing::error!(%error, "stale routes could not be removed from the kernel");
            }
        }
    }
}

/// What a change asks of the kernel.
fn desired(change: RouteChange) -> Option<Change> {
    match change {
        RouteChange::Local { prefix, kind: AnnouncementKind::Block } => Some(Change::Set(Route::blackhole(prefix))),
        RouteChange::Local { prefix, kind: AnnouncementKind::Route } | RouteChange::Withdrawn { prefix } => {
            Some(Change::Remove(prefix))
        }
        RouteChange::Learned { prefix, next_hop, .. } => Some(Change::Set(Route::via(prefix, gateway(next_hop)))),
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
        assert_eq!(desired(block), Some(Change::Set(Route::blackhole(prefix))));
        let route = RouteChange::Local { prefix, kind: AnnouncementKind::Route };
        assert_eq!(desired(route), Some(Change::Remove(prefix)));
    }

    #[test]
    fn learned_routes_go_via_their_next_hop() {
        let prefix = "10.0.0.0/26".parse().unwrap();
        let next_hop: std::net::Ipv4Addr = [172, 17, 8, 101].into();
        let learned =
            RouteChange::Learned { prefix, next_hop: NextHop::V4(next_hop), from: IpAddr::V4(next_hop) };
        assert_eq!(desired(learned), Some(Change::Set(Route::via(prefix, IpAddr::V4(next_hop)))));
    }
}
