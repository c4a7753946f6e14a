//! ExaBGP 4 (`exabgp`): sends what it is told and writes what it receives, as JSON, to a file.
//!
//! It keeps no table, so the adapter replays the file into one. Commands go in through a file that a helper process
//! (`tail -f`) reads for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use serde_json::Value;

use super::parse::{array, is_link_local, json, number, parsed, prefix};
use crate::command::need_program;
use crate::daemon::Daemon;
use crate::error::LabError;
use crate::lab::{Lab, Node};
use crate::netns::Namespace;
use crate::process::Process;
use crate::seen::{SeenRoute, SeenSession};
use crate::spec::{HOLD_TIME_SECS, RouteSpec, SpeakerSpec};
use crate::wait::secs;

/// One ExaBGP.
#[derive(Debug)]
pub struct ExaBgp {
    spec: SpeakerSpec,
    namespace: Namespace,
    folder: PathBuf,
    exabgp: PathBuf,
    process: Option<Process>,
}

/// What the output file says about one peer, replayed from its beginning.
#[derive(Default)]
struct Replay {
    routes: BTreeMap<IpNet, SeenRoute>,
    state: String,
    up_since: f64,
    update_count: u64,
    refresh_count: u64,
}

impl ExaBgp {
    /// Prepares an ExaBGP; nothing runs yet.
    ///
    /// # Errors
    /// [`LabError::Missing`] if it is not installed.
    pub fn new(lab: &Lab, node: &Node, spec: SpeakerSpec) -> Result<ExaBgp, LabError> {
        Ok(ExaBgp {
            spec,
            namespace: node.namespace.clone(),
            folder: lab.subfolder(&node.name)?,
            exabgp: need_program("exabgp", "exabgp")?,
            process: None,
        })
    }

    fn output(&self) -> PathBuf {
        self.folder.join("received.json")
    }

    fn commands(&self) -> PathBuf {
        self.folder.join("commands")
    }

    /// Hands it one line of its command language.
    fn tell(&self, line: &str) -> Result<(), LabError> {
        let file = fs::OpenOptions::new().append(true).open(self.commands());
        let mut file = file.map_err(LabError::io("opening ExaBGP's command file"))?;
        writeln!(file, "{line}").map_err(LabError::io("writing ExaBGP's command file"))
    }

    fn replay(&self, peer: IpAddr) -> Result<Replay, LabError> {
        let text = fs::read_to_string(self.output()).unwrap_or_default();
        let mut replay = Replay { state: "nothing yet".into(), ..Replay::default() };
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            // This version writes `""ipv4""` in refresh messages.
            let line =
                if line.contains("\"type\": \"refresh\"") { line.replace("\"\"", "\"") } else { line.into() };
            let message = json("exabgp", &line)?;
            if parsed::<IpAddr>(&message["neighbor"]["address"]["peer"]) == Some(peer) {
                replay.handle(&message)?;
            }
        }
        Ok(replay)
    }
}

impl Replay {
    fn handle(&mut self, message: &Value) -> Result<(), LabError> {
        let neighbor = &message["neighbor"];
        match message["type"].as_str() {
            Some("state") => {
                self.state = neighbor["state"].as_str().unwrap_or("?").into();
                if self.state == "up" {
                    self.up_since = message["time"].as_f64().unwrap_or(0.0);
                } else if self.state == "down" {
                    self.routes.clear();
                    let _ = write!(self.state, ": {}", neighbor["reason"].as_str().unwrap_or("?"));
                }
            }
            Some("refresh") => self.refresh_count += 1,
            Some("update") => {
                self.update_count += 1;
                let update = &neighbor["message"]["update"];
                for (_, gone) in update["withdraw"].as_object().into_iter().flatten() {
                    for nlri in array(gone) {
                        self.routes.remove(&nlri_prefix(nlri)?);
                    }
                }
                for (_, by_next_hop) in update["announce"].as_object().into_iter().flatten() {
                    for (next_hop, new) in by_next_hop.as_object().into_iter().flatten() {
                        let next_hop: Option<IpAddr> = next_hop.parse().ok();
                        // The link-local half of an IPv6 next hop is listed as a second announcement.
                        if next_hop.is_none_or(is_link_local) {
                            continue;
                        }
                        for nlri in array(new) {
                            let route = SeenRoute { next_hop, ..SeenRoute::new(nlri_prefix(nlri)?) };
                            self.routes.insert(route.prefix, with_attributes(route, &update["attribute"]));
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Daemon for ExaBgp {
    fn name(&self) -> &str {
        "ExaBGP"
    }

    fn start(&mut self) -> Result<(), LabError> {
        self.process = None;
        let path = self.folder.join("exabgp.conf");
        fs::write(&path, config(&self.spec, &self.output(), &self.commands()))
            .map_err(LabError::io("writing exabgp.conf"))?;
        for file in [self.output(), self.commands()] {
            fs::write(file, "").map_err(LabError::io("emptying ExaBGP's files"))?;
        }
        let mut command = Command::new(&self.exabgp);
        command.arg(path);
        command.envs([
            ("exabgp.daemon.user", "root"),
            ("exabgp.daemon.drop", "false"),
            ("exabgp.log.all", "true"),
            ("exabgp.log.level", "INFO"),
            ("exabgp.api.cli", "false"),
            ("exabgp.api.ack", "false"),
            ("exabgp.cache.attributes", "false"),
        ]);
        command.env("exabgp.tcp.bind", self.spec.v4.to_string());
        let log = self.folder.join("exabgp.log");
        let mut process = Process::spawn(&self.namespace, "exabgp", &log, command)?;
        process.wait_ready("ExaBGP to load its configuration", secs(15), || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            if text.contains("loaded new configuration successfully") { Ok(()) } else { Err(text) }
        })?;
        self.process = Some(process);
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
        let replay = self.replay(peer)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Ok(SeenSession {
            is_established: replay.state == "up",
            uptime: Some(Duration::from_secs_f64((now - replay.up_since).max(0.0))),
            detail: format!("ExaBGP says {}", replay.state),
        })
    }

    fn routes_from(&mut self, peer: IpAddr) -> Result<Vec<SeenRoute>, LabError> {
        Ok(self.replay(peer)?.routes.into_values().collect())
    }

    fn announce(&mut self, route: &RouteSpec) -> Result<(), LabError> {
        self.withdraw(route.prefix).ok();
        self.spec.routes.push(route.clone());
        self.tell(&format!("announce route {}", route_words(&self.spec, route)))
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<(), LabError> {
        let Some(index) = self.spec.routes.iter().position(|old| old.prefix == prefix) else { return Ok(()) };
        let old = self.spec.routes.swap_remove(index);
        self.tell(&format!("withdraw route {}", route_words(&self.spec, &old)))
    }

    fn ask_refresh(&mut self, _peer: IpAddr) -> Result<(), LabError> {
        self.tell("announce route-refresh ipv4 unicast")?;
        self.tell("announce route-refresh ipv6 unicast")
    }

    fn updates_received(&mut self, peer: IpAddr) -> Result<u64, LabError> {
        Ok(self.replay(peer)?.update_count)
    }

    fn refreshes_served(&mut self, peer: IpAddr) -> Result<u64, LabError> {
        Ok(self.replay(peer)?.refresh_count)
    }
}

/// An NLRI is `{"nlri": "10.0.0.0/8"}` or, without ADD-PATH in some messages, the bare string.
fn nlri_prefix(nlri: &Value) -> Result<IpNet, LabError> {
    let text = nlri["nlri"].as_str().or_else(|| nlri.as_str()).unwrap_or_default();
    prefix("exabgp", text)
}

fn with_attributes(mut route: SeenRoute, attributes: &Value) -> SeenRoute {
    route.origin = attributes["origin"].as_str().unwrap_or("?").into();
    route.as_path = array(&attributes["as-path"]).iter().filter_map(number).collect();
    route.med = number(&attributes["med"]);
    route.local_pref = number(&attributes["local-preference"]);
    let joined = |value: &Value| {
        array(value).iter().filter_map(number).map(|part| part.to_string()).collect::<Vec<_>>().join(":")
    };
    route.communities = array(&attributes["community"]).iter().map(joined).collect();
    route.large_communities = array(&attributes["large-community"]).iter().map(joined).collect();
    route.originator_id = parsed(&attributes["originator-id"]);
    route.cluster_list = array(&attributes["cluster-list"]).iter().filter_map(parsed).collect();
    route
}

/// A route in the words of both the configuration file and the command language.
fn route_words(spec: &SpeakerSpec, route: &RouteSpec) -> String {
    let mut text = format!("{} next-hop {} origin igp", route.prefix, spec.next_hop_for(route.prefix));
    if let Some(med) = route.med {
        let _ = write!(text, " med {med}");
    }
    if let Some(local_pref) = route.local_pref {
        let _ = write!(text, " local-preference {local_pref}");
    }
    if !route.communities.is_empty() {
        let values: Vec<_> = route.communities.iter().map(|(high, low)| format!("{high}:{low}")).collect();
        let _ = write!(text, " community [ {} ]", values.join(" "));
    }
    if !route.large_communities.is_empty() {
        let values: Vec<_> = route.large_communities.iter().map(|(a, b, c)| format!("{a}:{b}:{c}")).collect();
        let _ = write!(text, " large-community [ {} ]", values.join(" "));
    }
    text
}

fn config(spec: &SpeakerSpec, output: &Path, commands: &Path) -> String {
    let mut text = format!(
        "process watch {{ run /bin/sh -c \"cat >> {}\"; encoder json; }}
process command {{ run /usr/bin/tail -n +1 -s 0.05 -f {}; encoder json; }}
",
        output.display(),
        commands.display()
    );
    for peer in &spec.peers {
        let _ = write!(
            text,
            "neighbor {address} {{
  router-id {router_id};
  local-address {local};
  local-as {asn};
  peer-as {remote_asn};
  hold-time {HOLD_TIME_SECS};
  group-updates false;
  capability {{ route-refresh enable; graceful-restart 120; asn4 enable; }}
  family {{ ipv4 unicast; ipv6 unicast; }}
  api watcher {{ processes [ watch ]; neighbor-changes; receive {{ parsed; update; refresh; notification; }} }}
  api commander {{ processes [ command ]; }}
  announce {{
",
            address = peer.address,
            router_id = spec.router_id,
            local = spec.v4,
            asn = spec.asn,
            remote_asn = peer.asn,
        );
        for (family, is_v4) in [("ipv4", true), ("ipv6", false)] {
            let _ = writeln!(text, "    {family} {{");
            for route in spec.routes.iter().filter(|route| route.v4().is_some() == is_v4) {
                let _ = writeln!(text, "      unicast {};", route_words(spec, route));
            }
            text.push_str("    }\n");
        }
        text.push_str("  }\n}\n");
    }
    text
}
