//! Routes under another metric. The kernel tells routes for one prefix apart by their metric, so that one whose metric
//! changes becomes another route: it is created first, and the old one goes once the new one is in its place. Until then
//! the old one is a *stray*, and so is whatever an earlier run, or another program with our protocol id, left under
//! another metric.

use super::*;

impl Planner {
    /// The metric under which something wanted is installed for a prefix.
    pub(super) fn wanted_metric(&self, wanted: SlotId, prefix: &IpNet) -> u32 {
        let metric = self.wanted.value(wanted).and_then(|wanted| wanted.metric);
        self.ownership.metric_for(prefix, metric)
    }

    /// The metric of the route that we believe to have.
    pub(super) fn believed_metric(&self, id: RouteId) -> Option<u32> {
        match self.routes.entry(id).belief.get() {
            Believed::Absent => None,
            Believed::Found(found) => self.found.value(found).map(|found| found.metric),
            Believed::Made(made) => Some(self.wanted_metric(made, &self.routes.prefix(id))),
        }
    }

    /// The metric that a route of ours for a prefix should have: as wanted; else as it is; else as configured.
    pub(super) fn expected_metric(&self, id: RouteId) -> u32 {
        let prefix = self.routes.prefix(id);
        match self.routes.entry(id).wanted() {
            Some(wanted) => self.wanted_metric(wanted, &prefix),
            None => self.believed_metric(id).unwrap_or_else(|| self.ownership.metric_for(&prefix, None)),
        }
    }

    /// Something else is wanted. A route under another metric is no start for that, and becomes a stray; a stray may be
    /// just what is wanted now.
    pub(super) fn align(&mut self, id: RouteId) {
        let entry = *self.routes.entry(id);
        let Some(wanted) = entry.wanted() else { return };
        if entry.belief == Belief::ABSENT && self.strays.is_empty() {
            return;
        }
        let prefix = self.routes.prefix(id);
        let metric = self.wanted_metric(wanted, &prefix);
        match self.believed_metric(id) {
            Some(believed) if believed == metric => return,
            Some(believed) => {
                let content = match entry.belief.get() {
                    Believed::Found(found) => self.found.value(found).map(|found| Arc::clone(&found.content)),
                    _ => None,
                };
                self.set_belief(id, Belief::ABSENT);
                self.add_stray(prefix, believed, content);
            }
            None => {}
        }
        // While a request is under way, its answer is about what was there before.
        if !entry.has(Flag::InFlight)
            && let Some(content) = self.strays.get(&(prefix, metric)).cloned().flatten()
        {
            self.strays.remove(&(prefix, metric));
            let found = self.found.acquire(&Found { metric, content });
            self.set_belief(id, Belief::found(found));
        }
    }

    /// A route of ours that is under another metric than it should be.
    pub(super) fn add_stray(&mut self, prefix: IpNet, metric: u32, content: Option<Arc<Content>>) {
        self.strays.insert((prefix, metric), content);
        self.strays_due = true;
    }

    /// Adds deletions of strays: of those that are replaced by now; and, once everything wanted has been said, of those in
    /// whose place nothing is wanted.
    pub(super) fn delete_strays(&mut self, ops: &mut Vec<Op>) {
        if !std::mem::take(&mut self.strays_due) {
            return;
        }
        let mut taken_over = Vec::new();
        for ((prefix, metric), content) in &mut self.strays {
            if ops.len() >= self.config.batch_len {
                self.strays_due = true;
                break;
            }
            let entry = self.routes.get(prefix).filter(|entry| entry.wanted().is_some());
            if !entry.map_or(self.may_delete, |entry| entry.has(Flag::InStep)) {
                continue;
            }
            let wanted = entry.and_then(|entry| self.wanted.value(entry.wanted()?));
            if wanted.is_some_and(|wanted| self.ownership.metric_for(prefix, wanted.metric) == *metric) {
                // The metric was changed to another and back: what is in its place now is what is wanted.
                taken_over.push((*prefix, *metric));
                continue;
            }
            *content = None;
            ops.push(Op::DeleteRoute { prefix: *prefix, metric: *metric });
        }
        taken_over.iter().for_each(|stray| _ = self.strays.remove(stray));
    }

    /// Whether nexthop objects that no wanted route needs may go. They would take strays along.
    pub(super) fn may_collect(&self) -> bool {
        self.may_delete && self.strays.is_empty()
    }
}
