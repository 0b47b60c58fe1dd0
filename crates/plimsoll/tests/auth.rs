//! Who may enter at our door: trust, plain, md5 and SCRAM from all three kinds of secret, and every refusal.

#![allow(clippy::unwrap_used)]

mod common;

use common::{house, wait_for_pool};
use plimsoll_testkit::{Ini, Method, Packet, Plimsoll, Postgres, ServerError, scram_secret};

const PASSWORD: &str = "app-secret";

/// A pooler whose auth_file holds `app`'s password as plain text, MD5 and SCRAM: as the users `app`, `hashed` and
/// `salted`. All come to PostgreSQL as `app`.
fn three_secrets(auth_type: &str) -> (Postgres, Plimsoll) {
    house(|ini| {
        let forced = ["p0", "p1"].into_iter().fold(ini, |ini, name| {
            let connection = connection_of(&ini, name);
            ini.database(name, &format!("{connection} user=app"))
        });
        forced
            .set("auth_type", auth_type)
            .login_md5("hashed", PASSWORD)
            .login("salted", &scram_secret(PASSWORD, b"a salt of sixteen", 4096))
    })
}

fn connection_of(ini: &Ini, name: &str) -> String {
    let text = ini.text();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
    String::from(line.split_once(" = ").unwrap().1)
}

fn comes_in(plimsoll: &Plimsoll, user: &str) -> Method {
    let mut client = plimsoll.login(user, "p0").password(PASSWORD).client();
    assert_eq!(client.value("SELECT current_user"), "app", "{user}");
    client.method
}

/// Refused with these words, in our shape: FATAL, the true SQLSTATE.
#[track_caller]
fn refused(error: &ServerError, sqlstate: &str, message: &str) {
    let seen = (error.severity.as_str(), error.sqlstate.as_str(), error.message.as_str());
    assert_eq!(seen, ("FATAL", sqlstate, message));
}

#[test]
fn trust_lets_known_users_in() {
    let (_postgres, plimsoll) = three_secrets("trust");
    for user in ["app", "hashed", "salted"] {
        assert_eq!(comes_in(&plimsoll, user), Method::Trust, "{user}");
    }
    refused(&plimsoll.login("nobody", "p0").refusal(), "28000", "\"trust\" authentication failed");
    plimsoll.still_works(&["p0"]);
}

#[test]
fn any_lets_everybody_in_as_the_forced_user() {
    let (_postgres, plimsoll) = three_secrets("any");
    assert_eq!(comes_in(&plimsoll, "whoever"), Method::Trust);
}

#[test]
fn plain_checks_against_all_kinds_of_secret() {
    let (_postgres, plimsoll) = three_secrets("plain");
    for user in ["app", "hashed", "salted"] {
        assert_eq!(comes_in(&plimsoll, user), Method::Plain, "{user}");
        for wrong in ["wrong", "app-secre", "app-secret "] {
            let error = plimsoll.login(user, "p0").password(wrong).refusal();
            refused(&error, "28P01", "password authentication failed");
        }
        let error = plimsoll.login(user, "p0").password("").refusal();
        refused(&error, "28P01", "empty password returned by client");
    }
    let error = plimsoll.login("nobody", "p0").password(PASSWORD).refusal();
    refused(&error, "28P01", "password authentication failed");
}

#[test]
fn md5_uses_scram_where_the_secret_is_one() {
    let (_postgres, plimsoll) = three_secrets("md5");
    let methods = [("app", Method::Md5), ("hashed", Method::Md5), ("salted", Method::Scram)];
    for (user, method) in methods {
        assert_eq!(comes_in(&plimsoll, user), method, "{user}");
        let error = plimsoll.login(user, "p0").password("wrong").refusal();
        let words = match method {
            Method::Scram => "SASL authentication failed",
            Method::Md5 | Method::Plain | Method::Trust => "password authentication failed",
        };
        refused(&error, "28P01", words);
    }
    let error = plimsoll.login("nobody", "p0").password(PASSWORD).refusal();
    refused(&error, "28P01", "password authentication failed");
}

#[test]
fn scram_takes_plain_and_scram_secrets() {
    let (_postgres, plimsoll) = three_secrets("scram-sha-256");
    for user in ["app", "salted"] {
        assert_eq!(comes_in(&plimsoll, user), Method::Scram, "{user}");
    }
    let refusals = [("app", "wrong"), ("salted", "wrong"), ("hashed", PASSWORD), ("nobody", PASSWORD)];
    for (user, password) in refusals {
        let error = plimsoll.login(user, "p0").password(password).refusal();
        refused(&error, "28P01", "SASL authentication failed");
    }
    plimsoll.wait_for_log("user has MD5 secret", common::SOON);
}

#[test]
fn an_unknown_database_is_named_only_to_those_who_may_enter() {
    for (auth_type, words) in
        [("md5", "password authentication failed"), ("scram-sha-256", "SASL authentication failed")]
    {
        let (_postgres, plimsoll) = house(|ini| ini.set("auth_type", auth_type));
        let good = plimsoll.login("app", "nowhere").password(PASSWORD).refusal();
        refused(&good, "3D000", "no such database: nowhere");
        let bad = plimsoll.login("app", "nowhere").password("wrong").refusal();
        refused(&bad, "28P01", words);
        let neither = plimsoll.login("nobody", "nowhere").password("wrong").refusal();
        refused(&neither, "28P01", words);
        plimsoll.wait_for_log("no such database: nowhere", common::SOON);
    }
}

#[test]
fn the_mock_exchange_asks_the_same_of_unknown_users() {
    let (_postgres, plimsoll) = three_secrets("scram-sha-256");
    let asked = |user: &str| {
        let mut client = plimsoll.login(user, "p0").knock().unwrap();
        client.send(&plimsoll.login(user, "p0").startup_packet()).unwrap();
        let first = client.read().unwrap();
        let hello = Packet::typed(b'p').text("SCRAM-SHA-256").value(Some(b"n,,n=,r=abcdefghijkl"));
        client.send(&hello.bytes()).unwrap();
        let challenge = client.read().unwrap();
        let text = String::from_utf8_lossy(&challenge.body[4..]).into_owned();
        let salt = text.split(',').find(|part| part.starts_with("s=")).unwrap().to_owned();
        let iterations = text.split(',').find(|part| part.starts_with("i=")).unwrap().to_owned();
        (first, salt, iterations)
    };
    let known = asked("salted");
    let unknown = asked("nobody");
    assert_eq!((&known.0, &known.2), (&unknown.0, &unknown.2));
    // The salt of an unknown user is the same each time, as a stored one would be, and another's is another.
    assert_eq!(asked("nobody"), unknown);
    assert_ne!(asked("somebody").1, unknown.1);
}

#[test]
fn dialogues_that_break_the_rules_are_refused() {
    let (_postgres, plimsoll) = three_secrets("scram-sha-256");
    let hello = |mechanism: &str, first: &str| {
        Packet::typed(b'p').text(mechanism).value(Some(first.as_bytes())).bytes()
    };
    let cases = [
        (hello("SCRAM-SHA-1", "n,,n=,r=abc"), "client selected an invalid SASL authentication mechanism"),
        (hello("SCRAM-SHA-256", "p=tls-unique,,n=,r=abc"), "SASL authentication failed"),
        (hello("SCRAM-SHA-256", "n,a=other,n=,r=abc"), "SASL authentication failed"),
        (hello("SCRAM-SHA-256", "garbage"), "SASL authentication failed"),
    ];
    for (bytes, words) in cases {
        let mut client = plimsoll.login("app", "p0").knock().unwrap();
        client.send(&plimsoll.login("app", "p0").startup_packet()).unwrap();
        assert_eq!(client.read().unwrap().tag, b'R');
        client.send(&bytes).unwrap();
        let error = client.expect_closed().expect("a reason");
        assert_eq!((error.severity.as_str(), error.message.as_str()), ("FATAL", words));
    }
    // A query instead of a password.
    let mut client = plimsoll.login("app", "p0").knock().unwrap();
    client.send(&plimsoll.login("app", "p0").startup_packet()).unwrap();
    assert_eq!(client.read().unwrap().tag, b'R');
    client.send(plimsoll_testkit::Batch::new().query("SELECT 1").bytes()).unwrap();
    assert!(client.expect_closed().is_none_or(|error| error.severity == "FATAL"));
    assert_eq!(comes_in(&plimsoll, "app"), Method::Scram);
}

#[test]
fn as_pgbouncer_everything_is_08p01_and_three_fields() {
    let (_postgres, plimsoll) = house(|ini| ini.set("auth_type", "md5").own("compat", "pgbouncer"));
    let errors = [
        plimsoll.login("app", "p0").password("wrong").refusal(),
        plimsoll.login("app", "nowhere").password(PASSWORD).refusal(),
        plimsoll.login("app", "pgbouncer").password(PASSWORD).refusal(),
        plimsoll.login("app", "p0").parameter("nonsense", "1").refusal(),
    ];
    let words = [
        "password authentication failed",
        "no such database: nowhere",
        "not allowed",
        "unsupported startup parameter: nonsense",
    ];
    for (error, words) in errors.iter().zip(words) {
        assert_eq!((error.letters.as_str(), error.message.as_str()), ("SCM", words));
        refused(error, "08P01", words);
    }
    let own = house(|ini| ini.set("auth_type", "md5"));
    let error = own.1.login("app", "nowhere").password(PASSWORD).refusal();
    assert!(error.letters.starts_with("SCM") || error.letters.starts_with("SVCM"), "{}", error.letters);
    assert!(error.hint.is_some_and(|hint| hint.contains("[databases]")));
}

#[test]
fn the_console_asks_who_is_there() {
    let (_postgres, plimsoll) = house(|ini| ini.set("auth_type", "scram-sha-256"));
    // Before any password.
    refused(&plimsoll.login("app", "pgbouncer").refusal(), "42501", "not allowed");
    let wrong = plimsoll.login("admin", "pgbouncer").password("wrong").refusal();
    refused(&wrong, "28P01", "SASL authentication failed");
    let mut admin = plimsoll.login("admin", "pgbouncer").password("admin-secret").client();
    assert_eq!(admin.query("SHOW VERSION").rows.len(), 1);
    let mut stats = plimsoll.login("stats", "pgbouncer").password("stats-secret").client();
    assert_eq!(stats.query("SHOW VERSION").rows.len(), 1);
    assert_eq!(stats.fail("PAUSE").message, "admin access needed");
    assert_eq!(stats.query("SHOW VERSION").rows.len(), 1);
}

#[test]
fn the_same_unix_user_is_admin_without_a_password() {
    let (_postgres, plimsoll) = house(|ini| ini.set("auth_type", "scram-sha-256"));
    let (status, output) = plimsoll_testkit::run_beside("psql", |command| {
        command.arg("-XAtw").args(["-h", &plimsoll.dir().display().to_string()]);
        command.args([
            "-p",
            &plimsoll.port().to_string(),
            "-U",
            "pgbouncer",
            "pgbouncer",
            "-c",
            "SHOW POOLS",
        ]);
    });
    assert!(status.success(), "{output}");
    assert!(output.contains("pgbouncer|pgbouncer"), "{output}");
}

#[test]
fn secrets_of_users_change_with_a_reload() {
    let postgres = Postgres::start();
    let ini = Ini::new(&postgres).set("auth_type", "scram-sha-256");
    let plimsoll = common::pooler(ini.clone());
    let mut old = plimsoll.login("app", "p0").password(PASSWORD).client();
    old.query("SELECT 1");
    let mut console = plimsoll.console();
    plimsoll.rewrite(&ini.login("app", "new-secret").without_login("other"));
    console.query("RELOAD");
    let error = plimsoll.login("app", "p0").password(PASSWORD).refusal();
    refused(&error, "28P01", "SASL authentication failed");
    plimsoll.login("app", "p0").password("new-secret").client().query("SELECT 1");
    let error = plimsoll.login("other", "p0").password("other-secret").refusal();
    refused(&error, "28P01", "SASL authentication failed");
    assert_eq!(old.value("SELECT 'still here'"), "still here");
    wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 0)]);
}

#[test]
fn odd_names_and_passwords_work() {
    let postgres = Postgres::start();
    postgres.sql("CREATE ROLE \"Ödd \"\"role\"\" 1\" LOGIN");
    let password = "pä ss\"'\\;wörd";
    let long = "l".repeat(1_000);
    for auth_type in ["plain", "md5", "scram-sha-256"] {
        let ini = Ini::new(&postgres).set("auth_type", auth_type).login("Ödd \"role\" 1", password);
        let plimsoll = common::pooler(ini.login("boss", &long));
        let mut client = plimsoll.login("Ödd \"role\" 1", "p0").password(password).client();
        assert_eq!(client.value("SELECT current_user"), "Ödd \"role\" 1", "{auth_type}");
        plimsoll.login("boss", "p0").password(&long).client().query("SELECT 1");
        let error = plimsoll.login("Ödd \"role\" 1", "p0").password("pä").refusal();
        assert_eq!(error.severity, "FATAL", "{auth_type}");
    }
}
