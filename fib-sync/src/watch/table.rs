//! What the kernel has of others, from a reading and the notices after it.
//!
//! A notice names a route by prefix and metric, of which there may be several: appended ones, next hops of an IPv6 route
//! that come one by one. Where it does not say for certain what is there now, the table is in doubt, and a reading
//! settles it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{ForeignKind, ForeignRoute, WatchChange};
use crate::kernel::{Action, Address, Content, KernelRoute, Link, Notice, Others, OwnedRoute};

/// Protocol ids that are nobody's: `unspec`, `redirect`, `kernel`.
const KERNELS_OWN: [u8; 3] = [0, 1, 2];

/// One per watch.
#[derive(Debug)]
pub(super) struct Table {
    /// Our own protocol id.
    protocol: u8,
    routes_max: usize,
    links: HashMap<u32, Link>,
    addresses: BTreeSet<Address>,
    routes: HashMap<IpNet, Vec<OwnedRoute>>,
    route_count: usize,
    /// Routes for which there was no room, since the last reading.
    refused: usize,
    told_routes: HashMap<IpNet, ForeignRoute>,
    told_networks: HashMap<IpNet, Arc<str>>,
    /// Prefixes of routes that may have changed since they were told.
    touched: HashSet<IpNet>,
    /// Interfaces or addresses may have changed since networks were told.
    has_other_networks: bool,
    is_in_doubt: bool,
}

impl Table {
    pub(super) fn new(protocol: u8, routes_max: usize) -> Table {
        Table {
            protocol,
            routes_max,
            links: HashMap::new(),
            addresses: BTreeSet::new(),
            routes: HashMap::new(),
            route_count: 0,
            refused: 0,
            told_routes: HashMap::new(),
            told_networks: HashMap::new(),
            touched: HashSet::new(),
            has_other_networks: false,
            is_in_doubt: false,
        }
    }

    /// Prefixes and networks told, routes refused.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.told_routes.len(), self.told_networks.len(), self.refused)
    }

    /// Is a reading needed? Says so once.
    pub(super) fn take_doubt(&mut self) -> bool {
        std::mem::take(&mut self.is_in_doubt)
    }

    /// Takes a reading in place of all that was known.
    pub(super) fn replace(&mut self, others: Others) {
        self.links = others.links.into_iter().map(|link| (link.index, link)).collect();
        self.addresses = others.addresses.into_iter().collect();
        self.touched.extend(self.routes.drain().map(|(prefix, _)| prefix));
        (self.route_count, self.refused) = (0, 0);
        for route in others.routes {
            if self.concerns_us(&route) {
                self.insert(route);
            }
        }
        // Names of interfaces may be others now.
        self.touched.extend(self.told_routes.keys());
        self.has_other_networks = true;
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Overrun => self.is_in_doubt = true,
            Notice::AddressAdded { address } => {
                self.has_other_networks |= address.network.is_some();
                self.addresses.insert(address);
            }
            Notice::AddressRemoved { address } => {
                self.has_other_networks |= address.network.is_some();
                self.addresses.remove(&address);
                // Routes with this source go without a word.
                self.is_in_doubt = true;
            }
            Notice::LinkChanged { link } => self.link_changed(link),
            Notice::LinkRemoved { index } => {
                self.links.remove(&index);
                (self.has_other_networks, self.is_in_doubt) = (true, true);
            }
            Notice::NexthopChanged { .. } => {
                let mut routes = self.routes.values().flatten();
                self.is_in_doubt |= routes.any(|known| known.route.content.nexthop_id != 0);
            }
            Notice::RouteAdded { route, protocol, replaces } => {
                self.route_added(OwnedRoute { protocol, route }, replaces);
            }
            Notice::RouteRemoved { prefix, metric, protocol } => {
                self.route_removed(prefix, metric, protocol);
            }
            Notice::OtherRoute { .. } => {}
        }
    }

    /// What has changed since this was last asked: for each prefix how it is now.
    pub(super) fn take_changes(&mut self) -> Vec<WatchChange> {
        let mut changes = Vec::new();
        if std::mem::take(&mut self.has_other_networks) {
            self.tell_networks(&mut changes);
        }
        for prefix in std::mem::take(&mut self.touched) {
            let route = self.best(prefix);
            let is_news = match (self.told_routes.entry(prefix), &route) {
                (Entry::Occupied(mut told), Some(route)) => {
                    *told.get() != *route && {
                        told.insert(route.clone());
                        true
                    }
                }
                (Entry::Occupied(told), None) => {
                    told.remove();
                    true
                }
                (Entry::Vacant(told), Some(route)) => {
                    told.insert(route.clone());
                    true
                }
                (Entry::Vacant(_), None) => false,
            };
            if is_news {
                changes.push(WatchChange::Route { prefix, route });
            }
        }
        changes
    }

    fn link_changed(&mut self, link: Link) {
        let Some(known) = self.links.insert(link.index, link.clone()) else {
            // A reading may have had the route and not yet the interface.
            let nameless = self.told_routes.iter().filter(|(_, route)| route.interface.is_none());
            self.touched.extend(nameless.map(|(prefix, _)| *prefix));
            self.has_other_networks = true;
            return;
        };
        if known.name != link.name {
            self.touched.extend(self.told_routes.keys());
        }
        self.has_other_networks |= known.name != link.name || known.is_up != link.is_up;
        // Routes go with their interface, and not all of them are told.
        self.is_in_doubt |= (known.is_up && !link.is_up) || (known.has_carrier && !link.has_carrier);
    }

    fn concerns_us(&self, route: &OwnedRoute) -> bool {
        !KERNELS_OWN.contains(&route.protocol)
            && route.protocol != self.protocol
            && kind(&route.route.content).is_some()
            && is_beyond_link(&route.route.prefix)
    }

    fn route_added(&mut self, new: OwnedRoute, replaces: bool) {
        let (prefix, metric) = (new.route.prefix, new.route.metric);
        let is_wanted = self.concerns_us(&new);
        let known = self.routes.get_mut(&prefix);
        let mut rivals =
            known.into_iter().flatten().filter(|known| known.route.metric == metric).collect::<Vec<_>>();
        match rivals.as_mut_slice() {
            [] if is_wanted => self.insert(new),
            [] => {}
            // Told again.
            [known] if **known == new => {}
            [known] if replaces && is_wanted => {
                **known = new;
                self.touched.insert(prefix);
            }
            // One of these was replaced, by ours perhaps; or there is one more.
            _ if replaces || is_wanted => self.is_in_doubt = true,
            _ => {}
        }
    }

    fn insert(&mut self, route: OwnedRoute) {
        if self.route_count >= self.routes_max {
            self.refused += 1;
            return;
        }
        self.route_count += 1;
        self.touched.insert(route.route.prefix);
        self.routes.entry(route.route.prefix).or_default().push(route);
    }

    fn route_removed(&mut self, prefix: IpNet, metric: u32, protocol: u8) {
        let Entry::Occupied(mut known) = self.routes.entry(prefix) else { return };
        let is_it = |known: &OwnedRoute| known.route.metric == metric && known.protocol == protocol;
        let mut matching = known.get().iter().enumerate().filter(|(_, known)| is_it(known));
        match (matching.next(), matching.next()) {
            (None, _) => {}
            (Some((index, route)), None) if route.route.content.hops.len() <= 1 => {
                known.get_mut().swap_remove(index);
                self.route_count -= 1;
                if known.get().is_empty() {
                    known.remove();
                }
                self.touched.insert(prefix);
                // Half of the room is free again: what was refused may come in.
                if self.refused > 0 && self.route_count <= self.routes_max / 2 {
                    (self.refused, self.is_in_doubt) = (0, true);
                }
            }
            // One of several, or perhaps only one of its next hops.
            _ => self.is_in_doubt = true,
        }
    }

    fn best(&self, prefix: IpNet) -> Option<ForeignRoute> {
        let known = self.routes.get(&prefix)?;
        let best = known.iter().min_by_key(|known| {
            (known.route.metric, known.protocol, &known.route.content.hops, known.route.content.nexthop_id)
        })?;
        let KernelRoute { metric, content, .. } = &best.route;
        let hop = match content.hops.as_slice() {
            [hop] => Some(hop),
            _ => None,
        };
        Some(ForeignRoute {
            prefix,
            kind: kind(content)?,
            interface: hop.and_then(|hop| self.links.get(&hop.interface)).map(|link| link.name.clone()),
            gateway: hop.and_then(|hop| hop.gateway),
            metric: *metric,
            protocol: best.protocol,
        })
    }

    fn tell_networks(&mut self, changes: &mut Vec<WatchChange>) {
        let mut networks: HashMap<IpNet, Arc<str>> = HashMap::new();
        for address in &self.addresses {
            let link = self.links.get(&address.interface).filter(|link| link.is_up);
            let network = address.network.filter(is_beyond_link);
            if let (Some(link), Some(network)) = (link, network) {
                let first = networks.entry(network).or_insert_with(|| link.name.clone());
                if link.name < *first {
                    first.clone_from(&link.name);
                }
            }
        }
        for prefix in self.told_networks.keys().filter(|prefix| !networks.contains_key(*prefix)) {
            changes.push(WatchChange::Network { prefix: *prefix, interface: None });
        }
        for (prefix, interface) in &networks {
            if self.told_networks.get(prefix) != Some(interface) {
                changes.push(WatchChange::Network { prefix: *prefix, interface: Some(interface.clone()) });
            }
        }
        self.told_networks = networks;
    }
}

fn kind(content: &Content) -> Option<ForeignKind> {
    match content.action {
        Action::Blackhole => Some(ForeignKind::Blackhole),
        Action::Prohibit => Some(ForeignKind::Prohibit),
        Action::Unicast => Some(ForeignKind::Unicast),
        Action::Unreachable => Some(ForeignKind::Unreachable),
        Action::Other(_) => None,
    }
}

/// Can the prefix mean anything to another host? A default route can.
fn is_beyond_link(prefix: &IpNet) -> bool {
    match prefix.addr() {
        IpAddr::V4(address) => {
            !(address.is_loopback() || address.is_link_local() || address.is_multicast())
                && (prefix.prefix_len() <= 8 || address.octets()[0] != 0)
        }
        IpAddr::V6(address) => {
            !(address.is_loopback() || address.is_unicast_link_local() || address.is_multicast())
        }
    }
}

#[cfg(test)]
mod tests;
