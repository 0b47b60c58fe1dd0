//! Timeouts that end clients: the right one hears the right words, its server connection is not lost.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::{SOON, house, wait_for_pool};
use plimsoll_testkit::{Batch, Client, Ini, Plimsoll, Postgres, ServerError};

/// A pool of one with one more setting.
fn narrow(key: &str, value: &str) -> (Postgres, Plimsoll) {
    house(|ini: Ini| ini.set("default_pool_size", "1").set(key, value))
}

#[track_caller]
fn ends_with(client: &mut Client, sqlstate: &str, message: &str) {
    let error: ServerError = client.expect_closed().expect("a reason");
    let seen = (error.severity.as_str(), error.sqlstate.as_str(), error.message.as_str());
    assert_eq!(seen, ("FATAL", sqlstate, message));
}

/// Afterwards the pool is whole: somebody else gets a server at once, and none is left in use.
#[track_caller]
fn pool_is_whole(postgres: &Postgres, plimsoll: &Plimsoll) {
    plimsoll.still_works(&["p0"]);
    wait_for_pool(plimsoll, "p0", &[("cl_active", 0), ("cl_waiting", 0), ("sv_active", 0)]);
    postgres.wait_for_sessions("state LIKE 'idle in transaction%'", 0);
}

#[test]
fn query_timeout_ends_a_running_query() {
    let (postgres, plimsoll) = narrow("query_timeout", "1");
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT pg_sleep(0.2)");
    client.send(Batch::new().query("SELECT pg_sleep(600)").bytes()).unwrap();
    ends_with(&mut client, "57014", "query timeout");
    plimsoll.wait_for_log("closing because: query timeout", SOON);
    // PostgreSQL may go on with a query whose connection is gone; end it as an operator would.
    postgres.terminate_sessions("query LIKE '%pg_sleep(600)%'");
    pool_is_whole(&postgres, &plimsoll);
}

#[test]
fn query_timeout_ends_a_waiting_query_but_no_idle_transaction() {
    let (postgres, plimsoll) = narrow("query_timeout", "1");
    let mut holder = plimsoll.client("app", "p0");
    holder.query("BEGIN");
    let mut waiting = plimsoll.client("app", "p0");
    waiting.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    ends_with(&mut waiting, "57014", "query_timeout");
    // The holder was idle in its transaction all that time, which is not a query.
    assert_eq!(holder.value("SELECT 'here'"), "here");
    holder.query("COMMIT");
    holder.leave();
    pool_is_whole(&postgres, &plimsoll);
}

#[test]
fn idle_transaction_timeout_ends_who_sits_in_a_transaction() {
    let (postgres, plimsoll) = narrow("idle_transaction_timeout", "1");
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    // A long query inside the transaction does not count.
    client.query("SELECT pg_sleep(1.5)");
    ends_with(&mut client, "25P03", "idle transaction timeout");
    pool_is_whole(&postgres, &plimsoll);
}

#[test]
fn transaction_timeout_fires_in_the_middle_of_work() {
    let (postgres, plimsoll) = narrow("transaction_timeout", "1");
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let begun = Instant::now();
    let failure = loop {
        assert!(begun.elapsed() < SOON, "it never fired");
        if let Err(failure) = client.try_query("SELECT pg_sleep(0.05)") {
            break failure;
        }
    };
    let error = failure.server();
    assert_eq!((error.sqlstate.as_str(), error.message.as_str()), ("25P04", "transaction timeout"));
    assert!(begun.elapsed() > Duration::from_millis(800), "{:?}", begun.elapsed());
    pool_is_whole(&postgres, &plimsoll);
}

#[test]
fn client_idle_timeout_ends_only_those_without_a_server() {
    let (postgres, plimsoll) = house(|ini| ini.set("client_idle_timeout", "1"));
    let mut idle = plimsoll.client("app", "p0");
    let mut open = plimsoll.client("app", "p0");
    idle.query("SELECT 1");
    open.query("BEGIN");
    ends_with(&mut idle, "57P05", "client_idle_timeout");
    assert_eq!(open.value("SELECT 'here'"), "here");
    open.query("COMMIT");
    ends_with(&mut open, "57P05", "client_idle_timeout");
    pool_is_whole(&postgres, &plimsoll);
}

#[test]
fn settings_of_a_user_come_before_those_of_all() {
    let (_postgres, plimsoll) = house(|ini| {
        let ini = ini.set("query_timeout", "600").user("app", "query_timeout=1");
        ini.set("query_wait_timeout", "600").user("other", "query_wait_timeout=1 pool_size=1")
    });
    let mut client = plimsoll.client("app", "p0");
    client.send(Batch::new().query("SELECT pg_sleep(600)").bytes()).unwrap();
    ends_with(&mut client, "57014", "query timeout");
    let mut holder = plimsoll.client("other", "p0");
    holder.query("BEGIN");
    let mut waiting = plimsoll.client("other", "p0");
    waiting.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    ends_with(&mut waiting, "53300", "query_wait_timeout");
    holder.query("COMMIT");
}
