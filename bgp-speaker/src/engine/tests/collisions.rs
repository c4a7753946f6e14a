//! Both sides connect at the same time.

use super::sessions::pair;
use super::*;

#[test]
fn simultaneous_opens_end_in_one_session_that_stays() {
    let mut once = 0;
    for seed in 0..300 {
        let mut network = Network::rough(seed);
        let (a, b) = pair(&mut network);
        network.converge();
        network.run(120 * SECOND);
        assert_eq!(network.streams_between(a, b).len(), 1, "seed {seed}");
        // One may be up for a moment before the other one wins.
        let counts = (session_count(&network, a, b), session_count(&network, b, a));
        assert!(counts.0 <= 2 && counts.1 <= 2, "seed {seed}: {counts:?}");
        once += u32::from(counts == (1, 1));
    }
    assert!(once > 250, "{once} of 300 at the first attempt");
}

#[test]
fn simultaneous_opens_end_in_one_session_also_on_very_slow_ways() {
    for seed in 0..100 {
        let mut network = Network::rough(seed);
        network.weather.delay_max = 4 * SECOND;
        network.weather.segment_bytes_max = 4096;
        let (a, b) = pair(&mut network);
        network.run(300 * SECOND);
        network.converge();
        let counts = (session_count(&network, a, b), session_count(&network, b, a));
        network.run(300 * SECOND);
        assert_eq!(network.streams_between(a, b).len(), 1, "seed {seed}");
        let later = (session_count(&network, a, b), session_count(&network, b, a));
        assert_eq!(counts, later, "seed {seed}: it stays");
    }
}

#[test]
fn a_full_mesh_that_starts_at_once_has_one_session_per_pair() {
    for seed in 0..20 {
        let mut network = Network::rough(seed);
        let numbers = [1, 2, 3, 4, 5];
        for number in numbers {
            let others: Vec<u32> = numbers.into_iter().filter(|other| *other != number).collect();
            network.start(SpeakerConfig::numbered(number).ibgp(&others).announces(&[&v4(number)]));
        }
        network.converge();
        network.check_model();
        network.run(60 * SECOND);
        for (a, b) in network.expected_sessions() {
            assert_eq!(network.streams_between(a, b).len(), 1, "seed {seed}");
            assert!(session_count(&network, a, b) <= 2, "seed {seed}");
        }
    }
}

#[test]
fn a_connection_on_which_nothing_is_said_does_not_keep_us_from_connecting() {
    let mut network = Network::new(1);
    let (a, b) = pair(&mut network);
    network.converge();
    // The neighbour's machine fails just after it has connected again.
    network.reset(a, b);
    network.wait_for("a new attempt", 10 * SECOND, |network| !network.streams_between(a, b).is_empty());
    network.stall(a, b);
    network.stall(b, a);
    network.run(SECOND);
    network.power_off(b);
    network.resume_all();
    network.run(SECOND);
    network.revive(b, Revival::Fresh);
    network.apply(b, |config| config.neighbors.values_mut().for_each(|neighbor| neighbor.passive = true));
    network.wait_for("a session", 60 * SECOND, |network| network.is_up(a, b));
}

#[test]
fn a_neighbour_that_restarted_unseen_replaces_its_session() {
    let mut network = Network::new(1);
    let (a, b) = pair(&mut network);
    network.converge();
    network.run(30 * SECOND);
    network.power_off(b);
    network.run(SECOND);
    network.revive(b, Revival::Restarting);
    network.wait_for("a session", 15 * SECOND, |network| network.is_up(a, b));
    network.converge();
    network.check_model();
    assert_eq!(network.streams_between(a, b).len(), 1);
}
