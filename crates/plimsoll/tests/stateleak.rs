//! What one client leaves behind and the next one sees, per pool mode. `docs/state-hygiene.md` holds the table of it,
//! and this test compares the table with what it saw. `PLIMSOLL_WRITE_DOCS=1` writes the table instead.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{MODES, by_mode};
use plimsoll_testkit::{Batch, Client, Failure, Ini, Plimsoll, Postgres};

/// How the state is made.
enum Act {
    /// Queries, one after the other.
    Sql(&'static [&'static str]),
    /// A named Parse of the protocol.
    Parse,
    /// Queries, and then the client leaves without ending its transaction.
    SqlAndLeave(&'static [&'static str]),
}

/// How it is looked for.
enum Look {
    /// A query.
    Sql(&'static str),
    /// A Bind to the named statement.
    Bind,
}

struct Case {
    what: &'static str,
    act: Act,
    look: Look,
}

const fn sql(what: &'static str, act: &'static [&'static str], look: &'static str) -> Case {
    Case { what, act: Act::Sql(act), look: Look::Sql(look) }
}

const WORK_MEM: &str = "SHOW work_mem";
const ZONE: &str = "SHOW TimeZone";
const TEMP: &str = "SELECT to_regclass('pg_temp.leak')";
const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
const CURSORS: &str = "SELECT count(*) FROM pg_cursors WHERE name = 'leak'";
const PREPARED: &str = "SELECT count(*) FROM pg_prepared_statements WHERE name = 'leak'";
const CHANNELS: &str = "SELECT count(*) FROM pg_listening_channels()";

const CASES: &[Case] = &[
    sql("`SET TimeZone = …`", &["SET TimeZone = 'Asia/Tokyo'"], ZONE),
    sql("`SET TIME ZONE …`", &["SET TIME ZONE 'Asia/Tokyo'"], ZONE),
    sql("`set_config('TimeZone', …, false)`", &["SELECT set_config('TimeZone', 'Asia/Tokyo', false)"], ZONE),
    sql("`SET DateStyle = …`", &["SET DateStyle = 'German'"], "SHOW DateStyle"),
    sql("`SET application_name = …`", &["SET application_name = 'leak'"], "SHOW application_name"),
    sql("`SET NAMES …`", &["SET NAMES 'LATIN1'"], "SHOW client_encoding"),
    sql("`SET IntervalStyle = …`", &["SET IntervalStyle = 'iso_8601'"], "SHOW IntervalStyle"),
    sql("`SET work_mem = …`", &["SET work_mem = '5MB'"], WORK_MEM),
    sql("`SET SESSION work_mem = …`", &["SET SESSION work_mem TO '5MB'"], WORK_MEM),
    sql("`set_config('work_mem', …, false)`", &["SELECT set_config('work_mem', '5MB', false)"], WORK_MEM),
    sql(
        "`set_config` in a `DO` block",
        &["DO $$ BEGIN PERFORM set_config('work_mem', '5MB', false); END $$"],
        WORK_MEM,
    ),
    sql(
        "`UPDATE pg_settings`",
        &["UPDATE pg_settings SET setting = '5120' WHERE name = 'work_mem'"],
        WORK_MEM,
    ),
    sql("`SET search_path = …`", &["SET search_path = pg_catalog"], "SHOW search_path"),
    sql("`SET statement_timeout = …`", &["SET statement_timeout = '5min'"], "SHOW statement_timeout"),
    sql(
        "`SET my.variable = …`",
        &["SET my.variable = 'leak'"],
        "SELECT current_setting('my.variable', true)",
    ),
    sql(
        "`SET SESSION CHARACTERISTICS …`",
        &["SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"],
        "SHOW default_transaction_read_only",
    ),
    sql("`SET LOCAL …` in a transaction", &["BEGIN; SET LOCAL work_mem = '5MB'; COMMIT"], WORK_MEM),
    sql(
        "`set_config(…, true)` in a transaction",
        &["BEGIN; SELECT set_config('work_mem', '5MB', true); COMMIT"],
        WORK_MEM,
    ),
    sql("`SET …` in a transaction that is rolled back", &["BEGIN; SET work_mem = '5MB'; ROLLBACK"], WORK_MEM),
    sql("`SET …`, then `RESET …`", &["SET work_mem = '5MB'", "RESET work_mem"], WORK_MEM),
    Case {
        what: "`BEGIN; SET …`, and the client is gone",
        act: Act::SqlAndLeave(&["BEGIN", "SET work_mem = '5MB'"]),
        look: Look::Sql(WORK_MEM),
    },
    sql("`SET ROLE …`", &["SET ROLE other"], "SELECT current_user"),
    sql("`set_config('role', …)`", &["SELECT set_config('role', 'other', false)"], "SELECT current_user"),
    sql("`SET SESSION AUTHORIZATION …`", &["SET SESSION AUTHORIZATION other"], "SELECT session_user"),
    sql("`CREATE TEMP TABLE`", &["CREATE TEMP TABLE leak (id int)"], TEMP),
    sql("`SELECT … INTO TEMP`", &["SELECT 1 AS id INTO TEMP leak"], TEMP),
    sql("`CREATE TEMP VIEW`", &["CREATE TEMP VIEW leak AS SELECT 1"], TEMP),
    sql(
        "`CREATE TEMP TABLE` in a `DO` block",
        &["DO $$ BEGIN CREATE TEMP TABLE leak (id int); END $$"],
        TEMP,
    ),
    sql(
        "`CREATE TEMP TABLE … ON COMMIT DROP`",
        &["BEGIN; CREATE TEMP TABLE leak (id int) ON COMMIT DROP; COMMIT"],
        TEMP,
    ),
    sql("`LISTEN`", &["LISTEN leak"], CHANNELS),
    sql("`pg_advisory_lock(…)`", &["SELECT pg_advisory_lock(4711)"], LOCKS),
    sql("`pg_advisory_xact_lock(…)`", &["SELECT pg_advisory_xact_lock(4711)"], LOCKS),
    sql(
        "`DECLARE … CURSOR WITH HOLD`",
        &["BEGIN; DECLARE leak CURSOR WITH HOLD FOR SELECT 1; COMMIT"],
        CURSORS,
    ),
    sql("`DECLARE … CURSOR`", &["BEGIN; DECLARE leak CURSOR FOR SELECT 1; COMMIT"], CURSORS),
    sql("`PREPARE … AS …`", &["PREPARE leak AS SELECT 1"], PREPARED),
    Case { what: "a named statement of the protocol", act: Act::Parse, look: Look::Bind },
    sql("`nextval(…)`, seen by `lastval()`", &["SELECT nextval('numbers')"], "SELECT lastval() > 0"),
    sql("`setseed(…)`, seen by `random()`", &["SELECT setseed(0.5)"], "SELECT random()"),
    sql("`LOAD …` of a library", &["LOAD 'plpgsql'"], "SELECT current_setting('plpgsql.extra_errors', true)"),
];

/// What became of it, the word in the table.
fn verdict(before: &str, changed: &str, own: &str, next: &str) -> &'static str {
    if next == changed && changed != before {
        "**stays**"
    } else if own == changed && changed != before {
        "follows"
    } else {
        "gone"
    }
}

fn act(client: &mut Client, act: &Act) -> Result<(), Failure> {
    match act {
        Act::Sql(queries) | Act::SqlAndLeave(queries) => {
            queries.iter().try_for_each(|query| client.try_query(query).map(drop))
        }
        Act::Parse => client.try_run(&Batch::new().parse("leak", "SELECT 1").sync()).map(drop),
    }
}

/// What is seen; an error is seen as its SQLSTATE.
fn look(client: &mut Client, look: &Look) -> String {
    match look {
        Look::Sql(query) => match client.try_query(query) {
            Ok(tables) => tables[0].rows[0][0].clone().unwrap_or_default(),
            Err(failure) => format!("error {}", failure.server().sqlstate),
        },
        Look::Bind => {
            let batch = Batch::new().bind("", "leak", &[]).execute("", 0).sync();
            let answer = client.try_run(&batch).map(|answer| plimsoll_testkit::tags(&answer));
            if answer.is_ok_and(|tags| tags == "2DCZ") {
                String::from("there")
            } else {
                String::from("not there")
            }
        }
    }
}

/// What a session sees that did it itself, without a pooler: (before, after).
fn control(postgres: &Postgres, case: &Case) -> (String, String) {
    let mut fresh = postgres.login("boss", "p0").parameter("application_name", "").client();
    let before = look(&mut fresh, &case.look);
    let mut doer = postgres.login("boss", "p0").parameter("application_name", "").client();
    act(&mut doer, &case.act).unwrap_or_else(|failure| panic!("{}: {failure}", case.what));
    let changed = match case.act {
        Act::Sql(_) | Act::Parse => look(&mut doer, &case.look),
        Act::SqlAndLeave(_) => before.clone(),
    };
    (before, changed)
}

fn try_case(postgres: &Postgres, plimsoll: &Plimsoll, mode: &str, case: &Case) -> &'static str {
    // Every case on a fresh server.
    postgres.terminate_sessions("true");
    postgres.wait_for_sessions("true", 0);
    let (before, changed) = control(postgres, case);
    let mut doer = plimsoll.client("boss", mode);
    if let Err(failure) = act(&mut doer, &case.act) {
        let error = failure.server();
        assert_eq!(
            error.message, "transaction blocks not allowed in statement pooling mode",
            "{}",
            case.what
        );
        return "refused";
    }
    if mode == "session" {
        doer.leave();
        let next = look(&mut plimsoll.client("boss", mode), &case.look);
        return match verdict(&before, &changed, "", &next) {
            "gone" if changed != before => "cleaned",
            other => other,
        };
    }
    if matches!(case.act, Act::SqlAndLeave(_)) {
        drop(doer);
        let next = look(&mut plimsoll.client("boss", mode), &case.look);
        assert_eq!(next, before, "{} in {mode}", case.what);
        return "gone";
    }
    let next = look(&mut plimsoll.client("boss", mode), &case.look);
    let own = look(&mut doer, &case.look);
    verdict(&before, &changed, &own, &next)
}

fn table(postgres: &Postgres, plimsoll: &Plimsoll) -> String {
    let mut text =
        String::from("| one client does | session | transaction | statement |\n|---|---|---|---|\n");
    for case in CASES {
        let seen = MODES.map(|mode| try_case(postgres, plimsoll, mode, case));
        text.push_str(&format!("| {} | {} |\n", case.what, seen.join(" | ")));
    }
    text
}

fn page() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/state-hygiene.md"))
}

const BEGIN: &str = "<!-- table begins: written by crates/plimsoll/tests/stateleak.rs -->\n";
const END: &str = "<!-- table ends -->";

#[test]
fn the_table_in_the_docs_is_what_is_seen() {
    let postgres = Postgres::start();
    postgres.login("app", "p0").client().query("CREATE SEQUENCE numbers; GRANT ALL ON numbers TO PUBLIC");
    let ini = by_mode(Ini::new(&postgres).set("default_pool_size", "1"), &postgres);
    let plimsoll = common::pooler(ini);
    let seen = table(&postgres, &plimsoll);
    let text = fs::read_to_string(page()).unwrap();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (written, tail) = rest.split_once(END).unwrap();
    if std::env::var_os("PLIMSOLL_WRITE_DOCS").is_some() {
        fs::write(page(), format!("{head}{BEGIN}{seen}{END}{tail}")).unwrap();
        return;
    }
    let differing: Vec<_> = written.lines().zip(seen.lines()).filter(|(old, new)| old != new).collect();
    assert!(differing.is_empty(), "page and pooler differ (page, seen): {differing:#?}");
    assert_eq!(written, seen);
}

#[test]
fn what_a_session_leaves_reaches_nobody() {
    // All of it at once, and the next client of the session pool looks for each.
    let postgres = Postgres::start();
    let ini = Ini::new(&postgres).set("default_pool_size", "1").set("pool_mode", "session");
    let plimsoll = common::pooler(ini);
    let mut rude = plimsoll.client("boss", "p0");
    let held = common::backend(&mut rude);
    for query in [
        "CREATE TEMP TABLE leak (id int)",
        "LISTEN leak",
        "SELECT pg_advisory_lock(4711)",
        "BEGIN; DECLARE leak CURSOR WITH HOLD FOR SELECT 1; COMMIT",
        "PREPARE leak AS SELECT 1",
        "SET work_mem = '5MB'",
        "SET SESSION AUTHORIZATION other",
        "SET ROLE other",
    ] {
        rude.query(query);
    }
    rude.leave();
    let mut next = plimsoll.client("boss", "p0");
    assert_eq!(common::backend(&mut next), held, "the same server was cleaned, not replaced");
    assert_eq!(next.value("SELECT current_user || '/' || session_user"), "boss/boss");
    assert_eq!(next.value(TEMP), "");
    for query in [LOCKS, CURSORS, PREPARED, CHANNELS] {
        assert_eq!(next.value(query), "0", "{query}");
    }
    assert_ne!(next.value(WORK_MEM), "5MB");
}

#[test]
fn a_reset_query_that_fails_costs_the_server_and_nobody_else() {
    let postgres = Postgres::start();
    let ini = Ini::new(&postgres)
        .set("default_pool_size", "1")
        .set("pool_mode", "session")
        .set("server_reset_query", "SELECT no_such_function()");
    let plimsoll = common::pooler(ini);
    let mut first = plimsoll.client("boss", "p0");
    let held = common::backend(&mut first);
    first.query("SET work_mem = '5MB'");
    first.leave();
    let mut next = plimsoll.client("boss", "p0");
    assert_ne!(next.value(WORK_MEM), "5MB");
    assert_ne!(common::backend(&mut next), held);
}

#[test]
fn reset_query_always_cleans_in_transaction_pooling() {
    let postgres = Postgres::start();
    let ini = Ini::new(&postgres).set("default_pool_size", "1").set("server_reset_query_always", "1");
    let plimsoll = common::pooler(ini);
    let mut first = plimsoll.client("boss", "p0");
    let mut second = plimsoll.client("boss", "p0");
    first.query("SET work_mem = '5MB'");
    first.query("SET ROLE other");
    assert_ne!(second.value(WORK_MEM), "5MB");
    assert_eq!(second.value("SELECT current_user"), "boss");
}
