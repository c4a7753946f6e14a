//! What is measured: each scenario is a story of sends and waits, the same for every daemon.

mod clients;
mod full_table;
mod stage;

pub use clients::Clients;
pub use full_table::FullTable;
pub use stage::{Cost, Figures, Run, Stage};

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

    /// Runs it once.
    ///
    /// # Errors
    /// If the daemon does not do what it should, or not in time. What was measured until then is in the run.
    fn run(&self, run: &mut Run<'_>) -> Result<(), LabError>;
}

/// Names of all scenarios, in the order in which they run.
pub const NAMES: [&str; 3] = ["full-table", "clients-cold", "clients-warm"];

/// Prepares a scenario by its name.
#[must_use]
pub fn prepare(name: &str, size: Size) -> Option<Box<dyn Scenario>> {
    Some(match name {
        "full-table" => Box::new(FullTable::new(size)),
        "clients-cold" => Box::new(Clients::cold(size)),
        "clients-warm" => Box::new(Clients::warm(size)),
        _ => return None,
    })
}

/// The value below which `percent` of the sorted values are.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let index = (sorted.len() as f64 * percent / 100.0) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
