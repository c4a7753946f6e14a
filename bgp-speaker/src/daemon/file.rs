//! The configuration file: TOML in, typed and checked values out, or every mistake at once with its place.
//!
//! What does not belong here: what a value means to a running speaker ([`SpeakerConfig::problems`] and the engine
//! know that), and what changes from one file to the next ([`crate::config::diff`]).

mod announce;
mod bird_status;
mod daemon_sections;
mod effective;
mod effective_filters;
mod etcd_section;
mod filters;
mod identity;
mod kernel_import;
mod nearest;
mod problem;
mod reader;
mod sessions;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use bird_status::BirdStatusSection;
pub(crate) use daemon_sections::{AdminConfig, DEFAULT_SOCKET, FibSection, table_name};
pub(crate) use etcd_section::{EtcdModel, EtcdSection};
pub(crate) use identity::Surroundings;
pub(crate) use problem::{FileError, Problem};
pub(crate) use values::prefix_from_text;

use super::Program;
use super::advice::io_text;
use crate::config::{DEFAULT_ASN, DEFAULT_HOLD_TIME_SECS, GracefulRestartConfig, SpeakerConfig};
use reader::{Reader, Section};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// Files larger than this are refused unread, in bytes: 5000 neighbours take about a tenth of it.
const FILE_SIZE_MAX: u64 = 16 << 20;
/// Default of [`FileConfig::handover_time`]: enough for a neighbour that needs several attempts to connect.
const DEFAULT_HANDOVER_TIME: Duration = Duration::from_secs(30);
/// Whoever is removed does not stay for longer than an hour.
const HANDOVER_TIME_MAX_SECS: u64 = 3600;

/// Everything that one file says, with defaults filled in. One per daemon; replaced as a whole by a reload.
#[derive(Clone, Debug)]
pub(crate) struct FileConfig {
    /// What the speaker is asked to be. Has no [`SpeakerConfig::problems`].
    pub(crate) speaker: SpeakerConfig,
    /// How long neighbours that others replace stay at most.
    pub(crate) handover_time: Duration,
    /// Present: learned routes go into the kernel.
    pub(crate) fib: Option<FibSection>,
    /// How the daemon is talked to.
    pub(crate) admin: AdminConfig,
    /// Present: neighbours and announcements come from etcd too.
    pub(crate) etcd: Option<EtcdSection>,
    /// Where status is told in BIRD's words.
    pub(crate) bird_status: BirdStatusSection,
    /// Where passwords came from, by neighbour address or range prefix.
    pub(crate) password_files: BTreeMap<String, PathBuf>,
    /// Defaults that an operator should know of; for the log.
    pub(crate) notes: Vec<String>,
}

impl FileConfig {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The file is unreadable, or wrong: then all that is wrong with it.
    pub(crate) fn load(path: &Path, program: Program) -> Result<Self, FileError> {
        let unreadable = |reason: String| FileError::Unreadable { path: path.to_owned(), reason };
        let size = std::fs::metadata(path).map_err(|error| unreadable(io_text(&error)))?.len();
        if size > FILE_SIZE_MAX {
            return Err(unreadable(format!("it is {size} bytes long, more than {FILE_SIZE_MAX}")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(io_text(&error)))?;
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        Self::parse(&text, &path.display().to_string(), &Surroundings::of_this_host(program, directory))
    }

    /// What holds without a file.
    ///
    /// # Errors
    /// As [`FileConfig::parse`]; the defaults themselves are right.
    pub(crate) fn without_file(program: Program) -> Result<Self, FileError> {
        Self::parse("", "(no file)", &Surroundings::of_this_host(program, PathBuf::new()))
    }

    /// Checks a text; `file` is its name in messages.
    ///
    /// # Errors
    /// All that is wrong with it, in order.
    pub(crate) fn parse(text: &str, file: &str, surroundings: &Surroundings) -> Result<Self, FileError> {
        let (table, syntax_errors) = DeTable::parse_recoverable(text);
        let reader = Reader::new(file, text);
        let mut understood = true;
        for error in &syntax_errors {
            // A repeated key leaves the rest of the file intact; after any other error the rest is a guess.
            understood &= error.message() == "duplicate key";
            reader.report_at(error.span().map_or(0, |span| span.start), "", error.message());
        }
        if !understood {
            let mut problems = reader.into_problems();
            problems.dedup_by_key(|problem| problem.line);
            return Err(FileError::Invalid(problems));
        }
        let config = read(&reader, table.get_ref(), surroundings);
        let problems = reader.into_problems();
        if problems.is_empty() { Ok(config) } else { Err(FileError::Invalid(problems)) }
    }
}

/// Reads the whole file. What is reported as wrong is left at its default.
fn read(reader: &Reader<'_>, table: &DeTable<'_>, surroundings: &Surroundings) -> FileConfig {
    let mut root = reader.root(table);
    let mut notes = Vec::new();
    let listen = read_listen(reader, &mut root, surroundings, &mut notes);
    let router_id = root.read("router_id", values::router_id).unwrap_or_else(|| {
        let (router_id, note) = identity::default_router_id(&listen, surroundings);
        notes.extend(note);
        router_id
    });
    let filters = filters::read(&mut root);
    let filter_names = filters.keys().map(String::as_str).collect();
    let mut sessions = sessions::Sessions::new(reader, &surroundings.directory, filter_names);
    let (fib, fib_rules) = root.section("fib").map(daemon_sections::read_fib).unzip();
    let speaker = SpeakerConfig {
        asn: root.read("asn", values::asn).unwrap_or(DEFAULT_ASN),
        router_id,
        cluster_id: read_cluster_id(&mut root, surroundings, router_id),
        listen,
        hold_time_secs: root
            .read("hold_time", values::integer(0..=u16::MAX))
            .unwrap_or(DEFAULT_HOLD_TIME_SECS),
        graceful_restart: read_graceful_restart(&mut root),
        local_addresses: read_addresses(&mut root),
        neighbors: sessions.neighbors(root.sections("neighbors")),
        listen_ranges: sessions.listen_ranges(root.sections("listen_ranges")),
        announcements: announce::read(reader, root.section("announce")),
        filters: filters.clone(),
        fib_rules: fib_rules.unwrap_or_default(),
        kernel_import: root.section("kernel_import").map(kernel_import::read),
        leaving: BTreeSet::new(),
    };
    let config = FileConfig {
        handover_time: root
            .read("handover_time", values::integer(0..=HANDOVER_TIME_MAX_SECS))
            .map_or(DEFAULT_HANDOVER_TIME, Duration::from_secs),
        fib,
        admin: daemon_sections::read_admin(root.section("admin"), &surroundings.directory),
        etcd: root.section("etcd").map(|section| etcd_section::read_etcd(section, surroundings)),
        bird_status: bird_status::read(root.section("bird_status"), &surroundings.directory),
        password_files: sessions.into_password_files(),
        notes,
        speaker,
    };
    root.finish();
    if let Some(etcd) = config.etcd.as_ref().filter(|etcd| etcd.model == EtcdModel::Registry)
        && let Err(error) = etcd.local_record().record(&config.speaker)
    {
        reader.report("etcd.model", error.to_string());
    }
    // With a made-up AS number, neighbours would seem to be in another one.
    if !reader.has_reported("asn") {
        for error in config.speaker.problems() {
            reader.report_config_error(&error);
        }
    }
    config
}

fn read_listen(
    reader: &Reader<'_>,
    root: &mut Section<'_>,
    surroundings: &Surroundings,
    notes: &mut Vec<String>,
) -> Vec<SocketAddr> {
    if let Some(listed) = root.list("listen", values::socket_address(179)) {
        let mut listen = Vec::new();
        for (path, address) in listed {
            if listen.contains(&address) {
                reader.report(&path, format!("{address} is listed twice"));
            } else {
                listen.push(address);
            }
        }
        return listen;
    }
    let mut listen = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 179))];
    if surroundings.has_ipv6 {
        listen.push(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 179)));
    } else {
        notes.push("this host has no IPv6: listening on IPv4 only".to_owned());
    }
    listen
}

fn read_cluster_id(
    root: &mut Section<'_>,
    surroundings: &Surroundings,
    router_id: bgp_proto::BgpId,
) -> Option<bgp_proto::BgpId> {
    let Some(mut section) = root.section("reflector") else {
        return (surroundings.program == Program::RouteReflector).then_some(router_id);
    };
    let cluster_id = section.read("cluster_id", values::router_id);
    if cluster_id.is_some_and(|id| id.0 == 0) {
        section.report("cluster_id", "0.0.0.0 is not a cluster; use the router id of one of its reflectors");
    }
    section.finish();
    Some(cluster_id.unwrap_or(router_id))
}

fn read_graceful_restart(root: &mut Section<'_>) -> GracefulRestartConfig {
    let defaults = GracefulRestartConfig::default();
    let Some(mut section) = root.section("graceful_restart") else {
        return defaults;
    };
    let config = GracefulRestartConfig {
        enabled: section.read("enabled", values::boolean).unwrap_or(defaults.enabled),
        // 12 bits on the wire, RFC 4724 §3.
        restart_time: section
            .read("restart_time", values::integer(0..=4095u64))
            .map_or(defaults.restart_time, Duration::from_secs),
        selection_deferral: section
            .read("selection_deferral", values::integer(0..=3600u64))
            .map_or(defaults.selection_deferral, Duration::from_secs),
    };
    section.finish();
    config
}

fn read_addresses(root: &mut Section<'_>) -> Vec<IpAddr> {
    root.list("addresses", values::host).unwrap_or_default().into_iter().map(|(_, address)| address).collect()
}
