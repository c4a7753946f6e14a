//! BGP-4 messages as bytes and as values.
//!
//! A codec and nothing else: no I/O, no clock, no logging, no state beyond what a session negotiated. Any bytes end in
//! a value or in a typed error, never in a panic; the [`manual`] argues why.
//!
//! # The way through
//!
//! ```text
//! TCP bytes -> frame()  -> Frame -> Message::decode()     -> Message             tools, tests, all but UPDATE
//!                               `-> UpdateView::parse()   -> withdrawn, attributes, nlri      the hot path
//!                                     NlriIter            -> Nlri, one by one
//!                                     OpaqueNlriIter      -> OpaqueNlri of any family
//!                                     RawAttributes       -> RawAttribute, one by one
//!                                     MpReachView, MpUnreachView
//!                                     decode_attributes() -> PathAttributes + problems and their RFC 7606 action
//! ```
//!
//! The views on the second path borrow from the receive buffer and allocate nothing. The attribute block can be looked
//! up as bytes, so that only attributes not seen before are decoded.
//!
//! What depends on the session is in [`SessionParams`]: four-octet AS numbers, ADD-PATH by family and direction,
//! extended messages, extended next hops, internal or external. Nothing is guessed from the bytes.
//!
//! # A session's first bytes
//!
//! ```
//! use bgp_proto::{Decoder, HEADER_LEN, Message, SessionParams, frame};
//! use bytes::{Buf, BytesMut};
//!
//! let mut decoder = Decoder::new(SessionParams::default());
//! let mut received = BytesMut::new();
//! # let mut network = BytesMut::new();
//! # Message::Keepalive.encode(&decoder.params, &mut network)?;
//! # Message::Keepalive.encode(&decoder.params, &mut network)?;
//! # let mut count = 0;
//! for segment in network.chunks(7) {
//!     received.extend_from_slice(segment);
//!     while let Some(found) = frame(&received, &decoder.params)? {
//!         let message = Message::decode_frame(&mut decoder, found)?;
//!         assert_eq!(message, Message::Keepalive);
//!         let len = found.bytes.len();
//!         assert!(len >= HEADER_LEN);
//!         received.advance(len);
//! #       count += 1;
//!     }
//! }
//! # assert_eq!(count, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Errors
//!
//! - [`DecodeError`]: the session must end; [`DecodeError::notification`] is what to send (RFC 4271 §6).
//!
//!   ```
//!   use bgp_proto::Open;
//!
//!   let body = [4, 0xfc, 0, 0, 2, 192, 0, 2, 1, 0];
//!   let error = Open::decode(&body).unwrap_err();
//!   assert_eq!(error.to_string(), "unacceptable hold time of 2 s");
//!   assert_eq!(error.notification().to_string(), "OPEN Message Error/Unacceptable Hold Time");
//!   ```
//! - [`AttributeError`]: one attribute is bad; [`AttributeError::action`] says what becomes of the UPDATE (RFC 7606).
//!   All rules are rows of one table, [`attribute_rules`].
//!
//!   ```
//!   use bgp_proto::{MandatoryNeeds, SessionParams, UpdateErrorAction, decode_attributes};
//!
//!   // COMMUNITIES of five octets, then an unknown optional transitive attribute.
//!   let block = [0xc0, 8, 5, 0, 0, 0, 0, 0, 0xc0, 99, 1, 7];
//!   let needs = MandatoryNeeds { has_nlri: true, has_classic_nlri: false };
//!   let report = decode_attributes(&block, &SessionParams::default(), needs);
//!   assert_eq!(report.action, Some(UpdateErrorAction::TreatAsWithdraw));
//!   assert_eq!(report.problems[0].error.to_string(), "COMMUNITIES at octet 0: 8 octets needed, 5 available");
//!   assert_eq!(report.attributes.unknown[0].code.0, 99);
//!   ```
//! - [`NlriError`]: prefixes cannot be split.
//! - [`EncodeError`]: a value has no wire form; nothing was written.
//!
//! - [`FilterError`]: outbound route filters cannot be split; the request that they came with stands.
//!
//! # Families
//!
//! IPv4 and IPv6, unicast and multicast, are read into prefixes. Labelled unicast, VPN-IPv4 and VPN-IPv6, EVPN, route
//! targets, flow specifications and those of VPNs are split into [`OpaqueNlri`], which a reflector carries verbatim,
//! with the octets that identify each route. Any other family is negotiated and named, and its NLRI are ignored.
//!
//! # Standards
//!
//! The list of RFCs, each with the tests that hold it, is in [`manual::standards`].
//!
//! # Features
//!
//! - `serde`: [`Asn`] and [`HoldTime`] as numbers; [`BgpId`], [`AfiSafi`] and the communities in their usual notation.
#![forbid(unsafe_code)]
// A peer's bytes must not reach any of these; `manual` says what takes their place.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used,
    )
)]

mod attr;
mod capability;
mod code_points;
mod error;
pub mod manual;
mod message;
mod nlri;
mod session_params;
mod types;
mod wire;

pub use attr::{
    Acceptance, Aggregator, Aigp, AsPath, AsPathSegment, AsPathSegmentKind, AttributeRule, AttributesReport,
    LengthRule, MAX_PROBLEMS, MandatoryNeeds, MpNlri, MpReach, MpReachView, MpUnreach, MpUnreachView,
    NextHop, OpaqueNextHop, Origin, PartialSet, PathAttributes, RawAttribute, RawAttributes,
    UnknownAttribute, attribute_rules, decode_attributes, put_attribute, put_attribute_header,
};
pub use capability::{
    AddPathDirection, Capability, GracefulRestart, GracefulRestartFamily, LongLivedFamily,
    OutboundFilterFamily,
};
pub use code_points::{
    AttributeCode, AttributeFlags, CapabilityCode, MessageType, NotificationCode, subcode,
};
pub use error::{
    AttributeError, AttributeErrorReason, AttributeProblem, DecodeError, EncodeError, FilterError, NlriError,
    UpdateErrorAction,
};
pub use message::{
    Decoder, Frame, HEADER_LEN, MAX_EXTENDED_LEN, MAX_LEN, Message, Notification, Open, OutboundFilterBlock,
    OutboundFilters, RouteRefresh, Update, UpdateView, finish_message, frame, put_header,
};
pub use nlri::{
    MAX_PREFIX_WIRE_LEN, Nlri, NlriIter, OpaqueNlri, OpaqueNlriBuf, OpaqueNlriIter, PathNlri, check_nlri,
    decode_prefix, encode_prefix, put_prefix,
};
pub use session_params::{PeerType, SessionParams};
pub use types::{
    Afi, AfiSafi, Asn, BgpId, Community, ExtendedCommunity, FamilySet, HoldTime, HoldTimeError,
    Ipv6ExtendedCommunity, LargeCommunity, ParseValueError, Safi,
};
