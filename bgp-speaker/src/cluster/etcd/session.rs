//! One connection to etcd from its list to whatever breaks its watch.

use super::connect::{EtcdError, EtcdOptions, connect, in_time};
use super::list::{end_of, entry, list};
use crate::cluster::Update;
use etcd_client::{WatchOptions, WatchResponse, WatchStream};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Largest answer that is taken, in bytes: a page of the largest objects that etcd keeps by default would be more, a
/// page of those that clusters do keep is a tenth of it.
const MESSAGE_MAX: usize = 64 << 20;
/// Changes that follow each other closer than this belong together.
const QUIET: Duration = Duration::from_millis(5);
/// But none waits longer than this for the next.
const BURST: Duration = Duration::from_millis(25);

/// Returns when nobody wants to know any more. `has_listed`: it came as far as the end of the list.
pub(super) async fn run(
    options: &EtcdOptions,
    prefixes: &[String],
    updates: &mpsc::Sender<Update>,
    has_listed: &mut bool,
) -> Result<(), EtcdError> {
    let client = connect(options).await?;
    let mut kv = client.kv_client().max_decoding_message_size(MESSAGE_MAX);
    let (entries, revision) = list(options, &mut kv, prefixes).await?;
    let mut watch = Watch::start(options, &client, prefixes, revision + 1).await?;
    tracing::info!(keys = entries.len(), revision, "etcd is read and followed");
    *has_listed = true;
    if updates.send(Update::Listed { entries, revision }).await.is_err() {
        return Ok(());
    }
    loop {
        let update = watch.burst().await?;
        if updates.send(update).await.is_err() {
            return Ok(());
        }
    }
}

pub(super) struct Watch<'a> {
    options: &'a EtcdOptions,
    stream: WatchStream,
}

impl<'a> Watch<'a> {
    pub(super) async fn start(
        options: &'a EtcdOptions,
        client: &etcd_client::Client,
        prefixes: &[String],
        from: i64,
    ) -> Result<Self, EtcdError> {
        let mut client = client.watch_client().max_decoding_message_size(MESSAGE_MAX);
        let watch = |prefix: &str| {
            let range = WatchOptions::new().with_range(end_of(prefix)).with_start_revision(from);
            Some(range.with_fragment().with_progress_notify())
        };
        let Some((first, others)) = prefixes.split_first() else {
            return Err(EtcdError::Cancelled { reason: "there is nothing to watch".to_owned() });
        };
        let mut stream = in_time(options, client.watch(first.as_str(), watch(first))).await?;
        for prefix in others {
            in_time(options, stream.watch(prefix.as_str(), watch(prefix))).await?;
        }
        Ok(Self { options, stream })
    }

    /// The next changes, as far as they come together.
    #[allow(clippy::disallowed_methods, reason = "deadlines of tokio's")]
    pub(super) async fn burst(&mut self) -> Result<Update, EtcdError> {
        let (mut changes, mut revision) = (Vec::new(), 0);
        let mut ends: Option<Ends> = None;
        loop {
            let next = self.stream.message();
            let response = match &ends {
                None => next.await,
                Some(ends) => match tokio::time::timeout_at(ends.quiet, next).await {
                    Ok(response) => response,
                    Err(_) => return Ok(Update::Changed { changes, revision }),
                },
            };
            let response = response.map_err(|source| self.broken(source))?;
            let Some(response) = response else {
                return Err(EtcdError::Cancelled { reason: "the server closed it".to_owned() });
            };
            check(&response)?;
            revision = revision.max(response.header().map_or(0, etcd_client::ResponseHeader::revision));
            changes.extend(response.events().iter().filter_map(|event| entry(event.kv()?.clone())));
            if !changes.is_empty() {
                let now = Instant::now();
                let latest = ends.map_or(now + BURST, |ends| ends.latest);
                ends = Some(Ends { latest, quiet: latest.min(now + QUIET) });
            }
        }
    }

    fn broken(&self, source: etcd_client::Error) -> EtcdError {
        EtcdError::Etcd { endpoints: self.options.endpoints.clone(), source }
    }
}

/// When a burst ends.
#[derive(Clone, Copy)]
struct Ends {
    latest: Instant,
    /// If nothing comes before.
    quiet: Instant,
}

fn check(response: &WatchResponse) -> Result<(), EtcdError> {
    match response.compact_revision() {
        0 if response.canceled() => Err(EtcdError::Cancelled { reason: response.cancel_reason().to_owned() }),
        0 => Ok(()),
        up_to => Err(EtcdError::Compacted { up_to }),
    }
}
