//! System errors as one sentence each: what happened, and what to do about it.

use std::io;
use std::net::SocketAddr;

/// The system's words without the error number.
pub(crate) fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Why the admin API cannot be offered at `address`.
pub(crate) fn admin_listen(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another process has that port (`ss -ltnp 'sport = :{port}'` shows it); stop it, or change admin.listen"
        ),
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE; grant it, or set admin.listen to a higher port"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this host has that address (`ip address` shows them); correct admin.listen".to_owned()
        }
        _ => format!("{}; change admin.listen, or set it to \"off\"", io_text(error)),
    };
    format!("cannot listen on {address} for the admin API: {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_to_listen_says_what_to_do() {
        let address = SocketAddr::from(([10, 0, 0, 1], 9179));
        for (code, expected) in [
            (libc::EADDRINUSE, "another process has that port (`ss -ltnp 'sport = :9179'` shows it)"),
            (libc::EACCES, "need root or CAP_NET_BIND_SERVICE"),
            (libc::EADDRNOTAVAIL, "no interface of this host has that address"),
            (libc::EAFNOSUPPORT, "Address family not supported by protocol; change admin.listen"),
        ] {
            let sentence = admin_listen(address, &io::Error::from_raw_os_error(code));
            assert!(sentence.starts_with("cannot listen on 10.0.0.1:9179 for the admin API: "), "{sentence}");
            assert!(sentence.contains(expected), "{sentence}");
            assert!(!sentence.contains("os error"), "{sentence}");
        }
    }
}
