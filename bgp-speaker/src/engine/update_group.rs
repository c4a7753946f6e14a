//! Update groups: the only way out.
//!
//! Sessions whose UPDATE bytes would be equal share a group per family: one bit per prefix as Adj-RIB-Out, one
//! encoder, one [`Log`] of immutable chunks. A member is a cursor into that log. What differs a little between
//! members does not split groups but is kept beside them:
//!
//! - **Split horizon.** A chunk knows which bytes came of which member's own routes; that member skips them. When
//!   its own route displaces another's, it alone is told a withdrawal.
//! - **Joining.** All who join while the log has not moved far share one walk of the table ([`Dump`]), then read on
//!   from the position at which the walk was made.
//! - **Filters** are asked once per group, and once per attribute set where they do not look at prefixes
//!   ([`Verdicts`]); a filter that changes under a running group costs an UPDATE only where its outcome does.
//! - **ADD-PATH.** Members that take path identifiers have groups of their own, with an Adj-RIB-Out of paths
//!   ([`ToldPaths`]); what follows it, from the encoder on, is the same.
//! - **Slow members** leave the log when it grows past a bound, in slices, keep one dirty bit per prefix, and are
//!   served the latest state from the RIB when they read again.

#[cfg(any(test, feature = "test-util"))]
mod audit;
mod difference;
mod dirty;
mod dump;
mod encode;
mod group;
mod key;
mod leaving;
mod log;
mod member;
mod members;
mod told;
mod verdicts;
mod walk;

pub use encode::{Announce, ExportView, export, export_attributes};
pub use group::{Reading, UpdateGroup};
pub use key::GroupKey;
pub use leaving::SLOW_LOG_BYTES;
pub use log::Part;
pub use verdicts::{Verdicts, session_kind};
