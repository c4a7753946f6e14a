//! One BGP session of the generator: bytes encoded beforehand go out, UPDATEs come in and are counted.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};

use super::table::{Held, Table};
use crate::raw_peer::BGP_PORT;
use crate::wire::{self, HEADER_LENGTH, Open};

/// Seconds; the same for every daemon.
pub const HOLD_TIME_SECS: u16 = 90;

/// The AS of everybody.
pub const ASN: u32 = 64512;

/// Bytes that are written before others get their turn.
const WRITE_TURN: usize = 1 << 20;

/// How fast a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// All there is.
    Full,
    /// So many bytes a second.
    Limited(usize),
    /// Nothing.
    Stopped,
}

/// How far the session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No connection.
    Down,
    /// TCP is on its way.
    Connecting,
    /// Our OPEN is sent.
    OpenSent,
    /// Theirs came.
    OpenConfirm,
    /// Routes may flow.
    Established,
}

/// One session.
pub(crate) struct Client {
    pub(crate) index: u16,
    pub(crate) address: Ipv4Addr,
    pub(crate) state: State,
    /// Whether there should be a session.
    pub(crate) is_wanted: bool,
    pub(crate) held: Held,
    pub(crate) pace: Pace,
    /// Size of the socket's receive buffer, where the kernel must not choose it.
    pub(crate) receive_buffer: Option<usize>,
    /// Bytes of messages received.
    pub(crate) byte_count: u64,
    pub(crate) update_count: u64,
    /// Sent once per session, as soon as it is up.
    pub(crate) greeting: Option<Arc<[u8]>>,
    pub(crate) stream: Option<TcpStream>,
    /// The beginning of a message whose end has not come.
    partial: Vec<u8>,
    /// What is left to send of each.
    outgoing: VecDeque<(Arc<[u8]>, Range<usize>)>,
    last_sent: Instant,
    /// What the epoll was told.
    interest: EpollFlags,
}

impl Client {
    pub(crate) fn new(index: u16, address: Ipv4Addr) -> Client {
        Client {
            index,
            address,
            state: State::Down,
            is_wanted: false,
            held: Held::default(),
            pace: Pace::Full,
            receive_buffer: None,
            byte_count: 0,
            update_count: 0,
            greeting: None,
            stream: None,
            partial: Vec::new(),
            outgoing: VecDeque::new(),
            last_sent: Instant::now(),
            interest: EpollFlags::empty(),
        }
    }

    /// Begins a connection from the client's own address.
    pub(crate) fn connect(&mut self, remote: Ipv4Addr) -> Result<(), Errno> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket: OwnedFd = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
        if let Some(size) = self.receive_buffer {
            setsockopt(&socket, sockopt::RcvBuf, &size)?;
        }
        let [a, b, c, d] = self.address.octets();
        bind(socket.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0))?;
        let [a, b, c, d] = remote.octets();
        match connect(socket.as_raw_fd(), &SockaddrIn::new(a, b, c, d, BGP_PORT)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(errno) => return Err(errno),
        }
        self.state = State::Connecting;
        self.partial.clear();
        self.outgoing.clear();
        self.interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
        self.stream = Some(TcpStream::from(socket));
        Ok(())
    }

    /// What to register the new connection with.
    pub(crate) fn event(&self) -> EpollEvent {
        EpollEvent::new(self.interest, u64::from(self.index))
    }

    /// Forgets the connection, which closes it.
    pub(crate) fn disconnect(&mut self) {
        self.stream = None;
        self.state = State::Down;
        self.outgoing.clear();
    }

    /// Queues bytes and sends what the socket takes.
    pub(crate) fn send(&mut self, bytes: Arc<[u8]>) -> io::Result<()> {
        let all = 0..bytes.len();
        self.send_part(bytes, all)
    }

    /// The same with some of the bytes.
    pub(crate) fn send_part(&mut self, bytes: Arc<[u8]>, part: Range<usize>) -> io::Result<()> {
        self.outgoing.push_back((bytes, part));
        self.flush()
    }

    pub(crate) fn has_unsent(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// The registration that its queue and pace ask for, if it is another than before.
    pub(crate) fn take_new_interest(&mut self) -> Option<EpollEvent> {
        let mut wanted = EpollFlags::empty();
        wanted.set(EpollFlags::EPOLLIN, self.pace == Pace::Full);
        wanted.set(EpollFlags::EPOLLOUT, self.has_unsent() || self.state == State::Connecting);
        if wanted == self.interest {
            return None;
        }
        self.interest = wanted;
        Some(self.event())
    }

    /// Does what its socket is ready for.
    pub(crate) fn handle(
        &mut self,
        flags: EpollFlags,
        table: &mut Table,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        if self.state == State::Connecting {
            let Some(stream) = &self.stream else { return Ok(()) };
            match stream.take_error()? {
                Some(error) => return Err(error),
                None if stream.peer_addr().is_err() => return Ok(()),
                None => {
                    self.state = State::OpenSent;
                    let open = Open {
                        capabilities: vec![
                            (1, vec![0, 1, 0, 1]),
                            (2, Vec::new()),
                            (65, ASN.to_be_bytes().to_vec()),
                        ],
                        ..Open::new(ASN, self.address, HOLD_TIME_SECS)
                    };
                    self.send(open.encode().into())?;
                }
            }
        }
        if flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            self.receive(table, buffer)?;
        }
        if flags.contains(EpollFlags::EPOLLOUT) {
            self.flush()?;
        }
        Ok(())
    }

    /// Bytes of a message whose end has not come; they need room in the buffer before what is new.
    pub(crate) fn partial_len(&self) -> usize {
        self.partial.len()
    }

    /// Reads once, at most the buffer, and takes the messages out.
    pub(crate) fn receive(&mut self, table: &mut Table, buffer: &mut [u8]) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let kept = self.partial.len();
        buffer[..kept].copy_from_slice(&self.partial);
        let count = match stream.read(&mut buffer[kept..]) {
            Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        self.byte_count += count as u64;
        let mut rest = &buffer[..kept + count];
        while let Some(header) = rest.first_chunk::<HEADER_LENGTH>() {
            let length = usize::from(u16::from_be_bytes([header[16], header[17]])).max(HEADER_LENGTH);
            let Some((message, behind)) = rest.split_at_checked(length) else { break };
            rest = behind;
            if header[18] == wire::UPDATE {
                self.update_count += 1;
                table.apply(self.index, &mut self.held, &message[HEADER_LENGTH..]);
            } else {
                self.handle_message(header[18], &message[HEADER_LENGTH..])?;
            }
        }
        self.partial.clear();
        self.partial.extend(rest);
        Ok(())
    }

    fn handle_message(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        match (self.state, kind) {
            (State::OpenSent, wire::OPEN) => {
                self.state = State::OpenConfirm;
                self.send(wire::keepalive().into())
            }
            (State::OpenConfirm, wire::KEEPALIVE) => {
                self.state = State::Established;
                self.greeting.clone().map_or(Ok(()), |routes| self.send(routes))
            }
            (_, wire::NOTIFICATION) => {
                let code = body.get(..2).unwrap_or_default();
                Err(io::Error::other(format!("NOTIFICATION {code:?}")))
            }
            _ => Ok(()),
        }
    }

    /// Sends a KEEPALIVE when it is due.
    pub(crate) fn keep_alive(&mut self, now: Instant) -> io::Result<()> {
        let interval = Duration::from_secs(u64::from(HOLD_TIME_SECS) / 3);
        let is_due = now.saturating_duration_since(self.last_sent) >= interval;
        if is_due && self.state == State::Established && !self.has_unsent() {
            return self.send(wire::keepalive().into());
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let mut turn = 0;
        while let Some((bytes, left)) = self.outgoing.front_mut() {
            match stream.write(&bytes[left.clone()]) {
                Ok(count) => {
                    left.start += count;
                    turn += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            if left.start == left.end {
                self.outgoing.pop_front();
            }
            if turn >= WRITE_TURN {
                break;
            }
        }
        if turn > 0 {
            self.last_sent = Instant::now();
        }
        Ok(())
    }
}
