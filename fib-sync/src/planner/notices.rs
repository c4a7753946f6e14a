//! What others changed, as the monitor hears it.

use super::*;

impl Planner {
    /// Something changed without us.
    pub(crate) fn notice(&mut self, now: Instant, notice: Notice) {
        match notice {
            Notice::Overrun => {
                // What we believe may be wrong, and writing on it might overwrite somebody's route.
                self.dump.is_barrier = true;
                self.request_dump(Scope::Full, ResyncReason::Overrun);
            }
            Notice::OtherRoute { prefix } => {
                self.other_route_changed(prefix.as_ref());
                self.hurry_retry(now);
            }
            Notice::AddressAdded { .. } => self.environment_changed(None),
            Notice::AddressRemoved { address } => self.environment_changed(Some(address.interface)),
            Notice::LinkRemoved { index } => self.environment_changed(Some(index)),
            // What is known of the link may be older than a route that was installed since.
            Notice::LinkChanged { link } if !link.is_up || !link.has_carrier => {
                self.environment_changed(Some(link.index));
            }
            // Statistics and the like are told too; only what matters to routes counts.
            Notice::LinkChanged { link } if self.environment.link(link.index) == Some(&link) => {
                self.hurry_retry(now);
            }
            Notice::LinkChanged { .. } => self.environment_changed(None),
            Notice::NexthopChanged { id } => {
                if self.nexthops.contains(id) {
                    self.request_dump(Scope::Full, ResyncReason::NexthopChanged);
                } else {
                    // It may have taken other people's routes with it, without a word.
                    self.other_route_changed(None);
                }
            }
            Notice::RouteAdded { route, protocol, .. } => self.route_added(now, &route, protocol),
            Notice::RouteRemoved { prefix, metric, protocol } => {
                self.route_removed(now, prefix, metric, protocol);
            }
        }
    }

    /// Interfaces or addresses changed. What is `gone` may have taken routes with it, without a word.
    pub(super) fn environment_changed(&mut self, gone: Option<u32>) {
        let scope = match gone {
            Some(interface) if self.depends_on(interface) => Scope::Full,
            _ => Scope::Environment,
        };
        self.retry.soon_gap = RETRY_SOON;
        self.request_dump(scope, ResyncReason::InterfaceGone);
    }

    /// Whether any of our routes leaves by an interface, or may.
    pub(super) fn depends_on(&self, interface: u32) -> bool {
        let is_on = |hops: &[Hop]| hops.iter().any(|hop| hop.interface == interface || hop.interface == 0);
        let is_kind_on = |kind: &RouteKind, means: &Means| match (kind, &means.plan) {
            (RouteKind::Unicast(set), Plan::Ready(content)) => {
                content.preferred_source.is_some()
                    || !means.parked.is_empty()
                    || is_on(&content.hops)
                    || self.environment.resolve(set).map_or(true, |hops| {
                        hops.iter().any(|resolved| is_on(std::slice::from_ref(&resolved.hop)))
                    })
            }
            _ => false,
        };
        self.wanted.iter().any(|(_, wanted, means)| is_kind_on(&wanted.kind, means))
            || self.found.iter().any(|(_, Found { content, .. }, ())| {
                content.preferred_source.is_some()
                    || content.hops.iter().any(|hop| hop.interface == interface)
            })
    }

    pub(super) fn route_added(&mut self, now: Instant, route: &KernelRoute, protocol: u8) {
        let is_our_key = self.is_our_key(&route.prefix, route.metric);
        if protocol == self.ownership.protocol {
            if !is_our_key {
                self.add_stray(route.prefix, route.metric, Some(Arc::clone(&route.content)));
            } else if self.is_settled(&route.prefix) {
                let id = self.routes.find_or_add(&route.prefix);
                if !self.is_as_believed(id, route) {
                    self.believe_found(id, route);
                }
            }
            return;
        }
        self.other_route_changed(Some(&route.prefix));
        if is_our_key
            && let Some(id) = self.ours(&route.prefix)
            && self.is_settled(&route.prefix)
        {
            // Overwritten, or put where ours had vanished from without a word. Theirs must not be replaced, so ours
            // counts as gone; if it is there all the same, the attempt to create it will tell.
            return self.believe_absent(id);
        }
        self.hurry_retry(now);
    }

    pub(super) fn route_removed(&mut self, now: Instant, prefix: IpNet, metric: u32, protocol: u8) {
        let is_our_key = self.is_our_key(&prefix, metric);
        if protocol != self.ownership.protocol {
            self.other_route_changed(Some(&prefix));
            if is_our_key
                && self.pending.get(&prefix).is_some_and(|pending| pending.is_conflict)
                && let Some(id) = self.routes.find(&prefix)
            {
                self.enqueue(id);
            }
            return self.hurry_retry(now);
        }
        if !is_our_key {
            self.strays.remove(&(prefix, metric));
        } else if let Some(id) = self.ours(&prefix)
            && self.is_settled(&prefix)
        {
            self.believe_absent(id);
        }
    }

    /// Whether this is where our route for a prefix is, or would be.
    fn is_our_key(&self, prefix: &IpNet, metric: u32) -> bool {
        let configured = || self.ownership.metric_for(prefix, None);
        metric == self.routes.find(prefix).map_or_else(configured, |id| self.expected_metric(id))
    }

    /// The number of a prefix for which we believe to have a route.
    fn ours(&self, prefix: &IpNet) -> Option<RouteId> {
        self.routes.find(prefix).filter(|id| self.routes.entry(*id).belief != Belief::ABSENT)
    }

    /// Whether a notice about one of our routes can be taken at its word. While a request about it or a dump is
    /// under way the order of the two is not known; then a dump afterwards tells.
    fn is_settled(&mut self, prefix: &IpNet) -> bool {
        let is_under_way = self.is_dump_in_flight()
            || self.routes.get(prefix).is_some_and(|entry| entry.has(Flag::InFlight));
        if is_under_way {
            self.request_dump(Scope::Full, ResyncReason::RouteChangedUnderway);
        }
        !is_under_way
    }
}
