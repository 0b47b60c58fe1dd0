//! auth_query: secrets that the server keeps, looked up with each login (reference 3.4).

#![allow(clippy::unwrap_used)]

mod common;

use common::{SOON, house, house_with, pooler};
use plimsoll_testkit::{Ini, Plimsoll, Postgres, PostgresOptions, ServerAuth, ServerError};

/// PostgreSQL with roles of its own, whom auth_file does not know, and a pooler whose auth_user may look them up.
fn lookups(auth_type: &str, change: impl FnOnce(Ini) -> Ini) -> (Postgres, Plimsoll) {
    let postgres = Postgres::start();
    postgres.sql("SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN PASSWORD 'hashed-secret'");
    postgres
        .sql("SET password_encryption = 'scram-sha-256'; CREATE ROLE salted LOGIN PASSWORD 'salted-secret'");
    postgres.sql("CREATE ROLE late LOGIN PASSWORD 'late-secret' VALID UNTIL '2001-01-01'");
    postgres.sql("CREATE ROLE bare LOGIN");
    postgres.sql("CREATE ROLE looker LOGIN SUPERUSER PASSWORD 'looker-secret'");
    let ini = Ini::new(&postgres).without_login("app").set("auth_type", auth_type);
    let ini = ini.set("auth_user", "looker").login("looker", "looker-secret");
    let plimsoll = pooler(change(ini));
    (postgres, plimsoll)
}

#[track_caller]
fn refused(plimsoll: &Plimsoll, user: &str, password: &str, sqlstate: &str, message: &str) -> ServerError {
    let error = plimsoll.login(user, "p0").password(password).refusal();
    assert_eq!((error.sqlstate.as_str(), error.message.as_str()), (sqlstate, message), "{user}");
    error
}

fn comes_in(plimsoll: &Plimsoll, user: &str) {
    let mut client = plimsoll.login(user, "p0").password(&format!("{user}-secret")).client();
    assert_eq!(client.value("SELECT current_user"), user);
}

#[test]
fn roles_log_in_with_the_secrets_the_server_keeps() {
    let (_postgres, plimsoll) = lookups("md5", |ini| ini);
    for _ in 0..3 {
        comes_in(&plimsoll, "hashed");
        comes_in(&plimsoll, "salted");
    }
    refused(&plimsoll, "hashed", "wrong", "28P01", "password authentication failed");
    refused(&plimsoll, "salted", "wrong", "28P01", "SASL authentication failed");
    refused(&plimsoll, "late", "late-secret", "28P01", "password authentication failed");
    refused(&plimsoll, "bare", "", "28P01", "password authentication failed");
    refused(&plimsoll, "nobody", "x", "28000", "no such user");
    // A database that does not exist asks nobody.
    let error = plimsoll.login("hashed", "nowhere").password("hashed-secret").refusal();
    assert_eq!(error.message, "password authentication failed");
}

#[test]
fn a_changed_secret_counts_at_once() {
    let (postgres, plimsoll) = lookups("scram-sha-256", |ini| ini);
    comes_in(&plimsoll, "salted");
    postgres.sql("ALTER ROLE salted PASSWORD 'another'");
    refused(&plimsoll, "salted", "salted-secret", "28P01", "SASL authentication failed");
    let mut client = plimsoll.login("salted", "p0").password("another").client();
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn the_servers_password_is_asked_for_as_well() {
    for (auth, encryption) in [(ServerAuth::Md5, "md5"), (ServerAuth::Scram, "scram-sha-256")] {
        let postgres = Postgres::start_with(PostgresOptions { auth, ..Default::default() });
        postgres.sql(&format!(
            "SET password_encryption = '{encryption}'; CREATE ROLE own LOGIN PASSWORD 'own-secret'"
        ));
        postgres.sql(&format!(
            "SET password_encryption = '{encryption}'; CREATE ROLE looker LOGIN SUPERUSER PASSWORD 'looker-secret'"
        ));
        let ini = Ini::new(&postgres).set("auth_type", "md5").set("auth_user", "looker");
        let plimsoll = pooler(ini.login("looker", "looker-secret"));
        comes_in(&plimsoll, "own");
        drop(postgres);
    }
}

#[test]
fn the_question_changes_nothing_at_the_server() {
    let (_postgres, plimsoll) = lookups("md5", |ini| {
        ini.set("default_pool_size", "1").set("track_extra_parameters", "IntervalStyle")
    });
    let login = plimsoll.login("hashed", "p0").password("hashed-secret");
    drop(login.parameter("TimeZone", "Asia/Tokyo").parameter("application_name", "shop").client());
    let mut looker = plimsoll.login("looker", "p0").password("looker-secret").client();
    assert_ne!(looker.value("SHOW TimeZone"), "Asia/Tokyo");
    assert_ne!(looker.value("SHOW application_name"), "shop");
}

#[test]
fn databases_have_their_own_question() {
    let (postgres, plimsoll) = lookups("plain", |ini| {
        let connection = |ini: &Ini, name: &str| {
            let text = ini.text();
            let line = text.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
            String::from(line.split_once(" = ").unwrap().1)
        };
        let p1 = format!(
            "{} auth_dbname=p2 auth_query='SELECT name, secret FROM people WHERE name = $1'",
            connection(&ini, "p1")
        );
        let p2 = format!("{} auth_user=app", connection(&ini, "p2"));
        ini.database("p1", &p1).database("p2", &p2)
    });
    let mut direct = postgres.login("postgres", "p2").client();
    direct.query("CREATE TABLE people (name text, secret text)");
    direct.query("INSERT INTO people VALUES ('hashed', 'people-secret'), ('nameless', NULL)");
    direct.query("GRANT SELECT ON people TO public");
    let mut client = plimsoll.login("hashed", "p1").password("people-secret").client();
    assert_eq!(client.value("SELECT current_user"), "hashed");
    let error = plimsoll.login("hashed", "p1").password("hashed-secret").refusal();
    assert_eq!(error.message, "password authentication failed");
    let error = plimsoll.login("nameless", "p1").password("x").refusal();
    assert_eq!(error.message, "password authentication failed");
    // `app` may not read pg_authid: the server's words are for the log.
    let error = plimsoll.login("hashed", "p2").password("x").refusal();
    assert_eq!((error.sqlstate.as_str(), error.message.as_str()), ("F0000", "bouncer config error"));
    plimsoll.wait_for_log("S: error in auth_query: ERROR: permission denied for table pg_authid", SOON);
    plimsoll.still_works(&[]);
}

#[test]
fn what_is_wrong_with_the_question_is_told_to_the_log() {
    let cases = [
        ("SELECT 1", "bouncer config error"),
        ("SELECT rolname, rolname, rolname FROM pg_roles WHERE rolname = $1", "bouncer config error"),
        ("SELECT NULL::text, 'x' WHERE $1 <> ''", "bouncer config error"),
        ("SELECT * FROM not_there WHERE x = $1", "bouncer config error"),
        ("SELECT 'x', 'y' WHERE $1 = ''", "no such user"),
    ];
    let (_postgres, plimsoll) = lookups("plain", |ini| ini);
    let mut console = plimsoll.login("admin", "pgbouncer").password("admin-secret").client();
    for (query, message) in cases {
        drop(console.try_query(&format!("SET auth_query = '{}'", query.replace('\'', "''"))));
        let shown = console.query("SHOW CONFIG");
        let value = shown.find(&[("key", "auth_query")]).map(|row| shown.cell(row, "value").to_string());
        assert_eq!(value.as_deref(), Some(query));
        let error = plimsoll.login("hashed", "p0").password("hashed-secret").refusal();
        assert_eq!(error.message, message, "{query}");
    }
}

#[test]
fn the_place_of_the_question_has_to_be_there() {
    let (_postgres, plimsoll) = lookups("plain", |ini| ini.set("auth_dbname", "nowhere"));
    refused(&plimsoll, "hashed", "hashed-secret", "F0000", "bouncer config error");
    plimsoll.wait_for_log("authentication database \"nowhere\" is not configured", SOON);
    let mut console = plimsoll.login("admin", "pgbouncer").password("admin-secret").client();
    console.query("SET auth_dbname = 'p1'");
    comes_in(&plimsoll, "hashed");
    console.query("DISABLE p1");
    refused(&plimsoll, "hashed", "hashed-secret", "57P03", "authentication database \"p1\" is disabled");
    console.query("ENABLE p1");
    comes_in(&plimsoll, "hashed");
}

#[test]
fn console_users_are_looked_up_too() {
    let (_postgres, plimsoll) =
        lookups("md5", |ini| ini.set("auth_dbname", "p0").set("admin_users", "hashed"));
    let mut console = plimsoll.login("hashed", "pgbouncer").password("hashed-secret").client();
    assert!(console.query("SHOW POOLS").find(&[("database", "p0"), ("user", "looker")]).is_some());
    let error = plimsoll.login("salted", "pgbouncer").password("salted-secret").refusal();
    assert_eq!(error.message, "not allowed");
}

#[test]
fn a_login_that_is_given_up_leaves_nothing_behind() {
    let (_postgres, plimsoll) = lookups("md5", |ini| {
        let query = "SELECT rolname, rolpassword FROM pg_authid, pg_sleep(600) WHERE rolname = $1";
        ini.set("auth_query", query).set("client_login_timeout", "1").set("default_pool_size", "1")
    });
    let error = plimsoll.login("hashed", "p0").password("hashed-secret").refusal();
    assert_eq!(error.message, "client_login_timeout (server down)");
    // The one connection of the pool is free again: the next one waits for the query, not for a place.
    let error = plimsoll.login("hashed", "p0").password("hashed-secret").refusal();
    assert_eq!(error.message, "client_login_timeout (server down)");
}

#[test]
fn a_server_that_refuses_the_asker_is_quoted() {
    let (_postgres, plimsoll) =
        house_with(PostgresOptions { auth: ServerAuth::Scram, ..Default::default() }, |ini| {
            ini.set("auth_type", "md5").set("auth_user", "looker").login("looker", "wrong")
        });
    let error = plimsoll.login("nobody", "p0").password("x").refusal();
    assert_eq!(
        (error.sqlstate.as_str(), error.message.as_str()),
        ("28P01", "password authentication failed for user \"looker\"")
    );
}

#[test]
fn passwords_are_never_asked_of_those_who_are_not_there() {
    let (_postgres, plimsoll) = house(|ini| ini.set("auth_type", "md5").set("auth_user", "postgres"));
    let login = plimsoll.login("nobody", "p0");
    let mut client = login.knock().unwrap();
    client.send(&login.startup_packet()).unwrap();
    assert_eq!(client.read().unwrap().tag, b'E');
}

#[test]
fn however_full_the_pools_are_there_is_a_place_to_look() {
    let (_postgres, plimsoll) = lookups("md5", |ini| {
        ini.set("default_pool_size", "1").set("max_db_connections", "1").set("max_user_connections", "1")
    });
    let login = plimsoll.login("looker", "p0").password("looker-secret");
    let mut holder = login.client();
    holder.query("BEGIN");
    let mut hashed = plimsoll.login("hashed", "p1").password("hashed-secret").client();
    assert_eq!(hashed.value("SELECT current_user"), "hashed");
    // The pool that holds the one connection of its database and user is full as well.
    let error = plimsoll.login("hashed", "p0").password("wrong").refusal();
    assert_eq!(error.message, "password authentication failed");
    holder.query("COMMIT");
}
