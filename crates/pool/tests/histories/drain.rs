//! The end of a history: with a server that answers and clients that give back, everybody is served whom a limit
//! allows to be served, by nothing but replies and the timeouts the machine asks for.

use plimsoll_pool::Pick;
use plimsoll_types::{DatabaseId, Moment, PoolId, TargetId, WorkerId};

use crate::ops::Back;
use crate::world::{Doing, World};

/// More replies and timeouts than any history here can need.
const ROUNDS_MAX: usize = 20_000;

impl World {
    /// Replies to everything until nothing is left to do; who waits then waits for a limit of nothing.
    pub(crate) fn drain(&mut self) {
        for scope in std::mem::take(&mut self.paused) {
            self.pools.resume(scope.map(DatabaseId), self.now);
        }
        self.settle();
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "no end: {:?}", self.waiting);
            let stuck = self.waiting.values().all(|waits| !self.can_be_served(waits.pool));
            if !self.reply() && (stuck || !self.wait_for_timeout()) {
                break;
            }
        }
        for waits in self.waiting.values() {
            assert!(!self.can_be_served(waits.pool), "{waits:?} is forgotten");
        }
    }

    /// Removes all pools: nothing may be left of them.
    pub(crate) fn dismantle(&mut self) {
        for pool in self.specs.keys().copied().collect::<Vec<PoolId>>() {
            self.remove_pool(pool);
            self.settle();
        }
        while self.reply() {}
        assert!(self.waiting.is_empty() && self.connections.is_empty() && self.orphans.is_empty());
        assert_eq!(self.pools.slots().count(), 0);
        assert_eq!(self.pools.poll_timeout(), None);
    }

    /// One reply to each thing the shell is asked to do; whether there was any.
    fn reply(&mut self) -> bool {
        let mut replied = false;
        for slot in self.slots(|_| true) {
            let Some(connection) = self.connections.get(&slot).copied() else { continue };
            for _ in 0..connection.cancels {
                self.end_cancel(slot);
                self.settle();
                replied = true;
            }
            match self.connection(slot).doing {
                Doing::Idle { .. } => continue,
                Doing::Opening => self.opened(slot, WorkerId(0)),
                Doing::Held { .. } => self.give_back(slot, Back::Clean),
                Doing::Cleaning | Doing::Checking => self.cleaned(slot),
                Doing::Closing | Doing::Lost => self.closed(slot),
            }
            replied = true;
            self.settle();
        }
        while let Some(slot) = self.orphans.last().copied() {
            self.end_cancel(slot);
            self.settle();
            replied = true;
        }
        replied
    }

    fn wait_for_timeout(&mut self) -> bool {
        let Some(due) = self.pools.poll_timeout() else { return false };
        self.wait(due.max(Moment(self.now.0 + 1)).since(self.now));
        self.settle();
        true
    }

    /// Whether the limits leave a pool at least one connection when all others can be evicted.
    fn can_be_served(&self, pool: PoolId) -> bool {
        let Some(spec) = self.specs.get(&pool) else { return false };
        let limits = &spec.limits;
        let reserve = if limits.reserve_timeout.is_zero() { 0 } else { limits.reserve_size };
        let some = |max: Option<u32>| max != Some(0);
        let streams = self.is_stream(pool);
        let walsenders = |target: &TargetId| self.walsenders.get(target).copied().flatten();
        let place = |(target, budget): &(TargetId, Option<u32>)| match streams {
            true => (*target, walsenders(target)),
            false => (*target, *budget),
        };
        let places = self.targets.iter().map(place);
        let mut budgets = places.filter(|(target, _)| spec.targets.contains(target));
        let has_budget = match spec.pick {
            Pick::RoundRobin => budgets.any(|(_, budget)| some(budget)),
            // It stays where it is, budget or not.
            Pick::UntilFailure => !spec.targets.is_empty() && budgets.all(|(_, budget)| some(budget)),
        };
        limits.size + reserve > 0
            && has_budget
            && some(self.databases.get(&spec.database.0).copied().flatten())
            && some(self.users.get(&spec.user.0).copied().flatten())
    }
}
