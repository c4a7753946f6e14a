//! BIRD as Calico configures it, in the language of BIRD 2: one daemon for both families, where Calico has two.
//!
//! Which sessions it has is told by the test, which is confd here: BIRD gets a new file and is told to read it.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use ipnet::IpNet;

use super::data::{POOL_V4, POOL_V6};
use crate::command::{need_program, output_of};
use crate::error::LabError;
use crate::lab::{Lab, Node};
use crate::netns::Namespace;
use crate::process::Process;
use crate::wait::{secs, wait_until};

/// LOCAL_PREF and kernel metric of a route add up to this.
const PRIORITY_SUM: u32 = 2_147_483_647;
/// The metric that means "normal".
const NORMAL_PRIORITY: u32 = 1024;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BirdSession {
    /// `Mesh`, `Global` or `Node`: what its name begins with.
    pub kind: &'static str,
    /// The neighbour.
    pub address: IpAddr,
    /// Its AS.
    pub asn: u32,
    /// Calico's rule says that the neighbour connects.
    pub is_passive: bool,
    /// TCP MD5.
    pub password: Option<String>,
}

impl BirdSession {
    /// Calico's name for it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}_{}", self.kind, self.address).replace(['.', ':'], "_")
    }
}

/// The BIRD of a Calico node.
#[derive(Debug)]
pub struct CalicoBird {
    node: Node,
    namespace: Namespace,
    folder: PathBuf,
    bird: PathBuf,
    birdc: PathBuf,
    config: String,
    process: Option<Process>,
}

impl CalicoBird {
    /// Prepares it; nothing runs yet.
    ///
    /// # Errors
    /// [`LabError::Missing`] if it is not installed.
    pub fn new(lab: &Lab, node: &Node) -> Result<CalicoBird, LabError> {
        Ok(CalicoBird {
            node: node.clone(),
            namespace: node.namespace.clone(),
            folder: lab.subfolder(&node.name)?,
            bird: need_program("bird", "bird2")?,
            birdc: need_program("birdc", "bird2")?,
            config: String::new(),
            process: None,
        })
    }

    /// Starts it as Calico does: with the recovery of a graceful restart.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(&mut self) -> Result<(), LabError> {
        let mut command = Command::new(&self.bird);
        command.arg("-f").arg("-R").arg("-c").arg(self.config_path()).arg("-s").arg(self.socket());
        command.arg("-P").arg(self.folder.join("bird.pid"));
        let mut process = Process::spawn(&self.namespace, "bird", &self.folder.join("bird.log"), command)?;
        process.wait_ready("birdc to answer", secs(10), || self.ask("show status"))?;
        self.process = Some(process);
        Ok(())
    }

    /// Kills it without grace, as Calico's pod is killed: the neighbours keep its routes.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Writes what confd would write now, and has a running BIRD read it, if it is anything new.
    ///
    /// # Errors
    /// If BIRD refuses it.
    pub fn configure(
        &mut self,
        asn: u32,
        sessions: &[BirdSession],
        blocks: &[IpNet],
    ) -> Result<(), LabError> {
        let config = render(&self.node, asn, sessions, blocks);
        if config == self.config {
            return Ok(());
        }
        fs::write(self.config_path(), &config).map_err(LabError::io("writing bird.conf"))?;
        self.config = config;
        if self.process.is_none() {
            return Ok(());
        }
        let answer = self.ask("configure")?;
        if answer.contains("Reconfigur") {
            return Ok(());
        }
        Err(LabError::answer("birdc configure", "it was refused", &answer))
    }

    /// Runs one `birdc` command.
    ///
    /// # Errors
    /// If BIRD does not answer.
    pub fn ask(&self, command: &str) -> Result<String, LabError> {
        output_of(Command::new(&self.birdc).arg("-s").arg(self.socket()).args(command.split_whitespace()))
    }

    /// Waits until all of these sessions, and no others, are up.
    ///
    /// # Errors
    /// On timeout.
    pub fn wait_sessions(&self, sessions: &[BirdSession]) -> Result<(), LabError> {
        wait_until("all sessions of BIRD", secs(40), || {
            let shown = self.ask("show protocols").map_err(|error| error.to_string())?;
            let rows = shown.lines().filter(|line| line.split_whitespace().nth(1) == Some("BGP"));
            let up = rows.clone().filter(|line| line.contains("Established")).count();
            if up == sessions.len() && rows.count() == up { Ok(()) } else { Err(shown) }
        })
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("bird.ctl")
    }

    fn config_path(&self) -> PathBuf {
        self.folder.join("bird.conf")
    }
}

fn render(node: &Node, asn: u32, sessions: &[BirdSession], blocks: &[IpNet]) -> String {
    let mut text = format!(
        "log stderr all;
router id {};
debug protocols {{ states }};
protocol device {{ scan time 2; }}
protocol direct {{ ipv4; ipv6; interface -\"cali*\", -\"kube-ipvs*\", \"*\"; }}
",
        node.v4
    );
    for (family, pool, is_v4) in [("ipv4", POOL_V4, true), ("ipv6", POOL_V6, false)] {
        let own: Vec<&IpNet> = blocks.iter().filter(|block| block.addr().is_ipv4() == is_v4).collect();
        render_family(&mut text, family, pool, &own);
    }
    for session in sessions {
        render_session(&mut text, node, asn, session);
    }
    text
}

/// The filters of a family, the blackholes of its blocks, and the kernel.
fn render_family(text: &mut String, family: &str, pool: &str, blocks: &[&IpNet]) {
    let _ = writeln!(text, "function aggregate_{family}() {{");
    for block in blocks {
        let _ = writeln!(text, "  if ( net = {block} ) then {{ accept; }}");
        let _ = writeln!(text, "  if ( net ~ {block} ) then {{ reject; }}");
    }
    let _ = write!(
        text,
        "}}
filter export_{family} {{
  if ( source != RTS_BGP ) then {{ bgp_local_pref = {}; }}
  aggregate_{family}();
  if ( net ~ {pool} ) then {{ accept; }}
  reject;
}}
filter kernel_{family} {{
  if ( source = RTS_BGP ) then {{ krt_metric = {PRIORITY_SUM} - bgp_local_pref; }}
  if ( source ~ [ RTS_BGP, RTS_STATIC ] ) then {{ accept; }}
  reject;
}}
protocol static static_{family} {{
  {family};
",
        PRIORITY_SUM - NORMAL_PRIORITY
    );
    for block in blocks {
        let _ = writeln!(text, "  route {block} blackhole;");
    }
    let _ = write!(
        text,
        "}}
protocol kernel kernel_{family}_main {{
  learn;
  persist;
  scan time 2;
  metric 0;
  graceful restart;
  {family} {{ import all; export filter kernel_{family}; }};
}}
"
    );
}

fn render_session(text: &mut String, node: &Node, asn: u32, session: &BirdSession) {
    let (family, own) = match session.address {
        IpAddr::V4(_) => ("ipv4", IpAddr::from(node.v4)),
        IpAddr::V6(_) => ("ipv6", IpAddr::from(node.v6)),
    };
    let _ = write!(
        text,
        "protocol bgp {} {{
  local as {asn};
  neighbor {} as {};
  source address {own};
  multihop;
  hold time 240;
  graceful restart on;
  connect delay time 2;
  connect retry time 5;
  error wait time 5, 30;
  {family} {{ import all; export filter export_{family}; gateway recursive; add paths on; }};
",
        session.name(),
        session.address,
        session.asn
    );
    if session.is_passive {
        text.push_str("  passive on;\n");
    }
    if let Some(password) = &session.password {
        let _ = writeln!(text, "  password \"{password}\";");
    }
    text.push_str("}\n");
}
