//! The routing information bases of one family.
//!
//! One table holds all Adj-RIBs-In and the Loc-RIB: per prefix a chain of paths, one per (source, path
//! identifier), whose head is the best path as of the last decision. A path is (source, path identifier,
//! attribute id) and a link: 16 bytes. What changes is noted in a dirty list, with the best path that was in
//! force before; [`Rib::decide`] works it off once per batch.

mod attr_record;
mod attrs;
#[cfg(any(test, feature = "test-util"))]
mod audit;
mod batch;
mod bitmap;
mod holdings;
mod next_hops;
mod octets;
mod prefixes;

pub use attr_record::{AttrRecord, DEFAULT_LOCAL_PREF, LoopIdentity};
pub use attrs::{AttrId, AttrTable, is_kept_apart};
pub use batch::{BATCH_LEN, Batch};
pub use bitmap::Bitmap;
pub use prefixes::{PrefixId, PrefixTable};

use hashbrown::HashSet;
use holdings::Holdings;

/// Where a path came from: a peer's slot, or one of our own sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(pub u32);

impl Source {
    /// What we originate.
    pub const LOCAL: Source = Source(0);
    /// The networks of our interfaces.
    pub const NETWORK: Source = Source(1);
    /// Routes of other programs in the kernel that are elevated above the normal priority.
    pub const ELEVATED: Source = Source(2);
    /// The other routes of other programs in the kernel.
    pub const KERNEL: Source = Source(3);
    /// Peers have slots from this on.
    pub const FIRST_PEER: Source = Source(4);

    /// Is it one of our own, and not a peer?
    #[inline]
    pub fn is_own(self) -> bool {
        self < Source::FIRST_PEER
    }
}

/// One path of one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Who told us.
    pub source: Source,
    /// With which attributes.
    pub attr: AttrId,
    /// Under which path identifier (RFC 7911); 0 without ADD-PATH.
    pub path_id: u32,
}

/// A best path that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of which prefix.
    pub id: PrefixId,
    /// Best before.
    pub old: Option<Path>,
    /// Best now.
    pub new: Option<Path>,
}

/// What an announcement did to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// The source had no such path.
    New,
    /// It replaced the source's path.
    Replaced,
    /// It said what we knew.
    Same,
    /// The source has too many paths of the prefix; this one is not kept.
    Refused,
}

/// A source may have so many paths of one prefix (RFC 7911); stale ones do not count. They are looked through one by one.
pub const PATHS_OF_PREFIX_MAX: usize = 256;
/// Once it has no more than this, it is asked for those that were refused.
const ROOM_AGAIN: usize = PATHS_OF_PREFIX_MAX / 2;

/// Up to so many prefixes without paths are looked up one by one to be forgotten.
const RECLAIM_MANY: usize = 4096;

const NONE: u32 = u32::MAX;
/// Marks a node's path as stale (RFC 4724 §4.2), in the top bit of its link.
const STALE: u32 = 1 << 31;
const LINK: u32 = STALE - 1;

#[derive(Clone, Copy, Debug)]
struct Node {
    path: Path,
    /// Index of the next node, all ones in the lower 31 bits for none; and the stale mark.
    link: u32,
}

#[derive(Debug)]
struct Dirty {
    id: PrefixId,
    old: Option<Path>,
}

/// Paths and best paths of one family. One per family and speaker.
#[derive(Debug)]
pub struct Rib {
    /// Prefixes by dense id.
    pub prefixes: PrefixTable,
    heads: Vec<u32>,
    nodes: Vec<Node>,
    free: Vec<u32>,
    dirty: Vec<Dirty>,
    /// Dirty prefixes that were not ready to be decided.
    deferred: Vec<Dirty>,
    dirty_bits: Bitmap,
    /// Dirty prefixes to which nothing happened but one more path, which is then the head or follows it.
    grown: Bitmap,
    /// Prefixes that lost their last path and whose id may be given back.
    emptied: Vec<PrefixId>,
    holdings: Holdings,
    /// Of whose paths of which prefix some were refused, while more than [`ROOM_AGAIN`] are held.
    overfull: HashSet<(PrefixId, Source)>,
    best_count: usize,
    path_count: usize,
}

impl Rib {
    /// An empty RIB for addresses of this many octets.
    pub fn new(address_octets: usize) -> Self {
        Self {
            prefixes: PrefixTable::new(address_octets),
            heads: Vec::new(),
            nodes: Vec::new(),
            free: Vec::new(),
            dirty: Vec::new(),
            deferred: Vec::new(),
            dirty_bits: Bitmap::default(),
            grown: Bitmap::default(),
            emptied: Vec::new(),
            holdings: Holdings::default(),
            overfull: HashSet::new(),
            best_count: 0,
            path_count: 0,
        }
    }

    /// Paths of all sources.
    pub fn path_count(&self) -> usize {
        self.path_count
    }

    /// Ids are below this.
    pub fn table_len(&self) -> usize {
        self.heads.len()
    }

    /// Prefixes with a best path, as of the last decision.
    pub fn best_count(&self) -> usize {
        self.best_count
    }

    /// Heap bytes of paths and bookkeeping, without the prefix table.
    pub fn memory_bytes(&self) -> usize {
        (self.heads.capacity() + self.free.capacity() + self.emptied.capacity()) * 4
            + self.nodes.capacity() * size_of::<Node>()
            + (self.dirty.capacity() + self.deferred.capacity()) * size_of::<Dirty>()
            + self.dirty_bits.memory_bytes()
            + self.grown.memory_bytes()
            + self.holdings.memory_bytes()
            + self.overfull.allocation_size()
    }

    /// Anything for [`Rib::decide`] to do?
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Adds or replaces a source's path. `key` is the prefix in canonical wire form.
    pub fn announce(&mut self, attrs: &mut AttrTable, key: &[u8], path: Path) -> Announced {
        let id = self.prefixes.insert(key);
        self.announce_at(attrs, id, path)
    }

    fn announce_at(&mut self, attrs: &mut AttrTable, id: PrefixId, path: Path) -> Announced {
        if id.index() >= self.heads.len() {
            self.heads.resize(id.index() + 1, NONE);
        }
        match self.find_node(id, path.source, path.path_id) {
            Ok((_, index)) => return self.replace(attrs, id, index, path),
            Err(held) if held >= PATHS_OF_PREFIX_MAX => {
                self.overfull.insert((id, path.source));
                return Announced::Refused;
            }
            Err(_) => {}
        }
        self.mark_dirty(attrs, id, true);
        attrs.retain(path.attr);
        self.link_after_head(id, path);
        self.path_count += 1;
        if self.holdings.add(path.source, id, self.heads.len()) {
            let mut holdings = std::mem::take(&mut self.holdings);
            holdings.tidy(path.source, |id| self.paths(id).any(|(other, _)| other.source == path.source));
            self.holdings = holdings;
        }
        Announced::New
    }

    fn replace(&mut self, attrs: &mut AttrTable, id: PrefixId, index: u32, path: Path) -> Announced {
        let node = &mut self.nodes[index as usize];
        node.link &= !STALE;
        let old = node.path.attr;
        if old == path.attr {
            return Announced::Same;
        }
        self.mark_dirty(attrs, id, false);
        attrs.retain(path.attr);
        attrs.release(old);
        self.nodes[index as usize].path = path;
        Announced::Replaced
    }

    /// Were paths of a source refused, and is there room for them now? Says so once.
    fn has_room_again(&mut self, id: PrefixId, source: Source) -> bool {
        if self.overfull.is_empty() || !self.overfull.contains(&(id, source)) {
            return false;
        }
        let held = self.paths(id).filter(|(path, is_stale)| path.source == source && !is_stale).count();
        held <= ROOM_AGAIN && self.overfull.remove(&(id, source))
    }

    /// Removes a source's path; was there one?
    pub fn withdraw(&mut self, attrs: &mut AttrTable, key: &[u8], source: Source, path_id: u32) -> bool {
        self.prefixes.find(key).is_some_and(|id| self.withdraw_at(attrs, id, source, path_id))
    }

    fn withdraw_at(&mut self, attrs: &mut AttrTable, id: PrefixId, source: Source, path_id: u32) -> bool {
        let Ok((before, index)) = self.find_node(id, source, path_id) else { return false };
        self.unlink(attrs, id, before, index);
        true
    }

    /// Marks every path of a source as stale; how many.
    pub fn mark_stale(&mut self, source: Source) -> usize {
        let mut count = 0;
        self.overfull.retain(|(_, of)| *of != source);
        for id in self.holdings.of(source, self.heads.len()) {
            let mut index = self.heads[id.index()];
            while index != NONE {
                let node = &mut self.nodes[index as usize];
                if node.path.source == source {
                    node.link |= STALE;
                    count += 1;
                }
                index = next_of(node.link);
            }
        }
        count
    }

    /// Every prefix of which a source has a path is to be decided again; which they are.
    pub fn reconsider(&mut self, attrs: &mut AttrTable, source: Source) -> Vec<PrefixId> {
        let candidates = self.holdings.of(source, self.heads.len());
        let has_path = |id: &PrefixId| self.paths(*id).any(|(path, _)| path.source == source);
        let ids: Vec<PrefixId> = candidates.into_iter().filter(has_path).collect();
        for id in &ids {
            self.mark_dirty(attrs, *id, false);
        }
        ids
    }

    /// Removes the paths of a source, all of them or only the stale ones; how many.
    pub fn remove_source(&mut self, attrs: &mut AttrTable, source: Source, only_stale: bool) -> usize {
        let mut count = 0;
        if !only_stale {
            self.overfull.retain(|(_, of)| *of != source);
        }
        for id in self.holdings.of(source, self.heads.len()) {
            let mut before = NONE;
            let mut index = self.heads[id.index()];
            while index != NONE {
                let node = self.nodes[index as usize];
                let next = next_of(node.link);
                if node.path.source == source && (!only_stale || node.link & STALE != 0) {
                    self.unlink(attrs, id, before, index);
                    count += 1;
                } else {
                    before = index;
                }
                index = next;
            }
        }
        count
    }

    /// The best path as of the last decision.
    pub fn best(&self, id: PrefixId) -> Option<Path> {
        self.paths(id).next().map(|(path, _)| path)
    }

    /// All paths of a prefix, the best first, each with its stale mark.
    pub fn paths(&self, id: PrefixId) -> impl Iterator<Item = (Path, bool)> + '_ {
        let mut index = self.heads.get(id.index()).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let node = self.nodes.get(index as usize)?;
            index = next_of(node.link);
            Some((node.path, node.link & STALE != 0))
        })
    }

    /// Is a decision about this prefix outstanding?
    pub fn is_undecided(&self, id: PrefixId) -> bool {
        self.dirty_bits.contains(id)
    }

    /// Works off the dirty list, appending to `changes`; the attribute ids in them are valid until the next
    /// [`AttrTable::collect`].
    ///
    /// - `ready` says whether a prefix, with its best path before, may be decided now, else it waits for
    ///   [`Rib::resume_deferred`];
    /// - `beats` says whether a new path is better than the best one until now, if these two suffice to tell;
    /// - `select` returns the index of the best of a prefix's paths, of which there is at least one;
    /// - `touched`, where somebody wants to know, gets all prefixes that were decided, whatever changed of them.
    pub fn decide(
        &mut self,
        attrs: &mut AttrTable,
        ready: impl Fn(&Rib, PrefixId, Option<Path>) -> bool,
        beats: impl Fn(&AttrTable, Path, Path) -> Option<bool>,
        select: impl Fn(&AttrTable, &[Path]) -> usize,
        changes: &mut Vec<Change>,
        mut touched: Option<&mut Vec<PrefixId>>,
    ) {
        let mut paths = Vec::new();
        for dirty in std::mem::take(&mut self.dirty) {
            if !ready(self, dirty.id, dirty.old) {
                self.deferred.push(dirty);
                continue;
            }
            self.dirty_bits.remove(dirty.id);
            let has_grown = self.grown.remove(dirty.id);
            let newest = || self.paths(dirty.id).nth(1).map(|(path, _)| path);
            match dirty.old.filter(|_| has_grown).and_then(|old| beats(attrs, newest()?, old)) {
                Some(is_better) => self.move_to_head(dirty.id, usize::from(is_better)),
                None => {
                    paths.clear();
                    paths.extend(self.paths(dirty.id).map(|(path, _)| path));
                    if paths.len() > 1 {
                        let best = select(attrs, &paths);
                        self.move_to_head(dirty.id, best);
                    }
                }
            }
            touched.iter_mut().for_each(|touched| touched.push(dirty.id));
            let new = self.best(dirty.id);
            self.best_count += usize::from(new.is_some());
            self.best_count -= usize::from(dirty.old.is_some());
            if new != dirty.old {
                changes.push(Change { id: dirty.id, old: dirty.old, new });
            }
            if let Some(old) = dirty.old {
                attrs.release(old.attr);
            }
        }
    }

    /// Prefixes that were not ready are to be looked at again.
    pub fn resume_deferred(&mut self) {
        self.dirty.append(&mut self.deferred);
    }

    /// Gives back the ids of prefixes without paths, except those that are still `held` somewhere. Many wait until they
    /// are half of the table: they may come back, and else one walk of what is left costs less than to look up each.
    pub fn reclaim(&mut self, held: impl Fn(PrefixId) -> bool) {
        if self.emptied.len() > RECLAIM_MANY {
            if self.emptied.len() > self.heads.len() / 2 {
                self.reclaim_many(held);
            }
            return;
        }
        let emptied = std::mem::take(&mut self.emptied);
        for id in emptied {
            if self.heads[id.index()] != NONE {
                continue;
            }
            if self.dirty_bits.contains(id) || held(id) {
                self.emptied.push(id);
            } else {
                self.prefixes.remove(id);
            }
        }
    }

    fn reclaim_many(&mut self, held: impl Fn(PrefixId) -> bool) {
        let mut emptied = std::mem::take(&mut self.emptied);
        emptied.sort_unstable();
        emptied.dedup();
        let has_paths = |id: &PrefixId| self.heads[id.index()] != NONE;
        emptied.retain(|id| !has_paths(id) && (self.dirty_bits.contains(*id) || held(*id)));
        self.prefixes.retain(|id| has_paths(&id) || emptied.binary_search(&id).is_ok());
        self.emptied = emptied;
        if self.path_count == 0 {
            (self.nodes, self.free) = (Vec::new(), Vec::new());
        }
    }

    /// Takes care of a prefix without paths that was inserted for its key alone.
    pub fn adopt_emptied(&mut self, id: PrefixId) {
        if id.index() >= self.heads.len() {
            self.heads.resize(id.index() + 1, NONE);
        }
        self.emptied.push(id);
    }

    /// Prefixes waiting for [`Rib::reclaim`].
    pub fn emptied_count(&self) -> usize {
        self.emptied.len()
    }

    fn mark_dirty(&mut self, attrs: &mut AttrTable, id: PrefixId, grows: bool) {
        let is_first = self.dirty_bits.insert(id);
        if is_first && grows {
            self.grown.insert(id);
        } else {
            self.grown.remove(id);
        }
        if is_first {
            let old = self.best(id);
            if let Some(old) = old {
                attrs.retain(old.attr);
            }
            self.dirty.push(Dirty { id, old });
        }
    }

    /// (previous node or NONE, node); or, if there is no such path, how many others the source has that are not stale.
    fn find_node(&self, id: PrefixId, source: Source, path_id: u32) -> Result<(u32, u32), usize> {
        let (mut before, mut others) = (NONE, 0);
        let mut index = self.heads[id.index()];
        while index != NONE {
            let node = &self.nodes[index as usize];
            if node.path.source == source {
                if node.path.path_id == path_id {
                    return Ok((before, index));
                }
                others += usize::from(node.link & STALE == 0);
            }
            before = index;
            index = next_of(node.link);
        }
        Err(others)
    }

    fn link_after_head(&mut self, id: PrefixId, path: Path) {
        let head = self.heads[id.index()];
        let next = if head == NONE { NONE } else { next_of(self.nodes[head as usize].link) };
        let node = Node { path, link: link_to(next) };
        let index = match self.free.pop() {
            Some(index) => {
                self.nodes[index as usize] = node;
                index
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        };
        assert!(index < LINK, "fewer than 2^31 paths fit in memory");
        if head == NONE {
            self.heads[id.index()] = index;
        } else {
            self.set_next(head, index);
        }
    }

    fn unlink(&mut self, attrs: &mut AttrTable, id: PrefixId, before: u32, index: u32) {
        self.mark_dirty(attrs, id, false);
        let node = self.nodes[index as usize];
        let next = next_of(node.link);
        if before == NONE {
            self.heads[id.index()] = next;
            if next == NONE {
                self.emptied.push(id);
            }
        } else {
            self.set_next(before, next);
        }
        attrs.release(node.path.attr);
        self.free.push(index);
        self.path_count -= 1;
        self.holdings.subtract(node.path.source);
    }

    fn move_to_head(&mut self, id: PrefixId, position: usize) {
        if position == 0 {
            return;
        }
        let head = self.heads[id.index()];
        let mut before = head;
        for _ in 1..position {
            before = next_of(self.nodes[before as usize].link);
        }
        let index = next_of(self.nodes[before as usize].link);
        let next = next_of(self.nodes[index as usize].link);
        self.set_next(before, next);
        self.set_next(index, head);
        self.heads[id.index()] = index;
    }

    fn set_next(&mut self, index: u32, next: u32) {
        let node = &mut self.nodes[index as usize];
        node.link = (node.link & STALE) | link_to(next);
    }
}

fn next_of(link: u32) -> u32 {
    if link & LINK == LINK { NONE } else { link & LINK }
}

fn link_to(index: u32) -> u32 {
    if index == NONE { LINK } else { index }
}

#[cfg(test)]
mod tests;
