//! The contract of a drop-in for the files it reads (reference 2): see `conformance.rs`.

#![allow(clippy::unwrap_used)]

mod common;

use common::contract::{against_others, fatal, house, line, start, value};
use common::{BINARY, SOON};
use plimsoll_testkit::{Batch, Ini, Plimsoll, Postgres, eventually};

#[test]
fn files_are_read_leniently() {
    let postgres = Postgres::start();
    let connection = line(&postgres, "p0");
    let port = postgres.port();
    let text = format!(
        "; a comment\n# another\n\n  [databases]\n\tindented=host=127.0.0.1 port={port} dbname=p0\n\
         spaced   =   {connection}   \n\
         quoted = host='127.0.0.1' port='{port}' dbname = 'p0' connect_query='SELECT ''a''' \n\
         with-a.dot_1 = {connection}\nbare = host=127.0.0.1 port={port}\n\
         [users]\napp = pool_mode = session max_user_connections = 3\n\
         [databases]\nagain = {connection}\n"
    );
    let ini =
        Ini::new(&postgres).set("pidfile", "").set("auth_query", "SELECT a = b, $1 FROM c WHERE d = 'e'");
    let plimsoll = start(ini.extra(&text));
    for database in ["p0", "indented", "spaced", "quoted", "with-a.dot_1", "again"] {
        assert_eq!(plimsoll.client("app", database).value("SELECT current_database()"), "p0", "{database}");
    }
    // Without dbname it is the name itself that PostgreSQL is asked for.
    let error = plimsoll.login("app", "bare").refusal();
    assert_eq!(error.message, "database \"bare\" does not exist");
    let shown = plimsoll.show("CONFIG");
    assert_eq!(value(&shown, "auth_query"), "SELECT a = b, $1 FROM c WHERE d = 'e'");
    assert_eq!(value(&shown, "pidfile"), "");
}

#[test]
fn bad_files_end_it_at_its_start() {
    let postgres = Postgres::start();
    let ini = || Ini::new(&postgres);
    let here = "in configuration (";
    let cases = [
        (ini().set("nope", "1"), "unknown parameter: pgbouncer/nope"),
        (
            ini().set("server_lifetime", "abc"),
            "invalid value \"abc\" for parameter server_lifetime in configuration (",
        ),
        (
            ini().set("server_lifetime", "5 ; s"),
            "invalid value \"5 ; s\" for parameter server_lifetime in configuration (",
        ),
        (ini().set("pool_mode", "foo"), "invalid value \"foo\" for parameter pool_mode in configuration ("),
        (ini().set("auth_type", "foo"), "invalid value \"foo\" for parameter auth_type in configuration ("),
        (ini().set("log_connections", "maybe"), "invalid value \"maybe\" for parameter log_connections in"),
        (ini().set("default_pool_size", "x"), "invalid value \"x\" for parameter default_pool_size in"),
        (ini().extra("[x]\na = 1\n"), "invalid section \"x\" in configuration ("),
        (ini().extra("this is nonsense\n"), "syntax error in configuration ("),
        (ini().database("q", "host=x foo=bar"), "unrecognized connection parameter: foo"),
        (ini().database("q", "port=abc"), "invalid port: abc"),
        (ini().database("q", "host='x"), "syntax error in connection string"),
        (ini().user("app", "foo=bar"), "unrecognized user parameter: foo"),
        (ini().database("pgbouncer", "host=x"), "database name \"pgbouncer\" is reserved"),
    ];
    for (mut ini, words) in cases {
        if !against_others() {
            ini = ini.own("compat", "pgbouncer");
        }
        let (status, log) = Plimsoll::start_and_fail(BINARY, &ini);
        assert!(!status.success() && log.contains(words), "{words}: {status} {log}");
        assert!(!words.ends_with(here) || log.contains("plimsoll.ini:"), "{log}");
        assert!(log.contains("cannot load config file"), "{log}");
    }
}

#[test]
fn what_is_set_lasts_until_reload() {
    let (_postgres, plimsoll) = house(|ini| ini.set("query_wait_timeout", "33"));
    let mut console = plimsoll.console();
    // The key, what is set, what it is after RELOAD: the file's value, else the default.
    let cases = [
        ("query_wait_timeout", "44", "33"),
        ("default_pool_size", "3", "20"),
        ("pool_mode", "session", "transaction"),
        ("server_check_delay", "7", "30"),
        ("ignore_startup_parameters", "geqo", ""),
        ("stats_users", "other", "stats"),
        ("server_fast_close", "1", "0"),
        ("log_connections", "0", "1"),
        // What has no default keeps what it was given.
        ("auth_user", "boss", "boss"),
    ];
    for (key, set, _) in cases {
        assert_eq!(console.query(&format!("SET {key} = '{set}'")).command, format!("SET {key}={set}"));
        assert_eq!(value(&console.query("SHOW CONFIG"), key), set, "{key}");
    }
    console.query("RELOAD");
    let shown = console.query("SHOW CONFIG");
    for (key, _, after) in cases {
        assert_eq!(value(&shown, key), after, "{key} after RELOAD");
    }
    // What only a restart changes is heard and left.
    for key in ["listen_port", "unix_socket_dir", "pkt_buf", "job_name", "listen_backlog", "so_reuseport"] {
        let before = value(&console.query("SHOW CONFIG"), key);
        assert_eq!(console.query(&format!("SET {key} = 1")).command, format!("SET {key}=1"));
        assert_eq!(value(&console.query("SHOW CONFIG"), key), before, "{key}");
    }
}

#[test]
fn limits_that_are_set_count_at_once() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut console = plimsoll.console();
    let mut holder = plimsoll.client("app", "p0");
    holder.query("BEGIN");
    let mut second = plimsoll.client("app", "p0");
    second.send(Batch::new().query("BEGIN").bytes()).unwrap();
    eventually("somebody to wait", SOON, || {
        console.query("SHOW POOLS").find(&[("database", "p0"), ("cl_waiting", "1")]).is_some()
    });
    console.query("SET default_pool_size = 2");
    assert_eq!(second.cycle().unwrap().last().unwrap().status(), 'T');
    postgres.wait_for_sessions("datname = 'p0'", 2);
    holder.query("COMMIT");
    second.query("COMMIT");
    console.query("SET pool_mode = session");
    let mut third = plimsoll.client("app", "p0");
    third.query("SELECT 1");
    let shown = console.query("SHOW POOLS");
    assert!(
        shown.find(&[("database", "p0"), ("sv_active", "1"), ("pool_mode", "session")]).is_some(),
        "{shown:?}"
    );
    console.query("SET max_client_conn = 1");
    fatal(&plimsoll.login("app", "p0").refusal(), "no more connections allowed (max_client_conn)");
    console.query("SET max_client_conn = 100");
    console.query("SET query_timeout = 1");
    third.send(Batch::new().query("SELECT pg_sleep(600)").bytes()).unwrap();
    fatal(&third.expect_closed().expect("a reason"), "query timeout");
    console.query("SET admin_users = 'app'");
    assert_eq!(plimsoll.login("app", "pgbouncer").client().query("SHOW LISTS").command, "SHOW");
    fatal(&plimsoll.login("other", "pgbouncer").refusal(), "not allowed");
    console.query("SET auth_type = 'md5'");
    fatal(&plimsoll.login("app", "p0").password("x").refusal(), "password authentication failed");
}

#[test]
fn reload_closes_only_what_has_changed() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut clients = ["p0", "p1"].map(|database| plimsoll.client("app", database));
    let before = clients.each_mut().map(|client| client.value("SELECT pg_backend_pid()"));
    let ini = Ini::new(&postgres);
    plimsoll.reload(&ini);
    assert_eq!(clients.each_mut().map(|client| client.value("SELECT pg_backend_pid()")), before);
    plimsoll.reload(&ini.clone().database("p1", &line(&postgres, "p2")));
    eventually("the new place", SOON, || clients[1].value("SELECT current_database()") == "p2");
    assert_eq!(clients[0].value("SELECT pg_backend_pid()"), before[0]);
    plimsoll.reload(&ini.without_database("p1"));
    plimsoll
        .wait_for_log("dropping database 'p1' as it does not exist anymore or inactive auto-database", SOON);
    clients[1].expect_closed();
    assert_eq!(clients[0].value("SELECT pg_backend_pid()"), before[0]);
}

#[test]
fn tls_that_cannot_be_had_is_a_notice() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    let words = "TLS settings could not be applied, still using old configuration";
    for (command, notices) in [
        ("SET client_tls_sslmode = require", vec![words]),
        // Only who sets it is told.
        ("SET query_wait_timeout = 77", vec![]),
        ("SET client_tls_ca_file = '/nowhere'", vec![words]),
        ("SET client_tls_ca_file = ''", vec![words]),
        ("SET client_tls_sslmode = disable", vec![]),
    ] {
        assert!(console.query(command).command.starts_with("SET "), "{command}");
        let seen: Vec<String> = console.take_notices().into_iter().map(|notice| notice.message).collect();
        assert_eq!(seen, notices, "{command}");
    }
    plimsoll.still_works(&["p0"]);
}

/// 1.18 answers `RELOAD` all the same, and does not look at the numbers of [users].
#[test]
fn modern_failed_reloads_have_a_sqlstate_of_their_own() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    for ini in [
        Ini::new(&postgres).set("nope", "1"),
        Ini::new(&postgres).user("app", "max_user_connections=x"),
        Ini::new(&postgres).set("auth_dbname", "pgbouncer"),
    ] {
        plimsoll.rewrite(&ini.own("compat", "pgbouncer"));
        let mark = plimsoll.log_mark();
        let error = console.fail("RELOAD");
        let seen = (error.severity.as_str(), error.sqlstate.as_str(), error.message.as_str());
        assert_eq!(seen, ("ERROR", "F0000", "RELOAD failed, see logs for additional details"));
        plimsoll.wait_for_log_since(mark, "config file loading failed", SOON);
    }
    plimsoll.still_works(&["p0", "p1", "p2"]);
}

/// 1.18 has none of these keys.
#[test]
fn modern_users_have_pools_of_their_own_size() {
    let (_postgres, plimsoll) = house(|ini| {
        ini.user("app", "pool_size=1 reserve_pool_size=0 query_wait_timeout=1")
            .set("default_pool_size", "5")
            .set("query_wait_timeout", "600")
    });
    let mut holder = plimsoll.client("app", "p0");
    holder.query("BEGIN");
    let mut waiting = plimsoll.client("app", "p0");
    waiting.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    fatal(&waiting.expect_closed().expect("a reason"), "query_wait_timeout");
    let users = plimsoll.show("USERS");
    let row = users.find(&[("name", "app")]).unwrap();
    assert_eq!(
        (users.cell(row, "pool_size").trim(), users.cell(row, "reserve_pool_size").trim()),
        ("1", "0")
    );
}
