//! Daemons that find each other through etcd, by their own registry or by Calico's data: real processes and a real etcd, on
//! loopback.

#![allow(clippy::disallowed_methods, reason = "tests wait for the world, within limits")]

mod folders;

use serde_json::{Value, json};
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// After so long without a sign of life a node is gone, in seconds.
const LEASE_SECS: u64 = 5;
const PATIENCE: Duration = Duration::from_secs(60);
const BIN: &str = env!("CARGO_BIN_EXE_bgp-speaker");

/// The etcd on `PATH`, or the one that the variable names.
fn etcd_program() -> OsString {
    std::env::var_os("BGP_LAB_ETCD").unwrap_or_else(|| "etcd".into())
}

/// A process that ends with its owner.
struct Killed(Child);

impl Killed {
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = std::fs::File::create(log).expect("a log");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        Self(child.expect("it starts (Debian: etcd-server)"))
    }

    fn kill(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Cluster {
    directory: PathBuf,
    etcd_url: String,
    etcd_arguments: Vec<String>,
    etcd: Killed,
    nodes: Vec<Option<Killed>>,
    port: u16,
}

/// A port that nobody listens on. Connections of other tests leave from ports above these.
fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(16).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + number % COUNT).expect("a port");
        if (1..10).all(|host| TcpListener::bind((Ipv4Addr::new(127, 0, 0, host), port)).is_ok()) {
            return port;
        }
    }
}

impl Cluster {
    fn start(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("bgp-registry-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let client = format!("http://127.0.0.1:{}", free_port());
        let peer = format!("http://127.0.0.1:{}", free_port());
        let data = directory.join("etcd").display().to_string();
        let etcd_arguments: Vec<String> = [
            ("--data-dir", data.as_str()),
            ("--listen-client-urls", &client),
            ("--advertise-client-urls", &client),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
            ("--initial-cluster", &format!("default={peer}")),
        ]
        .iter()
        .flat_map(|(option, value)| [(*option).to_owned(), (*value).to_owned()])
        .collect();
        let etcd =
            Killed::start(Command::new(etcd_program()).args(&etcd_arguments), &directory.join("etcd.log"));
        let port = free_port();
        Self { directory, etcd_url: client, etcd_arguments, etcd, nodes: Vec::new(), port }
    }

    /// Node `n` is 127.0.0.(n + 2); nobody configures a neighbour.
    fn add(&mut self, extra: &str) -> usize {
        let base = self.registry_base(extra);
        self.add_node(&base, "registry")
    }

    /// What the next node's file says beside `[etcd]`.
    fn registry_base(&self, extra: &str) -> String {
        let (number, port) = (self.nodes.len() + 2, self.port);
        format!(
            "router_id = \"127.0.0.{number}\"\nlisten = [\"127.0.0.{number}:{port}\"]\n{extra}\n\
             [announce]\nblocks = [\"192.168.{number}.0/26\"]\n"
        )
    }

    /// A node of which the datastore says everything, and the folders beside it.
    fn add_calico(&mut self) -> usize {
        let number = self.nodes.len() + 2;
        for folder in [self.kubernetes_folder(number - 2), self.status_folder(number - 2)] {
            std::fs::create_dir_all(folder).expect("a folder");
        }
        let directory = self.directory.display();
        let folders = format!(
            "kubernetes_folder = \"{directory}/kubernetes-{number}\"\n\
             endpoint_status_folder = \"{directory}/status-{number}\"\n"
        );
        self.add_node_with("", "calico", &folders)
    }

    fn kubernetes_folder(&self, index: usize) -> PathBuf {
        self.directory.join(format!("kubernetes-{}", index + 2))
    }

    fn status_folder(&self, index: usize) -> PathBuf {
        self.directory.join(format!("status-{}", index + 2))
    }

    fn add_node(&mut self, base: &str, model: &str) -> usize {
        self.add_node_with(base, model, "")
    }

    fn add_node_with(&mut self, base: &str, model: &str, keys: &str) -> usize {
        let name = format!("node-{}", self.nodes.len() + 2);
        let index = self.prepare_node(base, model, &name, keys);
        self.start_node(index);
        index
    }

    /// Writes the file only.
    fn prepare_node(&mut self, base: &str, model: &str, name: &str, keys: &str) -> usize {
        let index = self.nodes.len();
        let number = index + 2;
        let (etcd, directory) = (&self.etcd_url, self.directory.display());
        let text = format!(
            "{base}[etcd]\nendpoints = [\"{etcd}\"]\nmodel = \"{model}\"\nnode = \"{name}\"\n\
             lease = {LEASE_SECS}\ncache = \"{directory}/cache-{number}\"\n{keys}\
             [admin]\nlisten = \"off\"\nsocket = \"{directory}/{number}.sock\"\n"
        );
        std::fs::write(self.directory.join(format!("{number}.toml")), text).expect("a file");
        self.nodes.push(None);
        index
    }

    fn start_node(&mut self, index: usize) {
        let file = self.directory.join(format!("{}.toml", index + 2));
        let log = self.directory.join(format!("{}.log", index + 2));
        let mut command = Command::new(BIN);
        command.arg("run").arg("--config").arg(file).env("RUST_LOG", "info,bgp_speaker=trace");
        self.nodes[index] = Some(Killed::start(&mut command, &log));
    }

    fn kill_node(&mut self, index: usize) {
        self.nodes[index] = None;
    }

    fn stop_etcd(&mut self) {
        self.etcd.kill();
    }

    fn restart_etcd(&mut self) {
        let log = self.directory.join("etcd.log");
        self.etcd = Killed::start(Command::new(etcd_program()).args(&self.etcd_arguments), &log);
    }

    /// Writes a key, or removes it.
    fn put(&self, key: &str, value: Option<&Value>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let started = Instant::now();
        while let Err(error) = runtime.block_on(put(&self.etcd_url, key, value)) {
            assert!(started.elapsed() < PATIENCE, "{key}: {error}");
        }
    }

    /// As `calicoctl` would write it.
    fn put_resource(&self, kind: &str, name: &str, spec: &Value) {
        let folder = format!("{}s", kind.to_lowercase());
        let key = format!("/calico/resources/v3/projectcalico.org/{folder}/{name}");
        let resource = json!({
            "kind": kind, "apiVersion": "projectcalico.org/v3", "metadata": {"name": name}, "spec": spec
        });
        self.put(&key, Some(&resource));
    }

    fn put_calico_node(&self, index: usize) {
        let number = index + 2;
        let spec = json!({"bgp": {"ipv4Address": format!("127.0.0.{number}/8")}});
        self.put_resource("Node", &format!("node-{number}"), &spec);
        self.put_affinity(index, &format!("192.168.{number}.0-26"), true);
    }

    fn put_affinity(&self, index: usize, block: &str, is_there: bool) {
        let key = format!("/calico/ipam/v2/host/node-{}/ipv4/block/{block}", index + 2);
        let affinity = json!({"state": "confirmed"});
        self.put(&key, is_there.then_some(&affinity));
    }

    fn output(&self, index: usize, arguments: &[&str]) -> Output {
        let socket = self.directory.join(format!("{}.sock", index + 2));
        let output = Command::new(BIN).args(arguments).arg("--socket").arg(socket).output();
        output.expect("the command runs")
    }

    /// A command's JSON; null while the daemon does not answer.
    fn ask(&self, index: usize, arguments: &[&str]) -> Value {
        let output = self.output(index, &[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// Best routes of a node.
    fn routes(&self, index: usize) -> Vec<String> {
        let answer = self.ask(index, &["routes", "--best"]);
        let routes = answer.as_array().or_else(|| answer["routes"].as_array()).cloned().unwrap_or_default();
        routes.iter().filter_map(|route| route["prefix"].as_str().map(str::to_owned)).collect()
    }

    /// (name, state) of a node's neighbours.
    fn neighbors(&self, index: usize) -> Vec<(String, String)> {
        let answer = self.ask(index, &["neighbors"]);
        let text = |neighbor: &Value, key: &str| neighbor[key].as_str().unwrap_or_default().to_owned();
        let neighbors = answer.as_array().cloned().unwrap_or_default();
        neighbors.iter().map(|neighbor| (text(neighbor, "name"), text(neighbor, "state"))).collect()
    }

    fn has_mesh(&self, nodes: &[usize]) -> bool {
        let blocks: Vec<String> = nodes.iter().map(|node| format!("192.168.{}.0/26", node + 2)).collect();
        let is_up = |node: &usize| {
            let neighbors = self.neighbors(*node);
            neighbors.len() == nodes.len() - 1 && neighbors.iter().all(|(_, state)| state == "Established")
        };
        nodes.iter().all(|node| is_up(node) && self.routes(*node) == blocks)
    }

    fn wait_for(&self, what: &str, is_true: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !is_true(self) {
            assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}\n{}", self.report());
            std::thread::yield_now();
        }
    }

    fn report(&self) -> String {
        let of_node = |index: usize| {
            let log = self.directory.join(format!("{}.log", index + 2));
            let log = std::fs::read_to_string(log).unwrap_or_default();
            format!("node-{}: {:?} {:?}\n{log}", index + 2, self.neighbors(index), self.routes(index))
        };
        (0..self.nodes.len()).map(of_node).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.clear();
        self.etcd.kill();
        _ = std::fs::remove_dir_all(&self.directory);
    }
}

async fn put(url: &str, key: &str, value: Option<&Value>) -> Result<(), etcd_client::Error> {
    let mut client = etcd_client::Client::connect([url], None).await?;
    match value {
        Some(value) => client.put(key, value.to_string(), None).await.map(|_| ()),
        None => client.delete(key, None).await.map(|_| ()),
    }
}

#[test]
fn nodes_that_register_form_a_mesh_and_one_that_dies_is_forgotten() {
    let mut cluster = Cluster::start("mesh");
    for _ in 0..3 {
        cluster.add("");
    }
    cluster.wait_for("a mesh of three", |cluster| cluster.has_mesh(&[0, 1, 2]));
    let nodes = cluster.ask(0, &["node", "list"]);
    assert_eq!(nodes.as_object().map(|nodes| nodes.len()), Some(3), "{nodes}");
    let shown = cluster.ask(0, &["node", "show", "node-3"]);
    assert_eq!(
        (shown["addresses"][0].as_str(), shown["blocks"][0].as_str()),
        (Some("127.0.0.3"), Some("192.168.3.0/26"))
    );
    let status = cluster.ask(0, &["status"]);
    assert_eq!(status["datastore"]["up"], true, "{status}");

    cluster.kill_node(2);
    cluster.wait_for("the lease to expire", |cluster| cluster.has_mesh(&[0, 1]));
    cluster.start_node(2);
    cluster.wait_for("a mesh of three again", |cluster| cluster.has_mesh(&[0, 1, 2]));

    // Leaving is told at once: the neighbour is gone before its lease would be.
    let started = Instant::now();
    assert!(cluster.output(1, &["drain"]).status.success());
    cluster.wait_for("the one that left to be forgotten", |cluster| cluster.has_mesh(&[0, 2]));
    assert!(started.elapsed() < Duration::from_secs(LEASE_SECS), "{:?}", started.elapsed());
}

#[test]
fn of_two_nodes_with_one_name_the_first_is_registered_and_the_other_says_so() {
    let mut cluster = Cluster::start("namesake");
    for _ in 0..2 {
        cluster.add("");
    }
    cluster.wait_for("a mesh of two", |cluster| cluster.has_mesh(&[0, 1]));
    let sessions = |cluster: &Cluster| cluster.ask(0, &["neighbors"])[0]["established_count"].clone();
    let before = sessions(&cluster);
    let base = cluster.registry_base("");
    let namesake = cluster.prepare_node(&base, "registry", "node-3", "");
    cluster.start_node(namesake);
    cluster.wait_for("the name to be reported", |cluster| {
        let invalid = &cluster.ask(namesake, &["status"])["datastore"]["invalid"];
        let is_it = |object: &Value| {
            let reason = object["reason"].as_str().unwrap_or_default();
            object["key"] == "/bgp/v1/nodes/node-3"
                && reason.starts_with("a node with 127.0.0.3 is registered")
        };
        invalid.as_array().is_some_and(|all| all.iter().any(is_it))
    });
    assert!(cluster.has_mesh(&[0, 1]), "{}", cluster.report());
    assert_eq!(sessions(&cluster), before, "the others see nothing of it");
    assert!(cluster.output(1, &["drain"]).status.success());
    cluster.wait_for("the other one to be registered", |cluster| cluster.has_mesh(&[0, namesake]));
    let shown = cluster.ask(0, &["node", "show", "node-3"]);
    assert_eq!(shown["addresses"][0], "127.0.0.4", "{shown}");
    assert_eq!(cluster.ask(namesake, &["status"])["datastore"]["invalid"], json!([]));
}

#[test]
fn a_plan_needs_no_daemon_and_leaves_nothing_behind() {
    let mut cluster = Cluster::start("plan");
    let spec = json!({
        "listenPort": cluster.port, "bindMode": "NodeIP", "serviceClusterIPs": [{"cidr": "10.96.0.0/16"}],
        "prefixAdvertisements": [{"cidr": "192.168.0.0/16", "communities": ["64512:7"]}]
    });
    cluster.put_resource("BGPConfiguration", "default", &spec);
    cluster.put_resource("IPPool", "pods", &json!({"cidr": "192.168.0.0/16"}));
    cluster.put_resource("BGPFilter", "no-default", &json!({"importV4": [{"action": "Reject"}]}));
    let peer = json!({"peerIP": "127.0.0.9", "asNumber": 65001, "filters": ["no-default"]});
    cluster.put_resource("BGPPeer", "router", &peer);
    cluster.put_resource("BGPPeer", "broken", &json!({"peerIP": "nowhere", "asNumber": 1}));
    (0..2).for_each(|index| cluster.put_calico_node(index));
    let index = cluster.prepare_node("", "calico", "node-2", "endpoint_status_folder = \"off\"\n");
    let file = cluster.directory.join("2.toml").display().to_string();
    let output = cluster.output(index, &["plan", "--config", &file, "--json"]);
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{notes}");
    assert!(notes.contains("note: no daemon") && notes.contains("bgppeers/broken: "), "{notes}");
    let plan: Value = serde_json::from_slice(&output.stdout).expect("a document");
    assert_eq!((&plan["node"], &plan["router_id"]), (&json!("node-2"), &json!("127.0.0.2")));
    assert_eq!(plan["listen"], json!([format!("127.0.0.2:{}", cluster.port)]));
    let of = |list: &str, key: &str| -> Vec<Value> {
        plan[list].as_array().expect("a list").iter().map(|one| one[key].clone()).collect()
    };
    assert_eq!(of("sessions", "name"), ["Global_127_0_0_9", "Mesh_127_0_0_3"]);
    assert_eq!(of("sessions", "import"), [json!(["no-default"]), json!([])]);
    assert_eq!(of("originate", "prefix"), ["10.96.0.0/16", "192.168.2.0/26"]);
    assert_eq!(of("originate", "kind"), ["service", "block"]);
    assert_eq!(of("originate", "communities"), [json!([]), json!(["64512:7"])]);
    assert_eq!(of("originate", "blackhole"), [false, false], "there is no [fib]");
    let added: Vec<Value> =
        of("steps", "action").into_iter().filter(|action| action == "add-session").collect();
    assert_eq!(added.len(), 2);
    assert!(!cluster.directory.join("cache-2").exists());

    // With the daemon, the same document, and what is still to be done: nothing.
    cluster.start_node(index);
    cluster.wait_for("the daemon", |cluster| cluster.neighbors(index).len() == 2);
    for arguments in [&["plan", "--config", file.as_str()][..], &["plan"]] {
        let mut expected = plan.clone();
        expected["steps"] = json!([]);
        assert_eq!(cluster.ask(index, arguments), expected, "{arguments:?}");
    }
    cluster.kill_node(index);
    cluster.put("/calico/resources/v3/projectcalico.org/nodes/node-2", None);
    let refused = cluster.output(index, &["plan", "--config", &file]);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(message.contains("the datastore has no Node node-2"), "{message}");
    assert_eq!(refused.status.code(), Some(1));
    cluster.stop_etcd();
    let refused = cluster.output(index, &["plan", "--config", &file]);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        message.contains("not read yet: the datastore: ") && message.contains(&cluster.etcd_url),
        "{message}"
    );
}

#[test]
fn a_reflector_takes_the_place_of_the_mesh() {
    let mut cluster = Cluster::start("reflector");
    for _ in 0..2 {
        cluster.add("");
    }
    cluster.wait_for("a mesh of two", |cluster| cluster.has_mesh(&[0, 1]));
    let reflector = cluster.add("[reflector]");
    cluster.wait_for("clients of the reflector", |cluster| {
        let names = |index| cluster.neighbors(index).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        names(0) == ["node-4"] && names(1) == ["node-4"] && names(reflector) == ["node-2", "node-3"]
    });
    cluster.wait_for("all routes by the reflector", |cluster| {
        (0..3).all(|index| cluster.routes(index).len() == 3)
    });
    for index in 0..2 {
        let log =
            std::fs::read_to_string(cluster.directory.join(format!("{}.log", index + 2))).expect("a log");
        let place = |text: &str| log.find(text).unwrap_or_else(|| panic!("no \"{text}\" in the log"));
        let (stays, goes) =
            ("sessions stay until others have taken their place", "others have taken its place neighbor=");
        assert!(place(stays) < place(goes), "node-{}", index + 2);
        assert!(!log.contains("held for long enough"), "node-{}", index + 2);
    }
}

#[test]
fn an_outage_of_etcd_changes_nothing_and_a_node_starts_without_it() {
    let mut cluster = Cluster::start("outage");
    for _ in 0..2 {
        cluster.add("");
    }
    cluster.wait_for("a mesh of two", |cluster| cluster.has_mesh(&[0, 1]));
    cluster.stop_etcd();
    cluster.wait_for("the outage to be noticed", |cluster| {
        (0..2).all(|index| cluster.ask(index, &["status"])["datastore"]["up"] == false)
    });
    assert!(cluster.has_mesh(&[0, 1]), "{}", cluster.report());
    cluster.kill_node(1);
    cluster.start_node(1);
    cluster.wait_for("the node to be back without etcd", |cluster| cluster.has_mesh(&[0, 1]));
    assert_eq!(cluster.ask(1, &["status"])["datastore"]["up"], false);
    cluster.restart_etcd();
    cluster.wait_for("etcd to be followed again", |cluster| {
        (0..2).all(|index| cluster.ask(index, &["status"])["datastore"]["up"] == true)
    });
    cluster.wait_for("the mesh with etcd", |cluster| cluster.has_mesh(&[0, 1]));
}

#[test]
fn calicos_nodes_form_a_mesh_of_what_is_in_etcd_and_follow_its_changes() {
    let mut cluster = Cluster::start("calico");
    let spec = json!({"listenPort": cluster.port, "bindMode": "NodeIP"});
    cluster.put_resource("BGPConfiguration", "default", &spec);
    cluster.put_resource("IPPool", "pods", &json!({"cidr": "192.168.0.0/16"}));
    for index in 0..2 {
        cluster.put_calico_node(index);
        cluster.add_calico();
    }
    cluster.wait_for("a mesh of two", |cluster| cluster.has_mesh(&[0, 1]));
    assert_eq!(cluster.neighbors(0)[0].0, "Mesh_127_0_0_3");

    cluster.put_calico_node(2);
    cluster.add_calico();
    cluster.wait_for("a mesh of three", |cluster| cluster.has_mesh(&[0, 1, 2]));
    let sessions = |cluster: &Cluster| cluster.ask(1, &["neighbors"])[0]["established_count"].clone();
    let before = sessions(&cluster);

    cluster.put_affinity(0, "192.168.99.0-26", true);
    cluster.wait_for("a block that was added", |cluster| {
        cluster.routes(1).contains(&"192.168.99.0/26".to_owned())
    });
    cluster.put_affinity(0, "192.168.99.0-26", false);
    cluster.wait_for("a block that was removed", |cluster| cluster.has_mesh(&[0, 1, 2]));

    cluster.put_resource("BGPPeer", "broken", &json!({"peerIP": "nowhere", "asNumber": 1}));
    cluster.wait_for("the broken object to be reported", |cluster| {
        let invalid = &cluster.ask(0, &["status"])["datastore"]["invalid"];
        invalid.as_array().is_some_and(|all| all.iter().any(|object| object["kind"] == "BGPPeer"))
    });
    cluster.put("/calico/resources/v3/projectcalico.org/nodes/node-4", None);
    cluster.wait_for("a node that was deleted to be forgotten", |cluster| cluster.has_mesh(&[0, 1]));
    assert_eq!(sessions(&cluster), before, "nobody else was reset");
}

#[test]
fn a_node_that_knows_nothing_yet_says_what_it_waits_for() {
    let mut cluster = Cluster::start("waiting");
    cluster.stop_etcd();
    let node = cluster.add("");
    cluster.wait_for("an answer", |cluster| {
        let output = cluster.output(node, &["status"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        !output.status.success() && text.contains("not started yet: waiting for the datastore")
    });
    cluster.restart_etcd();
    cluster.wait_for("a start", |cluster| cluster.ask(node, &["status"])["datastore"]["up"] == true);
}
