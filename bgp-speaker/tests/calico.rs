//! What a node does with the data of a Calico cluster: one file in `calico/` per situation.
//!
//! A file has `data` (objects by short key), what the `plan` must be, and what comes `then`: further data, and the
//! steps and plan that follow. Of sessions, prefixes and pools the sets must be equal, of each of them the fields that
//! are given. Everything that a file says is looked at: an unknown word in it fails the test.

use bgp_speaker::SpeakerConfig;
use bgp_speaker::cluster::calico::{LocalNode, RouterIdSource, Snapshot, plan};
use bgp_speaker::cluster::kubernetes::{KubernetesObjects, ObjectChange};
use bgp_speaker::config::filter::{RouteSource, SessionKind};
use bgp_speaker::config::{Step, diff};
use bgp_speaker::engine::policy::{ChangedRoute, FilterRoute, Policy};
use bgp_speaker::proto::{AsPath, Asn, PathAttributes};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

struct Situation {
    local: LocalNode,
    six_affinities: bool,
    /// Not empty.
    stages: Vec<Stage>,
}

impl Situation {
    /// The words of the first stage stand among those of the situation.
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/calico").join(format!("{name}.json"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut words: Map<String, Value> =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let node = words.remove("node").unwrap_or(json!("kube-master"));
        let mut local = LocalNode::named(node.as_str().expect("a name"));
        local.router_id = match words.remove("router_id").as_ref().map(|id| id.as_str().expect("text")) {
            None => RouterIdSource::NodeAddress,
            Some("hash") => RouterIdSource::Hash,
            Some(address) => RouterIdSource::Fixed(address.parse().expect("an address")),
        };
        let six_affinities = words.remove("six_affinities") == Some(json!(true));
        let then = words.remove("then").unwrap_or(json!([]));
        let stages = [Value::Object(words)].into_iter().chain(then.as_array().expect("stages").clone());
        let stage = |json| serde_json::from_value(json).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { local, six_affinities, stages: stages.map(stage).collect() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stage {
    #[serde(default)]
    about: String,
    #[serde(default)]
    data: BTreeMap<String, Value>,
    #[serde(default)]
    delete: Vec<String>,
    #[serde(default)]
    kubernetes: Vec<Value>,
    #[serde(default)]
    delete_kubernetes: Vec<Value>,
    plan: Map<String, Value>,
    #[serde(default)]
    steps: Option<Vec<String>>,
    #[serde(default)]
    routes: Vec<RouteTest>,
}

/// What becomes of one route on one session.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteTest {
    session: String,
    way: Way,
    prefix: IpNet,
    /// Who told us; absent: we originate it, or with `dev` the kernel has it.
    from: Option<IpAddr>,
    /// Where it leads out, if the kernel has it.
    dev: Option<String>,
    /// The metric with which the kernel has it, instead of `local_pref`.
    metric: Option<u32>,
    #[serde(default)]
    communities: Vec<String>,
    #[serde(default)]
    as_path: Vec<u32>,
    local_pref: Option<u32>,
    passes: bool,
    /// As it leaves the filters.
    #[serde(default)]
    then: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    Export,
    Import,
}

impl RouteTest {
    fn check(&self, about: &str, config: &SpeakerConfig) {
        let neighbor = config.neighbors.values().find(|neighbor| neighbor.name == self.session);
        let options = &neighbor.unwrap_or_else(|| panic!("{about}: no session {}", self.session)).options;
        let policy = Policy::resolve(
            match self.way {
                Way::Export => &options.export,
                Way::Import => &options.import,
            },
            config,
        );
        let mut as_path = AsPath::default();
        self.as_path.iter().rev().for_each(|asn| as_path.prepend(Asn(*asn), 1));
        let attributes = PathAttributes {
            as_path: Some(as_path),
            local_pref: self.local_pref.or_else(|| {
                let import = config.kernel_import.as_ref().expect("routes are taken from the kernel");
                self.metric.and_then(|metric| import.local_pref(&self.prefix, metric).0)
            }),
            communities: self.communities.iter().map(|text| text.parse().expect("a community")).collect(),
            ..PathAttributes::default()
        };
        let is_internal = config.remote_as(options) == config.local_as(options);
        let route = FilterRoute {
            prefix: self.prefix,
            attributes: &attributes,
            next_hop: None,
            source: match (self.from, &self.dev) {
                (Some(_), _) => RouteSource::Peers,
                (None, Some(_)) => RouteSource::Kernel,
                (None, None) => RouteSource::Local,
            },
            neighbor: self.from,
            interface: self.dev.as_deref(),
            session: if is_internal { SessionKind::Internal } else { SessionKind::External },
        };
        let verdict = policy.evaluate(&route, |_| ());
        assert_eq!(verdict.is_accepted, self.passes, "{about}: {self:?}");
        let mut changed = ChangedRoute::new(attributes.clone());
        policy.actions(&verdict.changes).for_each(|action| changed.apply(action, &self.prefix));
        let attributes = changed.attributes;
        let actual = json!({
            "communities": attributes.communities.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "large_communities": attributes.large_communities.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "local_pref": attributes.local_pref,
            "as_path": attributes.as_path.map(|path| path.asns().map(|asn| asn.0).collect::<Vec<_>>()),
        });
        assert_fields(&format!("{about}: {self:?}"), &Value::Object(self.then.clone()), &actual);
    }
}

/// What most situations have: blocks of every kind and state.
const SIX_AFFINITIES: [(&str, &str); 6] = [
    ("10.0.0.0/30", "confirmed"),
    ("10.1.0.0/24", "confirmed"),
    ("10.2.0.1/32", "confirmed"),
    ("192.168.221.192/26", ""),
    ("192.168.221.64/26", "confirmed"),
    ("192.168.221.0/26", "pending"),
];

/// The datastore's key and value of a short key and what a file says about it.
fn stored(short: &str, value: &Value) -> (String, Vec<u8>) {
    let (kind, name) = short.split_once('/').unwrap_or_else(|| panic!("{short}: kind and name"));
    let folder = |cidr: &str| if cidr.contains(':') { "ipv6" } else { "ipv4" };
    let dashed = |cidr: &str| cidr.replacen('/', "-", 1);
    match kind {
        "affinity" => {
            let (node, cidr) = name.split_once('/').expect("node and block");
            let key = format!("/calico/ipam/v2/host/{node}/{}/block/{}", folder(cidr), dashed(cidr));
            let state = value.as_str().expect("a state");
            let json = if state.is_empty() { json!({}) } else { json!({"state": state, "deleted": false}) };
            (key, json.to_string().into_bytes())
        }
        "block" => {
            let key = format!("/calico/ipam/v2/assignment/{}/block/{}", folder(name), dashed(name));
            (key, value.to_string().into_bytes())
        }
        _ => {
            let key = format!("/calico/resources/v3/projectcalico.org/{}s/{name}", kind.to_lowercase());
            let Value::Object(mut spec) = value.clone() else {
                return (key, value.as_str().expect("an object, or raw text").as_bytes().to_vec());
            };
            let labels = spec.remove("labels").unwrap_or(json!({}));
            let status = spec.remove("status").unwrap_or(json!({}));
            let json = json!({
                "kind": kind, "apiVersion": "projectcalico.org/v3",
                "metadata": {"name": name, "labels": labels, "uid": "0d1f7f1e", "annotations": {}},
                "spec": spec, "status": status
            });
            (key, json.to_string().into_bytes())
        }
    }
}

/// Brings the data of a stage into the snapshot, in an order that `shuffle` decides.
fn feed(snapshot: &mut Snapshot, stage: &Stage, shuffle: u64) {
    let mut data: Vec<(&String, &Value)> = stage.data.iter().collect();
    data.sort_by_key(|(key, _)| {
        key.bytes().fold(shuffle, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()))
    });
    for (short, value) in data {
        if let Some(file) = short.strip_prefix("status/") {
            _ = snapshot.put_endpoint_status(file, value.to_string().as_bytes());
        } else {
            let (key, value) = stored(short, value);
            _ = snapshot.put(&key, &value, 1);
        }
    }
    for short in &stage.delete {
        if let Some(file) = short.strip_prefix("status/") {
            _ = snapshot.delete_endpoint_status(file);
        } else {
            _ = snapshot.delete(&stored(short, &json!("")).0, 2);
        }
    }
    for object in &stage.kubernetes {
        _ = snapshot.apply_kubernetes(&ObjectChange::Put(object.to_string().into_bytes()));
    }
    for object in &stage.delete_kubernetes {
        let name = KubernetesObjects::name_of(object.to_string().as_bytes()).expect("kind and name");
        _ = snapshot.apply_kubernetes(&ObjectChange::Delete(name));
    }
}

/// Is every field of `expected` the same in `actual`?
fn assert_fields(what: &str, expected: &Value, actual: &Value) {
    for (field, value) in expected.as_object().unwrap_or_else(|| panic!("{what}: fields")) {
        assert_eq!(actual.get(field), Some(value), "{what}: {field}");
    }
}

/// Lists of the plan by what names their elements.
fn by(list: &Value, name: &str) -> BTreeMap<String, Value> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let named =
        list.iter().map(|element| (element[name].as_str().expect("a name").to_owned(), element.clone()));
    let map: BTreeMap<String, Value> = named.collect();
    assert_eq!(map.len(), list.len(), "names are there once: {list:?}");
    map
}

fn assert_plan(what: &str, expected: &Map<String, Value>, actual: &Value, problems: &[String]) {
    for (field, expected) in expected {
        let what = format!("{what}: {field}");
        let name = match field.as_str() {
            "sessions" => "name",
            "originate" => "prefix",
            "fib" => "pool",
            "host_routes" => "prefix",
            "problems" => {
                let expected = expected.as_array().expect("a list");
                assert_eq!(problems.len(), expected.len(), "{what}: {problems:#?}");
                for part in expected.iter().map(|part| part.as_str().expect("text")) {
                    assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:#?}");
                }
                continue;
            }
            "error" => {
                assert_eq!(actual["error"], *expected, "{what}");
                continue;
            }
            "asn" | "router_id" | "listen" | "cluster_id" | "fib_rejected" | "node" | "kernel_import" => {
                assert_eq!(actual.get(field).unwrap_or(&json!([])), expected, "{what}");
                continue;
            }
            other => panic!("{other}: no part of a plan"),
        };
        let actual = by(actual.get(field).unwrap_or(&json!([])), name);
        let expected: &Map<String, Value> = expected.as_object().expect("names and fields");
        let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<BTreeSet<String>>();
        assert_eq!(names(actual.keys().collect()), names(expected.keys().collect()), "{what}");
        for (name, fields) in expected {
            assert_fields(&format!("{what}: {name}"), fields, &actual[name]);
        }
    }
}

/// The document of the plan with the steps from what was in force, and everything that is wrong.
fn planned(snapshot: &Snapshot, local: &LocalNode, in_force: &mut Option<SpeakerConfig>) -> Planned {
    let mut problems: Vec<String> = snapshot.problems().iter().map(ToString::to_string).collect();
    match plan(snapshot, local) {
        Err(error) => Planned { document: json!({"error": error.to_string()}), steps: Vec::new(), problems },
        Ok(plan) => {
            problems.extend(plan.problems.iter().map(ToString::to_string));
            let config = plan.speaker_config();
            assert_eq!(config.problems(), [], "what a plan asks for can be done");
            let nothing = SpeakerConfig::new("0.0.0.1".parse().expect("an address"));
            let steps = diff(in_force.as_ref().unwrap_or(&nothing), &config);
            *in_force = Some(config);
            let document = serde_json::to_value(plan.view(steps.clone())).expect("a document");
            Planned { document, steps, problems }
        }
    }
}

struct Planned {
    document: Value,
    steps: Vec<Step>,
    problems: Vec<String>,
}

fn check(situation: &Situation, shuffle: u64) {
    let mut snapshot = Snapshot::new();
    if situation.six_affinities {
        for (block, state) in SIX_AFFINITIES {
            let (key, value) = stored(&format!("affinity/kube-master/{block}"), &json!(state));
            _ = snapshot.put(&key, &value, 1);
        }
    }
    let mut in_force = None;
    for stage in &situation.stages {
        feed(&mut snapshot, stage, shuffle);
        let Planned { document, steps, problems } = planned(&snapshot, &situation.local, &mut in_force);
        assert_plan(&stage.about, &stage.plan, &document, &problems);
        for route in &stage.routes {
            route.check(&stage.about, in_force.as_ref().expect("a plan"));
        }
        if let Some(expected) = &stage.steps {
            let steps: Vec<String> = steps.iter().map(|s| format!("{} {}", s.action, s.target)).collect();
            assert_eq!(&steps, expected, "{}: steps", stage.about);
        }
    }
}

macro_rules! situations {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                let situation = Situation::read(stringify!($name));
                // The order in which the data come must make no difference.
                for shuffle in 0..4 {
                    check(&situation, shuffle);
                }
            }
        )*
    };
}

situations! {
    bad_data
    bgp_export
    borrowed_addresses
    cluster_routes
    communities
    duplicate_peers
    explicit_global
    explicit_global_external
    explicit_keep_next_hop
    explicit_local_as
    explicit_route_reflector
    explicit_route_reflector_by_address
    explicit_selectors
    filter_binding
    filter_rules
    idle_peers
    kernel_routes
    local_workloads
    mesh_dual_stack_restart_time
    mesh_hash
    mesh_ipip_always
    mesh_password
    mesh_without_reflectors
    next_hop_mode
    node_deletion
    node_missing
    password
    reachable_by
    reverse_peering_auto
    reverse_peering_manual
    service_routes
    service_routes_excluded_node
    service_routes_no_address
    services_single_addresses
    source_address_and_restart_time
    stale_affinities
    ttl_security
    wireguard
}

#[test]
fn every_file_is_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/calico");
    let files = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("a file").path());
    let files: BTreeSet<String> =
        files.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    assert_eq!(files, NAMES.iter().map(|name| (*name).to_owned()).collect());
}
