//! Octet strings side by side in one allocation: a hundred thousand attribute blocks without a heap header each.

/// Lengths are rounded up to this, so that a freed place fits the next string of about the same length.
const GRAIN: usize = 8;
/// Free places up to this many octets are not worth moving the others together.
const SLACK: usize = 64 * 1024;

/// A string's place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// In grains.
    at: u32,
    len: u32,
}

impl Span {
    fn grains(self) -> usize {
        (self.len as usize).div_ceil(GRAIN)
    }

    fn octets(self) -> usize {
        self.grains() * GRAIN
    }
}

/// The strings. Whoever puts one in holds its [`Span`], and gives it back.
#[derive(Debug, Default)]
pub(super) struct Octets {
    all: Vec<u8>,
    /// Free places by their length in grains.
    free: Vec<Vec<u32>>,
    free_octets: usize,
}

impl Octets {
    /// Keeps a string.
    pub(super) fn insert(&mut self, octets: &[u8]) -> Span {
        let mut span = Span { at: 0, len: octets.len() as u32 };
        match self.free.get_mut(span.grains()).and_then(Vec::pop) {
            Some(at) => {
                span.at = at;
                self.free_octets -= span.octets();
            }
            None => {
                span.at = u32::try_from(self.all.len() / GRAIN)
                    .expect("fewer than 32 GiB of attributes fit in memory");
                self.all.resize(self.all.len() + span.octets(), 0);
            }
        }
        let start = span.at as usize * GRAIN;
        self.all[start..start + octets.len()].copy_from_slice(octets);
        span
    }

    /// A string.
    #[inline]
    pub(super) fn get(&self, span: Span) -> &[u8] {
        &self.all[span.at as usize * GRAIN..][..span.len as usize]
    }

    /// Forgets a string.
    pub(super) fn remove(&mut self, span: Span) {
        if span.len == 0 {
            return;
        }
        let grains = span.grains();
        if grains >= self.free.len() {
            self.free.resize(grains + 1, Vec::new());
        }
        self.free[grains].push(span.at);
        self.free_octets += span.octets();
    }

    /// Is more free than in use, so that [`Octets::compact`] pays?
    pub(super) fn is_sparse(&self) -> bool {
        self.free_octets > self.all.len() / 2 + SLACK
    }

    /// Moves all that is in use together. `spans` are all there are.
    pub(super) fn compact<'a>(&mut self, spans: impl Iterator<Item = &'a mut Span>) {
        let mut next = Self::default();
        for span in spans {
            *span = next.insert(self.get(*span));
        }
        next.all.shrink_to_fit();
        *self = next;
    }

    /// Heap bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let lists = self.free.iter().map(Vec::capacity).sum::<usize>() * size_of::<u32>();
        self.all.capacity() + lists + self.free.capacity() * size_of::<Vec<u32>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_place_is_used_again_by_strings_that_fit() {
        let mut octets = Octets::default();
        let (a, b) = (octets.insert(b"123456789"), octets.insert(b""));
        assert_eq!((octets.get(a), octets.get(b)), (&b"123456789"[..], &b""[..]));
        octets.remove(a);
        octets.remove(b);
        let c = octets.insert(b"0123456789abcdef");
        assert_eq!((octets.get(c), octets.all.len()), (&b"0123456789abcdef"[..], 16));
        octets.insert(b"x");
        assert_eq!(octets.all.len(), 24);
    }

    #[test]
    fn lengths_that_come_and_go_leave_no_holes_behind() {
        let mut octets = Octets::default();
        let mut spans: Vec<Span> = Vec::new();
        for round in 1..50_usize {
            let string = vec![round as u8; round * 20];
            let old = std::mem::take(&mut spans);
            spans.extend((0..2000).map(|_| octets.insert(&string)));
            old.into_iter().for_each(|span| octets.remove(span));
            if octets.is_sparse() {
                octets.compact(spans.iter_mut());
            }
            assert!(spans.iter().all(|span| octets.get(*span) == string));
        }
        let in_use = 2000 * 49 * 20;
        assert!(octets.memory_bytes() < 4 * in_use + 4 * SLACK, "{}", octets.memory_bytes());
    }
}
