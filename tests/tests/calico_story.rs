//! The life of a Calico cluster, with a real etcd that holds its data: four nodes with our daemon, one with BIRD as
//! Calico configures it, and a router of FRR. Everything that happens to such a cluster happens, while every pod pings
//! every other; after each step every kernel holds what the data say.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bgp_lab::calico::{Stage, resource, resource_key};
use bgp_lab::cluster::{CLUSTER_AS, host_node};
use bgp_lab::daemons::frr::Frr;
use bgp_lab::etcd::wait_status;
use bgp_lab::harness::lab_test;
use bgp_lab::{
    Daemon, Lab, LabError, PeerRole, Pod, RouteSpec, SpeakerSpec, secs, wait_established, wait_routes,
    wait_until,
};
use ipnet::IpNet;
use serde_json::{Value, json};

/// The AS of the router outside.
const ROUTER_AS: u32 = 65000;
/// What is behind it.
const OUTSIDE: &str = "203.0.113.0/24";
/// The AS of the cluster after its change.
const OTHER_AS: u32 = 64600;
/// Of the sessions within the cluster, in the end.
const PASSWORD: &str = "kept-to-ourselves";
const PATIENCE: Duration = secs(40);
/// How long etcd is gone.
const OUTAGE: Duration = secs(60);

#[test]
fn the_life_of_a_calico_cluster() {
    lab_test("calico-story", |lab: &Lab| {
        let mut stage = begin(lab)?;
        join_and_leave(&mut stage)?;
        blocks_and_borrowed_addresses(&mut stage)?;
        reflectors_instead_of_the_mesh(&mut stage)?;
        outage_of_etcd(&mut stage)?;
        let (mut router, outside) = a_router_outside(&mut stage)?;
        another_as(&mut stage, &mut router, &outside)?;
        a_password(&mut stage)
    });
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix in the test")
}

/// Three of our nodes and BIRD's, in the mesh that is Calico's default.
fn begin<'a>(lab: &'a Lab) -> Result<Stage<'a>, LabError> {
    let mut stage = Stage::new(lab)?;
    for (name, number) in [("node-a", 1), ("node-b", 2), ("node-c", 3), ("node-e", 5)] {
        stage.join(name, number, name == "node-e")?;
    }
    stage.configure_bird()?;
    for name in ["node-a", "node-b", "node-c", "node-e"] {
        stage.start(name)?;
    }
    stage.wait_bird()?;
    for name in ["node-a", "node-b", "node-c", "node-e"] {
        stage.add_home_pod(name)?;
    }
    stage.check("a mesh of four")?;
    Ok(stage)
}

fn join_and_leave(stage: &mut Stage<'_>) -> Result<(), LabError> {
    let join = |stage: &mut Stage<'_>| {
        stage.join("node-d", 4, false)?;
        stage.configure_bird()?;
        stage.start("node-d")?;
        stage.add_home_pod("node-d")?;
        stage.wait_bird()
    };
    join(stage)?;
    let sessions = stage.ask("node-a", "neighbors")?;
    let names: Vec<&str> =
        sessions.as_array().into_iter().flatten().filter_map(|session| session["name"].as_str()).collect();
    assert!(names.contains(&"Mesh_172_17_8_104"), "{names:?}");
    assert_eq!(names.len(), 8, "{names:?}");
    stage.check("a node has joined")?;

    stage.remove_pod("node-d")?;
    stage.leave("node-d")?;
    stage.configure_bird()?;
    stage.check("it has left")?;

    join(stage)?;
    stage.check("it is back")
}

fn blocks_and_borrowed_addresses(stage: &mut Stage<'_>) -> Result<(), LabError> {
    let more = ["192.168.101.0/26", "fd00:10:244:65::/122"].map(net);
    for block in more {
        stage.data.claim(&stage.etcd, "node-a", block)?;
    }
    stage.add_pod("node-a", [192, 168, 101, 5].into(), "fd00:10:244:65::5".parse().expect("an address"))?;
    stage.check("a block was added")?;
    stage.remove_pod("node-a")?;
    for block in more {
        stage.data.release(&stage.etcd, block)?;
    }
    stage.check("a block was removed")?;

    // Out of node-a's blocks: one by our daemon's node, one by BIRD's.
    let borrowed = |last: u8| {
        ([192, 168, 1, 64 + last].into(), [0xfd00, 0x10, 0x244, 1, 0, 0, 0, 0x40 + u16::from(last)].into())
    };
    for (name, last) in [("node-b", 9), ("node-e", 10)] {
        let (v4, v6) = borrowed(last);
        stage.add_pod(name, v4, v6)?;
    }
    stage.check("addresses were borrowed")?;
    stage.remove_pod("node-e")?;
    stage.configure_bird()?;
    stage.check("one was given back")
}

fn reflector_peer() -> Value {
    json!({"nodeSelector": "all()", "peerSelector": "has(route-reflector)"})
}

/// As Calico's guide says: the BGPPeer first, then the reflectors one by one, then the mesh goes.
fn reflectors_instead_of_the_mesh(stage: &mut Stage<'_>) -> Result<(), LabError> {
    let peer = reflector_peer();
    stage.data.has_reflector_peer = true;
    stage.write(&[resource("BGPPeer", "reflectors", peer)])?;
    for name in ["node-c", "node-d"] {
        stage.change_node(name, |node| {
            node.labels.insert("route-reflector".into(), "true".into());
            node.cluster_id = Some([244, 0, 0, 1].into());
        })?;
        wait_until(&format!("{name} to reflect"), PATIENCE, || {
            let status = stage.ask(name, "status").map_err(|error| error.to_string())?;
            if status["cluster_id"] == "244.0.0.1" { Ok(()) } else { Err(status.to_string()) }
        })?;
        stage.wait_ours()?;
        stage.check(&format!("{name} is a reflector, and confd has not told BIRD yet"))?;
        // BIRD is told of a session `Node_..` in place of `Mesh_..`. To BIRD a protocol with another name is another
        // protocol: it stops the old one and flushes its routes before the new one even connects.
        stage.part("node-e", name)?;
        stage.configure_bird()?;
        stage.wait_bird()?;
        stage.rejoin("node-e", name)?;
        stage.wait_ours()?;
        stage.check(&format!("{name} is a reflector"))?;
    }
    stage.data.has_mesh = false;
    let off = json!({"logSeverityScreen": "Info", "nodeToNodeMeshEnabled": false});
    stage.write(&[resource("BGPConfiguration", "default", off)])?;
    stage.wait_bird()?;
    wait_until("two reflectors, both families, and nobody else", PATIENCE, || {
        let sessions = stage.ask("node-a", "neighbors").map_err(|error| error.to_string())?;
        if sessions.as_array().map(Vec::len) == Some(4) { Ok(()) } else { Err(sessions.to_string()) }
    })?;
    stage.wait_ours()?;
    stage.check("the mesh is off")
}

fn outage_of_etcd(stage: &mut Stage<'_>) -> Result<(), LabError> {
    let is_up = |stage: &mut Stage<'_>, value: bool| {
        for name in stage.our_names() {
            wait_status(|| stage.ask(&name, "status"), "/datastore/up", &json!(value))?;
        }
        Ok::<_, LabError>(())
    };
    stage.etcd.stop();
    let begin = Instant::now();
    is_up(stage, false)?;
    stage.check("etcd is gone")?;

    for (name, what) in [("node-b", "a node"), ("node-c", "a reflector")] {
        stage.our(name).kill();
        stage.our(name).start()?;
        stage.wait_ours()?;
        stage.check(&format!("{what} was killed and has started without etcd"))?;
    }
    wait_until("a minute without etcd", OUTAGE + PATIENCE, || {
        if begin.elapsed() >= OUTAGE { Ok(()) } else { Err(format!("{:?}", begin.elapsed())) }
    })?;
    is_up(stage, false)?;
    stage.check("etcd was gone for a minute")?;

    // Somebody has waited for its return, and is quicker than our nodes.
    let pending = net("192.168.103.0/26");
    let (writer, changes) = (stage.etcd.writer(), stage.data.claim_changes("node-c", pending));
    let written = std::thread::spawn(move || {
        wait_until("etcd to take what was pending", PATIENCE, || writer.write(&changes))
    });
    stage.etcd.restart()?;
    written.join().expect("the writer")?;
    stage.configure_bird()?;
    // Nobody can have seen this as it happened.
    let block = net("192.168.102.0/26");
    stage.data.claim(&stage.etcd, "node-a", block)?;
    let revision = stage.etcd.write(&[])?;
    stage.etcd.compact(revision)?;
    is_up(stage, true)?;
    stage.check("etcd is back, compacted")?;

    for block in [block, pending] {
        stage.data.release(&stage.etcd, block)?;
    }
    let revision = stage.etcd.write(&[])?;
    stage.etcd.compact(revision)?;
    stage.configure_bird()?;
    stage.check("etcd was compacted while it was followed")
}

/// eBGP of two nodes with a router outside, and filters in both directions.
fn a_router_outside(stage: &mut Stage<'_>) -> Result<(Frr, Pod), LabError> {
    let host = host_node(stage.lab, &stage.switch, "router", 50)?;
    let nodes = ["node-a", "node-b"].map(|name| stage.node(name).clone());
    let spec = nodes.iter().fold(SpeakerSpec::on(&host, ROUTER_AS), |spec, node| {
        spec.with_peer(node.v4, CLUSTER_AS, PeerRole::Peer)
    });
    let spec =
        ["0.0.0.0/0", OUTSIDE].iter().fold(spec, |spec, prefix| spec.with_route(RouteSpec::plain(prefix)));
    let mut router = Frr::new(stage.lab, &host, spec)?;
    router.start()?;
    let outside = stage.lab.pod(
        &host,
        "outside",
        [203, 0, 113, 10].into(),
        "2001:db8::10".parse().expect("an address"),
    )?;

    let hidden = stage.data.blocks_of("node-c")[0];
    let filter = json!({
        "importV4": [{"action": "Reject", "matchOperator": "Equal", "cidr": "0.0.0.0/0"}],
        "exportV4": [
            {"action": "Reject", "matchOperator": "In", "cidr": hidden},
            {"action": "Accept", "matchOperator": "In", "cidr": "192.168.0.0/16", "operations": [{"addCommunity": {"value": "65000:77"}}]}
        ]
    });
    let peer = json!({"nodeSelector": "rack == 'r1'", "peerIP": host.v4, "asNumber": ROUTER_AS, "filters": ["router"]});
    for name in ["node-a", "node-b"] {
        stage.change_node(name, |node| _ = node.labels.insert("rack".into(), "r1".into()))?;
        let routes = [format!("{OUTSIDE} via {} dev eth0 proto 12", host.v4)].into();
        stage.extra_routes.insert(name.into(), routes);
    }
    stage.write(&[resource("BGPFilter", "router", filter), resource("BGPPeer", "router", peer)])?;
    for node in &nodes {
        wait_established(&mut router, node.v4.into(), PATIENCE)?;
        let blocks = |is_there: bool| if is_there { Ok(()) } else { Err("blocks".to_owned()) };
        wait_routes(&mut router, node.v4.into(), PATIENCE, |routes| {
            let has = |name: &str| {
                stage
                    .data
                    .blocks_of(name)
                    .iter()
                    .any(|block| routes.iter().any(|route| route.prefix == *block))
            };
            blocks(["node-a", "node-b", "node-d", "node-e"].iter().all(|name| has(name)) && !has("node-c"))?;
            blocks(routes.iter().all(|route| route.communities.contains("65000:77")))
        })?;
    }
    stage.check("a router outside knows the cluster")?;
    stage.ping_from_outside(&outside, &["node-a", "node-b"])?;
    stage.check("outside is reached")?;

    // A filter changes: what it hid is told, and nobody sees a new session.
    let before = stage.ask("node-a", "neighbors")?;
    let open = json!({
        "importV4": [{"action": "Reject", "matchOperator": "Equal", "cidr": "0.0.0.0/0"}]
    });
    stage.write(&[resource("BGPFilter", "router", open)])?;
    wait_routes(&mut router, nodes[0].v4.into(), PATIENCE, |routes| {
        let found = routes.iter().find(|route| route.prefix == hidden);
        found.map(drop).ok_or_else(|| "it is hidden still".to_owned())
    })?;
    let counts = |sessions: &Value| -> Vec<Value> {
        sessions
            .as_array()
            .into_iter()
            .flatten()
            .map(|session| session["established_count"].clone())
            .collect()
    };
    assert_eq!(counts(&before), counts(&stage.ask("node-a", "neighbors")?));
    stage.check("a filter was opened")?;
    Ok((router, outside))
}

fn another_as(stage: &mut Stage<'_>, router: &mut Frr, outside: &Pod) -> Result<(), LabError> {
    // BIRD stops every session whose own AS is another one, and flushes its routes. (Before it is told, it does the same
    // on an OPEN with an AS that it does not expect: it takes that for an error, after which RFC 4724 keeps nothing.)
    for name in stage.our_names() {
        stage.part("node-e", &name)?;
    }
    // So does FRR with a neighbour whose AS is changed.
    stage.part_from_outside()?;
    stage.data.asn = OTHER_AS;
    let config = json!({"logSeverityScreen": "Info", "nodeToNodeMeshEnabled": false, "asNumber": OTHER_AS});
    stage.write(&[resource("BGPConfiguration", "default", config)])?;
    let nodes = ["node-a", "node-b"].map(|name| IpAddr::from(stage.node(name).v4));
    let commands = nodes.map(|node| format!("neighbor {node} remote-as {OTHER_AS}"));
    let enter = ["configure terminal".to_owned(), format!("router bgp {ROUTER_AS}")];
    router.ask(&[&enter[..], &commands[..]].concat())?;
    stage.wait_bird()?;
    for name in stage.our_names() {
        stage.rejoin("node-e", &name)?;
    }
    for node in nodes {
        wait_established(router, node, PATIENCE)?;
    }
    stage.ping_from_outside(outside, &["node-a", "node-b"])?;
    for name in stage.our_names() {
        wait_status(|| stage.ask(&name, "status"), "/asn", &json!(OTHER_AS))?;
    }
    stage.wait_ours()?;
    stage.check("the AS is another")?;

    // The data say that outside is no more.
    stage.part_from_outside()?;
    stage.write(&[(resource_key("BGPPeer", "router"), None)])?;
    stage.extra_routes.clear();
    stage.check("the router is a neighbour no more")
}

/// All sessions get a password, which is in a Secret.
fn a_password(stage: &mut Stage<'_>) -> Result<(), LabError> {
    let secret = json!({
        "kind": "Secret", "apiVersion": "v1", "metadata": {"namespace": "kube-system", "name": "bgp-keys"},
        "stringData": {"cluster": PASSWORD}
    });
    stage.put_object("secret.json", &secret)?;
    stage.data.password = Some(PASSWORD.into());
    let mut peer = reflector_peer();
    peer["password"] = json!({"secretKeyRef": {"name": "bgp-keys", "key": "cluster"}});
    stage.etcd.write(&[resource("BGPPeer", "reflectors", peer)])?;
    for name in stage.our_names() {
        wait_until(&format!("all sessions of {name} to have a password"), PATIENCE, || {
            let plan = stage.ask(&name, "plan").map_err(|error| error.to_string())?;
            assert!(!plan.to_string().contains(PASSWORD), "a plan tells nobody");
            let sessions = plan["sessions"].as_array().cloned().unwrap_or_default();
            let has_password = |session: &Value| session["password"] == true;
            let is_done = !sessions.is_empty() && sessions.iter().all(has_password);
            if is_done { Ok(()) } else { Err(plan.to_string()) }
        })?;
    }
    stage.wait_ours_but_with(Some("node-e"))?;
    // To BIRD the connections have just broken, and to us too: both sides keep routes.
    stage.check("our sessions have a password, and confd has not told BIRD yet")?;
    // BIRD stops a session whose password is another one, and flushes its routes; all it has are the two with reflectors.
    for name in stage.our_names() {
        stage.part("node-e", &name)?;
    }
    stage.configure_bird()?;
    stage.wait_bird()?;
    for name in stage.our_names() {
        stage.rejoin("node-e", &name)?;
    }
    stage.wait_ours()?;
    stage.check("all sessions have a password")
}
