//! The contract of a drop-in while clients work: timeouts, COPY, statistics, cancels, limits (reference 3.2 "While
//! working", 3.6, 3.8 to 3.12): see `conformance.rs`.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::SOON;
use common::contract::{fatal, house, listed, logged, start};
use plimsoll_testkit::{
    Batch, Client, Ini, Packet, Plimsoll, Postgres, ServerError, Table, eventually, eventually_ok, tags,
};

/// Position in the log of the line of a server or client (`S-`, `C-`) that is closed for this reason.
#[track_caller]
fn closed_at(plimsoll: &Plimsoll, prefix: &str, message: &str) -> usize {
    let words = format!("closing because: {message} (age=");
    let log = plimsoll.log();
    let found = log.lines().position(|line| line.contains(prefix) && line.contains(&words));
    found.unwrap_or_else(|| panic!("{prefix} {message}: {log}"))
}

#[test]
fn who_is_thrown_out_takes_the_server_along() {
    let slow = "SELECT pg_sleep(600)";
    let blocks = "transaction blocks not allowed in statement pooling mode";
    for (key, set, query, message) in [
        ("query_timeout", "1", slow, "query timeout"),
        ("idle_transaction_timeout", "1", "BEGIN", "idle transaction timeout"),
        ("pool_mode", "statement", "BEGIN", blocks),
    ] {
        let (_postgres, plimsoll) = house(|ini| ini.set(key, set));
        let mut client = plimsoll.client("app", "p0");
        client.send(Batch::new().query(query).bytes()).unwrap();
        fatal(&client.expect_closed().expect("a reason"), message);
        logged(&plimsoll, 0, message);
        assert!(closed_at(&plimsoll, " S-0x", message) < closed_at(&plimsoll, " C-0x", message), "{message}");
        plimsoll.still_works(&["p0"]);
    }
}

#[test]
fn timeouts_spare_those_they_are_not_meant_for() {
    let (_postgres, plimsoll) =
        house(|ini| ini.set("idle_transaction_timeout", "1").set("client_idle_timeout", "1"));
    // A long query in a transaction is not idle, and who has a server is no idle client.
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    assert_eq!(client.value("SELECT 'done' FROM pg_sleep(1.7)"), "done");
    client.query("COMMIT");
    fatal(&client.expect_closed().expect("a reason"), "client_idle_timeout");
}

#[test]
fn waiting_has_its_own_words() {
    let (_postgres, plimsoll) = house(|ini| ini.set("query_timeout", "1").set("query_wait_timeout", "0"));
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    plimsoll.console().query("PAUSE p0");
    client.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    fatal(&client.expect_closed().expect("a reason"), "query_timeout");
    let (_postgres, plimsoll) = house(|ini| ini.set("query_wait_timeout", "1"));
    plimsoll.console().query("PAUSE p0");
    // Who waits in the login waits like a query.
    fatal(&plimsoll.login("app", "p0").refusal(), "query_wait_timeout");
    logged(&plimsoll, 0, "query_wait_timeout");
}

#[test]
fn messages_nobody_knows_end_the_session() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.send(&Packet::typed(b'z').raw(b"abc").bytes()).unwrap();
    fatal(&client.expect_closed().expect("a reason"), "unknown pkt");
    logged(&plimsoll, 0, "unknown pkt");
    let mut console = plimsoll.console();
    console.send(Batch::new().parse("", "SHOW VERSION").bytes()).unwrap();
    let said: Vec<_> = std::iter::from_fn(|| console.read().ok()).collect();
    let errors: Vec<_> = said.iter().filter(|message| message.tag == b'E').map(ServerError::of).collect();
    assert_eq!(errors[0].message, "extended query protocol not supported by admin console");
    fatal(errors.last().unwrap(), "bad packet");
}

#[test]
fn copy_ends_in_all_its_ways() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    postgres.login("boss", "p0").client().query("CREATE TABLE copied (x int); GRANT ALL ON copied TO app");
    let mut client = plimsoll.client("app", "p0");
    let begin = |client: &mut Client| {
        client.send(Batch::new().query("COPY copied FROM STDIN").bytes()).unwrap();
        assert_eq!(client.read().unwrap().tag, b'G');
    };
    for (batch, seen) in [
        (Batch::new().copy_data(b"1\n2\n").copy_done(), "CZ"),
        (Batch::new().copy_data(b"3\n").copy_fail("no more"), "EZ"),
        (Batch::new().copy_data(b"none\n").copy_data(b"4\n").copy_done(), "EZ"),
    ] {
        begin(&mut client);
        assert_eq!(tags(&client.run(&batch)), seen);
        assert_eq!(client.value("SELECT count(*) FROM copied"), "2");
    }
    let out = client.run(&Batch::new().query("COPY copied TO STDOUT"));
    assert_eq!(tags(&out), "HddcCZ");
}

fn counted(plimsoll: &Plimsoll, database: &str, counts: &[&str]) -> Vec<u64> {
    let stats = plimsoll.show("STATS_TOTALS");
    let row = stats.find(&[("database", database)]).unwrap_or_else(|| panic!("no {database}"));
    counts.iter().map(|count| stats.number(row, count)).collect()
}

#[test]
fn what_is_counted() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    // Queries, transactions.
    let steps = [
        (Batch::new().query("SELECT 1; SELECT 2"), (1, 1)),
        (Batch::new().parse("", "SELECT 1").sync(), (1, 1)),
        (Batch::new().parse("", "SELECT 1").bind("", "", &[]).execute("", 0).sync(), (1, 1)),
        (Batch::new().query("BEGIN"), (1, 1)),
        (Batch::new().query("SELECT 1"), (1, 0)),
        (Batch::new().query("COMMIT"), (1, 0)),
        (Batch::new().query("nonsense"), (1, 1)),
    ];
    let mut sums = [0, 0];
    for (batch, (queries, transactions)) in steps {
        client.run(&batch);
        sums = [sums[0] + queries, sums[1] + transactions];
        eventually_ok("the counts", SOON, || {
            let seen = counted(&plimsoll, "p0", &["query_count", "xact_count"]);
            if seen == sums { Ok(()) } else { Err(format!("{seen:?} and not {sums:?}")) }
        });
    }
    for count in ["bytes_received", "bytes_sent", "query_time", "xact_time", "wait_time"] {
        assert!(counted(&plimsoll, "p0", &[count])[0] > 0, "{count}");
    }
    // A wait is counted in microseconds.
    let before = counted(&plimsoll, "p0", &["wait_time"])[0];
    client.query("BEGIN");
    let mut waiting = plimsoll.client("app", "p0");
    waiting.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    client.query("SELECT pg_sleep(0.3)");
    client.query("COMMIT");
    waiting.cycle().unwrap();
    assert!(counted(&plimsoll, "p0", &["wait_time"])[0] > before + 100_000);
}

#[test]
fn cancels_of_those_who_wait_and_of_full_pools() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1").set("max_client_conn", "3"));
    let mut holder = plimsoll.client("app", "p0");
    let mut waiting = plimsoll.client("app", "p0");
    eventually("the kit's own knocks to be forgotten", SOON, || listed(&plimsoll, "used_clients") == 3);
    holder.send(Batch::new().query("SELECT pg_sleep(600)").bytes()).unwrap();
    postgres.wait_for_sessions("wait_event = 'PgSleep'", 1);
    waiting.send(Batch::new().query("SELECT 'served'").bytes()).unwrap();
    let mut console = plimsoll.console();
    eventually("somebody to wait", SOON, || {
        console.query("SHOW POOLS").find(&[("database", "p0"), ("cl_waiting", "1")]).is_some()
    });
    // Who waits has nothing to cancel; the pool's one place is taken, and max_client_conn is reached: it is sent all
    // the same.
    waiting.cancel_key().cancel().unwrap();
    plimsoll.wait_for_log("closing because: cancel request for idle client", SOON);
    holder.cancel_key().cancel().unwrap();
    assert_eq!(tags(&holder.cycle().unwrap()), "TEZ");
    assert_eq!(tags(&waiting.cycle().unwrap()), "TDCZ");
    plimsoll.wait_for_log("closing because: successfully sent cancel request", SOON);
}

#[test]
fn values_of_parameters_are_kept_apart() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let original = postgres.login("app", "p0").client().value("SHOW TimeZone");
    let mut plain = plimsoll.client("app", "p0");
    let mut tokyo = plimsoll.login("app", "p0").parameter("TimeZone", "Asia/Tokyo").client();
    // The answers to the pooler's own SET are nobody's business.
    assert_eq!(tags(&tokyo.run(&Batch::new().query("SELECT 1"))), "TDCZ");
    assert_eq!(tags(&plain.run(&Batch::new().query("SELECT 1"))), "TDCZ");
    assert_eq!((plain.value("SHOW TimeZone"), tokyo.value("SHOW TimeZone")), (original, "Asia/Tokyo".into()));
    // One's own SET is told, and counts from then on.
    assert_eq!(tags(&plain.run(&Batch::new().query("SET TimeZone = 'Europe/Paris'"))), "CSZ");
    for (name, value) in
        [("DateStyle", "SQL, DMY"), ("client_encoding", "LATIN1"), ("application_name", "it''s")]
    {
        plain.query(&format!("SET {name} = '{value}'"));
    }
    for _ in 0..2 {
        assert_eq!(tokyo.value("SHOW DateStyle"), "ISO, MDY");
        assert_eq!(
            (plain.value("SHOW TimeZone").as_str(), tokyo.value("SHOW TimeZone").as_str()),
            ("Europe/Paris", "Asia/Tokyo")
        );
        assert_eq!(
            (plain.value("SHOW DateStyle").as_str(), plain.value("SHOW application_name").as_str()),
            ("SQL, DMY", "it's")
        );
    }
    // ISO becomes the server's own spelling, and is not set again and again.
    let mut iso = plimsoll.login("app", "p0").parameter("DateStyle", "ISO").client();
    assert!(iso.value("SHOW DateStyle").starts_with("ISO, "));
}

#[test]
fn databases_of_the_star_line_are_named_as_asked_for() {
    let postgres = Postgres::start();
    let plimsoll = start(
        Ini::new(&postgres)
            .without_database("p1")
            .without_database("p2")
            .database("*", &format!("host=127.0.0.1 port={}", postgres.port())),
    );
    assert_eq!(plimsoll.client("app", "p1").value("SELECT current_database()"), "p1");
    let error = plimsoll.login("app", "missing").refusal();
    assert_eq!(error.message, "database \"missing\" does not exist");
    plimsoll.wait_for_log("registered new auto-database: ", SOON);
    assert_eq!(plimsoll.show("DATABASES").count(&[("name", "p1"), ("database", "p1")]), 1);
}

/// 1.18 counts the time between two queries of a transaction as well.
#[test]
fn modern_query_timeout_spares_the_idle() {
    let (_postgres, plimsoll) = house(|ini| ini.set("query_timeout", "1"));
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    assert!(!client.hears_within(Duration::from_millis(1_700)));
    assert_eq!(client.value("SELECT 1"), "1");
}

/// 1.18 goes on waiting for an answer that has come already.
#[test]
fn modern_copy_data_after_the_error_is_thrown_away() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    client.query("CREATE TEMP TABLE copied (x int)");
    client.send(Batch::new().query("COPY copied FROM STDIN").bytes()).unwrap();
    assert_eq!(client.read().unwrap().tag, b'G');
    assert_eq!(tags(&client.run(&Batch::new().copy_data(b"none\n").flush())), "EZ");
    client.send(Batch::new().copy_data(b"5\n").copy_done().bytes()).unwrap();
    assert_eq!(plimsoll.client("app", "p0").value("SELECT count(*) FROM copied"), "0");
    assert_eq!(client.value("SELECT 'still'"), "still");
}

/// 1.18 passes all of it through.
#[test]
fn modern_named_statements_follow_their_client() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "2"));
    let counts = ["client_parse_count", "server_parse_count", "bind_count"];
    let (mut one, mut other) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p0"));
    let use_it = || Batch::new().bind("", "s", &[]).execute("", 0).sync();
    assert_eq!(tags(&one.run(&Batch::new().parse("s", "SELECT 42").sync())), "1Z");
    // On another server the Parse is repeated, and nobody hears of it; on the same it is answered without asking.
    other.query("BEGIN");
    one.query("BEGIN");
    assert_eq!(tags(&one.run(&use_it())), "2DCZ");
    one.query("COMMIT");
    other.query("COMMIT");
    assert_eq!(
        tags(&other.run(&Batch::new().parse("s", "SELECT 42").describe_statement("s").sync())),
        "1tTZ"
    );
    assert_eq!(tags(&other.run(&Batch::new().close_statement("s").close_statement("unknown").sync())), "33Z");
    let seen = counted(&plimsoll, "p0", &counts);
    assert_eq!((seen[0], seen[2]), (2, 1));
    assert!((1..=2).contains(&seen[1]), "{seen:?}");
    one.query("DEALLOCATE ALL");
    one.send(use_it().bytes()).unwrap();
    fatal(&one.expect_closed().expect("a reason"), "prepared statement did not exist");
    let mut console = plimsoll.console();
    let mut third = plimsoll.client("app", "p0");
    third.run(&Batch::new().parse("late", "SELECT 1").sync());
    console.query("SET max_prepared_statements = 0");
    let answer = third.run(&Batch::new().bind("", "late", &[]).execute("", 0).sync());
    assert_eq!((tags(&answer).as_str(), ServerError::of(&answer[0]).sqlstate.as_str()), ("EZ", "26000"));
}

/// 1.18 has neither the timeout nor the notice.
#[test]
fn modern_transaction_timeout_and_notice_of_the_queue() {
    let (_postgres, plimsoll) = house(|ini| {
        ini.set("transaction_timeout", "2").set("query_wait_notify", "1").set("default_pool_size", "1")
    });
    let (mut client, mut waiting) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p0"));
    client.query("BEGIN");
    waiting.send(Batch::new().query("SELECT 'served'").bytes()).unwrap();
    // It counts from the first query of the transaction, whatever is done in it.
    let error = loop {
        if let Err(failure) = client.try_query("SELECT pg_sleep(0.2)") {
            break failure.server();
        }
    };
    fatal(&error, "transaction timeout");
    assert_eq!(tags(&waiting.cycle().unwrap()), "NTDCZ");
    let notice = waiting.take_notices().remove(0);
    assert_eq!(notice.message, "No server connection available in postgres backend, client being queued");
}

fn user(users: &Table, name: &str, column: &str) -> u64 {
    users.number(users.find(&[("name", name)]).unwrap(), column)
}

/// 1.18 has neither limit.
#[test]
fn modern_limits_of_clients_count_who_is_there() {
    let (_postgres, plimsoll) = house(|ini| {
        ini.set("max_user_client_connections", "1").user("other", "max_user_client_connections=2")
    });
    let message = "client connections exceeded (max_user_client_connections)";
    let one = plimsoll.client("app", "p0");
    fatal(&plimsoll.login("app", "p1").refusal(), message);
    let _others = [(); 2].map(|()| plimsoll.client("other", "p0"));
    fatal(&plimsoll.login("other", "p1").refusal(), message);
    // On the console administrators may always; watchers may not.
    let mut console = plimsoll.console();
    assert_eq!(plimsoll.console().query("SHOW VERSION").rows.len(), 1);
    let _stats = plimsoll.login("stats", "pgbouncer").client();
    fatal(&plimsoll.login("stats", "pgbouncer").refusal(), message);
    let column = "current_client_connections";
    let users = console.query("SHOW USERS");
    assert_eq!((user(&users, "app", column), user(&users, "other", column)), (1, 2));
    one.leave();
    eventually("the place to be free", SOON, || user(&console.query("SHOW USERS"), "app", column) == 0);
    assert_eq!(plimsoll.client("app", "p1").value("SELECT 1"), "1");
}
