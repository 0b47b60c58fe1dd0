//! The contract of a drop-in for whoever is on the console: see `conformance.rs`.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::SOON;
use common::contract::{fatal, house, says, value};
use plimsoll_testkit::{Batch, Ini, eventually_ok, tags};

#[test]
fn the_console_refuses_in_its_words() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    for (command, message) in [
        ("nonsense", "invalid command 'nonsense', use SHOW HELP;"),
        ("PAUSE nowhere", "no such database: nowhere"),
        ("KILL nowhere", "no such database: nowhere"),
        ("RECONNECT nowhere", "no such database: nowhere"),
        ("WAIT_CLOSE nowhere", "no such database: nowhere"),
        ("ENABLE nowhere", "no such database: nowhere"),
        ("DISABLE nowhere", "no such database: nowhere"),
        ("RESUME", "pooler is not paused/suspended"),
        ("RESUME p0", "database p0 is not paused"),
        ("DISABLE", "a database is required"),
        ("ENABLE", "a database is required"),
        ("PAUSE pgbouncer", "cannot pause admin db: pgbouncer"),
        ("KILL pgbouncer", "cannot kill admin db: pgbouncer"),
        ("DISABLE pgbouncer", "cannot disable admin db: pgbouncer"),
        ("RECONNECT pgbouncer", "cannot reconnect admin db: pgbouncer"),
        ("WAIT_CLOSE pgbouncer", "cannot wait in admin db: pgbouncer"),
        ("SET nope = 1", "SET failed"),
    ] {
        says(&console.fail(command), "ERROR", message);
    }
    assert_eq!(console.query("SHOW VERSION").rows.len(), 1);
    let mut stats = plimsoll.login("stats", "pgbouncer").client();
    assert_eq!(stats.query("SHOW LISTS").cell(0, "list"), "databases");
    for command in ["RELOAD", "PAUSE", "KILL p0", "SET verbose = 1", "SHUTDOWN"] {
        says(&stats.fail(command), "ERROR", "admin access needed");
    }
    fatal(&plimsoll.login("app", "pgbouncer").refusal(), "not allowed");
}

#[test]
fn commands_are_answered_with_their_words() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    for (command, tag) in [
        ("show version;", "SHOW"),
        ("Show Pools", "SHOW"),
        ("SET verbose = 1", "SET verbose=1"),
        ("set default_pool_size to 7", "SET default_pool_size=7"),
        ("SET server_lifetime = '99'", "SET server_lifetime=99"),
        ("PAUSE", "PAUSE"),
        ("RESUME", "RESUME"),
        ("PAUSE p0", "PAUSE"),
        ("RESUME p0", "RESUME"),
        ("DISABLE p1", "DISABLE"),
        ("ENABLE p1", "ENABLE"),
        ("RECONNECT", "RECONNECT"),
        ("WAIT_CLOSE", "WAIT_CLOSE"),
        ("SUSPEND", "SUSPEND"),
        ("RESUME", "RESUME"),
        ("KILL p1", "KILL"),
        ("RESUME p1", "RESUME"),
        ("RELOAD", "RELOAD"),
    ] {
        let messages = console.run(&Batch::new().query(command));
        let complete = messages.iter().find(|message| message.tag == b'C');
        let complete = complete.unwrap_or_else(|| panic!("{command}: {}", tags(&messages)));
        assert_eq!(String::from_utf8_lossy(&complete.body).trim_end_matches('\0'), tag, "{command}");
    }
}

#[test]
fn set_counts_until_reload() {
    let (_postgres, plimsoll) = house(|ini| ini.set("query_wait_timeout", "33"));
    let mut console = plimsoll.console();
    let cases = [
        ("query_wait_timeout", "44", "33"),
        ("server_lifetime", "12", "3600"),
        ("default_pool_size", "3", "20"),
        ("max_client_conn", "55", "100"),
    ];
    for (key, set, _) in cases {
        console.query(&format!("SET {key} = {set}"));
        assert_eq!(value(&console.query("SHOW CONFIG"), key), set);
    }
    console.query("RELOAD");
    for (key, _, after) in cases {
        assert_eq!(value(&console.query("SHOW CONFIG"), key), after, "{key}");
    }
    // What only a restart changes is heard and left.
    console.query("SET listen_port = 1");
    assert_eq!(value(&console.query("SHOW CONFIG"), "listen_port"), plimsoll.port().to_string());
}

#[test]
fn paused_queries_wait_and_resumed_they_go_on() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let mut console = plimsoll.console();
    console.send(Batch::new().query("PAUSE p0").bytes()).unwrap();
    assert!(!console.hears_within(Duration::from_millis(200)));
    client.query("COMMIT");
    assert_eq!(tags(&console.cycle().unwrap()), "CZ");
    client.send(Batch::new().query("SELECT 'resumed'").bytes()).unwrap();
    assert!(!client.hears_within(Duration::from_millis(200)));
    console.query("RESUME p0");
    assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
}

#[test]
fn suspended_queries_wait_and_resumed_they_go_on() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    let mut console = plimsoll.console();
    console.query("SUSPEND");
    client.send(Batch::new().query("SELECT 'resumed'").bytes()).unwrap();
    assert!(!client.hears_within(Duration::from_millis(200)));
    console.query("RESUME");
    assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
}

#[test]
fn a_disabled_database_takes_no_new_clients() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut before = plimsoll.client("app", "p0");
    let mut console = plimsoll.console();
    console.query("DISABLE p0");
    fatal(&plimsoll.login("app", "p0").refusal(), "database \"p0\" is disabled");
    assert_eq!(before.value("SELECT 1"), "1");
    console.query("ENABLE p0");
    assert_eq!(plimsoll.client("app", "p0").value("SELECT 1"), "1");
}

#[test]
fn killed_clients_go_and_the_database_stays_paused() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let mut console = plimsoll.console();
    console.query("KILL p0");
    if let Some(error) = client.expect_closed() {
        fatal(&error, "database removed");
    }
    let databases = console.query("SHOW DATABASES");
    let row = databases.find(&[("name", "p0")]).unwrap();
    assert_eq!(databases.cell(row, "paused"), "1");
    console.query("RESUME p0");
    assert_eq!(plimsoll.client("app", "p0").value("SELECT 1"), "1");
}

#[test]
fn bad_files_are_told_and_change_nothing() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    let mut console = plimsoll.console();
    for (ini, words) in [
        (Ini::new(&postgres).set("nope", "1"), "unknown parameter: pgbouncer/nope"),
        (
            Ini::new(&postgres).set("server_lifetime", "abc"),
            "invalid value \"abc\" for parameter server_lifetime",
        ),
        (
            Ini::new(&postgres).database("bad", "host=x colour=blue"),
            "unrecognized connection parameter: colour",
        ),
        (Ini::new(&postgres).user("app", "colour=blue"), "unrecognized user parameter: colour"),
    ] {
        plimsoll.rewrite(&ini);
        let mark = plimsoll.log_mark();
        drop(console.try_query("RELOAD"));
        plimsoll.wait_for_log_since(mark, words, SOON);
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

#[test]
fn the_columns_tools_read_are_there() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let mut console = plimsoll.console();
    for (what, columns) in [
        (
            "CLIENTS",
            "type user database state addr port local_addr local_port connect_time request_time wait wait_us \
                     close_needed ptr link remote_pid tls application_name",
        ),
        (
            "SERVERS",
            "type user database state addr port local_addr local_port connect_time request_time wait wait_us \
                     close_needed ptr link remote_pid tls application_name",
        ),
        (
            "SOCKETS",
            "type user database state addr port recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail \
                     send_avail",
        ),
        (
            "POOLS",
            "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active \
                   sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode",
        ),
        (
            "DATABASES",
            "name host port database force_user pool_size min_pool_size pool_mode max_connections \
                       current_connections paused disabled",
        ),
        ("USERS", "name pool_mode"),
        (
            "STATS",
            "database total_xact_count total_query_count total_received total_sent total_xact_time \
                   total_query_time total_wait_time avg_xact_count avg_query_count avg_recv avg_sent avg_xact_time \
                   avg_query_time avg_wait_time",
        ),
        ("LISTS", "list items"),
        ("CONFIG", "key value default changeable"),
        ("MEM", "name size used free memtotal"),
        ("DNS_HOSTS", "hostname ttl addrs"),
        ("DNS_ZONES", "zonename serial count"),
        ("TOTALS", "name value"),
    ] {
        let table = console.query(&format!("SHOW {what}"));
        for column in columns.split_whitespace() {
            assert!(table.columns.iter().any(|(known, _)| known == column), "SHOW {what} has no {column}");
        }
    }
    let pools = console.query("SHOW POOLS");
    let row = pools.find(&[("database", "p0"), ("user", "app")]).unwrap();
    assert_eq!((pools.number(row, "cl_active"), pools.number(row, "sv_active")), (1, 1));
}

#[test]
fn notices_of_the_login_are_sent() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    console.query("SET client_encoding = 'UTF8'");
    let notices = console.take_notices();
    assert_eq!(notices.iter().map(|notice| notice.message.as_str()).collect::<Vec<_>>(), ["SET ignored"]);
}

#[test]
fn counts_follow_what_is_done() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    client.query("SELECT 1");
    client.query("COMMIT");
    client.query("SELECT 1");
    eventually_ok("the counts", SOON, || {
        let stats = plimsoll.show("STATS_TOTALS");
        let row = stats.find(&[("database", "p0")]).ok_or("no p0")?;
        let seen = (stats.number(row, "query_count"), stats.number(row, "xact_count"));
        if seen == (4, 2) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

#[test]
fn modern_version_and_state() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let version = plimsoll.show("VERSION");
    assert!(version.cell(0, "version").starts_with("PgBouncer 1.25.2"), "{version:?}");
    let mut console = plimsoll.console();
    assert_eq!(console.parameter("server_version"), "1.25.2/bouncer");
    let state = console.query("SHOW STATE");
    assert_eq!(value(&state, "active"), "yes");
    says(&console.fail("ENABLE pgbouncer"), "ERROR", "cannot enable admin db: pgbouncer");
    says(&console.fail("KILL_CLIENT 999"), "ERROR", "client not found");
    says(&console.fail("KILL_CLIENT x"), "ERROR", "invalid client pointer supplied");
    let client = plimsoll.client("app", "p0");
    let clients = console.query("SHOW CLIENTS");
    let row = clients.find(&[("database", "p0")]).unwrap();
    console.query(&format!("KILL_CLIENT {}", clients.cell(row, "id")));
    let mut client = client;
    fatal(&client.expect_closed().expect("a reason"), "admin forced disconnect");
}
