//! BGPFilter: ordered rules for import and export, for each address family.

use super::super::value::{AsNumber, Cidr};
use super::{CommunityValue, spec};
use crate::cluster::field::{Field, Findings};
use crate::config::filter::NamePattern;
use bgp_proto::Asn;
use ipnet::IpNet;
use serde::Deserialize;

/// Routes' priorities lie in 1..=this.
const PRIORITY_MAX: u32 = 2_147_483_647;
/// Operations of a rule, at most.
const OPERATIONS_MAX: usize = 10;

/// One BGPFilter. Rules are tried in order; the first that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BgpFilter {
    /// For IPv4 routes that we send.
    pub export_v4: Vec<BgpFilterRule>,
    /// For IPv4 routes that we receive.
    pub import_v4: Vec<BgpFilterRule>,
    /// For IPv6 routes that we send.
    pub export_v6: Vec<BgpFilterRule>,
    /// For IPv6 routes that we receive.
    pub import_v6: Vec<BgpFilterRule>,
}

/// All conditions that are set must hold; a rule without any matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgpFilterRule {
    /// What to do, and be done.
    pub action: FilterAction,
    /// The route's prefix, compared with this one.
    pub cidr: Option<(MatchOperator, IpNet)>,
    /// Shortest and longest prefix length; narrows `cidr`.
    pub prefix_length: Option<(Option<u8>, Option<u8>)>,
    /// The route was learned from a BGP peer.
    pub is_from_remote_peers: bool,
    /// The route's outgoing interface; `*` stands for any characters.
    pub interface: Option<NamePattern>,
    /// Only on sessions of this type.
    pub peer_type: Option<FilterPeerType>,
    /// The route carries it.
    pub community: Option<CommunityValue>,
    /// The AS path starts with these.
    pub as_path_prefix: Vec<Asn>,
    /// The route's priority.
    pub priority: Option<u32>,
    /// Applied in order, before the route is accepted.
    pub operations: Vec<FilterOperation>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "the words say it")]
pub enum FilterAction {
    Accept,
    Reject,
}

/// How a prefix is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum MatchOperator {
    /// The same prefix.
    Equal,
    /// The same, or more specific.
    In,
    /// Not the same.
    NotEqual,
    /// Neither the same nor more specific.
    NotIn,
}

/// Internal or external, by the AS numbers of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum FilterPeerType {
    /// External.
    #[serde(rename = "eBGP")]
    External,
    /// Internal.
    #[serde(rename = "iBGP")]
    Internal,
}

/// A change to a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterOperation {
    /// Adds it.
    AddCommunity(CommunityValue),
    /// Puts these in front, the first leftmost.
    PrependAsPath(Vec<Asn>),
    /// Sets the priority.
    SetPriority(u32),
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    export_v4: Field<Vec<Rule>>,
    import_v4: Field<Vec<Rule>>,
    export_v6: Field<Vec<Rule>>,
    import_v6: Field<Vec<Rule>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rule {
    action: Field<FilterAction>,
    cidr: Field<Cidr>,
    match_operator: Field<MatchOperator>,
    prefix_length: Field<PrefixLength>,
    source: Field<RouteSource>,
    interface: Field<String>,
    peer_type: Field<FilterPeerType>,
    communities: Field<Communities>,
    as_path_prefix: Field<Vec<AsNumber>>,
    priority: Field<u32>,
    operations: Field<Vec<Operation>>,
}

#[derive(Deserialize)]
struct PrefixLength {
    min: Option<u8>,
    max: Option<u8>,
}

#[derive(Deserialize)]
enum RouteSource {
    RemotePeers,
}

#[derive(Deserialize)]
struct Communities {
    values: [CommunityValue; 1],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    add_community: Option<Value>,
    #[serde(rename = "prependASPath")]
    prepend_as_path: Option<Prepend>,
    set_priority: Option<Priority>,
}

#[derive(Deserialize)]
struct Value {
    value: CommunityValue,
}

#[derive(Deserialize)]
struct Prepend {
    prefix: Vec<AsNumber>,
}

#[derive(Deserialize)]
struct Priority {
    value: u32,
}

impl BgpFilter {
    /// A rule that cannot be read as a whole is left out and noted: without one of its conditions it would match more
    /// than was meant.
    pub(in crate::cluster::calico) fn read(json: &[u8], findings: &mut Findings) -> Result<Self, String> {
        let spec: Spec = spec(json)?;
        let mut rules = |path: &str, is_ipv4: bool, field| -> Vec<BgpFilterRule> {
            let rules: Vec<Rule> = findings.take(path, field).unwrap_or_default();
            let read = |(index, rule)| {
                let mut faults = Findings::default();
                let rule = read_rule(rule, is_ipv4, &mut faults);
                let faults = faults.into_vec();
                for fault in &faults {
                    findings.note(format!("{path}[{index}].{fault}; the rule is left out"));
                }
                rule.filter(|_| faults.is_empty())
            };
            rules.into_iter().enumerate().filter_map(read).collect()
        };
        Ok(Self {
            export_v4: rules("spec.exportV4", true, spec.export_v4),
            import_v4: rules("spec.importV4", true, spec.import_v4),
            export_v6: rules("spec.exportV6", false, spec.export_v6),
            import_v6: rules("spec.importV6", false, spec.import_v6),
        })
    }
}

fn read_rule(rule: Rule, is_ipv4: bool, faults: &mut Findings) -> Option<BgpFilterRule> {
    if rule.action == Field::Absent {
        faults.note("action: is required; use Accept or Reject");
    }
    let action = faults.take("action", rule.action);
    let cidr = read_cidr(rule.cidr, rule.match_operator, is_ipv4, faults);
    let prefix_length = faults.take("prefixLength", rule.prefix_length).map(|range| (range.min, range.max));
    if prefix_length.is_some() && cidr.is_none() {
        faults.note("prefixLength: needs cidr");
    }
    let interface = faults.take("interface", rule.interface).filter(|pattern| !pattern.is_empty());
    let interface = interface.and_then(|pattern| match pattern.parse() {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            faults.note(format!("interface: {error}"));
            None
        }
    });
    let is_from_remote_peers = matches!(faults.take("source", rule.source), Some(RouteSource::RemotePeers));
    let peer_type = faults.take("peerType", rule.peer_type);
    let community = faults.take("communities", rule.communities).map(|Communities { values: [value] }| value);
    let as_path_prefix = as_numbers(faults.take("asPathPrefix", rule.as_path_prefix).unwrap_or_default());
    let priority = faults.take("priority", rule.priority);
    check_priority("priority", priority, faults);
    let operations = read_operations(rule.operations, faults);
    if !operations.is_empty() && action == Some(FilterAction::Reject) {
        faults.note("operations: go with Accept only");
    }
    Some(BgpFilterRule {
        action: action?,
        cidr,
        prefix_length,
        is_from_remote_peers,
        interface,
        peer_type,
        community,
        as_path_prefix,
        priority,
        operations,
    })
}

fn read_cidr(
    cidr: Field<Cidr>,
    operator: Field<MatchOperator>,
    is_ipv4: bool,
    faults: &mut Findings,
) -> Option<(MatchOperator, IpNet)> {
    let are_both = matches!(cidr, Field::Absent) == matches!(operator, Field::Absent);
    if !are_both {
        faults.note("cidr: goes with matchOperator, and matchOperator with cidr");
    }
    let cidr = faults.take("cidr", cidr);
    let operator = faults.take("matchOperator", operator);
    let (cidr, operator) = (cidr?.0, operator?);
    if cidr.addr().is_ipv4() != is_ipv4 {
        faults.note("cidr: is of the other IP version");
    }
    Some((operator, cidr))
}

fn read_operations(field: Field<Vec<Operation>>, faults: &mut Findings) -> Vec<FilterOperation> {
    let operations: Vec<Operation> = faults.take("operations", field).unwrap_or_default();
    if operations.len() > OPERATIONS_MAX {
        faults.note(format!("operations: are more than {OPERATIONS_MAX}"));
    }
    let mut read = Vec::new();
    for (index, operation) in operations.into_iter().enumerate() {
        match (operation.add_community, operation.prepend_as_path, operation.set_priority) {
            (Some(add), None, None) => read.push(FilterOperation::AddCommunity(add.value)),
            (None, Some(prepend), None)
                if (1..=10).contains(&prepend.prefix.len()) && prepend.prefix.iter().all(|asn| asn.0.0 != 0) =>
            {
                read.push(FilterOperation::PrependAsPath(as_numbers(prepend.prefix)));
            }
            (None, None, Some(set)) => {
                check_priority("operations", Some(set.value), faults);
                read.push(FilterOperation::SetPriority(set.value));
            }
            _ => faults.note(format!(
                "operations[{index}]: is one of addCommunity, prependASPath (1 to 10 AS numbers, none of them 0), setPriority"
            )),
        }
    }
    read
}

fn check_priority(path: &str, priority: Option<u32>, faults: &mut Findings) {
    if priority.is_some_and(|priority| !(1..=PRIORITY_MAX).contains(&priority)) {
        faults.note(format!("{path}: a priority is 1 to {PRIORITY_MAX}"));
    }
}

fn as_numbers(numbers: Vec<AsNumber>) -> Vec<Asn> {
    numbers.into_iter().map(|number| number.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(spec: serde_json::Value) -> (BgpFilter, Vec<String>) {
        let mut findings = Findings::default();
        let filter = BgpFilter::read(json!({"spec": spec}).to_string().as_bytes(), &mut findings).unwrap();
        (filter, findings.into_vec())
    }

    #[test]
    fn every_condition_and_operation_is_read() {
        let (filter, findings) = read(json!({"exportV4": [{
            "action": "Accept", "cidr": "10.0.0.0/8", "matchOperator": "In",
            "prefixLength": {"min": 16, "max": 24}, "source": "RemotePeers", "interface": "eth*",
            "peerType": "eBGP", "communities": {"values": ["65000:1"]}, "asPathPrefix": [65001, "65002"],
            "priority": 512, "operations": [
                {"addCommunity": {"value": "65000:1:2"}}, {"prependASPath": {"prefix": [65000, 65000]}},
                {"setPriority": {"value": 100}}
            ]
        }]}));
        assert_eq!(findings, Vec::<String>::new());
        let rule = &filter.export_v4[0];
        assert_eq!(rule.cidr, Some((MatchOperator::In, "10.0.0.0/8".parse().unwrap())));
        assert_eq!(rule.prefix_length, Some((Some(16), Some(24))));
        assert_eq!(rule.as_path_prefix, [Asn(65001), Asn(65002)]);
        assert_eq!(rule.operations.len(), 3);
        assert_eq!(rule.operations[2], FilterOperation::SetPriority(100));
    }

    #[test]
    fn a_rule_that_cannot_be_read_is_left_out_and_the_others_stay() {
        for bad in [
            json!({}),
            json!({"action": "Drop"}),
            json!({"action": "Reject", "cidr": "10.0.0.0/8"}),
            json!({"action": "Reject", "matchOperator": "In"}),
            json!({"action": "Reject", "cidr": "fd00::/8", "matchOperator": "In"}),
            json!({"action": "Reject", "cidr": "10.0.0.0/8", "matchOperator": "Above"}),
            json!({"action": "Reject", "prefixLength": {"min": 8}}),
            json!({"action": "Reject", "communities": {"values": ["1:1", "2:2"]}}),
            json!({"action": "Reject", "operations": [{"setPriority": {"value": 1}}]}),
            json!({"action": "Accept", "operations": [{}]}),
            json!({"action": "Accept", "priority": 0}),
        ] {
            let (filter, findings) = read(json!({"importV4": [bad, {"action": "Accept"}]}));
            assert_eq!(filter.import_v4.len(), 1, "{bad}");
            assert!(findings[0].starts_with("spec.importV4[0]."), "{findings:?}");
        }
    }
}
