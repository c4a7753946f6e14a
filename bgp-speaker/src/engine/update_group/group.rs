//! One update group: Adj-RIB-Out as one bit per prefix, what is pending, the log, the members.

use super::dirty::Dirty;
use super::dump::Dump;
use super::encode::{
    Announce, ExportView, Withdrawal, encode_announcements, encode_withdrawals, end_of_rib, export,
};
use super::key::GroupKey;
use super::log::{Chunk, ChunkBuilder, Log, Part};
use super::member::{Member, PrivateItem, PrivateKind};
use super::members::Members;
use super::told::{ToldPaths, chosen};
use super::verdicts::Verdicts;
use crate::engine::rib::{AttrTable, Bitmap, Change, Path, PrefixId, Source};

/// How many prefixes a slow member is served at a time.
const SLOW_BATCH: usize = 4096;

/// What a member's reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// There was nothing to read.
    UpToDate,
    /// There may be more.
    Log,
    /// It came from the table, because the member is slow; there may be more.
    Table,
    /// It is to come from the table, which is not settled, or it is not known yet what of it.
    Postponed,
}

/// One per distinct [`GroupKey`] with members.
#[derive(Debug)]
pub struct UpdateGroup {
    /// What its members have in common.
    pub key: GroupKey,
    pub(super) advertised: Bitmap,
    /// Present in an ADD-PATH group: the paths of what is advertised.
    pub(super) told: Option<ToldPaths>,
    pending: Vec<PrefixId>,
    pending_bits: Bitmap,
    /// (prefix, source): the source's own route took the place of another's; it must forget that one.
    unlearn: Vec<(PrefixId, Source)>,
    pub(super) log: Log,
    pub(super) dump: Option<Dump>,
    pub(super) members: Members,
    /// How many of them are slow, and how many of these are still leaving the log.
    pub(super) slow: usize,
    pub(super) leaving: usize,
    /// Advertised prefixes by the slot of the source they came from.
    advertised_of: Vec<u32>,
}

impl UpdateGroup {
    /// Without members. Its Adj-RIB-Out is filled by a walk of the table, which begins with it.
    pub fn new(key: GroupKey, view: &ExportView<'_>) -> Self {
        let told = key.add_paths.map(|_| ToldPaths::default());
        let mut group = Self {
            key,
            advertised: Bitmap::default(),
            told,
            pending: Vec::new(),
            pending_bits: Bitmap::default(),
            unlearn: Vec::new(),
            log: Log::default(),
            dump: None,
            members: Members::default(),
            slow: 0,
            leaving: 0,
            advertised_of: Vec::new(),
        };
        group.start_walk(view);
        group
    }

    /// Nobody reads it any more.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// One member.
    pub fn member(&self, source: Source) -> Option<&Member> {
        self.members.get(source)
    }

    /// Members that are served from their bitmap.
    pub fn slow_count(&self) -> usize {
        self.slow
    }

    /// Prefixes advertised to the group.
    pub fn advertised(&self) -> &Bitmap {
        &self.advertised
    }

    /// The paths told, of an ADD-PATH group.
    pub fn told(&self) -> Option<&ToldPaths> {
        self.told.as_ref()
    }

    /// How many prefixes, or with ADD-PATH paths, are told to a member: all but its own.
    pub fn advertised_count(&self, member: Source) -> usize {
        if let Some(told) = &self.told {
            return told.count_for(member);
        }
        let own = self.advertised_of.get(member.0 as usize).copied().unwrap_or(0);
        self.advertised.len() - own as usize
    }

    /// Heap bytes.
    pub fn memory_bytes(&self) -> usize {
        self.advertised.memory_bytes()
            + self.told.as_ref().map_or(0, ToldPaths::memory_bytes)
            + self.pending_bits.memory_bytes()
            + self.pending.capacity() * 4
            + self.log.bytes()
            + self.dump.as_ref().map_or(0, |dump| dump.bytes)
            + self.members.memory_bytes()
            + self.members.iter().filter_map(|m| m.dirty.as_ref()).map(Dirty::memory_bytes).sum::<usize>()
    }

    /// Some path of a prefix changed, in a way that is found out by comparing. For ADD-PATH groups.
    pub fn note_paths(&mut self, id: PrefixId) {
        self.mark_pending(id);
    }

    /// A best path changed; or, if it is the same as before, what is said about the prefix.
    pub fn note(&mut self, change: &Change) {
        self.mark_pending(change.id);
        if let Some(told) = &mut self.told {
            if change.old == change.new {
                told.tell_again(change.id);
            }
            return;
        }
        if let Some(old) = change.old.filter(|_| self.advertised.contains(change.id)) {
            *self.advertised_of(old.source) -= 1;
        }
        if let (Some(old), Some(new)) = (change.old, change.new)
            && old.source != new.source
            && !new.source.is_own()
            && self.advertised.contains(change.id)
        {
            self.unlearn.push((change.id, new.source));
        }
    }

    /// Filters may say something else about a prefix than before, though its paths are the same.
    pub fn ask_again(&mut self, id: PrefixId, best: Option<Path>) {
        if self.told.is_some() || !self.pending_bits.contains(id) {
            self.note(&Change { id, old: best, new: best });
        }
    }

    /// Anything to encode?
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Encodes what is pending and publishes it; members that have something to read now are passed to `wake`.
    pub fn flush(&mut self, view: &ExportView<'_>, mut wake: impl FnMut(Source)) {
        let pending = std::mem::take(&mut self.pending);
        let mut announcements = Vec::with_capacity(pending.len());
        let mut withdrawals = Vec::new();
        let mut verdicts = Verdicts::default();
        for &id in &pending {
            self.pending_bits.remove(id);
            if self.told.is_some() {
                self.flush_paths(view, id, &mut verdicts, &mut announcements, &mut withdrawals);
                continue;
            }
            match self.exported(view, id, &mut verdicts) {
                Some(announce) => {
                    self.advertised.insert(id);
                    *self.advertised_of(announce.path.source) += 1;
                    announcements.push(announce);
                }
                None if self.advertised.remove(id) => withdrawals.push(Withdrawal::of(id)),
                None => {}
            }
        }
        let mut builder = ChunkBuilder::default();
        encode_withdrawals(view, &self.key, &withdrawals, &mut builder);
        encode_announcements(view, &self.key, &mut announcements, &verdicts, &mut builder);
        for member in self.members.iter_mut() {
            if let Some(dirty) = &mut member.dirty {
                announcements.iter().for_each(|announce| dirty.insert(announce.id));
                withdrawals
                    .iter()
                    .for_each(|withdrawal| dirty.insert_path(withdrawal.id, withdrawal.path_id));
            }
        }
        let chunks = builder.finish();
        let has_news = !chunks.is_empty();
        chunks.into_iter().for_each(|chunk| self.log.publish(chunk));
        self.unlearn_own(view, &mut wake);
        if has_news {
            self.members.iter().for_each(|member| wake(member.source));
            self.drop_dump_if_outgrown();
        }
    }

    fn flush_paths(
        &mut self,
        view: &ExportView<'_>,
        id: PrefixId,
        verdicts: &mut Verdicts,
        announcements: &mut Vec<Announce>,
        withdrawals: &mut Vec<Withdrawal>,
    ) {
        let Some(told) = &mut self.told else { return };
        let mut paths = chosen(view, &self.key, id, verdicts);
        told.assign(
            id,
            &mut paths,
            |announce| announcements.push(announce),
            |path_id| withdrawals.push(Withdrawal { id, path_id }),
        );
        match paths.is_empty() {
            true => self.advertised.remove(id),
            false => self.advertised.insert(id),
        };
    }

    /// See [`ToldPaths::settle_references`].
    pub fn settle_references(&mut self, attrs: &mut AttrTable) {
        self.told.iter_mut().for_each(|told| told.settle_references(attrs));
    }

    /// See [`ToldPaths::release_references`].
    pub fn release_references(self, attrs: &mut AttrTable) {
        self.told.into_iter().for_each(|told| told.release_references(attrs));
    }

    /// Has a member asked for a refresh that it was not given yet?
    pub fn is_refresh_wanted(&self, source: Source) -> bool {
        self.members.get(source).is_some_and(|member| member.wants_refresh)
    }

    /// A session leaves.
    pub fn leave(&mut self, source: Source) {
        self.dump.iter_mut().for_each(|dump| dump.waiting.retain(|waiting| waiting.source != source));
        if let Some(member) = self.members.remove(source) {
            self.slow -= usize::from(member.is_slow());
            self.leaving -= usize::from(member.is_leaving);
            if member.reads_log() {
                self.log.remove_reader(member.cursor);
            }
        }
        if self.members.is_empty() {
            self.drop_dump();
        }
    }

    /// The next bytes for a member are appended to `out`. A slow one is served from the table, but only if that
    /// `is_settled`.
    pub fn read(
        &mut self,
        view: &ExportView<'_>,
        source: Source,
        is_settled: bool,
        out: &mut impl Extend<Part>,
    ) -> Reading {
        let Some(member) = self.members.get_mut(source) else { return Reading::UpToDate };
        if member.is_slow() {
            return match is_settled && !member.is_leaving {
                true => self.read_dirty(view, source, out),
                false => Reading::Postponed,
            };
        }
        if member.private.front().is_some_and(|item| item.at <= member.cursor) {
            out.extend(member.private.pop_front().map(|item| item.part));
            return Reading::Log;
        }
        if !self.log.pass(member.cursor, source, out) {
            return Reading::UpToDate;
        }
        member.cursor += 1;
        Reading::Log
    }

    /// Withdrawals for one member, behind all that is published.
    pub(super) fn withdrawals_for_one(
        &self,
        view: &ExportView<'_>,
        ids: &[PrefixId],
    ) -> impl Iterator<Item = PrivateItem> + use<> {
        let mut builder = ChunkBuilder::default();
        let withdrawals: Vec<Withdrawal> = ids.iter().copied().map(Withdrawal::of).collect();
        encode_withdrawals(view, &self.key, &withdrawals, &mut builder);
        let at = self.log.end();
        let item = move |chunk: Chunk| PrivateItem { at, part: chunk.whole(), kind: PrivateKind::Routes };
        builder.finish().into_iter().map(item)
    }

    /// Is this id in use by a member's bitmap?
    pub fn holds(&self, id: PrefixId) -> bool {
        let dirty = |member: &Member| member.dirty.as_ref().is_some_and(|dirty| dirty.contains(id));
        self.slow > 0 && self.members.iter().any(dirty)
    }

    /// Do unread bytes depend on this slot's identity?
    pub fn mentions(&self, source: Source) -> bool {
        let dump = self.dump.iter().flat_map(|dump| dump.chunks.iter().map(|(_, chunk)| chunk));
        self.log.chunks_from(self.log.first()).chain(dump).any(|chunk| chunk.mentions(source))
    }

    pub(super) fn exported(
        &self,
        view: &ExportView<'_>,
        id: PrefixId,
        verdicts: &mut Verdicts,
    ) -> Option<Announce> {
        let path = view.rib.best(id).filter(|_| !view.rib.is_undecided(id))?;
        let (next_hop, changes) = export(view, &self.key, id, path, verdicts).ok()?;
        Some(Announce { path, next_hop, changes, id })
    }

    /// The exact split horizon: see [`UpdateGroup::note`].
    fn unlearn_own(&mut self, view: &ExportView<'_>, wake: &mut impl FnMut(Source)) {
        let mut unlearn = std::mem::take(&mut self.unlearn);
        unlearn.retain(|(id, source)| view.rib.best(*id).is_some_and(|path| path.source == *source));
        self.dump.iter_mut().for_each(|dump| dump.displaced.extend_from_slice(&unlearn));
        unlearn.sort_unstable_by_key(|(id, source)| (*source, *id));
        for own in unlearn.chunk_by(|a, b| a.1 == b.1) {
            let source = own[0].1;
            let ids = own.iter().map(|(id, _)| *id);
            let Some(member) = self.members.get_mut(source) else { continue };
            if let Some(dirty) = &mut member.dirty {
                ids.for_each(|id| dirty.insert(id));
                continue;
            }
            let items = self.withdrawals_for_one(view, &ids.collect::<Vec<_>>());
            if let Some(member) = self.members.get_mut(source) {
                member.private.extend(items);
                wake(source);
            }
        }
    }

    /// Serves a slow member some of its dirty prefixes; once there is none left, it reads the log again.
    fn read_dirty(&mut self, view: &ExportView<'_>, source: Source, out: &mut impl Extend<Part>) -> Reading {
        let Some(member) = self.members.get_mut(source) else { return Reading::UpToDate };
        let Some(dirty) = &mut member.dirty else { return Reading::UpToDate };
        let taken = dirty.take(SLOW_BATCH);
        if taken.is_empty() {
            member.dirty = None;
            self.slow -= 1;
            member.cursor = self.log.end();
            self.log.add_reader(member.cursor);
            if std::mem::take(&mut member.owes_end_of_rib) {
                out.extend([self.end_of_rib()]);
            }
            return Reading::Table;
        }
        let (mut announcements, mut withdrawals) = (Vec::new(), Vec::new());
        let mut verdicts = Verdicts::default();
        for (id, may_hold) in taken {
            if let Some(told) = &self.told {
                let first = announcements.len();
                announcements.extend(told.announcements(view, &self.key, id, source, &mut verdicts));
                let is_told =
                    |path_id: &u32| announcements[first..].iter().any(|a| a.path.path_id == *path_id);
                let gone = may_hold.into_iter().filter(|path_id| !is_told(path_id));
                withdrawals.extend(gone.map(|path_id| Withdrawal { id, path_id }));
                continue;
            }
            match self.exported(view, id, &mut verdicts).filter(|announce| announce.path.source != source) {
                Some(announce) => announcements.push(announce),
                None => withdrawals.push(Withdrawal::of(id)),
            }
        }
        let mut builder = ChunkBuilder::default();
        encode_withdrawals(view, &self.key, &withdrawals, &mut builder);
        encode_announcements(view, &self.key, &mut announcements, &verdicts, &mut builder);
        out.extend(builder.finish().iter().map(Chunk::whole));
        Reading::Table
    }

    /// A prefix is advertised that perhaps was before; for walks, which change nobody's state.
    pub(super) fn advertise(&mut self, id: PrefixId, source: Source) {
        if self.advertised.insert(id) {
            *self.advertised_of(source) += 1;
        }
    }

    fn advertised_of(&mut self, source: Source) -> &mut u32 {
        let slot = source.0 as usize;
        if slot >= self.advertised_of.len() {
            self.advertised_of.resize(slot + 1, 0);
        }
        &mut self.advertised_of[slot]
    }

    pub(super) fn end_of_rib_item(&self, at: u64) -> PrivateItem {
        PrivateItem { at, part: self.end_of_rib(), kind: PrivateKind::EndOfRib }
    }

    fn end_of_rib(&self) -> Part {
        Part { bytes: end_of_rib(self.key.family).freeze(), messages: 1 }
    }

    fn mark_pending(&mut self, id: PrefixId) {
        if self.pending_bits.insert(id) {
            self.pending.push(id);
        }
    }
}
