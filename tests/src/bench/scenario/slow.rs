//! Two bad readers among many: nobody may wait for them, and they may not cost much memory.

use std::time::{Duration, Instant};

use super::stage::mib;
use super::{Column, Run, Scenario, Size, Stage, column, plotted};
use crate::bench::client::Pace;
use crate::bench::crowd::Crowd;
use crate::bench::prefixes::PrefixSpace;
use crate::bench::routes::{Feed, internet_feed};
use crate::bench::site::next_hop;
use crate::bench::table::Table;
use crate::error::LabError;

/// The scenario: client 0 is the sender, 1 reads slowly, 2 not at all for a while.
pub struct Slow {
    space: PrefixSpace,
    feed: Feed,
    receiver_count: usize,
    pause: Duration,
}

const LIMITED: usize = 1;
const STOPPED: usize = 2;
const FIRST_HEALTHY: usize = 3;

const SLOW_BYTES_PER_SECOND: usize = 10_000;

const COLUMNS: &[Column] = &[
    column("healthy_alone_secs", "without slow ones s", 3),
    plotted("healthy_secs", "with slow ones s", 3),
    plotted("delay_ms", "delay ms", 0),
    column("cpu_secs", "CPU s", 2),
    column("peak_alone_mib", "peak MiB without", 0),
    plotted("peak_mib", "peak MiB with", 0),
    column("resumed_secs", "catch up s", 2),
    column("resumed_mib", "catch up MiB", 1),
    column("generator_cpu_secs", "generator CPU s", 2),
];

impl Slow {
    /// Half a million prefixes to 50 clients, one of which stops for 30 seconds; or fewer.
    #[must_use]
    pub fn new(size: Size) -> Slow {
        let space = PrefixSpace::internet_like(size.pick(50_000, 500_000));
        let feed = internet_feed(&space, 1, next_hop(0), |_| 100);
        Slow { space, feed, receiver_count: size.pick(10, 50), pause: Duration::from_secs(size.pick(3, 30)) }
    }

    fn healthy(&self) -> std::ops::RangeInclusive<usize> {
        FIRST_HEALTHY..=self.receiver_count
    }

    /// A table is announced; returns when the healthy clients have it.
    fn announce(&self, stage: &mut Stage<'_>, crowd: &mut Crowd) -> Result<f64, LabError> {
        crowd.send(0, self.feed.announce.clone())?;
        let what = "the table at the healthy clients";
        let wall =
            crowd.run_until(what, stage.limit, stage.progress, |crowd| crowd.are_complete(self.healthy()))?;
        Ok(wall.as_secs_f64())
    }

    fn play_alone(&self, stage: &mut Stage<'_>) -> Result<f64, LabError> {
        let mut crowd = self.crowd(stage)?;
        crowd.establish(stage.limit, stage.progress)?;
        let wall = self.announce(stage, &mut crowd)?;
        stage.note("healthy_alone_secs", wall);
        stage.note("peak_alone_mib", mib(stage.memory().peak_bytes));
        Ok(wall)
    }

    fn play_with_slow_ones(&self, stage: &mut Stage<'_>, alone: f64) -> Result<(), LabError> {
        let mut crowd = self.crowd(stage)?;
        crowd.limit_receive_buffer(LIMITED);
        crowd.limit_receive_buffer(STOPPED);
        crowd.establish(stage.limit, stage.progress)?;
        crowd.set_pace(LIMITED, Pace::Limited(SLOW_BYTES_PER_SECOND))?;
        crowd.set_pace(STOPPED, Pace::Stopped)?;
        let start = Instant::now();
        let mark = stage.mark();
        let wall = self.announce(stage, &mut crowd)?;
        let cost = stage.since(&mark);
        stage.note("healthy_secs", wall);
        stage.note("delay_ms", (wall - alone) * 1000.0);
        stage.note("cpu_secs", cost.cpu);
        stage.note("generator_cpu_secs", cost.generator);

        let pause = self.pause;
        let limit = stage.limit + pause;
        crowd.run_until("the pause to end", limit, stage.progress, |_| start.elapsed() >= pause)?;
        stage.note("peak_mib", mib(stage.memory().peak_bytes));
        let received = crowd.received_by(STOPPED);
        crowd.set_pace(STOPPED, Pace::Full)?;
        let what = "the table at the client that had stopped";
        let resumed =
            crowd.run_until(what, stage.limit, stage.progress, |crowd| crowd.are_complete([STOPPED]))?;
        stage.note("resumed_secs", resumed.as_secs_f64());
        stage.note("resumed_mib", mib(crowd.received_by(STOPPED) - received));
        crowd.set_pace(LIMITED, Pace::Full)?;
        crowd.run_until("the table at all clients", stage.limit, stage.progress, Crowd::is_complete)?;
        Ok(())
    }

    fn crowd(&self, stage: &Stage<'_>) -> Result<Crowd, LabError> {
        let mut crowd = stage.crowd(Table::new(self.space.clone()))?;
        crowd.expect_all(|number| (self.feed.digests[number], 0));
        Ok(crowd)
    }
}

impl Scenario for Slow {
    fn about(&self) -> String {
        format!(
            "{} prefixes to {} clients, first all healthy, then one reading {SLOW_BYTES_PER_SECOND} bytes a second and one \
             nothing for {} s: time to the healthy ones",
            self.space.count(),
            self.receiver_count,
            self.pause.as_secs()
        )
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn run(&self, run: &mut Run<'_>) -> Result<(), LabError> {
        let client_count = self.receiver_count + 1;
        let mut alone = 0.0;
        run.on_stage(client_count, |stage| {
            alone = self.play_alone(stage)?;
            Ok(())
        })?;
        run.on_stage(client_count, |stage| self.play_with_slow_ones(stage, alone))
    }
}
