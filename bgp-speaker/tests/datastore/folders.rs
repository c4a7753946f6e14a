//! What Calico keeps beside etcd, read from folders: passwords, services, local workloads.

use super::*;
use std::collections::BTreeMap;

const SECRET: &str = "kept-to-ourselves";

/// Writes an object into a node's folder of Kubernetes objects, by rename.
fn put_object(cluster: &Cluster, index: usize, file: &str, object: &Value) {
    let folder = cluster.kubernetes_folder(index);
    let temporary = folder.join(format!(".{file}.new"));
    std::fs::write(&temporary, object.to_string()).expect("a file");
    std::fs::rename(temporary, folder.join(file)).expect("renamed");
}

fn remove_object(cluster: &Cluster, index: usize, file: &str) {
    std::fs::remove_file(cluster.kubernetes_folder(index).join(file)).expect("it was there");
}

fn secret(password: &str) -> Value {
    json!({
        "kind": "Secret", "apiVersion": "v1", "metadata": {"namespace": "kube-system", "name": "bgp-keys"},
        "stringData": {"rack": password}
    })
}

/// So many nodes by Calico's data.
fn nodes(name: &str, count: usize, more: &Value) -> Cluster {
    let mut cluster = Cluster::start(name);
    let mut spec = json!({"listenPort": cluster.port, "bindMode": "NodeIP"});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    cluster.put_resource("BGPConfiguration", "default", &spec);
    cluster.put_resource("IPPool", "pods", &json!({"cidr": "192.168.0.0/16"}));
    for index in 0..count {
        cluster.put_calico_node(index);
        cluster.add_calico();
    }
    cluster
}

/// The same in a mesh.
fn mesh(name: &str, count: usize) -> Cluster {
    let cluster = nodes(name, count, &Value::Null);
    let all: Vec<usize> = (0..count).collect();
    cluster.wait_for("the mesh", |cluster| cluster.has_mesh(&all));
    cluster
}

/// How often each session of a node has come up, and whether it is up now.
fn sessions(cluster: &Cluster, index: usize) -> BTreeMap<String, (u64, bool)> {
    let answer = cluster.ask(index, &["neighbors"]);
    let session = |neighbor: &Value| {
        let count = neighbor["established_count"].as_u64().unwrap_or_default();
        let address = neighbor["address"].as_str().unwrap_or_default().to_owned();
        (address, (count, neighbor["state"] == "Established"))
    };
    answer.as_array().into_iter().flatten().map(session).collect()
}

fn is_up(cluster: &Cluster, index: usize, address: &str) -> bool {
    sessions(cluster, index).get(address).is_some_and(|(_, is_up)| *is_up)
}

/// Reasons that `status` gives.
fn problems(cluster: &Cluster, index: usize) -> Vec<String> {
    let status = cluster.ask(index, &["status"]);
    let invalid = status["datastore"]["invalid"].as_array().cloned().unwrap_or_default();
    invalid.iter().map(|object| object["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

fn has_password(cluster: &Cluster, index: usize, address: &str) -> bool {
    let plan = cluster.ask(index, &["plan"]);
    let sessions = plan["sessions"].as_array().cloned().unwrap_or_default();
    sessions.iter().any(|session| session["address"] == address && session["password"] == true)
}

/// Every file that the nodes wrote, and what they answer.
fn told(cluster: &Cluster) -> String {
    let mut told = String::new();
    for index in 0..cluster.nodes.len() {
        for name in [format!("cache-{}", index + 2), format!("{}.log", index + 2)] {
            let text = std::fs::read(cluster.directory.join(&name)).expect("it is there");
            assert!(!text.is_empty(), "{name}");
            told.push_str(&String::from_utf8_lossy(&text));
        }
        for question in [&["plan"][..], &["status"], &["neighbors"]] {
            told.push_str(&cluster.ask(index, question).to_string());
        }
    }
    told
}

#[test]
fn a_password_that_appears_changes_or_vanishes_resets_its_session_and_no_other() {
    let cluster = mesh("password", 3);
    let password = json!({"secretKeyRef": {"name": "bgp-keys", "key": "rack"}});
    // The other end, node-3, has a peering with the same password without being asked.
    let peer = json!({"node": "node-2", "peerIP": "127.0.0.3", "asNumber": 64512, "password": password});
    cluster.put_resource("BGPPeer", "pair", &peer);
    cluster.wait_for("the missing secret to be told", |cluster| {
        problems(cluster, 0).iter().any(|reason| reason.contains("Secret kube-system/bgp-keys is not there"))
    });
    cluster.wait_for("the mesh without a password", |cluster| cluster.has_mesh(&[0, 1, 2]));
    let untouched = |cluster: &Cluster| {
        (sessions(cluster, 2), sessions(cluster, 0)["127.0.0.4"], sessions(cluster, 1)["127.0.0.4"])
    };
    let before = untouched(&cluster);
    let settled = |cluster: &Cluster| is_up(cluster, 0, "127.0.0.3") && is_up(cluster, 1, "127.0.0.2");

    let stages = [Some(SECRET.to_owned()), Some(format!("{SECRET}-now")), None];
    for stage in stages {
        let tell = |index| match &stage {
            Some(password) => put_object(&cluster, index, "keys.json", &secret(password)),
            None => remove_object(&cluster, index, "keys.json"),
        };
        let has_it = |index, address| has_password(&cluster, index, address) == stage.is_some();
        // One end alone: they cannot speak with each other, which shows that the password counts.
        tell(0);
        cluster.wait_for("the session to go down", |cluster| !settled(cluster));
        tell(1);
        cluster.wait_for("the session to be back", settled);
        cluster.wait_for("the plans to show it", |_| has_it(0, "127.0.0.3") && has_it(1, "127.0.0.2"));
    }
    assert_eq!(untouched(&cluster), before, "nobody else was reset");
    cluster.wait_for("the mesh without a password again", |cluster| cluster.has_mesh(&[0, 1, 2]));

    // Neither what the nodes tell nor what they leave on disk has it, in any form.
    put_object(&cluster, 0, "keys.json", &secret(SECRET));
    put_object(&cluster, 0, "broken.json", &json!({"kind": SECRET, "metadata": {"name": SECRET}}));
    put_object(&cluster, 0, "list.json", &json!({"kind": "List", "items": [SECRET]}));
    cluster.wait_for("the broken files to be told", |cluster| {
        let problems = problems(cluster, 0);
        problems.iter().any(|reason| reason.starts_with("kind: neither"))
            && problems.iter().any(|reason| reason.starts_with("items[0]"))
    });
    cluster.wait_for("the password to be in use", |cluster| has_password(cluster, 0, "127.0.0.3"));
    let told = told(&cluster);
    let bytes: Vec<String> = SECRET.bytes().map(|byte| byte.to_string()).collect();
    for form in [SECRET.to_owned(), "a2VwdC10by1vdXJzZWx2ZX".to_owned(), bytes.join(", ")] {
        assert!(
            !told.contains(&form),
            "{form} in {}",
            told.lines().find(|l| l.contains(&form)).unwrap_or("")
        );
    }
}

#[test]
fn services_are_announced_where_their_endpoints_are() {
    let ranges = json!({
        "serviceClusterIPs": [{"cidr": "10.96.0.0/16"}], "serviceExternalIPs": [{"cidr": "80.0.0.0/24"}]
    });
    let cluster = nodes("services", 3, &ranges);
    // The third one only looks on.
    let observer = json!({
        "kind": "Node", "apiVersion": "projectcalico.org/v3",
        "metadata": {
            "name": "node-4", "labels": {"node.kubernetes.io/exclude-from-external-load-balancers": "true"}
        },
        "spec": {"bgp": {"ipv4Address": "127.0.0.4/8"}}
    });
    cluster.put("/calico/resources/v3/projectcalico.org/nodes/node-4", Some(&observer));
    let service = |policy: &str| {
        json!({
            "kind": "Service", "apiVersion": "v1", "metadata": {"namespace": "web", "name": "shop"},
            "spec": {
                "type": "NodePort", "clusterIP": "10.96.0.7", "externalIPs": ["80.0.0.7", "81.0.0.7"],
                "externalTrafficPolicy": policy
            }
        })
    };
    let slice = |node: &str, ready: bool| {
        json!({
            "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
            "metadata": {
                "namespace": "web", "name": "shop-1", "labels": {"kubernetes.io/service-name": "shop"}
            },
            "addressType": "IPv4", "endpoints": [{"nodeName": node, "conditions": {"ready": ready}}]
        })
    };
    let tell = |cluster: &Cluster, file: &str, object: &Value| {
        (0..2).for_each(|index| put_object(cluster, index, file, object));
    };
    // What each of them has from the other: the observer sees both.
    let announcers = |cluster: &Cluster, prefix: &str| -> Vec<String> {
        let answer = cluster.ask(2, &["routes", prefix]);
        let routes = answer.as_array().or_else(|| answer["routes"].as_array()).cloned().unwrap_or_default();
        let exact = routes.iter().filter(|route| route["prefix"] == prefix);
        let mut from: Vec<String> =
            exact.map(|route| route["next_hop"].as_str().unwrap_or_default().to_owned()).collect();
        from.sort();
        from
    };
    let both = ["127.0.0.2", "127.0.0.3"];
    cluster.wait_for("the ranges from both", |cluster| announcers(cluster, "10.96.0.0/16") == both);
    let expect = |cluster: &Cluster, what: &str, from: &[&str]| {
        for prefix in ["10.96.0.7/32", "80.0.0.7/32"] {
            cluster.wait_for(&format!("{what}: {prefix}"), |cluster| announcers(cluster, prefix) == from);
        }
    };
    tell(&cluster, "slice.json", &slice("node-2", true));
    tell(&cluster, "service.json", &service("Local"));
    expect(&cluster, "the node with the endpoint", &both[..1]);
    tell(&cluster, "slice.json", &slice("node-3", true));
    expect(&cluster, "the endpoint on the other node", &both[1..]);
    tell(&cluster, "slice.json", &slice("node-3", false));
    expect(&cluster, "no endpoint that is ready", &[]);
    tell(&cluster, "slice.json", &slice("node-2", true));
    expect(&cluster, "an endpoint again", &both[..1]);
    tell(&cluster, "service.json", &service("Cluster"));
    expect(&cluster, "only the range, where any node will do", &[]);
    tell(&cluster, "service.json", &service("Local"));
    expect(&cluster, "the policy again", &both[..1]);
    (0..2).for_each(|index| remove_object(&cluster, index, "service.json"));
    expect(&cluster, "no service", &[]);
    assert_eq!(announcers(&cluster, "81.0.0.7/32"), [""; 0], "outside the ranges");
    assert_eq!(announcers(&cluster, "10.96.0.0/16"), both);
}

#[test]
fn a_local_workload_has_a_session_as_long_as_its_status_file_is_there() {
    let mut cluster = mesh("workload", 2);
    let peer = json!({"localWorkloadSelector": "tenant == 'bird'", "asNumber": 65100});
    cluster.put_resource("BGPPeer", "tenant-bird", &peer);
    let port = cluster.port;
    // The pod, with a speaker of its own.
    let file = cluster.directory.join("workload.toml");
    let socket = cluster.directory.join("workload.sock");
    let text = format!(
        "asn = 65100\nrouter_id = \"127.0.0.77\"\nlisten = []\n[announce]\nroutes = [{{ prefix = \"172.31.7.0/24\" }}]\n\
         [[neighbors]]\naddress = \"127.0.0.2\"\nport = {port}\nremote_as = 64512\nlocal_address = \"127.0.0.77\"\n\
         [admin]\nlisten = \"off\"\nsocket = \"{}\"\n",
        socket.display()
    );
    std::fs::write(&file, text).expect("a file");
    let mut command = Command::new(BIN);
    command.arg("run").arg("--config").arg(&file);
    let log = cluster.directory.join("workload.log");
    cluster.nodes.push(Some(Killed::start(&mut command, &log)));

    let status = cluster.status_folder(0).join("kubernetes web%2fbird eth0");
    let json = json!({"ifaceName": "cali0", "ipv4Nets": ["127.0.0.77/32"], "bgpPeerName": "tenant-bird"});
    std::fs::write(&status, json.to_string()).expect("a file");
    cluster.wait_for("the workload's session", |cluster| {
        cluster.neighbors(0).contains(&("Local_Workload_127_0_0_77".to_owned(), "Established".to_owned()))
    });
    cluster
        .wait_for("the workload's route", |cluster| cluster.routes(0).contains(&"172.31.7.0/24".to_owned()));
    // A file cut short leaves what it said in force.
    std::fs::write(&status, "{\"bgpPeerName\": \"tena").expect("a file");
    cluster.wait_for("the file to be told", |cluster| {
        problems(cluster, 0).iter().any(|reason| reason.starts_with("unreadable"))
    });
    assert!(is_up(&cluster, 0, "127.0.0.77"));
    std::fs::remove_file(&status).expect("it was there");
    cluster.wait_for("the session to be gone", |cluster| cluster.neighbors(0).len() == 1);
    assert!(is_up(&cluster, 0, "127.0.0.3"));
    assert_eq!(problems(&cluster, 0), [""; 0]);
}

#[test]
fn a_node_that_starts_without_etcd_waits_for_its_folder_and_has_its_passwords() {
    let mut cluster = mesh("folder-first", 2);
    (0..2).for_each(|index| put_object(&cluster, index, "keys.json", &secret(SECRET)));
    let password = json!({"secretKeyRef": {"name": "bgp-keys", "key": "rack"}});
    let spec = json!({"listenPort": cluster.port, "bindMode": "NodeIP", "nodeMeshPassword": password});
    cluster.put_resource("BGPConfiguration", "default", &spec);
    let has_passwords =
        |cluster: &Cluster| has_password(cluster, 0, "127.0.0.3") && has_password(cluster, 1, "127.0.0.2");
    cluster.wait_for("the password", has_passwords);
    cluster.wait_for("the mesh with a password", |cluster| cluster.has_mesh(&[0, 1]));

    cluster.stop_etcd();
    cluster.kill_node(1);
    let aside = cluster.directory.join("aside");
    std::fs::rename(cluster.kubernetes_folder(1), &aside).expect("renamed");
    cluster.start_node(1);
    let log = cluster.directory.join("3.log");
    cluster.wait_for("the node to wait for its folder", |_| {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.contains("starting with what it held last") && log.contains("not read yet: Kubernetes objects in")
    });
    assert_eq!(cluster.ask(1, &["neighbors"]), Value::Null, "no session without its password");
    std::fs::rename(aside, cluster.kubernetes_folder(1)).expect("renamed");
    cluster.wait_for("the mesh again", |cluster| cluster.has_mesh(&[0, 1]));
    assert!(has_passwords(&cluster), "{}", cluster.report());
}
