//! Real drivers whose transaction is taken away: each hears 25P02, rolls back as it does that, and goes on.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use common::{SOON, backend, drivers, house, wait_for_pool};
use plimsoll_testkit::eventually;

fn python() -> Option<Command> {
    drivers::python("taken.py")
}

#[track_caller]
fn is_taken_and_goes_on(runner: Option<Command>, driver: &str) {
    is_taken_in(runner, driver, "idle in transaction", "25P02");
}

/// The same, in this state; it hears this SQLSTATE first.
#[track_caller]
fn is_taken_in(runner: Option<Command>, driver: &str, state: &str, first: &str) {
    let Some(mut command) = runner else { return drivers::pass_over(driver) };
    let (postgres, plimsoll) = house(|ini| {
        ini.set("pool_mode", "transaction")
            .set("default_pool_size", "1")
            .set("ignore_startup_parameters", "extra_float_digits")
    });
    postgres.login("app", "p0").client().query("CREATE TABLE marks (what text)");
    command.args(["127.0.0.1", &plimsoll.port().to_string(), "p0", "app", "app-secret", driver]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = move || said.next().and_then(Result::ok).unwrap_or_default();
    assert_eq!(line(), "holding", "{driver}");
    let mut console = plimsoll.console();
    let mut hold = String::new();
    eventually(&format!("{driver} is {state}"), SOON, || {
        let holds = console.query("SHOW HOLDS");
        hold = holds.rows.first().map(|_| holds.cell(0, "hold").to_string()).unwrap_or_default();
        holds.rows.len() == 1 && holds.cell(0, "state") == state
    });
    assert_eq!(console.query(&format!("RELEASE HOLD {hold}")).cell(0, "result"), "taken", "{driver}");
    // The one connection there is serves somebody else.
    backend(&mut plimsoll.client("app", "p0"));
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(line(), format!("refused {first}"), "{driver}");
    assert_eq!(line(), "goes on", "{driver}");
    assert!(child.wait().unwrap().success(), "{driver}");
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 0), ("cl_waiting", 0)]);
    let rows = postgres.login("app", "p0").client().value("SELECT count(*) FROM marks");
    assert_eq!(rows, "0", "{driver}: something stands that was rolled back");
}

#[test]
fn psycopg_goes_on() {
    is_taken_and_goes_on(python(), "psycopg");
    is_taken_and_goes_on(python(), "psycopg_prepared");
}

/// libpq takes an error that it has not asked for for a notice, and would wait for ever for the next answer.
#[test]
fn a_pipeline_of_psycopg_goes_on() {
    is_taken_in(python(), "pipeline", "client not sending", "57014");
}

#[test]
fn asyncpg_goes_on() {
    is_taken_and_goes_on(python(), "asyncpg");
}

#[test]
fn sqlalchemy_goes_on() {
    is_taken_and_goes_on(python(), "sqlalchemy");
}

#[test]
fn node_pg_goes_on() {
    is_taken_and_goes_on(drivers::node("taken.js", "pg"), "pg");
}

#[test]
fn jdbc_goes_on() {
    is_taken_and_goes_on(drivers::java("Taken.java"), "jdbc");
}
