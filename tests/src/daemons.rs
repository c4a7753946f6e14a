//! Adapters: how each daemon is configured, started, asked and stopped. One file each.
//!
//! An adapter writes the daemon's own configuration from a [`SpeakerSpec`](crate::SpeakerSpec), runs it in the
//! foreground with private sockets and paths, and reads the answers of its own command line. No adapter knows what a
//! test expects.

pub mod bird;
pub mod exabgp;
pub mod frr;
pub mod gobgp;
pub mod openbgpd;
pub mod ours;

mod parse;
