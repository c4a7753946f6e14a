//! A thousand raw clients on one thread: the load generator of the scale test.
//!
//! Every client is a session of its own from an address of its own, made of bytes encoded beforehand, driven by one
//! `epoll` loop. Received routes are one bit each: the generator must cost less than what it measures.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};

use crate::error::LabError;
use crate::netns::Namespace;
use crate::raw_peer::BGP_PORT;
use crate::seen::SeenRoute;
use crate::wire::{self, HEADER_LENGTH, Open};

/// What the load looks like.
#[derive(Clone, Debug)]
pub struct Load {
    /// The AS of everybody.
    pub asn: u32,
    /// The reflector.
    pub remote: Ipv4Addr,
    /// The addresses of the clients; they must exist in the namespace.
    pub clients: Vec<Ipv4Addr>,
    /// How many prefixes each client announces, at most 256.
    pub prefixes_per_client: usize,
}

/// How it went.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// From the first connection to the last session that is up.
    pub all_up: Duration,
    /// From the first connection to the last client that holds every other client's prefixes.
    pub converged: Duration,
    /// Announcements received, over all clients, with repeats.
    pub announcement_count: u64,
}

/// One client.
struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    to_send: VecDeque<u8>,
    state: State,
    /// Prefixes of other clients that are announced and not withdrawn.
    held: Held,
    last_sent: Instant,
    open: Vec<u8>,
    routes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    OpenSent,
    OpenConfirm,
    Established,
}

/// A set of the load's prefixes, one bit each.
struct Held {
    bits: Vec<u64>,
    count: usize,
    announcement_count: u64,
}

impl Held {
    /// Room for every prefix of `client_count` clients.
    fn new(client_count: usize) -> Held {
        Held { bits: vec![0; client_count * PREFIXES_MAX / 64], count: 0, announcement_count: 0 }
    }

    fn set(&mut self, number: usize, is_held: bool) {
        let Some(word) = self.bits.get_mut(number / 64) else { return };
        let mask = 1 << (number % 64);
        match (*word & mask != 0, is_held) {
            (false, true) => self.count += 1,
            (true, false) => self.count -= 1,
            _ => {}
        }
        *word = if is_held { *word | mask } else { *word & !mask };
    }
}

/// Prefixes that one client can announce.
const PREFIXES_MAX: usize = 256;

const HOLD_TIME_SECS: u16 = 90;

/// The `index`th prefix of the `client`th client: distinct /28 networks below 11.0.0.0/8, numbered in that order.
fn prefix_of(client: usize, index: usize) -> IpNet {
    let number = u32::try_from(client * PREFIXES_MAX + index).expect("a few hundred thousand prefixes");
    let address = Ipv4Addr::from((11 << 24) | (number << 4));
    IpNet::V4(Ipv4Net::new(address, 28).expect("28 is a length"))
}

impl Load {
    /// Runs the load inside a namespace until every client holds what it should, or `limit` has passed.
    ///
    /// # Errors
    /// [`LabError::Timeout`] with how far it came, or [`LabError::Unexpected`] if a session was refused or lost.
    pub fn run(&self, namespace: &Namespace, limit: Duration) -> Result<Outcome, LabError> {
        raise_file_limit(self.clients.len() as u64 + 64);
        namespace.run(|| self.run_here(limit))?
    }

    fn run_here(&self, limit: Duration) -> Result<Outcome, LabError> {
        let start = Instant::now();
        let failed = |what: &'static str| {
            move |errno: Errno| LabError::Io { doing: what.into(), source: errno.into() }
        };
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed("making an epoll"))?;
        let mut clients = Vec::with_capacity(self.clients.len());
        for (index, address) in self.clients.iter().enumerate() {
            let client = self.connect(index, *address).map_err(failed("connecting a client"))?;
            let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
            epoll.add(&client.stream, EpollEvent::new(interest, index as u64)).map_err(failed("epoll"))?;
            clients.push(client);
        }
        let wanted_each = (self.clients.len() - 1) * self.prefixes_per_client;
        let (mut up_count, mut done_count, mut all_up) = (0, 0, Duration::ZERO);
        let mut last_check = start;
        let mut events = vec![EpollEvent::empty(); 256];
        while done_count < clients.len() {
            if start.elapsed() > limit {
                return Err(self.too_late(&clients, start.elapsed(), wanted_each));
            }
            let ready = match epoll.wait(&mut events, EpollTimeout::from(100_u8)) {
                Ok(count) => count,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(failed("waiting for clients")(errno)),
            };
            for event in &events[..ready] {
                let index = usize::try_from(event.data()).expect("an index that was a usize");
                let client = &mut clients[index];
                let (was_up, was_done) =
                    (client.state == State::Established, client.held.count >= wanted_each);
                client.handle().map_err(|error| self.lost(index, &error))?;
                up_count += usize::from(client.state == State::Established && !was_up);
                done_count += usize::from(client.held.count >= wanted_each && !was_done);
                if up_count == self.clients.len() && all_up.is_zero() {
                    all_up = start.elapsed();
                }
            }
            if last_check.elapsed() > Duration::from_secs(1) {
                last_check = Instant::now();
                for (index, client) in clients.iter_mut().enumerate() {
                    client.keep_alive().map_err(|error| self.lost(index, &error))?;
                }
            }
        }
        let announcement_count = clients.iter().map(|client| client.held.announcement_count).sum();
        Ok(Outcome { all_up, converged: start.elapsed(), announcement_count })
    }

    fn connect(&self, index: usize, address: Ipv4Addr) -> Result<Client, Errno> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket: OwnedFd = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        let [a, b, c, d] = address.octets();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
        bind(fd, &SockaddrIn::new(a, b, c, d, 0))?;
        let [a, b, c, d] = self.remote.octets();
        match connect(fd, &SockaddrIn::new(a, b, c, d, BGP_PORT)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(errno) => return Err(errno),
        }
        let routes = (0..self.prefixes_per_client).flat_map(|number| {
            let mut route = SeenRoute::new(prefix_of(index, number));
            route.next_hop = Some(IpAddr::V4(address));
            route.local_pref = Some(100);
            wire::announce(&route)
        });
        Ok(Client {
            stream: TcpStream::from(socket),
            received: Vec::new(),
            to_send: VecDeque::new(),
            state: State::Connecting,
            held: Held::new(self.clients.len()),
            last_sent: Instant::now(),
            open: Open::new(self.asn, address, HOLD_TIME_SECS).encode(),
            routes: routes.collect(),
        })
    }

    fn lost(&self, index: usize, error: &io::Error) -> LabError {
        LabError::Unexpected {
            what: format!("the session of client {}", self.clients[index]),
            expected: "a session that stays up".into(),
            seen: error.to_string(),
        }
    }

    fn too_late(&self, clients: &[Client], after: Duration, wanted_each: usize) -> LabError {
        let up = clients.iter().filter(|client| client.state == State::Established).count();
        let done = clients.iter().filter(|client| client.held.count >= wanted_each).count();
        let held: usize = clients.iter().map(|client| client.held.count).sum();
        LabError::Timeout {
            what: format!("{} clients to hold {wanted_each} prefixes each", clients.len()),
            after,
            last_seen: format!("{up} sessions up, {done} clients complete, {held} prefixes held"),
        }
    }
}

impl Client {
    /// Does all that is possible without waiting.
    fn handle(&mut self) -> io::Result<()> {
        if self.state == State::Connecting {
            match self.stream.take_error()? {
                Some(error) => return Err(error),
                None if self.stream.peer_addr().is_err() => return Ok(()),
                None => {
                    self.state = State::OpenSent;
                    self.to_send.extend(std::mem::take(&mut self.open));
                }
            }
        }
        let mut chunk = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
                Ok(count) => {
                    self.received.extend(&chunk[..count]);
                    self.take_messages()?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.flush()
    }

    fn take_messages(&mut self) -> io::Result<()> {
        let mut start = 0;
        while let Some(header) = self.received[start..].first_chunk::<HEADER_LENGTH>() {
            let length = usize::from(u16::from_be_bytes([header[16], header[17]])).max(HEADER_LENGTH);
            let kind = header[18];
            let Some(message) = self.received[start..].get(..length) else { break };
            if kind == wire::UPDATE {
                note_prefixes(&message[HEADER_LENGTH..], &mut self.held);
            }
            let notification =
                (kind == wire::NOTIFICATION).then(|| format!("{:?}", &message[HEADER_LENGTH..]));
            self.handle_message(kind, notification)?;
            start += length;
        }
        self.received.drain(..start);
        Ok(())
    }

    fn handle_message(&mut self, kind: u8, notification: Option<String>) -> io::Result<()> {
        match (self.state, kind) {
            (State::OpenSent, wire::OPEN) => {
                self.to_send.extend(wire::keepalive());
                self.state = State::OpenConfirm;
            }
            (State::OpenConfirm, wire::KEEPALIVE) => {
                self.to_send.extend(std::mem::take(&mut self.routes));
                self.state = State::Established;
            }
            (_, wire::NOTIFICATION) => {
                return Err(io::Error::other(format!("NOTIFICATION {}", notification.unwrap_or_default())));
            }
            _ => {}
        }
        Ok(())
    }

    fn keep_alive(&mut self) -> io::Result<()> {
        let is_due = self.last_sent.elapsed() > Duration::from_secs(u64::from(HOLD_TIME_SECS) / 3);
        if self.state == State::Established && is_due {
            self.to_send.extend(wire::keepalive());
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.to_send.is_empty() {
            let (front, _) = self.to_send.as_slices();
            match self.stream.write(front) {
                Ok(count) => drop(self.to_send.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            self.last_sent = Instant::now();
        }
        Ok(())
    }
}

/// Notes the IPv4 prefixes that the body of an UPDATE announces and withdraws, without looking at attributes.
fn note_prefixes(body: &[u8], held: &mut Held) {
    let sized =
        |bytes: &[u8]| bytes.first_chunk::<2>().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
    let withdrawn_length = sized(body);
    let Some(rest) = body.get(2 + withdrawn_length..) else { return };
    for number in prefix_numbers(&body[2..2 + withdrawn_length]) {
        held.set(number, false);
    }
    for number in prefix_numbers(rest.get(2 + sized(rest)..).unwrap_or_default()) {
        held.set(number, true);
        held.announcement_count += 1;
    }
}

/// The numbers of the load's prefixes in a field of NLRI; others are passed over.
fn prefix_numbers(mut bytes: &[u8]) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        loop {
            let (length, rest) = bytes.split_first()?;
            let size = usize::from(*length).div_ceil(8);
            bytes = rest.get(size..).unwrap_or_default();
            if let (28, Some([11, b, c, d])) = (*length, rest.get(..size)) {
                return Some(usize::from(*b) << 12 | usize::from(*c) << 4 | usize::from(*d) >> 4);
            }
        }
    })
}

/// Lets this process, and the daemon that it starts, have enough sockets.
pub fn raise_file_limit(wanted: u64) {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < wanted
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_an_update_are_noted() {
        let mut route = SeenRoute::new(prefix_of(3, 4));
        route.next_hop = Some("10.0.0.1".parse().unwrap());
        let mut held = Held::new(4);
        for _ in 0..2 {
            note_prefixes(&wire::announce(&route)[HEADER_LENGTH..], &mut held);
            assert_eq!(held.count, 1, "a repeat changes nothing");
        }
        assert_ne!(held.bits[(3 * PREFIXES_MAX + 4) / 64], 0, "it is the fourth prefix of the third client");
        note_prefixes(&wire::withdraw(route.prefix)[HEADER_LENGTH..], &mut held);
        assert_eq!((held.count, held.announcement_count), (0, 2));
        note_prefixes(&[0], &mut held);
    }
}
