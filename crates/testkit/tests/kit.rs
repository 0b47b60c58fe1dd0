//! The kit against a real PostgreSQL and against itself: a witness must be right before it may accuse.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use plimsoll_testkit::{
    Address, Batch, FakeServer, Login, Method, Postgres, PostgresOptions, ServerAuth, StopMode, tags,
};

#[test]
fn postgres_starts_answers_and_restarts() {
    let mut postgres = Postgres::start();
    let mut client = postgres.login("app", "p0").client();
    assert_eq!(client.value("SELECT 40 + 2"), "42");
    assert_eq!(client.parameter("server_encoding"), "UTF8");
    assert_eq!(postgres.count_sessions("usename = 'app'"), 1);
    assert_eq!(client.fail("SELECT 1 / 0").sqlstate, "22012");
    let batch = Batch::new().parse("", "SELECT $1").bind("", "", &[Some("x")]).execute("", 0).sync();
    assert_eq!(tags(&client.run(&batch)), "12DCZ");
    client.leave();
    postgres.wait_for_sessions("usename = 'app'", 0);

    postgres.restart(StopMode::Fast);
    assert_eq!(postgres.login("app", "p2").client().value("SELECT current_database()"), "p2");
}

#[test]
fn every_login_method_works_and_refuses() {
    let mut postgres = Postgres::start_with(PostgresOptions { auth: ServerAuth::Md5, ..Default::default() });
    let asked = |postgres: &Postgres, user: &str| {
        postgres.login(user, "p0").password(&format!("{user}-secret")).client().method
    };
    assert_eq!(asked(&postgres, "md5er"), Method::Md5);
    assert_eq!(asked(&postgres, "app"), Method::Scram);
    for user in ["md5er", "app"] {
        assert_eq!(postgres.login(user, "p0").password("wrong").refusal().sqlstate, "28P01");
    }
    postgres.set_auth(ServerAuth::Password);
    assert_eq!(asked(&postgres, "app"), Method::Plain);
}

#[test]
fn a_cancel_ends_a_query_and_a_watch_sees_the_peak() {
    let postgres = Postgres::start();
    let watch = postgres.watch("usename = 'app'");
    let mut client = postgres.login("app", "p0").client();
    let key = client.cancel_key();
    client.send(Batch::new().query("SELECT pg_sleep(60)").bytes()).unwrap();
    postgres.wait_for_sessions("state = 'active' AND query LIKE '%pg_sleep%'", 1);
    watch.wait_until(1);
    key.cancel().unwrap();
    let messages = client.cycle().unwrap();
    assert_eq!(tags(&messages), "TEZ");
    assert_eq!(watch.highest(), 1);
}

#[test]
fn the_fake_server_lets_in_and_answers() {
    let server = FakeServer::start(|_, peer| {
        peer.welcome()?;
        peer.serve()
    });
    let login = Login::new(Address::v4(server.port()), "me", "db").patience(Duration::from_secs(5));
    let mut client = login.client();
    assert_eq!(client.value("SELECT 1"), "1");
    client.leave();
    assert_eq!(server.accepted(), 1);
    assert_eq!(server.failures(), Vec::<String>::new());
}
