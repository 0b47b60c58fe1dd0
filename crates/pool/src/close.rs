//! What has to be closed, and what follows when it is.

use plimsoll_types::{Cause, Moment, PoolId, SlotId};

use crate::hand::Arrival;
use crate::nouns::{Action, SlotState, Standing};
use crate::pool::Service;
use crate::slots::Fate;
use crate::{Orphan, Pools};

impl Pools {
    /// An idle connection, or one that waits for the end of a cancel, said something it should not, or ended. An
    /// [`Action::Close`] follows.
    pub fn handle_idle_broken(&mut self, slot: SlotId, cause: Cause, now: Moment) {
        let now = self.tick(now);
        let idle = self.slots.in_state(slot, SlotState::Idle);
        if let Some(index) = idle.or_else(|| self.slots.in_state(slot, SlotState::BeingCanceled)) {
            self.close(index, cause, now);
        }
    }

    /// The server has been seen to end.
    pub fn handle_closed(&mut self, slot: SlotId, now: Moment) {
        let now = self.tick(now);
        let closing = self.slots.in_state(slot, SlotState::Closing);
        if let Some(index) = closing.or_else(|| self.slots.in_state(slot, SlotState::Lost)) {
            self.remove(index);
            self.fill(now);
        }
    }

    /// `close_timeout` is over and the server has not been seen to end: out of its pool's size, still in the budget.
    pub fn handle_lost(&mut self, slot: SlotId, now: Moment) {
        let now = self.tick(now);
        if let Some(index) = self.slots.in_state(slot, SlotState::Closing) {
            self.slots.change(index, SlotState::Lost, now);
            self.squeeze(now);
            self.fill(now);
        }
    }

    /// Why a free connection must not be used again.
    pub(crate) fn reason_to_close(&mut self, index: u32, arrival: Arrival, now: Moment) -> Option<Cause> {
        let slot = self.slots.row(index);
        let (id, opened, fate) = (slot.pool, slot.opened, slot.fate);
        let pool = self.pool(id);
        match &pool.service {
            Service::Serving => {}
            Service::Removed(cause) => return Some(cause.clone()),
            Service::Paused if arrival == Arrival::Opened => return Some(Cause::Unneeded),
            Service::Paused => return Some(Cause::PauseMode),
        }
        match fate {
            Fate::Reuse => {}
            Fate::CloseNeeded => return Some(Cause::CloseNeeded),
            Fate::Retired => return Some(Cause::CredentialEnded),
        }
        let staying = self.slots.shelf(id).staying();
        let oversized = self.is_oversized(id, pool);
        // Beyond the limits it stays only as long as somebody waits for it.
        let guaranteed =
            || pool.spec().standing == Standing::Guaranteed && staying <= 1 && !pool.queue.is_empty();
        if oversized || (self.is_surplus(slot) && !guaranteed()) {
            return Some(Cause::Unneeded);
        }
        if arrival == Arrival::Returned && self.age_out(id, opened, now) {
            return Some(Cause::ServerLifetime);
        }
        None
    }

    /// Whether a connection that was opened then is to be closed for its age now; if so, the next one has to wait.
    fn age_out(&mut self, id: PoolId, opened: Moment, now: Moment) -> bool {
        let pool = self.pool(id);
        let lifetime = pool.limits().lifetime;
        if !pool.is_aged(opened, now) || (!lifetime.is_zero() && now < pool.ageing_at()) {
            return false;
        }
        self.pool_mut(id).aged_out = Some(now);
        true
    }

    /// Lets a connection go. A waiter that counted on it needs another.
    pub(crate) fn close(&mut self, index: u32, cause: Cause, now: Moment) {
        let pool = self.slots.row(index).pool;
        self.let_go(index, cause, now);
        self.serve(pool, now);
    }

    /// Lets a connection go that no waiter counted on.
    pub(crate) fn let_go(&mut self, index: u32, cause: Cause, now: Moment) {
        let slot = self.slots.id(index);
        self.slots.change(index, SlotState::Closing, now);
        self.actions.push_back(Action::Close { slot, cause });
    }

    /// Lets go what is idle in a pool, least recently used first.
    pub(crate) fn close_idle(&mut self, id: PoolId, cause: &Cause, now: Moment) {
        while let Some(index) = self.slots.shelf(id).idle().oldest() {
            self.let_go(index, cause.clone(), now);
        }
    }

    /// A slot's connection is gone for good.
    pub(crate) fn remove(&mut self, index: u32) {
        let id = self.slots.id(index);
        let slot = self.slots.remove(index);
        if slot.cancels > 0 {
            self.orphans.insert(id, Orphan { pool: slot.pool, cancels: slot.cancels });
        }
        self.forget_if_done(slot.pool);
    }

    /// Forgets a removed pool without slots.
    pub(crate) fn forget_if_done(&mut self, id: PoolId) {
        let removed = matches!(self.pool(id).service, Service::Removed(_));
        if removed && self.slots.shelf(id).total() == 0 {
            self.pools[id.0 as usize] = None;
            self.slots.remove_shelf(id);
            self.unsettle(id);
            self.guaranteed.retain(|guaranteed| *guaranteed != id);
        }
    }
}
