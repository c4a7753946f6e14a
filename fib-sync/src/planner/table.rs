//! The planner's memory: one small entry per prefix, and the few things that many entries share.

use std::hash::Hash;

use hashbrown::HashMap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Number of a shared value in [`Slots`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SlotId(u32);

/// Values that entries refer to by number, each held once and counted; gone when the last reference is.
#[derive(Debug)]
pub(super) struct Slots<T, X> {
    ids: HashMap<T, u32>,
    slots: Vec<Option<Slot<T, X>>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T, X> {
    value: T,
    extra: X,
    references: u32,
}

impl<T: Hash + Eq + Clone, X: Default> Slots<T, X> {
    pub(super) fn new() -> Slots<T, X> {
        Slots { ids: HashMap::new(), slots: Vec::new(), free: Vec::new() }
    }

    /// The number of `value`, with one more reference to it.
    pub(super) fn acquire(&mut self, value: &T) -> SlotId {
        if let Some(id) = self.ids.get(value) {
            let id = SlotId(*id);
            self.retain(id);
            return id;
        }
        let index = self.free.pop().unwrap_or(self.slots.len() as u32);
        let slot = Some(Slot { value: value.clone(), extra: X::default(), references: 1 });
        match self.slots.get_mut(index as usize) {
            Some(place) => *place = slot,
            None => self.slots.push(slot),
        }
        self.ids.insert(value.clone(), index);
        SlotId(index)
    }

    pub(super) fn retain(&mut self, id: SlotId) {
        if let Some(Some(slot)) = self.slots.get_mut(id.0 as usize) {
            slot.references += 1;
        }
    }

    /// Gives one reference back. Returns what belonged to the value if that was the last.
    pub(super) fn release(&mut self, id: SlotId) -> Option<X> {
        let place = self.slots.get_mut(id.0 as usize)?;
        let slot = place.as_mut()?;
        slot.references -= 1;
        if slot.references > 0 {
            return None;
        }
        let slot = place.take()?;
        self.ids.remove(&slot.value);
        self.free.push(id.0);
        Some(slot.extra)
    }

    pub(super) fn value(&self, id: SlotId) -> Option<&T> {
        self.slots.get(id.0 as usize)?.as_ref().map(|slot| &slot.value)
    }

    pub(super) fn extra(&self, id: SlotId) -> Option<&X> {
        self.slots.get(id.0 as usize)?.as_ref().map(|slot| &slot.extra)
    }

    pub(super) fn extra_mut(&mut self, id: SlotId) -> Option<&mut X> {
        self.slots.get_mut(id.0 as usize)?.as_mut().map(|slot| &mut slot.extra)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotId, &T, &X)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            slot.as_ref().map(|slot| (SlotId(index as u32), &slot.value, &slot.extra))
        })
    }
}

/// What we believe the kernel holds of ours, in four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Belief(u32);

/// [`Belief`] unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Believed {
    Absent,
    /// Read back from the kernel: a slot of contents.
    Found(SlotId),
    /// The kernel accepted it from us: a slot of wanted kinds.
    Made(SlotId),
}

impl Belief {
    const FOUND: u32 = 1 << 31;
    pub(super) const ABSENT: Belief = Belief(0);

    pub(super) fn found(id: SlotId) -> Belief {
        Belief((id.0 + 1) | Belief::FOUND)
    }

    pub(super) fn made(id: SlotId) -> Belief {
        Belief(id.0 + 1)
    }

    pub(super) fn get(self) -> Believed {
        match self.0 {
            0 => Believed::Absent,
            value if value & Belief::FOUND != 0 => Believed::Found(SlotId((value & !Belief::FOUND) - 1)),
            value => Believed::Made(SlotId(value - 1)),
        }
    }
}

/// All that is known of one prefix; 12 bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    /// A slot of wanted kinds plus one, or 0.
    wanted: u32,
    pub(super) belief: Belief,
    flags: u8,
}

/// Facts about an entry, one bit each.
#[derive(Debug, Clone, Copy)]
pub(super) enum Flag {
    /// In the queue.
    Queued = 1,
    /// In the batch that the kernel works on.
    InFlight = 2,
    /// The kernel has what is wanted.
    InStep = 4,
    /// Somebody took it away; its next success is a repair.
    Repairing = 8,
    /// The kernel says that something is there; a dump will tell whose it is.
    Contested = 16,
    /// Met in the current walk over everything.
    Met = 32,
}

impl Entry {
    pub(super) fn wanted(&self) -> Option<SlotId> {
        self.wanted.checked_sub(1).map(SlotId)
    }

    pub(super) fn set_wanted(&mut self, id: Option<SlotId>) {
        self.wanted = id.map_or(0, |id| id.0 + 1);
    }

    pub(super) fn has(&self, flag: Flag) -> bool {
        self.flags & flag as u8 != 0
    }

    /// Sets or clears a flag; returns what it was.
    pub(super) fn put(&mut self, flag: Flag, value: bool) -> bool {
        let old = self.has(flag);
        if value {
            self.flags |= flag as u8;
        } else {
            self.flags &= !(flag as u8);
        }
        old
    }
}

/// Entries by prefix. One table per family, so that an IPv4 entry costs no IPv6 key.
#[derive(Debug, Default)]
pub(super) struct RouteTable {
    v4: HashMap<Ipv4Net, Entry>,
    v6: HashMap<Ipv6Net, Entry>,
}

impl RouteTable {
    pub(super) fn get_mut(&mut self, prefix: &IpNet) -> Option<&mut Entry> {
        match prefix {
            IpNet::V4(prefix) => self.v4.get_mut(prefix),
            IpNet::V6(prefix) => self.v6.get_mut(prefix),
        }
    }

    pub(super) fn get(&self, prefix: &IpNet) -> Option<&Entry> {
        match prefix {
            IpNet::V4(prefix) => self.v4.get(prefix),
            IpNet::V6(prefix) => self.v6.get(prefix),
        }
    }

    pub(super) fn entry(&mut self, prefix: &IpNet) -> &mut Entry {
        match prefix {
            IpNet::V4(prefix) => self.v4.entry(*prefix).or_default(),
            IpNet::V6(prefix) => self.v6.entry(*prefix).or_default(),
        }
    }

    pub(super) fn remove(&mut self, prefix: &IpNet) {
        match prefix {
            IpNet::V4(prefix) => self.v4.remove(prefix),
            IpNet::V6(prefix) => self.v6.remove(prefix),
        };
    }

    pub(super) fn reserve(&mut self, v4: usize, v6: usize) {
        self.v4.reserve(v4.saturating_sub(self.v4.len()));
        self.v6.reserve(v6.saturating_sub(self.v6.len()));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (IpNet, &Entry)> {
        let v4 = self.v4.iter().map(|(prefix, entry)| (IpNet::V4(*prefix), entry));
        v4.chain(self.v6.iter().map(|(prefix, entry)| (IpNet::V6(*prefix), entry)))
    }

    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.v4.values_mut().chain(self.v6.values_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 12);
        assert_eq!(size_of::<(Ipv4Net, Entry)>(), 20);
    }

    #[test]
    fn a_slot_lives_as_long_as_its_references() {
        let mut slots: Slots<&str, ()> = Slots::new();
        let a = slots.acquire(&"a");
        assert_eq!(slots.acquire(&"a"), a);
        assert_eq!(slots.release(a), None);
        assert_eq!(slots.value(a), Some(&"a"));
        assert_eq!(slots.release(a), Some(()));
        assert_eq!(slots.value(a), None);
        assert_eq!(slots.acquire(&"b"), a, "numbers are used again");
    }

    #[test]
    fn beliefs_pack_and_unpack() {
        let mut slots: Slots<&str, ()> = Slots::new();
        let id = slots.acquire(&"a");
        for (belief, believed) in [
            (Belief::ABSENT, Believed::Absent),
            (Belief::made(id), Believed::Made(id)),
            (Belief::found(id), Believed::Found(id)),
        ] {
            assert_eq!(belief.get(), believed);
        }
    }
}
