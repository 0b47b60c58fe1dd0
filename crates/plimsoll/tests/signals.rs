//! Signals and how it ends (reference, section 1).

#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpStream;

use common::{SOON, backend, house, wait_for_pool};
use plimsoll_testkit::{Batch, Client, Plimsoll, Postgres, Signal, eventually, eventually_ok, tags};

#[track_caller]
fn exits_well(plimsoll: &mut Plimsoll) {
    let status = plimsoll.wait_exit(SOON);
    assert_eq!(status.code(), Some(0), "{}", plimsoll.log());
}

#[track_caller]
fn tcp_is_closed(plimsoll: &Plimsoll) {
    let port = plimsoll.port();
    eventually("TCP connects to be refused", SOON, || TcpStream::connect(("127.0.0.1", port)).is_err());
}

/// A client that sleeps on its server.
fn sleeper(postgres: &Postgres, plimsoll: &Plimsoll) -> Client {
    let mut client = plimsoll.client("app", "p0");
    client.send(Batch::new().query("SELECT 'slept' FROM pg_sleep(600)").bytes()).unwrap();
    postgres.wait_for_sessions("query LIKE '%pg_sleep(600)%' AND state = 'active'", 1);
    client
}

#[test]
fn sigterm_waits_for_clients() {
    let (postgres, mut plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    plimsoll.signal(Signal::Terminate);
    plimsoll.wait_for_log("got SIGTERM, shutting down, waiting for all clients disconnect", SOON);
    tcp_is_closed(&plimsoll);
    // Who is in goes on, new servers included; who comes over the Unix socket is told.
    assert_eq!(client.value("SELECT 1"), "1");
    client.query("COMMIT");
    client.query("SELECT 1");
    let error = plimsoll.login("app", "p0").at(plimsoll.unix_address()).refusal();
    assert_eq!((error.severity.as_str(), error.message.as_str()), ("FATAL", "pooler is shutting down"));
    let login = plimsoll.login("admin", "pgbouncer").at(plimsoll.unix_address());
    let mut console = login.client();
    assert_eq!(
        console.query("SHOW POOLS").find(&[("database", "p0"), ("cl_active", "1")]).map(|_| ()),
        Some(())
    );
    assert_eq!(console.fail("RESUME").message, "pooler is shutting down");
    console.leave();
    assert_eq!(client.value("SELECT 'still'"), "still");
    client.leave();
    plimsoll.wait_for_log("client connections dropped, exiting", SOON);
    exits_well(&mut plimsoll);
    let socket = plimsoll.dir().join(format!(".s.PGSQL.{}", plimsoll.port()));
    assert!(!socket.exists(), "the Unix socket was left behind");
    postgres.wait_for_sessions("true", 0);
}

#[test]
fn sigterm_twice_ends_at_once() {
    let (postgres, mut plimsoll) = house(|ini| ini);
    let mut client = sleeper(&postgres, &plimsoll);
    plimsoll.signal(Signal::Terminate);
    plimsoll.wait_for_log("got SIGTERM, shutting down", SOON);
    plimsoll.signal(Signal::Terminate);
    exits_well(&mut plimsoll);
    plimsoll.wait_for_log("got SIGTERM while shutting down, fast exit", SOON);
    client.expect_closed();
    postgres.terminate_sessions("true");
}

#[test]
fn sigint_waits_for_servers() {
    let (_postgres, mut plimsoll) = house(|ini| ini);
    let mut holder = plimsoll.client("app", "p0");
    let mut idle = plimsoll.client("app", "p0");
    holder.query("BEGIN");
    plimsoll.signal(Signal::Interrupt);
    plimsoll
        .wait_for_log("got SIGINT, shutting down, waiting for all servers connections to be released", SOON);
    tcp_is_closed(&plimsoll);
    assert_eq!(holder.value("SELECT 1"), "1");
    let error = idle.fail("SELECT 1");
    assert_eq!((error.severity.as_str(), error.message.as_str()), ("FATAL", "server shutting down"));
    holder.query("COMMIT");
    plimsoll.wait_for_log("server connections dropped, exiting", SOON);
    exits_well(&mut plimsoll);
    holder.expect_closed();
}

#[test]
fn sigint_twice_ends_at_once() {
    let (postgres, mut plimsoll) = house(|ini| ini);
    let mut client = sleeper(&postgres, &plimsoll);
    plimsoll.signal(Signal::Interrupt);
    plimsoll.wait_for_log("got SIGINT, shutting down", SOON);
    plimsoll.signal(Signal::Interrupt);
    exits_well(&mut plimsoll);
    plimsoll.wait_for_log("got SIGINT while shutting down, fast exit", SOON);
    client.expect_closed();
    postgres.terminate_sessions("true");
}

#[test]
fn sigquit_ends_at_once() {
    let (postgres, mut plimsoll) = house(|ini| ini);
    let mut client = sleeper(&postgres, &plimsoll);
    plimsoll.signal(Signal::Quit);
    exits_well(&mut plimsoll);
    plimsoll.wait_for_log("got SIGQUIT, fast exit", SOON);
    client.expect_closed();
    postgres.terminate_sessions("true");
}

#[test]
fn without_clients_all_of_them_end_it() {
    for signal in [Signal::Terminate, Signal::Interrupt, Signal::Quit] {
        let (_postgres, mut plimsoll) = house(|ini| ini);
        plimsoll.still_works(&["p0"]);
        plimsoll.signal(signal);
        exits_well(&mut plimsoll);
    }
}

#[test]
fn usr1_pauses_and_usr2_goes_on() {
    let (postgres, mut plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    let mut open = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    open.query("BEGIN");
    plimsoll.signal(Signal::User1);
    plimsoll.wait_for_log("got SIGUSR1, pausing all activity", SOON);
    // A transaction goes on to its end; new queries wait.
    assert_eq!(open.value("SELECT 1"), "1");
    client.send(Batch::new().query("SELECT 'paused'").bytes()).unwrap();
    open.query("COMMIT");
    postgres.wait_for_sessions("true", 0);
    wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 1), ("sv_active", 0), ("sv_idle", 0)]);
    plimsoll.signal(Signal::User1);
    plimsoll.wait_for_log("got SIGUSR1, but already paused/suspended", SOON);
    plimsoll.signal(Signal::User2);
    assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
    plimsoll.wait_for_log("got SIGUSR2, continuing from PAUSE", SOON);
    plimsoll.signal(Signal::User2);
    plimsoll.wait_for_log("got SIGUSR2, but not paused/suspended", SOON);
    plimsoll.still_works(&["p0", "p1"]);
}

#[test]
fn usr2_is_ignored_while_shutting_down() {
    let (_postgres, mut plimsoll) = house(|ini| ini);
    let client = plimsoll.client("app", "p0");
    plimsoll.signal(Signal::Terminate);
    plimsoll.wait_for_log("got SIGTERM, shutting down", SOON);
    plimsoll.signal(Signal::User2);
    plimsoll.wait_for_log("got SIGUSR2 while shutting down, ignoring", SOON);
    client.leave();
    exits_well(&mut plimsoll);
}

#[test]
fn sighup_reads_the_files_again() {
    let postgres = Postgres::start();
    let ini = plimsoll_testkit::Ini::new(&postgres).set("default_pool_size", "1");
    let mut plimsoll = common::pooler(ini.clone());
    let mut client = plimsoll.client("app", "p0");
    let held = backend(&mut client);
    plimsoll.rewrite(&ini.database("late", &format!("host=127.0.0.1 port={} dbname=p2", postgres.port())));
    plimsoll.signal(Signal::Hangup);
    plimsoll.wait_for_log("got SIGHUP, re-reading config", SOON);
    eventually_ok("the new database", SOON, || {
        let mut late = plimsoll.login("app", "late").try_client().map_err(|failure| failure.to_string())?;
        match late.value("SELECT current_database()").as_str() {
            "p2" => Ok(()),
            other => Err(format!("in {other}")),
        }
    });
    assert_eq!(backend(&mut client), held, "nothing about p0 changed");
}

#[test]
fn shutdown_commands_do_the_same() {
    let (_postgres, mut plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    let mut console = plimsoll.console();
    assert_eq!(console.query("SHUTDOWN WAIT_FOR_CLIENTS").command, "SHUTDOWN");
    plimsoll.wait_for_log("SHUTDOWN WAIT_FOR_CLIENTS command issued", SOON);
    assert_eq!(client.value("SELECT 1"), "1");
    client.leave();
    console.leave();
    exits_well(&mut plimsoll);

    let (_postgres, mut plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let mut console = plimsoll.console();
    assert_eq!(console.query("SHUTDOWN WAIT_FOR_SERVERS").command, "SHUTDOWN");
    plimsoll.wait_for_log("SHUTDOWN WAIT_FOR_SERVERS command issued", SOON);
    client.query("COMMIT");
    exits_well(&mut plimsoll);

    let (postgres, mut plimsoll) = house(|ini| ini);
    let mut client = sleeper(&postgres, &plimsoll);
    let mut console = plimsoll.console();
    console.send(Batch::new().query("SHUTDOWN").bytes()).unwrap();
    assert_eq!(console.expect_closed(), None);
    exits_well(&mut plimsoll);
    plimsoll.wait_for_log("SHUTDOWN command issued", SOON);
    client.expect_closed();
    postgres.terminate_sessions("true");
}
