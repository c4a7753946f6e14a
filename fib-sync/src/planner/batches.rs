//! How a batch ended: what was done, what was refused and why.

use super::*;

impl Planner {
    /// The kernel took so long for a batch.
    pub(crate) fn note_batch_time(&mut self, time: Duration) {
        self.status.batch_times.note(time);
    }

    /// The oldest batch that [`next_work`](Self::next_work) gave out has ended; its requests are handed back.
    pub(crate) fn batch_done(&mut self, now: Instant, ops: Vec<Op>, result: Result<Refusals, Lost>) {
        let sent = match self.in_flight.pop_front() {
            Some(InFlight::Batch(sent)) => sent,
            other => return self.in_flight.extend(other),
        };
        let mut refusals = match result {
            Ok(refusals) => refusals,
            Err(lost) => return self.batch_lost(&sent, &lost),
        };
        refusals.sort_by_key(|(index, _)| *index);
        self.report(&ops, &refusals);
        self.status.operations_ok += (ops.len() - refusals.len()) as u64;
        self.status.operations_failed += refusals.len() as u64;
        let mut refusals = refusals.into_iter().peekable();
        for (index, (op, sent)) in ops.iter().zip(sent).enumerate() {
            let refusal = refusals.next_if(|(at, _)| *at == index).map(|(_, refusal)| refusal);
            self.status.operations.note(op, refusal.is_none());
            match (sent, op, refusal) {
                (Sent::Set(id, kind), _, None) => self.set_done(id, kind),
                (Sent::Set(id, kind), Op::SetRoute { content, .. }, Some(refusal)) => {
                    self.set_refused(id, kind, content, refusal);
                }
                (Sent::Delete(id), _, refusal) => self.delete_done(id, refusal),
                (_, op, refusal) => self.other_done(op, refusal),
            }
        }
        self.strays_due |= !self.strays.is_empty();
        self.spare_ops = ops;
        self.plan_retry(now);
    }

    /// A request that is about no route that is or was wanted has ended.
    fn other_done(&mut self, op: &Op, refusal: Option<Refusal>) {
        match (op, refusal) {
            (Op::DeleteNexthop { id }, Some(refusal)) if refusal.errno != libc::ENOENT => {
                self.nexthops.refused(*id, false);
            }
            (Op::DeleteNexthop { id }, _) => self.nexthops.done(*id, None),
            (Op::DeleteRoute { prefix, metric }, refusal) => {
                if refusal.as_ref().is_none_or(is_about_nothing)
                    && self.strays.remove(&(*prefix, *metric)).is_some()
                {
                    self.status.removed += 1;
                    // One that was replaced is none that was left over.
                    if self.routes.get(prefix).is_none_or(|entry| entry.wanted().is_none()) {
                        self.count_swept();
                    }
                }
            }
            (Op::SetNexthop { id, content, .. }, None) => self.nexthops.done(*id, Some(content.clone())),
            (Op::SetNexthop { id, .. }, Some(refusal)) => self.nexthop_refused(*id, &refusal),
            (Op::SetRoute { .. }, _) => {}
        }
    }

    pub(super) fn report(&mut self, ops: &[Op], refusals: &Refusals) {
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

    fn set_done(&mut self, id: RouteId, kind: SlotId) {
        // The reference that the request held is now the belief's.
        self.set_belief(id, Belief::made(kind));
        let entry = self.routes.entry_mut(id);
        entry.put(Flag::InFlight, false);
        if entry.wanted() != Some(kind) {
            self.align(id);
            return self.enqueue(id);
        }
        if self.pending_forget(id) {
            self.retry_succeeded(kind);
        }
        self.mark_in_step(id);
    }

    fn set_refused(&mut self, id: RouteId, kind: SlotId, content: &Arc<Content>, refusal: Refusal) {
        self.release_wanted(kind);
        let entry = self.routes.entry_mut(id);
        entry.put(Flag::InFlight, false);
        // Another answer may have changed the plan: the object that the route was to use could not be made.
        let is_as_planned = entry.wanted() == Some(kind)
            && self.plan(kind).is_ok_and(|planned| Arc::ptr_eq(&planned, content));
        if !is_as_planned {
            return self.enqueue(id);
        }
        if refusal.errno != libc::EEXIST {
            return self.refuse(id, refusal, false);
        }
        let is_known = self.pending.get(&self.routes.prefix(id)).is_some_and(|pending| pending.is_conflict);
        if is_known {
            return self.refuse(id, Refusal::with_text(libc::EEXIST, super::dumps::CONFLICT), true);
        }
        self.routes.entry_mut(id).put(Flag::Contested, true);
        self.request_dump(Scope::Full, ResyncReason::Exists);
    }

    fn delete_done(&mut self, id: RouteId, refusal: Option<Refusal>) {
        let entry = self.routes.entry_mut(id);
        entry.put(Flag::InFlight, false);
        let is_wanted = entry.wanted().is_some();
        let was_found = matches!(entry.belief.get(), Believed::Found(_));
        if let Some(refusal) = refusal
            && !is_about_nothing(&refusal)
        {
            return if is_wanted { self.enqueue(id) } else { self.refuse(id, refusal, false) };
        }
        if was_found && !is_wanted {
            self.count_swept();
        }
        self.status.removed += 1;
        self.set_belief(id, Belief::ABSENT);
        self.pending_forget(id);
        if self.is_listened_to {
            let prefix = self.routes.prefix(id);
            self.emit(FibEvent::Removed { prefix });
        }
        if is_wanted {
            self.enqueue(id);
        } else if !self.routes.entry(id).has(Flag::Queued) {
            self.routes.remove(id);
        }
    }

    pub(super) fn count_swept(&mut self) {
        self.status.swept += 1;
        *self.sweeping.get_or_insert(0) += 1;
    }

    pub(super) fn nexthop_refused(&mut self, id: u32, refusal: &Refusal) {
        let is_foreign = refusal.errno == libc::EEXIST;
        if refusal.errno == libc::EOPNOTSUPP {
            self.has_nexthops = false;
        }
        self.plan_without(id, is_foreign);
        self.nexthops.refused(id, is_foreign);
        let mut is_parked = false;
        for means in self.wanted.extras_mut().filter(|means| means.parked.contains(&id)) {
            means.is_doubtful = true;
            is_parked = true;
        }
        if is_parked {
            // Routes were to move with their object and have not: each is to be replaced, after all.
            self.nexthops.park(id);
            self.request_dump(Scope::Full, ResyncReason::NexthopChanged);
        }
    }

    pub(super) fn refuse(&mut self, id: RouteId, reason: Refusal, is_conflict: bool) {
        let prefix = self.routes.prefix(id);
        if self.routes.entry_mut(id).put(Flag::InStep, false) {
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

    /// A route is refused no longer. Returns whether it was.
    pub(super) fn pending_forget(&mut self, id: RouteId) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        let old = self.pending.remove(&self.routes.prefix(id));
        self.status.conflicts -= usize::from(old.as_ref().is_some_and(|old| old.is_conflict));
        old.is_some()
    }

    fn batch_lost(&mut self, sent: &[Sent], lost: &Lost) {
        tracing::warn!(?lost, "the outcome of a batch is not known");
        self.status.last_error = Some(format!("batch lost: {lost:?}"));
        self.nexthops.lost();
        for sent in sent {
            let id = match sent {
                Sent::Delete(id) => *id,
                Sent::Set(id, kind) => {
                    self.release_wanted(*kind);
                    *id
                }
                Sent::Other => continue,
            };
            self.routes.entry_mut(id).put(Flag::InFlight, false);
            self.enqueue(id);
        }
        self.strays_due = !self.strays.is_empty();
        self.dump.is_barrier = true;
        if matches!(lost, Lost::Failed(_)) {
            self.dump.failures += 1;
        }
        self.request_dump(Scope::Full, ResyncReason::BatchLost);
    }

    /// Replaces a belief, and moves the references that go with it. A reference for the new one is handed over.
    pub(super) fn set_belief(&mut self, id: RouteId, belief: Belief) {
        let entry = self.routes.entry_mut(id);
        let old = std::mem::replace(&mut entry.belief, belief);
        if entry.wanted().is_none() {
            self.status.leftover += usize::from(belief != Belief::ABSENT);
            self.status.leftover -= usize::from(old != Belief::ABSENT);
        }
        match old.get() {
            Believed::Absent => {}
            Believed::Found(found) => {
                if self.found.release(found).is_some() {
                    self.nexthops.mark_garbage();
                }
            }
            Believed::Made(kind) => self.release_wanted(kind),
        }
    }

    pub(super) fn release_wanted(&mut self, kind: SlotId) {
        if let Some(means) = self.wanted.release(kind) {
            self.drop_means(means);
        }
    }
}

/// Whether a deletion was refused because there is nothing to delete.
fn is_about_nothing(refusal: &Refusal) -> bool {
    matches!(refusal.errno, libc::ESRCH | libc::ENOENT | libc::ENODEV)
}
