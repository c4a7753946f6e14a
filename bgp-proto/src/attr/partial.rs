//! Which attributes are Partial.

use core::fmt;

use crate::code_points::AttributeCode;

/// A set of type codes below 64, which all attributes are that this crate reads.
///
/// ```
/// use bgp_proto::{AttributeCode, PartialSet};
///
/// let mut set = PartialSet::default();
/// set.insert(AttributeCode::COMMUNITIES);
/// assert!(set.contains(AttributeCode::COMMUNITIES));
/// assert!(!set.contains(AttributeCode::AGGREGATOR));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PartialSet(u64);

impl PartialSet {
    /// Adds a type code; one of 64 or more is not added.
    pub fn insert(&mut self, code: AttributeCode) {
        self.0 |= bit(code);
    }

    /// True if the type code is in the set.
    pub fn contains(self, code: AttributeCode) -> bool {
        self.0 & bit(code) != 0
    }

    /// True without any.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The type codes, ascending.
    pub fn iter(self) -> impl Iterator<Item = AttributeCode> {
        (0..64).map(AttributeCode).filter(move |code| self.contains(*code))
    }
}

fn bit(code: AttributeCode) -> u64 {
    if code.0 < 64 { 1 << code.0 } else { 0 }
}

impl fmt::Debug for PartialSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<AttributeCode> for PartialSet {
    fn from_iter<I: IntoIterator<Item = AttributeCode>>(codes: I) -> Self {
        PartialSet(codes.into_iter().fold(0, |set, code| set | bit(code)))
    }
}
