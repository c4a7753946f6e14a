//! OpenBGPD (`bgpd`, `bgpctl`).

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ipnet::IpNet;
use nix::unistd::User;
use serde_json::Value;

use super::parse::{array, as_path, json, number, parsed, prefix};
use crate::command::{need_program, output_of};
use crate::daemon::Daemon;
use crate::error::LabError;
use crate::lab::{Lab, Node};
use crate::netns::Namespace;
use crate::process::Process;
use crate::seen::{SeenRoute, SeenSession};
use crate::spec::{HOLD_TIME_SECS, PeerRole, RouteSpec, SpeakerSpec};
use crate::wait::secs;

/// One OpenBGPD. Its three processes leave with the parent.
#[derive(Debug)]
pub struct OpenBgpd {
    spec: SpeakerSpec,
    namespace: Namespace,
    folder: PathBuf,
    bgpd: PathBuf,
    bgpctl: PathBuf,
    process: Option<Process>,
}

/// The folder in which OpenBGPD locks its unprivileged processes up: the home of its user.
const CHROOT: &str = "/run/openbgpd";

/// Makes that folder. systemd does so at boot; without systemd nobody does.
pub(crate) fn make_chroot() -> Result<(), LabError> {
    fs::create_dir_all(CHROOT)
        .and_then(|()| fs::set_permissions(CHROOT, fs::Permissions::from_mode(0o755)))
        .map_err(LabError::io(format!("making {CHROOT}")))
}

impl OpenBgpd {
    /// Prepares an OpenBGPD; nothing runs yet.
    ///
    /// # Errors
    /// [`LabError::Missing`] if it or its user is not installed.
    pub fn new(lab: &Lab, node: &Node, spec: SpeakerSpec) -> Result<OpenBgpd, LabError> {
        let bgpd = need_program("/usr/sbin/bgpd", "openbgpd")?;
        if User::from_name("_openbgpd").ok().flatten().is_none() {
            return Err(LabError::Missing {
                what: "the user `_openbgpd`".into(),
                remedy: "install it with `apt-get install openbgpd`".into(),
            });
        }
        make_chroot()?;
        Ok(OpenBgpd {
            spec,
            namespace: node.namespace.clone(),
            folder: lab.subfolder(&node.name)?,
            bgpd,
            bgpctl: need_program("bgpctl", "openbgpd")?,
            process: None,
        })
    }

    /// Runs one `bgpctl` command.
    ///
    /// # Errors
    /// If OpenBGPD does not answer or refuses.
    pub fn ask(&self, command: &str) -> Result<String, LabError> {
        output_of(Command::new(&self.bgpctl).arg("-s").arg(self.socket()).args(command.split_whitespace()))
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("bgpd.sock")
    }

    fn neighbor(&self, peer: IpAddr) -> Result<Value, LabError> {
        let answer = self.ask(&format!("-j show neighbor {peer}"))?;
        Ok(json("bgpctl show neighbor", &answer)?["neighbors"][0].take())
    }
}

impl Daemon for OpenBgpd {
    fn name(&self) -> &str {
        "OpenBGPD"
    }

    fn start(&mut self) -> Result<(), LabError> {
        let path = self.folder.join("bgpd.conf");
        fs::write(&path, config(&self.spec, &self.socket()))
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
            .map_err(LabError::io("writing bgpd.conf"))?;
        let mut command = Command::new(&self.bgpd);
        command.arg("-d").arg("-v").arg("-f").arg(path);
        let mut process = Process::spawn(&self.namespace, "bgpd", &self.folder.join("bgpd.log"), command)?;
        process.wait_ready("bgpctl to answer", secs(15), || self.ask("show summary"))?;
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
        Ok(SeenSession {
            is_established: state == "Established",
            uptime: neighbor["last_updown_sec"].as_u64().map(Duration::from_secs),
            detail: format!("OpenBGPD says {state}"),
        })
    }

    fn routes_from(&mut self, peer: IpAddr) -> Result<Vec<SeenRoute>, LabError> {
        let answer = json("bgpctl show rib", &self.ask(&format!("-j show rib in detail neighbor {peer}"))?)?;
        let mut routes = Vec::new();
        for entry in array(&answer["rib"]) {
            let mut route =
                SeenRoute::new(prefix("bgpctl show rib", entry["prefix"].as_str().unwrap_or_default())?);
            route.next_hop = parsed(&entry["exit_nexthop"]);
            route.origin = entry["origin"].as_str().unwrap_or("?").to_lowercase();
            route.as_path = as_path(entry["aspath"].as_str().unwrap_or_default());
            route.local_pref = number(&entry["localpref"]);
            // OpenBGPD shows an absent MED as zero.
            route.med = number(&entry["metric"]).filter(|med| *med != 0);
            route.communities = array(&entry["communities"]).iter().filter_map(parsed).collect();
            route.large_communities = array(&entry["large_communities"]).iter().filter_map(parsed).collect();
            for attribute in array(&entry["attributes"]) {
                route.originator_id = route.originator_id.or(parsed(&attribute["originator"]));
                route
                    .cluster_list
                    .extend(array(&attribute["cluster_list"]).iter().filter_map(parsed::<Ipv4Addr>));
            }
            routes.push(route);
        }
        routes.sort();
        Ok(routes)
    }

    fn announce(&mut self, route: &RouteSpec) -> Result<(), LabError> {
        self.spec.routes.retain(|old| old.prefix != route.prefix);
        self.spec.routes.push(route.clone());
        self.ask(&format!("network add {} {}", route.prefix, attributes(&self.spec, route))).map(drop)
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<(), LabError> {
        self.spec.routes.retain(|old| old.prefix != prefix);
        self.ask(&format!("network delete {prefix}")).map(drop)
    }

    fn ask_refresh(&mut self, peer: IpAddr) -> Result<(), LabError> {
        self.ask(&format!("neighbor {peer} refresh")).map(drop)
    }

    fn updates_received(&mut self, peer: IpAddr) -> Result<u64, LabError> {
        Ok(self.neighbor(peer)?["stats"]["message"]["received"]["updates"].as_u64().unwrap_or(0))
    }

    fn refreshes_served(&mut self, peer: IpAddr) -> Result<u64, LabError> {
        Ok(self.neighbor(peer)?["stats"]["route-refresh"]["received"]["request"].as_u64().unwrap_or(0))
    }
}

/// The attribute words that `bgpd.conf` and `bgpctl network add` share.
fn attributes(spec: &SpeakerSpec, route: &RouteSpec) -> String {
    // On an IPv4 session OpenBGPD finds no IPv6 next hop by itself.
    let mut text = format!("nexthop {}", spec.next_hop_for(route.prefix));
    if let Some(local_pref) = route.local_pref {
        let _ = write!(text, " localpref {local_pref}");
    }
    if let Some(med) = route.med {
        let _ = write!(text, " med {med}");
    }
    for (high, low) in &route.communities {
        let _ = write!(text, " community {high}:{low}");
    }
    for (a, b, c) in &route.large_communities {
        let _ = write!(text, " large-community {a}:{b}:{c}");
    }
    text
}

fn config(spec: &SpeakerSpec, socket: &Path) -> String {
    let mut text = format!(
        "AS {}\nrouter-id {}\nlisten on {}\nfib-update no\nholdtime {HOLD_TIME_SECS}\nsocket \"{}\"\n",
        spec.asn,
        spec.router_id,
        spec.v4,
        socket.display()
    );
    for route in &spec.routes {
        let _ = writeln!(text, "network {} set {{ {} }}", route.prefix, attributes(spec, route));
    }
    for peer in &spec.peers {
        // It replaces the IPv6 next hop on a directly connected external IPv4 session, by ::1, whatever it is told.
        let distance = if peer.asn == spec.asn { "" } else { "  multihop 2\n" };
        let role = if peer.role == PeerRole::Client { "  route-reflector\n" } else { "" };
        let _ = write!(
            text,
            "neighbor {} {{
  remote-as {}
  local-address {}
  announce IPv4 unicast
  announce IPv6 unicast
  announce refresh yes
  announce restart yes
{distance}{role}}}
",
            peer.address, peer.asn, spec.v4
        );
    }
    text.push_str("allow from any\nallow to any\nmatch to any set nexthop no-modify\n");
    text
}
