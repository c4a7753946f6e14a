//! BIRD 2 (`bird`, `birdc`).

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ipnet::IpNet;

use super::parse::{self, as_path};
use crate::command::{need_program, output_of};
use crate::daemon::Daemon;
use crate::error::LabError;
use crate::lab::{Lab, Node};
use crate::netns::Namespace;
use crate::process::Process;
use crate::seen::{SeenRoute, SeenSession};
use crate::spec::{HOLD_TIME_SECS, PeerRole, RouteSpec, SpeakerSpec};
use crate::wait::secs;

/// One BIRD. Its routes are static ones; a change at run time rewrites the file and reconfigures.
#[derive(Debug)]
pub struct Bird {
    spec: SpeakerSpec,
    namespace: Namespace,
    folder: PathBuf,
    bird: PathBuf,
    birdc: PathBuf,
    process: Option<Process>,
}

impl Bird {
    /// Prepares a BIRD; nothing runs yet.
    ///
    /// # Errors
    /// [`LabError::Missing`] if it is not installed.
    pub fn new(lab: &Lab, node: &Node, spec: SpeakerSpec) -> Result<Bird, LabError> {
        Ok(Bird {
            spec,
            namespace: node.namespace.clone(),
            folder: lab.subfolder(&node.name)?,
            bird: need_program("bird", "bird2")?,
            birdc: need_program("birdc", "bird2")?,
            process: None,
        })
    }

    /// The command that opens its command line, for humans.
    #[must_use]
    pub fn hint(&self) -> String {
        format!("birdc -s {}", self.socket().display())
    }

    /// Replaces the description of a running BIRD, which reconfigures without restarting what did not change.
    ///
    /// # Errors
    /// If it refuses the configuration.
    pub fn reconfigure(&mut self, spec: SpeakerSpec) -> Result<(), LabError> {
        self.spec = spec;
        self.apply()
    }

    /// Runs one `birdc` command.
    ///
    /// # Errors
    /// If BIRD does not answer.
    pub fn ask(&self, command: &str) -> Result<String, LabError> {
        output_of(Command::new(&self.birdc).arg("-s").arg(self.socket()).args(command.split_whitespace()))
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("bird.ctl")
    }

    fn write_config(&self) -> Result<PathBuf, LabError> {
        let path = self.folder.join("bird.conf");
        fs::write(&path, config(&self.spec)).map_err(LabError::io("writing bird.conf"))?;
        Ok(path)
    }

    fn apply(&self) -> Result<(), LabError> {
        self.write_config()?;
        let answer = self.ask("configure")?;
        if answer.contains("Reconfigur") {
            return Ok(());
        }
        Err(LabError::answer("birdc configure", "it was refused", &answer))
    }

    /// The name of the protocol that speaks with `peer`.
    fn protocol(&self, peer: IpAddr) -> Result<String, LabError> {
        if self.spec.peers.iter().any(|candidate| candidate.address == peer) {
            return Ok(protocol_name(peer));
        }
        Err(LabError::answer("the lab", "BIRD has no such peer", &peer.to_string()))
    }

    fn protocol_detail(&self, peer: IpAddr) -> Result<String, LabError> {
        self.ask(&format!("show protocols all {}", self.protocol(peer)?))
    }
}

impl Daemon for Bird {
    fn name(&self) -> &str {
        "BIRD"
    }

    fn start(&mut self) -> Result<(), LabError> {
        let config = self.write_config()?;
        let mut command = Command::new(&self.bird);
        command.arg("-f").arg("-c").arg(config).arg("-s").arg(self.socket());
        command.arg("-P").arg(self.folder.join("bird.pid"));
        let mut process = Process::spawn(&self.namespace, "bird", &self.folder.join("bird.log"), command)?;
        process.wait_ready("birdc to answer", secs(10), || self.ask("show status"))?;
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
        let text = self.protocol_detail(peer)?;
        let state = value_after(&text, "BGP state:").unwrap_or("unknown");
        let since = text.lines().find(|line| line.starts_with(&protocol_name(peer)));
        let since = since.and_then(|line| line.split_whitespace().nth(4)).unwrap_or_default();
        let now = self.ask("show status")?;
        let now = value_after(&now, "Current server time is").unwrap_or_default();
        let now = now.split_whitespace().last().unwrap_or_default();
        let uptime = clock(now).zip(clock(since)).map(|(now, since)| (now + DAY - since).rem_euclid(DAY));
        let error = value_after(&text, "Last error:").unwrap_or_default();
        Ok(SeenSession {
            is_established: state == "Established",
            uptime: uptime.map(Duration::from_secs_f64),
            detail: format!("BIRD says {state} {error}"),
        })
    }

    fn routes_from(&mut self, peer: IpAddr) -> Result<Vec<SeenRoute>, LabError> {
        let text = self.ask(&format!("show route all protocol {}", self.protocol(peer)?))?;
        let mut routes = Vec::new();
        for line in text.lines() {
            let first = line.split_whitespace().next().unwrap_or_default();
            if !line.starts_with(char::is_whitespace) && first.contains('/') {
                routes.push(SeenRoute::new(parse::prefix("birdc show route", first)?));
            } else if let (Some(route), Some((key, value))) =
                (routes.last_mut(), line.trim().split_once(": "))
            {
                read_attribute(route, key, value.trim());
            }
        }
        routes.sort();
        Ok(routes)
    }

    fn announce(&mut self, route: &RouteSpec) -> Result<(), LabError> {
        self.spec.routes.retain(|old| old.prefix != route.prefix);
        self.spec.routes.push(route.clone());
        self.apply()
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<(), LabError> {
        self.spec.routes.retain(|old| old.prefix != prefix);
        self.apply()
    }

    fn ask_refresh(&mut self, peer: IpAddr) -> Result<(), LabError> {
        self.ask(&format!("reload in {}", self.protocol(peer)?)).map(drop)
    }

    fn updates_received(&mut self, peer: IpAddr) -> Result<u64, LabError> {
        Ok(sum_of_counters(&self.protocol_detail(peer)?, "Import updates:", 0))
    }

    /// BIRD does not count requests; it counts the routes that it sent again.
    fn refreshes_served(&mut self, peer: IpAddr) -> Result<u64, LabError> {
        Ok(sum_of_counters(&self.protocol_detail(peer)?, "Export updates:", 4))
    }
}

const DAY: f64 = 24.0 * 3600.0;

/// `12:56:31.303` as seconds of the day.
fn clock(text: &str) -> Option<f64> {
    let mut parts = text.split(':').map(|part| part.parse::<f64>().ok());
    Some(parts.next()?? * 3600.0 + parts.next()?? * 60.0 + parts.next()??)
}

fn value_after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim().strip_prefix(key)).map(str::trim)
}

/// Adds up one column of one counter over all channels.
fn sum_of_counters(text: &str, key: &str, column: usize) -> u64 {
    let rows = text.lines().filter_map(|line| line.trim().strip_prefix(key));
    rows.filter_map(|row| row.split_whitespace().nth(column)?.parse::<u64>().ok()).sum()
}

fn read_attribute(route: &mut SeenRoute, key: &str, value: &str) {
    match key {
        "BGP.origin" => route.origin = value.to_lowercase(),
        "BGP.as_path" => route.as_path = as_path(value),
        "BGP.next_hop" => route.next_hop = value.split_whitespace().next().and_then(|hop| hop.parse().ok()),
        "BGP.med" => route.med = value.parse().ok(),
        "BGP.local_pref" => route.local_pref = value.parse().ok(),
        "BGP.community" => route.communities = tuples(value),
        "BGP.large_community" => route.large_communities = tuples(value),
        "BGP.originator_id" => route.originator_id = value.parse().ok(),
        "BGP.cluster_list" => {
            route.cluster_list = value.split_whitespace().filter_map(|id| id.parse().ok()).collect()
        }
        _ => {}
    }
}

/// `(64512,1) (64512,2)` or `(64512, 1, 2)` as `64512:1`.
fn tuples(text: &str) -> std::collections::BTreeSet<String> {
    let inside = text.split('(').skip(1).filter_map(|part| part.split(')').next());
    inside.map(|tuple| tuple.split(',').map(str::trim).collect::<Vec<_>>().join(":")).collect()
}

/// A symbol that is unique per peer address.
fn protocol_name(peer: IpAddr) -> String {
    format!("peer_{}", peer.to_string().replace(['.', ':'], "_"))
}

/// What leaves: own and learned routes. BIRD sends a MED to another AS only if the filter itself sets it.
const OUTGOING: &str = "filter outgoing {
  if source = RTS_STATIC && defined(bgp_med) then bgp_med = bgp_med;
  if source ~ [ RTS_STATIC, RTS_BGP ] then accept;
  reject;
}
";

fn config(spec: &SpeakerSpec) -> String {
    let mut text =
        format!("log stderr all;\nrouter id {};\nprotocol device {{ scan time 1; }}\n", spec.router_id);
    if spec.kernel {
        for family in ["ipv4", "ipv6"] {
            let _ = writeln!(
                text,
                "protocol kernel kernel_{family} {{ {family} {{ import none; export all; }}; }}"
            );
        }
    }
    for (family, is_v4) in [("ipv4", true), ("ipv6", false)] {
        let _ = writeln!(text, "protocol static static_{family} {{\n  {family};");
        for route in spec.routes.iter().filter(|route| route.v4().is_some() == is_v4) {
            let _ = writeln!(text, "  route {} blackhole {{ {} }};", route.prefix, attributes(route));
        }
        text.push_str("}\n");
    }
    text.push_str(OUTGOING);
    for peer in &spec.peers {
        let reflection = match peer.role {
            PeerRole::Peer => String::new(),
            PeerRole::Client => format!("  rr client;\n  rr cluster id {};\n", spec.router_id),
        };
        let _ = write!(
            text,
            "protocol bgp {name} {{
  local {local} as {asn};
  neighbor {address} as {remote_asn};
  direct;
  debug {{ states, events }};
  hold time {HOLD_TIME_SECS};
  connect retry time 1;
  connect delay time 1;
  error wait time 1, 2;
  graceful restart on;
{reflection}  ipv4 {{ {add_paths}import all; export filter outgoing; }};
  ipv6 {{ {add_paths}import all; export filter outgoing; }};
}}
",
            add_paths = if spec.add_paths { "add paths on; " } else { "" },
            name = protocol_name(peer.address),
            local = spec.v4,
            asn = spec.asn,
            address = peer.address,
            remote_asn = peer.asn,
        );
    }
    text
}

/// The statements that set the attributes of a static route.
fn attributes(route: &RouteSpec) -> String {
    let mut text = String::from("bgp_origin = ORIGIN_IGP;");
    if let Some(med) = route.med {
        let _ = write!(text, " bgp_med = {med};");
    }
    if let Some(local_pref) = route.local_pref {
        let _ = write!(text, " bgp_local_pref = {local_pref};");
    }
    for (high, low) in &route.communities {
        let _ = write!(text, " bgp_community.add(({high}, {low}));");
    }
    for (a, b, c) in &route.large_communities {
        let _ = write!(text, " bgp_large_community.add(({a}, {b}, {c}));");
    }
    text
}
