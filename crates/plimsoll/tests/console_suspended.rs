//! What clients see while everything is suspended: nothing.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{MODES, SOON, by_mode, house};
use plimsoll_testkit::{Batch, Ini, Postgres, eventually, tags};

/// How long a client that must hear nothing listens.
const SILENCE: Duration = Duration::from_millis(300);

#[test]
fn nobody_is_heard_until_it_goes_on() {
    let postgres = Postgres::start();
    let plimsoll = common::pooler(by_mode(Ini::new(&postgres), &postgres));
    let mut clients = Vec::new();
    for mode in MODES {
        let mut idle = plimsoll.client("app", mode);
        assert_eq!(idle.value("SELECT 1"), "1");
        clients.push(idle);
    }
    let mut open = plimsoll.client("app", "transaction");
    open.query("BEGIN");
    clients.push(open);
    let mut console = plimsoll.console();
    assert_eq!(console.query("SUSPEND").command, "SUSPEND");
    for client in &mut clients {
        client.send(Batch::new().query("SELECT 'resumed'").bytes()).unwrap();
    }
    for client in &mut clients {
        assert!(!client.hears_within(SILENCE));
    }
    assert_eq!(postgres.count_sessions("query LIKE '%resumed%' AND pid <> pg_backend_pid()"), 0);
    console.query("RESUME");
    for client in &mut clients {
        assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
    }
    console.leave();
}

#[test]
fn the_answer_of_a_running_query_comes_when_it_goes_on() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.send(Batch::new().query("SELECT 'slept' FROM pg_sleep(1)").bytes()).unwrap();
    postgres.wait_for_sessions("query LIKE '%slept%' AND state = 'active' AND pid <> pg_backend_pid()", 1);
    let mut console = plimsoll.console();
    // It is not waited for: nothing is on its way.
    console.query("SUSPEND");
    postgres.wait_for_sessions("query LIKE '%slept%' AND state = 'idle'", 1);
    assert!(!client.hears_within(SILENCE), "the server has answered, and nobody has read it");
    console.query("RESUME");
    assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
}

#[test]
fn a_client_that_leaves_is_noticed_when_it_goes_on() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    let mut console = plimsoll.console();
    console.query("SUSPEND");
    client.leave();
    console.query("RESUME");
    eventually("it is gone", SOON, || console.query("SHOW CLIENTS").count(&[("database", "p0")]) == 0);
}
