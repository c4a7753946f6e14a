//! Peers that misbehave: the right NOTIFICATION, a retry with back-off, and every other session untouched.
//!
//! Each test has our daemon on one node, a raw peer that misbehaves on a second, and a feeder on a third whose session
//! and routes must survive everything.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bgp_lab::daemons::ours::{Ours, Program};
use bgp_lab::harness::lab_test;
use bgp_lab::raw_peer::{Feeder, RawPeer, Received, listen};
use bgp_lab::wire::{self, Open};
use bgp_lab::{
    Daemon, Lab, LabError, Node, PeerRole, RouteSpec, SeenRoute, SpeakerSpec, secs, wait_established,
    wait_routes,
};

const AS_OURS: u32 = 64512;
const AS_BAD: u32 = 65030;
const AS_GOOD: u32 = 65010;

struct Stage {
    ours: Ours,
    feeder: Feeder,
    feeder_address: IpAddr,
    bad: Node,
    ours_address: IpAddr,
}

impl Stage {
    fn new(lab: &Lab) -> Result<Stage, LabError> {
        let switch = lab.switch("switch")?;
        let node = |name: &str, number: u8| {
            let v4 = format!("10.9.1.{number}/24").parse().expect("an address");
            lab.node(&switch, name, v4, format!("fd00:9:1::{number}/64").parse().expect("an address"))
        };
        let (ours_node, bad, good) = (node("ours", 1)?, node("bad", 2)?, node("good", 3)?);
        let spec = SpeakerSpec::on(&ours_node, AS_OURS).with_peer(bad.v4, AS_BAD, PeerRole::Peer).with_peer(
            good.v4,
            AS_GOOD,
            PeerRole::Peer,
        );
        let mut ours = Ours::new(lab, &ours_node, Program::BgpSpeaker, spec)?;
        ours.start()?;
        let ours_address: IpAddr = ours_node.v4.into();
        let mut feeder = Feeder::start(&good.namespace, ours_address, AS_GOOD, good.v4)?;
        let mut route = SeenRoute::of(&RouteSpec::plain("10.60.1.0/24"), good.v4.into());
        route.as_path = vec![AS_GOOD];
        feeder.announce(&route);
        let mut stage = Stage { ours, feeder, feeder_address: good.v4.into(), bad, ours_address };
        stage.the_other_session_is_untouched()?;
        Ok(stage)
    }

    fn connect(&self) -> Result<RawPeer, LabError> {
        RawPeer::connect(&self.bad.namespace, self.ours_address)
    }

    /// An OPEN that would be accepted.
    fn good_open(&self) -> Open {
        Open::new(AS_BAD, self.bad.v4, 9)
    }

    fn connect_and_establish(&self, hold_time: u16) -> Result<RawPeer, LabError> {
        let mut peer = self.connect()?;
        peer.establish(&Open { hold_time, ..self.good_open() })?;
        Ok(peer)
    }

    /// The daemon runs, the feeder's session never ended, and its route is still there.
    fn the_other_session_is_untouched(&mut self) -> Result<(), LabError> {
        let good = self.feeder_address;
        wait_established(&mut self.ours, good, secs(10))?;
        wait_routes(&mut self.ours, good, secs(10), |routes| match routes {
            [route] if route.prefix.to_string() == "10.60.1.0/24" => Ok(()),
            _ => Err("the good peer's route is not there".into()),
        })?;
        if self.feeder.is_up() {
            return Ok(());
        }
        Err(LabError::Unexpected {
            what: "the good peer's session".into(),
            expected: "a session that never ended".into(),
            seen: format!("it ended with {:?}", self.feeder.notification()),
        })
    }

    /// After misbehaving, a peer that behaves is welcome again.
    fn a_proper_session_is_possible(&mut self) -> Result<(), LabError> {
        bgp_lab::wait_until("a proper session after the bad one", secs(20), || {
            let mut peer = self.connect()?;
            peer.establish(&self.good_open())
        })
    }
}

fn expect_equal<T: std::fmt::Debug + PartialEq>(what: &str, seen: T, expected: T) -> Result<(), LabError> {
    if seen == expected {
        return Ok(());
    }
    let (expected, seen) = (format!("{expected:?}"), format!("{seen:?}"));
    Err(LabError::Unexpected { what: what.into(), expected, seen })
}

/// The common story: say `bytes` on a fresh connection, get the NOTIFICATION, see everything else unharmed.
fn said(name: &str, bytes: impl Fn(&Stage) -> Vec<u8>, code: u8, subcode: u8) {
    lab_test(name, |lab| {
        let mut stage = Stage::new(lab)?;
        let mut peer = stage.connect()?;
        peer.send(&bytes(&stage));
        let notification = peer.expect_notification(secs(5))?;
        expect_equal("the NOTIFICATION", notification, (code, subcode))?;
        expect_equal("what follows the NOTIFICATION", peer.receive(secs(5)), Received::Closed)?;
        stage.the_other_session_is_untouched()?;
        stage.a_proper_session_is_possible()?;
        stage.the_other_session_is_untouched()
    });
}

#[test]
fn garbage_gets_connection_not_synchronized() {
    said("garbage", |_| (0..200_u32).map(|n| (n * 37 % 251) as u8).collect(), 1, 1);
}

#[test]
fn a_header_with_an_impossible_length_gets_bad_length() {
    let bytes = [vec![0xff; 16], vec![0, 18, 1]].concat();
    said("short-length", move |_| bytes.clone(), 1, 2);
}

#[test]
fn an_unknown_message_type_gets_bad_type() {
    said("unknown-type", |stage| [stage.good_open().encode(), wire::message(77, &[])].concat(), 1, 3);
}

#[test]
fn an_open_of_version_3_gets_unsupported_version() {
    said("version-3", |stage| Open { version: 3, ..stage.good_open() }.encode(), 2, 1);
}

#[test]
fn the_wrong_as_gets_bad_peer_as() {
    said("wrong-as", |stage| Open::new(AS_BAD + 1, stage.bad.v4, 9).encode(), 2, 2);
}

#[test]
fn router_id_zero_gets_bad_identifier() {
    said(
        "router-id-zero",
        |stage| Open { router_id: [0, 0, 0, 0].into(), ..stage.good_open() }.encode(),
        2,
        3,
    );
}

#[test]
fn a_hold_time_of_one_second_gets_unacceptable_hold_time() {
    said("hold-time-one", |stage| Open { hold_time: 1, ..stage.good_open() }.encode(), 2, 6);
}

#[test]
fn an_update_before_the_handshake_gets_fsm_error() {
    said("early-update", |stage| [stage.good_open().encode(), wire::update(&[], &[], &[])].concat(), 5, 2);
}

#[test]
fn half_a_message_and_then_silence_ends_with_the_hold_timer() {
    silence_ends_with_the_hold_timer("half-message", &wire::keepalive()[..10]);
}

#[test]
fn nothing_at_all_ends_with_the_hold_timer() {
    silence_ends_with_the_hold_timer("nothing", &[]);
}

fn silence_ends_with_the_hold_timer(name: &str, last_words: &[u8]) {
    lab_test(name, |lab| {
        let mut stage = Stage::new(lab)?;
        let mut peer = stage.connect_and_establish(3)?;
        let silent_since = Instant::now();
        peer.send(last_words);
        let notification = peer.expect_notification(secs(8))?;
        expect_equal("the NOTIFICATION", notification, (4, 0))?;
        let patience = silent_since.elapsed();
        let is_on_time = (Duration::from_millis(2500)..secs(5)).contains(&patience);
        expect_equal(&format!("an end after 3 s of silence (it was {patience:?})"), is_on_time, true)?;
        stage.the_other_session_is_untouched()?;
        stage.a_proper_session_is_possible()
    });
}

/// RFC 7606: a malformed attribute costs the route, not the session.
#[test]
fn a_malformed_origin_withdraws_the_route_and_keeps_the_session() {
    lab_test("malformed-origin", |lab| {
        let mut stage = Stage::new(lab)?;
        let bad: IpAddr = stage.bad.v4.into();
        let mut peer = stage.connect_and_establish(30)?;
        let mut route = SeenRoute::of(&RouteSpec::plain("10.61.1.0/24"), bad);
        route.as_path = vec![AS_BAD];
        peer.send(&wire::announce(&route));
        wait_routes(&mut stage.ours, bad, secs(5), |routes| match routes {
            [only] if only.prefix == route.prefix => Ok(()),
            _ => Err("the proper route is not there".into()),
        })?;
        // The same route again, with an ORIGIN that does not exist.
        let good = wire::announce(&route);
        let origin = good.windows(4).position(|bytes| bytes == [0x40, 1, 1, 0]).expect("an ORIGIN");
        let mut malformed = good.clone();
        malformed[origin + 3] = 7;
        peer.send(&malformed);
        wait_routes(&mut stage.ours, bad, secs(5), |routes| match routes {
            [] => Ok(()),
            _ => Err("the malformed route is still there".into()),
        })?;
        peer.send(&good);
        wait_routes(&mut stage.ours, bad, secs(5), |routes| match routes {
            [_] => Ok(()),
            _ => Err("the session no longer takes routes".into()),
        })?;
        stage.the_other_session_is_untouched()
    });
}

/// A neighbour that accepts and hangs up at once is tried again, but not in a tight loop.
#[test]
fn a_peer_that_hangs_up_is_retried_with_back_off() {
    lab_test("hangs-up", |lab| {
        let mut stage = Stage::new(lab)?;
        let listener = listen(&stage.bad.namespace, stage.bad.v4.into())?;
        let mut attempts = Vec::new();
        let start = Instant::now();
        while attempts.len() < 3 {
            // Back-off may be long by now; the first retries must not be.
            drop(RawPeer::accept(&listener, secs(60))?);
            attempts.push(start.elapsed());
        }
        let gaps: Vec<Duration> = attempts.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
        let is_patient = gaps.iter().all(|gap| *gap >= Duration::from_millis(500));
        expect_equal(
            &format!("half a second or more between attempts (they were {gaps:?})"),
            is_patient,
            true,
        )?;
        stage.the_other_session_is_untouched()
    });
}

/// A neighbour that is not configured is turned away without harm.
#[test]
fn a_stranger_is_turned_away() {
    lab_test("stranger", |lab| {
        let mut stage = Stage::new(lab)?;
        stage.bad.namespace.ip("address del 10.9.1.2/24 dev eth0\naddress add 10.9.1.77/24 dev eth0")?;
        let mut peer = stage.connect()?;
        peer.send(&stage.good_open().encode());
        let first = loop {
            match peer.receive(secs(5)) {
                Received::Message { kind: wire::OPEN, .. } => {}
                other => break other,
            }
        };
        let is_refused = matches!(first, Received::Closed)
            || matches!(&first, Received::Message { kind: wire::NOTIFICATION, body } if body.first() == Some(&6));
        expect_equal(&format!("a refusal (it was {first:?})"), is_refused, true)?;
        stage.the_other_session_is_untouched()
    });
}

/// It is not bad, only quick: the NOTIFICATION and the new connection reach us at the same time.
#[test]
fn a_neighbor_that_resets_its_session_and_connects_at_once_is_taken() {
    lab_test("a_neighbor_that_resets_its_session_and_connects_at_once_is_taken", |lab| {
        let mut stage = Stage::new(lab)?;
        let mut peer = stage.connect_and_establish(90)?;
        for _ in 0..200 {
            // Cease, Other Configuration Change.
            peer.send(&wire::message(3, &[6, 6]));
            peer = stage.connect_and_establish(90)?;
        }
        for _ in 0..200 {
            // The end comes after something that is to be read, and a NOTIFICATION is not all that may say so.
            peer.send(&wire::keepalive());
            drop(peer);
            peer = stage.connect_and_establish(90)?;
        }
        stage.the_other_session_is_untouched()
    });
}
