//! Several neighbours at one address, which differ in the port.

use super::bad_input::{good, keepalive, open, open_of};
use super::*;
use crate::engine::testnet::StreamId;

/// A speaker (1), and a stranger at the address (4) that all of its neighbours have.
struct Shared {
    network: Network,
    speaker: NodeId,
    stranger: NodeId,
}

fn passive(port: u16) -> Neighbor {
    Neighbor::ibgp(address(4)).port(port).passive()
}

impl Shared {
    fn new(neighbors: Vec<Neighbor>) -> Self {
        let mut network = Network::new(1);
        let config = neighbors.into_iter().fold(SpeakerConfig::numbered(1), Configure::peers_with);
        let speaker = network.start(config);
        for number in 2..4 {
            network.start(SpeakerConfig::numbered(number));
        }
        let stranger = network.stranger();
        assert_eq!(stranger.address(), address(4));
        network.run(70 * SECOND);
        Self { network, speaker, stranger }
    }

    /// Somebody at the address connects and says this.
    fn connect(&mut self, bytes: &[u8]) -> StreamId {
        let stream = self.network.connect(self.stranger, self.speaker);
        self.network.run(SECOND);
        self.network.say(self.stranger, stream, bytes);
        self.network.run(SECOND);
        stream
    }

    /// Name and state of each neighbour.
    fn states(&self) -> Vec<(String, String)> {
        let neighbors = self.network.engine(self.speaker).neighbors(self.network.now());
        neighbors.into_iter().map(|neighbor| (neighbor.name, neighbor.state)).collect()
    }

    fn assert_states(&self, expected: &[(&str, &str)]) {
        let states = self.states();
        let states: Vec<(&str, &str)> =
            states.iter().map(|(name, state)| (name.as_str(), state.as_str())).collect();
        assert_eq!(states, expected);
        self.network.engine(self.speaker).audit().unwrap();
    }

    fn apply(&mut self, change: impl FnOnce(&mut SpeakerConfig)) {
        self.network.apply(self.speaker, change);
        self.network.run(SECOND);
    }
}

fn hello(number: u32) -> Vec<u8> {
    [open(number), keepalive()].concat()
}

fn hello_of_as(number: u32, asn: u32) -> Vec<u8> {
    [open_of(&SpeakerConfig::numbered(number).in_as(asn)), keepalive()].concat()
}

#[test]
fn a_connection_goes_to_a_neighbour_without_a_session() {
    let mut shared = Shared::new(vec![passive(150), passive(166)]);
    shared.connect(&hello(4));
    shared.assert_states(&[("10.0.0.4:150", "Established"), ("10.0.0.4:166", "Idle")]);
    shared.connect(&hello(5));
    shared.assert_states(&[("10.0.0.4:150", "Established"), ("10.0.0.4:166", "Established")]);
    let now = shared.network.now();
    shared.network.with_engine(shared.speaker, |_, engine| {
        let remote = std::net::SocketAddr::new(address(4), 5555);
        let refused = engine.accept(now, remote, address(1), &[], None).unwrap_err();
        assert_eq!(refused.to_string(), "the neighbour has an established session");
    });
}

#[test]
fn one_that_waits_for_its_neighbour_comes_before_one_that_connects() {
    let mut shared = Shared::new(vec![Neighbor::ibgp(address(4)).port(150), passive(166)]);
    shared.connect(&hello(4));
    assert_eq!(shared.states()[1], ("10.0.0.4:166".to_owned(), "Established".to_owned()));
    assert_ne!(shared.states()[0].1, "Established");
}

#[test]
fn a_wrong_guess_is_not_made_again() {
    let external = |port, asn| Neighbor::ebgp(address(4), Asn(asn)).port(port).passive();
    let mut shared = Shared::new(vec![external(150, 65001), external(166, 65002), external(170, 65003)]);
    // Only the neighbour of AS 65003 is there. Each attempt of it rules another one out.
    for _ in 0..3 {
        shared.connect(&hello_of_as(4, 65003));
    }
    shared.assert_states(&[
        ("10.0.0.4:150", "Idle"),
        ("10.0.0.4:166", "Idle"),
        ("10.0.0.4:170", "Established"),
    ]);
    // Then the others come, in whichever order.
    for asn in [65002, 65002, 65001, 65001] {
        shared.connect(&hello_of_as(5, asn));
    }
    shared.assert_states(&[
        ("10.0.0.4:150", "Established"),
        ("10.0.0.4:166", "Established"),
        ("10.0.0.4:170", "Established"),
    ]);
}

#[test]
fn neighbours_of_an_address_come_and_go_without_each_other() {
    let mut shared = Shared::new(vec![passive(150)]);
    shared.connect(&[hello(4), good()].concat());
    shared.assert_states(&[("10.0.0.4", "Established")]);
    shared.apply(|config| *config = config.clone().peers_with(passive(166)));
    shared.assert_states(&[("10.0.0.4:150", "Established"), ("10.0.0.4:166", "Idle")]);
    shared.connect(&[hello(5), good()].concat());
    let engine = shared.network.engine(shared.speaker);
    let view = engine.explain(prefix("172.16.1.0/24"), None).unwrap();
    let paths: Vec<(&str, &str)> =
        view.paths.iter().map(|path| (path.route.from.as_str(), path.because.as_str())).collect();
    assert_eq!(
        paths,
        [
            ("10.0.0.4:150", "best by the identifier of its originator (the lower one wins)"),
            ("10.0.0.4:166", "lost by the identifier of its originator (the lower one wins)"),
        ]
    );
    let names: Vec<String> = engine.metrics().session_up.into_keys().collect();
    assert_eq!(names, ["10.0.0.4:150", "10.0.0.4:166"]);
    assert!(engine.explain(prefix("172.16.1.0/24"), Some(address(4).into())).is_err(), "which one?");
    shared.apply(|config| config.neighbors.retain(|id, _| id.port == 166));
    shared.assert_states(&[("10.0.0.4", "Established")]);
    let best = shared.network.best(shared.speaker);
    assert_eq!(best[&prefix("172.16.1.0/24")].from, "10.0.0.4");
    // Another port is a reset, since it is another speaker.
    shared.apply(|config| *config = SpeakerConfig::numbered(1).peers_with(passive(170)));
    shared.assert_states(&[("10.0.0.4", "Idle")]);
    shared.connect(&hello(5));
    shared.assert_states(&[("10.0.0.4", "Established")]);
}

#[test]
fn a_listed_neighbour_takes_the_place_of_the_dynamic_one_whatever_its_port() {
    let mut shared = Shared::new(Vec::new());
    shared.apply(|config| {
        let range = crate::config::ListenRange::new("10.0.0.0/24".parse().unwrap());
        *config = config.clone().listens_to(range);
    });
    shared.connect(&hello(4));
    shared.assert_states(&[("10.0.0.4", "Established")]);
    shared.apply(|config| *config = config.clone().peers_with(passive(150)).peers_with(passive(166)));
    shared.assert_states(&[("10.0.0.4:150", "Idle"), ("10.0.0.4:166", "Idle")]);
}
