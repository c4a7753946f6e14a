//! What to ask of the kernel next: a state machine without I/O and without a clock. One per `Fib`.
//!
//! It holds two opinions per prefix, what is *wanted* and what the kernel is *believed* to have, and a queue of
//! prefixes for which they may differ. The driver asks for [`Planner::next_work`], does it, and reports how it ended;
//! in between it feeds what the owner wants and what the monitor hears. One piece of work is out at a time, so a
//! prefix that changes five times meanwhile costs one request.
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

mod nexthops;
mod table;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use self::nexthops::{Key, Nexthops};
use self::table::{Belief, Believed, Entry, Flag, RouteTable, SlotId, Slots};
use crate::config::{FibConfig, NexthopObjects};
use crate::diff::{self, Presence, Step};
use crate::error::Refusal;
use crate::kernel::{
    Action, Content, Hop, KernelRoute, Lost, NexthopContent, Notice, Op, Ownership, Refusals, Scope, Snapshot,
    Verb,
};
use crate::model::{Change, NextHop, NextHopSet, Route, RouteKind};
use crate::resolve::Environment;
use crate::status::{FibEvent, FibStatus, PendingRoute, ResyncReason};

/// After a change elsewhere, refused routes are tried again this soon, unless that was fruitless just before.
const RETRY_SOON: Duration = Duration::from_millis(10);
/// The least time between two dumps; a dump that takes long earns a longer rest.
const DUMP_GAP_MIN: Duration = Duration::from_millis(20);
const DUMP_GAP_MAX: Duration = Duration::from_secs(60);
/// Rest after a dump, as a multiple of its own length: reading back costs at most a sixth of the time.
const DUMP_REST: u32 = 5;
/// Events that wait for the driver; more are counted and dropped.
const EVENTS_MAX: usize = 8192;

/// The next thing for the kernel to do.
#[derive(Debug)]
pub(crate) enum Work {
    Batch(Arc<[Op]>),
    Dump(Scope),
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Planner {
    config: FibConfig,
    ownership: Ownership,
    routes: RouteTable,
    wanted: Slots<RouteKind, Means>,
    found: Slots<Arc<Content>, ()>,
    nexthops: Nexthops,
    has_nexthops: bool,
    environment: Environment,
    /// Routes of ours under another metric, from an earlier configuration.
    strays: HashSet<(IpNet, u32)>,
    /// Prefixes to look at, each at most once.
    queue: VecDeque<IpNet>,
    /// Refused, by prefix.
    pending: HashMap<IpNet, Pending>,
    in_flight: Option<InFlight>,
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

/// How a wanted kind is put to the kernel, and what it was put with before.
#[derive(Debug, Default)]
struct Means {
    plan: Plan,
    /// Nexthop objects of earlier plans. Routes may still refer to them, and would go with them, so they are kept
    /// until no route is of this kind any more.
    parked: Vec<u32>,
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
    Batch { ops: Arc<[Op]>, sent: Vec<Option<SlotId>> },
    Dump { scope: Scope, since: Instant, reason: Option<ResyncReason> },
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
            strays: HashSet::new(),
            queue: VecDeque::new(),
            pending: HashMap::new(),
            in_flight: None,
            dump: DumpPlan { wanted: Some((Scope::Full, None)), is_barrier: true, ..DumpPlan::default() },
            retry: RetryPlan {
                at: None,
                last: None,
                slow_gap: config.retry_first,
                soon_gap: RETRY_SOON,
                succeeded: false,
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
    pub(crate) fn replace_all(&mut self, desired: Vec<Route>) {
        let v4 = desired.iter().filter(|route| route.prefix.addr().is_ipv4()).count();
        self.routes.reserve(v4, desired.len() - v4);
        for route in desired {
            self.want(route.prefix, Some(&route.kind));
            self.routes.entry(&route.prefix).put(Flag::Met, true);
        }
        let is_dropped = |entry: &Entry| entry.wanted().is_some() && !entry.has(Flag::Met);
        let dropped: Vec<IpNet> =
            self.routes.iter().filter(|(_, entry)| is_dropped(entry)).map(|(prefix, _)| prefix).collect();
        self.clear_met();
        dropped.into_iter().for_each(|prefix| self.want(prefix, None));
        self.converged();
    }

    /// Takes one change. The route must be valid.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Remove(prefix) => self.want(prefix, None),
            Change::Set(route) => self.want(route.prefix, Some(&route.kind)),
        }
    }

    /// Everything wanted has been said: what nobody asked for may go.
    pub(crate) fn converged(&mut self) {
        if !std::mem::replace(&mut self.may_delete, true) {
            self.sweeping = Some(0);
            self.nexthops.mark_garbage();
        }
        let leftover: Vec<IpNet> = match self.status.leftover {
            0 => Vec::new(),
            _ => {
                let is_leftover =
                    |entry: &Entry| entry.wanted().is_none() && entry.belief != Belief::ABSENT;
                self.routes.iter().filter(|(_, entry)| is_leftover(entry)).map(|(prefix, _)| prefix).collect()
            }
        };
        leftover.iter().for_each(|prefix| self.enqueue(prefix));
        self.strays_due = !self.strays.is_empty();
    }

    /// Wants nothing any more, and all of ours gone.
    pub(crate) fn remove_all(&mut self) {
        self.replace_all(Vec::new());
    }

    fn want(&mut self, prefix: IpNet, kind: Option<&RouteKind>) {
        let id = kind.map(|kind| self.wanted.acquire(kind));
        if id.is_none() && self.routes.get(&prefix).is_none() {
            return;
        }
        let entry = self.routes.entry(&prefix);
        let old = entry.wanted();
        if old == id {
            // Wanted already: the extra reference goes back.
            self.release_wanted(id);
            return;
        }
        entry.set_wanted(id);
        let is_present = entry.belief != Belief::ABSENT;
        if entry.put(Flag::InStep, false) {
            self.status.installed -= 1;
        }
        match (old, id) {
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
        self.release_wanted(old);
        self.enqueue(&prefix);
    }
}

// ---- Outputs ----
impl Planner {
    /// What the kernel is to do now, if anything. Its end must be reported by [`batch_done`](Self::batch_done) or
    /// [`dump_done`](Self::dump_done) before the next is given out.
    pub(crate) fn next_work(&mut self, now: Instant) -> Option<Work> {
        if self.in_flight.is_some() {
            return None;
        }
        if self.audit_at.is_some_and(|at| at <= now) {
            self.request_dump(Scope::Full, ResyncReason::Audit);
            self.audit_at = self.config.audit_interval.map(|interval| now + interval);
        }
        if let Some((scope, reason)) = self.dump.wanted
            && self.dump.not_before.is_none_or(|at| at <= now)
        {
            self.dump.wanted = None;
            self.in_flight = Some(InFlight::Dump { scope, since: now, reason });
            return Some(Work::Dump(scope));
        }
        if self.dump.is_barrier {
            return None;
        }
        if self.retry.at.is_some_and(|at| at <= now) {
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
        if self.in_flight.is_some() {
            return None;
        }
        let dump = self.dump.wanted.and(self.dump.not_before);
        let retry = if self.dump.is_barrier { None } else { self.retry.at };
        [dump, retry, self.audit_at].into_iter().flatten().min()
    }

    /// Whether nothing is queued, in flight or about to be read back. Refused routes may be waiting.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_none()
            && self.queue.is_empty()
            && self.dump.wanted.is_none()
            && !self.strays_due
            && self.sweeping.is_none()
            && !(self.may_delete && self.nexthops.has_garbage())
            && !self.nexthops.needs_repair()
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

// ---- From opinions to requests ----
impl Planner {
    fn enqueue(&mut self, prefix: &IpNet) {
        if let Some(entry) = self.routes.get_mut(prefix)
            && !entry.put(Flag::Queued, true)
        {
            self.queue.push_back(*prefix);
        }
    }

    fn next_batch(&mut self) -> Option<Work> {
        let mut ops = Vec::new();
        let mut sent = Vec::new();
        self.nexthops.repair(&mut ops);
        while ops.len() < self.config.batch_len {
            let Some(prefix) = self.queue.pop_front() else { break };
            self.step(prefix, &mut ops, &mut sent);
        }
        if ops.len() < self.config.batch_len {
            self.add_cleanup(&mut ops);
        }
        if self.queue.is_empty() {
            // A full table's worth of queue is not kept for the rest of the process's life.
            self.queue.shrink_to(self.config.batch_len);
        }
        if ops.is_empty() {
            self.finish_sweep();
            return None;
        }
        sent.resize(ops.len(), None);
        let ops: Arc<[Op]> = ops.into();
        self.in_flight = Some(InFlight::Batch { ops: Arc::clone(&ops), sent });
        self.status.batches += 1;
        Some(Work::Batch(ops))
    }

    /// Adds what one prefix needs. `sent` runs parallel to `ops` and says what a route was made from.
    fn step(&mut self, prefix: IpNet, ops: &mut Vec<Op>, sent: &mut Vec<Option<SlotId>>) {
        let Some(entry) = self.routes.get_mut(&prefix) else { return };
        entry.put(Flag::Queued, false);
        if entry.has(Flag::Contested) {
            // A dump is on its way, and will queue it again.
            return;
        }
        let entry = *entry;
        let presence = self.presence(&entry);
        match diff::step(entry.wanted().is_some(), presence, self.may_delete) {
            Step::Nothing => self.settle(prefix, presence),
            Step::Delete => {
                let metric = self.ownership.metric_for(&prefix);
                ops.push(Op::DeleteRoute { prefix, metric });
                self.mark_in_flight(&prefix);
            }
            Step::Create => self.set_route(prefix, entry, Verb::Create, ops, sent),
            Step::Replace => self.set_route(prefix, entry, Verb::Replace, ops, sent),
        }
    }

    fn set_route(
        &mut self,
        prefix: IpNet,
        entry: Entry,
        verb: Verb,
        ops: &mut Vec<Op>,
        sent: &mut Vec<Option<SlotId>>,
    ) {
        let Some(id) = entry.wanted() else { return };
        match self.plan(id) {
            Err(reason) => self.refuse(prefix, reason, false),
            Ok(content) => {
                if content.nexthop_id != 0 {
                    self.nexthops.ensure(content.nexthop_id, ops);
                }
                sent.resize(ops.len(), None);
                ops.push(Op::SetRoute { prefix, verb, content });
                sent.push(Some(id));
                self.wanted.retain(id);
                self.mark_in_flight(&prefix);
            }
        }
    }

    fn mark_in_flight(&mut self, prefix: &IpNet) {
        self.routes.entry(prefix).put(Flag::InFlight, true);
    }

    fn presence(&self, entry: &Entry) -> Presence {
        let Some(wanted) = entry.wanted() else {
            return if entry.belief == Belief::ABSENT { Presence::Absent } else { Presence::Different };
        };
        let is_equal = match entry.belief.get() {
            Believed::Absent => return Presence::Absent,
            Believed::Made(made) => made == wanted,
            Believed::Found(found) => match (self.wanted.value(wanted), self.found.value(found)) {
                (Some(wanted), Some(found)) => diff::is_equal(wanted, found, &self.environment),
                _ => false,
            },
        };
        if is_equal { Presence::Equal } else { Presence::Different }
    }

    /// Nothing is to be done for a prefix: because it is as wanted, or because nothing is there and wanted.
    fn settle(&mut self, prefix: IpNet, presence: Presence) {
        self.pending_forget(&prefix);
        match presence {
            Presence::Equal => self.mark_in_step(prefix),
            Presence::Absent => self.routes.remove(&prefix),
            Presence::Different => {}
        }
    }

    fn mark_in_step(&mut self, prefix: IpNet) {
        let entry = self.routes.entry(&prefix);
        let was_repair = entry.put(Flag::Repairing, false);
        if entry.put(Flag::InStep, true) {
            return;
        }
        self.status.installed += 1;
        if was_repair {
            self.status.repaired += 1;
            self.emit(FibEvent::Repaired { prefix });
        } else {
            self.emit(FibEvent::Installed { prefix });
        }
    }

    /// Adds deletions of routes under other metrics and of unused nexthop objects.
    fn add_cleanup(&mut self, ops: &mut Vec<Op>) {
        if !self.may_delete {
            return;
        }
        if std::mem::take(&mut self.strays_due) {
            for (prefix, metric) in &self.strays {
                // What replaces it comes first.
                let is_replaced =
                    self.routes.get(prefix).is_none_or(|e| e.wanted().is_none() || e.has(Flag::InStep));
                if is_replaced {
                    ops.push(Op::DeleteRoute { prefix: *prefix, metric: *metric });
                }
            }
        }
        if self.queue.is_empty() && ops.is_empty() {
            let in_use: HashSet<u32> = self.found.iter().map(|(_, content, ())| content.nexthop_id).collect();
            self.nexthops.collect_garbage(|id| in_use.contains(&id), ops);
        }
    }

    fn finish_sweep(&mut self) {
        if self.queue.is_empty()
            && let Some(count) = self.sweeping.take()
            && count > 0
        {
            self.emit(FibEvent::Swept { count });
        }
    }
}

// ---- Plans: a wanted kind in the kernel's terms ----
impl Planner {
    /// How the kernel is to be asked for a wanted kind, planned once per set of next hops and not per route.
    fn plan(&mut self, id: SlotId) -> Result<Arc<Content>, Refusal> {
        if let Some(Means { plan: Plan::Unplanned, .. }) = self.wanted.extra(id)
            && let Some(kind) = self.wanted.value(id).cloned()
        {
            let plan = self.make_plan(&kind, true);
            self.set_plan(id, plan);
        }
        match self.wanted.extra(id).map(|means| &means.plan) {
            Some(Plan::Ready(content)) => Ok(Arc::clone(content)),
            Some(Plan::Blocked(reason)) => Err(reason.clone()),
            _ => Err(Refusal::new(libc::EINVAL)),
        }
    }

    /// Changes the plan of a kind that is in use. An object that the kernel has is parked, not let go.
    fn set_plan(&mut self, id: SlotId, plan: Plan) {
        let Some(means) = self.wanted.extra_mut(id) else { return };
        let new_id = plan.nexthop_id();
        let old_id = std::mem::replace(&mut means.plan, plan).nexthop_id();
        if old_id == 0 {
            return;
        }
        let is_held = old_id == new_id || means.parked.contains(&old_id);
        if is_held || !self.nexthops.is_present(old_id) {
            self.nexthops.release(old_id);
        } else {
            means.parked.push(old_id);
            self.nexthops.park(old_id);
        }
    }

    /// The last route of a kind is gone, and with it the need for its objects.
    fn drop_means(&mut self, means: Means) {
        let ids = means.parked.into_iter().chain(Some(means.plan.nexthop_id()));
        ids.filter(|id| *id != 0).for_each(|id| self.nexthops.release(id));
    }

    fn make_plan(&mut self, kind: &RouteKind, may_use_objects: bool) -> Plan {
        let bare = |action| Content { action, nexthop_id: 0, hops: Vec::new(), preferred_source: None, mtu: None };
        let ready = |content| Plan::Ready(Arc::new(content));
        let set = match kind {
            RouteKind::Blackhole => return ready(bare(Action::Blackhole)),
            RouteKind::Prohibit => return ready(bare(Action::Prohibit)),
            RouteKind::Unreachable => return ready(bare(Action::Unreachable)),
            RouteKind::Unicast(set) => set,
        };
        let hops = match self.resolve(set) {
            Ok(hops) => hops,
            Err(reason) => return Plan::Blocked(reason),
        };
        let mut content = bare(Action::Unicast);
        content.preferred_source = set.preferred_source();
        content.mtu = set.mtu();
        let object = if may_use_objects { self.nexthop_object(set, &hops) } else { None };
        match object {
            Some(id) => content.nexthop_id = id,
            None => content.hops = hops,
        }
        ready(content)
    }

    /// The set with interfaces as numbers, in the set's order; 0 where the kernel is to find the interface.
    fn resolve(&self, set: &NextHopSet) -> Result<Vec<Hop>, Refusal> {
        let resolve = |hop: &NextHop| {
            let interface = match (&hop.interface, hop.gateway) {
                (Some(name), _) => self.environment.interface(name.as_str()).ok_or_else(|| {
                    Refusal::with_text(libc::ENODEV, &format!("there is no interface {name}"))
                })?,
                (None, Some(gateway)) => self.environment.interface_towards(gateway).unwrap_or(0),
                (None, None) => 0,
            };
            let weight = u16::from(hop.weight.get());
            Ok(Hop { gateway: hop.gateway, interface, onlink: hop.onlink, weight })
        };
        set.next_hops().iter().map(resolve).collect()
    }

    /// The nexthop object for a set, if objects are in use and every hop of it can be one.
    fn nexthop_object(&mut self, set: &NextHopSet, hops: &[Hop]) -> Option<u32> {
        if !self.has_nexthops || hops.iter().any(|hop| hop.gateway.is_none() || hop.interface == 0) {
            return None;
        }
        let mut members = Vec::with_capacity(hops.len());
        for (wanted, hop) in set.next_hops().iter().zip(hops) {
            let Some(gateway) = hop.gateway else { continue };
            let key = Key::Single { gateway, interface: wanted.interface.clone(), onlink: wanted.onlink };
            let content =
                NexthopContent::Single { gateway: hop.gateway, interface: hop.interface, onlink: hop.onlink };
            match self.nexthops.acquire(key, content) {
                Some(id) => members.push((id, hop.weight)),
                None => {
                    members.iter().for_each(|(id, _)| self.nexthops.release(*id));
                    return None;
                }
            }
        }
        members.sort_unstable();
        if let [(id, _)] = members.as_slice() {
            return Some(*id);
        }
        let group = self.nexthops.acquire(Key::Group(members.clone()), NexthopContent::Group(members.clone()));
        // The group holds its members now; or there is none, and nobody does.
        members.iter().for_each(|(id, _)| self.nexthops.release(*id));
        group
    }

    /// Interfaces or networks have changed: plans are made anew, and with them the objects they share. Routes keep
    /// what they have; a dump tells those that no longer fit.
    fn replan(&mut self) {
        let ids: Vec<SlotId> = self.wanted.iter().map(|(id, _, _)| id).collect();
        let mut has_moved = false;
        for id in ids {
            let Some(kind) = self.wanted.value(id).cloned() else { continue };
            let Some(means) = self.wanted.extra(id) else { continue };
            if matches!(means.plan, Plan::Unplanned) {
                continue;
            }
            let old = self.plan(id).ok();
            let plan = self.make_plan(&kind, true);
            if let (Some(old), Plan::Ready(new)) = (&old, &plan) {
                has_moved |= old.nexthop_id == 0 && new.nexthop_id == 0 && old.hops != new.hops;
            }
            self.set_plan(id, plan);
        }
        if has_moved {
            self.request_dump(Scope::Full, ResyncReason::InterfaceGone);
        }
    }

    /// The kernel would not make a nexthop object: sets that need it fall back to plain gateways, or, where only its
    /// number is taken, to another number.
    fn plan_without(&mut self, nexthop_id: u32, may_use_objects: bool) {
        let needs_it = |means: &Means| {
            let id = means.plan.nexthop_id();
            id != 0 && self.nexthops.needs(id, nexthop_id)
        };
        let affected: Vec<SlotId> =
            self.wanted.iter().filter(|(_, _, means)| needs_it(means)).map(|(id, _, _)| id).collect();
        for id in affected {
            let Some(kind) = self.wanted.value(id).cloned() else { continue };
            self.set_plan(id, Plan::Unplanned);
            let plan = self.make_plan(&kind, may_use_objects);
            self.set_plan(id, plan);
        }
    }
}

// ---- Inputs from the kernel: batches ----
impl Planner {
    /// The batch that [`next_work`](Self::next_work) gave out has ended.
    pub(crate) fn batch_done(&mut self, now: Instant, result: Result<Refusals, Lost>) {
        let Some(InFlight::Batch { ops, sent }) = self.in_flight.take() else { return };
        let mut refusals = match result {
            Ok(refusals) => refusals,
            Err(lost) => return self.batch_lost(&ops, &sent, &lost),
        };
        refusals.sort_by_key(|(index, _)| *index);
        self.report(&ops, &refusals);
        let mut refusals = refusals.into_iter().peekable();
        // Objects come before the routes that need them, so a route's refusal can be put down to its object's.
        let mut refused_objects = HashSet::new();
        for (index, (op, sent)) in ops.iter().zip(sent).enumerate() {
            let refusal = refusals.next_if(|(at, _)| *at == index).map(|(_, refusal)| refusal);
            match &refusal {
                None => self.status.operations_ok += 1,
                Some(_) => self.status.operations_failed += 1,
            }
            match op {
                Op::DeleteNexthop { id } => match refusal {
                    Some(refusal) if refusal.errno != libc::ENOENT => self.nexthops.refused(*id, false),
                    _ => self.nexthops.done(*id, None),
                },
                Op::DeleteRoute { prefix, metric } => self.delete_done(*prefix, *metric, refusal),
                Op::SetNexthop { id, content, .. } => match refusal {
                    None => self.nexthops.done(*id, Some(content.clone())),
                    Some(refusal) => {
                        refused_objects.insert(*id);
                        self.nexthop_refused(*id, &refusal);
                    }
                },
                Op::SetRoute { prefix, content, .. } => {
                    let is_fault_of_object = refusal.is_some() && content.nexthop_id != 0 && {
                        let id = content.nexthop_id;
                        refused_objects.iter().any(|refused| self.nexthops.needs(id, *refused))
                            || refused_objects.contains(&id)
                    };
                    match (sent, refusal) {
                        (Some(id), None) => self.set_done(*prefix, id),
                        (Some(id), Some(refusal)) => {
                            self.release_wanted(Some(id));
                            self.set_refused(*prefix, refusal, is_fault_of_object);
                        }
                        (None, _) => {}
                    }
                }
            }
        }
        self.plan_retry(now);
    }

    fn report(&mut self, ops: &[Op], refusals: &Refusals) {
        let Some((index, refusal)) = refusals.first() else { return };
        let what = match ops.get(*index) {
            Some(Op::DeleteNexthop { id }) => format!("delete nexthop object {id}"),
            Some(Op::DeleteRoute { prefix, .. }) => format!("delete {prefix}"),
            Some(Op::SetNexthop { id, .. }) => format!("set nexthop object {id}"),
            Some(Op::SetRoute { prefix, .. }) => format!("set {prefix}"),
            None => return,
        };
        tracing::debug!(refused = refusals.len(), sent = ops.len(), first = %what, reason = %refusal, "refused");
        self.status.last_error = Some(format!("{what}: {refusal}"));
    }

    fn set_done(&mut self, prefix: IpNet, id: SlotId) {
        // The reference that the request held is now the belief's.
        self.set_belief(prefix, Belief::made(id));
        let entry = self.routes.entry(&prefix);
        entry.put(Flag::InFlight, false);
        if entry.wanted() == Some(id) {
            if !self.pending.is_empty() {
                self.retry.succeeded |= self.pending.contains_key(&prefix);
                self.pending_forget(&prefix);
            }
            self.mark_in_step(prefix);
        } else {
            self.enqueue(&prefix);
        }
        self.strays_due |= self.may_delete && !self.strays.is_empty();
    }

    fn set_refused(&mut self, prefix: IpNet, refusal: Refusal, is_fault_of_object: bool) {
        self.routes.entry(&prefix).put(Flag::InFlight, false);
        if is_fault_of_object {
            return self.enqueue(&prefix);
        }
        if refusal.errno != libc::EEXIST {
            return self.refuse(prefix, refusal, false);
        }
        let is_known = self.pending.get(&prefix).is_some_and(|pending| pending.is_conflict);
        if is_known {
            return self.refuse(prefix, refusal, true);
        }
        self.routes.entry(&prefix).put(Flag::Contested, true);
        self.request_dump(Scope::Full, ResyncReason::Exists);
    }

    fn delete_done(&mut self, prefix: IpNet, metric: u32, refusal: Option<Refusal>) {
        let is_gone = match &refusal {
            None => true,
            Some(refusal) => matches!(refusal.errno, libc::ESRCH | libc::ENOENT | libc::ENODEV),
        };
        if metric != self.ownership.metric_for(&prefix) {
            if is_gone && self.strays.remove(&(prefix, metric)) {
                self.status.removed += 1;
                self.count_swept();
            }
            return;
        }
        self.routes.entry(&prefix).put(Flag::InFlight, false);
        if !is_gone {
            return self.refuse(prefix, refusal.unwrap_or_else(|| Refusal::new(libc::EIO)), false);
        }
        let was_found = matches!(self.routes.entry(&prefix).belief.get(), Believed::Found(_));
        if was_found && self.routes.entry(&prefix).wanted().is_none() {
            self.count_swept();
        }
        self.status.removed += 1;
        self.set_belief(prefix, Belief::ABSENT);
        self.pending_forget(&prefix);
        self.emit(FibEvent::Removed { prefix });
        if self.routes.entry(&prefix).wanted().is_some() {
            self.enqueue(&prefix);
        } else if !self.routes.entry(&prefix).has(Flag::Queued) {
            self.routes.remove(&prefix);
        }
    }

    fn count_swept(&mut self) {
        self.status.swept += 1;
        *self.sweeping.get_or_insert(0) += 1;
    }

    fn nexthop_refused(&mut self, id: u32, refusal: &Refusal) {
        let is_foreign = refusal.errno == libc::EEXIST;
        if refusal.errno == libc::EOPNOTSUPP {
            self.has_nexthops = false;
        }
        self.plan_without(id, is_foreign);
        self.nexthops.refused(id, is_foreign);
    }

    fn refuse(&mut self, prefix: IpNet, reason: Refusal, is_conflict: bool) {
        let entry = self.routes.entry(&prefix);
        if entry.put(Flag::InStep, false) {
            self.status.installed -= 1;
        }
        let old = self.pending.insert(prefix, Pending { reason: reason.clone(), is_conflict });
        let was_conflict = old.as_ref().is_some_and(|old| old.is_conflict);
        self.status.conflicts += usize::from(is_conflict);
        self.status.conflicts -= usize::from(was_conflict);
        if is_conflict && !was_conflict {
            self.emit(FibEvent::Conflict { prefix });
        } else if old.is_none_or(|old| old.reason != reason) {
            self.status.last_error = Some(format!("{prefix}: {reason}"));
            self.emit(FibEvent::Failed { prefix, reason });
        }
    }

    fn pending_forget(&mut self, prefix: &IpNet) {
        if !self.pending.is_empty()
            && let Some(pending) = self.pending.remove(prefix)
        {
            self.status.conflicts -= usize::from(pending.is_conflict);
        }
    }

    fn batch_lost(&mut self, ops: &[Op], sent: &[Option<SlotId>], lost: &Lost) {
        tracing::warn!(?lost, "the outcome of a batch is not known");
        self.status.last_error = Some(format!("batch lost: {lost:?}"));
        self.nexthops.lost();
        sent.iter().for_each(|id| self.release_wanted(*id));
        for op in ops {
            if let Op::SetRoute { prefix, .. } | Op::DeleteRoute { prefix, .. } = op
                && let Some(entry) = self.routes.get_mut(prefix)
            {
                entry.put(Flag::InFlight, false);
                let prefix = *prefix;
                self.enqueue(&prefix);
            }
        }
        self.strays_due = self.may_delete && !self.strays.is_empty();
        self.dump.is_barrier = true;
        if matches!(lost, Lost::Failed(_)) {
            self.dump.failures += 1;
        }
        self.request_dump(Scope::Full, ResyncReason::BatchLost);
    }

    /// Replaces a belief, and moves the references that go with it. A reference for the new one is handed over.
    fn set_belief(&mut self, prefix: IpNet, belief: Belief) {
        let entry = self.routes.entry(&prefix);
        let old = std::mem::replace(&mut entry.belief, belief);
        if entry.wanted().is_none() {
            self.status.leftover += usize::from(belief != Belief::ABSENT);
            self.status.leftover -= usize::from(old != Belief::ABSENT);
        }
        match old.get() {
            Believed::Absent => {}
            Believed::Found(id) => {
                if self.found.release(id).is_some() {
                    self.nexthops.mark_garbage();
                }
            }
            Believed::Made(id) => self.release_wanted(Some(id)),
        }
    }

    fn release_wanted(&mut self, id: Option<SlotId>) {
        if let Some(means) = id.and_then(|id| self.wanted.release(id)) {
            self.drop_means(means);
        }
    }
}

// ---- Inputs from the kernel: dumps ----
impl Planner {
    fn request_dump(&mut self, scope: Scope, reason: ResyncReason) {
        match &mut self.dump.wanted {
            Some((Scope::Full, Some(_))) => {}
            Some((Scope::Full, first @ None)) => *first = Some(reason),
            wanted if scope == Scope::Full => *wanted = Some((Scope::Full, Some(reason))),
            Some(_) => {}
            wanted => *wanted = Some((scope, Some(reason))),
        }
    }

    /// The dump that [`next_work`](Self::next_work) gave out has ended.
    pub(crate) fn dump_done(&mut self, now: Instant, result: Result<Snapshot, Lost>) {
        let Some(InFlight::Dump { scope, since, reason }) = self.in_flight.take() else { return };
        let snapshot = match result {
            Ok(snapshot) => snapshot,
            Err(lost) => return self.dump_lost(now, scope, reason, &lost),
        };
        self.dump.failures = 0;
        self.dump.not_before = Some(now + (now.saturating_duration_since(since) * DUMP_REST).max(DUMP_GAP_MIN));
        let is_first = !std::mem::replace(&mut self.dump.has_succeeded, scope == Scope::Full);
        let old_ways = self.ways_of_found();
        let has_changed = self.environment.replace(snapshot.links, snapshot.connected);
        let mut differences = match &snapshot.nexthops {
            Some(nexthops) => self.nexthops.replace(nexthops),
            None => {
                self.has_nexthops = false;
                0
            }
        };
        if has_changed && !is_first {
            self.replan();
            self.retry.soon_gap = RETRY_SOON;
        }
        self.hurry_retry(now);
        let Some(routes) = snapshot.routes else {
            if old_ways != self.ways_of_found() {
                self.request_dump(Scope::Full, ResyncReason::InterfaceGone);
            }
            return;
        };
        self.dump.is_barrier = false;
        differences += self.compare(routes, is_first);
        if let Some(reason) = reason {
            self.status.resyncs += 1;
            tracing::info!(reason = reason.as_str(), differences, "read back the kernel's routes");
            self.emit(FibEvent::Resync { reason, differences });
        }
        self.plan_retry(now);
    }

    /// Where the gateways of routes that were found lead now.
    fn ways_of_found(&self) -> Vec<Option<u32>> {
        let hops = self.found.iter().flat_map(|(_, content, ())| &content.hops);
        hops.map(|hop| hop.gateway.and_then(|gateway| self.environment.interface_towards(gateway))).collect()
    }

    fn dump_lost(&mut self, now: Instant, scope: Scope, reason: Option<ResyncReason>, lost: &Lost) {
        tracing::debug!(?lost, "reading back the kernel's routes failed");
        self.status.last_error = Some(format!("reading routes failed: {lost:?}"));
        self.dump.failures += 1;
        let gap = DUMP_GAP_MIN.saturating_mul(1 << self.dump.failures.min(16)).min(DUMP_GAP_MAX);
        self.dump.not_before = Some(now + gap);
        if !matches!(self.dump.wanted, Some((Scope::Full, _))) {
            self.dump.wanted = Some((scope, reason));
        }
    }

    /// Believes what was read back, and queues what is not as wanted. Returns how many prefixes were a surprise.
    fn compare(&mut self, routes: Vec<KernelRoute>, is_first: bool) -> usize {
        let mut differences = 0;
        self.strays.clear();
        if is_first {
            let v4 = routes.iter().filter(|route| route.prefix.addr().is_ipv4()).count();
            self.routes.reserve(v4, routes.len() - v4);
        }
        for route in routes {
            if route.metric != self.ownership.metric_for(&route.prefix) {
                self.strays.insert((route.prefix, route.metric));
                continue;
            }
            self.routes.entry(&route.prefix).put(Flag::Met, true);
            if !self.is_as_believed(&route) {
                differences += 1;
                self.believe_found(&route);
            } else if self.is_out_of_step(&route.prefix) {
                differences += 1;
                self.look_again(route.prefix);
            }
        }
        let is_vanished = |entry: &Entry| entry.belief != Belief::ABSENT && !entry.has(Flag::Met);
        let vanished: Vec<IpNet> =
            self.routes.iter().filter(|(_, entry)| is_vanished(entry)).map(|(prefix, _)| prefix).collect();
        differences += vanished.len();
        vanished.into_iter().for_each(|prefix| self.believe_absent(prefix));
        let is_contested = |entry: &Entry| entry.has(Flag::Contested);
        let contested: Vec<IpNet> =
            self.routes.iter().filter(|(_, entry)| is_contested(entry)).map(|(prefix, _)| prefix).collect();
        self.clear_met();
        contested.into_iter().for_each(|prefix| self.settle_contest(prefix));
        self.strays_due = self.may_delete && !self.strays.is_empty();
        if is_first { 0 } else { differences }
    }

    fn clear_met(&mut self) {
        for entry in self.routes.entries_mut() {
            entry.put(Flag::Met, false);
        }
    }

    /// Whether a route as read back is what we believe to be there.
    fn is_as_believed(&self, route: &KernelRoute) -> bool {
        let Some(entry) = self.routes.get(&route.prefix) else { return false };
        match entry.belief.get() {
            Believed::Absent => false,
            Believed::Found(id) => self.found.value(id) == Some(&route.content),
            Believed::Made(id) => match (self.wanted.value(id), self.wanted.extra(id)) {
                // Whether the object itself is right is the object's affair.
                (Some(_), Some(means)) if route.content.nexthop_id != 0 => {
                    let object = route.content.nexthop_id;
                    means.plan.nexthop_id() == object || means.parked.contains(&object)
                }
                (Some(kind), _) => diff::is_equal(kind, &route.content, &self.environment),
                (None, _) => false,
            },
        }
    }

    /// Whether a route counts as in step but, since interfaces changed, no longer is.
    fn is_out_of_step(&self, prefix: &IpNet) -> bool {
        let is_out = |entry: &Entry| entry.has(Flag::InStep) && self.presence(entry) != Presence::Equal;
        self.routes.get(prefix).is_some_and(is_out)
    }

    fn believe_found(&mut self, route: &KernelRoute) {
        let id = self.found.acquire(&route.content);
        self.set_belief(route.prefix, Belief::found(id));
        self.look_again(route.prefix);
    }

    fn believe_absent(&mut self, prefix: IpNet) {
        self.set_belief(prefix, Belief::ABSENT);
        self.look_again(prefix);
    }

    /// The kernel is not as believed: if that takes a wanted route away, bringing it back is a repair.
    fn look_again(&mut self, prefix: IpNet) {
        let entry = *self.routes.entry(&prefix);
        if entry.has(Flag::InStep) && self.presence(&entry) != Presence::Equal {
            let entry = self.routes.entry(&prefix);
            entry.put(Flag::InStep, false);
            entry.put(Flag::Repairing, true);
            self.status.installed -= 1;
        }
        self.enqueue(&prefix);
    }

    fn settle_contest(&mut self, prefix: IpNet) {
        let entry = self.routes.entry(&prefix);
        entry.put(Flag::Contested, false);
        let is_foreign = entry.belief == Belief::ABSENT && entry.wanted().is_some();
        if is_foreign {
            self.refuse(prefix, Refusal::with_text(libc::EEXIST, CONFLICT), true);
        } else {
            self.enqueue(&prefix);
        }
    }
}

const CONFLICT: &str = "a route with this prefix and metric exists and is not ours";

// ---- Inputs from the kernel: notices ----
impl Planner {
    /// Something changed without us.
    pub(crate) fn notice(&mut self, now: Instant, notice: Notice) {
        match notice {
            Notice::Overrun => {
                // What we believe may be wrong, and writing on it might overwrite somebody's route.
                self.dump.is_barrier = true;
                self.request_dump(Scope::Full, ResyncReason::Overrun);
            }
            Notice::OtherRoute => self.hurry_retry(now),
            Notice::AddressAdded => self.environment_changed(None),
            Notice::AddressRemoved { interface } => self.environment_changed(Some(interface)),
            Notice::LinkRemoved { index } => self.environment_changed(Some(index)),
            // Statistics and the like are told too; only what matters to routes counts.
            Notice::LinkChanged { link } if self.environment.link(link.index) == Some(&link) => {
                self.hurry_retry(now);
            }
            Notice::LinkChanged { link } => {
                let is_loss = !link.is_up || !link.has_carrier;
                self.environment_changed(is_loss.then_some(link.index));
            }
            Notice::NexthopChanged { id } => {
                if self.nexthops.contains(id) {
                    self.request_dump(Scope::Full, ResyncReason::NexthopChanged);
                }
            }
            Notice::RouteAdded { route, protocol, is_replacement } => {
                self.route_added(now, &route, protocol, is_replacement);
            }
            Notice::RouteRemoved { prefix, metric, protocol } => {
                self.route_removed(now, prefix, metric, protocol);
            }
        }
    }

    /// Interfaces or addresses changed. What is `gone` may have taken routes with it, without a word.
    fn environment_changed(&mut self, gone: Option<u32>) {
        let scope = match gone {
            Some(interface) if self.depends_on(interface) => Scope::Full,
            _ => Scope::Environment,
        };
        self.retry.soon_gap = RETRY_SOON;
        self.request_dump(scope, ResyncReason::InterfaceGone);
    }

    /// Whether any of our routes leaves by an interface, or may.
    fn depends_on(&self, interface: u32) -> bool {
        let is_on = |hops: &[Hop]| hops.iter().any(|hop| hop.interface == interface || hop.interface == 0);
        let is_kind_on = |kind: &RouteKind, means: &Means| match (kind, &means.plan) {
            (RouteKind::Unicast(set), Plan::Ready(content)) => {
                content.preferred_source.is_some()
                    || !means.parked.is_empty()
                    || is_on(&content.hops)
                    || self.resolve(set).map_or(true, |hops| is_on(&hops))
            }
            _ => false,
        };
        self.wanted.iter().any(|(_, kind, means)| is_kind_on(kind, means))
            || self.found.iter().any(|(_, content, ())| {
                content.preferred_source.is_some() || content.hops.iter().any(|hop| hop.interface == interface)
            })
    }

    fn route_added(&mut self, now: Instant, route: &KernelRoute, protocol: u8, is_replacement: bool) {
        let is_our_key = route.metric == self.ownership.metric_for(&route.prefix);
        if protocol == self.ownership.protocol {
            if !is_our_key {
                self.strays.insert((route.prefix, route.metric));
                self.strays_due = self.may_delete;
            } else if self.is_settled(&route.prefix) && !self.is_as_believed(route) {
                self.believe_found(route);
            }
            return;
        }
        if is_our_key && is_replacement && self.is_settled(&route.prefix) && self.is_ours(&route.prefix) {
            // Somebody overwrote it. Theirs must not be replaced, so ours counts as gone.
            return self.believe_absent(route.prefix);
        }
        self.hurry_retry(now);
    }

    fn route_removed(&mut self, now: Instant, prefix: IpNet, metric: u32, protocol: u8) {
        let is_our_key = metric == self.ownership.metric_for(&prefix);
        if protocol != self.ownership.protocol {
            if is_our_key && self.pending.get(&prefix).is_some_and(|pending| pending.is_conflict) {
                self.enqueue(&prefix);
            }
            return self.hurry_retry(now);
        }
        if !is_our_key {
            self.strays.remove(&(prefix, metric));
        } else if self.is_ours(&prefix) && self.is_settled(&prefix) {
            self.believe_absent(prefix);
        }
    }

    fn is_ours(&self, prefix: &IpNet) -> bool {
        self.routes.get(prefix).is_some_and(|entry| entry.belief != Belief::ABSENT)
    }

    /// Whether a notice about one of our routes can be taken at its word. While a request about it or a dump is
    /// under way the order of the two is not known; then a dump afterwards tells.
    fn is_settled(&mut self, prefix: &IpNet) -> bool {
        let is_under_way = match &self.in_flight {
            None => false,
            Some(InFlight::Dump { .. }) => true,
            Some(InFlight::Batch { .. }) => {
                self.routes.get(prefix).is_some_and(|entry| entry.has(Flag::InFlight))
            }
        };
        if is_under_way {
            self.request_dump(Scope::Full, ResyncReason::RouteChangedUnderway);
        }
        !is_under_way
    }
}

// ---- Trying again ----
impl Planner {
    fn retry_pending(&mut self, now: Instant) {
        self.retry.at = None;
        self.retry.last = Some(now);
        self.retry.succeeded = false;
        let prefixes: Vec<IpNet> = self.pending.keys().copied().collect();
        prefixes.iter().for_each(|prefix| self.enqueue(prefix));
        self.retry.slow_gap = (self.retry.slow_gap * 2).min(self.config.retry_max);
        self.retry.soon_gap = (self.retry.soon_gap * 2).min(self.config.retry_max);
        self.plan_retry(now);
    }

    /// Makes sure that refused routes are tried again some time.
    fn plan_retry(&mut self, now: Instant) {
        if self.pending.is_empty() {
            self.retry.at = None;
            self.retry.slow_gap = self.config.retry_first;
            self.retry.soon_gap = RETRY_SOON;
            return;
        }
        if std::mem::take(&mut self.retry.succeeded) {
            self.retry.slow_gap = self.config.retry_first;
            self.retry.soon_gap = RETRY_SOON;
        }
        let at = now + self.retry.slow_gap;
        self.retry.at = Some(self.retry.at.map_or(at, |planned| planned.min(at)));
    }

    /// Something changed that may let refused routes in: try them soon, but not as often as things change.
    fn hurry_retry(&mut self, now: Instant) {
        if self.pending.is_empty() {
            return;
        }
        let earliest = self.retry.last.map_or(now, |last| (last + self.retry.soon_gap).max(now));
        self.retry.at = Some(self.retry.at.map_or(earliest, |planned| planned.min(earliest)));
    }
}

#[cfg(test)]
mod tests;
