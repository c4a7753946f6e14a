//! GoBGP 3 (`gobgpd`, `gobgp`). It has no kernel of its own: routes stay in the daemon.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use serde_json::Value;

use super::parse::{array, json, number, parsed, prefix};
use crate::command::need_program;
use crate::daemon::Daemon;
use crate::error::LabError;
use crate::lab::{Lab, Node};
use crate::netns::Namespace;
use crate::process::Process;
use crate::seen::{SeenRoute, SeenSession};
use crate::spec::{HOLD_TIME_SECS, PeerRole, PeerSpec, RouteSpec, SpeakerSpec};
use crate::wait::secs;

/// One GoBGP. Its API listens on loopback inside the namespace.
#[derive(Debug)]
pub struct GoBgp {
    spec: SpeakerSpec,
    namespace: Namespace,
    folder: PathBuf,
    gobgpd: PathBuf,
    gobgp: PathBuf,
    process: Option<Process>,
}

/// BGP_FSM_ESTABLISHED in GoBGP's API.
const ESTABLISHED: u64 = 6;

impl GoBgp {
    /// Prepares a GoBGP; nothing runs yet.
    ///
    /// # Errors
    /// [`LabError::Missing`] if it is not installed.
    pub fn new(lab: &Lab, node: &Node, spec: SpeakerSpec) -> Result<GoBgp, LabError> {
        Ok(GoBgp {
            spec,
            namespace: node.namespace.clone(),
            folder: lab.subfolder(&node.name)?,
            gobgpd: need_program("gobgpd", "gobgpd")?,
            gobgp: need_program("gobgp", "gobgpd")?,
            process: None,
        })
    }

    /// Runs one `gobgp` command in the namespace.
    ///
    /// # Errors
    /// If GoBGP does not answer or refuses.
    pub fn ask(&self, arguments: &str) -> Result<String, LabError> {
        self.namespace.output(Command::new(&self.gobgp).args(arguments.split_whitespace()))
    }

    /// The command that asks it, for humans.
    #[must_use]
    pub fn hint(&self) -> String {
        format!("ip netns exec {} gobgp", self.namespace.name())
    }

    /// Adds a session while running.
    ///
    /// # Errors
    /// If GoBGP refuses.
    pub fn add_peer(&mut self, peer: PeerSpec) -> Result<(), LabError> {
        let (address, asn) = (peer.address, peer.asn);
        self.ask(&format!("neighbor add {address} as {asn} family ipv4-unicast,ipv6-unicast"))?;
        self.spec.peers.push(peer);
        Ok(())
    }

    /// Removes a session while running.
    ///
    /// # Errors
    /// If GoBGP refuses.
    pub fn remove_peer(&mut self, peer: IpAddr) -> Result<(), LabError> {
        self.spec.peers.retain(|old| old.address != peer);
        self.ask(&format!("neighbor del {peer}")).map(drop)
    }

    fn neighbor(&self, peer: IpAddr) -> Result<Value, LabError> {
        json("gobgp neighbor", &self.ask(&format!("-j neighbor {peer}"))?)
    }

    fn counter(&self, peer: IpAddr, name: &str) -> Result<u64, LabError> {
        Ok(self.neighbor(peer)?["state"]["messages"]["received"][name].as_u64().unwrap_or(0))
    }
}

impl Daemon for GoBgp {
    fn name(&self) -> &str {
        "GoBGP"
    }

    fn start(&mut self) -> Result<(), LabError> {
        let config_path = self.folder.join("gobgpd.toml");
        fs::write(&config_path, config(&self.spec)).map_err(LabError::io("writing gobgpd.toml"))?;
        let mut command = Command::new(&self.gobgpd);
        command.args(["--api-hosts", "127.0.0.1:50051", "--pprof-disable", "-f"]).arg(config_path);
        let mut process =
            Process::spawn(&self.namespace, "gobgpd", &self.folder.join("gobgpd.log"), command)?;
        process.wait_ready("the gobgp command to answer", secs(15), || self.ask("global"))?;
        self.process = Some(process);
        for route in self.spec.routes.clone() {
            self.announce(&route)?;
        }
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop();
        }
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn session(&mut self, peer: IpAddr) -> Result<SeenSession, LabError> {
        let neighbor = self.neighbor(peer)?;
        let state = neighbor["state"]["session_state"].as_u64().unwrap_or(0);
        let up_since = neighbor["timers"]["state"]["uptime"]["seconds"].as_u64();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(SeenSession {
            is_established: state == ESTABLISHED,
            uptime: up_since.map(|since| now.saturating_sub(Duration::from_secs(since))),
            detail: format!("GoBGP says session_state {state} (6 is established)"),
        })
    }

    fn routes_from(&mut self, peer: IpAddr) -> Result<Vec<SeenRoute>, LabError> {
        if !self.session(peer)?.is_established {
            return Ok(Vec::new());
        }
        let mut routes = Vec::new();
        for family in ["ipv4", "ipv6"] {
            let answer = json("gobgp adj-in", &self.ask(&format!("-j neighbor {peer} adj-in -a {family}"))?)?;
            for (destination, paths) in answer.as_object().into_iter().flatten() {
                let mut route = SeenRoute::new(prefix("gobgp adj-in", destination)?);
                for path in array(paths) {
                    array(&path["attrs"]).iter().for_each(|attribute| read_attribute(&mut route, attribute));
                    routes.push(route.clone());
                }
            }
        }
        routes.sort();
        Ok(routes)
    }

    fn announce(&mut self, route: &RouteSpec) -> Result<(), LabError> {
        self.spec.routes.retain(|old| old.prefix != route.prefix);
        self.spec.routes.push(route.clone());
        let mut line = format!(
            "global rib add {} nexthop {} origin igp -a {}",
            route.prefix,
            self.spec.next_hop_for(route.prefix),
            family_of(route.prefix)
        );
        if let Some(med) = route.med {
            let _ = write!(line, " med {med}");
        }
        if let Some(local_pref) = route.local_pref {
            let _ = write!(line, " local-pref {local_pref}");
        }
        let communities: Vec<_> =
            route.communities.iter().map(|(high, low)| format!("{high}:{low}")).collect();
        if !communities.is_empty() {
            let _ = write!(line, " community {}", communities.join(","));
        }
        let large: Vec<_> = route.large_communities.iter().map(|(a, b, c)| format!("{a}:{b}:{c}")).collect();
        if !large.is_empty() {
            let _ = write!(line, " large-community {}", large.join(","));
        }
        self.ask(&line).map(drop)
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<(), LabError> {
        self.spec.routes.retain(|old| old.prefix != prefix);
        self.ask(&format!("global rib del {prefix} -a {}", family_of(prefix))).map(drop)
    }

    /// GoBGP answers a ROUTE-REFRESH but has no command that sends one: `softresetin` looks at its own copy again.
    fn can_ask_refresh(&self) -> bool {
        false
    }

    fn ask_refresh(&mut self, peer: IpAddr) -> Result<(), LabError> {
        for family in ["ipv4", "ipv6"] {
            self.ask(&format!("neighbor {peer} softresetin -a {family}"))?;
        }
        Ok(())
    }

    fn updates_received(&mut self, peer: IpAddr) -> Result<u64, LabError> {
        self.counter(peer, "update")
    }

    fn refreshes_served(&mut self, peer: IpAddr) -> Result<u64, LabError> {
        self.counter(peer, "refresh")
    }
}

fn family_of(prefix: IpNet) -> &'static str {
    match prefix {
        IpNet::V4(_) => "ipv4",
        IpNet::V6(_) => "ipv6",
    }
}

/// Reads one path attribute of GoBGP's JSON, which names them by type code.
fn read_attribute(route: &mut SeenRoute, attribute: &Value) {
    match attribute["type"].as_u64() {
        Some(1) => {
            let names = ["igp", "egp", "incomplete"];
            let index =
                attribute["value"].as_u64().and_then(|value| usize::try_from(value).ok()).unwrap_or(0);
            route.origin = names.get(index).copied().unwrap_or("?").to_owned();
        }
        Some(2) => {
            let segments = array(&attribute["as_paths"]).iter();
            route.as_path = segments.flat_map(|segment| array(&segment["asns"])).filter_map(number).collect();
        }
        Some(3 | 14) => route.next_hop = parsed(&attribute["nexthop"]),
        Some(4) => route.med = number(&attribute["metric"]),
        Some(5) => route.local_pref = number(&attribute["value"]),
        Some(8) => {
            let values = array(&attribute["communities"]).iter().filter_map(number);
            route.communities = values.map(|value| format!("{}:{}", value >> 16, value & 0xffff)).collect();
        }
        Some(9) => route.originator_id = parsed(&attribute["value"]),
        Some(10) => route.cluster_list = array(&attribute["value"]).iter().filter_map(parsed).collect(),
        Some(32) => {
            let part = |value: &Value, name: &str| value[name].as_u64().unwrap_or(0);
            let triple = |value: &Value| {
                format!("{}:{}:{}", part(value, "ASN"), part(value, "LocalData1"), part(value, "LocalData2"))
            };
            route.large_communities = array(&attribute["value"]).iter().map(triple).collect();
        }
        _ => {}
    }
}

fn config(spec: &SpeakerSpec) -> String {
    let mut text = format!(
        "[global.config]\nas = {}\nrouter-id = \"{}\"\nlocal-address-list = [\"{}\"]\n",
        spec.asn, spec.router_id, spec.v4
    );
    for peer in &spec.peers {
        let _ = write!(
            text,
            "
[[neighbors]]
[neighbors.config]
neighbor-address = \"{address}\"
peer-as = {asn}
[neighbors.timers.config]
connect-retry = 1
hold-time = {HOLD_TIME_SECS}
keepalive-interval = 3
idle-hold-time-after-reset = 1
[neighbors.transport.config]
local-address = \"{local}\"
[neighbors.graceful-restart.config]
enabled = true
restart-time = 120
",
            address = peer.address,
            asn = peer.asn,
            local = spec.v4,
        );
        if peer.role == PeerRole::Client {
            let _ = write!(
                text,
                "[neighbors.route-reflector.config]\nroute-reflector-client = true\n\
                 route-reflector-cluster-id = \"{}\"\n",
                spec.router_id
            );
        }
        for family in ["ipv4-unicast", "ipv6-unicast"] {
            let _ = write!(
                text,
                "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}\"\n\
                 [neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n"
            );
        }
    }
    text
}
