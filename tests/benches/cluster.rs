//! The data of a Calico cluster: how long it takes to read them and to plan a node, and what they cost in memory; and how
//! long it takes from etcd into a running daemon, which needs root and happens in network namespaces of its own.
//!
//! ```text
//! cargo xtask bench cluster [--quick] [--json]
//! ```
//! Every figure has a limit; one that is beyond it ends the program with an error. Times are the best of several runs,
//! since the machine may have other things to do. With `--json` the results are all that is on the standard output.

#[path = "cluster/end_to_end.rs"]
mod end_to_end;

use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bgp_speaker::cluster::calico::{Effect, LocalNode, Snapshot, plan};
use bgp_speaker::config::diff;
use serde_json::json;

type Failure = Box<dyn Error + Send + Sync>;

/// Nodes of the largest cluster.
const LARGE: u32 = 5000;
/// Nodes of a cluster with a full mesh.
const MESH: u32 = 1000;

/// One figure and how large it may be.
struct Figure {
    name: &'static str,
    value: f64,
    limit: f64,
    unit: &'static str,
}

fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let runs = if has("--quick") { 3 } else { 20 };

    // The first: what the allocator keeps back from later work would hide what the data take.
    let mut figures = vec![memory()?];
    figures.push(reading(runs));
    figures.push(full_mesh(runs));
    figures.push(one_change(runs));
    figures.push(one_change_among_reflectors(runs));
    figures.extend(end_to_end::run(runs)?);

    if has("--json") {
        let figures: Vec<_> = figures
            .iter()
            .map(|figure| {
                json!({"name": figure.name, "value": figure.value, "limit": figure.limit, "unit": figure.unit})
            })
            .collect();
        println!("{}", json!({ "figures": figures }));
    } else {
        for Figure { name, value, limit, unit } in &figures {
            println!("{name:<58} {value:>10.2} {unit:<5} (limit {limit} {unit})");
        }
    }
    let is_slow = figures.iter().any(|figure| figure.value > figure.limit);
    Ok(if is_slow { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Reads 5000 nodes with their blocks, and divides what the process has grown by.
fn memory() -> Result<Figure, Failure> {
    let before = resident_bytes()?;
    let snapshot = cluster(LARGE);
    let grown = resident_bytes()?.saturating_sub(before);
    black_box(&snapshot);
    let value = grown as f64 / f64::from(LARGE);
    Ok(Figure { name: "memory per node, with its labels and a block", value, limit: 2048.0, unit: "bytes" })
}

/// From text to objects, as after a start.
fn reading(runs: u32) -> Figure {
    let data: Vec<(String, String)> = data(LARGE).collect();
    let elapsed = best(runs.min(5), || {
        let mut snapshot = Snapshot::new();
        for (key, value) in &data {
            _ = snapshot.put(key, value.as_bytes(), 1);
        }
        snapshot
    });
    figure("reading the values of 5000 nodes and blocks", elapsed, 1000.0)
}

fn full_mesh(runs: u32) -> Figure {
    let snapshot = cluster(MESH);
    let local = LocalNode::named(node_name(0));
    let elapsed = best(runs, || plan(&snapshot, &local).expect("the node is there"));
    figure("plan of a node in a full mesh of 1000, both families", elapsed, 20.0)
}

/// A node's address changes: from the event to the steps.
fn one_change(runs: u32) -> Figure {
    let snapshot = cluster(LARGE);
    figure("one node's change in a full mesh of 5000, to the steps", change(snapshot, runs), 50.0)
}

/// The same on a client of three reflectors.
fn one_change_among_reflectors(runs: u32) -> Figure {
    let mut snapshot = cluster(LARGE);
    let resource = "/calico/resources/v3/projectcalico.org";
    let off = json!({"spec": {"nodeToNodeMeshEnabled": false}});
    _ = snapshot.put(&format!("{resource}/bgpconfigurations/default"), off.to_string().as_bytes(), 2);
    let peer = json!({"spec": {"nodeSelector": "!has(rr)", "peerSelector": "has(rr)"}});
    _ = snapshot.put(&format!("{resource}/bgppeers/reflectors"), peer.to_string().as_bytes(), 3);
    for number in 1..4 {
        let value = node(number, json!({"rr": ""}), Some("1.0.0.1"), 0);
        _ = snapshot.put(&node_key(number), value.as_bytes(), 4);
    }
    figure("one node's change among 5000 with reflectors, to the steps", change(snapshot, runs), 50.0)
}

fn change(mut snapshot: Snapshot, runs: u32) -> Duration {
    let local = LocalNode::named(node_name(0));
    let mut in_force = plan(&snapshot, &local).expect("the node is there").speaker_config();
    let mut offset = 0;
    best(runs, || {
        offset += 1;
        let value = node(7, json!({}), None, offset);
        let effect = snapshot.put(&node_key(7), value.as_bytes(), 5);
        assert_eq!(effect, Effect::Changed);
        let config = plan(&snapshot, &local).expect("the node is there").speaker_config();
        let steps = diff(&in_force, &config);
        in_force = config;
        steps
    })
}

fn figure(name: &'static str, elapsed: Duration, limit_ms: f64) -> Figure {
    Figure { name, value: elapsed.as_secs_f64() * 1e3, limit: limit_ms, unit: "ms" }
}

fn best<T>(runs: u32, mut work: impl FnMut() -> T) -> Duration {
    let run = |_| {
        let start = Instant::now();
        let result = work();
        let elapsed = start.elapsed();
        // Taking it apart is not part of the work.
        drop(black_box(result));
        elapsed
    };
    (0..runs).map(run).min().unwrap_or_default()
}

fn cluster(nodes: u32) -> Snapshot {
    let mut snapshot = Snapshot::new();
    for (key, value) in data(nodes) {
        _ = snapshot.put(&key, value.as_bytes(), 1);
    }
    assert_eq!(snapshot.problems(), []);
    snapshot
}

/// Nodes as a cluster has them, with the labels that a cloud gives, and a block of each.
fn data(nodes: u32) -> impl Iterator<Item = (String, String)> {
    (0..nodes).flat_map(|number| {
        let node = (node_key(number), node(number, json!({}), None, 0));
        let [high, low] = [number / 250, number % 250];
        let block = json!({
            "cidr": format!("10.{high}.{low}.0/26"), "affinity": format!("host:{}", node_name(number)),
            "allocations": (0..64).map(|slot| (slot < 30).then_some(slot)).collect::<Vec<_>>(),
            "unallocated": (30..64).collect::<Vec<_>>(),
            "attributes": (0..30).map(|pod| json!({
                "handle_id": format!("k8s-pod-network.{number:08x}{pod:08x}"),
                "secondary": {
                    "node": node_name(number), "namespace": "production", "pod": format!("web-{pod}"),
                    "timestamp": "2026-03-02 09:15:00 +0000 UTC"
                }
            })).collect::<Vec<_>>(),
            "deleted": false
        });
        [node, (format!("/calico/ipam/v2/assignment/ipv4/block/10.{high}.{low}.0-26"), block.to_string())]
    })
}

fn node_name(number: u32) -> String {
    format!("ip-172-16-{}-{}.eu-central-1.compute.internal", number / 250, number % 250)
}

fn node_key(number: u32) -> String {
    format!("/calico/resources/v3/projectcalico.org/nodes/{}", node_name(number))
}

fn node(number: u32, more: serde_json::Value, cluster_id: Option<&str>, offset: u32) -> String {
    let name = node_name(number);
    let (high, low) = (number / 250, number % 250);
    let mut labels = json!({
        "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/instance-type": "m5.2xlarge",
        "beta.kubernetes.io/os": "linux", "failure-domain.beta.kubernetes.io/region": "eu-central-1",
        "failure-domain.beta.kubernetes.io/zone": "eu-central-1a", "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "node.kubernetes.io/instance-type": "m5.2xlarge",
        "topology.kubernetes.io/region": "eu-central-1", "topology.kubernetes.io/zone": "eu-central-1a",
        "rack": format!("r{}", number / 40), "team": "platform", "node-role.kubernetes.io/worker": ""
    });
    if let (Some(labels), Some(more)) = (labels.as_object_mut(), more.as_object()) {
        labels.extend(more.clone());
    }
    json!({
        "kind": "Node", "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": name, "uid": "0d1f7f1e-6a1b-4f0c-9a57-0a6f0f3b1c11", "labels": labels},
        "spec": {
            "bgp": {
                "ipv4Address": format!("172.{}.{high}.{low}/16", 16 + offset % 8),
                "ipv6Address": format!("fd00:{:x}::{number:x}/64", offset % 8),
                "ipv4IPIPTunnelAddr": "10.244.3.64", "routeReflectorClusterID": cluster_id
            },
            "addresses": [{"address": format!("172.16.{high}.{low}"), "type": "InternalIP"}],
            "orchRefs": [{"nodeName": name, "orchestrator": "k8s"}]
        },
        "status": {}
    })
    .to_string()
}

fn resident_bytes() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes << 10)
}
