//! A BGP-4 speaker for clusters that route without overlays: as a library inside a node agent, and as the node daemon.
//!
//! ```no_run
//! use bgp_speaker::{Announcement, Neighbor, RouteChange, Speaker, Stop};
//!
//! # async fn agent() -> Result<(), Box<dyn std::error::Error>> {
//! let speaker = Speaker::builder() // AS 64512 unless said otherwise
//!     .router_id("10.0.0.1".parse()?)
//!     .listen("10.0.0.1:179".parse()?)
//!     .neighbor(Neighbor::ibgp("10.0.0.2".parse()?))
//!     .start()
//!     .await?; // a handle; dropping it stops every task
//!
//! speaker.announce(Announcement::block("192.168.1.0/26".parse()?)).await?;
//! let mut routes = speaker.subscribe(); // a snapshot, then every change, in order, bounded
//! while let Some(change) = routes.next().await {
//!     if let RouteChange::Learned { prefix, next_hop, .. } = change {
//!         println!("{prefix} via {}", next_hop.addr()); // install it, or let feature "fib" do so
//!     }
//! }
//! speaker.stop(Stop::Restart).await?; // or Stop::Leave
//! # Ok(())
//! # }
//! ```
//!
//! Several speakers can live in one process: there is no global state, no logger is installed, and nothing is left
//! running once the [`Speaker`] is gone.
//!
//! # Where things are
//!
//! - [`config`]: the desired state, and the steps between two of them;
//! - [`cluster`]: the desired state from the data of a cluster;
//! - [`engine`]: the protocol, without I/O and without a clock; for simulations and for other event loops;
//! - `io`: sockets and the loop around the engine, on tokio;
//! - [`view`]: what a speaker tells about itself;
//! - `fib` (feature `fib`): learned routes into the kernel;
//! - `daemon` (feature `daemon`): configuration file, admin API and command line of both daemons.

pub mod cluster;
pub mod config;
#[cfg(feature = "daemon")]
pub mod daemon;
pub mod engine;
#[cfg(feature = "fib")]
mod fib;
mod io;
pub mod manual;
mod speaker;
pub mod view;

pub use bgp_proto as proto;
pub use config::{Announcement, ListenRange, Neighbor, SpeakerConfig};
pub use engine::StartKind;
pub use io::ListenError;
pub use speaker::{
    ApplyError, ChangeError, QueryError, RouteChange, RouteList, RouteSubscription, Speaker, SpeakerBuilder,
    SpeakerEvent, SpeakerEvents, SpeakerHandle, StartError, Stop, StopError, Stopped,
};

/// The examples of the project's README are compiled as they stand there.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
