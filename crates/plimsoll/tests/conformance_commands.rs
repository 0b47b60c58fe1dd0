//! The contract of a drop-in for what the commands of the console do (reference 2, 3.2 "Console errors" and
//! "Notices", 3.5): see `conformance.rs`.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::SOON;
use common::certificates::{Maker, with_tls};
use common::contract::{fatal, house, says, start};
use plimsoll_testkit::{Batch, Ini, Plimsoll, Postgres, eventually, tags};

#[test]
fn commands_that_are_none_are_repeated_back() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    for command in [
        "",
        "  ",
        "SHOW",
        "SHOW NOPE",
        "SHOW VERSION x",
        "select 1",
        "SET",
        "SET verbose",
        "SET max_client_conn = -1",
        "SHUTDOWN NOPE",
        "RELOAD x",
        "show users; show pools",
    ] {
        says(&console.fail(command), "ERROR", &format!("invalid command '{command}', use SHOW HELP;"));
    }
    for command in
        ["SET pool_mode = foo", "SET verbose = abc", "SET Pool_Mode = session", "SET auth_type = 'x'"]
    {
        says(&console.fail(command), "ERROR", "SET failed");
    }
    for (command, tag) in [
        (" \t show\n version ; ", "SHOW"),
        ("SELECT version", "SHOW"),
        ("set query_wait_timeout TO '9'", "SET query_wait_timeout=9"),
        ("SET server_reset_query='a b'", "SET server_reset_query=a b"),
        ("PAUSE \"p0\"", "PAUSE"),
        ("rEsUmE p0;", "RESUME"),
    ] {
        assert_eq!(console.query(command).command, tag, "{command}");
    }
}

#[test]
fn states_exclude_each_other() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    for (command, refusal) in [
        ("PAUSE p0", ""),
        ("PAUSE p0", ""),
        ("SUSPEND", "cannot suspend with paused databases"),
        ("RESUME p0", ""),
        ("RESUME p0", "database p0 is not paused"),
        ("PAUSE", ""),
        ("PAUSE", "already suspended/paused"),
        ("SUSPEND", "already suspended/paused"),
        ("RESUME", ""),
        ("RESUME", "pooler is not paused/suspended"),
        ("SUSPEND", ""),
        ("SUSPEND", "already suspended/paused"),
        ("PAUSE", "already suspended/paused"),
        ("RESUME", ""),
        ("DISABLE p0", ""),
        ("DISABLE p0", ""),
        ("ENABLE p0", ""),
        ("ENABLE p0", ""),
    ] {
        match refusal {
            "" => assert_eq!(console.query(command).command, command.split(' ').next().unwrap()),
            message => says(&console.fail(command), "ERROR", message),
        }
    }
    plimsoll.still_works(&["p0", "p1"]);
}

#[test]
fn what_drivers_set_is_ignored_with_a_notice() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    for key in [
        "client_encoding",
        "datestyle",
        "timezone",
        "standard_conforming_strings",
        "default_transaction_isolation",
    ] {
        assert_eq!(tags(&console.run(&Batch::new().query(&format!("SET {key} = 'x'")))), "NCZ", "{key}");
        let notice = console.take_notices().remove(0);
        assert_eq!((notice.severity.as_str(), notice.message.as_str()), ("NOTICE", "SET ignored"), "{key}");
    }
}

#[test]
fn whoever_suspends_and_leaves_resumes() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    let mut console = plimsoll.console();
    console.query("SUSPEND");
    client.send(Batch::new().query("SELECT 'resumed'").bytes()).unwrap();
    assert!(!client.hears_within(Duration::from_millis(200)));
    console.leave();
    assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
}

#[test]
fn a_pause_waits_for_sessions() {
    let (postgres, plimsoll) = house(|ini| ini.set("pool_mode", "session"));
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    let mut console = plimsoll.console();
    console.send(Batch::new().query("PAUSE").bytes()).unwrap();
    assert!(!console.hears_within(Duration::from_millis(200)));
    assert_eq!(client.value("SELECT 1"), "1");
    client.leave();
    assert_eq!(tags(&console.cycle().unwrap()), "CZ");
    postgres.wait_for_sessions("datname = 'p0'", 0);
    console.query("RESUME");
    plimsoll.still_works(&["p0"]);
}

#[test]
fn a_pooler_can_be_the_client_of_its_own_console() {
    let (postgres, plimsoll) = house(|ini| ini);
    let line = format!("host=127.0.0.1 port={} dbname=pgbouncer user=admin", plimsoll.port());
    let second = start(Ini::new(&postgres).set("pool_mode", "session").database("console", &line));
    let mut client = second.client("app", "console");
    assert!(client.query("SHOW POOLS").find(&[("database", "pgbouncer")]).is_some());
    assert_eq!(client.query("SHOW VERSION").rows.len(), 1);
}

/// psql with a certificate, or without one.
fn psql(plimsoll: &Plimsoll, user: &str, certificate: &str) -> Result<String, String> {
    let port = plimsoll.port();
    let connection =
        format!("host=localhost port={port} dbname=p0 user={user} sslmode=require {certificate}");
    let output = Command::new("psql")
        .args(["-XAtqd", &connection, "-c", "SELECT current_user"])
        .envs([("PGSSLCERT", "none"), ("PGSSLROOTCERT", "none")])
        .stdin(Stdio::null())
        .output()
        .expect("psql is there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn certificates_name_their_users() {
    let maker = Maker::new();
    maker.root("root");
    maker.signed("root", "server", "localhost");
    maker.signed("root", "app", "app");
    let (_postgres, plimsoll) = house(|ini| {
        with_tls(ini, "client", "verify-full", &maker, "server")
            .set("client_tls_ca_file", &maker.text("root.crt"))
            .set("auth_type", "cert")
    });
    let shows = format!("sslcert={} sslkey={}", maker.text("app.crt"), maker.own_key("app"));
    assert_eq!(psql(&plimsoll, "app", &shows).as_deref(), Ok("app"));
    let other = psql(&plimsoll, "other", &shows).unwrap_err();
    assert!(other.contains("certificate authentication failed"), "{other}");
    plimsoll.wait_for_log("TLS certificate name mismatch", SOON);
    assert!(psql(&plimsoll, "app", "").is_err());
}

/// 1.18 wants the name of a database.
#[test]
fn modern_kill_alone_spares_the_console() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut clients = ["p0", "p1"].map(|database| plimsoll.client("app", database));
    let mut console = plimsoll.console();
    assert_eq!(console.query("KILL").command, "KILL");
    for client in &mut clients {
        if let Some(error) = client.expect_closed() {
            fatal(&error, "database removed");
        }
    }
    assert_eq!(console.query("SHOW CLIENTS").count(&[("database", "pgbouncer")]), 1);
    // Each database that had clients is paused by itself, and the next client waits in its login.
    let login = plimsoll.login("app", "p0");
    let mut held = login.knock().unwrap();
    held.send(&login.startup_packet()).unwrap();
    assert!(!held.hears_within(Duration::from_millis(200)));
    says(&console.fail("RESUME"), "ERROR", "pooler is not paused/suspended");
    console.query("RESUME p0");
    console.query("RESUME p1");
    login.finish(&mut held).unwrap();
    assert_eq!(held.value("SELECT 1"), "1");
    plimsoll.still_works(&["p0", "p1"]);
}

/// 1.18 lets the PAUSE go on.
#[test]
fn modern_a_cancel_undoes_what_the_console_waits_for() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let mut console = plimsoll.console();
    let key = console.cancel_key();
    console.send(Batch::new().query("PAUSE p0").bytes()).unwrap();
    eventually("the PAUSE", SOON, || plimsoll.log().contains("PAUSE 'p0' command issued"));
    key.cancel().unwrap();
    assert_eq!(tags(&console.cycle().unwrap()), "EZ");
    client.query("COMMIT");
    plimsoll.still_works(&["p0"]);
}

/// 1.18 has no ident maps.
#[test]
fn modern_maps_lend_names() {
    let postgres = Postgres::start();
    let dir = plimsoll_testkit::TempDir::new("conformance-ident");
    let (hba, ident) = (dir.path().join("hba"), dir.path().join("ident"));
    fs::write(&hba, "local p0 all peer map=m\n").unwrap();
    fs::write(&ident, "m nobody-of-that-name app\n").unwrap();
    let ini = Ini::new(&postgres).set("auth_type", "hba").set("auth_hba_file", &hba.display().to_string());
    let plimsoll = start(ini.set("auth_ident_file", &ident.display().to_string()));
    // Once TCP is answered the Unix socket listens too.
    fatal(&plimsoll.login("app", "p0").refusal(), "no authentication method is found");
    let local = plimsoll.login("app", "p0").at(plimsoll.unix_address());
    fatal(&local.refusal(), "unix socket login rejected");
    plimsoll.wait_for_log("ident map m cannot be matched", SOON);
}
