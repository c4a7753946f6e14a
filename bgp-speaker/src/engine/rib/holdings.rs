//! Which prefixes each source has paths of, so that the loss of a session costs what the session had, not a walk of
//! the table.
//!
//! A list per source gets an entry with each new path; what is withdrawn stays in it until the list is twice as long
//! as it need be. A source that has a good part of the table has no list: walking the table costs no more.

use super::Source;
use super::prefixes::PrefixId;

/// Lists up to this are worth their memory whatever the size of the table.
const SHORT: usize = 1024;
/// A source with more than this part of the table has no list.
const PART: usize = 8;

/// The lists of all sources. One per family.
#[derive(Debug, Default)]
pub struct Holdings {
    by_source: Vec<Holding>,
}

#[derive(Clone, Debug, Default)]
struct Holding {
    /// `None`: no list is kept, anything may be its.
    ids: Option<Vec<PrefixId>>,
    /// Paths.
    count: usize,
}

impl Holdings {
    /// A source has got another path. `true`: the list is too long by now and wants [`Holdings::tidy`].
    pub fn add(&mut self, source: Source, id: PrefixId, table_len: usize) -> bool {
        let slot = source.0 as usize;
        if slot >= self.by_source.len() {
            self.by_source.resize(slot + 1, Holding::default());
        }
        let holding = &mut self.by_source[slot];
        if holding.count == 0 && holding.ids.is_none() {
            holding.ids = Some(Vec::new());
        }
        holding.count += 1;
        let Some(ids) = &mut holding.ids else { return false };
        if holding.count > SHORT + table_len / PART {
            holding.ids = None;
            return false;
        }
        ids.push(id);
        ids.len() > 2 * holding.count + SHORT
    }

    /// It has one path less.
    pub fn subtract(&mut self, source: Source) {
        self.by_source[source.0 as usize].count -= 1;
    }

    /// Drops the entries that are not its any more, and doubles.
    pub fn tidy(&mut self, source: Source, is_its: impl Fn(PrefixId) -> bool) {
        if let Some(ids) = self.by_source.get_mut(source.0 as usize).and_then(|holding| holding.ids.as_mut())
        {
            ids.sort_unstable();
            ids.dedup();
            ids.retain(|id| is_its(*id));
        }
    }

    /// All prefixes that a source may have paths of, each once; of a source without a list, the whole table.
    pub fn of(&mut self, source: Source, table_len: usize) -> Vec<PrefixId> {
        let Some(holding) = self.by_source.get_mut(source.0 as usize) else { return Vec::new() };
        match &mut holding.ids {
            _ if holding.count == 0 => Vec::new(),
            Some(ids) => {
                ids.sort_unstable();
                ids.dedup();
                ids.clone()
            }
            None => (0..table_len as u32).map(PrefixId).collect(),
        }
    }

    /// Heap bytes.
    pub fn memory_bytes(&self) -> usize {
        let lists = self.by_source.iter().flat_map(|holding| &holding.ids).map(Vec::capacity).sum::<usize>();
        lists * size_of::<PrefixId>() + self.by_source.capacity() * size_of::<Holding>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_source_is_found_without_a_walk_and_a_big_one_by_one() {
        let mut holdings = Holdings::default();
        holdings.add(Source(1), PrefixId(70_000), 100_000);
        holdings.add(Source(1), PrefixId(5), 100_000);
        assert_eq!(holdings.of(Source(1), 100_000), [PrefixId(5), PrefixId(70_000)]);
        (0..50_000).for_each(|id| _ = holdings.add(Source(2), PrefixId(id), 100_000));
        assert_eq!(holdings.of(Source(2), 100_000).len(), 100_000);
        assert!(holdings.memory_bytes() < 100_000);
        assert!(holdings.of(Source(3), 100_000).is_empty());
    }

    #[test]
    fn a_list_does_not_grow_with_what_comes_and_goes() {
        let mut holdings = Holdings::default();
        holdings.add(Source(1), PrefixId(1), 10);
        for _ in 0..100_000 {
            if holdings.add(Source(1), PrefixId(2), 10) {
                holdings.tidy(Source(1), |id| id == PrefixId(1));
            }
            holdings.subtract(Source(1));
        }
        assert!(holdings.memory_bytes() < 20_000);
        assert_eq!(holdings.of(Source(1), 10), [PrefixId(1), PrefixId(2)]);
    }
}
