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
}

impl Monitor {
    /// Opens the socket. Notices that carry `request_port` as their origin are not delivered.
    pub(crate) fn open(ownership: Ownership, request_port: u32) -> Result<Monitor, FibError> {
        let (socket, _) = open_socket(RECEIVE_BUFFER_LEN)?;
        SockRef::from(&socket)
            .attach_filter(&without_origin(request_port))
            .map_err(|source| failed("attach a filter", source))?;
        for group in GROUPS {
            match socket.add_membership(group) {
                // A kernel without nexthop objects has no group for them.
                Err(_) if group == RTNLGRP_NEXTHOP => {}
                result => result.map_err(|source| failed("subscribe to changes", source))?,
            }
        }
        socket.set_non_blocking(true).map_err(|source| failed("make non-blocking", source))?;
        let socket = register(socket).map_err(|source| failed("register", source))?;
        Ok(Monitor { socket, ownership, received: Vec::with_capacity(RECEIVE_LEN) })
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
                        break;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                        notices.push(Notice::Overrun)
                    }
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

/// Classic BPF: drop a datagram whose `nlmsg_pid` is `port`. Loads are in network byte order, the field is not.
fn without_origin(port: u32) -> [SockFilter; 4] {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const PORT_OFFSET: u32 = 12;
    [
        SockFilter::new(LOAD_WORD, 0, 0, PORT_OFFSET),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, port.to_be()),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}
