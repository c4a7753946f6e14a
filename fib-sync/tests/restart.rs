//! A process that is killed in the middle of a full table, and the next one: the kernel forwards all the while.

mod common;
#[path = "common/monitor.rs"]
mod monitor;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use fib_sync::*;
use ipnet::{IpNet, Ipv4Net};
use monitor::RouteWitness;

const ROUTES: u32 = 500_000;
/// Set for the process that is to be killed.
const VICTIM: &str = "FIB_SYNC_TEST_VICTIM";

fn routes() -> Vec<Route> {
    let set = NextHopSet::from("10.0.0.2".parse::<std::net::IpAddr>().unwrap());
    let prefix = |index: u32| Ipv4Net::new(std::net::Ipv4Addr::from((20 << 24) + (index << 8)), 24).unwrap();
    (0..ROUTES).map(|index| Route::unicast(IpNet::V4(prefix(index)), set.clone())).collect()
}

/// Not a test by itself: what the test below starts as a process of its own, in its namespace, and kills.
#[test]
fn victim() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let fib = Fib::open(config()).await.unwrap();
        fib.replace_all(routes()).await.unwrap();
        fib.flush().await.unwrap();
        std::future::pending::<()>().await;
    });
}

/// The kernel's own count of the main table's prefixes.
fn prefix_count() -> usize {
    let statistics = std::fs::read_to_string("/proc/thread-self/net/fib_triestat").unwrap();
    let main = statistics.split("Main:").nth(1).unwrap_or_default();
    let count = main.lines().find_map(|line| line.trim().strip_prefix("Prefixes:"));
    count.map_or(0, |count| count.trim().parse().unwrap())
}

#[test]
fn a_process_killed_in_the_middle_of_a_full_table_is_followed_without_one_deletion() {
    in_namespace(|| async {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim"])
            .env(VICTIM, "1")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begin = Instant::now();
        while prefix_count() < ROUTES as usize / 3 {
            assert!(begin.elapsed() < Duration::from_secs(60), "the victim installs nothing");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
        let left_behind = prefix_count();
        assert!(left_behind < ROUTES as usize, "killed too late: it had finished");

        let witness = RouteWitness::start(12);
        let fib = Fib::open(config()).await.unwrap();
        let adopted = fib.adopted();
        assert!(adopted > ROUTES as usize / 3 && adopted <= left_behind, "{adopted} of {left_behind}");
        fib.replace_all(routes()).await.unwrap();
        let status = fib.flush().await.unwrap();
        let seen = witness.stop();
        println!("killed at {adopted} of {ROUTES} routes; then {seen:?}");
        assert!(!seen.is_deaf, "the witness missed something");
        assert_eq!(seen.removed, 0, "a valid route was removed");
        assert_eq!(seen.added, ROUTES as usize - adopted, "what was there was left alone");
        assert!(status.is_in_step(), "{status:#?}");
        assert_eq!((status.removed, status.repaired), (0, 0));
        assert_eq!(fib.remove_all().await.unwrap(), ROUTES as usize);
        assert_eq!(ip("route show proto 12"), "");
    });
}
