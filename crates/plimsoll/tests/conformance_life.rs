//! The contract of a drop-in for what the log says of pools and how many servers there are after each command
//! (reference 2 and 3.5): see `conformance.rs`.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::contract::{against_others, fatal, house, line, logged, start};
use common::{SOON, backend, wait_for_pool};
use plimsoll_testkit::{Batch, Client, Ini, Login, Plimsoll, Postgres, tags};

/// Reasons that server connections were closed for since then, in the order of the log.
fn servers_closed(plimsoll: &Plimsoll, mark: usize) -> Vec<String> {
    let log = plimsoll.log_since(mark);
    let lines = log.lines().filter(|line| line.contains(" S-0x"));
    let reasons = lines.filter_map(|line| line.split_once(" closing because: "));
    reasons.map(|(_, reason)| reason.split(" (age=").next().unwrap().to_string()).collect()
}

/// A client whose startup packet is sent and not answered yet.
fn waiting_in_login(login: &Login) -> Client {
    let mut client = login.knock().unwrap();
    client.send(&login.startup_packet()).unwrap();
    client
}

#[test]
fn the_idle_and_the_busy_are_renewed_for_reasons_of_their_own() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    let (mut idle, mut busy) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p1"));
    idle.query("SELECT 1");
    busy.query("BEGIN");
    let (first, second) = (backend(&mut idle), backend(&mut busy));
    let mark = plimsoll.log_mark();
    console.query("RECONNECT p0");
    postgres.wait_backend_gone(first);
    plimsoll.wait_for_log_since(mark, "RECONNECT 'p0' command issued", SOON);
    console.query("RECONNECT");
    plimsoll.wait_for_log_since(mark, "RECONNECT command issued", SOON);
    let servers = console.query("SHOW SERVERS");
    assert_eq!(servers.count(&[("database", "p1"), ("state", "active"), ("close_needed", "1")]), 1);
    assert_eq!(servers.rows.len(), 1);
    busy.query("COMMIT");
    postgres.wait_backend_gone(second);
    assert_eq!(console.query("WAIT_CLOSE").command, "WAIT_CLOSE");
    plimsoll.wait_for_log_since(mark, "WAIT_CLOSE command issued", SOON);
    assert_eq!(servers_closed(&plimsoll, mark), ["database configuration changed", "close_needed"]);
    assert_ne!(backend(&mut busy), second);
}

#[test]
fn pause_closes_what_is_free_and_waits_for_the_rest() {
    let (postgres, plimsoll) = house(|ini| ini);
    let (mut busy, mut free) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p0"));
    busy.query("BEGIN");
    free.query("SELECT 1");
    postgres.wait_for_sessions("datname = 'p0'", 2);
    let mark = plimsoll.log_mark();
    let mut console = plimsoll.console();
    console.send(Batch::new().query("PAUSE p0").bytes()).unwrap();
    plimsoll.wait_for_log_since(mark, "PAUSE 'p0' command issued", SOON);
    postgres.wait_for_sessions("datname = 'p0'", 1);
    let databases = plimsoll.show("DATABASES");
    assert_eq!(databases.count(&[("paused", "1")]), 1);
    assert_eq!(databases.cell(databases.find(&[("name", "p0")]).unwrap(), "paused"), "1");
    // What is under way goes on, what is new waits.
    assert_eq!(busy.value("SELECT 1"), "1");
    free.send(Batch::new().query("SELECT 'later'").bytes()).unwrap();
    wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 1), ("sv_active", 1), ("sv_idle", 0)]);
    assert!(!console.hears_within(Duration::from_millis(200)));
    busy.query("COMMIT");
    assert_eq!(tags(&console.cycle().unwrap()), "CZ");
    postgres.wait_for_sessions("datname = 'p0'", 0);
    assert_eq!(servers_closed(&plimsoll, mark), ["pause mode", "pause mode"]);
    // Others are not concerned; the one goes on when it is resumed.
    assert_eq!(plimsoll.client("app", "p1").value("SELECT 1"), "1");
    console.query("RESUME p0");
    assert_eq!(tags(&free.cycle().unwrap()), "TDCZ");
    assert_eq!(plimsoll.show("DATABASES").count(&[("paused", "1")]), 0);
}

#[test]
fn kill_leaves_nothing_and_the_next_waits_in_its_login() {
    let (postgres, plimsoll) = house(|ini| ini);
    let (mut busy, mut idle) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p0"));
    idle.query("SELECT 1");
    busy.query("BEGIN");
    let mark = plimsoll.log_mark();
    let mut console = plimsoll.console();
    console.query("KILL p0");
    plimsoll.wait_for_log_since(mark, "KILL 'p0' command issued", SOON);
    for client in [&mut busy, &mut idle] {
        fatal(&client.expect_closed().unwrap(), "database removed");
    }
    logged(&plimsoll, mark, "database removed");
    postgres.wait_for_sessions("datname = 'p0'", 0);
    // The client's line is the first, and its server was just left.
    plimsoll.wait_for_log_since(mark, "client disconnect while server was not ready", SOON);
    let log = plimsoll.log_since(mark);
    let at = |prefix: &str, words: &str| {
        log.lines().position(|line| line.contains(prefix) && line.contains(words)).unwrap()
    };
    let left = at(" S-0x", "closing because: client disconnect while server was not ready");
    assert!(at(" C-0x", "closing because: database removed") < left, "{log}");
    // A new one is not welcomed before RESUME.
    let login = plimsoll.login("app", "p0");
    let mut next = waiting_in_login(&login);
    wait_for_pool(&plimsoll, "p0", &[("cl_active", 0), ("cl_waiting", 1), ("sv_login", 0)]);
    assert!(!next.hears_within(Duration::from_millis(200)));
    let clients = console.query("SHOW CLIENTS");
    assert_eq!(clients.count(&[("database", "p0"), ("state", "waiting")]), 1);
    console.query("RESUME p0");
    login.finish(&mut next).unwrap();
    assert_eq!(next.value("SELECT 1"), "1");
}

#[test]
fn a_client_that_leaves_says_how() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mark = plimsoll.log_mark();
    let mut polite = plimsoll.client("app", "p0");
    polite.query("SELECT 1");
    polite.leave();
    plimsoll.wait_for_log_since(mark, "closing because: client close request (age=", SOON);
    let mut rude = plimsoll.client("app", "p0");
    rude.query("SELECT 1");
    drop(rude);
    plimsoll.wait_for_log_since(mark, "closing because: client unexpected eof (age=", SOON);
    // Neither costs a server; a transaction does, however its client goes.
    assert_eq!(servers_closed(&plimsoll, mark), [""; 0]);
    for polite in [true, false] {
        let mut client = plimsoll.client("app", "p0");
        client.query("BEGIN");
        let held = backend(&mut client);
        if polite {
            client.leave();
        } else {
            client.reset();
        }
        postgres.wait_backend_gone(held);
    }
    // A batch that has no Sync yet is as bad.
    let mut client = plimsoll.client("app", "p0");
    let held = backend(&mut client);
    client.send(Batch::new().parse("", "SELECT 1").flush().bytes()).unwrap();
    assert_eq!(client.read().unwrap().tag, b'1');
    client.leave();
    postgres.wait_backend_gone(held);
    assert_eq!(servers_closed(&plimsoll, mark), ["client disconnect while server was not ready"; 3]);
}

#[test]
fn the_reserve_is_for_those_who_waited_long_enough() {
    let (postgres, plimsoll) = house(|ini| {
        ini.set("default_pool_size", "1").set("reserve_pool_size", "1").set("reserve_pool_timeout", "1")
    });
    let (mut holder, mut waiting) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p0"));
    holder.query("BEGIN");
    let begun = Instant::now();
    assert_eq!(waiting.query("BEGIN").command, "BEGIN");
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    let words = format!("p0/app@127.0.0.1:{} taking connection from reserve_pool", waiting.port());
    let said = plimsoll.wait_for_log(&words, SOON);
    let warning = said.lines().rfind(|line| line.contains(&words)).unwrap();
    assert!(warning.contains(" WARNING C-0x"), "{warning}");
    assert_eq!(plimsoll.log().matches("taking connection from reserve_pool").count(), 1);
    postgres.wait_for_sessions("datname = 'p0'", 2);
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 2), ("cl_waiting", 0)]);
}

#[test]
fn a_connect_query_that_fails_is_logged_and_no_more() {
    let postgres = Postgres::start();
    let failing = format!("{} connect_query='SELECT nonsense'", line(&postgres, "p0"));
    let plimsoll = start(Ini::new(&postgres).database("p0", &failing));
    assert_eq!(plimsoll.client("app", "p0").value("SELECT 1"), "1");
    let words = "S: error while executing exec_on_query: ERROR: column \"nonsense\" does not exist";
    plimsoll.wait_for_log(words, SOON);
}

#[test]
fn a_database_the_server_does_not_have_is_told_of_in_its_words() {
    let postgres = Postgres::start();
    let plimsoll = start(Ini::new(&postgres).database("gone", &line(&postgres, "gone")));
    let message = "database \"gone\" does not exist";
    let error = plimsoll.login("app", "gone").refusal();
    let sqlstate = if against_others() { "08P01" } else { "3D000" };
    assert_eq!((error.sqlstate.as_str(), error.message.as_str()), (sqlstate, message));
    assert_eq!((error.detail, error.hint), (None, None));
    logged(&plimsoll, 0, message);
    plimsoll.wait_for_log(&format!(" WARNING server login failed: FATAL {message}"), SOON);
    plimsoll.wait_for_log("closing because: login failed (age=", SOON);
}

#[test]
fn who_is_still_in_the_login_waits_for_the_next_attempt() {
    let postgres = Postgres::start();
    let ini = Ini::new(&postgres).set("server_login_retry", "2").database("gone", &line(&postgres, "gone"));
    let plimsoll = start(ini);
    let message = "database \"gone\" does not exist";
    assert_eq!(plimsoll.login("app", "gone").refusal().message, message);
    // Not a cached one: the server is asked again, after server_login_retry.
    let begun = Instant::now();
    assert_eq!(plimsoll.login("app", "gone").refusal().message, message);
    assert!(begun.elapsed() >= Duration::from_millis(1_500), "{:?}", begun.elapsed());
    // As soon as the database is there, it is used.
    postgres.sql("CREATE DATABASE gone");
    assert_eq!(plimsoll.client("app", "gone").value("SELECT current_database()"), "gone");
}

#[test]
fn places_of_a_database_go_from_user_to_user() {
    let (postgres, plimsoll) = house(|ini| ini.set("max_db_connections", "1"));
    let (mut one, mut other) = (plimsoll.client("app", "p0"), plimsoll.client("other", "p0"));
    other.query("BEGIN");
    one.send(Batch::new().query("SELECT current_user").bytes()).unwrap();
    wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 1), ("sv_active", 0), ("sv_login", 0)]);
    assert_eq!(postgres.count_sessions("datname = 'p0'"), 1);
    other.query("COMMIT");
    assert_eq!(tags(&one.cycle().unwrap()), "TDCZ");
    plimsoll.wait_for_log("closing because: evicted", SOON);
    let databases = plimsoll.show("DATABASES");
    let row = databases.find(&[("name", "p0")]).unwrap();
    let seen = (databases.number(row, "max_connections"), databases.number(row, "current_connections"));
    assert_eq!(seen, (1, 1));
}

#[test]
fn settings_of_a_line_beat_the_general_ones() {
    let postgres = Postgres::start();
    let settings = "max_db_connections=3 pool_size=2 min_pool_size=1 reserve_pool=4 pool_mode=session";
    let plimsoll = start(
        Ini::new(&postgres)
            .set("default_pool_size", "9")
            .set("max_db_connections", "8")
            .database("p0", &format!("{} {settings}", line(&postgres, "p0"))),
    );
    let databases = plimsoll.show("DATABASES");
    let seen = |name: &str| {
        let row = databases.find(&[("name", name)]).unwrap();
        let reserve = if against_others() { "reserve_pool" } else { "reserve_pool_size" };
        ["pool_size", "min_pool_size", reserve, "pool_mode", "max_connections"]
            .map(|column| databases.cell(row, column).to_string())
    };
    assert_eq!(seen("p0"), ["2", "1", "4", "session", "3"]);
    assert_eq!(seen("p1"), ["9", "0", "0", "", "8"]);
    let mut clients = [(); 3].map(|()| plimsoll.client("app", "p0"));
    let [one, other, third] = &mut clients;
    one.query("SELECT 1");
    other.query("SELECT 1");
    third.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 1), ("sv_active", 2)]);
}

#[test]
fn a_line_with_a_user_and_a_password_logs_in_as_that() {
    let options =
        plimsoll_testkit::PostgresOptions { auth: plimsoll_testkit::ServerAuth::Scram, ..Default::default() };
    let postgres = Postgres::start_with(options);
    let forced = format!("{} user=other password=other-secret", line(&postgres, "p0"));
    let wrong = format!("{} user=other password=wrong", line(&postgres, "p0"));
    let plimsoll = start(
        Ini::new(&postgres).database("forced", &forced).database("wrong", &wrong).without_login("other"),
    );
    let mut client = plimsoll.client("app", "forced");
    assert_eq!(client.value("SELECT current_user"), "other");
    assert_eq!(plimsoll.show("CLIENTS").count(&[("database", "forced"), ("user", "app")]), 1);
    assert_eq!(plimsoll.show("SERVERS").count(&[("database", "forced"), ("user", "other")]), 1);
    assert_eq!(plimsoll.show("POOLS").count(&[("database", "forced"), ("user", "other")]), 1);
    assert_eq!(plimsoll.show("DATABASES").count(&[("name", "forced"), ("force_user", "other")]), 1);
    let error = plimsoll.login("app", "wrong").refusal();
    assert_eq!(error.message, "password authentication failed for user \"other\"");
}

#[test]
fn a_session_that_is_closed_fast_loses_its_server_first() {
    let (postgres, plimsoll) = house(|ini| ini.set("server_fast_close", "1").set("pool_mode", "session"));
    let (mut busy, mut resting) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p1"));
    busy.query("BEGIN");
    resting.query("SELECT 1");
    let mark = plimsoll.log_mark();
    plimsoll.console().query("RECONNECT");
    let message = "database configuration changed";
    fatal(&resting.expect_closed().unwrap(), message);
    postgres.wait_for_sessions("datname = 'p1'", 0);
    assert_eq!(servers_closed(&plimsoll, mark), [message]);
    logged(&plimsoll, mark, message);
    let log = plimsoll.log_since(mark);
    let at = |prefix: &str| log.lines().position(|line| line.contains(prefix) && line.contains(message));
    assert!(at(" S-0x").unwrap() < at(" C-0x").unwrap(), "{log}");
    // A transaction is waited for.
    assert_eq!(busy.value("SELECT 1"), "1");
    busy.send(Batch::new().query("COMMIT").bytes()).unwrap();
    assert_eq!(tags(&busy.cycle().unwrap()), "CZ");
    fatal(&busy.expect_closed().unwrap(), message);
}

/// Clients that have made the pool as large as they are many, and hold nothing any more.
fn four_with_a_server_each(postgres: &Postgres, plimsoll: &Plimsoll) -> [Client; 4] {
    let mut clients = [(); 4].map(|()| plimsoll.client("app", "p0"));
    for client in &mut clients {
        client.query("BEGIN");
    }
    for client in &mut clients {
        client.query("COMMIT");
    }
    postgres.wait_for_sessions("datname = 'p0'", 4);
    clients
}

#[test]
fn a_smaller_pool_sends_the_surplus_away() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut clients = four_with_a_server_each(&postgres, &plimsoll);
    plimsoll.console().query("SET default_pool_size = 2");
    postgres.wait_for_sessions("datname = 'p0'", 2);
    for client in &mut clients {
        assert_eq!(client.value("SELECT 1"), "1");
    }
    wait_for_pool(&plimsoll, "p0", &[("sv_idle", 2), ("sv_active", 0), ("cl_active", 4)]);
}

/// 1.18 opens and closes a server connection for each that left the queue.
#[test]
fn modern_who_leaves_the_queue_costs_nothing() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let (mut holder, mut waiting) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p0"));
    holder.query("BEGIN");
    for polite in [true, false] {
        waiting.send(Batch::new().query("SELECT 1").bytes()).unwrap();
        wait_for_pool(&plimsoll, "p0", &[("cl_active", 1), ("cl_waiting", 1)]);
        let next = plimsoll.client("app", "p0");
        let left = std::mem::replace(&mut waiting, next);
        if polite {
            left.leave();
        } else {
            drop(left);
        }
        wait_for_pool(&plimsoll, "p0", &[("cl_active", 2), ("cl_waiting", 0)]);
    }
    assert_eq!(plimsoll.log().matches("new connection to server").count(), 1);
    assert_eq!(holder.value("SELECT 1"), "1");
}

#[test]
fn the_smallest_pool_outlives_its_idle_timeout() {
    let (postgres, plimsoll) = house(|ini| ini.set("min_pool_size", "2").set("server_idle_timeout", "1"));
    let mut clients = four_with_a_server_each(&postgres, &plimsoll);
    plimsoll.wait_for_log("closing because: server idle timeout", SOON);
    postgres.wait_for_sessions("datname = 'p0'", 2);
    let pids = || postgres.sql("SELECT pid FROM pg_stat_activity WHERE datname = 'p0' ORDER BY pid").rows;
    let kept = pids();
    assert!(!clients[0].hears_within(Duration::from_millis(1_800)));
    assert_eq!(pids(), kept);
}

/// 1.18 has only pool_mode and max_user_connections for users.
#[test]
fn modern_settings_of_users_count_by_whose_matter_it_is() {
    let postgres = Postgres::start();
    let forced = format!("{} user=other", line(&postgres, "p0"));
    let plimsoll = start(
        Ini::new(&postgres)
            .database("forced", &forced)
            .user("other", "pool_mode=session pool_size=1 query_timeout=2")
            .user("app", "query_wait_timeout=1 pool_mode=transaction pool_size=9 query_timeout=600"),
    );
    // The pool and its servers are the forced user's matter.
    let mut holder = plimsoll.client("app", "forced");
    holder.query("SELECT 1");
    let pools = plimsoll.show("POOLS");
    let row = pools.find(&[("database", "forced"), ("user", "other")]).unwrap();
    assert_eq!((pools.cell(row, "pool_mode"), pools.number(row, "sv_active")), ("session", 1));
    // How long one waits is the client's.
    let mut waiting = plimsoll.client("app", "forced");
    let begun = Instant::now();
    fatal(&waiting.fail("SELECT 1"), "query_wait_timeout");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    fatal(&holder.fail("SELECT pg_sleep(600)"), "query timeout");
}
