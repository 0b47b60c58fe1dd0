//! What pgbouncer_exporter (prometheus-community) would say of this console: the same SHOW tables by its names, so that
//! its dashboards and alert rules go on working.
//!
//! Names and columns: its README and its mapping, at 0.11 and 0.12. Since 0.11 it reads `SHOW STATS_TOTALS`, and what was
//! `pgbouncer_stats_…` is `pgbouncer_stats_totals_…`; both are here.

use super::exposition::{Family, Kind, Labels, Value};
use crate::show::{self, Scene};
use crate::table::{Row, Table};

/// Most rows of a table that are shown.
const ROWS_MAX: usize = 1000;

/// A column and what becomes of it.
struct Mapped {
    column: &'static str,
    name: &'static str,
    kind: Kind,
    /// Microseconds become seconds.
    unit: Unit,
    help: &'static str,
}

/// What a column counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    AsItIs,
    Microseconds,
}

const fn gauge(column: &'static str, name: &'static str, help: &'static str) -> Mapped {
    Mapped { column, name, kind: Kind::Gauge, unit: Unit::AsItIs, help }
}

const fn counter(column: &'static str, name: &'static str, help: &'static str) -> Mapped {
    Mapped { column, name, kind: Kind::Counter, unit: Unit::AsItIs, help }
}

const fn time(column: &'static str, name: &'static str, help: &'static str) -> Mapped {
    Mapped { column, name, kind: Kind::Counter, unit: Unit::Microseconds, help }
}

const DATABASE_LABELS: &[&str] = &["name", "host", "port", "database", "force_user", "pool_mode"];

const DATABASES: &[Mapped] = &[
    gauge("pool_size", "pool_size", "pool_size of SHOW DATABASES."),
    gauge("reserve_pool_size", "reserve_pool", "reserve_pool_size of SHOW DATABASES."),
    gauge("max_connections", "max_connections", "Most server connections of the database; 0: no limit."),
    gauge("current_connections", "current_connections", "Server connections of the database."),
    gauge("paused", "paused", "1 if the database is paused."),
    gauge("disabled", "disabled", "1 if the database is disabled."),
];

const POOLS: &[Mapped] = &[
    gauge(
        "cl_active",
        "client_active_connections",
        "Clients that are linked to a server connection or idle.",
    ),
    gauge("cl_active_cancel_req", "client_active_cancel_connections", "Cancel requests being carried out."),
    gauge("cl_waiting", "client_waiting_connections", "Clients that wait for a server connection."),
    gauge("cl_waiting_cancel_req", "client_waiting_cancel_connections", "Cancel requests that wait."),
    gauge("sv_active", "server_active_connections", "Server connections that a client has."),
    gauge("sv_active_cancel", "server_active_cancel_connections", "Connections that carry a cancel request."),
    gauge(
        "sv_being_canceled",
        "server_being_canceled_connections",
        "Server connections that wait until cancel requests for them are over.",
    ),
    gauge("sv_idle", "server_idle_connections", "Server connections that are free."),
    gauge("sv_used", "server_used_connections", "Server connections that are free and due for a check."),
    gauge("sv_tested", "server_testing_connections", "Server connections being cleaned or checked."),
    gauge("sv_login", "server_login_connections", "Server connections being opened."),
    gauge("maxwait", "client_maxwait_seconds", "Age of the oldest wait, whole seconds."),
];

const STATS: &[Mapped] = &[
    counter("server_assignment_count", "server_assignments_total", "Server connections given to clients."),
    counter("query_count", "queries_pooled_total", "Queries."),
    time("query_time", "queries_duration_seconds_total", "Time in queries."),
    counter("bytes_received", "received_bytes_total", "Bytes from clients."),
    counter("bytes_sent", "sent_bytes_total", "Bytes to clients."),
    time("wait_time", "client_wait_seconds_total", "Time for which clients waited for a server connection."),
    counter("xact_count", "sql_transactions_pooled_total", "Transactions."),
    time("xact_time", "server_in_transaction_seconds_total", "Time in transactions."),
    counter("client_parse_count", "client_parses_total", "Parse messages of clients for named statements."),
    counter("server_parse_count", "server_parses_total", "Parse messages to servers for named statements."),
    counter("bind_count", "binds_total", "Bind messages for named statements."),
];

/// What it had of these up to 0.10.
const OLD_STATS: &[&str] = &[
    "queries_pooled_total",
    "queries_duration_seconds_total",
    "received_bytes_total",
    "sent_bytes_total",
    "client_wait_seconds_total",
    "sql_transactions_pooled_total",
    "server_in_transaction_seconds_total",
];

/// A line of SHOW LISTS and its name.
const LISTS: &[(&str, &str, &str)] = &[
    ("databases", "pgbouncer_databases", "Databases, the console included."),
    ("users", "pgbouncer_users", "Users."),
    ("pools", "pgbouncer_pools", "Pools, the console's included."),
    ("free_clients", "pgbouncer_free_clients", "0: there is no such list."),
    ("used_clients", "pgbouncer_used_clients", "Clients that are logged in."),
    ("login_clients", "pgbouncer_login_clients", "Clients that are logging in."),
    ("free_servers", "pgbouncer_free_servers", "0: there is no such list."),
    ("used_servers", "pgbouncer_used_servers", "Server connections."),
    ("dns_names", "pgbouncer_cached_dns_names", "Host names that are looked up."),
    ("dns_zones", "pgbouncer_cached_dns_zones", "0: there is no such list."),
    ("dns_queries", "pgbouncer_in_flight_dns_queries", "Host names being looked up."),
];

/// A line of SHOW CONFIG and its name.
const CONFIG: &[(&str, &str, &str)] = &[
    ("max_client_conn", "pgbouncer_config_max_client_connections", "max_client_conn in force."),
    (
        "max_user_connections",
        "pgbouncer_config_max_user_connections",
        "max_user_connections in force: most server connections of one user; 0: no limit.",
    ),
];

/// All of them, and how many rows of the tables were too many.
pub(super) fn families(scene: &Scene<'_>) -> (Vec<Family>, usize) {
    let mut out = vec![Family::one(Kind::Gauge, "pgbouncer_up", "1: the pooler answers.", Value::Whole(1))];
    let mut left_out = 0;
    if let Some(table) = show::find("version", scene) {
        let mut family = Family::new(Kind::Gauge, "pgbouncer_version_info", "What SHOW VERSION says.");
        let versions = table.rows.iter().filter_map(|row| cell(row, 0));
        versions.for_each(|version| family.push(vec![("version", version.to_string())], Value::Whole(1)));
        out.push(family);
    }
    out.extend(lines(scene, "lists", LISTS));
    out.extend(lines(scene, "config", CONFIG));
    for (show, prefix, labels, columns) in [
        ("databases", "pgbouncer_databases_", DATABASE_LABELS, DATABASES),
        ("pools", "pgbouncer_pools_", &["database", "user"], POOLS),
        ("stats_totals", "pgbouncer_stats_totals_", &["database"], STATS),
        ("stats_totals", "pgbouncer_stats_", &["database"], STATS),
    ] {
        let Some(mut table) = show::find(show, scene) else { continue };
        left_out += table.rows.len().saturating_sub(ROWS_MAX);
        table.rows.truncate(ROWS_MAX);
        let old = prefix == "pgbouncer_stats_";
        let columns = columns.iter().filter(|mapped| !old || OLD_STATS.contains(&mapped.name));
        out.extend(columns.map(|mapped| family(&table, prefix, labels, mapped)));
    }
    (out, left_out)
}

fn family(table: &Table, prefix: &str, labels: &[&'static str], mapped: &Mapped) -> Family {
    let mut family = Family::new(mapped.kind, format!("{prefix}{}", mapped.name), mapped.help);
    let at = |name: &str| table.columns.iter().position(|column| column.name == name);
    let Some(column) = at(mapped.column) else { return family };
    for row in &table.rows {
        let label = |name: &&'static str| {
            // NULL is an empty label, as there.
            let text = at(name).and_then(|column| cell(row, column)).unwrap_or_default();
            (*name, text.to_string())
        };
        let Some(number) = cell(row, column).and_then(|text| text.parse::<u64>().ok()) else { continue };
        let value = match mapped.unit {
            Unit::AsItIs => Value::Whole(number),
            // By the same arithmetic, so that it is the same number to the last digit.
            Unit::Microseconds => Value::Real(number as f64 * 1e-6),
        };
        let labels: Labels = labels.iter().map(label).collect();
        family.push(labels, value);
    }
    family
}

/// Of a table of names and values.
fn lines(scene: &Scene<'_>, show: &str, wanted: &[(&str, &'static str, &'static str)]) -> Vec<Family> {
    let Some(table) = show::find(show, scene) else { return Vec::new() };
    let family = |(line, name, help): &(&str, &'static str, &'static str)| {
        let row = table.rows.iter().find(|row| cell(row, 0) == Some(line))?;
        let number = cell(row, 1)?.parse().ok()?;
        Some(Family::one(Kind::Gauge, name, help, Value::Whole(number)))
    };
    wanted.iter().filter_map(family).collect()
}

fn cell(row: &Row, column: usize) -> Option<&str> {
    row.get(column)?.as_deref()
}
