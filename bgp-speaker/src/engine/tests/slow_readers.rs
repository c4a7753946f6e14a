//! Neighbours that do not read.

use super::*;

/// A reflector whose log may hold little, and clients without hold timers.
fn impatient(network: &mut Network, count: u32) -> Vec<NodeId> {
    let nodes = star(network, count);
    for &node in &nodes {
        network.apply(node, |config| config.hold_time_secs = 0);
    }
    network.with_engine(nodes[0], |_, engine| engine.limit_log(20_000));
    network.weather.window_bytes = 1000;
    network.converge();
    nodes
}

/// Many changes, of which only the last ones count.
fn churn(network: &mut Network, at: NodeId, rounds: u32) {
    for round in 0..rounds {
        network.apply(at, |config| {
            for index in 0..20 {
                let announcement = Announcement::route(prefix(&format!("10.{index}.0.0/16")));
                let announcement = Announcement { med: Some(round * 100 + index), ..announcement };
                if (round + index) % 5 == 0 {
                    config.announcements.remove(&announcement.prefix);
                } else {
                    config.announcements.insert(announcement.prefix, announcement);
                }
            }
        });
        network.run(Duration::from_millis(20));
    }
}

fn memory(network: &Network, at: NodeId) -> u64 {
    let parts = network.engine(at).metrics().memory_bytes;
    parts.into_iter().find(|(part, _)| part == "groups").expect("groups").1
}

#[test]
fn a_neighbour_that_does_not_read_is_detached_and_costs_a_bounded_amount() {
    let mut network = Network::new(1);
    let nodes = impatient(&mut network, 4);
    network.stall(nodes[0], nodes[2]);
    churn(&mut network, nodes[1], 100);
    assert!(network.neighbor(nodes[0], nodes[2]).expect("listed").slow);
    let bytes = memory(&network, nodes[0]);
    churn(&mut network, nodes[1], 200);
    assert!(memory(&network, nodes[0]) < bytes + 25_000, "{bytes} then {}", memory(&network, nodes[0]));
    assert_eq!(network.best(nodes[3]).len(), network.best(nodes[0]).len(), "nobody else waits");
}

#[test]
fn a_slow_neighbour_gets_the_latest_state_and_joins_the_others_again() {
    for seed in 0..10 {
        let mut network = Network::new(seed);
        let nodes = impatient(&mut network, 4);
        network.weather.delay_max = Duration::from_millis(30);
        network.weather.segment_bytes_max = 600;
        network.weather.lazy_percent = 30;
        network.weather.lazy_max = Duration::from_millis(30);
        network.stall(nodes[0], nodes[2]);
        churn(&mut network, nodes[1], 80);
        network.forget_heard();
        network.resume_all();
        // It goes on while the slow one catches up.
        churn(&mut network, nodes[1], 3);
        network.converge();
        network.check_model();
        assert!(!network.neighbor(nodes[0], nodes[2]).expect("listed").slow);
        let announced: usize = network.heard_by(nodes[2], nodes[0]).map(|heard| heard.counts().0).sum();
        assert!(announced < 80 * 16, "seed {seed}: {announced} announcements: not every step is told");
    }
}

#[test]
fn a_slow_neighbour_that_is_served_between_batches_misses_nothing() {
    for seed in 0..10 {
        let mut network = Network::new(seed);
        let nodes = impatient(&mut network, 4);
        network.stall(nodes[0], nodes[2]);
        churn(&mut network, nodes[1], 80);
        network.weather.lazy_percent = 90;
        network.weather.lazy_max = Duration::from_millis(50);
        network.weather.delay_max = Duration::from_millis(5);
        network.weather.segment_bytes_max = 600;
        network.resume_all();
        // Batches that in the end change nothing, while it is being served.
        for round in 0..100 {
            network.apply(nodes[1], |config| {
                config.announcements.values_mut().for_each(|a| a.local_pref = [None, Some(50)][round % 2]);
            });
            network.run(Duration::from_millis(3));
        }
        network.converge();
        network.check_model();
    }
}

#[test]
fn slow_neighbours_lose_their_session_and_come_back() {
    for seed in 0..30 {
        let mut network = Network::new(seed);
        let nodes = impatient(&mut network, 5);
        network.stall(nodes[0], nodes[2]);
        network.stall(nodes[0], nodes[3]);
        churn(&mut network, nodes[1], 60);
        network.reset(nodes[0], nodes[2]);
        churn(&mut network, nodes[1], 10);
        network.with_engine(nodes[0], |_, engine| _ = engine.refresh(address(4).into()));
        network.resume_all();
        network.converge();
        network.check_model();
    }
}

#[test]
fn a_neighbour_that_is_slow_while_it_joins_gets_its_end_of_rib_in_the_end() {
    let mut network = Network::new(1);
    let nodes = impatient(&mut network, 4);
    churn(&mut network, nodes[1], 3);
    network.reset(nodes[0], nodes[2]);
    network.wait_for("the session", 10 * SECOND, |network| network.is_up(nodes[0], nodes[2]));
    network.stall(nodes[0], nodes[2]);
    network.forget_heard();
    churn(&mut network, nodes[1], 80);
    network.resume_all();
    network.converge();
    network.check_model();
    assert!(!network.neighbor(nodes[2], nodes[0]).expect("listed").restarting);
}

#[test]
fn a_slow_neighbour_whose_own_routes_win_holds_no_stale_path() {
    for seed in 0..20 {
        let mut network = Network::new(seed);
        let nodes = impatient(&mut network, 4);
        network.stall(nodes[0], nodes[2]);
        churn(&mut network, nodes[1], 60);
        network.apply(nodes[2], |config| {
            *config = config.clone().announces(&["10.1.0.0/16", "10.2.0.0/16"]);
            config.announcements.values_mut().for_each(|a| a.local_pref = Some(200));
        });
        network.run(SECOND);
        network.resume_all();
        network.converge();
        network.check_model();
    }
}
