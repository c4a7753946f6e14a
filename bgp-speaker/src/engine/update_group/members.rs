//! The members of a group by source: found in one step, since each is looked up for every write.

use super::member::Member;
use crate::engine::rib::Source;

const NONE: u32 = u32::MAX;

/// One per group. Walked in the order in which members joined, so that a run can be repeated.
#[derive(Debug, Default)]
pub struct Members {
    list: Vec<Member>,
    /// Where in the list, by slot of the source.
    places: Vec<u32>,
}

impl Members {
    /// Nobody?
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// One of them.
    #[inline]
    pub fn get(&self, source: Source) -> Option<&Member> {
        self.list.get(*self.places.get(source.0 as usize)? as usize)
    }

    /// One of them, to change.
    #[inline]
    pub fn get_mut(&mut self, source: Source) -> Option<&mut Member> {
        self.list.get_mut(*self.places.get(source.0 as usize)? as usize)
    }

    /// Adds one, or replaces the one of the same source.
    pub fn insert(&mut self, member: Member) {
        let slot = member.source.0 as usize;
        if let Some(known) = self.get_mut(member.source) {
            *known = member;
            return;
        }
        if slot >= self.places.len() {
            self.places.resize(slot + 1, NONE);
        }
        self.places[slot] = self.list.len() as u32;
        self.list.push(member);
    }

    /// Removes one.
    pub fn remove(&mut self, source: Source) -> Option<Member> {
        let place = self.places.get_mut(source.0 as usize)?;
        let index = std::mem::replace(place, NONE) as usize;
        if index >= self.list.len() {
            return None;
        }
        let member = self.list.swap_remove(index);
        if let Some(moved) = self.list.get(index) {
            self.places[moved.source.0 as usize] = index as u32;
        }
        Some(member)
    }

    /// All.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.list.iter()
    }

    /// All, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.list.iter_mut()
    }

    /// Heap bytes, without what the members hold.
    pub fn memory_bytes(&self) -> usize {
        self.list.capacity() * size_of::<Member>() + self.places.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_whoever_has_left() {
        let mut members = Members::default();
        for slot in [5, 1, 9] {
            members.insert(Member::new(Source(slot), u64::from(slot)));
        }
        members.insert(Member::new(Source(1), 11));
        assert_eq!(members.remove(Source(5)).map(|member| member.cursor), Some(5));
        assert!(members.remove(Source(5)).is_none() && members.get(Source(70)).is_none());
        assert_eq!(members.get(Source(9)).map(|member| member.cursor), Some(9));
        assert_eq!(members.get(Source(1)).map(|member| member.cursor), Some(11));
        assert_eq!(members.iter().len(), 2);
        assert!(
            members.remove(Source(9)).is_some() && members.remove(Source(1)).is_some() && members.is_empty()
        );
    }
}
