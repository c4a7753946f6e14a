//! A configuration as TOML with every value that is in force. Reading it back gives the same configuration.

use super::effective_filters::{FilterKeys, prefix_sets};
use super::{AdminConfig, BirdStatusSection, EtcdModel, EtcdSection, FibSection, FileConfig, table_name};
use crate::config::{
    AddPaths, Announcement, AnnouncementKind, Encapsulation, EncapsulationMode, Family, KernelImport,
    ListenRange, Neighbor, NextHopMode, PolicyRef, PoolRule, Role, SessionOptions, SpeakerConfig,
};
use ipnet::IpNet;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::path::Path;

impl FileConfig {
    /// Every value in force. Passwords appear as the files they came from.
    pub(crate) fn effective(&self) -> String {
        let document = Document::of(self);
        toml::to_string(&document).expect("strings, numbers and tables always fit TOML")
    }
}

/// The keys of the file, in the order in which they are documented. Absent values are not written.
#[derive(Serialize)]
struct Document<'a> {
    asn: u32,
    router_id: String,
    listen: &'a [SocketAddr],
    hold_time: u16,
    handover_time: u64,
    addresses: &'a [IpAddr],
    reflector: Option<Reflector>,
    graceful_restart: GracefulRestart,
    neighbors: Vec<NeighborKeys<'a>>,
    listen_ranges: Vec<RangeKeys<'a>>,
    announce: Announce,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    prefix_sets: BTreeMap<&'a str, Vec<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    filters: BTreeMap<&'a str, FilterKeys>,
    fib: Option<Fib<'a>>,
    kernel_import: Option<KernelImportKeys>,
    etcd: Option<Etcd<'a>>,
    admin: Admin<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bird_status: Option<BirdStatus>,
}

#[derive(Serialize)]
struct Reflector {
    cluster_id: String,
}

#[derive(Serialize)]
struct GracefulRestart {
    enabled: bool,
    restart_time: u64,
    selection_deferral: u64,
}

#[derive(Serialize)]
struct NeighborKeys<'a> {
    address: IpAddr,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    port: u16,
    local_address: Option<IpAddr>,
    passive: bool,
    enabled: bool,
    #[serde(flatten)]
    session: SessionKeys<'a>,
}

#[derive(Serialize)]
struct RangeKeys<'a> {
    prefix: IpNet,
    max_sessions: u32,
    #[serde(flatten)]
    session: SessionKeys<'a>,
}

#[derive(Serialize)]
struct SessionKeys<'a> {
    remote_as: Option<u32>,
    local_as: Option<u32>,
    role: Role,
    families: &'a [Family],
    hold_time: Option<u16>,
    password_file: Option<&'a Path>,
    ttl_security: Option<u8>,
    next_hop: NextHopMode,
    keepalive: Option<u16>,
    restart_time: Option<u16>,
    allow_own_as: u8,
    max_prefixes: Option<u32>,
    add_paths: AddPaths,
    add_paths_max: NonZeroU8,
    import: PolicyKeys<'a>,
    export: PolicyKeys<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum PolicyKeys<'a> {
    Word(&'static str),
    Filters(&'a [String]),
}

#[derive(Serialize)]
struct KernelImportKeys {
    prefixes: Vec<String>,
    networks: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored_interfaces: Vec<String>,
    normal_priority: Option<u32>,
}

#[derive(Serialize)]
struct Announce {
    blocks: Vec<IpNet>,
    routes: Vec<RouteKeys>,
}

#[derive(Serialize)]
struct RouteKeys {
    prefix: IpNet,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<String>,
    large_communities: Vec<String>,
}

#[derive(Serialize)]
struct Fib<'a> {
    table: Table,
    protocol: u8,
    metric: u32,
    next_hops_max: Option<NonZeroU8>,
    pools: Vec<Pool<'a>>,
}

#[derive(Serialize)]
struct Pool<'a> {
    prefix: &'a IpNet,
    program: bool,
    encapsulation: Encapsulation,
    when: EncapsulationMode,
    device: Option<&'a str>,
    subnet: Option<IpNet>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Table {
    Name(&'static str),
    Number(u32),
}

#[derive(Serialize)]
struct Etcd<'a> {
    endpoints: &'a [String],
    model: &'static str,
    node: &'a str,
    ca_file: Option<&'a Path>,
    cert_file: Option<&'a Path>,
    key_file: Option<&'a Path>,
    username: Option<&'a str>,
    cache: String,
    kubernetes_folder: Option<&'a Path>,
    endpoint_status_folder: Option<String>,
    zone: Option<&'a str>,
    lease: u16,
}

#[derive(Serialize)]
struct BirdStatus {
    ipv4: Option<String>,
    ipv6: Option<String>,
}

#[derive(Serialize)]
struct Admin<'a> {
    socket: &'a Path,
    listen: String,
    per_neighbor_metrics: bool,
}

impl<'a> Document<'a> {
    fn of(config: &'a FileConfig) -> Self {
        let speaker = &config.speaker;
        Self {
            asn: speaker.asn.0,
            router_id: speaker.router_id.to_string(),
            listen: &speaker.listen,
            hold_time: speaker.hold_time_secs,
            handover_time: config.handover_time.as_secs(),
            addresses: &speaker.local_addresses,
            reflector: speaker.cluster_id.map(|id| Reflector { cluster_id: id.to_string() }),
            graceful_restart: GracefulRestart {
                enabled: speaker.graceful_restart.enabled,
                restart_time: speaker.graceful_restart.restart_time.as_secs(),
                selection_deferral: speaker.graceful_restart.selection_deferral.as_secs(),
            },
            neighbors: speaker
                .neighbors
                .values()
                .map(|neighbor| NeighborKeys::of(config, neighbor))
                .collect(),
            listen_ranges: speaker.listen_ranges.iter().map(|range| RangeKeys::of(config, range)).collect(),
            announce: Announce::of(speaker),
            prefix_sets: prefix_sets(&speaker.filters),
            filters: speaker.filters.iter().map(|(name, filter)| (&**name, FilterKeys::of(filter))).collect(),
            fib: config.fib.map(|fib| Fib::of(fib, speaker)),
            kernel_import: speaker.kernel_import.as_ref().map(KernelImportKeys::of),
            etcd: config.etcd.as_ref().map(Etcd::of),
            admin: Admin::of(&config.admin),
            bird_status: BirdStatus::of(&config.bird_status),
        }
    }
}

impl BirdStatus {
    fn of(section: &BirdStatusSection) -> Option<Self> {
        let keys = Self { ipv4: section.ipv4.text(), ipv6: section.ipv6.text() };
        (*section != BirdStatusSection::default()).then_some(keys)
    }
}

impl<'a> NeighborKeys<'a> {
    fn of(config: &'a FileConfig, neighbor: &'a Neighbor) -> Self {
        Self {
            address: neighbor.address,
            name: &neighbor.name,
            port: neighbor.port,
            local_address: neighbor.local_address,
            passive: neighbor.passive,
            enabled: neighbor.enabled,
            session: SessionKeys::of(config, &neighbor.options, &neighbor.id().to_string()),
        }
    }
}

impl<'a> RangeKeys<'a> {
    fn of(config: &'a FileConfig, range: &'a ListenRange) -> Self {
        Self {
            prefix: range.prefix,
            max_sessions: range.max_sessions,
            session: SessionKeys::of(config, &range.options, &range.prefix.to_string()),
        }
    }
}

impl<'a> SessionKeys<'a> {
    /// `whose` is the key of [`FileConfig::password_files`].
    fn of(config: &'a FileConfig, options: &'a SessionOptions, whose: &str) -> Self {
        Self {
            remote_as: options.remote_as.map(|asn| asn.0),
            local_as: options.local_as.map(|asn| asn.0),
            role: options.role,
            families: &options.families,
            hold_time: options.hold_time_secs,
            password_file: config.password_files.get(whose).map(AsRef::as_ref),
            ttl_security: options.ttl_security,
            next_hop: options.next_hop,
            keepalive: options.keepalive_secs,
            restart_time: options.restart_time_secs,
            allow_own_as: options.allow_own_as,
            max_prefixes: options.max_prefixes,
            add_paths: options.add_paths,
            add_paths_max: options.add_paths_max,
            import: PolicyKeys::of(&options.import),
            export: PolicyKeys::of(&options.export),
        }
    }
}

impl Announce {
    fn of(speaker: &SpeakerConfig) -> Self {
        let of_kind = |kind| speaker.announcements.values().filter(move |a| a.kind == kind);
        Self {
            blocks: of_kind(AnnouncementKind::Block).map(|a| a.prefix).collect(),
            routes: of_kind(AnnouncementKind::Route).map(RouteKeys::of).collect(),
        }
    }
}

impl RouteKeys {
    fn of(announcement: &Announcement) -> Self {
        Self {
            prefix: announcement.prefix,
            med: announcement.med,
            local_pref: announcement.local_pref,
            communities: announcement.communities.iter().map(ToString::to_string).collect(),
            large_communities: announcement.large_communities.iter().map(ToString::to_string).collect(),
        }
    }
}

impl KernelImportKeys {
    fn of(import: &KernelImport) -> Self {
        fn texts<T: ToString>(values: &[T]) -> Vec<String> {
            values.iter().map(ToString::to_string).collect()
        }
        Self {
            prefixes: import.prefixes.as_ref().map_or_else(Vec::new, |prefixes| texts(prefixes.ranges())),
            networks: import.networks.is_some(),
            ignored_interfaces: import
                .networks
                .as_ref()
                .map_or_else(Vec::new, |n| texts(&n.ignored_interfaces)),
            // A file has one for both families.
            normal_priority: import.priorities.map(|priorities| priorities.ipv4),
        }
    }
}

impl<'a> Fib<'a> {
    fn of(fib: FibSection, speaker: &'a SpeakerConfig) -> Self {
        let table = table_name(fib.table).map_or(Table::Number(fib.table), Table::Name);
        let pools = speaker.fib_rules.pools.iter().map(Pool::of).collect();
        let next_hops_max = speaker.fib_rules.next_hops_max;
        Self { table, protocol: fib.protocol, metric: fib.metric, next_hops_max, pools }
    }
}

impl<'a> Pool<'a> {
    fn of((prefix, rule): (&'a IpNet, &'a PoolRule)) -> Self {
        Self {
            prefix,
            program: rule.program,
            encapsulation: rule.encapsulation,
            when: rule.when,
            device: rule.device.as_deref(),
            subnet: rule.subnet,
        }
    }
}

impl<'a> Etcd<'a> {
    fn of(etcd: &'a EtcdSection) -> Self {
        Self {
            endpoints: &etcd.endpoints,
            model: etcd.model.name(),
            node: &etcd.node,
            ca_file: etcd.ca_file.as_deref(),
            cert_file: etcd.cert_file.as_deref(),
            key_file: etcd.key_file.as_deref(),
            username: etcd.username.as_deref(),
            cache: etcd.cache.as_ref().map_or("off".to_owned(), |path| path.display().to_string()),
            kubernetes_folder: etcd.kubernetes_folder.as_deref(),
            endpoint_status_folder: (etcd.model == EtcdModel::Calico).then(|| {
                let folder = etcd.endpoint_status_folder.as_ref();
                folder.map_or("off".to_owned(), |path| path.display().to_string())
            }),
            zone: etcd.zone.as_deref(),
            lease: etcd.lease,
        }
    }
}

impl<'a> Admin<'a> {
    fn of(admin: &'a AdminConfig) -> Self {
        Self {
            socket: &admin.socket,
            listen: admin.listen.map_or("off".to_owned(), |address| address.to_string()),
            per_neighbor_metrics: admin.per_neighbor_metrics,
        }
    }
}

impl<'a> PolicyKeys<'a> {
    fn of(policy: &'a PolicyRef) -> Self {
        match policy {
            PolicyRef::Accept => PolicyKeys::Word("accept"),
            PolicyRef::Reject => PolicyKeys::Word("reject"),
            PolicyRef::Filters(names) => PolicyKeys::Filters(names),
        }
    }
}
