//! How etcd is reached.

use crate::config::Secret;
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use std::error::Error as _;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a connection may take; Calico's.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that says nothing for so long is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// And may take so long to answer.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where etcd is and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdOptions {
    /// URLs of the servers, `http://` or `https://`, at least one.
    pub endpoints: Vec<String>,
    /// Certificate authorities of the servers, PEM; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its key, PEM.
    pub identity_files: Option<(PathBuf, PathBuf)>,
    /// Who we are, and our password.
    pub user: Option<(String, Secret)>,
    /// How many keys are read at a time.
    pub page_size: u32,
}

impl EtcdOptions {
    /// Default of [`EtcdOptions::page_size`].
    pub const PAGE_SIZE: u32 = 1000;

    /// Without TLS and without a user.
    pub fn new(endpoints: Vec<String>) -> Self {
        Self { endpoints, ca_file: None, identity_files: None, user: None, page_size: Self::PAGE_SIZE }
    }

    fn uses_tls(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.starts_with("https://"))
    }

    fn tls(&self) -> Result<TlsOptions, EtcdError> {
        let mut tls = TlsOptions::new();
        tls = match &self.ca_file {
            Some(path) => tls.ca_certificate(Certificate::from_pem(read(path)?)),
            None => tls.with_native_roots(),
        };
        if let Some((certificate, key)) = &self.identity_files {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        Ok(tls)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, EtcdError> {
    std::fs::read(path).map_err(|source| EtcdError::File { path: path.to_owned(), source })
}

/// Why etcd cannot be followed, or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdError {
    /// A certificate or key file is unreadable. The operator is at fault.
    #[error("cannot read {}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// etcd refused, or could not be reached.
    #[error("{}: {}", .endpoints.join(", "), explain(.source))]
    Etcd {
        /// Which servers.
        endpoints: Vec<String>,
        /// What the client says.
        source: etcd_client::Error,
    },
    /// There is no server to ask. The configuration is at fault.
    #[error("no endpoint of etcd is given")]
    NoEndpoint,
    /// No server answered in time.
    #[error("{}: no answer within {} s", .endpoints.join(", "), .after.as_secs())]
    Timeout {
        /// Which servers.
        endpoints: Vec<String>,
        /// How long that was.
        after: Duration,
    },
    /// The history that we would have to read is gone.
    #[error("etcd has compacted its history up to revision {up_to}")]
    Compacted {
        /// What is left begins after this.
        up_to: i64,
    },
    /// Somebody else was quicker, or has taken it since.
    #[error("{key} has been changed by somebody else")]
    Taken {
        /// The key.
        key: String,
    },
    /// The server ended the watch.
    #[error("etcd ended the watch: {reason}")]
    Cancelled {
        /// Its reason, if it gave one.
        reason: String,
    },
}

/// The client's errors leave out the cause.
fn explain(error: &etcd_client::Error) -> String {
    let mut text = match error {
        etcd_client::Error::GRpcStatus(status) => status.message().to_owned(),
        other => other.to_string(),
    };
    let mut source = match error {
        etcd_client::Error::TransportError(error) => error.source(),
        etcd_client::Error::GRpcStatus(status) => status.source(),
        _ => None,
    };
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// A client for one of these servers that answers and has a leader; its requests fail while that has none. The client
/// library would spread requests over all of them, also to those that are gone; so one is chosen, and when it fails,
/// another by connecting again. Which is asked first differs from call to call, so that the nodes of a cluster do not
/// all end at the same one.
///
/// # Errors
/// A file is unreadable, no server answers, or the user is refused.
pub async fn connect(options: &EtcdOptions) -> Result<Client, EtcdError> {
    let settings = settings(options)?;
    let first = RandomState::new().hash_one(()) as usize;
    let mut failure = None;
    for index in 0..options.endpoints.len() {
        let endpoint = &options.endpoints[first.wrapping_add(index) % options.endpoints.len()];
        match connect_to(options, endpoint, settings.clone()).await {
            Ok(client) => return Ok(client),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or(EtcdError::NoEndpoint))
}

/// A status code of gRPC: the server knows who asks, and does not answer everybody.
const PERMISSION_DENIED: i32 = 7;

async fn connect_to(
    options: &EtcdOptions,
    endpoint: &str,
    settings: ConnectOptions,
) -> Result<Client, EtcdError> {
    let attempt = async {
        let mut client = Client::connect([endpoint], Some(settings)).await?;
        // Connections are made when they are needed.
        match client.status().await {
            // Later releases of 3.5 tell root only; by then the server has answered, and let us in.
            Err(etcd_client::Error::GRpcStatus(status)) if i32::from(status.code()) == PERMISSION_DENIED => {}
            answer => drop(answer?),
        }
        Ok(client)
    };
    in_time(options, attempt).await
}

fn settings(options: &EtcdOptions) -> Result<ConnectOptions, EtcdError> {
    let mut connect = ConnectOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_keep_alive(KEEP_ALIVE, KEEP_ALIVE_TIMEOUT)
        .with_keep_alive_while_idle(true)
        .with_require_leader(true);
    if let Some((name, password)) = &options.user {
        connect = connect.with_user(name, password.expose());
    }
    if options.uses_tls() {
        connect = connect.with_tls(options.tls()?);
    }
    Ok(connect)
}

/// The outcome of a request that must not hang.
pub(super) async fn in_time<T>(
    options: &EtcdOptions,
    request: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, EtcdError> {
    let endpoints = || options.endpoints.clone();
    match tokio::time::timeout(CONNECT_TIMEOUT, request).await {
        Ok(outcome) => outcome.map_err(|source| EtcdError::Etcd { endpoints: endpoints(), source }),
        Err(_) => Err(EtcdError::Timeout { endpoints: endpoints(), after: CONNECT_TIMEOUT }),
    }
}
