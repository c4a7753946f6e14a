//! Several paths of one prefix (RFC 7911).

use super::*;
use crate::config::AddPaths;
use std::num::NonZeroU8;

const SHARED: &str = "10.9.0.0/16";

/// A reflector (1) of clients that all announce [`SHARED`], each with a LOCAL_PREF of its own; the last one announces
/// nothing. Node 1 and those in `with_paths` exchange several paths.
fn crowd(network: &mut Network, count: u32, with_paths: &[u32], max: u8) -> Vec<NodeId> {
    let clients: Vec<u32> = (2..=count).collect();
    let mut reflector = SpeakerConfig::numbered(1).reflects(1).clients(&clients);
    for number in with_paths {
        let options = &mut reflector.neighbors.get_mut(&address(*number).into()).expect("a client").options;
        options.add_paths = AddPaths::Both;
        options.add_paths_max = NonZeroU8::new(max).expect("not zero");
    }
    let mut nodes = vec![network.start(reflector)];
    for number in clients {
        let mut config = SpeakerConfig::numbered(number).ibgp(&[1]);
        if with_paths.contains(&number) {
            config.neighbors.values_mut().for_each(|neighbor| neighbor.options.add_paths = AddPaths::Both);
        }
        if number != count {
            config = config.announces(&[SHARED]);
            config.announcements.values_mut().for_each(|a| a.local_pref = Some(100 + number));
        }
        nodes.push(network.start(config));
    }
    network.converge();
    network.check_model();
    nodes
}

/// LOCAL_PREFs of what a node was told of the shared prefix, descending.
fn preferences(network: &Network, at: NodeId, from: NodeId) -> Vec<u32> {
    let paths = network.received_paths(at, from);
    let shared = paths.values().filter(|route| route.prefix == prefix(SHARED));
    let mut preferences: Vec<u32> = shared.filter_map(|route| route.local_pref).collect();
    preferences.sort_unstable_by(|a, b| b.cmp(a));
    preferences
}

fn prefer(network: &mut Network, at: NodeId, local_pref: u32) {
    network.apply(at, |config| {
        config.announcements.values_mut().for_each(|a| a.local_pref = Some(local_pref));
    });
    network.converge();
    network.check_model();
}

fn path_counts(network: &Network, to: NodeId, from: NodeId) -> (usize, usize) {
    let counts = network.heard_by(to, from).map(|heard| heard.path_counts());
    counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[test]
fn who_asks_for_it_is_told_all_paths_and_nobody_else_is() {
    let mut network = Network::new(1);
    let nodes = crowd(&mut network, 5, &[5], 16);
    assert_eq!(preferences(&network, nodes[4], nodes[0]), [104, 103, 102]);
    assert_eq!(preferences(&network, nodes[1], nodes[0]), [104]);
    assert_eq!(network.best(nodes[4])[&prefix(SHARED)].local_pref, Some(104));
    let view = network.neighbor(nodes[4], nodes[0]).expect("listed");
    assert_eq!(view.add_paths.values().collect::<Vec<_>>(), [&AddPaths::Both; 2]);
    let at_reflector = network.neighbor(nodes[0], nodes[4]).expect("listed");
    assert_eq!(at_reflector.prefixes["ipv4-unicast"].advertised, 3);
    assert_eq!(view.prefixes["ipv4-unicast"].received, 3, "each path counts");
}

#[test]
fn only_the_path_that_changes_is_told() {
    let mut network = Network::new(1);
    let nodes = crowd(&mut network, 5, &[5], 16);
    let before: Vec<_> = network.received_paths(nodes[4], nodes[0]).into_keys().collect();
    network.forget_heard();
    prefer(&mut network, nodes[1], 200);
    assert_eq!(path_counts(&network, nodes[4], nodes[0]), (1, 0));
    assert_eq!(preferences(&network, nodes[4], nodes[0]), [200, 104, 103]);
    let after: Vec<_> = network.received_paths(nodes[4], nodes[0]).into_keys().collect();
    assert_eq!(before, after, "identifiers stay");
    network.forget_heard();
    network.apply(nodes[2], |config| config.announcements.clear());
    network.converge();
    network.check_model();
    assert_eq!(path_counts(&network, nodes[4], nodes[0]), (0, 1));
    assert_eq!(preferences(&network, nodes[4], nodes[0]), [200, 104]);
}

#[test]
fn the_best_are_told_up_to_the_bound() {
    let mut network = Network::new(1);
    let nodes = crowd(&mut network, 6, &[6], 2);
    assert_eq!(preferences(&network, nodes[5], nodes[0]), [105, 104]);
    network.forget_heard();
    prefer(&mut network, nodes[1], 300);
    assert_eq!(preferences(&network, nodes[5], nodes[0]), [300, 105]);
    assert_eq!(path_counts(&network, nodes[5], nodes[0]), (1, 1));
    network.apply(nodes[1], |config| config.announcements.clear());
    network.converge();
    network.check_model();
    assert_eq!(preferences(&network, nodes[5], nodes[0]), [105, 104]);
}

#[test]
fn nobody_is_told_its_own_path() {
    let mut network = Network::new(1);
    let nodes = crowd(&mut network, 5, &[2, 3, 4, 5], 16);
    let expected: [&[u32]; 4] = [&[104, 103], &[104, 102], &[103, 102], &[104, 103, 102]];
    for (node, expected) in nodes[1..].iter().zip(expected) {
        assert_eq!(preferences(&network, *node, nodes[0]), expected);
    }
    // Whoever becomes the best, or the worst.
    for (at, local_pref) in [(1, 300), (3, 1), (2, 400), (1, 2)] {
        network.forget_heard();
        prefer(&mut network, nodes[at], local_pref);
        assert_eq!(path_counts(&network, nodes[at], nodes[0]), (0, 0), "not even to be refused");
        let own = preferences(&network, nodes[at], nodes[0]);
        assert!(own.len() == 2 && !own.contains(&local_pref), "{own:?}");
    }
}

#[test]
fn another_export_policy_takes_back_and_gives_again_path_by_path() {
    let mut network = Network::new(1);
    let nodes = crowd(&mut network, 5, &[4, 5], 16);
    network.forget_heard();
    let export = |network: &mut Network, policy: crate::config::PolicyRef| {
        change(network, nodes[0], nodes[4], |neighbor| neighbor.options.export = policy);
        network.converge();
        network.check_model();
    };
    export(&mut network, crate::config::PolicyRef::Reject);
    assert_eq!(path_counts(&network, nodes[4], nodes[0]), (0, 3));
    export(&mut network, crate::config::PolicyRef::Accept);
    assert_eq!(path_counts(&network, nodes[4], nodes[0]), (3, 3));
    assert_eq!(path_counts(&network, nodes[3], nodes[0]), (0, 0));
    assert_eq!(session_count(&network, nodes[0], nodes[4]), 1);
    change(&mut network, nodes[0], nodes[4], |neighbor| neighbor.options.add_paths = AddPaths::Off);
    network.converge();
    network.check_model();
    assert_eq!(session_count(&network, nodes[0], nodes[4]), 2, "it is a matter of the OPEN");
    assert_eq!(preferences(&network, nodes[4], nodes[0]), [104]);
}

#[test]
fn a_refresh_tells_all_paths_again_under_the_same_identifiers() {
    let mut network = Network::new(1);
    let nodes = crowd(&mut network, 5, &[5], 16);
    let before = network.received_paths(nodes[4], nodes[0]);
    network.forget_heard();
    network.with_engine(nodes[4], |_, engine| engine.refresh(address(1).into()).expect("a neighbour"));
    network.converge();
    assert_eq!(path_counts(&network, nodes[4], nodes[0]), (3, 0));
    assert!(before == network.received_paths(nodes[4], nodes[0]));
}

#[test]
fn a_slow_reader_is_told_which_paths_it_is_to_forget() {
    for seed in 0..20 {
        let mut network = Network::new(seed);
        let nodes = crowd(&mut network, 6, &[4, 5, 6], 3);
        network.apply(nodes[5], |config| config.hold_time_secs = 0);
        network.with_engine(nodes[0], |_, engine| engine.limit_log(300));
        network.weather.window_bytes = 200;
        network.converge();
        network.stall(nodes[0], nodes[5]);
        let mut was_slow = false;
        for round in 0..60 {
            let at = nodes[1 + network.dice.below(4)];
            let local_pref = 100 + network.dice.below(50) as u32;
            network.apply(at, |config| match round % 3 {
                0 => config.announcements.clear(),
                _ => {
                    *config = config.clone().announces(&[SHARED, "10.8.0.0/16"]);
                    config.announcements.values_mut().for_each(|a| a.local_pref = Some(local_pref));
                }
            });
            network.run(Duration::from_millis(20));
            was_slow |= network.neighbor(nodes[0], nodes[5]).expect("listed").slow;
        }
        assert!(was_slow);
        network.resume_all();
        network.converge();
        network.check_model();
    }
}

#[test]
fn a_neighbour_that_restarts_keeps_its_paths_and_loses_those_it_does_not_tell_again() {
    let mut network = Network::new(1);
    let nodes = crowd(&mut network, 5, &[5], 16);
    // The reflector goes; what it tells node 5 when it is back is less.
    network.kill(nodes[0]);
    network.run(SECOND);
    assert_eq!(preferences(&network, nodes[4], nodes[0]), [104, 103, 102], "kept as stale");
    network.apply(nodes[2], |config| config.announcements.clear());
    network.revive(nodes[0], Revival::Restarting);
    network.converge();
    network.check_model();
    assert_eq!(preferences(&network, nodes[4], nodes[0]), [104, 102]);
}

#[test]
fn explain_says_which_paths_whom_are_told() {
    let mut network = Network::new(1);
    let nodes = crowd(&mut network, 6, &[2, 5, 6], 2);
    let told = network.engine(nodes[0]).explain(prefix(SHARED), None).expect("no neighbour is named");
    let of = |number: u32| {
        let named =
            |export: &&crate::view::ExplainedExport| export.neighbors.contains(&address(number).to_string());
        told.exports.iter().find(named).map(|export| (export.path_ids.len(), export.because.clone()))
    };
    let (count, because) = of(6).expect("a member");
    assert!(count == 2 && because.starts_with("2 of 4 paths of others; "), "{because}");
    let (count, because) = of(5).expect("a member");
    assert!(count == 1 && because.starts_with("1 of 3 paths of others; "), "{because}");
    assert_eq!(of(3), Some((0, "nothing keeps it back".to_owned())));
}

/// A reflector (1) with a client (2), and a client at whose address a stranger (3) speaks, who numbers its paths.
fn stranger_stage() -> (Network, Vec<NodeId>, crate::engine::testnet::StreamId) {
    let mut network = Network::new(1);
    let mut stranger = Neighbor::client(address(3)).passive();
    stranger.options.add_paths = AddPaths::Receive;
    let config = SpeakerConfig::numbered(1).reflects(1).clients(&[2]).peers_with(stranger);
    let nodes = vec![network.start(config), network.start(client(2)), network.stranger()];
    network.run(70 * SECOND);
    let stream = network.connect(nodes[2], nodes[0]);
    network.run(SECOND);
    let options = SessionOptions { add_paths: AddPaths::Send, ..SessionOptions::default() };
    let open = super::bad_input::open_with(&SpeakerConfig::numbered(3), &options);
    network.say(nodes[2], stream, &[open, super::bad_input::keepalive()].concat());
    network.run(SECOND);
    assert_eq!(network.neighbor(nodes[0], nodes[2]).expect("listed").state, "Established");
    (network, nodes, stream)
}

/// The shared prefix under identifiers, announced with a LOCAL_PREF, or withdrawn.
fn numbered(ids: impl Iterator<Item = u32>, local_pref: Option<u8>) -> Vec<u8> {
    use super::bad_input::{AS_PATH, ORIGIN, message, update};
    const NEXT_HOP: [u8; 7] = [0x40, 3, 4, 10, 0, 0, 3];
    let nlri: Vec<u8> = ids.flat_map(|id| [&id.to_be_bytes()[..], &[16, 10, 9]].concat()).collect();
    match local_pref {
        Some(value) => {
            let local_pref = [0x40, 5, 4, 0, 0, 0, value];
            update(&[&ORIGIN[..], &AS_PATH, &NEXT_HOP, &local_pref].concat(), &nlri)
        }
        None => message(2, &[&(nlri.len() as u16).to_be_bytes()[..], &nlri, &[0, 0]].concat()),
    }
}

#[test]
fn any_number_names_a_path_and_only_that_one() {
    let (mut network, nodes, stream) = stranger_stage();
    let mut say = |bytes: Vec<u8>| {
        network.say(nodes[2], stream, &bytes);
        network.run(SECOND);
        let paths = network.received_paths(nodes[0], nodes[2]);
        let best = network.best(nodes[1]).get(&prefix(SHARED)).and_then(|route| route.local_pref);
        (paths.into_iter().map(|((_, id), route)| (id, route.local_pref)).collect::<Vec<_>>(), best)
    };
    let path = |id, local_pref| (Some(id), Some(local_pref));
    assert_eq!(say(numbered([0].into_iter(), Some(50))), (vec![path(0, 50)], Some(50)));
    assert_eq!(say(numbered([u32::MAX].into_iter(), Some(60))).0, [path(0, 50), path(u32::MAX, 60)]);
    assert_eq!(say(numbered([0].into_iter(), Some(70))), (vec![path(0, 70), path(u32::MAX, 60)], Some(70)));
    assert_eq!(say(numbered([0, 9].into_iter(), None)), (vec![path(u32::MAX, 60)], Some(60)));
    assert_eq!(say(numbered([u32::MAX].into_iter(), None)), (vec![], None));
}

#[test]
fn thousands_of_numbers_for_one_prefix_are_not_kept_and_the_rest_is_asked_for_when_there_is_room() {
    let (mut network, nodes, stream) = stranger_stage();
    for first in (0..20_000).step_by(500) {
        network.say(nodes[2], stream, &numbered(first..first + 500, Some(50)));
    }
    network.run(SECOND);
    assert_eq!(network.received_paths(nodes[0], nodes[2]).len(), crate::engine::rib::PATHS_OF_PREFIX_MAX);
    assert_eq!(network.neighbor(nodes[0], nodes[2]).expect("listed").state, "Established");
    let refreshes = |network: &Network| {
        let heard = network.heard_by(nodes[2], nodes[0]);
        heard.filter(|heard| heard.kind() == MessageType::ROUTE_REFRESH).count()
    };
    assert_eq!(refreshes(&network), 0);
    network.say(nodes[2], stream, &numbered(0..200, None));
    network.run(SECOND);
    assert_eq!(refreshes(&network), 2, "one for each family, once");
    assert_eq!(network.received_paths(nodes[0], nodes[2]).len(), 56);
}
