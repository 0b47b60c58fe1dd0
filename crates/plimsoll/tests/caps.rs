//! Temporary caps: an application, or a host, has at most so many server connections at once.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::lost::{new, send};
use common::{SOON, house};
use plimsoll_testkit::{Client, Plimsoll, Postgres, Table, eventually, tags};

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

/// Ten of `shop` hold all connections of the pool, and six of `bad` wait for one.
fn incident(timeout: &str) -> (Postgres, Plimsoll, Vec<Client>, Vec<Client>) {
    let (postgres, plimsoll) = house(|ini| {
        ini.set("pool_mode", "transaction")
            .set("default_pool_size", "10")
            .set("max_db_connections", "10")
            .set("query_wait_timeout", timeout)
            // The queue of a pool prefers who lives where the connection does.
            .own("workers", "1")
    });
    let hold = |_| {
        let mut holder = app(&plimsoll, "shop");
        holder.query("BEGIN");
        holder
    };
    let holders = (0..10).map(hold).collect();
    let queued = (1..=6).map(|place| {
        let mut bad = app(&plimsoll, "bad");
        send(&mut bad, &new().query("BEGIN"));
        eventually("it waits", SOON, || waiting(&plimsoll).rows.len() == place);
        bad
    });
    let queued = queued.collect();
    (postgres, plimsoll, holders, queued)
}

fn held(plimsoll: &Plimsoll, application: &str) -> usize {
    let holds = plimsoll.show("HOLDS");
    (0..holds.rows.len()).filter(|row| holds.cell(*row, "application_name") == application).count()
}

#[test]
fn a_cap_holds_for_those_that_were_in_the_queue_when_it_was_made() {
    let (_postgres, plimsoll, mut holders, mut queued) = incident("60");
    let mut console = plimsoll.console();
    console.query("CAP APP bad 1");
    holders[0].query("COMMIT");
    assert_eq!(queued[0].cycle().map(|heard| tags(&heard)).unwrap(), "CZ");
    holders[1..].iter_mut().for_each(|holder| drop(holder.query("COMMIT")));
    eventually("all but one wait at the gate", SOON, || {
        let caps = console.query("CAP");
        (caps.cell(0, "used"), caps.cell(0, "waiting")) == ("1", "5")
    });
    assert_eq!((held(&plimsoll, "bad"), waiting(&plimsoll).rows.len()), (1, 5));
    // In the order in which they came, and one after the other.
    queued[0].query("COMMIT");
    for (turn, bad) in (1..).zip(&mut queued[1..]) {
        assert_eq!(bad.cycle().map(|heard| tags(&heard)).unwrap(), "CZ", "{turn}");
        assert_eq!((held(&plimsoll, "bad"), waiting(&plimsoll).rows.len()), (1, 5 - turn));
        bad.query("COMMIT");
    }
    assert_eq!(console.query("CAP").cell(0, "used"), "0");
    // No connection is lost by what was given back unused.
    for holder in &mut holders {
        holder.query("BEGIN");
    }
    assert_eq!(held(&plimsoll, "shop"), 10);
}

#[test]
fn a_wait_is_counted_from_its_beginning_before_the_gate_and_after_it() {
    let (_postgres, plimsoll, mut holders, mut queued) = incident("4");
    queued.drain(1..).for_each(Client::leave);
    let begun = Instant::now();
    plimsoll.console().query("CAP APP bad 0");
    let mut late = app(&plimsoll, "bad");
    send(&mut late, &new().query("SELECT 1"));
    // It comes to the gate when it is granted what it may not take.
    holders[0].query("COMMIT");
    eventually("both are at the gate", SOON, || plimsoll.console().query("CAP").cell(0, "waiting") == "2");
    holders[0].query("BEGIN");
    let waited = |rows: usize| {
        let table = waiting(&plimsoll);
        (table.rows.len() == rows).then(|| table.number(0, "waiting_us"))
    };
    eventually("most of the time is over", SOON, || waited(2).is_some_and(|waited| waited > 2_500_000));
    plimsoll.console().query("CAP APP bad OFF");
    eventually("it is in the queue of its pool", SOON, || {
        waiting(&plimsoll).cell(0, "why").starts_with("all 10 connections")
    });
    assert!(waited(2).is_some_and(|waited| waited > 2_500_000), "{:?}", waiting(&plimsoll));
    for client in [&mut queued[0], &mut late] {
        let told = client.expect_closed().expect("a reason");
        assert_eq!(told.message, "query_wait_timeout");
    }
    // 4 s and not 2.5 s + 4 s.
    assert!(begun.elapsed() < Duration::from_millis(6_200), "{:?}", begun.elapsed());
}

#[test]
fn a_cap_finds_an_application_by_each_spelling_of_its_name() {
    let (_postgres, plimsoll) =
        house(|ini| ini.set("pool_mode", "transaction").set("query_wait_timeout", "30"));
    let mut console = plimsoll.console();
    for (name, typed) in [("café", "café"), ("thé", "th??"), (&*"x".repeat(70), &*"x".repeat(70))] {
        let mut first = app(&plimsoll, name);
        // From here on the pooler knows the client by what PostgreSQL has made of its name.
        first.query("SELECT 1");
        first.query("BEGIN");
        let caps = console.query(&format!("CAP APP '{typed}' 1"));
        assert_eq!((caps.cell(0, "name"), caps.cell(0, "used")), (typed, "1"));
        let mut second = app(&plimsoll, name);
        send(&mut second, &new().query("SELECT 2"));
        eventually("it waits", SOON, || console.query("CAP").cell(0, "waiting") == "1");
        first.query("COMMIT");
        assert_eq!(second.cycle().map(|heard| tags(&heard)).unwrap(), "TDCZ");
        assert!(console.query(&format!("CAP APP '{typed}' OFF")).rows.is_empty());
    }
}

#[test]
fn a_cap_that_is_made_while_a_client_is_in_the_queue_does_not_make_it_wait_for_itself() {
    let (_postgres, plimsoll, mut holders, mut queued) = incident("60");
    queued.drain(1..).for_each(Client::leave);
    let mut console = plimsoll.console();
    console.query("CAP APP late 1");
    let mut late = app(&plimsoll, "late");
    send(&mut late, &new().query("SELECT 1"));
    eventually("it is in the queue, with its place", SOON, || console.query("CAP").cell(0, "used") == "1");
    console.query("CAP HOST '127.0.0.1' 20");
    holders[0].query("COMMIT");
    assert_eq!(queued[0].cycle().map(|heard| tags(&heard)).unwrap(), "CZ");
    queued[0].query("COMMIT");
    assert_eq!(late.cycle().map(|heard| tags(&heard)).unwrap(), "TDCZ");
    let caps = console.query("CAP");
    assert_eq!((caps.cell(0, "used"), caps.cell(1, "used")), ("0", "9"));
}

#[test]
fn who_waits_at_a_gate_is_counted_among_those_that_wait() {
    for compat in ["plimsoll", "pgbouncer"] {
        let (_postgres, plimsoll) = house(|ini| {
            ini.set("pool_mode", "transaction").set("query_wait_timeout", "60").own("compat", compat)
        });
        let mut console = plimsoll.console();
        console.query("CAP APP report 0");
        let mut idle = app(&plimsoll, "report");
        let mut gated: Vec<Client> = (0..2).map(|_| app(&plimsoll, "report")).collect();
        for client in &mut gated {
            send(client, &new().query("SELECT 1"));
        }
        eventually("both wait at the gate", SOON, || console.query("CAP").cell(0, "waiting") == "2");
        let counted = |active: u64, waiting: u64| {
            let pools = plimsoll.show("POOLS");
            let row = pools.find(&[("database", "p0"), ("user", "app")]).unwrap();
            assert_eq!((pools.number(row, "cl_active"), pools.number(row, "cl_waiting")), (active, waiting));
            let clients = plimsoll.show("CLIENTS");
            let states = |is_meant: fn(&str) -> bool| {
                let is_of = |row: &usize| {
                    clients.cell(*row, "database") == "p0" && is_meant(clients.cell(*row, "state"))
                };
                (0..clients.rows.len()).filter(is_of).count() as u64
            };
            let seen = (states(|state| state != "waiting"), states(|state| state == "waiting"));
            assert_eq!(seen, (active, waiting), "{compat}: {:?}", clients.rows);
            pools.number(row, "maxwait") * 1_000_000 + pools.number(row, "maxwait_us")
        };
        let waited = counted(1, 2);
        eventually("the oldest waits longer and longer", SOON, || counted(1, 2) > waited.max(1) * 2);
        console.query("CAP APP report OFF");
        for client in &mut gated {
            assert_eq!(client.cycle().map(|heard| tags(&heard)).unwrap(), "TDCZ");
        }
        assert_eq!(counted(3, 0), 0);
        idle.query("SELECT 1");
    }
}

#[test]
fn admission_is_explained_with_the_caps_that_come_before_it() {
    let (_postgres, plimsoll) = house(|ini| ini.set("pool_mode", "transaction"));
    let mut console = plimsoll.console();
    let explain = |console: &mut Client, about: &str| {
        let told = console.query(&format!("EXPLAIN ADMISSION {about}"));
        told.rows.iter().map(|row| row[0].clone().unwrap()).collect::<Vec<_>>().join("\n")
    };
    app(&plimsoll, "report").query("SELECT 1");
    assert!(!explain(&mut console, "p0 app").contains("cap"));
    console.query("CAP APP report 1 FOR 3600");
    console.query("CAP HOST '127.0.0.1' 20");
    let mut holder = app(&plimsoll, "report");
    holder.query("BEGIN");
    for about in ["p0 app", "p0", ""] {
        let told = explain(&mut console, about);
        let wanted = "A client that calls itself \"report\" comes to a temporary cap before it comes to the queue: it \
                      would wait there; 1 of 1 places are taken (CAP by admin (";
        assert!(told.contains(wanted) && told.contains("), ends in "), "{about}: {told}");
        assert!(told.contains("from host 127.0.0.1") && told.contains("it would be let through"), "{told}");
    }
    let mut stats = plimsoll.login("stats", "pgbouncer").client();
    let told = explain(&mut stats, "");
    assert!(told.contains("Caps are in force (2)") && !told.contains("report"), "{told}");
}
