use super::*;
use crate::config::{Announcement, Role};
use bgp_proto::BgpId;
use std::net::IpAddr;

fn entry(name: &str, json: &str) -> Entry {
    Entry { key: node_key(name), value: Some(json.as_bytes().to_vec()), revision: 1 }
}

fn gone(name: &str) -> Entry {
    Entry { key: node_key(name), value: None, revision: 2 }
}

fn changed(changes: Vec<Entry>) -> Update {
    Update::Changed { changes, revision: 2 }
}

fn local(name: &str) -> LocalRecord {
    LocalRecord { name: name.to_owned(), zone: None }
}

/// The n-th node's configuration.
fn base(number: u8) -> SpeakerConfig {
    let mut config = SpeakerConfig::new([10, 0, 0, number].into());
    config.listen = vec![([10, 0, 0, number], 1790).into()];
    let block = Announcement::block(format!("192.168.{number}.0/26").parse().unwrap());
    config.announcements.insert(block.prefix, block);
    config
}

fn reflector(number: u8) -> SpeakerConfig {
    SpeakerConfig { cluster_id: Some(BgpId(7)), ..base(number) }
}

/// Everybody registered, with a zone each.
fn cluster(nodes: &[(&str, SpeakerConfig, Option<&str>)]) -> Registry {
    let mut registry = Registry::default();
    let entries = nodes.iter().map(|(name, config, zone)| {
        let local = LocalRecord { name: (*name).to_owned(), zone: zone.map(str::to_owned) };
        entry(name, &local.record(config).unwrap().to_json())
    });
    registry.update(&Update::Listed { entries: entries.collect(), revision: 5 });
    registry
}

/// (neighbour's name, role) of a node in a cluster.
fn neighbors(nodes: &[(&str, SpeakerConfig, Option<&str>)], of: &str) -> Vec<(String, Role)> {
    let (name, config, zone) = nodes.iter().find(|(name, ..)| *name == of).unwrap();
    let local = LocalRecord { name: (*name).to_owned(), zone: zone.map(str::to_owned) };
    let (config, problems) = cluster(nodes).plan(&local, config).unwrap();
    assert_eq!(problems, []);
    assert_eq!(config.problems(), []);
    let mut all: Vec<_> = config.neighbors.values().map(|n| (n.name.clone(), n.options.role)).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn names(neighbors: Vec<(String, Role)>) -> Vec<String> {
    neighbors.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn without_reflectors_all_speak_with_all() {
    let nodes = [("a", base(1), None), ("b", base(2), None), ("c", base(3), Some("z"))];
    assert_eq!(names(neighbors(&nodes, "a")), ["b", "c"]);
    assert_eq!(names(neighbors(&nodes, "c")), ["a", "b"]);
}

#[test]
fn with_reflectors_nodes_are_clients() {
    let nodes =
        [("a", base(1), None), ("b", base(2), None), ("r1", reflector(8), None), ("r2", reflector(9), None)];
    assert_eq!(names(neighbors(&nodes, "a")), ["r1", "r2"]);
    let of_reflector = neighbors(&nodes, "r1");
    let expected = [("a", Role::Client), ("b", Role::Client), ("r2", Role::Peer)];
    assert_eq!(of_reflector, expected.map(|(name, role)| (name.to_owned(), role)));
}

#[test]
fn both_ends_agree_on_who_speaks_with_whom() {
    let zones = [None, Some("x"), Some("y")];
    let nodes: Vec<(String, SpeakerConfig, Option<&str>)> = (0..12u8)
        .map(|n| {
            (format!("n{n}"), if n % 5 == 0 { reflector(n + 1) } else { base(n + 1) }, zones[n as usize % 3])
        })
        .collect();
    for count in 1..=nodes.len() {
        let nodes: Vec<_> = nodes[..count].iter().map(|(n, c, z)| (n.as_str(), c.clone(), *z)).collect();
        for (one, ..) in &nodes {
            for other in names(neighbors(&nodes, one)) {
                assert!(names(neighbors(&nodes, &other)).contains(&(*one).to_owned()), "{one} {other}");
            }
        }
    }
}

#[test]
fn a_zone_with_reflectors_does_without_others() {
    let nodes = [
        ("a", base(1), Some("x")),
        ("b", base(2), Some("y")),
        ("c", base(3), None),
        ("rx", reflector(8), Some("x")),
        ("rz", reflector(9), Some("z")),
    ];
    assert_eq!(names(neighbors(&nodes, "a")), ["rx"]);
    assert_eq!(names(neighbors(&nodes, "b")), ["rx", "rz"]);
    assert_eq!(names(neighbors(&nodes, "c")), ["rx", "rz"]);
    assert_eq!(names(neighbors(&nodes, "rz")), ["b", "c", "rx"]);
}

#[test]
fn a_session_uses_the_family_that_both_have() {
    let mut dual = base(1);
    dual.local_addresses = vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    let mut six = base(2);
    six.listen = vec!["[fd00::2]:179".parse().unwrap()];
    let registry = cluster(&[("a", dual.clone(), None), ("b", six.clone(), None), ("c", base(3), None)]);
    let (config, problems) = registry.plan(&local("a"), &dual).unwrap();
    assert_eq!(problems, []);
    let six_of_a = &config.neighbors[&"fd00::2".parse::<IpAddr>().unwrap().into()];
    assert_eq!((six_of_a.port, six_of_a.local_address), (179, Some("fd00::1".parse().unwrap())));
    let ports: Vec<u16> = config
        .neighbors
        .values()
        .filter(|n| n.address == "10.0.0.3".parse::<IpAddr>().unwrap())
        .map(|n| n.port)
        .collect();
    assert_eq!(ports, [1790]);
    let (config, problems) = registry.plan(&local("b"), &six).unwrap();
    assert_eq!(config.neighbors.len(), 1);
    assert_eq!(
        problems[0].to_string(),
        format!("{}: no address of a family that this node has; there is no session with it", node_key("c"))
    );
}

#[test]
fn another_as_is_an_external_neighbour() {
    let mut other = base(2);
    other.asn = bgp_proto::Asn(65001);
    let nodes = [("a", base(1), None), ("b", other, None)];
    let (config, _) = cluster(&nodes).plan(&local("a"), &nodes[0].1).unwrap();
    let neighbor = config.neighbors.values().next().unwrap();
    assert_eq!(neighbor.options.remote_as, Some(bgp_proto::Asn(65001)));
}

#[test]
fn what_the_configuration_says_of_a_neighbour_comes_first() {
    let mut own = base(1);
    let listed = crate::config::Neighbor::ibgp("10.0.0.2".parse().unwrap()).passive();
    own.neighbors.insert(listed.id(), listed.clone());
    let registry = cluster(&[("a", own.clone(), None), ("b", base(2), None)]);
    let (config, _) = registry.plan(&local("a"), &own).unwrap();
    assert_eq!(config.neighbors.values().collect::<Vec<_>>(), [&listed]);
}

#[test]
fn overlapping_blocks_and_borrowed_addresses_are_reported() {
    let mut other = base(2);
    let block = Announcement::block("192.168.1.32/27".parse().unwrap());
    other.announcements.insert(block.prefix, block);
    let nodes = [("a", base(1), None), ("b", other, None), ("double", base(1), None)];
    let (config, problems) = cluster(&nodes).plan(&local("a"), &nodes[0].1).unwrap();
    assert_eq!(config.neighbors.len(), 1);
    let texts: Vec<_> = problems.iter().map(|problem| problem.reason.as_str()).collect();
    assert!(texts.iter().any(|text| text.contains("192.168.1.32/27 overlaps 192.168.1.0/26")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("it has an address of this node")), "{texts:?}");
}

#[test]
fn records_come_go_and_are_left_out_when_they_are_wrong() {
    let mut registry = Registry::default();
    let good = r#"{"version":1,"addresses":["10.0.0.2"],"later":true}"#;
    assert!(registry.update(&changed(vec![entry("b", good)])));
    assert!(!registry.update(&changed(vec![entry("b", good)])), "nothing new");
    let record = &registry.nodes()["b"];
    assert_eq!((record.port, record.asn, record.role), (179, 64512, NodeRole::Node));
    for (json, expected) in [
        ("", "unreadable"),
        ("[]", "unreadable"),
        (r#"{"addresses":["10.0.0.2"]}"#, "missing field `version`"),
        (r#"{"version":2,"nodes":[]}"#, "version 2 of the schema; this program reads version 1"),
        (r#"{"version":1,"addresses":[]}"#, "there is none"),
        (r#"{"version":1,"addresses":["0.0.0.0"]}"#, "no address of a host"),
        (r#"{"version":1,"addresses":["10.0.0.2","10.0.0.3"]}"#, "more than one of a family"),
        (r#"{"version":1,"addresses":["10.0.0.2"],"port":0}"#, "port: 0"),
        (r#"{"version":1,"addresses":["10.0.0.2"],"asn":0}"#, "AS 0"),
        (r#"{"version":1,"addresses":["10.0.0.2"],"role":"boss"}"#, "unreadable"),
    ] {
        assert!(!registry.update(&changed(vec![entry("b", json)])), "{json}");
        assert_eq!(registry.nodes().len(), 1, "the one before stays");
        let problems = registry.problems();
        assert!(problems[0].reason.contains(expected), "{json}: {problems:?}");
        let listed = Update::Listed { entries: vec![entry("b", json)], revision: 3 };
        assert!(!registry.update(&listed), "{json}");
        assert_eq!((registry.nodes().len(), registry.problems().len()), (1, 1));
    }
    assert!(registry.update(&changed(vec![gone("b")])));
    assert_eq!((registry.nodes().len(), registry.problems().len()), (0, 0));
    for key in ["/bgp/v1/nodes/", "/bgp/v1/nodes/a/b", "/calico/x"] {
        let stranger = Entry { key: key.to_owned(), value: Some(good.into()), revision: 4 };
        assert!(!registry.update(&changed(vec![stranger])), "{key}");
    }
}

#[test]
fn a_list_forgets_what_it_does_not_show() {
    let mut registry = cluster(&[("a", base(1), None), ("b", base(2), None)]);
    let entries = vec![entry("a", &local("a").record(&base(1)).unwrap().to_json())];
    assert!(registry.update(&Update::Listed { entries: entries.clone(), revision: 9 }));
    assert!(!registry.update(&Update::Listed { entries, revision: 10 }));
    assert!(!registry.update(&Update::Down { reason: String::new() }));
    assert_eq!((registry.nodes().len(), registry.revision()), (1, 10));
}

#[test]
fn a_node_without_an_address_cannot_register() {
    let mut config = base(1);
    config.listen = vec!["0.0.0.0:179".parse().unwrap()];
    assert_eq!(local("a").record(&config), Err(RegistryError::NoAddress));
    config.local_addresses = vec!["10.0.0.1".parse().unwrap()];
    let record = local("a").record(&config).unwrap();
    assert_eq!(NodeRecord::from_json(record.to_json().as_bytes()), Ok(record));
}

#[test]
fn somebody_else_under_this_nodes_name_is_reported() {
    let registry = cluster(&[("a", base(7), None), ("b", base(2), None)]);
    let (config, problems) = registry.plan(&local("a"), &base(1)).unwrap();
    assert_eq!(config.neighbors.keys().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.2:1790"]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].key, node_key("a"));
    assert!(problems[0].reason.starts_with("a node with 10.0.0.7 is registered"), "{problems:?}");
    let mut moved = base(1);
    moved.local_addresses = vec!["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];
    assert_eq!(registry.plan(&local("a"), &moved).unwrap().1, [], "the same node, with one address more");
}
