//! The contract of a drop-in for its process: the command line, the background, the pid file, and bytes of all kinds at
//! its door (reference 1, 3.2, 3.15): see `conformance.rs`.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::contract::{against_others, answer_to, fatal, house};
use common::{BINARY, SOON};
use plimsoll_testkit::{Address, Login, Packet, Plimsoll, binary_of, eventually, free_port, run_beside};

/// A pooler that is started with a command line of its own, in the folder of another one.
struct Second {
    ini: PathBuf,
    pidfile: PathBuf,
    log: PathBuf,
    port: u16,
}

impl Second {
    /// Writes its files.
    fn beside(plimsoll: &Plimsoll) -> Second {
        let (port, dir) = (free_port(), plimsoll.dir().join("second"));
        run_beside("mkdir", |command| {
            command.arg(&dir);
        });
        let (pidfile, log) = (dir.join("pid"), dir.join("log"));
        let text = fs::read_to_string(plimsoll.ini_path()).unwrap();
        let kept = text.lines().filter(|line| {
            !["listen_port", "unix_socket_dir", "pidfile", "logfile"].iter().any(|key| line.starts_with(key))
        });
        let mut lines: Vec<String> = kept.map(str::to_string).collect();
        let general = lines.iter().position(|line| line == "[pgbouncer]").unwrap();
        lines.insert(general + 1, format!("listen_port = {port}"));
        lines.insert(general + 2, format!("unix_socket_dir = {}", dir.display()));
        lines.insert(general + 3, format!("pidfile = {}", pidfile.display()));
        lines.insert(general + 4, format!("logfile = {}", log.display()));
        let ini = dir.join("second.ini");
        fs::write(&ini, lines.join("\n") + "\n").unwrap();
        Second { ini, pidfile, log, port }
    }

    fn pid(&self) -> Option<u32> {
        fs::read_to_string(&self.pidfile).ok()?.strip_suffix('\n')?.parse().ok()
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it, and waits until its pid file is gone.
    fn end(&self) {
        let pid = self.pid().expect("it runs");
        assert!(Command::new("kill").args(["-INT", &pid.to_string()]).status().unwrap().success());
        eventually("the pid file to go", SOON, || !self.pidfile.exists());
    }
}

fn program() -> String {
    binary_of(BINARY).display().to_string()
}

#[track_caller]
fn run(arguments: &[&str], ini: Option<&Path>) -> (bool, String) {
    let (status, output) = run_beside(&program(), |command| {
        command.args(arguments).args(ini);
    });
    (status.success(), output)
}

#[test]
fn the_background_is_entered_when_it_listens() {
    let (_postgres, plimsoll) = house(|ini| ini);
    for arguments in [&["-d"][..], &["-d", "-q"], &["--daemon", "--quiet"]] {
        let second = Second::beside(&plimsoll);
        let (well, output) = run(arguments, Some(&second.ini));
        assert!(well, "{arguments:?}: {output}");
        eventually("the pid file", SOON, || second.pid().is_some());
        // Nothing stays behind on the terminal of whoever started it.
        let pid = second.pid().unwrap();
        let group = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        assert!(group.contains(&format!("({})", comm(pid))), "{group}");
        let login = Login::new(Address::v4(second.port), "app", "p0");
        eventually("it to accept", SOON, || login.try_client().is_ok());
        let mut console = Login::new(Address::v4(second.port), "admin", "pgbouncer").client();
        assert_eq!(console.query("SHOW VERSION").rows.len(), 1);
        assert!(second.log().contains(" LOG process up: "), "{}", second.log());
        second.end();
        fs::remove_dir_all(second.ini.parent().unwrap()).unwrap();
    }
}

/// The name of a process.
fn comm(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim().to_string()
}

#[test]
fn the_pid_file_names_the_process_and_goes_with_it() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let second = Second::beside(&plimsoll);
    let mut child = spawn(&second, &["-q"]);
    eventually("the pid file", SOON, || second.pid().is_some());
    assert_eq!(second.pid().unwrap(), child.pid());
    let login = Login::new(Address::v4(second.port), "app", "p0");
    eventually("it to accept", SOON, || login.try_client().is_ok());
    // A second one does not take the file away from the first.
    let (well, output) = run(&[], Some(&second.ini));
    assert!(!well, "{output}");
    assert_eq!(second.pid().unwrap(), child.pid());
    second.end();
    assert_eq!(child.wait(SOON).code(), Some(0));
}

fn spawn(second: &Second, arguments: &[&str]) -> plimsoll_testkit::Process {
    let user = std::env::var("PLIMSOLL_TEST_USER").unwrap_or_default();
    let mut command = match user.as_str() {
        "" => Command::new(program()),
        user => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", user, "--clear-groups"]).arg(program());
            command
        }
    };
    command.args(arguments).arg(&second.ini);
    plimsoll_testkit::Process::start(&mut command)
}

#[test]
fn command_lines_that_are_wrong_end_with_1() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let ini = plimsoll.ini_path();
    for arguments in [&["--nope"][..], &["-d"], &[]] {
        let (status, output) = run_beside(&program(), |command| {
            command.args(arguments);
        });
        // Ours is called by its own name here, and ends with the usual 2 for a wrong command line.
        let wanted = if against_others() { 1 } else { status.code().unwrap().clamp(1, 2) };
        assert_eq!(status.code(), Some(wanted), "{arguments:?}: {output}");
    }
    let (well, output) = run(&["-u", "nobody-of-that-name"], Some(&ini));
    assert!(!well && output.contains("nobody-of-that-name"), "{output}");
    let (well, output) = run(&[], Some(Path::new("/nowhere.ini")));
    assert!(!well && output.contains("/nowhere.ini"), "{output}");
}

#[test]
fn requests_for_encryption_may_be_repeated() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let (ssl, gss) = (Packet::untyped(80_877_103).bytes(), Packet::untyped(80_877_104).bytes());
    for order in [[&ssl, &ssl, &ssl], [&ssl, &gss, &ssl], [&gss, &gss, &ssl], [&gss, &ssl, &gss]] {
        let login = plimsoll.login("app", "p0");
        let mut client = login.knock().unwrap();
        for request in order {
            client.send(request).unwrap();
            assert_eq!(client.read_byte().unwrap(), b'N');
        }
        client.send(&login.startup_packet()).unwrap();
        login.finish(&mut client).unwrap();
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

#[test]
fn messages_before_the_startup_packet_are_closed_silently() {
    let (_postgres, plimsoll) = house(|ini| ini);
    for bytes in [b"X\0\0\0\x04".as_slice(), b"Q\0\0\0\x06a\0", b"S\0\0\0\x04", b"B\0\0\0\x05\0"] {
        let mark = plimsoll.log_mark();
        assert_eq!(answer_to(&plimsoll, bytes), None, "{bytes:?}");
        plimsoll.wait_for_log_since(mark, "(nodb)/(nouser)@127.0.0.1:", SOON);
        plimsoll.wait_for_log_since(mark, " closing because: bad packet (age=", SOON);
    }
    plimsoll.still_works(&["p0"]);
}

#[test]
fn messages_nobody_sends_in_a_session_have_their_words() {
    let (_postgres, plimsoll) = house(|ini| ini);
    for (bytes, words) in [
        (b"Q\0\0\0\x03".as_slice(), "bad packet header: '5100000003'"),
        (b"Q\0\0\0\0", "bad packet header: '5100000000'"),
        (b"p\0\0\0\x05\0", "unknown pkt"),
        (b"Z\0\0\0\x05I", "unknown pkt"),
        (b"?\0\0\0\x04", "unknown pkt"),
    ] {
        // With a server connection and without one.
        for begun in ["SELECT 1", "BEGIN"] {
            let mut client = plimsoll.client("app", "p0");
            client.query(begun);
            client.send(bytes).unwrap();
            fatal(&client.expect_closed().expect("a reason"), words);
        }
    }
    plimsoll.still_works(&["p0"]);
}

#[test]
fn small_socket_buffers_are_enough() {
    let (_postgres, plimsoll) = house(|ini| ini.set("tcp_socket_buffer", "4096").set("pkt_buf", "1024"));
    let mut client = plimsoll.client("app", "p0");
    let text = "x".repeat(300_000);
    assert_eq!(client.value(&format!("SELECT length('{text}')")), "300000");
    assert_eq!(client.value("SELECT repeat('y', 2000000)").len(), 2_000_000);
    assert_eq!(client.value_extended("SELECT $1::text", &[Some(&text)]).len(), 300_000);
}

#[test]
fn the_host_of_a_client_may_be_added_to_its_name() {
    let (_postgres, plimsoll) = house(|ini| ini.set("application_name_add_host", "1"));
    let mut nameless = plimsoll.client("app", "p0");
    let wanted = format!("app - 127.0.0.1:{}", nameless.port());
    assert_eq!(nameless.parameter("application_name"), wanted);
    assert_eq!(nameless.value("SHOW application_name"), wanted);
    let mut named = plimsoll.login("app", "p0").parameter("application_name", "mine").client();
    assert_eq!(named.value("SHOW application_name"), format!("mine - 127.0.0.1:{}", named.port()));
    let local = plimsoll.login("app", "p0").at(plimsoll.unix_address());
    let name = local.parameter("application_name", "mine").client().value("SHOW application_name");
    let rest = name.strip_prefix("mine - unix(").unwrap_or_else(|| panic!("{name}"));
    assert!(rest.ends_with(&format!("):{}", plimsoll.port())), "{name}");
}

/// 1.18 has no cancel_wait_timeout.
#[test]
fn modern_cancels_do_not_wait_for_ever() {
    let (postgres, plimsoll) = house(|ini| ini.set("cancel_wait_timeout", "1").set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    // Nobody takes the request in at the server.
    postgres.freeze(postgres.pid());
    // It comes back when the connection is closed, without a word.
    client.cancel_key().cancel().unwrap();
    postgres.thaw(postgres.pid());
    assert_eq!(client.value("SELECT 1"), "1");
    client.query("COMMIT");
    plimsoll.still_works(&["p0"]);
}

#[test]
fn the_unix_socket_has_its_mode_and_a_dead_one_is_replaced() {
    use std::os::unix::fs::PermissionsExt;
    for (mode, wanted) in [("", 0o777), ("0700", 0o700), ("0750", 0o750)] {
        let (_postgres, plimsoll) = house(|ini| match mode {
            "" => ini,
            mode => ini.set("unix_socket_mode", mode),
        });
        let socket = plimsoll.dir().join(format!(".s.PGSQL.{}", plimsoll.port()));
        // TCP may be open before it.
        eventually(&format!("mode {wanted:o}"), SOON, || {
            fs::metadata(&socket).is_ok_and(|meta| meta.permissions().mode() & 0o777 == wanted)
        });
    }
    let (_postgres, plimsoll) = house(|ini| ini);
    let second = Second::beside(&plimsoll);
    let mut killed = spawn(&second, &["-q"]);
    let login = Login::new(Address::v4(second.port), "app", "p0");
    eventually("it to accept", SOON, || login.try_client().is_ok());
    killed.signal(plimsoll_testkit::Signal::Kill);
    killed.wait(SOON);
    let socket = second.ini.with_file_name(format!(".s.PGSQL.{}", second.port));
    assert!(socket.exists() && second.pidfile.exists());
    let mut next = spawn(&second, &["-q"]);
    eventually("it to accept again", SOON, || login.try_client().is_ok());
    assert_eq!(second.pid(), Some(next.pid()));
    second.end();
    assert_eq!((next.wait(SOON).code(), socket.exists()), (Some(0), false));
}
