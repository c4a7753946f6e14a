//! The benchmark program: every scenario with every daemon, in turn, and a report. `cargo xtask bench` builds and runs it.

mod arguments;
mod campaign;
mod plot;
mod progress;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use arguments::{Arguments, USAGE};
use bgp_lab::bench::mesh::Mesh;
use bgp_lab::bench::scenario::MESH_WORD;
use bgp_lab::load::raise_file_limit;
use campaign::Campaign;

/// Sockets of 2000 clients, here and in the daemon, with room.
const FILE_LIMIT: u64 = 20_000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    raise_file_limit(FILE_LIMIT);
    if let [word, speakers, blocks] = &words[..]
        && word == MESH_WORD
    {
        return run_mesh(speakers, blocks);
    }
    let arguments = match Arguments::parse(&words) {
        Ok(arguments) => arguments,
        Err(complaint) => {
            eprintln!("{complaint}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut campaign = Campaign::new(&arguments);
    if let Err(error) = campaign.run() {
        eprintln!("{error}");
        return ExitCode::from(2);
    }
    let folder = report_folder();
    match report::write(&folder, &campaign, arguments.is_json) {
        Ok(()) if campaign.has_failure_of_ours() => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The process that the scenario `mesh` measures.
fn run_mesh(speakers: &str, blocks: &str) -> ExitCode {
    let (Ok(speaker_count), Ok(per_speaker)) = (speakers.parse(), blocks.parse()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let Err(error) = (Mesh { speaker_count, per_speaker }).run() else { return ExitCode::SUCCESS };
    eprintln!("{error}");
    ExitCode::FAILURE
}

/// `bench` beside the folder of this executable (`target/release/bench` makes it `target/bench`).
fn report_folder() -> PathBuf {
    let this = std::env::current_exe().ok();
    let target = this.as_deref().and_then(|path| path.ancestors().nth(2));
    target.map_or_else(|| PathBuf::from("bench"), |target| target.join("bench"))
}
