//! What goes wrong between a client and its server connection when two things happen at once: a reload in the middle of
//! a login, a cancel in the middle of our own SET, a server that does not come to an end.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{SOON, house, pooler, wait_for_pool};
use plimsoll_testkit::{Batch, Client, FakeServer, Gate, Ini, PATIENCE, Packet, eventually, tags};

#[test]
fn a_limit_set_by_reload_reaches_clients_that_do_nothing() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    plimsoll.reload(&Ini::new(&postgres).set("client_idle_timeout", "1"));
    let error = client.expect_closed().expect("the reason");
    assert_eq!((error.severity.as_str(), error.message.as_str()), ("FATAL", "client_idle_timeout"));
}

#[test]
fn and_clients_that_hold_a_server() {
    let (postgres, plimsoll) = house(|ini| ini.set("pool_mode", "session"));
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let ini = Ini::new(&postgres).set("pool_mode", "session");
    plimsoll.reload(&ini.set("idle_transaction_timeout", "1"));
    let error = client.expect_closed().expect("the reason");
    assert_eq!((error.severity.as_str(), error.message.as_str()), ("FATAL", "idle transaction timeout"));
}

#[test]
fn a_login_that_began_before_a_reload_does_not_bring_the_old_settings_back() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut late = Client::knock(&plimsoll.address(), PATIENCE).unwrap();
    // An SSLRequest: once it is answered, the login has begun.
    late.send(&Packet::untyped(80_877_103).bytes()).unwrap();
    assert_eq!(late.read_byte().unwrap(), b'N');
    plimsoll.reload(&Ini::new(&postgres).set("pool_mode", "session"));
    late.send(&plimsoll.login("app", "p0").startup_packet()).unwrap();
    late.cycle().unwrap();
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 1), ("sv_idle", 0)]);
    late.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    late.cycle().unwrap();
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 2), ("sv_idle", 0)]);
}

#[test]
fn a_login_does_not_bring_back_a_database_that_was_removed_in_between() {
    let (postgres, plimsoll) = house(|ini| ini.set("auth_type", "plain").login("app", "secret"));
    let mut late = Client::knock(&plimsoll.address(), PATIENCE).unwrap();
    late.send(&plimsoll.login("app", "p1").startup_packet()).unwrap();
    assert_eq!(late.read().unwrap().tag, b'R', "asked for its password");
    let ini = Ini::new(&postgres).set("auth_type", "plain").login("app", "secret");
    plimsoll.reload(&ini.without_database("p1"));
    late.send(&Packet::typed(b'p').text("secret").bytes()).unwrap();
    let error = late.expect_closed().expect("the reason");
    assert_eq!((error.severity.as_str(), error.message.as_str()), ("FATAL", "database removed"));
    assert!(plimsoll.show("POOLS").find(&[("database", "p1")]).is_none());
}

#[test]
fn a_place_meant_for_a_database_that_the_same_reload_removes_goes_to_others() {
    let (postgres, plimsoll) = house(|ini| ini.own("target_budget", "1"));
    let mut holder = plimsoll.client("app", "p0");
    holder.query("BEGIN");
    let mut waiting = plimsoll.login("app", "p1").knock().unwrap();
    waiting.send(&plimsoll.login("app", "p1").startup_packet()).unwrap();
    wait_for_pool(&plimsoll, "p1", &[("cl_waiting", 1)]);
    plimsoll.reload(&Ini::new(&postgres).own("target_budget", "2").without_database("p1"));
    assert_eq!(waiting.expect_closed().expect("the reason").message, "database removed");
    assert_eq!(plimsoll.client("app", "p2").value("SELECT 1"), "1", "the second place is free");
    holder.query("COMMIT");
}

#[test]
fn a_cancel_while_parameters_are_being_set_is_dropped() {
    let (gate, keeper) = Gate::new();
    let (reached, arrival) = Gate::new();
    let server = FakeServer::start(move |_, peer| {
        peer.welcome()?;
        let set = peer.read_to(b'Q')?;
        assert!(set.strings()[0].starts_with("SET application_name"), "{set:?}");
        arrival.open();
        gate.wait()?;
        peer.send(&Packet::typed(b'C').text("SET").bytes())?;
        peer.send(&Packet::typed(b'Z').raw(b"I").bytes())?;
        peer.serve()
    });
    let line = format!("host=127.0.0.1 port={}", server.port());
    let plimsoll = pooler(Ini::empty().own("target_budget", "off").database("fake", &line).login("app", ""));
    let mut client = plimsoll.login("app", "fake").parameter("application_name", "mine").client();
    client.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    reached.wait().unwrap();
    client.cancel_key().cancel().unwrap();
    keeper.open();
    assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
    assert_eq!(server.accepted(), 1, "no cancel request has come");
    assert_eq!(server.failures(), [""; 0]);
}

#[test]
fn a_connect_query_that_does_not_end_leaves_no_session_behind() {
    let (postgres, plimsoll) = house(|ini| {
        let line = ini_line(&ini, "p0");
        ini.database("slow", &format!("{line} connect_query='SELECT pg_sleep(600)'"))
            .set("server_connect_timeout", "1")
            .set("server_login_retry", "1")
    });
    let watch = postgres.watch("usename = 'app'");
    let mut waiting = Client::knock(&plimsoll.address(), PATIENCE).unwrap();
    waiting.send(&plimsoll.login("app", "slow").startup_packet()).unwrap();
    eventually("three attempts that were given up", SOON, || {
        plimsoll.log().matches("closing because: connect timeout").count() >= 3
    });
    drop(waiting);
    assert_eq!(watch.highest(), 1, "each attempt ends before the next begins");
    plimsoll.still_works(&["p0"]);
}

/// The beginning of a database line.
fn ini_line(ini: &Ini, database: &str) -> String {
    let text = ini.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{database} = ")));
    String::from(line.expect("the line is there"))
}

#[test]
fn a_long_statement_in_small_pieces_arrives_whole() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    let sql = format!("SELECT length('{}')", "x".repeat(200_000));
    let batch = Batch::new().parse("long", &sql).bind("", "long", &[]).execute("", 0).sync();
    for (turn, piece_bytes) in [997, 8192, 40_000, 70_000].into_iter().enumerate() {
        for piece in batch.bytes().chunks(piece_bytes) {
            client.send(piece).unwrap();
            // Lets the pooler read in between.
            std::thread::sleep(Duration::from_micros(200));
        }
        let answer = client.cycle().unwrap();
        assert_eq!(tags(&answer), "12DCZ", "pieces of {piece_bytes} bytes");
        assert_eq!(answer[2].columns(), [Some(String::from("200000"))], "turn {turn}");
        assert_eq!(tags(&client.run(&Batch::new().close_statement("long").sync())), "3Z");
    }
}

#[test]
fn what_the_console_refuses_is_in_the_log_before_the_client_knows() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    for (command, message) in
        [("RESUME", "pooler is not paused/suspended"), ("PAUSE nowhere", "no such database: nowhere")]
    {
        let mark = plimsoll.log_mark();
        assert_eq!(console.fail(command).message, message);
        let log = plimsoll.log_since(mark);
        let line = log.lines().find(|line| line.contains("pooler error: "));
        let line = line.unwrap_or_else(|| panic!("nothing logged of {command}: {log}"));
        assert!(line.contains("pgbouncer/admin@") && line.ends_with(message), "{line}");
    }
}
