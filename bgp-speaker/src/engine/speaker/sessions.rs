//! Connections and state machines: inputs from the driver, and what the machines' actions lead to.

use super::{ConnectTarget, Effect, Engine, StopMode};
use crate::config::Family;
use crate::engine::backoff::Outlook;
use crate::engine::collision::{Direction, OtherConnection, SETTLED_AFTER, loser};
use crate::engine::conn::ConnId;
use crate::engine::deadlines::Owner;
use crate::engine::negotiate::{LocalSide, Negotiated, RestartFlags, local_open, negotiate};
use crate::engine::next_hop::SelfAddresses;
use crate::engine::peer::{Established, Peer, Retention};
use crate::engine::readvertise::{Relation, is_reflected, is_told_alike};
use crate::engine::rib::{Change, Source};
use crate::engine::session::{Action, DownReason, Event, State, StateKind};
use crate::engine::session_change::{SessionChangeKind, SessionEnd};
use crate::engine::time::MonoTime;
use bgp_proto::{BgpId, Message, MessageType, Notification, NotificationCode, Open, subcode};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long a neighbour that is back may take to say that it has told all, before its stale routes go anyway. It may
/// itself wait for others.
const STALE_TIME_MAX: Duration = Duration::from_secs(360);

impl Engine {
    /// An attempt succeeded: our address of it, and further ones on the interface.
    pub fn connected(&mut self, now: MonoTime, id: ConnId, local: IpAddr, others: &[IpAddr]) {
        let Some(conn) = self.conns.get(&id).filter(|conn| !conn.is_closing) else { return };
        let (source, direction) = (conn.source, conn.direction);
        let Some(peer) = self.peer_mut(source) else { return };
        peer.connections[direction.index()].since = now;
        let Some(peer) = self.peer(source) else { return };
        let options = peer.options();
        let configured = &self.config.local_addresses;
        let local_side = LocalSide {
            open: local_open(&self.config, options, self.restart_flags(peer)),
            remote_as: self.config.remote_as(options),
            keepalive: options.keepalive_secs.map(|secs| Duration::from_secs(secs.into())),
            own: SelfAddresses::new(local, if configured.is_empty() { others } else { configured }),
        };
        self.drive(now, source, direction, Event::TcpConnected(Box::new(local_side)));
    }

    /// An attempt failed.
    pub fn connect_failed(&mut self, now: MonoTime, id: ConnId, why: &str) {
        self.closed(now, id, why);
    }

    /// A connection is gone, or the driver has carried out [`Effect::Close`].
    pub fn closed(&mut self, now: MonoTime, id: ConnId, why: &str) {
        let Some(conn) = self.conns.remove(&id) else { return };
        if !conn.is_closing {
            self.drive(now, conn.source, conn.direction, Event::TcpConnectionFails(why.to_owned()));
            self.release_conn(conn.source, conn.direction, id);
        }
        self.tidy_peer(now, conn.source);
    }

    /// A deadline may have passed.
    pub fn handle_deadline(&mut self, now: MonoTime) {
        while let Some(owner) = self.deadlines.pop_due(now) {
            match owner {
                Owner::Session(source, direction) => {
                    let mut actions = std::mem::take(&mut self.scratch.actions);
                    if let Some(peer) = self.peer_mut(source) {
                        peer.connections[direction.index()].session.handle_deadline(now, &mut actions);
                    }
                    self.perform(now, source, direction, &mut actions);
                    self.scratch.actions = actions;
                }
                Owner::Peer(source) => self.peer_deadline(now, source),
                Owner::Convergence => self.check_convergence(now),
            }
        }
    }

    /// Ends all sessions; none is started any more. The driver goes on until nothing is left to write.
    pub fn stop(&mut self, now: MonoTime, mode: StopMode) {
        self.stopping = true;
        let sources: Vec<Source> = self.by_id.values().copied().collect();
        for source in sources {
            match mode {
                StopMode::Restart => self.for_both(now, source, |_| Event::CloseSilently),
                StopMode::Leave => self.stop_peer(now, source, &Notification::administrative_shutdown("")),
            }
        }
    }

    /// Ends a peer's sessions for a reason that is meant to last: with RFC 8538, a Hard Reset.
    pub(super) fn stop_peer(&mut self, now: MonoTime, source: Source, why: &Notification) {
        self.for_both(now, source, |negotiated| {
            let is_hard = negotiated.is_some_and(Negotiated::has_notification_restart);
            Event::Stop(if is_hard { Notification::hard_reset(why) } else { why.clone() })
        });
    }

    /// Ends a peer's sessions so that they come again with what has changed; routes are kept if both can.
    pub(super) fn reset_peer(&mut self, now: MonoTime, source: Source, why: &Notification) {
        for direction in Direction::BOTH {
            let Some(peer) = self.peer(source) else { return };
            if is_lost_by_notifications(peer, direction) {
                self.close(source, direction);
                let why = format!("closed without a NOTIFICATION, which would cost routes: {why}");
                self.drive(now, source, direction, Event::TcpConnectionFails(why));
            } else {
                self.drive(now, source, direction, Event::Stop(why.clone()));
            }
        }
        let Some(peer) = self.peer_mut(source) else { return };
        peer.retention.iter_mut().for_each(|retention| retention.closed_by_us = true);
        peer.connect_soon(now);
        self.deadlines.arm(Owner::Peer(source), now);
    }

    fn for_both(&mut self, now: MonoTime, source: Source, event: impl Fn(Option<&Negotiated>) -> Event) {
        for direction in Direction::BOTH {
            let Some(peer) = self.peer(source) else { return };
            let event = event(peer.session(direction).negotiated());
            self.drive(now, source, direction, event);
        }
    }

    fn restart_flags(&self, peer: &Peer) -> RestartFlags {
        // A speaker that starts afresh has forwarded nothing before; one that runs has gone on forwarding.
        let has_run = self.convergence.is_done() || peer.established_count > 0;
        RestartFlags {
            restarting: self.convergence.defers_end_of_rib(),
            forwarding_preserved: self.convergence.may_have_restarted() || has_run,
        }
    }

    /// An OPEN, with the collision that it may reveal (RFC 4271 §6.8).
    pub(super) fn handle_open(&mut self, now: MonoTime, source: Source, direction: Direction, open: Open) {
        if let Some(losing) = self.collision(source, direction, &open) {
            if losing == direction {
                return self.drive(now, source, direction, Event::OpenCollisionDump);
            }
            self.give_way(now, source, losing);
        }
        self.drive(now, source, direction, Event::Open(Box::new(open)));
    }

    fn collision(&self, source: Source, new: Direction, open: &Open) -> Option<Direction> {
        let peer = self.peer(source)?;
        let local = peer.session(new).local()?;
        negotiate(local, open).ok()?;
        let other = peer.session(new.other());
        let other = OtherConnection {
            state: other.kind(),
            up_for: peer.up_for(peer.connections[new.index()].since),
            has_graceful_restart: other.negotiated().is_some_and(|n| n.graceful_restart.is_some()),
        };
        let ours = (local.open.bgp_id, local.open.asn);
        loser(new, other, ours, (open.bgp_id, open.asn))
    }

    /// Feeds one event to one machine and performs what it asks for.
    pub(super) fn drive(&mut self, now: MonoTime, source: Source, direction: Direction, event: Event) {
        let mut actions = std::mem::take(&mut self.scratch.actions);
        if let Some(peer) = self.peer_mut(source) {
            let session = &mut peer.connections[direction.index()].session;
            let before = session.kind();
            session.handle(now, event, &mut actions);
            let after = session.kind();
            if before != after {
                self.count_transition(after, &actions);
            }
        }
        self.perform(now, source, direction, &mut actions);
        self.scratch.actions = actions;
    }

    fn count_transition(&mut self, to: StateKind, actions: &[Action]) {
        let reason = actions.iter().find_map(|action| match action {
            Action::Down(reason) => Some(reason.label()),
            _ => None,
        });
        *self.counters.transitions.entry((to.name(), reason.unwrap_or_default())).or_default() += 1;
    }

    fn perform(&mut self, now: MonoTime, source: Source, direction: Direction, actions: &mut Vec<Action>) {
        let mut is_stuck = false;
        for action in actions.drain(..) {
            match action {
                Action::Connect => self.start_connect(source, direction),
                Action::Send(message) => {
                    is_stuck |= *message == Message::Keepalive && self.is_stuck(now, source, direction);
                    self.send(source, direction, &message);
                }
                Action::Close => self.close(source, direction),
                Action::Up => self.session_up(now, source, direction),
                Action::Down(reason) => self.session_down(now, source, direction, reason),
            }
        }
        let Some(peer) = self.peers[source.0 as usize].as_deref() else { return };
        let connection = &peer.connections[direction.index()];
        let deadline = connection.session.next_deadline();
        if let (Some(id), Some(negotiated)) = (connection.conn, connection.session.negotiated())
            && let Some(conn) = self.conns.get_mut(&id)
            && *conn.params != negotiated.params
        {
            conn.params = Arc::new(negotiated.params.clone());
        }
        if let Some(at) = deadline {
            self.deadlines.arm(Owner::Session(source, direction), at);
        }
        if is_stuck {
            self.drive(now, source, direction, Event::Stop(Notification::send_hold_timer_expired()));
        }
    }

    /// Has the neighbour taken nothing for too long (RFC 9687)?
    fn is_stuck(&mut self, now: MonoTime, source: Source, direction: Direction) -> bool {
        let Some(peer) = self.peers[source.0 as usize].as_deref() else { return false };
        let connection = &peer.connections[direction.index()];
        let Some(conn) = connection.conn.and_then(|id| self.conns.get_mut(&id)) else { return false };
        let hold_time = connection.session.negotiated().and_then(|negotiated| negotiated.hold_time);
        let is_waiting = conn.is_waiting();
        conn.send_hold.has_expired(now, is_waiting, hold_time.unwrap_or_default())
    }

    fn start_connect(&mut self, source: Source, direction: Direction) {
        let id = self.new_conn(source, direction);
        let Some(peer) = self.peer_mut(source) else { return };
        peer.connections[direction.index()].conn = Some(id);
        let neighbor = &peer.neighbor;
        let target = ConnectTarget {
            conn: id,
            remote: SocketAddr::new(neighbor.address, neighbor.port),
            local: neighbor.local_address,
            password: neighbor.options.password.clone(),
            ttl_security: neighbor.options.ttl_security,
        };
        self.effects.push_back(Effect::Connect(target));
    }

    pub(super) fn send(&mut self, source: Source, direction: Direction, message: &Message) {
        let Some(peer) = self.peers[source.0 as usize].as_deref_mut() else { return };
        let Some(id) = peer.connections[direction.index()].conn else { return };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if let Err(error) = message.encode(&conn.params, &mut self.scratch.encoded) {
            tracing::error!(neighbor = %peer.neighbor.id(), %error, "cannot encode {}", message.kind());
            return;
        }
        peer.messages_sent.add(message.kind(), 1);
        self.counters.sent.add(message.kind(), 1);
        conn.control.push_back(self.scratch.encoded.split().freeze());
        self.wake(id);
    }

    /// UPDATEs of a group were queued for a neighbour.
    pub(super) fn count_updates(&mut self, source: Source, count: u64) {
        self.counters.sent.add(MessageType::UPDATE, count);
        if let Some(peer) = self.peer_mut(source) {
            peer.messages_sent.add(MessageType::UPDATE, count);
        }
    }

    pub(super) fn close(&mut self, source: Source, direction: Direction) {
        let Some(peer) = self.peer_mut(source) else { return };
        let Some(id) = peer.connections[direction.index()].conn.take() else { return };
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.is_closing = true;
            self.effects.push_back(Effect::Close(id));
        }
    }

    fn release_conn(&mut self, source: Source, direction: Direction, id: ConnId) {
        if let Some(peer) = self.peer_mut(source) {
            peer.connections[direction.index()].conn.take_if(|conn| *conn == id);
        }
    }

    fn session_up(&mut self, now: MonoTime, source: Source, direction: Direction) {
        let Some(peer) = self.peers[source.0 as usize].as_deref_mut() else { return };
        let State::Established(negotiated) = peer.session(direction).state() else { return };
        let negotiated = negotiated.clone();
        let (relation, has_been_up) = (peer.relation(negotiated.is_external()), peer.established_count > 0);
        self.identify(source, relation, negotiated.remote_id, has_been_up);
        let Some(peer) = self.peer_mut(source) else { return };
        peer.established = Some(Established {
            direction,
            since: now,
            terms: negotiated.clone(),
            groups: [None; Family::ALL.len()],
            end_of_rib: [false; Family::ALL.len()],
            last_attributes: None,
        });
        peer.established_count += 1;
        peer.state_since = now;
        peer.retry_at = None;
        peer.last_error = None;
        peer.mistaken_at = None;
        let (id, name) = (peer.neighbor.id(), peer.neighbor.name.clone());
        let is_connecting = peer.session(direction.other()).kind() == StateKind::Connect;
        let address = self.name_of(id);
        tracing::info!(neighbor = address, name, families = ?negotiated.families, "session established");
        self.note_session_change(source, SessionChangeKind::Up);
        if is_connecting {
            self.drive(now, source, direction.other(), Event::OpenCollisionDump);
        }
        self.restore_families(now, source, &negotiated);
        self.joins.extend(negotiated.families.iter().map(|family| (source, *family)));
        self.convergence.note_up(now);
        self.look_at_convergence(now);
    }

    /// Notes what a neighbour is to us. If it was something else before, what is kept of it was told to others under
    /// other conditions. Between external and internal the routes themselves are other ones, and go. Else they stay:
    /// selection and the others are asked again.
    fn identify(&mut self, source: Source, relation: Relation, router_id: BgpId, has_been_up: bool) {
        let info = &self.sources[source.0 as usize];
        let before = (info.relation, info.router_id);
        let is_other_kind = (info.relation == Relation::External) != (relation == Relation::External);
        let has_changed = has_been_up && before != (relation, router_id);
        if has_changed {
            if is_other_kind {
                self.purge(source, false, &Family::ALL);
            }
            for family in Family::ALL {
                self.select_routes(family);
                self.flush_groups(family);
            }
        }
        let info = &mut self.sources[source.0 as usize];
        (info.relation, info.router_id) = (relation, router_id);
        if has_changed {
            Family::ALL.into_iter().for_each(|family| self.judge_source_again(family, source, before));
        }
    }

    /// What is known of a source's routes stays as it is, and what the source is to us has changed. Those hear of it
    /// to whom that makes a difference.
    fn judge_source_again(&mut self, family: Family, source: Source, before: (Relation, BgpId)) {
        let (relation, router_id) =
            (self.sources[source.0 as usize].relation, self.sources[source.0 as usize].router_id);
        // ORIGINATOR_ID is made of it.
        let is_other_router = router_id != before.1;
        let concerns = |to: Relation| {
            !is_told_alike(before.0, relation, to) || (is_other_router && is_reflected(Some(relation), to))
        };
        let ids = self.ribs[family.index()].reconsider(&mut self.attrs, source);
        if ids.is_empty() {
            return;
        }
        self.select_routes(family);
        self.flush_groups(family);
        let rib = &self.ribs[family.index()];
        let groups = self.groups.iter_mut().flatten();
        for group in groups.filter(|group| group.key.family == family && concerns(group.key.relation)) {
            for id in ids.iter().copied().filter(|id| !rib.is_undecided(*id)) {
                let best = rib.best(id);
                if group.key.add_paths.is_some() || best.is_some_and(|best| best.source == source) {
                    group.note(&Change { id, old: best, new: best });
                }
            }
        }
        self.flush_groups(family);
    }

    /// RFC 4724 §4.2: what the neighbour did not keep, or does not exchange any more, goes now; the rest stays stale
    /// until its End-of-RIB.
    fn restore_families(&mut self, now: MonoTime, source: Source, negotiated: &Negotiated) {
        let Some(retention) = self.peer_mut(source).and_then(|peer| peer.retention.as_mut()) else { return };
        retention.until = now + STALE_TIME_MAX;
        let mut lost = Vec::new();
        for family in Family::ALL {
            // Whoever did not restart has lost nothing, and need not say that it kept its forwarding state.
            let was_preserved = |is_preserved| is_preserved || retention.closed_by_us;
            let is_kept = negotiated.families.contains(&family)
                && negotiated.restart_family(family).is_some_and(was_preserved);
            if retention.stale[family.index()] && !is_kept {
                retention.stale[family.index()] = false;
                lost.push(family);
            }
        }
        if retention.stale == [false; Family::ALL.len()]
            && let Some(peer) = self.peer_mut(source)
        {
            peer.retention = None;
        }
        self.deadlines.arm(Owner::Peer(source), now + STALE_TIME_MAX);
        self.purge(source, true, &lost);
    }

    fn session_down(&mut self, now: MonoTime, source: Source, direction: Direction, reason: DownReason) {
        let stopping = self.stopping;
        let Some(peer) = self.peer_mut(source) else { return };
        let was_up = peer.established.as_ref().is_some_and(|established| established.direction == direction);
        let is_collision = matches!(&reason, DownReason::NotificationSent(n)
            if n.code == NotificationCode::CEASE.0 && n.subcode == subcode::cease::CONNECTION_COLLISION);
        peer.connections[direction.index()].conn = None;
        if direction == Direction::Incoming && is_open_error(&reason) {
            peer.mistaken_at = Some(now);
        }
        let mut is_news = false;
        if was_up || !is_collision && reason != DownReason::GivenUp && peer.established.is_none() {
            let text = Some(reason.to_string());
            is_news = peer.last_error != text;
            peer.last_error = text;
        }
        // The other connection may still lead to a session once its neighbour has said something.
        let has_other = peer.session(direction.other()).kind() >= StateKind::OpenConfirm;
        let is_planned =
            peer.retry_at.is_some() || peer.session(Direction::Outgoing).kind() != StateKind::Idle;
        if !stopping && peer.connects() && !has_other && !is_planned {
            let at = peer.schedule_retry(now, Outlook::after(&reason));
            self.deadlines.arm(Owner::Peer(source), at);
        }
        let Some(peer) = self.peer_mut(source) else { return };
        let id = peer.neighbor.id();
        if was_up {
            peer.state_since = now;
            let address = self.name_of(id);
            tracing::info!(neighbor = address, %reason, "session ended");
            self.leave_and_keep_or_purge(now, source, &reason);
            self.note_session_change(source, SessionChangeKind::Down(end_of(&reason)));
        } else if !is_collision {
            if is_news {
                self.note_session_change(source, SessionChangeKind::Failed(end_of(&reason)));
            }
            tracing::debug!(neighbor = self.name_of(id), %reason, "no session");
        }
        self.tidy_peer(now, source);
    }

    fn leave_and_keep_or_purge(&mut self, now: MonoTime, source: Source, reason: &DownReason) {
        let Some(established) = self.peer_mut(source).and_then(|peer| peer.established.take()) else {
            return;
        };
        if let Some(last) = established.last_attributes {
            self.attrs.release(last.attr);
        }
        for index in established.groups.into_iter().flatten() {
            self.leave_group(index, source);
        }
        self.joins.retain(|(joining, _)| *joining != source);
        self.refreshes.retain(|(refreshed, _)| *refreshed != source);
        if *reason == DownReason::ClosedForRestart {
            // We go; what we know stays in force until we are back.
            return;
        }
        let Some(peer) = self.peer(source) else { return };
        let is_restart =
            is_like_a_restart(&established.terms, reason) || peer.is_leaving && is_removal(reason);
        let (restart_time, kept) = families_to_keep(&established.terms)
            .filter(|_| is_restart && peer.neighbor.enabled)
            .unwrap_or_default();
        let lost: Vec<Family> = Family::ALL.into_iter().filter(|family| !kept.contains(family)).collect();
        self.purge(source, false, &lost);
        // RFC 4724 §4.2: what was stale already does not outlive a second loss. A connection that lost against the
        // neighbour's other one, which it had not heard of when it sent the KEEPALIVE that brought us here, is none.
        let is_young = now.since(established.since) < SETTLED_AFTER;
        let is_overtaken = |peer: &Peer| {
            is_young && peer.session(established.direction.other()).kind() >= StateKind::OpenSent
        };
        let has_lost = is_collision(reason) || self.peer(source).is_some_and(is_overtaken);
        let before = self.peer_mut(source).and_then(|peer| peer.retention.take());
        let before = before.filter(|_| has_lost);
        if before.is_none() {
            self.purge(source, true, &kept);
        }
        let mut stale = [false; Family::ALL.len()];
        for family in kept {
            stale[family.index()] = self.ribs[family.index()].mark_stale(source) > 0;
        }
        if stale.contains(&true)
            && let Some(peer) = self.peer_mut(source)
        {
            let until = before.as_ref().map_or(now + restart_time, |before| before.until);
            let closed_by_us = before.is_some_and(|before| before.closed_by_us);
            peer.retention = Some(Retention { until, stale, closed_by_us });
            self.deadlines.arm(Owner::Peer(source), until);
        }
    }

    fn peer_deadline(&mut self, now: MonoTime, source: Source) {
        let stopping = self.stopping;
        let Some(peer) = self.peer_mut(source) else { return };
        if let Some(retention) = peer.retention.take_if(|retention| retention.until <= now) {
            let stale: Vec<Family> =
                Family::ALL.into_iter().filter(|family| retention.stale[family.index()]).collect();
            let id = peer.neighbor.id();
            tracing::info!(neighbor = self.name_of(id), "restart time over, stale routes removed");
            self.purge(source, true, &stale);
        }
        let Some(peer) = self.peer_mut(source) else { return };
        if peer.retry_at.is_some_and(|at| at <= now) {
            peer.retry_at = None;
            if peer.connects() && peer.established.is_none() && !stopping {
                self.drive(now, source, Direction::Outgoing, Event::Start);
            }
        }
        if let Some(peer) = self.peer(source) {
            let next = [peer.retry_at, peer.retention.as_ref().map(|retention| retention.until)];
            if let Some(at) = next.into_iter().flatten().min() {
                self.deadlines.arm(Owner::Peer(source), at);
            }
        }
        self.tidy_peer(now, source);
    }

    /// A dynamic neighbour without connection and routes is forgotten.
    fn tidy_peer(&mut self, now: MonoTime, source: Source) {
        if !self.stopping && self.peer(source).is_some_and(|peer| peer.range.is_some() && peer.is_gone()) {
            self.forget_peer(source);
        }
        self.look_at_convergence(now);
    }
}

fn end_of(reason: &DownReason) -> SessionEnd {
    SessionEnd { reason: reason.label(), text: reason.to_string() }
}

/// Does the neighbour keep our routes, and we its, when the session's connection breaks, but not after a NOTIFICATION?
/// That is so with RFC 4724 but without RFC 8538.
fn is_lost_by_notifications(peer: &Peer, direction: Direction) -> bool {
    let session = peer.session(direction);
    let keeps = |terms: &Negotiated| {
        let has_time = terms.graceful_restart.as_ref().is_some_and(|restart| restart.restart_time_secs > 0);
        has_time && !terms.has_notification_restart()
    };
    session.kind() == StateKind::Established && session.negotiated().is_some_and(keeps)
}

/// Did the connection lose against another one of the same neighbour (RFC 4271 §6.8)?
fn is_collision(reason: &DownReason) -> bool {
    matches!(reason, DownReason::NotificationSent(n) | DownReason::NotificationReceived(n)
        if n.code == NotificationCode::CEASE.0 && n.subcode == subcode::cease::CONNECTION_COLLISION)
}

/// RFC 4724 §4.2, RFC 8538 §4: does the session's end say that the neighbour will be back?
fn is_like_a_restart(terms: &Negotiated, reason: &DownReason) -> bool {
    match reason {
        DownReason::TcpFailed(_) | DownReason::ClosedForRestart => true,
        DownReason::NotificationReceived(n) | DownReason::NotificationSent(n) => {
            terms.has_notification_restart() && !n.is_hard_reset()
        }
        DownReason::GivenUp => false,
    }
}

/// Has the neighbour removed us from its configuration (RFC 4486)?
fn is_removal(reason: &DownReason) -> bool {
    matches!(reason, DownReason::NotificationReceived(n) if {
        let reason = n.hard_reset_reason();
        let n = reason.as_ref().unwrap_or(n);
        n.code == NotificationCode::CEASE.0 && n.subcode == subcode::cease::PEER_DECONFIGURED
    })
}

/// For how long, and of which families, are routes kept when the neighbour restarts?
fn families_to_keep(terms: &Negotiated) -> Option<(Duration, Vec<Family>)> {
    let restart = terms.graceful_restart.as_ref().filter(|restart| restart.restart_time_secs > 0)?;
    let families = terms.families.iter().filter(|family| terms.restart_family(**family).is_some());
    Some((Duration::from_secs(u64::from(restart.restart_time_secs)), families.copied().collect()))
}

/// Was the OPEN of one side not what the other one expected: another AS, or an identifier that cannot be?
fn is_open_error(reason: &DownReason) -> bool {
    matches!(reason, DownReason::NotificationSent(n) | DownReason::NotificationReceived(n)
        if n.hard_reset_reason().as_ref().unwrap_or(n).code == NotificationCode::OPEN_MESSAGE_ERROR.0)
}
