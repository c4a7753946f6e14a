//! Every state with every event, from one table; then the timers.

use super::*;
use crate::config::{SessionOptions, SpeakerConfig};
use crate::engine::negotiate::{RestartFlags, local_open};
use crate::engine::next_hop::SelfAddresses;
use bgp_proto::{Asn, BgpId, HoldTime, NotificationCode};
use std::collections::BTreeSet;

/// State, event, next state, actions. Messages by name; a NOTIFICATION by code and subcode; `down` with its reason.
type Row = (StateKind, &'static str, StateKind, &'static str);

use StateKind::{Active, Connect, Established, Idle, OpenConfirm, OpenSent};

/// What does not concern a state is ignored in Idle, ends an attempt in Connect and Active, and is answered with a
/// NOTIFICATION from OpenSent on (RFC 4271 §8.2.2).
const TABLE: &[Row] = &[
    (Idle, "start", Connect, "connect"),
    (Idle, "start passive", Active, ""),
    (Idle, "stop", Idle, ""),
    (Idle, "close silently", Idle, ""),
    (Idle, "connect retry timer expires", Idle, ""),
    (Idle, "hold timer expires", Idle, ""),
    (Idle, "keepalive timer expires", Idle, ""),
    (Idle, "connected", Idle, "close"),
    (Idle, "connection fails", Idle, ""),
    (Idle, "open", Idle, ""),
    (Idle, "bad open", Idle, ""),
    (Idle, "malformed message", Idle, ""),
    (Idle, "collision", Idle, ""),
    (Idle, "notification", Idle, ""),
    (Idle, "keepalive", Idle, ""),
    (Idle, "update", Idle, ""),
    (Idle, "route refresh", Idle, ""),
    (Connect, "start", Connect, ""),
    (Connect, "start passive", Connect, ""),
    (Connect, "stop", Idle, "close, down: given up"),
    (Connect, "close silently", Idle, "close, down: given up"),
    (Connect, "connect retry timer expires", Connect, "close, connect"),
    (Connect, "hold timer expires", Idle, "close, down: connection"),
    (Connect, "keepalive timer expires", Idle, "close, down: connection"),
    (Connect, "connected", OpenSent, "open"),
    (Connect, "connection fails", Idle, "down: connection"),
    (Connect, "open", Idle, "close, down: connection"),
    (Connect, "bad open", Idle, "close, down: connection"),
    (Connect, "malformed message", Idle, "close, down: connection"),
    (Connect, "collision", Idle, "close, down: given up"),
    (Connect, "notification", Idle, "close, down: connection"),
    (Connect, "keepalive", Idle, "close, down: connection"),
    (Connect, "update", Idle, "close, down: connection"),
    (Connect, "route refresh", Idle, "close, down: connection"),
    (Active, "start", Connect, "connect"),
    (Active, "start passive", Active, ""),
    (Active, "stop", Idle, "close, down: given up"),
    (Active, "close silently", Idle, "close, down: given up"),
    (Active, "connect retry timer expires", Connect, "connect"),
    (Active, "hold timer expires", Idle, "close, down: connection"),
    (Active, "keepalive timer expires", Idle, "close, down: connection"),
    (Active, "connected", OpenSent, "open"),
    (Active, "connection fails", Idle, "down: connection"),
    (Active, "open", Idle, "close, down: connection"),
    (Active, "bad open", Idle, "close, down: connection"),
    (Active, "malformed message", Idle, "close, down: connection"),
    (Active, "collision", Idle, "close, down: given up"),
    (Active, "notification", Idle, "close, down: connection"),
    (Active, "keepalive", Idle, "close, down: connection"),
    (Active, "update", Idle, "close, down: connection"),
    (Active, "route refresh", Idle, "close, down: connection"),
    (OpenSent, "start", OpenSent, ""),
    (OpenSent, "start passive", OpenSent, ""),
    (OpenSent, "stop", Idle, "notification 6/2, close, down: sent"),
    (OpenSent, "close silently", Idle, "close, down: restart"),
    (OpenSent, "connect retry timer expires", OpenSent, ""),
    (OpenSent, "hold timer expires", Idle, "notification 4/0, close, down: sent"),
    (OpenSent, "keepalive timer expires", OpenSent, ""),
    (OpenSent, "connected", OpenSent, ""),
    (OpenSent, "connection fails", Idle, "down: connection"),
    (OpenSent, "open", OpenConfirm, "keepalive"),
    (OpenSent, "bad open", Idle, "notification 2/2, close, down: sent"),
    (OpenSent, "malformed message", Idle, "notification 1/1, close, down: sent"),
    (OpenSent, "collision", Idle, "notification 6/7, close, down: sent"),
    (OpenSent, "notification", Idle, "close, down: received"),
    (OpenSent, "keepalive", Idle, "notification 5/1, close, down: sent"),
    (OpenSent, "update", Idle, "notification 5/1, close, down: sent"),
    (OpenSent, "route refresh", Idle, "notification 5/1, close, down: sent"),
    (OpenConfirm, "start", OpenConfirm, ""),
    (OpenConfirm, "start passive", OpenConfirm, ""),
    (OpenConfirm, "stop", Idle, "notification 6/2, close, down: sent"),
    (OpenConfirm, "close silently", Idle, "close, down: restart"),
    (OpenConfirm, "connect retry timer expires", OpenConfirm, ""),
    (OpenConfirm, "hold timer expires", Idle, "notification 4/0, close, down: sent"),
    (OpenConfirm, "keepalive timer expires", OpenConfirm, "keepalive"),
    (OpenConfirm, "connected", OpenConfirm, ""),
    (OpenConfirm, "connection fails", Idle, "down: connection"),
    (OpenConfirm, "open", Idle, "notification 5/2, close, down: sent"),
    (OpenConfirm, "bad open", Idle, "notification 5/2, close, down: sent"),
    (OpenConfirm, "malformed message", Idle, "notification 1/1, close, down: sent"),
    (OpenConfirm, "collision", Idle, "notification 6/7, close, down: sent"),
    (OpenConfirm, "notification", Idle, "close, down: received"),
    (OpenConfirm, "keepalive", Established, "up"),
    (OpenConfirm, "update", Idle, "notification 5/2, close, down: sent"),
    (OpenConfirm, "route refresh", Idle, "notification 5/2, close, down: sent"),
    (Established, "start", Established, ""),
    (Established, "start passive", Established, ""),
    (Established, "stop", Idle, "notification 6/2, close, down: sent"),
    (Established, "close silently", Idle, "close, down: restart"),
    (Established, "connect retry timer expires", Established, ""),
    (Established, "hold timer expires", Idle, "notification 4/0, close, down: sent"),
    (Established, "keepalive timer expires", Established, "keepalive"),
    (Established, "connected", Established, ""),
    (Established, "connection fails", Idle, "down: connection"),
    (Established, "open", Idle, "notification 5/3, close, down: sent"),
    (Established, "bad open", Idle, "notification 5/3, close, down: sent"),
    (Established, "malformed message", Idle, "notification 1/1, close, down: sent"),
    (Established, "collision", Idle, "notification 6/7, close, down: sent"),
    (Established, "notification", Idle, "close, down: received"),
    (Established, "keepalive", Established, ""),
    (Established, "update", Established, ""),
    (Established, "route refresh", Established, ""),
];

const EVENTS: [&str; 17] = [
    "start",
    "start passive",
    "stop",
    "close silently",
    "connect retry timer expires",
    "hold timer expires",
    "keepalive timer expires",
    "connected",
    "connection fails",
    "open",
    "bad open",
    "malformed message",
    "collision",
    "notification",
    "keepalive",
    "update",
    "route refresh",
];

fn event(name: &str) -> Event {
    match name {
        "start" => Event::Start,
        "start passive" => Event::StartPassive,
        "stop" => Event::Stop(Notification::administrative_shutdown("")),
        "close silently" => Event::CloseSilently,
        "connect retry timer expires" => Event::ConnectRetryTimerExpires,
        "hold timer expires" => Event::HoldTimerExpires,
        "keepalive timer expires" => Event::KeepaliveTimerExpires,
        "connected" => connected(90),
        "connection fails" => Event::TcpConnectionFails("reset".to_owned()),
        "open" => open(90),
        "bad open" => Event::Open(Box::new(Open { asn: Asn(65001), ..remote(90) })),
        "malformed message" => {
            let code = NotificationCode::MESSAGE_HEADER_ERROR;
            Event::MalformedMessage(Notification::new(code, subcode::header::CONNECTION_NOT_SYNCHRONIZED))
        }
        "collision" => Event::OpenCollisionDump,
        "notification" => Event::Notification(Notification::administrative_reset("")),
        "keepalive" => Event::Keepalive,
        "update" => Event::Update,
        "route refresh" => Event::RouteRefresh,
        _ => panic!("no event {name:?}"),
    }
}

/// Its name in the table: a new event does not compile without one.
fn name(event: &Event) -> &'static str {
    match event {
        Event::Start => "start",
        Event::StartPassive => "start passive",
        Event::Stop(_) => "stop",
        Event::CloseSilently => "close silently",
        Event::ConnectRetryTimerExpires => "connect retry timer expires",
        Event::HoldTimerExpires => "hold timer expires",
        Event::KeepaliveTimerExpires => "keepalive timer expires",
        Event::TcpConnected(_) => "connected",
        Event::TcpConnectionFails(_) => "connection fails",
        Event::Open(open) if open.asn == remote(90).asn => "open",
        Event::Open(_) => "bad open",
        Event::MalformedMessage(_) => "malformed message",
        Event::OpenCollisionDump => "collision",
        Event::Notification(_) => "notification",
        Event::Keepalive => "keepalive",
        Event::Update => "update",
        Event::RouteRefresh => "route refresh",
    }
}

fn at(secs: u64) -> MonoTime {
    MonoTime::from_start(Duration::from_secs(secs))
}

fn remote(hold_secs: u16) -> Open {
    let config = SpeakerConfig::new([10, 0, 0, 2].into());
    let flags = RestartFlags { restarting: false, forwarding_preserved: false };
    let hold_time = HoldTime::from_secs(hold_secs).expect("not 1 or 2");
    Open { hold_time, ..local_open(&config, &SessionOptions::default(), flags) }
}

fn open(hold_secs: u16) -> Event {
    Event::Open(Box::new(remote(hold_secs)))
}

fn connected(hold_secs: u16) -> Event {
    let open = Open { bgp_id: BgpId(1), ..remote(hold_secs) };
    Event::TcpConnected(Box::new(LocalSide {
        remote_as: open.asn,
        keepalive: None,
        open,
        own: SelfAddresses::default(),
    }))
}

/// A machine in a state, at the start of time, without jitter.
fn machine(state: StateKind, hold_secs: u16) -> Session {
    let way = match state {
        Idle => vec![],
        Connect => vec![Event::Start],
        Active => vec![Event::StartPassive],
        OpenSent => vec![Event::Start, connected(hold_secs)],
        OpenConfirm => vec![Event::Start, connected(hold_secs), open(hold_secs)],
        Established => vec![Event::Start, connected(hold_secs), open(hold_secs), Event::Keepalive],
    };
    let mut session = Session::new(0);
    way.into_iter().for_each(|event| session.handle(MonoTime::ZERO, event, &mut Vec::new()));
    assert_eq!(session.kind(), state);
    session
}

fn feed(session: &mut Session, now: MonoTime, event: Event) -> String {
    let mut actions = Vec::new();
    session.handle(now, event, &mut actions);
    describe(&actions)
}

/// What the timers do at a time.
fn wait_until(session: &mut Session, now: MonoTime) -> String {
    let mut actions = Vec::new();
    session.handle_deadline(now, &mut actions);
    describe(&actions)
}

fn describe(actions: &[Action]) -> String {
    let text = |action: &Action| match action {
        Action::Connect => "connect".to_owned(),
        Action::Send(message) => match &**message {
            Message::Open(_) => "open".to_owned(),
            Message::Keepalive => "keepalive".to_owned(),
            Message::Notification(n) => format!("notification {}/{}", n.code, n.subcode),
            other => panic!("a state machine does not send {other:?}"),
        },
        Action::Close => "close".to_owned(),
        Action::Up => "up".to_owned(),
        Action::Down(DownReason::GivenUp) => "down: given up".to_owned(),
        Action::Down(DownReason::TcpFailed(_)) => "down: connection".to_owned(),
        Action::Down(DownReason::NotificationReceived(_)) => "down: received".to_owned(),
        Action::Down(DownReason::NotificationSent(_)) => "down: sent".to_owned(),
        Action::Down(DownReason::ClosedForRestart) => "down: restart".to_owned(),
    };
    actions.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_event_in_every_state_does_what_the_table_says() {
    for (state, name, next, actions) in TABLE {
        let mut session = machine(*state, 90);
        let done = feed(&mut session, at(1), event(name));
        assert_eq!((session.kind(), done.as_str()), (*next, *actions), "{state}: {name}");
    }
}

#[test]
fn the_table_has_every_pair_of_state_and_event_once() {
    let pairs: BTreeSet<_> = TABLE.iter().map(|(state, name, ..)| (*state, *name)).collect();
    assert_eq!(pairs.len(), TABLE.len(), "no pair twice");
    for state in StateKind::ALL {
        for name in EVENTS {
            assert!(pairs.contains(&(state, name)), "{state}: {name}");
        }
    }
    assert_eq!(TABLE.len(), StateKind::ALL.len() * EVENTS.len());
    assert!(EVENTS.iter().all(|known| name(&event(known)) == *known), "events are what they are called");
}

#[test]
fn whoever_leaves_for_idle_leaves_no_timer_behind() {
    for (state, name, next, _) in TABLE.iter().filter(|(state, _, next, _)| *next == Idle && *state != Idle) {
        let mut session = machine(*state, 90);
        feed(&mut session, at(1), event(name));
        assert_eq!(session.next_deadline(), None, "{state}: {name} -> {next}");
        assert_eq!((session.local(), session.negotiated()), (None, None), "{state}: {name}");
    }
}

#[test]
fn an_attempt_to_connect_is_repeated_after_ten_seconds() {
    let mut session = machine(Connect, 90);
    assert_eq!(session.next_deadline(), Some(at(10)));
    assert_eq!(wait_until(&mut session, at(9)), "");
    assert_eq!(wait_until(&mut session, at(10)), "close, connect");
    assert_eq!(session.next_deadline(), Some(at(20)));
}

#[test]
fn an_open_is_awaited_for_240_seconds() {
    let mut session = machine(OpenSent, 90);
    assert_eq!(session.next_deadline(), Some(at(240)));
    assert_eq!(wait_until(&mut session, at(239)), "");
    assert_eq!(wait_until(&mut session, at(240)), "notification 4/0, close, down: sent");
}

#[test]
fn an_open_is_awaited_for_240_seconds_also_with_hold_time_0() {
    assert_eq!(machine(OpenSent, 0).next_deadline(), Some(at(240)));
}

#[test]
fn the_open_replaces_the_240_seconds_by_the_negotiated_hold_time() {
    let mut session = machine(OpenSent, 90);
    feed(&mut session, at(200), open(30));
    assert_eq!(session.next_deadline(), Some(at(210)), "the first KEEPALIVE");
    assert_eq!(wait_until(&mut session, at(229)), "keepalive");
    assert_eq!(wait_until(&mut session, at(230)), "notification 4/0, close, down: sent");
}

#[test]
fn hold_timer_expiry_sends_notification_4_0() {
    let mut session = machine(Established, 90);
    assert_eq!(wait_until(&mut session, at(89)), "keepalive");
    assert_eq!(wait_until(&mut session, at(90)), "notification 4/0, close, down: sent");
}

#[test]
fn keepalive_update_and_route_refresh_put_the_hold_timer_off() {
    for name in ["keepalive", "update", "route refresh"] {
        let mut session = machine(Established, 90);
        assert_eq!(feed(&mut session, at(80), event(name)), "");
        assert_eq!(wait_until(&mut session, at(169)), "keepalive", "{name}");
        assert_eq!(wait_until(&mut session, at(170)), "notification 4/0, close, down: sent", "{name}");
    }
}

#[test]
fn a_stale_hold_deadline_does_not_fire() {
    let mut session = machine(Established, 90);
    feed(&mut session, at(89), Event::Keepalive);
    assert_eq!(wait_until(&mut session, at(90)), "keepalive");
    assert_eq!(session.kind(), Established);
}

#[test]
fn keepalives_are_sent_every_third_of_the_hold_time() {
    let mut session = machine(Established, 90);
    for secs in [30, 60, 90, 120] {
        feed(&mut session, at(secs - 1), Event::Keepalive);
        assert_eq!(session.next_deadline(), Some(at(secs)));
        assert_eq!(wait_until(&mut session, at(secs)), "keepalive");
    }
}

#[test]
fn jitter_takes_up_to_a_quarter_off_each_keepalive_interval() {
    let mut session = Session::new(12345);
    for event in [Event::Start, connected(90), open(90), Event::Keepalive] {
        session.handle(MonoTime::ZERO, event, &mut Vec::new());
    }
    let mut intervals = Vec::new();
    let mut now = MonoTime::ZERO;
    for _ in 0..100 {
        let next = session.next_deadline().expect("a keepalive timer");
        intervals.push(next.since(now));
        now = next;
        feed(&mut session, now, Event::Keepalive);
        assert_eq!(wait_until(&mut session, now), "keepalive");
    }
    let bounds = Duration::from_millis(22_500)..=Duration::from_secs(30);
    assert!(intervals.iter().all(|interval| bounds.contains(interval)), "{intervals:?}");
    let distinct: BTreeSet<_> = intervals.iter().collect();
    assert!(distinct.len() > 50, "they differ");
}

#[test]
fn with_hold_time_0_there_is_no_timer_and_one_keepalive() {
    let mut session = machine(OpenSent, 90);
    assert_eq!(feed(&mut session, at(1), open(0)), "keepalive");
    assert_eq!(session.next_deadline(), None);
    assert_eq!(feed(&mut session, at(2), Event::Keepalive), "up");
    assert_eq!(session.next_deadline(), None);
    assert_eq!(wait_until(&mut session, at(1_000_000)), "");
    assert_eq!(session.kind(), Established);
}

#[test]
fn the_terms_are_known_from_open_confirm_on() {
    for state in StateKind::ALL {
        assert_eq!(machine(state, 90).negotiated().is_some(), state >= OpenConfirm, "{state}");
    }
}
