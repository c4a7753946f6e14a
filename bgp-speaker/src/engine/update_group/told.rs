//! Adj-RIB-Out of an ADD-PATH group (RFC 7911): which paths of each prefix are told, and under which identifiers.
//!
//! An identifier is a small number of the group's own. A path keeps it while it is told; when it is told no longer, the
//! identifier goes to another path in a later batch at the earliest, so that everybody has been told its withdrawal by
//! then, also the member whose path it becomes. Hence of one prefix no more than twice the bound are ever in use.

use super::encode::{Announce, ExportView, export};
use super::key::GroupKey;
use super::verdicts::Verdicts;
use crate::engine::candidates::best_first;
use crate::engine::rib::{AttrId, AttrTable, Bitmap, Path, PrefixId, Source};
use hashbrown::HashMap;

/// One path that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// As it is in the table. A reference to its attributes is held, so that their id stands for them.
    pub path: Path,
    /// The identifier that members are told.
    pub path_id: u32,
}

impl Told {
    /// What makes a path the same path, whatever its attributes.
    fn identity(&self) -> (Source, u32) {
        identity(&self.path)
    }
}

fn identity(path: &Path) -> (Source, u32) {
    (path.source, path.path_id)
}

/// One per ADD-PATH group.
#[derive(Debug, Default)]
pub struct ToldPaths {
    /// By source and the identifier under which it was received.
    by_prefix: HashMap<PrefixId, Box<[Told]>>,
    count: usize,
    /// How many came of each source, by slot.
    count_of: Vec<u32>,
    /// Prefixes whose paths are told again even with the same attributes, because filters say otherwise now.
    again: Bitmap,
    /// References to be taken, and to be given back: [`ToldPaths::settle_references`].
    taken: Vec<AttrId>,
    left: Vec<AttrId>,
}

impl ToldPaths {
    /// The paths of a prefix.
    pub fn of(&self, id: PrefixId) -> &[Told] {
        self.by_prefix.get(&id).map_or(&[], |told| told)
    }

    /// Paths that a member is told: all but its own.
    pub fn count_for(&self, member: Source) -> usize {
        self.count - self.count_of.get(member.0 as usize).copied().unwrap_or(0) as usize
    }

    /// Prefixes of which paths are told.
    pub fn prefixes(&self) -> impl Iterator<Item = PrefixId> + '_ {
        self.by_prefix.keys().copied()
    }

    /// Heap bytes.
    pub fn memory_bytes(&self) -> usize {
        self.by_prefix.allocation_size()
            + self.count * size_of::<Told>()
            + self.count_of.capacity() * 4
            + self.again.memory_bytes()
            + (self.taken.capacity() + self.left.capacity()) * size_of::<AttrId>()
    }

    /// The next time that it is assigned, every path of the prefix counts as changed.
    pub fn tell_again(&mut self, id: PrefixId) {
        self.again.insert(id);
    }

    /// From now on these paths of a prefix are told, and get their identifiers. Those that are new, or have other
    /// attributes than before, are passed to `changed`; identifiers that are told no longer, to `gone`.
    pub fn assign(
        &mut self,
        id: PrefixId,
        chosen: &mut [Announce],
        mut changed: impl FnMut(Announce),
        mut gone: impl FnMut(u32),
    ) {
        let before = self.by_prefix.remove(&id).unwrap_or_default();
        let is_again = self.again.remove(id);
        let mut used: Vec<u32> = before.iter().map(|told| told.path_id).collect();
        used.sort_unstable();
        let mut free = (1..).filter(|path_id| used.binary_search(path_id).is_err());
        let mut now = Vec::with_capacity(chosen.len());
        for announce in chosen {
            let path = announce.path;
            let known =
                before.binary_search_by_key(&identity(&path), Told::identity).ok().map(|at| before[at]);
            let path_id = known.map_or_else(|| free.next().unwrap_or(u32::MAX), |told| told.path_id);
            now.push(Told { path, path_id });
            announce.path.path_id = path_id;
            let is_same = known.is_some_and(|told| told.path.attr == path.attr);
            if !is_same {
                self.taken.push(path.attr);
                self.left.extend(known.map(|told| told.path.attr));
            }
            if !is_same || is_again {
                changed(*announce);
            }
        }
        now.sort_unstable_by_key(Told::identity);
        for told in &before {
            if now.binary_search_by_key(&told.identity(), Told::identity).is_err() {
                self.left.push(told.path.attr);
                gone(told.path_id);
            }
        }
        before.iter().for_each(|told| *self.count_of(told.path.source) -= 1);
        now.iter().for_each(|told| *self.count_of(told.path.source) += 1);
        self.count = self.count + now.len() - before.len();
        if !now.is_empty() {
            self.by_prefix.insert(id, now.into_boxed_slice());
        }
    }

    fn count_of(&mut self, source: Source) -> &mut u32 {
        let slot = source.0 as usize;
        if slot >= self.count_of.len() {
            self.count_of.resize(slot + 1, 0);
        }
        &mut self.count_of[slot]
    }

    /// The announcements that a member is told of a prefix.
    pub fn announcements<'a>(
        &'a self,
        view: &'a ExportView<'_>,
        key: &'a GroupKey,
        id: PrefixId,
        member: Source,
        verdicts: &'a mut Verdicts,
    ) -> impl Iterator<Item = Announce> + 'a {
        let others = self.of(id).iter().filter(move |told| told.path.source != member);
        others.filter_map(move |told| {
            let (next_hop, changes) = export(view, key, id, told.path, verdicts).ok()?;
            Some(Announce { path: Path { path_id: told.path_id, ..told.path }, next_hop, changes, id })
        })
    }

    /// Takes the references to attribute sets that are held from now on, and gives those back that are not. To be done
    /// before [`AttrTable::collect`].
    pub fn settle_references(&mut self, attrs: &mut AttrTable) {
        self.taken.drain(..).for_each(|attr| attrs.retain(attr));
        self.left.drain(..).for_each(|attr| attrs.release(attr));
    }

    /// The group is no more.
    pub fn release_references(mut self, attrs: &mut AttrTable) {
        self.settle_references(attrs);
        self.by_prefix.values().flatten().for_each(|told| attrs.release(told.path.attr));
    }

    /// Identifiers are unique, counts are true, and references are settled.
    ///
    /// # Errors
    /// The first contradiction.
    #[cfg(any(test, feature = "test-util"))]
    pub fn audit(&self) -> Result<(), String> {
        let paths = || self.by_prefix.values().flatten();
        for (id, told) in &self.by_prefix {
            let ids: std::collections::BTreeSet<u32> = told.iter().map(|told| told.path_id).collect();
            if ids.len() != told.len() || ids.contains(&0) || told.is_empty() {
                return Err(format!("{id:?} is told under {ids:?}, {} paths", told.len()));
            }
        }
        let of_sources: u32 = self.count_of.iter().sum();
        let found = paths().count();
        if self.count != found || of_sources as usize != found {
            return Err(format!("{} paths told, {of_sources} by source, {found} found", self.count));
        }
        if !self.taken.is_empty() || !self.left.is_empty() || self.again.len() > 0 {
            return Err("references are not settled, or something is to be told again".to_owned());
        }
        Ok(())
    }

    /// One for each path.
    #[cfg(any(test, feature = "test-util"))]
    pub fn references(&self) -> impl Iterator<Item = AttrId> + '_ {
        self.by_prefix.values().flatten().map(|told| told.path.attr)
    }
}

/// The paths of a prefix that a group is to be told: of those that its rules and filters let pass the best, up to its
/// bound, in no particular order. They bear the identifiers under which they were received.
///
/// A route of the kernel is told if it is the best path only. Where another program writes a route to every block of the
/// cluster on every node, all would tell all of each other's blocks else.
pub fn chosen(view: &ExportView<'_>, key: &GroupKey, id: PrefixId, verdicts: &mut Verdicts) -> Vec<Announce> {
    if view.rib.is_undecided(id) {
        return Vec::new();
    }
    let max = key.add_paths.map_or(0, |max| usize::from(max.get()));
    let is_spare = |path: &Path| path.source == Source::KERNEL && view.rib.best(id) != Some(*path);
    let mut paths: Vec<Path> =
        view.rib.paths(id).map(|(path, _)| path).filter(|path| !is_spare(path)).collect();
    if paths.len() > max {
        // Else it does not matter which are better.
        paths = best_first(view.attrs, view.sources, &paths);
    }
    let passing = paths.into_iter().filter_map(|path| {
        let (next_hop, changes) = export(view, key, id, path, verdicts).ok()?;
        Some(Announce { path, next_hop, changes, id })
    });
    passing.take(max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::update_group::verdicts::ChangesId;
    use bgp_proto::NextHop;

    const ID: PrefixId = PrefixId(3);

    fn announce(source: u32, received_id: u32, attr: u32) -> Announce {
        Announce {
            path: Path { source: Source(source), attr: AttrId(attr), path_id: received_id },
            next_hop: NextHop::V4([10, 0, 0, 1].into()),
            changes: ChangesId::default(),
            id: ID,
        }
    }

    /// (identifier, attributes) of what is announced, and what is withdrawn.
    fn assign(told: &mut ToldPaths, chosen: &[Announce]) -> (Vec<(u32, u32)>, Vec<u32>) {
        let (mut changed, mut gone) = (Vec::new(), Vec::new());
        told.assign(
            ID,
            &mut chosen.to_vec(),
            |a| changed.push((a.path.path_id, a.path.attr.0)),
            |id| gone.push(id),
        );
        (changed, gone)
    }

    #[test]
    fn only_what_changes_is_told_and_identifiers_stay() {
        let mut told = ToldPaths::default();
        let (a, b, c) = (announce(1, 0, 10), announce(2, 7, 11), announce(2, 8, 12));
        assert_eq!(assign(&mut told, &[a, b]), (vec![(1, 10), (2, 11)], vec![]));
        assert_eq!(assign(&mut told, &[b, a]), (vec![], vec![]), "an order is not told");
        assert_eq!(assign(&mut told, &[announce(2, 7, 13), a]), (vec![(2, 13)], vec![]));
        // The identifier of the path that goes is not given to the one that comes.
        assert_eq!(assign(&mut told, &[announce(2, 7, 13), c]), (vec![(3, 12)], vec![1]));
        assert_eq!(assign(&mut told, &[announce(2, 7, 13), c, a]), (vec![(1, 10)], vec![]));
        assert_eq!((told.count_for(Source(2)), told.count_for(Source(9))), (1, 3));
        told.tell_again(ID);
        assert_eq!(assign(&mut told, &[c, a]), (vec![(3, 12), (1, 10)], vec![2]));
        assert_eq!(assign(&mut told, &[]), (vec![], vec![1, 3]));
        assert_eq!((told.prefixes().count(), told.count_for(Source(9))), (0, 0));
    }
}
