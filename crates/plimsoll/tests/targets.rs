//! Looks at the servers: what they see, what they learn when they fail, and what becomes of what was seen before.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use common::{SOON, backend, pooler};
use plimsoll_testkit::{
    Client, FakeServer, Ini, Plimsoll, Postgres, PostgresOptions, Table, eventually_ok, free_port,
};

/// A PostgreSQL of which 27 connections are for everybody, and a role that may look.
fn small() -> Postgres {
    let postgres =
        Postgres::start_with(PostgresOptions { max_connections: 30, ..PostgresOptions::default() });
    postgres.sql("CREATE ROLE watcher LOGIN PASSWORD 'watcher-secret' IN ROLE pg_read_all_stats");
    postgres
}

/// Somebody looks, often.
fn watched(postgres: &Postgres) -> Ini {
    let ini = Ini::new(postgres).login("watcher", "watcher-secret").set("default_pool_size", "20");
    ini.own("control_user", "watcher").own("control_interval", "200ms")
}

/// Waits until SHOW TARGETS is as it should be.
#[track_caller]
fn until(plimsoll: &Plimsoll, what: &str, mut wanted: impl FnMut(&Table) -> bool) -> Table {
    let mut console = plimsoll.console();
    let mut last = None;
    eventually_ok(what, SOON, || {
        let targets = console.query("SHOW TARGETS");
        let found = !targets.rows.is_empty() && wanted(&targets);
        let seen = format!("{targets:?}");
        last = Some(targets);
        if found { Ok(()) } else { Err(seen) }
    });
    last.expect("it was asked")
}

/// The one value of a query that leaves its client in a transaction.
fn hold(plimsoll: &Plimsoll, user: &str, database: &str) -> Client {
    let mut client = plimsoll.client(user, database);
    client.query("BEGIN");
    client.query("SELECT 1");
    client
}

fn others(postgres: &Postgres, count: usize) -> Vec<Client> {
    (0..count).map(|_| postgres.login("boss", "postgres").client()).collect()
}

#[test]
fn a_pause_does_not_blind_us() {
    let postgres = small();
    let plimsoll = pooler(watched(&postgres));
    plimsoll.client("app", "p0").query("SELECT 1");
    until(&plimsoll, "a look", |targets| targets.cell(0, "source") == "server");
    postgres.wait_for_sessions("usename = 'watcher' AND datname = 'p0'", 1);
    let mut console = plimsoll.console();
    let mut foreign = others(&postgres, 4);
    // The test's own session is one, too.
    until(&plimsoll, "the others", |targets| targets.number(0, "foreign") == 5);
    console.query("PAUSE p0");
    postgres.wait_for_sessions("datname = 'p0'", 0);
    foreign.extend(others(&postgres, 4));
    until(&plimsoll, "those who came in the pause", |targets| targets.number(0, "foreign") == 9);
    postgres.wait_for_sessions("usename = 'watcher'", 1);
    // PAUSE of everything is meant for us as well: what was seen last goes on counting.
    console.query("PAUSE");
    postgres.wait_for_sessions("usename IN ('watcher', 'app')", 0);
    foreign.extend(others(&postgres, 4));
    let targets = plimsoll.show("TARGETS");
    assert_eq!((targets.number(0, "foreign"), targets.number(0, "budget")), (9, 15), "{targets:?}");
    console.query("RESUME");
    console.query("RESUME p0");
    until(&plimsoll, "those who came in the second one", |targets| targets.number(0, "foreign") == 13);
    postgres.wait_for_sessions("usename = 'watcher'", 1);
    assert!(!plimsoll.log().contains("cannot be asked"), "{}", plimsoll.log());
}

#[test]
fn what_was_allotted_is_free_when_nobody_looks_any_more() {
    let postgres = small();
    postgres.sql("ALTER ROLE other CONNECTION LIMIT 3");
    let ini = watched(&postgres);
    let plimsoll = pooler(ini.clone());
    plimsoll.client("other", "p0").query("SELECT 1");
    let told = || format!("{:?}", plimsoll.console().query("EXPLAIN ADMISSION p0 other").rows);
    let held: Vec<Client> = (0..3).map(|_| hold(&plimsoll, "other", "p0")).collect();
    eventually_ok("the limit to be known", SOON, || {
        if told().contains("CONNECTION LIMIT") { Ok(()) } else { Err(told()) }
    });
    let without = Ini::new(&postgres).login("watcher", "watcher-secret").set("default_pool_size", "20");
    plimsoll.reload(&without);
    postgres.sql("ALTER ROLE other CONNECTION LIMIT 20");
    let more: Vec<Client> = (0..7).map(|_| hold(&plimsoll, "other", "p0")).collect();
    assert_eq!(held.len() + more.len(), 10);
    let targets = until(&plimsoll, "nobody to look", |targets| targets.cell(0, "foreign").is_empty());
    assert!(targets.cell(0, "trouble").is_empty(), "{targets:?}");
}

#[test]
fn what_was_allotted_is_free_when_the_pool_leads_to_two_servers() {
    let postgres = small();
    postgres.sql("ALTER ROLE other CONNECTION LIMIT 3");
    let ini = watched(&postgres);
    let line = |hosts: &str| format!("host={hosts} port={} dbname=p0", postgres.port());
    let plimsoll = pooler(ini.clone().database("p0", &line("127.0.0.1")));
    let held: Vec<Client> = (0..3).map(|_| hold(&plimsoll, "other", "p0")).collect();
    let told = || format!("{:?}", plimsoll.console().query("EXPLAIN ADMISSION p0 other").rows);
    eventually_ok("the limit to be known", SOON, || {
        if told().contains("CONNECTION LIMIT") { Ok(()) } else { Err(told()) }
    });
    plimsoll.reload(&ini.database("p0", &line("127.0.0.1,::1")));
    postgres.sql("ALTER ROLE other CONNECTION LIMIT 20");
    let more: Vec<Client> = (0..7).map(|_| hold(&plimsoll, "other", "p0")).collect();
    assert_eq!(held.len() + more.len(), 10);
}

#[test]
fn a_wrong_password_of_the_control_user_is_tried_once() {
    let postgres = Postgres::start_with(PostgresOptions {
        max_connections: 30,
        auth: plimsoll_testkit::ServerAuth::Scram,
        ..PostgresOptions::default()
    });
    postgres.sql("CREATE ROLE watcher LOGIN PASSWORD 'watcher-secret' IN ROLE pg_read_all_stats");
    let ini = watched(&postgres);
    let plimsoll = pooler(ini.clone().login("watcher", "wrong"));
    let failed = || postgres.log().matches("password authentication failed for user \"watcher\"").count();
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    let told = plimsoll.wait_for_log("cannot be asked for its limits", SOON);
    let line = told.lines().find(|line| line.contains("cannot be asked")).unwrap();
    assert!(line.contains("plimsoll.ini:"), "{line}");
    // New pools ring, and the interval is over ten times.
    for (user, database) in [("other", "p0"), ("other", "p1"), ("app", "p2")] {
        plimsoll.client(user, database).query("SELECT 1");
    }
    client.query("SELECT pg_sleep(2)");
    assert_eq!(failed(), 1, "{}", postgres.log());
    // What refusals teach is all that counts.
    assert_eq!(plimsoll.show("TARGETS").cell(0, "source"), "none");
    // The right one is tried at once.
    plimsoll.reload(&ini);
    until(&plimsoll, "a look", |targets| targets.cell(0, "source") == "server");
    assert_eq!(failed(), 1);
}

#[test]
fn a_control_user_without_a_place_does_not_keep_the_budget_small() {
    let postgres = small();
    postgres.sql("ALTER ROLE watcher CONNECTION LIMIT 1");
    let other = postgres.login("watcher", "p1").client();
    let plimsoll = pooler(watched(&postgres).set("pool_mode", "session"));
    let mut held = vec![plimsoll.client("app", "p0")];
    held[0].query("SELECT 1");
    let targets = plimsoll.show("TARGETS");
    assert_eq!((targets.cell(0, "budget"), targets.cell(0, "source")), ("4", "presumed"), "{targets:?}");
    let why = "control_user has no place there: too many connections for role \"watcher\"";
    until(&plimsoll, "the reason", |targets| targets.cell(0, "trouble") == why);
    until(&plimsoll, "the budget to be what refusals teach", |targets| targets.cell(0, "source") == "none");
    held.extend((0..9).map(|_| hold(&plimsoll, "app", "p0")));
    assert_eq!(postgres.count_sessions("usename = 'app'"), 10);
    // And when there is a place again, it is seen.
    drop(other);
    until(&plimsoll, "a look", |targets| targets.cell(0, "source") == "server");
}

#[test]
fn a_target_may_be_named_by_its_name() {
    let postgres = small();
    let ini = Ini::new(&postgres).set("default_pool_size", "20");
    let plimsoll =
        pooler(ini.clone().extra(&format!("[targets]\nlocalhost:{} = budget=5\n", postgres.port())));
    plimsoll.client("app", "p0").query("SELECT 1");
    until(&plimsoll, "the budget of the line", |targets| {
        (targets.cell(0, "budget"), targets.cell(0, "source")) == ("5", "file")
    });
    // A line that comes with a reload is looked up as well.
    plimsoll.reload(&ini.clone());
    until(&plimsoll, "no line", |targets| targets.cell(0, "source") == "server");
    plimsoll.reload(&ini.extra(&format!("[targets]\nlocalhost:{} = budget=7\n", postgres.port())));
    until(&plimsoll, "the budget of the new line", |targets| targets.cell(0, "budget") == "7");
}

#[test]
fn the_limits_are_known_before_anybody_gets_the_first_connection() {
    let postgres = small();
    let plimsoll = pooler(
        Ini::new(&postgres)
            .set("pool_mode", "session")
            .set("default_pool_size", "20")
            .set("max_client_conn", "100"),
    );
    let mut first = plimsoll.client("app", "p0");
    let pid = backend(&mut first);
    let targets = plimsoll.show("TARGETS");
    assert_eq!((targets.cell(0, "budget"), targets.cell(0, "source")), ("24", "server"), "{targets:?}");
    // In session mode nothing is ever idle here.
    let witness = postgres.watch("usename <> 'boss'");
    let waiting: Vec<_> = (0..60)
        .map(|n| {
            let login = plimsoll.login(["app", "other", "md5er"][n % 3], "p0");
            thread::spawn(move || {
                login.try_client().map(|mut client| client.value("SELECT 'served' FROM pg_sleep(1)"))
            })
        })
        .collect();
    until(&plimsoll, "all to be taken", |targets| targets.cell(0, "used") == "24");
    let foreign = others(&postgres, 2);
    assert_eq!(backend(&mut first), pid);
    for client in waiting {
        // Each leaves when it has had its turn.
        assert!(client.join().unwrap().is_ok());
    }
    assert!(witness.highest() <= 24);
    assert!(!postgres.log().contains("too many clients"), "{}", postgres.log());
    drop(foreign);
}

#[test]
fn in_the_shape_of_pgbouncer_nothing_is_asked() {
    let postgres = small();
    postgres.sql("ALTER SYSTEM SET log_statement = 'all'");
    postgres.sql("SELECT pg_reload_conf()");
    let plimsoll = pooler(Ini::new(&postgres).own("compat", "pgbouncer"));
    plimsoll.client("app", "p0").query("SELECT 'seen'");
    assert!(postgres.log().contains("SELECT 'seen'") && !postgres.log().contains("superuser_reserved"));
}

#[test]
fn a_budget_above_what_the_server_has_is_told_and_the_smaller_one_counts() {
    let postgres = small();
    let ini = Ini::new(&postgres).set("default_pool_size", "20").own("target_budget", "500");
    let plimsoll = pooler(ini.clone());
    plimsoll.client("app", "p0").query("SELECT 1");
    let told =
        "the budget (500) is more than the server has for us: max_connections 30 less 3 reserved is 27";
    let log = plimsoll.wait_for_log(told, SOON);
    let line = log.lines().find(|line| line.contains(told)).unwrap();
    assert!(line.contains("WARNING") && line.contains("plimsoll.ini:"), "{line}");
    let targets = plimsoll.show("TARGETS");
    assert_eq!((targets.cell(0, "budget"), targets.cell(0, "source")), ("27", "server"), "{targets:?}");
    let mark = plimsoll.log_mark();
    plimsoll.reload(&ini.clone());
    plimsoll.wait_for_log_since(mark, told, SOON);
    // One that the server has is not touched; the headroom is in the number.
    plimsoll.reload(&ini.own("target_budget", "26"));
    until(&plimsoll, "the number of the file", |targets| {
        (targets.cell(0, "budget"), targets.cell(0, "source")) == ("26", "file")
    });
}

#[test]
fn why_a_target_cannot_be_asked_is_told_as_it_is() {
    let postgres = small();
    let dead = format!("host=::1 port={} dbname=p0", free_port());
    let mut ini = Ini::empty().database("p0", &dead).login("app", "x").login("watcher", "watcher-secret");
    ini = ini.set("query_wait_timeout", "1").own("control_user", "watcher").own("control_interval", "200ms");
    let plimsoll = pooler(ini.clone());
    let refusal = plimsoll.login("app", "p0").refusal();
    assert!(refusal.message.contains("query_wait_timeout"), "{refusal:?}");
    until(&plimsoll, "the reason", |targets| targets.cell(0, "trouble") == "connect failed");
    // A look is under way nearly always: whoever does it now is gone with the reload.
    for user in ["other", "watcher", "other", "watcher"] {
        let mark = plimsoll.log_mark();
        ini = ini.own("control_user", user).login("other", "y");
        plimsoll.reload(&ini.clone());
        plimsoll.wait_for_log_since(mark, "connect failed", SOON);
    }
    assert!(!plimsoll.log().contains("limits: unneeded"), "{}", plimsoll.log());
    drop(postgres);
}

#[test]
fn who_may_not_see_the_others_is_told_with_the_line() {
    let postgres = small();
    postgres.sql("REVOKE pg_read_all_stats FROM watcher");
    let plimsoll = pooler(watched(&postgres));
    plimsoll.client("app", "p0").query("SELECT 1");
    let log = plimsoll.wait_for_log("control_user may not see the sessions of others", SOON);
    let line = log.lines().find(|line| line.contains("may not see")).unwrap();
    assert!(line.contains("WARNING") && line.contains("plimsoll.ini:"), "{line}");
}

#[test]
fn a_target_that_does_not_answer_keeps_nobody_from_looking_at_another() {
    let postgres = small();
    // It accepts and says nothing: each look at it lasts as long as a look may.
    let silent = FakeServer::start(|_, peer| peer.wait_closed());
    let silent_line = format!("host=127.0.0.1 port={} dbname=p0", silent.port());
    let plimsoll = pooler(watched(&postgres).database("silent", &silent_line));
    let login = plimsoll.login("app", "silent");
    let mut stuck = login.knock().unwrap();
    stuck.send(&login.startup_packet()).unwrap();
    plimsoll.client("app", "p0").query("SELECT 1");
    eventually_ok("the silent one to be looked at", SOON, || match silent.open() {
        0 => Err(String::from("nobody is there")),
        _ => Ok(()),
    });
    let live = format!("127.0.0.1:{}", postgres.port());
    let foreign = |targets: &Table| {
        let row = targets.find(&[("target", &live)])?;
        targets.cell(row, "foreign").parse::<u64>().ok()
    };
    let (mut held, mut times) = (Vec::new(), Vec::new());
    for more in 1..=5 {
        held.extend(others(&postgres, 1));
        let begun = Instant::now();
        until(&plimsoll, "the session to be seen", |targets| foreign(targets) == Some(1 + more));
        times.push(begun.elapsed());
    }
    // Not the two slowest: this machine may be busy.
    times.sort();
    assert!(times[2] < Duration::from_millis(1500), "{times:?}");
    assert!(!stuck.hears_within(Duration::from_millis(1)));
}

#[test]
fn walsenders_are_counted_apart() {
    let postgres = small();
    let plimsoll = pooler(watched(&postgres));
    plimsoll.client("app", "p0").query("SELECT 1");
    let before = until(&plimsoll, "a look", |targets| targets.cell(0, "source") == "server");
    let replica = postgres.login("boss", "postgres").parameter("replication", "true").client();
    let after = until(&plimsoll, "the walsender", |targets| targets.cell(0, "walsenders") == "1");
    assert_eq!(before.cell(0, "foreign"), after.cell(0, "foreign"));
    drop(replica);
}

/// On the way to PostgreSQL: passes on everything but the end of a connection by the server.
struct Way {
    port: u16,
}

impl Way {
    fn to(postgres: &Postgres) -> Way {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).unwrap();
        let (port, server) = (listener.local_addr().unwrap().port(), postgres.port());
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { continue };
                let client = client.unwrap();
                let (open, ended) = channel();
                let (there, back) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || pass_on(back, client, &ended));
                thread::spawn(move || {
                    let mut there = there;
                    let mut server = server;
                    // The pooler has gone: whatever holds its side of the socket may go as well.
                    let _ = std::io::copy(&mut there, &mut server);
                    let _ = server.shutdown(Shutdown::Write);
                    drop(open);
                });
            }
        });
        Way { port }
    }
}

/// What the server says goes on; that it has ended does not, until the other side is gone too.
fn pass_on(mut server: TcpStream, mut client: TcpStream, kept: &Receiver<()>) {
    let mut bytes = [0; 4096];
    while let Ok(n) = server.read(&mut bytes)
        && n > 0
        && client.write_all(&bytes[..n]).is_ok()
    {}
    // For as long as the test runs.
    std::mem::forget(client);
    let _ = kept.recv();
}

#[test]
fn a_lost_connection_is_lost_until_its_process_is_gone() {
    let postgres = small();
    let way = Way::to(&postgres);
    let line = format!("host=127.0.0.1 port={} dbname=p0", way.port);
    for ini in [watched(&postgres), Ini::new(&postgres)] {
        let plimsoll = pooler(ini.database("p0", &line).own("close_timeout", "1s"));
        let mut client = plimsoll.client("app", "p0");
        let pid = backend(&mut client);
        postgres.freeze(pid);
        plimsoll.console().query("RECONNECT p0");
        let target = format!("127.0.0.1:{}", way.port);
        let lost = |targets: &Table| {
            targets.find(&[("target", &target)]).map_or(0, |row| targets.number(row, "sv_lost"))
        };
        until(&plimsoll, "it to be lost", |targets| lost(targets) == 1);
        // Looks come and go, and it is still there. One that is idle may be asked.
        client.query("SELECT 1");
        let asked = |targets: &Table| {
            targets.find(&[("target", &target)]).map_or(0, |row| targets.number(row, "asked_us"))
        };
        let mut last = u64::MAX;
        until(&plimsoll, "another look", |targets| {
            let before = std::mem::replace(&mut last, asked(targets));
            last < before && before != u64::MAX
        });
        assert!(lost(&plimsoll.show("TARGETS")) >= 1);
        postgres.thaw(pid);
        postgres.wait_backend_gone(pid);
        until(&plimsoll, "its place to be free", |targets| lost(targets) == 0);
        assert_eq!(client.value("SELECT 'on'"), "on");
    }
}

#[test]
fn a_connection_that_the_server_does_not_have_is_an_error_that_is_told() {
    let postgres = small();
    let way = Way::to(&postgres);
    let line = format!("host=127.0.0.1 port={} dbname=p0", way.port);
    let plimsoll = pooler(watched(&postgres).database("p0", &line));
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let pid = backend(&mut client);
    postgres.terminate_sessions(&format!("pid = {pid}"));
    postgres.wait_backend_gone(pid);
    let log = plimsoll.wait_for_log("connections of ours are not seen there", SOON);
    let line = log.lines().find(|line| line.contains("not seen there")).unwrap();
    assert!(line.contains("ERROR") && line.contains(&format!("missing are [{pid}]")), "{line}");
    let targets = plimsoll.show("TARGETS");
    let row = targets.find(&[("differences", "1")]).expect("it is counted");
    assert_eq!(targets.cell(row, "unseen"), pid.to_string());
}

#[test]
fn the_check_logs_in_as_the_control_user() {
    let postgres = small();
    let dir = plimsoll_testkit::TempDir::new("check");
    let told = |ini: Ini| {
        let (users, file) = (dir.path().join("users.txt"), dir.path().join("p.ini"));
        std::fs::write(&users, ini.userlist()).unwrap();
        let ini = ini.set("auth_file", &users.display().to_string()).set("unix_socket_dir", "");
        std::fs::write(&file, ini.set("listen_port", &free_port().to_string()).text()).unwrap();
        for path in [&users, &file] {
            // As root the program under test runs as another user.
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        }
        let (_, output) = plimsoll_testkit::run_beside(common::BINARY, |command| {
            command.arg("check").arg(&file);
        });
        output
    };
    let ini = watched(&postgres);
    let calm = told(ini.clone());
    assert!(!calm.contains("[control-user"), "{calm}");
    postgres.sql("REVOKE pg_read_all_stats FROM watcher");
    let blind = told(ini.clone());
    let line = blind.lines().find(|line| line.contains("[control-user-blind]")).expect(&blind);
    assert!(line.contains("p.ini:"), "{line}");
    postgres.sql("ALTER ROLE watcher NOLOGIN");
    let refused = told(ini);
    let line = refused.lines().find(|line| line.contains("[control-user-refused]")).expect(&refused);
    assert!(line.contains("not permitted to log in"), "{line}");
}
