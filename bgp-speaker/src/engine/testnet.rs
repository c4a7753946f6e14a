//! A network of speakers in one process: virtual time, TCP streams in memory, and everything random from one seed.
//!
//! For tests and simulations only (feature `test-util`). A [`Network`] holds engines and carries out what they ask
//! for: streams with a delay, with chunk boundaries anywhere, with a bounded window, that can be reset, stalled or
//! refused. Nothing waits: the next event is taken out of a queue and the clock jumps to it, so an hour of a quiet
//! network costs a few thousand events. The same seed gives the same run.
//!
//! - [`Weather`] says how rough the network is;
//! - [`Network::converge`] runs until nothing moves any more and checks that all tables agree;
//! - [`model`] computes the same tables naively, from the configurations alone;
//! - [`simulate`] is a random run over all of it.

mod configure;
mod dice;
pub mod model;
pub mod naive_filter;
mod network;
mod node;
mod record;
mod simulation;
mod stream;
mod tables;
mod weather;

pub use configure::{Configure, address, address_v6, prefix};
pub use dice::Dice;
pub use network::Network;
pub use node::{NodeId, Revival};
pub use record::Heard;
pub use simulation::{Simulation, simulate};
pub use stream::StreamId;
pub use tables::Paths;
pub use weather::Weather;
