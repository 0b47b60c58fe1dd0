//! The Rust drivers through every pool mode: tokio-postgres and sqlx.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "drivers_rust/over_sqlx.rs"]
mod over_sqlx;
#[path = "drivers_rust/over_tokio_postgres.rs"]
mod over_tokio_postgres;
#[path = "drivers_rust/target.rs"]
mod target;

use plimsoll_testkit::{Ini, Plimsoll, Postgres, PostgresOptions, ServerAuth};
use target::{Mode, Target};

/// A PostgreSQL and a pooler of three servers that both ask for passwords by SCRAM, and where the driver connects.
fn house(mode: Mode) -> (Postgres, Plimsoll, Target) {
    let options = PostgresOptions { auth: ServerAuth::Scram, ..PostgresOptions::default() };
    let postgres = Postgres::start_with(options);
    let ini = Ini::new(&postgres)
        .set("auth_type", "scram-sha-256")
        .set("default_pool_size", "3")
        // Whoever is idle hears something now and then.
        .own("client_heartbeat", "1s")
        // sqlx sends it at every start.
        .set("ignore_startup_parameters", "extra_float_digits");
    let plimsoll = common::pooler(common::by_mode(ini, &postgres));
    let target = Target {
        port: plimsoll.port(),
        database: String::from(mode.name()),
        user: "app",
        password: "app-secret",
        mode,
    };
    (postgres, plimsoll, target)
}

/// Runs a driver's cases, and looks at PostgreSQL meanwhile and afterwards.
#[track_caller]
fn drive(mode: Mode, cases: impl AsyncFnOnce(&Target)) {
    let (postgres, _plimsoll, target) = house(mode);
    let watch = postgres.watch("true");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(cases(&target));
    drop(runtime);
    let highest = watch.highest();
    assert!(highest <= 3, "PostgreSQL saw {highest} sessions of a pool of 3");
    postgres.wait_for_sessions("state <> 'idle'", 0);
}

#[test]
fn tokio_postgres_in_session_mode() {
    drive(Mode::Session, over_tokio_postgres::run);
}

#[test]
fn tokio_postgres_in_transaction_mode() {
    drive(Mode::Transaction, over_tokio_postgres::run);
}

#[test]
fn tokio_postgres_in_statement_mode() {
    drive(Mode::Statement, over_tokio_postgres::run);
}

#[test]
fn sqlx_in_session_mode() {
    drive(Mode::Session, over_sqlx::run);
}

#[test]
fn sqlx_in_transaction_mode() {
    drive(Mode::Transaction, over_sqlx::run);
}

#[test]
fn sqlx_in_statement_mode() {
    drive(Mode::Statement, over_sqlx::run);
}
