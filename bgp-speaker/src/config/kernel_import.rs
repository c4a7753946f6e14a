//! Which routes of other programs are taken from the kernel, and what they become.

use super::filter::{NamePattern, PrefixSet, local_pref_of_priority};
use ipnet::IpNet;
use std::fmt;
use std::sync::Arc;

/// Routes that other programs put into the kernel's main table are paths of ours: announced like what is originated here,
/// as far as export policies let them, and never written back.
///
/// A neighbour's path to the same prefix is preferred to one from the kernel, unless [`priorities`](Self::priorities) say
/// otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelImport {
    /// Only these prefixes; `None`: all, the default route too.
    pub prefixes: Option<Arc<PrefixSet>>,
    /// Present: the networks of the interfaces' addresses too. They are preferred to everything else.
    pub networks: Option<NetworkImport>,
    /// Present: metrics are route priorities, and travel as LOCAL_PREF
    /// ([`local_pref_of_priority`]). Absent: routes have no LOCAL_PREF of their own.
    pub priorities: Option<NormalPriorities>,
}

/// Which networks of interfaces are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkImport {
    /// Those of these interfaces are not.
    pub ignored_interfaces: Vec<NamePattern>,
}

/// The metric that means "normal", by family. A route from the kernel with a lower one is elevated: it is compared with
/// the paths of neighbours by LOCAL_PREF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormalPriorities {
    /// For IPv4.
    pub ipv4: u32,
    /// For IPv6.
    pub ipv6: u32,
}

impl NormalPriorities {
    /// Of a prefix's family.
    pub fn of(&self, prefix: &IpNet) -> u32 {
        if prefix.addr().is_ipv4() { self.ipv4 } else { self.ipv6 }
    }
}

impl KernelImport {
    /// Is a route to this prefix taken?
    pub fn takes_route(&self, prefix: &IpNet) -> bool {
        self.prefixes.as_ref().is_none_or(|prefixes| prefixes.contains(prefix))
    }

    /// Is this network of an interface taken?
    pub fn takes_network(&self, prefix: &IpNet, interface: &str) -> bool {
        let is_ignored =
            |networks: &NetworkImport| networks.ignored_interfaces.iter().any(|name| name.fits(interface));
        self.takes_route(prefix) && self.networks.as_ref().is_some_and(|networks| !is_ignored(networks))
    }

    /// The LOCAL_PREF of a route with this metric, 0 being none, and whether it is elevated.
    pub fn local_pref(&self, prefix: &IpNet, metric: u32) -> (Option<u32>, bool) {
        let Some(priorities) = &self.priorities else { return (None, false) };
        let normal = priorities.of(prefix);
        let priority = if metric == 0 { normal } else { metric };
        (Some(local_pref_of_priority(priority)), priority < normal)
    }
}

impl fmt::Display for KernelImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.prefixes {
            None => f.write_str("all prefixes")?,
            Some(prefixes) => {
                let ranges: Vec<String> = prefixes.ranges().iter().map(ToString::to_string).collect();
                write!(f, "{}", ranges.join(" "))?;
            }
        }
        if let Some(networks) = &self.networks {
            f.write_str(", networks of interfaces")?;
            for (index, name) in networks.ignored_interfaces.iter().enumerate() {
                write!(f, "{} {name}", if index == 0 { " but" } else { "," })?;
            }
        }
        match self.priorities {
            Some(NormalPriorities { ipv4, ipv6 }) if ipv4 == ipv6 => write!(f, ", normal priority {ipv4}"),
            Some(NormalPriorities { ipv4, ipv6 }) => write!(f, ", normal priorities {ipv4} and {ipv6}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn metrics_are_priorities_where_that_is_said() {
        let plain = KernelImport::default();
        assert_eq!(plain.local_pref(&net("10.0.0.1/32"), 7), (None, false));
        let priorities = Some(NormalPriorities { ipv4: 1024, ipv6: 2000 });
        let import = KernelImport { priorities, ..plain };
        let table = [
            ("10.0.0.1/32", 1024, 2_147_482_623, false),
            ("10.0.0.1/32", 0, 2_147_482_623, false),
            ("10.0.0.1/32", 512, 2_147_483_135, true),
            ("10.0.0.1/32", 2000, 2_147_481_647, false),
            ("10.0.0.1/32", u32::MAX, 0, false),
            ("fd00::1/128", 1024, 2_147_482_623, true),
            ("fd00::1/128", 2000, 2_147_481_647, false),
        ];
        for (prefix, metric, local_pref, is_elevated) in table {
            let expected = (Some(local_pref), is_elevated);
            assert_eq!(import.local_pref(&net(prefix), metric), expected, "{prefix} {metric}");
        }
    }

    #[test]
    fn what_is_taken_and_how_it_is_told() {
        let ranges = ["10.244.0.0/16+".parse().unwrap()];
        let ignored_interfaces = ["cali*", "lo"].map(|name| name.parse().unwrap()).into();
        let import = KernelImport {
            prefixes: Some(Arc::new(PrefixSet::new(ranges))),
            networks: Some(NetworkImport { ignored_interfaces }),
            priorities: Some(NormalPriorities { ipv4: 1024, ipv6: 1024 }),
        };
        assert!(import.takes_route(&net("10.244.0.1/32")) && !import.takes_route(&net("0.0.0.0/0")));
        assert!(import.takes_network(&net("10.244.0.1/32"), "tunl0"));
        assert!(!import.takes_network(&net("10.244.0.1/32"), "cali7"));
        assert!(!import.takes_network(&net("10.0.0.0/24"), "tunl0"));
        assert!(!KernelImport::default().takes_network(&net("10.0.0.0/24"), "tunl0"));
        let text = "10.244.0.0/16+, networks of interfaces but cali*, lo, normal priority 1024";
        assert_eq!(import.to_string(), text);
        assert_eq!(KernelImport::default().to_string(), "all prefixes");
    }
}
