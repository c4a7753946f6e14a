//! Filters: what may pass between a neighbour and the tables, and what is changed on the way.
//!
//! A [`Filter`] is a list of [`Rule`]s. A rule whose [`Condition`]s all hold carries out its [`Action`]s and then ends
//! the matter ([`Then::Accept`], [`Then::Reject`]) or leaves it to what follows ([`Then::Next`]), which sees the route
//! as it has been changed. A session names the filters that apply to it, in order ([`PolicyRef`](super::PolicyRef)).
//!
//! One value for all sources: `[filters.NAME]` of a configuration file and a datastore's objects are both translated
//! into it. What does not belong here: how either spells it, and how it is evaluated (the engine does that).

mod community;
mod name_pattern;
mod prefix_set;

pub use community::{CommunityPattern, CommunityValue};
pub use name_pattern::NamePattern;
pub use prefix_set::{PrefixRange, PrefixSet};

use super::Family;
use bgp_proto::Asn;
use ipnet::IpNet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The route priority that LOCAL_PREF 0 stands for: Calico maps its priorities (kernel metrics, lower is better) to
/// LOCAL_PREF by subtracting them from this.
pub const PRIORITY_MAX: u32 = 2_147_483_647;

/// The LOCAL_PREF of a route priority; 0 for one that is out of range.
pub const fn local_pref_of_priority(priority: u32) -> u32 {
    PRIORITY_MAX.saturating_sub(priority)
}

/// A filter. What it is called is up to whoever keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Looked at in order.
    pub rules: Vec<Rule>,
    /// What becomes of a route that no rule decided.
    pub default: Then,
}

impl Filter {
    /// What is wrong with the filter itself: the index of the rule, and why.
    pub fn problems(&self) -> impl Iterator<Item = (usize, &'static str)> + '_ {
        self.rules.iter().enumerate().filter_map(|(index, rule)| Some((index, rule.problem()?)))
    }

    /// Does it set a next hop that only a route on its way out can have?
    pub(super) fn sets_export_next_hop(&self) -> bool {
        let is_for_export = |action: &Action| {
            matches!(action, Action::SetNextHop(NextHopChange::SelfAddress | NextHopChange::Unchanged))
        };
        self.rules.iter().flat_map(|rule| &rule.actions).any(is_for_export)
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// For people; may be empty.
    pub name: String,
    /// All must hold. None: it matches every route.
    pub conditions: Vec<Condition>,
    /// Carried out in order.
    pub actions: Vec<Action>,
    /// And then.
    pub then: Then,
}

impl Rule {
    /// A rule for every route that changes nothing.
    pub fn new(then: Then) -> Self {
        Self { name: String::new(), conditions: Vec::new(), actions: Vec::new(), then }
    }

    /// The same rule with one condition more.
    pub fn when(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// The same rule with one action more.
    pub fn change(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    fn problem(&self) -> Option<&'static str> {
        if self.then == Then::Reject && !self.actions.is_empty() {
            return Some("a rejected route cannot be changed; accept it, or change nothing");
        }
        self.actions.iter().find_map(|action| match action {
            Action::Prepend(asns) if asns.is_empty() => Some("there is no AS to prepend; name at least one"),
            Action::Prepend(asns) if asns.len() > Action::PREPEND_MAX => {
                Some("prepends too often; 10 is the most")
            }
            Action::Prepend(asns) if asns.contains(&Asn(0)) => {
                Some("AS 0 is reserved; prepend a number from 1 to 4294967295")
            }
            Action::SetNextHop(NextHopChange::Address(address))
                if address.is_unspecified() || address.is_multicast() =>
            {
                Some("the next hop is no address of a host")
            }
            _ => None,
        })
    }
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    /// The route passes; nothing else is looked at.
    Accept,
    /// The route does not pass; nothing else is looked at.
    Reject,
    /// The next rule, or the next filter, decides. After the last filter of a session the route passes.
    Next,
}

/// What a route can be asked. Conditions with several values hold if one of them does, unless they say otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The address family of its prefix.
    Family(Family),
    /// Its prefix is one of a set, or is none of it.
    Prefix {
        /// The set.
        set: Arc<PrefixSet>,
        /// `true`: the prefix is not in the set.
        negated: bool,
    },
    /// Its next hop lies in one of these. A route that we originate has none, one from the kernel its gateway.
    NextHop(Vec<IpNet>),
    /// The neighbour that it was learned from has an address in one of these. A route that we originate has none.
    Neighbor(Vec<IpNet>),
    /// What the session is that the filter applies to.
    Session(SessionKind),
    /// Where the route is from.
    Source(RouteSource),
    /// Its AS path starts with this sequence, the neighbour's AS first.
    AsPathStart(Vec<Asn>),
    /// One of these is in its AS path.
    AsPathContains(Vec<Asn>),
    /// One of these is the last of its AS path: the AS that originated it.
    AsPathOrigin(Vec<Asn>),
    /// The length of its AS path, as route selection counts it.
    AsPathLength(RangeInclusive<u32>),
    /// It carries, for each of these, a community that fits.
    AllCommunities(Vec<CommunityPattern>),
    /// It carries a community that fits one of these.
    AnyCommunity(Vec<CommunityPattern>),
    /// The interface that it leads out of has a name that fits. Only what is from the kernel has one; other routes do
    /// not match.
    Interface(Vec<NamePattern>),
    /// LOCAL_PREF, 100 where a route has none.
    LocalPref(RangeInclusive<u32>),
    /// MULTI_EXIT_DISC, 0 where a route has none.
    Med(RangeInclusive<u32>),
}

impl Condition {
    /// The prefix is in this set.
    pub fn prefix_in(set: PrefixSet) -> Self {
        Condition::Prefix { set: Arc::new(set), negated: false }
    }

    /// The prefix is not in this set.
    pub fn prefix_not_in(set: PrefixSet) -> Self {
        Condition::Prefix { set: Arc::new(set), negated: true }
    }

    /// The route's priority: see [`local_pref_of_priority`].
    pub fn priority(priority: u32) -> Self {
        let local_pref = local_pref_of_priority(priority);
        Condition::LocalPref(local_pref..=local_pref)
    }
}

/// The session that a filter applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionKind {
    /// iBGP.
    Internal,
    /// eBGP.
    External,
}

/// Where a route is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteSource {
    /// Another program has put it into the kernel, or it is the network of an interface.
    Kernel,
    /// We originate it.
    Local,
    /// A neighbour told us.
    Peers,
}

/// What is done to a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// These communities, and no others of the three kinds.
    SetCommunities(Vec<CommunityValue>),
    /// These communities too.
    AddCommunities(Vec<CommunityValue>),
    /// None of the communities that fit.
    DeleteCommunities(Vec<CommunityPattern>),
    /// LOCAL_PREF. Towards another AS it is not sent (RFC 4271 §5.1.5).
    SetLocalPref(u32),
    /// MULTI_EXIT_DISC, also towards another AS; `None`: without.
    SetMed(Option<u32>),
    /// These AS numbers before the AS path, in this order. Towards another AS ours comes before them.
    Prepend(Vec<Asn>),
    /// The next hop.
    SetNextHop(NextHopChange),
}

impl Action {
    /// Most AS numbers in one [`Action::Prepend`].
    pub const PREPEND_MAX: usize = 10;

    /// LOCAL_PREF for a route priority: see [`local_pref_of_priority`].
    pub fn set_priority(priority: u32) -> Self {
        Action::SetLocalPref(local_pref_of_priority(priority))
    }
}

/// A next hop that a filter sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NextHopChange {
    /// This one, for routes of its own family; others keep theirs.
    Address(IpAddr),
    /// Ourselves. On export only.
    SelfAddress,
    /// The one that the route came with, also towards another AS. On export only.
    Unchanged,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_calicos() {
        assert_eq!(local_pref_of_priority(1024), 2_147_482_623);
        assert_eq!(local_pref_of_priority(512), 2_147_483_135);
        assert_eq!(local_pref_of_priority(u32::MAX), 0);
    }

    #[test]
    fn what_makes_no_sense_is_told_by_rule() {
        let table = [
            (Rule::new(Then::Reject).change(Action::SetMed(None)), "cannot be changed"),
            (Rule::new(Then::Accept).change(Action::Prepend(vec![])), "no AS"),
            (Rule::new(Then::Accept).change(Action::Prepend(vec![Asn(1); 11])), "too often"),
            (Rule::new(Then::Accept).change(Action::Prepend(vec![Asn(0)])), "AS 0"),
            (
                Rule::new(Then::Next)
                    .change(Action::SetNextHop(NextHopChange::Address("224.0.0.1".parse().unwrap()))),
                "next hop",
            ),
        ];
        for (rule, expected) in table {
            let filter = Filter { rules: vec![Rule::new(Then::Next), rule], default: Then::Reject };
            let problems: Vec<_> = filter.problems().collect();
            assert!(
                matches!(problems[..], [(1, text)] if text.contains(expected)),
                "{expected}: {problems:?}"
            );
        }
    }
}
