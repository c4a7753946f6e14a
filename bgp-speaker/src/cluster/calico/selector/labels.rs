//! The labels of an object.

use std::collections::BTreeMap;

/// Labels, packed: a cluster has thousands of nodes with dozens of them. Sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(
    /// Name, NUL, value, NUL, and so on.
    Box<str>,
);

impl Labels {
    /// The value of a label.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(label, value)| (label == name).then_some(value))
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self.0.split_terminator('\0');
        std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
    }
}

/// Labels with a NUL in them, which no API server takes, are left out.
impl FromIterator<(String, String)> for Labels {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(labels: I) -> Self {
        let labels: BTreeMap<String, String> = labels.into_iter().collect();
        let mut packed = String::new();
        for (name, value) in labels {
            if !name.contains('\0') && !value.contains('\0') {
                packed.extend([name.as_str(), "\0", value.as_str(), "\0"]);
            }
        }
        Self(packed.into_boxed_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_sorted() {
        let labels = [("b", ""), ("a", "1"), ("c", "x\0y")];
        let labels: Labels =
            labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "")]);
        assert_eq!((labels.value("b"), labels.value("c")), (Some(""), None));
    }
}
