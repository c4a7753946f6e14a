//! One look at the daemon, and what has happened since the one before.

use crate::daemon::cli::client::{AdminClient, ClientError};
use crate::daemon::wall_clock;
use crate::view::{NeighborView, StatusView};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The daemon at one time.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) at: Instant,
    pub(super) time: SystemTime,
    pub(super) status: StatusView,
    pub(super) neighbors: Vec<NeighborView>,
    pub(super) memory: Memory,
}

/// In octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) tables: Option<u64>,
    pub(super) process: Option<u64>,
}

/// UPDATEs in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) received: f64,
    pub(super) sent: f64,
}

/// By address and port.
pub(super) type Rates = BTreeMap<(String, u16), Rate>;

pub(super) fn id_of(neighbor: &NeighborView) -> (String, u16) {
    (neighbor.address.clone(), neighbor.port)
}

impl Snapshot {
    pub(super) async fn take(client: &AdminClient) -> Result<Self, ClientError> {
        Ok(Self {
            status: client.get("/v1/status").await?,
            memory: Memory::of_metrics(&client.text("/metrics").await?),
            neighbors: client.get("/v1/neighbors").await?,
            at: now(),
            time: wall_clock::now(),
        })
    }

    /// Since an earlier look.
    pub(super) fn rates(&self, before: &Snapshot) -> Rates {
        let secs = self.at.saturating_duration_since(before.at).max(Duration::from_millis(1)).as_secs_f64();
        let known: BTreeMap<_, _> = before.neighbors.iter().map(|one| (id_of(one), updates(one))).collect();
        let rates = self.neighbors.iter().filter_map(|neighbor| {
            let id = id_of(neighbor);
            let (received, sent) = updates(neighbor);
            let (received_before, sent_before) = known.get(&id)?;
            // A neighbour that went and came again counts from the start.
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / secs;
            Some((id, Rate { received: rate(received, *received_before), sent: rate(sent, *sent_before) }))
        });
        rates.collect()
    }

    /// For a program.
    pub(super) fn json(&self, before: Option<&Snapshot>) -> serde_json::Value {
        let rates = before.map(|before| total(&self.rates(before)));
        serde_json::json!({
            "time": wall_clock::text(self.time),
            "status": self.status,
            "neighbors": self.neighbors,
            "memory_bytes": { "tables": self.memory.tables, "process": self.memory.process },
            "updates_per_second": {
                "received": rates.map(|rate| rate.received),
                "sent": rates.map(|rate| rate.sent),
            },
        })
    }
}

#[allow(clippy::disallowed_methods, reason = "the time between two looks")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Of all neighbours together.
pub(super) fn total(rates: &Rates) -> Rate {
    rates.values().fold(Rate::default(), |sum, rate| Rate {
        received: sum.received + rate.received,
        sent: sum.sent + rate.sent,
    })
}

fn updates(neighbor: &NeighborView) -> (u64, u64) {
    let of = |counts: &BTreeMap<String, u64>| counts.get("update").copied().unwrap_or_default();
    (of(&neighbor.messages_received), of(&neighbor.messages_sent))
}

impl Memory {
    /// What Prometheus would be told.
    fn of_metrics(text: &str) -> Self {
        let sum = |name: &str| {
            let samples = text.lines().filter_map(|line| {
                let rest = line.strip_prefix(name)?;
                let is_it = rest.starts_with(['{', ' ']);
                rest.rsplit(' ').next()?.parse::<f64>().ok().filter(|_| is_it)
            });
            samples.reduce(|sum, sample| sum + sample).map(|sum| sum as u64)
        };
        Self { tables: sum("bgp_rib_memory_bytes"), process: sum("process_resident_memory_bytes") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_metrics_say() {
        let text = "# HELP bgp_rib_memory_bytes x\nbgp_rib_memory_bytes{part=\"paths\"} 100\n\
                    bgp_rib_memory_bytes{part=\"prefixes\"} 23\nprocess_resident_memory_bytes 4096\n";
        assert_eq!(Memory::of_metrics(text), Memory { tables: Some(123), process: Some(4096) });
        assert_eq!(Memory::of_metrics(""), Memory::default());
    }

    #[tokio::test]
    async fn rates_are_per_second_and_of_those_that_were_there_before() {
        let neighbor = |address: &str, updates| NeighborView {
            address: address.to_owned(),
            messages_received: [("update".to_owned(), updates)].into(),
            ..NeighborView::default()
        };
        let at = |secs, neighbors| Snapshot {
            at: now() + Duration::from_secs(secs),
            time: SystemTime::UNIX_EPOCH,
            status: StatusView::default(),
            neighbors,
            memory: Memory::default(),
        };
        let before = at(0, vec![neighbor("10.0.0.2", 100), neighbor("10.0.0.3", 50)]);
        let after = at(2, vec![neighbor("10.0.0.2", 120), neighbor("10.0.0.3", 0), neighbor("10.0.0.4", 7)]);
        let rates = after.rates(&before);
        let received: Vec<u64> = rates.values().map(|rate| rate.received.round() as u64).collect();
        assert_eq!(received, [10, 0]);
        assert_eq!(after.json(Some(&before))["neighbors"][0]["address"], "10.0.0.2");
    }
}
