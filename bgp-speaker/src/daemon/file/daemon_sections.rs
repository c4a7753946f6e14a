//! `[fib]`, `[admin]` and `[etcd]`: what concerns the daemon around the speaker.

use super::Surroundings;
use super::reader::{Section, kind};
use super::values;
use crate::config::{self, Secret};
use crate::fib::{Encapsulation, EncapsulationWhen, FibPool};
use crate::view::PlannedFib;
use fib_sync::InterfaceName;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::de::DeValue;

/// Where the admin API is unless said otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/bgp/admin.sock";
/// Where the read-only part is unless said otherwise.
const DEFAULT_LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 9179);
/// rtnetlink's RT_TABLE_MAIN.
const TABLE_MAIN: u32 = 254;
/// Tables for routes that have a name everywhere.
const TABLE_NAMES: [(&str, u32); 2] = [("main", TABLE_MAIN), ("default", 253)];
/// rtnetlink's RT_TABLE_LOCAL: the addresses of this host.
const TABLE_LOCAL: u32 = 255;
/// rtm_protocol of BIRD, which node daemons of this kind have long used.
const DEFAULT_PROTOCOL: u8 = 12;

/// Which kernel routes are ours, and how they are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FibSection {
    /// Routing table.
    pub(crate) table: u32,
    /// rtm_protocol that marks our routes.
    pub(crate) protocol: u8,
    /// Metric of our routes.
    pub(crate) metric: u32,
    /// Rules by destination.
    pub(crate) pools: Vec<FibPool>,
}

impl FibSection {
    /// Its pools, as a plan shows them.
    pub(crate) fn planned(&self) -> Vec<PlannedFib> {
        let planned = |pool: &FibPool| PlannedFib {
            pool: pool.prefix,
            program: pool.program,
            encapsulation: match pool.encapsulation {
                Encapsulation::Ipip => config::Encapsulation::Ipip,
                Encapsulation::None => config::Encapsulation::None,
                Encapsulation::Vxlan => config::Encapsulation::Vxlan,
            },
            when: match pool.when {
                EncapsulationWhen::Always => config::EncapsulationMode::Always,
                EncapsulationWhen::CrossSubnet => config::EncapsulationMode::CrossSubnet,
            },
        };
        self.pools.iter().map(planned).collect()
    }
}

impl Default for FibSection {
    fn default() -> Self {
        Self { table: TABLE_MAIN, protocol: DEFAULT_PROTOCOL, metric: 1024, pools: Vec::new() }
    }
}

/// How the daemon is talked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdminConfig {
    /// Unix socket with full control.
    pub(crate) socket: PathBuf,
    /// TCP address of the read-only part; `None`: switched off.
    pub(crate) listen: Option<SocketAddr>,
    /// Metrics per neighbour too, a series for each.
    pub(crate) per_neighbor_metrics: bool,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            socket: PathBuf::from(DEFAULT_SOCKET),
            listen: Some(SocketAddr::from(DEFAULT_LISTEN)),
            per_neighbor_metrics: false,
        }
    }
}

/// Whose data model etcd holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EtcdModel {
    /// Calico's.
    Calico,
    /// Our own registry.
    Registry,
}

/// The datastore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EtcdSection {
    /// URLs, at least one.
    pub(crate) endpoints: Vec<String>,
    /// What is stored there.
    pub(crate) model: EtcdModel,
    /// Who we are there.
    pub(crate) node: String,
    /// Certificate authority of the servers.
    pub(crate) ca_file: Option<PathBuf>,
    /// Our certificate.
    pub(crate) cert_file: Option<PathBuf>,
    /// Its key.
    pub(crate) key_file: Option<PathBuf>,
    /// User name.
    pub(crate) username: Option<String>,
    /// Its password.
    pub(crate) password: Option<Secret>,
}

pub(super) fn read_fib(mut section: Section<'_>) -> FibSection {
    let defaults = FibSection::default();
    let fib = FibSection {
        table: section.read("table", table).unwrap_or(defaults.table),
        // 0 to 4 belong to the kernel and to `ip route`.
        protocol: section.read("protocol", values::integer(5..=u8::MAX)).unwrap_or(defaults.protocol),
        metric: section.read("metric", values::integer(0..=u32::MAX)).unwrap_or(defaults.metric),
        pools: read_pools(section.sections("pools")),
    };
    section.finish();
    fib
}

fn read_pools(sections: Vec<Section<'_>>) -> Vec<FibPool> {
    let mut pools: Vec<FibPool> = Vec::new();
    for mut section in sections {
        let pool = read_pool(&mut section);
        match pool {
            Some(pool) if pools.iter().any(|other| other.prefix == pool.prefix) => {
                section.report("prefix", format!("{} is a pool already", pool.prefix));
            }
            pool => pools.extend(pool),
        }
        section.finish();
    }
    pools
}

fn read_pool(section: &mut Section<'_>) -> Option<FibPool> {
    let prefix = section.required("prefix", values::prefix);
    let encapsulations = [Encapsulation::None, Encapsulation::Ipip, Encapsulation::Vxlan];
    let whens = [EncapsulationWhen::Always, EncapsulationWhen::CrossSubnet];
    let program = section.read("program", values::boolean);
    let encapsulation =
        section.read("encapsulation", values::word(&encapsulations.map(|one| (one.as_str(), one))));
    let when = section.read("when", values::word(&whens.map(|one| (one.as_str(), one))));
    let device = section.read("device", interface);
    let subnet = section.read("subnet", values::prefix);
    let defaults = FibPool::new(prefix?);
    Some(FibPool {
        program: program.unwrap_or(defaults.program),
        encapsulation: encapsulation.unwrap_or(defaults.encapsulation),
        when: when.unwrap_or(defaults.when),
        device,
        subnet,
        ..defaults
    })
}

fn interface(value: &DeValue<'_>) -> Result<InterfaceName, String> {
    InterfaceName::new(&values::string(value)?).map_err(|error| error.to_string())
}

pub(super) fn read_admin(section: Option<Section<'_>>, directory: &Path) -> AdminConfig {
    let defaults = AdminConfig::default();
    let Some(mut section) = section else {
        return defaults;
    };
    let admin = AdminConfig {
        socket: section.read("socket", values::text).map_or(defaults.socket, |socket| directory.join(socket)),
        listen: section.read("listen", admin_listen).unwrap_or(defaults.listen),
        per_neighbor_metrics: section
            .read("per_neighbor_metrics", values::boolean)
            .unwrap_or(defaults.per_neighbor_metrics),
    };
    section.finish();
    admin
}

/// Calico's environment stands in for keys that its model lets absent.
pub(super) fn read_etcd(mut section: Section<'_>, surroundings: &Surroundings) -> EtcdSection {
    let model = section
        .read("model", values::word(&[("calico", EtcdModel::Calico), ("registry", EtcdModel::Registry)]))
        .unwrap_or(EtcdModel::Calico);
    let variable = |name| match model {
        EtcdModel::Calico => (surroundings.environment)(name),
        EtcdModel::Registry => None,
    };
    let file = |key: Option<String>, name| {
        key.or_else(|| variable(name)).map(|path| surroundings.directory.join(path))
    };
    let endpoints = match section.list("endpoints", endpoint) {
        Some(listed) => listed.into_iter().map(|(_, url)| url).collect(),
        None => variable("ETCD_ENDPOINTS")
            .map(|text| text.split(',').map(|url| url.trim().to_owned()).collect())
            .unwrap_or_default(),
    };
    let endpoints: Vec<String> = endpoints;
    if endpoints.is_empty() {
        section.report("endpoints", "name at least one server, such as \"http://127.0.0.1:2379\"");
    }
    let etcd = EtcdSection {
        endpoints,
        model,
        node: section
            .read("node", values::text)
            .or_else(|| (surroundings.environment)("NODENAME"))
            .unwrap_or_else(|| surroundings.host_name.clone()),
        ca_file: file(section.read("ca_file", values::text), "ETCD_CA_CERT_FILE"),
        cert_file: file(section.read("cert_file", values::text), "ETCD_CERT_FILE"),
        key_file: file(section.read("key_file", values::text), "ETCD_KEY_FILE"),
        username: section.read("username", values::text).or_else(|| variable("ETCD_USERNAME")),
        password: variable("ETCD_PASSWORD").map(Secret::new),
    };
    section.finish();
    etcd
}

/// How the file names a routing table.
pub(crate) fn table_name(table: u32) -> Option<&'static str> {
    TABLE_NAMES.iter().find(|(_, number)| *number == table).map(|(name, _)| *name)
}

fn table(value: &DeValue<'_>) -> Result<u32, String> {
    let local =
        Err("table local (255) belongs to the kernel; use \"main\" or the number of another".to_owned());
    match value {
        DeValue::String(name) if name == "local" => local,
        DeValue::String(_) => values::word(&TABLE_NAMES)(value),
        DeValue::Integer(_) => match values::integer(1..=u32::MAX)(value)? {
            TABLE_LOCAL => local,
            number => Ok(number),
        },
        _ => Err(format!("expected \"main\" or the number of a table, found {}", kind(value))),
    }
}

fn admin_listen(value: &DeValue<'_>) -> Result<Option<SocketAddr>, String> {
    match value.as_str() {
        Some("off") => Ok(None),
        _ => values::socket_address(DEFAULT_LISTEN.1)(value).map(Some),
    }
}

fn endpoint(value: &DeValue<'_>) -> Result<String, String> {
    let url = values::text(value)?;
    if url.starts_with("http://") || url.starts_with("https://") {
        Ok(url)
    } else {
        Err(format!("\"{url}\" is not a URL such as \"http://127.0.0.1:2379\""))
    }
}
