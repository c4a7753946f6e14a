//! The hands of a [`Task`](crate::task::Task): the kernel on a blocking thread, fed through a queue. One per `Fib`.
//!
//! The kernel works inside the `send` call, for milliseconds per batch, so batches run on a blocking thread and the
//! runtime's own threads stay free. The thread takes the next order itself when one is waiting, so that the kernel
//! never waits for the task; when none is, the thread goes back to the runtime.

use std::sync::mpsc as blocking;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::FibError;
use crate::kernel::{Kernel, Lost, Op, Reading, Refusals, Scope, Snapshot};
use crate::task::now;

/// Something for the kernel to do.
pub(crate) enum Order {
    Batch(Vec<Op>),
    Dump(Reading),
    Read(oneshot::Sender<Result<Snapshot, FibError>>),
}

/// How it ended.
pub(crate) enum Done {
    /// And how long it took.
    Batch(Vec<Op>, Result<Refusals, Lost>, Duration),
    Dump(Result<Snapshot, Lost>),
    Read(Result<Snapshot, Lost>, oneshot::Sender<Result<Snapshot, FibError>>),
}

/// Orders go in and come out done, in order. At most as many wait as the planner gives out at once, and one reading.
pub(crate) struct Worker<K> {
    orders: blocking::Sender<Order>,
    done: mpsc::UnboundedReceiver<Done>,
    /// Orders that have not come out yet.
    open: usize,
    shift: Shift<K>,
}

/// Either nobody works, or a thread does.
enum Shift<K> {
    Off(Option<Box<Hands<K>>>),
    On(JoinHandle<Box<Hands<K>>>),
}

/// All that work takes.
struct Hands<K> {
    kernel: K,
    orders: blocking::Receiver<Order>,
    done: mpsc::UnboundedSender<Done>,
}

impl<K: Kernel> Worker<K> {
    pub(crate) fn new(kernel: K) -> Worker<K> {
        let (orders, orders_taken) = blocking::channel();
        let (done_told, done) = mpsc::unbounded_channel();
        let hands = Hands { kernel, orders: orders_taken, done: done_told };
        Worker { orders, done, open: 0, shift: Shift::Off(Some(Box::new(hands))) }
    }

    /// Takes an order.
    pub(crate) fn give(&mut self, order: Order) {
        self.open += 1;
        // The receiving end lives as long as this worker, or its thread has panicked, which `done` tells.
        let _ = self.orders.send(order);
        self.begin();
    }

    fn begin(&mut self) {
        if let Shift::Off(hands) = &mut self.shift
            && let Some(hands) = hands.take()
        {
            self.shift = Shift::On(tokio::task::spawn_blocking(|| hands.work()));
        }
    }

    /// Waits for the next order to be done; for ever if there is none. Cancelling loses nothing.
    ///
    /// # Errors
    /// The runtime shuts down, or the kernel's code panicked: a bug, told by the panic.
    pub(crate) async fn done(&mut self) -> Result<Done, tokio::task::JoinError> {
        loop {
            let Shift::On(thread) = &mut self.shift else {
                match self.done.recv().await {
                    Some(done) => {
                        self.open -= 1;
                        return Ok(done);
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(done) = self.done.recv() => {
                    self.open -= 1;
                    return Ok(done);
                }
                hands = thread => {
                    self.shift = Shift::Off(Some(hands?));
                    // An order may have come when the thread had just seen that there was none.
                    if self.open > self.done.len() {
                        self.begin();
                    }
                }
            }
        }
    }
}

impl<K: Kernel> Hands<K> {
    fn work(mut self: Box<Self>) -> Box<Self> {
        while let Ok(order) = self.orders.try_recv() {
            let done = match order {
                Order::Batch(ops) => {
                    let begin = now();
                    let result = self.kernel.execute(&ops);
                    Done::Batch(ops, result, now().saturating_duration_since(begin))
                }
                Order::Dump(reading) => Done::Dump(self.kernel.read(&reading)),
                Order::Read(reader) => {
                    let all = Reading { scope: Scope::Full, gateways: Vec::new() };
                    Done::Read(self.kernel.read(&all), reader)
                }
            };
            if self.done.send(done).is_err() {
                // The owner's handle is gone.
                break;
            }
        }
        self
    }
}
