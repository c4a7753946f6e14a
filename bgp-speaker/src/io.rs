//! Sockets, timers and the loop around the engine. Thin: what can be decided without I/O is decided in
//! [`crate::engine`].
//!
//! One task, the [`driver`], owns the engine and all sockets. It learns of readiness through one waker per socket that
//! notes the socket's id, so that a turn costs what is ready and not what is open. Listeners and connection attempts
//! are small tasks of their own that hand sockets over; commands come through a bounded channel.

mod addresses;
mod clock;
pub(crate) mod command;
mod connector;
mod driver;
mod durations;
mod kernel_feed;
mod listener;
mod ready;
mod refusals;
mod socket;
mod socket_options;
mod subscribers;

pub(crate) use driver::{CHANNEL_CAPACITY, Driver, DriverParts};
pub use listener::ListenError;
