//! From changes of the Loc-RIB and of the rules to changes of the kernel's routes.

use super::pools::{Pools, RuleId};
use crate::config::{AnnouncementKind, FibRules};
use crate::speaker::RouteChange;
use bgp_proto::NextHop;
use fib_sync::{Change, NextHopSet, Route};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// What a change asks of the kernel, by the rules that are in force.
#[derive(Debug, Default)]
pub(super) struct Translator {
    rules: Arc<FibRules>,
    /// Those of `rules`.
    pools: Pools,
    /// The next hop set made last, and for what. Routes come by the thousand over one next hop, and share one set.
    latest: Option<(IpAddr, RuleId, NextHopSet)>,
}

impl Translator {
    /// Takes other rules, and says what becomes of routes to neighbours. Other routes are to be told again.
    pub(super) fn follow(&mut self, rules: &Arc<FibRules>) -> Vec<Change> {
        if Arc::ptr_eq(&self.rules, rules) {
            return Vec::new();
        }
        let old = std::mem::replace(&mut self.rules, rules.clone());
        (self.pools, self.latest) = (Pools::new(rules), None);
        let gone = old.host_routes.keys().filter(|prefix| !rules.host_routes.contains_key(*prefix));
        let mut changes: Vec<Change> = gone.copied().map(Change::Remove).collect();
        let is_new = |(prefix, via): &(&IpNet, &IpAddr)| {
            old.metrics != rules.metrics || old.host_routes.get(*prefix) != Some(*via)
        };
        let new = rules.host_routes.iter().filter(is_new);
        let metric = rules.metrics.own();
        changes.extend(new.map(|(prefix, via)| Change::Set(Route { metric, ..Route::via(*prefix, *via) })));
        changes
    }

    /// What a change of the Loc-RIB asks for, if anything.
    pub(super) fn desired(&mut self, change: RouteChange) -> Option<Change> {
        let (RouteChange::Kernel { prefix }
        | RouteChange::Local { prefix, .. }
        | RouteChange::Learned { prefix, .. }
        | RouteChange::Withdrawn { prefix }) = change
        else {
            return None;
        };
        // The way to a neighbour is not for the neighbours to say.
        if self.rules.host_routes.contains_key(&prefix) {
            return None;
        }
        let route = match change {
            RouteChange::Local { kind: AnnouncementKind::Block, .. } => self.blackhole(prefix),
            RouteChange::Learned { next_hop, equal_next_hops, local_pref, .. } => {
                self.learned(prefix, gateway(next_hop), equal_next_hops, local_pref)
            }
            // What others have there is not ours to write.
            RouteChange::Kernel { .. }
            | RouteChange::Local { .. }
            | RouteChange::Withdrawn { .. }
            | RouteChange::Converged => None,
        };
        Some(route.map_or(Change::Remove(prefix), Change::Set))
    }

    /// The blackhole for our own block, unless such prefixes stay out of the kernel.
    fn blackhole(&self, block: IpNet) -> Option<Route> {
        let is_ours = !self.is_rejected(&block) && self.pools.is_programmed(self.pools.rule(&block));
        is_ours.then(|| Route { metric: self.rules.metrics.own(), ..Route::blackhole(block) })
    }

    /// A learned route by the rule for its prefix, unless it stays out of the kernel. `best` is as BGP says it. Of the
    /// equal ones, those that another program writes routes for are left out.
    fn learned(
        &mut self,
        prefix: IpNet,
        best: IpAddr,
        equal: Vec<NextHop>,
        local_pref: u32,
    ) -> Option<Route> {
        let rule = self.pools.rule(&prefix);
        let is_foreign = |gateway: &IpAddr| self.rules.foreign_next_hops.contains(gateway);
        if self.is_rejected(&prefix) || is_foreign(&best) || !self.pools.is_programmed(rule) {
            return None;
        }
        let mut others: Vec<IpAddr> =
            equal.into_iter().map(gateway).filter(|other| !is_foreign(other)).collect();
        let next_hops = if others.is_empty() {
            self.next_hop(rule, best)?
        } else {
            others.push(best);
            NextHopSet::new(others.into_iter().map(|gateway| self.pools.next_hop(rule, gateway))).ok()?
        };
        let metric = self.rules.metrics.learned(local_pref);
        Some(Route { metric, ..Route::unicast(prefix, next_hops) })
    }

    /// `None` does not happen: one next hop is a set.
    fn next_hop(&mut self, rule: RuleId, gateway: IpAddr) -> Option<NextHopSet> {
        if let Some((latest, for_rule, set)) = &self.latest
            && (*latest, *for_rule) == (gateway, rule)
        {
            return Some(set.clone());
        }
        let set = NextHopSet::new([self.pools.next_hop(rule, gateway)]).ok()?;
        self.latest = Some((gateway, rule, set.clone()));
        Some(set)
    }

    fn is_rejected(&self, prefix: &IpNet) -> bool {
        self.rules.rejected.iter().any(|range| range.contains(prefix))
    }
}

fn gateway(next_hop: NextHop) -> IpAddr {
    match next_hop {
        NextHop::V6WithLinkLocal { global, link_local } if global.is_unspecified() => IpAddr::V6(link_local),
        other => other.addr(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Encapsulation, EncapsulationMode, PoolRule, RouteMetrics};
    use fib_sync::NextHop as Hop;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn learned(prefix: &str, next_hop: [u8; 4]) -> RouteChange {
        let next_hop = NextHop::V4(next_hop.into());
        let from = next_hop.addr();
        RouteChange::Learned {
            prefix: net(prefix),
            next_hop,
            equal_next_hops: Vec::new(),
            from,
            local_pref: 100,
        }
    }

    fn block(prefix: &str) -> RouteChange {
        RouteChange::Local { prefix: net(prefix), kind: AnnouncementKind::Block }
    }

    fn remove(prefix: &str) -> Option<Change> {
        Some(Change::Remove(net(prefix)))
    }

    /// What is asked for when the way to the gateway is for the kernel's own routes to say.
    fn set_recursive(prefix: &str, gateway: [u8; 4]) -> Option<Change> {
        let set = NextHopSet::new([Hop::recursive(gateway.into())]).unwrap();
        Some(Change::Set(Route::unicast(net(prefix), set)))
    }

    /// A route as it is told.
    fn told(change: Option<Change>) -> String {
        match change {
            Some(Change::Set(route)) => route.to_string(),
            other => panic!("no route is set: {other:?}"),
        }
    }

    fn translator(rules: FibRules) -> Translator {
        let mut translator = Translator::default();
        assert_eq!(translator.follow(&Arc::new(rules)), []);
        translator
    }

    fn ipip_across_subnets() -> PoolRule {
        PoolRule {
            encapsulation: Encapsulation::Ipip,
            when: EncapsulationMode::CrossSubnet,
            subnet: Some(net("172.17.8.0/24")),
            ..PoolRule::default()
        }
    }

    #[test]
    fn blocks_are_blackholes_and_plain_routes_stay_out() {
        let prefix = net("10.0.0.0/26");
        let mut translator = Translator::default();
        assert_eq!(translator.desired(block("10.0.0.0/26")), Some(Change::Set(Route::blackhole(prefix))));
        let route = RouteChange::Local { prefix, kind: AnnouncementKind::Route };
        assert_eq!(translator.desired(route), remove("10.0.0.0/26"));
        assert_eq!(translator.desired(RouteChange::Withdrawn { prefix }), remove("10.0.0.0/26"));
        // What others have in the kernel is never written back.
        assert_eq!(translator.desired(RouteChange::Kernel { prefix }), remove("10.0.0.0/26"));
        assert_eq!(translator.desired(RouteChange::Converged), None);
    }

    #[test]
    fn learned_routes_go_the_kernels_way_to_their_next_hop() {
        let mut translator = Translator::default();
        for gateway in [[172, 17, 8, 101], [172, 17, 8, 101], [172, 17, 8, 102]] {
            let change = translator.desired(learned("10.0.0.0/26", gateway));
            assert_eq!(change, set_recursive("10.0.0.0/26", gateway));
        }
    }

    #[test]
    fn the_rules_decide_between_the_tunnel_the_network_and_nothing() {
        let foreign = PoolRule { program: false, ..ipip_across_subnets() };
        let mut translator = translator(FibRules {
            pools: [(net("10.1.0.0/16"), ipip_across_subnets()), (net("10.2.0.0/16"), foreign)].into(),
            ..FibRules::default()
        });
        // Near or far is for the kernel's programmer to see, by the same rule.
        for gateway in [[172, 17, 8, 101], [172, 17, 9, 101]] {
            let expected =
                format!("10.1.0.0/26 via {} tunnel tunl0 outside 172.17.8.0/24", IpAddr::from(gateway));
            assert_eq!(told(translator.desired(learned("10.1.0.0/26", gateway))), expected);
        }
        let near = [172, 17, 8, 101];
        assert_eq!(translator.desired(learned("10.2.0.0/26", near)), remove("10.2.0.0/26"));
        assert_eq!(translator.desired(block("10.2.0.64/26")), remove("10.2.0.64/26"));
        assert_eq!(translator.desired(learned("10.3.0.0/26", near)), set_recursive("10.3.0.0/26", near));
    }

    #[test]
    fn equal_paths_share_packets_except_over_next_hops_that_are_not_ours_to_write() {
        let mut translator =
            translator(FibRules { foreign_next_hops: [[10, 0, 0, 3].into()].into(), ..FibRules::default() });
        let mut shared = |others: &[[u8; 4]]| {
            let mut change = learned("10.1.0.0/26", [10, 0, 0, 2]);
            if let RouteChange::Learned { equal_next_hops, .. } = &mut change {
                equal_next_hops.extend(others.iter().map(|other| NextHop::V4((*other).into())));
            }
            told(translator.desired(change))
        };
        let both =
            "10.1.0.0/26 nexthop via 10.0.0.1 recursive weight 1 nexthop via 10.0.0.2 recursive weight 1";
        assert_eq!(shared(&[[10, 0, 0, 1]]), both);
        assert_eq!(shared(&[[10, 0, 0, 3], [10, 0, 0, 1]]), both);
        assert_eq!(shared(&[[10, 0, 0, 3]]), "10.1.0.0/26 via 10.0.0.2 recursive");
    }

    #[test]
    fn routes_of_two_pools_over_one_next_hop_have_a_way_each() {
        let tunnelled = PoolRule { encapsulation: Encapsulation::Ipip, ..PoolRule::default() };
        let pools = [(net("10.1.0.0/16"), tunnelled)].into();
        let mut translator = translator(FibRules { pools, ..FibRules::default() });
        let gateway = [172, 17, 8, 101];
        assert_eq!(
            translator.desired(learned("10.0.0.0/26", gateway)),
            set_recursive("10.0.0.0/26", gateway)
        );
        let through = translator.desired(learned("10.1.0.0/26", gateway));
        assert_eq!(told(through), "10.1.0.0/26 via 172.17.8.101 tunnel tunl0 always");
    }

    #[test]
    fn what_is_in_no_pool_is_written_and_services_and_foreign_next_hops_are_not() {
        let mut translator = translator(FibRules {
            rejected: [net("10.96.0.0/12")].into(),
            pools: [(net("192.168.0.0/16"), PoolRule::default())].into(),
            foreign_next_hops: ["10.0.0.7".parse().unwrap()].into(),
            ..FibRules::default()
        });
        let near = [10, 0, 0, 2];
        assert_eq!(translator.desired(learned("0.0.0.0/0", near)), set_recursive("0.0.0.0/0", near));
        assert_eq!(translator.desired(learned("10.96.0.1/32", near)), remove("10.96.0.1/32"));
        assert_eq!(translator.desired(block("10.96.0.0/26")), remove("10.96.0.0/26"));
        let foreign = learned("192.168.3.0/26", [10, 0, 0, 7]);
        assert_eq!(translator.desired(foreign), remove("192.168.3.0/26"));
        assert_eq!(
            translator.desired(learned("192.168.3.0/26", near)),
            set_recursive("192.168.3.0/26", near)
        );
    }

    #[test]
    fn a_priority_is_the_metric_of_a_learned_route_and_others_have_none() {
        let rules = |metrics| {
            Arc::new(FibRules {
                host_routes: [(net("10.9.0.1/32"), [10, 0, 0, 1].into())].into(),
                metrics,
                ..FibRules::default()
            })
        };
        let of_priority = |priority: u32| {
            let mut change = learned("10.1.0.0/26", [10, 0, 0, 2]);
            if let RouteChange::Learned { local_pref, .. } = &mut change {
                *local_pref = crate::config::filter::local_pref_of_priority(priority);
            }
            change
        };
        let mut translator = Translator::default();
        let host_routes = translator.follow(&rules(RouteMetrics::Priority));
        assert_eq!(
            host_routes.into_iter().map(|change| told(Some(change))).collect::<Vec<_>>(),
            ["10.9.0.1/32 via 10.0.0.1 metric 0"]
        );
        for (change, expected) in [
            (of_priority(1024), "10.1.0.0/26 via 10.0.0.2 recursive metric 1024"),
            (of_priority(512), "10.1.0.0/26 via 10.0.0.2 recursive metric 512"),
            (learned("10.1.0.0/26", [10, 0, 0, 2]), "10.1.0.0/26 via 10.0.0.2 recursive metric 2147483547"),
            (block("10.2.0.0/26"), "blackhole 10.2.0.0/26 metric 0"),
        ] {
            assert_eq!(told(translator.desired(change)), expected);
        }
        let host_routes = translator.follow(&rules(RouteMetrics::Uniform));
        assert_eq!(told(host_routes.into_iter().next()), "10.9.0.1/32 via 10.0.0.1", "told again");
        assert_eq!(told(translator.desired(block("10.2.0.0/26"))), "blackhole 10.2.0.0/26");
    }

    #[test]
    fn other_rules_make_other_ways_of_the_same_route() {
        let mut translator = Translator::default();
        let (prefix, gateway) = ("10.1.0.0/26", [172, 17, 9, 101]);
        let rules = |rule| {
            let pools = [(net("10.1.0.0/16"), rule)].into();
            Arc::new(FibRules { pools, ..FibRules::default() })
        };
        translator.follow(&rules(ipip_across_subnets()));
        let across = "10.1.0.0/26 via 172.17.9.101 tunnel tunl0 outside 172.17.8.0/24";
        assert_eq!(told(translator.desired(learned(prefix, gateway))), across);
        translator.follow(&rules(PoolRule { when: EncapsulationMode::Always, ..ipip_across_subnets() }));
        let always = "10.1.0.0/26 via 172.17.9.101 tunnel tunl0 always";
        assert_eq!(told(translator.desired(learned(prefix, gateway))), always);
        translator.follow(&rules(PoolRule { program: false, ..ipip_across_subnets() }));
        assert_eq!(translator.desired(learned(prefix, gateway)), remove(prefix));
        translator.follow(&Arc::new(FibRules::default()));
        assert_eq!(translator.desired(learned(prefix, gateway)), set_recursive(prefix, gateway));
    }

    #[test]
    fn routes_to_neighbours_come_and_go_with_the_rules_and_nobody_else_sets_them() {
        let rules = |via: &[(&str, [u8; 4])]| {
            let host_routes = via.iter().map(|(prefix, via)| (net(prefix), (*via).into())).collect();
            Arc::new(FibRules { host_routes, ..FibRules::default() })
        };
        let mut translator = Translator::default();
        let set = |prefix, via: [u8; 4]| Change::Set(Route::via(net(prefix), via.into()));
        let first = rules(&[("10.9.0.1/32", [10, 0, 0, 1]), ("10.9.0.2/32", [10, 0, 0, 1])]);
        let both = [set("10.9.0.1/32", [10, 0, 0, 1]), set("10.9.0.2/32", [10, 0, 0, 1])];
        assert_eq!(translator.follow(&first), both);
        assert_eq!(translator.follow(&first), []);
        assert_eq!(translator.desired(learned("10.9.0.1/32", [10, 0, 0, 7])), None);
        assert_eq!(translator.desired(RouteChange::Withdrawn { prefix: net("10.9.0.1/32") }), None);
        let second = rules(&[("10.9.0.2/32", [10, 0, 0, 2])]);
        let changes = [Change::Remove(net("10.9.0.1/32")), set("10.9.0.2/32", [10, 0, 0, 2])];
        assert_eq!(translator.follow(&second), changes);
        let change = translator.desired(learned("10.9.0.1/32", [10, 0, 0, 7]));
        assert_eq!(change, set_recursive("10.9.0.1/32", [10, 0, 0, 7]));
    }
}
