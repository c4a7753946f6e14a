//! Recounts. For tests and simulations.

use super::encode::ExportView;
use super::group::UpdateGroup;
use super::log::Log;
use super::verdicts::Verdicts;
use crate::engine::rib::Source;
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
