//! Two configurations in, the steps between them out.
//!
//! [`FIELDS`] classes every field: what a change of it costs a running session. The dry run
//! prints what [`diff`] returns and the engine carries out the same value, so the two cannot disagree.

use super::fields::{FIELDS, FieldClass, Value};
use super::{
    Encapsulation, EncapsulationMode, FibRules, Neighbor, NeighborId, NeighborRef, PoolRule, SessionOptions,
    SpeakerConfig, alone_at, called,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

/// One step from one configuration to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What is done.
    pub action: StepAction,
    /// To what: an address (with the port, if several neighbours have it), a prefix, a socket address.
    pub target: String,
    /// Why: the field and its two values.
    pub because: String,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action, self.target)?;
        if !self.because.is_empty() {
            write!(f, " ({})", self.because)?;
        }
        Ok(())
    }
}

impl Step {
    /// The neighbour is to leave. Where the session is reset at the same time, that is what the step does.
    fn hold(&mut self) {
        if self.action == StepAction::UpdateSession {
            self.action = StepAction::HoldSession;
            self.because = "until others have taken its place".to_owned();
        }
    }
}

/// The kinds of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepAction {
    /// A neighbour or range appears.
    AddSession,
    /// A neighbour or range goes.
    RemoveSession,
    /// A session is closed and set up anew.
    ResetSession,
    /// Routes are exchanged again.
    RefreshSession,
    /// A field changes without effect on the wire.
    UpdateSession,
    /// A neighbour stays, although nothing asks for it any more, until others have taken its place.
    HoldSession,
    /// A prefix is originated, or with other attributes.
    Announce,
    /// A prefix is no longer originated.
    Withdraw,
    /// Other routes go to the kernel, or in another way.
    Fib,
    /// Routes of other programs are taken from the kernel, or no longer, or others than before.
    Kernel,
    /// Listening sockets change.
    Listen,
    /// A filter appears, changes or goes. Where it is for export, neighbours are told what differs; where it is for
    /// import, their sessions have a refresh step each.
    Filter,
}

impl fmt::Display for StepAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StepAction::AddSession => "add-session",
            StepAction::RemoveSession => "remove-session",
            StepAction::ResetSession => "reset-session",
            StepAction::RefreshSession => "refresh-session",
            StepAction::UpdateSession => "update-session",
            StepAction::HoldSession => "hold-session",
            StepAction::Announce => "announce",
            StepAction::Withdraw => "withdraw",
            StepAction::Fib => "fib",
            StepAction::Kernel => "kernel",
            StepAction::Listen => "listen",
            StepAction::Filter => "filter",
        })
    }
}

/// The steps from `old` to `new`: filters by name, sessions by address, then announcements by prefix, then the rest.
/// Equal configurations give none.
pub fn diff(old: &SpeakerConfig, new: &SpeakerConfig) -> Vec<Step> {
    let mut steps = Vec::new();
    diff_filters(old, new, &mut steps);
    let identity = identity_change(old, new);
    // In a large mesh all but a few are as they were: these cost one comparison.
    let inherit_the_same = identity.class.is_none() && inherited(old) == inherited(new);
    for (id, neighbor) in &new.neighbors {
        match counterpart(new, old, *id) {
            Some(before)
                if inherit_the_same && before == neighbor && is_leaving(old, *id) == is_leaving(new, *id) => {
            }
            None => steps.push(step(StepAction::AddSession, target(old, new, *id), String::new())),
            Some(before) => {
                let mut change = compare(old, &before.options, new, &neighbor.options);
                compare_addressing(before, neighbor, &mut change);
                change.raise(&identity);
                change.note(FieldClass::Hitless, "leaving", is_leaving(old, *id), is_leaving(new, *id));
                let mut step = change.into_step(&target(old, new, *id).to_string());
                if is_leaving(new, *id) && !is_leaving(old, *id) {
                    step.iter_mut().for_each(Step::hold);
                }
                steps.extend(step);
            }
        }
    }
    for id in old.neighbors.keys().filter(|id| counterpart(old, new, **id).is_none()) {
        steps.push(step(StepAction::RemoveSession, target(old, new, *id), String::new()));
    }
    diff_ranges(old, new, &identity, &mut steps);
    diff_announcements(old, new, &mut steps);
    diff_fib(&old.fib_rules, &new.fib_rules, &mut steps);
    if old.kernel_import != new.kernel_import {
        let text = |config: &SpeakerConfig| {
            config.kernel_import.as_ref().map_or("nothing".to_owned(), ToString::to_string)
        };
        steps.push(step(StepAction::Kernel, "import", format!("{} -> {}", text(old), text(new))));
    }
    if old.listen != new.listen {
        steps.push(step(StepAction::Listen, format!("{:?}", new.listen), format!("was {:?}", old.listen)));
    }
    steps
}

/// What a neighbour of `one` is in `other`: the one with its address and port; or, where no other neighbour shares the
/// address in either, the one with its address, whose port has changed.
fn counterpart<'a>(one: &SpeakerConfig, other: &'a SpeakerConfig, id: NeighborId) -> Option<&'a Neighbor> {
    other.neighbors.get(&id).or_else(|| {
        alone_at(&one.neighbors, id.address)?;
        alone_at(&other.neighbors, id.address).map(|(_, neighbor)| neighbor)
    })
}

fn is_leaving(config: &SpeakerConfig, id: NeighborId) -> bool {
    config.leaving.contains(&id)
}

/// What a step calls a neighbour, so that either configuration tells who is meant.
fn target(old: &SpeakerConfig, new: &SpeakerConfig, id: NeighborId) -> NeighborRef {
    let has_new_port = counterpart(new, old, id).is_some_and(|before| before.id() != id);
    let is_shared = |config: &SpeakerConfig| called(&config.neighbors, id).port.is_some();
    if !has_new_port && (is_shared(old) || is_shared(new)) { id.into() } else { id.address.into() }
}

fn diff_filters(old: &SpeakerConfig, new: &SpeakerConfig, steps: &mut Vec<Step>) {
    for (name, filter) in &new.filters {
        match old.filters.get(name) {
            None => steps.push(step(StepAction::Filter, name, "added".to_owned())),
            Some(before) if before != filter => {
                steps.push(step(StepAction::Filter, name, "rules changed".to_owned()));
            }
            Some(_) => {}
        }
    }
    for name in old.filters.keys().filter(|name| !new.filters.contains_key(*name)) {
        steps.push(step(StepAction::Filter, name, "removed".to_owned()));
    }
}

fn diff_ranges(old: &SpeakerConfig, new: &SpeakerConfig, identity: &Change, steps: &mut Vec<Step>) {
    for range in &new.listen_ranges {
        match old.listen_ranges.iter().find(|r| r.prefix == range.prefix) {
            None => steps.push(step(StepAction::AddSession, range.prefix, String::new())),
            Some(before) => {
                let mut change = compare(old, &before.options, new, &range.options);
                for field in FIELDS {
                    if let Value::Range(value) = field.value {
                        change.note(field.class, field.name, value(before), value(range));
                    }
                }
                change.raise(identity);
                steps.extend(change.into_step(&range.prefix.to_string()));
            }
        }
    }
    for range in &old.listen_ranges {
        if !new.listen_ranges.iter().any(|r| r.prefix == range.prefix) {
            steps.push(step(StepAction::RemoveSession, range.prefix, String::new()));
        }
    }
}

fn diff_announcements(old: &SpeakerConfig, new: &SpeakerConfig, steps: &mut Vec<Step>) {
    for (prefix, announcement) in &new.announcements {
        match old.announcements.get(prefix) {
            None => steps.push(step(StepAction::Announce, prefix, String::new())),
            Some(before) if before != announcement => {
                steps.push(step(StepAction::Announce, prefix, "attributes changed".to_owned()));
            }
            Some(_) => {}
        }
    }
    for prefix in old.announcements.keys().filter(|prefix| !new.announcements.contains_key(*prefix)) {
        steps.push(step(StepAction::Withdraw, prefix, String::new()));
    }
}

fn diff_fib(old: &FibRules, new: &FibRules, steps: &mut Vec<Step>) {
    let pools: BTreeSet<&IpNet> = old.pools.keys().chain(new.pools.keys()).collect();
    for pool in pools {
        let (before, after) = (old.pools.get(pool), new.pools.get(pool));
        if before != after {
            steps.push(step(StepAction::Fib, pool, format!("{} -> {}", pool_text(before), pool_text(after))));
        }
    }
    for range in old.rejected.symmetric_difference(&new.rejected) {
        let because = if new.rejected.contains(range) { "not for the kernel" } else { "for the kernel" };
        steps.push(step(StepAction::Fib, range, because.to_owned()));
    }
    for address in old.foreign_next_hops.symmetric_difference(&new.foreign_next_hops) {
        let is_foreign = new.foreign_next_hops.contains(address);
        let because =
            if is_foreign { "its routes are written by another program" } else { "its routes are ours" };
        steps.push(step(StepAction::Fib, address, because.to_owned()));
    }
    if old.metrics != new.metrics {
        let because = format!("{:?} -> {:?}", old.metrics, new.metrics);
        steps.push(step(StepAction::Fib, "metrics", because.to_lowercase()));
    }
    if old.next_hops_max() != new.next_hops_max() {
        let because = format!("{} -> {}", old.next_hops_max(), new.next_hops_max());
        steps.push(step(StepAction::Fib, "next_hops_max", because));
    }
    let prefixes: BTreeSet<&IpNet> = old.host_routes.keys().chain(new.host_routes.keys()).collect();
    for prefix in prefixes {
        let text = |via: Option<&IpAddr>| via.map_or("none".to_owned(), |via| format!("via {via}"));
        let (before, after) = (text(old.host_routes.get(prefix)), text(new.host_routes.get(prefix)));
        if before != after {
            steps.push(step(StepAction::Fib, prefix, format!("{before} -> {after}")));
        }
    }
}

fn pool_text(rule: Option<&PoolRule>) -> String {
    let Some(rule) = rule else { return "none".to_owned() };
    let mut text = match rule.encapsulation {
        Encapsulation::None => "direct".to_owned(),
        encapsulation => encapsulation.as_str().to_owned(),
    };
    if let Some(device) = &rule.device {
        text.push_str(&format!(" over {device}"));
    }
    match (rule.encapsulation, rule.when, rule.subnet) {
        (Encapsulation::None, ..) | (_, EncapsulationMode::Always, _) => {}
        (_, EncapsulationMode::CrossSubnet, None) => text.push_str(" across subnets"),
        (_, EncapsulationMode::CrossSubnet, Some(subnet)) => text.push_str(&format!(" outside {subnet}")),
    }
    if !rule.program {
        text.push_str(", by another program");
    }
    text
}

/// What the options of a session are seen with: see [`FIELDS`] and [`compare`].
fn inherited(config: &SpeakerConfig) -> impl PartialEq {
    let restart_time = config.graceful_restart.restart_time;
    (config.asn, config.hold_time_secs, restart_time, config.filters.clone())
}

/// Changes of the speaker itself that every OPEN would carry.
fn identity_change(old: &SpeakerConfig, new: &SpeakerConfig) -> Change {
    let mut change = Change::default();
    for field in FIELDS {
        if let Value::Speaker(value) = field.value {
            change.note(field.class, field.name, value(old), value(new));
        }
    }
    change
}

fn compare_addressing(old: &Neighbor, new: &Neighbor, change: &mut Change) {
    for field in FIELDS {
        if let Value::Neighbor(value) = field.value {
            change.note(field.class, field.name, value(old), value(new));
        }
    }
}

fn compare(old: &SpeakerConfig, a: &SessionOptions, new: &SpeakerConfig, b: &SessionOptions) -> Change {
    let mut change = Change::default();
    for field in FIELDS {
        match field.value {
            Value::Session(value) => change.note(field.class, field.name, value(old, a), value(new, b)),
            Value::Secret(value) if value(a) != value(b) => {
                change.class = change.class.max(Some(field.class));
                change.because.push(format!("{} changed", field.name));
            }
            Value::Secret(_) | Value::Neighbor(_) | Value::Range(_) | Value::Speaker(_) => {}
        }
    }
    let is_other = |name: &&String| old.filters.get(*name) != new.filters.get(*name);
    for name in b.import.filters().iter().filter(is_other).filter(|_| a.import == b.import) {
        change.class = change.class.max(Some(FieldClass::Refresh));
        change.because.push(format!("import filter {name} changed"));
    }
    change
}

/// What differs, and the strongest class of it.
#[derive(Default)]
struct Change {
    class: Option<FieldClass>,
    because: Vec<String>,
}

impl Change {
    fn note(&mut self, class: FieldClass, name: &str, old: impl fmt::Display, new: impl fmt::Display) {
        let (old, new) = (old.to_string(), new.to_string());
        if old != new {
            self.class = self.class.max(Some(class));
            self.because.push(format!("{name} {old} -> {new}"));
        }
    }

    fn raise(&mut self, other: &Change) {
        self.class = self.class.max(other.class);
        self.because.extend(other.because.iter().cloned());
    }

    fn into_step(self, target: &str) -> Option<Step> {
        let action = match self.class? {
            FieldClass::Hitless => StepAction::UpdateSession,
            FieldClass::Refresh => StepAction::RefreshSession,
            FieldClass::Reset => StepAction::ResetSession,
        };
        Some(step(action, target, self.because.join(", ")))
    }
}

fn step(action: StepAction, target: impl fmt::Display, because: String) -> Step {
    Step { action, target: target.to_string(), because }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Announcement, Neighbor, RouteMetrics};
    use bgp_proto::Asn;

    fn base() -> SpeakerConfig {
        let mut config = SpeakerConfig::new("10.0.0.1".parse().unwrap());
        let neighbor = Neighbor::ibgp("10.0.0.2".parse().unwrap());
        config.neighbors.insert(neighbor.id(), neighbor);
        config
    }

    #[test]
    fn equal_configurations_need_no_step() {
        assert_eq!(diff(&base(), &base()), vec![]);
    }

    #[test]
    fn the_strongest_class_of_all_changed_fields_decides() {
        let mut new = base();
        let neighbor = new.neighbors.values_mut().next().unwrap();
        neighbor.options.max_prefixes = Some(10);
        assert_eq!(diff(&base(), &new)[0].action, StepAction::UpdateSession);
        let neighbor = new.neighbors.values_mut().next().unwrap();
        neighbor.options.remote_as = Some(Asn(64513));
        let steps = diff(&base(), &new);
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0].action, StepAction::ResetSession);
        assert!(steps[0].because.contains("remote_as 64512 -> 64513"), "{}", steps[0].because);
    }

    #[test]
    fn a_new_speaker_as_resets_only_sessions_that_inherit_it() {
        let mut old = base();
        let pinned = Neighbor::ebgp("10.0.0.3".parse().unwrap(), Asn(65001));
        old.neighbors.insert(pinned.id(), pinned);
        old.neighbors.values_mut().for_each(|n| n.options.local_as = Some(Asn(64512)));
        let mut new = old.clone();
        new.asn = Asn(64999);
        let steps = diff(&old, &new);
        assert_eq!(steps.iter().map(|s| s.target.as_str()).collect::<Vec<_>>(), ["10.0.0.2"]);
    }

    /// Neighbours of one address, by port.
    fn at_ports(ports: &[u16]) -> SpeakerConfig {
        let mut config = SpeakerConfig::new("10.0.0.1".parse().unwrap());
        for port in ports {
            let neighbor = Neighbor::ibgp("10.0.0.2".parse().unwrap()).port(*port);
            config.neighbors.insert(neighbor.id(), neighbor);
        }
        config
    }

    #[test]
    fn a_neighbour_alone_at_its_address_may_change_its_port() {
        let steps = |old: &[u16], new: &[u16]| -> Vec<String> {
            diff(&at_ports(old), &at_ports(new)).iter().map(Step::to_string).collect()
        };
        assert_eq!(steps(&[179], &[1790]), ["reset-session 10.0.0.2 (port 179 -> 1790)"]);
        assert_eq!(steps(&[], &[1790]), ["add-session 10.0.0.2"]);
        assert_eq!(steps(&[179], &[179, 1790]), ["add-session 10.0.0.2:1790"]);
        assert_eq!(steps(&[179, 1790], &[1790]), ["remove-session 10.0.0.2:179"]);
        assert_eq!(
            steps(&[179], &[180, 181]),
            ["add-session 10.0.0.2:180", "add-session 10.0.0.2:181", "remove-session 10.0.0.2:179"]
        );
        let mut named = at_ports(&[179, 1790]);
        named.neighbors.values_mut().for_each(|neighbor| neighbor.name = format!("n{}", neighbor.port));
        let targets: Vec<String> =
            diff(&at_ports(&[179, 1790]), &named).into_iter().map(|step| step.target).collect();
        assert_eq!(targets, ["10.0.0.2:179", "10.0.0.2:1790"]);
    }

    #[test]
    fn announcements_come_and_go() {
        let mut new = base();
        let block = Announcement::block("192.168.1.0/26".parse().unwrap());
        new.announcements.insert(block.prefix, block);
        assert_eq!(diff(&base(), &new)[0].to_string(), "announce 192.168.1.0/26");
        assert_eq!(diff(&new, &base())[0].action, StepAction::Withdraw);
    }

    #[test]
    fn every_field_of_a_pool_makes_a_step() {
        let ipip = PoolRule {
            encapsulation: Encapsulation::Ipip,
            when: EncapsulationMode::CrossSubnet,
            ..PoolRule::default()
        };
        let with = |rule: &PoolRule| {
            let mut config = base();
            config.fib_rules.pools.insert("10.1.0.0/16".parse().unwrap(), rule.clone());
            config
        };
        for (rule, expected) in [
            (PoolRule::default(), "direct"),
            (PoolRule { encapsulation: Encapsulation::Vxlan, ..ipip.clone() }, "vxlan across subnets"),
            (PoolRule { when: EncapsulationMode::Always, ..ipip.clone() }, "ipip"),
            (PoolRule { device: Some("tun9".to_owned()), ..ipip.clone() }, "ipip over tun9 across subnets"),
            (PoolRule { subnet: "10.0.0.0/24".parse().ok(), ..ipip.clone() }, "ipip outside 10.0.0.0/24"),
            (PoolRule { program: false, ..ipip.clone() }, "ipip across subnets, by another program"),
        ] {
            let steps: Vec<String> = diff(&with(&ipip), &with(&rule)).iter().map(Step::to_string).collect();
            assert_eq!(steps, [format!("fib 10.1.0.0/16 (ipip across subnets -> {expected})")]);
        }
        let mut by_priority = with(&ipip);
        by_priority.fib_rules.metrics = RouteMetrics::Priority;
        let step = diff(&with(&ipip), &by_priority)[0].to_string();
        assert_eq!(step, "fib metrics (uniform -> priority)");
        assert_eq!(diff(&with(&ipip), &with(&ipip)), []);
        assert_eq!(diff(&with(&ipip), &base())[0].because, "ipip across subnets -> none");
    }

    #[test]
    fn a_password_is_never_shown() {
        let mut new = base();
        new.neighbors.values_mut().next().unwrap().options.password =
            Some(crate::config::Secret::new("hunter2"));
        let steps = diff(&base(), &new);
        assert_eq!(steps[0].action, StepAction::ResetSession);
        assert!(!format!("{steps:?}").contains("hunter2"));
    }
}
