//! Would a new client of a pool get a server connection now, and if not: what is in its way?

use std::time::Duration;

use plimsoll_types::{Cause, DatabaseId, Moment, PoolId, TargetId, UserId};

use crate::Pools;
use crate::limits::{GroupId, TARGET};
use crate::nouns::{SlotState, Standing};
use crate::pool::Service;

/// The answer to [`Pools::admission`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// At once: one is idle.
    AtOnce,
    /// As soon as one more is opened or checked: nothing is in the way, or only what is idle in another pool or closing,
    /// which makes room.
    Opens,
    /// It would be refused.
    Refused(Cause),
    /// It would wait, for these reasons: the pool's own first, then those of its targets.
    Waits(Vec<Obstacle>),
}

/// Why a pool opens no connection more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// PAUSE.
    Paused,
    /// `pool_size` and the reserve that may be used now.
    PoolSize {
        /// As many as there may be.
        max: u32,
        /// As many as there are.
        used: u32,
    },
    /// CONNECTION LIMIT of the role or the database, by what refusals have told.
    RoleLimit {
        /// As many as there may be.
        max: u32,
    },
    /// Connecting has failed, and is tried again after this.
    Blocked {
        /// How long from now.
        again_in: Duration,
        /// What failed.
        cause: Option<Cause>,
    },
    /// One attempt is under way already: they are made one after the other.
    Opening,
    /// The name of the server is not known.
    NoTarget,
    /// `target_budget`, or what is known of the server.
    Budget {
        /// Where.
        target: TargetId,
        /// As many as there may be.
        max: u32,
        /// As many as there are, of all pools.
        used: u32,
        /// Places kept for connections that look up secrets or look at the server.
        reserved: u32,
    },
    /// `max_db_connections`.
    Database {
        /// As many as there may be.
        max: u32,
        /// As many as there are.
        used: u32,
    },
    /// `max_user_connections`.
    User {
        /// As many as there may be.
        max: u32,
        /// As many as there are.
        used: u32,
    },
    /// `connect_concurrency`.
    Concurrency {
        /// Where.
        target: TargetId,
        /// Logins in flight there.
        opening: u32,
    },
}

impl Pools {
    /// What would happen to a client that asked now. `None`: there is no such pool.
    pub fn admission(&self, id: PoolId, now: Moment) -> Option<Admission> {
        let now = now.max(self.clock);
        let pool = self.find_pool(id)?;
        if let Some(cause) = &self.refusing {
            return Some(Admission::Refused(cause.clone()));
        }
        match &pool.service {
            Service::Removed(cause) => return Some(Admission::Refused(cause.clone())),
            Service::Paused => return Some(Admission::Waits(vec![Obstacle::Paused])),
            Service::Serving => {}
        }
        let shelf = self.slots.shelf(id);
        if pool.queue.is_empty() && shelf.idle().len() > 0 {
            return Some(Admission::AtOnce);
        }
        if let Some(cause) = self.refusal(id, now) {
            return Some(Admission::Refused(cause));
        }
        let mut found = self.obstacles_of_pool(id, now);
        if found.is_empty() && !self.could_open(id, now) {
            found = self.obstacles_of_targets(id);
        }
        Some(if found.is_empty() { Admission::Opens } else { Admission::Waits(found) })
    }

    fn obstacles_of_pool(&self, id: PoolId, now: Moment) -> Vec<Obstacle> {
        let (pool, shelf) = (self.pool(id), self.slots.shelf(id));
        let oldest = self.waiters.oldest(&pool.queue).map_or(now, |waiter| self.waiters.row(waiter).since);
        let (used, limited) = (self.sized(id, pool), pool.limited_to());
        let mut found = Vec::new();
        if shelf.sized() >= limited {
            found.push(Obstacle::RoleLimit { max: limited });
        } else if used >= pool.size_for(oldest, now) {
            found.push(Obstacle::PoolSize { max: pool.size_for(oldest, now), used });
        }
        if let Some(again) = pool.retry_at().filter(|again| now < *again) {
            found.push(Obstacle::Blocked { again_in: again.since(now), cause: pool.failure.clone() });
        }
        if pool.spec().targets.is_empty() {
            found.push(Obstacle::NoTarget);
        }
        if shelf.count(SlotState::Opening) > 0 && pool.queue.len() >= shelf.coming() {
            found.push(Obstacle::Opening);
        }
        found
    }

    /// Nothing, if one of the targets has room.
    fn obstacles_of_targets(&self, id: PoolId) -> Vec<Obstacle> {
        let pool = self.pool(id);
        let groups = [Some(pool.database), Some(pool.user)];
        self.obstacles_at(&pool.spec().targets, groups, pool.spec().standing)
    }

    /// What would happen to the first client of a pool that is not there yet. Targets, databases and users that nobody
    /// has met are in nobody's way.
    pub fn admission_of_new(
        &self,
        targets: &[TargetId],
        database: DatabaseId,
        user: Option<UserId>,
    ) -> Admission {
        if let Some(cause) = &self.refusing {
            return Admission::Refused(cause.clone());
        }
        match self.service_of(database) {
            Service::Removed(cause) => return Admission::Refused(cause),
            Service::Paused => return Admission::Waits(vec![Obstacle::Paused]),
            Service::Serving => {}
        }
        let limits = &self.slots.limits;
        let groups = [limits.known_database(database), user.and_then(|user| limits.known_user(user))];
        let mut found = self.obstacles_at(targets, groups, Standing::Ordinary);
        if targets.iter().any(|target| self.could_open_first(*target, groups)) {
            found.clear();
        }
        if found.is_empty() { Admission::Opens } else { Admission::Waits(found) }
    }

    /// What is in the way at each of some targets, unless one of them has room: the groups are those of the database
    /// and of the user.
    fn obstacles_at(
        &self,
        targets: &[TargetId],
        [database, user]: [Option<GroupId>; 2],
        standing: Standing,
    ) -> Vec<Obstacle> {
        let mut found = Vec::new();
        for target in targets {
            let Some(place) = self.slots.limits.place(*target, standing) else { continue };
            let before = found.len();
            for (kind, group) in [Some(place), database, user].into_iter().enumerate() {
                let Some(group) = group.map(|group| self.slots.limits.group(group)) else { continue };
                let Some(max) = group.max else { continue };
                let reserved = match standing {
                    Standing::Ordinary | Standing::Replication { .. } if kind == TARGET => {
                        self.reserved_at(place)
                    }
                    Standing::Ordinary | Standing::Guaranteed | Standing::Replication { .. } => 0,
                };
                if group.used.saturating_add(reserved) < max {
                    continue;
                }
                let used = group.used;
                found.push(match kind {
                    TARGET => Obstacle::Budget { target: *target, max, used, reserved },
                    1 => Obstacle::Database { max, used },
                    _ => Obstacle::User { max, used },
                });
            }
            let opening = self.slots.limits.group(place).opening;
            if opening >= self.globals.connect_concurrency {
                found.push(Obstacle::Concurrency { target: *target, opening });
            }
            if found.len() == before {
                return Vec::new();
            }
        }
        found.dedup();
        found
    }
}
