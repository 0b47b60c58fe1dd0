//! Connections for replication: each is opened for one client, logs in with what that client has asked for, and is closed
//! after it. Nobody else ever has it.
//!
//! Their pool ([`Standing::Replication`]) stands beside that of the same database and role, and both share its size, as
//! in PgBouncer, where they are one:
//!
//! * Where that size is used up, an idle connection of the pool beside is closed for whoever waits for a replication
//!   connection; if none is idle, the next one that comes free, unless an older client waits for that.
//! * What was closed for it is promised to it, as between pools (module `share`).
//! * At its target it takes a place among the walsenders, which since PostgreSQL 12 are none of `max_connections`.
//! * A server that refuses one says nothing of others: REPLICATION, `pg_hba.conf` and `max_wal_senders` are for
//!   replication alone. So only the client hears of it that the connection was for.

use plimsoll_types::{Cause, Moment, PoolId, SlotId, Ticket};

use crate::Pools;
use crate::hand::Arrival;
use crate::limits::TARGET;
use crate::nouns::{Failure, SlotState, Standing};
use crate::pool::Pool;
use crate::slots::Slot;

impl Pools {
    /// Whom a connection is opened for, if for nobody else: it logs in with what that one has asked for.
    pub fn opened_for(&self, slot: SlotId) -> Option<Ticket> {
        self.slots.find(slot)?.own
    }

    /// Two pools share their size from now on.
    pub(crate) fn put_beside(&mut self, id: PoolId, beside: PoolId) {
        if id == beside || self.find_pool(beside).is_none() {
            return;
        }
        self.pool_mut(id).beside = Some(beside);
        self.pool_mut(beside).beside = Some(id);
    }

    fn beside(&self, pool: &Pool) -> Option<PoolId> {
        pool.beside.filter(|beside| self.find_pool(*beside).is_some())
    }

    /// What counts against a pool's size.
    pub(crate) fn sized(&self, id: PoolId, pool: &Pool) -> u32 {
        let beside = self.beside(pool).map_or(0, |beside| self.slots.shelf(beside).sized());
        self.slots.shelf(id).sized() + beside
    }

    /// The same of what is there to stay.
    pub(crate) fn staying(&self, id: PoolId, pool: &Pool) -> u32 {
        let beside = self.beside(pool).map_or(0, |beside| self.slots.shelf(beside).staying());
        self.slots.shelf(id).staying() + beside
    }

    /// Whether a pool's size leaves it one connection more, for somebody who waits since then.
    pub(crate) fn has_size(&self, id: PoolId, pool: &Pool, since: Moment, now: Moment) -> bool {
        self.slots.shelf(id).sized() < pool.limited_to() && self.sized(id, pool) < pool.size_for(since, now)
    }

    /// Whether more connections stay than a pool's size allows.
    pub(crate) fn is_oversized(&self, id: PoolId, pool: &Pool) -> bool {
        self.staying(id, pool) > pool.size_max() || self.slots.shelf(id).staying() > pool.allotted_to()
    }

    /// Whether the size of the pool is in the way of somebody who waits for a replication connection, and nothing is
    /// closing that leaves room. (Other limits may be in the way as well: [`Pools::could_replace`].)
    pub(crate) fn lacks_size(&self, id: PoolId, pool: &Pool, now: Moment) -> bool {
        if !pool.is_for_replication() || !self.is_short(id, pool) || !pool.retry_is_due(now) {
            return false;
        }
        let Some(oldest) = self.waiters.oldest(&pool.queue) else { return false };
        let since = self.waiters.row(oldest).since;
        self.slots.shelf(id).sized() < pool.limited_to()
            && self.staying(id, pool) >= pool.size_for(since, now)
            && !self.is_settled(id)
    }

    /// Closes what is idle in the pool beside, least recently used first, if that lets a replication connection in.
    pub(crate) fn make_size(&mut self, id: PoolId, now: Moment) {
        while let Some(index) = self.idle_in_its_way(id, now) {
            self.promise(id);
            self.let_go(index, Cause::Evicted, now);
        }
    }

    /// The idle connection that has to go for a replication connection to be opened.
    pub(crate) fn idle_in_its_way(&self, id: PoolId, now: Moment) -> Option<u32> {
        let pool = self.find_pool(id)?;
        if !pool.is_for_replication() {
            return None;
        }
        let idle = self.slots.shelf(self.beside(pool)?).idle().oldest()?;
        (self.lacks_size(id, pool, now) && self.could_replace(id, idle)).then_some(idle)
    }

    /// The same for all of them.
    pub(crate) fn make_sizes(&mut self, now: Moment) {
        let waits = |(_, pool): &(PoolId, &Pool)| pool.is_for_replication() && !pool.queue.is_empty();
        let waiting: Vec<PoolId> = self.all_pools().filter(waits).map(|(id, _)| id).collect();
        for id in waiting {
            self.make_size(id, now);
        }
    }

    /// A connection is free: whether it has to go for a replication connection that somebody has waited for longer than
    /// anybody for this one. If so it is being closed.
    pub(crate) fn gives_way(&mut self, index: u32, now: Moment) -> bool {
        let id = self.slots.row(index).pool;
        let Some(beside) = self.pool(id).beside else { return false };
        let gains = |pool: &&Pool| self.lacks_size(beside, pool, now) && self.could_replace(beside, index);
        let Some(pool) = self.find_pool(beside).filter(gains) else { return false };
        let turn = |pool: &Pool| self.waiters.oldest(&pool.queue).map(|waiter| self.waiters.row(waiter).turn);
        let (theirs, ours) = (turn(pool), turn(self.pool(id)));
        if ours.is_some_and(|ours| theirs.is_none_or(|theirs| ours < theirs)) {
            return false;
        }
        self.promise(beside);
        self.close(index, Cause::Evicted, now);
        true
    }

    fn promise(&mut self, id: PoolId) {
        if !self.promised.contains(&id) {
            self.promised.push(id);
        }
    }

    /// A connection has logged in for one client, who gets it if it is still there.
    pub(crate) fn hand_over(&mut self, index: u32, ticket: Ticket, now: Moment) {
        if let Some(cause) = self.reason_to_close(index, Arrival::Opened, now) {
            self.close(index, cause, now);
        } else if self.waiters.find(ticket).is_some() {
            self.grant_to(ticket.index, index, now);
        } else {
            self.close(index, Cause::Unneeded, now);
        }
    }

    /// Whether the server has refused a replication connection as such.
    pub(crate) fn is_refused_alone(&self, slot: &Slot, failure: &Failure) -> bool {
        match failure {
            Failure::Login(_) | Failure::Limited(_) => slot.own.is_some(),
            // Where it takes a place like any other, it waits for one like any other.
            Failure::Full(_) => slot.own.is_some() && !self.is_in_budget(slot),
            Failure::Connect(_) | Failure::Lost(_) => false,
        }
    }

    /// Whether a connection takes a place in the budget of its target.
    pub(crate) fn is_in_budget(&self, slot: &Slot) -> bool {
        self.slots.limits.place(slot.target, Standing::Ordinary) == Some(slot.groups[TARGET])
    }

    /// The one it was for hears of it; the next one may try at once.
    pub(crate) fn refuse_alone(&mut self, id: PoolId, ticket: Ticket, failure: &Failure) {
        let cause = failure.cause().clone();
        let said = cause.message().into();
        let pool = self.pool_mut(id);
        pool.hope();
        pool.failure = Some(cause);
        if self.waiters.find(ticket).is_some() {
            self.refuse(ticket.index, Cause::ReplicationRefused { said });
        }
    }

    /// What must never be (for the recount): a connection for one client that is free, or one that somebody waits for
    /// beside an idle one that is in its way.
    pub(crate) fn check_replication(&self, id: PoolId, pool: &Pool) -> Result<(), String> {
        let shelf = self.slots.shelf(id);
        let free = [SlotState::Idle, SlotState::BeingCanceled, SlotState::Cleaning, SlotState::Checking];
        let free: u32 = free.iter().map(|state| shelf.count(*state)).sum();
        if pool.is_for_replication() && free > 0 {
            return Err(format!("{id:?}: {free} replication connections are free"));
        }
        // What closes under one of its limits may be all that it needs: it is looked at again when that has closed.
        let closes = |slot: &Slot| {
            slot.state() == SlotState::Closing && slot.groups.iter().any(|group| self.is_under(id, *group))
        };
        if self.slots.table().iter().any(|(_, slot)| closes(slot)) {
            return Ok(());
        }
        // Meanwhile the reserve may have come to be for whoever waits: then nothing idle is in the way any more.
        let then = self.idle_in_its_way(id, self.looked);
        match then.and(self.idle_in_its_way(id, self.clock)) {
            Some(index) => Err(format!("{id:?} waits beside slot {index}, which is idle")),
            None => Ok(()),
        }
    }
}
