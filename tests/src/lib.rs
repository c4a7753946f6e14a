//! The lab: network namespaces in which real BGP daemons, and ours, meet.
//!
//! Everything happens inside namespaces that the lab itself makes; the host's own links and routes are not touched.
//!
//! # The way in
//!
//! - [`Lab`] makes a switch, nodes on it and pods behind nodes, and removes all of it when dropped, after a panic, or on
//!   Ctrl-C ([`cleanup`]). [`Namespace`] runs commands and code inside one namespace.
//! - [`SpeakerSpec`] says what a daemon should be; an adapter in [`daemons`] writes that in its daemon's language, runs it
//!   as a [`process`](crate::process::Process), and answers through the trait [`Daemon`] with what the daemon's own
//!   command line shows ([`SeenRoute`], [`SeenSession`]).
//! - [`wait_until`] polls a condition and, when time is up, tells what it last saw. Nothing sleeps for a fixed time.
//! - [`scenario`] is the interop story, written once over [`Daemon`]; [`raw_peer`] is a peer made of bytes, for what no
//!   real daemon would send; [`load`] is a thousand of them.
//! - [`harness`] wraps every test: it reports missing privileges and daemons as *skipped*, visibly, and as failures
//!   where `BGP_LAB_REQUIRE=1` says that nothing may be missing.
//! - [`mod@bench`] measures daemons under load, ours and others, all in the same way.
//! - [`cluster`] lays out hosts with pods, for the demo and for tests of forwarding.
//! - [`ping`], [`kernel`] and [`route_watch`] look at what the routes are for.
//! - [`calico`] is a Calico cluster without Calico: its data in a real [`etcd`], its nodes and pods, its BIRD.
//!
//! # Environment
//!
//! | variable | meaning |
//! |---|---|
//! | `BGP_LAB_REQUIRE=1` | a skip is a failure |
//! | `BGP_LAB_SKIPS=FILE` | append one line per skipped test |
//! | `BGP_LAB_KEEP=1` | keep logs and configurations of successful labs too |
//! | `BGP_LAB_ETCD=FILE` | this etcd, instead of the one on `PATH`; also for the tests of `bgp-speaker` |
//! | `BGP_SPEAKER_BIN`, `ROUTE_REFLECTOR_BIN` | our daemons, instead of those in the build folder |
//!
//! What does not belong here: what a correct answer is (that is in the tests and in [`scenario`]), and any code of the
//! daemons under test.

pub mod bench;
pub mod calico;
pub mod cleanup;
pub mod cluster;
mod command;
mod daemon;
pub mod daemons;
pub mod embedded;
mod error;
pub mod etcd;
pub mod harness;
pub mod http;
pub mod kernel;
mod lab;
pub mod load;
mod netns;
pub mod ping;
pub mod process;
pub mod raw_peer;
pub mod route_watch;
pub mod scenario;
mod seen;
mod spec;
mod wait;
pub mod wire;

pub use command::{find_program, need_program, output_of};
pub use daemon::{Daemon, lines_of, wait_established, wait_routes};
pub use error::LabError;
pub use lab::{Lab, Node, Pod, Switch};
pub use netns::Namespace;
pub use seen::{SeenRoute, SeenSession};
pub use spec::{HOLD_TIME_SECS, PeerRole, PeerSpec, RouteSpec, SpeakerSpec};
pub use wait::{holds_for, secs, wait_until};
