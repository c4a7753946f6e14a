//! The report: tables and plots for people, JSON for programs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use bgp_lab::LabError;
use bgp_lab::bench::scenario::{Column, Size};
use serde_json::{Value, json};

use crate::campaign::{Campaign, Row, ScenarioResult};
use crate::plot;

/// Writes `report.md`, `report.json` and one plot per scenario, and prints one of the first two.
pub(crate) fn write(folder: &Path, campaign: &Campaign, is_json: bool) -> Result<(), LabError> {
    let markdown = markdown(campaign);
    let json = format!("{:#}\n", json(campaign));
    fs::create_dir_all(folder).map_err(LabError::io(format!("making {}", folder.display())))?;
    let mut files =
        vec![("report.md".to_owned(), markdown.clone()), ("report.json".to_owned(), json.clone())];
    for result in &campaign.results {
        files.push((format!("{}.svg", result.name), plot::plot(campaign, result)));
    }
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).map_err(LabError::io(format!("writing {}", path.display())))?;
    }
    print!("{}", if is_json { &json } else { &markdown });
    eprintln!("written to {}", folder.display());
    Ok(())
}

/// Median and range.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of the runs that got so far.
    pub(crate) fn of(row: &Row, column: &Column) -> Option<Spread> {
        let mut values: Vec<f64> = row.runs.iter().filter_map(|run| value_of(run, column.key)).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Spread { median, least, most })
    }

    /// `median (least-most)`.
    pub(crate) fn text(self, decimals: usize) -> String {
        let Spread { median, least, most } = self;
        let median = format!("{median:.decimals$}");
        let (least, most) = (format!("{least:.decimals$}"), format!("{most:.decimals$}"));
        if least == most { median } else { format!("{median} ({least}-{most})") }
    }
}

fn value_of(figures: &[(&'static str, f64)], key: &str) -> Option<f64> {
    figures.iter().find(|(candidate, _)| *candidate == key).map(|(_, value)| *value)
}

fn markdown(campaign: &Campaign) -> String {
    let mut text = String::from("# BGP reflector benchmark\n\n");
    if campaign.size == Size::Quick {
        text.push_str("Quick sizes: they show that everything works, and say nothing about speed.\n\n");
    }
    let _ = writeln!(
        text,
        "{}; {} interleaved runs, median (range). Not finished: a step took longer than {} s.\n",
        machine(),
        campaign.run_count,
        campaign.limit.as_secs()
    );
    for entrant in &campaign.contenders {
        let _ = writeln!(text, "- {}: {}", entrant.contender.name, entrant.version);
    }
    for result in &campaign.results {
        let _ = write!(text, "\n## {}\n\n{}.\n\n", result.name, capitalized(&result.about));
        text.push_str(&table(campaign, result));
        let _ = writeln!(text, "\n![{0}]({0}.svg)", result.name);
        for (entrant, row) in campaign.contenders.iter().zip(&result.rows) {
            if let Some(failure) = &row.failure {
                let _ = writeln!(text, "\n{}: {}", entrant.contender.name, failure.replace('\n', "; "));
            }
        }
    }
    text
}

fn table(campaign: &Campaign, result: &ScenarioResult) -> String {
    let mut text = String::from("| daemon |");
    result.columns.iter().for_each(|column| text.push_str(&format!(" {} |", column.title)));
    text.push_str(" others' CPU |\n|---|");
    text.push_str(&"---:|".repeat(result.columns.len() + 1));
    text.push('\n');
    for (entrant, row) in campaign.contenders.iter().zip(&result.rows) {
        let _ = write!(text, "| {} |", entrant.contender.name);
        for column in result.columns {
            let cell = Spread::of(row, column).map(|spread| spread.text(column.decimals));
            let missing = if row.failure.is_some() { "DNF" } else { "-" };
            let _ = write!(text, " {} |", cell.unwrap_or_else(|| missing.to_owned()));
        }
        let _ = writeln!(text, " {:.0}% |", row.foreign_share * 100.0);
    }
    text
}

fn json(campaign: &Campaign) -> Value {
    let scenarios = campaign.results.iter().map(|result| {
        let daemons = campaign.contenders.iter().zip(&result.rows).map(|(entrant, row)| {
            let figures = result.columns.iter().filter_map(|column| {
                let Spread { median, least, most } = Spread::of(row, column)?;
                let values: Vec<Option<f64>> = row.runs.iter().map(|run| value_of(run, column.key)).collect();
                let figure = json!({"median": median, "min": least, "max": most, "runs": values});
                Some((column.key.to_owned(), figure))
            });
            json!({
                "daemon": entrant.contender.name,
                "figures": figures.collect::<serde_json::Map<_, _>>(),
                "failure": row.failure,
                "others_cpu_share": row.foreign_share,
            })
        });
        json!({"scenario": result.name, "about": result.about, "results": daemons.collect::<Vec<_>>()})
    });
    let versions = campaign
        .contenders
        .iter()
        .map(|entrant| json!({"daemon": entrant.contender.name, "version": entrant.version}));
    json!({
        "machine": machine(),
        "quick": campaign.size == Size::Quick,
        "runs": campaign.run_count,
        "limit_secs": campaign.limit.as_secs(),
        "daemons": versions.collect::<Vec<_>>(),
        "scenarios": scenarios.collect::<Vec<_>>(),
    })
}

/// Processor, its count, memory and kernel.
fn machine() -> String {
    let field = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.split_once(':'));
        value.map_or_else(|| "?".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field("/proc/meminfo", "MemTotal");
    let kilobytes: u64 = memory.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} x {}, {} GiB, Linux {}",
        field("/proc/cpuinfo", "model name"),
        kilobytes >> 20,
        kernel.trim()
    )
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
