//! A digest of path attributes that is equal for every faithful reflection.
//!
//! Order and flags do not count, and neither do ORIGINATOR_ID and CLUSTER_LIST, which a reflector adds, nor a MED of 0, which
//! means the same as none (RFC 4271 §9.1.2.2) and which FRR sends for it. Not meant against malice: it tells apart what a
//! daemon mixes up.

/// Type codes of RFC 4271, 4456 and 4760.
const MULTI_EXIT_DISC: u8 = 4;
const ORIGINATOR_ID: u8 = 9;
const CLUSTER_LIST: u8 = 10;
const MP_REACH_NLRI: u8 = 14;
const MP_UNREACH_NLRI: u8 = 15;

/// The digest of a block of path attributes; nothing if the block is malformed.
///
/// It is never [`ABSENT`]. The attributes that carry prefixes do not count either: they are no part of a route's value.
#[must_use]
pub fn digest(attributes: &[u8]) -> Option<u32> {
    let mut sum = 0_u64;
    for attribute in Attributes(attributes) {
        let (code, value) = attribute?;
        let is_zero_med = code == MULTI_EXIT_DISC && value == [0; 4];
        if !is_zero_med && !matches!(code, ORIGINATOR_ID | CLUSTER_LIST | MP_REACH_NLRI | MP_UNREACH_NLRI) {
            sum = sum.wrapping_add(hash(code, value));
        }
    }
    let folded = u32::try_from(sum >> 32).expect("the upper half");
    Some(folded.max(1))
}

/// The digest of a route that must not be there.
pub const ABSENT: u32 = 0;

/// Iterates over (type code, value); ends with nothing where the block is malformed.
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Option<(u8, &'a [u8])>;

    fn next(&mut self) -> Option<Option<(u8, &'a [u8])>> {
        if self.0.is_empty() {
            return None;
        }
        let attribute = self.split();
        if attribute.is_none() {
            self.0 = &[];
        }
        Some(attribute)
    }
}

impl<'a> Attributes<'a> {
    fn split(&mut self) -> Option<(u8, &'a [u8])> {
        let ([flags, code, length], rest) = self.0.split_first_chunk::<3>()?;
        let (length, rest) = if flags & 0x10 == 0 {
            (usize::from(*length), rest)
        } else {
            let (low, rest) = rest.split_first()?;
            (usize::from(u16::from_be_bytes([*length, *low])), rest)
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*code, value))
    }
}

/// Eight bytes at a time, multiply and fold.
fn hash(code: u8, value: &[u8]) -> u64 {
    let mut state = u64::from(code) << 16 ^ value.len() as u64 ^ 0x51_7c_c1_b7_27_22_0a_95;
    let (words, rest) = value.as_chunks::<8>();
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(fold(state ^ u64::from_le_bytes(last)))
}

fn fold(word: u64) -> u64 {
    let product = u128::from(word ^ 0x9e37_79b9_7f4a_7c15) * 0xa076_1d64_78bd_642f_u128;
    let bytes = product.to_le_bytes();
    let (halves, _) = bytes.as_chunks::<8>();
    u64::from_le_bytes(halves[0]) ^ u64::from_le_bytes(halves[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::attribute;

    #[test]
    fn what_a_reflector_adds_or_reorders_does_not_count_and_the_rest_does() {
        let (origin, med) = (attribute(0x40, 1, &[0]), attribute(0x80, 4, &[0, 0, 0, 9]));
        let sent = [origin.clone(), med.clone()].concat();
        let reflected =
            [med, attribute(0x80, 9, &[1; 4]), attribute(0x80, 10, &[2; 8]), attribute(0xc0, 1, &[0])]
                .concat();
        assert_eq!(digest(&sent), digest(&reflected));
        let other = [origin.clone(), attribute(0x80, 4, &[0, 0, 0, 8])].concat();
        assert_ne!(digest(&sent), digest(&other));
        let with_zero_med = [attribute(0x80, 4, &[0; 4]), origin.clone()].concat();
        assert_eq!(digest(&with_zero_med), digest(&origin));
        assert_eq!(digest(&sent[..sent.len() - 1]), None);
        assert_ne!(digest(&[]), Some(ABSENT));
    }
}
