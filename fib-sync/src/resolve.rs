//! Where a gateway is: interface names and numbers, the connected networks, and the kernel's routes to gateways further
//! away. Pure.
//!
//! A neighbour's interface is found through the networks that are directly on an interface. The way to any other gateway
//! is what the kernel said when it was asked; our own routes never take part.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hashbrown::HashMap;
use ipnet::IpNet;

use crate::error::Refusal;
use crate::kernel::{Connected, Hop, Link, Way};
use crate::model::{NextHop, NextHopSet};
use crate::reach::{Reach, Tunnel, TunnelWhen};

/// The most hops that one route can have.
const HOPS_MAX: usize = NextHopSet::LEN_MAX;

/// The interfaces and connected networks of the namespace, as last told by the kernel.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    links: HashMap<u32, Link>,
    by_name: HashMap<std::sync::Arc<str>, u32>,
    /// Longest prefix first.
    connected: Vec<Connected>,
    /// The way to each gateway that was asked for.
    ways: BTreeMap<IpAddr, Way>,
}

/// A next hop in the kernel's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvedHop {
    /// `interface` is 0 where the kernel is to find it.
    pub(crate) hop: Hop,
    /// Which of the set's next hops this is, if it is all of it.
    pub(crate) whole: Option<usize>,
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
        self.towards(gateway).map(|network| network.interface)
    }

    /// The connected network that holds `gateway`.
    pub(crate) fn network_of(&self, gateway: IpAddr) -> Option<IpNet> {
        self.towards(gateway).map(|network| network.prefix)
    }

    fn towards(&self, gateway: IpAddr) -> Option<&Connected> {
        let covers = |network: &&Connected| {
            network.prefix.contains(&gateway)
                && self.links.get(&network.interface).is_some_and(|link| link.is_up)
        };
        self.connected.iter().find(covers)
    }

    /// The name of an interface for people; nothing where the kernel is to find the interface.
    pub(crate) fn name(&self, index: u32) -> String {
        match self.links.get(&index) {
            Some(link) => link.name.to_string(),
            None if index == 0 => String::new(),
            None => format!("#{index}"),
        }
    }

    /// Takes what was said of gateways, and forgets the others. Returns whether anything has changed.
    pub(crate) fn replace_ways(&mut self, ways: Vec<(IpAddr, Way)>) -> bool {
        let ways: BTreeMap<IpAddr, Way> = ways.into_iter().collect();
        let has_changed = ways != self.ways;
        self.ways = ways;
        has_changed
    }

    /// Takes what was said of further gateways.
    pub(crate) fn add_ways(&mut self, ways: Vec<(IpAddr, Way)>) {
        self.ways.extend(ways);
    }

    /// Whether the way to any gateway was asked for.
    pub(crate) fn has_ways(&self) -> bool {
        !self.ways.is_empty()
    }

    /// What the kernel said of a gateway; `None` if it was not asked.
    pub(crate) fn way(&self, gateway: IpAddr) -> Option<&Way> {
        self.ways.get(&gateway)
    }

    /// Whether a route to `prefix` may be, or hide, the way to a gateway that was asked for.
    pub(crate) fn has_ways_in(&self, prefix: &IpNet) -> bool {
        self.ways.range(prefix.network()..=prefix.broadcast()).next().is_some()
    }

    /// The gateways of a set whose way has to be asked for.
    pub(crate) fn gateways_to_ask(set: &NextHopSet) -> impl Iterator<Item = IpAddr> {
        set.next_hops().iter().filter_map(|hop| {
            let gateway = hop.gateway?;
            let is_asked = match &hop.reach {
                Reach::Neighbour => false,
                Reach::Recursive => true,
                Reach::Tunnel(tunnel) => tunnel.when != TunnelWhen::Always,
            };
            is_asked.then_some(gateway)
        })
    }

    /// Whether `gateway` is to be reached through `tunnel`.
    pub(crate) fn is_tunnelled(&self, gateway: IpAddr, tunnel: &Tunnel) -> bool {
        match &tunnel.when {
            TunnelWhen::Always => true,
            TunnelWhen::CrossSubnet => self.interface_towards(gateway).is_none(),
            TunnelWhen::Outside(network) => !network.contains(&gateway),
        }
    }

    /// A set in the kernel's terms, in the set's order, without those that there is no way to (RFC 4271 §9.1.2.1: what
    /// cannot be reached is not used).
    ///
    /// # Errors
    /// Why there is no way to any of them that could even be tried.
    pub(crate) fn resolve(&self, set: &NextHopSet) -> Result<Vec<ResolvedHop>, Refusal> {
        let mut resolved = Vec::with_capacity(set.next_hops().len());
        let mut refused = None;
        for (index, hop) in set.next_hops().iter().enumerate() {
            let hops = match self.resolve_hop(hop) {
                Ok(hops) => hops,
                // About to be known.
                Err(reason) if reason.errno == libc::EAGAIN => return Err(reason),
                Err(reason) => {
                    refused.get_or_insert(reason);
                    continue;
                }
            };
            match hops.as_slice() {
                [only] => add(&mut resolved, ResolvedHop { hop: only.clone(), whole: Some(index) }),
                several => several
                    .iter()
                    .for_each(|hop| add(&mut resolved, ResolvedHop { hop: hop.clone(), whole: None })),
            }
        }
        resolved.truncate(HOPS_MAX);
        match refused {
            Some(reason) if resolved.is_empty() => Err(reason),
            _ => Ok(resolved),
        }
    }

    /// One next hop in the kernel's terms: several, where the way to it is shared among several.
    pub(crate) fn resolve_hop(&self, wanted: &NextHop) -> Result<Vec<Hop>, Refusal> {
        let weight = u16::from(wanted.weight.get());
        let neighbour =
            |interface| vec![Hop { gateway: wanted.gateway, interface, onlink: wanted.onlink, weight }];
        let gateway = match (&wanted.reach, wanted.gateway) {
            (Reach::Tunnel(tunnel), Some(gateway)) if self.is_tunnelled(gateway, tunnel) => {
                let interface = self.named(tunnel.device.as_str())?;
                return Ok(vec![Hop { gateway: Some(gateway), interface, onlink: true, weight }]);
            }
            (Reach::Tunnel(_) | Reach::Recursive, Some(gateway)) => gateway,
            _ => {
                return match (&wanted.interface, wanted.gateway) {
                    (Some(name), _) => self.named(name.as_str()).map(neighbour),
                    (None, Some(gateway)) => Ok(neighbour(self.interface_towards(gateway).unwrap_or(0))),
                    (None, None) => Ok(neighbour(0)),
                };
            }
        };
        match self.ways.get(&gateway) {
            None => Err(Refusal::with_text(libc::EAGAIN, "the kernel has not been asked for the way yet")),
            Some(Err(reason)) => Err(reason.clone()),
            Some(Ok(way)) => Ok(shared(gateway, &way.hops, weight)),
        }
    }

    fn named(&self, name: &str) -> Result<u32, Refusal> {
        self.interface(name)
            .ok_or_else(|| Refusal::with_text(libc::ENODEV, &format!("there is no interface {name}")))
    }
}

/// The hops on the way to `gateway`, with `weight` shared among them in their own proportion.
fn shared(gateway: IpAddr, way: &[Hop], weight: u16) -> Vec<Hop> {
    let onward = |hop: &Hop, weight| Hop { gateway: hop.gateway.or(Some(gateway)), weight, ..hop.clone() };
    if let [only] = way {
        return vec![onward(only, weight)];
    }
    let weights: Vec<u32> = way.iter().map(|hop| u32::from(hop.weight) * u32::from(weight)).collect();
    let scale = weights.iter().max().copied().unwrap_or(1).div_ceil(256);
    let scaled = weights.iter().map(|weight| u16::try_from((weight / scale).max(1)).unwrap_or(256));
    way.iter().zip(scaled).map(|(hop, weight)| onward(hop, weight)).collect()
}

/// Adds a hop; one that is there already gets the weight of both.
fn add(resolved: &mut Vec<ResolvedHop>, new: ResolvedHop) {
    let is_same = |other: &&mut ResolvedHop| {
        let (a, b) = (&other.hop, &new.hop);
        (a.gateway, a.interface, a.onlink) == (b.gateway, b.interface, b.onlink)
    };
    match resolved.iter_mut().find(is_same) {
        Some(old) => {
            old.hop.weight = (old.hop.weight + new.hop.weight).min(256);
            old.whole = None;
        }
        None => resolved.push(new),
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

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn way(hops: &[(Option<&str>, u32, u16)]) -> Way {
        let hop = |(gateway, interface, weight): &(Option<&str>, u32, u16)| Hop {
            gateway: gateway.map(addr),
            interface: *interface,
            onlink: false,
            weight: *weight,
        };
        let hops = hops.iter().map(hop).collect();
        Ok(crate::kernel::WayOut { prefix: "0.0.0.0/0".parse().unwrap(), protocol: 3, hops })
    }

    fn resolved(environment: &Environment, hops: Vec<NextHop>) -> Result<Vec<(String, u32, u16)>, Refusal> {
        let hops = environment.resolve(&NextHopSet::new(hops).unwrap())?;
        Ok(hops
            .into_iter()
            .map(|ResolvedHop { hop, .. }| {
                let gateway = hop.gateway.map(|gateway| gateway.to_string()).unwrap_or_default();
                (gateway + if hop.onlink { " onlink" } else { "" }, hop.interface, hop.weight)
            })
            .collect())
    }

    #[test]
    fn a_recursive_gateway_is_reached_the_kernels_way() {
        let mut environment = Environment::default();
        environment.replace(vec![link(1, "a", true)], vec![connected("10.0.0.0/24", 1)]);
        let unreachable = Refusal::new(libc::ENETUNREACH);
        environment.replace_ways(vec![
            (addr("10.0.0.7"), way(&[(None, 1, 1)])),
            (addr("10.9.0.1"), way(&[(Some("10.0.0.254"), 1, 1)])),
            (addr("10.9.0.2"), way(&[(Some("10.0.0.254"), 1, 1), (Some("10.0.0.253"), 1, 3)])),
            (addr("10.9.0.3"), Err(unreachable.clone())),
        ]);
        let one = |gateway: &str| resolved(&environment, vec![NextHop::recursive(addr(gateway))]);
        assert_eq!(one("10.0.0.7").unwrap(), [("10.0.0.7".to_owned(), 1, 1)]);
        assert_eq!(one("10.9.0.1").unwrap(), [("10.0.0.254".to_owned(), 1, 1)]);
        assert_eq!(
            one("10.9.0.2").unwrap(),
            [("10.0.0.254".to_owned(), 1, 1), ("10.0.0.253".to_owned(), 1, 3)]
        );
        assert_eq!(one("10.9.0.3"), Err(unreachable));
        assert_eq!(one("10.9.0.4").unwrap_err().errno, libc::EAGAIN, "not asked yet");
        // Two gateways behind one router are one way.
        let both = vec![NextHop::recursive(addr("10.9.0.1")), NextHop::recursive(addr("10.9.0.2"))];
        assert_eq!(
            resolved(&environment, both).unwrap(),
            [("10.0.0.254".to_owned(), 1, 2), ("10.0.0.253".to_owned(), 1, 3)]
        );
        assert!(environment.has_ways_in(&"10.9.0.0/24".parse().unwrap()));
        assert!(environment.has_ways_in(&"0.0.0.0/0".parse().unwrap()));
        assert!(!environment.has_ways_in(&"10.8.0.0/16".parse().unwrap()));
    }

    #[test]
    fn a_tunnel_is_used_always_or_for_those_outside() {
        let mut environment = Environment::default();
        environment
            .replace(vec![link(1, "a", true), link(5, "tunl0", true)], vec![connected("10.0.0.0/24", 1)]);
        environment.replace_ways(vec![
            (addr("10.0.0.7"), way(&[(None, 1, 1)])),
            (addr("10.9.0.1"), way(&[(Some("10.0.0.254"), 1, 1)])),
        ]);
        let one = |gateway: &str, device: &str, when: TunnelWhen| {
            let tunnel = Tunnel { device: device.parse().unwrap(), when };
            resolved(&environment, vec![NextHop::tunnelled(addr(gateway), tunnel)])
        };
        let tunnelled = |gateway: &str| Ok(vec![(format!("{gateway} onlink"), 5, 1)]);
        let direct = Ok(vec![("10.0.0.7".to_owned(), 1, 1)]);
        assert_eq!(one("10.0.0.7", "tunl0", TunnelWhen::Always), tunnelled("10.0.0.7"));
        assert_eq!(one("10.0.0.7", "tunl0", TunnelWhen::CrossSubnet), direct);
        assert_eq!(one("10.9.0.1", "tunl0", TunnelWhen::CrossSubnet), tunnelled("10.9.0.1"));
        let outside = |network: &str| TunnelWhen::Outside(network.parse().unwrap());
        assert_eq!(one("10.0.0.7", "tunl0", outside("10.0.0.1/32")), tunnelled("10.0.0.7"));
        assert_eq!(one("10.0.0.7", "tunl0", outside("10.0.0.0/16")), direct);
        assert_eq!(one("10.0.0.7", "vxlan0", TunnelWhen::Always).unwrap_err().errno, libc::ENODEV);
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
