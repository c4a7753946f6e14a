//! Filters on running sessions: what passes, what is changed, and what a change of a filter costs.

use super::*;
use crate::config::filter::{
    Action, CommunityValue, Condition, Filter, NextHopChange, PrefixRange, PrefixSet, RouteSource, Rule,
    SessionKind, Then,
};
use bgp_proto::Origin;

fn prefixes(texts: &[&str]) -> PrefixSet {
    texts.iter().map(|text| text.parse::<PrefixRange>().expect("a range")).collect()
}

fn tag(text: &str) -> Action {
    Action::AddCommunities(vec![text.parse::<CommunityValue>().expect("a community")])
}

/// A filter whose rules leave everything else to pass.
pub(super) fn filter(rules: impl IntoIterator<Item = Rule>) -> Filter {
    Filter { rules: rules.into_iter().collect(), default: Then::Accept }
}

pub(super) fn reject(texts: &[&str]) -> Rule {
    Rule::new(Then::Reject).when(Condition::prefix_in(prefixes(texts)))
}

fn define(config: &mut SpeakerConfig, name: &str, filter: Filter) {
    config.filters.insert(name.to_owned(), filter.into());
}

fn named(name: &str) -> PolicyRef {
    PolicyRef::Filters(vec![name.to_owned()])
}

/// A star whose reflector sends its clients what `filter` lets through.
pub(super) fn star_with_export(network: &mut Network, count: u32, filter: Filter) -> Vec<NodeId> {
    let nodes = star(network, count);
    network.apply(nodes[0], |config| {
        define(config, "out", filter);
        config.neighbors.values_mut().for_each(|neighbor| neighbor.options.export = named("out"));
    });
    nodes
}

#[test]
fn an_import_filter_rejects_and_changes() {
    for seed in 0..10 {
        let mut network = Network::rough(seed);
        let nodes = star(&mut network, 3);
        network.apply(nodes[0], |config| {
            define(
                config,
                "in",
                filter([
                    reject(&["192.168.2.0/24"]),
                    Rule::new(Then::Next).change(tag("65000:7")),
                    Rule::new(Then::Accept)
                        .change(Action::SetLocalPref(300))
                        .change(Action::SetMed(Some(9)))
                        .change(Action::Prepend(vec![Asn(65009)]))
                        .change(tag("65000:8")),
                ]),
            );
            let neighbor = config.neighbors.get_mut(&address(2).into()).expect("a neighbour");
            neighbor.options.import = named("in");
        });
        network.converge();
        network.check_model();
        let best = network.best(nodes[2]);
        assert!(!best.contains_key(&prefix(&v4(2))));
        let route = &best[&prefix(&v6(2))];
        assert_eq!(
            (route.local_pref, route.med, route.as_path.as_str(), route.communities.join(" ").as_str()),
            (Some(300), Some(9), "65009", "65000:7 65000:8")
        );
    }
}

#[test]
fn an_import_filter_sets_the_next_hop_of_its_family() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.apply(nodes[0], |config| {
        let change = NextHopChange::Address("10.9.9.9".parse().expect("an address"));
        define(config, "in", filter([Rule::new(Then::Accept).change(Action::SetNextHop(change))]));
        config.neighbors.values_mut().for_each(|neighbor| neighbor.options.import = named("in"));
    });
    network.converge();
    network.check_model();
    let best = network.best(nodes[2]);
    assert_eq!(best[&prefix(&v4(2))].next_hop.as_deref(), Some("10.9.9.9"));
    assert_eq!(best[&prefix(&v6(2))].next_hop.as_deref(), Some("fd00::2"));
}

#[test]
fn an_export_filter_is_asked_about_prefix_neighbour_and_source() {
    for seed in 0..10 {
        let mut network = Network::rough(seed);
        let from_three = vec![ipnet::IpNet::from(address(3))];
        let rules = [
            reject(&["fd01::/16+"]),
            Rule::new(Then::Reject)
                .when(Condition::Neighbor(from_three))
                .when(Condition::Session(SessionKind::Internal)),
            Rule::new(Then::Accept).when(Condition::Source(RouteSource::Local)).change(tag("65000:1")),
            Rule::new(Then::Accept).when(Condition::Source(RouteSource::Peers)).change(tag("65000:2")),
        ];
        let nodes = star_with_export(&mut network, 4, filter(rules));
        network.apply(nodes[0], |config| *config = config.clone().announces(&["10.1.0.0/16"]));
        network.converge();
        network.check_model();
        let best = network.best(nodes[3]);
        let learned: Vec<_> = best.iter().filter(|(_, route)| route.from != "local").collect();
        let learned: Vec<_> =
            learned.iter().map(|(prefix, route)| (prefix.to_string(), route.communities.join(" "))).collect();
        let expected = [("10.1.0.0/16", "65000:1"), ("192.168.2.0/24", "65000:2")];
        assert_eq!(learned, expected.map(|(p, c)| (p.to_owned(), c.to_owned())));
    }
}

#[test]
fn towards_another_as_our_number_comes_first_and_a_med_that_was_set_is_sent() {
    let mut network = Network::new(1);
    let a = network.start(SpeakerConfig::numbered(1).ebgp(2, 65002).ibgp(&[3]));
    let b = network.start(SpeakerConfig::numbered(2).in_as(65002).ebgp(1, 64512));
    let c = network.start(SpeakerConfig::numbered(3).ibgp(&[1]).announces(&["10.3.0.0/16", "10.4.0.0/16"]));
    network.apply(c, |config| config.announcements.values_mut().for_each(|a| a.med = Some(5)));
    network.apply(a, |config| {
        let rule = Rule::new(Then::Accept)
            .when(Condition::prefix_in(prefixes(&["10.3.0.0/16"])))
            .change(Action::Prepend(vec![Asn(65100), Asn(65101)]))
            .change(Action::SetMed(Some(50)))
            .change(Action::SetLocalPref(500))
            .change(Action::SetNextHop(NextHopChange::Unchanged));
        define(config, "out", filter([rule]));
        config.neighbors.get_mut(&address(2).into()).expect("a neighbour").options.export = named("out");
    });
    network.converge();
    network.check_model();
    let best = network.best(b);
    let changed = &best[&prefix("10.3.0.0/16")];
    assert_eq!(
        (changed.as_path.as_str(), changed.med, changed.local_pref, changed.next_hop.as_deref()),
        ("64512 65100 65101", Some(50), None, Some("10.0.0.3"))
    );
    let other = &best[&prefix("10.4.0.0/16")];
    assert_eq!((other.as_path.as_str(), other.med), ("64512", None), "a received MED stays in the AS");
    assert_eq!(other.next_hop.as_deref(), Some("10.0.0.1"));
}

#[test]
fn routes_that_fare_alike_share_one_message() {
    let mut network = Network::new(1);
    let texts: Vec<String> = (0..100).map(|i| format!("10.7.{i}.0/24")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let odd: Vec<&str> = texts.iter().copied().skip(1).step_by(2).collect();
    let rule = Rule::new(Then::Accept).when(Condition::prefix_in(prefixes(&odd))).change(tag("65000:1"));
    let nodes = star_with_export(&mut network, 3, filter([rule]));
    network.converge();
    network.forget_heard();
    network.apply(nodes[1], |config| *config = config.clone().announces(&texts));
    network.converge();
    network.check_model();
    assert_eq!(
        updates(&network, nodes[2], nodes[0]),
        2,
        "one for those that are changed, one for the others"
    );
}

#[test]
fn a_changed_export_filter_costs_only_what_it_changes() {
    for seed in 0..10 {
        let mut network = Network::rough(seed);
        let nodes = star_with_export(&mut network, 4, filter([reject(&["192.168.2.0/24"])]));
        network.converge();
        let sessions = session_count(&network, nodes[0], nodes[1]);
        network.forget_heard();
        network.apply(nodes[0], |config| {
            let retag = Rule::new(Then::Accept)
                .when(Condition::prefix_in(prefixes(&["fd01:2::/48"])))
                .change(tag("65000:1"));
            define(config, "out", filter([reject(&["192.168.3.0/24"]), retag]));
        });
        network.converge();
        network.check_model();
        let counts = |to| {
            let counts = network.heard_by(to, nodes[0]).map(|heard| heard.counts());
            counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
        };
        // 192.168.2.0/24 passes now, 192.168.3.0/24 does not any more, fd01:2::/48 carries another community.
        assert_eq!(counts(nodes[3]), (2, 1), "seed {seed}");
        assert_eq!(counts(nodes[1]), (0, 1), "seed {seed}: what is its own it is not told");
        assert_eq!(counts(nodes[2]), (2, 1), "seed {seed}: a withdrawal is for the whole group");
        assert_eq!(session_count(&network, nodes[0], nodes[1]), sessions);
        let announced = network.heard_by(nodes[0], nodes[3]).map(|heard| heard.counts().0).sum::<usize>();
        assert_eq!(announced, 0, "nobody is asked for anything");
    }
}

#[test]
fn another_export_policy_of_one_neighbour_costs_only_what_differs() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 4);
    network.converge();
    network.forget_heard();
    network.apply(nodes[0], |config| {
        define(config, "out", filter([reject(&["192.168.3.0/24"])]));
        config.neighbors.get_mut(&address(2).into()).expect("a neighbour").options.export = named("out");
    });
    network.converge();
    network.check_model();
    let counts: Vec<_> = network.heard().iter().map(|heard| (heard.to, heard.counts())).collect();
    assert_eq!(counts, [(nodes[1], (0, 1))]);
    network.forget_heard();
    // Another name for the same rules.
    network.apply(nodes[0], |config| {
        define(config, "other", filter([reject(&["192.168.3.0/24"])]));
        config.neighbors.get_mut(&address(2).into()).expect("a neighbour").options.export = named("other");
        config.filters.remove("out");
    });
    network.run(SECOND);
    assert!(network.heard().is_empty());
    network.check_model();
}

#[test]
fn a_changed_import_filter_asks_for_the_routes_again_and_resets_nothing() {
    for seed in 0..10 {
        let mut network = Network::rough(seed);
        let nodes = star(&mut network, 3);
        network.apply(nodes[0], |config| {
            define(config, "in", filter([reject(&["192.168.2.0/24"])]));
            config.neighbors.values_mut().for_each(|neighbor| neighbor.options.import = named("in"));
        });
        network.converge();
        let sessions = session_count(&network, nodes[0], nodes[1]);
        network.forget_heard();
        network.apply(nodes[0], |config| define(config, "in", filter([reject(&["fd01:2::/48"])])));
        network.converge();
        network.check_model();
        assert!(network.best(nodes[2]).contains_key(&prefix(&v4(2))));
        assert!(!network.best(nodes[2]).contains_key(&prefix(&v6(2))));
        assert_eq!(session_count(&network, nodes[0], nodes[1]), sessions);
        let asked =
            network.heard_by(nodes[1], nodes[0]).filter(|heard| heard.kind() == MessageType::ROUTE_REFRESH);
        assert_eq!(asked.count(), 2, "once per family");
    }
}

#[test]
fn a_route_that_its_sender_changes_so_that_it_is_rejected_goes() {
    let mut network = Network::new(1);
    let nodes = star(&mut network, 3);
    network.apply(nodes[0], |config| {
        let rule = Rule::new(Then::Reject)
            .when(Condition::AnyCommunity(vec!["65000:66".parse().expect("a pattern")]));
        define(config, "in", filter([rule]));
        config.neighbors.values_mut().for_each(|neighbor| neighbor.options.import = named("in"));
    });
    network.converge();
    assert_eq!(network.best(nodes[2]).len(), 4);
    network.apply(nodes[1], |config| {
        let tags = vec![Community::new(65000, 66)];
        config.announcements.values_mut().for_each(|a| a.communities.clone_from(&tags));
    });
    network.converge();
    network.check_model();
    assert_eq!(network.best(nodes[2]).len(), 2);
}

#[test]
fn a_filter_on_interfaces_follows_the_interface_of_an_announcement() {
    let mut network = Network::new(1);
    let rule = Rule::new(Then::Reject).when(Condition::Interface(vec!["tunl*".parse().expect("a pattern")]));
    let a = network.start({
        let mut config = SpeakerConfig::numbered(1).ibgp(&[2]).announces(&["10.1.0.0/16"]);
        define(&mut config, "out", filter([rule]));
        config.neighbors.values_mut().for_each(|neighbor| neighbor.options.export = named("out"));
        config
    });
    let b = network.start(SpeakerConfig::numbered(2).ibgp(&[1]));
    let mut route = Announcement::route(prefix("10.1.0.0/16"));
    for (interface, expected) in [(None, 1), (Some("tunl0"), 0), (Some("eth0"), 1)] {
        route.interface = interface.map(str::to_owned);
        network.apply(a, |config| _ = config.announcements.insert(route.prefix, route.clone()));
        network.converge();
        assert_eq!(network.best(b).len(), expected, "{interface:?}");
    }
    route.origin = Origin::Egp;
    network.apply(a, |config| _ = config.announcements.insert(route.prefix, route));
    network.converge();
    assert_eq!(network.best(b).len(), 1);
}

#[test]
fn a_slow_reader_is_told_what_the_filter_says_when_it_reads() {
    for seed in 0..10 {
        let mut network = Network::rough(seed);
        network.log_bytes_max = Some(100);
        let nodes =
            star_with_export(&mut network, 4, filter([Rule::new(Then::Accept).change(tag("65000:1"))]));
        network.converge();
        network.weather.window_bytes = 200;
        network.stall(nodes[0], nodes[3]);
        for round in 0..20 {
            let text = format!("10.7.{round}.0/24");
            network.apply(nodes[1], |config| *config = config.clone().announces(&[&text]));
            network.run(SECOND);
        }
        network.apply(nodes[0], |config| {
            let odd: Vec<String> = (0..20).step_by(2).map(|round| format!("10.7.{round}.0/24")).collect();
            let odd: Vec<&str> = odd.iter().map(String::as_str).collect();
            define(config, "out", filter([reject(&odd), Rule::new(Then::Accept).change(tag("65000:2"))]));
        });
        network.resume_all();
        network.converge();
        network.check_model();
        assert_eq!(network.best(nodes[3]).len(), 6 + 10);
    }
}

#[test]
fn the_plan_names_filters_and_the_sessions_that_ask_again() {
    let with = |filter: Filter| {
        let mut config = SpeakerConfig::numbered(1).ibgp(&[2, 3]);
        define(&mut config, "f", filter);
        config.neighbors.get_mut(&address(2).into()).expect("a neighbour").options.import = named("f");
        config.neighbors.get_mut(&address(3).into()).expect("a neighbour").options.export = named("f");
        config
    };
    let steps = crate::config::diff(&with(filter([])), &with(filter([reject(&["::/0"])])));
    let texts: Vec<String> = steps.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["filter f (rules changed)", "refresh-session 10.0.0.2 (import filter f changed)"]);
    let mut without = with(filter([]));
    without.filters.clear();
    without.neighbors.clear();
    let steps = crate::config::diff(&without, &with(filter([])));
    assert_eq!(steps[0].to_string(), "filter f (added)");
}
