//! When somebody wants to be called: one queue for the whole speaker.
//!
//! A timer that is put off (the hold timer, with every message) costs nothing here: its entry stays, fires
//! early, and its owner says when it really wants to be called.

use super::collision::Direction;
use super::rib::Source;
use super::time::MonoTime;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Who.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A connection's state machine.
    Session(Source, Direction),
    /// A peer: retry, and the end of its graceful restart.
    Peer(Source),
    /// The speaker's own convergence.
    Convergence,
}

/// The queue. One per speaker.
#[derive(Debug, Default)]
pub struct Deadlines {
    heap: BinaryHeap<Reverse<(MonoTime, Owner)>>,
    /// The earliest entry of each owner.
    armed: HashMap<Owner, MonoTime>,
}

impl Deadlines {
    /// The owner wants to be called at this time, or earlier.
    pub fn arm(&mut self, owner: Owner, at: MonoTime) {
        if self.armed.get(&owner).is_none_or(|armed| at < *armed) {
            self.armed.insert(owner, at);
            self.heap.push(Reverse((at, owner)));
        }
    }

    /// The earliest entry.
    pub fn next(&self) -> Option<MonoTime> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// An owner whose entry is due. It is to arm itself again if it still wants to be called.
    pub fn pop_due(&mut self, now: MonoTime) -> Option<Owner> {
        while self.next().is_some_and(|at| at <= now) {
            let Reverse((at, owner)) = self.heap.pop()?;
            if self.armed.get(&owner) == Some(&at) {
                self.armed.remove(&owner);
                return Some(owner);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(secs: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_secs(secs))
    }

    #[test]
    fn an_owner_is_called_once_for_its_earliest_time() {
        let mut deadlines = Deadlines::default();
        deadlines.arm(Owner::Convergence, at(5));
        deadlines.arm(Owner::Convergence, at(3));
        deadlines.arm(Owner::Convergence, at(9));
        deadlines.arm(Owner::Peer(Source(1)), at(4));
        assert_eq!(deadlines.pop_due(at(2)), None);
        assert_eq!(deadlines.pop_due(at(10)), Some(Owner::Convergence));
        assert_eq!(deadlines.pop_due(at(10)), Some(Owner::Peer(Source(1))));
        assert_eq!(deadlines.pop_due(at(10)), None);
    }
}
