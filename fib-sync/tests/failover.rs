//! A next hop fails, and all routes over it go to another: one message, whatever their number.

mod common;

use common::*;
use fib_sync::*;
use ipnet::{IpNet, Ipv4Net};

const ROUTES: u32 = 10_000;

fn routes(set: &NextHopSet) -> Vec<Route> {
    let prefix = |index: u32| Ipv4Net::new(std::net::Ipv4Addr::from((20 << 24) + (index << 8)), 24).unwrap();
    (0..ROUTES).map(|index| Route::unicast(IpNet::V4(prefix(index)), set.clone())).collect()
}

fn set(gateways: &[&str]) -> NextHopSet {
    NextHopSet::new(gateways.iter().map(|gateway| NextHop::via(gateway.parse().unwrap()))).unwrap()
}

#[test]
fn a_failover_costs_one_message() {
    in_namespace(|| async {
        let pairs = [
            (set(&["10.0.0.2"]), set(&["10.0.0.3"])),
            (set(&["10.0.0.2", "10.0.0.3"]), set(&["10.0.0.3", "10.0.0.4"])),
        ];
        for (from, to) in pairs {
            for is_target_in_use in [false, true] {
                let fib = Fib::open(config()).await.unwrap();
                let mut all = routes(&from);
                if is_target_in_use {
                    all.push(Route::unicast("192.0.2.0/24".parse().unwrap(), to.clone()));
                }
                fib.replace_all(all).await.unwrap();
                let before = fib.flush().await.unwrap();
                let begin = std::time::Instant::now();
                assert_eq!(fib.fail_over(from.clone(), to.clone()).await.unwrap(), ROUTES as usize);
                let after = fib.flush().await.unwrap();
                println!("{ROUTES} routes from {from} to {to} in {:?}", begin.elapsed());
                assert!(after.is_in_step(), "{after:#?}");
                // One for the object; a group's new member, and objects that nothing needs any more, come on top.
                let messages = after.operations_ok - before.operations_ok;
                assert!(messages <= 4, "{messages} messages");
                let expected = to.next_hops().len();
                for route in installed(&fib).await {
                    let InstalledKind::Unicast(hops) = &route.kind else { panic!("{route:?}") };
                    let is_to = |hop: &InstalledNextHop| {
                        to.next_hops().iter().any(|wanted| wanted.gateway == hop.gateway)
                    };
                    assert!(hops.len() == expected && hops.iter().all(is_to), "{route:?}");
                }
                // The next process finds all as it should be.
                drop(fib);
                let fib = Fib::open(config()).await.unwrap();
                let mut all = routes(&to);
                if is_target_in_use {
                    all.push(Route::unicast("192.0.2.0/24".parse().unwrap(), to.clone()));
                }
                fib.replace_all(all).await.unwrap();
                let status = fib.flush().await.unwrap();
                assert_eq!(status.operations_failed, 0);
                assert!(status.is_in_step() && status.operations_ok <= 4, "{status:#?}");
                fib.remove_all().await.unwrap();
                assert_eq!(ip("nexthop show"), "", "no object is left behind");
            }
        }
    });
}

#[test]
fn a_failover_to_a_gateway_that_cannot_be_reached_leaves_routes_pending() {
    in_namespace(|| async {
        let fib = Fib::open(config()).await.unwrap();
        let (from, to) = (set(&["10.0.0.2"]), set(&["192.0.2.1"]));
        fib.replace_all(routes(&from)).await.unwrap();
        assert!(fib.flush().await.unwrap().is_in_step());
        fib.fail_over(from, to).await.unwrap();
        let status = fib.flush().await.unwrap();
        assert_eq!((status.installed, status.pending), (0, ROUTES as usize), "{status:#?}");
        assert!(status.pending_routes[0].reason.text.is_some(), "the kernel's own words");
        fib.remove_all().await.unwrap();
    });
}
