//! What holds for any data of a cluster: the order in which they come makes no difference, and nothing panics.

use bgp_speaker::cluster::calico::{Listing, LocalNode, Plan, Snapshot, plan};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Keys and values of a small cluster in which everything occurs.
fn cluster() -> Vec<(String, Value)> {
    let resource = |folder: &str, name: &str, spec: Value| {
        let key = format!("/calico/resources/v3/projectcalico.org/{folder}/{name}");
        (key, json!({"metadata": {"name": name, "labels": {"rack": "r1", "zone": name}}, "spec": spec}))
    };
    let mut data = vec![
        resource(
            "bgpconfigurations",
            "default",
            json!({
                "asNumber": 64512, "listenPort": 179, "bindMode": "NodeIP", "nodeMeshMaxRestartTime": "90s",
                "nodeMeshPassword": {"secretKeyRef": {"name": "a", "key": "b"}},
                "communities": [{"name": "pods", "value": "1:2"}, {"name": "big", "value": "1:2:3"}],
                "prefixAdvertisements": [{"cidr": "10.244.0.0/16", "communities": ["pods", "big", "3:4"]}],
                "serviceClusterIPs": [{"cidr": "10.96.0.0/16"}], "serviceExternalIPs": [{"cidr": "80.0.0.1/32"}],
                "serviceLoadBalancerIPs": [{"cidr": "80.1.0.0/24"}], "serviceLoadBalancerAggregation": "Disabled",
                "programClusterRoutes": "Enabled", "ipv4NormalRoutePriority": 1024, "ignoredInterfaces": ["eth*"]
            }),
        ),
        resource("bgpconfigurations", "node.n1", json!({"listenPort": 1790})),
        resource(
            "bgpfilters",
            "f",
            json!({
                "exportV4": [{
                    "action": "Accept", "cidr": "10.0.0.0/8", "matchOperator": "In",
                    "prefixLength": {"min": 16, "max": 24}, "source": "RemotePeers", "interface": "eth*",
                    "peerType": "eBGP", "communities": {"values": ["1:2"]}, "asPathPrefix": [1, "2"],
                    "priority": 512, "operations": [
                        {"addCommunity": {"value": "1:2:3"}}, {"prependASPath": {"prefix": [1]}},
                        {"setPriority": {"value": 9}}
                    ]
                }],
                "importV6": [{"action": "Reject"}]
            }),
        ),
        resource(
            "bgppeers",
            "a",
            json!({
                "nodeSelector": "rack == 'r1'", "peerIP": "10.0.9.9:1790", "asNumber": "65000.1", "filters": ["f"],
                "password": {"secretKeyRef": {"name": "a", "key": "b"}}, "reachableBy": "10.0.0.254",
                "ttlSecurity": 1, "keepaliveTime": "10s", "maxRestartTime": "10s", "nextHopMode": "Self",
                "localASNumber": 65001, "numAllowedLocalASNumbers": 1, "sourceAddress": "None"
            }),
        ),
        resource("bgppeers", "b", json!({"nodeSelector": "all()", "peerSelector": "zone in {'n2', 'n3'}"})),
        resource("bgppeers", "c", json!({"peerIP": "10.0.0.3", "asNumber": 64512})),
        resource("bgppeers", "d", json!({"localWorkloadSelector": "all()", "asNumber": 65009})),
        resource("ippools", "p1", json!({"cidr": "10.244.0.0/16", "ipipMode": "CrossSubnet"})),
        resource("ippools", "p2", json!({"cidr": "10.244.0.0/17", "vxlanMode": "Always"})),
        resource("ippools", "p3", json!({"cidr": "fd00:10::/48", "disableBGPExport": true})),
        resource("felixconfigurations", "default", json!({"programClusterRoutes": "Disabled"})),
        resource("clusterinformations", "default", json!({"calicoVersion": "v3.33", "datastoreReady": true})),
    ];
    for number in 1..6 {
        let mut spec = json!({
            "bgp": {"ipv4Address": format!("10.0.0.{number}/24"), "ipv6Address": format!("fd00::{number}/64")},
            "wireguard": {"interfaceIPv4Address": "10.244.9.9"}
        });
        if number == 5 {
            spec["bgp"]["routeReflectorClusterID"] = json!("1.0.0.1");
            spec["bgp"]["asNumber"] = json!(64513);
        }
        data.push(resource("nodes", &format!("n{number}"), spec));
        let block = format!("10.244.{number}.0-26");
        let affinity = json!({"state": "confirmed", "deleted": false});
        data.push((format!("/calico/ipam/v2/host/n{number}/ipv4/block/{block}"), affinity));
        let block_value = json!({
            "cidr": format!("10.244.{number}.0/26"), "affinity": format!("host:n{number}"), "allocations": [0, null, 1],
            "attributes": [{"secondary": {"node": "n1"}}, {"secondary": {"node": "n2", "type": "x"}}]
        });
        data.push((format!("/calico/ipam/v2/assignment/ipv4/block/{block}"), block_value));
    }
    data
}

fn plan_of(data: &[(String, Value)], node: &str) -> Plan {
    let mut snapshot = Snapshot::new();
    for (revision, (key, value)) in (1..).zip(data) {
        _ = snapshot.put(key, value.to_string().as_bytes(), revision);
    }
    plan(&snapshot, &LocalNode::named(node)).expect("a plan")
}

/// Places in a JSON value: children of arrays and objects, by the order of a walk.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// Puts something else in place number `place`.
fn mutate(value: &mut Value, place: &mut usize, new: &Value) {
    if *place == 0 {
        *value = new.clone();
        *place = usize::MAX;
        return;
    }
    *place -= 1;
    let children: Vec<&mut Value> = match value {
        Value::Array(list) => list.iter_mut().collect(),
        Value::Object(map) => map.values_mut().collect(),
        _ => Vec::new(),
    };
    for child in children {
        if *place != usize::MAX {
            mutate(child, place, new);
        }
    }
}

fn anything() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[ -~]{0,20}",
        Just("10.0.0.1".to_owned()),
        Just("255.255.255.255/0".to_owned()),
        Just("::/0".to_owned()),
        Just("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".to_owned()),
        Just("[::1]:0".to_owned()),
        Just("99999h".to_owned()),
        Just("4294967295:4294967295:4294967295".to_owned()),
        Just("!(has(a) && (b in {'x'}))".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0u32..70000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn everything_in_the_cluster_is_readable() {
    let mut snapshot = Snapshot::new();
    for (key, value) in cluster() {
        _ = snapshot.put(&key, value.to_string().as_bytes(), 1);
    }
    assert_eq!(snapshot.problems(), []);
}

proptest! {
    #[test]
    fn the_order_in_which_data_come_makes_no_difference(data in Just(cluster()).prop_shuffle()) {
        for node in ["n1", "n3", "n5"] {
            let one = plan_of(&cluster(), node);
            let other = plan_of(&data, node);
            prop_assert_eq!(&one, &other);
            let text = |plan: &Plan| serde_json::to_string(&plan.view(Vec::new())).expect("a document");
            prop_assert_eq!(text(&one), text(&other));
        }
    }

    #[test]
    fn a_full_reading_leads_where_events_lead(
        (data, keep) in (Just(cluster()).prop_shuffle(), proptest::collection::vec(any::<bool>(), 30))
    ) {
        // Own nodes stay, so that there is a plan.
        let keep = |index: usize, key: &str| key.contains("nodes/n1") || keep.get(index).copied().unwrap_or(true);
        let kept = data.iter().enumerate().filter(|(index, (key, _))| keep(*index, key));
        let kept: Vec<(String, Value)> = kept.map(|(_, pair)| pair.clone()).collect();

        let mut listed = Snapshot::new();
        for (key, value) in cluster() {
            _ = listed.put(&key, value.to_string().as_bytes(), 1);
        }
        let mut listing = Listing::default();
        for (key, value) in &kept {
            listed.put_listed(&mut listing, key, value.to_string().as_bytes(), 7);
        }
        _ = listed.finish_listing(listing, 9);
        prop_assert_eq!(listed.revision(), 9);

        let mut deleted = Snapshot::new();
        for (key, value) in cluster() {
            _ = deleted.put(&key, value.to_string().as_bytes(), 1);
        }
        for (key, _) in data.iter().filter(|pair| !kept.contains(pair)) {
            _ = deleted.delete(key, 8);
        }
        let local = LocalNode::named("n1");
        prop_assert_eq!(plan(&listed, &local), plan(&deleted, &local));
        prop_assert_eq!(plan(&listed, &local).expect("a plan"), plan_of(&kept, "n1"));
    }

    #[test]
    fn no_change_to_any_value_panics_or_makes_a_plan_that_cannot_be_carried_out(
        which in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        new in anything(),
    ) {
        let mut data = cluster();
        let at = which.index(data.len());
        let mut place = place.index(count(&data[at].1));
        mutate(&mut data[at].1, &mut place, &new);
        let mut snapshot = Snapshot::new();
        for (key, value) in &data {
            _ = snapshot.put(key, value.to_string().as_bytes(), 1);
        }
        for node in ["n1", "n5"] {
            if let Ok(plan) = plan(&snapshot, &LocalNode::named(node)) {
                prop_assert_eq!(plan.speaker_config().problems(), []);
                _ = plan.view(Vec::new());
            }
        }
        prop_assert!(snapshot.problems().len() <= 25);
    }

    #[test]
    fn no_bytes_under_any_key_panic(
        which in any::<prop::sample::Index>(),
        suffix in "[ -~]{0,12}",
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let data = cluster();
        let (key, value) = &data[which.index(data.len())];
        let mut snapshot = Snapshot::new();
        _ = snapshot.put(key, &bytes, 1);
        _ = snapshot.put(&format!("{key}{suffix}"), value.to_string().as_bytes(), 2);
        _ = snapshot.put_endpoint_status(&suffix, &bytes);
        _ = snapshot.apply_kubernetes(&bgp_speaker::cluster::kubernetes::ObjectChange::Put(bytes));
        _ = plan(&snapshot, &LocalNode::named("n1"));
        _ = snapshot.delete(&format!("{key}{suffix}"), 3);
    }
}
