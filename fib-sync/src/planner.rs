//! What to ask of the kernel next: a state machine without I/O and without a clock. One per `Fib`.
//!
//! It holds two opinions per prefix, what is *wanted* and what the kernel is *believed* to have, and a queue of
//! prefixes for which they may differ. The driver asks for [`Planner::next_work`], does it, and reports how it ended;
//! in between it feeds what the owner wants and what the monitor hears. A prefix is in one request at a time, so one
//! that changes five times meanwhile costs one more. A second batch goes out before the first has ended only when it
//! is full: the kernel then never waits for us, and a trickle of changes still meets one batch at a time.
//!
//! ```text
//! owner:   replace_all, apply, converged, remove_all ─┐
//! monitor: notice ────────────────────────────────────┼─> Planner ──> next_work ──> kernel
//! kernel:  batch_done, dump_done ─────────────────────┘      ▲                         │
//!                                                            └─────────────────────────┘
//! ```
//!
//! # Whose route is it
//! A belief is `Absent`, `Made` (the kernel accepted it from us) or `Found` (read back with our table and protocol).
//! Only `Made` and `Found` routes are replaced or deleted. A route is created with "fail if it exists"; when it does
//! exist, the belief may be wrong or the route is somebody else's, and a dump decides which: the prefix is *contested*
//! until then, and a *conflict* if the route is not ours.

mod batches;
mod decisions;
mod dumps;
mod gateways;
mod metrics;
mod moves;
mod nexthops;
mod notices;
mod plans;
mod retries;
mod steps;
mod table;

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use self::nexthops::{Key, Nexthops};
use self::table::{Belief, Believed, Entry, Flag, RouteId, RouteTable, SlotId, Slots};
use crate::config::{FibConfig, NexthopObjects};
use crate::diff::{self, Presence};
use crate::error::Refusal;
use crate::kernel::{
    Action, Content, Hop, KernelRoute, Lost, NexthopContent, Notice, Op, Ownership, Reading, Refusals, Scope,
    Snapshot, Verb,
};
use crate::model::{Change, NextHopSet, Route, RouteKind};
use crate::reach::Reach;
use crate::resolve::{Environment, ResolvedHop};
use crate::status::{FibEvent, FibStatus, PendingRoute, ResyncReason};

/// After a change elsewhere, refused routes are tried again this soon, unless that was fruitless just before.
const RETRY_SOON: Duration = Duration::from_millis(10);
/// The least time between two dumps; a dump that takes long earns a longer rest.
const DUMP_GAP_MIN: Duration = Duration::from_millis(20);
const DUMP_GAP_MAX: Duration = Duration::from_secs(60);
/// Rest after a dump, as a multiple of its own cost: reading back costs at most a sixth of the time.
const DUMP_REST: u32 = 5;
/// Batches that are out at once: one that the kernel works on, and one that waits for it.
const BATCHES_MAX: usize = 2;
/// Events that wait for the driver; more are counted and dropped.
const EVENTS_MAX: usize = 8192;

/// The next thing for the kernel to do.
#[derive(Debug)]
pub(crate) enum Work {
    Batch(Vec<Op>),
    Dump(Reading),
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Planner {
    config: FibConfig,
    ownership: Ownership,
    routes: RouteTable,
    wanted: Slots<Wanted, Means>,
    found: Slots<Found, ()>,
    nexthops: Nexthops,
    has_nexthops: bool,
    environment: Environment,
    /// Gateways whose way the kernel has yet to be asked for.
    unasked: BTreeSet<IpAddr>,
    /// Routes of ours under another metric than the one wanted for their prefix, and what was read back of them, unless
    /// they are about to go.
    strays: HashMap<(IpNet, u32), Option<Arc<Content>>>,
    /// Prefixes to look at, each at most once.
    queue: VecDeque<RouteId>,
    /// Refused, by prefix.
    pending: HashMap<IpNet, Pending>,
    /// Work given out and not yet reported, oldest first: batches, or one dump.
    in_flight: VecDeque<InFlight>,
    /// A buffer to plan the next batch in.
    spare_ops: Vec<Op>,
    random: u64,
    /// A kind with many routes is not wanted any more: see [`Planner::move_objects`].
    moves_due: bool,
    /// Entries at the front of the queue that belong to the run last chosen.
    run_left: usize,
    dump: DumpPlan,
    retry: RetryPlan,
    audit_at: Option<Instant>,
    may_delete: bool,
    strays_due: bool,
    /// Leftovers deleted since the owner converged, not yet told.
    sweeping: Option<usize>,
    status: FibStatus,
    is_listened_to: bool,
    events: VecDeque<FibEvent>,
    events_missed: u64,
}

/// What is wanted for some prefixes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wanted {
    kind: RouteKind,
    metric: Option<u32>,
}

impl From<&Route> for Wanted {
    fn from(route: &Route) -> Wanted {
        Wanted { kind: route.kind.clone(), metric: route.metric }
    }
}

/// What was read back for some prefixes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Found {
    metric: u32,
    content: Arc<Content>,
}

/// How a wanted kind is put to the kernel, and what it was put with before.
#[derive(Debug, Default)]
struct Means {
    plan: Plan,
    /// Nexthop objects of earlier plans, and of other kinds whose routes all have become of this kind. Routes may
    /// still refer to them, and would go with them, so they are kept until no route is of this kind any more.
    parked: Vec<u32>,
    /// A parked object may not be what it should: the next dump must look at what its routes lead to.
    is_doubtful: bool,
    /// How many entries want this kind.
    wanting: u32,
}

/// A wanted kind in the kernel's terms, given the interfaces of the moment.
#[derive(Debug, Default)]
enum Plan {
    #[default]
    Unplanned,
    /// Not even worth a request.
    Blocked(Refusal),
    Ready(Arc<Content>),
}

impl Plan {
    /// The nexthop object that the plan builds on, or 0.
    fn nexthop_id(&self) -> u32 {
        match self {
            Plan::Ready(content) => content.nexthop_id,
            _ => 0,
        }
    }
}

#[derive(Debug, Clone)]
struct Pending {
    reason: Refusal,
    is_conflict: bool,
}

#[derive(Debug)]
enum InFlight {
    /// What each request of the batch is about.
    Batch(Vec<Sent>),
    Dump {
        scope: Scope,
        reason: Option<ResyncReason>,
        /// Only gateways that had not been asked for are.
        is_addition: bool,
    },
}

/// What a request is about, as far as routes are concerned.
#[derive(Debug, Clone, Copy)]
enum Sent {
    Delete(RouteId),
    /// The request holds a reference to the kind.
    Set(RouteId, SlotId),
    /// A nexthop object, or a route under another metric.
    Other,
}

/// When the kernel is to be read back.
#[derive(Debug, Default)]
struct DumpPlan {
    /// `Some`: due, as far as the rest after the last one allows.
    wanted: Option<(Scope, Option<ResyncReason>)>,
    /// No request may go out before it.
    is_barrier: bool,
    not_before: Option<Instant>,
    failures: u32,
    has_succeeded: bool,
}

/// When refused routes are tried again.
#[derive(Debug)]
struct RetryPlan {
    at: Option<Instant>,
    last: Option<Instant>,
    slow_gap: Duration,
    soon_gap: Duration,
    succeeded: bool,
    /// It was planned because something changed, and is for one route of each kind.
    is_hurried: bool,
    /// Kinds of which one route is being tried.
    probed: HashSet<SlotId>,
}

// ---- Inputs from the owner ----
impl Planner {
    /// A planner that knows nothing of the kernel; the first work must be a full dump, see
    /// [`dump_done`](Self::dump_done).
    pub(crate) fn new(config: &FibConfig, now: Instant) -> Planner {
        Planner {
            ownership: config.ownership(),
            routes: RouteTable::default(),
            wanted: Slots::new(),
            found: Slots::new(),
            nexthops: Nexthops::new(config.ownership()),
            has_nexthops: config.nexthop_objects == NexthopObjects::Auto,
            environment: Environment::default(),
            unasked: BTreeSet::new(),
            strays: HashMap::new(),
            queue: VecDeque::new(),
            pending: HashMap::new(),
            in_flight: VecDeque::new(),
            spare_ops: Vec::new(),
            random: 0x9e37_79b9_7f4a_7c15,
            moves_due: false,
            run_left: 0,
            dump: DumpPlan { wanted: Some((Scope::Full, None)), is_barrier: true, ..DumpPlan::default() },
            retry: RetryPlan {
                at: None,
                last: None,
                slow_gap: config.retry_first,
                soon_gap: RETRY_SOON,
                succeeded: false,
                is_hurried: false,
                probed: HashSet::new(),
            },
            audit_at: config.audit_interval.map(|interval| now + interval),
            may_delete: false,
            strays_due: false,
            sweeping: None,
            status: FibStatus::default(),
            is_listened_to: false,
            events: VecDeque::new(),
            events_missed: 0,
            config: config.clone(),
        }
    }

    /// Makes `desired` the whole of what is wanted, and implies [`converged`](Self::converged). Routes must be valid.
    #[cfg(test)]
    pub(crate) fn replace_all(&mut self, desired: Vec<Route>) {
        self.begin_replacement(&desired);
        desired.into_iter().for_each(|route| self.name(&route));
        self.end_replacement();
    }

    /// A set that is to be the whole of what is wanted will be [named](Self::name) route by route.
    pub(crate) fn begin_replacement(&mut self, desired: &[Route]) {
        let v4 = desired.iter().filter(|route| route.prefix.addr().is_ipv4()).count();
        self.routes.reserve(v4, desired.len() - v4);
    }

    /// One route of the set; it must be valid.
    pub(crate) fn name(&mut self, route: &Route) {
        let id = self.routes.find_or_add(&route.prefix);
        self.want(id, &Wanted::from(route));
        self.routes.entry_mut(id).put(Flag::Named, true);
    }

    /// The set is complete: what was not named is not wanted.
    pub(crate) fn end_replacement(&mut self) {
        let dropped = self.routes.ids_where(|entry| entry.wanted().is_some() && !entry.has(Flag::Named));
        for entry in self.routes.entries_mut() {
            entry.put(Flag::Named, false);
        }
        dropped.into_iter().for_each(|id| self.want_nothing(id));
        self.converged();
    }

    /// Takes one change. The route must be valid.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Remove(prefix) => {
                if let Some(id) = self.routes.find(&prefix) {
                    self.want_nothing(id);
                }
            }
            Change::Set(route) => {
                let id = self.routes.find_or_add(&route.prefix);
                self.want(id, &Wanted::from(&route));
            }
        }
    }

    /// Everything wanted has been said: what nobody asked for may go.
    pub(crate) fn converged(&mut self) {
        if !std::mem::replace(&mut self.may_delete, true) {
            self.sweeping = Some(0);
            self.nexthops.mark_garbage();
        }
        if self.status.leftover > 0 {
            let is_leftover = |entry: &Entry| entry.wanted().is_none() && entry.belief != Belief::ABSENT;
            self.routes.ids_where(is_leftover).into_iter().for_each(|id| self.enqueue(id));
        }
        self.strays_due = !self.strays.is_empty();
    }

    /// Wants nothing any more, and all of ours gone.
    pub(crate) fn remove_all(&mut self) {
        self.end_replacement();
    }

    fn want(&mut self, id: RouteId, wanted: &Wanted) {
        let new = self.wanted.acquire(wanted);
        if self.wanted.references(new) == 1 {
            self.ask_for(&wanted.kind);
        }
        if self.routes.entry(id).wanted() == Some(new) {
            // Wanted already: the extra reference goes back.
            return self.release_wanted(new);
        }
        self.set_wanted(id, Some(new));
    }

    fn want_nothing(&mut self, id: RouteId) {
        if self.routes.entry(id).wanted().is_some() {
            self.set_wanted(id, None);
        }
    }

    /// Replaces what is wanted by something else; a reference to it is handed over.
    fn set_wanted(&mut self, id: RouteId, new: Option<SlotId>) {
        let entry = self.routes.entry_mut(id);
        let old = entry.wanted();
        entry.set_wanted(new);
        let is_present = entry.belief != Belief::ABSENT;
        if entry.put(Flag::InStep, false) {
            self.status.installed -= 1;
        }
        match (old, new) {
            (None, Some(_)) => {
                self.status.desired += 1;
                self.status.leftover -= usize::from(is_present);
            }
            (Some(_), None) => {
                self.status.desired -= 1;
                self.status.leftover += usize::from(is_present);
            }
            _ => {}
        }
        if let Some(means) = new.and_then(|new| self.wanted.extra_mut(new)) {
            means.wanting += 1;
        }
        if let Some(old) = old {
            if let Some(means) = self.wanted.extra_mut(old) {
                means.wanting -= 1;
                let is_deserted = means.wanting == 0;
                self.moves_due |= is_deserted && self.wanted.references(old) > moves::LEN_MIN;
            }
            self.release_wanted(old);
        }
        self.align(id);
        self.enqueue(id);
    }
}

// ---- Outputs ----
impl Planner {
    /// What the kernel is to do now, if anything. Its end must be reported by [`batch_done`](Self::batch_done) or
    /// [`dump_done`](Self::dump_done) before the next is given out.
    pub(crate) fn next_work(&mut self, now: Instant) -> Option<Work> {
        if self.in_flight.len() >= BATCHES_MAX || self.is_dump_in_flight() {
            return None;
        }
        if self.audit_at.is_some_and(|at| at <= now) {
            self.request_dump(Scope::Full, ResyncReason::Audit);
            self.audit_at = self.config.audit_interval.map(|interval| now + interval);
        }
        if let Some((scope, reason)) = self.dump.wanted
            && self.dump.not_before.is_none_or(|at| at <= now)
        {
            if !self.in_flight.is_empty() {
                return None;
            }
            self.dump.wanted = None;
            self.in_flight.push_back(InFlight::Dump { scope, reason, is_addition: false });
            return Some(Work::Dump(Reading { scope, gateways: self.far_gateways() }));
        }
        if !self.unasked.is_empty() {
            return self.ask();
        }
        let is_worth_it =
            self.in_flight.is_empty() || self.queue.len() >= self.config.batch_len && !self.moves_due;
        if self.dump.is_barrier || !is_worth_it {
            return None;
        }
        // Not while much else waits: the refused would be tried again before the rest has been tried once.
        if self.queue.is_empty() && self.retry.at.is_some_and(|at| at <= now) {
            self.retry_pending(now);
        }
        let work = self.next_batch();
        if self.retry.at.is_none() {
            // A route may have been found impossible without a request.
            self.plan_retry(now);
        }
        work
    }

    /// When [`next_work`](Self::next_work) is to be asked even if nothing else happens.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if !self.in_flight.is_empty() {
            return None;
        }
        let dump = self.dump.wanted.and(self.dump.not_before);
        let is_barred = self.dump.is_barrier || !self.unasked.is_empty();
        let retry = if is_barred { None } else { self.retry.at };
        [dump, retry, self.audit_at].into_iter().flatten().min()
    }

    /// Whether nothing is queued, in flight or about to be read back. Refused routes may be waiting.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
            && self.queue.is_empty()
            && self.dump.wanted.is_none()
            && self.unasked.is_empty()
            && !self.strays_due
            && self.sweeping.is_none()
            && !(self.may_collect() && self.nexthops.has_garbage())
            && !self.nexthops.needs_repair()
    }

    fn is_dump_in_flight(&self) -> bool {
        matches!(self.in_flight.front(), Some(InFlight::Dump { .. }))
    }

    /// Whether so much is queued that the owner should wait.
    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= self.config.queue_limit
    }

    /// Whether the kernel's routes have been read at least once.
    pub(crate) fn knows_kernel(&self) -> bool {
        !self.dump.is_barrier
    }

    /// Whether events are wanted at all.
    pub(crate) fn set_listened_to(&mut self, is_listened_to: bool) {
        self.is_listened_to = is_listened_to;
    }

    /// The next event, oldest first.
    pub(crate) fn poll_event(&mut self) -> Option<FibEvent> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let missed = std::mem::take(&mut self.events_missed);
        (missed > 0).then_some(FibEvent::Lagged { missed })
    }

    /// Where things stand.
    pub(crate) fn status(&self) -> FibStatus {
        let mut pending_routes: Vec<PendingRoute> = self
            .pending
            .iter()
            .take(FibStatus::PENDING_SHOWN_MAX)
            .map(|(prefix, pending)| PendingRoute {
                prefix: *prefix,
                reason: pending.reason.clone(),
                is_conflict: pending.is_conflict,
            })
            .collect();
        pending_routes.sort_by_key(|pending| pending.prefix);
        FibStatus {
            queued: self.queue.len(),
            pending: self.pending.len(),
            pending_routes,
            leftover: self.status.leftover + self.strays.len(),
            nexthop_objects: self.nexthops.len(),
            ..self.status.clone()
        }
    }

    fn emit(&mut self, event: FibEvent) {
        if !self.is_listened_to {
            return;
        }
        if self.events.len() < EVENTS_MAX {
            self.events.push_back(event);
        } else {
            self.events_missed += 1;
        }
    }
}

#[cfg(test)]
mod tests;
