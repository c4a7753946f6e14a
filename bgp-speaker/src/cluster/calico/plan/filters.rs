//! BGPFilters, and what Calico does with every route, as the filters that a speaker evaluates.
//!
//! On import, what no BGPFilter decides passes. On export a fixed list of rules follows, the same for all sessions of a
//! family, for routes of neighbours, of the kernel and of our own. It names our blocks, so it changes as they come and
//! go; neighbours are told what that makes different, and nothing else.

use super::context::{Context, normal_priority};
use super::fib::is_programmed;
use super::{Origination, OriginationKind, Plan, SessionPlan};
use crate::cluster::calico::model::{
    BgpFilter, BgpFilterRule, CommunityValue, FilterAction, FilterOperation, FilterPeerType, IpPool,
    MatchOperator,
};
use crate::config::filter::{
    Action, CommunityPattern, CommunityValue as Community, Condition, Filter, NamePattern, PRIORITY_MAX,
    PrefixRange, PrefixSet, RouteSource, Rule, SessionKind, Then, local_pref_of_priority,
};
use crate::config::{Encapsulation, Family, PolicyRef};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All filters that the sessions name, by the names that they use; and those of every session, even if there is none.
pub(super) fn all(
    context: &Context<'_>,
    sessions: &[SessionPlan],
    originate: &[Origination],
) -> BTreeMap<String, Arc<Filter>> {
    let blocks: Vec<IpNet> =
        originate.iter().filter(|one| one.kind == OriginationKind::Block).map(|one| one.prefix).collect();
    let built_in = |family| (built_in_name(family), Arc::new(built_in_export(context, &blocks, family)));
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
fn built_in_export(context: &Context<'_>, blocks: &[IpNet], family: Family) -> Filter {
    let is_of_family = |net: &IpNet| Family::of(net) == family;
    let pools = context.snapshot.pools.values().filter(|pool| is_of_family(&pool.cidr));
    let (closed, open): (Vec<_>, Vec<_>) = pools.partition(|pool| pool.is_export_disabled);
    let cidrs = |pools: Vec<&IpPool>| pools.iter().map(|pool| pool.cidr).collect::<Vec<_>>();

    let mut rules = Rules::default();
    rules.within("pools with disableBGPExport", Then::Reject, cidrs(closed));
    rules.0.extend(interfaces_that_stay(context, family));
    for (cidr, communities) in advertised_communities(context) {
        if is_of_family(&cidr) {
            let rule = Rule::new(Then::Next).when(Condition::prefix_in(within(vec![cidr])));
            rules.add("prefixAdvertisements", rule.change(Action::AddCommunities(communities)));
        }
    }
    let local = Rule::new(Then::Accept).when(Condition::Source(RouteSource::Local));
    rules.add("what this node originates", local);
    let blocks = blocks.iter().copied().filter(is_of_family).collect();
    own_blocks(&mut rules, blocks, normal_priority(context.config, family == Family::Ipv4Unicast));
    let of_family = |nets: Vec<IpNet>| nets.into_iter().filter(is_of_family).collect();
    let announced = of_family(super::services::announced_ranges(context));
    rules.within("services that this node announces", Then::Accept, announced);
    if context.node.cluster_id.is_some() {
        let reflected = of_family(super::services::reflected_ranges(context));
        rules.within("services, on a reflector", Then::Accept, reflected);
    }
    rules.within("pools", Then::Accept, cidrs(open));
    Filter { rules: rules.0, default: Then::Reject }
}

/// Rules in order.
#[derive(Default)]
struct Rules(Vec<Rule>);

impl Rules {
    fn add(&mut self, name: &str, rule: Rule) {
        self.0.push(Rule { name: name.to_owned(), ..rule });
    }

    /// About everything inside these networks, if there are any.
    fn within(&mut self, name: &str, then: Then, nets: Vec<IpNet>) {
        if !nets.is_empty() {
            self.add(name, Rule::new(then).when(Condition::prefix_in(within(nets))));
        }
    }
}

fn within(nets: Vec<IpNet>) -> PrefixSet {
    PrefixSet::new(nets.into_iter().map(PrefixRange::within))
}

/// Routes that Felix writes to other nodes' pods lead into tunnels, or into its eBPF programs: to announce them would
/// draw those nodes' traffic here.
fn interfaces_that_stay(context: &Context<'_>, family: Family) -> [Rule; 2] {
    let patterns = |names: &[&str]| -> Vec<NamePattern> {
        // Patterns of ours are patterns.
        names.iter().filter_map(|name| name.parse().ok()).collect()
    };
    let mut tunnels = vec!["*.cali", "*.calico"];
    let is_ours = is_programmed(Encapsulation::Ipip, context.program_cluster_routes());
    if family == Family::Ipv4Unicast && !is_ours {
        tunnels.push("tunl0");
    }
    let inside = Rule::new(Then::Reject)
        .when(Condition::Session(SessionKind::Internal))
        .when(Condition::Interface(patterns(&tunnels)));
    let programs = Rule::new(Then::Reject).when(Condition::Interface(patterns(&["bpf*.cali"])));
    [
        Rule { name: "routes into tunnels".to_owned(), ..inside },
        Rule { name: "routes into eBPF programs".to_owned(), ..programs },
    ]
}

/// Blocks are announced as a whole; of what is inside, only routes that are preferred to normal ones.
fn own_blocks(rules: &mut Rules, blocks: Vec<IpNet>, normal_priority: u32) {
    if blocks.is_empty() {
        return;
    }
    let exactly = PrefixSet::new(blocks.iter().copied().map(PrefixRange::exact));
    rules.add("blocks of this node", Rule::new(Then::Accept).when(Condition::prefix_in(exactly)));
    let inside = Arc::new(within(blocks));
    let inside = || Condition::Prefix { set: inside.clone(), negated: false };
    let elevated = local_pref_of_priority(normal_priority) + 1..=PRIORITY_MAX;
    let preferred = Rule::new(Then::Accept).when(inside()).when(Condition::LocalPref(elevated));
    rules.add("inside blocks of this node, elevated", preferred);
    rules.add("inside blocks of this node", Rule::new(Then::Reject).when(inside()));
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
