//! The recount: everything that is counted or listed, counted again from the rows.

use std::collections::BTreeSet;

use plimsoll_types::PoolId;

use crate::Pools;
use crate::limits::weights;
use crate::nouns::{Fairness, SlotState};
use crate::pool::Pool;
use crate::slots::{Shelf, Slot, weight};

const STATES: [SlotState; 8] = [
    SlotState::Opening,
    SlotState::Idle,
    SlotState::Held,
    SlotState::BeingCanceled,
    SlotState::Cleaning,
    SlotState::Checking,
    SlotState::Closing,
    SlotState::Lost,
];

/// Fails with what differs.
fn same<T: PartialEq + std::fmt::Debug>(
    what: std::fmt::Arguments<'_>,
    counted: T,
    kept: T,
) -> Result<(), String> {
    if counted == kept { Ok(()) } else { Err(format!("{what}: {counted:?} by recount, {kept:?} kept")) }
}

/// Fails with `what` unless there is something.
fn ensure<T>(found: Option<T>, what: impl FnOnce() -> String) -> Result<(), String> {
    found.map(|_| ()).ok_or_else(what)
}

impl Pools {
    /// Recounts everything and compares with counters and lists: the invariants 1 to 4, for tests and the simulator.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn check(&self) -> Result<(), String> {
        self.check_limits()?;
        self.check_slots()?;
        same(
            format_args!("shelves"),
            self.slots.shelves().map(|(id, _)| id).collect(),
            self.all_pools().map(|(id, _)| id).collect::<Vec<_>>(),
        )?;
        let mut waiting = 0;
        for (id, pool) in self.all_pools() {
            self.check_shelf(id, self.slots.shelf(id))?;
            self.check_queue(id, pool)?;
            self.check_service(id, pool)?;
            self.check_replication(id, pool)?;
            waiting += pool.queue.len() as usize;
        }
        same(format_args!("waiters"), waiting, self.waiters.table().len())
    }

    /// Invariant 1: no limit is passed, and where one has been lowered, nothing idle is kept above it.
    fn check_limits(&self) -> Result<(), String> {
        let mut over = 0;
        for (id, group) in self.slots.limits.all() {
            let (mut used, mut closing, mut idle) = (0, 0, 0);
            for (_, slot) in self.slots.table().iter() {
                let Some(kind) = slot.groups.iter().position(|group| *group == id) else { continue };
                let (more_used, more_closing) = weights(kind, Some(weight(slot.state())));
                used += more_used;
                closing += more_closing;
                // But who looks at the server may stay.
                idle += u32::from(slot.state() == SlotState::Idle && self.is_surplus(slot));
            }
            same(format_args!("used of {id:?}"), used, group.used)?;
            same(format_args!("closing of {id:?}"), closing, group.closing)?;
            let is_over = self.slots.limits.is_over(id);
            over += u32::from(is_over);
            ensure((!is_over || idle == 0).then_some(()), || {
                format!("{id:?} is over its cap and has {idle} idle")
            })?;
        }
        same(format_args!("groups over their cap"), over, self.slots.limits.over())
    }

    /// Invariants 2 and 4 of each slot.
    fn check_slots(&self) -> Result<(), String> {
        let mut holds = BTreeSet::new();
        for (index, slot) in self.slots.table().iter() {
            let name = || format!("slot {index} in state {:?}", slot.state());
            ensure(self.find_pool(slot.pool), || format!("{}: no pool", name()))?;
            same(
                format_args!("slot {index} in state {:?}", slot.state()),
                slot.holder().is_some(),
                slot.state() == SlotState::Held,
            )?;
            if let Some((_, hold)) = slot.holder() {
                ensure(holds.insert(hold).then_some(()), || format!("{hold:?} twice"))?;
                ensure((hold.0 <= self.holds).then_some(()), || format!("{hold:?} from the future"))?;
            }
            let waits_for_cancel = slot.state() == SlotState::BeingCanceled;
            ensure((!waits_for_cancel || slot.cancels > 0).then_some(()), || {
                format!("{}: no cancel", name())
            })?;
            let free = matches!(slot.state(), SlotState::Idle | SlotState::Cleaning | SlotState::Checking);
            ensure((!free || slot.cancels == 0).then_some(()), || format!("{}: cancels under way", name()))?;
        }
        Ok(())
    }

    fn slots_of(&self, id: PoolId) -> impl Iterator<Item = (u32, &Slot)> {
        self.slots.table().iter().filter(move |(_, slot)| slot.pool == id)
    }

    /// Invariant 2 of a pool: counters and idle lists.
    fn check_shelf(&self, id: PoolId, shelf: &Shelf) -> Result<(), String> {
        let mut counted = [0; STATES.len()];
        for (_, slot) in self.slots_of(id) {
            counted[slot.state() as usize] += 1;
        }
        for state in STATES {
            same(format_args!("{state:?} of {id:?}"), counted[state as usize], shelf.count(state) as usize)?;
        }
        let idle: BTreeSet<u32> = self
            .slots_of(id)
            .filter(|(_, slot)| slot.state() == SlotState::Idle)
            .map(|(index, _)| index)
            .collect();
        let listed: Vec<u32> = shelf.idle().iter(self.slots.table()).collect();
        same(format_args!("length of idle list of {id:?}"), listed.len(), shelf.idle().len() as usize)?;
        let by_use = listed.is_sorted_by_key(|index| self.slots.row(*index).used);
        ensure(by_use.then_some(()), || format!("idle list of {id:?} is not in order of use"))?;
        same(format_args!("idle list of {id:?}"), idle.clone(), listed.into_iter().collect())?;
        let mut at_workers = BTreeSet::new();
        for (worker, list) in shelf.idle_lists() {
            for index in list.iter(self.slots.table()) {
                same(format_args!("home of idle slot {index}"), self.slots.row(index).home(), worker)?;
                ensure(at_workers.insert(index).then_some(()), || format!("slot {index} is listed twice"))?;
            }
        }
        same(format_args!("idle lists of workers of {id:?}"), idle, at_workers)?;
        let own: u32 = self.slots_of(id).map(|(_, slot)| slot.cancels).sum();
        let orphaned: u32 =
            self.orphans.values().filter(|orphan| orphan.pool == id).map(|orphan| orphan.cancels).sum();
        same(format_args!("cancels of {id:?}"), own + orphaned, self.pool(id).cancels)
    }

    /// Invariant 3: each waiter is in the queue of its pool and worker, in the order of coming.
    fn check_queue(&self, id: PoolId, pool: &Pool) -> Result<(), String> {
        let mut listed = 0;
        for (worker, list) in pool.queue.lists() {
            let rows: Vec<_> = list.iter(self.waiters.table()).map(|index| self.waiters.row(index)).collect();
            let mine = rows.iter().all(|waiter| waiter.pool == id && waiter.worker == worker);
            ensure(mine.then_some(()), || format!("a stranger in the queue of {id:?}"))?;
            let in_order = rows.is_sorted_by_key(|waiter| (waiter.since, waiter.turn));
            ensure(in_order.then_some(()), || format!("queue of {id:?} is not in order"))?;
            same(format_args!("length of a queue"), rows.len(), list.len() as usize)?;
            listed += list.len();
        }
        same(format_args!("waiters of {id:?}"), listed, pool.queue.len())?;
        self.check_classes(id, pool)
    }

    /// Invariant 3 where classes share the queue: they have the same waiters, and are remembered while somebody waits.
    fn check_classes(&self, id: PoolId, pool: &Pool) -> Result<(), String> {
        let Some(classes) = pool.queue.classes() else {
            return ensure((pool.limits().fairness == Fairness::Fifo).then_some(()), || {
                format!("{id:?} is not shared by applications")
            });
        };
        classes.check()?;
        let listed = pool.queue.lists().flat_map(|(_, list)| list.iter(self.waiters.table()));
        let shared = self.waiters.places(&pool.queue).map(|place| place.waiter);
        same(format_args!("classes of {id:?}"), listed.collect::<BTreeSet<_>>(), shared.collect())?;
        let is_needed = pool.limits().fairness == Fairness::Application || !pool.queue.is_empty();
        ensure(is_needed.then_some(()), || format!("{id:?} is shared while nobody waits"))
    }

    /// Nobody waits beside an idle connection, and whoever needs another knows what it waits for.
    fn check_service(&self, id: PoolId, pool: &Pool) -> Result<(), String> {
        let shelf = self.slots.shelf(id);
        let idle = shelf.count(SlotState::Idle);
        if !pool.is_serving() {
            return ensure((idle == 0).then_some(()), || {
                format!("{id:?} is {:?} and has {idle} idle", pool.service)
            });
        }
        let unserved = pool.queue.len().saturating_sub(shelf.count(SlotState::Checking));
        ensure((idle == 0 || unserved == 0).then_some(()), || {
            format!("{id:?}: {unserved} wait beside {idle} idle")
        })?;
        let opening = shelf.count(SlotState::Opening);
        ensure((opening <= 1).then_some(()), || format!("{id:?}: {opening} attempts at a time"))?;
        // Time alone makes nobody move before the next call of `handle_timeout`.
        let forgotten = self.wants(id, pool, self.looked) && !self.is_settled(id);
        ensure((!forgotten).then_some(()), || format!("{id:?} waits for nothing"))?;
        self.check_hunger(id)
    }

    /// A hungry pool has no idle connection it could evict. (While something is closing it may have: it is looked at
    /// again when that has closed.)
    fn check_hunger(&self, id: PoolId) -> Result<(), String> {
        if self.slots.table().iter().any(|(_, slot)| slot.state() == SlotState::Closing) {
            return Ok(());
        }
        // A retry that has fallen due since the last call of `handle_timeout` is for the next one.
        let pool = self.pool(id);
        let overdue = pool.retry_is_due(self.clock) && !pool.retry_is_due(self.looked);
        let hungry = self.hungry.contains(&id) && self.wants(id, pool, self.looked) && !overdue;
        let served = hungry && self.could_be_served(id, self.looked);
        ensure((!served).then_some(()), || format!("{id:?} is hungry beside what it could evict"))
    }
}
