//! UPDATEs that were read before: a reflector sends the same bytes to many, and reading them once is enough.
//!
//! Without it the generator would cost more than a daemon that encodes once for all its clients.

/// Bodies of UPDATEs and what they do, the latest of each slot.
pub(crate) struct Memo {
    slots: Vec<Slot>,
    /// Words of the UPDATE that is being read: (index, bits).
    words: Vec<(u32, u64)>,
}

/// One UPDATE.
#[derive(Clone, Default)]
pub(crate) struct Slot {
    /// The expectations under which it set bits.
    pub(crate) generation: u32,
    /// The digest of its attributes.
    pub(crate) digest: u32,
    /// What it set.
    pub(crate) words: Vec<(u32, u64)>,
    body: Vec<u8>,
}

/// Enough for what receivers in step read at one time, few enough for the processor's cache.
const SLOT_COUNT: usize = 1 << 14;

impl Memo {
    pub(crate) fn new() -> Memo {
        Memo { slots: vec![Slot::default(); SLOT_COUNT], words: Vec::new() }
    }

    /// What the same bytes did before.
    #[inline]
    pub(crate) fn find(&mut self, body: &[u8]) -> Option<&mut Slot> {
        let slot = &mut self.slots[slot_of(body)?];
        (slot.body == body).then_some(slot)
    }

    /// A new UPDATE is being read.
    pub(crate) fn begin(&mut self) {
        self.words.clear();
    }

    /// It sets the bit of a prefix.
    #[inline]
    pub(crate) fn set(&mut self, number: usize) {
        let index = u32::try_from(number / 64).expect("fewer prefixes than addresses");
        let mask = 1 << (number % 64);
        match self.words.last_mut() {
            Some((last, bits)) if *last == index => *bits |= mask,
            _ => self.words.push((index, mask)),
        }
    }

    /// It has been read, and set bits is all it did.
    pub(crate) fn keep(&mut self, body: &[u8], generation: u32, digest: u32) {
        let Some(index) = slot_of(body) else { return };
        let slot = &mut self.slots[index];
        slot.generation = generation;
        slot.digest = digest;
        slot.body.clear();
        slot.body.extend(body);
        slot.words.clone_from(&self.words);
    }
}

impl Slot {
    /// The numbers of the prefixes.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = usize> {
        self.words.iter().flat_map(|(index, mask)| numbers_in(*index, *mask))
    }
}

/// The numbers of the bits of a word.
pub(crate) fn numbers_in(index: u32, mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(index as usize * 64 + bit)
    })
}

/// From the last bytes, which are prefixes, and the length.
#[inline]
fn slot_of(body: &[u8]) -> Option<usize> {
    let tail = u64::from_le_bytes(*body.last_chunk::<8>()?) ^ (body.len() as u64) << 48;
    let bits = tail.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOT_COUNT.trailing_zeros());
    usize::try_from(bits).ok()
}
