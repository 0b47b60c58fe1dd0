//! The HTTP listener with TLS of its own: other machines are let in, and nothing is said without it.

#![allow(clippy::unwrap_used)]

mod common;
mod scrape;

use std::io::Write;
use std::process::{Command, Stdio};

use common::certificates::Maker;
use common::{BINARY, SOON, pooler};
use plimsoll_testkit::{Ini, Plimsoll, Postgres, free_port};

fn with_cert(ini: Ini, maker: &Maker, name: &str) -> Ini {
    ini.own("http_tls_cert_file", &maker.text(&format!("{name}.crt")))
        .own("http_tls_key_file", &maker.text(&format!("{name}.key")))
}

/// What a verifying client is answered.
fn asked(maker: &Maker, port: u16, more: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-quiet", "-verify_return_error", "-CAfile", &maker.text("server.crt")])
        .args(["-connect", &format!("127.0.0.1:{port}"), "-servername", "localhost"])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It may have ended already, and then says nothing.
    drop(child.stdin.take().unwrap().write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
}

#[test]
fn other_machines_are_let_in_with_tls() {
    let maker = Maker::new();
    maker.self_signed("server", "localhost");
    let port = free_port();
    let ini = Ini::new(&Postgres::start()).own("http_listen", &format!("*:{port}"));
    let plimsoll = pooler(with_cert(ini, &maker, "server"));
    plimsoll.wait_for_log(&format!("listening on https://0.0.0.0:{port}/metrics"), SOON);
    for alpn in [&[][..], &["-alpn", "h2,http/1.1"], &["-tls1_2"]] {
        let text = asked(&maker, port, alpn);
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.contains("plimsoll_"), "{alpn:?}: {text}");
    }
    for other in [&["-alpn", "postgresql"][..], &["-tls1_1"]] {
        assert_eq!(asked(&maker, port, other), "", "{other:?}");
    }
    let plain = scrape::ask(port, "GET", "/metrics", "");
    assert!(plain.is_err() || plain.is_ok_and(|answer| !answer.body.contains("plimsoll_")));
}

#[test]
fn what_is_wrong_with_certificate_and_key_is_the_end_of_the_start() {
    let maker = Maker::new();
    maker.self_signed("server", "localhost");
    maker.self_signed("other", "localhost");
    let base = || Ini::new(&Postgres::start()).own("http_listen", &free_port().to_string());
    let (cert, other) = (maker.text("server.crt"), maker.text("other.key"));
    let missing = maker.text("nothing.key");
    for (ini, words) in [
        (base().own("http_tls_cert_file", &cert), "http_tls_cert_file needs http_tls_key_file"),
        (base().own("http_tls_key_file", &other), "http_tls_key_file needs http_tls_cert_file"),
        (
            base().own("http_tls_cert_file", &cert).own("http_tls_key_file", &missing),
            "no TLS for http_listen: http_tls_key_file: cannot read",
        ),
        (
            base().own("http_tls_cert_file", &cert).own("http_tls_key_file", &other),
            "no TLS for http_listen: http_tls_",
        ),
    ] {
        let (status, log) = Plimsoll::start_and_fail(BINARY, &ini);
        assert!(!status.success() && log.contains(words) && log.contains("plimsoll.ini:"), "{words}: {log}");
    }
}
