//! What goes wrong on a real host: lost notices, missing rights, gateways that cannot be reached, others who meddle.

mod common;

use std::time::{Duration, Instant};

use common::*;
use fib_sync::*;
use ipnet::IpNet;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn via(prefix: &str, gateway: &str) -> Route {
    Route::via(net(prefix), gateway.parse().unwrap())
}

#[test]
fn notices_that_the_kernel_had_no_room_for_lead_to_a_dump_and_a_repair() {
    in_namespace(|| async {
        let fib = Fib::open(config()).await.unwrap();
        let mut events = fib.events();
        let ours: Vec<Route> = (0..100).map(|i| via(&format!("10.1.{i}.0/24"), "10.0.0.2")).collect();
        fib.replace_all(ours).await.unwrap();
        assert!(fib.flush().await.unwrap().is_in_step());
        // The runtime has this thread alone, so nobody reads the monitor's socket while the others are busy. What
        // they take away of ours comes last, when the buffer is full.
        let foreign = |verb: &str, index: u32| {
            format!("route {verb} blackhole 60.{}.{}.0/24 proto static", index >> 8, index & 255)
        };
        for _ in 0..2 {
            ip_batch((0..50_000).map(|index| foreign("add", index)));
            ip_batch((0..50_000).map(|index| foreign("del", index)));
        }
        ip_batch((0..10).map(|index| format!("route del 10.1.{index}.0/24 proto 12")));
        let overrun = event(&mut events, "an overrun", |event| {
            matches!(event, FibEvent::Resync { reason: ResyncReason::Overrun, .. })
        });
        let FibEvent::Resync { differences, .. } = overrun.await else { unreachable!() };
        assert_eq!(differences, 10, "what nobody told is found");
        let status = until(&fib, "repaired", |status| status.is_in_step()).await;
        assert_eq!(status.repaired, 10);
    });
}

#[test]
fn routes_read_while_they_change_are_read_again() {
    in_namespace(|| async {
        let ours =
            || (0..40_000u32).map(|i| via(&format!("20.{}.{}.0/24", i >> 8, i & 255), "10.0.0.2")).collect();
        let fib = Fib::open(config()).await.unwrap();
        fib.replace_all(ours()).await.unwrap();
        assert!(fib.flush().await.unwrap().is_in_step());
        drop(fib);
        // Objects come and go all the time: the kernel marks a list that was read meanwhile as interrupted.
        let meddler = std::thread::spawn(|| {
            for _ in 0..10 {
                ip_batch((0..400).map(|id| format!("nexthop add id {} blackhole", id + 10)));
                ip_batch((0..400).map(|id| format!("nexthop del id {}", id + 10)));
            }
        });
        for _ in 0..5 {
            let fib = Fib::open(config()).await.unwrap();
            assert_eq!(fib.adopted(), 40_000);
            fib.replace_all(ours()).await.unwrap();
            let status = fib.flush().await.unwrap();
            assert!(status.is_in_step(), "{status:#?}");
            assert_eq!((status.removed, status.repaired), (0, 0));
        }
        meddler.join().unwrap();
    });
}

#[test]
fn a_gateway_that_cannot_be_reached_stops_nobody_and_is_not_tried_in_a_tight_loop() {
    in_namespace(|| async {
        let fib = Fib::open(config()).await.unwrap();
        let mut routes: Vec<Route> = (0..50).map(|i| via(&format!("10.1.{i}.0/24"), "10.0.0.2")).collect();
        routes.push(via("10.2.0.0/24", "192.0.2.1"));
        routes.push(Route::unicast(
            net("10.3.0.0/24"),
            NextHopSet::new([NextHop::dev("nowhere0".parse().unwrap())]).unwrap(),
        ));
        fib.replace_all(routes).await.unwrap();
        let status = fib.flush().await.unwrap();
        assert_eq!((status.installed, status.pending, status.conflicts), (50, 2, 0));
        let reason = |prefix: &str| {
            let pending = status.pending_routes.iter().find(|pending| pending.prefix == net(prefix)).unwrap();
            (pending.reason.errno, pending.reason.to_string())
        };
        let (errno, text) = reason("10.2.0.0/24");
        assert_eq!((errno, text.contains("invalid gateway")), (libc::ENETUNREACH, true), "{text}");
        let (errno, text) = reason("10.3.0.0/24");
        assert_eq!((errno, text.contains("no interface nowhere0")), (libc::ENODEV, true), "{text}");
        let begin = Instant::now();
        let mut pause = tokio::time::interval(Duration::from_millis(5));
        while begin.elapsed() < Duration::from_millis(2500) {
            // Others keep changing things that have nothing to do with it.
            ip("route replace blackhole 198.51.100.0/24 proto static");
            ip("route del blackhole 198.51.100.0/24 proto static");
            pause.tick().await;
        }
        let attempts = fib.status().operations_failed;
        assert!(attempts < 20, "{attempts} attempts");
    });
}

#[test]
fn without_the_capability_opening_says_what_to_do() {
    in_namespace(|| async {
        drop_capabilities();
        let error = Fib::open(config()).await.unwrap_err();
        assert!(matches!(error, FibError::NotPermitted), "{error:?}");
        assert!(error.to_string().contains("CAP_NET_ADMIN"));
    });
}

/// Takes all capabilities from this thread, which is the test's own.
#[allow(unsafe_code)]
fn drop_capabilities() {
    // struct __user_cap_header_struct { version 3, pid 0: this thread }, and two empty sets of three words.
    let header: [u32; 2] = [0x2008_0522, 0];
    let none = [0_u32; 6];
    // SAFETY: both pointers are to arrays of the sizes that version 3 of the call reads.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0);
}

#[test]
fn two_instances_with_tables_and_protocols_of_their_own_drain_only_themselves() {
    in_namespace(|| async {
        let one = Fib::open(FibConfig { table: 100, protocol: 12, ..config() }).await.unwrap();
        let two = Fib::open(FibConfig { table: 200, protocol: 186, ..config() }).await.unwrap();
        let routes = |gateway: &str| {
            (0..5000u32).map(|i| via(&format!("20.{}.{}.0/24", i >> 8, i & 255), gateway)).collect()
        };
        let (a, b) = tokio::join!(one.replace_all(routes("10.0.0.2")), two.replace_all(routes("10.0.0.3")));
        a.and(b).unwrap();
        for fib in [&one, &two] {
            let status = fib.flush().await.unwrap();
            assert!(status.is_in_step(), "{status:#?}");
            assert_eq!((status.installed, status.resyncs, status.conflicts), (5000, 0, 0));
        }
        assert_eq!(one.remove_all().await.unwrap(), 5000);
        assert_eq!(installed(&two).await.len(), 5000);
        let status = two.flush().await.unwrap();
        assert_eq!((status.installed, status.repaired), (5000, 0), "untouched");
        assert_eq!(two.remove_all().await.unwrap(), 5000);
        assert_eq!(ip("nexthop show"), "");
    });
}

#[test]
fn somebody_who_appends_a_next_hop_to_our_ipv6_route_is_found_out() {
    in_namespace(|| async {
        let plain = FibConfig { nexthop_objects: NexthopObjects::Never, ..config() };
        let fib = Fib::open(plain).await.unwrap();
        fib.replace_all(vec![via("fd01::/64", "fd00::2")]).await.unwrap();
        assert!(fib.flush().await.unwrap().is_in_step());
        ip("-6 route append fd01::/64 via fd00::9 proto static metric 1024");
        println!("appended: {}", show("fd01::/64"));
        let has_ours_alone =
            || !show("fd01::/64").contains("fd00::9") && show("fd01::/64").contains("fd00::2");
        until(&fib, "put right or told", |status| {
            status.conflicts == 1 || (status.repaired > 0 && status.is_in_step() && has_ours_alone())
        })
        .await;
        println!("afterwards: {} {:?}", show("fd01::/64"), fib.status());
    });
}
