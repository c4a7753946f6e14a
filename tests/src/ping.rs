//! ICMP echo from inside a namespace, without the `ping` program: once, or all the time with losses counted.

mod mesh;

pub use mesh::PingMesh;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use crate::error::LabError;
use crate::netns::Namespace;

const ECHO_V4: u8 = 8;
const ECHO_V6: u8 = 128;

/// A datagram ICMP socket: the kernel fills in the identifier and the checksum, and hands over only our replies.
fn echo_socket(target: IpAddr) -> io::Result<UdpSocket> {
    let (family, protocol) = match target {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    Ok(UdpSocket::from(socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)?))
}

fn send_echo(socket: &UdpSocket, target: IpAddr, sequence: u16) -> io::Result<()> {
    let kind = if target.is_ipv4() { ECHO_V4 } else { ECHO_V6 };
    let [high, low] = sequence.to_be_bytes();
    let message = [kind, 0, 0, 0, 0, 0, high, low, b'l', b'a', b'b', 0];
    socket.send_to(&message, SocketAddr::new(target, 0)).map(drop)
}

/// The sequence number of a waiting reply and who sent it.
fn read_reply(socket: &UdpSocket) -> io::Result<(IpAddr, u16)> {
    let mut buffer = [0; 64];
    let (length, from) = socket.recv_from(&mut buffer)?;
    match buffer[..length] {
        [_, _, _, _, _, _, high, low, ..] => Ok((from.ip(), u16::from_be_bytes([high, low]))),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Sends one echo request and waits for its reply.
///
/// # Errors
/// [`LabError::Unexpected`] if no reply comes within `limit`, with the system's reason if it gives one.
pub fn ping(namespace: &Namespace, target: IpAddr, limit: Duration) -> Result<Duration, LabError> {
    let exchange = || -> io::Result<Duration> {
        let socket = echo_socket(target)?;
        socket.set_read_timeout(Some(limit.max(Duration::from_millis(1))))?;
        let start = Instant::now();
        send_echo(&socket, target, 1)?;
        while read_reply(&socket)? != (target, 1) {}
        Ok(start.elapsed())
    };
    namespace.run(exchange)?.map_err(|error| LabError::Unexpected {
        what: format!("ping from {} to {target}", namespace.name()),
        expected: format!("a reply within {} ms", limit.as_millis()),
        seen: if error.kind() == io::ErrorKind::WouldBlock { "silence".into() } else { error.to_string() },
    })
}

/// What became of the echo requests from one namespace to one address.
#[derive(Clone, Debug)]
pub struct PingCount {
    /// The sender's namespace.
    pub from: String,
    /// The target.
    pub to: IpAddr,
    /// Requests sent.
    pub sent_count: u64,
    /// Requests without a reply.
    pub lost_count: u64,
    /// The longest time between two replies.
    pub longest_gap: Duration,
}

/// Pings that run all the time, from one namespace to many addresses. Dropping it stops them.
#[derive(Debug)]
pub struct ContinuousPing {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<PingCount>>>,
}

/// Time between two requests to the same target.
const INTERVAL: Duration = Duration::from_millis(20);
/// How long a reply may take before the request counts as lost.
const PATIENCE: Duration = Duration::from_secs(1);

impl ContinuousPing {
    /// Starts pinging every target every 20 ms.
    #[must_use]
    pub fn start(namespace: &Namespace, targets: Vec<IpAddr>) -> ContinuousPing {
        let stop = Arc::new(AtomicBool::new(false));
        let (namespace, stopped) = (namespace.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let name = namespace.name().to_owned();
            let counted = namespace.run(|| ping_until(&name, &targets, &stopped));
            // A namespace that cannot be entered has lost everything; say so rather than nothing.
            counted.ok().and_then(Result::ok).unwrap_or_else(|| all_lost(&name, &targets))
        });
        ContinuousPing { stop, thread: Some(thread) }
    }

    /// Stops and returns one count per target, after waiting for late replies.
    #[must_use]
    pub fn finish(mut self) -> Vec<PingCount> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for ContinuousPing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn all_lost(from: &str, targets: &[IpAddr]) -> Vec<PingCount> {
    let lost = |to: &IpAddr| PingCount {
        from: from.to_owned(),
        to: *to,
        sent_count: 1,
        lost_count: 1,
        longest_gap: Duration::MAX,
    };
    targets.iter().map(lost).collect()
}

/// The requests to one target that wait for a reply, and what is known so far.
#[derive(Debug)]
struct Stream {
    target: IpAddr,
    socket: UdpSocket,
    next_sequence: u16,
    waiting: BTreeMap<u16, Instant>,
    last_reply: Instant,
    count: PingCount,
}

impl Stream {
    fn new(from: &str, target: IpAddr) -> io::Result<Stream> {
        let socket = echo_socket(target)?;
        socket.set_nonblocking(true)?;
        let count = PingCount {
            from: from.to_owned(),
            to: target,
            sent_count: 0,
            lost_count: 0,
            longest_gap: Duration::ZERO,
        };
        Ok(Stream {
            target,
            socket,
            next_sequence: 0,
            waiting: BTreeMap::new(),
            last_reply: Instant::now(),
            count,
        })
    }

    fn send(&mut self) {
        self.count.sent_count += 1;
        self.next_sequence = self.next_sequence.wrapping_add(1);
        match send_echo(&self.socket, self.target, self.next_sequence) {
            Ok(()) => drop(self.waiting.insert(self.next_sequence, Instant::now())),
            // No route is a loss like any other.
            Err(_) => self.count.lost_count += 1,
        }
    }

    /// Takes replies that are there, and gives up requests that are too old.
    fn collect(&mut self) {
        loop {
            match read_reply(&self.socket) {
                Ok((from, sequence)) if from == self.target && self.waiting.remove(&sequence).is_some() => {
                    self.note_gap();
                    self.last_reply = Instant::now();
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Queued ICMP errors (unreachable) are reported once each; the request they answer times out below.
                Err(_) => {}
            }
        }
        let before = self.waiting.len();
        self.waiting.retain(|_, sent| sent.elapsed() < PATIENCE);
        self.count.lost_count += (before - self.waiting.len()) as u64;
    }

    fn note_gap(&mut self) {
        self.count.longest_gap = self.count.longest_gap.max(self.last_reply.elapsed());
    }
}

fn ping_until(from: &str, targets: &[IpAddr], stop: &AtomicBool) -> io::Result<Vec<PingCount>> {
    let streams: io::Result<Vec<Stream>> = targets.iter().map(|target| Stream::new(from, *target)).collect();
    let mut streams = streams?;
    while !stop.load(Ordering::Relaxed) {
        let round = Instant::now();
        streams.iter_mut().for_each(Stream::send);
        while round.elapsed() < INTERVAL {
            std::thread::sleep(Duration::from_millis(2));
            streams.iter_mut().for_each(Stream::collect);
        }
    }
    let end = Instant::now();
    while streams.iter().any(|stream| !stream.waiting.is_empty()) && end.elapsed() < PATIENCE * 2 {
        std::thread::sleep(Duration::from_millis(2));
        streams.iter_mut().for_each(Stream::collect);
    }
    // Silence until the end counts, but not the time spent on waiting for late replies.
    Ok(streams
        .into_iter()
        .map(|mut stream| {
            let silence = end.saturating_duration_since(stream.last_reply);
            stream.count.longest_gap = stream.count.longest_gap.max(silence);
            stream.count
        })
        .collect())
}
