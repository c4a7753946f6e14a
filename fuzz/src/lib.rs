//! The bodies of the fuzz targets, as library functions.
//!
//! | Target | Input | What must hold |
//! |---|---|---|
//! | [`decode_message`] | session octet, type octet, message body | a value or an error whose NOTIFICATION fits |
//! | [`open`] | message body | what decodes, encodes and decodes to itself |
//! | [`capabilities`] | capabilities | an OPEN around them is a value or an error; each has a text |
//! | [`update`] | session octet, message body | the views and the value agree |
//! | [`notification`] | message body | decode, encode: the same octets; the text is printable |
//! | [`route_refresh`] | message body | the request stands, whatever filters follow |
//! | [`attributes`] | session octet, attribute block | the report is consistent; memory and problems are bounded |
//! | [`as_path`] | session octet, AS_PATH, AS4_PATH | merged, encoded and decoded: equal; its text reads back |
//! | [`aigp`] | an AIGP value | decode, encode: the same octets |
//! | [`mp_reach`] | session octet, an MP_REACH_NLRI value | next hop and routes are written as they were read |
//! | [`mp_unreach`] | session octet, an MP_UNREACH_NLRI value | the routes consume the field |
//! | [`nlri`] | session octet, NLRI field | iteration ends; each prefix has one canonical form |
//! | [`opaque_nlri`] | family octet, NLRI field | iteration ends; withdrawals have the key of the announcement |
//! | [`text`] | text | what is read is written the same way |
//! | [`roundtrip`] | session octet, type octet, message body | decode, encode, decode: equal |
//! | [`framing`] | session octet, seed octet, stream | any chunking of a stream gives the same messages |
//! | [`session`] | operations and octets | a whole speaker lives on, and its books balance |
//!
//! A session octet selects what was negotiated ([`params`]), so that the fuzzer explores every context.
//!
//! Replay of the committed corpus, with any toolchain: `cargo test`. A crash that a fuzzer finds is minimized, added to
//! `corpus/<target>/`, and thereby a test from then on.
//!
//! Fuzzing with coverage, on stable Rust, from the repository's root, every target for its share of the time:
//!
//! ```text
//! cargo xtask fuzz --seconds 600
//! ```

mod messages;
mod speaker;
mod stream;
mod structures;

use bgp_proto::{Afi, AfiSafi, FamilySet, Message, PeerType, Safi, SessionParams};

pub use messages::{decode_message, notification, open, roundtrip, route_refresh, update};
pub use speaker::session;
pub use stream::framing;
pub use structures::{
    aigp, as_path, attributes, capabilities, mp_reach, mp_unreach, nlri, opaque_nlri, text,
};

/// A fuzz target's body.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also the name of its corpus directory.
pub const TARGETS: &[(&str, Target)] = &[
    ("aigp", aigp),
    ("as_path", as_path),
    ("attributes", attributes),
    ("capabilities", capabilities),
    ("decode_message", decode_message),
    ("framing", framing),
    ("mp_reach", mp_reach),
    ("mp_unreach", mp_unreach),
    ("nlri", nlri),
    ("notification", notification),
    ("opaque_nlri", opaque_nlri),
    ("open", open),
    ("roundtrip", roundtrip),
    ("route_refresh", route_refresh),
    ("session", session),
    ("text", text),
    ("update", update),
];

const EVPN: AfiSafi = AfiSafi::new(Afi::L2VPN, Safi::EVPN);
const VPN_V4: AfiSafi = AfiSafi::new(Afi::IPV4, Safi::MPLS_VPN);

/// The session that an octet selects: one bit each for internal, four-octet AS numbers, extended messages, ADD-PATH of
/// IPv4 and of IPv6 in both directions, IPv6 next hops for IPv4, and ADD-PATH of VPNs.
pub fn params(octet: u8) -> SessionParams {
    let bit = |index: u8| octet >> index & 1 == 1;
    let families = |pairs: &[(bool, AfiSafi)]| -> FamilySet {
        pairs.iter().filter_map(|(is_in, family)| is_in.then_some(*family)).collect()
    };
    let add_path = families(&[
        (bit(3), AfiSafi::IPV4_UNICAST),
        (bit(4), AfiSafi::IPV6_UNICAST),
        (bit(6), EVPN),
        (bit(6), VPN_V4),
    ]);
    SessionParams {
        peer_type: if bit(0) { PeerType::Internal } else { PeerType::External },
        four_octet_as: bit(1),
        extended_messages: bit(2),
        add_path_rx: add_path.clone(),
        add_path_tx: add_path,
        extended_next_hop: families(&[(bit(5), AfiSafi::IPV4_UNICAST), (bit(5), VPN_V4)]),
    }
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
