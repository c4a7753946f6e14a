//! Make before break: from one set of neighbours to another without a moment between them.
//!
//! A change that removes neighbours and brings others ends sessions whose routes nobody else tells yet. So what is to go
//! stays for a while, beside what is new: until the others are there, or until a time limit. It is a matter of the
//! desired state alone: [`Handover::applied_to`] puts what stays on top of it, and the speaker carries it out as it
//! carries out any other change. Everything else that changed is in force at once, passwords and filters among it.
//!
//! - **A neighbour that is removed stays** if others arrive with the same change, until these are established and have
//!   told all their routes. A node that is a member of the cluster still, whose routes are valid therefore, stays also
//!   where no other arrives but some remain, and until somebody else tells all its routes.
//! - **A client of our reflection stays** until it has closed its session, having found others itself; and one that is to
//!   be an ordinary neighbour from now on, of which nobody can tell whether it still needs us, until the time limit.
//! - **At once goes** who is disabled or down, who has left the cluster, whose address belongs to somebody else, and whose
//!   session would be one between other ASes.
//!
//! Here is no clock and no I/O: times are counted from the start of the daemon.

#[cfg(test)]
mod tests;

use crate::config::filter::Filter;
use crate::config::{BGP_PORT, Neighbor, NeighborId, Role, SpeakerConfig, at_address};
use crate::view::{HandoverView, HeldSession, NeighborView};
use bgp_proto::BgpId;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Once everything is there, the neighbours, who make the same change, may need this long to get there too.
const SETTLE: Duration = Duration::from_secs(2);

/// What stays. One per daemon; empty most of the time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handover {
    leaving: BTreeMap<NeighborId, Leaving>,
    /// Neighbours that stay clients, and since when.
    clients: BTreeMap<NeighborId, Duration>,
    /// Of the reflector that we are to be no more.
    cluster_id: Option<BgpId>,
    /// Who takes the places.
    arriving: BTreeSet<NeighborId>,
    /// Since when nothing is missing.
    ready_since: Option<Duration>,
    waits_for: Vec<String>,
}

/// A neighbour that nothing asks for any more, and what of the configuration it needs.
#[derive(Clone, Debug)]
struct Leaving {
    neighbor: Neighbor,
    since: Duration,
    /// A node of the cluster.
    is_member: bool,
    filters: BTreeMap<String, Arc<Filter>>,
    host_routes: BTreeMap<IpNet, IpAddr>,
}

/// A change of the desired state.
pub(crate) struct Change<'a> {
    pub(crate) old: &'a SpeakerConfig,
    pub(crate) new: &'a SpeakerConfig,
    /// Addresses of the cluster's nodes before it.
    pub(crate) members_before: &'a BTreeSet<IpAddr>,
    /// And after it.
    pub(crate) members: &'a BTreeSet<IpAddr>,
}

/// What is seen of the speaker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) sessions: BTreeMap<NeighborId, SeenSession>,
    /// How many prefixes nobody but those of [`Handover::to_be_covered`] tells.
    pub(crate) sole_routes: usize,
}

/// A session as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeenSession {
    pub(crate) is_up: bool,
    /// Its routes are kept although it is not up.
    pub(crate) is_kept: bool,
    pub(crate) has_told_all: bool,
}

/// Why something stays no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Others have taken its place.
    TakenOver,
    /// It has nothing more to give.
    Gone,
    /// The time limit.
    TimeOver,
}

impl Change<'_> {
    /// May a neighbour that the new state does not have stay for a while?
    fn may_stay(&self, neighbor: &Neighbor) -> bool {
        let address = neighbor.address;
        let is_own = self.new.local_addresses.contains(&address)
            || self.new.listen.iter().any(|listen| listen.ip() == address);
        let is_of_another = at_address(&self.new.neighbors, address).next().is_some()
            || self.new.listen_ranges.iter().any(|range| range.prefix.contains(&address));
        let has_left = self.members_before.contains(&address) && !self.members.contains(&address);
        neighbor.enabled && !is_own && !is_of_another && !has_left && self.has_same_ases(neighbor, neighbor)
    }

    fn has_same_ases(&self, before: &Neighbor, after: &Neighbor) -> bool {
        let ases = |config: &SpeakerConfig, neighbor: &Neighbor| {
            (config.local_as(&neighbor.options), config.remote_as(&neighbor.options))
        };
        ases(self.old, before) == ases(self.new, after)
    }

    fn removed(&self) -> impl Iterator<Item = (&NeighborId, &Neighbor)> {
        let is_gone = |id: &NeighborId| !self.new.neighbors.contains_key(id);
        self.old.neighbors.iter().filter(move |(id, _)| is_gone(id))
    }

    /// Neighbours that the old state does not have.
    fn added(&self) -> impl Iterator<Item = (&NeighborId, &Neighbor)> {
        let is_new = |neighbor: &Neighbor| at_address(&self.old.neighbors, neighbor.address).next().is_none();
        self.new.neighbors.iter().filter(move |(_, neighbor)| neighbor.enabled && is_new(neighbor))
    }

    /// Clients that are to be ordinary neighbours. Others may rely on what we reflect.
    fn former_clients(&self) -> impl Iterator<Item = NeighborId> {
        self.old.neighbors.iter().filter_map(|(id, before)| {
            let after = self.new.neighbors.get(id)?;
            let stays = self.members.contains(&id.address) && self.has_same_ases(before, after);
            (ends_reflection(before, after) && before.enabled && after.enabled && stays).then_some(*id)
        })
    }
}

fn ends_reflection(before: &Neighbor, after: &Neighbor) -> bool {
    before.options.role == Role::Client && after.options.role == Role::Peer
}

impl Leaving {
    fn of(neighbor: &Neighbor, change: &Change<'_>, since: Duration) -> Self {
        let names = neighbor.options.import.filters().iter().chain(neighbor.options.export.filters());
        let filters = names.filter_map(|name| Some((name.clone(), change.old.filters.get(name)?.clone())));
        let host_routes = &change.old.fib_rules.host_routes;
        let to_it = host_routes.get_key_value(&IpNet::from(neighbor.address));
        Self {
            neighbor: neighbor.clone(),
            since,
            is_member: change.members.contains(&neighbor.address),
            filters: filters.collect(),
            host_routes: to_it.map(|(prefix, via)| (*prefix, *via)).into_iter().collect(),
        }
    }

    fn is_client(&self) -> bool {
        self.neighbor.options.role == Role::Client
    }
}

impl Seen {
    /// What the speaker tells of its neighbours.
    pub(crate) fn of(neighbors: &[NeighborView]) -> Self {
        let session = |view: &NeighborView| {
            let id = NeighborId { address: view.address.parse().ok()?, port: view.port };
            let is_up = view.state == "Established";
            Some((id, SeenSession { is_up, is_kept: view.restarting, has_told_all: view.told_all }))
        };
        Self { sessions: neighbors.iter().filter_map(session).collect(), sole_routes: 0 }
    }

    fn session(&self, id: &NeighborId) -> SeenSession {
        self.sessions.get(id).copied().unwrap_or_default()
    }
}

impl Handover {
    /// Nothing stays.
    pub(crate) fn is_empty(&self) -> bool {
        self.leaving.is_empty() && self.clients.is_empty()
    }

    /// Does a change from `old` to `new` have anything to do with it? A quick look, for large clusters.
    pub(crate) fn is_concerned(&self, old: &SpeakerConfig, new: &SpeakerConfig) -> bool {
        let may_be_held = |(id, before): (&NeighborId, &Neighbor)| match new.neighbors.get(id) {
            None => true,
            Some(after) => ends_reflection(before, after),
        };
        !self.is_empty() || old.neighbors.iter().any(may_be_held)
    }

    /// The desired state has changed: who stays from now on. With a `limit` of 0 nobody does.
    pub(crate) fn begin(&mut self, change: &Change<'_>, limit: Duration, now: Duration) {
        self.leaving.retain(|id, leaving| {
            let has_left = leaving.is_member && !change.members.contains(&id.address);
            change.may_stay(&leaving.neighbor) && !has_left
        });
        let (added, remains) = (change.added().count() > 0, change.new.neighbors.values().any(|n| n.enabled));
        let removed: Vec<&Neighbor> =
            change.removed().map(|(_, neighbor)| neighbor).filter(|one| change.may_stay(one)).collect();
        let is_member = |neighbor: &Neighbor| change.members.contains(&neighbor.address);
        let has_clients = removed.iter().any(|one| is_member(one) && one.options.role == Role::Client);
        let stays = |one: &&Neighbor| added || (is_member(one) && (remains || has_clients));
        for neighbor in removed.iter().copied().filter(stays) {
            self.leaving.insert(neighbor.id(), Leaving::of(neighbor, change, now));
        }
        let is_client = |id: &NeighborId| {
            change.new.neighbors.get(id).is_some_and(|one| one.options.role == Role::Peer && one.enabled)
        };
        self.clients.retain(|id, _| is_client(id) && change.members.contains(&id.address));
        for id in change.former_clients() {
            self.clients.entry(id).or_insert(now);
        }
        self.cluster_id = change.old.cluster_id.or(self.cluster_id);
        self.arriving.extend(change.added().map(|(id, _)| *id));
        self.arriving.retain(|id| change.new.neighbors.get(id).is_some_and(|neighbor| neighbor.enabled));
        self.ready_since = None;
        // Rather a gap than a change that cannot be made.
        if limit.is_zero() || self.is_empty() || !self.applied_to(change.new.clone()).problems().is_empty() {
            *self = Self::default();
        }
    }

    /// The desired state with what stays on top.
    pub(crate) fn applied_to(&self, mut config: SpeakerConfig) -> SpeakerConfig {
        let has_clients = !self.clients.is_empty() || self.leaving.values().any(Leaving::is_client);
        if has_clients && config.cluster_id.is_none() {
            config.cluster_id = self.cluster_id;
        }
        for (id, leaving) in &self.leaving {
            config.neighbors.insert(*id, leaving.neighbor.clone());
            config.leaving.insert(*id);
            for (name, filter) in &leaving.filters {
                config.filters.entry(name.clone()).or_insert_with(|| filter.clone());
            }
            for (prefix, via) in &leaving.host_routes {
                config.fib_rules.host_routes.entry(*prefix).or_insert(*via);
            }
        }
        for id in self.clients.keys() {
            if let Some(neighbor) = config.neighbors.get_mut(id) {
                neighbor.options.role = Role::Client;
            }
        }
        config
    }

    /// Nobody of these stays any longer, since somebody wants it so. Answers whether there was one.
    pub(crate) fn drop_all(&mut self, is_meant: impl Fn(NeighborId) -> bool) -> bool {
        let before = self.leaving.len();
        self.leaving.retain(|id, _| !is_meant(*id));
        self.leaving.len() < before
    }

    /// Whose routes others must tell first.
    pub(crate) fn to_be_covered(&self) -> Vec<NeighborId> {
        if self.leaving.values().any(Leaving::is_client) {
            return Vec::new();
        }
        self.leaving.iter().filter(|(_, leaving)| leaving.is_member).map(|(id, _)| *id).collect()
    }

    /// Time has passed: who stays no longer, and why.
    pub(crate) fn advance(&mut self, seen: &Seen, limit: Duration, now: Duration) -> Vec<(NeighborId, End)> {
        let mut ended = Vec::new();
        self.waits_for = self.missing(seen);
        if !self.waits_for.is_empty() {
            self.ready_since = None;
        } else if !self.leaving.is_empty() {
            self.waits_for = vec!["nothing but that the others get there too".to_owned()];
            let ready_since = *self.ready_since.get_or_insert(now);
            if now - ready_since >= SETTLE {
                let leaving = std::mem::take(&mut self.leaving);
                ended.extend(leaving.into_keys().map(|id| (id, End::TakenOver)));
            }
        }
        self.leaving.retain(|id, leaving| {
            let session = seen.session(id);
            let end = match () {
                () if !session.is_up && !session.is_kept => End::Gone,
                () if now >= leaving.since + limit => End::TimeOver,
                () => return true,
            };
            ended.push((*id, end));
            false
        });
        self.clients.retain(|id, since| {
            let is_over = now >= *since + limit;
            ended.extend(is_over.then_some((*id, End::TimeOver)));
            !is_over
        });
        if !self.clients.is_empty() && self.leaving.is_empty() {
            self.waits_for = vec!["the clients to find each other".to_owned()];
        }
        ended
    }

    /// What is missing before those that leave may go.
    fn missing(&self, seen: &Seen) -> Vec<String> {
        let mut missing = Vec::new();
        for id in &self.arriving {
            match seen.session(id) {
                SeenSession { is_up: false, .. } => missing.push(format!("a session with {}", name(*id))),
                SeenSession { has_told_all: false, .. } => {
                    missing.push(format!("all routes of {}", name(*id)))
                }
                SeenSession { .. } => {}
            }
        }
        let clients =
            self.leaving.iter().filter(|(id, leaving)| leaving.is_client() && seen.session(id).is_up);
        missing.extend(clients.map(|(id, _)| format!("client {} to leave", name(*id))));
        if seen.sole_routes > 0 && !self.to_be_covered().is_empty() {
            missing.push(format!("others to tell {} routes", seen.sole_routes));
        }
        missing
    }

    /// For `status` and `plan`; `None` if nothing stays.
    pub(crate) fn view(
        &self,
        target: &SpeakerConfig,
        limit: Duration,
        now: Duration,
    ) -> Option<HandoverView> {
        let leaving =
            self.leaving.iter().map(|(id, leaving)| (*id, &leaving.neighbor, "leaving", leaving.since));
        let clients = self
            .clients
            .iter()
            .filter_map(|(id, since)| Some((*id, target.neighbors.get(id)?, "client", *since)));
        let held: Vec<_> = leaving.chain(clients).collect();
        let last = held.iter().map(|(.., since)| *since).max()?;
        let session = |(id, neighbor, role, _): (NeighborId, &Neighbor, &str, Duration)| HeldSession {
            neighbor: name(id),
            name: neighbor.display_name(),
            role: role.to_owned(),
        };
        Some(HandoverView {
            sessions: held.into_iter().map(session).collect(),
            at_most_secs: (last + limit).saturating_sub(now).as_secs_f64().ceil() as u64,
            waits_for: self.waits_for.clone(),
        })
    }
}

/// A neighbour for messages.
pub(crate) fn name(id: NeighborId) -> String {
    if id.port == BGP_PORT { id.address.to_string() } else { id.to_string() }
}
