//! One walk of the table, shared by all who join at about the same time, in slices.

use super::log::Chunk;
use crate::engine::rib::{PrefixId, Source};

/// Everything advertised. A reader of the log like any member, so that what follows it is still there.
///
/// Each slice is as of the position of the log at which it was walked. Whoever reads the slices and the log in the order of
/// positions never takes an older state for a newer one.
#[derive(Debug)]
pub struct Dump {
    /// The position at which the walk began.
    pub at: u64,
    /// The encoded table as far as it was walked, each chunk with its slice's position.
    pub chunks: Vec<(u64, Chunk)>,
    /// Their length.
    pub bytes: usize,
    /// Since then, a source's own route took the place of another's: whoever joins as that source forgets the other's.
    pub displaced: Vec<(PrefixId, Source)>,
    /// Where the walk goes on, and where it ends. What gets a later id is told by the log.
    next: u32,
    end: u32,
    /// Members that get each slice that is still to come.
    pub waiting: Vec<Waiting>,
}

/// A member that has not got the whole table yet.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Which.
    pub source: Source,
    /// It is told where the table ends.
    pub wants_end_of_rib: bool,
}

impl Dump {
    /// Of a table with so many ids, before its first slice.
    pub fn new(at: u64, table_len: usize) -> Self {
        let end = table_len as u32;
        Self { at, chunks: Vec::new(), bytes: 0, displaced: Vec::new(), next: 0, end, waiting: Vec::new() }
    }

    /// Is there a slice to come?
    pub fn is_walking(&self) -> bool {
        self.next < self.end
    }

    /// The ids of the next slice.
    pub fn next_slice(&mut self, len: u32) -> impl ExactSizeIterator<Item = PrefixId> + use<> {
        let start = self.next;
        self.next = self.end.min(start.saturating_add(len));
        (start..self.next).map(PrefixId)
    }

    /// What a source has displaced since.
    pub fn displaced_by(&self, source: Source) -> impl Iterator<Item = PrefixId> + '_ {
        self.displaced.iter().filter(move |(_, by)| *by == source).map(|(id, _)| *id)
    }

    /// Is reading this and then `suffix_bytes` of the log still cheaper than another walk?
    pub fn is_worth(&self, suffix_bytes: usize) -> bool {
        self.is_walking() || suffix_bytes <= self.bytes / 2 + super::log::CHUNK_BYTES
    }
}
