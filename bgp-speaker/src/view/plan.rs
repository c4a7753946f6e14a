//! The dry run: what a configuration would make of a speaker, as documented JSON.

use crate::config::{
    AddPaths, Announcement, AnnouncementKind, Encapsulation, EncapsulationMode, Family, FibRules, Neighbor,
    NextHopMode, PolicyRef, PoolRule, Role, SpeakerConfig, Step,
};
use crate::view::HandoverView;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The whole answer. Sessions are sorted by name, the rest by prefix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanView {
    /// The node that it is for.
    pub node: String,
    /// Its AS.
    pub asn: u32,
    /// Its BGP identifier, dotted.
    pub router_id: String,
    /// Listening addresses.
    pub listen: Vec<String>,
    /// Present on a reflector, dotted.
    pub cluster_id: Option<String>,
    /// Sessions as they would be.
    pub sessions: Vec<PlannedSession>,
    /// What would be originated.
    pub originate: Vec<PlannedAnnouncement>,
    /// What would be done with routes in each pool of addresses.
    pub fib: Vec<PlannedFib>,
    /// Ranges whose routes never go to the kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fib_rejected: Vec<IpNet>,
    /// Routes to neighbours behind a gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_routes: Vec<PlannedHostRoute>,
    /// Present when routes of other programs would be taken from the kernel: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_import: Option<String>,
    /// How to get there from what is in force.
    pub steps: Vec<Step>,
    /// Sections of the file that differ from those in force and wait for the next start: nothing above follows from
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after_restart: Vec<String>,
    /// What would stay for a while, so that others can take its place first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<HandoverView>,
}

/// One session as it would be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedSession {
    /// Its name in tables and logs.
    pub name: String,
    /// The neighbour.
    pub address: String,
    /// Its TCP port.
    pub port: u16,
    /// Our AS on it.
    pub local_as: u32,
    /// The neighbour's AS.
    pub remote_as: u32,
    /// Our address; absent where the kernel chooses.
    pub local_address: Option<String>,
    /// The neighbour connects.
    pub passive: bool,
    /// Client of our reflection, or peer.
    pub role: Role,
    /// GTSM: hops that are expected.
    pub ttl_security: Option<u8>,
    /// The next hop that the neighbour is told.
    pub next_hop: NextHopMode,
    /// Proposed, in seconds.
    pub hold_time: u16,
    /// Advertised for graceful restart, in seconds.
    pub restart_time: u64,
    /// It has one.
    pub password: bool,
    /// How often our own AS may be in a received path.
    pub allow_own_as: u8,
    /// Several paths of one prefix (RFC 7911).
    pub add_paths: AddPaths,
    /// Filters that received routes pass, in order.
    pub import: Vec<String>,
    /// Filters that advertised routes pass, in order.
    pub export: Vec<String>,
    /// Families to negotiate.
    pub families: Vec<Family>,
}

/// One prefix that would be originated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedAnnouncement {
    /// Host bits are cleared.
    pub prefix: IpNet,
    /// `block`, `borrowed`, `service`, or `route` for what a file names.
    pub kind: String,
    /// Packets for addresses in it that nobody has are dropped here. In a document made of Calico's data alone, which does
    /// not know what becomes of the kernel: where its pool is programmed.
    pub blackhole: bool,
    /// Standard communities.
    pub communities: Vec<String>,
    /// Large communities.
    pub large_communities: Vec<String>,
}

/// What would be done with the routes of one pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedFib {
    /// The pool.
    pub pool: IpNet,
    /// They go to the kernel.
    pub program: bool,
    /// The tunnel.
    pub encapsulation: Encapsulation,
    /// When it is used.
    pub when: EncapsulationMode,
}

/// A route to a neighbour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedHostRoute {
    /// To where.
    pub prefix: IpNet,
    /// Over which router.
    pub via: String,
}

impl PlanView {
    /// The plan for `config`, which `steps` lead to. With a FIB, blocks are blackholes in the kernel, where its rules
    /// let them.
    pub fn new(node: &str, config: &SpeakerConfig, has_fib: bool, steps: Vec<Step>) -> Self {
        let mut sessions: Vec<PlannedSession> =
            config.neighbors.values().map(|neighbor| PlannedSession::new(config, neighbor)).collect();
        sessions.sort_by(|a, b| (&a.name, &a.address).cmp(&(&b.name, &b.address)));
        let rules = &config.fib_rules;
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
                .map(|announcement| {
                    PlannedAnnouncement::new(announcement, has_fib && rules.writes(&announcement.prefix))
                })
                .collect(),
            fib: PlannedFib::of(rules),
            fib_rejected: rules.rejected.iter().copied().collect(),
            host_routes: PlannedHostRoute::of(rules),
            kernel_import: config.kernel_import.as_ref().map(ToString::to_string),
            steps,
            after_restart: Vec::new(),
            handover: None,
        }
    }
}

impl PlannedFib {
    /// One per pool that has a rule.
    pub(crate) fn of(rules: &FibRules) -> Vec<Self> {
        let planned = |(pool, rule): (&IpNet, &PoolRule)| Self {
            pool: *pool,
            program: rule.program,
            encapsulation: rule.encapsulation,
            when: rule.when,
        };
        rules.pools.iter().map(planned).collect()
    }
}

impl PlannedHostRoute {
    /// All of them.
    pub(crate) fn of(rules: &FibRules) -> Vec<Self> {
        let planned = |(prefix, via): (&IpNet, &IpAddr)| Self { prefix: *prefix, via: via.to_string() };
        rules.host_routes.iter().map(planned).collect()
    }
}

impl PlannedSession {
    fn new(config: &SpeakerConfig, neighbor: &Neighbor) -> Self {
        let options = &neighbor.options;
        Self {
            name: neighbor.display_name(),
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
            restart_time: config.restart_time(options).as_secs(),
            password: options.password.is_some(),
            allow_own_as: options.allow_own_as,
            add_paths: options.add_paths,
            import: policy(&options.import),
            export: policy(&options.export),
            families: options.families.clone(),
        }
    }
}

impl PlannedAnnouncement {
    fn new(announcement: &Announcement, is_written: bool) -> Self {
        let is_block = announcement.kind == AnnouncementKind::Block;
        Self {
            prefix: announcement.prefix,
            kind: if is_block { "block" } else { "route" }.to_owned(),
            blackhole: is_block && is_written,
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
        config.neighbors.insert(neighbor.id(), neighbor);
        let block = Announcement::block("192.168.1.0/26".parse().unwrap());
        config.announcements.insert(block.prefix, block);
        let empty = SpeakerConfig {
            listen: config.listen.clone(),
            ..SpeakerConfig::new("10.0.0.1".parse().unwrap())
        };

        let plan = PlanView::new("node-a", &config, true, diff(&empty, &config));
        let expected = serde_json::json!({
            "node": "node-a", "asn": 64512, "router_id": "10.0.0.1", "listen": ["0.0.0.0:179"], "cluster_id": null,
            "sessions": [{
                "name": "Mesh_10_0_0_2", "address": "10.0.0.2", "port": 179, "local_as": 64512, "remote_as": 64512,
                "local_address": null, "passive": false, "role": "peer", "ttl_security": null, "next_hop": "auto",
                "hold_time": 90, "restart_time": 120, "password": false, "allow_own_as": 0,
                "add_paths": "off",
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

    #[test]
    fn a_block_is_a_blackhole_only_where_its_routes_go_to_the_kernel() {
        let mut config = SpeakerConfig::new("10.0.0.1".parse().unwrap());
        let others = PoolRule { program: false, ..PoolRule::default() };
        config.fib_rules.pools.insert("10.1.0.0/16".parse().unwrap(), others);
        config.fib_rules.pools.insert("10.1.128.0/17".parse().unwrap(), PoolRule::default());
        config.fib_rules.rejected.insert("10.96.0.0/12".parse().unwrap());
        for block in ["10.0.0.0/26", "10.1.0.0/26", "10.1.128.0/26", "10.96.0.0/26"] {
            let block = Announcement::block(block.parse().unwrap());
            config.announcements.insert(block.prefix, block);
        }
        let blackholes = |has_fib| -> Vec<String> {
            let plan = PlanView::new("node-a", &config, has_fib, Vec::new());
            let blackholes = plan.originate.iter().filter(|announcement| announcement.blackhole);
            blackholes.map(|announcement| announcement.prefix.to_string()).collect()
        };
        assert_eq!(blackholes(true), ["10.0.0.0/26", "10.1.128.0/26"]);
        assert_eq!(blackholes(false), [""; 0]);
    }
}
