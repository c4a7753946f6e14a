//! One outgoing connection attempt.

use super::socket_options;
use crate::engine::ConnectTarget;
use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpSocket, TcpStream};

/// Connects; how long that may take is the engine's business, which abandons the attempt.
///
/// # Errors
/// The system's, with what was tried.
pub(super) async fn connect(target: &ConnectTarget) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target.remote), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(key) = &target.password {
        socket_options::set_md5_key(&socket, IpNet::from(target.remote.ip()), Some(key))
            .map_err(|error| told("TCP MD5", error))?;
    }
    if let Some(hops) = target.ttl_security {
        socket_options::set_ttl_security(&socket, target.remote.ip(), hops)
            .map_err(|error| told("ttl_security", error))?;
    }
    if let Some(local) = target.local {
        socket
            .bind(&SocketAddr::new(local, 0).into())
            .map_err(|error| told(&format!("local_address {local}"), error))?;
    }
    TcpSocket::from_std_stream(socket.into()).connect(target.remote).await
}

fn told(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
