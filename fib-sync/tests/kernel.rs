//! The crate against the real kernel, each test in a network namespace of its own.

mod common;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use common::*;
use fib_sync::*;
use ipnet::IpNet;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn via(prefix: &str, gateway: &str) -> Route {
    Route::via(net(prefix), addr(gateway))
}

fn hop(gateway: &str) -> NextHop {
    NextHop::via(addr(gateway))
}

fn dev(name: &str) -> InterfaceName {
    name.parse().unwrap()
}

async fn open(config: FibConfig) -> Fib {
    Fib::open(config).await.unwrap()
}

/// Every way of putting next hops into the kernel.
fn both_ways() -> [FibConfig; 2] {
    let plain = FibConfig { nexthop_objects: NexthopObjects::Never, ..config() };
    [config(), FibConfig { table: 100, ..plain }]
}

#[test]
fn routes_of_both_families_and_all_kinds_are_installed_and_removed() {
    in_namespace(|| async {
        for config in both_ways() {
            let fib = open(config.clone()).await;
            let kind = |prefix: &str, kind| Route { prefix: net(prefix), kind, metric: None };
            let routes = vec![
                via("10.1.0.0/26", "10.0.0.2"),
                via("fd01::/64", "fd00::2"),
                kind("10.2.0.0/16", RouteKind::Blackhole),
                kind("fd02::/64", RouteKind::Blackhole),
                kind("10.3.0.0/16", RouteKind::Unreachable),
                kind("fd03::/64", RouteKind::Unreachable),
                kind("10.4.0.0/16", RouteKind::Prohibit),
                kind("fd04::/64", RouteKind::Prohibit),
                via("10.5.0.0/16", "fd00::2"),
                Route::unicast(net("0.0.0.0/0"), NextHopSet::new([NextHop::dev(dev("a0"))]).unwrap()),
                Route::unicast(net("fd05::/64"), NextHopSet::new([hop("fe80::1").on(dev("a0"))]).unwrap()),
                Route::unicast(
                    net("10.6.0.0/16"),
                    NextHopSet::new([hop("192.0.2.1").on(dev("a0")).onlink()]).unwrap(),
                ),
                Route::unicast(
                    net("10.7.0.0/16"),
                    NextHopSet::from(addr("10.0.0.2")).with_preferred_source(addr("10.0.0.1")).with_mtu(1400),
                ),
            ];
            let count = routes.len();
            fib.replace_all(routes).await.unwrap();
            let status = fib.flush().await.unwrap();
            assert!(status.is_in_step(), "{status:#?}");
            assert_eq!(installed(&fib).await.len(), count);
            assert!(show("10.1.0.0/26").contains("via 10.0.0.2 dev a0"), "{}", show("10.1.0.0/26"));
            assert!(show("10.1.0.0/26").contains("proto bird"), "12 is named bird: {}", show("10.1.0.0/26"));
            assert!(show("fd01::/64").contains("via fd00::2 dev a0"));
            assert!(show("10.2.0.0/16").starts_with("blackhole"));
            assert!(show("fd02::/64").starts_with("blackhole"));
            assert!(show("fd03::/64").starts_with("unreachable"));
            assert!(show("10.4.0.0/16").starts_with("prohibit"));
            assert!(show("10.5.0.0/16").contains("via inet6 fd00::2 dev a0"));
            assert!(show("10.6.0.0/16").contains("onlink"));
            assert!(show("10.7.0.0/16").contains("src 10.0.0.1"));
            assert!(show("10.7.0.0/16").contains("mtu 1400"));

            // Read back by somebody who has not written them, they are equal: nothing is changed.
            drop(fib);
            let mut monitor = RouteMonitor::start().await;
            let fib = open(config).await;
            assert_eq!(fib.adopted(), count);
            assert_eq!(fib.remove_all().await.unwrap(), count);
            assert_eq!(installed(&fib).await, []);
            assert_eq!(monitor.take("Deleted").await, count);
            assert!(
                ip("nexthop show").is_empty(),
                "no nexthop object is left behind: {}",
                ip("nexthop show")
            );
        }
    });
}

#[test]
fn adopting_what_is_right_changes_nothing() {
    in_namespace(|| async {
        for config in both_ways() {
            let routes = || {
                vec![
                    via("10.1.0.0/26", "10.0.0.2"),
                    via("fd01::/64", "fd00::2"),
                    Route::blackhole(net("10.2.0.0/16")),
                    Route::blackhole(net("fd02::/64")),
                    ecmp("10.3.0.0/16", &[("10.0.0.2", 1), ("10.0.0.3", 2)]),
                    ecmp("fd03::/64", &[("fd00::2", 1), ("fd00::3", 3)]),
                ]
            };
            let fib = open(config.clone()).await;
            fib.replace_all(routes()).await.unwrap();
            assert!(fib.flush().await.unwrap().is_in_step());
            drop(fib);

            let mut monitor = RouteMonitor::start().await;
            let fib = open(config).await;
            assert_eq!(fib.adopted(), 6);
            fib.replace_all(routes()).await.unwrap();
            fib.converged().await.unwrap();
            let status = fib.flush().await.unwrap();
            assert!(status.is_in_step(), "{status:#?}");
            assert_eq!(status.operations_ok + status.operations_failed, 0, "not one request");
            assert_eq!(monitor.take("").await, 0, "not one notice");
            fib.remove_all().await.unwrap();
        }
    });
}

fn ecmp(prefix: &str, hops: &[(&str, u8)]) -> Route {
    let weighted = |(gateway, weight): &(&str, u8)| hop(gateway).weight((*weight).try_into().unwrap());
    Route::unicast(net(prefix), NextHopSet::new(hops.iter().map(weighted)).unwrap())
}

#[test]
fn a_changed_route_is_replaced_without_a_gap() {
    in_namespace(|| async {
        for config in both_ways() {
            let fib = open(config).await;
            let (v4, v6) = ("10.1.0.0/26", "fd01::/64");
            let versions = [
                [via(v4, "10.0.0.2"), via(v6, "fd00::2")],
                [ecmp(v4, &[("10.0.0.2", 1), ("10.0.0.3", 2)]), ecmp(v6, &[("fd00::2", 1), ("fd00::3", 2)])],
                [Route::blackhole(net(v4)), Route::blackhole(net(v6))],
                [via(v4, "10.0.0.4"), via(v6, "fd00::4")],
            ];
            let mut monitor = RouteMonitor::start().await;
            for version in versions.iter().chain(versions.iter().rev()) {
                fib.apply(version.iter().cloned().map(Change::Set).collect()).await.unwrap();
                let status = fib.flush().await.unwrap();
                assert!(status.is_in_step(), "{status:#?}");
                assert_eq!(installed(&fib).await.len(), 2, "{}", show("fd01::/64"));
            }
            assert_eq!(monitor.take("Deleted").await, 0, "nothing was removed on the way");
            fib.remove_all().await.unwrap();
        }
    });
}

#[test]
fn leftovers_stay_until_the_owner_has_converged() {
    in_namespace(|| async {
        let fib = open(config()).await;
        fib.replace_all(vec![via("10.1.0.0/24", "10.0.0.2"), via("10.2.0.0/24", "10.0.0.2")]).await.unwrap();
        fib.flush().await.unwrap();
        drop(fib);
        // A route that another metric was configured for is ours too.
        ip("route add 10.2.0.0/24 via 10.0.0.2 proto 12 metric 77");
        ip("route add 10.3.0.0/24 via 10.0.0.2 proto 13 metric 1024");
        ip("route add 10.4.0.0/24 via 10.0.0.2 proto 12 metric 1024 table 7");

        let fib = open(config()).await;
        let mut events = fib.events();
        assert_eq!(fib.adopted(), 3);
        fib.apply(vec![Change::Set(via("10.1.0.0/24", "10.0.0.3"))]).await.unwrap();
        let status = fib.flush().await.unwrap();
        assert_eq!((status.desired, status.installed, status.leftover), (1, 1, 2));
        assert!(show("10.2.0.0/24").contains("10.0.0.2"));

        fib.converged().await.unwrap();
        let status = fib.flush().await.unwrap();
        assert!(status.is_in_step(), "{status:#?}");
        assert_eq!(show("10.2.0.0/24"), "");
        assert_ne!(show("10.3.0.0/24"), "", "another protocol");
        assert_ne!(show("10.4.0.0/24"), "", "another table");
        let swept = event(&mut events, "swept", |event| matches!(event, FibEvent::Swept { .. })).await;
        assert_eq!(swept, FibEvent::Swept { count: 2 });
        assert_eq!(fib.remove_all().await.unwrap(), 1);
        assert_ne!(show("10.3.0.0/24"), "", "another protocol");
    });
}

#[test]
fn a_route_with_another_metric_replaces_the_old_one_without_a_gap() {
    in_namespace(|| async {
        for config in both_ways() {
            // As BIRD leaves them, where it knows nothing of priorities: without a metric.
            let table = config.table;
            ip(&format!("route add 10.3.0.0/24 via 10.0.0.2 proto 12 table {table}"));
            ip(&format!("route add blackhole 10.4.0.0/24 proto 12 table {table}"));
            let fib = open(config).await;
            assert_eq!(fib.adopted(), 2);
            let mut monitor = RouteMonitor::start().await;
            let at = |metric| {
                vec![
                    Change::Set(via("10.1.0.0/24", "10.0.0.2").with_metric(metric)),
                    Change::Set(via("fd01::/64", "fd00::2").with_metric(metric)),
                    Change::Set(via("10.3.0.0/24", "10.0.0.2").with_metric(metric)),
                    Change::Set(Route::blackhole(net("10.4.0.0/24")).with_metric(metric)),
                ]
            };
            let prefixes = ["10.1.0.0/24", "fd01::/64", "10.3.0.0/24", "10.4.0.0/24"];
            for metric in [1024, 512, 2_147_483_547, 1024] {
                fib.apply(at(metric)).await.unwrap();
                let status = fib.flush().await.unwrap();
                assert!(status.is_in_step(), "{status:#?}");
                let told = monitor.told().await;
                for prefix in prefixes {
                    let shown = show(prefix);
                    assert!(
                        shown.contains(&format!("metric {metric}")) && shown.lines().count() == 1,
                        "{shown}"
                    );
                    let about: Vec<&String> = told.iter().filter(|line| line.contains(prefix)).collect();
                    assert!(!about[0].starts_with("Deleted"), "{about:?}");
                    assert!(about[1..].iter().all(|line| line.starts_with("Deleted")), "{about:?}");
                }
            }
            fib.remove_all().await.unwrap();
            assert_eq!(show("10.1.0.0/24"), "");
        }
    });
}

#[test]
fn foreign_routes_are_conflicts_and_stay() {
    in_namespace(|| async {
        let foreign = ["10.1.0.0/24", "fd01::/64", "10.2.0.0/24", "fd02::/64"];
        ip("route add 10.1.0.0/24 via 10.0.0.9 proto static metric 1024");
        ip("-6 route add fd01::/64 via fd00::9 proto static metric 1024");
        ip("route add blackhole 10.2.0.0/24 proto static metric 1024");
        ip("-6 route add blackhole fd02::/64 proto static metric 1024");
        let before = foreign.map(show);
        let fib = open(config()).await;
        let mut events = fib.events();
        let ours = vec![
            via("10.1.0.0/24", "10.0.0.2"),
            via("fd01::/64", "fd00::2"),
            via("10.2.0.0/24", "10.0.0.2"),
            via("fd02::/64", "fd00::2"),
            // The connected network itself, which has another metric: both live side by side.
            via("10.0.0.0/24", "10.0.0.2"),
            via("10.9.0.0/24", "10.0.0.2"),
        ];
        fib.replace_all(ours).await.unwrap();
        let status = fib.flush().await.unwrap();
        assert_eq!((status.conflicts, status.pending, status.installed), (4, 4, 2), "{status:#?}");
        event(&mut events, "conflict", |event| *event == FibEvent::Conflict { prefix: net("fd01::/64") })
            .await;
        assert_eq!(foreign.map(show), before, "theirs are as they were");
        assert!(status.pending_routes.iter().all(|pending| pending.is_conflict));

        // When theirs goes, ours takes its place.
        ip("route del 10.1.0.0/24 proto static metric 1024");
        ip("-6 route del fd01::/64 proto static metric 1024");
        until(&fib, "two conflicts are over", |status| status.conflicts == 2 && status.installed == 4).await;
        assert!(show("fd01::/64").contains("fd00::2"));

        // Somebody overwrites one of ours: theirs stays.
        ip("route replace 10.9.0.0/24 via 10.0.0.9 proto static metric 1024");
        until(&fib, "the overwritten route is a conflict", |status| status.conflicts == 3).await;
        assert!(show("10.9.0.0/24").contains("proto static"));
        fib.remove_all().await.unwrap();
        assert!(show("10.9.0.0/24").contains("proto static"));
        assert!(show("10.2.0.0/24").contains("proto static"));
    });
}

#[test]
fn a_route_waits_for_its_interface() {
    in_namespace(|| async {
        for config in both_ways() {
            ip("link set a0 down");
            let fib = open(config).await;
            fib.apply(vec![
                Change::Set(via("10.1.0.0/24", "10.0.0.2")),
                Change::Set(Route::unicast(
                    net("10.2.0.0/24"),
                    NextHopSet::new([hop("10.0.0.2").on(dev("b0"))]).unwrap(),
                )),
                Change::Set(Route::blackhole(net("10.3.0.0/24"))),
            ])
            .await
            .unwrap();
            let status = fib.flush().await.unwrap();
            assert_eq!((status.installed, status.pending), (1, 2), "the rest of the batch is installed");
            let texts: Vec<String> = status.pending_routes.iter().map(|p| p.reason.to_string()).collect();
            assert!(texts[0].contains("invalid gateway") || texts[0].contains("unreachable"), "{texts:?}");
            assert!(texts[1].contains("no interface b0"), "{texts:?}");

            ip("link set a0 up");
            until(&fib, "installed with the interface", |status| status.installed == 2).await;
            ip("link add b0 type veth peer name b1");
            ip("link set b0 up");
            ip("address flush dev a0");
            ip("address add 10.0.0.1/24 dev b0");
            let has_moved = || show("10.1.0.0/24").contains("dev b0");
            until(&fib, "moved with their network", |now| now.is_in_step() && has_moved()).await;

            fib.remove_all().await.unwrap();
            ip("link del b0");
            ip("address add 10.0.0.1/24 dev a0");
            ip("address add fd00::1/64 dev a0 nodad");
        }
    });
}

#[test]
fn a_link_flap_brings_every_route_back() {
    in_namespace(|| async {
        for config in both_ways() {
            let fib = open(config).await;
            let mut routes: Vec<Route> =
                (0..200).map(|i| via(&format!("10.1.{i}.0/24"), "10.0.0.2")).collect();
            routes.extend((0..200).map(|i| via(&format!("fd01:{i:x}::/64"), "fd00::2")));
            fib.replace_all(routes).await.unwrap();
            assert!(fib.flush().await.unwrap().is_in_step());
            ip("link set a0 down");
            until(&fib, "all are pending", |status| status.pending == 400).await;
            ip("link set a0 up");
            ip("address replace fd00::1/64 dev a0 nodad");
            until(&fib, "all are back", |status| status.is_in_step()).await;
            assert_eq!(installed(&fib).await.len(), 400);
            fib.remove_all().await.unwrap();
        }
    });
}

#[test]
fn what_others_do_to_our_routes_is_repaired() {
    in_namespace(|| async {
        for config in both_ways() {
            let table = config.table;
            let fib = open(config).await;
            let mut events = fib.events();
            fib.replace_all(vec![
                via("10.1.0.0/24", "10.0.0.2"),
                via("fd01::/64", "fd00::2"),
                Route::blackhole(net("10.2.0.0/24")),
            ])
            .await
            .unwrap();
            fib.flush().await.unwrap();
            for (round, change) in [
                format!("route del 10.1.0.0/24 table {table}"),
                format!("-6 route del fd01::/64 table {table}"),
                format!("route replace 10.1.0.0/24 via 10.0.0.7 proto 12 metric 1024 table {table}"),
                format!("route replace unreachable 10.2.0.0/24 proto 12 metric 1024 table {table}"),
            ]
            .iter()
            .enumerate()
            {
                let begin = std::time::Instant::now();
                ip(change);
                until(&fib, change, |status| status.repaired == round as u64 + 1 && status.is_in_step())
                    .await;
                println!("repaired after {:?} (with the `ip` command): {change}", begin.elapsed());
                event(&mut events, "repair", |event| matches!(event, FibEvent::Repaired { .. })).await;
            }
            let routes = installed(&fib).await;
            assert!(routes[0].is_via(net("10.1.0.0/24"), addr("10.0.0.2")), "{routes:?}");
            // A route under our id that nobody asked for goes.
            ip(&format!("route add 10.8.0.0/24 via 10.0.0.2 proto 12 metric 1024 table {table}"));
            until(&fib, "an unasked-for route goes", |status| status.removed == 1).await;
            fib.remove_all().await.unwrap();
        }
    });
}

#[test]
fn nexthop_objects_deleted_by_others_come_back() {
    in_namespace(|| async {
        let fib = open(config()).await;
        fib.replace_all(vec![
            via("10.1.0.0/24", "10.0.0.2"),
            ecmp("10.2.0.0/24", &[("10.0.0.2", 1), ("10.0.0.3", 2)]),
        ])
        .await
        .unwrap();
        fib.flush().await.unwrap();
        let ids: Vec<u32> = installed(&fib).await.iter().filter_map(|route| route.nexthop_id).collect();
        assert_eq!(ids.len(), 2, "both routes use objects");
        for id in ids {
            let before = fib.status();
            ip(&format!("nexthop del id {id}"));
            let is_back = |now: &FibStatus| now.repaired > before.repaired && now.is_in_step();
            until(&fib, "the routes are back", |now| now.resyncs > before.resyncs && is_back(now)).await;
            assert_eq!(installed(&fib).await.len(), 2);
        }
    });
}

#[test]
fn a_gateway_that_moves_costs_one_message() {
    in_namespace(|| async {
        ip("link add b0 type veth peer name b1");
        ip("link set b0 up");
        ip("link set b1 up");
        let fib = open(config()).await;
        let routes: Vec<Route> = (0..250).map(|i| via(&format!("10.1.{i}.0/24"), "10.0.0.2")).collect();
        fib.replace_all(routes).await.unwrap();
        let before = fib.flush().await.unwrap();
        ip("address add 10.0.0.1/25 dev b0");
        let moved = || ip("route show proto 12").lines().all(|line| line.contains("dev b0"));
        let status = until(&fib, "all routes leave by b0", |_| moved()).await;
        fib.flush().await.unwrap();
        let status = until(&fib, "settled", |now| now.operations_ok >= status.operations_ok).await;
        assert_eq!(status.operations_ok - before.operations_ok, 1);
        assert_eq!(status.operations_failed, 0);
    });
}

#[test]
fn instances_do_not_disturb_each_other() {
    in_namespace(|| async {
        let one = open(config()).await;
        // A table that does not fit into the header's byte.
        let two = open(FibConfig { table: 100_000, ..config() }).await;
        let three = open(FibConfig { protocol: 99, metric: 50, ..config() }).await;
        for fib in [&one, &two, &three] {
            fib.replace_all(vec![via("10.1.0.0/24", "10.0.0.2"), via("fd01::/64", "fd00::2")]).await.unwrap();
        }
        for fib in [&one, &two, &three] {
            assert!(fib.flush().await.unwrap().is_in_step());
            assert_eq!(installed(fib).await.len(), 2);
        }
        assert_eq!(two.remove_all().await.unwrap(), 2);
        assert_eq!(three.remove_all().await.unwrap(), 2);
        assert!(one.flush().await.unwrap().is_in_step());
        assert_eq!(installed(&one).await.len(), 2);
    });
}

#[test]
fn impossible_routes_are_refused_and_the_others_accepted() {
    in_namespace(|| async {
        let fib = open(config()).await;
        let routes = vec![
            Route::blackhole("10.1.0.1/24".parse().unwrap()),
            via("fd01::/64", "10.0.0.2"),
            via("10.2.0.0/24", "10.0.0.2"),
        ];
        let error = fib.replace_all(routes).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "blackhole 10.1.0.1/24: the prefix has host bits set (and 1 more such routes)"
        );
        assert_eq!(fib.flush().await.unwrap().installed, 1);
        let error = Fib::open(FibConfig { protocol: 2, ..config() }).await.unwrap_err();
        assert!(matches!(error, FibError::Config(ConfigError::Protocol { protocol: 2 })), "{error}");
    });
}

#[test]
fn dropping_the_handle_leaves_the_routes() {
    in_namespace(|| async {
        let fib = open(config()).await;
        fib.replace_all(vec![via("10.1.0.0/24", "10.0.0.2")]).await.unwrap();
        fib.flush().await.unwrap();
        let mut events = fib.events();
        drop(fib);
        assert_eq!(events.recv().await, None, "the task has stopped");
        assert!(show("10.1.0.0/24").contains("10.0.0.2"));
    });
}

/// `ip monitor route`, and a way to know that it has told everything so far.
struct RouteMonitor {
    child: tokio::process::Child,
    lines: tokio::io::Lines<tokio::io::BufReader<tokio::process::ChildStdout>>,
}

impl RouteMonitor {
    async fn start() -> RouteMonitor {
        use tokio::io::AsyncBufReadExt;
        let mut child = tokio::process::Command::new("ip")
            .args(["monitor", "route", "nexthop"])
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let mut monitor = RouteMonitor { child, lines };
        monitor.wait_until_bound();
        // Before it listens, `ip` reads the list of links, and what it is told meanwhile is lost.
        while monitor.hears_nothing().await {}
        monitor
    }

    /// Does the monitor miss what happens now?
    async fn hears_nothing(&mut self) -> bool {
        let mark = format!("198.51.100.{}", MARKS.fetch_add(1, Ordering::Relaxed));
        ip(&format!("route add blackhole {mark} table 4242"));
        ip(&format!("route del blackhole {mark} table 4242"));
        let is_end = |line: &str| line.contains(&mark) && line.starts_with("Deleted");
        let heard = async { while !is_end(&self.lines.next_line().await.unwrap().unwrap()) {} };
        tokio::time::timeout(std::time::Duration::from_millis(200), heard).await.is_err()
    }

    /// The monitor's socket is bound once the kernel lists it.
    fn wait_until_bound(&mut self) {
        let pid = self.child.id().unwrap().to_string();
        let begin = std::time::Instant::now();
        loop {
            let listed = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
            let is_bound = |line: &str| {
                let mut fields = line.split_whitespace();
                let (protocol, port, groups) = (fields.nth(1), fields.next(), fields.next());
                protocol == Some("0")
                    && port == Some(pid.as_str())
                    && groups.is_some_and(|groups| groups != "00000000")
            };
            if listed.lines().any(is_bound) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "ip monitor never listened: {listed}");
            std::thread::yield_now();
        }
    }

    /// How many lines about our routes that start with `prefix` were told until now.
    async fn take(&mut self, prefix: &str) -> usize {
        let told = self.told().await;
        told.iter().filter(|line| line.starts_with(prefix) && !line.starts_with("Deleted id")).count()
    }

    /// The lines about our routes and nexthop objects that were told until now.
    async fn told(&mut self) -> Vec<String> {
        let mark = format!("198.51.100.{}", MARKS.fetch_add(1, Ordering::Relaxed));
        ip(&format!("route add blackhole {mark} table 4242"));
        let mut told = Vec::new();
        loop {
            let line =
                tokio::time::timeout(PATIENCE, self.lines.next_line()).await.unwrap().unwrap().unwrap();
            if line.contains(&mark) {
                ip(&format!("route del blackhole {mark} table 4242"));
                return told;
            }
            // The kernel has things of its own to tell, of link-local addresses for one.
            if line.contains("proto bird") {
                told.push(line);
            }
        }
    }
}

static MARKS: AtomicU32 = AtomicU32::new(1);
