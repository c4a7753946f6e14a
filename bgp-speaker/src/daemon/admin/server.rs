//! Accepts connections and serves the routers on them, within bounds: a client that sends nothing, or too many
//! clients at once, cost the daemon nothing that its sessions need.

use super::{Admin, full_control, read_only, waiting};
use crate::daemon::advice;
use crate::daemon::file::AdminConfig;
use crate::daemon::unix_socket::{self, Purpose, UnixSocket};
use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Sleep;

/// Connections of one listener at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 64;
/// A connection without a complete request head for so long is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that are closed are told of once in this time.
const SILENCE: Duration = Duration::from_secs(60);
/// Answers in progress get so long when the daemon ends.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the admin API cannot be offered, as a sentence for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BindError(String);

/// The listening sockets of the admin API, bound but not served yet.
pub(crate) struct AdminServer {
    unix: UnixSocket,
    tcp: Option<TcpListener>,
}

impl AdminServer {
    /// Takes the addresses, before anything else is started.
    ///
    /// # Errors
    /// One of them cannot be had. That the default TCP address cannot is only logged.
    pub(crate) async fn bind(config: &AdminConfig) -> Result<Self, BindError> {
        let purpose = Purpose { what: "admin socket", key: "admin.socket" };
        let unix = unix_socket::bind(&config.socket, purpose).map_err(BindError)?;
        let tcp = match config.listen {
            None => None,
            Some(address) => match TcpListener::bind(address).await {
                Ok(listener) => Some(listener),
                Err(error) => {
                    let sentence = advice::admin_listen(address, &error);
                    // Nobody asked for the default address, so it is no reason to leave a node without routes.
                    if config.listen != AdminConfig::default().listen {
                        return Err(BindError(sentence));
                    }
                    tracing::warn!("{sentence}");
                    None
                }
            },
        };
        Ok(Self { unix, tcp })
    }

    /// Serves until `stop` becomes true, then lets answers in progress finish.
    pub(crate) async fn serve(self, admin: Arc<Admin>, stop: watch::Receiver<bool>) {
        let Self { mut unix, tcp } = self;
        let unix = serve(&mut unix, full_control(admin.clone()), stop.clone());
        let tcp = async {
            if let Some(mut tcp) = tcp {
                serve(&mut tcp, read_only(admin), stop).await;
            }
        };
        tokio::join!(unix, tcp);
    }

    /// Says to everybody that there is no speaker yet, until this is dropped.
    pub(crate) async fn serve_waiting(&mut self, what: &'static str) {
        let (_stop, never) = watch::channel(false);
        let unix = serve(&mut self.unix, waiting(what), never.clone());
        let tcp = async {
            if let Some(tcp) = &mut self.tcp {
                serve(tcp, waiting(what), never).await;
            }
        };
        tokio::join!(unix, tcp);
    }
}

async fn serve<L: Listener>(listener: &mut L, router: Router, mut stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let mut refused = Refused::default();
    loop {
        let io = tokio::select! {
            (io, _) = listener.accept() => io,
            () = refused.silence() => {
                refused.end_silence();
                continue;
            }
            Some(_) = connections.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            refused.note();
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

/// Connections that were closed because there are too many: told once in a while, with their number.
#[derive(Default)]
struct Refused {
    untold: u64,
    silence: Option<Pin<Box<Sleep>>>,
}

impl Refused {
    fn note(&mut self) {
        self.untold += 1;
        if self.silence.is_none() {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let closed = std::mem::take(&mut self.untold);
        tracing::warn!(
            closed,
            limit = CONNECTIONS_MAX,
            "too many connections to the admin API; closed what came"
        );
        self.silence = Some(Box::pin(tokio::time::sleep(SILENCE)));
    }

    async fn silence(&mut self) {
        match &mut self.silence {
            Some(silence) => silence.as_mut().await,
            None => std::future::pending().await,
        }
    }

    fn end_silence(&mut self) {
        self.silence = None;
        if self.untold > 0 {
            self.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_configured_tcp_address_must_be_free_and_an_answering_socket_is_left_alone() {
        let directory = std::env::temp_dir().join(format!("bgp-server-{}", std::process::id()));
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = AdminConfig {
            socket: directory.join("admin.sock"),
            listen: Some(taken.local_addr().unwrap()),
            per_neighbor_metrics: false,
        };
        let error = AdminServer::bind(&config).await.err().expect("the port is taken");
        assert!(error.to_string().contains("another process has that port"), "{error}");
        assert!(!config.socket.exists(), "a daemon that does not start leaves no socket");

        config.listen = None;
        let _running = AdminServer::bind(&config).await.unwrap();
        let error = AdminServer::bind(&config).await.err().expect("the socket answers");
        assert!(error.to_string().contains("another daemon answers"), "{error}");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
