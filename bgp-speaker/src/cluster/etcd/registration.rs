//! A key of ours, under a lease that is kept alive. Somebody else's under that name is left alone.

use super::backoff::Backoff;
use super::connect::{EtcdError, EtcdOptions, connect, in_time};
use etcd_client::{
    Client, Compare, CompareOp, Event, PutOptions, ResponseHeader, Txn, TxnOp, WatchOptions, WatchStream,
};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often in the life of a lease it is renewed.
const RENEWALS: u32 = 3;

/// Says of a key's value whether it is ours from before, given what ours is now.
pub type IsOurs = fn(found: &[u8], ours: &str) -> bool;

/// Keeps a key with a value for as long as it lives. When it is dropped, or the process ends, the key stays until the
/// lease expires; [`Registration::withdraw`] removes it at once. While the key is somebody else's, it waits.
#[derive(Debug)]
pub struct Registration {
    options: EtcdOptions,
    key: String,
    value: watch::Sender<String>,
    lease: watch::Receiver<Option<i64>>,
    task: JoinHandle<()>,
}

impl Registration {
    /// Begins to keep the key. A value of ours that an earlier process left there is replaced. Must be called inside a
    /// tokio runtime.
    pub fn start(
        options: EtcdOptions,
        key: String,
        value: String,
        time_to_live: Duration,
        is_ours: IsOurs,
    ) -> Self {
        let (value, values) = watch::channel(value);
        let (leases, lease) = watch::channel(None);
        let keeper =
            Keeper { options: options.clone(), key: key.clone(), values, time_to_live, leases, is_ours };
        Self { options, key, value, lease, task: tokio::spawn(keeper.keep()) }
    }

    /// Another value from now on.
    pub fn set(&self, value: String) {
        self.value.send_if_modified(|current| {
            let is_new = *current != value;
            *current = value;
            is_new
        });
    }

    /// Removes the key, if it is still ours, and gives the lease back.
    ///
    /// # Errors
    /// etcd cannot be reached; the key goes when the lease expires.
    pub async fn withdraw(self) -> Result<(), EtcdError> {
        self.task.abort();
        let mut client = connect(&self.options).await?;
        // It may still be under an earlier lease, or under none of ours any more.
        let is_ours = Compare::value(self.key.as_str(), CompareOp::Equal, self.value.borrow().as_str());
        let remove = Txn::new().when([is_ours]).and_then([TxnOp::delete(self.key.as_str(), None)]);
        in_time(&self.options, client.txn(remove)).await?;
        let lease = *self.lease.borrow();
        if let Some(lease) = lease {
            in_time(&self.options, client.lease_revoke(lease)).await?;
        }
        Ok(())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Keeper {
    options: EtcdOptions,
    key: String,
    values: watch::Receiver<String>,
    time_to_live: Duration,
    leases: watch::Sender<Option<i64>>,
    is_ours: IsOurs,
}

impl Keeper {
    async fn keep(mut self) {
        let mut backoff = Backoff::new();
        loop {
            match self.register(&mut backoff).await {
                // Nobody wants it to be kept any more.
                Ok(()) => return,
                Err(error) => tracing::warn!(key = self.key, %error, "not registered, or not for long"),
            }
            tokio::time::sleep(backoff.next_delay().min(self.time_to_live / RENEWALS)).await;
        }
    }

    #[allow(clippy::disallowed_methods, reason = "deadlines of tokio's")]
    async fn register(&mut self, backoff: &mut Backoff) -> Result<(), EtcdError> {
        let mut client = connect(&self.options).await?;
        let Some(found) = self.wait_for_the_key(&mut client).await? else { return Ok(()) };
        let seconds = self.time_to_live.as_secs();
        let granted = in_time(&self.options, client.lease_grant(seconds as i64, None)).await?;
        let lease = granted.id();
        self.leases.send_replace(Some(lease));
        // Nobody was quicker. Where there is no key, that is 0.
        let as_found = Compare::mod_revision(self.key.as_str(), CompareOp::Equal, found);
        let revision = self.put(&mut client, lease, as_found).await?;
        tracing::info!(key = self.key, time_to_live = seconds, "registered");
        *backoff = Backoff::new();
        let mut watch = self.watch(&mut client, revision + 1).await?;
        let (mut keeper, mut answers) = in_time(&self.options, client.lease_keep_alive(lease)).await?;
        let mut renewal = Instant::now() + self.time_to_live / RENEWALS;
        loop {
            tokio::select! {
                events = next_events(&self.options, &mut watch) => {
                    // Our own changes come along too.
                    let is_foreign = |event: &Event| event.kv().is_none_or(|kv| kv.lease() != lease);
                    if events?.last().is_some_and(is_foreign) {
                        tracing::warn!(key = self.key, "somebody has removed or replaced this node's key");
                        let is_free = Compare::mod_revision(self.key.as_str(), CompareOp::Equal, 0);
                        self.put(&mut client, lease, is_free).await?;
                        tracing::info!(key = self.key, "registered again");
                    }
                }
                changed = self.values.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let still_ours = Compare::lease(self.key.as_str(), CompareOp::Equal, lease);
                    self.put(&mut client, lease, still_ours).await?;
                }
                () = tokio::time::sleep_until(renewal) => {
                    renewal = Instant::now() + self.time_to_live / RENEWALS;
                    in_time(&self.options, keeper.keep_alive()).await?;
                    let answer = in_time(&self.options, answers.message()).await?;
                    if answer.is_none_or(|answer| answer.ttl() <= 0) {
                        return Err(EtcdError::Cancelled { reason: "the lease has expired".to_owned() });
                    }
                }
            }
        }
    }

    /// Waits until the key is free, or holds what is ours from before, and answers the revision of its last change.
    /// `None`: nobody wants it to be kept any more.
    async fn wait_for_the_key(&mut self, client: &mut Client) -> Result<Option<i64>, EtcdError> {
        loop {
            let response = in_time(&self.options, client.get(self.key.as_str(), None)).await?;
            let Some(found) = response.kvs().first() else { return Ok(Some(0)) };
            if (self.is_ours)(found.value(), self.values.borrow_and_update().as_str()) {
                return Ok(Some(found.mod_revision()));
            }
            tracing::warn!(
                key = self.key,
                "somebody else is registered under this name: waiting until that is gone"
            );
            let next = response.header().map_or(0, ResponseHeader::revision) + 1;
            let mut watch = self.watch(client, next).await?;
            tokio::select! {
                events = next_events(&self.options, &mut watch) => drop(events?),
                changed = self.values.changed() => if changed.is_err() {
                    return Ok(None);
                },
            }
        }
    }

    /// Follows the key from a revision on.
    async fn watch(&self, client: &mut Client, from: i64) -> Result<WatchStream, EtcdError> {
        let range = WatchOptions::new().with_start_revision(from);
        in_time(&self.options, client.watch(self.key.as_str(), Some(range))).await
    }

    /// Puts the value, if the key is as it should be, and answers the revision of that.
    async fn put(&mut self, client: &mut Client, lease: i64, when: Compare) -> Result<i64, EtcdError> {
        let value = self.values.borrow_and_update().clone();
        let with_lease = PutOptions::new().with_lease(lease);
        let put = TxnOp::put(self.key.as_str(), value, Some(with_lease));
        let answer = in_time(&self.options, client.txn(Txn::new().when([when]).and_then([put]))).await?;
        if answer.succeeded() {
            return Ok(answer.header().map_or(0, ResponseHeader::revision));
        }
        // Without its key it is good for nothing, and would expire anyway.
        self.leases.send_replace(None);
        _ = in_time(&self.options, client.lease_revoke(lease)).await;
        Err(EtcdError::Taken { key: self.key.clone() })
    }
}

/// The next changes of a key, at least one.
async fn next_events(options: &EtcdOptions, watch: &mut WatchStream) -> Result<Vec<Event>, EtcdError> {
    loop {
        let message = watch.message().await;
        let broken = |source| EtcdError::Etcd { endpoints: options.endpoints.clone(), source };
        match message.map_err(broken)? {
            Some(message) if message.canceled() => {
                return Err(EtcdError::Cancelled { reason: message.cancel_reason().to_owned() });
            }
            Some(message) if message.events().is_empty() => {}
            Some(message) => return Ok(message.events().to_vec()),
            None => return Err(EtcdError::Cancelled { reason: "the server closed it".to_owned() }),
        }
    }
}
