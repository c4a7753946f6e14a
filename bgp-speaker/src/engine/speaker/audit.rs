//! A recount of everything that is counted as it changes. For tests and simulations.

use super::Engine;
use super::flush::export_view;
use crate::config::Family;
use crate::engine::conn::ConnId;
use crate::engine::rib::{AttrId, Source};
use crate::engine::update_group::ExportView;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};

impl Engine {
    /// Calls neighbours slow that hold back more than so many bytes, in place of the many that it takes otherwise.
    pub fn limit_log(&mut self, bytes: usize) {
        self.slow_log_bytes = bytes;
    }

    /// Walks the table for those who join in slices of so many ids, in place of the many that it takes otherwise.
    pub fn limit_walk(&mut self, ids: u32) {
        self.walk_ids = ids;
    }

    /// Do all counters, references and indexes agree with what they stand for? To be asked when
    /// [`Engine::needs_flush`] says no.
    ///
    /// # Errors
    /// The first that does not.
    pub fn audit(&self) -> Result<(), String> {
        self.audit_connections()?;
        self.audit_routes()?;
        self.audit_groups()
    }

    fn audit_connections(&self) -> Result<(), String> {
        let mut in_use = BTreeSet::new();
        let mut ranges: BTreeMap<IpNet, u32> = BTreeMap::new();
        let members = self.peers.iter().flatten().filter_map(|peer| peer.range);
        members.for_each(|range| *ranges.entry(range).or_default() += 1);
        ensure(ranges == self.range_members, || {
            format!("{:?} in ranges, {ranges:?} found", self.range_members)
        })?;
        for peer in self.peers.iter().flatten() {
            ensure(self.by_id.get(&peer.neighbor.id()) == Some(&peer.source), || {
                format!("{} is not found by its identity", peer.neighbor.id())
            })?;
            for connection in &peer.connections {
                in_use.extend(connection.conn);
            }
        }
        for (id, conn) in &self.conns {
            ensure(conn.is_closing || in_use.contains(id), || format!("{id:?} belongs to nobody"))?;
        }
        let known = |id: &ConnId| self.conns.get(id).is_some_and(|conn| !conn.is_closing);
        match in_use.iter().find(|id| !known(id)) {
            Some(id) => Err(format!("{id:?} is in use and unknown")),
            None => Ok(()),
        }
    }

    fn audit_routes(&self) -> Result<(), String> {
        let mut references: BTreeMap<AttrId, u32> = BTreeMap::new();
        for family in Family::ALL {
            let recount = self.ribs[family.index()].audit(&mut references)?;
            for (slot, info) in self.sources.iter().enumerate() {
                let source = Source(slot as u32);
                let of = |counts: &BTreeMap<Source, u32>| counts.get(&source).copied().unwrap_or_default();
                let counted = (info.path_count[family.index()], info.best_count[family.index()]);
                let expected = (of(&recount.paths), of(&recount.best));
                ensure(counted == expected, || {
                    format!("{family} of {}: (paths, best) {counted:?}, recounted {expected:?}", info.address)
                })?;
                let is_used = self.peers.get(slot).is_some_and(Option::is_some) || source.is_own();
                ensure(is_used || expected == (0, 0), || format!("slot {slot} is free and has paths"))?;
            }
        }
        let last = self
            .peers
            .iter()
            .flatten()
            .filter_map(|peer| peer.established.as_ref()?.last_attributes.as_ref());
        last.for_each(|last| *references.entry(last.attr).or_default() += 1);
        let told = self.groups.iter().flatten().flat_map(|group| group.references());
        told.for_each(|attr| *references.entry(attr).or_default() += 1);
        self.attrs.audit(&references)
    }

    fn audit_groups(&self) -> Result<(), String> {
        for (index, group) in self.groups.iter().enumerate() {
            let Some(group) = group else { continue };
            group.audit(&export_view!(self, group.key.family))?;
            for source in group.members() {
                ensure(self.group_of(source, group.key.family) == Some(index), || {
                    format!("slot {} is in group {index} and does not know", source.0)
                })?;
            }
        }
        for peer in self.peers.iter().flatten() {
            let Some(established) = &peer.established else { continue };
            for family in &established.terms.families {
                let group = established.groups[family.index()].and_then(|index| self.groups[index].as_ref());
                ensure(group.is_some_and(|group| group.member(peer.source).is_some()), || {
                    format!("{} is in no group for {family}", peer.neighbor.id())
                })?;
            }
        }
        Ok(())
    }
}

fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem()) }
}
