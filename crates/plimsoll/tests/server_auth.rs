//! How we come in at PostgreSQL's door, and what clients hear when we do not.

#![allow(clippy::unwrap_used)]

mod common;

use common::{SOON, house_with};
use plimsoll_testkit::{Ini, Method, Plimsoll, Postgres, PostgresOptions, ServerAuth, eventually_ok};

fn with_auth(auth: ServerAuth, change: impl FnOnce(Ini) -> Ini) -> (Postgres, Plimsoll) {
    house_with(PostgresOptions { auth, ..Default::default() }, change)
}

/// The secret of a role as PostgreSQL has it.
fn stored(postgres: &Postgres, role: &str) -> String {
    postgres
        .sql(&format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'"))
        .cell(0, "rolpassword")
        .into()
}

#[test]
fn plain_secrets_answer_every_question_of_the_server() {
    for auth in [ServerAuth::Trust, ServerAuth::Password, ServerAuth::Md5, ServerAuth::Scram] {
        let (_postgres, plimsoll) = with_auth(auth, |ini| ini);
        assert_eq!(plimsoll.client("app", "p0").value("SELECT current_user"), "app", "{auth:?}");
        if auth != ServerAuth::Scram {
            assert_eq!(plimsoll.client("md5er", "p0").value("SELECT current_user"), "md5er", "{auth:?}");
        }
    }
}

#[test]
fn an_md5_secret_answers_an_md5_question() {
    let (_postgres, plimsoll) = with_auth(ServerAuth::Md5, |ini| ini.login_md5("md5er", "md5er-secret"));
    assert_eq!(plimsoll.client("md5er", "p0").value("SELECT current_user"), "md5er");
}

#[test]
fn a_password_in_the_database_line_comes_first() {
    let (_postgres, plimsoll) = with_auth(ServerAuth::Scram, |ini| {
        let line =
            ini.text().lines().find(|line| line.starts_with("p0 = ")).unwrap()["p0 = ".len()..].to_owned();
        ini.database("forced", &format!("{line} user=other password=other-secret"))
            .database("quoted", &format!("{line} user=other password='other-secret'"))
            .database("file", &format!("{line} user=other"))
            .login("app", "wrong for the server")
    });
    for database in ["forced", "quoted", "file"] {
        assert_eq!(plimsoll.client("app", database).value("SELECT current_user"), "other", "{database}");
    }
}

#[test]
fn the_same_scram_secret_passes_keys_through() {
    let postgres = Postgres::start_with(PostgresOptions { auth: ServerAuth::Scram, ..Default::default() });
    for door in ["scram-sha-256", "md5"] {
        let ini = Ini::new(&postgres).set("auth_type", door).login("app", &stored(&postgres, "app"));
        let plimsoll = common::pooler(ini);
        for _ in 0..3 {
            let mut client = plimsoll.login("app", "p0").password("app-secret").client();
            assert_eq!(client.method, Method::Scram, "{door}");
            assert_eq!(client.value("SELECT current_user"), "app", "{door}");
        }
        let error = plimsoll.login("app", "p0").password("wrong").refusal();
        assert_eq!(error.message, "SASL authentication failed", "{door}");
    }
}

#[test]
fn an_ad_hoc_verifier_never_becomes_a_key() {
    // The door knows a plain password; its random salt makes keys the server would not take. The plain password is
    // used instead, and where that is wrong for the server, the server's refusal is what is told.
    let (_postgres, plimsoll) = with_auth(ServerAuth::Scram, |ini| ini.set("auth_type", "scram-sha-256"));
    let mut client = plimsoll.login("app", "p0").password("app-secret").client();
    assert_eq!(client.value("SELECT 1"), "1");
    let (_postgres, plimsoll) = with_auth(ServerAuth::Scram, |ini| {
        ini.set("auth_type", "scram-sha-256").login("app", "only at the door")
    });
    let error = plimsoll.login("app", "p0").password("only at the door").refusal();
    assert_eq!((error.severity.as_str(), error.sqlstate.as_str()), ("FATAL", "28P01"));
    assert_eq!(error.message, "password authentication failed for user \"app\"");
}

#[test]
fn a_secret_that_cannot_answer_is_named_as_the_cause() {
    let postgres = Postgres::start_with(PostgresOptions { auth: ServerAuth::Scram, ..Default::default() });
    let scram = stored(&postgres, "app");
    let cases = [
        Ini::new(&postgres).login("app", &scram),
        Ini::new(&postgres).login_md5("app", "app-secret"),
        Ini::new(&postgres).set("auth_type", "md5").login_md5("app", "app-secret"),
    ];
    for ini in cases {
        let plimsoll = common::pooler(ini);
        let error = plimsoll.login("app", "p0").password("app-secret").refusal();
        assert_eq!(error.severity, "FATAL");
        assert_eq!(error.message, "server login failed: wrong password type");
        // Others are not harmed.
        assert_eq!(plimsoll.login("boss", "p0").password("boss-secret").client().value("SELECT 1"), "1");
    }
}

#[test]
fn refusals_of_the_server_are_passed_on() {
    let (postgres, plimsoll) = with_auth(ServerAuth::Scram, |ini| {
        let nowhere = format!("host=127.0.0.1 port={} dbname=nowhere", port_of(&ini));
        ini.login("app", "wrong")
            .login("ghost", "x")
            .database("nowhere", &nowhere)
            .set("server_login_retry", "1")
    });
    postgres.sql("ALTER ROLE other NOLOGIN");
    let cases = [
        (plimsoll.login("app", "p0").refusal(), "28P01", "password authentication failed for user \"app\""),
        (
            plimsoll.login("ghost", "p0").refusal(),
            "28P01",
            "password authentication failed for user \"ghost\"",
        ),
        (plimsoll.login("boss", "nowhere").refusal(), "3D000", "database \"nowhere\" does not exist"),
        (plimsoll.login("other", "p0").refusal(), "28000", "role \"other\" is not permitted to log in"),
    ];
    for (error, sqlstate, message) in &cases {
        assert_eq!((error.severity.as_str(), error.sqlstate.as_str()), ("FATAL", *sqlstate), "{message}");
        assert_eq!(error.message, *message);
    }
    assert_eq!(plimsoll.client("boss", "p0").value("SELECT 1"), "1");
    // When the cause is gone it goes on by itself.
    postgres.sql("ALTER ROLE other LOGIN");
    eventually_ok("role other to be let in", SOON, || match plimsoll.login("other", "p0").try_client() {
        Ok(mut client) => client.try_query("SELECT 1").map(drop).map_err(|failure| failure.to_string()),
        Err(failure) => Err(failure.to_string()),
    });
}

#[test]
fn a_new_pg_hba_reaches_all_waiting_clients() {
    let (mut postgres, plimsoll) = with_auth(ServerAuth::Trust, |ini| ini.set("server_login_retry", "1"));
    plimsoll.still_works(&["p0"]);
    postgres.set_auth(ServerAuth::Reject);
    postgres.terminate_sessions("usename = 'app'");
    postgres.wait_for_sessions("usename = 'app'", 0);
    let mut clients: Vec<_> = (0..3).filter_map(|_| plimsoll.login("app", "p0").try_client().ok()).collect();
    for client in &mut clients {
        let error = client.fail("SELECT 1");
        assert_eq!(error.severity, "FATAL");
        assert!(
            error.message.contains("pg_hba.conf rejects connection")
                || error.message.contains("server login has been failing"),
            "{error}"
        );
    }
    postgres.set_auth(ServerAuth::Trust);
    eventually_ok("to be let in again", SOON, || match plimsoll.login("app", "p0").try_client() {
        Ok(mut client) => client.try_query("SELECT 1").map(drop).map_err(|failure| failure.to_string()),
        Err(failure) => Err(failure.to_string()),
    });
}

fn port_of(ini: &Ini) -> u16 {
    let text = ini.text();
    let word = text.split_whitespace().find(|word| word.starts_with("port=")).unwrap();
    word["port=".len()..].parse().unwrap()
}
