//! What every test begins with.

#![allow(dead_code, reason = "each test program uses its part of it")]

pub(crate) mod certificates;
pub(crate) mod contract;
pub(crate) mod drivers;
pub(crate) mod lost;
pub(crate) mod net;
pub(crate) mod taken;

use plimsoll_testkit::{Client, Ini, Plimsoll, Postgres, PostgresOptions, Table, eventually_ok};
use std::time::Duration;

/// The program cargo built.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_plimsoll");

/// How long something may take that takes no time on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The three pool modes.
pub(crate) const MODES: [&str; 3] = ["session", "transaction", "statement"];

/// A trusting PostgreSQL and a pooler in front of it, its ini changed by `change`.
#[track_caller]
pub(crate) fn house(change: impl FnOnce(Ini) -> Ini) -> (Postgres, Plimsoll) {
    house_with(PostgresOptions::default(), change)
}

/// The same with another PostgreSQL.
#[track_caller]
pub(crate) fn house_with(options: PostgresOptions, change: impl FnOnce(Ini) -> Ini) -> (Postgres, Plimsoll) {
    let postgres = Postgres::start_with(options);
    let plimsoll = pooler(change(Ini::new(&postgres)));
    (postgres, plimsoll)
}

/// A pooler.
#[track_caller]
pub(crate) fn pooler(ini: Ini) -> Plimsoll {
    Plimsoll::start(BINARY, &ini)
}

/// Three databases over the same `p0`, one per pool mode and named like it.
pub(crate) fn by_mode(ini: Ini, postgres: &Postgres) -> Ini {
    MODES.iter().fold(ini, |ini, mode| {
        ini.database(mode, &format!("host=127.0.0.1 port={} dbname=p0 pool_mode={mode}", postgres.port()))
    })
}

/// The process id of the PostgreSQL backend that serves this client now.
#[track_caller]
pub(crate) fn backend(client: &mut Client) -> u32 {
    client.value("SELECT pg_backend_pid()").parse().expect("a process id")
}

/// Sum of server connections in SHOW POOLS, all states, console not counted.
pub(crate) fn servers_in(pools: &Table) -> u64 {
    const STATES: [&str; 7] =
        ["sv_active", "sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used", "sv_tested", "sv_login"];
    (0..pools.rows.len())
        .filter(|row| pools.cell(*row, "database") != "pgbouncer")
        .map(|row| STATES.iter().map(|state| pools.number(row, state)).sum::<u64>())
        .sum()
}

/// Waits until the row of SHOW POOLS for `app` and `database` has these numbers.
#[track_caller]
pub(crate) fn wait_for_pool(plimsoll: &Plimsoll, database: &str, wanted: &[(&str, u64)]) {
    let mut console = plimsoll.console();
    eventually_ok(&format!("pool {database} with {wanted:?}"), SOON, || {
        let pools = console.query("SHOW POOLS");
        let Some(row) = pools.find(&[("database", database), ("user", "app")]) else {
            return Err(String::from("no such pool"));
        };
        let seen: Vec<_> = wanted.iter().map(|(name, _)| (*name, pools.number(row, name))).collect();
        if seen == wanted { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}
