//! Configurations of test speakers in one line each.

use crate::config::{Announcement, ListenRange, Neighbor, SpeakerConfig};
use bgp_proto::{Asn, BgpId};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The IPv4 address of the n-th speaker, counted from 1.
pub fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number))
}

/// Its IPv6 address.
pub fn address_v6(number: u32) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(number)))
}

/// A prefix written as text.
///
/// # Panics
/// If it is none.
pub fn prefix(text: &str) -> IpNet {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// One change after another, on the way to a configuration.
pub trait Configure: Sized {
    /// The n-th speaker of AS 64512, which knows nobody.
    fn numbered(number: u32) -> Self;
    /// Of another AS.
    fn in_as(self, asn: u32) -> Self;
    /// A reflector of this cluster.
    fn reflects(self, cluster: u32) -> Self;
    /// With a neighbour.
    fn peers_with(self, neighbor: Neighbor) -> Self;
    /// With iBGP neighbours by number.
    fn ibgp(self, numbers: &[u32]) -> Self;
    /// With clients by number.
    fn clients(self, numbers: &[u32]) -> Self;
    /// With an eBGP neighbour by number.
    fn ebgp(self, number: u32, asn: u32) -> Self;
    /// With dynamic neighbours.
    fn listens_to(self, range: ListenRange) -> Self;
    /// Originates routes to these prefixes.
    fn announces(self, prefixes: &[&str]) -> Self;
    /// Proposes this hold time.
    fn hold_time(self, secs: u16) -> Self;
    /// Without graceful restart.
    fn without_graceful_restart(self) -> Self;
}

impl Configure for SpeakerConfig {
    fn numbered(number: u32) -> Self {
        SpeakerConfig::new(Ipv4Addr::from(0x0a00_0000 + number))
    }

    fn in_as(mut self, asn: u32) -> Self {
        self.asn = Asn(asn);
        self
    }

    fn reflects(mut self, cluster: u32) -> Self {
        self.cluster_id = Some(BgpId(cluster));
        self
    }

    fn peers_with(mut self, neighbor: Neighbor) -> Self {
        self.neighbors.insert(neighbor.id(), neighbor);
        self
    }

    fn ibgp(self, numbers: &[u32]) -> Self {
        numbers.iter().fold(self, |config, number| config.peers_with(Neighbor::ibgp(address(*number))))
    }

    fn clients(self, numbers: &[u32]) -> Self {
        numbers.iter().fold(self, |config, number| config.peers_with(Neighbor::client(address(*number))))
    }

    fn ebgp(self, number: u32, asn: u32) -> Self {
        self.peers_with(Neighbor::ebgp(address(number), Asn(asn)))
    }

    fn listens_to(mut self, range: ListenRange) -> Self {
        self.listen_ranges.push(range);
        self
    }

    fn announces(mut self, prefixes: &[&str]) -> Self {
        for text in prefixes {
            let announcement = Announcement::route(prefix(text));
            self.announcements.insert(announcement.prefix, announcement);
        }
        self
    }

    fn hold_time(mut self, secs: u16) -> Self {
        self.hold_time_secs = secs;
        self
    }

    fn without_graceful_restart(mut self) -> Self {
        self.graceful_restart.enabled = false;
        self
    }
}
