//! RFC 7606: what becomes of an UPDATE, attribute by attribute and reason by reason.

mod common;

use bgp_proto::UpdateErrorAction::{AfiSafiDisable, AttributeDiscard, SessionReset, TreatAsWithdraw};
use bgp_proto::*;
use common::fixtures::{external, internal};
use common::hex;

const ANNOUNCES: MandatoryNeeds = MandatoryNeeds { has_nlri: true, has_classic_nlri: true };
const ANNOUNCES_MP: MandatoryNeeds = MandatoryNeeds { has_nlri: true, has_classic_nlri: false };
const WITHDRAWS: MandatoryNeeds = MandatoryNeeds { has_nlri: false, has_classic_nlri: false };

/// ORIGIN, AS_PATH 65000, NEXT_HOP 192.0.2.1.
const MANDATORY: &str = "400101 00  400206 0201 0000fde8  400304 c0000201";

#[test]
fn one_table_of_blocks_and_actions() {
    let two = SessionParams::default;
    let cases: &[(&str, SessionParams, MandatoryNeeds, String, Option<UpdateErrorAction>)] = &[
        ("sound", external(), ANNOUNCES, MANDATORY.into(), None),
        (
            "sound in reverse",
            external(),
            ANNOUNCES,
            "400304c0000201 4002060201 0000fde8 40010100".into(),
            None,
        ),
        ("empty", external(), WITHDRAWS, String::new(), None),
        // §3 (c)
        (
            "ORIGIN flagged optional",
            external(),
            ANNOUNCES,
            MANDATORY.replacen("40", "c0", 1),
            Some(TreatAsWithdraw),
        ),
        ("ORIGIN with reserved flag bits", external(), ANNOUNCES, MANDATORY.replacen("40", "4f", 1), None),
        (
            "MED flagged transitive",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} c00404 00000001"),
            Some(TreatAsWithdraw),
        ),
        // §3 (d)
        (
            "without ORIGIN",
            external(),
            ANNOUNCES,
            "4002060201 0000fde8 400304c0000201".into(),
            Some(TreatAsWithdraw),
        ),
        ("without AS_PATH", external(), ANNOUNCES, "40010100 400304c0000201".into(), Some(TreatAsWithdraw)),
        (
            "without NEXT_HOP",
            external(),
            ANNOUNCES,
            "40010100 4002060201 0000fde8".into(),
            Some(TreatAsWithdraw),
        ),
        (
            "without NEXT_HOP beside MP_REACH_NLRI",
            external(),
            ANNOUNCES_MP,
            "40010100 4002060201 0000fde8".into(),
            None,
        ),
        // §3 (g)
        ("ORIGIN twice", external(), ANNOUNCES, format!("{MANDATORY} 40010102"), Some(AttributeDiscard)),
        (
            "unknown twice",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} c06300 c06300"),
            Some(AttributeDiscard),
        ),
        (
            "MP_REACH_NLRI twice",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} 800e00 800e00"),
            Some(SessionReset),
        ),
        (
            "MP_UNREACH_NLRI twice",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} 800f00 800f00"),
            Some(SessionReset),
        ),
        // §3 (h): the strongest wins.
        (
            "two errors",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} 40010102 c00803 000000"),
            Some(TreatAsWithdraw),
        ),
        // §4
        (
            "an attribute beyond the block",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} c00808 0000"),
            Some(TreatAsWithdraw),
        ),
        ("two octets left", external(), ANNOUNCES, format!("{MANDATORY} c008"), Some(TreatAsWithdraw)),
        (
            "an extended length cut in half",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} d00800"),
            Some(TreatAsWithdraw),
        ),
        // §5.2
        (
            "a malformed attribute without NLRI",
            external(),
            WITHDRAWS,
            "c00803 000000".into(),
            Some(SessionReset),
        ),
        (
            "a discarded attribute without NLRI",
            external(),
            WITHDRAWS,
            "c00703 000000".into(),
            Some(AttributeDiscard),
        ),
        // §7.1
        (
            "ORIGIN 3",
            external(),
            ANNOUNCES,
            MANDATORY.replacen("400101 00", "400101 03", 1),
            Some(TreatAsWithdraw),
        ),
        (
            "ORIGIN of 0 octets",
            external(),
            ANNOUNCES,
            MANDATORY.replacen("400101 00", "400100", 1),
            Some(TreatAsWithdraw),
        ),
        // §7.2
        (
            "a path segment of no AS",
            external(),
            ANNOUNCES,
            MANDATORY.replacen("400206 0201 0000fde8", "400202 0200", 1),
            Some(TreatAsWithdraw),
        ),
        (
            "a path segment of type 0",
            external(),
            ANNOUNCES,
            MANDATORY.replacen("0201", "0001", 1),
            Some(TreatAsWithdraw),
        ),
        (
            "a path segment beyond the path",
            external(),
            ANNOUNCES,
            MANDATORY.replacen("0201", "0202", 1),
            Some(TreatAsWithdraw),
        ),
        (
            "one octet after the last segment",
            external(),
            ANNOUNCES,
            MANDATORY.replacen("400206 0201 0000fde8", "400207 0201 0000fde8 02", 1),
            Some(TreatAsWithdraw),
        ),
        (
            "two-octet numbers on a four-octet session",
            external(),
            ANNOUNCES,
            MANDATORY.replacen("400206 0201 0000fde8", "400204 0201 fde8", 1),
            Some(TreatAsWithdraw),
        ),
        (
            "AS 0 in the path",
            external(),
            ANNOUNCES,
            MANDATORY.replacen("0000fde8", "00000000", 1),
            Some(TreatAsWithdraw),
        ),
        (
            "a confederation segment from outside",
            external(),
            ANNOUNCES,
            MANDATORY.replacen("0201", "0301", 1),
            Some(TreatAsWithdraw),
        ),
        (
            "a confederation segment from inside",
            internal(),
            ANNOUNCES,
            MANDATORY.replacen("0201", "0301", 1),
            None,
        ),
        // §7.3
        (
            "NEXT_HOP of 3 octets",
            external(),
            ANNOUNCES,
            MANDATORY.replacen("400304 c0000201", "400303 c00002", 1),
            Some(TreatAsWithdraw),
        ),
        (
            "NEXT_HOP 0.0.0.0",
            external(),
            ANNOUNCES,
            MANDATORY.replacen("c0000201", "00000000", 1),
            Some(TreatAsWithdraw),
        ),
        (
            "NEXT_HOP 224.0.0.1",
            external(),
            ANNOUNCES,
            MANDATORY.replacen("c0000201", "e0000001", 1),
            Some(TreatAsWithdraw),
        ),
        // §7.5, §7.9, §7.10: from outside unread, whatever its shape.
        (
            "LOCAL_PREF from outside",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} 400504 00000064"),
            Some(AttributeDiscard),
        ),
        (
            "a malformed LOCAL_PREF from outside",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} c00501 00"),
            Some(AttributeDiscard),
        ),
        (
            "ORIGINATOR_ID from outside",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} 800904 0a000001"),
            Some(AttributeDiscard),
        ),
        (
            "CLUSTER_LIST from outside",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} 800a04 0a000001"),
            Some(AttributeDiscard),
        ),
        (
            "all three from inside",
            internal(),
            ANNOUNCES,
            format!("{MANDATORY} 400504 00000064 800904 0a000001 800a04 0a000001"),
            None,
        ),
        // §7.7, RFC 7607, RFC 6793 §6
        (
            "AGGREGATOR of AS 0",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} c00708 00000000 0a000001"),
            Some(AttributeDiscard),
        ),
        (
            "AGGREGATOR of the other width",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} c00706 fde8 0a000001"),
            Some(AttributeDiscard),
        ),
        (
            "AS4_PATH on a four-octet session",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} c01106 0201 0000fde8"),
            Some(AttributeDiscard),
        ),
        (
            "a malformed AS4_PATH",
            two(),
            ANNOUNCES,
            format!("400204 0201 fde8 c01103 020100 {}", "400101 00 400304 c0000201"),
            Some(AttributeDiscard),
        ),
        (
            "a malformed AS4_AGGREGATOR",
            two(),
            ANNOUNCES,
            format!("400204 0201 fde8 c01203 020100 {}", "400101 00 400304 c0000201"),
            Some(AttributeDiscard),
        ),
        // RFC 7606 §7.15, RFC 7311 §3.2 and §3.4, RFC 9234 §5
        (
            "IPV6_EXTENDED_COMMUNITIES of 19 octets",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} c01913 {}", "00".repeat(19)),
            Some(TreatAsWithdraw),
        ),
        ("AIGP from outside", external(), ANNOUNCES, format!("{MANDATORY} 801a00"), Some(AttributeDiscard)),
        (
            "AIGP with a metric of 4 octets",
            internal(),
            ANNOUNCES,
            format!("{MANDATORY} 801a07 01 0007 00000001"),
            Some(AttributeDiscard),
        ),
        (
            "AIGP flagged transitive",
            internal(),
            ANNOUNCES,
            format!("{MANDATORY} c01a00"),
            Some(TreatAsWithdraw),
        ),
        (
            "AIGP with a TLV of length 0",
            internal(),
            ANNOUNCES,
            format!("{MANDATORY} 801a03 09 0000"),
            Some(AttributeDiscard),
        ),
        ("AIGP", internal(), ANNOUNCES, format!("{MANDATORY} 801a0b 01 000b 0000000000000001"), None),
        ("OTC", external(), ANNOUNCES, format!("{MANDATORY} c02304 0000fde8"), None),
        (
            "OTC of 3 octets",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} c02303 00fde8"),
            Some(TreatAsWithdraw),
        ),
        (
            "OTC of 1024 octets",
            external(),
            ANNOUNCES,
            format!("{MANDATORY} d0230400 {}", "00".repeat(1024)),
            Some(TreatAsWithdraw),
        ),
        // RFC 4271 §6.3 and §9
        ("unknown and well-known", external(), ANNOUNCES, format!("{MANDATORY} 406300"), Some(SessionReset)),
        ("unknown, optional, transitive", external(), ANNOUNCES, format!("{MANDATORY} c06300"), None),
        ("unknown, optional, not transitive", external(), ANNOUNCES, format!("{MANDATORY} 806300"), None),
    ];
    for (name, params, needs, block, expected) in cases {
        let report = decode_attributes(&hex(block), params, *needs);
        assert_eq!(report.action, *expected, "{name}: {:?}", report.problems);
        assert_eq!(report.worst().map(|problem| problem.action), *expected, "{name}");
    }
}

#[test]
fn every_row_of_the_table_holds() {
    for rule in attribute_rules() {
        let params = match rule.accepted {
            Acceptance::InternalOnly => internal(),
            Acceptance::TwoOctetAsOnly => SessionParams::default(),
            _ => external(),
        };
        // Three octets are a wrong length for every attribute with a length rule, and half a segment for a path.
        let mut block = bytes::BytesMut::new();
        put_attribute(&mut block, rule.flags, rule.code, &[2, 1, 0]);
        let is_mp = matches!(rule.code, AttributeCode::MP_REACH_NLRI | AttributeCode::MP_UNREACH_NLRI);
        if !is_mp {
            let report = decode_attributes(&block, &params, WITHDRAWS);
            let error = &report.problems[0].error;
            assert_eq!(error.action(), rule.malformed, "{} by {}", rule.code, rule.rfc);
            assert!(matches!(error.reason, AttributeErrorReason::Length { .. }), "{}", rule.code);
        }
        // RFC 7606 §3 (c).
        block[0] ^= AttributeFlags::OPTIONAL.0;
        let report = decode_attributes(&block, &params, ANNOUNCES);
        assert!(
            matches!(report.problems[0].error.reason, AttributeErrorReason::Flags { .. }),
            "{}",
            rule.code
        );
        assert_eq!(report.problems[0].action, TreatAsWithdraw, "{}", rule.code);
    }
}

#[test]
fn the_first_of_two_counts() {
    let block = hex(&format!("{MANDATORY} 400101 02 e06301 07 c06301 08"));
    let report = decode_attributes(&block, &external(), ANNOUNCES);
    assert_eq!(report.attributes.origin, Some(Origin::Igp));
    assert_eq!(report.attributes.unknown[0].value[..], [7]);
    let second = &report.problems[0].error;
    assert_eq!((second.offset, &second.received[..]), (20, &[0x40, 1, 1, 2][..]));
}

#[test]
fn unknown_attributes_are_partial_and_sorted() {
    let block = hex("c0c800 c06301ff 80c900");
    let report = decode_attributes(&block, &external(), WITHDRAWS);
    let found: Vec<_> = report.attributes.unknown.iter().map(|one| (one.code.0, one.flags.0)).collect();
    assert_eq!(found, [(99, 0xe0), (200, 0xe0)], "the one that is not transitive is gone");
}

/// RFC 4271 §5: a speaker that knows the attribute does not clear the bit.
#[test]
fn the_partial_bit_stays() {
    let block = hex("e00804 fde80064 e02304 0000fde8 c02304 00000001");
    let report = decode_attributes(&block, &external(), WITHDRAWS);
    let partial: Vec<_> = report.attributes.partial.iter().collect();
    assert_eq!(partial, [AttributeCode::COMMUNITIES, AttributeCode::OTC]);
    let mut out = bytes::BytesMut::new();
    report.attributes.encode(&external(), &mut out);
    assert_eq!(out[..], block[..14]);
    // Where it must be clear, it is ignored (RFC 4271 §4.3): well-known, optional non-transitive.
    let report = decode_attributes(&hex("600101 00 a00404 00000001"), &external(), WITHDRAWS);
    assert_eq!(report.action, None);
    assert!(report.attributes.partial.is_empty());
}

#[test]
fn problems_are_bounded_and_keep_the_worst() {
    let mut block = vec![0x40, 1, 1, 0];
    for _ in 0..5000 {
        block.extend([0x40, 1, 1, 0]);
    }
    block.extend([0x40, 250, 0]);
    let report = decode_attributes(&block, &external(), ANNOUNCES_MP);
    assert_eq!(report.problems.len(), MAX_PROBLEMS);
    assert_eq!(report.action, Some(SessionReset));
    assert_eq!(report.worst().unwrap().error.reason, AttributeErrorReason::UnrecognizedWellKnown);
}

#[test]
fn large_communities_lose_their_duplicates() {
    let one = "0000fbf0 00000001 00000002";
    let report = decode_attributes(&hex(&format!("c02018 {one} {one}")), &external(), WITHDRAWS);
    assert_eq!(report.attributes.large_communities.len(), 1);
    assert_eq!(report.action, None);
}

#[test]
fn as4_attributes_merge_in_any_order() {
    let params = SessionParams::default();
    let two_octets = "400101 00 400206 0202 fde9 5ba0 c00706 5ba0 0a000001";
    let four_octets = "c01106 0201 fa56ea00 c01208 fa56ea00 0a000002";
    for block in [format!("{two_octets} {four_octets}"), format!("{four_octets} {two_octets}")] {
        let attributes = decode_attributes(&hex(&block), &params, ANNOUNCES_MP).attributes;
        assert_eq!(attributes.as_path.unwrap().to_string(), "65001 4200000000");
        let aggregator = Aggregator { asn: Asn(4_200_000_000), address: [10, 0, 0, 2].into() };
        assert_eq!(attributes.aggregator, Some(aggregator));
    }
    // RFC 6793 §4.2.3: a two-octet aggregator on the way makes both stale.
    let block = format!("400101 00 400206 0202 fde9 5ba0 c00706 fde9 0a000001 {four_octets}");
    let attributes = decode_attributes(&hex(&block), &params, ANNOUNCES_MP).attributes;
    assert_eq!(attributes.as_path.unwrap().to_string(), "65001 23456");
    assert_eq!(attributes.aggregator.unwrap().asn, Asn(65001));
}

/// An UPDATE of MANDATORY, further attributes and NLRI.
fn update(attributes: &str, nlri: &str) -> Vec<u8> {
    let block = hex(&format!("{MANDATORY} {attributes}"));
    let mut body = vec![0, 0];
    body.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    body.extend(block);
    body.extend(hex(nlri));
    body
}

#[test]
fn an_update_with_contained_errors_is_a_value_with_problems() {
    let v6_next_hop = |octets: &str| format!("800e19 0002 01 10 {octets} 00 18 200100");
    let params = external();
    let cases = [
        ("sound", update(&v6_next_hop("20010db8000000000000000000000001"), "18cb0071"), None),
        ("MP next hop ::", update(&v6_next_hop(&"00".repeat(16)), "18cb0071"), Some(TreatAsWithdraw)),
        (
            "a family that nobody agreed upon",
            update("800e05 4004 47 00 00", "18cb0071"),
            Some(AfiSafiDisable),
        ),
        ("withdrawals of such a family", update("800f04 4004 47 00", "18cb0071"), Some(AfiSafiDisable)),
        (
            "both kinds of NLRI, discarded LOCAL_PREF",
            update("400504 00000064", "18cb0071"),
            Some(AttributeDiscard),
        ),
    ];
    for (name, body, action) in cases {
        let update = Update::decode(&body, &params).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(update.action(), action, "{name}");
        assert_eq!(update.nlri.len(), 1, "{name}");
    }
}

#[test]
fn an_update_that_cannot_be_split_resets_the_session() {
    let params = external();
    for (name, body) in [
        ("NLRI of 33 bits", update("", "21 cb00710000")),
        ("NLRI cut short", update("", "18 cb00")),
        ("withdrawn routes of 33 bits", hex("0006 21 0a00000000 0000")),
        (
            "IPv6 NLRI of 129 bits",
            update("800e17 0002 01 10 20010db8000000000000000000000001 00 8100", "18cb0071"),
        ),
        ("MP_REACH_NLRI with a next hop of 5 octets", update("800e0a 0002 01 05 0000000000 00", "18cb0071")),
        (
            "a VPN next hop without its route distinguisher",
            update("800e09 0001 80 04 c0000201 00", "18cb0071"),
        ),
        ("a labelled route without a label", update("800f04 0001 04 17", "18cb0071")),
        ("a VPN route of 121 bits", update("800f04 0001 80 79", "18cb0071")),
        ("a route target of 97 bits", update("800f04 0001 84 61", "18cb0071")),
        ("an EVPN route cut short", update("800f06 0019 46 02 21 00", "18cb0071")),
        ("a flow specification cut short", update("800f05 0001 85 f1 00", "18cb0071")),
        ("MP_REACH_NLRI cut in its next hop", update("800e06 0002 01 10 0000", "18cb0071")),
        ("MP_UNREACH_NLRI of 2 octets", update("800f02 0002", "18cb0071")),
    ] {
        let error = Update::decode(&body, &params).expect_err(name);
        assert_eq!(error.notification().code, NotificationCode::UPDATE_MESSAGE_ERROR.0, "{name}");
    }
}
