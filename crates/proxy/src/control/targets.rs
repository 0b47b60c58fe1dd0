//! What the console sees of targets, of the keys of pools, and of the way in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plimsoll_config::{Plan, TargetLine};
use plimsoll_pool::{Admission, BudgetSource, PoolCounts};
use plimsoll_types::{Cause, PoolId, TargetId};

use super::Control;
use super::queue::QueuePart;
use crate::directory::{PoolEntry, Purpose, database_client_limit, user_client_limit};
use crate::hub::Phase;

/// A physical server: `SHOW TARGETS`.
#[derive(Clone, Debug)]
pub struct TargetView {
    /// `host:port`.
    pub address: String,
    /// Most server connections of ours there; `None`: no cap.
    pub budget: Option<u32>,
    /// Where that comes from.
    pub source: BudgetSource,
    /// `target_budget` of the file.
    pub configured: Option<u32>,
    /// What refusals have taught.
    pub learned: Option<u32>,
    /// Ours by state.
    pub counts: PoolCounts,
    /// Ours, all that count.
    pub used: u32,
    /// Ours for replication, which count apart.
    pub walsenders: u32,
    /// As many as there may be of those; `None`: not known.
    pub walsenders_max: Option<u32>,
    /// What the server said of itself, if it was asked.
    pub said: Option<SaidView>,
    /// Why it could not be asked.
    pub trouble: Option<String>,
    /// Since it last refused a login of ours for want of a place.
    pub refused: Option<Duration>,
    /// Connections of ours that it does not see, look after look.
    pub unseen: Vec<u32>,
    /// How often that has been so, since the start.
    pub differences: u64,
    /// Its line of `[targets]`, if it has one.
    pub line: Option<TargetLine>,
    /// The pools that have something there, or wait for it.
    pub pools: Vec<PartView>,
}

/// What one pool has of a target.
#[derive(Clone, Debug)]
pub struct PartView {
    /// Configured database.
    pub database: Arc<str>,
    /// Server login role.
    pub role: Arc<str>,
    /// What it is for: `clients`, `auth_query`, `control_user`, `replication`.
    pub purpose: &'static str,
    /// Connections there.
    pub has: u32,
    /// Clients that wait.
    pub waiting: u32,
    /// `pool_size` in force.
    pub size: u32,
    /// `weight` in force.
    pub weight: u32,
    /// `guaranteed_pool_size` in force.
    pub floor: u32,
}

/// What a server said of itself.
#[derive(Clone, Debug)]
pub struct SaidView {
    /// How long ago.
    pub ago: Duration,
    /// `max_connections`.
    pub max_connections: u32,
    /// Places kept for superusers and others.
    pub reserved: u32,
    /// Sessions that are not ours; `None`: they are not counted.
    pub foreign: Option<u32>,
    /// The same by role and application.
    pub by_user: Vec<(String, String, u32)>,
    /// Replicas and the like, which have places of their own; `None`: they are not counted.
    pub walsenders: Option<u32>,
}

/// Why a pool is there: `SHOW POOL_KEYS`.
#[derive(Clone, Debug)]
pub struct KeyView {
    /// Configured database.
    pub database: Arc<str>,
    /// Server login role.
    pub role: Arc<str>,
    /// What it is for.
    pub purpose: &'static str,
    /// Why, in words.
    pub why: String,
    /// Clients logged in.
    pub clients: u32,
    /// Its slots.
    pub counts: PoolCounts,
    /// Startup options that are part of the key: of the database's line.
    pub options: Vec<String>,
    /// `weight` in force.
    pub weight: u32,
    /// `guaranteed_pool_size` in force.
    pub floor: u32,
}

/// What would happen to a new client: `EXPLAIN ADMISSION`.
#[derive(Clone, Debug)]
pub struct AdmissionView {
    /// The pool's role.
    pub role: Option<Arc<str>>,
    /// Whether there is such a pool; else what is said of it holds for one that would be made.
    pub exists: bool,
    /// What keeps the client out before it comes to a pool.
    pub at_the_door: Option<Cause>,
    /// What the pool says; `None`: there is not even a database yet.
    pub pool: Option<Admission>,
    /// Clients that wait before it.
    pub before: u32,
    /// Who shares the queue by weight; nobody where its waiters are served as they came.
    pub parts: Vec<QueuePart>,
    /// `pool_size`, for the wait.
    pub size: u32,
    /// Addresses of the targets that the obstacles name.
    pub targets: Vec<(TargetId, String)>,
}

/// What a pool is for, in a word.
fn purpose(pool: &PoolEntry) -> &'static str {
    match pool.purpose {
        Purpose::Clients => "clients",
        Purpose::AuthQuery => "auth_query",
        Purpose::Control(_) => "control_user",
        Purpose::Replication => "replication",
    }
}

fn part(plan: &Plan, pool: &PoolEntry, has: u32, waiting: u32) -> PartView {
    let config = pool.database.config();
    PartView {
        database: pool.database.name.clone(),
        role: pool.user.clone(),
        purpose: purpose(pool),
        has,
        waiting,
        size: crate::directory::pool_size(plan, &config, &pool.user),
        weight: plan.weight(&config, &pool.user),
        floor: plan.guaranteed_pool_size(&config, &pool.user),
    }
}

impl Control {
    /// `SHOW TARGETS`.
    pub fn targets(&self) -> Vec<TargetView> {
        let hub = &self.hub;
        let (now, plan) = (hub.now(), hub.plan());
        let (all, pools) = {
            let directory = hub.directory.lock();
            let with_line = |(id, addr)| {
                let line = directory.line_of(&plan, &addr).cloned();
                (id, addr, line)
            };
            let all: Vec<_> = directory.targets().into_iter().map(with_line).collect();
            (all, directory.pools())
        };
        let core = hub.core.lock();
        let slots: Vec<_> = core.pools.slots().collect();
        let mut out = Vec::new();
        for (id, addr, line) in all {
            let Some(view) = core.pools.target_view(id) else { continue };
            let here: Vec<_> = slots.iter().filter(|slot| slot.target == id).collect();
            let mut by_pool: BTreeMap<PoolId, u32> = BTreeMap::new();
            here.iter().for_each(|slot| *by_pool.entry(slot.pool).or_default() += 1);
            let known = hub.targets.known(id);
            let of_pool = |pool: &Arc<PoolEntry>| {
                let waiting = core.pools.counts(pool.id, now).waiting;
                let has = by_pool.get(&pool.id).copied();
                let leads = has.is_some() || (waiting > 0 && core.pools.leads_to(pool.id, id));
                leads.then(|| part(&plan, pool, has.unwrap_or(0), waiting))
            };
            let counts = here.iter().fold(PoolCounts::default(), |sum, slot| sum.with(slot.counted()));
            out.push(TargetView {
                address: addr.peer().to_string(),
                budget: view.budget,
                source: view.source,
                configured: view.configured,
                learned: view.learned,
                counts,
                used: view.used,
                walsenders: view.walsenders,
                walsenders_max: view.walsenders_max,
                said: known.look.map(|look| look.view(now)),
                trouble: known.trouble,
                refused: view.refused.map(|at| now.since(at)),
                unseen: known.audit.missing,
                differences: known.audit.differences,
                line,
                pools: pools.iter().filter_map(of_pool).collect(),
            });
        }
        out
    }

    /// `SHOW POOL_KEYS`, by database and role.
    pub fn pool_keys(&self) -> Vec<KeyView> {
        let hub = &self.hub;
        let (now, plan, pools) = (hub.now(), hub.plan(), hub.directory.lock().pools());
        let core = hub.core.lock();
        let view = |pool: &Arc<PoolEntry>| KeyView {
            database: pool.database.name.clone(),
            role: pool.user.clone(),
            purpose: purpose(pool),
            why: pool.why.clone(),
            clients: pool.clients.load(Ordering::Relaxed),
            counts: core.pools.counts(pool.id, now),
            options: pool
                .database
                .config()
                .startup
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            weight: plan.weight(&pool.database.config(), &pool.user),
            floor: plan.guaranteed_pool_size(&pool.database.config(), &pool.user),
        };
        pools.iter().map(view).collect()
    }

    /// `EXPLAIN ADMISSION database user`.
    pub fn admission(&self, database: &str, user: &str) -> AdmissionView {
        let hub = &self.hub;
        let plan = hub.plan();
        let nowhere = |cause| AdmissionView {
            role: None,
            exists: false,
            at_the_door: Some(cause),
            pool: None,
            before: 0,
            parts: Vec::new(),
            size: 0,
            targets: Vec::new(),
        };
        let directory = hub.directory.lock();
        let Some(entry) = directory.database(database) else {
            return match plan.auto_database {
                Some(_) => AdmissionView { at_the_door: None, ..nowhere(Cause::DatabaseRemoved) },
                None => nowhere(Cause::NoSuchDatabase { name: database.into() }),
            };
        };
        let config = entry.config();
        let user_clients = directory.user_clients.get(user).copied().unwrap_or(0);
        let full = |most: u32, now: u32| most > 0 && now >= most;
        let at_the_door = if entry.disabled.load(Ordering::Relaxed) {
            Some(Cause::DatabaseDisabled { name: database.into() })
        } else if hub.phase() != Phase::Running {
            Some(Cause::ShuttingDown)
        } else if hub.sockets.load(Ordering::Acquire) >= plan.general.max_client_conn {
            Some(Cause::MaxClientConn)
        } else if full(database_client_limit(&plan, &config), entry.clients.load(Ordering::Acquire)) {
            Some(Cause::MaxDbClients)
        } else if full(user_client_limit(&plan, user), user_clients) {
            Some(Cause::MaxUserClients)
        } else {
            None
        };
        let role: Arc<str> = config.user.as_deref().unwrap_or(user).into();
        let pool = directory.find_pool(entry.id, &role);
        let targets =
            directory.targets().into_iter().map(|(id, addr)| (id, addr.peer().to_string())).collect();
        let (places, user) = (directory.known_targets(&config), directory.known_user(&role));
        drop(directory);
        let parts = pool.as_ref().map_or_else(Vec::new, |pool| self.queue_parts(pool.id));
        let (core, now) = (hub.core.lock(), hub.now());
        let said = match &pool {
            Some(pool) => core.pools.admission(pool.id, now),
            None => Some(core.pools.admission_of_new(&places, entry.id, user)),
        };
        AdmissionView {
            role: Some(role.clone()),
            exists: pool.is_some(),
            at_the_door,
            pool: said,
            before: pool.map_or(0, |pool| core.pools.counts(pool.id, now).waiting),
            parts,
            size: crate::directory::pool_size(&plan, &config, &role),
            targets,
        }
    }
}
