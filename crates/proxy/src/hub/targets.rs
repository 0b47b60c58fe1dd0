//! Targets as the hub knows them: what they have for us, our own connection to each, and who of ours is there.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_config::{Budget, Plan};
use plimsoll_pool::{Failure, SlotState, Walsenders};
use plimsoll_types::{Cause, Moment, PoolId, TargetId};

use super::{Core, Hub};
use crate::directory::targets::way_in;
use crate::directory::{DatabaseEntry, Directory, PoolEntry, Purpose, Role};
use crate::entry::ServerEntry;
use crate::map::Map;
use crate::replication::Kind;
use crate::targets::{Counted, Limited, Sharer, WayIn};

/// A connection that is younger may not be in the server's list of sessions yet.
const SETTLING: Duration = Duration::from_secs(5);

/// Another `control_user` looks at the targets now, or none: the pools of the one before go, and the places that were
/// kept for them.
pub(super) fn forget_watchers(directory: &mut Directory, core: &mut Core, plan: &Plan, now: Moment) {
    let watches = |pool: &&Arc<PoolEntry>| {
        matches!(pool.purpose, Purpose::Control(_)) && plan.own.control_user.as_deref() != Some(&*pool.user)
    };
    for pool in directory.pools().iter().filter(watches) {
        directory.remove_pool(pool);
        core.pools.remove_pool(pool.id, Cause::Unneeded, now);
        core.entries.remove(&pool.id);
    }
}

/// A pool has come. Where it leads, there is a place for whoever looks at the server before anybody else takes one: in
/// session mode nobody would ever give it back.
pub(super) fn keep_places(
    directory: &mut Directory,
    core: &mut Core,
    plan: &Plan,
    pool: &PoolEntry,
    now: Moment,
) {
    let (Some(user), Purpose::Clients) = (&plan.own.control_user, pool.purpose) else { return };
    for target in directory.known_targets(&pool.database.config()) {
        let Some(addr) = directory.target_addr(target) else { continue };
        let is_off = directory.rule_of(plan, &addr).budget == Budget::Off;
        if is_off || !directory.control_pools(target).is_empty() {
            continue;
        }
        let is_paused = |database| core.pools.is_paused(Some(database));
        let Some(database) = way_in(&directory.databases_at(plan, &addr), is_paused, 0) else { continue };
        let entry = directory.pool(&mut core.pools, plan, &database, &Role::Control(user, target), now);
        core.entries.insert(entry.id, entry);
    }
}

impl Hub {
    /// A host name has been resolved.
    pub(crate) fn set_addresses(self: &Arc<Self>, name: &str, ips: Vec<IpAddr>) {
        let (plan, now) = (self.plan(), self.now());
        let mut directory = self.directory.lock();
        let mut core = self.core.lock();
        directory.set_addresses(&mut core.pools, &plan, name, ips, now);
        self.targets.wake.notify_one();
        self.run_actions(&mut core, now);
    }

    /// The pool of a role on a database; `None` if the database has been removed by now.
    pub(crate) fn pool(&self, database: &Arc<DatabaseEntry>, role: &Role<'_>) -> Option<Arc<PoolEntry>> {
        let (plan, now) = (self.plan(), self.now());
        let mut directory = self.directory.lock();
        directory.database(&database.name).filter(|known| known.id == database.id)?;
        let mut core = self.core.lock();
        let entry = directory.pool(&mut core.pools, &plan, database, role, now);
        if core.entries.insert(entry.id, entry.clone()).is_none() {
            keep_places(&mut directory, &mut core, &plan, &entry, now);
            match role {
                // It may lead to a new target.
                Role::Login(_) | Role::AuthUser(_) | Role::Kept(_) => self.targets.wake.notify_one(),
                // That is us: one that fails and is made again must not be tried at once for that.
                Role::Control(..) => {}
                // The pool beside it has led there before.
                Role::Replication(_) => {}
            }
        }
        Some(entry)
    }

    /// The server itself has said how many connections it has for us.
    pub(crate) fn set_asked(self: &Arc<Self>, target: TargetId, places: Option<u32>, counted: Counted) {
        let now = self.now();
        let mut core = self.core.lock();
        match counted {
            Counted::No => core.pools.set_limit(target, places, now),
            Counted::Roughly | Counted::Exactly => core.pools.set_asked(target, places, now),
        }
        self.run_actions(&mut core, now);
    }

    /// What the server has for replication, as far as it has said.
    pub(crate) fn set_walsenders(self: &Arc<Self>, target: TargetId, walsenders: Walsenders) {
        self.with_pools(|pools, now| pools.set_walsenders(target, walsenders, now));
    }

    /// The server cannot be asked, or not any more: this is gone by.
    pub(crate) fn set_presumed(self: &Arc<Self>, target: TargetId, places: u32) {
        self.with_pools(|pools, now| pools.set_presumed(target, places, now));
    }

    /// Each pool at a target gets its part of the CONNECTION LIMITs there. One that leads to several servers learns from
    /// refusals: it has a limit at each.
    pub(crate) fn allot(self: &Arc<Self>, target: TargetId, limited: &Limited) {
        let (now, pools) = (self.now(), self.directory.lock().pools());
        let ours = self.pids_at(target);
        let mut core = self.core.lock();
        let mut has: Map<PoolId, u32> = Map::default();
        for slot in core.pools.slots().filter(|slot| slot.target == target) {
            *has.entry(slot.pool).or_default() += 1;
        }
        let leads = |pool: &&Arc<PoolEntry>| core.pools.leads_only_to(pool.id, target);
        let sharer = |pool: &Arc<PoolEntry>| Sharer {
            pool: pool.id,
            role: pool.user.to_string(),
            database: pool.database.dbname(),
            used: has.get(&pool.id).copied().unwrap_or(0),
            waiting: core.pools.counts(pool.id, now).waiting,
        };
        let sharers: Vec<Sharer> = pools.iter().filter(leads).map(sharer).collect();
        // A name may have come to lead to more servers than this one.
        let at_several = |pool: &&Arc<PoolEntry>| {
            core.pools.leads_to(pool.id, target) && !core.pools.leads_only_to(pool.id, target)
        };
        let at_several: Vec<_> = pools.iter().filter(at_several).map(|pool| (pool.id, None)).collect();
        for (pool, part) in limited.allot(&sharers, &ours).into_iter().chain(at_several) {
            core.pools.set_allotted(pool, part, now);
        }
        self.run_actions(&mut core, now);
    }

    /// The pool of our own connection to a target: the same as long as it may be used, through another database after
    /// each failure. There is but one, for each has a place kept for it.
    pub(crate) fn way_to(self: &Arc<Self>, user: &str, target: TargetId, failed: usize) -> WayIn {
        let plan = self.plan();
        let (database, before) = {
            let directory = self.directory.lock();
            let Some(addr) = directory.target_addr(target) else { return WayIn::Nowhere };
            let databases = directory.databases_at(&plan, &addr);
            if databases.is_empty() {
                return WayIn::Nowhere;
            }
            let core = self.core.lock();
            let is_paused = |id| core.pools.is_paused(Some(id)) || core.pools.is_paused(None);
            let before = directory.control_pools(target);
            let leads = |pool: &&Arc<PoolEntry>| databases.iter().any(|it| it.id == pool.database.id);
            let stays = before.iter().filter(leads).find(|pool| !is_paused(pool.database.id));
            let database = stays.map(|pool| pool.database.clone());
            (database.or_else(|| way_in(&databases, is_paused, failed)), before)
        };
        for pool in &before {
            if database.as_ref().is_none_or(|database| database.id != pool.database.id) {
                self.forget_control_pool(pool);
            }
        }
        let Some(database) = database else { return WayIn::Paused };
        match self.pool(&database, &Role::Control(user, target)) {
            Some(pool) => WayIn::Open(pool),
            None => WayIn::Nowhere,
        }
    }

    /// Whether a pool of our own connection to a target is still the one: neither a new plan nor a PAUSE has ended it.
    pub(crate) fn is_way_to(&self, target: TargetId, pool: &PoolEntry) -> bool {
        let directory = self.directory.lock();
        let stands = directory.control_pools(target).iter().any(|known| known.id == pool.id);
        let core = self.core.lock();
        stands && !core.pools.is_paused(Some(pool.database.id)) && !core.pools.is_paused(None)
    }

    /// Nobody looks at a target any more.
    pub(crate) fn forget_ways_to(self: &Arc<Self>, target: TargetId) {
        let pools = { self.directory.lock().control_pools(target) };
        pools.iter().for_each(|pool| self.forget_control_pool(pool));
    }

    /// It did not work: it goes, and the place that is kept for it.
    pub(crate) fn forget_control_pool(self: &Arc<Self>, pool: &Arc<PoolEntry>) {
        self.directory.lock().remove_pool(pool);
        self.remove_pools(std::slice::from_ref(pool), &Cause::Unneeded);
    }

    /// Process ids of our connections to a target.
    pub(crate) fn pids_at(&self, target: TargetId) -> Vec<u32> {
        self.pids_of(target, |_| true)
    }

    /// The same of those that are connected to a database: walsenders for physical replication are not, and
    /// `pg_stat_database.numbackends` does not count them.
    pub(crate) fn pids_in_databases_at(&self, target: TargetId) -> Vec<u32> {
        self.pids_of(target, |entry| entry.replication != Some(Kind::Physical))
    }

    fn pids_of(&self, target: TargetId, wanted: impl Fn(&ServerEntry) -> bool) -> Vec<u32> {
        let core = self.core.lock();
        let at_target =
            |entry: &&Arc<ServerEntry>| core.pools.slot(entry.slot).is_some_and(|slot| slot.target == target);
        let wanted = |entry: &&Arc<ServerEntry>| at_target(entry) && wanted(entry);
        core.servers().filter(wanted).map(|entry| entry.pid()).filter(|pid| *pid != 0).collect()
    }

    /// The same of those that had logged in some time before `at`, and are not being let go.
    pub(crate) fn settled_pids_at(&self, target: TargetId, at: Moment) -> Vec<u32> {
        let core = self.core.lock();
        let settled = |entry: &&Arc<ServerEntry>| {
            core.pools.slot(entry.slot).is_some_and(|slot| {
                let stays = !matches!(slot.state, SlotState::Opening | SlotState::Closing | SlotState::Lost);
                slot.target == target && stays && slot.opened + SETTLING < at
            })
        };
        core.servers().filter(settled).map(|entry| entry.pid()).filter(|pid| *pid != 0).collect()
    }

    /// Whether a connection to a target from before `at` is still there: then its server has not started anew.
    pub(crate) fn has_stayed_since(&self, target: TargetId, at: Moment) -> bool {
        let core = self.core.lock();
        core.pools
            .slots()
            .any(|slot| slot.target == target && slot.opened < at && slot.state != SlotState::Lost)
    }

    /// A server without a place for us is looked at.
    pub(super) fn note_refusal(&self, failure: &Failure) {
        if let Failure::Full(_) = failure {
            self.targets.wake.notify_one();
        }
    }
}
