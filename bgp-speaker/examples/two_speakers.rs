//! Two speakers in one process, over loopback: each announces a block, each learns the other's.
//!
//! `cargo run -p bgp-speaker --no-default-features --example two_speakers`

use bgp_speaker::{Announcement, Neighbor, RouteChange, Speaker, Stop};
use std::net::IpAddr;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (left, right): (IpAddr, IpAddr) = ("127.0.0.1".parse()?, "127.0.0.2".parse()?);
    let first = Speaker::builder()
        .router_id("10.0.0.1".parse()?)
        .listen((left, 0).into())
        .neighbor(Neighbor::ibgp(right).passive())
        .announce(Announcement::block("192.168.1.0/26".parse()?))
        .start()
        .await?;
    let port = first.listening()[0].port();
    let second = Speaker::builder()
        .router_id("10.0.0.2".parse()?)
        .neighbor(Neighbor::ibgp(left).port(port).local_address(right))
        .announce(Announcement::block("192.168.2.0/26".parse()?))
        .start()
        .await?;

    for (name, speaker) in [("first", &first), ("second", &second)] {
        let mut routes = speaker.subscribe();
        while let Some(change) = routes.next().await {
            if let RouteChange::Learned { prefix, next_hop, from, .. } = change {
                println!("{name}: {prefix} via {} (told by {from})", next_hop.addr());
                break;
            }
        }
    }
    first.stop(Stop::Leave).await?;
    second.stop(Stop::Leave).await?;
    Ok(())
}
