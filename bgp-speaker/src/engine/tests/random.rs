//! Random runs against the model.

use super::*;

fn run(seeds: std::ops::Range<u64>, nodes: u32) {
    for seed in seeds {
        simulate(Simulation { seed, nodes, time: 300 * SECOND, episode: 60 * SECOND });
    }
}

#[test]
fn small_networks_find_their_way_back_to_what_the_model_says() {
    run(0..150, 3);
}

#[test]
fn networks_of_five_find_their_way_back_to_what_the_model_says() {
    run(1000..1100, 5);
}

#[test]
fn networks_of_eight_find_their_way_back_to_what_the_model_says() {
    run(2000..2040, 8);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || simulate(Simulation { seed: 7, nodes: 4, time: 120 * SECOND, episode: 30 * SECOND });
    assert_eq!(run(), run());
}
