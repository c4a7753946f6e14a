//! Our own addresses on the interface of a session, for next hop self in the other family.

use std::net::IpAddr;

/// The other usable addresses of the interface that has `local`, in the order of the system. Link-local ones are left
/// out: as a next hop they would need an interface at the receiver.
pub(super) fn beside(local: IpAddr) -> Vec<IpAddr> {
    let interfaces = match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            tracing::warn!(%error, "cannot list the interfaces; no next hop of the other family");
            return Vec::new();
        }
    };
    let Some(name) = interfaces.iter().find(|interface| interface.ip() == local).map(|i| i.name.clone())
    else {
        return Vec::new();
    };
    let usable = |address: &IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    };
    interfaces
        .iter()
        .filter(|i| i.name == name)
        .map(|i| i.ip())
        .filter(|ip| *ip != local && usable(ip))
        .collect()
}
