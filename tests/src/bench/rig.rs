//! The engine alone, a reflector with clients, without sockets: what it costs is what the engine costs.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bgp_speaker::config::Role;
use bgp_speaker::engine::{ConnId, Engine, MonoTime, StartKind};
use bgp_speaker::proto::BgpId;
use bgp_speaker::{ListenRange, SpeakerConfig};

use super::ASN;
use super::site::next_hop;
use crate::wire::{Open, keepalive};

const OWN: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 1);

/// A reflector and its clients, which read all that they are sent at once, unless they are stalled.
#[derive(Debug)]
pub struct Rig {
    /// The reflector.
    pub engine: Engine,
    now: MonoTime,
    clients: Vec<ConnId>,
    stalled: Vec<usize>,
}

impl Default for Rig {
    fn default() -> Rig {
        let mut config = SpeakerConfig::new(OWN);
        config.cluster_id = Some(BgpId::from(OWN));
        let mut range = ListenRange::new("10.0.0.0/8".parse().expect("a prefix"));
        range.options.role = Role::Client;
        config.listen_ranges.push(range);
        let now = MonoTime::from_start(Duration::ZERO);
        let engine = Engine::new(config, 1, StartKind::Fresh, now);
        Rig { engine, now, clients: Vec::new(), stalled: Vec::new() }
    }
}

impl Rig {
    /// With so many clients, whose sessions are up.
    #[must_use]
    pub fn with_clients(count: usize) -> Rig {
        let mut rig = Rig::default();
        (0..count).for_each(|_| _ = rig.connect());
        rig.settle();
        rig
    }

    /// One more client; returns its number.
    ///
    /// # Panics
    /// If the engine refuses it.
    pub fn connect(&mut self) -> usize {
        let number = self.clients.len();
        let address = next_hop(number);
        let remote = SocketAddr::new(IpAddr::V4(address), 40_000);
        let accepted = self.engine.accept(self.now, remote, IpAddr::V4(OWN), &[], None);
        self.clients.push(accepted.expect("a client of the range"));
        let greeting = [Open::new(ASN, address, 90).encode(), keepalive()].concat();
        self.receive(number, &greeting);
        number
    }

    /// A client says this.
    ///
    /// # Panics
    /// If these are not whole messages, or the engine closes the session.
    pub fn receive(&mut self, client: usize, bytes: &[u8]) {
        let used = self.engine.handle_bytes(self.now, self.clients[client], bytes);
        assert_eq!(used, bytes.len(), "whole messages");
        assert!(self.engine.poll_effect().is_none(), "the session stays");
    }

    /// A client does not read any more.
    pub fn stall(&mut self, client: usize) {
        self.stalled.push(client);
    }

    /// All read again; returns how many bytes they were sent.
    pub fn resume(&mut self) -> usize {
        let stalled = std::mem::take(&mut self.stalled);
        stalled.into_iter().map(|client| self.write(self.clients[client])).sum::<usize>() + self.settle()
    }

    /// A client says much, in pieces such as a socket gives, each worked off before the next; returns how many bytes the
    /// others were sent.
    pub fn stream(&mut self, client: usize, mut bytes: &[u8]) -> usize {
        const PIECE: usize = 256 * 1024;
        let mut sent = 0;
        while !bytes.is_empty() {
            let piece = &bytes[..bytes.len().min(PIECE)];
            let used = self.engine.handle_bytes(self.now, self.clients[client], piece);
            bytes = &bytes[used..];
            sent += self.settle();
        }
        sent
    }

    /// One batch, and what each client is sent after it, in bytes.
    pub fn turn(&mut self) -> Vec<usize> {
        self.engine.flush(|_, _| false);
        self.engine.take_route_changes();
        let mut sent = vec![0; self.clients.len()];
        while let Some(id) = self.engine.poll_writable() {
            let count = self.write(id);
            if let Some(number) = self.clients.iter().position(|client| *client == id) {
                sent[number] += count;
            }
        }
        sent
    }

    /// Routes are selected and all is sent; returns how many bytes.
    pub fn settle(&mut self) -> usize {
        let mut sent = 0;
        loop {
            while self.engine.needs_flush() {
                self.engine.flush(|_, _| false);
                self.engine.take_route_changes();
            }
            let before = sent;
            while let Some(id) = self.engine.poll_writable() {
                sent += self.write(id);
            }
            if sent == before && !self.engine.needs_flush() {
                return sent;
            }
        }
    }

    fn write(&mut self, id: ConnId) -> usize {
        let mut sent = 0;
        if self.stalled.iter().any(|client| self.clients[*client] == id) {
            return sent;
        }
        loop {
            let mut slices: Vec<IoSlice<'_>> = Vec::new();
            if !self.engine.fill(id, &mut slices) {
                return sent;
            }
            let count = slices.iter().map(|slice| slice.len()).sum();
            drop(slices);
            sent += count;
            if !self.engine.written(id, count) {
                return sent;
            }
        }
    }
}
