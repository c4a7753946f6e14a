//! RFC 2918.

use super::*;

#[test]
fn a_refresh_exchanges_all_routes_again_and_changes_nothing() {
    for seed in 0..20 {
        let mut network = Network::rough(seed);
        let nodes = star(&mut network, 4);
        network.converge();
        network.forget_heard();
        network.with_engine(nodes[2], |_, engine| assert!(engine.refresh(address(1).into()).is_ok()));
        network.converge();
        network.check_model();
        let announced = |to, from| network.heard_by(to, from).map(|heard| heard.counts().0).sum::<usize>();
        assert_eq!(announced(nodes[2], nodes[0]), 4, "what the other two announce");
        assert_eq!(announced(nodes[0], nodes[2]), 2, "both ways");
        assert_eq!(updates(&network, nodes[1], nodes[0]), 0, "nobody else is concerned");
        assert_eq!(network.heard().iter().map(|heard| heard.counts().1).sum::<usize>(), 0);
    }
}

#[test]
fn a_refresh_after_changes_sends_the_latest_state() {
    for seed in 0..50 {
        let mut network = Network::rough(seed);
        let nodes = star(&mut network, 4);
        network.converge();
        for round in 0..5 {
            let med = network.dice.below(3) as u32 + round;
            network
                .apply(nodes[1], |config| config.announcements.values_mut().for_each(|a| a.med = Some(med)));
            network.with_engine(nodes[2], |_, engine| _ = engine.refresh(address(1).into()));
            let pause = network.dice.up_to(Duration::from_millis(300));
            network.run(pause);
        }
        network.converge();
        network.check_model();
    }
}

#[test]
fn a_neighbour_that_asks_again_and_again_without_reading_is_answered_once() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    let prefixes: Vec<String> = (0..250).map(|i| format!("10.7.{i}.0/24")).collect();
    for (index, text) in prefixes.iter().enumerate() {
        network.apply(nodes[1], |config| {
            *config = config.clone().announces(&[text]);
            // Sets that differ, so that the table is long.
            config.announcements.get_mut(&prefix(text)).expect("announced").med = Some(index as u32);
        });
    }
    network.converge();
    network.weather.window_bytes = 1000;
    network.stall(nodes[0], nodes[2]);
    network.forget_heard();
    for _ in 0..200 {
        network.with_engine(nodes[2], |_, engine| _ = engine.refresh(address(1).into()));
        network.run(Duration::from_millis(10));
    }
    network.resume_all();
    network.converge();
    network.check_model();
    let announced: usize = network.heard_by(nodes[2], nodes[0]).map(|heard| heard.counts().0).sum();
    assert!(announced <= 3 * 252, "{announced}: what waits for it is told once");
}
