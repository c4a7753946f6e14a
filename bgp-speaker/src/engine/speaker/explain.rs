//! Why a prefix is where it is. Nothing here changes anything.

use super::Engine;
use super::flush::export_view;
use super::views::BestRoute;
use crate::config::{Family, NeighborError, NeighborId, NeighborRef};
use crate::engine::candidates::candidate;
use crate::engine::decision::{Candidate, DecisionStep, losses};
use crate::engine::policy::Policy;
use crate::engine::rib::{Path, PrefixId, Source};
use crate::engine::update_group::{Announce, ExportView, UpdateGroup, Verdicts, export};
use crate::engine::wire::decode_canonical;
use crate::view::{ExplainView, ExplainedExport, ExplainedPath, RouteView};
use bgp_proto::{NextHop, encode_prefix};
use ipnet::IpNet;

impl Engine {
    /// Why this prefix is where it is; with `to`, of its exports only those to that neighbour.
    ///
    /// # Errors
    /// There is no such neighbour, or more than one.
    pub fn explain(&self, prefix: IpNet, to: Option<NeighborRef>) -> Result<ExplainView, NeighborError> {
        let to = to.map(|wanted| self.find(wanted)).transpose()?;
        let prefix = prefix.trunc();
        let family = Family::of(&prefix);
        let rib = &self.ribs[family.index()];
        let mut key = [0; bgp_proto::MAX_PREFIX_WIRE_LEN];
        let length = encode_prefix(prefix, &mut key);
        let id = rib.prefixes.find(&key[..length]);
        let best = id.and_then(|id| Some((id, rib.best(id).filter(|_| !rib.is_undecided(id))?)));
        Ok(ExplainView {
            prefix,
            paths: id.map_or_else(Vec::new, |id| self.explained_paths(family, prefix, id)),
            is_undecided: id.is_some_and(|id| rib.is_undecided(id)),
            exports: best.map_or_else(Vec::new, |(id, path)| self.explained_exports(family, id, path, to)),
            kernel: Vec::new(),
        })
    }

    fn explained_paths(&self, family: Family, prefix: IpNet, id: PrefixId) -> Vec<ExplainedPath> {
        let rib = &self.ribs[family.index()];
        let paths: Vec<(Path, bool)> = rib.paths(id).collect();
        let candidates: Vec<Candidate> =
            paths.iter().map(|(path, _)| candidate(&self.attrs, &self.sources, path)).collect();
        let losses = losses(&candidates);
        let is_decided = !rib.is_undecided(id);
        let decided_by = losses.iter().flatten().max();
        let equal = match self.best_route(family, id) {
            Some(BestRoute::Learned { equal_next_hops, .. }) => equal_next_hops,
            _ => Vec::new(),
        };
        let is_used = |next_hop: Option<NextHop>| next_hop.is_some_and(|next_hop| equal.contains(&next_hop));
        let explained = paths.iter().zip(&losses).enumerate().map(|(position, ((path, stale), loss))| {
            let set = self.attrs.set(path.attr);
            let route = self.route(family, prefix, *path, &decode_canonical(set.wire), set.next_hop);
            let because = match (loss, decided_by) {
                (Some(step), _) if *step > DecisionStep::External && is_used(set.next_hop) => {
                    format!("lost by {step}; packets may take its next hop too")
                }
                (Some(step), _) => format!("lost by {step}"),
                (None, Some(step)) => format!("best by {step}"),
                (None, None) => "the only path".to_owned(),
            };
            let best = position == 0 && is_decided;
            ExplainedPath { route: RouteView { best, stale: *stale, ..route }, because }
        });
        explained.collect()
    }

    fn explained_exports(
        &self,
        family: Family,
        id: PrefixId,
        path: Path,
        to: Option<Source>,
    ) -> Vec<ExplainedExport> {
        let mut exports = Vec::new();
        let mut without: Vec<String> = Vec::new();
        for peer in self.peers.iter().flatten().filter(|peer| to.is_none_or(|to| to == peer.source)) {
            if self.group_of(peer.source, family).is_none() {
                without.push(self.name_of(peer.neighbor.id()));
            }
        }
        let wanted = |source: Source| to.is_none_or(|to| to == source);
        for group in self.groups.iter().flatten().filter(|group| group.key.family == family) {
            let members =
                self.by_id.iter().filter(|(_, source)| wanted(**source) && group.member(**source).is_some());
            let addresses = |list: &[(&NeighborId, &Source)]| {
                list.iter().map(|(id, _)| self.name_of(**id)).collect::<Vec<_>>()
            };
            if group.told().is_some() {
                let view = export_view!(self, family);
                let has_own = |source: Source| view.rib.paths(id).any(|(path, _)| path.source == source);
                let (own, others): (Vec<_>, Vec<_>) = members.partition(|(_, source)| has_own(**source));
                let told = |to: Source, list: &[_]| told_paths(&view, group, id, to, addresses(list));
                exports.extend(own.iter().map(|one| told(*one.1, &[*one])));
                exports.extend(others.first().map(|one| told(*one.1, &others)));
                continue;
            }
            let (own, others): (Vec<_>, Vec<_>) = members.partition(|(_, source)| **source == path.source);
            if !own.is_empty() {
                exports.push(refused(addresses(&own), "it is where the best path came from"));
            }
            if !others.is_empty() {
                exports.push(explained(&export_view!(self, family), group, id, path, addresses(&others)));
            }
        }
        if !without.is_empty() {
            exports.push(refused(without, &format!("no session with {family}")));
        }
        exports
    }
}

/// How a prefix fares towards neighbours that are told several paths, and all that `to` is told.
fn told_paths(
    view: &ExportView<'_>,
    group: &UpdateGroup,
    id: PrefixId,
    to: Source,
    neighbors: Vec<String>,
) -> ExplainedExport {
    let mut verdicts = Verdicts::default();
    let told: Vec<Announce> = group
        .told()
        .map(|told| told.announcements(view, &group.key, id, to, &mut verdicts).collect())
        .unwrap_or_default();
    let others = view.rib.paths(id).filter(|(path, _)| path.source != to).count();
    let rest = "the rest is beyond add_paths_max, or kept back by a rule or filter";
    let because = match (told.len(), others) {
        (0, 0) => "all paths are its own".to_owned(),
        (count, total) if count == total => format!("all {count} paths of others"),
        (0, total) => format!("none of {total} paths of others; {rest}"),
        (count, total) => format!("{count} of {total} paths of others; {rest}"),
    };
    ExplainedExport {
        neighbors,
        is_advertised: !told.is_empty(),
        next_hop: told.first().map(|announce| announce.next_hop.addr().to_string()),
        path_ids: told.iter().map(|announce| announce.path.path_id).collect(),
        because,
        matched: Vec::new(),
    }
}

fn refused(neighbors: Vec<String>, because: &str) -> ExplainedExport {
    ExplainedExport {
        neighbors,
        is_advertised: false,
        next_hop: None,
        path_ids: Vec::new(),
        because: because.to_owned(),
        matched: Vec::new(),
    }
}

fn explained(
    view: &ExportView<'_>,
    group: &UpdateGroup,
    id: PrefixId,
    path: Path,
    neighbors: Vec<String>,
) -> ExplainedExport {
    let mut verdicts = Verdicts::default();
    let matched = rules(&group.key.export, Verdicts::trace(view, &group.key, id, path));
    match export(view, &group.key, id, path, &mut verdicts) {
        Ok((next_hop, _)) => ExplainedExport {
            neighbors,
            is_advertised: true,
            next_hop: Some(next_hop.addr().to_string()),
            path_ids: Vec::new(),
            because: "nothing keeps it back".to_owned(),
            matched,
        },
        Err(refusal) => ExplainedExport { matched, ..refused(neighbors, &refusal.to_string()) },
    }
}

fn rules(policy: &Policy, matched: Vec<crate::engine::policy::RuleId>) -> Vec<String> {
    let name = |filter: u32| policy.filters().get(filter as usize).map_or("?", |filter| filter.name.as_str());
    matched.iter().map(|id| format!("filter {} rule {}", name(id.filter), id.rule + 1)).collect()
}
