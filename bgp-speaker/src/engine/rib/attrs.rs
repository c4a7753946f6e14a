//! Interned attribute sets: equal sets are equal ids.
//!
//! A set is kept as canonical wire bytes (ascending type code, canonical flags, four-octet AS numbers, without
//! NEXT_HOP and MP_*), its next hop beside them, and a [`AttrRecord`] of what the decision process reads.
//! Received attribute bytes are looked up before they are parsed: what has been seen is not parsed again.

use bgp_proto::{Asn, AttributeCode, BgpId, Community, NextHop, PathAttributes};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// Id of an interned attribute set. Recycled when the last reference is gone and [`AttrTable::collect`] ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttrId(pub u32);

/// LOCAL_PREF where none is given (RFC 4271 §9.1.1 leaves it to policy; every implementation says 100).
pub const DEFAULT_LOCAL_PREF: u32 = 100;

/// What route selection and re-advertisement need to know of a set without looking at its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttrRecord {
    /// Degree of preference.
    pub local_pref: u32,
    /// AS_PATH length as RFC 4271 §9.1.2.2 a counts it.
    pub as_path_len: u32,
    /// ORIGIN code; lower is better.
    pub origin: u8,
    /// MED; absent counts as 0 (RFC 4271 §9.1.2.2 c).
    pub med: u32,
    /// First AS of the path; `None` if it starts in our own AS.
    pub neighbor_as: Option<Asn>,
    /// ORIGINATOR_ID.
    pub originator: Option<BgpId>,
    /// CLUSTER_LIST length.
    pub cluster_list_len: u32,
    /// Our AS is in the path.
    pub has_own_as: bool,
    /// Our cluster id is in the CLUSTER_LIST.
    pub has_own_cluster: bool,
    /// LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST or AIGP is present: what an external peer may not send.
    pub is_internal: bool,
    /// NO_EXPORT or NO_EXPORT_SUBCONFED (RFC 1997).
    pub no_export: bool,
    /// NO_ADVERTISE (RFC 1997).
    pub no_advertise: bool,
}

/// Who we are, as far as loops go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopIdentity {
    /// Our AS.
    pub asn: Asn,
    /// Our cluster id, on a reflector.
    pub cluster_id: Option<BgpId>,
}

impl AttrRecord {
    /// The record of a decoded set.
    pub fn new(attributes: &PathAttributes, identity: &LoopIdentity) -> Self {
        let path = attributes.as_path.as_ref();
        let has = |community| attributes.communities.contains(&community);
        Self {
            local_pref: attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF),
            as_path_len: path.map_or(0, |path| path.path_len() as u32),
            origin: attributes.origin.map_or(2, |origin| origin as u8),
            med: attributes.med.unwrap_or(0),
            neighbor_as: path.and_then(|path| path.first_asn()),
            originator: attributes.originator_id,
            cluster_list_len: attributes.cluster_list.len() as u32,
            has_own_as: path.is_some_and(|path| path.contains(identity.asn)),
            has_own_cluster: identity.cluster_id.is_some_and(|id| attributes.cluster_list.contains(&id)),
            is_internal: attributes.local_pref.is_some()
                || attributes.originator_id.is_some()
                || !attributes.cluster_list.is_empty()
                || attributes.aigp.is_some(),
            no_export: has(Community::NO_EXPORT) || has(Community::NO_EXPORT_SUBCONFED),
            no_advertise: has(Community::NO_ADVERTISE),
        }
    }
}

/// One interned set.
#[derive(Debug)]
pub struct AttrSet {
    /// Canonical attribute bytes without NEXT_HOP, MP_REACH_NLRI and MP_UNREACH_NLRI.
    pub wire: Box<[u8]>,
    /// The next hop, from whichever attribute carried it. `None`: originated here, the next hop is us.
    pub next_hop: Option<NextHop>,
    /// Decoded summary.
    pub record: AttrRecord,
    pub(super) references: u32,
}

/// All attribute sets of a speaker, over all families. One per speaker.
#[derive(Debug, Default)]
pub struct AttrTable {
    pub(super) sets: Vec<Option<AttrSet>>,
    free: Vec<u32>,
    /// Ids whose count reached zero since the last [`AttrTable::collect`].
    unreferenced: Vec<u32>,
    pub(super) index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    pub(super) wire_bytes: usize,
}

impl AttrTable {
    /// Number of distinct sets.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Heap bytes.
    pub fn memory_bytes(&self) -> usize {
        self.wire_bytes
            + self.sets.capacity() * size_of::<Option<AttrSet>>()
            + (self.free.capacity() + self.unreferenced.capacity()) * 4
            + self.index.allocation_size()
    }

    /// The set of these bytes and this next hop, if it was seen before.
    pub fn find(&self, wire: &[u8], next_hop: Option<NextHop>) -> Option<AttrId> {
        let sets = &self.sets;
        self.index.find(self.hash(wire, next_hop), |&id| is(sets, id, wire, next_hop)).map(|&id| AttrId(id))
    }

    /// Interns a set that [`AttrTable::find`] did not find. It has no reference yet and lives until the next
    /// [`AttrTable::collect`] at least.
    pub fn intern(&mut self, wire: &[u8], next_hop: Option<NextHop>, record: AttrRecord) -> AttrId {
        if let Some(id) = self.find(wire, next_hop) {
            return id;
        }
        let set = AttrSet { wire: wire.into(), next_hop, record, references: 0 };
        self.wire_bytes += wire.len();
        let id = match self.free.pop() {
            Some(id) => {
                self.sets[id as usize] = Some(set);
                id
            }
            None => {
                self.sets.push(Some(set));
                u32::try_from(self.sets.len() - 1).expect("fewer than 2^32 attribute sets fit in memory")
            }
        };
        let hash = self.hash(wire, next_hop);
        let (sets, hasher) = (&self.sets, &self.hasher);
        self.index.insert_unique(hash, id, |&id| {
            let set = live(sets, id);
            hasher.hash_one((&*set.wire, set.next_hop))
        });
        self.unreferenced.push(id);
        AttrId(id)
    }

    /// A live set.
    pub fn set(&self, id: AttrId) -> &AttrSet {
        live(&self.sets, id.0)
    }

    /// One more reference.
    pub fn retain(&mut self, id: AttrId) {
        if let Some(set) = &mut self.sets[id.0 as usize] {
            set.references += 1;
        }
    }

    /// One reference less. The id stays valid until the next [`AttrTable::collect`], so that a change that is
    /// still being worked on can be compared by id.
    pub fn release(&mut self, id: AttrId) {
        if let Some(set) = &mut self.sets[id.0 as usize] {
            set.references -= 1;
            if set.references == 0 {
                self.unreferenced.push(id.0);
            }
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
            let Some(set) = self.sets[id as usize].take_if(|set| set.references == 0) else { continue };
            self.wire_bytes -= set.wire.len();
            if let Ok(entry) = self.index.find_entry(self.hash(&set.wire, set.next_hop), |&other| other == id)
            {
                entry.remove();
            }
            self.free.push(id);
        }
        self.unreferenced = unreferenced;
    }

    /// Our AS or cluster id has changed: recompute what depends on it.
    pub fn set_identity(&mut self, identity: &LoopIdentity, decode: impl Fn(&[u8]) -> PathAttributes) {
        for set in self.sets.iter_mut().flatten() {
            set.record = AttrRecord::new(&decode(&set.wire), identity);
        }
    }

    fn hash(&self, wire: &[u8], next_hop: Option<NextHop>) -> u64 {
        self.hasher.hash_one((wire, next_hop))
    }
}

fn is(sets: &[Option<AttrSet>], id: u32, wire: &[u8], next_hop: Option<NextHop>) -> bool {
    let set = live(sets, id);
    *set.wire == *wire && set.next_hop == next_hop
}

fn live(sets: &[Option<AttrSet>], id: u32) -> &AttrSet {
    sets[id as usize].as_ref().expect("an id is only held while its set is live")
}

/// Is this attribute kept beside the canonical bytes instead of in them?
pub fn is_kept_apart(code: AttributeCode) -> bool {
    matches!(code, AttributeCode::NEXT_HOP | AttributeCode::MP_REACH_NLRI | AttributeCode::MP_UNREACH_NLRI)
}
