//! Every kind of step, on running sessions.

use super::*;

#[test]
fn neighbours_are_added_and_removed() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.converge();
    let fourth = network.start(client(4));
    network.run(SECOND);
    network.forget_heard();
    network.apply(nodes[0], |config| *config = config.clone().clients(&[4]));
    network.converge();
    network.check_model();
    assert_eq!(network.best(fourth).len(), 6);
    network.apply(nodes[0], |config| _ = config.neighbors.remove(&address(4).into()));
    network.run(SECOND);
    assert_eq!(notifications(&network, fourth, nodes[0]), [(6, 9)], "peer de-configured, with a hard reset");
    network.converge();
    network.check_model();
    assert_eq!(network.best(nodes[1]).len(), 4);
    let others = [nodes[1], nodes[2]];
    assert!(others.iter().all(|node| session_count(&network, nodes[0], *node) == 1), "nobody else was reset");
}

#[test]
fn a_neighbour_that_becomes_something_else_to_a_reflector_is_never_without_a_route() {
    for seed in 0..20 {
        let mut network = Network::rough(seed);
        let nodes = star(&mut network, 4);
        network.converge();
        for role in [Role::Peer, Role::Client] {
            change(&mut network, nodes[0], nodes[1], |neighbor| neighbor.options.role = role);
            for step in 0..3000 {
                network.run(Duration::from_millis(1));
                assert_eq!(network.best(nodes[0]).len(), 6, "seed {seed}, {role:?}, {step} ms");
                assert_eq!(network.best(nodes[2]).len(), 6, "seed {seed}, {role:?}, {step} ms");
            }
            network.converge();
            network.check_model();
        }
    }
}

#[test]
fn two_who_reset_their_session_at_the_same_time_keep_each_others_routes() {
    for seed in 0..100 {
        let mut network = Network::rough(seed);
        let nodes = star(&mut network, 3);
        for (one, other) in [(nodes[0], nodes[1]), (nodes[1], nodes[0])] {
            change(&mut network, one, other, |neighbor| neighbor.passive = false);
        }
        network.converge();
        for (one, other) in [(nodes[0], nodes[1]), (nodes[1], nodes[0])] {
            change(&mut network, one, other, |neighbor| neighbor.options.hold_time_secs = Some(60));
            let pause = network.dice.up_to(Duration::from_millis(20));
            network.run(pause);
        }
        for step in 0..3000 {
            network.run(Duration::from_millis(1));
            assert_eq!(network.best(nodes[0]).len(), 4, "seed {seed}, {step} ms");
            assert_eq!(network.best(nodes[1]).len(), 4, "seed {seed}, {step} ms");
        }
    }
}

#[test]
fn a_disabled_neighbour_comes_back_when_it_is_enabled() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.converge();
    change(&mut network, nodes[0], nodes[1], |neighbor| neighbor.enabled = false);
    network.run(60 * SECOND);
    assert!(network.streams_between(nodes[0], nodes[1]).is_empty());
    change(&mut network, nodes[0], nodes[1], |neighbor| neighbor.enabled = true);
    network.converge();
    network.check_model();
}

#[test]
fn an_import_policy_takes_effect_at_once_and_both_ways() {
    for seed in 0..20 {
        let mut network = Network::rough(seed);
        let nodes = star(&mut network, 3);
        network.converge();
        let sessions = session_count(&network, nodes[0], nodes[1]);
        change(&mut network, nodes[0], nodes[1], |neighbor| neighbor.options.import = PolicyRef::Reject);
        network.converge();
        network.check_model();
        assert_eq!(network.best(nodes[2]).len(), 2);
        change(&mut network, nodes[0], nodes[1], |neighbor| neighbor.options.import = PolicyRef::Accept);
        network.converge();
        network.check_model();
        assert_eq!(network.best(nodes[2]).len(), 4);
        assert_eq!(session_count(&network, nodes[0], nodes[1]), sessions, "without a reset");
    }
}

#[test]
fn an_export_policy_takes_effect_at_once_and_both_ways() {
    for seed in 0..20 {
        let mut network = Network::rough(seed);
        let nodes = star(&mut network, 4);
        network.converge();
        let sessions = session_count(&network, nodes[0], nodes[1]);
        network.forget_heard();
        change(&mut network, nodes[0], nodes[1], |neighbor| neighbor.options.export = PolicyRef::Reject);
        network.converge();
        network.check_model();
        assert_eq!(network.best(nodes[1]).len(), 2, "its own");
        change(&mut network, nodes[0], nodes[1], |neighbor| neighbor.options.export = PolicyRef::Accept);
        network.converge();
        network.check_model();
        assert_eq!(network.best(nodes[1]).len(), 6);
        assert_eq!(session_count(&network, nodes[0], nodes[1]), sessions, "without a reset");
        assert_eq!(updates(&network, nodes[2], nodes[0]), 0, "nobody else is concerned");
    }
}

#[test]
fn an_export_policy_that_changes_while_routes_change_leaves_nothing_behind() {
    for seed in 0..50 {
        let mut network = Network::rough(seed);
        let nodes = star(&mut network, 4);
        network.run(SECOND);
        for round in 0..10 {
            let policy = [PolicyRef::Accept, PolicyRef::Reject][round % 2].clone();
            change(&mut network, nodes[0], nodes[1], |neighbor| neighbor.options.export = policy);
            network.apply(nodes[2], |config| {
                if round % 3 == 0 {
                    config.announcements.clear();
                } else {
                    *config = config.clone().announces(&[&v4(3), &v6(3)]);
                }
            });
            let pause = network.dice.up_to(Duration::from_millis(300));
            network.run(pause);
        }
        network.converge();
        network.check_model();
    }
}

#[test]
fn a_next_hop_rule_is_changed_without_a_reset() {
    let mut network = Network::rough(1);
    let nodes = star(&mut network, 3);
    network.converge();
    change(&mut network, nodes[0], nodes[1], |neighbor| neighbor.options.next_hop = NextHopMode::SelfAddress);
    network.converge();
    network.check_model();
    assert_eq!(network.best(nodes[1])[&prefix(&v4(3))].next_hop.as_deref(), Some("10.0.0.1"));
    assert_eq!(session_count(&network, nodes[0], nodes[1]), 1);
}

#[test]
fn a_passive_neighbour_that_becomes_active_is_connected_to() {
    let mut network = Network::new(1);
    let passive = |number| Neighbor::ibgp(address(number)).passive();
    let a = network.start(SpeakerConfig::numbered(1).peers_with(passive(2)));
    let b = network.start(SpeakerConfig::numbered(2).peers_with(passive(1)));
    network.run(60 * SECOND);
    assert!(!network.is_up(a, b));
    change(&mut network, a, b, |neighbor| neighbor.passive = false);
    network.wait_for("a session", 5 * SECOND, |network| network.is_up(a, b));
}

#[test]
fn a_session_that_is_up_does_not_notice_that_it_becomes_passive() {
    let mut network = Network::new(1);
    let (a, b) = super::sessions::pair(&mut network);
    network.converge();
    change(&mut network, a, b, |neighbor| neighbor.passive = true);
    network.run(120 * SECOND);
    assert_eq!((network.is_up(a, b), session_count(&network, a, b)), (true, 1));
}

#[test]
fn a_new_as_of_a_neighbour_resets_its_session() {
    let mut network = Network::new(1);
    let (a, b) = super::sessions::pair(&mut network);
    network.converge();
    network.apply(b, |config| {
        config.asn = Asn(65002);
        config.neighbors.values_mut().for_each(|neighbor| neighbor.options.remote_as = Some(Asn(64512)));
    });
    network.run(SECOND);
    assert!(!network.is_up(a, b));
    change(&mut network, a, b, |neighbor| neighbor.options.remote_as = Some(Asn(65002)));
    network.converge();
    network.check_model();
    assert_eq!(network.best(a)[&prefix(&v4(2))].as_path, "65002");
}

#[test]
fn a_new_as_of_a_whole_cluster_takes_hold_everywhere() {
    for seed in 0..10 {
        let mut network = Network::rough(seed);
        let nodes = star(&mut network, 4);
        network.converge();
        for &node in &nodes {
            network.apply(node, |config| config.asn = Asn(64999));
        }
        network.converge();
        network.check_model();
    }
}

#[test]
fn a_new_cluster_id_and_a_new_identifier_take_hold() {
    let mut network = Network::rough(1);
    let nodes = star(&mut network, 4);
    network.converge();
    network.apply(nodes[0], |config| config.cluster_id = Some(bgp_proto::BgpId(42)));
    network.converge();
    network.check_model();
    assert_eq!(network.best(nodes[1])[&prefix(&v4(3))].cluster_list, ["0.0.0.42"]);
    network.apply(nodes[2], |config| config.router_id = bgp_proto::BgpId(0x0a00_00ff));
    network.converge();
    network.check_model();
}

#[test]
fn too_many_prefixes_end_the_session_and_it_is_not_tried_again_soon() {
    for settle in [5, 300] {
        let mut network = Network::new(1);
        let nodes = star(&mut network, 3);
        change(&mut network, nodes[0], nodes[1], |neighbor| neighbor.options.max_prefixes = Some(3));
        change(&mut network, nodes[1], nodes[0], |neighbor| neighbor.passive = true);
        network.run(settle * SECOND);
        network.forget_heard();
        let sessions = session_count(&network, nodes[0], nodes[1]);
        network.apply(nodes[1], |config| *config = config.clone().announces(&["10.1.0.0/16", "10.2.0.0/16"]));
        network.run(SECOND);
        assert_eq!(notifications(&network, nodes[1], nodes[0]), [(6, 9)], "max_prefixes, as a hard reset");
        assert_eq!(network.best(nodes[2]).len(), 2);
        network.run(120 * SECOND);
        let again = session_count(&network, nodes[0], nodes[1]) - sessions;
        assert!(again <= 6, "{again} times in two minutes, after {settle} s");
    }
}

#[test]
fn a_higher_limit_of_prefixes_lets_the_neighbour_back_in() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    change(&mut network, nodes[0], nodes[1], |neighbor| neighbor.options.max_prefixes = Some(1));
    network.run(30 * SECOND);
    assert_eq!(network.best(nodes[2]).len(), 2);
    change(&mut network, nodes[0], nodes[1], |neighbor| neighbor.options.max_prefixes = Some(2));
    network.converge();
    network.check_model();
}

#[test]
fn equal_configurations_do_nothing() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.converge();
    network.forget_heard();
    network.apply(nodes[0], |_| ());
    network.run(SECOND);
    assert!(network.heard().is_empty());
}

#[test]
fn a_new_as_that_the_neighbour_learns_of_a_little_later_costs_no_half_minute() {
    for is_passive in [false, true] {
        let mut network = Network::new(1);
        let (a, b) = super::sessions::pair(&mut network);
        change(&mut network, b, a, |neighbor| neighbor.passive = is_passive);
        network.converge();
        network.run(60 * SECOND);
        network.apply(a, |config| config.asn = Asn(65009));
        network.run(2 * SECOND);
        assert!(!network.is_up(a, b), "one of them expects the old AS still");
        network.apply(b, |config| config.asn = Asn(65009));
        network.wait_for("the session", 3 * SECOND, |network| network.is_up(a, b));
        network.check_model();
    }
}

#[test]
fn a_neighbour_that_is_reset_again_and_again_comes_back_soon_each_time() {
    let mut network = Network::new(1);
    let (a, b) = super::sessions::pair(&mut network);
    change(&mut network, a, b, |neighbor| neighbor.passive = true);
    for hold_time in 60..80 {
        network.wait_for("the session", 2 * SECOND, |network| network.is_up(a, b));
        network.apply(a, |config| config.hold_time_secs = hold_time);
        assert!(!network.is_up(a, b));
    }
}
