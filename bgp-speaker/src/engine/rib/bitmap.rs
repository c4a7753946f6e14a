//! One bit per prefix.

use super::prefixes::PrefixId;

/// A set of prefix ids; grows to the highest id that was set.
#[derive(Clone, Debug, Default)]
pub struct Bitmap {
    words: Vec<u64>,
    count: usize,
}

impl Bitmap {
    /// Members.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Is it a member?
    pub fn contains(&self, id: PrefixId) -> bool {
        self.words.get(id.index() / 64).is_some_and(|word| word & (1 << (id.index() % 64)) != 0)
    }

    /// Adds; was it new?
    pub fn insert(&mut self, id: PrefixId) -> bool {
        let (word, bit) = (id.index() / 64, 1 << (id.index() % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += usize::from(new);
        new
    }

    /// Adds all of another's.
    pub fn extend(&mut self, other: &Bitmap) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, &others) in self.words.iter_mut().zip(&other.words) {
            self.count += (others & !*word).count_ones() as usize;
            *word |= others;
        }
    }

    /// Removes; was it there?
    pub fn remove(&mut self, id: PrefixId) -> bool {
        let (index, bit) = (id.index() / 64, 1u64 << (id.index() % 64));
        let Some(word) = self.words.get_mut(index) else { return false };
        let there = *word & bit != 0;
        *word &= !bit;
        self.count -= usize::from(there);
        there
    }

    /// Members, ascending.
    pub fn iter(&self) -> impl Iterator<Item = PrefixId> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            std::iter::successors((word != 0).then_some(word), |rest| {
                let rest = rest & (rest - 1);
                (rest != 0).then_some(rest)
            })
            .map(move |rest| PrefixId((index * 64) as u32 + rest.trailing_zeros()))
        })
    }

    /// Heap bytes.
    pub fn memory_bytes(&self) -> usize {
        self.words.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_inserted_and_not_removed() {
        let mut bits = Bitmap::default();
        for id in [0, 63, 64, 1000, 64] {
            bits.insert(PrefixId(id));
        }
        assert_eq!(bits.len(), 4);
        assert!(bits.remove(PrefixId(63)) && !bits.remove(PrefixId(63)) && !bits.remove(PrefixId(1 << 20)));
        assert_eq!(bits.iter().map(|id| id.0).collect::<Vec<_>>(), [0, 64, 1000]);
        assert!(bits.contains(PrefixId(1000)) && !bits.contains(PrefixId(63)));
        let mut few = Bitmap::default();
        few.insert(PrefixId(1));
        few.insert(PrefixId(64));
        few.extend(&bits);
        bits.extend(&few);
        assert_eq!(few.iter().map(|id| id.0).collect::<Vec<_>>(), [0, 1, 64, 1000]);
        assert_eq!((few.len(), bits.len()), (4, 4));
    }
}
