//! How many may come in, how many go on to PostgreSQL: PostgreSQL itself is the one who counts.

#![allow(clippy::unwrap_used)]

mod common;

use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::{SOON, backend, house, wait_for_pool};
use plimsoll_testkit::{Batch, Client, Login, Plimsoll, eventually, eventually_ok, tags};

/// Everybody who is not the kit itself.
const ALL: &str = "true";

/// So many clients at once, each with so many queries of a millisecond.
fn crowd(login: &Login, clients: usize, queries: usize) -> Vec<JoinHandle<()>> {
    (0..clients)
        .map(|number| {
            let login = login.clone();
            thread::spawn(move || {
                let mut client = login.client();
                for query in 0..queries {
                    let answer = format!("{number}/{query}");
                    assert_eq!(client.value(&format!("SELECT '{answer}' FROM pg_sleep(0.001)")), answer);
                }
                client.leave();
            })
        })
        .collect()
}

#[track_caller]
fn all_done(crowds: Vec<JoinHandle<()>>) {
    for client in crowds {
        client.join().expect("a client failed");
    }
}

/// Queries that hold a server until their client says COMMIT.
fn holder(plimsoll: &Plimsoll, user: &str, database: &str) -> Client {
    let mut client = plimsoll.client(user, database);
    client.query("BEGIN");
    client
}

#[test]
fn max_client_conn_refuses_the_next_and_lets_the_one_after_in() {
    let (postgres, plimsoll) = house(|ini| ini.set("max_client_conn", "3"));
    eventually("the kit's own first knock to be forgotten", SOON, || {
        plimsoll.show("LISTS").find(&[("list", "used_clients"), ("items", "1")]).is_some()
    });
    let mut clients: Vec<Client> = (0..3).map(|_| plimsoll.client("app", "p0")).collect();
    let error = plimsoll.login("app", "p0").refusal();
    let seen = (error.severity.as_str(), error.sqlstate.as_str(), error.message.as_str());
    assert_eq!(seen, ("FATAL", "53300", "no more connections allowed (max_client_conn)"));
    // The console is not refused: somebody has to look.
    assert_eq!(plimsoll.show("VERSION").rows.len(), 1);
    // Nor is a cancel.
    clients[0].send(Batch::new().query("SELECT pg_sleep(600)").bytes()).unwrap();
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 1)]);
    postgres.wait_for_sessions("wait_event = 'PgSleep'", 1);
    clients[0].cancel_key().cancel().unwrap();
    assert_eq!(tags(&clients[0].cycle().unwrap()), "TEZ");
    drop(clients.pop());
    eventually_ok("a place", SOON, || {
        plimsoll.login("app", "p0").try_client().map(drop).map_err(|failure| failure.to_string())
    });
    for client in &mut clients {
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

#[test]
fn limits_of_clients_per_database_and_user() {
    let (_postgres, plimsoll) = house(|ini| {
        let ini = ini.user("other", "max_user_client_connections=1");
        ini.set("max_db_client_connections", "2")
    });
    let first = plimsoll.client("app", "p0");
    let _second = plimsoll.client("app", "p0");
    let error = plimsoll.login("app", "p0").refusal();
    assert_eq!(error.message, "client connections exceeded (max_db_client_connections)");
    assert_eq!(error.sqlstate, "53300");
    let _elsewhere = plimsoll.client("other", "p1");
    let error = plimsoll.login("other", "p2").refusal();
    assert_eq!(error.message, "client connections exceeded (max_user_client_connections)");
    first.leave();
    eventually_ok("a place", SOON, || {
        plimsoll.login("app", "p0").try_client().map(drop).map_err(|failure| failure.to_string())
    });
}

#[test]
fn a_pool_never_has_more_servers_than_its_size() {
    let (postgres, plimsoll) = house(|ini| {
        let line = format!("host=127.0.0.1 port={} dbname=p1", port(&ini));
        let ini = ini.set("default_pool_size", "3").database("small", &format!("{line} pool_size=2"));
        ini.user("other", "pool_size=1")
    });
    for (user, database, size) in [("app", "p0", 3), ("app", "small", 2), ("other", "p2", 1)] {
        let watch = postgres.watch(&format!("usename = '{user}'"));
        all_done(crowd(&plimsoll.login(user, database), 12, 30));
        assert_eq!(watch.highest(), size, "{user} on {database}");
        let mut console = plimsoll.console();
        console.query(&format!("RECONNECT {database}"));
        postgres.wait_for_sessions(&format!("usename = '{user}'"), 0);
    }
}

#[test]
fn max_db_connections_spans_users() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "5").set("max_db_connections", "3"));
    let watch = postgres.watch("datname = 'p0'");
    let mut crowds = Vec::new();
    for user in ["app", "other", "boss"] {
        crowds.extend(crowd(&plimsoll.login(user, "p0"), 6, 20));
    }
    all_done(crowds);
    assert_eq!(watch.highest(), 3);
    plimsoll.wait_for_log("closing because: evicted", SOON);
}

#[test]
fn max_user_connections_spans_databases() {
    let (postgres, plimsoll) =
        house(|ini| ini.set("default_pool_size", "5").user("app", "max_user_connections=3"));
    let watch = postgres.watch("usename = 'app'");
    let mut crowds = Vec::new();
    for database in ["p0", "p1", "p2"] {
        crowds.extend(crowd(&plimsoll.login("app", database), 6, 20));
    }
    all_done(crowds);
    assert_eq!(watch.highest(), 3);
    plimsoll.still_works(&["p0", "p1", "p2"]);
}

#[test]
fn target_budget_spans_everything() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "5").own("target_budget", "4"));
    let watch = postgres.watch(ALL);
    let mut crowds = Vec::new();
    for user in ["app", "other", "boss"] {
        for database in ["p0", "p1", "p2"] {
            crowds.extend(crowd(&plimsoll.login(user, database), 3, 20));
        }
    }
    all_done(crowds);
    assert_eq!(watch.highest(), 4);
    assert!(common::servers_in(&plimsoll.show("POOLS")) <= 4);
}

#[test]
fn target_budget_of_one_serves_many_pools_in_turns() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "5").own("target_budget", "1"));
    let watch = postgres.watch(ALL);
    let mut clients: Vec<Client> = ["p0", "p1", "p2"]
        .iter()
        .flat_map(|database| ["app", "other"].map(|user| plimsoll.client(user, database)))
        .collect();
    for round in 0..3 {
        for client in &mut clients {
            assert_eq!(client.value(&format!("SELECT {round}")), round.to_string());
        }
    }
    // While one holds the only place all others wait, and none is lost.
    clients[0].query("BEGIN");
    for client in &mut clients[1..] {
        client.send(Batch::new().query("SELECT 'waited'").bytes()).unwrap();
    }
    wait_for_pool(&plimsoll, "p2", &[("cl_waiting", 1)]);
    clients[0].query("COMMIT");
    for client in &mut clients[1..] {
        assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
    }
    assert_eq!(watch.highest(), 1);
}

#[test]
fn session_pools_share_the_budget_too() {
    let (postgres, plimsoll) =
        house(|ini| ini.set("pool_mode", "session").set("query_wait_timeout", "1").own("target_budget", "2"));
    let watch = postgres.watch(ALL);
    let mut first = plimsoll.client("app", "p0");
    let mut second = plimsoll.client("other", "p1");
    first.query("SELECT 1");
    second.query("SELECT 1");
    // Its welcome waits for a server, or its first query does.
    let third = plimsoll.login("app", "p2").try_client().and_then(|mut client| client.try_query("SELECT 1"));
    let error = third.unwrap_err().server();
    assert_eq!((error.severity.as_str(), error.message.as_str()), ("FATAL", "query_wait_timeout"));
    first.leave();
    assert_eq!(plimsoll.client("app", "p2").value("SELECT 1"), "1");
    assert_eq!(second.value("SELECT 1"), "1");
    assert_eq!(watch.highest(), 2);
}

#[test]
fn the_reserve_opens_after_its_timeout() {
    let (postgres, plimsoll) = house(|ini| {
        let ini = ini.set("default_pool_size", "1").set("reserve_pool_size", "1");
        ini.set("reserve_pool_timeout", "1")
    });
    let mut first = holder(&plimsoll, "app", "p0");
    let mut second = plimsoll.client("app", "p0");
    assert_eq!(second.value("SELECT 1"), "1");
    plimsoll.wait_for_log("taking connection from reserve_pool", SOON);
    assert_eq!(postgres.count_sessions("usename = 'app'"), 2);
    first.query("COMMIT");
}

#[test]
fn query_wait_timeout_ends_the_waiter_only() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1").set("query_wait_timeout", "1"));
    let mut first = holder(&plimsoll, "app", "p0");
    let mut second = plimsoll.client("app", "p0");
    let error = second.fail("SELECT 1");
    let seen = (error.severity.as_str(), error.sqlstate.as_str(), error.message.as_str());
    assert_eq!(seen, ("FATAL", "53300", "query_wait_timeout"));
    assert_eq!(second.expect_closed(), None);
    first.query("COMMIT");
    plimsoll.wait_for_log("closing because: query_wait_timeout", SOON);
    plimsoll.still_works(&["p0"]);
}

#[test]
fn a_waiting_client_is_told_once() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1").set("query_wait_notify", "1"));
    let mut first = holder(&plimsoll, "app", "p0");
    let mut second = plimsoll.client("app", "p0");
    second.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    let notice = second.read().unwrap();
    assert_eq!(notice.tag, b'N');
    first.query("COMMIT");
    assert_eq!(tags(&second.cycle().unwrap()), "TDCZ");
    let notices = second.take_notices();
    assert_eq!(notices.len(), 1);
    let words = "No server connection available in postgres backend, client being queued";
    assert_eq!((notices[0].severity.as_str(), notices[0].message.as_str()), ("NOTICE", words));
}

#[test]
fn the_oldest_waiter_is_served_first() {
    for workers in ["1", "4"] {
        let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1").own("workers", workers));
        let mut first = plimsoll.client("app", "p0");
        first.query("CREATE TABLE IF NOT EXISTS queue (place serial, who int)");
        first.query("TRUNCATE queue RESTART IDENTITY");
        first.query("BEGIN");
        let mut console = plimsoll.console();
        let mut waiters: Vec<Client> = Vec::new();
        for who in 0..8 {
            let mut client = plimsoll.client("app", "p0");
            client
                .send(Batch::new().query(&format!("INSERT INTO queue (who) VALUES ({who})")).bytes())
                .unwrap();
            waiters.push(client);
            // Well above fairness_slack, within which waiters of another worker may be served first.
            youngest_waits(&mut console, waiters.len(), Duration::from_millis(20));
        }
        first.query("COMMIT");
        for client in &mut waiters {
            assert_eq!(tags(&client.cycle().unwrap()), "CZ");
        }
        let order = first.query("SELECT who FROM queue ORDER BY place");
        let order: Vec<usize> =
            order.rows.iter().map(|row| row[0].clone().unwrap().parse().unwrap()).collect();
        assert_eq!(order, (0..8).collect::<Vec<_>>(), "{workers} workers");
    }
}

/// Waits until so many clients wait, all of them for at least `bound`.
fn youngest_waits(console: &mut Client, count: usize, bound: Duration) {
    eventually_ok("the youngest waiter to have waited", SOON, || {
        let clients = console.query("SHOW CLIENTS");
        let waits: Vec<u64> = (0..clients.rows.len())
            .filter(|row| clients.cell(*row, "state") == "waiting")
            .map(|row| clients.number(row, "wait") * 1_000_000 + clients.number(row, "wait_us"))
            .collect();
        let least = waits.iter().copied().min().unwrap_or(0);
        if waits.len() == count && u128::from(least) >= bound.as_micros() {
            Ok(())
        } else {
            Err(format!("{waits:?}"))
        }
    });
}

#[test]
fn a_pool_of_one_serves_four_workers() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1").own("workers", "4"));
    let watch = postgres.watch(ALL);
    all_done(crowd(&plimsoll.login("app", "p0"), 40, 15));
    assert_eq!(watch.highest(), 1);
    wait_for_pool(&plimsoll, "p0", &[("cl_active", 0), ("cl_waiting", 0), ("sv_active", 0), ("sv_idle", 1)]);
}

#[test]
fn a_waiter_that_leaves_gives_its_place_to_the_next() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut first = holder(&plimsoll, "app", "p0");
    let mut waiters: Vec<Client> = (0..6)
        .map(|_| {
            let mut client = plimsoll.client("app", "p0");
            client.send(Batch::new().query("SELECT 'served'").bytes()).unwrap();
            client
        })
        .collect();
    wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 6)]);
    // Every other one goes away, with and without manners, while it waits.
    waiters.remove(4).reset();
    drop(waiters.remove(2));
    waiters.remove(0).leave();
    wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 3)]);
    first.query("COMMIT");
    for client in &mut waiters {
        assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
    }
}

#[test]
fn idle_servers_are_closed_and_come_back() {
    let (postgres, plimsoll) = house(|ini| ini.set("server_idle_timeout", "1"));
    let mut client = plimsoll.client("app", "p0");
    let old = backend(&mut client);
    postgres.wait_for_sessions("usename = 'app'", 0);
    plimsoll.wait_for_log("closing because: server idle timeout", SOON);
    assert_ne!(backend(&mut client), old);
}

#[test]
fn old_servers_are_replaced_but_never_under_a_client() {
    let (_postgres, plimsoll) = house(|ini| ini.set("server_lifetime", "1").set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let held = backend(&mut client);
    client.query("SELECT pg_sleep(1.5)");
    assert_eq!(backend(&mut client), held);
    client.query("COMMIT");
    eventually("another server", SOON, || backend(&mut client) != held);
    plimsoll.wait_for_log("closing because: server lifetime over", SOON);
}

#[test]
fn a_lifetime_of_zero_closes_on_release() {
    let (postgres, plimsoll) = house(|ini| ini.set("server_lifetime", "0"));
    let mut client = plimsoll.client("app", "p0");
    let first = backend(&mut client);
    assert_ne!(backend(&mut client), first);
    postgres.wait_for_sessions("usename = 'app'", 0);
}

#[test]
fn min_pool_size_is_kept_ready() {
    let (postgres, plimsoll) = house(|ini| ini.set("min_pool_size", "3").set("server_idle_timeout", "1"));
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    postgres.wait_for_sessions("usename = 'app'", 3);
    // A server that dies is replaced without anybody asking.
    let victim = backend(&mut client);
    postgres.terminate_sessions(&format!("pid = {victim}"));
    postgres.wait_backend_gone(victim);
    postgres.wait_for_sessions("usename = 'app'", 3);
}

#[test]
fn a_forced_user_has_its_servers_before_any_client() {
    let (postgres, _plimsoll) = house(|ini| {
        let line = format!("host=127.0.0.1 port={} dbname=p0", port(&ini));
        ini.database("ready", &format!("{line} user=other min_pool_size=2"))
    });
    postgres.wait_for_sessions("usename = 'other'", 2);
}

fn port(ini: &plimsoll_testkit::Ini) -> u16 {
    let text = ini.text();
    let word = text.split_whitespace().find(|word| word.starts_with("port=")).unwrap();
    word["port=".len()..].parse().unwrap()
}
