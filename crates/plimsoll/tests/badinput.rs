//! Bytes that are no protocol, at the door, in a session, and from the server's side.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::{SOON, house, wait_for_pool};
use plimsoll_testkit::{
    Address, Batch, Client, FakePeer, FakeServer, Ini, Login, Outcome, Packet, Plimsoll, eventually,
    eventually_ok, tags,
};

/// What all the garbage together may add to the pooler's memory.
const GROWTH_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Numbers that look like chance and are the same in every run (xorshift64*).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let count = usize::try_from(self.next() % most as u64).unwrap();
        (0..count).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

fn knock(plimsoll: &Plimsoll) -> Client {
    plimsoll.login("app", "p0").knock().unwrap()
}

/// First bytes that no client of ours sends.
fn strange_first_bytes() -> Vec<(&'static str, Vec<u8>)> {
    let with_length = |length: u32| {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend([0, 3, 0, 0]);
        bytes.extend([0; 8]);
        bytes
    };
    // A TLS 1.3 ClientHello begins like this: handshake record, version, length, ClientHello.
    let mut hello = vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    hello.extend([0x5a; 506]);
    vec![
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("SSH", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec()),
        ("TLS", hello),
        ("length 0", with_length(0)),
        ("length 3", with_length(3)),
        ("length 4", with_length(4)),
        ("length 7", with_length(7)),
        ("length 10001", with_length(10_001)),
        ("length 2^31", with_length(0x8000_0000)),
        ("length 2^32 - 1", with_length(u32::MAX)),
        ("zeros", vec![0; 64]),
        ("ones", vec![0xff; 64]),
    ]
}

#[test]
fn strange_first_bytes_end_only_who_sent_them() {
    let (_postgres, mut plimsoll) = house(|ini| ini);
    let mut bystander = plimsoll.client("app", "p0");
    bystander.query("BEGIN");
    let before = plimsoll.process().rss_bytes();
    for (what, bytes) in strange_first_bytes() {
        let mark = plimsoll.log_mark();
        let mut client = knock(&plimsoll);
        client.send(&bytes).unwrap();
        let last = client.expect_closed();
        assert!(last.is_none_or(|error| error.severity == "FATAL"), "{what}");
        plimsoll.wait_for_log_since(mark, "bad packet header", SOON);
        assert_eq!(bystander.value("SELECT 1"), "1", "{what}");
    }
    bystander.query("COMMIT");
    assert!(plimsoll.process().rss_peak_bytes() < before + GROWTH_BYTES_MAX);
    plimsoll.still_works(&["p0"]);
}

#[test]
fn impossible_lengths_in_a_session_end_only_it() {
    let (postgres, mut plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let before = plimsoll.process().rss_bytes();
    let mut bystander = plimsoll.client("app", "p0");
    for tag in [b'Q', b'P', b'B', b'D', b'E', b'S', b'X', b'd', b'F', b'H', b'C'] {
        for length in [0u32, 3, 0x8000_0000, u32::MAX] {
            for prelude in ["", "BEGIN"] {
                let mut client = plimsoll.client("app", "p0");
                if !prelude.is_empty() {
                    client.query(prelude);
                }
                let mut bytes = vec![tag];
                bytes.extend(length.to_be_bytes());
                bytes.extend([0; 16]);
                client.send(&bytes).unwrap();
                let error = client.expect_closed();
                assert!(error.is_none_or(|error| error.severity == "FATAL"), "{} {length}", char::from(tag));
                assert_eq!(bystander.value("SELECT 1"), "1");
            }
        }
    }
    let grown = plimsoll.process().rss_peak_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
    postgres.wait_for_sessions("state LIKE 'idle in transaction%'", 0);
    wait_for_pool(&plimsoll, "p0", &[("cl_active", 1), ("cl_waiting", 0), ("sv_active", 0)]);
}

#[test]
fn noise_ends_only_who_makes_it() {
    let (postgres, mut plimsoll) =
        house(|ini| ini.set("default_pool_size", "2").set("client_login_timeout", "5"));
    let mut noise = Noise(4711);
    let mut bystander = plimsoll.client("app", "p0");
    plimsoll.still_works(&["p0"]);
    let before = plimsoll.process().rss_bytes();
    for round in 0..300 {
        let mut client = if round % 3 == 0 { knock(&plimsoll) } else { plimsoll.client("app", "p0") };
        let mut bytes = Vec::new();
        for _ in 0..4 {
            // Half of it is well-formed outside and nonsense inside.
            match noise.next() % 4 {
                0 | 1 => {
                    let tags = b"QPBDESCHFdcfpX?~";
                    let tag = tags[usize::try_from(noise.next()).unwrap() % tags.len()];
                    bytes.extend(Packet::typed(tag).raw(&noise.bytes(200)).bytes());
                }
                2 => bytes.extend(noise.bytes(300)),
                _ => bytes.extend(Batch::new().query("SELECT 1").bytes()),
            }
        }
        drop(client.send(&bytes));
        if round % 2 == 0 {
            client.reset()
        } else {
            client.end_writing()
        }
        if round % 10 == 0 {
            assert_eq!(bystander.value("SELECT 1"), "1", "round {round}");
        }
    }
    let grown = plimsoll.process().rss_peak_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
    bystander.leave();
    wait_for_pool(&plimsoll, "p0", &[("cl_active", 0), ("cl_waiting", 0), ("sv_active", 0)]);
    assert!(postgres.count_sessions("true") <= 2);
    postgres.wait_for_sessions("state LIKE 'idle in transaction%'", 0);
    plimsoll.still_works(&["p0"]);
}

#[test]
fn a_login_byte_by_byte_ends_at_client_login_timeout() {
    let (_postgres, plimsoll) = house(|ini| ini.set("client_login_timeout", "1"));
    let login = plimsoll.login("app", "p0");
    let mut slow = login.knock().unwrap();
    let begun = Instant::now();
    let packet = login.startup_packet();
    let (last, first) = packet.split_last().unwrap();
    // One byte each tenth of a second, and never the last one.
    let mut rest = first.iter();
    while !slow.hears_within(Duration::from_millis(100)) {
        if let Some(byte) = rest.next() {
            slow.send(&[*byte]).unwrap();
        }
        assert!(begun.elapsed() < SOON, "it may go on for ever");
    }
    let error = slow.expect_closed().expect("a reason");
    assert_eq!((error.severity.as_str(), error.message.as_str()), ("FATAL", "client_login_timeout"));
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    drop(slow.send(&[*last]));
    plimsoll.still_works(&["p0"]);
}

#[test]
fn many_who_say_nothing_are_all_shown_out() {
    let (_postgres, mut plimsoll) =
        house(|ini| ini.set("client_login_timeout", "1").set("max_client_conn", "200"));
    let mut silent: Vec<Client> = (0..100).map(|_| knock(&plimsoll)).collect();
    // Half of them in the middle of a password dialogue would be the same; half a startup packet is.
    for client in silent.iter_mut().step_by(2) {
        client.send(&[0, 0, 0, 50, 0, 3, 0]).unwrap();
    }
    plimsoll.still_works(&["p0"]);
    for client in &mut silent {
        client.expect_closed();
    }
    eventually("the descriptors given back", SOON, || plimsoll.process().open_files() < 60);
}

#[test]
fn a_password_that_never_comes_ends_at_client_login_timeout() {
    let (_postgres, plimsoll) =
        house(|ini| ini.set("client_login_timeout", "1").set("auth_type", "scram-sha-256"));
    let mut client = knock(&plimsoll);
    client.send(&plimsoll.login("app", "p0").startup_packet()).unwrap();
    let error = client.expect_closed().expect("a reason");
    assert_eq!(error.message, "client_login_timeout");
    plimsoll.login("app", "p0").password("app-secret").client().query("SELECT 1");
}

#[test]
fn a_half_sent_batch_disturbs_nobody_and_loses_nothing() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "2"));
    let halves = [
        Batch::new().parse("", "SELECT $1::text").bind("", "", &[Some("x")]).execute("", 0),
        Batch::new().parse("half", "SELECT 1").describe_statement("half").flush(),
        Batch::new().query("BEGIN").query("SELECT 1").parse("", "SELECT 2"),
    ];
    for half in halves {
        let mut client = plimsoll.client("app", "p0");
        client.send(half.bytes()).unwrap();
        // And the same cut in the middle of its last message.
        let mut cut = plimsoll.client("app", "p1");
        cut.send(&half.bytes()[..half.bytes().len() - 2]).unwrap();
        for _ in 0..10 {
            plimsoll.still_works(&["p0", "p1"]);
        }
        drop(client);
        cut.reset();
        for database in ["p0", "p1"] {
            wait_for_pool(&plimsoll, database, &[("cl_active", 0), ("cl_waiting", 0), ("sv_active", 0)]);
        }
        postgres.wait_for_sessions("state LIKE 'idle in transaction%'", 0);
    }
}

#[test]
fn a_half_sent_batch_is_ended_by_query_timeout() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1").set("query_timeout", "1"));
    let mut client = plimsoll.client("app", "p0");
    let half = Batch::new().parse("", "SELECT $1::text").bind("", "", &[Some("x")]).execute("", 0).flush();
    client.send(half.bytes()).unwrap();
    let error = client.expect_closed().expect("a reason");
    assert_eq!((error.severity.as_str(), error.message.as_str()), ("FATAL", "query timeout"));
    plimsoll.still_works(&["p0"]);
}

#[test]
fn many_wrong_passwords_cost_nothing_lasting() {
    let (_postgres, mut plimsoll) = house(|ini| ini.set("auth_type", "scram-sha-256"));
    let good = plimsoll.login("app", "p0").password("app-secret");
    good.client().query("SELECT 1");
    let before = plimsoll.process().rss_bytes();
    for (user, database) in [("app", "p0"), ("nobody", "p0"), ("app", "nowhere"), ("nobody", "nowhere")] {
        for _ in 0..25 {
            let error = plimsoll.login(user, database).password("wrong").refusal();
            assert_eq!(error.message, "SASL authentication failed");
        }
    }
    let users = plimsoll.login("admin", "pgbouncer").password("admin-secret").client().query("SHOW LISTS");
    assert!(users.rows.len() > 5);
    assert!(plimsoll.process().rss_peak_bytes() < before + GROWTH_BYTES_MAX);
    eventually("the descriptors given back", SOON, || plimsoll.process().open_files() < 60);
    good.client().query("SELECT 1");
}

/// A pooler in front of a fake server, and what a client of it sees: its login, then one query.
fn in_front_of(server: &FakeServer) -> Plimsoll {
    let line = format!("host=127.0.0.1 port={} dbname=fake", server.port());
    let ini = Ini::empty().database("fake", &line).login("app", "app-secret");
    let ini =
        ini.set("server_login_retry", "1").set("query_wait_timeout", "4").set("server_connect_timeout", "2");
    common::pooler(ini.set("default_pool_size", "1"))
}

fn one_query(login: &Login) -> Outcome<String> {
    let mut client = login.try_client()?;
    let tables = client.try_query("SELECT 1")?;
    let first = tables.first().and_then(|table| table.rows.first()).and_then(|row| row[0].clone());
    Ok(first.unwrap_or_default())
}

/// A server that does `bad` on its second connection and behaves otherwise: the pooler gets over it.
fn survives(what: &str, bad: impl Fn(&mut FakePeer) -> Outcome<()> + Send + Sync + 'static) {
    let server = FakeServer::start(move |number, peer| {
        if number == 1 {
            return bad(peer);
        }
        peer.welcome()?;
        peer.serve()
    });
    let mut plimsoll = in_front_of(&server);
    let login = plimsoll.login("app", "fake");
    // What a first client costs (pages of the program, tables) is not what is measured.
    assert_eq!(one_query(&login).unwrap(), "1");
    plimsoll.console().query("RECONNECT");
    let before = plimsoll.process().rss_peak_bytes();
    // The first client may be told why, or wait and be served by the next connection.
    if let Err(failure) = one_query(&login) {
        assert!(failure.is_gone() || failure.server().severity == "FATAL", "{what}");
    }
    eventually_ok(what, SOON, || match one_query(&login) {
        Ok(answer) if answer == "1" => Ok(()),
        Ok(answer) => Err(format!("the answer {answer:?}")),
        Err(failure) => Err(failure.to_string()),
    });
    assert!(server.accepted() > 2, "{what}: the second connection was never given up");
    let grown = plimsoll.process().rss_peak_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "{what}: memory grew by {grown} bytes");
}

#[test]
fn a_server_that_talks_nonsense_at_login_is_left() {
    survives("HTTP", |peer| {
        peer.startup()?;
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        peer.wait_closed()
    });
    survives("length 0", |peer| {
        peer.startup()?;
        peer.send(&[b'R', 0, 0, 0, 0])?;
        peer.wait_closed()
    });
    survives("length 2^31", |peer| {
        peer.startup()?;
        peer.send(&[b'R', 0x80, 0, 0, 0, 0, 0, 0, 0])?;
        peer.wait_closed()
    });
    survives("unknown authentication", |peer| {
        peer.startup()?;
        peer.send(&Packet::typed(b'R').int32(7).bytes())?;
        peer.wait_closed()
    });
    survives("closes at once", |_| Ok(()));
    survives("closes after the startup packet", |peer| peer.startup().map(drop));
}

#[test]
fn a_server_that_talks_nonsense_in_an_answer_is_left() {
    survives("unknown message", |peer| {
        peer.welcome()?;
        peer.read_to(b'Q')?;
        peer.send(&Packet::typed(b'!').text("what").bytes())?;
        peer.wait_closed()
    });
    survives("length 3", |peer| {
        peer.welcome()?;
        peer.read_to(b'Q')?;
        peer.send(&[b'D', 0, 0, 0, 3])?;
        peer.wait_closed()
    });
    survives("unknown transaction state", |peer| {
        peer.welcome()?;
        peer.read_to(b'Q')?;
        peer.send(&Packet::typed(b'Z').raw(b"?").bytes())?;
        peer.wait_closed()
    });
    survives("half an answer", |peer| {
        peer.welcome()?;
        peer.read_to(b'Q')?;
        peer.send(&[b'D', 0, 0, 1, 0, 0, 1])
    });
}

#[test]
fn a_server_that_talks_unasked_is_not_used_again() {
    // It answers, and then says one ReadyForQuery too many: whose answer would the next one be?
    survives("an extra ReadyForQuery", |peer| {
        peer.welcome()?;
        peer.read_to(b'Q')?;
        peer.send(&Packet::typed(b'I').bytes())?;
        peer.send(&Packet::typed(b'Z').raw(b"I").bytes())?;
        peer.send(&Packet::typed(b'Z').raw(b"I").bytes())?;
        peer.wait_closed()
    });
    survives("a row out of nowhere", |peer| {
        peer.welcome()?;
        peer.send(&Packet::typed(b'D').int16(1).value(Some(b"whose?")).bytes())?;
        peer.wait_closed()
    });
}

#[test]
fn an_answer_in_single_bytes_arrives_whole() {
    let server = FakeServer::start(|_, peer| {
        peer.welcome()?;
        loop {
            match peer.read() {
                Ok(message) if message.tag == b'Q' => {}
                Ok(_) => return Ok(()),
                Err(failure) if failure.is_gone() => return Ok(()),
                Err(failure) => return Err(failure),
            }
            let mut bytes = Packet::typed(b'T').int16(0).bytes();
            bytes.extend(Packet::typed(b'D').int16(1).value(Some(b"byte by byte")).bytes());
            bytes.extend(Packet::typed(b'C').text("SELECT 1").bytes());
            bytes.extend(Packet::typed(b'Z').raw(b"I").bytes());
            peer.send_in_pieces(&bytes, 1)?;
        }
    });
    let plimsoll = in_front_of(&server);
    let mut client = plimsoll.login("app", "fake").client();
    for _ in 0..3 {
        let answer = client.run(&Batch::new().query("SELECT something"));
        assert_eq!(tags(&answer), "TDCZ");
        assert_eq!(answer[1].columns(), [Some(String::from("byte by byte"))]);
    }
    client.leave();
    drop(plimsoll);
    assert_eq!(server.failures(), Vec::<String>::new());
}

#[test]
fn nobody_at_the_address_is_no_end() {
    let port = plimsoll_testkit::free_port();
    let line = format!("host=127.0.0.1 port={port} dbname=x");
    let ini = Ini::empty().database("gone", &line).login("app", "app-secret").set("query_wait_timeout", "1");
    let plimsoll = common::pooler(ini.set("server_login_retry", "1"));
    let error = plimsoll.login("app", "gone").refusal();
    assert_eq!(error.severity, "FATAL");
    assert!(
        error.message == "query_wait_timeout" || error.message.contains("server login has been failing"),
        "{error}"
    );
    plimsoll.wait_for_log("connect failed", SOON);
    assert!(matches!(plimsoll.address(), Address::Tcp(_)));
    assert_eq!(plimsoll.show("VERSION").rows.len(), 1);
}
