//! What is told of a datastore: everything for `status`, and what a scrape can afford.

use crate::cluster::Problem;
use crate::view::{DatastoreView, InvalidObject};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How fresh the data are, and what is wrong with them. Copying it costs the same whatever the size of the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct DatastoreState {
    /// It is followed.
    pub(crate) is_up: bool,
    /// As of the last news.
    pub(crate) revision: i64,
    /// Why it is not followed.
    pub(crate) error: Option<Arc<str>>,
    /// What is wrong with the data.
    pub(crate) problems: Arc<Problems>,
}

/// Sorted, each once, and counted.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    all: Vec<Problem>,
    /// How many there are of each kind of object.
    pub(crate) by_kind: BTreeMap<&'static str, u64>,
}

impl Problems {
    pub(crate) fn new(mut all: Vec<Problem>) -> Self {
        all.sort();
        all.dedup();
        let mut by_kind = BTreeMap::new();
        all.iter().for_each(|problem| *by_kind.entry(problem.kind).or_default() += 1);
        Self { all, by_kind }
    }
}

impl DatastoreState {
    /// For `status`.
    pub(crate) fn view(&self) -> DatastoreView {
        let invalid = self.problems.all.iter().map(|problem| InvalidObject {
            kind: problem.kind.to_owned(),
            key: problem.key.clone(),
            reason: problem.reason.clone(),
        });
        DatastoreView {
            up: self.is_up,
            revision: self.revision,
            last_error: self.error.as_deref().map(str::to_owned),
            invalid: invalid.collect(),
        }
    }
}
