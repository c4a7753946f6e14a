//! The task between the planner and the kernel. One per `Fib`.
//!
//! ```text
//! Fib ── changes (bounded) ──> ┌──────┐ ── batch or dump, one at a time ──> blocking thread: request socket
//! Fib ── questions (bounded) > │ task │ <── how it ended ──────────────────
//! monitor socket ── notices ─> └──────┘ ── status (watch), events (broadcast) ──> whoever looks
//! ```
//!
//! The kernel works inside the `send` call, for milliseconds per batch, so batches run on a blocking thread and the
//! runtime's own threads stay free. No logic lives here: that is the planner's.

use std::future;
use std::time::Instant;

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::error::FibError;
use crate::kernel::{Kernel, Lost, Notice, Refusals, Scope, Snapshot};
use crate::model::{Change, Route};
use crate::netlink::Monitor;
use crate::planner::{Planner, Work};
use crate::status::{FibEvent, FibStatus};

/// What the owner wants. Not read while the queue is full: that is the back-pressure.
pub(crate) enum Demand {
    Apply(Vec<Change>, oneshot::Sender<()>),
    Converged(oneshot::Sender<()>),
    RemoveAll(oneshot::Sender<usize>),
    ReplaceAll(Vec<Route>, oneshot::Sender<()>),
}

/// What the owner asks. Read also while the queue is full.
pub(crate) enum Question {
    Flush(oneshot::Sender<FibStatus>),
    Installed(oneshot::Sender<Result<Snapshot, FibError>>),
}

/// Where notices come from.
pub(crate) enum Ears {
    #[cfg(any(test, feature = "test-util"))]
    Fake(crate::fake_kernel::FakeKernel),
    Kernel(Monitor),
}

impl Ears {
    /// Waits for notices and appends them. Cancelling loses nothing.
    async fn notices(&mut self, notices: &mut Vec<Notice>) -> Result<(), FibError> {
        match self {
            #[cfg(any(test, feature = "test-util"))]
            Ears::Fake(kernel) => {
                kernel.wait_for_notices(notices).await;
                Ok(())
            }
            Ears::Kernel(monitor) => monitor.notices(notices).await,
        }
    }
}

/// Now, by a clock that tests can pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(crate) struct Task<K> {
    pub(crate) planner: Planner,
    /// `None` while it works.
    pub(crate) kernel: Option<K>,
    pub(crate) ears: Ears,
    pub(crate) demands: mpsc::Receiver<Demand>,
    pub(crate) questions: mpsc::Receiver<Question>,
    pub(crate) status: watch::Sender<FibStatus>,
    pub(crate) events: broadcast::Sender<FibEvent>,
}

/// Who waits for the planner to be idle.
enum Waiter {
    Flush(oneshot::Sender<FibStatus>),
    Removed { before: u64, reply: oneshot::Sender<usize> },
}

/// A piece of work on the blocking thread, which has the kernel and gives it back.
type Job<K> = JoinHandle<(K, Done)>;

enum Done {
    Batch(Result<Refusals, Lost>),
    Dump(Result<Snapshot, Lost>),
    Read(Result<Snapshot, Lost>, oneshot::Sender<Result<Snapshot, FibError>>),
}

impl<K: Kernel> Task<K> {
    /// Runs until the owner's handle is gone.
    pub(crate) async fn run(mut self) {
        let mut job: Option<Job<K>> = None;
        let mut waiters: Vec<Waiter> = Vec::new();
        let mut readers: Vec<oneshot::Sender<Result<Snapshot, FibError>>> = Vec::new();
        let mut notices = Vec::new();
        loop {
            self.planner.set_listened_to(self.events.receiver_count() > 0);
            if let Some(kernel) = self.kernel.take() {
                job = self.next_job(kernel, &mut readers);
            }
            self.publish(&mut waiters);
            let deadline = self.planner.next_deadline();
            tokio::select! {
                done = finished(&mut job) => {
                    job = None;
                    match done {
                        Ok((kernel, done)) => self.done(kernel, done),
                        Err(error) => {
                            // The runtime shuts down, or the kernel's code panicked: a bug, told by the panic.
                            tracing::error!(%error, "the FIB's worker has stopped");
                            return;
                        }
                    }
                }
                demand = self.demands.recv(), if !self.planner.is_full() => match demand {
                    Some(demand) => self.demand(demand, &mut waiters),
                    None => return,
                },
                question = self.questions.recv() => match question {
                    Some(Question::Flush(reply)) => waiters.push(Waiter::Flush(reply)),
                    Some(Question::Installed(reply)) => readers.push(reply),
                    None => return,
                },
                heard = self.ears.notices(&mut notices) => {
                    let now = now();
                    if let Err(error) = heard {
                        // Deaf for a moment: whatever was said meanwhile, a dump will show.
                        tracing::warn!(%error, "the monitor socket failed");
                        notices.push(Notice::Overrun);
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                    notices.drain(..).for_each(|notice| self.planner.notice(now, notice));
                }
                () = reached(deadline) => {}
            }
        }
    }

    fn next_job(
        &mut self,
        mut kernel: K,
        readers: &mut Vec<oneshot::Sender<Result<Snapshot, FibError>>>,
    ) -> Option<Job<K>> {
        if let Some(reader) = readers.pop() {
            return Some(tokio::task::spawn_blocking(move || {
                let done = Done::Read(kernel.dump(Scope::Full), reader);
                (kernel, done)
            }));
        }
        match self.planner.next_work(now()) {
            None => {
                self.kernel = Some(kernel);
                None
            }
            Some(Work::Batch(ops)) => Some(tokio::task::spawn_blocking(move || {
                let done = Done::Batch(kernel.execute(&ops));
                (kernel, done)
            })),
            Some(Work::Dump(scope)) => Some(tokio::task::spawn_blocking(move || {
                let done = Done::Dump(kernel.dump(scope));
                (kernel, done)
            })),
        }
    }

    fn done(&mut self, kernel: K, done: Done) {
        self.kernel = Some(kernel);
        match done {
            Done::Batch(result) => self.planner.batch_done(now(), result),
            Done::Dump(result) => self.planner.dump_done(now(), result),
            Done::Read(result, reply) => {
                let _ = reply.send(result.map_err(Lost::into_error));
            }
        }
    }

    fn demand(&mut self, demand: Demand, waiters: &mut Vec<Waiter>) {
        // An owner that no longer waits for the answer has said it all the same.
        match demand {
            Demand::Apply(changes, reply) => {
                changes.into_iter().for_each(|change| self.planner.apply(change));
                let _ = reply.send(());
            }
            Demand::Converged(reply) => {
                self.planner.converged();
                let _ = reply.send(());
            }
            Demand::RemoveAll(reply) => {
                let before = self.planner.status().removed;
                self.planner.remove_all();
                waiters.push(Waiter::Removed { before, reply });
            }
            Demand::ReplaceAll(routes, reply) => {
                self.planner.replace_all(routes);
                let _ = reply.send(());
            }
        }
    }

    fn publish(&mut self, waiters: &mut Vec<Waiter>) {
        while let Some(event) = self.planner.poll_event() {
            // Nobody listening is no error.
            let _ = self.events.send(event);
        }
        let status = self.planner.status();
        if !waiters.is_empty() && self.planner.is_idle() {
            for waiter in waiters.drain(..) {
                let _ = match waiter {
                    Waiter::Flush(reply) => reply.send(status.clone()).is_ok(),
                    Waiter::Removed { before, reply } => {
                        reply.send((status.removed - before) as usize).is_ok()
                    }
                };
            }
        }
        self.status.send_if_modified(|known| {
            let has_changed = *known != status;
            if has_changed {
                *known = status;
            }
            has_changed
        });
    }
}

async fn finished<T>(job: &mut Option<JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match job {
        Some(job) => job.await,
        None => future::pending().await,
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => future::pending().await,
    }
}
