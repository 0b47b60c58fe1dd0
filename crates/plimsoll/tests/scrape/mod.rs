//! A scraper: one request a connection, and what an answer says.

#![allow(dead_code, reason = "each test program uses its part of it")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use plimsoll_testkit::{Ini, Plimsoll, Postgres, PostgresOptions, free_port};

/// A pooler that answers scrapers.
pub(crate) struct House {
    pub(crate) postgres: Postgres,
    pub(crate) plimsoll: Plimsoll,
    pub(crate) port: u16,
}

/// A trusting PostgreSQL, and a pooler with a port for scrapers.
#[track_caller]
pub(crate) fn house(change: impl FnOnce(Ini) -> Ini) -> House {
    let postgres = Postgres::start_with(PostgresOptions::default());
    let port = free_port();
    let ini = change(Ini::new(&postgres)).own("http_listen", &port.to_string());
    let plimsoll = Plimsoll::start(super::common::BINARY, &ini);
    plimsoll.wait_for_log(&format!("listening on http://127.0.0.1:{port}/metrics"), super::common::SOON);
    House { postgres, plimsoll, port }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// What came until the end of the connection.
    pub(crate) fn of(text: &str) -> Answer {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_string() }
    }
}

/// Sends this, and reads to the end.
pub(crate) fn send(port: u16, request: &[u8]) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(request)?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    Ok(Answer::of(&String::from_utf8_lossy(&text)))
}

/// A request of this method, with headers that end in CR LF.
pub(crate) fn ask(port: u16, method: &str, path: &str, headers: &str) -> std::io::Result<Answer> {
    send(port, format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes())
}

/// Sends a form as an application that proves itself by its key, `user:password` being what it writes.
pub(crate) fn post(port: u16, path: &str, basic: &str, form: &str) -> Answer {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        BASE64_STANDARD.encode(basic),
        form.len()
    );
    send(port, request.as_bytes()).expect("an answer")
}

/// An access token for a key.
#[track_caller]
pub(crate) fn token(port: u16, key: &str) -> String {
    let key_id = key.split('_').nth(2).expect("a key");
    let answer = post(port, "/oauth/token", &format!("{key_id}:{key}"), "grant_type=client_credentials");
    assert_eq!(answer.status, 200, "{answer:?}");
    let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    body["access_token"].as_str().expect("a token").to_owned()
}

/// Prometheus' own format.
#[track_caller]
pub(crate) fn scrape(port: u16) -> String {
    let answer = ask(port, "GET", "/metrics", "").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.head);
    answer.body
}

/// OpenMetrics.
#[track_caller]
pub(crate) fn scrape_open(port: u16) -> String {
    let accept =
        "Accept: application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3\r\n";
    let answer = ask(port, "GET", "/metrics", accept).expect("an answer");
    assert!(
        answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        answer.head
    );
    answer.body
}

/// All series and their values.
pub(crate) fn series(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_string(), value.replace("+Inf", "inf").parse().ok()?))
    };
    lines.map(|line| pair(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect()
}

/// The sum of all series of this name whose labels have all these parts.
pub(crate) fn sum(text: &str, name: &str, parts: &[&str]) -> f64 {
    let is_of =
        |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
    let all = series(text).into_iter().filter(|(line, _)| is_of(line));
    all.filter(|(line, _)| parts.iter().all(|part| line.contains(part))).map(|(_, value)| value).sum()
}

/// A Python script of `tests/metrics`, if there is a Python with what it needs.
pub(crate) fn script(name: &str) -> Option<Command> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/metrics").join(name);
    let found = std::env::var_os("PLIMSOLL_PYTHON").filter(|python| {
        let mut command = Command::new(python);
        let imports = command.args(["-c", "import prometheus_client, yaml"]).output();
        imports.is_ok_and(|output| output.status.success())
    });
    let Some(python) = found else {
        assert!(
            std::env::var_os("PLIMSOLL_REQUIRE_ALL").is_none(),
            "no Python with prometheus_client and yaml"
        );
        super::common::net::say("SKIPPED: PLIMSOLL_PYTHON names no Python with prometheus_client and yaml");
        return None;
    };
    let mut command = Command::new(python);
    command.arg(path);
    Some(command)
}

/// Runs a script to its end; its output.
#[track_caller]
pub(crate) fn run(mut command: Command) -> String {
    let output = command.output().expect("Python starts");
    let (said, trouble) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{trouble}");
    said.into_owned()
}
