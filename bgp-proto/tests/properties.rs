//! What can be built encodes and decodes to itself; arbitrary bytes do no harm.

mod common;

use bgp_proto::*;
use bytes::BytesMut;
use common::strategies;
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #[test]
    fn messages_decode_to_themselves((params, message) in strategies::message()) {
        let mut out = BytesMut::from(&b"earlier"[..]);
        match message.encode(&params, &mut out) {
            Ok(()) => {
                let decoded = Message::decode(&mut Decoder::new(params), &out[7..]);
                prop_assert_eq!(decoded, Ok(message));
            }
            Err(EncodeError::MessageTooLong { length, max }) => {
                prop_assert!(length > max);
                prop_assert_eq!(&out[..], b"earlier", "an error leaves the buffer alone");
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn attributes_decode_to_themselves((params, attributes) in strategies::params().prop_flat_map(|params| {
        let attributes = strategies::attributes(&params);
        (Just(params), attributes)
    })) {
        let mut block = BytesMut::new();
        attributes.encode(&params, &mut block);
        let codes: Vec<_> = RawAttributes::new(&block).map(|raw| raw.unwrap().code).collect();
        prop_assert!(codes.is_sorted_by(|a, b| a < b), "ascending: {:?}", codes);
        let needs = MandatoryNeeds { has_nlri: true, has_classic_nlri: attributes.next_hop.is_some() };
        let report = decode_attributes(&block, &params, needs);
        prop_assert_eq!(report.problems, vec![]);
        prop_assert_eq!(report.attributes, attributes);
    }

    #[test]
    fn any_order_of_attributes_means_the_same((params, attributes, seed) in strategies::params().prop_flat_map(|params| {
        let attributes = strategies::attributes(&params);
        (Just(params), attributes, any::<u64>())
    })) {
        let mut block = BytesMut::new();
        attributes.encode(&params, &mut block);
        let mut tlvs: Vec<_> = RawAttributes::new(&block).map(|raw| raw.unwrap().tlv).collect();
        tlvs.sort_by_key(|tlv| seed.wrapping_mul(u64::from(tlv[1]) | 1).rotate_left(17));
        let report = decode_attributes(&tlvs.concat(), &params, MandatoryNeeds::default());
        prop_assert_eq!(report.attributes, attributes);
    }

    #[test]
    fn prefixes_decode_to_themselves(prefix in prop_oneof![strategies::ipv4_net(), strategies::ipv6_net()]) {
        let family = if prefix.addr().is_ipv4() { AfiSafi::IPV4_UNICAST } else { AfiSafi::IPV6_UNICAST };
        let mut wire = [0; 17];
        let len = encode_prefix(prefix, &mut wire);
        prop_assert_eq!(decode_prefix(family, &wire[..len]), Some(prefix));
        let nlri = NlriIter::new(&wire[..len], family, false).next().unwrap().unwrap();
        let mut canonical = [0xff; 17];
        prop_assert_eq!(nlri.canonical(&mut canonical), len);
        prop_assert_eq!(&canonical[..len], &wire[..len]);
    }

    #[test]
    fn notations_read_back(
        asn in any::<u32>(),
        community in any::<u32>(),
        extended in any::<[u8; 8]>(),
        sub in any::<(u8, bool)>(),
        large in any::<[u32; 3]>(),
        family in strategies::family(),
    ) {
        prop_assert_eq!(Asn(asn).to_string().parse(), Ok(Asn(asn)));
        prop_assert_eq!(Community(community).to_string().parse(), Ok(Community(community)));
        prop_assert_eq!(family.to_string().parse(), Ok(family));
        let mut route_target = extended;
        route_target[0] = sub.0 % 3;
        route_target[1] = if sub.1 { 2 } else { 3 };
        for octets in [extended, route_target] {
            prop_assert_eq!(ExtendedCommunity(octets).to_string().parse(), Ok(ExtendedCommunity(octets)));
        }
        let [global, local1, local2] = large;
        let large = LargeCommunity { global, local1, local2 };
        prop_assert_eq!(large.to_string().parse(), Ok(large));
    }

    #[test]
    fn paths_read_back(path in strategies::as_path(&SessionParams { peer_type: PeerType::Internal, ..Default::default() })) {
        let text = path.to_string();
        let read: AsPath = text.parse().unwrap();
        prop_assert_eq!(read.to_string(), text);
        prop_assert_eq!(read.path_len(), path.path_len());
        prop_assert_eq!(read.first_asn(), path.first_asn());
    }

    #[test]
    fn arbitrary_bytes_are_values_or_errors(params in strategies::params(), kind in 1..=5_u8, body in vec(any::<u8>(), 0..200)) {
        let bytes = common::message(kind, &body);
        let mut decoder = Decoder::new(params.clone());
        if let Err(error) = Message::decode(&mut decoder, &bytes) {
            prop_assert!(error.notification().data.len() <= bytes.len());
        }
        let report = decode_attributes(&body, &params, MandatoryNeeds::default());
        prop_assert_eq!(report.action, report.problems.iter().map(|problem| problem.action).max());
        for add_path in [false, true] {
            for family in [AfiSafi::IPV4_UNICAST, AfiSafi::IPV6_UNICAST] {
                let count = NlriIter::new(&body, family, add_path).count();
                prop_assert!(count <= body.len());
                for nlri in NlriIter::new(&body, family, add_path).flatten() {
                    prop_assert!(nlri.to_ipnet(family).is_some());
                }
            }
        }
    }

    #[test]
    fn arbitrary_text_is_a_value_or_an_error(text in "[ 0-9a-z.:(){}\\[\\]/-]{0,40}") {
        drop(text.parse::<AsPath>());
        drop(text.parse::<Asn>());
        drop(text.parse::<BgpId>());
        drop(text.parse::<AfiSafi>());
        drop(text.parse::<Community>());
        drop(text.parse::<ExtendedCommunity>());
        drop(text.parse::<LargeCommunity>());
    }
}
