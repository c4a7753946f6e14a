//! The last events, and those who read them. A reader is a place in the ring: a slow one costs nothing, and finds out how
//! many it has lost.

use super::{Event, Told, Topic, Topics};
use crate::daemon::wall_clock;
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::watch;

/// Events that a slow reader may be behind, or one that was away for a moment may catch up with.
const EVENTS_MAX: usize = 8192;
/// Readers at a time; each takes a connection, and others are to be left for other requests.
pub(crate) const READERS_MAX: usize = 32;

/// What an event is called, over all restarts of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventId {
    /// When the ring was begun: milliseconds since 1970.
    run: u64,
    number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.run, self.number)
    }
}

impl FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (run, number) = text.split_once('-').ok_or(())?;
        Ok(Self { run: run.parse().map_err(drop)?, number: number.parse().map_err(drop)? })
    }
}

/// How many read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) readers: usize,
    /// Of those, who read of routes.
    pub(super) of_routes: usize,
}

/// What is written into the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Followed {
    pub(super) anything: bool,
    pub(super) routes: bool,
}

/// One per daemon.
#[derive(Debug)]
pub(crate) struct EventHub {
    ring: Mutex<Ring>,
    /// The number of the next event: whoever waits for one waits for this to change.
    next: watch::Sender<u64>,
    pub(super) wanted: watch::Sender<Wanted>,
    pub(super) followed: watch::Sender<Followed>,
}

#[derive(Debug, Default)]
struct Ring {
    run: u64,
    /// Number of the oldest event.
    first: u64,
    events: VecDeque<Arc<Recorded>>,
    /// Routes are told from this number on.
    routes_since: u64,
    has_ended: bool,
}

#[derive(Debug)]
struct Recorded {
    topic: Option<Topic>,
    name: &'static str,
    json: String,
}

impl Ring {
    fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}

impl Default for EventHub {
    fn default() -> Self {
        Self {
            ring: Mutex::default(),
            next: watch::Sender::new(0),
            wanted: watch::Sender::default(),
            followed: watch::Sender::default(),
        }
    }
}

impl EventHub {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on everything but routes is told.
    pub(super) fn begin(&self) {
        let run = wall_clock::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut ring = self.ring();
        // Never the same, whatever happens to the clock.
        let run = u64::try_from(run).unwrap_or(u64::MAX).max(ring.run + 1);
        *ring = Ring { run, first: ring.next(), has_ended: ring.has_ended, ..Ring::default() };
    }

    /// From now on routes are told too.
    pub(super) fn begin_routes(&self) {
        let mut ring = self.ring();
        ring.routes_since = ring.next();
    }

    /// Nothing is told any more; nobody reads.
    pub(super) fn rest(&self) {
        self.ring().events = VecDeque::new();
    }

    /// The daemon ends.
    pub(super) fn end(&self) {
        self.tell([Event::End]);
        self.ring().has_ended = true;
        self.followed.send_replace(Followed { anything: true, routes: true });
        self.next.send_modify(|_| {});
    }

    /// These have happened just now.
    pub(super) fn tell(&self, events: impl IntoIterator<Item = Event>) {
        let time = wall_clock::text(wall_clock::now());
        let mut ring = self.ring();
        for event in events {
            let (topic, name) = (event.topic(), event.name());
            let told = Told { event, time: time.clone() };
            // Strings and numbers: this cannot fail.
            let Ok(json) = serde_json::to_string(&told) else { continue };
            if ring.events.len() >= EVENTS_MAX {
                ring.events.pop_front();
                ring.first += 1;
            }
            ring.events.push_back(Arc::new(Recorded { topic, name, json }));
        }
        let next = ring.next();
        drop(ring);
        self.next.send_replace(next);
    }

    /// A reader from now on, or from after the event that it has seen last. Returns once nothing passes it by; `None`
    /// if there are too many.
    pub(crate) async fn read(self: &Arc<Self>, topics: Topics, last: Option<EventId>) -> Option<Reader> {
        let of_routes = topics.contains(Topic::Routes);
        let is_admitted = self.wanted.send_if_modified(|wanted| {
            let has_room = wanted.readers < READERS_MAX;
            wanted.readers += usize::from(has_room);
            wanted.of_routes += usize::from(has_room && of_routes);
            has_room
        });
        if !is_admitted {
            return None;
        }
        let mut reader =
            Reader { next: self.next.subscribe(), hub: self.clone(), topics, run: 0, at: 0, lost: None };
        let mut followed = self.followed.subscribe();
        // Fails if the hub is gone, which this reader holds.
        _ = followed.wait_for(|followed| followed.anything && (followed.routes || !of_routes)).await;
        let ring = self.ring();
        (reader.run, reader.at) = (ring.run, ring.next());
        if let Some(last) = last {
            let is_known = last.run == ring.run
                && last.number < ring.next()
                && (!of_routes || ring.routes_since <= last.number + 1);
            match is_known {
                true => reader.at = last.number + 1,
                false => reader.lost = Some(None),
            }
        }
        drop(ring);
        Some(reader)
    }
}

/// A client's place.
#[derive(Debug)]
pub(crate) struct Reader {
    hub: Arc<EventHub>,
    next: watch::Receiver<u64>,
    topics: Topics,
    run: u64,
    at: u64,
    /// To be told first.
    lost: Option<Option<u64>>,
}

/// What a reader is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    /// None of what is about the reader alone.
    pub(crate) id: Option<EventId>,
    pub(crate) name: &'static str,
    /// A [`Told`].
    pub(crate) json: String,
}

/// Events handed over at a time.
const BATCH: usize = 256;

impl Reader {
    /// The next events, at least one; none at all once the daemon has ended. Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Vec<Reading> {
        loop {
            self.next.mark_unchanged();
            let (readings, has_ended) = self.take();
            if !readings.is_empty() || has_ended || self.next.changed().await.is_err() {
                return readings;
            }
        }
    }

    fn take(&mut self) -> (Vec<Reading>, bool) {
        let hub = self.hub.clone();
        let ring = hub.ring();
        if self.run != ring.run {
            (self.run, self.at, self.lost) = (ring.run, ring.first, Some(None));
        } else if self.at < ring.first {
            self.lost = Some(Some(ring.first - self.at));
            self.at = ring.first;
        }
        let mut readings: Vec<Reading> = self.lost.take().map(lost).into_iter().collect();
        let seen = usize::try_from(self.at - ring.first).unwrap_or(usize::MAX);
        for recorded in ring.events.iter().skip(seen) {
            if readings.len() >= BATCH {
                break;
            }
            let id = EventId { run: self.run, number: self.at };
            self.at += 1;
            if recorded.topic.is_none_or(|topic| self.topics.contains(topic)) {
                let (name, json) = (recorded.name, recorded.json.clone());
                readings.push(Reading { id: Some(id), name, json });
            }
        }
        (readings, ring.has_ended && self.at == ring.next())
    }
}

fn lost(count: Option<u64>) -> Reading {
    let event = Event::Lost { count };
    let name = event.name();
    let told = Told { event, time: wall_clock::text(wall_clock::now()) };
    Reading { id: None, name, json: serde_json::to_string(&told).unwrap_or_default() }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let of_routes = self.topics.contains(Topic::Routes);
        self.hub.wanted.send_modify(|wanted| {
            wanted.readers -= 1;
            wanted.of_routes -= usize::from(of_routes);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(number: u32) -> Event {
        let address = std::net::Ipv4Addr::from(number);
        Event::NoRoute { prefix: std::net::IpAddr::from(address).into() }
    }

    fn hub() -> Arc<EventHub> {
        let hub = Arc::<EventHub>::default();
        hub.begin();
        hub.begin_routes();
        hub.followed.send_replace(Followed { anything: true, routes: true });
        hub
    }

    async fn all(reader: &mut Reader, count: usize) -> Vec<Reading> {
        let mut readings = Vec::new();
        while readings.len() < count {
            readings.extend(reader.next().await);
        }
        readings
    }

    #[tokio::test]
    async fn each_reader_gets_what_it_asked_for_in_order() {
        let hub = hub();
        let mut routes = hub.read(Topics::from_list("routes").unwrap(), None).await.unwrap();
        let mut config = hub.read(Topics::from_list("config").unwrap(), None).await.unwrap();
        let change = Event::Config { steps: Vec::new(), more: 0 };
        hub.tell([route(1), change, route(2)]);
        let told = all(&mut routes, 2).await;
        assert!(told[0].json.contains("0.0.0.1/32") && told[1].json.contains("0.0.0.2/32"), "{told:?}");
        assert_eq!(all(&mut config, 1).await[0].name, "config");
        assert_eq!(*hub.wanted.borrow(), Wanted { readers: 2, of_routes: 1 });
        drop(routes);
        assert_eq!(*hub.wanted.borrow(), Wanted { readers: 1, of_routes: 0 });
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_how_many_it_lost_and_the_ring_stays_small() {
        let hub = hub();
        let mut reader = hub.read(Topics::ALL, None).await.unwrap();
        (0..10).for_each(|part| hub.tell((0..1000).map(|number| route(part * 1000 + number))));
        assert_eq!(hub.ring().events.len(), EVENTS_MAX);
        let told = all(&mut reader, 1 + EVENTS_MAX).await;
        assert!(told[0].json.starts_with(r#"{"event":"lost","count":1808,"#), "{:?}", told[0]);
        assert!(told.last().unwrap().json.contains("0.0.39.15/32"), "{:?}", told.last());
    }

    #[tokio::test]
    async fn who_comes_back_goes_on_where_it_was_or_hears_that_it_cannot() {
        let hub = hub();
        let mut reader = hub.read(Topics::ALL, None).await.unwrap();
        hub.tell((0..3).map(route));
        let ids: Vec<_> = all(&mut reader, 3).await.iter().map(|reading| reading.id.unwrap()).collect();
        assert_eq!(ids[0].to_string().parse(), Ok(ids[0]));
        let mut again = hub.read(Topics::ALL, Some(ids[0])).await.unwrap();
        assert_eq!(
            all(&mut again, 2).await.iter().map(|reading| reading.id).collect::<Vec<_>>(),
            [Some(ids[1]), Some(ids[2])]
        );
        let unknown = [EventId { run: ids[0].run - 1, ..ids[0] }, EventId { number: 99, ..ids[0] }];
        for id in unknown {
            let mut again = hub.read(Topics::ALL, Some(id)).await.unwrap();
            assert!(all(&mut again, 1).await[0].json.starts_with(r#"{"event":"lost","count":null,"#));
        }
        assert_eq!("5".parse::<EventId>(), Err(()));
    }

    #[tokio::test]
    async fn all_readers_hear_of_the_end_and_no_more() {
        let hub = hub();
        let mut reader = hub.read(Topics::from_list("fib").unwrap(), None).await.unwrap();
        hub.end();
        assert_eq!(all(&mut reader, 1).await[0].name, "end");
        assert_eq!(reader.next().await, []);
        let mut late = hub.read(Topics::ALL, None).await.unwrap();
        assert_eq!(late.next().await, []);
    }

    #[tokio::test]
    async fn there_are_only_so_many_readers() {
        let hub = hub();
        let mut readers = Vec::new();
        for _ in 0..READERS_MAX {
            readers.push(hub.read(Topics::ALL, None).await.unwrap());
        }
        assert!(hub.read(Topics::ALL, None).await.is_none());
        readers.pop();
        assert!(hub.read(Topics::ALL, None).await.is_some());
    }
}
