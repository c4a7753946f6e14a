//! Families that are carried without being interpreted: fixtures and generators.

use bgp_proto::*;
use bytes::{BufMut, Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use super::fixtures::{Fixture, external, fixture};
use super::hex;

pub(crate) const LABELLED: AfiSafi = AfiSafi::new(Afi::IPV6, Safi::MPLS_LABEL);
pub(crate) const VPN_V4: AfiSafi = AfiSafi::new(Afi::IPV4, Safi::MPLS_VPN);
pub(crate) const VPN_V6: AfiSafi = AfiSafi::new(Afi::IPV6, Safi::MPLS_VPN);
pub(crate) const EVPN: AfiSafi = AfiSafi::new(Afi::L2VPN, Safi::EVPN);
pub(crate) const TARGETS: AfiSafi = AfiSafi::new(Afi::IPV4, Safi::RT_CONSTRAINT);
pub(crate) const FLOW: AfiSafi = AfiSafi::new(Afi::IPV4, Safi::FLOW_SPEC);
pub(crate) const FLOW_VPN: AfiSafi = AfiSafi::new(Afi::IPV6, Safi::FLOW_SPEC_VPN);
pub(crate) const ALL: [AfiSafi; 7] = [LABELLED, VPN_V4, VPN_V6, EVPN, TARGETS, FLOW, FLOW_VPN];

const RD: &str = "0000fde800000001";

fn route(path_id: Option<u32>, octets: &str) -> OpaqueNlriBuf {
    OpaqueNlriBuf { path_id, octets: hex(octets).into() }
}

/// ORIGIN and an AS_PATH of 65000, whose octets follow MP_REACH_NLRI.
const MANDATORY: &str = "40 01 01 00  40 02 06 0201 0000fde8";

fn reach(
    name: &'static str,
    params: SessionParams,
    family: AfiSafi,
    next_hop: &str,
    routes: Vec<OpaqueNlriBuf>,
) -> Fixture {
    let octets = hex(next_hop);
    let next_hop = match family.safi {
        Safi::MPLS_VPN | Safi::FLOW_SPEC | Safi::FLOW_SPEC_VPN => {
            NextHop::Opaque(OpaqueNextHop::new(&octets).unwrap())
        }
        _ => NextHop::from_octets(&octets).unwrap(),
    };
    let mut value = BytesMut::new();
    value.put_u16(family.afi.0);
    value.put_slice(&[family.safi.0, octets.len() as u8]);
    value.put_slice(&octets);
    value.put_u8(0);
    for route in &routes {
        if let Some(path_id) = route.path_id {
            value.put_u32(path_id);
        }
        value.put_slice(&route.octets);
    }
    let mut block = BytesMut::new();
    put_attribute(&mut block, AttributeFlags::OPTIONAL, AttributeCode::MP_REACH_NLRI, &value);
    block.put_slice(&hex(MANDATORY));
    let digits: String = block.iter().map(|octet| format!("{octet:02x}")).collect();
    let update = Update {
        attributes: PathAttributes {
            origin: Some(Origin::Igp),
            as_path: Some(AsPath::sequence([Asn(65000)])),
            ..PathAttributes::default()
        },
        mp_reach: Some(MpReach { family, next_hop, nlri: routes.into() }),
        ..Update::default()
    };
    fixture(name, params, 2, &format!("0000 {:04x} {digits}", block.len()), Message::Update(update))
}

/// UPDATEs of every such family.
pub(crate) fn fixtures() -> Vec<Fixture> {
    let add_path = SessionParams { add_path_rx: [EVPN].into(), add_path_tx: [EVPN].into(), ..external() };
    let v6_next_hop = "20010db8000000000000000000000001";
    let vpn_v6_next_hop = format!("0000000000000000 {v6_next_hop}");
    vec![
        reach(
            "labelled IPv6 unicast",
            external(),
            LABELLED,
            v6_next_hop,
            vec![route(None, "48 000101 20010db80001"), route(None, "18 000111")],
        ),
        reach(
            "VPN-IPv4",
            external(),
            VPN_V4,
            "0000000000000000 c0000201",
            vec![route(None, &format!("70 000101 {RD} 0a0100")), route(None, &format!("58 000101 {RD}"))],
        ),
        reach(
            "VPN-IPv6",
            external(),
            VPN_V6,
            &vpn_v6_next_hop,
            vec![route(None, &format!("88 000101 {RD} 20010db80001"))],
        ),
        reach(
            "EVPN of several types",
            external(),
            EVPN,
            "c0000201",
            vec![
                route(None, &format!("01 19 {RD} 00000000000000000000 ffffffff 000000")),
                route(None, &format!("02 21 {RD} 00000000000000000000 00000000 30 020000000001 00 000641")),
                route(None, &format!("03 11 {RD} 00000000 20 c0000201")),
                route(None, &format!("05 22 {RD} 00000000000000000000 00000000 18 0a010000 00000000 000641")),
                route(None, "c8 02 beef"),
            ],
        ),
        reach(
            "EVPN with path identifiers",
            add_path,
            EVPN,
            v6_next_hop,
            vec![route(Some(7), &format!("03 11 {RD} 00000000 20 c0000201"))],
        ),
        reach(
            "route targets",
            external(),
            TARGETS,
            "c0000201",
            vec![route(None, "00"), route(None, "60 0000fde8 0002fde800000064"), route(None, "20 0000fde8")],
        ),
        reach(
            "flow specification",
            external(),
            FLOW,
            "",
            vec![
                route(None, "0b 01180a0000 038106 058150"),
                route(None, &format!("f0f1 {}", "05".repeat(241))),
            ],
        ),
        reach(
            "flow specification of a VPN",
            external(),
            FLOW_VPN,
            "",
            vec![route(None, &format!("0b {RD} 038106"))],
        ),
        fixture(
            "withdrawal of a VPN route",
            external(),
            2,
            &format!("0000 0014 80 0f 11 0001 80 68 800000 {RD} 0a01"),
            Message::Update(Update {
                mp_unreach: Some(MpUnreach {
                    family: VPN_V4,
                    nlri: vec![route(None, &format!("68 800000 {RD} 0a01"))].into(),
                }),
                ..Update::default()
            }),
        ),
        fixture(
            "end of rib of EVPN",
            external(),
            2,
            "0000 0006 80 0f 03 0019 46",
            Message::Update(Update::end_of_rib(EVPN)),
        ),
    ]
}

/// One NLRI of the family, as octets.
pub(crate) fn octets(family: AfiSafi) -> BoxedStrategy<Vec<u8>> {
    let of_bits = |bits: std::ops::RangeInclusive<u8>| {
        bits.prop_flat_map(|bits| {
            vec(any::<u8>(), usize::from(bits).div_ceil(8)).prop_map(move |mut octets| {
                octets.insert(0, bits);
                octets
            })
        })
    };
    match family {
        LABELLED => of_bits(24..=152).boxed(),
        VPN_V4 => of_bits(88..=120).boxed(),
        VPN_V6 => of_bits(88..=216).boxed(),
        TARGETS => prop_oneof![Just(vec![0]), of_bits(32..=96)].boxed(),
        EVPN => (any::<u8>(), vec(any::<u8>(), 0..60))
            .prop_map(|(kind, value)| [&[kind, value.len() as u8][..], &value].concat())
            .boxed(),
        _ => prop_oneof![4 => 0..40_usize, 1 => 238..260_usize]
            .prop_flat_map(|len| vec(any::<u8>(), len))
            .prop_map(|components| {
                let len = components.len() as u16;
                let head = if len < 240 { vec![len as u8] } else { (0xf000 | len).to_be_bytes().to_vec() };
                [&head[..], &components].concat()
            })
            .boxed(),
    }
}

/// Routes of the family, with path identifiers if the session has them.
pub(crate) fn routes(params: &SessionParams, family: AfiSafi) -> BoxedStrategy<MpNlri> {
    let has_path_id = params.add_path_tx(family);
    vec((any::<u32>(), octets(family)), 0..6)
        .prop_map(move |routes| {
            let routes = routes.into_iter().map(|(path_id, octets)| OpaqueNlriBuf {
                path_id: has_path_id.then_some(path_id),
                octets: Bytes::from(octets),
            });
            MpNlri::Opaque(routes.collect())
        })
        .boxed()
}

/// A next hop that the family may have; its address is a host's.
pub(crate) fn next_hop(family: AfiSafi) -> BoxedStrategy<NextHop> {
    let opaque = |octets: &[u8]| NextHop::Opaque(OpaqueNextHop::new(octets).unwrap());
    let v4 = [192, 0, 2, 1];
    let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    let vpn_v6 = [&[0; 8][..], &v6].concat();
    match family {
        LABELLED => Just(NextHop::V6(v6.into())).boxed(),
        VPN_V4 => Just(opaque(&[&[0; 8][..], &v4].concat())).boxed(),
        VPN_V6 => prop_oneof![Just(opaque(&vpn_v6)), Just(opaque(&vpn_v6.repeat(2)))].boxed(),
        EVPN | TARGETS => prop_oneof![Just(NextHop::V4(v4.into())), Just(NextHop::V6(v6.into()))].boxed(),
        _ => Just(opaque(&[])).boxed(),
    }
}
