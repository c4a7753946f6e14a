use super::*;
use crate::cluster::Entry;
use crate::cluster::registry::node_key;
use crate::daemon::Program;
use crate::daemon::desired::{Desired, DesiredError};
use crate::daemon::file::{FileConfig, Surroundings};
use crate::speaker::Speaker;
use serde_json::json;
use std::path::PathBuf;

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

#[test]
fn nothing_is_desired_before_the_datastore_was_read() {
    let file = registry_file();
    let mut model = model(&file);
    assert_eq!(model.desired(&file.speaker), Err(ModelError::NotRead));
    assert!(!model.update(&Update::Down { reason: "no".to_owned() }));
    assert_eq!(model.desired(&file.speaker), Err(ModelError::NotRead));
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
    let view = model.view(&file.speaker);
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
         [etcd]\nendpoints = [\"http://127.0.0.1:1\"]\ncache = \"off\"\n",
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
    desired.update(&Update::Listed { entries, revision: 6 }).await.unwrap();
    assert_eq!(neighbors().await, [("node-b".to_owned(), false), ("node-c".to_owned(), true)]);
    let gone = Entry { value: None, ..registered("node-c", "") };
    desired.update(&Update::Changed { changes: vec![gone], revision: 7 }).await.unwrap();
    assert_eq!(neighbors().await, [("node-b".to_owned(), false)]);
    let revisions = desired.datastore().map(|view| (view.up, view.revision));
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
    let mut datastore = Datastore::start(file.etcd.as_ref().expect("[etcd]"), &model);
    datastore.first_state(&mut model, &file.speaker).await;
    assert_eq!(model.desired(&file.speaker).unwrap().neighbors.len(), 1);
    let view = model.view(&file.speaker);
    assert!(!view.up && view.last_error.is_some(), "{view:?}");
    std::fs::remove_dir_all(directory).unwrap();
}
