//! Cancel requests: they end the query of who asked, and never another client's.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{MODES, by_mode, house};
use plimsoll_testkit::{Batch, CancelKey, Client, Postgres, ServerError, tags};

const SLEEP: &str = "SELECT pg_sleep(600)";

fn sleeping(postgres: &Postgres, count: usize) {
    postgres.wait_for_sessions("state = 'active' AND query LIKE '%pg_sleep(600)%'", count);
}

fn begin(client: &mut Client, sql: &str) -> CancelKey {
    let key = client.cancel_key();
    client.send(Batch::new().query(sql).bytes()).unwrap();
    key
}

#[test]
fn a_running_query_ends_in_every_mode_and_over_every_way() {
    let postgres = Postgres::start();
    let plimsoll = common::pooler(by_mode(plimsoll_testkit::Ini::new(&postgres), &postgres));
    for mode in MODES {
        for way in [plimsoll.address(), plimsoll.unix_address()] {
            let mut client = plimsoll.login("app", mode).at(way).client();
            let key = begin(&mut client, SLEEP);
            sleeping(&postgres, 1);
            key.cancel().unwrap();
            let answer = client.cycle().unwrap();
            assert_eq!(tags(&answer), "TEZ", "{mode}");
            assert_eq!(ServerError::of(&answer[1]).sqlstate, "57014", "{mode}");
            assert_eq!(client.value("SELECT 'on'"), "on", "{mode}");
        }
    }
}

#[test]
fn the_right_one_of_many_is_ended() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "5"));
    let mut clients: Vec<Client> = (0..5).map(|_| plimsoll.client("app", "p0")).collect();
    let keys: Vec<CancelKey> = clients.iter_mut().map(|client| begin(client, SLEEP)).collect();
    sleeping(&postgres, 5);
    for (left, (key, client)) in keys.iter().zip(&mut clients).enumerate() {
        key.cancel().unwrap();
        assert_eq!(tags(&client.cycle().unwrap()), "TEZ");
        sleeping(&postgres, 4 - left);
    }
}

#[test]
fn keys_are_different_and_wrong_ones_do_nothing() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    let other = plimsoll.client("app", "p0");
    assert_ne!(client.cancel_key(), other.cancel_key());
    let mut wrong = begin(&mut client, SLEEP);
    sleeping(&postgres, 1);
    wrong.key[7] ^= 1;
    wrong.cancel().unwrap();
    // An idle client's own key does nothing either.
    other.cancel_key().cancel().unwrap();
    sleeping(&postgres, 1);
    client.cancel_key().cancel().unwrap();
    assert_eq!(tags(&client.cycle().unwrap()), "TEZ");
}

#[test]
fn a_cancel_works_when_the_pool_and_postgres_are_full() {
    let options = plimsoll_testkit::PostgresOptions { max_connections: 7, ..Default::default() };
    let (postgres, plimsoll) = common::house_with(options, |ini| {
        // All that is not reserved is taken: no place is left to others.
        ini.set("default_pool_size", "2").own("target_headroom", "0")
    });
    let mut first = plimsoll.client("app", "p0");
    let mut second = plimsoll.client("app", "p0");
    let key = begin(&mut first, SLEEP);
    begin(&mut second, SLEEP);
    sleeping(&postgres, 2);
    let mut last = postgres.login("app", "p0").client();
    last.query("SELECT 1");
    key.cancel().unwrap();
    assert_eq!(tags(&first.cycle().unwrap()), "TEZ");
    sleeping(&postgres, 1);
}

#[test]
fn a_late_cancel_never_hits_the_next_client() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut victim = plimsoll.client("app", "p0");
    let mut canceller = plimsoll.client("app", "p0");
    let key = canceller.cancel_key();
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let storm = thread::spawn(move || {
        let mut sent = 0;
        while !told.load(Ordering::Relaxed) {
            key.cancel().unwrap();
            sent += 1;
        }
        sent
    });
    let own = thread::spawn(move || {
        let mut ended = 0;
        for _ in 0..300 {
            match canceller.try_query("SELECT pg_sleep(0.001)") {
                Ok(_) => {}
                Err(failure) => {
                    assert_eq!(failure.server().sqlstate, "57014");
                    ended += 1;
                }
            }
        }
        ended
    });
    // The victim shares the only server with the one whose queries are cancelled all the time.
    for _ in 0..300 {
        victim.query("SELECT pg_sleep(0.001)");
    }
    own.join().unwrap();
    stop.store(true, Ordering::Relaxed);
    assert!(storm.join().unwrap() > 0);
    plimsoll.still_works(&["p0"]);
}

#[test]
fn a_client_that_waits_in_the_queue_can_be_ended() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut holder = plimsoll.client("app", "p0");
    let key = begin(&mut holder, SLEEP);
    sleeping(&postgres, 1);
    let mut waiting = plimsoll.client("app", "p0");
    let waiting_key = begin(&mut waiting, "SELECT 'mine'");
    common::wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 1)]);
    // It has no server, so there is nothing to cancel at one; the one who runs must not be hit.
    waiting_key.cancel().unwrap();
    sleeping(&postgres, 1);
    key.cancel().unwrap();
    assert_eq!(tags(&holder.cycle().unwrap()), "TEZ");
    plimsoll.still_works(&["p0"]);
}

#[test]
fn a_cancel_of_the_wrong_shape_is_ignored() {
    let (_postgres, plimsoll) = house(|ini| ini);
    for length in [0, 4, 7, 9, 300] {
        let mut short = plimsoll.client("app", "p0").cancel_key();
        short.key = vec![1; length];
        short.cancel().unwrap();
    }
    plimsoll.still_works(&["p0"]);
}
