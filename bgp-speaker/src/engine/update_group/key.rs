//! What makes two sessions' UPDATE bytes differ, and nothing else.

use crate::config::{Family, NextHopMode};
use crate::engine::next_hop::SelfAddresses;
use crate::engine::policy::Policy;
use crate::engine::readvertise::Relation;
use bgp_proto::{Asn, SessionParams};
use std::num::NonZeroU8;

/// Identity of an update group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupKey {
    /// Of the prefixes.
    pub family: Family,
    /// What its members are to us.
    pub relation: Relation,
    /// Our AS towards them.
    pub local_as: Asn,
    /// Next-hop rule.
    pub next_hop: NextHopMode,
    /// Our addresses, for next hop self.
    pub own: SelfAddresses,
    /// Export policy.
    pub export: Policy,
    /// AS numbers have four octets.
    pub four_octet_as: bool,
    /// RFC 8950 for this family.
    pub extended_next_hop: bool,
    /// Present: members take path identifiers (RFC 7911), and are told so many paths of a prefix at most.
    pub add_paths: Option<NonZeroU8>,
    /// Longest message.
    pub message_len_max: usize,
}

impl GroupKey {
    /// The codec's context for members of this group.
    pub fn params(&self) -> SessionParams {
        let mut params = SessionParams {
            four_octet_as: self.four_octet_as,
            extended_messages: self.message_len_max > bgp_proto::MAX_LEN,
            ..super::super::wire::canonical_params()
        };
        if self.extended_next_hop {
            params.extended_next_hop.insert(self.family.afi_safi());
        }
        if self.add_paths.is_some() {
            params.add_path_rx.insert(self.family.afi_safi());
            params.add_path_tx.insert(self.family.afi_safi());
        }
        params
    }
}
