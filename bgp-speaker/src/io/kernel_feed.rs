//! What other programs have in the kernel, on its way to the engine.

use crate::engine::KernelChange;
use crate::view::KernelImportView;

#[cfg(feature = "fib")]
pub(super) use feed::KernelFeed;

/// News that wait for the driver. What comes meanwhile waits in the socket that it is heard from.
pub(super) const NEWS_MAX: usize = 2;

/// Changes of what others have in the kernel, and where the watch stands.
#[derive(Debug)]
pub(super) struct KernelNews {
    pub(super) changes: Vec<KernelChange>,
    /// There is nothing but this.
    pub(super) is_all: bool,
    pub(super) view: KernelImportView,
}

#[cfg(feature = "fib")]
mod feed {
    use super::KernelNews;
    use crate::engine::{KernelChange, KernelRoute};
    use crate::view::KernelImportView;
    use fib_sync::{FibError, ForeignKind, ForeignRoute, RouteWatch, WatchChange, WatchConfig};
    use tokio::sync::mpsc;
    use tokio::task::JoinHandle;

    /// Follows the kernel's main table. Ends with its handle.
    #[derive(Debug)]
    pub(in crate::io) struct KernelFeed {
        task: JoinHandle<()>,
    }

    impl Drop for KernelFeed {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    impl KernelFeed {
        /// Opens the sockets at once, in the network namespace of the calling thread. `protocol` marks our own routes.
        ///
        /// # Errors
        /// The system does not give us the sockets.
        pub(in crate::io) fn open(protocol: u8, sender: mpsc::Sender<KernelNews>) -> Result<Self, FibError> {
            let watch = RouteWatch::open(WatchConfig { protocol, ..WatchConfig::default() })?;
            Ok(Self { task: tokio::spawn(follow(watch, sender)) })
        }
    }

    async fn follow(mut watch: RouteWatch, sender: mpsc::Sender<KernelNews>) {
        let mut is_first = true;
        let mut refused = 0;
        loop {
            let changes = match watch.next().await {
                Ok(changes) => changes,
                Err(FibError::Closed) => return,
                Err(error) => {
                    // The watch waits before it tries again.
                    tracing::error!(%error, "the kernel's routes cannot be read");
                    continue;
                }
            };
            let status = watch.status();
            if status.refused > 0 && refused == 0 {
                tracing::warn!(
                    routes = status.routes,
                    "too many routes in the kernel: not all of them are taken"
                );
            }
            refused = status.refused;
            let view = KernelImportView {
                routes: status.routes,
                networks: status.networks,
                refused: status.refused,
                readings: status.readings,
                last_error: status.last_error,
            };
            let changes = changes.into_iter().map(change).collect();
            if sender.send(KernelNews { changes, is_all: is_first, view }).await.is_err() {
                return;
            }
            is_first = false;
        }
    }

    fn change(change: WatchChange) -> KernelChange {
        match change {
            WatchChange::Network { prefix, interface } => KernelChange::Network(prefix, interface),
            WatchChange::Route { prefix, route } => KernelChange::Route(prefix, route.map(kernel_route)),
        }
    }

    fn kernel_route(route: ForeignRoute) -> KernelRoute {
        let ForeignRoute { kind, interface, gateway, metric, protocol, .. } = route;
        KernelRoute { interface, gateway, metric, protocol, is_blackhole: kind != ForeignKind::Unicast }
    }
}
