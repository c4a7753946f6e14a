//! The desired state of this daemon: what the file says, and what the admin API changed since.
//!
//! Every change goes through here, one at a time, so that a reload cannot undo half of a request. What the API
//! changed stays until the daemon ends or the API changes it back; a reload keeps it.

use super::Program;
use super::file::{FibSection, FileConfig, FileError, Surroundings};
use crate::config::{Announcement, SpeakerConfig, Step};
use crate::speaker::{ApplyError, QueryError, SpeakerHandle};
use crate::view::PlanView;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// One per daemon, behind a lock.
pub(crate) struct Desired {
    program: Program,
    path: Option<PathBuf>,
    handle: SpeakerHandle,
    in_force: FileConfig,
    overlay: Overlay,
}

/// What the admin API changed.
#[derive(Clone, Debug, Default)]
struct Overlay {
    /// `None`: withdrawn.
    announcements: BTreeMap<IpNet, Option<Announcement>>,
    /// Listed neighbours that were switched on or off.
    enabled: BTreeMap<IpAddr, bool>,
}

impl Overlay {
    fn apply_to(&self, config: &mut SpeakerConfig) {
        for (prefix, announcement) in &self.announcements {
            match announcement {
                Some(announcement) => config.announcements.insert(*prefix, announcement.clone()),
                None => config.announcements.remove(prefix),
            };
        }
        for (address, enabled) in &self.enabled {
            if let Some(neighbor) = config.neighbors.get_mut(address) {
                neighbor.enabled = *enabled;
            }
        }
    }
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Reloaded {
    /// Done, in this order.
    pub(crate) steps: Vec<Step>,
    /// Sections that changed and take effect at the next start only.
    pub(crate) after_restart: Vec<&'static str>,
}

impl Reloaded {
    /// Tells the log; the speaker has told each step already.
    pub(crate) fn log(&self) {
        for section in &self.after_restart {
            tracing::warn!("[{section}] has changed: that takes effect at the next start");
        }
        tracing::info!(steps = self.steps.len(), "reloaded");
    }
}

/// Why the desired state could not be changed. The operator is at fault, unless the speaker has stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DesiredError {
    #[error("this daemon was started without a file; start it with --config FILE to be able to reload")]
    NoFile,
    #[error(
        "{} is empty, which would remove every neighbour; write it under another name and rename it into place, \
         and to leave for good use `drain`",
        .0.display()
    )]
    EmptyFile(PathBuf),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Query(#[from] QueryError),
}

impl Desired {
    /// `in_force` is what the speaker behind `handle` was started with, read from `path`.
    pub(crate) fn new(
        program: Program,
        path: Option<PathBuf>,
        handle: SpeakerHandle,
        in_force: FileConfig,
    ) -> Self {
        Self { program, path, handle, in_force, overlay: Overlay::default() }
    }

    /// Reads the file again and makes it so. On any error everything stays as it is.
    pub(crate) async fn reload(&mut self) -> Result<Reloaded, DesiredError> {
        let new = self.read()?;
        let steps = self.handle.apply(self.with_overlay(&new)).await?;
        let old = &self.in_force;
        let after_restart =
            [("admin", old.admin != new.admin), ("fib", old.fib != new.fib), ("etcd", old.etcd != new.etcd)];
        let after_restart = after_restart.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name);
        let reloaded = Reloaded { steps, after_restart: after_restart.collect() };
        // Sections that wait for a restart keep the values that are in force, so that the next reload says so again.
        self.in_force =
            FileConfig { admin: old.admin.clone(), fib: old.fib.clone(), etcd: old.etcd.clone(), ..new };
        Ok(reloaded)
    }

    /// What a reload would do.
    pub(crate) async fn plan(&self) -> Result<PlanView, DesiredError> {
        let new = if self.path.is_some() { self.read()? } else { self.in_force.clone() };
        self.plan_for(&new).await
    }

    /// What this text would do as the file; `name` is the path that it has or would have.
    pub(crate) async fn plan_text(&self, name: &str, text: &str) -> Result<PlanView, DesiredError> {
        let directory = Path::new(name).parent().unwrap_or(Path::new("")).to_owned();
        let surroundings = Surroundings::of_this_host(self.program, directory);
        self.plan_for(&FileConfig::parse(text, name, &surroundings)?).await
    }

    /// Originates a prefix.
    pub(crate) async fn announce(&mut self, announcement: Announcement) -> Result<(), DesiredError> {
        self.handle.announce(announcement.clone()).await?;
        self.overlay.announcements.insert(announcement.prefix, Some(announcement));
        Ok(())
    }

    /// Originates a prefix no longer. Answers whether it was originated.
    pub(crate) async fn withdraw(&mut self, prefix: IpNet) -> Result<bool, DesiredError> {
        let was_there = self.handle.withdraw(prefix).await?;
        if self.in_force.speaker.announcements.contains_key(&prefix) {
            self.overlay.announcements.insert(prefix, None);
        } else {
            self.overlay.announcements.remove(&prefix);
        }
        Ok(was_there)
    }

    /// Switches a neighbour on or off.
    pub(crate) async fn set_enabled(&mut self, address: IpAddr, enabled: bool) -> Result<(), DesiredError> {
        self.handle.set_enabled(address, enabled).await?;
        match self.in_force.speaker.neighbors.get(&address) {
            Some(neighbor) if neighbor.enabled != enabled => self.overlay.enabled.insert(address, enabled),
            _ => self.overlay.enabled.remove(&address),
        };
        Ok(())
    }

    fn read(&self) -> Result<FileConfig, DesiredError> {
        let path = self.path.as_deref().ok_or(DesiredError::NoFile)?;
        // Most likely caught between being emptied and being written.
        if std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0) {
            return Err(DesiredError::EmptyFile(path.to_owned()));
        }
        Ok(FileConfig::load(path, self.program)?)
    }

    fn with_overlay(&self, file: &FileConfig) -> SpeakerConfig {
        let mut speaker = file.speaker.clone();
        self.overlay.apply_to(&mut speaker);
        speaker
    }

    async fn plan_for(&self, file: &FileConfig) -> Result<PlanView, DesiredError> {
        let speaker = self.with_overlay(file);
        let steps = self.handle.plan(speaker.clone()).await?;
        Ok(PlanView::new(&node_name(file), &speaker, file.fib.as_ref().map(FibSection::planned), steps))
    }
}

/// What this node is called in plans.
pub(crate) fn node_name(file: &FileConfig) -> String {
    match &file.etcd {
        Some(etcd) => etcd.node.clone(),
        None => Surroundings::of_this_host(Program::BgpSpeaker, PathBuf::new()).host_name,
    }
}
