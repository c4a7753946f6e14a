//! Gateways that need not be neighbours: the kernel is asked which way they are, once per gateway and not per route, and
//! again when something changes that may matter.

use super::*;

impl Planner {
    /// A kind that was not wanted until now: no route of it can be planned before the way to its gateways is known.
    pub(super) fn ask_for(&mut self, kind: &RouteKind) {
        let RouteKind::Unicast(set) = kind else { return };
        for gateway in Environment::gateways_to_ask(set) {
            if self.environment.way(gateway).is_none() {
                self.unasked.insert(gateway);
            }
        }
    }

    /// Asks for what has not been asked yet. After a failure that waits until the next dump is due.
    pub(super) fn ask(&mut self) -> Option<Work> {
        if !self.in_flight.is_empty() || self.dump.failures > 0 && self.dump.wanted.is_some() {
            return None;
        }
        let gateways = self.unasked.iter().copied().collect();
        self.in_flight.push_back(InFlight::Dump { scope: Scope::Gateways, reason: None, is_addition: true });
        Some(Work::Dump(Reading { scope: Scope::Gateways, gateways }))
    }

    /// All gateways that the kernel is to be asked for.
    pub(super) fn far_gateways(&self) -> Vec<IpAddr> {
        let sets = self.wanted.iter().filter_map(|(_, wanted, _)| match &wanted.kind {
            RouteKind::Unicast(set) => Some(set),
            _ => None,
        });
        let gateways: BTreeSet<IpAddr> = sets.flat_map(Environment::gateways_to_ask).collect();
        gateways.into_iter().collect()
    }

    /// Takes what the kernel said of gateways. Returns whether that changes the way to any that was known.
    pub(super) fn gateways_answered(&mut self, snapshot: &mut Snapshot, is_addition: bool) -> bool {
        let ways = std::mem::take(&mut snapshot.ways);
        let has_changed = if is_addition {
            self.environment.add_ways(ways);
            false
        } else {
            self.environment.replace_ways(ways)
        };
        // Also what has come to be wanted while the answer to an older question was on its way.
        let unknown = |gateway: &IpAddr| self.environment.way(*gateway).is_none();
        let unasked = self.far_gateways().into_iter().filter(unknown).collect();
        self.unasked = unasked;
        has_changed
    }

    /// A route that is not ours has changed: the way to some gateway may have.
    pub(super) fn other_route_changed(&mut self, prefix: Option<&IpNet>) {
        let may_matter = match prefix {
            Some(prefix) => self.environment.has_ways_in(prefix),
            None => self.environment.has_ways(),
        };
        if may_matter {
            self.request_dump(Scope::Gateways, ResyncReason::RouteElsewhere);
        }
    }
}
