//! Every field of the configuration is flipped on live sessions, with our own daemon and with BIRD: what is reset is
//! what the table of fields promises, no valid route leaves any kernel, and a session that is not concerned sees not one
//! message.

use std::net::IpAddr;

use bgp_lab::daemons::bird::Bird;
use bgp_lab::embedded::{failed, runtime};
use bgp_lab::harness::lab_test;
use bgp_lab::route_watch::RouteWatch;
use bgp_lab::{Daemon, Lab, LabError, Node, PeerRole, RouteSpec, SpeakerSpec, secs, wait_until};
use bgp_proto::Asn;
use bgp_speaker::config::filter::{Filter, Then};
use bgp_speaker::config::{
    AddPaths, Family, FieldClass, ListenRange, NextHopMode, PolicyRef, Role, Secret, SpeakerConfig,
    StepAction, field_classes,
};
use bgp_speaker::{Announcement, Neighbor, Speaker};
use fib_sync::FibConfig;
use tokio::runtime::Runtime;

const AS: u32 = 64512;
const PATIENCE: std::time::Duration = secs(40);
/// The blocks, by their number, that are valid at each node all the time. What one neighbour of the subject that is no
/// client tells is not told another.
const VALID: [&[u8]; 4] = [&[1, 2, 3, 4], &[1, 2, 4], &[1, 3, 4], &[1, 2, 3, 4]];
/// With these there is no session, unless both sides change.
const MISMATCHES: [&str; 6] =
    ["remote_as", "local_as", "password", "ttl_security", "local_address", "enabled"];
/// Ours answers with a TTL of 255 whether it is told to or not, so that the session comes back, by a connection of the
/// subject's; BIRD's connections are none of that.
const ONLY_WITH_BIRD: &str = "ttl_security";
/// Its routes are valid no more when it is disabled.
const ENDS_ROUTES: [&str; 1] = ["enabled"];
/// Without graceful restart nothing is kept during the reset that brings it about.
const KEEPS_NOTHING: [&str; 1] = ["graceful_restart"];
/// BIRD gives up all routes of a neighbour whose OPEN it cannot accept, although the neighbour may come back.
const BIRD_GIVES_UP: [&str; 2] = ["remote_as", "local_as"];

/// One of our speakers in a namespace of its own.
struct Ours {
    runtime: Runtime,
    speaker: Speaker,
}

impl Ours {
    fn start(node: &Node, config: SpeakerConfig) -> Result<Ours, LabError> {
        // Its threads belong to the namespace, and so do their sockets.
        let runtime = node.namespace.run(runtime)??;
        let builder = Speaker::builder().config(config).fib(FibConfig::default());
        let started = runtime.block_on(async { tokio::spawn(builder.start()).await });
        let speaker = started.map_err(|error| failed(&error.to_string()))?;
        Ok(Ours { speaker: speaker.map_err(|error| failed(&error.to_string()))?, runtime })
    }

    fn config(&self) -> Result<SpeakerConfig, LabError> {
        self.runtime.block_on(self.speaker.config()).map_err(|error| failed(&error.to_string()))
    }

    /// Applies a configuration; the steps that it took, as (what, to what).
    fn apply(&self, config: SpeakerConfig) -> Result<Vec<(StepAction, String)>, LabError> {
        let steps = self.runtime.block_on(self.speaker.apply(config));
        let steps = steps.map_err(|error| failed(&error.to_string()))?;
        Ok(steps.into_iter().map(|step| (step.action, step.target)).collect())
    }

    /// Sessions so far, and messages received apart from KEEPALIVEs; nothing while the session is down.
    fn counts(&self, neighbor: IpAddr) -> Result<Option<(u64, u64)>, LabError> {
        let all = self.runtime.block_on(self.speaker.neighbors());
        let all = all.map_err(|error| failed(&error.to_string()))?;
        let found = all.into_iter().find(|view| view.address == neighbor.to_string());
        // A neighbour that has not told all again yet would lose routes if its session ended now (RFC 4724 §4.2).
        Ok(found.filter(|view| view.state == "Established" && !view.restarting).map(|view| {
            let told = view.messages_received.iter().filter(|(kind, _)| *kind != "keepalive");
            (view.established_count, told.map(|(_, count)| count).sum())
        }))
    }
}

/// What is compared: nothing stands for a session that is down.
struct Seen {
    /// Sessions so far with our neighbour, and with BIRD.
    sessions: [Option<u64>; 2],
    /// Sessions so far of the unconcerned one, and its messages.
    unconcerned: Option<(u64, u64)>,
}

/// The speaker whose fields are flipped, its neighbours, and watches on all kernels.
struct Live {
    nodes: [Node; 4],
    subject: Ours,
    ours: Ours,
    unconcerned: Ours,
    bird: Bird,
    watches: Vec<RouteWatch>,
}

/// The block of a node.
fn block(number: u8) -> String {
    format!("10.70.{number}.0/24")
}

fn base(node: &Node, number: u8) -> SpeakerConfig {
    let mut config = SpeakerConfig::new(node.v4);
    config.listen = vec![([0, 0, 0, 0], 179).into()];
    config.hold_time_secs = 90;
    let announcement = Announcement::block(block(number).parse().expect("a prefix"));
    config.announcements.insert(announcement.prefix, announcement);
    config
}

fn with(mut config: SpeakerConfig, neighbor: Neighbor) -> SpeakerConfig {
    config.neighbors.insert(neighbor.id(), neighbor);
    config
}

impl Live {
    fn start(lab: &Lab) -> Result<Live, LabError> {
        let switch = lab.switch("switch")?;
        let node = |name: &str, number: u8| {
            let v4 = format!("10.9.1.{number}/24").parse().expect("an address");
            lab.node(&switch, name, v4, format!("fd00:9:1::{number}/64").parse().expect("an address"))
        };
        let nodes = [node("subject", 1)?, node("ours", 2)?, node("bird", 3)?, node("unconcerned", 4)?];
        nodes[0].namespace.ip("address add 10.9.1.11/24 dev eth0")?;
        let [subject, ours, bird, unconcerned] = &nodes;
        let mut config = base(subject, 1);
        config.cluster_id = Some(config.router_id);
        config.filters.insert("all".into(), Filter { rules: Vec::new(), default: Then::Accept }.into());
        config.listen_ranges.push(ListenRange::new("10.9.2.0/24".parse().expect("a prefix")));
        let config = with(config, Neighbor::ibgp(ours.v4.into()));
        let config = with(config, Neighbor::ibgp(bird.v4.into()));
        let config = with(config, Neighbor::client(unconcerned.v4.into()));
        let spec = SpeakerSpec::on(bird, AS)
            .with_peer(subject.v4, AS, PeerRole::Peer)
            .with_route(RouteSpec::block(&block(3)))
            .with_kernel();
        let watches = nodes.iter().map(|node| RouteWatch::start(lab, &node.namespace, &node.name));
        let watches = watches.collect::<Result<_, _>>()?;
        let mut bird_daemon = Bird::new(lab, bird, spec)?;
        bird_daemon.start()?;
        let of_subject = || Neighbor::ibgp(subject.v4.into());
        let mut live = Live {
            subject: Ours::start(subject, config)?,
            ours: Ours::start(ours, with(base(ours, 2), of_subject()))?,
            unconcerned: Ours::start(unconcerned, with(base(unconcerned, 4), of_subject()))?,
            bird: bird_daemon,
            nodes,
            watches,
        };
        live.wait_settled()?;
        Ok(live)
    }

    /// Waits until every session is up and every kernel holds what it should.
    fn wait_settled(&mut self) -> Result<(), LabError> {
        let subject = IpAddr::from(self.nodes[0].v4);
        wait_until("every session and every route", PATIENCE, || {
            for neighbor in &self.nodes[1..] {
                if self.subject.counts(neighbor.v4.into()).map_err(|error| error.to_string())?.is_none() {
                    return Err(format!("{} is not up", neighbor.name));
                }
            }
            for ours in [&self.ours, &self.unconcerned] {
                if ours.counts(subject).map_err(|error| error.to_string())?.is_none() {
                    return Err("the subject is not up".to_owned());
                }
            }
            if !self.bird.session(subject).map_err(|error| error.to_string())?.is_established {
                return Err("BIRD is not up".to_owned());
            }
            for (node, valid) in self.nodes.iter().zip(VALID) {
                let routes =
                    node.namespace.ip_show("route show proto bird").map_err(|error| error.to_string())?;
                if !valid.iter().all(|number| routes.contains(&block(*number))) {
                    return Err(format!("{}: {routes}", node.name));
                }
            }
            Ok(())
        })
    }

    /// Waits until a mismatch has ended the sessions that were there.
    fn wait_reset(&self, field: &str, before: &[Option<u64>; 2]) -> Result<(), LabError> {
        let subject = IpAddr::from(self.nodes[0].v4);
        wait_until("the sessions to end", PATIENCE, || {
            let now = self.seen().map_err(|error| error.to_string())?.sessions;
            let is_other = now.iter().zip(before).all(|(now, before)| now != before);
            // A session that comes back has to tell all before it may end again: RFC 4724 §4.2.
            let is_back = now[0].is_some() && self.ours.counts(subject).is_ok_and(|counts| counts.is_some());
            let is_wanted = is_other && (field != ONLY_WITH_BIRD || is_back);
            if is_wanted { Ok(()) } else { Err(format!("{now:?}")) }
        })
    }

    /// Which kernels a valid route has left since the last look, by the name of their node.
    fn losses(&mut self) -> Result<Vec<String>, LabError> {
        let mut losses = Vec::new();
        for ((node, watch), valid) in self.nodes.iter().zip(&mut self.watches).zip(VALID) {
            let removed =
                watch.removed(bgp_lab::kernel::PROTOCOL)?.into_iter().map(|prefix| prefix.to_string());
            let is_valid = |prefix: &String| valid.iter().any(|number| block(*number) == *prefix);
            losses.extend(removed.filter(is_valid).map(|prefix| format!("{}: {prefix}", node.name)));
        }
        Ok(losses)
    }

    fn seen(&self) -> Result<Seen, LabError> {
        let sessions = |index: usize| -> Result<Option<u64>, LabError> {
            Ok(self.subject.counts(self.nodes[index].v4.into())?.map(|(sessions, _)| sessions))
        };
        let unconcerned = self.unconcerned.counts(self.nodes[0].v4.into())?;
        Ok(Seen { sessions: [sessions(1)?, sessions(2)?], unconcerned })
    }

    /// Flips one field on the sessions with our neighbour and with BIRD, and back.
    fn flip(&mut self, field: &'static str, class: FieldClass) -> Result<(), LabError> {
        let begin = std::time::Instant::now();
        let before = self.seen()?;
        let old = self.subject.config()?;
        let mut new = old.clone();
        let neighbors = [self.nodes[1].v4.into(), self.nodes[2].v4.into()];
        let is_of_all = flip(field, &mut new, neighbors, &self.nodes[0]);
        let mut expected: Vec<String> = neighbors.map(|neighbor: IpAddr| neighbor.to_string()).to_vec();
        if is_of_all {
            expected.push(self.nodes[3].v4.to_string());
        }
        for config in [new, old] {
            let steps = self.subject.apply(config)?;
            let promised = match class {
                FieldClass::Hitless => StepAction::UpdateSession,
                FieldClass::Refresh => StepAction::RefreshSession,
                FieldClass::Reset => StepAction::ResetSession,
            };
            let of_neighbors: Vec<_> = steps.iter().filter(|(_, target)| !target.contains('/')).collect();
            let is_promised = of_neighbors.iter().all(|(action, _)| *action == promised)
                && of_neighbors.iter().all(|(_, target)| expected.contains(target));
            let is_range = field == "max_sessions";
            assert!(is_promised && is_range == of_neighbors.is_empty(), "{field}: {steps:?}");
            if MISMATCHES.contains(&field) {
                self.wait_reset(field, &before.sessions)?;
            } else {
                self.wait_settled()?;
            }
        }
        self.wait_settled()?;
        let after = self.seen()?;
        for (name, (before, after)) in ["ours", "BIRD"].iter().zip(before.sessions.iter().zip(after.sessions))
        {
            assert_eq!(
                *before != after,
                class == FieldClass::Reset,
                "{field}, {name}: {before:?}, {after:?}"
            );
        }
        if !is_of_all && !ENDS_ROUTES.contains(&field) {
            assert_eq!(
                before.unconcerned, after.unconcerned,
                "{field}: the unconcerned session saw something"
            );
        }
        let losses = self.losses()?;
        let is_excused = |loss: &String| {
            ENDS_ROUTES.contains(&field)
                || KEEPS_NOTHING.contains(&field)
                || (BIRD_GIVES_UP.contains(&field)
                    && (loss.starts_with("bird:") || loss.ends_with(" 10.70.3.0/24")))
        };
        let inexcusable: Vec<&String> = losses.iter().filter(|loss| !is_excused(loss)).collect();
        assert!(inexcusable.is_empty(), "{field}: routes left: {inexcusable:?}");
        eprintln!("held: {field} is {class:?}, after {:.1} s", begin.elapsed().as_secs_f32());
        Ok(())
    }
}

/// Another value for a field. Answers whether it is one of the whole speaker.
fn flip(field: &str, config: &mut SpeakerConfig, neighbors: [IpAddr; 2], node: &Node) -> bool {
    match field {
        "router_id" => config.router_id = std::net::Ipv4Addr::new(10, 9, 1, 99).into(),
        "cluster_id" => config.cluster_id = Some(std::net::Ipv4Addr::new(10, 9, 1, 99).into()),
        "graceful_restart" => config.graceful_restart.enabled = false,
        "local_addresses" => config.local_addresses = vec![node.v4.into(), node.v6.into()],
        "max_sessions" => config.listen_ranges[0].max_sessions = 7,
        _ => {
            for address in neighbors {
                let mut neighbor = config.neighbors.remove(&address.into()).expect("a neighbour");
                flip_neighbor(field, &mut neighbor);
                config.neighbors.insert(neighbor.id(), neighbor);
            }
            return false;
        }
    }
    field != "max_sessions"
}

fn flip_neighbor(field: &str, neighbor: &mut Neighbor) {
    let options = &mut neighbor.options;
    match field {
        "remote_as" => options.remote_as = Some(Asn(64999)),
        "local_as" => options.local_as = Some(Asn(64998)),
        "role" => options.role = Role::Client,
        "families" => options.families = vec![Family::Ipv4Unicast],
        "hold_time" => options.hold_time_secs = Some(60),
        "password" => options.password = Some(Secret::new("swordfish")),
        "ttl_security" => options.ttl_security = Some(1),
        "next_hop" => options.next_hop = NextHopMode::SelfAddress,
        "keepalive" => options.keepalive_secs = Some(2),
        "restart_time" => options.restart_time_secs = Some(60),
        "allow_own_as" => options.allow_own_as = 1,
        "max_prefixes" => options.max_prefixes = Some(1000),
        "add_paths" => options.add_paths = AddPaths::Send,
        "add_paths_max" => options.add_paths_max = 3.try_into().expect("not zero"),
        "import" => options.import = PolicyRef::Filters(vec!["all".into()]),
        "export" => options.export = PolicyRef::Filters(vec!["all".into()]),
        "name" => neighbor.name = "another".into(),
        "port" => neighbor.port = 1790,
        "local_address" => neighbor.local_address = Some([10, 9, 1, 11].into()),
        "passive" => neighbor.passive = true,
        "enabled" => neighbor.enabled = false,
        other => panic!("this test does not know how to flip {other}"),
    }
}

/// BIRD takes a second or more to come back, so that the fields are shared among tests that run beside each other.
const SHARES: usize = 4;

fn flip_share(share: usize) {
    lab_test(&format!("hitless-{share}"), |lab: &Lab| {
        let mut live = Live::start(lab)?;
        live.losses()?;
        for (field, class) in field_classes().skip(share).step_by(SHARES) {
            live.flip(field, class)?;
        }
        Ok(())
    });
}

#[test]
fn every_field_costs_what_its_class_says_and_nobody_else_notices() {
    flip_share(0);
}

#[test]
fn every_field_costs_what_its_class_says_second_share() {
    flip_share(1);
}

#[test]
fn every_field_costs_what_its_class_says_third_share() {
    flip_share(2);
}

#[test]
fn every_field_costs_what_its_class_says_last_share() {
    flip_share(SHARES - 1);
}
