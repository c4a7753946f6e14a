//! Where peers and announcements come from when nobody writes a configuration: the data of a cluster.
//!
//! A source keeps a *snapshot* (objects by key, put and deleted one at a time) and derives a *plan* from it with a pure
//! function; the plan becomes a [`SpeakerConfig`](crate::SpeakerConfig), and only
//! [`diff`](fn@crate::config::diff) changes a running speaker. Here is no I/O and no clock: whoever watches a
//! datastore or a folder feeds what it reads.
//!
//! - [`calico`]: the data of a Calico cluster;
//! - [`kubernetes`]: what Calico keeps only in the Kubernetes API.

pub mod calico;
mod field;
pub mod kubernetes;
mod problem;

pub use problem::Problem;
