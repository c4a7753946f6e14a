//! When refused routes are tried again.

use super::*;

impl Planner {
    pub(super) fn retry_pending(&mut self, now: Instant) {
        self.retry.at = None;
        self.retry.last = Some(now);
        self.retry.succeeded = false;
        let ids: Vec<RouteId> = self.pending.keys().filter_map(|prefix| self.routes.find(prefix)).collect();
        ids.into_iter().for_each(|id| self.enqueue(id));
        self.retry.slow_gap = (self.retry.slow_gap * 2).min(self.config.retry_max);
        self.retry.soon_gap = (self.retry.soon_gap * 2).min(self.config.retry_max);
        self.plan_retry(now);
    }

    /// Makes sure that refused routes are tried again some time.
    pub(super) fn plan_retry(&mut self, now: Instant) {
        if self.pending.is_empty() {
            self.retry.at = None;
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
        self.retry.at = Some(self.retry.at.map_or(earliest, |planned| planned.min(earliest)));
    }
}
