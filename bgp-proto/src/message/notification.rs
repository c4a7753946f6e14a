//! NOTIFICATION.

use core::fmt;

use bytes::{BufMut, BytesMut};

use crate::code_points::{NotificationCode, subcode};
use crate::error::DecodeError;
use crate::message::header::{HEADER_LEN, MAX_LEN};

/// The last message of a session, saying why (RFC 4271 §4.5).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Error code    | Error subcode |   Data (variable)             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// ```
/// use bgp_proto::Notification;
///
/// let notification = Notification::administrative_shutdown("kernel upgrade, back at 14:00 UTC");
/// assert_eq!((notification.code, notification.subcode), (6, 2));
/// assert_eq!(
///     notification.to_string(),
///     "Cease/Administrative Shutdown: \"kernel upgrade, back at 14:00 UTC\"",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notification {
    /// The error code, see [`NotificationCode`].
    pub code: u8,
    /// The subcode, see [`subcode`]; its meaning depends on the code.
    pub subcode: u8,
    /// What the code and subcode ask for; often empty.
    pub data: Vec<u8>,
}

impl Notification {
    /// The most data that a message of 4096 octets has room for.
    pub const MAX_DATA_LEN: usize = MAX_LEN - HEADER_LEN - 2;

    /// A notification without data.
    pub fn new(code: NotificationCode, subcode: u8) -> Self {
        Notification { code: code.0, subcode, data: Vec::new() }
    }

    /// A notification with data, cut to [`MAX_DATA_LEN`](Self::MAX_DATA_LEN) octets.
    pub fn with_data(code: NotificationCode, subcode: u8, data: &[u8]) -> Self {
        let data = data.get(..Self::MAX_DATA_LEN).unwrap_or(data);
        Notification { code: code.0, subcode, data: data.to_vec() }
    }

    /// The hold timer expired (RFC 4271 §6.5).
    pub fn hold_timer_expired() -> Self {
        Self::new(NotificationCode::HOLD_TIMER_EXPIRED, subcode::UNSPECIFIC)
    }

    /// The peer did not read for too long (RFC 9687).
    pub fn send_hold_timer_expired() -> Self {
        Self::new(NotificationCode::SEND_HOLD_TIMER_EXPIRED, subcode::UNSPECIFIC)
    }

    /// A message came in a state that does not expect it (RFC 6608); subcodes in [`subcode::fsm`].
    pub fn fsm_error(subcode: u8) -> Self {
        Self::new(NotificationCode::FSM_ERROR, subcode)
    }

    /// Cease (RFC 4486) without data; subcodes in [`subcode::cease`].
    pub fn cease(subcode: u8) -> Self {
        Self::new(NotificationCode::CEASE, subcode)
    }

    /// Administrative Shutdown with a text for the peer's operator (RFC 9003 §2), cut to 255 octets.
    pub fn administrative_shutdown(text: &str) -> Self {
        Self::with_communication(subcode::cease::ADMINISTRATIVE_SHUTDOWN, text)
    }

    /// Administrative Reset with a text for the peer's operator (RFC 9003 §2), cut to 255 octets.
    pub fn administrative_reset(text: &str) -> Self {
        Self::with_communication(subcode::cease::ADMINISTRATIVE_RESET, text)
    }

    /// The AS number of the peer's OPEN is not the configured one (RFC 4271 §6.2).
    pub fn bad_peer_as() -> Self {
        Self::new(NotificationCode::OPEN_MESSAGE_ERROR, subcode::open::BAD_PEER_AS)
    }

    /// The BGP identifier of the peer's OPEN is not acceptable (RFC 6286 §2.2).
    pub fn bad_bgp_id() -> Self {
        Self::new(NotificationCode::OPEN_MESSAGE_ERROR, subcode::open::BAD_BGP_ID)
    }

    /// A reset that also ends graceful restart; carries the reason (RFC 8538 §3.1).
    pub fn hard_reset(reason: &Notification) -> Self {
        let mut data = vec![reason.code, reason.subcode];
        data.extend_from_slice(&reason.data);
        Self::with_data(NotificationCode::CEASE, subcode::cease::HARD_RESET, &data)
    }

    /// True for Cease/Hard Reset: the receiver does not keep routes (RFC 8538 §4).
    pub fn is_hard_reset(&self) -> bool {
        self.code == NotificationCode::CEASE.0 && self.subcode == subcode::cease::HARD_RESET
    }

    /// The reason inside Cease/Hard Reset (RFC 8538 §3.1).
    pub fn hard_reset_reason(&self) -> Option<Notification> {
        match self.data.as_slice() {
            [code, subcode, data @ ..] if self.is_hard_reset() => {
                Some(Notification { code: *code, subcode: *subcode, data: data.to_vec() })
            }
            _ => None,
        }
    }

    /// The text of Administrative Shutdown and Administrative Reset (RFC 9003). Written by the peer: escape it
    /// before it reaches a terminal or a log. `None` if there is none, or if it is not UTF-8.
    pub fn shutdown_communication(&self) -> Option<&str> {
        let carries_text = self.code == NotificationCode::CEASE.0
            && matches!(
                self.subcode,
                subcode::cease::ADMINISTRATIVE_SHUTDOWN | subcode::cease::ADMINISTRATIVE_RESET
            );
        let (length, text) = self.data.split_first()?;
        let text = text.get(..usize::from(*length))?;
        (carries_text && !text.is_empty()).then(|| core::str::from_utf8(text).ok())?
    }

    /// Reads a message body. Whatever follows the two codes is data.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadMessageLength`] if the codes are not both there.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        match body {
            [code, subcode, data @ ..] => {
                Ok(Notification { code: *code, subcode: *subcode, data: data.to_vec() })
            }
            _ => {
                let length = body.len().saturating_add(HEADER_LEN);
                Err(DecodeError::BadMessageLength { length: u16::try_from(length).unwrap_or(u16::MAX) })
            }
        }
    }

    pub(crate) fn encode_body(&self, out: &mut BytesMut) {
        out.put_u8(self.code);
        out.put_u8(self.subcode);
        out.put_slice(&self.data);
    }

    fn with_communication(subcode: u8, text: &str) -> Self {
        let mut end = text.len().min(255);
        while !text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        let text = text.get(..end).unwrap_or_default();
        if text.is_empty() {
            return Self::cease(subcode);
        }
        let mut data = vec![u8::try_from(text.len()).unwrap_or(u8::MAX)];
        data.extend_from_slice(text.as_bytes());
        Self::with_data(NotificationCode::CEASE, subcode, &data)
    }
}

/// `Cease/Administrative Shutdown`; numbers where there is no name.
impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = NotificationCode(self.code);
        match (code.name(), subcode_name(code, self.subcode)) {
            (Some(code), Some(subcode)) => write!(f, "{code}/{subcode}")?,
            (Some(code), None) if self.subcode == subcode::UNSPECIFIC => f.write_str(code)?,
            (Some(code), None) => write!(f, "{code}/{}", self.subcode)?,
            (None, _) => write!(f, "error {}/{}", self.code, self.subcode)?,
        }
        if let Some(text) = self.shutdown_communication() {
            // Escaped: the peer wrote it, and it ends in our logs.
            write!(f, ": \"{}\"", text.escape_debug())?;
        }
        // Not the whole reason, which may nest: two levels are all that RFC 8538 knows.
        if let Some(reason) = self.hard_reset_reason().filter(|reason| !reason.is_hard_reset()) {
            write!(f, " ({reason})")?;
        }
        Ok(())
    }
}

/// The registered name of a subcode.
fn subcode_name(code: NotificationCode, value: u8) -> Option<&'static str> {
    let names: &[(u8, &str)] = match code {
        NotificationCode::MESSAGE_HEADER_ERROR => &[
            (subcode::header::CONNECTION_NOT_SYNCHRONIZED, "Connection Not Synchronized"),
            (subcode::header::BAD_MESSAGE_LENGTH, "Bad Message Length"),
            (subcode::header::BAD_MESSAGE_TYPE, "Bad Message Type"),
        ],
        NotificationCode::OPEN_MESSAGE_ERROR => &[
            (subcode::open::UNSUPPORTED_VERSION, "Unsupported Version Number"),
            (subcode::open::BAD_PEER_AS, "Bad Peer AS"),
            (subcode::open::BAD_BGP_ID, "Bad BGP Identifier"),
            (subcode::open::UNSUPPORTED_OPTIONAL_PARAMETER, "Unsupported Optional Parameter"),
            (subcode::open::UNACCEPTABLE_HOLD_TIME, "Unacceptable Hold Time"),
            (subcode::open::UNSUPPORTED_CAPABILITY, "Unsupported Capability"),
            (subcode::open::ROLE_MISMATCH, "Role Mismatch"),
        ],
        NotificationCode::UPDATE_MESSAGE_ERROR => &[
            (subcode::update::MALFORMED_ATTRIBUTE_LIST, "Malformed Attribute List"),
            (subcode::update::UNRECOGNIZED_WELL_KNOWN, "Unrecognized Well-known Attribute"),
            (subcode::update::MISSING_WELL_KNOWN, "Missing Well-known Attribute"),
            (subcode::update::ATTRIBUTE_FLAGS, "Attribute Flags Error"),
            (subcode::update::ATTRIBUTE_LENGTH, "Attribute Length Error"),
            (subcode::update::INVALID_ORIGIN, "Invalid ORIGIN Attribute"),
            (subcode::update::INVALID_NEXT_HOP, "Invalid NEXT_HOP Attribute"),
            (subcode::update::OPTIONAL_ATTRIBUTE, "Optional Attribute Error"),
            (subcode::update::INVALID_NETWORK_FIELD, "Invalid Network Field"),
            (subcode::update::MALFORMED_AS_PATH, "Malformed AS_PATH"),
        ],
        NotificationCode::FSM_ERROR => &[
            (subcode::fsm::UNEXPECTED_IN_OPEN_SENT, "Unexpected Message in OpenSent State"),
            (subcode::fsm::UNEXPECTED_IN_OPEN_CONFIRM, "Unexpected Message in OpenConfirm State"),
            (subcode::fsm::UNEXPECTED_IN_ESTABLISHED, "Unexpected Message in Established State"),
        ],
        NotificationCode::CEASE => &[
            (subcode::cease::MAXIMUM_PREFIXES, "Maximum Number of Prefixes Reached"),
            (subcode::cease::ADMINISTRATIVE_SHUTDOWN, "Administrative Shutdown"),
            (subcode::cease::PEER_DECONFIGURED, "Peer De-configured"),
            (subcode::cease::ADMINISTRATIVE_RESET, "Administrative Reset"),
            (subcode::cease::CONNECTION_REJECTED, "Connection Rejected"),
            (subcode::cease::OTHER_CONFIGURATION_CHANGE, "Other Configuration Change"),
            (subcode::cease::CONNECTION_COLLISION, "Connection Collision Resolution"),
            (subcode::cease::OUT_OF_RESOURCES, "Out of Resources"),
            (subcode::cease::HARD_RESET, "Hard Reset"),
            (subcode::cease::BFD_DOWN, "BFD Down"),
        ],
        NotificationCode::ROUTE_REFRESH_MESSAGE_ERROR => {
            &[(subcode::route_refresh::INVALID_MESSAGE_LENGTH, "Invalid Message Length")]
        }
        _ => &[],
    };
    names.iter().find(|(number, _)| *number == value).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_code_and_subcode() {
        for (code, subcode, text) in [
            (1, 1, "Message Header Error/Connection Not Synchronized"),
            (4, 0, "Hold Timer Expired"),
            (6, 2, "Cease/Administrative Shutdown"),
            (6, 99, "Cease/99"),
            (99, 1, "error 99/1"),
        ] {
            assert_eq!(Notification { code, subcode, data: vec![] }.to_string(), text);
        }
    }

    #[test]
    fn shutdown_text_is_cut_at_a_character_and_escaped_for_display() {
        let notification = Notification::administrative_reset(&"é".repeat(200));
        assert_eq!(notification.shutdown_communication().unwrap(), "é".repeat(127));
        let hostile = Notification::administrative_shutdown("bye\x1b[2J\n");
        assert_eq!(hostile.to_string(), r#"Cease/Administrative Shutdown: "bye\u{1b}[2J\n""#);
        assert_eq!(Notification::administrative_shutdown("").data, []);
    }

    #[test]
    fn a_shutdown_text_must_fit_and_be_utf8() {
        for data in [&b"\x05abc"[..], b"", b"\x00", b"\x01\xff"] {
            let notification = Notification { code: 6, subcode: 2, data: data.to_vec() };
            assert_eq!(notification.shutdown_communication(), None, "{data:?}");
        }
        let other = Notification { code: 6, subcode: 3, data: b"\x01a".to_vec() };
        assert_eq!(other.shutdown_communication(), None);
    }

    #[test]
    fn hard_reset_carries_the_reason() {
        let hard = Notification::hard_reset(&Notification::hold_timer_expired());
        assert!(hard.is_hard_reset());
        assert_eq!(hard.hard_reset_reason(), Some(Notification::hold_timer_expired()));
        assert_eq!(hard.to_string(), "Cease/Hard Reset (Hold Timer Expired)");
        let nested = Notification::hard_reset(&hard);
        assert_eq!(nested.to_string(), "Cease/Hard Reset");
    }

    #[test]
    fn data_are_cut_to_one_message() {
        let cut = Notification::with_data(NotificationCode::UPDATE_MESSAGE_ERROR, 5, &[7; 60_000]);
        assert_eq!(cut.data.len(), Notification::MAX_DATA_LEN);
    }
}
