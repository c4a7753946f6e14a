//! Pings between pairs that come and go, all the time.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{PATIENCE, PingCount, Stream};
use crate::error::LabError;
use crate::netns::Namespace;
use crate::wait::wait_until;

/// Time between two requests of a pair.
const INTERVAL: Duration = Duration::from_millis(25);
/// Time between two looks for replies.
const LOOK: Duration = Duration::from_millis(5);

/// Pings that run all the time, for pairs that may be added and ended. Dropping it stops them.
#[derive(Debug)]
pub struct PingMesh {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    pairs: Mutex<Vec<Pair>>,
    is_over: AtomicBool,
}

#[derive(Debug)]
struct Pair {
    stream: Stream,
    is_ending: bool,
}

impl Shared {
    fn pairs(&self) -> MutexGuard<'_, Vec<Pair>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PingMesh {
    /// Starts with no pair.
    #[must_use]
    pub fn start() -> PingMesh {
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || run(&of_thread));
        PingMesh { shared, thread: Some(thread) }
    }

    /// Pings an address from a namespace from now on.
    ///
    /// # Errors
    /// If the namespace cannot be entered, or lets nobody ping.
    pub fn add(&self, from: &Namespace, to: IpAddr) -> Result<(), LabError> {
        let stream = from.run(|| Stream::new(from.name(), to))?;
        let stream = stream.map_err(LabError::io(format!("a socket for pings from {}", from.name())))?;
        self.shared.pairs().push(Pair { stream, is_ending: false });
        Ok(())
    }

    /// Ends the pings of some pairs, once everything sent is answered or lost, and returns what became of them.
    ///
    /// # Errors
    /// If that takes too long.
    pub fn end(&self, is_meant: impl Fn(&PingCount) -> bool) -> Result<Vec<PingCount>, LabError> {
        for pair in self.shared.pairs().iter_mut().filter(|pair| is_meant(&pair.stream.count)) {
            pair.is_ending = true;
        }
        self.wait_for_replies()?;
        let mut pairs = self.shared.pairs();
        let (ended, kept): (Vec<Pair>, Vec<Pair>) =
            std::mem::take(&mut *pairs).into_iter().partition(|pair| pair.is_ending);
        *pairs = kept;
        Ok(ended.into_iter().map(|pair| pair.stream.count).collect())
    }

    /// What became of all requests sent before this call.
    ///
    /// # Errors
    /// If that takes too long.
    pub fn counts(&self) -> Result<Vec<PingCount>, LabError> {
        self.wait_for_replies()?;
        Ok(self.shared.pairs().iter().map(|pair| pair.stream.count.clone()).collect())
    }

    fn wait_for_replies(&self) -> Result<(), LabError> {
        let asked = Instant::now();
        wait_until("late replies to pings", PATIENCE * 5, || {
            let pairs = self.shared.pairs();
            let is_open = |pair: &&Pair| pair.stream.waiting.values().any(|sent| *sent < asked);
            match pairs.iter().filter(is_open).count() {
                0 => Ok(()),
                count => Err(format!("{count} pairs wait")),
            }
        })
    }
}

impl Drop for PingMesh {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared) {
    while !shared.is_over.load(Ordering::Relaxed) {
        let round = Instant::now();
        for pair in shared.pairs().iter_mut().filter(|pair| !pair.is_ending) {
            pair.stream.send();
        }
        while round.elapsed() < INTERVAL {
            std::thread::sleep(LOOK);
            shared.pairs().iter_mut().for_each(|pair| pair.stream.collect());
        }
    }
}
