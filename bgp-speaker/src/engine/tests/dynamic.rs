//! Neighbours that come unlisted.

use super::*;

/// A reflector (1) that takes clients from 10.0.0.0/24, and clients.
fn open_house(network: &mut Network, max_sessions: u32, count: u32) -> Vec<NodeId> {
    let options = SessionOptions { role: Role::Client, ..SessionOptions::default() };
    let range = ListenRange { max_sessions, options, ..ListenRange::new(prefix("10.0.0.0/24")) };
    let mut nodes = vec![network.start(SpeakerConfig::numbered(1).reflects(1).listens_to(range))];
    nodes.extend((2..=count).map(|number| network.start(client(number))));
    nodes
}

fn known(network: &Network, at: NodeId) -> usize {
    network.engine(at).neighbors(network.now()).len()
}

#[test]
fn whoever_is_in_the_range_is_taken_as_the_range_says() {
    for seed in 0..20 {
        let mut network = Network::rough(seed);
        let nodes = open_house(&mut network, 100, 5);
        network.converge();
        network.check_model();
        assert_eq!(network.best(nodes[4]).len(), 8);
        let view = network.neighbor(nodes[0], nodes[1]).expect("admitted");
        assert!(view.dynamic && view.role == "client");
    }
}

#[test]
fn a_full_range_takes_nobody_else() {
    let mut network = Network::new(1);
    let nodes = open_house(&mut network, 2, 4);
    network.run(60 * SECOND);
    let up = nodes[1..].iter().filter(|client| network.is_up(nodes[0], **client)).count();
    assert_eq!((up, known(&network, nodes[0])), (2, 2));
}

#[test]
fn a_range_has_room_again_when_somebody_has_left() {
    let mut network = Network::new(1);
    let nodes = open_house(&mut network, 2, 4);
    network.run(60 * SECOND);
    let leaver =
        nodes[1..].iter().copied().find(|client| network.is_up(nodes[0], *client)).expect("somebody is in");
    network.with_engine(leaver, |now, engine| engine.stop(now, StopMode::Leave));
    network.run(60 * SECOND);
    let up = nodes[1..].iter().filter(|client| network.is_up(nodes[0], **client)).count();
    assert_eq!(up, 2);
}

#[test]
fn a_stranger_outside_every_range_is_refused() {
    let mut network = Network::new(1);
    let nodes = open_house(&mut network, 10, 2);
    network.apply(nodes[0], |config| config.listen_ranges[0].prefix = prefix("10.0.0.0/31"));
    network.run(20 * SECOND);
    assert!(!network.is_up(nodes[0], nodes[1]));
    assert_eq!(known(&network, nodes[0]), 0);
}

#[test]
fn a_dynamic_neighbour_is_forgotten_with_its_last_route() {
    let mut network = Network::new(1);
    let nodes = open_house(&mut network, 10, 3);
    network.converge();
    network.kill(nodes[1]);
    network.run(60 * SECOND);
    assert_eq!(known(&network, nodes[0]), 2, "its routes are kept");
    network.run(70 * SECOND);
    assert_eq!(known(&network, nodes[0]), 1);
    network.check();
}

#[test]
fn a_dynamic_neighbour_without_routes_is_forgotten_at_once() {
    let mut network = Network::new(1);
    let nodes = open_house(&mut network, 10, 3);
    network.apply(nodes[1], |config| config.announcements.clear());
    network.converge();
    network.kill(nodes[1]);
    network.run(SECOND);
    assert_eq!(known(&network, nodes[0]), 1);
}

#[test]
fn a_dynamic_neighbour_that_connects_again_before_its_session_is_up_is_heard() {
    let mut network = Network::new(1);
    let nodes = open_house(&mut network, 10, 2);
    // Its first connection hangs between OPEN and KEEPALIVE; it tries again.
    let stranger = network.stranger();
    for _ in 0..3 {
        network.connect(stranger, nodes[0]);
        network.run(SECOND);
    }
    let stream = network.connect(stranger, nodes[0]);
    network.run(SECOND);
    network.say(stranger, stream, &super::bad_input::open(3));
    network.run(SECOND);
    let kinds: Vec<_> = network.heard_by(stranger, nodes[0]).map(|heard| heard.kind()).collect();
    assert!(kinds.ends_with(&[MessageType::OPEN, MessageType::KEEPALIVE]), "{kinds:?}");
    network.check();
}

#[test]
fn slots_of_those_who_left_are_used_again_by_others() {
    for seed in 0..20 {
        let mut network = Network::rough(seed);
        let nodes = open_house(&mut network, 100, 8);
        for round in 0..6 {
            let leaver = nodes[1 + network.dice.below(7)];
            if network.is_running(leaver) {
                if round % 2 == 0 {
                    network.with_engine(leaver, |now, engine| engine.stop(now, StopMode::Leave));
                }
                network.kill(leaver);
            } else {
                network.revive(leaver, Revival::Fresh);
            }
            let pause = network.dice.up_to(5 * SECOND);
            network.run(pause);
        }
        for &node in &nodes {
            if !network.is_running(node) {
                network.revive(node, Revival::Fresh);
            }
        }
        network.converge();
        network.check_model();
    }
}

#[test]
fn a_slot_that_changes_hands_within_a_batch_confuses_nobody() {
    for seed in 0..40 {
        let mut network = Network::rough(seed);
        network.weather.lazy_percent = 95;
        network.weather.lazy_max = 3 * SECOND;
        let nodes = open_house(&mut network, 100, 5);
        for &node in &nodes[1..] {
            network.apply(node, |config| {
                *config = config.clone().announces(&["10.9.0.0/16"]).without_graceful_restart();
            });
        }
        for _ in 0..8 {
            let node = nodes[1 + network.dice.below(4)];
            network.kill(node);
            network.revive(node, Revival::Fresh);
            let pause = network.dice.up_to(SECOND);
            network.run(pause);
        }
        network.converge();
        network.check_model();
    }
}

#[test]
fn a_changed_range_resets_its_neighbours_and_a_removed_one_drops_them() {
    let mut network = Network::new(1);
    let nodes = open_house(&mut network, 10, 4);
    network.converge();
    network.apply(nodes[0], |config| config.listen_ranges[0].options.role = Role::Peer);
    network.converge();
    network.check_model();
    assert_eq!(network.best(nodes[1]).len(), 2, "non-clients do not hear of each other");
    network.apply(nodes[0], |config| config.listen_ranges.clear());
    network.run(SECOND);
    assert_eq!(known(&network, nodes[0]), 0);
    assert!(network.best(nodes[0]).is_empty());
    network.check();
}

#[test]
fn neighbours_of_a_removed_range_fall_to_the_wider_one_with_its_options() {
    let mut network = Network::new(1);
    let nodes = open_house(&mut network, 10, 3);
    network.apply(nodes[0], |config| {
        *config = config.clone().listens_to(ListenRange::new(prefix("10.0.0.0/8")))
    });
    network.converge();
    assert_eq!(network.best(nodes[1]).len(), 4);
    network.apply(nodes[0], |config| _ = config.listen_ranges.remove(0));
    network.converge();
    network.check_model();
    assert_eq!(network.neighbor(nodes[0], nodes[1]).expect("admitted").role, "peer");
    assert_eq!(network.best(nodes[1]).len(), 2);
}

#[test]
fn a_dynamic_neighbour_becomes_a_listed_one() {
    let mut network = Network::new(1);
    let nodes = open_house(&mut network, 10, 3);
    network.converge();
    network.apply(nodes[0], |config| *config = config.clone().clients(&[2]));
    network.converge();
    network.check_model();
    assert!(!network.neighbor(nodes[0], nodes[1]).expect("listed").dynamic);
    network.apply(nodes[0], |config| config.neighbors.clear());
    network.converge();
    network.check_model();
    assert!(network.neighbor(nodes[0], nodes[1]).expect("admitted").dynamic);
}
