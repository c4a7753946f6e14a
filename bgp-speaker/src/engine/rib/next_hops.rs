//! Next hops under small ids: there are few, and each is told by many routes.

use bgp_proto::NextHop;
use hashbrown::HashMap;

/// Id of a next hop; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NextHopId(u32);

/// The table. Each use is counted.
#[derive(Debug, Default)]
pub(super) struct NextHops {
    /// With how many uses; the entry of id 1 is the first.
    all: Vec<(NextHop, u32)>,
    ids: HashMap<NextHop, u32>,
    free: Vec<u32>,
}

impl NextHops {
    /// One more use.
    pub(super) fn insert(&mut self, next_hop: Option<NextHop>) -> NextHopId {
        let Some(next_hop) = next_hop else { return NextHopId(0) };
        if let Some(&id) = self.ids.get(&next_hop) {
            self.all[id as usize - 1].1 += 1;
            return NextHopId(id);
        }
        let id = match self.free.pop() {
            Some(id) => {
                self.all[id as usize - 1] = (next_hop, 1);
                id
            }
            None => {
                self.all.push((next_hop, 1));
                self.all.len() as u32
            }
        };
        self.ids.insert(next_hop, id);
        NextHopId(id)
    }

    /// The id of a next hop that is in use.
    pub(super) fn find(&self, next_hop: Option<NextHop>) -> Option<NextHopId> {
        match next_hop {
            None => Some(NextHopId(0)),
            Some(next_hop) => self.ids.get(&next_hop).map(|id| NextHopId(*id)),
        }
    }

    /// What is behind an id.
    #[inline]
    pub(super) fn get(&self, id: NextHopId) -> Option<NextHop> {
        self.all.get(id.0.wrapping_sub(1) as usize).map(|(next_hop, _)| *next_hop)
    }

    /// One use less.
    pub(super) fn remove(&mut self, id: NextHopId) {
        let Some((next_hop, uses)) = self.all.get_mut(id.0.wrapping_sub(1) as usize) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.ids.remove(next_hop);
            self.free.push(id.0);
        }
    }

    /// Heap bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.all.capacity() * size_of::<(NextHop, u32)>()
            + self.ids.allocation_size()
            + self.free.capacity() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn equal_next_hops_are_one_until_the_last_use_is_gone() {
        let mut table = NextHops::default();
        let hop = |last| Some(NextHop::V4(Ipv4Addr::new(10, 0, 0, last)));
        let (a, b) = (table.insert(hop(1)), table.insert(hop(2)));
        assert_eq!(table.insert(hop(1)), a);
        let none = table.insert(None);
        assert_eq!((table.get(a), table.get(b), table.get(none)), (hop(1), hop(2), None));
        table.remove(a);
        assert_eq!(table.find(hop(1)), Some(a));
        table.remove(a);
        assert_eq!(
            (table.find(hop(1)), table.find(hop(2)), table.find(None)),
            (None, Some(b), Some(NextHopId(0)))
        );
        assert_eq!(table.insert(hop(3)), a);
        assert_eq!(table.get(a), hop(3));
    }
}
