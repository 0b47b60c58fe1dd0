//! The contract of a drop-in for prepared statements, pipelines and tracked parameters (reference 3.6, 3.7): see
//! `conformance.rs`. 1.18 passes named statements through, so most of it is `modern_*`.

#![allow(clippy::unwrap_used)]

mod common;

use common::SOON;
use common::contract::{fatal, house};
use plimsoll_testkit::{Batch, Client, Plimsoll, Postgres, ServerError, eventually_ok, tags};

/// One server connection for each database, two statements on it.
fn narrow() -> (Postgres, Plimsoll) {
    house(|ini| ini.set("default_pool_size", "1").set("max_prepared_statements", "2"))
}

fn parse(name: &str, sql: &str) -> Batch {
    Batch::new().parse(name, sql).sync()
}

fn bind(name: &str) -> Batch {
    Batch::new().bind("", name, &[]).execute("", 0).sync()
}

/// The one value a named statement gives.
#[track_caller]
fn value_of(client: &mut Client, name: &str) -> String {
    let answer = client.run(&bind(name));
    assert_eq!(tags(&answer), "2DCZ", "{name}");
    answer[1].columns()[0].clone().unwrap()
}

/// Statements parsed by clients, statements parsed at servers, named Binds: of `p0`, as STATS_TOTALS has them.
fn counts(plimsoll: &Plimsoll) -> [u64; 3] {
    let stats = plimsoll.show("STATS_TOTALS");
    let row = stats.find(&[("database", "p0")]).unwrap();
    ["client_parse_count", "server_parse_count", "bind_count"].map(|name| stats.number(row, name))
}

/// Waits until SHOW CLIENTS or SERVERS tells these numbers of prepared statements, sorted.
#[track_caller]
fn prepared(plimsoll: &Plimsoll, what: &str, wanted: &[u64]) {
    eventually_ok(&format!("{what} with {wanted:?} statements"), SOON, || {
        let table = plimsoll.show(what);
        let rows = (0..table.rows.len()).filter(|row| table.cell(*row, "database") == "p0");
        let mut seen: Vec<u64> = rows.map(|row| table.number(row, "prepared_statements")).collect();
        seen.sort_unstable();
        if seen == wanted { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

/// What the server itself has, by the names it was told.
fn at_server(client: &mut Client) -> Vec<String> {
    let names = client.query("SELECT name FROM pg_prepared_statements ORDER BY prepare_time, name");
    names.rows.iter().map(|row| row[0].clone().unwrap()).collect()
}

#[test]
fn modern_servers_keep_the_statements_used_last() {
    let (_postgres, plimsoll) = narrow();
    let mut client = plimsoll.client("app", "p0");
    for (name, sql) in [("a", "SELECT 1"), ("b", "SELECT 2"), ("c", "SELECT 3")] {
        assert_eq!(tags(&client.run(&parse(name, sql))), "1Z");
    }
    prepared(&plimsoll, "CLIENTS", &[3]);
    prepared(&plimsoll, "SERVERS", &[2]);
    assert_eq!(counts(&plimsoll), [3, 3, 0]);
    // `a` went first; `c` stays, for it was used after `b`.
    assert_eq!(value_of(&mut client, "a"), "1");
    assert_eq!(counts(&plimsoll), [3, 4, 1]);
    assert_eq!(value_of(&mut client, "c"), "3");
    assert_eq!(counts(&plimsoll), [3, 4, 2]);
    assert_eq!(value_of(&mut client, "b"), "2");
    assert_eq!(value_of(&mut client, "c"), "3");
    assert_eq!(counts(&plimsoll), [3, 5, 4]);
    let names = at_server(&mut client);
    assert!(names.len() == 2 && names.iter().all(|name| name.starts_with("PGBOUNCER_")), "{names:?}");
    // A smaller limit counts when the next one is added.
    plimsoll.console().query("SET max_prepared_statements = 1");
    assert_eq!(at_server(&mut client).len(), 2);
    client.run(&parse("d", "SELECT 4"));
    prepared(&plimsoll, "SERVERS", &[1]);
}

#[test]
fn modern_clients_share_statements_of_the_same_text() {
    let (_postgres, plimsoll) = narrow();
    let mut clients = [(); 2].map(|()| plimsoll.client("app", "p0"));
    for client in &mut clients {
        client.run(&parse("mine", "SELECT 'shared'"));
        assert_eq!(value_of(client, "mine"), "shared");
    }
    assert_eq!(counts(&plimsoll), [2, 1, 2]);
    assert_eq!(at_server(&mut clients[0]).len(), 1);
    // The same name may be another statement for each.
    let [one, other] = &mut clients;
    one.run(&parse("x", "SELECT 'one'"));
    other.run(&parse("x", "SELECT 'other'"));
    assert_eq!((value_of(one, "x"), value_of(other, "x")), ("one".into(), "other".into()));
    // What another closes is still there for this one.
    other.run(&Batch::new().close_statement("mine").sync());
    assert_eq!(value_of(one, "mine"), "shared");
}

#[test]
fn modern_close_is_answered_without_the_server() {
    let (_postgres, plimsoll) = narrow();
    let mut client = plimsoll.client("app", "p0");
    client.run(&parse("s", "SELECT 1"));
    // No Sync is needed for it.
    client.send(Batch::new().close_statement("s").close_statement("unknown").bytes()).unwrap();
    assert_eq!((client.read().unwrap().tag, client.read().unwrap().tag), (b'3', b'3'));
    assert_eq!(tags(&client.run(&Batch::new().sync())), "Z");
    prepared(&plimsoll, "CLIENTS", &[0]);
    prepared(&plimsoll, "SERVERS", &[1]);
    // The name is free, and its place in the order of answers is kept.
    let all =
        Batch::new().parse("s", "SELECT 2").bind("", "s", &[]).execute("", 0).close_statement("s").sync();
    assert_eq!(tags(&client.run(&all)), "12DC3Z");
    client.send(bind("s").bytes()).unwrap();
    fatal(&client.expect_closed().unwrap(), "prepared statement did not exist");
}

#[test]
fn modern_a_parse_that_fails_may_be_tried_again() {
    let (_postgres, plimsoll) = narrow();
    let mut client = plimsoll.client("app", "p0");
    let answer = client.run(&parse("s", "SELEC 1"));
    assert_eq!((tags(&answer).as_str(), ServerError::of(&answer[0]).sqlstate.as_str()), ("EZ", "42601"));
    client.run(&parse("s", "SELECT 'second try'"));
    assert_eq!(value_of(&mut client, "s"), "second try");
    // What stands behind an error of a pipeline is thrown away up to its Sync.
    let failing = Batch::new().parse("bad", "SELECT nope").parse("behind", "SELECT 'behind'").sync();
    let answer = client.run(&failing);
    assert_eq!((tags(&answer).as_str(), ServerError::of(&answer[0]).sqlstate.as_str()), ("EZ", "42703"));
    assert_eq!(tags(&client.run(&parse("behind", "SELECT 'now'"))), "1Z");
    assert_eq!(value_of(&mut client, "behind"), "now");
    // Twice in one batch is once too often.
    client.send(Batch::new().parse("x", "SELECT 1").parse("x", "SELECT 1").sync().bytes()).unwrap();
    fatal(&client.expect_closed().unwrap(), "prepared statement name is already in use");
}

#[test]
fn modern_statements_are_forgotten_by_their_command_tag() {
    for (command, tag) in [("deallocate  all", "DEALLOCATE ALL"), ("DISCARD ALL", "DISCARD ALL")] {
        let (_postgres, plimsoll) = narrow();
        let (mut client, mut other) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p0"));
        client.run(&parse("s", "SELECT 1"));
        other.run(&parse("s", "SELECT 'kept'"));
        assert_eq!(client.query(command).command, tag);
        prepared(&plimsoll, "SERVERS", &[0]);
        prepared(&plimsoll, "CLIENTS", &[0, 1]);
        // The other client's are prepared again.
        assert_eq!(value_of(&mut other, "s"), "kept");
        assert_eq!(tags(&client.run(&parse("s", "SELECT 2"))), "1Z");
    }
}

#[test]
fn modern_statements_outlive_their_server() {
    let (postgres, plimsoll) = narrow();
    let mut client = plimsoll.client("app", "p0");
    client.run(&Batch::new().parse("s", "SELECT $1::text").describe_statement("s").sync());
    let first = common::backend(&mut client);
    postgres.terminate_sessions(&format!("pid = {first}"));
    postgres.wait_backend_gone(first);
    let answer = client.run(&Batch::new().bind("", "s", &[Some("still")]).execute("", 0).sync());
    assert_eq!((tags(&answer).as_str(), answer[1].columns()[0].as_deref()), ("2DCZ", Some("still")));
    // A Describe alone is enough, too.
    plimsoll.console().query("RECONNECT");
    assert_eq!(tags(&client.run(&Batch::new().describe_statement("s").sync())), "tTZ");
}

#[test]
fn modern_statements_of_all_sizes() {
    let (_postgres, plimsoll) = narrow();
    let mut client = plimsoll.client("app", "p0");
    // Tag, length, name, text, two zeros, number of types: 4,096 bytes in all, and what is around it.
    for text_bytes in [4_083, 4_084, 4_085, 40_000] {
        let sql = format!("SELECT 7 --{}", "x".repeat(text_bytes - 11));
        client.run(&parse("s", &sql));
        assert_eq!(value_of(&mut client, "s"), "7", "{text_bytes}");
        client.run(&Batch::new().close_statement("s").sync());
    }
    let name = "n".repeat(16_384);
    client.run(&parse(&name, "SELECT $1::text"));
    let long = "v".repeat(40_000);
    let answer = client.run(&Batch::new().bind("", &name, &[Some(&long)]).execute("", 0).sync());
    assert_eq!((tags(&answer).as_str(), answer[1].columns()[0].as_deref()), ("2DCZ", Some(long.as_str())));
    // Many in one segment.
    let many = (0..20).fold(Batch::new(), |batch, n| batch.parse(&format!("m{n}"), &format!("SELECT {n}")));
    assert_eq!(tags(&client.run(&many.sync())), format!("{}Z", "1".repeat(20)));
    assert_eq!(value_of(&mut client, "m0"), "0");
}

#[test]
fn modern_nothing_is_counted_when_it_is_switched_off() {
    let (_postgres, plimsoll) =
        house(|ini| ini.set("default_pool_size", "1").set("max_prepared_statements", "0"));
    let mut client = plimsoll.client("app", "p0");
    client.run(&parse("s", "SELECT 5"));
    assert_eq!(value_of(&mut client, "s"), "5");
    assert_eq!(counts(&plimsoll), [0, 0, 0]);
    assert_eq!(at_server(&mut client), ["s"]);
    prepared(&plimsoll, "SERVERS", &[0]);
}

#[test]
fn sessions_and_sql_keep_their_own_statements() {
    let (_postgres, plimsoll) = house(|ini| ini.set("pool_mode", "session").set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    client.run(&parse("mine", "SELECT 'session'"));
    client.query("PREPARE by_sql AS SELECT 'sql'");
    assert_eq!(at_server(&mut client), ["mine", "by_sql"]);
    assert_eq!(value_of(&mut client, "mine"), "session");
    assert_eq!(value_of(&mut client, "by_sql"), "sql");
    assert_eq!(client.query("DEALLOCATE by_sql").command, "DEALLOCATE");
    let answer = client.run(&Batch::new().bind("", "unknown", &[]).execute("", 0).sync());
    assert_eq!((tags(&answer).as_str(), ServerError::of(&answer[0]).sqlstate.as_str()), ("EZ", "26000"));
    let answer = client.run(&parse("mine", "SELECT 1"));
    assert_eq!(ServerError::of(&answer[0]).sqlstate, "42P05");
    client.leave();
    assert!(at_server(&mut plimsoll.client("app", "p0")).is_empty());
}

#[test]
fn pipelines_keep_their_order_and_their_server() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    let one = |batch: Batch, sql: &str| batch.parse("", sql).bind("", "", &[]).execute("", 0);
    // The middle one fails, and only that: each Sync ends one.
    let batch = one(Batch::new(), "SELECT 1").sync();
    let batch = one(one(batch, "SELECT 1/0"), "SELECT 'skipped'").sync();
    let batch = one(batch, "SELECT 3").sync();
    client.send(batch.bytes()).unwrap();
    for wanted in ["12DCZ", "1EZ", "12DCZ"] {
        assert_eq!(tags(&client.cycle().unwrap()), wanted);
    }
    // Simple queries may stand in line as well.
    let batch = Batch::new().query("SELECT 1; SELECT 2").query("BEGIN").query("SELECT 3").query("COMMIT");
    client.send(batch.bytes()).unwrap();
    let answers = [(); 4].map(|()| client.cycle().unwrap());
    let seen = answers.each_ref().map(|answer| (tags(answer), answer.last().unwrap().status()));
    let wanted = [("TDCTDCZ", 'I'), ("CZ", 'T'), ("TDCZ", 'T'), ("CZ", 'I')];
    assert_eq!(seen, wanted.map(|(tags, status)| (tags.to_string(), status)));
    // A Flush is answered before there is a Sync, and nobody else gets the server meanwhile.
    client.send(one(Batch::new(), "SELECT 'flushed'").flush().bytes()).unwrap();
    let early = [(); 4].map(|()| client.read().unwrap());
    assert_eq!(tags(&early), "12DC");
    let mut other = plimsoll.client("app", "p0");
    other.send(Batch::new().query("SELECT 'other'").bytes()).unwrap();
    assert!(!other.hears_within(std::time::Duration::from_millis(300)));
    assert_eq!(tags(&client.run(&Batch::new().sync())), "Z");
    assert_eq!(tags(&other.cycle().unwrap()), "TDCZ");
}

/// 1.18 has no such key.
#[test]
fn modern_extra_parameters_are_tracked_under_the_name_of_the_file() {
    let (_postgres, plimsoll) = house(|ini| {
        ini.set("track_extra_parameters", "intervalstyle, search_path").set("default_pool_size", "1")
    });
    let mut plain = plimsoll.client("app", "p0");
    let mut iso = plimsoll.login("app", "p0").parameter("IntervalStyle", "iso_8601").client();
    assert_eq!((plain.parameter("intervalstyle"), iso.parameter("intervalstyle")), ("postgres", "iso_8601"));
    for _ in 0..2 {
        assert_eq!(iso.value("SELECT '1 day'::interval"), "P1D");
        assert_eq!(plain.value("SELECT '1 day'::interval"), "1 day");
    }
    plain.query("SET intervalstyle = 'sql_standard'");
    assert_eq!(iso.value("SHOW intervalstyle"), "iso_8601");
    assert_eq!(plain.value("SHOW intervalstyle"), "sql_standard");
    // What the server does not report is taken and not applied.
    let mut path = plimsoll.login("app", "p0").parameter("search_path", "nowhere").client();
    assert_eq!(path.value("SHOW search_path"), "\"$user\", public");
}
