//! Server logins with secrets that somebody else knows: files, programs, clouds.

#![allow(clippy::unwrap_used)]

mod common;
mod vault;

use std::sync::{Arc, Mutex};

use common::SOON;
use plimsoll_testkit::{
    FakeServer, Ini, Packet, Plimsoll, Postgres, PostgresOptions, ServerAuth, eventually, eventually_ok,
};
use vault::{Cloud, Vault};

fn postgres(auth: ServerAuth) -> Postgres {
    Postgres::start_with(PostgresOptions { auth, ..Default::default() })
}

/// A pooler whose database `p0` is reached with these keys.
fn pooler(postgres: &Postgres, keys: &str, change: impl FnOnce(Ini) -> Ini) -> Plimsoll {
    let line = format!("host=127.0.0.1 port={} dbname=p0 {keys}", postgres.port());
    common::pooler(change(Ini::new(postgres).database("p0", &line)))
}

/// The epochs of `p0`'s server connections, in the order in which they were opened.
fn epochs(plimsoll: &Plimsoll) -> Vec<String> {
    let servers = plimsoll.show("SERVERS");
    let mut found: Vec<(u64, String)> = (0..servers.rows.len())
        .filter(|row| servers.cell(*row, "database") == "p0")
        .map(|row| (servers.number(row, "id"), servers.cell(row, "credential_epoch").to_string()))
        .collect();
    found.sort();
    found.into_iter().map(|(_, epoch)| epoch).collect()
}

fn set_password(postgres: &Postgres, role: &str, password: &str) {
    postgres.sql(&format!("ALTER ROLE {role} PASSWORD '{password}'"));
}

fn knows_nothing_of(plimsoll: &Plimsoll, secrets: &[&str]) {
    let log = plimsoll.log();
    for secret in secrets {
        assert!(!log.contains(secret), "the log has {secret}:\n{log}");
    }
}

#[test]
fn a_file_that_changes_is_the_next_logins_secret() {
    let (postgres, vault) = (postgres(ServerAuth::Scram), Vault::new());
    vault.put("secret", "app-secret\n");
    let plimsoll = pooler(&postgres, &vault.file("secret"), |ini| ini.set("server_login_retry", "1"));
    let mut first = plimsoll.client("app", "p0");
    first.query("BEGIN");
    let pid = common::backend(&mut first);
    set_password(&postgres, "app", "rotated-secret");
    vault.put("secret", "rotated-secret");
    let mut second = plimsoll.client("app", "p0");
    second.query("BEGIN");
    assert_eq!(second.value("SELECT current_user"), "app");
    // The new epoch closes nothing, and makes no pool.
    assert_eq!(common::backend(&mut first), pid);
    assert_eq!(epochs(&plimsoll), ["1", "2"]);
    let pools = plimsoll.show("POOLS");
    let of_app = (0..pools.rows.len()).filter(|row| pools.cell(*row, "user") == "app");
    assert_eq!(of_app.count(), 1, "{pools:?}");
    // A file that is gone for a moment is no reason to forget what it said.
    vault.remove("secret");
    let mut third = plimsoll.client("app", "p0");
    third.query("BEGIN");
    assert_eq!(epochs(&plimsoll), ["1", "2", "2"]);
    knows_nothing_of(&plimsoll, &["app-secret", "rotated-secret"]);
}

#[test]
fn a_file_that_comes_late_is_waited_for() {
    let (postgres, vault) = (postgres(ServerAuth::Scram), Vault::new());
    let plimsoll = pooler(&postgres, &vault.file("secret"), |ini| ini.set("server_login_retry", "1"));
    let error = plimsoll.login("app", "p0").refusal();
    let path = vault.path("secret").display().to_string();
    assert_eq!((error.severity.as_str(), error.sqlstate.as_str()), ("FATAL", "28000"));
    assert_eq!(error.message, format!("server login failed: no credential from file:{path}"));
    let detail = error.detail.expect("why");
    assert_eq!(detail, format!("file:{path}: cannot read {path}: No such file or directory (os error 2)"));
    assert!(error.hint.expect("what to do").contains("credential="));
    vault.put("secret", "app-secret");
    eventually_ok("to be let in", SOON, || match plimsoll.login("app", "p0").try_client() {
        Ok(mut client) => client.try_query("SELECT 1").map(drop).map_err(|failure| failure.to_string()),
        Err(failure) => Err(failure.to_string()),
    });
}

#[test]
fn a_refused_secret_is_asked_for_again_and_nobody_notices() {
    let (postgres, vault) = (postgres(ServerAuth::Scram), Vault::new());
    vault.put("answer", r#"{"secret": "app-secret"}"#);
    let credential = vault.program("token", "cat answer");
    let plimsoll = pooler(&postgres, &credential, |ini| ini);
    let mut first = plimsoll.client("app", "p0");
    first.query("BEGIN");
    // Without an end the program is not run again before a server refuses what it gave.
    let mut second = plimsoll.client("app", "p0");
    second.query("BEGIN");
    assert_eq!(vault.runs(), ["app"]);
    set_password(&postgres, "app", "rotated-secret");
    vault.put("answer", r#"{"secret": "rotated-secret"}"#);
    let mut third = plimsoll.client("app", "p0");
    third.query("BEGIN");
    assert_eq!(vault.runs(), ["app", "app"]);
    assert_eq!(epochs(&plimsoll), ["1", "1", "2"]);
    for client in [&mut first, &mut second, &mut third] {
        assert_eq!(client.value("SELECT current_user"), "app");
    }
    // One that gives the same again is not tried twice.
    set_password(&postgres, "app", "nobody knows it");
    let mark = plimsoll.log_mark();
    let mut fourth = plimsoll.login("app", "p0").try_client().expect("there are connections");
    fourth.send(&Packet::typed(b'Q').text("SELECT 1").bytes()).unwrap();
    plimsoll.wait_for_log_since(mark, "login failed: FATAL: password authentication failed", SOON);
    eventually("the program is asked once more", SOON, || vault.runs().len() == 3);
    plimsoll.wait_for_log_since(mark, "credential 2 from command:", SOON);
    let log = plimsoll.log_since(mark);
    assert_eq!(log.matches("login failed: FATAL").count(), 1, "{log}");
    knows_nothing_of(&plimsoll, &["app-secret", "rotated-secret"]);
}

#[test]
fn a_program_that_fails_is_told_to_whoever_waits_and_disturbs_nobody_else() {
    let (postgres, vault) = (postgres(ServerAuth::Scram), Vault::new());
    let lines = "test $PLIMSOLL_USER = app || { echo 'no lease for you' >&2; exit 3; }\n\
                 echo '{\"secret\": \"app-secret\"}'";
    let credential = vault.program("token", lines);
    let plimsoll = pooler(&postgres, &credential, |ini| ini);
    let mut app = plimsoll.client("app", "p0");
    app.query("BEGIN");
    let pid = common::backend(&mut app);
    let error = plimsoll.login("other", "p0").refusal();
    assert_eq!((error.severity.as_str(), error.sqlstate.as_str()), ("FATAL", "28000"), "{error}");
    assert_eq!(error.message, "server login failed: no credential from command:/bin/sh");
    assert_eq!(error.detail.as_deref(), Some("command:/bin/sh: ended with exit status: 3: no lease for you"),);
    assert_eq!(common::backend(&mut app), pid);
    app.query("COMMIT");
    assert_eq!(app.value("SELECT current_user"), "app");
    plimsoll.wait_for_log("no credential from command:/bin/sh for other@127.0.0.1", SOON);
}

#[test]
fn in_pgbouncers_shape_there_is_no_column_and_no_detail() {
    let (postgres, vault) = (postgres(ServerAuth::Scram), Vault::new());
    let credential =
        vault.program("token", "test $PLIMSOLL_USER = app && echo '{\"secret\": \"app-secret\"}'");
    let plimsoll = pooler(&postgres, &credential, |ini| ini.own("compat", "pgbouncer"));
    let mut app = plimsoll.client("app", "p0");
    assert_eq!(app.value("SELECT current_user"), "app");
    let servers = plimsoll.show("SERVERS");
    assert_eq!(servers.columns.last().map(|(name, _)| name.as_str()), Some("id"));
    let error = plimsoll.login("other", "p0").refusal();
    assert_eq!((error.sqlstate.as_str(), error.detail, error.hint), ("08P01", None, None));
}

#[test]
fn fifty_clients_at_once_are_one_question() {
    let (postgres, vault) = (postgres(ServerAuth::Scram), Vault::new());
    let credential = vault.program("token", "echo '{\"secret\": \"app-secret\"}'");
    let line = format!("host=127.0.0.1 port={} dbname=p0 {credential}", postgres.port());
    let names: Vec<String> = (0..10).map(|n| format!("d{n}")).collect();
    let ini = Ini::new(&postgres).own("connect_concurrency", "50");
    let ini = names.iter().fold(ini, |ini, name| ini.database(name, &format!("{line} pool_size=5")));
    let plimsoll = common::pooler(ini);
    std::thread::scope(|scope| {
        for name in names.iter().cycle().take(50) {
            let plimsoll = &plimsoll;
            scope.spawn(move || {
                let mut client = plimsoll.client("app", name);
                client.query("BEGIN");
                assert_eq!(client.value("SELECT current_user"), "app");
                client.query("COMMIT");
            });
        }
    });
    assert_eq!(vault.runs(), ["app"]);
}

#[test]
fn with_session_not_after_a_connection_ends_with_its_credential_when_it_is_idle() {
    let (postgres, vault) = (postgres(ServerAuth::Scram), Vault::new());
    let lines = "echo \"{\\\"secret\\\": \\\"app-secret\\\", \\\"expires_at\\\": $(($(date +%s) + 4))}\"";
    let credential = vault.program("token", lines);
    let plimsoll = pooler(&postgres, &format!("{credential} session_not_after=on"), |ini| {
        let line = format!("host=127.0.0.1 port={} dbname=p0 {credential}", postgres.port());
        ini.database("stays", &line)
    });
    let mut stays = plimsoll.client("app", "stays");
    let stays_pid = common::backend(&mut stays);
    let mut held = plimsoll.client("app", "p0");
    held.query("BEGIN");
    let held_pid = common::backend(&mut held);
    let mut idle = plimsoll.client("app", "p0");
    let idle_pid = common::backend(&mut idle);
    assert_ne!(held_pid, idle_pid);
    let line = plimsoll.wait_for_log("closing because: credential has ended", SOON);
    assert!(line.contains("p0/app@"), "{line}");
    postgres.wait_backend_gone(idle_pid);
    // In a transaction it goes on, and goes when that is over.
    assert_eq!(common::backend(&mut held), held_pid);
    held.query("COMMIT");
    postgres.wait_backend_gone(held_pid);
    // Nobody has lost anything.
    for client in [&mut held, &mut idle] {
        let pid = common::backend(client);
        assert!(pid != held_pid && pid != idle_pid);
    }
    // Where it was not asked for, a connection outlives what it logged in with.
    assert_eq!(common::backend(&mut stays), stays_pid);
}

#[test]
fn a_users_word_comes_before_the_databases_and_that_before_the_targets() {
    let (postgres, vault) = (postgres(ServerAuth::Scram), Vault::new());
    vault.put("user", "boss-secret");
    vault.put("database", "app-secret");
    vault.put("target", "other-secret");
    let target = format!("\n[targets]\n127.0.0.1:{} = {}\n", postgres.port(), vault.file("target"));
    let plimsoll = pooler(&postgres, &vault.file("database"), |ini| {
        ini.user("boss", &vault.file("user")).login("other", "wrong").extra(&target)
    });
    assert_eq!(plimsoll.client("boss", "p0").value("SELECT current_user"), "boss");
    assert_eq!(plimsoll.client("app", "p0").value("SELECT current_user"), "app");
    assert_eq!(plimsoll.client("other", "p1").value("SELECT current_user"), "other");
    let error = plimsoll.login("app", "p1").refusal();
    assert_eq!(error.message, "password authentication failed for user \"app\"");
}

#[test]
fn googles_token_is_the_password() {
    let (postgres, token) = (postgres(ServerAuth::Password), format!("ya29.{}", "c.b0".repeat(400)));
    set_password(&postgres, "app", &token);
    let answer =
        format!("{{\"access_token\": \"{token}\", \"expires_in\": 3599, \"token_type\": \"Bearer\"}}");
    let cloud = Cloud::start(move |_| (200, answer.clone()));
    let credential =
        format!("credential='google-metadata account=db@x.iam scopes=a,b endpoint={}/'", cloud.url());
    let plimsoll = pooler(&postgres, &credential, |ini| ini);
    assert_eq!(plimsoll.client("app", "p0").value("SELECT current_user"), "app");
    let asked = cloud.asked();
    let line = "GET /computeMetadata/v1/instance/service-accounts/db%40x.iam/token?scopes=a%2Cb HTTP/1.1";
    assert!(asked.len() == 1 && asked[0].starts_with(line), "{asked:?}");
    assert!(asked[0].contains("metadata-flavor: Google\n"), "{asked:?}");
    plimsoll.wait_for_log("credential 1 from google-metadata for app@127.0.0.1", SOON);
    knows_nothing_of(&plimsoll, &[&token]);
}

#[test]
fn azures_token_is_the_password_of_machine_and_application() {
    let (postgres, vault) = (postgres(ServerAuth::Password), Vault::new());
    set_password(&postgres, "app", "of the machine");
    set_password(&postgres, "other", "of the application");
    vault.put("secret", "s&cr=t\n");
    let cloud = Cloud::start(|request| {
        if request.starts_with("GET /metadata/identity/oauth2/token?") {
            let token = r#"{"access_token": "of the machine", "expires_in": "86399", "expires_on": "1"}"#;
            (200, token.to_string())
        } else if request.contains("client_secret=s%26cr%3Dt") {
            (200, r#"{"access_token": "of the application", "expires_in": 3599}"#.to_string())
        } else {
            (401, r#"{"error": "invalid_client", "error_description": "s&cr=t"}"#.to_string())
        }
    });
    let machine = format!("credential='azure-entra client_id=1-2 endpoint={}'", cloud.url());
    let application = format!(
        "credential='azure-entra tenant=t1 client_id=c1 client_secret_file={} endpoint={}'",
        vault.path("secret").display(),
        cloud.url()
    );
    let plimsoll =
        pooler(&postgres, &machine, |ini| ini.user("other", &application).user("boss", &application));
    assert_eq!(plimsoll.client("app", "p0").value("SELECT current_user"), "app");
    assert_eq!(plimsoll.client("other", "p0").value("SELECT current_user"), "other");
    let asked = cloud.asked();
    let resource = "resource=https%3A%2F%2Fossrdbms-aad.database.windows.net&client_id=1-2 HTTP/1.1";
    assert!(asked[0].contains("api-version=2018-02-01") && asked[0].contains(resource), "{asked:?}");
    assert!(asked[0].contains("metadata: true\n"), "{asked:?}");
    assert!(asked[1].starts_with("POST /t1/oauth2/v2.0/token HTTP/1.1"), "{asked:?}");
    let form = "grant_type=client_credentials&client_id=c1&client_secret=s%26cr%3Dt\
                &scope=https%3A%2F%2Fossrdbms-aad.database.windows.net%2F.default";
    assert!(asked[1].ends_with(form), "{asked:?}");
    // What is said of a failure is the word, not the description.
    vault.put("secret", "wrong");
    let error = plimsoll.login("boss", "p0").refusal();
    let wanted =
        format!("azure-entra: {}/t1/oauth2/v2.0/token: HTTP status 401 (invalid_client)", cloud.url());
    assert_eq!(error.detail, Some(wanted));
    knows_nothing_of(&plimsoll, &["of the machine", "of the application", "s&cr=t"]);
}

#[test]
fn a_cloud_that_fails_in_its_own_ways_is_told_apart() {
    let postgres = postgres(ServerAuth::Password);
    let cloud = Cloud::start(|request| {
        let account = request.split('/').nth(5).unwrap_or_default();
        match account {
            "huge" => (200, "x".repeat(100_000)),
            "other" => (200, "{\"access_token\": hunter2}".to_string()),
            "moved" => (302, String::new()),
            _ => (200, "{\"access_token\": \"hunter2\", \"expires_in\": 0}".to_string()),
        }
    });
    let credential = |account: &str, url: &str| {
        let port = postgres.port();
        format!("host=127.0.0.1 port={port} credential='google-metadata account={account} endpoint={url}'")
    };
    let nowhere = format!("http://127.0.0.1:{}", plimsoll_testkit::free_port());
    let cases = [
        ("huge", "the answer is longer than 65536 bytes"),
        ("other", "the answer is not what was expected: line 1, column 18"),
        ("moved", "HTTP status 302"),
        ("ended", "the secret has ended already: compare the clocks"),
    ];
    let ini = cases.iter().fold(Ini::new(&postgres), |ini, (account, _)| {
        ini.database(account, &credential(account, &cloud.url()))
    });
    let plimsoll = common::pooler(ini.database("nowhere", &credential("x", &nowhere)));
    for (account, why) in cases.iter().chain(&[("nowhere", "cannot connect: Connection refused")]) {
        let error = plimsoll.login("app", account).refusal();
        let detail = error.detail.expect("why");
        assert!(detail.starts_with("google-metadata: ") && detail.contains(why), "{account}: {detail}");
        assert!(!detail.contains("hunter2"), "{detail}");
    }
    knows_nothing_of(&plimsoll, &["hunter2"]);
}

/// A server that asks for a password in the clear, writes down what it gets, and lets everybody in.
fn confidant() -> (FakeServer, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let said = heard.clone();
    let server = FakeServer::start(move |_, peer| {
        peer.startup()?;
        peer.send(&Packet::typed(b'R').int32(3).bytes())?;
        let message = peer.read()?;
        said.lock().unwrap().push(message.strings().swap_remove(0));
        let mut welcome = Packet::typed(b'R').int32(0).bytes();
        welcome.extend(Packet::typed(b'K').int32(4711).int32(815).bytes());
        welcome.extend(Packet::typed(b'Z').raw(b"I").bytes());
        peer.send(&welcome)?;
        peer.serve()
    });
    (server, heard)
}

#[test]
fn the_token_of_rds_is_signed_with_the_keys_of_the_machine() {
    let (server, heard) = confidant();
    let cloud = Cloud::start(|request| {
        let has_session = request.contains("x-aws-ec2-metadata-token: a session\n");
        match request.lines().next().unwrap_or_default() {
            "PUT /latest/api/token HTTP/1.1"
                if request.contains("x-aws-ec2-metadata-token-ttl-seconds: 60\n") =>
            {
                (200, "a session".to_string())
            }
            "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1" if has_session => {
                (200, "the-role\n".to_string())
            }
            "GET /latest/meta-data/iam/security-credentials/the-role HTTP/1.1" if has_session => {
                let keys = r#"{"Code": "Success", "AccessKeyId": "ASIAX", "SecretAccessKey": "hunter2",
                    "Token": "to/ken", "Expiration": "9000-01-01T00:00:00Z"}"#;
                (200, keys.to_string())
            }
            _ => (404, String::new()),
        }
    });
    let keys = format!("aws-rds-iam region=eu-west-1 host=db.example port=5432 endpoint={}", cloud.url());
    let line = format!("host=127.0.0.1 port={} credential='{keys}'", server.port());
    // No question of our own: this server knows one answer.
    let ini = Ini::empty().database("p0", &line).login("app user", "x").own("target_budget", "off");
    let plimsoll = common::pooler(ini);
    assert_eq!(plimsoll.client("app user", "p0").value("SELECT 1"), "1");
    let token = heard.lock().unwrap()[0].clone();
    assert!(token.starts_with("db.example:5432/?Action=connect&DBUser=app%20user&X-Amz-"), "{token}");
    for part in [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "X-Amz-Credential=ASIAX%2F",
        "%2Feu-west-1%2Frds-db%2Faws4_request",
        "X-Amz-Expires=900",
        "X-Amz-SignedHeaders=host",
        "X-Amz-Security-Token=to%2Fken",
        "X-Amz-Signature=",
    ] {
        assert!(token.contains(part), "{part} in {token}");
    }
    assert_eq!(cloud.asked().len(), 3);
    let (_, signature) = token.split_once("X-Amz-Signature=").unwrap();
    knows_nothing_of(&plimsoll, &["hunter2", "to/ken", signature]);
    assert!(server.failures().is_empty(), "{:?}", server.failures());
}

#[test]
fn what_a_reload_writes_counts_for_the_next_login() {
    let (postgres, vault) = (postgres(ServerAuth::Scram), Vault::new());
    vault.put("wrong", "nothing");
    vault.put("right", "app-secret");
    let plimsoll = pooler(&postgres, &vault.file("wrong"), |ini| ini.set("server_login_retry", "1"));
    let error = plimsoll.login("app", "p0").refusal();
    assert_eq!(error.sqlstate, "28P01", "{error}");
    let line = format!("host=127.0.0.1 port={} dbname=p0 {}", postgres.port(), vault.file("right"));
    plimsoll.reload(&Ini::new(&postgres).database("p0", &line).set("server_login_retry", "1"));
    eventually("to be let in", SOON, || {
        let client = plimsoll.login("app", "p0").try_client();
        client.is_ok_and(|mut client| client.try_query("SELECT 1").is_ok())
    });
}
