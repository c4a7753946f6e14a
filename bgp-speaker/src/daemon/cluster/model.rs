//! The data model of a datastore, and this node in it.

use super::News;
use super::state::{DatastoreState, Problems};
use crate::cluster::calico::{self, LocalNode, PlanError, Snapshot};
use crate::cluster::folder::{FileContent, FolderNews};
use crate::cluster::kubernetes::SourceNews;
use crate::cluster::registry::{LocalRecord, NODES_PREFIX, NodeRecord, Registry, RegistryError};
use crate::cluster::{Problem, Update};
use crate::config::filter::{Condition, Filter, RouteSource, Rule, Then};
use crate::config::{PolicyRef, SpeakerConfig, at_address};
use crate::daemon::file::{EtcdModel, EtcdSection};
use crate::view::PlanView;
use calico::Effect;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// What the sources hold, as far as it concerns this node, and whether they can be followed.
pub(crate) struct Model {
    data: Data,
    is_up: bool,
    error: Option<Arc<str>>,
    kubernetes: Option<Side>,
    endpoint_status: Option<Side>,
    /// Of the last plan that counts.
    plan_problems: Vec<Problem>,
    /// `None`: something has changed since they were put together.
    problems: Option<Arc<Problems>>,
}

enum Data {
    Calico(Box<Snapshot>, LocalNode),
    Registry(Registry, LocalRecord),
}

/// A source beside the datastore.
#[derive(Debug)]
struct Side {
    /// What it is, for messages.
    name: String,
    has_been_read: bool,
    error: Option<String>,
    problems: Vec<Problem>,
}

impl Side {
    fn new(what: &str, path: &Path) -> Self {
        let name = format!("{what} in {}", path.display());
        Self { name, has_been_read: false, error: None, problems: Vec::new() }
    }

    /// It can be read, and this is wrong with it.
    fn is_read(&mut self, problems: Vec<Problem>) {
        (self.has_been_read, self.error, self.problems) = (true, None, problems);
    }

    fn problems(&self) -> impl Iterator<Item = Problem> {
        let own = self.error.iter().map(|reason| Problem::new("Source", self.name.clone(), reason.clone()));
        own.chain(self.problems.iter().cloned())
    }

    fn awaited(&self) -> Result<(), ModelError> {
        if self.has_been_read {
            return Ok(());
        }
        let why = self.error.as_ref().map(|reason| format!(": {reason}"));
        Err(ModelError::NotRead { what: format!("{}{}", self.name, why.unwrap_or_default()) })
    }
}

/// The data do not say what this node is to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ModelError {
    /// What half of the data say would withdraw the rest.
    #[error("not read yet: {what}")]
    NotRead { what: String },
    #[error(transparent)]
    Calico(#[from] PlanError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the datastore asks for what no speaker can be: {0}")]
    Invalid(String),
}

impl Model {
    /// Knows nothing yet.
    pub(crate) fn new(section: &EtcdSection) -> Self {
        let data = match section.model {
            EtcdModel::Calico => Data::Calico(Box::default(), section.local.clone()),
            EtcdModel::Registry => Data::Registry(Registry::default(), section.local_record()),
        };
        let side = |what, path: &Option<_>| path.as_deref().map(|path| Side::new(what, path));
        Self {
            data,
            is_up: false,
            error: None,
            kubernetes: side("Kubernetes objects", &section.kubernetes_folder),
            endpoint_status: side("endpoint status", &section.endpoint_status_folder),
            plan_problems: Vec::new(),
            problems: None,
        }
    }

    /// What is to be watched.
    pub(crate) fn prefixes(&self) -> Vec<String> {
        match &self.data {
            Data::Calico(_, local) => Snapshot::prefixes(&local.name, true),
            Data::Registry(..) => vec![NODES_PREFIX.to_owned()],
        }
    }

    /// Takes news. Answers whether [`Model::desired`] may be different now.
    pub(crate) fn take(&mut self, news: &News) -> bool {
        let was_read = self.is_read().is_ok();
        self.problems = None;
        let is_changed = match news {
            News::Datastore(update) => {
                (self.is_up, self.error) = match update {
                    Update::Down { reason } => (false, Some(reason.as_str().into())),
                    Update::Listed { .. } | Update::Changed { .. } => (true, None),
                };
                self.restore(update)
            }
            News::Kubernetes(news) => self.take_kubernetes(news),
            News::EndpointStatus(news) => self.take_endpoint_status(news),
        };
        is_changed || was_read != self.is_read().is_ok()
    }

    /// Takes data that are not news.
    pub(crate) fn restore(&mut self, update: &Update) -> bool {
        self.problems = None;
        match &mut self.data {
            Data::Calico(snapshot, _) => update_snapshot(snapshot, update),
            Data::Registry(registry, _) => registry.update(update),
        }
    }

    fn take_kubernetes(&mut self, news: &Result<SourceNews, String>) -> bool {
        let (Some(side), Data::Calico(snapshot, _)) = (&mut self.kubernetes, &mut self.data) else {
            return false;
        };
        match news {
            Ok(SourceNews { changes, problems }) => {
                side.is_read(problems.clone());
                changes
                    .iter()
                    .fold(Effect::None, |effect, change| effect.and(snapshot.apply_kubernetes(change)))
                    == Effect::Changed
            }
            Err(reason) => {
                side.error = Some(reason.clone());
                false
            }
        }
    }

    fn take_endpoint_status(&mut self, news: &FolderNews) -> bool {
        let (Some(side), Data::Calico(snapshot, _)) = (&mut self.endpoint_status, &mut self.data) else {
            return false;
        };
        match news {
            FolderNews::Changed(files) => {
                side.is_read(Vec::new());
                let changed = files.iter().fold(Effect::None, |effect, file| {
                    effect.and(match &file.content {
                        FileContent::Gone => snapshot.delete_endpoint_status(&file.name),
                        FileContent::Is(json) => snapshot.put_endpoint_status(&file.name, json),
                        FileContent::Unreadable(reason) => {
                            snapshot.endpoint_status_unreadable(&file.name, reason);
                            Effect::None
                        }
                    })
                });
                changed == Effect::Changed
            }
            FolderNews::Unreadable { reason } => {
                side.error = Some(format!("{reason}; what was read last stays in force"));
                false
            }
        }
    }

    /// What the speaker is to be, given what the file says.
    ///
    /// # Errors
    /// The data do not say.
    pub(crate) fn desired(&self, base: &SpeakerConfig) -> Result<SpeakerConfig, ModelError> {
        self.evaluate(base).map(|(config, _)| config)
    }

    /// The same for the speaker itself: what is wrong with the plan is told from now on.
    ///
    /// # Errors
    /// As [`Model::desired`].
    pub(crate) fn settle(&mut self, base: &SpeakerConfig) -> Result<SpeakerConfig, ModelError> {
        let evaluated = self.evaluate(base);
        self.problems = None;
        match evaluated {
            Ok((config, problems)) => {
                self.plan_problems = problems;
                Ok(config)
            }
            Err(error) => {
                let node = match &self.data {
                    Data::Calico(_, local) => &local.name,
                    Data::Registry(_, local) => &local.name,
                };
                let reason = format!("{error}; everything stays as it was");
                self.plan_problems = vec![Problem::new("Node", node, reason)];
                Err(error)
            }
        }
    }

    fn evaluate(&self, base: &SpeakerConfig) -> Result<(SpeakerConfig, Vec<Problem>), ModelError> {
        self.is_read()?;
        let (config, problems) = match &self.data {
            Data::Calico(snapshot, local) => {
                let plan = calico::plan(snapshot, local)?;
                (on_top_of(base, plan.speaker_config()), plan.problems)
            }
            Data::Registry(registry, local) => registry.plan(local, base)?,
        };
        let invalid = config.problems();
        if invalid.is_empty() {
            return Ok((config, problems));
        }
        let texts: Vec<String> = invalid.iter().map(ToString::to_string).collect();
        Err(ModelError::Invalid(texts.join("; ")))
    }

    /// All sources must have been read once: what is missing would look like what is gone.
    fn is_read(&self) -> Result<(), ModelError> {
        if self.revision() == 0 {
            let why = self.error.as_ref().map(|reason| format!(": {reason}"));
            return Err(ModelError::NotRead { what: format!("the datastore{}", why.unwrap_or_default()) });
        }
        self.kubernetes.iter().chain(&self.endpoint_status).try_for_each(Side::awaited)
    }

    /// Says in a plan what the datastore calls things: why prefixes are originated, with which communities, and which
    /// filters sessions have. What the file says of a neighbour or a prefix is not the datastore's.
    pub(crate) fn describe(&self, view: &mut PlanView, file: &SpeakerConfig) {
        let Data::Calico(snapshot, local) = &self.data else { return };
        let Ok(plan) = calico::plan(snapshot, local) else { return };
        let own = plan.view(Vec::new());
        let mut originations: BTreeMap<_, _> =
            own.originate.into_iter().map(|one| (one.prefix, one)).collect();
        for planned in &mut view.originate {
            if file.announcements.contains_key(&planned.prefix) {
                continue;
            }
            if let Some(origination) = originations.remove(&planned.prefix) {
                planned.kind = origination.kind;
                planned.communities = origination.communities;
                planned.large_communities = origination.large_communities;
            }
        }
        let mut sessions: BTreeMap<_, _> =
            own.sessions.into_iter().map(|one| ((one.name.clone(), one.address.clone()), one)).collect();
        for planned in &mut view.sessions {
            if let Some(session) = sessions.remove(&(planned.name.clone(), planned.address.clone())) {
                planned.import = session.import;
                planned.export = session.export;
            }
        }
    }

    /// What this node is to register, if its model has nodes register themselves.
    pub(crate) fn record(&self, base: &SpeakerConfig) -> Option<NodeRecord> {
        match &self.data {
            Data::Calico(..) => None,
            Data::Registry(_, local) => local.record(base).ok(),
        }
    }

    /// The nodes that registered themselves; `None`: the model has none such.
    pub(crate) fn registered(&self) -> Option<&BTreeMap<String, NodeRecord>> {
        match &self.data {
            Data::Calico(..) => None,
            Data::Registry(registry, _) => Some(registry.nodes()),
        }
    }

    /// The addresses of all nodes of the cluster.
    pub(crate) fn members(&self) -> BTreeSet<IpAddr> {
        match &self.data {
            Data::Calico(snapshot, _) => snapshot.node_addresses().collect(),
            Data::Registry(registry, _) => {
                registry.nodes().values().flat_map(|record| record.addresses.iter().copied()).collect()
            }
        }
    }

    /// How it is. The problems are put together once for each change.
    pub(crate) fn state(&mut self) -> DatastoreState {
        let problems = match self.problems.take() {
            Some(problems) => problems,
            None => Arc::new(Problems::new(self.all_problems())),
        };
        self.problems = Some(problems.clone());
        DatastoreState { is_up: self.is_up, revision: self.revision(), error: self.error.clone(), problems }
    }

    fn all_problems(&self) -> Vec<Problem> {
        let of_data = match &self.data {
            Data::Calico(snapshot, _) => snapshot.problems(),
            Data::Registry(registry, _) => registry.problems(),
        };
        let sides = self.kubernetes.iter().chain(&self.endpoint_status).flat_map(Side::problems);
        of_data.into_iter().chain(sides).chain(self.plan_problems.iter().cloned()).collect()
    }

    fn revision(&self) -> i64 {
        match &self.data {
            Data::Calico(snapshot, _) => snapshot.revision(),
            Data::Registry(registry, _) => registry.revision(),
        }
    }
}

fn update_snapshot(snapshot: &mut Snapshot, update: &Update) -> bool {
    use calico::Listing;
    let effect = match update {
        Update::Listed { entries, revision } => {
            let mut listing = Listing::default();
            for entry in entries {
                let value = entry.value.as_deref().unwrap_or_default();
                snapshot.put_listed(&mut listing, &entry.key, value, entry.revision);
            }
            snapshot.finish_listing(listing, *revision)
        }
        Update::Changed { changes, .. } => changes.iter().fold(Effect::None, |effect, entry| {
            effect.and(match &entry.value {
                Some(value) => snapshot.put(&entry.key, value, entry.revision),
                None => snapshot.delete(&entry.key, entry.revision),
            })
        }),
        Update::Down { .. } => Effect::None,
    };
    effect == Effect::Changed
}

/// The datastore says who the node is and with whom it speaks; what the file lists comes in addition, and first.
fn on_top_of(base: &SpeakerConfig, derived: SpeakerConfig) -> SpeakerConfig {
    let mut config = derived;
    config.graceful_restart = base.graceful_restart;
    config.neighbors.retain(|id, _| at_address(&base.neighbors, id.address).next().is_none());
    config.neighbors.extend(base.neighbors.clone());
    config.listen_ranges.clone_from(&base.listen_ranges);
    config.announcements.extend(base.announcements.clone());
    config.filters.extend(base.filters.clone());
    config.fib_rules.pools.extend(base.fib_rules.pools.clone());
    config.fib_rules.next_hops_max = base.fib_rules.next_hops_max.or(config.fib_rules.next_hops_max);
    match &base.kernel_import {
        Some(import) => config.kernel_import = Some(import.clone()),
        None if config.kernel_import.is_some() => keep_kernel_from(base, &mut config),
        None => {}
    }
    config
}

/// Neighbours of the file without a filter are told what they would be told if nothing were taken from the kernel: the
/// host's own routes, perhaps its default route, are in there now.
fn keep_kernel_from(base: &SpeakerConfig, config: &mut SpeakerConfig) {
    let neighbors = config.neighbors.iter_mut().filter(|(id, _)| base.neighbors.contains_key(id));
    let of_neighbors = neighbors.map(|(_, neighbor)| &mut neighbor.options.export);
    let of_ranges = config.listen_ranges.iter_mut().map(|range| &mut range.options.export);
    for export in of_neighbors.chain(of_ranges).filter(|export| **export == PolicyRef::Accept) {
        *export = PolicyRef::Filters(vec![NOT_FROM_KERNEL.to_owned()]);
    }
    let rule = Rule::new(Then::Reject).when(Condition::Source(RouteSource::Kernel));
    let filter = Filter { rules: vec![rule], default: Then::Next };
    config.filters.insert(NOT_FROM_KERNEL.to_owned(), Arc::new(filter));
}

/// No filter of a file can be called so.
const NOT_FROM_KERNEL: &str = "file/not-from-the-kernel";
