//! Several poolers behind one address: a cancel request that comes to the wrong one reaches its query all the same, and
//! the command line shows all of them.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::BINARY;
use common::net::{Machine, Net};
use plimsoll_testkit::{
    Batch, CancelKey, Client, FakeServer, Ini, Login, Outcome, Packet, Plimsoll, Postgres, ServerError,
    Signal, binary_of, run_beside, tags,
};

const SLEEP: &str = "SELECT pg_sleep(600)";
/// How long what happens on this machine may take.
const SOON: Duration = Duration::from_secs(20);

/// An instance and the file it was started with.
struct Instance {
    plimsoll: Plimsoll,
    ini: Ini,
}

impl Instance {
    fn start(ini: Ini, id: u16) -> Instance {
        let ini = ini.set("peer_id", &id.to_string());
        Instance { plimsoll: Plimsoll::start(BINARY, &ini), ini }
    }

    /// From now on it knows these: their ids, and where they are.
    fn knows(&self, peers: &[(u16, String)]) {
        let lines = peers.iter().map(|(id, at)| format!("{id} = {at}\n")).collect::<String>();
        self.plimsoll.reload(&self.ini.clone().extra(&format!("[peers]\n{lines}")));
    }

    /// As the others reach it: by the folder of its socket.
    fn at(&self) -> String {
        format!("host={} port={}", self.plimsoll.dir().display(), self.plimsoll.port())
    }
}

/// Two that know each other.
fn two(postgres: &Postgres) -> (Instance, Instance) {
    let (one, other) = (Instance::start(Ini::new(postgres), 1), Instance::start(Ini::new(postgres), 2));
    // The own line may be there, so that all can have the same.
    one.knows(&[(1, one.at()), (2, other.at())]);
    other.knows(&[(1, one.at())]);
    (one, other)
}

fn begin(client: &mut Client) -> Vec<u8> {
    let key = client.cancel_key().key;
    client.send(Batch::new().query(SLEEP).bytes()).unwrap();
    key
}

fn sleeping(postgres: &Postgres, count: usize) {
    postgres.wait_for_sessions("state = 'active' AND query LIKE '%pg_sleep(600)%'", count);
}

/// Sends a CancelRequest with this key and waits until the other side closes.
fn cancel_at(plimsoll: &Plimsoll, key: &[u8]) -> Outcome<()> {
    let mut client = Client::knock(&plimsoll.address(), SOON)?;
    client.send(&Packet::untyped(80_877_102).raw(key).bytes())?;
    assert_eq!(client.expect_closed(), None, "nothing is ever answered to a cancel request");
    Ok(())
}

fn ends_cancelled(client: &mut Client) {
    let answer = client.cycle().unwrap();
    assert_eq!(tags(&answer), "TEZ");
    assert_eq!(ServerError::of(&answer[1]).sqlstate, "57014");
    assert_eq!(client.value("SELECT 'on'"), "on");
}

#[test]
fn a_cancel_at_the_wrong_one_ends_the_query_of_the_right_one() {
    let postgres = Postgres::start();
    let (one, other) = two(&postgres);
    let mut client = one.plimsoll.client("app", "p0");
    let mut bystander = other.plimsoll.client("app", "p0");
    let key = begin(&mut client);
    begin(&mut bystander);
    sleeping(&postgres, 2);
    assert_eq!((key[0] & 0x80, &key[1..3], key[7] & 3), (0, &[1, 0][..], 3), "as PgBouncer's keys: {key:?}");
    cancel_at(&other.plimsoll, &key).unwrap();
    ends_cancelled(&mut client);
    sleeping(&postgres, 1);
    // With the key as it is on its second and third way, too.
    let key = begin(&mut client);
    sleeping(&postgres, 2);
    let passed: Vec<u8> = key[..7].iter().copied().chain([key[7] & !3 | 1]).collect();
    cancel_at(&one.plimsoll, &passed).unwrap();
    ends_cancelled(&mut client);
    let own = bystander.cancel_key().key;
    cancel_at(&one.plimsoll, &own).unwrap();
    ends_cancelled(&mut bystander);
    let pools = other.plimsoll.show("PEER_POOLS");
    assert_eq!(pools.cell(0, "peer_id"), "1");
    let log = other.plimsoll.log();
    assert!(log.contains("successfully sent cancel request"), "{log}");
}

#[test]
fn the_console_names_them() {
    let postgres = Postgres::start();
    let (one, other) = two(&postgres);
    let peers = one.plimsoll.show("PEERS");
    let rows: Vec<Vec<String>> =
        peers.rows.iter().map(|row| row.iter().map(|cell| cell.clone().unwrap()).collect()).collect();
    let row = |id: &str, it: &Instance| {
        let (dir, port) = (it.plimsoll.dir().display().to_string(), it.plimsoll.port().to_string());
        vec![id.to_string(), dir, port, "20".to_string()]
    };
    assert_eq!(rows, [row("1", &one), row("2", &other)]);
    assert!(one.plimsoll.show("PEER_POOLS").rows.is_empty(), "nothing has been passed on");
    // A reload takes one away.
    one.knows(&[(1, one.at())]);
    assert_eq!(one.plimsoll.show("PEERS").rows.len(), 1);
}

#[test]
fn a_key_of_nobody_is_closed_with_the_reason_in_the_log() {
    let postgres = Postgres::start();
    let (one, other) = two(&postgres);
    let mut client = one.plimsoll.client("app", "p0");
    let key = begin(&mut client);
    sleeping(&postgres, 1);
    let with = |id: u16, last: u8| {
        let [low, high] = id.to_le_bytes();
        [key[0], low, high, key[3], key[4], key[5], key[6], last]
    };
    let mark = other.plimsoll.log_mark();
    cancel_at(&other.plimsoll, &with(77, key[7])).unwrap();
    other.plimsoll.wait_for_log_since(mark, "could not find peer to forward request to", SOON);
    let mark = other.plimsoll.log_mark();
    cancel_at(&other.plimsoll, &with(1, key[7] & !3)).unwrap();
    other.plimsoll.wait_for_log_since(
        mark,
        "failed to forward cancel request because its TTL was exhausted",
        SOON,
    );
    let mark = other.plimsoll.log_mark();
    cancel_at(&other.plimsoll, &with(2, key[7])).unwrap();
    other.plimsoll.wait_for_log_since(mark, "failed cancel request", SOON);
    // The right instance, and a secret that is nobody's.
    let mark = one.plimsoll.log_mark();
    let wrong = [key[0], key[1], key[2], key[3] ^ 1, key[4], key[5], key[6], key[7]];
    cancel_at(&other.plimsoll, &wrong).unwrap();
    one.plimsoll.wait_for_log_since(mark, "failed cancel request", SOON);
    sleeping(&postgres, 1);
}

#[test]
fn a_request_goes_three_ways_at_most() {
    let postgres = Postgres::start();
    // Each takes the other one for number 3: a request for it would go round and round.
    let (one, other) = (Instance::start(Ini::new(&postgres), 1), Instance::start(Ini::new(&postgres), 2));
    one.knows(&[(3, other.at())]);
    other.knows(&[(3, one.at())]);
    let marks = (one.plimsoll.log_mark(), other.plimsoll.log_mark());
    cancel_at(&one.plimsoll, &[0, 3, 0, 1, 2, 3, 4, 0xff]).unwrap();
    // one, other, one, other: passed on three times.
    other.plimsoll.wait_for_log_since(marks.1, "TTL was exhausted", SOON);
    let said = |it: &Instance, mark: usize| it.plimsoll.log_since(mark).matches("TTL was exhausted").count();
    assert_eq!((said(&one, marks.0), said(&other, marks.1)), (0, 1));
}

#[test]
fn a_peer_that_is_away_or_silent_holds_nobody_for_longer_than_it_may() {
    let postgres = Postgres::start();
    let one = Instance::start(Ini::new(&postgres).set("cancel_wait_timeout", "1"), 1);
    let silent = FakeServer::start(|_, peer| peer.wait_closed());
    one.knows(&[
        (2, format!("host={} port=1", one.plimsoll.dir().display())),
        (3, format!("host=127.0.0.1 port={} pool_size=1", silent.port())),
    ]);
    let mark = one.plimsoll.log_mark();
    cancel_at(&one.plimsoll, &[0, 2, 0, 1, 2, 3, 4, 0xff]).unwrap();
    one.plimsoll.wait_for_log_since(mark, "cancel request could not be passed on to peer 2", SOON);
    // Two at once: one is on its way, the other one waits for its place; both are given up.
    let mut first = Client::knock(&one.plimsoll.address(), SOON).unwrap();
    let mut second = Client::knock(&one.plimsoll.address(), SOON).unwrap();
    for client in [&mut first, &mut second] {
        client.send(&Packet::untyped(80_877_102).raw(&[0, 3, 0, 1, 2, 3, 4, 0xff]).bytes()).unwrap();
    }
    assert_eq!((first.expect_closed(), second.expect_closed()), (None, None));
    assert!(silent.accepted() <= 2, "one after the other");
    one.plimsoll.still_works(&["p0"]);
}

#[test]
fn a_cancel_through_a_balancer_finds_its_query() {
    let Some(net) = Net::build() else { return };
    net.enter(Machine::Database);
    let postgres = Postgres::start();
    let start = |id| Instance::start(Ini::new(&postgres).set("listen_addr", &Net::listen_addr()), id);
    let (one, other) = (start(1), start(2));
    one.knows(&[(2, other.at())]);
    other.knows(&[(1, one.at())]);
    // Connections go to the one and the other by turns, so that each cancel request comes to the wrong one.
    let port = 7432;
    net.balance(port, &[one.plimsoll.port(), other.plimsoll.port()]);
    for _ in 0..4 {
        net.inside(Machine::Application, || {
            let login = Login::new(Net::at_database(port), "app", "p0").patience(SOON);
            let mut client = login.client();
            let key: CancelKey = client.cancel_key();
            client.send(Batch::new().query(SLEEP).bytes()).unwrap();
            net.inside(Machine::Database, || sleeping(&postgres, 1));
            key.cancel().unwrap();
            let answer = client.cycle().unwrap();
            assert_eq!(ServerError::of(&answer[1]).sqlstate, "57014");
        });
    }
    let passed = |it: &Instance| it.plimsoll.log().matches("successfully sent cancel request").count();
    // Each is told of twice: by the one it came to, and by the one whose it was.
    assert_eq!(passed(&one) + passed(&other), 8);
    assert!(passed(&one) >= 4 && passed(&other) >= 4, "no cancel request came to the one whose it was");
}

fn command(instance: &Instance, words: &str) -> (i32, String) {
    let program = binary_of(BINARY).display().to_string();
    let path = instance.plimsoll.ini_path().display().to_string();
    let (status, output) = run_beside(&program, |command| {
        command.args(words.split(' ')).args(["--config", &path]);
        for name in ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGPASSFILE", "COLUMNS"] {
            command.env_remove(name);
        }
    });
    (status.code().unwrap_or(-1), output)
}

#[test]
fn the_command_line_shows_all_of_them() {
    let postgres = Postgres::start();
    let (one, mut other) = two(&postgres);
    let login = |it: &Instance, name: &str| {
        it.plimsoll.login("app", "p0").parameter("application_name", name).client()
    };
    let mut here = login(&one, "here");
    let mut there = login(&other, "there");
    here.query("BEGIN");
    there.query("BEGIN");
    let rows = |output: &str| -> Vec<(String, String)> {
        let objects = output.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
        objects.map(|row| (text(&row["instance"]), text(&row["application_name"]))).collect()
    };
    let both = [("1".to_string(), "here".to_string()), ("2".to_string(), "there".to_string())];
    for words in ["holds --json", "clients --json"] {
        let (code, output) = command(&one, words);
        assert_eq!((code, &rows(&output)[..]), (0, &both[..]), "{words}: {output}");
    }
    let (code, output) = command(&other, "clients --by instance,app");
    assert!(code == 0 && output.contains("instance") && output.contains("here"), "{output}");
    let (code, output) = command(&one, "doctor");
    assert!(code == 0 && output.contains("instance 1: ") && output.contains("instance 2: "), "{output}");
    let (code, output) = command(&one, "holds --alone");
    assert!(code == 0 && !output.contains("instance") && !output.contains("there"), "{output}");
    let (code, output) = command(&one, "leaks --check");
    assert_eq!(code, 0, "{output}");
    // One that does not answer is named, and the status says that the answer is not whole.
    other.plimsoll.signal(Signal::Kill);
    other.plimsoll.wait_exit(SOON);
    let (code, output) = command(&one, "holds");
    assert!(code == 1 && output.contains("instance 2") && output.contains("here"), "{output}");
    let (code, _) = command(&one, "leaks --check");
    assert_eq!(code, 1);
}
