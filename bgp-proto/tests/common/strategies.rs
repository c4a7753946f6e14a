//! Generators of values that have a wire form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::families;
use bgp_proto::*;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// A session of any kind; sending and receiving are alike, so that what is encoded can be decoded.
pub(crate) fn params() -> impl Strategy<Value = SessionParams> {
    let family_set = || {
        any::<[bool; 4]>().prop_map(|[v4, v6, vpn, evpn]| {
            let families = [
                (v4, AfiSafi::IPV4_UNICAST),
                (v6, AfiSafi::IPV6_UNICAST),
                (vpn, families::VPN_V4),
                (evpn, families::EVPN),
            ];
            families.into_iter().filter_map(|(is_in, family)| is_in.then_some(family)).collect::<FamilySet>()
        })
    };
    (any::<[bool; 4]>(), family_set()).prop_map(|([internal, four, extended, next_hop], add_path)| {
        SessionParams {
            peer_type: if internal { PeerType::Internal } else { PeerType::External },
            four_octet_as: four,
            extended_messages: extended,
            add_path_rx: add_path.clone(),
            add_path_tx: add_path,
            extended_next_hop: if next_hop { [AfiSafi::IPV4_UNICAST].into() } else { FamilySet::new() },
        }
    })
}

/// A message together with the session that it belongs to.
pub(crate) fn message() -> impl Strategy<Value = (SessionParams, Message)> {
    params().prop_flat_map(|params| {
        let update = update(params.clone()).prop_map(Message::Update).boxed();
        let other = prop_oneof![
            open().prop_map(Message::Open),
            notification().prop_map(Message::Notification),
            Just(Message::Keepalive),
            (family(), any::<u8>())
                .prop_map(|(family, subtype)| Message::RouteRefresh(RouteRefresh { family, subtype })),
        ];
        (Just(params), prop_oneof![2 => update, 1 => other])
    })
}

pub(crate) fn family() -> impl Strategy<Value = AfiSafi> {
    prop_oneof![
        Just(AfiSafi::IPV4_UNICAST),
        Just(AfiSafi::IPV6_UNICAST),
        (any::<u16>(), any::<u8>()).prop_map(|(afi, safi)| AfiSafi::new(Afi(afi), Safi(safi))),
    ]
}

pub(crate) fn asn() -> impl Strategy<Value = Asn> {
    prop_oneof![1..=65535_u32, 1..=u32::MAX].prop_map(Asn)
}

pub(crate) fn notification() -> impl Strategy<Value = Notification> {
    (any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..300)).prop_map(|(code, subcode, data)| Notification {
        code,
        subcode,
        data,
    })
}

pub(crate) fn open() -> impl Strategy<Value = Open> {
    let hold_time = prop_oneof![Just(0), 3..=u16::MAX];
    (asn(), hold_time, 1..=u32::MAX, vec(capability(), 0..12), any::<bool>()).prop_map(
        |(asn, hold, id, mut capabilities, carried)| {
            if carried || asn.needs_four_octets() {
                capabilities.push(Capability::FourOctetAs(asn));
            }
            let hold_time = HoldTime::try_from(hold).unwrap();
            Open { version: 4, asn, hold_time, bgp_id: BgpId(id), capabilities }
        },
    )
}

/// Any capability but the four-octet AS, which must fit the OPEN.
pub(crate) fn capability() -> impl Strategy<Value = Capability> {
    let direction = prop_oneof![
        Just(AddPathDirection::Receive),
        Just(AddPathDirection::Send),
        Just(AddPathDirection::Both)
    ];
    let restart = (any::<[bool; 2]>(), 0..=4095_u16, vec((family(), any::<bool>()), 0..4)).prop_map(
        |([restarting, notification], restart_time_secs, families)| {
            let families = families
                .into_iter()
                .map(|(family, forwarding_preserved)| GracefulRestartFamily { family, forwarding_preserved })
                .collect();
            Capability::GracefulRestart(GracefulRestart {
                restarting,
                notification,
                restart_time_secs,
                families,
            })
        },
    );
    let long_lived = (family(), any::<bool>(), 0..=0xff_ffff_u32).prop_map(
        |(family, forwarding_preserved, stale_time_secs)| LongLivedFamily {
            family,
            forwarding_preserved,
            stale_time_secs,
        },
    );
    prop_oneof![
        family().prop_map(Capability::MultiProtocol),
        Just(Capability::RouteRefresh),
        Just(Capability::EnhancedRouteRefresh),
        Just(Capability::ExtendedMessage),
        restart,
        vec((family(), vec(any::<(u8, u8)>(), 0..4)), 0..4).prop_map(|families| {
            let families = families.into_iter();
            Capability::OutboundRouteFiltering(
                families.map(|(family, kinds)| OutboundFilterFamily { family, kinds }).collect(),
            )
        }),
        vec((family(), direction), 0..4).prop_map(Capability::AddPath),
        vec((family(), any::<u16>().prop_map(Afi)), 0..4).prop_map(Capability::ExtendedNextHop),
        vec(long_lived, 0..4).prop_map(Capability::LongLivedGracefulRestart),
        any::<u8>().prop_map(Capability::Role),
        (128..=255_u8, vec(any::<u8>(), 0..=255))
            .prop_map(|(code, value)| Capability::Unknown { code, value }),
    ]
}

pub(crate) fn ipv4_net() -> impl Strategy<Value = IpNet> {
    (any::<u32>(), 0..=32_u8).prop_map(|(address, len)| {
        IpNet::V4(Ipv4Net::new(Ipv4Addr::from_bits(address), len).unwrap().trunc())
    })
}

pub(crate) fn ipv6_net() -> impl Strategy<Value = IpNet> {
    (any::<u128>(), 0..=128_u8).prop_map(|(address, len)| {
        IpNet::V6(Ipv6Net::new(Ipv6Addr::from_bits(address), len).unwrap().trunc())
    })
}

fn path_nlri(params: &SessionParams, family: AfiSafi) -> BoxedStrategy<PathNlri> {
    let net = if family.afi == Afi::IPV4 { ipv4_net().boxed() } else { ipv6_net().boxed() };
    let has_path_id = params.add_path_tx(family);
    (any::<u32>(), net)
        .prop_map(move |(path_id, prefix)| PathNlri { path_id: has_path_id.then_some(path_id), prefix })
        .boxed()
}

/// An address that passes for a next hop.
fn ipv4_host() -> impl Strategy<Value = Ipv4Addr> {
    (0x0100_0000..0xe000_0000_u32).prop_map(Ipv4Addr::from_bits)
}

fn ipv6_host() -> impl Strategy<Value = Ipv6Addr> {
    (1..(0xff_u128 << 120)).prop_map(Ipv6Addr::from_bits)
}

fn next_hop(params: &SessionParams, family: AfiSafi) -> BoxedStrategy<NextHop> {
    let v4 = ipv4_host().prop_map(|address| NextHop::from(IpAddr::V4(address)));
    let v6 = prop_oneof![
        ipv6_host().prop_map(NextHop::V6),
        (ipv6_host(), ipv6_host())
            .prop_map(|(global, link_local)| NextHop::V6WithLinkLocal { global, link_local }),
    ];
    match (family.afi, params.extended_next_hop(family)) {
        (Afi::IPV4, false) => v4.boxed(),
        (Afi::IPV4, true) => prop_oneof![v4, v6].boxed(),
        _ => v6.boxed(),
    }
}

fn segments(
    kinds: &'static [AsPathSegmentKind],
    asn: BoxedStrategy<Asn>,
) -> impl Strategy<Value = Vec<AsPathSegment>> {
    let lens = prop_oneof![8 => 1..6_usize, 1 => 250..=255_usize];
    let asns = lens.prop_flat_map(move |len| vec(asn.clone(), len));
    vec((proptest::sample::select(kinds), asns).prop_map(|(kind, asns)| AsPathSegment { kind, asns }), 0..4)
}

/// A path whose confederation segments lead, as RFC 5065 has them, and fit two octets.
pub(crate) fn as_path(params: &SessionParams) -> BoxedStrategy<AsPath> {
    use AsPathSegmentKind::{ConfedSequence, ConfedSet, Sequence, Set};
    let inner = segments(&[ConfedSequence, ConfedSet], (1..=65535_u32).prop_map(Asn).boxed());
    let outer = segments(&[Sequence, Set], asn().boxed());
    let has_confederation = params.peer_type == PeerType::Internal;
    (inner, outer)
        .prop_map(move |(inner, outer)| {
            let inner = if has_confederation { inner } else { Vec::new() };
            AsPath::from_segments(inner.into_iter().chain(outer))
        })
        .boxed()
}

/// The Partial bit of some of the attributes that are there and can have it.
fn partial_of(attributes: &PathAttributes, [a, b, c, d, e, f]: [bool; 6]) -> PartialSet {
    let candidates = [
        (a && attributes.aggregator.is_some(), AttributeCode::AGGREGATOR),
        (b && !attributes.communities.is_empty(), AttributeCode::COMMUNITIES),
        (c && !attributes.extended_communities.is_empty(), AttributeCode::EXTENDED_COMMUNITIES),
        (d && !attributes.ipv6_extended_communities.is_empty(), AttributeCode::IPV6_EXTENDED_COMMUNITIES),
        (e && !attributes.large_communities.is_empty(), AttributeCode::LARGE_COMMUNITIES),
        (f && attributes.otc.is_some(), AttributeCode::OTC),
    ];
    candidates.into_iter().filter_map(|(is_in, code)| is_in.then_some(code)).collect()
}

/// Attributes of an announcement: ORIGIN and AS_PATH are there.
pub(crate) fn attributes(params: &SessionParams) -> BoxedStrategy<PathAttributes> {
    let is_internal = params.peer_type == PeerType::Internal;
    let aggregator = (asn(), any::<u32>())
        .prop_map(|(asn, address)| Aggregator { asn, address: Ipv4Addr::from_bits(address) });
    let unknown = proptest::collection::btree_map(41..=255_u8, vec(any::<u8>(), 0..300), 0..3);
    let large = (any::<u32>(), any::<u32>(), any::<u32>())
        .prop_map(|(global, local1, local2)| LargeCommunity { global, local1, local2 });
    let first = (
        prop_oneof![Just(Origin::Igp), Just(Origin::Egp), Just(Origin::Incomplete)],
        as_path(params),
        option::of(ipv4_host()),
        option::of(any::<u32>()),
        option::of(any::<u32>()),
        any::<bool>(),
        option::of(aggregator),
    );
    let second = (
        vec(any::<u32>().prop_map(Community), 0..80),
        option::of(any::<u32>().prop_map(BgpId)),
        vec(any::<u32>().prop_map(BgpId), 0..4),
        vec(any::<[u8; 8]>().prop_map(ExtendedCommunity), 0..4),
        proptest::collection::hash_set(large, 0..4),
        unknown,
    );
    let third = (
        vec(any::<[u8; 20]>().prop_map(Ipv6ExtendedCommunity), 0..3),
        option::of(any::<u64>().prop_map(Aigp::new)),
        option::of(any::<u32>().prop_map(Asn)),
        any::<[bool; 6]>(),
    );
    (first, second, third)
        .prop_map(move |(first, second, third)| {
            let (ipv6_extended_communities, aigp, otc, partial) = third;
            let (origin, as_path, next_hop, med, local_pref, atomic_aggregate, aggregator) = first;
            let (communities, originator_id, cluster_list, extended_communities, large, unknown) = second;
            let unknown = unknown.into_iter().map(|(code, value)| UnknownAttribute {
                flags: AttributeFlags::OPTIONAL_TRANSITIVE | AttributeFlags::PARTIAL,
                code: AttributeCode(code),
                value: value.into(),
            });
            let mut attributes = PathAttributes {
                origin: Some(origin),
                as_path: Some(as_path),
                next_hop,
                med,
                local_pref: local_pref.filter(|_| is_internal),
                atomic_aggregate,
                aggregator,
                communities,
                originator_id: originator_id.filter(|_| is_internal),
                cluster_list: if is_internal { cluster_list } else { Vec::new() },
                extended_communities,
                large_communities: large.into_iter().collect(),
                ipv6_extended_communities,
                aigp: aigp.filter(|_| is_internal),
                otc,
                partial: PartialSet::default(),
                unknown: unknown.collect(),
            };
            attributes.partial = partial_of(&attributes, partial);
            attributes
        })
        .boxed()
}

fn mp_nlri(params: &SessionParams, family: AfiSafi) -> BoxedStrategy<MpNlri> {
    if families::ALL.contains(&family) {
        return families::routes(params, family);
    }
    vec(path_nlri(params, family), 0..8).prop_map(MpNlri::Prefixes).boxed()
}

pub(crate) fn update(params: SessionParams) -> impl Strategy<Value = Update> {
    let v4 = AfiSafi::IPV4_UNICAST;
    let mp_family = prop_oneof![
        Just(v4),
        Just(AfiSafi::IPV6_UNICAST),
        Just(AfiSafi::new(Afi::IPV6, Safi::MULTICAST)),
        proptest::sample::select(&families::ALL[..]),
    ];
    let for_reach = params.clone();
    let reach = mp_family.clone().prop_flat_map(move |family| {
        let next_hop = if families::ALL.contains(&family) {
            families::next_hop(family)
        } else {
            next_hop(&for_reach, family)
        };
        (next_hop, mp_nlri(&for_reach, family)).prop_map(move |(next_hop, nlri)| MpReach {
            family,
            next_hop,
            nlri,
        })
    });
    let for_unreach = params.clone();
    let unreach = mp_family.prop_flat_map(move |family| {
        mp_nlri(&for_unreach, family).prop_map(move |nlri| MpUnreach { family, nlri })
    });
    (
        vec(path_nlri(&params, v4), 0..8),
        attributes(&params),
        vec(path_nlri(&params, v4), 0..8),
        option::of(reach),
        option::of(unreach),
        ipv4_host(),
    )
        .prop_map(|(withdrawn, mut attributes, nlri, mp_reach, mp_unreach, next_hop)| {
            if !nlri.is_empty() {
                attributes.next_hop = Some(next_hop);
            }
            Update { withdrawn, attributes, nlri, mp_reach, mp_unreach, problems: Vec::new() }
        })
}
