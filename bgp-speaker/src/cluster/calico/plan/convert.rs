//! A plan as desired state, and as the document that a dry run prints.

use super::{Origination, OriginationKind, Plan, SessionPlan, filters};
use crate::config::{
    AddPaths, Announcement, GracefulRestartConfig, Neighbor, SessionOptions, SpeakerConfig, Step,
};
use crate::view::{PlanView, PlannedAnnouncement, PlannedFib, PlannedHostRoute, PlannedSession};
use std::collections::BTreeSet;

/// What Calico's BIRD proposes.
const HOLD_TIME_SECS: u16 = 240;
/// Calico's BIRD has `add paths on` for every session.
const ADD_PATHS: AddPaths = AddPaths::Both;

impl Plan {
    /// The desired state.
    pub fn speaker_config(&self) -> SpeakerConfig {
        SpeakerConfig {
            asn: self.asn,
            router_id: self.router_id,
            cluster_id: self.cluster_id,
            listen: self.listen.clone(),
            hold_time_secs: HOLD_TIME_SECS,
            graceful_restart: GracefulRestartConfig::default(),
            // Every session is of one family, and its own address is the next hop: a further address of the node is
            // no reason to touch it.
            local_addresses: Vec::new(),
            neighbors: self
                .sessions
                .iter()
                .map(SessionPlan::neighbor)
                .map(|neighbor| (neighbor.id(), neighbor))
                .collect(),
            listen_ranges: Vec::new(),
            announcements: self
                .originate
                .iter()
                .map(|origination| (origination.prefix, origination.announcement()))
                .collect(),
            filters: self.filters.clone(),
            fib_rules: self.fib.clone(),
            kernel_import: Some(self.kernel_import.clone()),
            leaving: BTreeSet::new(),
        }
    }

    /// The document, with the steps that lead there.
    pub fn view(&self, steps: Vec<Step>) -> PlanView {
        PlanView {
            node: self.node.clone(),
            asn: self.asn.0,
            router_id: self.router_id.to_string(),
            listen: self.listen.iter().map(ToString::to_string).collect(),
            cluster_id: self.cluster_id.map(|id| id.to_string()),
            sessions: self.sessions.iter().map(SessionPlan::view).collect(),
            originate: self.originate.iter().map(Origination::view).collect(),
            fib: PlannedFib::of(&self.fib),
            fib_rejected: self.fib.rejected.iter().copied().collect(),
            host_routes: PlannedHostRoute::of(&self.fib),
            kernel_import: Some(self.kernel_import.to_string()),
            steps,
            after_restart: Vec::new(),
            handover: None,
        }
    }
}

impl SessionPlan {
    fn neighbor(&self) -> Neighbor {
        let (import, export) = filters::policies(self);
        Neighbor {
            name: self.name.clone(),
            address: self.address,
            port: self.port,
            local_address: self.local_address,
            passive: self.passive,
            enabled: true,
            options: SessionOptions {
                remote_as: Some(self.remote_as),
                local_as: Some(self.local_as),
                role: self.role,
                families: vec![self.family()],
                password: self.password.clone(),
                ttl_security: self.ttl_security,
                next_hop: self.next_hop,
                keepalive_secs: self.keepalive_secs,
                restart_time_secs: Some(self.restart_time_secs),
                allow_own_as: self.allow_own_as,
                add_paths: ADD_PATHS,
                import,
                export,
                ..SessionOptions::default()
            },
        }
    }

    fn view(&self) -> PlannedSession {
        PlannedSession {
            name: self.name.clone(),
            address: self.address.to_string(),
            port: self.port,
            local_as: self.local_as.0,
            remote_as: self.remote_as.0,
            local_address: self.local_address.map(|address| address.to_string()),
            passive: self.passive,
            role: self.role,
            ttl_security: self.ttl_security,
            next_hop: self.next_hop,
            hold_time: HOLD_TIME_SECS,
            restart_time: self.restart_time_secs.into(),
            password: self.password.is_some(),
            allow_own_as: self.allow_own_as,
            add_paths: ADD_PATHS,
            import: self.import.clone(),
            export: self.export.clone(),
            families: vec![self.family()],
        }
    }
}

impl Origination {
    fn announcement(&self) -> Announcement {
        let mut announcement = match self.is_blackhole() {
            true => Announcement::block(self.prefix),
            false => Announcement::route(self.prefix),
        };
        // Communities are attached on export, behind the BGPFilters.
        announcement.local_pref = Some(self.local_pref);
        // Felix, where there is one, has a route for the pod, and knows better whether and where the pod is.
        announcement.yields_to_kernel = self.kind == OriginationKind::Borrowed;
        announcement
    }

    fn view(&self) -> PlannedAnnouncement {
        let kind = match self.kind {
            OriginationKind::Borrowed => "borrowed",
            OriginationKind::Block => "block",
            OriginationKind::Service => "service",
        };
        PlannedAnnouncement {
            prefix: self.prefix,
            kind: kind.to_owned(),
            blackhole: self.is_blackhole(),
            communities: self.communities.iter().map(ToString::to_string).collect(),
            large_communities: self.large_communities.iter().map(ToString::to_string).collect(),
        }
    }
}
