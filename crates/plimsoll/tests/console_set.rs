//! SET: every key that is set at run time is shown at once, and acts on pools and clients that are there.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{SOON, backend, house, house_with, wait_for_pool};
use plimsoll_testkit::{Batch, Client, Ini, Plimsoll, Postgres, PostgresOptions, eventually_ok, tags};

/// What RELOAD makes of a value that was SET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reload {
    /// The file's value, or the default.
    Undoes,
    /// Nothing: the key's default is NULL.
    Keeps,
}

/// Keys of the reference, section 2, each with a value that is not the one it begins with.
const KEYS: &[(&str, &str, Reload)] = &[
    ("auth_dbname", "p1", Reload::Keeps),
    ("auth_type", "scram-sha-256", Reload::Undoes),
    ("admin_users", "admin, other", Reload::Undoes),
    ("stats_users", "stats, app", Reload::Undoes),
    ("cancel_wait_timeout", "11", Reload::Undoes),
    ("client_idle_timeout", "601", Reload::Undoes),
    ("default_pool_size", "21", Reload::Undoes),
    ("idle_transaction_timeout", "602", Reload::Undoes),
    ("ignore_startup_parameters", "extra_float_digits, options", Reload::Undoes),
    ("max_client_conn", "103", Reload::Undoes),
    ("max_db_client_connections", "104", Reload::Undoes),
    ("max_prepared_statements", "5", Reload::Undoes),
    ("max_user_client_connections", "106", Reload::Undoes),
    ("pool_idle_timeout", "607", Reload::Undoes),
    ("pool_mode", "session", Reload::Undoes),
    ("query_timeout", "608", Reload::Undoes),
    ("query_wait_timeout", "609", Reload::Undoes),
    ("reserve_pool_size", "1", Reload::Undoes),
    ("reserve_pool_timeout", "1.5", Reload::Undoes),
    ("server_check_delay", "12", Reload::Undoes),
    ("server_connect_timeout", "13", Reload::Undoes),
    ("server_fast_close", "1", Reload::Undoes),
    ("server_idle_timeout", "614", Reload::Undoes),
    ("server_lifetime", "1200", Reload::Undoes),
    ("server_login_retry", "16", Reload::Undoes),
    ("tcp_user_timeout", "17000", Reload::Undoes),
    ("transaction_timeout", "618", Reload::Undoes),
    ("verbose", "1", Reload::Keeps),
];

#[track_caller]
fn shown(console: &mut Client, key: &str) -> String {
    let config = console.query("SHOW CONFIG");
    let row = config.find(&[("key", key)]).unwrap_or_else(|| panic!("no line for {key}"));
    String::from(config.cell(row, "value"))
}

#[track_caller]
fn set(plimsoll: &Plimsoll, key: &str, value: &str) {
    let mut console = plimsoll.console();
    let done = console.query(&format!("SET {key} = '{value}'"));
    assert_eq!(done.command, format!("SET {key}={value}"));
    console.leave();
}

#[test]
fn every_key_is_shown_at_once_and_reload_undoes_it() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    let before: Vec<String> = KEYS.iter().map(|(key, ..)| shown(&mut console, key)).collect();
    for (key, value, _) in KEYS {
        assert_eq!(console.query(&format!("SET {key} = '{value}'")).command, format!("SET {key}={value}"));
        assert_eq!(shown(&mut console, key), *value, "{key}");
    }
    console.query("RELOAD");
    for ((key, value, reload), before) in KEYS.iter().zip(before) {
        assert_ne!(before, *value, "{key}: this shows nothing");
        let wanted = match reload {
            Reload::Undoes => before.as_str(),
            Reload::Keeps => value,
        };
        assert_eq!(shown(&mut console, key), wanted, "{key} after RELOAD");
    }
    plimsoll.still_works(&["p0"]);
}

#[test]
fn all_spellings_of_set_are_read() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    let spellings = [
        ("SET query_timeout = '1'", "1"),
        ("set query_timeout=2;", "2"),
        ("SET query_timeout TO 3", "3"),
        ("  Set \"query_timeout\"='4' ; ", "4"),
        ("SET query_timeout = \"5\"", "5"),
    ];
    for (text, value) in spellings {
        assert_eq!(console.query(text).command, format!("SET query_timeout={value}"), "{text}");
        assert_eq!(shown(&mut console, "query_timeout"), value, "{text}");
    }
    let done = console.query("SET server_check_query = 'SELECT ''x'' = 1'");
    assert_eq!(done.command, "SET server_check_query=SELECT 'x' = 1");
    assert_eq!(shown(&mut console, "server_check_query"), "SELECT 'x' = 1");
}

#[test]
fn what_cannot_be_set_is_refused_or_heard_out() {
    let (_postgres, plimsoll) = house(|ini| ini.own("compat", "pgbouncer"));
    let mut console = plimsoll.console();
    for text in ["SET no_such_key = 1", "SET pool_mode = sometimes", "SET default_pool_size = many"] {
        let error = console.fail(text);
        assert_eq!((error.sqlstate.as_str(), error.message.as_str()), ("08P01", "SET failed"), "{text}");
    }
    let error = console.fail("SET query_timeout");
    assert_eq!(error.message, "invalid command 'SET query_timeout', use SHOW HELP;");
    // A key that only a restart changes.
    assert_eq!(console.query("SET listen_port = 1").command, "SET listen_port=1");
    assert_eq!(shown(&mut console, "listen_port"), plimsoll.port().to_string());
    for key in ["client_encoding", "DateStyle", "timezone", "standard_conforming_strings"] {
        assert_eq!(console.query(&format!("SET {key} = 'x'")).command, "SET", "{key}");
        let notices = console.take_notices();
        assert_eq!(notices.len(), 1);
        assert_eq!((notices[0].severity.as_str(), notices[0].message.as_str()), ("NOTICE", "SET ignored"));
    }
    let mut watcher = plimsoll.login("stats", "pgbouncer").password("stats-secret").client();
    assert_eq!(watcher.fail("SET query_timeout = 1").message, "admin access needed");
}

/// A pooler with one server for `p0`, a client that holds it in a transaction, and one that waits for it.
fn crowd(change: impl FnOnce(Ini) -> Ini) -> (Postgres, Plimsoll, Client, Client) {
    let (postgres, plimsoll) = house(|ini| change(ini.set("default_pool_size", "1")));
    let mut holder = plimsoll.client("app", "p0");
    let mut waiter = plimsoll.client("app", "p0");
    holder.query("BEGIN");
    waiter.send(Batch::new().query("SELECT 'served'").bytes()).unwrap();
    wait_for_pool(&plimsoll, "p0", &[("cl_active", 1), ("cl_waiting", 1)]);
    (postgres, plimsoll, holder, waiter)
}

#[track_caller]
fn told(client: &mut Client) -> String {
    let error = client.expect_closed().expect("last words");
    assert_eq!(error.severity, "FATAL");
    error.message
}

#[test]
fn a_larger_pool_serves_who_waits() {
    let (_postgres, plimsoll, mut holder, mut waiter) = crowd(|ini| ini);
    set(&plimsoll, "default_pool_size", "2");
    assert_eq!(tags(&waiter.cycle().unwrap()), "TDCZ");
    let databases = plimsoll.show("DATABASES");
    assert_eq!(databases.number(databases.find(&[("name", "p0")]).unwrap(), "pool_size"), 2);
    holder.query("COMMIT");
}

#[test]
fn a_reserve_serves_who_waits() {
    let (_postgres, plimsoll, mut holder, mut waiter) = crowd(|ini| ini.set("reserve_pool_timeout", "60"));
    set(&plimsoll, "reserve_pool_size", "1");
    assert!(!waiter.hears_within(Duration::from_millis(200)), "not before its time");
    set(&plimsoll, "reserve_pool_timeout", "0.1");
    assert_eq!(tags(&waiter.cycle().unwrap()), "TDCZ");
    plimsoll.wait_for_log("taking connection from reserve_pool", SOON);
    holder.query("COMMIT");
}

#[test]
fn a_limit_of_waiting_ends_who_waits() {
    for (key, message) in [("query_wait_timeout", "query_wait_timeout"), ("query_timeout", "query_timeout")] {
        let (_postgres, plimsoll, mut holder, mut waiter) = crowd(|ini| ini);
        set(&plimsoll, key, "1");
        assert_eq!(told(&mut waiter), message, "{key}");
        assert_eq!(holder.value("SELECT 'here'"), "here");
        holder.query("COMMIT");
    }
}

#[test]
fn a_longer_wait_is_granted_to_who_waits() {
    let (_postgres, plimsoll, mut holder, mut waiter) = crowd(|ini| ini.set("query_wait_timeout", "2"));
    set(&plimsoll, "query_wait_timeout", "0");
    assert!(!waiter.hears_within(Duration::from_secs(3)));
    holder.query("COMMIT");
    assert_eq!(tags(&waiter.cycle().unwrap()), "TDCZ");
}

#[test]
fn timeouts_act_on_clients_that_are_there() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut idle = plimsoll.client("app", "p0");
    idle.query("SELECT 1");
    set(&plimsoll, "client_idle_timeout", "1");
    assert_eq!(told(&mut idle), "client_idle_timeout");
    set(&plimsoll, "client_idle_timeout", "0");

    let mut open = plimsoll.client("app", "p0");
    open.query("BEGIN");
    set(&plimsoll, "idle_transaction_timeout", "1");
    assert_eq!(told(&mut open), "idle transaction timeout");
    set(&plimsoll, "idle_transaction_timeout", "0");

    let mut open = plimsoll.client("app", "p0");
    open.query("BEGIN");
    set(&plimsoll, "transaction_timeout", "1");
    assert_eq!(told(&mut open), "transaction timeout");
    set(&plimsoll, "transaction_timeout", "0");

    let mut busy = plimsoll.client("app", "p0");
    busy.send(Batch::new().query("SELECT pg_sleep(5)").bytes()).unwrap();
    wait_for_pool(&plimsoll, "p0", &[("cl_active", 1), ("sv_active", 1)]);
    set(&plimsoll, "query_timeout", "1");
    assert_eq!(told(&mut busy), "query timeout");
}

#[test]
fn the_mode_of_a_pool_changes_for_clients_that_are_there() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut clients = [plimsoll.client("app", "p0"), plimsoll.client("app", "p0")];
    for client in &mut clients {
        client.query("SELECT 1");
    }
    set(&plimsoll, "pool_mode", "session");
    let [first, second] = &mut clients;
    first.query("SELECT 1");
    second.send(Batch::new().query("SELECT 2").bytes()).unwrap();
    wait_for_pool(&plimsoll, "p0", &[("cl_active", 1), ("cl_waiting", 1), ("sv_active", 1)]);
    let pools = plimsoll.show("POOLS");
    assert_eq!(pools.cell(pools.find(&[("database", "p0")]).unwrap(), "pool_mode"), "session");
    // The session that holds the connection does nothing: it gives it up at once, and cleaned.
    first.query("SET work_mem = '1234kB'");
    set(&plimsoll, "pool_mode", "transaction");
    assert_eq!(tags(&second.cycle().unwrap()), "TDCZ");
    assert_ne!(second.value("SHOW work_mem"), "1234kB");
    // What is in a transaction keeps it until its end.
    set(&plimsoll, "pool_mode", "session");
    first.query("BEGIN");
    set(&plimsoll, "pool_mode", "transaction");
    assert_eq!(first.value("SELECT 1"), "1");
    second.send(Batch::new().query("SELECT 2").bytes()).unwrap();
    wait_for_pool(&plimsoll, "p0", &[("cl_active", 1), ("cl_waiting", 1), ("sv_active", 1)]);
    first.query("COMMIT");
    assert_eq!(tags(&second.cycle().unwrap()), "TDCZ");
    assert_eq!(first.value("SELECT 1"), "1");
    set(&plimsoll, "pool_mode", "statement");
    let mut client = plimsoll.client("app", "p0");
    assert_eq!(client.fail("BEGIN").message, "transaction blocks not allowed in statement pooling mode");
}

#[test]
fn prepared_statements_can_be_turned_off_and_on() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    let use_it = Batch::new().bind("", "mine", &[]).execute("", 0).sync();
    client.run(&Batch::new().parse("mine", "SELECT 'prepared'").sync());
    assert_eq!(tags(&client.run(&use_it)), "2DCZ");
    set(&plimsoll, "max_prepared_statements", "0");
    let answer = client.run(&use_it);
    assert_eq!(tags(&answer), "EZ", "it is PostgreSQL that does not know the name");
    assert_eq!(plimsoll_testkit::ServerError::of(&answer[0]).sqlstate, "26000");
    set(&plimsoll, "max_prepared_statements", "10");
    client.run(&Batch::new().parse("other", "SELECT 'again'").sync());
    let use_it = Batch::new().bind("", "other", &[]).execute("", 0).sync();
    assert_eq!(tags(&client.run(&use_it)), "2DCZ");
}

#[test]
fn limits_of_clients_act_on_the_next_one() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut first = plimsoll.client("app", "p0");
    for (key, message) in [
        ("max_client_conn", "no more connections allowed (max_client_conn)"),
        ("max_db_client_connections", "client connections exceeded (max_db_client_connections)"),
        ("max_user_client_connections", "client connections exceeded (max_user_client_connections)"),
    ] {
        let mut console = plimsoll.console();
        let before = shown(&mut console, key);
        set(&plimsoll, key, "1");
        assert_eq!(plimsoll.login("app", "p0").refusal().message, message);
        assert_eq!(first.value("SELECT 1"), "1", "who is in stays");
        set(&plimsoll, key, &before);
        plimsoll.still_works(&["p0"]);
    }
}

#[test]
fn ages_act_on_servers_that_are_there() {
    for (key, reason) in
        [("server_idle_timeout", "server idle timeout"), ("server_lifetime", "server lifetime over")]
    {
        let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
        let mut client = plimsoll.client("app", "p0");
        let before = backend(&mut client);
        set(&plimsoll, key, "1");
        postgres.wait_for_sessions(&format!("pid = {before}"), 0);
        plimsoll.wait_for_log(&format!("closing because: {reason}"), SOON);
        assert_ne!(backend(&mut client), before);
    }
}

#[test]
fn pools_that_are_there_are_given_up_when_nobody_uses_them() {
    let (postgres, plimsoll) = house(|ini| ini);
    plimsoll.still_works(&["p0"]);
    set(&plimsoll, "pool_idle_timeout", "1");
    plimsoll.wait_for_log("cleaning up idle pool for user app on db p0 because: pool idle timeout", SOON);
    postgres.wait_for_sessions("usename = 'app'", 0);
}

#[test]
fn servers_that_are_there_are_checked_when_it_is_asked_for() {
    let settings = vec![(String::from("log_statement"), String::from("all"))];
    let options = PostgresOptions { settings, ..Default::default() };
    let (postgres, plimsoll) = house_with(options, |ini| {
        ini.set("default_pool_size", "1").set("server_check_query", "SELECT 'are you there'")
    });
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    client.query("SELECT 1");
    let checks = || postgres.log().matches("statement: SELECT 'are you there'").count();
    assert_eq!(checks(), 0);
    set(&plimsoll, "server_check_delay", "0");
    // PgBouncer begins with the connection that comes back next.
    client.query("SELECT 2");
    client.query("SELECT 3");
    assert!(checks() > 0);
}

#[test]
fn the_next_attempt_to_connect_comes_as_soon_as_it_may() {
    let (_postgres, plimsoll) = house(|ini| {
        let nobody = format!("host=127.0.0.1 port={} dbname=p0", plimsoll_testkit::free_port());
        ini.database("dead", &nobody).set("server_login_retry", "600")
    });
    let mut waiting = Client::knock(&plimsoll.address(), SOON).unwrap();
    waiting.send(&plimsoll.login("app", "dead").startup_packet()).unwrap();
    plimsoll.wait_for_log("connect failed", SOON);
    let mark = plimsoll.log_mark();
    set(&plimsoll, "server_login_retry", "1");
    plimsoll.wait_for_log_since(mark, "connect failed", SOON);
}

#[test]
fn who_may_come_in_changes_at_once() {
    let (_postgres, plimsoll) = house(|ini| ini);
    assert_eq!(plimsoll.login("app", "pgbouncer").refusal().message, "not allowed");
    set(&plimsoll, "stats_users", "stats, app");
    assert_eq!(plimsoll.client("app", "pgbouncer").query("SHOW VERSION").rows.len(), 1);
    set(&plimsoll, "admin_users", "admin, app");
    assert_eq!(plimsoll.client("app", "pgbouncer").query("RELOAD").command, "RELOAD");
    assert_eq!(plimsoll.login("app", "pgbouncer").refusal().message, "not allowed", "RELOAD undid it");
    set(&plimsoll, "auth_type", "md5");
    let refused = plimsoll.login("app", "p0").password("wrong").refusal();
    assert_eq!(refused.message, "password authentication failed");
    let refused = plimsoll.login("app", "p0").parameter("no_such_thing", "1").refusal();
    assert_eq!(refused.message, "unsupported startup parameter: no_such_thing");
    set(&plimsoll, "auth_type", "trust");
    set(&plimsoll, "ignore_startup_parameters", "no_such_thing");
    let mut client = plimsoll.login("app", "p0").parameter("no_such_thing", "1").client();
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn the_log_says_more_when_it_is_asked_to() {
    let (_postgres, plimsoll) = house(|ini| ini);
    set(&plimsoll, "verbose", "1");
    let mark = plimsoll.log_mark();
    plimsoll.console().query("SHOW VERSION");
    plimsoll.wait_for_log_since(mark, "got admin query: SHOW VERSION", SOON);
    eventually_ok("RELOAD keeps it", SOON, || {
        let mut console = plimsoll.console();
        console.query("RELOAD");
        match shown(&mut console, "verbose").as_str() {
            "1" => Ok(()),
            other => Err(String::from(other)),
        }
    });
}
