//! What every receiver should hold, and the reading of UPDATEs against it.
//!
//! A receiver is one bit per prefix: set while what it was told last is what it should hold. So the set of prefixes and
//! their attributes are exact when all bits are set, whatever happened on the way, and counting bits is enough to know.

use std::time::Instant;

use super::digest::{ABSENT, Attributes, digest};
use super::memo::{Memo, numbers_in};
use super::prefixes::PrefixSpace;

/// Shared by all receivers of a run.
pub struct Table {
    space: PrefixSpace,
    /// By number of prefix: the digest of the attributes that a receiver should hold.
    digests: Vec<u32>,
    /// By number of prefix: the client whose route is the best one. What it hears about that prefix does not count.
    owners: Vec<u16>,
    /// Changes with the digests.
    generation: u32,
    memo: Memo,
    watch: Option<Watch>,
    /// Prefixes that nobody announced, and UPDATEs that cannot be read: any is a fault of the daemon.
    fault_count: u64,
}

/// For prefixes whose own client is nobody.
pub const NO_OWNER: u16 = u16::MAX;

/// The bits of one receiver.
#[derive(Clone, Debug, Default)]
pub struct Held {
    bits: Vec<u64>,
    match_count: usize,
}

impl Held {
    /// How many prefixes are as they should be, the receiver's own among them.
    #[must_use]
    pub fn match_count(&self) -> usize {
        self.match_count
    }

    fn set(&mut self, number: usize) -> bool {
        let (word, mask) = (&mut self.bits[number / 64], 1 << (number % 64));
        let is_new = *word & mask == 0;
        *word |= mask;
        // Not `+= usize::from(is_new)`: rustc 1.95 to 1.97 drop that when a caller branches on the result.
        if is_new {
            self.match_count += 1;
        }
        is_new
    }

    fn clear(&mut self, number: usize) {
        let (word, mask) = (&mut self.bits[number / 64], 1 << (number % 64));
        if *word & mask != 0 {
            self.match_count -= 1;
        }
        *word &= !mask;
    }

    /// Sets bits of a word and returns those that are new.
    fn set_word(&mut self, index: u32, mask: u64) -> u64 {
        let word = &mut self.bits[index as usize];
        let new = mask & !*word;
        self.match_count += new.count_ones() as usize;
        *word |= mask;
        new
    }
}

/// Measures how long changes take to the last receiver.
#[derive(Debug, Default)]
pub struct Watch {
    /// By number of prefix: receivers that have not seen its change yet.
    waiting: Vec<u32>,
    sent_at: Vec<Option<Instant>>,
    /// Of every change that reached all, in no order.
    pub latencies_secs: Vec<f64>,
    /// When the bytes that are being read were received.
    now: Option<Instant>,
}

impl Watch {
    fn seen(&mut self, number: usize) {
        let (Some(waiting), Some(sent_at)) = (self.waiting.get_mut(number), self.sent_at[number]) else {
            return;
        };
        *waiting = waiting.saturating_sub(1);
        if *waiting == 0 {
            let now = self.now.unwrap_or_else(Instant::now);
            self.latencies_secs.push(now.saturating_duration_since(sent_at).as_secs_f64());
            self.sent_at[number] = None;
        }
    }
}

impl Table {
    /// Expects nothing of anybody.
    #[must_use]
    pub fn new(space: PrefixSpace) -> Table {
        let count = space.count();
        Table {
            space,
            digests: vec![ABSENT; count],
            owners: vec![NO_OWNER; count],
            generation: 0,
            memo: Memo::new(),
            watch: None,
            fault_count: 0,
        }
    }

    /// The prefixes.
    #[must_use]
    pub fn space(&self) -> &PrefixSpace {
        &self.space
    }

    /// How many prefixes there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.digests.len()
    }

    /// Announcements of prefixes that nobody sent, and UPDATEs that cannot be read.
    #[must_use]
    pub fn fault_count(&self) -> u64 {
        self.fault_count
    }

    /// Changes what should be held for a prefix; receivers forget their bit with [`Table::unmatch`].
    pub(crate) fn expect(&mut self, number: usize, digest: u32) {
        self.digests[number] = digest;
        self.generation = self.generation.wrapping_add(1);
    }

    pub(crate) fn set_owner(&mut self, number: usize, owner: u16) {
        self.owners[number] = owner;
    }

    /// What a receiver holds that has heard nothing: all that should be absent is.
    pub(crate) fn start(&self, receiver: u16) -> Held {
        self.held_if(|digest, owner| digest == ABSENT || owner == receiver)
    }

    /// What a receiver holds for which everything has changed.
    pub(crate) fn start_with_nothing_right(&self, receiver: u16) -> Held {
        self.held_if(|_, owner| owner == receiver)
    }

    fn held_if(&self, is_right: impl Fn(u32, u16) -> bool) -> Held {
        let mut held = Held { bits: vec![0; self.count().div_ceil(64)], match_count: 0 };
        for (number, (digest, owner)) in self.digests.iter().zip(&self.owners).enumerate() {
            if is_right(*digest, *owner) {
                held.set(number);
            }
        }
        held
    }

    /// After [`Table::expect`]: what the receiver holds is out of date.
    pub(crate) fn unmatch(&self, receiver: u16, held: &mut Held, number: usize) {
        if self.owners[number] != receiver {
            held.clear(number);
        }
    }

    /// Starts to measure changes.
    pub(crate) fn watch(&mut self) {
        let count = self.count();
        self.watch = Some(Watch { waiting: vec![0; count], sent_at: vec![None; count], ..Watch::default() });
    }

    /// Ends it.
    pub(crate) fn take_watch(&mut self) -> Watch {
        self.watch.take().unwrap_or_default()
    }

    /// A change of a prefix was due to be sent at a moment, and so many receivers should see it.
    pub(crate) fn watch_change(&mut self, number: usize, receiver_count: u32, due: Instant) {
        if let Some(watch) = &mut self.watch {
            watch.waiting[number] = receiver_count;
            watch.sent_at[number] = Some(due);
        }
    }

    /// The bytes that come next are received now.
    pub(crate) fn note_time(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.now = Some(Instant::now());
        }
    }

    /// Reads the body of an UPDATE that a receiver got.
    pub(crate) fn apply(&mut self, receiver: u16, held: &mut Held, body: &[u8]) {
        if let Some(slot) = self.memo.find(body) {
            // Expectations have changed since, but perhaps not for these prefixes.
            let digests = &self.digests;
            if slot.generation != self.generation
                && slot.numbers().all(|number| digests[number] == slot.digest)
            {
                slot.generation = self.generation;
            }
            if slot.generation == self.generation {
                for (index, mask) in &slot.words {
                    let new = held.set_word(*index, *mask);
                    if let Some(watch) = &mut self.watch {
                        numbers_in(*index, new).for_each(|number| watch.seen(number));
                    }
                }
                return;
            }
        }
        match self.read(receiver, held, body) {
            Some(Effect::SetsOnly { digest }) => self.memo.keep(body, self.generation, digest),
            Some(Effect::Mixed) => {}
            None => self.fault_count += 1,
        }
    }

    fn read(&mut self, receiver: u16, held: &mut Held, body: &[u8]) -> Option<Effect> {
        let (withdrawn, rest) = sized(body)?;
        let (attributes, nlri) = sized(rest)?;
        self.memo.begin();
        let mut is_plain = withdrawn.is_empty();
        self.read_prefixes(receiver, held, withdrawn, ABSENT)?;
        if attributes.is_empty() {
            return Some(Effect::Mixed);
        }
        let digest = digest(attributes)?;
        is_plain &= self.read_prefixes(receiver, held, nlri, digest)?;
        if nlri.is_empty() {
            is_plain = false;
            self.read_multiprotocol(receiver, held, attributes, digest)?;
        }
        Some(if is_plain { Effect::SetsOnly { digest } } else { Effect::Mixed })
    }

    /// Prefixes in MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760), where they are IPv4 unicast.
    fn read_multiprotocol(
        &mut self,
        receiver: u16,
        held: &mut Held,
        attributes: &[u8],
        digest: u32,
    ) -> Option<()> {
        for attribute in Attributes(attributes) {
            match attribute? {
                (14, [0, 1, 1, hop_length, rest @ ..]) => {
                    let nlri = rest.get(usize::from(*hop_length) + 1..)?;
                    self.read_prefixes(receiver, held, nlri, digest)?;
                }
                (15, [0, 1, 1, nlri @ ..]) => {
                    self.read_prefixes(receiver, held, nlri, ABSENT)?;
                }
                _ => {}
            }
        }
        Some(())
    }

    /// Reads a field of prefixes; true if each was announced as expected.
    fn read_prefixes(
        &mut self,
        receiver: u16,
        held: &mut Held,
        mut bytes: &[u8],
        digest: u32,
    ) -> Option<bool> {
        let mut is_expected = true;
        while let [length, rest @ ..] = bytes {
            let size = usize::from(*length).div_ceil(8);
            let (address, rest) = rest.split_at_checked(size)?;
            bytes = rest;
            let mut octets = [0; 4];
            octets.get_mut(..size)?.copy_from_slice(address);
            let Some(number) = self.space.number(u32::from_be_bytes(octets), *length) else {
                self.fault_count += 1;
                is_expected = false;
                continue;
            };
            if self.digests[number] == digest {
                self.memo.set(number);
                if held.set(number)
                    && let Some(watch) = &mut self.watch
                {
                    watch.seen(number);
                }
            } else {
                is_expected = false;
                self.unmatch(receiver, held, number);
            }
        }
        Some(is_expected)
    }
}

/// What an UPDATE did.
enum Effect {
    /// Every prefix in it was announced as expected: the same bytes do the same to any receiver.
    SetsOnly {
        /// Of its attributes.
        digest: u32,
    },
    /// Anything else.
    Mixed,
}

/// Splits off a field that starts with its length in two octets.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::routes::AttributeSet;
    use crate::wire::{HEADER_LENGTH, update};

    fn announcement(space: &PrefixSpace, set: &AttributeSet, numbers: &[usize]) -> Vec<u8> {
        let mut nlri = Vec::new();
        numbers.iter().for_each(|number| space.encode(*number, &mut nlri));
        update(&[], set.bytes(), &nlri)[HEADER_LENGTH..].to_vec()
    }

    #[test]
    fn only_the_expected_attributes_count_and_a_repeat_changes_nothing() {
        let mut table = Table::new(PrefixSpace::blocks(100));
        let [right, wrong] =
            [100, 200].map(|local_pref| AttributeSet::plain([10, 98, 0, 2].into(), local_pref));
        for number in 0..100 {
            table.expect(number, right.digest());
            table.set_owner(number, u16::from(number >= 50));
        }
        let mut held = table.start(1);
        assert_eq!(held.match_count(), 50, "what it announced itself");
        let good = announcement(table.space(), &right, &[3, 4, 70]);
        for _ in 0..3 {
            table.apply(1, &mut held, &good);
            assert_eq!(held.match_count(), 52);
        }
        let bad = announcement(table.space(), &wrong, &[4]);
        table.apply(1, &mut held, &bad);
        assert_eq!(held.match_count(), 51);
        table.apply(1, &mut held, &good);
        assert_eq!(held.match_count(), 52);

        table.expect(3, ABSENT);
        table.unmatch(1, &mut held, 3);
        table.apply(1, &mut held, &good);
        assert_eq!(
            held.match_count(),
            51,
            "it should be gone, and a remembered UPDATE does not bring it back"
        );
        let mut gone = Vec::new();
        table.space().encode(3, &mut gone);
        table.apply(1, &mut held, &update(&gone, &[], &[])[HEADER_LENGTH..]);
        assert_eq!((held.match_count(), table.fault_count()), (52, 0));
    }

    #[test]
    fn foreign_prefixes_and_nonsense_are_faults() {
        let mut table = Table::new(PrefixSpace::blocks(10));
        let mut held = table.start(0);
        let set = AttributeSet::plain([10, 98, 0, 2].into(), 100);
        let other = announcement(&PrefixSpace::internet_like(100_000), &set, &[10]);
        table.apply(0, &mut held, &other);
        table.apply(0, &mut held, &[0, 9]);
        assert_eq!((held.match_count(), table.fault_count()), (10, 2));
    }
}
