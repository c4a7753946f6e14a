//! What messages are made of.

use std::net::IpAddr;
use std::str::FromStr;

use bgp_proto::{
    Afi, AfiSafi, AsPath, Asn, AttributeCode, AttributeFlags, BgpId, Community, ExtendedCommunity,
    Ipv6ExtendedCommunity, LargeCommunity, MAX_PROBLEMS, MandatoryNeeds, MpReachView, MpUnreachView, NextHop,
    NlriIter, OpaqueNlriIter, Open, PathAttributes, RawAttributes, Safi, SessionParams, decode_attributes,
    decode_prefix, encode_prefix, put_attribute,
};
use bytes::BytesMut;

use crate::params;

/// An attribute block, as bytes, as views and as values.
pub fn attributes(data: &[u8]) {
    let [octet, block @ ..] = data else { return };
    let params = params(*octet);
    let needs = MandatoryNeeds { has_nlri: *octet & 0x40 != 0, has_classic_nlri: *octet & 0x80 != 0 };
    let mut consumed = 0;
    for raw in RawAttributes::new(block).flatten() {
        assert!(raw.tlv.len() >= 3 && raw.tlv.len() > raw.value.len(), "an attribute has a header");
        consumed += raw.tlv.len();
        if let Ok(reach) = MpReachView::parse(raw.value, &params) {
            assert!(reach.iter(&params).count() <= raw.value.len());
        }
        if let Ok(unreach) = MpUnreachView::parse(raw.value) {
            assert!(unreach.iter(&params).count() <= raw.value.len());
        }
    }
    assert!(consumed <= block.len());
    let report = decode_attributes(block, &params, needs);
    assert!(report.problems.len() <= MAX_PROBLEMS);
    assert_eq!(report.action, report.problems.iter().map(|problem| problem.action).max());
    assert!(size(&report.attributes) <= 64 * block.len(), "memory is bounded by the input");
}

/// An NLRI field.
pub fn nlri(data: &[u8]) {
    let [octet, field @ ..] = data else { return };
    let family = if octet & 1 == 0 { AfiSafi::IPV4_UNICAST } else { AfiSafi::IPV6_UNICAST };
    let mut iter = NlriIter::new(field, family, octet & 2 != 0);
    let mut left = iter.rest().len();
    while let Some(nlri) = iter.next() {
        let Ok(nlri) = nlri else {
            assert!(iter.next().is_none(), "nothing follows an error");
            return;
        };
        assert!(iter.rest().len() < left, "each step consumes");
        left = iter.rest().len();
        let mut canonical = [0xaa; 17];
        let len = nlri.canonical(&mut canonical);
        let prefix = nlri.to_ipnet(family).expect("a prefix of the family");
        assert_eq!(decode_prefix(family, &canonical[..len]), Some(prefix));
        let mut again = [0x55; 17];
        assert_eq!(encode_prefix(prefix, &mut again), len);
        assert_eq!(again[..len], canonical[..len]);
    }
}

/// Capabilities, in an OPEN around them.
pub fn capabilities(data: &[u8]) {
    let data = &data[..data.len().min(4000)];
    let len = u16::try_from(data.len()).expect("cut above");
    let head = [4, 0xfd, 0xe8, 0, 90, 192, 0, 2, 1, 255, 255];
    let body = [&head[..], &(len + 3).to_be_bytes(), &[2], &len.to_be_bytes(), data].concat();
    let Ok(open) = Open::decode(&body) else { return };
    assert!(open.capabilities.len() <= data.len() / 2, "a capability has a code and a length");
    for capability in &open.capabilities {
        assert!(!capability.to_string().is_empty());
    }
}

/// AS_PATH and AS4_PATH: an octet for the session, one for the length of the first, the two values.
pub fn as_path(data: &[u8]) {
    let [octet, split, values @ ..] = data else { return };
    let params = params(*octet);
    let (path, as4_path) = values.split_at(usize::from(*split).min(values.len()));
    let mut block = BytesMut::new();
    put_attribute(&mut block, AttributeFlags::WELL_KNOWN, AttributeCode::AS_PATH, path);
    if !as4_path.is_empty() && as4_path.len() < 65_000 {
        put_attribute(&mut block, AttributeFlags::OPTIONAL_TRANSITIVE, AttributeCode::AS4_PATH, as4_path);
    }
    let report = decode_attributes(&block, &params, MandatoryNeeds::default());
    let Some(path) = report.attributes.as_path else { return };
    assert!(
        path.segments().iter().all(|segment| (1..=255).contains(&segment.asns.len())),
        "no segment is empty"
    );
    assert!(path.path_len() <= values.len());
    assert_eq!(path.to_string().parse::<AsPath>().map(|read| read.path_len()), Ok(path.path_len()));
    let mut longer = path.clone();
    longer.prepend(Asn(64512), 3);
    assert_eq!(longer.path_len(), path.path_len() + 3);
    let four_octet = SessionParams { four_octet_as: true, ..params };
    let attributes = PathAttributes { as_path: Some(path), ..PathAttributes::default() };
    let mut again = BytesMut::new();
    attributes.encode(&four_octet, &mut again);
    if again.len() <= 65_000 {
        assert_eq!(decode_attributes(&again, &four_octet, MandatoryNeeds::default()).attributes, attributes);
    }
}

/// The value of an AIGP attribute.
pub fn aigp(data: &[u8]) {
    let data = &data[..data.len().min(60_000)];
    let params = params(0b11);
    let mut block = BytesMut::new();
    put_attribute(&mut block, AttributeFlags::OPTIONAL, AttributeCode::AIGP, data);
    let report = decode_attributes(&block, &params, MandatoryNeeds::default());
    let Some(aigp) = &report.attributes.aigp else {
        assert_eq!(report.problems.len(), 1);
        return;
    };
    assert_eq!(aigp.tlvs(), data);
    let mut again = BytesMut::new();
    report.attributes.encode(&params, &mut again);
    assert_eq!(again, block);
}

/// The value of an MP_REACH_NLRI.
pub fn mp_reach(data: &[u8]) {
    let [octet, value @ ..] = data else { return };
    let params = params(*octet);
    let Ok(reach) = MpReachView::parse(value, &params) else { return };
    let mut next_hop = Vec::new();
    reach.next_hop.put(&mut next_hop);
    assert_eq!(next_hop, value[3..4 + usize::from(value[3])], "as it was received");
    assert!(!reach.next_hop.to_string().is_empty());
    let is_ipv6_unicast = reach.family == AfiSafi::IPV6_UNICAST;
    assert!(!is_ipv6_unicast || matches!(reach.next_hop.addr(), IpAddr::V6(_)));
    assert_eq!(value.len(), 5 + usize::from(value[3]) + reach.nlri.len());
    if matches!(reach.next_hop, NextHop::V4(_) | NextHop::V6(_)) {
        assert_eq!(NextHop::from(reach.next_hop.addr()), reach.next_hop);
    }
    consumes(reach.opaque(&params));
}

/// The value of an MP_UNREACH_NLRI.
pub fn mp_unreach(data: &[u8]) {
    let [octet, value @ ..] = data else { return };
    let params = params(*octet);
    let Ok(unreach) = MpUnreachView::parse(value) else { return };
    assert_eq!(unreach.nlri.len() + 3, value.len());
    consumes(unreach.opaque(&params));
    let prefixes = unreach.iter(&params).flatten().count();
    assert!(prefixes <= unreach.opaque(&params).flatten().count());
}

/// Families whose NLRI can be split.
const FAMILIES: [AfiSafi; 10] = [
    AfiSafi::IPV4_UNICAST,
    AfiSafi::new(Afi::IPV6, Safi::MULTICAST),
    AfiSafi::new(Afi::IPV4, Safi::MPLS_LABEL),
    AfiSafi::new(Afi::IPV6, Safi::MPLS_LABEL),
    AfiSafi::new(Afi::IPV4, Safi::MPLS_VPN),
    AfiSafi::new(Afi::IPV6, Safi::MPLS_VPN),
    AfiSafi::new(Afi::L2VPN, Safi::EVPN),
    AfiSafi::new(Afi::IPV4, Safi::RT_CONSTRAINT),
    AfiSafi::new(Afi::IPV6, Safi::FLOW_SPEC),
    AfiSafi::new(Afi::IPV4, Safi::FLOW_SPEC_VPN),
];

/// An NLRI field of any family.
pub fn opaque_nlri(data: &[u8]) {
    let [octet, field @ ..] = data else { return };
    let family = FAMILIES[usize::from(octet >> 1) % FAMILIES.len()];
    let routes = OpaqueNlriIter::new(field, family, octet & 1 == 1);
    consumes(routes.clone());
    for route in routes.flatten() {
        let (mut key, mut withdrawal, mut withdrawn_key) = (Vec::new(), Vec::new(), Vec::new());
        route.put_key(&mut key);
        assert!(key.len() <= route.octets.len());
        route.put_withdrawal(&mut withdrawal);
        assert!(withdrawal.len() <= route.octets.len());
        let mut split = OpaqueNlriIter::new(&withdrawal, family, false);
        let withdrawn = split.next().expect("one route").expect("of the same form");
        assert_eq!(split.next(), None);
        withdrawn.put_key(&mut withdrawn_key);
        assert_eq!(withdrawn_key, key, "a withdrawal means the route that was announced");
    }
}

/// Each step consumes, and nothing follows an error.
fn consumes(mut routes: OpaqueNlriIter<'_>) {
    let mut left = routes.rest().len();
    while let Some(route) = routes.next() {
        if route.is_err() {
            assert!(routes.next().is_none(), "nothing follows an error");
            return;
        }
        assert!(routes.rest().len() < left, "each step consumes");
        left = routes.rest().len();
    }
    assert_eq!(left, 0);
}

/// Text in the notations of configuration files.
pub fn text(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    reads_back::<AfiSafi>(text);
    reads_back::<AsPath>(text);
    reads_back::<Asn>(text);
    reads_back::<BgpId>(text);
    reads_back::<Community>(text);
    reads_back::<ExtendedCommunity>(text);
    reads_back::<Ipv6ExtendedCommunity>(text);
    reads_back::<LargeCommunity>(text);
}

/// What was read is written in a way that reads the same.
fn reads_back<T: FromStr + ToString + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert!(value.to_string().parse::<T>().is_ok_and(|again| again == value), "{text}");
    }
}

/// Octets on the heap, roughly.
fn size(attributes: &PathAttributes) -> usize {
    let path = attributes
        .as_path
        .as_ref()
        .map_or(0, |path| path.segments().iter().map(|segment| 32 + 4 * segment.asns.len()).sum());
    let unknown: usize = attributes.unknown.iter().map(|unknown| 64 + unknown.value.len()).sum();
    path + unknown
        + 4 * attributes.communities.len()
        + 4 * attributes.cluster_list.len()
        + 8 * attributes.extended_communities.len()
        + 12 * attributes.large_communities.len()
}
