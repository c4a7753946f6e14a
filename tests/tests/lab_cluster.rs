//! The lab itself: hosts, pods, kernel routes, pings and the load generator, with BIRD in the place of our daemons.

use std::net::Ipv4Addr;

use bgp_lab::cluster::{CLUSTER_AS, Host, finish_pings, none_lost, ping_all_pairs, start_pings};
use bgp_lab::daemons::bird::Bird;
use bgp_lab::harness::lab_test;
use bgp_lab::load::Load;
use bgp_lab::{Daemon, PeerRole, SpeakerSpec, holds_for, secs, wait_until};

#[test]
fn pods_of_two_bird_nodes_ping_each_other_until_the_link_is_cut() {
    lab_test("bird-cluster", |lab| {
        let switch = lab.switch("switch")?;
        let a = Host::new(lab, &switch, "node-a", 1)?;
        let b = Host::new(lab, &switch, "node-b", 2)?;
        let mut birds = Vec::new();
        for (host, other) in [(&a, &b), (&b, &a)] {
            let spec = host.spec().with_kernel().with_peer(other.node.v4, CLUSTER_AS, PeerRole::Peer);
            let mut bird = Bird::new(lab, &host.node, spec)?;
            bird.start()?;
            birds.push(bird);
        }
        wait_until("both kernels to hold both blocks", secs(15), || {
            a.check_kernel(&[&b])?;
            b.check_kernel(&[&a])
        })?;
        assert_eq!(ping_all_pairs(&[&a, &b], secs(5))?, 4);

        let pings = start_pings(&[&a, &b]);
        holds_for("both sessions", secs(1), || a.check_kernel(&[&b]))?;
        none_lost(&finish_pings(pings))?;

        let pings = start_pings(&[&a, &b]);
        b.node.namespace.ip("link set dev eth0 down")?;
        // The loss itself is what the counter must show.
        holds_for("the cut", secs(1), || Ok::<_, String>(()))?;
        assert!(none_lost(&finish_pings(pings)).is_err(), "a cut link must cost pings");
        Ok(())
    });
}

#[test]
fn the_load_generator_sees_fifty_clients_converge_over_bird() {
    lab_test("bird-load", |lab| {
        let switch = lab.switch("switch")?;
        let node = |name: &str, v4: &str, v6: &str| {
            lab.node(&switch, name, v4.parse().expect("an address"), v6.parse().expect("an address"))
        };
        let reflector = node("reflector", "10.10.0.1/16", "fd00:10::1/64")?;
        let clients = node("clients", "10.10.255.1/16", "fd00:10::2/64")?;
        let addresses: Vec<Ipv4Addr> = (0..50).map(|number| Ipv4Addr::new(10, 10, 1, number)).collect();
        let script: String =
            addresses.iter().map(|address| format!("address add {address}/16 dev eth0\n")).collect();
        clients.namespace.ip(&script)?;
        let spec = SpeakerSpec::on(&reflector, CLUSTER_AS);
        let spec =
            addresses.iter().fold(spec, |spec, client| spec.with_peer(*client, CLUSTER_AS, PeerRole::Client));
        let mut bird = Bird::new(lab, &reflector, spec)?;
        bird.start()?;
        let load = Load { asn: CLUSTER_AS, remote: reflector.v4, clients: addresses, prefixes_per_client: 4 };
        let outcome = load.run(&clients.namespace, secs(30))?;
        assert!(outcome.announcement_count >= 50 * 49 * 4, "{outcome:?}");
        assert!(outcome.all_up <= outcome.converged, "{outcome:?}");
        Ok(())
    });
}
