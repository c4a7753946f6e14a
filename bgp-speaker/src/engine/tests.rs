//! Stories: speakers on a simulated network, one rule each.

use super::speaker::{Engine, StopMode};
use super::testnet::{Configure, Network, NodeId, Revival, Simulation, address, prefix, simulate};
use crate::config::{
    Announcement, Family, ListenRange, Neighbor, NextHopMode, PolicyRef, Role, SessionOptions, SpeakerConfig,
};
use bgp_proto::{Asn, Community, MessageType, SessionParams};
use std::time::Duration;

mod add_paths;
mod bad_input;
mod collisions;
mod configuration;
mod dynamic;
mod explain;
mod external;
mod filters;
mod internal;
mod kernel;
mod pages;
mod random;
mod reflection;
mod refresh;
mod restart;
mod sessions;
mod shared_address;
mod slow_readers;

const SECOND: Duration = Duration::from_secs(1);

/// A reflector (node 1) and its clients (nodes 2 to `count`), each with a /24 and a /48 of its own.
fn star(network: &mut Network, count: u32) -> Vec<NodeId> {
    let clients: Vec<u32> = (2..=count).collect();
    let mut nodes = vec![network.start(SpeakerConfig::numbered(1).reflects(1).clients(&clients))];
    nodes.extend(clients.iter().map(|number| network.start(client(*number))));
    nodes
}

/// A client of node 1.
fn client(number: u32) -> SpeakerConfig {
    SpeakerConfig::numbered(number).ibgp(&[1]).announces(&[&v4(number), &v6(number)])
}

fn v4(number: u32) -> String {
    format!("192.168.{number}.0/24")
}

fn v6(number: u32) -> String {
    format!("fd01:{number}::/48")
}

/// UPDATEs that one node heard from another, without End-of-RIB markers.
fn updates(network: &Network, to: NodeId, from: NodeId) -> usize {
    let is_update = |kind| kind == MessageType::UPDATE;
    network.heard_by(to, from).filter(|heard| is_update(heard.kind()) && heard.end_of_rib().is_none()).count()
}

/// Prefixes that one node was told to forget by another.
fn withdrawals(network: &Network, to: NodeId, from: NodeId) -> usize {
    network.heard_by(to, from).map(|heard| heard.counts().1).sum()
}

/// Codes of the NOTIFICATIONs that one node heard from another.
fn notifications(network: &Network, to: NodeId, from: NodeId) -> Vec<(u8, u8)> {
    network.heard_by(to, from).filter_map(|heard| heard.notification()).collect()
}

/// Sessions that one node had with another.
fn session_count(network: &Network, at: NodeId, of: NodeId) -> u64 {
    network.neighbor(at, of).map_or(0, |view| view.established_count)
}

/// Changes what a node says about a neighbour.
fn change(network: &mut Network, at: NodeId, of: NodeId, change: impl FnOnce(&mut Neighbor)) {
    network.apply(at, |config| change(config.neighbors.get_mut(&of.address().into()).expect("a neighbour")));
}
