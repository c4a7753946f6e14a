//! Rules by destination: which prefixes get into the kernel, and through which tunnel their next hops are reached.

use crate::config::{self, FibRules};
use fib_sync::{InterfaceName, NextHop, Reach, Tunnel, TunnelWhen};
use ipnet::IpNet;
use std::net::IpAddr;

/// How routes to the prefixes in one network get into the kernel. Prefixes in no pool get there directly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FibPool {
    /// The network. Of pools that hold a prefix the longest counts.
    pub prefix: IpNet,
    /// Whether routes in it, and blackholes for own blocks in it, are written at all: somebody else may do that.
    pub program: bool,
    /// The tunnel to their next hops.
    pub encapsulation: Encapsulation,
    /// Which next hops the tunnel is for.
    pub when: EncapsulationWhen,
    /// The tunnel's device; `None`: that of [`Encapsulation::default_device`].
    pub device: Option<InterfaceName>,
    /// This node's own subnet; `None`: the networks that its interfaces are in.
    pub subnet: Option<IpNet>,
}

/// A kind of tunnel. For the kernel they differ in the device alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encapsulation {
    /// IP in IP.
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

/// When a pool's tunnel is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncapsulationWhen {
    /// For every next hop.
    #[default]
    Always,
    /// For next hops outside this node's own subnet.
    CrossSubnet,
}

impl EncapsulationWhen {
    /// As in the configuration file and in plans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::CrossSubnet => "cross-subnet",
        }
    }
}

impl FibPool {
    /// A pool whose routes are written without any tunnel.
    pub fn new(prefix: IpNet) -> Self {
        Self {
            prefix,
            program: true,
            encapsulation: Encapsulation::None,
            when: EncapsulationWhen::Always,
            device: None,
            subnet: None,
        }
    }

    fn tunnel(&self) -> Option<Tunnel> {
        let default = self.encapsulation.default_device()?;
        let device = self.device.clone().or_else(|| InterfaceName::new(default).ok())?;
        let when = match (self.when, self.subnet) {
            (EncapsulationWhen::Always, _) => TunnelWhen::Always,
            (EncapsulationWhen::CrossSubnet, Some(subnet)) => TunnelWhen::Outside(subnet),
            (EncapsulationWhen::CrossSubnet, None) => TunnelWhen::CrossSubnet,
        };
        Some(Tunnel { device, when })
    }
}

/// The pools of a cluster's rules. VXLAN is another program's affair there.
pub(super) fn of_rules(rules: &FibRules) -> impl Iterator<Item = FibPool> + '_ {
    rules.pools.iter().map(|(prefix, rule)| FibPool {
        prefix: *prefix,
        program: rule.program && rule.encapsulation != config::Encapsulation::Vxlan,
        encapsulation: match rule.encapsulation {
            config::Encapsulation::Ipip => Encapsulation::Ipip,
            config::Encapsulation::None => Encapsulation::None,
            config::Encapsulation::Vxlan => Encapsulation::Vxlan,
        },
        when: match rule.when {
            config::EncapsulationMode::Always => EncapsulationWhen::Always,
            config::EncapsulationMode::CrossSubnet => EncapsulationWhen::CrossSubnet,
        },
        device: None,
        subnet: rules.own_subnet.map(IpNet::V4),
    })
}

/// All pools, ready to be asked for each route.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    /// Longest prefix first. There are a handful, so the first that fits is found by looking.
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    prefix: IpNet,
    program: bool,
    tunnel: Option<Tunnel>,
}

/// The number of a rule, or that there is none for a prefix.
pub(crate) type RuleId = Option<usize>;

impl Pools {
    pub(crate) fn new(pools: &[FibPool]) -> Self {
        let mut rules: Vec<Rule> = pools
            .iter()
            .map(|pool| Rule { prefix: pool.prefix, program: pool.program, tunnel: pool.tunnel() })
            .collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.prefix.prefix_len()));
        Self { rules }
    }

    /// The rule for a prefix.
    pub(crate) fn rule(&self, prefix: &IpNet) -> RuleId {
        self.rules.iter().position(|rule| rule.prefix.contains(prefix))
    }

    /// Whether what a rule is for gets into the kernel.
    pub(crate) fn is_programmed(&self, rule: RuleId) -> bool {
        self.get(rule).is_none_or(|rule| rule.program)
    }

    /// How a BGP next hop is reached by a rule.
    pub(crate) fn next_hop(&self, rule: RuleId, gateway: IpAddr) -> NextHop {
        match self.get(rule).and_then(|rule| rule.tunnel.clone()) {
            // A link-local address is a neighbour's, whatever the rule.
            _ if is_link_local(gateway) => NextHop::via(gateway),
            Some(tunnel) => NextHop { reach: Reach::Tunnel(tunnel), ..NextHop::via(gateway) },
            None => NextHop::recursive(gateway),
        }
    }

    fn get(&self, rule: RuleId) -> Option<&Rule> {
        rule.and_then(|index| self.rules.get(index))
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_pool_decides_and_prefixes_in_none_are_written_directly() {
        let pools = Pools::new(&[
            FibPool { encapsulation: Encapsulation::Ipip, ..FibPool::new(net("192.168.0.0/16")) },
            FibPool { program: false, ..FibPool::new(net("192.168.4.0/24")) },
        ]);
        let gateway: IpAddr = [10, 0, 9, 6].into();
        let tunnel = Tunnel { device: "tunl0".parse().unwrap(), when: TunnelWhen::Always };
        let rule = pools.rule(&net("192.168.1.0/26"));
        assert!(pools.is_programmed(rule));
        assert_eq!(pools.next_hop(rule, gateway), NextHop::tunnelled(gateway, tunnel));
        assert!(!pools.is_programmed(pools.rule(&net("192.168.4.64/26"))));
        let rule = pools.rule(&net("172.16.0.0/12"));
        assert!(pools.is_programmed(rule));
        assert_eq!(pools.next_hop(rule, gateway), NextHop::recursive(gateway));
        assert_eq!(pools.rule(&net("192.0.0.0/8")), None, "a prefix that holds a pool is in none");
    }

    #[test]
    fn across_subnets_goes_by_the_nodes_own_network_where_that_is_known() {
        let pool = FibPool {
            encapsulation: Encapsulation::Vxlan,
            when: EncapsulationWhen::CrossSubnet,
            ..FibPool::new(net("192.168.0.0/16"))
        };
        assert_eq!(pool.tunnel().unwrap().when, TunnelWhen::CrossSubnet);
        assert_eq!(pool.tunnel().unwrap().device.as_str(), "vxlan.calico");
        let known = FibPool {
            subnet: Some(net("10.0.0.0/24")),
            device: Some("vx0".parse().unwrap()),
            ..pool.clone()
        };
        assert_eq!(known.tunnel().unwrap().when, TunnelWhen::Outside(net("10.0.0.0/24")));
        assert_eq!(known.tunnel().unwrap().device.as_str(), "vx0");
    }

    #[test]
    fn a_link_local_next_hop_is_a_neighbour() {
        let gateway: IpAddr = "fe80::1".parse().unwrap();
        assert_eq!(Pools::default().next_hop(None, gateway), NextHop::via(gateway));
    }
}
