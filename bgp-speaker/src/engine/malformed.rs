//! The last messages that could not be read or used as they were, kept for inspection: of each neighbour a few, and of all
//! together a bounded number of octets, whatever neighbours send.

mod describe;

use super::time::MonoTime;
use crate::config::{NeighborId, NeighborRef};
use crate::view::{MalformedError, MalformedView};
use bgp_proto::{AttributeError, MessageType, SessionParams, UpdateErrorAction};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

/// Messages kept of a neighbour.
const PER_NEIGHBOR_MAX: usize = 10;
/// Messages kept of all neighbours.
const MESSAGES_MAX: usize = 1000;
/// Octets kept of a message: all, unless it is an extended one (RFC 8654).
const MESSAGE_OCTETS_MAX: usize = bgp_proto::MAX_LEN;
/// Errors kept of a message.
const ERRORS_MAX: usize = 8;
/// Longest text of an error.
const ERROR_TEXT_MAX: usize = 300;

/// An error that was found in a message.
#[derive(Debug)]
pub struct Problem {
    error: String,
    action: &'static str,
}

impl Problem {
    /// Of an attribute, with what is done about it (RFC 7606).
    pub fn of_attribute(error: &AttributeError, action: UpdateErrorAction) -> Self {
        Self { error: cut(error.to_string()), action: action_name(action) }
    }

    /// One that ends the session.
    pub fn fatal(error: String) -> Self {
        Self { error: cut(error), action: action_name(UpdateErrorAction::SessionReset) }
    }
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(ERROR_TEXT_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// As in `bgp_update_errors_total`.
pub fn action_name(action: UpdateErrorAction) -> &'static str {
    match action {
        UpdateErrorAction::AttributeDiscard => "attribute-discard",
        UpdateErrorAction::TreatAsWithdraw => "treat-as-withdraw",
        UpdateErrorAction::AfiSafiDisable => "afi-safi-disable",
        UpdateErrorAction::SessionReset => "session-reset",
    }
}

/// All that is kept, the oldest first.
#[derive(Debug, Default)]
pub struct MalformedLog {
    messages: VecDeque<Malformed>,
}

#[derive(Debug)]
struct Malformed {
    neighbor: NeighborId,
    at: MonoTime,
    /// `None`: not a message at all.
    kind: Option<MessageType>,
    problems: Vec<Problem>,
    /// From the header on.
    octets: Box<[u8]>,
    length: usize,
    /// As agreed upon when it came.
    params: Arc<SessionParams>,
}

impl MalformedLog {
    /// Keeps a message. What is too much goes: the oldest of this neighbour, else the oldest of all.
    pub fn note(
        &mut self,
        at: MonoTime,
        neighbor: NeighborId,
        bytes: &[u8],
        mut problems: Vec<Problem>,
        params: &Arc<SessionParams>,
    ) {
        let of_neighbor = |message: &Malformed| message.neighbor == neighbor;
        if self.messages.iter().filter(|message| of_neighbor(message)).count() >= PER_NEIGHBOR_MAX {
            let oldest = self.messages.iter().position(of_neighbor);
            oldest.map(|oldest| self.messages.remove(oldest));
        } else if self.messages.len() >= MESSAGES_MAX {
            self.messages.pop_front();
        }
        problems.truncate(ERRORS_MAX);
        self.messages.push_back(Malformed {
            neighbor,
            at,
            kind: describe::kind(bytes),
            problems,
            octets: bytes[..bytes.len().min(MESSAGE_OCTETS_MAX)].into(),
            length: bytes.len(),
            params: params.clone(),
        });
    }

    /// Those of one neighbour, or of all, the oldest first.
    pub fn view(
        &self,
        now: MonoTime,
        of: Option<NeighborRef>,
        name: impl Fn(NeighborId) -> String,
    ) -> Vec<MalformedView> {
        let wanted = self.messages.iter().filter(|message| of.is_none_or(|of| of.matches(message.neighbor)));
        wanted.map(|message| message.view(now, name(message.neighbor))).collect()
    }
}

impl Malformed {
    fn view(&self, now: MonoTime, neighbor: String) -> MalformedView {
        let errors = self.problems.iter().map(|problem| MalformedError {
            error: problem.error.clone(),
            action: problem.action.to_owned(),
        });
        let is_whole = self.octets.len() == self.length;
        MalformedView {
            neighbor,
            age_ms: u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX),
            message: self.kind.map_or_else(|| "none".to_owned(), |kind| kind.to_string()),
            errors: errors.collect(),
            length: self.length,
            octets: hex(&self.octets),
            decoded: if is_whole {
                describe::message(self.kind, &self.octets, &self.params)
            } else {
                vec![format!("not decoded: only the first {} octets are kept", self.octets.len())]
            },
        }
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        // Writing to a String cannot fail.
        _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::Duration;

    fn at(secs: u64) -> MonoTime {
        MonoTime::from_start(Duration::from_secs(secs))
    }

    fn note(log: &mut MalformedLog, secs: u64, neighbor: u32, bytes: &[u8]) {
        let id = NeighborId::from(IpAddr::from(neighbor.to_be_bytes()));
        log.note(at(secs), id, bytes, vec![Problem::fatal("wrong".to_owned())], &Arc::default());
    }

    #[test]
    fn a_neighbour_keeps_its_last_few_and_pushes_no_other_out() {
        let mut log = MalformedLog::default();
        note(&mut log, 0, 1, &[7]);
        (1..100).for_each(|secs| note(&mut log, secs, 2, &[9]));
        let all = log.view(at(100), None, |id| id.address.to_string());
        assert_eq!(all.len(), 1 + PER_NEIGHBOR_MAX);
        assert_eq!(
            (all[0].neighbor.as_str(), all[0].octets.as_str(), all[0].age_ms),
            ("0.0.0.1", "07", 100_000)
        );
        assert_eq!(all.last().map(|last| last.age_ms), Some(1000));
        let one = log.view(at(100), "0.0.0.1".parse().ok(), |id| id.address.to_string());
        assert_eq!(one.len(), 1);
    }

    #[test]
    fn many_neighbours_have_a_bound_together() {
        let mut log = MalformedLog::default();
        (0..3000).for_each(|neighbor| note(&mut log, 0, neighbor, &[0xff; 70_000]));
        let octets: usize = log.messages.iter().map(|message| message.octets.len()).sum();
        assert_eq!((log.messages.len(), octets), (MESSAGES_MAX, MESSAGES_MAX * MESSAGE_OCTETS_MAX));
        let last = log.view(at(1), None, |_| String::new()).pop().unwrap();
        assert_eq!((last.length, last.octets.len()), (70_000, 2 * MESSAGE_OCTETS_MAX));
        assert_eq!(last.decoded, ["not decoded: only the first 4096 octets are kept"]);
    }
}
