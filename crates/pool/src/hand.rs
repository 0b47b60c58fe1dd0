//! Whose turn it is when a connection is free.

use plimsoll_types::{Cause, ClientId, HoldId, Moment, PoolId, WorkerId};

use crate::Pools;
use crate::nouns::{Action, Grant, Moves, SlotState, WaitCause};
use crate::pool::Pool;
use crate::queue::Waiter;

/// Where a free connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Just opened: needs no check, and is too young to be too old.
    Opened,
    /// From its client.
    Returned,
    /// From the reset query; its age was looked at before.
    Cleaned,
    /// From the check.
    Checked,
}

impl Pools {
    /// A connection is free and clean: it is closed if that is due, goes to the oldest waiter, or becomes idle.
    pub(crate) fn settle(&mut self, index: u32, arrival: Arrival, now: Moment) {
        if let Some(ticket) = self.slots.row(index).own {
            return self.hand_over(index, ticket, now);
        }
        if let Some(cause) = self.reason_to_close(index, arrival, now) {
            return self.close(index, cause, now);
        }
        // A login that somebody waits for serves at least once, else two pools could log in for each other for ever.
        let awaited = arrival == Arrival::Opened && !self.pool(self.slots.row(index).pool).queue.is_empty();
        if !self.hungry.is_empty() && !awaited && self.yield_place(index, now) {
            return;
        }
        if self.gives_way(index, now) {
            return;
        }
        let slot = self.slots.row(index);
        let pool = self.pool(slot.pool);
        match self.waiters.next_for(&pool.queue, slot.home(), self.globals.fairness_slack) {
            None => self.slots.change(index, SlotState::Idle, now),
            Some(waiter) => match arrival {
                Arrival::Returned | Arrival::Cleaned if pool.checks_always() => self.check_first(index, now),
                Arrival::Opened | Arrival::Checked | Arrival::Returned | Arrival::Cleaned => {
                    self.grant_to(waiter, index, now);
                }
            },
        }
    }

    /// `server_check_delay = 0`, and somebody waits: another check, unless those that run are enough.
    fn check_first(&mut self, index: u32, now: Moment) {
        let id = self.slots.row(index).pool;
        if self.pool(id).queue.len() > self.slots.shelf(id).count(SlotState::Checking) {
            self.start_check(index, now);
        } else {
            self.slots.change(index, SlotState::Idle, now);
            if let Some(beside) = self.pool(id).beside {
                self.make_size(beside, now);
            }
            if !self.hungry.is_empty() {
                self.fill(now);
            }
        }
    }

    fn start_check(&mut self, index: u32, now: Moment) {
        let slot = self.slots.id(index);
        self.slots.change(index, SlotState::Checking, now);
        self.actions.push_back(Action::Check { slot });
    }

    /// Lets a pool's waiters have what is idle (checks it first where that is due), then sees whether one more may
    /// be opened.
    pub(crate) fn serve(&mut self, id: PoolId, now: Moment) {
        loop {
            let pool = self.pool(id);
            if !pool.is_serving() || pool.queue.len() <= self.slots.shelf(id).count(SlotState::Checking) {
                break;
            }
            let Some(waiter) = self.waiters.next(&pool.queue) else { break };
            let Some(index) = self.pick_idle(id, pool, self.waiters.row(waiter).worker, now) else { break };
            if pool.check_is_due(self.slots.row(index).used, now) {
                self.start_check(index, now);
            } else {
                self.grant_to(waiter, index, now);
            }
        }
        self.want(id, now);
    }

    /// The idle connection for a client of `worker`: the last used one at home, then the last used one of any
    /// worker. One that can be given out at once comes before one that has to be checked, because a socket that
    /// moves costs less than a round trip. With `server_round_robin`: the least recently used one of all.
    pub(crate) fn pick_idle(&self, id: PoolId, pool: &Pool, worker: WorkerId, now: Moment) -> Option<u32> {
        let shelf = self.slots.shelf(id);
        if pool.limits().round_robin {
            return shelf.idle().oldest();
        }
        let anywhere = shelf.idle().newest()?;
        let at_home = shelf.idle_at(worker).and_then(|list| list.newest());
        let Some(at_home) = at_home else { return Some(anywhere) };
        let ready = |index: u32| !pool.check_is_due(self.slots.row(index).used, now);
        Some(if ready(at_home) || !ready(anywhere) { at_home } else { anywhere })
    }

    /// A hold begins.
    pub(crate) fn grant(&mut self, index: u32, client: ClientId, worker: WorkerId, now: Moment) -> Grant {
        let moves = if self.slots.row(index).home() == worker { Moves::Stays } else { Moves::Moves };
        self.moves += u64::from(moves == Moves::Moves);
        self.holds += 1;
        let hold = HoldId(self.holds);
        self.slots.give(index, (client, hold), worker, now);
        Grant { slot: self.slots.id(index), hold, moves }
    }

    pub(crate) fn grant_to(&mut self, waiter: u32, index: u32, now: Moment) {
        let ticket = self.waiters.ticket(waiter);
        let pool = self.waiters.row(waiter).pool;
        let queue = &mut self.pools[pool.0 as usize].as_deref_mut().expect("a waiter's pool exists").queue;
        let Waiter { client, worker, .. } = self.waiters.serve(queue, waiter);
        let grant = self.grant(index, client, worker, now);
        self.actions.push_back(Action::Grant { ticket, client, grant });
    }

    /// A waiter is told why not.
    pub(crate) fn refuse(&mut self, waiter: u32, cause: Cause) {
        let ticket = self.waiters.ticket(waiter);
        let client = self.leave_queue(waiter).client;
        self.actions.push_back(Action::Refuse { ticket, client, cause });
    }

    /// All waiters of a pool are told why not, oldest first.
    pub(crate) fn refuse_queue(&mut self, id: PoolId, cause: &Cause) {
        while let Some(waiter) = self.waiters.oldest(&self.pool(id).queue) {
            self.refuse(waiter, cause.clone());
        }
    }

    /// Takes a waiter out of its queue.
    pub(crate) fn leave_queue(&mut self, waiter: u32) -> Waiter {
        let pool = self.waiters.row(waiter).pool;
        let queue = &mut self.pools[pool.0 as usize].as_deref_mut().expect("a waiter's pool exists").queue;
        self.waiters.remove(queue, waiter)
    }
}

impl WaitCause {
    /// The cause a client is told.
    pub fn cause(self) -> Cause {
        match self {
            WaitCause::QueryWaitTimeout => Cause::QueryWaitTimeout,
            WaitCause::QueryTimeout => Cause::QueryTimeoutWaiting,
        }
    }
}
