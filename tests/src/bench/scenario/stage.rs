//! One run of one scenario with one daemon: the daemon's life, the clock, and the books.

use std::thread;
use std::time::{Duration, Instant};

use crate::bench::crowd::Crowd;
use crate::bench::daemons::Contender;
use crate::bench::site::{DAEMON, Site};
use crate::bench::table::Table;
use crate::bench::usage::{Memory, ProcessTree, machine_cpu, own_cpu};
use crate::error::LabError;
use crate::lab::Lab;
use crate::process::Process;

/// What was measured: keys of [`Column`](super::Column)s and values.
pub type Figures = Vec<(&'static str, f64)>;

/// One run.
pub struct Run<'a> {
    /// The daemon.
    pub contender: &'a Contender,
    /// How long one step may take.
    pub limit: Duration,
    /// Is told once a second how far it is.
    pub progress: &'a mut (dyn FnMut(&str) + Send),
    /// The results.
    pub figures: Figures,
    /// The most that others used of the machine's processors while something was measured: noise.
    pub foreign_share: f64,
}

/// A running daemon in its namespace, seen from inside.
pub struct Stage<'a> {
    /// Where it runs.
    pub site: &'a Site,
    /// How long one step may take.
    pub limit: Duration,
    /// Is told once a second how far it is.
    pub progress: &'a mut (dyn FnMut(&str) + Send),
    /// The results.
    pub figures: &'a mut Figures,
    foreign_share: &'a mut f64,
    process: &'a mut Process,
    tree: ProcessTree,
}

/// A moment in the books.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    at: Instant,
    daemon: Duration,
    generator: Duration,
    machine: Duration,
}

/// What happened since a mark.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Seconds.
    pub wall: f64,
    /// Processor seconds of the daemon.
    pub cpu: f64,
    /// Processor seconds of this program.
    pub generator: f64,
}

impl Run<'_> {
    /// Starts the daemon in a new namespace, lets `work` happen inside it, and clears up.
    ///
    /// # Errors
    /// What `work` says, with the daemon's costs so far; or that the daemon does not start or ended.
    pub fn on_stage(
        &mut self,
        client_count: usize,
        work: impl FnOnce(&mut Stage<'_>) -> Result<(), LabError> + Send,
    ) -> Result<(), LabError> {
        let contender = self.contender;
        self.on_stage_with(client_count, |site| contender.start(site), work)
    }

    /// The same with another process.
    ///
    /// # Errors
    /// As [`Run::on_stage`].
    pub fn on_stage_with(
        &mut self,
        client_count: usize,
        start: impl FnOnce(&Site) -> Result<Process, LabError>,
        work: impl FnOnce(&mut Stage<'_>) -> Result<(), LabError> + Send,
    ) -> Result<(), LabError> {
        let lab = Lab::new("bench")?;
        let site = Site::new(&lab, client_count)?;
        let mut process = start(&site)?;
        let tree = ProcessTree::new(process.pid());
        let mut stage = Stage {
            site: &site,
            limit: self.limit,
            progress: &mut *self.progress,
            figures: &mut self.figures,
            foreign_share: &mut self.foreign_share,
            process: &mut process,
            tree,
        };
        let result = site.namespace.run(|| work(&mut stage).map_err(|error| stage.explain(error)))?;
        process.kill();
        result
    }
}

impl Stage<'_> {
    /// A crowd with a table, not connected yet.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn crowd(&self, table: Table) -> Result<Crowd, LabError> {
        Crowd::new(DAEMON, &self.site.clients, table)
    }

    /// Starts the clock.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { daemon: self.tree.cpu(), machine: machine_cpu(), generator: own_cpu(), at: Instant::now() }
    }

    /// Reads the clock, and notes how much of the machine others used meanwhile.
    pub fn since(&mut self, mark: &Mark) -> Cost {
        let wall = mark.at.elapsed();
        let generator = own_cpu().saturating_sub(mark.generator);
        let daemon = self.tree.cpu().saturating_sub(mark.daemon);
        let machine = machine_cpu().saturating_sub(mark.machine);
        let foreign = machine.saturating_sub(generator + daemon).as_secs_f64();
        let capacity = wall.as_secs_f64() * thread::available_parallelism().map_or(1, usize::from) as f64;
        // Below a tenth of a second the machine's books are too coarse.
        if wall > Duration::from_millis(100) {
            *self.foreign_share = self.foreign_share.max(foreign / capacity);
        }
        Cost { wall: wall.as_secs_f64(), cpu: daemon.as_secs_f64(), generator: generator.as_secs_f64() }
    }

    /// Fails if the daemon has ended.
    ///
    /// # Errors
    /// With its last words.
    pub fn must_run(&mut self) -> Result<(), LabError> {
        self.process.must_run()
    }

    /// Memory now.
    #[must_use]
    pub fn memory(&self) -> Memory {
        self.tree.memory()
    }

    /// Memory once the daemon has had nothing to do for a moment: until two looks a second apart agree within 1%, or ten
    /// seconds have passed.
    ///
    /// # Errors
    /// If a session is lost meanwhile.
    pub fn settled_memory(&mut self, crowd: &mut Crowd) -> Result<Memory, LabError> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut last = self.memory();
        loop {
            let pause = Instant::now() + Duration::from_secs(1);
            while Instant::now() < pause {
                crowd.step(Duration::from_millis(50))?;
            }
            let now = self.memory();
            if now.settled_bytes.abs_diff(last.settled_bytes) <= last.settled_bytes / 100
                || Instant::now() > deadline
            {
                return Ok(now);
            }
            last = now;
        }
    }

    /// Writes a result down.
    pub fn note(&mut self, key: &'static str, value: f64) {
        self.figures.push((key, value));
    }

    /// Adds to a failure what the daemon had used until then, or its last words.
    fn explain(&mut self, error: LabError) -> LabError {
        // A daemon that dies closes its sessions first.
        thread::sleep(Duration::from_millis(100));
        if let Err(ended) = self.process.must_run() {
            return ended;
        }
        match error {
            LabError::Timeout { what, after, last_seen } => {
                let memory = self.memory();
                let used =
                    format!("{:.1} CPU s, {:.0} MiB", self.tree.cpu().as_secs_f64(), mib(memory.peak_bytes));
                LabError::Timeout { what, after, last_seen: format!("{last_seen}; used {used}") }
            }
            other => other,
        }
    }
}

/// Bytes in the unit of the reports.
#[must_use]
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
