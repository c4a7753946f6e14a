//! What changes on the wire when a group's key does, or when a session moves to another group.

use super::encode::{Announce, ExportView, Withdrawal, encode_announcements, encode_withdrawals, export};
use super::group::UpdateGroup;
use super::key::GroupKey;
use super::log::{Chunk, ChunkBuilder, Part};
use super::told::{Told, ToldPaths};
use super::verdicts::Verdicts;
use crate::config::NextHopMode;
use crate::engine::policy::Policy;
use crate::engine::rib::{Change, Path, PrefixId, Source};
use std::collections::BTreeSet;

/// What a session must be told that knows what one group advertised, and is to know what another does.
#[derive(Debug)]
pub struct Difference {
    announcements: Vec<Announce>,
    /// Of the announcements.
    verdicts: Verdicts,
    withdrawals: Vec<Withdrawal>,
}

/// Two keys, and what their filters said of the routes looked at so far.
struct Comparison<'a> {
    old: &'a GroupKey,
    new: &'a GroupKey,
    of_old: Verdicts,
    of_new: Verdicts,
    /// All that goes into the bytes of a route, but its next hop and what filters do, is the same.
    is_alike: bool,
}

/// How a route fares under two keys.
enum Fate {
    Same,
    Announced(Announce),
    Withdrawn,
}

impl<'a> Comparison<'a> {
    fn new(old: &'a GroupKey, new: &'a GroupKey) -> Self {
        let rest = |key: &GroupKey| GroupKey {
            export: Policy::Accept,
            next_hop: NextHopMode::Auto,
            ..GroupKey::clone(key)
        };
        let is_alike = rest(old) == rest(new);
        Self { old, new, of_old: Verdicts::default(), of_new: Verdicts::default(), is_alike }
    }

    fn fate(&mut self, view: &ExportView<'_>, id: PrefixId, path: Path) -> Fate {
        let before = export(view, self.old, id, path, &mut self.of_old);
        let after = export(view, self.new, id, path, &mut self.of_new);
        match (before, after) {
            (Ok(before), Ok(after)) if self.is_alike && before.0 == after.0 => {
                let old = (&self.of_old, &self.old.export, before.1);
                if Verdicts::change_alike(old, (&self.of_new, &self.new.export, after.1)) {
                    Fate::Same
                } else {
                    Fate::Announced(Announce { path, next_hop: after.0, changes: after.1, id })
                }
            }
            (_, Ok((next_hop, changes))) => Fate::Announced(Announce { path, next_hop, changes, id }),
            (Ok(_), Err(_)) => Fate::Withdrawn,
            (Err(_), Err(_)) => Fate::Same,
        }
    }
}

impl Comparison<'_> {
    /// What the new key makes of a path that is told under it.
    fn announce(&mut self, view: &ExportView<'_>, id: PrefixId, told: &Told) -> Option<Announce> {
        let (next_hop, changes) = export(view, self.new, id, told.path, &mut self.of_new).ok()?;
        Some(Announce { path: Path { path_id: told.path_id, ..told.path }, next_hop, changes, id })
    }
}

/// Prefixes with a best path that is decided.
fn decided<'a>(view: &ExportView<'a>) -> impl Iterator<Item = (PrefixId, Path)> + use<'a> {
    let rib = view.rib;
    rib.prefixes.ids().filter(|id| !rib.is_undecided(*id)).filter_map(|id| Some((id, rib.best(id)?)))
}

impl UpdateGroup {
    /// What a member of another group must be told to be one of this.
    pub fn difference_from(&self, view: &ExportView<'_>, old: &UpdateGroup, member: Source) -> Difference {
        if let (Some(before), Some(now)) = (&old.told, &self.told) {
            return self.difference_of_paths(view, &old.key, before, now, member);
        }
        let mut comparison = Comparison::new(&old.key, &self.key);
        let (mut announcements, mut withdrawals) = (Vec::new(), Vec::new());
        // Its own routes it was told by neither.
        for (id, path) in decided(view).filter(|(_, path)| path.source != member) {
            match comparison.fate(view, id, path) {
                Fate::Same => {}
                Fate::Announced(announce) => announcements.push(announce),
                Fate::Withdrawn => withdrawals.push(Withdrawal::of(id)),
            }
        }
        Difference { announcements, verdicts: comparison.of_new, withdrawals }
    }

    /// The same between ADD-PATH groups: what the new one does not tell is withdrawn by its identifier in the old one.
    fn difference_of_paths(
        &self,
        view: &ExportView<'_>,
        old_key: &GroupKey,
        before: &ToldPaths,
        now: &ToldPaths,
        member: Source,
    ) -> Difference {
        let mut comparison = Comparison::new(old_key, &self.key);
        let (mut announcements, mut withdrawals) = (Vec::new(), Vec::new());
        let ids: BTreeSet<PrefixId> = before.prefixes().chain(now.prefixes()).collect();
        let is_others = |told: &&Told| told.path.source != member;
        for id in ids {
            let (before, now) = (before.of(id), now.of(id));
            for told in now.iter().filter(is_others) {
                let fate = comparison.fate(view, id, told.path);
                if matches!(fate, Fate::Same) && before.contains(told) {
                    continue;
                }
                announcements.extend(comparison.announce(view, id, told));
            }
            let is_gone =
                |told: &&Told| !now.iter().filter(is_others).any(|other| other.path_id == told.path_id);
            let gone = before.iter().filter(is_others).filter(is_gone);
            withdrawals.extend(gone.map(|told| Withdrawal { id, path_id: told.path_id }));
        }
        Difference { announcements, verdicts: comparison.of_new, withdrawals }
    }

    pub(super) fn encode_difference(&self, view: &ExportView<'_>, difference: Difference) -> Vec<Part> {
        let Difference { mut announcements, verdicts, withdrawals } = difference;
        let mut builder = ChunkBuilder::default();
        encode_withdrawals(view, &self.key, &withdrawals, &mut builder);
        encode_announcements(view, &self.key, &mut announcements, &verdicts, &mut builder);
        builder.finish().iter().map(Chunk::whole).collect()
    }

    /// Another export policy for all members. What it says otherwise than the one before is pending then; nothing is
    /// pending now.
    pub fn replace_policy(&mut self, view: &ExportView<'_>, policy: Policy) {
        debug_assert!(!self.is_pending(), "another policy after a flush");
        self.finish_walk(view);
        let old = self.key.clone();
        self.key.export = policy;
        let key = self.key.clone();
        let mut comparison = Comparison::new(&old, &key);
        for (id, path) in decided(view) {
            let mut all = view.rib.paths(id).take(if self.told.is_some() { usize::MAX } else { 1 });
            if !all.all(|(path, _)| matches!(comparison.fate(view, id, path), Fate::Same)) {
                self.note(&Change { id, old: Some(path), new: Some(path) });
            }
        }
    }
}
