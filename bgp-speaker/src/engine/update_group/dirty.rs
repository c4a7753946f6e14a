//! What a slow member is not up to date with.

use crate::engine::rib::{Bitmap, PrefixId};
use std::collections::BTreeSet;

/// One bit per prefix. With ADD-PATH also which paths the member may hold that it is to forget: a path that is told
/// today is told again anyway. At most twice as many for a prefix as a member is told of it.
#[derive(Clone, Debug, Default)]
pub struct Dirty {
    prefixes: Bitmap,
    withdrawn: BTreeSet<(PrefixId, u32)>,
}

impl Dirty {
    /// Something about a prefix changed.
    pub fn insert(&mut self, id: PrefixId) {
        self.prefixes.insert(id);
    }

    /// A path was told, or withdrawn, that the member may know of; without ADD-PATH its identifier is 0.
    pub fn insert_path(&mut self, id: PrefixId, path_id: u32) {
        self.prefixes.insert(id);
        if path_id != 0 {
            self.withdrawn.insert((id, path_id));
        }
    }

    /// Something about each of these prefixes may have changed.
    pub fn extend(&mut self, prefixes: &Bitmap) {
        self.prefixes.extend(prefixes);
    }

    /// Is anything about a prefix left to be told?
    pub fn contains(&self, id: PrefixId) -> bool {
        self.prefixes.contains(id)
    }

    /// Up to so many prefixes, each with the paths to forget, which are not dirty any more.
    pub fn take(&mut self, count: usize) -> Vec<(PrefixId, Vec<u32>)> {
        let ids: Vec<PrefixId> = self.prefixes.iter().take(count).collect();
        let mut taken = Vec::with_capacity(ids.len());
        for id in ids {
            self.prefixes.remove(id);
            let paths = (id, 0)..=(id, u32::MAX);
            let withdrawn: Vec<u32> = self.withdrawn.range(paths).map(|(_, path_id)| *path_id).collect();
            withdrawn.iter().for_each(|path_id| _ = self.withdrawn.remove(&(id, *path_id)));
            taken.push((id, withdrawn));
        }
        taken
    }

    /// Heap bytes.
    pub fn memory_bytes(&self) -> usize {
        // A tree's node is two thirds full, give or take.
        self.prefixes.memory_bytes() + self.withdrawn.len() * size_of::<(PrefixId, u32)>() * 3 / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_taken_with_its_paths() {
        let mut dirty = Dirty::default();
        dirty.insert(PrefixId(70));
        dirty.insert_path(PrefixId(5), 2);
        dirty.insert_path(PrefixId(5), 1);
        dirty.insert_path(PrefixId(5), 2);
        assert!(dirty.contains(PrefixId(5)) && !dirty.contains(PrefixId(6)));
        assert_eq!(dirty.take(1), [(PrefixId(5), vec![1, 2])]);
        assert_eq!(dirty.take(9), [(PrefixId(70), vec![])]);
        assert!(dirty.take(9).is_empty());
    }
}
