//! An attribute block into values and problems, by the table of RFC 7606.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use bytes::Bytes;

use crate::attr::next_hop::is_ipv4_host;
use crate::attr::{
    Acceptance, Aggregator, Aigp, AsPath, AttributeRule, Origin, PathAttributes, RawAttribute, RawAttributes,
    UnknownAttribute, rule,
};
use crate::code_points::{AttributeCode, AttributeFlags};
use crate::error::{AttributeError, AttributeErrorReason, AttributeProblem, UpdateErrorAction};
use crate::session_params::{PeerType, SessionParams};
use crate::types::{Asn, BgpId, Community, ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity};
use crate::wire::Reader;

/// The most problems that one report lists; the strongest action counts them all.
pub const MAX_PROBLEMS: usize = 32;

/// What the UPDATE around the attributes announces; decides which attributes are mandatory (RFC 7606 §3 (d), §5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MandatoryNeeds {
    /// Prefixes are announced, in the NLRI field or in MP_REACH_NLRI: ORIGIN and AS_PATH are mandatory.
    pub has_nlri: bool,
    /// Prefixes are announced in the NLRI field: NEXT_HOP is mandatory (RFC 4760 §3).
    pub has_classic_nlri: bool,
}

/// The outcome of decoding an attribute block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributesReport {
    /// What could be read. Attributes with a problem are absent.
    pub attributes: PathAttributes,
    /// What could not, in the order found, at most [`MAX_PROBLEMS`].
    pub problems: Vec<AttributeProblem>,
    /// The strongest action of all problems; `None` if there was none.
    pub action: Option<UpdateErrorAction>,
}

impl AttributesReport {
    /// The problem that asks for the strongest action, the first among equals.
    pub fn worst(&self) -> Option<&AttributeProblem> {
        self.problems.iter().find(|problem| Some(problem.action) == self.action)
    }

    fn record(&mut self, error: AttributeError, needs: MandatoryNeeds) {
        let mut action = error.action();
        // RFC 7606 §5.2: without announced prefixes nothing shows that the prefixes were found where they are, so
        // that whatever is stronger than a discard ends the session.
        if !needs.has_nlri && action > UpdateErrorAction::AttributeDiscard {
            action = UpdateErrorAction::SessionReset;
        }
        let is_stronger = self.action.is_none_or(|strongest| action > strongest);
        self.action = self.action.max(Some(action));
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(AttributeProblem { error, action });
        } else if is_stronger && let Some(last) = self.problems.last_mut() {
            // The report always holds the problem that explains its action.
            *last = AttributeProblem { error, action };
        }
    }
}

/// Decodes an attribute block, all but MP_REACH_NLRI and MP_UNREACH_NLRI, whose flags alone are judged here: their
/// values are for [`MpReachView`](crate::MpReachView) and [`MpUnreachView`](crate::MpUnreachView).
///
/// Never fails: what is wrong is in the report, together with what RFC 7606 asks for. The order of attributes does
/// not matter (RFC 4271 §5). Attributes without a row in [`attribute_rules`](crate::attribute_rules) go by their
/// flags: optional transitive ones are kept with the Partial bit set, optional non-transitive ones are dropped,
/// and well-known ones reset the session (RFC 4271 §6.3 and §9).
pub fn decode_attributes(bytes: &[u8], params: &SessionParams, needs: MandatoryNeeds) -> AttributesReport {
    let mut block = Block { params, seen: [0; 4], as4_path: None, as4_aggregator: None };
    let mut report = AttributesReport::default();
    let mut attributes = RawAttributes::new(bytes);
    loop {
        let offset = attributes.offset();
        let outcome = match attributes.next() {
            None => break,
            // RFC 7606 §4: the block's length is right, the attribute's is not.
            Some(Err(error)) => Err(error),
            Some(Ok(raw)) => {
                block.attribute(&raw, &mut report.attributes).map_err(|reason| raw.error(offset, reason))
            }
        };
        if let Err(error) = outcome {
            report.record(error, needs);
        }
    }
    block.merge_as4(&mut report.attributes);
    for (is_needed, code) in [
        (needs.has_nlri, AttributeCode::ORIGIN),
        (needs.has_nlri, AttributeCode::AS_PATH),
        (needs.has_classic_nlri, AttributeCode::NEXT_HOP),
    ] {
        if is_needed && !block.has_seen(code) {
            report.record(AttributeError::missing(code, bytes.len()), needs);
        }
    }
    report.attributes.unknown.sort_by_key(|attribute| attribute.code);
    report
}

/// What is known about the block while walking it.
struct Block<'p> {
    params: &'p SessionParams,
    /// One bit per type code.
    seen: [u64; 4],
    as4_path: Option<AsPath>,
    as4_aggregator: Option<Aggregator>,
}

impl Block<'_> {
    fn attribute(
        &mut self,
        raw: &RawAttribute<'_>,
        attributes: &mut PathAttributes,
    ) -> Result<(), AttributeErrorReason> {
        // RFC 7606 §3 (g): the first one counts, whatever became of it.
        if self.mark_seen(raw.code) {
            return Err(AttributeErrorReason::Duplicate);
        }
        let Some(rule) = rule(raw.code) else {
            return unknown(raw, attributes);
        };
        self.check(raw, rule)?;
        self.value(raw, attributes)?;
        // RFC 4271 §5: once set, it stays. Where it has no meaning it is ignored.
        if raw.flags.contains(AttributeFlags::PARTIAL)
            && rule.flags == AttributeFlags::OPTIONAL_TRANSITIVE
            && rule.accepted != Acceptance::TwoOctetAsOnly
        {
            attributes.partial.insert(raw.code);
        }
        Ok(())
    }

    fn check(&self, raw: &RawAttribute<'_>, rule: &AttributeRule) -> Result<(), AttributeErrorReason> {
        // First: an attribute that is dropped unread cannot do harm by its flags or length.
        if !rule.is_accepted(self.params) {
            return Err(AttributeErrorReason::NotAllowed);
        }
        if raw.flags.class() != rule.flags {
            return Err(AttributeErrorReason::Flags { found: raw.flags, expected: rule.flags });
        }
        if matches!(raw.code, AttributeCode::MP_REACH_NLRI | AttributeCode::MP_UNREACH_NLRI) {
            return Ok(());
        }
        let available = raw.value.len();
        rule.length
            .check(available, self.params)
            .map_err(|needed| AttributeErrorReason::Length { needed, available })
    }

    fn value(&mut self, raw: &RawAttribute<'_>, to: &mut PathAttributes) -> Result<(), AttributeErrorReason> {
        let value = raw.value;
        let four_octet = self.params.four_octet_as;
        match raw.code {
            AttributeCode::ORIGIN => to.origin = Some(origin(value)?),
            AttributeCode::AS_PATH => {
                let confederation = self.params.peer_type == PeerType::Internal;
                to.as_path = Some(AsPath::read(value, four_octet, confederation)?);
            }
            AttributeCode::NEXT_HOP => to.next_hop = Some(next_hop(value)?),
            AttributeCode::MED => to.med = Some(number(value)?),
            AttributeCode::LOCAL_PREF => to.local_pref = Some(number(value)?),
            AttributeCode::ATOMIC_AGGREGATE => to.atomic_aggregate = true,
            AttributeCode::AGGREGATOR => to.aggregator = Some(aggregator(value, four_octet)?),
            AttributeCode::COMMUNITIES => to.communities = numbers(value, Community),
            AttributeCode::ORIGINATOR_ID => to.originator_id = Some(BgpId(number(value)?)),
            AttributeCode::CLUSTER_LIST => to.cluster_list = numbers(value, BgpId),
            AttributeCode::EXTENDED_COMMUNITIES => {
                let (chunks, _) = value.as_chunks::<8>();
                to.extended_communities = chunks.iter().copied().map(ExtendedCommunity).collect();
            }
            // RFC 6793 §6: confederation segments are dropped, not an error.
            AttributeCode::AS4_PATH => self.as4_path = Some(AsPath::read(value, true, true)?),
            AttributeCode::AS4_AGGREGATOR => self.as4_aggregator = Some(aggregator(value, true)?),
            AttributeCode::IPV6_EXTENDED_COMMUNITIES => {
                let (chunks, _) = value.as_chunks::<20>();
                to.ipv6_extended_communities = chunks.iter().copied().map(Ipv6ExtendedCommunity).collect();
            }
            AttributeCode::AIGP => to.aigp = Some(Aigp::decode(value)?),
            AttributeCode::OTC => to.otc = Some(Asn(number(value)?)),
            AttributeCode::LARGE_COMMUNITIES => to.large_communities = large_communities(value),
            _ => {}
        }
        Ok(())
    }

    /// RFC 6793 §4.2.3, once all attributes are in: their order must not matter.
    fn merge_as4(&mut self, attributes: &mut PathAttributes) {
        if let Some(aggregator) = &mut attributes.aggregator
            && let Some(as4_aggregator) = self.as4_aggregator.take()
        {
            if aggregator.asn != Asn::TRANS {
                // A two-octet speaker aggregated on the way: both AS4 attributes are stale.
                return;
            }
            *aggregator = as4_aggregator;
        }
        if let Some(as4_path) = self.as4_path.take() {
            attributes.as_path = attributes.as_path.take().map(|as_path| as_path.merge_as4(as4_path));
        }
    }

    /// Notes the code; true if it was noted before.
    fn mark_seen(&mut self, code: AttributeCode) -> bool {
        let (word, bit) = position(code);
        let Some(word) = self.seen.get_mut(word) else {
            return false;
        };
        let was_seen = *word & bit != 0;
        *word |= bit;
        was_seen
    }

    fn has_seen(&self, code: AttributeCode) -> bool {
        let (word, bit) = position(code);
        self.seen.get(word).is_some_and(|word| word & bit != 0)
    }
}

fn position(code: AttributeCode) -> (usize, u64) {
    (usize::from(code.0 >> 6), 1 << (code.0 & 63))
}

fn unknown(raw: &RawAttribute<'_>, attributes: &mut PathAttributes) -> Result<(), AttributeErrorReason> {
    if !raw.flags.contains(AttributeFlags::OPTIONAL) {
        return Err(AttributeErrorReason::UnrecognizedWellKnown);
    }
    if raw.flags.contains(AttributeFlags::TRANSITIVE) {
        // RFC 4271 §9: accepted, and Partial from here on.
        let flags = AttributeFlags::OPTIONAL_TRANSITIVE | AttributeFlags::PARTIAL;
        let value = Bytes::copy_from_slice(raw.value);
        attributes.unknown.push(UnknownAttribute { flags, code: raw.code, value });
    }
    Ok(())
}

fn origin(value: &[u8]) -> Result<Origin, AttributeErrorReason> {
    match value {
        [0] => Ok(Origin::Igp),
        [1] => Ok(Origin::Egp),
        [2] => Ok(Origin::Incomplete),
        [value] => Err(AttributeErrorReason::InvalidOrigin { value: *value }),
        _ => Err(AttributeErrorReason::Length { needed: 1, available: value.len() }),
    }
}

fn next_hop(value: &[u8]) -> Result<Ipv4Addr, AttributeErrorReason> {
    let address = Ipv4Addr::from_bits(number(value)?);
    if is_ipv4_host(address) { Ok(address) } else { Err(AttributeErrorReason::InvalidNextHop) }
}

fn number(value: &[u8]) -> Result<u32, AttributeErrorReason> {
    <[u8; 4]>::try_from(value)
        .map(u32::from_be_bytes)
        .map_err(|_| AttributeErrorReason::Length { needed: 4, available: value.len() })
}

fn numbers<T>(value: &[u8], wrap: impl Fn(u32) -> T) -> Vec<T> {
    let (chunks, _) = value.as_chunks::<4>();
    chunks.iter().map(|raw| wrap(u32::from_be_bytes(*raw))).collect()
}

fn aggregator(value: &[u8], four_octet: bool) -> Result<Aggregator, AttributeErrorReason> {
    let length =
        || AttributeErrorReason::Length { needed: if four_octet { 8 } else { 6 }, available: value.len() };
    let mut reader = Reader::new(value);
    let asn = if four_octet { reader.u32() } else { reader.u16().map(u32::from) };
    let (Ok(asn), Ok(address), true) = (asn, reader.u32(), reader.is_empty()) else {
        return Err(length());
    };
    // RFC 7607 §2.
    if asn == 0 {
        return Err(AttributeErrorReason::AsZero);
    }
    Ok(Aggregator { asn: Asn(asn), address: Ipv4Addr::from_bits(address) })
}

/// RFC 8092 §5: a receiver silently removes duplicates. A set, so that a full attribute costs linear time.
fn large_communities(value: &[u8]) -> Vec<LargeCommunity> {
    let (chunks, _) = value.as_chunks::<12>();
    let mut communities: Vec<LargeCommunity> = chunks.iter().map(large_community).collect();
    if communities.len() > 1 {
        let mut seen = HashSet::with_capacity(communities.len());
        communities.retain(|community| seen.insert(*community));
    }
    communities
}

fn large_community(raw: &[u8; 12]) -> LargeCommunity {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *raw;
    LargeCommunity {
        global: u32::from_be_bytes([a, b, c, d]),
        local1: u32::from_be_bytes([e, f, g, h]),
        local2: u32::from_be_bytes([i, j, k, l]),
    }
}
