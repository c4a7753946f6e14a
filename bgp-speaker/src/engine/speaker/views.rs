//! Questions and answers: nothing here changes anything.

use super::Engine;
use super::convergence::has_told_all;
use super::flush::export_view;
use crate::config::{AddPaths, AnnouncementKind, Family, NeighborError, NeighborId, Role};
use crate::engine::candidates::equal_to_best;
use crate::engine::message_counts::MessageCounts;
use crate::engine::negotiate::Negotiated;
use crate::engine::peer::Peer;
use crate::engine::rib::{Path, PrefixId, Source};
use crate::engine::session::StateKind;
use crate::engine::time::MonoTime;
use crate::engine::update_group::{Announce, ExportView, UpdateGroup, Verdicts, export, export_attributes};
use crate::engine::wire::Edits;
use crate::engine::wire::decode_canonical;
use crate::view::{
    KernelRouteView, MetricsView, NeighborView, PrefixCounts, RouteQuery, RouteTable, RouteView, StatusView,
};
use bgp_proto::{NextHop, PathAttributes, encode_prefix};
use bytes::BytesMut;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A best path as a subscriber sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BestRoute {
    /// Another program has it in the kernel, or it is the network of an interface.
    Kernel,
    /// We originate it.
    Local(AnnouncementKind),
    /// Learned.
    Learned {
        /// Where to send packets.
        next_hop: NextHop,
        /// Where else they may be sent.
        equal: Vec<NextHop>,
        /// From whom we know.
        from: IpAddr,
        /// Its LOCAL_PREF; 100 where it has none.
        local_pref: u32,
    },
}

impl Engine {
    /// The best path of a prefix.
    pub fn best_route(&self, family: Family, id: PrefixId) -> Option<BestRoute> {
        let rib = &self.ribs[family.index()];
        let path = rib.best(id).filter(|_| !rib.is_undecided(id))?;
        if path.source.is_own() && path.source != Source::LOCAL {
            return Some(BestRoute::Kernel);
        }
        if path.source == Source::LOCAL {
            let prefix = self.prefix(family, id)?;
            let kind = self.config.announcements.get(&prefix).map_or(AnnouncementKind::Route, |a| a.kind);
            return Some(BestRoute::Local(kind));
        }
        let next_hop = self.attrs.set(path.attr).next_hop?;
        let from = self.sources[path.source.0 as usize].address;
        let local_pref = self.attrs.record(path.attr).local_pref;
        Some(BestRoute::Learned {
            next_hop,
            equal: self.equal_next_hops(family, id, next_hop),
            from,
            local_pref,
        })
    }

    /// The next hops of paths that are as good as the best one, as far as the kernel is to have them, in order.
    fn equal_next_hops(&self, family: Family, id: PrefixId, best: NextHop) -> Vec<NextHop> {
        let most = usize::from(self.config.fib_rules.next_hops_max.get()) - 1;
        let rib = &self.ribs[family.index()];
        if most == 0 || rib.paths(id).nth(1).is_none() {
            return Vec::new();
        }
        let paths: Vec<Path> = rib.paths(id).map(|(path, _)| path).collect();
        let mut next_hops: Vec<NextHop> = Vec::new();
        for path in equal_to_best(&self.attrs, &self.sources, &paths) {
            // Several reflectors tell of one next hop.
            let next_hop = self.attrs.set(path.attr).next_hop;
            next_hops.extend(next_hop.filter(|new| *new != best && !next_hops.contains(new)));
        }
        next_hops.truncate(most);
        next_hops
    }

    /// All prefixes with a decided best path.
    pub fn best_ids(&self, family: Family) -> impl Iterator<Item = PrefixId> + '_ {
        let rib = &self.ribs[family.index()];
        rib.prefixes.ids().filter(|id| !rib.is_undecided(*id) && rib.best(*id).is_some())
    }

    /// One screen about the speaker.
    pub fn status(&self, now: MonoTime) -> StatusView {
        let count = |of: fn(&crate::engine::rib::Rib) -> usize| {
            Family::ALL.iter().map(|family| (family.to_string(), of(&self.ribs[family.index()]))).collect()
        };
        StatusView {
            asn: self.config.asn.0,
            router_id: self.config.router_id.to_string(),
            cluster_id: self.config.cluster_id.map(|id| id.to_string()),
            uptime_secs: now.since(self.started).as_secs(),
            listen: self.config.listen.iter().map(ToString::to_string).collect(),
            sessions: self.sessions_by_state(),
            routes: count(|rib| rib.best_count()),
            paths: count(|rib| rib.path_count()),
            ready: self.is_converged(),
            fib: None,
            kernel_import: None,
            datastore: None,
            handover: None,
        }
    }

    fn sessions_by_state(&self) -> BTreeMap<String, usize> {
        let mut counts: BTreeMap<String, usize> =
            StateKind::ALL.into_iter().map(|state| (state.to_string(), 0)).collect();
        for peer in self.peers.iter().flatten() {
            *counts.entry(peer.state().to_string()).or_default() += 1;
        }
        counts
    }

    /// All neighbours, by address and port.
    pub fn neighbors(&self, now: MonoTime) -> Vec<NeighborView> {
        self.by_id.values().filter_map(|source| self.peer(*source)).map(|p| self.neighbor(now, p)).collect()
    }

    fn neighbor(&self, now: MonoTime, peer: &Peer) -> NeighborView {
        let terms = peer.established.as_ref().map(|established| &established.terms);
        let text =
            |counts: &MessageCounts| counts.iter().map(|(name, count)| (name.to_owned(), count)).collect();
        let own = terms.map(|terms| match peer.neighbor.address {
            IpAddr::V4(_) => terms.own.v4.map(|v4| v4.to_string()),
            IpAddr::V6(_) => terms.own.v6.map(|v6| v6.to_string()),
        });
        let name = &peer.neighbor.name;
        let called = || self.name_of(peer.neighbor.id());
        NeighborView {
            address: peer.neighbor.address.to_string(),
            port: peer.neighbor.port,
            name: if name.is_empty() { called() } else { name.clone() },
            remote_as: self.config.remote_as(peer.options()).0,
            local_as: peer.options().local_as.unwrap_or(self.config.asn).0,
            role: match peer.options().role {
                Role::Peer => "peer".to_owned(),
                Role::Client => "client".to_owned(),
            },
            dynamic: peer.range.is_some(),
            state: peer.state().to_string(),
            uptime_secs: now.since(peer.state_since).as_secs(),
            router_id: terms.map(|terms| terms.remote_id.to_string()),
            families: terms.map_or_else(Vec::new, |t| t.families.iter().map(ToString::to_string).collect()),
            add_paths: terms.map_or_else(BTreeMap::new, |terms| add_paths(terms)),
            capabilities: terms
                .map_or_else(Vec::new, |t| t.capabilities.iter().map(|c| format!("{c:?}")).collect()),
            hold_time_secs: terms.and_then(|terms| terms.hold_time).map(|time| time.as_secs() as u16),
            local_address: own.flatten(),
            prefixes: self.prefix_counts(peer),
            messages_received: text(&peer.messages_received),
            messages_sent: text(&peer.messages_sent),
            established_count: peer.established_count,
            last_error: peer.last_error.clone(),
            restarting: peer.retention.is_some(),
            told_all: has_told_all(now, peer),
            leaving: peer.is_leaving,
            slow: self.groups_of(peer).any(|g| g.member(peer.source).is_some_and(|m| m.is_slow())),
        }
    }

    fn groups_of<'a>(&'a self, peer: &'a Peer) -> impl Iterator<Item = &'a UpdateGroup> {
        let indexes = peer.established.as_ref().map(|established| established.groups).unwrap_or_default();
        indexes.into_iter().flatten().filter_map(|index| self.groups[index].as_ref())
    }

    fn prefix_counts(&self, peer: &Peer) -> BTreeMap<String, PrefixCounts> {
        let info = &self.sources[peer.source.0 as usize];
        let families = peer.established.as_ref().map_or(&[][..], |established| &established.terms.families);
        let counts = families.iter().map(|family| {
            let received = u64::from(info.path_count[family.index()]);
            let group = self.group_of(peer.source, *family).and_then(|index| self.groups[index].as_ref());
            let advertised = group.map_or(0, |group| group.advertised_count(peer.source) as u64);
            (family.to_string(), PrefixCounts { received, accepted: received, advertised })
        });
        counts.collect()
    }

    /// How many prefixes nobody but these neighbours tells. Stale paths of others count for nothing.
    pub fn sole_routes(&self, neighbors: &[NeighborId]) -> usize {
        let sources: Vec<Source> = neighbors.iter().filter_map(|id| self.by_id.get(id)).copied().collect();
        let is_theirs = |path: &Path| sources.contains(&path.source);
        let is_sole = |family: Family, id: PrefixId| {
            let mut is_told = false;
            let has_other = self.ribs[family.index()].paths(id).any(|(path, stale)| {
                is_told |= is_theirs(&path);
                !stale && !is_theirs(&path)
            });
            is_told && !has_other
        };
        let of_family = |family: Family| {
            self.ribs[family.index()].prefixes.ids().filter(|id| is_sole(family, *id)).count()
        };
        Family::ALL.into_iter().map(of_family).sum()
    }

    /// Routes, in the order of their prefixes; and whether there are more than asked for.
    ///
    /// # Errors
    /// There is no such neighbour, or more than one.
    pub fn routes(&self, query: &RouteQuery) -> Result<(Vec<RouteView>, bool), NeighborError> {
        let source = query.neighbor.map(|wanted| self.find(wanted)).transpose()?;
        let limit = query.limit.unwrap_or(usize::MAX);
        let mut routes = Vec::new();
        for family in Family::ALL {
            for (prefix, id) in self.matching(family, query) {
                match query.table {
                    RouteTable::Advertised => {
                        routes.extend(
                            source.into_iter().flat_map(|to| self.advertised(family, prefix, id, to)),
                        );
                    }
                    _ => routes.extend(self.paths_of(family, prefix, id, query.table, source)),
                }
                if routes.len() > limit {
                    routes.truncate(limit);
                    return Ok((routes, true));
                }
            }
        }
        Ok((routes, false))
    }

    fn matching(&self, family: Family, query: &RouteQuery) -> Vec<(IpNet, PrefixId)> {
        let rib = &self.ribs[family.index()];
        if let Some(prefix) = query.prefix.filter(|_| !query.longer) {
            let mut key = [0; bgp_proto::MAX_PREFIX_WIRE_LEN];
            let length = encode_prefix(prefix, &mut key);
            let id = rib.prefixes.find(&key[..length]).filter(|_| Family::of(&prefix) == family);
            return id.map(|id| (prefix.trunc(), id)).into_iter().collect();
        }
        let is_inside = |prefix: &IpNet| query.prefix.is_none_or(|outer| outer.contains(prefix));
        let all = rib.prefixes.ids().filter_map(|id| Some((self.prefix(family, id)?, id)));
        let mut matching: Vec<_> = all.filter(|(prefix, _)| is_inside(prefix)).collect();
        matching.sort_unstable();
        matching
    }

    fn paths_of<'a>(
        &'a self,
        family: Family,
        prefix: IpNet,
        id: PrefixId,
        table: RouteTable,
        source: Option<Source>,
    ) -> impl Iterator<Item = RouteView> + 'a {
        let rib = &self.ribs[family.index()];
        let is_decided = !rib.is_undecided(id);
        rib.paths(id).enumerate().filter_map(move |(position, (path, stale))| {
            let best = position == 0 && is_decided;
            let wanted =
                (table != RouteTable::Best || best) && source.is_none_or(|source| source == path.source);
            wanted.then(|| {
                let set = self.attrs.set(path.attr);
                let attributes = decode_canonical(set.wire);
                RouteView { best, stale, ..self.route(family, prefix, path, &attributes, set.next_hop) }
            })
        })
    }

    /// As it is on the wire to a neighbour.
    fn advertised(&self, family: Family, prefix: IpNet, id: PrefixId, to: Source) -> Vec<RouteView> {
        let group = self.group_of(to, family).and_then(|index| self.groups[index].as_ref());
        let Some(group) = group else { return Vec::new() };
        let view = export_view!(self, family);
        let mut verdicts = Verdicts::default();
        let announcements: Vec<Announce> = match group.told() {
            Some(told) => told.announcements(&view, &group.key, id, to, &mut verdicts).collect(),
            None => {
                let path = view.rib.best(id).filter(|_| group.advertised().contains(id));
                let told = path.filter(|path| path.source != to).and_then(|path| {
                    let (next_hop, changes) = export(&view, &group.key, id, path, &mut verdicts).ok()?;
                    Some(Announce { path, next_hop, changes, id })
                });
                told.into_iter().collect()
            }
        };
        let key = crate::engine::update_group::GroupKey { four_octet_as: true, ..group.key.clone() };
        let views = announcements.into_iter().map(|Announce { path, next_hop, changes, .. }| {
            let changed = verdicts.changed_set(&view, &group.key, path, changes);
            let (mut block, mut edits) = (BytesMut::new(), Edits::default());
            export_attributes(&view, &key, path, next_hop, changed.as_ref(), &mut edits, &mut block);
            let route = self.route(family, prefix, path, &decode_canonical(&block), Some(next_hop));
            RouteView { path_id: key.add_paths.map(|_| path.path_id), ..route }
        });
        views.collect()
    }

    pub(super) fn route(
        &self,
        family: Family,
        prefix: IpNet,
        path: Path,
        attributes: &PathAttributes,
        next_hop: Option<NextHop>,
    ) -> RouteView {
        fn texts<T: ToString>(values: &[T]) -> Vec<String> {
            values.iter().map(ToString::to_string).collect()
        }
        let from = &self.sources[path.source.0 as usize];
        let from = NeighborId { address: from.address, port: from.port };
        RouteView {
            prefix,
            family,
            next_hop: next_hop.map(|next_hop| next_hop.addr().to_string()),
            from: match path.source {
                Source::LOCAL => "local".to_owned(),
                source if source.is_own() => "kernel".to_owned(),
                _ => self.name_of(from),
            },
            kernel: self.kernel_view(&prefix, path.source),
            best: true,
            origin: attributes.origin.map(|origin| origin.to_string()).unwrap_or_default(),
            as_path: attributes.as_path.as_ref().map(ToString::to_string).unwrap_or_default(),
            local_pref: attributes.local_pref,
            med: attributes.med,
            communities: texts(&attributes.communities),
            extended_communities: texts(&attributes.extended_communities),
            large_communities: texts(&attributes.large_communities),
            originator_id: attributes.originator_id.map(|id| id.to_string()),
            cluster_list: texts(&attributes.cluster_list),
            path_id: Some(path.path_id).filter(|id| *id != 0 || self.has_path_ids(family, path.source)),
            stale: false,
        }
    }

    /// What the kernel has, for a path from there.
    fn kernel_view(&self, prefix: &IpNet, source: Source) -> Option<KernelRouteView> {
        match source {
            Source::NETWORK => {
                let interface = self.kernel.networks.get(prefix).map(ToString::to_string);
                Some(KernelRouteView { is_network: true, interface, ..KernelRouteView::default() })
            }
            Source::ELEVATED | Source::KERNEL => {
                self.kernel.routes.get(prefix).map(|route| KernelRouteView {
                    is_network: false,
                    interface: route.interface.as_deref().map(str::to_owned),
                    gateway: route.gateway.map(|gateway| gateway.to_string()),
                    metric: route.metric,
                    protocol: route.protocol,
                    is_blackhole: route.is_blackhole,
                })
            }
            _ => None,
        }
    }

    /// Does a source number its paths?
    fn has_path_ids(&self, family: Family, source: Source) -> bool {
        let established = self.peer(source).and_then(|peer| peer.established.as_ref());
        established.is_some_and(|established| established.terms.params.add_path_rx(family.afi_safi()))
    }

    /// Counters and gauges.
    pub fn metrics(&self) -> MetricsView {
        let groups = || self.groups.iter().flatten();
        let messages = |direction: &str, counts: &MessageCounts| -> Vec<(String, String, u64)> {
            counts.iter().map(|(name, count)| (direction.to_owned(), name.to_owned(), count)).collect()
        };
        let routes = Family::ALL.iter().flat_map(|family| {
            let rib = &self.ribs[family.index()];
            [
                ("loc-rib".to_owned(), family.to_string(), rib.best_count() as u64),
                ("adj-rib-in".to_owned(), family.to_string(), rib.path_count() as u64),
            ]
        });
        let of_ribs =
            |part: fn(&crate::engine::rib::Rib) -> usize| self.ribs.iter().map(part).sum::<usize>() as u64;
        MetricsView {
            sessions: self.sessions_by_state(),
            session_up: self
                .by_id
                .iter()
                .map(|(id, source)| {
                    (self.name_of(*id), self.peer(*source).is_some_and(|p| p.established.is_some()))
                })
                .collect(),
            transitions: self
                .counters
                .transitions
                .iter()
                .map(|((to, reason), count)| ((*to).to_owned(), (*reason).to_owned(), *count))
                .collect(),
            messages: [messages("in", &self.counters.received), messages("out", &self.counters.sent)]
                .concat(),
            update_errors: self
                .counters
                .update_errors
                .iter()
                .map(|((attribute, action), count)| (attribute.clone(), (*action).to_owned(), *count))
                .collect(),
            routes: routes.collect(),
            attributes: self.attrs.len() as u64,
            memory_bytes: vec![
                ("attributes".to_owned(), self.attrs.memory_bytes() as u64),
                ("groups".to_owned(), groups().map(UpdateGroup::memory_bytes).sum::<usize>() as u64),
                (
                    "paths".to_owned(),
                    of_ribs(|rib| rib.memory_bytes())
                        + self.incoming.iter().map(|batch| batch.memory_bytes() as u64).sum::<u64>(),
                ),
                ("prefixes".to_owned(), of_ribs(|rib| rib.prefixes.memory_bytes())),
            ],
            update_groups: groups().count() as u64,
            slow_sessions: groups().map(UpdateGroup::slow_count).sum::<usize>() as u64,
            ready: self.is_converged(),
            // Time is kept where there is a clock.
            ..MetricsView::default()
        }
    }
}

/// What was agreed on about several paths of one prefix.
fn add_paths(terms: &Negotiated) -> BTreeMap<String, AddPaths> {
    let of = |family: &Family| match (
        terms.params.add_path_rx(family.afi_safi()),
        terms.params.add_path_tx(family.afi_safi()),
    ) {
        (false, false) => None,
        (true, false) => Some(AddPaths::Receive),
        (false, true) => Some(AddPaths::Send),
        (true, true) => Some(AddPaths::Both),
    };
    terms.families.iter().filter_map(|family| Some((family.to_string(), of(family)?))).collect()
}
