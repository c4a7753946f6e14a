//! Every decode error, the bytes that cause it, and the NOTIFICATION that answers it (RFC 4271 §6).

mod common;

use bgp_proto::{Decoder, Message, Notification, SessionParams};
use common::{encode, hex, message};

#[test]
fn errors_answer_with_the_code_subcode_and_data_of_rfc_4271() {
    let open = |body: &str| message(1, &hex(body));
    let update = |body: &str| message(2, &hex(body));
    let sound = "40010100 400204 0201 fde8 400304c0000201";
    let with = |attributes: &str| {
        let block = hex(&format!("{sound} {attributes}"));
        let len = u16::try_from(block.len()).unwrap().to_be_bytes();
        message(2, &[&[0, 0][..], &len, &block, &hex("18cb0071")].concat())
    };
    let mut bad_marker = message(4, &[]);
    bad_marker[3] = 0;
    let cases = [
        ("marker", bad_marker, (1, 1), ""),
        ("length below the header", hex(&format!("{} 0012 04", "ff".repeat(16))), (1, 2), "0012"),
        ("length above the maximum", hex(&format!("{} 1001 02", "ff".repeat(16))), (1, 2), "1001"),
        ("keepalive with a body", message(4, &[0]), (1, 2), "0014"),
        ("open too short", message(1, &[4; 9]), (1, 2), "001c"),
        ("type", message(6, &[]), (1, 3), "06"),
        ("version", open("03 fde8 00b4 c0000201 00"), (2, 1), "0004"),
        ("AS 0", open("04 0000 00b4 c0000201 00"), (2, 2), ""),
        ("AS 0 in the capability", open("04 fde8 00b4 c0000201 08 0206 4104 00000000"), (2, 2), ""),
        ("identifier 0", open("04 fde8 00b4 00000000 00"), (2, 3), ""),
        ("parameter 1", open("04 fde8 00b4 c0000201 03 01 01 00"), (2, 4), ""),
        ("hold time 1", open("04 fde8 0001 c0000201 00"), (2, 6), ""),
        ("hold time 2", open("04 fde8 0002 c0000201 00"), (2, 6), ""),
        ("parameters shorter than said", open("04 fde8 00b4 c0000201 05 0200"), (2, 0), ""),
        ("octets after the parameters", open("04 fde8 00b4 c0000201 00 0200"), (2, 0), ""),
        ("a parameter beyond the rest", open("04 fde8 00b4 c0000201 02 0201"), (2, 0), ""),
        ("a capability beyond its parameter", open("04 fde8 00b4 c0000201 04 0202 0104"), (2, 0), ""),
        ("half a capability", open("04 fde8 00b4 c0000201 03 0201 01"), (2, 0), ""),
        ("a four-octet AS of two octets", open("04 fde8 00b4 c0000201 06 0204 4102 fde8"), (2, 0), ""),
        ("RFC 9072 without a length", open("04 fde8 00b4 c0000201 ff ff"), (2, 0), ""),
        ("RFC 9072 with half a length", open("04 fde8 00b4 c0000201 ff ff 00"), (2, 0), ""),
        ("RFC 9072 with a wrong length", open("04 fde8 00b4 c0000201 ff ff 0005 02 0000"), (2, 0), ""),
        ("RFC 9072 with half a parameter", open("04 fde8 00b4 c0000201 ff ff 0002 02 00"), (2, 0), ""),
        ("RFC 9072 within RFC 9072", open("04 fde8 00b4 c0000201 ff ff 0003 ff 0000"), (2, 4), ""),
        ("withdrawn routes beyond the message", update("0005 0000"), (3, 1), ""),
        ("attributes beyond the message", update("0000 0001"), (3, 1), ""),
        ("an unknown well-known attribute", with("406301 2a"), (3, 2), "4063012a"),
        ("MP_REACH_NLRI twice", with("800e00 800e00"), (3, 1), ""),
        ("a bad attribute and no NLRI", update("0000 0006 c00803 000000"), (3, 5), "c00803000000"),
        ("bad flags and no NLRI", update("0000 0004 800101 00"), (3, 4), "80010100"),
        ("ORIGIN 9 and no NLRI", update("0000 0004 400101 09"), (3, 6), "40010109"),
        ("NEXT_HOP 0 and no NLRI", update("0000 0007 400304 00000000"), (3, 8), "40030400000000"),
        ("an empty segment and no NLRI", update("0000 0005 400202 0200"), (3, 11), ""),
        ("an overrun and no NLRI", update("0000 0004 400104 09"), (3, 1), ""),
        (
            "an MP next hop of 5 octets",
            with("800e0a 0002 01 05 0000000000 00"),
            (3, 9),
            "800e0a00020105000000000000",
        ),
        ("MP_REACH_NLRI of 4 octets", with("800e04 0002 01 10"), (3, 5), "800e0400020110"),
        ("MP NLRI of 129 bits", with("800f04 0002 01 81"), (3, 10), ""),
        ("NLRI of 33 bits", update("0000 0000 21 0000000000"), (3, 10), ""),
        ("notification too short", message(3, &[6]), (1, 2), "0014"),
        ("route refresh too short", message(5, &[0, 1, 0]), (1, 2), "0016"),
        (
            "BoRR too long",
            message(5, &hex("0001 01 01 00")),
            (7, 1),
            "ffffffffffffffffffffffffffffffff 0018 05 0001 01 01 00",
        ),
    ];
    for (name, bytes, (code, subcode), data) in cases {
        let mut decoder = Decoder::new(SessionParams::default());
        let error = Message::decode(&mut decoder, &bytes).expect_err(name);
        let expected = Notification { code, subcode, data: hex(data) };
        assert_eq!(error.notification(), expected, "{name}: {error}");
        encode(&Message::Notification(error.notification()), &decoder.params);
    }
}

/// RFC 4271 §6.5, RFC 9687 §6.
#[test]
fn notifications_of_timers_have_their_codes() {
    for (notification, code) in
        [(Notification::hold_timer_expired(), 4), (Notification::send_hold_timer_expired(), 8)]
    {
        assert_eq!((notification.code, notification.subcode, notification.data.len()), (code, 0, 0));
        let bytes = encode(&Message::Notification(notification.clone()), &SessionParams::default());
        assert_eq!(bytes[16..], [0, 21, 3, code, 0]);
    }
}

/// RFC 5291: a filter after the request. We never offer it; the request stands.
#[test]
fn outbound_route_filters_are_skipped() {
    let bytes = message(5, &hex("0001 00 01  01 40 0006 00 00000001 18"));
    let decoded = Message::decode(&mut Decoder::default(), &bytes);
    assert!(matches!(decoded, Ok(Message::RouteRefresh(refresh)) if refresh.subtype == 0));
}
