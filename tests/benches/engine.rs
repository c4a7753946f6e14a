//! What the steps of the engine cost, without sockets.
//!
//! ```text
//! cargo xtask bench engine
//! ```
//!
//! | Benchmark | One element is | What is measured |
//! |---|---|---|
//! | `load` | a prefix | a table that is new, from its octets to those for one group of clients |
//! | `intern` | an UPDATE | the same again: each attribute set and prefix is looked up, and nothing changes |
//! | `decision` | a path | a better path for each prefix, compared with nine others |
//! | `join` | a prefix | one walk of the table for a client that joins: exported and encoded |
//! | `fan-out` | a client | one changed route, to the bytes for each of a thousand clients |
//! | `page` | a page | a thousand routes out of a million, as an operator asks for them |
//! | `page-question` | a question | the part of a page for which the engine is kept from everything else |

use bgp_lab::bench::prefixes::PrefixSpace;
use bgp_lab::bench::rig::Rig;
use bgp_lab::bench::routes::{AttributeSet, Feed, internet_feed};
use bgp_lab::bench::site::next_hop;
use bgp_speaker::engine::{PageQuestion, Pager};
use bgp_speaker::view::{RouteCursor, RouteQuery};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const PREFIXES: usize = 100_000;
const CLIENTS: usize = 1000;
/// Prefixes of the table that is read page by page.
const PAGED: usize = 1_000_000;

fn feed(space: &PrefixSpace, sender: usize) -> Feed {
    internet_feed(space, sender as u64, next_hop(sender), |_| 100 + sender as u32)
}

fn load(criterion: &mut Criterion) {
    let space = PrefixSpace::internet_like(PREFIXES);
    let feed = feed(&space, 0);
    let run = |mut rig: Rig| {
        rig.stream(0, &feed.announce);
        rig
    };
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10).throughput(Throughput::Elements(PREFIXES as u64));
    group.bench_function("load", |bencher| {
        bencher.iter_batched(|| Rig::with_clients(2), run, BatchSize::LargeInput);
    });
    group.finish();
    let mut group = criterion.benchmark_group("intern");
    group.sample_size(10).throughput(Throughput::Elements(feed.set_count as u64));
    let mut rig = run(Rig::with_clients(2));
    group.bench_function("intern", |bencher| {
        bencher.iter(|| assert_eq!(rig.stream(0, &feed.announce), 0, "nothing changes"));
    });
    group.finish();
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

fn page(criterion: &mut Criterion) {
    let space = PrefixSpace::internet_like(PAGED);
    let mut rig = Rig::with_clients(2);
    rig.stream(0, &feed(&space, 0).announce);
    let query = |after: Option<RouteCursor>| RouteQuery { limit: Some(1000), after, ..RouteQuery::default() };
    let mut group = criterion.benchmark_group("page");
    group.sample_size(20).throughput(Throughput::Elements(1));
    let mut next = None;
    group.bench_function("page", |bencher| {
        bencher.iter(|| {
            let (routes, after) = rig.engine.routes(query(next.take())).expect("no neighbour is named");
            assert!(routes.len() == 1000 || after.is_none());
            next = after;
        });
    });
    group.finish();
    let mut group = criterion.benchmark_group("page-question");
    group.throughput(Throughput::Elements(1));
    for kind in ["prefixes", "routes"] {
        let mut pager = Pager::new(query(None));
        let is_wanted =
            |question: &PageQuestion| matches!(question, PageQuestion::Routes { .. }) == (kind == "routes");
        let question = loop {
            let question = pager.question().expect("a page has questions of both kinds");
            if is_wanted(&question) {
                break question;
            }
            pager.take(rig.engine.answer_page(&question).expect("no neighbour is named"));
        };
        group.bench_function(kind, |bencher| bencher.iter(|| rig.engine.answer_page(&question)));
    }
    group.finish();
}

criterion_group!(benches, load, decision, join, fan_out, page);
criterion_main!(benches);
