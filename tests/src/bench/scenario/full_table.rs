//! One sender with an Internet-like table, ten clients: announce it, change single routes, withdraw it.

use std::time::{Duration, Instant};

use super::stage::mib;
use super::{Column, Run, Scenario, Size, Stage, column, percentile, plotted};
use crate::bench::crowd::Crowd;
use crate::bench::dice::Dice;
use crate::bench::digest::ABSENT;
use crate::bench::prefixes::PrefixSpace;
use crate::bench::routes::{AttributeSet, Feed, internet_feed};
use crate::bench::site::next_hop;
use crate::bench::table::Table;
use crate::error::LabError;

/// The scenario; client 0 is the sender.
pub struct FullTable {
    space: PrefixSpace,
    feed: Feed,
    receiver_count: usize,
    change_count: u32,
}

const COLUMNS: &[Column] = &[
    plotted("announce_secs", "announce s", 2),
    plotted("announce_cpu_secs", "CPU s", 2),
    plotted("peak_mib", "peak MiB", 0),
    column("settled_mib", "settled MiB", 0),
    plotted("change_p50_ms", "change p50 ms", 3),
    column("change_p99_ms", "p99 ms", 3),
    plotted("withdraw_secs", "withdraw s", 2),
    column("withdraw_cpu_secs", "CPU s", 2),
    column("wire_mib", "wire MiB", 0),
    column("cpu_ms_per_mib", "CPU ms/MiB", 2),
    column("updates", "UPDATEs", 0),
    column("generator_cpu_secs", "generator CPU s", 2),
];

impl FullTable {
    /// A million prefixes, or fewer.
    #[must_use]
    pub fn new(size: Size) -> FullTable {
        FullTable::of(size.pick(50_000, 1_000_000), size)
    }

    /// Twice as many: the costs per byte must stay as they are.
    #[must_use]
    pub fn double(size: Size) -> FullTable {
        FullTable::of(size.pick(100_000, 2_000_000), size)
    }

    fn of(prefix_count: usize, size: Size) -> FullTable {
        let space = PrefixSpace::internet_like(prefix_count);
        let feed = internet_feed(&space, 1, next_hop(0), |_| 100);
        FullTable { space, feed, receiver_count: 10, change_count: size.pick(50, 500) }
    }
}

impl Scenario for FullTable {
    fn about(&self) -> String {
        format!(
            "1 sender announces {} Internet-like prefixes in {} attribute sets to {} clients, changes {} routes one by \
             one, and withdraws all",
            self.space.count(),
            self.feed.set_count,
            self.receiver_count,
            self.change_count
        )
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn run(&self, run: &mut Run<'_>) -> Result<(), LabError> {
        run.on_stage(self.receiver_count + 1, |stage| self.play(stage))
    }
}

impl FullTable {
    fn play(&self, stage: &mut Stage<'_>) -> Result<(), LabError> {
        let mut crowd = stage.crowd(Table::new(self.space.clone()))?;
        crowd.expect_all(|number| (self.feed.digests[number], 0));
        crowd.establish(stage.limit, stage.progress)?;

        let mark = stage.mark();
        crowd.send(0, self.feed.announce.clone())?;
        crowd.run_until("the table at all clients", stage.limit, stage.progress, Crowd::is_complete)?;
        let cost = stage.since(&mark);
        let (bytes, update_count) = crowd.received();
        let memory = stage.settled_memory(&mut crowd)?;
        stage.note("announce_secs", cost.wall);
        stage.note("announce_cpu_secs", cost.cpu);
        stage.note("generator_cpu_secs", cost.generator);
        stage.note("peak_mib", mib(memory.peak_bytes));
        stage.note("settled_mib", mib(memory.settled_bytes));
        stage.note("wire_mib", mib(bytes));
        stage.note("cpu_ms_per_mib", cost.cpu * 1000.0 / mib(bytes));
        stage.note("updates", update_count as f64);

        let mut latencies_ms = Vec::new();
        let mut dice = Dice::new(2);
        let deadline = Instant::now() + Duration::from_secs(20);
        for change in 0..self.change_count {
            if Instant::now() > deadline {
                break;
            }
            let number = dice.index(self.space.count());
            let set = AttributeSet::with_med(next_hop(0), 100, 1_000_000 + change);
            crowd.expect_change(number, set.digest());
            let update = set.announce(&self.space, [number]).into();
            let start = Instant::now();
            crowd.send(0, update)?;
            crowd.run_until("one change at all clients", stage.limit, stage.progress, Crowd::is_complete)?;
            latencies_ms.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        latencies_ms.sort_by(f64::total_cmp);
        stage.note("change_p50_ms", percentile(&latencies_ms, 50.0));
        stage.note("change_p99_ms", percentile(&latencies_ms, 99.0));

        crowd.expect_all_anew(|_| (ABSENT, 0));
        let mark = stage.mark();
        crowd.send(0, self.feed.withdraw.clone())?;
        crowd.run_until("no route at any client", stage.limit, stage.progress, Crowd::is_complete)?;
        let cost = stage.since(&mark);
        stage.note("withdraw_secs", cost.wall);
        stage.note("withdraw_cpu_secs", cost.cpu);
        Ok(())
    }
}
