//! Rules by destination: which prefixes get into the kernel, and through which tunnel their next hops are reached.

use crate::config::{EncapsulationMode, FibRules, PoolRule};
use fib_sync::{InterfaceName, NextHop, Reach, Tunnel, TunnelWhen};
use ipnet::IpNet;
use std::net::IpAddr;

/// The rules of all pools, ready to be asked for each route.
#[derive(Debug, Default)]
pub(super) struct Pools {
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
pub(super) type RuleId = Option<usize>;

impl Pools {
    pub(super) fn new(rules: &FibRules) -> Self {
        let mut rules: Vec<Rule> = rules
            .pools
            .iter()
            .map(|(prefix, rule)| Rule { prefix: *prefix, program: rule.program, tunnel: tunnel(rule) })
            .collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.prefix.prefix_len()));
        Self { rules }
    }

    /// The rule for a prefix.
    pub(super) fn rule(&self, prefix: &IpNet) -> RuleId {
        self.rules.iter().position(|rule| rule.prefix.contains(prefix))
    }

    /// Whether what a rule is for gets into the kernel.
    pub(super) fn is_programmed(&self, rule: RuleId) -> bool {
        self.get(rule).is_none_or(|rule| rule.program)
    }

    /// How a BGP next hop is reached by a rule.
    pub(super) fn next_hop(&self, rule: RuleId, gateway: IpAddr) -> NextHop {
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

/// `None` without encapsulation. A valid configuration names devices that there can be.
fn tunnel(rule: &PoolRule) -> Option<Tunnel> {
    let default = rule.encapsulation.default_device()?;
    let device = InterfaceName::new(rule.device.as_deref().unwrap_or(default)).ok()?;
    let when = match (rule.when, rule.subnet) {
        (EncapsulationMode::Always, _) => TunnelWhen::Always,
        (EncapsulationMode::CrossSubnet, Some(subnet)) => TunnelWhen::Outside(subnet),
        (EncapsulationMode::CrossSubnet, None) => TunnelWhen::CrossSubnet,
    };
    Some(Tunnel { device, when })
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Encapsulation;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn pools<const N: usize>(rules: [(&str, PoolRule); N]) -> Pools {
        let pools = rules.into_iter().map(|(pool, rule)| (net(pool), rule)).collect();
        Pools::new(&FibRules { pools, ..FibRules::default() })
    }

    #[test]
    fn the_longest_pool_decides_and_prefixes_in_none_are_written_directly() {
        let pools = pools([
            ("192.168.0.0/16", PoolRule { encapsulation: Encapsulation::Ipip, ..PoolRule::default() }),
            ("192.168.4.0/24", PoolRule { program: false, ..PoolRule::default() }),
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
    fn the_class_of_the_pool_decides_over_the_way() {
        use Encapsulation as E;
        use EncapsulationMode::{Always, CrossSubnet};
        let subnet = net("10.0.0.0/24");
        for (program, encapsulation, when, expected) in [
            (true, E::None, Always, "via 10.0.9.2 recursive"),
            (true, E::None, CrossSubnet, "via 10.0.9.2 recursive"),
            (true, E::Ipip, Always, "via 10.0.9.2 tunnel tunl0 always"),
            (true, E::Ipip, CrossSubnet, "via 10.0.9.2 tunnel tunl0 outside 10.0.0.0/24"),
            (true, E::Vxlan, Always, "via 10.0.9.2 tunnel vxlan.calico always"),
            (false, E::None, Always, ""),
            (false, E::Ipip, CrossSubnet, ""),
            (false, E::Vxlan, Always, ""),
        ] {
            let rule = PoolRule { program, encapsulation, when, device: None, subnet: Some(subnet) };
            let pools = pools([("192.168.0.0/16", rule)]);
            let rule = pools.rule(&net("192.168.3.0/26"));
            assert_eq!(pools.is_programmed(rule), program);
            if program {
                let next_hop = pools.next_hop(rule, [10, 0, 9, 2].into());
                assert_eq!(next_hop.to_string(), expected, "{encapsulation:?} {when:?}");
            }
        }
    }

    #[test]
    fn across_subnets_goes_by_the_nodes_own_network_where_that_is_known() {
        let rule = PoolRule {
            encapsulation: Encapsulation::Vxlan,
            when: EncapsulationMode::CrossSubnet,
            ..PoolRule::default()
        };
        let unknown = tunnel(&rule).unwrap();
        assert_eq!((unknown.device.as_str(), unknown.when), ("vxlan.calico", TunnelWhen::CrossSubnet));
        let known = PoolRule { subnet: Some(net("10.0.0.0/24")), device: Some("vx0".to_owned()), ..rule };
        let known = tunnel(&known).unwrap();
        assert_eq!((known.device.as_str(), known.when), ("vx0", TunnelWhen::Outside(net("10.0.0.0/24"))));
    }

    #[test]
    fn a_link_local_next_hop_is_a_neighbour() {
        let gateway: IpAddr = "fe80::1".parse().unwrap();
        assert_eq!(Pools::default().next_hop(None, gateway), NextHop::via(gateway));
        let tunnelled = PoolRule { encapsulation: Encapsulation::Vxlan, ..PoolRule::default() };
        let pools = pools([("fd00::/16", tunnelled)]);
        assert_eq!(pools.next_hop(pools.rule(&net("fd00:1::/64")), gateway), NextHop::via(gateway));
    }
}
