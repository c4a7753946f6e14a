//! Path attributes: found in the block, judged by one table, decoded into values, written again.

mod aigp;
mod as_path;
mod decode;
mod encode;
mod mp;
mod next_hop;
mod partial;
mod raw;
mod table;

use bytes::Bytes;

use crate::code_points::{AttributeCode, AttributeFlags};
use crate::types::{Asn, BgpId, Community, ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity};
use std::net::Ipv4Addr;

pub use aigp::Aigp;
pub use as_path::{AsPath, AsPathSegment, AsPathSegmentKind};
pub use decode::{AttributesReport, MAX_PROBLEMS, MandatoryNeeds, decode_attributes};
pub use encode::{put_attribute, put_attribute_header};
pub use mp::{MpNlri, MpReach, MpReachView, MpUnreach, MpUnreachView};
pub use next_hop::{NextHop, OpaqueNextHop};
pub use partial::PartialSet;
pub use raw::{RawAttribute, RawAttributes};
pub use table::{Acceptance, AttributeRule, LengthRule, attribute_rules};

pub(crate) use mp::{announces_anything, fits, put_prefixes, read_prefixes};
pub(crate) use table::rule;

/// How the first speaker learned the route (RFC 4271 §5.1.1). Lower is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// Interior to the originating AS.
    Igp = 0,
    /// Learned by EGP (RFC 904).
    Egp = 1,
    /// Learned otherwise.
    Incomplete = 2,
}

impl core::fmt::Display for Origin {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Origin::Igp => "igp",
            Origin::Egp => "egp",
            Origin::Incomplete => "incomplete",
        })
    }
}

/// Who aggregated the route (RFC 4271 §5.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aggregator {
    /// Its AS.
    pub asn: Asn,
    /// Its address, usually its BGP identifier.
    pub address: Ipv4Addr,
}

/// An attribute that this crate carries without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnknownAttribute {
    /// Optional, Transitive and, as for every attribute that we received and did not recognize, Partial.
    pub flags: AttributeFlags,
    /// The type code.
    pub code: AttributeCode,
    /// The value, at most 65535 octets.
    pub value: Bytes,
}

/// The attributes of a route, without MP_REACH_NLRI and MP_UNREACH_NLRI, which belong to one UPDATE.
///
/// AS_PATH and AGGREGATOR hold four-octet numbers on every session: what two-octet neighbours put into AS4_PATH and
/// AS4_AGGREGATOR is merged in (RFC 6793 §4.2.3) and split off again when encoding.
///
/// ```
/// use bgp_proto::{AsPath, Asn, MandatoryNeeds, Origin, PathAttributes, SessionParams, decode_attributes};
/// use bytes::BytesMut;
///
/// let params = SessionParams { four_octet_as: true, ..SessionParams::default() };
/// let attributes = PathAttributes {
///     origin: Some(Origin::Igp),
///     as_path: Some(AsPath::sequence([Asn(64512), Asn(4_200_000_000)])),
///     next_hop: Some("192.0.2.1".parse()?),
///     communities: vec!["64512:100".parse()?],
///     ..PathAttributes::default()
/// };
/// let mut block = BytesMut::new();
/// attributes.encode(&params, &mut block);
///
/// let needs = MandatoryNeeds { has_nlri: true, has_classic_nlri: true };
/// let report = decode_attributes(&block, &params, needs);
/// assert_eq!(report.attributes, attributes);
/// assert_eq!(report.action, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PathAttributes {
    /// ORIGIN.
    pub origin: Option<Origin>,
    /// AS_PATH. An empty path is a path: a route of our own AS on an internal session.
    pub as_path: Option<AsPath>,
    /// NEXT_HOP; belongs to the classic NLRI field.
    pub next_hop: Option<Ipv4Addr>,
    /// MULTI_EXIT_DISC. Lower is preferred.
    pub med: Option<u32>,
    /// LOCAL_PREF. Higher is preferred; only on internal sessions.
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE is there.
    pub atomic_aggregate: bool,
    /// AGGREGATOR.
    pub aggregator: Option<Aggregator>,
    /// COMMUNITIES in the order received.
    pub communities: Vec<Community>,
    /// ORIGINATOR_ID; only on internal sessions.
    pub originator_id: Option<BgpId>,
    /// CLUSTER_LIST, nearest reflector first; only on internal sessions.
    pub cluster_list: Vec<BgpId>,
    /// EXTENDED_COMMUNITIES in the order received.
    pub extended_communities: Vec<ExtendedCommunity>,
    /// IPV6_EXTENDED_COMMUNITIES in the order received (RFC 5701).
    pub ipv6_extended_communities: Vec<Ipv6ExtendedCommunity>,
    /// AIGP; only on internal sessions, and never to be sent to an external one (RFC 7311 §3.4).
    pub aigp: Option<Aigp>,
    /// LARGE_COMMUNITIES in the order received, duplicates removed (RFC 8092 §5).
    pub large_communities: Vec<LargeCommunity>,
    /// OTC: the AS from which on the route goes to customers only (RFC 9234 §5).
    pub otc: Option<Asn>,
    /// Which of the above came with the Partial bit, which nobody may clear (RFC 4271 §5).
    pub partial: PartialSet,
    /// Optional transitive attributes that are not recognized, ascending by type code, one of each.
    pub unknown: Vec<UnknownAttribute>,
}
