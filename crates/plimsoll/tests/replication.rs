//! Replication through the pooler, with the programs that come with PostgreSQL: backups, WAL, decoded changes, and a
//! subscription.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::lost::{new, send};
use common::{SOON, backend, house_with, pooler};
use plimsoll_testkit::{
    Address, FakeServer, Gate, Ini, Login, Plimsoll, Postgres, PostgresOptions, Process, Signal, eventually,
    eventually_ok, free_port, run_beside, start_beside, tags,
};

/// How long a backup of an empty server may take on a busy machine.
const BACKUP: Duration = Duration::from_secs(120);

fn logical() -> PostgresOptions {
    let settings = vec![(String::from("wal_level"), String::from("logical"))];
    PostgresOptions { settings, ..PostgresOptions::default() }
}

/// With the database that libpq names for physical replication.
fn replicating(ini: Ini) -> Ini {
    let p0 = ini.text();
    let place = p0.lines().find_map(|line| line.strip_prefix("p0 = ")).unwrap().replace("dbname=p0", "");
    ini.database("replication", &place)
}

/// Where the programs find the pooler, as the superuser.
fn there(plimsoll: &Plimsoll) -> [String; 6] {
    let port = plimsoll.port().to_string();
    ["-h", "127.0.0.1", "-p", &port, "-U", "boss"].map(String::from)
}

/// Runs a program of PostgreSQL's to its end; its output.
#[track_caller]
fn run(plimsoll: &Plimsoll, name: &str, args: &[&str]) -> String {
    let program = Postgres::tool(name).display().to_string();
    let (status, output) = run_beside(&program, |command| {
        command.args(there(plimsoll)).args(args);
    });
    assert!(status.success(), "{name}: {output}");
    output
}

/// Starts one that goes on until it is told to end; what it writes goes to `NAME.out`.
fn start(plimsoll: &Plimsoll, name: &str, args: &[&str]) -> (Process, PathBuf) {
    let output = plimsoll.dir().join(format!("{name}.out"));
    let process = start_beside(&Postgres::tool(name), &output, |command| {
        command.args(there(plimsoll)).args(args).arg("-v");
    });
    (process, output)
}

/// It is interrupted, and ends as it does after a clean end of its stream.
#[track_caller]
fn interrupt(mut process: Process, output: &Path) {
    process.signal(Signal::Interrupt);
    let status = process.wait(SOON);
    assert!(status.success(), "{status}: {}", fs::read_to_string(output).unwrap_or_default());
}

/// Nothing of it is left, here and there.
#[track_caller]
fn is_over(postgres: &Postgres, plimsoll: &Plimsoll) {
    postgres.wait_for_sessions("backend_type = 'walsender'", 0);
    eventually("no server connection for replication", SOON, || {
        let servers = plimsoll.show("SERVERS");
        (0..servers.rows.len()).all(|row| servers.cell(row, "replication") == "none")
    });
}

/// A server that begins from a backup; what it has in the table.
#[track_caller]
fn rows_in_backup(plimsoll: &Plimsoll, backup: &Path) -> String {
    let (port, dir) = (free_port(), plimsoll.dir().display().to_string());
    let mut server =
        start_beside(&Postgres::tool("postgres"), &plimsoll.dir().join("restored.out"), |command| {
            command.arg("-D").arg(backup).args(["-k", &dir, "-p", &port.to_string()]);
            command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
        });
    let login = Login::new(Address::v4(port), "boss", "p0");
    let mut client = eventually_ok("the backup to be a server", BACKUP, || {
        login.try_client().map_err(|failure| failure.to_string())
    });
    let count = client.value("SELECT count(*) FROM kept");
    client.leave();
    server.signal(Signal::Interrupt);
    server.wait(SOON);
    count
}

#[test]
fn a_base_backup_with_its_wal_streamed_beside_it_makes_a_server() {
    let (postgres, plimsoll) = house_with(PostgresOptions::default(), replicating);
    plimsoll.client("boss", "p0").query("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n");
    let backup = plimsoll.dir().join("streamed");
    let to = backup.display().to_string();
    run(&plimsoll, "pg_basebackup", &["-D", &to, "-X", "stream", "--checkpoint=fast", "--no-sync"]);
    assert_eq!(rows_in_backup(&plimsoll, &backup), "1000");
    is_over(&postgres, &plimsoll);
}

#[test]
fn a_base_backup_that_fetches_its_wal_is_whole() {
    let (postgres, plimsoll) = house_with(PostgresOptions::default(), replicating);
    let to = plimsoll.dir().join("fetched").display().to_string();
    run(&plimsoll, "pg_basebackup", &["-D", &to, "-X", "fetch", "--checkpoint=fast", "--no-sync"]);
    let (status, output) = run_beside(&Postgres::tool("pg_verifybackup").display().to_string(), |command| {
        command.arg(&to);
    });
    assert!(status.success(), "{output}");
    is_over(&postgres, &plimsoll);
}

#[test]
fn wal_is_received_until_it_is_interrupted() {
    let (postgres, plimsoll) = house_with(PostgresOptions::default(), replicating);
    let dir = plimsoll.dir().join("wal");
    run_beside("mkdir", |command| {
        command.arg(&dir);
    });
    let (process, output) =
        start(&plimsoll, "pg_receivewal", &["-D", &dir.display().to_string(), "--no-sync"]);
    let has_wal = || fs::read_dir(&dir).unwrap().flatten().any(|entry| entry.metadata().unwrap().len() > 0);
    eventually("a segment", SOON, has_wal);
    let servers = plimsoll.show("SERVERS");
    assert!(servers.find(&[("replication", "physical"), ("state", "active")]).is_some(), "{servers:?}");
    interrupt(process, &output);
    is_over(&postgres, &plimsoll);
}

/// The slot is there and in use: whatever is committed from here on is told.
#[track_caller]
fn streams_from_slot(postgres: &Postgres) {
    eventually("the slot to be in use", SOON, || {
        let slots = postgres.sql("SELECT active FROM pg_replication_slots");
        !slots.rows.is_empty() && slots.cell(0, "active") == "t"
    });
}

#[test]
fn decoded_changes_are_received_beside_queries() {
    let (postgres, plimsoll) = house_with(logical(), |ini| {
        // None of these ends a stream, nor is anything of it idle.
        let ini = ini.set("query_timeout", "2").set("idle_transaction_timeout", "2");
        let ini = ini.set("transaction_timeout", "2").set("client_idle_timeout", "2");
        ini.own("leak_close_after", "2s").own("client_stall_timeout", "2s")
    });
    plimsoll.client("boss", "p0").query("CREATE TABLE told (n int)");
    let changes = plimsoll.dir().join("changes");
    let to = changes.display().to_string();
    let args = ["-d", "p0", "--slot=s", "-P", "test_decoding", "--create-slot", "--start"];
    let (process, output) =
        start(&plimsoll, "pg_recvlogical", &[&args[..], &["-f", &to, "--no-loop", "-s", "1"]].concat());
    streams_from_slot(&postgres);
    let pid =
        |postgres: &Postgres| postgres.sql("SELECT pid FROM pg_stat_replication").cell(0, "pid").to_owned();
    let streams = pid(&postgres);
    let written = |what: &str| fs::read_to_string(&changes).unwrap_or_default().contains(what);
    let (begun, mut round) = (Instant::now(), 0);
    // Longer than any of the limits.
    while begun.elapsed() < Duration::from_secs(5) {
        let clients: Vec<_> = (0..8)
            .map(|n| {
                let mut client = plimsoll.client("boss", "p0");
                client.query(&format!("INSERT INTO told VALUES ({})", round * 100 + n));
                client
            })
            .collect();
        let last = format!("n[integer]:{}", round * 100 + 7);
        eventually(&last, SOON, || written(&last));
        drop(clients);
        round += 1;
    }
    assert_eq!(pid(&postgres), streams);
    assert_eq!(plimsoll.client("boss", "p0").value("SELECT count(*) FROM told"), (8 * round).to_string());
    let holds = plimsoll.show("HOLDS");
    let hold = holds.find(&[("pins", "replication")]).unwrap_or_else(|| panic!("{holds:?}"));
    assert_eq!((holds.cell(hold, "state"), holds.cell(hold, "verdict")), ("executing", "ok"));
    let targets = plimsoll.show("TARGETS");
    assert_eq!((targets.cell(0, "used_walsenders"), targets.cell(0, "max_walsenders")), ("1", "10"));
    interrupt(process, &output);
    is_over(&postgres, &plimsoll);
}

#[test]
fn decoded_changes_go_on_through_an_online_restart() {
    let (postgres, mut plimsoll) = house_with(logical(), |ini| ini);
    plimsoll.client("boss", "p0").query("CREATE TABLE told (n int)");
    let changes = plimsoll.dir().join("changes");
    let to = changes.display().to_string();
    let args = ["-d", "p0", "--slot=s", "-P", "test_decoding", "--create-slot", "--start"];
    let (process, output) =
        start(&plimsoll, "pg_recvlogical", &[&args[..], &["-f", &to, "--no-loop", "-s", "1"]].concat());
    streams_from_slot(&postgres);
    for round in 0..3 {
        plimsoll.client("boss", "p0").query(&format!("INSERT INTO told VALUES ({round})"));
        let last = format!("n[integer]:{round}");
        eventually(&last, SOON, || fs::read_to_string(&changes).unwrap_or_default().contains(&last));
        let mut old = plimsoll.take_over();
        assert_eq!(old.wait(SOON).code(), Some(0), "{}", plimsoll.log());
    }
    let servers = plimsoll.show("SERVERS");
    assert!(servers.find(&[("replication", "logical"), ("state", "active")]).is_some(), "{servers:?}");
    interrupt(process, &output);
    is_over(&postgres, &plimsoll);
}

#[test]
fn a_subscription_outlives_a_reload() {
    let (publisher, plimsoll) = house_with(logical(), |ini| ini);
    let subscriber = Postgres::start();
    let mut client = plimsoll.client("boss", "p0");
    client.query("CREATE TABLE news (n int PRIMARY KEY)");
    client.query("INSERT INTO news SELECT generate_series(1, 1000)");
    client.query("CREATE PUBLICATION pub FOR TABLE news");
    let mut there = subscriber.login("boss", "p0").client();
    there.query("CREATE TABLE news (n int PRIMARY KEY)");
    let connection = format!("host=127.0.0.1 port={} user=boss dbname=p0", plimsoll.port());
    there.query(&format!("CREATE SUBSCRIPTION sub CONNECTION '{connection}' PUBLICATION pub"));
    let mut count = || there.value("SELECT count(*) FROM news");
    eventually("the first copy", BACKUP, || count() == "1000");
    let pid = || {
        let rows = publisher.sql("SELECT pid FROM pg_stat_replication WHERE application_name = 'sub'");
        rows.cell(0, "pid").to_owned()
    };
    publisher.wait_for_sessions("application_name = 'sub'", 1);
    let before = pid();
    plimsoll.reload(&Ini::new(&publisher).set("default_pool_size", "7").set("pool_mode", "session"));
    client.query("INSERT INTO news VALUES (2000)");
    eventually("what came after the reload", SOON, || count() == "1001");
    assert_eq!(pid(), before);
    // A change of the line takes the stream along, and the subscriber begins again where it was.
    let changed = format!("host=127.0.0.1 port={} dbname=p0 timezone=CET", publisher.port());
    plimsoll.reload(&Ini::new(&publisher).database("p0", &changed));
    plimsoll.client("boss", "p0").query("INSERT INTO news VALUES (3000)");
    eventually("what came after the change", BACKUP, || count() == "1002");
    there.query("DROP SUBSCRIPTION sub");
    is_over(&publisher, &plimsoll);
}

#[test]
fn psql_speaks_to_a_walsender() {
    let (_postgres, plimsoll) = house_with(PostgresOptions::default(), |ini| ini);
    let psql = |connection: &str, sql: &str| {
        let port = plimsoll.port();
        let connection = format!("host=127.0.0.1 port={port} user=boss dbname=p0 {connection}");
        run_beside("psql", |command| {
            command.args(["-X", "-A", "-t", "-d", &connection, "-c", sql]);
        })
    };
    let (status, identity) = psql("replication=database", "IDENTIFY_SYSTEM");
    assert!(status.success() && identity.trim().ends_with("|p0"), "{identity}");
    assert_eq!(psql("replication=database", "SELECT 6 * 7").1.trim(), "42");
    let (status, slot) = psql("replication=database", "CREATE_REPLICATION_SLOT s TEMPORARY PHYSICAL");
    assert!(status.success() && slot.starts_with("s|"), "{slot}");
    let (status, shown) = psql("replication=true", "SHOW wal_level");
    assert!(status.success() && shown.trim() == "replica", "{shown}");
}

/// What fits into the buffers on the way, and not much more.
const ON_THE_WAY_BYTES: usize = 64 << 20;

#[test]
fn a_reader_that_takes_nothing_is_heard_and_costs_little() {
    let (gate, keeper) = Gate::new();
    let sent = Arc::<AtomicUsize>::default();
    let (counts, over) = (sent.clone(), Arc::<AtomicBool>::default());
    let server = FakeServer::start(move |_, peer| {
        peer.welcome()?;
        peer.read()?;
        // CopyBothResponse: text, no columns.
        peer.send(b"W\0\0\0\x07\0\0\0")?;
        let (mut other, counts, stop) = (peer.split()?, counts.clone(), over.clone());
        let flood = std::thread::spawn(move || {
            let piece = [&b"d\0\x01\0\x04"[..], &[7; 65_536]].concat();
            while !stop.load(Ordering::SeqCst) && other.send(&piece).is_ok() {
                counts.fetch_add(piece.len(), Ordering::SeqCst);
            }
        });
        for _ in 0..100 {
            assert_eq!(peer.read()?.tag, b'd');
        }
        keeper.open();
        // Terminate, as a walsender hears it while it streams.
        assert_eq!(peer.read()?.tag, b'X');
        over.store(true, Ordering::SeqCst);
        flood.join().unwrap();
        Ok(())
    });
    let line = format!("host=127.0.0.1 port={} dbname=x", server.port());
    let mut plimsoll = pooler(Ini::empty().login("boss", "boss-secret").database("flood", &line));
    let mut client = plimsoll.login("boss", "flood").parameter("replication", "true").client();
    client.send(b"Q\0\0\0\x16START_REPLICATION\0").unwrap();
    assert_eq!(client.read().unwrap().tag, b'W');
    let (mut last, mut looks) = (0, 0);
    eventually("the flood to stand still", SOON, || {
        let now = sent.load(Ordering::SeqCst);
        looks = if now > 0 && now == std::mem::replace(&mut last, now) { looks + 1 } else { 0 };
        looks >= 20
    });
    assert!(last < ON_THE_WAY_BYTES, "{last} bytes are on the way");
    // Its own words are stuck, and it hears all that the client says.
    for _ in 0..100 {
        client.send(b"d\0\0\0\x08ok..").unwrap();
    }
    gate.wait().unwrap();
    let peak = plimsoll.process().rss_peak_bytes();
    assert!(peak < 128 << 20, "{peak} bytes");
    let holds = plimsoll.show("HOLDS");
    let hold = holds.find(&[("pins", "replication")]).unwrap_or_else(|| panic!("{holds:?}"));
    assert_eq!((holds.cell(hold, "state"), holds.cell(hold, "verdict")), ("client not reading", "ok"));
    client.reset();
    eventually("the server to be let go", SOON, || server.open() == 0);
    assert_eq!(server.failures(), Vec::<String>::new());
}

#[test]
fn a_client_that_leaves_while_its_server_logs_in_leaves_nothing() {
    let (gate, keeper) = Gate::new();
    let server = FakeServer::start(move |_, peer| {
        let (_, _) = peer.startup()?;
        gate.wait()?;
        peer.send(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I")?;
        peer.wait_closed()
    });
    let line = format!("host=127.0.0.1 port={} dbname=x", server.port());
    let plimsoll = pooler(Ini::empty().login("boss", "boss-secret").database("slow", &line));
    let login = plimsoll.login("boss", "slow").parameter("replication", "true");
    let mut client = login.knock().unwrap();
    client.send(&login.startup_packet()).unwrap();
    eventually("the login at the server", SOON, || server.accepted() == 1);
    let mark = plimsoll.log_mark();
    drop(client);
    plimsoll.wait_for_log_since(mark, "closing because: client unexpected eof", SOON);
    keeper.open();
    plimsoll.wait_for_log_since(mark, "closing because: unneeded", SOON);
    eventually("the server to be let go", SOON, || server.open() == 0);
    let pools = plimsoll.show("POOLS");
    let row = pools.find(&[("database", "slow")]).unwrap();
    assert_eq!((pools.number(row, "sv_active"), pools.number(row, "cl_waiting")), (0, 0));
}

#[test]
fn a_refusal_has_the_servers_words() {
    let (_postgres, plimsoll) = house_with(PostgresOptions::default(), |ini| ini);
    let refusal = plimsoll.login("app", "p0").parameter("replication", "database").refusal();
    assert_eq!((refusal.message.as_str(), refusal.sqlstate.as_str()), ("login failed", "08004"));
    let detail = refusal.detail.unwrap();
    assert!(detail.contains("must be superuser or replication role to start walsender"), "{detail}");
    assert!(refusal.hint.is_some());
}

#[test]
fn it_takes_no_place_of_the_budget() {
    let (_postgres, plimsoll) = house_with(PostgresOptions::default(), |ini| ini.own("target_budget", "1"));
    let mut usual = plimsoll.client("boss", "p0");
    usual.query("BEGIN");
    let mut streams: Vec<_> =
        (0..3).map(|_| plimsoll.login("boss", "p0").parameter("replication", "database").client()).collect();
    assert!(streams.iter_mut().all(|client| backend(client) > 0));
    let targets = plimsoll.show("TARGETS");
    let seen =
        ["budget", "used", "used_walsenders", "max_walsenders"].map(|name| targets.cell(0, name).to_owned());
    assert_eq!(seen, ["1", "1", "3", "10"].map(String::from));
    assert!(targets.cell(0, "pools").contains("p0/boss 3 for replication"), "{targets:?}");
}

#[test]
fn no_cap_keeps_it_waiting_but_it_counts_and_who_waits_is_told_once() {
    let (_postgres, plimsoll) = house_with(PostgresOptions::default(), |ini| ini);
    let mut console = plimsoll.console();
    console.query("CAP APP backup 1");
    let backup = || plimsoll.login("boss", "p0").parameter("application_name", "backup");
    let mut streams = [(); 2].map(|()| backup().parameter("replication", "database").client());
    assert!(streams.iter_mut().all(|client| backend(client) > 0));
    assert_eq!(console.query("CAP").cell(0, "used"), "2");
    let mut query = backup().client();
    send(&mut query, &new().query("SELECT 1"));
    eventually("it waits", SOON, || console.query("CAP").cell(0, "waiting") == "1");
    let waiters = console.query("SHOW WAITERS");
    assert_eq!(waiters.rows.len(), 1, "{waiters:?}");
    assert!(waiters.cell(0, "why").starts_with("cap of application \"backup\""), "{waiters:?}");
    for stream in streams {
        stream.leave();
    }
    assert_eq!(query.cycle().map(|heard| tags(&heard)).unwrap(), "TDCZ");
}
