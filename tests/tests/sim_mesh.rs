//! Many speakers in one process, on virtual time, against a naive model: the run that `cargo xtask sim` makes.
//!
//! `BGP_SIM_SEED`, `BGP_SIM_NODES` and `BGP_SIM_MINUTES` (of virtual time) choose it; without a seed, several short
//! runs are made. A failure names its seed, and the same seed fails again.

use bgp_speaker::engine::testnet::{Simulation, simulate};
use std::env;
use std::time::Duration;

/// Runs of a plain `cargo test`.
const SEEDS: std::ops::Range<u64> = 5000..5020;

fn number(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: a number, please")),
        Err(_) => default,
    }
}

#[test]
fn a_random_network_always_comes_back_to_what_the_model_says() {
    let nodes = u32::try_from(number("BGP_SIM_NODES", 6)).expect("a number of nodes");
    let time = Duration::from_secs(60 * number("BGP_SIM_MINUTES", 5));
    let seeds = match env::var("BGP_SIM_SEED") {
        Ok(_) => vec![number("BGP_SIM_SEED", 0)],
        Err(_) => SEEDS.collect(),
    };
    for seed in seeds {
        println!("{}", simulate(Simulation { seed, nodes, time, episode: Duration::from_secs(60) }));
    }
}
