//! Many clients with a few prefixes each: the nodes of a cluster.
//!
//! Cold: all connect at once and announce as soon as they may, as after a restart of the reflector. Warm: the sessions
//! are up before anybody announces.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::stage::mib;
use super::{Column, Run, Scenario, Size, Stage, column, percentile, plotted};
use crate::bench::crowd::Crowd;
use crate::bench::prefixes::PrefixSpace;
use crate::bench::routes::AttributeSet;
use crate::bench::site::next_hop;
use crate::bench::table::Table;
use crate::error::LabError;

/// Both scenarios.
pub struct Clients {
    space: PrefixSpace,
    client_count: usize,
    per_client: usize,
    start: Start,
    change_count: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Cold,
    Warm,
}

const COLD: &[Column] = &[
    plotted("converged_secs", "converged s", 2),
    plotted("cpu_secs", "CPU s", 2),
    plotted("peak_mib", "peak MiB", 0),
    column("settled_mib", "settled MiB", 0),
    column("up_secs", "sessions up s", 2),
    column("lost_sessions", "lost sessions", 0),
    column("wire_mib", "wire MiB", 0),
    column("cpu_ms_per_mib", "CPU ms/MiB", 2),
    column("updates", "UPDATEs", 0),
    column("generator_cpu_secs", "generator CPU s", 2),
];

const WARM: &[Column] = &[
    plotted("converged_secs", "converged s", 2),
    plotted("cpu_secs", "CPU s", 2),
    plotted("peak_mib", "peak MiB", 0),
    column("settled_mib", "settled MiB", 0),
    plotted("change_p50_ms", "change p50 ms", 2),
    column("change_p99_ms", "p99 ms", 2),
    column("wire_mib", "wire MiB", 0),
    column("cpu_ms_per_mib", "CPU ms/MiB", 2),
    column("updates", "UPDATEs", 0),
    column("generator_cpu_secs", "generator CPU s", 2),
];

impl Clients {
    /// 1000 clients with 10 prefixes each, which all connect at once.
    #[must_use]
    pub fn cold(size: Size) -> Clients {
        Clients::new(size.pick(100, 1000), 10, Start::Cold, 0)
    }

    /// 1000 clients with 100 prefixes each, sessions up first.
    #[must_use]
    pub fn warm(size: Size) -> Clients {
        Clients::new(size.pick(100, 1000), size.pick(20, 100), Start::Warm, size.pick(20, 100))
    }

    /// The same with twice as many clients: each of them is told twice as much, and the costs per byte must stay.
    #[must_use]
    pub fn cold_double(size: Size) -> Clients {
        Clients::new(size.pick(200, 2000), 10, Start::Cold, 0)
    }

    /// The same with sessions up first.
    #[must_use]
    pub fn warm_double(size: Size) -> Clients {
        Clients::new(size.pick(200, 2000), size.pick(20, 100), Start::Warm, size.pick(20, 100))
    }

    fn new(client_count: usize, per_client: usize, start: Start, change_count: u32) -> Clients {
        let space = PrefixSpace::blocks(client_count * per_client);
        Clients { space, client_count, per_client, start, change_count }
    }

    /// What a client announces: one UPDATE.
    fn routes(&self, client: usize) -> Arc<[u8]> {
        let first = client * self.per_client;
        self.set(client).announce(&self.space, first..first + self.per_client).into()
    }

    fn set(&self, client: usize) -> AttributeSet {
        AttributeSet::plain(next_hop(client), 100)
    }

    fn expect(&self, crowd: &mut Crowd) {
        let digests: Vec<u32> = (0..self.client_count).map(|client| self.set(client).digest()).collect();
        crowd.expect_all(|number| {
            let client = number / self.per_client;
            (digests[client], client)
        });
    }
}

impl Scenario for Clients {
    fn about(&self) -> String {
        let (clients, prefixes) = (self.client_count, self.per_client);
        match self.start {
            Start::Cold => format!("{clients} clients with {prefixes} prefixes each connect at once"),
            Start::Warm => format!(
                "{clients} clients with {prefixes} prefixes each, sessions up first; then {} single changes",
                self.change_count
            ),
        }
    }

    fn columns(&self) -> &'static [Column] {
        match self.start {
            Start::Cold => COLD,
            Start::Warm => WARM,
        }
    }

    fn run(&self, run: &mut Run<'_>) -> Result<(), LabError> {
        run.on_stage(self.client_count, |stage| self.play(stage))
    }
}

impl Clients {
    fn play(&self, stage: &mut Stage<'_>) -> Result<(), LabError> {
        let mut crowd = stage.crowd(Table::new(self.space.clone()))?;
        self.expect(&mut crowd);
        let routes: Vec<Arc<[u8]>> = (0..self.client_count).map(|client| self.routes(client)).collect();
        let mark = match self.start {
            Start::Cold => {
                for (client, routes) in routes.iter().enumerate() {
                    crowd.set_greeting(client, routes.clone());
                }
                let mark = stage.mark();
                let up = crowd.storm(stage.limit, stage.progress)?;
                stage.note("up_secs", up.as_secs_f64());
                mark
            }
            Start::Warm => {
                crowd.establish(stage.limit, stage.progress)?;
                let mark = stage.mark();
                for (client, routes) in routes.iter().enumerate() {
                    crowd.send(client, routes.clone())?;
                }
                let what = "all routes at all clients";
                crowd.run_until(what, stage.limit, stage.progress, Crowd::is_complete)?;
                mark
            }
        };
        let cost = stage.since(&mark);
        let (bytes, update_count) = crowd.received();
        let memory = stage.settled_memory(&mut crowd)?;
        stage.note("converged_secs", cost.wall);
        stage.note("cpu_secs", cost.cpu);
        stage.note("generator_cpu_secs", cost.generator);
        stage.note("peak_mib", mib(memory.peak_bytes));
        stage.note("settled_mib", mib(memory.settled_bytes));
        stage.note("wire_mib", mib(bytes));
        stage.note("cpu_ms_per_mib", cost.cpu * 1000.0 / mib(bytes));
        stage.note("updates", update_count as f64);
        if self.start == Start::Cold {
            stage.note("lost_sessions", crowd.lost_count() as f64);
        } else {
            self.change_one_by_one(stage, &mut crowd)?;
        }
        Ok(())
    }

    /// One route of one client after the other, each awaited at all others.
    fn change_one_by_one(&self, stage: &mut Stage<'_>, crowd: &mut Crowd) -> Result<(), LabError> {
        let mut latencies_ms = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(20);
        for change in 0..self.change_count {
            if Instant::now() > deadline {
                break;
            }
            let client = change as usize % self.client_count;
            let number = client * self.per_client;
            let set = AttributeSet::with_med(next_hop(client), 100, 1 + change);
            crowd.expect_change(number, set.digest());
            let update = set.announce(&self.space, [number]).into();
            let start = Instant::now();
            crowd.send(client, update)?;
            crowd.run_until("one change at all clients", stage.limit, stage.progress, Crowd::is_complete)?;
            latencies_ms.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        latencies_ms.sort_by(f64::total_cmp);
        stage.note("change_p50_ms", percentile(&latencies_ms, 50.0));
        stage.note("change_p99_ms", percentile(&latencies_ms, 99.0));
        Ok(())
    }
}
