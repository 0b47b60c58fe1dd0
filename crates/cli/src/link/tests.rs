use std::io::Write;
use std::os::unix::net::UnixListener;
use std::thread;

use plimsoll_auth::Stored;
use plimsoll_testkit::{FakePeer, FakeServer, Outcome, Packet, TempDir, error_response, free_port};
use plimsoll_types::Secret;

use super::*;

/// What a console answers to a command.
type Script = fn(&str) -> Vec<u8>;

fn knock() -> Knock {
    Knock { user: "ops".to_string(), password: Password::None }
}

fn tcp(port: u16) -> Address {
    Address::Tcp("127.0.0.1".to_string(), port)
}

fn ready() -> Vec<u8> {
    Packet::typed(b'Z').raw(b"I").bytes()
}

fn welcome() -> Vec<u8> {
    [Packet::typed(b'R').int32(0).bytes(), Packet::typed(b'S').text("a").text("b").bytes(), ready()].concat()
}

/// One row of two columns: an int8 and a NULL.
fn table() -> Vec<u8> {
    let head = Packet::typed(b'T').int16(2);
    let head = head.text("id").int32(0).int16(0).int32(20).int16(8).int32(u32::MAX).int16(0);
    let head = head.text("app").int32(0).int16(0).int32(25).int16(65_535).int32(u32::MAX).int16(0);
    let row = Packet::typed(b'D').int16(2).value(Some(b"7")).value(None);
    [head.bytes(), row.bytes(), Packet::typed(b'C').text("SHOW").bytes(), ready()].concat()
}

/// A console that lets everybody in and answers each question by a script.
fn console(answer: Script) -> FakeServer {
    FakeServer::start(move |_, peer| {
        peer.startup()?;
        peer.send(&welcome())?;
        serve(peer, answer)
    })
}

fn serve(peer: &mut FakePeer, answer: Script) -> Outcome<()> {
    loop {
        match peer.read() {
            Ok(message) if message.tag == b'Q' => peer.send(&answer(&message.strings()[0]))?,
            Ok(_) => return Ok(()),
            Err(failure) if failure.is_gone() => return Ok(()),
            Err(failure) => return Err(failure),
        }
    }
}

/// A console that refuses in the login.
fn refusing(sqlstate: &'static str, message: &'static str) -> FakeServer {
    FakeServer::start(move |_, peer| {
        peer.startup()?;
        peer.send(&error_response("FATAL", sqlstate, message))
    })
}

fn failure(server: &FakeServer) -> Failure {
    Link::open(&tcp(server.port()), &knock()).expect_err("refused")
}

#[test]
fn a_table_is_read() {
    let server = console(|_| table());
    let mut link = Link::open(&tcp(server.port()), &knock()).expect("let in");
    for _ in 0..2 {
        let table = link.ask("SHOW HOLDS").expect("an answer");
        assert_eq!(table, crate::table::made(&[("id", 20), ("app", 25)], &["7|-"]));
    }
    drop(link);
    assert_eq!(server.failures(), Vec::<String>::new());
}

#[test]
fn a_unix_socket_is_as_good() {
    let dir = TempDir::new("cli");
    let path = dir.path().join(".s.PGSQL.1");
    let listener = UnixListener::bind(&path).expect("a socket");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.write_all(&[welcome(), table()].concat()).expect("it listens");
        stream
    });
    let mut link = Link::open(&Address::Unix(path), &knock()).expect("let in");
    assert_eq!(link.ask("SHOW HOLDS").expect("an answer").rows.len(), 1);
    drop(server.join());
}

#[test]
fn a_password_is_given_as_it_is_asked_for() {
    let server = FakeServer::start(|_, peer| {
        peer.startup()?;
        peer.send(&Packet::typed(b'R').int32(3).bytes())?;
        match peer.read()?.strings()[0].as_str() {
            "right" => peer.send(&welcome()),
            _ => peer.send(&error_response("FATAL", "08P01", "password authentication failed")),
        }
    });
    let login = |password| Link::open(&tcp(server.port()), &Knock { user: "ops".to_string(), password });
    assert!(login(Password::Environment(Secret::from_text("right"))).is_ok());
    assert!(login(Password::AuthFile(Stored::parse("right"))).is_ok());
    let wrong = login(Password::Environment(Secret::from_text("wrong"))).expect_err("wrong");
    assert!(matches!(&wrong, Failure::Password { .. }), "{wrong}");
    assert!(wrong.hint().is_some_and(|hint| hint.contains("PGPASSWORD") && !hint.contains("wrong")));
    let none = login(Password::None).expect_err("none");
    assert!(none.to_string().contains("asks for a password"), "{none}");
}

#[test]
fn refusals_are_told_apart() {
    let not_admin = failure(&refusing("08P01", "not allowed"));
    assert!(matches!(not_admin, Failure::NotAdmin { .. }), "{not_admin}");
    let not_admin = failure(&refusing("42501", "not allowed"));
    assert!(not_admin.hint().is_some_and(|hint| hint.contains("admin_users")));
    let postgres = failure(&refusing("3D000", "database \"pgbouncer\" does not exist"));
    assert!(matches!(postgres, Failure::NotAConsole { .. }), "{postgres}");
    let nobody = failure(&refusing("08P01", "no such user: ops"));
    assert!(matches!(nobody, Failure::Password { .. }), "{nobody}");
    let full = failure(&refusing("53300", "no more connections allowed\x1b[2J"));
    assert!(matches!(full, Failure::Refused { .. }), "{full}");
    assert!(!full.to_string().contains('\x1b'));
    let gone = Link::open(&tcp(free_port()), &knock()).expect_err("nobody there");
    assert!(gone.to_string().contains("nobody listens there"), "{gone}");
    let dir = TempDir::new("cli");
    let gone = Link::open(&Address::Unix(dir.path().join("none")), &knock()).expect_err("no socket");
    assert!(gone.to_string().contains("no such socket"), "{gone}");
}

#[test]
fn a_console_without_the_command_is_named() {
    let server = console(|command| match command {
        "SHOW VERSION" => {
            let head = Packet::typed(b'T').int16(1).text("version").int32(0).int16(0).int32(25).int16(65_535);
            let head = head.int32(u32::MAX).int16(0).bytes();
            let row = Packet::typed(b'D').int16(1).value(Some(b"PgBouncer 1.25.2")).bytes();
            [head, row, ready()].concat()
        }
        "SHOW POOLS" => [error_response("ERROR", "08P01", "admin access needed"), ready()].concat(),
        other => {
            let words = format!("invalid command '{other}', use SHOW HELP;");
            [error_response("ERROR", "08P01", &words), ready()].concat()
        }
    });
    let mut link = Link::open(&tcp(server.port()), &knock()).expect("let in");
    let old = link.ask("SHOW HOLDS").expect_err("it has none");
    assert!(old.to_string().contains("PgBouncer 1.25.2") && old.to_string().contains("SHOW HOLDS"), "{old}");
    assert!(old.hint().is_some_and(|hint| hint.contains("this is PgBouncer")));
    let refused = link.ask("SHOW POOLS").expect_err("refused");
    assert!(matches!(refused, Failure::Refused { .. }), "{refused}");
}

#[test]
fn what_is_no_answer_is_told_and_never_a_panic() {
    let cases: [(&str, Script); 6] = [
        ("description", |_| Packet::typed(b'T').int16(9).text("x").bytes()),
        ("does not fit", |_| Packet::typed(b'D').int16(1).value(Some(b"x")).bytes()),
        ("no place", |_| Packet::typed(b'G').bytes()),
        ("length", |_| vec![b'D', 0, 0, 0, 1]),
        ("limit", |_| vec![b'D', 0x7f, 0, 0, 0]),
        ("no place", |_| b"HTTP/1.1 400 Bad Request\r\n".to_vec()),
    ];
    for (part, answer) in cases {
        let server = console(answer);
        let mut link = Link::open(&tcp(server.port()), &knock()).expect("let in");
        let failure = link.ask("SHOW HOLDS").expect_err(part);
        assert!(matches!(failure, Failure::Broken { .. }), "{part}: {failure}");
        if part != "no place" {
            assert!(failure.to_string().contains(part), "{part}: {failure}");
        }
    }
    let server = FakeServer::start(|_, peer| peer.startup().map(drop));
    assert!(failure(&server).to_string().contains("closed the connection"));
}

#[test]
fn a_fatal_error_ends_an_answer() {
    let server = console(|_| error_response("FATAL", "57P01", "pooler is shutting down"));
    let mut link = Link::open(&tcp(server.port()), &knock()).expect("let in");
    let failure = link.ask("SHOW HOLDS").expect_err("it ends");
    assert!(failure.to_string().contains("shutting down"), "{failure}");
}
