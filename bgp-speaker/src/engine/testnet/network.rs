//! The event queue, the streams, and what engines ask for.

use super::dice::Dice;
use super::node::{Host, Node, NodeId, Revival};
use super::record::{Heard, messages};
use super::stream::{End, Segment, Side, Stream, StreamId};
use super::weather::Weather;
use crate::config::SpeakerConfig;
use crate::engine::conn::ConnId;
use crate::engine::speaker::{ConnectTarget, Effect, Engine};
use crate::engine::time::MonoTime;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Something that happens at a time.
#[derive(Clone, Debug)]
enum Occurrence {
    Wake(NodeId),
    Arrival { stream: StreamId, to: Side, segment: Segment },
}

/// Speakers and the streams between them.
#[derive(Debug)]
pub struct Network {
    seed: u64,
    now: MonoTime,
    /// May be changed at any time.
    pub weather: Weather,
    /// May be taken part in, by tests that are random themselves.
    pub dice: Dice,
    /// Whether [`Network::heard`] grows.
    pub is_recording: bool,
    /// Whether those who follow the best routes read what they are told of.
    pub subscribers_read: bool,
    /// When set, what [`Engine::limit_log`] is told whenever a speaker starts.
    pub log_bytes_max: Option<usize>,
    /// When set, what [`Engine::limit_walk`] is told whenever a speaker starts.
    pub walk_ids_max: Option<u32>,
    nodes: Vec<Node>,
    streams: BTreeMap<StreamId, Stream>,
    next_stream: u64,
    queue: BTreeMap<(MonoTime, u64), Occurrence>,
    next_occurrence: u64,
    stalled: BTreeSet<(NodeId, NodeId)>,
    parked: Vec<((NodeId, NodeId), Occurrence)>,
    heard: Vec<Heard>,
}

impl Network {
    /// Without nodes, calm.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            now: MonoTime::ZERO,
            weather: Weather::CALM,
            dice: Dice::new(seed),
            is_recording: true,
            subscribers_read: true,
            log_bytes_max: None,
            walk_ids_max: None,
            nodes: Vec::new(),
            streams: BTreeMap::new(),
            next_stream: 0,
            queue: BTreeMap::new(),
            next_occurrence: 0,
            stalled: BTreeSet::new(),
            parked: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// Rough.
    pub fn rough(seed: u64) -> Self {
        Self { weather: Weather::ROUGH, walk_ids_max: Some(2), ..Self::new(seed) }
    }

    /// For messages of failed assertions.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The time.
    pub fn now(&self) -> MonoTime {
        self.now
    }

    /// All nodes.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId)
    }

    /// Starts the next node: its number is one more than the nodes so far.
    pub fn start(&mut self, config: SpeakerConfig) -> NodeId {
        let id = NodeId(self.nodes.len());
        self.nodes.push(Node::new(id, config, Host::Down));
        self.revive(id, Revival::Fresh);
        id
    }

    /// Adds a node whose data the test itself writes and reads.
    pub fn stranger(&mut self) -> NodeId {
        let id = NodeId(self.nodes.len());
        self.nodes.push(Node::new(
            id,
            crate::engine::testnet::Configure::numbered(id.number()),
            Host::Stranger,
        ));
        id
    }

    /// The engine of a node.
    ///
    /// # Panics
    /// If it is down or a stranger.
    pub fn engine(&self, id: NodeId) -> &Engine {
        self.nodes[id.0].engine().unwrap_or_else(|| panic!("node {} is a speaker", id.number()))
    }

    /// Is a speaker running there?
    pub fn is_running(&self, id: NodeId) -> bool {
        self.nodes[id.0].engine().is_some()
    }

    /// The configuration it runs with, or will.
    pub fn config(&self, id: NodeId) -> &SpeakerConfig {
        &self.nodes[id.0].config
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// All that was heard since [`Network::forget_heard`].
    pub fn heard(&self) -> &[Heard] {
        &self.heard
    }

    /// What one node heard from another.
    pub fn heard_by(&self, to: NodeId, from: NodeId) -> impl Iterator<Item = &Heard> {
        self.heard.iter().filter(move |heard| (heard.from, heard.to) == (from, to))
    }

    /// Starts [`Network::heard`] anew.
    pub fn forget_heard(&mut self) {
        self.heard.clear();
    }

    /// Changes a node's configuration as its operator would.
    pub fn apply(&mut self, id: NodeId, change: impl FnOnce(&mut SpeakerConfig)) {
        let mut config = self.nodes[id.0].config.clone();
        change(&mut config);
        self.nodes[id.0].config = config.clone();
        self.with_engine(id, |now, engine| {
            engine.apply(now, config);
        });
    }

    /// Feeds a node's engine by hand.
    pub fn with_engine(&mut self, id: NodeId, input: impl FnOnce(MonoTime, &mut Engine)) {
        let now = self.now;
        if let Some(engine) = self.nodes[id.0].engine_mut() {
            input(now, engine);
            self.work(id);
        }
    }

    /// The process is killed: the kernel resets its connections.
    pub fn kill(&mut self, id: NodeId) {
        for (stream, side) in std::mem::take(&mut self.nodes[id.0].streams).into_values() {
            self.send(stream, side, Segment::Reset);
            self.release(stream, side);
        }
        self.power_off(id);
    }

    /// The machine is gone: nobody is told.
    pub fn power_off(&mut self, id: NodeId) {
        let node = &mut self.nodes[id.0];
        for (stream, side) in node.streams.values() {
            if let Some(stream) = self.streams.get_mut(stream) {
                stream.end_mut(*side).is_open = false;
            }
        }
        node.forget();
        node.host = Host::Down;
    }

    /// It is back, with the configuration it had.
    pub fn revive(&mut self, id: NodeId, revival: Revival) {
        let seed = self.seed ^ (id.0 as u64) << 32 ^ self.nodes[id.0].lives;
        let node = &mut self.nodes[id.0];
        node.lives += 1;
        let mut engine = Engine::new(node.config.clone(), seed, revival.into(), self.now);
        self.log_bytes_max.into_iter().for_each(|bytes| engine.limit_log(bytes));
        self.walk_ids_max.into_iter().for_each(|ids| engine.limit_walk(ids));
        node.host = Host::Speaker(Box::new(engine));
        self.work(id);
    }

    /// New connections to a node are refused, or no longer.
    pub fn refuse(&mut self, id: NodeId, refuses: bool) {
        self.nodes[id.0].refuses = refuses;
    }

    /// From now on nothing of one node reaches the other; it is not lost, but late.
    pub fn stall(&mut self, from: NodeId, to: NodeId) {
        self.stalled.insert((from, to));
    }

    /// What was late arrives.
    pub fn resume(&mut self, from: NodeId, to: NodeId) {
        self.stalled.remove(&(from, to));
        for (way, occurrence) in std::mem::take(&mut self.parked) {
            if way == (from, to) {
                self.schedule(self.now, occurrence);
            } else {
                self.parked.push((way, occurrence));
            }
        }
    }

    /// No way is stalled any more.
    pub fn resume_all(&mut self) {
        for (from, to) in self.stalled.clone() {
            self.resume(from, to);
        }
    }

    /// Resets every stream between two nodes, for both at once.
    pub fn reset(&mut self, a: NodeId, b: NodeId) {
        for id in self.streams_between(a, b) {
            for side in Side::BOTH {
                self.arrive(id, side, Segment::Reset);
            }
        }
    }

    /// Open streams between two nodes, whoever opened them.
    pub fn streams_between(&self, a: NodeId, b: NodeId) -> Vec<StreamId> {
        let is_between = |stream: &Stream| {
            let ends = [stream.end(Side::Opener).node, stream.end(Side::Acceptor).node];
            ends == [a, b] || ends == [b, a]
        };
        self.streams.iter().filter(|(_, stream)| is_between(stream)).map(|(id, _)| *id).collect()
    }

    /// A stranger connects.
    pub fn connect(&mut self, stranger: NodeId, to: NodeId) -> StreamId {
        self.open(stranger, to, false)
    }

    /// A stranger sends bytes on a stream.
    pub fn say(&mut self, stranger: NodeId, stream: StreamId, bytes: &[u8]) {
        if let Some(side) = self.side_of(stream, stranger) {
            self.send(stream, side, Segment::Bytes(bytes.to_vec()));
        }
    }

    /// A stranger closes a stream.
    pub fn hang_up(&mut self, stranger: NodeId, stream: StreamId) {
        if let Some(side) = self.side_of(stream, stranger) {
            self.send(stream, side, Segment::Fin);
            self.release(stream, side);
        }
    }

    fn side_of(&self, stream: StreamId, node: NodeId) -> Option<Side> {
        let stream = self.streams.get(&stream)?;
        Side::BOTH.into_iter().find(|side| stream.end(*side).node == node)
    }

    /// Lets the next thing happen, if it does before `until`. `false`: nothing does, and it is `until` now.
    pub fn step(&mut self, until: MonoTime) -> bool {
        let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) else {
            self.now = until;
            return false;
        };
        let ((at, _), occurrence) = entry.remove_entry();
        self.now = at;
        match occurrence {
            Occurrence::Wake(id) => self.wake(id, at),
            Occurrence::Arrival { stream, to, segment } => {
                let way = self.streams.get(&stream).map(|s| (s.end(to.other()).node, s.end(to).node));
                match way {
                    Some(way) if self.stalled.contains(&way) => {
                        self.parked.push((way, Occurrence::Arrival { stream, to, segment }));
                    }
                    _ => self.arrive(stream, to, segment),
                }
            }
        }
        true
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    /// Runs until something is true.
    ///
    /// # Panics
    /// If that takes longer than `limit`.
    pub fn wait_for(&mut self, what: &str, limit: Duration, is_true: impl Fn(&Network) -> bool) {
        let until = self.now + limit;
        while !is_true(self) {
            let goes_on = self.step(until);
            assert!(goes_on || is_true(self), "seed {}: waited {limit:?} for: {what}", self.seed);
        }
    }

    /// A node's subscriber reads all that it was not told yet.
    pub(super) fn tell_all(&mut self, id: NodeId) {
        self.nodes[id.0].tell(usize::MAX);
    }

    /// Nothing is under way, and no engine has anything left to do before its next deadline.
    pub fn is_idle(&self) -> bool {
        let is_busy = |node: &Node| node.engine().is_some_and(Engine::needs_flush);
        self.queue.values().all(|occurrence| matches!(occurrence, Occurrence::Wake(_)))
            && !self.nodes.iter().any(is_busy)
    }

    fn wake(&mut self, id: NodeId, at: MonoTime) {
        let node = &mut self.nodes[id.0];
        if node.wake_at != Some(at) {
            return;
        }
        node.wake_at = None;
        if let Some(engine) = node.engine_mut() {
            engine.handle_deadline(at);
            node.flush();
            self.work(id);
        }
    }

    fn wake_node_at(&mut self, id: NodeId, at: MonoTime) {
        let node = &mut self.nodes[id.0];
        if node.wake_at.is_none_or(|planned| at < planned) {
            node.wake_at = Some(at);
            self.schedule(at, Occurrence::Wake(id));
        }
    }

    fn schedule(&mut self, at: MonoTime, occurrence: Occurrence) {
        self.queue.insert((at, self.next_occurrence), occurrence);
        self.next_occurrence += 1;
    }

    /// Carries out what an engine asks for after an input.
    fn work(&mut self, id: NodeId) {
        loop {
            if self.nodes[id.0].engine().is_some_and(Engine::needs_flush) {
                if self.dice.percent(self.weather.lazy_percent) {
                    let later = self.now + self.dice.up_to(self.weather.lazy_max);
                    self.wake_node_at(id, later);
                } else {
                    self.nodes[id.0].flush();
                }
            }
            self.nodes[id.0].note_changes();
            let is_decided = self.nodes[id.0].engine().is_some_and(|engine| !engine.needs_flush());
            if is_decided && self.subscribers_read && !self.dice.percent(self.weather.lazy_percent) {
                self.nodes[id.0].tell(usize::MAX);
            }
            if !self.perform(id) {
                break;
            }
        }
        if let Some(at) = self.nodes[id.0].engine().and_then(Engine::next_deadline) {
            self.wake_node_at(id, at.max(self.now));
        }
    }

    /// One round of outputs; was there any?
    fn perform(&mut self, id: NodeId) -> bool {
        let mut did_something = false;
        while let Some(effect) = self.nodes[id.0].engine_mut().and_then(Engine::poll_effect) {
            did_something = true;
            match effect {
                Effect::Connect(target) => self.dial(id, &target),
                Effect::Close(conn) => self.close(id, conn),
            }
        }
        while let Some(conn) = self.nodes[id.0].engine_mut().and_then(Engine::poll_writable) {
            did_something = true;
            if let Some((stream, side)) = self.nodes[id.0].streams.get(&conn).copied() {
                self.write(stream, side);
            }
        }
        did_something
    }

    fn dial(&mut self, from: NodeId, target: &ConnectTarget) {
        let to = NodeId::of(target.remote.ip()).filter(|to| to.0 < self.nodes.len());
        // A node that does not exist does not answer.
        let Some(to) = to else { return };
        let stream = self.open(from, to, target.remote.is_ipv6());
        self.nodes[from.0].streams.insert(target.conn, (stream, Side::Opener));
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.end_mut(Side::Opener).conn = Some(target.conn);
        }
    }

    fn open(&mut self, from: NodeId, to: NodeId, is_v6: bool) -> StreamId {
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        self.streams.insert(id, Stream::new(from, to, is_v6));
        self.send(id, Side::Opener, Segment::Syn);
        id
    }

    fn close(&mut self, node: NodeId, conn: ConnId) {
        if let Some((stream, side)) = self.nodes[node.0].streams.remove(&conn) {
            // What is left goes out whatever the window says: the kernel would keep it.
            while let Some(bytes) = self.take(node, conn, usize::MAX) {
                self.send(stream, side, Segment::Bytes(bytes));
            }
            self.send(stream, side, Segment::Fin);
            self.release(stream, side);
        }
        let now = self.now;
        if let Some(engine) = self.nodes[node.0].engine_mut() {
            engine.closed(now, conn, "closed");
        }
    }

    /// One side does not use a stream any more; once neither does, it is forgotten.
    fn release(&mut self, id: StreamId, side: Side) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let end = stream.end_mut(side);
        end.is_open = false;
        if let Some(conn) = end.conn {
            let node = end.node;
            self.nodes[node.0].streams.remove(&conn);
        }
        let Some(stream) = self.streams.get(&id) else { return };
        if Side::BOTH.iter().all(|side| !stream.end(*side).is_open) {
            self.streams.remove(&id);
        }
    }

    /// Writes as long as there is something and room for it.
    fn write(&mut self, id: StreamId, side: Side) {
        loop {
            let Some(End { node, conn: Some(conn), in_flight, .. }) =
                self.streams.get(&id).map(|s| s.end(side))
            else {
                return;
            };
            let (node, conn, in_flight) = (*node, *conn, *in_flight);
            let room =
                self.weather.window_bytes.saturating_sub(in_flight).min(self.weather.segment_bytes_max);
            // A little room is not worth a segment, as in TCP (RFC 9293 §3.8.6.2).
            let worth = self.weather.segment_bytes_max.min(self.weather.window_bytes / 2);
            if room < worth && in_flight > 0 {
                return;
            }
            let count = 1 + self.dice.below(room);
            let Some(bytes) = self.take(node, conn, count) else { return };
            self.send(id, side, Segment::Bytes(bytes));
        }
    }

    /// Takes up to so many bytes out of an engine.
    fn take(&mut self, node: NodeId, conn: ConnId, count: usize) -> Option<Vec<u8>> {
        let engine = self.nodes[node.0].engine_mut()?;
        let mut slices: Vec<IoSlice<'_>> = Vec::new();
        if !engine.fill(conn, &mut slices) {
            return None;
        }
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(count).collect();
        drop(slices);
        engine.written(conn, bytes.len());
        Some(bytes)
    }

    fn send(&mut self, id: StreamId, from: Side, segment: Segment) {
        let delay = self.dice.up_to(self.weather.delay_max);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let end = stream.end_mut(from);
        if let Segment::Bytes(bytes) = &segment {
            end.in_flight += bytes.len();
        }
        let at = (self.now + delay).max(end.last_arrival);
        end.last_arrival = at;
        self.schedule(at, Occurrence::Arrival { stream: id, to: from.other(), segment });
    }

    fn arrive(&mut self, id: StreamId, to: Side, segment: Segment) {
        let Some(stream) = self.streams.get(&id) else { return };
        let (end, node) = (stream.end(to), stream.end(to).node);
        if matches!(segment, Segment::Syn) {
            return self.accept(id, node);
        }
        if !end.is_open {
            // Bytes for nobody: a running machine says so.
            if matches!(segment, Segment::Bytes(_)) && !matches!(self.nodes[node.0].host, Host::Down) {
                self.send(id, to, Segment::Reset);
            }
            return;
        }
        let conn = end.conn;
        match segment {
            Segment::Bytes(bytes) => self.receive(id, to, &bytes),
            Segment::Accepted => {
                let local = self.local_address(id, node);
                let others = self.nodes[node.0].other_addresses();
                if let Some(conn) = conn {
                    self.with_engine(node, |now, engine| engine.connected(now, conn, local, &others));
                }
            }
            Segment::Fin | Segment::Reset => {
                self.release(id, to);
                if let Some(conn) = conn {
                    self.with_engine(node, |now, engine| engine.closed(now, conn, "reset by the neighbour"));
                }
            }
            Segment::Syn => {}
        }
    }

    /// A node's address on a stream.
    fn local_address(&self, id: StreamId, node: NodeId) -> IpAddr {
        let is_v6 = self.streams.get(&id).is_some_and(|stream| stream.is_v6);
        if is_v6 { node.address_v6() } else { node.address() }
    }

    fn accept(&mut self, id: StreamId, node: NodeId) {
        let local = self.local_address(id, node);
        let opener = self.streams.get(&id).map(|stream| stream.end(Side::Opener).node);
        let Some(opener) = opener else { return };
        let remote = SocketAddr::new(self.local_address(id, opener), 40_000);
        let others = self.nodes[node.0].other_addresses();
        let now = self.now;
        let target = &mut self.nodes[node.0];
        let accepted = match &mut target.host {
            Host::Down => return,
            Host::Stranger => Some(None),
            Host::Speaker(_) if target.refuses => None,
            Host::Speaker(engine) => engine.accept(now, remote, local, &others, Some(255)).ok().map(Some),
        };
        let Some(conn) = accepted else {
            self.send(id, Side::Acceptor, Segment::Reset);
            self.release(id, Side::Acceptor);
            return self.work(node);
        };
        self.send(id, Side::Acceptor, Segment::Accepted);
        if let Some(conn) = conn {
            self.nodes[node.0].streams.insert(conn, (id, Side::Acceptor));
        }
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.end_mut(Side::Acceptor).conn = conn;
        }
        self.work(node);
    }

    fn receive(&mut self, id: StreamId, to: Side, bytes: &[u8]) {
        let now = self.now;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let sender = stream.end_mut(to.other());
        sender.in_flight -= bytes.len();
        let from = sender.node;
        let end = stream.end_mut(to);
        end.received.extend_from_slice(bytes);
        let (node, conn, mut received) = (end.node, end.conn, std::mem::take(&mut end.received));
        let used = match (&mut self.nodes[node.0].host, conn) {
            (Host::Speaker(engine), Some(conn)) => engine.handle_bytes(now, conn, &received),
            _ => messages(&received).iter().map(Vec::len).sum(),
        };
        if self.is_recording {
            let heard = messages(received.get(..used).unwrap_or_default());
            self.heard.extend(heard.into_iter().map(|bytes| Heard { at: now, from, to: node, bytes }));
        }
        received.drain(..used);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.end_mut(to).received = received;
        }
        self.work(node);
        // There is room again.
        self.write(id, to.other());
        self.work(from);
    }
}
