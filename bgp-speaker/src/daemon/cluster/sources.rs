//! Everything that a model is read from, followed and, as far as it may be on disk, kept.

use super::{Model, ModelError, News};
use crate::cluster::Update;
use crate::cluster::cache::Cache;
use crate::cluster::etcd::EtcdWatcher;
use crate::cluster::folder::{FolderNews, FolderOptions, FolderWatcher};
use crate::cluster::kubernetes::{FolderSource, KubernetesSource, SourceNews};
use crate::config::SpeakerConfig;
use crate::daemon::file::EtcdSection;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long the datastore may take to answer before the last data on disk are used.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Pieces of news about Kubernetes objects that wait for their reader.
const QUEUE: usize = 4;

type KubernetesNews = Result<SourceNews, String>;

/// One per daemon.
pub(crate) struct Sources {
    watcher: EtcdWatcher,
    cache: Option<Cache>,
    kubernetes: Option<mpsc::Receiver<KubernetesNews>>,
    endpoint_status: Option<FolderWatcher>,
}

impl Sources {
    /// Begins to follow what the model wants to know. Must be called inside a tokio runtime.
    pub(crate) fn start(section: &EtcdSection, model: &Model) -> Self {
        let owner = format!("{}, {}", section.node, section.model.name());
        let cache = section.cache.as_ref().map(|path| Cache::new(path, owner));
        Self { cache, ..Self::without_cache(section, model) }
    }

    /// The same for a look that leaves nothing on disk.
    pub(crate) fn without_cache(section: &EtcdSection, model: &Model) -> Self {
        let kubernetes = section.kubernetes_folder.clone().map(|path| follow(FolderSource::start(path)));
        let endpoint_status = section
            .endpoint_status_folder
            .clone()
            .map(|path| FolderWatcher::start(FolderOptions { path, suffix: "", may_be_missing: true }));
        let watcher = EtcdWatcher::start(section.options(), model.prefixes());
        Self { watcher, cache: None, kubernetes, endpoint_status }
    }

    /// Feeds the model until it knows what this node is to be, which is the answer.
    #[allow(clippy::disallowed_methods, reason = "a deadline of tokio's")]
    pub(crate) async fn first_state(&mut self, model: &mut Model, base: &SpeakerConfig) -> SpeakerConfig {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let mut may_use_cache = true;
        loop {
            let news = tokio::select! {
                news = self.next() => Some(news),
                () = tokio::time::sleep_until(deadline), if may_use_cache => None,
            };
            let is_down = matches!(news, None | Some(News::Datastore(Update::Down { .. })));
            let has_answered = matches!(news, Some(News::Datastore(Update::Listed { .. })));
            if let Some(news) = news {
                model.take(&news);
            }
            if is_down && std::mem::take(&mut may_use_cache) {
                self.load_cache(model);
            }
            may_use_cache &= !has_answered;
            match model.settle(base) {
                Ok(config) => return config,
                Err(error @ ModelError::NotRead { .. }) => tracing::info!(%error, "waiting"),
                Err(error) => tracing::warn!(%error, "waiting for the datastore to say more"),
            }
        }
    }

    /// Reads each source once. What this node is to be is the answer.
    ///
    /// # Errors
    /// A source cannot be read, or takes longer than `limit`; or the data do not say.
    #[allow(clippy::disallowed_methods, reason = "a deadline of tokio's")]
    pub(crate) async fn read_once(
        &mut self,
        model: &mut Model,
        base: &SpeakerConfig,
        limit: Duration,
    ) -> Result<SpeakerConfig, ModelError> {
        let deadline = Instant::now() + limit;
        loop {
            let Ok(news) = tokio::time::timeout_at(deadline, self.next()).await else {
                return model.settle(base);
            };
            model.take(&news);
            let is_failed = matches!(news, News::Datastore(Update::Down { .. }) | News::Kubernetes(Err(_)));
            match model.settle(base) {
                Err(ModelError::NotRead { .. }) if !is_failed => {}
                outcome => return outcome,
            }
        }
    }

    /// What is new, kept on disk already as far as it may be there.
    pub(crate) async fn next(&mut self) -> News {
        tokio::select! {
            update = self.watcher.next() => {
                self.keep(&update);
                News::Datastore(update)
            }
            news = next_kubernetes(self.kubernetes.as_mut()) => News::Kubernetes(news),
            news = next_endpoint_status(self.endpoint_status.as_mut()) => News::EndpointStatus(news),
        }
    }

    fn keep(&mut self, update: &Update) {
        if let Some(cache) = &mut self.cache
            && let Err(error) = cache.keep(update)
        {
            tracing::warn!(%error, "the datastore's content is not kept on disk: a start without it will not work");
            // The next list tries again.
        }
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

/// Whatever the objects come from, it is followed by a task of its own, which ends with its reader.
fn follow(mut source: impl KubernetesSource + 'static) -> mpsc::Receiver<KubernetesNews> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        loop {
            let news = tokio::select! {
                news = source.news() => news.map_err(|error| error.to_string()),
                () = sender.closed() => return,
            };
            if let Err(reason) = &news {
                tracing::warn!(reason, "Kubernetes objects cannot be read");
            }
            if sender.send(news).await.is_err() {
                return;
            }
        }
    });
    receiver
}

async fn next_kubernetes(source: Option<&mut mpsc::Receiver<KubernetesNews>>) -> KubernetesNews {
    match source {
        Some(source) => match source.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn next_endpoint_status(folder: Option<&mut FolderWatcher>) -> FolderNews {
    match folder {
        Some(folder) => folder.next().await,
        None => std::future::pending().await,
    }
}
