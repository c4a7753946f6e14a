//! What happens to a speaker, other than to its routes.

use crate::config::Step;
use crate::engine::{SessionChange, SessionChangeKind};
use tokio::sync::broadcast;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpeakerEvent {
    /// A session or its neighbour is not as before.
    Session(SessionChange),
    /// A configuration is in force that asked for these steps, at least one.
    Configured(Vec<Step>),
    /// The reader was too slow; so many events are lost to it.
    Lagged(u64),
}

/// The events of one speaker: see [`SpeakerHandle::events`](super::SpeakerHandle::events).
#[derive(Debug)]
pub struct SpeakerEvents {
    receiver: broadcast::Receiver<SpeakerEvent>,
}

impl SpeakerEvents {
    pub(crate) fn new(receiver: broadcast::Receiver<SpeakerEvent>) -> Self {
        Self { receiver }
    }

    /// The next event; `None` once the speaker has stopped. Can be cancelled without losing anything.
    pub async fn next(&mut self) -> Option<SpeakerEvent> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(SpeakerEvent::Lagged(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl SpeakerEvent {
    /// Did a session come up?
    pub fn is_up(&self) -> bool {
        matches!(self, SpeakerEvent::Session(SessionChange { kind: SessionChangeKind::Up, .. }))
    }
}
