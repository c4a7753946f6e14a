//! What happens in the daemon, for whoever follows it: `/v1/events` and `watch`.
//!
//! ```text
//!  speaker: sessions, configuration ─┐
//!  speaker: route changes ───────────┼─> source.rs ──> hub.rs: a ring ──> a reader for each client
//!  fib-sync: events ─────────────────┘   (runs only while there are readers)
//! ```

mod hub;
mod source;

pub(crate) use hub::{EventHub, EventId, Reader, Reading};
pub(crate) use source::feed;

use crate::config::Step;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// What a client can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Sessions,
    Routes,
    Config,
    Fib,
}

/// Of which topics a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Topics([bool; Topic::ALL.len()]);

impl Topic {
    pub(crate) const ALL: [Topic; 4] = [Topic::Sessions, Topic::Routes, Topic::Config, Topic::Fib];

    /// As requests name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Topic::Sessions => "sessions",
            Topic::Routes => "routes",
            Topic::Config => "config",
            Topic::Fib => "fib",
        }
    }
}

impl Topics {
    pub(crate) const ALL: Topics = Topics([true; Topic::ALL.len()]);

    /// From a list with commas.
    ///
    /// # Errors
    /// The first name that there is not.
    pub(crate) fn from_list(list: &str) -> Result<Self, String> {
        let mut topics = [false; Topic::ALL.len()];
        for name in list.split(',') {
            let index = Topic::ALL.iter().position(|topic| topic.name() == name);
            topics[index.ok_or_else(|| name.to_owned())?] = true;
        }
        Ok(Topics(topics))
    }

    pub(crate) fn contains(self, topic: Topic) -> bool {
        Topic::ALL.into_iter().zip(self.0).any(|(other, is_wanted)| other == topic && is_wanted)
    }
}

/// What happened, as JSON tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// Something about a session or its neighbour.
    Session {
        /// Address, with the port if others have the same.
        neighbor: String,
        name: String,
        change: Change,
        /// The state that it is in now (RFC 4271 §8.2.2).
        state: String,
        /// A constant word: why it went down or did not come up.
        reason: Option<String>,
        /// The same in full.
        error: Option<String>,
    },
    /// A best route is new or other than before.
    Route {
        prefix: IpNet,
        /// None of what we originate.
        next_hop: Option<String>,
        /// The neighbour's address, or "local".
        source: String,
    },
    /// A prefix has no best route any more.
    NoRoute { prefix: IpNet },
    /// The first convergence is done.
    Converged,
    /// Another configuration is in force.
    Config {
        /// What was done, the first of it.
        steps: Vec<Step>,
        /// Further steps.
        more: usize,
    },
    /// The kernel does not hold what is wanted, or was brought to.
    Fib { change: FibChange, prefix: Option<IpNet>, error: Option<String>, count: Option<u64> },
    /// The reader was too slow, or away for too long.
    Lost {
        /// So many events of all topics; null: not known.
        count: Option<u64>,
    },
    /// The daemon ends, and with it this.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Change {
    Added,
    Removed,
    Up,
    Down,
    /// It did not come up, for another reason than the last time.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FibChange {
    /// Somebody else's route is in the place of ours.
    Conflict,
    /// The kernel refused a route.
    Refused,
    /// A route of ours that somebody had removed or changed is back.
    Repaired,
    /// Read back, and found to be other than believed in `count` places.
    Diverged,
    /// So many routes of an earlier run were removed.
    Swept,
}

impl Event {
    /// `None`: told to everybody.
    fn topic(&self) -> Option<Topic> {
        match self {
            Event::Session { .. } => Some(Topic::Sessions),
            Event::Route { .. } | Event::NoRoute { .. } | Event::Converged => Some(Topic::Routes),
            Event::Config { .. } => Some(Topic::Config),
            Event::Fib { .. } => Some(Topic::Fib),
            Event::Lost { .. } | Event::End => None,
        }
    }

    /// As in `event:`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Event::Session { .. } => "session",
            Event::Route { .. } => "route",
            Event::NoRoute { .. } => "no-route",
            Event::Converged => "converged",
            Event::Config { .. } => "config",
            Event::Fib { .. } => "fib",
            Event::Lost { .. } => "lost",
            Event::End => "end",
        }
    }
}

/// An event, and when it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    #[serde(flatten)]
    pub(crate) event: Event,
    /// In UTC (RFC 3339).
    pub(crate) time: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_a_list_of_names() {
        let topics = Topics::from_list("sessions,fib").unwrap();
        let told = Topic::ALL.map(|topic| topics.contains(topic));
        assert_eq!(told, [true, false, false, true]);
        assert_eq!(Topics::from_list("sessions,,fib"), Err(String::new()));
        assert_eq!(Topics::from_list("weather"), Err("weather".to_owned()));
    }

    #[test]
    fn events_are_flat_objects_with_their_name() {
        let told =
            Told { event: Event::NoRoute { prefix: "10.0.0.0/8".parse().unwrap() }, time: "T".to_owned() };
        let json = serde_json::to_string(&told).unwrap();
        assert_eq!(json, r#"{"event":"no-route","prefix":"10.0.0.0/8","time":"T"}"#);
        assert_eq!(serde_json::from_str::<Told>(&json).unwrap(), told);
        assert!(json.contains(told.event.name()));
    }
}
