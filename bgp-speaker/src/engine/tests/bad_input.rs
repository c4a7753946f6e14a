//! What a broken or hostile neighbour sends. Whoever it is, nobody else notices.

use super::*;
use crate::engine::negotiate::{RestartFlags, local_open};
use crate::engine::testnet::StreamId;
use bgp_proto::Message;
use bytes::BytesMut;

/// A reflector (1), two clients (2, 3), and a stranger (4) at the address of a third, which connects.
struct Stage {
    network: Network,
    nodes: Vec<NodeId>,
    stranger: NodeId,
}

impl Stage {
    fn new() -> Self {
        let mut network = Network::new(1);
        let mut nodes = star(&mut network, 3);
        let stranger = network.stranger();
        network.apply(nodes[0], |config| {
            let neighbor = Neighbor { ..Neighbor::client(address(4)) };
            *config = config.clone().peers_with(neighbor.passive());
        });
        network.run(70 * SECOND);
        network.forget_heard();
        nodes.push(stranger);
        Self { network, nodes, stranger }
    }

    fn connect(&mut self) -> StreamId {
        let stream = self.network.connect(self.stranger, self.nodes[0]);
        self.network.run(SECOND);
        stream
    }

    /// Up to Established.
    fn session(&mut self) -> StreamId {
        let stream = self.connect();
        self.say(stream, &[open(4), keepalive()].concat());
        assert_eq!(self.state(), "Established");
        stream
    }

    fn say(&mut self, stream: StreamId, bytes: &[u8]) {
        self.network.say(self.stranger, stream, bytes);
        self.network.run(SECOND);
    }

    fn state(&self) -> String {
        self.network.neighbor(self.nodes[0], self.stranger).expect("listed").state
    }

    fn notifications(&self) -> Vec<(u8, u8)> {
        notifications(&self.network, self.stranger, self.nodes[0])
    }

    fn has(&self, text: &str) -> bool {
        self.network.received(self.nodes[0], self.stranger).contains_key(&prefix(text))
    }

    /// The clients have not heard anything since the beginning.
    fn assert_unnoticed(&self) {
        for client in [self.nodes[1], self.nodes[2]] {
            let heard = self.network.heard_by(client, self.nodes[0]);
            assert_eq!(heard.filter(|heard| heard.kind() != MessageType::KEEPALIVE).count(), 0);
            assert_eq!(session_count(&self.network, self.nodes[0], client), 1);
        }
    }
}

fn encode(message: &Message) -> Vec<u8> {
    let mut out = BytesMut::new();
    message.encode(&SessionParams::default(), &mut out).expect("it can be encoded");
    out.to_vec()
}

/// The OPEN of the n-th speaker.
pub(super) fn open(number: u32) -> Vec<u8> {
    open_of(&SpeakerConfig::numbered(number))
}

pub(super) fn open_of(config: &SpeakerConfig) -> Vec<u8> {
    open_with(config, &SessionOptions::default())
}

pub(super) fn open_with(config: &SpeakerConfig, options: &SessionOptions) -> Vec<u8> {
    let flags = RestartFlags { restarting: false, forwarding_preserved: false };
    encode(&Message::Open(local_open(config, options, flags)))
}

pub(super) fn keepalive() -> Vec<u8> {
    encode(&Message::Keepalive)
}

pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16 + 19).to_be_bytes();
    [&[0xff; 16][..], &length, &[kind], body].concat()
}

pub(super) fn update(attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let length = (attributes.len() as u16).to_be_bytes();
    message(2, &[&[0, 0], &length[..], attributes, nlri].concat())
}

pub(super) const ORIGIN: [u8; 4] = [0x40, 1, 1, 0];
pub(super) const AS_PATH: [u8; 3] = [0x40, 2, 0];
pub(super) const NEXT_HOP: [u8; 7] = [0x40, 3, 4, 10, 0, 0, 4];
const LOCAL_PREF: [u8; 7] = [0x40, 5, 4, 0, 0, 0, 100];
const NLRI: [u8; 4] = [24, 172, 16, 1];
const PREFIX: &str = "172.16.1.0/24";

pub(super) fn good() -> Vec<u8> {
    update(&[&ORIGIN[..], &AS_PATH, &NEXT_HOP, &LOCAL_PREF].concat(), &NLRI)
}

#[test]
fn garbage_is_answered_with_1_1() {
    let mut stage = Stage::new();
    let stream = stage.connect();
    stage.say(stream, b"GET / HTTP/1.1\r\nHost: reflector\r\n\r\n");
    assert_eq!(stage.notifications(), [(1, 1)]);
    assert!(stage.network.streams_between(stage.nodes[0], stage.stranger).len() <= 1, "it was closed");
    stage.assert_unnoticed();
}

#[test]
fn wrong_lengths_and_types_are_answered_with_their_codes() {
    let mut too_short = message(4, &[]);
    too_short[17] = 18;
    for (bytes, code) in [(too_short, (1, 2)), (message(9, &[]), (1, 3)), (message(4, &[0]), (1, 2))] {
        let mut stage = Stage::new();
        let stream = stage.connect();
        stage.say(stream, &bytes);
        assert_eq!(stage.notifications(), [code], "{bytes:?}");
        stage.assert_unnoticed();
    }
}

#[test]
fn half_a_message_is_waited_for_until_the_timer_is_over() {
    let mut stage = Stage::new();
    let stream = stage.connect();
    stage.say(stream, &open(4)[..20]);
    stage.network.run(230 * SECOND);
    assert_eq!(stage.notifications(), []);
    stage.network.run(10 * SECOND);
    assert_eq!(stage.notifications(), [(4, 0)]);
    stage.assert_unnoticed();
}

#[test]
fn nothing_at_all_is_waited_for_until_the_timer_is_over() {
    let mut stage = Stage::new();
    stage.connect();
    stage.network.run(241 * SECOND);
    assert_eq!(stage.notifications(), [(4, 0)]);
    stage.assert_unnoticed();
}

#[test]
fn an_open_that_is_not_acceptable_is_answered_with_its_code() {
    let ours = SpeakerConfig { router_id: bgp_proto::BgpId(0x0a00_0001), ..SpeakerConfig::numbered(4) };
    let mut version = open(4);
    version[19] = 3;
    let mut hold_time = open(4);
    hold_time[22..24].copy_from_slice(&[0, 2]);
    let mut no_id = open(4);
    no_id[24..28].copy_from_slice(&[0; 4]);
    let wrong_as = open_of(&SpeakerConfig::numbered(4).in_as(65001));
    for (bytes, code) in [
        (open_of(&ours), (2, 3)),
        (version, (2, 1)),
        (hold_time, (2, 6)),
        (no_id, (2, 3)),
        (wrong_as, (2, 2)),
    ] {
        let mut stage = Stage::new();
        let stream = stage.connect();
        stage.say(stream, &bytes);
        assert_eq!(stage.notifications(), [code]);
        stage.assert_unnoticed();
    }
}

#[test]
fn messages_in_the_wrong_state_are_answered_with_5() {
    let refresh = message(5, &[0, 1, 0, 1]);
    for (bytes, code) in [
        (keepalive(), (5, 1)),
        (good(), (5, 1)),
        ([open(4), good()].concat(), (5, 2)),
        ([open(4), open(4)].concat(), (5, 2)),
        ([open(4), refresh].concat(), (5, 2)),
        ([open(4), keepalive(), open(4)].concat(), (5, 3)),
    ] {
        let mut stage = Stage::new();
        let stream = stage.connect();
        stage.say(stream, &bytes);
        assert_eq!(stage.notifications(), [code]);
        stage.assert_unnoticed();
    }
}

#[test]
fn the_right_messages_make_a_session() {
    let mut stage = Stage::new();
    let stream = stage.session();
    stage.say(stream, &good());
    assert!(stage.has(PREFIX));
    assert_eq!(stage.notifications(), []);
    let reflected = stage.network.best(stage.nodes[1]);
    assert!(reflected.contains_key(&prefix(PREFIX)));
}

#[test]
fn one_byte_at_a_time_is_as_good_as_any() {
    let mut stage = Stage::new();
    let stream = stage.connect();
    for byte in [open(4), keepalive(), good()].concat() {
        stage.network.say(stage.stranger, stream, &[byte]);
    }
    stage.network.run(SECOND);
    assert!(stage.has(PREFIX));
}

#[test]
fn a_malformed_attribute_is_a_withdrawal_and_the_session_stays() {
    let optional_next_hop = [0xc0, 3, 4, 10, 0, 0, 4];
    let long_next_hop = [&[0x40, 3, 16][..], &[0xfd; 16]].concat();
    let blocks = [
        ("ORIGIN of 9", [&[0x40, 1, 1, 9][..], &AS_PATH, &NEXT_HOP, &LOCAL_PREF].concat()),
        ("no ORIGIN", [&AS_PATH[..], &NEXT_HOP, &LOCAL_PREF].concat()),
        ("no NEXT_HOP", [&ORIGIN[..], &AS_PATH, &LOCAL_PREF].concat()),
        ("NEXT_HOP with wrong flags", [&ORIGIN[..], &AS_PATH, &optional_next_hop, &LOCAL_PREF].concat()),
        ("NEXT_HOP of 16 octets", [&ORIGIN[..], &AS_PATH, &long_next_hop, &LOCAL_PREF].concat()),
        ("half an attribute", [&ORIGIN[..], &AS_PATH, &NEXT_HOP, &LOCAL_PREF, &[0xc0, 8, 4, 1]].concat()),
        ("half a header", [&ORIGIN[..], &AS_PATH, &NEXT_HOP, &LOCAL_PREF, &[0xc0]].concat()),
        (
            "COMMUNITIES of 3",
            [&ORIGIN[..], &AS_PATH, &NEXT_HOP, &LOCAL_PREF, &[0xc0, 8, 3, 0, 0, 0]].concat(),
        ),
    ];
    for (what, attributes) in blocks {
        let mut stage = Stage::new();
        let stream = stage.session();
        stage.say(stream, &good());
        assert!(stage.has(PREFIX));
        stage.say(stream, &update(&attributes, &NLRI));
        assert!(!stage.has(PREFIX), "{what}");
        assert!(!stage.network.best(stage.nodes[1]).contains_key(&prefix(PREFIX)), "{what}");
        assert_eq!((stage.state().as_str(), stage.notifications()), ("Established", vec![]), "{what}");
        stage.say(stream, &good());
        assert!(stage.has(PREFIX), "{what}: the session goes on");
    }
}

#[test]
fn an_attribute_that_may_be_dropped_is_and_the_route_stays() {
    let mut stage = Stage::new();
    let stream = stage.session();
    let aggregate = [0x40, 6, 1, 0];
    stage.say(stream, &update(&[&ORIGIN[..], &AS_PATH, &NEXT_HOP, &LOCAL_PREF, &aggregate].concat(), &NLRI));
    assert!(stage.has(PREFIX));
}

#[test]
fn an_update_whose_prefixes_cannot_be_split_ends_the_session() {
    let attributes = [&ORIGIN[..], &AS_PATH, &NEXT_HOP, &LOCAL_PREF].concat();
    let overlong = message(2, &[0, 0, 0xff, 0xff, 1, 2]);
    for (bytes, code) in [(update(&attributes, &[33, 1, 2, 3, 4, 5]), (3, 10)), (overlong, (3, 1))] {
        let mut stage = Stage::new();
        let stream = stage.session();
        stage.say(stream, &bytes);
        assert_eq!(stage.notifications(), [code]);
        stage.assert_unnoticed();
    }
}

#[test]
fn a_next_hop_that_is_us_or_nobody_is_a_withdrawal() {
    for next_hop in [[10, 0, 0, 1], [0, 0, 0, 0], [224, 0, 0, 1], [255, 255, 255, 255]] {
        let mut stage = Stage::new();
        let stream = stage.session();
        stage.say(stream, &good());
        let attributes = [&ORIGIN[..], &AS_PATH, &[0x40, 3, 4], &next_hop, &LOCAL_PREF].concat();
        stage.say(stream, &update(&attributes, &NLRI));
        assert!(!stage.has(PREFIX), "{next_hop:?}");
        assert_eq!(stage.state(), "Established");
    }
}

#[test]
fn what_an_external_neighbour_must_not_send_does_not_count_even_if_an_internal_one_sent_the_same() {
    let mut stage = Stage::new();
    let stream = stage.session();
    let path = [0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9];
    let attributes = [&ORIGIN[..], &path, &NEXT_HOP, &[0x40, 5, 4, 0, 0, 3, 0xe8]].concat();
    stage.say(stream, &update(&attributes, &NLRI));
    assert_eq!(stage.network.best(stage.nodes[0])[&prefix(PREFIX)].local_pref, Some(1000));
    // A neighbour of AS 65001 says the same, octet by octet.
    let external = stage.network.stranger();
    let neighbor = Neighbor::ebgp(external.address(), Asn(65001)).passive();
    stage.network.apply(stage.nodes[0], |config| *config = config.clone().peers_with(neighbor));
    let stream = stage.network.connect(external, stage.nodes[0]);
    stage.network.run(SECOND);
    let hello = [open_of(&SpeakerConfig::numbered(external.number()).in_as(65001)), keepalive()].concat();
    stage.network.say(external, stream, &[hello, update(&attributes, &[24, 172, 16, 2])].concat());
    stage.network.run(SECOND);
    let received = stage.network.received(stage.nodes[0], external);
    assert_eq!(received[&prefix("172.16.2.0/24")].local_pref, None);
}

#[test]
fn random_bytes_in_any_state_never_reach_anybody_else() {
    for seed in 0..50 {
        let mut stage = Stage::new();
        let mut dice = crate::engine::testnet::Dice::new(seed);
        for _ in 0..5 {
            let stream = stage.connect();
            if dice.percent(70) {
                stage.say(stream, &[open(4), keepalive()].concat());
            }
            let mut bytes = [good(), keepalive(), good()].concat();
            for _ in 0..1 + dice.below(4) {
                let position = dice.below(bytes.len());
                bytes[position] = dice.roll() as u8;
            }
            stage.say(stream, &bytes);
            stage.network.hang_up(stage.stranger, stream);
            stage.network.run(SECOND);
            stage.network.check();
        }
        let clients = [stage.nodes[1], stage.nodes[2]];
        for client in clients {
            assert_eq!(session_count(&stage.network, stage.nodes[0], client), 1, "seed {seed}");
            assert_eq!(notifications(&stage.network, client, stage.nodes[0]), [], "seed {seed}");
        }
    }
}

#[test]
fn a_neighbour_whose_bytes_were_bad_is_connected_to_again_with_back_off() {
    let mut network = Network::new(1);
    let speaker = network.start(SpeakerConfig::numbered(1).ibgp(&[2]));
    let stranger = network.stranger();
    let mut attempts = 0;
    for _ in 0..120 {
        network.run(SECOND);
        for stream in network.streams_between(speaker, stranger) {
            attempts += 1;
            network.say(stranger, stream, b"this is not BGP at all, is it?");
        }
    }
    assert!((4..=14).contains(&attempts), "{attempts} in two minutes");
}

#[test]
fn connections_from_a_neighbours_address_do_not_put_our_own_attempts_off() {
    let mut network = Network::new(1);
    let speaker = network.start(SpeakerConfig::numbered(1).ibgp(&[2]));
    let neighbor = network.start(SpeakerConfig::numbered(2).peers_with(Neighbor::ibgp(address(1)).passive()));
    network.refuse(neighbor, true);
    network.reset(speaker, neighbor);
    network.run(30 * SECOND);
    network.refuse(neighbor, false);
    // Somebody behind the same address connects and hangs up, every second.
    let until = network.now() + 60 * SECOND;
    while network.now() < until && !network.is_up(speaker, neighbor) {
        network.with_engine(speaker, |now, engine: &mut Engine| {
            let remote = std::net::SocketAddr::new(address(2), 5555);
            if let Ok(id) = engine.accept(now, remote, address(1), &[], None) {
                engine.closed(now, id, "hung up");
            }
        });
        network.run(SECOND);
    }
    assert!(network.is_up(speaker, neighbor));
}

#[test]
fn who_sends_but_never_reads_loses_its_session() {
    let mut stage = Stage::new();
    let stream = stage.session();
    stage.network.stall(stage.nodes[0], stage.stranger);
    // More than the connection takes: something is always waiting to be written.
    stage.network.weather.window_bytes = 40;
    let mut minutes = 0;
    while stage.state() == "Established" {
        minutes += 1;
        assert!(minutes < 12, "still up");
        (0..3).for_each(|_| {
            stage.network.say(stage.stranger, stream, &keepalive());
            stage.network.run(20 * SECOND);
        });
    }
    assert!(minutes >= 8, "down after {minutes} minutes");
    let neighbor = stage.network.neighbor(stage.nodes[0], stage.stranger).expect("listed");
    assert!(neighbor.last_error.is_some_and(|error| error.contains("Send Hold Timer Expired")));
}

#[test]
fn what_was_malformed_is_kept_with_what_was_done_about_it() {
    let mut stage = Stage::new();
    let stream = stage.session();
    let malformed = |stage: &Stage, of: Option<u32>| {
        let of = of.map(|number| address(number).into());
        let network = &stage.network;
        network.engine(stage.nodes[0]).malformed(network.now(), of)
    };
    assert_eq!(malformed(&stage, None), Ok(Vec::new()));
    stage.say(stream, &good());
    assert_eq!(malformed(&stage, Some(4)), Ok(Vec::new()), "a sound UPDATE is not kept");

    // LOCAL_PREF of three octets: the route is withdrawn. AGGREGATOR of one octet: dropped.
    let short_pref = [0x40, 5, 3, 0, 0, 100];
    let wrong = update(&[&ORIGIN[..], &AS_PATH, &NEXT_HOP, &short_pref, &[0xc0, 7, 1, 0]].concat(), &NLRI);
    stage.say(stream, &wrong);
    let kept = malformed(&stage, Some(4)).expect("a neighbour");
    assert_eq!(kept.len(), 1);
    let actions: Vec<&str> = kept[0].errors.iter().map(|error| error.action.as_str()).collect();
    assert_eq!(actions, ["treat-as-withdraw", "attribute-discard"], "{kept:?}");
    assert_eq!((kept[0].neighbor.as_str(), kept[0].message.as_str()), ("10.0.0.4", "UPDATE"));
    assert_eq!((kept[0].length, kept[0].age_ms), (wrong.len(), 1000));
    assert!(kept[0].octets.ends_with("18ac1001") && kept[0].octets.len() == 2 * wrong.len());
    let has = |text: &str| kept[0].decoded.iter().any(|line| line.contains(text));
    assert!(has("ORIGIN (1) flags 0x40 (transitive), 1 octet: 00 = igp"), "{:#?}", kept[0].decoded);
    assert!(has("LOCAL_PREF (5) flags 0x40 (transitive), 3 octets: 000064"), "{:#?}", kept[0].decoded);
    assert!(has("announced 172.16.1.0/24"), "{:#?}", kept[0].decoded);
    assert_eq!(stage.state(), "Established");

    // What ends the session: fields that contradict each other, and what is no message at all.
    stage.say(stream, &message(2, &[0, 9, 0, 0]));
    let stream = stage.session();
    stage.say(stream, &[0; 19]);
    let kept = malformed(&stage, None).expect("no neighbour is named");
    let told: Vec<(&str, &str)> =
        kept[1..].iter().map(|one| (one.message.as_str(), one.errors[0].action.as_str())).collect();
    assert_eq!(told, [("UPDATE", "session-reset"), ("none", "session-reset")], "{kept:#?}");
    assert!(kept[1].decoded[0].starts_with("its fields cannot be told apart"), "{kept:#?}");
    assert_eq!(kept[2].errors[0].error, "the marker is not all ones");
    let view = stage.network.neighbor(stage.nodes[0], stage.stranger).expect("listed");
    assert_eq!(view.malformed_count, 3);
    assert!(malformed(&stage, Some(99)).is_err());
}
