//! What two clients prepare on one server connection stays apart: in the values a text is read by, in pipelines with
//! DISCARD ALL, without a name; and so do their names.

#![allow(clippy::unwrap_used)]

mod common;

use common::house;
use plimsoll_testkit::{Batch, Client, Plimsoll, Postgres, ServerError, tags};

fn narrow() -> (Postgres, Plimsoll) {
    house(|ini| ini.set("default_pool_size", "1"))
}

fn prepared(client: &mut Client, sql: &str) -> Option<String> {
    let answer = client.run(&Batch::new().parse("s", sql).bind("", "s", &[]).execute("", 0).sync());
    assert_eq!(tags(&answer), "12DCZ", "{sql}");
    answer[2].columns().swap_remove(0)
}

#[test]
fn a_text_means_what_its_own_client_means_by_it() {
    let (_postgres, plimsoll) = narrow();
    for (name, [ours, theirs], sql) in [
        (
            "TimeZone",
            ["UTC", "America/New_York"],
            "SELECT extract(epoch FROM '2024-01-01 12:00'::timestamptz)::bigint",
        ),
        ("DateStyle", ["ISO, MDY", "ISO, DMY"], "SELECT extract(month FROM '01/02/2024'::date)::int"),
        ("client_encoding", ["UTF8", "LATIN1"], "SELECT length('é')"),
    ] {
        let login = |value: &str| plimsoll.login("app", "p0").parameter(name, value).client();
        let (mut first, mut second) = (login(ours), login(theirs));
        let values = [prepared(&mut first, sql), prepared(&mut second, sql)];
        assert_eq!(values, [Some(first.value(sql)), Some(second.value(sql))], "{name}");
        assert_ne!(values[0], values[1], "{name}");
    }
}

#[test]
fn discard_all_and_a_parse_behind_it_go_in_one_pipeline() {
    let (_postgres, plimsoll) = narrow();
    let mut other = plimsoll.client("app", "p0");
    prepared(&mut other, "SELECT 77");
    let mut client = plimsoll.client("app", "p0");
    prepared(&mut client, "SELECT 1");
    for text in ["SELECT 77", "SELECT 1", "SELECT 1", "SELECT 2"] {
        let pipeline =
            Batch::new().query("DISCARD ALL").parse("s", text).bind("", "s", &[]).execute("", 0).sync();
        client.send(pipeline.bytes()).unwrap();
        assert_eq!(tags(&client.cycle().unwrap()), "CZ", "{text}");
        let answer = client.cycle().unwrap();
        assert_eq!(tags(&answer), "12DCZ", "{text}");
        assert_eq!(answer[2].columns()[0].as_deref(), text.strip_prefix("SELECT "));
    }
}

#[test]
fn nobody_executes_what_another_client_prepared_without_a_name() {
    let (_postgres, plimsoll) = narrow();
    let (mut first, mut second) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p0"));
    first.run(&Batch::new().parse("", "SELECT 'mine'").sync());
    second.run(&Batch::new().parse("", "SELECT 'theirs'").sync());
    let answer = first.run(&Batch::new().bind("", "", &[]).execute("", 0).sync());
    assert_eq!(tags(&answer), "EZ");
    assert_eq!(ServerError::of(&answer[0]).sqlstate, "26000");
}

#[test]
fn application_names_are_told_apart_by_their_case() {
    let (_postgres, plimsoll) = narrow();
    let login = |name: &str| plimsoll.login("app", "p0").parameter("application_name", name).client();
    let (mut first, mut second) = (login("App"), login("app"));
    for _ in 0..2 {
        assert_eq!(first.value("SHOW application_name"), "App");
        assert_eq!(second.value("SHOW application_name"), "app");
    }
}
