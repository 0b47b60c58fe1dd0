//! One client, one server connection, and the relay between them in its simplest form.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_session::{
    Attach, CleanWhen, Counts, Link, LinkImage, Noting, Outcome, Packing, Params, SeenText, Session,
    SessionImage, Settings, SharedImage, Statement, StatementTable, Statements, Step, Steps, Then, Tracked,
    Unpacking,
};
use plimsoll_types::{Moment, PoolMode, Side};

use crate::notation::{bytes, words};

/// The table of statements, as one thread needs it.
pub(crate) struct Table(RefCell<StatementTable>);

impl Table {
    pub(crate) fn new() -> Table {
        Table(RefCell::new(StatementTable::new("S")))
    }
}

impl Statements for Table {
    fn intern(&self, text_and_types: &[u8], reading: &str) -> Arc<Statement> {
        self.0.borrow_mut().intern(text_and_types, reading)
    }
}

/// Transaction pooling, nothing that limits.
pub(crate) fn settings(mode: PoolMode) -> Settings {
    Settings {
        mode,
        prepared_max: 100,
        packet_bytes_max: 1 << 30,
        collect_bytes_max: 1 << 16,
        clean: CleanWhen::AfterSession,
        compat: false,
        query_timeout: Duration::ZERO,
        idle_transaction_timeout: Duration::ZERO,
        transaction_timeout: Duration::ZERO,
        client_idle_timeout: Duration::ZERO,
        client_stall_timeout: Duration::ZERO,
        settle_timeout: Duration::ZERO,
        hold_bytes_max: 0,
    }
}

/// Values for the tracked names that the tests set: DateStyle and application_name.
pub(crate) fn params(tracked: &Tracked, style: &str, application: &str) -> Params {
    let mut params = Params::none(tracked);
    params.values[0] = Some(style.into());
    params.values[4] = Some(application.into());
    params
}

/// See the module.
pub(crate) struct Talk {
    pub(crate) session: Session,
    pub(crate) link: Link,
    pub(crate) tracked: Tracked,
    pub(crate) table: Table,
    /// Whether the client holds the connection.
    pub(crate) held: bool,
    pub(crate) now: Moment,
    steps: Steps,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    to_client: Vec<u8>,
    to_server: Vec<u8>,
    said: Vec<String>,
    /// What the ledger heard: texts (with their size if they are cut), prepared ones with their executions.
    pub(crate) seen: Vec<String>,
    pub(crate) statements: u32,
    pub(crate) rows: u32,
    /// All that was sent, for those who want the bytes.
    pub(crate) sent_to_client: Vec<u8>,
    pub(crate) sent_to_server: Vec<u8>,
}

impl Talk {
    /// In transaction pooling.
    pub(crate) fn new() -> Talk {
        Talk::with(settings(PoolMode::Transaction))
    }

    pub(crate) fn with(settings: Settings) -> Talk {
        let tracked = Tracked::new(&[]);
        let values = Arc::new(params(&tracked, "ISO, MDY", ""));
        Talk {
            session: Session::new(Arc::new(settings), values.clone(), Moment(1)),
            link: Link::new(values),
            tracked,
            table: Table::new(),
            held: false,
            now: Moment(1),
            steps: Steps::default(),
            from_client: Vec::new(),
            from_server: Vec::new(),
            to_client: Vec::new(),
            to_server: Vec::new(),
            said: Vec::new(),
            seen: Vec::new(),
            statements: 0,
            rows: 0,
            sent_to_client: Vec::new(),
            sent_to_server: Vec::new(),
        }
    }

    /// With a ledger.
    pub(crate) fn noting(mode: PoolMode) -> Talk {
        let mut talk = Talk::with(settings(mode));
        talk.session.set_noting(Noting::On);
        talk
    }

    /// Everything goes to another process, as bytes. Only where `crate::MOVING` says so.
    fn move_over(&mut self) {
        if !crate::MOVING {
            return;
        }
        let mut packing = Packing::of(&self.table.0.borrow());
        let (session, link) = (self.session.image(&mut packing), self.link.image(&mut packing));
        let image = (packing.finish(&self.tracked), session, link);
        let bytes = rmp_serde::to_vec_named(&image).expect("plain values");
        let (shared, session, link): (SharedImage, SessionImage, LinkImage) =
            rmp_serde::from_slice(&bytes).expect("the same values");
        let mut table = StatementTable::new("S");
        let unpacking = Unpacking::new(shared, &self.tracked, &mut table).expect("ours");
        let settings = self.session.settings().clone();
        let (number, noting) = (self.session.number(), self.session.noting());
        self.session = Session::from_image(session, settings, &unpacking).expect("ours");
        self.session.set_number(number);
        self.session.set_noting(noting);
        self.link = Link::from_image(link, &unpacking).expect("ours");
        self.table = Table(RefCell::new(table));
    }

    /// Another client takes its place; the connection to the server stays.
    pub(crate) fn next_client(&mut self) {
        assert!(!self.held, "the connection is held");
        let settings = self.session.settings().clone();
        self.session = Session::new(settings, self.session.params().clone(), self.now);
        self.from_client.clear();
    }

    /// What has been counted since it was asked last.
    pub(crate) fn counts(&mut self) -> Counts {
        std::mem::take(&mut self.steps.counts)
    }

    /// The client says something. What follows is written as `s[to the server] c[to the client] decision`.
    pub(crate) fn client(&mut self, said: &str) -> String {
        self.client_bytes(&bytes(Side::Client, said))
    }

    pub(crate) fn client_bytes(&mut self, said: &[u8]) -> String {
        self.move_over();
        self.from_client.extend_from_slice(said);
        self.hear_client();
        self.summary()
    }

    /// The server says something.
    pub(crate) fn server(&mut self, said: &str) -> String {
        self.server_bytes(&bytes(Side::Server, said))
    }

    pub(crate) fn server_bytes(&mut self, said: &[u8]) -> String {
        self.move_over();
        self.from_server.extend_from_slice(said);
        self.hear_server();
        self.summary()
    }

    fn hear_client(&mut self) {
        loop {
            let input = std::mem::take(&mut self.from_client);
            let link = self.held.then_some(&mut self.link);
            let outcome = self.session.on_client(link, &input, &self.table, &mut self.steps, self.now);
            self.carry_out(&input, &outcome);
            self.from_client = input[outcome.consumed..].to_vec();
            match outcome.then {
                Then::NeedServer => {
                    self.held = true;
                    if self.session.attach(&mut self.link, &self.tracked, &mut self.steps, self.now)
                        == Attach::Settling
                    {
                        self.carry_out(&[], &Outcome { consumed: 0, then: Then::Continue });
                        self.said.push("settling".to_owned());
                        return;
                    }
                }
                Then::Release(_) => {
                    self.note(outcome.then);
                    if self.from_client.is_empty() {
                        return;
                    }
                }
                then => return self.note(then),
            }
        }
    }

    fn hear_server(&mut self) {
        let input = std::mem::take(&mut self.from_server);
        let outcome =
            self.session.on_server(&mut self.link, &input, &self.tracked, &mut self.steps, self.now);
        self.carry_out(&input, &outcome);
        self.from_server = input[outcome.consumed..].to_vec();
        let closed = matches!(outcome.then, Then::Close { .. });
        let released = matches!(outcome.then, Then::Release(_));
        self.note(outcome.then);
        if released && !self.from_server.is_empty() {
            self.hear_idle_server();
        }
        if !closed && !self.from_client.is_empty() {
            self.hear_client();
        }
    }

    /// What nobody asked for, on a connection that nobody holds.
    fn hear_idle_server(&mut self) {
        match self.link.on_idle(&self.from_server, &self.tracked) {
            Ok(consumed) => {
                self.said.push(format!("idle[{}]", words(Side::Server, &self.from_server[..consumed])));
                self.from_server.drain(..consumed);
            }
            Err(cause) => self.said.push(format!("unusable: {}", cause.message())),
        }
    }

    fn carry_out(&mut self, input: &[u8], outcome: &Outcome) {
        assert!(outcome.consumed <= input.len());
        let noted = std::mem::take(&mut self.steps.noted);
        self.statements += noted.statements;
        self.rows += noted.rows;
        self.seen.extend([noted.first, noted.last].into_iter().flatten().map(|seen| match seen.text {
            SeenText::Input { range, bytes } => {
                let text = String::from_utf8_lossy(&input[range.clone()]).into_owned();
                if range.len() == bytes { text } else { format!("{text}... of {bytes}") }
            }
            SeenText::Prepared(statement) => {
                format!("{} after {}", String::from_utf8_lossy(statement.text()), seen.executions)
            }
            SeenText::Unknown => "?".to_owned(),
        }));
        for step in &self.steps.list {
            let (to, piece) = match step {
                Step::Forward { to, range } => (to, &input[range.clone()]),
                Step::Inject { to, range } => (to, &self.steps.bytes[range.clone()]),
            };
            match to {
                Side::Client => self.to_client.extend_from_slice(piece),
                Side::Server => self.to_server.extend_from_slice(piece),
            }
        }
    }

    fn note(&mut self, then: Then) {
        match then {
            // Less than a header is kept, or a message that has to be seen whole.
            Then::Continue => assert!(self.from_server.len() <= 32 * 1024),
            Then::NeedServer => self.said.push("need server".to_owned()),
            Then::Collect { bytes } => {
                let bytes_max = self.session.settings().collect_bytes_max;
                assert!((self.from_client.len() + 1..=bytes_max).contains(&bytes), "collect {bytes}");
                self.said.push(format!("collect {bytes}"));
            }
            Then::HoldBack => self.said.push("hold back".to_owned()),
            Then::Busy => self.said.push("busy".to_owned()),
            Then::Attached => self.said.push("attached".to_owned()),
            Then::Release(release) => {
                self.held = false;
                self.said.push(format!("release {release:?}"));
            }
            Then::Close { side, cause } => self.said.push(format!("close {side:?}: {}", cause.message())),
        }
    }

    fn summary(&mut self) -> String {
        self.sent_to_client.extend_from_slice(&self.to_client);
        self.sent_to_server.extend_from_slice(&self.to_server);
        let mut parts = Vec::new();
        let (to_server, to_client) =
            (std::mem::take(&mut self.to_server), std::mem::take(&mut self.to_client));
        if !to_server.is_empty() {
            parts.push(format!("s[{}]", words(Side::Client, &to_server)));
        }
        if !to_client.is_empty() {
            parts.push(format!("c[{}]", words(Side::Server, &to_client)));
        }
        parts.append(&mut self.said);
        parts.join(" ")
    }
}
