//! The task between the planner and the kernel. One per `Fib`.
//!
//! ```text
//! Fib ── changes (bounded) ──> ┌──────┐ ── batches or a dump ─> worker: blocking thread, request socket
//! Fib ── questions (bounded) > │ task │ <── how they ended ────
//! monitor socket ── notices ─> └──────┘ ── status (watch), events (broadcast) ──> whoever looks
//! ```
//!
//! While the worker has the kernel do one batch, the next is planned here. No logic lives in this file: that is the
//! planner's.

use std::future;
use std::time::Instant;

use ipnet::IpNet;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::decision::{NextHopDecision, RouteExplanation};
use crate::error::FibError;
use crate::kernel::{Kernel, Lost, Notice, Snapshot};
use crate::model::{Change, NextHopSet, Route};
use crate::netlink::Monitor;
use crate::planner::{Planner, Work};
use crate::status::{FibEvent, FibStatus};
use crate::worker::{Done, Order, Worker};

/// What the owner wants. Not read while the queue is full: that is the back-pressure.
pub(crate) enum Demand {
    Apply(Vec<Change>, oneshot::Sender<()>),
    Converged(oneshot::Sender<()>),
    FailOver { from: NextHopSet, to: NextHopSet, reply: oneshot::Sender<usize> },
    RemoveAll(oneshot::Sender<usize>),
    ReplaceAll(Vec<Route>, oneshot::Sender<()>),
}

/// What the owner asks. Read also while the queue is full.
pub(crate) enum Question {
    Explain(IpNet, oneshot::Sender<Option<RouteExplanation>>),
    Flush(oneshot::Sender<FibStatus>),
    Installed(oneshot::Sender<Result<Snapshot, FibError>>),
    NextHops(oneshot::Sender<Vec<NextHopDecision>>),
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
    pub(crate) worker: Worker<K>,
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

/// A demand that is being taken in. Long ones are taken in piece by piece: the first routes are on their way to the
/// kernel before the last have been looked at, and notices are heard meanwhile.
enum Intake {
    Apply(std::vec::IntoIter<Change>, oneshot::Sender<()>),
    Replace(std::vec::IntoIter<Route>, oneshot::Sender<()>),
}

/// Routes or changes taken in at a time.
const INTAKE_LEN: usize = 4096;

impl<K: Kernel> Task<K> {
    /// Runs until the owner's handle is gone.
    pub(crate) async fn run(mut self) {
        let mut intake: Option<Intake> = None;
        let mut waiters: Vec<Waiter> = Vec::new();
        let mut notices = Vec::new();
        loop {
            self.planner.set_listened_to(self.events.receiver_count() > 0);
            while let Some(work) = self.planner.next_work(now()) {
                self.worker.give(match work {
                    Work::Batch(ops) => Order::Batch(ops),
                    Work::Dump(reading) => Order::Dump(reading),
                });
            }
            self.publish(intake.is_some(), &mut waiters);
            let deadline = self.planner.next_deadline();
            tokio::select! {
                done = self.worker.done() => match done {
                    Ok(done) => self.done(done),
                    Err(error) => {
                        tracing::error!(%error, "the FIB's worker has stopped");
                        return;
                    }
                },
                demand = self.demands.recv(), if intake.is_none() && !self.planner.is_full() => match demand {
                    Some(demand) => intake = self.demand(demand, &mut waiters),
                    None => return,
                },
                () = tokio::task::yield_now(), if intake.is_some() => {
                    intake = intake.and_then(|intake| self.take_in(intake));
                }
                question = self.questions.recv() => match question {
                    Some(Question::Flush(reply)) => waiters.push(Waiter::Flush(reply)),
                    Some(Question::Explain(prefix, reply)) => {
                        let _ = reply.send(self.planner.explain(&prefix));
                    }
                    Some(Question::NextHops(reply)) => {
                        let _ = reply.send(self.planner.decisions());
                    }
                    Some(Question::Installed(reply)) => self.worker.give(Order::Read(reply)),
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

    fn done(&mut self, done: Done) {
        match done {
            Done::Batch(ops, result, time) => {
                self.planner.note_batch_time(time);
                self.planner.batch_done(now(), ops, result);
            }
            Done::Dump(result) => self.planner.dump_done(now(), result),
            Done::Read(result, reply) => {
                let _ = reply.send(result.map_err(Lost::into_error));
            }
        }
    }

    /// Takes a demand, or begins to.
    fn demand(&mut self, demand: Demand, waiters: &mut Vec<Waiter>) -> Option<Intake> {
        match demand {
            Demand::Apply(changes, reply) => return self.take_in(Intake::Apply(changes.into_iter(), reply)),
            Demand::Converged(reply) => {
                self.planner.converged();
                // An owner that no longer waits for the answer has said it all the same.
                let _ = reply.send(());
            }
            Demand::FailOver { from, to, reply } => {
                let _ = reply.send(self.planner.fail_over(&from, &to));
            }
            Demand::RemoveAll(reply) => {
                let before = self.planner.status().removed;
                self.planner.remove_all();
                waiters.push(Waiter::Removed { before, reply });
            }
            Demand::ReplaceAll(routes, reply) => {
                self.planner.begin_replacement(&routes);
                return Some(Intake::Replace(routes.into_iter(), reply));
            }
        }
        None
    }

    /// Takes the next piece of a demand in; returns the rest of it.
    fn take_in(&mut self, intake: Intake) -> Option<Intake> {
        match intake {
            Intake::Apply(mut changes, reply) => {
                changes.by_ref().take(INTAKE_LEN).for_each(|change| self.planner.apply(change));
                if changes.len() > 0 {
                    return Some(Intake::Apply(changes, reply));
                }
                let _ = reply.send(());
            }
            Intake::Replace(mut routes, reply) => {
                routes.by_ref().take(INTAKE_LEN).for_each(|route| self.planner.name(&route));
                if routes.len() > 0 {
                    return Some(Intake::Replace(routes, reply));
                }
                self.planner.end_replacement();
                let _ = reply.send(());
            }
        }
        None
    }

    fn publish(&mut self, is_taking_in: bool, waiters: &mut Vec<Waiter>) {
        while let Some(event) = self.planner.poll_event() {
            // Nobody listening is no error.
            let _ = self.events.send(event);
        }
        let status = self.planner.status();
        if !waiters.is_empty() && !is_taking_in && self.planner.is_idle() {
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

pub(crate) async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => future::pending().await,
    }
}
