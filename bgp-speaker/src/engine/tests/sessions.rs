//! Sessions come up, carry routes, and end.

use super::*;

/// Two iBGP speakers, both of which connect.
pub(super) fn pair(network: &mut Network) -> (NodeId, NodeId) {
    let a = SpeakerConfig::numbered(1).ibgp(&[2]).announces(&[&v4(1), &v6(1)]);
    let b = SpeakerConfig::numbered(2).ibgp(&[1]).announces(&[&v4(2), &v6(2)]);
    (network.start(a), network.start(b))
}

#[test]
fn two_speakers_tell_each_other_what_they_announce_in_both_families() {
    let mut network = Network::new(1);
    let (a, b) = pair(&mut network);
    network.converge();
    network.check_model();
    assert_eq!(network.received(a, b).len(), 2);
    assert_eq!(network.received(b, a).len(), 2);
}

#[test]
fn two_speakers_converge_whatever_the_delays_and_segments() {
    for seed in 0..100 {
        let mut network = Network::rough(seed);
        let (a, b) = pair(&mut network);
        let prefixes: Vec<String> = (0..50).map(|i| format!("10.1.{i}.0/24")).collect();
        network.apply(a, |config| {
            let all = prefixes.iter().map(|text| Announcement::route(prefix(text)));
            config.announcements.extend(all.map(|announcement| (announcement.prefix, announcement)));
        });
        network.converge();
        network.check_model();
        assert_eq!(network.received(b, a).len(), 52, "seed {seed}");
    }
}

#[test]
fn two_speakers_converge_again_after_resets_at_any_moment() {
    for seed in 0..100 {
        let mut network = Network::rough(seed);
        let (a, b) = pair(&mut network);
        for _ in 0..5 {
            let pause = network.dice.up_to(3 * SECOND);
            network.run(pause);
            network.reset(a, b);
        }
        network.converge();
        network.check_model();
    }
}

#[test]
fn a_session_that_is_stalled_for_less_than_the_hold_time_stays() {
    let mut network = Network::new(1);
    let (a, b) = pair(&mut network);
    network.converge();
    network.stall(a, b);
    network.apply(a, |config| *config = config.clone().announces(&["10.9.0.0/16"]));
    network.run(50 * SECOND);
    assert_eq!(network.received(b, a).len(), 2);
    network.resume(a, b);
    network.converge();
    assert_eq!(network.received(b, a).len(), 3);
    assert_eq!(session_count(&network, b, a), 1);
}

#[test]
fn a_silent_neighbour_is_told_4_0_after_the_hold_time() {
    let mut network = Network::new(1);
    let (a, b) = pair(&mut network);
    network.converge();
    network.stall(a, b);
    network.forget_heard();
    network.run(60 * SECOND);
    assert!(network.is_up(a, b));
    network.run(31 * SECOND);
    assert_eq!(notifications(&network, a, b), [(4, 0)]);
    network.resume(a, b);
    network.converge();
    network.check_model();
}

#[test]
fn with_hold_time_0_silence_is_no_reason() {
    let mut network = Network::new(1);
    let a = network.start(SpeakerConfig::numbered(1).ibgp(&[2]).hold_time(0));
    let b = network.start(SpeakerConfig::numbered(2).ibgp(&[1]));
    network.converge();
    network.forget_heard();
    network.run(3600 * SECOND);
    assert!(network.is_up(a, b) && network.heard().is_empty());
}

#[test]
fn keepalives_hold_an_idle_session_for_an_hour() {
    let mut network = Network::rough(1);
    let (a, b) = pair(&mut network);
    network.converge();
    network.run(3600 * SECOND);
    assert_eq!((session_count(&network, a, b), session_count(&network, b, a)), (1, 1));
}

#[test]
fn a_neighbour_that_refuses_is_tried_again_with_back_off() {
    let mut network = Network::new(1);
    let (a, b) = (network.start(SpeakerConfig::numbered(1).ibgp(&[2])), NodeId(1));
    network.start(SpeakerConfig::numbered(2).peers_with(Neighbor::ibgp(address(1)).passive()));
    network.refuse(b, true);
    network.reset(a, b);
    network.run(60 * SECOND);
    assert!(network.neighbor(a, b).expect("listed").last_error.is_some());
    network.refuse(b, false);
    network.wait_for("the next attempt", 40 * SECOND, |network| network.is_up(a, b));
    assert_eq!(network.neighbor(a, b).expect("listed").last_error, None);
}

#[test]
fn a_neighbour_that_does_not_answer_is_tried_again() {
    let mut network = Network::new(1);
    let (a, b) = pair(&mut network);
    network.power_off(b);
    network.run(300 * SECOND);
    network.revive(b, Revival::Fresh);
    network.wait_for("a session", 60 * SECOND, |network| network.is_up(a, b));
}

#[test]
fn a_passive_pair_has_one_connection() {
    let mut network = Network::new(1);
    let a = network.start(SpeakerConfig::numbered(1).peers_with(Neighbor::ibgp(address(2)).passive()));
    let b = network.start(SpeakerConfig::numbered(2).ibgp(&[1]));
    network.converge();
    assert_eq!(network.streams_between(a, b).len(), 1);
    network.run(120 * SECOND);
    assert_eq!(session_count(&network, a, b), 1);
}

#[test]
fn a_session_over_ipv6_carries_both_families() {
    let mut network = Network::new(1);
    let v6_of = crate::engine::testnet::address_v6;
    let a = SpeakerConfig::numbered(1).peers_with(Neighbor::ibgp(v6_of(2))).announces(&[&v4(1), &v6(1)]);
    let b = SpeakerConfig::numbered(2).peers_with(Neighbor::ibgp(v6_of(1))).announces(&[&v4(2), &v6(2)]);
    let (a, b) = (network.start(a), network.start(b));
    network
        .wait_for("routes", 30 * SECOND, |network| network.best(a).len() == 4 && network.best(b).len() == 4);
    let next_hop = |prefix_: &str| network.best(a)[&prefix(prefix_)].next_hop.clone();
    assert_eq!(next_hop(&v4(2)), Some(address(2).to_string()));
    assert_eq!(next_hop(&v6(2)), Some(v6_of(2).to_string()));
}

#[test]
fn only_the_families_of_both_sides_are_exchanged() {
    let mut network = Network::new(1);
    let (a, b) = pair(&mut network);
    network.apply(b, |config| {
        config.neighbors.values_mut().for_each(|n| n.options.families = vec![Family::Ipv6Unicast]);
    });
    network.converge();
    network.check_model();
    assert_eq!(network.received(a, b).len(), 1);
    assert_eq!(network.neighbor(a, b).expect("listed").families, ["ipv6-unicast"]);
}

#[test]
fn an_attempt_that_was_overtaken_leaves_no_error_behind() {
    for seed in 0..20 {
        let mut network = Network::rough(seed);
        let (a, b) = pair(&mut network);
        network.converge();
        network.run(60 * SECOND);
        for (at, of) in [(a, b), (b, a)].into_iter().filter(|(at, of)| session_count(&network, *at, *of) == 1)
        {
            assert_eq!(network.neighbor(at, of).expect("listed").last_error, None, "seed {seed}");
        }
    }
}

#[test]
fn stopping_to_restart_closes_silently_and_stopping_to_leave_says_why() {
    for (mode, expected) in [(StopMode::Restart, vec![]), (StopMode::Leave, vec![(6, 9)])] {
        let mut network = Network::new(1);
        let (a, b) = pair(&mut network);
        network.converge();
        network.with_engine(a, |now, engine| engine.stop(now, mode));
        network.run(SECOND);
        assert_eq!(notifications(&network, b, a), expected, "{mode:?}");
        assert_eq!(network.received(b, a).is_empty(), mode == StopMode::Leave, "{mode:?}");
        assert!(network.streams_between(a, b).is_empty(), "it takes and makes no connection");
        network.run(60 * SECOND);
        assert!(network.streams_between(a, b).is_empty(), "nor later");
    }
}

#[test]
fn a_speaker_that_stops_to_restart_keeps_what_it_learned() {
    for restart in [true, false] {
        let mut network = Network::new(1);
        let (a, b) = pair(&mut network);
        if !restart {
            network.apply(b, |config| config.graceful_restart.enabled = false);
        }
        network.converge();
        let before = network.best(a).len();
        network.with_engine(a, |now, engine| engine.stop(now, StopMode::Restart));
        network.run(SECOND);
        assert_eq!(network.best(a).len(), before, "its kernel routes stay, whatever the neighbour can do");
    }
}

#[test]
fn what_a_neighbour_offers_reads_as_text() {
    let mut network = Network::new(1);
    let a = network.start(SpeakerConfig::numbered(1).ibgp(&[2]));
    let b = network.start(SpeakerConfig::numbered(2).ibgp(&[1]));
    network.converge();
    let offered = network.neighbor(a, b).expect("a neighbour").capabilities;
    for expected in ["multiprotocol ipv4-unicast", "route refresh", "4-octet AS 64512"] {
        assert!(offered.iter().any(|capability| capability == expected), "{expected}: {offered:?}");
    }
}
