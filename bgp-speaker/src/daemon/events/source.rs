//! From what the speaker and the kernel's side tell to the ring. Nothing is asked of them while nobody reads.

use super::hub::{EventHub, Followed};
use super::{Change, Event, FibChange};
use crate::config::Step;
use crate::engine::{SessionChange, SessionChangeKind};
use crate::speaker::{RouteChange, RouteSubscription, SpeakerEvent, SpeakerHandle, Stopped};
use fib_sync::{FibEvent, FibEvents};
use ipnet::IpNet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Sleep;

/// So long it goes on without a reader: whoever comes back until then has missed nothing.
const GRACE: Duration = Duration::from_secs(60);
/// Steps told of one change of the configuration.
const STEPS_MAX: usize = 100;

/// Runs until the speaker has stopped.
pub(crate) async fn feed(hub: Arc<EventHub>, handle: SpeakerHandle) {
    let mut wanted = hub.wanted.subscribe();
    loop {
        tokio::select! {
            // Fails if the hub is gone, which this task holds.
            _ = wanted.wait_for(|wanted| wanted.readers > 0) => {}
            () = handle.stopped() => break,
        }
        if follow(&hub, &handle).await.is_err() {
            break;
        }
        hub.followed.send_replace(Followed::default());
        hub.rest();
    }
    hub.end();
}

/// Runs until nobody has read for a while.
async fn follow(hub: &EventHub, handle: &SpeakerHandle) -> Result<(), Stopped> {
    let mut wanted = hub.wanted.subscribe();
    let mut events = handle.events().await?;
    let mut fib = handle.fib_events();
    let mut routes: Option<RouteSubscription> = None;
    let (mut until, mut routes_until) = (Grace::default(), Grace::default());
    hub.begin();
    loop {
        let now = *wanted.borrow_and_update();
        until.note(now.readers > 0);
        routes_until.note(now.of_routes > 0 || routes.is_none());
        if now.of_routes > 0 && routes.is_none() {
            routes = Some(handle.follow_routes().await?);
            hub.begin_routes();
        }
        hub.followed.send_replace(Followed { anything: true, routes: routes.is_some() });
        tokio::select! {
            // A session comes up before its routes come.
            biased;
            // Fails if the hub is gone, which this task holds.
            _ = wanted.changed() => {}
            () = until.over() => return Ok(()),
            () = routes_until.over() => routes = None,
            event = events.next() => hub.tell(event.ok_or(Stopped).map(of_speaker)?),
            event = next_of_fib(&mut fib) => match event {
                Some(event) => hub.tell(of_fib(event)),
                None => fib = None,
            },
            changes = next_of_routes(&mut routes) => hub.tell(changes.ok_or(Stopped)?.into_iter().map(of_route)),
        }
    }
}

/// The end of a time without readers.
#[derive(Default)]
struct Grace(Option<Pin<Box<Sleep>>>);

impl Grace {
    fn note(&mut self, is_wanted: bool) {
        if is_wanted {
            self.0 = None;
        } else if self.0.is_none() {
            self.0 = Some(Box::pin(tokio::time::sleep(GRACE)));
        }
    }

    async fn over(&mut self) {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().await,
            None => std::future::pending().await,
        }
    }
}

async fn next_of_fib(fib: &mut Option<FibEvents>) -> Option<FibEvent> {
    match fib {
        Some(fib) => fib.recv().await,
        None => std::future::pending().await,
    }
}

async fn next_of_routes(routes: &mut Option<RouteSubscription>) -> Option<Vec<RouteChange>> {
    match routes {
        Some(routes) => routes.next_batch().await,
        None => std::future::pending().await,
    }
}

fn of_speaker(event: SpeakerEvent) -> Option<Event> {
    Some(match event {
        SpeakerEvent::Session(change) => of_session(change),
        SpeakerEvent::Configured(steps) => of_steps(steps),
        SpeakerEvent::Lagged(missed) => Event::Lost { count: Some(missed) },
    })
}

fn of_session(change: SessionChange) -> Event {
    let SessionChange { neighbor, name, state, kind } = change;
    let (change, end) = match kind {
        SessionChangeKind::Added => (Change::Added, None),
        SessionChangeKind::Removed => (Change::Removed, None),
        SessionChangeKind::Up => (Change::Up, None),
        SessionChangeKind::Down(end) => (Change::Down, Some(end)),
        SessionChangeKind::Failed(end) => (Change::Failed, Some(end)),
    };
    Event::Session {
        neighbor,
        name,
        change,
        state: state.to_string(),
        reason: end.as_ref().map(|end| end.reason.to_owned()),
        error: end.map(|end| end.text),
    }
}

fn of_steps(mut steps: Vec<Step>) -> Event {
    let more = steps.len().saturating_sub(STEPS_MAX);
    steps.truncate(STEPS_MAX);
    Event::Config { steps, more }
}

fn of_route(change: RouteChange) -> Event {
    match change {
        RouteChange::Kernel { prefix } => {
            Event::Route { prefix, next_hop: None, source: "kernel".to_owned() }
        }
        RouteChange::Local { prefix, .. } => {
            Event::Route { prefix, next_hop: None, source: "local".to_owned() }
        }
        RouteChange::Learned { prefix, next_hop, from, .. } => {
            Event::Route { prefix, next_hop: Some(next_hop.addr().to_string()), source: from.to_string() }
        }
        RouteChange::Withdrawn { prefix } => Event::NoRoute { prefix },
        RouteChange::Converged => Event::Converged,
    }
}

/// What is as it should be is not told.
fn of_fib(event: FibEvent) -> Option<Event> {
    let of = |change, prefix: Option<IpNet>, error: Option<String>, count: Option<usize>| {
        Some(Event::Fib { change, prefix, error, count: count.map(|count| count as u64) })
    };
    match event {
        FibEvent::Conflict { prefix } => of(FibChange::Conflict, Some(prefix), None, None),
        FibEvent::Failed { prefix, reason } => {
            of(FibChange::Refused, Some(prefix), Some(reason.to_string()), None)
        }
        FibEvent::Repaired { prefix } => of(FibChange::Repaired, Some(prefix), None, None),
        FibEvent::Resync { differences, reason } if differences > 0 => {
            of(FibChange::Diverged, None, Some(reason.as_str().to_owned()), Some(differences))
        }
        FibEvent::Swept { count } => of(FibChange::Swept, None, None, Some(count)),
        FibEvent::Lagged { missed } => Some(Event::Lost { count: Some(missed) }),
        // In step, or something that this version does not know.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::events::{Reader, Topics};
    use crate::{Announcement, Neighbor, Speaker};
    use std::collections::VecDeque;

    /// A reader, and what it has been told and nobody has looked at.
    struct Story {
        reader: Reader,
        told: VecDeque<String>,
    }

    impl Story {
        /// The next event with this text in it.
        async fn until(&mut self, text: &str) -> String {
            let wait = async {
                loop {
                    while let Some(told) = self.told.pop_front() {
                        if told.contains(text) {
                            return told;
                        }
                    }
                    let readings = self.reader.next().await;
                    assert!(!readings.is_empty(), "the daemon has ended without {text}");
                    self.told.extend(readings.into_iter().map(|reading| reading.json));
                }
            };
            tokio::time::timeout(Duration::from_secs(20), wait).await.expect(text)
        }
    }

    #[tokio::test]
    async fn sessions_routes_and_configurations_are_told_as_they_happen() {
        let speaker = Speaker::builder()
            .router_id([127, 0, 9, 1].into())
            .listen("127.0.9.1:0".parse().unwrap())
            .announce(Announcement::block("10.1.0.0/26".parse().unwrap()))
            .start()
            .await
            .unwrap();
        let hub = Arc::<EventHub>::default();
        let feeding = tokio::spawn(feed(hub.clone(), speaker.handle()));
        let reader = hub.read(Topics::ALL, None).await.unwrap();
        let mut story = Story { reader, told: VecDeque::new() };
        let mut config = speaker.config().await.unwrap();
        let neighbor = Neighbor::ibgp([127, 0, 9, 2].into()).passive();
        config.neighbors.insert(neighbor.id(), neighbor);
        speaker.apply(config).await.unwrap();
        story.until(r#""event":"session","neighbor":"127.0.9.2","name":"127.0.9.2","change":"added","state":"Idle""#,
        )
        .await;
        let told = story.until(r#""event":"config""#).await;
        assert!(told.contains(r#""action":"add-session","target":"127.0.9.2""#), "{told}");

        let other = Speaker::builder()
            .router_id([127, 0, 9, 2].into())
            .neighbor(
                Neighbor::ibgp([127, 0, 9, 1].into())
                    .port(speaker.listening()[0].port())
                    .local_address([127, 0, 9, 2].into()),
            )
            .announce(Announcement::block("10.2.0.0/26".parse().unwrap()))
            .start()
            .await
            .unwrap();
        story.until(r#""change":"up","state":"Established","reason":null,"error":null"#).await;
        let told = story.until(r#""event":"route""#).await;
        assert!(
            told.contains(r#""prefix":"10.2.0.0/26","next_hop":"127.0.9.2","source":"127.0.9.2""#),
            "{told}"
        );
        other.stop(crate::Stop::Leave).await.unwrap();
        let told = story.until(r#""change":"down""#).await;
        assert!(
            told.contains(r#""reason":"notification-received","error":"received NOTIFICATION"#),
            "{told}"
        );
        story.until(r#""event":"no-route","prefix":"10.2.0.0/26""#).await;
        speaker.stop(crate::Stop::Leave).await.unwrap();
        story.until(r#""event":"end""#).await;
        assert_eq!(story.reader.next().await, []);
        feeding.await.unwrap();
    }

    #[tokio::test]
    async fn nothing_is_followed_while_nobody_reads() {
        let speaker = Speaker::builder().router_id([127, 0, 9, 1].into()).start().await.unwrap();
        let hub = Arc::<EventHub>::default();
        let feeding = tokio::spawn(feed(hub.clone(), speaker.handle()));
        let mut followed = hub.followed.subscribe();
        assert_eq!(*followed.borrow_and_update(), Followed::default());
        let reader = hub.read(Topics::from_list("sessions").unwrap(), None).await.unwrap();
        assert_eq!(*followed.borrow_and_update(), Followed { anything: true, routes: false });
        drop(reader);
        tokio::time::pause();
        followed.wait_for(|followed| !followed.anything).await.unwrap();
        drop(speaker);
        feeding.await.unwrap();
    }
}
