//! A member of a group: a cursor, and what is for it alone.

use super::dirty::Dirty;
use super::log::Part;
use crate::engine::rib::Source;
use std::collections::VecDeque;

/// Messages for one member alone, to be sent when its cursor has reached a position.
#[derive(Clone, Debug)]
pub struct PrivateItem {
    /// Not before the log's chunk at this position.
    pub at: u64,
    /// What it is told.
    pub part: Part,
    /// Of what sort.
    pub kind: PrivateKind,
}

/// What is told to one member alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateKind {
    /// A part of the table, as all who join get it: nothing that is not advertised, or withdrawn behind it in the log.
    Table,
    /// Routes.
    Routes,
    /// An End-of-RIB marker, which a slow member must still get in the end.
    EndOfRib,
}

/// One session in one group.
#[derive(Debug)]
pub struct Member {
    /// Whose session.
    pub source: Source,
    /// Next chunk of the log to read, or, while it leaves the log, to look through; else meaningless while slow.
    pub cursor: u64,
    /// Ascending by position.
    pub private: VecDeque<PrivateItem>,
    /// Present: it is slow, and these prefixes are not up to date with it.
    pub dirty: Option<Dirty>,
    /// It is slow, and what it has not read of the log is not yet marked as dirty.
    pub is_leaving: bool,
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
            is_leaving: false,
            owes_end_of_rib: false,
            wants_refresh: false,
        }
    }

    /// Is it served from its bitmap?
    pub fn is_slow(&self) -> bool {
        self.dirty.is_some()
    }

    /// Does it hold a position in the log?
    pub fn reads_log(&self) -> bool {
        self.is_leaving || !self.is_slow()
    }
}
