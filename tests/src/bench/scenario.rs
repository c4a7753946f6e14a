//! What is measured: each scenario is a story of sends and waits, the same for every daemon.

mod churn;
mod clients;
mod flap;
mod full_table;
mod mesh;
mod paths;
mod slow;
mod stage;

pub use churn::Churn;
pub use clients::Clients;
pub use flap::Flap;
pub use full_table::FullTable;
pub use mesh::{FullMesh, MESH_WORD};
pub use paths::Paths;
pub use slow::Slow;
pub use stage::{Cost, Figures, Run, Stage};

use super::daemons::Contender;
use crate::error::LabError;

/// How big a scenario is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// To see that it works: seconds, never to compare times.
    Quick,
    /// As reported.
    Full,
}

impl Size {
    /// One of two values.
    #[must_use]
    pub fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Size::Quick => quick,
            Size::Full => full,
        }
    }
}

/// A column of a scenario's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name in the JSON report, with the unit as its last word.
    pub key: &'static str,
    /// Heading in the table.
    pub title: &'static str,
    /// Digits behind the point.
    pub decimals: usize,
    /// Whether the plot shows it.
    pub is_plotted: bool,
}

/// A column of the table only.
const fn column(key: &'static str, title: &'static str, decimals: usize) -> Column {
    Column { key, title, decimals, is_plotted: false }
}

/// A column that the plot shows as well.
const fn plotted(key: &'static str, title: &'static str, decimals: usize) -> Column {
    Column { key, title, decimals, is_plotted: true }
}

/// One scenario, prepared: whatever it sends is encoded already.
pub trait Scenario {
    /// What happens, in one line.
    fn about(&self) -> String;

    /// What it measures.
    fn columns(&self) -> &'static [Column];

    /// Whether a daemon can take part at all.
    fn suits(&self, _contender: &Contender) -> bool {
        true
    }

    /// Runs it once.
    ///
    /// # Errors
    /// If the daemon does not do what it should, or not in time. What was measured until then is in the run.
    fn run(&self, run: &mut Run<'_>) -> Result<(), LabError>;
}

/// Names of the scenarios that run unless others are asked for, in their order.
pub const NAMES: [&str; 8] =
    ["full-table", "paths", "clients-cold", "clients-warm", "churn", "flap", "slow", "mesh"];

/// Names of those that run only when asked for: twice the size of others, to see how costs grow.
pub const DOUBLES: [&str; 3] = ["full-table-double", "clients-cold-double", "clients-warm-double"];

/// Prepares a scenario by its name.
#[must_use]
pub fn prepare(name: &str, size: Size) -> Option<Box<dyn Scenario>> {
    Some(match name {
        "full-table" => Box::new(FullTable::new(size)),
        "paths" => Box::new(Paths::new(size)),
        "full-table-double" => Box::new(FullTable::double(size)),
        "clients-cold-double" => Box::new(Clients::cold_double(size)),
        "clients-warm-double" => Box::new(Clients::warm_double(size)),
        "clients-cold" => Box::new(Clients::cold(size)),
        "clients-warm" => Box::new(Clients::warm(size)),
        "churn" => Box::new(Churn::new(size)),
        "flap" => Box::new(Flap::new(size)),
        "slow" => Box::new(Slow::new(size)),
        "mesh" => Box::new(FullMesh::new(size)),
        _ => return None,
    })
}

/// The value below which `percent` of the sorted values are.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let index = (sorted.len() as f64 * percent / 100.0) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
