//! Where a gateway is: interface names and numbers, and the connected networks. Pure.
//!
//! Only networks that are directly on an interface count. A gateway behind another router is left to the kernel,
//! which refuses it with a reason; our own routes never take part.

use std::net::IpAddr;

use hashbrown::HashMap;

use crate::kernel::{Connected, Link};

/// The interfaces and connected networks of the namespace, as last told by the kernel.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    links: HashMap<u32, Link>,
    by_name: HashMap<std::sync::Arc<str>, u32>,
    /// Longest prefix first.
    connected: Vec<Connected>,
}

impl Environment {
    /// Takes what a dump says. Returns whether anything that decides about routes has changed.
    pub(crate) fn replace(&mut self, links: Vec<Link>, mut connected: Vec<Connected>) -> bool {
        connected.retain(|network| !is_link_local(network.prefix.addr()));
        connected.sort_by(|a, b| b.prefix.prefix_len().cmp(&a.prefix.prefix_len()).then_with(|| a.cmp(b)));
        connected.dedup();
        let links: HashMap<u32, Link> = links.into_iter().map(|link| (link.index, link)).collect();
        let has_changed = links != self.links || connected != self.connected;
        self.by_name = links.values().map(|link| (link.name.clone(), link.index)).collect();
        self.links = links;
        self.connected = connected;
        has_changed
    }

    pub(crate) fn link(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }

    pub(crate) fn interface(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The interface whose connected network holds `gateway`: the longest prefix, as the kernel would choose.
    pub(crate) fn interface_towards(&self, gateway: IpAddr) -> Option<u32> {
        let covers = |network: &&Connected| {
            network.prefix.contains(&gateway)
                && self.links.get(&network.interface).is_some_and(|link| link.is_up)
        };
        self.connected.iter().find(covers).map(|network| network.interface)
    }
}

/// Every interface has the link-local network; it says nothing about where a gateway is.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, is_up: bool) -> Link {
        Link { index, name: name.into(), is_up, has_carrier: is_up }
    }

    fn connected(prefix: &str, interface: u32) -> Connected {
        Connected { prefix: prefix.parse().unwrap(), interface }
    }

    #[test]
    fn the_longest_connected_network_on_an_interface_that_is_up_wins() {
        let mut environment = Environment::default();
        let networks =
            vec![connected("10.0.0.0/8", 1), connected("10.1.0.0/16", 2), connected("10.1.2.0/24", 3)];
        environment.replace(vec![link(1, "a", true), link(2, "b", true), link(3, "c", false)], networks);
        assert_eq!(environment.interface_towards("10.1.2.3".parse().unwrap()), Some(2));
        assert_eq!(environment.interface_towards("10.9.0.1".parse().unwrap()), Some(1));
        assert_eq!(environment.interface_towards("192.0.2.1".parse().unwrap()), None);
    }

    #[test]
    fn link_local_networks_lead_nowhere() {
        let mut environment = Environment::default();
        environment.replace(vec![link(1, "a", true)], vec![connected("fe80::/64", 1)]);
        assert_eq!(environment.interface_towards("fe80::1".parse().unwrap()), None);
    }

    #[test]
    fn a_renamed_interface_is_known_by_its_new_name_only() {
        let mut environment = Environment::default();
        assert!(environment.replace(vec![link(7, "eth0", true)], vec![]));
        assert!(environment.replace(vec![link(7, "wan", true)], vec![]));
        assert!(!environment.replace(vec![link(7, "wan", true)], vec![]));
        assert_eq!(environment.interface("eth0"), None);
        assert_eq!(environment.interface("wan"), Some(7));
    }
}
