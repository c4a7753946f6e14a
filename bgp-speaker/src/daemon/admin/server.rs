//! Accepts connections and serves the routers on them, within bounds: a client that sends nothing, or too many
//! clients at once, cost the daemon nothing that its sessions need.

use super::socket::{self, AdminSocket};
use super::{Admin, full_control, read_only};
use crate::daemon::advice;
use crate::daemon::file::AdminConfig;
use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Connections of one listener at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 64;
/// A connection without a complete request head for so long is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Answers in progress get so long when the daemon ends.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the admin API cannot be offered, as a sentence for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BindError(String);

/// The listening sockets of the admin API, bound but not served yet.
pub(crate) struct AdminServer {
    unix: AdminSocket,
    tcp: Option<TcpListener>,
}

impl AdminServer {
    /// Takes the addresses, before anything else is started.
    pub(crate) async fn bind(config: &AdminConfig) -> Result<Self, BindError> {
        let unix = socket::bind(&config.socket).map_err(BindError)?;
        let tcp = match config.listen {
            None => None,
            Some(address) => {
                let bound = TcpListener::bind(address).await;
                Some(bound.map_err(|error| BindError(advice::admin_listen(address, &error)))?)
            }
        };
        Ok(Self { unix, tcp })
    }

    /// Serves until `stop` becomes true, then lets answers in progress finish.
    pub(crate) async fn serve(self, admin: Arc<Admin>, stop: watch::Receiver<bool>) {
        let Self { unix, tcp } = self;
        let unix = serve(unix, full_control(admin.clone()), stop.clone());
        let tcp = async {
            if let Some(tcp) = tcp {
                serve(tcp, read_only(admin), stop).await;
            }
        };
        tokio::join!(unix, tcp);
    }
}

async fn serve<L: Listener>(mut listener: L, router: Router, mut stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let io = tokio::select! {
            (io, _) = listener.accept() => io,
            Some(_) = connections.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            tracing::warn!(limit = CONNECTIONS_MAX, "too many connections to the admin API; closed one");
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let mut stop = stop.clone();
        connections.spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(io), service);
            let mut connection = std::pin::pin!(connection);
            // An error here is a client that went away or talks something else: nothing to tell anybody.
            let is_done = tokio::select! {
                _ = connection.as_mut() => true,
                _ = stop.wait_for(|stop| *stop) => false,
            };
            if !is_done {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
            drop(permit);
        });
    }
    let goodbye = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GOODBYE_TIMEOUT, goodbye).await;
}
