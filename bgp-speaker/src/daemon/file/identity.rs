//! What the defaults of a file depend on, and the router id of a node that chose none.

use super::super::Program;
use bgp_proto::BgpId;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// The world around a file. Everything that a default may depend on is in here, so that tests can fix it.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// Whose file it is: the reflector is one without saying so.
    pub(crate) program: Program,
    /// What relative paths in the file are relative to.
    pub(crate) directory: PathBuf,
    /// The host's name.
    pub(crate) host_name: String,
    /// Does the kernel speak IPv6?
    pub(crate) has_ipv6: bool,
    /// Looks up an environment variable.
    pub(crate) environment: fn(&str) -> Option<String>,
}

impl Surroundings {
    /// The truth about this host.
    pub(crate) fn of_this_host(program: Program, directory: PathBuf) -> Self {
        let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            program,
            directory,
            host_name: host_name.trim().to_owned(),
            has_ipv6: Path::new("/proc/net/if_inet6").exists(),
            environment: |name| std::env::var(name).ok().filter(|value| !value.is_empty()),
        }
    }
}

/// The first specific IPv4 address that we listen on, else a number made of the host's name, and then a
/// note about it: names differ between hosts, so the numbers very probably do.
pub(super) fn default_router_id(
    listen: &[SocketAddr],
    surroundings: &Surroundings,
) -> (BgpId, Option<String>) {
    let specific = listen.iter().find_map(|address| match address.ip() {
        IpAddr::V4(v4) if !v4.is_unspecified() => Some(BgpId::from(v4)),
        _ => None,
    });
    if let Some(router_id) = specific {
        return (router_id, None);
    }
    let router_id = BgpId(fnv1a(surroundings.host_name.as_bytes()).max(1));
    let note = format!(
        "router_id {router_id} is made from the host name \"{}\"; set router_id to choose another",
        surroundings.host_name
    );
    (router_id, Some(note))
}

/// FNV-1a: the same number in every release, unlike the standard library's hasher.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(host_name: &str) -> Surroundings {
        Surroundings {
            program: Program::BgpSpeaker,
            directory: PathBuf::new(),
            host_name: host_name.to_owned(),
            has_ipv6: true,
            environment: |_| None,
        }
    }

    #[test]
    fn a_specific_listen_address_is_the_router_id() {
        let listen = ["[::]:179", "0.0.0.0:179", "10.0.0.1:179"].map(|text| text.parse().unwrap());
        assert_eq!(default_router_id(&listen, &surroundings("a")), ("10.0.0.1".parse().unwrap(), None));
    }

    #[test]
    fn otherwise_the_host_name_decides_and_the_operator_is_told() {
        let (a, note) = default_router_id(&[], &surroundings("node-a"));
        let (b, _) = default_router_id(&[], &surroundings("node-b"));
        assert_ne!(a, b);
        assert_eq!(a, default_router_id(&[], &surroundings("node-a")).0);
        assert!(note.unwrap().contains("node-a"));
        assert_ne!(default_router_id(&[], &surroundings("")).0.0, 0);
    }
}
