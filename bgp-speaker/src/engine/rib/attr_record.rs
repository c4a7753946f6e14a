//! What is known of an attribute set without looking at its bytes.

use bgp_proto::{Asn, BgpId, Community, PathAttributes};

/// LOCAL_PREF where none is given (RFC 4271 §9.1.1 leaves it to policy; every implementation says 100).
pub const DEFAULT_LOCAL_PREF: u32 = 100;

/// What route selection and re-advertisement need to know of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

const HAS_NEIGHBOR_AS: u8 = 1;
const HAS_ORIGINATOR: u8 = 1 << 1;
const HAS_OWN_AS: u8 = 1 << 2;
const HAS_OWN_CLUSTER: u8 = 1 << 3;
const IS_INTERNAL: u8 = 1 << 4;
const NO_EXPORT: u8 = 1 << 5;
const NO_ADVERTISE: u8 = 1 << 6;

/// A record in less than half the space: of a table's memory, much is records.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackedRecord {
    local_pref: u32,
    med: u32,
    neighbor_as: u32,
    originator: u32,
    as_path_len: u16,
    cluster_list_len: u16,
    origin: u8,
    flags: u8,
}

impl From<AttrRecord> for PackedRecord {
    fn from(record: AttrRecord) -> Self {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        // The longest message holds less than 2^15 AS numbers or cluster ids.
        let short = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
        Self {
            local_pref: record.local_pref,
            med: record.med,
            neighbor_as: record.neighbor_as.map_or(0, |asn| asn.0),
            originator: record.originator.map_or(0, |id| id.0),
            as_path_len: short(record.as_path_len),
            cluster_list_len: short(record.cluster_list_len),
            origin: record.origin,
            flags: flag(record.neighbor_as.is_some(), HAS_NEIGHBOR_AS)
                | flag(record.originator.is_some(), HAS_ORIGINATOR)
                | flag(record.has_own_as, HAS_OWN_AS)
                | flag(record.has_own_cluster, HAS_OWN_CLUSTER)
                | flag(record.is_internal, IS_INTERNAL)
                | flag(record.no_export, NO_EXPORT)
                | flag(record.no_advertise, NO_ADVERTISE),
        }
    }
}

impl PackedRecord {
    /// As it was.
    #[inline]
    pub(super) fn unpack(self) -> AttrRecord {
        let has = |flag: u8| self.flags & flag != 0;
        AttrRecord {
            local_pref: self.local_pref,
            as_path_len: u32::from(self.as_path_len),
            origin: self.origin,
            med: self.med,
            neighbor_as: has(HAS_NEIGHBOR_AS).then_some(Asn(self.neighbor_as)),
            originator: has(HAS_ORIGINATOR).then_some(BgpId(self.originator)),
            cluster_list_len: u32::from(self.cluster_list_len),
            has_own_as: has(HAS_OWN_AS),
            has_own_cluster: has(HAS_OWN_CLUSTER),
            is_internal: has(IS_INTERNAL),
            no_export: has(NO_EXPORT),
            no_advertise: has(NO_ADVERTISE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_record_is_small_and_loses_nothing() {
        assert_eq!(size_of::<PackedRecord>(), 24);
        let plain =
            AttrRecord::new(&PathAttributes::default(), &LoopIdentity { asn: Asn(1), cluster_id: None });
        let mut full = plain;
        full.local_pref = u32::MAX;
        full.as_path_len = 16_000;
        (full.origin, full.med, full.cluster_list_len) = (2, 9, 300);
        (full.neighbor_as, full.originator) = (Some(Asn(u32::MAX)), Some(BgpId(0)));
        let flags = [
            |r: &mut AttrRecord| r.has_own_as = true,
            |r: &mut AttrRecord| r.has_own_cluster = true,
            |r: &mut AttrRecord| r.is_internal = true,
            |r: &mut AttrRecord| r.no_export = true,
            |r: &mut AttrRecord| r.no_advertise = true,
        ];
        for record in [plain, full] {
            assert_eq!(PackedRecord::from(record).unpack(), record);
            for set in flags {
                let mut flagged = record;
                set(&mut flagged);
                assert_eq!(PackedRecord::from(flagged).unpack(), flagged);
            }
        }
    }
}
