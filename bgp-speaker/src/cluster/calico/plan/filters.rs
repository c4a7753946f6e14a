//! BGPFilters, and what Calico does with every route, as the filters that a speaker evaluates.
//!
//! On import, what no BGPFilter decides passes. On export a fixed list of rules follows, the same for all sessions of a
//! family. Two of Calico's rules are not in it, since they are about routes that were learned from the kernel: what
//! leads out of a tunnel interface, and what is inside an own block. Here only a block itself is originated, and
//! nothing is learned from the kernel. So the list changes with pools and ranges, and stays when blocks come and go.

use super::context::Context;
use super::{Plan, SessionPlan};
use crate::cluster::calico::model::{
    BgpFilter, BgpFilterRule, CommunityValue, FilterAction, FilterOperation, FilterPeerType, MatchOperator,
};
use crate::config::filter::{
    Action, CommunityPattern, CommunityValue as Community, Condition, Filter, PrefixRange, PrefixSet,
    RouteSource, Rule, SessionKind, Then,
};
use crate::config::{Family, PolicyRef};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All filters that the sessions name, by the names that they use; and those of every session, even if there is none.
pub(super) fn all(context: &Context<'_>, sessions: &[SessionPlan]) -> BTreeMap<String, Arc<Filter>> {
    let built_in = |family| (built_in_name(family), Arc::new(built_in_export(context, family)));
    let mut filters: BTreeMap<String, Arc<Filter>> = Family::ALL.into_iter().map(built_in).collect();
    for session in sessions {
        let family = session.family();
        let (import, export) = (Way::Import, Way::Export);
        let named = session.import.iter().map(|name| (import, name));
        for (way, name) in named.chain(session.export.iter().map(|name| (export, name))) {
            if let Some(filter) = context.snapshot.filters.get(name.as_str()) {
                let translated = || Arc::new(translated(rules(filter, way, family)));
                filters.entry(filter_name(name, way, family)).or_insert_with(translated);
            }
        }
    }
    filters
}

/// The policies of a session: its BGPFilters, and on export what is done with every route.
pub(super) fn policies(session: &SessionPlan) -> (PolicyRef, PolicyRef) {
    let family = session.family();
    let named = |names: &[String], way| -> Vec<String> {
        names.iter().map(|name| filter_name(name, way, family)).collect()
    };
    let import = match named(&session.import, Way::Import) {
        names if names.is_empty() => PolicyRef::Accept,
        names => PolicyRef::Filters(names),
    };
    let mut export = named(&session.export, Way::Export);
    export.push(built_in_name(family));
    (import, PolicyRef::Filters(export))
}

#[derive(Clone, Copy)]
enum Way {
    Export,
    Import,
}

/// Names of resources have no slash, so that no BGPFilter can have the name of another's direction.
fn filter_name(name: &str, way: Way, family: Family) -> String {
    let way = match way {
        Way::Export => "export",
        Way::Import => "import",
    };
    format!("BGPFilter/{name}/{way}/{family}")
}

fn built_in_name(family: Family) -> String {
    format!("Calico/export/{family}")
}

fn rules(filter: &BgpFilter, way: Way, family: Family) -> &[BgpFilterRule] {
    match (way, family) {
        (Way::Export, Family::Ipv4Unicast) => &filter.export_v4,
        (Way::Export, Family::Ipv6Unicast) => &filter.export_v6,
        (Way::Import, Family::Ipv4Unicast) => &filter.import_v4,
        (Way::Import, Family::Ipv6Unicast) => &filter.import_v6,
    }
}

/// What none of the rules decides is left to what follows.
fn translated(rules: &[BgpFilterRule]) -> Filter {
    Filter { rules: rules.iter().map(translated_rule).collect(), default: Then::Next }
}

fn translated_rule(rule: &BgpFilterRule) -> Rule {
    let mut translated = Rule::new(match rule.action {
        FilterAction::Accept => Then::Accept,
        FilterAction::Reject => Then::Reject,
    });
    if let Some((operator, cidr)) = rule.cidr {
        translated = translated.when(prefix_condition(operator, cidr, rule.prefix_length));
    }
    if rule.is_from_remote_peers {
        translated = translated.when(Condition::Source(RouteSource::Peers));
    }
    if let Some(pattern) = &rule.interface {
        translated = translated.when(Condition::Interface(vec![pattern.clone()]));
    }
    if let Some(peer_type) = rule.peer_type {
        translated = translated.when(Condition::Session(match peer_type {
            FilterPeerType::External => SessionKind::External,
            FilterPeerType::Internal => SessionKind::Internal,
        }));
    }
    if let Some(value) = rule.community {
        translated =
            translated.when(Condition::AnyCommunity(vec![CommunityPattern::Exact(community(value))]));
    }
    if !rule.as_path_prefix.is_empty() {
        translated = translated.when(Condition::AsPathStart(rule.as_path_prefix.clone()));
    }
    if let Some(priority) = rule.priority {
        translated = translated.when(Condition::priority(priority));
    }
    rule.operations.iter().fold(translated, |translated, operation| {
        translated.change(match operation {
            FilterOperation::AddCommunity(value) => Action::AddCommunities(vec![community(*value)]),
            FilterOperation::PrependAsPath(asns) => Action::Prepend(asns.clone()),
            FilterOperation::SetPriority(priority) => Action::set_priority(*priority),
        })
    })
}

/// A range of lengths narrows what the operator is about, before it is negated.
fn prefix_condition(
    operator: MatchOperator,
    cidr: IpNet,
    lengths: Option<(Option<u8>, Option<u8>)>,
) -> Condition {
    let (min, max) = lengths.unwrap_or_default();
    let (min, max) = (min.unwrap_or(0), max.unwrap_or(u8::MAX));
    let range = match operator {
        MatchOperator::In | MatchOperator::NotIn => PrefixRange::lengths(cidr, min, max),
        MatchOperator::Equal | MatchOperator::NotEqual => {
            Some(PrefixRange::exact(cidr)).filter(|_| (min..=max).contains(&cidr.prefix_len()))
        }
    };
    let set = PrefixSet::new(range);
    match operator {
        MatchOperator::In | MatchOperator::Equal => Condition::prefix_in(set),
        MatchOperator::NotIn | MatchOperator::NotEqual => Condition::prefix_not_in(set),
    }
}

fn community(value: CommunityValue) -> Community {
    match value {
        CommunityValue::Large(value) => Community::Large(value),
        CommunityValue::Standard(value) => Community::Standard(value),
    }
}

/// What is done with every route on its way out. The order is Calico's.
fn built_in_export(context: &Context<'_>, family: Family) -> Filter {
    let is_of_family = |net: &IpNet| Family::of(net) == family;
    let within = |nets: Vec<IpNet>| PrefixSet::new(nets.into_iter().map(PrefixRange::within));
    let pools = context.snapshot.pools.values().filter(|pool| is_of_family(&pool.cidr));
    let (closed, open): (Vec<_>, Vec<_>) = pools.partition(|pool| pool.is_export_disabled);
    let cidrs =
        |pools: Vec<&crate::cluster::calico::model::IpPool>| pools.iter().map(|pool| pool.cidr).collect();

    let mut rules = Vec::new();
    let mut add = |name: &str, rule: Rule| rules.push(Rule { name: name.to_owned(), ..rule });
    if !closed.is_empty() {
        let rule = Rule::new(Then::Reject).when(Condition::prefix_in(within(cidrs(closed))));
        add("pools with disableBGPExport", rule);
    }
    for (cidr, communities) in advertised_communities(context) {
        if is_of_family(&cidr) {
            let rule = Rule::new(Then::Next).when(Condition::prefix_in(within(vec![cidr])));
            add("prefixAdvertisements", rule.change(Action::AddCommunities(communities)));
        }
    }
    add("what this node originates", Rule::new(Then::Accept).when(Condition::Source(RouteSource::Local)));
    let mut accept = |name: &str, nets: Vec<IpNet>| {
        let nets: Vec<IpNet> = nets.into_iter().filter(is_of_family).collect();
        if !nets.is_empty() {
            add(name, Rule::new(Then::Accept).when(Condition::prefix_in(within(nets))));
        }
    };
    accept("services that this node announces", super::services::announced_ranges(context));
    if context.node.cluster_id.is_some() {
        accept("services, on a reflector", super::services::reflected_ranges(context));
    }
    accept("pools", cidrs(open));
    Filter { rules, default: Then::Reject }
}

/// Each entry of the advertisements that hold here, with the communities that somebody defined.
pub(super) fn advertised_communities(context: &Context<'_>) -> Vec<(IpNet, Vec<Community>)> {
    let config = context.advertisements();
    let value = |text: &String| config.communities.get(text).copied().or_else(|| text.parse().ok());
    let entries = config.prefix_advertisements.iter().flatten();
    let with_values = entries.map(|entry| {
        let values: std::collections::BTreeSet<Community> =
            entry.communities.iter().filter_map(value).map(community).collect();
        (entry.cidr, values.into_iter().collect::<Vec<_>>())
    });
    with_values.filter(|(_, values)| !values.is_empty()).collect()
}

impl Plan {
    /// The filters by the names that sessions use.
    pub fn filters(&self) -> &BTreeMap<String, Arc<Filter>> {
        &self.filters
    }
}
