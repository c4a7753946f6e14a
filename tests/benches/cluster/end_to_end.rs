//! From etcd into a running daemon: a real etcd with 5000 nodes in it, and the daemon as a node runs it, in a network
//! namespace. Sessions are those of a client of three reflectors.

use std::time::{Duration, Instant};

use bgp_lab::calico::{node_file, resource};
use bgp_lab::daemons::ours::{Ours, Program};
use bgp_lab::etcd::Etcd;
use bgp_lab::{Daemon, Lab, SpeakerSpec, http};
use serde_json::{Value, json};

use crate::{Failure, Figure, LARGE, data, node, node_key, node_name};

/// Operations of one transaction; etcd takes 128.
const BATCH: usize = 100;
/// The node whose daemon runs.
const LOCAL: u32 = 1;
/// Nodes that become reflectors one after the other.
const FIRST_REFLECTOR: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a start takes until the plan is in force, and a change until it shows; the worst of all runs.
pub(crate) fn run(runs: u32) -> Result<Vec<Figure>, Failure> {
    let lab = Lab::new("bench-cluster")?;
    let switch = lab.switch("switch")?;
    let host = lab.node(&switch, "node", "172.16.0.1/16".parse()?, "fd00::1/64".parse()?)?;
    let etcd =
        Etcd::start(&lab, &lab.node(&switch, "etcd", "172.16.255.1/16".parse()?, "fd00::ffff/64".parse()?)?)?;
    fill(&etcd)?;
    let ours = Ours::new(&lab, &host, Program::BgpSpeaker, SpeakerSpec::on(&host, 64512))?;
    let file = node_file(&etcd.url(), &node_name(LOCAL), ours.folder());
    std::fs::create_dir_all(ours.folder().join("kubernetes"))?;
    let mut ours = ours.with_file(file);
    let mut worst_start = Duration::ZERO;
    for _ in 0..3 {
        ours.kill();
        let begin = Instant::now();
        ours.start()?;
        worst_start = worst_start.max(begin.elapsed());
    }
    let mut announcement = Duration::ZERO;
    let mut session = Duration::ZERO;
    for run in 0..runs {
        announcement = announcement.max(block(&etcd, &ours, run)?);
        session = session.max(reflector(&etcd, &ours, FIRST_REFLECTOR + run)?);
    }
    let figure =
        |name, value: Duration, limit| Figure { name, value: value.as_secs_f64() * 1e3, limit, unit: "ms" };
    Ok(vec![
        figure("daemon: from its start to a plan in force, 5000 nodes", worst_start, 2000.0),
        figure("daemon: from etcd's answer to an announcement, worst", announcement, 50.0),
        figure("daemon: from etcd's answer to a new session, worst", session, 50.0),
    ])
}

fn fill(etcd: &Etcd) -> Result<(), Failure> {
    let mut changes = vec![
        resource("BGPConfiguration", "default", json!({"nodeToNodeMeshEnabled": false})),
        resource("BGPPeer", "reflectors", json!({"nodeSelector": "!has(rr)", "peerSelector": "has(rr)"})),
        resource("IPPool", "pods", json!({"cidr": "10.0.0.0/8"})),
    ];
    for (key, value) in data(LARGE) {
        changes.push((key, Some(serde_json::from_str(&value)?)));
    }
    for number in 2..5 {
        changes.push((node_key(number), Some(as_reflector(number)?)));
    }
    for batch in changes.chunks(BATCH) {
        etcd.write(batch)?;
    }
    Ok(())
}

fn as_reflector(number: u32) -> Result<Value, Failure> {
    Ok(serde_json::from_str(&node(number, json!({"rr": ""}), Some("1.0.0.1"), 0))?)
}

/// The node gets a block.
fn block(etcd: &Etcd, ours: &Ours, run: u32) -> Result<Duration, Failure> {
    let key = format!("/calico/ipam/v2/host/{}/ipv4/block/10.200.{run}.0-26", node_name(LOCAL));
    etcd.write(&[(key, Some(json!({"state": "confirmed"})))])?;
    let begin = Instant::now();
    let path = format!("/v1/routes?prefix=10.200.{run}.0%2F26");
    wait_for(ours, &path, &format!("\"10.200.{run}.0/26\""), begin)
}

/// Another node becomes a reflector.
fn reflector(etcd: &Etcd, ours: &Ours, number: u32) -> Result<Duration, Failure> {
    etcd.write(&[(node_key(number), Some(as_reflector(number)?))])?;
    let begin = Instant::now();
    wait_for(ours, "/v1/neighbors", &format!("\"172.16.0.{number}\""), begin)
}

/// Asks as often as the daemon answers.
fn wait_for(ours: &Ours, path: &str, text: &str, begin: Instant) -> Result<Duration, Failure> {
    loop {
        let answer = http::request(&ours.socket(), "GET", path)?;
        if answer.contains(text) {
            return Ok(begin.elapsed());
        }
        if begin.elapsed() > PATIENCE {
            return Err(format!("{path} does not show {text}: {}", &answer[..answer.len().min(500)]).into());
        }
    }
}
