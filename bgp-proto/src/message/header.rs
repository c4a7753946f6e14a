//! The header that every message begins with, and framing.

use bytes::{BufMut, BytesMut};

use crate::code_points::MessageType;
use crate::error::DecodeError;
use crate::session_params::SessionParams;
use crate::wire::Reader;

/// Octets of the header.
pub const HEADER_LEN: usize = 19;
/// The longest message without the extended message capability (RFC 4271 §4.1).
pub const MAX_LEN: usize = 4096;
/// The longest message with it (RFC 8654 §4).
pub const MAX_EXTENDED_LEN: usize = 65535;

const MARKER: [u8; 16] = [0xff; 16];

/// One whole message within a buffer, its header checked.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                                                               |
/// +                                                               +
/// |                            Marker                             |
/// +                         (all ones)                            +
/// |                                                               |
/// +                                                               +
/// |                                                               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |          Length               |      Type     |  body ...
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The message's type; one that this crate knows.
    pub kind: MessageType,
    /// The whole message with its header: 19 to 65535 octets.
    pub bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The message without its header.
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }
}

/// Finds the message at the start of `buf`. `None`: more bytes are needed, at most [`SessionParams::max_message_len`]
/// in all, so a caller that reads while this returns `None` needs no other bound on its buffer.
///
/// ```
/// use bgp_proto::{MessageType, SessionParams, frame};
///
/// let mut buf = vec![0xff; 16];
/// buf.extend([0, 19, 4]);
/// let found = frame(&buf, &SessionParams::default())?.expect("a whole message");
/// assert_eq!(found.kind, MessageType::KEEPALIVE);
/// assert_eq!(frame(&buf[..18], &SessionParams::default())?, None);
/// # Ok::<(), bgp_proto::DecodeError>(())
/// ```
///
/// # Errors
///
/// RFC 4271 §6.1: a wrong marker, a length out of bounds for the session or the type, an unknown type. The header is
/// judged as soon as it is complete, so that a hostile length cannot make the caller wait.
pub fn frame<'a>(buf: &'a [u8], params: &SessionParams) -> Result<Option<Frame<'a>>, DecodeError> {
    let mut reader = Reader::new(buf);
    let (Ok(marker), Ok(length), Ok(kind)) = (reader.take(MARKER.len()), reader.u16(), reader.u8()) else {
        return Ok(None);
    };
    if marker != MARKER {
        return Err(DecodeError::ConnectionNotSynchronized);
    }
    let kind = MessageType(kind);
    let len = usize::from(length);
    if len < HEADER_LEN || len > params.max_message_len() {
        return Err(DecodeError::BadMessageLength { length });
    }
    let Some((min, max)) = length_bounds(kind, params) else {
        return Err(DecodeError::BadMessageType { kind });
    };
    if len < min || len > max {
        return Err(DecodeError::BadMessageLength { length });
    }
    Ok(buf.get(..len).map(|bytes| Frame { kind, bytes }))
}

/// Appends a header with a length yet to be known, and returns where the message starts in `out`.
///
/// Write the body, then call [`finish_message`] with the returned offset.
pub fn put_header(out: &mut BytesMut, kind: MessageType) -> usize {
    let start = out.len();
    out.put_slice(&MARKER);
    out.put_u16(0);
    out.put_u8(kind.0);
    start
}

/// Fills in the length of the message that starts at `start` and ends where `out` ends.
///
/// The caller keeps the message within the session's maximum. A message beyond 65535 octets, which no session allows,
/// gets the length 65535; an offset that [`put_header`] did not return changes nothing.
pub fn finish_message(out: &mut BytesMut, start: usize) {
    let length = u16::try_from(out.len().saturating_sub(start)).unwrap_or(u16::MAX);
    let at = start.saturating_add(MARKER.len());
    if let Some(field) = out.get_mut(at..at.saturating_add(2)) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// The shortest and the longest message of a type (RFC 4271 §4, RFC 2918 §3, RFC 8654 §4); `None` for unknown types.
pub(crate) fn length_bounds(kind: MessageType, params: &SessionParams) -> Option<(usize, usize)> {
    Some(match kind {
        MessageType::OPEN => (29, MAX_LEN),
        MessageType::UPDATE => (23, params.max_message_len()),
        MessageType::NOTIFICATION => (21, params.max_message_len()),
        MessageType::KEEPALIVE => (HEADER_LEN, HEADER_LEN),
        MessageType::ROUTE_REFRESH => (23, params.max_message_len()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(length: u16, kind: u8) -> Vec<u8> {
        let mut bytes = MARKER.to_vec();
        bytes.extend(length.to_be_bytes());
        bytes.push(kind);
        bytes
    }

    #[test]
    fn header_errors_are_found_before_the_body_arrives() {
        let plain = SessionParams::default();
        let extended = SessionParams { extended_messages: true, ..SessionParams::default() };
        for (length, kind, params, expected) in [
            (18, 4, &plain, Err(DecodeError::BadMessageLength { length: 18 })),
            (20, 4, &plain, Err(DecodeError::BadMessageLength { length: 20 })),
            (28, 1, &plain, Err(DecodeError::BadMessageLength { length: 28 })),
            (22, 2, &plain, Err(DecodeError::BadMessageLength { length: 22 })),
            (20, 3, &plain, Err(DecodeError::BadMessageLength { length: 20 })),
            (22, 5, &plain, Err(DecodeError::BadMessageLength { length: 22 })),
            (4097, 2, &plain, Err(DecodeError::BadMessageLength { length: 4097 })),
            (4097, 2, &extended, Ok(None)),
            (4097, 1, &extended, Err(DecodeError::BadMessageLength { length: 4097 })),
            (19, 6, &plain, Err(DecodeError::BadMessageType { kind: MessageType(6) })),
            (19, 0, &plain, Err(DecodeError::BadMessageType { kind: MessageType(0) })),
            (23, 2, &plain, Ok(None)),
        ] {
            assert_eq!(frame(&header(length, kind), params), expected, "length {length}, type {kind}");
        }
        let mut bytes = header(19, 4);
        bytes[15] = 0xfe;
        assert_eq!(frame(&bytes, &plain), Err(DecodeError::ConnectionNotSynchronized));
    }

    #[test]
    fn a_frame_ends_where_its_length_says() {
        let mut bytes = header(23, 2);
        bytes.extend([0; 4]);
        bytes.extend(header(19, 4));
        let params = SessionParams::default();
        let found = frame(&bytes, &params).unwrap().unwrap();
        assert_eq!((found.kind, found.bytes.len(), found.body()), (MessageType::UPDATE, 23, &[0; 4][..]));
        for len in 0..23 {
            assert_eq!(frame(&bytes[..len], &params), Ok(None));
        }
    }

    #[test]
    fn the_length_is_patched_in() {
        let mut out = BytesMut::from(&b"earlier"[..]);
        let start = put_header(&mut out, MessageType::UPDATE);
        out.put_u32(0);
        finish_message(&mut out, start);
        assert_eq!(&out[7 + 16..7 + 18], &[0, 23]);
        finish_message(&mut out, usize::MAX);
        assert_eq!(out.len(), 30);
    }
}
