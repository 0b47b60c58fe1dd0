//! Cancel requests. The race rule: while a cancel connection is open that was meant for one client's query, the
//! server connection goes to nobody else, so that no other query is hit.

use plimsoll_types::{HoldId, Moment, PoolId, SlotId};

use crate::Pools;
use crate::nouns::{CancelVerdict, SlotState};
use crate::slots::Fate;

impl Pools {
    /// A cancel request for what `hold` is doing on `slot`. On `Go` the slot will not be given to anybody else until
    /// [`Pools::handle_cancel_ended`] or [`Pools::handle_cancel_lost`] has been called as often as `Go` was answered.
    pub fn handle_cancel(&mut self, slot: SlotId, hold: HoldId) -> CancelVerdict {
        if !self.is_held(slot, hold) {
            return CancelVerdict::Stale;
        }
        self.begin_cancel(slot)
    }

    /// A cancel of our own for what a connection does that nobody holds: it is freed after a lost client, or let go. It
    /// counts against the same limit as those of clients, and on `Go` its end is told in the same way. `Stale`: somebody
    /// has it, or it is gone.
    pub fn handle_own_cancel(&mut self, slot: SlotId) -> CancelVerdict {
        match self.slots.find(slot).map(|found| found.state()) {
            Some(SlotState::Opening | SlotState::Cleaning | SlotState::Checking | SlotState::Closing) => {
                self.begin_cancel(slot)
            }
            Some(SlotState::Idle | SlotState::Held | SlotState::BeingCanceled | SlotState::Lost) | None => {
                CancelVerdict::Stale
            }
        }
    }

    fn begin_cancel(&mut self, slot: SlotId) -> CancelVerdict {
        let pool = self.pool_mut(self.slots.row(slot.index).pool);
        // A pool that has been reduced to nothing can still have queries that must be stopped.
        let cancels_max = pool.limits().size.max(1).saturating_mul(2);
        if pool.cancels >= cancels_max {
            return CancelVerdict::Wait;
        }
        pool.cancels += 1;
        self.slots.row_mut(slot.index).cancels += 1;
        CancelVerdict::Go
    }

    /// Whether `hold` still has `slot`: asked again just before the key is sent.
    pub fn is_held(&self, slot: SlotId, hold: HoldId) -> bool {
        let holder = self.slots.find(slot).and_then(|slot| slot.holder());
        holder.is_some_and(|(_, held_by)| held_by == hold)
    }

    /// A cancel connection has been closed.
    pub fn handle_cancel_ended(&mut self, slot: SlotId, now: Moment) {
        let now = self.tick(now);
        let Some(found) = self.slots.find(slot) else { return self.end_orphan(slot) };
        if found.cancels == 0 {
            return;
        }
        let (pool, state, due) = (found.pool, found.state(), found.due);
        self.release_cancel(pool);
        let row = self.slots.row_mut(slot.index);
        row.cancels -= 1;
        if row.cancels == 0 && state == SlotState::BeingCanceled {
            self.proceed(slot.index, due, now);
        }
    }

    /// A cancel connection was given up after the key had been sent and before the server was seen to deal with it: it
    /// may still strike, however late, so the slot's client is the last one to have it.
    pub fn handle_cancel_lost(&mut self, slot: SlotId, now: Moment) {
        if self.slots.find(slot).is_some() {
            self.slots.row_mut(slot.index).fate = Fate::CloseNeeded;
        }
        self.handle_cancel_ended(slot, now);
    }

    /// A cancel connection has been closed whose server connection is long gone.
    fn end_orphan(&mut self, slot: SlotId) {
        let Some(orphan) = self.orphans.get_mut(&slot) else { return };
        orphan.cancels -= 1;
        let (pool, left) = (orphan.pool, orphan.cancels);
        if left == 0 {
            self.orphans.remove(&slot);
        }
        self.release_cancel(pool);
    }

    fn release_cancel(&mut self, pool: PoolId) {
        if let Some(pool) = self.find_pool_mut(pool) {
            pool.cancels -= 1;
        }
    }
}
