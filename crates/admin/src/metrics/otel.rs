//! OpenTelemetry's names for database client connection pools, as its Prometheus exporters write them
//! (semantic conventions, "Database client metrics", `db.client.connection.*`).

use plimsoll_proxy::PoolFigures;

use super::exposition::{Family, Kind, Labels, Value};

/// All of them, of these pools.
pub(super) fn families(pools: &[PoolFigures]) -> Vec<Family> {
    let mut count = gauge("db_client_connection_count", "Connections of the pool by state.");
    let mut max = gauge("db_client_connection_max", "Most connections of the pool: pool_size.");
    let mut idle_max = gauge(
        "db_client_connection_idle_max",
        "Most idle connections: all that the pool may have may be idle.",
    );
    let mut pending =
        gauge("db_client_connection_pending_requests", "Clients that wait for a connection of the pool.");
    let mut timeouts = Family::new(
        Kind::Counter,
        "db_client_connection_timeouts_total",
        "Clients that waited for a connection of the pool until their limit was over.",
    );
    let mut wait = histogram(
        "db_client_connection_wait_time_seconds",
        "How long clients waited for the connection they were given.",
    );
    let mut used = histogram(
        "db_client_connection_use_time_seconds",
        "How long clients kept a connection: estimated, of holds under 0.1 s one in 64 is looked at and counts 64 times; \
         nothing with ledger = off.",
    );
    for pool in pools {
        let (counts, size) = (&pool.counts, u64::from(pool.size));
        let labels = || labels(pool);
        let state =
            |state: &str| [labels(), vec![("db_client_connection_state", state.to_string())]].concat();
        count.push(state("idle"), Value::Whole(u64::from(counts.idle + counts.used)));
        let in_use = u64::from(counts.held + counts.being_canceled + counts.tested);
        count.push(state("used"), Value::Whole(in_use));
        max.push(labels(), Value::Whole(size));
        idle_max.push(labels(), Value::Whole(size));
        pending.push(labels(), Value::Whole(counts.waiting.into()));
        timeouts.push(labels(), Value::Whole(pool.times.timeouts));
        wait.push(labels(), Value::Times(pool.times.waits));
        used.push(labels(), Value::Times(pool.times.uses));
    }
    vec![count, max, idle_max, pending, timeouts, wait, used]
}

fn gauge(name: &str, help: &'static str) -> Family {
    Family::new(Kind::Gauge, name, help)
}

fn histogram(name: &str, help: &'static str) -> Family {
    Family::new(Kind::Histogram, name, help)
}

/// `database/user`, a backslash before each slash and backslash of the two: of no two pools it is the same.
pub(super) fn pool_name(database: &str, role: &str) -> String {
    let escaped = |part: &str| part.replace('\\', r"\\").replace('/', r"\/");
    format!("{}/{}", escaped(database), escaped(role))
}

fn labels(pool: &PoolFigures) -> Labels {
    vec![("db_client_connection_pool_name", pool_name(&pool.database, &pool.role))]
}
