//! From a plan to the terms of a pool and of its clients: which of user, database and global setting counts
//! (reference 2).

use std::time::Duration;

use plimsoll_config::{Compat, Database, Plan, QueueFairness, UserSettings};
use plimsoll_pool::{Fairness, Globals, PoolLimits, Retry, Unreachable, WaitCause};
use plimsoll_session::{CleanWhen, Settings};
use plimsoll_types::PoolMode;

use crate::{loss, random};

pub(super) fn or_global(own: Option<u32>, global: u32) -> u32 {
    match own {
        Some(n) if n > 0 => n,
        _ => global,
    }
}

pub(super) fn limit(n: u32) -> Option<u32> {
    (n > 0).then_some(n)
}

pub(super) fn user_of<'a>(plan: &'a Plan, name: &str) -> Option<&'a UserSettings> {
    plan.users.get(name)
}

/// Pool mode in force: the role's, else the database's, else the global one.
pub(crate) fn pool_mode(plan: &Plan, database: &Database, role: &str) -> PoolMode {
    user_of(plan, role).and_then(|u| u.pool_mode).or(database.pool_mode).unwrap_or(plan.general.pool_mode)
}

/// Pool size in force.
pub(crate) fn pool_size(plan: &Plan, database: &Database, role: &str) -> u32 {
    user_of(plan, role)
        .and_then(|u| u.pool_size)
        .or(database.pool_size)
        .unwrap_or(plan.general.default_pool_size)
}

pub(super) fn session_settings(plan: &Plan, database: &Database, role: &str, login: &str) -> Settings {
    let general = &plan.general;
    let of_role = user_of(plan, role);
    let of_login = user_of(plan, login);
    let timeout = |own: Option<Option<Duration>>, global| own.flatten().unwrap_or(global);
    Settings {
        mode: pool_mode(plan, database, role),
        prepared_max: general.max_prepared_statements,
        packet_bytes_max: general.max_packet_size,
        collect_bytes_max: plan.own.collect_max.unwrap_or(1 << 20),
        clean: match (general.server_reset_query.is_empty(), general.server_reset_query_always) {
            (true, _) => CleanWhen::Never,
            (false, false) => CleanWhen::AfterSession,
            (false, true) => CleanWhen::Always,
        },
        compat: plan.own.compat == Compat::Pgbouncer,
        query_timeout: timeout(of_role.map(|u| u.query_timeout), general.query_timeout),
        idle_transaction_timeout: timeout(
            of_role.map(|u| u.idle_transaction_timeout),
            general.idle_transaction_timeout,
        ),
        transaction_timeout: timeout(of_role.map(|u| u.transaction_timeout), general.transaction_timeout),
        client_idle_timeout: timeout(of_login.map(|u| u.client_idle_timeout), general.client_idle_timeout),
        client_stall_timeout: loss::client_stall_timeout(plan),
        settle_timeout: loss::server_check_timeout(plan),
        hold_bytes_max: plan.own.batch_hold_bytes.unwrap_or(loss::BATCH_HOLD_BYTES),
    }
}

/// Longest wait for a server connection: the login user's, else the database's, else the global one.
pub(crate) fn query_wait_timeout(plan: &Plan, database: &Database, login: &str) -> Duration {
    user_of(plan, login)
        .and_then(|u| u.query_wait_timeout)
        .or(database.query_wait_timeout)
        .unwrap_or(plan.general.query_wait_timeout)
}

/// Longest wait for a server connection and what ends it: [`query_wait_timeout`] or `query_timeout` (zero is off),
/// whichever is shorter.
pub(crate) fn longest_wait(
    plan: &Plan,
    database: &Database,
    login: &str,
    query_timeout: Duration,
) -> (Duration, WaitCause) {
    let wait = query_wait_timeout(plan, database, login);
    if !query_timeout.is_zero() && (wait.is_zero() || query_timeout < wait) {
        (query_timeout, WaitCause::QueryTimeout)
    } else {
        (wait, WaitCause::QueryWaitTimeout)
    }
}

pub(super) fn pool_limits(plan: &Plan, database: &Database, role: &str) -> PoolLimits {
    let general = &plan.general;
    let reserve = user_of(plan, role).and_then(|u| u.reserve_pool_size).or(database.reserve_pool_size);
    let checks = general.server_check_query.as_deref() != Some("");
    PoolLimits {
        size: pool_size(plan, database, role),
        min_size: database.min_pool_size.unwrap_or(general.min_pool_size),
        min_always: database.user.is_some(),
        reserve_size: reserve.unwrap_or(general.reserve_pool_size),
        reserve_timeout: general.reserve_pool_timeout,
        lifetime: database.server_lifetime.unwrap_or(general.server_lifetime),
        idle_timeout: general.server_idle_timeout,
        check_delay: checks.then_some(general.server_check_delay),
        retry: retry(plan),
        unreachable: match keeps_login_retry(plan) || plan.own.compat == Compat::Pgbouncer {
            true => Unreachable::Refuse,
            false => Unreachable::Wait,
        },
        guaranteed: user_of(plan, role)
            .and_then(|user| user.guaranteed_pool_size)
            .or(database.guaranteed_pool_size)
            .unwrap_or(0),
        weight: user_of(plan, role).and_then(|user| user.weight).or(database.weight).unwrap_or(1),
        fairness: queue_fairness(plan),
        pool_idle_timeout: general.pool_idle_timeout,
        round_robin: general.server_round_robin,
    }
}

/// Whether the file says itself how long nobody connects after a failure: then that holds, as in PgBouncer.
fn keeps_login_retry(plan: &Plan) -> bool {
    plan.place_of("pgbouncer", "server_login_retry").is_some()
}

fn retry(plan: &Plan) -> Retry {
    let refused = plan.general.server_login_retry;
    if keeps_login_retry(plan) {
        return Retry::Fixed(refused);
    }
    let (min, max) = backoff(plan);
    Retry::Doubling { min, max, refused }
}

/// `connect_backoff_min` and `connect_backoff_max`.
fn backoff(plan: &Plan) -> (Duration, Duration) {
    let min = plan.own.connect_backoff_min.unwrap_or(Duration::from_millis(100));
    let max = plan.own.connect_backoff_max.unwrap_or(Duration::from_secs(2));
    (min, max.max(min))
}

/// What spans pools.
pub(crate) fn globals(plan: &Plan) -> Globals {
    let usual = Globals::default();
    Globals {
        fairness_slack: plan.own.fairness_slack.unwrap_or(usual.fairness_slack),
        connect_concurrency: plan.own.connect_concurrency.unwrap_or(usual.connect_concurrency),
        full_backoff: backoff(plan),
        seed: u64::from_le_bytes(random::bytes()),
    }
}

/// `queue_fairness`.
pub(crate) fn queue_fairness(plan: &Plan) -> Fairness {
    match plan.own.queue_fairness {
        QueueFairness::Fifo => Fairness::Fifo,
        QueueFairness::Application => Fairness::Application,
    }
}

pub(super) fn user_limit(plan: &Plan, role: &str) -> Option<u32> {
    limit(or_global(
        user_of(plan, role).and_then(|u| u.max_user_connections),
        plan.general.max_user_connections,
    ))
}

pub(super) fn database_limit(plan: &Plan, config: &Database) -> Option<u32> {
    limit(or_global(config.max_db_connections, plan.general.max_db_connections))
}

/// Most clients of a database; 0 is no limit.
pub(crate) fn database_client_limit(plan: &Plan, config: &Database) -> u32 {
    or_global(config.max_db_client_connections, plan.general.max_db_client_connections)
}

/// Most clients of a login user; 0 is no limit.
pub(crate) fn user_client_limit(plan: &Plan, user: &str) -> u32 {
    or_global(
        user_of(plan, user).and_then(|u| u.max_user_client_connections),
        plan.general.max_user_client_connections,
    )
}
