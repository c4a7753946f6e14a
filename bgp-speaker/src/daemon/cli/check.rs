//! `check`: is this file right?

use super::output::{print, print_json};
use super::{Failure, Program};
use crate::daemon::file::{FileConfig, FileError, Problem};
use crate::daemon::human::count;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The file to check
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print every value in force as TOML, defaults included
    #[arg(long, conflicts_with = "json")]
    effective: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The answer for programs.
#[derive(Serialize)]
struct Verdict<'a> {
    valid: bool,
    problems: &'a [Problem],
}

pub(super) fn check(program: Program, args: &CheckArgs) -> Result<(), Failure> {
    let checked = FileConfig::load(&args.config, program);
    if args.json {
        let problems = match &checked {
            Err(FileError::Invalid(problems)) => problems.as_slice(),
            _ => &[],
        };
        print_json(&Verdict { valid: checked.is_ok(), problems })?;
    }
    let config = checked.map_err(|error| Failure::Invalid(error.to_string()))?;
    if args.effective {
        print(&config.effective())?;
    } else if !args.json {
        print(&format!("{}: {}\n", args.config.display(), summary(&config)))?;
    }
    for note in &config.notes {
        eprintln!("note: {note}");
    }
    Ok(())
}

fn summary(config: &FileConfig) -> String {
    let speaker = &config.speaker;
    format!(
        "valid: AS {}, router id {}, {}, {}, {}",
        speaker.asn,
        speaker.router_id,
        count(speaker.neighbors.len(), "neighbour"),
        count(speaker.listen_ranges.len(), "listen range"),
        count(speaker.announcements.len(), "announcement"),
    )
}
