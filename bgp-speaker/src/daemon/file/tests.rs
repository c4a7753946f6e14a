use super::*;
use crate::cluster::calico::{LocalNode, RouterIdSource};
use crate::config::FibRules;
use crate::config::filter::{Action, Condition, Then};
use crate::config::{
    AnnouncementKind, Encapsulation, EncapsulationMode, NextHopMode, PolicyRef, PoolRule, Role,
};
use std::num::NonZeroU8;

mod mistakes;

fn surroundings(program: Program) -> Surroundings {
    Surroundings {
        program,
        directory: std::env::temp_dir(),
        host_name: "node-a".to_owned(),
        has_ipv6: true,
        environment: |_| None,
    }
}

fn parse(text: &str) -> Result<FileConfig, FileError> {
    FileConfig::parse(text, "bgp.toml", &surroundings(Program::BgpSpeaker))
}

fn problems(text: &str) -> Vec<String> {
    parse(text).expect_err("the file is wrong").lines()
}

#[test]
fn an_empty_file_is_a_working_speaker() {
    let config = parse("").unwrap();
    assert_eq!(config.speaker.asn.0, 64512);
    assert_eq!(config.speaker.listen, ["0.0.0.0:179", "[::]:179"].map(|a| a.parse().unwrap()));
    assert_eq!(config.speaker.hold_time_secs, 90);
    assert_eq!(config.speaker.cluster_id, None);
    assert_eq!(config.fib, None);
    assert_eq!(config.admin, AdminConfig::default());
    assert!(config.notes[0].contains("host name \"node-a\""), "{:?}", config.notes);
}

#[test]
fn a_host_without_ipv6_listens_on_ipv4() {
    let surroundings = Surroundings { has_ipv6: false, ..surroundings(Program::BgpSpeaker) };
    let config = FileConfig::parse("", "bgp.toml", &surroundings).unwrap();
    assert_eq!(config.speaker.listen, ["0.0.0.0:179".parse().unwrap()]);
}

#[test]
fn the_reflector_reflects_without_being_told() {
    let text = "router_id = \"10.0.0.1\"\n[[neighbors]]\naddress = \"10.0.0.2\"\nrole = \"client\"\n";
    let config = FileConfig::parse(text, "rr.toml", &surroundings(Program::RouteReflector)).unwrap();
    assert_eq!(config.speaker.cluster_id, Some("10.0.0.1".parse().unwrap()));
    assert_eq!(
        problems(text),
        ["bgp.toml:4:8: neighbors[0].role: \"client\" needs a [reflector] section (a cluster id)"]
    );
}

/// Uses every key once, with a value that is not its default.
const FULL: &str = r#"
asn = "1.10"
router_id = "10.0.0.9"
listen = ["10.0.0.1:1179"]
hold_time = 240
handover_time = 7
addresses = ["10.0.0.1", "fd00::1"]

[reflector]
cluster_id = "10.0.0.7"

[graceful_restart]
enabled = false
restart_time = 200
selection_deferral = 30

[[neighbors]]
address = "10.0.0.2"
name = "spine \"one\""
remote_as = 65546
role = "client"
families = ["ipv6-unicast"]
passive = true
enabled = false
port = 1790
local_address = "10.0.0.1"
ttl_security = 1
next_hop = "self"
max_prefixes = 100000
hold_time = 30
keepalive = 5
restart_time = 90
allow_own_as = 2
add_paths = "both"
add_paths_max = 4
import = "in"
export = ["in", "out"]

[[neighbors]]
address = "fd00::2"
remote_as = 65001
local_as = 65000
import = "reject"

[[listen_ranges]]
prefix = "10.0.0.0/8"
remote_as = 65546
role = "client"
max_sessions = 50

[announce]
blocks = ["192.168.1.0/26", "fd00:1::/64"]
routes = [
  { prefix = "10.96.0.0/12", med = 5, local_pref = 200, communities = ["64512:1"], large_communities = ["1:2:3"] },
]

[prefix_sets]
pods = ["10.244.0.0/16+", "fd00:10:244::/48{64,64}"]

[filters.in]
default = "next"

[[filters.in.rules]]
name = "everything"
match.family = "ipv4-unicast"
match.prefix = ["10.0.0.0/8{16,24}"]
match.not_prefix = ["10.1.0.0/16"]
match.prefix_set = "pods"
match.not_prefix_set = "pods"
match.next_hop = ["10.0.0.1", "fd00::/64"]
match.neighbor = ["10.0.0.0/24"]
match.session = "ebgp"
match.source = "peers"
match.as_path_start = [65001, "1.10"]
match.as_path_contains = [65002]
match.as_path_origin = [65003]
match.as_path_length = [1, 5]
match.communities = ["65000:1", "rt:65000:1"]
match.any_community = ["65000:*", "1:*:3"]
match.interface = ["cali*"]
match.local_pref = 100
match.med = [0, 10]
set.communities = ["65000:1"]
set.delete_communities = ["65000:*"]
set.add_communities = ["no-export", "1:2:3"]
set.local_pref = 200
set.med = "none"
set.prepend = [65001, 65001]
set.next_hop = "10.0.0.1"
then = "next"

[[filters.in.rules]]
then = "reject"

[filters.out]
rules = [{ match = { priority = [512, 1024] }, set = { priority = 512, med = 5, next_hop = "self" }, then = "accept" }]

[fib]
table = 100
protocol = 80
metric = 20
next_hops_max = 4

[[fib.pools]]
prefix = "192.168.0.0/16"
encapsulation = "ipip"
when = "cross-subnet"
device = "tunl1"
subnet = "10.0.0.0/24"

[[fib.pools]]
prefix = "172.16.0.0/16"
program = false

[kernel_import]
prefixes = ["10.244.0.0/16+", "fd00:10:244::/48{64,128}"]
networks = true
ignored_interfaces = ["cali*", "lo"]
normal_priority = 2000

[etcd]
endpoints = ["http://127.0.0.1:2379"]
model = "registry"
node = "a"
ca_file = "/etc/ca.pem"
cert_file = "/etc/cert.pem"
key_file = "/etc/key.pem"
username = "me"
cache = "off"
zone = "z"
lease = 7

[admin]
socket = "/tmp/admin.sock"
listen = "off"
per_neighbor_metrics = true

[bird_status]
ipv4 = "/tmp/bird.ctl"
ipv6 = "off"
"#;

#[test]
fn neighbours_of_one_address_differ_in_their_port_and_share_a_password() {
    let file = |name: &str| std::env::temp_dir().join(format!("bgp-password-{name}-{}", std::process::id()));
    for (name, password) in [("a", "one"), ("b", "two")] {
        std::fs::write(file(name), password).unwrap();
    }
    let text = |second: &str| {
        let secret = |name: &str| format!("password_file = \"{}\"\n", file(name).display());
        format!(
            "router_id = \"10.0.0.1\"\n[[neighbors]]\naddress = \"10.0.0.2\"\n{}\
             [[neighbors]]\naddress = \"10.0.0.2\"\nport = 1790\n{}",
            secret("a"),
            secret(second)
        )
    };
    let config = parse(&text("a")).unwrap();
    let ids: Vec<String> = config.speaker.neighbors.keys().map(ToString::to_string).collect();
    assert_eq!(ids, ["10.0.0.2:179", "10.0.0.2:1790"]);
    let problem = &problems(&text("b"))[..];
    for name in ["a", "b"] {
        std::fs::remove_file(file(name)).unwrap();
    }
    assert!(
        matches!(problem, [one] if one.contains("neighbors[1].password") && one.contains("one password")),
        "{problem:?}"
    );
}

#[test]
fn every_key_is_read() {
    let config = parse(FULL).unwrap();
    let speaker = &config.speaker;
    assert_eq!((speaker.asn.0, speaker.router_id.to_string().as_str()), (65546, "10.0.0.9"));
    assert_eq!(speaker.cluster_id.unwrap().to_string(), "10.0.0.7");
    assert_eq!(speaker.local_addresses.len(), 2);
    assert!(!speaker.graceful_restart.enabled);
    assert_eq!(speaker.graceful_restart.selection_deferral.as_secs(), 30);
    assert_eq!(config.handover_time.as_secs(), 7);
    let mut neighbors = speaker.neighbors.values();
    let (first, second) = (neighbors.next().unwrap(), neighbors.next().unwrap());
    assert_eq!(
        (first.address.to_string().as_str(), second.address.to_string().as_str()),
        ("10.0.0.2", "fd00::2")
    );
    assert_eq!(
        (first.name.as_str(), first.port, first.passive, first.enabled),
        ("spine \"one\"", 1790, true, false)
    );
    assert_eq!(first.options.next_hop, NextHopMode::SelfAddress);
    assert_eq!(first.options.role, Role::Client);
    assert_eq!(first.options.ttl_security, Some(1));
    assert_eq!(second.options.local_as.unwrap().0, 65000);
    assert_eq!(speaker.listen_ranges[0].max_sessions, 50);
    assert_eq!(first.options.export, PolicyRef::Filters(vec!["in".to_owned(), "out".to_owned()]));
    let (all, out) = (&speaker.filters["in"], &speaker.filters["out"]);
    assert_eq!((all.rules[0].conditions.len(), all.rules[0].actions.len()), (18, 7));
    assert_eq!((all.default, out.default), (Then::Next, Then::Reject));
    assert_eq!(out.rules[0].conditions, [Condition::LocalPref(2_147_482_623..=2_147_483_135)]);
    assert_eq!(out.rules[0].actions[0], Action::SetLocalPref(2_147_483_135));
    let service = &speaker.announcements[&"10.96.0.0/12".parse().unwrap()];
    assert_eq!(
        (service.kind, service.med, service.local_pref),
        (AnnouncementKind::Route, Some(5), Some(200))
    );
    assert_eq!(service.communities[0].to_string(), "64512:1");
    assert_eq!(speaker.announcements[&"fd00:1::/64".parse().unwrap()].kind, AnnouncementKind::Block);
    let tunnelled = PoolRule {
        program: true,
        encapsulation: Encapsulation::Ipip,
        when: EncapsulationMode::CrossSubnet,
        device: Some("tunl1".to_owned()),
        subnet: Some("10.0.0.0/24".parse().unwrap()),
    };
    let not_ours = PoolRule { program: false, ..PoolRule::default() };
    let pool = |prefix: &str, rule| (prefix.parse().unwrap(), rule);
    let pools = [pool("192.168.0.0/16", tunnelled), pool("172.16.0.0/16", not_ours)].into();
    let next_hops_max = NonZeroU8::new(4);
    assert_eq!(speaker.fib_rules, FibRules { pools, next_hops_max, ..FibRules::default() });
    assert_eq!(config.fib, Some(FibSection { table: 100, protocol: 80, metric: 20 }));
    let import = speaker.kernel_import.as_ref().unwrap();
    let expected =
        "10.244.0.0/16+ fd00:10:244::/48{64,128}, networks of interfaces but cali*, lo, normal priority 2000";
    assert_eq!(import.to_string(), expected);
    assert_eq!(config.etcd.as_ref().unwrap().model, EtcdModel::Registry);
    assert_eq!(config.admin.listen, None);
    assert_eq!(config.notes, Vec::<String>::new());
}

#[test]
fn the_effective_configuration_reads_back_as_the_same() {
    let password_file = std::env::temp_dir().join(format!("bgp-password-{}", std::process::id()));
    std::fs::write(&password_file, "hunter2\n").unwrap();
    let with_password = format!(
        "[[neighbors]]\naddress = \"10.0.0.2\"\npassword_file = \"{}\"\n[fib]\n",
        password_file.file_name().unwrap().display()
    );
    for text in ["", FULL, &with_password] {
        let config = parse(text).unwrap();
        let effective = config.effective();
        assert!(!effective.contains("hunter2"), "{effective}");
        let again = parse(&effective).unwrap_or_else(|error| panic!("{error}\n{effective}"));
        assert_eq!(again.speaker, config.speaker, "{effective}");
        assert_eq!(again.fib, config.fib);
        assert_eq!(again.etcd, config.etcd);
        assert_eq!(again.admin, config.admin);
        assert_eq!(again.password_files, config.password_files);
    }
    std::fs::remove_file(password_file).unwrap();
}

#[test]
fn calicos_environment_stands_in_for_absent_keys() {
    let with_environment = |environment| Surroundings { environment, ..surroundings(Program::BgpSpeaker) };
    let calico = with_environment(|name| match name {
        "ETCD_ENDPOINTS" => Some("http://a:2379, http://b:2379".to_owned()),
        "NODENAME" => Some("worker-7".to_owned()),
        "ETCD_PASSWORD" => Some("hunter2".to_owned()),
        "CALICO_ROUTER_ID" => Some("hash".to_owned()),
        "CALICO_K8S_NODE_REF" => Some("worker-7.example.org".to_owned()),
        "CALICO_ADVERTISE_CLUSTER_IPS" => Some("10.96.0.0/12".to_owned()),
        "CALICO_ENDPOINT_STATUS_PATH_PREFIX" => Some("/run/calico".to_owned()),
        "NAMESPACE" => Some("calico-system".to_owned()),
        _ => None,
    });
    let config = FileConfig::parse("[etcd]\n", "bgp.toml", &calico).unwrap();
    assert!(!config.effective().contains("hunter2"));
    let etcd = config.etcd.unwrap();
    assert_eq!(etcd.endpoints, ["http://a:2379", "http://b:2379"]);
    assert_eq!(etcd.node, "worker-7");
    let local = LocalNode {
        name: "worker-7".to_owned(),
        kubernetes_name: Some("worker-7.example.org".to_owned()),
        router_id: RouterIdSource::Hash,
        namespace: "calico-system".to_owned(),
        cluster_ips: Some("10.96.0.0/12".parse().unwrap()),
        uses_pod_cidrs: false,
    };
    assert_eq!(etcd.local, local);
    assert_eq!(etcd.endpoint_status_folder, Some(PathBuf::from("/run/calico/endpoint-status")));
    let wrong = with_environment(|name| (name == "CALICO_ROUTER_ID").then(|| "0.0.0.0".to_owned()));
    let text = "[etcd]\nendpoints = [\"http://a:2379\"]\n";
    assert_eq!(
        FileConfig::parse(text, "bgp.toml", &wrong).unwrap_err().lines(),
        [
            "bgp.toml:1:1: etcd.node: environment variable CALICO_ROUTER_ID: \"0.0.0.0\" is neither \"hash\" nor an \
          identifier such as 10.0.0.1"
        ]
    );
    assert_eq!(
        FileConfig::parse("[etcd]\nmodel = \"registry\"\n", "bgp.toml", &calico).unwrap_err().lines(),
        [
            "bgp.toml:1:1: etcd.endpoints: name at least one server, such as \"http://127.0.0.1:2379\"",
            "bgp.toml:2:9: etcd.model: the registry needs an address of this node: set `addresses`, or a specific \
             address in `listen`"
        ]
    );
}

#[test]
fn folders_beside_the_datastore_are_calicos() {
    let read = |keys: &str| {
        let text = format!("listen = [\"10.0.0.1:179\"]\n[etcd]\nendpoints = [\"http://a:2379\"]\n{keys}");
        parse(&text).map(|config| {
            let etcd = parse(&config.effective()).unwrap().etcd.unwrap();
            assert_eq!(Some(&etcd), config.etcd.as_ref());
            (etcd.kubernetes_folder, etcd.endpoint_status_folder)
        })
    };
    let default = Some(PathBuf::from("/var/run/calico/endpoint-status"));
    assert_eq!(read("").unwrap(), (None, default));
    assert_eq!(
        read("kubernetes_folder = \"/k8s\"\nendpoint_status_folder = \"/status\"").unwrap(),
        (Some(PathBuf::from("/k8s")), Some(PathBuf::from("/status")))
    );
    assert_eq!(read("endpoint_status_folder = \"off\"").unwrap(), (None, None));
    assert_eq!(read("model = \"registry\"").unwrap(), (None, None));
    let error = read("model = \"registry\"\nkubernetes_folder = \"/k8s\"").unwrap_err();
    assert!(error.lines()[0].contains("set model = \"calico\""), "{:?}", error.lines());
}

#[test]
fn a_missing_file_is_named() {
    let error = FileConfig::load(Path::new("/nonexistent/bgp.toml"), Program::BgpSpeaker).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nonexistent/bgp.toml: No such file or directory");
}

#[test]
fn text_of_any_kind_ends_in_a_configuration_or_a_list() {
    for text in
        ["\0", "[[[", "a.b.c.d = {}", "neighbors = [[]]", "é = \"é\"\nà = 1", "[announce]\nroutes = [1, {}]"]
    {
        if let Err(error) = parse(text) {
            assert!(!error.lines().is_empty(), "{text:?}");
        }
    }
}

#[test]
fn the_examples_are_right() {
    for (program, text) in [
        (Program::BgpSpeaker, include_str!("../../../examples/node.toml")),
        (Program::RouteReflector, include_str!("../../../examples/reflector.toml")),
    ] {
        let config = FileConfig::parse(text, "example.toml", &surroundings(program)).unwrap();
        assert!(!config.speaker.neighbors.is_empty());
        assert_eq!(config.notes, Vec::<String>::new());
    }
}

#[test]
fn the_examples_of_the_manual_and_the_readme_are_right() {
    for text in [
        include_str!("../../manual/datastore.rs"),
        include_str!("../../manual/filters.rs"),
        include_str!("../../../../README.md"),
    ] {
        let lines = text.lines().map(|line| line.strip_prefix("//!").unwrap_or(line).trim_start());
        let mut examples = Vec::new();
        let mut lines = lines.peekable();
        while let Some(line) = lines.next() {
            if line == "```toml" {
                let example: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
                examples.push(example.join("\n"));
            }
        }
        assert!(!examples.is_empty());
        for example in examples {
            let surroundings = surroundings(Program::RouteReflector);
            let config = FileConfig::parse(&example, "example", &surroundings);
            assert!(config.is_ok(), "{example}\n{:?}", config.map_err(|error| error.lines()));
        }
    }
}
