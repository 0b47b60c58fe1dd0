//! Limits and specs, which may change at any time. Nobody is cut off by a lower limit: idle connections above it go
//! at once, those in use when they come back.

use std::time::Duration;

use plimsoll_types::{Cause, DatabaseId, Moment, PoolId, TargetId, Ticket, UserId};

use crate::Pools;
use crate::limits::GroupId;
use crate::nouns::{Globals, PoolSpec, Standing, WaitCause, Walsenders};
use crate::pool::{Clients, Pool, Service};
use crate::slots::Fate;

impl Pools {
    /// Changes what spans pools.
    pub fn set_globals(&mut self, globals: Globals) {
        self.globals = globals;
    }

    /// Adds a physical server; `budget`: most server connections on it, `None` is no cap.
    pub fn add_target(&mut self, budget: Option<u32>) -> TargetId {
        self.slots.limits.add_target(budget)
    }

    /// Changes a budget.
    pub fn set_budget(&mut self, target: TargetId, budget: Option<u32>, now: Moment) {
        let now = self.tick(now);
        self.slots.limits.change_target(target, |target, _| target.configured = budget);
        self.squeeze(now);
        self.fill(now);
    }

    /// What a target has for replication connections.
    pub fn set_walsenders(&mut self, target: TargetId, walsenders: Walsenders, now: Moment) {
        let now = self.tick(now);
        self.slots.limits.set_walsenders(target, walsenders);
        self.fill(now);
    }

    /// `max_db_connections` of a database; `None` is no limit. Unknown ids are created.
    pub fn set_database_limit(&mut self, database: DatabaseId, max: Option<u32>, now: Moment) {
        let group = self.slots.limits.database(database);
        self.set_max(group, max, now);
    }

    /// `max_user_connections` of a server login role; `None` is no limit. Unknown ids are created.
    pub fn set_user_limit(&mut self, user: UserId, max: Option<u32>, now: Moment) {
        let group = self.slots.limits.user(user);
        self.set_max(group, max, now);
    }

    fn set_max(&mut self, group: GroupId, max: Option<u32>, now: Moment) {
        let now = self.tick(now);
        self.slots.limits.set_max(group, max);
        self.squeeze(now);
        self.fill(now);
    }

    /// Adds a pool. Targets that were never added are left out.
    pub fn add_pool(&mut self, mut spec: PoolSpec, now: Moment) -> PoolId {
        let now = self.tick(now);
        spec.targets.retain(|target| self.slots.limits.target(*target).is_some());
        let database = self.slots.limits.database(spec.database);
        let user = self.slots.limits.user(spec.user);
        let service = self.service_of(spec.database);
        self.pools.push(Some(Box::new(Pool::new(spec, database, user, service, now))));
        self.slots.add_shelf();
        let id = PoolId((self.pools.len() - 1) as u32);
        self.note_spec(id);
        if self.guaranteed.last() == Some(&id) {
            // With one more of its kind a budget may be too small to keep places at all.
            self.squeeze(now);
            self.fill(now);
        }
        id
    }

    /// A pool has come, or its spec: whether it has a place of its own, and how its waiters are served.
    fn note_spec(&mut self, id: PoolId) {
        if let Some(pool) = self.pools.get_mut(id.0 as usize).and_then(Option::as_deref_mut) {
            let fairness = pool.limits().fairness;
            self.waiters.set_fairness(&mut pool.queue, fairness);
        }
        self.guaranteed.retain(|guaranteed| *guaranteed != id);
        match self.pool(id).spec().standing {
            Standing::Guaranteed => self.guaranteed.push(id),
            Standing::Ordinary => {}
            Standing::Replication { beside } => self.put_beside(id, beside),
        }
    }

    /// The secret that a pool logs in with, or the server's idea of it, may have changed: the next attempt need not
    /// wait.
    pub fn handle_secret_changed(&mut self, pool: PoolId, now: Moment) {
        let now = self.tick(now);
        if let Some(found) = self.find_pool_mut(pool) {
            found.hope();
            self.serve(pool, now);
        }
    }

    /// Whether pools of a database give out connections.
    pub(crate) fn service_of(&self, database: DatabaseId) -> Service {
        if self.paused.covers(database) { Service::Paused } else { Service::Serving }
    }

    /// Changes limits or targets of a pool. Connections to a target no longer listed are closed when they come back.
    /// The same goes for all of them should the database or the user be another. Unknown and removed pools are left
    /// alone.
    pub fn set_pool(&mut self, pool: PoolId, mut spec: PoolSpec, now: Moment) {
        let now = self.tick(now);
        spec.targets.retain(|target| self.slots.limits.target(*target).is_some());
        let database = self.slots.limits.database(spec.database);
        let user = self.slots.limits.user(spec.user);
        let service = self.service_of(spec.database);
        let Some(found) = self.find_pool_mut(pool) else { return };
        if matches!(found.service, Service::Removed(_)) {
            return;
        }
        if found.spec().targets != spec.targets {
            // What failed was another place.
            found.hope();
            found.cursor = 0;
        }
        found.set_spec(spec);
        (found.database, found.user, found.service) = (database, user, service);
        self.note_spec(pool);
        self.mark_strangers(pool);
        if self.pool(pool).service == Service::Paused {
            self.close_idle(pool, &Cause::PauseMode, now);
        }
        self.shrink(pool, now);
        // With one more of its kind a budget may be too small to keep places at all.
        self.squeeze(now);
        self.serve(pool, now);
        self.fill(now);
    }

    /// Connections that no longer fit the spec of their pool are closed when they come back.
    fn mark_strangers(&mut self, id: PoolId) {
        let pool = self.pool(id);
        let (database, user, targets) = (pool.database, pool.user, &pool.spec().targets);
        let strangers = self.slots.table().iter().filter(|(_, slot)| {
            let fits = targets.contains(&slot.target) && slot.groups[1..] == [database, user];
            slot.pool == id && !fits
        });
        let strangers: Vec<u32> = strangers.map(|(index, _)| index).collect();
        for index in strangers {
            self.slots.row_mut(index).fate = Fate::CloseNeeded;
        }
    }

    /// Closes what is idle and must not be used again, and what is idle above the pool's size.
    pub(crate) fn shrink(&mut self, id: PoolId, now: Moment) {
        let doomed = self.slots.shelf(id).idle().iter(self.slots.table());
        let doomed = doomed.filter(|index| self.slots.row(*index).fate == Fate::CloseNeeded);
        for index in doomed.collect::<Vec<u32>>() {
            self.let_go(index, Cause::DatabaseChanged, now);
        }
        while self.is_oversized(id, self.pool(id)) {
            let Some(index) = self.slots.shelf(id).idle().oldest() else { break };
            self.let_go(index, Cause::Unneeded, now);
        }
    }

    /// Waiters are refused with `cause`, servers closed when they come back, idle ones at once; the pool itself is
    /// forgotten when its last slot is gone.
    pub fn remove_pool(&mut self, pool: PoolId, cause: Cause, now: Moment) {
        let now = self.tick(now);
        let Some(found) = self.find_pool_mut(pool) else { return };
        found.service = Service::Removed(cause.clone());
        self.refuse_queue(pool, &cause);
        self.close_idle(pool, &cause, now);
        self.forget_if_done(pool);
        self.fill(now);
    }

    /// The limits of waiting have changed: `wait` tells the longest wait of a waiter of that pool and what ends it, or
    /// `None` where it stays as it is. A wait that is over now ends with the next [`Pools::handle_timeout`].
    pub fn renew_waits(&mut self, wait: impl Fn(Ticket, PoolId) -> Option<(Duration, WaitCause)>) {
        let all: Vec<_> = self.waiters.table().iter().map(|(index, waiter)| (index, waiter.pool)).collect();
        for (index, pool) in all {
            if let Some((wait_max, cause)) = wait(self.waiters.ticket(index), pool) {
                self.waiters.set_wait(index, wait_max, cause);
            }
        }
    }

    /// How many clients are logged in to the pool (for min_pool_size and pool_idle_timeout).
    pub fn set_clients(&mut self, pool: PoolId, clients: u32, now: Moment) {
        let now = self.tick(now);
        let Some(pool) = self.find_pool_mut(pool) else { return };
        pool.clients = match (clients, pool.clients) {
            (0, Clients::NoneSince(since)) => Clients::NoneSince(since),
            (0, Clients::GivenUp) => Clients::GivenUp,
            (0, Clients::Some) => Clients::NoneSince(now),
            (_, Clients::NoneSince(_) | Clients::GivenUp | Clients::Some) => Clients::Some,
        };
    }
}
