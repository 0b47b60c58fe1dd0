//! Timers that are off, or in an order that makes no sense.

use std::time::Duration;

use plimsoll_config::General;
use plimsoll_types::PoolMode;

use super::super::demand;
use super::super::finding::Finding;
use super::{Case, seconds, warning};

/// A timer: its key and its value; zero is off.
type Timer = (&'static str, Duration);

/// Two timers, of which the first must not be longer than the second.
struct Order {
    id: &'static str,
    short: Timer,
    long: Timer,
    /// What comes of it otherwise.
    why: &'static str,
}

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> =
        orders(&case.plan.general).iter().filter_map(|order| out_of_order(case, order)).collect();
    found.extend(reserve(case));
    found.extend(users(case));
    found.extend(off(case));
    found.extend(idle_transactions(case));
    found.extend(pool_sizes(case));
    found
}

fn orders(general: &General) -> [Order; 6] {
    [
        Order {
            id: "query-over-transaction",
            short: ("query_timeout", general.query_timeout),
            long: ("transaction_timeout", general.transaction_timeout),
            why: "between BEGIN and COMMIT the transaction's timer ends a query first",
        },
        Order {
            id: "idle-transaction-over-transaction",
            short: ("idle_transaction_timeout", general.idle_transaction_timeout),
            long: ("transaction_timeout", general.transaction_timeout),
            why: "the transaction is always ended first",
        },
        Order {
            id: "idle-transaction-over-client-idle",
            short: ("idle_transaction_timeout", general.idle_transaction_timeout),
            long: ("client_idle_timeout", general.client_idle_timeout),
            why: "a client that holds nothing is sent away sooner than one that holds a transaction open",
        },
        Order {
            id: "server-idle-over-lifetime",
            short: ("server_idle_timeout", general.server_idle_timeout),
            long: ("server_lifetime", general.server_lifetime),
            why: "every connection is closed for its age first: an idle one never for being idle",
        },
        Order {
            id: "connect-over-login",
            short: ("server_connect_timeout", general.server_connect_timeout),
            long: ("client_login_timeout", general.client_login_timeout),
            why: "a client that logs in while a server does not answer is refused before a second attempt can be made",
        },
        Order {
            id: "login-retry-over-wait",
            short: ("server_login_retry", general.server_login_retry),
            long: ("query_wait_timeout", general.query_wait_timeout),
            why: "a client that waits when a login fails is refused before the next attempt",
        },
    ]
}

fn out_of_order(case: &Case<'_>, order: &Order) -> Option<Finding> {
    let (short, long) = (order.short, order.long);
    (!long.1.is_zero() && short.1 > long.1).then(|| {
        let message = format!(
            "{} ({}) is longer than {} ({}): {}",
            short.0,
            seconds(short.1),
            long.0,
            seconds(long.1),
            order.why
        );
        let todo = format!("make {} the shorter one, or switch it off", short.0);
        warning(order.id, case.places.first_key(&[short.0, long.0]), message, todo)
    })
}

fn reserve(case: &Case<'_>) -> Option<Finding> {
    let plan = case.plan;
    let general = &plan.general;
    let is_there = demand::all(plan).any(|database| {
        demand::roles(plan, database).iter().any(|role| demand::reserve(plan, database, role) > 0)
    });
    let order = Order {
        id: "reserve-never-used",
        short: ("reserve_pool_timeout", general.reserve_pool_timeout),
        long: ("query_wait_timeout", general.query_wait_timeout),
        why: "clients are refused before the reserve is opened for them",
    };
    if is_there { out_of_order(case, &order) } else { None }
}

/// The same order in `[users]`, where a timer of a user stands beside a general one.
fn users(case: &Case<'_>) -> Vec<Finding> {
    let general = &case.plan.general;
    let judge = |(name, user): (&String, &plimsoll_config::UserSettings)| {
        if user.query_timeout.is_none() && user.transaction_timeout.is_none() {
            return None;
        }
        let query = user.query_timeout.unwrap_or(general.query_timeout);
        let transaction = user.transaction_timeout.unwrap_or(general.transaction_timeout);
        (!transaction.is_zero() && query > transaction).then(|| {
            let message = format!(
                "for user {name}, query_timeout ({}) is longer than transaction_timeout ({}): between BEGIN \
                 and COMMIT the transaction's timer ends a query first",
                seconds(query),
                seconds(transaction)
            );
            let todo = "make query_timeout the shorter one, or switch it off";
            warning("query-over-transaction", case.places.user(name), message, todo)
        })
    };
    case.plan.users.iter().filter_map(judge).collect()
}

/// Timers without which something waits for ever.
fn off(case: &Case<'_>) -> Vec<Finding> {
    let general = &case.plan.general;
    let rules = [
        (
            "query-wait-off",
            ("query_wait_timeout", general.query_wait_timeout),
            120,
            "clients wait for a server connection without end, and nobody is told why",
        ),
        (
            "client-login-off",
            ("client_login_timeout", general.client_login_timeout),
            60,
            "whoever connects and says nothing keeps a place of max_client_conn",
        ),
        (
            "server-connect-off",
            ("server_connect_timeout", general.server_connect_timeout),
            15,
            "a server that takes connections and says nothing keeps a place of the pool",
        ),
    ];
    let is_off = rules.into_iter().filter(|(_, timer, ..)| timer.1.is_zero());
    let mut found: Vec<Finding> = is_off
        .map(|(id, timer, value, why)| {
            let (key, at) = (timer.0, case.places.key(timer.0));
            warning(id, at, format!("{key} is off: {why}"), format!("set {key} = {value}"))
                .suggesting(key, value, why)
        })
        .collect();
    let databases =
        demand::all(case.plan).filter(|line| line.query_wait_timeout.is_some_and(|time| time.is_zero()));
    found.extend(databases.map(|line| {
        let message =
            format!("query_wait_timeout of database {} is off: its clients wait without end", line.name);
        warning("query-wait-off", case.places.database(&line.name), message, "give it a time")
    }));
    found
}

/// A transaction that is left open keeps its server connection (incident 4).
fn idle_transactions(case: &Case<'_>) -> Option<Finding> {
    let general = &case.plan.general;
    let is_bounded = !general.idle_transaction_timeout.is_zero() || !general.transaction_timeout.is_zero();
    if is_bounded || !case.has_mode(&[PoolMode::Transaction]) {
        return None;
    }
    let message = "idle_transaction_timeout is off: a transaction that is left open keeps its server connection until \
                   its client goes";
    let at = case.places.first_key(&["idle_transaction_timeout", "pool_mode"]);
    Some(
        warning(
            "idle-transaction-off",
            at,
            message,
            "set idle_transaction_timeout = 60, or what your longest pause is",
        )
        .suggesting(
            "idle_transaction_timeout",
            60,
            "a transaction that is left open gives its connection back",
        ),
    )
}

fn pool_sizes(case: &Case<'_>) -> Vec<Finding> {
    let general = &case.plan.general;
    let judge = |database: &plimsoll_config::Database| {
        let size = database.pool_size.unwrap_or(general.default_pool_size);
        let min = database.min_pool_size.unwrap_or(general.min_pool_size);
        let at = || match (database.pool_size, database.min_pool_size) {
            (None, None) => case.places.first_key(&["min_pool_size", "default_pool_size"]),
            (Some(_), _) | (_, Some(_)) => case.places.database(&database.name),
        };
        if size == 0 {
            let message = format!(
                "pool_size of database {} is 0: its clients wait until query_wait_timeout",
                database.name
            );
            Some(warning("pool-size-zero", at(), message, "give it connections, or remove the database"))
        } else if min > size {
            let message = format!(
                "min_pool_size {min} of database {} is more than its pool_size {size}",
                database.name
            );
            Some(warning(
                "min-over-pool-size",
                at(),
                message,
                "lower min_pool_size: no more than pool_size are opened",
            ))
        } else {
            None
        }
    };
    demand::all(case.plan).filter_map(judge).collect()
}
