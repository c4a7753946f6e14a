//! UPDATEs that were read before: a reflector sends the same bytes to many, and reading them once is enough.
//!
//! Without it the generator would cost more than a daemon that encodes once for all its clients.

/// Bodies of UPDATEs and what they do, the latest of each slot.
pub(crate) struct Memo {
    slots: Vec<Slot>,
    /// Words of the UPDATE that is being read: (index, bits).
    words: Vec<(u32, u64)>,
}

#[derive(Clone, Default)]
struct Slot {
    generation: u32,
    body: Vec<u8>,
    words: Vec<(u32, u64)>,
}

/// Enough for what receivers in step read at one time, few enough for the processor's cache.
const SLOT_COUNT: usize = 1 << 14;

impl Memo {
    pub(crate) fn new() -> Memo {
        Memo { slots: vec![Slot::default(); SLOT_COUNT], words: Vec::new() }
    }

    /// The words that the same bytes set before, under the same expectations.
    #[inline]
    pub(crate) fn find(&self, body: &[u8], generation: u32) -> Option<&[(u32, u64)]> {
        let slot = &self.slots[slot_of(body)?];
        (slot.generation == generation && slot.body == body).then_some(slot.words.as_slice())
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
    pub(crate) fn keep(&mut self, body: &[u8], generation: u32) {
        let Some(index) = slot_of(body) else { return };
        let slot = &mut self.slots[index];
        slot.generation = generation;
        slot.body.clear();
        slot.body.extend(body);
        slot.words.clone_from(&self.words);
    }
}

/// From the last bytes, which are prefixes, and the length.
#[inline]
fn slot_of(body: &[u8]) -> Option<usize> {
    let tail = u64::from_le_bytes(*body.last_chunk::<8>()?) ^ (body.len() as u64) << 48;
    let bits = tail.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOT_COUNT.trailing_zeros());
    usize::try_from(bits).ok()
}
