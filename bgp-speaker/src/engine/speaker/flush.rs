//! The batch: route selection, update groups, and who is to write.

use super::{Engine, RouteChange, prefix_of};
use crate::config::{Family, SpeakerConfig};
use crate::engine::candidates::{candidate, other_next_hops, select};
use crate::engine::conn::ConnId;
use crate::engine::decision::beats;
use crate::engine::policy::Policy;
use crate::engine::rib::{AttrTable, Change, Path, PrefixId, Rib, Source};
use crate::engine::update_group::{ExportView, GroupKey, Reading, UpdateGroup};
use ipnet::IpNet;

/// What an export decision reads, borrowed field by field so that a group can be borrowed beside it.
macro_rules! export_view {
    ($engine:expr, $family:expr) => {
        ExportView {
            rib: &$engine.ribs[$family.index()],
            attrs: &$engine.attrs,
            sources: &$engine.sources,
            cluster_id: $engine.config.cluster_id.unwrap_or($engine.config.router_id),
            announcements: &$engine.config.announcements,
            kernel: &$engine.kernel,
        }
    };
}
pub(super) use export_view;

/// How much of the table is walked in one batch: about a millisecond's work.
pub(super) const WALK_IDS: u32 = 8192;
/// Room for so many changes is kept from one batch to the next.
const SCRATCH_CHANGES: usize = 4096;

impl Engine {
    /// Selects routes for all prefixes that changed, tells the update groups, and lets new members join.
    /// `in_use` says whether a subscriber still needs the id of a prefix that has no path any more; those that lose
    /// their last path now keep theirs until the next batch, so that subscribers can be told.
    pub fn flush(&mut self, in_use: impl Fn(Family, PrefixId) -> bool) {
        // First: whoever is to be told about a prefix that goes in this batch still needs its id afterwards. Nor does
        // anybody know yet about what was selected since the last one.
        if self.route_changes.is_empty() {
            self.reclaim(in_use);
        }
        let moved = self.kernel.take_moved();
        for family in Family::ALL {
            self.select_routes(family);
            self.judge_moved(family, &moved);
            self.flush_groups(family);
        }
        self.admit_members();
        self.walk_groups();
        self.detach_slow_members();
        self.attrs.collect();
        // Nothing undecided refers to those who have gone any more.
        self.free_slots.extend(self.left_slots.drain(..));
        for id in std::mem::take(&mut self.postponed) {
            self.wake(id);
        }
    }

    /// Anything for [`Engine::flush`] to do?
    pub fn needs_flush(&self) -> bool {
        !self.joins.is_empty()
            || !self.refreshes.is_empty()
            || self.ribs.iter().any(Rib::is_dirty)
            || self.kernel.has_moved()
            || self.recheck_emptied
            || self.attrs.has_unreferenced()
            || self.is_walking
    }

    /// Is the table being walked for members that have joined, or a log looked through for those that leave it? Each
    /// [`Engine::flush`] does a slice; input and output have their turn between two.
    pub fn is_walking(&self) -> bool {
        self.is_walking
    }

    fn walk_groups(&mut self) {
        let mut woken: Vec<Source> = Vec::new();
        let mut left = self.walk_ids;
        self.is_walking = false;
        let count = self.groups.len();
        for index in (0..count).map(|offset| (self.next_walk + offset) % count) {
            let Some(group) = self.groups[index].as_mut().filter(|group| group.is_walking()) else {
                continue;
            };
            if left == 0 {
                // It comes first next time.
                (self.is_walking, self.next_walk) = (true, index);
                break;
            }
            left -= group.walk(&export_view!(self, group.key.family), left, |source| woken.push(source));
            group.settle_references(&mut self.attrs);
            self.is_walking |= group.is_walking();
        }
        woken.into_iter().for_each(|source| self.wake_peer(source));
    }

    /// Those who hold back a log leave it, a slice at a time.
    fn detach_slow_members(&mut self) {
        for group in self.groups.iter_mut().flatten() {
            if !group.is_walking() && (group.is_detaching() || group.holds_back(self.slow_log_bytes)) {
                let rib = &mut self.ribs[group.key.family.index()];
                let mut emptied = Vec::new();
                group.detach_slow(&mut rib.prefixes, self.slow_log_bytes, |id| emptied.push(id));
                emptied.into_iter().for_each(|id| rib.adopt_emptied(id));
                self.is_walking |= group.is_detaching();
            }
        }
    }

    pub(super) fn select_routes(&mut self, family: Family) {
        let rib = &mut self.ribs[family.index()];
        let deferring = self.convergence.defers_selection();
        if !deferring {
            rib.resume_deferred();
        }
        if !rib.is_dirty() {
            return;
        }
        let mut changes = std::mem::take(&mut self.scratch.changes);
        let sources = &self.sources;
        // RFC 4724 §4.1: while deferring, only what we originate ourselves is decided, or did. A route in the kernel is
        // not: a neighbour may have a path that is preferred to it.
        let is_final = |(path, _): (Path, bool)| matches!(path.source, Source::LOCAL | Source::NETWORK);
        let ready =
            |rib: &Rib, id, old: Option<Path>| !deferring || old.is_some() || rib.paths(id).any(is_final);
        let select = |attrs: &AttrTable, paths: &[Path]| select(attrs, sources, paths);
        let beats = |attrs: &AttrTable, new: Path, old: Path| {
            beats(&candidate(attrs, sources, &new), &candidate(attrs, sources, &old))
        };
        let takes_paths =
            |group: &&mut UpdateGroup| group.key.family == family && group.key.add_paths.is_some();
        let has_takers = self.groups.iter_mut().flatten().any(|group| takes_paths(&group));
        let shares_packets = self.config.fib_rules.next_hops_max() > 1;
        let mut touched = (has_takers || shares_packets).then(Vec::new);
        rib.decide(&mut self.attrs, ready, beats, select, &mut changes, touched.as_mut());
        for id in touched.into_iter().flatten() {
            self.groups.iter_mut().flatten().filter(takes_paths).for_each(|group| group.note_paths(id));
            if shares_packets {
                self.note_shared(family, id);
            }
        }
        for change in &changes {
            self.note_change(family, change);
        }
        changes.clear();
        changes.shrink_to(SCRATCH_CHANGES);
        self.scratch.changes = changes;
    }

    /// Something about a prefix has changed, perhaps not the best path. If it shares packets among several next hops, or
    /// did, these may be others now.
    fn note_shared(&mut self, family: Family, id: PrefixId) {
        let rib = &self.ribs[family.index()];
        let best = rib.best(id).and_then(|path| self.attrs.set(path.attr).next_hop);
        let is_shared =
            best.is_some_and(|best| !other_next_hops(rib, &self.attrs, &self.sources, id, best).is_empty());
        let shared = &mut self.shared[family.index()];
        let was_shared = if is_shared { !shared.insert(id) } else { shared.remove(&id) };
        if is_shared || was_shared {
            self.route_changes.push(RouteChange { family, id });
        }
    }

    /// Which prefixes share packets, where that has come to matter.
    pub(super) fn find_shared(&mut self) {
        for family in Family::ALL {
            let ids: Vec<PrefixId> = match self.config.fib_rules.next_hops_max() {
                1 => Vec::new(),
                _ => self.known_ids(family).collect(),
            };
            self.shared[family.index()].clear();
            ids.into_iter().for_each(|id| self.note_shared(family, id));
        }
    }

    fn note_change(&mut self, family: Family, change: &Change) {
        for (path, sign) in [(change.old, -1i32), (change.new, 1)] {
            if let Some(path) = path {
                let count = &mut self.sources[path.source.0 as usize].best_count[family.index()];
                *count = count.wrapping_add_signed(sign);
            }
        }
        for group in self.groups.iter_mut().flatten().filter(|group| group.key.family == family) {
            group.note(change);
        }
        self.route_changes.push(RouteChange { family, id: change.id });
    }

    pub(super) fn flush_groups(&mut self, family: Family) {
        let mut woken: Vec<Source> = Vec::new();
        for group in self.groups.iter_mut().flatten().filter(|group| group.key.family == family) {
            if group.is_pending() {
                group.flush(&export_view!(self, family), |source| woken.push(source));
                if group.holds_back(self.slow_log_bytes) {
                    group.finish_walk(&export_view!(self, family));
                }
                group.settle_references(&mut self.attrs);
            }
        }
        woken.into_iter().for_each(|source| self.wake_peer(source));
    }

    /// Sessions that came up, and refreshes asked for. Nothing is pending in any group now.
    fn admit_members(&mut self) {
        let with_end_of_rib = !self.convergence.defers_end_of_rib();
        for (source, family) in std::mem::take(&mut self.joins) {
            let Some(key) = self.group_key(source, family) else { continue };
            let index = self.group_index(key);
            if let Some(group) = &mut self.groups[index] {
                group.join(&export_view!(self, family), source, with_end_of_rib);
            }
            if let Some(established) = self.peer_mut(source).and_then(|peer| peer.established.as_mut()) {
                established.groups[family.index()] = Some(index);
            }
            self.wake_peer(source);
        }
        for (source, family) in std::mem::take(&mut self.refreshes) {
            let Some(index) = self.group_of(source, family) else { continue };
            if let Some(group) = &mut self.groups[index] {
                group.refresh(&export_view!(self, family), source);
            }
            self.wake_peer(source);
        }
    }

    fn group_key(&self, source: Source, family: Family) -> Option<GroupKey> {
        let peer = self.peer(source)?;
        let established = peer.established.as_ref()?;
        let terms = &established.terms;
        let extended_next_hop = terms.params.extended_next_hop.contains(family.afi_safi());
        Some(GroupKey {
            family,
            relation: self.sources[source.0 as usize].relation,
            local_as: terms.local_as,
            next_hop: peer.options().next_hop,
            own: terms.own,
            export: Policy::resolve(&peer.options().export, &self.config),
            four_octet_as: terms.params.four_octet_as,
            extended_next_hop,
            add_paths: terms.params.add_path_tx(family.afi_safi()).then_some(peer.options().add_paths_max),
            message_len_max: terms.params.max_message_len(),
        })
    }

    fn group_index(&mut self, key: GroupKey) -> usize {
        if let Some(index) = self.groups.iter().position(|group| group.as_ref().is_some_and(|g| g.key == key))
        {
            return index;
        }
        let family = key.family;
        let group = UpdateGroup::new(key, &export_view!(self, family));
        match self.groups.iter().position(Option::is_none) {
            Some(index) => {
                self.groups[index] = Some(group);
                index
            }
            None => {
                self.groups.push(Some(group));
                self.groups.len() - 1
            }
        }
    }

    pub(super) fn group_of(&self, source: Source, family: Family) -> Option<usize> {
        self.peer(source)?.established.as_ref()?.groups[family.index()]
    }

    /// Takes a member from one group to the one that its options ask for now. What it has not read yet it still gets,
    /// and then what differs.
    pub(super) fn move_member(&mut self, source: Source, family: Family, old: usize) {
        let Some(id) = self.conn_of(source) else { return };
        let Some(key) = self.group_key(source, family) else { return };
        let new = self.group_index(key);
        if new == old {
            return;
        }
        if let Some(group) = &mut self.groups[old] {
            let rib = &mut self.ribs[family.index()];
            let mut emptied = Vec::new();
            group.detach_fully(source, &mut rib.prefixes, |id| emptied.push(id));
            emptied.into_iter().for_each(|id| rib.adopt_emptied(id));
        }
        let mut unread = Vec::new();
        let view = export_view!(self, family);
        let difference = match self.groups.get_disjoint_mut([old, new]) {
            Ok([Some(old), Some(new)]) => {
                [&mut *old, &mut *new].into_iter().for_each(|group| group.finish_walk(&view));
                while matches!(old.read(&view, source, true, &mut unread), Reading::Log | Reading::Table) {}
                let difference = new.difference_from(&view, old, source);
                if old.is_refresh_wanted(source) {
                    self.refreshes.push((source, family));
                }
                Some(difference)
            }
            _ => None,
        };
        for index in [old, new] {
            self.groups[index].iter_mut().for_each(|group| group.settle_references(&mut self.attrs));
        }
        self.leave_group(old, source);
        if let (Some(group), Some(difference)) = (&mut self.groups[new], difference) {
            group.join_from(&export_view!(self, family), difference, source);
        }
        if let Some(established) = self.peer_mut(source).and_then(|peer| peer.established.as_mut()) {
            established.groups[family.index()] = Some(new);
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.extend(unread);
        }
        self.wake(id);
    }

    /// Groups whose filters mean something else than before tell their members what differs.
    pub(super) fn replace_policies(&mut self) {
        let meaning = |group: &UpdateGroup, config: &SpeakerConfig| {
            let now = group.key.export.renewed(config)?;
            (now != group.key.export).then_some(now)
        };
        if !self.groups.iter().flatten().any(|group| meaning(group, &self.config).is_some()) {
            return;
        }
        // What is pending belongs to the old filters.
        self.flush(|_, _| true);
        for group in self.groups.iter_mut().flatten() {
            if let Some(policy) = meaning(group, &self.config) {
                group.replace_policy(&export_view!(self, group.key.family), policy);
                group.settle_references(&mut self.attrs);
            }
        }
        Family::ALL.into_iter().for_each(|family| self.flush_groups(family));
    }

    fn conn_of(&self, source: Source) -> Option<ConnId> {
        let peer = self.peer(source)?;
        peer.connections[peer.established.as_ref()?.direction.index()].conn
    }

    pub(super) fn leave_group(&mut self, index: usize, source: Source) {
        if let Some(group) = &mut self.groups[index] {
            self.recheck_emptied |= group.member(source).is_some_and(|member| member.is_slow());
            group.leave(source);
        }
        if let Some(group) = self.groups[index].take_if(|group| group.is_empty()) {
            group.release_references(&mut self.attrs);
        }
    }

    /// Says End-of-RIB to members that could not be told it when they joined.
    pub(super) fn owe_end_of_rib(&mut self, sources: &[Source]) {
        // What was deferred is selected first, so that the marker comes after it.
        for family in Family::ALL {
            self.select_routes(family);
            self.flush_groups(family);
            for source in sources {
                if let Some(index) = self.group_of(*source, family)
                    && let Some(group) = &mut self.groups[index]
                {
                    group.send_end_of_rib(*source);
                    self.wake_peer(*source);
                }
            }
        }
    }

    /// Takes what a connection may send next into its write queue.
    pub(super) fn take_group_bytes(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let source = conn.source;
        let established = self.peers[source.0 as usize].as_deref().and_then(|peer| peer.established.as_ref());
        let is_up = |direction| established.is_some_and(|established| established.direction == direction);
        let groups = established.filter(|_| is_up(conn.direction) && !conn.is_closing).map(|e| e.groups);
        let mut has_more = true;
        while conn.wants_more() && has_more {
            has_more = false;
            for (family, index) in Family::ALL.into_iter().zip(groups.unwrap_or_default()) {
                let Some(group) = index.and_then(|index| self.groups[index].as_mut()) else { continue };
                let is_settled = !self.ribs[family.index()].is_dirty();
                match group.read(&export_view!(self, family), source, is_settled, conn) {
                    Reading::UpToDate => {}
                    Reading::Log => has_more = true,
                    Reading::Table => (has_more, self.recheck_emptied) = (true, true),
                    Reading::Postponed => self.postponed.push(id),
                }
                if group.is_refresh_due(source) {
                    self.refreshes.push((source, family));
                }
            }
        }
        conn.is_caught_up = !has_more;
        let updates = conn.take_new_updates();
        if updates > 0 {
            self.count_updates(source, updates);
        }
    }

    fn wake_peer(&mut self, source: Source) {
        if let Some(id) = self.conn_of(source) {
            self.wake(id);
        }
    }

    fn reclaim(&mut self, in_use: impl Fn(Family, PrefixId) -> bool) {
        self.recheck_emptied = false;
        let groups = &self.groups;
        for family in Family::ALL {
            let rib = &mut self.ribs[family.index()];
            if rib.emptied_count() > 0 {
                let of_family = |group: &&UpdateGroup| group.key.family == family;
                rib.reclaim(|id| {
                    in_use(family, id)
                        || groups.iter().flatten().filter(of_family).any(|group| group.holds(id))
                });
            }
        }
    }

    /// The prefix behind a change's id.
    pub fn prefix(&self, family: Family, id: PrefixId) -> Option<IpNet> {
        prefix_of(&self.ribs[family.index()], family, id)
    }
}
