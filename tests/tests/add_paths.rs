//! Several paths of one prefix (RFC 7911) with other daemons: what we tell BIRD, what BIRD and FRR tell us, and that in
//! a mesh, where everybody has only its own to tell, nothing else is installed than without.

use std::collections::BTreeSet;
use std::net::IpAddr;

use bgp_lab::cluster::{CLUSTER_AS, Host, ping_all_pairs};
use bgp_lab::daemons::bird::Bird;
use bgp_lab::daemons::frr::Frr;
use bgp_lab::daemons::ours::{Ours, Program};
use bgp_lab::harness::lab_test;
use bgp_lab::scenario::Maker;
use bgp_lab::{Daemon, Lab, LabError, Node, PeerRole, SpeakerSpec, secs, wait_established, wait_until};
use bgp_lab::{RouteSpec, cluster::host_node};

const SHARED: &str = "10.9.0.0/24";
const BIRD: Maker = |lab, node, spec| Ok(Box::new(Bird::new(lab, node, spec)?));
const FRR: Maker = |lab, node, spec| Ok(Box::new(Frr::new(lab, node, spec)?));
const OURS: Maker = |lab, node, spec| Ok(Box::new(Ours::new(lab, node, Program::BgpSpeaker, spec)?));
const OUR_REFLECTOR: Maker =
    |lab, node, spec| Ok(Box::new(Ours::new(lab, node, Program::RouteReflector, spec)?));

/// A reflector and two clients that announce the same prefix; and where a third one goes, which looks on.
struct Crowd {
    reflector: Box<dyn Daemon>,
    clients: Vec<Box<dyn Daemon>>,
    reflector_address: IpAddr,
    observer: Node,
    observer_spec: SpeakerSpec,
}

impl Crowd {
    fn new(lab: &Lab, reflector: Maker, client: Maker) -> Result<Crowd, LabError> {
        let switch = lab.switch("switch")?;
        let node = |name, number| host_node(lab, &switch, name, number);
        let (hub, observer) = (node("reflector", 1)?, node("observer", 4)?);
        let clients = [node("client-a", 2)?, node("client-b", 3)?];
        let spec = |node: &Node| SpeakerSpec::on(node, CLUSTER_AS).with_add_paths();
        let to_hub = |node: &Node| spec(node).with_peer(hub.v4, CLUSTER_AS, PeerRole::Peer);
        let all = clients.iter().chain([&observer]);
        let hub_spec =
            all.fold(spec(&hub), |spec, node| spec.with_peer(node.v4, CLUSTER_AS, PeerRole::Client));
        let mut crowd = Crowd {
            reflector: reflector(lab, &hub, hub_spec)?,
            clients: Vec::new(),
            reflector_address: hub.v4.into(),
            observer_spec: to_hub(&observer),
            observer,
        };
        crowd.reflector.start()?;
        for (node, local_pref) in clients.iter().zip([101, 102]) {
            let mut daemon = client(lab, node, to_hub(node).with_route(shared(local_pref)))?;
            daemon.start()?;
            crowd.clients.push(daemon);
        }
        Ok(crowd)
    }

    /// Paths are told, one is withdrawn, comes back, and changes.
    fn story(
        &mut self,
        observer: &mut dyn Daemon,
        mut seen: impl FnMut() -> Result<BTreeSet<u32>, String>,
    ) -> Result<(), LabError> {
        wait_established(observer, self.reflector_address, secs(30))?;
        let mut see = |expected: &[u32]| {
            wait_until("the observer to see these paths", secs(30), || match seen()? {
                found if found == expected.iter().copied().collect() => Ok(()),
                found => Err(format!("LOCAL_PREFs {found:?}, expected {expected:?}")),
            })
        };
        see(&[101, 102])?;
        self.clients[1].withdraw(shared(0).prefix)?;
        see(&[101])?;
        self.clients[1].announce(&shared(103))?;
        see(&[101, 103])?;
        self.clients[0].announce(&shared(104))?;
        see(&[103, 104])
    }
}

fn shared(local_pref: u32) -> RouteSpec {
    RouteSpec { local_pref: Some(local_pref), ..RouteSpec::plain(SHARED) }
}

#[test]
fn bird_is_told_all_paths_by_our_reflector() {
    lab_test("add-paths-to-bird", |lab| {
        let mut crowd = Crowd::new(lab, OUR_REFLECTOR, BIRD)?;
        let mut observer = Bird::new(lab, &crowd.observer, crowd.observer_spec.clone())?;
        observer.start()?;
        let looking = Bird::new(lab, &crowd.observer, crowd.observer_spec.clone())?;
        crowd.story(&mut observer, || {
            let text = looking.ask(&format!("show route all {SHARED}")).map_err(|error| error.to_string())?;
            let values = text.lines().filter_map(|line| line.trim().strip_prefix("BGP.local_pref: "));
            Ok(values.filter_map(|value| value.trim().parse().ok()).collect())
        })
    });
}

/// We look on at what a reflector tells.
fn observed_by_us(name: &str, reflector: Maker, client: Maker) {
    lab_test(name, |lab| {
        let mut crowd = Crowd::new(lab, reflector, client)?;
        let (node, spec) = (crowd.observer.clone(), crowd.observer_spec.clone());
        let mut observer = Ours::new(lab, &node, Program::BgpSpeaker, spec.clone())?;
        observer.start()?;
        let looking = Ours::new(lab, &node, Program::BgpSpeaker, spec)?;
        let from = crowd.reflector_address;
        crowd.story(&mut observer, || {
            let routes =
                looking.ask_json(&format!("routes --received {from}")).map_err(|error| error.to_string())?;
            let shared: Vec<_> =
                routes.as_array().into_iter().flatten().filter(|route| route["prefix"] == SHARED).collect();
            let ids: BTreeSet<u64> = shared.iter().filter_map(|route| route["path_id"].as_u64()).collect();
            if ids.len() != shared.len() {
                return Err(format!("path identifiers {ids:?} of {} paths", shared.len()));
            }
            let best: Vec<u64> = shared
                .iter()
                .filter(|route| route["best"] == true)
                .filter_map(|r| r["local_pref"].as_u64())
                .collect();
            let preferences: BTreeSet<u32> =
                shared.iter().filter_map(|route| route["local_pref"].as_u64()).map(|p| p as u32).collect();
            if best != preferences.last().map(|p| u64::from(*p)).into_iter().collect::<Vec<_>>() {
                return Err(format!("best {best:?} of {preferences:?}"));
            }
            Ok(preferences)
        })
    });
}

#[test]
fn bird_as_reflector_tells_us_all_paths() {
    observed_by_us("add-paths-from-bird", BIRD, OURS);
}

#[test]
fn frr_as_reflector_tells_us_all_paths() {
    observed_by_us("add-paths-from-frr", FRR, OURS);
}

#[test]
fn our_reflector_tells_us_all_paths_of_bird_and_back() {
    observed_by_us("add-paths-ours", OUR_REFLECTOR, BIRD);
}

#[test]
fn in_a_mesh_with_bird_the_kernels_hold_what_they_hold_without() {
    lab_test("add-paths-mesh", |lab| {
        let switch = lab.switch("switch")?;
        let hosts = [
            Host::new(lab, &switch, "node-a", 1)?,
            Host::new(lab, &switch, "node-b", 2)?,
            Host::new(lab, &switch, "node-c", 3)?,
        ];
        let spec = |host: &Host| -> SpeakerSpec {
            let others = hosts.iter().filter(|other| other.node.v4 != host.node.v4);
            others.fold(host.spec().with_kernel().with_add_paths(), |spec, other| {
                spec.with_peer(other.node.v4, CLUSTER_AS, PeerRole::Peer)
            })
        };
        let mut daemons: Vec<Box<dyn Daemon>> = Vec::new();
        for (host, make) in hosts.iter().zip([OURS, OURS, BIRD]) {
            let mut daemon = make(lab, &host.node, spec(host))?;
            daemon.start()?;
            daemons.push(daemon);
        }
        let [a, b, c] = &hosts;
        let looking = Ours::new(lab, &a.node, Program::BgpSpeaker, spec(a))?;
        for other in [b, c] {
            let agreed = || -> Result<(), String> {
                let neighbor = looking.neighbor(other.node.v4.into()).map_err(|error| error.to_string())?;
                let families = ["ipv4-unicast", "ipv6-unicast"];
                match families.iter().all(|family| neighbor["add_paths"][family] == "both") {
                    true => Ok(()),
                    false => Err(neighbor.to_string()),
                }
            };
            wait_until("the sessions to carry several paths both ways", secs(30), agreed)?;
        }
        wait_until("every node's kernel to hold every block", secs(30), || {
            a.check_kernel(&[b, c])?;
            b.check_kernel(&[a, c])?;
            c.check_kernel(&[a, b])
        })?;
        ping_all_pairs(&[a, b, c], secs(5)).map(drop)
    });
}
