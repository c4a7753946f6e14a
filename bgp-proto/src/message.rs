//! The five messages.

mod filters;
mod header;
mod notification;
mod open;
mod route_refresh;
mod update;
mod update_view;

use bytes::BytesMut;

use crate::code_points::MessageType;
use crate::error::{DecodeError, EncodeError};
use crate::session_params::SessionParams;

pub use filters::{OutboundFilterBlock, OutboundFilters};
pub use header::{Frame, HEADER_LEN, MAX_EXTENDED_LEN, MAX_LEN, finish_message, frame, put_header};
pub use notification::Notification;
pub use open::Open;
pub use route_refresh::RouteRefresh;
pub use update::Update;
pub use update_view::UpdateView;

use header::length_bounds;

/// One message as a value.
///
/// Every message that decodes encodes again, and every message that encodes decodes to itself (but for details that
/// its type's documentation names, such as host bits of prefixes).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "tools hold few of them; a speaker's hot path never builds one"
)]
pub enum Message {
    /// Who the speaker is and what it offers.
    Open(Open),
    /// Announced and withdrawn routes.
    Update(Update),
    /// The end of the session, and why.
    Notification(Notification),
    /// A sign of life (RFC 4271 §4.4): nothing but a header.
    ///
    /// ```
    /// use bgp_proto::{Message, SessionParams};
    /// use bytes::BytesMut;
    ///
    /// let mut bytes = BytesMut::new();
    /// Message::Keepalive.encode(&SessionParams::default(), &mut bytes)?;
    /// assert_eq!(bytes.len(), 19);
    /// # Ok::<(), bgp_proto::EncodeError>(())
    /// ```
    Keepalive,
    /// A request to send routes again.
    RouteRefresh(RouteRefresh),
}

/// What decoding needs besides the bytes. One per session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoder {
    /// What the session negotiated.
    pub params: SessionParams,
}

impl Decoder {
    /// A decoder for a session.
    pub fn new(params: SessionParams) -> Self {
        Decoder { params }
    }
}

impl Message {
    /// The message's type.
    pub fn kind(&self) -> MessageType {
        match self {
            Message::Open(_) => MessageType::OPEN,
            Message::Update(_) => MessageType::UPDATE,
            Message::Notification(_) => MessageType::NOTIFICATION,
            Message::Keepalive => MessageType::KEEPALIVE,
            Message::RouteRefresh(_) => MessageType::ROUTE_REFRESH,
        }
    }

    /// Reads one whole message, header included: what [`frame`] found.
    ///
    /// # Errors
    ///
    /// Those of [`frame`] and of the message's own `decode`. Bytes that are not exactly one message are a
    /// [`DecodeError::BadMessageLength`].
    pub fn decode(decoder: &mut Decoder, bytes: &[u8]) -> Result<Message, DecodeError> {
        match frame(bytes, &decoder.params)? {
            Some(frame) if frame.bytes.len() == bytes.len() => Self::decode_frame(decoder, frame),
            _ => {
                Err(DecodeError::BadMessageLength { length: u16::try_from(bytes.len()).unwrap_or(u16::MAX) })
            }
        }
    }

    /// Reads the message of a frame, whose header is checked already.
    ///
    /// # Errors
    ///
    /// Those of the message's own `decode`.
    pub fn decode_frame(decoder: &mut Decoder, frame: Frame<'_>) -> Result<Message, DecodeError> {
        let body = frame.body();
        match frame.kind {
            MessageType::OPEN => Open::decode(body).map(Message::Open),
            MessageType::UPDATE => Update::decode(body, &decoder.params).map(Message::Update),
            MessageType::NOTIFICATION => Notification::decode(body).map(Message::Notification),
            MessageType::KEEPALIVE => Ok(Message::Keepalive),
            MessageType::ROUTE_REFRESH => RouteRefresh::decode(frame).map(Message::RouteRefresh),
            kind => Err(DecodeError::BadMessageType { kind }),
        }
    }

    /// Appends the message to `out`.
    ///
    /// # Errors
    ///
    /// What has no wire form on this session, see [`EncodeError`]. `out` is then as before.
    pub fn encode(&self, params: &SessionParams, out: &mut BytesMut) -> Result<(), EncodeError> {
        let start = put_header(out, self.kind());
        let result = self.encode_body(params, out).and_then(|()| {
            let length = out.len().saturating_sub(start);
            let max = length_bounds(self.kind(), params).map_or(MAX_LEN, |(_, max)| max);
            if length > max { Err(EncodeError::MessageTooLong { length, max }) } else { Ok(()) }
        });
        match result {
            Ok(()) => finish_message(out, start),
            Err(_) => out.truncate(start),
        }
        result
    }

    fn encode_body(&self, params: &SessionParams, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Message::Open(open) => open.encode_body(out)?,
            Message::Update(update) => update.encode_body(params, out)?,
            Message::Notification(notification) => notification.encode_body(out),
            Message::Keepalive => {}
            Message::RouteRefresh(refresh) => refresh.encode_body(out),
        }
        Ok(())
    }
}
