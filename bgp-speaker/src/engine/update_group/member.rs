//! A member of a group: a cursor, and what is for it alone.

use super::dirty::Dirty;
use crate::engine::rib::Source;
use bytes::Bytes;
use std::collections::VecDeque;

/// Bytes for one member alone, to be sent when its cursor has reached a position.
#[derive(Clone, Debug)]
pub struct PrivateItem {
    /// Not before the log's chunk at this position.
    pub at: u64,
    /// Whole messages.
    pub bytes: Bytes,
    /// An End-of-RIB marker, which a slow member must still get in the end.
    pub is_end_of_rib: bool,
}

/// One session in one group.
#[derive(Debug)]
pub struct Member {
    /// Whose session.
    pub source: Source,
    /// Next chunk of the log to read; meaningless while slow.
    pub cursor: u64,
    /// Ascending by position.
    pub private: VecDeque<PrivateItem>,
    /// Present: it is slow, and these prefixes are not up to date with it.
    pub dirty: Option<Dirty>,
    /// An End-of-RIB is owed once the dirty prefixes are sent.
    pub owes_end_of_rib: bool,
    /// It asked for all routes again while there was still something for it to read.
    pub wants_refresh: bool,
}

impl Member {
    /// At a position of the log.
    pub fn new(source: Source, cursor: u64) -> Self {
        Self {
            source,
            cursor,
            private: VecDeque::new(),
            dirty: None,
            owes_end_of_rib: false,
            wants_refresh: false,
        }
    }

    /// Is it served from its bitmap?
    pub fn is_slow(&self) -> bool {
        self.dirty.is_some()
    }
}
