//! Fixtures and generators shared by the tests of this crate.
#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod families;
pub(crate) mod fixtures;
pub(crate) mod strategies;

use bgp_proto::{Message, SessionParams};
use bytes::BytesMut;

/// Octets from hexadecimal; blanks and line ends separate.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    assert!(digits.len().is_multiple_of(2), "an even number of digits");
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// A whole message of a type and a body.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn encode(message: &Message, params: &SessionParams) -> Vec<u8> {
    let mut out = BytesMut::new();
    message.encode(params, &mut out).unwrap();
    out.to_vec()
}
