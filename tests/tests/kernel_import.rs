//! `[kernel_import]`: a host's routes announced by a daemon that a file configures.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use bgp_lab::daemons::ours::{Ours, Program};
use bgp_lab::harness::lab_test;
use bgp_lab::{
    Daemon, Lab, LabError, Node, PeerRole, RouteSpec, SpeakerSpec, kernel, secs, wait_established, wait_until,
};
use serde_json::Value;

const AS: u32 = 64512;
const IMPORT: &str = "
[kernel_import]
prefixes = [\"10.60.0.0/16+\", \"10.9.0.0/16+\", \"fd00:60::/32+\"]
networks = true
ignored_interfaces = [\"docker*\"]
";

/// A daemon's best paths: `prefix via NEXT HOP from WHOM`.
fn best(daemon: &Ours) -> Result<Vec<String>, String> {
    let routes = daemon.ask_json("routes").map_err(|error| error.to_string())?;
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let routes = routes.as_array().into_iter().flatten().filter(|route| route["best"] == true);
    let lines = routes.map(|route| {
        format!("{} via {} from {}", text(&route["prefix"]), text(&route["next_hop"]), text(&route["from"]))
    });
    Ok(lines.collect())
}

fn wait_best(daemon: &Ours, expected: &[&str]) -> Result<(), LabError> {
    wait_until(&format!("{} to have its routes", daemon.spec().router_id), secs(20), || {
        let seen = best(daemon)?;
        if seen == expected { Ok(()) } else { Err(seen.join("\n")) }
    })
}

/// The rows of `show route` on BIRD's socket, without the time.
fn shown_by_bird(folder: &Path) -> Result<Vec<String>, LabError> {
    let failed = |doing: &'static str| LabError::io(doing);
    let mut socket = UnixStream::connect(folder.join("bird.ctl")).map_err(failed("connecting"))?;
    socket.write_all(b"show route\n").map_err(failed("asking"))?;
    let lines =
        BufReader::new(socket).lines().map_while(Result::ok).take_while(|line| !line.starts_with("0000"));
    let rows = lines.filter(|line| line.contains('['));
    let words = |row: String| -> String {
        let words = row.split_whitespace().filter(|word| !word.ends_with(']'));
        words.collect::<Vec<_>>().join(" ")
    };
    Ok(rows.map(words).collect())
}

#[test]
fn a_hosts_routes_are_announced_ranked_and_left_alone() {
    lab_test("kernel-import", |lab: &Lab| {
        let switch = lab.switch("switch")?;
        let node = |name: &str, number: u8| {
            let v4 = format!("10.9.1.{number}/24").parse().expect("an address");
            lab.node(&switch, name, v4, format!("fd00:9:1::{number}/64").parse().expect("an address"))
        };
        let (host, other) = (node("host", 1)?, node("other", 2)?);
        host.namespace.ip("link add docker0 type veth peer name in0
             link set docker0 up
             link set in0 up
             address add 10.60.77.1/24 dev docker0
             route add 10.60.1.0/24 via 10.9.1.254 proto static
             route add blackhole 10.60.2.0/24 proto static
             route add fd00:60:1::/64 dev docker0 proto static
             route add 10.61.0.0/16 via 10.9.1.254 proto static
             route add default via 10.9.1.254 proto static")?;
        let spec = |own: &Node, peer: &Node| {
            SpeakerSpec::on(own, AS).with_peer(peer.v4, AS, PeerRole::Peer).with_kernel()
        };
        let ours = |node, spec| Ours::new(lab, node, Program::BgpSpeaker, spec);
        let at_host = ours(&host, spec(&host, &other))?;
        let bird = at_host.folder().to_owned();
        let socket = format!("[bird_status]\nipv4 = \"{}/bird.ctl\"\nipv6 = \"off\"\n", bird.display());
        let mut at_host = at_host.with_toml(&format!("{IMPORT}{socket}"));
        let mut at_other = ours(&other, spec(&other, &host))?;
        at_host.start()?;
        at_other.start()?;
        wait_established(&mut at_other, host.v4.into(), secs(20))?;
        let of_host = [
            "10.9.1.0/24 via 10.9.1.1 from 10.9.1.1",
            "10.60.1.0/24 via 10.9.1.254 from 10.9.1.1",
            "10.60.2.0/24 via 10.9.1.1 from 10.9.1.1",
            "fd00:60:1::/64 via fd00:9:1::1 from 10.9.1.1",
        ];
        wait_best(&at_other, &of_host)?;
        let from_kernel = [
            "10.9.1.0/24 via - from kernel",
            "10.60.1.0/24 via 10.9.1.254 from kernel",
            "10.60.2.0/24 via - from kernel",
            "fd00:60:1::/64 via - from kernel",
        ];
        wait_best(&at_host, &from_kernel)?;
        assert_eq!(kernel::routes(&host.namespace, kernel::PROTOCOL)?, [], "nothing is written back");

        assert_eq!(
            shown_by_bird(&bird)?,
            [
                "1007-10.9.1.0/24 dev eth0 [direct1 * (240)",
                "10.60.1.0/24 via 10.9.1.254 on eth0 [kernel1 * (10)",
                "10.60.2.0/24 blackhole [kernel1 * (10)",
            ]
        );

        // A neighbour's path is preferred, and goes to the kernel beside what is there.
        let via_other = RouteSpec::plain("10.60.1.0/24");
        at_other.announce(&via_other)?;
        let preferred = [
            "10.9.1.0/24 via - from kernel",
            "10.60.1.0/24 via 10.9.1.2 from 10.9.1.2",
            "10.60.2.0/24 via - from kernel",
            "fd00:60:1::/64 via - from kernel",
        ];
        wait_best(&at_host, &preferred)?;
        wait_until("both routes in the kernel", secs(10), || {
            let shown = host.namespace.ip_show("-4 -N route show 10.60.1.0/24").map_err(|e| e.to_string())?;
            let both = ["10.9.1.254 dev eth0 proto 4", "10.9.1.2 dev eth0 proto 12 metric 1024"];
            if both.iter().all(|line| shown.contains(line)) { Ok(()) } else { Err(shown) }
        })?;
        at_other.withdraw(via_other.prefix)?;
        wait_best(&at_host, &from_kernel)?;
        assert_eq!(kernel::routes(&host.namespace, kernel::PROTOCOL)?, [], "what was ours is gone again");

        // Off and on, while the session stays.
        let established =
            |daemon: &Ours| daemon.neighbor(other.v4.into()).map(|n| n["established_count"].clone());
        let before = established(&at_host)?;
        at_host = at_host.with_toml("");
        at_host.reload(spec(&host, &other))?;
        wait_best(&at_other, &[])?;
        at_host = at_host.with_toml(&IMPORT.replace("10.60.0.0/16+", "10.60.2.0/24"));
        at_host.reload(spec(&host, &other))?;
        wait_best(&at_other, &[of_host[0], of_host[2], of_host[3]])?;
        assert_eq!(established(&at_host)?, before);
        let text = at_host.ask("status")?;
        assert!(text.contains("5 routes of other programs, 3 networks"), "{text}");
        Ok(())
    });
}
