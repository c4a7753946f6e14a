//! A big table that changes all the time: how late is the last client?

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::stage::mib;
use super::{Column, Run, Scenario, Size, Stage, column, percentile, plotted};
use crate::bench::crowd::Crowd;
use crate::bench::dice::Dice;
use crate::bench::prefixes::PrefixSpace;
use crate::bench::routes::{AttributeSet, Feed, internet_feed};
use crate::bench::site::next_hop;
use crate::bench::table::Table;
use crate::error::LabError;

/// The scenario; client 0 is the sender.
pub struct Churn {
    space: PrefixSpace,
    feed: Feed,
    receiver_count: usize,
    per_second: usize,
    changes: Vec<Change>,
    /// The UPDATEs of all changes, one after the other.
    stream: Arc<[u8]>,
}

/// One route gets other attributes; no route does so twice.
struct Change {
    number: usize,
    digest: u32,
    /// Where its UPDATE ends in the stream.
    end: usize,
}

const COLUMNS: &[Column] = &[
    plotted("latency_p50_ms", "p50 ms", 2),
    plotted("latency_p99_ms", "p99 ms", 2),
    column("latency_p999_ms", "p99.9 ms", 2),
    plotted("churn_cpu_secs", "CPU s", 2),
    column("churn_secs", "churn s", 1),
    column("load_secs", "load s", 2),
    column("load_cpu_secs", "load CPU s", 2),
    column("peak_mib", "peak MiB", 0),
    column("updates", "UPDATEs", 0),
    column("generator_cpu_secs", "generator CPU s", 2),
];

impl Churn {
    /// A million routes, a hundred clients, 10,000 changes a second for 30 seconds; or fewer.
    #[must_use]
    pub fn new(size: Size) -> Churn {
        let space = PrefixSpace::internet_like(size.pick(20_000, 1_000_000));
        let feed = internet_feed(&space, 1, next_hop(0), |_| 100);
        let (per_second, seconds) = size.pick((1_000, 3), (10_000, 30));
        let mut numbers: Vec<usize> = (0..space.count()).collect();
        Dice::new(3).shuffle(&mut numbers);
        let mut stream = Vec::new();
        let changes = numbers.into_iter().take(per_second * seconds).zip(1_000_000..).map(|(number, med)| {
            let set = AttributeSet::with_med(next_hop(0), 100, med);
            stream.extend(set.announce(&space, [number]));
            Change { number, digest: set.digest(), end: stream.len() }
        });
        let changes = changes.collect();
        Churn { space, feed, receiver_count: size.pick(10, 100), per_second, changes, stream: stream.into() }
    }
}

impl Scenario for Churn {
    fn about(&self) -> String {
        format!(
            "{} routes at {} clients, then {} changes a second for {} s: time from when a change is due to the last client",
            self.space.count(),
            self.receiver_count,
            self.per_second,
            self.changes.len() / self.per_second
        )
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn run(&self, run: &mut Run<'_>) -> Result<(), LabError> {
        run.on_stage(self.receiver_count + 1, |stage| self.play(stage))
    }
}

impl Churn {
    fn play(&self, stage: &mut Stage<'_>) -> Result<(), LabError> {
        let mut crowd = stage.crowd(Table::new(self.space.clone()))?;
        crowd.expect_all(|number| (self.feed.digests[number], 0));
        crowd.establish(stage.limit, stage.progress)?;
        let mark = stage.mark();
        crowd.send(0, self.feed.announce.clone())?;
        crowd.run_until("the table at all clients", stage.limit, stage.progress, Crowd::is_complete)?;
        let load = stage.since(&mark);
        stage.note("load_secs", load.wall);
        stage.note("load_cpu_secs", load.cpu);
        stage.settled_memory(&mut crowd)?;

        crowd.watch();
        let (_, updates_before) = crowd.received();
        let mark = stage.mark();
        self.send_evenly(stage, &mut crowd)?;
        crowd.run_until("all changes at all clients", stage.limit, stage.progress, Crowd::is_complete)?;
        let cost = stage.since(&mark);
        let (_, updates) = crowd.received();
        let mut latencies_secs = crowd.take_watch().latencies_secs;
        latencies_secs.sort_by(f64::total_cmp);
        let milliseconds = |percent| percentile(&latencies_secs, percent) * 1000.0;
        stage.note("latency_p50_ms", milliseconds(50.0));
        stage.note("latency_p99_ms", milliseconds(99.0));
        stage.note("latency_p999_ms", milliseconds(99.9));
        stage.note("churn_cpu_secs", cost.cpu);
        stage.note("churn_secs", cost.wall);
        stage.note("generator_cpu_secs", cost.generator);
        stage.note("peak_mib", mib(stage.memory().peak_bytes));
        stage.note("updates", (updates - updates_before) as f64);
        Ok(())
    }

    /// Every change counts from the moment at which it was due, also when the daemon did not take it then.
    fn send_evenly(&self, stage: &mut Stage<'_>, crowd: &mut Crowd) -> Result<(), LabError> {
        let interval = Duration::from_secs(1) / u32::try_from(self.per_second).expect("a few thousand");
        let start = Instant::now();
        let (mut sent, mut told) = (0, 0);
        while sent < self.changes.len() {
            let due_count = (start.elapsed().as_nanos() / interval.as_nanos()) as usize;
            let due = sent..due_count.min(self.changes.len());
            if !due.is_empty() {
                let from = due.start.checked_sub(1).map_or(0, |last| self.changes[last].end);
                let part = from..self.changes[due.end - 1].end;
                for (change, index) in self.changes[due.clone()].iter().zip(due.clone()) {
                    crowd.expect_change(change.number, change.digest);
                    crowd.watch_change(change.number, start + interval * u32::try_from(index).expect("few"));
                }
                sent = due.end;
                crowd.send_part(0, self.stream.clone(), part)?;
            }
            crowd.step(Duration::from_millis(1))?;
            let seconds = start.elapsed().as_secs();
            if seconds > told {
                told = seconds;
                (stage.progress)(&format!("{sent} changes sent"));
            }
        }
        Ok(())
    }
}
