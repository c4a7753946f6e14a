//! What the steps of the engine cost, without sockets.
//!
//! ```text
//! cargo xtask bench engine
//! ```
//!
//! | Benchmark | One element is | What is measured |
//! |---|---|---|
//! | `intern` | an UPDATE | new attribute sets and prefixes into the tables, nobody to tell |
//! | `encode` | a prefix | the same table, selected and encoded for one group of clients |
//! | `decision` | a path | a better path for each prefix, compared with nine others |
//! | `join` | a prefix | one walk of the table for a client that joins |
//! | `fan-out` | a client | one changed route, to the bytes for each of a thousand clients |

use bgp_lab::bench::prefixes::PrefixSpace;
use bgp_lab::bench::rig::Rig;
use bgp_lab::bench::routes::{AttributeSet, Feed, internet_feed};
use bgp_lab::bench::site::next_hop;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const PREFIXES: usize = 100_000;
const CLIENTS: usize = 1000;

fn feed(space: &PrefixSpace, sender: usize) -> Feed {
    internet_feed(space, sender as u64, next_hop(sender), |_| 100 + sender as u32)
}

fn load(criterion: &mut Criterion) {
    let space = PrefixSpace::internet_like(PREFIXES);
    let feed = feed(&space, 0);
    for (name, clients, elements) in [("intern", 1, feed.set_count), ("encode", 2, PREFIXES)] {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).throughput(Throughput::Elements(elements as u64));
        let run = |mut rig: Rig| {
            rig.stream(0, &feed.announce);
            rig
        };
        group.bench_function(name, |bencher| {
            bencher.iter_batched(|| Rig::with_clients(clients), run, BatchSize::LargeInput);
        });
        group.finish();
    }
}

fn decision(criterion: &mut Criterion) {
    let space = PrefixSpace::internet_like(PREFIXES / 10);
    let feeds: Vec<Feed> = (0..10).map(|sender| feed(&space, sender)).collect();
    let set_up = || {
        let mut rig = Rig::with_clients(10);
        (0..9).for_each(|sender| _ = rig.stream(sender, &feeds[sender].announce));
        rig
    };
    let run = |mut rig: Rig| {
        rig.stream(9, &feeds[9].announce);
        rig
    };
    let mut group = criterion.benchmark_group("decision");
    group.sample_size(10).throughput(Throughput::Elements(space.count() as u64));
    group.bench_function("decision", |bencher| bencher.iter_batched(set_up, run, BatchSize::LargeInput));
    group.finish();
}

fn join(criterion: &mut Criterion) {
    let space = PrefixSpace::internet_like(PREFIXES);
    let feed = feed(&space, 0);
    let set_up = || {
        let mut rig = Rig::with_clients(1);
        rig.stream(0, &feed.announce);
        rig
    };
    let run = |mut rig: Rig| {
        rig.connect();
        assert!(rig.settle() > PREFIXES);
        rig
    };
    let mut group = criterion.benchmark_group("join");
    group.sample_size(10).throughput(Throughput::Elements(PREFIXES as u64));
    group.bench_function("join", |bencher| bencher.iter_batched(set_up, run, BatchSize::LargeInput));
    group.finish();
}

fn fan_out(criterion: &mut Criterion) {
    let space = PrefixSpace::internet_like(1000);
    let mut rig = Rig::with_clients(CLIENTS);
    rig.stream(0, &feed(&space, 0).announce);
    let mut med = 0;
    let mut group = criterion.benchmark_group("fan-out");
    group.throughput(Throughput::Elements(CLIENTS as u64));
    group.bench_function("fan-out", |bencher| {
        bencher.iter(|| {
            med += 1;
            rig.receive(0, &AttributeSet::with_med(next_hop(0), 100, med).announce(&space, [7]));
            rig.settle()
        });
    });
    group.finish();
}

criterion_group!(benches, load, decision, join, fan_out);
criterion_main!(benches);
