//! Temporary caps: an application, or a host, has at most so many server connections at once.

#![allow(clippy::unwrap_used)]

mod common;

use common::lost::{new, send};
use common::{SOON, house};
use plimsoll_testkit::{Client, Plimsoll, Table, eventually, tags};

fn app(plimsoll: &Plimsoll, name: &str) -> Client {
    plimsoll.login("app", "p0").parameter("application_name", name).client()
}

fn waiting(plimsoll: &Plimsoll) -> Table {
    plimsoll.show("WAITERS")
}

#[test]
fn a_cap_lets_others_of_the_application_wait_and_nobody_else() {
    let (_postgres, plimsoll) = house(|ini| {
        ini.set("pool_mode", "transaction").set("default_pool_size", "10").set("query_wait_timeout", "30")
    });
    let mut first = app(&plimsoll, "report");
    first.query("BEGIN");
    let mut second = app(&plimsoll, "report");
    second.query("BEGIN");
    let mut console = plimsoll.console();
    let caps = console.query("CAP APP report 1 FOR 3600");
    assert_eq!((caps.cell(0, "max"), caps.cell(0, "used"), caps.cell(0, "name")), ("1", "2", "report"));
    assert!(caps.number(0, "left_s") > 3_500 && caps.cell(0, "by").starts_with("CAP by admin ("), "{caps:?}");
    let mut third = app(&plimsoll, "report");
    send(&mut third, &new().query("SELECT 3"));
    eventually("the third waits", SOON, || waiting(&plimsoll).rows.len() == 1);
    let why = waiting(&plimsoll).cell(0, "why").to_string();
    assert!(why.starts_with("cap of application \"report\": 2 of 1 places are taken"), "{why}");
    assert_eq!(app(&plimsoll, "shop").value("SELECT 1"), "1", "others do not wait");
    // One place is not enough: there were two.
    first.query("COMMIT");
    eventually("one is left", SOON, || console.query("CAP").cell(0, "used") == "1");
    assert_eq!(waiting(&plimsoll).rows.len(), 1);
    second.query("COMMIT");
    assert_eq!(third.cycle().map(|heard| tags(&heard)).unwrap(), "TDCZ");
    // One that leaves while it waits, and one that is let in by the end of the cap.
    first.query("BEGIN");
    let mut gone = app(&plimsoll, "report");
    send(&mut gone, &new().query("SELECT 4"));
    eventually("it waits", SOON, || console.query("CAP").cell(0, "waiting") == "1");
    gone.leave();
    eventually("it is forgotten", SOON, || console.query("CAP").cell(0, "waiting") == "0");
    send(&mut third, &new().query("SELECT 5"));
    eventually("it waits", SOON, || console.query("CAP").cell(0, "waiting") == "1");
    assert!(console.query("CAP APP report OFF").rows.is_empty());
    assert_eq!(third.cycle().map(|heard| tags(&heard)).unwrap(), "TDCZ");
    first.query("COMMIT");
    plimsoll.wait_for_log("application \"report\" is capped at 1 server connections", SOON);
}

#[test]
fn who_waits_too_long_at_a_cap_is_told_which() {
    let (_postgres, plimsoll) =
        house(|ini| ini.set("pool_mode", "transaction").set("query_wait_timeout", "1"));
    plimsoll.console().query("CAP HOST '127.0.0.1' 0");
    let mut client = app(&plimsoll, "any");
    send(&mut client, &new().query("SELECT 1"));
    let told = client.expect_closed().expect("a reason");
    assert_eq!((told.sqlstate.as_str(), told.message.as_str()), ("53300", "query_wait_timeout"));
    let detail = told.detail.expect("the cap");
    assert!(detail.starts_with("cap of host 127.0.0.1: 0 of 0 places are taken"), "{detail}");
    plimsoll.console().query("CAP HOST '127.0.0.1' OFF");
    assert_eq!(app(&plimsoll, "any").value("SELECT 1"), "1");
}
