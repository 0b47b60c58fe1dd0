//! Named statements of the protocol in transaction and statement pooling: over clients, servers, errors, evictions.

#![allow(clippy::unwrap_used)]

mod common;

use common::{backend, house};
use plimsoll_testkit::{Batch, Client, Plimsoll, ServerError, tags};

const COUNT: &str = "SELECT count(*) FROM pg_prepared_statements WHERE NOT from_sql";

fn execute(client: &mut Client, name: &str, value: &str) -> Option<String> {
    let batch = Batch::new().bind("", name, &[Some(value)]).execute("", 0).sync();
    let answer = client.run(&batch);
    assert_eq!(tags(&answer), "2DCZ", "{name}");
    answer[1].columns().swap_remove(0)
}

fn prepare(client: &mut Client, name: &str, sql: &str) {
    let answer = client.run(&Batch::new().parse(name, sql).describe_statement(name).sync());
    assert_eq!(tags(&answer), "1tTZ", "{name}: {sql}");
}

fn parses(plimsoll: &Plimsoll) -> (u64, u64, u64) {
    let stats = plimsoll.show("STATS");
    let row = stats.find(&[("database", "p0")]).unwrap();
    let number = |name: &str| stats.number(row, name);
    (number("total_client_parse_count"), number("total_server_parse_count"), number("total_bind_count"))
}

#[test]
fn a_statement_follows_its_client_over_servers() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "3"));
    let mut client = plimsoll.client("app", "p0");
    prepare(&mut client, "add", "SELECT $1::int + 1");
    let mut seen = Vec::new();
    // Others hold the servers one after the other, so that the client lands on each of them.
    let mut holders: Vec<Client> = Vec::new();
    for _ in 0..3 {
        assert_eq!(execute(&mut client, "add", "41").as_deref(), Some("42"));
        seen.push(backend(&mut client));
        let mut holder = plimsoll.client("app", "p0");
        holder.query("BEGIN");
        holders.push(holder);
        if holders.len() == 3 {
            holders.clear();
        }
    }
    for mut holder in holders {
        holder.query("COMMIT");
    }
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() > 1, "the client stayed on one server, so nothing was shown");
}

#[test]
fn equal_texts_are_parsed_once_and_names_do_not_collide() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut clients: Vec<Client> = (0..10).map(|_| plimsoll.client("app", "p0")).collect();
    for client in &mut clients {
        prepare(client, "s1", "SELECT $1::int * 2");
    }
    for client in &mut clients {
        assert_eq!(execute(client, "s1", "21").as_deref(), Some("42"));
    }
    assert_eq!(clients[0].value(COUNT), "1");
    assert_eq!(parses(&plimsoll), (10, 1, 10));
    // The same name for another text is another statement.
    let mut other = plimsoll.client("app", "p0");
    prepare(&mut other, "s1", "SELECT $1::int * 3");
    assert_eq!(execute(&mut other, "s1", "14").as_deref(), Some("42"));
    assert_eq!(execute(&mut clients[3], "s1", "21").as_deref(), Some("42"));
    assert_eq!(other.value(COUNT), "2");
}

#[test]
fn the_least_recently_used_statement_goes_first() {
    let (_postgres, plimsoll) =
        house(|ini| ini.set("default_pool_size", "1").set("max_prepared_statements", "3"));
    let mut client = plimsoll.client("app", "p0");
    for number in 0..10 {
        prepare(&mut client, &format!("s{number}"), &format!("SELECT $1::int + {number}"));
        let count: u32 = client.value(COUNT).parse().unwrap();
        assert!(count <= 3, "{count} statements on the server");
    }
    // All ten are there for the client, whatever the server still has.
    for number in [0, 9, 5, 0, 1, 2, 3, 4, 6, 7, 8, 9] {
        let name = format!("s{number}");
        assert_eq!(execute(&mut client, &name, "100"), Some((100 + number).to_string()));
    }
    assert_eq!(client.value(COUNT), "3");
}

#[test]
fn statements_in_pipelines_are_injected_at_the_right_place() {
    let (_postgres, plimsoll) =
        house(|ini| ini.set("default_pool_size", "1").set("max_prepared_statements", "2"));
    let mut client = plimsoll.client("app", "p0");
    let mut batch = Batch::new();
    for number in 0..6 {
        let name = format!("p{number}");
        batch = batch
            .parse(&name, &format!("SELECT $1::int + {number}"))
            .bind("", &name, &[Some("10")])
            .execute("", 0);
    }
    let answer = client.run(&batch.sync());
    assert_eq!(tags(&answer), format!("{}Z", "12DC".repeat(6)));
    let mut batch = Batch::new();
    for number in [5, 0, 3, 3, 1] {
        batch = batch.bind("", &format!("p{number}"), &[Some("20")]).execute("", 0).sync();
    }
    client.send(batch.bytes()).unwrap();
    for number in [5, 0, 3, 3, 1] {
        let answer = client.cycle().unwrap();
        assert_eq!(tags(&answer), "2DCZ");
        assert_eq!(answer[1].columns(), [Some((20 + number).to_string())]);
    }
}

#[test]
fn a_failed_parse_leaves_nothing_behind() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    let wrong = Batch::new()
        .parse("later", "SELECT id FROM later WHERE id = $1::int")
        .bind("", "later", &[Some("1")])
        .execute("", 0)
        .parse("skipped", "SELECT 1")
        .sync();
    for _ in 0..2 {
        assert_eq!(tags(&client.run(&wrong)), "EZ");
    }
    postgres.login("app", "p0").client().query("CREATE TABLE later AS SELECT 1 AS id");
    let answer = client.run(&wrong);
    assert_eq!(tags(&answer), "12DC1Z");
    assert_eq!(execute(&mut client, "later", "1").as_deref(), Some("1"));
}

#[test]
fn an_error_before_a_parse_in_a_pipeline_skips_the_parse() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    let batch = Batch::new()
        .parse("", "SELECT 1 / $1::int")
        .bind("", "", &[Some("0")])
        .execute("", 0)
        .parse("after", "SELECT $1::text")
        .sync();
    assert_eq!(tags(&client.run(&batch)), "1EZ");
    let mut other = plimsoll.client("app", "p0");
    prepare(&mut other, "after", "SELECT $1::text");
    assert_eq!(execute(&mut other, "after", "here").as_deref(), Some("here"));
}

#[test]
fn unknown_and_repeated_names_are_refused_as_postgres_does() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let cases = [
        (Batch::new().bind("", "nobody", &[]).execute("", 0).sync(), "EZ", "26000"),
        (Batch::new().describe_statement("nobody").sync(), "EZ", "26000"),
        (Batch::new().parse("twice", "SELECT 1").parse("twice", "SELECT 2").sync(), "1EZ", "42P05"),
    ];
    let mut client = plimsoll.client("app", "p0");
    for (batch, shape, sqlstate) in cases {
        let answer = client.run(&batch);
        assert_eq!(tags(&answer), shape, "{sqlstate}");
        let error = ServerError::of(&answer[shape.find('E').unwrap()]);
        assert_eq!((error.severity.as_str(), error.sqlstate.as_str()), ("ERROR", sqlstate));
    }
    // The first text of that name is what counts, and nobody else knows it.
    let answer = client.run(&Batch::new().bind("", "twice", &[]).execute("", 0).sync());
    assert_eq!(answer[1].columns(), [Some(String::from("1"))]);
    let mut other = plimsoll.client("app", "p0");
    let answer = other.run(&Batch::new().bind("", "twice", &[]).execute("", 0).sync());
    assert_eq!(ServerError::of(&answer[0]).sqlstate, "26000");
}

#[test]
fn as_pgbouncer_unknown_and_repeated_names_end_the_connection() {
    let (_postgres, plimsoll) = house(|ini| ini.own("compat", "pgbouncer"));
    let cases = [
        (Batch::new().bind("", "nobody", &[]).execute("", 0).sync(), "prepared statement did not exist"),
        (Batch::new().describe_statement("nobody").sync(), "prepared statement did not exist"),
        (
            Batch::new().parse("twice", "SELECT 1").parse("twice", "SELECT 2").sync(),
            "prepared statement name is already in use",
        ),
    ];
    for (batch, words) in cases {
        let mut client = plimsoll.client("app", "p0");
        let error = client.try_run(&batch).unwrap_err().server();
        let seen = (error.severity.as_str(), error.sqlstate.as_str(), error.message.as_str());
        assert_eq!(seen, ("FATAL", "08P01", words));
        assert_eq!(client.expect_closed(), None);
    }
    plimsoll.still_works(&["p0"]);
}

#[test]
fn close_is_answered_without_the_server() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    prepare(&mut client, "s", "SELECT $1::int");
    // Somebody else has the only server; Close and Sync of ours are answered all the same.
    let mut holder = plimsoll.client("app", "p0");
    holder.query("BEGIN");
    let answer = client.run(&Batch::new().close_statement("s").close_statement("never was").sync());
    assert_eq!(tags(&answer), "33Z");
    holder.query("COMMIT");
    prepare(&mut client, "s", "SELECT $1::int + 1");
    assert_eq!(execute(&mut client, "s", "41").as_deref(), Some("42"));
}

#[test]
fn deallocate_all_forgets_all_of_client_and_server() {
    for sql in ["DEALLOCATE ALL", "DISCARD ALL"] {
        let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
        let mut client = plimsoll.client("app", "p0");
        let mut other = plimsoll.client("app", "p0");
        prepare(&mut client, "s", "SELECT $1::int");
        prepare(&mut other, "s", "SELECT $1::int");
        client.query(sql);
        assert_eq!(execute(&mut other, "s", "7").as_deref(), Some("7"), "{sql}");
        prepare(&mut client, "s", "SELECT $1::int + 35");
        assert_eq!(execute(&mut client, "s", "7").as_deref(), Some("42"), "{sql}");
    }
}

#[test]
fn zero_passes_everything_through() {
    let (_postgres, plimsoll) =
        house(|ini| ini.set("default_pool_size", "1").set("max_prepared_statements", "0"));
    let mut client = plimsoll.client("app", "p0");
    prepare(&mut client, "raw", "SELECT $1::int");
    let names = client.query("SELECT name FROM pg_prepared_statements");
    assert_eq!(names.cell(0, "name"), "raw");
    let unknown = client.run(&Batch::new().bind("", "nobody", &[]).execute("", 0).sync());
    assert_eq!(ServerError::of(&unknown[0]).sqlstate, "26000");
    assert_eq!(parses(&plimsoll), (0, 0, 0));
}

#[test]
fn sessions_keep_their_own_names() {
    let (_postgres, plimsoll) = house(|ini| ini.set("pool_mode", "session"));
    let mut client = plimsoll.client("app", "p0");
    prepare(&mut client, "mine", "SELECT $1::int");
    let names = client.query("SELECT name FROM pg_prepared_statements");
    assert_eq!(names.cell(0, "name"), "mine");
    let unknown = client.run(&Batch::new().bind("", "nobody", &[]).execute("", 0).sync());
    assert_eq!(ServerError::of(&unknown[0]).sqlstate, "26000");
    assert_eq!(execute(&mut client, "mine", "1").as_deref(), Some("1"));
}

#[test]
fn odd_sizes_are_right() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    for padding in [3_900, 4_060, 4_061, 4_062, 4_063, 4_064, 4_065, 4_096, 8_192, 40_000] {
        let name = format!("n{padding}");
        let sql = format!("SELECT $1::text /* {} */", "p".repeat(padding));
        let value = "v".repeat(padding);
        let batch = Batch::new().parse(&name, &sql).bind("", &name, &[Some(&value)]).execute("", 0).sync();
        let answer = client.run(&batch);
        assert_eq!(tags(&answer), "12DCZ", "{padding}");
        assert_eq!(answer[2].columns(), [Some(value)], "{padding}");
    }
    let long_name = "n".repeat(16_000);
    // Without a Describe: PostgreSQL itself takes none of more than 10,000 bytes.
    assert_eq!(tags(&client.run(&Batch::new().parse(&long_name, "SELECT $1::text").sync())), "1Z");
    assert_eq!(execute(&mut client, &long_name, "long").as_deref(), Some("long"));
}

#[test]
fn a_schema_change_reaches_every_client() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut owner = postgres.login("app", "p0").client();
    owner.query("CREATE TABLE shape AS SELECT 1 AS a");
    let mut client = plimsoll.client("app", "p0");
    let answer = client.run(&Batch::new().parse("s", "SELECT * FROM shape").sync());
    assert_eq!(tags(&answer), "1Z");
    owner.query("ALTER TABLE shape ADD COLUMN b int DEFAULT 2");
    let answer = client.run(&Batch::new().bind("", "s", &[]).execute("", 0).sync());
    assert_eq!(ServerError::of(&answer[0]).sqlstate, "0A000");
    // A new client that prepares the same text must not be handed the stale plan for ever.
    client.query("DEALLOCATE ALL");
    let mut other = plimsoll.client("app", "p0");
    let batch = Batch::new().parse("s", "SELECT * FROM shape").bind("", "s", &[]).execute("", 0).sync();
    let answer = other.run(&batch);
    assert_eq!(tags(&answer), "12DCZ");
    assert_eq!(answer[2].columns().len(), 2);
}
