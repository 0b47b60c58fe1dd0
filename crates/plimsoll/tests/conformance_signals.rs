//! The contract of a drop-in for its log, signals and end (reference 1): see `conformance.rs`.

#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpStream;

use common::contract::{against_others, answer_to, fatal, house, logged, says};
use common::{BINARY, SOON};
use plimsoll_testkit::{Batch, Client, Packet, Plimsoll, Signal, binary_of, eventually, run_beside, tags};

/// Whether a log line has the shape `2026-11-20 16:01:45.240 UTC [778] LOG `, and what follows.
fn taken_apart(line: &str) -> Option<&str> {
    let shape = |text: &str, pattern: &str| {
        text.len() == pattern.len()
            && text.bytes().zip(pattern.bytes()).all(|(byte, wanted)| match wanted {
                b'0' => byte.is_ascii_digit(),
                other => byte == other,
            })
    };
    let (moment, rest) = line.split_at_checked(23)?;
    let (zone, rest) = rest.strip_prefix(' ')?.split_once(" [")?;
    let (pid, rest) = rest.split_once("] ")?;
    let (level, rest) = rest.split_once(' ')?;
    let whole = shape(moment, "0000-00-00 00:00:00.000")
        && !zone.is_empty()
        && pid.bytes().all(|byte| byte.is_ascii_digit())
        && ["FATAL", "ERROR", "WARNING", "LOG", "DEBUG", "NOISE"].contains(&level);
    whole.then_some(rest)
}

#[test]
fn lines_of_the_log_have_their_shape() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    let port = client.port();
    client.leave();
    let local = plimsoll.login("app", "p0").at(plimsoll.unix_address());
    local.client().leave();
    fatal(&plimsoll.login("app", "nowhere").refusal(), "no such database: nowhere");
    fatal(&answer_to(&plimsoll, &Packet::untyped(131_072).bytes()).unwrap(), "old V2 protocol not supported");
    logged(&plimsoll, 0, "old V2 protocol not supported");
    let mut six = plimsoll.login("app", "p0").at(plimsoll_testkit::Address::v6(plimsoll.port())).client();
    six.query("SELECT 1");
    for words in [
        format!("p0/app@127.0.0.1:{port} login attempt: db=p0 user=app tls=no"),
        format!("p0/app@127.0.0.1:{port} closing because: client close request (age=0s)"),
        format!("):{} login attempt: db=p0 user=app", plimsoll.port()),
        String::from("p0/app@unix("),
        String::from("p0/app@[::1]:"),
        String::from("(nodb)/(nouser)@127.0.0.1:"),
        String::from("new connection to server (from 127.0.0.1:"),
    ] {
        plimsoll.wait_for_log(&words, SOON);
    }
    let log = plimsoll.log();
    for line in log.lines() {
        let rest = taken_apart(line).unwrap_or_else(|| panic!("{line:?}"));
        let client = rest.contains("login attempt") || rest.contains("pooler error");
        assert!(!client || rest.starts_with("C-0x"), "{line}");
        assert!(!rest.contains("new connection to server") || rest.starts_with("S-0x"), "{line}");
    }
}

#[test]
fn the_command_line_knows_its_words() {
    let binary = binary_of(BINARY).display().to_string();
    for (option, words) in
        [("--version", "PgBouncer 1."), ("-V", "PgBouncer 1."), ("--help", "-d"), ("-h", "-d")]
    {
        // Ours is called by its own name here; what it says then is its own.
        let words = if words.starts_with('P') && !against_others() { "plimsoll" } else { words };
        let (status, output) = run_beside(&binary, |command| {
            command.arg(option);
        });
        assert!(
            status.success() && output.to_lowercase().contains(&words.to_lowercase()),
            "{option}: {output}"
        );
    }
    let (status, output) = run_beside(&binary, |command| {
        command.arg("/nowhere.ini");
    });
    assert!(!status.success(), "{output}");
}

#[test]
fn sighup_and_reload_read_the_files_again() {
    let (postgres, mut plimsoll) = house(|ini| ini);
    let ini = || {
        let ini = plimsoll_testkit::Ini::new(&postgres).without_database("p1");
        if against_others() { ini } else { ini.own("compat", "pgbouncer") }
    };
    plimsoll.rewrite(&ini());
    plimsoll.signal(Signal::Hangup);
    plimsoll.wait_for_log("got SIGHUP, re-reading config", SOON);
    plimsoll.wait_for_log("dropping database 'p1'", SOON);
    fatal(&plimsoll.login("app", "p1").refusal(), "no such database: p1");
    // The log is closed and opened again.
    let log = plimsoll.dir().join("own.log").display().to_string();
    plimsoll.reload(&ini().set("logfile", &log));
    let moved = format!("{log}.1");
    eventually("the new log", SOON, || std::fs::metadata(&log).is_ok());
    std::fs::rename(&log, &moved).unwrap();
    plimsoll.signal(Signal::Hangup);
    // It comes with the next line.
    eventually("the next log", SOON, || {
        plimsoll.still_works(&["p0"]);
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("login attempt: db=p0"))
    });
}

#[test]
fn sigusr1_pauses_and_sigusr2_goes_on() {
    let (_postgres, mut plimsoll) = house(|ini| ini);
    plimsoll.signal(Signal::User1);
    plimsoll.wait_for_log("got SIGUSR1, pausing all activity", SOON);
    let mut client = plimsoll.login("app", "p0").knock().unwrap();
    let login = plimsoll.login("app", "p0");
    client.send(&login.startup_packet()).unwrap();
    assert!(!client.hears_within(std::time::Duration::from_millis(200)));
    plimsoll.signal(Signal::User1);
    plimsoll.wait_for_log("got SIGUSR1, but already paused/suspended", SOON);
    plimsoll.signal(Signal::User2);
    plimsoll.wait_for_log("got SIGUSR2, continuing from PAUSE", SOON);
    login.finish(&mut client).unwrap();
    assert_eq!(client.value("SELECT 1"), "1");
    plimsoll.signal(Signal::User2);
    plimsoll.wait_for_log("got SIGUSR2, but not paused/suspended", SOON);
    let mut console = plimsoll.console();
    console.query("SUSPEND");
    plimsoll.signal(Signal::User2);
    plimsoll.wait_for_log("got SIGUSR2, continuing from SUSPEND", SOON);
    assert_eq!(client.value("SELECT 2"), "2");
}

#[test]
fn shutdown_ends_it_without_an_answer() {
    let (_postgres, mut plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let mut console = plimsoll.console();
    console.send(Batch::new().query("SHUTDOWN").bytes()).unwrap();
    let said: Vec<_> = std::iter::from_fn(|| console.read().ok()).collect();
    assert_eq!(tags(&said), "");
    assert_eq!(plimsoll.wait_exit(SOON).code(), Some(0));
    plimsoll.wait_for_log("SHUTDOWN command issued", SOON);
    client.expect_closed();
    socket_is_gone(&plimsoll);
}

#[track_caller]
fn socket_is_gone(plimsoll: &Plimsoll) {
    let socket = plimsoll.dir().join(format!(".s.PGSQL.{}", plimsoll.port()));
    assert!(!socket.exists(), "the Unix socket was left behind");
}

#[track_caller]
fn ends_with(plimsoll: &mut Plimsoll, words: &str) {
    assert_eq!(plimsoll.wait_exit(SOON).code(), Some(0), "{}", plimsoll.log());
    plimsoll.wait_for_log(words, SOON);
    socket_is_gone(plimsoll);
}

/// How a graceful end begins: by a signal, or by a command.
fn begins(plimsoll: &mut Plimsoll, signal: Signal, command: &str) {
    if command.is_empty() {
        plimsoll.signal(signal);
        return;
    }
    let mut console = plimsoll.console();
    assert_eq!(console.query(command).command, "SHUTDOWN");
    plimsoll.wait_for_log(&format!("{command} command issued"), SOON);
    console.leave();
}

fn tcp_is_closed(plimsoll: &Plimsoll) {
    let port = plimsoll.port();
    eventually("TCP connects to be refused", SOON, || TcpStream::connect(("127.0.0.1", port)).is_err());
}

/// 1.18 ends at once with status 1: `got SIGTERM, fast exit`; the command is newer than it.
#[test]
fn modern_sigterm_waits_for_clients() {
    for command in ["", "SHUTDOWN WAIT_FOR_CLIENTS"] {
        let (_postgres, mut plimsoll) = house(|ini| ini);
        let mut client = plimsoll.client("app", "p0");
        client.query("BEGIN");
        begins(&mut plimsoll, Signal::Terminate, command);
        tcp_is_closed(&plimsoll);
        let local = plimsoll.login("app", "p0").at(plimsoll.unix_address());
        fatal(&local.refusal(), "pooler is shutting down");
        let admin = plimsoll.login("admin", "pgbouncer").at(plimsoll.unix_address());
        let mut console = admin.client();
        says(&console.fail("RESUME"), "ERROR", "pooler is shutting down");
        plimsoll.signal(Signal::User2);
        plimsoll.wait_for_log("got SIGUSR2 while shutting down, ignoring", SOON);
        client.query("COMMIT");
        assert_eq!(client.value("SELECT 1"), "1");
        client.leave();
        console.leave();
        ends_with(&mut plimsoll, "client connections dropped, exiting");
    }
}

/// 1.18 goes on listening and lets new queries wait; the command is newer than it.
#[test]
fn modern_sigint_waits_for_servers() {
    for command in ["", "SHUTDOWN WAIT_FOR_SERVERS"] {
        let (_postgres, mut plimsoll) = house(|ini| ini);
        let (mut holder, mut idle) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p0"));
        holder.query("BEGIN");
        begins(&mut plimsoll, Signal::Interrupt, command);
        tcp_is_closed(&plimsoll);
        fatal(&idle.fail("SELECT 1"), "server shutting down");
        assert_eq!(holder.value("SELECT 1"), "1");
        holder.query("COMMIT");
        ends_with(&mut plimsoll, "server connections dropped, exiting");
        holder.expect_closed();
    }
}

/// 1.18 dies of SIGQUIT, and of SIGTERM with status 1.
#[test]
fn modern_signals_that_come_twice_end_it_at_once() {
    let cases: [(&[Signal], &str); 3] = [
        (&[Signal::Quit], "got SIGQUIT, fast exit"),
        (&[Signal::Terminate, Signal::Terminate], "got SIGTERM while shutting down, fast exit"),
        (&[Signal::Interrupt, Signal::Interrupt], "got SIGINT while shutting down, fast exit"),
    ];
    for (signals, words) in cases {
        let (_postgres, mut plimsoll) = house(|ini| ini);
        let mut client: Client = plimsoll.client("app", "p0");
        client.query("BEGIN");
        for signal in signals {
            plimsoll.signal(*signal);
            plimsoll.wait_for_log("got SIG", SOON);
        }
        ends_with(&mut plimsoll, words);
        client.expect_closed();
    }
}
