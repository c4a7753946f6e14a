use super::*;
use crate::cluster::Entry;
use crate::cluster::cache::Cache;
use crate::cluster::folder::{FileChange, FileContent};
use crate::cluster::kubernetes::ObjectChange;
use crate::cluster::registry::node_key;
use crate::daemon::Program;
use crate::daemon::desired::{Desired, DesiredError};
use crate::daemon::file::{FileConfig, Surroundings};
use crate::speaker::Speaker;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

fn file(text: &str) -> FileConfig {
    let surroundings = Surroundings {
        program: Program::BgpSpeaker,
        directory: PathBuf::new(),
        host_name: "node-a".to_owned(),
        has_ipv6: true,
        environment: |_| None,
    };
    FileConfig::parse(text, "bgp.toml", &surroundings).unwrap_or_else(|error| panic!("{:?}", error.lines()))
}

fn registry_file() -> FileConfig {
    file(
        "router_id = \"10.0.0.1\"\nlisten = []\naddresses = [\"10.0.0.1\"]\n\
         [announce]\nblocks = [\"192.168.1.0/26\"]\n\
         [etcd]\nendpoints = [\"http://127.0.0.1:1\"]\nmodel = \"registry\"\ncache = \"off\"\n",
    )
}

fn entry(key: &str, value: &serde_json::Value, revision: i64) -> Entry {
    Entry { key: key.to_owned(), value: Some(value.to_string().into_bytes()), revision }
}

fn registered(name: &str, address: &str) -> Entry {
    entry(&node_key(name), &json!({"version": 1, "addresses": [address]}), 5)
}

fn model(file: &FileConfig) -> Model {
    Model::new(file.etcd.as_ref().expect("[etcd]"))
}

impl Model {
    fn update(&mut self, update: &Update) -> bool {
        self.take(&News::Datastore(update.clone()))
    }
}

fn not_read(what: &str) -> Result<crate::config::SpeakerConfig, ModelError> {
    Err(ModelError::NotRead { what: what.to_owned() })
}

#[test]
fn nothing_is_desired_before_the_datastore_was_read() {
    let file = registry_file();
    let mut model = model(&file);
    assert_eq!(model.desired(&file.speaker), not_read("the datastore"));
    assert!(!model.update(&Update::Down { reason: "no".to_owned() }));
    assert_eq!(model.desired(&file.speaker), not_read("the datastore: no"));
    model.update(&Update::Listed { entries: vec![], revision: 3 });
    assert_eq!(model.desired(&file.speaker), Ok(file.speaker.clone()));
}

#[test]
fn an_outage_changes_nothing_but_the_status() {
    let file = registry_file();
    let mut model = model(&file);
    let entries = vec![registered("node-b", "10.0.0.2"), entry(&node_key("bad"), &json!(7), 5)];
    assert!(model.update(&Update::Listed { entries, revision: 5 }));
    let before = model.desired(&file.speaker).unwrap();
    assert_eq!(before.neighbors.len(), 1);
    assert!(!model.update(&Update::Down { reason: "gone".to_owned() }));
    assert_eq!(model.desired(&file.speaker), Ok(before));
    let view = model.state().view();
    assert_eq!((view.up, view.revision, view.last_error.as_deref()), (false, 5, Some("gone")));
    assert_eq!(view.invalid[0].key, node_key("bad"));
}

/// What Calico would store for two nodes.
fn calico() -> Vec<Entry> {
    let node = |name: &str, address: &str| {
        let value = json!({
            "kind": "Node", "apiVersion": "projectcalico.org/v3", "metadata": {"name": name},
            "spec": {"bgp": {"ipv4Address": address}}
        });
        entry(&format!("/calico/resources/v3/projectcalico.org/nodes/{name}"), &value, 7)
    };
    let pool = |name: &str, cidr: &str| {
        let value = json!({
            "kind": "IPPool", "apiVersion": "projectcalico.org/v3", "metadata": {"name": name},
            "spec": {"cidr": cidr}
        });
        entry(&format!("/calico/resources/v3/projectcalico.org/ippools/{name}"), &value, 7)
    };
    vec![
        node("node-a", "10.0.0.1/24"),
        node("node-b", "10.0.0.2/24"),
        pool("one", "10.6.0.0/16"),
        pool("two", "10.7.0.0/16"),
    ]
}

#[test]
fn calicos_data_come_on_top_of_the_file() {
    let file = file(
        "router_id = \"10.0.0.1\"\n[[neighbors]]\naddress = \"10.9.9.9\"\nremote_as = 65001\n\
         [announce]\nblocks = [\"172.16.0.0/24\"]\n\
         [fib]\npools = [{ prefix = \"10.5.0.0/16\", program = false }, { prefix = \"10.6.0.0/16\", program = false }]\n\
         [etcd]\nendpoints = [\"http://127.0.0.1:1\"]\ncache = \"off\"\nendpoint_status_folder = \"off\"\n",
    );
    let mut model = model(&file);
    model.update(&Update::Listed { entries: vec![], revision: 6 });
    let error = model.desired(&file.speaker).unwrap_err();
    assert!(error.to_string().contains("has no Node node-a"), "{error}");
    assert!(model.update(&Update::Listed { entries: calico(), revision: 7 }));
    let config = model.desired(&file.speaker).unwrap();
    let names: Vec<String> = config.neighbors.values().map(crate::config::Neighbor::display_name).collect();
    assert_eq!(names, ["Mesh_10_0_0_2", "10.9.9.9"]);
    let programmed: Vec<String> =
        config.fib_rules.pools.iter().map(|(pool, rule)| format!("{pool} {}", rule.program)).collect();
    assert_eq!(programmed, ["10.5.0.0/16 false", "10.6.0.0/16 false", "10.7.0.0/16 true"]);
    assert!(config.announcements.contains_key(&"172.16.0.0/24".parse().unwrap()));
    // What the kernel has is for the cluster's sessions: the file's neighbour would be told the host's default route.
    let import = config.kernel_import.as_ref().unwrap().to_string();
    assert!(
        import.starts_with("10.6.0.0/16+ 10.7.0.0/16+, networks of interfaces but cali*, kube-ipvs*"),
        "{import}"
    );
    let exports: Vec<String> = config.neighbors.values().map(|n| n.options.export.to_string()).collect();
    assert_eq!(exports, ["Calico/export/ipv4-unicast", "file/not-from-the-kernel"]);
    let mut of_file = file.speaker.clone();
    of_file.kernel_import = Some(crate::config::KernelImport::default());
    let config = model.desired(&of_file).unwrap();
    assert_eq!(config.kernel_import, of_file.kernel_import, "the file's own");
    assert_eq!(config.neighbors.values().last().unwrap().options.export, crate::config::PolicyRef::Accept);
    let gone = Entry { value: None, revision: 8, ..calico().remove(0) };
    assert!(model.update(&Update::Changed { changes: vec![gone], revision: 8 }));
    assert!(model.desired(&file.speaker).is_err(), "the last desired state stays in force");
}

#[tokio::test]
async fn news_change_the_speaker_and_what_the_api_changed_stays() {
    let file = registry_file();
    let mut model = model(&file);
    model.update(&Update::Listed { entries: vec![registered("node-b", "127.0.0.2")], revision: 5 });
    let base = model.desired(&file.speaker).unwrap();
    let speaker = Speaker::builder().config(base.clone()).start().await.unwrap();
    let handle = speaker.handle();
    let mut desired = Desired::new(Program::BgpSpeaker, None, handle.clone(), file, Some(model), base);
    let neighbors = async || -> Vec<(String, bool)> {
        let config = handle.config().await.unwrap();
        config.neighbors.values().map(|n| (n.name.clone(), n.enabled)).collect()
    };
    desired.set_enabled("127.0.0.2".parse().unwrap(), false).await.unwrap();
    let entries = vec![registered("node-b", "127.0.0.2"), registered("node-c", "127.0.0.3")];
    desired.update(&News::Datastore(Update::Listed { entries, revision: 6 })).await.unwrap();
    assert_eq!(neighbors().await, [("node-b".to_owned(), false), ("node-c".to_owned(), true)]);
    let gone = Entry { value: None, ..registered("node-c", "") };
    desired.update(&News::Datastore(Update::Changed { changes: vec![gone], revision: 7 })).await.unwrap();
    assert_eq!(neighbors().await, [("node-b".to_owned(), false)]);
    let revisions = desired.datastore().map(|state| (state.is_up, state.revision));
    assert_eq!(revisions, Some((true, 7)));
    assert_eq!(desired.registered().map(std::collections::BTreeMap::len), Some(1));
    assert!(matches!(desired.reload().await, Err(DesiredError::NoFile)));
    assert_eq!(desired.plan().await.unwrap().steps, []);
}

#[tokio::test]
async fn without_the_datastore_its_last_content_is_used() {
    let mut file = registry_file();
    let directory = std::env::temp_dir().join(format!("bgp-first-state-{}", std::process::id()));
    let section = file.etcd.as_mut().expect("[etcd]");
    section.cache = Some(directory.join("cache"));
    let mut cache = Cache::new(directory.join("cache"), format!("{}, registry", section.node));
    let entries = vec![registered("node-b", "10.0.0.2")];
    cache.keep(&Update::Listed { entries, revision: 5 }).unwrap();
    let mut model = model(&file);
    let mut sources = Sources::start(file.etcd.as_ref().expect("[etcd]"), &model);
    let first = sources.first_state(&mut model, &file.speaker).await;
    assert_eq!(first.neighbors.len(), 1);
    let view = model.state().view();
    assert!(!view.up && view.last_error.is_some(), "{view:?}");
    std::fs::remove_dir_all(directory).unwrap();
}

/// A node of Calico's with everything beside the datastore.
fn file_with_folders() -> FileConfig {
    file(
        "[etcd]\nendpoints = [\"http://127.0.0.1:1\"]\ncache = \"off\"\n\
         kubernetes_folder = \"/k8s\"\nendpoint_status_folder = \"/status\"\n",
    )
}

fn objects(objects: &[serde_json::Value]) -> News {
    let changes = objects.iter().map(|object| ObjectChange::Put(object.to_string().into_bytes())).collect();
    News::Kubernetes(Ok(SourceNews { changes, problems: Vec::new() }))
}

fn status_file(json: &serde_json::Value) -> News {
    let content = FileContent::Is(json.to_string().into_bytes());
    News::EndpointStatus(FolderNews::Changed(vec![FileChange { name: "w".to_owned(), content }]))
}

#[test]
fn nothing_is_desired_before_every_source_was_read() {
    let listed = || News::Datastore(Update::Listed { entries: calico(), revision: 7 });
    let kubernetes = || objects(&[]);
    let status = || News::EndpointStatus(FolderNews::Changed(Vec::new()));
    let sources: [fn() -> News; 3] = [listed, kubernetes, status];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let file = file_with_folders();
        let mut model = model(&file);
        for index in &order[..2] {
            model.take(&sources[*index]());
            let error = model.settle(&file.speaker).unwrap_err();
            assert!(matches!(error, ModelError::NotRead { .. }), "{order:?}: {error}");
        }
        assert!(model.take(&sources[order[2]]()), "{order:?}: now there is a plan");
        assert_eq!(model.settle(&file.speaker).unwrap().neighbors.len(), 1, "{order:?}");
        assert!(model.state().problems.by_kind.is_empty(), "{order:?}");
    }
}

#[test]
fn a_source_that_cannot_be_read_holds_up_the_start_and_nothing_later() {
    let file = file_with_folders();
    let mut model = model(&file);
    model.take(&News::Datastore(Update::Listed { entries: calico(), revision: 7 }));
    model.take(&News::EndpointStatus(FolderNews::Changed(Vec::new())));
    let unreadable = || News::Kubernetes(Err("/k8s: no such folder".to_owned()));
    assert!(!model.take(&unreadable()));
    let expected = not_read("Kubernetes objects in /k8s: /k8s: no such folder");
    assert_eq!(model.settle(&file.speaker), expected);
    assert!(model.take(&objects(&[])));
    let config = model.settle(&file.speaker).unwrap();
    assert!(!model.take(&unreadable()), "what was read stays in force");
    assert_eq!(model.settle(&file.speaker), Ok(config));
    let view = model.state().view();
    assert_eq!(view.invalid.len(), 1);
    assert_eq!(
        (view.invalid[0].kind.as_str(), view.invalid[0].reason.as_str()),
        ("Source", "/k8s: no such folder")
    );
    model.take(&objects(&[]));
    assert_eq!(model.state().view().invalid, []);
}

#[test]
fn passwords_and_workloads_come_from_beside_the_datastore() {
    let resource = |kind: &str, name: &str, spec: serde_json::Value| {
        let key = format!("/calico/resources/v3/projectcalico.org/{}s/{name}", kind.to_lowercase());
        entry(&key, &json!({"kind": kind, "metadata": {"name": name}, "spec": spec}), 7)
    };
    let mut entries = calico();
    let password = json!({"secretKeyRef": {"name": "bgp-keys", "key": "mesh"}});
    entries.push(resource("BGPConfiguration", "default", json!({"nodeMeshPassword": password})));
    let workloads = json!({"localWorkloadSelector": "all()", "asNumber": 65001});
    entries.push(resource("BGPPeer", "tenant", workloads));
    let file = file_with_folders();
    let mut model = model(&file);
    model.take(&News::Datastore(Update::Listed { entries, revision: 7 }));
    model.take(&News::EndpointStatus(FolderNews::Changed(Vec::new())));
    model.take(&objects(&[]));
    let mesh = crate::config::NeighborId::from("10.0.0.2".parse::<std::net::IpAddr>().unwrap());
    let mesh_password = |model: &mut Model| {
        let config = model.settle(&file.speaker).unwrap();
        config.neighbors[&mesh].options.password.as_ref().map(|password| password.expose().to_owned())
    };
    assert_eq!(mesh_password(&mut model), None);
    let problems = model.state().view().invalid;
    assert!(
        problems[0].reason.contains("key mesh of Secret kube-system/bgp-keys is not there"),
        "{problems:?}"
    );
    let secret = |value: &str| {
        let metadata = json!({"namespace": "kube-system", "name": "bgp-keys"});
        objects(&[json!({"kind": "Secret", "metadata": metadata, "stringData": {"mesh": value}})])
    };
    assert!(model.take(&secret("hunter2")));
    assert_eq!(mesh_password(&mut model).as_deref(), Some("hunter2"));
    assert_eq!(model.state().view().invalid, []);
    assert!(!model.take(&secret("hunter2")), "nothing new");

    assert!(model.take(&status_file(&json!({"bgpPeerName": "tenant", "ipv4Nets": ["10.6.0.7/32"]}))));
    let config = model.settle(&file.speaker).unwrap();
    assert!(config.neighbors[&"10.6.0.7".parse::<std::net::IpAddr>().unwrap().into()].passive);
    let unreadable = FileContent::Unreadable("too large".to_owned());
    let change = FileChange { name: "w".to_owned(), content: unreadable };
    assert!(!model.take(&News::EndpointStatus(FolderNews::Changed(vec![change]))));
    assert_eq!(model.settle(&file.speaker), Ok(config));
    assert_eq!(model.state().view().invalid[0].reason, "too large; what it said last stays in force");
    let gone = FileChange { name: "w".to_owned(), content: FileContent::Gone };
    assert!(model.take(&News::EndpointStatus(FolderNews::Changed(vec![gone]))));
    assert_eq!(model.settle(&file.speaker).unwrap().neighbors.len(), 1);
}

#[test]
fn problems_are_put_together_once_for_each_change() {
    let file = registry_file();
    let mut model = model(&file);
    let entries = vec![registered("node-b", "10.0.0.2"), entry(&node_key("bad"), &json!(7), 5)];
    model.update(&Update::Listed { entries, revision: 5 });
    let is_same =
        |model: &mut Model, before: &DatastoreState| Arc::ptr_eq(&model.state().problems, &before.problems);
    let first = model.state();
    assert!(is_same(&mut model, &first));
    assert_eq!(first.problems.by_kind, [("Node", 1)].into());
    // It changes no session, and yet what is told.
    model.update(&Update::Changed { changes: vec![entry(&node_key("worse"), &json!([]), 6)], revision: 6 });
    assert!(!is_same(&mut model, &first));
    let second = model.state();
    assert_eq!(second.problems.by_kind, [("Node", 2)].into());
    assert!(is_same(&mut model, &second));
    model.settle(&file.speaker).unwrap();
    assert!(!is_same(&mut model, &second), "another plan may have other problems");
}
