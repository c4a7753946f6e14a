//! Routes that other programs put into the kernel of a Calico node: who is told of them, as which, and who is not.

use std::time::Instant;

use bgp_lab::calico::Stage;
use bgp_lab::harness::lab_test;
use bgp_lab::route_watch::RouteWatch;
use bgp_lab::{Daemon, Lab, LabError, Namespace, kernel, secs, wait_until};
use ipnet::IpNet;
use serde_json::Value;

/// In the pool, and in nobody's block.
const BORROWED: &str = "192.168.200.7/32";
const BORROWED_V6: &str = "fd00:10:244:200::7/128";
/// In node-a's own block.
const OWN: &str = "192.168.1.70/32";
const NORMAL: u64 = 2_147_482_623;
const ELEVATED: u64 = 2_147_483_135;

#[test]
fn a_calico_node_announces_what_felix_puts_into_its_kernel() {
    lab_test("calico-kernel", |lab: &Lab| {
        let mut stage = Stage::new(lab)?;
        for (name, number) in [("node-a", 1), ("node-b", 2)] {
            stage.join(name, number, false)?;
            stage.start(name)?;
        }
        stage.wait_ours()?;
        let felix = stage.node("node-a").namespace.clone();
        felix.ip("link add cali7 type veth peer name pod7
             link set cali7 up
             link set pod7 up")?;
        borrowed_addresses(&mut stage, &felix)?;
        inside_an_own_block(&mut stage, &felix)?;
        what_stays(&mut stage, &felix)?;
        as_the_datastore_says(&mut stage, &felix)?;
        over_a_restart(lab, &mut stage, &felix)?;
        thousands_at_once(&mut stage, &felix)
    });
}

/// The LOCAL_PREF with which node-b knows a prefix.
fn known(stage: &mut Stage<'_>, prefix: &str) -> Result<Option<u64>, String> {
    let routes = stage.ask("node-b", &format!("routes {prefix}")).map_err(|error| error.to_string())?;
    let routes = routes.as_array().cloned().unwrap_or_default();
    Ok(routes.iter().find(|route| route["prefix"] == *prefix).and_then(|route| route["local_pref"].as_u64()))
}

fn wait_known(stage: &mut Stage<'_>, prefix: &str, expected: Option<u64>) -> Result<(), LabError> {
    wait_until(&format!("node-b to know {prefix} with LOCAL_PREF {expected:?}"), secs(20), || {
        let seen = known(stage, prefix)?;
        if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
    })
}

/// Of these prefixes node-b knows nothing, although it knows of what came after them.
fn never_known(stage: &mut Stage<'_>, felix: &Namespace, prefixes: &[&str]) -> Result<(), LabError> {
    felix.ip("route add 192.168.222.222/32 dev cali7 proto boot")?;
    wait_known(stage, "192.168.222.222/32", Some(NORMAL))?;
    for prefix in prefixes {
        assert_eq!(known(stage, prefix).ok(), Some(None), "{prefix}");
    }
    felix.ip("route del 192.168.222.222/32 dev cali7")?;
    wait_known(stage, "192.168.222.222/32", None)
}

/// What node-b's kernel has for a prefix.
fn in_kernel(stage: &Stage<'_>, prefix: &str) -> Result<Option<String>, LabError> {
    let prefix: IpNet = prefix.parse().expect("a prefix");
    let routes = kernel::routes(&stage.node("node-b").namespace, kernel::PROTOCOL)?;
    Ok(routes.iter().find(|route| route.prefix == prefix).map(ToString::to_string))
}

fn borrowed_addresses(stage: &mut Stage<'_>, felix: &Namespace) -> Result<(), LabError> {
    felix.ip(&format!(
        "route add {BORROWED} dev cali7 proto boot scope link metric 1024
         route add {BORROWED_V6} dev cali7 proto boot metric 1024"
    ))?;
    wait_known(stage, BORROWED, Some(NORMAL))?;
    wait_known(stage, BORROWED_V6, Some(NORMAL))?;
    let via = format!("{BORROWED} via {} dev eth0 proto 12", stage.node("node-a").v4);
    wait_until("node-b's kernel to have the way", secs(10), || {
        let seen = in_kernel(stage, BORROWED).map_err(|error| error.to_string())?;
        if seen.as_ref() == Some(&via) { Ok(()) } else { Err(format!("{seen:?}")) }
    })?;
    // Told as what it is, where it is from; what was learned and written is never taken back in.
    let explained = stage.ask("node-a", &format!("explain {BORROWED}"))?;
    let route = &explained["paths"][0];
    assert_eq!(
        (route["from"].as_str(), route["kernel"]["interface"].as_str()),
        (Some("kernel"), Some("cali7"))
    );
    assert_eq!(explained["kernel"], Value::Array(Vec::new()), "and it is never written");
    let of_b = stage.ask("node-b", "routes")?;
    let from_kernel = of_b.as_array().into_iter().flatten().filter(|route| route["from"] == "kernel");
    assert_eq!(from_kernel.count(), 0, "{of_b}");
    let status = stage.ask("node-a", "status")?;
    assert_eq!(status["kernel_import"]["routes"], 2);

    felix.ip(&format!(
        "route del {BORROWED} dev cali7
         route del {BORROWED_V6} dev cali7"
    ))?;
    wait_known(stage, BORROWED, None)?;
    wait_known(stage, BORROWED_V6, None)
}

fn inside_an_own_block(stage: &mut Stage<'_>, felix: &Namespace) -> Result<(), LabError> {
    felix.ip(&format!("route add {OWN} dev cali7 proto boot scope link metric 1024"))?;
    never_known(stage, felix, &[OWN])?;
    felix.ip(&format!("route add {OWN} dev cali7 proto boot scope link metric 512"))?;
    wait_known(stage, OWN, Some(ELEVATED))?;
    felix.ip(&format!("route del {OWN} dev cali7 metric 512"))?;
    wait_known(stage, OWN, None)?;
    felix.ip(&format!("route del {OWN} dev cali7 metric 1024"))
}

/// Felix's routes into tunnels, until the device has another name; the kernel's own; what is in no pool.
fn what_stays(stage: &mut Stage<'_>, felix: &Namespace) -> Result<(), LabError> {
    for device in ["vxlan.calico", "x.cali", "bpfin.cali", "tunl0"] {
        felix.ip(&format!(
            "link add {device} type veth peer name other0
             link set {device} up
             route add {BORROWED} dev {device} proto 80 scope link"
        ))?;
        never_known(stage, felix, &[BORROWED])?;
        felix.ip(&format!("link set {device} name plain0"))?;
        wait_known(stage, BORROWED, Some(NORMAL))?;
        felix.ip("link del plain0")?;
        wait_known(stage, BORROWED, None)?;
    }
    felix.ip(&format!(
        "route add {BORROWED} dev cali7 proto kernel
         route add 192.168.201.0/26 dev cali7 proto 12
         route add 10.77.0.0/16 dev cali7 proto static
         route add default dev cali7 proto static"
    ))?;
    never_known(stage, felix, &[BORROWED, "192.168.201.0/26", "10.77.0.0/16", "0.0.0.0/0"])?;
    felix.ip(&format!(
        "route del {BORROWED} dev cali7
         route del 10.77.0.0/16
         route del default"
    ))
}

/// The datastore says who uses an address. Once Felix has had a route for it, that is what counts.
fn as_the_datastore_says(stage: &mut Stage<'_>, felix: &Namespace) -> Result<(), LabError> {
    let lent = "192.168.2.99";
    let (address, prefix) = (lent.parse().expect("an address"), format!("{lent}/32"));
    stage.data.assign(&stage.etcd, address, Some("node-a"))?;
    wait_known(stage, &prefix, Some(NORMAL))?;
    felix.ip(&format!("route add {prefix} dev cali7 proto boot metric 512"))?;
    wait_known(stage, &prefix, Some(ELEVATED))?;
    felix.ip(&format!("route del {prefix} dev cali7"))?;
    wait_known(stage, &prefix, None)?;
    stage.data.assign(&stage.etcd, address, None)
}

/// A restart takes nothing out of a neighbour's kernel, and what has changed meanwhile is told.
fn over_a_restart(lab: &Lab, stage: &mut Stage<'_>, felix: &Namespace) -> Result<(), LabError> {
    let other = "192.168.200.8/32";
    felix.ip(&format!(
        "route add {BORROWED} dev cali7 proto boot
         route add {other} dev cali7 proto boot"
    ))?;
    for prefix in [BORROWED, other] {
        wait_known(stage, prefix, Some(NORMAL))?;
    }
    let mut watch = RouteWatch::start(lab, &stage.node("node-b").namespace, "over-a-restart")?;
    stage.our("node-a").stop();
    felix.ip(&format!("route del {other} dev cali7"))?;
    stage.start("node-a")?;
    wait_known(stage, other, None)?;
    stage.wait_ours()?;
    wait_known(stage, BORROWED, Some(NORMAL))?;
    let removed = watch.removed(kernel::PROTOCOL)?;
    assert_eq!(removed, [other.parse::<IpNet>().expect("a prefix")], "nothing else was ever gone");
    Ok(())
}

fn thousands_at_once(stage: &mut Stage<'_>, felix: &Namespace) -> Result<(), LabError> {
    const COUNT: usize = 5000;
    let all = |verb: &str| -> String {
        let route = |i: usize| {
            format!("route {verb} 192.168.{}.{}/32 dev cali7 proto boot\n", 128 + i / 250, i % 250)
        };
        (0..COUNT).map(route).collect()
    };
    let wait_count = |stage: &mut Stage<'_>, expected: u64| {
        wait_until(&format!("node-b to have {expected} routes of node-a's kernel"), secs(20), || {
            let from = stage.node("node-a").v4.to_string();
            let neighbors = stage.ask("node-b", "neighbors").map_err(|error| error.to_string())?;
            let of_a =
                neighbors.as_array().into_iter().flatten().find(|neighbor| neighbor["address"] == from);
            let received = of_a.and_then(|of_a| of_a["prefixes"]["ipv4-unicast"]["received"].as_u64());
            if received == Some(expected) { Ok(()) } else { Err(format!("{received:?}")) }
        })
    };
    // Besides the block, and the address of the step before.
    felix.ip(&format!("route del {BORROWED} dev cali7"))?;
    wait_count(stage, 1)?;
    let begin = Instant::now();
    felix.ip(&all("add"))?;
    wait_count(stage, 1 + COUNT as u64)?;
    eprintln!("held: {COUNT} routes were added here and known there after {:?}", begin.elapsed());
    felix.ip(&all("del"))?;
    wait_count(stage, 1)
}
