//! A wanted kind in the kernel's terms: resolved next hops, nexthop objects, fallbacks.

use super::*;

impl Planner {
    /// How the kernel is to be asked for a wanted kind, planned once per set of next hops and not per route.
    pub(super) fn plan(&mut self, id: SlotId) -> Result<Arc<Content>, Refusal> {
        if let Some(Means { plan: Plan::Unplanned, .. }) = self.wanted.extra(id)
            && let Some(wanted) = self.wanted.value(id).cloned()
        {
            let plan = self.make_plan(id, &wanted.kind, true);
            self.set_plan(id, plan);
        }
        match self.wanted.extra(id).map(|means| &means.plan) {
            Some(Plan::Ready(content)) => Ok(Arc::clone(content)),
            Some(Plan::Blocked(reason)) => Err(reason.clone()),
            _ => Err(Refusal::new(libc::EINVAL)),
        }
    }

    /// Changes the plan of a kind that is in use. An object that the kernel has is parked, not let go.
    pub(super) fn set_plan(&mut self, id: SlotId, plan: Plan) {
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
    pub(super) fn drop_means(&mut self, means: Means) {
        let ids = means.parked.into_iter().chain(Some(means.plan.nexthop_id()));
        ids.filter(|id| *id != 0).for_each(|id| self.nexthops.release(id));
    }

    pub(super) fn make_plan(&mut self, id: SlotId, kind: &RouteKind, may_use_objects: bool) -> Plan {
        let bare =
            |action| Content { action, nexthop_id: 0, hops: Vec::new(), preferred_source: None, mtu: None };
        let ready = |content| Plan::Ready(Arc::new(content));
        let set = match kind {
            RouteKind::Blackhole => return ready(bare(Action::Blackhole)),
            RouteKind::Prohibit => return ready(bare(Action::Prohibit)),
            RouteKind::Unreachable => return ready(bare(Action::Unreachable)),
            RouteKind::Unicast(set) => set,
        };
        let hops = match self.environment.resolve(set) {
            Ok(hops) => hops,
            Err(reason) => return Plan::Blocked(reason),
        };
        let mut content = bare(Action::Unicast);
        content.preferred_source = set.preferred_source();
        content.mtu = set.mtu();
        let object = if may_use_objects { self.nexthop_object(id, set, &hops) } else { None };
        match object {
            Some(id) => content.nexthop_id = id,
            None => content.hops = hops.into_iter().map(|resolved| resolved.hop).collect(),
        }
        ready(content)
    }

    /// The nexthop object for a set, if objects are in use and every hop of it can be one.
    pub(super) fn nexthop_object(
        &mut self,
        id: SlotId,
        set: &NextHopSet,
        hops: &[ResolvedHop],
    ) -> Option<u32> {
        let is_unfit = |hop: &Hop| hop.gateway.is_none() || hop.interface == 0;
        if !self.has_nexthops || hops.iter().any(|resolved| is_unfit(&resolved.hop)) {
            return None;
        }
        // An object of an earlier run changes in place from now on, and with it all routes that were found to use it.
        let (routes, found) = (&self.routes, &self.found);
        let may_adopt = |objects: &[u32]| {
            let uses = |content: &Content| objects.contains(&content.nexthop_id);
            let users: HashSet<SlotId> =
                found.iter().filter(|(_, found, ())| uses(&found.content)).map(|(id, ..)| id).collect();
            let is_other = |entry: &Entry| {
                matches!(entry.belief.get(), Believed::Found(user) if users.contains(&user))
                    && entry.wanted() != Some(id)
            };
            users.is_empty() || routes.ids_where(is_other).is_empty()
        };
        let mut members = Vec::with_capacity(hops.len());
        for ResolvedHop { hop, whole } in hops {
            let Some(gateway) = hop.gateway else { continue };
            let is_member = hops.len() > 1;
            let key = match whole.and_then(|index| set.next_hops().get(index)) {
                Some(wanted) => Key::Single {
                    gateway: wanted.gateway.unwrap_or(gateway),
                    interface: wanted.interface.clone(),
                    onlink: wanted.onlink,
                    reach: wanted.reach.clone(),
                    is_member,
                },
                None => Key::Way { gateway, interface: hop.interface, onlink: hop.onlink, is_member },
            };
            let content =
                NexthopContent::Single { gateway: hop.gateway, interface: hop.interface, onlink: hop.onlink };
            match self.nexthops.acquire(key, content, may_adopt) {
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
        let content = NexthopContent::Group(members.clone());
        let group = self.nexthops.acquire(Key::Group(members.clone()), content, may_adopt);
        // The group holds its members now; or there is none, and nobody does.
        members.iter().for_each(|(id, _)| self.nexthops.release(*id));
        group
    }

    /// Interfaces or networks have changed: plans are made anew, and with them the objects they share. Routes keep
    /// what they have; a dump tells those that no longer fit.
    pub(super) fn replan(&mut self) {
        let ids: Vec<SlotId> = self.wanted.iter().map(|(id, _, _)| id).collect();
        let mut has_moved = false;
        let mut unplanned: HashSet<SlotId> = HashSet::new();
        for id in ids {
            let Some(Wanted { kind, .. }) = self.wanted.value(id).cloned() else { continue };
            let Some(means) = self.wanted.extra(id) else { continue };
            if matches!(means.plan, Plan::Unplanned) {
                unplanned.extend(is_far(&kind).then_some(id));
                continue;
            }
            let old = self.plan(id).ok();
            let plan = self.make_plan(id, &kind, true);
            let is_doubtful = is_far(&kind) && !is_in_place(old.as_deref(), &plan);
            if let (Some(old), Plan::Ready(new)) = (&old, &plan) {
                has_moved |= old.nexthop_id == 0 && new.nexthop_id == 0 && old.hops != new.hops;
            }
            self.set_plan(id, plan);
            if is_doubtful && let Some(means) = self.wanted.extra_mut(id) {
                means.is_doubtful = true;
                has_moved = true;
            }
        }
        if has_moved {
            self.request_dump(Scope::Full, ResyncReason::InterfaceGone);
        }
        self.look_at_unplanned(&unplanned);
    }

    /// Routes that were found as wanted need no plan; when their way has changed, they do.
    fn look_at_unplanned(&mut self, kinds: &HashSet<SlotId>) {
        if kinds.is_empty() {
            return;
        }
        let is_theirs = |entry: &Entry| entry.wanted().is_some_and(|kind| kinds.contains(&kind));
        let ids = self.routes.ids_where(is_theirs);
        for id in ids {
            if self.is_out_of_step(id) {
                self.look_again(id);
            }
        }
    }

    /// The kernel would not make a nexthop object: sets that need it fall back to plain gateways, or, where only its
    /// number is taken, to another number.
    pub(super) fn plan_without(&mut self, nexthop_id: u32, may_use_objects: bool) {
        let needs_it = |means: &Means| {
            let id = means.plan.nexthop_id();
            id != 0 && self.nexthops.needs(id, nexthop_id)
        };
        let affected: Vec<SlotId> =
            self.wanted.iter().filter(|(_, _, means)| needs_it(means)).map(|(id, _, _)| id).collect();
        for id in affected {
            let Some(Wanted { kind, .. }) = self.wanted.value(id).cloned() else { continue };
            self.set_plan(id, Plan::Unplanned);
            let plan = self.make_plan(id, &kind, may_use_objects);
            self.set_plan(id, plan);
        }
    }
}

/// Whether a kind has a gateway that need not be a neighbour. For such a gateway another way may be right from now on
/// while the old one still works, so its routes are compared with the new one.
fn is_far(kind: &RouteKind) -> bool {
    match kind {
        RouteKind::Unicast(set) => set.next_hops().iter().any(|hop| hop.reach != Reach::Neighbour),
        _ => false,
    }
}

/// Whether routes made by the old plan are right by the new one too, at the latest when its nexthop object is.
fn is_in_place(old: Option<&Content>, new: &Plan) -> bool {
    match (old, new) {
        (Some(old), Plan::Ready(new)) => {
            old.nexthop_id == new.nexthop_id && (new.nexthop_id != 0 || old.hops == new.hops)
        }
        (None, Plan::Blocked(_)) => true,
        _ => false,
    }
}
