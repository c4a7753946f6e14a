//! Filters as the TOML that they are read from.

use super::filters::{SESSIONS, SOURCES, THEN};
use crate::config::filter::{Action, Condition, Filter, NextHopChange, PrefixSet, Rule, Then};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use toml::{Table, Value};

/// One filter.
#[derive(Serialize)]
pub(super) struct FilterKeys {
    default: &'static str,
    rules: Vec<RuleKeys>,
}

#[derive(Serialize)]
struct RuleKeys {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "match", skip_serializing_if = "Table::is_empty")]
    conditions: Table,
    #[serde(rename = "set", skip_serializing_if = "Table::is_empty")]
    actions: Table,
    then: &'static str,
}

impl FilterKeys {
    pub(super) fn of(filter: &Filter) -> Self {
        Self { default: then(filter.default), rules: filter.rules.iter().map(RuleKeys::of).collect() }
    }
}

/// The sets that filters name.
pub(super) fn prefix_sets(filters: &BTreeMap<String, Arc<Filter>>) -> BTreeMap<&str, Vec<String>> {
    let conditions = filters.values().flat_map(|filter| &filter.rules).flat_map(|rule| &rule.conditions);
    let named = conditions.filter_map(|condition| match condition {
        Condition::Prefix { set, .. } => Some((set.name()?, ranges(set))),
        _ => None,
    });
    named.collect()
}

impl RuleKeys {
    fn of(rule: &Rule) -> Self {
        Self {
            name: rule.name.clone(),
            conditions: rule.conditions.iter().map(condition).collect(),
            actions: rule.actions.iter().map(action).collect(),
            then: then(rule.then),
        }
    }
}

fn then(then: Then) -> &'static str {
    word(&THEN, then)
}

/// The word for a value; all values have one.
fn word<T: PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, meaning)| *meaning == value).map_or("", |(word, _)| word)
}

fn condition(condition: &Condition) -> (String, Value) {
    let (key, value) = match condition {
        Condition::Family(family) => ("family", family.to_string().into()),
        Condition::Prefix { set, negated } => match (set.name(), negated) {
            (None, false) => ("prefix", ranges(set).into()),
            (None, true) => ("not_prefix", ranges(set).into()),
            (Some(name), false) => ("prefix_set", name.into()),
            (Some(name), true) => ("not_prefix_set", name.into()),
        },
        Condition::NextHop(networks) => ("next_hop", texts(networks)),
        Condition::Neighbor(networks) => ("neighbor", texts(networks)),
        Condition::Session(kind) => ("session", word(&SESSIONS, *kind).into()),
        Condition::Source(source) => ("source", word(&SOURCES, *source).into()),
        Condition::AsPathStart(asns) => ("as_path_start", numbers(asns)),
        Condition::AsPathContains(asns) => ("as_path_contains", numbers(asns)),
        Condition::AsPathOrigin(asns) => ("as_path_origin", numbers(asns)),
        Condition::AsPathLength(range) => ("as_path_length", number_range(range)),
        Condition::AllCommunities(patterns) => ("communities", texts(patterns)),
        Condition::AnyCommunity(patterns) => ("any_community", texts(patterns)),
        Condition::Interface(patterns) => ("interface", texts(patterns)),
        Condition::LocalPref(range) => ("local_pref", number_range(range)),
        Condition::Med(range) => ("med", number_range(range)),
    };
    (key.to_owned(), value)
}

fn action(action: &Action) -> (String, Value) {
    let (key, value) = match action {
        Action::SetCommunities(values) => ("communities", texts(values)),
        Action::AddCommunities(values) => ("add_communities", texts(values)),
        Action::DeleteCommunities(patterns) => ("delete_communities", texts(patterns)),
        Action::SetLocalPref(value) => ("local_pref", i64::from(*value).into()),
        Action::SetMed(None) => ("med", "none".into()),
        Action::SetMed(Some(value)) => ("med", i64::from(*value).into()),
        Action::Prepend(asns) => ("prepend", numbers(asns)),
        Action::SetNextHop(NextHopChange::Address(address)) => ("next_hop", address.to_string().into()),
        Action::SetNextHop(NextHopChange::SelfAddress) => ("next_hop", "self".into()),
        Action::SetNextHop(NextHopChange::Unchanged) => ("next_hop", "unchanged".into()),
    };
    (key.to_owned(), value)
}

fn ranges(set: &PrefixSet) -> Vec<String> {
    set.ranges().iter().map(ToString::to_string).collect()
}

fn texts<T: ToString>(values: &[T]) -> Value {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().into()
}

fn numbers(asns: &[bgp_proto::Asn]) -> Value {
    asns.iter().map(|asn| i64::from(asn.0)).collect::<Vec<_>>().into()
}

fn number_range(range: &RangeInclusive<u32>) -> Value {
    let (from, to) = (i64::from(*range.start()), i64::from(*range.end()));
    if from == to { from.into() } else { vec![from, to].into() }
}
