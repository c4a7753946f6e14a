//! Keeps a desired set of routes and the Linux kernel's routing table in step, over rtnetlink.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let fib = fib_sync::Fib::open(fib_sync::FibConfig::default()).await?;
//! fib.replace_all(vec![fib_sync::Route::via("10.1.0.0/16".parse()?, "192.0.2.1".parse()?)]).await?;
//! assert!(fib.flush().await?.is_in_step());
//! # Ok(()) }
//! ```
//!
//! # What is promised
//! - **Desired equals installed**, or [`FibStatus`] says by how much and why. A route that the kernel refuses waits as
//!   pending, with the kernel's own words, and is tried again when interfaces, addresses or routes change, and now
//!   and then on a timer; never in a tight loop. The rest of its batch is installed.
//! - **Only ours is touched**: routes of the configured table with the configured protocol id. A route of somebody else
//!   with the same prefix and metric is a conflict: theirs stays, ours waits, the owner is told.
//! - **No gap**: a route that is already right is left alone, a route that changes is replaced in one step, and nothing is
//!   removed before the owner says that it has [converged](Fib::converged).
//! - **The kernel is the truth about the kernel**: changes by others are heard of and repaired; when hearing fails (a
//!   full buffer, an interrupted dump, an interface that takes its routes along) the kernel is read back and compared.
//! - **Bounded**: two batches on their way, the latest state of a prefix wins, and a full queue makes
//!   [`Fib::apply`] wait.
//!
//! Other people's routes can be followed too, with or without routes of one's own: see [`RouteWatch`].
//!
//! # What does not belong here
//! Where routes come from. This crate knows prefixes and next hops, and nothing of BGP or any other protocol.

mod config;
mod counts;
mod decision;
mod diff;
mod error;
#[cfg(any(test, feature = "test-util"))]
pub mod fake_kernel;
mod fib;
mod kernel;
mod model;
mod netlink;
mod planner;
mod reach;
mod resolve;
mod status;
mod task;
mod watch;
mod worker;

pub use config::{FibConfig, NexthopObjects};
pub use counts::{BatchTimes, OperationCounts, Outcomes, ResyncCounts};
pub use decision::{Because, NextHopDecision, RouteExplanation, RouteState};
pub use error::{ConfigError, FibError, Refusal};
pub use fib::{Fib, FibEvents};
pub use model::{
    Change, InterfaceName, InvalidInterfaceName, InvalidNextHops, InvalidRoute, NextHop, NextHopSet, Route,
    RouteKind,
};
pub use reach::{Reach, Tunnel, TunnelWhen};
pub use status::{
    FibEvent, FibStatus, InstalledKind, InstalledNextHop, InstalledRoute, PendingRoute, ResyncReason,
};
pub use watch::{ForeignKind, ForeignRoute, RouteWatch, WatchChange, WatchConfig, WatchStatus};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
