//! What was heard on the wire.

use super::node::NodeId;
use crate::engine::time::MonoTime;
use bgp_proto::{AfiSafi, AttributeCode};
use bgp_proto::{
    Decoder, Message, MessageType, MpReachView, MpUnreachView, NlriIter, RawAttributes, SessionParams,
    UpdateView, frame,
};

/// One message, as it arrived.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When.
    pub at: MonoTime,
    /// Whose.
    pub from: NodeId,
    /// By whom.
    pub to: NodeId,
    /// All of it.
    pub bytes: Vec<u8>,
}

impl Heard {
    /// Its type.
    pub fn kind(&self) -> MessageType {
        MessageType(self.bytes.get(18).copied().unwrap_or_default())
    }

    /// As a value; `None` if it is none.
    pub fn message(&self) -> Option<Message> {
        Message::decode(&mut Decoder::new(params()), &self.bytes).ok()
    }

    /// Prefixes announced and withdrawn by an UPDATE of a session without ADD-PATH.
    pub fn counts(&self) -> (usize, usize) {
        self.count(false)
    }

    /// Paths announced and withdrawn by an UPDATE of a session with ADD-PATH.
    pub fn path_counts(&self) -> (usize, usize) {
        self.count(true)
    }

    fn count(&self, has_path_ids: bool) -> (usize, usize) {
        if self.kind() != MessageType::UPDATE {
            return (0, 0);
        }
        let body = self.bytes.get(19..).unwrap_or_default();
        let Ok(view) = UpdateView::parse(body) else { return (0, 0) };
        let count = |nlri, family: AfiSafi| NlriIter::new(nlri, family, has_path_ids).flatten().count();
        let mut announced = count(view.nlri, AfiSafi::IPV4_UNICAST);
        let mut withdrawn = count(view.withdrawn, AfiSafi::IPV4_UNICAST);
        for attribute in RawAttributes::new(view.attributes).flatten() {
            match attribute.code {
                AttributeCode::MP_REACH_NLRI => {
                    let mp = MpReachView::parse(attribute.value, &params());
                    announced += mp.map_or(0, |mp| count(mp.nlri, mp.family));
                }
                AttributeCode::MP_UNREACH_NLRI => {
                    let mp = MpUnreachView::parse(attribute.value);
                    withdrawn += mp.map_or(0, |mp| count(mp.nlri, mp.family));
                }
                _ => {}
            }
        }
        (announced, withdrawn)
    }

    /// An End-of-RIB marker, and of which family.
    pub fn end_of_rib(&self) -> Option<AfiSafi> {
        let body = self.bytes.get(19..).filter(|_| self.kind() == MessageType::UPDATE)?;
        UpdateView::parse(body).ok()?.end_of_rib()
    }

    /// Code and subcode of a NOTIFICATION.
    pub fn notification(&self) -> Option<(u8, u8)> {
        match self.message()? {
            Message::Notification(notification) => Some((notification.code, notification.subcode)),
            _ => None,
        }
    }
}

fn params() -> SessionParams {
    SessionParams { extended_messages: true, ..crate::engine::wire::canonical_params() }
}

/// Splits a stream's bytes into messages; what is none is left out.
pub(super) fn messages(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Ok(Some(found)) = frame(bytes, &params()) {
        messages.push(found.bytes.to_vec());
        bytes = &bytes[found.bytes.len()..];
    }
    messages
}
