//! Two clients, one server connection, and what the proxy does between them.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_session::{
    CleanWhen, Link, Outcome, Params, Release, Round, RoundStep, Session, Settings, Statement,
    StatementTable, Statements, Step, Steps, Then, Tracked,
};
use plimsoll_types::{Moment, PoolMode, Side, TxState};
use plimsoll_wire::HEADER_BYTES;

use crate::scan::{Scan, Sender};

/// Longest message that is kept whole, bytes: short, so that it is passed often.
const COLLECT_BYTES_MAX: usize = 200;

/// A message of the server that is looked into is waited for up to this length, bytes; the longest input is shorter.
const WAIT_BYTES_MAX: usize = 64 * 1024;

struct Table(RefCell<StatementTable>);

impl Statements for Table {
    fn intern(&self, text_and_types: &[u8], reading: &str) -> Arc<Statement> {
        self.0.borrow_mut().intern(text_and_types, reading)
    }
}

struct Client {
    session: Session,
    /// Sent and not dealt with.
    input: Vec<u8>,
    /// How much of it there must be before the machine is asked again.
    wanted: usize,
    sent: Scan,
}

/// What the server connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Queries,
    /// It is the first client's alone, which has it from the beginning to its end; the other one says nothing.
    Replication,
}

/// Who has the server connection.
enum Holder {
    Nobody,
    Client(usize),
    Cleaning(Round),
}

struct Server {
    link: Link,
    /// Sent and not dealt with.
    input: Vec<u8>,
    requests: Scan,
    answers: Scan,
}

pub(crate) struct World {
    purpose: Purpose,
    settings: Arc<Settings>,
    tracked: Tracked,
    table: Table,
    clients: [Client; 2],
    server: Server,
    holder: Holder,
    steps: Steps,
    now: Moment,
}

impl World {
    pub(crate) fn new(choice: u8) -> World {
        let purpose = if choice & 3 == 3 { Purpose::Replication } else { Purpose::Queries };
        let settings = Settings {
            mode: [PoolMode::Transaction, PoolMode::Session, PoolMode::Statement]
                [usize::from(choice & 3) % 3],
            prepared_max: u32::from(choice >> 2 & 3),
            packet_bytes_max: 1 << 20,
            collect_bytes_max: COLLECT_BYTES_MAX,
            clean: [CleanWhen::AfterSession, CleanWhen::Never, CleanWhen::Always]
                [usize::from(choice >> 4 & 3) % 3],
            compat: choice & 0x40 != 0,
            query_timeout: Duration::from_secs(1),
            idle_transaction_timeout: Duration::from_secs(2),
            transaction_timeout: Duration::from_secs(3),
            client_idle_timeout: Duration::from_secs(4),
            client_stall_timeout: Duration::from_secs(5),
            settle_timeout: Duration::from_secs(6),
            hold_bytes_max: usize::from(choice >> 7) * 4096,
        };
        let settings = Arc::new(match purpose {
            Purpose::Queries => settings,
            Purpose::Replication => settings.for_replication(),
        });
        let tracked = Tracked::new(&["search_path".to_string()]);
        let mut world = World {
            clients: [new_client(&settings, &tracked, "UTC"), new_client(&settings, &tracked, "it's")],
            server: new_server(purpose, &tracked),
            table: Table(RefCell::new(StatementTable::new("PLIMSOLL_"))),
            holder: Holder::Nobody,
            steps: Steps::default(),
            now: Moment(1),
            purpose,
            settings,
            tracked,
        };
        world.free();
        world
    }

    pub(crate) fn client_sends(&mut self, who: usize, bytes: &[u8]) {
        self.tick();
        if self.purpose == Purpose::Replication && who > 0 {
            return;
        }
        self.clients[who].input.extend_from_slice(bytes);
        self.drive_client(who);
    }

    pub(crate) fn server_sends(&mut self, bytes: &[u8]) {
        self.tick();
        self.server.input.extend_from_slice(bytes);
        self.drive_server();
    }

    pub(crate) fn client_leaves(&mut self, who: usize) {
        self.tick();
        let release = self.holds(who).then(|| self.clients[who].session.detach(&mut self.server.link));
        self.clients[who] = new_client(&self.settings, &self.tracked, "UTC");
        if let Some(release) = release {
            self.give_back(release);
        }
    }

    /// Time goes on, and what the console and the clock ask is asked.
    fn tick(&mut self) {
        self.now = self.now + Duration::from_millis(100);
        for who in 0..self.clients.len() {
            let link = self.holds(who).then_some(&self.server.link);
            let session = &self.clients[who].session;
            let _ = session.poll_timeout(link);
            let _ = (link.map(|link| session.holding(link)), session.prepared_count(), session.requested());
        }
    }

    fn holds(&self, who: usize) -> bool {
        matches!(self.holder, Holder::Client(holder) if holder == who)
    }

    /// Gives a client's bytes to the machine until it wants something.
    fn drive_client(&mut self, who: usize) {
        loop {
            let held = self.holds(who);
            let Client { session, input, wanted, sent } = &mut self.clients[who];
            if input.len() < *wanted {
                return;
            }
            *wanted = 0;
            let link = held.then_some(&mut self.server.link);
            let Outcome { consumed, then } =
                session.on_client(link, input, &self.table, &mut self.steps, self.now);
            carry_out(&self.steps, &input[..consumed], Side::Server, sent, &mut self.server.requests);
            input.drain(..consumed);
            match then {
                Then::Continue => return assert!(input.len() < HEADER_BYTES, "a message is left lying"),
                Then::Collect { bytes } => {
                    assert!(bytes > input.len(), "waits for what is there");
                    assert!(bytes <= COLLECT_BYTES_MAX);
                    *wanted = bytes;
                    return;
                }
                Then::NeedServer => {
                    assert!(!held, "has a server connection");
                    if !self.attach(who) {
                        return;
                    }
                }
                Then::HoldBack => return assert!(!held, "held back with a connection in hand"),
                Then::Busy => return assert!(held, "nothing to wait for"),
                Then::Release(release) => {
                    assert!(held, "nothing to give back");
                    return self.give_back(release);
                }
                Then::Close { side: Side::Client, .. } => return self.client_leaves(who),
                Then::Close { side: Side::Server, .. } | Then::Attached => {
                    panic!("{then:?} in answer to a client")
                }
            }
        }
    }

    /// Grants the server connection, if nobody has it.
    fn attach(&mut self, who: usize) -> bool {
        let Holder::Nobody = self.holder else { return false };
        let Client { session, sent, .. } = &mut self.clients[who];
        session.attach(&mut self.server.link, &self.tracked, &mut self.steps, self.now);
        carry_out(&self.steps, &[], Side::Server, sent, &mut self.server.requests);
        self.holder = Holder::Client(who);
        true
    }

    /// Gives the server's bytes to whoever has the connection, until nothing comes of it.
    fn drive_server(&mut self) {
        loop {
            let before = self.server.input.len();
            match self.holder {
                Holder::Nobody => self.server_idle(),
                Holder::Client(who) => self.server_held(who),
                Holder::Cleaning(_) => self.server_cleaning(),
            }
            if self.server.input.is_empty() || self.server.input.len() == before {
                return;
            }
        }
    }

    fn server_idle(&mut self) {
        let Server { link, input, answers, .. } = &mut self.server;
        match link.on_idle(input, &self.tracked) {
            Ok(consumed) => {
                answers.feed(Sender::Server, &input[..consumed]);
                input.drain(..consumed);
            }
            Err(_) => self.server = new_server(self.purpose, &self.tracked),
        }
    }

    fn server_held(&mut self, who: usize) {
        let Client { session, sent, .. } = &mut self.clients[who];
        let Server { link, input, requests, answers } = &mut self.server;
        let Outcome { consumed, then } =
            session.on_server(link, input, &self.tracked, &mut self.steps, self.now);
        carry_out(&self.steps, &input[..consumed], Side::Client, sent, requests);
        answers.feed(Sender::Server, &input[..consumed]);
        input.drain(..consumed);
        match then {
            Then::Continue => {
                assert!(input.len() < WAIT_BYTES_MAX);
                self.drive_client(who);
            }
            Then::Attached => self.drive_client(who),
            Then::Release(release) => {
                assert!(sent.is_whole(), "given back in the middle of a message to the client");
                self.give_back(release);
            }
            Then::Close { side: Side::Client, .. } => self.client_leaves(who),
            Then::Close { side: Side::Server, .. } => {
                self.clients[who] = new_client(&self.settings, &self.tracked, "UTC");
                self.replace_server();
            }
            Then::NeedServer | Then::HoldBack | Then::Collect { .. } | Then::Busy => {
                panic!("{then:?} in answer to a server")
            }
        }
    }

    fn server_cleaning(&mut self) {
        let Holder::Cleaning(round) = &mut self.holder else { return };
        let Server { link, input, answers, .. } = &mut self.server;
        match round.on_server(link, input, &self.tracked) {
            RoundStep::More { consumed } => {
                answers.feed(Sender::Server, &input[..consumed]);
                input.drain(..consumed);
            }
            RoundStep::Done { consumed } => {
                assert_eq!(consumed, input.len(), "cleaned with bytes unread");
                assert_eq!(link.tx(), TxState::Idle);
                answers.feed(Sender::Server, input);
                input.clear();
                self.free();
            }
            RoundStep::Failed(_) => self.replace_server(),
        }
    }

    /// A client has no more use for the connection.
    fn give_back(&mut self, release: Release) {
        if self.purpose == Purpose::Replication {
            let _ = self.server.link.ending();
            return self.replace_server();
        }
        let Server { link, requests, answers, input } = &mut self.server;
        let round = match release {
            Release::Unusable(_) | Release::Unfinished => {
                let _ = link.ending();
                return self.replace_server();
            }
            Release::Clean => None,
            Release::Dirty => Some(Round::start("DISCARD ALL", &mut Vec::new())),
        };
        assert_eq!(link.tx(), TxState::Idle);
        assert!(requests.is_whole(), "given back in the middle of a message to the server");
        assert!(!link.is_mid_message_to_client());
        if answers.doubts == 0 {
            assert_eq!(requests.ready, answers.ready, "given back with answers outstanding");
        }
        // What is unread belongs to nobody.
        if link.on_idle(input, &self.tracked) != Ok(input.len()) {
            return self.replace_server();
        }
        input.clear();
        (*requests, *answers) = (Scan::default(), Scan::default());
        match round {
            None => self.free(),
            Some(round) => {
                // Its request is not counted; nor is its answer, which ends with the round.
                answers.doubts = 1;
                self.holder = Holder::Cleaning(round);
            }
        }
    }

    fn replace_server(&mut self) {
        self.server = new_server(self.purpose, &self.tracked);
        self.free();
    }

    /// The connection is there for the next client that wants it.
    fn free(&mut self) {
        self.server.answers = Scan::default();
        self.holder = Holder::Nobody;
        if self.purpose == Purpose::Replication {
            self.attach(0);
        }
        for who in 0..self.clients.len() {
            if !self.clients[who].input.is_empty() {
                self.drive_client(who);
            }
        }
    }
}

/// Sends what the steps say. What is forwarded is a part of what was dealt with, in order, and goes to one side only.
fn carry_out(steps: &Steps, dealt_with: &[u8], forwards_to: Side, client: &mut Scan, server: &mut Scan) {
    let mut forwarded = 0;
    let mut injected = 0;
    for step in &steps.list {
        let (to, bytes) = match step {
            Step::Forward { to, range } => {
                assert_eq!(*to, forwards_to);
                assert!(range.start >= forwarded, "forwarded twice");
                forwarded = range.end;
                (to, &dealt_with[range.clone()])
            }
            Step::Inject { to, range } => {
                assert!(range.start >= injected, "sent twice");
                injected = range.end;
                (to, &steps.bytes[range.clone()])
            }
        };
        let (receiver, sender) = match to {
            Side::Client => (&mut *client, Sender::Server),
            Side::Server => (&mut *server, Sender::Client),
        };
        if let Step::Inject { .. } = step {
            assert!(receiver.is_whole(), "a message of our own in the middle of another");
        }
        receiver.feed(sender, bytes);
    }
}

fn new_client(settings: &Arc<Settings>, tracked: &Tracked, time_zone: &str) -> Client {
    Client {
        session: Session::new(settings.clone(), Arc::new(params(tracked, time_zone)), Moment(1)),
        input: Vec::new(),
        wanted: 0,
        sent: Scan::default(),
    }
}

fn new_server(purpose: Purpose, tracked: &Tracked) -> Server {
    let params = Arc::new(params(tracked, "UTC"));
    Server {
        link: match purpose {
            Purpose::Queries => Link::new(params),
            Purpose::Replication => Link::for_replication(params),
        },
        input: Vec::new(),
        requests: Scan::default(),
        answers: Scan::default(),
    }
}

/// What a server reports after its start.
fn params(tracked: &Tracked, time_zone: &str) -> Params {
    let value = |name: &str| match name {
        "TimeZone" => Some(time_zone.into()),
        "client_encoding" => Some("UTF8".into()),
        _ => None,
    };
    Params { values: tracked.names().map(value).collect() }
}
