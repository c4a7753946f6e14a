//! The data of a Calico cluster (etcd v3 datastore), and the plan that follows from it.
//!
//! A watcher feeds keys and values into a [`Snapshot`]; [`plan()`] makes one node's [`Plan`] of it. Both are pure: equal
//! data give an equal plan, whatever the order in which it came. Where Calico leaves a winner to chance, the first name
//! wins.

mod key;
mod model;
mod plan;
mod selector;
mod snapshot;
mod status_file;
mod value;

pub use model::*;
pub use plan::{LocalNode, Origination, OriginationKind, Plan, PlanError, RouterIdSource, SessionPlan, plan};
pub use selector::{Labels, Selector, SelectorError};
pub use snapshot::{Effect, Listing, Snapshot};
pub use status_file::EndpointStatus;
pub use value::GoDuration;
