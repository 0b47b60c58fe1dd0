//! The contract of a drop-in for its figures: statistics, averages, memory, names (reference 2 and 3.8): see
//! `conformance.rs`.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::contract::{against_others, house, line, listed};
use common::{SOON, wait_for_pool};
use plimsoll_testkit::{Batch, Client, Plimsoll, Table, eventually};

/// A cell of the row of `p0`.
#[track_caller]
fn of_p0(table: &Table, column: &str) -> u64 {
    table.number(table.find(&[("database", "p0")]).unwrap(), column)
}

#[track_caller]
fn total(totals: &Table, name: &str) -> u64 {
    totals.number(totals.find(&[("name", name)]).unwrap_or_else(|| panic!("no {name}")), "value")
}

/// Waits for the next line of statistics: a period begins.
fn next_period(plimsoll: &Plimsoll) -> String {
    plimsoll.wait_for_log_since(plimsoll.log_mark(), " LOG stats: ", SOON)
}

#[test]
fn bytes_are_those_of_the_wire() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    let (mut received, mut sent) = (0, 0);
    for batch in [
        Batch::new().query("SELECT 1"),
        Batch::new().query("SELECT repeat('x', 100000)"),
        Batch::new().parse("", "SELECT $1::text").bind("", "", &[Some("x")]).execute("", 0).sync(),
        Batch::new().query("SELECT nonsense"),
    ] {
        let answer = client.run(&batch);
        received += batch.bytes().len();
        sent += answer.iter().map(|message| message.bytes().len()).sum::<usize>();
    }
    let stats = plimsoll.show("STATS_TOTALS");
    let seen = (of_p0(&stats, "bytes_received"), of_p0(&stats, "bytes_sent"));
    assert_eq!(seen, (received as u64, sent as u64));
    // The same in the other tables; the console itself has no bytes.
    let (all, totals) = (plimsoll.show("STATS"), plimsoll.show("TOTALS"));
    assert_eq!((of_p0(&all, "total_received"), of_p0(&all, "total_sent")), seen);
    assert_eq!((total(&totals, "total_client_bytes"), total(&totals, "total_server_bytes")), seen);
}

#[test]
fn times_are_in_microseconds() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    client.query("SELECT pg_sleep(0.2)");
    client.query("SELECT pg_sleep(0.2)");
    client.query("COMMIT");
    let stats = plimsoll.show("STATS_TOTALS");
    let (query, transaction) = (of_p0(&stats, "query_time"), of_p0(&stats, "xact_time"));
    assert!((400_000..5_000_000).contains(&query), "{query}");
    assert!(transaction >= query && transaction < 5_000_000, "{transaction} {query}");
    assert_eq!((of_p0(&stats, "xact_count"), of_p0(&stats, "query_count")), (1, 4));
}

#[test]
fn averages_are_those_of_the_last_period() {
    let (_postgres, plimsoll) = house(|ini| ini.set("stats_period", "2").set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    next_period(&plimsoll);
    for _ in 0..20 {
        client.query("SELECT pg_sleep(0.01)");
    }
    let line = next_period(&plimsoll);
    let stats = plimsoll.show("STATS");
    // Per second, and cut to whole numbers.
    for (column, wanted) in [("avg_query_count", 8..=10), ("avg_xact_count", 8..=10)] {
        assert!(wanted.contains(&of_p0(&stats, column)), "{column}: {}", of_p0(&stats, column));
    }
    // Per query and per transaction.
    for column in ["avg_query_time", "avg_xact_time"] {
        assert!((10_000..200_000).contains(&of_p0(&stats, column)), "{column}: {}", of_p0(&stats, column));
    }
    let averages = plimsoll.show("STATS_AVERAGES");
    for (own, other) in [
        ("query_count", "avg_query_count"),
        ("xact_time", "avg_xact_time"),
        ("bytes_sent", "avg_sent"),
        ("bytes_received", "avg_recv"),
    ] {
        // PgBouncer's move a little between two looks.
        let (one, two) = (of_p0(&averages, own), of_p0(&stats, other));
        assert!(one > 0 && one.abs_diff(two) <= two / 10, "{own}: {one} {two}");
    }
    assert!(line.contains(" xacts/s, ") && line.contains(" queries/s, "), "{line}");
    assert!(line.contains(" B/s, out ") && line.contains(" us, wait ") && line.ends_with(" us"), "{line}");
    // Nothing happened since: all is zero but the totals.
    next_period(&plimsoll);
    let stats = plimsoll.show("STATS");
    for column in ["avg_query_count", "avg_xact_count", "avg_query_time", "avg_recv", "avg_sent"] {
        assert_eq!(of_p0(&stats, column), 0, "{column}");
    }
    assert_eq!(of_p0(&stats, "total_query_count"), 21);
}

#[test]
fn lines_that_are_switched_off_are_not_written() {
    let (_postgres, plimsoll) = house(|ini| {
        let quiet = ["log_connections", "log_disconnections", "log_pooler_errors", "log_stats"];
        quiet.into_iter().fold(ini.set("stats_period", "1"), |ini, key| ini.set(key, "0"))
    });
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    client.leave();
    plimsoll.login("nobody", "p0").refusal();
    // A period is over when an average moves.
    let mut client = plimsoll.client("app", "p0");
    eventually("a period to end", SOON, || {
        client.query("SELECT 1");
        of_p0(&plimsoll.show("STATS"), "avg_query_count") > 0
    });
    let log = plimsoll.log();
    for words in ["login attempt", "new connection to server", "closing because", "pooler error", "stats: "] {
        assert!(!log.contains(words), "{words}: {log}");
    }
    // Each can be switched on while it runs.
    let mark = plimsoll.log_mark();
    plimsoll.console().query("SET log_stats = 1");
    plimsoll.wait_for_log_since(mark, " LOG stats: ", SOON);
}

/// 1.18 has neither column.
#[test]
fn modern_assignments_and_logins_are_counted() {
    let postgres = plimsoll_testkit::Postgres::start();
    let session = format!("{} pool_mode=session", line(&postgres, "p1"));
    let plimsoll = common::contract::start(plimsoll_testkit::Ini::new(&postgres).database("p1", &session));
    let counted = |database: &str| {
        let stats = plimsoll.show("STATS_TOTALS");
        let row = stats.find(&[("database", database)]).unwrap();
        ["server_assignment_count", "client_login_count"].map(|name| stats.number(row, name))
    };
    let (mut one, mut other) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p1"));
    let before = counted("p0")[0];
    for client in [&mut one, &mut other] {
        for _ in 0..3 {
            client.query("SELECT 1");
        }
    }
    assert_eq!(counted("p0"), [before + 3, 1]);
    // A session is one assignment.
    other.leave();
    let mut other = plimsoll.client("app", "p1");
    let before = counted("p1")[0];
    other.query("SELECT 1");
    other.query("SELECT 1");
    assert_eq!(counted("p1"), [before + 1, 2]);
    // A login that fails is none.
    plimsoll.login("nobody", "p0").refusal();
    assert_eq!(counted("p0")[1], 1);
}

#[test]
fn memory_is_told_by_kind() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let used = |name: &str| {
        let memory = plimsoll.show("MEM");
        memory.number(memory.find(&[("name", name)]).unwrap_or_else(|| panic!("no {name}")), "used")
    };
    let before = used("client_cache");
    let mut clients: Vec<Client> = (0..3).map(|_| plimsoll.client("app", "p0")).collect();
    assert_eq!(used("client_cache"), before + 3);
    clients[0].query("SELECT 1");
    assert_eq!((used("server_cache"), used("db_cache")), (1, 4));
    let memory = plimsoll.show("MEM");
    for row in 0..memory.rows.len() {
        let [size, used, free, all] =
            ["size", "used", "free", "memtotal"].map(|column| memory.number(row, column));
        assert!(size > 0 && all >= size * used, "{:?}: {free}", memory.rows[row]);
    }
    for name in ["user_cache", "pool_cache", "iobuf_cache"] {
        used(name);
    }
}

#[test]
fn names_that_were_looked_up_are_told() {
    let (postgres, plimsoll) = house(|ini| ini);
    let named = format!("host=localhost port={} dbname=p0", postgres.port());
    let ini = plimsoll_testkit::Ini::new(&postgres).database("named", &named);
    plimsoll.reload(&if against_others() { ini } else { ini.own("compat", "pgbouncer") });
    let mut client = plimsoll.client("app", "named");
    client.query("SELECT 1");
    let hosts = plimsoll.show("DNS_HOSTS");
    let row = hosts.find(&[("hostname", "localhost")]).unwrap();
    assert!(hosts.number(row, "ttl") <= 15);
    let addresses: Vec<&str> = hosts.cell(row, "addrs").split(',').collect();
    assert!(addresses.contains(&"127.0.0.1:0"), "{addresses:?}");
    assert_eq!((listed(&plimsoll, "dns_names"), listed(&plimsoll, "dns_zones")), (1, 0));
    assert!(plimsoll.show("DNS_ZONES").rows.is_empty());
    let databases = plimsoll.show("DATABASES");
    let row = databases.find(&[("name", "named")]).unwrap();
    assert_eq!(databases.cell(row, "host"), "localhost");
}

#[test]
fn waits_are_told_in_seconds_and_the_rest_of_them() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let (mut holder, mut waiting) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p0"));
    holder.query("BEGIN");
    waiting.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    wait_for_pool(&plimsoll, "p0", &[("cl_active", 1), ("cl_waiting", 1), ("sv_active", 1)]);
    let mut console = plimsoll.console();
    eventually("a second of waiting", SOON, || {
        let pools = console.query("SHOW POOLS");
        pools.number(pools.find(&[("database", "p0")]).unwrap(), "maxwait") == 1
    });
    let clients = console.query("SHOW CLIENTS");
    let row = clients.find(&[("database", "p0"), ("state", "waiting")]).unwrap();
    assert!((1..3).contains(&clients.number(row, "wait")) && clients.number(row, "wait_us") < 1_000_000);
    assert_eq!(clients.cell(row, "link"), "");
    holder.query("COMMIT");
    waiting.cycle().unwrap();
    wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 0), ("sv_idle", 1), ("maxwait", 0), ("maxwait_us", 0)]);
    let waited = of_p0(&plimsoll.show("STATS_TOTALS"), "wait_time");
    assert!(waited >= Duration::from_secs(1).as_micros() as u64, "{waited}");
}
