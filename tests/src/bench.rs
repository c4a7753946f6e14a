//! The benchmark: how fast, and at what cost, a BGP daemon reflects routes to many clients.
//!
//! Every daemon is treated alike. It runs as a reflector in a namespace of its own ([`site`], [`daemons`]); all clients are
//! sessions of one thread here ([`crowd`]), over real TCP. What they send is encoded beforehand ([`routes`]). What they
//! receive is checked: each must end with exactly the expected prefixes, each with the expected attributes ([`table`]).
//! The [`scenario`]s say what is sent when; [`usage`] reads what it cost from the kernel.
//!
//! The generator must cost less than what it measures: prefixes are numbered by arithmetic ([`prefixes`]), a receiver is a
//! bitmap, and equal UPDATEs are read once. Its own processor time is part of every result.
//!
//! What does not belong here: arguments, tables and plots (they are in the program `bench`).

mod client;
pub mod crowd;
pub mod daemons;
pub mod dice;
mod digest;
mod memo;
pub mod mesh;
pub mod prefixes;
pub mod rig;
pub mod routes;
pub mod scenario;
pub mod site;
pub mod table;
pub mod usage;

pub use client::{ASN, HOLD_TIME_SECS, Pace};
