//! Filters, evaluated: a route in, a verdict and what is to be changed out. Without any state.
//!
//! A verdict names the rules whose actions apply instead of carrying the changed route, so that all routes with equal
//! attributes and equal verdicts are changed once.

mod change;
mod condition;
#[cfg(test)]
mod tests;

pub use change::ChangedRoute;

use crate::config::filter::{Action, Condition, NextHopChange, RouteSource, Rule, SessionKind, Then};
use crate::config::{Filter, PolicyRef, SpeakerConfig};
use bgp_proto::{NextHop, PathAttributes};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// What a session does with routes one way. Equal policies say the same of every route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// All pass.
    #[default]
    Accept,
    /// None passes.
    Reject,
    /// These decide, in order; what none decides passes.
    Filters(Arc<[NamedFilter]>),
}

/// A filter and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFilter {
    /// Its name in the configuration.
    pub name: String,
    /// Itself.
    pub filter: Arc<Filter>,
}

/// A route as filters see it.
#[derive(Clone, Copy, Debug)]
pub struct FilterRoute<'a> {
    /// Its prefix.
    pub prefix: IpNet,
    /// As they are in the tables, or were received.
    pub attributes: &'a PathAttributes,
    /// `None`: we are it.
    pub next_hop: Option<NextHop>,
    /// Where it is from.
    pub source: RouteSource,
    /// Who told us, if somebody did.
    pub neighbor: Option<IpAddr>,
    /// Where it leads out, if it is in the kernel.
    pub interface: Option<&'a str>,
    /// What the session is.
    pub session: SessionKind,
}

/// A rule by its place: which filter of the policy, which rule of the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId {
    /// Index of the filter.
    pub filter: u32,
    /// Index of the rule.
    pub rule: u32,
}

/// What a policy says of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Does it pass?
    pub is_accepted: bool,
    /// The rules whose actions apply to it, in order. Empty unless it passes.
    pub changes: Vec<RuleId>,
}

impl Policy {
    /// What a reference stands for. A filter that does not exist lets nothing pass; a checked configuration names none.
    pub fn resolve(reference: &PolicyRef, config: &SpeakerConfig) -> Self {
        let named = |name: &String| {
            Some(NamedFilter { name: name.clone(), filter: Arc::clone(config.filters.get(name)?) })
        };
        match reference {
            PolicyRef::Accept => Policy::Accept,
            PolicyRef::Reject => Policy::Reject,
            PolicyRef::Filters(names) => {
                names.iter().map(named).collect::<Option<_>>().map_or(Policy::Reject, Policy::Filters)
            }
        }
    }

    /// The same filters as a configuration defines them now; `None` if it does not have them all any more.
    pub fn renewed(&self, config: &SpeakerConfig) -> Option<Self> {
        let Policy::Filters(filters) = self else { return Some(self.clone()) };
        let renew = |old: &NamedFilter| {
            Some(NamedFilter { name: old.name.clone(), filter: Arc::clone(config.filters.get(&old.name)?) })
        };
        filters.iter().map(renew).collect::<Option<_>>().map(Policy::Filters)
    }

    /// What becomes of a route. `matched` is told of every rule that matched, in order.
    pub fn evaluate(&self, route: &FilterRoute<'_>, mut matched: impl FnMut(RuleId)) -> Verdict {
        let mut verdict = Verdict { is_accepted: *self != Policy::Reject, changes: Vec::new() };
        let mut changed: Option<ChangedRoute> = None;
        for (id, filter) in (0u32..).zip(self.filters()) {
            for (index, rule) in (0u32..).zip(&filter.filter.rules) {
                let seen = changed.as_ref().map_or(*route, |changed| changed.seen_as(route));
                if !rule.conditions.iter().all(|condition| condition::holds(condition, &seen)) {
                    continue;
                }
                let id = RuleId { filter: id, rule: index };
                matched(id);
                if !rule.actions.is_empty() {
                    verdict.changes.push(id);
                }
                match rule.then {
                    Then::Next => apply_visibly(rule, route, &mut changed),
                    then => return verdict.end(then),
                }
            }
            if filter.filter.default != Then::Next {
                return verdict.end(filter.filter.default);
            }
        }
        verdict
    }

    /// The filters, in order.
    pub fn filters(&self) -> &[NamedFilter] {
        match self {
            Policy::Accept | Policy::Reject => &[],
            Policy::Filters(filters) => filters,
        }
    }

    /// The actions of a verdict.
    pub fn actions<'a>(&'a self, changes: &'a [RuleId]) -> impl Iterator<Item = &'a Action> {
        changes.iter().filter_map(|id| self.rule(*id)).flat_map(|rule| &rule.actions)
    }

    /// The next hop that a verdict sets for a prefix.
    pub fn next_hop(&self, changes: &[RuleId], prefix: &IpNet) -> Option<NextHopChange> {
        let set = self.actions(changes).filter_map(|action| match action {
            Action::SetNextHop(change) => Some(*change),
            _ => None,
        });
        set.filter(|change| applies_to(*change, prefix)).last()
    }

    /// A rule by its place.
    pub fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.filters().get(id.filter as usize)?.filter.rules.get(id.rule as usize)
    }

    /// May two prefixes with equal attributes from the same source be judged differently?
    pub fn reads_prefix(&self) -> bool {
        self.has_condition(|condition| {
            matches!(condition, Condition::Prefix { .. } | Condition::Family(_) | Condition::Interface(_))
        })
    }

    /// Does it look at interfaces, which are no attribute of a path?
    pub fn reads_interface(&self) -> bool {
        self.has_condition(|condition| matches!(condition, Condition::Interface(_)))
    }

    fn has_condition(&self, is_it: impl Fn(&Condition) -> bool) -> bool {
        let rules = self.filters().iter().flat_map(|filter| &filter.filter.rules);
        rules.flat_map(|rule| &rule.conditions).any(is_it)
    }
}

impl Verdict {
    fn end(mut self, then: Then) -> Self {
        self.is_accepted = then == Then::Accept;
        if !self.is_accepted {
            self.changes.clear();
        }
        self
    }
}

/// What follows a rule sees what the rule has changed.
fn apply_visibly(rule: &Rule, route: &FilterRoute<'_>, changed: &mut Option<ChangedRoute>) {
    if !rule.actions.is_empty() {
        let changed = changed.get_or_insert_with(|| ChangedRoute::new(route.attributes.clone()));
        rule.actions.iter().for_each(|action| changed.apply(action, &route.prefix));
    }
}

/// Is this next hop one that routes of this prefix's family are given?
fn applies_to(change: NextHopChange, prefix: &IpNet) -> bool {
    match change {
        NextHopChange::Address(address) => address.is_ipv4() == prefix.addr().is_ipv4(),
        NextHopChange::SelfAddress | NextHopChange::Unchanged => true,
    }
}
