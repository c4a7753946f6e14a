//! Forwarding outlives the daemon: after SIGKILL and SIGTERM pods stay reachable; `drain` leaves nothing behind.
//!
//! Two nodes run our daemon, one runs BIRD, all three in a full mesh with routes in the kernel and a pod each.

use std::net::IpAddr;

use bgp_lab::cluster::{CLUSTER_AS, Host, finish_pings, none_lost, ping_all_pairs, start_pings};
use bgp_lab::daemons::bird::Bird;
use bgp_lab::daemons::ours::{Ours, Program};
use bgp_lab::harness::lab_test;
use bgp_lab::{Daemon, Lab, LabError, PeerRole, SpeakerSpec, holds_for, secs, wait_established, wait_until};

struct Mesh {
    a: Host,
    b: Host,
    c: Host,
    ours_a: Ours,
    ours_b: Ours,
    bird: Bird,
}

impl Mesh {
    fn new(lab: &Lab) -> Result<Mesh, LabError> {
        let switch = lab.switch("switch")?;
        let a = Host::new(lab, &switch, "node-a", 1)?;
        let b = Host::new(lab, &switch, "node-b", 2)?;
        let c = Host::new(lab, &switch, "node-c", 3)?;
        let spec = |host: &Host| -> SpeakerSpec {
            let others = [&a, &b, &c].into_iter().filter(|other| other.node.v4 != host.node.v4);
            others.fold(host.spec().with_kernel(), |spec, other| {
                spec.with_peer(other.node.v4, CLUSTER_AS, PeerRole::Peer)
            })
        };
        let mut ours_a = Ours::new(lab, &a.node, Program::BgpSpeaker, spec(&a))?;
        let mut ours_b = Ours::new(lab, &b.node, Program::BgpSpeaker, spec(&b))?;
        let mut bird = Bird::new(lab, &c.node, spec(&c))?;
        ours_a.start()?;
        ours_b.start()?;
        bird.start()?;
        let mesh = Mesh { a, b, c, ours_a, ours_b, bird };
        mesh.everything_works()?;
        Ok(mesh)
    }

    fn everything_works(&self) -> Result<(), LabError> {
        let (a, b, c) = (&self.a, &self.b, &self.c);
        wait_until("every node's kernel to hold every block", secs(30), || {
            a.check_kernel(&[b, c])?;
            b.check_kernel(&[a, c])?;
            c.check_kernel(&[a, b])
        })?;
        ping_all_pairs(&[a, b, c], secs(5)).map(drop)
    }

    /// Both neighbours of node-a hold its blocks, and so does every kernel.
    fn blocks_of_a_are_held(&mut self) -> Result<(), String> {
        let from_a: IpAddr = self.a.node.v4.into();
        for daemon in [&mut self.ours_b as &mut dyn Daemon, &mut self.bird] {
            let routes = daemon.routes_from(from_a).map_err(|error| error.to_string())?;
            for block in self.a.blocks() {
                if !routes.iter().any(|route| route.prefix == block) {
                    return Err(format!("{} has lost {block}", daemon.name()));
                }
            }
        }
        self.a.check_kernel(&[&self.b, &self.c])?;
        self.b.check_kernel(&[&self.a, &self.c])?;
        self.c.check_kernel(&[&self.a, &self.b])
    }

    fn sessions_of_a_are_up(&mut self) -> Result<(), LabError> {
        let (a, b, c): (IpAddr, IpAddr, IpAddr) =
            (self.a.node.v4.into(), self.b.node.v4.into(), self.c.node.v4.into());
        wait_established(&mut self.ours_b, a, secs(30))?;
        wait_established(&mut self.bird, a, secs(30))?;
        wait_established(&mut self.ours_a, b, secs(30))?;
        wait_established(&mut self.ours_a, c, secs(30)).map(drop)
    }
}

/// The daemon of node-a ends in some way, stays away for three seconds, and comes back; nothing notices.
fn restart_story(name: &str, end: impl FnOnce(&mut Ours)) {
    lab_test(name, |lab| {
        let mut mesh = Mesh::new(lab)?;
        let pings = start_pings(&[&mesh.a, &mesh.b, &mesh.c]);
        let before = mesh.a.kernel_routes()?;
        end(&mut mesh.ours_a);
        let a: IpAddr = mesh.a.node.v4.into();
        wait_until("node-b to notice", secs(10), || match mesh.ours_b.session(a) {
            Ok(session) if !session.is_established => Ok(()),
            Ok(session) => Err(session.detail),
            Err(error) => Err(error.to_string()),
        })?;
        holds_for("routes while the daemon of node-a is away", secs(3), || mesh.blocks_of_a_are_held())?;
        mesh.ours_a.start()?;
        mesh.sessions_of_a_are_up()?;
        holds_for("routes after it came back", secs(3), || mesh.blocks_of_a_are_held())?;
        wait_until("node-b to hold no stale route", secs(30), || {
            let routes = mesh.ours_b.ask_json("routes").map_err(|error| error.to_string())?;
            let is_stale = |route: &serde_json::Value| route["stale"] == true;
            match routes.as_array().into_iter().flatten().find(|route| is_stale(route)) {
                None => Ok(()),
                Some(route) => Err(route.to_string()),
            }
        })?;
        let after = mesh.a.kernel_routes()?;
        if before != after {
            return Err(LabError::Unexpected {
                what: "the kernel routes of node-a".into(),
                expected: format!("{before:?}"),
                seen: format!("{after:?}"),
            });
        }
        none_lost(&finish_pings(pings))
    });
}

#[test]
fn sigkill_costs_no_ping() {
    restart_story("sigkill", Ours::kill);
}

#[test]
fn sigterm_is_a_restart_and_costs_no_ping() {
    restart_story("sigterm", Ours::stop);
}

#[test]
fn drain_leaves_nothing_behind() {
    lab_test("drain", |lab| {
        let mut mesh = Mesh::new(lab)?;
        let pings = start_pings(&[&mesh.b, &mesh.c]);
        mesh.ours_a.drain()?;
        wait_until("node-a's kernel to hold no route of ours", secs(5), || {
            let left = mesh.a.kernel_routes().map_err(|error| error.to_string())?;
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })?;
        wait_until("its blocks to be gone from the other nodes", secs(5), || {
            for other in [&mesh.b, &mesh.c] {
                let routes = other.kernel_routes().map_err(|error| error.to_string())?;
                if let Some(route) = routes.iter().find(|route| mesh.a.blocks().contains(&route.prefix)) {
                    return Err(format!("{}: {route}", other.node.name));
                }
            }
            Ok(())
        })?;
        none_lost(&finish_pings(pings))
    });
}
