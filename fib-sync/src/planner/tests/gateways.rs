//! Gateways further away: asked for, followed, and left out where there is no way.

use super::*;

#[test]
fn a_gateway_further_away_is_asked_for_once_and_not_per_route() {
    let mut pair = Pair::new();
    set_way(&pair.kernel, 0);
    for index in 0..50 {
        pair.set(&format!("10.1.{index}.0/24"), &recursive(FAR));
    }
    assert!(pair.take());
    let asked = Reading { scope: Scope::Gateways, gateways: vec![addr(FAR)] };
    assert!(matches!(&pair.given_out[0], Work::Dump(reading) if *reading == asked), "{:?}", pair.given_out);
    pair.settle();
    assert!(pair.planner.status().is_in_step(), "{:#?}", pair.planner.status());
    assert_eq!(pair.planner.status().resyncs, 0);
    let via_neighbour = |content: &Content| content.hops[0].gateway == Some(addr("10.0.0.2"));
    assert!(pair.kernel.contents(OURS).values().all(via_neighbour));
}

#[test]
fn when_the_way_to_a_gateway_changes_all_its_routes_follow_by_one_message() {
    let mut pair = Pair::new();
    set_way(&pair.kernel, 0);
    for index in 0..50 {
        pair.set(&format!("10.1.{index}.0/24"), &recursive(FAR));
    }
    pair.settle();
    pair.kernel.take_operations();
    set_way(&pair.kernel, 1);
    pair.settle();
    assert_eq!(pair.kernel.take_operations().len(), 1);
    let leads_to = |gateway: &str| {
        let is_there = |content: &Content| content.hops[0].gateway == Some(addr(gateway));
        pair.kernel.contents(OURS).values().all(is_there)
    };
    assert!(leads_to("10.0.1.2"));
    // A change of a route that leads to none of our gateways is nothing to ask about.
    pair.kernel.set_way(net("172.16.0.0/12"), &[addr("10.0.0.2")]);
    assert!(!pair.step());
}

#[test]
fn without_a_way_routes_are_pending_and_come_back_with_it() {
    let mut pair = Pair::new();
    set_way(&pair.kernel, 3);
    for index in 0..50 {
        pair.set(&format!("10.1.{index}.0/24"), &recursive(FAR));
    }
    pair.settle();
    let status = pair.planner.status();
    assert_eq!((status.installed, status.pending), (0, 50));
    assert!(status.pending_routes[0].reason.to_string().contains("no route leads to the next hop"));
    for way in [2, 0, 1] {
        set_way(&pair.kernel, way);
        pair.settle_with_retries();
        assert!(pair.planner.status().is_in_step(), "{:#?}", pair.planner.status());
        let count = WAYS[way].len();
        assert!(pair.kernel.contents(OURS).values().all(|content| content.hops.len() == count));
    }
    set_way(&pair.kernel, 3);
    pair.settle();
    let status = pair.planner.status();
    assert_eq!((status.installed, status.pending), (0, 50), "told, though the old way is still there");
    assert_eq!(pair.kernel.route_count(OURS), 50);
}

#[test]
fn a_gateway_that_comes_to_be_wanted_while_others_are_asked_for_is_asked_for_next() {
    let mut pair = Pair::new();
    set_way(&pair.kernel, 0);
    pair.set("10.1.0.0/24", &recursive(FAR));
    pair.settle();
    pair.set("10.1.0.0/24", &via(&["10.0.0.3"]));
    pair.settle();
    // Nobody wants to know of it any more, but it is known, and so a change of the way to it raises the question.
    set_way(&pair.kernel, 1);
    while !pair.take() {
        pair.wait();
    }
    assert!(matches!(&pair.given_out[0], Work::Dump(reading) if reading.gateways.is_empty()));
    pair.set("10.1.0.0/24", &recursive(FAR));
    pair.settle();
    assert!(pair.planner.status().is_in_step(), "{:#?}", pair.planner.status());
    let contents = pair.kernel.contents(OURS);
    assert!(contents.values().all(|content| content.hops[0].gateway == Some(addr("10.0.1.2"))));
}

#[test]
fn of_several_gateways_those_without_a_way_are_left_out_and_come_back_with_it() {
    let mut pair = Pair::new();
    set_way(&pair.kernel, 0);
    let both = [NextHop::recursive(addr(FAR)), NextHop::recursive(addr("10.8.0.1"))];
    pair.set("10.1.0.0/24", &RouteKind::Unicast(NextHopSet::new(both).unwrap()));
    for (way_to_other, gateways) in
        [(&[][..], &["10.0.0.2"][..]), (&["10.0.1.3"], &["10.0.0.2", "10.0.1.3"]), (&[], &["10.0.0.2"])]
    {
        let neighbours: Vec<IpAddr> = way_to_other.iter().map(|text| addr(text)).collect();
        pair.kernel.set_way(net("10.8.0.0/16"), &neighbours);
        pair.settle();
        assert!(pair.planner.status().is_in_step(), "{:#?}", pair.planner.status());
        let contents = pair.kernel.contents(OURS);
        let hops = contents.values().flat_map(|content| &content.hops);
        let led_to: Vec<IpAddr> = hops.filter_map(|hop| hop.gateway).collect();
        assert_eq!(led_to, gateways.iter().map(|text| addr(text)).collect::<Vec<_>>());
    }
}
