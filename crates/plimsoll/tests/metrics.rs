//! `/metrics`: what Prometheus reads, with a real PostgreSQL behind it.

#![allow(clippy::unwrap_used)]

mod common;
mod scrape;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{SOON, wait_for_pool};
use plimsoll_testkit::{Batch, Client, Ini, Plimsoll, Table, eventually, eventually_ok};
use scrape::{House, house, run, scrape, scrape_open, script, series, sum};

fn app(plimsoll: &Plimsoll, name: &str) -> Client {
    plimsoll.login("app", "p0").parameter("application_name", name).client()
}

/// A pooler with one hold in a transaction, by an application whose name is hard to write down.
fn busy() -> (House, Client) {
    let house = house(|ini| ini.own("target_budget", "30"));
    let mut client = app(&house.plimsoll, "a\\b\"c{d=\"e\"} ü");
    client.query("BEGIN /*route='/cart'*/");
    client.query("SELECT 1");
    (house, client)
}

#[test]
fn prometheus_own_client_reads_both_formats() {
    let (house, client) = busy();
    let (text, open) = (scrape(house.port), scrape_open(house.port));
    assert!(open.ends_with("# EOF\n"));
    let Some(mut parse) = script("parse.py") else { return };
    for (name, answer) in [("text", &text), ("open", &open)] {
        let path = house.plimsoll.dir().join(name);
        std::fs::write(&path, answer).unwrap();
        parse.arg(path);
    }
    let said = run(parse);
    for family in [
        "gauge plimsoll_holds 1",
        "gauge plimsoll_application_holds 1",
        "gauge db_client_connection_count 2",
        "histogram db_client_connection_wait_time_seconds 16",
        "counter db_client_connection_timeouts 1",
        "gauge pgbouncer_up 1",
        "counter process_cpu_seconds 1",
    ] {
        assert!(said.lines().any(|line| line == family), "{family} is not in\n{said}");
    }
    client.leave();
}

/// An example of `docs/examples`.
fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples").join(name)
}

/// What the example's script says of it, with the figures of a busy pooler.
#[track_caller]
fn held_against_a_scrape(house: &House, mut check: Command, example: &Path, rare: &[&str]) -> String {
    let metrics = house.plimsoll.dir().join("metrics");
    eventually("the site of the hold", SOON, || scrape(house.port).contains("plimsoll_site_holds{"));
    std::fs::write(&metrics, scrape(house.port)).unwrap();
    check.arg(example).arg(metrics).args(rare);
    run(check)
}

#[test]
fn every_metric_of_the_alert_rules_is_there() {
    let (house, client) = busy();
    let Some(check) = script("alerts.py") else { return };
    let said = held_against_a_scrape(&house, check, &example("plimsoll-alerts.yml"), &[]);
    assert!(said.lines().count() >= 10, "{said}");
    client.leave();
}

#[test]
fn every_metric_of_the_dashboard_is_there() {
    let (house, client) = busy();
    let Some(check) = script("dashboard.py") else { return };
    // What is there with a control_user only, and while something rises.
    let rare = [
        "plimsoll_target_foreign_sessions",
        "plimsoll_target_unseen_connections",
        "plimsoll_client_connections_full_seconds",
        "plimsoll_trend_connections_per_hour",
        "plimsoll_trend_exhaustion_seconds",
    ];
    let said = held_against_a_scrape(&house, check, &example("plimsoll-dashboard.json"), &rare);
    assert!(said.lines().count() >= 20, "{said}");
    client.leave();
}

#[test]
fn a_leak_that_others_wait_for_is_seen_by_what_it_is() {
    let house = house(|ini| {
        let ini =
            ini.set("pool_mode", "session").set("default_pool_size", "2").set("query_wait_timeout", "8");
        ini.own("leak_idle_threshold", "1s")
    });
    let mut leaked: Vec<Client> = (0..2).map(|_| app(&house.plimsoll, "orders-api")).collect();
    for client in &mut leaked {
        client.query("SELECT 42 /*action='export'*/");
    }
    let mut victim = app(&house.plimsoll, "checkout");
    victim.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    let text = eventually_ok("two leaks", SOON, || {
        let text = scrape(house.port);
        let leaks = sum(&text, "plimsoll_holds", &[r#"verdict="leak""#, r#"state="idle in session""#]);
        if leaks == 2.0 { Ok(text) } else { Err(format!("{leaks} leaks")) }
    });
    let of = |name: &str, parts: &[&str]| sum(&text, name, parts);
    assert_eq!(of("plimsoll_sites", &["leak"]), 1.0);
    assert_eq!(of("plimsoll_site_suspected_holds", &["orders-api action=export"]), 2.0);
    assert_eq!(of("plimsoll_application_holds", &["orders-api"]), 2.0);
    assert_eq!(of("plimsoll_application_waiting_clients", &["checkout"]), 1.0);
    assert_eq!(of("plimsoll_pool_waiting_clients", &[r#"database="p0""#]), 1.0);
    assert_eq!(of("plimsoll_pool_size", &[r#"database="p0""#]), 2.0);
    assert_eq!(of("db_client_connection_pending_requests", &["p0/app"]), 1.0);
    assert_eq!(of("db_client_connection_count", &["p0/app", "used"]), 2.0);
    let (hold, idle) =
        (of("plimsoll_pool_oldest_hold_seconds", &[]), of("plimsoll_pool_oldest_idle_hold_seconds", &[]));
    assert!(
        hold >= idle && idle > 1.0 && of("plimsoll_pool_oldest_wait_seconds", &[]) > 0.0,
        "{hold} {idle}"
    );
    assert!(!text.contains("SELECT"), "no statement is in a label");
    // The one that waits gives up, and is counted.
    victim.expect_closed();
    eventually("a timeout", SOON, || {
        sum(&scrape(house.port), "db_client_connection_timeouts_total", &["p0/app"]) == 1.0
    });
    drop(leaked);
    wait_for_pool(&house.plimsoll, "p0", &[("sv_active", 0)]);
    let text = eventually_ok("both holds have ended", SOON, || {
        let text = scrape(house.port);
        let used = sum(&text, "db_client_connection_use_time_seconds_count", &["p0/app"]);
        if used == 2.0 { Ok(text) } else { Err(format!("{used} uses")) }
    });
    assert!(sum(&text, "db_client_connection_use_time_seconds_sum", &["p0/app"]) > 2.0);
    // What is being cleaned after them is among the holds, too, as in SHOW HOLDS.
    eventually("no hold", SOON, || sum(&scrape(house.port), "plimsoll_holds", &[]) == 0.0);
}

#[test]
fn waits_are_counted_by_their_length() {
    let house = house(|ini| ini.set("default_pool_size", "1"));
    let (mut one, mut other) = (app(&house.plimsoll, "one"), app(&house.plimsoll, "other"));
    one.query("BEGIN");
    other.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    eventually("one waits long enough", SOON, || {
        sum(&scrape(house.port), "plimsoll_pool_oldest_wait_seconds", &[r#"database="p0""#]) > 0.1
    });
    one.query("COMMIT");
    other.cycle().unwrap();
    let text = eventually_ok("two waits", SOON, || {
        let text = scrape(house.port);
        let waits = sum(&text, "db_client_connection_wait_time_seconds_count", &["p0/app"]);
        if waits >= 2.0 { Ok(text) } else { Err(format!("{waits}")) }
    });
    let upto = |end: &str| {
        sum(&text, "db_client_connection_wait_time_seconds_bucket", &["p0/app", &format!("le=\"{end}\"")])
    };
    assert_eq!((upto("0.0005"), upto("0.1"), upto("+Inf")), (1.0, 1.0, 2.0));
    let waited = sum(&text, "db_client_connection_wait_time_seconds_sum", &["p0/app"]);
    assert!(waited > 0.1 && waited < 60.0, "{waited}");
}

/// What pgbouncer_exporter (prometheus-community, 0.11) makes of a column, by its mapping: SHOW command, labels, prefix,
/// and for each column its name and factor.
type Mapping =
    (&'static str, &'static [&'static str], &'static str, &'static [(&'static str, &'static str, f64)]);

const EXPORTER: &[Mapping] = &[
    (
        "DATABASES",
        &["name", "host", "port", "database", "force_user", "pool_mode"],
        "pgbouncer_databases_",
        &[
            ("pool_size", "pool_size", 1.0),
            ("reserve_pool_size", "reserve_pool", 1.0),
            ("max_connections", "max_connections", 1.0),
            ("current_connections", "current_connections", 1.0),
            ("paused", "paused", 1.0),
            ("disabled", "disabled", 1.0),
        ],
    ),
    (
        "POOLS",
        &["database", "user"],
        "pgbouncer_pools_",
        &[
            ("cl_active", "client_active_connections", 1.0),
            ("cl_active_cancel_req", "client_active_cancel_connections", 1.0),
            ("cl_waiting", "client_waiting_connections", 1.0),
            ("cl_waiting_cancel_req", "client_waiting_cancel_connections", 1.0),
            ("sv_active", "server_active_connections", 1.0),
            ("sv_active_cancel", "server_active_cancel_connections", 1.0),
            ("sv_being_canceled", "server_being_canceled_connections", 1.0),
            ("sv_idle", "server_idle_connections", 1.0),
            ("sv_used", "server_used_connections", 1.0),
            ("sv_tested", "server_testing_connections", 1.0),
            ("sv_login", "server_login_connections", 1.0),
            ("maxwait", "client_maxwait_seconds", 1.0),
        ],
    ),
    (
        "STATS_TOTALS",
        &["database"],
        "pgbouncer_stats_totals_",
        &[
            ("server_assignment_count", "server_assignments_total", 1.0),
            ("query_count", "queries_pooled_total", 1.0),
            ("query_time", "queries_duration_seconds_total", 1e-6),
            ("bytes_received", "received_bytes_total", 1.0),
            ("bytes_sent", "sent_bytes_total", 1.0),
            ("wait_time", "client_wait_seconds_total", 1e-6),
            ("xact_count", "sql_transactions_pooled_total", 1.0),
            ("xact_time", "server_in_transaction_seconds_total", 1e-6),
            ("client_parse_count", "client_parses_total", 1.0),
            ("server_parse_count", "server_parses_total", 1.0),
            ("bind_count", "binds_total", 1.0),
        ],
    ),
    // Up to 0.10 it read this table.
    (
        "STATS",
        &["database"],
        "pgbouncer_stats_",
        &[
            ("total_query_count", "queries_pooled_total", 1.0),
            ("total_query_time", "queries_duration_seconds_total", 1e-6),
            ("total_received", "received_bytes_total", 1.0),
            ("total_sent", "sent_bytes_total", 1.0),
            ("total_wait_time", "client_wait_seconds_total", 1e-6),
            ("total_xact_count", "sql_transactions_pooled_total", 1.0),
            ("total_xact_time", "server_in_transaction_seconds_total", 1e-6),
        ],
    ),
];

/// The same for tables of names and values.
const EXPORTER_LINES: &[(&str, &[(&str, &str)])] = &[
    (
        "LISTS",
        &[
            ("databases", "pgbouncer_databases"),
            ("users", "pgbouncer_users"),
            ("pools", "pgbouncer_pools"),
            ("free_clients", "pgbouncer_free_clients"),
            ("used_clients", "pgbouncer_used_clients"),
            ("login_clients", "pgbouncer_login_clients"),
            ("free_servers", "pgbouncer_free_servers"),
            ("used_servers", "pgbouncer_used_servers"),
            ("dns_names", "pgbouncer_cached_dns_names"),
            ("dns_zones", "pgbouncer_cached_dns_zones"),
            ("dns_queries", "pgbouncer_in_flight_dns_queries"),
        ],
    ),
    (
        "CONFIG",
        &[
            ("max_client_conn", "pgbouncer_config_max_client_connections"),
            ("max_user_connections", "pgbouncer_config_max_user_connections"),
        ],
    ),
];

/// What the exporter would answer, asking over this connection.
fn exporters_answer(console: &mut Client) -> BTreeMap<String, f64> {
    let mut out = BTreeMap::from([("pgbouncer_up".to_string(), 1.0)]);
    let version = console.query("SHOW VERSION");
    out.insert(format!("pgbouncer_version_info{{version=\"{}\"}}", version.cell(0, "version")), 1.0);
    for (show, labels, prefix, columns) in EXPORTER {
        let table = console.query(&format!("SHOW {show}"));
        for row in 0..table.rows.len() {
            let cell = |label: &&str| format!("{label}=\"{}\"", cell_or_nothing(&table, row, label));
            let labels: Vec<String> = labels.iter().map(cell).collect();
            for (column, name, factor) in *columns {
                let value = table.number(row, column) as f64 * factor;
                out.insert(format!("{prefix}{name}{{{}}}", labels.join(",")), value);
            }
        }
    }
    for (show, lines) in EXPORTER_LINES {
        let table = console.query(&format!("SHOW {show}"));
        for (line, name) in *lines {
            let key = table.columns[0].0.clone();
            let row = table.find(&[(&key, line)]).unwrap_or_else(|| panic!("{line} in SHOW {show}"));
            out.insert((*name).to_string(), table.rows[row][1].as_ref().unwrap().parse().unwrap());
        }
    }
    out
}

fn cell_or_nothing(table: &Table, row: usize, column: &str) -> String {
    let at = table.columns.iter().position(|(known, _)| known == column).expect("the column");
    table.rows[row][at].clone().unwrap_or_default()
}

#[test]
fn pgbouncer_exporters_names_have_the_values_it_reads_from_the_console() {
    for shape in ["plimsoll", "pgbouncer"] {
        let house =
            house(|ini| ini.own("compat", shape).database("shut", "host=127.0.0.1 port=1 dbname=x user=app"));
        let mut console = house.plimsoll.console();
        house.plimsoll.still_works(&["p0", "p1"]);
        let mut client = app(&house.plimsoll, "shop");
        client.value_extended("SELECT $1::int + 1", &[Some("41")]);
        client.query("BEGIN");
        console.query("PAUSE p2");
        // What the console counts of itself grows with each question of this test.
        let steady = |all: BTreeMap<String, f64>| -> BTreeMap<String, f64> {
            let is_steady =
                |name: &str| !(name.contains("_stats_") && name.contains("database=\"pgbouncer\""));
            all.into_iter().filter(|(name, _)| is_steady(name)).collect()
        };
        // A server connection may change its state between the tables.
        eventually_ok("the same answer as the exporter's", SOON, || {
            let wanted = steady(exporters_answer(&mut console));
            let found =
                series(&scrape(house.port)).into_iter().filter(|(name, _)| name.starts_with("pgbouncer_"));
            let found = steady(found.collect());
            if found == wanted {
                return Ok(());
            }
            let differ = |(name, value): &(&String, &f64)| found.get(*name) != Some(*value);
            let differences: Vec<_> = wanted.iter().filter(differ).take(5).collect();
            let strange: Vec<_> = found.keys().filter(|name| !wanted.contains_key(*name)).take(5).collect();
            Err(format!("{differences:?}; not known to it: {strange:?}"))
        });
        client.leave();
    }
}

/// All counters of an answer: whatever Prometheus takes the rate of.
fn counters(text: &str) -> BTreeMap<String, f64> {
    let is_counter = |name: &str| {
        let family = name.split('{').next().unwrap_or(name);
        ["_total", "_bucket", "_sum", "_count"].iter().any(|end| family.ends_with(end))
            && family != "db_client_connection_count"
    };
    series(text).into_iter().filter(|(name, _)| is_counter(name)).collect()
}

#[test]
fn counters_never_fall_whatever_is_done_to_the_pools() {
    let house = house(|ini| ini.set("default_pool_size", "2").set("server_idle_timeout", "1"));
    let mut console = house.plimsoll.console();
    let mut last: BTreeMap<String, f64> = BTreeMap::new();
    for round in 0..30 {
        let mut clients: Vec<Client> = (0..4).map(|_| app(&house.plimsoll, "shop")).collect();
        for client in &mut clients {
            client.query("SELECT 1");
        }
        match round % 5 {
            0 => drop(console.query("RELOAD")),
            1 => drop(console.query("RECONNECT")),
            2 => {
                console.query("KILL p0");
                console.query("RESUME p0");
            }
            _ => clients.into_iter().for_each(Client::leave),
        }
        let now = counters(&scrape(house.port));
        for (name, before) in &last {
            assert!(
                now.get(name).is_some_and(|value| value >= before),
                "{name}: {before}, then {:?}",
                now.get(name)
            );
        }
        last = now;
    }
    eventually("all waits of all lives of the pool", SOON, || {
        sum(&scrape(house.port), "db_client_connection_wait_time_seconds_count", &["p0/app"]) == 120.0
    });
}

#[test]
fn a_pool_that_went_and_came_back_goes_on_counting() {
    let house = house(|ini| ini.set("pool_idle_timeout", "1").set("server_idle_timeout", "1"));
    let waits = || sum(&scrape(house.port), "db_client_connection_wait_time_seconds_count", &["p0/app"]);
    house.plimsoll.still_works(&["p0"; 3]);
    eventually("three holds", SOON, || waits() == 3.0);
    house.plimsoll.wait_for_log("cleaning up idle pool for user app on db p0", SOON);
    eventually("no pool", SOON, || !scrape(house.port).contains("p0/app"));
    house.plimsoll.still_works(&["p0"]);
    eventually("four holds", SOON, || waits() == 4.0);
}

/// Soft limit of open files of this process.
fn files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX)
}

#[test]
fn nine_thousand_clients_of_as_many_applications_make_a_short_answer_soon() {
    let count = 9_000.min(files_max().saturating_sub(300));
    let house = house(|ini: Ini| ini.set("max_client_conn", "9100").own("target_budget", "30"));
    let few = scrape(house.port).len();
    let clients: Vec<Client> =
        (0..count).map(|n| app(&house.plimsoll, &format!("application-{n:05}"))).collect();
    // One of each format: the second of a format might be the first once more.
    let begun = Instant::now();
    let text = scrape(house.port);
    let took = begun.elapsed();
    scrape_open(house.port);
    let both = [took, begun.elapsed() - took];
    common::net::say(&format!("scrapes with {count} clients took {both:?}"));
    // A build for tests, on a machine that does other things: docs/metrics.md has figures.
    assert!(both.iter().all(|took| *took < Duration::from_secs(2)), "{both:?}");
    assert_eq!(sum(&text, "plimsoll_applications", &[]), count as f64);
    assert_eq!(sum(&text, "plimsoll_application_clients", &[]), count as f64);
    assert_eq!(text.matches("plimsoll_application_clients{").count(), 101);
    assert!(text.len() < few + 40_000, "{few} bytes, then {}", text.len());
    // Nobody is kept waiting by somebody who asks all the time.
    let port = house.port;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || (0..50).for_each(|_| drop(scrape(port))));
        }
        house.plimsoll.still_works(&["p0"; 50]);
    });
    drop(clients);
}
