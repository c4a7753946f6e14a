//! A node agent in miniature: announces this node's pod block and keeps the blocks of all other nodes at hand.
//!
//! `cargo run -p bgp-speaker --no-default-features --example node_agent -- OWN_ADDRESS BLOCK NEIGHBOUR..`
//!
//! With feature `fib`, `.fib(fib_sync::FibConfig::default())` on the builder puts the routes into the kernel instead.

use bgp_speaker::{Announcement, Neighbor, RouteChange, Speaker, Stop};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: node_agent OWN_ADDRESS BLOCK NEIGHBOUR..";
    let own: Ipv4Addr = arguments.next().ok_or(usage)?.parse()?;
    let block = arguments.next().ok_or(usage)?.parse()?;
    let mut builder =
        Speaker::builder().router_id(own).listen((own, 179).into()).announce(Announcement::block(block));
    for neighbour in arguments {
        builder = builder.neighbor(Neighbor::ibgp(neighbour.parse::<IpAddr>()?));
    }
    let speaker = builder.start().await?;

    let mut blocks = BTreeMap::new();
    let mut routes = speaker.subscribe();
    while let Some(change) = routes.next().await {
        match change {
            RouteChange::Learned { prefix, next_hop, .. } => _ = blocks.insert(prefix, next_hop.addr()),
            RouteChange::Withdrawn { prefix } => _ = blocks.remove(&prefix),
            RouteChange::Kernel { .. } | RouteChange::Local { .. } => continue,
            RouteChange::Converged => println!("every neighbour has told its routes"),
        }
        println!("{} blocks: {blocks:?}", blocks.len());
    }
    speaker.stop(Stop::Restart).await?;
    Ok(())
}
