//! The vocabulary of the machine: its settings, its steps, its outcomes.

use std::ops::Range;
use std::time::Duration;

use plimsoll_types::{Cause, PoolMode, Side};

use crate::noted::Noted;

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
    /// `client_stall_timeout`; zero is off.
    pub client_stall_timeout: Duration,
    /// How long the server may take to set parameters (`server_check_timeout`); zero is off.
    pub settle_timeout: Duration,
    /// `batch_hold_bytes`; zero is off.
    pub hold_bytes_max: usize,
}

impl Settings {
    /// The same for a replication connection: it is a session on a server connection of its own, which nobody cleans
    /// since nobody else gets it, and how long it may take is the server's to say (`wal_sender_timeout`).
    #[must_use]
    pub fn for_replication(&self) -> Settings {
        let off = Duration::ZERO;
        Settings {
            mode: PoolMode::Session,
            prepared_max: 0,
            clean: CleanWhen::Never,
            query_timeout: off,
            idle_transaction_timeout: off,
            transaction_timeout: off,
            client_idle_timeout: off,
            client_stall_timeout: off,
            hold_bytes_max: 0,
            ..self.clone()
        }
    }
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
    /// For the ledger: taken by the caller after each call, since it speaks of the input of that call.
    pub noted: Noted,
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
    /// (`on_client`) What begins at `consumed` will need a server connection, and the client has not sent all of it that
    /// the server would have to wait for: keep it and call again when there is more, or, where too much is kept already,
    /// take a server connection as for [`Then::NeedServer`].
    HoldBack,
    /// (`on_client`) Too many answers are outstanding, or what to do depends on one of them: call again with the same
    /// bytes after the next `on_server`.
    Busy,
    /// (`on_server`) The parameters are set: go on with the client's bytes.
    Attached,
    /// Nothing holds the connection any more: give it back. (`on_server`) Input from `consumed` on belongs to nobody:
    /// it is [`Link::on_idle`](crate::Link::on_idle)'s.
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
    /// Something is under way: it has to be ended first ([`Freeing`](crate::Freeing)).
    Unfinished,
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

/// Whether something of the client's next message is kept by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing.
    Nothing,
    /// Its beginning.
    Part,
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
    /// A batch was begun and not ended by Sync, or a message was begun of which the rest has not come.
    HalfBatch,
    /// COPY FROM STDIN waits for the client.
    CopyIn,
    /// A replication stream: both sides send what they like until both have ended it.
    Replicating,
    /// Session pooling, idle.
    Session,
    /// Parameters are being set.
    Settling,
}

/// How a server connection can be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It reads, or works at one of several queries, and a cancel could let the others run outside their transaction:
    /// Terminate.
    Terminate,
    /// It works: cancel, then Terminate.
    Cancel,
    /// It waits for COPY data: CopyFail, then Terminate.
    CopyFail,
    /// A message to it is half sent, so nothing can be said: cancel, close.
    Cut,
    /// The same, and it has more than one query before it: a cancel could strike the first of them, and the next would
    /// run outside the transaction it was meant for. Close.
    HangUp,
}

impl Steps {
    /// Forgets the list (not the counts).
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.bytes.clear();
        self.noted.clear();
    }

    /// A range of the input goes on as it is; joined with the step before if it follows on.
    pub(crate) fn forward(&mut self, to: Side, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        if let Some(Step::Forward { to: last_to, range: last }) = self.list.last_mut()
            && *last_to == to
            && last.end == range.start
        {
            last.end = range.end;
            return;
        }
        self.list.push(Step::Forward { to, range });
    }

    /// A message of our own.
    pub(crate) fn inject(&mut self, to: Side, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let end = self.bytes.len();
        if let Some(Step::Inject { to: last_to, range }) = self.list.last_mut()
            && *last_to == to
        {
            range.end = end;
            return;
        }
        self.list.push(Step::Inject { to, range: start..end });
    }

    /// Takes back what was meant for the client from byte `from` of the input on: nothing of an answer that must not
    /// be seen goes out.
    pub(crate) fn withhold_from_client(&mut self, from: usize) {
        let mut cut = false;
        self.list.retain_mut(|step| match step {
            Step::Forward { to: Side::Client, range } => {
                cut |= range.end > from;
                range.end = range.end.min(from);
                range.start < range.end
            }
            Step::Inject { to: Side::Client, .. } => !cut,
            Step::Forward { to: Side::Server, .. } | Step::Inject { to: Side::Server, .. } => true,
        });
    }
}

impl Outcome {
    pub(crate) fn new(consumed: usize, then: Then) -> Outcome {
        Outcome { consumed, then }
    }

    pub(crate) fn close(consumed: usize, side: Side, cause: Cause) -> Outcome {
        Outcome { consumed, then: Then::Close { side, cause } }
    }
}
