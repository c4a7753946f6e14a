//! A whole speaker on arbitrary octets and events.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::time::Duration;

use bgp_proto::{
    AddPathDirection, AfiSafi, Asn, BgpId, Capability, GracefulRestart, GracefulRestartFamily, HoldTime,
    Message, Open, SessionParams,
};
use bgp_speaker::config::{AddPaths, Announcement, ListenRange, Neighbor, SpeakerConfig};
use bgp_speaker::engine::{ConnId, Effect, Engine, MonoTime, StartKind, StopMode};
use bytes::BytesMut;

use crate::message;

/// Our own address.
const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
/// Operations after which an input says nothing new.
const STEPS_MAX: usize = 400;

/// A speaker, and the octets that decide what happens to it.
///
/// An octet chooses the operation (low four bits) and the connection (high four bits). Octets to receive are raw, or the
/// body of a message with a sound header, or an OPEN that its peer may send: else no input would reach Established.
pub fn session(data: &[u8]) {
    let mut input = Input { rest: data };
    let mut world = World::new();
    for _ in 0..STEPS_MAX {
        let Some(octet) = input.octet() else { break };
        world.step(octet & 15, usize::from(octet >> 4), &mut input);
        world.drain();
    }
    while world.engine.needs_flush() {
        world.engine.flush(|_, _| false);
        world.drain();
    }
    assert_eq!(world.engine.audit(), Ok(()));
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn octet(&mut self) -> Option<u8> {
        let (octet, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*octet)
    }

    /// As many octets as the next two say, or what is left.
    fn octets(&mut self) -> &'a [u8] {
        let len = u16::from_be_bytes([self.octet().unwrap_or(0) & 0x0f, self.octet().unwrap_or(0)]);
        let (octets, rest) = self.rest.split_at(usize::from(len).min(self.rest.len()));
        self.rest = rest;
        octets
    }
}

/// A connection and the octets that it received and the engine did not take yet.
struct Connection {
    id: ConnId,
    remote: IpAddr,
    received: Vec<u8>,
}

struct World {
    engine: Engine,
    now: MonoTime,
    connections: Vec<Connection>,
    attempts: Vec<(ConnId, IpAddr)>,
}

/// A reflector with an internal neighbour, a client, an external neighbour and a range; the client and the range may
/// number their paths.
fn config() -> SpeakerConfig {
    let mut config = SpeakerConfig::new(Ipv4Addr::new(10, 0, 0, 1));
    config.cluster_id = Some(BgpId(1));
    let external = Neighbor::ebgp(peer(3), Asn(65001));
    let mut client = Neighbor::client(peer(2)).passive();
    client.options.add_paths = AddPaths::Both;
    for neighbor in [Neighbor::ibgp(peer(1)), client, external] {
        config.neighbors.insert(neighbor.id(), neighbor);
    }
    let mut range = ListenRange::new("10.1.0.0/16".parse().expect("a prefix"));
    range.options.add_paths = AddPaths::Both;
    range.options.add_paths_max = NonZeroU8::MIN;
    config.listen_ranges.push(range);
    announce(&mut config, "192.168.1.0/26");
    config
}

fn announce(config: &mut SpeakerConfig, prefix: &str) {
    let prefix = prefix.parse().expect("a prefix");
    config.announcements.insert(prefix, Announcement::block(prefix));
}

fn peer(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, number >> 7, 0, number | 2))
}

impl World {
    fn new() -> World {
        let now = MonoTime::ZERO;
        let engine = Engine::new(config(), 7, StartKind::Fresh, now);
        let mut world = World { engine, now, connections: Vec::new(), attempts: Vec::new() };
        world.drain();
        world
    }

    fn step(&mut self, operation: u8, at: usize, input: &mut Input<'_>) {
        match operation {
            0 => self.receive(at, input.octets()),
            1 => {
                let kind = input.octet().unwrap_or(2);
                let body = input.octets();
                self.receive(at, &message(kind, body));
            }
            2 => {
                let bytes = self.open(at, input.octet().unwrap_or(0));
                self.receive(at, &bytes);
            }
            3 => self.receive(at, &message(4, &[])),
            4 => {
                let remote = SocketAddr::new(peer(input.octet().unwrap_or(1)), 40_000);
                if let Ok(id) = self.engine.accept(self.now, remote, OWN, &[], None) {
                    self.connections.push(Connection { id, remote: remote.ip(), received: Vec::new() });
                }
            }
            5 => {
                if let Some((id, remote)) = self.attempts.pop() {
                    self.engine.connected(self.now, id, OWN, &[]);
                    self.connections.push(Connection { id, remote, received: Vec::new() });
                }
            }
            6 => {
                if let Some((id, _)) = self.attempts.pop() {
                    self.engine.connect_failed(self.now, id, "refused");
                }
            }
            7 => self.pass(Duration::from_secs(u64::from(input.octet().unwrap_or(1)))),
            8 => self.pass(Duration::from_millis(u64::from(input.octet().unwrap_or(1)))),
            9 => {
                if at < self.connections.len() {
                    let connection = self.connections.swap_remove(at);
                    self.engine.closed(self.now, connection.id, "reset by peer");
                }
            }
            10 => self.write(at, usize::from(input.octet().unwrap_or(255))),
            11 => self.engine.flush(|_, _| false),
            12 => self.reconfigure(input.octet().unwrap_or(0)),
            13 => {
                // A neighbour that was removed is no neighbour.
                _ = self.engine.reset(self.now, peer(input.octet().unwrap_or(1)).into());
            }
            14 => {
                _ = self.engine.refresh(peer(input.octet().unwrap_or(1)).into());
            }
            _ => {
                // Rare, because it ends everything else.
                let mode = if at & 1 == 0 { StopMode::Restart } else { StopMode::Leave };
                if input.octet() == Some(0xff) {
                    self.engine.stop(self.now, mode);
                }
            }
        }
    }

    fn receive(&mut self, at: usize, bytes: &[u8]) {
        let count = self.connections.len().max(1);
        let Some(connection) = self.connections.get_mut(at % count) else { return };
        connection.received.extend_from_slice(bytes);
        let used = self.engine.handle_bytes(self.now, connection.id, &connection.received);
        connection.received.drain(..used);
        assert!(connection.received.len() < 65_535, "what is left is less than a message");
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.engine.handle_deadline(self.now);
        assert!(self.engine.next_deadline().is_none_or(|next| next > self.now), "nothing due is left");
    }

    /// Takes up to so many octets of what a connection has to write.
    fn write(&mut self, at: usize, most: usize) {
        let count = self.connections.len().max(1);
        let Some(id) = self.connections.get(at % count).map(|connection| connection.id) else { return };
        let mut slices = Vec::new();
        self.engine.fill(id, &mut slices);
        let available: usize = slices.iter().map(|slice| slice.len()).sum();
        drop(slices);
        self.engine.written(id, available.min(most * 16));
    }

    fn reconfigure(&mut self, octet: u8) {
        let mut config = config();
        if octet & 1 != 0 {
            config.neighbors.remove(&peer(1).into());
        }
        if octet & 2 != 0 {
            announce(&mut config, "192.168.2.0/26");
        }
        if octet & 4 != 0 {
            config.announcements.clear();
        }
        if octet & 8 != 0 {
            config.listen_ranges.clear();
        }
        if octet & 16 != 0 {
            config.hold_time_secs = 9;
        }
        self.engine.apply(self.now, config);
    }

    /// Carries out what the engine asks for, except that it may wait for a connection or for room to write.
    fn drain(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Connect(target) => self.attempts.push((target.conn, target.remote.ip())),
                Effect::Close(id) => {
                    self.connections.retain(|connection| connection.id != id);
                    self.attempts.retain(|(attempt, _)| *attempt != id);
                    self.engine.closed(self.now, id, "closed");
                }
            }
        }
        while self.engine.poll_writable().is_some() {}
        self.engine.take_route_changes();
    }

    /// An OPEN that the neighbour of a connection may send, with the capabilities that an octet selects.
    fn open(&self, at: usize, octet: u8) -> Vec<u8> {
        let count = self.connections.len().max(1);
        let remote = self.connections.get(at % count).map_or(OWN, |connection| connection.remote);
        let asn = if remote == peer(3) { Asn(65001) } else { Asn(64512) };
        let bgp_id = match remote {
            IpAddr::V4(address) => BgpId::from(address),
            IpAddr::V6(_) => BgpId(9),
        };
        let restart = GracefulRestart {
            restarting: octet & 8 != 0,
            restart_time_secs: 30,
            families: vec![GracefulRestartFamily {
                family: AfiSafi::IPV4_UNICAST,
                forwarding_preserved: true,
            }],
            ..GracefulRestart::default()
        };
        let offered = [
            (true, Capability::MultiProtocol(AfiSafi::IPV4_UNICAST)),
            (octet & 1 == 0, Capability::MultiProtocol(AfiSafi::IPV6_UNICAST)),
            (octet & 2 == 0, Capability::FourOctetAs(asn)),
            (octet & 4 == 0, Capability::RouteRefresh),
            (octet & 16 == 0, Capability::GracefulRestart(restart)),
            (octet & 32 != 0, Capability::ExtendedMessage),
            (octet & 64 != 0, Capability::AddPath(vec![(AfiSafi::IPV4_UNICAST, AddPathDirection::Both)])),
        ];
        let capabilities = offered
            .into_iter()
            .filter_map(|(is_offered, capability)| is_offered.then_some(capability))
            .collect();
        let open = Open { version: 4, asn, hold_time: HoldTime::SUGGESTED, bgp_id, capabilities };
        let mut out = BytesMut::new();
        Message::Open(open).encode(&SessionParams::default(), &mut out).expect("a sound OPEN");
        out.to_vec()
    }
}
