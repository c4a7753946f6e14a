//! A full mesh of speakers in one process, through the library: what a simulation, a test or a crowded node agent runs.
//!
//! It runs in a process of its own, so that its costs are its own. It says on standard output when everything is in place.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bgp_speaker::{Announcement, Neighbor, RouteChange, Speaker};
use ipnet::IpNet;

use super::prefixes::PrefixSpace;
use super::site::client_address;
use crate::raw_peer::BGP_PORT;

/// What the process says when every speaker has every route.
pub const CONVERGED: &str = "converged";

/// How big the mesh is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mesh {
    /// Speakers, each with a session with every other.
    pub speaker_count: usize,
    /// Blocks that each announces.
    pub per_speaker: usize,
}

impl Mesh {
    /// Sessions between them.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.speaker_count * (self.speaker_count - 1) / 2
    }

    /// Runs it until the process is killed.
    ///
    /// # Errors
    /// If the runtime or a speaker does not start, or a speaker ends.
    pub fn run(&self) -> Result<(), Box<dyn std::error::Error>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(self.converge())
    }

    async fn converge(&self) -> Result<(), Box<dyn std::error::Error>> {
        let space = PrefixSpace::blocks(self.speaker_count * self.per_speaker);
        let mut speakers = Vec::with_capacity(self.speaker_count);
        for index in 0..self.speaker_count {
            speakers.push(self.start(index, &space).await?);
        }
        for (index, speaker) in speakers.iter().enumerate() {
            self.wait_complete(index, speaker, &space).await?;
        }
        println!("{CONVERGED}");
        std::future::pending().await
    }

    async fn start(&self, index: usize, space: &PrefixSpace) -> Result<Speaker, Box<dyn std::error::Error>> {
        let own = client_address(index);
        let mut builder = Speaker::builder().router_id(own).listen(SocketAddr::new(own.into(), BGP_PORT));
        for other in (0..self.speaker_count).filter(|other| *other != index) {
            let neighbor = Neighbor::ibgp(client_address(other).into()).local_address(own.into());
            // One of the two connects, as nodes of a Calico mesh do.
            builder = builder.neighbor(if index < other { neighbor.passive() } else { neighbor });
        }
        for number in index * self.per_speaker..(index + 1) * self.per_speaker {
            builder = builder.announce(Announcement::block(IpNet::V4(space.prefix(number))));
        }
        Ok(builder.start().await?)
    }

    /// Waits until a speaker has every block of every other, each with its owner as next hop.
    async fn wait_complete(
        &self,
        index: usize,
        speaker: &Speaker,
        space: &PrefixSpace,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let wanted: BTreeMap<IpNet, IpAddr> = (0..space.count())
            .filter(|number| number / self.per_speaker != index)
            .map(|number| (IpNet::V4(space.prefix(number)), client_address(number / self.per_speaker).into()))
            .collect();
        let mut held = BTreeMap::new();
        let mut right_count = 0;
        let mut routes = speaker.subscribe();
        while right_count < wanted.len() || held.len() > wanted.len() {
            let change = routes.next().await.ok_or("a speaker ended")?;
            let (prefix, new) = match change {
                RouteChange::Learned { prefix, next_hop, .. } => (prefix, Some(next_hop.addr())),
                RouteChange::Withdrawn { prefix } => (prefix, None),
                RouteChange::Kernel { .. } | RouteChange::Local { .. } | RouteChange::Converged => continue,
            };
            let old = match new {
                Some(hop) => held.insert(prefix, hop),
                None => held.remove(&prefix),
            };
            let is_right = |hop: Option<IpAddr>| hop.is_some() && hop.as_ref() == wanted.get(&prefix);
            match (is_right(old), is_right(new)) {
                (false, true) => right_count += 1,
                (true, false) => right_count -= 1,
                _ => {}
            }
        }
        Ok(())
    }
}
