//! What a reload changes, and what it leaves alone.

#![allow(clippy::unwrap_used)]

mod common;

use common::{SOON, backend, wait_for_pool};
use plimsoll_testkit::{Batch, Client, Ini, Plimsoll, Postgres, tags};

fn start(ini: impl FnOnce(Ini) -> Ini) -> (Postgres, Ini, Plimsoll) {
    let postgres = Postgres::start();
    let ini = ini(Ini::new(&postgres));
    let plimsoll = common::pooler(ini.clone());
    (postgres, ini, plimsoll)
}

#[test]
fn nothing_changed_closes_nothing() {
    let (_postgres, ini, plimsoll) = start(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    let held = backend(&mut client);
    for _ in 0..3 {
        plimsoll.reload(&ini);
    }
    assert_eq!(backend(&mut client), held);
    assert!(!plimsoll.log().contains("S-") || !plimsoll.log().contains("close_needed"));
}

#[test]
fn a_new_database_is_there_at_once() {
    let (postgres, ini, plimsoll) = start(|ini| ini);
    assert_eq!(plimsoll.login("app", "new").refusal().message, "no such database: new");
    let line = format!("host=127.0.0.1 port={} dbname=p1", postgres.port());
    plimsoll.reload(&ini.database("new", &line));
    assert_eq!(plimsoll.client("app", "new").value("SELECT current_database()"), "p1");
}

#[test]
fn a_removed_database_says_so_to_its_clients_only() {
    let (postgres, ini, plimsoll) = start(|ini| ini);
    let mut idle = plimsoll.client("app", "p1");
    let mut busy = plimsoll.client("app", "p1");
    let mut other = plimsoll.client("app", "p0");
    idle.query("SELECT 1");
    busy.query("BEGIN");
    other.query("SELECT 1");
    plimsoll.reload(&ini.clone().without_database("p1"));
    for client in [&mut idle, &mut busy] {
        let last = client.expect_closed();
        assert!(last.is_none_or(|error| error.message == "database removed" && error.severity == "FATAL"));
    }
    plimsoll.wait_for_log("closing because: database removed", SOON);
    postgres.wait_for_sessions("datname = 'p1'", 0);
    assert_eq!(other.value("SELECT 1"), "1");
    assert_eq!(plimsoll.login("app", "p1").refusal().message, "no such database: p1");
    plimsoll.reload(&ini);
    plimsoll.still_works(&["p0", "p1", "p2"]);
}

#[test]
fn a_database_that_moved_gets_new_servers_when_they_are_free() {
    let (postgres, ini, plimsoll) = start(|ini| ini);
    let mut open = plimsoll.client("app", "p0");
    let mut idle = plimsoll.client("app", "p0");
    let mut other = plimsoll.client("app", "p1");
    let elsewhere = backend(&mut other);
    idle.query("SELECT 1");
    open.query("BEGIN");
    let line = format!("host=127.0.0.1 port={} dbname=p2", postgres.port());
    plimsoll.reload(&ini.database("p0", &line));
    assert_eq!(open.value("SELECT current_database()"), "p0", "not in the middle of a transaction");
    open.query("COMMIT");
    assert_eq!(open.value("SELECT current_database()"), "p2");
    assert_eq!(idle.value("SELECT current_database()"), "p2");
    postgres.wait_for_sessions("datname = 'p0'", 0);
    assert_eq!(backend(&mut other), elsewhere);
}

#[test]
fn pool_sizes_change_in_both_directions() {
    let (postgres, ini, plimsoll) = start(|ini| ini.set("default_pool_size", "1"));
    let mut clients: Vec<Client> = (0..4).map(|_| plimsoll.client("app", "p0")).collect();
    clients[0].query("BEGIN");
    clients[1].send(Batch::new().query("BEGIN").bytes()).unwrap();
    wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 1), ("sv_active", 1)]);
    plimsoll.reload(&ini.clone().set("default_pool_size", "4"));
    assert_eq!(tags(&clients[1].cycle().unwrap()), "CZ");
    clients[2].query("BEGIN");
    clients[3].query("BEGIN");
    assert_eq!(postgres.count_sessions("usename = 'app'"), 4);
    plimsoll.reload(&ini.set("default_pool_size", "2"));
    for client in &mut clients {
        assert_eq!(client.value("SELECT 1"), "1", "nobody is cut off");
        client.query("COMMIT");
    }
    // New holders find two places.
    clients[0].query("BEGIN");
    clients[1].query("BEGIN");
    clients[2].send(Batch::new().query("BEGIN").bytes()).unwrap();
    wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 1), ("sv_active", 2)]);
    clients[0].query("COMMIT");
    assert_eq!(tags(&clients[2].cycle().unwrap()), "CZ");
}

#[test]
fn pool_mode_changes_for_clients_that_are_there() {
    let (_postgres, ini, plimsoll) =
        start(|ini| ini.set("default_pool_size", "1").set("pool_mode", "session"));
    let first = plimsoll.client("app", "p0");
    plimsoll.reload(&ini.set("pool_mode", "transaction"));
    first.leave();
    let mut clients: Vec<Client> = (0..3).map(|_| plimsoll.client("app", "p0")).collect();
    for client in &mut clients {
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

#[test]
fn timeouts_and_limits_act_at_once() {
    let (_postgres, ini, plimsoll) = start(|ini| ini.set("default_pool_size", "1"));
    let mut holder = plimsoll.client("app", "p0");
    holder.query("BEGIN");
    plimsoll.reload(&ini.clone().set("query_wait_timeout", "1").set("default_pool_size", "1"));
    let mut waiter = plimsoll.client("app", "p0");
    assert_eq!(waiter.fail("SELECT 1").message, "query_wait_timeout");
    plimsoll.reload(&ini.set("max_client_conn", "1"));
    let error = plimsoll.login("app", "p0").refusal();
    assert_eq!(error.message, "no more connections allowed (max_client_conn)");
    holder.query("COMMIT");
}

#[test]
fn a_budget_can_be_lowered_and_raised() {
    let (postgres, ini, plimsoll) = start(|ini| ini.set("default_pool_size", "4").own("target_budget", "4"));
    let mut clients: Vec<Client> = (0..4).map(|_| plimsoll.client("app", "p0")).collect();
    for client in &mut clients {
        client.query("BEGIN");
    }
    assert_eq!(postgres.count_sessions("true"), 4);
    plimsoll.reload(&ini.clone().own("target_budget", "2"));
    for client in &mut clients {
        client.query("COMMIT");
    }
    postgres.wait_for_sessions("true", 2);
    for client in &mut clients {
        assert_eq!(client.value("SELECT 1"), "1");
    }
    assert!(postgres.count_sessions("true") <= 2);
    plimsoll.reload(&ini);
    for client in &mut clients {
        client.query("BEGIN");
    }
    assert_eq!(postgres.count_sessions("true"), 4);
}
