//! The contract of a drop-in for a client's first packets (reference 3.2 "Startup packet", 3.3): see `conformance.rs`.

#![allow(clippy::unwrap_used)]

mod common;

use std::process::{Command, Stdio};
use std::time::Duration;

use common::SOON;
use common::certificates::{Maker, with_tls};
use common::contract::{answer_to, fatal, house, line, logged, start};
use plimsoll_testkit::{Client, FakeServer, Ini, Packet, Plimsoll, Postgres, ServerError, StopMode, tags};

const V3: u32 = 0x0003_0000;
const CANCEL: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

#[test]
fn first_packets_are_refused_in_its_words() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let app = || Packet::untyped(V3).text("user").text("app");
    let cases = [
        (app().text("wal_level").text("full").raw(&[0]), "unsupported startup parameter: wal_level"),
        (Packet::untyped(V3).text("database").text("p0").raw(&[0]), "no username supplied"),
        (Packet::untyped(V3).text("user").text("").raw(&[0]), "no username supplied"),
        (Packet::untyped(131_072).text("user"), "old V2 protocol not supported"),
        (Packet::untyped(0x0004_0000).text("user"), "bad packet header: '0000000d00040000'"),
        (Packet::untyped(99).text("user"), "bad packet header: '0000000d00000063'"),
        (Packet::untyped(V3).text("user").text(&"u".repeat(128)).raw(&[0]), "username too long"),
    ];
    for (packet, message) in cases {
        let mark = plimsoll.log_mark();
        fatal(&answer_to(&plimsoll, &packet.bytes()).expect(message), message);
        logged(&plimsoll, mark, message);
    }
    plimsoll.wait_for_log("unsupported startup parameter: wal_level=full", SOON);
    plimsoll.still_works(&["p0"]);
}

#[test]
fn typed_packets_out_of_turn_are_refused() {
    let (_postgres, plimsoll) = house(|ini| ini.set("auth_type", "plain"));
    let password = Packet::typed(b'p').text("app-secret").bytes();
    let login = plimsoll.login("app", "p0");
    let twice = [login.startup_packet(), login.startup_packet()].concat();
    for (bytes, message) in
        [(password, "client password pkt before startup packet"), (twice, "client re-sent startup pkt")]
    {
        fatal(&answer_to(&plimsoll, &bytes).expect(message), message);
        logged(&plimsoll, 0, message);
    }
    plimsoll.wait_for_log("closing because: client password pkt before startup packet (age=", SOON);
}

#[test]
fn cancel_requests_are_closed_without_a_word() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let (idle, console) = (plimsoll.client("app", "p0"), plimsoll.console());
    let cancel = |key: &[u8]| Packet::untyped(CANCEL).raw(key).bytes();
    let cases = [
        (cancel(b"short"), "bad cancel request"),
        (cancel(b"12345678"), "failed cancel request"),
        (cancel(&idle.cancel_key().key), "cancel request for idle client"),
        (cancel(&console.cancel_key().key), "cancel request for console client"),
    ];
    for (bytes, why) in cases {
        assert_eq!(answer_to(&plimsoll, &bytes), None, "{why}");
        plimsoll.wait_for_log(&format!("closing because: {why} (age="), SOON);
    }
}

fn first_error(client: &mut Client) -> ServerError {
    loop {
        // The N may be sent first or not at all.
        match client.read_byte().unwrap() {
            b'N' => {}
            b'E' => return client.rest_of_error(),
            byte => panic!("unexpected byte {byte}"),
        }
    }
}

#[test]
fn requests_for_encryption_are_declined_and_the_login_goes_on() {
    let (_postgres, plimsoll) = house(|ini| ini);
    for way in [plimsoll.address(), plimsoll.unix_address()] {
        let login = plimsoll.login("app", "p0").at(way);
        let mut client = login.knock().unwrap();
        for request in [GSS_REQUEST, SSL_REQUEST] {
            client.send(&Packet::untyped(request).bytes()).unwrap();
            assert_eq!(client.read_byte().unwrap(), b'N');
        }
        client.send(&login.startup_packet()).unwrap();
        login.finish(&mut client).unwrap();
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

#[test]
fn plain_bytes_behind_a_request_for_encryption_are_refused() {
    let (_postgres, plimsoll) = house(|ini| ini);
    for (request, message) in [
        (SSL_REQUEST, "received unencrypted data after SSL request"),
        (GSS_REQUEST, "received unencrypted data after GSSAPI encryption request"),
    ] {
        let login = plimsoll.login("app", "p0");
        let mut client = login.knock().unwrap();
        client.send(&[Packet::untyped(request).bytes(), login.startup_packet()].concat()).unwrap();
        fatal(&first_error(&mut client), message);
        assert_eq!(client.expect_closed(), None);
        logged(&plimsoll, 0, message);
    }
}

#[test]
fn who_must_encrypt_is_told_so() {
    let maker = Maker::new();
    maker.self_signed("server", "localhost");
    let (_postgres, plimsoll) = house(|ini| with_tls(ini, "client", "require", &maker, "server"));
    fatal(&plimsoll.login("app", "p0").refusal(), "SSL required");
    logged(&plimsoll, 0, "SSL required");
    let mut local = plimsoll.login("app", "p0").at(plimsoll.unix_address()).client();
    assert_eq!(local.value("SELECT 1"), "1");
    let mut other = plimsoll.login("app", "p0").at(plimsoll.unix_address()).knock().unwrap();
    other.send(&Packet::untyped(SSL_REQUEST).bytes()).unwrap();
    assert_eq!(other.read_byte().unwrap(), b'N');
    let connection = format!("host=localhost port={} dbname=p0 user=app sslmode=require", plimsoll.port());
    let output = Command::new("psql")
        .args(["-XAtqd", &connection, "-c", "SELECT 'in'"])
        .stdin(Stdio::null())
        .output()
        .expect("psql is there");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "in\n");
    let attempt = plimsoll.wait_for_log("login attempt: db=p0 user=app tls=TLSv1.3/", SOON);
    assert!(attempt.contains("tls=TLSv1.3/TLS_AES_256_GCM_SHA384"), "{attempt}");
    plimsoll.wait_for_log("login attempt: db=p0 user=app tls=no", SOON);
}

#[test]
fn slow_logins_end_at_client_login_timeout() {
    let postgres = Postgres::start();
    let silent = FakeServer::start(|_, peer| peer.startup().and_then(|_| peer.read()).map(drop));
    let plimsoll = start(
        Ini::new(&postgres)
            .set("client_login_timeout", "1")
            .database("silent", &format!("host=127.0.0.1 port={} dbname=p0", silent.port())),
    );
    let mut mute = plimsoll.login("app", "p0").knock().unwrap();
    let error = plimsoll.login("app", "silent").refusal();
    fatal(&error, "client_login_timeout (server down)");
    logged(&plimsoll, 0, "client_login_timeout (server down)");
    fatal(&mute.expect_closed().expect("a reason"), "client_login_timeout");
    logged(&plimsoll, 0, "client_login_timeout");
    plimsoll.still_works(&["p0"]);
}

/// Everything before the first ReadyForQuery, by its type bytes.
fn welcome(client: &Client) -> String {
    tags(&client.welcome)
}

/// The parameters of a welcome in their order.
fn told(client: &Client) -> Vec<String> {
    client
        .welcome
        .iter()
        .filter(|message| message.tag == b'S')
        .map(|message| message.strings()[0].clone())
        .collect()
}

#[test]
fn the_welcome_has_its_order() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let login = plimsoll.login("app", "p0").parameter("client_encoding", "LATIN1");
    let client = login.parameter("DateStyle", "German").client();
    let seen = welcome(&client);
    assert!(seen.starts_with("RS") && seen.ends_with("SK"), "{seen}");
    assert_eq!(seen.matches('R').count(), 1);
    let names = told(&client);
    for name in
        ["server_version", "server_encoding", "integer_datetimes", "is_superuser", "session_authorization"]
    {
        let at = names.iter().position(|known| known == name).unwrap_or_else(|| panic!("no {name}"));
        let tracked = names.iter().position(|known| known == "client_encoding").expect("it is told");
        assert!(at < tracked, "{names:?}");
    }
    for name in ["DateStyle", "TimeZone", "standard_conforming_strings", "application_name"] {
        assert!(names.iter().any(|known| known == name), "no {name} in {names:?}");
    }
    assert_eq!(client.parameter("client_encoding"), "LATIN1");
    assert!(client.parameter("DateStyle").starts_with("German"), "{}", client.parameter("DateStyle"));
}

/// 1.18 leaves the sign of the process id to chance.
#[test]
fn modern_keys_to_cancel_are_positive() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let keys: Vec<Vec<u8>> = (0..8).map(|_| plimsoll.client("app", "p0").cancel_key().key).collect();
    for key in &keys {
        assert_eq!((key.len(), key[0] & 0x80), (8, 0), "{key:?}");
        assert_eq!(keys.iter().filter(|other| *other == key).count(), 1);
    }
}

#[test]
fn the_console_welcomes_with_values_of_its_own() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let console = plimsoll.console();
    for (name, value) in [
        ("client_encoding", "UTF8"),
        ("server_encoding", "UTF8"),
        ("DateStyle", "ISO"),
        ("TimeZone", "GMT"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "on"),
    ] {
        assert_eq!(console.parameter(name), value, "{name}");
    }
    assert!(console.parameter("server_version").ends_with("/bouncer"));
    assert!(welcome(&console).starts_with('R'));
}

#[test]
fn the_first_of_a_pool_waits_for_its_server_and_the_next_does_not() {
    let (mut postgres, plimsoll) = house(|ini| ini.set("server_login_retry", "1"));
    plimsoll.still_works(&["p0"]);
    postgres.stop(StopMode::Fast);
    // What PostgreSQL says at login is known: no server is needed for it.
    let next = plimsoll.login("app", "p0").try_client();
    let first = plimsoll.login("app", "p1");
    let mut held = first.knock().unwrap();
    held.send(&first.startup_packet()).unwrap();
    assert!(!held.hears_within(Duration::from_millis(300)));
    postgres.start_again();
    first.finish(&mut held).unwrap();
    assert_eq!(held.value("SELECT current_database()"), "p1");
    drop(next);
}

#[test]
fn ignored_parameters_are_let_through() {
    let (_postgres, plimsoll) =
        house(|ini| ini.set("ignore_startup_parameters", "extra_float_digits, options,wal_level"));
    let login = plimsoll.login("app", "p0").parameter("extra_float_digits", "3").parameter("wal_level", "x");
    assert_eq!(login.client().value("SELECT 1"), "1");
    let big = plimsoll.login("app", "p0").parameter("wal_level", &"x".repeat(1_500));
    assert_eq!(big.client().value("SELECT 1"), "1");
}

#[test]
fn a_line_may_set_the_encoding_and_force_a_user() {
    let postgres = Postgres::start();
    let forced = format!("{} user=other", line(&postgres, "p0"));
    let encoded = format!("{} client_encoding=LATIN1", line(&postgres, "p0"));
    let plimsoll = start(Ini::new(&postgres).database("forced", &forced).database("encoded", &encoded));
    assert_eq!(plimsoll.client("app", "forced").value("SELECT current_user"), "other");
    assert_eq!(plimsoll.client("app", "encoded").value("SHOW client_encoding"), "LATIN1");
}

fn says_to(plimsoll: &Plimsoll, options: &str, message: &str) {
    fatal(&plimsoll.login("app", "p0").parameter("options", options).refusal(), message);
}

/// 1.18 refuses `options` as such: `unsupported startup parameter: options`.
#[test]
fn modern_options_are_read() {
    let (_postgres, plimsoll) = house(|ini| {
        ini.set("track_extra_parameters", "intervalstyle").set("ignore_startup_parameters", "geqo")
    });
    let shape = "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed";
    for options in ["-d", "-c timezone", "--timezone", "garbage"] {
        says_to(&plimsoll, options, shape);
    }
    says_to(&plimsoll, "-c wal_level=full", "unsupported startup parameter in options: wal_level");
    for options in [
        "-c timezone=Asia/Tokyo",
        "-ctimezone=Asia/Tokyo",
        "--timezone=Asia/Tokyo",
        "-c geqo=off --timezone=Asia/Tokyo",
        "-c time\\zone=Asia/Tokyo",
    ] {
        let mut client = plimsoll.login("app", "p0").parameter("options", options).client();
        assert_eq!(client.value("SHOW TimeZone"), "Asia/Tokyo", "{options}");
    }
    let spaced = "-c application_name=my\\ shop -c intervalstyle=iso_8601";
    let mut client = plimsoll.login("app", "p0").parameter("options", spaced).client();
    assert_eq!(client.value("SHOW application_name"), "my shop");
    assert_eq!(client.value("SHOW intervalstyle"), "iso_8601");
    assert_eq!(told(&client).last().map(String::as_str), Some("intervalstyle"));
}

/// 1.18 refuses both: `bad packet header: ...` and `unsupported startup parameter: _pq_.one`.
#[test]
fn modern_versions_and_options_are_negotiated_down() {
    let (_postgres, plimsoll) = house(|ini| ini);
    for (minor, options) in [(0, &["_pq_.one"][..]), (1, &[]), (2, &["_pq_.one", "_pq_.two"])] {
        let login = plimsoll.login("app", "p0").minor(minor);
        let login = options.iter().fold(login, |login, name| login.parameter(name, "on"));
        let mut client = login.client();
        let answers: Vec<_> = client.welcome.iter().filter(|message| message.tag == b'v').collect();
        let names: String = options.iter().map(|name| format!("{name}\0")).collect();
        let wanted = Packet::typed(b'v').int32(V3).int32(u32::try_from(options.len()).unwrap());
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].bytes(), wanted.raw(names.as_bytes()).bytes());
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

/// 1.18 goes on without a terminator.
#[test]
fn modern_startup_packets_have_an_end() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let app = || Packet::untyped(V3).text("user").text("app");
    for packet in [app().text("database").text("p0"), app().raw(b"\0garbage")] {
        let error = answer_to(&plimsoll, &packet.bytes()).expect("a reason");
        fatal(&error, "invalid startup packet layout: expected terminator as last byte");
    }
}

/// 1.18 has no login_notify_message.
#[test]
fn modern_the_notice_of_the_login_comes_before_it_is_ready() {
    let (_postgres, plimsoll) = house(|ini| ini.set("login_notify_message", "You are welcome"));
    let mut client = plimsoll.client("app", "p0");
    assert!(welcome(&client).ends_with("SKN"), "{}", welcome(&client));
    let notices = client.take_notices();
    assert_eq!((notices[0].severity.as_str(), notices[0].sqlstate.as_str()), ("NOTICE", "00000"));
    assert_eq!(notices[0].message, "You are welcome");
}
