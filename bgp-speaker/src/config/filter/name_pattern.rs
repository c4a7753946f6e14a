//! Names of interfaces with `*` in them.

use std::fmt;
use std::str::FromStr;

/// Names that fit a text in which `*` stands for any run of characters, also an empty one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamePattern(String);

impl NamePattern {
    /// Longest pattern in bytes: what a name of an interface can have (IFNAMSIZ without its end).
    pub const BYTES_MAX: usize = 15;

    /// Does a name fit?
    pub fn fits(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|start| name.strip_prefix(start)) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_fine = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
        if (1..=Self::BYTES_MAX).contains(&text.len()) && text.bytes().all(is_fine) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "\"{}\" is not the name of an interface, or a pattern such as \"cali*\", of at most {} characters",
            text.escape_debug(),
            Self::BYTES_MAX
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_run() {
        let table = [
            ("eth0", "eth0", true),
            ("eth0", "eth01", false),
            ("*.cali", "vxlan.cali", true),
            ("*.cali", "vxlan.calico", false),
            ("cali*", "cali", true),
            ("cali*", "cali12", true),
            ("bpf*.cali", "bpfin.cali", true),
            ("bpf*.cali", "bpf.cal", false),
            ("a*a", "a", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXcXb", false),
            ("*", "", true),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(pattern.parse::<NamePattern>().unwrap().fits(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_no_interface_is_called_is_refused() {
        for text in ["", "a/b", "a b", "sixteen-or-longer"] {
            assert!(text.parse::<NamePattern>().is_err(), "{text}");
        }
    }
}
