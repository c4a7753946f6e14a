//! Errors of path attributes, and what RFC 7606 makes of them.

use crate::attr::rule;
use crate::code_points::{AttributeCode, AttributeFlags, NotificationCode, subcode};
use crate::error::NlriError;
use crate::message::Notification;
use crate::types::AfiSafi;

/// What becomes of an UPDATE with an error, from weakest to strongest (RFC 7606 §2). The strongest one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UpdateErrorAction {
    /// The attribute is dropped, the rest of the UPDATE stands.
    AttributeDiscard,
    /// The announced routes are handled as withdrawn.
    TreatAsWithdraw,
    /// The family's routes are withdrawn and its further UPDATEs ignored.
    AfiSafiDisable,
    /// The session ends with a NOTIFICATION.
    SessionReset,
}

/// An error together with what has to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeProblem {
    /// What is wrong, and where.
    pub error: AttributeError,
    /// What becomes of the UPDATE. It can exceed the error's own action, see RFC 7606 §5.2.
    pub action: UpdateErrorAction,
}

/// One path attribute is malformed, misplaced or missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} at octet {offset}: {reason}")]
pub struct AttributeError {
    /// The attribute's type code; [`AttributeCode::RESERVED`] if the block ends before one.
    pub code: AttributeCode,
    /// Where the attribute starts in the attribute block; its end if the attribute is missing.
    pub offset: usize,
    /// What is wrong.
    pub reason: AttributeErrorReason,
    /// The attribute's type, length and value as received, as far as received.
    pub received: Box<[u8]>,
}

/// What is wrong with a path attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AttributeErrorReason {
    /// The attribute exceeds the attribute block (RFC 7606 §4).
    #[error("{needed} octets needed, {available} available")]
    Overrun {
        /// Octets of the attribute, as far as its header could be read.
        needed: usize,
        /// Octets left in the block.
        available: usize,
    },
    /// The Optional and Transitive bits contradict the type code (RFC 7606 §3 (c)).
    #[error("flags {found:?} where {expected:?} is required")]
    Flags {
        /// The flags as received.
        found: AttributeFlags,
        /// The two bits as they should be.
        expected: AttributeFlags,
    },
    /// The length contradicts the type code, or a length inside contradicts the one around it.
    #[error("{needed} octets needed, {available} available")]
    Length {
        /// The length that the rule, or an inner length field, asks for.
        needed: usize,
        /// The length that is there.
        available: usize,
    },
    /// The attribute appears again (RFC 7606 §3 (g)).
    #[error("repeated attribute")]
    Duplicate,
    /// A mandatory attribute is absent (RFC 7606 §3 (d)).
    #[error("missing mandatory attribute")]
    Missing,
    /// The attribute claims to be well-known, and is not known (RFC 4271 §6.3).
    #[error("unrecognized well-known attribute")]
    UnrecognizedWellKnown,
    /// The attribute has no place on a session of this kind (RFC 7606 §7.5, §7.9, §7.10; RFC 6793 §6).
    #[error("not allowed on this session")]
    NotAllowed,
    /// ORIGIN is neither 0, 1 nor 2.
    #[error("undefined origin {value}")]
    InvalidOrigin {
        /// The value.
        value: u8,
    },
    /// The next hop is not a host address.
    #[error("the next hop is not a host address")]
    InvalidNextHop,
    /// The next hop's length does not fit the family (RFC 7606 §7.11).
    #[error("next hop of {length} octets for {family}")]
    NextHopLength {
        /// The family.
        family: AfiSafi,
        /// The length field.
        length: u8,
    },
    /// AS_PATH has a segment of an undefined type, or one that the peer may not send (RFC 5065 §5).
    #[error("unacceptable path segment type {value}")]
    SegmentType {
        /// The segment's type.
        value: u8,
    },
    /// AS_PATH has a segment without any AS (RFC 7606 §7.2).
    #[error("empty path segment")]
    EmptySegment,
    /// AS 0 (RFC 7607 §2).
    #[error("AS 0")]
    AsZero,
    /// NLRI in MP_REACH_NLRI or MP_UNREACH_NLRI cannot be split into prefixes (RFC 7606 §5.3).
    #[error(transparent)]
    Nlri(#[from] NlriError),
}

impl AttributeError {
    pub(crate) fn missing(code: AttributeCode, offset: usize) -> Self {
        AttributeError { code, offset, reason: AttributeErrorReason::Missing, received: Box::default() }
    }

    /// What RFC 7606 asks for, from the attribute table.
    ///
    /// In an UPDATE that announces nothing, [`decode_attributes`](crate::decode_attributes) raises it (§5.2).
    pub fn action(&self) -> UpdateErrorAction {
        use AttributeErrorReason as Reason;
        let is_mp = matches!(self.code, AttributeCode::MP_REACH_NLRI | AttributeCode::MP_UNREACH_NLRI);
        match self.reason {
            Reason::UnrecognizedWellKnown => UpdateErrorAction::SessionReset,
            // §3 (g): twice the routes is twice the ambiguity; anything else, the first one counts.
            Reason::Duplicate if is_mp => UpdateErrorAction::SessionReset,
            Reason::Duplicate | Reason::NotAllowed => UpdateErrorAction::AttributeDiscard,
            // RFC 7606 §7.3 says so for NEXT_HOP; in MP_REACH_NLRI the prefixes are as sound.
            Reason::InvalidNextHop => UpdateErrorAction::TreatAsWithdraw,
            // RFC 4760 §7: a family that was never agreed upon is ignored, and harms no other.
            Reason::Nlri(NlriError::UnsupportedFamily { .. }) => UpdateErrorAction::AfiSafiDisable,
            // §4 and §3 (c), (d).
            Reason::Overrun { .. } | Reason::Flags { .. } | Reason::Missing => {
                UpdateErrorAction::TreatAsWithdraw
            }
            _ => rule(self.code).map_or(UpdateErrorAction::TreatAsWithdraw, |rule| rule.malformed),
        }
    }

    /// The NOTIFICATION, should the session end for this (RFC 4271 §6.3).
    pub fn notification(&self) -> Notification {
        use AttributeErrorReason as Reason;
        let optional = rule(self.code).is_some_and(|rule| rule.flags.contains(AttributeFlags::OPTIONAL));
        let (code, data): (u8, &[u8]) = match self.reason {
            Reason::Overrun { .. } | Reason::Duplicate => (subcode::update::MALFORMED_ATTRIBUTE_LIST, &[]),
            Reason::UnrecognizedWellKnown => (subcode::update::UNRECOGNIZED_WELL_KNOWN, &self.received),
            Reason::Missing => (subcode::update::MISSING_WELL_KNOWN, &[self.code.0]),
            Reason::Flags { .. } => (subcode::update::ATTRIBUTE_FLAGS, &self.received),
            Reason::InvalidOrigin { .. } => (subcode::update::INVALID_ORIGIN, &self.received),
            Reason::Nlri(_) => (subcode::update::INVALID_NETWORK_FIELD, &[]),
            Reason::NextHopLength { .. } | Reason::NotAllowed => {
                (subcode::update::OPTIONAL_ATTRIBUTE, &self.received)
            }
            Reason::InvalidNextHop if optional => (subcode::update::OPTIONAL_ATTRIBUTE, &self.received),
            Reason::InvalidNextHop => (subcode::update::INVALID_NEXT_HOP, &self.received),
            _ if self.code == AttributeCode::AS_PATH => (subcode::update::MALFORMED_AS_PATH, &[]),
            Reason::Length { .. } => (subcode::update::ATTRIBUTE_LENGTH, &self.received),
            Reason::AsZero | Reason::EmptySegment | Reason::SegmentType { .. } => {
                (subcode::update::OPTIONAL_ATTRIBUTE, &self.received)
            }
        };
        Notification::with_data(NotificationCode::UPDATE_MESSAGE_ERROR, code, data)
    }
}
