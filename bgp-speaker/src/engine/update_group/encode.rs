//! From best paths to bytes, once per group.

use super::key::GroupKey;
use super::log::ChunkBuilder;
use super::verdicts::{ChangedSet, ChangesId, Verdicts};
use crate::config::filter::NextHopChange;
use crate::config::{Announcement, Family, NextHopMode};
use crate::engine::kernel::KernelTable;
use crate::engine::next_hop::{ExportContext, export_next_hop};
use crate::engine::peer::SourceInfo;
use crate::engine::readvertise::{Refusal, Relation, is_reflected, may_readvertise};
use crate::engine::rib::{AttrTable, Path, PrefixId, Rib, Source};
use crate::engine::wire::{Edits, decode_canonical, prepend_as, rewrite, value_of};
use bgp_proto::{AttributeCode, AttributeFlags, BgpId, MessageType, NextHop, finish_message, put_header};
use bytes::{BufMut, BytesMut};
use ipnet::IpNet;
use std::collections::BTreeMap;

/// All that an export decision reads.
#[derive(Clone, Copy)]
pub struct ExportView<'a> {
    /// Paths of the group's family.
    pub rib: &'a Rib,
    /// Attributes.
    pub attrs: &'a AttrTable,
    /// Peers, by [`Source`].
    pub sources: &'a [SourceInfo],
    /// For CLUSTER_LIST.
    pub cluster_id: BgpId,
    /// What we originate, for filters that look at interfaces.
    pub announcements: &'a BTreeMap<IpNet, Announcement>,
    /// What others have in the kernel, likewise.
    pub kernel: &'a KernelTable,
}

impl ExportView<'_> {
    pub(super) fn source(&self, source: Source) -> Option<&SourceInfo> {
        (!source.is_own()).then(|| &self.sources[source.0 as usize])
    }
}

/// Does this path of a prefix go to the group, with which next hop, and what do filters change of it?
///
/// # Errors
/// The rule that keeps it back.
pub fn export(
    view: &ExportView<'_>,
    key: &GroupKey,
    id: PrefixId,
    path: Path,
    verdicts: &mut Verdicts,
) -> Result<(NextHop, ChangesId), Refusal> {
    let set = view.attrs.set(path.attr);
    let from = view.source(path.source).map(|source| source.relation);
    may_readvertise(from, key.relation, &set.record)?;
    let passed = verdicts.judge(view, key, id, path).ok_or(Refusal::Policy)?;
    let mode = match passed.next_hop {
        None => key.next_hop,
        Some(NextHopChange::SelfAddress) => NextHopMode::SelfAddress,
        Some(NextHopChange::Unchanged) => NextHopMode::Unchanged,
        Some(NextHopChange::Address(address)) => return Ok((address.into(), passed.changes)),
    };
    let context = ExportContext {
        family: key.family,
        mode,
        to_external: key.relation == Relation::External,
        own: key.own,
        extended_next_hop: key.extended_next_hop,
    };
    let next_hop = export_next_hop(&context, set.next_hop).ok_or(Refusal::NoNextHop)?;
    Ok((next_hop, passed.changes))
}

/// The attributes that the group is told for a path, as a block without MP_REACH_NLRI.
pub fn export_attributes(
    view: &ExportView<'_>,
    key: &GroupKey,
    path: Path,
    next_hop: NextHop,
    changed: Option<&ChangedSet>,
    edits: &mut Edits,
    out: &mut BytesMut,
) {
    let set = view.attrs.set(path.attr);
    let wire = changed.map_or(set.wire, |changed| &changed.wire);
    edits.clear();
    if key.relation == Relation::External {
        let as_path = value_of(wire, AttributeCode::AS_PATH).unwrap_or_default();
        let as_path = prepend_as(as_path, key.local_as);
        edits.put(AttributeFlags::WELL_KNOWN, AttributeCode::AS_PATH, [&as_path, &[]]);
    }
    if let (Family::Ipv4Unicast, NextHop::V4(v4)) = (key.family, next_hop) {
        edits.put(AttributeFlags::WELL_KNOWN, AttributeCode::NEXT_HOP, [&v4.octets(), &[]]);
    }
    match key.relation {
        Relation::External => {
            if !path.source.is_own() && !changed.is_some_and(|changed| changed.has_set_med) {
                // RFC 4271 §5.1.4: a received MED stays in the AS.
                edits.drop(AttributeCode::MED);
            }
            for code in [AttributeCode::LOCAL_PREF, AttributeCode::ORIGINATOR_ID, AttributeCode::CLUSTER_LIST]
            {
                edits.drop(code);
            }
            // RFC 7311 §3.2: not beyond the AS unless that is configured.
            edits.drop(AttributeCode::AIGP);
        }
        Relation::Client | Relation::NonClient => {
            let local_pref = changed.map_or(set.record.local_pref, |changed| changed.local_pref);
            let local_pref = local_pref.to_be_bytes();
            edits.put(AttributeFlags::WELL_KNOWN, AttributeCode::LOCAL_PREF, [&local_pref, &[]]);
            let source = view.source(path.source);
            if let Some(source) = source.filter(|source| is_reflected(Some(source.relation), key.relation)) {
                reflection_edits(view, wire, set.record.originator.unwrap_or(source.router_id), edits);
            }
        }
    }
    if key.four_octet_as {
        rewrite(wire, edits, out);
    } else {
        let mut four_octet = BytesMut::new();
        rewrite(wire, edits, &mut four_octet);
        decode_canonical(&four_octet).encode(&key.params(), out);
    }
}

/// RFC 4456 §8.
fn reflection_edits(view: &ExportView<'_>, wire: &[u8], originator: BgpId, edits: &mut Edits) {
    let originator = originator.0.to_be_bytes();
    edits.put(AttributeFlags::OPTIONAL, AttributeCode::ORIGINATOR_ID, [&originator, &[]]);
    let own = view.cluster_id.0.to_be_bytes();
    let before = value_of(wire, AttributeCode::CLUSTER_LIST).unwrap_or_default();
    edits.put(AttributeFlags::OPTIONAL, AttributeCode::CLUSTER_LIST, [&own, before]);
}

/// One announcement to encode.
#[derive(Clone, Copy, Debug)]
pub struct Announce {
    /// Its path; in an ADD-PATH group under the identifier that members are told.
    pub path: Path,
    /// As [`export`] said.
    pub next_hop: NextHop,
    /// As [`export`] said.
    pub changes: ChangesId,
    /// Of which prefix.
    pub id: PrefixId,
}

/// Encodes announcements, packed by attributes.
pub fn encode_announcements(
    view: &ExportView<'_>,
    key: &GroupKey,
    announcements: &mut [Announce],
    verdicts: &Verdicts,
    out: &mut ChunkBuilder,
) {
    announcements.sort_unstable_by_key(|a| (a.path.attr, a.path.source, a.changes, a.id));
    let (mut block, mut edits) = (BytesMut::new(), Edits::default());
    let is_same = |a: &Announce, b: &Announce| {
        (a.path.attr, a.path.source, a.changes) == (b.path.attr, b.path.source, b.changes)
    };
    for run in announcements.chunk_by(is_same) {
        let Some(first) = run.first() else { continue };
        block.clear();
        let changed = verdicts.changed_set(view, key, first.path, first.changes);
        export_attributes(view, key, first.path, first.next_hop, changed.as_ref(), &mut edits, &mut block);
        let own = Some(first.path.source).filter(|source| !source.is_own());
        let mut rest = run.iter().map(|a| WireNlri::new(view, key, a.id, a.path.path_id)).peekable();
        while rest.peek().is_some() {
            let is_classic = key.family == Family::Ipv4Unicast && matches!(first.next_hop, NextHop::V4(_));
            let written = if is_classic {
                announce_classic(key, &block, &mut rest, own, out)
            } else {
                announce_mp(key, &block, first.next_hop, &mut rest, own, out)
            };
            if !written {
                // The attributes leave no room for a single prefix in a message of this session: the route cannot
                // be told to it (RFC 4271 §9.2), and no other encoding would change that.
                tracing::warn!(
                    family = %key.family,
                    attribute_bytes = block.len(),
                    "attributes too long for an UPDATE, routes not advertised"
                );
                break;
            }
        }
    }
}

/// One withdrawal to encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// Of which prefix.
    pub id: PrefixId,
    /// Which path of it, as it was told; 0 without ADD-PATH.
    pub path_id: u32,
}

impl Withdrawal {
    /// Without ADD-PATH.
    pub fn of(id: PrefixId) -> Self {
        Self { id, path_id: 0 }
    }
}

/// Encodes withdrawals.
pub fn encode_withdrawals(
    view: &ExportView<'_>,
    key: &GroupKey,
    withdrawals: &[Withdrawal],
    out: &mut ChunkBuilder,
) {
    let mut rest = withdrawals.iter().map(|w| WireNlri::new(view, key, w.id, w.path_id)).peekable();
    while rest.peek().is_some() {
        let buffer = out.buffer();
        let start = put_header(buffer, MessageType::UPDATE);
        match key.family {
            Family::Ipv4Unicast => {
                let length = buffer.len();
                buffer.put_u16(0);
                put_prefixes(buffer, &mut rest, start + key.message_len_max - 2);
                patch_u16(buffer, length);
                buffer.put_u16(0);
            }
            Family::Ipv6Unicast => {
                buffer.put_u16(0);
                let attributes = buffer.len();
                buffer.put_u16(0);
                let value = put_long_attribute(buffer, AttributeCode::MP_UNREACH_NLRI);
                put_family(buffer, key.family);
                put_prefixes(buffer, &mut rest, start + key.message_len_max);
                patch_u16(buffer, value);
                patch_u16(buffer, attributes);
            }
        }
        finish_message(buffer, start);
        out.finish_message(start, None);
    }
}

/// The End-of-RIB marker of a family (RFC 4724 §2).
pub fn end_of_rib(family: Family) -> BytesMut {
    let mut out = BytesMut::new();
    let start = put_header(&mut out, MessageType::UPDATE);
    out.put_u16(0);
    match family {
        Family::Ipv4Unicast => out.put_u16(0),
        Family::Ipv6Unicast => {
            out.put_u16(6);
            bgp_proto::put_attribute(
                &mut out,
                AttributeFlags::OPTIONAL,
                AttributeCode::MP_UNREACH_NLRI,
                &[0, 2, 1],
            );
        }
    }
    finish_message(&mut out, start);
    out
}

/// A prefix as it is sent.
struct WireNlri<'a> {
    /// With ADD-PATH.
    path_id: Option<u32>,
    key: &'a [u8],
}

impl<'a> WireNlri<'a> {
    #[inline]
    fn new(view: &ExportView<'a>, key: &GroupKey, id: PrefixId, path_id: u32) -> Self {
        Self { path_id: key.add_paths.map(|_| path_id), key: view.rib.prefixes.key(id) }
    }

    #[inline]
    fn len(&self) -> usize {
        self.key.len() + self.path_id.map_or(0, |_| 4)
    }
}

type Prefixes<'a, I> = std::iter::Peekable<I>;

/// Withdrawn length 0, attributes, NLRI. `false`, and nothing written, if not even one prefix fits.
fn announce_classic<'a>(
    key: &GroupKey,
    block: &[u8],
    prefixes: &mut Prefixes<'a, impl Iterator<Item = WireNlri<'a>>>,
    own: Option<Source>,
    out: &mut ChunkBuilder,
) -> bool {
    let buffer = out.buffer();
    let start = put_header(buffer, MessageType::UPDATE);
    let end = start + key.message_len_max;
    buffer.put_u16(0);
    if block.len() > usize::from(u16::MAX) {
        buffer.truncate(start);
        return false;
    }
    buffer.put_u16(block.len() as u16);
    buffer.put_slice(block);
    finish_announcement(prefixes, own, start, end, out, |_| {})
}

/// Withdrawn length 0, attributes with MP_REACH_NLRI in its place by type code.
fn announce_mp<'a>(
    key: &GroupKey,
    block: &[u8],
    next_hop: NextHop,
    prefixes: &mut Prefixes<'a, impl Iterator<Item = WireNlri<'a>>>,
    own: Option<Source>,
    out: &mut ChunkBuilder,
) -> bool {
    let buffer = out.buffer();
    let start = put_header(buffer, MessageType::UPDATE);
    let end = start + key.message_len_max;
    buffer.put_u16(0);
    let attributes = buffer.len();
    buffer.put_u16(0);
    buffer.put_slice(block);
    let value = put_long_attribute(buffer, AttributeCode::MP_REACH_NLRI);
    put_family(buffer, key.family);
    match next_hop {
        NextHop::V4(v4) => {
            buffer.put_u8(4);
            buffer.put_slice(&v4.octets());
        }
        NextHop::V6WithLinkLocal { global, .. } | NextHop::V6(global) => {
            // A link-local address means nothing beyond its link; a reflected route is told without it.
            buffer.put_u8(16);
            buffer.put_slice(&global.octets());
        }
        other => {
            debug_assert!(false, "next hop {other:?} is not of a unicast family");
            buffer.put_u8(0);
        }
    }
    buffer.put_u8(0);
    finish_announcement(prefixes, own, start, end, out, |buffer| {
        patch_u16(buffer, value);
        patch_u16(buffer, attributes);
    })
}

fn finish_announcement<'a>(
    prefixes: &mut Prefixes<'a, impl Iterator<Item = WireNlri<'a>>>,
    own: Option<Source>,
    start: usize,
    end: usize,
    out: &mut ChunkBuilder,
    patch: impl FnOnce(&mut BytesMut),
) -> bool {
    let buffer = out.buffer();
    let before = buffer.len();
    put_prefixes(buffer, prefixes, end);
    if buffer.len() == before {
        buffer.truncate(start);
        return false;
    }
    patch(buffer);
    finish_message(buffer, start);
    out.finish_message(start, own);
    true
}

fn put_prefixes<'a>(
    buffer: &mut BytesMut,
    prefixes: &mut Prefixes<'a, impl Iterator<Item = WireNlri<'a>>>,
    end: usize,
) {
    while let Some(nlri) = prefixes.next_if(|nlri| buffer.len() + nlri.len() <= end) {
        nlri.path_id.into_iter().for_each(|path_id| buffer.put_u32(path_id));
        buffer.put_slice(nlri.key);
    }
}

/// Attribute header with extended length; returns where the length is to be patched in.
fn put_long_attribute(buffer: &mut BytesMut, code: AttributeCode) -> usize {
    buffer.put_u8(AttributeFlags::OPTIONAL.0 | AttributeFlags::EXTENDED_LENGTH.0);
    buffer.put_u8(code.0);
    buffer.put_u16(0);
    buffer.len() - 2
}

fn put_family(buffer: &mut BytesMut, family: Family) {
    let afi_safi = family.afi_safi();
    buffer.put_u16(afi_safi.afi.0);
    buffer.put_u8(afi_safi.safi.0);
}

/// Writes the number of bytes after a two-octet length field into it.
fn patch_u16(buffer: &mut BytesMut, field: usize) {
    let length = buffer.len() - field - 2;
    buffer[field..field + 2].copy_from_slice(&(length as u16).to_be_bytes());
}
