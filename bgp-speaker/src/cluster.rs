//! Where peers and announcements come from when nobody writes a configuration: the data of a cluster.
//!
//! A source keeps a *snapshot* (objects by key, put and deleted one at a time) and derives a *plan* from it with a pure
//! function; the plan becomes a [`SpeakerConfig`](crate::SpeakerConfig), and only
//! [`diff`](fn@crate::config::diff) changes a running speaker. In the models is no I/O and no clock: whoever watches a
//! datastore or a folder feeds them [`Update`]s.
//!
//! - [`calico`]: the data of a Calico cluster;
//! - [`kubernetes`]: what Calico keeps only in the Kubernetes API;
//! - [`registry`]: nodes that register themselves, for agents without a datastore of their own;
//! - [`cache`]: the last data on disk, for a start without the datastore;
//! - `etcd` (feature `etcd`): the datastore, watched;
//! - `folder` (feature `folder`): a folder of files, watched.

pub mod cache;
pub mod calico;
#[cfg(feature = "etcd")]
pub mod etcd;
mod field;
#[cfg(feature = "folder")]
pub mod folder;
pub mod kubernetes;
mod problem;
pub mod registry;
mod update;

pub use problem::Problem;
pub use update::{Entry, Update};
