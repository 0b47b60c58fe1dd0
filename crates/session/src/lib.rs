//! What to do with each message: the machine between one client and the server connection it holds.
//!
//! No I/O, no clock, no locks. [`Session`] is the client's half and small, since every idle client has one; [`Link`]
//! is the server connection's half and travels with the connection. Bytes come in as slices of the worker's buffer;
//! what is to be done goes out as [`Steps`]: ranges of that buffer which go on as they are, and messages of our own.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_types::{Cause, Moment, PoolMode, Side, TxState};

/// Settings of a session, merged from user, database and global ones; shared by all clients they are the same for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a client keeps a server connection.
    pub mode: PoolMode,
    /// `max_prepared_statements` per server connection; 0: nothing is rewritten. Session pooling never rewrites.
    pub prepared_max: u32,
    /// Longest message accepted from a client, bytes.
    pub packet_bytes_max: u32,
    /// Longest message (or beginning of one) that is kept until it is whole, bytes.
    pub collect_bytes_max: usize,
    /// Whether a connection is cleaned on return in transaction and statement pooling too
    /// (`server_reset_query_always`). In session pooling it always is, unless there is no reset query.
    pub clean: CleanWhen,
    /// PgBouncer's answers (FATAL) where ours would be the server's own (26000, 42P05).
    pub compat: bool,
    /// `query_timeout`; zero is off.
    pub query_timeout: Duration,
    /// `idle_transaction_timeout`; zero is off.
    pub idle_transaction_timeout: Duration,
    /// `transaction_timeout`; zero is off.
    pub transaction_timeout: Duration,
    /// `client_idle_timeout`; zero is off.
    pub client_idle_timeout: Duration,
}

/// When the reset query is run on a connection that comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanWhen {
    /// Never: `server_reset_query` is empty.
    Never,
    /// After session pooling.
    AfterSession,
    /// Always.
    Always,
}

// ------------------------------------------------------------------------------------------------ parameters

/// The names of the parameters that follow the client: DateStyle, client_encoding, TimeZone,
/// standard_conforming_strings, application_name, then `track_extra_parameters` under the names written in the ini.
#[derive(Debug)]
pub struct Tracked {
    _private: (),
}

#[allow(unused_variables)]
impl Tracked {
    /// The five and the extra ones (duplicates ignored).
    pub fn new(extra: &[String]) -> Tracked {
        todo!()
    }

    /// Position of a name, compared without case.
    pub fn index(&self, name: &[u8]) -> Option<usize> {
        todo!()
    }

    /// Names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }
}

/// One value for each tracked name, or none. Shared and never changed in place: equal pointers are equal values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Params {
    /// In the order of [`Tracked::names`].
    pub values: Box<[Option<Arc<str>>]>,
}

#[allow(unused_variables)]
impl Params {
    /// No values.
    pub fn none(tracked: &Tracked) -> Params {
        todo!()
    }

    /// `self`, with gaps filled from `base`.
    pub fn or(&self, base: &Params) -> Params {
        todo!()
    }
}

// ------------------------------------------------------------------------------------------------ statements

/// A named statement as all clients share it.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement {
    /// Unique.
    pub id: u64,
    /// Its name on server connections.
    pub name: Box<str>,
    /// Query text, zero, parameter types: the Parse message after its name.
    pub text_and_types: Box<[u8]>,
}

/// Where statements are looked up; asked only when a client sends a named Parse.
pub trait Statements {
    /// The statement with this text, new or known.
    fn intern(&self, text_and_types: &[u8]) -> Arc<Statement>;
}

/// All statements some client or server connection knows. The shell puts a lock around it.
#[derive(Debug)]
pub struct StatementTable {
    _private: (),
}

#[allow(unused_variables)]
impl StatementTable {
    /// Names will be `prefix` and a number.
    pub fn new(prefix: &'static str) -> StatementTable {
        todo!()
    }

    /// See [`Statements::intern`]. Forgets, now and then (amortised), those that nobody has any more.
    pub fn intern(&mut self, text_and_types: &[u8]) -> Arc<Statement> {
        todo!()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

// ------------------------------------------------------------------------------------------------ steps

/// What goes where. Carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// This range of the input goes on as it is.
    Forward {
        /// Where to.
        to: Side,
        /// Which bytes of the input.
        range: Range<usize>,
    },
    /// This range of [`Steps::bytes`] is sent.
    Inject {
        /// Where to.
        to: Side,
        /// Which bytes of `bytes`.
        range: Range<usize>,
    },
}

/// Things counted; taken and reset by the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// First messages after a ReadyForQuery (reference 3.8).
    pub queries: u32,
    /// First messages of a transaction.
    pub xacts: u32,
    /// Microseconds of queries that ended.
    pub query_us: u64,
    /// Microseconds of transactions that ended.
    pub xact_us: u64,
    /// Named Parse messages from clients.
    pub client_parses: u32,
    /// Parse messages sent to servers for named statements.
    pub server_parses: u32,
    /// Named Bind messages from clients.
    pub binds: u32,
}

/// The worker's reusable list of steps; cleared by each call that fills it.
#[derive(Debug, Default)]
pub struct Steps {
    /// In order.
    pub list: Vec<Step>,
    /// Backing bytes of the injected messages.
    pub bytes: Vec<u8>,
    /// Added up over calls until the caller takes them.
    pub counts: Counts,
}

/// What the caller does after the steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// Everything that is whole is dealt with; input from `consumed` on (less than a header, or nothing) is kept and
    /// given again in front of what comes next.
    Continue,
    /// (`on_client`) What begins at `consumed` needs a server connection: get one, [`Session::attach`], call again.
    NeedServer,
    /// Keep what begins at `consumed` and call again when this many bytes of it are there. Never more than
    /// `collect_bytes_max`.
    Collect {
        /// Bytes wanted, from `consumed`.
        bytes: usize,
    },
    /// (`on_client`) Too many answers are outstanding: call again with the same bytes after the next `on_server`.
    Busy,
    /// (`on_server`) The parameters are set: go on with the client's bytes.
    Attached,
    /// (`on_server`) Nothing holds the connection any more: give it back.
    Release(Release),
    /// Close this side with this cause; for `Side::Client` the caller asks [`Session::detach`] what becomes of the
    /// server connection, for `Side::Server` both are closed (the client is told the cause).
    Close {
        /// Which side is to blame.
        side: Side,
        /// Why.
        cause: Cause,
    },
}

/// The answer to some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes of the input that are dealt with.
    pub consumed: usize,
    /// What is next.
    pub then: Then,
}

/// In what state a server connection comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// Ready for anybody.
    Clean,
    /// The reset query has to be run.
    Dirty,
    /// To be closed, and why.
    Unusable(Cause),
}

/// Whether a new server connection can be used at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// At once.
    Ready,
    /// A SET round is under way: carry out the steps, read the server until [`Then::Attached`].
    Settling,
}

/// Why the server connection is (still) held: for the console and the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// Nothing is under way.
    Nothing,
    /// A statement is being executed.
    Executing,
    /// In a transaction, nothing running.
    InTransaction,
    /// In a failed transaction.
    InFailedTransaction,
    /// A batch was begun and not ended by Sync.
    HalfBatch,
    /// COPY FROM STDIN waits for the client.
    CopyIn,
    /// Session pooling, idle.
    Session,
    /// Parameters are being set.
    Settling,
}

// ------------------------------------------------------------------------------------------------ the machine

/// The client's half.
#[derive(Debug)]
pub struct Session {
    _private: (),
}

/// The server connection's half: transaction state, answers outstanding, statements prepared, parameter values.
#[derive(Debug)]
pub struct Link {
    _private: (),
}

#[allow(unused_variables)]
impl Session {
    /// A client that has just logged in. `params`: its values, gaps already filled with the pool's.
    pub fn new(settings: Arc<Settings>, params: Arc<Params>, now: Moment) -> Session {
        todo!()
    }

    /// After a reload or SET.
    pub fn set_settings(&mut self, settings: Arc<Settings>) {
        todo!()
    }

    /// The settings in force.
    pub fn settings(&self) -> &Arc<Settings> {
        todo!()
    }

    /// The client's parameter values.
    pub fn params(&self) -> &Arc<Params> {
        todo!()
    }

    /// A server connection was granted. Compares parameters; where they differ, a SET round goes first.
    pub fn attach(&mut self, link: &mut Link, tracked: &Tracked, steps: &mut Steps, now: Moment) -> Attach {
        todo!()
    }

    /// Bytes from the client, beginning at a message boundary or inside a message whose beginning was forwarded.
    /// `link` is `None` while no server connection is held.
    pub fn on_client(
        &mut self,
        link: Option<&mut Link>,
        input: &[u8],
        statements: &dyn Statements,
        steps: &mut Steps,
        now: Moment,
    ) -> Outcome {
        todo!()
    }

    /// Bytes from the server connection that is held.
    pub fn on_server(
        &mut self,
        link: &mut Link,
        input: &[u8],
        tracked: &Tracked,
        steps: &mut Steps,
        now: Moment,
    ) -> Outcome {
        todo!()
    }

    /// The client leaves (or is thrown out) while it holds `link`.
    pub fn detach(&mut self, link: &mut Link) -> Release {
        todo!()
    }

    /// When which limit will be over, given what is going on now.
    pub fn poll_timeout(&self, link: Option<&Link>) -> Option<(Moment, Cause)> {
        todo!()
    }

    /// Named statements the client has prepared.
    pub fn prepared_count(&self) -> usize {
        todo!()
    }

    /// Why the connection is held.
    pub fn holding(&self, link: &Link) -> Holding {
        todo!()
    }

    /// When the last client message that began a query came in (`request_time`).
    pub fn requested(&self) -> Moment {
        todo!()
    }
}

#[allow(unused_variables)]
impl Link {
    /// A server connection that has just logged in, with the parameter values it reported.
    pub fn new(params: Arc<Params>) -> Link {
        todo!()
    }

    /// Transaction state as of the last ReadyForQuery.
    pub fn tx(&self) -> TxState {
        todo!()
    }

    /// The server's parameter values.
    pub fn params(&self) -> &Arc<Params> {
        todo!()
    }

    /// Whether the server is in the middle of something (then it is cancelled before it is let go), waits for COPY
    /// data (then a CopyFail), or reads messages.
    pub fn ending(&self) -> Ending {
        todo!()
    }

    /// Bytes from a server connection that nobody holds: ParameterStatus and notices are taken in, notifications
    /// dropped, anything else is a cause to close it. Returns the bytes dealt with.
    ///
    /// # Errors
    /// Why it has to be closed.
    pub fn on_idle(&mut self, input: &[u8], tracked: &Tracked) -> Result<usize, Cause> {
        todo!()
    }

    /// Named statements prepared on it.
    pub fn prepared_count(&self) -> usize {
        todo!()
    }
}

/// How a server connection can be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It reads: Terminate.
    Terminate,
    /// It works: cancel, then Terminate.
    Cancel,
    /// It waits for COPY data: CopyFail, then Terminate.
    CopyFail,
    /// A message to it is half sent, so nothing can be said: cancel, close.
    Cut,
}

/// A query of our own on a connection that nobody holds: reset, check, connect_query. Its answer is swallowed.
#[derive(Debug)]
pub struct Round {
    _private: (),
}

/// How a [`Round`] goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoundStep {
    /// Read on; input from `consumed` on is kept.
    More {
        /// Bytes dealt with.
        consumed: usize,
    },
    /// Ended well: the connection is idle and everything is read.
    Done {
        /// Bytes dealt with.
        consumed: usize,
    },
    /// Ended badly; the server's message if there was one.
    Failed(Cause),
}

#[allow(unused_variables)]
impl Round {
    /// Begins: appends the Query message to `out`. The answer counts from the CommandComplete or EmptyQueryResponse
    /// of this query on: a stray ReadyForQuery before it is swallowed too.
    pub fn start(query: &str, out: &mut Vec<u8>) -> Round {
        todo!()
    }

    /// Bytes from the server. Keeps `link` up to date (parameters; statements after DISCARD ALL, DEALLOCATE ALL).
    pub fn on_server(&mut self, link: &mut Link, input: &[u8], tracked: &Tracked) -> RoundStep {
        todo!()
    }
}
