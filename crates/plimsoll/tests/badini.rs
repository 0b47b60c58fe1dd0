//! Mistakes in the files: all of them at once, each with its file and line, and exit status 1.

#![allow(clippy::unwrap_used)]

mod common;

use common::{BINARY, SOON};
use plimsoll_testkit::{Ini, Plimsoll, Postgres, binary_of, run_beside};

/// The line of the file that contains `part`, from 1.
fn line_of(ini: &str, part: &str) -> usize {
    ini.lines().position(|line| line.contains(part)).unwrap() + 1
}

#[test]
fn all_mistakes_are_told_at_once() {
    // The kit fills in these three; they stand here so that the lines below keep their numbers.
    let places = ["listen_port", "unix_socket_dir", "auth_file"];
    let ini = places
        .iter()
        .fold(Ini::empty(), |ini, key| ini.set(key, ""))
        .set("server_lifetime", "abc")
        .set("max_client_conn", "many")
        .set("pool_mode", "sometimes")
        .set("nope", "1")
        .database("bad", "host=127.0.0.1 foo=bar")
        .database("open", "host='127.0.0.1")
        .database("pgbouncer", "host=127.0.0.1")
        .user("someone", "bar=1")
        .own("workers", "lots")
        .own("nonsense", "1")
        .extra("[strange]\nkey = value\n[pgbouncer]\nno equals sign here\n");
    let (status, log) = Plimsoll::start_and_fail(BINARY, &ini);
    assert_eq!(status.code(), Some(1), "{log}");
    let text = ini.text();
    let told = [
        ("unknown parameter: pgbouncer/nope", "nope = 1"),
        ("invalid value \"abc\" for parameter server_lifetime", "server_lifetime"),
        ("invalid value \"many\" for parameter max_client_conn", "max_client_conn"),
        ("invalid value \"sometimes\" for parameter pool_mode", "pool_mode"),
        ("unrecognized connection parameter: foo", "bad = "),
        ("database name \"pgbouncer\" is reserved", "pgbouncer = host"),
        ("unrecognized user parameter: bar", "someone = "),
        ("invalid section \"strange\"", "[strange]"),
        ("unknown parameter: plimsoll/nonsense", "nonsense = 1"),
    ];
    for (words, part) in told {
        let place = format!("plimsoll.ini:{}", line_of(&text, part));
        let found = log.lines().find(|line| line.contains(words));
        let line = found.unwrap_or_else(|| panic!("nobody says {words:?}:\n{log}"));
        assert!(line.contains(&place), "{line}\ndoes not name {place}");
    }
    for part in ["open = host", "workers = lots", "no equals sign"] {
        let place = format!("plimsoll.ini:{}", line_of(&text, part));
        assert!(log.contains(&place), "nobody names {place}:\n{log}");
    }
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let program = binary_of(BINARY).display().to_string();
    let (status, output) = run_beside(&program, |command| {
        command.arg("/nowhere/at/all.ini");
    });
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("/nowhere/at/all.ini"), "{output}");
}

#[test]
fn a_second_one_on_the_same_port_and_socket_leaves_the_first_alone() {
    let (_postgres, plimsoll) = common::house(|ini| ini);
    let program = binary_of(BINARY).display().to_string();
    let path = plimsoll.ini_path().display().to_string();
    let (status, output) = run_beside(&program, |command| {
        command.arg(path);
    });
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("in use"), "{output}");
    plimsoll.still_works(&["p0"]);
    plimsoll.login("app", "p0").at(plimsoll.unix_address()).client().query("SELECT 1");
}

#[test]
fn a_bad_line_in_the_auth_file_costs_only_its_user() {
    let postgres = Postgres::start();
    let plimsoll = common::pooler(Ini::new(&postgres).set("auth_type", "md5"));
    let path = plimsoll.dir().join("userlist.txt");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("; a comment\n\"unfinished\n\n{text}nobody here\n")).unwrap();
    plimsoll.login("admin", "pgbouncer").password("admin-secret").client().query("RELOAD");
    plimsoll.login("app", "p0").password("app-secret").client().query("SELECT 1");
    plimsoll.login("other", "p0").password("other-secret").client().query("SELECT 1");
}

#[test]
fn a_reload_with_mistakes_changes_nothing_that_works() {
    let postgres = Postgres::start();
    let good = Ini::new(&postgres);
    let plimsoll = common::pooler(good.clone());
    let mut client = plimsoll.client("app", "p0");
    plimsoll.rewrite(&good.clone().set("default_pool_size", "x").set("nope", "1").without_database("p1"));
    let mut console = plimsoll.console();
    let mark = plimsoll.log_mark();
    let error = console.fail("RELOAD");
    assert_eq!(error.severity, "ERROR");
    assert_eq!(error.sqlstate, "F0000");
    assert_eq!(error.message, "RELOAD failed, see logs for additional details");
    plimsoll.wait_for_log_since(mark, "unknown parameter: pgbouncer/nope", SOON);
    plimsoll.wait_for_log_since(mark, "default_pool_size", SOON);
    assert_eq!(client.value("SELECT 1"), "1");
    plimsoll.still_works(&["p0", "p1", "p2"]);
    plimsoll.rewrite(&good);
    assert_eq!(console.query("RELOAD").command, "RELOAD");
}
