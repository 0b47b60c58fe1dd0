//! Clients that stop in the middle, and servers that stop answering: neither keeps a place in a pool for longer than
//! its limit, and nobody else is disturbed.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use common::lost::{INSERT, half_batch, new, send};
use common::{SOON, backend, house, servers_in, wait_for_pool};
use plimsoll_testkit::{
    Client, Ini, Packet, Plimsoll, Postgres, ServerError, eventually, eventually_ok, tags,
};

const MIB: u64 = 1024 * 1024;
/// `client_stall_timeout` of these tests.
const STALL: &str = "1s";
/// Longer than that by far, for those who must not be ended.
const LONGER: Duration = Duration::from_millis(2500);

fn one_place(ini: Ini) -> Ini {
    ini.set("default_pool_size", "1").own("client_stall_timeout", STALL)
}

fn house_of_one(change: impl FnOnce(Ini) -> Ini) -> (Postgres, Plimsoll) {
    let (postgres, plimsoll) = house(|ini| change(one_place(ini)));
    postgres.login("app", "p0").client().query("CREATE TABLE marks (what text)");
    (postgres, plimsoll)
}

#[track_caller]
fn is_told(client: &mut Client) {
    let last = client.expect_closed().expect("a reason");
    assert_eq!((last.severity.as_str(), last.sqlstate.as_str()), ("FATAL", "57P05"), "{last}");
    assert_eq!(last.message, "client_stall_timeout");
    assert!(last.hint.is_some());
}

#[track_caller]
fn nothing_stands(postgres: &Postgres, plimsoll: &Plimsoll, what: &str) {
    assert_eq!(postgres.login("app", "p0").client().value("SELECT count(*) FROM marks"), "0", "{what}");
    wait_for_pool(plimsoll, "p0", &[("sv_active", 0), ("cl_waiting", 0), ("sv_tested", 0)]);
}

#[test]
fn whoever_stops_in_half_a_batch_is_ended_and_nothing_of_it_stands() {
    for (mode, begin) in
        [("transaction", ""), ("transaction", "BEGIN"), ("session", ""), ("session", "BEGIN")]
    {
        for flush in [half_batch(), half_batch().flush()] {
            // Nothing is held back: the INSERT is executed.
            let (postgres, plimsoll) =
                house_of_one(|ini| ini.set("pool_mode", mode).own("batch_hold_bytes", "0"));
            let what = format!("{mode} {begin}");
            let mut client = plimsoll.client("app", "p0");
            let pid = backend(&mut client);
            if !begin.is_empty() {
                client.query(begin);
            }
            send(&mut client, &flush);
            postgres.wait_for_sessions(
                &format!("pid = {pid} AND wait_event = 'ClientRead' AND query LIKE 'INSERT%'"),
                1,
            );
            is_told(&mut client);
            // The same connection, and the next one is served.
            assert_eq!(backend(&mut plimsoll.client("app", "p0")), pid, "{what}");
            nothing_stands(&postgres, &plimsoll, &what);
        }
    }
}

#[test]
fn whoever_stops_in_half_a_message_is_ended_with_the_connection() {
    let (postgres, plimsoll) = house_of_one(|ini| ini);
    let long = "x".repeat(20_000);
    let copy = new().query("COPY marks FROM STDIN").copy_data(long.as_bytes());
    let query = new().query(&format!("INSERT INTO marks VALUES ('{long}')"));
    for batch in [copy, query] {
        let mut client = plimsoll.client("app", "p0");
        client.query("BEGIN");
        client.query(INSERT);
        let pid = backend(&mut client);
        client.send(&batch.bytes()[..batch.bytes().len() - 5000]).unwrap();
        // In COPY the answer to what came before is there already.
        is_told(&mut client);
        postgres.wait_backend_gone(pid);
        assert_ne!(backend(&mut plimsoll.client("app", "p0")), pid);
        nothing_stands(&postgres, &plimsoll, "half a message");
    }
}

#[test]
fn whoever_stops_before_a_header_is_whole_is_ended() {
    let (postgres, plimsoll) = house_of_one(|ini| ini.set("pool_mode", "session"));
    let mut client = plimsoll.client("app", "p0");
    let pid = backend(&mut client);
    client.send(b"Q\0\0").unwrap();
    is_told(&mut client);
    // Nothing of it was at the server.
    assert_eq!(backend(&mut plimsoll.client("app", "p0")), pid);
    nothing_stands(&postgres, &plimsoll, "half a header");
}

#[test]
fn whoever_stops_in_the_middle_of_copy_data_is_ended() {
    let (postgres, plimsoll) = house_of_one(|ini| ini);
    let copy = "COPY marks FROM STDIN";
    let batch = || new().parse("", copy).bind("", "", &[]).execute("", 0);
    let begun = [
        ("a Query", new().query(copy), "G"),
        ("a batch with Sync", batch().sync(), "12G"),
        ("a batch with Flush", batch().flush(), "12G"),
    ];
    for (how, begin, answer) in begun {
        for (what, part) in [("a header", &b"d\0\0"[..]), ("CopyData", b"d\0\0\0\x20cut")] {
            let mut client = plimsoll.client("app", "p0");
            send(&mut client, &begin);
            for tag in answer.bytes() {
                assert_eq!(client.read().unwrap().tag, tag, "{how}");
            }
            send(&mut client, &new().copy_data(b"cut\n"));
            client.send(part).unwrap();
            is_told(&mut client);
            plimsoll.still_works(&["p0"]);
            nothing_stands(&postgres, &plimsoll, &format!("half of {what} in COPY of {how}"));
        }
    }
}

#[test]
fn whoever_waits_for_a_long_answer_has_not_stopped() {
    let (_postgres, plimsoll) = house_of_one(|ini| ini.own("batch_hold_bytes", "0"));
    let sleep = format!("SELECT pg_sleep({})", LONGER.as_secs_f64());
    let mut client = plimsoll.client("app", "p0");
    // Behind a Flush drivers wait.
    send(&mut client, &new().parse("", &sleep).bind("", "", &[]).execute("", 0).flush());
    for tag in *b"12DC" {
        assert_eq!(client.read().unwrap().tag, tag);
    }
    assert_eq!(tags(&client.run(&new().sync())), "Z");
    assert_eq!(tags(&client.run(&new().query(&sleep))), "TDCZ");
    let batch = new().parse("", &sleep).bind("", "", &[]).execute("", 0).sync();
    assert_eq!(tags(&client.run(&batch)), "12DCZ");
}

#[test]
fn a_transaction_and_a_copy_may_take_their_time() {
    let (_postgres, plimsoll) = house_of_one(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    assert!(!client.hears_within(LONGER));
    send(&mut client, &new().query("COPY marks FROM STDIN"));
    assert_eq!(client.read().unwrap().tag, b'G');
    send(&mut client, &new().copy_data(b"slow\n"));
    assert!(!client.hears_within(LONGER));
    assert_eq!(tags(&client.run(&new().copy_done())), "CZ");
    client.query("COMMIT");
    assert_eq!(client.value("SELECT what FROM marks"), "slow");
}

/// A figure of SHOW STATS for `p0`.
#[track_caller]
fn stat(plimsoll: &Plimsoll, column: &str) -> u64 {
    let stats = plimsoll.show("STATS");
    stats.find(&[("database", "p0")]).map_or(0, |row| stats.number(row, column))
}

/// How often a client was given a server connection.
#[track_caller]
fn holds(plimsoll: &Plimsoll) -> u64 {
    stat(plimsoll, "total_server_assignment_count")
}

/// Bytes read of clients so far.
#[track_caller]
fn received_by(plimsoll: &Plimsoll) -> u64 {
    stat(plimsoll, "total_received")
}

/// Waits until so many bytes have been read.
#[track_caller]
fn wait_received(plimsoll: &Plimsoll, bytes: u64) {
    eventually_ok("the bytes to be read", SOON, || match received_by(plimsoll) {
        seen if seen >= bytes => Ok(()),
        seen => Err(format!("{seen} of {bytes}")),
    });
}

#[test]
fn half_a_batch_never_touches_a_server_wherever_it_is_cut() {
    let (postgres, plimsoll) = house_of_one(|ini| ini.own("client_stall_timeout", "60s"));
    plimsoll.still_works(&["p0"]);
    let before = holds(&plimsoll);
    let batch = half_batch().sync();
    let bytes = batch.bytes();
    let query = new().query(INSERT);
    let mut received = received_by(&plimsoll);
    let mut crowd = Vec::new();
    for all in [bytes, query.bytes()] {
        for cut in 1..all.len() {
            let mut client = plimsoll.client("app", "p0");
            client.send(&all[..cut]).unwrap();
            received += cut as u64;
            crowd.push((client, all, cut));
            if crowd.len() == 40 {
                wait_received(&plimsoll, received);
                assert_eq!(holds(&plimsoll), before, "a server connection for half a batch");
                crowd.clear();
            }
        }
    }
    wait_received(&plimsoll, received);
    assert_eq!(holds(&plimsoll), before, "a server connection for half a batch");
    // Whoever goes on is served, in one piece.
    let left = crowd.len();
    for (client, all, cut) in &mut crowd {
        client.send(&all[*cut..]).unwrap();
        assert!(matches!(tags(&client.cycle().unwrap()).as_str(), "12CZ" | "CZ"));
    }
    let rows = postgres.login("app", "p0").client().value("SELECT count(*) FROM marks");
    assert_eq!(rows, left.to_string());
}

#[test]
fn what_is_held_back_is_bounded_for_each_and_for_all() {
    let (_postgres, plimsoll) = house(|ini| {
        ini.set("default_pool_size", "5").own("batch_hold_bytes", "8KiB").own("batch_hold_memory", "8KiB")
    });
    let parse = |bytes: usize| new().parse("", &format!("SELECT 1 /* {} */", "x".repeat(bytes)));
    let active = |count| wait_for_pool(&plimsoll, "p0", &[("sv_active", count)]);
    let mut clients: Vec<Client> = (0..4).map(|_| plimsoll.client("app", "p0")).collect();
    let [first, second, third, fourth] = &mut clients[..] else { unreachable!("there are four") };
    let mut received = received_by(&plimsoll);
    let mut half = |client: &mut Client, bytes| {
        send(client, &parse(bytes));
        received += parse(bytes).bytes().len() as u64;
        wait_received(&plimsoll, received);
    };
    half(first, 5_000);
    active(0);
    // There is no room for a second one of this size.
    half(second, 5_000);
    active(1);
    // A small one is not worth counting.
    half(third, 500);
    active(1);
    // Too long by itself.
    half(fourth, 9_000);
    active(2);
    for client in &mut clients {
        assert_eq!(tags(&client.run(&new().bind("", "", &[]).execute("", 0).sync())), "12DCZ");
    }
    // The room is there again.
    active(0);
    send(&mut clients[1], &parse(5_000));
    assert!(!clients[1].hears_within(Duration::from_millis(100)));
    active(0);
}

/// Bytes that are read of a client at most while there is no room to hold its batch back.
const UNLINKED_READ: u64 = 8 * 1024;

#[test]
fn whoever_waits_with_a_long_batch_is_never_ended_for_its_bytes() {
    const CROWD: u64 = 40;
    let long = "x".repeat(60_000);
    let batch = new().parse("", "SELECT length($1::text)").bind("", "", &[Some(&long)]).execute("", 0).sync();
    // All of it, some of it, none of it can be held back; what is collected has no room for any of it.
    for (each, all) in [("64KiB", 64 << 20), ("64KiB", 256 << 10), ("0", 0)] {
        let (_postgres, plimsoll) = house_of_one(|ini| {
            ini.own("batch_hold_bytes", each)
                .own("batch_hold_memory", &all.to_string())
                .own("collect_memory", "64KiB")
        });
        let mut holder = plimsoll.client("app", "p0");
        holder.query("BEGIN");
        let mut crowd: Vec<Client> = (0..CROWD).map(|_| plimsoll.client("app", "p0")).collect();
        let before = received_by(&plimsoll);
        crowd.iter_mut().for_each(|client| send(client, &batch));
        wait_for_pool(&plimsoll, "p0", &[("cl_waiting", CROWD)]);
        // They are read no further than there is room for, and a read of each worker.
        let most = all + CROWD * UNLINKED_READ + 4 * (64 << 10);
        let received = received_by(&plimsoll) - before;
        assert!(received <= most, "{each}, {all}: {received} bytes of {CROWD} clients");
        holder.query("COMMIT");
        for client in &mut crowd {
            assert_eq!(
                tags(&client.cycle().expect("a batch that waited is served")),
                "12DCZ",
                "{each}, {all}"
            );
        }
    }
}

#[test]
fn whoever_leaves_half_a_batch_behind_never_had_a_server() {
    let (postgres, plimsoll) = house_of_one(|ini| ini);
    plimsoll.still_works(&["p0"]);
    let before = holds(&plimsoll);
    for _ in 0..20 {
        let mut client = plimsoll.client("app", "p0");
        send(&mut client, &half_batch().terminate());
        assert!(client.expect_closed().is_none());
    }
    assert_eq!(holds(&plimsoll), before);
    nothing_stands(&postgres, &plimsoll, "left");
}

// ---- servers

/// PostgreSQL with all its processes.
fn family(postgres: &Postgres) -> Vec<u32> {
    let parent = postgres.pid();
    let children = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // After the name in brackets: state, parent.
        let mut fields = stat.rsplit(')').next()?.split_whitespace();
        (fields.nth(1)? == parent.to_string()).then_some(pid)
    });
    // The postmaster first: then no new child comes.
    std::iter::once(parent).chain(children).collect()
}

/// One client after the other, each answer held against its question; how often it was told a cause instead.
fn load(
    plimsoll: &Plimsoll,
    number: u32,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU32>,
) -> thread::JoinHandle<u32> {
    let login = plimsoll.login("app", "p0");
    thread::spawn(move || {
        let (mut told, mut asked) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            let Ok(mut client) = login.try_client() else {
                told += 1;
                continue;
            };
            while !stop.load(Ordering::Relaxed) {
                asked += 1;
                let question = format!("{number}.{asked}");
                match client.try_query(&format!("SELECT '{question}' FROM pg_sleep(0.002)")) {
                    Ok(tables) => {
                        assert_eq!(tables[0].rows, [[Some(question)]], "somebody else's answer");
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(failure) => {
                        let error: ServerError = failure.server();
                        assert!(!error.message.is_empty() && error.sqlstate != "XX000", "{error}");
                        told += 1;
                        break;
                    }
                }
            }
        }
        told
    })
}

#[test]
fn a_server_that_is_stopped_and_goes_on_costs_no_place() {
    let (postgres, plimsoll) = house(|ini| {
        ini.set("default_pool_size", "4")
            .set("query_timeout", "1")
            .set("query_wait_timeout", "2")
            .set("server_connect_timeout", "1")
            .set("server_login_retry", "1")
            .own("close_timeout", "300ms")
            .own("cleanup_timeout", "500ms")
    });
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let threads: Vec<_> = (0..12).map(|n| load(&plimsoll, n, stop.clone(), done.clone())).collect();
    eventually("some load", SOON, || done.load(Ordering::Relaxed) > 100);
    let family = family(&postgres);
    family.iter().for_each(|pid| postgres.freeze(*pid));
    // Clients vanish in the middle, too.
    let mut lost = plimsoll.client("app", "p0");
    send(&mut lost, &new().query("SELECT 'lost'"));
    plimsoll.wait_for_log("closing because: query timeout", SOON);
    lost.reset();
    // All that were held are let go: out of the pool, and `lost` in the budget until the server is seen to end.
    let mut console = plimsoll.console();
    eventually_ok("the places to be free", SOON, || {
        let targets = console.query("SHOW TARGETS");
        let pools = console.query("SHOW POOLS");
        let row = pools.find(&[("database", "p0")]).ok_or("no pool")?;
        let busy = pools.number(row, "sv_active") + pools.number(row, "sv_tested");
        if busy == 0 { Ok(()) } else { Err(format!("{busy} are busy; {targets:?}")) }
    });
    family.iter().for_each(|pid| postgres.thaw(*pid));
    let before = done.load(Ordering::Relaxed);
    eventually("the load to go on", SOON, || done.load(Ordering::Relaxed) > before + 200);
    stop.store(true, Ordering::Relaxed);
    let told: u32 = threads.into_iter().map(|thread| thread.join().expect("no wrong answer")).sum();
    assert!(told > 0, "clients were told a cause");
    // As many as the pool has places get one each, and PostgreSQL sees what we count.
    let mut clients: Vec<Client> = (0..4).map(|_| plimsoll.client("app", "p0")).collect();
    clients.iter_mut().for_each(|client| drop(client.query("BEGIN")));
    eventually_ok("PostgreSQL to see what we count", SOON, || {
        let counted = servers_in(&console.query("SHOW POOLS"));
        let seen = postgres.count_sessions("true") as u64;
        if counted == seen && seen == 4 {
            Ok(())
        } else {
            Err(format!("we count {counted}, PostgreSQL {seen}"))
        }
    });
}

#[test]
fn an_idle_server_that_does_not_answer_is_found_by_the_check() {
    let (postgres, plimsoll) = house(|ini| {
        ini.set("default_pool_size", "2")
            .set("server_check_delay", "0")
            .set("server_check_query", "SELECT 1")
            .own("server_check_timeout", "300ms")
            .own("close_timeout", "300ms")
    });
    let mut client = plimsoll.client("app", "p0");
    let frozen = backend(&mut client);
    postgres.freeze(frozen);
    // The client waits for the check, and gets another.
    assert_ne!(backend(&mut client), frozen);
    plimsoll.wait_for_log("closing because: test query failed", SOON);
    // Its place in the pool is free, and one in the budget is lost until it has been seen to end.
    let targets = plimsoll.show("TARGETS");
    assert_eq!(targets.rows.len(), 1);
    let mut two: Vec<Client> = (0..2).map(|_| plimsoll.client("app", "p0")).collect();
    two.iter_mut().for_each(|client| drop(client.query("BEGIN")));
    postgres.thaw(frozen);
    postgres.wait_backend_gone(frozen);
}

#[test]
fn a_server_that_does_not_take_parameters_is_found() {
    let (postgres, plimsoll) = house(|ini| {
        ini.set("default_pool_size", "1").own("server_check_timeout", "500ms").own("close_timeout", "300ms")
    });
    let mut client = plimsoll.client("app", "p0");
    let frozen = backend(&mut client);
    postgres.freeze(frozen);
    let mut other = plimsoll.login("app", "p0").parameter("application_name", "another").client();
    let error = other.fail("SELECT 1");
    assert_eq!((error.severity.as_str(), error.sqlstate.as_str()), ("FATAL", "08006"));
    assert_eq!(error.message, "server does not answer: server_check_timeout");
    assert_ne!(backend(&mut client), frozen);
    postgres.thaw(frozen);
    postgres.wait_backend_gone(frozen);
}

// ---- crowds

#[test]
fn silent_slow_and_unreading_clients_cost_little_and_disturb_nobody() {
    let (_postgres, mut plimsoll) =
        house(|ini| ini.set("max_client_conn", "2000").own("spill_memory", "8MiB"));
    plimsoll.still_works(&["p0", "p1"]);
    let before = plimsoll.process().rss_bytes();
    let login = plimsoll.login("app", "p0");
    // Never say anything: before and after the login.
    let silent: Vec<Client> = (0..150).map(|_| login.knock().unwrap()).collect();
    let idle: Vec<Client> = (0..150).map(|_| login.client()).collect();
    // A byte at a time.
    let mut slow: Vec<Client> = (0..150).map(|_| login.client()).collect();
    let batch = half_batch().parse("", &"x".repeat(100)).sync();
    // Never read: of another pool, since each has a server while its answer is not read.
    let mut unread: Vec<Client> = (0..5).map(|_| plimsoll.client("app", "p1")).collect();
    for client in &mut unread {
        let rows = "SELECT repeat('x', 1000) FROM generate_series(1, 1000000)";
        send(client, &new().query(rows));
    }
    for byte in batch.bytes().iter().take(60) {
        for client in &mut slow {
            client.send(&[*byte]).unwrap();
        }
        plimsoll.still_works(&["p0"]);
    }
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 0), ("cl_waiting", 0)]);
    let grown = plimsoll.process().rss_peak_bytes().saturating_sub(before);
    assert!(grown < 24 * MIB, "memory grew by {grown} bytes");
    drop((silent, idle, slow, unread));
    plimsoll.still_works(&["p0", "p1"]);
}

#[test]
fn a_message_of_one_byte_at_a_time_is_as_good_as_one_in_one_piece() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    let batch = new().parse("a", "SELECT 'slowly'").bind("", "a", &[]).execute("", 0).sync();
    for byte in batch.bytes() {
        client.send(&[*byte]).unwrap();
    }
    assert_eq!(tags(&client.cycle().unwrap()), "12DCZ");
    for byte in new().packet(Packet::typed(b'Q').text("SELECT 'slowly'")).bytes() {
        client.send(&[*byte]).unwrap();
    }
    assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
}
