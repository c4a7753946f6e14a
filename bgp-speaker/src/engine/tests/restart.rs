//! Graceful restart: RFC 4724, RFC 8538.

use super::*;
use crate::engine::testnet::Heard;

#[test]
fn a_lost_connection_costs_the_others_not_one_update() {
    for seed in 0..20 {
        let mut network = Network::rough(seed);
        let nodes = star(&mut network, 4);
        network.converge();
        network.forget_heard();
        network.reset(nodes[0], nodes[1]);
        network.run(Duration::from_millis(1));
        assert!(network.received(nodes[0], nodes[1]).values().all(|route| route.stale));
        assert_eq!(network.best(nodes[2]).len(), 6);
        network.converge();
        network.check_model();
        assert!(network.received(nodes[0], nodes[1]).values().all(|route| !route.stale));
        assert_eq!(updates(&network, nodes[2], nodes[0]), 0, "seed {seed}");
    }
}

#[test]
fn without_graceful_restart_a_lost_connection_costs_the_routes() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.apply(nodes[1], |config| config.graceful_restart.enabled = false);
    network.converge();
    network.kill(nodes[1]);
    network.run(SECOND);
    assert_eq!(network.best(nodes[2]).len(), 2);
}

#[test]
fn what_a_restarted_neighbour_does_not_announce_again_goes_with_its_end_of_rib() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.converge();
    network.kill(nodes[1]);
    network.run(10 * SECOND);
    assert_eq!(network.best(nodes[2]).len(), 4);
    network.apply(nodes[1], |config| _ = config.announcements.remove(&prefix(&v4(2))));
    network.forget_heard();
    network.revive(nodes[1], Revival::Restarting);
    network.converge();
    network.check_model();
    assert_eq!((updates(&network, nodes[2], nodes[0]), withdrawals(&network, nodes[2], nodes[0])), (1, 1));
}

#[test]
fn the_restart_time_over_its_routes_are_removed() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.converge();
    network.kill(nodes[1]);
    network.run(119 * SECOND);
    assert_eq!(network.best(nodes[2]).len(), 4);
    assert!(network.neighbor(nodes[0], nodes[1]).expect("listed").restarting);
    network.run(2 * SECOND);
    assert_eq!(network.best(nodes[2]).len(), 2);
    assert!(!network.neighbor(nodes[0], nodes[1]).expect("listed").restarting);
}

#[test]
fn a_neighbour_that_did_not_go_on_forwarding_loses_its_old_routes_when_it_is_back() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.converge();
    network.kill(nodes[1]);
    network.run(10 * SECOND);
    network.forget_heard();
    network.revive(nodes[1], Revival::Fresh);
    network.converge();
    network.check_model();
    assert_eq!(withdrawals(&network, nodes[2], nodes[0]), 2);
}

#[test]
fn a_neighbour_that_comes_back_late_still_has_time_for_its_end_of_rib() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 4);
    network.converge();
    network.kill(nodes[0]);
    network.kill(nodes[3]);
    network.run(110 * SECOND);
    network.forget_heard();
    // The reflector waits for node 4, which does not come, until its deferral time is over.
    network.revive(nodes[0], Revival::Restarting);
    network.run(55 * SECOND);
    assert!(network.is_up(nodes[0], nodes[1]));
    assert_eq!(network.best(nodes[1]).len(), 6, "kept beyond the restart time, since it is back");
    network.run(30 * SECOND);
    assert_eq!(network.best(nodes[1]).len(), 4, "what it did not announce again is gone");
}

#[test]
fn a_neighbour_that_never_says_end_of_rib_does_not_keep_stale_routes_for_ever() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.converge();
    network.kill(nodes[1]);
    network.apply(nodes[1], |config| {
        config.announcements.clear();
        config.graceful_restart.selection_deferral = 100_000 * SECOND;
        // Nobody is there, so it waits.
        *config = config.clone().ibgp(&[99]);
    });
    network.revive(nodes[1], Revival::Restarting);
    network.run(60 * SECOND);
    assert_eq!(network.best(nodes[2]).len(), 4);
    network.run(1200 * SECOND);
    assert_eq!(network.best(nodes[2]).len(), 2);
}

#[test]
fn a_route_that_was_stale_already_does_not_survive_a_second_loss() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.converge();
    network.kill(nodes[1]);
    network.apply(nodes[1], |config| {
        config.announcements.clear();
        *config = config.clone().ibgp(&[99]);
    });
    network.revive(nodes[1], Revival::Restarting);
    network.wait_for("the session", 30 * SECOND, |network| network.is_up(nodes[0], nodes[1]));
    assert_eq!(network.best(nodes[2]).len(), 4);
    network.reset(nodes[0], nodes[1]);
    network.run(SECOND);
    assert_eq!(network.best(nodes[2]).len(), 2, "RFC 4724 §4.2: consecutive restarts");
}

/// Where a message is among those heard.
fn position(network: &Network, is_it: impl Fn(&Heard) -> bool) -> Option<usize> {
    network.heard().iter().position(is_it)
}

#[test]
fn a_restarted_reflector_says_end_of_rib_after_all_clients_have_and_withdraws_nothing() {
    for seed in 0..20 {
        let mut network = Network::rough(seed);
        let nodes = star(&mut network, 5);
        network.converge();
        network.kill(nodes[0]);
        network.run(5 * SECOND);
        network.forget_heard();
        // One of them is late.
        network.stall(nodes[4], nodes[0]);
        network.revive(nodes[0], Revival::Restarting);
        network.run(20 * SECOND);
        assert!(network.is_up(nodes[0], nodes[1]));
        assert_eq!(position(&network, |heard| heard.from == nodes[0] && heard.end_of_rib().is_some()), None);
        network.resume_all();
        network.converge();
        network.check_model();
        let last = |client| {
            let is_it = |heard: &Heard| heard.from == client && heard.end_of_rib().is_some();
            network.heard().iter().rposition(is_it).expect("its End-of-RIB")
        };
        let first = position(&network, |heard| heard.from == nodes[0] && heard.end_of_rib().is_some());
        assert!(first > nodes[1..].iter().map(|client| last(*client)).max(), "seed {seed}");
        for &client in &nodes[1..] {
            assert_eq!(withdrawals(&network, client, nodes[0]), 0, "seed {seed}");
        }
    }
}

#[test]
fn a_reflector_that_may_have_restarted_selects_at_once_and_says_end_of_rib_late() {
    for seed in 0..20 {
        let mut network = Network::rough(seed);
        let nodes = star(&mut network, 4);
        network.converge();
        network.kill(nodes[0]);
        network.forget_heard();
        network.stall(nodes[3], nodes[0]);
        network.revive(nodes[0], Revival::Unknown);
        network.run(20 * SECOND);
        assert_eq!(network.best(nodes[0]).len(), 4, "what the other two have told");
        assert_eq!(position(&network, |heard| heard.from == nodes[0] && heard.end_of_rib().is_some()), None);
        assert_eq!(network.best(nodes[1]).len(), 6, "nothing is lost meanwhile");
        network.resume_all();
        network.converge();
        network.check_model();
        assert!(nodes[1..].iter().all(|client| withdrawals(&network, *client, nodes[0]) == 0), "seed {seed}");
    }
}

#[test]
fn clients_of_a_restarting_reflector_keep_their_routes_all_the_time() {
    let mut network = Network::rough(3);
    let nodes = star(&mut network, 4);
    network.converge();
    network.kill(nodes[0]);
    network.revive(nodes[0], Revival::Restarting);
    let until = network.now() + 100 * SECOND;
    while network.step(until) {
        assert!(nodes[1..].iter().all(|client| network.best(*client).len() == 6));
    }
}

#[test]
fn a_restarted_speaker_tells_its_own_routes_without_waiting() {
    let mut network = Network::new(1);
    let a = network.start(SpeakerConfig::numbered(1).ibgp(&[2, 99]).announces(&[&v4(1)]));
    let b = network.start(SpeakerConfig::numbered(2).ibgp(&[1]));
    network.kill(a);
    network.revive(a, Revival::Restarting);
    network.wait_for("its route", 10 * SECOND, |network| network.best(b).len() == 1);
    assert!(!network.engine(a).is_converged());
    // And takes them back without waiting, too.
    network.apply(a, |config| config.announcements.clear());
    network.run(SECOND);
    assert!(!network.engine(a).is_converged());
    assert!(network.best(b).is_empty());
}

#[test]
fn a_restarting_speaker_uses_what_it_has_when_its_deferral_time_is_over() {
    let mut network = Network::new(1);
    let a = network.start(SpeakerConfig::numbered(1).ibgp(&[2, 99]));
    network.start(SpeakerConfig::numbered(2).ibgp(&[1]).announces(&[&v4(2)]));
    network.kill(a);
    network.revive(a, Revival::Restarting);
    network.run(59 * SECOND);
    assert!(network.best(a).is_empty() && !network.engine(a).is_converged());
    network.run(2 * SECOND);
    assert!(network.best(a).len() == 1 && network.engine(a).is_converged());
}

#[test]
fn two_restarted_speakers_do_not_wait_for_each_other() {
    let mut network = Network::new(1);
    let (a, b) = super::sessions::pair(&mut network);
    network.converge();
    for node in [a, b] {
        network.kill(node);
        network.revive(node, Revival::Restarting);
    }
    network.wait_for("convergence", 30 * SECOND, |network| {
        network.best(a).len() == 4 && network.best(b).len() == 4
    });
}

#[test]
fn a_session_lost_while_another_neighbour_is_still_awaited_keeps_its_routes() {
    let mut network = Network::new(1);
    // Node 1 started a moment ago and has not converged, for want of node 99.
    let a = network.start(SpeakerConfig::numbered(1).ibgp(&[2, 99]).announces(&[&v4(1)]));
    let b = network.start(SpeakerConfig::numbered(2).reflects(1).clients(&[1, 3]));
    let c = network.start(SpeakerConfig::numbered(3).ibgp(&[2]));
    network.wait_for("the route", 10 * SECOND, |network| network.best(c).len() == 1);
    network.run(10 * SECOND);
    network.forget_heard();
    network.reset(a, b);
    network.wait_for("the session", 10 * SECOND, |network| network.is_up(a, b));
    network.run(10 * SECOND);
    assert_eq!(updates(&network, c, b), 0, "it has forwarded all the time");
}

#[test]
fn an_administrative_stop_removes_routes_at_once() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.converge();
    change(&mut network, nodes[1], nodes[0], |neighbor| neighbor.enabled = false);
    network.run(SECOND);
    assert_eq!(notifications(&network, nodes[0], nodes[1]), [(6, 9)], "Hard Reset");
    assert_eq!(network.best(nodes[2]).len(), 2);
    assert!(!network.neighbor(nodes[0], nodes[1]).expect("listed").restarting);
}

#[test]
fn an_administrative_reset_keeps_routes_on_both_sides() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.converge();
    network.forget_heard();
    network.with_engine(nodes[0], |now, engine| assert!(engine.reset(now, address(2).into()).is_ok()));
    network.converge();
    network.check_model();
    assert_eq!(notifications(&network, nodes[1], nodes[0]), [(6, 4)]);
    assert_eq!(updates(&network, nodes[2], nodes[0]), 0);
    assert_eq!(session_count(&network, nodes[0], nodes[1]), 2);
}

#[test]
fn an_expired_hold_timer_keeps_routes_until_the_restart_time_is_over() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.converge();
    network.power_off(nodes[1]);
    network.run(100 * SECOND);
    assert!(network.neighbor(nodes[0], nodes[1]).expect("listed").restarting, "RFC 8538 §4");
    assert_eq!(network.best(nodes[2]).len(), 4);
    network.run(120 * SECOND);
    assert_eq!(network.best(nodes[2]).len(), 2);
}

#[test]
fn a_speaker_that_keeps_losing_its_connection_comes_to_rest_in_the_end() {
    for seed in 0..30 {
        let mut network = Network::rough(seed);
        let nodes = star(&mut network, 4);
        for _ in 0..10 {
            let pause = network.dice.up_to(2 * SECOND);
            network.run(pause);
            network.reset(nodes[0], nodes[1]);
            let med = network.dice.below(5) as u32;
            network
                .apply(nodes[1], |config| config.announcements.values_mut().for_each(|a| a.med = Some(med)));
        }
        network.converge();
        network.check_model();
    }
}

#[test]
fn a_neighbour_that_is_to_leave_takes_its_routes_along_only_when_it_is_removed() {
    for is_leaving in [false, true] {
        let mut network = Network::new(1);
        let nodes = star(&mut network, 3);
        network.converge();
        if is_leaving {
            network.apply(nodes[0], |config| _ = config.leaving.insert(nodes[1].address().into()));
            network.run(SECOND);
            assert_eq!(session_count(&network, nodes[0], nodes[1]), 1, "the neighbour sees nothing of it");
        }
        network.forget_heard();
        network.apply(nodes[1], |config| config.neighbors.clear());
        network.run(20 * SECOND);
        let neighbor = network.neighbor(nodes[0], nodes[1]).expect("listed");
        assert_eq!((neighbor.restarting, neighbor.leaving), (is_leaving, is_leaving));
        assert_eq!(network.best(nodes[2]).len(), if is_leaving { 4 } else { 2 });
        let is_attempt = |seen: &Heard| seen.kind() == MessageType::OPEN;
        assert!(!network.heard_by(nodes[1], nodes[0]).any(is_attempt), "nobody connects to it");
        network.apply(nodes[0], |config| {
            config.neighbors.remove(&nodes[1].address().into());
            config.leaving.clear();
        });
        network.run(SECOND);
        assert_eq!(network.best(nodes[2]).len(), 2);
    }
}

#[test]
fn a_leaving_neighbour_that_was_switched_off_takes_its_routes_along() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.converge();
    network.apply(nodes[0], |config| _ = config.leaving.insert(nodes[1].address().into()));
    change(&mut network, nodes[1], nodes[0], |neighbor| neighbor.enabled = false);
    network.run(SECOND);
    assert_eq!(network.best(nodes[2]).len(), 2);
}

#[test]
fn who_is_wanted_again_is_connected_to_again() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.converge();
    let id = nodes[1].address().into();
    network.apply(nodes[0], |config| _ = config.leaving.insert(id));
    change(&mut network, nodes[1], nodes[0], |neighbor| neighbor.passive = true);
    network.reset(nodes[0], nodes[1]);
    network.run(20 * SECOND);
    assert!(!network.is_up(nodes[0], nodes[1]), "neither side connects");
    network.apply(nodes[0], |config| config.leaving.clear());
    network.converge();
    network.check_model();
}

#[test]
fn sole_routes_are_those_that_nobody_else_tells() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.apply(nodes[2], |config| {
        for prefix in [v4(2), v4(9)] {
            let announcement = Announcement::block(prefix.parse().expect("a prefix"));
            config.announcements.insert(announcement.prefix, announcement);
        }
    });
    network.converge();
    let ids = [nodes[1], nodes[2]].map(|node| node.address().into());
    let sole = |network: &Network, ids: &[_]| network.engine(nodes[0]).sole_routes(ids);
    assert_eq!(sole(&network, &ids[..1]), 1, "its IPv6 block; another one has the IPv4 block too");
    assert_eq!(sole(&network, &ids[1..]), 3);
    assert_eq!(sole(&network, &ids), 5);
    network.kill(nodes[2]);
    network.run(SECOND);
    assert_eq!(sole(&network, &ids[..1]), 2, "what is stale may go any time");
}
