//! RFC 7606 as one table: a row per attribute that this crate reads.

use crate::code_points::{AttributeCode, AttributeFlags};
use crate::error::UpdateErrorAction;
use crate::session_params::{PeerType, SessionParams};

/// What is right for one attribute, and what happens when it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttributeRule {
    /// The type code.
    pub code: AttributeCode,
    /// The Optional and Transitive bits that it must have. A conflict is treat-as-withdraw (RFC 7606 §3 (c)).
    pub flags: AttributeFlags,
    /// How long its value may be.
    pub length: LengthRule,
    /// What happens if its length or value is malformed.
    pub malformed: UpdateErrorAction,
    /// Where it may come from; elsewhere it is discarded unread.
    pub accepted: Acceptance,
    /// The section that says so.
    pub rfc: &'static str,
}

/// How long an attribute's value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LengthRule {
    /// Anything; the value has a structure of its own.
    Any,
    /// So many octets.
    Exactly(usize),
    /// At least so many octets; the value has a structure of its own.
    AtLeast(usize),
    /// A multiple of so many octets, and not zero.
    NonZeroMultipleOf(usize),
    /// Six octets with two-octet AS numbers, eight with four-octet ones.
    SixOrEightByAs,
}

/// The sessions on which an attribute is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acceptance {
    /// All of them.
    Everywhere,
    /// Internal ones.
    InternalOnly,
    /// Those with two-octet AS numbers.
    TwoOctetAsOnly,
}

impl AttributeRule {
    /// True if the attribute may come from this peer.
    pub fn is_accepted(&self, params: &SessionParams) -> bool {
        match self.accepted {
            Acceptance::Everywhere => true,
            Acceptance::InternalOnly => params.peer_type == PeerType::Internal,
            Acceptance::TwoOctetAsOnly => !params.four_octet_as,
        }
    }
}

impl LengthRule {
    /// `Err` with the next length that would be right.
    pub(crate) fn check(self, len: usize, params: &SessionParams) -> Result<(), usize> {
        let expected = match self {
            LengthRule::Any => len,
            LengthRule::Exactly(expected) => expected,
            LengthRule::AtLeast(least) => len.max(least),
            LengthRule::NonZeroMultipleOf(unit) => len.max(1).next_multiple_of(unit.max(1)),
            LengthRule::SixOrEightByAs if params.four_octet_as => 8,
            LengthRule::SixOrEightByAs => 6,
        };
        if len == expected { Ok(()) } else { Err(expected) }
    }
}

/// The table, ascending by type code. Attributes without a row are carried or dropped unread, by their flags.
pub fn attribute_rules() -> &'static [AttributeRule] {
    RULES
}

/// The row of an attribute.
#[inline]
pub(crate) fn rule(code: AttributeCode) -> Option<&'static AttributeRule> {
    RULES.iter().find(|rule| rule.code == code)
}

const WELL_KNOWN: AttributeFlags = AttributeFlags::WELL_KNOWN;
const TRANSITIVE: AttributeFlags = AttributeFlags::OPTIONAL_TRANSITIVE;
const NON_TRANSITIVE: AttributeFlags = AttributeFlags::OPTIONAL;

#[rustfmt::skip]
const RULES: &[AttributeRule] = {
    use AttributeCode as Code;
    use Acceptance::{Everywhere, InternalOnly, TwoOctetAsOnly};
    use LengthRule::{Any, AtLeast, Exactly, NonZeroMultipleOf, SixOrEightByAs};
    use UpdateErrorAction::{AttributeDiscard as Discard, SessionReset as Reset, TreatAsWithdraw as Withdraw};
    &[
        row(Code::ORIGIN,               WELL_KNOWN,     Exactly(1),            Withdraw, Everywhere,     "RFC 7606 §7.1"),
        row(Code::AS_PATH,              WELL_KNOWN,     Any,                   Withdraw, Everywhere,     "RFC 7606 §7.2"),
        row(Code::NEXT_HOP,             WELL_KNOWN,     Exactly(4),            Withdraw, Everywhere,     "RFC 7606 §7.3"),
        row(Code::MED,                  NON_TRANSITIVE, Exactly(4),            Withdraw, Everywhere,     "RFC 7606 §7.4"),
        row(Code::LOCAL_PREF,           WELL_KNOWN,     Exactly(4),            Withdraw, InternalOnly,   "RFC 7606 §7.5"),
        row(Code::ATOMIC_AGGREGATE,     WELL_KNOWN,     Exactly(0),            Discard,  Everywhere,     "RFC 7606 §7.6"),
        row(Code::AGGREGATOR,           TRANSITIVE,     SixOrEightByAs,        Discard,  Everywhere,     "RFC 7606 §7.7"),
        row(Code::COMMUNITIES,          TRANSITIVE,     NonZeroMultipleOf(4),  Withdraw, Everywhere,     "RFC 7606 §7.8"),
        row(Code::ORIGINATOR_ID,        NON_TRANSITIVE, Exactly(4),            Withdraw, InternalOnly,   "RFC 7606 §7.9"),
        row(Code::CLUSTER_LIST,         NON_TRANSITIVE, NonZeroMultipleOf(4),  Withdraw, InternalOnly,   "RFC 7606 §7.10"),
        row(Code::MP_REACH_NLRI,        NON_TRANSITIVE, AtLeast(5),            Reset,    Everywhere,     "RFC 7606 §7.11"),
        row(Code::MP_UNREACH_NLRI,      NON_TRANSITIVE, AtLeast(3),            Reset,    Everywhere,     "RFC 7606 §7.12"),
        row(Code::EXTENDED_COMMUNITIES, TRANSITIVE,     NonZeroMultipleOf(8),  Withdraw, Everywhere,     "RFC 7606 §7.14"),
        row(Code::AS4_PATH,             TRANSITIVE,     Any,                   Discard,  TwoOctetAsOnly, "RFC 6793 §6"),
        row(Code::AS4_AGGREGATOR,       TRANSITIVE,     Exactly(8),            Discard,  TwoOctetAsOnly, "RFC 6793 §6"),
        row(Code::IPV6_EXTENDED_COMMUNITIES, TRANSITIVE, NonZeroMultipleOf(20), Withdraw, Everywhere,    "RFC 7606 §7.15"),
        row(Code::AIGP,                 NON_TRANSITIVE, Any,                   Discard,  InternalOnly,   "RFC 7311 §3.2"),
        row(Code::LARGE_COMMUNITIES,    TRANSITIVE,     NonZeroMultipleOf(12), Withdraw, Everywhere,     "RFC 8092 §6"),
        row(Code::OTC,                  TRANSITIVE,     Exactly(4),            Withdraw, Everywhere,     "RFC 9234 §5"),
    ]
};

const fn row(
    code: AttributeCode,
    flags: AttributeFlags,
    length: LengthRule,
    malformed: UpdateErrorAction,
    accepted: Acceptance,
    rfc: &'static str,
) -> AttributeRule {
    AttributeRule { code, flags, length, malformed, accepted, rfc }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_ascend_without_duplicates() {
        assert!(RULES.is_sorted_by(|a, b| a.code < b.code));
    }

    #[test]
    fn length_rules() {
        let two = SessionParams::default();
        let four = SessionParams { four_octet_as: true, ..SessionParams::default() };
        for (rule, len, params, expected) in [
            (LengthRule::Any, 0, &two, Ok(())),
            (LengthRule::Exactly(4), 4, &two, Ok(())),
            (LengthRule::Exactly(4), 5, &two, Err(4)),
            (LengthRule::AtLeast(3), 2, &two, Err(3)),
            (LengthRule::AtLeast(3), 30, &two, Ok(())),
            (LengthRule::NonZeroMultipleOf(4), 0, &two, Err(4)),
            (LengthRule::NonZeroMultipleOf(4), 6, &two, Err(8)),
            (LengthRule::NonZeroMultipleOf(4), 8, &two, Ok(())),
            (LengthRule::SixOrEightByAs, 6, &two, Ok(())),
            (LengthRule::SixOrEightByAs, 6, &four, Err(8)),
        ] {
            assert_eq!(rule.check(len, params), expected, "{rule:?} of {len}");
        }
    }
}
