//! Neighbours that connect to us: who may, and what gives way to them.

use super::{Engine, RefusedConnection};
use crate::config::ttl_min;
use crate::engine::collision::{Direction, SETTLED_AFTER};
use crate::engine::conn::ConnId;
use crate::engine::rib::Source;
use crate::engine::session::{Event, StateKind};
use crate::engine::time::MonoTime;
use std::net::{IpAddr, SocketAddr};

impl Engine {
    /// A neighbour has connected. `others` are further addresses of ours on the interface; `ttl` is what the connection
    /// came with, if that is known (the hop limit, in IPv6).
    ///
    /// # Errors
    /// Nobody with this address is expected, or from nearer by; the connection is to be closed.
    pub fn accept(
        &mut self,
        now: MonoTime,
        remote: SocketAddr,
        local: IpAddr,
        others: &[IpAddr],
        ttl: Option<u8>,
    ) -> Result<ConnId, RefusedConnection> {
        // First: a stranger far away must not even make an old connection give way.
        self.check_distance(remote.ip(), ttl)?;
        if let Some(source) = self.expecting(remote.ip()).map(|peer| peer.source) {
            self.make_room(now, source)?;
        }
        let source = self.admit(now, remote.ip())?;
        let id = self.new_conn(source, Direction::Incoming);
        if let Some(peer) = self.peer_mut(source) {
            peer.connections[Direction::Incoming.index()].conn = Some(id);
        }
        self.drive(now, source, Direction::Incoming, Event::StartPassive);
        self.connected(now, id, local, others);
        Ok(id)
    }

    /// RFC 5082: what comes from next door has the TTL that it left with. The kernel checks what follows; that the socket
    /// is asked to do so comes too late for what led to the connection, and for an OPEN that came along.
    fn check_distance(&mut self, remote: IpAddr, ttl: Option<u8>) -> Result<(), RefusedConnection> {
        let expecting = self.expecting(remote).map(|peer| (peer.source, peer.options().ttl_security));
        let hops = match expecting {
            Some((_, hops)) => hops,
            None => self.range_of(remote).and_then(|range| range.options.ttl_security),
        };
        let Some(least) = hops.map(ttl_min) else { return Ok(()) };
        if ttl.is_some_and(|ttl| ttl >= least) {
            return Ok(());
        }
        let refused = RefusedConnection::TooFar { ttl, least };
        if let Some(peer) = expecting.and_then(|(source, _)| self.peer_mut(source))
            && peer.established.is_none()
        {
            peer.last_error = Some(format!("connection refused: {refused}"));
        }
        Err(refused)
    }

    /// A neighbour connects again while its earlier connection is still there. One that has not led to a session
    /// gives way; a session only if the neighbour may have restarted (RFC 4724 §5).
    fn make_room(&mut self, now: MonoTime, source: Source) -> Result<(), RefusedConnection> {
        let Some(peer) = self.peer(source) else { return Ok(()) };
        let incoming = &peer.connections[Direction::Incoming.index()];
        if incoming.conn.is_none() {
            return Ok(());
        }
        let has_restart = incoming.session.negotiated().is_some_and(|n| n.graceful_restart.is_some());
        let may_have_restarted = has_restart && peer.up_for(now).is_some_and(|time| time >= SETTLED_AFTER);
        if incoming.session.kind() == StateKind::Established && !may_have_restarted {
            return Err(RefusedConnection::AlreadyConnected);
        }
        self.give_way(now, source, Direction::Incoming);
        Ok(())
    }

    /// Closes a connection in favour of another one. A session that was up is lost as if its connection had failed:
    /// the neighbour is the same, and may have restarted.
    pub(super) fn give_way(&mut self, now: MonoTime, source: Source, direction: Direction) {
        let is_up =
            self.peer(source).is_some_and(|peer| peer.session(direction).kind() == StateKind::Established);
        if is_up {
            self.close(source, direction);
            let why = "the neighbour has opened a new connection".to_owned();
            self.drive(now, source, direction, Event::TcpConnectionFails(why));
        } else {
            self.drive(now, source, direction, Event::OpenCollisionDump);
        }
    }
}
