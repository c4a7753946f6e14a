//! The nodes and pods of a Calico cluster, its etcd, and the checks that follow every step.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;

use super::bird::{BirdSession, CalicoBird};
use super::data::{CalicoData, CalicoNode, Change};
use crate::cluster::{host_node, none_lost};
use crate::daemon::Daemon;
use crate::daemons::ours::{Ours, Program};
use crate::error::LabError;
use crate::etcd::Etcd;
use crate::kernel::{self, PROTOCOL};
use crate::lab::{Lab, Node, Pod, Switch};
use crate::ping::{PingMesh, ping};
use crate::route_watch::RouteWatch;
use crate::spec::SpeakerSpec;
use crate::wait::{secs, wait_until};

/// How long a cluster may take until every kernel is right.
const PATIENCE: Duration = secs(40);
/// Where a node finds objects of Kubernetes.
const KUBERNETES: &str = "kubernetes";
/// The number of etcd's host, and so the last part of its address.
const ETCD_NUMBER: u8 = 60;

/// What speaks BGP on a node.
#[derive(Debug)]
pub enum Runs {
    /// Our daemon.
    Ours(Ours),
    /// BIRD.
    Bird(CalicoBird),
}

/// A node, what runs on it, and a watch on its routes.
#[derive(Debug)]
struct Member {
    node: Node,
    number: u8,
    runs: Runs,
    watch: RouteWatch,
    pod_count: u8,
}

/// A pod and where it is.
#[derive(Debug)]
struct Placed {
    pod: Pod,
    node: String,
    device: String,
}

/// A cluster under test.
#[derive(Debug)]
pub struct Stage<'a> {
    /// Where it all is.
    pub lab: &'a Lab,
    /// What connects the nodes.
    pub switch: Switch,
    /// The datastore.
    pub etcd: Etcd,
    /// What is in it.
    pub data: CalicoData,
    /// The pings between all pods.
    pub pings: PingMesh,
    /// How long our daemons keep neighbours that others replace, in seconds; for those that have not been made yet.
    pub handover_time: u64,
    /// Routes beyond those of the data that a node must have.
    pub extra_routes: BTreeMap<String, BTreeSet<String>>,
    members: BTreeMap<String, Member>,
    pods: Vec<Placed>,
    /// Pairs of nodes that this step parts for a while.
    parted: Vec<[String; 2]>,
    /// Nodes whose routes go from one daemon to the other in this step.
    handed_over: BTreeSet<String>,
}

/// The configuration file of our daemon on a Calico node; all else is in the datastore.
#[must_use]
pub fn node_file(etcd_url: &str, node: &str, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "[etcd]
endpoints = [\"{etcd_url}\"]
model = \"calico\"
node = \"{node}\"
cache = \"{folder}/datastore.cache\"
kubernetes_folder = \"{folder}/{KUBERNETES}\"

[fib]
protocol = 12

[admin]
socket = \"{folder}/admin.sock\"
"
    )
}

impl<'a> Stage<'a> {
    /// An etcd with an empty cluster in it.
    ///
    /// # Errors
    /// If something is missing or the system refuses.
    pub fn new(lab: &'a Lab) -> Result<Stage<'a>, LabError> {
        let switch = lab.switch("switch")?;
        let etcd = Etcd::start(lab, &host_node(lab, &switch, "etcd", ETCD_NUMBER)?)?;
        let mut data = CalicoData::default();
        data.found(&etcd)?;
        Ok(Stage {
            lab,
            switch,
            etcd,
            data,
            pings: PingMesh::start(),
            handover_time: 30,
            extra_routes: BTreeMap::new(),
            members: BTreeMap::new(),
            pods: Vec::new(),
            parted: Vec::new(),
            handed_over: BTreeSet::new(),
        })
    }

    /// A node joins, again if it has been there before: it registers, and takes a block of each family.
    ///
    /// # Errors
    /// If one of these fails.
    pub fn join(&mut self, name: &str, number: u8, is_bird: bool) -> Result<(), LabError> {
        if !self.members.contains_key(name) {
            let node = host_node(self.lab, &self.switch, name, number)?;
            let watch = RouteWatch::start(self.lab, &node.namespace, name)?;
            let runs =
                if is_bird { Runs::Bird(CalicoBird::new(self.lab, &node)?) } else { self.ours(&node)? };
            self.members.insert(name.to_owned(), Member { node, number, runs, watch, pod_count: 0 });
        }
        self.data.put_node(&self.etcd, &CalicoNode::new(self.node(name)))?;
        for block in home_blocks(number) {
            self.data.claim(&self.etcd, name, block)?;
        }
        Ok(())
    }

    /// Our daemon for a node, which does not run yet.
    ///
    /// # Errors
    /// [`LabError::Missing`] if it has not been built.
    pub fn ours(&self, node: &Node) -> Result<Runs, LabError> {
        let spec = SpeakerSpec::on(node, crate::cluster::CLUSTER_AS);
        let ours = Ours::new(self.lab, node, Program::BgpSpeaker, spec)?;
        let file = node_file(&self.etcd.url(), &node.name, ours.folder());
        let file = format!("handover_time = {}\n{file}", self.handover_time);
        let kubernetes = ours.folder().join(KUBERNETES);
        fs::create_dir_all(&kubernetes).map_err(LabError::io(format!("making {}", kubernetes.display())))?;
        Ok(Runs::Ours(ours.with_file(file)))
    }

    /// Starts the daemon of a node.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(&mut self, name: &str) -> Result<(), LabError> {
        match &mut self.member_mut(name).runs {
            Runs::Ours(ours) => ours.start(),
            Runs::Bird(bird) => bird.start(),
        }
    }

    /// What runs on a node.
    pub fn runs(&mut self, name: &str) -> &mut Runs {
        &mut self.member_mut(name).runs
    }

    /// Another daemon takes over a node, and the one that ran there is returned. Both write some routes with other
    /// metrics, so that [`Stage::check`] looks at the result and at the pings.
    pub fn hand_over(&mut self, name: &str, runs: Runs) -> Runs {
        self.handed_over.insert(name.to_owned());
        std::mem::replace(&mut self.member_mut(name).runs, runs)
    }

    /// Our daemon on a node.
    ///
    /// # Panics
    /// If it is another one: a mistake of the test.
    pub fn our(&mut self, name: &str) -> &mut Ours {
        match self.runs(name) {
            Runs::Ours(ours) => ours,
            Runs::Bird(_) => panic!("{name} runs BIRD"),
        }
    }

    /// The names of the nodes that run our daemon.
    #[must_use]
    pub fn our_names(&self) -> Vec<String> {
        let ours = self.members.iter().filter(|(_, member)| matches!(member.runs, Runs::Ours(_)));
        ours.map(|(name, _)| name.clone()).collect()
    }

    /// What a command of our daemon on a node says.
    ///
    /// # Errors
    /// If the daemon does not answer.
    pub fn ask(&mut self, name: &str, arguments: &str) -> Result<Value, LabError> {
        self.our(name).ask_json(arguments)
    }

    /// A node without pods and blocks is gone from the cluster; its daemon leaves.
    ///
    /// # Errors
    /// If the daemon does not end.
    pub fn leave(&mut self, name: &str) -> Result<(), LabError> {
        for block in self.data.blocks_of(name) {
            self.data.release(&self.etcd, block)?;
        }
        self.data.delete_node(&self.etcd, name)?;
        self.our(name).drain().map(drop)
    }

    /// A host, as the lab has it.
    ///
    /// # Panics
    /// If there is none: a mistake of the test.
    #[must_use]
    pub fn node(&self, name: &str) -> &Node {
        &self.members[name].node
    }

    /// A node's part of the data is another one now.
    ///
    /// # Errors
    /// If etcd does not take it.
    ///
    /// # Panics
    /// If there is no such node: a mistake of the test.
    pub fn change_node(&mut self, name: &str, change: impl FnOnce(&mut CalicoNode)) -> Result<(), LabError> {
        let change = self.node_change(name, change);
        self.etcd.write(&[change]).map(drop)
    }

    /// The same for a transaction that is to be written.
    ///
    /// # Panics
    /// If there is no such node: a mistake of the test.
    pub fn node_change(&mut self, name: &str, change: impl FnOnce(&mut CalicoNode)) -> Change {
        let mut node = self.data.nodes()[name].clone();
        change(&mut node);
        self.data.node_change(&node)
    }

    /// A pod starts on a node, with these addresses, and pings every other pod as every other pod pings it, once each
    /// of them has answered.
    ///
    /// # Errors
    /// If a ping is not answered in time.
    pub fn add_pod(&mut self, name: &str, v4: Ipv4Addr, v6: Ipv6Addr) -> Result<(), LabError> {
        let member = self.member_mut(name);
        member.pod_count += 1;
        let (node, count) = (member.node.clone(), member.pod_count);
        let device = format!("cali{count}");
        let pod_name = format!("pod-{}{count}", name.trim_start_matches("node-"));
        let pod = self.lab.pod_on(&node, &device, &pod_name, v4, v6)?;
        for address in [v4.into(), v6.into()] {
            self.data.assign(&self.etcd, address, Some(name))?;
        }
        self.configure_bird()?;
        self.pods.push(Placed { pod, node: name.to_owned(), device });
        self.check_kernels()?;
        self.begin_pings(|from, to| from == pod_name || to == pod_name)
    }

    /// A pod with the first addresses of the node's own blocks.
    ///
    /// # Errors
    /// As [`Stage::add_pod`].
    pub fn add_home_pod(&mut self, name: &str) -> Result<(), LabError> {
        let [v4, v6] = home_blocks(self.members[name].number);
        match (v4, v6) {
            (IpNet::V4(v4), IpNet::V6(v6)) => self.add_pod(name, after(v4.addr()), after_v6(v6.addr())),
            _ => unreachable!("IPv4 comes first"),
        }
    }

    /// The last pod of a node ends. No ping may have been lost until then.
    ///
    /// # Errors
    /// If one was lost.
    ///
    /// # Panics
    /// If there is none: a mistake of the test.
    pub fn remove_pod(&mut self, name: &str) -> Result<(), LabError> {
        let index = self.pods.iter().rposition(|placed| placed.node == name).expect("a pod on the node");
        let gone = Some(self.pods[index].pod.name.clone());
        self.end_pings(|from, to| from == gone.as_deref() || to == gone.as_deref())?;
        let Placed { pod, device, .. } = self.pods.remove(index);
        self.member_mut(name).node.namespace.ip(&format!("link delete dev {device}"))?;
        for address in [pod.v4.into(), pod.v6.into()] {
            self.data.assign(&self.etcd, address, None)?;
        }
        Ok(())
    }

    /// Two nodes are parted for a while by the step that comes: their pings end, none of which may have been lost
    /// until then, and [`Stage::check`] takes it that they lose each other's routes.
    ///
    /// # Errors
    /// If one was lost.
    pub fn part(&mut self, a: &str, b: &str) -> Result<(), LabError> {
        self.parted.push([a.to_owned(), b.to_owned()]);
        let [a, b] = [a, b].map(|node| self.pods_of(node));
        self.end_pings(|from, to| {
            let (Some(from), Some(to)) = (from, to) else { return false };
            (a.contains(from) && b.contains(to)) || (b.contains(from) && a.contains(to))
        })
    }

    /// Begins pings between nodes again, once they have answered.
    ///
    /// # Errors
    /// If a ping is not answered in time.
    pub fn rejoin(&self, a: &str, b: &str) -> Result<(), LabError> {
        let [a, b] = [a, b].map(|node| self.pods_of(node));
        self.begin_pings(|from, to| {
            (a.contains(from) && b.contains(to)) || (b.contains(from) && a.contains(to))
        })
    }

    /// A pod outside of the cluster pings those of some nodes as they ping it, over IPv4.
    ///
    /// # Errors
    /// If a ping is not answered in time.
    pub fn ping_from_outside(&self, outside: &Pod, nodes: &[&str]) -> Result<(), LabError> {
        let is_meant = |placed: &&Placed| nodes.contains(&placed.node.as_str());
        for placed in self.pods.iter().filter(is_meant) {
            let ways = [(&outside.namespace, placed.pod.v4), (&placed.pod.namespace, outside.v4)];
            for (from, to) in ways {
                let what = format!("a reply to {} from {to}", from.name());
                wait_until(&what, PATIENCE, || ping(from, to.into(), secs(1)))?;
                self.pings.add(from, to.into())?;
            }
        }
        Ok(())
    }

    /// Ends the pings from and to outside. None may have been lost until then.
    ///
    /// # Errors
    /// If one was lost.
    pub fn part_from_outside(&self) -> Result<(), LabError> {
        self.end_pings(|from, to| from.is_none() || to.is_none())
    }

    fn pods_of(&self, node: &str) -> BTreeSet<String> {
        let pods = self.pods.iter().filter(|placed| placed.node == node);
        pods.map(|placed| placed.pod.name.clone()).collect()
    }

    fn begin_pings(&self, is_meant: impl Fn(&str, &str) -> bool) -> Result<(), LabError> {
        for from in &self.pods {
            for to in &self.pods {
                let (from, to) = (&from.pod, &to.pod);
                if from.name == to.name || !is_meant(&from.name, &to.name) {
                    continue;
                }
                for address in [to.v4.into(), to.v6.into()] {
                    let what = format!("a reply to {} from {} ({address})", from.name, to.name);
                    wait_until(&what, PATIENCE, || ping(&from.namespace, address, secs(1)))?;
                    self.pings.add(&from.namespace, address)?;
                }
            }
        }
        Ok(())
    }

    /// `is_meant` is told the names of both pods; none is that of one outside of the cluster.
    fn end_pings(&self, is_meant: impl Fn(Option<&str>, Option<&str>) -> bool) -> Result<(), LabError> {
        let sender = |name: &str| self.pods.iter().find(|placed| placed.pod.namespace.name() == name);
        let target = |address: IpAddr| {
            let has = |pod: &Pod| address == IpAddr::from(pod.v4) || address == IpAddr::from(pod.v6);
            self.pods.iter().find(|placed| has(&placed.pod))
        };
        let name = |placed: Option<&'_ Placed>| placed.map(|placed| placed.pod.name.clone());
        let ended = self.pings.end(|count| {
            let (from, to) = (name(sender(&count.from)), name(target(count.to)));
            is_meant(from.as_deref(), to.as_deref())
        })?;
        none_lost(&ended)
    }

    /// What confd would write for BIRD now; `sessions` are those of its node.
    ///
    /// # Errors
    /// If BIRD refuses it.
    pub fn configure_bird(&mut self) -> Result<(), LabError> {
        let names: Vec<String> = self.members.keys().cloned().collect();
        for name in names {
            let (blocks, sessions) = (self.data.blocks_of(&name), self.data.bird_sessions(&name));
            let asn = self.data.asn_of(&name);
            if let Runs::Bird(bird) = &mut self.member_mut(&name).runs {
                bird.configure(asn, &sessions, &blocks)?;
            }
        }
        Ok(())
    }

    /// Waits until every session of BIRD is up.
    ///
    /// # Errors
    /// On timeout.
    pub fn wait_bird(&self) -> Result<(), LabError> {
        for (name, member) in &self.members {
            if let Runs::Bird(bird) = &member.runs {
                let sessions: Vec<BirdSession> = self.data.bird_sessions(name);
                bird.wait_sessions(&sessions)?;
            }
        }
        Ok(())
    }

    /// Puts other data of the cluster as a whole into etcd, and tells BIRD.
    ///
    /// # Errors
    /// If one of them refuses.
    pub fn write(&mut self, changes: &[(String, Option<Value>)]) -> Result<i64, LabError> {
        let revision = self.etcd.write(changes)?;
        self.configure_bird()?;
        Ok(revision)
    }

    /// Waits until every kernel holds what the data say, and nothing else.
    ///
    /// # Errors
    /// On timeout, with the difference.
    pub fn check_kernels(&self) -> Result<(), LabError> {
        wait_until("every kernel to hold what the data say", PATIENCE, || {
            let mut complaints = String::new();
            for name in self.data.nodes().keys() {
                let node = &self.members[name].node;
                let seen = kernel::routes(&node.namespace, PROTOCOL).map_err(|error| error.to_string())?;
                let seen: BTreeSet<String> = seen.iter().map(ToString::to_string).collect();
                let mut expected = self.data.expected_routes(name);
                expected.extend(self.extra_routes.get(name).into_iter().flatten().cloned());
                for route in expected.symmetric_difference(&seen) {
                    let what = if seen.contains(route) { "too much" } else { "missing" };
                    let _ = write!(complaints, "\n{name}: {what}: {route}");
                }
            }
            if complaints.is_empty() { Ok(()) } else { Err(complaints) }
        })
    }

    /// What follows every step: every kernel is right, no ping was lost, and on our nodes nothing that is valid before
    /// and after the step was ever taken out of the kernel.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&mut self, step: &str) -> Result<(), LabError> {
        self.check_kernels()?;
        none_lost(&self.pings.counts()?)?;
        for (name, member) in &mut self.members {
            let removed = member.watch.removed(PROTOCOL)?;
            if matches!(member.runs, Runs::Bird(_)) || self.handed_over.contains(name) {
                continue;
            }
            let others = self.parted.iter().filter(|pair| pair.contains(name)).flatten();
            let kept = self.data.kept_prefixes(name, &others.cloned().collect());
            let lost: Vec<String> =
                removed.iter().filter(|prefix| kept.contains(prefix)).map(ToString::to_string).collect();
            if !lost.is_empty() {
                return Err(LabError::Unexpected {
                    what: format!("{step}: the kernel of {name}"),
                    expected: "every route that is valid before and after, all the time".into(),
                    seen: format!("it was without {} for a while", lost.join(", ")),
                });
            }
        }
        self.parted.clear();
        self.handed_over.clear();
        self.data.remember();
        eprintln!("held: {step}");
        Ok(())
    }

    /// Every node is given an object of Kubernetes, by rename, as whoever mirrors the cluster there would.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put_object(&mut self, file: &str, object: &Value) -> Result<(), LabError> {
        for name in self.our_names() {
            let folder = self.our(&name).folder().join(KUBERNETES);
            let temporary = folder.join(format!(".{file}.new"));
            fs::write(&temporary, object.to_string())
                .and_then(|()| fs::rename(temporary, folder.join(file)))
                .map_err(LabError::io(format!("writing {file}")))?;
        }
        Ok(())
    }

    /// Waits until our daemons have all sessions that they want, and their kernels all routes.
    ///
    /// # Errors
    /// On timeout.
    pub fn wait_ours(&mut self) -> Result<(), LabError> {
        self.wait_ours_but_with(None)
    }

    /// The same, whatever becomes of sessions with this node.
    ///
    /// # Errors
    /// On timeout.
    pub fn wait_ours_but_with(&mut self, other: Option<&str>) -> Result<(), LabError> {
        let other = other.map(|name| self.node(name));
        let ignored = other.map(|node| [node.v4.to_string(), node.v6.to_string()]).unwrap_or_default();
        let is_meant = |session: &&Value| !ignored.iter().any(|address| session["address"] == **address);
        for name in self.our_names() {
            wait_until(&format!("all sessions of {name}"), PATIENCE, || {
                let mut ask = |what: &str| self.ask(&name, what).map_err(|error| error.to_string());
                let sessions = ask("neighbors")?;
                let all: Vec<&Value> = sessions.as_array().into_iter().flatten().filter(is_meant).collect();
                if all.is_empty() || all.iter().any(|session| session["state"] != "Established") {
                    return Err(sessions.to_string());
                }
                let status = ask("status")?;
                if status["ready"] == true && status["fib"]["in_sync"] == true {
                    Ok(())
                } else {
                    Err(status.to_string())
                }
            })?;
        }
        Ok(())
    }

    fn member_mut(&mut self, name: &str) -> &mut Member {
        self.members.get_mut(name).unwrap_or_else(|| panic!("there is no node {name}"))
    }
}

/// The blocks that a node takes when it joins, IPv4 first.
fn home_blocks(number: u8) -> [IpNet; 2] {
    let v4 = Ipv4Addr::new(192, 168, number, 64);
    let v6 = Ipv6Addr::new(0xfd00, 0x10, 0x244, u16::from(number), 0, 0, 0, 0x40);
    let network = |address: IpAddr, length| IpNet::new(address, length).expect("a length");
    [network(v4.into(), 26), network(v6.into(), 122)]
}

fn after(address: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(address) + 1)
}

fn after_v6(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(address) + 1)
}
