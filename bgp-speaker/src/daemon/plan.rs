//! The dry run: what a configuration would make of a speaker, as documented JSON.

use super::file::{FibSection, neighbor_name};
use crate::config::{
    Announcement, AnnouncementKind, Family, Neighbor, NextHopMode, PolicyRef, Role, SpeakerConfig, Step,
};
use crate::fib::FibPool;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The whole answer. Sessions are sorted by name, announcements by prefix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlanView {
    pub(crate) node: String,
    pub(crate) asn: u32,
    pub(crate) router_id: String,
    pub(crate) listen: Vec<String>,
    pub(crate) cluster_id: Option<String>,
    pub(crate) sessions: Vec<PlannedSession>,
    pub(crate) originate: Vec<PlannedAnnouncement>,
    pub(crate) fib: Vec<PlannedFib>,
    pub(crate) steps: Vec<Step>,
}

/// One session as it would be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlannedSession {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) local_as: u32,
    pub(crate) remote_as: u32,
    pub(crate) local_address: Option<String>,
    pub(crate) passive: bool,
    pub(crate) role: Role,
    pub(crate) ttl_security: Option<u8>,
    pub(crate) next_hop: NextHopMode,
    pub(crate) hold_time: u16,
    pub(crate) restart_time: u64,
    pub(crate) password: bool,
    pub(crate) allow_own_as: u8,
    pub(crate) import: Vec<String>,
    pub(crate) export: Vec<String>,
    pub(crate) families: Vec<Family>,
}

/// One prefix that would be originated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlannedAnnouncement {
    pub(crate) prefix: IpNet,
    pub(crate) kind: String,
    pub(crate) blackhole: bool,
    pub(crate) communities: Vec<String>,
    pub(crate) large_communities: Vec<String>,
}

/// What would be done with the routes of one pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlannedFib {
    pub(crate) pool: IpNet,
    pub(crate) program: bool,
    pub(crate) encapsulation: String,
    pub(crate) when: String,
}

impl PlanView {
    /// The plan for `config`, which `steps` lead to.
    pub(crate) fn new(
        node: &str,
        config: &SpeakerConfig,
        fib: Option<&FibSection>,
        steps: Vec<Step>,
    ) -> Self {
        let mut sessions: Vec<PlannedSession> =
            config.neighbors.values().map(|neighbor| PlannedSession::new(config, neighbor)).collect();
        sessions.sort_by(|a, b| (&a.name, &a.address).cmp(&(&b.name, &b.address)));
        Self {
            node: node.to_owned(),
            asn: config.asn.0,
            router_id: config.router_id.to_string(),
            listen: config.listen.iter().map(ToString::to_string).collect(),
            cluster_id: config.cluster_id.map(|id| id.to_string()),
            sessions,
            originate: config
                .announcements
                .values()
                .map(|announcement| PlannedAnnouncement::new(announcement, fib.is_some()))
                .collect(),
            fib: fib.map(|fib| fib.pools.iter().map(PlannedFib::new).collect()).unwrap_or_default(),
            steps,
        }
    }
}

impl PlannedFib {
    fn new(pool: &FibPool) -> Self {
        Self {
            pool: pool.prefix,
            program: pool.program,
            encapsulation: pool.encapsulation.as_str().to_owned(),
            when: pool.when.as_str().to_owned(),
        }
    }
}

impl PlannedSession {
    fn new(config: &SpeakerConfig, neighbor: &Neighbor) -> Self {
        let options = &neighbor.options;
        Self {
            name: neighbor_name(neighbor),
            address: neighbor.address.to_string(),
            port: neighbor.port,
            local_as: options.local_as.unwrap_or(config.asn).0,
            remote_as: config.remote_as(options).0,
            local_address: neighbor.local_address.map(|address| address.to_string()),
            passive: neighbor.passive,
            role: options.role,
            ttl_security: options.ttl_security,
            next_hop: options.next_hop,
            hold_time: options.hold_time_secs.unwrap_or(config.hold_time_secs),
            restart_time: config.graceful_restart.restart_time.as_secs(),
            password: options.password.is_some(),
            allow_own_as: 0,
            import: policy(&options.import),
            export: policy(&options.export),
            families: options.families.clone(),
        }
    }
}

impl PlannedAnnouncement {
    fn new(announcement: &Announcement, has_fib: bool) -> Self {
        let is_block = announcement.kind == AnnouncementKind::Block;
        Self {
            prefix: announcement.prefix,
            kind: if is_block { "block" } else { "route" }.to_owned(),
            blackhole: is_block && has_fib,
            communities: announcement.communities.iter().map(ToString::to_string).collect(),
            large_communities: announcement.large_communities.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The filters that routes pass; none if all pass.
fn policy(policy: &PolicyRef) -> Vec<String> {
    match policy {
        PolicyRef::Accept => Vec::new(),
        PolicyRef::Reject => vec!["reject".to_owned()],
        PolicyRef::Filters(names) => names.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diff;

    #[test]
    fn a_plan_is_the_documented_json() {
        let mut config = SpeakerConfig::new("10.0.0.1".parse().unwrap());
        config.listen = vec!["0.0.0.0:179".parse().unwrap()];
        let mut neighbor = Neighbor::ibgp("10.0.0.2".parse().unwrap());
        neighbor.name = "Mesh_10_0_0_2".to_owned();
        neighbor.options.families = vec![Family::Ipv4Unicast];
        config.neighbors.insert(neighbor.address, neighbor);
        let block = Announcement::block("192.168.1.0/26".parse().unwrap());
        config.announcements.insert(block.prefix, block);
        let empty = SpeakerConfig {
            listen: config.listen.clone(),
            ..SpeakerConfig::new("10.0.0.1".parse().unwrap())
        };

        let plan = PlanView::new("node-a", &config, Some(&FibSection::default()), diff(&empty, &config));
        let expected = serde_json::json!({
            "node": "node-a", "asn": 64512, "router_id": "10.0.0.1", "listen": ["0.0.0.0:179"], "cluster_id": null,
            "sessions": [{
                "name": "Mesh_10_0_0_2", "address": "10.0.0.2", "port": 179, "local_as": 64512, "remote_as": 64512,
                "local_address": null, "passive": false, "role": "peer", "ttl_security": null, "next_hop": "auto",
                "hold_time": 90, "restart_time": 120, "password": false, "allow_own_as": 0,
                "import": [], "export": [], "families": ["ipv4-unicast"]
            }],
            "originate": [{
                "prefix": "192.168.1.0/26", "kind": "block", "blackhole": true,
                "communities": [], "large_communities": []
            }],
            "fib": [],
            "steps": [
                { "action": "add-session", "target": "10.0.0.2", "because": "" },
                { "action": "announce", "target": "192.168.1.0/26", "because": "" }
            ]
        });
        assert_eq!(serde_json::to_value(&plan).unwrap(), expected);
    }
}
