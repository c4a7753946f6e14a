//! How members get the whole table: when they join, and when they ask for it again.

use super::difference::Difference;
use super::dump::{Dump, Waiting};
use super::encode::{Announce, ExportView, encode_announcements};
use super::group::UpdateGroup;
use super::log::{ChunkBuilder, Part};
use super::member::{Member, PrivateItem, PrivateKind};
use super::told::chosen;
use super::verdicts::Verdicts;
use crate::engine::rib::Source;

impl UpdateGroup {
    /// A session joins: it gets the table, then what follows, and an End-of-RIB between the two if `wants_end_of_rib`.
    pub fn join(&mut self, view: &ExportView<'_>, source: Source, wants_end_of_rib: bool) {
        debug_assert!(!self.is_pending(), "joining after a flush");
        self.drop_dump_if_outgrown();
        let at = match &self.dump {
            Some(dump) => dump.at,
            None => self.start_walk(view),
        };
        let mut member = Member::new(source, at);
        self.push_dump(&mut member, wants_end_of_rib);
        // Since the walk, its own routes may have displaced what the walk found; it skips those.
        let is_own = |id: &_| view.rib.best(*id).is_some_and(|best| best.source == source);
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
        let to_item = |part: Part| PrivateItem { at, part, kind: PrivateKind::Routes };
        member.private.extend(self.encode_difference(view, difference).into_iter().map(to_item));
        self.log.add_reader(at);
        self.members.insert(member);
    }

    /// The member is sent the whole table again (RFC 2918), behind what it has not read yet.
    pub fn refresh(&mut self, view: &ExportView<'_>, source: Source) {
        debug_assert!(!self.is_pending(), "refreshing after a flush");
        let is_walking = self.is_walking();
        let Some(member) = self.members.get_mut(source) else { return };
        if let Some(dirty) = &mut member.dirty {
            dirty.extend(&self.advertised);
            return;
        }
        if is_walking || !member.private.is_empty() {
            // However often it asks: what it has not read is not made longer.
            member.wants_refresh = true;
            return;
        }
        // What was published since the dump's position, it may have read already, and the dump would take it
        // back; so the dump must be as of now.
        if self.dump.as_ref().is_none_or(|dump| dump.at != self.log.end()) {
            self.drop_dump();
            self.start_walk(view);
        }
        if let Some(mut member) = self.members.remove(source) {
            self.push_dump(&mut member, false);
            self.members.insert(member);
        }
    }

    /// Did a member ask for a refresh that had to wait, and has it read all that was for it alone? Says so once.
    pub fn is_refresh_due(&mut self, source: Source) -> bool {
        let is_walking = self.is_walking();
        let is_ready = |member: &&mut Member| member.is_slow() || !is_walking && member.private.is_empty();
        let member = self.members.get_mut(source).filter(is_ready);
        member.is_some_and(|member| std::mem::take(&mut member.wants_refresh))
    }

    /// Tells a member that it has the whole table, once it has.
    pub fn send_end_of_rib(&mut self, source: Source) {
        let mut waiting = self.dump.iter_mut().flat_map(|dump| &mut dump.waiting);
        match waiting.find(|waiting| waiting.source == source) {
            Some(waiting) => waiting.wants_end_of_rib = true,
            None => self.push_end_of_rib(source, self.log.end()),
        }
    }

    /// Is a walk of the table under way?
    pub fn is_walking(&self) -> bool {
        self.dump.as_ref().is_some_and(Dump::is_walking)
    }

    /// Walks on by so many ids at most, and returns how many; members that have something to read now are passed to
    /// `wake`. Nothing is pending.
    pub fn walk(&mut self, view: &ExportView<'_>, len: u32, mut wake: impl FnMut(Source)) -> u32 {
        let Some(mut dump) = self.dump.take_if(|dump| dump.is_walking()) else { return 0 };
        let slice = dump.next_slice(len);
        let walked = slice.len() as u32;
        let mut verdicts = Verdicts::default();
        let mut announcements: Vec<Announce> = Vec::new();
        for id in slice {
            if let Some(told) = &mut self.told {
                let mut paths = chosen(view, &self.key, id, &mut verdicts);
                told.assign(id, &mut paths, |_| (), |_| debug_assert!(false, "what is told is flushed"));
                if !paths.is_empty() {
                    self.advertised.insert(id);
                }
                announcements.append(&mut paths);
                continue;
            }
            let Some(announce) = self.exported(view, id, &mut verdicts) else { continue };
            self.advertise(id, announce.path.source);
            announcements.push(announce);
        }
        let mut builder = ChunkBuilder::default();
        encode_announcements(view, &self.key, &mut announcements, &verdicts, &mut builder);
        let at = self.log.end();
        for chunk in builder.finish() {
            for waiting in &dump.waiting {
                let Some(member) = self.members.get_mut(waiting.source).filter(|member| !member.is_slow())
                else {
                    continue;
                };
                let to_item = |part| PrivateItem { at, part, kind: PrivateKind::Table };
                member.private.extend(chunk.parts_for(waiting.source).map(to_item));
            }
            dump.bytes += chunk.len();
            dump.chunks.push((at, chunk));
        }
        for waiting in &dump.waiting {
            let dirty = self.members.get_mut(waiting.source).and_then(|member| member.dirty.as_mut());
            if let Some(dirty) = dirty {
                announcements.iter().for_each(|announce| dirty.insert(announce.id));
            }
            wake(waiting.source);
        }
        if !dump.is_walking() {
            for waiting in std::mem::take(&mut dump.waiting) {
                if waiting.wants_end_of_rib {
                    self.push_end_of_rib(waiting.source, at);
                }
            }
            // Whoever asked for a refresh meanwhile is looked at again.
            self.members.iter().filter(|member| member.wants_refresh).for_each(|member| wake(member.source));
        }
        self.dump = Some(dump);
        walked
    }

    /// Walks to the end.
    pub fn finish_walk(&mut self, view: &ExportView<'_>) {
        while self.is_walking() {
            self.walk(view, u32::MAX, |_| ());
        }
    }

    /// Forgets the table walk that joiners share.
    pub fn drop_dump(&mut self) {
        if let Some(dump) = self.dump.take() {
            self.log.remove_reader(dump.at);
        }
    }

    pub(super) fn drop_dump_if_outgrown(&mut self) {
        let suffix = self.dump.as_ref().and_then(|dump| self.log.bytes_from(dump.at));
        if self.dump.as_ref().is_some_and(|dump| !dump.is_worth(suffix.unwrap_or(usize::MAX))) {
            self.drop_dump();
        }
    }

    /// Begins a walk; its position.
    pub(super) fn start_walk(&mut self, view: &ExportView<'_>) -> u64 {
        let at = self.log.end();
        self.log.add_reader(at);
        self.dump = Some(Dump::new(at, view.rib.table_len()));
        at
    }

    /// Gives a member what was walked so far, and has it wait for the rest.
    fn push_dump(&mut self, member: &mut Member, wants_end_of_rib: bool) {
        let Some(dump) = &mut self.dump else { return };
        for (at, chunk) in &dump.chunks {
            let to_item = |part| PrivateItem { at: *at, part, kind: PrivateKind::Table };
            member.private.extend(chunk.parts_for(member.source).map(to_item));
        }
        if dump.is_walking() {
            dump.waiting.push(Waiting { source: member.source, wants_end_of_rib });
        } else if wants_end_of_rib {
            // What was published since the walk is part of the table by now, and comes before.
            let at = self.log.end();
            member.private.push_back(self.end_of_rib_item(at));
        }
    }

    fn push_end_of_rib(&mut self, source: Source, at: u64) {
        let item = self.end_of_rib_item(at);
        if let Some(member) = self.members.get_mut(source) {
            if member.is_slow() {
                member.owes_end_of_rib = true;
            } else {
                member.private.push_back(item);
            }
        }
    }
}
