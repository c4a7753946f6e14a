//! The request socket: batches out, refusals back, dumps.
//!
//! The kernel carries a batch out inside the `send` call, so when that returns every answer is already in the receive
//! buffer: nothing here waits for an acknowledgement that could be lost.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr};
use socket2::SockRef;

use super::wire::*;
use super::{decode, encode, nexthop};
use crate::error::{FibError, Refusal};
use crate::kernel::{
    Address, Connected, Kernel, KernelNexthop, Link, Lost, Op, Others, OwnedRoute, Ownership, Reading,
    Refusals, Scope, Snapshot,
};

/// One send stays below the default send buffer (208 KiB) with room for the kernel's own bookkeeping.
const SEND_LEN_MAX: usize = 128 * 1024;
/// The kernel fills at most 32 KiB per answer of a dump.
const RECEIVE_LEN: usize = 64 * 1024;
/// Room for refusals of a whole batch; about 1 KiB of accounting each.
const RECEIVE_BUFFER_LEN: usize = 8 * 1024 * 1024;
/// A kernel that is silent for this long in the middle of a dump has lost the dump.
const DUMP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an interrupted dump is begun again at once. After that it is the planner's to say when.
const DUMP_ATTEMPTS: usize = 3;
/// A bound for reading away old answers; a full buffer holds fewer.
const DISCARDS_MAX: usize = 1 << 20;

/// A socket for requests, bound to the network namespace of the thread that made it.
pub(crate) struct RouteSocket {
    pub(super) socket: Socket,
    port: u32,
    ownership: Ownership,
    sequence: u32,
    encoder: encode::Encoder,
    pub(super) request: Writer,
    pub(super) received: Vec<u8>,
}

impl RouteSocket {
    /// Opens the socket and makes sure that this process may change routes.
    pub(crate) fn open(ownership: Ownership) -> Result<RouteSocket, FibError> {
        let mut socket = RouteSocket::open_to_read(ownership)?;
        socket.check_permission()?;
        Ok(socket)
    }

    /// Opens the socket for one who only looks.
    pub(crate) fn open_to_read(ownership: Ownership) -> Result<RouteSocket, FibError> {
        let (socket, port) = open_socket(RECEIVE_BUFFER_LEN)?;
        // Older kernels know none of these three; then refusals have no text and dumps are filtered here.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        socket.connect(&SocketAddr::new(0, 0)).map_err(|source| failed("connect to the kernel", source))?;
        SockRef::from(&socket)
            .set_read_timeout(Some(DUMP_TIMEOUT))
            .map_err(|source| failed("set a time limit", source))?;
        Ok(RouteSocket {
            socket,
            port,
            ownership,
            sequence: 0,
            encoder: encode::Encoder::new(ownership),
            request: Writer::default(),
            received: Vec::with_capacity(RECEIVE_LEN),
        })
    }

    /// The port id that the kernel puts into notices about what this socket did.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    fn check_permission(&mut self) -> Result<(), FibError> {
        match self.delete_nothing() {
            Err(Lost::Failed(error)) => Err(error),
            Ok(refusals) if refusals.iter().any(|(_, refusal)| refusal.errno == libc::EPERM) => {
                Err(FibError::NotPermitted)
            }
            _ => Ok(()),
        }
    }

    /// Waits until changes that have been announced are complete. The kernel tells of an interface that goes down
    /// *before* it removes the routes, both under one lock, and a dump takes no lock; a change does.
    fn wait_for_writers(&mut self) -> Result<(), Lost> {
        self.discard_answers()?;
        self.delete_nothing().map(|_| ())
    }

    fn delete_nothing(&mut self) -> Result<Refusals, Lost> {
        let sequence = self.next_sequences(1);
        encode::delete_nothing(&mut self.encoder, sequence);
        send(&self.socket, self.encoder.bytes()).map_err(|source| Lost::Failed(failed("send", source)))?;
        let mut refusals = Refusals::new();
        self.collect(sequence, 1, 0, &mut refusals)?;
        Ok(refusals)
    }

    /// Reads what an earlier request that came to a bad end has left behind.
    fn discard_answers(&mut self) -> Result<(), Lost> {
        for _ in 0..DISCARDS_MAX {
            self.received.clear();
            match self.socket.recv(&mut self.received, libc::MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                _ => {}
            }
        }
        Err(Lost::Overrun)
    }

    pub(super) fn next_sequences(&mut self, count: usize) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count as u32);
        first
    }

    /// Sends `ops[from..]` in as few pieces as fit.
    fn execute_from(&mut self, ops: &[Op], refusals: &mut Refusals) -> Result<(), Lost> {
        let mut done = 0;
        let mut len_max = SEND_LEN_MAX;
        while done < ops.len() {
            let rest = &ops[done..];
            let first = self.sequence.wrapping_add(1);
            let count = self.encoder.encode_batch(rest, first, len_max);
            self.next_sequences(count);
            match send(&self.socket, self.encoder.bytes()) {
                Ok(()) => self.collect(first, count, done, refusals)?,
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) && count > 1 => {
                    len_max = self.encoder.bytes().len() / 2;
                    continue;
                }
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    refusals.push((done, Refusal::new(libc::EMSGSIZE)));
                }
                Err(error) => return Err(Lost::Failed(failed("send", error))),
            }
            done += count;
        }
        Ok(())
    }

    /// Reads answers until that to the last of `count` requests. Positions are offset by `position`.
    fn collect(
        &mut self,
        first: u32,
        count: usize,
        position: usize,
        refusals: &mut Refusals,
    ) -> Result<(), Lost> {
        loop {
            receive(&self.socket, &mut self.received, libc::MSG_DONTWAIT)?;
            for message in messages(&self.received) {
                let index = message.sequence.wrapping_sub(first) as usize;
                if message.message_type != NLMSG_ERROR || index >= count {
                    continue;
                }
                if let Some(refusal) = decode::refusal(&message) {
                    refusals.push((position + index, refusal));
                }
                if index == count - 1 {
                    return Ok(());
                }
            }
        }
    }

    /// Sends the dump request in `self.request` and hands each message of the answer to `take`.
    pub(super) fn dump_messages(
        &mut self,
        sequence: u32,
        mut take: impl FnMut(&Message<'_>),
    ) -> Result<(), DumpEnd> {
        send(&self.socket, self.request.bytes())
            .map_err(|source| DumpEnd::Lost(Lost::Failed(failed("send", source))))?;
        let mut is_interrupted = false;
        loop {
            receive(&self.socket, &mut self.received, 0).map_err(DumpEnd::Lost)?;
            for message in messages(&self.received) {
                if message.sequence != sequence {
                    continue;
                }
                is_interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                if matches!(message.message_type, NLMSG_DONE | NLMSG_ERROR) {
                    return match decode::refusal(&message) {
                        Some(refusal) => Err(DumpEnd::Refused(refusal)),
                        None if is_interrupted => Err(DumpEnd::Lost(Lost::Interrupted)),
                        None => Ok(()),
                    };
                }
                take(&message);
            }
        }
    }

    fn dump_links(&mut self) -> Result<Vec<Link>, Lost> {
        let sequence = self.next_sequences(1);
        encode::dump_links(&mut self.request, sequence);
        let mut links = Vec::new();
        self.dump_messages(sequence, |message| {
            if message.message_type == RTM_NEWLINK {
                links.extend(decode::link(message.payload));
            }
        })
        .map_err(|end| end.or_refused("list interfaces"))?;
        Ok(links)
    }

    fn dump_addresses(&mut self) -> Result<Vec<Address>, Lost> {
        let sequence = self.next_sequences(1);
        encode::dump_addresses(&mut self.request, sequence);
        let mut addresses = Vec::new();
        self.dump_messages(sequence, |message| {
            if message.message_type == RTM_NEWADDR {
                addresses.extend(decode::address(message.payload));
            }
        })
        .map_err(|end| end.or_refused("list addresses"))?;
        Ok(addresses)
    }

    pub(super) fn dump_nexthops(&mut self) -> Result<Option<Vec<KernelNexthop>>, Lost> {
        let sequence = self.next_sequences(1);
        nexthop::encode_dump(&mut self.request, sequence);
        let mut nexthops = Vec::new();
        let end = self.dump_messages(sequence, |message| {
            if message.message_type == RTM_NEWNEXTHOP {
                nexthops.extend(nexthop::decode(message.payload));
            }
        });
        match end {
            Ok(()) => Ok(Some(nexthops)),
            // Before Linux 5.3 there are none, and the request is not known.
            Err(DumpEnd::Refused(refusal)) if matches!(refusal.errno, libc::EOPNOTSUPP | libc::EINVAL) => {
                Ok(None)
            }
            Err(end) => Err(end.or_refused("list nexthop objects")),
        }
    }

    /// `protocol` 0: of all.
    fn dump_routes(
        &mut self,
        table: u32,
        protocol: u8,
        mut take: impl FnMut(decode::DecodedRoute),
    ) -> Result<(), Lost> {
        for family in [AF_INET, AF_INET6] {
            let sequence = self.next_sequences(1);
            encode::dump_routes(&mut self.request, family, table, protocol, sequence);
            let end = self.dump_messages(sequence, |message| {
                if message.message_type != RTM_NEWROUTE {
                    return;
                }
                // Checked again: a kernel without strict dumps (before 4.20) answers with everything.
                match decode::route(message.payload) {
                    Some(route) if route.table == table && (protocol == 0 || route.protocol == protocol) => {
                        take(route);
                    }
                    _ => {}
                }
            });
            match end {
                Ok(()) => {}
                // A table comes into being with its first route; a family may be switched off.
                Err(DumpEnd::Refused(refusal))
                    if matches!(refusal.errno, libc::ENOENT | libc::EAFNOSUPPORT) => {}
                Err(end) => return Err(end.or_refused("list routes")),
            }
        }
        Ok(())
    }

    fn snapshot(&mut self, reading: &Reading) -> Result<Snapshot, Lost> {
        let begin = thread_cpu_time();
        let ownership = self.ownership;
        let ways = self.ways(&reading.gateways, &ownership)?;
        if reading.scope == Scope::Gateways {
            let cost = thread_cpu_time().saturating_sub(begin);
            return Ok(Snapshot { ways, cost, ..Snapshot::default() });
        }
        let links = self.dump_links()?;
        let mut connected = Vec::new();
        self.dump_routes(RT_TABLE_MAIN, RTPROT_KERNEL, |route| {
            if let [hop] = route.content.hops.as_slice()
                && hop.gateway.is_none()
            {
                connected.push(Connected { prefix: route.prefix, interface: hop.interface });
            }
        })?;
        let nexthops = self.dump_nexthops()?;
        let routes = match reading.scope {
            Scope::Gateways | Scope::Environment => None,
            Scope::Full => {
                let by_id: HashMap<u32, &KernelNexthop> =
                    nexthops.iter().flatten().map(|nexthop| (nexthop.id, nexthop)).collect();
                let mut collector = decode::RouteCollector::default();
                let mut routes = Vec::new();
                self.dump_routes(ownership.table, ownership.protocol, |mut route| {
                    if route.content.nexthop_id != 0 {
                        route.content.hops = decode::expand(route.content.nexthop_id, &by_id);
                    }
                    routes.push(collector.collect(route));
                })?;
                Some(routes)
            }
        };
        let cost = thread_cpu_time().saturating_sub(begin);
        Ok(Snapshot { ways, links, connected, nexthops, routes, cost })
    }

    fn others(&mut self) -> Result<Others, Lost> {
        let begin = thread_cpu_time();
        let Ownership { table, protocol, .. } = self.ownership;
        let links = self.dump_links()?;
        let addresses = self.dump_addresses()?;
        let nexthops = self.dump_nexthops()?.unwrap_or_default();
        let by_id: HashMap<u32, &KernelNexthop> =
            nexthops.iter().map(|nexthop| (nexthop.id, nexthop)).collect();
        let mut collector = decode::RouteCollector::default();
        let mut routes = Vec::new();
        self.dump_routes(table, 0, |mut route| {
            if matches!(route.protocol, RTPROT_UNSPEC | RTPROT_KERNEL) || route.protocol == protocol {
                return;
            }
            if route.content.nexthop_id != 0 {
                route.content.hops = decode::expand(route.content.nexthop_id, &by_id);
            }
            routes.push(OwnedRoute { protocol: route.protocol, route: collector.collect(route) });
        })?;
        Ok(Others { links, addresses, routes, cost: thread_cpu_time().saturating_sub(begin) })
    }

    /// What others have in the table. Blocks for as long as that takes.
    pub(crate) fn read_others(&mut self) -> Result<Others, Lost> {
        self.wait_for_writers()?;
        for _ in 1..DUMP_ATTEMPTS {
            match self.others() {
                Err(Lost::Interrupted) => {}
                end => return end,
            }
        }
        self.others()
    }
}

impl Kernel for RouteSocket {
    fn execute(&mut self, batch: &[Op]) -> Result<Refusals, Lost> {
        let mut refusals = Refusals::new();
        self.execute_from(batch, &mut refusals)?;
        Ok(refusals)
    }

    fn read(&mut self, reading: &Reading) -> Result<Snapshot, Lost> {
        self.wait_for_writers()?;
        for _ in 1..DUMP_ATTEMPTS {
            match self.snapshot(reading) {
                Err(Lost::Interrupted) => {}
                end => return end,
            }
        }
        self.snapshot(reading)
    }
}

pub(super) enum DumpEnd {
    Lost(Lost),
    Refused(Refusal),
}

impl DumpEnd {
    pub(super) fn or_refused(self, request: &'static str) -> Lost {
        match self {
            DumpEnd::Lost(lost) => lost,
            DumpEnd::Refused(refusal) => Lost::Failed(FibError::Kernel { request, refusal }),
        }
    }
}

pub(super) fn failed(what: &'static str, source: io::Error) -> FibError {
    FibError::Socket { what, source }
}

/// A bound route socket with a large receive buffer, and its port id.
pub(super) fn open_socket(receive_buffer_len: usize) -> Result<(Socket, u32), FibError> {
    let mut socket = Socket::new(libc::NETLINK_ROUTE as isize).map_err(|source| failed("open", source))?;
    let address = socket.bind_auto().map_err(|source| failed("bind", source))?;
    force_receive_buffer(&socket, receive_buffer_len);
    Ok((socket, address.port_number()))
}

/// Raises the receive buffer beyond `net.core.rmem_max`, which is far too small for a burst of routes. Without the
/// privilege the ordinary limit holds; overruns are then more frequent, and are handled.
#[allow(unsafe_code)]
fn force_receive_buffer(socket: &Socket, len: usize) {
    use std::os::fd::AsRawFd;
    let len = libc::c_int::try_from(len).unwrap_or(libc::c_int::MAX);
    // SAFETY: the descriptor is open for as long as `socket` lives, and the pointer and length describe one c_int.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            std::ptr::from_ref(&len).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result != 0 {
        let _ = SockRef::from(socket).set_recv_buffer_size(len as usize);
    }
}

/// Processor time of this thread since it began.
#[allow(unsafe_code)]
fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours that outlives the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    if result != 0 {
        return Duration::ZERO;
    }
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

pub(super) fn send(socket: &Socket, bytes: &[u8]) -> io::Result<()> {
    loop {
        match socket.send(bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
    }
}

/// Reads one datagram into `buffer`, replacing what it held.
pub(super) fn receive(socket: &Socket, buffer: &mut Vec<u8>, flags: libc::c_int) -> Result<(), Lost> {
    loop {
        buffer.clear();
        match socket.recv(buffer, flags) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Err(Lost::Overrun),
            // Every answer is there when `send` returns: a missing one did not fit.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Lost::Overrun),
            Err(error) => return Err(Lost::Failed(failed("receive", error))),
            Ok(_) => return Ok(()),
        }
    }
}
