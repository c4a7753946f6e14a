//! Secrets: keys and values.

use crate::cluster::field::{Field, Findings};
use crate::config::Secret;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    data: BTreeMap<String, String>,
    #[serde(rename = "stringData")]
    string_data: BTreeMap<String, String>,
}

/// The readable values; `None` where TCP MD5 could not take one. Messages name keys, never values.
pub(super) fn read(json: &[u8], findings: &mut Findings) -> Result<BTreeMap<String, Option<Secret>>, String> {
    // The library's words would quote what it read.
    let object: Field<Object> =
        serde_json::from_slice(json).map_err(|error| format!("unreadable at column {}", error.column()))?;
    let Field::Good(object) = object else {
        return Err("data: expected keys with texts as values".to_owned());
    };
    let mut values = BTreeMap::new();
    for (key, encoded) in object.data {
        match BASE64_STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(value) => _ = values.insert(key, password(value)),
            None => findings.note(format!("data.{key}: is no text in base64")),
        }
    }
    values.extend(object.string_data.into_iter().map(|(key, value)| (key, password(value))));
    Ok(values)
}

fn password(value: String) -> Option<Secret> {
    (1..=Secret::BYTES_MAX).contains(&value.len()).then(|| Secret::new(value))
}
