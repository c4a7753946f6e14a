//! The first convergence: when is what we know complete enough to act on what we do not know?
//!
//! A restarted speaker must not select routes, nor tell a neighbour that it has told all, before its own neighbours
//! have told it all (RFC 4724 §4.1): a reflector that says End-of-RIB to its first client would make that client
//! drop every route that it has not heard again yet. A node sweeps stale routes out of its kernel at the same moment.
//! What we originate does not wait.
//!
//! Done when every listed and enabled neighbour is settled (established, and End-of-RIB received, or it
//! cannot or will not send one), and, where neighbours may come unlisted, none has come for a while; or when the
//! selection deferral time is over.

use super::Engine;
use crate::engine::deadlines::Owner;
use crate::engine::peer::Peer;
use crate::engine::rib::Source;
use crate::engine::time::MonoTime;
use std::time::Duration;

/// Neighbours that send no End-of-RIB, and unlisted ones, are given this long after the last session came up.
const QUIET: Duration = Duration::from_secs(5);

/// What a speaker knows of the time before its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartKind {
    /// Nothing was forwarded before.
    #[default]
    Fresh,
    /// It has restarted, and forwarding went on meanwhile. Route selection waits for the neighbours.
    Restarted,
    /// It may have restarted: a reflector, which forwards nothing itself and has no kernel routes to tell it. Neighbours
    /// are told as after a restart, and End-of-RIB waits likewise, so that they keep what they had; but routes are
    /// selected at once (unlike RFC 4724 §4.1, which speaks of those who know), so that a first start costs no time. A
    /// path that is not yet the best may be told for a moment.
    Unknown,
}

/// State of the first convergence. One per speaker.
#[derive(Debug)]
pub(super) struct Convergence {
    start: StartKind,
    is_done: bool,
    until: MonoTime,
    last_up: Option<MonoTime>,
}

impl Convergence {
    pub(super) fn new(start: StartKind, now: MonoTime, deferral: Duration) -> Self {
        Self { start, is_done: false, until: now + deferral, last_up: None }
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Route selection waits.
    pub(super) fn defers_selection(&self) -> bool {
        self.start == StartKind::Restarted && !self.is_done
    }

    /// Our End-of-RIB waits, and the Restart State bit is set (RFC 4724 §3).
    pub(super) fn defers_end_of_rib(&self) -> bool {
        self.may_have_restarted() && !self.is_done
    }

    /// Forwarding may have gone on before this start.
    pub(super) fn may_have_restarted(&self) -> bool {
        self.start != StartKind::Fresh
    }

    pub(super) fn note_up(&mut self, now: MonoTime) {
        self.last_up = Some(now);
    }
}

impl Engine {
    /// Has [`Engine::check_convergence`] called with the next deadlines: once, however much happens until then.
    pub(super) fn look_at_convergence(&mut self, now: MonoTime) {
        if !self.convergence.is_done {
            self.deadlines.arm(Owner::Convergence, now);
        }
    }

    /// Looks whether the convergence is done now, and arms the deadline by which it will be.
    pub(super) fn check_convergence(&mut self, now: MonoTime) {
        if self.convergence.is_done {
            return;
        }
        let settled_at = self.settled_at();
        let at = settled_at.unwrap_or(self.convergence.until).min(self.convergence.until);
        if now < at {
            self.deadlines.arm(Owner::Convergence, at);
            return;
        }
        self.convergence.is_done = true;
        tracing::info!(
            timed_out = settled_at.is_none(),
            after_secs = now.since(self.started).as_secs(),
            "first convergence done"
        );
        if self.convergence.may_have_restarted() {
            let up: Vec<Source> =
                self.peers.iter().flatten().filter(|p| p.established.is_some()).map(|p| p.source).collect();
            self.owe_end_of_rib(&up);
        }
    }

    /// When all are settled, if nothing more happens; `None`: something must happen first.
    fn settled_at(&self) -> Option<MonoTime> {
        let quiet = self.convergence.last_up.map(|at| at + QUIET);
        let mut at = self.started;
        let mut has_session = false;
        for peer in self.peers.iter().flatten().filter(|peer| peer.neighbor.enabled) {
            match Settled::of(peer) {
                Settled::Yes => has_session = true,
                Settled::WhenQuiet => {
                    has_session = true;
                    at = at.max(quiet?);
                }
                Settled::No => return None,
            }
        }
        if self.config.listen_ranges.is_empty() {
            return Some(at);
        }
        has_session.then_some(())?;
        Some(at.max(quiet?))
    }
}

/// Has a neighbour told all its routes since its session came up? Of one that will not say so, that is taken for granted
/// after a while.
pub(super) fn has_told_all(now: MonoTime, peer: &Peer) -> bool {
    match Settled::of(peer) {
        Settled::Yes => true,
        Settled::WhenQuiet => peer.up_for(now).is_some_and(|time| time >= QUIET),
        Settled::No => false,
    }
}

enum Settled {
    Yes,
    /// It will not say so; quiet must do.
    WhenQuiet,
    No,
}

impl Settled {
    fn of(peer: &Peer) -> Self {
        let Some(established) = &peer.established else { return Settled::No };
        let Some(negotiated) = peer.session(established.direction).negotiated() else { return Settled::No };
        if negotiated.families.iter().all(|family| established.end_of_rib[family.index()]) {
            return Settled::Yes;
        }
        match &negotiated.graceful_restart {
            None => Settled::WhenQuiet,
            // It waits for us as we wait for it (RFC 4724 §4.1).
            Some(restart) if restart.restarting => Settled::WhenQuiet,
            Some(_) => Settled::No,
        }
    }
}
