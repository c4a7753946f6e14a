//! Nexthop objects: which exist, which should, and which number stands for which next hop.
//!
//! An object is keyed by the *wanted* next hop, not by the interface that it was found on. When a gateway moves to
//! another interface the object changes in place, by one message for any number of routes.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use hashbrown::HashMap;

use crate::kernel::{Hop, KernelNexthop, NexthopContent, Op, Ownership, Verb};
use crate::model::InterfaceName;
use crate::reach::Reach;

/// What an object stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// Member ids and weights, sorted.
    Group(Vec<(u32, u16)>),
    Single {
        gateway: IpAddr,
        interface: Option<InterfaceName>,
        onlink: bool,
        reach: Reach,
        /// Of a group. Routes refer to other objects than groups do, so that theirs can be changed in place.
        is_member: bool,
    },
    /// One of several ways to a gateway.
    Way { gateway: IpAddr, interface: u32, onlink: bool, is_member: bool },
}

#[derive(Debug)]
struct Object {
    /// `None`: found in the kernel, and not used for anything wanted (yet).
    key: Option<Key>,
    want: Option<NexthopContent>,
    /// What the kernel holds, as far as we know.
    have: Option<NexthopContent>,
    references: u32,
    is_in_flight: bool,
}

/// All nexthop objects of one `Fib`, by id. At most 65,536.
#[derive(Debug)]
pub(super) struct Nexthops {
    ownership: Ownership,
    objects: BTreeMap<u32, Object>,
    /// The object that new routes refer to, and others that hold the same for the sake of older routes.
    by_key: HashMap<Key, Vec<u32>>,
    /// Ids of our block that somebody else uses.
    taken: HashSet<u32>,
    next: u32,
    has_garbage: bool,
    has_repairs: bool,
}

impl Nexthops {
    pub(super) fn new(ownership: Ownership) -> Nexthops {
        Nexthops {
            ownership,
            objects: BTreeMap::new(),
            by_key: HashMap::new(),
            taken: HashSet::new(),
            next: 1,
            has_garbage: false,
            has_repairs: false,
        }
    }

    /// How many objects wanted routes use.
    pub(super) fn len(&self) -> usize {
        self.by_key.values().map(Vec::len).sum()
    }

    pub(super) fn contains(&self, id: u32) -> bool {
        self.objects.contains_key(&id)
    }

    /// Whether the kernel has object `id`, as far as we know.
    pub(super) fn is_present(&self, id: u32) -> bool {
        self.objects.get(&id).is_some_and(|object| object.have.is_some())
    }

    /// The hops that object `id` is to stand for, sorted; `None` if nothing wanted uses it.
    pub(super) fn wanted_hops(&self, id: u32) -> Option<Vec<Hop>> {
        let hop = |id: u32, weight: u16| match self.objects.get(&id)?.want.as_ref()? {
            NexthopContent::Single { gateway, interface, onlink } => {
                Some(Hop { gateway: *gateway, interface: *interface, onlink: *onlink, weight })
            }
            _ => None,
        };
        let mut hops: Vec<Hop> = match self.objects.get(&id)?.want.as_ref()? {
            NexthopContent::Group(members) => {
                members.iter().filter_map(|(member, weight)| hop(*member, *weight)).collect()
            }
            _ => hop(id, 1).into_iter().collect(),
        };
        hops.sort_unstable();
        Some(hops)
    }

    /// Leaves object `id` as it is in the kernel, and does not bring it back when it goes.
    pub(super) fn park(&mut self, id: u32) {
        if let Some(object) = self.objects.get_mut(&id) {
            object.want = None;
        }
    }

    /// Whether object `id` is `other` or a group that holds it.
    pub(super) fn needs(&self, id: u32, other: u32) -> bool {
        let is_member = |object: &Object| match &object.want {
            Some(NexthopContent::Group(members)) => members.iter().any(|(member, _)| *member == other),
            _ => false,
        };
        id == other || self.objects.get(&id).is_some_and(is_member)
    }

    /// The object for `key`, with one more reference, made to hold `content`. `None`: all ids are in use. `may_adopt` says
    /// whether one of an earlier run may be it, given all objects that change with it.
    pub(super) fn acquire(
        &mut self,
        key: Key,
        content: NexthopContent,
        may_adopt: impl Fn(&[u32]) -> bool,
    ) -> Option<u32> {
        if let Some(ids) = self.by_key.get(&key) {
            for id in ids {
                let object = self.objects.get_mut(id)?;
                self.has_repairs |= object.have.as_ref() != Some(&content);
                object.want = Some(content.clone());
            }
            let id = *ids.first()?;
            self.objects.get_mut(&id)?.references += 1;
            return Some(id);
        }
        let id = self.unused_with(&content, may_adopt).or_else(|| self.free_id())?;
        let object = self.objects.entry(id).or_insert(Object {
            key: None,
            want: None,
            have: None,
            references: 0,
            is_in_flight: false,
        });
        object.key = Some(key.clone());
        object.want = Some(content);
        object.references = 1;
        self.retain_members(&key);
        self.by_key.insert(key, vec![id]);
        Some(id)
    }

    /// A group holds its members.
    fn retain_members(&mut self, key: &Key) {
        if let Key::Group(members) = key {
            for (member, _) in members {
                if let Some(member) = self.objects.get_mut(member) {
                    member.references += 1;
                }
            }
        }
    }

    /// Makes object `id` stand for the same as object `model`, with one more reference. Not possible while anything
    /// but one kind of routes needs it, nor between a group and a single next hop: the kernel does not turn one into
    /// the other.
    pub(super) fn imitate(&mut self, id: u32, model: u32) -> bool {
        let Some((Some(key), Some(want))) =
            self.objects.get(&model).map(|model| (model.key.clone(), model.want.clone()))
        else {
            return false;
        };
        let is_group = matches!(want, NexthopContent::Group(_));
        let has_member = |content: &Option<NexthopContent>| match content {
            Some(NexthopContent::Group(members)) => members.iter().any(|(member, _)| *member == id),
            _ => false,
        };
        let is_member = self.objects.values().any(|other| has_member(&other.have) || has_member(&other.want));
        let Some(object) = self.objects.get_mut(&id) else { return false };
        if id == model
            || is_member
            || object.references != 1
            || matches!(object.have, Some(NexthopContent::Group(_))) != is_group
        {
            return false;
        }
        object.references += 1;
        object.want = Some(want);
        let old = object.key.replace(key.clone());
        self.retain_members(&key);
        if let Some(old) = old {
            self.forget_key(id, old);
        }
        self.by_key.entry(key).or_default().push(id);
        true
    }

    /// Object `id` does not stand for `key` any more.
    fn forget_key(&mut self, id: u32, key: Key) {
        if let Some(ids) = self.by_key.get_mut(&key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_key.remove(&key);
            }
        }
        if let Key::Group(members) = key {
            members.iter().for_each(|(member, _)| self.release(*member));
        }
    }

    /// An object of an earlier run that already is what is needed.
    fn unused_with(&self, content: &NexthopContent, may_adopt: impl Fn(&[u32]) -> bool) -> Option<u32> {
        let fits =
            |(_, object): &(&u32, &Object)| object.key.is_none() && object.have.as_ref() == Some(content);
        let candidates = self.objects.iter().filter(fits).map(|(id, _)| *id);
        let with_groups = |id: u32| -> Vec<u32> {
            let holds = |object: &Object| matches!(&object.have, Some(NexthopContent::Group(members)) if members.iter().any(|(m, _)| *m == id));
            let groups = self.objects.iter().filter(|(_, object)| holds(object)).map(|(group, _)| *group);
            [id].into_iter().chain(groups).collect()
        };
        candidates.into_iter().find(|id| may_adopt(&with_groups(*id)))
    }

    fn free_id(&mut self) -> Option<u32> {
        for _ in 0..=u16::MAX {
            let id = self.ownership.nexthop_id_base() | (self.next & 0xffff);
            self.next = self.next.wrapping_add(1);
            if !self.objects.contains_key(&id) && !self.taken.contains(&id) {
                return Some(id);
            }
        }
        None
    }

    /// Gives one reference back. An object without references is deleted once no route uses it.
    pub(super) fn release(&mut self, id: u32) {
        let Some(object) = self.objects.get_mut(&id) else { return };
        object.references = object.references.saturating_sub(1);
        if object.references > 0 {
            return;
        }
        self.has_garbage = true;
        object.want = None;
        let key = object.key.take();
        if object.have.is_none() && !object.is_in_flight {
            self.objects.remove(&id);
        }
        if let Some(key) = key {
            self.forget_key(id, key);
        }
    }

    /// Adds what it takes to have object `id` in the kernel, members first.
    pub(super) fn ensure(&mut self, id: u32, ops: &mut Vec<Op>) {
        if let Some(Object { key: Some(Key::Group(members)), .. }) = self.objects.get(&id) {
            let members: Vec<u32> = members.iter().map(|(member, _)| *member).collect();
            members.into_iter().for_each(|member| self.ensure(member, ops));
        }
        let Some(object) = self.objects.get_mut(&id) else { return };
        let Some(want) = &object.want else { return };
        if object.is_in_flight || object.have.as_ref() == Some(want) {
            return;
        }
        object.is_in_flight = true;
        let verb = if object.have.is_some() { Verb::Replace } else { Verb::Create };
        ops.push(Op::SetNexthop { id, content: want.clone(), verb });
    }

    /// Adds what it takes to have every used object as wanted: after something changed them or their interfaces.
    pub(super) fn repair(&mut self, ops: &mut Vec<Op>) {
        if !std::mem::take(&mut self.has_repairs) {
            return;
        }
        let is_used = |(id, object): (&u32, &Object)| (object.references > 0).then_some(*id);
        let used: Vec<u32> = self.objects.iter().filter_map(is_used).collect();
        used.into_iter().for_each(|id| self.ensure(id, ops));
    }

    pub(super) fn needs_repair(&self) -> bool {
        self.has_repairs
    }

    /// Adds deletions of objects that nothing uses; groups before members. `is_used` tells whether a route that
    /// was found in the kernel refers to an id.
    pub(super) fn collect_garbage(&mut self, is_used: impl Fn(u32) -> bool, ops: &mut Vec<Op>) {
        if !std::mem::take(&mut self.has_garbage) {
            return;
        }
        let grouped: HashSet<u32> = self
            .objects
            .iter()
            .filter(|(id, object)| object.references > 0 || is_used(**id))
            .filter_map(|(_, object)| match &object.have {
                Some(NexthopContent::Group(members)) => Some(members.iter().map(|(member, _)| *member)),
                _ => None,
            })
            .flatten()
            .collect();
        let mut unused: Vec<(bool, u32)> = Vec::new();
        for (id, object) in &mut self.objects {
            let is_idle = object.references == 0 && !object.is_in_flight && object.have.is_some();
            if is_idle && !grouped.contains(id) && !is_used(*id) {
                object.is_in_flight = true;
                unused.push((!matches!(object.have, Some(NexthopContent::Group(_))), *id));
            }
        }
        unused.sort_unstable();
        ops.extend(unused.into_iter().map(|(_, id)| Op::DeleteNexthop { id }));
    }

    pub(super) fn has_garbage(&self) -> bool {
        self.has_garbage
    }

    /// Routes that referred to objects are gone: look for garbage again.
    pub(super) fn mark_garbage(&mut self) {
        self.has_garbage = true;
    }

    /// The kernel carried a request about `id` out.
    pub(super) fn done(&mut self, id: u32, content: Option<NexthopContent>) {
        let Some(object) = self.objects.get_mut(&id) else { return };
        object.is_in_flight = false;
        object.have = content;
        // It may have been wanted to change while it was on its way.
        self.has_repairs |= object.want.is_some() && object.have != object.want;
        if object.references == 0 {
            self.has_garbage = true;
            if object.have.is_none() {
                self.objects.remove(&id);
            }
        }
    }

    /// The kernel refused a request about `id`. `is_foreign`: somebody else has an object of that number.
    pub(super) fn refused(&mut self, id: u32, is_foreign: bool) {
        if is_foreign {
            self.taken.insert(id);
        }
        if let Some(object) = self.objects.get_mut(&id) {
            object.is_in_flight = false;
            if object.references == 0 && object.have.is_none() {
                self.objects.remove(&id);
            }
        }
    }

    /// Nothing is known of what became of requests in flight.
    pub(super) fn lost(&mut self) {
        self.objects.values_mut().for_each(|object| object.is_in_flight = false);
        self.has_garbage = true;
        self.has_repairs = true;
    }

    /// Takes what a dump says. Returns how many objects in use were not as believed.
    pub(super) fn replace(&mut self, found: &[KernelNexthop]) -> usize {
        let mut by_id: HashMap<u32, &NexthopContent> = HashMap::new();
        self.taken.clear();
        for nexthop in found {
            if self.ownership.owns_nexthop(nexthop.id, nexthop.protocol) {
                by_id.insert(nexthop.id, &nexthop.content);
            } else if nexthop.id & 0xffff_0000 == self.ownership.nexthop_id_base() {
                self.taken.insert(nexthop.id);
            }
        }
        let mut differences = 0;
        self.objects.retain(|id, object| {
            let have = by_id.remove(id);
            if have != object.have.as_ref() {
                object.have = have.cloned();
                differences += usize::from(object.references > 0);
            }
            object.references > 0 || object.have.is_some()
        });
        for (id, content) in by_id {
            let have = Some(content.clone());
            self.objects
                .insert(id, Object { key: None, want: None, have, references: 0, is_in_flight: false });
            self.has_garbage = true;
        }
        self.has_repairs |=
            self.objects.values().any(|object| object.want.is_some() && object.have != object.want);
        differences
    }
}
