//! The desired state of a speaker: one typed value, whoever wrote it.
//!
//! A configuration file, a datastore and the library API all produce a [`SpeakerConfig`]; [`diff()`]
//! turns two of them into [`Step`]s, and nothing else changes a running speaker. What does not
//! belong here: how a source spells its values (that is the source's parser) and how a step is
//! carried out (that is the engine).

mod announcement;
mod diff;
mod fib_rules;
mod fields;
pub mod filter;
mod kernel_import;
mod neighbor;
mod neighbor_id;

pub use announcement::{Announcement, AnnouncementKind};
pub use diff::{Step, StepAction, diff};
pub use fib_rules::{Encapsulation, EncapsulationMode, FibRules, PoolRule, RouteMetrics};
pub use fields::{FieldClass, field_classes};
pub use filter::Filter;
pub use kernel_import::{KernelImport, NetworkImport, NormalPriorities};
pub(crate) use neighbor::ttl_min;
pub use neighbor::{
    AddPaths, Family, ListenRange, Neighbor, NextHopMode, PolicyRef, Role, Secret, SessionOptions,
    families_all,
};
pub use neighbor_id::{BGP_PORT, NeighborError, NeighborId, NeighborRef};
pub(crate) use neighbor_id::{alone_at, at_address, called, resolve};

use bgp_proto::{Asn, BgpId};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The AS number of clusters that choose none: Calico's default.
pub const DEFAULT_ASN: Asn = Asn(64512);
/// Default proposed hold time, RFC 4271 §10.
pub const DEFAULT_HOLD_TIME_SECS: u16 = 90;

/// Everything that a speaker is asked to be. One per speaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeakerConfig {
    /// Our AS number.
    pub asn: Asn,
    /// Our BGP Identifier; never zero.
    pub router_id: BgpId,
    /// Present: we are a route reflector of this cluster (RFC 4456 §7).
    pub cluster_id: Option<BgpId>,
    /// Where we accept connections. Empty: we only connect.
    pub listen: Vec<SocketAddr>,
    /// Proposed hold time in seconds for neighbours that name none: 0, or at least 3.
    pub hold_time_secs: u16,
    /// Graceful restart, for all sessions.
    pub graceful_restart: GracefulRestartConfig,
    /// Our own addresses, for "next hop self" in the family that a session's own address is not of.
    /// Empty: the driver takes them from the interface that carries the session.
    pub local_addresses: Vec<IpAddr>,
    /// Configured neighbours by [`Neighbor::id`].
    pub neighbors: BTreeMap<NeighborId, Neighbor>,
    /// Who may connect without being listed. The longest matching prefix wins.
    pub listen_ranges: Vec<ListenRange>,
    /// What we originate, by prefix.
    pub announcements: BTreeMap<IpNet, Announcement>,
    /// Filters by name, for [`PolicyRef::Filters`].
    pub filters: BTreeMap<String, Arc<Filter>>,
    /// Which routes go to the kernel, where there is one.
    pub fib_rules: FibRules,
    /// Present: routes of other programs are taken from the kernel. Needs feature `fib`.
    pub kernel_import: Option<KernelImport>,
    /// Those of [`SpeakerConfig::neighbors`] that stay only until others have taken their place. Nobody connects to them
    /// any more; and when one of them removes this speaker too (Cease, Peer De-configured), its routes stay nevertheless,
    /// as if it had restarted, until it is removed here or its restart time is over.
    pub leaving: BTreeSet<NeighborId>,
}

/// RFC 4724 as both parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GracefulRestartConfig {
    /// Announce the capability, and keep a restarting neighbour's routes.
    pub enabled: bool,
    /// How long neighbours keep our routes while we are away; at most 4095 s (12 bits on the wire).
    pub restart_time: Duration,
    /// How long a restarted speaker waits for the End-of-RIB of its neighbours before it selects
    /// routes with what it has (RFC 4724 §4.1, Selection_Deferral_Timer).
    pub selection_deferral: Duration,
}

impl Default for GracefulRestartConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            restart_time: Duration::from_secs(120),
            selection_deferral: Duration::from_secs(60),
        }
    }
}

impl SpeakerConfig {
    /// A speaker of AS 64512 with this identifier that listens nowhere and knows nobody.
    pub fn new(router_id: Ipv4Addr) -> Self {
        Self {
            asn: DEFAULT_ASN,
            router_id: BgpId::from(router_id),
            cluster_id: None,
            listen: Vec::new(),
            hold_time_secs: DEFAULT_HOLD_TIME_SECS,
            graceful_restart: GracefulRestartConfig::default(),
            local_addresses: Vec::new(),
            neighbors: BTreeMap::new(),
            listen_ranges: Vec::new(),
            announcements: BTreeMap::new(),
            filters: BTreeMap::new(),
            fib_rules: FibRules::default(),
            kernel_import: None,
            leaving: BTreeSet::new(),
        }
    }

    /// What is wrong with this configuration, all of it, or an empty list.
    pub fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        if self.asn.0 == 0 {
            problems.push(ConfigError::AsZero { field: "asn".to_owned() });
        }
        if self.router_id.0 == 0 {
            problems.push(ConfigError::RouterIdZero);
        }
        if matches!(self.hold_time_secs, 1 | 2) {
            problems.push(ConfigError::HoldTime { field: "hold_time".to_owned(), secs: self.hold_time_secs });
        }
        for (id, neighbor) in &self.neighbors {
            let name = format!("neighbors.{}", called(&self.neighbors, *id));
            if *id != neighbor.id() {
                problems.push(ConfigError::NeighborUnderOtherKey { field: name.clone(), id: neighbor.id() });
            }
            if self.listen.iter().any(|l| l.ip() == neighbor.address && l.port() == neighbor.port) {
                problems.push(ConfigError::NeighborIsSelf { field: name.clone() });
            }
            // The kernel looks a key up by the address alone, before it knows the port.
            let mut others = at_address(&self.neighbors, id.address).map(|(_, other)| other);
            if others.next().is_some_and(|first| first.options.password != neighbor.options.password) {
                problems.push(ConfigError::PasswordsDiffer { field: format!("{name}.password") });
            }
            self.check_session(&name, &neighbor.options, &mut problems);
        }
        for prefix in self.announcements.keys().filter(|prefix| prefix.trunc() != **prefix) {
            problems
                .push(ConfigError::HostBits { field: format!("announce.{prefix}"), network: prefix.trunc() });
        }
        for (name, filter) in &self.filters {
            problems.extend(filter.problems().map(|(rule, problem)| ConfigError::FilterRule {
                field: format!("filters.{name}.rules[{rule}]"),
                problem,
            }));
        }
        #[cfg(not(feature = "fib"))]
        if self.kernel_import.is_some() {
            problems.push(ConfigError::NoKernelImport);
        }
        for (pool, rule) in &self.fib_rules.pools {
            if let Some(device) = rule.device.as_ref().filter(|name| !fib_rules::is_device_name(name)) {
                let field = format!("fib.pools.{pool}.device");
                problems.push(ConfigError::DeviceName { field, device: device.clone() });
            }
        }
        for range in &self.listen_ranges {
            self.check_session(&format!("listen_ranges.{}", range.prefix), &range.options, &mut problems);
        }
        problems
    }

    fn check_session(&self, name: &str, options: &SessionOptions, problems: &mut Vec<ConfigError>) {
        if options.remote_as == Some(Asn(0)) {
            problems.push(ConfigError::AsZero { field: format!("{name}.remote_as") });
        }
        if let Some(secs @ (1 | 2)) = options.hold_time_secs {
            problems.push(ConfigError::HoldTime { field: format!("{name}.hold_time"), secs });
        }
        if options.role == Role::Client && self.cluster_id.is_none() {
            problems.push(ConfigError::ClientWithoutReflector { field: format!("{name}.role") });
        }
        if options.role == Role::Client && self.remote_as(options) != self.local_as(options) {
            problems.push(ConfigError::ClientOfOtherAs { field: format!("{name}.role") });
        }
        if options.password.as_ref().is_some_and(|p| !(1..=Secret::BYTES_MAX).contains(&p.expose().len())) {
            problems.push(ConfigError::PasswordLength { field: format!("{name}.password") });
        }
        if options.families.is_empty() {
            problems.push(ConfigError::NoFamilies { field: format!("{name}.families") });
        }
        for (key, policy) in [("import", &options.import), ("export", &options.export)] {
            for filter in policy.filters() {
                let field = || format!("{name}.{key}");
                match self.filters.get(filter) {
                    None => {
                        problems.push(ConfigError::UnknownFilter { field: field(), filter: filter.clone() })
                    }
                    Some(known) if key == "import" && known.sets_export_next_hop() => {
                        problems.push(ConfigError::ExportFilter { field: field(), filter: filter.clone() });
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// Our AS on a session.
    pub fn local_as(&self, options: &SessionOptions) -> Asn {
        options.local_as.unwrap_or(self.asn)
    }

    /// How long a neighbour keeps our routes while we are away.
    pub fn restart_time(&self, options: &SessionOptions) -> Duration {
        let own = options.restart_time_secs.map(|secs| Duration::from_secs(secs.into()));
        own.unwrap_or(self.graceful_restart.restart_time)
    }

    /// The remote AS of a session: what it names, else our own (iBGP).
    pub fn remote_as(&self, options: &SessionOptions) -> Asn {
        options.remote_as.unwrap_or(self.asn)
    }
}

/// A value of the desired state that cannot be meant. The operator, or the agent's author, is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// AS 0 is reserved (RFC 7607).
    #[error("{field}: AS 0 is reserved; use a number from 1 to 4294967295")]
    AsZero {
        /// The key.
        field: String,
    },
    /// The identifier must be unique in the AS and not zero (RFC 6286).
    #[error("router_id: 0.0.0.0 is not an identifier; use one of this node's IPv4 addresses")]
    RouterIdZero,
    /// RFC 4271 §4.2.
    #[error("{field}: {secs} s is not allowed; use 0 (no hold timer) or at least 3")]
    HoldTime {
        /// The key.
        field: String,
        /// The value.
        secs: u16,
    },
    /// The neighbour's address and port are our own.
    #[error("{field}: this is our own listen address")]
    NeighborIsSelf {
        /// The key.
        field: String,
    },
    /// The key in the map says something else than the value. The agent's author is at fault.
    #[error("{field}: the neighbour under this key is {id}; use its id() as the key")]
    NeighborUnderOtherKey {
        /// The key.
        field: String,
        /// What the key should be.
        id: NeighborId,
    },
    /// Neighbours at one address cannot have passwords of their own.
    #[error(
        "{field}: neighbours with one address need one password, since TCP MD5 knows them by address only"
    )]
    PasswordsDiffer {
        /// The key.
        field: String,
    },
    /// A client needs a reflector.
    #[error("{field}: \"client\" needs a [reflector] section (a cluster id)")]
    ClientWithoutReflector {
        /// The key.
        field: String,
    },
    /// Reflection is an iBGP matter.
    #[error("{field}: \"client\" is for neighbours of our own AS only")]
    ClientOfOtherAs {
        /// The key.
        field: String,
    },
    /// What TCP MD5 takes.
    #[error("{field}: a TCP MD5 password has 1 to {} bytes", Secret::BYTES_MAX)]
    PasswordLength {
        /// The key.
        field: String,
    },
    /// Host bits are set.
    #[error("{field}: host bits are set; write {network}")]
    HostBits {
        /// The key.
        field: String,
        /// The prefix that is meant.
        network: IpNet,
    },
    /// What the kernel has for names.
    #[error("{field}: {device:?} cannot be the name of a network interface")]
    DeviceName {
        /// The key.
        field: String,
        /// The name that was used.
        device: String,
    },
    /// The crate was built without what reads the kernel.
    #[cfg(not(feature = "fib"))]
    #[error(
        "kernel_import: this build cannot read the kernel's routes; build bgp-speaker with feature \"fib\""
    )]
    NoKernelImport,
    /// Nothing could be exchanged.
    #[error("{field}: name at least one of \"ipv4-unicast\", \"ipv6-unicast\"")]
    NoFamilies {
        /// The key.
        field: String,
    },
    /// A policy that is not defined.
    #[error("{field}: there is no filter {filter:?}; define it, or use \"accept\" or \"reject\"")]
    UnknownFilter {
        /// The key.
        field: String,
        /// The name that was used.
        filter: String,
    },
    /// Next hop self, or unchanged, on the way in.
    #[error(
        "{field}: filter {filter:?} sets a next hop of \"self\" or \"unchanged\", which only \"export\" can do"
    )]
    ExportFilter {
        /// The key.
        field: String,
        /// The filter.
        filter: String,
    },
    /// A rule that makes no sense.
    #[error("{field}: {problem}")]
    FilterRule {
        /// The rule.
        field: String,
        /// What is wrong.
        problem: &'static str,
    },
}
