//! What the kernel has, read back and compared with what was believed.

use super::*;

impl Planner {
    pub(super) fn request_dump(&mut self, scope: Scope, reason: ResyncReason) {
        match &mut self.dump.wanted {
            Some((wanted, first)) if *wanted >= scope => {
                first.get_or_insert(reason);
            }
            wanted => *wanted = Some((scope, Some(reason))),
        }
    }

    /// The dump that [`next_work`](Self::next_work) gave out has ended.
    pub(crate) fn dump_done(&mut self, now: Instant, result: Result<Snapshot, Lost>) {
        let (scope, reason, is_addition) = match self.in_flight.pop_front() {
            Some(InFlight::Dump { scope, reason, is_addition }) => (scope, reason, is_addition),
            other => return self.in_flight.extend(other),
        };
        let mut snapshot = match result {
            Ok(snapshot) => snapshot,
            Err(lost) => return self.dump_lost(now, scope, reason, &lost),
        };
        self.dump.failures = 0;
        let have_ways_changed = self.gateways_answered(&mut snapshot, is_addition);
        if is_addition {
            return;
        }
        self.dump.not_before = Some(now + (snapshot.cost * DUMP_REST).max(DUMP_GAP_MIN));
        if scope == Scope::Gateways {
            if have_ways_changed {
                self.replan();
                self.retry.soon_gap = RETRY_SOON;
            }
            return self.hurry_retry(now);
        }
        let is_first = !self.dump.has_succeeded;
        self.dump.has_succeeded |= scope == Scope::Full;
        let old_ways = self.ways_of_found();
        let has_changed = self.environment.replace(snapshot.links, snapshot.connected) || have_ways_changed;
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
            self.status.resyncs_by_reason.note(reason);
            tracing::info!(reason = reason.as_str(), differences, "read back the kernel's routes");
            self.emit(FibEvent::Resync { reason, differences });
        }
        self.plan_retry(now);
    }

    /// Where the gateways of routes that were found lead now.
    pub(super) fn ways_of_found(&self) -> Vec<Option<u32>> {
        let hops = self.found.iter().flat_map(|(_, found, ())| &found.content.hops);
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
        if self.dump.wanted.is_none_or(|(wanted, _)| wanted < scope) {
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
            let Some(id) = self.place_of(&route) else {
                self.add_stray(route.prefix, route.metric, Some(route.content));
                continue;
            };
            self.routes.entry_mut(id).put(Flag::Met, true);
            if !self.is_as_believed(id, &route) {
                differences += 1;
                self.believe_found(id, &route);
            } else if self.is_out_of_step(id) {
                differences += 1;
                self.look_again(id);
            }
        }
        let is_vanished = |entry: &Entry| entry.belief != Belief::ABSENT && !entry.has(Flag::Met);
        let vanished = self.routes.ids_where(is_vanished);
        differences += vanished.len();
        vanished.into_iter().for_each(|id| self.believe_absent(id));
        let contested = self.routes.ids_where(|entry| entry.has(Flag::Contested));
        for entry in self.routes.entries_mut() {
            entry.put(Flag::Met, false);
        }
        self.wanted.extras_mut().for_each(|means| means.is_doubtful = false);
        contested.into_iter().for_each(|id| self.settle_contest(id));
        self.strays_due = !self.strays.is_empty();
        if is_first { 0 } else { differences }
    }

    /// The number of the prefix of a route as read back, unless the route has another metric than it should.
    fn place_of(&mut self, route: &KernelRoute) -> Option<RouteId> {
        let id = if route.metric == self.ownership.metric_for(&route.prefix, None) {
            self.routes.find_or_add(&route.prefix)
        } else {
            self.routes.find(&route.prefix)?
        };
        (self.expected_metric(id) == route.metric).then_some(id)
    }

    /// Whether a route as read back is what we believe to be there.
    pub(super) fn is_as_believed(&self, id: RouteId, route: &KernelRoute) -> bool {
        match self.routes.entry(id).belief.get() {
            Believed::Absent => false,
            Believed::Found(id) => {
                let is_it = |found: &Found| (found.metric, &found.content) == (route.metric, &route.content);
                self.found.value(id).is_some_and(is_it)
            }
            Believed::Made(id) => match (self.wanted.value(id), self.wanted.extra(id)) {
                // Whether the object itself is right is the object's affair.
                (Some(_), Some(means)) if route.content.nexthop_id != 0 => {
                    let object = route.content.nexthop_id;
                    means.plan.nexthop_id() == object || means.parked.contains(&object) && !means.is_doubtful
                }
                (Some(wanted), _) => diff::is_equal(&wanted.kind, &route.content, &self.environment),
                (None, _) => false,
            },
        }
    }

    /// Whether a route counts as in step but, since interfaces changed, no longer is.
    pub(super) fn is_out_of_step(&self, id: RouteId) -> bool {
        let entry = self.routes.entry(id);
        entry.has(Flag::InStep) && self.presence(entry) != Presence::Equal
    }

    pub(super) fn believe_found(&mut self, id: RouteId, route: &KernelRoute) {
        let found = Found { metric: route.metric, content: Arc::clone(&route.content) };
        let found = self.found.acquire(&found);
        self.set_belief(id, Belief::found(found));
        self.look_again(id);
    }

    pub(super) fn believe_absent(&mut self, id: RouteId) {
        self.set_belief(id, Belief::ABSENT);
        self.look_again(id);
    }

    /// The kernel is not as believed: if that takes a wanted route away, bringing it back is a repair.
    pub(super) fn look_again(&mut self, id: RouteId) {
        if self.is_out_of_step(id) {
            let entry = self.routes.entry_mut(id);
            entry.put(Flag::InStep, false);
            entry.put(Flag::Repairing, true);
            self.status.installed -= 1;
        }
        self.enqueue(id);
    }

    pub(super) fn settle_contest(&mut self, id: RouteId) {
        let entry = self.routes.entry_mut(id);
        entry.put(Flag::Contested, false);
        let is_foreign = entry.belief == Belief::ABSENT && entry.wanted().is_some();
        if is_foreign {
            self.refuse(id, Refusal::with_text(libc::EEXIST, CONFLICT), true);
        } else {
            self.enqueue(id);
        }
    }
}

pub(super) const CONFLICT: &str = "a route with this prefix and metric exists and is not ours";
