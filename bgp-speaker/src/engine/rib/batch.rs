//! Announcements and withdrawals of one source on their way into the table, a few hundred at a time.
//!
//! A prefix costs several cache misses: its hash bucket, its octets, its chain of paths. One prefix after the other, the
//! processor waits for each. In stages (first all lookups, then all chains) it waits for many at once.

use super::{Announced, AttrId, AttrTable, NONE, Path, PrefixId, Rib, Source};

/// More than this wait in vain for each other.
pub const BATCH_LEN: usize = 512;

/// What is to be done to one prefix.
#[derive(Clone, Copy, Debug)]
struct Operation {
    /// `None`: withdrawn.
    attr: Option<AttrId>,
    path_id: u32,
    hash: u64,
    /// Where the prefix's octets end in [`Batch::keys`].
    key_end: u32,
}

/// What waits. One per family and speaker, reused.
#[derive(Debug, Default)]
pub struct Batch {
    operations: Vec<Operation>,
    keys: Vec<u8>,
    ids: Vec<Option<PrefixId>>,
}

/// What a batch did to its source's share of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Paths that it did not have before.
    pub new: u32,
    /// Paths that it no longer has.
    pub gone: u32,
    /// Paths that are not kept, because it has too many of a prefix.
    pub refused: u32,
    /// Of a prefix of which paths were refused earlier, it has few now.
    pub has_room_again: bool,
}

impl Batch {
    /// How many operations wait.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Heap bytes.
    pub fn memory_bytes(&self) -> usize {
        self.operations.capacity() * size_of::<Operation>()
            + self.keys.capacity()
            + self.ids.capacity() * size_of::<Option<PrefixId>>()
    }

    /// A path with these attributes, or none any more. `key` is the prefix in canonical wire form.
    pub fn push(&mut self, key: &[u8], attr: Option<AttrId>, path_id: u32) {
        self.keys.extend_from_slice(key);
        self.operations.push(Operation { attr, path_id, hash: 0, key_end: self.keys.len() as u32 });
    }
}

impl Rib {
    /// Does what waits, in its order, and empties the batch.
    pub fn apply(&mut self, attrs: &mut AttrTable, source: Source, batch: &mut Batch) -> Applied {
        let Batch { operations, keys, ids } = batch;
        let mut start = 0;
        for operation in operations.iter_mut() {
            let end = operation.key_end as usize;
            operation.hash = self.prefixes.hash(&keys[start..end]);
            start = end;
        }
        start = 0;
        ids.clear();
        for operation in operations.iter() {
            let end = operation.key_end as usize;
            ids.push(self.prefixes.find_hashed(operation.hash, &keys[start..end]));
            start = end;
        }
        start = 0;
        for (operation, id) in operations.iter().zip(ids.iter_mut()) {
            let end = operation.key_end as usize;
            if id.is_none() {
                // Not there a moment ago; an earlier operation of this batch may have brought it.
                let key = &keys[start..end];
                *id = match operation.attr {
                    Some(_) => Some(self.prefixes.insert_hashed(operation.hash, key)),
                    None => self.prefixes.find_hashed(operation.hash, key),
                };
            }
            start = end;
        }
        self.warm(ids);
        let mut applied = Applied::default();
        for (operation, id) in operations.iter().zip(ids.iter()) {
            let (Some(id), path_id) = (*id, operation.path_id) else { continue };
            match operation.attr {
                Some(attr) => {
                    let path = Path { source, attr, path_id };
                    match self.announce_at(attrs, id, path) {
                        Announced::New => applied.new += 1,
                        Announced::Refused => applied.refused += 1,
                        Announced::Replaced | Announced::Same => {}
                    }
                }
                None => {
                    applied.gone += u32::from(self.withdraw_at(attrs, id, source, path_id));
                    applied.has_room_again |= self.has_room_again(id, source);
                }
            }
        }
        operations.clear();
        keys.clear();
        applied
    }

    /// Reads the first two paths of each prefix, so that they are in the processor's cache when they are worked on.
    fn warm(&self, ids: &[Option<PrefixId>]) {
        let head = |id: &Option<PrefixId>| self.heads.get(id.as_ref()?.index()).filter(|head| **head != NONE);
        let links = ids.iter().filter_map(head).map(|head| self.nodes[*head as usize].link);
        std::hint::black_box(links.fold(0, u32::wrapping_add));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{attr, path};
    use super::*;

    #[test]
    fn operations_on_one_prefix_keep_their_order() {
        let (mut rib, mut attrs) = (Rib::new(4), AttrTable::default());
        let (a, b) = (attr(&mut attrs, 1), attr(&mut attrs, 2));
        let mut batch = Batch::default();
        batch.push(&[8, 10], None, 0);
        batch.push(&[8, 10], Some(a), 0);
        batch.push(&[8, 11], Some(a), 0);
        batch.push(&[8, 10], Some(b), 0);
        batch.push(&[8, 11], None, 0);
        batch.push(&[0], Some(b), 0);
        assert_eq!(
            rib.apply(&mut attrs, Source(1), &mut batch),
            Applied { new: 3, gone: 1, ..Applied::default() }
        );
        assert_eq!(batch.len(), 0);
        let best = |key: &[u8]| rib.prefixes.find(key).and_then(|id| rib.best(id));
        assert_eq!((best(&[8, 10]), best(&[8, 11]), best(&[0])), (Some(path(1, b)), None, Some(path(1, b))));
    }
}
