//! The configuration and the console.

use plimsoll_types::{Moment, PoolId, TargetId};

use super::talks::settings;
use super::{ClientDoing, PoolModel, World, nth};
use crate::history::{PoolShape, What};

/// Most pools at a time.
const POOLS_MAX: usize = 8;

impl World {
    pub(crate) fn targets_of(&self, shape: &PoolShape) -> Vec<TargetId> {
        let targets = (0..self.servers.len() as u32).map(TargetId);
        targets.filter(|target| shape.targets & (1 << target.0) != 0).collect()
    }

    pub(crate) fn add_pool(&mut self, shape: &PoolShape) {
        let targets = self.targets_of(shape);
        let pool = self.driver.add_pool(shape, &targets, self.now);
        let settings = settings(&shape.pooling);
        self.pools
            .insert(pool, PoolModel { shape: shape.clone(), targets, allotted: None, clients: 0, settings });
    }

    pub(crate) fn set_pool(&mut self, pool: PoolId, shape: &PoolShape) {
        let targets = self.targets_of(shape);
        self.driver.set_pool(pool, shape, &targets, self.now);
        self.turns.retain(|(of, _), _| *of != pool);
        if let Some(model) = self.pools.get_mut(&pool) {
            let before = std::mem::replace(&mut model.shape, shape.clone());
            let is_served_anew = model.shape.limits.turns != before.limits.turns;
            model.targets = targets;
            if !self.shape.remodels {
                let pooling = &mut model.shape.pooling;
                (pooling.mode, pooling.cleaning) = (before.pooling.mode, before.pooling.cleaning);
            }
            if model.shape.pooling != before.pooling {
                model.settings = settings(&model.shape.pooling);
            }
            if is_served_anew {
                self.share_anew(pool);
            }
        }
    }

    pub(crate) fn remove_pool(&mut self, pool: PoolId) {
        self.pools.remove(&pool);
        self.driver.remove_pool(pool, self.now);
    }

    fn pool(&self, n: u32) -> Option<PoolId> {
        nth(&self.pools.keys().copied().collect::<Vec<_>>(), n)
    }

    pub(crate) fn administer(&mut self, what: &What) {
        let now = self.now;
        match what {
            What::Look { target } => self.look_at(TargetId(target % self.servers.len() as u32)),
            What::SecretChanged { nth } => {
                if let Some(pool) = self.pool(*nth) {
                    self.driver.secret_changed(pool, now);
                }
            }
            What::Budget { target, max } => {
                let target = target % self.servers.len() as u32;
                self.budgets[target as usize] = *max;
                self.driver.set_budget(TargetId(target), *max, now);
            }
            What::DatabaseMax { database, max } => {
                self.databases.insert(*database, *max);
                self.driver.set_database_max(*database, *max, now);
            }
            What::UserMax { user, max } => {
                self.users.insert(*user, *max);
                self.driver.set_user_max(*user, *max, now);
            }
            What::Allotted { nth, max } => {
                if let Some(pool) = self.pool(*nth) {
                    self.set_allotted(pool, *max);
                }
            }
            What::Slack { slack_us } => {
                self.slack_us = *slack_us;
                self.driver.set_slack(*slack_us, self.shape.logins_max);
            }
            What::RenewWaits { wait_us } => self.renew_waits(*wait_us),
            What::AddPool(shape) if self.pools.len() < POOLS_MAX => self.add_pool(shape),
            What::SetPool { nth, shape } => {
                if let Some(pool) = self.pool(*nth) {
                    self.set_pool(pool, shape);
                }
            }
            What::RemovePool { nth } => {
                if let Some(pool) = self.pool(*nth) {
                    self.remove_pool(pool);
                }
            }
            What::Pause { database } => {
                self.paused.insert(*database);
                self.driver.pause(*database, now);
            }
            What::Resume { database } => self.resume(*database),
            What::Reconnect { database } => self.driver.reconnect(*database, now),
            What::RefuseWaiters { database } => self.driver.refuse_waiters(*database, now),
            _ => {}
        }
    }

    /// What a look at the server leaves a pool of the limits of its role and its database.
    pub(crate) fn set_allotted(&mut self, pool: PoolId, max: Option<u32>) {
        if let Some(model) = self.pools.get_mut(&pool) {
            model.allotted = max;
        }
        self.driver.set_allotted(pool, max, self.now);
    }

    /// Somebody asks a server how many places it has for us.
    pub(crate) fn look_at(&mut self, target: TargetId) {
        self.asked.insert(target);
        let places = self.servers[target.0 as usize].room_for_us();
        self.driver.set_asked(target, Some(places), self.now);
    }

    pub(crate) fn resume(&mut self, database: Option<u32>) {
        self.paused.remove(&database);
        self.driver.resume(database, self.now);
    }

    pub(super) fn renew_waits(&mut self, wait_us: u64) {
        self.driver.renew_waits(wait_us);
        let now = self.now;
        for client in self.clients.values_mut() {
            if let ClientDoing::Waits(wait) = &mut client.doing {
                // A wait that is over now ends with the next look at timeouts.
                wait.ends = (wait_us > 0).then(|| Moment((wait.since.0 + wait_us).max(now.0)));
            }
        }
    }
}
