//! Queues that are shared by weight: who shares one, and in what order its waiters are served.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use plimsoll_pool::{Class, Turn};
use plimsoll_types::{ClientId, PoolId};

use super::Control;

/// Who takes turns in a queue that is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sharer {
    /// Clients by a grant: its id.
    Grant(Arc<str>),
    /// Clients without a grant of one application.
    Application,
    /// All clients without a grant.
    Everybody,
}

/// A part of a queue that is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePart {
    /// Whose it is.
    pub who: Sharer,
    /// How many of the hand-outs, beside the other parts'.
    pub weight: u32,
    /// Clients in it.
    pub waiting: u32,
}

/// A waiter's place in a queue that is shared, if nobody comes and nobody leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rank {
    /// From 0.
    pub(super) place: usize,
    pub(super) weight: u32,
}

impl Control {
    /// The waiters of a pool whose queue is shared, in the order of their turns; nobody where they are served as they came.
    fn turns(&self, pool: PoolId) -> Vec<Turn> {
        let mut turns = self.hub.core.lock().pools.turns(pool);
        turns.sort_unstable();
        turns
    }

    pub(super) fn ranks(&self, pool: PoolId) -> HashMap<ClientId, Rank> {
        let turns = self.turns(pool).into_iter().enumerate();
        turns.map(|(place, turn)| (turn.client(), Rank { place, weight: turn.weight() })).collect()
    }

    /// The parts of a queue, the largest weight first; none where its waiters are served as they came.
    pub(super) fn queue_parts(&self, pool: PoolId) -> Vec<QueuePart> {
        let mut parts: BTreeMap<Class, (u32, u32)> = BTreeMap::new();
        for turn in self.turns(pool) {
            let part = parts.entry(turn.class()).or_insert((turn.weight(), 0));
            part.1 += 1;
        }
        if parts.is_empty() {
            return Vec::new();
        }
        let grants = self.hub.census.classes();
        let who = |class: Class| match class {
            // Who was here by a grant that nobody is here by any more does not wait either.
            Class::Grant(_) => grants.get(&class).cloned().map_or(Sharer::Everybody, Sharer::Grant),
            Class::Application(_) => Sharer::Application,
            Class::Everybody => Sharer::Everybody,
        };
        let mut parts: Vec<QueuePart> = parts
            .into_iter()
            .map(|(class, (weight, waiting))| QueuePart { who: who(class), weight, waiting })
            .collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.weight));
        parts
    }
}
