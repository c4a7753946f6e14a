//! A full table on a busy host: others change routes, take ours away, and pull the interface down.

mod common;

use common::*;
use fib_sync::*;
use ipnet::{IpNet, Ipv4Net};

const OURS: u32 = 100_000;
const FOREIGN: u32 = 50_000;
const TAKEN_AWAY: u32 = 1_000;

fn prefix(first_octet: u32, index: u32) -> IpNet {
    IpNet::V4(Ipv4Net::new(std::net::Ipv4Addr::from((first_octet << 24) + (index << 6)), 26).unwrap())
}

fn ours(gateway: &str) -> Vec<Route> {
    let set = NextHopSet::from(gateway.parse::<std::net::IpAddr>().unwrap());
    (0..OURS).map(|index| Route::unicast(prefix(20, index), set.clone())).collect()
}

async fn in_step(fib: &Fib) {
    until(fib, "in step", |status| status.is_in_step() && status.desired == OURS as usize).await;
    let routes = fib.installed().await.unwrap();
    assert_eq!(routes.len(), OURS as usize);
}

#[test]
fn a_full_table_is_in_step_while_others_come_and_go() {
    in_namespace(|| async {
        let fib = Fib::open(config()).await.unwrap();
        let others = std::thread::spawn(|| {
            let foreign =
                |verb: &str, index| format!("route {verb} blackhole {} proto static", prefix(60, index));
            ip_batch((0..FOREIGN).map(|index| foreign("add", index)));
            ip_batch((0..FOREIGN).map(|index| foreign("del", index)));
        });
        fib.replace_all(ours("10.0.0.2")).await.unwrap();
        fib.flush().await.unwrap();
        let thieves = std::thread::spawn(|| {
            ip_batch((0..TAKEN_AWAY).map(|index| format!("route del {} proto 12", prefix(20, index * 97))));
        });
        fib.replace_all(ours("10.0.0.3")).await.unwrap();
        let mut look = looks();
        while !others.is_finished() || !thieves.is_finished() {
            look.tick().await;
        }
        others.join().unwrap();
        thieves.join().unwrap();
        in_step(&fib).await;
        let status = fib.status();
        println!("repaired {}, resyncs {}, conflicts {}", status.repaired, status.resyncs, status.conflicts);
        assert_eq!(status.conflicts, 0);
    });
}

#[test]
fn a_full_table_survives_a_link_flap() {
    in_namespace(|| async {
        let fib = Fib::open(config()).await.unwrap();
        fib.replace_all(ours("10.0.0.2")).await.unwrap();
        in_step(&fib).await;
        ip("link set a0 down");
        until(&fib, "all are pending", |status| status.pending == OURS as usize).await;
        ip("link set a0 up");
        let begin = std::time::Instant::now();
        in_step(&fib).await;
        println!("{OURS} routes back after {:?}", begin.elapsed());
    });
}

#[test]
fn a_process_that_dies_in_the_middle_is_followed_without_a_gap() {
    in_namespace(|| async {
        let fib = Fib::open(config()).await.unwrap();
        fib.replace_all(ours("10.0.0.2")).await.unwrap();
        until(&fib, "half way", |status| status.installed > OURS as usize / 3).await;
        // The kernel and the next process cannot tell this from a SIGKILL: sockets close, nothing is cleaned up.
        drop(fib);
        let fib = Fib::open(config()).await.unwrap();
        let adopted = fib.adopted();
        assert!(adopted > OURS as usize / 3 && adopted <= OURS as usize, "{adopted}");
        fib.replace_all(ours("10.0.0.2")).await.unwrap();
        in_step(&fib).await;
        let status = fib.status();
        assert_eq!(status.removed, 0, "no valid route is removed");
        assert!(
            status.operations_ok as usize <= OURS as usize - adopted + 1,
            "only the missing are installed"
        );
    });
}

#[test]
fn an_owner_that_is_faster_than_the_kernel_waits_and_the_queue_stays_short() {
    in_namespace(|| async {
        let fib = Fib::open(FibConfig { queue_limit: 1000, batch_len: 100, ..config() }).await.unwrap();
        let mut longest = 0;
        for piece in ours("10.0.0.2").chunks(500) {
            fib.apply(piece.iter().cloned().map(Change::Set).collect()).await.unwrap();
            longest = longest.max(fib.status().queued);
        }
        assert!(longest <= 1500, "{longest} queued: the limit and one piece are all");
        assert!(longest > 500, "{longest} queued: the kernel was never behind, so this shows nothing");
        let status = fib.flush().await.unwrap();
        assert_eq!((status.installed, status.is_in_step()), (OURS as usize, true));
    });
}
