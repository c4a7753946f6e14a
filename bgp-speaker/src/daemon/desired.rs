//! The desired state of this daemon: what the file says, and what the admin API changed since.
//!
//! Every change goes through here, one at a time, so that a reload cannot undo half of a request. What the API
//! changed stays until the daemon ends or the API changes it back; a reload keeps it.

use super::Program;
use super::cluster::{DatastoreState, Model, ModelError, News};
use super::file::{FileConfig, FileError, Surroundings};
use super::handover::{self, Change, End, Handover, Seen};
use crate::cluster::etcd::{IsOurs, Registration};
use crate::cluster::registry::{NodeRecord, node_key};
use crate::config::{Announcement, NeighborId, NeighborRef, SpeakerConfig, Step, resolve};
use crate::speaker::{ApplyError, ChangeError, SpeakerHandle};
use crate::view::{HandoverView, PlanView};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;

/// One per daemon, behind a lock.
pub(crate) struct Desired {
    program: Program,
    path: Option<PathBuf>,
    handle: SpeakerHandle,
    in_force: FileConfig,
    /// What the datastore says, if there is one.
    model: Option<Model>,
    /// What the file and the datastore make of the speaker.
    base: SpeakerConfig,
    /// This node's own key in the datastore, if nodes have one there.
    registration: Option<Registration>,
    overlay: Overlay,
    /// What stays on top of all this, until others have taken its place.
    handover: Handover,
    handover_begins: Arc<Notify>,
    /// The addresses of the cluster's nodes, as of the last change of neighbours.
    members: BTreeSet<IpAddr>,
    started: Instant,
    changed_at: SystemTime,
}

/// What the admin API changed.
#[derive(Clone, Debug, Default)]
struct Overlay {
    /// `None`: withdrawn.
    announcements: BTreeMap<IpNet, Option<Announcement>>,
    /// Listed neighbours that were switched on or off.
    enabled: BTreeMap<NeighborId, bool>,
}

impl Overlay {
    fn apply_to(&self, config: &mut SpeakerConfig) {
        for (prefix, announcement) in &self.announcements {
            match announcement {
                Some(announcement) => config.announcements.insert(*prefix, announcement.clone()),
                None => config.announcements.remove(prefix),
            };
        }
        for (id, enabled) in &self.enabled {
            if let Some(neighbor) = config.neighbors.get_mut(id) {
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
    Model(#[from] ModelError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl Desired {
    /// `in_force` was read from `path`; the speaker behind `handle` was started with `base`, which `model` made of it.
    pub(crate) fn new(
        program: Program,
        path: Option<PathBuf>,
        handle: SpeakerHandle,
        in_force: FileConfig,
        model: Option<Model>,
        base: SpeakerConfig,
    ) -> Self {
        let members = model.as_ref().map(Model::members).unwrap_or_default();
        Self {
            program,
            path,
            handle,
            in_force,
            model,
            base,
            registration: None,
            overlay: Overlay::default(),
            handover: Handover::default(),
            handover_begins: Arc::default(),
            members,
            started: Instant::now(),
            changed_at: SystemTime::now(),
        }
    }

    /// Takes news of the datastore and makes it so. Where that cannot be, everything stays as it is.
    pub(crate) async fn update(&mut self, news: &News) -> Result<(), DesiredError> {
        let Some(model) = &mut self.model else { return Ok(()) };
        if !model.take(news) {
            return Ok(());
        }
        let base = model.settle(&self.in_force.speaker)?;
        if base != self.base {
            let limit = self.in_force.handover_time;
            self.move_to(base, limit).await?;
        }
        Ok(())
    }

    /// Makes this what the file and the datastore ask for. What it removes may stay for a while.
    async fn move_to(&mut self, base: SpeakerConfig, limit: Duration) -> Result<Vec<Step>, DesiredError> {
        let target = self.with_overlay(&base);
        let moved = self.handover_to(&target, limit).await?;
        let steps = match &moved {
            Some(handover) => self.handle.apply(handover.applied_to(target)).await?,
            None => self.handle.apply(target).await?,
        };
        if let Some(handover) = moved {
            self.handover = handover;
            if !self.handover.is_empty() {
                self.log_handover(limit);
                self.handover_begins.notify_one();
            }
        }
        if !self.base.neighbors.keys().eq(base.neighbors.keys()) {
            self.members = self.members_now();
        }
        self.base = base;
        self.changed_at = SystemTime::now();
        Ok(steps)
    }

    fn members_now(&self) -> BTreeSet<IpAddr> {
        self.model.as_ref().map(Model::members).unwrap_or_default()
    }

    /// What would stay on top of this target; `None`: nothing is removed.
    async fn handover_to(
        &self,
        target: &SpeakerConfig,
        limit: Duration,
    ) -> Result<Option<Handover>, DesiredError> {
        if !self.handover.is_concerned(&self.base, target) {
            return Ok(None);
        }
        let members = self.members_now();
        let old = self.with_overlay(&self.base);
        let change = Change { old: &old, new: target, members_before: &self.members, members: &members };
        let mut handover = self.handover.clone();
        let now = self.started.elapsed();
        handover.begin(&change, limit, now);
        if !handover.is_empty() {
            handover.advance(&self.seen(&handover).await?, limit, now);
        }
        Ok(Some(handover))
    }

    async fn seen(&self, handover: &Handover) -> Result<Seen, DesiredError> {
        let mut seen = Seen::of(&self.handle.neighbors().await.map_err(ApplyError::from)?);
        let covered = handover.to_be_covered();
        if !covered.is_empty() {
            seen.sole_routes = self.handle.sole_routes(covered).await.map_err(ApplyError::from)?;
        }
        Ok(seen)
    }

    /// Lets go what others have taken over. Answers whether something still stays.
    ///
    /// # Errors
    /// As [`Desired::update`].
    pub(crate) async fn advance(&mut self) -> Result<bool, DesiredError> {
        if self.handover.is_empty() {
            return Ok(false);
        }
        let limit = self.in_force.handover_time;
        let mut handover = self.handover.clone();
        let waited_for = self.handover.view(&self.base, limit, Duration::ZERO).map(|view| view.waits_for);
        let ended = handover.advance(&self.seen(&handover).await?, limit, self.started.elapsed());
        if !ended.is_empty() {
            let target = self.with_overlay(&self.base);
            self.handle.apply(handover.applied_to(target)).await?;
        }
        for (id, end) in &ended {
            let neighbor = handover::name(*id);
            match end {
                End::TakenOver => tracing::info!(neighbor, "others have taken its place"),
                End::Gone => tracing::info!(neighbor, "gone before others have taken its place"),
                End::TimeOver => {
                    let waited_for = waited_for.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
                    tracing::warn!(neighbor, waited_for, "held for long enough: it is as desired now");
                }
            }
        }
        self.handover = if handover.is_empty() { Handover::default() } else { handover };
        Ok(!self.handover.is_empty())
    }

    /// Woken when something stays.
    pub(crate) fn handover_begins(&self) -> Arc<Notify> {
        self.handover_begins.clone()
    }

    /// What stays for a while.
    pub(crate) fn handover(&self) -> Option<HandoverView> {
        self.handover.view(&self.base, self.in_force.handover_time, self.started.elapsed())
    }

    fn log_handover(&self, limit: Duration) {
        let Some(view) = self.handover.view(&self.base, limit, self.started.elapsed()) else { return };
        let neighbors: Vec<&str> = view.sessions.iter().map(|session| &*session.neighbor).collect();
        tracing::info!(
            sessions = neighbors.len(),
            neighbors = neighbors.join(", "),
            at_most_secs = view.at_most_secs,
            waits_for = view.waits_for.join(", "),
            "sessions stay until others have taken their place"
        );
    }

    /// When the file or the datastore last made the speaker what it is.
    pub(crate) fn changed_at(&self) -> SystemTime {
        self.changed_at
    }

    /// How the datastore is, if there is one.
    pub(crate) fn datastore(&mut self) -> Option<DatastoreState> {
        self.model.as_mut().map(Model::state)
    }

    /// Registers this node in the datastore, if nodes do that there.
    pub(crate) fn register(&mut self) {
        let Some(section) = &self.in_force.etcd else { return };
        let Some(record) = self.record() else { return };
        let time_to_live = Duration::from_secs(section.lease.into());
        let key = node_key(&section.node);
        let is_ours: IsOurs = |found, ours| {
            let records = NodeRecord::from_json(found).ok().zip(NodeRecord::from_json(ours.as_bytes()).ok());
            records.is_some_and(|(found, ours)| ours.is_of_same_node(&found))
        };
        let registration =
            Registration::start(section.options(), key, record.to_json(), time_to_live, is_ours);
        self.registration = Some(registration);
    }

    /// The registration, to be withdrawn.
    pub(crate) fn take_registration(&mut self) -> Option<Registration> {
        self.registration.take()
    }

    fn record(&self) -> Option<NodeRecord> {
        self.model.as_ref()?.record(&self.in_force.speaker)
    }

    /// The nodes that registered themselves; `None`: there is no registry.
    pub(crate) fn registered(&self) -> Option<&BTreeMap<String, NodeRecord>> {
        self.model.as_ref()?.registered()
    }

    /// Reads the file again and makes it so. On any error everything stays as it is.
    pub(crate) async fn reload(&mut self) -> Result<Reloaded, DesiredError> {
        let new = self.read()?;
        let after_restart = waiting_for_restart(&self.in_force, &new);
        let new = until_restart(&self.in_force, new);
        let base = self.base_of(&new)?;
        let steps = self.move_to(base, new.handover_time).await?;
        self.in_force = new;
        if let Some(model) = &mut self.model {
            // It has just been found to be possible; now it counts.
            _ = model.settle(&self.in_force.speaker);
        }
        if let (Some(registration), Some(record)) = (&self.registration, self.record()) {
            registration.set(record.to_json());
        }
        Ok(Reloaded { steps, after_restart })
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
        if self.base.announcements.contains_key(&prefix) {
            self.overlay.announcements.insert(prefix, None);
        } else {
            self.overlay.announcements.remove(&prefix);
        }
        Ok(was_there)
    }

    /// Switches a neighbour on or off.
    pub(crate) async fn set_enabled(
        &mut self,
        wanted: NeighborRef,
        enabled: bool,
    ) -> Result<(), DesiredError> {
        self.handle.set_enabled(wanted, enabled).await?;
        if !enabled && self.handover.drop_all(|id| wanted.matches(id)) {
            self.handle.apply(self.handover.applied_to(self.with_overlay(&self.base))).await?;
        }
        let Ok(id) = resolve(&self.base.neighbors, wanted) else { return Ok(()) };
        match self.base.neighbors.get(&id) {
            Some(neighbor) if neighbor.enabled != enabled => self.overlay.enabled.insert(id, enabled),
            _ => self.overlay.enabled.remove(&id),
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

    /// What the file and the datastore make of the speaker together.
    fn base_of(&self, file: &FileConfig) -> Result<SpeakerConfig, DesiredError> {
        match &self.model {
            Some(model) => Ok(model.desired(&file.speaker)?),
            None => Ok(file.speaker.clone()),
        }
    }

    fn with_overlay(&self, base: &SpeakerConfig) -> SpeakerConfig {
        let mut speaker = base.clone();
        self.overlay.apply_to(&mut speaker);
        speaker
    }

    async fn plan_for(&self, file: &FileConfig) -> Result<PlanView, DesiredError> {
        let base = self.base_of(&until_restart(&self.in_force, file.clone()))?;
        let speaker = self.with_overlay(&base);
        let limit = file.handover_time;
        let moved = self.handover_to(&speaker, limit).await?;
        let (next, handover) = match moved {
            Some(handover) => {
                let view = handover.view(&speaker, limit, self.started.elapsed());
                (handover.applied_to(speaker.clone()), view)
            }
            None => (speaker.clone(), None),
        };
        let steps = self.handle.plan(next).await?;
        let mut plan = PlanView::new(&node_name(file), &speaker, file.fib.is_some(), steps);
        plan.handover = handover;
        let after_restart = waiting_for_restart(&self.in_force, file);
        plan.after_restart = after_restart.into_iter().map(str::to_owned).collect();
        if let Some(model) = &self.model {
            model.describe(&mut plan, &file.speaker);
        }
        Ok(plan)
    }
}

/// Sections that differ, and take effect at the next start only.
fn waiting_for_restart(in_force: &FileConfig, new: &FileConfig) -> Vec<&'static str> {
    let sections = [
        ("admin", in_force.admin != new.admin),
        ("bird_status", in_force.bird_status != new.bird_status),
        ("fib", in_force.fib != new.fib),
        ("etcd", in_force.etcd != new.etcd),
    ];
    sections.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// What a new file can change without a restart. Sections that wait for one keep the values that are in force, so that
/// the next reload says so again.
fn until_restart(in_force: &FileConfig, mut new: FileConfig) -> FileConfig {
    if in_force.fib.is_some() && new.fib.is_none() {
        // The kernel is programmed still, and what other programs write there stays theirs.
        new.speaker.fib_rules.clone_from(&in_force.speaker.fib_rules);
    }
    FileConfig {
        admin: in_force.admin.clone(),
        bird_status: in_force.bird_status.clone(),
        fib: in_force.fib,
        etcd: in_force.etcd.clone(),
        ..new
    }
}

/// What this node is called in plans.
pub(crate) fn node_name(file: &FileConfig) -> String {
    match &file.etcd {
        Some(etcd) => etcd.node.clone(),
        None => Surroundings::of_this_host(Program::BgpSpeaker, PathBuf::new()).host_name,
    }
}

#[cfg(test)]
mod tests;
