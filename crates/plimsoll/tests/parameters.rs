//! Tracked parameters follow their client over servers, and never reach another one.

#![allow(clippy::unwrap_used)]

mod common;

use common::{backend, house};
use plimsoll_testkit::{Client, Plimsoll, Postgres};

/// A pool of one, so that all clients meet on the same server.
fn narrow() -> (Postgres, Plimsoll) {
    house(|ini| ini.set("default_pool_size", "1"))
}

fn seen(client: &mut Client) -> [String; 3] {
    ["application_name", "DateStyle", "TimeZone"].map(|name| client.value(&format!("SHOW {name}")))
}

#[test]
fn each_client_keeps_its_values_on_one_server() {
    let (_postgres, plimsoll) = narrow();
    let login = |name: &str, style: &str, zone: &str| {
        let login = plimsoll.login("app", "p0").parameter("application_name", name);
        login.parameter("DateStyle", style).parameter("TimeZone", zone).client()
    };
    let mut plain = plimsoll.client("app", "p0");
    let plain_values = seen(&mut plain);
    let mut first = login("first", "German", "Asia/Tokyo");
    let mut second = login("second", "SQL, DMY", "America/Lima");
    let held = backend(&mut plain);
    for _ in 0..3 {
        assert_eq!(seen(&mut first), ["first", "German, DMY", "Asia/Tokyo"]);
        assert_eq!(seen(&mut second), ["second", "SQL, DMY", "America/Lima"]);
        assert_eq!(seen(&mut plain), plain_values);
    }
    assert_eq!(first.value("SELECT DATE '2026-02-01'"), "01.02.2026");
    assert_eq!(second.value("SELECT DATE '2026-02-01'"), "01/02/2026");
    for client in [&mut plain, &mut first, &mut second] {
        assert_eq!(backend(client), held);
    }
}

#[test]
fn a_set_is_remembered_and_reported_to_its_client_only() {
    let (_postgres, plimsoll) = narrow();
    let mut first = plimsoll.client("app", "p0");
    let mut second = plimsoll.client("app", "p0");
    let before = second.value("SHOW TimeZone");
    first.query("SET TimeZone TO 'Asia/Tokyo'");
    assert_eq!(first.parameter("TimeZone"), "Asia/Tokyo");
    assert_eq!(second.value("SHOW TimeZone"), before);
    assert_eq!(second.parameter("TimeZone"), before);
    assert_eq!(first.value("SHOW TimeZone"), "Asia/Tokyo");
    // Through a function, too: what PostgreSQL reports is what counts, not the text.
    second.query("SELECT set_config('TimeZone', 'America/Lima', false)");
    assert_eq!(first.value("SHOW TimeZone"), "Asia/Tokyo");
    assert_eq!(second.value("SHOW TimeZone"), "America/Lima");
    // In a transaction that is rolled back the value goes back as well.
    first.query("BEGIN; SET TimeZone TO 'Europe/Oslo'");
    assert_eq!(first.value("SHOW TimeZone"), "Europe/Oslo");
    first.query("ROLLBACK");
    assert_eq!(second.value("SHOW TimeZone"), "America/Lima");
    assert_eq!(first.value("SHOW TimeZone"), "Asia/Tokyo");
    first.query("RESET TimeZone");
    assert_eq!(first.value("SHOW TimeZone"), before);
    assert_eq!(second.value("SHOW TimeZone"), "America/Lima");
}

#[test]
fn application_name_is_what_postgres_shows() {
    let (postgres, plimsoll) = narrow();
    let mut client = plimsoll.login("app", "p0").parameter("application_name", "it's \"mine\"").client();
    client.query("SELECT 1");
    postgres.wait_for_sessions("application_name = 'it''s \"mine\"'", 1);
    let mut other = plimsoll.client("app", "p0");
    other.query("SELECT 1");
    postgres.wait_for_sessions("application_name = 'it''s \"mine\"'", 0);
    assert_eq!(client.value("SHOW application_name"), "it's \"mine\"");
}

#[test]
fn options_and_extra_parameters_are_tracked() {
    let (_postgres, plimsoll) = house(|ini| {
        ini.set("default_pool_size", "1")
            .set("track_extra_parameters", "intervalstyle, default_transaction_read_only")
    });
    let mut first = plimsoll
        .login("app", "p0")
        .parameter("options", "-c IntervalStyle=iso_8601 --timezone=Asia/Tokyo -cDateStyle=SQL,\\ DMY")
        .client();
    let mut second = plimsoll.login("app", "p0").parameter("intervalstyle", "sql_standard").client();
    for _ in 0..2 {
        assert_eq!(first.value("SHOW IntervalStyle"), "iso_8601");
        assert_eq!(seen(&mut first)[1..], ["SQL, DMY", "Asia/Tokyo"]);
        assert_eq!(second.value("SHOW IntervalStyle"), "sql_standard");
    }
    second.query("SET default_transaction_read_only = on");
    assert_eq!(first.value("SHOW default_transaction_read_only"), "off");
    assert_eq!(second.value("SHOW default_transaction_read_only"), "on");
}

#[test]
fn a_value_the_server_refuses_ends_only_its_client() {
    let (_postgres, plimsoll) = narrow();
    let mut good = plimsoll.client("app", "p0");
    good.query("SELECT 1");
    let mut bad = plimsoll.login("app", "p0").parameter("TimeZone", "Nowhere/Land").client();
    let error = bad.fail("SELECT 1");
    assert_eq!((error.severity.as_str(), error.message.as_str()), ("FATAL", "invalid server parameter"));
    assert_eq!(bad.expect_closed(), None);
    assert_eq!(good.value("SELECT 2"), "2");
}

#[test]
fn encodings_follow_their_client() {
    let (_postgres, plimsoll) = narrow();
    let mut latin = plimsoll.login("app", "p0").parameter("client_encoding", "LATIN1").client();
    let mut utf8 = plimsoll.login("app", "p0").parameter("client_encoding", "UTF8").client();
    for _ in 0..2 {
        assert_eq!(latin.value("SHOW client_encoding"), "LATIN1");
        assert_eq!(utf8.value("SHOW client_encoding"), "UTF8");
    }
    assert_eq!(latin.parameter("client_encoding"), "LATIN1");
    let answer = latin.run(&plimsoll_testkit::Batch::new().query("SELECT chr(228)"));
    assert_eq!(answer[1].body[6..], [0xe4]);
    assert_eq!(utf8.value("SELECT chr(228)"), "ä");
}

#[test]
fn a_host_can_be_added_to_the_name() {
    let (_postgres, plimsoll) = house(|ini| ini.set("application_name_add_host", "1"));
    let mut client = plimsoll.login("app", "p0").parameter("application_name", "web").client();
    let port = client.port();
    assert_eq!(client.value("SHOW application_name"), format!("web - 127.0.0.1:{port}"));
}
