//! One update group: Adj-RIB-Out as one bit per prefix, what is pending, the log, the members.

use super::difference::Difference;
use super::dump::Dump;
use super::encode::{Announce, ExportView, encode_announcements, encode_withdrawals, end_of_rib, export};
use super::key::GroupKey;
use super::log::{Chunk, ChunkBuilder, Log};
use super::member::{Member, PrivateItem};
use super::members::Members;
use super::verdicts::Verdicts;
use crate::config::Family;
use crate::engine::rib::{Bitmap, Change, PrefixId, PrefixTable, Source};
use bgp_proto::{
    AttributeCode, MpReachView, MpUnreachView, NlriIter, RawAttributes, SessionParams, UpdateView, frame,
};
use bytes::Bytes;

/// Members that hold back more of the log than this are slow.
pub const SLOW_LOG_BYTES: usize = 16 * 1024 * 1024;
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
    /// It is to come from the table, which is not settled.
    Postponed,
}

/// One per distinct [`GroupKey`] with members.
#[derive(Debug)]
pub struct UpdateGroup {
    /// What its members have in common.
    pub key: GroupKey,
    pub(super) advertised: Bitmap,
    pending: Vec<PrefixId>,
    pending_bits: Bitmap,
    /// (prefix, source): the source's own route took the place of another's; it must forget that one.
    unlearn: Vec<(PrefixId, Source)>,
    pub(super) log: Log,
    pub(super) dump: Option<Dump>,
    pub(super) members: Members,
    /// How many of them are slow.
    slow: usize,
    /// Advertised prefixes by the slot of the source they came from.
    advertised_of: Vec<u32>,
}

impl UpdateGroup {
    /// Without members, and with all best paths in its Adj-RIB-Out that it may have.
    pub fn new(key: GroupKey, view: &ExportView<'_>) -> Self {
        let mut group = Self {
            key,
            advertised: Bitmap::default(),
            pending: Vec::new(),
            pending_bits: Bitmap::default(),
            unlearn: Vec::new(),
            log: Log::default(),
            dump: None,
            members: Members::default(),
            slow: 0,
            advertised_of: Vec::new(),
        };
        let mut verdicts = Verdicts::default();
        for id in view.rib.prefixes.ids() {
            if let Some(announce) = group.exported(view, id, &mut verdicts) {
                group.advertised.insert(id);
                *group.advertised_of(announce.path.source) += 1;
            }
        }
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

    /// How many of them are told to a member: all but its own.
    pub fn advertised_count(&self, member: Source) -> usize {
        let own = self.advertised_of.get(member.0 as usize).copied().unwrap_or(0);
        self.advertised.len() - own as usize
    }

    /// Heap bytes.
    pub fn memory_bytes(&self) -> usize {
        self.advertised.memory_bytes()
            + self.pending_bits.memory_bytes()
            + self.pending.capacity() * 4
            + self.log.bytes()
            + self.dump.as_ref().map_or(0, |dump| dump.bytes)
            + self.members.memory_bytes()
            + self.members.iter().filter_map(|m| m.dirty.as_ref()).map(Bitmap::memory_bytes).sum::<usize>()
    }

    /// A best path changed.
    pub fn note(&mut self, change: &Change) {
        self.mark_pending(change.id);
        if let Some(old) = change.old.filter(|_| self.advertised.contains(change.id)) {
            *self.advertised_of(old.source) -= 1;
        }
        if let (Some(old), Some(new)) = (change.old, change.new)
            && old.source != new.source
            && new.source != Source::LOCAL
            && self.advertised.contains(change.id)
        {
            self.unlearn.push((change.id, new.source));
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
            match self.exported(view, id, &mut verdicts) {
                Some(announce) => {
                    self.advertised.insert(id);
                    *self.advertised_of(announce.path.source) += 1;
                    announcements.push(announce);
                }
                None if self.advertised.remove(id) => withdrawals.push(id),
                None => {}
            }
        }
        let mut builder = ChunkBuilder::default();
        encode_withdrawals(view, &self.key, &withdrawals, &mut builder);
        encode_announcements(view, &self.key, &mut announcements, &verdicts, &mut builder);
        for member in self.members.iter_mut() {
            if let Some(dirty) = &mut member.dirty {
                let changed = announcements.iter().map(|a| a.id).chain(withdrawals.iter().copied());
                changed.for_each(|id| _ = dirty.insert(id));
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

    /// Members that hold back too much of the log leave it. Their prefixes that are missing from `prefixes` are
    /// inserted again, without paths, and reported to `emptied`.
    pub fn detach_slow(
        &mut self,
        prefixes: &mut PrefixTable,
        limit: usize,
        mut emptied: impl FnMut(PrefixId),
    ) {
        while self.log.bytes() > limit {
            let first = self.log.first();
            if self.dump.as_ref().is_some_and(|dump| dump.at == first) {
                self.drop_dump();
                continue;
            }
            if !self.members.iter().any(|member| !member.is_slow() && member.cursor == first) {
                return;
            }
            self.detach_readers_at(first, prefixes, &mut emptied);
        }
    }

    /// All who stand at a position leave the log; what it holds from there on is looked through once.
    fn detach_readers_at(&mut self, at: u64, prefixes: &mut PrefixTable, emptied: &mut impl FnMut(PrefixId)) {
        let (params, family) = (self.key.params(), self.key.family);
        let mut mark = |bytes: &Bytes, dirty: &mut Bitmap| {
            for_each_prefix(bytes, &params, family, |key| {
                let id = prefixes.find(key).unwrap_or_else(|| {
                    let id = prefixes.insert(key);
                    emptied(id);
                    id
                });
                dirty.insert(id);
            });
        };
        let mut unread = Bitmap::default();
        self.log.chunks_from(at).for_each(|chunk| mark(chunk.bytes(), &mut unread));
        for member in self.members.iter_mut().filter(|member| !member.is_slow() && member.cursor == at) {
            let mut dirty = unread.clone();
            for item in member.private.drain(..) {
                member.owes_end_of_rib |= item.is_end_of_rib;
                mark(&item.bytes, &mut dirty);
            }
            member.dirty = Some(dirty);
            self.slow += 1;
            self.log.remove_reader(at);
            tracing::warn!(
                slot = member.source.0,
                "neighbour reads too slowly, served from a bitmap from now on"
            );
        }
    }

    /// A session joins: it gets the table, then what follows, and an End-of-RIB between the two if `end_of_rib`.
    pub fn join(&mut self, view: &ExportView<'_>, source: Source, with_end_of_rib: bool) {
        debug_assert!(!self.is_pending(), "joining after a flush");
        let at = self.dump(view);
        let mut member = Member::new(source, at);
        self.push_dump(&mut member);
        if with_end_of_rib {
            member.private.push_back(self.end_of_rib_item(at));
        }
        // Since the walk, its own routes may have displaced what the walk found; it skips those.
        let is_own = |id: &PrefixId| view.rib.best(*id).is_some_and(|best| best.source == source);
        let displaced: Vec<_> =
            self.dump.iter().flat_map(|dump| dump.displaced_by(source)).filter(is_own).collect();
        member.private.extend(self.withdrawals_for_one(view, &displaced));
        self.log.add_reader(at);
        self.members.insert(member);
    }

    /// A session that knows what another group advertised joins: it gets what differs, then what follows.
    pub fn join_from(&mut self, view: &ExportView<'_>, difference: Difference, source: Source) {
        debug_assert!(!self.is_pending(), "joining after a flush");
        let at = self.log.end();
        let mut member = Member::new(source, at);
        let to_item = |bytes: Bytes| PrivateItem { at, bytes, is_end_of_rib: false };
        member.private.extend(self.encode_difference(view, difference).into_iter().map(to_item));
        self.log.add_reader(at);
        self.members.insert(member);
    }

    /// The member is sent the whole table again (RFC 2918), behind what it has not read yet.
    pub fn refresh(&mut self, view: &ExportView<'_>, source: Source) {
        debug_assert!(!self.is_pending(), "refreshing after a flush");
        let Some(member) = self.members.get_mut(source) else { return };
        if let Some(dirty) = &mut member.dirty {
            self.advertised.iter().for_each(|id| _ = dirty.insert(id));
            return;
        }
        if !member.private.is_empty() {
            // However often it asks: what it has not read is not made longer.
            member.wants_refresh = true;
            return;
        }
        // What was published since the dump's position, it may have read already, and the dump would take it
        // back; so the dump must be as of now.
        if self.dump.as_ref().is_some_and(|dump| dump.at != self.log.end()) {
            self.drop_dump();
        }
        self.dump(view);
        if let Some(mut member) = self.members.remove(source) {
            self.push_dump(&mut member);
            self.members.insert(member);
        }
    }

    /// Did a member ask for a refresh that had to wait, and has it read all that was for it alone? Says so once.
    pub fn is_refresh_due(&mut self, source: Source) -> bool {
        let is_ready = |member: &&mut Member| member.private.is_empty() || member.is_slow();
        let member = self.members.get_mut(source).filter(is_ready);
        member.is_some_and(|member| std::mem::take(&mut member.wants_refresh))
    }

    /// Has a member asked for a refresh that it was not given yet?
    pub fn is_refresh_wanted(&self, source: Source) -> bool {
        self.members.get(source).is_some_and(|member| member.wants_refresh)
    }

    /// Tells a member that it has the whole table.
    pub fn send_end_of_rib(&mut self, source: Source) {
        let item = self.end_of_rib_item(self.log.end());
        if let Some(member) = self.members.get_mut(source) {
            if member.is_slow() {
                member.owes_end_of_rib = true;
            } else {
                member.private.push_back(item);
            }
        }
    }

    /// A session leaves.
    pub fn leave(&mut self, source: Source) {
        match self.members.remove(source) {
            Some(member) if member.is_slow() => self.slow -= 1,
            Some(member) => self.log.remove_reader(member.cursor),
            None => {}
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
        out: &mut impl Extend<Bytes>,
    ) -> Reading {
        let Some(member) = self.members.get_mut(source) else { return Reading::UpToDate };
        if member.is_slow() {
            return match is_settled {
                true => self.read_dirty(view, source, out),
                false => Reading::Postponed,
            };
        }
        if member.private.front().is_some_and(|item| item.at <= member.cursor) {
            out.extend(member.private.pop_front().map(|item| item.bytes));
            return Reading::Log;
        }
        if !self.log.pass(member.cursor, source, out) {
            return Reading::UpToDate;
        }
        member.cursor += 1;
        Reading::Log
    }

    /// Withdrawals for one member, behind all that is published.
    fn withdrawals_for_one(
        &self,
        view: &ExportView<'_>,
        ids: &[PrefixId],
    ) -> impl Iterator<Item = PrivateItem> + use<> {
        let mut builder = ChunkBuilder::default();
        encode_withdrawals(view, &self.key, ids, &mut builder);
        let at = self.log.end();
        let item = move |chunk: Chunk| PrivateItem { at, bytes: chunk.bytes().clone(), is_end_of_rib: false };
        builder.finish().into_iter().map(item)
    }

    /// Is this id in use by a member's bitmap?
    pub fn holds(&self, id: PrefixId) -> bool {
        let dirty = |member: &Member| member.dirty.as_ref().is_some_and(|dirty| dirty.contains(id));
        self.slow > 0 && self.members.iter().any(dirty)
    }

    /// Do unread bytes depend on this slot's identity?
    pub fn mentions(&self, source: Source) -> bool {
        let dump = self.dump.iter().flat_map(|dump| &dump.chunks);
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
                ids.for_each(|id| _ = dirty.insert(id));
                continue;
            }
            let items = self.withdrawals_for_one(view, &ids.collect::<Vec<_>>());
            if let Some(member) = self.members.get_mut(source) {
                member.private.extend(items);
                wake(source);
            }
        }
    }

    /// Makes sure that there is a dump worth reading; its position.
    fn dump(&mut self, view: &ExportView<'_>) -> u64 {
        self.drop_dump_if_outgrown();
        if let Some(dump) = &self.dump {
            return dump.at;
        }
        let mut verdicts = Verdicts::default();
        let mut announcements: Vec<_> =
            self.advertised.iter().filter_map(|id| self.exported(view, id, &mut verdicts)).collect();
        let mut builder = ChunkBuilder::default();
        encode_announcements(view, &self.key, &mut announcements, &verdicts, &mut builder);
        let chunks = builder.finish();
        let (at, bytes) = (self.log.end(), chunks.iter().map(Chunk::len).sum());
        self.log.add_reader(at);
        self.dump = Some(Dump { at, chunks, bytes, displaced: Vec::new() });
        at
    }

    fn push_dump(&self, member: &mut Member) {
        if let Some(dump) = &self.dump {
            for chunk in &dump.chunks {
                let parts = chunk.parts_for(member.source);
                member.private.extend(parts.map(|bytes| PrivateItem {
                    at: dump.at,
                    bytes,
                    is_end_of_rib: false,
                }));
            }
        }
    }

    fn drop_dump_if_outgrown(&mut self) {
        let suffix = self.dump.as_ref().and_then(|dump| self.log.bytes_from(dump.at));
        if self.dump.as_ref().is_some_and(|dump| !dump.is_worth(suffix.unwrap_or(usize::MAX))) {
            self.drop_dump();
        }
    }

    /// Forgets the table walk that joiners share.
    pub fn drop_dump(&mut self) {
        if let Some(dump) = self.dump.take() {
            self.log.remove_reader(dump.at);
        }
    }

    /// Serves a slow member some of its dirty prefixes; once there is none left, it reads the log again.
    fn read_dirty(&mut self, view: &ExportView<'_>, source: Source, out: &mut impl Extend<Bytes>) -> Reading {
        let Some(member) = self.members.get_mut(source) else { return Reading::UpToDate };
        let Some(dirty) = &mut member.dirty else { return Reading::UpToDate };
        let ids: Vec<PrefixId> = dirty.iter().take(SLOW_BATCH).collect();
        ids.iter().for_each(|id| _ = dirty.remove(*id));
        if ids.is_empty() {
            member.dirty = None;
            self.slow -= 1;
            member.cursor = self.log.end();
            self.log.add_reader(member.cursor);
            if std::mem::take(&mut member.owes_end_of_rib) {
                out.extend([end_of_rib(self.key.family).freeze()]);
            }
            return Reading::Table;
        }
        let (mut announcements, mut withdrawals) = (Vec::new(), Vec::new());
        let mut verdicts = Verdicts::default();
        for id in ids {
            match self.exported(view, id, &mut verdicts).filter(|announce| announce.path.source != source) {
                Some(announce) => announcements.push(announce),
                None => withdrawals.push(id),
            }
        }
        let mut builder = ChunkBuilder::default();
        encode_withdrawals(view, &self.key, &withdrawals, &mut builder);
        encode_announcements(view, &self.key, &mut announcements, &verdicts, &mut builder);
        out.extend(builder.finish().into_iter().map(|chunk| chunk.bytes().clone()));
        Reading::Table
    }

    fn advertised_of(&mut self, source: Source) -> &mut u32 {
        let slot = source.0 as usize;
        if slot >= self.advertised_of.len() {
            self.advertised_of.resize(slot + 1, 0);
        }
        &mut self.advertised_of[slot]
    }

    fn end_of_rib_item(&self, at: u64) -> PrivateItem {
        PrivateItem { at, bytes: end_of_rib(self.key.family).freeze(), is_end_of_rib: true }
    }

    fn mark_pending(&mut self, id: PrefixId) {
        if self.pending_bits.insert(id) {
            self.pending.push(id);
        }
    }
}

/// The prefixes in our own UPDATEs, in canonical form.
fn for_each_prefix(mut bytes: &[u8], params: &SessionParams, family: Family, mut each: impl FnMut(&[u8])) {
    let afi_safi = family.afi_safi();
    let mut all_of = |nlri: &[u8]| {
        for nlri in NlriIter::new(nlri, afi_safi, false).flatten() {
            let mut key = [0; 17];
            let length = nlri.canonical(&mut key);
            each(&key[..length]);
        }
    };
    while let Ok(Some(message)) = frame(bytes, params) {
        bytes = &bytes[message.bytes.len()..];
        let Ok(update) = UpdateView::parse(message.body()) else { continue };
        all_of(update.withdrawn);
        all_of(update.nlri);
        for attribute in RawAttributes::new(update.attributes).flatten() {
            match attribute.code {
                AttributeCode::MP_REACH_NLRI => {
                    MpReachView::parse(attribute.value, params).iter().for_each(|mp| all_of(mp.nlri));
                }
                AttributeCode::MP_UNREACH_NLRI => {
                    MpUnreachView::parse(attribute.value).iter().for_each(|mp| all_of(mp.nlri));
                }
                _ => {}
            }
        }
    }
}
