//! The contract of a drop-in for who may come in (reference 3.2 "Authentication", 3.4): see `conformance.rs`.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::SOON;
use common::contract::{fatal, house, house_with, line, logged, start};
use plimsoll_testkit::{
    Ini, Method, Packet, Plimsoll, Postgres, PostgresOptions, ServerAuth, run_beside, scram_secret,
};

const PASSWORD: &str = "app-secret";

/// auth_file has `app`'s password as plain text, MD5 and SCRAM, as the users `app`, `hashed` and `salted`, and nothing
/// for `blank`. All come to PostgreSQL as `app`.
fn three_secrets(auth_type: &str) -> (Postgres, Plimsoll) {
    let postgres = Postgres::start();
    let forced = format!("{} user=app password={PASSWORD}", line(&postgres, "p0"));
    let plimsoll = start(
        Ini::new(&postgres)
            .set("auth_type", auth_type)
            .database("p0", &forced)
            .login_md5("hashed", PASSWORD)
            .login("salted", &scram_secret(PASSWORD, b"a salt of sixteen", 4096))
            .login("blank", ""),
    );
    (postgres, plimsoll)
}

/// How somebody is refused who is in no file.
fn words_for_nobody(auth_type: &str) -> &'static str {
    match auth_type {
        "trust" => "\"trust\" authentication failed",
        "scram-sha-256" => "SASL authentication failed",
        _ => "password authentication failed",
    }
}

/// What a user is asked for, or told.
type Wanted = Result<Method, &'static str>;

#[test]
fn each_secret_meets_each_type() {
    let password = "password authentication failed";
    let sasl = "SASL authentication failed";
    let cases: [(&str, [(&str, Wanted); 4]); 4] = [
        (
            "trust",
            [
                ("app", Ok(Method::Trust)),
                ("hashed", Ok(Method::Trust)),
                ("salted", Ok(Method::Trust)),
                ("blank", Ok(Method::Trust)),
            ],
        ),
        (
            "plain",
            [
                ("app", Ok(Method::Plain)),
                ("hashed", Ok(Method::Plain)),
                ("salted", Ok(Method::Plain)),
                ("blank", Err(password)),
            ],
        ),
        (
            "md5",
            [
                ("app", Ok(Method::Md5)),
                ("hashed", Ok(Method::Md5)),
                ("salted", Ok(Method::Scram)),
                ("blank", Err(password)),
            ],
        ),
        (
            "scram-sha-256",
            [
                ("app", Ok(Method::Scram)),
                ("hashed", Err(sasl)),
                ("salted", Ok(Method::Scram)),
                ("blank", Err(sasl)),
            ],
        ),
    ];
    for (auth_type, users) in cases {
        let (_postgres, plimsoll) = three_secrets(auth_type);
        for (user, wanted) in users {
            let login = plimsoll.login(user, "p0").password(PASSWORD);
            match wanted {
                Ok(method) => {
                    let mut client = login.client();
                    assert_eq!((client.method, client.value("SELECT current_user")), (method, "app".into()));
                    let wrong = match method {
                        Method::Trust => continue,
                        Method::Plain | Method::Md5 => password,
                        Method::Scram => sasl,
                    };
                    fatal(&login.password("wrong").refusal(), wrong);
                }
                Err(message) => fatal(&login.refusal(), message),
            }
        }
        let unknown = words_for_nobody(auth_type);
        fatal(&plimsoll.login("nobody", "p0").password(PASSWORD).refusal(), unknown);
        if auth_type == "scram-sha-256" {
            plimsoll.wait_for_log("user has MD5 secret", SOON);
        }
        logged(&plimsoll, 0, unknown);
    }
}

#[test]
fn any_lets_everybody_in_as_the_forced_user() {
    let (_postgres, plimsoll) = three_secrets("any");
    let mut client = plimsoll.client("whoever", "p0");
    assert_eq!((client.method, client.value("SELECT current_user")), (Method::Trust, "app".into()));
}

#[test]
fn passwords_that_are_none_are_refused() {
    let (_postgres, plimsoll) = three_secrets("plain");
    fatal(&plimsoll.login("app", "p0").password("").refusal(), "empty password returned by client");
    let (_postgres, plimsoll) = three_secrets("scram-sha-256");
    let hello = |mechanism: &str, first: &str| {
        Packet::typed(b'p').text(mechanism).value(Some(first.as_bytes())).bytes()
    };
    for (bytes, message) in [
        (hello("SCRAM-SHA-1", "n,,n=,r=abc"), "client selected an invalid SASL authentication mechanism"),
        (hello("SCRAM-SHA-256", "p=tls-unique,,n=,r=abc"), "SASL authentication failed"),
        (hello("SCRAM-SHA-256", "n,a=other,n=,r=abc"), "SASL authentication failed"),
        (hello("SCRAM-SHA-256", "garbage"), "SASL authentication failed"),
    ] {
        let login = plimsoll.login("app", "p0");
        let mut client = login.knock().unwrap();
        client.send(&login.startup_packet()).unwrap();
        assert_eq!(client.read().unwrap().tag, b'R');
        client.send(&bytes).unwrap();
        fatal(&client.expect_closed().expect("a reason"), message);
    }
}

/// What is asked of a user after a first message of SCRAM: salt and iterations.
fn asked(plimsoll: &Plimsoll, user: &str) -> (String, String) {
    let login = plimsoll.login(user, "p0");
    let mut client = login.knock().unwrap();
    client.send(&login.startup_packet()).unwrap();
    assert_eq!(client.read().unwrap().tag, b'R');
    let hello = Packet::typed(b'p').text("SCRAM-SHA-256").value(Some(b"n,,n=,r=abcdefghijkl"));
    client.send(&hello.bytes()).unwrap();
    let challenge = client.read().unwrap();
    let text = String::from_utf8_lossy(&challenge.body[4..]).into_owned();
    let part = |name: &str| text.split(',').find(|part| part.starts_with(name)).unwrap().to_owned();
    (part("s="), part("i="))
}

#[test]
fn who_is_not_there_is_asked_the_same() {
    let (_postgres, plimsoll) = three_secrets("scram-sha-256");
    let (salt, iterations) = asked(&plimsoll, "nobody");
    assert_eq!(
        (asked(&plimsoll, "nobody"), asked(&plimsoll, "salted").1),
        ((salt.clone(), iterations.clone()), iterations)
    );
    assert_ne!(asked(&plimsoll, "somebody").0, salt);
}

#[test]
fn a_database_is_missed_only_by_who_may_come_in() {
    for (auth_type, wrong) in [
        ("plain", "password authentication failed"),
        ("md5", "password authentication failed"),
        ("scram-sha-256", "SASL authentication failed"),
    ] {
        let (_postgres, plimsoll) = house(|ini| ini.set("auth_type", auth_type));
        fatal(&plimsoll.login("app", "nowhere").password("wrong").refusal(), wrong);
        fatal(&plimsoll.login("nobody", "nowhere").password("wrong").refusal(), wrong);
        let error = plimsoll.login("app", "nowhere").password(PASSWORD).refusal();
        fatal(&error, "no such database: nowhere");
        logged(&plimsoll, 0, "no such database: nowhere");
        plimsoll.console().query("DISABLE p0");
        fatal(&plimsoll.login("app", "p0").password("wrong").refusal(), wrong);
        fatal(&plimsoll.login("app", "p0").password(PASSWORD).refusal(), "database \"p0\" is disabled");
    }
}

#[test]
fn the_console_knows_its_users() {
    let (_postgres, plimsoll) = house(|ini| ini.set("auth_type", "scram-sha-256"));
    // Before any password.
    let login = plimsoll.login("app", "pgbouncer");
    let mut client = login.knock().unwrap();
    client.send(&login.startup_packet()).unwrap();
    assert_eq!(client.read().unwrap().tag, b'E');
    fatal(&login.refusal(), "not allowed");
    let wrong = plimsoll.login("admin", "pgbouncer").password("wrong").refusal();
    fatal(&wrong, "SASL authentication failed");
    for (user, password) in [("admin", "admin-secret"), ("stats", "stats-secret")] {
        let mut console = plimsoll.login(user, "pgbouncer").password(password).client();
        assert_eq!(console.query("SHOW VERSION").rows.len(), 1, "{user}");
    }
    let (status, output) = run_beside("psql", |command| {
        let (folder, port) = (plimsoll.dir().display().to_string(), plimsoll.port().to_string());
        command.args([
            "-XAtw",
            "-h",
            &folder,
            "-p",
            &port,
            "-U",
            "pgbouncer",
            "pgbouncer",
            "-c",
            "SHOW VERSION",
        ]);
    });
    assert!(status.success() && output.contains("PgBouncer 1."), "{output}");
}

#[test]
fn the_file_of_secrets_is_read_leniently_and_again() {
    let postgres = Postgres::start();
    let ini = Ini::new(&postgres).set("auth_type", "plain");
    let plimsoll = start(ini.clone());
    let file = plimsoll.dir().join("userlist.txt");
    let mut text = fs::read_to_string(&file).unwrap();
    text.push_str("; a comment\n\n\"ex\"\"tra\"   \"se\"\"cret\" and something behind\n\"app2\" \"x\"\n");
    fs::write(&file, text.replace("\"app-secret\"", "\"changed\"")).unwrap();
    let mut console = plimsoll.login("admin", "pgbouncer").password("admin-secret").client();
    console.query("RELOAD");
    fatal(&plimsoll.login("app", "p0").password(PASSWORD).refusal(), "password authentication failed");
    assert_eq!(plimsoll.login("app", "p0").password("changed").client().value("SELECT 1"), "1");
    for (user, password) in [("ex\"tra", "se\"cret"), ("app2", "x")] {
        let error = plimsoll.login(user, "p0").password(password).refusal();
        assert_eq!(error.message, format!("role \"{user}\" does not exist"));
    }
}

/// A pooler that asks `query` on behalf of who is in no file.
fn asking(query: &str, change: impl FnOnce(Ini) -> Ini) -> (Postgres, Plimsoll) {
    let postgres = Postgres::start();
    postgres.sql("SET password_encryption = 'md5'; CREATE ROLE looked LOGIN PASSWORD 'looked-secret'");
    postgres.sql("CREATE ROLE looker LOGIN SUPERUSER");
    let ini =
        Ini::new(&postgres).set("auth_type", "plain").set("auth_user", "looker").set("auth_query", query);
    let plimsoll = start(change(ini.login("looker", "x")));
    (postgres, plimsoll)
}

#[test]
fn questions_that_fail_are_the_poolers_fault() {
    let cases = [
        ("SELECT 1 WHERE $1 <> ''", "bouncer config error"),
        ("SELECT usename, usename, usename FROM pg_user WHERE usename = $1", "bouncer config error"),
        ("SELECT NULL::text, 'x' WHERE $1 <> ''", "bouncer config error"),
        ("SELECT * FROM not_there WHERE x = $1", "bouncer config error"),
        ("SELECT 'x', 'y' WHERE $1 = ''", "no such user"),
        ("SELECT $1::text, NULL::text", "password authentication failed"),
    ];
    let (postgres, plimsoll) = asking(cases[0].0, |ini| ini);
    for (query, message) in cases {
        let ini = Ini::new(&postgres).set("auth_type", "plain").set("auth_user", "looker");
        plimsoll.rewrite(&ini.set("auth_query", query).login("looker", "x"));
        plimsoll.console().query("RELOAD");
        let mark = plimsoll.log_mark();
        let error = plimsoll.login("looked", "p0").password("looked-secret").refusal();
        fatal(&error, message);
        logged(&plimsoll, mark, message);
    }
}

#[test]
fn lines_may_ask_questions_of_their_own() {
    let query = "SELECT usename, passwd FROM pg_shadow WHERE usename = $1";
    let (postgres, plimsoll) = asking(query, |ini| ini);
    let mut client = plimsoll.login("looked", "p0").password("looked-secret").client();
    assert_eq!(client.value("SELECT current_user"), "looked");
    // Every login asks anew.
    postgres.sql("SET password_encryption = 'md5'; ALTER ROLE looked PASSWORD 'another'");
    let old = plimsoll.login("looked", "p0").password("looked-secret").refusal();
    fatal(&old, "password authentication failed");
    assert_eq!(plimsoll.login("looked", "p0").password("another").client().value("SELECT 1"), "1");
    let connection = format!("{} auth_user=other", line(&postgres, "p1"));
    let ini = Ini::new(&postgres).set("auth_type", "plain").set("auth_user", "looker");
    plimsoll.rewrite(&ini.set("auth_query", query).login("looker", "x").database("p1", &connection));
    plimsoll.console().query("RELOAD");
    let error = plimsoll.login("looked", "p1").password("another").refusal();
    fatal(&error, "bouncer config error");
}

#[test]
fn rules_choose_by_the_way_in() {
    let postgres = Postgres::start();
    postgres.sql("CREATE ROLE postgres2 LOGIN");
    let dir = plimsoll_testkit::TempDir::new("conformance-hba");
    let file = dir.path().join("hba");
    fs::write(
        &file,
        "# a comment\nlocal p0 all peer\nlocal p1 app,other trust\nnonsense line\n\
         host sameuser app 127.0.0.1 255.255.255.255 trust\nhost p0 \"app\" 127.0.0.1/32 password\n\
         hostssl p1 all 0.0.0.0/0 trust\nhostnossl p1 app 0.0.0.0/0 reject\nhost p2 app 0.0.0.0/0 scram-sha-256",
    )
    .unwrap();
    let ini = Ini::new(&postgres).set("auth_type", "hba").set("auth_hba_file", &file.display().to_string());
    let plimsoll = start(ini.login("postgres", "x"));
    plimsoll.wait_for_log("hba line 4", SOON);
    let mut client = plimsoll.login("app", "p0").password(PASSWORD).client();
    assert_eq!((client.method, client.value("SELECT 1")), (Method::Plain, "1".into()));
    let local = |user: &str, database: &str| plimsoll.login(user, database).at(plimsoll.unix_address());
    fatal(&local("app", "p0").refusal(), "unix socket login rejected");
    assert_eq!(local("app", "p1").client().value("SELECT 1"), "1");
    assert_eq!(local("other", "p1").client().value("SELECT 1"), "1");
    fatal(&plimsoll.login("app", "p1").refusal(), "login rejected");
    let client = plimsoll.login("app", "p2").password(PASSWORD).client();
    assert_eq!(client.method, Method::Scram);
}

fn stored(postgres: &Postgres, role: &str) -> String {
    postgres
        .sql(&format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'"))
        .cell(0, "rolpassword")
        .into()
}

#[test]
fn servers_are_answered_with_what_is_known() {
    for auth in [ServerAuth::Password, ServerAuth::Md5, ServerAuth::Scram] {
        let postgres = Postgres::start_with(PostgresOptions { auth, ..Default::default() });
        let forced = format!("{} user=other", line(&postgres, "p0"));
        let plimsoll = start(
            Ini::new(&postgres)
                .login("app", "wrong for the server")
                .database("file", &forced)
                .database("line", &format!("{forced} password='other-secret'")),
        );
        for database in ["file", "line"] {
            assert_eq!(plimsoll.client("app", database).value("SELECT current_user"), "other", "{auth:?}");
        }
        assert_eq!(plimsoll.client("boss", "p0").value("SELECT current_user"), "boss", "{auth:?}");
        let error = plimsoll.login("app", "p0").refusal();
        assert_eq!(error.message, "password authentication failed for user \"app\"", "{auth:?}");
    }
}

#[test]
fn keys_of_scram_are_passed_through() {
    let options = PostgresOptions { auth: ServerAuth::Scram, ..Default::default() };
    let (postgres, plimsoll) = house_with(options, |ini| ini);
    let secret = stored(&postgres, "app");
    let ini = |auth_type: &str| Ini::new(&postgres).set("auth_type", auth_type).login("app", &secret);
    for auth_type in ["scram-sha-256", "md5"] {
        let plimsoll = start(ini(auth_type));
        let mut client = plimsoll.login("app", "p0").password(PASSWORD).client();
        assert_eq!((client.method, client.value("SELECT current_user")), (Method::Scram, "app".into()));
    }
    // Without a login by SCRAM there are no keys.
    for ini in [ini("trust"), ini("trust").login_md5("app", PASSWORD)] {
        let plimsoll = start(ini.set("client_login_timeout", "2"));
        let error = plimsoll.login("app", "p0").password(PASSWORD).refusal();
        fatal(&error, "server login failed: wrong password type");
        plimsoll.wait_for_log("closing because: failed to answer authreq", SOON);
    }
    drop(plimsoll);
}

/// 1.18 does not quote the server's answer, and takes a line of [users] for a login.
#[test]
fn modern_settings_are_no_login_and_servers_are_quoted() {
    let query = "SELECT * FROM not_there WHERE x = $1";
    let (_postgres, plimsoll) = asking(query, |ini| ini.user("settled", "pool_mode=session"));
    fatal(&plimsoll.login("settled", "p0").password("x").refusal(), "bouncer config error");
    plimsoll.wait_for_log("S: error in auth_query: ERROR: relation \"not_there\" does not exist", SOON);
    let (_postgres, plimsoll) = house(|ini| ini.user("settled", "pool_mode=session"));
    fatal(&plimsoll.login("settled", "p0").refusal(), "\"trust\" authentication failed");
    assert_eq!(plimsoll.show("USERS").count(&[("name", "settled")]), 1);
    assert_eq!(plimsoll.show("USERS").count(&[("name", "nobody")]), 0);
}

/// 1.18 has no auth_dbname.
#[test]
fn modern_questions_may_be_asked_elsewhere() {
    let query = "SELECT usename, passwd FROM pg_shadow WHERE usename = $1";
    let (postgres, plimsoll) = asking(query, |ini| ini.set("auth_dbname", "p1"));
    let mut console = plimsoll.login("admin", "pgbouncer").password("admin-secret").client();
    console.query("DISABLE p1");
    let login = plimsoll.login("looked", "p0").password("looked-secret");
    fatal(&login.refusal(), "authentication database \"p1\" is disabled");
    console.query("ENABLE p1");
    assert_eq!(login.client().value("SELECT 1"), "1");
    console.fail("SET auth_dbname = 'pgbouncer'");
    plimsoll.wait_for_log("cannot use the reserved \"pgbouncer\" database as an auth_dbname", SOON);
    let connection = format!("{} auth_dbname=pgbouncer", line(&postgres, "p0"));
    let ini = Ini::new(&postgres).set("auth_type", "plain").set("auth_user", "looker").login("looker", "x");
    plimsoll.rewrite(&ini.set("auth_query", query).database("p0", &connection));
    console.query("RELOAD");
    fatal(&login.refusal(), "bouncer config error");
}
