//! Socket options that no safe crate offers: TCP MD5 (RFC 2385) and GTSM (RFC 5082). The only unsafe code here.

use crate::config::Secret;
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

/// What has come `hops` hops, and left with 255.
fn ttl_min(hops: u8) -> u8 {
    u8::MAX - hops.saturating_sub(1)
}

/// Has a listening socket keep the headers of each SYN, for [`admit_by_ttl`].
///
/// # Errors
/// The system's.
pub(super) fn save_syn(listener: &impl AsRawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    set(listener, libc::IPPROTO_TCP, libc::TCP_SAVE_SYN, &on)
}

/// [`set_ttl_security`] for an accepted connection. What came before it could be set has not been checked by the kernel,
/// and a neighbour's OPEN usually has come: so the TTL of the connection's SYN decides.
///
/// # Errors
/// The system's, and `PermissionDenied` for a connection from farther away.
pub(super) fn admit_by_ttl(connection: &impl AsRawFd, family: IpAddr, hops: u8) -> io::Result<()> {
    set_ttl_security(connection, family, hops)?;
    let denied = |seen: &str| {
        let least = ttl_min(hops);
        let text = format!(
            "{seen}, and at least {least} is wanted: does the neighbour have ttl_security (GTSM) set?"
        );
        io::Error::new(io::ErrorKind::PermissionDenied, text)
    };
    match ttl_of_syn(connection, family)? {
        Some(ttl) if ttl >= ttl_min(hops) => Ok(()),
        Some(ttl) => Err(denied(&format!("its SYN came with TTL {ttl}"))),
        // With SYN cookies the kernel keeps nothing.
        None => Err(denied("the kernel does not know the TTL of its SYN")),
    }
}

/// From the network header on, which is what `TCP_SAVED_SYN` begins with.
fn ttl_of_syn(connection: &impl AsRawFd, family: IpAddr) -> io::Result<Option<u8>> {
    let mut headers = [0; SYN_OCTETS_MAX];
    let octets = get(connection, libc::IPPROTO_TCP, libc::TCP_SAVED_SYN, &mut headers)?;
    let at = match family {
        IpAddr::V4(_) => 8,
        IpAddr::V6(_) => 7,
    };
    Ok(headers[..octets].get(at).copied())
}

/// More than the longest headers: with less room the kernel gives nothing.
const SYN_OCTETS_MAX: usize = 512;

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

/// The number of octets that are there now.
#[allow(unsafe_code, reason = "getsockopt has no safe wrapper for these options")]
fn get(socket: &impl AsRawFd, level: libc::c_int, name: libc::c_int, value: &mut [u8]) -> io::Result<usize> {
    let mut octets = value.len() as libc::socklen_t;
    // SAFETY: the descriptor is open for the life of `socket`, and the kernel writes at most `octets` bytes, which
    // `value` has.
    let outcome = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut octets)
    };
    if outcome == 0 { Ok((octets as usize).min(value.len())) } else { Err(io::Error::last_os_error()) }
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
    fn a_connection_is_admitted_by_the_ttl_of_its_syn() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = std::net::TcpListener::bind(address).unwrap();
            save_syn(&listener).unwrap();
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
            let (_far, connection) = connect(64);
            let error = admit_by_ttl(&connection, at.ip(), 1).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(error.to_string().contains("TTL 64, and at least 255"), "{error}");
            let (_next_door, connection) = connect(255);
            admit_by_ttl(&connection, at.ip(), 1).unwrap();
            let (_two_hops, connection) = connect(254);
            admit_by_ttl(&connection, at.ip(), 2).unwrap();
        }
    }
}
