//! Clients that speak the protocol, and the connections they speak over: the state of the small relay between the
//! session machine, the pool and a model of PostgreSQL.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use plimsoll_session::{
    CleanWhen, Link, Noting, Params, Session, Settings, Statement, StatementTable, Statements, Steps, Tracked,
};
use plimsoll_types::{ClientId, Moment, PoolMode, SlotId};
use std::time::Duration;

use crate::history::{Cleaning, Leaving, Mode, Pooling, Talk};
use crate::postgres::{Postgres, Sql};
use crate::rng::Rng;

/// Longest message of a client that is kept until it is whole, bytes.
pub(super) const COLLECT_BYTES_MAX: usize = 4096;

/// What the bytes of a client wait for: as in the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// For nothing.
    Open,
    /// For a connection.
    Waiting,
    /// For parameters to be set.
    Settling,
    /// For answers.
    Busy,
}

/// Why a client says nothing more at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// It is about to speak: that is in the agenda.
    Soon,
    /// It wants all its answers first.
    Until,
    /// It has said everything.
    Over,
}

/// A client that speaks the protocol.
#[derive(Debug)]
pub(super) struct Speaker {
    pub(super) session: Session,
    pub(super) phase: Phase,
    pub(super) silence: Silence,
    /// What it has still to say.
    pub(super) units: VecDeque<String>,
    pub(super) leaving: Leaving,
    /// Messages so far.
    pub(super) said: u32,
    /// Sent, and not arrived.
    pub(super) wire: Vec<u8>,
    /// Arrived, and kept.
    pub(super) kept: Vec<u8>,
    /// So many bytes are to be there before they are looked at.
    pub(super) wanted: usize,
    /// Whether the arrival of bytes is in the agenda.
    pub(super) arriving: bool,
    /// What a PostgreSQL of its own would do.
    pub(super) alone: Postgres,
    /// What that has answered, from the first message that has not been received on.
    pub(super) expected: Vec<u8>,
    /// Bytes of that which were dealt with.
    pub(super) matched: usize,
    /// How much of that it has flushed.
    pub(super) flushed: usize,
    /// Received: less than a message.
    pub(super) inbox: Vec<u8>,
    pub(super) rng: Rng,
    /// The settings of the pool which its session has, or has seen and not taken over.
    pub(super) settings: Arc<Settings>,
    /// When a limit of its time is looked at next.
    pub(super) limit: Option<Moment>,
}

impl Speaker {
    /// So many of some bytes come at once: all of them half of the time.
    pub(super) fn some(&mut self, bytes: usize) -> usize {
        if bytes < 2 || self.rng.chance(60) { bytes } else { self.rng.between(1, bytes as u32) as usize }
    }

    /// Whether it has all the answers it can have.
    pub(super) fn has_all(&self) -> bool {
        self.wire.is_empty()
            && self.kept.is_empty()
            && self.inbox.is_empty()
            && self.matched >= self.flushed
            && self.alone.sleeps().is_none()
    }

    /// What PostgreSQL would answer to it alone is known from now on.
    pub(super) fn expect(&mut self) {
        let (written, flushed) = self.alone.take_written();
        if flushed > 0 {
            self.flushed = self.expected.len() + flushed;
        }
        self.expected.extend_from_slice(&written);
    }
}

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) link: Link,
    pub(super) backend: Postgres,
    /// Arrived, and kept.
    pub(super) kept: Vec<u8>,
    /// Whether the arrival of bytes is in the agenda.
    pub(super) arriving: bool,
    /// Counts the statements that take time.
    pub(super) naps: u32,
    /// When the last one began.
    pub(super) nap_since: Moment,
}

/// The table of statements, as one thread needs it.
#[derive(Debug)]
pub(super) struct Table(RefCell<StatementTable>);

impl Statements for Table {
    fn intern(&self, text_and_types: &[u8], reading: &str) -> Arc<Statement> {
        self.0.borrow_mut().intern(text_and_types, reading)
    }
}

/// All of it.
pub(crate) struct Talks {
    pub(super) speakers: BTreeMap<ClientId, Speaker>,
    pub(super) wires: BTreeMap<SlotId, Wire>,
    pub(super) tracked: Tracked,
    pub(super) table: Table,
    pub(super) steps: Steps,
    /// What a server reports at login.
    base: Arc<Params>,
}

/// What is reported of a session that has just begun.
fn reported(tracked: &Tracked, sql: &Sql) -> Arc<Params> {
    let mut params = Params::none(tracked);
    for (name, value) in sql.reports() {
        if let Some(at) = tracked.index(name.as_bytes()) {
            params.values[at] = Some(value.into());
        }
    }
    Arc::new(params)
}

fn server_sql() -> Sql {
    Sql::new("ISO, MDY", "")
}

impl Talks {
    pub(crate) fn new() -> Talks {
        let tracked = Tracked::new(&[]);
        let base = reported(&tracked, &server_sql());
        Talks {
            speakers: BTreeMap::new(),
            wires: BTreeMap::new(),
            tracked,
            table: Table(RefCell::new(StatementTable::new("PLIMSOLL_"))),
            steps: Steps::default(),
            base,
        }
    }

    pub(crate) fn is_speaker(&self, id: ClientId) -> bool {
        self.speakers.contains_key(&id)
    }

    pub(super) fn forget_client(&mut self, id: ClientId) {
        self.speakers.remove(&id);
    }

    pub(crate) fn forget_connection(&mut self, slot: SlotId) {
        self.wires.remove(&slot);
    }

    /// A server has logged us in.
    pub(super) fn open(&mut self, slot: SlotId) {
        let wire = Wire {
            link: Link::new(self.base.clone()),
            backend: Postgres::new(server_sql()),
            kept: Vec::new(),
            arriving: false,
            naps: 0,
            nap_since: Moment(0),
        };
        self.wires.insert(slot, wire);
    }

    pub(super) fn begin(&mut self, id: ClientId, talk: &Talk, settings: &Arc<Settings>, now: Moment) {
        let style = ["ISO, MDY", "German, DMY"][usize::from(talk.style % 2)];
        let application = ["", "app1", "app2"][usize::from(talk.application % 3)];
        let sql = Sql::new(style, application);
        let mut params = reported(&self.tracked, &sql);
        if params == self.base {
            // Equal values share one allocation, as in the directory.
            params = self.base.clone();
        }
        let mut session = Session::new(settings.clone(), params, now);
        session.set_number(id.0);
        session.set_noting(Noting::On);
        let speaker = Speaker {
            session,
            phase: Phase::Open,
            silence: Silence::Soon,
            units: talk.units.iter().cloned().collect(),
            leaving: talk.leaving,
            said: 0,
            wire: Vec::new(),
            kept: Vec::new(),
            wanted: 0,
            arriving: false,
            alone: Postgres::new(sql),
            expected: Vec::new(),
            matched: 0,
            flushed: 0,
            inbox: Vec::new(),
            rng: Rng::new(talk.dice),
            settings: settings.clone(),
            limit: None,
        };
        self.speakers.insert(id, speaker);
    }

    /// Whether a connection has the reported values its server has.
    pub(super) fn knows_parameters(&self, wire: &Wire) -> bool {
        *reported(&self.tracked, wire.backend.sql()) == **wire.link.params()
    }
}

/// Nothing of a batch is held back: who is lost in half of one is to be lost with a server connection.
const HOLD_BYTES_MAX: usize = 0;

/// The settings of sessions in a pool.
pub(crate) fn settings(pooling: &Pooling) -> Arc<Settings> {
    Arc::new(Settings {
        mode: match pooling.mode {
            Mode::Session => PoolMode::Session,
            Mode::Transaction => PoolMode::Transaction,
            Mode::Statement => PoolMode::Statement,
        },
        prepared_max: pooling.prepared_max,
        packet_bytes_max: 1 << 20,
        collect_bytes_max: COLLECT_BYTES_MAX,
        clean: match pooling.cleaning {
            Cleaning::Never => CleanWhen::Never,
            Cleaning::AfterSession => CleanWhen::AfterSession,
            Cleaning::Always => CleanWhen::Always,
        },
        compat: false,
        query_timeout: Duration::from_micros(pooling.query_us),
        idle_transaction_timeout: Duration::from_micros(pooling.idle_us),
        transaction_timeout: Duration::from_micros(pooling.transaction_us),
        client_idle_timeout: Duration::ZERO,
        client_stall_timeout: Duration::ZERO,
        settle_timeout: Duration::ZERO,
        hold_bytes_max: HOLD_BYTES_MAX,
    })
}
