//! Whole messages.

use bgp_proto::{
    AfiSafi, AttributeCode, Decoder, EncodeError, Frame, HEADER_LEN, Message, MpReachView, MpUnreachView,
    Notification, Open, OutboundFilters, RawAttributes, RouteRefresh, SessionParams, Update, UpdateView,
    check_nlri, decode_attributes,
};
use bytes::BytesMut;

use crate::{forget_problems, message, params};

/// Any message body under any session.
pub fn decode_message(data: &[u8]) {
    let [octet, kind, body @ ..] = data else { return };
    let bytes = message(*kind, body);
    let mut decoder = Decoder::new(params(*octet));
    if let Err(error) = Message::decode(&mut decoder, &bytes) {
        let notification = error.notification();
        assert!(notification.data.len() <= bytes.len(), "no octet that was not received");
        let mut out = BytesMut::new();
        let sent = Message::Notification(notification).encode(&SessionParams::default(), &mut out);
        assert_eq!(sent, Ok(()), "an answer fits the smallest message");
        assert!(!error.to_string().is_empty());
    }
}

/// The body of an OPEN.
pub fn open(data: &[u8]) {
    let Ok(open) = Open::decode(data) else { return };
    let params = SessionParams::default();
    let mut out = BytesMut::new();
    match Message::Open(open.clone()).encode(&params, &mut out) {
        Ok(()) => assert_eq!(Message::decode(&mut Decoder::new(params), &out), Ok(Message::Open(open))),
        Err(EncodeError::MessageTooLong { .. }) => assert!(data.len() > 3900, "only a long OPEN is too long"),
        Err(error) => panic!("{error}"),
    }
}

/// The body of an UPDATE, read both ways.
pub fn update(data: &[u8]) {
    let [octet, body @ ..] = data else { return };
    let params = params(*octet);
    let view = UpdateView::parse(body);
    let value = Update::decode(body, &params);
    let (Ok(view), Ok(value)) = (&view, &value) else {
        assert!(view.is_ok() || value.is_err(), "what cannot be split has no value");
        return;
    };
    // Attributes that are dropped unread leave no trace in a value.
    assert!(
        view.end_of_rib().is_none() || view.end_of_rib() == value.is_end_of_rib(),
        "both know an End-of-RIB"
    );
    let has_path_ids = params.add_path_rx(AfiSafi::IPV4_UNICAST);
    let count = |field| check_nlri(field, AfiSafi::IPV4_UNICAST, has_path_ids);
    assert_eq!(count(view.withdrawn), Ok(value.withdrawn.len()));
    assert_eq!(count(view.nlri), Ok(value.nlri.len()));
    let report = decode_attributes(view.attributes, &params, view.mandatory_needs());
    assert_eq!(report.attributes, value.attributes);
    assert!(value.action() >= report.action);
    for raw in RawAttributes::new(view.attributes).flatten() {
        match raw.code {
            AttributeCode::MP_REACH_NLRI => {
                let reach = MpReachView::parse(raw.value, &params).ok();
                let len = reach.map(|reach| reach.opaque(&params).flatten().count());
                assert_eq!(len, value.mp_reach.as_ref().map(|reach| reach.nlri.len()));
            }
            AttributeCode::MP_UNREACH_NLRI => {
                let unreach = MpUnreachView::parse(raw.value).expect("checked by the value");
                if let Some(read) = &value.mp_unreach {
                    assert_eq!(unreach.opaque(&params).flatten().count(), read.nlri.len());
                }
            }
            _ => {}
        }
    }
}

/// The body of a NOTIFICATION.
pub fn notification(data: &[u8]) {
    let Ok(notification) = Notification::decode(data) else {
        assert!(data.len() < 2, "two octets make a NOTIFICATION");
        return;
    };
    assert!(!notification.to_string().chars().any(char::is_control), "a peer's text does no harm");
    let reason = notification.hard_reset_reason();
    assert_eq!(reason.is_some(), notification.is_hard_reset() && data.len() >= 4);
    assert_eq!(
        reason.map(|reason| Notification::hard_reset(&reason)).unwrap_or(notification.clone()).code,
        data[0]
    );
    let mut out = BytesMut::new();
    let session = SessionParams { extended_messages: true, ..SessionParams::default() };
    if Message::Notification(notification).encode(&session, &mut out).is_ok() {
        assert_eq!(out[HEADER_LEN..], *data);
    }
}

/// The body of a ROUTE-REFRESH.
pub fn route_refresh(data: &[u8]) {
    let bytes = message(5, data);
    let frame = Frame { kind: 5.into(), bytes: &bytes };
    let Ok(refresh) = RouteRefresh::decode(frame) else { return };
    let mut left = data.len();
    for block in OutboundFilters::find(frame).into_iter().flatten() {
        let Ok(block) = block else { break };
        left = left.checked_sub(3 + block.entries.len()).expect("blocks are within the message");
    }
    let mut out = BytesMut::new();
    assert_eq!(Message::RouteRefresh(refresh).encode(&SessionParams::default(), &mut out), Ok(()));
    assert_eq!(out[HEADER_LEN..], data[..4], "the request without its filters");
}

/// Decode, encode, decode: the two values are equal. Problems are of the first bytes and gone from the second.
pub fn roundtrip(data: &[u8]) {
    let [octet, kind, body @ ..] = data else { return };
    let params = params(*octet);
    let mut decoder = Decoder::new(params.clone());
    let Ok(mut first) = Message::decode(&mut decoder, &message(*kind, body)) else { return };
    forget_problems(&mut first, &params);
    let mut out = BytesMut::new();
    match first.encode(&params, &mut out) {
        Ok(()) => {
            let mut second = Message::decode(&mut decoder, &out).expect("what was encoded decodes");
            forget_problems(&mut second, &params);
            assert_eq!(first, second);
        }
        // A merged AS4_PATH is written twice, once with two-octet numbers.
        Err(EncodeError::MessageTooLong { .. }) => assert!(data.len() > params.max_message_len() / 4),
        Err(error) => panic!("{error}"),
    }
}
