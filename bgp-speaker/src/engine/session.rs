//! The finite state machine of one connection: RFC 4271 §8, without sockets and without a clock.
//!
//! ```text
//!            Start            TcpConnected         Open           Keepalive
//!   Idle ------------> Connect ----------> OpenSent ----> OpenConfirm ----> Established
//!     \  StartPassive             ^
//!      `------------> Active -----'        every failure leads back to Idle
//! ```
//!
//! One [`Session`] per connection; a peer has one that it starts and one that the
//! neighbour starts, and resolves collisions between them. Inputs are [`Event`]s with the time, outputs are
//! [`Action`]s in order. Timers are deadlines in here: a stale one cannot fire.
//!
//! Left out, as the RFC allows: DelayOpen, and automatic restart from Idle, which is the peer's back-off.

use super::negotiate::{LocalSide, Negotiated, negotiate};
use super::time::MonoTime;
use bgp_proto::{Message, Notification, Open, subcode};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// RFC 4271 §8.2.2: the hold timer while an OPEN is awaited ("4 minutes is suggested").
pub const OPEN_HOLD_TIME: Duration = Duration::from_secs(240);
/// How long a TCP connection may take before the next attempt (RFC 4271 §10 suggests 120 s for the Internet).
pub const CONNECT_RETRY_TIME: Duration = Duration::from_secs(10);

/// State of the machine, with what is true in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing goes on.
    Idle,
    /// A TCP connection is being made.
    Connect,
    /// A TCP connection is awaited.
    Active,
    /// Our OPEN is sent, theirs is awaited.
    OpenSent,
    /// Theirs was acceptable; their KEEPALIVE is awaited.
    OpenConfirm(Box<Negotiated>),
    /// Routes flow.
    Established(Box<Negotiated>),
}

/// A state's name alone, for tables and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of RFC 4271 §8.2.2")]
pub enum StateKind {
    Idle,
    Connect,
    Active,
    OpenSent,
    OpenConfirm,
    Established,
}

impl StateKind {
    /// All states, in the order of progress.
    pub const ALL: [StateKind; 6] = [
        StateKind::Idle,
        StateKind::Connect,
        StateKind::Active,
        StateKind::OpenSent,
        StateKind::OpenConfirm,
        StateKind::Established,
    ];

    /// Its name in RFC 4271.
    pub fn name(self) -> &'static str {
        match self {
            StateKind::Idle => "Idle",
            StateKind::Connect => "Connect",
            StateKind::Active => "Active",
            StateKind::OpenSent => "OpenSent",
            StateKind::OpenConfirm => "OpenConfirm",
            StateKind::Established => "Established",
        }
    }
}

impl fmt::Display for StateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An input. Numbers are those of RFC 4271 §8.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// 1, 3: connect.
    Start,
    /// 4, 5: wait for a connection.
    StartPassive,
    /// 2, 8: stop; the NOTIFICATION says why, if a session is up far enough to hear it.
    Stop(Notification),
    /// As `Stop`, but the connection is just closed: we restart, and the neighbour is to keep our routes.
    CloseSilently,
    /// 9.
    ConnectRetryTimerExpires,
    /// 10.
    HoldTimerExpires,
    /// 11.
    KeepaliveTimerExpires,
    /// 16, 17: a connection is there, and this is what we say on it.
    TcpConnected(Box<LocalSide>),
    /// 18, with the system's words.
    TcpConnectionFails(String),
    /// 19.
    Open(Box<Open>),
    /// 21, 22, 28: bytes that are no message; the NOTIFICATION is the codec's.
    MalformedMessage(Notification),
    /// 23: the other connection of the peer won.
    OpenCollisionDump,
    /// 24, 25.
    Notification(Notification),
    /// 26.
    Keepalive,
    /// 27. What is in it is not the machine's business.
    Update,
    /// RFC 2918: as good as an UPDATE.
    RouteRefresh,
}

/// An output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "a few per input, in a vector that is reused")]
pub enum Action {
    /// Make a TCP connection.
    Connect,
    /// Send this.
    Send(Box<Message>),
    /// Close the connection after what was sent.
    Close,
    /// The session is established.
    Up,
    /// It is over, or never came to be.
    Down(DownReason),
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownReason {
    /// The connection failed or was closed by the other side.
    TcpFailed(String),
    /// The neighbour said so.
    NotificationReceived(Notification),
    /// We said so.
    NotificationSent(Notification),
    /// We closed it to restart.
    ClosedForRestart,
    /// We stopped before there was a connection.
    GivenUp,
}

impl DownReason {
    /// A short constant name for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            DownReason::TcpFailed(_) => "tcp-failed",
            DownReason::NotificationReceived(_) => "notification-received",
            DownReason::NotificationSent(n) if n.code == 4 => "hold-timer-expired",
            DownReason::NotificationSent(n) if n.code == 8 => "send-hold-timer-expired",
            DownReason::NotificationSent(_) => "notification-sent",
            DownReason::ClosedForRestart => "restart",
            DownReason::GivenUp => "given-up",
        }
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DownReason::TcpFailed(why) => write!(f, "connection: {why}"),
            DownReason::NotificationReceived(n) => write!(f, "received NOTIFICATION {n}"),
            DownReason::NotificationSent(n) => write!(f, "sent NOTIFICATION {n}"),
            DownReason::ClosedForRestart => f.write_str("closed for a restart"),
            DownReason::GivenUp => f.write_str("stopped before there was a connection"),
        }
    }
}

/// The machine. One per connection, real or attempted.
#[derive(Clone, Debug)]
pub struct Session {
    state: State,
    local: Option<Box<LocalSide>>,
    connect_retry: Option<MonoTime>,
    hold: Option<MonoTime>,
    keepalive: Option<MonoTime>,
    /// Takes up to a quarter off each keepalive interval (RFC 4271 §10); see [`Session::new`].
    jitter: u32,
}

impl Session {
    /// In Idle. `jitter` seeds the only randomness there is: 0 is none.
    pub fn new(jitter: u32) -> Self {
        Self { state: State::Idle, local: None, connect_retry: None, hold: None, keepalive: None, jitter }
    }

    /// Where it is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state's name.
    pub fn kind(&self) -> StateKind {
        match self.state {
            State::Idle => StateKind::Idle,
            State::Connect => StateKind::Connect,
            State::Active => StateKind::Active,
            State::OpenSent => StateKind::OpenSent,
            State::OpenConfirm(_) => StateKind::OpenConfirm,
            State::Established(_) => StateKind::Established,
        }
    }

    /// The terms, once the neighbour's OPEN was accepted.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        match &self.state {
            State::OpenConfirm(negotiated) | State::Established(negotiated) => Some(negotiated),
            State::Idle | State::Connect | State::Active | State::OpenSent => None,
        }
    }

    /// What we said on this connection.
    pub fn local(&self) -> Option<&LocalSide> {
        self.local.as_deref()
    }

    /// When [`Session::handle_deadline`] wants to be called.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        [self.connect_retry, self.hold, self.keepalive].into_iter().flatten().min()
    }

    /// Feeds the timers that are due.
    pub fn handle_deadline(&mut self, now: MonoTime, actions: &mut Vec<Action>) {
        let is_due = |deadline: Option<MonoTime>| deadline.is_some_and(|at| at <= now);
        if is_due(self.hold) {
            self.handle(now, Event::HoldTimerExpires, actions);
        }
        if is_due(self.keepalive) {
            self.handle(now, Event::KeepaliveTimerExpires, actions);
        }
        if is_due(self.connect_retry) {
            self.handle(now, Event::ConnectRetryTimerExpires, actions);
        }
    }

    /// Feeds one event; what is to be done is appended to `actions`, in order.
    pub fn handle(&mut self, now: MonoTime, event: Event, actions: &mut Vec<Action>) {
        let state = std::mem::replace(&mut self.state, State::Idle);
        self.state = match state {
            State::Idle => self.in_idle(now, event, actions),
            State::Connect => self.in_connect(now, event, actions),
            State::Active => self.in_active(now, event, actions),
            State::OpenSent => self.in_open_sent(now, event, actions),
            State::OpenConfirm(negotiated) => self.in_open_confirm(now, negotiated, event, actions),
            State::Established(negotiated) => self.in_established(now, negotiated, event, actions),
        };
    }

    fn in_idle(&mut self, now: MonoTime, event: Event, actions: &mut Vec<Action>) -> State {
        match event {
            Event::Start => self.connect(now, actions),
            Event::StartPassive => State::Active,
            Event::Stop(_)
            | Event::CloseSilently
            | Event::ConnectRetryTimerExpires
            | Event::HoldTimerExpires
            | Event::KeepaliveTimerExpires
            | Event::TcpConnectionFails(_)
            | Event::Open(_)
            | Event::MalformedMessage(_)
            | Event::OpenCollisionDump
            | Event::Notification(_)
            | Event::Keepalive
            | Event::Update
            | Event::RouteRefresh => State::Idle,
            // A connection that nobody wants any more.
            Event::TcpConnected(_) => {
                actions.push(Action::Close);
                State::Idle
            }
        }
    }

    fn in_connect(&mut self, now: MonoTime, event: Event, actions: &mut Vec<Action>) -> State {
        match event {
            Event::Start | Event::StartPassive => State::Connect,
            Event::TcpConnected(local) => self.send_open(now, local, actions),
            Event::ConnectRetryTimerExpires => {
                actions.push(Action::Close);
                self.connect(now, actions)
            }
            Event::TcpConnectionFails(why) => self.fail(DownReason::TcpFailed(why), actions),
            Event::Stop(_) | Event::CloseSilently | Event::OpenCollisionDump => {
                actions.push(Action::Close);
                self.fail(DownReason::GivenUp, actions)
            }
            // Nothing can have been received before the connection is there.
            Event::HoldTimerExpires
            | Event::KeepaliveTimerExpires
            | Event::Open(_)
            | Event::MalformedMessage(_)
            | Event::Notification(_)
            | Event::Keepalive
            | Event::Update
            | Event::RouteRefresh => {
                actions.push(Action::Close);
                self.fail(DownReason::TcpFailed("message before the connection".to_owned()), actions)
            }
        }
    }

    fn in_active(&mut self, now: MonoTime, event: Event, actions: &mut Vec<Action>) -> State {
        match event {
            Event::StartPassive => State::Active,
            Event::Start | Event::ConnectRetryTimerExpires => self.connect(now, actions),
            Event::TcpConnected(local) => self.send_open(now, local, actions),
            Event::TcpConnectionFails(why) => self.fail(DownReason::TcpFailed(why), actions),
            Event::Stop(_) | Event::CloseSilently | Event::OpenCollisionDump => {
                actions.push(Action::Close);
                self.fail(DownReason::GivenUp, actions)
            }
            Event::HoldTimerExpires
            | Event::KeepaliveTimerExpires
            | Event::Open(_)
            | Event::MalformedMessage(_)
            | Event::Notification(_)
            | Event::Keepalive
            | Event::Update
            | Event::RouteRefresh => {
                actions.push(Action::Close);
                self.fail(DownReason::TcpFailed("message before the connection".to_owned()), actions)
            }
        }
    }

    fn in_open_sent(&mut self, now: MonoTime, event: Event, actions: &mut Vec<Action>) -> State {
        match event {
            Event::Open(open) => self.accept_open(now, &open, actions),
            Event::HoldTimerExpires => self.notify(Notification::hold_timer_expired(), actions),
            Event::Start
            | Event::StartPassive
            | Event::ConnectRetryTimerExpires
            | Event::KeepaliveTimerExpires
            | Event::TcpConnected(_) => State::OpenSent,
            Event::Keepalive | Event::Update | Event::RouteRefresh => {
                self.notify(Notification::fsm_error(subcode::fsm::UNEXPECTED_IN_OPEN_SENT), actions)
            }
            other => self.end(other, actions),
        }
    }

    fn in_open_confirm(
        &mut self,
        now: MonoTime,
        negotiated: Box<Negotiated>,
        event: Event,
        actions: &mut Vec<Action>,
    ) -> State {
        match event {
            Event::Keepalive => {
                self.restart_hold(now, &negotiated);
                actions.push(Action::Up);
                State::Established(negotiated)
            }
            Event::KeepaliveTimerExpires => {
                self.send_keepalive(now, &negotiated, actions);
                State::OpenConfirm(negotiated)
            }
            Event::HoldTimerExpires => self.notify(Notification::hold_timer_expired(), actions),
            Event::Start | Event::StartPassive | Event::ConnectRetryTimerExpires | Event::TcpConnected(_) => {
                State::OpenConfirm(negotiated)
            }
            Event::Open(_) | Event::Update | Event::RouteRefresh => {
                self.notify(Notification::fsm_error(subcode::fsm::UNEXPECTED_IN_OPEN_CONFIRM), actions)
            }
            other => self.end(other, actions),
        }
    }

    fn in_established(
        &mut self,
        now: MonoTime,
        negotiated: Box<Negotiated>,
        event: Event,
        actions: &mut Vec<Action>,
    ) -> State {
        match event {
            Event::Keepalive | Event::Update | Event::RouteRefresh => {
                self.restart_hold(now, &negotiated);
                State::Established(negotiated)
            }
            Event::KeepaliveTimerExpires => {
                self.send_keepalive(now, &negotiated, actions);
                State::Established(negotiated)
            }
            Event::HoldTimerExpires => self.notify(Notification::hold_timer_expired(), actions),
            Event::Start | Event::StartPassive | Event::ConnectRetryTimerExpires | Event::TcpConnected(_) => {
                State::Established(negotiated)
            }
            Event::Open(_) => {
                self.notify(Notification::fsm_error(subcode::fsm::UNEXPECTED_IN_ESTABLISHED), actions)
            }
            other => self.end(other, actions),
        }
    }

    /// The events that end a session in the same way from OpenSent on.
    fn end(&mut self, event: Event, actions: &mut Vec<Action>) -> State {
        match event {
            Event::Stop(notification) | Event::MalformedMessage(notification) => {
                self.notify(notification, actions)
            }
            Event::OpenCollisionDump => {
                self.notify(Notification::cease(subcode::cease::CONNECTION_COLLISION), actions)
            }
            Event::CloseSilently => {
                actions.push(Action::Close);
                self.fail(DownReason::ClosedForRestart, actions)
            }
            Event::Notification(notification) => {
                actions.push(Action::Close);
                self.fail(DownReason::NotificationReceived(notification), actions)
            }
            Event::TcpConnectionFails(why) => self.fail(DownReason::TcpFailed(why), actions),
            Event::Start
            | Event::StartPassive
            | Event::ConnectRetryTimerExpires
            | Event::HoldTimerExpires
            | Event::KeepaliveTimerExpires
            | Event::TcpConnected(_)
            | Event::Open(_)
            | Event::Keepalive
            | Event::Update
            | Event::RouteRefresh => unreachable!("each state handles these itself"),
        }
    }

    fn connect(&mut self, now: MonoTime, actions: &mut Vec<Action>) -> State {
        self.connect_retry = Some(now + CONNECT_RETRY_TIME);
        actions.push(Action::Connect);
        State::Connect
    }

    fn send_open(&mut self, now: MonoTime, local: Box<LocalSide>, actions: &mut Vec<Action>) -> State {
        self.connect_retry = None;
        self.hold = Some(now + OPEN_HOLD_TIME);
        actions.push(Action::Send(Box::new(Message::Open(local.open.clone()))));
        self.local = Some(local);
        State::OpenSent
    }

    fn accept_open(&mut self, now: MonoTime, open: &Open, actions: &mut Vec<Action>) -> State {
        let local = self.local.as_deref().expect("OpenSent is only entered with what we said");
        match negotiate(local, open) {
            Ok(negotiated) => {
                self.hold = None;
                self.restart_hold(now, &negotiated);
                self.send_keepalive(now, &negotiated, actions);
                State::OpenConfirm(Box::new(negotiated))
            }
            Err(notification) => self.notify(notification, actions),
        }
    }

    fn restart_hold(&mut self, now: MonoTime, negotiated: &Negotiated) {
        self.hold = negotiated.hold_time.map(|time| now + time);
    }

    fn send_keepalive(&mut self, now: MonoTime, negotiated: &Negotiated, actions: &mut Vec<Action>) {
        actions.push(Action::Send(Box::new(Message::Keepalive)));
        self.keepalive = negotiated.keepalive.map(|interval| {
            self.jitter = self.jitter.wrapping_mul(1_664_525);
            now + interval - interval.mul_f64(0.25 * f64::from(self.jitter >> 16) / 65536.0)
        });
    }

    fn notify(&mut self, notification: Notification, actions: &mut Vec<Action>) -> State {
        actions.push(Action::Send(Box::new(Message::Notification(notification.clone()))));
        actions.push(Action::Close);
        self.fail(DownReason::NotificationSent(notification), actions)
    }

    fn fail(&mut self, reason: DownReason, actions: &mut Vec<Action>) -> State {
        (self.connect_retry, self.hold, self.keepalive) = (None, None, None);
        self.local = None;
        actions.push(Action::Down(reason));
        State::Idle
    }
}

#[cfg(test)]
mod tests;
