//! An in-memory kernel for tests, with faults on demand (feature `test-util`).
//!
//! It behaves as Linux does where that matters to a router: a replacement takes the place of *any* route with the same
//! prefix and metric, an interface that goes down takes its IPv4 routes along without a word, a nexthop object takes
//! the routes that refer to it along, and what the `Fib` itself did is not told to its monitor.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let kernel = fib_sync::fake_kernel::FakeKernel::new();
//! kernel.add_interface("eth0", "192.0.2.0/24".parse()?);
//! let fib = fib_sync::Fib::open_fake(fib_sync::FibConfig::default(), &kernel).await?;
//! fib.replace_all(vec![fib_sync::Route::via("10.1.0.0/16".parse()?, "192.0.2.1".parse()?)]).await?;
//! fib.flush().await?;
//! assert_eq!(kernel.route_count(12), 1);
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use ipnet::IpNet;
use tokio::sync::Notify;

use crate::error::Refusal;
use crate::kernel::{
    Action, Address, Connected, Content, Hop, Kernel, KernelNexthop, KernelRoute, Link, Lost, NexthopContent,
    Notice, Op, Ownership, Reading, Refusals, Scope, Snapshot, Verb, Way, WayOut,
};

/// A kernel with one routing table. Cloning gives another handle to the same one.
#[derive(Debug, Clone, Default)]
pub struct FakeKernel {
    state: Arc<Mutex<State>>,
    has_notices: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    ownership: Option<Ownership>,
    links: Vec<Link>,
    connected: Vec<Connected>,
    nexthops: BTreeMap<u32, KernelNexthop>,
    /// Routes of somebody else over gateways, by prefix; they are in another table.
    ways: BTreeMap<IpNet, Vec<IpAddr>>,
    /// By prefix and metric; what the protocol is and what it does.
    routes: BTreeMap<(IpNet, u32), (u8, Arc<Content>)>,
    notices: Vec<Notice>,
    is_mute: bool,
    lost_batches: usize,
    interrupted_dumps: usize,
    /// Error numbers by prefix.
    refused: BTreeMap<IpNet, i32>,
    has_no_nexthops: bool,
    refuses_nexthop_changes: bool,
    operations: Vec<Op>,
    overwritten: usize,
}

impl FakeKernel {
    /// A kernel without interfaces and routes.
    pub fn new() -> FakeKernel {
        FakeKernel::default()
    }

    /// Adds an interface that is up, with one connected network.
    pub fn add_interface(&self, name: &str, network: IpNet) {
        let mut state = self.state();
        let index = state.links.len() as u32 + 1;
        let link = Link { index, name: name.into(), is_up: true, has_carrier: true };
        state.links.push(link.clone());
        state.connected.push(Connected { prefix: network.trunc(), interface: index });
        let address = Address { interface: index, network: Some(network.trunc()) };
        state.tell([Notice::LinkChanged { link }, Notice::AddressAdded { address }]);
        self.has_notices.notify_one();
    }

    /// Takes an interface down, with the nexthop objects and routes that leave by it, or up again, without them.
    pub fn set_interface_up(&self, name: &str, is_up: bool) {
        let mut state = self.state();
        let Some(link) = state.links.iter_mut().find(|link| &*link.name == name) else { return };
        link.is_up = is_up;
        link.has_carrier = is_up;
        let link = link.clone();
        if !is_up {
            state.flush_interface(link.index);
        }
        state.tell([Notice::LinkChanged { link }]);
        self.has_notices.notify_one();
    }

    /// Somebody adds a blackhole route, if nothing is in its place. Returns whether it was added.
    pub fn add_route(&self, prefix: IpNet, metric: u32, protocol: u8) -> bool {
        let mut state = self.state();
        if state.routes.contains_key(&(prefix, metric)) {
            return false;
        }
        state.put_route(prefix, metric, protocol);
        self.has_notices.notify_one();
        true
    }

    /// Somebody makes a route over these neighbours, in another table that is looked up all the same; over none, it is
    /// removed. It tells the way to gateways that need not be neighbours.
    pub fn set_way(&self, prefix: IpNet, neighbours: &[IpAddr]) {
        let mut state = self.state();
        if neighbours.is_empty() {
            state.ways.remove(&prefix);
        } else {
            state.ways.insert(prefix, neighbours.to_vec());
        }
        state.tell([Notice::OtherRoute { prefix: Some(prefix) }]);
        self.has_notices.notify_one();
    }

    /// Somebody overwrites whatever is there with a blackhole route.
    pub fn overwrite_route(&self, prefix: IpNet, metric: u32, protocol: u8) {
        let mut state = self.state();
        state.put_route(prefix, metric, protocol);
        self.has_notices.notify_one();
    }

    /// Somebody removes a route. Returns whether there was one.
    pub fn remove_route(&self, prefix: IpNet, metric: u32) -> bool {
        let mut state = self.state();
        let Some((protocol, _)) = state.routes.remove(&(prefix, metric)) else { return false };
        state.tell([Notice::RouteRemoved { prefix, metric, protocol }]);
        self.has_notices.notify_one();
        true
    }

    /// How many routes carry a protocol id.
    pub fn route_count(&self, protocol: u8) -> usize {
        self.state().routes.values().filter(|(other, _)| *other == protocol).count()
    }

    /// Prefixes and metrics of the routes that carry a protocol id, sorted.
    pub fn routes(&self, protocol: u8) -> Vec<(IpNet, u32)> {
        let state = self.state();
        let of_protocol = state.routes.iter().filter(|(_, (other, _))| *other == protocol);
        of_protocol.map(|(key, _)| *key).collect()
    }

    /// How many requests have been carried out or refused since the last call.
    pub fn take_operation_count(&self) -> usize {
        std::mem::take(&mut self.state().operations).len()
    }

    /// How many routes of somebody else the `Fib` has overwritten. Always 0, one hopes.
    pub fn overwritten_count(&self) -> usize {
        self.state().overwritten
    }

    /// The next `count` batches are carried out in part, and their answers are lost.
    pub fn lose_batches(&self, count: usize) {
        self.state().lost_batches = count;
    }

    /// The next `count` dumps are interrupted by changes.
    pub fn interrupt_dumps(&self, count: usize) {
        self.state().interrupted_dumps = count;
    }

    /// Requests about routes to `prefix` fail with this error number from now on; with `None` no more.
    pub fn refuse(&self, prefix: IpNet, errno: Option<i32>) {
        let mut state = self.state();
        match errno {
            Some(errno) => state.refused.insert(prefix, errno),
            None => state.refused.remove(&prefix),
        };
    }

    /// What has not been told yet is told in the wrong order. Netlink never does that within one socket; a relay might.
    pub fn reverse_notices(&self) {
        self.state().notices.reverse();
    }

    /// Nothing is told until [`overrun`](FakeKernel::overrun).
    pub fn mute(&self) {
        self.state().is_mute = true;
    }

    /// What was not told is lost, and that is told.
    pub fn overrun(&self) {
        let mut state = self.state();
        state.is_mute = false;
        state.notices.clear();
        state.tell([Notice::Overrun]);
        self.has_notices.notify_one();
    }

    /// As a kernel before 5.3: no nexthop objects.
    pub fn without_nexthop_objects(&self) {
        self.state().has_no_nexthops = true;
    }

    /// Nexthop objects can be made, but not changed.
    pub fn refuse_nexthop_changes(&self, refuses: bool) {
        self.state().refuses_nexthop_changes = refuses;
    }

    pub(crate) fn serve(&self, ownership: Ownership) {
        self.state().ownership = Some(ownership);
    }

    pub(crate) async fn wait_for_notices(&self, notices: &mut Vec<Notice>) {
        loop {
            {
                notices.append(&mut self.state().notices);
            }
            if !notices.is_empty() {
                return;
            }
            self.has_notices.notified().await;
        }
    }

    #[cfg(test)]
    pub(crate) fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.state().notices)
    }

    #[cfg(test)]
    pub(crate) fn take_operations(&self) -> Vec<Op> {
        std::mem::take(&mut self.state().operations)
    }

    #[cfg(test)]
    pub(crate) fn contents(&self, protocol: u8) -> BTreeMap<(IpNet, u32), Content> {
        let state = self.state();
        let of_protocol = state.routes.iter().filter(|(_, (other, _))| *other == protocol);
        of_protocol.map(|(key, (_, content))| (*key, state.expanded(content))).collect()
    }

    #[cfg(test)]
    pub(crate) fn way_to(&self, address: IpAddr) -> Way {
        self.state().way(address)
    }

    #[cfg(test)]
    pub(crate) fn nexthop_ids(&self) -> Vec<u32> {
        self.state().nexthops.keys().copied().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked has failed already; what it left is still worth looking at.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn tell(&mut self, notices: impl IntoIterator<Item = Notice>) {
        if !self.is_mute {
            self.notices.extend(notices);
        }
    }

    fn put_route(&mut self, prefix: IpNet, metric: u32, protocol: u8) {
        let content = Arc::new(Content {
            action: Action::Blackhole,
            nexthop_id: 0,
            hops: Vec::new(),
            preferred_source: None,
            mtu: None,
        });
        self.routes.insert((prefix, metric), (protocol, Arc::clone(&content)));
        let route = KernelRoute { prefix, metric, content };
        self.tell([Notice::RouteAdded { route, protocol, replaces: false }]);
    }

    fn flush_interface(&mut self, index: u32) {
        let is_on = |nexthop: &KernelNexthop| matches!(nexthop.content, NexthopContent::Single { interface, .. } if interface == index);
        let gone: Vec<u32> =
            self.nexthops.values().filter(|nexthop| is_on(nexthop)).map(|nexthop| nexthop.id).collect();
        for id in gone {
            self.remove_nexthop(id);
            self.tell([Notice::NexthopChanged { id }]);
        }
        let uses = |content: &Content| content.hops.iter().any(|hop| hop.interface == index);
        let lost: Vec<(IpNet, u32)> =
            self.routes.iter().filter(|(_, (_, content))| uses(content)).map(|(key, _)| *key).collect();
        for (prefix, metric) in lost {
            let Some((protocol, _)) = self.routes.remove(&(prefix, metric)) else { continue };
            if prefix.addr().is_ipv6() {
                self.tell([Notice::RouteRemoved { prefix, metric, protocol }]);
            }
        }
    }

    fn remove_nexthop(&mut self, id: u32) {
        self.nexthops.remove(&id);
        let mut empty = Vec::new();
        for nexthop in self.nexthops.values_mut() {
            if let NexthopContent::Group(members) = &mut nexthop.content {
                members.retain(|(member, _)| *member != id);
                if members.is_empty() {
                    empty.push(nexthop.id);
                }
            }
        }
        self.routes.retain(|_, (_, content)| content.nexthop_id != id);
        empty.into_iter().for_each(|group| self.remove_nexthop(group));
    }

    fn is_up(&self, index: u32) -> bool {
        self.links.iter().any(|link| link.index == index && link.is_up)
    }

    /// Finds the interface of a hop, or says why there is none.
    fn resolve(&self, hop: &Hop) -> Result<Hop, Refusal> {
        let network = self.connected.iter().find(|network| {
            let is_reachable = hop.gateway.is_none_or(|gateway| network.prefix.contains(&gateway));
            is_reachable
                && self.is_up(network.interface)
                && (hop.interface == 0 || hop.interface == network.interface)
        });
        match network {
            Some(network) => Ok(Hop { interface: network.interface, ..hop.clone() }),
            None if hop.onlink && self.is_up(hop.interface) => Ok(hop.clone()),
            None => Err(Refusal::with_text(libc::ENETUNREACH, "Nexthop has invalid gateway")),
        }
    }

    /// The longest match for an address that is not a route of the `Fib`.
    fn way(&self, address: IpAddr) -> Way {
        let connected = self
            .connected
            .iter()
            .filter(|network| network.prefix.contains(&address) && self.is_up(network.interface))
            .max_by_key(|network| network.prefix.prefix_len());
        let way = self
            .ways
            .iter()
            .filter(|(prefix, _)| prefix.contains(&address))
            .max_by_key(|(prefix, _)| prefix.prefix_len());
        let hop = |gateway, interface| Hop { gateway, interface, onlink: false, weight: 1 };
        match (connected, way) {
            (Some(network), way)
                if way.is_none_or(|(prefix, _)| prefix.prefix_len() <= network.prefix.prefix_len()) =>
            {
                let hops = vec![hop(None, network.interface)];
                Ok(WayOut { prefix: network.prefix, protocol: 2, hops })
            }
            (_, Some((prefix, neighbours))) => {
                let hops = neighbours.iter().map(|gateway| self.resolve(&hop(Some(*gateway), 0)));
                Ok(WayOut { prefix: *prefix, protocol: 4, hops: hops.collect::<Result<_, _>>()? })
            }
            _ => Err(Refusal::with_text(libc::ENETUNREACH, "no route leads to the next hop")),
        }
    }

    fn carry_out(&mut self, op: &Op) -> Result<(), Refusal> {
        let Some(ownership) = self.ownership else { return Err(Refusal::new(libc::EINVAL)) };
        if let Op::DeleteRoute { prefix, .. } | Op::SetRoute { prefix, .. } = op
            && let Some(errno) = self.refused.get(prefix)
        {
            return Err(Refusal::new(*errno));
        }
        match op {
            Op::DeleteNexthop { id } if self.nexthops.contains_key(id) => {
                self.remove_nexthop(*id);
                Ok(())
            }
            Op::DeleteNexthop { .. } => Err(Refusal::new(libc::ENOENT)),
            Op::DeleteRoute { prefix, metric } => match self.routes.get(&(*prefix, *metric)) {
                Some((protocol, _)) if *protocol == ownership.protocol => {
                    self.routes.remove(&(*prefix, *metric));
                    Ok(())
                }
                _ => Err(Refusal::new(libc::ESRCH)),
            },
            Op::SetNexthop { id, content, verb } => self.set_nexthop(*id, content, *verb, ownership),
            Op::SetRoute { prefix, metric, verb, content } => {
                self.set_route((*prefix, *metric), *verb, content, ownership)
            }
        }
    }

    fn set_nexthop(
        &mut self,
        id: u32,
        content: &NexthopContent,
        verb: Verb,
        ownership: Ownership,
    ) -> Result<(), Refusal> {
        if self.has_no_nexthops {
            return Err(Refusal::new(libc::EOPNOTSUPP));
        }
        if verb == Verb::Create && self.nexthops.contains_key(&id) {
            return Err(Refusal::new(libc::EEXIST));
        }
        let is_group = |content: &NexthopContent| matches!(content, NexthopContent::Group(_));
        if let Some(old) = self.nexthops.get(&id)
            && (self.refuses_nexthop_changes || is_group(&old.content) != is_group(content))
        {
            return Err(Refusal::with_text(libc::EINVAL, "Can not replace a nexthop with a nexthop group."));
        }
        match content {
            NexthopContent::Single { gateway, interface, onlink } => {
                let hop = Hop { gateway: *gateway, interface: *interface, onlink: *onlink, weight: 1 };
                self.resolve(&hop)?;
            }
            NexthopContent::Group(members) => {
                if !members.iter().all(|(member, _)| self.nexthops.contains_key(member)) {
                    return Err(Refusal::with_text(libc::EINVAL, "Invalid nexthop id"));
                }
            }
            NexthopContent::Other => {}
        }
        let nexthop = KernelNexthop { id, protocol: ownership.protocol, content: content.clone() };
        self.nexthops.insert(id, nexthop);
        Ok(())
    }

    fn set_route(
        &mut self,
        key: (IpNet, u32),
        verb: Verb,
        content: &Arc<Content>,
        ownership: Ownership,
    ) -> Result<(), Refusal> {
        let there = self.routes.get(&key).map(|(protocol, _)| *protocol);
        if content.nexthop_id != 0 && !self.nexthops.contains_key(&content.nexthop_id) {
            return Err(Refusal::with_text(libc::EINVAL, "Nexthop id does not exist"));
        }
        let mut stored = (**content).clone();
        stored.hops = content.hops.iter().map(|hop| self.resolve(hop)).collect::<Result<_, _>>()?;
        stored.hops.sort_unstable();
        match (verb, there) {
            (Verb::Create, Some(_)) => return Err(Refusal::new(libc::EEXIST)),
            (Verb::Replace, Some(protocol)) if protocol != ownership.protocol => self.overwritten += 1,
            _ => {}
        }
        self.routes.insert(key, (ownership.protocol, Arc::new(stored)));
        Ok(())
    }

    /// A content as a dump shows it: with what its nexthop object holds.
    fn expanded(&self, content: &Content) -> Content {
        let single = |id: u32, weight: u16| match self.nexthops.get(&id).map(|nexthop| &nexthop.content) {
            Some(NexthopContent::Single { gateway, interface, onlink }) => {
                Some(Hop { gateway: *gateway, interface: *interface, onlink: *onlink, weight })
            }
            _ => None,
        };
        let mut expanded = content.clone();
        if content.nexthop_id != 0 {
            expanded.hops = match self.nexthops.get(&content.nexthop_id).map(|nexthop| &nexthop.content) {
                Some(NexthopContent::Group(members)) => {
                    members.iter().filter_map(|(id, weight)| single(*id, *weight)).collect()
                }
                _ => single(content.nexthop_id, 1).into_iter().collect(),
            };
            expanded.hops.sort_unstable();
        }
        expanded
    }
}

impl Kernel for FakeKernel {
    fn execute(&mut self, batch: &[Op]) -> Result<Refusals, Lost> {
        let mut state = self.state();
        let is_lost = state.lost_batches > 0;
        state.lost_batches = state.lost_batches.saturating_sub(1);
        let done = if is_lost { batch.len().div_ceil(2) } else { batch.len() };
        let mut refusals = Refusals::new();
        for (index, op) in batch.iter().enumerate().take(done) {
            state.operations.push(op.clone());
            if let Err(refusal) = state.carry_out(op) {
                refusals.push((index, refusal));
            }
        }
        if is_lost { Err(Lost::Overrun) } else { Ok(refusals) }
    }

    fn read(&mut self, reading: &Reading) -> Result<Snapshot, Lost> {
        let mut state = self.state();
        if state.interrupted_dumps > 0 {
            state.interrupted_dumps -= 1;
            return Err(Lost::Interrupted);
        }
        let protocol = state.ownership.map_or(0, |ownership| ownership.protocol);
        let routes = state.routes.iter().filter(|(_, (other, _))| *other == protocol).map(
            |((prefix, metric), (_, content))| KernelRoute {
                prefix: *prefix,
                metric: *metric,
                content: Arc::new(state.expanded(content)),
            },
        );
        Ok(Snapshot {
            ways: reading.gateways.iter().map(|gateway| (*gateway, state.way(*gateway))).collect(),
            links: state.links.clone(),
            connected: state.connected.clone(),
            nexthops: (!state.has_no_nexthops).then(|| state.nexthops.values().cloned().collect()),
            routes: (reading.scope == Scope::Full).then(|| routes.collect()),
            cost: std::time::Duration::ZERO,
        })
    }
}
