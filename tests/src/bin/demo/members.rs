//! The members of the demo's cluster: three of our node daemons, one BIRD, one GoBGP, and the reflector.

use std::net::IpAddr;

use bgp_lab::cluster::{CLUSTER_AS, Host, host_node};
use bgp_lab::daemons::bird::Bird;
use bgp_lab::daemons::gobgp::GoBgp;
use bgp_lab::daemons::ours::{Ours, Program};
use bgp_lab::{Daemon, Lab, LabError, Node, PeerRole, SpeakerSpec, Switch, secs, wait_until};

/// Which program speaks on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Bird,
    GoBgp,
}

impl Kind {
    pub(crate) fn program(self) -> &'static str {
        match self {
            Kind::Ours => "bgp-speaker",
            Kind::Bird => "BIRD",
            Kind::GoBgp => "GoBGP",
        }
    }
}

/// A running program.
enum Speaker {
    Ours(Ours),
    Bird(Bird),
    GoBgp(GoBgp),
}

/// One node of the cluster with its pod and its speaker.
pub(crate) struct Member {
    pub(crate) host: Host,
    pub(crate) kind: Kind,
    spec: SpeakerSpec,
    speaker: Speaker,
}

/// The nodes by name; their numbers, from 1, give their addresses.
pub(crate) const NODES: [(&str, Kind); 5] = [
    ("node-a", Kind::Ours),
    ("node-b", Kind::Ours),
    ("node-c", Kind::Ours),
    ("node-d", Kind::Bird),
    ("node-e", Kind::GoBgp),
];

/// The number of the reflector's address.
const REFLECTOR_NUMBER: u8 = 6;

/// How long anything may take.
const PATIENCE: std::time::Duration = secs(20);

/// Makes all nodes, configured as a full mesh; nothing runs yet.
pub(crate) fn full_mesh(lab: &Lab, switch: &Switch) -> Result<Vec<Member>, LabError> {
    let mut hosts = Vec::new();
    for (number, (name, _)) in (1..).zip(NODES) {
        hosts.push(Host::new(lab, switch, name, number)?);
    }
    let mut members = Vec::new();
    for (host, (_, kind)) in hosts.iter().zip(NODES) {
        let others = hosts.iter().filter(|other| other.node.v4 != host.node.v4);
        let spec = others.fold(host.spec().with_kernel(), |spec, other| {
            spec.with_peer(other.node.v4, CLUSTER_AS, PeerRole::Peer)
        });
        let speaker = match kind {
            Kind::Ours => Speaker::Ours(Ours::new(lab, &host.node, Program::BgpSpeaker, spec.clone())?),
            Kind::Bird => Speaker::Bird(Bird::new(lab, &host.node, spec.clone())?),
            Kind::GoBgp => Speaker::GoBgp(GoBgp::new(lab, &host.node, spec.clone())?),
        };
        members.push(Member { host: host.clone(), kind, spec, speaker });
    }
    Ok(members)
}

/// Makes the reflector with every node as a client.
pub(crate) fn reflector(lab: &Lab, switch: &Switch, members: &[Member]) -> Result<(Node, Ours), LabError> {
    let node = host_node(lab, switch, "reflector", REFLECTOR_NUMBER)?;
    let spec = members.iter().fold(SpeakerSpec::on(&node, CLUSTER_AS), |spec, member| {
        spec.with_peer(member.host.node.v4, CLUSTER_AS, PeerRole::Client)
    });
    let daemon = Ours::new(lab, &node, Program::RouteReflector, spec)?;
    Ok((node, daemon))
}

impl Member {
    pub(crate) fn name(&self) -> &str {
        &self.host.node.name
    }

    pub(crate) fn daemon(&mut self) -> &mut dyn Daemon {
        match &mut self.speaker {
            Speaker::Ours(ours) => ours,
            Speaker::Bird(bird) => bird,
            Speaker::GoBgp(gobgp) => gobgp,
        }
    }

    /// The process id, where the demo needs it.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.speaker {
            Speaker::Ours(ours) => ours.pid(),
            Speaker::Bird(_) | Speaker::GoBgp(_) => None,
        }
    }

    /// A command that shows what this node's speaker knows.
    pub(crate) fn hint(&self) -> String {
        match &self.speaker {
            Speaker::Ours(ours) => ours.hint("neighbors"),
            Speaker::Bird(bird) => format!("{} show protocols", bird.hint()),
            Speaker::GoBgp(gobgp) => format!("{} global rib", gobgp.hint()),
        }
    }

    /// Waits until every configured session is up.
    pub(crate) fn wait_sessions(&mut self) -> Result<usize, LabError> {
        let peers: Vec<IpAddr> = self.spec.peers.iter().map(|peer| peer.address).collect();
        for peer in &peers {
            bgp_lab::wait_established(self.daemon(), *peer, PATIENCE)?;
        }
        Ok(peers.len())
    }

    /// Waits until this node has `count` routes from `peer`.
    pub(crate) fn wait_routes_from(&mut self, peer: IpAddr, count: usize) -> Result<(), LabError> {
        bgp_lab::wait_routes(self.daemon(), peer, PATIENCE, |routes| {
            if routes.len() == count { Ok(()) } else { Err(format!("{} routes, not {count}", routes.len())) }
        })
        .map(drop)
    }

    /// Adds a session, live.
    pub(crate) fn add_peer(&mut self, address: IpAddr) -> Result<(), LabError> {
        self.spec = self.spec.clone().with_peer(address, CLUSTER_AS, PeerRole::Peer);
        let added = self.spec.peers.last().cloned();
        match (&mut self.speaker, added) {
            (Speaker::Ours(ours), _) => ours.reload(self.spec.clone()),
            (Speaker::Bird(bird), _) => bird.reconfigure(self.spec.clone()),
            (Speaker::GoBgp(gobgp), Some(added)) => gobgp.add_peer(added),
            (Speaker::GoBgp(_), None) => Ok(()),
        }
    }

    /// Removes every session but the one with `kept`, live.
    pub(crate) fn keep_only_peer(&mut self, kept: IpAddr) -> Result<(), LabError> {
        let (stay, go): (Vec<_>, Vec<_>) = self.spec.peers.drain(..).partition(|peer| peer.address == kept);
        self.spec.peers = stay;
        match &mut self.speaker {
            Speaker::Ours(ours) => ours.reload(self.spec.clone()),
            Speaker::Bird(bird) => bird.reconfigure(self.spec.clone()),
            Speaker::GoBgp(gobgp) => go.iter().try_for_each(|peer| gobgp.remove_peer(peer.address)),
        }
    }

    /// Waits until the speaker itself no longer knows a session with `peer`.
    pub(crate) fn wait_peer_gone(&mut self, peer: IpAddr) -> Result<(), LabError> {
        let what = format!("{} to have dropped its session with {peer}", self.name());
        wait_until(&what, PATIENCE, || match self.daemon().session(peer) {
            Ok(session) if session.is_established => Err(session.detail),
            // Not established, or not even known.
            _ => Ok(()),
        })
    }

    /// GoBGP does not program the kernel: copies its table there by `ip route`, as a script beside it would.
    pub(crate) fn copy_table_to_kernel(&mut self) -> Result<(), LabError> {
        let Speaker::GoBgp(gobgp) = &mut self.speaker else { return Ok(()) };
        let mut script = String::new();
        for peer in &self.spec.peers {
            for route in gobgp.routes_from(peer.address)? {
                if let Some(next_hop) = route.next_hop {
                    script += &format!("route replace {} via {next_hop} dev eth0 proto 12\n", route.prefix);
                }
            }
        }
        for block in self.host.blocks() {
            script += &format!("route replace blackhole {block} proto 12\n");
        }
        self.host.node.namespace.ip(&script)
    }
}
