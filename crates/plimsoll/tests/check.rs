//! `plimsoll check FILE.ini` as an operator sees it, beside a real PostgreSQL.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use common::{BINARY, SOON};
use plimsoll_testkit::{
    FakeServer, Ini, Packet, Postgres, PostgresOptions, ServerAuth, TempDir, binary_of, error_response,
    eventually_ok, free_port, run_beside,
};
use serde_json::Value;

/// An ini file and its auth_file in a folder of their own.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new(ini: Ini) -> Files {
        let dir = TempDir::new("check");
        let users = dir.path().join("users.txt");
        let ini = ini
            .set("auth_file", &users.display().to_string())
            .set("listen_port", &free_port().to_string())
            .set("unix_socket_dir", "");
        let files = Files { dir };
        files.write("users.txt", &ini.userlist());
        files.write("p.ini", &ini.text());
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Readable by everybody: as root the program under test runs as another user.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// Exit status and output.
    fn check(&self, options: &[&str]) -> (i32, String) {
        let (status, output) = run_beside(&binary_of(BINARY).display().to_string(), |command| {
            command.arg("check").args(options).arg(self.path("p.ini"));
        });
        (status.code().expect("it ended by itself"), output)
    }

    /// Exit status and object.
    fn object(&self, options: &[&str]) -> (i32, Value) {
        let (status, output) = self.check(&[options, &["--json"]].concat());
        let object = serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"));
        (status, object)
    }
}

/// The ids that count, without what the modes of these files earn.
fn ids(object: &Value) -> Vec<&str> {
    let findings = object["findings"].as_array().unwrap();
    let counts = findings.iter().filter(|finding| finding["level"] != "note");
    counts.map(|finding| finding["id"].as_str().unwrap()).filter(|id| *id != "secret-readable").collect()
}

fn small(max_connections: u32, auth: ServerAuth) -> Postgres {
    Postgres::start_with(PostgresOptions { max_connections, auth, ..Default::default() })
}

/// One database for `app` and `md5er`, nothing doubtful.
fn calm(postgres: &Postgres) -> Ini {
    Ini::default()
        .set("listen_addr", "127.0.0.1")
        .set("pool_mode", "transaction")
        .set("idle_transaction_timeout", "60")
        .set("max_client_conn", "50")
        .set("default_pool_size", "5")
        .login("app", "app-secret")
        .database("shop", &format!("host=127.0.0.1 port={} dbname=p0", postgres.port()))
}

#[test]
fn pools_are_compared_with_what_the_server_has() {
    let postgres = small(20, ServerAuth::Scram);
    let _others: Vec<_> =
        (0..3).map(|_| postgres.login("app", "p0").password("app-secret").client()).collect();
    let (status, object) = Files::new(calm(&postgres)).object(&[]);
    assert_eq!(ids(&object), Vec::<&str>::new(), "{object}");
    let server = &object["servers"][0];
    assert_eq!(server["asked"], true, "{object}");
    assert_eq!(
        (&server["max_connections"], &server["kept"], &server["room"]),
        (&20.into(), &3.into(), &17.into())
    );
    assert_eq!((&server["pools"], &server["can_need"]), (&1.into(), &5.into()));
    // The testkit itself may have a session there too.
    assert!(server["others_now"].as_u64().is_some_and(|others| (3..=4).contains(&others)), "{object}");
    // For auth_file, which everybody may read here.
    assert_eq!(status, 2);

    let big = calm(&postgres).set("default_pool_size", "18");
    let (_, object) = Files::new(big.clone()).object(&[]);
    // 17, less a headroom of 3: the automatic budget leaves no room for those who are there.
    assert_eq!(ids(&object), ["no-room-for-others"]);
    assert_eq!(
        (&object["servers"][0]["budget"], &object["servers"][0]["budget_from"]),
        (&14.into(), &"server".into())
    );
    let (_, object) = Files::new(big.own("target_budget", "off")).object(&[]);
    assert_eq!(ids(&object), ["pools-exceed-server"]);
    let suggested = &object["suggest"][0];
    assert_eq!(suggested["key"], "target_budget");
    let budget: u32 = suggested["value"].as_str().unwrap().parse().unwrap();
    // 17, less 3 or 4 that others have and one to spare.
    assert!((12..=13).contains(&budget), "{object}");

    let held = calm(&postgres).set("default_pool_size", "18").own("target_budget", &budget.to_string());
    assert_eq!(ids(&Files::new(held.clone()).object(&[]).1), Vec::<&str>::new());
    let too_high = held.own("target_budget", "18");
    let (_, object) = Files::new(too_high).object(&[]);
    assert_eq!(ids(&object), ["budget-exceeds-server"]);
}

#[test]
fn two_ways_to_one_server_are_added_up() {
    let postgres = small(40, ServerAuth::Trust);
    let socket = format!("host={} port={} dbname=p1", postgres.socket_dir().display(), postgres.port());
    let ini =
        calm(&postgres).login("boss", "boss-secret").database("other", &socket).own("target_budget", "5");
    let (_, object) = Files::new(ini).object(&[]);
    assert_eq!(ids(&object), ["one-server-many-targets"], "{object}");
    assert_eq!(object["servers"].as_array().map(Vec::len), Some(1));
    assert_eq!(object["servers"][0]["budget"], 10);
}

#[test]
fn limits_of_roles_are_seen() {
    let postgres = small(40, ServerAuth::Trust);
    postgres.sql("ALTER ROLE app CONNECTION LIMIT 4");
    postgres.sql("ALTER DATABASE p1 CONNECTION LIMIT 3");
    let line = format!("host=127.0.0.1 port={} dbname=p1 user=boss", postgres.port());
    let ini = calm(&postgres)
        .login("boss", "")
        .database("forced", &line)
        .set("track_extra_parameters", "search_path, TimeZone");
    let (_, object) = Files::new(ini).object(&[]);
    let found = ids(&object);
    for id in
        ["role-connection-limit", "database-connection-limit", "superuser-pool", "parameter-not-reported"]
    {
        assert!(found.contains(&id), "{id}: {object}");
    }
    postgres.sql("ALTER ROLE app CONNECTION LIMIT -1");
    postgres.sql("ALTER DATABASE p1 CONNECTION LIMIT -1");
}

#[test]
fn why_a_server_was_not_asked_is_told() {
    let postgres = small(20, ServerAuth::Reject);
    let (_, object) = Files::new(calm(&postgres)).object(&[]);
    assert_eq!(ids(&object), ["server-not-asked"], "{object}");
    let (_, object) = Files::new(calm(&postgres).own("target_budget", "off")).object(&[]);
    assert_eq!(ids(&object), ["server-not-asked", "no-target-budget"], "{object}");
    assert!(object["servers"][0]["why_not"].as_str().unwrap().contains("pg_hba.conf"), "{object}");

    let full = FakeServer::start(|_, peer| {
        peer.startup()?;
        peer.send(&error_response("FATAL", "53300", "sorry, too many clients already"))
    });
    let line = format!("host=127.0.0.1 port={}", full.port());
    let ini = calm(&postgres).database("shop", &line).own("target_budget", "5");
    assert_eq!(ids(&Files::new(ini.clone()).object(&[]).1), ["server-full"]);
    // One login is enough to know that.
    assert_eq!(full.accepted(), 1);

    let (_, object) = Files::new(ini).object(&["--offline"]);
    assert_eq!(ids(&object), Vec::<&str>::new());
    assert_eq!(full.accepted(), 1);
    assert_eq!(
        (&object["servers"][0]["asked"], &object["servers"][0]["why_not"]),
        (&false.into(), &"not asked".into())
    );
}

/// What answers is no PostgreSQL, or one that means no good.
#[test]
fn a_strange_server_is_no_harm() {
    let strange = FakeServer::start(|_, peer| {
        peer.startup()?;
        peer.send(&Packet::typed(b'R').int32(0).bytes())?;
        peer.send(&Packet::typed(b'Z').raw(b"I").bytes())?;
        peer.read()?;
        let head = Packet::typed(b'T').int16(1).text("a\x1b[2J").int32(0).int16(0).int32(25).int16(65_535);
        peer.send(&head.int32(u32::MAX).int16(0).bytes())?;
        peer.send(&Packet::typed(b'D').int16(1).value(Some(b"\x1b[2J")).bytes())?;
        peer.send(&Packet::typed(b'Z').raw(b"I").bytes())
    });
    let ini = Ini::empty().database("shop", &format!("host=127.0.0.1 port={}", strange.port()));
    let (status, output) = Files::new(ini).check(&[]);
    assert_eq!(status, 2, "{output}");
    assert!(output.contains("[server-not-asked]") && !output.contains('\x1b'), "{output}");
}

#[test]
fn mistakes_come_first_and_the_rest_is_judged_too() {
    let postgres = small(20, ServerAuth::Trust);
    let ini = calm(&postgres).set("query_wait_timeout", "0").set("pool_mod", "session").own("nope", "1");
    let files = Files::new(ini);
    let (status, output) = files.check(&[]);
    assert_eq!(status, 1, "{output}");
    let lines: Vec<&str> = output.lines().filter(|line| line.ends_with(']')).collect();
    let words = |line: &str| (line.contains(": mistake: "), line.contains("p.ini:"));
    assert!(lines.len() > 2 && lines[..2].iter().all(|line| words(line) == (true, true)), "{output}");
    assert!(lines[2..].iter().all(|line| !line.contains(": mistake: ")), "{output}");
    assert!(output.contains("did you mean \"pool_mode\"") && output.contains("[query-wait-off]"), "{output}");
    assert!(
        output.ends_with("2 mistakes, 3 warnings\n") || output.ends_with("2 mistakes, 2 warnings\n"),
        "{output}"
    );
}

#[test]
fn a_file_that_is_not_there_is_a_mistake() {
    let files = Files { dir: TempDir::new("check") };
    let (status, object) = files.object(&[]);
    assert_eq!((status, ids(&object)), (1, vec!["file-missing"]));
    assert_eq!(object["status"], "mistakes");
}

#[test]
fn secrets_that_everybody_may_read_are_told_and_not_shown() {
    let postgres = small(20, ServerAuth::Scram);
    let line = format!("host=127.0.0.1 port={} dbname=p0 user=app password=app-secret", postgres.port());
    let files = Files::new(calm(&postgres).database("shop", &line).login("app", "another-secret"));
    let (_, object) = files.object(&[]);
    let readable = |object: &Value| {
        let findings = object["findings"].as_array().unwrap();
        findings.iter().filter(|finding| finding["id"] == "secret-readable").count()
    };
    assert_eq!(readable(&object), 2, "{object}");
    assert_eq!(object["servers"][0]["asked"], true, "the line's password counts: {object}");
    for options in [&["--json"][..], &["--suggest"], &[]] {
        let (_, output) = files.check(options);
        assert!(!output.contains("app-secret") && !output.contains("another-secret"), "{output}");
    }
}

#[test]
fn what_is_suggested_is_a_file_that_is_better() {
    let postgres = small(20, ServerAuth::Trust);
    let ini = calm(&postgres).set("default_pool_size", "30").set("idle_transaction_timeout", "0");
    let ini = ini.own("compat", "pgbouncer");
    let files = Files::new(ini);
    assert_eq!(ids(&files.object(&[]).1), ["idle-transaction-off", "pools-exceed-server"]);
    let (status, output) = files.check(&["--suggest"]);
    assert_eq!(status, 2);
    // Standard output comes first in what the testkit gives; the report begins with the file's name.
    let report = format!("{}", files.path("p.ini").display());
    let section = output.split_once(&report).map_or("", |(section, _)| section);
    assert!(section.starts_with("[plimsoll]\n; "), "{section}");
    assert!(
        section.contains("\ntarget_budget = 1") && section.contains("\n; idle_transaction_timeout = 60\n"),
        "{section}"
    );
    let text = fs::read_to_string(files.path("p.ini")).unwrap();
    files.write("p.ini", &format!("{text}\n{section}\n"));
    assert_eq!(ids(&files.object(&[]).1), ["idle-transaction-off"]);
}

#[test]
fn folders_and_descriptors_are_looked_at() {
    let postgres = small(20, ServerAuth::Trust);
    let files = Files::new(
        calm(&postgres).set("logfile", "/nowhere/at/all/p.log").set("max_client_conn", "2000000000"),
    );
    let (status, object) = files.object(&[]);
    assert_eq!(status, 1);
    assert_eq!(ids(&object), ["folder-missing", "file-limit"], "{object}");
}

#[test]
fn the_sessions_of_a_running_pooler_are_its_own() {
    let postgres = small(20, ServerAuth::Trust);
    let plimsoll = common::pooler(calm(&postgres).set("auth_type", "trust").set("default_pool_size", "12"));
    let mut clients: Vec<_> = (0..8).map(|_| plimsoll.client("app", "shop")).collect();
    for client in &mut clients {
        client.query("BEGIN");
    }
    let (status, output) = run_beside(&binary_of(BINARY).display().to_string(), |command| {
        command.args(["check", "--json"]).arg(plimsoll.ini_path());
    });
    let object: Value = serde_json::from_str(&output).unwrap();
    // 12 beside 17: the eight that are there are among the twelve.
    assert_eq!(ids(&object), Vec::<&str>::new(), "{status}: {object}");
    assert!(object["servers"][0]["others_now"].as_u64().is_some_and(|others| others <= 1), "{object}");
}

/// A PostgreSQL that also speaks TLS, and its certificate, which is for 127.0.0.1 and signs itself.
fn with_tls() -> (Postgres, String) {
    let postgres = small(20, ServerAuth::Trust);
    postgres.sql(
        "COPY (SELECT 1) TO PROGRAM 'umask 077; openssl req -new -x509 -days 365 -nodes -batch -subj /CN=db \
         -addext subjectAltName=IP:127.0.0.1 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
         -keyout server.key -out server.crt'",
    );
    postgres.sql("ALTER SYSTEM SET ssl = on");
    postgres.sql("SELECT pg_reload_conf()");
    eventually_ok("PostgreSQL to speak TLS", SOON, || match postgres.sql("SHOW ssl").cell(0, "ssl") {
        "on" => Ok(()),
        other => Err(other.to_string()),
    });
    let certificate = postgres.sql("SELECT pg_read_file('server.crt') AS pem").cell(0, "pem").to_string();
    (postgres, certificate)
}

#[test]
fn servers_are_asked_over_tls_as_the_file_says() {
    let ((secured, certificate), plain) = (with_tls(), small(20, ServerAuth::Trust));
    let other = with_tls().1;
    let asked = |postgres: &Postgres, mode: &str, authority: &str| {
        let files = Files::new(calm(postgres).own("target_budget", "5"));
        files.write("ca.crt", authority);
        let text = fs::read_to_string(files.path("p.ini")).unwrap();
        let ca = files.path("ca.crt").display().to_string();
        files.write(
            "p.ini",
            &format!("{text}\n[pgbouncer]\nserver_tls_sslmode = {mode}\nserver_tls_ca_file = {ca}\n"),
        );
        let (_, object) = files.object(&[]);
        object["servers"][0]["why_not"].as_str().map(str::to_string)
    };
    for mode in ["disable", "prefer", "require", "verify-ca", "verify-full"] {
        assert_eq!(asked(&secured, mode, &certificate), None, "{mode}");
    }
    assert_eq!(asked(&plain, "prefer", &certificate), None);
    assert_eq!(asked(&plain, "require", &certificate).as_deref(), Some("it has no TLS"));
    let wrong = asked(&secured, "verify-ca", &other).expect("another authority");
    assert!(wrong.contains("certificate verify failed"), "{wrong}");
    let broken = asked(&secured, "verify-ca", "no PEM").expect("no authority");
    assert!(broken.contains("TLS cannot be set up"), "{broken}");
}

#[test]
fn what_keeps_tls_and_rules_from_holding_is_told() {
    let postgres = small(20, ServerAuth::Trust);
    let files = Files::new(calm(&postgres).set("client_tls_sslmode", "require").set("auth_type", "hba"));
    files.write("hba", "local all all trust\nhost all all 10.0.0.0/8 trust\nhost all all nonsense\n");
    let text = fs::read_to_string(files.path("p.ini")).unwrap();
    files.write(
        "p.ini",
        &text.replace(
            "[pgbouncer]\n",
            &format!("[pgbouncer]\nauth_hba_file = {}\n", files.path("hba").display()),
        ),
    );
    let (status, object) = files.object(&[]);
    let lines: Vec<(&str, u64)> = object["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["file"].as_str().unwrap().ends_with("hba"))
        .map(|finding| (finding["id"].as_str().unwrap(), finding["line"].as_u64().unwrap()))
        .collect();
    assert_eq!(lines, [("auth-open", 2), ("hba-line-broken", 3)], "{object}");
    assert_eq!((status, ids(&object).contains(&"tls-settings")), (1, true), "{object}");
}
