//! Which routes go to the kernel, and how.

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A kind of tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encapsulation {
    /// IP in IP; IPv4 only.
    Ipip,
    /// No tunnel.
    None,
    /// VXLAN.
    Vxlan,
}

/// When packets are encapsulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncapsulationMode {
    /// For every node.
    Always,
    /// For nodes outside our own subnet.
    CrossSubnet,
}

/// What is done with routes inside a pool of addresses, and with blackholes for our own blocks in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolRule {
    /// They go to the kernel; otherwise another program writes them.
    pub program: bool,
    /// The tunnel.
    pub encapsulation: Encapsulation,
    /// When it is used.
    pub when: EncapsulationMode,
}

/// Which routes go to the kernel. The default: all of them, without a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FibRules {
    /// Nothing inside these is written, such as ranges of services.
    pub rejected: BTreeSet<IpNet>,
    /// Pools of addresses. They do not overlap; what is in none of them is written.
    pub pools: BTreeMap<IpNet, PoolRule>,
    /// What "our own subnet" is.
    pub own_subnet: Option<Ipv4Net>,
    /// Neighbours whose routes another program writes, into a table of its own.
    pub foreign_next_hops: BTreeSet<IpAddr>,
    /// Routes to neighbours: prefix and gateway.
    pub host_routes: BTreeMap<IpNet, IpAddr>,
}

/// What is done with one learned route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FibDecision {
    /// It goes to the kernel, through the networks that we are connected to.
    Direct,
    /// It does not go to the kernel.
    Skip,
    /// It goes to the kernel, through the IPIP tunnel to its next hop.
    Tunnel,
}

impl FibRules {
    /// What is done with a learned route. `next_hop` is as BGP says it, not as the kernel resolves it.
    pub fn learned(&self, prefix: IpNet, next_hop: IpAddr) -> FibDecision {
        if self.is_rejected(prefix) || self.foreign_next_hops.contains(&next_hop) {
            return FibDecision::Skip;
        }
        let Some(rule) = self.pool(prefix) else { return FibDecision::Direct };
        let is_near = match next_hop {
            IpAddr::V4(next_hop) => self.own_subnet.is_some_and(|subnet| subnet.contains(&next_hop)),
            IpAddr::V6(_) => false,
        };
        match (rule.program, rule.encapsulation, rule.when) {
            (false, ..) | (_, Encapsulation::Vxlan, _) => FibDecision::Skip,
            (true, Encapsulation::None, _) => FibDecision::Direct,
            (true, Encapsulation::Ipip, EncapsulationMode::CrossSubnet) if is_near => FibDecision::Direct,
            (true, Encapsulation::Ipip, _) => FibDecision::Tunnel,
        }
    }

    /// Does the blackhole of our own block go to the kernel?
    pub fn has_blackhole(&self, block: IpNet) -> bool {
        !self.is_rejected(block) && self.pool(block).is_none_or(|rule| rule.program)
    }

    fn is_rejected(&self, prefix: IpNet) -> bool {
        self.rejected.iter().any(|range| range.contains(&prefix))
    }

    fn pool(&self, prefix: IpNet) -> Option<PoolRule> {
        self.pools.iter().find(|(pool, _)| pool.contains(&prefix)).map(|(_, rule)| *rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn rules(program: bool, encapsulation: Encapsulation, when: EncapsulationMode) -> FibRules {
        let rule = PoolRule { program, encapsulation, when };
        FibRules {
            rejected: [net("10.96.0.0/12")].into(),
            pools: [(net("192.168.0.0/16"), rule)].into(),
            own_subnet: Some("10.0.0.0/24".parse().unwrap()),
            foreign_next_hops: ["10.0.0.7".parse().unwrap()].into(),
            host_routes: BTreeMap::new(),
        }
    }

    #[test]
    fn the_class_of_the_pool_and_the_next_hop_decide() {
        use Encapsulation as E;
        use EncapsulationMode::{Always, CrossSubnet};
        let (near, far) = ("10.0.0.2".parse().unwrap(), "10.0.9.2".parse().unwrap());
        for (program, encapsulation, when, expected_near, expected_far) in [
            (true, E::None, Always, FibDecision::Direct, FibDecision::Direct),
            (true, E::Ipip, Always, FibDecision::Tunnel, FibDecision::Tunnel),
            (true, E::Ipip, CrossSubnet, FibDecision::Direct, FibDecision::Tunnel),
            (true, E::Vxlan, Always, FibDecision::Skip, FibDecision::Skip),
            (false, E::None, Always, FibDecision::Skip, FibDecision::Skip),
            (false, E::Ipip, CrossSubnet, FibDecision::Skip, FibDecision::Skip),
        ] {
            let rules = rules(program, encapsulation, when);
            let block = net("192.168.3.0/26");
            assert_eq!(rules.learned(block, near), expected_near, "{encapsulation:?} {when:?} near");
            assert_eq!(rules.learned(block, far), expected_far, "{encapsulation:?} {when:?} far");
            assert_eq!(rules.has_blackhole(block), program);
        }
    }

    #[test]
    fn what_is_in_no_pool_is_written_and_services_and_foreign_next_hops_are_not() {
        let rules = rules(true, Encapsulation::None, EncapsulationMode::Always);
        let near = "10.0.0.2".parse().unwrap();
        assert_eq!(rules.learned(net("0.0.0.0/0"), near), FibDecision::Direct);
        assert_eq!(rules.learned(net("10.96.0.1/32"), near), FibDecision::Skip);
        assert_eq!(rules.learned(net("192.168.3.0/26"), "10.0.0.7".parse().unwrap()), FibDecision::Skip);
        assert_eq!(FibRules::default().learned(net("10.0.0.0/8"), near), FibDecision::Direct);
    }
}
