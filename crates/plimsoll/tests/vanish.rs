//! Clients that vanish: what they were in the middle of is ended at the server, nothing of it stands that they had not
//! asked for to its end, and the very same server connection serves the next one.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::process::{Child, Command, Stdio};

use common::certificates::{Maker, with_tls};
use common::lost::{ASLEEP, INSERT, SLEEP, half_batch, new, pooled, send};
use common::{SOON, backend, house, wait_for_pool};
use plimsoll_testkit::{Client, Ini, Plimsoll, Postgres, eventually, tags};

/// Modes in which a client can be in the middle of a transaction.
const MODES: [&str; 2] = ["session", "transaction"];

/// How a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// Its socket is closed (FIN, or RST if something was unread).
    Close,
    /// RST.
    Reset,
    /// FIN, and its side stays open.
    HalfClose,
}

const DEATHS: [Death; 3] = [Death::Close, Death::Reset, Death::HalfClose];

/// What it was in the middle of.
struct State {
    what: &'static str,
    begin: fn(&mut Client),
    /// A condition on pg_stat_activity that holds when it is there.
    seen: &'static str,
}

const WAITS: &str = "wait_event = 'ClientRead' AND backend_type = 'client backend'";

/// Each ends with a connection that can be used again.
const STATES: &[State] = &[
    State { what: "in a simple query", begin: |client| send(client, &new().query(SLEEP)), seen: ASLEEP },
    State {
        what: "in a query behind an INSERT of the same Query",
        begin: |client| send(client, &new().query(&format!("{INSERT}; {SLEEP}"))),
        seen: ASLEEP,
    },
    State {
        what: "in a query of a transaction",
        begin: |client| {
            client.query("BEGIN");
            client.query(INSERT);
            send(client, &new().query(SLEEP));
        },
        seen: ASLEEP,
    },
    State {
        what: "in a batch, after Sync",
        begin: |client| send(client, &new().parse("", SLEEP).bind("", "", &[]).execute("", 0).sync()),
        seen: ASLEEP,
    },
    State {
        what: "in a batch, before Sync",
        begin: |client| {
            let sleep = half_batch().parse("", SLEEP).bind("", "", &[]).execute("", 0);
            send(client, &sleep.flush());
        },
        seen: ASLEEP,
    },
    State {
        what: "with half a batch executed and not answered",
        begin: |client| {
            client.query("BEGIN");
            client.query("COMMIT; BEGIN");
            send(client, &half_batch());
        },
        seen: "wait_event = 'ClientRead' AND query LIKE 'INSERT%'",
    },
    State {
        what: "with half a batch executed and answered",
        begin: |client| {
            send(client, &half_batch().flush());
            for tag in *b"12C" {
                assert_eq!(client.read().unwrap().tag, tag);
            }
        },
        seen: "wait_event = 'ClientRead' AND query LIKE 'INSERT%'",
    },
    State {
        what: "with a batch that has failed",
        begin: |client| send(client, &half_batch().parse("", "nonsense").flush()),
        seen: "wait_event = 'ClientRead'",
    },
    State {
        what: "with named statements half prepared",
        begin: |client| send(client, &half_batch().parse("mine", SLEEP).bind("p", "mine", &[]).flush()),
        seen: "wait_event = 'ClientRead' AND state = 'active'",
    },
    State {
        what: "idle in a transaction",
        begin: |client| {
            client.query("BEGIN");
            client.query(INSERT);
        },
        seen: "state = 'idle in transaction'",
    },
    State {
        what: "in a transaction that has failed",
        begin: |client| {
            client.query("BEGIN");
            client.query(INSERT);
            client.fail("nonsense");
        },
        seen: "state = 'idle in transaction (aborted)'",
    },
    State {
        what: "reading a large result",
        begin: |client| {
            send(client, &new().query("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)"));
            drop(client.read());
        },
        seen: "wait_event = 'ClientWrite'",
    },
    State {
        what: "reading a large result of a transaction in parts",
        begin: |client| {
            client.query("BEGIN");
            client.query(INSERT);
            let rows = "SELECT repeat('x', 1000) FROM generate_series(1, 1000000)";
            send(client, &new().parse("", rows).bind("", "", &[]).execute("", 0).sync());
        },
        seen: "wait_event = 'ClientWrite'",
    },
    State {
        what: "in COPY TO STDOUT",
        begin: |client| {
            send(
                client,
                &new().query("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000)) TO STDOUT"),
            );
        },
        seen: "wait_event = 'ClientWrite'",
    },
    State {
        what: "in COPY FROM STDIN",
        begin: |client| {
            send(client, &new().query("COPY marks FROM STDIN"));
            assert_eq!(client.read().unwrap().tag, b'G');
            send(client, &new().copy_data(b"cut\n").copy_data(b"cut\n"));
        },
        seen: "state = 'active' AND query LIKE 'COPY%'",
    },
    State {
        what: "in COPY FROM STDIN of a transaction, its answer unread",
        begin: |client| {
            client.query("BEGIN");
            client.query(INSERT);
            send(client, &new().query("COPY marks FROM STDIN").copy_data(b"cut\n"));
        },
        seen: "state = 'active' AND query LIKE 'COPY%'",
    },
    State {
        what: "in COPY FROM STDIN of a batch with Sync",
        begin: |client| {
            let copy = new().parse("", "COPY marks FROM STDIN").bind("", "", &[]).execute("", 0);
            send(client, &copy.sync().copy_data(b"cut\n"));
        },
        seen: "state = 'active' AND query LIKE 'COPY%'",
    },
    State {
        what: "in COPY FROM STDIN of a batch without Sync",
        begin: |client| {
            let copy = half_batch().parse("", "COPY marks FROM STDIN").bind("", "", &[]).execute("", 0);
            send(client, &copy.flush().copy_data(b"cut\n"));
        },
        seen: "state = 'active' AND query LIKE 'COPY%'",
    },
];

fn house_of_one(mode: &str) -> (Postgres, Plimsoll) {
    let (postgres, plimsoll) = house(|ini| ini.set("pool_mode", mode).set("default_pool_size", "1"));
    postgres.login("app", "p0").client().query("CREATE TABLE marks (what text)");
    (postgres, plimsoll)
}

fn die(client: Client, death: Death) -> Option<Client> {
    match death {
        Death::Close => drop(client),
        Death::Reset => client.reset(),
        Death::HalfClose => {
            client.end_writing();
            return Some(client);
        }
    }
    None
}

/// Nothing is left of what the client did, in the table, in PostgreSQL's sessions, in ours.
#[track_caller]
fn nothing_is_left(postgres: &Postgres, plimsoll: &Plimsoll, what: &str) {
    let rows = postgres.login("app", "p0").client().value("SELECT count(*) FROM marks");
    assert_eq!(rows, "0", "{what}: something stands that was cut");
    postgres.wait_for_sessions("state <> 'idle' AND application_name <> 'direct'", 0);
    wait_for_pool(plimsoll, "p0", &[("sv_active", 0), ("cl_waiting", 0), ("sv_tested", 0)]);
}

fn every_state_is_ended(mode: &str) {
    let (postgres, plimsoll) = house_of_one(mode);
    let pid = pooled(&plimsoll);
    for State { what, begin, seen } in STATES {
        for death in DEATHS {
            let what = format!("{mode}, {death:?}, {what}");
            let mut client = plimsoll.client("app", "p0");
            begin(&mut client);
            postgres.wait_for_sessions(&format!("pid = {pid} AND {seen}"), 1);
            let kept = die(client, death);
            let mut next = plimsoll.client("app", "p0");
            let answer = next.run(&new().query("SELECT pg_backend_pid()"));
            assert_eq!(tags(&answer), "TDCZ", "{what}");
            assert_eq!(answer[1].columns(), [Some(pid.to_string())], "{what}: another connection");
            next.leave();
            drop(kept);
            nothing_is_left(&postgres, &plimsoll, &what);
        }
    }
}

#[test]
fn in_session_pooling_every_state_is_ended_and_the_connection_goes_on() {
    every_state_is_ended(MODES[0]);
}

#[test]
fn in_transaction_pooling_every_state_is_ended_and_the_connection_goes_on() {
    every_state_is_ended(MODES[1]);
}

/// A FIN behind a message that is not whole: nothing can be said after it.
#[test]
fn after_half_a_message_the_connection_is_closed() {
    for mode in MODES {
        let (postgres, plimsoll) = house_of_one(mode);
        let long = "x".repeat(20_000);
        let copy = new().query("COPY marks FROM STDIN").copy_data(long.as_bytes());
        let query = new().query(&format!("INSERT INTO marks VALUES ('{long}')"));
        for (what, batch) in [("half a Query", query), ("half a CopyData", copy)] {
            for death in DEATHS {
                let mut client = plimsoll.client("app", "p0");
                client.query("BEGIN");
                client.query(INSERT);
                let pid = backend(&mut client);
                let bytes = batch.bytes();
                client.send(&bytes[..bytes.len() - 5000]).unwrap();
                postgres.wait_for_sessions(&format!("pid = {pid} AND {WAITS}"), 1);
                let kept = die(client, death);
                postgres.wait_backend_gone(pid);
                assert_ne!(pooled(&plimsoll), pid, "{mode}, {what}");
                drop(kept);
                nothing_is_left(&postgres, &plimsoll, what);
            }
        }
    }
}

#[test]
fn whoever_vanishes_while_waiting_is_never_granted_anything() {
    let (postgres, plimsoll) = house_of_one("transaction");
    let mut holder = plimsoll.client("app", "p0");
    holder.query("BEGIN");
    let pid = backend(&mut holder);
    for death in DEATHS {
        let mut waiting = plimsoll.client("app", "p0");
        send(&mut waiting, &new().query(INSERT));
        wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 1)]);
        let kept = die(waiting, death);
        wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 0), ("cl_active", 1)]);
        drop(kept);
    }
    let mut next = plimsoll.client("app", "p0");
    send(&mut next, &new().query("SELECT pg_backend_pid()"));
    wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 1)]);
    holder.query("COMMIT");
    assert_eq!(next.cycle().unwrap()[1].columns(), [Some(pid.to_string())]);
    nothing_is_left(&postgres, &plimsoll, "waiting");
}

/// What was asked for to its end is done, as PostgreSQL itself does what it has read before its client's end; and only
/// the last query of a pipeline is cancelled, since a cancel that struck a BEGIN would let what follows run without it.
#[test]
fn of_a_pipeline_that_was_sent_whole_only_the_last_query_is_cancelled() {
    let (postgres, plimsoll) = house_of_one("transaction");
    let pid = pooled(&plimsoll);
    let mut client = plimsoll.client("app", "p0");
    let first = "INSERT INTO marks SELECT 'first' FROM pg_sleep(0.5)";
    send(&mut client, &new().query(first).query("INSERT INTO marks VALUES ('second')").query(SLEEP));
    postgres.wait_for_sessions(ASLEEP, 1);
    client.reset();
    let mut next = plimsoll.client("app", "p0");
    assert_eq!(backend(&mut next), pid);
    assert_eq!(next.value("SELECT string_agg(what, ' ' ORDER BY what) FROM marks"), "first second");
    assert_eq!(postgres.count_sessions(ASLEEP), 0);
}

#[test]
fn a_server_that_cannot_be_freed_in_time_is_closed() {
    let (postgres, plimsoll) = house(|ini| {
        ini.set("default_pool_size", "1").own("cleanup_timeout", "300ms").own("cancel_on_client_loss", "off")
    });
    let pid = pooled(&plimsoll);
    let mut client = plimsoll.client("app", "p0");
    send(&mut client, &new().query("SELECT pg_sleep(3)"));
    postgres.wait_for_sessions(ASLEEP, 1);
    client.reset();
    plimsoll.wait_for_log("closing because: client disconnect while server was not ready", SOON);
    // Not cancelled: it sleeps on.
    assert_eq!(postgres.count_sessions(ASLEEP), 1);
    assert_ne!(pooled(&plimsoll), pid);
}

#[test]
fn without_a_cancel_an_answer_that_comes_in_time_frees_the_server() {
    let (postgres, plimsoll) = house(|ini| {
        ini.set("default_pool_size", "1").own("cleanup_timeout", "20s").own("cancel_on_client_loss", "off")
    });
    let pid = pooled(&plimsoll);
    postgres.login("app", "p0").client().query("CREATE TABLE marks (what text)");
    let mut client = plimsoll.client("app", "p0");
    send(&mut client, &new().query("INSERT INTO marks SELECT 'done' FROM pg_sleep(0.5)"));
    postgres.wait_for_sessions(ASLEEP, 1);
    client.reset();
    let mut next = plimsoll.client("app", "p0");
    assert_eq!(backend(&mut next), pid);
    assert_eq!(next.value("SELECT what FROM marks"), "done");
}

/// As before, and as PgBouncer does it: the connection ends with its client.
#[test]
fn where_nothing_is_freed_the_connection_ends_with_its_client() {
    for (key, value) in [("cleanup_timeout", "0"), ("compat", "pgbouncer")] {
        let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1").own(key, value));
        let pid = pooled(&plimsoll);
        let mut client = plimsoll.client("app", "p0");
        client.query("BEGIN");
        drop(client);
        postgres.wait_backend_gone(pid);
        plimsoll.wait_for_log("closing because: client disconnect while server was not ready", SOON);
        assert_ne!(pooled(&plimsoll), pid);
    }
}

/// The cancel for a client that is gone must not strike the next one's query.
#[test]
fn the_cancel_of_a_lost_client_never_hits_the_next_one() {
    let (_postgres, plimsoll) = house_of_one("transaction");
    let pid = pooled(&plimsoll);
    for round in 0..150 {
        let mut lost = plimsoll.client("app", "p0");
        // Sometimes done before the cancel is there, sometimes not.
        let millis = round % 5;
        send(&mut lost, &new().query(&format!("SELECT pg_sleep({})", f64::from(millis) / 1000.0)));
        let mut next = plimsoll.client("app", "p0");
        send(&mut next, &new().query("SELECT pg_sleep(0.002)"));
        lost.reset();
        assert_eq!(tags(&next.cycle().unwrap()), "TDCZ", "round {round}");
    }
    assert_eq!(pooled(&plimsoll), pid);
}

/// A rollback does not undo everything: whoever dies in the middle leaves none of it behind, in no pool mode.
#[test]
fn what_a_rollback_does_not_undo_is_cleared_away() {
    for (mode, reset) in [("session", "DISCARD ALL"), ("transaction", "DISCARD ALL"), ("transaction", "")] {
        let (postgres, plimsoll) = house(|ini| {
            let ini = ini.set("server_reset_query", reset);
            ini.set("pool_mode", mode).set("default_pool_size", "1")
        });
        let pid = pooled(&plimsoll);
        let mut client = plimsoll.client("app", "p0");
        client.query("BEGIN");
        client.query("SELECT pg_advisory_lock(4711)");
        client.query("PREPARE mine AS SELECT 1");
        client.query("SET work_mem = '77MB'");
        let answer =
            client.run(&new().parse("theirs", "SELECT 1").bind("", "theirs", &[]).execute("", 0).sync());
        assert_eq!(tags(&answer), "12DCZ");
        client.reset();
        let mut next = plimsoll.client("app", "p0");
        assert_eq!(backend(&mut next), pid, "{mode}");
        assert_ne!(next.value("SHOW work_mem"), "77MB", "{mode}");
        let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
        assert_eq!(postgres.sql(locks).rows[0][0].as_deref(), Some("0"), "{mode}");
        assert_eq!(next.value("SELECT count(*) FROM pg_prepared_statements"), "0", "{mode}");
        // And what is known of the connection is true.
        assert_eq!(next.value_extended("SELECT 'theirs'", &[]), "theirs");
        let named = new().parse("theirs", "SELECT 1").bind("", "theirs", &[]).execute("", 0).sync();
        assert_eq!(tags(&next.run(&named)), "12DCZ");
    }
}

fn psql(plimsoll: &Plimsoll) -> Child {
    let port = plimsoll.port();
    Command::new("psql")
        .args(["-XAtq", "-d", &format!("host=localhost port={port} dbname=p0 user=app sslmode=require")])
        .env("PGSSLCERT", "none")
        .env("PGSSLROOTCERT", "none")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("psql is there")
}

#[test]
fn a_driver_that_is_killed_over_tls_leaves_nothing_either() {
    let maker = Maker::new();
    maker.self_signed("server", "localhost");
    for mode in MODES {
        let size = |ini: Ini| ini.set("pool_mode", mode).set("default_pool_size", "1");
        let (postgres, plimsoll) = house(|ini| with_tls(size(ini), "client", "allow", &maker, "server"));
        postgres.login("app", "p0").client().query("CREATE TABLE marks (what text)");
        let pid = pooled(&plimsoll);
        for (says, seen) in [
            (format!("BEGIN;\n{INSERT};\n"), "state = 'idle in transaction' AND query LIKE 'INSERT%'"),
            (format!("BEGIN;\n{INSERT};\n{SLEEP};\n"), ASLEEP),
            (format!("BEGIN;\n{INSERT};\nCOPY marks FROM STDIN;\ncut\n"), "query LIKE 'COPY%'"),
        ] {
            let mut driver = psql(&plimsoll);
            driver.stdin.as_mut().unwrap().write_all(says.as_bytes()).unwrap();
            postgres.wait_for_sessions(&format!("pid = {pid} AND {seen}"), 1);
            // SIGKILL.
            driver.kill().unwrap();
            driver.wait().unwrap();
            assert_eq!(pooled(&plimsoll), pid, "{mode}: {says}");
            nothing_is_left(&postgres, &plimsoll, &says);
        }
    }
}

/// A crowd of clients dies at the same moment: all places are free again.
#[test]
fn a_crowd_that_dies_at_once_leaves_a_whole_pool() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "10").set("max_client_conn", "500"));
    postgres.login("app", "p0").client().query("CREATE TABLE marks (what text)");
    let mut crowd: Vec<Client> = (0..60).map(|_| plimsoll.client("app", "p0")).collect();
    for client in &mut crowd {
        send(client, &new().query(&format!("BEGIN; {INSERT}; {SLEEP}")));
    }
    postgres.wait_for_sessions(ASLEEP, 10);
    wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 50)]);
    crowd.into_iter().for_each(Client::reset);
    let mut clients: Vec<Client> = (0..10).map(|_| plimsoll.client("app", "p0")).collect();
    for client in &mut clients {
        client.query("BEGIN");
    }
    for client in &mut clients {
        client.query("COMMIT");
    }
    nothing_is_left(&postgres, &plimsoll, "a crowd");
    eventually("all places to be idle", SOON, || plimsoll.show("SERVERS").count(&[("state", "idle")]) == 10);
}
