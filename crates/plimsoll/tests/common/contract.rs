//! What tests of the contract begin with: they run with our program in PgBouncer's shape, and with PgBouncer.

use plimsoll_testkit::{Ini, Plimsoll, Postgres, PostgresOptions, ServerError, Table};

use super::BINARY;

/// Whether the program under test is another than ours.
pub(crate) fn against_others() -> bool {
    std::env::var_os("PLIMSOLL_TEST_BINARY").is_some()
}

/// Our own program in PgBouncer's shape; PgBouncer as it is.
pub(crate) fn house(change: impl FnOnce(Ini) -> Ini) -> (Postgres, Plimsoll) {
    house_with(PostgresOptions::default(), change)
}

pub(crate) fn house_with(options: PostgresOptions, change: impl FnOnce(Ini) -> Ini) -> (Postgres, Plimsoll) {
    let postgres = Postgres::start_with(options);
    let plimsoll = start(change(Ini::new(&postgres)));
    (postgres, plimsoll)
}

pub(crate) fn start(ini: Ini) -> Plimsoll {
    let ini = if against_others() { ini } else { ini.own("compat", "pgbouncer") };
    Plimsoll::start(BINARY, &ini)
}

/// All errors of a pooler have three fields, and one SQLSTATE.
#[track_caller]
pub(crate) fn says(error: &ServerError, severity: &str, message: &str) {
    let seen = (error.severity.as_str(), error.sqlstate.as_str(), error.message.as_str());
    assert_eq!(seen, (severity, "08P01", message));
    assert_eq!((&error.detail, &error.hint), (&None, &None), "{message}");
}

#[track_caller]
pub(crate) fn fatal(error: &ServerError, message: &str) {
    says(error, "FATAL", message);
}

pub(crate) fn value(table: &Table, key: &str) -> String {
    let row = table.find(&[("key", key)]).unwrap_or_else(|| panic!("no key {key}"));
    table.cell(row, "value").to_string()
}
