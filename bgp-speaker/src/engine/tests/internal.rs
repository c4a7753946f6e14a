//! iBGP without reflection.

use super::*;

#[test]
fn a_full_mesh_tells_nothing_on_that_it_has_from_ibgp() {
    let mut network = Network::rough(1);
    let nodes: Vec<NodeId> = [[2, 3], [1, 3], [1, 2]]
        .iter()
        .zip(1..)
        .map(|(others, number)| {
            let own = [v4(number), v6(number)];
            network.start(SpeakerConfig::numbered(number).ibgp(others).announces(&[&own[0], &own[1]]))
        })
        .collect();
    network.converge();
    network.check_model();
    for &at in &nodes {
        assert_eq!(network.best(at).len(), 6);
        for &from in nodes.iter().filter(|from| **from != at) {
            assert_eq!(network.received(at, from).len(), 2, "only what it originates itself");
        }
    }
}

#[test]
fn without_a_reflector_a_chain_does_not_reach_its_end() {
    let mut network = Network::new(1);
    let a = network.start(SpeakerConfig::numbered(1).ibgp(&[2]).announces(&[&v4(1)]));
    let b = network.start(SpeakerConfig::numbered(2).ibgp(&[1, 3]));
    let c = network.start(SpeakerConfig::numbered(3).ibgp(&[2]));
    network.converge();
    network.check_model();
    assert_eq!((network.best(a).len(), network.best(b).len(), network.best(c).len()), (1, 1, 0));
}

#[test]
fn announcements_come_change_and_go() {
    let mut network = Network::new(1);
    let a = network.start(SpeakerConfig::numbered(1).ibgp(&[2]));
    let b = network.start(SpeakerConfig::numbered(2).ibgp(&[1]));
    network.converge();
    network.forget_heard();
    network.apply(a, |config| *config = config.clone().announces(&[&v4(1)]));
    network.converge();
    assert_eq!((updates(&network, b, a), network.best(b).len()), (1, 1));
    network.apply(a, |config| config.announcements.values_mut().for_each(|a| a.med = Some(50)));
    network.converge();
    assert_eq!(network.best(b)[&prefix(&v4(1))].med, Some(50));
    network.apply(a, |config| config.announcements.clear());
    network.converge();
    assert!(network.best(b).is_empty());
    assert_eq!((updates(&network, b, a), withdrawals(&network, b, a)), (3, 1), "one message each");
}

#[test]
fn what_comes_and_goes_within_a_batch_is_not_told() {
    let mut network = Network::new(1);
    let a = network.start(SpeakerConfig::numbered(1).ibgp(&[2]));
    let b = network.start(SpeakerConfig::numbered(2).ibgp(&[1]));
    network.converge();
    network.forget_heard();
    let without = network.config(a).clone();
    let with = without.clone().announces(&[&v4(1)]);
    network.with_engine(a, |now, engine| {
        engine.apply(now, with);
        engine.apply(now, without);
    });
    network.converge();
    assert_eq!(updates(&network, b, a), 0);
}

#[test]
fn a_subscriber_that_reads_late_is_told_of_every_prefix_that_went() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.converge();
    network.subscribers_read = false;
    // Another identifier: what was kept is forgotten while the session comes up, and other prefixes take the ids.
    for (router_id, text) in [(77, "10.1.0.0/16"), (78, "10.2.0.0/16"), (79, "10.3.0.0/16")] {
        network.apply(nodes[1], |config| {
            config.announcements.clear();
            config.router_id = bgp_proto::BgpId(router_id);
            *config = config.clone().announces(&[text]);
        });
        network.run(20 * SECOND);
    }
    network.subscribers_read = true;
    network.converge();
    network.check_model();
}

#[test]
fn the_higher_local_pref_wins_and_the_other_one_takes_over() {
    let mut network = Network::new(1);
    let shared = "10.0.0.0/8";
    for (number, others) in [(1, [2, 3]), (2, [1, 3]), (3, [1, 2])] {
        let config = SpeakerConfig::numbered(number).ibgp(&others);
        network.start(if number == 3 { config } else { config.announces(&[shared]) });
    }
    let (a, b, c) = (NodeId(0), NodeId(1), NodeId(2));
    network.apply(b, |config| config.announcements.values_mut().for_each(|a| a.local_pref = Some(200)));
    network.converge();
    network.check_model();
    let from = |network: &Network| network.best(c)[&prefix(shared)].from.clone();
    assert_eq!(from(&network), b.address().to_string());
    network.apply(b, |config| config.announcements.clear());
    network.converge();
    network.check_model();
    assert_eq!(from(&network), a.address().to_string());
}
