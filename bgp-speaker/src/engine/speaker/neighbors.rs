//! Peers come and go: listed ones with the configuration, dynamic ones with their connections.

use super::{Engine, RefusedConnection};
use crate::config::{
    Family, ListenRange, Neighbor, NeighborError, NeighborId, NeighborRef, at_address, called, resolve,
};
use crate::engine::ConnId;
use crate::engine::deadlines::Owner;
use crate::engine::peer::{Peer, SourceInfo};
use crate::engine::policy::Policy;
use crate::engine::rib::Source;
use crate::engine::session_change::SessionChangeKind;
use crate::engine::time::MonoTime;
use ipnet::IpNet;
use std::net::IpAddr;

impl Engine {
    /// Makes a peer and lets it start at once.
    pub(super) fn add_peer(&mut self, now: MonoTime, neighbor: Neighbor, range: Option<IpNet>) -> Source {
        let id = neighbor.id();
        let source = self.free_slot();
        self.sources[source.0 as usize] = SourceInfo::new(id);
        let import = Policy::resolve(&neighbor.options.import, &self.config);
        let mut peer = Peer::new(source, neighbor, import, range, self.seed, now);
        peer.is_leaving = range.is_none() && self.config.leaving.contains(&id);
        peer.connect_soon(now);
        self.deadlines.arm(Owner::Peer(source), now);
        self.peers[source.0 as usize] = Some(Box::new(peer));
        self.by_id.insert(id, source);
        self.count_member(None, range);
        self.note_session_change(source, SessionChangeKind::Added);
        source
    }

    /// A peer belongs to another range than before, or to none.
    pub(super) fn count_member(&mut self, before: Option<IpNet>, now: Option<IpNet>) {
        if let Some(now) = now {
            *self.range_members.entry(now).or_default() += 1;
        }
        if let Some(before) = before
            && let Some(members) = self.range_members.get_mut(&before)
        {
            *members -= 1;
            self.range_members.retain(|_, members| *members > 0);
        }
    }

    /// Forgets a peer without connections, with all of its paths.
    pub(super) fn forget_peer(&mut self, source: Source) {
        self.purge(source, false, &Family::ALL);
        self.note_session_change(source, SessionChangeKind::Removed);
        if let Some(peer) = self.peers[source.0 as usize].take() {
            self.by_id.remove(&peer.neighbor.id());
            self.count_member(peer.range, None);
            self.left_slots.push(source.0);
        }
    }

    /// A slot that no unread byte of a group's log still refers to. Only the one that is free for the longest time is
    /// looked at: if that is not clean, the others hardly are.
    fn free_slot(&mut self) -> Source {
        let is_clean = |slot: &u32| !self.groups.iter().flatten().any(|group| group.mentions(Source(*slot)));
        if self.free_slots.front().is_some_and(is_clean)
            && let Some(slot) = self.free_slots.pop_front()
        {
            return Source(slot);
        }
        self.peers.push(None);
        self.sources.push(SourceInfo::new(IpAddr::from([0; 4]).into()));
        Source((self.peers.len() - 1) as u32)
    }

    /// The peer of a remote address: listed, already admitted, or admitted now by a range.
    pub(super) fn admit(&mut self, now: MonoTime, remote: IpAddr) -> Result<Source, RefusedConnection> {
        if self.stopping {
            return Err(RefusedConnection::Stopping);
        }
        if let Some(peer) = self.expecting(remote) {
            return if peer.neighbor.enabled { Ok(peer.source) } else { Err(RefusedConnection::Disabled) };
        }
        let range = self.range_of(remote).ok_or(RefusedConnection::UnknownPeer)?.clone();
        if self.range_members.get(&range.prefix).is_some_and(|members| *members >= range.max_sessions) {
            return Err(RefusedConnection::RangeFull);
        }
        let neighbor = Self::dynamic_neighbor(&range, remote);
        Ok(self.add_peer(now, neighbor, Some(range.prefix)))
    }

    /// The connections with all neighbours of an address.
    pub fn connections_of(&self, remote: IpAddr) -> Vec<ConnId> {
        let peers = at_address(&self.by_id, remote).filter_map(|(_, source)| self.peer(*source));
        peers.flat_map(|peer| peer.connections.iter().filter_map(|connection| connection.conn)).collect()
    }

    /// Which of the known peers with this address a new connection from there is for. See [`Peer::acceptance`]; of equals
    /// it is the one with the lowest port.
    pub(super) fn expecting(&self, remote: IpAddr) -> Option<&Peer> {
        let peers = at_address(&self.by_id, remote).filter_map(|(_, source)| self.peer(*source));
        peers.min_by_key(|peer| peer.acceptance())
    }

    /// The peer that is meant.
    pub(super) fn find(&self, wanted: NeighborRef) -> Result<Source, NeighborError> {
        let id = resolve(&self.by_id, wanted)?;
        self.by_id.get(&id).copied().ok_or(NeighborError::Unknown(wanted))
    }

    /// What a peer is called in answers.
    pub(super) fn name_of(&self, id: NeighborId) -> String {
        called(&self.by_id, id).to_string()
    }

    /// A peer is known under another port from now on.
    pub(super) fn rename(&mut self, source: Source, before: NeighborId, now: NeighborId) {
        if before != now {
            self.by_id.remove(&before);
            self.by_id.insert(now, source);
            self.sources[source.0 as usize].port = now.port;
        }
    }

    /// The longest range that contains an address.
    pub(super) fn range_of(&self, remote: IpAddr) -> Option<&ListenRange> {
        self.config
            .listen_ranges
            .iter()
            .filter(|range| range.prefix.contains(&remote))
            .max_by_key(|range| range.prefix.prefix_len())
    }

    /// What a range makes of an address.
    pub(super) fn dynamic_neighbor(range: &ListenRange, remote: IpAddr) -> Neighbor {
        Neighbor { passive: true, options: range.options.clone(), ..Neighbor::ibgp(remote) }
    }
}
