//! After every event: the pool's own recount, the model's books against the pool's, and what the servers see.

use plimsoll_pool::{Failure, Returned, SlotState};
use plimsoll_types::{Cause, HoldId, PoolId, SlotId, TargetId, WorkerId};

use super::{ClientDoing, Connection, Doing, Kept, World, broken, ensure, nth};

/// Connections by what they count for; there are never more than three of each.
#[derive(Debug, Default)]
struct Counted {
    databases: [u32; 3],
    users: [u32; 3],
    targets: [u32; 3],
}

impl World {
    pub(crate) fn count(&self, is: impl Fn(&Connection) -> bool) -> u32 {
        self.connections.values().filter(|connection| is(connection)).count() as u32
    }

    pub(crate) fn compare(&self) -> Kept {
        if let Err(difference) = self.driver.check() {
            return broken("2: the pool's recount", difference);
        }
        self.compare_slots()?;
        let counted = self.recount();
        self.compare_counts(&counted)?;
        self.compare_servers(&counted)?;
        self.compare_waiters()?;
        self.compare_wires()?;
        let holding = self.clients.values().filter_map(|client| match client.doing {
            ClientDoing::Holds(slot, hold) => Some((slot, hold)),
            _ => None,
        });
        self.ledger.compare(holding)
    }

    /// Invariant 2: each connection is in the state it is in, and no other exists.
    fn compare_slots(&self) -> Kept {
        let mut slots = 0;
        for view in self.driver.slots() {
            slots += 1;
            let Some(ours) = self.connections.get(&view.id) else {
                return broken("2: one state", format!("{view:?} is not there"));
            };
            let agree = match (ours.doing, view.state) {
                (Doing::Opening(_), SlotState::Opening)
                | (Doing::Cleaning, SlotState::Cleaning)
                | (Doing::Checking, SlotState::Checking)
                | (Doing::Closing, SlotState::Closing)
                | (Doing::Lost, SlotState::Lost)
                | (Doing::Idle, SlotState::Idle) => true,
                (Doing::Idle, SlotState::BeingCanceled) => ours.cancels > 0,
                (Doing::Held(client, hold), SlotState::Held) => view.holder == Some((client, hold)),
                _ => false,
            };
            let same = (view.pool, view.target) == (ours.pool, ours.target);
            ensure(agree && same, "2: one state", || format!("{ours:?} is {view:?} in the pool"))?;
        }
        ensure(slots == self.connections.len(), "2: one state", || {
            format!("{slots} slots, {} connections", self.connections.len())
        })
    }

    /// Invariant 2: counters equal recounted lists.
    fn compare_counts(&self, counted: &Counted) -> Kept {
        let same = |what: &dyn std::fmt::Debug, counted: u32, kept: u32| {
            ensure(counted == kept, "2: counters", || format!("{what:?}: {counted} counted, {kept} kept"))
        };
        for (id, (databases, users)) in (0..).zip(counted.databases.iter().zip(&counted.users)) {
            same(&("database", id), *databases, self.driver.database_used(id))?;
            same(&("user", id), *users, self.driver.user_used(id))?;
        }
        let mut waiting: Vec<PoolId> = Vec::with_capacity(self.waiting.len());
        waiting.extend(self.waiting.values().filter_map(|id| self.clients.get(id)).map(|client| client.pool));
        for pool in self.pools.keys() {
            let counts = self.driver.counts(*pool, self.now);
            let waiting = waiting.iter().filter(|other| *other == pool).count() as u32;
            same(&("waiting", pool), waiting, counts.waiting)?;
            same(&("cancels", pool), self.cancels_of(*pool), counts.cancels)?;
        }
        ensure(self.moves == self.driver.moves(), "2: counters", || "moves".to_owned())
    }

    /// Invariant 9: what we count is not less than what the servers see of us, and each backend has a slot.
    fn compare_servers(&self, counted: &Counted) -> Kept {
        for (target, server) in (0..).map(TargetId).zip(&self.servers) {
            let (ours, kept) = (server.ours(), self.driver.target_used(target));
            let counted = counted.targets[target.0 as usize];
            ensure(counted == kept, "2: counters", || format!("{target:?}: {counted} counted, {kept} kept"))?;
            ensure(ours <= kept, "9: what the server sees", || {
                format!("{target:?} sees {ours} of us, we count {kept}")
            })?;
            for (id, backend) in server.backends() {
                let connection = self.connections.get(&backend.slot);
                let known = connection.is_some_and(|connection| connection.backend == Some(id));
                ensure(known, "9: what the server sees", || format!("{backend:?} has no slot"))?;
            }
        }
        Ok(())
    }

    /// Counts all connections in one go.
    fn recount(&self) -> Counted {
        let mut counted = Counted::default();
        for connection in self.connections.values() {
            counted.targets[connection.target.0 as usize] += 1;
            if connection.doing != Doing::Lost {
                counted.databases[connection.database as usize] += 1;
                counted.users[connection.user as usize] += 1;
            }
        }
        counted
    }

    /// Invariant 3: who waits is known to wait, and not for longer than it wants to.
    fn compare_waiters(&self) -> Kept {
        for (ticket, client) in &self.waiting {
            let doing = self.clients.get(client).map(|client| client.doing);
            let Some(ClientDoing::Waits(wait)) = doing else {
                return broken("3: only who waits is answered", format!("{ticket:?} {client:?} {doing:?}"));
            };
            let late_us = self.shape.tick_us + self.shape.skew_us;
            let over = wait.ends.is_some_and(|ends| self.now.0 > ends.0 + late_us);
            ensure(!over, "3: a wait ends", || format!("{client:?} {wait:?} at {:?}", self.now))?;
        }
        Ok(())
    }

    /// Ids of what is gone are harmless.
    pub(crate) fn try_stale(&mut self, n: u32) -> Kept {
        let Some(slot) = nth(&self.gone, n) else { return Ok(()) };
        let now = self.now;
        let before = self.states();
        self.driver.returned(slot, Returned::Clean, now);
        self.driver.opened(slot, WorkerId(0), now);
        self.driver.failed(slot, Failure::Lost(Cause::CleaningFailed), now);
        self.driver.cleaned(slot, now);
        self.driver.idle_broken(slot, now);
        self.driver.closed(slot, now);
        self.driver.lost(slot, now);
        let held = self.driver.is_held(slot, HoldId(1));
        if !self.cancels.values().any(|cancel| cancel.slot == slot) {
            self.driver.cancel_ended(slot, now);
        }
        let harmless = before == self.states() && !held && self.driver.slot(slot).is_none();
        ensure(harmless, "2: stale ids are harmless", || format!("{slot:?}"))
    }

    fn states(&self) -> Vec<(SlotId, SlotState)> {
        self.driver.slots().map(|view| (view.id, view.state)).collect()
    }
}
