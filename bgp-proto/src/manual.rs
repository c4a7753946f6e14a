//! Why this crate is as it is: what cannot happen, what was decided, and what was refused.
//!
//! # Contents
//!
//! - [No input can panic](#no-input-can-panic), and what keeps it so;
//! - [Memory and time](#memory-and-time) that a message can cost;
//! - [Decisions](#decisions) and [Deviations](#deviations) from the RFCs;
//! - [`standards`]: every RFC with its tests.
//!
//! # No input can panic
//!
//! BGP daemons crash on lengths. The classes below come from two decades of advisories against implementations in C and,
//! just as well, in memory-safe languages, where an index out of bounds ends the process instead of corrupting it. Each
//! class is closed by construction, and a lint or a test keeps it closed.
//!
//! | Class | How it is closed |
//! |---|---|
//! | Length field beyond the remaining octets | Octets are only ever taken by `wire::Reader`, `split_at_checked`, `split_first_chunk`, `get` or a slice pattern. `clippy::indexing_slicing` and `string_slice` are denied. |
//! | Arithmetic on lengths | `clippy::arithmetic_side_effects` is denied; sums saturate, and the result is compared before use. Casts that could cut are denied too (`cast_possible_truncation`); what remains are enum discriminants and widenings. |
//! | A nested field that advances by nothing | [`RawAttributes`](crate::RawAttributes) consumes at least three octets a step, [`NlriIter`](crate::NlriIter) one, a capability two, a path segment two. After an error both iterators are at their end. |
//! | Expansion on parsing | No value is larger than a small constant times its bytes; a report lists at most [`MAX_PROBLEMS`](crate::MAX_PROBLEMS) problems; there is no recursion, so that no input decides the depth of the stack. |
//! | Re-encoding into a buffer that is too small | Output goes to a growing buffer; the message's length is checked at the end and the buffer restored on error. |
//! | Dependence on attribute order | AS4_PATH and AS4_AGGREGATOR are merged after the last attribute, whatever their order. |
//! | Width that depends on the session | [`SessionParams`](crate::SessionParams) is an argument of everything that needs it. |
//! | A prefix longer than its family | Checked before the octets are taken; [`Nlri::canonical`](crate::Nlri::canonical) writes into seventeen octets and cannot leave them. |
//! | Memory disclosed in a NOTIFICATION | Data are copies of received octets, cut to one message. |
//! | A peer's text in our terminal | [`Notification`](crate::Notification) escapes it when displayed. |
//! | Right parse, wrong disposition | One table of RFC 7606 ([`attribute_rules`](crate::attribute_rules)), one function from reason to action, one test per row. |
//!
//! The lints hold for the whole crate except its tests; `unsafe` is forbidden. `expect` and `unwrap` do not occur. What
//! can still panic is an allocation that fails, and its size is bounded by the message's.
//!
//! Beside the lints, tests keep each class closed: `tests/fixtures.rs` cuts every fixture everywhere and flips every bit
//! of it, `fuzz/` has a target per message and per nested structure, and the same is done to what five daemons really
//! send.
//!
//! # Memory and time
//!
//! A view allocates nothing. A value costs at most 64 octets per octet of its message, temporaries included, and the dearest
//! are routes without any octets but their length. Lists are sized before they are filled: an NLRI field is counted, then
//! collected. Time is linear in the length: no attribute is searched for, duplicates are found by one bit each, and the
//! one list that must lose its duplicates, LARGE_COMMUNITIES, does so through a hash set. `tests/bounds.rs` counts with an
//! allocator of its own, for every fixture, every mutation of it, arbitrary bytes and the shapes that cost most.
//!
//! # Decisions
//!
//! **Two ways to read an UPDATE.** [`Update`](crate::Update) is a value: easy to build, compare and print. A speaker that
//! takes a million prefixes a second cannot afford it, so [`UpdateView`](crate::UpdateView) only finds the fields, and
//! the iterators below it borrow. Both share every rule; the owned one is built from the borrowed one.
//!
//! **Attributes are bytes first.** A table of a million routes has a few ten thousand attribute sets. A speaker looks the
//! block up as bytes and decodes what it has not seen. This is why MP_REACH_NLRI and MP_UNREACH_NLRI are not part of
//! [`PathAttributes`](crate::PathAttributes): they belong to one UPDATE, the rest is shared by many.
//!
//! **Decoding attributes cannot fail.** [`decode_attributes`](crate::decode_attributes) returns what it could read *and*
//! what was wrong. Under RFC 7606 most errors do not end anything, several may occur together, and the strongest decides;
//! a `Result` would have to choose one.
//!
//! **AS numbers have four octets.** Two-octet sessions are an encoding: AS_TRANS, AS4_PATH and AS4_AGGREGATOR exist on the
//! wire only. An AS4_PATH on a four-octet session is discarded (RFC 6793 §6).
//!
//! **Unknown is not wrong.** Code points are open newtypes, unknown capabilities and attributes are values. A capability
//! of a known code with a malformed value is kept as unknown: the feature stays off, the session comes up. The four-octet
//! AS capability is the exception, since a disagreement about it would corrupt every path.
//!
//! **Partial is set on receipt.** An optional transitive attribute that we do not recognize is Partial from the moment
//! that we decode it, so that a value is what will be sent, and encodes to the same bytes each time.
//!
//! **Partial stays set.** An attribute that we do know keeps the bit that somebody before us set
//! ([`PathAttributes::partial`](crate::PathAttributes::partial)), because nobody may clear it (RFC 4271 §5).
//!
//! **Opaque families are split, not read.** A reflector needs to know where one NLRI ends and which route it means, and
//! nothing else. Both follow from lengths at fixed places; labels, EVPN's ESI and flow components stay octets, so that a
//! new route type or component needs no new release. What lies inside is for the routers at the ends to judge.
//!
//! **Filters are refused politely.** A peer's outbound route filters (RFC 5291) can be shown, its request stands, and
//! nothing is filtered: that is what a speaker promises which does not offer the capability.
//!
//! **Next hops are judged late.** [`MpReachView`](crate::MpReachView) accepts `::` as a next hop, because its prefixes can
//! still be told apart and hence be treated as withdrawn. [`NextHop::is_host`](crate::NextHop::is_host) is the check.
//!
//! **MP errors reset the session.** RFC 7606 lets an implementation disable the family instead. A family that is silently
//! dead until somebody looks is worse than a reset that everybody sees. A family that was never agreed upon is ignored.
//!
//! # Deviations
//!
//! - RFC 4271 §6.3 has an optional attribute's error answered by subcode 9, and length errors by 5. Where both apply,
//!   the length wins.
//! - RFC 4271 §5.1.3 leaves "valid host address" open. Zero, multicast and class E are refused as NEXT_HOP; loopback is
//!   not, so that several speakers can share one machine.
//! - RFC 6793 §6 wants confederation segments inside AS4_PATH dropped, and they are. When AS4_PATH is merged, a
//!   confederation segment in the middle of AS_PATH survives only next to what is kept; it does not belong there.
//! - RFC 8277 §2.2 allows one label where nothing else was agreed upon, and ignores its bottom-of-stack bit. BIRD sends
//!   several unasked, and every implementation sets the bit: labels are read up to the one that has it.
//! - RFC 7311 §3.4 leaves AIGP to configuration, by session. It is accepted on internal sessions and discarded on external
//!   ones, the defaults that the RFC names; a speaker must not send it to an external peer.
//! - RFC 4684 §4 has route target NLRI of 32 bits at least, but for the default. Shorter ones end the session: they
//!   would do so at each client to which they were reflected.

pub mod standards;
