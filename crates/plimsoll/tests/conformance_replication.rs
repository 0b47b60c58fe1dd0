//! The contract of a drop-in for replication connections (reference 3.14 and wherever else they are spoken of): see
//! `conformance.rs`. All of it is newer than 1.18.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};

use common::SOON;
use common::contract::{fatal, house, line, start};
use plimsoll_testkit::{FakeServer, Ini, Plimsoll, Postgres, Table, error_response, eventually};

/// The roles' superuser asks for replication.
fn streamer(plimsoll: &Plimsoll, database: &str, replication: &str) -> plimsoll_testkit::Login {
    plimsoll.login("boss", database).parameter("replication", replication)
}

#[track_caller]
fn row(table: &Table, wanted: &[(&str, &str)]) -> usize {
    table.find(wanted).unwrap_or_else(|| panic!("no {wanted:?} in {table:?}"))
}

#[test]
fn modern_startup_parameters_go_to_the_server_as_they_came() {
    let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let told = seen.clone();
    let server = FakeServer::start(move |_, peer| {
        *told.lock().unwrap() = peer.welcome()?;
        // The first thing that comes is the client's: no SET.
        let first = peer.read()?;
        assert!(first.strings().iter().any(|text| text == "SHOW x"), "{first:?}");
        peer.send(b"C\0\0\0\x09SHOW\0Z\0\0\0\x05I")?;
        peer.read().map(drop).or(Ok(()))
    });
    let postgres = Postgres::start();
    let connection = format!("host=127.0.0.1 port={} dbname=x timezone=CET", server.port());
    let plimsoll = start(Ini::new(&postgres).database("far", &connection));
    let login = streamer(&plimsoll, "far", "database")
        .parameter("options", "-c work_mem=1MB -d 2")
        .parameter("extra_float_digits", "3")
        .parameter("application_name", "standby");
    let mut client = login.client();
    client.query("SHOW x");
    let seen = seen.lock().unwrap().clone();
    let has = |name: &str, value: &str| seen.iter().any(|pair| *pair == (name.into(), value.into()));
    for (name, value) in [
        ("user", "boss"),
        ("database", "x"),
        ("timezone", "CET"),
        ("replication", "database"),
        ("options", "-c work_mem=1MB -d 2"),
        ("extra_float_digits", "3"),
        ("application_name", "standby"),
    ] {
        assert!(has(name, value), "{name}={value} is not in {seen:?}");
    }
    assert_eq!(server.failures(), Vec::<String>::new());
}

#[test]
fn modern_logical_takes_sql_and_physical_does_not() {
    let (postgres, plimsoll) = house(|ini| ini);
    for database in ["p0", "p0"] {
        let mut client = streamer(&plimsoll, database, "database")
            .parameter("application_name", "abc")
            .parameter("options", "-c enable_seqscan=off")
            .client();
        assert_eq!(client.value("SELECT 1"), "1");
        assert_eq!(client.value("SHOW application_name"), "abc");
        assert_eq!(client.value("SHOW enable_seqscan"), "off");
        assert_eq!(client.parameter("application_name"), "abc");
        assert!(!client.query("IDENTIFY_SYSTEM").rows.is_empty());
        // Beside it nothing has changed for anybody.
        assert_eq!(plimsoll.client("boss", "p0").value("SHOW enable_seqscan"), "on");
        client.leave();
    }
    for yes in ["yes", "true", "on", "1"] {
        let mut client = streamer(&plimsoll, "p0", yes).client();
        assert!(!client.query("IDENTIFY_SYSTEM").rows.is_empty());
        let refused = client.fail("SELECT 1");
        assert!(refused.message.contains("cannot execute SQL commands in WAL sender"), "{refused:?}");
        client.leave();
    }
    let mut ordinary = streamer(&plimsoll, "p0", "no").client();
    assert!(ordinary.fail("IDENTIFY_SYSTEM").message.contains("syntax error"));
    postgres.wait_for_sessions("backend_type = 'walsender'", 0);
}

#[test]
fn modern_it_is_shown_and_logged_apart() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mark = plimsoll.log_mark();
    let mut logical = streamer(&plimsoll, "p0", "database").client();
    logical.query("IDENTIFY_SYSTEM");
    let mut physical = streamer(&plimsoll, "p0", "true").client();
    physical.query("IDENTIFY_SYSTEM");
    let mut usual = plimsoll.client("boss", "p0");
    usual.query("SELECT 1");
    plimsoll.wait_for_log_since(mark, "login attempt: db=p0 user=boss tls=no replication=database", SOON);
    plimsoll.wait_for_log_since(mark, "login attempt: db=p0 user=boss tls=no replication=yes", SOON);
    plimsoll.wait_for_log_since(mark, "login attempt: db=p0 user=boss tls=no replication=no", SOON);
    for what in ["CLIENTS", "SERVERS"] {
        let table = plimsoll.show(what);
        for (kind, state) in [("logical", "active"), ("physical", "active"), ("none", "idle")] {
            row(&table, &[("user", "boss"), ("database", "p0"), ("replication", kind), ("state", state)]);
        }
    }
    let pools = plimsoll.show("POOLS");
    let at = row(&pools, &[("database", "p0"), ("user", "boss")]);
    let of = |name: &str| pools.number(at, name);
    assert_eq!((of("cl_active"), of("cl_waiting"), of("sv_active"), of("sv_idle")), (3, 0, 2, 1));
    let databases = plimsoll.show("DATABASES");
    assert_eq!(databases.number(row(&databases, &[("name", "p0")]), "current_connections"), 3);
}

#[test]
fn modern_a_session_whatever_the_mode_and_closed_at_its_end() {
    for mode in common::MODES {
        let (postgres, plimsoll) = house(|ini| ini.set("pool_mode", mode));
        let mark = plimsoll.log_mark();
        let mut client = streamer(&plimsoll, "p0", "database").client();
        client.query("BEGIN");
        let pid = common::backend(&mut client);
        client.query("COMMIT");
        assert_eq!(common::backend(&mut client), pid, "{mode}");
        assert_eq!(client.value("SHOW transaction_read_only"), "off");
        client.leave();
        plimsoll.wait_for_log_since(mark, "closing because: replication client was closed (age=", SOON);
        postgres.wait_for_sessions("backend_type = 'walsender'", 0);
    }
}

#[test]
fn modern_a_refused_login_is_told_to_its_client_alone() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut waits = plimsoll.client("app", "p0");
    let mark = plimsoll.log_mark();
    let refusal = plimsoll.login("app", "p0").parameter("replication", "database").refusal();
    fatal(&refusal, "login failed");
    plimsoll.wait_for_log_since(mark, "S: login failed: FATAL: must be superuser or replication role", SOON);
    eventually("both lines", SOON, || {
        let log = plimsoll.log_since(mark);
        log.matches("closing because: login failed (age=").count() == 2
    });
    assert_eq!(waits.value("SELECT 1"), "1");
    // Again at once: no failure of this kind keeps anybody waiting.
    fatal(&plimsoll.login("app", "p0").parameter("replication", "database").refusal(), "login failed");
    drop(postgres);
}

#[test]
fn modern_a_refusal_leaves_others_who_wait_alone() {
    let server = FakeServer::start(|_, peer| {
        let (_, parameters) = peer.startup()?;
        if parameters.iter().any(|(name, _)| name == "replication") {
            return peer.send(&error_response("FATAL", "53300", "too many walsenders"));
        }
        peer.send(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I")?;
        peer.serve()
    });
    let postgres = Postgres::start();
    let connection = format!("host=127.0.0.1 port={} dbname=x", server.port());
    let plimsoll = start(Ini::new(&postgres).database("few", &connection));
    fatal(&streamer(&plimsoll, "few", "true").refusal(), "login failed");
    assert_eq!(plimsoll.client("boss", "few").value("SELECT 1"), "1");
    fatal(&streamer(&plimsoll, "few", "true").refusal(), "login failed");
}

#[test]
fn modern_it_counts_in_the_pool_size_and_evicts_what_is_idle() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "2"));
    let mut clients = [(); 2].map(|()| plimsoll.client("boss", "p0"));
    for client in &mut clients {
        client.query("BEGIN");
        client.query("SELECT 1");
    }
    for client in &mut clients {
        client.query("COMMIT");
    }
    let mark = plimsoll.log_mark();
    let mut first = streamer(&plimsoll, "p0", "database").client();
    first.query("IDENTIFY_SYSTEM");
    assert_eq!(plimsoll.log_since(mark).matches("closing because: evicted").count(), 1);
    let mut second = streamer(&plimsoll, "p0", "database").client();
    second.query("IDENTIFY_SYSTEM");
    // Full: the next one waits in its login until one of them goes, and so does a query.
    let login = streamer(&plimsoll, "p0", "database");
    let mut third = login.knock().unwrap();
    third.send(&login.startup_packet()).unwrap();
    let mut console = plimsoll.console();
    eventually("it waits", SOON, || {
        console.query("SHOW POOLS").find(&[("database", "p0"), ("cl_waiting", "1")]).is_some()
    });
    first.leave();
    login.finish(&mut third).unwrap();
    third.query("IDENTIFY_SYSTEM");
    assert_eq!(postgres.count_sessions("datname = 'p0'"), 2);
    third.leave();
    assert_eq!(clients[0].value("SELECT 1"), "1");
}

#[test]
fn modern_max_db_connections_holds_for_it() {
    let (_postgres, plimsoll) = house(|ini| ini.set("max_db_connections", "1"));
    plimsoll.client("app", "p0").query("SELECT 1");
    let mark = plimsoll.log_mark();
    streamer(&plimsoll, "p0", "database").client().query("IDENTIFY_SYSTEM");
    assert_eq!(plimsoll.log_since(mark).matches("closing because: evicted").count(), 1);
}

#[test]
fn modern_a_changed_database_ends_it_at_once() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut client = streamer(&plimsoll, "p0", "database").client();
    client.query("BEGIN");
    let mut console = plimsoll.console();
    console.query("RECONNECT p0");
    console.query("WAIT_CLOSE p0");
    let error = client.expect_closed().expect("a reason");
    fatal(&error, "database configuration changed");
    // A reload that changes nothing of it ends nothing.
    let mut client = streamer(&plimsoll, "p1", "database").client();
    let pid = common::backend(&mut client);
    plimsoll.reload(&Ini::new(&postgres).set("query_timeout", "30").own("compat", "pgbouncer"));
    assert_eq!(common::backend(&mut client), pid);
    plimsoll.reload(
        &Ini::new(&postgres)
            .own("compat", "pgbouncer")
            .database("p1", &(line(&postgres, "p1") + " timezone=CET")),
    );
    fatal(&client.expect_closed().expect("a reason"), "database configuration changed");
}

#[test]
fn modern_kill_and_pause_mean_it_too() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = streamer(&plimsoll, "p0", "database").client();
    client.query("IDENTIFY_SYSTEM");
    plimsoll.console().query("KILL p0");
    fatal(&client.expect_closed().expect("a reason"), "database removed");
    plimsoll.console().query("RESUME p0");
    streamer(&plimsoll, "p0", "database").client().query("IDENTIFY_SYSTEM");
}

#[test]
fn modern_the_hba_file_knows_the_keyword() {
    let dir = plimsoll_testkit::TempDir::new("hba");
    let hba = dir.path().join("hba.conf");
    let rules = "host replication boss 127.0.0.1/32 trust\nhost p1 all 127.0.0.1/32 trust\n";
    std::fs::write(&hba, rules).unwrap();
    let (_postgres, plimsoll) =
        house(|ini| ini.set("auth_type", "hba").set("auth_hba_file", &hba.display().to_string()));
    streamer(&plimsoll, "p0", "true").client().query("IDENTIFY_SYSTEM");
    let refused = |database: &str, replication: &str| streamer(&plimsoll, database, replication).refusal();
    // Physical replication is no database, and logical replication is its database.
    let other = plimsoll.login("app", "p1").parameter("replication", "true").refusal();
    fatal(&other, "no authentication method is found");
    fatal(&refused("p0", "database"), "no authentication method is found");
    streamer(&plimsoll, "p1", "database").client().query("IDENTIFY_SYSTEM");
}

#[test]
fn modern_the_star_line_makes_the_database_that_libpq_names() {
    let (_postgres, plimsoll) = {
        let postgres = Postgres::start();
        let connection = format!("host=127.0.0.1 port={}", postgres.port());
        let plimsoll = start(Ini::new(&postgres).database("*", &connection));
        (postgres, plimsoll)
    };
    let mark = plimsoll.log_mark();
    streamer(&plimsoll, "replication", "true").client().query("IDENTIFY_SYSTEM");
    plimsoll.wait_for_log_since(mark, "registered new auto-database: replication", SOON);
}
