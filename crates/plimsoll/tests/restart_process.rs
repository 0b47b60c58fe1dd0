//! Online restart, the rest of it: TLS, a new process that breaks off in each phase, the service manager, the pid file.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::Command;

use common::certificates::{Maker, with_tls};
use common::{BINARY, SOON, house};
use plimsoll_testkit::{
    Batch, Ini, Plimsoll, Process, Signal, binary_of, eventually, free_port, run_beside, start_beside,
};

/// A psql under TLS that does these things one after the other, in a process of its own.
fn psql(plimsoll: &Plimsoll, commands: &[&str]) -> std::process::Child {
    psql_as(plimsoll, "dbname=p0 user=app", commands)
}

/// The same as somebody else, or somewhere else.
fn psql_as(plimsoll: &Plimsoll, who: &str, commands: &[&str]) -> std::process::Child {
    let connection = format!("host=localhost port={} {who} sslmode=require", plimsoll.port());
    let mut command = Command::new("psql");
    command.args(["-XAtq", "-d", &connection]).env("PGSSLCERT", "none");
    for one in commands {
        command.args(["-c", one]);
    }
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
}

fn finish(child: std::process::Child) -> (bool, String) {
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// How many sockets of a process listen, by the tables of the kernel (proc(5)).
fn listening(pid: u32) -> usize {
    let inodes = |table: &str, state: usize, listens: &str, inode: usize| -> Vec<String> {
        let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap();
        let rows = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row[state] == listens).map(|row| format!("socket:[{}]", row[inode])).collect()
    };
    let mut known = inodes("unix", 3, "00010000", 6);
    known.extend(["tcp", "tcp6"].iter().flat_map(|table| inodes(table, 3, "0A", 9)));
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let links = files.filter_map(|file| fs::read_link(file.path()).ok());
    links.filter(|link| known.iter().any(|socket| *socket == link.to_string_lossy())).count()
}

#[test]
fn a_client_under_tls_is_served_to_the_end_of_its_transaction_and_told_then() {
    let maker = Maker::new();
    maker.self_signed("server", "localhost");
    let (postgres, mut plimsoll) = house(|ini| {
        with_tls(ini, "client", "require", &maker, "server")
            .set("pool_mode", "transaction")
            .own("restart_tls_timeout", "20s")
            .own("http_listen", &format!("127.0.0.1:{}", free_port()))
    });
    let busy = psql(&plimsoll, &["BEGIN; SELECT pg_sleep(1.5); SELECT 'served'; COMMIT;"]);
    let idle = psql(&plimsoll, &["SELECT 'in'", "\\! sleep 15", "SELECT 'out'"]);
    postgres.wait_for_sessions("state = 'active' AND query LIKE '%pg_sleep%'", 1);
    eventually("both to be in", SOON, || plimsoll.log().matches("login attempt: db=p0").count() == 2);
    assert!(listening(plimsoll.process().pid()) >= 4, "TCP, a Unix socket, HTTP, and where it is asked");
    let mut old = plimsoll.take_over();
    eventually("the old process to listen nowhere", SOON, || listening(old.pid()) == 0);
    assert_eq!(old.ended(), None, "it carries both");
    assert_eq!(finish(busy), (true, "\nserved\n".to_string()));
    let (well, said) = finish(idle);
    assert!(!well && said.contains("FATAL:  pooler was restarted"), "{said}");
    assert!(said.contains("HINT:  Connect again."), "{said}");
    assert_eq!(old.wait(SOON).code(), Some(0));
    assert_eq!(finish(psql(&plimsoll, &["SELECT 'again'"])), (true, "again\n".to_string()));
}

#[test]
fn a_console_under_tls_is_told_to_come_again() {
    let maker = Maker::new();
    maker.self_signed("server", "localhost");
    let (_postgres, mut plimsoll) = house(|ini| with_tls(ini, "client", "require", &maker, "server"));
    let console = "dbname=pgbouncer user=admin password=admin-secret";
    let first = psql_as(&plimsoll, console, &["SHOW VERSION", "\\! sleep 5", "SHOW VERSION"]);
    eventually("it to be in", SOON, || plimsoll.log().contains("pgbouncer/admin@"));
    // It says nothing more for a while.
    let mut old = plimsoll.take_over();
    let (well, said) = finish(first);
    assert!(!well && said.contains("FATAL:  pooler was restarted"), "{said}");
    assert_eq!(old.wait(SOON).code(), Some(0), "{}", plimsoll.log());
    let (well, said) = finish(psql_as(&plimsoll, console, &["SHOW VERSION"]));
    assert!(well && said.contains("plimsoll"), "{said}");
}

/// What a new process might do wrong, said by hand: `phase` is how far it goes.
const BREAKS_OFF: &str = r#"
import socket, struct, sys
def text(s): return (bytes([0xa0 + len(s)]) if len(s) < 32 else b"\xd9" + bytes([len(s)])) + s.encode()
def frame(body): return struct.pack(">IB", len(body), 0) + body
def hello(version): return frame(b"\x84" + text("what") + text("plimsoll restart") + text("version") + bytes([version])
    + text("program") + text("a test") + text("pid") + b"\x01")
phase, path = sys.argv[1], sys.argv[2]
s = socket.socket(socket.AF_UNIX); s.connect(path)
if phase == "garbage": s.sendall(b"\xff" * 64)
if phase == "version": s.sendall(hello(99)); print(s.recv(4096))
if phase == "hello": s.sendall(hello(1)); s.recv(5)
if phase in ("ready", "hang"):
    s.sendall(hello(1)); s.recv(5)
    s.sendall(frame(b"\x81" + text("Ready") + b"\x81" + text("pid") + b"\x01"))
if phase == "hang":
    while s.recv(65536): pass
"#;

#[test]
fn whatever_breaks_off_in_whatever_phase_everything_goes_on() {
    let (_postgres, mut plimsoll) =
        house(|ini| ini.set("pool_mode", "transaction").set("suspend_timeout", "2"));
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let door = plimsoll.dir().join(format!(".s.PLIMSOLL.{}", plimsoll.port())).display().to_string();
    for (phase, logged) in [
        ("garbage", "online restart failed, going on: what was handed over cannot be read"),
        ("version", "online restart refused: it hands over in format 1"),
        ("hello", "online restart failed, going on: "),
        ("ready", "online restart failed, going on: "),
        ("hang", "online restart failed, going on: the new process did not take over in time"),
    ] {
        let mark = plimsoll.log_mark();
        let (_, output) = run_beside("/usr/bin/python3", |command| {
            command.args(["-c", BREAKS_OFF, phase, &door]);
        });
        plimsoll.wait_for_log_since(mark, logged, SOON);
        assert_eq!(client.value("SELECT 1"), "1", "{phase}: {output}");
        plimsoll.still_works(&["p0"]);
    }
    let mut old = plimsoll.take_over();
    assert_eq!(old.wait(SOON).code(), Some(0));
    client.query("COMMIT");
}

#[test]
fn whoever_cannot_be_accepted_just_now_can_be_later() {
    let (_postgres, mut plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    let pid = plimsoll.process().pid().to_string();
    let limit = |more: &[&str]| {
        let (status, said) = run_beside("prlimit", |command| {
            command.args(["--pid", &pid]).args(more);
        });
        assert!(status.success(), "{said}");
        said.trim().to_string()
    };
    let before = limit(&["--nofile", "--output", "SOFT", "--noheadings", "--raw"]);
    limit(&["--nofile=3:"]);
    let mark = plimsoll.log_mark();
    let door = plimsoll.dir().join(format!(".s.PLIMSOLL.{}", plimsoll.port()));
    let asked = UnixStream::connect(door).unwrap();
    plimsoll.wait_for_log_since(mark, "nobody can ask for an online restart just now: ", SOON);
    limit(&[&format!("--nofile={before}:")]);
    drop(asked);
    let mut old = plimsoll.take_over();
    assert_eq!(old.wait(SOON).code(), Some(0));
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn a_console_that_waits_for_something_is_told_why_it_has_to_leave() {
    let (_postgres, mut plimsoll) = house(|ini| ini.set("pool_mode", "transaction"));
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let mut console = plimsoll.console();
    let mark = plimsoll.log_mark();
    console.send(Batch::new().query("PAUSE").bytes()).unwrap();
    plimsoll.wait_for_log_since(mark, "PAUSE command issued", SOON);
    let mut old = plimsoll.take_over();
    let last = console.expect_closed().expect("a last word");
    assert_eq!((last.sqlstate.as_str(), last.message.as_str()), ("57P01", "pooler was restarted"));
    assert_eq!(old.wait(SOON).code(), Some(0));
    client.query("COMMIT");
}

#[test]
fn the_service_manager_hears_of_everything() {
    let (_postgres, mut plimsoll) = house(|ini| ini);
    let path = plimsoll.dir().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let hear = || {
        let mut bytes = [0; 512];
        let length = manager.recv(&mut bytes).expect("something is said");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let told = |command: &mut Command| {
        command.env("NOTIFY_SOCKET", &path);
    };
    drop(plimsoll.take_over_with(told));
    assert!(hear().starts_with("READY=1\n"));
    plimsoll.signal(Signal::Hangup);
    assert!(hear().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(hear().starts_with("READY=1\n"));
    drop(plimsoll.take_over_with(told));
    let (one, other) = (hear(), hear());
    let pid = format!("MAINPID={}\n", plimsoll.process().pid());
    assert!([&one, &other].iter().any(|said| said.starts_with(&pid)), "{one} {other}");
    assert!([&one, &other].iter().any(|said| said.starts_with("READY=1\n")), "{one} {other}");
    plimsoll.signal(Signal::Terminate);
    assert!(hear().starts_with("STOPPING=1\n"));
}

/// The command line as the user of the tests, by way of a program that replaces itself.
fn beside(program: &str) -> Command {
    match std::env::var("PLIMSOLL_TEST_USER").unwrap_or_default().as_str() {
        "" => Command::new(program),
        user => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", user, "--clear-groups", program]);
            command
        }
    }
}

#[test]
fn sockets_of_the_service_manager_are_used() {
    const ACTIVATES: &str = r#"
import os, socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(16)
os.dup2(s.fileno(), 3); os.set_inheritable(3, True)
os.environ["LISTEN_FDS"] = "1"; os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"#;
    let (_postgres, plimsoll) = house(|ini| ini);
    let port = free_port();
    let text = fs::read_to_string(plimsoll.ini_path()).unwrap();
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !["listen_", "unix_socket_dir", "pidfile"].iter().any(|key| line.starts_with(key)))
        .collect();
    let dir = plimsoll.dir().join("activated");
    run_beside("mkdir", |command| {
        command.arg(&dir);
    });
    // Nothing of the port in the file: the manager alone has it.
    let own = format!("[pgbouncer]\nlisten_port = {}\nunix_socket_dir = {}\n", free_port(), dir.display());
    let ini = dir.join("activated.ini");
    fs::write(&ini, kept.join("\n").replacen("[pgbouncer]\n", &own, 1)).unwrap();
    let mut command = beside("/usr/bin/python3");
    command.args(["-c", ACTIVATES, &port.to_string()]).arg(binary_of(BINARY)).arg(&ini);
    let _process = Process::start(&mut command);
    let login = plimsoll.login("app", "p0").at(plimsoll_testkit::Address::v4(port));
    eventually("it to accept there", SOON, || login.try_client().is_ok());
}

/// A pooler with a pid file.
fn with_pidfile() -> (plimsoll_testkit::Postgres, Plimsoll, PathBuf) {
    let postgres = plimsoll_testkit::Postgres::start();
    let plimsoll = common::pooler(Ini::new(&postgres));
    let path = plimsoll.dir().join("pid");
    plimsoll.rewrite(&Ini::new(&postgres).set("pidfile", &path.display().to_string()));
    (postgres, plimsoll, path)
}

#[test]
fn the_pid_file_names_who_goes_on() {
    let (_postgres, mut plimsoll, path) = with_pidfile();
    let pid = || fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    for _ in 0..2 {
        let mut old = plimsoll.take_over();
        assert_eq!(old.wait(SOON).code(), Some(0));
        assert_eq!(pid(), Some(plimsoll.process().pid()));
    }
    plimsoll.signal(Signal::Interrupt);
    plimsoll.wait_exit(SOON);
    assert_eq!(pid(), None);
}

#[test]
fn a_pid_file_that_is_named_anew_moves() {
    let (postgres, mut plimsoll, path) = with_pidfile();
    drop(plimsoll.take_over());
    assert!(path.exists());
    let other = plimsoll.dir().join("other");
    plimsoll.rewrite(&Ini::new(&postgres).set("pidfile", &other.display().to_string()));
    let mut old = plimsoll.take_over();
    assert_eq!(old.wait(SOON).code(), Some(0));
    assert!(!path.exists(), "nobody has it any more");
    assert_eq!(fs::read_to_string(&other).unwrap(), format!("{}\n", plimsoll.process().pid()));
}

#[test]
fn a_pid_file_that_cannot_be_written_leaves_the_old_process_at_work() {
    let postgres = plimsoll_testkit::Postgres::start();
    let mut plimsoll = common::pooler(Ini::new(&postgres).set("pool_mode", "transaction"));
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let path = plimsoll.dir().join("no-folder").join("pid");
    plimsoll.rewrite(&Ini::new(&postgres).set("pidfile", &path.display().to_string()));
    let mark = plimsoll.log_mark();
    assert_eq!(plimsoll.second(&["-R"]).wait(SOON).code(), Some(1));
    let told = "online restart failed, going on: the new process cannot start: could not write pidfile '";
    plimsoll.wait_for_log_since(mark, told, SOON);
    assert!(!plimsoll.log_since(mark).contains("clients taken over"), "{}", plimsoll.log());
    assert_eq!(client.value("SELECT 1"), "1");
    plimsoll.still_works(&["p0"]);
    // As soon as it can be, all goes well.
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut old = plimsoll.take_over();
    assert_eq!(old.wait(SOON).code(), Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", plimsoll.process().pid()));
    client.query("COMMIT");
}

#[test]
fn in_the_background_the_exit_status_tells_whether_it_has_taken_over() {
    let (_postgres, mut plimsoll, path) = with_pidfile();
    let mut client = plimsoll.client("app", "p0");
    assert_eq!(plimsoll.second(&["-R", "-d"]).wait(SOON).code(), Some(0));
    assert_eq!(plimsoll.process().wait(SOON).code(), Some(0));
    assert_eq!(client.value("SELECT 1"), "1");
    let pid = fs::read_to_string(&path).unwrap();
    assert!(Command::new("kill").args(["-INT", pid.trim()]).status().unwrap().success());
    eventually("the pid file to go", SOON, || !path.exists());
}

#[test]
fn of_two_on_one_port_each_restarts_for_itself() {
    let (_postgres, mut plimsoll) = house(|ini| ini.set("so_reuseport", "1"));
    let other = plimsoll.dir().join("other");
    run_beside("mkdir", |command| {
        command.arg(&other);
    });
    let dir = plimsoll.dir().display().to_string();
    let text = fs::read_to_string(plimsoll.ini_path()).unwrap();
    let apart =
        text.replace(&format!("unix_socket_dir = {dir}\n"), &format!("unix_socket_dir = {dir}/other\n"));
    assert_ne!(text, apart);
    let ini = other.join("plimsoll.ini");
    fs::write(&ini, apart).unwrap();
    let log = other.join("log");
    let second = start_beside(&binary_of(BINARY), &log, |command| {
        command.arg(&ini);
    });
    let said = |what: &str| fs::read_to_string(&log).unwrap_or_default().matches(what).count();
    eventually("the second to be up", SOON, || said("process up: ") == 1);
    // The kernel deals connections out by their addresses: that one process has all of these has a chance of 2^-39.
    let mut clients = [(); 40].map(|()| plimsoll.client("app", "p0"));
    let in_second = said("login attempt: ");
    assert!((1..40).contains(&in_second), "{in_second} of 40");
    let mut old = plimsoll.take_over();
    assert_eq!(old.wait(SOON).code(), Some(0), "{}", plimsoll.log());
    let moved = format!("{} clients taken over", 40 - in_second);
    assert!(plimsoll.log().contains(&moved), "{moved}: {}", plimsoll.log());
    for client in &mut clients {
        assert_eq!(client.value("SELECT 1"), "1");
    }
    let mut newcomers = [(); 40].map(|()| plimsoll.client("app", "p0"));
    assert!(newcomers.iter_mut().all(|client| client.value("SELECT 2") == "2"));
    assert!((1..40).contains(&(said("login attempt: ") - in_second)), "both are still dealt to");
    assert_eq!(said("online restart"), 0, "it is none of the second's business");
    drop(second);
}
