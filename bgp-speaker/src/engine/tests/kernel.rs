//! Routes of other programs: what they become, how they rank, whom they are told.

use super::filters::filter;
use super::*;
use crate::config::filter::{Condition, RouteSource, Rule, Then, local_pref_of_priority};
use crate::config::{KernelImport, NetworkImport, NormalPriorities};
use crate::engine::{BestRoute, KernelChange, KernelRoute};
use std::collections::BTreeMap;

const POD: &str = "10.244.7.1/32";

/// A workload's route, as an agent writes it.
fn dev(interface: &str, metric: u32) -> KernelRoute {
    let interface = Some(interface.into());
    KernelRoute { interface, gateway: None, metric, protocol: 3, is_blackhole: false }
}

fn via(gateway: &str) -> KernelRoute {
    KernelRoute { gateway: gateway.parse().ok(), ..dev("eth0", 0) }
}

fn set(text: &str, route: KernelRoute) -> KernelChange {
    KernelChange::Route(prefix(text), Some(route))
}

fn gone(text: &str) -> KernelChange {
    KernelChange::Route(prefix(text), None)
}

fn network_on(text: &str, interface: &str) -> KernelChange {
    KernelChange::Network(prefix(text), Some(interface.into()))
}

fn tell(network: &mut Network, at: NodeId, changes: &[KernelChange]) {
    network.with_engine(at, |_, engine| engine.kernel_changed(changes.to_vec(), false));
}

/// As Calico's nodes have it.
fn by_priority() -> KernelImport {
    KernelImport { priorities: Some(NormalPriorities { ipv4: 1024, ipv6: 1024 }), ..KernelImport::default() }
}

fn importing(config: SpeakerConfig, import: KernelImport) -> SpeakerConfig {
    SpeakerConfig { kernel_import: Some(import), ..config }
}

/// Nodes 1 and 2, of which the first takes what the kernel has.
fn pair(network: &mut Network, import: KernelImport) -> [NodeId; 2] {
    let first = network.start(importing(SpeakerConfig::numbered(1).ibgp(&[2]), import));
    [first, network.start(SpeakerConfig::numbered(2).ibgp(&[1]))]
}

/// The best paths of a node: from where, by which next hop, with which LOCAL_PREF.
fn table(network: &Network, at: NodeId) -> BTreeMap<String, (String, Option<String>, Option<u32>)> {
    let best = network.best(at).into_iter();
    best.map(|(prefix, route)| (prefix.to_string(), (route.from, route.next_hop, route.local_pref))).collect()
}

fn from_first(local_pref: u32) -> (String, Option<String>, Option<u32>) {
    ("10.0.0.1".to_owned(), Some("10.0.0.1".to_owned()), Some(local_pref))
}

#[test]
fn a_kernel_route_is_announced_changed_and_withdrawn() {
    for seed in 0..10 {
        let mut network = Network::rough(seed);
        let nodes = pair(&mut network, by_priority());
        tell(
            &mut network,
            nodes[0],
            &[set(POD, dev("cali7", 1024)), set("fd00:7::1/128", dev("cali7", 1024))],
        );
        network.converge();
        let normal = from_first(local_pref_of_priority(1024));
        assert_eq!(table(&network, nodes[1])[POD], normal);
        assert_eq!(network.best(nodes[1])[&prefix("fd00:7::1/128")].next_hop.as_deref(), Some("fd00::1"));
        tell(&mut network, nodes[0], &[set(POD, dev("cali7", 512))]);
        network.converge();
        assert_eq!(table(&network, nodes[1])[POD], from_first(local_pref_of_priority(512)));
        tell(&mut network, nodes[0], &[gone(POD), gone("fd00:7::1/128")]);
        network.converge();
        assert_eq!(table(&network, nodes[1]), BTreeMap::new());
        network.engine(nodes[0]).audit().expect("all counts are true");
    }
}

#[test]
fn a_gateway_is_the_next_hop_inside_the_as_and_not_beyond() {
    let mut network = Network::new(1);
    let config = SpeakerConfig::numbered(1).ibgp(&[2]).ebgp(3, 65003);
    let first = network.start(importing(config, KernelImport::default()));
    let inside = network.start(SpeakerConfig::numbered(2).ibgp(&[1]));
    let outside = network.start(SpeakerConfig::numbered(3).in_as(65003).ebgp(1, 64512));
    let routes = [
        set("10.1.0.0/16", via("10.0.0.9")),
        set("10.2.0.0/16", via("fd00::9")),
        set("fd02::/64", via("fe80::9")),
        set("10.3.0.0/16", KernelRoute { is_blackhole: true, interface: None, ..dev("", 0) }),
    ];
    tell(&mut network, first, &routes);
    network.converge();
    let hops = |at| network.best(at).into_values().map(|route| route.next_hop.unwrap_or_default()).collect();
    let inside: Vec<String> = hops(inside);
    assert_eq!(inside, ["10.0.0.9", "10.0.0.1", "10.0.0.1", "fd00::1"]);
    let outside: Vec<String> = hops(outside);
    assert_eq!(outside, ["10.0.0.1", "10.0.0.1", "10.0.0.1", "fd00::1"]);
    assert_eq!(network.best(first)[&prefix("10.1.0.0/16")].local_pref, None);
}

#[test]
fn neighbours_and_announcements_are_preferred_to_the_kernel_unless_it_is_elevated() {
    let mut network = Network::new(1);
    let first = SpeakerConfig::numbered(1).ibgp(&[2]).announces(&["10.244.7.9/32"]);
    let first = network.start(importing(first, by_priority()));
    let priority = |config: SpeakerConfig, priority| {
        let mut config = config.announces(&[POD]);
        let announcement = config.announcements.values_mut().next().expect("one");
        announcement.local_pref = Some(local_pref_of_priority(priority));
        config
    };
    let second = network.start(priority(SpeakerConfig::numbered(2).ibgp(&[1]), 1024));
    let best_from = |network: &Network, text: &str| network.best(first)[&prefix(text)].from.clone();
    tell(&mut network, first, &[set(POD, dev("cali7", 1024)), set("10.244.7.9/32", dev("cali8", 512))]);
    network.converge();
    assert_eq!(best_from(&network, POD), "10.0.0.2");
    assert_eq!(best_from(&network, "10.244.7.9/32"), "local");
    // A workload arrives here while its old node still announces it.
    tell(&mut network, first, &[set(POD, dev("cali7", 512))]);
    network.converge();
    assert_eq!(best_from(&network, POD), "kernel");
    assert_eq!(network.received(second, first)[&prefix(POD)].local_pref, Some(local_pref_of_priority(512)));
    // It moves on, and both say so.
    network.apply(second, |config| *config = priority(config.clone(), 512));
    network.converge();
    assert_eq!(best_from(&network, POD), "10.0.0.2");
    let why = network.engine(first).explain(prefix(POD), None).expect("no neighbour is named");
    let because: Vec<&str> = why.paths.iter().map(|path| path.because.as_str()).collect();
    assert!(because[1].starts_with("lost by LOCAL_PREF"), "{because:?}");
    assert_eq!(why.paths[1].route.source(), "kernel, dev cali7, metric 512");
    tell(&mut network, first, &[set(POD, dev("cali7", 256))]);
    network.converge();
    assert_eq!(best_from(&network, POD), "kernel");
    network.apply(first, |config| config.kernel_import = Some(KernelImport::default()));
    network.converge();
    assert_eq!(best_from(&network, POD), "10.0.0.2", "without priorities nothing is elevated");
}

#[test]
fn networks_of_interfaces_are_preferred_to_all_and_some_interfaces_are_ignored() {
    let mut network = Network::new(1);
    let ignored_interfaces = vec!["cali*".parse().expect("a pattern")];
    let import =
        KernelImport { networks: Some(NetworkImport { ignored_interfaces }), ..KernelImport::default() };
    let [first, second] = pair(&mut network, import);
    network.apply(second, |config| *config = config.clone().announces(&["10.0.9.0/24"]));
    tell(&mut network, first, &[network_on("10.0.9.0/24", "eth0"), network_on("10.0.8.0/24", "cali1")]);
    network.converge();
    let why = network.engine(first).explain(prefix("10.0.9.0/24"), None).expect("no neighbour is named");
    let sources: Vec<String> = why.paths.iter().map(|path| path.route.source()).collect();
    assert_eq!(sources, ["kernel, network of an interface, dev eth0", "10.0.0.2"]);
    assert_eq!(network.best(first).len(), 1);
    // The same network by another interface.
    tell(&mut network, first, &[network_on("10.0.9.0/24", "cali2")]);
    network.converge();
    assert_eq!(network.best(first)[&prefix("10.0.9.0/24")].from, "10.0.0.2");
    network.apply(first, |config| {
        let networks = config.kernel_import.as_mut().and_then(|import| import.networks.as_mut());
        networks.expect("taken").ignored_interfaces.clear();
    });
    network.converge();
    assert_eq!(network.received(second, first).len(), 2);
}

#[test]
fn filters_see_the_interface_and_its_change() {
    let mut network = Network::new(1);
    let [first, second] = pair(&mut network, KernelImport::default());
    let tunnels = Condition::Interface(vec!["*.cali".parse().expect("a pattern")]);
    network.apply(first, |config| {
        *config = config.clone().announces(&["10.3.0.0/24"]);
        let rules = [
            Rule::new(Then::Reject).when(tunnels),
            Rule::new(Then::Reject).when(Condition::Source(RouteSource::Local)),
        ];
        config.filters.insert("out".to_owned(), filter(rules).into());
        let neighbor = config.neighbors.values_mut().next().expect("one");
        neighbor.options.export = PolicyRef::Filters(vec!["out".to_owned()]);
    });
    let routes: Vec<KernelChange> =
        (0..20).map(|i| set(&format!("10.244.{i}.1/32"), dev("vxlan.cali", 0))).collect();
    tell(&mut network, first, &routes);
    tell(&mut network, first, &[set(POD, dev("cali7", 0))]);
    network.converge();
    assert_eq!(network.received(second, first).len(), 1, "{:?}", network.received(second, first).keys());
    // Nothing else changes than the way out.
    let routes: Vec<KernelChange> =
        (0..20).map(|i| set(&format!("10.244.{i}.1/32"), dev("cali9", 0))).collect();
    tell(&mut network, first, &routes);
    tell(&mut network, first, &[set(POD, dev("x.cali", 0))]);
    network.converge();
    assert_eq!(network.received(second, first).len(), 19);
    assert!(!network.received(second, first).contains_key(&prefix(POD)));
}

#[test]
fn an_announcement_that_yields_stands_back_for_good_once_the_kernel_has_had_a_route() {
    let mut network = Network::new(1);
    let [first, second] = pair(&mut network, by_priority());
    let announce = |config: &mut SpeakerConfig| {
        let mut announcement = Announcement::route(prefix(POD));
        announcement.yields_to_kernel = true;
        announcement.local_pref = Some(7);
        config.announcements.insert(announcement.prefix, announcement);
    };
    let heard =
        |network: &Network| network.received(second, first).get(&prefix(POD)).and_then(|r| r.local_pref);
    network.apply(first, announce);
    network.converge();
    assert_eq!(heard(&network), Some(7), "nobody else does it");
    tell(&mut network, first, &[set(POD, dev("cali7", 512))]);
    network.converge();
    assert_eq!(heard(&network), Some(local_pref_of_priority(512)));
    assert_eq!(network.engine(first).explain(prefix(POD), None).expect("told").paths.len(), 1);
    tell(&mut network, first, &[gone(POD)]);
    network.converge();
    assert_eq!(heard(&network), None, "the workload is no more, whatever was announced");
    network.apply(first, |config| config.announcements.clear());
    network.apply(first, announce);
    network.converge();
    assert_eq!(heard(&network), Some(7), "asked for anew");
    // The kernel first, then the announcement; then the kernel is not looked at any more.
    network.apply(first, |config| config.announcements.clear());
    tell(&mut network, first, &[set(POD, dev("cali7", 1024))]);
    network.apply(first, announce);
    network.converge();
    assert_eq!(heard(&network), Some(local_pref_of_priority(1024)));
    network.apply(first, |config| config.kernel_import = None);
    network.with_engine(first, |_, engine| engine.kernel_changed(Vec::new(), true));
    network.converge();
    assert_eq!(heard(&network), Some(7));
    network.engine(first).audit().expect("all counts are true");
}

#[test]
fn a_whole_reading_ends_what_is_not_in_it_and_prefixes_choose() {
    let mut network = Network::new(1);
    let [first, second] = pair(&mut network, KernelImport::default());
    tell(&mut network, first, &[set("10.1.0.0/24", via("10.0.0.9")), set("10.2.0.0/24", via("10.0.0.9"))]);
    tell(&mut network, first, &[network_on("10.0.9.0/24", "eth0")]);
    network.converge();
    network.forget_heard();
    let all = vec![set("10.2.0.0/24", via("10.0.0.9")), set("10.3.0.0/24", via("10.0.0.9"))];
    network.with_engine(first, |_, engine| engine.kernel_changed(all, true));
    network.converge();
    let keys = |network: &Network| -> Vec<String> {
        network.received(second, first).keys().map(ToString::to_string).collect()
    };
    assert_eq!(keys(&network), ["10.2.0.0/24", "10.3.0.0/24"]);
    assert_eq!(withdrawals(&network, second, first), 1);
    network.apply(first, |config| {
        let ranges = ["10.3.0.0/16+".parse().expect("a range")];
        let prefixes = crate::config::filter::PrefixSet::new(ranges);
        config.kernel_import =
            Some(KernelImport { prefixes: Some(prefixes.into()), ..KernelImport::default() });
    });
    network.converge();
    assert_eq!(keys(&network), ["10.3.0.0/24"]);
    network.apply(first, |config| config.kernel_import = None);
    network.converge();
    assert_eq!(keys(&network), [""; 0]);
    network.engine(first).audit().expect("all counts are true");
}

#[test]
fn a_restarted_speaker_waits_for_neighbours_before_it_prefers_the_kernel() {
    let mut network = Network::new(1);
    let [first, second] = pair(&mut network, KernelImport::default());
    network.apply(second, |config| *config = config.clone().announces(&[POD]));
    network.converge();
    network.power_off(second);
    network.kill(first);
    network.revive(first, Revival::Restarting);
    let routes = [set(POD, dev("cali7", 0)), set("10.244.7.2/32", dev("cali8", 0))];
    tell(&mut network, first, &routes);
    let best = |network: &Network| {
        let engine = network.engine(first);
        let ids = engine.best_ids(Family::Ipv4Unicast);
        let best = ids.map(|id| engine.best_route(Family::Ipv4Unicast, id).expect("best"));
        best.collect::<Vec<BestRoute>>()
    };
    assert_eq!(best(&network), []);
    network.run(crate::config::GracefulRestartConfig::default().selection_deferral + SECOND);
    assert_eq!(best(&network), [BestRoute::Kernel, BestRoute::Kernel]);
}

#[test]
fn of_several_paths_the_kernels_is_told_only_if_it_is_the_best() {
    let with_paths = |mut config: SpeakerConfig| {
        config.neighbors.values_mut().for_each(|n| n.options.add_paths = crate::config::AddPaths::Both);
        config
    };
    let mut network = Network::new(1);
    let first = with_paths(SpeakerConfig::numbered(1).reflects(1).clients(&[2, 3]));
    let first = network.start(importing(first, by_priority()));
    let clients = [2, 3].map(|number| network.start(with_paths(SpeakerConfig::numbered(number).ibgp(&[1]))));
    let heard = |network: &Network| -> Vec<Option<u32>> {
        network.received_paths(clients[1], first).values().map(|route| route.local_pref).collect()
    };
    tell(&mut network, first, &[set(POD, dev("cali7", 1024))]);
    network.converge();
    assert_eq!(heard(&network), [Some(local_pref_of_priority(1024))]);
    network.apply(clients[0], |config| *config = config.clone().announces(&[POD]));
    network.converge();
    assert_eq!(heard(&network), [Some(100)]);
    tell(&mut network, first, &[set(POD, dev("cali7", 512))]);
    network.converge();
    assert_eq!(heard(&network).len(), 2, "an elevated route is a path like others");
    tell(&mut network, first, &[set(POD, dev("cali7", 1024))]);
    network.apply(clients[0], |config| config.announcements.clear());
    network.converge();
    assert_eq!(heard(&network), [Some(local_pref_of_priority(1024))]);
    network.engine(first).audit().expect("all counts are true");
}

/// What the kernel, the operator and a neighbour have for one prefix.
#[derive(Clone, Copy, Debug, Default)]
struct Having {
    /// Its metric, and whether it leads into a tunnel.
    kernel: Option<(u32, bool)>,
    is_announced: bool,
    /// With which LOCAL_PREF.
    neighbor: Option<u32>,
}

impl Having {
    /// Where the best path is from.
    fn best(&self) -> Option<&'static str> {
        let priority = |metric| if metric == 0 { 1024 } else { metric };
        let kernel = self.kernel.map(|(metric, _)| priority(metric)).filter(|priority| *priority < 1024);
        match (self.neighbor, kernel) {
            _ if self.is_announced => Some("local"),
            (Some(local_pref), Some(elevated)) if local_pref_of_priority(elevated) > local_pref => {
                Some("kernel")
            }
            (Some(_), _) => Some("10.0.0.2"),
            (None, _) => self.kernel.map(|_| "kernel"),
        }
    }

    /// Is the reflector's other client told? Routes into tunnels are kept from it.
    fn is_told(&self) -> bool {
        match self.best() {
            Some("kernel") => self.kernel.is_some_and(|(_, is_tunnel)| !is_tunnel),
            best => best.is_some(),
        }
    }
}

#[test]
fn whatever_comes_and_goes_the_best_is_told() {
    let prefixes = ["10.244.7.1/32", "10.244.7.2/32", "fd00:7::1/128"];
    for seed in 0..40 {
        let mut network = Network::rough(seed);
        let [first, second, third] = star(&mut network, 3)[..] else { unreachable!("three were asked for") };
        network.apply(first, |config| {
            config.kernel_import = Some(by_priority());
            let tunnels = Condition::Interface(vec!["*.cali".parse().expect("a pattern")]);
            config.filters.insert("out".to_owned(), filter([Rule::new(Then::Reject).when(tunnels)]).into());
            for neighbor in config.neighbors.values_mut() {
                neighbor.options.export = PolicyRef::Filters(vec!["out".to_owned()]);
            }
        });
        let mut having = [Having::default(); 3];
        for _ in 0..12 {
            for _ in 0..=network.dice.below(4) {
                let which = network.dice.below(3);
                let (text, one) = (prefixes[which], &mut having[which]);
                match network.dice.below(6) {
                    0 => {
                        one.is_announced = !one.is_announced;
                        let is_announced = one.is_announced;
                        network.apply(first, |config| {
                            _ = config.announcements.remove(&prefix(text));
                            if is_announced {
                                *config = config.clone().announces(&[text]);
                            }
                        });
                    }
                    1 => {
                        let preferences = [None, Some(100), Some(2_147_482_623), Some(2_147_483_135)];
                        one.neighbor = preferences[network.dice.below(4)];
                        let local_pref = one.neighbor;
                        network.apply(second, |config| {
                            _ = config.announcements.remove(&prefix(text));
                            if local_pref.is_some() {
                                let announcement =
                                    Announcement { local_pref, ..Announcement::route(prefix(text)) };
                                config.announcements.insert(announcement.prefix, announcement);
                            }
                        });
                    }
                    2 => {
                        one.kernel = None;
                        tell(&mut network, first, &[gone(text)]);
                    }
                    _ => {
                        let metric = [0, 256, 512, 1024, 2000][network.dice.below(5)];
                        let is_tunnel = network.dice.percent(30);
                        one.kernel = Some((metric, is_tunnel));
                        let device = if is_tunnel { "x.cali" } else { "cali1" };
                        tell(&mut network, first, &[set(text, dev(device, metric))]);
                    }
                }
            }
            network.converge();
            for (text, one) in prefixes.iter().zip(&having) {
                let best = network.best(first).get(&prefix(text)).map(|route| route.from.clone());
                assert_eq!(best.as_deref(), one.best(), "seed {seed}: {text} {one:?}");
                let is_told = network.received(third, first).contains_key(&prefix(text));
                assert_eq!(is_told, one.is_told(), "seed {seed}: {text} {one:?}");
            }
            network.engine(first).audit().expect("all counts are true");
        }
    }
}
