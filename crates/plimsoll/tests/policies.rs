//! Policies about connections that are kept and not used: whom they strike, when, and whom they leave alone.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::lost::{ASLEEP, INSERT, SLEEP, half_batch, new, pooled, send};
use common::taken::{app, believes_in_a_failed_transaction, error_of, hold_in, house_of_one, nothing_stands};
use common::{backend, house};
use plimsoll_testkit::{Client, Ini, Plimsoll, eventually, tags};

/// Holds are looked at once a second.
const LOOK: Duration = Duration::from_secs(20);

#[test]
fn a_pool_that_nobody_misses_is_left_alone() {
    let (postgres, plimsoll) = house(|ini| {
        let line = plimsoll_port(&ini);
        ini.set("pool_mode", "transaction")
            .own("leak_cancel_after", "1s")
            .database("small", &format!("{line} dbname=p0 pool_size=1"))
            .database("large", &format!("{line} dbname=p0 pool_size=10"))
    });
    let mut idle = plimsoll.client("app", "large");
    idle.query("BEGIN");
    let mut busy = plimsoll.client("app", "small");
    send(&mut busy, &new().query(SLEEP));
    postgres.wait_for_sessions(ASLEEP, 1);
    let mut waits = plimsoll.client("app", "small");
    send(&mut waits, &new().query("SELECT 1"));
    let mut console = plimsoll.console();
    eventually("three seconds of waiting", LOOK, || {
        let waiters = console.query("SHOW WAITERS");
        waiters.rows.len() == 1 && waiters.number(0, "waiting_us") > 3_000_000
    });
    assert!(console.query("SHOW ACTIONS").rows.is_empty(), "what it holds would help nobody");
    assert_eq!(idle.value("SELECT 1"), "1");
    busy.cancel_key().cancel().unwrap();
    assert_eq!(tags(&waits.cycle().unwrap()), "TDCZ");
}

#[test]
fn a_policy_warns_then_takes_then_closes_and_only_when_somebody_waits() {
    let (postgres, plimsoll) = house_of_one("transaction", |ini| {
        ini.own("leak_warn_after", "1s").own("leak_cancel_after", "2s").own("leak_close_after", "1h")
    });
    let pid = pooled(&plimsoll);
    let mut client = app(&plimsoll, "keeper");
    client.query("BEGIN");
    client.query(INSERT);
    let line = plimsoll.wait_for_log("leak_warn_after = 1 s of [plimsoll]: hold", LOOK);
    assert!(line.contains("idle in transaction, not used for"), "{line}");
    let actions = plimsoll.show("ACTIONS");
    assert_eq!((actions.rows.len(), actions.cell(0, "what")), (1, "warned"));
    // Longer than leak_cancel_after, and nobody waits: it is left alone.
    let mut console = plimsoll.console();
    eventually("unused for three seconds", LOOK, || {
        let holds = console.query("SHOW HOLDS");
        holds.number(0, "idle_us") > 3_000_000
    });
    assert_eq!(plimsoll.show("ACTIONS").rows.len(), 1, "nothing was done");
    assert_eq!(backend(&mut app(&plimsoll, "victim")), pid, "who waits is served");
    believes_in_a_failed_transaction(&mut client, "leak_cancel_after = 2 s of [plimsoll]", "by policy");
    nothing_stands(&postgres, "by policy");
    let actions = plimsoll.show("ACTIONS");
    assert_eq!(actions.cell(0, "what"), "taken");
    assert!(actions.cell(0, "by").starts_with("leak_cancel_after"), "{actions:?}");
}

#[test]
fn the_users_word_and_the_databases_go_before_the_global_one() {
    let (postgres, plimsoll) = house(|ini| {
        let port = plimsoll_port(&ini);
        ini.set("pool_mode", "transaction")
            .own("leak_act", "always")
            .own("leak_close_after", "1s")
            .database("lenient", &format!("{port} dbname=p0 leak_close_after=0"))
            .database("strict", &format!("{port} dbname=p0 leak_cancel_after=1s leak_close_after=1h"))
            .user("bob", "leak_close_after=2s")
    });
    postgres.login("app", "p0").client().query("CREATE TABLE marks (what text)");
    let mut lenient = plimsoll.client("app", "lenient");
    lenient.query("BEGIN");
    let mut strict = plimsoll.client("app", "strict");
    strict.query("BEGIN");
    let mut plain = plimsoll.client("app", "p0");
    plain.query("BEGIN");
    let told = plain.expect_closed().expect("a reason");
    assert_eq!((told.severity.as_str(), told.sqlstate.as_str()), ("FATAL", "25P03"));
    let detail = told.detail.expect("the policy");
    assert!(detail.starts_with("leak_close_after = 1 s of [plimsoll]: held for"), "{detail}");
    plimsoll.wait_for_log("leak_cancel_after = 1 s of database \"strict\"", LOOK);
    let taken = "leak_cancel_after = 1 s of database \"strict\"";
    believes_in_a_failed_transaction(&mut strict, taken, "strict");
    assert_eq!(lenient.value("SELECT 1"), "1");
    assert_eq!(lenient.run(&new().query("COMMIT"))[0].strings(), ["COMMIT"]);
}

fn plimsoll_port(ini: &Ini) -> String {
    let text = ini.text();
    let line = text.lines().find(|line| line.starts_with("p0 =")).expect("the line of p0");
    let (_, rest) = line.split_once('=').expect("a connection string");
    rest.split_whitespace().filter(|part| !part.starts_with("dbname")).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_used_is_never_acted_upon() {
    let (_postgres, plimsoll) =
        house(|ini| ini.set("pool_mode", "session").own("leak_act", "always").own("leak_close_after", "2s"));
    let mut busy = app(&plimsoll, "busy");
    let mut idle = app(&plimsoll, "idle");
    idle.query("SELECT 1");
    // A statement that runs for longer than the limit, and pauses that are shorter.
    let mut seconds = 0;
    eventually("the idle one is closed", LOOK, || {
        assert_eq!(busy.value("SELECT pg_sleep(0.5), 7").len(), 0);
        seconds += 1;
        !idle_is_there(&plimsoll)
    });
    send(&mut busy, &new().query("SELECT pg_sleep(5)"));
    assert_eq!(tags(&busy.cycle().unwrap()), "TDCZ", "after {seconds} rounds");
    assert_eq!(idle.expect_closed().expect("a reason").sqlstate, "57P05");
}

fn idle_is_there(plimsoll: &Plimsoll) -> bool {
    let holds = plimsoll.show("HOLDS");
    (0..holds.rows.len()).any(|row| holds.cell(row, "application_name") == "idle")
}

/// How a client comes to keep its connection, and what the ledger calls that.
type Keep = (&'static str, &'static str, fn(&mut Client));

const KEEPS: [Keep; 5] = [
    ("transaction", "idle in transaction", |client| drop(client.query("BEGIN"))),
    ("transaction", "aborted transaction", |client| {
        client.query("BEGIN");
        client.fail("SELECT nonsense");
    }),
    ("transaction", "client not sending", |client| {
        send(client, &half_batch().flush());
        for tag in *b"12C" {
            assert_eq!(client.read().unwrap().tag, tag);
        }
    }),
    ("session", "idle in session", |client| drop(client.query("SELECT 1"))),
    ("session", "client not reading", |client| {
        send(client, &new().query("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)"));
    }),
];

/// By a policy the same happens as by hand, in every state.
#[test]
fn every_policy_ends_every_state() {
    for key in ["leak_cancel_after", "leak_close_after"] {
        let closes = key == "leak_close_after";
        for (mode, state, keep) in KEEPS {
            let what = format!("{key}: {state}");
            let (postgres, plimsoll) = house_of_one(mode, |ini| {
                ini.own(key, "1s").own("leak_act", "always").own("batch_hold_bytes", "0")
            });
            let mut client = app(&plimsoll, "keeper");
            keep(&mut client);
            hold_in(&plimsoll, state);
            let mut console = plimsoll.console();
            eventually(&what, LOOK, || !console.query("SHOW ACTIONS").rows.is_empty());
            let actions = console.query("SHOW ACTIONS");
            // In the middle of an answer nothing can be said to it.
            let unread = !closes && state == "client not reading";
            let wanted = match (unread, closes) {
                (true, _) => "nothing: the server is not done with it",
                (false, true) => "client closed",
                (false, false) => "taken",
            };
            assert_eq!(actions.cell(0, "what"), wanted, "{what}");
            if unread {
                continue;
            }
            assert_eq!(actions.cell(0, "state"), state, "{what}");
            assert!(actions.cell(0, "by").starts_with(key), "{what}: {actions:?}");
            assert_eq!(app(&plimsoll, "next").value("SELECT 1"), "1", "{what}");
            nothing_stands(&postgres, &what);
            match (closes, state) {
                (true, "client not reading") => {}
                (true, _) => {
                    // Half a batch hears of it behind what it has heard already.
                    let told = client.expect_closed().expect("a reason");
                    assert!(told.detail.is_some_and(|detail| detail.starts_with(key)), "{what}");
                }
                (false, "idle in session") => assert_eq!(client.value("SELECT 2"), "2", "{what}"),
                (false, "client not sending") => {
                    let heard = client.run(&new().sync());
                    assert_eq!(error_of(&heard).sqlstate, "57014", "{what}");
                    assert_eq!(client.value("SELECT 2"), "2", "{what}");
                }
                (false, _) => believes_in_a_failed_transaction(&mut client, key, &what),
            }
        }
    }
}
