//! Notices and readings in, what is told out.

use super::*;
use crate::kernel::Hop;

const OURS: u8 = 12;
const BOOT: u8 = 3;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn link(index: u32, name: &str) -> Link {
    Link { index, name: name.into(), is_up: true, has_carrier: true }
}

fn content(action: Action, interfaces: &[u32]) -> Arc<Content> {
    let hop = |interface: &u32| Hop { gateway: None, interface: *interface, onlink: false, weight: 1 };
    let hops = interfaces.iter().map(hop).collect();
    Arc::new(Content { action, nexthop_id: 0, hops, preferred_source: None, mtu: None })
}

fn dev(prefix: &str, metric: u32, interface: u32) -> KernelRoute {
    KernelRoute { prefix: net(prefix), metric, content: content(Action::Unicast, &[interface]) }
}

fn added(protocol: u8, route: KernelRoute) -> Notice {
    Notice::RouteAdded { route, protocol, replaces: false }
}

fn replaced(protocol: u8, route: KernelRoute) -> Notice {
    Notice::RouteAdded { route, protocol, replaces: true }
}

fn removed(protocol: u8, prefix: &str, metric: u32) -> Notice {
    Notice::RouteRemoved { prefix: net(prefix), metric, protocol }
}

fn table() -> Table {
    let mut table = Table::new(OURS, 4);
    let links = vec![link(1, "cali1"), link(2, "cali2")];
    table.replace(Others { links, ..Others::default() });
    assert_eq!(table.take_changes(), []);
    table
}

/// What is told, a line each, sorted.
fn told(table: &mut Table) -> Vec<String> {
    let mut lines: Vec<String> = table.take_changes().into_iter().map(line).collect();
    lines.sort();
    lines
}

fn line(change: WatchChange) -> String {
    match change {
        WatchChange::Network { prefix, interface } => format!("{prefix} on {interface:?}"),
        WatchChange::Route { prefix, route: None } => format!("{prefix} gone"),
        WatchChange::Route { prefix, route: Some(route) } => format!(
            "{prefix} {:?} dev {} metric {} proto {}",
            route.kind,
            route.interface.as_deref().unwrap_or("-"),
            route.metric,
            route.protocol
        ),
    }
}

#[test]
fn of_several_routes_the_lowest_metric_is_told() {
    let mut table = table();
    table.notice(added(BOOT, dev("10.1.0.1/32", 1024, 1)));
    assert_eq!(told(&mut table), ["10.1.0.1/32 Unicast dev cali1 metric 1024 proto 3"]);
    table.notice(added(BOOT, dev("10.1.0.1/32", 2000, 2)));
    assert_eq!(told(&mut table), [""; 0]);
    table.notice(added(80, dev("10.1.0.1/32", 512, 2)));
    assert_eq!(told(&mut table), ["10.1.0.1/32 Unicast dev cali2 metric 512 proto 80"]);
    table.notice(removed(80, "10.1.0.1/32", 512));
    table.notice(removed(BOOT, "10.1.0.1/32", 1024));
    assert_eq!(told(&mut table), ["10.1.0.1/32 Unicast dev cali2 metric 2000 proto 3"]);
    table.notice(removed(BOOT, "10.1.0.1/32", 2000));
    assert_eq!(told(&mut table), ["10.1.0.1/32 gone"]);
    assert!(!table.take_doubt());
    assert_eq!((table.counts(), table.route_count), ((0, 0, 0), 0));
}

#[test]
fn what_is_not_for_others_is_not_told() {
    let rows = [
        (2, dev("10.1.0.0/24", 0, 1)),
        (1, dev("10.1.0.0/24", 0, 1)),
        (0, dev("10.1.0.0/24", 0, 1)),
        (OURS, dev("10.1.0.0/24", 0, 1)),
        (BOOT, dev("fe80::/64", 1024, 1)),
        (BOOT, dev("ff00::/8", 1024, 1)),
        (BOOT, dev("127.0.0.0/8", 0, 1)),
        (BOOT, dev("169.254.1.1/32", 0, 1)),
        (BOOT, dev("224.0.0.0/4", 0, 1)),
        (BOOT, KernelRoute { content: content(Action::Other(2), &[]), ..dev("10.1.0.0/24", 0, 1) }),
    ];
    for (protocol, route) in rows {
        let mut table = table();
        table.notice(added(protocol, route.clone()));
        assert_eq!(told(&mut table), [""; 0], "{protocol} {route:?}");
        table.replace(Others { routes: vec![OwnedRoute { protocol, route }], ..Others::default() });
        assert_eq!(told(&mut table), [""; 0]);
    }
    let mut table = table();
    for (prefix, action) in
        [("0.0.0.0/0", Action::Unicast), ("::/0", Action::Unreachable), ("240.0.0.0/8", Action::Blackhole)]
    {
        let hops: &[u32] = if action == Action::Unicast { &[1] } else { &[] };
        table.notice(added(
            16,
            KernelRoute { prefix: net(prefix), metric: 0, content: content(action, hops) },
        ));
    }
    assert_eq!(
        told(&mut table),
        [
            "0.0.0.0/0 Unicast dev cali1 metric 0 proto 16",
            "240.0.0.0/8 Blackhole dev - metric 0 proto 16",
            "::/0 Unreachable dev - metric 0 proto 16",
        ]
    );
}

#[test]
fn a_route_that_is_replaced_is_told_once_and_ours_in_its_place_ends_it_after_a_reading() {
    let mut table = table();
    table.notice(added(BOOT, dev("10.1.0.1/32", 0, 1)));
    table.notice(replaced(80, dev("10.1.0.1/32", 0, 2)));
    table.notice(replaced(80, dev("10.1.0.1/32", 0, 2)));
    assert_eq!(told(&mut table), ["10.1.0.1/32 Unicast dev cali2 metric 0 proto 80"]);
    assert!(!table.take_doubt());
    table.notice(replaced(OURS, dev("10.1.0.1/32", 7, 2)));
    assert!(!table.take_doubt(), "another metric is another route");
    table.notice(replaced(OURS, dev("10.1.0.1/32", 0, 2)));
    assert!(table.take_doubt());
    table.replace(Others::default());
    assert_eq!(told(&mut table), ["10.1.0.1/32 gone"]);
}

#[test]
fn what_a_notice_leaves_open_is_read() {
    // One more with the same key: appended, or one more next hop.
    let mut appended = table();
    appended.notice(added(BOOT, dev("fd00::1/128", 1024, 1)));
    appended.notice(added(BOOT, dev("fd00::1/128", 1024, 2)));
    assert!(appended.take_doubt());
    // One next hop of several may be all that went.
    let mut partly = table();
    let both = KernelRoute { content: content(Action::Unicast, &[1, 2]), ..dev("fd00::1/128", 1024, 1) };
    partly.notice(added(BOOT, both));
    assert_eq!(told(&mut partly), ["fd00::1/128 Unicast dev - metric 1024 proto 3"]);
    partly.notice(removed(BOOT, "fd00::1/128", 1024));
    assert!(partly.take_doubt() && told(&mut partly).is_empty());
    // Routes go with interfaces and addresses without a word.
    let address = Address { interface: 1, network: Some(net("10.0.0.0/24")) };
    for notice in [
        Notice::Overrun,
        Notice::LinkChanged { link: Link { is_up: false, ..link(1, "cali1") } },
        Notice::LinkChanged { link: Link { has_carrier: false, ..link(1, "cali1") } },
        Notice::LinkRemoved { index: 1 },
        Notice::AddressRemoved { address },
    ] {
        let mut table = table();
        table.notice(notice.clone());
        assert!(table.take_doubt() && !table.take_doubt(), "{notice:?}");
    }
}

#[test]
fn interfaces_may_change_their_names_and_come_after_their_routes() {
    let mut table = table();
    table.notice(added(BOOT, dev("10.1.0.1/32", 0, 1)));
    table.notice(added(BOOT, dev("10.1.0.3/32", 0, 3)));
    table.notice(Notice::AddressAdded {
        address: Address { interface: 1, network: Some(net("10.0.0.0/24")) },
    });
    assert_eq!(
        told(&mut table),
        [
            "10.0.0.0/24 on Some(\"cali1\")",
            "10.1.0.1/32 Unicast dev cali1 metric 0 proto 3",
            "10.1.0.3/32 Unicast dev - metric 0 proto 3",
        ]
    );
    table.notice(Notice::LinkChanged { link: link(1, "eth7") });
    table.notice(Notice::LinkChanged { link: link(3, "cali3") });
    assert_eq!(
        told(&mut table),
        [
            "10.0.0.0/24 on Some(\"eth7\")",
            "10.1.0.1/32 Unicast dev eth7 metric 0 proto 3",
            "10.1.0.3/32 Unicast dev cali3 metric 0 proto 3",
        ]
    );
    assert!(!table.take_doubt());
}

#[test]
fn networks_are_those_of_addresses_on_interfaces_that_are_up() {
    let mut table = table();
    let address = |interface, network: &str| Address { interface, network: Some(net(network)) };
    for added in [
        address(2, "10.0.0.0/24"),
        address(1, "10.0.0.0/24"),
        address(1, "fe80::/64"),
        Address { interface: 1, network: None },
    ] {
        table.notice(Notice::AddressAdded { address: added });
    }
    assert_eq!(told(&mut table), ["10.0.0.0/24 on Some(\"cali1\")"], "the first by name");
    table.notice(Notice::LinkChanged { link: Link { is_up: false, ..link(1, "cali1") } });
    assert_eq!(told(&mut table), ["10.0.0.0/24 on Some(\"cali2\")"]);
    table.notice(Notice::AddressRemoved { address: address(2, "10.0.0.0/24") });
    assert_eq!(told(&mut table), ["10.0.0.0/24 on None"]);
}

#[test]
fn there_is_room_for_so_many_and_again_when_half_of_them_have_gone() {
    let mut table = table();
    for last in 1..=6 {
        table.notice(added(BOOT, dev(&format!("10.1.0.{last}/32"), 0, 1)));
    }
    assert_eq!(told(&mut table).len(), 4);
    assert_eq!(table.counts(), (4, 0, 2));
    table.notice(removed(BOOT, "10.1.0.1/32", 0));
    assert!(!table.take_doubt());
    table.notice(removed(BOOT, "10.1.0.2/32", 0));
    assert!(table.take_doubt());
    assert_eq!(told(&mut table), ["10.1.0.1/32 gone", "10.1.0.2/32 gone"]);
}

#[test]
fn a_reading_tells_the_difference_only() {
    let mut table = table();
    for last in 1..=3 {
        table.notice(added(BOOT, dev(&format!("10.1.0.{last}/32"), 0, 1)));
    }
    told(&mut table);
    let routes = [dev("10.1.0.1/32", 0, 1), dev("10.1.0.2/32", 0, 2), dev("10.1.0.4/32", 0, 1)];
    table.replace(Others {
        links: vec![link(1, "cali1"), link(2, "cali2")],
        routes: routes.map(|route| OwnedRoute { protocol: BOOT, route }).into(),
        ..Others::default()
    });
    assert_eq!(
        told(&mut table),
        [
            "10.1.0.2/32 Unicast dev cali2 metric 0 proto 3",
            "10.1.0.3/32 gone",
            "10.1.0.4/32 Unicast dev cali1 metric 0 proto 3",
        ]
    );
}
