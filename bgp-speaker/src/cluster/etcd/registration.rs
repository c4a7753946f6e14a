//! A key of ours, under a lease that is kept alive.

use super::backoff::Backoff;
use super::connect::{EtcdError, EtcdOptions, connect, in_time};
use etcd_client::{Client, Compare, CompareOp, PutOptions, Txn, TxnOp};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often in the life of a lease it is renewed.
const RENEWALS: u32 = 3;

/// Keeps a key with a value for as long as it lives. When it is dropped, or the process ends, the key stays until the
/// lease expires; [`Registration::withdraw`] removes it at once.
#[derive(Debug)]
pub struct Registration {
    options: EtcdOptions,
    key: String,
    value: watch::Sender<String>,
    lease: watch::Receiver<Option<i64>>,
    task: JoinHandle<()>,
}

impl Registration {
    /// Begins to keep the key. Must be called inside a tokio runtime.
    pub fn start(options: EtcdOptions, key: String, value: String, time_to_live: Duration) -> Self {
        let (value, values) = watch::channel(value);
        let (leases, lease) = watch::channel(None);
        let task = tokio::spawn(keep(options.clone(), key.clone(), values, time_to_live, leases));
        Self { options, key, value, lease, task }
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

async fn keep(
    options: EtcdOptions,
    key: String,
    mut values: watch::Receiver<String>,
    time_to_live: Duration,
    leases: watch::Sender<Option<i64>>,
) {
    let mut backoff = Backoff::new();
    loop {
        match register(&options, &key, &mut values, time_to_live, &leases, &mut backoff).await {
            // Nobody wants it to be kept any more.
            Ok(()) => return,
            Err(error) => tracing::warn!(key, %error, "not registered, or not for long"),
        }
        tokio::time::sleep(backoff.next_delay().min(time_to_live / RENEWALS)).await;
    }
}

async fn register(
    options: &EtcdOptions,
    key: &str,
    values: &mut watch::Receiver<String>,
    time_to_live: Duration,
    leases: &watch::Sender<Option<i64>>,
    backoff: &mut Backoff,
) -> Result<(), EtcdError> {
    let mut client = connect(options).await?;
    let granted = in_time(options, client.lease_grant(time_to_live.as_secs() as i64, None)).await?;
    let lease = granted.id();
    leases.send_replace(Some(lease));
    let value = values.borrow_and_update().clone();
    put(options, &mut client, key, &value, lease).await?;
    tracing::info!(key, time_to_live = time_to_live.as_secs(), "registered");
    *backoff = Backoff::new();
    let (mut keeper, mut answers) = in_time(options, client.lease_keep_alive(lease)).await?;
    loop {
        tokio::select! {
            changed = values.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let value = values.borrow_and_update().clone();
                put(options, &mut client, key, &value, lease).await?;
            }
            () = tokio::time::sleep(time_to_live / RENEWALS) => {
                in_time(options, keeper.keep_alive()).await?;
                let answer = in_time(options, answers.message()).await?;
                if answer.is_none_or(|answer| answer.ttl() <= 0) {
                    return Err(EtcdError::Cancelled { reason: "the lease has expired".to_owned() });
                }
            }
        }
    }
}

async fn put(
    options: &EtcdOptions,
    client: &mut Client,
    key: &str,
    value: &str,
    lease: i64,
) -> Result<(), EtcdError> {
    let with_lease = PutOptions::new().with_lease(lease);
    in_time(options, client.put(key, value, Some(with_lease))).await.map(|_| ())
}
