//! How slow members leave the log.
//!
//! What a member has not read must be marked in its bitmap. Looking through megabytes of messages at once would hold up
//! everybody else, so it is done in slices: until the end is reached the member keeps a position in the log, and is
//! not served.

use super::dirty::Dirty;
use super::group::UpdateGroup;
use super::key::GroupKey;
use super::member::PrivateKind;
use crate::config::Family;
use crate::engine::rib::{PrefixId, PrefixTable, Source};
use bgp_proto::{
    AttributeCode, MpReachView, MpUnreachView, NlriIter, RawAttributes, SessionParams, UpdateView, frame,
};

/// Members that hold back more of the log than this are slow.
pub const SLOW_LOG_BYTES: usize = 16 * 1024 * 1024;
/// How much of the log is looked through in one batch, unless it must be more to keep the log within its bound.
const SLICE_BYTES: usize = 64 * 1024;

impl UpdateGroup {
    /// Does the log hold more than this, so that members are to leave it?
    pub fn holds_back(&self, limit: usize) -> bool {
        self.log.bytes() > limit
    }

    /// Is anybody on the way out of the log?
    pub fn is_detaching(&self) -> bool {
        self.leaving > 0
    }

    /// Members that hold back too much of the log leave it, as far as one slice gets them; no walk is under way.
    /// Prefixes that are missing from `prefixes` are inserted again, without paths, and reported to `emptied`.
    pub fn detach_slow(
        &mut self,
        prefixes: &mut PrefixTable,
        limit: usize,
        mut emptied: impl FnMut(PrefixId),
    ) {
        let mut budget = SLICE_BYTES;
        while budget > 0 || self.holds_back(limit) {
            if self.holds_back(limit) {
                self.free_first(prefixes, &mut emptied);
            }
            let Some(len) = self.detach_chunk(prefixes, &mut emptied) else { return };
            budget = budget.saturating_sub(len);
        }
    }

    /// Takes one member out of the log at once.
    pub fn detach_fully(
        &mut self,
        source: Source,
        prefixes: &mut PrefixTable,
        mut emptied: impl FnMut(PrefixId),
    ) {
        while self.member(source).is_some_and(|member| member.is_leaving) {
            _ = self.detach_chunk(prefixes, &mut emptied);
        }
    }

    /// Nobody who reads at the start of the log holds it back any longer than it takes to look through it.
    fn free_first(&mut self, prefixes: &mut PrefixTable, emptied: &mut impl FnMut(PrefixId)) {
        let mut first = self.log.first();
        if self.dump.as_ref().is_some_and(|dump| dump.at == first) {
            self.drop_dump();
            first = self.log.first();
        }
        for member in self.members.iter_mut().filter(|member| !member.is_slow() && member.cursor == first) {
            let mut dirty = Dirty::default();
            for item in member.private.drain(..) {
                match item.kind {
                    PrivateKind::EndOfRib => member.owes_end_of_rib = true,
                    PrivateKind::Table => dirty.extend(&self.advertised),
                    PrivateKind::Routes => {
                        let ids = ids_in(&item.part.bytes, &self.key, prefixes, emptied);
                        ids.into_iter().for_each(|(id, path_id)| dirty.insert_path(id, path_id));
                    }
                }
            }
            (member.dirty, member.is_leaving) = (Some(dirty), true);
            self.slow += 1;
            self.leaving += 1;
            tracing::warn!(
                slot = member.source.0,
                "neighbour reads too slowly, served from a bitmap from now on"
            );
        }
    }

    /// The foremost of those who leave get one chunk further, and out at the end of the log. How long it was; `None`:
    /// nobody is leaving.
    fn detach_chunk(
        &mut self,
        prefixes: &mut PrefixTable,
        emptied: &mut impl FnMut(PrefixId),
    ) -> Option<usize> {
        let leaving = self.members.iter().filter(|member| member.is_leaving);
        let at = leaving.map(|member| member.cursor).min()?;
        let chunk = self.log.chunk(at);
        let ids = chunk.map(|chunk| (ids_in(chunk.bytes(), &self.key, prefixes, emptied), chunk.len()));
        for member in self.members.iter_mut().filter(|member| member.is_leaving && member.cursor == at) {
            let Some((ids, _)) = &ids else {
                member.is_leaving = false;
                self.leaving -= 1;
                self.log.remove_reader(at);
                continue;
            };
            member.cursor += 1;
            self.log.skip(at);
            let mark =
                |dirty: &mut Dirty| ids.iter().for_each(|(id, path_id)| dirty.insert_path(*id, *path_id));
            member.dirty.iter_mut().for_each(mark);
        }
        self.log.trim();
        Some(ids.map_or(0, |(_, len)| len))
    }
}

/// The ids of the prefixes in our own UPDATEs, with path identifiers. Those that have none any more get one.
fn ids_in(
    bytes: &[u8],
    key: &GroupKey,
    prefixes: &mut PrefixTable,
    emptied: &mut impl FnMut(PrefixId),
) -> Vec<(PrefixId, u32)> {
    let mut ids = Vec::new();
    for_each_prefix(bytes, &key.params(), key.family, |prefix, path_id| {
        let id = prefixes.find(prefix).unwrap_or_else(|| {
            let id = prefixes.insert(prefix);
            emptied(id);
            id
        });
        ids.push((id, path_id));
    });
    ids
}

/// The prefixes in our own UPDATEs, in canonical form, and their path identifiers; 0 without ADD-PATH.
fn for_each_prefix(
    mut bytes: &[u8],
    params: &SessionParams,
    family: Family,
    mut each: impl FnMut(&[u8], u32),
) {
    let afi_safi = family.afi_safi();
    let mut all_of = |nlri: &[u8]| {
        for nlri in NlriIter::new(nlri, afi_safi, params.add_path_rx(afi_safi)).flatten() {
            let mut key = [0; 17];
            let length = nlri.canonical(&mut key);
            each(&key[..length], nlri.path_id.unwrap_or(0));
        }
    };
    while let Ok(Some(message)) = frame(bytes, params) {
        bytes = &bytes[message.bytes.len()..];
        let Ok(update) = UpdateView::parse(message.body()) else { continue };
        all_of(update.withdrawn);
        all_of(update.nlri);
        for attribute in RawAttributes::new(update.attributes).flatten() {
            match attribute.code {
                AttributeCode::MP_REACH_NLRI => {
                    MpReachView::parse(attribute.value, params).iter().for_each(|mp| all_of(mp.nlri));
                }
                AttributeCode::MP_UNREACH_NLRI => {
                    MpUnreachView::parse(attribute.value).iter().for_each(|mp| all_of(mp.nlri));
                }
                _ => {}
            }
        }
    }
}
