//! The bodies of the fuzz targets, as library functions.
//!
//! | Target | Input | What must hold |
//! |---|---|---|
//! | [`decode_message`] | session octet, message body with a type octet | a value or an error whose NOTIFICATION fits |
//! | [`attributes`] | session octet, attribute block | the report is consistent; memory and problems are bounded |
//! | [`open`] | message body | what decodes, encodes and decodes to itself |
//! | [`nlri`] | session octet, NLRI field | iteration ends; each prefix has one canonical form |
//! | [`roundtrip`] | session octet, type octet, message body | decode, encode, decode: equal |
//! | [`framing`] | session octet, seed octet, stream | any chunking of a stream gives the same messages |
//!
//! A session octet selects what was negotiated ([`session`]), so that the fuzzer explores every context.
//!
//! Replay of the committed corpus, with any toolchain: `cargo test`. A crash that a fuzzer finds is minimized, added to
//! `corpus/<target>/`, and thereby a test from then on.
//!
//! Fuzzing, with nightly and cargo-fuzz, from the repository's root:
//!
//! ```text
//! cargo +nightly fuzz run --features libfuzzer roundtrip fuzz/corpus/roundtrip -- -max_total_time=60 -max_len=4200
//! ```

use bgp_proto::{
    AfiSafi, Decoder, EncodeError, FamilySet, MAX_PROBLEMS, MandatoryNeeds, Message, MpReachView,
    MpUnreachView, NlriIter, Open, PathAttributes, PeerType, RawAttributes, SessionParams, UpdateView,
    decode_attributes, decode_prefix, encode_prefix, frame,
};
use bytes::{Buf, BytesMut};

/// A fuzz target's body.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also the name of its corpus directory.
pub const TARGETS: &[(&str, Target)] = &[
    ("attributes", attributes),
    ("decode_message", decode_message),
    ("framing", framing),
    ("nlri", nlri),
    ("open", open),
    ("roundtrip", roundtrip),
];

/// The session that an octet selects: one bit each for internal, four-octet AS numbers, extended messages, ADD-PATH of
/// IPv4 and of IPv6 in both directions, and IPv6 next hops for IPv4.
pub fn session(octet: u8) -> SessionParams {
    let bit = |index: u8| octet >> index & 1 == 1;
    let families = |pairs: &[(bool, AfiSafi)]| -> FamilySet {
        pairs.iter().filter_map(|(is_in, family)| is_in.then_some(*family)).collect()
    };
    let add_path = families(&[(bit(3), AfiSafi::IPV4_UNICAST), (bit(4), AfiSafi::IPV6_UNICAST)]);
    SessionParams {
        peer_type: if bit(0) { PeerType::Internal } else { PeerType::External },
        four_octet_as: bit(1),
        extended_messages: bit(2),
        add_path_rx: add_path.clone(),
        add_path_tx: add_path,
        extended_next_hop: families(&[(bit(5), AfiSafi::IPV4_UNICAST)]),
    }
}

/// Any message body under any session.
pub fn decode_message(data: &[u8]) {
    let [octet, kind, body @ ..] = data else { return };
    let bytes = message(*kind, body);
    let mut decoder = Decoder::new(session(*octet));
    if let Err(error) = Message::decode(&mut decoder, &bytes) {
        let notification = error.notification();
        assert!(notification.data.len() <= bytes.len(), "no octet that was not received");
        let mut out = BytesMut::new();
        let sent = Message::Notification(notification).encode(&SessionParams::default(), &mut out);
        assert_eq!(sent, Ok(()), "an answer fits the smallest message");
        assert!(!error.to_string().is_empty());
    }
}

/// An attribute block, as bytes, as views and as values.
pub fn attributes(data: &[u8]) {
    let [octet, block @ ..] = data else { return };
    let params = session(*octet);
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

/// Decode, encode, decode: the two values are equal. Problems are of the first bytes and gone from the second.
pub fn roundtrip(data: &[u8]) {
    let [octet, kind, body @ ..] = data else { return };
    let params = session(*octet);
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

/// A stream, received at once and in chunks whose lengths follow from a seed: the same frames, the same error.
pub fn framing(data: &[u8]) {
    let [octet, seed, stream @ ..] = data else { return };
    let params = session(*octet);
    // Fuzzers do not guess sixteen octets of ones: 0xfe stands for a marker, so that streams get past the header.
    let mut bytes = Vec::new();
    for &octet in stream {
        if octet == 0xfe { bytes.extend([0xff; 16]) } else { bytes.push(octet) }
    }
    let whole = frames(&params, core::iter::once(&bytes[..]));
    let mut state = u32::from(*seed) | 1;
    let mut rest = &bytes[..];
    let chunks = core::iter::from_fn(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let len = (state >> 24) as usize % 40 + 1;
        let (chunk, tail) = rest.split_at(len.min(rest.len()));
        rest = tail;
        (!chunk.is_empty()).then_some(chunk)
    });
    assert_eq!(whole, frames(&params, chunks));
}

/// The lengths of all messages of a stream, and how it ended: `None` for want of bytes, an error's text otherwise.
fn frames<'a>(
    params: &SessionParams,
    chunks: impl Iterator<Item = &'a [u8]>,
) -> (Vec<usize>, Option<String>) {
    let mut buf = BytesMut::new();
    let mut lens = Vec::new();
    for chunk in chunks {
        buf.extend_from_slice(chunk);
        loop {
            match frame(&buf, params) {
                Ok(Some(found)) => {
                    let len = found.bytes.len();
                    assert!((19..=params.max_message_len()).contains(&len));
                    if let Ok(view) = UpdateView::parse(found.body()) {
                        assert!(view.attributes.len() <= len);
                    }
                    lens.push(len);
                    buf.advance(len);
                }
                Ok(None) => break,
                Err(error) => return (lens, Some(error.to_string())),
            }
        }
        assert!(
            buf.len() < params.max_message_len() + chunk.len(),
            "a partial message is shorter than the maximum"
        );
    }
    (lens, None)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let body = &body[..body.len().min(65535 - 19)];
    let len = u16::try_from(19 + body.len()).expect("cut above");
    [&[0xff; 16][..], &len.to_be_bytes(), &[kind], body].concat()
}

/// Problems are not sent. Nor, on a two-octet session, is everything about confederation segments amid a path
/// (RFC 6793 §3 keeps them out of AS4_PATH).
fn forget_problems(message: &mut Message, params: &SessionParams) {
    if let Message::Update(update) = message {
        update.problems.clear();
        if !params.four_octet_as {
            let path = update.attributes.as_path.take();
            update.attributes.as_path = path.map(|path| path.without_confederation());
        }
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
