//! Whose connections use a limit up: all that are under it, of whatever pool, busy or not.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use plimsoll_pool::{PoolCounts, SlotState};
use plimsoll_proxy::{HoldView, ServerView};

use crate::pooler::Pooler;
use crate::why::age;

/// How many groups are named.
const GROUPS: usize = 8;

/// The connections that a limit counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// Those of one pool: database and role.
    Pool(String, String),
    /// Those at a target, of all pools.
    Target(String),
    /// Those of a database, of all its pools.
    Database(String),
    /// Those of a role, in all databases.
    Role(String),
}

impl Scope {
    fn has(&self, database: &str, role: &str, target: &str) -> bool {
        match self {
            Scope::Pool(of, by) => of == database && by == role,
            Scope::Target(address) => address == target,
            Scope::Database(of) => of == database,
            Scope::Role(by) => by == role,
        }
    }

    /// Whether a server connection is one of them. Those for replication take none of a target's budget.
    fn counts(&self, server: &ServerView) -> bool {
        let is_apart = matches!(self, Scope::Target(_)) && is_for_replication(server);
        !is_apart && self.has(&server.database, &server.user, &server.target)
    }

    /// The pool's name, where the scope leaves open which it is.
    fn pool(&self, server: &ServerView) -> Option<String> {
        match self {
            Scope::Pool(..) => None,
            Scope::Target(_) | Scope::Database(_) | Scope::Role(_) => {
                Some(format!("{}/{}", server.database, server.user))
            }
        }
    }
}

/// A line for each group of connections under a limit: those that are held by whom, the largest group first, then
/// those that are not.
pub(super) fn lines(pooler: &dyn Pooler, scope: &Scope) -> Vec<String> {
    let holds = pooler.holds();
    let by_server: HashMap<u64, &HoldView> = holds.iter().map(|hold| (hold.server, hold)).collect();
    let mut groups: BTreeMap<(u8, String), (u32, Duration)> = BTreeMap::new();
    let servers = pooler.servers();
    for server in servers.iter().filter(|server| scope.counts(server)) {
        let (rank, name, since) = named(scope, server, by_server.get(&server.ptr).copied());
        let group = groups.entry((rank, name)).or_default();
        *group = (group.0 + 1, group.1.max(since));
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by(|((rank, one), a), ((other_rank, other), b)| {
        rank.cmp(other_rank).then_with(|| b.cmp(a)).then_with(|| one.cmp(other))
    });
    let more: u32 = groups.iter().skip(GROUPS).map(|(_, (count, _))| count).sum();
    let mut lines: Vec<String> = groups
        .into_iter()
        .take(GROUPS)
        .map(|((rank, name), (count, oldest))| match rank {
            0 => format!("Held: {count} by {name}, the oldest for {}.", age(oldest)),
            _ => format!("Not held: {count} of {name}, the longest for {}.", age(oldest)),
        })
        .collect();
    if more > 0 {
        lines.push(format!("And {more} more: SHOW SERVERS."));
    }
    // Before its login is done, a connection is in no list of servers.
    match opening(pooler, scope) {
        0 => {}
        opening => lines.push(format!("Not held: {opening} that are logging in.")),
    }
    lines
}

fn is_for_replication(server: &ServerView) -> bool {
    server.replication != "none"
}

/// How a connection's group ranks and is called, and since when it is as it is.
fn named(scope: &Scope, server: &ServerView, hold: Option<&HoldView>) -> (u8, String, Duration) {
    let pool = scope.pool(server);
    if let Some(hold) = hold {
        let application = if hold.who.application.is_empty() { "(no name)" } else { &hold.who.application };
        let pool = pool.map_or_else(String::new, |pool| format!(" ({pool})"));
        let state = if is_for_replication(server) { "replication" } else { hold.state };
        return (0, format!("{application}{pool}, {state}"), hold.age);
    }
    let pool = pool.unwrap_or_else(|| "this pool".to_string());
    match server.state {
        // The ledger is off, and nobody knows whose they are.
        SlotState::Held => (0, format!("clients of {pool}"), server.requested_for),
        state => (1, format!("{pool}, {}", word(state)), server.requested_for),
    }
}

fn word(state: SlotState) -> &'static str {
    match state {
        SlotState::Opening => "logging in",
        SlotState::Idle => "idle",
        SlotState::Held => "held",
        SlotState::BeingCanceled => "being cancelled",
        SlotState::Cleaning => "being cleaned",
        SlotState::Checking => "being checked",
        SlotState::Closing => "closing",
        SlotState::Lost => "lost (its server has not been seen to end)",
    }
}

/// Connections that are logging in.
fn opening(pooler: &dyn Pooler, scope: &Scope) -> u32 {
    let sum = |counts: &PoolCounts| counts.opening;
    match scope {
        Scope::Target(address) => {
            let targets = pooler.targets();
            targets.iter().filter(|target| target.address == *address).map(|target| sum(&target.counts)).sum()
        }
        Scope::Pool(..) | Scope::Database(_) | Scope::Role(_) => {
            let pools = pooler.pools();
            let under = pools.iter().filter(|pool| scope.has(&pool.database, &pool.user, ""));
            under.map(|pool| sum(&pool.counts)).sum()
        }
    }
}
