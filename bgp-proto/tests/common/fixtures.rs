//! Messages as bytes, written by hand from the RFCs, next to the values that they mean.

use bgp_proto::*;

use super::{families, hex, message};

/// One message: decoding `bytes` gives `value`, encoding `value` gives `bytes`.
pub(crate) struct Fixture {
    pub(crate) name: &'static str,
    pub(crate) params: SessionParams,
    pub(crate) bytes: Vec<u8>,
    pub(crate) value: Message,
}

pub(crate) fn all() -> Vec<Fixture> {
    let mut fixtures = sessions();
    fixtures.extend(updates());
    fixtures.extend(families::fixtures());
    fixtures
}

pub(crate) fn external() -> SessionParams {
    SessionParams { four_octet_as: true, ..SessionParams::default() }
}

pub(crate) fn internal() -> SessionParams {
    SessionParams { peer_type: PeerType::Internal, ..external() }
}

pub(crate) fn fixture(
    name: &'static str,
    params: SessionParams,
    kind: u8,
    body: &str,
    value: Message,
) -> Fixture {
    Fixture { name, params, bytes: message(kind, &hex(body)), value }
}

fn open(asn: u32, capabilities: Vec<Capability>) -> Message {
    let hold_time = HoldTime::try_from(180).unwrap();
    Message::Open(Open { version: 4, asn: Asn(asn), hold_time, bgp_id: BgpId(0xc000_0201), capabilities })
}

/// OPEN, NOTIFICATION, KEEPALIVE, ROUTE-REFRESH.
fn sessions() -> Vec<Fixture> {
    let plain = SessionParams::default;
    let v4 = AfiSafi::IPV4_UNICAST;
    let v6 = AfiSafi::IPV6_UNICAST;
    vec![
        fixture("keepalive", plain(), 4, "", Message::Keepalive),
        fixture("open without parameters", plain(), 1, "04 fde8 00b4 c0000201 00", open(65000, vec![])),
        fixture(
            "open with the usual capabilities",
            plain(),
            1,
            "04 5ba0 00b4 c0000201 20 02 1e
             0104 00010001  0104 00020001  0200  4104 fa56ea00  4006 c078 00010180  0600",
            open(
                4_200_000_000,
                vec![
                    Capability::MultiProtocol(v4),
                    Capability::MultiProtocol(v6),
                    Capability::RouteRefresh,
                    Capability::FourOctetAs(Asn(4_200_000_000)),
                    Capability::GracefulRestart(GracefulRestart {
                        restarting: true,
                        notification: true,
                        restart_time_secs: 120,
                        families: vec![GracefulRestartFamily { family: v4, forwarding_preserved: true }],
                    }),
                    Capability::ExtendedMessage,
                ],
            ),
        ),
        fixture(
            "open with the rarer capabilities",
            plain(),
            1,
            "04 fde8 00b4 c0000201 35 02 33
             4508 00010103 00020102  0506 0001 0001 0002  4707 000101 80 015180  4600  0901 03  4902 abcd  0502 0001  0309 0001 00 01 02 4003 8001",
            open(
                65000,
                vec![
                    Capability::AddPath(vec![(v4, AddPathDirection::Both), (v6, AddPathDirection::Send)]),
                    Capability::ExtendedNextHop(vec![(v4, Afi::IPV6)]),
                    Capability::LongLivedGracefulRestart(vec![LongLivedFamily {
                        family: v4,
                        forwarding_preserved: true,
                        stale_time_secs: 86400,
                    }]),
                    Capability::EnhancedRouteRefresh,
                    Capability::Role(3),
                    Capability::Unknown { code: 73, value: vec![0xab, 0xcd] },
                    // The right code with a wrong length is kept, not understood.
                    Capability::Unknown { code: 5, value: vec![0, 1] },
                    Capability::OutboundRouteFiltering(vec![OutboundFilterFamily {
                        family: v4,
                        kinds: vec![(64, 3), (128, 1)],
                    }]),
                ],
            ),
        ),
        Fixture {
            name: "open in the extended form of RFC 9072",
            params: plain(),
            bytes: {
                // 259 octets of capabilities make a parameter of 262.
                let mut body = hex("04 fde8 00b4 c0000201  ff ff 0106  02 0103  fc ff");
                body.extend([7; 255]);
                body.extend([0x02, 0x00]);
                message(1, &body)
            },
            value: open(
                65000,
                vec![Capability::Unknown { code: 0xfc, value: vec![7; 255] }, Capability::RouteRefresh],
            ),
        },
        fixture(
            "notification with a shutdown text",
            plain(),
            3,
            "06 02 03 627965",
            Message::Notification(Notification::administrative_shutdown("bye")),
        ),
        fixture(
            "notification of a hold timer",
            plain(),
            3,
            "04 00",
            Message::Notification(Notification::hold_timer_expired()),
        ),
        fixture(
            "notification of an unknown code",
            plain(),
            3,
            "63 07 0102",
            Message::Notification(Notification { code: 99, subcode: 7, data: vec![1, 2] }),
        ),
        fixture(
            "route refresh",
            plain(),
            5,
            "0001 00 01",
            Message::RouteRefresh(RouteRefresh::request(AfiSafi::IPV4_UNICAST)),
        ),
        fixture(
            "end of route refresh",
            plain(),
            5,
            "0002 02 01",
            Message::RouteRefresh(RouteRefresh { family: v6, subtype: RouteRefresh::EORR }),
        ),
    ]
}

fn nets(texts: &[&str]) -> Vec<PathNlri> {
    texts.iter().map(|text| text.parse::<ipnet::IpNet>().unwrap().into()).collect()
}

fn net(path_id: u32, text: &str) -> PathNlri {
    PathNlri { path_id: Some(path_id), prefix: text.parse().unwrap() }
}

fn mandatory(as_path: &str) -> PathAttributes {
    PathAttributes {
        origin: Some(Origin::Igp),
        as_path: Some(as_path.parse().unwrap()),
        next_hop: Some([192, 0, 2, 1].into()),
        ..PathAttributes::default()
    }
}

/// UPDATE.
fn updates() -> Vec<Fixture> {
    let add_path = SessionParams {
        add_path_rx: [AfiSafi::IPV4_UNICAST].into(),
        add_path_tx: [AfiSafi::IPV4_UNICAST].into(),
        ..external()
    };
    let extended_next_hop = SessionParams { extended_next_hop: [AfiSafi::IPV4_UNICAST].into(), ..external() };
    let update = |name, params, body, value| fixture(name, params, 2, body, Message::Update(value));
    vec![
        update("end of rib", external(), "0000 0000", Update::end_of_rib(AfiSafi::IPV4_UNICAST)),
        update(
            "end of rib of another family",
            external(),
            "0000 0006 80 0f 03 0002 01",
            Update::end_of_rib(AfiSafi::IPV6_UNICAST),
        ),
        update(
            "withdrawal",
            external(),
            "0006 18 c00002 08 0a 0000",
            Update { withdrawn: nets(&["192.0.2.0/24", "10.0.0.0/8"]), ..Update::default() },
        ),
        update(
            "plain announcement",
            external(),
            "0000 0014  40 01 01 00  40 02 06 0201 0000fde8  40 03 04 c0000201  18 cb0071  00  20 c6336401",
            Update {
                attributes: mandatory("65000"),
                nlri: nets(&["203.0.113.0/24", "0.0.0.0/0", "198.51.100.1/32"]),
                ..Update::default()
            },
        ),
        update(
            "every attribute of an internal session",
            internal(),
            "0000 008a
             40 01 01 02   40 02 10 0202 0000fde9 fa56ea00 0101 0000fdea
             40 03 04 c0000201   80 04 04 00000064   40 05 04 000000c8   40 06 00
             c0 07 08 0000fde9 0a000001   c0 08 08 fde80064 ffffff01
             80 09 04 0a000002   80 0a 08 0a000003 0a000004
             c0 10 10 0002fde800000064 0102c00002010007
             c0 20 18 0000fbf00000000100000002 0000fbf00000000100000003
             e0 63 02 beef
             18 cb0071",
            Update {
                attributes: PathAttributes {
                    origin: Some(Origin::Incomplete),
                    as_path: Some("65001 4200000000 {65002}".parse().unwrap()),
                    med: Some(100),
                    local_pref: Some(200),
                    atomic_aggregate: true,
                    aggregator: Some(Aggregator { asn: Asn(65001), address: [10, 0, 0, 1].into() }),
                    communities: vec!["65000:100".parse().unwrap(), Community::NO_EXPORT],
                    originator_id: Some(BgpId(0x0a00_0002)),
                    cluster_list: vec![BgpId(0x0a00_0003), BgpId(0x0a00_0004)],
                    extended_communities: vec![
                        "rt:65000:100".parse().unwrap(),
                        "rt:192.0.2.1:7".parse().unwrap(),
                    ],
                    large_communities: vec!["64496:1:2".parse().unwrap(), "64496:1:3".parse().unwrap()],
                    unknown: vec![UnknownAttribute {
                        flags: AttributeFlags(0xe0),
                        code: AttributeCode(99),
                        value: bytes::Bytes::from_static(&[0xbe, 0xef]),
                    }],
                    ..mandatory("")
                },
                nlri: nets(&["203.0.113.0/24"]),
                ..Update::default()
            },
        ),
        update(
            "attributes that came later",
            internal(),
            "0000 0047
             40 01 01 00   40 02 06 0201 0000fde8   40 03 04 c0000201   e0 08 04 fde80064
             c0 19 14 0002 20010db8000000000000000000000001 0064
             80 1a 0b 01 000b 00000000000005dc   e0 23 04 0000fde9
             18 cb0071",
            Update {
                attributes: PathAttributes {
                    communities: vec!["65000:100".parse().unwrap()],
                    ipv6_extended_communities: vec!["rt:[2001:db8::1]:100".parse().unwrap()],
                    aigp: Some(Aigp::new(1500)),
                    otc: Some(Asn(65001)),
                    partial: [AttributeCode::COMMUNITIES, AttributeCode::OTC].into_iter().collect(),
                    ..mandatory("65000")
                },
                nlri: nets(&["203.0.113.0/24"]),
                ..Update::default()
            },
        ),
        update(
            "four-octet numbers on a two-octet session",
            SessionParams::default(),
            "0000 0035
             40 01 01 00   40 02 06 0202 fde9 5ba0   40 03 04 c0000201
             c0 07 06 5ba0 0a000001
             c0 11 0a 0202 0000fde9 fa56ea00   c0 12 08 fa56ea00 0a000001
             18 cb0071",
            Update {
                attributes: PathAttributes {
                    aggregator: Some(Aggregator { asn: Asn(4_200_000_000), address: [10, 0, 0, 1].into() }),
                    ..mandatory("65001 4200000000")
                },
                nlri: nets(&["203.0.113.0/24"]),
                ..Update::default()
            },
        ),
        update(
            "confederation segments",
            internal(),
            "0000 001a  40 01 01 00  40 02 0c 0301 0000fc01 0201 0000fde8  40 03 04 c0000201  18 cb0071",
            Update {
                attributes: mandatory("(64513) 65000"),
                nlri: nets(&["203.0.113.0/24"]),
                ..Update::default()
            },
        ),
        update(
            "path identifiers",
            add_path,
            "0006 00000007 08 0a  0014 40 01 01 00  40 02 06 0201 0000fde8  40 03 04 c0000201
             00000001 18 cb0071  00000002 18 cb0071",
            Update {
                withdrawn: vec![net(7, "10.0.0.0/8")],
                attributes: mandatory("65000"),
                nlri: vec![net(1, "203.0.113.0/24"), net(2, "203.0.113.0/24")],
                ..Update::default()
            },
        ),
        update(
            "IPv6 both ways",
            internal(),
            "0000 004a
             80 0e 2c 0002 01 20 20010db8000000000000000000000001 fe800000000000000000000000000001 00
                      30 20010db80001
             80 0f 0a 0002 01 30 20010db80002
             40 01 01 01  40 02 00  40 05 04 00000064",
            Update {
                attributes: PathAttributes {
                    origin: Some(Origin::Egp),
                    as_path: Some(AsPath::new()),
                    local_pref: Some(100),
                    ..PathAttributes::default()
                },
                mp_reach: Some(MpReach {
                    family: AfiSafi::IPV6_UNICAST,
                    next_hop: NextHop::V6WithLinkLocal {
                        global: "2001:db8::1".parse().unwrap(),
                        link_local: "fe80::1".parse().unwrap(),
                    },
                    nlri: nets(&["2001:db8:1::/48"]).into(),
                }),
                mp_unreach: Some(MpUnreach {
                    family: AfiSafi::IPV6_UNICAST,
                    nlri: nets(&["2001:db8:2::/48"]).into(),
                }),
                ..Update::default()
            },
        ),
        update(
            "IPv4 with an IPv6 next hop",
            extended_next_hop,
            "0000 0029
             80 0e 19 0001 01 10 20010db8000000000000000000000001 00 18 cb0071
             40 01 01 00  40 02 06 0201 0000fde8",
            Update {
                attributes: PathAttributes { next_hop: None, ..mandatory("65000") },
                mp_reach: Some(MpReach {
                    family: AfiSafi::IPV4_UNICAST,
                    next_hop: NextHop::V6("2001:db8::1".parse().unwrap()),
                    nlri: nets(&["203.0.113.0/24"]).into(),
                }),
                ..Update::default()
            },
        ),
    ]
}
