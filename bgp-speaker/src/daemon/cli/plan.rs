//! `plan`: what would this file change, or what does the datastore ask for?

use super::client::{ClientError, with_query};
use super::output::{print, print_json};
use super::{Failure, Program, ReadArgs};
use crate::config::{SpeakerConfig, diff};
use crate::daemon::advice::io_text;
use crate::daemon::cluster::{Model, Sources};
use crate::daemon::desired::node_name;
use crate::daemon::file::{EtcdSection, FileConfig};
use crate::daemon::human::{count, handover};
use crate::view::PlanView;
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A datastore that does not answer for so long is not there.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The file in question; without it, the daemon's own file as it is now
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    read: ReadArgs,
}

pub(super) async fn plan(program: Program, args: &PlanArgs) -> Result<(), Failure> {
    let plan = match &args.config {
        None => args.read.daemon.client().get("/v1/plan").await?,
        Some(path) => plan_file(program, args, path).await?,
    };
    if args.read.json { print_json(&plan) } else { print(&render(&plan)) }
}

/// Asks the daemon; without one, the plan is that of a first start.
async fn plan_file(program: Program, args: &PlanArgs, path: &Path) -> Result<PlanView, Failure> {
    // Read here first: mistakes are then found without a daemon too, and with the name that the user knows.
    let file = FileConfig::load(path, program).map_err(|error| Failure::Invalid(error.to_string()))?;
    let cannot_read = |error| Failure::Failed(format!("cannot read {}: {}", path.display(), io_text(&error)));
    let text = std::fs::read_to_string(path).map_err(cannot_read)?;
    let absolute = std::path::absolute(path).map_err(cannot_read)?;
    let target = with_query("/v1/plan", [("file", absolute.display().to_string())]);
    match args.read.daemon.client().post(&target, text).await {
        Err(ClientError::Unreachable { socket, reason }) => {
            eprintln!(
                "note: no daemon at {} ({reason}): this is the plan of a first start",
                socket.display()
            );
            match &file.etcd {
                Some(section) => from_datastore(section, &file).await,
                None => Ok(first_start(&file, &file.speaker)),
            }
        }
        answer => Ok(answer?),
    }
}

/// The same of a node that has its neighbours from a datastore, which is read once; nothing is written anywhere. What is
/// wrong with the data is noted.
async fn from_datastore(section: &EtcdSection, file: &FileConfig) -> Result<PlanView, Failure> {
    let mut model = Model::new(section);
    let mut sources = Sources::without_cache(section, &model);
    let read = sources.read_once(&mut model, &file.speaker, READ_TIMEOUT).await;
    let config = read.map_err(|error| Failure::Failed(format!("there is no plan: {error}")))?;
    for problem in model.state().view().invalid {
        eprintln!("note: {}: {}", problem.key, problem.reason);
    }
    let mut plan = first_start(file, &config);
    model.describe(&mut plan, &file.speaker);
    Ok(plan)
}

fn first_start(file: &FileConfig, config: &SpeakerConfig) -> PlanView {
    let nothing = SpeakerConfig {
        neighbors: Default::default(),
        listen_ranges: Vec::new(),
        announcements: Default::default(),
        filters: Default::default(),
        fib_rules: Default::default(),
        kernel_import: None,
        ..config.clone()
    };
    PlanView::new(&node_name(file), config, file.fib.is_some(), diff(&nothing, config))
}

fn render(plan: &PlanView) -> String {
    let waiting = plan.after_restart.iter().map(|section| {
        format!(
            "note: [{section}] is not the running daemon's: what it asks for takes effect at the next start\n"
        )
    });
    let waiting: String = waiting.collect();
    if plan.steps.is_empty() {
        return format!("nothing to change\n{waiting}");
    }
    let mut text: String = plan.steps.iter().map(|step| format!("{step}\n")).collect();
    let resets =
        plan.steps.iter().filter(|step| step.action == crate::config::StepAction::ResetSession).count();
    text.push_str(&format!("{}, {}\n", count(plan.steps.len(), "step"), count(resets, "session reset")));
    if let Some(held) = &plan.handover {
        text.push_str(&format!("{}\n", handover(held)));
    }
    text.push_str(&waiting);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::file::Surroundings;

    #[test]
    fn a_first_start_adds_everything() {
        let surroundings = Surroundings::of_this_host(Program::BgpSpeaker, PathBuf::new());
        let text = "router_id = \"10.0.0.1\"\nneighbors = [{ address = \"10.0.0.2\" }]\n\
                    announce.blocks = [\"192.168.1.0/26\"]\n";
        let file = FileConfig::parse(text, "bgp.toml", &surroundings).unwrap();
        let plan = first_start(&file, &file.speaker);
        assert_eq!(
            render(&plan),
            "add-session 10.0.0.2\nannounce 192.168.1.0/26\n2 steps, 0 session resets\n"
        );
        let after_restart = vec!["etcd".to_owned()];
        let plan = PlanView { steps: Vec::new(), after_restart, ..plan };
        assert_eq!(
            render(&plan),
            "nothing to change\nnote: [etcd] is not the running daemon's: what it asks for takes effect at the next start\n"
        );
        let plan = PlanView { after_restart: Vec::new(), ..plan };
        assert_eq!(render(&plan), "nothing to change\n");
    }
}
