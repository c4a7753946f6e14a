//! From a peer into the kernel's tables: two speakers on one host, next hops behind routers and through tunnels.

use std::net::IpAddr;

use bgp_lab::embedded::{failed, runtime};
use bgp_lab::harness::lab_test;
use bgp_lab::raw_peer::Feeder;
use bgp_lab::{Lab, LabError, Namespace, RouteSpec, SeenRoute, secs, wait_until};
use bgp_speaker::config::{Encapsulation, EncapsulationMode, FibRules, PoolRule, RouteMetrics};
use bgp_speaker::{Announcement, Neighbor, Speaker, Stop};
use fib_sync::FibConfig;
use ipnet::IpNet;

const AS: u32 = 64512;

/// Waits until a table is as expected, given as lines of `ip route`, sorted.
fn wait_table(host: &Namespace, table: u32, expected: &[&str]) -> Result<(), LabError> {
    wait_until(&format!("the routes of table {table}"), secs(15), || {
        let shown =
            host.ip_show(&format!("-N route show table {table}")).map_err(|error| error.to_string())?;
        let mut lines: Vec<String> = shown.lines().map(without_object_id).collect();
        lines.sort();
        if lines == expected { Ok(()) } else { Err(lines.join("\n")) }
    })
}

/// A line of `ip route` without the number of its nexthop object.
fn without_object_id(line: &str) -> String {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if let Some(place) = words.iter().position(|word| *word == "nhid") {
        words.drain(place..(place + 2).min(words.len()));
    }
    words.join(" ")
}

#[test]
fn two_speakers_on_one_host_have_a_table_each() {
    lab_test("two-tables", |lab: &Lab| {
        let switch = lab.switch("switch")?;
        let node = |name: &str, number: u8| {
            let v4 = format!("10.9.1.{number}/24").parse().expect("an address");
            lab.node(&switch, name, v4, format!("fd00:9:1::{number}/64").parse().expect("an address"))
        };
        let (host, left, right) = (node("host", 1)?, node("left", 2)?, node("right", 3)?);
        // A tunnel's device is any device, as far as routes are concerned.
        host.namespace.ip("address add 10.9.1.11/24 dev eth0
             link add tun0 type veth peer name tun1
             link set tun0 up
             link set tun1 up
             route add 10.200.0.0/16 via 10.9.1.254 proto static")?;
        let (a, b): (IpAddr, IpAddr) = ([10, 9, 1, 1].into(), [10, 9, 1, 11].into());
        let speaker = |address: IpAddr, peer: IpAddr, table: u32| {
            Speaker::builder()
                .router_id(host.v4)
                .listen((address, 179).into())
                .neighbor(Neighbor::ibgp(peer).passive())
                .fib(FibConfig { table, ..FibConfig::default() })
        };
        let tunnelled = PoolRule {
            encapsulation: Encapsulation::Ipip,
            when: EncapsulationMode::CrossSubnet,
            device: Some("tun0".to_owned()),
            ..PoolRule::default()
        };
        let not_ours = PoolRule { program: false, ..PoolRule::default() };
        let pool = |prefix: &str, rule| (prefix.parse().expect("a prefix"), rule);
        let pools = [pool("10.60.0.0/16", tunnelled.clone()), pool("10.62.0.0/16", not_ours.clone())].into();
        let rules = FibRules { pools, ..FibRules::default() };
        host.namespace.run(|| {
            let runtime = runtime()?;
            let block = Announcement::block("10.60.9.0/26".parse().expect("a prefix"));
            let first = speaker(a, left.v4.into(), 100).fib_rules(rules).announce(block);
            let first = runtime.block_on(first.start()).map_err(|error| failed(&error.to_string()))?;
            let second = runtime
                .block_on(speaker(b, right.v4.into(), 200).start())
                .map_err(|error| failed(&error.to_string()))?;

            let mut feeders = Vec::new();
            for (peer, remote) in [(&left, a), (&right, b)] {
                let mut feeder = Feeder::start(&peer.namespace, remote, AS, peer.v4)?;
                let behind = IpAddr::from([10, 200, 0, 1]);
                for (prefix, next_hop) in [
                    ("10.60.1.0/24", peer.v4.into()),
                    ("10.60.2.0/24", behind),
                    ("10.61.0.0/24", behind),
                    ("10.62.0.0/24", behind),
                    ("10.63.0.0/24", IpAddr::from([192, 0, 2, 1])),
                ] {
                    feeder.announce(&SeenRoute::of(&RouteSpec::plain(prefix), next_hop));
                }
                feeders.push(feeder);
            }
            let of_first = [
                "10.60.1.0/24 via 10.9.1.2 dev eth0 proto 12 metric 1024",
                "10.60.2.0/24 via 10.200.0.1 dev tun0 proto 12 metric 1024 onlink",
                "10.61.0.0/24 via 10.9.1.254 dev eth0 proto 12 metric 1024",
                // In numbers, as asked for: 6 is a blackhole.
                "6 10.60.9.0/26 proto 12 metric 1024",
            ];
            let of_second = [
                "10.60.1.0/24 via 10.9.1.3 dev eth0 proto 12 metric 1024",
                "10.60.2.0/24 via 10.9.1.254 dev eth0 proto 12 metric 1024",
                "10.61.0.0/24 via 10.9.1.254 dev eth0 proto 12 metric 1024",
                "10.62.0.0/24 via 10.9.1.254 dev eth0 proto 12 metric 1024",
            ];
            wait_table(&host.namespace, 100, &of_first)?;
            wait_table(&host.namespace, 200, &of_second)?;

            // What was decided, and why.
            let details = runtime.block_on(first.handle().fib()).ok_or_else(|| failed("no FIB"))?;
            let told: Vec<String> = details
                .next_hops
                .iter()
                .map(|hop| {
                    let gateway = hop.next_hop.map_or_else(String::new, |gateway| gateway.to_string());
                    format!("{gateway} {} {} {}", hop.rule, hop.ways.join(","), hop.because)
                })
                .collect();
            assert_eq!(
                told,
                [
                    "10.9.1.2 tunnel tun0 cross-subnet via 10.9.1.2 dev eth0 in the connected network 10.9.1.0/24",
                    "10.200.0.1 recursive via 10.9.1.254 dev eth0 over the route to 10.200.0.0/16, protocol 4",
                    "10.200.0.1 tunnel tun0 cross-subnet via 10.200.0.1 dev tun0 onlink through the tunnel tun0",
                    "192.0.2.1 recursive  there is no way to it",
                ]
            );
            assert_eq!((details.fib.desired, details.fib.installed, details.fib.pending), (5, 4, 1));
            assert_eq!(details.pending_routes.len(), 1);
            let explained =
                runtime.block_on(first.handle().explain_fib("10.61.0.0/24".parse().expect("a prefix")));
            assert_eq!(
                explained,
                [
                    "10.61.0.0/24 via 10.200.0.1 recursive: installed",
                    "next hop 10.200.0.1: via 10.9.1.254 dev eth0 (over the route to 10.200.0.0/16, protocol 4)",
                ]
            );

            // Other rules for the same routes: the tunnel for all, and what was not ours is.
            let change = |pools: Vec<(IpNet, PoolRule)>| {
                let mut config =
                    runtime.block_on(first.handle().config()).map_err(|error| failed(&error.to_string()))?;
                config.fib_rules.pools = pools.into_iter().collect();
                let steps = runtime.block_on(first.handle().apply(config));
                let steps = steps.map_err(|error| failed(&error.to_string()))?;
                Ok::<_, LabError>(steps.iter().map(ToString::to_string).collect::<Vec<_>>())
            };
            let always = PoolRule { when: EncapsulationMode::Always, ..tunnelled };
            assert_eq!(
                change(vec![pool("10.60.0.0/16", always)])?,
                [
                    "fib 10.60.0.0/16 (ipip over tun0 across subnets -> ipip over tun0)",
                    "fib 10.62.0.0/16 (direct, by another program -> none)",
                ]
            );
            let by_other_rules = [
                "10.60.1.0/24 via 10.9.1.2 dev tun0 proto 12 metric 1024 onlink",
                "10.60.2.0/24 via 10.200.0.1 dev tun0 proto 12 metric 1024 onlink",
                "10.61.0.0/24 via 10.9.1.254 dev eth0 proto 12 metric 1024",
                "10.62.0.0/24 via 10.9.1.254 dev eth0 proto 12 metric 1024",
                "6 10.60.9.0/26 proto 12 metric 1024",
            ];
            wait_table(&host.namespace, 100, &by_other_rules)?;

            // And others: a pool has lost its tunnel, and one is another program's now.
            assert_eq!(
                change(vec![pool("10.60.0.0/16", PoolRule::default()), pool("10.61.0.0/16", not_ours)])?,
                [
                    "fib 10.60.0.0/16 (ipip over tun0 -> direct)",
                    "fib 10.61.0.0/16 (none -> direct, by another program)",
                ]
            );
            let of_first = [
                "10.60.1.0/24 via 10.9.1.2 dev eth0 proto 12 metric 1024",
                "10.60.2.0/24 via 10.9.1.254 dev eth0 proto 12 metric 1024",
                "10.62.0.0/24 via 10.9.1.254 dev eth0 proto 12 metric 1024",
                "6 10.60.9.0/26 proto 12 metric 1024",
            ];
            wait_table(&host.namespace, 100, &of_first)?;
            wait_table(&host.namespace, 200, &of_second)?;

            // Metrics by priority: one neighbour says nothing of priorities, and then that one route has the normal one.
            let mut config =
                runtime.block_on(first.handle().config()).map_err(|error| failed(&error.to_string()))?;
            config.fib_rules.metrics = RouteMetrics::Priority;
            runtime.block_on(first.handle().apply(config)).map_err(|error| failed(&error.to_string()))?;
            let by_priority = |of_one: u32| {
                [
                    format!("10.60.1.0/24 via 10.9.1.2 dev eth0 proto 12 metric {of_one}"),
                    "10.60.2.0/24 via 10.9.1.254 dev eth0 proto 12 metric 2147483547".to_owned(),
                    "10.62.0.0/24 via 10.9.1.254 dev eth0 proto 12 metric 2147483547".to_owned(),
                    "6 10.60.9.0/26 proto 12".to_owned(),
                ]
            };
            for (local_pref, metric) in [(100, 2_147_483_547), (2_147_482_623, 1024), (2_147_483_135, 512)] {
                let spec = RouteSpec { local_pref: Some(local_pref), ..RouteSpec::plain("10.60.1.0/24") };
                feeders[0].announce(&SeenRoute::of(&spec, left.v4.into()));
                let expected = by_priority(metric);
                wait_table(&host.namespace, 100, &expected.each_ref().map(String::as_str))?;
            }
            wait_table(&host.namespace, 200, &of_second)?;

            // One leaves; the other does not notice.
            runtime.block_on(first.stop(Stop::Leave)).map_err(|error| failed(&error.to_string()))?;
            wait_table(&host.namespace, 100, &[])?;
            wait_table(&host.namespace, 200, &of_second)?;
            runtime.block_on(second.stop(Stop::Restart)).map_err(|error| failed(&error.to_string()))?;
            wait_table(&host.namespace, 200, &of_second)
        })?
    });
}
