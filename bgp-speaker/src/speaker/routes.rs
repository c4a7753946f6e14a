//! Following the Loc-RIB.

use super::SpeakerHandle;
use crate::config::AnnouncementKind;
use crate::engine::BestRoute;
use crate::io::command::Command;
use bgp_proto::NextHop;
use ipnet::IpNet;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use tokio::sync::oneshot;

/// A change of the Loc-RIB, as a subscriber sees it: the present state of a prefix, which may be what was told before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteChange {
    /// Another program has put the prefix into the kernel, or it is the network of an interface.
    Kernel {
        /// The prefix.
        prefix: IpNet,
    },
    /// We originate the prefix.
    Local {
        /// The prefix.
        prefix: IpNet,
        /// A block is a blackhole in the FIB.
        kind: AnnouncementKind,
    },
    /// The best path was learned.
    Learned {
        /// The prefix.
        prefix: IpNet,
        /// Where packets go.
        next_hop: NextHop,
        /// Where else they may go (multipath, ECMP): next hops of paths that lose to the best one by a mere tie-breaker
        /// (all that RFC 4271 §9.1.2.2 compares after step e), the next best first. Empty unless
        /// [`FibRules::next_hops_max`](crate::config::FibRules::next_hops_max) is above 1.
        equal_next_hops: Vec<NextHop>,
        /// The neighbour that told us.
        from: IpAddr,
        /// Its LOCAL_PREF; 100 where it has none.
        local_pref: u32,
    },
    /// No path is left.
    Withdrawn {
        /// The prefix.
        prefix: IpNet,
    },
    /// The first convergence is done: what has not been told by now does not exist. Told once.
    Converged,
}

impl RouteChange {
    pub(crate) fn of(prefix: IpNet, best: Option<BestRoute>) -> Self {
        match best {
            None => RouteChange::Withdrawn { prefix },
            Some(BestRoute::Kernel) => RouteChange::Kernel { prefix },
            Some(BestRoute::Local(kind)) => RouteChange::Local { prefix, kind },
            Some(BestRoute::Learned { next_hop, equal_next_hops, from, local_pref }) => {
                RouteChange::Learned { prefix, next_hop, equal_next_hops, from, local_pref }
            }
        }
    }
}

/// A subscription to the Loc-RIB: see [`SpeakerHandle::subscribe`].
///
/// Bounded: what is not fetched waits as a set of prefixes, and is told in its latest state.
#[derive(Debug)]
pub struct RouteSubscription {
    id: u64,
    handle: SpeakerHandle,
    changes: VecDeque<RouteChange>,
    /// Kept over a cancelled call, so that nothing that was answered is lost.
    answer: Option<oneshot::Receiver<Vec<RouteChange>>>,
    /// Gone once nobody listens any more: then nothing is kept for it.
    life: Option<Arc<()>>,
}

impl RouteSubscription {
    pub(super) fn new(id: u64, handle: SpeakerHandle) -> Self {
        Self { id, handle, changes: VecDeque::new(), answer: None, life: Some(Arc::default()) }
    }

    /// By which the speaker knows it, and sees whether it is still there.
    pub(super) fn ticket(&self) -> Ticket {
        let life = self.life.as_ref().map(Arc::downgrade).unwrap_or_default();
        Ticket { id: self.id, life }
    }

    /// The next change; `None` once the speaker has stopped. Can be cancelled without losing anything.
    pub async fn next(&mut self) -> Option<RouteChange> {
        while self.changes.is_empty() {
            self.changes = self.next_batch().await?.into();
        }
        self.changes.pop_front()
    }

    /// The next changes, at least one; `None` once the speaker has stopped. Can be cancelled without losing anything.
    pub async fn next_batch(&mut self) -> Option<Vec<RouteChange>> {
        if !self.changes.is_empty() {
            return Some(std::mem::take(&mut self.changes).into());
        }
        if self.answer.is_none() {
            let (reply, answer) = oneshot::channel();
            self.handle.commands.send(Command::NextRoutes(self.ticket(), reply)).await.ok()?;
            self.answer = Some(answer);
        }
        let answer = self.answer.as_mut()?.await;
        self.answer = None;
        answer.ok()
    }
}

impl Drop for RouteSubscription {
    fn drop(&mut self) {
        self.life = None;
        // Wakes a speaker that has nothing else to do. With a full channel it is awake, and sees by itself who has gone.
        _ = self.handle.commands.try_send(Command::Unsubscribe(self.id));
    }
}

/// What a speaker knows of a subscription.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) id: u64,
    pub(crate) life: Weak<()>,
}
