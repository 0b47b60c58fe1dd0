//! PostgreSQL stops, restarts, refuses, hangs, crashes; descriptors run out. In each case the right one hears a clear
//! message, nobody else is disturbed, and all goes on by itself when the cause is gone.

#![allow(clippy::unwrap_used)]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::{BINARY, SOON, backend, house, house_with, servers_in, wait_for_pool};
use plimsoll_testkit::{
    Batch, Client, FakeServer, Gate, Ini, Packet, Plimsoll, Postgres, PostgresOptions, ServerAuth, StopMode,
    error_response, eventually, eventually_ok, tags,
};

/// Asks until it is answered: clients whose server is gone may be told so once.
#[track_caller]
fn works_again(plimsoll: &Plimsoll, database: &str) {
    eventually_ok(&format!("{database} to work again"), SOON, || {
        let mut client =
            plimsoll.login("app", database).try_client().map_err(|failure| failure.to_string())?;
        client.try_query("SELECT 1").map(drop).map_err(|failure| failure.to_string())
    });
}

fn quick_retry(ini: Ini) -> Ini {
    ini.set("server_login_retry", "1")
}

#[track_caller]
fn counts_agree(postgres: &Postgres, plimsoll: &Plimsoll) {
    let mut console = plimsoll.console();
    eventually_ok("PostgreSQL to see what we count", SOON, || {
        let counted = servers_in(&console.query("SHOW POOLS"));
        let seen = postgres.count_sessions("application_name <> 'direct'") as u64;
        if counted == seen { Ok(()) } else { Err(format!("we count {counted}, PostgreSQL {seen}")) }
    });
}

#[test]
fn postgres_restarts_under_idle_clients() {
    for mode in [StopMode::Fast, StopMode::Immediate] {
        // A pool of one: no second connection is on its way in when PostgreSQL goes, whose failure would be told.
        let (mut postgres, plimsoll) = house(|ini| quick_retry(ini).set("default_pool_size", "1"));
        let mut clients: Vec<Client> = (0..5).map(|_| plimsoll.client("app", "p0")).collect();
        for client in &mut clients {
            client.query("SELECT 1");
        }
        postgres.restart(mode);
        // Nobody had a server: nobody hears of it.
        for client in &mut clients {
            assert_eq!(client.value("SELECT 'same client'"), "same client", "{mode:?}");
        }
        counts_agree(&postgres, &plimsoll);
    }
}

#[test]
fn postgres_stops_under_a_query_and_comes_back() {
    let (mut postgres, plimsoll) = house(|ini| quick_retry(ini).set("default_pool_size", "2"));
    let mut busy = plimsoll.client("app", "p0");
    let mut open = plimsoll.client("app", "p0");
    let mut idle = plimsoll.client("app", "p0");
    idle.query("SELECT 1");
    open.query("BEGIN");
    busy.send(Batch::new().query("SELECT pg_sleep(600)").bytes()).unwrap();
    postgres.wait_for_sessions("query LIKE '%pg_sleep(600)%' AND state = 'active'", 1);
    postgres.stop(StopMode::Fast);
    // What the server said comes first (57P01), then our own words, then the end.
    let last = busy.expect_closed().expect("a reason");
    assert_eq!((last.severity.as_str(), last.sqlstate.as_str()), ("FATAL", "57P01"));
    assert_eq!(
        last.message,
        "server ended the connection: FATAL: terminating connection due to administrator command (57P01)"
    );
    let last = open.fail("SELECT 1");
    assert_eq!(last.severity, "FATAL");
    plimsoll.wait_for_log("closing because: server ended the connection: FATAL: terminating", SOON);
    // While it is down the console works, and a client that asks is told at once or waits.
    assert_eq!(plimsoll.show("POOLS").count(&[("database", "p0")]), 1);
    idle.send(Batch::new().query("SELECT 'patience'").bytes()).unwrap();
    plimsoll.wait_for_log("connect failed", SOON);
    postgres.start_again();
    match idle.cycle() {
        Ok(answer) => assert_eq!(tags(&answer), "TDCZ"),
        Err(failure) => assert!(failure.server().message.contains("server login has been failing")),
    }
    works_again(&plimsoll, "p0");
    counts_agree(&postgres, &plimsoll);
}

#[test]
fn one_backend_killed_takes_all_sessions_and_all_come_back() {
    let (postgres, plimsoll) = house(quick_retry);
    let mut busy = plimsoll.client("app", "p0");
    let mut idle = plimsoll.client("app", "p1");
    idle.query("SELECT 1");
    busy.query("BEGIN");
    let victim = backend(&mut busy);
    busy.send(Batch::new().query("SELECT pg_sleep(600)").bytes()).unwrap();
    postgres.wait_for_sessions("query LIKE '%pg_sleep(600)%' AND state = 'active'", 1);
    // PostgreSQL ends all sessions, the kit's own one too, and recovers.
    postgres.kill_backend(victim);
    let last = busy.expect_closed().expect("a reason");
    assert_eq!((last.severity.as_str(), last.sqlstate.as_str()), ("FATAL", "08006"));
    assert_eq!(last.message, "server closed the connection without saying why");
    eventually("PostgreSQL to recover", SOON, || postgres.login("app", "p0").try_client().is_ok());
    eventually_ok("the idle one to go on", SOON, || match idle.try_query("SELECT 1") {
        Ok(_) => Ok(()),
        Err(failure) if failure.is_gone() => panic!("it was cut off"),
        Err(failure) => {
            let error = failure.server();
            idle = plimsoll.login("app", "p1").try_client().map_err(|failure| failure.to_string())?;
            Err(error.to_string())
        }
    });
    works_again(&plimsoll, "p0");
}

#[test]
fn a_terminated_backend_costs_its_client_only() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut busy = plimsoll.client("app", "p0");
    let mut other = plimsoll.client("app", "p0");
    busy.send(Batch::new().query("SELECT pg_sleep(600)").bytes()).unwrap();
    postgres.wait_for_sessions("query LIKE '%pg_sleep(600)%' AND state = 'active'", 1);
    postgres.terminate_sessions("query LIKE '%pg_sleep(600)%'");
    let mut errors = Vec::new();
    while let Ok(message) = busy.read() {
        if message.tag == b'E' {
            errors.push(plimsoll_testkit::ServerError::of(&message).sqlstate);
        }
    }
    assert_eq!(errors, ["57P01", "57P01"], "the server's words, then ours");
    assert_eq!(other.value("SELECT 1"), "1");
    counts_agree(&postgres, &plimsoll);
}

#[test]
fn an_idle_server_that_dies_is_not_seen_by_anybody() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "3"));
    let mut client = plimsoll.client("app", "p0");
    for _ in 0..20 {
        let old = backend(&mut client);
        postgres.terminate_sessions(&format!("pid = {old}"));
        postgres.wait_backend_gone(old);
        assert_ne!(backend(&mut client), old);
    }
    counts_agree(&postgres, &plimsoll);
}

/// The last words of a server that had already answered are nobody's: a driver would take them for the answer to its
/// next statement and send that again, though it was executed.
#[test]
fn a_server_that_dies_behind_its_answer_is_not_heard_by_anybody() {
    let server = FakeServer::start(|_, peer| {
        peer.welcome()?;
        peer.read_to(b'Q')?;
        let mut last = Packet::typed(b'C').text("INSERT 0 1").bytes();
        last.extend(Packet::typed(b'Z').raw(b"I").bytes());
        last.extend(error_response("FATAL", "57P01", "terminating connection"));
        peer.send(&last)
    });
    let line = format!("host=127.0.0.1 port={} dbname=x", server.port());
    let plimsoll = common::pooler(
        quick_retry(Ini::empty())
            .own("target_budget", "off")
            .database("mortal", &line)
            .login("app", "app-secret"),
    );
    let mut client = plimsoll.login("app", "mortal").client();
    for executed in 1..=5 {
        assert_eq!(tags(&client.run(&Batch::new().query("INSERT"))), "CZ");
        assert_eq!(server.accepted(), executed, "each server executes one statement");
    }
    plimsoll
        .wait_for_log("closing because: server ended the connection: FATAL: terminating connection", SOON);
}

#[test]
fn a_full_postgres_lets_those_wait_who_can_be_served() {
    // Eight places, three of them for superusers, one for the kit: the pooler gets some, but never its twenty.
    let options = PostgresOptions { max_connections: 8, ..Default::default() };
    let (postgres, plimsoll) = house_with(options, quick_retry);
    let threads: Vec<_> = (0..20)
        .map(|number| {
            let login = plimsoll.login("app", "p0");
            thread::spawn(move || {
                let mut client = login.client();
                for _ in 0..5 {
                    let answer = client.value(&format!("SELECT {number} FROM pg_sleep(0.01)"));
                    assert_eq!(answer, number.to_string());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a client was refused though its pool had servers");
    }
    assert!(postgres.count_sessions("usename = 'app'") <= 5);
    counts_agree(&postgres, &plimsoll);
}

#[test]
fn a_refusing_postgres_lets_clients_wait_and_serves_them_when_there_is_room() {
    let options = PostgresOptions { max_connections: 6, ..Default::default() };
    let (postgres, plimsoll) = house_with(options, |ini| quick_retry(ini).set("query_wait_timeout", "3"));
    // Others have taken every place.
    let mut greedy = Vec::new();
    while let Ok(client) = postgres.login("app", "p2").try_client() {
        greedy.push(client);
    }
    assert!(!greedy.is_empty());
    let error = plimsoll.login("app", "p0").refusal();
    assert_eq!((error.severity.as_str(), error.sqlstate.as_str()), ("FATAL", "53300"));
    // The log names the cause: PostgreSQL's own words.
    let words = "connection slots are reserved";
    assert!(
        plimsoll.log().contains(words) || plimsoll.log().contains("too many clients"),
        "{}",
        plimsoll.log()
    );
    let login = plimsoll.login("app", "p0");
    let waiting = thread::spawn(move || login.client().value("SELECT 'room'"));
    wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 1)]);
    drop(greedy);
    assert_eq!(waiting.join().unwrap(), "room");
    counts_agree(&postgres, &plimsoll);
}

#[test]
fn a_server_that_is_starting_up_lets_clients_wait() {
    let server = FakeServer::start(|number, peer| {
        if number < 2 {
            peer.startup()?;
            return peer.send(&error_response("FATAL", "57P03", "the database system is starting up"));
        }
        peer.welcome()?;
        peer.serve()
    });
    let line = format!("host=127.0.0.1 port={} dbname=x", server.port());
    let ini = quick_retry(Ini::empty()).database("slow", &line).login("app", "app-secret");
    let plimsoll = common::pooler(ini);
    let mut client = plimsoll.login("app", "slow").client();
    assert_eq!(client.value("SELECT 1"), "1");
    assert!(server.accepted() >= 3, "{}", server.accepted());
}

#[test]
fn a_server_slow_to_accept_delays_only_its_own_clients() {
    let (gate, keeper) = Gate::new();
    let server = FakeServer::start(move |_, peer| {
        gate.wait()?;
        peer.welcome()?;
        peer.serve()
    });
    let (_postgres, plimsoll) = house(|ini| {
        let line = format!("host=127.0.0.1 port={} dbname=x", server.port());
        quick_retry(ini).database("slow", &line).set("server_connect_timeout", "60")
    });
    let login = plimsoll.login("app", "slow").patience(SOON * 2);
    let waiting = thread::spawn(move || login.client().value("SELECT 1"));
    eventually("the connection to be tried", SOON, || server.accepted() == 1);
    for _ in 0..20 {
        plimsoll.still_works(&["p0", "p1"]);
    }
    assert_eq!(plimsoll.show("POOLS").find(&[("database", "slow"), ("sv_login", "1")]).map(|_| ()), Some(()));
    keeper.open();
    assert_eq!(waiting.join().unwrap(), "1");
}

#[test]
fn a_server_that_never_answers_is_given_up_at_its_timeout() {
    let (gate, keeper) = Gate::new();
    let server = FakeServer::start(move |number, peer| {
        if number == 0 {
            // Says nothing for as long as the test runs.
            gate.wait()?;
            return Ok(());
        }
        peer.welcome()?;
        peer.serve()
    });
    let line = format!("host=127.0.0.1 port={} dbname=x", server.port());
    let ini = quick_retry(Ini::empty()).database("mute", &line).login("app", "app-secret");
    let plimsoll = common::pooler(ini.set("server_connect_timeout", "1"));
    let mut client = plimsoll.login("app", "mute").client();
    assert_eq!(client.value("SELECT 1"), "1");
    plimsoll.wait_for_log("closing because: connect timeout", SOON);
    drop(keeper);
}

#[test]
fn a_frozen_postgres_thaws_and_nobody_is_lost() {
    let (postgres, plimsoll) = house(|ini| quick_retry(ini).set("default_pool_size", "2"));
    let mut client = plimsoll.client("app", "p0");
    let held = backend(&mut client);
    postgres.freeze(held);
    client.send(Batch::new().query("SELECT 'thawed'").bytes()).unwrap();
    // Sent is not yet received: only when it holds the frozen server do the others get another one.
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 1)]);
    // The other server of the pool serves the others.
    plimsoll.still_works(&["p0", "p1"]);
    assert!(!client.hears_within(Duration::from_millis(200)));
    postgres.thaw(held);
    assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
    plimsoll.still_works(&["p0"]);
}

#[test]
fn descriptors_run_out_and_come_back() {
    let postgres = Postgres::start();
    let ini = Ini::new(&postgres).set("default_pool_size", "2").set("max_client_conn", "500");
    let mut plimsoll = Plimsoll::start_limited(BINARY, &ini, Some(64));
    let mut steady = plimsoll.client("app", "p0");
    assert_eq!(steady.value("SELECT 1"), "1");
    let mut crowd: Vec<Client> = Vec::new();
    let short = Duration::from_millis(300);
    let mut refused = 0;
    for _ in 0..100 {
        match plimsoll.login("app", "p0").patience(short).try_client() {
            Ok(client) => crowd.push(client),
            Err(_) => refused += 1,
        }
        if refused == 5 {
            break;
        }
    }
    assert!(refused > 0, "descriptors did not run out");
    assert!(crowd.len() > 10, "only {} came in", crowd.len());
    // Whoever comes to see why gets in all the same; anybody else is told.
    assert!(plimsoll.show("POOLS").count(&[("database", "p0")]) == 1);
    eventually("a client told that descriptors are used up", SOON, || {
        let told = plimsoll.login("app", "p0").try_client().err().map(|failure| failure.to_string());
        told.is_some_and(|text| text.contains("no more file descriptors"))
    });
    // Those who are in are served, and the accept loop does not burn the machine.
    let (ticks, begun) = (plimsoll.process().cpu_ticks(), Instant::now());
    for _ in 0..20 {
        assert_eq!(steady.value("SELECT 1 FROM pg_sleep(0.05)"), "1");
    }
    let (ticks, elapsed) = (plimsoll.process().cpu_ticks() - ticks, begun.elapsed());
    assert!(ticks < 50, "{ticks} ticks of CPU in {elapsed:?}");
    for client in &mut crowd {
        assert_eq!(client.value("SELECT 1"), "1");
    }
    drop(crowd);
    works_again(&plimsoll, "p0");
    works_again(&plimsoll, "p1");
    assert_eq!(steady.value("SELECT 1"), "1");
}

#[test]
fn a_refused_login_storm_does_not_hammer_postgres() {
    let options = PostgresOptions { auth: ServerAuth::Reject, ..Default::default() };
    let (mut postgres, plimsoll) = house_with(options, quick_retry);
    let begun = Instant::now();
    let mut refusals: u32 = 0;
    for _ in 0..5 {
        refusals += u32::from(plimsoll.login("app", "p0").try_client().is_err());
    }
    assert_eq!(refusals, 5);
    let tries = plimsoll.log().matches("new connection to server").count();
    let seconds = begun.elapsed().as_secs();
    assert!(tries as u64 <= seconds + 3, "{tries} tries in {seconds} s with server_login_retry = 1");
    postgres.set_auth(ServerAuth::Trust);
    works_again(&plimsoll, "p0");
    wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 0)]);
}
