//! What the console sees.

use std::time::Duration;

use plimsoll_types::{Cause, DatabaseId, Moment, PoolId, SlotId, TargetId, UserId};

use crate::Pools;
use crate::classes::Place;
use crate::nouns::{BudgetSource, PoolCounts, SlotState, SlotView, TargetView, Turn};
use crate::slots::{Fate, Origin, Slot};

impl Pools {
    /// Counts of a pool, from its counters; all zero for a pool that is gone.
    pub fn counts(&self, pool: PoolId, now: Moment) -> PoolCounts {
        let now = now.max(self.clock);
        let Some(found) = self.find_pool(pool) else { return PoolCounts::default() };
        let shelf = self.slots.shelf(pool);
        let since = |index: u32| self.slots.row(index).used;
        let used =
            shelf.idle().iter(self.slots.table()).take_while(|index| found.check_is_due(since(*index), now));
        let used = used.count() as u32;
        let oldest = self.waiters.oldest(&found.queue);
        PoolCounts {
            waiting: found.queue.len(),
            opening: shelf.count(SlotState::Opening),
            idle: shelf.count(SlotState::Idle) - used,
            used,
            held: shelf.count(SlotState::Held),
            being_canceled: shelf.count(SlotState::BeingCanceled),
            tested: shelf.count(SlotState::Cleaning) + shelf.count(SlotState::Checking),
            closing: shelf.count(SlotState::Closing),
            lost: shelf.count(SlotState::Lost),
            cancels: found.cancels,
            oldest_wait: oldest.map_or(Duration::ZERO, |waiter| now.since(self.waiters.row(waiter).since)),
        }
    }

    /// Who waits in a pool whose queue is shared by weight, in no order; nobody where they are served as they came.
    pub fn turns(&self, pool: PoolId) -> Vec<Turn> {
        let Some(found) = self.find_pool(pool) else { return Vec::new() };
        let turn = |place: Place| Turn::new(place, self.waiters.row(place.waiter).client);
        self.waiters.places(&found.queue).map(turn).collect()
    }

    /// All slots.
    pub fn slots(&self) -> impl Iterator<Item = SlotView> {
        self.slots.table().iter().map(|(index, slot)| self.view(self.slots.id(index), slot))
    }

    /// A slot's view.
    pub fn slot(&self, slot: SlotId) -> Option<SlotView> {
        self.slots.find(slot).map(|found| self.view(slot, found))
    }

    /// Clients that would be served sooner if this connection were free: those of its own pool, and those of others that
    /// are stopped by a limit it counts in.
    pub fn waiting_for(&self, slot: SlotId) -> u32 {
        let Some(held) = self.slots.find(slot) else { return 0 };
        let full: Vec<_> =
            held.groups.into_iter().filter(|group| !self.slots.limits.group(*group).has_room(0)).collect();
        let beside = self.pool(held.pool).beside;
        let misses_it = |id: PoolId| {
            id == held.pool || beside == Some(id) || full.iter().any(|group| self.is_under(id, *group))
        };
        self.all_pools().filter(|(id, _)| misses_it(*id)).map(|(_, pool)| pool.queue.len()).sum()
    }

    /// Whether a connection was opened out of `reserve_pool_size`: PgBouncer logs `taking connection from
    /// reserve_pool` for each of them.
    pub fn is_from_reserve(&self, slot: SlotId) -> bool {
        self.slots.find(slot).is_some_and(|slot| slot.origin == Origin::Reserve)
    }

    fn view(&self, id: SlotId, slot: &Slot) -> SlotView {
        let idle = slot.state() == SlotState::Idle;
        SlotView {
            id,
            pool: slot.pool,
            target: slot.target,
            state: slot.state(),
            check_due: idle && self.pool(slot.pool).check_is_due(slot.used, self.clock),
            holder: slot.holder(),
            opened: slot.opened,
            used: slot.used,
            close_needed: slot.fate == Fate::CloseNeeded,
            cancels: slot.cancels,
            home: slot.home(),
        }
    }

    /// Why the pool's last attempt to connect failed; `None`: it succeeded, or there was none.
    pub fn last_failure(&self, pool: PoolId) -> Option<&Cause> {
        self.find_pool(pool)?.failure.as_ref()
    }

    /// Whether a pool opens connections to a target.
    pub fn leads_to(&self, pool: PoolId, target: TargetId) -> bool {
        self.find_pool(pool).is_some_and(|pool| pool.spec().targets.contains(&target))
    }

    /// Whether a pool opens connections to a target and nowhere else.
    pub fn leads_only_to(&self, pool: PoolId, target: TargetId) -> bool {
        self.find_pool(pool).is_some_and(|pool| pool.spec().targets == [target])
    }

    /// What is known of the places at a target, and who has them.
    pub fn target_view(&self, target: TargetId) -> Option<TargetView> {
        let places = self.slots.limits.places(target)?;
        let group = self.slots.limits.group(places.group);
        let learned = places.learned.map(|learned| learned.max);
        let source = match group.max {
            None => BudgetSource::Unlimited,
            Some(max) if learned == Some(max) => BudgetSource::Refused,
            Some(max) if places.said.asked() == Some(max) => BudgetSource::Asked,
            Some(max) if places.said.places() == Some(max) => BudgetSource::Presumed,
            Some(_) => BudgetSource::Configured,
        };
        Some(TargetView {
            budget: group.max,
            source,
            configured: places.configured,
            asked: places.said.asked(),
            learned,
            refused: places.learned.map(|learned| learned.refused),
            used: group.used,
            opening: group.opening,
            closing: group.closing,
            walsenders: self.slots.limits.group(places.walsenders).used,
            walsenders_max: self.slots.limits.group(places.walsenders).max,
        })
    }

    /// Slots that count against a target's budget.
    pub fn target_used(&self, target: TargetId) -> u32 {
        self.slots.limits.target_used(target)
    }

    /// Server connections that count against a database's `max_db_connections`.
    pub fn database_used(&self, database: DatabaseId) -> u32 {
        self.slots.limits.database_used(database)
    }

    /// Server connections that count against a role's `max_user_connections`.
    pub fn user_used(&self, user: UserId) -> u32 {
        self.slots.limits.user_used(user)
    }

    /// Sockets that went from one worker to another since the start.
    pub fn moves(&self) -> u64 {
        self.moves
    }
}
