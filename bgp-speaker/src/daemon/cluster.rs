//! `[etcd]`: what the datastore says, on top of what the file says.
//!
//! The file gives the base; the datastore's model makes the desired state of it. A daemon with a datastore starts its
//! speaker once it knows a whole desired state: from the datastore, or, where that cannot be reached, from the last data
//! on disk. Anything less would look like a cluster without nodes.

mod model;
#[cfg(test)]
mod tests;

pub(crate) use model::{Model, ModelError};

use super::file::{EtcdModel, EtcdSection};
use crate::cluster::cache::Cache;
use crate::cluster::etcd::{EtcdOptions, EtcdWatcher};
use crate::cluster::{Problem, Update};
use crate::config::SpeakerConfig;
use crate::view::{DatastoreView, InvalidObject};
use std::time::Duration;
use tokio::time::Instant;

/// How long the datastore may take to answer before the last data on disk are used.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The datastore, followed and kept. One per daemon.
pub(crate) struct Datastore {
    watcher: EtcdWatcher,
    cache: Option<Cache>,
}

impl Datastore {
    /// Begins to follow what the model wants to know.
    pub(crate) fn start(section: &EtcdSection, model: &Model) -> Self {
        let watcher = EtcdWatcher::start(section.options(), model.prefixes());
        let owner = format!("{}, {}", section.node, section.model.name());
        Self { watcher, cache: section.cache.as_ref().map(|path| Cache::new(path, owner)) }
    }

    /// Feeds the model until it knows what this node is to be.
    pub(crate) async fn first_state(&mut self, model: &mut Model, base: &SpeakerConfig) {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let mut may_use_cache = true;
        loop {
            let update = tokio::select! {
                update = self.next() => Some(update),
                () = tokio::time::sleep_until(deadline), if may_use_cache => None,
            };
            let is_down = matches!(update, None | Some(Update::Down { .. }));
            if let Some(update) = update {
                model.update(&update);
            }
            if is_down && std::mem::take(&mut may_use_cache) {
                self.load_cache(model);
            }
            match model.desired(base) {
                Ok(_) => return,
                Err(error) => tracing::warn!(%error, "waiting for the datastore"),
            }
        }
    }

    /// What is new, kept on disk already.
    pub(crate) async fn next(&mut self) -> Update {
        let update = self.watcher.next().await;
        if let Some(cache) = &mut self.cache
            && let Err(error) = cache.keep(&update)
        {
            tracing::warn!(%error, "the datastore's content is not kept on disk: a start without it will not work");
            // The next list tries again.
        }
        update
    }

    fn load_cache(&self, model: &mut Model) {
        match self.cache.as_ref().map(Cache::load) {
            Some(Ok(Some(update))) => {
                tracing::warn!("the datastore does not answer: starting with what it held last");
                model.restore(&update);
            }
            Some(Err(error)) => tracing::warn!(%error, "the last content of the datastore cannot be used"),
            Some(Ok(None)) | None => {}
        }
    }
}

impl EtcdSection {
    /// How its servers are reached.
    pub(crate) fn options(&self) -> EtcdOptions {
        let mut options = EtcdOptions::new(self.endpoints.clone());
        options.ca_file.clone_from(&self.ca_file);
        options.identity_files = self.cert_file.clone().zip(self.key_file.clone());
        options.user = self.username.clone().zip(self.password.clone());
        options
    }
}

impl EtcdModel {
    /// As the file says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            EtcdModel::Calico => "calico",
            EtcdModel::Registry => "registry",
        }
    }
}

/// What `status` shows of a datastore.
fn view(is_up: bool, revision: i64, error: Option<String>, problems: Vec<Problem>) -> DatastoreView {
    let invalid = problems.into_iter().map(|problem| InvalidObject {
        kind: problem.kind.to_owned(),
        key: problem.key,
        reason: problem.reason,
    });
    DatastoreView { up: is_up, revision, last_error: error, invalid: invalid.collect() }
}
