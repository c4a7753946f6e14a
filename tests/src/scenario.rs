//! The interop story, written once: two daemons on one switch, and a feeder whose routes are exact.
//!
//! ```text
//!   feeder 10.9.0.3 ──┐                     left:   the daemon that is judged, AS 64512
//!                     ├── switch            right:  the daemon that judges, by its own command line
//!   left   10.9.0.1 ──┤                     feeder: bytes written by the lab; brings routes with every attribute
//!   right  10.9.0.2 ──┘
//! ```
//!
//! Both families run on one IPv4 session. The feeder is of the kind that makes left pass its routes on to right:
//! external when right is an internal peer, a client when right is one, internal when right is external.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::daemon::{Daemon, wait_established, wait_routes};
use crate::error::LabError;
use crate::lab::{Lab, Node};
use crate::raw_peer::Feeder;
use crate::seen::{SeenRoute, SeenSession};
use crate::spec::{PeerRole, RouteSpec, SpeakerSpec};
use crate::wait::{secs, wait_until};

/// What right is to left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// An internal neighbour.
    IbgpPeer,
    /// A client of left, which reflects.
    ReflectorClient,
    /// A neighbour in another AS.
    EbgpPeer,
}

/// Left's AS.
const AS_LEFT: u32 = 64512;
/// Right's AS when it is external.
const AS_RIGHT: u32 = 65020;
/// The feeder's AS when it is external.
const AS_FEEDER: u32 = 65010;
/// How long anything may take. The slowest daemon here waits five seconds after a reset before it tries again.
const PATIENCE: Duration = Duration::from_secs(30);

impl Relation {
    fn right_asn(self) -> u32 {
        if self == Relation::EbgpPeer { AS_RIGHT } else { AS_LEFT }
    }

    fn feeder_asn(self) -> u32 {
        if self == Relation::IbgpPeer { AS_FEEDER } else { AS_LEFT }
    }

    fn role(self) -> PeerRole {
        if self == Relation::ReflectorClient { PeerRole::Client } else { PeerRole::Peer }
    }
}

/// Makes a daemon of a kind on a node.
pub type Maker = fn(&Lab, &Node, SpeakerSpec) -> Result<Box<dyn Daemon>, LabError>;

/// A route as somebody should see it. Where the rules leave the next hop open, either answer is right.
struct Expected {
    route: SeenRoute,
    other_next_hop: Option<IpAddr>,
}

impl From<SeenRoute> for Expected {
    fn from(route: SeenRoute) -> Expected {
        Expected { route, other_next_hop: None }
    }
}

/// The three nodes and how they relate.
struct Stage {
    relation: Relation,
    left: Node,
    right: Node,
    feeder: Node,
}

impl Stage {
    fn new(lab: &Lab, relation: Relation) -> Result<Stage, LabError> {
        let switch = lab.switch("switch")?;
        let node = |name: &str, number: u8| {
            let v4 = format!("10.9.0.{number}/24").parse().expect("an address");
            let v6 = format!("fd00:9::{number}/64").parse().expect("an address");
            lab.node(&switch, name, v4, v6)
        };
        Ok(Stage { relation, left: node("left", 1)?, right: node("right", 2)?, feeder: node("feeder", 3)? })
    }

    fn left_spec(&self) -> SpeakerSpec {
        let role = self.relation.role();
        own_routes().into_iter().fold(
            SpeakerSpec::on(&self.left, AS_LEFT)
                .with_peer(self.right.v4, self.relation.right_asn(), role)
                .with_peer(self.feeder.v4, self.relation.feeder_asn(), role),
            SpeakerSpec::with_route,
        )
    }

    fn right_spec(&self) -> SpeakerSpec {
        right_routes().into_iter().fold(
            SpeakerSpec::on(&self.right, self.relation.right_asn()).with_peer(
                self.left.v4,
                AS_LEFT,
                PeerRole::Peer,
            ),
            SpeakerSpec::with_route,
        )
    }

    /// Routes as the feeder sends them: one rich route per family, and one with a longer path.
    fn feeder_routes(&self) -> Vec<SeenRoute> {
        let mut routes: Vec<SeenRoute> = ["10.60.1.0/24", "fd60:1::/64", "10.60.2.0/24"]
            .into_iter()
            .map(|prefix| {
                let spec = if prefix == "10.60.2.0/24" {
                    RouteSpec::plain(prefix)
                } else {
                    RouteSpec::rich(prefix, 60)
                };
                let mut route = SeenRoute::of(&spec, address_of(&self.feeder, spec.prefix));
                if self.relation == Relation::IbgpPeer {
                    route.local_pref = None;
                    route.as_path = vec![AS_FEEDER];
                } else {
                    route.local_pref = route.local_pref.or(Some(100));
                }
                route
            })
            .collect();
        routes[2].origin = "incomplete".into();
        routes[2].as_path.extend([65041, 70042]);
        routes
    }

    /// How right should see a route that the feeder sent.
    fn feeder_route_at_right(&self, mut route: SeenRoute) -> Expected {
        match self.relation {
            Relation::IbgpPeer => {
                route.local_pref = Some(100);
                route.into()
            }
            Relation::ReflectorClient => {
                route.originator_id = Some(self.feeder.v4);
                route.cluster_list = vec![self.left.v4];
                route.into()
            }
            Relation::EbgpPeer => {
                // RFC 4271 §5.1.3 allows a third party on the shared subnet as next hop; §5.1.4, §5.1.5.
                let other_next_hop = route.next_hop.replace(address_of(&self.left, route.prefix));
                route.as_path.insert(0, AS_LEFT);
                route.med = None;
                route.local_pref = None;
                Expected { route, other_next_hop }
            }
        }
    }

    /// How right should see a route that left originates.
    fn left_route_at_right(&self, route: &RouteSpec) -> Expected {
        let mut seen = SeenRoute::of(route, address_of(&self.left, route.prefix));
        if self.relation == Relation::EbgpPeer {
            seen.as_path = vec![AS_LEFT];
        } else {
            seen.local_pref = seen.local_pref.or(Some(100));
        }
        seen.into()
    }

    /// How left should see a route that right originates.
    fn right_route_at_left(&self, route: &RouteSpec) -> Expected {
        let mut seen = SeenRoute::of(route, address_of(&self.right, route.prefix));
        if self.relation == Relation::EbgpPeer {
            seen.as_path = vec![AS_RIGHT];
            seen.local_pref = None;
        }
        seen.into()
    }

    /// How the feeder should see a route that right originates.
    fn right_route_at_feeder(&self, route: &RouteSpec) -> Expected {
        let mut expected = self.right_route_at_left(route);
        match self.relation {
            Relation::IbgpPeer => {
                expected.other_next_hop =
                    expected.route.next_hop.replace(address_of(&self.left, route.prefix));
                expected.route.as_path = vec![AS_LEFT];
                expected.route.med = None;
                expected.route.local_pref = None;
            }
            Relation::ReflectorClient => {
                expected.route.originator_id = Some(self.right.v4);
                expected.route.cluster_list = vec![self.left.v4];
            }
            Relation::EbgpPeer => expected.route.local_pref = Some(100),
        }
        expected
    }
}

fn own_routes() -> Vec<RouteSpec> {
    ["10.50.1.0/24", "fd50:1::/64"].map(RouteSpec::plain).into()
}

fn right_routes() -> Vec<RouteSpec> {
    ["10.70.1.0/24", "fd70:1::/64"].map(|prefix| RouteSpec::rich(prefix, 70)).into()
}

fn address_of(node: &Node, family: IpNet) -> IpAddr {
    match family {
        IpNet::V4(_) => node.v4.into(),
        IpNet::V6(_) => node.v6.into(),
    }
}

/// Compares what somebody holds with what it should hold, exactly; the first difference is the complaint.
fn compare(seen: &[SeenRoute], expected: &[Expected], is_internal: bool) -> Result<(), String> {
    let wanted: BTreeSet<IpNet> = expected.iter().map(|expected| expected.route.prefix).collect();
    if let Some(extra) = seen.iter().find(|route| !wanted.contains(&route.prefix)) {
        return Err(format!("{} should not be there", extra.prefix));
    }
    for Expected { route, other_next_hop } in expected {
        let Some(found) = seen.iter().find(|candidate| candidate.prefix == route.prefix) else {
            return Err(format!("{} is not there", route.prefix));
        };
        let mut found = found.clone();
        if !is_internal {
            // Daemons show a default for what eBGP does not carry.
            found.local_pref = route.local_pref;
        }
        if other_next_hop.is_some() && found.next_hop == *other_next_hop {
            found.next_hop = route.next_hop;
        }
        if found != *route {
            return Err(format!("expected\n    {route}\nbut saw\n    {found}"));
        }
    }
    Ok(())
}

/// The running play.
struct Play {
    stage: Stage,
    left: Box<dyn Daemon>,
    right: Box<dyn Daemon>,
    feeder: Feeder,
    left_routes: Vec<RouteSpec>,
    right_routes: Vec<RouteSpec>,
    feeder_routes: Vec<SeenRoute>,
    start: Instant,
}

/// Plays the whole story.
///
/// # Errors
/// At the first thing that is not as it should be.
pub fn interop(lab: &Lab, relation: Relation, make_left: Maker, make_right: Maker) -> Result<(), LabError> {
    let start = Instant::now();
    let stage = Stage::new(lab, relation)?;
    let mut left = make_left(lab, &stage.left, stage.left_spec())?;
    let mut right = make_right(lab, &stage.right, stage.right_spec())?;
    left.start()?;
    right.start()?;
    let feeder_id: Ipv4Addr = stage.feeder.v4;
    let mut feeder =
        Feeder::start(&stage.feeder.namespace, stage.left.v4.into(), relation.feeder_asn(), feeder_id)?;
    let feeder_routes = stage.feeder_routes();
    feeder_routes.iter().for_each(|route| feeder.announce(route));
    let (left_routes, right_routes) = (own_routes(), right_routes());
    let mut play = Play { stage, left, right, feeder, left_routes, right_routes, feeder_routes, start };

    play.sessions_come_up()?;
    play.everything_agrees("routes both ways")?;
    play.withdrawals_and_changes()?;
    play.route_refresh()?;
    play.tcp_reset()
}

impl Play {
    fn left_address(&self) -> IpAddr {
        self.stage.left.v4.into()
    }

    fn right_address(&self) -> IpAddr {
        self.stage.right.v4.into()
    }

    fn say(&self, what: &str) {
        println!("[{:6.2} s] {what}", self.start.elapsed().as_secs_f64());
    }

    fn sessions_come_up(&mut self) -> Result<(), LabError> {
        let (left, right) = (self.left_address(), self.right_address());
        wait_established(&mut *self.left, right, PATIENCE)?;
        wait_established(&mut *self.right, left, PATIENCE)?;
        wait_established(&mut *self.left, self.stage.feeder.v4.into(), PATIENCE)?;
        self.say("sessions are up");
        Ok(())
    }

    /// Right, left and the feeder hold exactly what they should.
    fn everything_agrees(&mut self, what: &str) -> Result<(), LabError> {
        let (left, right) = (self.left_address(), self.right_address());
        let is_internal = self.stage.relation != Relation::EbgpPeer;
        let own = self.left_routes.iter().map(|route| self.stage.left_route_at_right(route));
        let fed = self.feeder_routes.iter().map(|route| self.stage.feeder_route_at_right(route.clone()));
        let at_right: Vec<Expected> = own.chain(fed).collect();
        wait_routes(&mut *self.right, left, PATIENCE, |seen| compare(seen, &at_right, is_internal))?;

        let at_left: Vec<Expected> =
            self.right_routes.iter().map(|route| self.stage.right_route_at_left(route)).collect();
        wait_routes(&mut *self.left, right, PATIENCE, |seen| compare(seen, &at_left, is_internal))?;

        let at_feeder: Vec<Expected> =
            self.right_routes.iter().map(|route| self.stage.right_route_at_feeder(route)).collect();
        wait_until("the feeder to hold the right routes", PATIENCE, || {
            let mut heard = self.feeder.routes();
            // Left's own routes are not what is asked here.
            heard.retain(|route| self.left_routes.iter().all(|own| own.prefix != route.prefix));
            compare(&heard, &at_feeder, self.stage.relation != Relation::IbgpPeer)
        })?;
        self.say(what);
        Ok(())
    }

    fn withdrawals_and_changes(&mut self) -> Result<(), LabError> {
        let taken: Vec<RouteSpec> = self.right_routes.drain(..).collect();
        for route in &taken {
            self.right.withdraw(route.prefix)?;
        }
        self.everything_agrees("right withdrew both families")?;
        for mut route in taken {
            route.med = Some(71);
            self.right.announce(&route)?;
            self.right_routes.push(route);
        }
        self.everything_agrees("right announced them again with another MED")?;

        for route in std::mem::take(&mut self.left_routes) {
            self.left.withdraw(route.prefix)?;
        }
        for route in std::mem::take(&mut self.feeder_routes) {
            self.feeder.withdraw(route.prefix);
        }
        self.everything_agrees("left and the feeder withdrew everything")?;
        for route in own_routes() {
            self.left.announce(&route)?;
            self.left_routes.push(route);
        }
        for route in self.stage.feeder_routes() {
            self.feeder.announce(&route);
            self.feeder_routes.push(route);
        }
        self.everything_agrees("left and the feeder announced it again")
    }

    fn route_refresh(&mut self) -> Result<(), LabError> {
        let (left, right) = (self.left_address(), self.right_address());
        if self.right.can_ask_refresh() {
            let before = self.right.updates_received(left)?;
            self.right.ask_refresh(left)?;
            wait_until("right to get everything again on request", PATIENCE, || {
                let now = self.right.updates_received(left).map_err(|error| error.to_string())?;
                if now > before { Ok(()) } else { Err(format!("still {now} updates, as before")) }
            })?;
            self.everything_agrees("route refresh asked by right")?;
        } else {
            self.say(&format!("({} has no command that asks for a route refresh)", self.right.name()));
        }

        let before = self.right.refreshes_served(left)?;
        self.left.ask_refresh(right)?;
        wait_until("right to be asked for everything", PATIENCE, || {
            let now = self.right.refreshes_served(left).map_err(|error| error.to_string())?;
            if now > before { Ok(()) } else { Err(format!("its counter is still {now}")) }
        })?;
        self.everything_agrees("route refresh asked by left")
    }

    /// Whether the session is up on both sides and its age, as each side tells it, is right.
    fn ages_are(&mut self, is_right: impl Fn(Duration) -> bool) -> Result<(), String> {
        let (left, right) = (self.left_address(), self.right_address());
        for session in [self.left.session(right), self.right.session(left)] {
            let session = session.map_err(|error| error.to_string())?;
            let SeenSession { is_established: true, uptime: Some(age), .. } = session else {
                return Err(session.detail);
            };
            if !is_right(age) {
                return Err(format!("{}, up for {} s", session.detail, age.as_secs()));
            }
        }
        Ok(())
    }

    fn tcp_reset(&mut self) -> Result<(), LabError> {
        let left = self.left_address();
        // Uptimes have a resolution of a second: an older session cannot be taken for the new one.
        wait_until("a session that is three seconds old", PATIENCE, || self.ages_are(|age| age >= secs(3)))?;
        let reset = Instant::now();
        match self.stage.right.namespace.reset_tcp(left) {
            // A kernel without that feature: losing the daemon is the next best loss of a connection.
            Err(LabError::Missing { .. }) => {
                self.right.kill();
                self.right.start()?;
            }
            done => done?,
        }
        wait_until("a new session on both sides after the reset", PATIENCE, || {
            let since_reset = reset.elapsed() + secs(1);
            self.ages_are(|age| age <= since_reset)
        })?;
        self.say(&format!("a new session {:.1} s after a TCP reset", reset.elapsed().as_secs_f64()));
        self.everything_agrees("routes both ways after the reset")
    }
}
