//! A BGP peer made of bytes: says exactly what a test wants, also what no real daemon would.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::error::LabError;
use crate::netns::Namespace;
use crate::seen::SeenRoute;
use crate::wait::{secs, wait_until};
use crate::wire::{self, HEADER_LENGTH, Open};

/// The port of BGP.
pub const BGP_PORT: u16 = 179;

/// One connection.
#[derive(Debug)]
pub struct RawPeer {
    stream: TcpStream,
    received: Vec<u8>,
}

/// What came from the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A whole message.
    Message {
        /// Its type code.
        kind: u8,
        /// Without the header.
        body: Vec<u8>,
    },
    /// The other side closed or reset the connection.
    Closed,
    /// Nothing within the time allowed.
    Silence,
}

impl RawPeer {
    /// Connects from inside a namespace.
    ///
    /// # Errors
    /// If nobody listens at `remote` within ten seconds.
    pub fn connect(namespace: &Namespace, remote: IpAddr) -> Result<RawPeer, LabError> {
        let target = SocketAddr::new(remote, BGP_PORT);
        let stream = wait_until(&format!("a listener at {target}"), secs(10), || {
            let connected = namespace.run(|| TcpStream::connect_timeout(&target, secs(2)));
            connected.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        })?;
        Ok(RawPeer::over(stream))
    }

    /// Accepts the other side's next connection, on a listener made with [`listen`].
    ///
    /// # Errors
    /// If none comes within `limit`.
    pub fn accept(listener: &TcpListener, limit: Duration) -> Result<RawPeer, LabError> {
        listener.set_nonblocking(true).map_err(LabError::io("setting up a listener"))?;
        let (stream, _) = wait_until("a connection from the daemon", limit, || listener.accept())?;
        stream.set_nonblocking(false).map_err(LabError::io("setting up a connection"))?;
        Ok(RawPeer::over(stream))
    }

    fn over(stream: TcpStream) -> RawPeer {
        // As BGP speakers do: a message is not held back until the one before it is acknowledged.
        let _ = stream.set_nodelay(true);
        RawPeer { stream, received: Vec::new() }
    }

    /// Sends bytes as they are. A connection that is already closed is not an error: reading will show it.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next message, waiting at most `limit`.
    pub fn receive(&mut self, limit: Duration) -> Received {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(message) = self.take_message() {
                return message;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
                return Received::Silence;
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Received::Closed,
                Ok(count) => self.received.extend(&chunk[..count]),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return Received::Closed,
            }
        }
    }

    fn take_message(&mut self) -> Option<Received> {
        let length = self.received.get(16..18)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(HEADER_LENGTH);
        if self.received.len() < length {
            return None;
        }
        let message: Vec<u8> = self.received.drain(..length).collect();
        Some(Received::Message { kind: message[18], body: message[HEADER_LENGTH..].to_vec() })
    }

    /// Exchanges OPEN and KEEPALIVE.
    ///
    /// # Errors
    /// If the other side does not do its part within five seconds.
    pub fn establish(&mut self, open: &Open) -> Result<(), LabError> {
        self.send(&open.encode());
        self.expect(wire::OPEN)?;
        self.send(&wire::keepalive());
        self.expect(wire::KEEPALIVE)
    }

    fn expect(&mut self, wanted: u8) -> Result<(), LabError> {
        match self.receive(secs(5)) {
            Received::Message { kind, .. } if kind == wanted => Ok(()),
            other => Err(LabError::Unexpected {
                what: "the handshake of a raw peer".into(),
                expected: format!("a message of type {wanted}"),
                seen: format!("{other:?}"),
            }),
        }
    }

    /// Reads until a NOTIFICATION and returns its code and subcode; other messages are passed over.
    ///
    /// # Errors
    /// If the connection closes or `limit` passes without one.
    pub fn expect_notification(&mut self, limit: Duration) -> Result<(u8, u8), LabError> {
        let deadline = Instant::now() + limit;
        loop {
            let seen = match self.receive(deadline.saturating_duration_since(Instant::now())) {
                Received::Message { kind: wire::NOTIFICATION, body } if body.len() >= 2 => {
                    return Ok((body[0], body[1]));
                }
                Received::Message { .. } => continue,
                Received::Closed => "the connection was closed without one",
                Received::Silence => "nothing",
            };
            return Err(LabError::Unexpected {
                what: "the daemon's answer".into(),
                expected: "a NOTIFICATION".into(),
                seen: seen.into(),
            });
        }
    }
}

/// Listens for BGP inside a namespace.
///
/// # Errors
/// If the port is taken.
pub fn listen(namespace: &Namespace, address: IpAddr) -> Result<TcpListener, LabError> {
    namespace
        .run(|| TcpListener::bind((address, BGP_PORT)))?
        .map_err(LabError::io(format!("listening at {address}")))
}

/// What a [`Feeder`] has received so far.
#[derive(Debug, Default)]
struct Heard {
    routes: BTreeMap<IpNet, SeenRoute>,
    notification: Option<(u8, u8)>,
    is_closed: bool,
}

/// A session that is kept alive in the background: a source of exact routes, and an ear for what comes back.
/// Dropping it closes the connection.
#[derive(Debug)]
pub struct Feeder {
    stream: TcpStream,
    heard: Arc<Mutex<Heard>>,
    remote: IpAddr,
}

impl Feeder {
    /// Connects to `remote` and brings a session up, both families.
    ///
    /// # Errors
    /// If the other side does not accept it within fifteen seconds.
    pub fn start(
        namespace: &Namespace,
        remote: IpAddr,
        asn: u32,
        router_id: Ipv4Addr,
    ) -> Result<Feeder, LabError> {
        let open = Open::new(asn, router_id, 30);
        // The daemon may be trying from its side at the same time, and then closes one of the two.
        let mut peer = wait_until("a session of the feeder", secs(15), || {
            let mut peer = RawPeer::connect(namespace, remote)?;
            peer.establish(&open)?;
            Ok::<_, LabError>(peer)
        })?;
        let stream = peer.stream.try_clone().map_err(LabError::io("duplicating a connection"))?;
        let heard = Arc::new(Mutex::new(Heard::default()));
        let shared = Arc::clone(&heard);
        thread::spawn(move || while Feeder::listen_once(&mut peer, &shared) {});
        Ok(Feeder { stream, heard, remote })
    }

    /// Handles one message, or one silence, which it answers with a KEEPALIVE; false at the end of the session.
    fn listen_once(peer: &mut RawPeer, shared: &Mutex<Heard>) -> bool {
        let received = peer.receive(secs(3));
        let mut heard = shared.lock().unwrap_or_else(PoisonError::into_inner);
        match received {
            Received::Silence => peer.send(&wire::keepalive()),
            Received::Message { kind: wire::UPDATE, body } => {
                if let Some(update) = wire::read_update(&body) {
                    update.withdrawn.iter().for_each(|prefix| drop(heard.routes.remove(prefix)));
                    heard.routes.extend(update.announced.into_iter().map(|route| (route.prefix, route)));
                }
            }
            Received::Message { kind: wire::NOTIFICATION, body } => {
                heard.notification = body.first().copied().zip(body.get(1).copied());
            }
            Received::Message { kind: wire::KEEPALIVE, .. } => peer.send(&wire::keepalive()),
            Received::Message { .. } => {}
            Received::Closed => heard.is_closed = true,
        }
        !heard.is_closed
    }

    /// The other end.
    #[must_use]
    pub fn remote(&self) -> IpAddr {
        self.remote
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Announces a route.
    pub fn announce(&mut self, route: &SeenRoute) {
        self.send(&wire::announce(route));
    }

    /// Withdraws a prefix.
    pub fn withdraw(&mut self, prefix: IpNet) {
        self.send(&wire::withdraw(prefix));
    }

    /// What it holds from the other side, sorted.
    #[must_use]
    pub fn routes(&self) -> Vec<SeenRoute> {
        self.heard().routes.values().cloned().collect()
    }

    /// Whether the session is still up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        !self.heard().is_closed
    }

    /// The NOTIFICATION that ended it, if one came.
    #[must_use]
    pub fn notification(&self) -> Option<(u8, u8)> {
        self.heard().notification
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}
