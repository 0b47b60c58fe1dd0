//! Limits on what a client does run only when it is the client's turn: not while the server does not take what it sends,
//! not while it has yet to read what there is, and not while it goes on sending.

#![allow(clippy::unwrap_used)]

mod common;

use std::thread;
use std::time::Duration;

use common::lost::{new, send};
use common::{SOON, house, wait_for_pool};
use plimsoll_testkit::{Batch, Client, Ini, Plimsoll, Postgres, eventually, eventually_ok, tags};

/// `client_stall_timeout` of these tests, and the other limits.
const LIMIT: &str = "1";
/// Longer than that by far.
const LONGER: Duration = Duration::from_millis(2500);
/// What a result that is not read has in rows of 1 MB.
const ROWS: &str = "SELECT i, repeat(md5(i::text), 31250) FROM generate_series(1, 8) i";

/// Small buffers in the kernel: what is not taken is not in there.
fn small(ini: Ini) -> Ini {
    ini.set("tcp_socket_buffer", "16384").set("default_pool_size", "1").own("client_stall_timeout", "1s")
}

/// A table whose first row takes a lock.
fn slow_table(postgres: &Postgres) {
    let mut direct = postgres.login("app", "p0").client();
    direct.query("CREATE TABLE marks (what text)");
    direct.query(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NEW; END'",
    );
    direct.query("CREATE TRIGGER wait BEFORE INSERT ON marks FOR EACH ROW EXECUTE FUNCTION wait()");
}

/// The lock that the rows wait for.
fn lock(postgres: &Postgres) -> Client {
    let mut holder = postgres.login("app", "p0").client();
    holder.query("SELECT pg_advisory_lock(7)");
    holder
}

/// Sends all of it although the server takes nothing for longer than the limit, and gives back what was answered.
fn send_against_a_lock(postgres: &Postgres, mut client: Client, batch: Batch) -> Vec<u8> {
    let mut holder = lock(postgres);
    let sender = thread::spawn(move || {
        client.send(batch.bytes()).unwrap();
        client.cycle().unwrap().iter().map(|message| message.tag).collect()
    });
    postgres.wait_for_sessions("wait_event = 'advisory'", 1);
    // Nobody else uses the connection of the lock: it answers when this time is over.
    holder.query(&format!("SELECT pg_sleep({})", LONGER.as_secs_f64()));
    assert!(!sender.is_finished(), "everything was taken although the server is blocked");
    holder.query("SELECT pg_advisory_unlock(7)");
    sender.join().unwrap()
}

#[track_caller]
fn rows_stand(postgres: &Postgres, rows: usize) {
    let counted = postgres.login("app", "p0").client().value("SELECT count(*) FROM marks");
    assert_eq!(counted, rows.to_string());
}

#[test]
fn a_copy_into_a_server_that_is_blocked_is_no_half_message() {
    let (postgres, plimsoll) = house(small);
    slow_table(&postgres);
    let mut client = plimsoll.client("app", "p0");
    send(&mut client, &new().query("COPY marks FROM STDIN"));
    assert_eq!(client.read().unwrap().tag, b'G');
    let row = format!("{}\n", "x".repeat(50_000));
    let rows = 400;
    let batch = (0..rows).fold(new(), |batch, _| batch.copy_data(row.as_bytes())).copy_done();
    assert_eq!(send_against_a_lock(&postgres, client, batch), b"CZ");
    rows_stand(&postgres, rows);
}

#[test]
fn many_rows_before_a_sync_may_wait_for_a_lock() {
    let (postgres, plimsoll) = house(small);
    slow_table(&postgres);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let (row, rows) = ("x".repeat(50_000), 400);
    let batch = (0..rows).fold(new().parse("", "INSERT INTO marks VALUES ($1)"), |batch, _| {
        batch.bind("", "", &[Some(&row)]).execute("", 0)
    });
    let answer = send_against_a_lock(&postgres, client, batch.sync().query("COMMIT").sync());
    assert_eq!(answer.iter().filter(|tag| **tag == b'C').count(), rows);
    eventually("the transaction to be committed", SOON, || {
        postgres.login("app", "p0").client().value("SELECT count(*) FROM marks") == rows.to_string()
    });
}

#[test]
fn whoever_sends_slowly_has_not_stopped() {
    let (_postgres, plimsoll) = house(small);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    // A message that is collected, for it has to be looked at as a whole.
    let long = format!("SELECT 1 /* {} */", "x".repeat(200_000));
    let batch = new().parse("long", &long).bind("", "long", &[]).execute("", 0).sync();
    for piece in batch.bytes().chunks(batch.bytes().len() / 10 + 1) {
        client.send(piece).unwrap();
        // The pace, not something to wait for: ten of them take longer than the limit.
        assert!(!client.hears_within(LONGER / 8) || piece.len() < batch.bytes().len() / 10);
    }
    assert_eq!(tags(&client.cycle().unwrap()), "12DCZ");
    client.query("COMMIT");
}

#[track_caller]
fn wait_for_spill(plimsoll: &Plimsoll, state: &str) {
    eventually_ok("a spill that took everything", SOON * 3, || {
        let (spills, holds) = (plimsoll.show("SPILLS"), plimsoll.show("HOLDS"));
        if spills.rows.is_empty() || holds.rows.is_empty() {
            return Err("nothing is held or spilled".to_owned());
        }
        let (seen, bytes) = (holds.cell(0, "state").to_owned(), spills.number(0, "total_bytes"));
        // What is not in the spill is in the kernel's buffers.
        if seen == state && bytes > 7_000_000 { Ok(()) } else { Err(format!("{seen}, {bytes} bytes")) }
    });
}

#[test]
fn a_batch_without_sync_whose_answer_is_not_read_has_not_stopped() {
    let (_postgres, plimsoll) = house(small);
    let mut client = plimsoll.client("app", "p0");
    send(&mut client, &new().parse("", ROWS).bind("", "", &[]).execute("", 0).flush());
    wait_for_spill(&plimsoll, "client not reading");
    let mut other = plimsoll.client("app", "p1");
    other.query(&format!("SELECT pg_sleep({})", LONGER.as_secs_f64()));
    let mut seen = Vec::new();
    while seen.last() != Some(&b'C') {
        seen.push(client.read().unwrap().tag);
    }
    assert_eq!(seen, b"12DDDDDDDDC");
    // Now it is its turn, and it stops.
    let last = client.expect_closed().unwrap();
    assert_eq!((last.sqlstate.as_str(), last.message.as_str()), ("57P05", "client_stall_timeout"));
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 0)]);
}

#[test]
fn a_transaction_is_idle_when_its_answer_has_been_read() {
    let (_postgres, plimsoll) =
        house(|ini| small(ini).set("idle_transaction_timeout", LIMIT).own("spill_in_transaction", "on"));
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    send(&mut client, &new().query(ROWS));
    wait_for_spill(&plimsoll, "idle in transaction");
    plimsoll.client("app", "p1").query(&format!("SELECT pg_sleep({})", LONGER.as_secs_f64()));
    assert_eq!(tags(&client.cycle().unwrap()), "TDDDDDDDDCZ");
    let last = client.expect_closed().unwrap();
    assert_eq!(last.message, "idle transaction timeout");
}

#[test]
fn a_client_that_reads_slowly_is_not_idle() {
    let (_postgres, plimsoll) = house(|ini| small(ini).set("client_idle_timeout", LIMIT));
    let mut client = plimsoll.client("app", "p0");
    let slow = ROWS.replace('8', "20");
    send(&mut client, &new().query(&slow));
    let mut rows = 0;
    let mut other = plimsoll.client("app", "p1");
    loop {
        match client.read().unwrap().tag {
            b'Z' => break,
            b'D' => {
                rows += 1;
                // The pace of its reader: all of it takes longer than the limit.
                other.query("SELECT pg_sleep(0.15)");
            }
            _ => {}
        }
    }
    assert_eq!(rows, 20);
    // Nothing is left to be read: now it is idle.
    assert_eq!(client.expect_closed().unwrap().message, "client_idle_timeout");
}
