//! The planner's memory: one small entry per prefix, and the few things that many entries share.

use std::hash::{BuildHasher, Hash};

use hashbrown::hash_table::Entry as Place;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Room for rows without use that is kept.
const DEAD_KEPT: usize = 1024;

/// Number of a shared value in [`Slots`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SlotId(u32);

/// Values that entries refer to by number, each held once and counted; gone when the last reference is.
#[derive(Debug)]
pub(super) struct Slots<T, X> {
    ids: HashMap<T, u32>,
    /// What was asked for last: neighbours mostly ask for the same, and a shared value is equal at a glance.
    last: Option<(T, SlotId)>,
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
        Slots { ids: HashMap::new(), last: None, slots: Vec::new(), free: Vec::new() }
    }

    /// The number of `value`, with one more reference to it.
    pub(super) fn acquire(&mut self, value: &T) -> SlotId {
        if let Some((last, id)) = &self.last
            && last == value
        {
            let id = *id;
            self.retain(id);
            return id;
        }
        let id = self.find_or_add(value);
        self.last = Some((value.clone(), id));
        id
    }

    fn find_or_add(&mut self, value: &T) -> SlotId {
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
        self.last = None;
        self.free.push(id.0);
        Some(slot.extra)
    }

    pub(super) fn references(&self, id: SlotId) -> u32 {
        self.slots.get(id.0 as usize).and_then(Option::as_ref).map_or(0, |slot| slot.references)
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

    pub(super) fn extras_mut(&mut self) -> impl Iterator<Item = &mut X> {
        self.slots.iter_mut().flatten().map(|slot| &mut slot.extra)
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
    /// Named by the set that is about to be the whole of what is wanted.
    Named = 64,
    /// No entry: a row without use.
    Free = 128,
}

impl Entry {
    const FREE: Entry = Entry { wanted: 0, belief: Belief::ABSENT, flags: Flag::Free as u8 };

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

/// Number of an entry in [`RouteTable`], valid for as long as the entry is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RouteId(u32);

impl RouteId {
    const IPV6: u32 = 1 << 31;

    fn split(self) -> (bool, usize) {
        (self.0 & RouteId::IPV6 != 0, (self.0 & !RouteId::IPV6) as usize)
    }
}

/// Entries by prefix and by number. One set of rows per family, so that an IPv4 entry costs no IPv6 key.
#[derive(Debug, Default)]
pub(super) struct RouteTable {
    v4: Rows<Ipv4Net>,
    v6: Rows<Ipv6Net>,
}

/// The rows of one family in order of arrival, and where each prefix is. A prefix is looked up once when something is
/// said about it; from then on its number says where it is.
#[derive(Debug)]
struct Rows<P> {
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
    rows: Vec<Row<P>>,
    /// Rows that are to be used again.
    free: Vec<u32>,
    /// Rows without use that `places` still leads to. Taking one out of there costs a look-up, so that is put off: when
    /// all of them go, it is not needed, and when one comes back, neither.
    dead: Vec<u32>,
    /// Rows in use.
    live: usize,
}

#[derive(Debug)]
struct Row<P> {
    prefix: P,
    entry: Entry,
}

impl<P> Default for Rows<P> {
    fn default() -> Rows<P> {
        Rows {
            places: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            rows: Vec::new(),
            free: Vec::new(),
            dead: Vec::new(),
            live: 0,
        }
    }
}

/// A prefix as a key.
trait Key: Copy + Eq {
    /// The number of the network among those of its length.
    fn number(&self) -> u128;
    fn len(&self) -> u8;

    /// A hash by which eight consecutive networks are neighbours in the hash table: sets of routes mostly come sorted,
    /// and then one cache miss serves eight look-ups. The upper bits, by which neighbours are told apart, differ too.
    fn hash(&self, hasher: &DefaultHashBuilder) -> u64 {
        let number = self.number();
        let (block, within) = (number >> 3, (number & 7) as u64);
        let hash = hasher.hash_one(((block >> 64) as u64, block as u64, self.len()));
        (hash & !7 | within) ^ (within << 61)
    }
}

impl Key for Ipv4Net {
    fn number(&self) -> u128 {
        // The shift is by up to 32 bits.
        u128::from(u64::from(self.addr().to_bits()) >> (32 - self.prefix_len()))
    }

    fn len(&self) -> u8 {
        self.prefix_len()
    }
}

impl Key for Ipv6Net {
    fn number(&self) -> u128 {
        self.addr().to_bits().checked_shr(128 - u32::from(self.prefix_len())).unwrap_or(0)
    }

    fn len(&self) -> u8 {
        self.prefix_len()
    }
}

impl<P: Key> Rows<P> {
    fn find(&self, prefix: &P) -> Option<u32> {
        let hash = prefix.hash(&self.hasher);
        let place = self.places.find(hash, |place| self.rows[*place as usize].prefix == *prefix).copied()?;
        (!self.rows[place as usize].entry.has(Flag::Free)).then_some(place)
    }

    fn find_or_add(&mut self, prefix: P) -> u32 {
        let Rows { places, hasher, rows, free, live, .. } = self;
        let is_it = |place: &u32| rows[*place as usize].prefix == prefix;
        match places.entry(prefix.hash(hasher), is_it, |place| rows[*place as usize].prefix.hash(hasher)) {
            Place::Occupied(place) => {
                let place = *place.get();
                let entry = &mut rows[place as usize].entry;
                if entry.has(Flag::Free) {
                    *entry = Entry::default();
                    *live += 1;
                }
                place
            }
            Place::Vacant(vacant) => {
                let row = Row { prefix, entry: Entry::default() };
                let place = match free.pop() {
                    Some(place) => {
                        rows[place as usize] = row;
                        place
                    }
                    None => {
                        rows.push(row);
                        (rows.len() - 1) as u32
                    }
                };
                vacant.insert(place);
                *live += 1;
                place
            }
        }
    }

    fn remove(&mut self, place: usize) {
        self.rows[place].entry = Entry::FREE;
        self.live -= 1;
        if self.live == 0 {
            // Nothing is left, so no memory is kept either.
            *self = Rows::default();
            return;
        }
        self.dead.push(place as u32);
        if self.dead.len() > self.rows.len() {
            // Some come and go all the time, and are listed many times over.
            self.bury();
        }
    }

    /// Makes rows without use available again.
    fn bury(&mut self) {
        let Rows { places, hasher, rows, free, dead, .. } = self;
        for place in dead.drain(..) {
            let row = &rows[place as usize];
            // It may have come back meanwhile, and gone again.
            if row.entry.has(Flag::Free)
                && let Ok(found) = places.find_entry(row.prefix.hash(hasher), |other| *other == place)
            {
                found.remove();
                free.push(place);
            }
        }
        dead.shrink_to(DEAD_KEPT);
    }

    fn reserve(&mut self, count: usize) {
        let more = count.saturating_sub(self.rows.len());
        self.rows.reserve_exact(more);
        let Rows { places, hasher, rows, .. } = self;
        places.reserve(more, |place| rows[*place as usize].prefix.hash(hasher));
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &Row<P>)> {
        let used = |(_, row): &(usize, &Row<P>)| !row.entry.has(Flag::Free);
        self.rows.iter().enumerate().filter(used).map(|(place, row)| (place as u32, row))
    }
}

impl RouteTable {
    /// The number of a prefix, if there is an entry for it.
    pub(super) fn find(&self, prefix: &IpNet) -> Option<RouteId> {
        match prefix {
            IpNet::V4(prefix) => self.v4.find(prefix).map(RouteId),
            IpNet::V6(prefix) => self.v6.find(prefix).map(|place| RouteId(place | RouteId::IPV6)),
        }
    }

    /// The number of a prefix; an entry is made if there is none.
    pub(super) fn find_or_add(&mut self, prefix: &IpNet) -> RouteId {
        match prefix {
            IpNet::V4(prefix) => RouteId(self.v4.find_or_add(*prefix)),
            IpNet::V6(prefix) => RouteId(self.v6.find_or_add(*prefix) | RouteId::IPV6),
        }
    }

    pub(super) fn entry(&self, id: RouteId) -> &Entry {
        match id.split() {
            (false, place) => &self.v4.rows[place].entry,
            (true, place) => &self.v6.rows[place].entry,
        }
    }

    pub(super) fn entry_mut(&mut self, id: RouteId) -> &mut Entry {
        match id.split() {
            (false, place) => &mut self.v4.rows[place].entry,
            (true, place) => &mut self.v6.rows[place].entry,
        }
    }

    pub(super) fn prefix(&self, id: RouteId) -> IpNet {
        match id.split() {
            (false, place) => IpNet::V4(self.v4.rows[place].prefix),
            (true, place) => IpNet::V6(self.v6.rows[place].prefix),
        }
    }

    /// The entry of a prefix.
    pub(super) fn get(&self, prefix: &IpNet) -> Option<&Entry> {
        self.find(prefix).map(|id| self.entry(id))
    }

    /// Forgets an entry; its number may be given to another.
    pub(super) fn remove(&mut self, id: RouteId) {
        match id.split() {
            (false, place) => self.v4.remove(place),
            (true, place) => self.v6.remove(place),
        }
    }

    /// Makes numbers of forgotten entries available again: when there is nothing better to do.
    pub(super) fn tidy(&mut self) {
        self.v4.bury();
        self.v6.bury();
    }

    /// Makes room for so many entries of each family, all in all.
    pub(super) fn reserve(&mut self, v4: usize, v6: usize) {
        self.v4.reserve(v4);
        self.v6.reserve(v6);
    }

    /// The numbers of all entries that fulfil a condition, in order of arrival.
    pub(super) fn ids_where(&self, is_meant: impl Fn(&Entry) -> bool) -> Vec<RouteId> {
        let v4 = self.v4.iter().filter(|(_, row)| is_meant(&row.entry)).map(|(place, _)| RouteId(place));
        let v6 = self.v6.iter().filter(|(_, row)| is_meant(&row.entry));
        v4.chain(v6.map(|(place, _)| RouteId(place | RouteId::IPV6))).collect()
    }

    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        let v4 = self.v4.rows.iter_mut().map(|row| &mut row.entry);
        v4.chain(self.v6.rows.iter_mut().map(|row| &mut row.entry)).filter(|entry| !entry.has(Flag::Free))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 12);
        assert_eq!(size_of::<Row<Ipv4Net>>(), 20);
    }

    #[test]
    fn an_entry_keeps_its_number_and_a_free_number_is_used_again() {
        let mut table = RouteTable::default();
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let (a, b, c) = (net("10.0.0.0/8"), net("10.0.0.0/9"), net("fd00::/8"));
        let ids = [a, b, c].map(|prefix| table.find_or_add(&prefix));
        assert_eq!([a, b, c].map(|prefix| table.find(&prefix)), ids.map(Some));
        assert_eq!(ids.map(|id| table.prefix(id)), [a, b, c]);
        table.remove(ids[0]);
        assert_eq!((table.find(&a), table.find_or_add(&a)), (None, ids[0]), "back at once");
        table.remove(ids[0]);
        table.tidy();
        assert_eq!((table.find(&a), table.find(&b)), (None, Some(ids[1])));
        assert_eq!(table.ids_where(|_| true), [ids[1], ids[2]]);
        assert_eq!(table.find_or_add(&net("11.0.0.0/8")), ids[0]);
        table.remove(ids[2]);
        assert_eq!(table.v6.rows.capacity(), 0, "an empty table keeps nothing");
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
