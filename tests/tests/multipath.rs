//! Several routers that lead to one place share its packets, in the kernel's table.

use std::net::IpAddr;
use std::num::NonZeroU8;

use bgp_lab::embedded::{failed, runtime};
use bgp_lab::harness::lab_test;
use bgp_lab::raw_peer::Feeder;
use bgp_lab::route_watch::RouteWatch;
use bgp_lab::{Lab, LabError, Namespace, RouteSpec, SeenRoute, secs, wait_until};
use bgp_proto::Asn;
use bgp_speaker::{Neighbor, Speaker, Stop};
use fib_sync::FibConfig;

const PREFIX: &str = "10.60.0.0/16";

/// The ways of the route to [`PREFIX`], as `ip route` tells them: `via ADDRESS dev DEVICE`.
fn ways(host: &Namespace) -> Result<Vec<String>, LabError> {
    let shown = host.ip_show(&format!("-N route show {PREFIX} proto 12"))?;
    let words: Vec<&str> = shown.split_whitespace().collect();
    let way = |at: usize| words[at..].iter().take(4).copied().collect::<Vec<_>>().join(" ");
    let mut ways: Vec<String> = (0..words.len()).filter(|at| words[*at] == "via").map(way).collect();
    ways.sort();
    Ok(ways)
}

fn wait_ways(host: &Namespace, routers: &[u8]) -> Result<(), LabError> {
    let expected: Vec<String> = routers.iter().map(|last| format!("via 10.9.1.{last} dev eth0")).collect();
    wait_until(&format!("routes by {routers:?}"), secs(15), || {
        let ways = ways(host).map_err(|error| error.to_string())?;
        if ways == expected { Ok(()) } else { Err(ways.join("\n")) }
    })
}

#[test]
fn the_kernel_shares_packets_among_equal_routers_and_forgets_one_that_goes() {
    lab_test("multipath", |lab: &Lab| {
        let switch = lab.switch("switch")?;
        let node = |name: &str, number: u8| {
            let v4 = format!("10.9.1.{number}/24").parse().expect("an address");
            lab.node(&switch, name, v4, format!("fd00:9:1::{number}/64").parse().expect("an address"))
        };
        let host = node("host", 1)?;
        let routers = [node("left", 2)?, node("middle", 3)?, node("right", 4)?];
        let mut watch = RouteWatch::start(lab, &host.namespace, "host")?;
        host.namespace.run(|| {
            let runtime = runtime()?;
            let mut builder = Speaker::builder()
                .router_id(host.v4)
                .listen((IpAddr::from(host.v4), 179).into())
                .fib(FibConfig::default());
            for (router, number) in routers.iter().zip(2..) {
                builder = builder.neighbor(Neighbor::ebgp(router.v4.into(), Asn(65000 + number)).passive());
            }
            let speaker = runtime.block_on(builder.start()).map_err(|error| failed(&error.to_string()))?;
            let mut feeders = Vec::new();
            for (router, number) in routers.iter().zip(2..) {
                let remote = host.v4.into();
                let mut feeder = Feeder::start(&router.namespace, remote, 65000 + number, router.v4)?;
                let mut route = SeenRoute::of(&RouteSpec::plain(PREFIX), router.v4.into());
                route.as_path = vec![65000 + number];
                feeder.announce(&route);
                feeders.push((feeder, route));
            }
            // One, unless more are asked for.
            wait_ways(&host.namespace, &[2])?;
            let share = |count: u8| {
                let mut config = runtime
                    .block_on(speaker.handle().config())
                    .map_err(|error| failed(&error.to_string()))?;
                config.fib_rules.next_hops_max = NonZeroU8::new(count);
                let steps = runtime.block_on(speaker.handle().apply(config));
                let steps = steps.map_err(|error| failed(&error.to_string()))?;
                Ok::<_, LabError>(steps.iter().map(ToString::to_string).collect::<Vec<_>>())
            };
            assert_eq!(share(16)?, ["fib next_hops_max (1 -> 16)"]);
            wait_ways(&host.namespace, &[2, 3, 4])?;

            // A longer way is none to share with; and when a router goes, its packets go to the others.
            let (feeder, route) = &mut feeders[1];
            route.as_path = vec![65003, 65009];
            feeder.announce(route);
            wait_ways(&host.namespace, &[2, 4])?;
            route.as_path = vec![65003];
            feeder.announce(route);
            wait_ways(&host.namespace, &[2, 3, 4])?;
            // What cannot be reached is not used; nor does it keep what was there before.
            let out_of_reach = SeenRoute { next_hop: Some([192, 0, 2, 1].into()), ..feeders[2].1.clone() };
            feeders[2].0.announce(&out_of_reach);
            wait_ways(&host.namespace, &[2, 3])?;
            let (feeder, route) = &mut feeders[2];
            feeder.announce(route);
            wait_ways(&host.namespace, &[2, 3, 4])?;
            drop(feeders.remove(0));
            wait_ways(&host.namespace, &[3, 4])?;
            // In one go: a neighbour goes, and there is nothing to share any more. The best path is the same.
            let mut config =
                runtime.block_on(speaker.handle().config()).map_err(|error| failed(&error.to_string()))?;
            config.fib_rules.next_hops_max = None;
            config.neighbors.remove(&IpAddr::from(routers[2].v4).into());
            runtime.block_on(speaker.handle().apply(config)).map_err(|error| failed(&error.to_string()))?;
            wait_ways(&host.namespace, &[3])?;
            assert_eq!(watch.removed(12)?, [], "at no time was there no route");
            runtime.block_on(speaker.stop(Stop::Leave)).map_err(|error| failed(&error.to_string()))?;
            wait_ways(&host.namespace, &[])
        })?
    });
}
