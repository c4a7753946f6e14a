//! eBGP.

use super::*;
use crate::config::PolicyRef;
use crate::config::filter::{Action, Filter, Rule, Then};
use crate::engine::BestRoute;
use bgp_proto::Origin;
use std::net::IpAddr;
use std::sync::Arc;

/// AS 65001 (1), AS 64512 (2, 3), AS 65004 (4), in a row.
fn row(network: &mut Network) -> [NodeId; 4] {
    [
        network.start(SpeakerConfig::numbered(1).in_as(65001).ebgp(2, 64512).announces(&[&v4(1), &v6(1)])),
        network.start(SpeakerConfig::numbered(2).ebgp(1, 65001).ibgp(&[3]).announces(&[&v4(2)])),
        network.start(SpeakerConfig::numbered(3).ebgp(4, 65004).ibgp(&[2]).announces(&[&v4(3)])),
        network.start(SpeakerConfig::numbered(4).in_as(65004).ebgp(3, 64512).announces(&[&v4(4), &v6(4)])),
    ]
}

#[test]
fn each_as_on_the_way_is_in_the_path_and_the_next_hop_is_the_neighbour() {
    for seed in 0..20 {
        let mut network = Network::rough(seed);
        let [a, b, c, d] = row(&mut network);
        network.converge();
        network.check_model();
        let route = &network.best(d)[&prefix(&v4(1))];
        assert_eq!(route.as_path, "64512 65001");
        assert_eq!(route.next_hop.as_deref(), Some(c.address().to_string().as_str()));
        let inside = &network.best(c)[&prefix(&v4(1))];
        assert_eq!(inside.next_hop.as_deref(), Some(a.address().to_string().as_str()), "unchanged over iBGP");
        assert_eq!(network.best(b).len(), 6);
    }
}

#[test]
fn local_pref_and_received_meds_stay_in_the_as() {
    let mut network = Network::new(1);
    let [a, b, c, d] = row(&mut network);
    for node in [a, b] {
        network.apply(node, |config| {
            config.announcements.values_mut().for_each(|an| (an.med, an.local_pref) = (Some(7), Some(300)));
        });
    }
    network.converge();
    network.check_model();
    assert_eq!(network.best(b)[&prefix(&v4(1))].med, Some(7), "from the neighbouring AS");
    assert_eq!(network.best(c)[&prefix(&v4(1))].med, Some(7), "over iBGP");
    assert_eq!(network.best(d)[&prefix(&v4(1))].med, None, "not beyond");
    assert_eq!(network.received(b, a)[&prefix(&v4(1))].local_pref, None);
    assert_eq!(network.received(c, b)[&prefix(&v4(2))].local_pref, Some(300));
    assert_eq!(network.received(a, b)[&prefix(&v4(2))].med, Some(7), "its own");
}

#[test]
fn what_has_our_as_in_its_path_is_not_taken() {
    let mut network = Network::new(1);
    // A ring of three ASes: everything comes back to its origin, and is not kept there.
    for (number, others) in [(1, [2, 3]), (2, [1, 3]), (3, [1, 2])] {
        let config = SpeakerConfig::numbered(number).in_as(65000 + number).announces(&[&v4(number)]);
        network.start(others.iter().fold(config, |config, other| config.ebgp(*other, 65000 + other)));
    }
    network.converge();
    network.check_model();
    for at in [0, 1, 2] {
        assert_eq!(network.best(NodeId(at)).len(), 3);
    }
    assert!(!network.received(NodeId(0), NodeId(1)).contains_key(&prefix(&v4(1))));
    network.apply(NodeId(0), |config| config.announcements.clear());
    network.converge();
    network.check_model();
}

#[test]
fn well_known_communities_keep_routes_where_they_belong() {
    for (community, reaches_ibgp, reaches_ebgp) in [
        (Community::NO_EXPORT, true, false),
        (Community::NO_ADVERTISE, false, false),
        (Community(1), true, true),
    ] {
        let mut network = Network::new(1);
        let [a, b, c, d] = row(&mut network);
        network.apply(a, |config| {
            config.announcements.clear();
            *config = config.clone().announces(&["10.0.0.0/8"]);
        });
        // Marked by hand on the border, where a policy would do it.
        network.apply(b, |config| {
            config.neighbors.remove(&a.address().into());
            *config = config.clone().announces(&["10.0.0.0/8"]);
            let announcement = config.announcements.get_mut(&prefix("10.0.0.0/8")).expect("announced");
            announcement.communities = vec![community];
        });
        network.converge();
        network.check_model();
        let has = |node| network.best(node).contains_key(&prefix("10.0.0.0/8"));
        assert_eq!((has(c), has(d)), (reaches_ibgp, reaches_ebgp), "{community:?}");
    }
}

#[test]
fn next_hop_self_and_unchanged_are_what_they_say() {
    let mut network = Network::new(1);
    let [a, b, c, d] = row(&mut network);
    change(&mut network, b, c, |neighbor| neighbor.options.next_hop = NextHopMode::SelfAddress);
    change(&mut network, c, d, |neighbor| neighbor.options.next_hop = NextHopMode::Unchanged);
    network.converge();
    network.check_model();
    let next_hop = |at, of: &str| network.best(at)[&prefix(of)].next_hop.clone();
    assert_eq!(next_hop(c, &v4(1)), Some(b.address().to_string()));
    assert_eq!(next_hop(d, &v4(1)), Some(b.address().to_string()));
    assert_eq!(next_hop(d, &v4(3)), Some(c.address().to_string()), "its own routes carry itself");
    assert_eq!(next_hop(b, &v4(1)), Some(a.address().to_string()));
}

#[test]
fn a_local_as_of_a_session_is_what_the_neighbour_sees() {
    let mut network = Network::new(1);
    let [a, b, ..] = row(&mut network);
    change(&mut network, b, a, |neighbor| neighbor.options.local_as = Some(Asn(65009)));
    change(&mut network, a, b, |neighbor| neighbor.options.remote_as = Some(Asn(65009)));
    network.converge();
    network.check_model();
    assert_eq!(network.best(a)[&prefix(&v4(2))].as_path, "65009");
}

#[test]
fn our_own_as_may_be_in_a_path_as_often_as_a_session_allows() {
    let mut network = Network::new(1);
    // One AS in two places, with another between them that has it in front of its routes.
    let a = network.start(SpeakerConfig::numbered(1).in_as(65001).ebgp(2, 64512).announces(&[&v4(1)]));
    let b = network.start(SpeakerConfig::numbered(2).ebgp(1, 65001).ebgp(3, 65001));
    let c = network.start(SpeakerConfig::numbered(3).in_as(65001).ebgp(2, 64512));
    network.converge();
    assert!(!network.best(c).contains_key(&prefix(&v4(1))), "a loop");
    change(&mut network, c, b, |neighbor| neighbor.options.allow_own_as = 1);
    network.converge();
    assert_eq!(network.best(c)[&prefix(&v4(1))].as_path, "64512 65001");
    change(&mut network, c, b, |neighbor| neighbor.options.allow_own_as = 0);
    network.converge();
    assert!(!network.best(c).contains_key(&prefix(&v4(1))), "a loop again");
    let twice = Action::Prepend(vec![Asn(65001)]);
    network.apply(a, |config| {
        let filter = Filter { rules: vec![Rule::new(Then::Accept).change(twice)], default: Then::Accept };
        config.filters.insert("twice".to_owned(), Arc::new(filter));
        for neighbor in config.neighbors.values_mut() {
            neighbor.options.export = PolicyRef::Filters(vec!["twice".to_owned()]);
        }
    });
    change(&mut network, c, b, |neighbor| neighbor.options.allow_own_as = 1);
    network.converge();
    assert!(!network.best(c).contains_key(&prefix(&v4(1))), "twice is once too often");
    change(&mut network, c, b, |neighbor| neighbor.options.allow_own_as = 2);
    network.converge();
    assert_eq!(network.best(c)[&prefix(&v4(1))].as_path, "64512 65001 65001");
}

#[test]
fn an_external_route_wins_over_the_same_from_ibgp() {
    let mut network = Network::new(1);
    let nodes = row(&mut network);
    for node in [nodes[0], nodes[3]] {
        network.apply(node, |config| *config = config.clone().announces(&["10.0.0.0/8"]));
    }
    network.converge();
    network.check_model();
    let from = |at: NodeId| network.best(at)[&prefix("10.0.0.0/8")].from.clone();
    assert_eq!(from(nodes[1]), nodes[0].address().to_string());
    assert_eq!(from(nodes[2]), nodes[3].address().to_string());
}

/// The next hops of a route at a node: the best one's first.
fn next_hops(network: &Network, at: NodeId, text: &str) -> Vec<IpAddr> {
    match network.subscribed(at, prefix(text)) {
        Some(BestRoute::Learned { next_hop, equal_next_hops, .. }) => {
            [*next_hop].iter().chain(equal_next_hops).map(|next_hop| next_hop.addr()).collect()
        }
        other => panic!("no learned route: {other:?}"),
    }
}

#[test]
fn packets_are_shared_among_routers_that_are_equally_good() {
    let mut network = Network::new(1);
    let mut node = SpeakerConfig::numbered(1).ebgp(2, 65_002).ebgp(3, 65_003).ebgp(4, 65_004);
    node.fib_rules.next_hops_max = std::num::NonZeroU8::new(2);
    let node = network.start(node);
    let routers = [(2, 65_002), (3, 65_003), (4, 65_004)].map(|(number, asn)| {
        let config = SpeakerConfig::numbered(number).in_as(asn).ebgp(1, 64_512);
        network.start(config.announces(&["10.9.0.0/16"]))
    });
    network.converge();
    network.check();
    assert_eq!(next_hops(&network, node, "10.9.0.0/16"), [address(2), address(3)]);
    // The second one goes, and the third comes in its place: the best path is the same all the time.
    network.apply(routers[1], |config| config.announcements.clear());
    network.converge();
    network.check();
    assert_eq!(next_hops(&network, node, "10.9.0.0/16"), [address(2), address(4)]);
    let told = network.engine(node).explain(prefix("10.9.0.0/16"), None).expect("no neighbour is named");
    assert!(told.paths[1].because.ends_with("packets may take its next hop too"), "{told:?}");
    // A better one has all of them to itself.
    network.apply(routers[2], |config| {
        config.announcements.values_mut().for_each(|announcement| announcement.origin = Origin::Egp);
    });
    network.converge();
    network.check();
    assert_eq!(next_hops(&network, node, "10.9.0.0/16"), [address(2)]);
}

#[test]
fn two_reflectors_that_tell_of_one_router_give_one_next_hop() {
    let mut network = Network::new(1);
    network.start(SpeakerConfig::numbered(1).reflects(1).clients(&[3, 4]));
    network.start(SpeakerConfig::numbered(2).reflects(2).clients(&[3, 4]));
    network.start(SpeakerConfig::numbered(3).ibgp(&[1, 2]).announces(&["10.9.0.0/16"]));
    let mut node = SpeakerConfig::numbered(4).ibgp(&[1, 2]);
    node.fib_rules.next_hops_max = std::num::NonZeroU8::new(16);
    let node = network.start(node);
    network.converge();
    network.check();
    assert_eq!(next_hops(&network, node, "10.9.0.0/16"), [address(3)]);
}
