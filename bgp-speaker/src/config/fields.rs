//! What a change of a field costs a running session: one row for each.
//!
//! [`diff`](fn@super::diff) reads nothing else, the manual ([`changes`](crate::manual::changes)) lists the same rows, and
//! the tests flip each of them on live sessions.

use super::{ListenRange, Neighbor, Secret, SessionOptions, SpeakerConfig};

/// What changing a field does to a running session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldClass {
    /// Nothing that the neighbour could see.
    Hitless,
    /// Routes are asked for, or sent, again; the session stays.
    Refresh,
    /// The session is closed and set up anew.
    Reset,
}

/// One field: its key, its class, and its value as text.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) class: FieldClass,
    pub(super) value: Value,
}

/// Where a field is. Values that fall back to the speaker's are compared effective.
pub(super) enum Value {
    /// One of [`SessionOptions`].
    Session(fn(&SpeakerConfig, &SessionOptions) -> String),
    /// One of [`SessionOptions`] that nobody is to see.
    Secret(fn(&SessionOptions) -> Option<&Secret>),
    /// One of [`Neighbor`].
    Neighbor(fn(&Neighbor) -> String),
    /// One of [`ListenRange`].
    Range(fn(&ListenRange) -> String),
    /// One of [`SpeakerConfig`] that every OPEN, or every route, carries.
    Speaker(fn(&SpeakerConfig) -> String),
}

/// Every field that a session depends on.
pub(super) const FIELDS: &[Field] = &[
    Field {
        name: "remote_as",
        class: FieldClass::Reset,
        value: Value::Session(|c, o| c.remote_as(o).to_string()),
    },
    Field {
        name: "local_as",
        class: FieldClass::Reset,
        value: Value::Session(|c, o| o.local_as.unwrap_or(c.asn).to_string()),
    },
    Field { name: "role", class: FieldClass::Reset, value: Value::Session(|_, o| format!("{:?}", o.role)) },
    Field {
        name: "families",
        class: FieldClass::Reset,
        value: Value::Session(|_, o| format!("{:?}", o.families)),
    },
    Field {
        name: "hold_time",
        class: FieldClass::Reset,
        value: Value::Session(|c, o| o.hold_time_secs.unwrap_or(c.hold_time_secs).to_string()),
    },
    Field { name: "password", class: FieldClass::Reset, value: Value::Secret(|o| o.password.as_ref()) },
    Field {
        name: "ttl_security",
        class: FieldClass::Reset,
        value: Value::Session(|_, o| format!("{:?}", o.ttl_security)),
    },
    Field {
        name: "next_hop",
        class: FieldClass::Refresh,
        value: Value::Session(|_, o| format!("{:?}", o.next_hop)),
    },
    // The interval is settled with the hold time, when the session comes up.
    Field {
        name: "keepalive",
        class: FieldClass::Reset,
        value: Value::Session(|_, o| {
            o.keepalive_secs.map_or("hold_time / 3".to_owned(), |secs| secs.to_string())
        }),
    },
    Field {
        name: "restart_time",
        class: FieldClass::Reset,
        value: Value::Session(|c, o| c.restart_time(o).as_secs().to_string()),
    },
    Field {
        name: "allow_own_as",
        class: FieldClass::Reset,
        value: Value::Session(|_, o| o.allow_own_as.to_string()),
    },
    Field {
        name: "max_prefixes",
        class: FieldClass::Hitless,
        value: Value::Session(|_, o| format!("{:?}", o.max_prefixes)),
    },
    Field {
        name: "add_paths",
        class: FieldClass::Reset,
        value: Value::Session(|_, o| o.add_paths.to_string()),
    },
    Field {
        name: "add_paths_max",
        class: FieldClass::Reset,
        value: Value::Session(|_, o| o.add_paths_max.to_string()),
    },
    Field { name: "import", class: FieldClass::Refresh, value: Value::Session(|_, o| o.import.to_string()) },
    Field { name: "export", class: FieldClass::Refresh, value: Value::Session(|_, o| o.export.to_string()) },
    Field { name: "name", class: FieldClass::Hitless, value: Value::Neighbor(|n| n.name.clone()) },
    Field { name: "port", class: FieldClass::Reset, value: Value::Neighbor(|n| n.port.to_string()) },
    Field {
        name: "local_address",
        class: FieldClass::Reset,
        value: Value::Neighbor(|n| n.local_address.map_or("any".to_owned(), |a| a.to_string())),
    },
    Field { name: "passive", class: FieldClass::Hitless, value: Value::Neighbor(|n| n.passive.to_string()) },
    Field { name: "enabled", class: FieldClass::Reset, value: Value::Neighbor(|n| n.enabled.to_string()) },
    Field {
        name: "max_sessions",
        class: FieldClass::Hitless,
        value: Value::Range(|r| r.max_sessions.to_string()),
    },
    Field { name: "router_id", class: FieldClass::Reset, value: Value::Speaker(|c| c.router_id.to_string()) },
    Field {
        name: "cluster_id",
        class: FieldClass::Reset,
        value: Value::Speaker(|c| c.cluster_id.map_or("none".to_owned(), |id| id.to_string())),
    },
    Field {
        name: "graceful_restart",
        class: FieldClass::Reset,
        value: Value::Speaker(|c| if c.graceful_restart.enabled { "on" } else { "off" }.to_owned()),
    },
    Field {
        name: "local_addresses",
        class: FieldClass::Reset,
        value: Value::Speaker(|c| format!("{:?}", c.local_addresses)),
    },
];

/// Every field by name, with what a change of it costs.
pub fn field_classes() -> impl Iterator<Item = (&'static str, FieldClass)> {
    FIELDS.iter().map(|field| (field.name, field.class))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The rows of a struct's fields. A field that is not listed does not compile.
    macro_rules! rows {
        ($type:ident { $($field:ident => $row:expr),* $(,)? }) => {{
            let _ = |value: $type| {
                let $type { $($field: _),* } = value;
            };
            let rows: Vec<Option<&str>> = vec![$($row),*];
            rows.into_iter().flatten()
        }};
    }

    #[test]
    fn every_field_of_a_session_has_a_row() {
        let session = rows!(SessionOptions {
            remote_as => Some("remote_as"),
            local_as => Some("local_as"),
            role => Some("role"),
            families => Some("families"),
            hold_time_secs => Some("hold_time"),
            password => Some("password"),
            ttl_security => Some("ttl_security"),
            next_hop => Some("next_hop"),
            keepalive_secs => Some("keepalive"),
            restart_time_secs => Some("restart_time"),
            allow_own_as => Some("allow_own_as"),
            max_prefixes => Some("max_prefixes"),
            add_paths => Some("add_paths"),
            add_paths_max => Some("add_paths_max"),
            import => Some("import"),
            export => Some("export"),
        });
        // Another address is another neighbour.
        let neighbor = rows!(Neighbor {
            name => Some("name"),
            address => None,
            port => Some("port"),
            local_address => Some("local_address"),
            passive => Some("passive"),
            enabled => Some("enabled"),
            options => None,
        });
        let range =
            rows!(ListenRange { prefix => None, max_sessions => Some("max_sessions"), options => None });
        // What sessions inherit has its row there, and lists have steps of their own.
        let speaker = rows!(SpeakerConfig {
            asn => None,
            router_id => Some("router_id"),
            cluster_id => Some("cluster_id"),
            listen => None,
            hold_time_secs => None,
            graceful_restart => Some("graceful_restart"),
            local_addresses => Some("local_addresses"),
            neighbors => None,
            listen_ranges => None,
            announcements => None,
            filters => None,
            fib_rules => None,
            kernel_import => None,
            leaving => None,
        });
        let expected: BTreeSet<&str> = session.chain(neighbor).chain(range).chain(speaker).collect();
        assert_eq!(field_classes().map(|(name, _)| name).collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn the_manual_lists_every_field_with_its_class() {
        let page = include_str!("../manual/changes.rs");
        for (name, class) in field_classes() {
            let class = format!("{class:?}").to_lowercase();
            let row = format!("//! | `{name}` | {class} |");
            assert!(page.contains(&row), "the manual lacks {row}");
        }
        assert_eq!(page.matches("//! | `").count(), FIELDS.len(), "no row too many");
    }
}
