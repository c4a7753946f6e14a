//! What is wrong with the data of a cluster.

use serde::Serialize;
use std::fmt;

/// One thing that is wrong with one object, or why it has no effect. Everything else of the cluster stays in force.
///
/// Whoever wrote the object is at fault. Neither field ever holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Problem {
    /// The object's kind, such as `BGPPeer`: a label of few values.
    pub kind: &'static str,
    /// Where it is: the key in the datastore, or the path of a Kubernetes object.
    pub key: String,
    /// What is wrong, and what is done about it.
    pub reason: String,
}

impl Problem {
    /// A problem with the object at `key`.
    pub fn new(kind: &'static str, key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { kind, key: key.into(), reason: reason.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)
    }
}
