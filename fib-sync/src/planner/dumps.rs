//! What the kernel has, read back and compared with what was believed.

use super::*;

impl Planner {
    pub(super) fn request_dump(&mut self, scope: Scope, reason: ResyncReason) {
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
        self.dump.not_before =
            Some(now + (now.saturating_duration_since(since) * DUMP_REST).max(DUMP_GAP_MIN));
        let is_first = !self.dump.has_succeeded;
        self.dump.has_succeeded |= scope == Scope::Full;
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
    pub(super) fn ways_of_found(&self) -> Vec<Option<u32>> {
        let hops = self.found.iter().flat_map(|(_, content, ())| &content.hops);
        hops.map(|hop| hop.gateway.and_then(|gateway| self.environment.interface_towards(gateway))).collect()
    }

    pub(super) fn dump_lost(
        &mut self,
        now: Instant,
        scope: Scope,
        reason: Option<ResyncReason>,
        lost: &Lost,
    ) {
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
    pub(super) fn compare(&mut self, routes: Vec<KernelRoute>, is_first: bool) -> usize {
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

    pub(super) fn clear_met(&mut self) {
        for entry in self.routes.entries_mut() {
            entry.put(Flag::Met, false);
        }
    }

    /// Whether a route as read back is what we believe to be there.
    pub(super) fn is_as_believed(&self, route: &KernelRoute) -> bool {
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
    pub(super) fn is_out_of_step(&self, prefix: &IpNet) -> bool {
        let is_out = |entry: &Entry| entry.has(Flag::InStep) && self.presence(entry) != Presence::Equal;
        self.routes.get(prefix).is_some_and(is_out)
    }

    pub(super) fn believe_found(&mut self, route: &KernelRoute) {
        let id = self.found.acquire(&route.content);
        self.set_belief(route.prefix, Belief::found(id));
        self.look_again(route.prefix);
    }

    pub(super) fn believe_absent(&mut self, prefix: IpNet) {
        self.set_belief(prefix, Belief::ABSENT);
        self.look_again(prefix);
    }

    /// The kernel is not as believed: if that takes a wanted route away, bringing it back is a repair.
    pub(super) fn look_again(&mut self, prefix: IpNet) {
        let entry = *self.routes.entry(&prefix);
        if entry.has(Flag::InStep) && self.presence(&entry) != Presence::Equal {
            let entry = self.routes.entry(&prefix);
            entry.put(Flag::InStep, false);
            entry.put(Flag::Repairing, true);
            self.status.installed -= 1;
        }
        self.enqueue(&prefix);
    }

    pub(super) fn settle_contest(&mut self, prefix: IpNet) {
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

pub(super) const CONFLICT: &str = "a route with this prefix and metric exists and is not ours";
