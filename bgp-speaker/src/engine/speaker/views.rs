//! Questions and answers: nothing here changes anything.

use super::Engine;
use super::convergence::has_told_all;
use crate::config::{AddPaths, AnnouncementKind, Family, NeighborError, NeighborId, NeighborRef, Role};
use crate::engine::candidates::other_next_hops;
use crate::engine::message_counts::MessageCounts;
use crate::engine::negotiate::Negotiated;
use crate::engine::peer::Peer;
use crate::engine::rib::{Path, PrefixId, Source};
use crate::engine::session::StateKind;
use crate::engine::time::MonoTime;
use crate::engine::update_group::UpdateGroup;
use crate::view::{MalformedView, MetricsView, NeighborView, PrefixCounts, StatusView};
use bgp_proto::NextHop;
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
        equal_next_hops: Vec<NextHop>,
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
            equal_next_hops: self.equal_next_hops(family, id, next_hop),
            from,
            local_pref,
        })
    }

    /// The next hops of paths that are as good as the best one, as far as a route may have them, the next best first.
    fn equal_next_hops(&self, family: Family, id: PrefixId, best: NextHop) -> Vec<NextHop> {
        let most = usize::from(self.config.fib_rules.next_hops_max()) - 1;
        let mut next_hops = other_next_hops(&self.ribs[family.index()], &self.attrs, &self.sources, id, best);
        next_hops.truncate(most);
        next_hops
    }

    /// Is a decision about a prefix outstanding?
    pub fn is_undecided(&self, family: Family, id: PrefixId) -> bool {
        self.ribs[family.index()].is_undecided(id)
    }

    /// All prefixes with a path, decided or not.
    pub fn known_ids(&self, family: Family) -> impl Iterator<Item = PrefixId> + '_ {
        let rib = &self.ribs[family.index()];
        rib.prefixes.ids().filter(|id| rib.is_undecided(*id) || rib.best(*id).is_some())
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

    /// Messages that could not be read or used, the oldest first; of all neighbours, or of one.
    ///
    /// # Errors
    /// There is no such neighbour, nor messages of a former one.
    pub fn malformed(
        &self,
        now: MonoTime,
        of: Option<NeighborRef>,
    ) -> Result<Vec<MalformedView>, NeighborError> {
        let messages = self.malformed.view(now, of, |id| self.name_of(id));
        match of {
            Some(of) if messages.is_empty() => self.find(of).map(|_| messages),
            _ => Ok(messages),
        }
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
                .map_or_else(Vec::new, |t| t.capabilities.iter().map(|c| c.to_string()).collect()),
            hold_time_secs: terms.and_then(|terms| terms.hold_time).map(|time| time.as_secs() as u16),
            local_address: own.flatten(),
            prefixes: self.prefix_counts(peer),
            messages_received: text(&peer.messages_received),
            messages_sent: text(&peer.messages_sent),
            established_count: peer.established_count,
            malformed_count: peer.malformed_count,
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
