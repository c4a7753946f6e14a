//! The tables, as they are asked for page by page. Nothing here changes anything.

use super::Engine;
use super::flush::export_view;
use crate::config::{Family, NeighborError, NeighborId};
use crate::engine::pages::{PageAnswer, PageQuestion, Pager, is_after};
use crate::engine::rib::{Path, PrefixId, Source};
use crate::engine::update_group::{Announce, ExportView, GroupKey, Verdicts, export, export_attributes};
use crate::engine::wire::{Edits, decode_canonical};
use crate::view::{KernelRouteView, PathName, PathsTold, RouteCursor, RouteQuery, RouteTable, RouteView};
use bgp_proto::{NextHop, PathAttributes, encode_prefix};
use bytes::BytesMut;
use ipnet::IpNet;

/// Ids looked at per question: a fraction of a millisecond. Tests have small tables.
const IDS_PER_QUESTION: u32 = if cfg!(test) { 16 } else { 16 * 1024 };

/// Which paths a query asks for.
#[derive(Clone, Copy)]
struct Wanted {
    table: RouteTable,
    neighbor: Option<Source>,
}

/// A path to be shown, and what it is called.
type Shown = (PathName, Form);

/// In which form a path is shown.
enum Form {
    /// As it is in the table.
    Held { path: Path, best: bool, stale: bool },
    /// As it is told to a neighbour.
    Told(Announce),
}

impl Engine {
    /// Routes, in the order of their prefixes, the best path of each first; and where the next page begins if there may
    /// be more. Takes as long as the table is large: who has other things to do meanwhile asks page by page, with
    /// [`Engine::answer_page`].
    ///
    /// # Errors
    /// There is no such neighbour, or more than one.
    pub fn routes(&self, query: RouteQuery) -> Result<(Vec<RouteView>, Option<RouteCursor>), NeighborError> {
        let mut pager = Pager::new(query);
        while let Some(question) = pager.question() {
            pager.take(self.answer_page(&question)?);
        }
        Ok(pager.finish())
    }

    /// A part of a page; takes about a millisecond at most.
    ///
    /// # Errors
    /// There is no such neighbour, or more than one.
    pub fn answer_page(&self, question: &PageQuestion) -> Result<PageAnswer, NeighborError> {
        match question {
            PageQuestion::Prefixes { query, family, from, up_to } => {
                let wanted = self.wanted(query)?;
                let is_asked_for = |prefix: &IpNet| {
                    is_after(query, prefix)
                        && up_to.is_none_or(|up_to| *prefix <= up_to)
                        && query.prefix.is_none_or(|outer| outer.contains(prefix))
                };
                let end = self.ribs[family.index()].table_len() as u32;
                let next = from.saturating_add(IDS_PER_QUESTION).min(end);
                let ids = (*from..next).map(PrefixId).filter(|id| self.has_wanted(*family, *id, wanted));
                let found = ids.filter_map(|id| self.prefix(*family, id)).filter(is_asked_for).collect();
                Ok(PageAnswer::Prefixes { found, next: (next < end).then_some(next) })
            }
            PageQuestion::Routes { query, prefixes, told, limit } => {
                let wanted = self.wanted(query)?;
                let mut routes = Vec::new();
                let mut told = *told;
                for (done, prefix) in prefixes.iter().enumerate() {
                    told = self.show(*prefix, wanted, told.take(), *limit, &mut routes);
                    if told.is_some() {
                        return Ok(PageAnswer::Routes { routes, done, told });
                    }
                    if routes.len() >= *limit {
                        return Ok(PageAnswer::Routes { routes, done: done + 1, told: None });
                    }
                }
                Ok(PageAnswer::Routes { routes, done: prefixes.len(), told: None })
            }
        }
    }

    fn wanted(&self, query: &RouteQuery) -> Result<Wanted, NeighborError> {
        let neighbor = query.neighbor.map(|wanted| self.find(wanted)).transpose()?;
        Ok(Wanted { table: query.table, neighbor })
    }

    /// Is there a route to show for an id, which may stand for no prefix any more?
    fn has_wanted(&self, family: Family, id: PrefixId, wanted: Wanted) -> bool {
        let rib = &self.ribs[family.index()];
        let Some(best) = rib.best(id) else { return false };
        match (wanted.table, wanted.neighbor) {
            (RouteTable::Advertised, None) => false,
            (RouteTable::Advertised, Some(to)) => {
                let group = self.group_of(to, family).and_then(|index| self.groups[index].as_ref());
                group.is_some_and(|group| match group.told() {
                    Some(told) => told.of(id).iter().any(|told| told.path.source != to),
                    None => group.advertised().contains(id) && best.source != to,
                })
            }
            (RouteTable::Best, from) => !rib.is_undecided(id) && from.is_none_or(|from| from == best.source),
            (RouteTable::All | RouteTable::Received, None) => true,
            (RouteTable::All | RouteTable::Received, Some(from)) => {
                rib.paths(id).any(|(path, _)| path.source == from)
            }
        }
    }

    /// Appends the routes of a prefix that have not been told, until there are `limit` routes; returns which have been
    /// told if there are more.
    fn show(
        &self,
        prefix: IpNet,
        wanted: Wanted,
        mut told: Option<PathsTold>,
        limit: usize,
        routes: &mut Vec<RouteView>,
    ) -> Option<PathsTold> {
        let family = Family::of(&prefix);
        let mut key = [0; bgp_proto::MAX_PREFIX_WIRE_LEN];
        let length = encode_prefix(prefix, &mut key);
        let id = self.ribs[family.index()].prefixes.find(&key[..length])?;
        let mut verdicts = Verdicts::default();
        let mut shown = match (wanted.table, wanted.neighbor) {
            (RouteTable::Advertised, None) => Vec::new(),
            (RouteTable::Advertised, Some(to)) => self.advertised(family, id, to, &mut verdicts),
            _ => self.held(family, id, wanted),
        };
        // The best stays in front; the others have an order that no decision changes.
        if let Some((_, others)) = shown.split_first_mut() {
            others.sort_unstable_by_key(|(name, _)| *name);
        }
        shown.retain(|(name, _)| told.is_none_or(|told| !told.contains(*name)));
        for (name, form) in shown {
            if routes.len() >= limit {
                return told;
            }
            routes.push(match form {
                Form::Held { path, best, stale } => {
                    let set = self.attrs.set(path.attr);
                    let attributes = decode_canonical(set.wire);
                    RouteView { best, stale, ..self.route(family, prefix, path, &attributes, set.next_hop) }
                }
                Form::Told(announce) => {
                    self.told_route(family, prefix, announce, wanted.neighbor?, &mut verdicts)?
                }
            });
            told = Some(PathsTold::and(told, name));
        }
        None
    }

    /// As they are in the table, the best first.
    fn held(&self, family: Family, id: PrefixId, wanted: Wanted) -> Vec<Shown> {
        let rib = &self.ribs[family.index()];
        let is_decided = !rib.is_undecided(id);
        let paths = rib.paths(id).enumerate().map(|(position, (path, stale))| {
            let best = position == 0 && is_decided;
            ((path.source.0, path.path_id), Form::Held { path, best, stale })
        });
        let is_wanted = |(_, form): &Shown| match form {
            Form::Held { path, best, .. } => {
                (wanted.table != RouteTable::Best || *best)
                    && wanted.neighbor.is_none_or(|from| from == path.source)
            }
            Form::Told(_) => false,
        };
        paths.filter(is_wanted).collect()
    }

    /// As they are on the wire to a neighbour.
    fn advertised(&self, family: Family, id: PrefixId, to: Source, verdicts: &mut Verdicts) -> Vec<Shown> {
        let group = self.group_of(to, family).and_then(|index| self.groups[index].as_ref());
        let Some(group) = group else { return Vec::new() };
        let view = export_view!(self, family);
        let announcements: Vec<Announce> = match group.told() {
            Some(told) => told.announcements(&view, &group.key, id, to, verdicts).collect(),
            None => {
                let path = view.rib.best(id).filter(|_| group.advertised().contains(id));
                let told = path.filter(|path| path.source != to).and_then(|path| {
                    let (next_hop, changes) = export(&view, &group.key, id, path, verdicts).ok()?;
                    Some(Announce { path, next_hop, changes, id })
                });
                told.into_iter().collect()
            }
        };
        let name = |announce: &Announce| (announce.path.source.0, announce.path.path_id);
        announcements.into_iter().map(|announce| (name(&announce), Form::Told(announce))).collect()
    }

    fn told_route(
        &self,
        family: Family,
        prefix: IpNet,
        announce: Announce,
        to: Source,
        verdicts: &mut Verdicts,
    ) -> Option<RouteView> {
        let Announce { path, next_hop, changes, .. } = announce;
        let group = self.group_of(to, family).and_then(|index| self.groups[index].as_ref())?;
        let view = export_view!(self, family);
        let key = GroupKey { four_octet_as: true, ..group.key.clone() };
        let changed = verdicts.changed_set(&view, &group.key, path, changes);
        let (mut block, mut edits) = (BytesMut::new(), Edits::default());
        export_attributes(&view, &key, path, next_hop, changed.as_ref(), &mut edits, &mut block);
        let route = self.route(family, prefix, path, &decode_canonical(&block), Some(next_hop));
        Some(RouteView { path_id: key.add_paths.map(|_| path.path_id), ..route })
    }

    pub(super) fn route(
        &self,
        family: Family,
        prefix: IpNet,
        path: Path,
        attributes: &PathAttributes,
        next_hop: Option<NextHop>,
    ) -> RouteView {
        fn texts<T: ToString>(values: &[T]) -> Vec<String> {
            values.iter().map(ToString::to_string).collect()
        }
        let from = &self.sources[path.source.0 as usize];
        let from = NeighborId { address: from.address, port: from.port };
        RouteView {
            prefix,
            family,
            next_hop: next_hop.map(|next_hop| next_hop.addr().to_string()),
            from: match path.source {
                Source::LOCAL => "local".to_owned(),
                source if source.is_own() => "kernel".to_owned(),
                _ => self.name_of(from),
            },
            kernel: self.kernel_view(&prefix, path.source),
            best: true,
            origin: attributes.origin.map(|origin| origin.to_string()).unwrap_or_default(),
            as_path: attributes.as_path.as_ref().map(ToString::to_string).unwrap_or_default(),
            local_pref: attributes.local_pref,
            med: attributes.med,
            communities: texts(&attributes.communities),
            extended_communities: texts(&attributes.extended_communities),
            large_communities: texts(&attributes.large_communities),
            originator_id: attributes.originator_id.map(|id| id.to_string()),
            cluster_list: texts(&attributes.cluster_list),
            path_id: Some(path.path_id).filter(|id| *id != 0 || self.has_path_ids(family, path.source)),
            stale: false,
        }
    }

    /// What the kernel has, for a path from there.
    fn kernel_view(&self, prefix: &IpNet, source: Source) -> Option<KernelRouteView> {
        match source {
            Source::NETWORK => {
                let interface = self.kernel.networks.get(prefix).map(ToString::to_string);
                Some(KernelRouteView { is_network: true, interface, ..KernelRouteView::default() })
            }
            Source::ELEVATED | Source::KERNEL => {
                self.kernel.routes.get(prefix).map(|route| KernelRouteView {
                    is_network: false,
                    interface: route.interface.as_deref().map(str::to_owned),
                    gateway: route.gateway.map(|gateway| gateway.to_string()),
                    metric: route.metric,
                    protocol: route.protocol,
                    is_blackhole: route.is_blackhole,
                })
            }
            _ => None,
        }
    }

    /// Does a source number its paths?
    fn has_path_ids(&self, family: Family, source: Source) -> bool {
        let established = self.peer(source).and_then(|peer| peer.established.as_ref());
        established.is_some_and(|established| established.terms.params.add_path_rx(family.afi_safi()))
    }
}
