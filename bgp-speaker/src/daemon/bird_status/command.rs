//! What a client may ask for.

/// A command; names are as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    /// `restrict`: allow nothing that changes something. Nothing does.
    Restrict,
    /// `show protocols [all] [NAME]`
    ShowProtocols { is_detailed: bool, name: Option<&'a str> },
    /// `show route`
    ShowRoute,
    /// `show status`
    ShowStatus,
    /// Something else.
    Unknown,
}

impl<'a> Command<'a> {
    /// Reads a line.
    pub(super) fn parse(line: &'a str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["restrict"] => Command::Restrict,
            ["show", "status"] => Command::ShowStatus,
            ["show", "route"] => Command::ShowRoute,
            ["show", "protocols"] => Command::ShowProtocols { is_detailed: false, name: None },
            ["show", "protocols", "all"] => Command::ShowProtocols { is_detailed: true, name: None },
            ["show", "protocols", name] => Command::ShowProtocols { is_detailed: false, name: named(name) },
            ["show", "protocols", "all", name] => {
                Command::ShowProtocols { is_detailed: true, name: named(name) }
            }
            _ => Command::Unknown,
        }
    }
}

/// A name, perhaps in quotes as patterns are.
fn named(name: &str) -> Option<&str> {
    Some(name.trim_matches('"'))
}
