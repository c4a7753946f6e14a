//! Filters once more, naively: on plain values, by recursion, without looking at the engine's way of doing it.

use crate::config::filter::{
    Action, CommunityPattern, CommunityValue, Condition, Filter, NextHopChange, RouteSource, Rule,
    SessionKind, Then,
};
use crate::config::{Family, PolicyRef, SpeakerConfig};
use ipnet::IpNet;
use std::net::IpAddr;

/// A route, and the session that it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainRoute {
    /// Its prefix.
    pub prefix: IpNet,
    /// Is the session eBGP?
    pub is_external: bool,
    /// As it came; `None`: own.
    pub next_hop: Option<IpAddr>,
    /// Set by a filter, the last time.
    pub next_hop_rule: Option<NextHopChange>,
    /// `None`: own.
    pub neighbor: Option<IpAddr>,
    /// Of a kernel route.
    pub interface: Option<String>,
    /// Nearest first.
    pub as_path: Vec<u32>,
    /// If there is one.
    pub local_pref: Option<u32>,
    /// If there is one.
    pub med: Option<u32>,
    /// By a filter.
    pub has_set_med: bool,
    /// By [`numbers`].
    pub communities: Vec<Vec<u64>>,
}

impl PlainRoute {
    /// The address that a filter has set, else as it came.
    pub fn next_hop_now(&self) -> Option<IpAddr> {
        match self.next_hop_rule {
            Some(NextHopChange::Address(address)) => Some(address),
            _ => self.next_hop,
        }
    }
}

/// A community as numbers: two of a standard one, three of a large one, eight octets of an extended one.
pub fn numbers(value: CommunityValue) -> Vec<u64> {
    match value {
        CommunityValue::Standard(community) => {
            vec![u64::from(community.0 >> 16), u64::from(community.0 & 0xffff)]
        }
        CommunityValue::Large(large) => [large.global, large.local1, large.local2].map(u64::from).to_vec(),
        CommunityValue::Extended(extended) => extended.0.map(u64::from).to_vec(),
    }
}

fn pattern_numbers(pattern: &CommunityPattern) -> Vec<Option<u64>> {
    match *pattern {
        CommunityPattern::Exact(value) => numbers(value).into_iter().map(Some).collect(),
        CommunityPattern::Standard(high, low) => vec![high.map(u64::from), low.map(u64::from)],
        CommunityPattern::Large(a, b, c) => [a, b, c].map(|number| number.map(u64::from)).to_vec(),
    }
}

fn fits(pattern: &CommunityPattern, community: &[u64]) -> bool {
    let pattern = pattern_numbers(pattern);
    pattern.len() == community.len()
        && pattern.iter().zip(community).all(|(wanted, number)| wanted.is_none_or(|wanted| wanted == *number))
}

enum Step<'a> {
    Rule(&'a Rule),
    Otherwise(Then),
}

/// What is left of a route after a policy; `None`: nothing.
pub fn pass(config: &SpeakerConfig, policy: &PolicyRef, route: PlainRoute) -> Option<PlainRoute> {
    match policy {
        PolicyRef::Accept => Some(route),
        PolicyRef::Reject => None,
        PolicyRef::Filters(names) => {
            let filters: Vec<&Filter> = names.iter().map(|name| &*config.filters[name]).collect();
            pass_filters(&filters, route)
        }
    }
}

/// The same for filters.
pub fn pass_filters(filters: &[&Filter], route: PlainRoute) -> Option<PlainRoute> {
    let steps: Vec<Step<'_>> = filters
        .iter()
        .flat_map(|filter| filter.rules.iter().map(Step::Rule).chain([Step::Otherwise(filter.default)]))
        .collect();
    go(&steps, route)
}

fn go(steps: &[Step<'_>], mut route: PlainRoute) -> Option<PlainRoute> {
    let Some((first, rest)) = steps.split_first() else { return Some(route) };
    let then = match first {
        Step::Otherwise(then) => *then,
        Step::Rule(rule) if rule.conditions.iter().all(|condition| is_true(condition, &route)) => {
            rule.actions.iter().for_each(|action| act(action, &mut route));
            rule.then
        }
        Step::Rule(_) => Then::Next,
    };
    match then {
        Then::Accept => Some(route),
        Then::Reject => None,
        Then::Next => go(rest, route),
    }
}

fn is_true(condition: &Condition, route: &PlainRoute) -> bool {
    let inside = |networks: &[IpNet], address: Option<IpAddr>| {
        networks.iter().any(|network| address.is_some_and(|address| network.contains(&address)))
    };
    let carries = |pattern: &CommunityPattern| route.communities.iter().any(|c| fits(pattern, c));
    match condition {
        Condition::Family(Family::Ipv4Unicast) => route.prefix.addr().is_ipv4(),
        Condition::Family(Family::Ipv6Unicast) => route.prefix.addr().is_ipv6(),
        Condition::Prefix { set, negated: false } => set.ranges().iter().any(|r| r.contains(&route.prefix)),
        Condition::Prefix { set, negated: true } => !set.ranges().iter().any(|r| r.contains(&route.prefix)),
        Condition::NextHop(networks) => inside(networks, route.next_hop_now()),
        Condition::Neighbor(networks) => inside(networks, route.neighbor),
        Condition::Session(kind) => (*kind == SessionKind::External) == route.is_external,
        Condition::Source(RouteSource::Kernel) => false,
        Condition::Source(source) => (*source == RouteSource::Local) == route.neighbor.is_none(),
        Condition::AsPathStart(asns) => {
            let wanted: Vec<u32> = asns.iter().map(|asn| asn.0).collect();
            route.as_path.len() >= wanted.len() && route.as_path[..wanted.len()] == wanted
        }
        Condition::AsPathContains(asns) => asns.iter().any(|asn| route.as_path.contains(&asn.0)),
        Condition::AsPathOrigin(asns) => asns.iter().any(|asn| route.as_path.last() == Some(&asn.0)),
        Condition::AsPathLength(range) => range.contains(&(route.as_path.len() as u32)),
        Condition::AllCommunities(patterns) => !patterns.iter().any(|pattern| !carries(pattern)),
        Condition::AnyCommunity(patterns) => patterns.iter().any(carries),
        Condition::Interface(patterns) => {
            let name = route.interface.as_deref();
            patterns.iter().any(|pattern| name.is_some_and(|name| pattern.fits(name)))
        }
        Condition::LocalPref(range) => range.contains(&route.local_pref.unwrap_or(100)),
        Condition::Med(range) => range.contains(&route.med.unwrap_or_default()),
    }
}

fn act(action: &Action, route: &mut PlainRoute) {
    match action {
        Action::SetCommunities(values) => {
            route.communities.clear();
            act(&Action::AddCommunities(values.clone()), route);
        }
        Action::AddCommunities(values) => {
            for value in values.iter().map(|value| numbers(*value)) {
                if !route.communities.contains(&value) {
                    route.communities.push(value);
                }
            }
        }
        Action::DeleteCommunities(patterns) => {
            route.communities.retain(|community| !patterns.iter().any(|pattern| fits(pattern, community)));
        }
        Action::SetLocalPref(value) => route.local_pref = Some(*value),
        Action::SetMed(value) => (route.med, route.has_set_med) = (*value, true),
        Action::Prepend(asns) => {
            let before = std::mem::take(&mut route.as_path);
            route.as_path = asns.iter().map(|asn| asn.0).chain(before).collect();
        }
        Action::SetNextHop(NextHopChange::Address(address)) => {
            if address.is_ipv4() == route.prefix.addr().is_ipv4() {
                route.next_hop_rule = Some(NextHopChange::Address(*address));
            }
        }
        Action::SetNextHop(rule) => route.next_hop_rule = Some(*rule),
    }
}
