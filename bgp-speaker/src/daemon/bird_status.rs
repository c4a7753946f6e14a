//! Status in BIRD's words, on sockets where Calico's tools look for BIRD: `calicoctl node status`, the probes of the node's
//! container, CalicoNodeStatus. One socket for each family, since they ask two daemons; read-only.
//!
//! ```text
//! client line -> command -> {show_status, show_protocols, show_route} -> Reply -> client
//!                              ^ views of the speaker's handle
//! ```
//!
//! What does not belong here: anything that the admin API does not tell too. See [the manual](crate::manual::bird_status)
//! for what is answered and what it means.

mod command;
mod protocols;
mod reply;
mod routes;
mod server;
mod status;
#[cfg(test)]
mod tests;
mod times;

pub(super) use server::BirdServer;

use crate::config::{Family, NeighborId, SpeakerConfig};
use crate::speaker::Stopped;
use crate::view::{NeighborView, StatusView};
use std::time::{Duration, SystemTime};

/// What BIRD would call this program's version: one word.
const VERSION: &str = concat!("bgp-speaker-", env!("CARGO_PKG_VERSION"));
/// The name of the only table.
const TABLE: &str = "master";

/// Whose status: one socket's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Side {
    family: Family,
}

impl Side {
    /// Is a session with this neighbour one of the daemon that this socket stands for?
    fn has(self, neighbor: &NeighborView) -> bool {
        (self.family == Family::Ipv6Unicast) == neighbor.address.contains(':')
    }
}

/// The speaker at one time, as far as status and sessions go.
#[derive(Debug)]
struct Picture {
    now: SystemTime,
    status: StatusView,
    reconfigured: SystemTime,
    /// Those of the side.
    neighbors: Vec<NeighborView>,
    config: SpeakerConfig,
}

impl Picture {
    async fn take(admin: &super::admin::Admin, side: Side) -> Result<Self, Stopped> {
        let mut neighbors = admin.handle.neighbors().await?;
        neighbors.retain(|neighbor| side.has(neighbor));
        Ok(Self {
            now: super::wall_clock::now(),
            status: admin.handle.status().await?,
            reconfigured: admin.desired.lock().await.changed_at(),
            neighbors,
            config: admin.handle.config().await?,
        })
    }

    /// The time so many seconds ago.
    fn before(&self, secs: u64) -> SystemTime {
        self.now.checked_sub(Duration::from_secs(secs)).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    fn listed(&self, neighbor: &NeighborView) -> Option<&crate::config::Neighbor> {
        let address = neighbor.address.parse().ok()?;
        self.config.neighbors.get(&NeighborId { address, port: neighbor.port })
    }
}

/// A session's name as one word.
fn word(name: &str) -> String {
    name.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
}
