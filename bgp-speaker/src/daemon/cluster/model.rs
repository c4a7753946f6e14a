//! The data model of a datastore, and this node in it.

use super::view;
use crate::cluster::calico::{self, LocalNode, PlanError, Snapshot};
use crate::cluster::registry::{LocalRecord, NODES_PREFIX, NodeRecord, Registry, RegistryError};
use crate::cluster::{Problem, Update};
use crate::config::{SpeakerConfig, at_address};
use crate::daemon::file::{EtcdModel, EtcdSection};
use crate::view::DatastoreView;
use std::collections::BTreeMap;

/// What the datastore holds, as far as it concerns this node, and whether it can be followed.
pub(crate) struct Model {
    data: Data,
    is_up: bool,
    error: Option<String>,
}

enum Data {
    Calico(Box<Snapshot>, LocalNode),
    Registry(Registry, LocalRecord),
}

/// The data do not say what this node is to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ModelError {
    #[error("the datastore has not been read yet")]
    NotRead,
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
            EtcdModel::Calico => {
                let router_id = section.router_id.unwrap_or_default();
                let local = LocalNode { router_id, ..LocalNode::named(&section.node) };
                Data::Calico(Box::default(), local)
            }
            EtcdModel::Registry => Data::Registry(Registry::default(), section.local_record()),
        };
        Self { data, is_up: false, error: None }
    }

    /// What is to be watched.
    pub(crate) fn prefixes(&self) -> Vec<String> {
        match &self.data {
            Data::Calico(_, local) => Snapshot::prefixes(&local.name, true),
            Data::Registry(..) => vec![NODES_PREFIX.to_owned()],
        }
    }

    /// Takes news. Answers whether [`Model::desired`] may be different now.
    pub(crate) fn update(&mut self, update: &Update) -> bool {
        match update {
            Update::Down { reason } => (self.is_up, self.error) = (false, Some(reason.clone())),
            Update::Listed { .. } | Update::Changed { .. } => (self.is_up, self.error) = (true, None),
        }
        self.restore(update)
    }

    /// Takes data that are not news.
    pub(crate) fn restore(&mut self, update: &Update) -> bool {
        match &mut self.data {
            Data::Calico(snapshot, _) => update_snapshot(snapshot, update),
            Data::Registry(registry, _) => registry.update(update),
        }
    }

    /// What the speaker is to be, given what the file says.
    ///
    /// # Errors
    /// The data do not say.
    pub(crate) fn desired(&self, base: &SpeakerConfig) -> Result<SpeakerConfig, ModelError> {
        if self.revision() == 0 {
            return Err(ModelError::NotRead);
        }
        let config = match &self.data {
            Data::Calico(snapshot, local) => on_top_of(base, calico::plan(snapshot, local)?.speaker_config()),
            Data::Registry(registry, local) => registry.plan(local, base)?.0,
        };
        let problems = config.problems();
        if problems.is_empty() {
            return Ok(config);
        }
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Err(ModelError::Invalid(texts.join("; ")))
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

    /// For `status`.
    pub(crate) fn view(&self, base: &SpeakerConfig) -> DatastoreView {
        view(self.is_up, self.revision(), self.error.clone(), self.problems(base))
    }

    fn problems(&self, base: &SpeakerConfig) -> Vec<Problem> {
        let mut problems = match &self.data {
            Data::Calico(snapshot, local) => {
                let of_plan = calico::plan(snapshot, local).map(|plan| plan.problems);
                [snapshot.problems(), of_plan.unwrap_or_default()].concat()
            }
            Data::Registry(registry, local) => {
                let of_plan = registry.plan(local, base).map(|(_, problems)| problems);
                [registry.problems(), of_plan.unwrap_or_default()].concat()
            }
        };
        problems.sort();
        problems.dedup();
        problems
    }

    fn revision(&self) -> i64 {
        match &self.data {
            Data::Calico(snapshot, _) => snapshot.revision(),
            Data::Registry(registry, _) => registry.revision(),
        }
    }
}

fn update_snapshot(snapshot: &mut Snapshot, update: &Update) -> bool {
    use calico::{Effect, Listing};
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
    config
}
