//! Runs every committed input through its target, and every target through cut and flipped forms of it.

use std::fs;
use std::path::Path;

use bgp_fuzz::TARGETS;

#[test]
fn the_corpus_replays() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "corpus/{name} has inputs");
        for input in inputs {
            target(&input);
        }
    }
}

#[test]
fn every_cut_and_flipped_input_is_survived() {
    for (name, target) in TARGETS {
        for input in corpus(name).iter().filter(|input| input.len() < 400) {
            for len in 0..input.len() {
                target(&input[..len]);
            }
            for at in 0..input.len() {
                for bit in 0..8 {
                    let mut flipped = input.clone();
                    flipped[at] ^= 1 << bit;
                    target(&flipped);
                }
            }
        }
    }
}

#[test]
fn no_corpus_is_without_a_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in fs::read_dir(root).expect("corpus/") {
        let name = entry.expect("a directory entry").file_name();
        assert!(TARGETS.iter().any(|(target, _)| name.to_str() == Some(target)), "{name:?}");
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries
        .map(|entry| fs::read(entry.expect("a directory entry").path()).expect("a readable file"))
        .collect()
}
