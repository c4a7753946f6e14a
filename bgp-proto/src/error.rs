//! Errors. A decode error knows the NOTIFICATION that answers it; an attribute error also knows its RFC 7606 action.

mod attribute;

use crate::code_points::{MessageType, NotificationCode, subcode};
use crate::message::Notification;
use crate::types::{AfiSafi, Asn};

pub use attribute::{AttributeError, AttributeErrorReason, AttributeProblem, UpdateErrorAction};

/// The peer sent bytes that are not a BGP message. The session ends with [`notification`](Self::notification).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The marker is not sixteen octets of all ones (RFC 4271 §6.1).
    #[error("the marker is not all ones")]
    ConnectionNotSynchronized,
    /// The length field is below 19, above the session's maximum, or wrong for the type (RFC 4271 §6.1, RFC 8654 §4).
    #[error("bad message length {length}")]
    BadMessageLength {
        /// What the length field said.
        length: u16,
    },
    /// The type octet is unknown (RFC 4271 §6.1).
    #[error("unknown message type {}", kind.0)]
    BadMessageType {
        /// The type octet.
        kind: MessageType,
    },
    /// OPEN with another version than 4 (RFC 4271 §6.2).
    #[error("unsupported BGP version {version}")]
    UnsupportedVersion {
        /// The peer's version.
        version: u8,
    },
    /// OPEN with AS 0 (RFC 4271 §6.2, RFC 7607 §2).
    #[error("unacceptable AS number {asn}")]
    BadPeerAs {
        /// The refused number.
        asn: Asn,
    },
    /// OPEN with BGP identifier 0 (RFC 6286 §2.2).
    #[error("the BGP identifier is zero")]
    BadBgpId,
    /// OPEN with an optional parameter other than Capabilities (RFC 4271 §6.2).
    #[error("unsupported optional parameter {code}")]
    UnsupportedOptionalParameter {
        /// The parameter's type.
        code: u8,
    },
    /// OPEN with a hold time of 1 or 2 seconds (RFC 4271 §6.2).
    #[error("unacceptable hold time of {secs} s")]
    UnacceptableHoldTime {
        /// The refused number of seconds.
        secs: u16,
    },
    /// A field of the OPEN, a parameter or a capability exceeds what encloses it, or leaves octets over.
    #[error("malformed OPEN at octet {offset}: {needed} octets needed, {available} available")]
    MalformedOpen {
        /// Where in the message body.
        offset: usize,
        /// How long the field is.
        needed: usize,
        /// How much room it has.
        available: usize,
    },
    /// The lengths of an UPDATE's three fields contradict the message length (RFC 4271 §6.3).
    #[error("malformed UPDATE at octet {offset}: {needed} octets needed, {available} available")]
    MalformedUpdate {
        /// Where in the message body.
        offset: usize,
        /// How long the field is.
        needed: usize,
        /// How much room it has.
        available: usize,
    },
    /// NLRI or withdrawn routes cannot be split into prefixes (RFC 4271 §6.3, RFC 7606 §3 (i) and (j)).
    #[error("invalid network field: {0}")]
    Nlri(#[from] NlriError),
    /// A path attribute whose error cannot be contained (RFC 7606 §2, "session reset").
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// A BoRR or EoRR message whose length is not 23 (RFC 7313 §5).
    #[error("route refresh demarcation of {} octets", message.len())]
    RouteRefreshLength {
        /// The complete message.
        message: Vec<u8>,
    },
}

impl DecodeError {
    /// The NOTIFICATION for this error, with code, subcode and data as RFC 4271 §6 asks.
    ///
    /// The data never hold anything that was not received, except for what the RFC asks us to state (our version).
    pub fn notification(&self) -> Notification {
        use NotificationCode as Code;
        let new = |code, subcode, data: &[u8]| Notification::with_data(code, subcode, data);
        match self {
            Self::ConnectionNotSynchronized => {
                new(Code::MESSAGE_HEADER_ERROR, subcode::header::CONNECTION_NOT_SYNCHRONIZED, &[])
            }
            Self::BadMessageLength { length } => {
                new(Code::MESSAGE_HEADER_ERROR, subcode::header::BAD_MESSAGE_LENGTH, &length.to_be_bytes())
            }
            Self::BadMessageType { kind } => {
                new(Code::MESSAGE_HEADER_ERROR, subcode::header::BAD_MESSAGE_TYPE, &[kind.0])
            }
            Self::UnsupportedVersion { .. } => {
                // The largest version that we support, in two octets.
                new(Code::OPEN_MESSAGE_ERROR, subcode::open::UNSUPPORTED_VERSION, &[0, 4])
            }
            Self::BadPeerAs { .. } => new(Code::OPEN_MESSAGE_ERROR, subcode::open::BAD_PEER_AS, &[]),
            Self::BadBgpId => new(Code::OPEN_MESSAGE_ERROR, subcode::open::BAD_BGP_ID, &[]),
            Self::UnsupportedOptionalParameter { .. } => {
                new(Code::OPEN_MESSAGE_ERROR, subcode::open::UNSUPPORTED_OPTIONAL_PARAMETER, &[])
            }
            Self::UnacceptableHoldTime { .. } => {
                new(Code::OPEN_MESSAGE_ERROR, subcode::open::UNACCEPTABLE_HOLD_TIME, &[])
            }
            // RFC 4271 §6.2: a recognized but malformed parameter has subcode 0.
            Self::MalformedOpen { .. } => new(Code::OPEN_MESSAGE_ERROR, subcode::UNSPECIFIC, &[]),
            Self::MalformedUpdate { .. } => {
                new(Code::UPDATE_MESSAGE_ERROR, subcode::update::MALFORMED_ATTRIBUTE_LIST, &[])
            }
            Self::Nlri(_) => new(Code::UPDATE_MESSAGE_ERROR, subcode::update::INVALID_NETWORK_FIELD, &[]),
            Self::Attribute(error) => error.notification(),
            Self::RouteRefreshLength { message } => new(
                Code::ROUTE_REFRESH_MESSAGE_ERROR,
                subcode::route_refresh::INVALID_MESSAGE_LENGTH,
                message,
            ),
        }
    }
}

/// NLRI that cannot be split into prefixes: what follows the error is lost, what precedes it is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NlriError {
    /// The prefix length exceeds the family's (RFC 7606 §5.3).
    #[error("prefix of {bits} bits at octet {offset}, at most {max} allowed")]
    PrefixTooLong {
        /// Where in the field.
        offset: usize,
        /// The length octet.
        bits: u8,
        /// The most bits of the family: 32 and 128 for prefixes.
        max: u8,
    },
    /// The length has no room for the label, route distinguisher or origin AS that the family's NLRI begin with.
    #[error("NLRI of {bits} bits at octet {offset}, at least {min} needed")]
    PrefixTooShort {
        /// Where in the field.
        offset: usize,
        /// The length octet.
        bits: u8,
        /// The fewest bits of the family.
        min: u8,
    },
    /// The field ends within a path identifier or prefix.
    #[error("truncated prefix at octet {offset}: {needed} octets needed, {available} available")]
    Truncated {
        /// Where in the field.
        offset: usize,
        /// How long the entry is, as far as it could be read.
        needed: usize,
        /// How many octets were left.
        available: usize,
    },
    /// The family's NLRI are not prefixes that this crate can split.
    #[error("unsupported family {family}")]
    UnsupportedFamily {
        /// The family.
        family: AfiSafi,
    },
}

/// Outbound route filters that cannot be split (RFC 5291 §5): the rest of them is lost, the request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("malformed outbound route filter at octet {offset}: {needed} octets needed, {available} available")]
pub struct FilterError {
    /// Where the block starts, after the octet that says when to refresh.
    pub offset: usize,
    /// How long the field is.
    pub needed: usize,
    /// How much room it has.
    pub available: usize,
}

/// A value that has no wire form. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The message exceeds what the session, or the message's type, allows.
    #[error("message of {length} octets, at most {max} allowed")]
    MessageTooLong {
        /// Octets that the message would have.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// A capability's value exceeds 255 octets.
    #[error("capability {code} of {length} octets, at most 255 allowed")]
    CapabilityTooLong {
        /// The capability's code.
        code: u8,
        /// The length of its value.
        length: usize,
    },
    /// The OPEN's AS number is not the one in its four-octet AS capability, or needs one and has none (RFC 6793 §4.1).
    #[error("AS {asn} is not carried by the four-octet AS capability")]
    AsnNotCarried {
        /// The AS number.
        asn: Asn,
    },
    /// A prefix or next hop is not of the family that its field carries.
    #[error("a prefix or next hop is not of family {family}")]
    FamilyMismatch {
        /// The field's family.
        family: AfiSafi,
    },
    /// A path identifier is missing although the session sends them for the family, or there although it does not.
    #[error("path identifiers of {family} do not match the session")]
    PathIdMismatch {
        /// The family.
        family: AfiSafi,
    },
}
