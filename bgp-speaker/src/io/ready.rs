//! Which sockets are ready: one waker each, which notes its id and wakes the driver.

use crate::engine::ConnId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// The ids of ready sockets, each at most once.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ready: Vec<ConnId>,
    driver: Option<Waker>,
}

impl ReadyQueue {
    /// Moves the ids to `into`, or has the driver woken when there are some.
    pub(super) fn poll_take(&self, context: &mut Context<'_>, into: &mut Vec<ConnId>) -> Poll<()> {
        // Nothing in here panics while the lock is held; a poisoned queue is as good as any.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.ready.is_empty() {
            inner.driver = Some(context.waker().clone());
            return Poll::Pending;
        }
        into.append(&mut inner.ready);
        Poll::Ready(())
    }

    fn push(&self, id: ConnId) {
        let driver = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.ready.push(id);
            inner.driver.take()
        };
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

/// Wakes for one socket.
#[derive(Debug)]
pub(super) struct SocketWaker {
    id: ConnId,
    is_queued: AtomicBool,
    queue: Arc<ReadyQueue>,
}

impl SocketWaker {
    /// For a socket that is looked at once right away.
    pub(super) fn new(id: ConnId, queue: Arc<ReadyQueue>) -> Arc<Self> {
        let waker = Arc::new(Self { id, is_queued: AtomicBool::new(false), queue });
        waker.wake_by_ref();
        waker
    }

    /// Its socket is being looked at; the next event queues it again.
    pub(super) fn taken(&self) {
        self.is_queued.store(false, Ordering::Release);
    }

    /// Its socket has more to do than this turn allows.
    pub(super) fn again(self: &Arc<Self>) {
        self.wake_by_ref();
    }
}

impl Wake for SocketWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            self.queue.push(self.id);
        }
    }
}
