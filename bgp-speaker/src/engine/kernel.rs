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
}

impl KernelTable {
    /// Takes a change; was there anything new?
    pub fn note(&mut self, change: KernelChange) -> bool {
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
