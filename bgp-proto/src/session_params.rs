//! What a session negotiated: the context that decoding and encoding need.

use crate::message::{MAX_EXTENDED_LEN, MAX_LEN};
use crate::types::{AfiSafi, FamilySet};

/// Whether the peer is in our AS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerType {
    /// Another AS (eBGP).
    #[default]
    External,
    /// Our AS (iBGP).
    Internal,
}

/// The part of the negotiation that changes how bytes are read and written. One per session, fixed for its life.
///
/// Nothing here is ever guessed from the bytes: the two ends compare their OPENs, and both obey the outcome.
/// The default is a plain external session without any capability.
///
/// ```
/// use bgp_proto::{AfiSafi, FamilySet, PeerType, SessionParams};
///
/// let params = SessionParams {
///     peer_type: PeerType::Internal,
///     four_octet_as: true,
///     add_path_rx: FamilySet::from([AfiSafi::IPV4_UNICAST]),
///     ..SessionParams::default()
/// };
/// assert!(params.add_path_rx(AfiSafi::IPV4_UNICAST));
/// assert!(!params.add_path_tx(AfiSafi::IPV4_UNICAST));
/// assert_eq!(params.max_message_len(), 4096);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionParams {
    /// Internal or external; decides which attributes may come in (RFC 7606 §7).
    pub peer_type: PeerType,
    /// Both ends sent the four-octet AS capability (RFC 6793).
    pub four_octet_as: bool,
    /// Both ends sent the extended message capability (RFC 8654).
    pub extended_messages: bool,
    /// Families whose received NLRI carry a path identifier (RFC 7911): we receive, the peer sends.
    pub add_path_rx: FamilySet,
    /// Families whose sent NLRI carry a path identifier (RFC 7911): we send, the peer receives.
    pub add_path_tx: FamilySet,
    /// Families of IPv4 NLRI that may have an IPv6 next hop (RFC 8950).
    pub extended_next_hop: FamilySet,
}

impl SessionParams {
    /// True if received NLRI of the family carry a path identifier.
    pub fn add_path_rx(&self, family: AfiSafi) -> bool {
        self.add_path_rx.contains(family)
    }

    /// True if sent NLRI of the family carry a path identifier.
    pub fn add_path_tx(&self, family: AfiSafi) -> bool {
        self.add_path_tx.contains(family)
    }

    /// True if IPv4 NLRI of the family may have an IPv6 next hop.
    pub fn extended_next_hop(&self, family: AfiSafi) -> bool {
        self.extended_next_hop.contains(family)
    }

    /// The longest message of the session: 4096 octets, or 65535 with extended messages (RFC 8654 §4).
    ///
    /// OPEN and KEEPALIVE stay within 4096 either way.
    pub fn max_message_len(&self) -> usize {
        if self.extended_messages { MAX_EXTENDED_LEN } else { MAX_LEN }
    }
}
