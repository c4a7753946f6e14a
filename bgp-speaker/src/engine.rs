//! The speaker without I/O and without a clock: time and bytes come in, actions and bytes go out.
//!
//! [`Engine`] is one plain struct that one task drives; nothing in here locks, waits or asks for the time.
//! Its methods are of four kinds:
//!
//! - **inputs**: [`accept`](Engine::accept), [`connected`](Engine::connected),
//!   [`connect_failed`](Engine::connect_failed), [`handle_bytes`](Engine::handle_bytes),
//!   [`closed`](Engine::closed), [`handle_deadline`](Engine::handle_deadline),
//!   [`kernel_changed`](Engine::kernel_changed), [`apply`](Engine::apply), [`stop`](Engine::stop);
//! - **the batch**: [`flush`](Engine::flush) after any number of inputs: route selection, update groups. The driver
//!   calls it when no more input is queued, and after so much of it that waiting longer would not pay;
//! - **outputs**, to be drained after each of these: [`poll_effect`](Engine::poll_effect),
//!   [`poll_writable`](Engine::poll_writable) with [`fill`](Engine::fill) and
//!   [`written`](Engine::written), [`take_route_changes`](Engine::take_route_changes),
//!   [`next_deadline`](Engine::next_deadline);
//! - **questions**: the views.
//!
//! ```text
//! bytes -> frame, decode (bgp-proto) -> Session FSM (session.rs, peer.rs, collision.rs)
//!       -> import (speaker/import.rs) -> Rib: paths by dense prefix id, interned attributes, dirty list
//!       -> flush: decision.rs -> changes -> route changes for subscribers
//!                                        -> update groups: readvertise.rs, next_hop.rs, encode once -> log
//!       -> fill: control messages, then group bytes -> the driver's vectored write
//! ```

mod backoff;
mod candidates;
pub mod collision;
pub mod conn;
mod deadlines;
pub mod decision;
mod kernel;
mod malformed;
mod message_counts;
mod negotiate;
mod next_hop;
pub(crate) mod pages;
mod peer;
pub mod policy;
pub mod readvertise;
mod rib;
mod send_hold;
pub mod session;
mod session_change;
mod speaker;
mod time;
mod update_group;
pub(crate) mod wire;

pub use conn::ConnId;
pub use kernel::{KernelChange, KernelRoute};
pub use next_hop::SelfAddresses;
pub use pages::{PageAnswer, PageQuestion, Pager};
pub use rib::PrefixId;
pub use session::StateKind;
pub use session_change::{SessionChange, SessionChangeKind, SessionEnd};
pub use speaker::{
    BestRoute, ConnectTarget, Effect, Engine, RefusedConnection, RouteChange, StartKind, StopMode,
};
pub use time::MonoTime;

#[cfg(any(test, feature = "test-util"))]
pub mod testnet;

#[cfg(test)]
mod tests;
