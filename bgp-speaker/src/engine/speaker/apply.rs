//! From one configuration to another: the steps of [`diff`], carried out.

use super::Engine;
use crate::config::{
    Announcement, Family, Neighbor, NeighborError, NeighborRef, SpeakerConfig, Step, StepAction, at_address,
    diff, resolve,
};
use crate::engine::policy::Policy;
use crate::engine::rib::{Rib, Source};
use crate::engine::time::MonoTime;
use crate::engine::wire::decode_canonical;
use bgp_proto::{AsPath, Message, Notification, PathAttributes, RouteRefresh, subcode};
use ipnet::IpNet;
use std::net::IpAddr;

impl Engine {
    /// Makes this the configuration in force and returns the steps that led to it. The configuration has no
    /// [`problems`](SpeakerConfig::problems).
    pub fn apply(&mut self, now: MonoTime, config: SpeakerConfig) -> Vec<Step> {
        let steps = diff(&self.config, &config);
        for step in &steps {
            tracing::info!(action = %step.action, target = step.target, because = step.because, "configuration");
        }
        self.carry_out(now, &steps, config);
        steps
    }

    pub(super) fn carry_out(&mut self, now: MonoTime, steps: &[Step], config: SpeakerConfig) {
        let has_new_identity = Self::identity(&self.config) != Self::identity(&config);
        let shares_otherwise = self.config.fib_rules.next_hops_max() != config.fib_rules.next_hops_max();
        self.config = config;
        if has_new_identity {
            self.attrs.set_identity(&Self::identity(&self.config), decode_canonical);
        }
        self.ribs.iter_mut().for_each(Rib::resume_deferred);
        if shares_otherwise {
            self.find_shared();
        }
        if steps.iter().any(|step| step.action == StepAction::Kernel) {
            self.take_again();
        }
        for step in steps {
            let neighbor = step.target.parse::<NeighborRef>().ok();
            let prefix = step.target.parse::<IpNet>().ok();
            match (step.action, neighbor, prefix) {
                (StepAction::Announce | StepAction::Withdraw, _, Some(prefix)) => self.originate(prefix),
                (
                    StepAction::Fib
                    | StepAction::Filter
                    | StepAction::Kernel
                    | StepAction::Listen
                    | StepAction::Announce
                    | StepAction::Withdraw,
                    ..,
                ) => {}
                (action, Some(wanted), _) => self.change_neighbor(now, action, wanted),
                (action, None, Some(range)) => self.change_range(now, action, range),
                (_, None, None) => debug_assert!(false, "a session step names an address or a prefix"),
            }
        }
        // Those who do not use a filter any more have left its group by now.
        self.replace_policies();
        self.look_at_convergence(now);
    }

    fn change_neighbor(&mut self, now: MonoTime, action: StepAction, wanted: NeighborRef) {
        let known = self.find(wanted).ok();
        let listed = resolve(&self.config.neighbors, wanted).ok();
        let Some(neighbor) = listed.and_then(|id| self.config.neighbors.get(&id)).cloned() else {
            return self.remove(now, known);
        };
        match known.or_else(|| self.dynamic_at(wanted.address)) {
            None => _ = self.add_peer(now, neighbor, None),
            // Known from a range until now.
            Some(source) if action == StepAction::AddSession => {
                self.reconfigure(now, source, neighbor, None, true)
            }
            Some(source) => self.change_session(now, source, neighbor, None, action),
        }
    }

    /// The peer with this address that a range admitted; it has the address for itself.
    fn dynamic_at(&self, address: IpAddr) -> Option<Source> {
        let mut peers = at_address(&self.by_id, address).filter_map(|(_, source)| self.peer(*source));
        peers.find(|peer| peer.range.is_some()).map(|peer| peer.source)
    }

    fn change_range(&mut self, now: MonoTime, action: StepAction, range: IpNet) {
        let members: Vec<(Source, IpAddr)> = self
            .peers
            .iter()
            .flatten()
            .filter(|peer| peer.range == Some(range))
            .map(|peer| (peer.source, peer.neighbor.address))
            .collect();
        for (source, address) in members {
            match self.range_of(address).cloned() {
                None => self.remove(now, Some(source)),
                Some(now_of) => {
                    let neighbor = Self::dynamic_neighbor(&now_of, address);
                    let is_same = self.peer(source).is_some_and(|peer| *peer.options() == neighbor.options);
                    let action = match action {
                        // Its range has gone; it falls to a wider one.
                        StepAction::RemoveSession if is_same => StepAction::UpdateSession,
                        StepAction::RemoveSession => StepAction::ResetSession,
                        other => other,
                    };
                    self.change_session(now, source, neighbor, Some(now_of.prefix), action);
                }
            }
        }
    }

    fn change_session(
        &mut self,
        now: MonoTime,
        source: Source,
        neighbor: Neighbor,
        range: Option<IpNet>,
        action: StepAction,
    ) {
        let needs_reset = action == StepAction::ResetSession;
        if action == StepAction::RefreshSession {
            let Some(peer) = self.peer(source) else { return };
            let old_import = peer.import.clone();
            let old = peer.options();
            let moves = (&old.export, old.next_hop) != (&neighbor.options.export, neighbor.options.next_hop);
            self.reconfigure(now, source, neighbor, range, false);
            if self.peer(source).is_some_and(|peer| peer.import != old_import) {
                self.import_again(now, source);
            }
            if moves {
                self.regroup(source);
            }
        } else {
            self.reconfigure(now, source, neighbor, range, needs_reset);
        }
    }

    fn reconfigure(
        &mut self,
        now: MonoTime,
        source: Source,
        neighbor: Neighbor,
        range: Option<IpNet>,
        needs_reset: bool,
    ) {
        let import = Policy::resolve(&neighbor.options.import, &self.config);
        let is_leaving = range.is_none() && self.config.leaving.contains(&neighbor.id());
        let Some(peer) = self.peer_mut(source) else { return };
        let was_connecting = peer.connects();
        peer.is_leaving = is_leaving;
        let is_enabled = neighbor.enabled;
        peer.import = import;
        let ids = (peer.neighbor.id(), neighbor.id());
        peer.neighbor = neighbor;
        let before = std::mem::replace(&mut peer.range, range);
        let starts = peer.connects() && !was_connecting && peer.established.is_none();
        self.count_member(before, range);
        self.rename(source, ids.0, ids.1);
        if !is_enabled {
            self.stop_peer(now, source, &Notification::administrative_shutdown(""));
        } else if needs_reset {
            self.reset_peer(now, source, &Notification::cease(subcode::cease::OTHER_CONFIGURATION_CHANGE));
        } else if starts {
            self.start_soon(now, source);
        }
    }

    fn start_soon(&mut self, now: MonoTime, source: Source) {
        if let Some(peer) = self.peer_mut(source) {
            peer.connect_soon(now);
            self.deadlines.arm(crate::engine::deadlines::Owner::Peer(source), now);
        }
    }

    fn remove(&mut self, now: MonoTime, source: Option<Source>) {
        let Some(source) = source else { return };
        // Disabled first, so that nothing is kept for it and nobody connects again.
        if let Some(peer) = self.peer_mut(source) {
            peer.neighbor.enabled = false;
            peer.retention = None;
        }
        self.stop_peer(now, source, &Notification::cease(subcode::cease::PEER_DECONFIGURED));
        if self.peer(source).is_some() {
            self.forget_peer(source);
        }
    }

    /// Routes that the old import policy let in, or kept out, are looked at again.
    fn import_again(&mut self, now: MonoTime, source: Source) {
        let Some(peer) = self.peer(source) else { return };
        if peer.import == Policy::Reject {
            return self.purge(source, false, &Family::ALL);
        }
        let Some(established) = &peer.established else { return };
        if !established.terms.route_refresh {
            return self.reset_peer(
                now,
                source,
                &Notification::cease(subcode::cease::OTHER_CONFIGURATION_CHANGE),
            );
        }
        self.request_refresh(source);
    }

    /// Asks a neighbour for all of its routes (RFC 2918); `false` if it is not up or does not know how.
    pub(super) fn request_refresh(&mut self, source: Source) -> bool {
        let Some(established) = self.peer(source).and_then(|peer| peer.established.as_ref()) else {
            return false;
        };
        if !established.terms.route_refresh {
            return false;
        }
        let (direction, families) = (established.direction, established.terms.families.clone());
        for family in families {
            let request = RouteRefresh { family: family.afi_safi(), subtype: 0 };
            self.send(source, direction, &Message::RouteRefresh(request));
        }
        true
    }

    /// Moves a session to the group that its options ask for now. It is told what the two groups' tables differ in.
    fn regroup(&mut self, source: Source) {
        // What is pending belongs to the old group.
        self.flush(|_, _| true);
        for family in Family::ALL {
            let Some(old) = self.group_of(source, family) else { continue };
            self.move_member(source, family, old);
        }
    }

    /// Originates a prefix as the configuration says now, or no longer.
    pub(super) fn originate(&mut self, prefix: IpNet) {
        let announcement = self.config.announcements.get(&prefix).cloned();
        if !announcement.as_ref().is_some_and(|announcement| announcement.yields_to_kernel) {
            self.kernel.yielded.remove(&prefix);
        }
        let announcement = announcement.filter(|announcement| !self.has_yielded(announcement));
        let wanted = announcement.map(|announcement| (local_attributes(&announcement), None));
        if self.set_own(prefix, Source::LOCAL, wanted) {
            self.judge_again(prefix);
        }
    }

    /// Something about a prefix that we originate changed which is no attribute of its path: filters may say otherwise.
    fn judge_again(&mut self, prefix: IpNet) {
        let family = Family::of(&prefix);
        if !self.groups.iter().flatten().any(|group| group.key.export.reads_interface()) {
            return;
        }
        self.flush(|_, _| true);
        self.judge_moved(family, &[prefix]);
        self.flush_groups(family);
    }

    /// Closes and reopens a neighbour's session.
    ///
    /// # Errors
    /// There is no such neighbour, or more than one.
    pub fn reset(&mut self, now: MonoTime, neighbor: NeighborRef) -> Result<(), NeighborError> {
        let source = self.find(neighbor)?;
        self.reset_peer(now, source, &Notification::administrative_reset(""));
        Ok(())
    }

    /// Exchanges all routes with a neighbour again.
    ///
    /// # Errors
    /// There is no such neighbour, or more than one.
    pub fn refresh(&mut self, neighbor: NeighborRef) -> Result<(), NeighborError> {
        let source = self.find(neighbor)?;
        self.request_refresh(source);
        let families =
            self.peer(source).and_then(|p| p.established.as_ref()).map(|e| e.terms.families.clone());
        self.refreshes.extend(families.into_iter().flatten().map(|family| (source, family)));
        Ok(())
    }
}

fn local_attributes(announcement: &Announcement) -> PathAttributes {
    PathAttributes {
        origin: Some(announcement.origin),
        as_path: Some(AsPath::default()),
        med: announcement.med,
        local_pref: announcement.local_pref,
        communities: announcement.communities.clone(),
        large_communities: announcement.large_communities.clone(),
        ..PathAttributes::default()
    }
}
