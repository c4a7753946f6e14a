//! The second socket: what others change.
//!
//! Our own changes are dropped by a filter inside the kernel, so that a full table of our own does not flood the
//! socket; their outcome is known from the request socket.

use std::io;

use netlink_sys::Socket;
use socket2::{SockFilter, SockRef};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::decode;
use super::socket::{failed, open_socket};
use super::wire::*;
use crate::error::FibError;
use crate::kernel::{Notice, Ownership};

const RECEIVE_BUFFER_LEN: usize = 16 * 1024 * 1024;
/// A notice is a few hundred bytes; a link with many attributes a few thousand.
const RECEIVE_LEN: usize = 32 * 1024;
/// How many datagrams one call reads before it hands over what it has.
const DATAGRAMS_MAX: usize = 256;
const GROUPS: [u32; 6] = [
    RTNLGRP_LINK,
    RTNLGRP_IPV4_IFADDR,
    RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV6_IFADDR,
    RTNLGRP_IPV6_ROUTE,
    RTNLGRP_NEXTHOP,
];

/// A socket that hears of changes, bound to the network namespace of the thread that made it.
pub(crate) struct Monitor {
    socket: AsyncFd<Socket>,
    ownership: Ownership,
    received: Vec<u8>,
    /// Notices are being lost: the kernel drops what comes until the buffer has been read empty, and says so once.
    is_overrun: bool,
}

impl Monitor {
    /// Opens the socket. Notices that carry `request_port` as their origin are not delivered.
    pub(crate) fn open(ownership: Ownership, request_port: u32) -> Result<Monitor, FibError> {
        Monitor::open_filtered(ownership, &without_origin(request_port))
    }

    /// Opens the socket for one who wants to know of other people's routes. Of ours it is told only what takes the place
    /// of another route.
    pub(crate) fn open_for_others(ownership: Ownership) -> Result<Monitor, FibError> {
        Monitor::open_filtered(ownership, &without_protocol(ownership.protocol))
    }

    fn open_filtered(ownership: Ownership, filter: &[SockFilter]) -> Result<Monitor, FibError> {
        let (socket, _) = open_socket(RECEIVE_BUFFER_LEN)?;
        SockRef::from(&socket).attach_filter(filter).map_err(|source| failed("attach a filter", source))?;
        for group in GROUPS {
            match socket.add_membership(group) {
                // A kernel without nexthop objects has no group for them.
                Err(_) if group == RTNLGRP_NEXTHOP => {}
                result => result.map_err(|source| failed("subscribe to changes", source))?,
            }
        }
        socket.set_non_blocking(true).map_err(|source| failed("make non-blocking", source))?;
        let socket = register(socket).map_err(|source| failed("register", source))?;
        Ok(Monitor { socket, ownership, received: Vec::with_capacity(RECEIVE_LEN), is_overrun: false })
    }

    /// Waits for changes and appends them to `notices`. Cancelling loses nothing.
    pub(crate) async fn notices(&mut self, notices: &mut Vec<Notice>) -> Result<(), FibError> {
        loop {
            let mut ready =
                self.socket.readable_mut().await.map_err(|source| failed("wait for changes", source))?;
            for _ in 0..DATAGRAMS_MAX {
                self.received.clear();
                match ready.get_inner_mut().recv(&mut self.received, 0) {
                    Ok(_) => {
                        let ownership = &self.ownership;
                        notices
                            .extend(messages(&self.received).filter_map(|m| decode::notice(&m, ownership)));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready.clear_ready();
                        // Not before now: whoever reads the kernel at once would miss what is lost after that.
                        if std::mem::take(&mut self.is_overrun) {
                            notices.push(Notice::Overrun);
                        }
                        break;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.is_overrun = true,
                    Err(error) => return Err(failed("receive changes", error)),
                }
            }
            if !notices.is_empty() {
                return Ok(());
            }
        }
    }
}

#[allow(unsafe_code)]
fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: `Socket` owns its descriptor and closes it only when dropped, which `AsyncFd` does after deregistering;
    // nothing here replaces or closes it before.
    unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }.map_err(io::Error::from)
}

// Classic BPF. Loads are in network byte order, the fields are not.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_SET: u16 = 0x45;
const RETURN: u16 = 0x06;
// Within `nlmsghdr` and, behind it, `rtmsg`.
const TYPE_OFFSET: u32 = 4;
const FLAGS_OFFSET: u32 = 6;
const PORT_OFFSET: u32 = 12;
const PROTOCOL_OFFSET: u32 = HEADER_LEN as u32 + 5;

/// Drops a datagram whose `nlmsg_pid` is `port`.
fn without_origin(port: u32) -> [SockFilter; 4] {
    [
        SockFilter::new(LOAD_WORD, 0, 0, PORT_OFFSET),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, port.to_be()),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

/// Drops a datagram about a route of `protocol`, unless that took the place of another one.
fn without_protocol(protocol: u8) -> [SockFilter; 9] {
    let half = |value: u16| u32::from(value.to_be());
    [
        SockFilter::new(LOAD_HALF, 0, 0, TYPE_OFFSET),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, half(RTM_NEWROUTE)),
        SockFilter::new(JUMP_IF_EQUAL, 0, 5, half(RTM_DELROUTE)),
        SockFilter::new(LOAD_BYTE, 0, 0, PROTOCOL_OFFSET),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, u32::from(protocol)),
        SockFilter::new(LOAD_HALF, 0, 0, FLAGS_OFFSET),
        SockFilter::new(JUMP_IF_SET, 1, 0, half(NLM_F_REPLACE)),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}
