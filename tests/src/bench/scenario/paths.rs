//! Ten senders of the same prefixes with attributes of their own: what a path costs that is not the best one.

use super::stage::mib;
use super::{Column, Run, Scenario, Size, Stage, column, plotted};
use crate::bench::crowd::Crowd;
use crate::bench::prefixes::PrefixSpace;
use crate::bench::routes::{Feed, internet_feed, run_numbers};
use crate::bench::site::next_hop;
use crate::bench::table::Table;
use crate::error::LabError;

/// The scenario; the last client only receives.
pub struct Paths {
    space: PrefixSpace,
    feeds: Vec<Feed>,
    /// By number of prefix: the sender whose local preference is the highest.
    best: Vec<usize>,
}

const SENDER_COUNT: usize = 10;

const COLUMNS: &[Column] = &[
    plotted("bytes_per_path", "bytes per path", 0),
    plotted("converged_secs", "converged s", 2),
    plotted("cpu_secs", "CPU s", 2),
    column("peak_mib", "peak MiB", 0),
    column("settled_mib", "settled MiB", 0),
    column("wire_mib", "wire MiB", 0),
    column("updates", "UPDATEs", 0),
    column("generator_cpu_secs", "generator CPU s", 2),
];

/// Each sender is the best one for a tenth of the attribute sets.
fn rank(sender: usize, run: usize) -> usize {
    (sender + run) % SENDER_COUNT
}

impl Paths {
    /// 200,000 prefixes ten times, or fewer.
    #[must_use]
    pub fn new(size: Size) -> Paths {
        let space = PrefixSpace::internet_like(size.pick(10_000, 200_000));
        let feed = |sender| {
            let local_pref = |run| 100 + 10 * u32::try_from(rank(sender, run)).expect("below ten");
            internet_feed(&space, 100 + sender as u64, next_hop(sender), local_pref)
        };
        let feeds = (0..SENDER_COUNT).map(feed).collect();
        let best = run_numbers(&space)
            .into_iter()
            .map(|run| {
                let is_best = |sender: &usize| rank(*sender, run) == SENDER_COUNT - 1;
                (0..SENDER_COUNT).find(is_best).expect("one of ten in a row has the highest rank")
            })
            .collect();
        Paths { space, feeds, best }
    }
}

impl Scenario for Paths {
    fn about(&self) -> String {
        format!(
            "{SENDER_COUNT} senders announce the same {} prefixes with differing attributes",
            self.space.count()
        )
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn run(&self, run: &mut Run<'_>) -> Result<(), LabError> {
        run.on_stage(SENDER_COUNT + 1, |stage| self.play(stage))
    }
}

impl Paths {
    fn play(&self, stage: &mut Stage<'_>) -> Result<(), LabError> {
        let mut crowd = stage.crowd(Table::new(self.space.clone()))?;
        crowd.expect_all(|number| (self.feeds[self.best[number]].digests[number], self.best[number]));
        crowd.establish(stage.limit, stage.progress)?;
        let empty = stage.settled_memory(&mut crowd)?;

        let mark = stage.mark();
        for (sender, feed) in self.feeds.iter().enumerate() {
            crowd.send(sender, feed.announce.clone())?;
        }
        crowd.run_until("the best paths at all clients", stage.limit, stage.progress, Crowd::is_complete)?;
        let cost = stage.since(&mark);
        let (bytes, update_count) = crowd.received();
        let full = stage.settled_memory(&mut crowd)?;
        let path_count = SENDER_COUNT * self.space.count();
        let growth = full.settled_bytes.saturating_sub(empty.settled_bytes);
        stage.note("bytes_per_path", growth as f64 / path_count as f64);
        stage.note("converged_secs", cost.wall);
        stage.note("cpu_secs", cost.cpu);
        stage.note("peak_mib", mib(full.peak_bytes));
        stage.note("settled_mib", mib(full.settled_bytes));
        stage.note("wire_mib", mib(bytes));
        stage.note("updates", update_count as f64);
        stage.note("generator_cpu_secs", cost.generator);
        Ok(())
    }
}
