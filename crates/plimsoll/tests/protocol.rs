//! The first packets: versions, requests for encryption, what is asked for at startup.

#![allow(clippy::unwrap_used)]

mod common;

use common::house;
use plimsoll_testkit::{Packet, ServerError};

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

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
fn plain_bytes_right_behind_a_request_for_encryption_are_refused() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let cases = [
        (SSL_REQUEST, "received unencrypted data after SSL request"),
        (GSS_REQUEST, "received unencrypted data after GSSAPI encryption request"),
    ];
    for (request, words) in cases {
        let login = plimsoll.login("app", "p0");
        let mut client = login.knock().unwrap();
        let both = [Packet::untyped(request).bytes(), login.startup_packet()].concat();
        client.send(&both).unwrap();
        let error = loop {
            // The N may be sent first or not at all.
            match client.read_byte().unwrap() {
                b'N' => {}
                b'E' => break client.rest_of_error(),
                byte => panic!("unexpected byte {byte}"),
            }
        };
        assert_eq!(error.message, words);
        assert_eq!(error.severity, "FATAL");
        assert_eq!(client.expect_closed(), None);
    }
    plimsoll.still_works(&["p0"]);
}

#[test]
fn newer_versions_and_unknown_options_are_negotiated_down_to_3_0() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let cases: [(u16, &[&str]); 4] = [(0, &["_pq_.one"]), (1, &[]), (2, &[]), (2, &["_pq_.one", "_pq_.two"])];
    for (minor, options) in cases {
        let mut login = plimsoll.login("app", "p0").minor(minor);
        for option in options {
            login = login.parameter(option, "on");
        }
        let mut client = login.client();
        let negotiated: Vec<_> = client.welcome.iter().filter(|message| message.tag == b'v').collect();
        assert_eq!(negotiated.len(), 1, "3.{minor} {options:?}");
        let body = &negotiated[0].body;
        assert_eq!(body[..4], 0x0003_0000u32.to_be_bytes(), "3.{minor} {options:?}");
        assert_eq!(body[4..8], u32::try_from(options.len()).unwrap().to_be_bytes(), "{options:?}");
        let names: String = options.iter().map(|option| format!("{option}\0")).collect();
        assert_eq!(body[8..], *names.as_bytes());
        assert_eq!(client.value("SELECT 1"), "1");
    }
    assert!(plimsoll.client("app", "p0").welcome.iter().all(|message| message.tag != b'v'));
}

#[test]
fn old_and_unknown_versions_are_refused() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let cases = [
        (0x0002_0000, "old V2 protocol not supported"),
        (0x0004_0000, "bad packet header: '0000000800040000'"),
        (0x1234_5678, "bad packet header: '0000000812345678'"),
    ];
    for (code, words) in cases {
        let mut client = plimsoll.login("app", "p0").knock().unwrap();
        client.send(&Packet::untyped(code).bytes()).unwrap();
        let error = client.expect_closed().expect("a reason");
        assert_eq!((error.severity.as_str(), error.message.as_str()), ("FATAL", words));
    }
    plimsoll.still_works(&["p0"]);
}

#[test]
fn the_welcome_tells_what_postgres_told() {
    let (postgres, plimsoll) = house(|ini| ini);
    let direct = postgres.login("app", "p0").client();
    let client = plimsoll.login("app", "p0").parameter("application_name", "direct").client();
    let names = [
        "server_version",
        "server_encoding",
        "client_encoding",
        "DateStyle",
        "TimeZone",
        "IntervalStyle",
        "integer_datetimes",
        "standard_conforming_strings",
        "is_superuser",
        "session_authorization",
        "in_hot_standby",
        "default_transaction_read_only",
        "application_name",
    ];
    for name in names {
        assert_eq!(client.parameter(name), direct.parameter(name), "{name}");
    }
    let order: String = client.welcome.iter().map(|message| char::from(message.tag)).collect();
    assert!(order.starts_with("RS") && order.ends_with("SK"), "{order}");
    assert_eq!(client.cancel_key().key[0] & 0x80, 0, "the process id must be positive");
}

#[test]
fn startup_packets_without_sense_are_refused() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let version = 0x0003_0000;
    let cases = [
        (Packet::untyped(version).text("database").text("p0").raw(&[0]), "no username supplied"),
        (Packet::untyped(version).raw(&[0]), "no username supplied"),
        (
            Packet::untyped(version).text("user").text("app").text("database").text("p0"),
            "invalid startup packet layout: expected terminator as last byte",
        ),
        (
            Packet::untyped(version).text("user").text("app").raw(&[0, 1]),
            "invalid startup packet layout: expected terminator as last byte",
        ),
        (
            Packet::untyped(version)
                .text("user")
                .text(&"u".repeat(128))
                .text("database")
                .text("p0")
                .raw(&[0]),
            "username too long",
        ),
        (
            Packet::untyped(version).text("user").text("app").text("nonsense").text("1").raw(&[0]),
            "unsupported startup parameter: nonsense",
        ),
        (
            Packet::untyped(version).text("user").text("app").text("options").text("-d 5").raw(&[0]),
            "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed",
        ),
        (
            Packet::untyped(version).text("user").text("app").text("options").text("-c work_mem=1").raw(&[0]),
            "unsupported startup parameter in options: work_mem",
        ),
    ];
    for (packet, words) in cases {
        let mut client = plimsoll.login("app", "p0").knock().unwrap();
        client.send(&packet.bytes()).unwrap();
        let error: ServerError = client.expect_closed().expect("a reason");
        assert_eq!((error.severity.as_str(), error.message.as_str()), ("FATAL", words));
        plimsoll.wait_for_log(&format!("closing because: {words}"), common::SOON);
    }
    plimsoll.still_works(&["p0"]);
}

#[test]
fn a_database_defaults_to_the_user_and_large_startup_packets_work() {
    let postgres = plimsoll_testkit::Postgres::start();
    let ini = plimsoll_testkit::Ini::new(&postgres)
        .database("app", &format!("host=127.0.0.1 port={} dbname=p1", postgres.port()))
        .set("ignore_startup_parameters", "extra_float_digits, long_one");
    let plimsoll = common::pooler(ini);
    let mut client = plimsoll.login("app", "p0").knock().unwrap();
    let long = "x".repeat(8_000);
    let packet = Packet::untyped(0x0003_0000).text("user").text("app");
    client
        .send(&packet.text("extra_float_digits").text("2").text("long_one").text(&long).raw(&[0]).bytes())
        .unwrap();
    plimsoll.login("app", "p0").finish(&mut client).unwrap();
    assert_eq!(client.value("SELECT current_database()"), "p1");
}

#[test]
fn messages_out_of_their_time_are_refused() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.send(&Packet::typed(b'~').text("what").bytes()).unwrap();
    let error = client.expect_closed().expect("a reason");
    assert_eq!((error.severity.as_str(), error.message.as_str()), ("FATAL", "unknown pkt"));
    plimsoll.still_works(&["p0"]);
}
