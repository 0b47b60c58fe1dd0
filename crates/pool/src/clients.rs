//! What clients do: ask, give up, give back.

use plimsoll_types::{Cause, Moment, PoolId, SlotId, Ticket, WorkerId};

use crate::Pools;
use crate::hand::Arrival;
use crate::nouns::{Action, Class, Request, Requested, Returned, SlotState, USUAL_WEIGHT, Unreachable};
use crate::pool::{Health, Pool, Service, Welcome};
use crate::slots::Due;

impl Pools {
    /// A client needs a server connection. A newcomer never overtakes a waiter. Cheap when one is idle.
    pub fn handle_request(&mut self, request: Request, now: Moment) -> Requested {
        let now = self.tick(now);
        let Some(pool) = self.find_pool(request.pool) else {
            return Requested::Refused(Cause::DatabaseRemoved);
        };
        match &pool.service {
            Service::Removed(cause) => return Requested::Refused(cause.clone()),
            Service::Paused => {}
            Service::Serving => {
                if let Some(index) = self.idle_for_newcomer(request.pool, pool, request.worker, now) {
                    return Requested::Granted(self.grant(index, request.client, request.worker, now));
                }
            }
        }
        self.queue(request, now)
    }

    /// The connection a newcomer gets at once, if there is one and nobody is before it.
    fn idle_for_newcomer(&self, id: PoolId, pool: &Pool, worker: WorkerId, now: Moment) -> Option<u32> {
        if !pool.queue.is_empty() {
            return None;
        }
        let index = self.pick_idle(id, pool, worker, now)?;
        (!pool.check_is_due(self.slots.row(index).used, now)).then_some(index)
    }

    fn queue(&mut self, request: Request, now: Moment) -> Requested {
        if let Some(cause) = self.refusal(request.pool, now) {
            return Requested::Refused(cause);
        }
        self.workers.note(request.worker);
        let Some(pool) = self.pools.get_mut(request.pool.0 as usize).and_then(Option::as_deref_mut) else {
            return Requested::Refused(Cause::DatabaseRemoved);
        };
        let first = pool.queue.is_empty();
        // A replication connection is opened for the oldest and is its own: there are no turns to share.
        let request = match pool.is_for_replication() {
            true => Request { class: Class::Everybody, weight: USUAL_WEIGHT, ..request },
            false => request,
        };
        let ticket = self.waiters.push(&mut pool.queue, &request, now);
        if first {
            self.unsettle(request.pool);
        }
        self.serve(request.pool, now);
        Requested::Queued(ticket)
    }

    /// Why a newcomer may not even wait. With PgBouncer, who comes to a pool that never had a server is still in its
    /// login and waits for the next attempt: the server itself is to tell.
    pub(crate) fn refusal(&self, id: PoolId, now: Moment) -> Option<Cause> {
        if let Some(cause) = &self.refusing {
            return Some(cause.clone());
        }
        let pool = self.pool(id);
        let Health::Refusing { reason } = &pool.health else { return None };
        let shelf = self.slots.shelf(id);
        let hopeless =
            shelf.connected() == 0 && shelf.count(SlotState::Opening) == 0 && !pool.retry_is_due(now);
        let asks_again = pool.limits().unreachable == Unreachable::Refuse && pool.welcome != Welcome::Known;
        let told = pool.is_serving() && hopeless && !asks_again;
        told.then(|| Cause::ServerLoginFailing { reason: reason.clone() })
    }

    /// The client behind a ticket no longer wants: gone, or killed. If it had been granted meanwhile (the grant was
    /// drained but not taken up), the shell calls `handle_returned` instead. Unknown tickets are ignored.
    pub fn handle_withdrawn(&mut self, ticket: Ticket, now: Moment) {
        self.tick(now);
        if self.waiters.find(ticket).is_some() {
            self.leave_queue(ticket.index);
        }
    }

    /// A client gives its connection back, on the worker it lives on. Goes to the oldest waiter, if any.
    pub fn handle_returned(&mut self, slot: SlotId, returned: Returned, now: Moment) {
        let now = self.tick(now);
        let Some(index) = self.slots.in_state(slot, SlotState::Held) else { return };
        let due = match returned {
            Returned::Clean => Due::HandOn,
            Returned::Dirty => Due::Clean,
            Returned::Unusable(cause) => return self.close(index, cause, now),
        };
        if self.slots.row(index).own.is_some() {
            return self.close(index, Cause::ReplicationEnded, now);
        }
        if self.slots.row(index).cancels > 0 {
            self.slots.row_mut(index).due = due;
            self.slots.change(index, SlotState::BeingCanceled, now);
            return;
        }
        self.proceed(index, due, now);
    }

    /// A connection is free of its client and of cancels: what is due comes now.
    pub(crate) fn proceed(&mut self, index: u32, due: Due, now: Moment) {
        match due {
            Due::HandOn => self.settle(index, Arrival::Returned, now),
            Due::Clean => match self.reason_to_close(index, Arrival::Returned, now) {
                Some(cause) => self.close(index, cause, now),
                None => {
                    let slot = self.slots.id(index);
                    self.slots.change(index, SlotState::Cleaning, now);
                    self.actions.push_back(Action::Clean { slot });
                }
            },
        }
    }
}
