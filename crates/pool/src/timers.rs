//! Everything that happens because time goes by.
//!
//! There is no wheel and no heap: the shell calls about ten times a second, and a look at every pool and waiter costs
//! less than keeping order on the way of every query. What ends by itself when it is due (a wait, an idle
//! connection) is reported as long as it is there; what only may become possible (a retry, the reserve) is reported
//! until it has been looked at once, since after that an event must make room for it.

use std::time::Duration;

use plimsoll_types::{Cause, Moment, PoolId};

use crate::Pools;
use crate::pool::{Clients, Pool};
use crate::slots::Shelf;

/// `min_pool_size` is looked after no more often than this: a server that ends what it has just accepted must not
/// make a busy loop. PgBouncer's own round takes a third of a second.
const UPKEEP: Duration = Duration::from_millis(100);

impl Pools {
    /// Earliest moment at which [`Pools::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let waits = self.waiters.table().iter().filter_map(|(_, waiter)| waiter.deadline);
        let others = [self.looks_again_at(), self.grace_ends()].into_iter().flatten();
        waits.chain(others).chain(self.all_pools().flat_map(|(id, pool)| self.dues(id, pool))).min()
    }

    /// Waits that are over, idle and lifetime limits, reserve, retry, min_pool_size.
    pub fn handle_timeout(&mut self, now: Moment) {
        let now = self.tick(now);
        self.looked = now;
        self.end_waits(now);
        self.look_again(now);
        let pools: Vec<PoolId> = self.all_pools().map(|(id, _)| id).collect();
        for id in pools {
            self.close_unused(id, now);
            self.close_aged(id, now);
        }
        self.fill(now);
        self.fill_minimum(now);
        self.next_in_turn(now);
    }

    fn end_waits(&mut self, now: Moment) {
        let over =
            self.waiters.table().iter().filter(|(_, waiter)| waiter.deadline.is_some_and(|end| now >= end));
        let mut over: Vec<(u64, u32)> = over.map(|(index, waiter)| (waiter.turn, index)).collect();
        over.sort_unstable();
        for (_, waiter) in over {
            let cause = self.waiters.row(waiter).wait_cause.cause();
            self.refuse(waiter, cause);
        }
    }

    /// `pool_idle_timeout` and `server_idle_timeout`.
    fn close_unused(&mut self, id: PoolId, now: Moment) {
        self.give_up_pool(id, now);
        while let Some(index) = self.slots.shelf(id).idle().oldest() {
            let due = self.idle_ends(id, self.pool(id));
            if due.is_none_or(|due| now < due) {
                break;
            }
            self.let_go(index, Cause::ServerIdleTimeout, now);
        }
    }

    /// A pool without clients for `pool_idle_timeout` is emptied, as soon as nothing but idle connections is left in it.
    fn give_up_pool(&mut self, id: PoolId, now: Moment) {
        let pool = self.pool(id);
        let Clients::NoneSince(since) = pool.clients else { return };
        if self.pool_ends(id, pool).is_some_and(|end| now >= end) {
            self.given_up.push_back((id, now.since(since)));
            self.pool_mut(id).clients = Clients::GivenUp;
            self.close_idle(id, &Cause::PoolIdleTimeout, now);
        }
    }

    /// `server_lifetime` of what is idle, as many as the spacing allows.
    fn close_aged(&mut self, id: PoolId, now: Moment) {
        while let Some((due, index)) = self.next_aged(id, self.pool(id)) {
            if now < due {
                break;
            }
            self.pool_mut(id).aged_out = Some(now);
            self.let_go(index, Cause::ServerLifetime, now);
        }
    }

    /// When a pool without clients is emptied. Pools with a forced user are not.
    fn pool_ends(&self, id: PoolId, pool: &Pool) -> Option<Moment> {
        let limits = pool.limits();
        let shelf = self.slots.shelf(id);
        match pool.clients {
            Clients::NoneSince(since) if shelf.staying() == shelf.idle().len() => {
                let ends = !limits.pool_idle_timeout.is_zero() && !limits.min_always;
                ends.then(|| since + limits.pool_idle_timeout)
            }
            Clients::NoneSince(_) | Clients::GivenUp | Clients::Some => None,
        }
    }

    /// When the least recently used idle connection has been idle for too long; those of `min_pool_size` stay.
    fn idle_ends(&self, id: PoolId, pool: &Pool) -> Option<Moment> {
        let shelf = self.slots.shelf(id);
        let index = shelf.idle().oldest()?;
        let timeout = pool.limits().idle_timeout;
        let spare = shelf.staying() > pool.size_min();
        (spare && !timeout.is_zero()).then(|| self.slots.row(index).used + timeout)
    }

    /// Which idle connection is closed for its age next, and when. With a lifetime of zero connections are closed on
    /// release, not while they wait to be used for the first time.
    fn next_aged(&self, id: PoolId, pool: &Pool) -> Option<(Moment, u32)> {
        let lifetime = pool.limits().lifetime;
        if lifetime.is_zero() {
            return None;
        }
        let idle = self.slots.shelf(id).idle().iter(self.slots.table());
        let (opened, index) = idle.map(|index| (self.slots.row(index).opened, index)).min()?;
        Some(((opened + lifetime).max(pool.ageing_at()), index))
    }

    /// What is due in a pool, and when.
    fn dues(&self, id: PoolId, pool: &Pool) -> impl Iterator<Item = Moment> + use<> {
        let shelf = self.slots.shelf(id);
        [
            self.pool_ends(id, pool),
            self.idle_ends(id, pool),
            self.next_aged(id, pool).map(|(due, _)| due),
            self.attempt_due(id, pool, shelf).filter(|due| *due > self.looked),
            self.minimum_due(id, pool),
        ]
        .into_iter()
        .flatten()
    }

    /// When the next attempt for a waiter may begin, by the retry and the reserve.
    fn attempt_due(&self, id: PoolId, pool: &Pool, shelf: &Shelf) -> Option<Moment> {
        let (sized, retry) = (self.sized(id, pool), pool.retry_at());
        if !self.is_short(id, pool) || shelf.sized() >= pool.limited_to() {
            return None;
        }
        if sized >= pool.size_max() {
            // What is idle beside it makes room, as soon as it may try.
            return retry.filter(|_| pool.is_for_replication());
        }
        let oldest = self.waiters.oldest(&pool.queue)?;
        let reserve = self.waiters.row(oldest).since + pool.limits().reserve_timeout;
        if sized < pool.limits().size { retry } else { retry.max(Some(reserve)) }
    }

    fn minimum_due(&self, id: PoolId, pool: &Pool) -> Option<Moment> {
        if !self.wants_minimum(id, pool) {
            return None;
        }
        let upkeep = self.looked + UPKEEP;
        match pool.retry_at() {
            Some(retry) if retry > self.clock => Some(retry.max(upkeep)),
            Some(_) | None => {
                (pool.spec().targets.is_empty() || self.spare_target(id).is_some()).then_some(upkeep)
            }
        }
    }
}
