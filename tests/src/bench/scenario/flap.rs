//! A tenth of the clients vanish and come back.

use super::stage::mib;
use super::{Column, Run, Scenario, Size, Stage, column, plotted};
use crate::bench::crowd::Crowd;
use crate::bench::digest::ABSENT;
use crate::bench::prefixes::PrefixSpace;
use crate::bench::routes::AttributeSet;
use crate::bench::site::next_hop;
use crate::bench::table::Table;
use crate::error::LabError;

/// The scenario.
pub struct Flap {
    space: PrefixSpace,
    client_count: usize,
    per_client: usize,
}

/// Every tenth client.
const STRIDE: usize = 10;

const COLUMNS: &[Column] = &[
    plotted("withdrawn_secs", "withdrawn s", 3),
    column("withdrawn_cpu_secs", "CPU s", 2),
    plotted("returned_secs", "returned s", 3),
    plotted("returned_cpu_secs", "CPU s", 2),
    column("peak_mib", "peak MiB", 0),
    column("settled_mib", "settled MiB", 0),
    column("generator_cpu_secs", "generator CPU s", 2),
];

impl Flap {
    /// 200 clients with 500 prefixes each, or fewer.
    #[must_use]
    pub fn new(size: Size) -> Flap {
        let (client_count, per_client) = size.pick((50, 50), (200, 500));
        Flap { space: PrefixSpace::blocks(client_count * per_client), client_count, per_client }
    }

    fn set(client: usize) -> AttributeSet {
        AttributeSet::plain(next_hop(client), 100)
    }

    fn numbers(&self, client: usize) -> std::ops::Range<usize> {
        client * self.per_client..(client + 1) * self.per_client
    }

    fn leavers(&self) -> impl Iterator<Item = usize> {
        (0..self.client_count).step_by(STRIDE)
    }
}

impl Scenario for Flap {
    fn about(&self) -> String {
        format!(
            "{} clients with {} prefixes each; {} of them lose their session and, when all their routes are gone, return",
            self.client_count,
            self.per_client,
            self.leavers().count()
        )
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn run(&self, run: &mut Run<'_>) -> Result<(), LabError> {
        run.on_stage(self.client_count, |stage| self.play(stage))
    }
}

impl Flap {
    fn play(&self, stage: &mut Stage<'_>) -> Result<(), LabError> {
        let mut crowd = stage.crowd(Table::new(self.space.clone()))?;
        let digests: Vec<u32> = (0..self.client_count).map(|client| Self::set(client).digest()).collect();
        crowd.expect_all(|number| {
            let client = number / self.per_client;
            (digests[client], client)
        });
        for client in 0..self.client_count {
            let routes = Self::set(client).announce(&self.space, self.numbers(client));
            crowd.set_greeting(client, routes.into());
        }
        crowd.establish(stage.limit, stage.progress)?;
        crowd.run_until("all routes at all clients", stage.limit, stage.progress, Crowd::is_complete)?;
        stage.settled_memory(&mut crowd)?;

        for number in self.leavers().flat_map(|client| self.numbers(client)) {
            crowd.expect_change(number, ABSENT);
        }
        let mark = stage.mark();
        self.leavers().for_each(|client| crowd.disconnect(client));
        let stayers = || (0..self.client_count).filter(|client| client % STRIDE != 0);
        crowd.run_until("the lost routes to be gone", stage.limit, stage.progress, |crowd| {
            crowd.are_complete(stayers())
        })?;
        let cost = stage.since(&mark);
        stage.note("withdrawn_secs", cost.wall);
        stage.note("withdrawn_cpu_secs", cost.cpu);

        for client in self.leavers() {
            self.numbers(client).for_each(|number| crowd.expect_change(number, digests[client]));
        }
        let mark = stage.mark();
        crowd.reconnect(self.leavers(), stage.limit, stage.progress)?;
        let cost = stage.since(&mark);
        let memory = stage.settled_memory(&mut crowd)?;
        stage.note("returned_secs", cost.wall);
        stage.note("returned_cpu_secs", cost.cpu);
        stage.note("peak_mib", mib(memory.peak_bytes));
        stage.note("settled_mib", mib(memory.settled_bytes));
        stage.note("generator_cpu_secs", cost.generator);
        Ok(())
    }
}
