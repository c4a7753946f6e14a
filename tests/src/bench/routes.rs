//! Attribute sets, and UPDATEs encoded before the clock runs.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::dice::Dice;
use super::digest::digest;
use super::prefixes::PrefixSpace;
use crate::wire::{attribute, update};

/// Path attributes as bytes, with their digest.
#[derive(Clone, Debug)]
pub struct AttributeSet {
    bytes: Vec<u8>,
    digest: u32,
}

impl AttributeSet {
    fn new(bytes: Vec<u8>) -> AttributeSet {
        let digest = digest(&bytes).expect("well-formed: it was just encoded");
        AttributeSet { bytes, digest }
    }

    /// What a node says about its own prefixes: an empty path.
    #[must_use]
    pub fn plain(next_hop: Ipv4Addr, local_pref: u32) -> AttributeSet {
        let attributes = [
            attribute(0x40, 1, &[0]),
            attribute(0x40, 2, &[]),
            attribute(0x40, 3, &next_hop.octets()),
            attribute(0x40, 5, &local_pref.to_be_bytes()),
        ];
        AttributeSet::new(attributes.concat())
    }

    /// The same with a MED, which makes it another set.
    #[must_use]
    pub fn with_med(next_hop: Ipv4Addr, local_pref: u32, med: u32) -> AttributeSet {
        let attributes = [
            attribute(0x40, 1, &[0]),
            attribute(0x40, 2, &[]),
            attribute(0x40, 3, &next_hop.octets()),
            attribute(0x80, 4, &med.to_be_bytes()),
            attribute(0x40, 5, &local_pref.to_be_bytes()),
        ];
        AttributeSet::new(attributes.concat())
    }

    /// What a border router says about the Internet: about 70 bytes.
    fn internet_like(dice: &mut Dice, path: &[u32], next_hop: Ipv4Addr, local_pref: u32) -> AttributeSet {
        let mut bytes = attribute(0x40, 1, &[if dice.chance(92) { 0 } else { 2 }]);
        let mut segment = vec![2, u8::try_from(path.len()).expect("a short path")];
        segment.extend(path.iter().flat_map(|asn| asn.to_be_bytes()));
        bytes.extend(attribute(0x40, 2, &segment));
        bytes.extend(attribute(0x40, 3, &next_hop.octets()));
        if dice.chance(30) {
            bytes.extend(attribute(0x80, 4, &dice.below(1000).to_be_bytes()));
        }
        bytes.extend(attribute(0x40, 5, &local_pref.to_be_bytes()));
        // Sorted and unique, as some daemons send them whatever they received.
        let mut communities: Vec<u32> =
            (0..dice.below(7)).map(|_| (path[0] & 0xffff) << 16 | dice.below(2000)).collect();
        communities.sort_unstable();
        communities.dedup();
        if !communities.is_empty() {
            let value: Vec<u8> = communities.iter().flat_map(|community| community.to_be_bytes()).collect();
            bytes.extend(attribute(0xc0, 8, &value));
        }
        AttributeSet::new(bytes)
    }

    /// As on the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Of what receivers should see.
    #[must_use]
    pub fn digest(&self) -> u32 {
        self.digest
    }

    /// One UPDATE that announces prefixes with these attributes.
    #[must_use]
    pub fn announce(&self, space: &PrefixSpace, numbers: impl IntoIterator<Item = usize>) -> Vec<u8> {
        let mut nlri = Vec::new();
        numbers.into_iter().for_each(|number| space.encode(number, &mut nlri));
        update(&[], &self.bytes, &nlri)
    }
}

/// Everything that one sender announces.
#[derive(Clone, Debug)]
pub struct Feed {
    /// UPDATEs that announce it.
    pub announce: Arc<[u8]>,
    /// UPDATEs that withdraw it.
    pub withdraw: Arc<[u8]>,
    /// By number of prefix.
    pub digests: Vec<u32>,
    /// Different attribute sets.
    pub set_count: usize,
}

/// Prefixes of one attribute set, at most: it fits an UPDATE.
const RUN_MAX: usize = 250;

/// Withdrawn prefixes of an UPDATE.
const WITHDRAWN_MAX: usize = 700;

/// An Internet-like feed: about three prefixes per attribute set (many sets have one, a few have hundreds), as many AS
/// paths as half of the sets, sets in random order.
///
/// `local_pref` gives the local preference by number of the set: which of several feeds is the best one.
#[must_use]
pub fn internet_feed(
    space: &PrefixSpace,
    seed: u64,
    next_hop: Ipv4Addr,
    local_pref: impl Fn(usize) -> u32,
) -> Feed {
    // The same cuts in every feed of a space: prefixes of one origin stay together at every sender.
    let mut cuts = Dice::new(space.count() as u64);
    let mut runs = Vec::new();
    let mut start = 0;
    while start < space.count() {
        let length = run_length(&mut cuts).min(space.count() - start);
        runs.push(start..start + length);
        start += length;
    }
    let mut dice = Dice::new(seed);
    let paths: Vec<Vec<u32>> = (0..=runs.len() / 2).map(|_| as_path(&mut dice)).collect();
    let mut digests = vec![0; space.count()];
    let mut order: Vec<usize> = (0..runs.len()).collect();
    dice.shuffle(&mut order);
    let (mut announce, mut withdraw) = (Vec::new(), Vec::new());
    let mut withdrawn = Vec::new();
    for index in order {
        let run = runs[index].clone();
        let path = &paths[dice.index(paths.len())];
        let set = AttributeSet::internet_like(&mut dice, path, next_hop, local_pref(index));
        digests[run.clone()].fill(set.digest());
        announce.extend(set.announce(space, run.clone()));
        withdrawn.extend(run);
        while withdrawn.len() >= WITHDRAWN_MAX {
            withdraw.extend(withdrawal(space, withdrawn.drain(..WITHDRAWN_MAX)));
        }
    }
    withdraw.extend(withdrawal(space, withdrawn));
    Feed { announce: announce.into(), withdraw: withdraw.into(), digests, set_count: runs.len() }
}

/// Numbers of the runs that [`internet_feed`] cuts a space into, by number of prefix.
#[must_use]
pub fn run_numbers(space: &PrefixSpace) -> Vec<usize> {
    let mut cuts = Dice::new(space.count() as u64);
    let mut numbers = Vec::with_capacity(space.count());
    for run in 0.. {
        let length = run_length(&mut cuts).min(space.count() - numbers.len());
        numbers.extend(std::iter::repeat_n(run, length));
        if numbers.len() == space.count() {
            break;
        }
    }
    numbers
}

/// An UPDATE that withdraws at most [`WITHDRAWN_MAX`] prefixes.
fn withdrawal(space: &PrefixSpace, numbers: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let mut nlri = Vec::new();
    numbers.into_iter().for_each(|number| space.encode(number, &mut nlri));
    update(&nlri, &[], &[])
}

/// A power law with a mean of three.
fn run_length(dice: &mut Dice) -> usize {
    let drawn = dice.fraction().max(1e-9).powf(-1.0 / 1.35);
    drawn.min(RUN_MAX as f64) as usize
}

/// Two to seven ASes, none of them private or reserved.
fn as_path(dice: &mut Dice) -> Vec<u32> {
    let length = 2 + dice.below(3) + dice.below(4);
    let asn = |dice: &mut Dice| {
        if dice.chance(60) { 1_000 + dice.below(20_000) } else { 131_072 + dice.below(200_000) }
    };
    (0..length).map(|_| asn(dice)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{HEADER_LENGTH, UPDATE};

    #[test]
    fn an_internet_like_feed_has_about_three_prefixes_per_set_and_the_same_bytes_every_time() {
        let space = PrefixSpace::internet_like(100_000);
        let feed = internet_feed(&space, 1, Ipv4Addr::new(10, 98, 0, 2), |_| 100);
        let per_set = space.count() as f64 / feed.set_count as f64;
        assert!((2.7..3.4).contains(&per_set), "{per_set} prefixes per attribute set");
        let per_prefix = feed.announce.len() / space.count();
        assert!((28..42).contains(&per_prefix), "{per_prefix} bytes per prefix");
        let again = internet_feed(&space, 1, Ipv4Addr::new(10, 98, 0, 2), |_| 100);
        assert_eq!(feed.announce, again.announce);
        assert!(feed.digests.iter().all(|digest| *digest != 0));
        assert_eq!(run_numbers(&space).last(), Some(&(feed.set_count - 1)));
    }

    #[test]
    fn every_message_of_a_feed_is_an_update_of_legal_length() {
        let space = PrefixSpace::internet_like(20_000);
        let feed = internet_feed(&space, 7, Ipv4Addr::new(10, 98, 0, 2), |_| 100);
        for stream in [&feed.announce, &feed.withdraw] {
            let mut rest: &[u8] = stream;
            while let Some(header) = rest.first_chunk::<HEADER_LENGTH>() {
                let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
                assert!(header[18] == UPDATE && length <= 4096, "{length} bytes");
                rest = &rest[length..];
            }
            assert!(rest.is_empty());
        }
    }
}
