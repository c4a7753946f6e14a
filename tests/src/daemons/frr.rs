//! FRR (`zebra`, `bgpd`, `vtysh`). `zebra` is needed: without it `bgpd` knows no interface and refuses IPv6 next hops.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ipnet::IpNet;
use nix::unistd::{User, chown};
use serde_json::{Deserializer, Value};

use super::parse::{array, is_link_local, json, number, parsed, prefix};
use crate::command::{need_program, output_of};
use crate::daemon::Daemon;
use crate::error::LabError;
use crate::lab::{Lab, Node};
use crate::netns::Namespace;
use crate::process::Process;
use crate::seen::{SeenRoute, SeenSession};
use crate::spec::{HOLD_TIME_SECS, PeerRole, RouteSpec, SpeakerSpec};
use crate::wait::secs;

/// One FRR: zebra and bgpd with private sockets.
#[derive(Debug)]
pub struct Frr {
    spec: SpeakerSpec,
    namespace: Namespace,
    folder: PathBuf,
    zebra: PathBuf,
    bgpd: PathBuf,
    vtysh: PathBuf,
    processes: Vec<Process>,
}

impl Frr {
    /// Prepares an FRR; nothing runs yet.
    ///
    /// # Errors
    /// [`LabError::Missing`] if it is not installed.
    pub fn new(lab: &Lab, node: &Node, spec: SpeakerSpec) -> Result<Frr, LabError> {
        let frr = Frr {
            spec,
            namespace: node.namespace.clone(),
            folder: lab.subfolder(&node.name)?,
            zebra: need_program("/usr/lib/frr/zebra", "frr")?,
            bgpd: need_program("/usr/lib/frr/bgpd", "frr")?,
            vtysh: need_program("vtysh", "frr")?,
            processes: Vec::new(),
        };
        give_to_frr(&frr.folder)?;
        Ok(frr)
    }

    /// Runs `vtysh` commands, in order, in one session.
    ///
    /// # Errors
    /// If FRR does not answer or refuses one.
    pub fn ask(&self, commands: &[String]) -> Result<String, LabError> {
        let mut vtysh = Command::new(&self.vtysh);
        vtysh.arg("--vty_socket").arg(&self.folder);
        for command in commands {
            vtysh.arg("-c").arg(command);
        }
        let answer = output_of(&mut vtysh)?;
        if answer.contains("% Unknown command") || answer.contains("% Command incomplete") {
            return Err(LabError::answer("vtysh", "a command was refused", &answer));
        }
        Ok(answer)
    }

    fn neighbor(&self, peer: IpAddr) -> Result<Value, LabError> {
        let answer = self.ask(&[format!("show bgp neighbors {peer} json")])?;
        Ok(json("vtysh show bgp neighbors", &answer)?[peer.to_string()].take())
    }

    fn spawn(&self, name: &str, program: &Path, config: &str) -> Result<Process, LabError> {
        let path = self.folder.join(format!("{name}.conf"));
        fs::write(&path, config).map_err(LabError::io(format!("writing {name}.conf")))?;
        give_to_frr(&path)?;
        let mut command = Command::new(program);
        command.arg("-f").arg(path);
        command.arg("-i").arg(self.folder.join(format!("{name}.pid")));
        command.arg("-z").arg(self.folder.join("zserv.api"));
        command.arg("--vty_socket").arg(&self.folder).args(["-P", "0", "--log", "stdout"]);
        Process::spawn(&self.namespace, name, &self.folder.join(format!("{name}.log")), command)
    }

    /// The commands that enter one family of the BGP instance.
    fn enter_family(&self, route: IpNet) -> Vec<String> {
        vec![
            "configure terminal".into(),
            format!("router bgp {}", self.spec.asn),
            format!("address-family {} unicast", family_of(route)),
        ]
    }
}

impl Daemon for Frr {
    fn name(&self) -> &str {
        "FRR"
    }

    fn start(&mut self) -> Result<(), LabError> {
        self.processes.clear();
        let mut zebra = self.spawn("zebra", &self.zebra, "")?;
        zebra.wait_ready("zebra to listen", secs(15), || {
            if self.folder.join("zserv.api").exists() { Ok(()) } else { Err("no zserv.api yet") }
        })?;
        let mut bgpd = self.spawn("bgpd", &self.bgpd, &config(&self.spec))?;
        bgpd.wait_ready("vtysh to answer", secs(15), || match self.ask(&["show bgp summary json".into()]) {
            Ok(answer) if answer.contains("routerId") => Ok(()),
            Ok(answer) => Err(answer),
            Err(error) => Err(error.to_string()),
        })?;
        self.processes = vec![bgpd, zebra];
        Ok(())
    }

    fn stop(&mut self) {
        self.processes.iter_mut().for_each(Process::stop);
        self.kill();
    }

    fn kill(&mut self) {
        self.processes.clear();
        // A stale socket would look like a zebra that listens.
        let _ = fs::remove_file(self.folder.join("zserv.api"));
    }

    fn session(&mut self, peer: IpAddr) -> Result<SeenSession, LabError> {
        let neighbor = self.neighbor(peer)?;
        let state = neighbor["bgpState"].as_str().unwrap_or("unknown");
        let reason = neighbor["lastNotificationReason"].as_str().unwrap_or_default();
        Ok(SeenSession {
            is_established: state == "Established",
            uptime: neighbor["bgpTimerUpMsec"].as_u64().map(Duration::from_millis),
            detail: format!("FRR says {state} {reason}"),
        })
    }

    fn routes_from(&mut self, peer: IpAddr) -> Result<Vec<SeenRoute>, LabError> {
        let mut routes = Vec::new();
        for family in ["ipv4", "ipv6"] {
            let table = json("vtysh show bgp", &self.ask(&[format!("show bgp {family} unicast json")])?)?;
            let prefixes =
                table["routes"].as_object().into_iter().flatten().map(|(destination, _)| destination);
            let details: Vec<_> = prefixes.map(|p| format!("show bgp {family} unicast {p} json")).collect();
            if details.is_empty() {
                continue;
            }
            let answer = self.ask(&details)?;
            for destination in Deserializer::from_str(&answer).into_iter::<Value>() {
                let destination =
                    destination.map_err(|error| LabError::answer("vtysh show bgp", error, &answer))?;
                let Some(name) = destination["prefix"].as_str() else { continue };
                let from_peer = |path: &&Value| parsed::<IpAddr>(&path["peer"]["peerId"]) == Some(peer);
                for path in array(&destination["paths"]).iter().filter(from_peer) {
                    routes.push(read_path(SeenRoute::new(prefix("vtysh", name)?), path));
                }
            }
        }
        routes.sort();
        Ok(routes)
    }

    fn announce(&mut self, route: &RouteSpec) -> Result<(), LabError> {
        self.withdraw(route.prefix).ok();
        self.spec.routes.push(route.clone());
        let map = route_map(route);
        let mut commands: Vec<String> =
            vec!["configure terminal".into(), format!("no route-map {}", map_name(route))];
        commands.extend(map.lines().map(str::to_owned));
        commands.push("exit".into());
        commands.extend(self.enter_family(route.prefix).into_iter().skip(1));
        commands.push(format!("network {} route-map {}", route.prefix, map_name(route)));
        self.ask(&commands).map(drop)
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<(), LabError> {
        let Some(index) = self.spec.routes.iter().position(|old| old.prefix == prefix) else { return Ok(()) };
        let route = self.spec.routes.swap_remove(index);
        let mut commands = self.enter_family(prefix);
        commands.push(format!("no network {prefix} route-map {}", map_name(&route)));
        self.ask(&commands).map(drop)
    }

    fn ask_refresh(&mut self, peer: IpAddr) -> Result<(), LabError> {
        let families = ["ipv4", "ipv6"].map(|family| format!("clear bgp {family} unicast {peer} in"));
        self.ask(&families).map(drop)
    }

    fn updates_received(&mut self, peer: IpAddr) -> Result<u64, LabError> {
        Ok(self.neighbor(peer)?["messageStats"]["updatesRecv"].as_u64().unwrap_or(0))
    }

    fn refreshes_served(&mut self, peer: IpAddr) -> Result<u64, LabError> {
        Ok(self.neighbor(peer)?["messageStats"]["routeRefreshRecv"].as_u64().unwrap_or(0))
    }
}

fn family_of(prefix: IpNet) -> &'static str {
    match prefix {
        IpNet::V4(_) => "ipv4",
        IpNet::V6(_) => "ipv6",
    }
}

/// FRR drops its privileges to the user `frr`, which then writes sockets and pid files here.
fn give_to_frr(path: &Path) -> Result<(), LabError> {
    let user = User::from_name("frr").ok().flatten().ok_or_else(|| LabError::Missing {
        what: "the user `frr`".into(),
        remedy: "install it with `apt-get install frr`".into(),
    })?;
    chown(path, Some(user.uid), Some(user.gid)).map_err(|errno| LabError::Io {
        doing: format!("giving {} to frr", path.display()),
        source: errno.into(),
    })
}

fn read_path(mut route: SeenRoute, path: &Value) -> SeenRoute {
    route.origin = path["origin"].as_str().unwrap_or("?").to_lowercase();
    let segments = array(&path["aspath"]["segments"]).iter();
    route.as_path = segments.flat_map(|segment| array(&segment["list"])).filter_map(number).collect();
    route.med = number(&path["metric"]);
    route.local_pref = number(&path["locPrf"]);
    let hops = array(&path["nexthops"]).iter().filter_map(|hop| parsed::<IpAddr>(&hop["ip"]));
    route.next_hop = hops.into_iter().find(|hop| !is_link_local(*hop));
    let strings = |value: &Value| array(&value["list"]).iter().filter_map(parsed).collect();
    route.communities = strings(&path["community"]);
    route.large_communities = strings(&path["largeCommunity"]);
    route.originator_id = parsed(&path["originatorId"]);
    route.cluster_list = array(&path["clusterList"]["list"]).iter().filter_map(parsed).collect();
    route
}

fn map_name(route: &RouteSpec) -> String {
    format!("MAP_{}", route.prefix.to_string().replace(['.', ':', '/'], "_"))
}

/// The route map that sets the attributes of one originated route.
fn route_map(route: &RouteSpec) -> String {
    let mut text = format!("route-map {} permit 10\n set origin igp\n", map_name(route));
    if let Some(med) = route.med {
        let _ = writeln!(text, " set metric {med}");
    }
    if let Some(local_pref) = route.local_pref {
        let _ = writeln!(text, " set local-preference {local_pref}");
    }
    if !route.communities.is_empty() {
        let values: Vec<_> = route.communities.iter().map(|(high, low)| format!("{high}:{low}")).collect();
        let _ = writeln!(text, " set community {}", values.join(" "));
    }
    if !route.large_communities.is_empty() {
        let values: Vec<_> = route.large_communities.iter().map(|(a, b, c)| format!("{a}:{b}:{c}")).collect();
        let _ = writeln!(text, " set large-community {}", values.join(" "));
    }
    text
}

fn config(spec: &SpeakerSpec) -> String {
    let mut text = format!(
        "hostname lab
router bgp {}
 bgp router-id {}
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 bgp graceful-restart
",
        spec.asn, spec.router_id
    );
    for peer in &spec.peers {
        let _ = write!(
            text,
            " neighbor {address} remote-as {asn}
 neighbor {address} update-source {local}
 neighbor {address} timers 3 {HOLD_TIME_SECS}
 neighbor {address} timers connect 1
 neighbor {address} advertisement-interval 0
",
            address = peer.address,
            asn = peer.asn,
            local = spec.v4,
        );
    }
    for family in ["ipv4", "ipv6"] {
        let _ = writeln!(text, " address-family {family} unicast");
        for peer in &spec.peers {
            let _ = writeln!(text, "  neighbor {} activate", peer.address);
            if spec.add_paths {
                // FRR takes several paths whenever they are offered.
                let _ = writeln!(text, "  neighbor {} addpath-tx-all-paths", peer.address);
            }
            if peer.role == PeerRole::Client {
                let _ = writeln!(text, "  neighbor {} route-reflector-client", peer.address);
            }
        }
        for route in spec.routes.iter().filter(|route| family_of(route.prefix) == family) {
            let _ = writeln!(text, "  network {} route-map {}", route.prefix, map_name(route));
        }
        text.push_str(" exit-address-family\n");
    }
    text.push_str("exit\n");
    for route in &spec.routes {
        text.push_str(&route_map(route));
        text.push_str("exit\n");
    }
    text
}
