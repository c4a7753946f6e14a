//! The size that must already work: a thousand clients with ten prefixes each, reflected to everybody, within ten seconds.

use std::net::{IpAddr, Ipv4Addr};

use bgp_lab::daemons::ours::{Ours, Program};
use bgp_lab::harness::lab_test;
use bgp_lab::load::{Load, raise_file_limit};
use bgp_lab::{Daemon, SpeakerSpec, secs};

#[test]
fn a_thousand_clients_with_ten_prefixes_each_converge_within_ten_seconds() {
    lab_test("scale", |lab| {
        raise_file_limit(8192);
        let switch = lab.switch("switch")?;
        let v6 = |number: u8| format!("fd00:10::{number}/64").parse().expect("an address");
        let reflector = lab.node(&switch, "reflector", "10.10.0.1/16".parse().expect("an address"), v6(1))?;
        let clients = lab.node(&switch, "clients", "10.10.255.1/16".parse().expect("an address"), v6(2))?;
        // 10.10.1.0 and on: none is the reflector's.
        let addresses: Vec<Ipv4Addr> =
            (0..1000_u32).map(|number| Ipv4Addr::from(0x0a0a_0100 + number)).collect();
        let script: String =
            addresses.iter().map(|address| format!("address add {address}/16 dev eth0\n")).collect();
        clients.namespace.ip(&script)?;

        let spec = SpeakerSpec::on(&reflector, 64512);
        let mut ours = Ours::new(lab, &reflector, Program::RouteReflector, spec)?.with_toml(
            "\n[[listen_ranges]]\nprefix = \"10.10.0.0/16\"\nremote_as = 64512\nrole = \"client\"\n\
             max_sessions = 2000\nfamilies = [\"ipv4-unicast\", \"ipv6-unicast\"]\n",
        );
        ours.start()?;
        let load = Load { asn: 64512, remote: reflector.v4, clients: addresses, prefixes_per_client: 10 };
        let outcome = load.run(&clients.namespace, secs(10))?;
        println!(
            "1000 sessions up after {:.2} s, converged after {:.2} s, {} announcements received",
            outcome.all_up.as_secs_f64(),
            outcome.converged.as_secs_f64(),
            outcome.announcement_count
        );
        // The daemon still answers.
        let _ = ours.session(IpAddr::V4(load.clients[0]));
        ours.ask_json("status").map(drop)
    });
}
