//! Reading JSON that others write: a field that cannot be read costs that field, not the object.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

/// Longest piece of foreign text that is repeated in a message, in bytes.
const QUOTE_BYTES_MAX: usize = 80;
/// Findings that are kept for one object.
const FINDINGS_MAX: usize = 20;

/// A field of an object. Missing and `null` are the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Field<T> {
    /// Missing, or `null`.
    #[default]
    Absent,
    /// Readable.
    Good(T),
    /// Present, but not what it should be.
    Bad(String),
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        if value.is_null() {
            return Ok(Field::Absent);
        }
        Ok(match T::deserialize(&value) {
            Ok(good) => Field::Good(good),
            Err(error) => Field::Bad(format!("{}: {error}", quote(&value.to_string()))),
        })
    }
}

/// What was wrong with the fields of one object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Findings(Vec<String>);

impl Findings {
    /// The value of a field; a bad one counts as absent and is noted with its path.
    pub(crate) fn take<T>(&mut self, path: &str, field: Field<T>) -> Option<T> {
        match field {
            Field::Absent => None,
            Field::Good(value) => Some(value),
            Field::Bad(why) => {
                self.note(format!("{path}: {why}"));
                None
            }
        }
    }

    /// The readable elements of a list; each of the others is noted.
    pub(crate) fn take_list<T>(&mut self, path: &str, list: Field<Vec<Field<T>>>) -> Vec<T> {
        let list = self.take(path, list).unwrap_or_default();
        let element = |(index, field)| self.take(&format!("{path}[{index}]"), field);
        list.into_iter().enumerate().filter_map(element).collect()
    }

    /// Notes something, if there is not enough already.
    pub(crate) fn note(&mut self, what: impl Into<String>) {
        if self.0.len() < FINDINGS_MAX {
            self.0.push(what.into());
        }
    }

    /// All that was noted, in order.
    pub(crate) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// Foreign text, shortened for a message.
pub(crate) fn quote(text: &str) -> String {
    if text.len() <= QUOTE_BYTES_MAX {
        return text.to_owned();
    }
    let mut end = QUOTE_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Object {
        port: Field<u16>,
        names: Field<Vec<Field<String>>>,
    }

    #[test]
    fn a_bad_field_costs_that_field_only() {
        let object: Object = serde_json::from_str(r#"{"port": "x", "names": ["a", 1, null, "b"]}"#).unwrap();
        let mut findings = Findings::default();
        assert_eq!(findings.take("port", object.port), None);
        assert_eq!(findings.take_list("names", object.names), ["a", "b"]);
        let findings = findings.into_vec();
        assert_eq!(findings.len(), 2);
        assert!(findings[0].starts_with("port: \"x\": invalid type"), "{findings:?}");
        assert!(findings[1].starts_with("names[1]: 1: "), "{findings:?}");
    }

    #[test]
    fn long_values_are_shortened_between_characters() {
        let quoted = quote(&"ä".repeat(100));
        assert_eq!(quoted.len(), QUOTE_BYTES_MAX + 3);
    }
}
