//! What a datastore tells.

/// A key as of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Its value; `None`: it is gone.
    pub value: Option<Vec<u8>>,
    /// Of its last change.
    pub revision: i64,
}

/// News from a datastore, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// All that there is under the watched prefixes. What was known before and is not in it is gone.
    Listed {
        /// Each with a value.
        entries: Vec<Entry>,
        /// The one revision at which all of it was read.
        revision: i64,
    },
    /// What changed since, as far as it arrived together.
    Changed {
        /// In order.
        changes: Vec<Entry>,
        /// The datastore is this far now.
        revision: i64,
    },
    /// The datastore cannot be followed for now. What it held last stays in force.
    Down {
        /// Why, for the operator.
        reason: String,
    },
}
