//! Interned attribute sets: equal sets are equal ids.
//!
//! A set is kept as canonical wire bytes (ascending type code, canonical flags, four-octet AS numbers, without
//! NEXT_HOP and MP_*), its next hop beside them, and an [`AttrRecord`] of what the decision process reads.
//! Received attribute bytes are looked up before they are parsed: what has been seen is not parsed again.

use super::attr_record::{AttrRecord, LoopIdentity, PackedRecord};
use super::next_hops::{NextHopId, NextHops};
use super::octets::{Octets, Span};
use bgp_proto::{AttributeCode, NextHop, PathAttributes};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// Id of an interned attribute set. Recycled when the last reference is gone and [`AttrTable::collect`] ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttrId(pub u32);

/// One interned set, as it is read.
#[derive(Clone, Copy, Debug)]
pub struct AttrSet<'a> {
    /// Canonical attribute bytes without NEXT_HOP, MP_REACH_NLRI and MP_UNREACH_NLRI.
    pub wire: &'a [u8],
    /// The next hop, from whichever attribute carried it. `None`: originated here, the next hop is us.
    pub next_hop: Option<NextHop>,
    /// Decoded summary.
    pub record: AttrRecord,
}

/// One interned set, as it is kept.
#[derive(Clone, Debug)]
struct Entry {
    wire: Span,
    next_hop: NextHopId,
    record: PackedRecord,
    /// [`FREE`]: there is no set of this id.
    references: u32,
}

const FREE: u32 = u32::MAX;
/// Places for more sets than this are not kept once there is none.
const EMPTY_MAX: usize = 4096;

/// All attribute sets of a speaker, over all families. One per speaker.
#[derive(Debug, Default)]
pub struct AttrTable {
    entries: Vec<Entry>,
    octets: Octets,
    next_hops: NextHops,
    free: Vec<u32>,
    /// Ids whose count reached zero since the last [`AttrTable::collect`].
    unreferenced: Vec<u32>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl AttrTable {
    /// Number of distinct sets.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Heap bytes.
    pub fn memory_bytes(&self) -> usize {
        self.octets.memory_bytes()
            + self.next_hops.memory_bytes()
            + self.entries.capacity() * size_of::<Entry>()
            + (self.free.capacity() + self.unreferenced.capacity()) * 4
            + self.index.allocation_size()
    }

    /// The set of these bytes and this next hop, if it was seen before.
    pub fn find(&self, wire: &[u8], next_hop: Option<NextHop>) -> Option<AttrId> {
        let next_hop = self.next_hops.find(next_hop)?;
        let is_it = |&id: &u32| {
            let entry = &self.entries[id as usize];
            entry.next_hop == next_hop && self.octets.get(entry.wire) == wire
        };
        self.index.find(hash(&self.hasher, wire, next_hop), is_it).map(|&id| AttrId(id))
    }

    /// Interns a set. One that [`AttrTable::find`] would not find has no reference yet and lives until the next
    /// [`AttrTable::collect`] at least.
    pub fn intern(&mut self, wire: &[u8], next_hop: Option<NextHop>, record: AttrRecord) -> AttrId {
        if let Some(id) = self.find(wire, next_hop) {
            return id;
        }
        let next_hop = self.next_hops.insert(next_hop);
        let entry = Entry { wire: self.octets.insert(wire), next_hop, record: record.into(), references: 0 };
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = entry;
                id
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 attribute sets fit in memory")
            }
        };
        let (entries, octets, hasher) = (&self.entries, &self.octets, &self.hasher);
        self.index.insert_unique(hash(hasher, wire, next_hop), id, |&id| {
            let entry = &entries[id as usize];
            hash(hasher, octets.get(entry.wire), entry.next_hop)
        });
        self.unreferenced.push(id);
        AttrId(id)
    }

    /// A live set.
    #[inline]
    pub fn set(&self, id: AttrId) -> AttrSet<'_> {
        let entry = self.live(id);
        AttrSet {
            wire: self.octets.get(entry.wire),
            next_hop: self.next_hops.get(entry.next_hop),
            record: entry.record.unpack(),
        }
    }

    /// The record of a live set.
    #[inline]
    pub fn record(&self, id: AttrId) -> AttrRecord {
        self.live(id).record.unpack()
    }

    /// One more reference.
    #[inline]
    pub fn retain(&mut self, id: AttrId) {
        self.entries[id.0 as usize].references += 1;
    }

    /// One reference less. The id stays valid until the next [`AttrTable::collect`], so that a change that is
    /// still being worked on can be compared by id.
    #[inline]
    pub fn release(&mut self, id: AttrId) {
        let entry = &mut self.entries[id.0 as usize];
        entry.references -= 1;
        if entry.references == 0 {
            self.unreferenced.push(id.0);
        }
    }

    /// Anything for [`AttrTable::collect`] to do?
    pub fn has_unreferenced(&self) -> bool {
        !self.unreferenced.is_empty()
    }

    /// Frees the sets that nobody references.
    pub fn collect(&mut self) {
        let mut unreferenced = std::mem::take(&mut self.unreferenced);
        for id in unreferenced.drain(..) {
            let entry = &mut self.entries[id as usize];
            if entry.references != 0 {
                continue;
            }
            entry.references = FREE;
            let (wire, next_hop) = (entry.wire, entry.next_hop);
            let hash = hash(&self.hasher, self.octets.get(wire), next_hop);
            if let Ok(found) = self.index.find_entry(hash, |&other| other == id) {
                found.remove();
            }
            self.octets.remove(wire);
            self.next_hops.remove(next_hop);
            self.free.push(id);
        }
        self.unreferenced = unreferenced;
        if self.index.is_empty() && self.entries.len() > EMPTY_MAX {
            let hasher = std::mem::take(&mut self.hasher);
            *self = Self { hasher, ..Self::default() };
        } else if self.octets.is_sparse() {
            let live = self.entries.iter_mut().filter(|entry| entry.references != FREE);
            self.octets.compact(live.map(|entry| &mut entry.wire));
        }
    }

    /// Our AS or cluster id has changed: recompute what depends on it.
    pub fn set_identity(&mut self, identity: &LoopIdentity, decode: impl Fn(&[u8]) -> PathAttributes) {
        for entry in self.entries.iter_mut().filter(|entry| entry.references != FREE) {
            entry.record = AttrRecord::new(&decode(self.octets.get(entry.wire)), identity).into();
        }
    }

    /// The sets that live, and how often each is referred to.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn references(&self) -> impl Iterator<Item = (AttrId, u32)> + '_ {
        let live = |(id, entry): (usize, &Entry)| {
            (entry.references != FREE).then_some((AttrId(id as u32), entry.references))
        };
        self.entries.iter().enumerate().filter_map(live)
    }

    #[inline]
    fn live(&self, id: AttrId) -> &Entry {
        let entry = &self.entries[id.0 as usize];
        debug_assert!(entry.references != FREE, "an id is only held while its set is live");
        entry
    }
}

fn hash(hasher: &DefaultHashBuilder, wire: &[u8], next_hop: NextHopId) -> u64 {
    hasher.hash_one((wire, next_hop))
}

/// Is this attribute kept beside the canonical bytes instead of in them?
pub fn is_kept_apart(code: AttributeCode) -> bool {
    matches!(code, AttributeCode::NEXT_HOP | AttributeCode::MP_REACH_NLRI | AttributeCode::MP_UNREACH_NLRI)
}
