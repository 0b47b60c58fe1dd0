//! The reference model of a queue that grants share: who may come next, and that hand-outs are in proportion to weights.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_pool::{Class, USUAL_WEIGHT};
use plimsoll_types::{PoolId, SlotId};

use crate::world::{Waits, World};

/// The grants of a history: of three clients in a row each is here by another one, or by none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grants {
    pub(crate) weights: [u32; 3],
}

impl Grants {
    /// All are equal.
    pub(crate) const NONE: Grants = Grants { weights: [USUAL_WEIGHT; 3] };

    /// By which one a client is here, and its weight.
    pub(crate) fn of(self, n: usize) -> (Class, u32) {
        match n % self.weights.len() {
            0 => (Class::Everybody, self.weights[0]),
            n => (Class::Grant(n as u64), self.weights[n]),
        }
    }
}

/// How often two classes of a pool were served since both have been waiting.
type Counts = BTreeMap<(PoolId, Class, Class), (i64, i64)>;

/// Pools whose queues are shared, with what was handed out.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    shared: BTreeSet<PoolId>,
    counts: Counts,
}

impl World {
    /// Somebody waits from now on.
    pub(crate) fn share(&mut self, waits: &Waits) {
        // Replication connections are given out in the order of waiting, whatever the weights.
        if waits.weight != USUAL_WEIGHT && !self.is_stream(waits.pool) {
            self.shares.shared.insert(waits.pool);
        }
    }

    /// Somebody does not wait any more: who is not there has no claims.
    pub(crate) fn unshare(&mut self, pool: PoolId) {
        let waits =
            |class: Class| self.waiting.values().any(|other| (other.pool, other.class) == (pool, class));
        let ended: Vec<_> = self.shares.counts.keys().filter(|key| key.0 == pool).copied().collect();
        for key in ended.into_iter().filter(|(_, one, other)| !waits(*one) || !waits(*other)) {
            self.shares.counts.remove(&key);
        }
        if !self.waiting.values().any(|other| other.pool == pool) {
            self.shares.shared.remove(&pool);
        }
    }

    /// Somebody who waited is served; it is in the books no more.
    pub(crate) fn assert_turn(&mut self, waits: &Waits, slot: SlotId) {
        let older = self.waiting.values().filter(|other| other.pool == waits.pool && other.turn < waits.turn);
        if !self.shares.shared.contains(&waits.pool) {
            // FIFO: nobody older waits, unless on another worker and by no more than the slack.
            let home = self.connections.get(&slot).map(|connection| connection.home);
            for other in older {
                let by_home = home == Some(waits.worker) && other.worker != waits.worker;
                let is_close = waits.since.since(other.since) <= self.slack;
                assert!(by_home && is_close, "{waits:?} overtook {other:?}");
            }
            return;
        }
        for other in older {
            assert!(other.class != waits.class, "{waits:?} overtook {other:?} of its own");
        }
        self.assert_proportion(waits);
    }

    /// Of two classes that wait all the time none is ahead by more than one hand-out of each.
    fn assert_proportion(&mut self, waits: &Waits) {
        let rivals =
            self.waiting.values().filter(|other| other.pool == waits.pool && other.class != waits.class);
        let rivals: BTreeMap<Class, i64> =
            rivals.map(|other| (other.class, i64::from(other.weight))).collect();
        let weight = i64::from(waits.weight);
        for (class, other) in rivals {
            let (mut ours, theirs) = self.served(waits.pool, waits.class, class);
            ours += 1;
            let ahead = ours * other - theirs * weight;
            assert!(
                ahead <= weight + other,
                "{waits:?} had {ours}, {class:?} of weight {other} only {theirs}"
            );
            self.set_served(waits.pool, (waits.class, ours), (class, theirs));
        }
    }

    fn served(&self, pool: PoolId, one: Class, other: Class) -> (i64, i64) {
        let found = |key| self.shares.counts.get(&key).copied();
        match one < other {
            true => found((pool, one, other)).unwrap_or_default(),
            false => found((pool, other, one)).map_or((0, 0), |(theirs, ours)| (ours, theirs)),
        }
    }

    fn set_served(&mut self, pool: PoolId, one: (Class, i64), other: (Class, i64)) {
        let (first, second) = if one.0 < other.0 { (one, other) } else { (other, one) };
        self.shares.counts.insert((pool, first.0, second.0), (first.1, second.1));
    }
}
