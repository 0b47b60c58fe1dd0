//! What tests of the contract begin with: they run with our program in PgBouncer's shape, and with PgBouncer.

use plimsoll_testkit::{Ini, Plimsoll, Postgres, PostgresOptions, ServerError, Table, eventually};

use super::{BINARY, SOON};

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

/// The connection string of `database` on a PostgreSQL.
pub(crate) fn line(postgres: &Postgres, database: &str) -> String {
    format!("host=127.0.0.1 port={} dbname={database}", postgres.port())
}

/// Sends these bytes on a connection of its own, and nothing else; what is said before it is closed.
#[track_caller]
pub(crate) fn answer_to(plimsoll: &Plimsoll, bytes: &[u8]) -> Option<ServerError> {
    let mut client = plimsoll.login("app", "p0").knock().expect("it listens");
    // It may have closed already: its last words are there all the same.
    drop(client.send(bytes));
    client.expect_closed()
}

/// What the log says of a client that was sent away: first the client's own line, then the warning.
#[track_caller]
pub(crate) fn logged(plimsoll: &Plimsoll, mark: usize, message: &str) {
    let error = format!("pooler error: {message}");
    eventually(&format!("{error:?} in the log"), SOON, || {
        plimsoll.log_since(mark).lines().any(|line| line.ends_with(&error))
    });
    let log = plimsoll.log_since(mark);
    let lines: Vec<&str> = log.lines().collect();
    let closing = format!("closing because: {message} (age=");
    let closing = lines.iter().position(|line| line.contains(" LOG C-") && line.contains(&closing));
    let warning = lines.iter().position(|line| line.contains(" WARNING C-") && line.ends_with(&error));
    assert!(closing.is_some() && closing < warning, "{message}: {log}");
}

/// The number SHOW LISTS gives for something.
#[track_caller]
pub(crate) fn listed(plimsoll: &Plimsoll, what: &str) -> u64 {
    let lists = plimsoll.show("LISTS");
    lists.number(lists.find(&[("list", what)]).unwrap_or_else(|| panic!("no {what}")), "items")
}
