//! Which routes go to the kernel, and how.

use super::filter::PRIORITY_MAX;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU8;

/// A kind of tunnel. For the kernel's routes they differ in the device alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encapsulation {
    /// IP in IP; IPv4 only.
    Ipip,
    /// None: next hops are reached the way that the kernel's own routes say.
    #[default]
    None,
    /// VXLAN. Its neighbour and forwarding entries are somebody else's affair.
    Vxlan,
}

impl Encapsulation {
    /// As in the configuration file and in plans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::None => "none",
            Self::Vxlan => "vxlan",
        }
    }

    /// The device that node agents make for it.
    pub fn default_device(self) -> Option<&'static str> {
        match self {
            Self::Ipip => Some("tunl0"),
            Self::None => None,
            Self::Vxlan => Some("vxlan.calico"),
        }
    }
}

/// For which next hops a pool's tunnel is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncapsulationMode {
    /// For all of them.
    #[default]
    Always,
    /// For those outside this node's own subnet.
    CrossSubnet,
}

impl EncapsulationMode {
    /// As in the configuration file and in plans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::CrossSubnet => "cross-subnet",
        }
    }
}

/// What is done with routes inside a pool of addresses, and with blackholes for our own blocks in it. The default: they
/// are written without any tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRule {
    /// They go to the kernel; otherwise another program writes them.
    pub program: bool,
    /// The tunnel to their next hops.
    pub encapsulation: Encapsulation,
    /// Which next hops the tunnel is for.
    pub when: EncapsulationMode,
    /// The tunnel's device; `None`: that of [`Encapsulation::default_device`].
    pub device: Option<String>,
    /// This node's own subnet; `None`: the networks that its interfaces are in.
    pub subnet: Option<IpNet>,
}

impl Default for PoolRule {
    fn default() -> Self {
        Self {
            program: true,
            encapsulation: Encapsulation::None,
            when: EncapsulationMode::Always,
            device: None,
            subnet: None,
        }
    }
}

/// Where the metrics of the kernel's routes come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouteMetrics {
    /// All have the metric of the FIB.
    #[default]
    Uniform,
    /// A learned route has its priority, which is how Calico's nodes tell each other of metrics: 2147483647 less
    /// LOCAL_PREF, or less the default of 100 where there is none, as on routes of other ASes. What was not learned has
    /// no metric, which for the kernel is 0, and for IPv6 1024.
    Priority,
}

impl RouteMetrics {
    /// Of a learned route with this LOCAL_PREF. `None`: that of the FIB.
    pub fn learned(self, local_pref: u32) -> Option<u32> {
        match self {
            Self::Uniform => None,
            // 0 would be no metric.
            Self::Priority => Some(PRIORITY_MAX.saturating_sub(local_pref).max(1)),
        }
    }

    /// Of a route that was not learned. `None`: that of the FIB.
    pub fn own(self) -> Option<u32> {
        match self {
            Self::Uniform => None,
            Self::Priority => Some(0),
        }
    }
}

/// Which routes go to the kernel. The default: all of them, without a tunnel, over one next hop each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FibRules {
    /// Nothing inside these is written, such as ranges of services.
    pub rejected: BTreeSet<IpNet>,
    /// Pools of addresses. Of those that hold a prefix the longest counts; what is in none of them is written.
    pub pools: BTreeMap<IpNet, PoolRule>,
    /// Neighbours whose routes another program writes, into a table of its own.
    pub foreign_next_hops: BTreeSet<IpAddr>,
    /// Routes to neighbours: prefix and gateway.
    pub host_routes: BTreeMap<IpNet, IpAddr>,
    /// With which metrics.
    pub metrics: RouteMetrics,
    /// How many next hops a learned route may have (multipath, ECMP): of the best path, and of others that lose to it by
    /// a mere tie-breaker, see [`RouteChange::Learned`](crate::RouteChange::Learned). `None`: one, and on Calico nodes
    /// 16.
    pub next_hops_max: Option<NonZeroU8>,
}

impl FibRules {
    /// How many next hops a learned route may have.
    pub fn next_hops_max(&self) -> u8 {
        self.next_hops_max.map_or(1, NonZeroU8::get)
    }

    /// Do routes for a prefix go to the kernel, and the blackhole if it is a block of ours?
    pub fn writes(&self, prefix: &IpNet) -> bool {
        let holding = self.pools.iter().filter(|(pool, _)| pool.contains(prefix));
        let rule = holding.max_by_key(|(pool, _)| pool.prefix_len());
        let is_rejected = self.rejected.iter().any(|range| range.contains(prefix));
        !is_rejected && rule.is_none_or(|(_, rule)| rule.program)
    }
}

/// Can a network interface of Linux have this name? 1 to 15 bytes, no `/`, no `:`, no white space.
pub(super) fn is_device_name(name: &str) -> bool {
    let is_refused = |c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0';
    (1..=15).contains(&name.len()) && name != "." && name != ".." && !name.contains(is_refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_documents() {
        for encapsulation in [Encapsulation::Ipip, Encapsulation::None, Encapsulation::Vxlan] {
            assert_eq!(serde_json::to_value(encapsulation).unwrap(), encapsulation.as_str());
        }
        for when in [EncapsulationMode::Always, EncapsulationMode::CrossSubnet] {
            assert_eq!(serde_json::to_value(when).unwrap(), when.as_str());
        }
    }

    #[test]
    fn the_metric_of_a_learned_route_is_its_priority() {
        for (local_pref, metric) in [
            (2_147_482_623, 1024),
            (2_147_483_135, 512),
            (100, 2_147_483_547),
            (0, 2_147_483_647),
            (PRIORITY_MAX, 1),
            (u32::MAX, 1),
        ] {
            assert_eq!(RouteMetrics::Priority.learned(local_pref), Some(metric));
            assert_eq!(RouteMetrics::Uniform.learned(local_pref), None);
        }
    }

    #[test]
    fn a_device_that_there_cannot_be_is_a_problem() {
        let mut config = crate::config::SpeakerConfig::new([10, 0, 0, 1].into());
        let rule = PoolRule { device: Some("a/b".to_owned()), ..PoolRule::default() };
        config.fib_rules.pools.insert("10.1.0.0/16".parse().unwrap(), rule);
        let problems: Vec<String> = config.problems().iter().map(ToString::to_string).collect();
        let expected = "fib.pools.10.1.0.0/16.device: \"a/b\" cannot be the name of a network interface";
        assert_eq!(problems, [expected]);
    }

    #[cfg(feature = "fib")]
    #[test]
    fn device_names_are_those_that_the_programmer_of_the_kernel_takes() {
        let names = ["tunl0", "vxlan.calico", "", ".", "..", "a/b", "a:b", "a b", "a\0", "123456789012345"];
        for name in
            names.into_iter().chain(["1234567890123456", "\u{e4}bcdefghijklmn", "\u{e4}bcdefghijklmno"])
        {
            assert_eq!(is_device_name(name), fib_sync::InterfaceName::new(name).is_ok(), "{name:?}");
        }
    }
}
