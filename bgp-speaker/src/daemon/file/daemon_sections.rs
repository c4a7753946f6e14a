//! `[fib]` and `[admin]`: what concerns the daemon around the speaker.

use super::reader::{Section, kind};
use super::values;
use crate::config::{Encapsulation, EncapsulationMode, FibRules, PoolRule};
use fib_sync::InterfaceName;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU8;
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

/// Which kernel routes are ours, and how they are made. Its pools are rules of the speaker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FibSection {
    /// Routing table.
    pub(crate) table: u32,
    /// rtm_protocol that marks our routes.
    pub(crate) protocol: u8,
    /// Metric of our routes.
    pub(crate) metric: u32,
}

impl Default for FibSection {
    fn default() -> Self {
        Self { table: TABLE_MAIN, protocol: DEFAULT_PROTOCOL, metric: 1024 }
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

/// The section, and what becomes of which routes.
pub(super) fn read_fib(mut section: Section<'_>) -> (FibSection, FibRules) {
    let defaults = FibSection::default();
    let fib = FibSection {
        table: section.read("table", table).unwrap_or(defaults.table),
        // 0 to 4 belong to the kernel and to `ip route`.
        protocol: section.read("protocol", values::integer(5..=u8::MAX)).unwrap_or(defaults.protocol),
        metric: section.read("metric", values::integer(0..=u32::MAX)).unwrap_or(defaults.metric),
    };
    let next_hops_max = section.read("next_hops_max", values::integer(1..=u8::MAX)).and_then(NonZeroU8::new);
    let pools = read_pools(section.sections("pools"));
    section.finish();
    (fib, FibRules { pools, next_hops_max, ..FibRules::default() })
}

fn read_pools(sections: Vec<Section<'_>>) -> BTreeMap<IpNet, PoolRule> {
    let mut pools = BTreeMap::new();
    for mut section in sections {
        match read_pool(&mut section) {
            Some((prefix, _)) if pools.contains_key(&prefix) => {
                section.report("prefix", format!("{prefix} is a pool already"));
            }
            pool => pools.extend(pool),
        }
        section.finish();
    }
    pools
}

fn read_pool(section: &mut Section<'_>) -> Option<(IpNet, PoolRule)> {
    let encapsulations = [Encapsulation::None, Encapsulation::Ipip, Encapsulation::Vxlan];
    let whens = [EncapsulationMode::Always, EncapsulationMode::CrossSubnet];
    let defaults = PoolRule::default();
    let prefix = section.required("prefix", values::prefix);
    let rule = PoolRule {
        program: section.read("program", values::boolean).unwrap_or(defaults.program),
        encapsulation: section
            .read("encapsulation", values::word(&encapsulations.map(|one| (one.as_str(), one))))
            .unwrap_or(defaults.encapsulation),
        when: section
            .read("when", values::word(&whens.map(|one| (one.as_str(), one))))
            .unwrap_or(defaults.when),
        device: section.read("device", interface),
        subnet: section.read("subnet", values::prefix),
    };
    Some((prefix?, rule))
}

fn interface(value: &DeValue<'_>) -> Result<String, String> {
    let name = InterfaceName::new(&values::string(value)?).map_err(|error| error.to_string())?;
    Ok(name.as_str().to_owned())
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
