//! When refused routes are tried again.
//!
//! On a timer, ever more rarely, all of them. When something changes elsewhere, soon, but one route of each kind: routes
//! over one next hop are mostly refused for that, and a hundred thousand of them need not be sent to find out. When the
//! one is accepted, the others follow.

use super::*;

impl Planner {
    pub(super) fn retry_pending(&mut self, now: Instant) {
        self.retry.at = None;
        self.retry.last = Some(now);
        self.retry.succeeded = false;
        if std::mem::take(&mut self.retry.is_hurried) {
            self.probe_pending();
            self.retry.soon_gap = (self.retry.soon_gap * 2).min(self.config.retry_max);
        } else {
            let ids: Vec<RouteId> =
                self.pending.keys().filter_map(|prefix| self.routes.find(prefix)).collect();
            ids.into_iter().for_each(|id| self.enqueue(id));
            self.retry.slow_gap = (self.retry.slow_gap * 2).min(self.config.retry_max);
        }
        self.plan_retry(now);
    }

    fn probe_pending(&mut self) {
        let mut ids = Vec::new();
        self.retry.probed.clear();
        for (prefix, pending) in &self.pending {
            let Some(id) = self.routes.find(prefix) else { continue };
            let is_first = self.routes.entry(id).wanted().is_some_and(|kind| self.retry.probed.insert(kind));
            // What a conflict waits for has nothing to do with its next hop.
            if is_first || pending.is_conflict {
                ids.push(id);
            }
        }
        ids.into_iter().for_each(|id| self.enqueue(id));
    }

    /// A route of this kind that had been refused is installed.
    pub(super) fn retry_succeeded(&mut self, kind: SlotId) {
        self.retry.succeeded = true;
        if !self.retry.probed.remove(&kind) {
            return;
        }
        let is_alike = |id: &RouteId| self.routes.entry(*id).wanted() == Some(kind);
        let ids: Vec<RouteId> =
            self.pending.keys().filter_map(|prefix| self.routes.find(prefix)).filter(is_alike).collect();
        ids.into_iter().for_each(|id| self.enqueue(id));
    }

    /// Makes sure that refused routes are tried again some time.
    pub(super) fn plan_retry(&mut self, now: Instant) {
        if self.pending.is_empty() {
            self.retry.at = None;
            self.retry.is_hurried = false;
            self.retry.slow_gap = self.config.retry_first;
            self.retry.soon_gap = RETRY_SOON;
            return;
        }
        if std::mem::take(&mut self.retry.succeeded) {
            self.retry.slow_gap = self.config.retry_first;
            self.retry.soon_gap = RETRY_SOON;
        }
        let at = now + self.retry.slow_gap;
        self.retry.at = Some(self.retry.at.map_or(at, |planned| planned.min(at)));
    }

    /// Something changed that may let refused routes in: try them soon, but not as often as things change.
    pub(super) fn hurry_retry(&mut self, now: Instant) {
        if self.pending.is_empty() {
            return;
        }
        let earliest = self.retry.last.map_or(now, |last| (last + self.retry.soon_gap).max(now));
        if self.retry.at.is_none_or(|planned| planned > earliest) {
            self.retry.at = Some(earliest);
            self.retry.is_hurried = true;
        }
    }
}
