//! From one set of neighbours to another in a single transaction, without a moment between them: the mesh goes off and
//! reflectors come in, and back, while every pod pings every other. What never comes is waited for no longer than the
//! time limit says.

use std::net::IpAddr;
use std::time::Instant;

use bgp_lab::calico::{Change, Stage, resource, resource_key};
use bgp_lab::cluster::{CLUSTER_AS, host_node};
use bgp_lab::daemons::ours::{Ours, Program};
use bgp_lab::harness::lab_test;
use bgp_lab::{Daemon, Lab, LabError, Node, SpeakerSpec, secs, wait_until};
use serde_json::{Value, json};

const PATIENCE: std::time::Duration = secs(40);
const NOBODYS_ADDRESS: &str = "172.17.8.199";

#[test]
fn a_mesh_becomes_reflectors_and_a_mesh_again_in_one_transaction_each() {
    lab_test("calico-handover", |lab: &Lab| {
        let mut stage = mesh(lab, &["node-a", "node-b", "node-c", "node-d"])?;

        stage.data.has_reflector_peer = true;
        let reflectors = json!({"nodeSelector": "all()", "peerSelector": "has(route-reflector)"});
        let mut changes = set_mesh(&mut stage, false);
        changes.push(resource("BGPPeer", "reflectors", reflectors));
        for name in ["node-c", "node-d"] {
            changes.push(stage.node_change(name, |node| {
                node.labels.insert("route-reflector".into(), "true".into());
                node.cluster_id = Some([244, 0, 0, 1].into());
            }));
        }
        stage.write(&changes)?;
        wait_held(&mut stage, "node-a", "leaving")?;
        wait_done(&mut stage)?;
        assert_eq!(sessions(&mut stage, "node-a")?.len(), 4, "two reflectors, both families");
        stage.check("reflectors came in and the mesh went off")?;

        stage.data.has_reflector_peer = false;
        let mut changes = set_mesh(&mut stage, true);
        changes.push((resource_key("BGPPeer", "reflectors"), None));
        for name in ["node-c", "node-d"] {
            changes.push(stage.node_change(name, |node| {
                node.labels.clear();
                node.cluster_id = None;
            }));
        }
        stage.write(&changes)?;
        // Those whom it reflects to find each other meanwhile.
        wait_held(&mut stage, "node-c", "client")?;
        wait_done(&mut stage)?;
        for name in stage.our_names() {
            assert_eq!(sessions(&mut stage, &name)?.len(), 6, "three others, both families");
        }
        stage.check("the mesh came back and the reflectors are none")
    });
}

#[test]
fn reflectors_outside_replace_the_mesh_and_what_never_comes_is_not_waited_for_forever() {
    lab_test("calico-handover-outside", |lab: &Lab| {
        let mut stage = mesh(lab, &["node-a", "node-b", "node-c"])?;
        let host = host_node(lab, &stage.switch, "reflector", 50)?;
        let mut reflector = reflector(lab, &host)?;
        reflector.start()?;
        let names = ["outside-v4", "outside-v6"];
        let peers = |is_there: bool| -> Vec<Change> {
            let addresses = [IpAddr::from(host.v4), IpAddr::from(host.v6)];
            let peer = |(name, address): (&str, IpAddr)| match is_there {
                true => resource("BGPPeer", name, json!({"peerIP": address, "asNumber": CLUSTER_AS})),
                false => (resource_key("BGPPeer", name), None),
            };
            names.into_iter().zip(addresses).map(peer).collect()
        };

        let changes = [set_mesh(&mut stage, false), peers(true)].concat();
        stage.write(&changes)?;
        wait_held(&mut stage, "node-a", "leaving")?;
        wait_done(&mut stage)?;
        assert_eq!(sessions(&mut stage, "node-a")?.len(), 2);
        stage.check("a reflector outside came in and the mesh went off")?;

        let changes = [set_mesh(&mut stage, true), peers(false)].concat();
        stage.write(&changes)?;
        wait_held(&mut stage, "node-a", "leaving")?;
        wait_done(&mut stage)?;
        assert_eq!(sessions(&mut stage, "node-a")?.len(), 4);
        stage.check("the mesh came back and the reflector went")?;
        drop(reflector);

        a_peer_that_never_comes(&mut stage)
    });
}

/// The mesh goes off for a peer that is not there: it stays until the time limit, and then the data have their way.
fn a_peer_that_never_comes(stage: &mut Stage<'_>) -> Result<(), LabError> {
    let mut changes = set_mesh(stage, false);
    changes.push(resource("BGPPeer", "nobody", json!({"peerIP": NOBODYS_ADDRESS, "asNumber": CLUSTER_AS})));
    let begin = Instant::now();
    stage.write(&changes)?;
    for name in stage.our_names() {
        let held = wait_held(stage, &name, "leaving")?;
        assert_eq!(held["waits_for"][0], format!("a session with {NOBODYS_ADDRESS}"), "{held}");
        let plan = stage.ask(&name, "plan")?;
        assert_eq!(plan["handover"]["sessions"].as_array().map(Vec::len), Some(4), "{plan}");
        assert_eq!(plan["steps"], json!([]), "what stays is nothing to be done now");
    }
    stage.check_kernels()?;
    for (a, b) in [("node-a", "node-b"), ("node-a", "node-c"), ("node-b", "node-c")] {
        stage.part(a, b)?;
    }
    let limit = secs(stage.handover_time);
    assert!(begin.elapsed() < limit, "looked too late: {:?}", begin.elapsed());
    for name in stage.our_names() {
        wait_until(&format!("{name} to have done without"), PATIENCE, || {
            let left = sessions(stage, &name).map_err(|error| error.to_string())?;
            if left == [NOBODYS_ADDRESS] { Ok(()) } else { Err(format!("{left:?}")) }
        })?;
        assert_eq!(stage.ask(&name, "status")?.get("handover"), None);
    }
    assert!(begin.elapsed() >= limit, "too early: {:?}", begin.elapsed());

    let mut changes = set_mesh(stage, true);
    changes.push((resource_key("BGPPeer", "nobody"), None));
    stage.write(&changes)?;
    for (a, b) in [("node-a", "node-b"), ("node-a", "node-c"), ("node-b", "node-c")] {
        stage.rejoin(a, b)?;
    }
    wait_done(stage)?;
    stage.check("the mesh is back after nobody came")
}

/// Our nodes in the mesh that is Calico's default, with a pod each.
fn mesh<'a>(lab: &'a Lab, names: &[&str]) -> Result<Stage<'a>, LabError> {
    let mut stage = Stage::new(lab)?;
    stage.handover_time = 10;
    for (name, number) in names.iter().zip(1..) {
        stage.join(name, number, false)?;
    }
    for name in names {
        stage.start(name)?;
    }
    for name in names {
        stage.add_home_pod(name)?;
    }
    stage.wait_ours()?;
    stage.check("a mesh")?;
    Ok(stage)
}

fn set_mesh(stage: &mut Stage<'_>, is_on: bool) -> Vec<Change> {
    stage.data.has_mesh = is_on;
    let settings = json!({"logSeverityScreen": "Info", "nodeToNodeMeshEnabled": is_on});
    vec![resource("BGPConfiguration", "default", settings)]
}

/// A reflector that is no node of the cluster.
fn reflector(lab: &Lab, host: &Node) -> Result<Ours, LabError> {
    let ours = Ours::new(lab, host, Program::RouteReflector, SpeakerSpec::on(host, CLUSTER_AS))?;
    let ranges = ["172.17.8.0/24", "fd00:172:17:8::/64"]
        .map(|prefix| format!("[[listen_ranges]]\nprefix = \"{prefix}\"\nrole = \"client\"\n"));
    let socket = ours.socket().display().to_string();
    let file = format!("router_id = \"{}\"\n{}[admin]\nsocket = \"{socket}\"\n", host.v4, ranges.concat());
    Ok(ours.with_file(file))
}

/// Waits until `status` says that sessions stay in this role, and returns what it says.
fn wait_held(stage: &mut Stage<'_>, name: &str, role: &str) -> Result<Value, LabError> {
    wait_until(&format!("{name} to hold sessions"), PATIENCE, || {
        let status = stage.ask(name, "status").map_err(|error| error.to_string())?;
        let sessions = status["handover"]["sessions"].as_array().cloned().unwrap_or_default();
        let is_held = sessions.iter().any(|session| session["role"] == role);
        if is_held { Ok(status["handover"].clone()) } else { Err(status.to_string()) }
    })
}

/// Waits until nothing is held any more, and every session and kernel is as it should be.
fn wait_done(stage: &mut Stage<'_>) -> Result<(), LabError> {
    for name in stage.our_names() {
        wait_until(&format!("{name} to hold nothing"), PATIENCE, || {
            let status = stage.ask(&name, "status").map_err(|error| error.to_string())?;
            if status.get("handover").is_none() { Ok(()) } else { Err(status.to_string()) }
        })?;
    }
    stage.wait_ours()
}

/// The addresses of all neighbours.
fn sessions(stage: &mut Stage<'_>, name: &str) -> Result<Vec<String>, LabError> {
    let all = stage.ask(name, "neighbors")?;
    let addresses = all.as_array().into_iter().flatten().filter_map(|session| session["address"].as_str());
    Ok(addresses.map(str::to_owned).collect())
}
