//! Prefixes with numbers: from number to prefix and back by arithmetic alone, so that a receiver needs no table.
//!
//! Per prefix length, numbers are spread over the length's part of the address space by an invertible mixing function;
//! four neighbours stay together, as deaggregated blocks do. The result looks like the Internet's table to a daemon
//! (lengths, nesting, scattered addresses) and costs the generator a multiplication.

use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// Prefixes numbered from 0, IPv4, all different.
#[derive(Clone, Debug)]
pub struct PrefixSpace {
    /// One row per prefix length; rows without prefixes have a count of 0.
    rows: [Row; 33],
    count: usize,
}

/// All prefixes of one length.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    base: u32,
    /// Number of the first.
    first: u32,
    count: u32,
    /// The blocks that may be used: two to this power.
    bits: u32,
}

/// Where the prefixes of an Internet-like table are: half of what is routed, free of reserved blocks at the edges.
const INTERNET_BASE: u32 = 128 << 24;
const INTERNET_LENGTH: u32 = 2;

/// Prefixes per million and length, after the table of 2025 (potaroo.net); the rest are /24.
const LENGTHS: [(u32, u64); 14] = [
    (10, 40),
    (11, 100),
    (12, 300),
    (13, 600),
    (14, 1_200),
    (15, 2_000),
    (16, 13_500),
    (17, 8_000),
    (18, 14_000),
    (19, 26_000),
    (20, 46_000),
    (21, 52_000),
    (22, 115_000),
    (23, 101_000),
];

impl PrefixSpace {
    /// As many prefixes as wanted, with the lengths of the Internet's table; at most 4 million.
    ///
    /// # Panics
    /// If there are more.
    #[must_use]
    pub fn internet_like(count: usize) -> PrefixSpace {
        let wanted = u32::try_from(count).expect("fewer prefixes than addresses");
        let mut rows = [Row::default(); 33];
        let mut first = 0;
        for (length, per_million) in LENGTHS {
            let bits = length - INTERNET_LENGTH;
            let share = u64::from(wanted) * per_million / 1_000_000;
            // A short length has too few blocks for a big table.
            let count = u32::try_from(share).expect("a part of the whole").min((1 << bits) / 8 * 7);
            rows[length as usize] = Row { base: INTERNET_BASE, first, count, bits };
            first += count;
        }
        let bits = 24 - INTERNET_LENGTH;
        assert!(wanted - first <= 1 << bits, "at most 4 million prefixes");
        rows[24] = Row { base: INTERNET_BASE, first, count: wanted - first, bits };
        PrefixSpace { rows, count }
    }

    /// As many /24 prefixes as wanted, in the smallest part of the address space that has room for them.
    #[must_use]
    pub fn blocks(count: usize) -> PrefixSpace {
        let wanted = u32::try_from(count).expect("fewer prefixes than addresses");
        let mut rows = [Row::default(); 33];
        rows[24] = Row { base: INTERNET_BASE, first: 0, count: wanted, bits: 2 };
        while 1 << rows[24].bits < wanted {
            rows[24].bits += 1;
        }
        PrefixSpace { rows, count }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The prefix with a number.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn prefix(&self, number: usize) -> Ipv4Net {
        let number = u32::try_from(number).expect("fewer prefixes than addresses");
        let found = self
            .rows
            .iter()
            .zip(0_u8..)
            .find(|(row, _)| row.count > 0 && number >= row.first && number - row.first < row.count);
        let (row, length) = found.expect("a number of this space");
        let block = mix(number - row.first, row.bits);
        let address = row.base + (block << (32 - u32::from(length)));
        Ipv4Net::new(Ipv4Addr::from(address), length).expect("a length of a table row")
    }

    /// The number of a prefix, if it is one of these.
    #[inline]
    #[must_use]
    pub fn number(&self, address: u32, length: u8) -> Option<usize> {
        let row = self.rows.get(usize::from(length))?;
        let block = address.wrapping_sub(row.base).checked_shr(32 - u32::from(length))?;
        let offset = unmix(block, row.bits);
        (offset < row.count && block >> row.bits == 0).then(|| (row.first + offset) as usize)
    }

    /// Appends a prefix in the form of RFC 4271 §4.3.
    pub fn encode(&self, number: usize, bytes: &mut Vec<u8>) {
        let prefix = self.prefix(number);
        bytes.push(prefix.prefix_len());
        bytes.extend(&prefix.addr().octets()[..usize::from(prefix.prefix_len()).div_ceil(8)]);
    }
}

/// Odd, and its inverse modulo 2^32.
const FACTOR: u32 = 0x9e37_79b1;
const INVERSE: u32 = inverse(FACTOR);

/// The inverse of an odd number modulo 2^32, by Newton's iteration: each step doubles the correct bits.
const fn inverse(odd: u32) -> u32 {
    let mut guess = odd;
    let mut step = 0;
    while step < 5 {
        guess = guess.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(guess)));
        step += 1;
    }
    guess
}

/// A permutation of the numbers of `bits` bits that keeps the two lowest as they are.
fn mix(number: u32, bits: u32) -> u32 {
    let Some(high_bits) = bits.checked_sub(2).filter(|bits| *bits > 0) else { return number };
    let mask = (1 << high_bits) - 1;
    let fold = high_bits.div_ceil(2);
    let mut high = number >> 2;
    high ^= high >> fold;
    high = high.wrapping_mul(FACTOR) & mask;
    high ^= high >> fold;
    high << 2 | number & 3
}

/// Takes [`mix`] back. A shift by half the width or more is its own inverse.
#[inline]
fn unmix(number: u32, bits: u32) -> u32 {
    let Some(high_bits) = bits.checked_sub(2).filter(|bits| *bits > 0) else { return number };
    let mask = (1 << high_bits) - 1;
    let fold = high_bits.div_ceil(2);
    let mut high = number >> 2;
    high ^= high >> fold;
    high = high.wrapping_mul(INVERSE) & mask;
    high ^= high >> fold;
    high << 2 | number & 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_number_leads_to_a_prefix_of_its_own_and_back() {
        for space in [PrefixSpace::internet_like(50_000), PrefixSpace::blocks(1_000), PrefixSpace::blocks(1)]
        {
            let mut seen = BTreeSet::new();
            for number in 0..space.count() {
                let prefix = space.prefix(number);
                assert_eq!(prefix, prefix.trunc(), "no bits behind the length");
                assert!(seen.insert(prefix), "{prefix} occurs twice");
                assert_eq!(space.number(prefix.addr().into(), prefix.prefix_len()), Some(number));
            }
        }
    }

    #[test]
    fn foreign_prefixes_have_no_number() {
        let space = PrefixSpace::internet_like(1_000);
        for prefix in ["10.0.0.0/8", "0.0.0.0/0", "64.0.0.0/24", "192.0.0.0/24", "128.0.0.0/25"] {
            let prefix: Ipv4Net = prefix.parse().unwrap();
            assert_eq!(space.number(prefix.addr().into(), prefix.prefix_len()), None, "{prefix}");
        }
    }

    #[test]
    fn two_million_fit() {
        assert_eq!(PrefixSpace::internet_like(2_000_000).count(), 2_000_000);
    }
}
