//! What the engine's tables take, by the allocator's count: per path, per UPDATE, and as the metrics say.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bgp_lab::bench::prefixes::PrefixSpace;
use bgp_lab::bench::rig::Rig;
use bgp_lab::bench::routes::internet_feed;
use bgp_lab::bench::site::next_hop;

/// Counts what each thread holds, and how often it asked.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn count(octets: isize, calls: usize) {
    // A thread that is ending has nothing to count for.
    let _ = HELD.try_with(|held| held.set(held.get() + octets));
    let _ = CALLS.try_with(|total| total.set(total.get() + calls));
}

#[expect(unsafe_code, reason = "an allocator cannot be written without; it hands everything to the system's")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize, 1);
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize), 0);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize, 1);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads the feeds of so many senders into a reflector.
fn load(clients: usize, space: &PrefixSpace, senders: usize) -> Load {
    let feeds: Vec<_> = (0..senders)
        .map(|sender| internet_feed(space, sender as u64, next_hop(sender), |_| 100 + sender as u32))
        .collect();
    let before = HELD.get();
    let mut rig = Rig::with_clients(clients);
    let (empty, calls) = (HELD.get(), CALLS.get());
    for (sender, feed) in feeds.iter().enumerate() {
        rig.stream(sender, &feed.announce);
    }
    let updates: usize = feeds.iter().map(|feed| feed.set_count).sum();
    let paths = (senders * space.count()) as f64;
    let metrics = rig.engine.metrics();
    Load {
        octets_per_path: (HELD.get() - empty) as f64 / paths,
        calls_per_update: (CALLS.get() - calls) as f64 / updates as f64,
        held: HELD.get() - before,
        reported: metrics.memory_bytes.iter().map(|(_, octets)| *octets as isize).sum(),
    }
}

#[derive(Debug)]
struct Load {
    octets_per_path: f64,
    calls_per_update: f64,
    held: isize,
    reported: isize,
}

impl Load {
    /// Within a tenth of what the allocator says.
    fn assert_reported(&self) {
        let difference = (self.held - self.reported).abs();
        assert!(difference * 10 <= self.held, "{self:?}");
    }
}

#[test]
fn a_table_of_one_sender_costs_little_and_the_metrics_say_how_much() {
    let space = PrefixSpace::internet_like(200_000);
    let load = load(3, &space, 1);
    load.assert_reported();
    assert!(load.octets_per_path <= 110.0, "{load:?}");
    assert!(load.calls_per_update <= 8.0, "{load:?}");
}

#[test]
fn many_paths_of_a_prefix_cost_little_each() {
    let space = PrefixSpace::internet_like(30_000);
    let load = load(10, &space, 10);
    load.assert_reported();
    // With the room that doubling lists have, not all of which is ever touched.
    assert!(load.octets_per_path <= 85.0, "{load:?}");
}

#[test]
fn a_withdrawn_table_gives_its_memory_back() {
    let space = PrefixSpace::internet_like(100_000);
    let feed = internet_feed(&space, 1, next_hop(0), |_| 100);
    let before = HELD.get();
    let mut rig = Rig::with_clients(2);
    rig.stream(0, &feed.announce);
    let full = HELD.get() - before;
    rig.stream(0, &feed.withdraw);
    let left = HELD.get() - before;
    assert!(left < full / 2, "{left} of {full}: {:?}", rig.engine.metrics().memory_bytes);
}
