//! One walk of the table, shared by all who join at about the same time.

use super::log::Chunk;
use crate::engine::rib::{PrefixId, Source};

/// Everything advertised, as of a position of the log. A reader of the log like any member, so that what
/// follows it is still there.
#[derive(Debug)]
pub struct Dump {
    /// The position.
    pub at: u64,
    /// The encoded table.
    pub chunks: Vec<Chunk>,
    /// Their length.
    pub bytes: usize,
    /// Since then, a source's own route took the place of another's: whoever joins as that source forgets the other's.
    pub displaced: Vec<(PrefixId, Source)>,
}

impl Dump {
    /// What a source has displaced since.
    pub fn displaced_by(&self, source: Source) -> impl Iterator<Item = PrefixId> + '_ {
        self.displaced.iter().filter(move |(_, by)| *by == source).map(|(id, _)| *id)
    }

    /// Is reading this and then `suffix_bytes` of the log still cheaper than another walk?
    pub fn is_worth(&self, suffix_bytes: usize) -> bool {
        suffix_bytes <= self.bytes / 2 + super::log::CHUNK_BYTES
    }
}
