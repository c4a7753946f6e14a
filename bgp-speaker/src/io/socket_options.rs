//! Socket options that no safe crate offers: TCP MD5 (RFC 2385) and GTSM (RFC 5082). The only unsafe code here.

use crate::config::{Secret, ttl_min};
use ipnet::IpNet;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

/// Sets, or with `None` removes, the key for segments from and to these addresses.
///
/// # Errors
/// The system's; `ENOENT` when removing a key that is not there is none.
pub(super) fn set_md5_key(socket: &impl AsRawFd, peers: IpNet, key: Option<&Secret>) -> io::Result<()> {
    let key = key.map_or(&[][..], |key| key.expose().as_bytes());
    if key.len() > Secret::BYTES_MAX {
        let message =
            format!("the password has {} bytes; TCP MD5 takes at most {}", key.len(), Secret::BYTES_MAX);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let mut option = TcpMd5Sig {
        address: [0; 128],
        flags: TCP_MD5SIG_FLAG_PREFIX,
        prefix_len: peers.prefix_len(),
        key_len: key.len() as u16,
        interface: 0,
        key: [0; Secret::BYTES_MAX],
    };
    option.key[..key.len()].copy_from_slice(key);
    let (family, at, octets) = match peers.network() {
        // struct sockaddr_in: family, port, address. struct sockaddr_in6: family, port, flow, address.
        IpAddr::V4(v4) => (libc::AF_INET, 4, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, 8, v6.octets().to_vec()),
    };
    option.address[..2].copy_from_slice(&(family as libc::sa_family_t).to_ne_bytes());
    option.address[at..at + octets.len()].copy_from_slice(&octets);
    match set(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG_EXT, &option) {
        Err(error) if key.is_empty() && error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        outcome => outcome,
    }
}

/// Sends with TTL 255 and accepts only what has come at most `hops` hops.
///
/// # Errors
/// The system's.
pub(super) fn set_ttl_security(socket: &impl AsRawFd, family: IpAddr, hops: u8) -> io::Result<()> {
    let ttl_min = libc::c_int::from(ttl_min(hops));
    let ttl: libc::c_int = 255;
    match family {
        IpAddr::V4(_) => {
            set(socket, libc::IPPROTO_IP, libc::IP_TTL, &ttl)?;
            set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &ttl_min)
        }
        IpAddr::V6(_) => {
            set(socket, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, &ttl)?;
            set(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &ttl_min)
        }
    }
}

/// Has a listening socket note with which TTL each connection comes, for [`received_ttl`].
///
/// # Errors
/// The system's.
pub(super) fn note_ttl(listener: &impl AsRawFd, family: IpAddr) -> io::Result<()> {
    let on: libc::c_int = 1;
    match family {
        IpAddr::V4(_) => set(listener, libc::IPPROTO_IP, libc::IP_RECVTTL, &on),
        IpAddr::V6(_) => set(listener, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, &on),
    }
}

/// With which TTL, or hop limit, the segment came that made an accepted connection; `None` where the system does not say.
/// It is the one that ends the handshake, which whoever forges addresses cannot send, and which is there with SYN cookies
/// too.
pub(super) fn received_ttl(connection: &impl AsRawFd, family: IpAddr) -> Option<u8> {
    let (level, option, kind) = match family {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTOPTIONS, libc::IP_TTL),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_2292PKTOPTIONS, libc::IPV6_HOPLIMIT),
    };
    let mut message = ControlMessage { header: [0; size_of::<libc::cmsghdr>()], value: 0 };
    get(connection, level, option, &mut message)
        .ok()
        .filter(|octets| *octets >= size_of::<ControlMessage>())?;
    let word = |at: usize| {
        let octets = message.header.get(at..at + size_of::<libc::c_int>())?;
        Some(libc::c_int::from_ne_bytes(octets.try_into().ok()?))
    };
    let is_ttl = word(std::mem::offset_of!(libc::cmsghdr, cmsg_level)) == Some(level)
        && word(std::mem::offset_of!(libc::cmsghdr, cmsg_type)) == Some(kind);
    u8::try_from(message.value).ok().filter(|_| is_ttl)
}

/// `struct cmsghdr` with one integer.
#[repr(C)]
struct ControlMessage {
    header: [u8; size_of::<libc::cmsghdr>()],
    value: libc::c_int,
}

const TCP_MD5SIG_FLAG_PREFIX: u8 = 1;

/// `struct tcp_md5sig` of linux/tcp.h.
#[repr(C)]
struct TcpMd5Sig {
    /// `struct sockaddr_storage`.
    address: [u8; 128],
    flags: u8,
    prefix_len: u8,
    key_len: u16,
    interface: libc::c_int,
    key: [u8; Secret::BYTES_MAX],
}

#[allow(unsafe_code, reason = "setsockopt has no safe wrapper for these options")]
fn set<T>(socket: &impl AsRawFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the descriptor is open for the life of `socket`, and the kernel reads size_of::<T>() bytes of `value`,
    // which is a plain C value.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Fills a value; returns the number of octets that are there now.
#[allow(unsafe_code, reason = "getsockopt has no safe wrapper for these options")]
fn get(
    socket: &impl AsRawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: &mut ControlMessage,
) -> io::Result<usize> {
    let mut octets = size_of::<ControlMessage>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the life of `socket`, and the kernel writes at most `octets` bytes into `value`,
    // which is a plain C value for any bytes.
    let outcome = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, std::ptr::from_mut(value).cast(), &raw mut octets)
    };
    if outcome == 0 { Ok(octets as usize) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_has_the_kernels_size() {
        assert_eq!(size_of::<TcpMd5Sig>(), 216);
    }

    #[test]
    fn keys_come_and_go_and_a_key_that_is_too_long_is_refused() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peers: IpNet = "127.0.0.0/8".parse().unwrap();
        set_md5_key(&socket, peers, Some(&Secret::new("secret"))).unwrap();
        set_md5_key(&socket, peers, None).unwrap();
        set_md5_key(&socket, peers, None).unwrap();
        let long = Secret::new("x".repeat(81));
        assert_eq!(set_md5_key(&socket, peers, Some(&long)).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn ttl_security_is_taken_by_both_families() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let socket = std::net::TcpListener::bind(address).unwrap();
            let family = socket.local_addr().unwrap().ip();
            set_ttl_security(&socket, family, 1).unwrap();
        }
    }

    #[test]
    fn the_ttl_of_a_connection_is_known() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = std::net::TcpListener::bind(address).unwrap();
            let at = listener.local_addr().unwrap();
            let connect = |ttl: u32| {
                let socket =
                    socket2::Socket::new(socket2::Domain::for_address(at), socket2::Type::STREAM, None)
                        .unwrap();
                if at.is_ipv4() {
                    socket.set_ttl_v4(ttl).unwrap();
                } else {
                    socket.set_unicast_hops_v6(ttl).unwrap();
                }
                socket.connect(&at.into()).unwrap();
                (socket, listener.accept().unwrap().0)
            };
            assert_eq!(
                received_ttl(&connect(64).1, at.ip()),
                None,
                "{at}: nobody has asked for it to be noted"
            );
            note_ttl(&listener, at.ip()).unwrap();
            for ttl in [1, 64, 254, 255] {
                let (_far, connection) = connect(ttl);
                assert_eq!(received_ttl(&connection, at.ip()), u8::try_from(ttl).ok(), "{at}");
            }
        }
    }
}
