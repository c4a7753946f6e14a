//! What other programs have in the kernel, as a watch tells it.

mod common;

use std::collections::BTreeMap;

use common::*;
use fib_sync::*;
use ipnet::IpNet;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// All that a watch has told.
struct Watched {
    watch: RouteWatch,
    routes: BTreeMap<IpNet, ForeignRoute>,
    networks: BTreeMap<IpNet, String>,
}

impl Watched {
    async fn open(config: WatchConfig) -> Watched {
        let watch = RouteWatch::open(config).unwrap();
        let mut watched = Watched { watch, routes: BTreeMap::new(), networks: BTreeMap::new() };
        watched.take().await;
        watched
    }

    async fn take(&mut self) {
        for change in self.watch.next().await.unwrap() {
            match change {
                WatchChange::Route { prefix, route: Some(route) } => _ = self.routes.insert(prefix, route),
                WatchChange::Route { prefix, route: None } => {
                    assert!(self.routes.remove(&prefix).is_some(), "{prefix} was never told");
                }
                WatchChange::Network { prefix, interface: Some(name) } => {
                    self.networks.insert(prefix, name.to_string());
                }
                WatchChange::Network { prefix, interface: None } => {
                    assert!(self.networks.remove(&prefix).is_some(), "{prefix} was never told");
                }
            }
        }
    }

    async fn until(&mut self, what: &str, condition: impl Fn(&Watched) -> bool) {
        let wait = async {
            while !condition(self) {
                self.take().await;
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, wait).await;
        assert!(outcome.is_ok(), "never so: {what}; {:#?} {:#?}", self.routes, self.networks);
    }

    fn text(&self, prefix: &str) -> String {
        let Some(route) = self.routes.get(&net(prefix)) else { return String::new() };
        let ForeignRoute { kind, interface, gateway, metric, protocol, .. } = route;
        let (dev, via) = (interface.as_deref().unwrap_or("-"), gateway.map(|via| via.to_string()));
        format!("{kind:?} dev {dev} via {} metric {metric} proto {protocol}", via.unwrap_or_default())
    }
}

/// No repair by the clock: what is told was heard.
fn config() -> WatchConfig {
    WatchConfig { audit_interval: None, ..WatchConfig::default() }
}

#[test]
fn routes_of_others_are_told_with_all_that_a_filter_could_ask() {
    in_namespace(|| async {
        ip("route add 10.1.0.1/32 dev a0 proto boot scope link metric 1024");
        ip("route add 10.1.0.1/32 dev a1 proto boot scope link metric 2048");
        ip("route add 10.2.0.0/16 via 10.0.0.7 proto static");
        ip("route add blackhole 10.3.0.0/26 proto 80");
        ip("-6 route add fd01::1/128 dev a0 proto boot");
        ip("route add 10.4.0.0/16 via 10.0.0.7 proto 12");
        ip("route add 10.5.0.0/16 via 10.0.0.7 proto kernel");
        ip("route add 10.6.0.0/16 via 10.0.0.7 proto static table 100");
        let mut watched = Watched::open(config()).await;
        assert_eq!(watched.text("10.1.0.1/32"), "Unicast dev a0 via  metric 1024 proto 3");
        assert_eq!(watched.text("10.2.0.0/16"), "Unicast dev a0 via 10.0.0.7 metric 0 proto 4");
        assert_eq!(watched.text("10.3.0.0/26"), "Blackhole dev - via  metric 0 proto 80");
        assert_eq!(watched.text("fd01::1/128"), "Unicast dev a0 via  metric 1024 proto 3");
        assert_eq!(watched.routes.len(), 4, "{:#?}", watched.routes);
        let networks = [(net("10.0.0.0/24"), "a0".to_owned()), (net("fd00::/64"), "a0".to_owned())];
        assert_eq!(watched.networks, networks.into());

        ip("route replace 10.1.0.1/32 dev a1 proto boot scope link metric 512");
        watched
            .until("a lower metric", |now| now.text("10.1.0.1/32").contains("dev a1 via  metric 512"))
            .await;
        ip("route replace 10.2.0.0/16 via 10.0.0.8 proto static");
        watched.until("another gateway", |now| now.text("10.2.0.0/16").contains("10.0.0.8")).await;
        ip("route replace 10.2.0.0/16 proto static nexthop via 10.0.0.8 nexthop via 10.0.0.9");
        watched.until("two gateways", |now| now.text("10.2.0.0/16").contains("dev - via  metric 0")).await;
        ip("route del 10.2.0.0/16");
        ip("-6 route del fd01::1/128");
        ip("route del 10.1.0.1/32 metric 512");
        watched.until("the next lowest metric", |now| now.text("10.1.0.1/32").contains("dev a0")).await;
        watched.until("two of them gone", |now| now.routes.len() == 2).await;
        assert_eq!(watched.watch.status().routes, 2);
    });
}

#[test]
fn our_own_routes_are_never_told_and_taking_their_place_is() {
    in_namespace(|| async {
        let mut watched = Watched::open(config()).await;
        let fib = Fib::open(common::config()).await.unwrap();
        let ours = (0..100).map(|i| Route::via(net(&format!("10.9.{i}.0/24")), [10, 0, 0, 7].into()));
        fib.replace_all(ours.collect()).await.unwrap();
        assert!(fib.flush().await.unwrap().is_in_step());
        // Theirs in the place of one of ours, and ours again.
        ip("route replace 10.9.7.0/24 via 10.0.0.8 proto static metric 1024");
        watched.until("theirs", |now| now.text("10.9.7.0/24").contains("10.0.0.8")).await;
        ip("route replace 10.9.7.0/24 via 10.0.0.7 proto 12 metric 1024");
        watched.until("ours again", |now| now.routes.is_empty()).await;
    });
}

#[test]
fn routes_that_vanish_with_their_interface_are_told() {
    in_namespace(|| async {
        ip("link add cali1 type veth peer name p1");
        ip("link set cali1 up");
        ip("link set p1 up");
        ip("address add 10.7.0.1/32 dev cali1");
        ip("address add 10.8.0.1 peer 10.8.0.2/32 dev cali1");
        ip("route add 10.1.0.1/32 dev cali1 proto boot");
        ip("route add 10.1.0.2/32 dev a0 proto boot");
        ip("route add 10.1.0.3/32 dev a0 proto boot src 10.7.0.1");
        let mut watched = Watched::open(config()).await;
        assert_eq!(watched.routes.len(), 3);
        assert_eq!(watched.networks.get(&net("10.7.0.1/32")).map(String::as_str), Some("cali1"));
        assert!(watched.networks.contains_key(&net("10.8.0.2/32")), "the far end: {:?}", watched.networks);
        ip("address del 10.7.0.1/32 dev cali1");
        watched.until("gone with the source", |now| now.text("10.1.0.3/32").is_empty()).await;
        ip("link set cali1 down");
        watched.until("gone with its interface", |now| now.text("10.1.0.1/32").is_empty()).await;
        watched.until("its networks too", |now| !now.networks.contains_key(&net("10.8.0.2/32"))).await;
        ip("link set cali1 name cali2");
        ip("link set cali2 up");
        ip("route add 10.1.0.1/32 dev cali2 proto boot");
        watched.until("under its new name", |now| now.text("10.1.0.1/32").contains("dev cali2")).await;
        ip("link set cali2 name cali3");
        watched.until("renamed as it is up", |now| now.text("10.1.0.1/32").contains("dev cali3")).await;
        ip("link del cali3");
        watched.until("gone with the device", |now| now.routes.len() == 1).await;
        assert!(watched.text("10.1.0.2/32").contains("dev a0"));
    });
}

#[test]
fn next_hops_of_an_ipv6_route_that_go_one_by_one_leave_the_rest() {
    in_namespace(|| async {
        ip("-6 route add fd01::/64 via fd00::2 proto static");
        let mut watched = Watched::open(config()).await;
        ip("-6 route append fd01::/64 via fd00::3 proto static");
        watched.until("two ways", |now| now.text("fd01::/64").contains("dev - via ")).await;
        ip("-6 route del fd01::/64 via fd00::2");
        watched.until("the other one", |now| now.text("fd01::/64").contains("via fd00::3")).await;
        ip("nexthop add id 5 via fd00::4 dev a0");
        ip("-6 route replace fd01::/64 nhid 5 proto static");
        watched.until("through an object", |now| now.text("fd01::/64").contains("via fd00::4")).await;
        ip("nexthop replace id 5 via fd00::5 dev a0");
        watched.until("a changed object", |now| now.text("fd01::/64").contains("via fd00::5")).await;
        ip("nexthop del id 5");
        watched.until("gone with the object", |now| now.routes.is_empty()).await;
    });
}

#[test]
fn thousands_at_once_arrive_also_when_the_kernel_cannot_tell_all_of_them() {
    const COUNT: usize = 100_000;
    in_namespace(|| async {
        let mut watched = Watched::open(config()).await;
        let prefix = |i: usize| format!("10.{}.{}.{}/32", 16 + i / 65536, i / 256 % 256, i % 256);
        // Nobody listens meanwhile: more is said than the socket's buffer holds.
        ip_batch((0..COUNT).map(|i| format!("route add {} dev a0 proto boot", prefix(i))));
        watched.until("all of them", |now| now.routes.len() == COUNT).await;
        assert!(watched.watch.status().readings > 1, "notices were lost");
        ip_batch((0..COUNT - 1).map(|i| format!("route del {} dev a0 proto boot", prefix(i))));
        watched.until("one left", |now| now.routes.len() == 1).await;
    });
}

#[test]
fn no_more_routes_are_held_than_there_is_room_for() {
    in_namespace(|| async {
        ip_batch((0..20).map(|i| format!("route add 10.1.0.{i}/32 dev a0 proto boot")));
        let mut watched = Watched::open(WatchConfig { routes_max: 10, ..config() }).await;
        let status = watched.watch.status();
        assert_eq!((status.routes, status.refused), (10, 10));
        let told: Vec<IpNet> = watched.routes.keys().copied().collect();
        ip_batch(told.iter().take(5).map(|prefix| format!("route del {prefix} dev a0 proto boot")));
        let is_full = |now: &Watched| now.routes.len() == 10 && !now.routes.contains_key(&told[0]);
        watched.until("others in their place", is_full).await;
    });
}
