//! Targets: what the file says of each, and the ways to it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use plimsoll_config::{Database, Place, Plan, TargetLine};
use plimsoll_pool::Pools;
use plimsoll_types::{DatabaseId, Moment, TargetId};

use super::{DatabaseEntry, Directory, PoolEntry, Purpose};
use crate::entry::TargetAddr;
use crate::targets::Rule;

impl Directory {
    /// All targets there ever were.
    pub(crate) fn targets(&self) -> Vec<(TargetId, TargetAddr)> {
        (0..).map(TargetId).zip(self.addrs.iter().cloned()).collect()
    }

    /// The targets that a database leads to, of those that anybody has been to.
    pub(crate) fn known_targets(&self, config: &Database) -> Vec<TargetId> {
        self.addresses(config).iter().filter_map(|addr| self.targets.get(addr).copied()).collect()
    }

    /// What the file says of a target: its line, or what holds for all.
    pub(crate) fn rule_of(&self, plan: &Plan, addr: &TargetAddr) -> Rule {
        Rule::of(plan, self.line_of(plan, addr))
    }

    /// Where the file says how many connections there may be at a target.
    pub(crate) fn budget_place(&self, plan: &Plan, addr: &TargetAddr) -> Option<Place> {
        let line = self.line_of(plan, addr).filter(|line| line.budget.is_some());
        let place = line
            .map_or_else(|| plan.place_of("plimsoll", "target_budget"), |line| plan.place_of_target(line));
        place.cloned()
    }

    /// The line of `[targets]` that is a target's.
    pub(crate) fn line_of<'a>(&self, plan: &'a Plan, addr: &TargetAddr) -> Option<&'a TargetLine> {
        let is_it = |line: &&TargetLine| match addr {
            TargetAddr::Unix(path, port) => {
                *port == line.port && *path == Path::new(&line.host).join(format!(".s.PGSQL.{port}"))
            }
            TargetAddr::Tcp(addr) => {
                addr.port() == line.port
                    && match line.host.parse::<IpAddr>() {
                        Ok(ip) => ip == addr.ip(),
                        Err(_) => self.addresses_of(&line.host).contains(&addr.ip()),
                    }
            }
        };
        plan.targets.iter().find(is_it)
    }

    /// Puts what the file says of the targets into force.
    pub(super) fn set_budgets(&self, pools: &mut Pools, plan: &Plan, now: Moment) {
        for (addr, target) in &self.targets {
            pools.set_budget(*target, self.rule_of(plan, addr).cap(), now);
        }
    }

    /// Names of `[targets]` of which no database speaks, and which are out of date: nobody asks for them by connecting.
    pub(crate) fn outdated_target_names(&self, now: Moment) -> Vec<String> {
        let is_old =
            |name: &&String| matches!(self.asked.get(*name), Some(Some(fresh_until)) if *fresh_until <= now);
        self.target_names.iter().filter(is_old).cloned().collect()
    }

    /// The pools of our own connection to a target: one, but while it moves to another database.
    pub(crate) fn control_pools(&self, target: TargetId) -> Vec<Arc<PoolEntry>> {
        let watches = |pool: &&Arc<PoolEntry>| pool.purpose == Purpose::Control(target);
        self.pools.values().filter(watches).cloned().collect()
    }

    /// The databases that lead to a target, in the order in which a connection of our own tries them. Those of the file
    /// come before those that clients have made by asking for them.
    pub(crate) fn databases_at(&self, plan: &Plan, addr: &TargetAddr) -> Vec<Arc<DatabaseEntry>> {
        let of_file =
            |entry: &Arc<DatabaseEntry>| plan.databases.iter().any(|line| *line.name == *entry.name);
        let mut all: Vec<_> = self
            .databases()
            .into_iter()
            .filter(|entry| self.addresses(&entry.config()).contains(addr))
            .collect();
        all.sort_by_key(|entry| (!of_file(entry), entry.disabled.load(Ordering::Relaxed)));
        all
    }
}

/// Host names of `[targets]`.
pub(super) fn names_of(plan: &Plan) -> Vec<String> {
    let is_name = |line: &&TargetLine| !line.is_unix() && line.host.parse::<IpAddr>().is_err();
    plan.targets.iter().filter(is_name).map(|line| line.host.clone()).collect()
}

/// The one that a connection of our own uses after `failed` others, of those that are not paused: PAUSE is for whoever
/// wants nobody in a database, ourselves neither.
pub(crate) fn way_in(
    databases: &[Arc<DatabaseEntry>],
    is_paused: impl Fn(DatabaseId) -> bool,
    failed: usize,
) -> Option<Arc<DatabaseEntry>> {
    let open: Vec<_> = databases.iter().filter(|database| !is_paused(database.id)).collect();
    open.get(failed.checked_rem(open.len())?).map(|database| Arc::clone(database))
}
