//! Next-hop failover: when all routes of one kind are to be of another, their nexthop object changes and not the routes.
//! One message does for any number of them.

use super::*;

/// Below so many routes of a kind it is not worth looking for this.
pub(super) const LEN_MIN: u32 = if cfg!(test) { 2 } else { 64 };

impl Planner {
    /// Every route that is wanted over `from` is wanted over `to` from now on. Returns how many.
    pub(crate) fn fail_over(&mut self, from: &NextHopSet, to: &NextHopSet) -> usize {
        if from == to {
            return 0;
        }
        let is_over = |wanted: &Wanted| matches!(&wanted.kind, RouteKind::Unicast(set) if set == from);
        let over = self.wanted.iter().filter(|(_, wanted, _)| is_over(wanted));
        // One for each metric that they have.
        let all: Vec<(SlotId, Option<u32>)> = over.map(|(id, wanted, _)| (id, wanted.metric)).collect();
        all.into_iter().map(|(old, metric)| self.fail_over_kind(old, to, metric)).sum()
    }

    fn fail_over_kind(&mut self, old: SlotId, to: &NextHopSet, metric: Option<u32>) -> usize {
        let to = Wanted { kind: RouteKind::Unicast(to.clone()), metric };
        let new = self.wanted.acquire(&to);
        self.ask_for(&to.kind);
        let moved = self.routes.ids_where(|entry| entry.wanted() == Some(old));
        for id in &moved {
            self.wanted.retain(new);
            self.set_wanted(*id, Some(new));
        }
        self.release_wanted(new);
        moved.len()
    }

    /// Looks for kinds that nothing is wanted to be of, but all of whose routes are wanted to be of one and the same
    /// other kind, and has their object hold what that one's holds.
    pub(super) fn move_objects(&mut self, ops: &mut Vec<Op>) {
        if !self.in_flight.is_empty() || !std::mem::take(&mut self.moves_due) {
            return;
        }
        let mut deserted: HashMap<SlotId, Option<SlotId>> = HashMap::new();
        for (id, _, means) in self.wanted.iter() {
            let is_deserted = means.wanting == 0 && means.parked.is_empty();
            if is_deserted
                && self.wanted.references(id) >= LEN_MIN
                && self.nexthops.is_present(means.plan.nexthop_id())
            {
                deserted.insert(id, None);
            }
        }
        // Where the routes of these are wanted to go, as long as it is the same for all of a kind.
        for entry in self.routes.entries_mut() {
            let Believed::Made(made) = entry.belief.get() else { continue };
            if let Some(target) = deserted.get_mut(&made) {
                let is_same = target.is_none_or(|target| entry.wanted() == Some(target));
                *target = entry.wanted().filter(|_| is_same);
                if target.is_none() {
                    deserted.remove(&made);
                }
            }
        }
        for (from, to) in deserted {
            if let Some(to) = to {
                self.move_object(from, to, ops);
            }
        }
    }

    fn move_object(&mut self, from: SlotId, to: SlotId, ops: &mut Vec<Op>) {
        let (Ok(old), Ok(new)) = (self.plan(from), self.plan(to)) else { return };
        let is_all_else_equal = old.preferred_source == new.preferred_source && old.mtu == new.mtu;
        if !is_all_else_equal || !self.nexthops.imitate(old.nexthop_id, new.nexthop_id) {
            return;
        }
        if let Some(means) = self.wanted.extra_mut(to) {
            means.parked.push(old.nexthop_id);
        }
        self.nexthops.ensure(old.nexthop_id, ops);
        let moved = self.routes.ids_where(|entry| entry.belief == Belief::made(from));
        tracing::debug!(
            routes = moved.len(),
            nexthop = old.nexthop_id,
            "routes move with their nexthop object"
        );
        for id in moved {
            self.wanted.retain(to);
            self.set_belief(id, Belief::made(to));
        }
    }
}
