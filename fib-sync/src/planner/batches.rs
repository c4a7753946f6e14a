//! How a batch ended: what was done, what was refused and why.

use super::*;

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

    pub(super) fn set_done(&mut self, prefix: IpNet, id: SlotId) {
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

    pub(super) fn set_refused(&mut self, prefix: IpNet, refusal: Refusal, is_fault_of_object: bool) {
        self.routes.entry(&prefix).put(Flag::InFlight, false);
        if is_fault_of_object {
            return self.enqueue(&prefix);
        }
        if refusal.errno != libc::EEXIST {
            return self.refuse(prefix, refusal, false);
        }
        let is_known = self.pending.get(&prefix).is_some_and(|pending| pending.is_conflict);
        if is_known {
            return self.refuse(prefix, Refusal::with_text(libc::EEXIST, super::dumps::CONFLICT), true);
        }
        self.routes.entry(&prefix).put(Flag::Contested, true);
        self.request_dump(Scope::Full, ResyncReason::Exists);
    }

    pub(super) fn delete_done(&mut self, prefix: IpNet, metric: u32, refusal: Option<Refusal>) {
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
    }

    pub(super) fn refuse(&mut self, prefix: IpNet, reason: Refusal, is_conflict: bool) {
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

    pub(super) fn pending_forget(&mut self, prefix: &IpNet) {
        if !self.pending.is_empty()
            && let Some(pending) = self.pending.remove(prefix)
        {
            self.status.conflicts -= usize::from(pending.is_conflict);
        }
    }

    pub(super) fn batch_lost(&mut self, ops: &[Op], sent: &[Option<SlotId>], lost: &Lost) {
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
    pub(super) fn set_belief(&mut self, prefix: IpNet, belief: Belief) {
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

    pub(super) fn release_wanted(&mut self, id: Option<SlotId>) {
        if let Some(means) = id.and_then(|id| self.wanted.release(id)) {
            self.drop_means(means);
        }
    }
}
