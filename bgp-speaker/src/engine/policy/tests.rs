use super::*;
use crate::config::Family;
use crate::config::filter::{CommunityValue, PrefixRange, PrefixSet};
use crate::engine::testnet::naive_filter::{PlainRoute, numbers, pass_filters};
use bgp_proto::{AsPath, AsPathSegment, AsPathSegmentKind, Asn, Origin};
use proptest::prelude::*;

fn attributes() -> PathAttributes {
    PathAttributes {
        origin: Some(Origin::Igp),
        as_path: Some("65001 65002 65003".parse().unwrap()),
        med: Some(7),
        local_pref: Some(200),
        communities: vec!["65000:1".parse().unwrap(), "no-export".parse().unwrap()],
        large_communities: vec!["64496:1:2".parse().unwrap()],
        extended_communities: vec!["rt:65000:1".parse().unwrap()],
        ..PathAttributes::default()
    }
}

/// 10.1.2.0/24 by 10.0.0.9, from 10.0.0.2, on an eBGP session.
fn route(attributes: &PathAttributes) -> FilterRoute<'_> {
    FilterRoute {
        prefix: "10.1.2.0/24".parse().unwrap(),
        attributes,
        next_hop: Some(NextHop::V4([10, 0, 0, 9].into())),
        source: RouteSource::Peers,
        neighbor: Some([10, 0, 0, 2].into()),
        interface: None,
        session: SessionKind::External,
    }
}

fn policy(filters: Vec<Filter>) -> Policy {
    let named = |filter| NamedFilter { name: "f".to_owned(), filter: Arc::new(filter) };
    Policy::Filters(filters.into_iter().map(named).collect())
}

fn prefixes(texts: &[&str]) -> PrefixSet {
    texts.iter().map(|text| text.parse::<PrefixRange>().unwrap()).collect()
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn asns<const N: usize>(numbers: [u32; N]) -> Vec<Asn> {
    numbers.map(Asn).to_vec()
}

fn communities<T: std::str::FromStr<Err = String>>(texts: &[&str]) -> Vec<T> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn every_condition_holds_and_does_not() {
    use Condition as C;
    let table = [
        (C::Family(Family::Ipv4Unicast), true),
        (C::Family(Family::Ipv6Unicast), false),
        (C::prefix_in(prefixes(&["10.1.2.0/24"])), true),
        (C::prefix_in(prefixes(&["10.1.0.0/16"])), false),
        (C::prefix_in(prefixes(&["10.1.0.0/16+"])), true),
        (C::prefix_in(prefixes(&["10.1.0.0/16{25,32}", "10.1.2.0/24{24,24}"])), true),
        (C::prefix_in(prefixes(&["10.1.0.0/16{25,32}"])), false),
        (C::prefix_in(prefixes(&["::/0+"])), false),
        (C::prefix_in(prefixes(&[])), false),
        (C::prefix_not_in(prefixes(&["10.1.2.0/24"])), false),
        (C::prefix_not_in(prefixes(&["10.1.0.0/16"])), true),
        (C::prefix_not_in(prefixes(&["10.1.0.0/16+"])), false),
        (C::NextHop(nets(&["10.0.0.9/32"])), true),
        (C::NextHop(nets(&["10.0.0.8/32", "fd00::/8"])), false),
        (C::Neighbor(nets(&["10.0.0.0/30"])), true),
        (C::Neighbor(nets(&["10.0.0.9/32"])), false),
        (C::Session(SessionKind::External), true),
        (C::Session(SessionKind::Internal), false),
        (C::Source(RouteSource::Peers), true),
        (C::Source(RouteSource::Local), false),
        (C::AsPathStart(asns([65001, 65002])), true),
        (C::AsPathStart(asns([65002])), false),
        (C::AsPathStart(asns([65001, 65002, 65003, 65004])), false),
        (C::AsPathStart(asns([])), true),
        (C::AsPathContains(asns([1, 65002])), true),
        (C::AsPathContains(asns([1])), false),
        (C::AsPathOrigin(asns([65003])), true),
        (C::AsPathOrigin(asns([65001])), false),
        (C::AsPathLength(3..=3), true),
        (C::AsPathLength(0..=2), false),
        (C::AllCommunities(communities(&["65000:1", "64496:*:2", "rt:65000:1"])), true),
        (C::AllCommunities(communities(&["65000:1", "65000:2"])), false),
        (C::AnyCommunity(communities(&["65000:2", "no-export"])), true),
        (C::AnyCommunity(communities(&["65001:*", "soo:65000:1"])), false),
        (C::Interface(vec!["*".parse().unwrap()]), false),
        (C::LocalPref(200..=200), true),
        (C::LocalPref(0..=199), false),
        (C::Med(7..=7), true),
        (C::Med(8..=9), false),
    ];
    let attributes = attributes();
    for (condition, expected) in table {
        assert_eq!(condition::holds(&condition, &route(&attributes)), expected, "{condition:?}");
    }
}

#[test]
fn what_a_route_does_not_have_does_not_match() {
    let bare = PathAttributes::default();
    let local = FilterRoute {
        source: RouteSource::Local,
        next_hop: None,
        neighbor: None,
        interface: Some("cali12"),
        ..route(&bare)
    };
    let table = [
        (Condition::NextHop(nets(&["0.0.0.0/0", "::/0"])), false),
        (Condition::Neighbor(nets(&["0.0.0.0/0", "::/0"])), false),
        (Condition::Source(RouteSource::Local), true),
        (Condition::AsPathStart(asns([1])), false),
        (Condition::AsPathContains(asns([1])), false),
        (Condition::AsPathOrigin(asns([1])), false),
        (Condition::AsPathLength(0..=0), true),
        (Condition::AnyCommunity(communities(&["*:*", "*:*:*"])), false),
        (Condition::Interface(vec!["eth*".parse().unwrap(), "cali*".parse().unwrap()]), true),
        (Condition::LocalPref(100..=100), true),
        (Condition::Med(0..=0), true),
    ];
    for (condition, expected) in table {
        assert_eq!(condition::holds(&condition, &local), expected, "{condition:?}");
    }
}

#[test]
fn a_path_that_begins_with_a_set_starts_with_nothing() {
    let segment = |kind, numbers: [u32; 2]| AsPathSegment { kind, asns: numbers.map(Asn).to_vec() };
    let path = AsPath::from_segments([
        segment(AsPathSegmentKind::Sequence, [1, 2]),
        segment(AsPathSegmentKind::Set, [3, 4]),
        segment(AsPathSegmentKind::Sequence, [5, 6]),
    ]);
    let attributes = PathAttributes { as_path: Some(path), ..PathAttributes::default() };
    for (start, expected) in [(vec![1, 2], true), (vec![1, 2, 3], false), (vec![1, 2, 5], false)] {
        let condition = Condition::AsPathStart(start.iter().copied().map(Asn).collect());
        assert_eq!(condition::holds(&condition, &route(&attributes)), expected, "{start:?}");
    }
    assert!(condition::holds(&Condition::AsPathContains(asns([4])), &route(&attributes)));
}

#[test]
fn every_action_does_what_it_says() {
    let prefix = "10.1.2.0/24".parse().unwrap();
    let after = |action: Action| {
        let mut route = ChangedRoute::new(attributes());
        route.apply(&action, &prefix);
        route
    };
    let texts = |route: &ChangedRoute| -> Vec<String> {
        let of = &route.attributes;
        let standard = of.communities.iter().map(ToString::to_string);
        let large = of.large_communities.iter().map(ToString::to_string);
        standard.chain(large).chain(of.extended_communities.iter().map(ToString::to_string)).collect()
    };
    let all = communities(&["65000:9", "1:2:3", "soo:1:2"]);
    assert_eq!(texts(&after(Action::SetCommunities(all.clone()))), ["65000:9", "1:2:3", "soo:1:2"]);
    assert_eq!(texts(&after(Action::SetCommunities(vec![]))), [] as [&str; 0]);
    let added = after(Action::AddCommunities(communities(&["65000:9", "65000:1", "1:2:3", "rt:65000:1"])));
    assert_eq!(
        texts(&added),
        ["65000:1", "no-export", "65000:9", "64496:1:2", "1:2:3", "rt:65000:1"],
        "each once"
    );
    let deleted = after(Action::DeleteCommunities(communities(&["65000:*", "64496:1:2", "rt:65000:1"])));
    assert_eq!(texts(&deleted), ["no-export"]);
    assert_eq!(after(Action::SetLocalPref(5)).attributes.local_pref, Some(5));
    assert_eq!(after(Action::set_priority(512)).attributes.local_pref, Some(2_147_483_135));
    let med = after(Action::SetMed(None));
    assert_eq!((med.attributes.med, med.has_set_med), (None, true));
    assert_eq!(after(Action::SetMed(Some(3))).attributes.med, Some(3));
    let path = |route: ChangedRoute| route.attributes.as_path.unwrap().to_string();
    assert_eq!(path(after(Action::Prepend(asns([1, 2])))), "1 2 65001 65002 65003");
    let v4 = NextHopChange::Address([10, 9, 9, 9].into());
    assert_eq!(after(Action::SetNextHop(v4)).next_hop_address(), Some(NextHop::V4([10, 9, 9, 9].into())));
    let v6 = NextHopChange::Address("fd00::1".parse().unwrap());
    assert_eq!(after(Action::SetNextHop(v6)).next_hop, None, "of the other family");
    assert_eq!(after(Action::SetNextHop(NextHopChange::Unchanged)).next_hop, Some(NextHopChange::Unchanged));
    let before = ChangedRoute::new(attributes());
    assert_eq!(ChangedRoute { has_set_med: false, ..after(Action::SetMed(Some(7))) }, before);
}

#[test]
fn an_attribute_takes_no_more_than_it_has_room_for() {
    let mut route = ChangedRoute::new(attributes());
    let many = (0..20_000).map(|n| CommunityValue::Standard(bgp_proto::Community(n))).collect();
    route.apply(&Action::AddCommunities(many), &"::/0".parse().unwrap());
    assert_eq!(route.attributes.communities.len(), 16_383);
    let long = AsPath::sequence((1..=7_995).map(Asn));
    let mut route = ChangedRoute::new(PathAttributes { as_path: Some(long), ..attributes() });
    for _ in 0..2 {
        route.apply(&Action::Prepend(asns([1; 5])), &"::/0".parse().unwrap());
    }
    assert_eq!(route.attributes.as_path.unwrap().path_len(), 8_000);
}

#[test]
fn the_first_rule_that_decides_ends_the_matter() {
    let matches = |then| Rule::new(then).when(Condition::Med(7..=7));
    let differs = |then| Rule::new(then).when(Condition::Med(8..=8));
    let filter = |rules: Vec<Rule>, default| Filter { rules, default };
    let table = [
        (vec![filter(vec![matches(Then::Accept), matches(Then::Reject)], Then::Reject)], true, vec![(0, 0)]),
        (vec![filter(vec![differs(Then::Reject), matches(Then::Accept)], Then::Reject)], true, vec![(0, 1)]),
        (vec![filter(vec![matches(Then::Next)], Then::Reject)], false, vec![(0, 0)]),
        (
            vec![filter(vec![matches(Then::Next), matches(Then::Reject)], Then::Accept)],
            false,
            vec![(0, 0), (0, 1)],
        ),
        (
            vec![filter(vec![], Then::Next), filter(vec![matches(Then::Reject)], Then::Accept)],
            false,
            vec![(1, 0)],
        ),
        (vec![filter(vec![], Then::Accept), filter(vec![], Then::Reject)], true, vec![]),
        (vec![filter(vec![], Then::Next)], true, vec![]),
    ];
    let attributes = attributes();
    for (filters, expected, trace) in table {
        let policy = policy(filters);
        let mut matched = Vec::new();
        let verdict = policy.evaluate(&route(&attributes), |id| matched.push((id.filter, id.rule)));
        assert_eq!((verdict.is_accepted, &matched), (expected, &trace), "{policy:?}");
    }
    assert!(Policy::Accept.evaluate(&route(&attributes), |_| ()).is_accepted);
    assert!(!Policy::Reject.evaluate(&route(&attributes), |_| ()).is_accepted);
}

#[test]
fn later_rules_see_what_earlier_ones_changed() {
    let tag = || communities::<CommunityValue>(&["65000:77"]);
    let rules = vec![
        Rule::new(Then::Next).change(Action::AddCommunities(tag())).change(Action::Prepend(asns([9]))),
        Rule::new(Then::Accept)
            .when(Condition::AllCommunities(vec![tag()[0].into()]))
            .when(Condition::AsPathStart(asns([9, 65001])))
            .change(Action::SetMed(None)),
    ];
    let policy = policy(vec![Filter { rules, default: Then::Reject }]);
    let attributes = attributes();
    let verdict = policy.evaluate(&route(&attributes), |_| ());
    assert!(verdict.is_accepted);
    assert_eq!(verdict.changes.len(), 2);
    assert_eq!(policy.actions(&verdict.changes).count(), 3);
}

#[test]
fn a_filter_that_does_not_exist_lets_nothing_pass() {
    let config = SpeakerConfig::new([10, 0, 0, 1].into());
    assert_eq!(Policy::resolve(&PolicyRef::Filters(vec!["gone".to_owned()]), &config), Policy::Reject);
}

fn plain(route: &FilterRoute<'_>, changed: &ChangedRoute) -> PlainRoute {
    let of = &changed.attributes;
    let standard = of.communities.iter().map(|c| CommunityValue::Standard(*c));
    let large = of.large_communities.iter().map(|c| CommunityValue::Large(*c));
    let extended = of.extended_communities.iter().map(|c| CommunityValue::Extended(*c));
    let mut communities: Vec<_> = standard.chain(large).chain(extended).map(numbers).collect();
    communities.sort();
    PlainRoute {
        prefix: route.prefix,
        is_external: route.session == SessionKind::External,
        next_hop: route.next_hop.map(|next_hop| next_hop.addr()),
        next_hop_rule: changed.next_hop,
        neighbor: route.neighbor,
        interface: route.interface.map(str::to_owned),
        as_path: of.as_path.iter().flat_map(|path| path.asns()).map(|asn| asn.0).collect(),
        local_pref: of.local_pref,
        med: of.med,
        has_set_med: changed.has_set_med,
        communities,
    }
}

fn value() -> impl Strategy<Value = CommunityValue> {
    let text = prop_oneof![
        (0..3u8, 0..3u8).prop_map(|(a, b)| format!("{a}:{b}")),
        (0..2u8, 0..2u8, 0..2u8).prop_map(|(a, b, c)| format!("{a}:{b}:{c}")),
        (0..3u8).prop_map(|a| format!("rt:65000:{a}")),
    ];
    text.prop_map(|text| text.parse().unwrap())
}

fn pattern() -> impl Strategy<Value = crate::config::filter::CommunityPattern> {
    let star = prop_oneof![Just("*".to_owned()), (0..3u8).prop_map(|n| n.to_string())];
    prop_oneof![
        value().prop_map(Into::into),
        (star.clone(), star.clone()).prop_map(|(a, b)| format!("{a}:{b}").parse().unwrap()),
        (star.clone(), star.clone(), star).prop_map(|(a, b, c)| format!("{a}:{b}:{c}").parse().unwrap()),
    ]
}

fn few<S: Strategy>(of: S) -> impl Strategy<Value = Vec<S::Value>> {
    proptest::collection::vec(of, 0..3)
}

fn asn() -> impl Strategy<Value = Asn> {
    (1..4u32).prop_map(Asn)
}

fn range() -> impl Strategy<Value = std::ops::RangeInclusive<u32>> {
    (0..4u32, 0..3u32).prop_map(|(min, more)| min..=min + more)
}

fn prefix() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (0..2u8, 0..3u8, 8..=24u8)
            .prop_map(|(a, b, len)| IpNet::new([10, a, b, 0].into(), len).unwrap().trunc()),
        (0..3u16, 16..=64u8)
            .prop_map(|(a, len)| IpNet::new([0xfd00, a, 0, 0, 0, 0, 0, 0].into(), len).unwrap().trunc()),
    ]
}

fn prefix_set() -> impl Strategy<Value = PrefixSet> {
    let range = (prefix(), 0..40u8, 0..70u8).prop_map(|(network, min, max)| {
        PrefixRange::lengths(network, min, max).unwrap_or(PrefixRange::exact(network))
    });
    few(range).prop_map(PrefixSet::new)
}

fn network() -> impl Strategy<Value = IpNet> {
    prop_oneof![Just("10.0.0.0/30"), Just("10.0.0.4/30"), Just("fd00::/16")]
        .prop_map(|text| text.parse().unwrap())
}

fn condition() -> impl Strategy<Value = Condition> {
    let one_of = proptest::sample::select::<bool>;
    let both = vec![false, true];
    prop_oneof![
        one_of(both.clone()).prop_map(|v6| Condition::Family(if v6 {
            Family::Ipv6Unicast
        } else {
            Family::Ipv4Unicast
        })),
        prefix_set().prop_map(Condition::prefix_in),
        prefix_set().prop_map(Condition::prefix_not_in),
        few(network()).prop_map(Condition::NextHop),
        few(network()).prop_map(Condition::Neighbor),
        one_of(both.clone()).prop_map(|e| Condition::Session(if e {
            SessionKind::External
        } else {
            SessionKind::Internal
        })),
        one_of(both).prop_map(|l| Condition::Source(if l { RouteSource::Local } else { RouteSource::Peers })),
        few(asn()).prop_map(Condition::AsPathStart),
        few(asn()).prop_map(Condition::AsPathContains),
        few(asn()).prop_map(Condition::AsPathOrigin),
        range().prop_map(Condition::AsPathLength),
        few(pattern()).prop_map(Condition::AllCommunities),
        few(pattern()).prop_map(Condition::AnyCommunity),
        Just(Condition::Interface(vec!["cali*".parse().unwrap()])),
        range().prop_map(Condition::LocalPref),
        range().prop_map(Condition::Med),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let next_hop = prop_oneof![
        Just(NextHopChange::Address([10, 0, 0, 5].into())),
        Just(NextHopChange::Address([0xfd00, 0, 0, 0, 0, 0, 0, 5].into())),
        Just(NextHopChange::SelfAddress),
        Just(NextHopChange::Unchanged),
    ];
    prop_oneof![
        few(value()).prop_map(Action::SetCommunities),
        few(value()).prop_map(Action::AddCommunities),
        few(pattern()).prop_map(Action::DeleteCommunities),
        (0..4u32).prop_map(Action::SetLocalPref),
        proptest::option::of(0..4u32).prop_map(Action::SetMed),
        few(asn()).prop_map(Action::Prepend),
        next_hop.prop_map(Action::SetNextHop),
    ]
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![1 => Just(Then::Accept), 1 => Just(Then::Reject), 2 => Just(Then::Next)]
}

fn filter() -> impl Strategy<Value = Filter> {
    let rule = (few(condition()), few(action()), then()).prop_map(|(conditions, actions, then)| Rule {
        name: String::new(),
        conditions,
        actions,
        then,
    });
    (proptest::collection::vec(rule, 0..5), then()).prop_map(|(rules, default)| Filter { rules, default })
}

fn arbitrary_attributes() -> impl Strategy<Value = PathAttributes> {
    let numbers = (proptest::option::of(0..4u32), proptest::option::of(0..4u32));
    (proptest::collection::vec(asn(), 0..4), numbers, few(value())).prop_map(
        |(path, (local_pref, med), values)| {
            let mut attributes = PathAttributes {
                as_path: Some(AsPath::sequence(path)),
                local_pref,
                med,
                ..PathAttributes::default()
            };
            for value in values {
                match value {
                    CommunityValue::Standard(c) => attributes.communities.push(c),
                    CommunityValue::Large(c) => attributes.large_communities.push(c),
                    CommunityValue::Extended(c) => attributes.extended_communities.push(c),
                }
            }
            attributes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn a_naive_evaluator_says_the_same(
        filters in proptest::collection::vec(filter(), 1..4),
        mut attributes in arbitrary_attributes(),
        prefix in prefix(),
        (is_local, is_external, octet) in any::<(bool, bool, u8)>(),
    ) {
        attributes.communities.sort();
        attributes.communities.dedup();
        attributes.large_communities.sort();
        attributes.large_communities.dedup();
        attributes.extended_communities.sort();
        attributes.extended_communities.dedup();
        let address = if prefix.addr().is_ipv4() {
            IpAddr::from([10, 0, 0, octet % 8])
        } else {
            IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(octet)])
        };
        let route = FilterRoute {
            prefix,
            attributes: &attributes,
            next_hop: (!is_local).then(|| address.into()),
            source: if is_local { RouteSource::Local } else { RouteSource::Peers },
            neighbor: (!is_local).then_some(address),
            interface: (octet % 3 == 0).then_some("cali1"),
            session: if is_external { SessionKind::External } else { SessionKind::Internal },
        };
        let before = ChangedRoute::new(attributes.clone());
        let mut naive = pass_filters(&filters.iter().collect::<Vec<_>>(), plain(&route, &before));
        naive.iter_mut().for_each(|route| route.communities.sort());

        let policy = policy(filters);
        let verdict = policy.evaluate(&route, |_| ());
        let ours = verdict.is_accepted.then(|| {
            let mut changed = before;
            policy.actions(&verdict.changes).for_each(|action| changed.apply(action, &route.prefix));
            prop_assert_eq!(changed.next_hop, policy.next_hop(&verdict.changes, &route.prefix));
            Ok(plain(&route, &changed))
        });
        prop_assert_eq!(ours.transpose()?, naive);
    }
}
