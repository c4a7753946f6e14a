//! `[[neighbors]]` and `[[listen_ranges]]`.

use super::filters::policy;
use super::reader::{Reader, Section};
use super::values;
use crate::config::{
    AddPaths, Family, ListenRange, Neighbor, NeighborId, NextHopMode, Role, Secret, SessionOptions,
};
use crate::daemon::advice::io_text;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};

/// The kernel's TCP_MD5SIG_MAXKEYLEN.
const PASSWORD_BYTES_MAX: usize = 80;

/// Reads everything about sessions. One per file.
pub(super) struct Sessions<'a> {
    reader: &'a Reader<'a>,
    directory: &'a Path,
    filter_names: Vec<&'a str>,
    password_files: BTreeMap<String, PathBuf>,
}

impl<'a> Sessions<'a> {
    /// `directory` is what relative paths are relative to, `filter_names` what policies can name.
    pub(super) fn new(reader: &'a Reader<'a>, directory: &'a Path, filter_names: Vec<&'a str>) -> Self {
        Self { reader, directory, filter_names, password_files: BTreeMap::new() }
    }

    /// Where the passwords came from, by neighbour address and port or range prefix.
    pub(super) fn into_password_files(self) -> BTreeMap<String, PathBuf> {
        self.password_files
    }

    /// Every neighbour that has an address and port of its own.
    pub(super) fn neighbors(&mut self, sections: Vec<Section<'_>>) -> BTreeMap<NeighborId, Neighbor> {
        let mut neighbors = BTreeMap::new();
        let mut paths = BTreeMap::new();
        for mut section in sections {
            let address = section.required("address", values::host);
            // Read the rest of a neighbour without an address too: it may be wrong as well.
            let mut neighbor = Neighbor::ibgp(address.unwrap_or(IpAddr::from([0, 0, 0, 0])));
            read_addressing(&mut section, &mut neighbor);
            let (options, password_file) = self.options(&mut section);
            neighbor.options = options;
            let id = neighbor.id();
            if address.is_some() && self.is_first(&section, "address", id, &mut paths) {
                self.reader.alias(format!("neighbors.{}", id.address), section.path());
                self.reader.alias(format!("neighbors.{id}"), section.path());
                self.password_files.extend(password_file.map(|file| (id.to_string(), file)));
                neighbors.insert(id, neighbor);
            }
            section.finish();
        }
        neighbors
    }

    /// Every range that has a prefix of its own, in the order of the file.
    pub(super) fn listen_ranges(&mut self, sections: Vec<Section<'_>>) -> Vec<ListenRange> {
        let mut ranges = Vec::new();
        let mut paths = BTreeMap::new();
        for mut section in sections {
            let prefix = section.required("prefix", values::prefix);
            let max_sessions = section.read("max_sessions", values::integer(1..=u32::MAX));
            let (options, password_file) = self.options(&mut section);
            if let Some(prefix) = prefix
                && self.is_first(&section, "prefix", prefix, &mut paths)
            {
                self.reader.alias(format!("listen_ranges.{prefix}"), section.path());
                self.password_files.extend(password_file.map(|file| (prefix.to_string(), file)));
                let max_sessions = max_sessions.unwrap_or(ListenRange::DEFAULT_MAX_SESSIONS);
                ranges.push(ListenRange { prefix, max_sessions, options });
            }
            section.finish();
        }
        ranges
    }

    /// Whether no earlier section has this value; reports it if one has. `paths` is where each value was first.
    fn is_first<T: Copy + Display + Ord>(
        &self,
        section: &Section<'_>,
        key: &str,
        value: T,
        paths: &mut BTreeMap<T, String>,
    ) -> bool {
        if let Some(first) = paths.get(&value) {
            let line = self.reader.line(first);
            section.report(key, format!("{value} is already {first} (line {line})"));
            return false;
        }
        paths.insert(value, section.path().to_owned());
        true
    }

    /// What neighbours and ranges have in common, and the file that the password came from.
    fn options(&self, section: &mut Section<'_>) -> (SessionOptions, Option<PathBuf>) {
        let defaults = SessionOptions::default();
        let secret = section.read("password_file", |value| {
            let path = self.directory.join(values::text(value)?);
            Ok((read_password(&path)?, path))
        });
        let (password, password_file) = secret.unzip();
        let options = SessionOptions {
            remote_as: section.read("remote_as", values::asn),
            local_as: section.read("local_as", values::asn),
            role: section
                .read("role", values::word(&[("peer", Role::Peer), ("client", Role::Client)]))
                .unwrap_or_default(),
            families: self.families(section).unwrap_or(defaults.families),
            hold_time_secs: section.read("hold_time", values::integer(0..=u16::MAX)),
            password,
            ttl_security: section.read("ttl_security", values::integer(1..=u8::MAX)),
            next_hop: section.read("next_hop", values::word(&NEXT_HOPS)).unwrap_or_default(),
            keepalive_secs: section.read("keepalive", values::integer(1..=u16::MAX)),
            // 12 bits on the wire, RFC 4724 §3.
            restart_time_secs: section.read("restart_time", values::integer(0..=4095u16)),
            allow_own_as: section.read("allow_own_as", values::integer(0..=u8::MAX)).unwrap_or_default(),
            max_prefixes: section.read("max_prefixes", values::integer(1..=u32::MAX)),
            add_paths: section.read("add_paths", values::word(&ADD_PATHS)).unwrap_or_default(),
            add_paths_max: section
                .read("add_paths_max", values::integer(1..=u8::MAX))
                .and_then(NonZeroU8::new)
                .unwrap_or(defaults.add_paths_max),
            import: section.read("import", policy(&self.filter_names)).unwrap_or_default(),
            export: section.read("export", policy(&self.filter_names)).unwrap_or_default(),
        };
        if options.local_as.is_some_and(|asn| asn.0 == 0) {
            section.report("local_as", "AS 0 is reserved; use a number from 1 to 4294967295");
        }
        (options, password_file)
    }

    fn families(&self, section: &mut Section<'_>) -> Option<Vec<Family>> {
        let words = Family::ALL.map(|family| match family {
            Family::Ipv4Unicast => ("ipv4-unicast", family),
            Family::Ipv6Unicast => ("ipv6-unicast", family),
        });
        let listed = section.list("families", values::word(&words))?;
        let mut families = Vec::new();
        for (path, family) in listed {
            if families.contains(&family) {
                self.reader.report(&path, format!("{family} is listed twice"));
            } else {
                families.push(family);
            }
        }
        families.sort();
        Some(families)
    }
}

const NEXT_HOPS: [(&str, NextHopMode); 3] =
    [("auto", NextHopMode::Auto), ("self", NextHopMode::SelfAddress), ("unchanged", NextHopMode::Unchanged)];

const ADD_PATHS: [(&str, AddPaths); 4] = [
    ("off", AddPaths::Off),
    ("receive", AddPaths::Receive),
    ("send", AddPaths::Send),
    ("both", AddPaths::Both),
];

/// What only a listed neighbour has.
fn read_addressing(section: &mut Section<'_>, neighbor: &mut Neighbor) {
    if let Some(name) = section.read("name", values::text) {
        neighbor.name = name;
    }
    if let Some(port) = section.read("port", values::integer(1..=u16::MAX)) {
        neighbor.port = port;
    }
    neighbor.local_address = section.read("local_address", values::host);
    if neighbor.local_address.is_some_and(|local| local.is_ipv4() != neighbor.address.is_ipv4()) {
        section.report("local_address", "is of another IP version than the neighbour's address");
    }
    neighbor.passive = section.read("passive", values::boolean).unwrap_or(neighbor.passive);
    neighbor.enabled = section.read("enabled", values::boolean).unwrap_or(neighbor.enabled);
}

/// The first line of the file, without its end.
fn read_password(path: &Path) -> Result<Secret, String> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {}", io_text(&error)))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(format!("{shown} is empty; write the password on its only line"));
    }
    if password.contains('\n') {
        return Err(format!("{shown} has several lines; write the password on its only line"));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(format!("the password in {shown} is longer than {PASSWORD_BYTES_MAX} bytes"));
    }
    Ok(Secret::new(password))
}
