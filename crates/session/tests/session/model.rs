//! Two clients share one or two server connections in transaction pooling, or have one each in session pooling. What
//! each sees is what it would see alone
//! on a connection of its own, and a connection that is given back is idle.

use std::collections::VecDeque;
use std::sync::Arc;

use plimsoll_session::{
    Attach, FreeStep, Freeing, Link, Noting, Outcome, Release, Session, Step, Steps, Then, Tracked,
};
use plimsoll_types::{Moment, PoolMode, Side};
use proptest::prelude::*;

use crate::backend::Backend;
use crate::notation::{bytes, words};
use crate::talk::{Table, params, settings};

/// A wait until nothing is on its way.
const WAIT: &str = "WAIT";

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c"])
}

fn named_text() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["s1", "s1", "s2", "s3", "bad", "fail", "", "begin", "rollback", "many"])
}

fn any_text() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "s1", "s2", "", "bad", "fail", "begin", "commit", "rollback", "note", "defer", "many", "copyout",
    ])
}

fn simple_text() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "s1",
        "",
        "bad",
        "fail",
        "begin",
        "begin",
        "commit",
        "rollback",
        "note",
        "defer",
        "copyout",
        "s1;s2",
        "s1;fail;s2",
        "begin;s1",
        "app1",
        "app2",
        "app3",
    ])
}

/// COPY, with Syncs that it swallows or not. Which of them is not known before all is answered, so what is sent behind
/// one that fails early may be answered too early.
fn copy() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "Q:copy d:x d:y c",
        "Q:copy d:x S H d:y c",
        "Q:copy d:x d:bad d:y c",
        "Q:copy S S d:bad c S WAIT",
        "Q:copy d:x f",
        "Q:copy S f",
        "Q:copybad d:x c",
        "Q:copybad S d:x c WAIT",
        "Q:s1;copy;copy;s2 d:x c d:y S c",
        "Q:copy;copy d:x c S d:bad S f WAIT",
        "P:=copy B: E S d:x d:y c S",
        "P:=copy B: E d:x c S",
        "P:=copy B: E S d:x d:bad d:y c S",
        "P:=copy B: E S S d:bad S c S WAIT",
        "P:=copy B: E S f S",
        "P:=copybad B: E S d:x c S WAIT",
        "P:=copybad B: E S S d:x S c S WAIT",
        "P:=copybad B: E d:x c S",
    ])
}

/// Some messages that belong together.
fn unit() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => simple_text().prop_map(|text| format!("Q:{text}")),
        3 => (name(), named_text()).prop_map(|(name, text)| format!("P:{name}={text}")),
        5 => name().prop_map(|name| format!("B:{name} E")),
        1 => name().prop_map(|name| format!("B:{name} Dp: E")),
        1 => name().prop_map(|name| format!("D:{name}")),
        2 => name().prop_map(|name| format!("C:{name}")),
        8 => Just("S".to_owned()),
        1 => Just("H".to_owned()),
        3 => any_text().prop_map(|text| format!("P:={text} B: E")),
        1 => any_text().prop_map(|text| format!("P:={text} D: B: Dp: E E")),
        2 => copy().prop_map(str::to_owned),
        1 => Just("F".to_owned()),
        1 => name().prop_map(|name| format!("B:p/{name} Dp:p E:p")),
        1 => prop::sample::select(vec!["E:p", "Cp:p", "Dp:p", "d:x", "c", "f"]).prop_map(str::to_owned),
        2 => Just(WAIT.to_owned()),
        // What is sent behind it before it is answered cannot be right (see `prepared.rs`).
        1 => Just(format!("Q:deall {WAIT}")),
    ]
}

fn script() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(unit(), 1..18).prop_map(|mut units| {
        units.push("S Q:rollback".to_owned());
        units.join(" ").split_whitespace().map(str::to_owned).collect()
    })
}

/// What the client sees on a connection of its own.
fn alone(script: &[String]) -> String {
    let mut backend = Backend::new();
    for word in script.iter().filter(|word| *word != WAIT) {
        backend.feed(&bytes(Side::Client, word));
    }
    words(Side::Server, &backend.sent)
}

/// Cheap and repeatable.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % n
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Waiting,
    Settling,
    Busy,
}

struct Client {
    session: Session,
    phase: Phase,
    conn: Option<usize>,
    /// Words not sent yet.
    script: VecDeque<String>,
    /// Bytes sent and not arrived.
    wire: Vec<u8>,
    kept: Vec<u8>,
    seen: Vec<u8>,
    /// Of what nobody asked for, how much it was told while it held a connection.
    told: usize,
}

struct Server {
    link: Link,
    backend: Backend,
    kept: Vec<u8>,
    holder: Option<usize>,
}

struct World {
    clients: Vec<Client>,
    servers: Vec<Server>,
    queue: VecDeque<usize>,
    table: Table,
    tracked: Tracked,
    steps: Steps,
    dice: Dice,
    now: Moment,
    trace: Vec<String>,
}

impl World {
    fn new(mode: PoolMode, scripts: &[Vec<String>], servers: usize, prepared_max: u32, seed: u64) -> World {
        let tracked = Tracked::new(&[]);
        let mut settings = settings(mode);
        settings.prepared_max = prepared_max;
        let settings = Arc::new(settings);
        let values = Arc::new(params(&tracked, "ISO, MDY", ""));
        // Noting makes no difference to what goes over the wire.
        let session = || {
            let mut session = Session::new(settings.clone(), values.clone(), Moment(1));
            session.set_noting(if seed & 2 == 0 { Noting::On } else { Noting::Off });
            session
        };
        let client = |script: &Vec<String>| Client {
            session: session(),
            phase: Phase::Open,
            conn: None,
            script: script.iter().cloned().collect(),
            wire: Vec::new(),
            kept: Vec::new(),
            seen: Vec::new(),
            told: 0,
        };
        let server = |_| Server {
            link: Link::new(values.clone()),
            backend: Backend::new(),
            kept: Vec::new(),
            holder: None,
        };
        World {
            clients: scripts.iter().map(client).collect(),
            servers: (0..servers).map(server).collect(),
            queue: VecDeque::new(),
            table: Table::new(),
            tracked,
            steps: Steps::default(),
            dice: Dice(seed | 1),
            now: Moment(1),
            trace: Vec::new(),
        }
    }

    /// Goes on until nothing is left to do.
    fn run(&mut self) {
        while self.turn() {}
    }

    /// False if nothing is left to do.
    fn turn(&mut self) -> bool {
        self.now = Moment(self.now.0 + 1);
        let clients = (0..self.clients.len()).filter(|at| self.can_send(*at));
        let servers = (0..self.servers.len()).filter(|at| !self.servers[*at].backend.sent.is_empty());
        let choices: Vec<(Side, usize)> =
            clients.map(|at| (Side::Client, at)).chain(servers.map(|at| (Side::Server, at))).collect();
        if choices.is_empty() {
            return false;
        }
        match choices[self.dice.below(choices.len())] {
            (Side::Client, at) => self.client_sends(at),
            (Side::Server, at) => self.server_sends(at),
        }
        true
    }

    /// A client is lost: its server connection, if it has one, is freed where that is possible.
    fn lose(&mut self, at: usize, copies: Copies) {
        let Some(conn) = self.clients[at].conn.take() else { return };
        let (client, server) = (&mut self.clients[at], &mut self.servers[conn]);
        match client.session.detach(&mut server.link) {
            Release::Unfinished => {}
            // Half a message was sent on, or nobody knows what the server has read.
            Release::Unusable(_) => return,
            Release::Clean | Release::Dirty => return assert!(server.backend.is_idle()),
        }
        let commits = server.backend.commits;
        let mut freeing = Freeing::new(&client.session, &server.link);
        let mut out = Vec::new();
        let mut step = freeing.go(&mut server.link, &mut out);
        loop {
            self.trace.push(format!("  lost {at} > {conn} {} {step:?}", words(Side::Client, &out)));
            let server = &mut self.servers[conn];
            server.backend.feed(&out);
            out.clear();
            match step {
                FreeStep::Done => break,
                FreeStep::More { consumed } => server.kept.drain(..consumed),
                FreeStep::Cancel { consumed } => {
                    server.kept.drain(..consumed);
                    step = freeing.go(&mut server.link, &mut out);
                    continue;
                }
                // What a COPY that fails has read cannot always be known. Then it is closed.
                FreeStep::Failed(_) if copies == Copies::MayFail => {
                    assert_eq!(self.servers[conn].backend.commits, commits, "half a batch is committed");
                    return;
                }
                FreeStep::Failed(cause) => panic!("not freed: {cause:?}"),
            };
            assert!(!server.backend.sent.is_empty(), "it waits for nothing");
            let n = self.some(self.servers[conn].backend.sent.len());
            let server = &mut self.servers[conn];
            server.kept.extend(server.backend.sent.drain(..n));
            step = freeing.on_server(&mut server.link, &server.kept, &self.tracked, &mut out);
        }
        let server = &self.servers[conn];
        assert!(server.backend.is_idle(), "not idle: {:?}", server.backend);
        assert_eq!(server.backend.commits, commits, "a Sync of ours has committed half a batch");
        if self.clients[at].session.settings().mode != PoolMode::Session {
            assert_eq!(server.link.prepared_count(), server.backend.named());
        }
    }

    fn can_send(&self, at: usize) -> bool {
        let client = &self.clients[at];
        if client.phase != Phase::Open {
            return false;
        }
        if !client.wire.is_empty() {
            return true;
        }
        match client.script.front() {
            None => false,
            Some(word) if word == WAIT => {
                client.conn.is_none_or(|conn| self.servers[conn].backend.sent.is_empty())
            }
            Some(_) => true,
        }
    }

    /// How many bytes of so many arrive at once.
    fn some(&mut self, bytes: usize) -> usize {
        if self.dice.below(2) == 0 { bytes } else { 1 + self.dice.below(bytes) }
    }

    fn client_sends(&mut self, at: usize) {
        let burst = self.dice.below(12);
        let client = &mut self.clients[at];
        if client.wire.is_empty() && client.script.front().is_some_and(|word| word == WAIT) {
            client.script.pop_front();
            return;
        }
        while client.wire.len() < burst * 8 + 1 && client.script.front().is_some_and(|word| word != WAIT) {
            let word = client.script.pop_front().expect("just seen");
            client.wire.extend_from_slice(&bytes(Side::Client, &word));
        }
        let n = self.some(self.clients[at].wire.len());
        let client = &mut self.clients[at];
        let arrived: Vec<u8> = client.wire.drain(..n).collect();
        client.kept.extend_from_slice(&arrived);
        self.hear_client(at);
    }

    fn server_sends(&mut self, at: usize) {
        let n = self.some(self.servers[at].backend.sent.len());
        let late = self.dice.below(4) == 0;
        let server = &mut self.servers[at];
        let arrived: Vec<u8> = server.backend.sent.drain(..n).collect();
        server.kept.extend_from_slice(&arrived);
        let mut input = std::mem::take(&mut server.kept);
        let holder =
            server.holder.unwrap_or_else(|| panic!("nobody holds it: {}", words(Side::Server, &input)));
        // Something that nobody asked for, right behind an answer.
        let late = late
            && self.clients[holder].phase != Phase::Settling
            && input.ends_with(&bytes(Side::Server, "Z:I"));
        let late = if late { bytes(Side::Server, "A") } else { Vec::new() };
        input.extend_from_slice(&late);
        let client = &mut self.clients[holder];
        let outcome =
            client.session.on_server(&mut server.link, &input, &self.tracked, &mut self.steps, self.now);
        self.carry_out(holder, &input, &outcome);
        let server = &mut self.servers[at];
        server.kept = input[outcome.consumed..].to_vec();
        let client = &mut self.clients[holder];
        if matches!(outcome.then, Then::Release(_)) {
            assert_eq!(server.kept, late, "what is behind the answer belongs to nobody");
            assert_eq!(server.link.on_idle(&late, &self.tracked), Ok(late.len()));
            server.kept.clear();
        } else {
            client.told += usize::from(!late.is_empty());
        }
        match outcome.then {
            Then::Continue if client.phase == Phase::Busy => client.phase = Phase::Open,
            Then::Continue => {}
            Then::Attached => client.phase = Phase::Open,
            // The relay does not look at kept bytes then.
            Then::Release(_) => assert_ne!(client.phase, Phase::Busy),
            ref other => panic!("server said {}: {other:?}", words(Side::Server, &input)),
        }
        if let Then::Release(release) = outcome.then {
            self.give_back(holder, &release);
        }
        if self.clients[holder].phase == Phase::Open && !self.clients[holder].kept.is_empty() {
            self.hear_client(holder);
        }
    }

    fn hear_client(&mut self, at: usize) {
        loop {
            let client = &mut self.clients[at];
            let input = std::mem::take(&mut client.kept);
            let link = client.conn.map(|conn| &mut self.servers[conn].link);
            let outcome = client.session.on_client(link, &input, &self.table, &mut self.steps, self.now);
            self.carry_out(at, &input, &outcome);
            let client = &mut self.clients[at];
            client.kept = input[outcome.consumed..].to_vec();
            match outcome.then {
                Then::Continue | Then::HoldBack | Then::Collect { .. } => return,
                Then::Busy => {
                    client.phase = Phase::Busy;
                    return;
                }
                Then::NeedServer => {
                    client.phase = Phase::Waiting;
                    self.queue.push_back(at);
                    // What is kept goes back to the wire.
                    return self.grant();
                }
                Then::Release(release) => {
                    self.give_back(at, &release);
                    if self.clients[at].kept.is_empty() {
                        return;
                    }
                }
                other => panic!("client said {}: {other:?}", words(Side::Client, &input)),
            }
        }
    }

    fn give_back(&mut self, at: usize, release: &Release) {
        let conn = self.clients[at].conn.take().expect("it holds one");
        let server = &mut self.servers[conn];
        assert_eq!(*release, Release::Clean);
        assert!(server.backend.is_idle(), "not idle: {:?}", server.backend);
        assert!(server.kept.is_empty());
        assert_eq!(server.link.prepared_count(), server.backend.named());
        server.holder = None;
        self.trace.push(format!("{at} gives {conn} back"));
        self.grant();
    }

    fn grant(&mut self) {
        let Some(conn) = self.servers.iter().position(|server| server.holder.is_none()) else { return };
        let Some(at) = self.queue.pop_front() else { return };
        self.trace.push(format!("{at} gets {conn}"));
        let (client, server) = (&mut self.clients[at], &mut self.servers[conn]);
        client.conn = Some(conn);
        server.holder = Some(at);
        let attach = client.session.attach(&mut server.link, &self.tracked, &mut self.steps, self.now);
        self.carry_out(at, &[], &Outcome { consumed: 0, then: Then::Continue });
        self.clients[at].phase = match attach {
            Attach::Ready => Phase::Open,
            Attach::Settling => Phase::Settling,
        };
        if attach == Attach::Ready {
            // What was kept is looked at when it is its turn.
            let kept = std::mem::take(&mut self.clients[at].kept);
            let mut wire = kept;
            wire.append(&mut self.clients[at].wire);
            self.clients[at].wire = wire;
        }
    }

    fn carry_out(&mut self, at: usize, input: &[u8], outcome: &Outcome) {
        assert!(outcome.consumed <= input.len());
        let client = &mut self.clients[at];
        for step in &self.steps.list {
            let (to, piece) = match step {
                Step::Forward { to, range } => (to, &input[range.clone()]),
                Step::Inject { to, range } => (to, &self.steps.bytes[range.clone()]),
            };
            match to {
                Side::Client => {
                    client.seen.extend_from_slice(piece);
                    self.trace.push(format!("  {at} < {}", words(Side::Server, piece)));
                }
                Side::Server => {
                    let conn = client.conn.expect("something is said to a server");
                    self.servers[conn].backend.feed(piece);
                    self.trace.push(format!("  {at} > {conn} {}", words(Side::Client, piece)));
                }
            }
        }
    }
}

fn check(mode: PoolMode, scripts: &[Vec<String>], servers: usize, prepared_max: u32, seed: u64) {
    let mut world = World::new(mode, scripts, servers, prepared_max, seed);
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    let trace = world.trace.join("\n");
    if ran.is_err() {
        panic!("{trace}");
    }
    for (at, script) in scripts.iter().enumerate() {
        let client = &mut world.clients[at];
        let seen = words(Side::Server, &client.seen);
        let (told, seen): (Vec<&str>, Vec<&str>) = seen.split(' ').partition(|word| *word == "A");
        assert_eq!(seen.join(" "), alone(script), "client {at}\n{trace}");
        assert_eq!(told.len(), client.told, "client {at}\n{trace}");
        let left = [client.wire.len(), client.kept.len(), client.script.len()];
        assert_eq!((client.phase, left), (Phase::Open, [0, 0, 0]), "client {at} is stuck\n{trace}");
        if let Some(conn) = client.conn.take() {
            assert_eq!(mode, PoolMode::Session, "client {at} still holds\n{trace}");
            let server = &mut world.servers[conn];
            assert_eq!(client.session.detach(&mut server.link), Release::Dirty, "client {at}\n{trace}");
            server.holder = None;
        }
    }
    for server in &world.servers {
        assert!(server.backend.is_idle() && server.holder.is_none(), "{trace}");
    }
}

/// What becomes of COPY in a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copies {
    MayFail,
    Succeed,
}

/// A client is lost after so many turns.
fn lose(mode: PoolMode, script: &[String], prepared_max: u32, turns: usize, seed: u64) {
    let mut world = World::new(mode, &[script.to_vec()], 1, prepared_max, seed);
    let fails = script.iter().any(|word| word.contains("copybad") || word == "d:bad" || word == "f");
    let copies = if fails { Copies::MayFail } else { Copies::Succeed };
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..turns {
            world.turn();
        }
        world.lose(0, copies);
    }));
    assert!(ran.is_ok(), "{}", world.trace.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_client_sees_what_it_would_see_alone(
        scripts in (script(), script()),
        servers in 1..3_usize,
        prepared_max in 1..4_u32,
        seed in any::<u64>(),
    ) {
        check(PoolMode::Transaction, &[scripts.0, scripts.1], servers, prepared_max, seed);
    }

    #[test]
    fn whoever_is_lost_anywhere_leaves_a_connection_that_is_idle_and_has_committed_nothing(
        script in script(),
        session in any::<bool>(),
        prepared_max in 1..4_u32,
        turns in 0..60_usize,
        seed in any::<u64>(),
    ) {
        let mode = if session { PoolMode::Session } else { PoolMode::Transaction };
        lose(mode, &script, prepared_max, turns, seed);
    }

    #[test]
    fn session_pooling_changes_nothing(scripts in (script(), script()), seed in any::<u64>()) {
        check(PoolMode::Session, &[scripts.0, scripts.1], 2, 1, seed);
    }
}
