//! An independent witness: every route that comes or goes, as the kernel tells it to anybody who listens.

use netlink_sys::{Socket, SocketAddr};
use socket2::SockRef;

/// Counts notices about routes with one protocol id, on a thread of its own.
pub(crate) struct RouteWitness {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: std::thread::JoinHandle<Seen>,
}

/// What was seen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) added: usize,
    pub(crate) removed: usize,
    /// Notices were lost, so the counts mean nothing.
    pub(crate) is_deaf: bool,
}

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const RTNLGRP_IPV6_ROUTE: u32 = 11;
/// Within `nlmsghdr` and `rtmsg`.
const TYPE_AT: usize = 4;
const PROTOCOL_AT: usize = 16 + 5;

impl RouteWitness {
    /// Listens in the thread's network namespace, from now on.
    pub(crate) fn start(protocol: u8) -> RouteWitness {
        let mut socket = Socket::new(0).unwrap();
        socket.bind(&SocketAddr::new(0, 0)).unwrap();
        force_receive_buffer(&socket);
        for group in [RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE] {
            socket.add_membership(group).unwrap();
        }
        SockRef::from(&socket).set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
        let stop = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
        let is_over = std::sync::Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::default();
            let mut buffer = Vec::with_capacity(64 * 1024);
            loop {
                buffer.clear();
                match socket.recv(&mut buffer, 0) {
                    Ok(_) => {
                        let of_protocol = buffer.get(PROTOCOL_AT) == Some(&protocol);
                        let kind = buffer
                            .get(TYPE_AT..TYPE_AT + 2)
                            .map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
                        seen.added += usize::from(of_protocol && kind == Some(RTM_NEWROUTE));
                        seen.removed += usize::from(of_protocol && kind == Some(RTM_DELROUTE));
                    }
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => seen.is_deaf = true,
                    // The buffer is read empty before the end.
                    Err(_) if is_over.load(std::sync::atomic::Ordering::Relaxed) => return seen,
                    Err(_) => {}
                }
            }
        });
        RouteWitness { stop, thread }
    }

    /// What has been seen until now.
    pub(crate) fn stop(self) -> Seen {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Enough for a full table's worth of notices.
#[allow(unsafe_code)]
fn force_receive_buffer(socket: &Socket) {
    use std::os::fd::AsRawFd;
    let len: libc::c_int = 1 << 30;
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
    assert_eq!(result, 0);
}
