//! An etcd cluster, followed: listed in pages at one revision, then watched from the next.
//!
//! Whatever breaks a watch (compaction, a server that is gone, an expired token), the answer is the same: connect
//! again, with a growing delay, list again, watch again. A list is told as a whole, so whoever compares it with what it
//! knows sees exactly what changed meanwhile. Nothing is told of a list that could not be read to its end.

mod backoff;
mod connect;
mod list;
mod registration;
mod session;
#[cfg(test)]
mod test_server;
#[cfg(test)]
mod tests;

pub use connect::{EtcdError, EtcdOptions, connect};
pub use registration::{IsOurs, Registration};

use super::Update;
use backoff::Backoff;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How many updates wait for their reader before etcd has to.
const QUEUE: usize = 16;

/// Follows some prefixes. Dropping it ends that.
#[derive(Debug)]
pub struct EtcdWatcher {
    updates: mpsc::Receiver<Update>,
    task: JoinHandle<()>,
}

impl EtcdWatcher {
    /// Begins to follow all keys that start with one of these prefixes. Must be called inside a tokio runtime.
    pub fn start(options: EtcdOptions, prefixes: Vec<String>) -> Self {
        let (sender, updates) = mpsc::channel(QUEUE);
        let task = tokio::spawn(follow(options, prefixes, sender));
        Self { updates, task }
    }

    /// What is new. Waits until there is something.
    pub async fn next(&mut self) -> Update {
        match self.updates.recv().await {
            Some(update) => update,
            // The task ends only when this receiver is gone.
            None => std::future::pending().await,
        }
    }
}

impl Drop for EtcdWatcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(options: EtcdOptions, prefixes: Vec<String>, updates: mpsc::Sender<Update>) {
    let mut backoff = Backoff::new();
    loop {
        let mut has_listed = false;
        let reason = match session::run(&options, &prefixes, &updates, &mut has_listed).await {
            Ok(()) => return,
            Err(error) => error.to_string(),
        };
        if has_listed {
            backoff = Backoff::new();
        }
        tracing::warn!(reason, "etcd cannot be followed; what it held last stays in force");
        if updates.send(Update::Down { reason }).await.is_err() {
            return;
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}
