//! RFC 4456.

use super::*;

/// A reflector (1) with three clients (2, 3, 4) and a non-client (5).
fn reflector(network: &mut Network) -> Vec<NodeId> {
    let mut nodes =
        vec![network.start(SpeakerConfig::numbered(1).reflects(99).clients(&[2, 3, 4]).ibgp(&[5]))];
    nodes.extend((2..=5).map(|number| network.start(client(number))));
    nodes
}

#[test]
fn clients_and_non_clients_hear_what_they_are_to_hear() {
    for seed in 0..20 {
        let mut network = Network::rough(seed);
        let nodes = reflector(&mut network);
        network.converge();
        network.check_model();
        for at in [1, 2, 3, 4] {
            assert_eq!(network.best(nodes[at]).len(), 8, "seed {seed}");
        }
    }
}

#[test]
fn two_non_clients_do_not_hear_of_each_other() {
    let mut network = Network::new(1);
    let nodes = reflector(&mut network);
    network.apply(nodes[0], |config| *config = config.clone().ibgp(&[4, 5]));
    network.converge();
    network.check_model();
    assert!(!network.best(nodes[3]).contains_key(&prefix(&v4(5))));
    assert!(network.best(nodes[3]).contains_key(&prefix(&v4(2))));
}

#[test]
fn a_reflected_route_says_who_originated_it_and_which_clusters_it_passed() {
    let mut network = Network::new(1);
    let nodes = reflector(&mut network);
    network.converge();
    let route = &network.best(nodes[2])[&prefix(&v4(2))];
    assert_eq!(route.originator_id.as_deref(), Some("10.0.0.2"));
    assert_eq!(route.cluster_list, ["0.0.0.99"]);
    assert_eq!(route.next_hop.as_deref(), Some("10.0.0.2"), "unchanged");
    assert_eq!(route.local_pref, Some(100));
}

#[test]
fn a_client_is_not_told_its_own_routes() {
    let mut network = Network::new(1);
    let nodes = reflector(&mut network);
    network.converge();
    for &client in &nodes[1..] {
        let own = client.address().to_string();
        let received = network.received(client, nodes[0]);
        assert!(received.values().all(|route| route.next_hop.as_deref() != Some(&own)));
        let counts = &network.neighbor(nodes[0], client).expect("listed").prefixes["ipv4-unicast"];
        assert_eq!((counts.received, counts.advertised), (1, 3));
    }
}

/// Clients 3 and 4 of reflectors 1 and 2, which are each other's non-clients.
fn two_reflectors(network: &mut Network, clusters: [u32; 2]) {
    network.start(SpeakerConfig::numbered(1).reflects(clusters[0]).clients(&[3, 4]).ibgp(&[2]));
    network.start(SpeakerConfig::numbered(2).reflects(clusters[1]).clients(&[3, 4]).ibgp(&[1]));
    for number in [3, 4] {
        network.start(SpeakerConfig::numbered(number).ibgp(&[1, 2]).announces(&[&v4(number), &v6(number)]));
    }
}

#[test]
fn reflectors_of_one_cluster_do_not_take_each_others_reflections() {
    for seed in 0..20 {
        let mut network = Network::rough(seed);
        two_reflectors(&mut network, [7, 7]);
        network.converge();
        network.check_model();
        assert!(network.received(NodeId(0), NodeId(1)).is_empty(), "the cluster is in the list");
        assert_eq!(network.best(NodeId(2)).len(), 4);
    }
}

#[test]
fn reflectors_of_two_clusters_back_each_other_up_without_loops() {
    for seed in 0..20 {
        let mut network = Network::rough(seed);
        two_reflectors(&mut network, [1, 2]);
        network.converge();
        network.check_model();
        assert_eq!(network.received(NodeId(0), NodeId(1)).len(), 4);
        // What one of them loses, it still has from the other, until the origin itself is gone.
        change(&mut network, NodeId(0), NodeId(2), |neighbor| neighbor.enabled = false);
        network.converge();
        network.check_model();
        assert_eq!(network.best(NodeId(0)).len(), 4);
        network.apply(NodeId(2), |config| config.announcements.clear());
        network.converge();
        network.check_model();
        assert_eq!(network.best(NodeId(0)).len(), 2, "no copy outlives its origin");
    }
}

#[test]
fn a_ring_of_clusters_forgets_what_is_withdrawn() {
    for seed in 0..20 {
        let mut network = Network::rough(seed);
        for (number, others) in [(1, [2, 3]), (2, [1, 3]), (3, [1, 2])] {
            network.start(SpeakerConfig::numbered(number).reflects(number).clients(&others));
        }
        let origin = network.start(SpeakerConfig::numbered(4).ibgp(&[1]).announces(&[&v4(4)]));
        network.apply(NodeId(0), |config| *config = config.clone().clients(&[4]));
        network.converge();
        network.check_model();
        network.apply(origin, |config| config.announcements.clear());
        network.converge();
        network.check_model();
        assert!((0..3).all(|node| network.best(NodeId(node)).is_empty()), "seed {seed}");
    }
}

#[test]
fn a_client_whose_route_displaces_anothers_holds_no_stale_path() {
    for seed in 0..50 {
        let mut network = Network::rough(seed);
        let nodes = star(&mut network, 4);
        network.apply(nodes[1], |config| *config = config.clone().announces(&["10.0.0.0/8"]));
        network.converge();
        assert!(network.received(nodes[2], nodes[0]).contains_key(&prefix("10.0.0.0/8")));
        network.apply(nodes[2], |config| {
            *config = config.clone().announces(&["10.0.0.0/8"]);
            config.announcements.values_mut().for_each(|a| a.local_pref = Some(200));
        });
        network.converge();
        network.check_model();
        assert!(!network.received(nodes[2], nodes[0]).contains_key(&prefix("10.0.0.0/8")), "seed {seed}");
        network.apply(nodes[2], |config| _ = config.announcements.remove(&prefix("10.0.0.0/8")));
        network.converge();
        network.check_model();
    }
}

#[test]
fn a_client_that_joins_with_a_route_that_wins_at_once_holds_no_stale_path() {
    for seed in 0..50 {
        let mut network = Network::new(seed);
        network.weather.delay_max = Duration::from_millis(20);
        network.weather.lazy_percent = 70;
        network.weather.lazy_max = Duration::from_millis(200);
        let nodes = star(&mut network, 6);
        network.apply(nodes[1], |config| *config = config.clone().announces(&["10.0.0.0/8"]));
        network.converge();
        // Each comes back with a better route than the one before, while the walk of the table is still shared.
        for (preference, &node) in (200..).zip(&nodes[2..]) {
            network.kill(node);
            network.revive(node, Revival::Fresh);
            network.apply(node, |config| {
                *config = config.clone().announces(&["10.0.0.0/8"]);
                config.announcements.values_mut().for_each(|a| a.local_pref = Some(preference));
            });
        }
        network.converge();
        network.check_model();
    }
}

#[test]
fn a_neighbour_that_comes_back_as_somebody_else_is_told_of_as_that() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 4);
    network.converge();
    // The role: what it sent as a client must not stay with non-clients.
    network.apply(nodes[0], |config| *config = config.clone().ibgp(&[4]));
    network.converge();
    network.check_model();
    change(&mut network, nodes[0], nodes[1], |neighbor| neighbor.options.role = Role::Peer);
    network.converge();
    network.check_model();
    // The identifier: it is the ORIGINATOR_ID of what it sent.
    network.apply(nodes[2], |config| config.router_id = bgp_proto::BgpId(77));
    network.converge();
    network.check_model();
    assert_eq!(network.best(nodes[1])[&prefix(&v4(3))].originator_id.as_deref(), Some("0.0.0.77"));
}
