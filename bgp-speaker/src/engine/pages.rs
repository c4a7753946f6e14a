//! A page of routes out of a table of any size, in small questions: the table is not sorted, and between two questions
//! the engine does other things.
//!
//! First every prefix is looked at once, so many ids per question, and the smallest that are asked for are remembered;
//! then the routes of these are made, so many per question. An id keeps its prefix for as long as that has a route, so
//! that no prefix that is there throughout is passed over.

use crate::config::Family;
use crate::view::{PathsTold, RouteCursor, RouteQuery, RouteView};
use ipnet::IpNet;
use std::sync::Arc;

/// What an engine is asked; it answers with [`Engine::answer_page`](super::Engine::answer_page).
#[derive(Clone, Debug)]
pub enum PageQuestion {
    /// Which prefixes among the next ids are asked for?
    Prefixes {
        /// In which table, and from where on.
        query: Arc<RouteQuery>,
        /// Of this family.
        family: Family,
        /// The first id.
        from: u32,
        /// Larger ones are not asked for.
        up_to: Option<IpNet>,
    },
    /// Which routes are there?
    Routes {
        /// In which table.
        query: Arc<RouteQuery>,
        /// For these prefixes, in this order.
        prefixes: Vec<IpNet>,
        /// Paths of the first one that have been told.
        told: Option<PathsTold>,
        /// At most so many.
        limit: usize,
    },
}

/// What it answers.
#[derive(Clone, Debug)]
pub enum PageAnswer {
    /// Prefixes.
    Prefixes {
        /// In no particular order.
        found: Vec<IpNet>,
        /// The id to go on with, unless that was the last.
        next: Option<u32>,
    },
    /// Routes.
    Routes {
        /// In order.
        routes: Vec<RouteView>,
        /// Prefixes that are done with.
        done: usize,
        /// Paths of the next prefix that have been told.
        told: Option<PathsTold>,
    },
}

/// One page in the making.
#[derive(Debug)]
pub struct Pager {
    query: Arc<RouteQuery>,
    limit: usize,
    stage: Stage,
    smallest: Smallest,
    /// Prefixes after this one have not been looked for.
    end: Option<IpNet>,
    routes: Vec<RouteView>,
}

#[derive(Debug)]
enum Stage {
    Scan { family: Family, from: u32 },
    Make { prefixes: std::vec::IntoIter<IpNet>, told: Option<PathsTold> },
}

/// Prefixes per question for routes; most have one route. Tests ask often, so that much happens in between.
const PREFIXES_PER_QUESTION: usize = if cfg!(test) { 3 } else { 256 };
/// Routes per question.
const ROUTES_PER_QUESTION: usize = if cfg!(test) { 3 } else { 256 };

impl Pager {
    /// For the page that a query asks for.
    pub fn new(query: RouteQuery) -> Self {
        let limit = query.limit.unwrap_or(usize::MAX);
        let mut pager = Self {
            limit,
            stage: Stage::Scan { family: first_family(&query), from: 0 },
            // One more than is told, so that whether there are more is known.
            smallest: Smallest { keep: limit.saturating_add(1), found: Vec::new(), is_cut: false },
            end: None,
            routes: Vec::new(),
            query: Arc::new(query),
        };
        if let Some(prefix) = pager.query.prefix.filter(|_| !pager.query.longer) {
            pager.smallest.found.extend(is_after(&pager.query, &prefix.trunc()).then_some(prefix.trunc()));
            pager.begin_to_make();
        }
        pager
    }

    /// What to ask next; `None`: the page is done.
    pub fn question(&self) -> Option<PageQuestion> {
        let query = self.query.clone();
        match &self.stage {
            Stage::Scan { family, from } => {
                let up_to = self.smallest.up_to();
                Some(PageQuestion::Prefixes { query, family: *family, from: *from, up_to })
            }
            Stage::Make { prefixes, told } => {
                let prefixes: Vec<IpNet> =
                    prefixes.as_slice().iter().take(PREFIXES_PER_QUESTION).copied().collect();
                let limit = (self.limit - self.routes.len()).min(ROUTES_PER_QUESTION);
                let is_done = prefixes.is_empty() || limit == 0;
                (!is_done).then_some(PageQuestion::Routes { query, prefixes, told: *told, limit })
            }
        }
    }

    /// Takes the answer to the last question.
    pub fn take(&mut self, answer: PageAnswer) {
        match (answer, &mut self.stage) {
            (PageAnswer::Prefixes { found, next }, Stage::Scan { family, from }) => {
                self.smallest.offer(found);
                // All prefixes of the first family come before those of the second.
                let is_full = self.smallest.found.len() >= self.smallest.keep;
                match (next, next_family(&self.query, *family).filter(|_| !is_full)) {
                    (Some(next), _) => *from = next,
                    (None, Some(family)) => self.stage = Stage::Scan { family, from: 0 },
                    (None, None) => self.begin_to_make(),
                }
            }
            (PageAnswer::Routes { routes, done, told: now }, Stage::Make { prefixes, told }) => {
                self.routes.extend(routes);
                prefixes.by_ref().take(done).for_each(drop);
                *told = now;
            }
            // Not the answer to what was asked.
            (PageAnswer::Prefixes { .. } | PageAnswer::Routes { .. }, _) => {}
        }
    }

    /// The routes, and where the next page begins if there may be more.
    pub fn finish(self) -> (Vec<RouteView>, Option<RouteCursor>) {
        let rest = match &self.stage {
            Stage::Make { prefixes, told } => prefixes.as_slice().first().map(|prefix| (*prefix, *told)),
            Stage::Scan { .. } => None,
        };
        let next = match (rest, self.routes.last()) {
            (Some((prefix, Some(told))), _) => Some(RouteCursor { prefix, paths: Some(told) }),
            (Some(_), Some(last)) => Some(RouteCursor::after(last.prefix)),
            // Some went away between being found and being told: the page is short, and not the last.
            (Some(_) | None, _) => self.end.map(RouteCursor::after),
        };
        (self.routes, next)
    }

    fn begin_to_make(&mut self) {
        let has_more = self.smallest.is_cut || self.smallest.found.len() >= self.smallest.keep;
        let prefixes = self.smallest.sorted();
        self.end = prefixes.last().copied().filter(|_| has_more);
        // The first of them may be the one that the page before ended in.
        let told = self
            .query
            .after
            .as_ref()
            .and_then(|after| after.paths.filter(|_| prefixes.first() == Some(&after.prefix)));
        self.stage = Stage::Make { prefixes: prefixes.into_iter(), told };
    }
}

/// Does a prefix come after what has been told?
pub(super) fn is_after(query: &RouteQuery, prefix: &IpNet) -> bool {
    query.after.as_ref().is_none_or(|after| match after.paths {
        None => *prefix > after.prefix,
        Some(_) => *prefix >= after.prefix,
    })
}

fn first_family(query: &RouteQuery) -> Family {
    let after = query.after.as_ref().map(|after| Family::of(&after.prefix));
    query.prefix.map(|prefix| Family::of(&prefix)).or(after).unwrap_or(Family::ALL[0])
}

fn next_family(query: &RouteQuery, family: Family) -> Option<Family> {
    let mut later = Family::ALL.into_iter().skip_while(|other| *other != family).skip(1);
    later.next().filter(|_| query.prefix.is_none())
}

/// The smallest of all prefixes that are offered.
#[derive(Debug)]
struct Smallest {
    keep: usize,
    found: Vec<IpNet>,
    /// Some were left out: the largest that is kept comes first, and is as large as any that counts.
    is_cut: bool,
}

impl Smallest {
    fn offer(&mut self, prefixes: Vec<IpNet>) {
        self.found.extend(prefixes);
        // Now and then, so that each is looked at about twice.
        if self.found.len() >= self.keep.saturating_mul(2) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.found.select_nth_unstable(self.keep - 1);
        self.found.truncate(self.keep);
        let last = self.found.len() - 1;
        self.found.swap(0, last);
        self.is_cut = true;
    }

    /// Larger ones need not be offered any more.
    fn up_to(&self) -> Option<IpNet> {
        self.found.first().copied().filter(|_| self.is_cut)
    }

    fn sorted(&mut self) -> Vec<IpNet> {
        let mut found = std::mem::take(&mut self.found);
        found.sort_unstable();
        // One that went and came back under another id has been found twice.
        found.dedup();
        found.truncate(self.keep);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(number: u32) -> IpNet {
        IpNet::new(std::net::Ipv4Addr::from(number << 8).into(), 24).unwrap()
    }

    #[test]
    fn the_smallest_are_kept_whatever_the_order() {
        for step in [1, 7, 611, 999] {
            let mut smallest = Smallest { keep: 10, found: Vec::new(), is_cut: false };
            let numbers: Vec<u32> = (0..1000).map(|index| index * step % 1000).collect();
            for part in numbers.chunks(64) {
                let up_to = smallest.up_to();
                let wanted = |number: &u32| up_to.is_none_or(|up_to| net(*number) <= up_to);
                smallest.offer(part.iter().copied().filter(wanted).map(net).collect());
                assert!(smallest.found.len() <= 20 + part.len(), "bounded");
            }
            assert_eq!(smallest.sorted(), (0..10).map(net).collect::<Vec<_>>(), "step {step}");
        }
    }

    #[test]
    fn what_was_found_twice_counts_once() {
        let mut smallest = Smallest { keep: 3, found: Vec::new(), is_cut: false };
        smallest.offer(vec![net(2), net(1), net(2)]);
        assert_eq!(smallest.sorted(), [net(1), net(2)]);
    }
}
