//! One physical server is never asked for more than it can give, and everybody gets a fair share: PostgreSQL itself
//! counts the sessions, and its log tells whom it refused.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::{BINARY, SOON, house, house_with, pooler};
use plimsoll_testkit::{
    Batch, Client, Ini, Login, Plimsoll, Postgres, PostgresOptions, StopMode, eventually_ok,
};

/// A PostgreSQL of which 27 connections are for everybody.
fn small() -> PostgresOptions {
    PostgresOptions { max_connections: 30, ..PostgresOptions::default() }
}

/// Asks on and on until told to stop, once at least; how many answers it got.
fn asks(login: Login, stop: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let stop = stop.clone();
    thread::spawn(move || {
        let (mut client, mut answers) = (login.client(), 0);
        loop {
            assert_eq!(client.value("SELECT 'here' FROM pg_sleep(0.002)"), "here");
            answers += 1;
            if stop.load(Ordering::Relaxed) {
                return answers;
            }
        }
    })
}

/// Another program on the same server: up to `most` sessions, that come and go one by one.
fn foreigners(postgres: &Postgres, most: usize, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (login, stop) = (postgres.login("boss", "postgres"), stop.clone());
    thread::spawn(move || {
        let mut held: Vec<Client> = Vec::new();
        let mut more = true;
        while !stop.load(Ordering::Relaxed) {
            match more {
                // Where nobody looks at the server it may be full: this program has to live with that.
                true => held.extend(login.try_client()),
                false => drop(held.pop()),
            }
            more = held.len() < most && (held.is_empty() || more);
            thread::sleep(Duration::from_millis(300));
        }
    })
}

/// The one value of the answer that is on its way.
#[track_caller]
fn answer(client: &mut Client) -> String {
    let messages = client.cycle().expect("an answer");
    let row = messages.iter().find(|message| message.tag == b'D').expect("a row");
    row.columns().swap_remove(0).expect("a value")
}

fn refusals(postgres: &Postgres) -> usize {
    let log = postgres.log();
    let words = ["too many clients already", "remaining connection slots are reserved"];
    log.lines().filter(|line| words.iter().any(|words| line.contains(words))).count()
}

/// What PostgreSQL saw.
struct Seen {
    /// Most sessions at a time, the foreign ones included.
    highest: u64,
    /// Logins it refused for want of a place.
    refused: usize,
}

/// Many clients of many pools over a small server with a foreign program of a superuser.
fn crowd_on_a_small_server(change: impl FnOnce(Ini) -> Ini) -> Seen {
    let postgres = Postgres::start_with(small());
    postgres.sql("CREATE ROLE watcher LOGIN PASSWORD 'watcher-secret' IN ROLE pg_read_all_stats");
    let ini = Ini::new(&postgres).login("watcher", "watcher-secret").set("max_client_conn", "500");
    let plimsoll = pooler(change(ini.set("default_pool_size", "20")));
    let stop = Arc::new(AtomicBool::new(false));
    let foreign = foreigners(&postgres, 6, &stop);
    let witness = postgres.watch("true");
    let mut clients = Vec::new();
    for user in ["app", "other", "md5er"] {
        for database in ["p0", "p1", "p2"] {
            clients.extend((0..20).map(|_| asks(plimsoll.login(user, database), &stop)));
        }
    }
    thread::sleep(Duration::from_secs(5));
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.join().expect("no client sees a refusal") > 0, "nobody starves");
    }
    foreign.join().unwrap();
    Seen { highest: witness.highest(), refused: refusals(&postgres) }
}

#[test]
fn with_a_control_user_the_server_never_refuses_a_login() {
    let seen = crowd_on_a_small_server(|ini| {
        ini.own("control_user", "watcher").own("control_interval", "200ms").own("target_headroom", "5")
    });
    assert!(seen.refused == 0 && seen.highest <= 27, "{} refused, {} sessions", seen.refused, seen.highest);
}

#[test]
fn without_one_no_client_sees_a_refusal() {
    let seen = crowd_on_a_small_server(|ini| ini);
    assert!(seen.highest >= 24, "{} sessions: what is there is used", seen.highest);
}

#[test]
fn in_the_shape_of_pgbouncer_no_client_sees_one_either() {
    let seen = crowd_on_a_small_server(|ini| ini.own("compat", "pgbouncer"));
    assert!(seen.refused > 0 && seen.highest >= 24, "{} refused, {} sessions", seen.refused, seen.highest);
}

fn servers_of(plimsoll: &Plimsoll, database: &str) -> u64 {
    let targets = plimsoll.show("POOL_KEYS");
    let row = targets.find(&[("database", database), ("role", "app")]);
    row.map_or(0, |row| targets.number(row, "servers"))
}

#[test]
fn two_pools_under_full_demand_end_with_half_each_and_an_idle_one_gives_way() {
    let (_postgres, plimsoll) = house(|ini| ini.own("target_budget", "8").set("default_pool_size", "20"));
    let (first_stop, second_stop) = (Arc::default(), Arc::default());
    let first: Vec<_> = (0..24).map(|_| asks(plimsoll.login("app", "p0"), &first_stop)).collect();
    eventually_ok("the first to have all", SOON, || match servers_of(&plimsoll, "p0") {
        8 => Ok(()),
        n => Err(format!("{n}")),
    });
    let second: Vec<_> = (0..24).map(|_| asks(plimsoll.login("app", "p1"), &second_stop)).collect();
    eventually_ok("half each", SOON, || match (servers_of(&plimsoll, "p0"), servers_of(&plimsoll, "p1")) {
        (4, 4) => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
    first_stop.store(true, Ordering::Relaxed);
    first.into_iter().for_each(|client| assert!(client.join().unwrap() > 0));
    eventually_ok("the idle one's connections to be given up", SOON, || {
        match (servers_of(&plimsoll, "p0"), servers_of(&plimsoll, "p1")) {
            (0, 8) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    });
    second_stop.store(true, Ordering::Relaxed);
    second.into_iter().for_each(|client| assert!(client.join().unwrap() > 0));
}

#[test]
fn a_server_that_was_away_is_found_again_by_all_who_waited() {
    let (mut postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "10"));
    let mut clients: Vec<Client> = (0..30).map(|_| plimsoll.client("app", "p0")).collect();
    assert_eq!(clients[0].value("SELECT 1"), "1");
    postgres.stop(StopMode::Immediate);
    for client in &mut clients {
        client.send(Batch::new().query("SELECT 'back'").bytes()).unwrap();
    }
    // Nobody is told off while it is away, newcomers included.
    plimsoll.wait_for_log("closing because: connect failed", SOON);
    let mut late = plimsoll.client("app", "p0");
    late.send(Batch::new().query("SELECT 'back'").bytes()).unwrap();
    clients.push(late);
    postgres.start_again();
    for client in &mut clients {
        assert_eq!(answer(client), "back");
    }
    let most = plimsoll.show("POOLS");
    let row = most.find(&[("database", "p0"), ("user", "app")]).expect("the pool");
    assert!(most.number(row, "sv_login") <= 4);
}

#[test]
fn a_limit_of_the_role_makes_clients_wait_and_nobody_else() {
    let (postgres, plimsoll) = house(|ini| ini);
    postgres.sql("ALTER ROLE other CONNECTION LIMIT 1");
    let stop = Arc::new(AtomicBool::new(false));
    let bound: Vec<_> = (0..5).map(|_| asks(plimsoll.login("other", "p0"), &stop)).collect();
    let mut free: Vec<Client> = (0..5).map(|_| plimsoll.client("app", "p0")).collect();
    for client in &mut free {
        client.query("BEGIN");
    }
    eventually_ok("PostgreSQL to say no for the role", SOON, || {
        match postgres.log().contains("too many connections for role") {
            true => Ok(()),
            false => Err(String::from("not yet")),
        }
    });
    assert_eq!(postgres.count_sessions("usename = 'other'"), 1);
    stop.store(true, Ordering::Relaxed);
    bound.into_iter().for_each(|client| assert!(client.join().unwrap() > 0));
}

#[test]
fn with_a_control_user_the_limit_of_a_role_is_known_beforehand() {
    let (postgres, plimsoll) = house(|ini| ini);
    drop(plimsoll);
    postgres.sql("CREATE ROLE watcher LOGIN PASSWORD 'watcher-secret' IN ROLE pg_read_all_stats");
    postgres.sql("ALTER ROLE other CONNECTION LIMIT 3");
    let ini = Ini::new(&postgres).login("watcher", "watcher-secret").set("default_pool_size", "20");
    let plimsoll = pooler(ini.own("control_user", "watcher").own("control_interval", "200ms"));
    // One of the three is taken by somebody else.
    let foreign = postgres.login("other", "p0").client();
    assert_eq!(plimsoll.client("other", "p0").value("SELECT 1"), "1");
    let told = || format!("{:?}", plimsoll.console().query("EXPLAIN ADMISSION p0 other").rows);
    let stop = Arc::new(AtomicBool::new(false));
    let mut held = plimsoll.client("other", "p0");
    held.query("BEGIN");
    let mut second = plimsoll.client("other", "p0");
    second.query("BEGIN");
    eventually_ok("the limit to be known", SOON, || {
        if told().contains("would wait") { Ok(()) } else { Err(told()) }
    });
    assert!(
        told().contains("CONNECTION LIMIT of the role or of the database in PostgreSQL leaves this pool")
    );
    held.query("COMMIT");
    second.query("COMMIT");
    let clients: Vec<_> = (0..10).map(|_| asks(plimsoll.login("other", "p0"), &stop)).collect();
    thread::sleep(Duration::from_secs(2));
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| assert!(client.join().unwrap() > 0));
    assert!(!postgres.log().contains("too many connections for role"));
    drop(foreign);
}

#[test]
fn in_session_mode_foreign_sessions_find_their_place_too() {
    let postgres = Postgres::start_with(small());
    postgres.sql("CREATE ROLE watcher LOGIN PASSWORD 'watcher-secret' IN ROLE pg_read_all_stats");
    let ini = Ini::new(&postgres).login("watcher", "watcher-secret").set("default_pool_size", "20");
    let ini = ini.set("pool_mode", "session").own("control_user", "watcher").own("control_interval", "200ms");
    let plimsoll = pooler(ini);
    plimsoll.client("app", "p0").query("SELECT 1");
    let stop = Arc::new(AtomicBool::new(false));
    let mut held: Vec<Client> = Vec::new();
    let mut clients = Vec::new();
    for user in ["app", "other"] {
        clients.extend((0..20).map(|_| asks(plimsoll.login(user, "p0"), &stop)));
    }
    // All that there is for us is held; what is left is the headroom.
    eventually_ok("all to be held", SOON, || {
        let targets = plimsoll.show("TARGETS");
        // One foreign session is the test's own.
        let full = (targets.cell(0, "budget"), targets.cell(0, "used")) == ("23", "23");
        if full { Ok(()) } else { Err(format!("{targets:?}")) }
    });
    for more in 1..=3 {
        held.push(postgres.login("app", "p1").client());
        eventually_ok("the look to see it", SOON, || {
            let targets = plimsoll.show("TARGETS");
            if targets.number(0, "foreign") == 1 + more { Ok(()) } else { Err(format!("{targets:?}")) }
        });
    }
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| {
        client.join().expect("no client sees a refusal");
    });
    assert_eq!(refusals(&postgres), 0);
}

#[test]
fn one_pool_for_each_credential_is_told() {
    let postgres = Postgres::start();
    let line = format!("host=127.0.0.1 port={} dbname=p0 user=app password=app-secret", postgres.port());
    let ini = (0..25).fold(Ini::new(&postgres), |ini, n| ini.login(&format!("token{n}"), "secret"));
    let plimsoll = pooler(ini.database("orders", &line));
    let login = |n: usize| plimsoll.login(&format!("token{n}"), "orders").password("secret");
    let open = |n| login(n).parameter("application_name", "orders-api").client();
    let clients: Vec<Client> = (0..25).map(open).collect();
    plimsoll.wait_for_log("that looks like a pool at the client for each token or user", SOON);
    assert!(plimsoll.log().contains("application orders-api has "));
    drop(clients);
}

#[test]
fn what_stops_a_client_is_told_with_the_line_that_says_so() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1").own("target_budget", "9"));
    let mut holder = plimsoll.login("app", "p0").parameter("application_name", "batch").client();
    holder.query("BEGIN");
    let mut waiting = plimsoll.client("app", "p0");
    waiting.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    common::wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 1)]);
    let told = plimsoll.console().query("EXPLAIN ADMISSION p0 app");
    let lines: Vec<String> = told.rows.iter().map(|row| row[0].clone().unwrap()).collect();
    let text = lines.join("\n");
    for words in [
        "would wait behind 1 others",
        "The pool is full: 1 of 1",
        ".ini:",
        "Held: 1 by batch, idle in transaction",
    ] {
        assert!(text.contains(words), "{words} in\n{text}");
    }
    let free = plimsoll.console().query("EXPLAIN ADMISSION p1 app");
    assert!(free.rows[0][0].as_ref().unwrap().contains("would make a new pool"), "{free:?}");
    let nowhere = plimsoll.console().query("explain admission nowhere;");
    assert!(nowhere.rows[0][0].as_ref().unwrap().contains("would be refused: no such database: nowhere"));
    let targets = plimsoll.show("TARGETS");
    assert_eq!((targets.number(0, "budget"), targets.cell(0, "source")), (9, "file"));
    assert_eq!(targets.cell(0, "pools"), "p0/app 1, share 1, 1 waiting");
    // Who only may look may ask about itself, and is not told of files.
    let mut stats = plimsoll.login("stats", "pgbouncer").client();
    assert_eq!(stats.fail("EXPLAIN ADMISSION p0 app").message, "admin access needed");
    for line in ["EXPLAIN ADMISSION p0", "EXPLAIN ADMISSION p0 stats"] {
        let told = format!("{:?}", stats.query(line).rows);
        assert!(told.contains("as user stats would make a new pool") && !told.contains(".ini"), "{told}");
    }
    holder.query("COMMIT");
}

#[test]
fn the_server_is_asked_what_it_has() {
    let postgres = Postgres::start_with(small());
    postgres.sql("CREATE ROLE watcher LOGIN PASSWORD 'watcher-secret'");
    let ini = Ini::new(&postgres).login("watcher", "watcher-secret");
    let ini = ini.own("control_user", "watcher").own("control_interval", "200ms");
    let plimsoll = pooler(ini);
    let foreign: Vec<Client> = (0..4).map(|_| postgres.login("boss", "postgres").client()).collect();
    plimsoll.client("app", "p0").query("SELECT 1");
    plimsoll.wait_for_log("control_user may not see the sessions of others", SOON);
    postgres.sql("GRANT pg_read_all_stats TO watcher");
    eventually_ok("the foreign sessions to be counted", SOON, || {
        let targets = plimsoll.show("TARGETS");
        let by = targets.cell(0, "foreign_by").to_string();
        if by.contains("boss/") && targets.cell(0, "source") == "server" { Ok(()) } else { Err(by) }
    });
    let targets = plimsoll.show("TARGETS");
    // 30 less 3 for superusers, 3 of headroom, and the sessions of others.
    assert_eq!(targets.number(0, "budget") + targets.number(0, "foreign"), 24, "{targets:?}");
    drop(foreign);
    // Without one the limits alone are asked for.
    let plimsoll = pooler(Ini::new(&postgres));
    plimsoll.client("app", "p0").query("SELECT 1");
    eventually_ok("the limits to be known", SOON, || {
        let targets = plimsoll.show("TARGETS");
        let seen = (targets.cell(0, "budget"), targets.cell(0, "source"));
        if seen == ("24", "server") { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

#[test]
fn a_modest_application_is_not_behind_a_greedy_one() {
    let (_postgres, plimsoll) =
        house(|ini| ini.set("default_pool_size", "1").own("queue_fairness", "application"));
    let login = |name: &str| plimsoll.login("app", "p0").parameter("application_name", name);
    let mut holder = login("holder").client();
    holder.query("BEGIN");
    let mut greedy: Vec<Client> = (0..20).map(|_| login("greedy").client()).collect();
    for client in &mut greedy {
        client.send(Batch::new().query("SELECT 'mine' FROM pg_sleep(0.1)").bytes()).unwrap();
    }
    common::wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 20)]);
    let mut modest = login("modest").client();
    modest.send(Batch::new().query("SELECT 'mine'").bytes()).unwrap();
    common::wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 21)]);
    holder.query("COMMIT");
    assert_eq!(answer(&mut modest), "mine");
    let pools = plimsoll.show("POOLS");
    let row = pools.find(&[("database", "p0"), ("user", "app")]).unwrap();
    assert!(pools.number(row, "cl_waiting") >= 10, "it did not wait for all of them");
    for client in &mut greedy {
        assert_eq!(answer(client), "mine");
    }
}

#[test]
fn explain_is_a_command_of_the_program() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let out = std::process::Command::new(BINARY)
        .args([
            "explain",
            "p0",
            "app",
            "--url",
            &format!("postgres://admin@127.0.0.1:{}/pgbouncer", plimsoll.port()),
        ])
        .env("PGPASSWORD", "admin-secret")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && text.contains("would make a new pool"), "{text} {out:?}");
}

#[test]
fn a_budget_is_kept_where_the_file_says_so_for_one_target() {
    let (postgres, plimsoll) = house_with(small(), |ini| ini.set("default_pool_size", "20"));
    let line = format!("[targets]\n127.0.0.1:{} = budget=3\n", postgres.port());
    let plimsoll_too = pooler(Ini::new(&postgres).set("default_pool_size", "20").extra(&line));
    let stop = Arc::default();
    let clients: Vec<_> = (0..20).map(|_| asks(plimsoll_too.login("app", "p0"), &stop)).collect();
    eventually_ok("three connections", SOON, || match servers_of(&plimsoll_too, "p0") {
        3 => Ok(()),
        n => Err(format!("{n}")),
    });
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| assert!(client.join().unwrap() > 0));
    assert_eq!(postgres.count_sessions("usename = 'app'"), 3);
    drop(plimsoll);
}

#[test]
fn who_waits_in_vain_for_a_server_that_is_away_is_told_why() {
    let (mut postgres, plimsoll) = house(|ini| ini.set("query_wait_timeout", "2"));
    let mut client = plimsoll.client("app", "p0");
    assert_eq!(client.value("SELECT 1"), "1");
    postgres.stop(StopMode::Immediate);
    client.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    let told = client.expect_closed().expect("a reason");
    assert_eq!(told.message, "query_wait_timeout");
    let detail = told.detail.expect("a detail");
    assert!(detail.contains("The last attempt to connect to PostgreSQL failed: "), "{detail}");
}
