//! Prefixes of one family under dense ids.
//!
//! Everything else that is kept per prefix is an array or a bitmap indexed by [`PrefixId`]; the hash
//! table here is the only one on a route's way. A key is the prefix in canonical wire form (length
//! octet, then just the octets that the length needs, host bits cleared), so that a received NLRI is
//! looked up, and an NLRI is sent, without conversion.
//!
//! Keys come from peers and the hasher is seeded per table, but only minimally hardened; a peer that
//! could search collisions could as well send more prefixes.

use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// Dense id of a prefix within its family's table. Recycled once the prefix is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrefixId(pub u32);

impl PrefixId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// hash(prefix) -> dense id -> octets. One per family.
#[derive(Debug)]
pub struct PrefixTable {
    /// Octets kept per prefix: length octet and address.
    stride: usize,
    octets: Vec<u8>,
    index: HashTable<u32>,
    free: Vec<u32>,
    hasher: DefaultHashBuilder,
}

impl PrefixTable {
    /// A table for addresses of this many octets: 4 or 16.
    pub fn new(address_octets: usize) -> Self {
        Self {
            stride: address_octets + 1,
            octets: Vec::new(),
            index: HashTable::new(),
            free: Vec::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// Number of prefixes.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Heap bytes.
    pub fn memory_bytes(&self) -> usize {
        self.octets.capacity() + self.free.capacity() * 4 + self.index.allocation_size()
    }

    /// The id of a canonical key, if known.
    pub fn find(&self, key: &[u8]) -> Option<PrefixId> {
        self.find_hashed(self.hash(key), key)
    }

    /// The hash of a key.
    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// [`PrefixTable::find`] with the key's hash.
    #[inline]
    pub(super) fn find_hashed(&self, hash: u64, key: &[u8]) -> Option<PrefixId> {
        let (octets, stride) = (&self.octets, self.stride);
        self.index.find(hash, |&id| key_of(octets, stride, id) == key).map(|&id| PrefixId(id))
    }

    /// The id of a canonical key, given out now if it is new.
    pub fn insert(&mut self, key: &[u8]) -> PrefixId {
        self.insert_hashed(self.hash(key), key)
    }

    /// [`PrefixTable::insert`] with the key's hash.
    pub(super) fn insert_hashed(&mut self, hash: u64, key: &[u8]) -> PrefixId {
        debug_assert!(!key.is_empty() && key.len() <= self.stride, "key has the family's shape");
        if let Some(id) = self.find_hashed(hash, key) {
            return id;
        }
        let (octets, stride, hasher) = (&mut self.octets, self.stride, &self.hasher);
        let id = self.free.pop().unwrap_or_else(|| {
            let id = octets.len() / stride;
            octets.resize(octets.len() + stride, 0);
            u32::try_from(id).expect("fewer than 2^32 prefixes fit in memory")
        });
        let start = id as usize * stride;
        octets[start..start + key.len()].copy_from_slice(key);
        let octets = &*octets;
        self.index.insert_unique(hash, id, |&id| hasher.hash_one(key_of(octets, stride, id)));
        PrefixId(id)
    }

    /// The canonical key of a live id.
    pub fn key(&self, id: PrefixId) -> &[u8] {
        key_of(&self.octets, self.stride, id.0)
    }

    /// Forgets a prefix; its id may be given to another one.
    pub fn remove(&mut self, id: PrefixId) {
        let hash = self.hasher.hash_one(self.key(id));
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == id.0) {
            entry.remove();
            self.free.push(id.0);
        }
    }

    /// Forgets all prefixes but these.
    pub fn retain(&mut self, is_kept: impl Fn(PrefixId) -> bool) {
        let (octets, stride, hasher) = (&self.octets, self.stride, &self.hasher);
        let ids = 0..(octets.len() / stride) as u32;
        let (kept, free): (Vec<u32>, Vec<u32>) = ids.partition(|id| is_kept(PrefixId(*id)));
        let mut index = HashTable::with_capacity(kept.len());
        for id in kept {
            let hash = |&id: &u32| hasher.hash_one(key_of(octets, stride, id));
            index.insert_unique(hash(&id), id, hash);
        }
        self.index = index;
        self.free = free;
    }

    /// All live ids, in no particular order.
    pub fn ids(&self) -> impl Iterator<Item = PrefixId> + '_ {
        self.index.iter().map(|&id| PrefixId(id))
    }
}

fn key_of(octets: &[u8], stride: usize, id: u32) -> &[u8] {
    let slot = &octets[id as usize * stride..][..stride];
    &slot[..1 + usize::from(slot[0]).div_ceil(8)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_dense_and_recycled() {
        let mut table = PrefixTable::new(4);
        let a = table.insert(&[24, 10, 0, 0]);
        let b = table.insert(&[0]);
        assert_eq!((a, b), (PrefixId(0), PrefixId(1)));
        assert_eq!(table.insert(&[24, 10, 0, 0]), a);
        assert_eq!(table.key(b), &[0]);
        table.remove(a);
        assert_eq!(table.find(&[24, 10, 0, 0]), None);
        assert_eq!(table.insert(&[32, 1, 2, 3, 4]), a);
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_shorter_key_in_a_recycled_slot_keeps_no_octets_of_the_longer_one() {
        let mut table = PrefixTable::new(16);
        let long = table.insert(&[128, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        table.remove(long);
        let short = table.insert(&[8, 0xfd]);
        assert_eq!(table.key(short), &[8, 0xfd]);
        assert_eq!(table.find(&[8, 0xfd]), Some(short));
    }

    #[test]
    fn what_is_not_retained_is_forgotten_and_its_ids_are_used_again() {
        let mut table = PrefixTable::new(4);
        let key = |i: u32| [vec![32], i.to_be_bytes().to_vec()].concat();
        (0..100).for_each(|i| _ = table.insert(&key(i)));
        table.remove(PrefixId(7));
        table.retain(|id| id.0 >= 90);
        assert_eq!((table.len(), table.find(&key(89)), table.find(&key(95))), (10, None, Some(PrefixId(95))));
        assert!((1000..1090).all(|i| table.insert(&key(i)).0 < 90));
        assert_eq!(table.insert(&key(2000)), PrefixId(100));
    }

    #[test]
    fn many_prefixes_stay_findable() {
        let mut table = PrefixTable::new(4);
        let key = |i: u32| [vec![32], i.to_be_bytes().to_vec()].concat();
        for i in 0..10_000 {
            assert_eq!(table.insert(&key(i)), PrefixId(i));
        }
        assert!((0..10_000).all(|i| table.find(&key(i)) == Some(PrefixId(i))));
    }
}
