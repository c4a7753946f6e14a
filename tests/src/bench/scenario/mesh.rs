//! A full mesh in one process, through the library. Only this project's speaker can do so.

use std::process::Command;
use std::time::Duration;

use super::stage::mib;
use super::{Column, Run, Scenario, Size, Stage, column, plotted};
use crate::bench::daemons::Contender;
use crate::bench::mesh::{CONVERGED, Mesh};
use crate::error::LabError;
use crate::process::{Process, log_tail};
use crate::wait::wait_until;

/// The scenario.
pub struct FullMesh {
    mesh: Mesh,
}

const COLUMNS: &[Column] = &[
    plotted("converged_secs", "converged s", 2),
    plotted("cpu_secs", "CPU s", 2),
    plotted("peak_mib", "peak MiB", 0),
    column("settled_mib", "settled MiB", 0),
    column("kib_per_session", "KiB per session", 1),
];

impl FullMesh {
    /// 100 speakers, or fewer.
    #[must_use]
    pub fn new(size: Size) -> FullMesh {
        FullMesh { mesh: Mesh { speaker_count: size.pick(20, 100), per_speaker: 10 } }
    }
}

impl Scenario for FullMesh {
    fn about(&self) -> String {
        format!(
            "{} speakers with {} blocks each in one process, {} sessions, from the start of the process",
            self.mesh.speaker_count,
            self.mesh.per_speaker,
            self.mesh.session_count()
        )
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn suits(&self, contender: &Contender) -> bool {
        contender.is_ours()
    }

    fn run(&self, run: &mut Run<'_>) -> Result<(), LabError> {
        let Mesh { speaker_count, per_speaker } = self.mesh;
        let start = |site: &crate::bench::site::Site| {
            let this = std::env::current_exe().map_err(LabError::io("finding this executable"))?;
            let mut command = Command::new(this);
            command.arg(MESH_WORD).arg(speaker_count.to_string()).arg(per_speaker.to_string());
            Process::spawn(&site.namespace, "mesh", &site.folder.join("daemon.log"), command)
        };
        run.on_stage_with(speaker_count, start, |stage| self.play(stage))
    }
}

/// The first argument that makes this program the process with the mesh; its size follows.
pub const MESH_WORD: &str = "mesh-process";

impl FullMesh {
    fn play(&self, stage: &mut Stage<'_>) -> Result<(), LabError> {
        let mark = stage.mark();
        let log = stage.site.folder.join("daemon.log");
        wait_until("the mesh to converge", stage.limit, || {
            let said = log_tail(&log, 3);
            // A process that has ended will not converge.
            match stage.must_run() {
                Err(ended) => Ok(Err(ended)),
                Ok(()) if said.contains(CONVERGED) => Ok(Ok(())),
                Ok(()) => Err(said),
            }
        })??;
        let cost = stage.since(&mark);
        std::thread::sleep(Duration::from_secs(2));
        let memory = stage.memory();
        stage.note("converged_secs", cost.wall);
        stage.note("cpu_secs", cost.cpu);
        stage.note("peak_mib", mib(memory.peak_bytes));
        stage.note("settled_mib", mib(memory.settled_bytes));
        stage.note("kib_per_session", mib(memory.settled_bytes) * 1024.0 / self.mesh.session_count() as f64);
        Ok(())
    }
}
