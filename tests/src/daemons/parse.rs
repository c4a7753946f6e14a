//! Small readers shared by the adapters that get JSON.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::error::LabError;

/// Parses JSON, naming the command in the error.
pub(super) fn json(from: &str, text: &str) -> Result<Value, LabError> {
    serde_json::from_str(text).map_err(|error| LabError::answer(from, error, text))
}

/// A number of at most 32 bits, also when it is written as a string.
pub(super) fn number(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|number| u32::try_from(number).ok()),
    }
}

/// A parsed address, prefix or the like.
pub(super) fn parsed<T: std::str::FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

/// A prefix, or an error that names the command.
pub(super) fn prefix(from: &str, text: &str) -> Result<IpNet, LabError> {
    text.parse().map_err(|error| LabError::answer(from, error, text))
}

/// The elements of an array; nothing if it is none.
pub(super) fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// An AS path written with spaces; sets and confederation marks are flattened.
pub(super) fn as_path(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|asn| asn.parse().ok()).collect()
}

/// True for an address that only means something on one link.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80)
}
