//! This project's own daemons (`bgp-speaker`, `route-reflector`), run as a user runs them: a TOML file, signals, and
//! the commands with `--json`. Nothing here links against them.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use ipnet::IpNet;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::parse::{array, as_path, json, number, parsed, prefix};
use crate::command::output_of;
use crate::daemon::Daemon;
use crate::error::LabError;
use crate::http;
use crate::lab::{Lab, Node};
use crate::netns::Namespace;
use crate::process::Process;
use crate::seen::{SeenRoute, SeenSession};
use crate::spec::{HOLD_TIME_SECS, PeerRole, RouteSpec, SpeakerSpec};
use crate::wait::secs;

/// Which of the two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The node daemon.
    BgpSpeaker,
    /// The dedicated reflector.
    RouteReflector,
}

impl Program {
    /// The file name of the program.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Program::BgpSpeaker => "bgp-speaker",
            Program::RouteReflector => "route-reflector",
        }
    }

    /// The executable: `$BGP_SPEAKER_BIN` or `$ROUTE_REFLECTOR_BIN`, else in the build folder of this executable.
    ///
    /// # Errors
    /// [`LabError::Missing`] if it has not been built.
    pub fn path(self) -> Result<PathBuf, LabError> {
        let variable = format!("{}_BIN", self.name().to_uppercase().replace('-', "_"));
        if let Some(path) = std::env::var_os(&variable) {
            return Ok(path.into());
        }
        let this = std::env::current_exe().map_err(LabError::io("finding this executable"))?;
        // target/debug/deps/interop-0123 or target/debug/demo
        let found = this
            .ancestors()
            .skip(1)
            .take(2)
            .map(|folder| folder.join(self.name()))
            .find(|path| path.is_file());
        found.ok_or_else(|| LabError::Missing {
            what: format!("the executable `{}`", self.name()),
            remedy: format!("build it with `cargo build --package {}`, or set {variable}", self.name()),
        })
    }
}

/// One of our daemons.
#[derive(Debug)]
pub struct Ours {
    program: Program,
    executable: PathBuf,
    spec: SpeakerSpec,
    /// TOML that is appended to the generated file, for what the description cannot say.
    extra: String,
    /// The whole file, in place of a generated one.
    file: Option<String>,
    namespace: Namespace,
    folder: PathBuf,
    process: Option<Process>,
}

impl Ours {
    /// Prepares a daemon; nothing runs yet.
    ///
    /// # Errors
    /// [`LabError::Missing`] if it has not been built.
    pub fn new(lab: &Lab, node: &Node, program: Program, spec: SpeakerSpec) -> Result<Ours, LabError> {
        Ok(Ours {
            program,
            executable: program.path()?,
            spec,
            extra: String::new(),
            file: None,
            namespace: node.namespace.clone(),
            folder: lab.subfolder(&node.name)?,
            process: None,
        })
    }

    /// Appends TOML tables to the configuration file (`[[listen_ranges]]`, for example).
    #[must_use]
    pub fn with_toml(mut self, extra: &str) -> Ours {
        extra.clone_into(&mut self.extra);
        self
    }

    /// Uses this file, which names [`Ours::socket`], in place of one that is made of the description.
    #[must_use]
    pub fn with_file(mut self, text: String) -> Ours {
        self.file = Some(text);
        self
    }

    /// The current description.
    #[must_use]
    pub fn spec(&self) -> &SpeakerSpec {
        &self.spec
    }

    /// The admin socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration file.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    /// The log file.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.program.name()))
    }

    /// The process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// A command to try, for humans who have the program in their `PATH`.
    #[must_use]
    pub fn hint(&self, arguments: &str) -> String {
        format!("{} {arguments} --socket {}", self.program.name(), self.socket().display())
    }

    /// Runs one of its commands against the running daemon.
    ///
    /// # Errors
    /// If the command fails.
    pub fn ask(&self, arguments: &str) -> Result<String, LabError> {
        let mut command = Command::new(&self.executable);
        output_of(command.args(arguments.split_whitespace()).arg("--socket").arg(self.socket()))
    }

    /// Runs one of its commands with `--json`.
    ///
    /// # Errors
    /// If the command fails or does not print JSON.
    pub fn ask_json(&self, arguments: &str) -> Result<Value, LabError> {
        json(&format!("{} {arguments}", self.program.name()), &self.ask(&format!("{arguments} --json"))?)
    }

    /// Runs one of its commands that need no daemon, in the node's network.
    ///
    /// # Errors
    /// If the command fails.
    pub fn offline(&self, arguments: &str) -> Result<String, LabError> {
        let mut command = Command::new(&self.executable);
        self.namespace.output(command.args(arguments.split_whitespace()))
    }

    /// Runs `plan --config FILE --json` in the node's network, whether the daemon runs or not.
    ///
    /// # Errors
    /// If the command fails or does not print JSON.
    pub fn plan_of_file(&self) -> Result<Value, LabError> {
        let mut command = Command::new(&self.executable);
        command.arg("plan").arg("--config").arg(self.config_path());
        command.arg("--socket").arg(self.socket()).arg("--json");
        json("plan", &self.namespace.output(&mut command)?)
    }

    /// Writes the file without telling the daemon.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_config(&self) -> Result<(), LabError> {
        let generated = || config(&self.spec, &self.socket()) + &self.extra;
        let text = self.file.clone().unwrap_or_else(generated);
        // By rename: an earlier SIGHUP may still be on its way, and must not find half a file.
        let new = self.folder.join("config.toml.new");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, self.config_path()))
            .map_err(LabError::io("writing the configuration file"))
    }

    /// Replaces the description of the running daemon: writes the file and sends SIGHUP.
    ///
    /// # Errors
    /// If the file cannot be written or the daemon does not run.
    pub fn reload(&mut self, spec: SpeakerSpec) -> Result<(), LabError> {
        self.spec = spec;
        self.write_config()?;
        let process = self.running()?;
        process.must_run()?;
        process.signal(Signal::SIGHUP);
        Ok(())
    }

    /// Asks it to leave for good with its `drain` command and waits for its end.
    ///
    /// # Errors
    /// If the command fails, or the process is still there after ten seconds.
    pub fn drain(&mut self) -> Result<ExitStatus, LabError> {
        self.ask("drain")?;
        let status = self.running()?.wait_end(secs(10));
        let status = status.ok_or_else(|| LabError::Timeout {
            what: format!("{} to end after drain", self.program.name()),
            after: secs(10),
            last_seen: "a running process".into(),
        })?;
        self.process = None;
        Ok(status)
    }

    /// One neighbour of `neighbors --json`.
    ///
    /// # Errors
    /// If there is none with that address.
    pub fn neighbor(&self, peer: IpAddr) -> Result<Value, LabError> {
        let all = self.ask_json("neighbors")?;
        let found = array(&all).iter().find(|neighbor| parsed::<IpAddr>(&neighbor["address"]) == Some(peer));
        found
            .cloned()
            .ok_or_else(|| LabError::answer("neighbors", format!("no neighbour {peer}"), &all.to_string()))
    }

    fn running(&mut self) -> Result<&mut Process, LabError> {
        let name = self.program.name();
        self.process.as_mut().ok_or_else(|| LabError::Unexpected {
            what: name.into(),
            expected: "a running process".into(),
            seen: "none was started".into(),
        })
    }

    /// How many messages of one type came from `peer`, whatever the spelling of the type.
    fn messages_received(&self, peer: IpAddr, kind: &str) -> Result<u64, LabError> {
        let neighbor = self.neighbor(peer)?;
        let counters = neighbor["messages_received"].as_object().into_iter().flatten();
        let of_kind =
            counters.filter(|(name, _)| name.to_lowercase().replace(['-', '_', ' '], "").contains(kind));
        Ok(of_kind.filter_map(|(_, count)| count.as_u64()).sum())
    }
}

impl Daemon for Ours {
    fn name(&self) -> &str {
        self.program.name()
    }

    fn start(&mut self) -> Result<(), LabError> {
        self.write_config()?;
        let mut command = Command::new(&self.executable);
        command.arg("run").arg("--config").arg(self.config_path());
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "debug");
        }
        let mut process = Process::spawn(&self.namespace, self.program.name(), &self.log(), command)?;
        let what = format!("{} to answer on its admin socket", self.program.name());
        process.wait_ready(&what, secs(10), || self.ask_json("status"))?;
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
        let neighbor = self.neighbor(peer)?;
        let state = neighbor["state"].as_str().unwrap_or("unknown");
        let error = neighbor["last_error"].as_str().unwrap_or_default();
        Ok(SeenSession {
            is_established: state == "Established",
            uptime: neighbor["uptime_secs"].as_u64().map(Duration::from_secs),
            detail: format!("{} says {state} {error}", self.program.name()),
        })
    }

    fn routes_from(&mut self, peer: IpAddr) -> Result<Vec<SeenRoute>, LabError> {
        let answer = self.ask_json(&format!("routes --received {peer}"))?;
        let routes: Result<Vec<SeenRoute>, LabError> = array(&answer).iter().map(read_route).collect();
        let mut routes = routes?;
        routes.sort();
        Ok(routes)
    }

    fn announce(&mut self, route: &RouteSpec) -> Result<(), LabError> {
        let mut spec = self.spec.clone();
        spec.routes.retain(|old| old.prefix != route.prefix);
        spec.routes.push(route.clone());
        self.reload(spec)
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<(), LabError> {
        let mut spec = self.spec.clone();
        spec.routes.retain(|old| old.prefix != prefix);
        self.reload(spec)
    }

    fn ask_refresh(&mut self, peer: IpAddr) -> Result<(), LabError> {
        http::request(&self.socket(), "POST", &format!("/v1/neighbors/{peer}/refresh")).map(drop)
    }

    fn updates_received(&mut self, peer: IpAddr) -> Result<u64, LabError> {
        self.messages_received(peer, "update")
    }

    fn refreshes_served(&mut self, peer: IpAddr) -> Result<u64, LabError> {
        self.messages_received(peer, "refresh")
    }
}

/// One route of `routes --json`.
///
/// # Errors
/// If it has no readable prefix.
pub fn read_route(value: &Value) -> Result<SeenRoute, LabError> {
    let mut route = SeenRoute::new(prefix("routes --json", value["prefix"].as_str().unwrap_or_default())?);
    let next_hop = value["next_hop"].as_str().and_then(|text| text.split_whitespace().next());
    route.next_hop = next_hop.and_then(|hop| hop.parse().ok());
    route.origin = value["origin"].as_str().unwrap_or("?").into();
    route.as_path = as_path(value["as_path"].as_str().unwrap_or_default());
    route.local_pref = number(&value["local_pref"]);
    route.med = number(&value["med"]);
    route.communities = array(&value["communities"]).iter().filter_map(parsed).collect();
    route.large_communities = array(&value["large_communities"]).iter().filter_map(parsed).collect();
    route.originator_id = parsed::<Ipv4Addr>(&value["originator_id"]);
    route.cluster_list = array(&value["cluster_list"]).iter().filter_map(parsed).collect();
    Ok(route)
}

fn quoted(values: impl IntoIterator<Item = String>) -> String {
    values.into_iter().map(|value| format!("\"{value}\"")).collect::<Vec<_>>().join(", ")
}

fn config(spec: &SpeakerSpec, socket: &Path) -> String {
    let mut text = format!(
        "asn = {}\nrouter_id = \"{}\"\nhold_time = {HOLD_TIME_SECS}\n\n[admin]\nsocket = \"{}\"\n",
        spec.asn,
        spec.router_id,
        socket.display()
    );
    if spec.peers.iter().any(|peer| peer.role == PeerRole::Client) {
        let _ = writeln!(text, "\n[reflector]\ncluster_id = \"{}\"", spec.router_id);
    }
    if spec.kernel {
        text.push_str("\n[fib]\n");
    }
    let blocks = spec.routes.iter().filter(|route| route.is_block).map(|route| route.prefix.to_string());
    let _ = writeln!(text, "\n[announce]\nblocks = [{}]", quoted(blocks));
    for route in spec.routes.iter().filter(|route| !route.is_block) {
        let _ = writeln!(text, "\n[[announce.routes]]\nprefix = \"{}\"", route.prefix);
        if let Some(med) = route.med {
            let _ = writeln!(text, "med = {med}");
        }
        if let Some(local_pref) = route.local_pref {
            let _ = writeln!(text, "local_pref = {local_pref}");
        }
        if !route.communities.is_empty() {
            let values = route.communities.iter().map(|(high, low)| format!("{high}:{low}"));
            let _ = writeln!(text, "communities = [{}]", quoted(values));
        }
        if !route.large_communities.is_empty() {
            let values = route.large_communities.iter().map(|(a, b, c)| format!("{a}:{b}:{c}"));
            let _ = writeln!(text, "large_communities = [{}]", quoted(values));
        }
    }
    for peer in &spec.peers {
        let role = if peer.role == PeerRole::Client { "client" } else { "peer" };
        let _ = writeln!(
            text,
            "\n[[neighbors]]\naddress = \"{}\"\nremote_as = {}\nrole = \"{role}\"",
            peer.address, peer.asn
        );
        if spec.add_paths {
            let _ = writeln!(text, "add_paths = \"both\"");
        }
    }
    text
}
