//! `[filters.NAME]` and `[prefix_sets]`.

use super::nearest::nearest;
use super::reader::Section;
use super::values;
use crate::config::filter::{
    Action, Condition, Filter, NextHopChange, PRIORITY_MAX, PrefixRange, PrefixSet, RouteSource, Rule,
    SessionKind, Then, local_pref_of_priority,
};
use crate::config::{Family, PolicyRef};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use toml::de::DeValue;

/// Sets of prefixes by name.
type PrefixSets = BTreeMap<String, Arc<PrefixSet>>;

/// What a rule or a filter may say about what follows.
pub(super) const THEN: [(&str, Then); 3] =
    [("accept", Then::Accept), ("reject", Then::Reject), ("next", Then::Next)];
pub(super) const SESSIONS: [(&str, SessionKind); 2] =
    [("ibgp", SessionKind::Internal), ("ebgp", SessionKind::External)];
pub(super) const SOURCES: [(&str, RouteSource); 3] =
    [("kernel", RouteSource::Kernel), ("local", RouteSource::Local), ("peers", RouteSource::Peers)];

/// Every filter of the file.
pub(super) fn read(root: &mut Section<'_>) -> BTreeMap<String, Arc<Filter>> {
    let sets = root.named_lists("prefix_sets", unusable_name, from_text::<PrefixRange>);
    let sets: PrefixSets = sets
        .into_iter()
        .map(|(name, ranges)| (name.to_owned(), Arc::new(PrefixSet::new(ranges).named(name))))
        .collect();
    let sections = root.named_sections("filters", unusable_name);
    let filters = sections.into_iter().map(|(name, mut section)| {
        let rules = section.sections("rules").into_iter();
        let rules = rules.map(|rule| read_rule(rule, &sets)).collect();
        // As in other routers: what nobody thought of does not pass.
        let default = section.read("default", values::word(&THEN)).unwrap_or(Then::Reject);
        section.finish();
        (name.to_owned(), Arc::new(Filter { rules, default }))
    });
    filters.collect()
}

/// A policy of a session, given the names of all filters.
pub(super) fn policy(known: &[&str]) -> impl Fn(&DeValue<'_>) -> Result<PolicyRef, String> {
    let checked = |name: String| {
        if known.contains(&name.as_str()) {
            return Ok(name);
        }
        Err(match nearest(&name, known) {
            Some(meant) => format!("there is no filter \"{name}\"; did you mean \"{meant}\"?"),
            None => format!(
                "there is no filter \"{name}\"; define [filters.{name}], or use \"accept\" or \"reject\""
            ),
        })
    };
    move |value| {
        let Some(array) = value.as_array() else {
            return match values::text(value)?.as_str() {
                "accept" => Ok(PolicyRef::Accept),
                "reject" => Ok(PolicyRef::Reject),
                name => checked(name.to_owned()).map(|name| PolicyRef::Filters(vec![name])),
            };
        };
        let names: Vec<String> =
            array.iter().map(|name| checked(values::text(name.get_ref())?)).collect::<Result<_, _>>()?;
        if names.is_empty() {
            return Err("names no filter; use \"accept\" to let everything pass".to_owned());
        }
        Ok(PolicyRef::Filters(names))
    }
}

fn unusable_name(name: &str) -> Option<&'static str> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match name {
        "accept" | "reject" => Some("is a policy of its own; choose another name"),
        _ if name.is_empty() || !name.chars().all(is_fine) => {
            Some("a name is made of letters, digits, \"-\", \"_\" and \".\"")
        }
        _ => None,
    }
}

fn read_rule(mut section: Section<'_>, sets: &PrefixSets) -> Rule {
    let name = section.read("name", values::text).unwrap_or_default();
    let conditions = section.section("match").map(|section| read_conditions(section, sets));
    let actions = section.section("set").map(|section| read_actions(section));
    let then = section.required("then", values::word(&THEN));
    section.finish();
    Rule {
        name,
        conditions: conditions.unwrap_or_default(),
        actions: actions.unwrap_or_default(),
        // Where it is missing, that has been reported.
        then: then.unwrap_or(Then::Next),
    }
}

fn read_conditions(mut section: Section<'_>, sets: &PrefixSets) -> Vec<Condition> {
    let section = &mut section;
    let words = Family::ALL.map(|family| match family {
        Family::Ipv4Unicast => ("ipv4-unicast", family),
        Family::Ipv6Unicast => ("ipv6-unicast", family),
    });
    let prefix = |section: &mut Section<'_>, key, negated| {
        let ranges = list(section, key, from_text::<PrefixRange>)?;
        Some(Condition::Prefix { set: Arc::new(PrefixSet::new(ranges)), negated })
    };
    let set = |section: &mut Section<'_>, key, negated| {
        Some(Condition::Prefix { set: section.read(key, known_set(sets))?, negated })
    };
    let range = |bounds| move |value: &DeValue<'_>| number_range(value, bounds);
    let conditions = [
        section.read("family", values::word(&words)).map(Condition::Family),
        prefix(section, "prefix", false),
        prefix(section, "not_prefix", true),
        set(section, "prefix_set", false),
        set(section, "not_prefix_set", true),
        list(section, "next_hop", network).map(Condition::NextHop),
        list(section, "neighbor", network).map(Condition::Neighbor),
        section.read("session", values::word(&SESSIONS)).map(Condition::Session),
        section.read("source", values::word(&SOURCES)).map(Condition::Source),
        list(section, "as_path_start", values::asn).map(Condition::AsPathStart),
        list(section, "as_path_contains", values::asn).map(Condition::AsPathContains),
        list(section, "as_path_origin", values::asn).map(Condition::AsPathOrigin),
        section.read("as_path_length", range(u32::MAX)).map(Condition::AsPathLength),
        list(section, "communities", from_text).map(Condition::AllCommunities),
        list(section, "any_community", from_text).map(Condition::AnyCommunity),
        list(section, "interface", from_text).map(Condition::Interface),
        section.read("local_pref", range(u32::MAX)).map(Condition::LocalPref),
        section.read("priority", priorities).map(Condition::LocalPref),
        section.read("med", range(u32::MAX)).map(Condition::Med),
    ];
    section.report_unknown();
    let conditions: Vec<Condition> = conditions.into_iter().flatten().collect();
    if conditions.iter().filter(|condition| matches!(condition, Condition::LocalPref(_))).count() > 1 {
        section.report("priority", PRIORITY_TWICE);
    }
    conditions
}

const PRIORITY_TWICE: &str = "is another way to write local_pref; give one of them";

/// In the order in which they are carried out, whatever the order in the file.
fn read_actions(mut section: Section<'_>) -> Vec<Action> {
    let section = &mut section;
    let any = values::integer(0..=u32::MAX);
    let priority = values::integer(1..=PRIORITY_MAX - 1);
    let actions = [
        list(section, "communities", from_text).map(Action::SetCommunities),
        list(section, "delete_communities", from_text).map(Action::DeleteCommunities),
        list(section, "add_communities", from_text).map(Action::AddCommunities),
        section.read("local_pref", &any).map(Action::SetLocalPref),
        section.read("priority", priority).map(Action::set_priority),
        section.read("med", med).map(Action::SetMed),
        list(section, "prepend", values::asn).map(Action::Prepend),
        section.read("next_hop", next_hop).map(Action::SetNextHop),
    ];
    section.report_unknown();
    let actions: Vec<Action> = actions.into_iter().flatten().collect();
    if actions.iter().filter(|action| matches!(action, Action::SetLocalPref(_))).count() > 1 {
        section.report("priority", PRIORITY_TWICE);
    }
    actions
}

fn list<T>(
    section: &mut Section<'_>,
    key: &'static str,
    parse: impl Fn(&DeValue<'_>) -> Result<T, String>,
) -> Option<Vec<T>> {
    let listed = section.list(key, parse)?;
    Some(listed.into_iter().map(|(_, value)| value).collect())
}

pub(super) fn from_text<T: FromStr<Err = String>>(value: &DeValue<'_>) -> Result<T, String> {
    values::string(value)?.parse()
}

/// A prefix, or an address for itself alone.
fn network(value: &DeValue<'_>) -> Result<IpNet, String> {
    let text = values::string(value)?;
    match text.parse::<std::net::IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => values::prefix_from_text(&text),
    }
}

fn known_set(sets: &PrefixSets) -> impl Fn(&DeValue<'_>) -> Result<Arc<PrefixSet>, String> {
    move |value| {
        let name = values::text(value)?;
        let known: Vec<&str> = sets.keys().map(String::as_str).collect();
        sets.get(&name).cloned().ok_or_else(|| match nearest(&name, &known) {
            Some(meant) => format!("there is no prefix set \"{name}\"; did you mean \"{meant}\"?"),
            None => format!("there is no prefix set \"{name}\"; define it in [prefix_sets]"),
        })
    }
}

/// A number, or `[FROM, TO]`.
fn number_range(value: &DeValue<'_>, max: u32) -> Result<RangeInclusive<u32>, String> {
    let number = values::integer(0..=max);
    match value.as_array().map(|array| &array[..]) {
        None => number(value).map(|exact| exact..=exact),
        Some([from, to]) => {
            let (from, to) = (number(from.get_ref())?, number(to.get_ref())?);
            if from <= to {
                Ok(from..=to)
            } else {
                Err(format!("{from} is greater than {to}; write [{to}, {from}]"))
            }
        }
        Some(_) => Err("expected a number, or two of them: [FROM, TO]".to_owned()),
    }
}

/// The LOCAL_PREFs of route priorities: a lower priority is a higher LOCAL_PREF.
fn priorities(value: &DeValue<'_>) -> Result<RangeInclusive<u32>, String> {
    let range = number_range(value, PRIORITY_MAX)?;
    Ok(local_pref_of_priority(*range.end())..=local_pref_of_priority(*range.start()))
}

fn med(value: &DeValue<'_>) -> Result<Option<u32>, String> {
    match value.as_str() {
        Some("none") => Ok(None),
        Some(other) => Err(format!("\"{}\" is not a number, nor \"none\" for no MED", other.escape_debug())),
        None => values::integer(0..=u32::MAX)(value).map(Some),
    }
}

fn next_hop(value: &DeValue<'_>) -> Result<NextHopChange, String> {
    match value.as_str() {
        Some("self") => Ok(NextHopChange::SelfAddress),
        Some("unchanged") => Ok(NextHopChange::Unchanged),
        _ => values::host(value)
            .map(NextHopChange::Address)
            .map_err(|error| format!("{error}; or use \"self\" or \"unchanged\"")),
    }
}
