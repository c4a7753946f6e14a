//! From opinions to requests: which prefix is next, and what it takes to have it as wanted.

use super::*;
use crate::diff::Step;

/// From this length on the queue is worked on in scattered order, see [`Planner::take_next`].
const SCATTER_LEN_MIN: usize = 8192;
const CREATED_RUN_LEN: usize = 64;
const DELETED_RUN_LEN: usize = 4;

impl Planner {
    pub(super) fn enqueue(&mut self, id: RouteId) {
        if !self.routes.entry_mut(id).put(Flag::Queued, true) {
            self.queue.push_back(id);
        }
    }

    /// The next entry to look at. Routes come and go by the hundred thousand in the order of their prefixes, and that
    /// is the worst order for the kernel: its trie then grows and shrinks at one edge, and is built anew along the
    /// way. In scattered order creation takes two thirds of the time and deletion a third. What is created is
    /// scattered in runs, so that neighbours stay neighbours in memory; later replacements are fast for that.
    fn take_next(&mut self) -> Option<RouteId> {
        if self.run_left > 0 {
            self.run_left -= 1;
            return self.queue.pop_front();
        }
        let entry = self.queue.front().map(|id| *self.routes.entry(*id))?;
        let run_len = match (entry.wanted().is_some(), entry.belief == Belief::ABSENT) {
            // A replacement leaves the trie as it is.
            (true, false) => 1,
            (true, true) => CREATED_RUN_LEN,
            (false, _) => DELETED_RUN_LEN,
        };
        if run_len > 1 && self.queue.len() >= SCATTER_LEN_MIN {
            // The random number has 32 bits and the count at most as many, so the product does not overflow.
            let run_count = self.queue.len() / run_len;
            let start = ((self.random() * run_count as u64) >> 32) as usize * run_len;
            (0..run_len).for_each(|place| self.queue.swap(place, start + place));
            self.run_left = run_len - 1;
        }
        self.queue.pop_front()
    }

    /// 32 bits of no importance: xorshift64.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 32
    }

    pub(super) fn next_batch(&mut self) -> Option<Work> {
        let mut ops = std::mem::take(&mut self.spare_ops);
        ops.clear();
        let mut sent = Vec::new();
        self.nexthops.repair(&mut ops);
        self.move_objects(&mut ops);
        while ops.len() < self.config.batch_len {
            let Some(id) = self.take_next() else { break };
            self.step(id, &mut ops, &mut sent);
        }
        if ops.len() < self.config.batch_len && self.in_flight.is_empty() {
            self.add_cleanup(&mut ops);
        }
        if self.queue.is_empty() {
            // A full table's worth of queue is not kept for the rest of the process's life.
            self.queue.shrink_to(self.config.batch_len);
            self.routes.tidy();
        }
        if ops.is_empty() {
            self.spare_ops = ops;
            if self.in_flight.is_empty() {
                self.finish_sweep();
            }
            return None;
        }
        sent.resize(ops.len(), Sent::Other);
        self.in_flight.push_back(InFlight::Batch(sent));
        self.status.batches += 1;
        Some(Work::Batch(ops))
    }

    /// Adds what one prefix needs. `sent` runs parallel to `ops` and says what each request is about.
    fn step(&mut self, id: RouteId, ops: &mut Vec<Op>, sent: &mut Vec<Sent>) {
        let entry = self.routes.entry_mut(id);
        entry.put(Flag::Queued, false);
        if entry.has(Flag::Contested) || entry.has(Flag::InFlight) {
            // A dump or an answer is on its way, and will queue it again.
            return;
        }
        let entry = *entry;
        let presence = self.presence(&entry);
        let (verb, wanted) =
            match (diff::step(entry.wanted().is_some(), presence, self.may_delete), entry.wanted()) {
                (Step::Create, Some(wanted)) => (Verb::Create, wanted),
                (Step::Replace, Some(wanted)) => (Verb::Replace, wanted),
                (Step::Delete, _) => {
                    let prefix = self.routes.prefix(id);
                    let metric = self.expected_metric(id);
                    sent.resize(ops.len(), Sent::Other);
                    sent.push(Sent::Delete(id));
                    ops.push(Op::DeleteRoute { prefix, metric });
                    self.routes.entry_mut(id).put(Flag::InFlight, true);
                    return;
                }
                _ => return self.settle(id, presence),
            };
        let content = match self.plan(wanted) {
            Err(reason) => return self.refuse(id, reason, false),
            Ok(content) => content,
        };
        // Neighbours in the queue mostly share their object, which then has been seen to.
        let is_seen_to = matches!(ops.last(), Some(Op::SetRoute { content: last, .. })
            if last.nexthop_id == content.nexthop_id);
        if content.nexthop_id != 0 && !is_seen_to {
            self.nexthops.ensure(content.nexthop_id, ops);
        }
        sent.resize(ops.len(), Sent::Other);
        sent.push(Sent::Set(id, wanted));
        let prefix = self.routes.prefix(id);
        let metric = self.wanted_metric(wanted, &prefix);
        ops.push(Op::SetRoute { prefix, metric, verb, content });
        self.wanted.retain(wanted);
        self.routes.entry_mut(id).put(Flag::InFlight, true);
    }

    pub(super) fn presence(&self, entry: &Entry) -> Presence {
        let Some(wanted) = entry.wanted() else {
            return if entry.belief == Belief::ABSENT { Presence::Absent } else { Presence::Different };
        };
        let is_equal = match entry.belief.get() {
            Believed::Absent => return Presence::Absent,
            Believed::Made(made) => made == wanted,
            Believed::Found(found) => match (self.wanted.value(wanted), self.found.value(found)) {
                (Some(Wanted { kind: wanted, .. }), Some(Found { content: found, .. })) => {
                    match self.nexthops.wanted_hops(found.nexthop_id) {
                        // The object may be short of a member for the moment. It counts as what it will be.
                        Some(hops) => {
                            let found = Content { hops, ..(**found).clone() };
                            diff::is_equal(wanted, &found, &self.environment)
                        }
                        None => diff::is_equal(wanted, found, &self.environment),
                    }
                }
                _ => false,
            },
        };
        if is_equal { Presence::Equal } else { Presence::Different }
    }

    /// Nothing is to be done for a prefix: because it is as wanted, or because nothing is there and wanted.
    fn settle(&mut self, id: RouteId, presence: Presence) {
        self.pending_forget(id);
        match presence {
            Presence::Equal => self.mark_in_step(id),
            Presence::Absent => self.routes.remove(id),
            Presence::Different => {}
        }
    }

    pub(super) fn mark_in_step(&mut self, id: RouteId) {
        let entry = self.routes.entry_mut(id);
        let was_repair = entry.put(Flag::Repairing, false);
        if entry.put(Flag::InStep, true) {
            return;
        }
        self.status.installed += 1;
        self.status.repaired += u64::from(was_repair);
        if self.is_listened_to {
            let prefix = self.routes.prefix(id);
            self.emit(if was_repair {
                FibEvent::Repaired { prefix }
            } else {
                FibEvent::Installed { prefix }
            });
        }
    }

    /// Adds deletions of routes under other metrics and of unused nexthop objects.
    fn add_cleanup(&mut self, ops: &mut Vec<Op>) {
        self.delete_strays(ops);
        if self.may_collect() && self.queue.is_empty() && ops.is_empty() {
            let in_use: HashSet<u32> =
                self.found.iter().map(|(_, found, ())| found.content.nexthop_id).collect();
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
