//! SUSPEND, WAIT_CLOSE, server_fast_close, auto-databases nobody uses, names of servers: what of the console makes
//! something stand still or go.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{SOON, backend, house, wait_for_pool};
use plimsoll_testkit::{Batch, Signal, Table, eventually, eventually_ok, tags};

/// Long enough to see that nothing comes.
const QUIET: Duration = Duration::from_millis(200);

fn state(table: &Table, key: &str) -> String {
    let row = table.find(&[("key", key)]).unwrap();
    table.cell(row, "value").to_string()
}

#[test]
fn suspended_nothing_is_read_and_resumed_nothing_is_lost() {
    let (_postgres, mut plimsoll) = house(|ini| ini);
    let mut idle = plimsoll.client("app", "p0");
    assert_eq!(idle.value("SELECT 1"), "1");
    let mut busy = plimsoll.client("app", "p0");
    busy.send(Batch::new().query("SELECT 'slept' FROM pg_sleep(0.1)").bytes()).unwrap();
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 1)]);
    let mut console = plimsoll.console();
    console.query("SUSPEND");
    idle.send(Batch::new().query("SELECT 'heard'").bytes()).unwrap();
    assert!(!idle.hears_within(QUIET) && !busy.hears_within(QUIET));
    let shown = console.query("SHOW STATE");
    assert_eq!((state(&shown, "suspended"), state(&shown, "active")), ("yes".into(), "no".into()));
    assert_eq!(console.fail("SUSPEND").message, "already suspended/paused");
    assert_eq!(console.fail("PAUSE").message, "already suspended/paused");
    console.query("RESUME");
    assert_eq!(tags(&idle.cycle().unwrap()), "TDCZ");
    assert_eq!(tags(&busy.cycle().unwrap()), "TDCZ");
    assert_eq!(state(&console.query("SHOW STATE"), "suspended"), "no");
    assert_eq!(console.fail("RESUME").message, "pooler is not paused/suspended");
    // Who suspended and goes away leaves nobody standing.
    console.query("SUSPEND");
    idle.send(Batch::new().query("SELECT 'again'").bytes()).unwrap();
    assert!(!idle.hears_within(QUIET));
    console.leave();
    assert_eq!(tags(&idle.cycle().unwrap()), "TDCZ");
    // A cancel request for who suspended, and a signal, end it as well.
    let mut console = plimsoll.console();
    console.query("SUSPEND");
    console.cancel_key().cancel().unwrap();
    eventually("a cancelled suspension", SOON, || state(&console.query("SHOW STATE"), "suspended") == "no");
    console.query("SUSPEND");
    plimsoll.signal(Signal::User2);
    plimsoll.wait_for_log("got SIGUSR2, continuing from SUSPEND", SOON);
    assert_eq!(idle.value("SELECT 1"), "1");
    console.query("PAUSE p1");
    assert_eq!(console.fail("SUSPEND").message, "cannot suspend with paused databases");
    console.query("RESUME p1");
    plimsoll.still_works(&["p0", "p1"]);
}

#[test]
fn suspend_timeout_lets_those_go_who_do_not_read() {
    let (_postgres, plimsoll) = house(|ini| ini.set("suspend_timeout", "1"));
    let mut lazy = plimsoll.client("app", "p0");
    lazy.send(Batch::new().query("SELECT repeat('x', 1000000) FROM generate_series(1, 200)").bytes())
        .unwrap();
    let mut console = plimsoll.console();
    eventually("an answer nobody reads", SOON, || {
        let holds = console.query("SHOW HOLDS");
        holds.find(&[("state", "client not reading")]).is_some()
    });
    let mut quiet = plimsoll.client("app", "p0");
    console.query("SUSPEND");
    plimsoll.wait_for_log("closing because: suspend_timeout", SOON);
    console.query("RESUME");
    assert_eq!(quiet.value("SELECT 1"), "1");
    drop(lazy);
}

#[test]
fn wait_close_waits_for_what_reconnect_wants_closed() {
    let (_postgres, plimsoll) = house(|ini| ini.set("pool_mode", "session"));
    let mut holder = plimsoll.client("app", "p0");
    let before = backend(&mut holder);
    let mut console = plimsoll.console();
    console.query("WAIT_CLOSE");
    console.query("RECONNECT p0");
    let mut waiting = plimsoll.console();
    waiting.send(Batch::new().query("WAIT_CLOSE p0").bytes()).unwrap();
    assert!(!waiting.hears_within(QUIET));
    // Others have nothing to close.
    console.query("WAIT_CLOSE p1");
    assert_eq!(backend(&mut holder), before);
    holder.leave();
    assert_eq!(tags(&waiting.cycle().unwrap()), "CZ");
    assert_eq!(console.fail("WAIT_CLOSE pgbouncer").message, "cannot wait in admin db: pgbouncer");
    assert_eq!(console.fail("WAIT_CLOSE nowhere").message, "no such database: nowhere");
    assert_ne!(backend(&mut plimsoll.client("app", "p0")), before);
}

#[test]
fn server_fast_close_does_not_wait_for_idle_sessions() {
    let (postgres, plimsoll) = house(|ini| ini.set("pool_mode", "session").set("server_fast_close", "1"));
    let (mut idle, mut busy) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p0"));
    let mut fresh = plimsoll.client("app", "p0");
    backend(&mut idle);
    busy.query("BEGIN");
    let pid = backend(&mut busy);
    let mut console = plimsoll.console();
    console.query("RECONNECT");
    let told = idle.expect_closed().expect("a reason");
    assert_eq!(told.message, "database configuration changed");
    // In a transaction it goes on until that is over.
    assert_eq!(backend(&mut busy), pid);
    busy.query("COMMIT");
    assert_eq!(busy.expect_closed().expect("a reason").message, "database configuration changed");
    console.query("WAIT_CLOSE");
    postgres.wait_backend_gone(pid);
    assert_eq!(
        fresh.value("SELECT 'whoever held none is not disturbed'"),
        "whoever held none is not disturbed"
    );
}

#[test]
fn auto_databases_that_nobody_uses_go() {
    let (postgres, plimsoll) =
        house(|ini| ini.set("autodb_idle_timeout", "1").set("server_idle_timeout", "1"));
    let ini = plimsoll_testkit::Ini::new(&postgres)
        .database("*", &format!("host=127.0.0.1 port={} dbname=p1", postgres.port()))
        .set("autodb_idle_timeout", "1")
        .set("server_idle_timeout", "1");
    plimsoll.reload(&ini);
    let mut client = plimsoll.client("app", "made_up");
    assert_eq!(client.value("SELECT current_database()"), "p1");
    plimsoll.wait_for_log("registered new auto-database: made_up", SOON);
    assert!(plimsoll.show("DATABASES").find(&[("name", "made_up")]).is_some());
    client.leave();
    plimsoll.wait_for_log("dropping database 'made_up'", SOON);
    assert!(plimsoll.show("DATABASES").find(&[("name", "made_up")]).is_none());
    assert!(plimsoll.show("POOLS").find(&[("database", "made_up")]).is_none());
    assert!(plimsoll.show("DATABASES").find(&[("name", "p0")]).is_some());
    assert_eq!(plimsoll.client("app", "made_up").value("SELECT 1"), "1");
}

#[test]
fn names_of_servers_are_shown_with_what_they_resolve_to() {
    let (postgres, plimsoll) = house(|ini| ini);
    let ini = plimsoll_testkit::Ini::new(&postgres)
        .database("named", &format!("host=localhost port={} dbname=p0", postgres.port()))
        .set("dns_max_ttl", "1000");
    plimsoll.reload(&ini);
    eventually_ok("localhost to be known", SOON, || {
        let hosts = plimsoll.show("DNS_HOSTS");
        let row = hosts.find(&[("hostname", "localhost")]).ok_or("no such name")?;
        let addresses = hosts.cell(row, "addrs");
        if addresses.contains("127.0.0.1:0") { Ok(()) } else { Err(addresses.to_string()) }
    });
    assert_eq!(plimsoll.client("app", "named").value("SELECT 1"), "1");
    let lists = plimsoll.show("LISTS");
    assert_eq!(lists.cell(lists.find(&[("list", "dns_names")]).unwrap(), "items"), "1");
}

#[test]
fn sockets_are_clients_and_servers() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let sockets = plimsoll.show("SOCKETS");
    assert!(sockets.find(&[("database", "p0"), ("state", "cl_active"), ("type", "C")]).is_some());
    assert!(sockets.find(&[("database", "p0"), ("state", "sv_active"), ("type", "S")]).is_some());
    client.query("COMMIT");
    let active = plimsoll.show("ACTIVE_SOCKETS");
    assert!(active.find(&[("database", "p0"), ("state", "sv_active")]).is_none());
    let memory = plimsoll.show("MEM");
    let row = memory.find(&[("name", "server_cache")]).unwrap();
    assert_eq!(memory.number(row, "used") * memory.number(row, "size"), memory.number(row, "memtotal"));
    for (what, rows) in [("PEERS", 0), ("PEER_POOLS", 0), ("FDS", 0), ("DNS_ZONES", 0)] {
        assert_eq!(plimsoll.show(what).rows.len(), rows, "{what}");
    }
}
