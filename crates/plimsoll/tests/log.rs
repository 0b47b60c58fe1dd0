//! Log lines: PgBouncer's format, and written before the client sees the effect.

#![allow(clippy::unwrap_used)]

mod common;

use common::{SOON, house};
use plimsoll_testkit::Plimsoll;

/// Splits a line into level and the rest after checking everything before: timestamp, zone, `[pid]`.
#[track_caller]
fn level_and_text(line: &str, pid: u32) -> (&str, &str) {
    let shape = "dddd-dd-dd dd:dd:dd.ddd ";
    let (stamp, rest) = line.split_at(shape.len());
    for (seen, wanted) in stamp.chars().zip(shape.chars()) {
        let fits = if wanted == 'd' { seen.is_ascii_digit() } else { seen == wanted };
        assert!(fits, "{line}");
    }
    let (zone, rest) = rest.split_once(' ').unwrap();
    assert!(
        !zone.is_empty() && zone.chars().all(|c| c.is_ascii_alphanumeric() || "+-:".contains(c)),
        "{line}"
    );
    let rest = rest.strip_prefix(&format!("[{pid}] ")).unwrap_or_else(|| panic!("no [{pid}] in {line}"));
    rest.split_once(' ').unwrap()
}

/// Takes `C-<pointer>: db/user@address:port ` off.
#[track_caller]
fn after_prefix<'a>(text: &'a str, kind: &str, who: &str) -> &'a str {
    let rest = text.strip_prefix(kind).unwrap_or_else(|| panic!("no {kind} at the start of {text}"));
    let (pointer, rest) = rest.split_once(": ").unwrap();
    assert!(pointer.starts_with("0x") && pointer[2..].chars().all(|c| c.is_ascii_hexdigit()), "{text}");
    let (peer, rest) = rest.split_once(' ').unwrap();
    assert!(peer.starts_with(who), "{peer} in {text}");
    rest
}

fn line(plimsoll: &Plimsoll, part: &str) -> String {
    plimsoll.wait_for_log(part, SOON)
}

#[test]
fn every_line_has_the_shape() {
    let (postgres, mut plimsoll) = house(|ini| ini.own("cleanup_timeout", "0"));
    plimsoll.still_works(&["p0"]);
    let _refused = plimsoll.login("nobody", "p0").refusal();
    let _refused = plimsoll.login("app", "nowhere").refusal();
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let port = client.port();
    drop(client);
    let left = line(&plimsoll, "client disconnect while server was not ready");
    let pid = plimsoll.process().pid();
    for text in plimsoll.log().lines() {
        let (level, _) = level_and_text(text, pid);
        assert!(["FATAL", "ERROR", "WARNING", "LOG", "DEBUG", "NOISE"].contains(&level), "{text}");
    }
    let (level, text) = level_and_text(&left, pid);
    assert_eq!(level, "LOG");
    let what = after_prefix(text, "S-", &format!("p0/app@127.0.0.1:{}", postgres.port()));
    assert!(
        what.starts_with("closing because: client disconnect while server was not ready (age="),
        "{left}"
    );
    let gone =
        line(&plimsoll, &format!("p0/app@127.0.0.1:{port} closing because: client unexpected eof (age="));
    assert!(gone.ends_with("s)"), "{gone}");
}

#[test]
fn logins_and_connections_are_told() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    let port = client.port();
    line(&plimsoll, &format!("p0/app@127.0.0.1:{port} login attempt: db=p0 user=app tls=no"));
    let opened = line(&plimsoll, "new connection to server (from 127.0.0.1:");
    assert!(opened.contains("S-0x") && opened.contains(&format!("@127.0.0.1:{}", postgres.port())));
    client.leave();
    line(&plimsoll, &format!("p0/app@127.0.0.1:{port} closing because: client close request (age=0s)"));
    let ipv6 = plimsoll_testkit::Address::v6(plimsoll.port());
    let mut client = plimsoll.login("app", "p1").at(ipv6).client();
    client.query("SELECT 1");
    line(&plimsoll, &format!("p1/app@[::1]:{} login attempt", client.port()));
    let mut client = plimsoll.login("app", "p2").at(plimsoll.unix_address()).client();
    client.query("SELECT 1");
    let unix = line(&plimsoll, "p2/app@unix");
    assert!(
        unix.contains(&format!("p2/app@unix({}):{} login attempt", std::process::id(), plimsoll.port())),
        "{unix}"
    );
}

#[test]
fn refusals_are_told_before_the_client_hears_them() {
    let (_postgres, plimsoll) = house(|ini| ini.set("auth_type", "md5"));
    let mark = plimsoll.log_mark();
    let error = plimsoll.login("app", "p0").password("wrong").refusal();
    // At this moment, without waiting: the lines are there.
    let log = plimsoll.log_since(mark);
    let closing = log.find(&format!("closing because: {} (age=", error.message)).expect("why it is closed");
    let told = log.find("WARNING C-").expect("a warning");
    assert!(log[told..].contains(&format!("pooler error: {}", error.message)), "{log}");
    assert!(closing < told, "{log}");
}

#[test]
fn lines_can_be_switched_off() {
    let (_postgres, plimsoll) = house(|ini| {
        ini.set("log_connections", "0").set("log_disconnections", "0").set("log_pooler_errors", "0")
    });
    plimsoll.still_works(&["p0", "p1"]);
    let _refused = plimsoll.login("nobody", "p0").refusal();
    let log = plimsoll.log();
    for part in ["login attempt", "new connection to server", "closing because", "pooler error"] {
        assert!(!log.contains(part), "{part} in\n{log}");
    }
}

#[test]
fn secrets_and_texts_are_never_told() {
    let (_postgres, plimsoll) = house(|ini| ini.set("auth_type", "plain").set("verbose", "0"));
    let mut client = plimsoll.login("app", "p0").password("app-secret").client();
    client.query("SELECT 'a-very-private-text'");
    let _refused = plimsoll.login("app", "p0").password("a-mistyped-secret").refusal();
    drop(client);
    line(&plimsoll, "client unexpected eof");
    let log = plimsoll.log();
    for secret in ["app-secret", "a-mistyped-secret", "a-very-private-text"] {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
}

#[test]
fn a_logfile_is_reopened_when_it_is_moved() {
    let (postgres, plain) = house(|ini| ini);
    let file = plain.dir().join("pooler.log");
    let moved = plain.dir().join("pooler.log.1");
    let ini = plimsoll_testkit::Ini::new(&postgres).set("logfile", &file.display().to_string());
    let plimsoll = common::pooler(ini.clone());
    plimsoll.still_works(&["p0"]);
    let first = std::fs::read_to_string(&file).unwrap();
    assert!(first.contains("login attempt: db=p0"), "{first}");
    std::fs::rename(&file, &moved).unwrap();
    plimsoll.reload(&ini);
    plimsoll.still_works(&["p1"]);
    let second = std::fs::read_to_string(&file).unwrap();
    assert!(second.contains("login attempt: db=p1") && !second.contains("login attempt: db=p0"), "{second}");
}

#[test]
fn stats_are_told_each_period() {
    let (_postgres, plimsoll) = house(|ini| ini.set("stats_period", "1"));
    plimsoll.still_works(&["p0"]);
    let told = line(&plimsoll, "stats: ");
    assert!(told.contains("xacts/s") && told.contains("queries/s"), "{told}");
}
