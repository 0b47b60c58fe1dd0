//! The contract of a drop-in for the connections to PostgreSQL (reference 3.2 "Server side trouble", 3.5): see
//! `conformance.rs`.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::SOON;
use common::contract::{against_others, fatal, house, line, logged, start};
use plimsoll_testkit::{
    Batch, Client, FakeServer, Ini, Login, Plimsoll, Postgres, StopMode, error_response, eventually, tags,
};

/// A client whose startup packet is sent and not answered yet.
fn waiting_in_login(login: &Login) -> Client {
    let mut client = login.knock().unwrap();
    client.send(&login.startup_packet()).unwrap();
    client
}

#[track_caller]
fn pid(client: &mut Client) -> String {
    client.value("SELECT pg_backend_pid()")
}

/// Waits until SHOW POOLS has a row for `app` with these values.
#[track_caller]
fn pool_has(plimsoll: &Plimsoll, database: &str, wanted: &[(&str, &str)]) {
    let mut console = plimsoll.console();
    let all = [&[("database", database), ("user", "app")], wanted].concat();
    eventually(&format!("{all:?}"), SOON, || console.query("SHOW POOLS").find(&all).is_some());
}

#[test]
fn a_refusal_of_the_server_is_told_to_all_who_wait() {
    let gate = plimsoll_testkit::Gate::new();
    let (wait, keeper) = gate;
    let refusing = FakeServer::start(move |_, peer| {
        peer.startup()?;
        wait.wait()?;
        peer.send(&error_response("FATAL", "28000", "no entry today"))
    });
    let postgres = Postgres::start();
    let plimsoll = start(
        Ini::new(&postgres).database("closed", &format!("host=127.0.0.1 port={} dbname=x", refusing.port())),
    );
    let mut clients = [(); 3].map(|()| waiting_in_login(&plimsoll.login("app", "closed")));
    pool_has(&plimsoll, "closed", &[("cl_waiting", "3")]);
    keeper.open();
    for client in &mut clients {
        let error = client.expect_closed().expect("a reason");
        let sqlstate = if against_others() { "08P01" } else { "28000" };
        let seen = (error.severity.as_str(), error.sqlstate.as_str(), error.message.as_str());
        assert_eq!(seen, ("FATAL", sqlstate, "no entry today"));
    }
    logged(&plimsoll, 0, "no entry today");
    plimsoll.still_works(&["p0"]);
}

#[test]
fn servers_that_are_not_there_are_waited_for() {
    let postgres = Postgres::start();
    let mute = FakeServer::start(|_, peer| peer.startup().and_then(|_| peer.read()).map(drop).or(Ok(())));
    let on = |port: u16| format!("host=127.0.0.1 port={port} dbname=x");
    let plimsoll = start(
        Ini::new(&postgres)
            .set("server_login_retry", "1")
            .set("server_connect_timeout", "1")
            .set("query_wait_timeout", "3")
            .database("refused", &on(plimsoll_testkit::free_port()))
            .database("mute", &on(mute.port()))
            .database("nameless", "host=nowhere.invalid dbname=x"),
    );
    let mut clients =
        ["refused", "mute", "nameless"].map(|name| waiting_in_login(&plimsoll.login("app", name)));
    for client in &mut clients {
        assert!(!client.hears_within(Duration::from_millis(200)));
    }
    for client in &mut clients {
        fatal(&client.expect_closed().expect("a reason"), "query_wait_timeout");
    }
    for words in ["closing because: connect failed", "closing because: connect timeout", "DNS lookup failed"]
    {
        plimsoll.wait_for_log(words, SOON);
    }
    // One attempt at a time, and again after server_login_retry.
    assert!((2..=4).contains(&mute.accepted()), "{}", mute.accepted());
}

/// 1.18 sends its client away: `the database system is starting up`.
#[test]
fn modern_servers_that_start_are_waited_for() {
    let starting = FakeServer::start(|number, peer| {
        if number == 0 {
            peer.startup()?;
            return peer.send(&error_response("FATAL", "57P03", "the database system is starting up"));
        }
        peer.welcome()?;
        peer.read().map(drop).or(Ok(()))
    });
    let postgres = Postgres::start();
    let connection = format!("host=127.0.0.1 port={} dbname=x", starting.port());
    let plimsoll =
        start(Ini::new(&postgres).set("server_login_retry", "1").database("starting", &connection));
    drop(plimsoll.client("app", "starting"));
    assert_eq!(starting.accepted(), 2);
}

#[test]
fn a_login_that_has_been_failing_is_told_at_once() {
    let (mut postgres, plimsoll) = house(|ini| ini.set("server_login_retry", "600"));
    let (mut first, mut next) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p0"));
    first.query("SELECT 1");
    postgres.stop(StopMode::Fast);
    first.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    plimsoll.wait_for_log("closing because: connect failed", SOON);
    // Who asked for the attempt goes on waiting; who comes later hears of it.
    let words = match against_others() {
        true => "server login has been failing, try again later (server_login_retry)",
        false => "server login has been failing, cached error: connect failed (server_login_retry)",
    };
    fatal(&next.fail("SELECT 1"), words);
    logged(&plimsoll, 0, words);
}

#[test]
fn servers_that_go_away() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let held = pid(&mut client);
    postgres.terminate_sessions(&format!("pid = {held}"));
    let messages: Vec<_> = std::iter::from_fn(|| client.read().ok()).collect();
    let errors: Vec<_> = messages.iter().map(plimsoll_testkit::ServerError::of).collect();
    assert_eq!((tags(&messages).as_str(), errors[0].sqlstate.as_str()), ("EE", "57P01"));
    fatal(&errors[1], "server conn crashed?");
    logged(&plimsoll, 0, "server conn crashed?");
    // An idle one is missed by nobody.
    let mut next = plimsoll.client("app", "p0");
    let idle = pid(&mut next);
    let mark = plimsoll.log_mark();
    postgres.terminate_sessions(&format!("pid = {idle}"));
    plimsoll.wait_for_log_since(mark, "closing because: server conn crashed?", SOON);
    assert_ne!(pid(&mut next), idle);
}

#[test]
fn reconnect_renews_servers() {
    let postgres = Postgres::start();
    let session = format!("{} pool_mode=session", line(&postgres, "p0"));
    let plimsoll = start(Ini::new(&postgres).database("session", &session));
    let mut console = plimsoll.console();
    let mut client = plimsoll.client("app", "p0");
    let mut session = plimsoll.client("app", "session");
    let (idle, linked) = (pid(&mut client), pid(&mut session));
    console.query("RECONNECT");
    postgres.wait_backend_gone(idle.parse().unwrap());
    assert_eq!(pid(&mut session), linked);
    assert_ne!(pid(&mut client), idle);
    console.send(Batch::new().query("WAIT_CLOSE session").bytes()).unwrap();
    assert!(!console.hears_within(Duration::from_millis(200)));
    session.leave();
    assert_eq!(tags(&console.cycle().unwrap()), "CZ");
    postgres.wait_backend_gone(linked.parse().unwrap());
    // With server_fast_close a session does not go on.
    console.query("SET server_fast_close = 1");
    let mut session = plimsoll.client("app", "session");
    session.query("BEGIN");
    console.query("RECONNECT session");
    assert_eq!(session.value("SELECT 1"), "1");
    session.send(Batch::new().query("COMMIT").bytes()).unwrap();
    fatal(&session.expect_closed().expect("a reason"), "database configuration changed");
}

#[test]
fn a_setting_that_fails_takes_both_along() {
    let (_postgres, plimsoll) = house(|ini| ini);
    plimsoll.still_works(&["p0"]);
    let mut client = plimsoll.login("app", "p0").parameter("TimeZone", "nonsense").client();
    fatal(&client.fail("SELECT 1"), "invalid server parameter");
    logged(&plimsoll, 0, "invalid server parameter");
    plimsoll.wait_for_log("S-", SOON);
    plimsoll.still_works(&["p0"]);
}

#[test]
fn the_youngest_of_the_idle_is_used_first() {
    for (round_robin, used_last) in [("0", true), ("1", false)] {
        // Each worker of ours looks at its own first.
        let (_postgres, plimsoll) = house(|ini| match against_others() {
            true => ini.set("server_round_robin", round_robin),
            false => ini.set("server_round_robin", round_robin).own("workers", "1"),
        });
        let (mut one, mut other) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p0"));
        one.query("BEGIN");
        other.query("BEGIN");
        let first = pid(&mut one);
        other.query("COMMIT");
        one.query("COMMIT");
        assert_eq!(pid(&mut plimsoll.client("app", "p0")) == first, used_last, "{round_robin}");
    }
}

#[test]
fn lives_end() {
    let postgres = Postgres::start();
    let ini = || Ini::new(&postgres);
    // Closed when it is given back.
    let plimsoll = start(ini().set("server_lifetime", "0"));
    let mut client = plimsoll.client("app", "p0");
    let first = pid(&mut client);
    postgres.wait_backend_gone(first.parse().unwrap());
    drop(plimsoll);
    for (key, words) in [
        ("server_lifetime", "closing because: server lifetime over"),
        ("server_idle_timeout", "closing because: server idle timeout"),
    ] {
        let plimsoll = start(ini().set(key, "1"));
        let mut client = plimsoll.client("app", "p0");
        let first = pid(&mut client);
        postgres.wait_backend_gone(first.parse().unwrap());
        plimsoll.wait_for_log(words, SOON);
        assert_ne!(pid(&mut client), first, "{key}");
    }
}

#[test]
fn pools_grow_and_are_kept_small() {
    let (postgres, plimsoll) = house(|ini| {
        ini.set("default_pool_size", "1").set("reserve_pool_size", "1").set("reserve_pool_timeout", "1")
    });
    let mut holder = plimsoll.client("app", "p0");
    holder.query("BEGIN");
    let mut second = plimsoll.client("app", "p0");
    second.send(Batch::new().query("BEGIN").bytes()).unwrap();
    assert_eq!(tags(&second.cycle().unwrap()), "CZ");
    plimsoll.wait_for_log("taking connection from reserve_pool", SOON);
    postgres.wait_for_sessions("datname = 'p0'", 2);
    let mut third = plimsoll.client("app", "p0");
    third.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    pool_has(&plimsoll, "p0", &[("cl_waiting", "1"), ("sv_active", "2")]);
    second.query("COMMIT");
    assert_eq!(tags(&third.cycle().unwrap()), "TDCZ");
}

/// 1.18 waits for a client even where the user is known.
#[test]
fn modern_min_pool_size_is_kept_without_clients() {
    let postgres = Postgres::start();
    let forced = format!("{} user=other min_pool_size=2", line(&postgres, "p1"));
    let few = format!("{} min_pool_size=2", line(&postgres, "p0"));
    let plimsoll = start(Ini::new(&postgres).database("p0", &few).database("p1", &forced));
    // A pool whose user is known needs no client.
    postgres.wait_for_sessions("datname = 'p1' AND usename = 'other'", 2);
    assert_eq!(postgres.count_sessions("datname = 'p0'"), 0);
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    postgres.wait_for_sessions("datname = 'p0'", 2);
}

#[test]
fn full_databases_and_users_evict_the_idle() {
    for key in ["max_db_connections", "max_user_connections"] {
        let (postgres, plimsoll) = house(|ini| ini.set(key, "1"));
        let (second, database) = if key == "max_db_connections" { ("other", "p0") } else { ("app", "p1") };
        let mut one = plimsoll.client("app", "p0");
        let first = pid(&mut one);
        assert_ne!(pid(&mut plimsoll.client(second, database)), first);
        postgres.wait_backend_gone(first.parse().unwrap());
        plimsoll.wait_for_log("closing because: evicted", SOON);
    }
}

#[test]
fn servers_are_checked_and_reset() {
    let (_postgres, plimsoll) = house(|ini| {
        ini.set("server_check_delay", "0")
            .set("server_check_query", "SET statement_timeout = '77s'")
            .set("server_reset_query", "SET work_mem = '66MB'")
            .set("server_reset_query_always", "1")
            .set("default_pool_size", "1")
    });
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    assert_eq!(client.value("SHOW work_mem"), "66MB");
    // Without `always` it is for session pooling.
    plimsoll.console().query("SET server_reset_query_always = 0");
    client.query("SET work_mem = '77MB'");
    assert_eq!(client.value("SHOW work_mem"), "77MB");
    // The check goes with every hand-out.
    assert_eq!(client.value("SHOW statement_timeout"), "77s");
}

#[test]
fn a_second_one_on_the_same_socket_does_not_start() {
    let (postgres, plimsoll) = house(|ini| ini);
    let (status, output) = plimsoll_testkit::run_beside(&program(), |command| {
        command.arg(plimsoll.ini_path());
    });
    assert!(!status.success(), "{output}");
    assert!(output.contains("unix socket is in use, cannot continue"), "{output}");
    plimsoll.still_works(&["p0"]);
    drop(postgres);
}

fn program() -> String {
    plimsoll_testkit::binary_of(common::BINARY).display().to_string()
}

/// 1.18 has no load_balance_hosts.
#[test]
fn modern_hosts_may_be_kept_to() {
    let (postgres, plimsoll) = house(|ini| ini);
    let list = format!("host=127.0.0.1,::1 port={} dbname=p0 pool_mode=session", postgres.port());
    let line = format!("{list} load_balance_hosts=disable");
    plimsoll.reload(
        &Ini::new(&postgres).own("compat", "pgbouncer").database("first", &line).database("all", &list),
    );
    let mut clients: Vec<Client> = (0..3).map(|_| plimsoll.client("app", "first")).collect();
    for client in &mut clients {
        assert_eq!(client.value("SELECT host(inet_server_addr())"), "127.0.0.1");
    }
    let shown = plimsoll.show("DATABASES");
    let seen =
        |name: &str| shown.cell(shown.find(&[("name", name)]).unwrap(), "load_balance_hosts").to_string();
    assert_eq!([seen("first"), seen("all"), seen("p0")], ["disable", "round-robin", ""]);
}

/// 1.18 has no pool_idle_timeout.
#[test]
fn modern_idle_pools_are_forgotten() {
    let (postgres, plimsoll) = house(|ini| ini.set("pool_idle_timeout", "1"));
    plimsoll.client("app", "p0").query("SELECT 1");
    plimsoll
        .wait_for_log("cleaning up idle pool for user app on db p0 because: pool idle timeout (age=", SOON);
    postgres.wait_for_sessions("datname = 'p0'", 0);
    eventually("the pool to be gone", SOON, || plimsoll.show("POOLS").count(&[("database", "p0")]) == 0);
}
