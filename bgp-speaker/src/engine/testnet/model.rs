//! The same tables computed naively: one map per session, from the configurations alone, over and over until nothing
//! changes. No ids, no groups, no increments.

use super::configure::address_v6;
use super::naive_filter::{PlainRoute, numbers, pass};
use super::network::Network;
use super::node::NodeId;
use crate::config::filter::{CommunityValue, NextHopChange};
use crate::config::{AddPaths, Family, Neighbor, NextHopMode, Role, SpeakerConfig};
use crate::view::RouteView;
use bgp_proto::{BgpId, Community};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Rounds after which a network that still moves will move for ever.
const ROUNDS_MAX: usize = 100;

/// A route as plain values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    next_hop: Option<IpAddr>,
    origin: u8,
    as_path: Vec<u32>,
    local_pref: Option<u32>,
    med: Option<u32>,
    communities: Vec<Community>,
    originator: Option<BgpId>,
    cluster_list: Vec<BgpId>,
}

/// Routes by prefix; more than one only with ADD-PATH.
pub type Table = BTreeMap<IpNet, Vec<Route>>;

/// A route with the neighbour that sent it; `None`: it is the speaker's own.
type Candidate = (Option<NodeId>, Route);

/// What every speaker must know.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Adj-RIB-In by (receiver, sender).
    pub received: BTreeMap<(NodeId, NodeId), Table>,
    /// All routes by speaker, the best first.
    pub ranked: BTreeMap<NodeId, BTreeMap<IpNet, Vec<Candidate>>>,
}

/// One side of a session.
struct Side<'a> {
    node: NodeId,
    config: &'a SpeakerConfig,
    /// What it has configured about the other.
    neighbor: Neighbor,
}

impl Side<'_> {
    fn asn(&self) -> u32 {
        self.neighbor.options.local_as.unwrap_or(self.config.asn).0
    }

    fn is_external(&self) -> bool {
        self.config.remote_as(&self.neighbor.options).0 != self.asn()
    }

    /// How many routes of a prefix the other is told.
    fn told_max(&self, receiver: &Side<'_>) -> Option<usize> {
        let (ours, theirs) = (&self.neighbor.options, &receiver.neighbor.options);
        let sends = matches!(ours.add_paths, AddPaths::Send | AddPaths::Both);
        let is_agreed = sends && matches!(theirs.add_paths, AddPaths::Receive | AddPaths::Both);
        is_agreed.then_some(ours.add_paths_max.get().into())
    }

    fn is_client(&self) -> bool {
        self.neighbor.options.role == Role::Client
    }
}

impl Model {
    /// Of a network whose sessions are all up.
    ///
    /// # Panics
    /// If the routes of this network never come to rest.
    pub fn of(network: &Network) -> Model {
        let mut model = Model::default();
        for _ in 0..ROUNDS_MAX {
            let next = model.next(network);
            if next == model {
                return model;
            }
            model = next;
        }
        panic!("seed {}: the model finds no rest", network.seed())
    }

    fn next(&self, network: &Network) -> Model {
        let mut next = Model::default();
        for node in network.ids().filter(|id| network.is_running(*id)) {
            next.ranked.insert(node, self.rank(network, node));
        }
        for (a, b) in network.expected_sessions().into_iter().flat_map(|(a, b)| [(a, b), (b, a)]) {
            let (sender, receiver) = (side(network, a, b), side(network, b, a));
            let mut table = Table::new();
            for (prefix, ranked) in self.ranked.get(&a).into_iter().flatten() {
                let is_shared = [&sender, &receiver]
                    .iter()
                    .all(|s| s.neighbor.options.families.contains(&Family::of(prefix)));
                if !is_shared {
                    continue;
                }
                let told_max = sender.told_max(&receiver);
                let considered = ranked.iter().take(told_max.map_or(1, |_| usize::MAX));
                let routes: Vec<Route> = considered
                    .filter_map(|(from, route)| Some((*from, send(network, &sender, *from, *prefix, route)?)))
                    .take(told_max.unwrap_or(1))
                    .filter(|(from, _)| *from != Some(b))
                    .filter(|(_, route)| is_kept(&receiver, route))
                    .filter_map(|(_, route)| import(&receiver, *prefix, route))
                    .collect();
                if !routes.is_empty() {
                    table.insert(*prefix, routes);
                }
            }
            next.received.insert((b, a), table);
        }
        next
    }

    fn rank(&self, network: &Network, node: NodeId) -> BTreeMap<IpNet, Vec<Candidate>> {
        let mut candidates: BTreeMap<IpNet, Vec<Candidate>> = BTreeMap::new();
        for announcement in network.config(node).announcements.values() {
            let route = Route {
                next_hop: None,
                origin: announcement.origin as u8,
                as_path: Vec::new(),
                local_pref: announcement.local_pref,
                med: announcement.med,
                communities: announcement.communities.clone(),
                originator: None,
                cluster_list: Vec::new(),
            };
            candidates.entry(announcement.prefix).or_default().push((None, route));
        }
        for ((_, from), table) in self.received.iter().filter(|((to, _), _)| *to == node) {
            for (prefix, routes) in table {
                let routes = routes.iter().map(|route| (Some(*from), route.clone()));
                candidates.entry(*prefix).or_default().extend(routes);
            }
        }
        let rank = |mut of: Vec<Candidate>| {
            let mut ranked = Vec::new();
            while let Some(best) = choose(network, node, of.clone()) {
                of.remove(of.iter().position(|candidate| *candidate == best).unwrap_or(0));
                ranked.push(best);
            }
            ranked
        };
        candidates.into_iter().map(|(prefix, of)| (prefix, rank(of))).collect()
    }
}

/// RFC 4271 §9.1.2.2, step by step.
fn choose(network: &Network, node: NodeId, mut left: Vec<Candidate>) -> Option<Candidate> {
    if left.iter().any(|(from, _)| from.is_none()) {
        left.retain(|(from, _)| from.is_none());
    }
    let is_external = |from: Option<NodeId>| from.is_some_and(|from| side(network, node, from).is_external());
    let router_id = |from: Option<NodeId>| from.map_or(BgpId(0), |from| network.config(from).router_id);
    keep_lowest(&mut left, |(_, route)| u32::MAX - route.local_pref.unwrap_or(100));
    keep_lowest(&mut left, |(_, route)| route.as_path.len() as u32);
    keep_lowest(&mut left, |(_, route)| u32::from(route.origin));
    let all = left.clone();
    left.retain(|(_, route)| {
        let is_rival = |other: &Route| other.as_path.first() == route.as_path.first();
        let med = |route: &Route| route.med.unwrap_or(0);
        !all.iter().any(|(_, other)| is_rival(other) && med(other) < med(route))
    });
    keep_lowest(&mut left, |(from, _)| u32::from(!is_external(*from)));
    keep_lowest(&mut left, |(from, route)| route.originator.unwrap_or(router_id(*from)).0);
    keep_lowest(&mut left, |(_, route)| route.cluster_list.len() as u32);
    keep_lowest(&mut left, |(from, _)| from.map_or(0, NodeId::number));
    left.into_iter().next()
}

fn keep_lowest(left: &mut Vec<Candidate>, rank: impl Fn(&Candidate) -> u32) {
    let lowest = left.iter().map(&rank).min();
    left.retain(|candidate| Some(rank(candidate)) == lowest);
}

/// One side of the session between two nodes.
fn side(network: &Network, at: NodeId, of: NodeId) -> Side<'_> {
    let config = network.config(at);
    let listed = config.neighbors.get(&of.address().into()).cloned();
    let neighbor = listed.unwrap_or_else(|| {
        let range = config.listen_ranges.iter().filter(|range| range.prefix.contains(&of.address()));
        let range = range.max_by_key(|range| range.prefix.prefix_len());
        let options = range.map(|range| range.options.clone()).unwrap_or_default();
        Neighbor { options, ..Neighbor::ibgp(of.address()) }
    });
    Side { node: at, config, neighbor }
}

fn own_address(node: NodeId, prefix: IpNet) -> IpAddr {
    match prefix {
        IpNet::V4(_) => node.address(),
        IpNet::V6(_) => address_v6(node.number()),
    }
}

/// What a sender tells about a route; `None`: nothing. Who sent it is not asked here.
fn send(
    network: &Network,
    sender: &Side<'_>,
    from: Option<NodeId>,
    prefix: IpNet,
    route: &Route,
) -> Option<Route> {
    let has = |community| route.communities.contains(&community);
    let source = from.map(|from| side(network, sender.node, from));
    let is_from_ibgp = source.as_ref().is_some_and(|source| !source.is_external());
    let is_from_client = source.as_ref().is_some_and(Side::is_client);
    let to_external = sender.is_external();
    let is_held_back = has(Community::NO_ADVERTISE)
        || to_external && has(Community::NO_EXPORT)
        || !to_external && is_from_ibgp && !is_from_client && !sender.is_client();
    if is_held_back {
        return None;
    }
    let plain = plain(prefix, route, to_external, from.map(NodeId::address));
    let passed = pass(sender.config, &sender.neighbor.options.export, plain)?;
    let own = own_address(sender.node, prefix);
    let mut sent = route.clone();
    sent.take(&passed);
    let mode = match passed.next_hop_rule {
        None => sender.neighbor.options.next_hop,
        Some(NextHopChange::SelfAddress) => NextHopMode::SelfAddress,
        Some(NextHopChange::Unchanged | NextHopChange::Address(_)) => NextHopMode::Unchanged,
    };
    sent.next_hop = Some(match (passed.next_hop_now(), mode) {
        (None, _) | (_, NextHopMode::SelfAddress) => own,
        (Some(_), NextHopMode::Auto) if to_external => own,
        (Some(next_hop), _) => next_hop,
    });
    if to_external {
        sent.as_path.insert(0, sender.asn());
        sent.med = sent.med.filter(|_| from.is_none() || passed.has_set_med);
        (sent.local_pref, sent.originator, sent.cluster_list) = (None, None, Vec::new());
        return Some(sent);
    }
    sent.local_pref = Some(sent.local_pref.unwrap_or(100));
    if let Some(from) = from.filter(|_| is_from_ibgp) {
        sent.originator = Some(route.originator.unwrap_or(network.config(from).router_id));
        sent.cluster_list.insert(0, sender.config.cluster_id.unwrap_or(sender.config.router_id));
    }
    Some(sent)
}

/// Does a receiver keep it?
fn is_kept(receiver: &Side<'_>, route: &Route) -> bool {
    let own = [receiver.node.address(), address_v6(receiver.node.number())];
    let allowed = usize::from(receiver.neighbor.options.allow_own_as);
    let is_loop = |asn: u32| route.as_path.iter().filter(|other| **other == asn).count() > allowed;
    !is_loop(receiver.config.asn.0)
        && !is_loop(receiver.asn())
        && route.originator != Some(receiver.config.router_id)
        && !receiver.config.cluster_id.is_some_and(|id| route.cluster_list.contains(&id))
        && !route.next_hop.is_some_and(|next_hop| own.contains(&next_hop))
}

/// What the receiver's policy makes of it.
fn import(receiver: &Side<'_>, prefix: IpNet, mut route: Route) -> Option<Route> {
    let plain = plain(prefix, &route, receiver.is_external(), Some(receiver.neighbor.address));
    let passed = pass(receiver.config, &receiver.neighbor.options.import, plain)?;
    route.take(&passed);
    route.next_hop = passed.next_hop_now();
    Some(route)
}

fn plain(prefix: IpNet, route: &Route, is_external: bool, neighbor: Option<IpAddr>) -> PlainRoute {
    PlainRoute {
        prefix,
        is_external,
        next_hop: route.next_hop,
        next_hop_rule: None,
        neighbor,
        interface: None,
        as_path: route.as_path.clone(),
        local_pref: route.local_pref,
        med: route.med,
        has_set_med: false,
        communities: route.communities.iter().map(|c| numbers(CommunityValue::Standard(*c))).collect(),
    }
}

impl Route {
    /// Everything but the next hop.
    fn take(&mut self, passed: &PlainRoute) {
        self.as_path.clone_from(&passed.as_path);
        (self.local_pref, self.med) = (passed.local_pref, passed.med);
        let community = |numbers: &Vec<u64>| Community((numbers[0] << 16 | numbers[1]) as u32);
        self.communities = passed.communities.iter().map(community).collect();
    }
}

impl Network {
    /// Checks every Adj-RIB-In and every best route against the model.
    ///
    /// # Panics
    /// If one differs.
    pub fn check_model(&self) {
        let model = Model::of(self);
        for ((to, from), expected) in &model.received {
            let sorted = |mut texts: Vec<String>| {
                texts.sort_unstable();
                texts
            };
            let expected: BTreeMap<IpNet, Vec<String>> =
                expected.iter().map(|(p, routes)| (*p, sorted(routes.iter().map(text).collect()))).collect();
            let mut received: BTreeMap<IpNet, Vec<String>> = BTreeMap::new();
            for view in self.received_paths(*to, *from).values() {
                received.entry(view.prefix).or_default().push(view_text(view));
            }
            received.values_mut().for_each(|texts| texts.sort_unstable());
            let way = format!("seed {}: {} -> {}", self.seed(), from.number(), to.number());
            assert!(expected == received, "{way}: model {expected:#?}\nreceived {received:#?}");
        }
        for (node, expected) in &model.ranked {
            let name =
                |from: &Option<NodeId>| from.map_or("local".to_owned(), |from| from.address().to_string());
            let expected: BTreeMap<IpNet, String> =
                expected.iter().map(|(p, ranked)| (*p, name(&ranked[0].0))).collect();
            let best: BTreeMap<IpNet, String> =
                self.best(*node).into_iter().map(|(p, view)| (p, view.from)).collect();
            assert!(
                expected == best,
                "seed {}: {}: model {expected:#?}\nbest {best:#?}",
                self.seed(),
                node.number()
            );
        }
    }
}

fn text(route: &Route) -> String {
    let words = |values: Vec<String>| values.join(" ");
    format!(
        "via {} path [{}] origin {} lp {:?} med {:?} communities [{}] originator {:?} clusters [{}]",
        route.next_hop.map_or_else(String::new, |next_hop| next_hop.to_string()),
        words(route.as_path.iter().map(ToString::to_string).collect()),
        ["igp", "egp", "incomplete"][usize::from(route.origin)],
        route.local_pref,
        route.med,
        words(route.communities.iter().map(ToString::to_string).collect()),
        route.originator.map(|id| id.to_string()),
        words(route.cluster_list.iter().map(ToString::to_string).collect()),
    )
}

fn view_text(view: &RouteView) -> String {
    format!(
        "via {} path [{}] origin {} lp {:?} med {:?} communities [{}] originator {:?} clusters [{}]",
        view.next_hop.clone().unwrap_or_default(),
        view.as_path,
        view.origin,
        view.local_pref,
        view.med,
        view.communities.join(" "),
        view.originator_id,
        view.cluster_list.join(" "),
    )
}
