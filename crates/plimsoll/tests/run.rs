//! `plimsoll run URL`: one database, no file. `plimsoll check FILE`: the mistakes, nothing started.

#![allow(clippy::unwrap_used)]

mod common;

use std::process::{Command, Stdio};

use common::{BINARY, SOON};
use plimsoll_testkit::{
    Address, Login, Method, Postgres, PostgresOptions, Process, ServerAuth, Signal, binary_of, eventually_ok,
    free_port, run_beside,
};

#[test]
fn a_url_is_enough() {
    let postgres = Postgres::start_with(PostgresOptions { auth: ServerAuth::Scram, ..Default::default() });
    let port = free_port();
    let url = format!("postgres://app:app-secret@127.0.0.1:{}/p0", postgres.port());
    let mut command = Command::new(binary_of(BINARY));
    command.args(["run", &url, "--port", &port.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::start(&mut command);
    let login = Login::new(Address::v4(port), "app", "p0");
    let mut client = eventually_ok("the pooler to let in", SOON, || {
        login.clone().password("app-secret").try_client().map_err(|failure| failure.to_string())
    });
    assert_eq!(client.method, Method::Scram);
    assert_eq!(client.value("SELECT current_user || '@' || current_database()"), "app@p0");
    assert_eq!(login.clone().password("wrong").refusal().message, "SASL authentication failed");
    client.leave();
    process.signal(Signal::Interrupt);
    assert_eq!(process.wait(SOON).code(), Some(0));
}

#[test]
fn a_bad_url_is_told_without_its_secret() {
    let program = binary_of(BINARY).display().to_string();
    for url in ["postgres://app:hidden-secret@/", "mysql://app:hidden-secret@localhost/x", "hidden-secret"] {
        let (status, output) = run_beside(&program, |command| {
            command.args(["run", url]);
        });
        assert!(!status.success(), "{url}: {output}");
        assert!(!output.contains("hidden-secret") || url == "hidden-secret", "{output}");
        assert!(!output.trim().is_empty(), "{url}");
    }
}

#[test]
fn check_says_whether_a_file_is_good() {
    let (_postgres, plimsoll) = common::house(|ini| ini);
    let program = binary_of(BINARY).display().to_string();
    let path = plimsoll.ini_path();
    let (status, output) = run_beside(&program, |command| {
        command.arg("check").arg(&path);
    });
    // Doubtful, for everybody may read its auth_file, but no mistake.
    assert_eq!(status.code(), Some(2), "{output}");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\n[pgbouncer]\nnope = 1\n")).unwrap();
    let (status, output) = run_beside(&program, |command| {
        command.arg("check").arg(&path);
    });
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("unknown parameter: pgbouncer/nope"), "{output}");
    plimsoll.still_works(&["p0"]);
}

#[test]
fn versions_and_help_are_told() {
    let program = binary_of(BINARY).display().to_string();
    for (flag, part) in [("--version", "plimsoll"), ("-V", "plimsoll"), ("--help", "run"), ("-h", "run")] {
        let (status, output) = run_beside(&program, |command| {
            command.arg(flag);
        });
        assert!(status.success(), "{flag}: {output}");
        assert!(output.to_lowercase().contains(part), "{flag}: {output}");
    }
}
