//! SUSPEND: its words, who ends it, and what becomes of clients that cannot be dealt with.

#![allow(clippy::unwrap_used)]

mod common;

use common::{SOON, house, wait_for_pool};
use plimsoll_testkit::{Batch, Client, Plimsoll, Signal, eventually, eventually_ok, tags};

/// The rows of SHOW STATE that say yes.
#[track_caller]
fn state(console: &mut Client) -> Vec<String> {
    let table = console.query("SHOW STATE");
    let yes = (0..table.rows.len()).filter(|row| table.cell(*row, "value") == "yes");
    yes.map(|row| String::from(table.cell(row, "key"))).collect()
}

#[test]
fn suspend_and_resume_on_one_connection() {
    let (_postgres, plimsoll) = house(|ini| ini);
    plimsoll.still_works(&["p0"]);
    let mut console = plimsoll.console();
    assert_eq!(state(&mut console), ["active"]);
    assert_eq!(console.query("SUSPEND").command, "SUSPEND");
    plimsoll.wait_for_log("SUSPEND command issued", SOON);
    assert_eq!(state(&mut console), ["suspended"]);
    for command in ["SUSPEND", "PAUSE", "PAUSE p0", "KILL p0"] {
        assert_eq!(console.fail(command).message, "already suspended/paused", "{command}");
    }
    assert_eq!(console.fail("RESUME p0").message, "database p0 is not paused");
    assert_eq!(console.query("RECONNECT").command, "RECONNECT");
    assert_eq!(console.query("RESUME").command, "RESUME");
    assert_eq!(state(&mut console), ["active"]);
    assert_eq!(console.fail("RESUME").message, "pooler is not paused/suspended");
    plimsoll.still_works(&["p0", "p1"]);
}

#[test]
fn what_is_paused_cannot_be_suspended() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    console.query("PAUSE p0");
    assert_eq!(console.fail("SUSPEND").message, "cannot suspend with paused databases");
    console.query("RESUME p0");
    console.query("PAUSE");
    assert_eq!(console.fail("SUSPEND").message, "already suspended/paused");
    console.query("RESUME");
    assert_eq!(console.fail("SUSPEND p0").message, "invalid command 'SUSPEND p0', use SHOW HELP;");
    console.query("SUSPEND");
    console.query("RESUME");
    let mut watcher = plimsoll.login("stats", "pgbouncer").password("stats-secret").client();
    assert_eq!(watcher.fail("SUSPEND").message, "admin access needed");
}

#[test]
fn a_suspension_ends_with_its_console() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    console.query("SUSPEND");
    console.leave();
    plimsoll.wait_for_log("admin disappeared when suspended, doing RESUME", SOON);
    plimsoll.still_works(&["p0"]);
}

#[test]
fn a_cancel_request_ends_a_suspension() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    console.query("SUSPEND");
    console.cancel_key().cancel().unwrap();
    eventually_ok("it goes on", SOON, || match state(&mut console).as_slice() {
        [one] if one == "active" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    plimsoll.still_works(&["p0"]);
    // The same goes for a pause that nobody waits for.
    console.query("PAUSE");
    console.cancel_key().cancel().unwrap();
    eventually("it goes on", SOON, || state(&mut console) == ["active"]);
}

#[test]
fn signals_know_a_suspension() {
    let (_postgres, mut plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    console.query("SUSPEND");
    plimsoll.signal(Signal::User1);
    plimsoll.wait_for_log("got SIGUSR1, but already paused/suspended", SOON);
    plimsoll.signal(Signal::User2);
    plimsoll.wait_for_log("got SIGUSR2, continuing from SUSPEND", SOON);
    assert_eq!(state(&mut console), ["active"]);
    console.leave();
    plimsoll.still_works(&["p0"]);
    plimsoll.signal(Signal::Interrupt);
    assert_eq!(plimsoll.wait_exit(SOON).code(), Some(0));
}

#[test]
fn a_suspended_pooler_can_be_shut_down() {
    let (_postgres, mut plimsoll) = house(|ini| ini);
    let client = plimsoll.client("app", "p0");
    let mut console = plimsoll.console();
    console.query("SUSPEND");
    console.query("SHUTDOWN WAIT_FOR_CLIENTS");
    client.leave();
    console.leave();
    assert_eq!(plimsoll.wait_exit(SOON).code(), Some(0));
}

/// A client in a transaction on the only server, and another that waits for it.
fn holder_and_waiter(plimsoll: &Plimsoll) -> (Client, Client) {
    let mut holder = plimsoll.client("app", "p0");
    let mut waiter = plimsoll.client("app", "p0");
    holder.query("BEGIN");
    waiter.send(Batch::new().query("SELECT 'served'").bytes()).unwrap();
    wait_for_pool(plimsoll, "p0", &[("cl_active", 1), ("cl_waiting", 1)]);
    (holder, waiter)
}

#[test]
fn who_waits_for_too_long_is_told() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1").set("suspend_timeout", "1"));
    let (mut holder, mut waiter) = holder_and_waiter(&plimsoll);
    let mut console = plimsoll.console();
    assert_eq!(console.query("SUSPEND").command, "SUSPEND");
    let error = waiter.expect_closed().expect("last words");
    assert_eq!((error.severity.as_str(), error.message.as_str()), ("FATAL", "suspend_timeout"));
    plimsoll.wait_for_log("closing because: suspend_timeout", SOON);
    console.query("RESUME");
    assert_eq!(holder.value("SELECT 1"), "1", "who did not wait goes on");
    holder.query("COMMIT");
}

#[test]
fn a_suspend_that_is_cancelled_suspends_nothing() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1").set("suspend_timeout", "60"));
    let (mut holder, mut waiter) = holder_and_waiter(&plimsoll);
    let mut other = plimsoll.console();
    let mut console = plimsoll.console();
    console.send(Batch::new().query("SUSPEND").bytes()).unwrap();
    eventually("it begins", SOON, || state(&mut other) == ["suspended"]);
    console.cancel_key().cancel().unwrap();
    assert_eq!(tags(&console.cycle().unwrap()), "EZ");
    assert_eq!(state(&mut other), ["active"]);
    holder.query("COMMIT");
    assert_eq!(tags(&waiter.cycle().unwrap()), "TDCZ");
}
