//! Recounts. For tests and simulations.

use super::{AttrId, AttrTable, LINK, NONE, PrefixId, Rib, Source, next_of};
use std::collections::{BTreeMap, BTreeSet};

/// What was found by counting.
#[derive(Debug, Default)]
pub struct Recount {
    /// Paths by source.
    pub paths: BTreeMap<Source, u32>,
    /// Best paths by source.
    pub best: BTreeMap<Source, u32>,
}

impl Rib {
    /// Walks every chain; attribute references are added to `references`.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn audit(&self, references: &mut BTreeMap<AttrId, u32>) -> Result<Recount, String> {
        let mut recount = Recount::default();
        let known: BTreeSet<PrefixId> = self.prefixes.ids().collect();
        let mut nodes = 0;
        for id in (0..self.heads.len() as u32).map(PrefixId) {
            let mut is_first = true;
            let mut sources = BTreeSet::new();
            for (path, _) in self.paths(id) {
                nodes += 1;
                *references.entry(path.attr).or_default() += 1;
                *recount.paths.entry(path.source).or_default() += 1;
                if std::mem::take(&mut is_first) && !self.is_undecided(id) {
                    *recount.best.entry(path.source).or_default() += 1;
                }
                if !sources.insert((path.source, path.path_id)) {
                    return Err(format!("{id:?} has two paths of {:?}", path.source));
                }
            }
            let has_paths = !is_first;
            if has_paths != known.contains(&id) && !(known.contains(&id) && self.emptied.contains(&id)) {
                return Err(format!("{id:?}: has paths {has_paths}, is known {}", known.contains(&id)));
            }
        }
        for dirty in self.dirty.iter().chain(&self.deferred) {
            dirty.old.iter().for_each(|old| *references.entry(old.attr).or_default() += 1);
        }
        let undecided: BTreeSet<_> = self.dirty.iter().chain(&self.deferred).map(|dirty| dirty.id).collect();
        if undecided.len() != self.dirty.len() + self.deferred.len()
            || undecided.len() != self.dirty_bits.len()
        {
            return Err("the dirty list and its bits differ".to_owned());
        }
        if self.grown.iter().any(|id| !self.dirty_bits.contains(id)) {
            return Err("a prefix has grown and is not dirty".to_owned());
        }
        let best: usize = recount.best.values().map(|count| *count as usize).sum();
        if self.path_count != nodes || nodes != self.nodes.len() - self.free.len() {
            return Err(format!("{} paths counted, {nodes} linked", self.path_count));
        }
        if self.deferred.is_empty() && self.dirty.is_empty() && best != self.best_count {
            return Err(format!("{} best paths counted, {best} there", self.best_count));
        }
        debug_assert_eq!(next_of(LINK), NONE);
        Ok(recount)
    }
}

impl AttrTable {
    /// Compares reference counts; a set without references is a leak.
    ///
    /// # Errors
    /// The first difference.
    pub fn audit(&self, references: &BTreeMap<AttrId, u32>) -> Result<(), String> {
        let mut live = 0;
        for (id, count) in self.references() {
            live += 1;
            let expected = references.get(&id).copied().unwrap_or_default();
            if count != expected || expected == 0 {
                return Err(format!("attribute set {id:?}: {count} references, {expected} found"));
            }
            let set = self.set(id);
            if self.find(set.wire, set.next_hop) != Some(id) {
                return Err(format!("attribute set {id:?} is not found by its bytes"));
            }
        }
        if live != self.len() || references.len() != live {
            return Err(format!(
                "{live} sets live, {} indexed, {} referred to",
                self.len(),
                references.len()
            ));
        }
        Ok(())
    }
}
