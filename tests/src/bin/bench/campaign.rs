//! Which daemon runs which scenario when: in turn, so that what else the machine does hits all alike.

use std::time::Duration;

use bgp_lab::LabError;
use bgp_lab::bench::daemons::Contender;
use bgp_lab::bench::scenario::{Column, Figures, Run, Scenario, Size, prepare};

use crate::arguments::Arguments;
use crate::progress::Progress;

/// All that is to be measured, and what came out.
pub(crate) struct Campaign {
    pub(crate) contenders: Vec<Entrant>,
    pub(crate) results: Vec<ScenarioResult>,
    pub(crate) size: Size,
    pub(crate) run_count: usize,
    pub(crate) limit: Duration,
    scenarios: Vec<&'static str>,
    skipped: Vec<String>,
    is_selection: bool,
    progress: Progress,
}

/// A daemon that takes part.
pub(crate) struct Entrant {
    pub(crate) contender: Contender,
    pub(crate) version: String,
}

/// One scenario with every daemon.
pub(crate) struct ScenarioResult {
    pub(crate) name: &'static str,
    pub(crate) about: String,
    pub(crate) columns: &'static [Column],
    /// One per daemon, in their order.
    pub(crate) rows: Vec<Row>,
}

/// One daemon's runs of a scenario.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) runs: Vec<Figures>,
    /// The first failure; there are no runs after it.
    pub(crate) failure: Option<String>,
    /// The most that others used of the machine while it was measured.
    pub(crate) foreign_share: f64,
}

impl Campaign {
    pub(crate) fn new(arguments: &Arguments) -> Campaign {
        let mut campaign = Campaign {
            contenders: Vec::new(),
            results: Vec::new(),
            size: arguments.size,
            run_count: arguments.run_count,
            limit: arguments.limit,
            scenarios: arguments.scenarios.clone(),
            skipped: Vec::new(),
            is_selection: arguments.is_selection,
            progress: Progress::new(),
        };
        for contender in &arguments.contenders {
            match contender.version() {
                Ok(version) => campaign.contenders.push(Entrant { contender: contender.clone(), version }),
                Err(error) => campaign.skipped.push(format!("{}: {error}", contender.name)),
            }
        }
        campaign
    }

    /// Runs everything. A daemon that fails is a result, not an error.
    pub(crate) fn run(&mut self) -> Result<(), LabError> {
        for skipped in &self.skipped {
            self.progress.line(&format!("left out: {skipped}"));
        }
        if self.contenders.is_empty() || self.is_selection && !self.skipped.is_empty() {
            return Err(LabError::Missing {
                what: self.skipped.join("; "),
                remedy: "the benchmark needs the daemons that it was asked for".into(),
            });
        }
        for name in self.scenarios.clone() {
            let scenario = prepare(name, self.size).expect("arguments hold known scenarios");
            self.progress.line(&format!("{name}: {}", scenario.about()));
            let mut rows: Vec<Row> = self.contenders.iter().map(|_| Row::default()).collect();
            for run in 0..self.run_count {
                for (entrant, row) in self.contenders.iter().zip(&mut rows) {
                    if row.failure.is_none() && scenario.suits(&entrant.contender) {
                        let label =
                            format!("{name} {}/{} {}", run + 1, self.run_count, entrant.contender.name);
                        self.progress.begin(label);
                        run_once(scenario.as_ref(), &entrant.contender, self.limit, row, &mut self.progress)?;
                    }
                }
            }
            let (about, columns) = (scenario.about(), scenario.columns());
            self.results.push(ScenarioResult { name, about, columns, rows });
        }
        Ok(())
    }

    /// Whether this project's daemon failed anywhere: in CI that is a failure of the benchmark.
    pub(crate) fn has_failure_of_ours(&self) -> bool {
        let rows = self.results.iter().flat_map(|result| self.contenders.iter().zip(&result.rows));
        rows.into_iter().any(|(entrant, row)| entrant.contender.is_ours() && row.failure.is_some())
    }
}

fn run_once(
    scenario: &dyn Scenario,
    contender: &Contender,
    limit: Duration,
    row: &mut Row,
    progress: &mut Progress,
) -> Result<(), LabError> {
    let mut tick = |text: &str| progress.tick(text);
    let mut run = Run { contender, limit, progress: &mut tick, figures: Vec::new(), foreign_share: 0.0 };
    let outcome = scenario.run(&mut run);
    let (figures, foreign_share) = (run.figures, run.foreign_share);
    row.foreign_share = row.foreign_share.max(foreign_share);
    let mut text = String::new();
    for column in scenario.columns() {
        if let Some((_, value)) = figures.iter().find(|(key, _)| *key == column.key) {
            let (title, decimals) = (column.title, column.decimals);
            text.push_str(&format!("{title} {value:.decimals$}, "));
        }
    }
    text.push_str(&format!("others {:.0}%", foreign_share * 100.0));
    row.runs.push(figures);
    match outcome {
        Err(error @ LabError::Missing { .. }) => return Err(error),
        Err(error) => {
            progress.end(&format!("FAILED: {error} ({text})"));
            row.failure = Some(error.to_string());
        }
        Ok(()) => progress.end(&text),
    }
    Ok(())
}
