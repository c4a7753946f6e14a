//! Every fixture both ways; every truncation and every flipped bit of every fixture.

mod common;

use bgp_proto::{Decoder, Frame, Message, Open, RouteRefresh, SessionParams, Update, frame};
use common::{encode, fixtures, message};

#[test]
fn fixtures_decode_to_their_values() {
    for fixture in fixtures::all() {
        let mut decoder = Decoder::new(fixture.params);
        assert_eq!(Message::decode(&mut decoder, &fixture.bytes), Ok(fixture.value), "{}", fixture.name);
    }
}

#[test]
fn fixtures_encode_to_their_bytes() {
    for fixture in fixtures::all() {
        assert_eq!(encode(&fixture.value, &fixture.params), fixture.bytes, "{}", fixture.name);
    }
}

#[test]
fn a_truncated_fixture_waits_for_more() {
    for fixture in fixtures::all() {
        for len in 0..fixture.bytes.len() {
            assert_eq!(frame(&fixture.bytes[..len], &fixture.params), Ok(None), "{}", fixture.name);
        }
        let found = frame(&fixture.bytes, &fixture.params).unwrap().unwrap();
        assert_eq!(found.bytes, fixture.bytes);
    }
}

#[test]
fn a_body_cut_anywhere_is_a_value_or_an_error() {
    for fixture in fixtures::all() {
        let kind = fixture.bytes[18];
        for len in 19..fixture.bytes.len() {
            // With a header that claims exactly the shorter body.
            let cut = message(kind, &fixture.bytes[19..len]);
            check(fixture.name, &fixture.params, &cut);
            bodies(&fixture.params, kind, &fixture.bytes[19..len]);
        }
    }
}

#[test]
fn any_flipped_bit_is_a_value_or_an_error() {
    for fixture in fixtures::all() {
        for at in 0..fixture.bytes.len() {
            for bit in 0..8 {
                let mut bytes = fixture.bytes.clone();
                bytes[at] ^= 1 << bit;
                check(fixture.name, &fixture.params, &bytes);
            }
        }
    }
}

#[test]
fn any_octet_value_is_a_value_or_an_error() {
    for fixture in fixtures::all() {
        for at in 19..fixture.bytes.len() {
            for value in 0..=u8::MAX {
                let mut bytes = fixture.bytes.clone();
                bytes[at] = value;
                check(fixture.name, &fixture.params, &bytes);
            }
        }
    }
}

/// Decodes; a value must encode and decode to itself, an error must fit a NOTIFICATION of at most what was received.
fn check(name: &str, params: &SessionParams, bytes: &[u8]) {
    let mut decoder = Decoder::new(params.clone());
    match Message::decode(&mut decoder, bytes) {
        Ok(mut value) => {
            if let Message::Update(update) = &mut value {
                update.problems.clear();
            }
            let again = Message::decode(&mut decoder, &encode(&value, params));
            let again = again.map(|mut again| {
                if let Message::Update(update) = &mut again {
                    update.problems.clear();
                }
                again
            });
            assert_eq!(again, Ok(value), "{name}: {bytes:02x?}");
        }
        Err(error) => {
            let notification = error.notification();
            assert!(!error.to_string().is_empty() && !notification.to_string().is_empty());
            assert!(notification.data.len() <= bytes.len(), "{name}: {error}");
            assert!((1..=7).contains(&notification.code), "{name}: {error}");
        }
    }
}

/// The decoders of bodies alone, which callers may reach without a frame.
fn bodies(params: &SessionParams, kind: u8, body: &[u8]) {
    match kind {
        1 => drop(Open::decode(body)),
        2 => drop(Update::decode(body, params)),
        5 => {
            let bytes = message(kind, body);
            drop(RouteRefresh::decode(Frame { kind: kind.into(), bytes: &bytes }));
        }
        _ => {}
    }
}
