//! What export filters say, within one batch of one group.
//!
//! Attribute sets are decoded once and, where the filters do not look at prefixes, judged once. A verdict that changes
//! a route is kept as a small number, so that routes with equal changes are found by sorting. Without filters there is
//! nothing here, and nothing is looked up.

use super::encode::ExportView;
use super::key::GroupKey;
use crate::config::filter::{NextHopChange, RouteSource, SessionKind};
use crate::engine::policy::{ChangedRoute, FilterRoute, Policy, RuleId};
use crate::engine::readvertise::Relation;
use crate::engine::rib::{AttrId, DEFAULT_LOCAL_PREF, Path, PrefixId, Source};
use crate::engine::wire::{canonical_params, decode_canonical};
use bgp_proto::PathAttributes;
use bytes::BytesMut;
use ipnet::IpNet;

/// How many decoded attribute sets are remembered, by the low bits of their ids.
const SLOTS: usize = 64;

/// Which rules change a route: the number of a sequence of them in [`Verdicts`]; the default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangesId(u32);

/// A route that passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// What is changed.
    pub changes: ChangesId,
    /// Its next hop, if that is set.
    pub next_hop: Option<NextHopChange>,
}

/// An attribute set after its changes.
#[derive(Debug)]
pub struct ChangedSet {
    /// In the canonical encoding.
    pub wire: BytesMut,
    /// Its LOCAL_PREF.
    pub local_pref: u32,
    /// See [`ChangedRoute::has_set_med`].
    pub has_set_med: bool,
}

/// One per batch.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// Rules that change a route, by [`ChangesId`], from 1.
    changes: Vec<Vec<RuleId>>,
    slots: Vec<Option<Slot>>,
}

#[derive(Debug)]
struct Slot {
    attr: AttrId,
    attributes: PathAttributes,
    /// What was said of it, if that does not depend on the prefix.
    said: Option<(Source, Option<Passed>)>,
}

impl Verdicts {
    /// Does the path pass? `None`: no.
    pub fn judge(
        &mut self,
        view: &ExportView<'_>,
        key: &GroupKey,
        id: PrefixId,
        path: Path,
    ) -> Option<Passed> {
        match &key.export {
            Policy::Accept => Some(Passed::default()),
            Policy::Reject => None,
            policy @ Policy::Filters(_) => self.filter(view, key, policy, id, path),
        }
    }

    fn filter(
        &mut self,
        view: &ExportView<'_>,
        key: &GroupKey,
        policy: &Policy,
        id: PrefixId,
        path: Path,
    ) -> Option<Passed> {
        let index = path.attr.0 as usize % SLOTS;
        self.slots.resize_with(SLOTS, || None);
        let set = view.attrs.set(path.attr);
        let mut slot = match self.slots[index].take() {
            Some(slot) if slot.attr == path.attr => slot,
            _ => Slot { attr: path.attr, attributes: decode_canonical(set.wire), said: None },
        };
        let said = slot.said.filter(|(source, _)| *source == path.source);
        let passed = match said {
            Some((_, passed)) => passed,
            None => {
                let prefix = bgp_proto::decode_prefix(key.family.afi_safi(), view.rib.prefixes.key(id))?;
                let route = filter_route(view, key, &slot.attributes, prefix, path);
                let passed = self.evaluate(policy, &route);
                if !policy.reads_prefix() {
                    slot.said = Some((path.source, passed));
                }
                passed
            }
        };
        self.slots[index] = Some(slot);
        passed
    }

    /// The rules that match a path, in order, whatever becomes of it.
    pub fn trace(view: &ExportView<'_>, key: &GroupKey, id: PrefixId, path: Path) -> Vec<RuleId> {
        let mut matched = Vec::new();
        let prefix = bgp_proto::decode_prefix(key.family.afi_safi(), view.rib.prefixes.key(id));
        let set = view.attrs.set(path.attr);
        let attributes = decode_canonical(set.wire);
        if let Some(prefix) = prefix {
            let route = filter_route(view, key, &attributes, prefix, path);
            key.export.evaluate(&route, |rule| matched.push(rule));
        }
        matched
    }

    fn evaluate(&mut self, policy: &Policy, route: &FilterRoute<'_>) -> Option<Passed> {
        let verdict = policy.evaluate(route, |_| ());
        if !verdict.is_accepted {
            return None;
        }
        if verdict.changes.is_empty() {
            return Some(Passed::default());
        }
        let next_hop = policy.next_hop(&verdict.changes, &route.prefix);
        let known = self.changes.iter().position(|known| *known == verdict.changes);
        let index = known.unwrap_or_else(|| {
            self.changes.push(verdict.changes);
            self.changes.len() - 1
        });
        Some(Passed { changes: ChangesId(index as u32 + 1), next_hop })
    }

    /// The attributes of a path after its changes; `None`: nothing is changed.
    pub fn changed_set(
        &self,
        view: &ExportView<'_>,
        key: &GroupKey,
        path: Path,
        changes: ChangesId,
    ) -> Option<ChangedSet> {
        let rules = self.rules(changes);
        if rules.is_empty() {
            return None;
        }
        let mut route = ChangedRoute::new(decode_canonical(view.attrs.set(path.attr).wire));
        key.export.actions(rules).for_each(|action| route.change_attributes(action));
        let mut wire = BytesMut::new();
        route.attributes.encode(&canonical_params(), &mut wire);
        let local_pref = route.attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF);
        Some(ChangedSet { wire, local_pref, has_set_med: route.has_set_med })
    }

    /// Do two verdicts, each of a batch and policy of its own, change a route in the same way?
    pub fn change_alike(
        one: (&Verdicts, &Policy, ChangesId),
        other: (&Verdicts, &Policy, ChangesId),
    ) -> bool {
        one.1.actions(one.0.rules(one.2)).eq(other.1.actions(other.0.rules(other.2)))
    }

    fn rules(&self, id: ChangesId) -> &[RuleId] {
        let index = (id.0 as usize).checked_sub(1);
        index.and_then(|index| self.changes.get(index)).map_or(&[], |rules| rules)
    }
}

fn filter_route<'a>(
    view: &ExportView<'a>,
    key: &GroupKey,
    attributes: &'a PathAttributes,
    prefix: IpNet,
    path: Path,
) -> FilterRoute<'a> {
    FilterRoute {
        prefix,
        attributes,
        next_hop: view.attrs.set(path.attr).next_hop,
        source: route_source(path.source),
        neighbor: view.source(path.source).map(|source| source.address),
        interface: interface(view, &key.export, path, &prefix),
        session: session_kind(key.relation),
    }
}

/// What a session of this relation is to filters.
pub fn session_kind(relation: Relation) -> SessionKind {
    match relation {
        Relation::External => SessionKind::External,
        Relation::Client | Relation::NonClient => SessionKind::Internal,
    }
}

fn route_source(source: Source) -> RouteSource {
    match source {
        Source::LOCAL => RouteSource::Local,
        source if source.is_own() => RouteSource::Kernel,
        _ => RouteSource::Peers,
    }
}

fn interface<'a>(view: &ExportView<'a>, policy: &Policy, path: Path, prefix: &IpNet) -> Option<&'a str> {
    if !path.source.is_own() || !policy.reads_interface() {
        return None;
    }
    match path.source {
        Source::LOCAL => view.announcements.get(prefix)?.interface.as_deref(),
        Source::NETWORK => view.kernel.networks.get(prefix).map(AsRef::as_ref),
        _ => view.kernel.routes.get(prefix)?.interface.as_deref(),
    }
}
