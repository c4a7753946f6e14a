//! What other programs have in the kernel, as the engine is told of it. How that is found out is the driver's matter.

use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// A route that another program has put into the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRoute {
    /// Where it leads out, if that is one interface.
    pub interface: Option<Arc<str>>,
    /// The router it leads to, if that is one.
    pub gateway: Option<IpAddr>,
    /// As the kernel has it; 0: none.
    pub metric: u32,
    /// The protocol id of the program.
    pub protocol: u8,
    /// Packets are dropped.
    pub is_blackhole: bool,
}

/// A change of what others have in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelChange {
    /// The network of an interface's address, and the interface; `None`: it is no more.
    Network(IpNet, Option<Arc<str>>),
    /// The route to a prefix; `None`: it is no more.
    Route(IpNet, Option<KernelRoute>),
}

impl KernelChange {
    /// Of which prefix.
    pub fn prefix(&self) -> IpNet {
        match self {
            KernelChange::Network(prefix, _) | KernelChange::Route(prefix, _) => *prefix,
        }
    }
}

/// What others have, whether it is taken or not.
#[derive(Debug, Default)]
pub struct KernelTable {
    /// By prefix.
    pub routes: BTreeMap<IpNet, KernelRoute>,
    /// Interfaces by their network.
    pub networks: BTreeMap<IpNet, Arc<str>>,
    /// Prefixes of announcements that yield to the kernel, and for which it has had a route.
    pub yielded: BTreeSet<IpNet>,
    /// Of prefixes that have changed since filters were last asked: which way each of the two led then.
    ways: BTreeMap<IpNet, Ways>,
}

/// The interfaces of a prefix's route and network, where there are such.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ways {
    /// Without a single interface: `Some(None)`.
    route: Option<Option<Arc<str>>>,
    network: Option<Arc<str>>,
}

impl Ways {
    /// Does something lead another way, which was there and is there?
    fn is_other_than(&self, before: &Ways) -> bool {
        fn moved<T: PartialEq>(before: &Option<T>, now: &Option<T>) -> bool {
            before.is_some() && now.is_some() && before != now
        }
        moved(&before.route, &self.route) || moved(&before.network, &self.network)
    }
}

impl KernelTable {
    /// Takes a change; was there anything new?
    pub fn note(&mut self, change: KernelChange) -> bool {
        let before = self.ways(&change.prefix());
        self.ways.entry(change.prefix()).or_insert(before);
        match change {
            KernelChange::Network(prefix, Some(interface)) => {
                self.networks.insert(prefix, interface.clone()) != Some(interface)
            }
            KernelChange::Network(prefix, None) => self.networks.remove(&prefix).is_some(),
            KernelChange::Route(prefix, Some(route)) => {
                self.routes.get(&prefix) != Some(&route) && {
                    self.routes.insert(prefix, route);
                    true
                }
            }
            KernelChange::Route(prefix, None) => self.routes.remove(&prefix).is_some(),
        }
    }

    fn ways(&self, prefix: &IpNet) -> Ways {
        Ways {
            route: self.routes.get(prefix).map(|route| route.interface.clone()),
            network: self.networks.get(prefix).cloned(),
        }
    }

    /// May there be prefixes that lead another way than when filters were last asked?
    pub fn has_moved(&self) -> bool {
        !self.ways.is_empty()
    }

    /// Which they are. Filters are asked about them now.
    pub fn take_moved(&mut self) -> Vec<IpNet> {
        let before = std::mem::take(&mut self.ways);
        let is_moved = |(prefix, before): &(IpNet, Ways)| self.ways(prefix).is_other_than(before);
        before.into_iter().filter(is_moved).map(|(prefix, _)| prefix).collect()
    }

    /// What has to change so that there is nothing but what these changes say.
    pub fn missing_in(&self, all: &[KernelChange]) -> Vec<KernelChange> {
        let (mut routes, mut networks) = (BTreeSet::new(), BTreeSet::new());
        for change in all {
            match change {
                KernelChange::Network(prefix, interface) if interface.is_some() => networks.insert(prefix),
                KernelChange::Route(prefix, route) if route.is_some() => routes.insert(prefix),
                _ => false,
            };
        }
        let gone_routes = self.routes.keys().filter(|prefix| !routes.contains(prefix));
        let gone_networks = self.networks.keys().filter(|prefix| !networks.contains(prefix));
        let gone = gone_networks.map(|prefix| KernelChange::Network(*prefix, None));
        gone.chain(gone_routes.map(|prefix| KernelChange::Route(*prefix, None))).collect()
    }
}
