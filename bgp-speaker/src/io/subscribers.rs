//! Who follows the best routes: each gets a snapshot, then every change, as fast as it asks for more. What waits for a
//! subscriber is a set of prefixes, so a slow one costs a bounded amount and is told the latest state only.

use super::command::Reply;
use crate::config::Family;
use crate::engine::{Engine, PrefixId, RouteChange as EngineChange};
use crate::speaker::{RouteChange, Ticket};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Weak;

/// Changes handed over at a time.
const BATCH: usize = 1024;

/// All subscribers of a speaker.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    all: BTreeMap<u64, Subscriber>,
}

#[derive(Debug, Default)]
struct Subscriber {
    queue: VecDeque<EngineChange>,
    queued: HashSet<EngineChange>,
    knows_convergence: bool,
    /// It wants the table, not only what changes.
    wants_table: bool,
    /// Whether anybody still listens.
    life: Weak<()>,
    waiting: Option<Reply<Vec<RouteChange>>>,
}

impl Subscribers {
    /// A subscriber wants more; one that is new gets the whole table first.
    pub(super) fn next(&mut self, ticket: Ticket, reply: Reply<Vec<RouteChange>>, engine: &Engine) {
        let Ticket { id, life } = ticket;
        let subscriber = self.all.entry(id).or_insert_with(|| {
            let mut subscriber = Subscriber { wants_table: true, life, ..Subscriber::default() };
            subscriber.note_all(engine);
            subscriber
        });
        subscriber.waiting = Some(reply);
        subscriber.serve(engine);
    }

    /// A subscriber that is told of changes only.
    pub(super) fn follow(&mut self, ticket: Ticket, engine: &Engine) {
        let Ticket { id, life } = ticket;
        let knows_convergence = engine.is_converged();
        self.all.insert(id, Subscriber { life, knows_convergence, ..Subscriber::default() });
    }

    /// Forgets those that nobody listens to any more.
    pub(super) fn forget_gone(&mut self) {
        self.all.retain(|_, subscriber| subscriber.life.strong_count() > 0);
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Tells everybody who has the table of every route again: it is to be treated in another way now.
    pub(super) fn repeat(&mut self, engine: &Engine) {
        for subscriber in self.all.values_mut().filter(|subscriber| subscriber.wants_table) {
            subscriber.note_all(engine);
        }
    }

    /// It has gone.
    pub(super) fn remove(&mut self, id: u64) {
        self.all.remove(&id);
    }

    /// Passes on what changed.
    pub(super) fn update(&mut self, engine: &mut Engine) {
        for change in engine.take_route_changes() {
            self.all.values_mut().for_each(|subscriber| subscriber.note(change));
        }
        self.all.values_mut().for_each(|subscriber| subscriber.serve(engine));
    }

    /// Is somebody still to be told about this prefix?
    pub(super) fn hold(&self, family: Family, id: PrefixId) -> bool {
        self.all.values().any(|subscriber| subscriber.queued.contains(&EngineChange { family, id }))
    }
}

impl Subscriber {
    fn note(&mut self, change: EngineChange) {
        if self.queued.insert(change) {
            self.queue.push_back(change);
        }
    }

    fn note_all(&mut self, engine: &Engine) {
        for family in Family::ALL {
            engine.known_ids(family).for_each(|id| self.note(EngineChange { family, id }));
        }
    }

    fn serve(&mut self, engine: &Engine) {
        let has_news = !self.queue.is_empty() || (engine.is_converged() && !self.knows_convergence);
        let Some(reply) = self.waiting.take_if(|_| has_news) else { return };
        let count = self.queue.len().min(BATCH);
        let mut changes = Vec::with_capacity(count + 1);
        for _ in 0..count {
            let Some(change) = self.queue.pop_front() else { break };
            if engine.is_undecided(change.family, change.id) {
                // Neither the old state nor the new one is to be told now.
                self.queue.push_back(change);
                continue;
            }
            self.queued.remove(&change);
            let Some(prefix) = engine.prefix(change.family, change.id) else { continue };
            changes.push(RouteChange::of(prefix, engine.best_route(change.family, change.id)));
        }
        if self.queue.is_empty() && engine.is_converged() && !self.knows_convergence {
            self.knows_convergence = true;
            changes.push(RouteChange::Converged);
        }
        if changes.is_empty() {
            self.waiting = Some(reply);
            return;
        }
        // Whoever is dropped in the meantime is forgotten in the next turn.
        _ = reply.send(changes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SpeakerConfig;
    use crate::engine::{MonoTime, StartKind};
    use std::sync::Arc;
    use std::time::Duration;

    fn engine() -> Engine {
        let config = SpeakerConfig::new([10, 0, 0, 1].into());
        Engine::new(config, 1, StartKind::Fresh, MonoTime::from_start(Duration::ZERO))
    }

    #[test]
    fn who_is_dropped_is_forgotten_although_it_could_not_say_so() {
        let (engine, mut subscribers) = (engine(), Subscribers::default());
        let lives = [Arc::new(()), Arc::new(())];
        for (id, life) in lives.iter().enumerate() {
            let ticket = Ticket { id: id as u64, life: Arc::downgrade(life) };
            let (reply, _) = tokio::sync::oneshot::channel();
            subscribers.next(ticket, reply, &engine);
        }
        subscribers.forget_gone();
        assert_eq!(subscribers.len(), 2);
        drop(lives);
        subscribers.forget_gone();
        assert_eq!(subscribers.len(), 0);
    }
}
