//! Recounts. For tests and simulations.

use super::encode::ExportView;
use super::group::UpdateGroup;
use super::log::Log;
use super::told::chosen;
use super::verdicts::Verdicts;
use crate::engine::rib::{AttrId, Source};
use std::collections::BTreeMap;

impl UpdateGroup {
    /// Whose sessions are in it.
    pub fn members(&self) -> impl Iterator<Item = Source> + '_ {
        self.members.iter().map(|member| member.source)
    }

    /// Compares the Adj-RIB-Out with what is exported, and the log with its readers.
    ///
    /// # Errors
    /// The first difference.
    pub fn audit(&self, view: &ExportView<'_>) -> Result<(), String> {
        if self.is_pending() || self.members.is_empty() {
            return Err(format!("pending {}, {} members", self.is_pending(), self.members.iter().len()));
        }
        if self.is_walking() {
            return Err("a walk of the table was left off".to_owned());
        }
        if self.told.is_some() {
            self.audit_paths(view)?
        } else {
            self.audit_prefixes(view)?
        }
        let slow = self.members.iter().filter(|member| member.is_slow()).count();
        if slow != self.slow_count() {
            return Err(format!("{} slow members, {slow} found", self.slow_count()));
        }
        let leaving = self.members.iter().filter(|member| member.is_leaving).count();
        if leaving != self.leaving || leaving > 0 {
            return Err(format!(
                "{} members leave the log, {leaving} found, and it was left off",
                self.leaving
            ));
        }
        let readers = self.members.iter().filter(|member| member.reads_log()).map(|member| member.cursor);
        self.log.audit(&readers.chain(self.dump.as_ref().map(|dump| dump.at)).collect::<Vec<_>>())
    }

    /// Attribute sets that are referred to, once for each reference.
    pub fn references(&self) -> impl Iterator<Item = AttrId> + '_ {
        self.told.iter().flat_map(|told| told.references())
    }

    fn audit_paths(&self, view: &ExportView<'_>) -> Result<(), String> {
        let Some(told) = &self.told else { return Ok(()) };
        told.audit()?;
        let mut verdicts = Verdicts::default();
        let mut prefixes = 0;
        for id in view.rib.prefixes.ids() {
            let mut expected: Vec<_> =
                chosen(view, &self.key, id, &mut verdicts).into_iter().map(|a| a.path).collect();
            expected.sort_unstable_by_key(|path| (path.source, path.path_id));
            let found: Vec<_> = told.of(id).iter().map(|told| told.path).collect();
            prefixes += usize::from(!found.is_empty());
            if expected != found || self.advertised.contains(id) == found.is_empty() {
                return Err(format!("{id:?}: to be told {expected:?}, told {found:?}"));
            }
        }
        if prefixes != told.prefixes().count() || prefixes != self.advertised.len() {
            return Err(format!("{prefixes} prefixes told, {} advertised", self.advertised.len()));
        }
        Ok(())
    }

    fn audit_prefixes(&self, view: &ExportView<'_>) -> Result<(), String> {
        let mut exported = 0;
        let mut verdicts = Verdicts::default();
        for id in view.rib.prefixes.ids() {
            let is_exported = self.exported(view, id, &mut verdicts).is_some();
            exported += usize::from(is_exported);
            if is_exported != self.advertised.contains(id) {
                return Err(format!("{id:?}: exported {is_exported}, advertised {}", !is_exported));
            }
        }
        if exported != self.advertised.len() {
            return Err(format!("{exported} exported, {} advertised", self.advertised.len()));
        }
        let mut own: BTreeMap<Source, usize> = BTreeMap::new();
        for announce in self.advertised.iter().filter_map(|id| self.exported(view, id, &mut verdicts)) {
            *own.entry(announce.path.source).or_default() += 1;
        }
        for source in self.members() {
            let (counted, expected) =
                (self.advertised_count(source), exported - own.get(&source).unwrap_or(&0));
            if counted != expected {
                return Err(format!("slot {}: {counted} advertised, {expected} found", source.0));
            }
        }
        Ok(())
    }
}

impl Log {
    fn audit(&self, readers: &[u64]) -> Result<(), String> {
        if self.reader_count() != readers.len() {
            return Err(format!("{} readers of the log, {} found", self.reader_count(), readers.len()));
        }
        for (position, unread) in (self.first()..).zip(self.unread_counts()) {
            let expected = readers.iter().filter(|at| **at <= position).count();
            if unread as usize != expected || expected == 0 {
                return Err(format!("chunk {position} is unread by {unread}, {expected} found"));
            }
        }
        Ok(())
    }
}
