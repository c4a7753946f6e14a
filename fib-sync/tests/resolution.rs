//! Next hops that are no neighbours: the kernel's own routes and tunnels say which way, and the routes follow.

mod common;

use std::net::IpAddr;

use common::*;
use fib_sync::*;
use ipnet::IpNet;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn over(prefix: &str, hop: NextHop) -> Route {
    Route::unicast(net(prefix), NextHopSet::new([hop]).unwrap())
}

fn recursive(prefix: &str, gateway: &str) -> Route {
    over(prefix, NextHop::recursive(addr(gateway)))
}

/// Every way of putting next hops into the kernel.
fn both_ways() -> [FibConfig; 2] {
    [config(), FibConfig { nexthop_objects: NexthopObjects::Never, ..config() }]
}

#[test]
fn recursive_next_hops_follow_the_kernels_routes() {
    in_namespace(|| async {
        for config in both_ways() {
            ip("route add 10.9.0.0/16 via 10.0.0.254 proto static");
            ip("-6 route add fd09::/32 via fd00::fe proto static");
            let fib = Fib::open(config).await.unwrap();
            let mut routes: Vec<Route> =
                (0..50).map(|i| recursive(&format!("10.1.{i}.0/24"), "10.9.0.1")).collect();
            routes.push(recursive("10.2.0.0/24", "10.0.0.7"));
            routes.push(recursive("fd01::/64", "fd09::1"));
            fib.replace_all(routes).await.unwrap();
            let status = fib.flush().await.unwrap();
            assert!(status.is_in_step(), "{status:#?}");
            assert_eq!(status.operations_failed, 0);
            assert!(show("10.1.0.0/24").contains("via 10.0.0.254 dev a0"), "{}", show("10.1.0.0/24"));
            assert!(show("10.2.0.0/24").contains("via 10.0.0.7 dev a0"), "{}", show("10.2.0.0/24"));
            assert!(show("fd01::/64").contains("via fd00::fe dev a0"), "{}", show("fd01::/64"));

            // A more specific route, then two ways at once, then none, then the default route.
            let leads = |to: &str| show("10.1.49.0/24").contains(to) && show("10.1.0.0/24").contains(to);
            ip("route add 10.9.0.1/32 via 10.0.0.253 proto static");
            until(&fib, "over the more specific", |now| now.is_in_step() && leads("via 10.0.0.253")).await;
            ip(
                "route replace 10.9.0.1/32 proto static nexthop via 10.0.0.252 weight 1 nexthop via 10.0.0.251 weight 3",
            );
            until(&fib, "over both", |now| {
                now.is_in_step() && leads("via 10.0.0.252") && leads("via 10.0.0.251") && leads("weight 3")
            })
            .await;
            ip("route replace unreachable 10.9.0.1/32 proto static");
            let status = until(&fib, "no way", |now| now.pending == 50).await;
            let reason = status.pending_routes[0].reason.to_string();
            assert!(reason.contains("No route to host"), "{reason}");
            assert!(leads("via 10.0.0.251"), "what is there stays until there is something better");
            ip("route del unreachable 10.9.0.1/32");
            ip("route del 10.9.0.0/16");
            ip("route add default via 10.0.0.5 proto dhcp");
            until(&fib, "over the default route", |now| now.is_in_step() && leads("via 10.0.0.5 ")).await;
            ip("route del default");
            ip("-6 route del fd09::/32");
            until(&fib, "no way again", |now| now.pending == 51).await;
            assert_eq!(fib.remove_all().await.unwrap(), 52);
            assert_eq!(ip("nexthop show"), "");
        }
    });
}

#[test]
fn a_way_that_changes_costs_one_message_however_many_routes_use_it() {
    in_namespace(|| async {
        ip("route add 10.9.0.0/16 via 10.0.0.254 proto static");
        let fib = Fib::open(config()).await.unwrap();
        let routes = (0..10_000_u32)
            .map(|i| recursive(&format!("20.{}.{}.0/24", i >> 8, i & 255), "10.9.0.1"))
            .collect();
        fib.replace_all(routes).await.unwrap();
        let before = fib.flush().await.unwrap();
        assert!(before.is_in_step());
        ip("route replace 10.9.0.0/16 via 10.0.0.253 proto static");
        let moved = || show("20.39.15.0/24").contains("via 10.0.0.253");
        until(&fib, "moved", |now| now.is_in_step() && moved()).await;
        let after = fib.flush().await.unwrap();
        assert_eq!(after.operations_ok - before.operations_ok, 1);
        assert_eq!(after.resyncs, 0, "nothing was read back for it");
        let routes = ip("route show proto 12");
        assert_eq!(routes.lines().filter(|line| line.contains("via 10.0.0.253")).count(), 10_000);
    });
}

#[test]
fn our_own_routes_lead_to_no_next_hop_and_own_addresses_are_none() {
    in_namespace(|| async {
        ip("route add default via 10.0.0.254 proto static");
        let fib = Fib::open(config()).await.unwrap();
        fib.replace_all(vec![
            Route::via(net("10.9.0.0/16"), addr("10.0.0.7")),
            recursive("10.1.0.0/24", "10.9.0.1"),
            recursive("10.2.0.0/24", "10.0.0.1"),
        ])
        .await
        .unwrap();
        fib.flush().await.unwrap();
        // Asked again while our own route is there, and is the longest match.
        ip("route add 10.8.0.0/16 via 10.0.0.9 proto static");
        ip("route add 10.9.0.0/20 via 10.0.0.253 proto static");
        let leads = || show("10.1.0.0/24").contains("via 10.0.0.253");
        until(&fib, "over somebody else's route", |_| leads()).await;
        ip("route del 10.9.0.0/20");
        let leads = || show("10.1.0.0/24").contains("via 10.0.0.254");
        until(&fib, "over the default route, not over ours", |now| now.installed == 2 && leads()).await;
        let status = fib.flush().await.unwrap();
        assert_eq!((status.installed, status.pending), (2, 1));
        assert!(status.pending_routes[0].reason.to_string().contains("is an address of this host"));
    });
}

#[test]
fn tunnels_are_used_always_or_across_subnets_only() {
    in_namespace(|| async {
        ip("route add default via 10.0.0.254 proto static");
        for config in both_ways() {
            // Any device will do for the tunnel: routing does not look into it.
            ip("link add tun0 type veth peer name tun1");
            ip("link set tun0 up");
            ip("link set tun1 up");
            let tunnelled = |prefix: &str, gateway: &str, when: TunnelWhen| {
                let tunnel = Tunnel { device: "tun0".parse().unwrap(), when };
                over(prefix, NextHop::tunnelled(addr(gateway), tunnel))
            };
            let outside = TunnelWhen::Outside(net("10.0.0.0/24"));
            let fib = Fib::open(config).await.unwrap();
            fib.replace_all(vec![
                tunnelled("10.1.0.0/24", "10.0.0.7", TunnelWhen::Always),
                tunnelled("10.2.0.0/24", "10.0.0.7", TunnelWhen::CrossSubnet),
                tunnelled("10.3.0.0/24", "10.7.0.1", TunnelWhen::CrossSubnet),
                tunnelled("10.4.0.0/24", "10.0.0.7", outside.clone()),
                tunnelled("10.5.0.0/24", "10.7.0.1", outside),
                recursive("10.6.0.0/24", "10.7.0.1"),
            ])
            .await
            .unwrap();
            let status = fib.flush().await.unwrap();
            assert!(status.is_in_step(), "{status:#?}");
            for (prefix, way) in [
                ("10.1.0.0/24", "via 10.0.0.7 dev tun0"),
                ("10.2.0.0/24", "via 10.0.0.7 dev a0"),
                ("10.3.0.0/24", "via 10.7.0.1 dev tun0"),
                ("10.4.0.0/24", "via 10.0.0.7 dev a0"),
                ("10.5.0.0/24", "via 10.7.0.1 dev tun0"),
                ("10.6.0.0/24", "via 10.0.0.254 dev a0"),
            ] {
                let shown = show(prefix);
                assert!(shown.contains(way) && shown.contains("onlink") == way.contains("tun0"), "{shown}");
            }
            // A subnet more, and the routes that crossed a border before go directly.
            ip("address add 10.7.0.2/24 dev a0");
            let is_direct = |prefix: &str| show(prefix).contains("via 10.7.0.1 dev a0");
            until(&fib, "directly", |now| now.is_in_step() && is_direct("10.3.0.0/24")).await;
            until(&fib, "the recursive too", |now| now.is_in_step() && is_direct("10.6.0.0/24")).await;
            assert!(show("10.5.0.0/24").contains("dev tun0"), "its rule is about a network, not about links");
            ip("address del 10.7.0.2/24 dev a0");
            let has_come_back = || show("10.3.0.0/24").contains("dev tun0");
            until(&fib, "through the tunnel again", |now| now.is_in_step() && has_come_back()).await;
            // Without its device the tunnel's routes wait.
            ip("link del tun0");
            let status = until(&fib, "pending", |now| now.pending == 3).await;
            assert!(status.pending_routes[0].reason.to_string().contains("no interface tun0"));
            ip("link add tun0 type veth peer name tun1");
            ip("link set tun0 up");
            ip("link set tun1 up");
            until(&fib, "back", |now| now.is_in_step()).await;
            assert_eq!(fib.remove_all().await.unwrap(), 6);
            ip("link del tun0");
        }
    });
}

#[test]
fn what_was_decided_and_why_can_be_asked() {
    in_namespace(|| async {
        ip("route add 10.9.0.0/16 via 10.0.0.254 proto static");
        ip("link add tun0 type veth peer name tun1");
        ip("link set tun0 up");
        ip("link set tun1 up");
        let tunnel = Tunnel { device: "tun0".parse().unwrap(), when: TunnelWhen::CrossSubnet };
        let fib = Fib::open(config()).await.unwrap();
        fib.replace_all(vec![
            recursive("10.1.0.0/24", "10.9.0.1"),
            recursive("10.1.1.0/24", "10.9.0.1"),
            over("10.2.0.0/24", NextHop::tunnelled(addr("10.8.0.1"), tunnel.clone())),
            over("10.3.0.0/24", NextHop::tunnelled(addr("10.0.0.7"), tunnel)),
            recursive("10.4.0.0/24", "192.0.2.1"),
            Route::via(net("10.5.0.0/24"), addr("10.0.0.8")),
            Route::blackhole(net("10.6.0.0/24")),
        ])
        .await
        .unwrap();
        fib.flush().await.unwrap();
        let decisions = fib.next_hops().await.unwrap();
        let told = |gateway: &str| {
            let is_it = |decision: &&NextHopDecision| decision.next_hop.gateway == Some(addr(gateway));
            let decision = decisions.iter().find(is_it).unwrap();
            let ways: Vec<String> = decision
                .ways
                .iter()
                .map(|way| {
                    format!("{} {}", way.gateway.map_or(String::new(), |g| g.to_string()), way.interface)
                })
                .collect();
            (decision.routes, decision.because.to_string(), ways.join(", "))
        };
        let expected = |routes, because: &str, ways: &str| (routes, because.to_owned(), ways.to_owned());
        assert_eq!(
            told("10.9.0.1"),
            expected(2, "over the route to 10.9.0.0/16, protocol 4", "10.0.0.254 a0")
        );
        assert_eq!(told("10.8.0.1"), expected(1, "through the tunnel tun0", "10.8.0.1 tun0"));
        assert_eq!(told("10.0.0.7"), expected(1, "in the connected network 10.0.0.0/24", "10.0.0.7 a0"));
        assert_eq!(told("10.0.0.8"), expected(1, "in the connected network 10.0.0.0/24", "10.0.0.8 a0"));
        assert_eq!(told("192.0.2.1"), expected(1, "there is no way to it", ""));

        let explained = fib.explain(net("10.1.0.0/24")).await.unwrap().unwrap();
        assert_eq!((&explained.state, explained.next_hops.len()), (&RouteState::Installed, 1));
        let explained = fib.explain(net("10.4.0.0/24")).await.unwrap().unwrap();
        let RouteState::Pending { reason, is_conflict: false } = explained.state else {
            panic!("{explained:?}")
        };
        assert_eq!(reason.errno, libc::ENETUNREACH);
        assert_eq!(explained.next_hops[0].refusal.as_ref(), Some(&reason));
        assert_eq!(fib.explain(net("10.99.0.0/24")).await.unwrap(), None);
        assert_eq!(fib.explain(net("10.6.0.0/24")).await.unwrap().unwrap().next_hops, []);
    });
}
