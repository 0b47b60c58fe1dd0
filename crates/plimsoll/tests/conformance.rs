//! The contract of a drop-in, row by row, in tests that real PgBouncer passes too:
//! `./dev test conformance --against pgbouncer` runs them with Debian's, so that it is the tests that are proven right.
//! What Debian's version (1.18) does not have yet is left out there, by name: `modern_*`.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::SOON;
use common::contract::{against_others, fatal, house, house_with, start};
use plimsoll_testkit::{Batch, Client, Ini, Packet, Postgres, PostgresOptions, ServerAuth, StopMode, tags};

#[test]
fn logins_are_refused_in_its_words() {
    for (auth_type, wrong, unknown) in [
        ("trust", None, "\"trust\" authentication failed"),
        ("plain", Some("password authentication failed"), "password authentication failed"),
        ("md5", Some("password authentication failed"), "password authentication failed"),
        ("scram-sha-256", Some("SASL authentication failed"), "SASL authentication failed"),
    ] {
        let (_postgres, plimsoll) = house(|ini| ini.set("auth_type", auth_type));
        if let Some(wrong) = wrong {
            fatal(&plimsoll.login("app", "p0").password("wrong").refusal(), wrong);
        }
        fatal(&plimsoll.login("nobody", "p0").password("x").refusal(), unknown);
        let good = plimsoll.login("app", "nowhere").password("app-secret").refusal();
        fatal(&good, "no such database: nowhere");
        let mut client = plimsoll.login("app", "p0").password("app-secret").client();
        assert_eq!(client.value("SELECT current_user"), "app", "{auth_type}");
    }
}

#[test]
fn startup_packets_are_refused_in_its_words() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let login = plimsoll.login("app", "p0");
    let cases = [
        (login.parameter("wal_level", "full"), "unsupported startup parameter: wal_level"),
        (plimsoll.login("", "p0"), "no username supplied"),
    ];
    for (login, message) in cases {
        fatal(&login.refusal(), message);
    }
    let mut client = plimsoll.login("app", "p0").knock().unwrap();
    client.send(&Packet::untyped(131_072).text("user").bytes()).unwrap();
    fatal(&client.expect_closed().expect("a reason"), "old V2 protocol not supported");
    let mut client = plimsoll.login("app", "p0").client();
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn tracked_parameters_follow_the_client() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let login = |zone: &str| plimsoll.login("app", "p0").parameter("TimeZone", zone);
    let mut tokyo = login("Asia/Tokyo").parameter("application_name", "one").client();
    let mut paris = login("Europe/Paris").parameter("datestyle", "SQL, DMY").client();
    for _ in 0..3 {
        assert_eq!(tokyo.value("SHOW TimeZone"), "Asia/Tokyo");
        assert_eq!(paris.value("SHOW TimeZone"), "Europe/Paris");
        assert_eq!(tokyo.value("SHOW application_name"), "one");
        assert_eq!(paris.value("SHOW DateStyle"), "SQL, DMY");
    }
    tokyo.query("SET TimeZone = 'UTC'");
    assert_eq!(paris.value("SHOW TimeZone"), "Europe/Paris");
    assert_eq!(tokyo.value("SHOW TimeZone"), "UTC");
}

#[test]
fn timeouts_say_which_they_are() {
    for (key, message, wait) in [
        ("query_timeout", "query timeout", "SELECT pg_sleep(600)"),
        ("idle_transaction_timeout", "idle transaction timeout", "BEGIN"),
        ("client_idle_timeout", "client_idle_timeout", "SELECT 1"),
    ] {
        let (_postgres, plimsoll) = house(|ini| ini.set(key, "1"));
        let mut client = plimsoll.client("app", "p0");
        client.send(Batch::new().query(wait).bytes()).unwrap();
        fatal(&client.expect_closed().expect("a reason"), message);
        plimsoll.wait_for_log(&format!("pooler error: {message}"), SOON);
        plimsoll.wait_for_log(&format!("closing because: {message}"), SOON);
    }
}

#[test]
fn waiting_for_a_server_ends_at_query_wait_timeout() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1").set("query_wait_timeout", "1"));
    let mut holder = plimsoll.client("app", "p0");
    holder.query("BEGIN");
    let mut waiting = plimsoll.client("app", "p0");
    waiting.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    fatal(&waiting.expect_closed().expect("a reason"), "query_wait_timeout");
    assert_eq!(holder.value("SELECT 1"), "1");
}

#[test]
fn statement_pooling_has_no_transactions() {
    let (_postgres, plimsoll) = house(|ini| ini.set("pool_mode", "statement"));
    let mut client = plimsoll.client("app", "p0");
    assert_eq!(client.value("SELECT 1"), "1");
    client.send(Batch::new().query("BEGIN").bytes()).unwrap();
    let error = client.expect_closed().expect("a reason");
    fatal(&error, "transaction blocks not allowed in statement pooling mode");
}

#[test]
fn limits_of_clients_are_told() {
    let (_postgres, plimsoll) = house(|ini| ini.set("max_client_conn", "2"));
    let clients: Vec<Client> = (0..2).map(|_| plimsoll.client("app", "p0")).collect();
    fatal(&plimsoll.login("app", "p0").refusal(), "no more connections allowed (max_client_conn)");
    assert_eq!(plimsoll.show("VERSION").rows.len(), 1);
    drop(clients);
}

#[test]
fn servers_that_refuse_are_quoted() {
    let options = PostgresOptions { auth: ServerAuth::Scram, ..Default::default() };
    let (_postgres, plimsoll) = house_with(options, |ini| ini.login("app", "not-the-password"));
    let error = plimsoll.login("app", "p0").refusal();
    let seen = (error.severity.as_str(), error.message.as_str());
    assert_eq!(seen, ("FATAL", "password authentication failed for user \"app\""));
    assert_eq!(error.sqlstate, if against_others() { "08P01" } else { "28P01" });
    let (_postgres, plimsoll) = house(|ini| {
        let text = ini.text();
        let line = text.lines().find(|line| line.starts_with("p0 = ")).unwrap();
        let connection = line.split_once(" = ").unwrap().1.replace("dbname=p0", "dbname=nowhere");
        ini.database("gone", &connection)
    });
    let error = plimsoll.login("app", "gone").refusal();
    assert_eq!(error.message, "database \"nowhere\" does not exist");
}

#[test]
fn a_server_that_restarts_disturbs_no_idle_client() {
    let (mut postgres, plimsoll) =
        house(|ini| ini.set("server_login_retry", "1").set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    assert_eq!(client.value("SELECT 1"), "1");
    postgres.restart(StopMode::Fast);
    assert_eq!(client.value("SELECT 2"), "2");
}

#[test]
fn cancel_requests_hit_what_they_are_meant_for() {
    let (postgres, plimsoll) = house(|ini| ini);
    let (mut one, mut other) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p0"));
    one.send(Batch::new().query("SELECT pg_sleep(600)").bytes()).unwrap();
    other.send(Batch::new().query("SELECT 'spared' FROM pg_sleep(1)").bytes()).unwrap();
    postgres.wait_for_sessions("wait_event = 'PgSleep'", 2);
    one.cancel_key().cancel().unwrap();
    assert_eq!(tags(&one.cycle().unwrap()), "TEZ");
    assert_eq!(tags(&other.cycle().unwrap()), "TDCZ");
    assert_eq!(one.value("SELECT 1"), "1");
}

#[test]
fn a_client_that_leaves_in_the_middle_takes_its_server_along() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let pid: u32 = client.value("SELECT pg_backend_pid()").parse().unwrap();
    drop(client);
    postgres.wait_backend_gone(pid);
    plimsoll.wait_for_log("client disconnect while server was not ready", SOON);
    assert_eq!(plimsoll.client("app", "p0").value("SELECT 1"), "1");
}

#[test]
fn session_pooling_resets_what_a_session_leaves() {
    let (_postgres, plimsoll) = house(|ini| ini.set("pool_mode", "session").set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    let pid = client.value("SELECT pg_backend_pid()");
    client.query("CREATE TEMP TABLE mine (x int)");
    client.query("SET work_mem = '77MB'");
    client.leave();
    let mut next = plimsoll.client("app", "p0");
    assert_eq!(next.value("SELECT pg_backend_pid()"), pid);
    assert_ne!(next.value("SHOW work_mem"), "77MB");
    assert_eq!(next.value("SELECT to_regclass('pg_temp.mine') IS NULL"), "t");
}

#[test]
fn connect_query_runs_once_after_login() {
    let (_postgres, plimsoll) = house(|ini| {
        let text = ini.text();
        let line = text.lines().find(|line| line.starts_with("p0 = ")).unwrap();
        let connection = line.split_once(" = ").unwrap().1.to_string();
        ini.database("p0", &format!("{connection} connect_query='SET work_mem = ''55MB'''"))
    });
    assert_eq!(plimsoll.client("app", "p0").value("SHOW work_mem"), "55MB");
}

#[test]
fn auto_databases_are_registered() {
    let (postgres, plimsoll) = house(|ini| ini);
    let connection = format!("host=127.0.0.1 port={} dbname=p1", postgres.port());
    plimsoll.reload(&Ini::new(&postgres).database("*", &connection));
    let mut client = plimsoll.client("app", "anything");
    assert_eq!(client.value("SELECT current_database()"), "p1");
    plimsoll.wait_for_log("registered new auto-database: ", SOON);
}

#[test]
fn a_database_that_leaves_the_file_takes_its_clients_along() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p2");
    assert_eq!(client.value("SELECT 1"), "1");
    plimsoll.reload(&Ini::new(&postgres).without_database("p2"));
    if let Some(error) = client.expect_closed() {
        fatal(&error, "database removed");
    }
    fatal(&plimsoll.login("app", "p2").refusal(), "no such database: p2");
}

#[test]
fn auth_query_asks_the_server() {
    let postgres = Postgres::start();
    postgres.sql("SET password_encryption = 'md5'; CREATE ROLE looked LOGIN PASSWORD 'looked-secret'");
    postgres.sql("CREATE ROLE looker LOGIN SUPERUSER");
    let query = "SELECT usename, passwd FROM pg_shadow WHERE usename=$1";
    let plimsoll = start(
        Ini::new(&postgres)
            .set("auth_type", "md5")
            .set("auth_user", "looker")
            .set("auth_query", query)
            .login("looker", "x"),
    );
    let mut client = plimsoll.login("looked", "p0").password("looked-secret").client();
    assert_eq!(client.value("SELECT current_user"), "looked");
    let wrong = plimsoll.login("looked", "p0").password("wrong").refusal();
    fatal(&wrong, "password authentication failed");
    fatal(&plimsoll.login("nobody", "p0").refusal(), "no such user");
}

#[test]
fn rules_of_the_hba_file_count() {
    let postgres = Postgres::start();
    let file = std::env::temp_dir().join(format!("plimsoll-conformance-{}.hba", std::process::id()));
    fs::write(
        &file,
        "host p0 app 127.0.0.1/32 trust\nhost p1 app 127.0.0.1/32 md5\nhost p2 app 0.0.0.0/0 reject\n",
    )
    .unwrap();
    let ini = Ini::new(&postgres).set("auth_type", "hba").set("auth_hba_file", &file.display().to_string());
    let plimsoll = start(ini);
    assert_eq!(plimsoll.client("app", "p0").value("SELECT 1"), "1");
    fatal(&plimsoll.login("app", "p1").password("wrong").refusal(), "password authentication failed");
    assert_eq!(plimsoll.login("app", "p1").password("app-secret").client().value("SELECT 1"), "1");
    fatal(&plimsoll.login("app", "p2").refusal(), "login rejected");
    let nobody = plimsoll.login("other", "p0").refusal();
    fatal(&nobody, if against_others() { "login rejected" } else { "no authentication method is found" });
    fs::remove_file(&file).unwrap();
}

#[test]
fn hosts_of_a_list_take_turns() {
    let (postgres, plimsoll) = house(|ini| ini.set("pool_mode", "session"));
    let line = format!("host=127.0.0.1,::1 port={} dbname=p0", postgres.port());
    plimsoll.reload(&Ini::new(&postgres).database("both", &line).set("pool_mode", "session"));
    let mut clients: Vec<Client> = (0..4).map(|_| plimsoll.client("app", "both")).collect();
    let mut hosts: Vec<String> =
        clients.iter_mut().map(|client| client.value("SELECT host(inet_server_addr())")).collect();
    hosts.sort();
    hosts.dedup();
    assert_eq!(hosts, ["127.0.0.1", "::1"]);
}

#[test]
fn modern_errors_of_named_statements() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.send(Batch::new().bind("", "unknown", &[]).execute("", 0).sync().bytes()).unwrap();
    fatal(&client.expect_closed().expect("a reason"), "prepared statement did not exist");
    let mut client = plimsoll.client("app", "p0");
    client.run(&Batch::new().parse("s", "SELECT 1").sync());
    client.send(Batch::new().parse("s", "SELECT 2").sync().bytes()).unwrap();
    fatal(&client.expect_closed().expect("a reason"), "prepared statement name is already in use");
}

#[test]
fn modern_limits_of_databases_and_users() {
    let (_postgres, plimsoll) =
        house(|ini| ini.set("max_db_client_connections", "1").user("other", "max_user_client_connections=1"));
    let one = plimsoll.client("app", "p0");
    fatal(&plimsoll.login("app", "p0").refusal(), "client connections exceeded (max_db_client_connections)");
    let two = plimsoll.client("other", "p1");
    fatal(
        &plimsoll.login("other", "p2").refusal(),
        "client connections exceeded (max_user_client_connections)",
    );
    drop((one, two));
}
