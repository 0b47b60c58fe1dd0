//! Twenty causes of a closed connection: each is named, to the client and in the log.

#![allow(clippy::unwrap_used)]

mod common;

use common::{SOON, backend, house};
use plimsoll_testkit::{
    Batch, Client, FakeServer, Ini, Packet, Plimsoll, Postgres, ServerError, StopMode, error_response,
};

/// What a client was told last, and that the log says the same of it.
#[track_caller]
fn told(plimsoll: &Plimsoll, mark: usize, mut client: Client, sqlstate: &str, message: &str) -> ServerError {
    let error = client.expect_closed().unwrap_or_else(|| panic!("closed without a word: {message}"));
    assert_eq!((error.severity.as_str(), error.sqlstate.as_str()), ("FATAL", sqlstate), "{error}");
    assert!(error.message.contains(message), "{error}");
    plimsoll.wait_for_log_since(mark, &format!("closing because: {}", error.message), SOON);
    error
}

fn busy(plimsoll: &Plimsoll, postgres: &Postgres) -> Client {
    let mut client = plimsoll.client("app", "p0");
    client.send(Batch::new().query("SELECT pg_sleep(600)").bytes()).unwrap();
    postgres.wait_for_sessions("query LIKE '%pg_sleep(600)%' AND state = 'active'", 1);
    client
}

#[test]
fn the_server_ends_a_session() {
    let (mut postgres, plimsoll) =
        house(|ini| ini.set("pool_mode", "session").set("server_login_retry", "1"));
    // An administrator ends it in the middle of a query.
    let mark = plimsoll.log_mark();
    let client = busy(&plimsoll, &postgres);
    postgres.terminate_sessions("query LIKE '%pg_sleep(600)%'");
    told(&plimsoll, mark, client, "57P01", "terminating connection due to administrator command (57P01)");
    // It idles in a transaction for too long.
    let mark = plimsoll.log_mark();
    let mut client = plimsoll.client("app", "p0");
    client.query("SET idle_in_transaction_session_timeout = 100");
    client.query("BEGIN");
    told(&plimsoll, mark, client, "25P03", "idle-in-transaction timeout (25P03)");
    // It idles in its session for too long.
    let mark = plimsoll.log_mark();
    let mut client = plimsoll.client("app", "p0");
    client.query("SET idle_session_timeout = 100");
    told(&plimsoll, mark, client, "57P05", "idle-session timeout (57P05)");
    // The server stops.
    let mark = plimsoll.log_mark();
    let client = busy(&plimsoll, &postgres);
    postgres.stop(StopMode::Fast);
    told(&plimsoll, mark, client, "57P01", "server ended the connection: FATAL: terminating connection");
    // And is not there.
    let mark = plimsoll.log_mark();
    let mut first = plimsoll.client("app", "p0");
    first.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    plimsoll.wait_for_log_since(mark, "connect failed", SOON);
    let mut client = plimsoll.client("app", "p0");
    client.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    told(&plimsoll, mark, client, "08001", "server login has been failing, cached error: connect failed");
    plimsoll.wait_for_log_since(mark, "connect failed: Connection refused", SOON);
    postgres.start_again();
}

#[test]
fn a_backend_dies() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mark = plimsoll.log_mark();
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let pid = backend(&mut client);
    postgres.kill_backend(pid);
    told(&plimsoll, mark, client, "08006", "server closed the connection without saying why");
}

#[test]
fn the_network_and_what_is_no_postgres() {
    let scripts: [(&str, &str, &str); 4] = [
        ("reset", "08006", "server connection was reset"),
        ("close", "08006", "server closed the connection without saying why"),
        ("fatal", "XX000", "server ended the connection: FATAL: out of order (XX000)"),
        ("garbage", "08P01", "bad packet from server"),
    ];
    for (script, sqlstate, message) in scripts {
        let server = FakeServer::start(move |_, peer| {
            peer.welcome()?;
            peer.read_to(b'Q')?;
            match script {
                "reset" => peer.reset_at_end(),
                "fatal" => peer.send(&error_response("FATAL", "XX000", "out of order"))?,
                "garbage" => peer.send(&Packet::typed(b'?').text("what").bytes())?,
                _ => {}
            }
            Ok(())
        });
        let line = format!("host=127.0.0.1 port={} dbname=x", server.port());
        let plimsoll = common::pooler(
            Ini::empty().own("target_budget", "off").database("fake", &line).login("app", "app-secret"),
        );
        let mark = plimsoll.log_mark();
        let mut client = plimsoll.client("app", "fake");
        client.send(Batch::new().query("SELECT 1").bytes()).unwrap();
        told(&plimsoll, mark, client, sqlstate, message);
    }
}

#[test]
fn a_limit_of_time_is_over() {
    let (_postgres, plimsoll) = house(|ini| ini.set("idle_transaction_timeout", "1"));
    let mark = plimsoll.log_mark();
    let mut idle = plimsoll.client("app", "p0");
    idle.query("BEGIN");
    told(&plimsoll, mark, idle, "25P03", "idle transaction timeout");
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1").set("query_wait_timeout", "1"));
    let mark = plimsoll.log_mark();
    let mut holder = plimsoll.client("app", "p0");
    holder.query("BEGIN");
    let mut waiting = plimsoll.client("app", "p0");
    waiting.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    told(&plimsoll, mark, waiting, "53300", "query_wait_timeout");
    let (_postgres, plimsoll) = house(|ini| ini.set("query_timeout", "1"));
    let mark = plimsoll.log_mark();
    let mut client = plimsoll.client("app", "p0");
    client.send(Batch::new().query("SELECT pg_sleep(600)").bytes()).unwrap();
    told(&plimsoll, mark, client, "57014", "query timeout");
    let (_postgres, plimsoll) = house(|ini| ini.set("transaction_timeout", "1"));
    let mark = plimsoll.log_mark();
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    told(&plimsoll, mark, client, "25P04", "transaction timeout");
    let (_postgres, plimsoll) = house(|ini| ini.set("client_idle_timeout", "1"));
    let mark = plimsoll.log_mark();
    let client = plimsoll.client("app", "p0");
    told(&plimsoll, mark, client, "57P05", "client_idle_timeout");
    let (_postgres, plimsoll) = house(|ini| ini.set("client_login_timeout", "1"));
    let mark = plimsoll.log_mark();
    let client = plimsoll.login("app", "p0").knock().unwrap();
    told(&plimsoll, mark, client, "08P01", "client_login_timeout");
}

#[test]
fn an_administrator_or_the_client_itself_is_the_cause() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mark = plimsoll.log_mark();
    let client = plimsoll.client("app", "p0");
    let clients = plimsoll.show("CLIENTS");
    let row = clients.find(&[("database", "p0")]).unwrap();
    let id = clients.cell(row, "id").to_owned();
    plimsoll.console().query(&format!("KILL_CLIENT {id}"));
    told(&plimsoll, mark, client, "57P01", "admin forced disconnect");
    let mark = plimsoll.log_mark();
    let client = plimsoll.client("app", "p0");
    plimsoll.console().query("KILL p0");
    told(&plimsoll, mark, client, "57P01", "database removed");
    plimsoll.console().query("RESUME p0");
    let mark = plimsoll.log_mark();
    let mut client = plimsoll.client("app", "p0");
    client.send(&Packet::typed(b'z').text("?").bytes()).unwrap();
    told(&plimsoll, mark, client, "08P01", "unknown pkt");
    let refusal = plimsoll.login("app", "nowhere").refusal();
    assert_eq!((refusal.sqlstate.as_str(), refusal.message.as_str()), ("3D000", "no such database: nowhere"));
    plimsoll.wait_for_log_since(mark, "closing because: no such database: nowhere", SOON);
    let (_postgres, plimsoll) = house(|ini| ini.set("pool_mode", "statement"));
    let mark = plimsoll.log_mark();
    let mut client = plimsoll.client("app", "p0");
    client.send(Batch::new().query("BEGIN").bytes()).unwrap();
    told(&plimsoll, mark, client, "0A000", "transaction blocks not allowed in statement pooling mode");
    let (_postgres, plimsoll) = house(|ini| ini.set("auth_type", "scram-sha-256"));
    let mark = plimsoll.log_mark();
    let refusal = plimsoll.login("app", "p0").password("wrong").refusal();
    assert_eq!(refusal.sqlstate, "28P01");
    plimsoll.wait_for_log_since(mark, "closing because: SASL authentication failed", SOON);
}
