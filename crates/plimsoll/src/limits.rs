//! How many file descriptors there may be, and how many may be needed.

use plimsoll_admin::http_descriptors;
use plimsoll_config::{Budget, Database, Plan};

use crate::sys;

/// Descriptors that are no connection: listeners, log, event loops.
const SPARE: u64 = 10;
/// The temporary file of results that are not read: one for all of them.
const SPILL_FILES: u64 = 1;
/// Descriptors of a worker's event loop.
const PER_WORKER: u64 = 4;

/// Raises the limit as far as it goes, and logs it.
pub(crate) fn raise_and_log(plan: &Plan, workers: u16) {
    let limits = match sys::raise_file_limit() {
        Ok(limits) => limits,
        Err(error) => {
            tracing::error!("could not get RLIMIT_NOFILE: {error}");
            return;
        }
    };
    let (clients, need) = (plan.general.max_client_conn, expected(plan, workers));
    tracing::info!(
        "kernel file descriptor limit: {} (hard: {}); max_client_conn: {clients}, max expected fd use: {need}",
        limits.soft,
        limits.hard
    );
    if limits.soft < u64::from(clients).saturating_add(SPARE) {
        tracing::warn!(
            "there are fewer file descriptors than max_client_conn: raise the limit with ulimit -n"
        );
    }
}

/// The most that can be needed: every client, and every pool of every known user full.
fn expected(plan: &Plan, workers: u16) -> u64 {
    let users = plan.logins.len().max(1) as u64;
    let pools = plan.databases.iter().map(|database| servers(plan, database, users));
    let servers = pools.fold(0_u64, u64::saturating_add);
    let servers = match largest_budget(plan) {
        // With one target for each database at most, the budget bounds all of them.
        Some(budget) => servers.min(u64::from(budget).saturating_mul(plan.databases.len().max(1) as u64)),
        None => servers,
    };
    let spills = if plan.spills_to_disk() { SPILL_FILES } else { 0 };
    u64::from(plan.general.max_client_conn)
        .saturating_add(servers)
        .saturating_add(http_descriptors(plan))
        .saturating_add(SPARE + spills + PER_WORKER * u64::from(workers))
}

/// The largest budget of a target; `None` if one has no number yet.
fn largest_budget(plan: &Plan) -> Option<u32> {
    let lines = plan.targets.iter().filter_map(|line| line.budget);
    let budgets = std::iter::once(plan.own.target_budget).chain(lines).map(Budget::fixed);
    budgets.collect::<Option<Vec<u32>>>()?.into_iter().max()
}

fn servers(plan: &Plan, database: &Database, users: u64) -> u64 {
    let size = u64::from(database.pool_size.unwrap_or(plan.general.default_pool_size));
    match database.user {
        Some(_) => size,
        None => size.saturating_mul(users),
    }
}

#[cfg(test)]
mod tests;
