//! Targets: what the file says of each, and the ways to it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use plimsoll_config::{Database, Plan, TargetLine};
use plimsoll_types::TargetId;

use super::{DatabaseEntry, Directory, Purpose};
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

    /// Whether there is a pool of our own connection to a target.
    pub(crate) fn has_control_pool(&self, target: TargetId) -> bool {
        self.pools.keys().any(|(_, purpose, _)| *purpose == Purpose::Control(target))
    }

    /// A database that leads to a target, for a connection of our own to it: the one after `failed` others. Those of the
    /// file come before those that clients have made by asking for them.
    pub(crate) fn database_at(
        &self,
        plan: &Plan,
        addr: &TargetAddr,
        failed: usize,
    ) -> Option<Arc<DatabaseEntry>> {
        let of_file =
            |entry: &Arc<DatabaseEntry>| plan.databases.iter().any(|line| *line.name == *entry.name);
        let mut all: Vec<_> = self
            .databases()
            .into_iter()
            .filter(|entry| self.addresses(&entry.config()).contains(addr))
            .collect();
        all.sort_by_key(|entry| (!of_file(entry), entry.disabled.load(Ordering::Relaxed)));
        all.get(failed.checked_rem(all.len())?).cloned()
    }
}
