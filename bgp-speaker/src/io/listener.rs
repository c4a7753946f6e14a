//! Listening sockets: one task each, which hands accepted connections to the driver.

use super::driver::Event;
use super::socket_options;
use crate::config::{Secret, SpeakerConfig};
use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Connections that the kernel keeps for us: a cluster that restarts comes all at once.
const BACKLOG: i32 = 4096;
/// After an error of accept (out of descriptors, most likely): not in a tight loop.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// An address that cannot be listened on. The operator is at fault, or another daemon is running.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}{}", reason(.error), advice(.error, .address))]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// The system's error.
    pub error: io::Error,
}

/// Without the number, which says nothing to whoever reads it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

fn advice(error: &io::Error, address: &SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "; another BGP daemon is probably running (see `ss -ltnp 'sport = :{}'`): stop it or change `listen`. A \
             reload cannot go from a wildcard to a single address of the same port or back: restart for that",
            address.port()
        ),
        io::ErrorKind::PermissionDenied => format!(
            "; ports below 1024 need root or CAP_NET_BIND_SERVICE: grant it or use a port above 1023 instead of {}",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("; no interface has the address {}: change `listen`", address.ip())
        }
        _ => String::new(),
    }
}

/// All listening sockets of a speaker.
#[derive(Debug)]
pub(super) struct Listeners {
    open: BTreeMap<SocketAddr, Listener>,
    keys: BTreeMap<IpNet, Secret>,
    /// Neighbours whose key some socket could not be given: what they send is not authenticated.
    keyless: BTreeSet<IpNet>,
    events: mpsc::Sender<Event>,
}

#[derive(Debug)]
struct Listener {
    socket: Arc<TcpListener>,
    task: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listeners {
    /// None yet; what they accept goes to `events`.
    pub(super) fn new(events: mpsc::Sender<Event>) -> Self {
        Self { open: BTreeMap::new(), keys: BTreeMap::new(), keyless: BTreeSet::new(), events }
    }

    /// Opens and closes sockets and sets keys, so that they are as the configuration says. New ones are opened before
    /// old ones are closed; on an error nothing has changed.
    ///
    /// # Errors
    /// The first address that cannot be listened on.
    pub(super) fn apply(&mut self, config: &SpeakerConfig) -> Result<(), ListenError> {
        let mut opened = BTreeMap::new();
        for address in &config.listen {
            if !self.open.contains_key(address) {
                let socket = bind(*address).map_err(|error| ListenError { address: *address, error })?;
                opened.insert(*address, socket);
            }
        }
        self.open.retain(|address, _| config.listen.contains(address));
        let keys = keys_of(config);
        self.keyless.retain(|peers| keys.contains_key(peers));
        for (address, listener) in &self.open {
            set_keys(*address, listener.socket.as_raw_fd(), &self.keys, &keys, &mut self.keyless);
        }
        for (address, socket) in opened {
            set_keys(address, socket.as_raw_fd(), &BTreeMap::new(), &keys, &mut self.keyless);
            let socket = Arc::new(socket);
            let task = tokio::spawn(accept_all(socket.clone(), self.events.clone()));
            self.open.insert(address, Listener { socket, task });
        }
        self.keys = keys;
        Ok(())
    }

    /// Must connections from this address be refused, because nothing authenticates them?
    pub(super) fn is_keyless(&self, remote: IpAddr) -> bool {
        self.keyless.iter().any(|peers| peers.contains(&remote))
    }

    /// Closes all sockets; their tasks have ended when this returns.
    pub(super) async fn close(&mut self) {
        for (_, mut listener) in std::mem::take(&mut self.open) {
            listener.task.abort();
            // Ended by the abort, which is what was wanted.
            _ = (&mut listener.task).await;
        }
    }

    /// Where we listen; a configured port 0 has become a real one.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.open.values().filter_map(|listener| listener.socket.local_addr().ok()).collect()
    }
}

async fn accept_all(socket: Arc<TcpListener>, events: mpsc::Sender<Event>) {
    loop {
        match socket.accept().await {
            Ok((stream, remote)) => {
                if events.send(Event::Accepted { stream, remote }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Neighbours with ttl_security count the hops of the very first answer, which no accepted socket sends yet.
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_unicast_hops_v6(255)?;
    } else {
        socket.set_ttl_v4(255)?;
    }
    if let Err(error) = socket_options::note_ttl(&socket, address.ip()) {
        tracing::warn!(%address, %error, "neighbours with ttl_security cannot connect: their distance is not known");
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

fn keys_of(config: &SpeakerConfig) -> BTreeMap<IpNet, Secret> {
    let ranges = config.listen_ranges.iter().map(|range| (range.prefix, &range.options));
    let neighbors =
        config.neighbors.values().map(|neighbor| (IpNet::from(neighbor.address), &neighbor.options));
    ranges.chain(neighbors).filter_map(|(peers, options)| Some((peers, options.password.clone()?))).collect()
}

fn set_keys(
    address: SocketAddr,
    socket: RawFd,
    old: &BTreeMap<IpNet, Secret>,
    new: &BTreeMap<IpNet, Secret>,
    keyless: &mut BTreeSet<IpNet>,
) {
    let gone = old.keys().filter(|peers| !new.contains_key(peers)).map(|peers| (peers, None));
    let changed =
        new.iter().filter(|(peers, key)| old.get(peers) != Some(key)).map(|(peers, key)| (peers, Some(key)));
    for (peers, key) in gone.chain(changed) {
        if peers.addr().is_ipv4() != address.is_ipv4() {
            continue;
        }
        match socket_options::set_md5_key(&socket, *peers, key) {
            Ok(()) => _ = keyless.remove(peers),
            Err(error) => {
                tracing::error!(
                    %address, %peers, %error,
                    "cannot set the TCP MD5 key: connections from there are refused (with many keys, raise the sysctl \
                     net.core.optmem_max)"
                );
                keyless.insert(*peers);
            }
        }
    }
}
