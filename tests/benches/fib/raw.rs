//! A loop that does nothing but send route requests: what the kernel itself takes, and all that a program could reach.
//!
//! Written as one would in C: messages are written into one buffer, two thousand per `send`, the last of which asks for
//! an acknowledgement; then that is read. No table, no bookkeeping, nobody who listens to changes.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, connect, recv, send, socket,
};

use crate::rates::{Kind, Op, prefix};

/// A request socket in the thread's namespace.
pub(crate) struct Raw {
    socket: OwnedFd,
}

const BATCH_LEN: usize = 2000;
const MESSAGE_LEN_MAX: usize = 64;

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const RTA_DST: u16 = 1;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_NH_ID: u16 = 30;

impl Raw {
    pub(crate) fn open() -> Result<Raw, Errno> {
        let protocol = SockProtocol::NetlinkRoute;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        connect(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Raw { socket })
    }

    /// Sends one request per index, in the order given.
    pub(crate) fn run(&self, op: Op, kind: Kind, indices: &[u32]) -> Result<(), Errno> {
        let mut buffer = Vec::with_capacity(BATCH_LEN * MESSAGE_LEN_MAX);
        let mut answer = [0; 8192];
        for batch in indices.chunks(BATCH_LEN) {
            buffer.clear();
            for (place, index) in batch.iter().enumerate() {
                let is_last = place + 1 == batch.len();
                put_message(&mut buffer, op, kind, *index, if is_last { NLM_F_ACK } else { 0 });
            }
            send(self.socket.as_raw_fd(), &buffer, MsgFlags::empty())?;
            let len = recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
            let code = answer[..len]
                .get(16..20)
                .map_or(-1, |code| i32::from_ne_bytes(code.try_into().unwrap_or([0; 4])));
            if code != 0 {
                return Err(Errno::from_raw(-code));
            }
        }
        Ok(())
    }
}

fn put_message(buffer: &mut Vec<u8>, op: Op, kind: Kind, index: u32, flags: u16) {
    let (message_type, verb, scope, route_type) = match op {
        Op::Delete => (RTM_DELROUTE, 0, 255, 0),
        Op::Install => (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, 0, 1),
        Op::Replace => (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, 0, 1),
    };
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&message_type.to_ne_bytes());
    buffer.extend_from_slice(&(verb | flags | NLM_F_REQUEST).to_ne_bytes());
    buffer.extend_from_slice(&index.to_ne_bytes());
    buffer.extend_from_slice(&[0; 4]);
    // struct rtmsg: family, lengths, tos, table main, protocol, scope, type, flags
    buffer.extend_from_slice(&[2, prefix(index).prefix_len(), 0, 0, 254, 12, scope, route_type, 0, 0, 0, 0]);
    put(buffer, RTA_DST, &prefix(index).addr().octets());
    put(buffer, RTA_PRIORITY, &1024_u32.to_ne_bytes());
    let is_second = is_via_second(index, op == Op::Replace);
    match kind {
        _ if op == Op::Delete => {}
        Kind::Gateway => put(buffer, RTA_GATEWAY, &gateway(is_second).octets()),
        Kind::NexthopObject => put(buffer, RTA_NH_ID, &nexthop_id(is_second).to_ne_bytes()),
    }
    let len = u32::try_from(buffer.len() - start).unwrap_or(0);
    buffer[start..start + 4].copy_from_slice(&len.to_ne_bytes());
}

fn put(buffer: &mut Vec<u8>, attribute_type: u16, value: &[u8; 4]) {
    buffer.extend_from_slice(&8_u16.to_ne_bytes());
    buffer.extend_from_slice(&attribute_type.to_ne_bytes());
    buffer.extend_from_slice(value);
}

/// Whether a route is over the second gateway. A replacement swaps the two: then neither loses all of its routes, which
/// `fib-sync` would do by one message, and every route is replaced.
pub(crate) fn is_via_second(index: u32, is_replaced: bool) -> bool {
    (index % 2 == 1) != is_replaced
}

/// One of the two gateways.
pub(crate) fn gateway(is_second: bool) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, if is_second { 3 } else { 2 })
}

/// The nexthop object of each.
pub(crate) fn nexthop_id(is_second: bool) -> u32 {
    if is_second { 8 } else { 7 }
}
