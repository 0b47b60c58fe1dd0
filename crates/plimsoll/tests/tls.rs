//! TLS on both sides, by what libpq and OpenSSL make of it. The certificates are made with the commands of the
//! PostgreSQL manual ("Creating Certificates"): among them X.509 version 1, and CA:TRUE as a server's own.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use common::certificates::{Maker, with_tls};
use common::{BINARY, SOON, house, pooler};
use plimsoll_testkit::{Batch, Ini, Plimsoll, Postgres, eventually_ok, tags};

/// psql with a connection string of its own; what it printed, or its error.
fn psql(plimsoll: &Plimsoll, parameters: &str, sql: &str) -> Result<String, String> {
    let connection =
        format!("host=localhost port={} dbname=p0 user=app connect_timeout=20 {parameters}", plimsoll.port());
    let output = Command::new("psql")
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &connection, "-c", sql])
        .env("PGSSLCERT", "none")
        .env("PGSSLROOTCERT", "none")
        .output()
        .expect("psql is there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// What SHOW CLIENTS says of how the clients of `p0` are encrypted.
fn tls_column(plimsoll: &Plimsoll) -> String {
    let clients = plimsoll.show("CLIENTS");
    let row = clients.find(&[("database", "p0")]).expect("a client");
    clients.cell(row, "tls").to_string()
}

#[test]
fn each_mode_of_the_client_meets_each_of_ours() {
    let maker = Maker::new();
    maker.self_signed("server", "localhost");
    for ours in ["disable", "allow", "prefer", "require"] {
        let (_postgres, plimsoll) = house(|ini| with_tls(ini, "client", ours, &maker, "server"));
        for theirs in ["disable", "prefer", "require", "verify-ca", "verify-full"] {
            let root = match theirs {
                "verify-ca" | "verify-full" => format!("sslrootcert={}", maker.text("server.crt")),
                _ => String::new(),
            };
            let came = psql(&plimsoll, &format!("sslmode={theirs} {root}"), "SELECT 'in'");
            let must = matches!(theirs, "require" | "verify-ca" | "verify-full");
            match (ours, theirs) {
                ("require", "disable") => {
                    assert!(came.unwrap_err().contains("SSL required"));
                    plimsoll.wait_for_log("closing because: SSL required", SOON);
                }
                ("disable", _) if must => {
                    assert!(came.unwrap_err().contains("does not support SSL"), "{theirs}")
                }
                _ => assert_eq!(came.as_deref(), Ok("in"), "{ours} {theirs}"),
            }
        }
        let logged = plimsoll.log();
        assert_eq!(
            ours != "disable",
            logged.contains("user=app tls=TLSv1.3/TLS_AES_256_GCM_SHA384 replication=no")
        );
        assert_eq!(ours != "require", logged.contains("user=app tls=no replication=no"));
        // Over the Unix socket nobody has to.
        let mut local = plimsoll.login("app", "p0").at(plimsoll.unix_address()).client();
        assert_eq!(local.value("SELECT 1"), "1");
    }
}

#[test]
fn the_name_in_our_certificate_is_held_against_the_host() {
    let maker = Maker::new();
    maker.root("root");
    maker.signed("root", "server", "db.example.org");
    let (_postgres, plimsoll) = house(|ini| with_tls(ini, "client", "require", &maker, "server"));
    let root = format!("sslrootcert={}", maker.text("root.crt"));
    assert_eq!(psql(&plimsoll, &format!("sslmode=verify-ca {root}"), "SELECT 1").as_deref(), Ok("1"));
    let wrong = psql(&plimsoll, &format!("sslmode=verify-full {root}"), "SELECT 1").unwrap_err();
    assert!(wrong.contains("does not match host name"), "{wrong}");
}

#[test]
fn clients_show_certificates() {
    let maker = Maker::new();
    maker.root("root");
    maker.root("stranger");
    maker.signed("root", "server", "localhost");
    maker.signed("root", "app", "app");
    maker.signed("stranger", "fake", "app");
    let (_postgres, plimsoll) = house(|ini| {
        with_tls(ini, "client", "verify-full", &maker, "server")
            .set("client_tls_ca_file", &maker.text("root.crt"))
            .set("auth_type", "cert")
    });
    let shows = |name: &str| {
        let (cert, key) = (maker.text(&format!("{name}.crt")), maker.own_key(name));
        format!("sslmode=require sslcert={cert} sslkey={key}")
    };
    assert_eq!(psql(&plimsoll, &shows("app"), "SELECT current_user").as_deref(), Ok("app"));
    let none = psql(&plimsoll, "sslmode=require", "SELECT 1").unwrap_err();
    assert!(none.contains("certificate required") || none.contains("alert"), "{none}");
    let fake = psql(&plimsoll, &shows("fake"), "SELECT 1").unwrap_err();
    assert!(fake.contains("alert") || fake.contains("unknown ca"), "{fake}");
    plimsoll.wait_for_log("TLS handshake failed: ", SOON);
    let other = psql(&plimsoll, &format!("{} user=other", shows("app")), "SELECT 1").unwrap_err();
    assert!(other.contains("certificate authentication failed"), "{other}");
    plimsoll.wait_for_log("TLS certificate name mismatch", SOON);
}

#[test]
fn rules_tell_who_may_come_how() {
    // Below verify-ca clients may show a certificate, and lines of the file may want one.
    for mode in ["verify-ca", "require"] {
        rules_tell(mode);
    }
}

fn rules_tell(mode: &str) {
    let maker = Maker::new();
    maker.root("root");
    maker.signed("root", "server", "localhost");
    maker.signed("root", "alice", "alice");
    let hba = "hostssl p0 app all cert map=people\n\
               hostnossl p0 app all reject\n\
               host p0 other 127.0.0.1/32 trust\n\
               host p0 other ::1/128 trust\n\
               nonsense\n\
               local p1 app peer map=nobody\n\
               local all app trust\n\
               host pgbouncer admin all trust";
    fs::write(maker.path("hba"), hba).unwrap();
    fs::write(maker.path("ident"), "people alice app\npeople bob all\nnobody mallory app\n").unwrap();
    let (_postgres, plimsoll) = house(|ini| {
        with_tls(ini, "client", mode, &maker, "server")
            .set("client_tls_ca_file", &maker.text("root.crt"))
            .set("auth_type", "hba")
            .set("auth_hba_file", &maker.text("hba"))
            .set("auth_ident_file", &maker.text("ident"))
    });
    plimsoll.wait_for_log("could not parse hba config line 5", SOON);
    let alice =
        format!("sslmode=require sslcert={} sslkey={}", maker.text("alice.crt"), maker.own_key("alice"));
    assert_eq!(psql(&plimsoll, &alice, "SELECT current_user").as_deref(), Ok("app"));
    let nobody = psql(&plimsoll, &format!("{alice} user=md5er"), "SELECT 1").unwrap_err();
    assert!(nobody.contains("no authentication method is found"), "{nobody}");
    assert_eq!(
        psql(&plimsoll, &format!("{alice} user=other"), "SELECT current_user").as_deref(),
        Ok("other")
    );
    let local = |database: &str| plimsoll.login("app", database).at(plimsoll.unix_address());
    assert_eq!(local("p1").refusal().message, "unix socket login rejected");
    plimsoll.wait_for_log("ident map nobody cannot be matched", SOON);
    assert_eq!(local("p0").client().value("SELECT 1"), "1");
}

/// A PostgreSQL that speaks TLS with a certificate of its own, and the text of whatever its clients need of it.
fn postgres_with_tls(maker: &Maker, name: &str) -> Postgres {
    let postgres = Postgres::start();
    let put = |from: &str, to: &str| {
        let text = fs::read_to_string(maker.path(from)).unwrap();
        let text: String =
            text.lines().filter(|line| !line.contains('\'')).map(|line| format!("{line}\n")).collect();
        let pem = &text[text.find("-----BEGIN").unwrap()..];
        // The server's user owns what a program of it writes, and it must not be readable by others.
        postgres.sql(&format!(
            "COPY (SELECT '{}') TO PROGRAM 'umask 077; base64 -d > {to}'",
            base64(pem.as_bytes())
        ));
    };
    put(&format!("{name}.crt"), "server.crt");
    put(&format!("{name}.key"), "server.key");
    postgres.sql("ALTER SYSTEM SET ssl = on");
    postgres.sql("SELECT pg_reload_conf()");
    eventually_ok("PostgreSQL to speak TLS", SOON, || {
        let shown = postgres.sql("SHOW ssl");
        if shown.cell(0, "ssl") == "on" { Ok(()) } else { Err(String::from("off")) }
    });
    postgres
}

/// As the program `base64` reads it.
fn base64(bytes: &[u8]) -> String {
    let mut child =
        Command::new("base64").arg("-w0").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

const HOW: &str = "SELECT coalesce(version, 'plain') FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

/// A pooler before a PostgreSQL at this host, trying each second.
fn before(postgres: &Postgres, host: &str, change: impl FnOnce(Ini) -> Ini) -> Plimsoll {
    let line = format!("host={host} port={} dbname=p0", postgres.port());
    pooler(change(Ini::new(postgres).database("p0", &line).set("server_login_retry", "1")))
}

#[test]
fn servers_are_reached_as_wanted() {
    let maker = Maker::new();
    maker.self_signed("server", "localhost");
    let (plain, secured) = (Postgres::start(), postgres_with_tls(&maker, "server"));
    for (mode, from_plain, from_secured) in [
        ("disable", Some("plain"), "plain"),
        ("allow", Some("plain"), "TLSv1.3"),
        ("prefer", Some("plain"), "TLSv1.3"),
        ("require", None, "TLSv1.3"),
    ] {
        let plimsoll = before(&secured, "localhost", |ini| ini.set("server_tls_sslmode", mode));
        let mut client = plimsoll.client("app", "p0");
        assert_eq!(client.value(HOW), from_secured, "{mode}");
        let servers = plimsoll.show("SERVERS");
        let row = servers.find(&[("database", "p0")]).unwrap();
        assert_eq!(servers.cell(row, "tls").starts_with("TLSv1.3/"), from_secured == "TLSv1.3", "{mode}");
        assert_eq!(plimsoll.log().contains("SSL established: TLSv1.3/"), from_secured == "TLSv1.3", "{mode}");
        let plimsoll = before(&plain, "localhost", |ini| ini.set("server_tls_sslmode", mode));
        match from_plain {
            Some(how) => assert_eq!(plimsoll.client("app", "p0").value(HOW), how, "{mode}"),
            None => {
                let client = plimsoll.login("app", "p0");
                let waiting = std::thread::spawn(move || client.patience(SOON).try_client().map(drop));
                plimsoll.wait_for_log("closing because: server refused SSL", SOON);
                drop(plimsoll);
                assert!(waiting.join().unwrap().is_err());
            }
        }
    }
}

/// Waits for the words in the log that say that the server's certificate is not accepted.
fn is_not_accepted(plimsoll: Plimsoll) {
    let client = plimsoll.login("app", "p0");
    let waiting = std::thread::spawn(move || client.patience(SOON).try_client().map(drop));
    let log = plimsoll.wait_for_log("certificate verify failed", SOON);
    assert!(log.contains("TLS handshake failed"), "{log}");
    drop(plimsoll);
    assert!(waiting.join().unwrap().is_err());
}

#[test]
fn certificates_of_servers_are_verified_as_libpq_does() {
    let maker = Maker::new();
    maker.self_signed("own", "localhost");
    maker.root("root");
    maker.root("stranger");
    maker.signed("root", "signed", "localhost");
    for (server, ca) in [("own", "own"), ("signed", "root")] {
        let postgres = postgres_with_tls(&maker, server);
        let verify = |mode: &'static str, ca: &str| {
            let ca = maker.text(&format!("{ca}.crt"));
            move |ini: Ini| ini.set("server_tls_sslmode", mode).set("server_tls_ca_file", &ca)
        };
        for mode in ["verify-ca", "verify-full"] {
            let plimsoll = before(&postgres, "localhost", verify(mode, ca));
            assert_eq!(plimsoll.client("app", "p0").value(HOW), "TLSv1.3", "{server} {mode}");
            is_not_accepted(before(&postgres, "localhost", verify(mode, "stranger")));
        }
        // Another name for the same machine is another name.
        let plimsoll = before(&postgres, "127.0.0.1", verify("verify-ca", ca));
        assert_eq!(plimsoll.client("app", "p0").value(HOW), "TLSv1.3");
        is_not_accepted(before(&postgres, "127.0.0.1", verify("verify-full", ca)));
    }
}

#[test]
fn a_server_asks_us_for_a_certificate() {
    let maker = Maker::new();
    maker.root("root");
    maker.signed("root", "server", "localhost");
    maker.signed("root", "app", "app");
    let postgres = postgres_with_tls(&maker, "server");
    let pem = fs::read_to_string(maker.path("root.crt")).unwrap();
    let pem = &pem[pem.find("-----BEGIN").unwrap()..];
    postgres.sql(&format!("COPY (SELECT '{}') TO PROGRAM 'base64 -d > root.crt'", base64(pem.as_bytes())));
    postgres.sql("ALTER SYSTEM SET ssl_ca_file = 'root.crt'");
    let hba = "local all postgres trust\nhostssl all all all cert\n";
    postgres.sql(&format!("COPY (SELECT '{}') TO PROGRAM 'base64 -d > pg_hba.conf'", base64(hba.as_bytes())));
    postgres.sql("SELECT pg_reload_conf()");
    let plimsoll = before(&postgres, "localhost", |ini| {
        with_tls(ini, "server", "verify-full", &maker, "app")
            .set("server_tls_ca_file", &maker.text("root.crt"))
    });
    let mut client = plimsoll.client("app", "p0");
    assert_eq!(client.value("SELECT current_user"), "app");
    // The cancel request takes the same way.
    client.send(Batch::new().query("SELECT pg_sleep(600)").bytes()).unwrap();
    postgres.wait_for_sessions("wait_event = 'PgSleep'", 1);
    client.cancel_key().cancel().unwrap();
    assert_eq!(tags(&client.cycle().unwrap()), "TEZ");
    assert_eq!(client.value("SELECT 1"), "1");
}

/// A psql that stays, with one question at a time.
struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn start(plimsoll: &Plimsoll, parameters: &str) -> Session {
        let connection = format!("host=localhost port={} dbname=p0 user=app {parameters}", plimsoll.port());
        let mut child = Command::new("psql")
            .args(["-XAtq", "-d", &connection])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql is there");
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Session { child, input, output: BufReader::new(output) }
    }

    fn value(&mut self, sql: &str) -> String {
        writeln!(self.input, "{sql};").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_string()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn new_certificates_drop_nobody() {
    let maker = Maker::new();
    maker.self_signed("old", "localhost");
    maker.self_signed("new", "localhost");
    let ini =
        |postgres: &Postgres, name: &str| with_tls(Ini::new(postgres), "client", "prefer", &maker, name);
    let postgres = Postgres::start();
    let plimsoll = pooler(ini(&postgres, "old"));
    let trusts =
        |name: &str| format!("sslmode=verify-full sslrootcert={}", maker.text(&format!("{name}.crt")));
    let mut session = Session::start(&plimsoll, &trusts("old"));
    assert_eq!(session.value("SELECT 'before'"), "before");
    assert!(tls_column(&plimsoll).starts_with("TLSv1.3/"));
    plimsoll.reload(&ini(&postgres, "new"));
    assert_eq!(session.value("SELECT 'after'"), "after");
    assert_eq!(psql(&plimsoll, &trusts("new"), "SELECT 1").as_deref(), Ok("1"));
    assert!(psql(&plimsoll, &trusts("old"), "SELECT 1").is_err());
    // What cannot be had changes nothing, and is told.
    let mut console = plimsoll.console();
    console.query(&format!("SET client_tls_key_file = '{}'", maker.text("old.key")));
    let notices = console.take_notices();
    let words = "TLS settings could not be applied, still using old configuration";
    assert_eq!(notices.iter().map(|notice| notice.message.as_str()).collect::<Vec<_>>(), [words]);
    assert_eq!(psql(&plimsoll, &trusts("new"), "SELECT 1").as_deref(), Ok("1"));
    console.query(&format!("SET client_tls_cert_file = '{}'", maker.text("old.crt")));
    assert!(console.take_notices().is_empty());
    assert_eq!(psql(&plimsoll, &trusts("old"), "SELECT 1").as_deref(), Ok("1"));
    assert_eq!(session.value("SELECT 'still here'"), "still here");
}

#[test]
fn large_things_go_through_both_ways() {
    let maker = Maker::new();
    maker.self_signed("server", "localhost");
    let postgres = postgres_with_tls(&maker, "server");
    let plimsoll = before(&postgres, "localhost", |ini| {
        with_tls(ini, "client", "require", &maker, "server").set("server_tls_sslmode", "require")
    });
    let encrypted = "sslmode=require";
    let sum = "SELECT count(*), sum(length(t)) FROM (SELECT repeat('x', 1000) AS t FROM generate_series(1, 20000)) AS s";
    assert_eq!(psql(&plimsoll, encrypted, sum).as_deref(), Ok("20000|20000000"));
    let rows = psql(&plimsoll, encrypted, "SELECT repeat('r', 5000) FROM generate_series(1, 5000)").unwrap();
    assert_eq!((rows.len(), rows.lines().count()), (5000 * 5001 - 1, 5000));
    let value = psql(&plimsoll, encrypted, "SELECT repeat('v', 50000000)").unwrap();
    assert_eq!(value.len(), 50_000_000);
    let mut session = Session::start(&plimsoll, encrypted);
    assert_eq!(session.value("CREATE TABLE large (t text); SELECT 'made'"), "made");
    writeln!(session.input, "COPY large FROM STDIN;").unwrap();
    for number in 0..20_000 {
        writeln!(session.input, "{}{number}", "c".repeat(1000)).unwrap();
    }
    writeln!(session.input, "\\.").unwrap();
    assert_eq!(session.value("SELECT count(*), count(DISTINCT t) FROM large"), "20000|20000");
    let literal = "l".repeat(100_000);
    assert_eq!(session.value(&format!("SELECT length('{literal}')")), "100000");
}

#[test]
fn protocols_and_ciphers_are_as_wanted() {
    let maker = Maker::new();
    maker.self_signed("server", "localhost");
    let (_postgres, plimsoll) = house(|ini| {
        with_tls(ini, "client", "prefer", &maker, "server")
            .set("client_tls_protocols", "tlsv1.2")
            .set("client_tls_ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256")
    });
    let mut session = Session::start(&plimsoll, "sslmode=require");
    assert_eq!(session.value("SELECT 1"), "1");
    assert_eq!(tls_column(&plimsoll), "TLSv1.2/ECDHE-ECDSA-AES128-GCM-SHA256");
    let refused =
        psql(&plimsoll, "sslmode=require ssl_min_protocol_version=TLSv1.3", "SELECT 1").unwrap_err();
    assert!(refused.contains("alert protocol version"), "{refused}");
}

#[test]
fn settings_that_cannot_be_had_are_mistakes() {
    let maker = Maker::new();
    maker.self_signed("server", "localhost");
    maker.self_signed("other", "localhost");
    let missing = maker.text("missing.pem");
    let (other, server) = (maker.text("other.key"), maker.text("server.crt"));
    let key_text = fs::read_to_string(maker.path("server.key")).unwrap();
    let secret = key_text.lines().nth(1).unwrap();
    let cases = [
        ("client_tls_protocols", "tlsv1.0,tlsv1.2", "tlsv1.0"),
        ("client_tls_ciphers", "DHE-RSA-AES256-GCM-SHA384", "DHE-RSA-AES256-GCM-SHA384"),
        ("client_tls_dheparams", "legacy", "Diffie-Hellman"),
        ("client_tls_ecdhcurve", "secp112r1", "secp112r1"),
        ("client_tls13_ciphers", "TLS_SM4_GCM_SM3", "TLS_SM4_GCM_SM3"),
        ("client_tls_key_file", &missing, "cannot read"),
        ("client_tls_key_file", "", "key"),
        ("client_tls_key_file", &other, "is not that of"),
        ("client_tls_key_file", &server, "key"),
        ("server_tls_protocols", "tlsv1.1", "tlsv1.1"),
        ("auth_type", "cert", "verify-full"),
    ];
    for (key, value, words) in cases {
        let ini = with_tls(Ini::empty(), "client", "require", &maker, "server").set(key, value);
        let ini = ini.database("p0", "host=127.0.0.1");
        let (status, log) = Plimsoll::start_and_fail(BINARY, &ini);
        assert_eq!(status.code(), Some(1), "{key} = {value}: {log}");
        let line =
            log.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{key} = {value}: {log}"));
        assert!(line.contains(".ini:"), "{key} = {value}: {line}");
        assert!(!log.contains(secret), "{key} = {value} tells the key");
    }
}

#[test]
fn strange_first_bytes_of_tls_end_only_who_sent_them() {
    let maker = Maker::new();
    maker.self_signed("server", "localhost");
    let (_postgres, plimsoll) = house(|ini| with_tls(ini, "client", "prefer", &maker, "server"));
    let login = plimsoll.login("app", "p0");
    // Something else than a ClientHello after the S.
    let mut client = login.knock().unwrap();
    client.send(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    assert_eq!(client.read_byte().unwrap(), b'S');
    client.send(&login.startup_packet()).unwrap();
    plimsoll.wait_for_log("closing because: TLS handshake failed", SOON);
    // Bytes behind the request: they could be somebody else's.
    let mark = plimsoll.log_mark();
    let mut client = login.knock().unwrap();
    client.send(&[0, 0, 0, 8, 4, 210, 22, 47, 0x16, 3, 1]).unwrap();
    plimsoll.wait_for_log_since(mark, "received unencrypted data after SSL request", SOON);
    // A handshake without asking, and without the protocol's name.
    let mark = plimsoll.log_mark();
    let mut client = login.knock().unwrap();
    client.send(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]).unwrap();
    plimsoll.wait_for_log_since(mark, "closing because: TLS handshake failed", SOON);
    plimsoll.still_works(&["p0"]);
}

#[test]
fn tls_can_be_begun_without_asking() {
    let maker = Maker::new();
    maker.self_signed("server", "localhost");
    let (_postgres, plimsoll) = house(|ini| with_tls(ini, "client", "require", &maker, "server"));
    let s_client = |alpn: &[&str]| {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-quiet", "-connect", &format!("localhost:{}", plimsoll.port())])
            .args(alpn);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        drop(input.write_all(&plimsoll.login("app", "p0").startup_packet()));
        drop(input.write_all(Batch::new().query("SELECT 'direct'").bytes()));
        let (mut output, mut chunk) = (Vec::new(), [0; 4096]);
        let mut answers = child.stdout.take().unwrap();
        let answered = loop {
            match std::io::Read::read(&mut answers, &mut chunk).unwrap() {
                0 => break false,
                n => output.extend_from_slice(&chunk[..n]),
            }
            if output.windows(6).any(|part| part == b"direct") {
                break true;
            }
        };
        drop(child.kill());
        drop(child.wait());
        answered
    };
    assert!(s_client(&["-alpn", "postgresql"]));
    assert!(!s_client(&[]));
    plimsoll.wait_for_log("direct TLS without the ALPN protocol postgresql", SOON);
}
