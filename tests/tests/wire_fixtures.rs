//! What real daemons sent, decoded and encoded again, and read by a second decoder that must agree.
//!
//! The recordings are in `fixtures/wire`; `wire_record.rs` makes them.

mod wire_common;

use std::collections::BTreeSet;
use std::fs;

use bgp_proto::{
    Afi, AfiSafi, AttributeErrorReason, AttributeProblem, Capability, Decoder, EncodeError, Message, MpNlri,
    NextHop, Open, Origin, PathNlri, Safi, SessionParams, Update,
};
use bgpkit_parser::models::{AsnLength, AttributeValue, BgpMessage, BgpUpdateMessage, NetworkPrefix};
use bgpkit_parser::parser::bgp::messages::parse_bgp_message;
use bytes::{Bytes, BytesMut};
use ipnet::IpNet;
use wire_common::{Recorded, Recording};

fn recordings() -> Vec<(String, Recording)> {
    let entries = fs::read_dir(wire_common::folder()).expect("the recordings");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut found: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "hex"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, wire_common::read(&fs::read_to_string(&path).expect("a readable recording")))
        })
        .collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert!(found.len() >= 15, "three sessions with each of five daemons");
    found
}

fn each(mut judge: impl FnMut(&str, &SessionParams, &Recorded)) {
    for (name, recording) in recordings() {
        recording.messages.iter().for_each(|message| judge(&name, &recording.params, message));
    }
}

fn decode(params: &SessionParams, octets: &[u8]) -> Result<Message, bgp_proto::DecodeError> {
    Message::decode(&mut Decoder::new(params.clone()), octets)
}

#[test]
fn every_message_is_a_sound_value_or_refused_for_the_reason_recorded() {
    each(|name, params, message| match (decode(params, &message.octets), &message.refused) {
        (Ok(Message::Update(update)), None) => {
            // Attributes of internal sessions on an external one, which ExaBGP sends as it is told.
            let is_expected =
                |problem: &AttributeProblem| problem.error.reason == AttributeErrorReason::NotAllowed;
            assert!(update.problems.iter().all(is_expected), "{name}: {:?}", update.problems);
        }
        (Ok(_), None) => {}
        (Err(error), Some(why)) => assert_eq!(error.to_string(), *why, "{name}"),
        (outcome, expected) => panic!("{name}: {outcome:?}, where {expected:?} was recorded"),
    });
}

#[test]
fn every_message_encodes_to_what_decodes_to_itself() {
    each(|name, params, message| {
        let Ok(mut value) = decode(params, &message.octets) else { return };
        if let Message::Update(update) = &mut value {
            // Not sent.
            update.problems.clear();
        }
        let mut out = BytesMut::new();
        value.encode(params, &mut out).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(decode(params, &out), Ok(value), "{name}");
    });
}

#[test]
fn every_truncation_and_every_changed_octet_is_a_value_or_an_error() {
    each(|name, params, message| {
        let octets = &message.octets;
        for len in 19..octets.len() {
            let mut cut = octets[..len].to_vec();
            cut[16..18].copy_from_slice(&(len as u16).to_be_bytes());
            survive(name, params, &cut);
        }
        for at in 19..octets.len() {
            let mut changed = octets.clone();
            for value in 0..=u8::MAX {
                changed[at] = value;
                survive(name, params, &changed);
            }
        }
    });
}

fn survive(name: &str, params: &SessionParams, octets: &[u8]) {
    match decode(params, octets) {
        Ok(value) => match value.encode(params, &mut BytesMut::new()) {
            Ok(()) | Err(EncodeError::MessageTooLong { .. }) => {}
            Err(error) => panic!("{name}: {error}: {octets:02x?}"),
        },
        Err(error) => assert!(error.notification().data.len() <= octets.len(), "{name}"),
    }
}

#[test]
fn the_daemons_sent_all_that_matters() {
    let (mut families, mut codes, mut kinds) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut capabilities = BTreeSet::new();
    each(|_, params, message| {
        kinds.insert(message.octets[18]);
        match decode(params, &message.octets) {
            Ok(Message::Open(open)) => capabilities.extend(open.capabilities.iter().map(|one| one.code().0)),
            Ok(Message::Update(update)) => {
                families
                    .extend(update.mp_reach.filter(|reach| !reach.nlri.is_empty()).map(|reach| reach.family));
                let view = bgp_proto::UpdateView::parse(&message.octets[19..]).expect("decoded above");
                codes.extend(bgp_proto::RawAttributes::new(view.attributes).flatten().map(|raw| raw.code.0));
            }
            _ => {}
        }
    });
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5], "message types");
    for code in [1, 2, 3, 5, 6, 64, 65, 69, 70, 71, 73] {
        assert!(capabilities.contains(&code), "capability {code}");
    }
    for code in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 26, 32] {
        assert!(codes.contains(&code), "attribute {code}");
    }
    for (afi, safi) in [
        (Afi::IPV4, Safi::UNICAST),
        (Afi::IPV6, Safi::UNICAST),
        (Afi::IPV4, Safi::MULTICAST),
        (Afi::IPV4, Safi::MPLS_LABEL),
        (Afi::IPV4, Safi::MPLS_VPN),
        (Afi::IPV6, Safi::MPLS_VPN),
        (Afi::IPV4, Safi::FLOW_SPEC),
        (Afi::IPV6, Safi::FLOW_SPEC),
        (Afi::L2VPN, Safi::EVPN),
    ] {
        let family = AfiSafi::new(afi, safi);
        assert!(families.contains(&family), "{family}");
    }
}

#[test]
fn a_second_decoder_agrees() {
    let mut compared = 0;
    each(|name, params, message| {
        let Ok(ours) = decode(params, &message.octets) else { return };
        let has_path_ids = params.add_path_rx.iter().next().is_some();
        let width = if params.four_octet_as { AsnLength::Bits32 } else { AsnLength::Bits16 };
        let theirs = parse_bgp_message(&mut Bytes::from(message.octets.clone()), has_path_ids, &width);
        match (&ours, theirs) {
            (Message::Open(open), Ok(BgpMessage::Open(theirs))) => {
                assert_eq!(open.hold_time.as_secs(), theirs.hold_time, "{name}");
                assert_eq!(open.bgp_id.to_ipv4(), theirs.bgp_identifier, "{name}");
                assert_eq!(open.version, theirs.version, "{name}");
                let short = open.capabilities.iter().any(|one| matches!(one, Capability::FourOctetAs(_)));
                assert!(short || open.asn.0 == theirs.asn.to_u32(), "{name}");
                compared += 1;
            }
            (Message::Update(update), Ok(BgpMessage::Update(theirs))) => {
                agree(name, update, &theirs, params);
                compared += 1;
            }
            (Message::Notification(notification), Ok(BgpMessage::Notification(theirs))) => {
                assert_eq!(notification.data, theirs.data, "{name}");
            }
            (Message::Keepalive, Ok(BgpMessage::KeepAlive)) => {}
            (Message::RouteRefresh(_), Ok(BgpMessage::RouteRefresh(_))) => {}
            (_, theirs) => panic!("{name}: {ours:?}, where the other decoder says {theirs:?}"),
        }
    });
    assert!(compared > 100, "{compared} messages compared");
}

/// Unicast prefixes and the attributes that both decoders read into values.
fn agree(name: &str, ours: &Update, theirs: &BgpUpdateMessage, params: &SessionParams) {
    // It knows one answer for all families of a session; where path identifiers are for some only, it misreads others.
    let v4_path_ids = params.add_path_rx(AfiSafi::IPV4_UNICAST);
    let same_for = |family| params.add_path_rx(family) == params.add_path_rx.iter().next().is_some();
    assert!(v4_path_ids || same_for(AfiSafi::IPV4_UNICAST), "{name}");
    assert_eq!(prefixes(&ours.nlri), their_prefixes(&theirs.announced_prefixes), "{name}");
    assert_eq!(prefixes(&ours.withdrawn), their_prefixes(&theirs.withdrawn_prefixes), "{name}");
    let attributes = &ours.attributes;
    for value in theirs.attributes.iter() {
        match value {
            AttributeValue::Origin(origin) => {
                let known = attributes.origin.map(|origin| match origin {
                    Origin::Igp => bgpkit_parser::models::Origin::IGP,
                    Origin::Egp => bgpkit_parser::models::Origin::EGP,
                    Origin::Incomplete => bgpkit_parser::models::Origin::INCOMPLETE,
                });
                assert_eq!(known, Some(*origin), "{name}");
            }
            AttributeValue::AsPath(path) if params.four_octet_as => {
                let known: Vec<u32> =
                    attributes.as_path.iter().flat_map(|path| path.asns()).map(|asn| asn.0).collect();
                let read: Vec<u32> = path.to_u32_vec_opt(false).unwrap_or_default();
                assert!(read.is_empty() || known == read, "{name}: {known:?} and {read:?}");
            }
            AttributeValue::MultiExitDiscriminator(med) => assert_eq!(attributes.med, Some(*med), "{name}"),
            AttributeValue::LocalPreference(preference) => {
                assert!(attributes.local_pref.is_none_or(|known| known == *preference), "{name}");
            }
            AttributeValue::OnlyToCustomer(asn) => {
                assert_eq!(attributes.otc.map(|otc| otc.0), Some(asn.to_u32()), "{name}");
            }
            AttributeValue::Communities(list) => {
                assert_eq!(attributes.communities.len(), list.len(), "{name}")
            }
            AttributeValue::LargeCommunities(list) => {
                assert_eq!(attributes.large_communities.len(), list.len(), "{name}");
            }
            AttributeValue::ExtendedCommunities(list) => {
                assert_eq!(attributes.extended_communities.len(), list.len(), "{name}");
            }
            AttributeValue::Clusters(list) => {
                let known: Vec<u32> = attributes.cluster_list.iter().map(|id| id.0).collect();
                assert!(known.is_empty() || known == *list, "{name}");
            }
            AttributeValue::MpReachNlri(nlri) => {
                let reach = ours.mp_reach.as_ref().expect("an MP_REACH_NLRI");
                if let MpNlri::Prefixes(list) = &reach.nlri
                    && same_for(reach.family)
                {
                    assert_eq!(prefixes(list), their_prefixes(&nlri.prefixes), "{name}");
                    assert!(!matches!(reach.next_hop, NextHop::Opaque(_)), "{name}");
                }
            }
            AttributeValue::MpUnreachNlri(nlri) => {
                let unreach = ours.mp_unreach.as_ref().expect("an MP_UNREACH_NLRI");
                if let MpNlri::Prefixes(list) = &unreach.nlri
                    && same_for(unreach.family)
                {
                    assert_eq!(prefixes(list), their_prefixes(&nlri.prefixes), "{name}");
                }
            }
            _ => {}
        }
    }
}

fn prefixes(list: &[PathNlri]) -> Vec<(Option<u32>, IpNet)> {
    list.iter().map(|nlri| (nlri.path_id, nlri.prefix)).collect()
}

fn their_prefixes(list: &[NetworkPrefix]) -> Vec<(Option<u32>, IpNet)> {
    list.iter().map(|nlri| (nlri.path_id, nlri.prefix)).collect()
}

/// The same four-octet AS number twice: in the OPEN's capability and in the value.
#[test]
fn opens_carry_the_as_number_of_their_capability() {
    each(|name, _, message| {
        if message.octets[18] == 1
            && let Ok(open) = Open::decode(&message.octets[19..])
        {
            assert_eq!(open.asn.0, 64512, "{name}");
        }
    });
}
