//! Freeing a server connection whose client was lost in the middle of something: what it began is ended, so that
//! nothing of it stands which the client had not asked for to its end, and every answer is accounted for.
//!
//! What is said is what a client could have said, and it goes through the same machine, so that the connection's books
//! stay right:
//!
//! | the client was lost | what ends it |
//! |---|---|
//! | in a query | the caller cancels it; its answer is read |
//! | in a pipeline of queries | all but the last are answered first: a cancel that struck a BEGIN would let what stands behind it run, and stay |
//! | in COPY FROM STDIN | CopyFail (a backend that waits for data ignores a cancel) |
//! | in half a batch | a Bind of a statement that does not exist, then Sync |
//! | in a transaction | ROLLBACK, when everything before has been answered |
//!
//! A rollback does not undo everything (an advisory lock of the session stays, and a PREPARE), so the reset query is
//! due afterwards in every pool mode: a client that dies has not meant to leave anything behind.
//!
//! Never a bare Sync: what was executed since the last one is a transaction of its own, and Sync would COMMIT it. The
//! Bind fails, the server rolls that transaction back, and ignores everything up to our Sync (PostgreSQL manual,
//! "Extended Query").

use std::cell::RefCell;
use std::sync::Arc;

use plimsoll_types::{Cause, Moment, PoolMode, Side, TxState};
use plimsoll_wire::{HEADER_BYTES, encode};

use crate::link::{Batch, CopyIn, Count, Link, Settling};
use crate::params::Tracked;
use crate::session::{Attached, Session};
use crate::statements::{Statement, StatementTable, Statements};
use crate::steps::{Settings, Step, Steps, Then};

/// A statement that nobody prepares.
const NO_STATEMENT: &[u8] = b"plimsoll: no such statement, so that half a batch fails";

/// Times are of no interest here, but zero stands for none.
const SOME_TIME: Moment = Moment(1);

/// See the module. The caller owns the connection: nobody else says anything on it meanwhile.
#[derive(Debug)]
pub struct Freeing {
    /// Stands in for the client that is gone.
    stand_in: Session,
    cancel: Cancel,
    rollback: Rollback,
    proof: Proof,
    steps: Steps,
}

/// Whether what the server works at is to be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cancel {
    /// When it works at the last thing it was asked for. Next: `Settled`, when it does or has nothing to do any more.
    Due,
    /// It was, or need not be: things can be said.
    Settled,
}

/// Whether ROLLBACK was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rollback {
    /// Not yet. Next: `Said`, if a transaction is open when everything has been answered.
    Unsaid,
    /// It was. The transaction must be over when it has been answered.
    Said,
}

/// Whether a round trip of our own has to show that a cancel does not strike any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// Nothing was cancelled.
    Unneeded,
    /// Something was. Next: `Asked`, by a ROLLBACK or an empty query.
    Needed,
    /// The answer is on its way, or has come.
    Asked,
}

/// How freeing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FreeStep {
    /// Send what there is, read on; input from `consumed` on is kept.
    More {
        /// Bytes dealt with.
        consumed: usize,
    },
    /// Cancel what the server works at, wait until PostgreSQL has dealt with that, then [`Freeing::go`]; input from
    /// `consumed` on is kept.
    Cancel {
        /// Bytes dealt with.
        consumed: usize,
    },
    /// Nothing is under way any more, and everything is read.
    Done,
    /// The connection cannot be used again.
    Failed(Cause),
}

/// Nobody manages statements here.
struct Unmanaged(RefCell<StatementTable>);

impl Statements for Unmanaged {
    fn intern(&self, text_and_types: &[u8], reading: &str) -> Arc<Statement> {
        self.0.borrow_mut().intern(text_and_types, reading)
    }
}

impl Link {
    /// Whether what is under way can be ended by messages. After half a message nothing can be said, and where messages
    /// were lost nobody knows what is still to come. After a COPY that may or may not have swallowed a Sync the server
    /// may have executed what we take for skipped, and a Sync would commit that.
    pub(crate) fn can_be_freed(&self) -> bool {
        let sure = match self.count {
            Count::Known => true,
            Count::Unknown => self.batch != Batch::Skipping,
            Count::Lost => false,
        };
        sure && self.to_server_left == 0
    }

    /// Whether the server is at work for nobody, so that it has to be cancelled. A SET of our own takes no time, and a
    /// backend that waits for COPY data ignores a cancel.
    fn is_at_work(&self) -> bool {
        self.settling == Settling::No
            && !matches!(self.copy, CopyIn::Active { .. })
            && self.expected.may_take_long()
    }

    /// Whether answers are still to come.
    fn is_owed(&self) -> bool {
        !self.expected.is_empty()
            || self.to_client_left > 0
            || self.copy != CopyIn::None
            || self.settling == Settling::Yes
    }
}

impl Freeing {
    /// Begins to free `link`, of which [`Session::detach`] has said that it is unfinished; `client`: who held it.
    pub fn new(client: &Session, link: &Link) -> Freeing {
        // As in a session: the connection is not given away when it comes to rest, and nothing is rewritten.
        let settings = Settings { mode: PoolMode::Session, ..Settings::clone(client.settings()) };
        let mut stand_in = Session::new(Arc::new(settings), link.params.clone(), SOME_TIME);
        stand_in.set_noting(client.noting);
        stand_in.attached = match link.settling {
            Settling::Yes => Attached::Settling,
            Settling::No => Attached::Yes,
        };
        Freeing {
            stand_in,
            cancel: Cancel::Due,
            rollback: Rollback::Unsaid,
            proof: Proof::Unneeded,
            steps: Steps::default(),
        }
    }

    /// Says what can be said at once, at the beginning and after a cancel: appends it to `out`.
    pub fn go(&mut self, link: &mut Link, out: &mut Vec<u8>) -> FreeStep {
        self.next(link, 0, 0, out)
    }

    /// Bytes from the server: what was meant for the client goes nowhere.
    pub fn on_server(
        &mut self,
        link: &mut Link,
        input: &[u8],
        tracked: &Tracked,
        out: &mut Vec<u8>,
    ) -> FreeStep {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            let outcome = self.stand_in.on_server(link, rest, tracked, &mut self.steps, SOME_TIME);
            self.take_steps(rest, out);
            at += outcome.consumed;
            match outcome.then {
                Then::Continue => break,
                Then::Attached => {}
                Then::Close { cause, .. } => return FreeStep::Failed(link.farewell().unwrap_or(cause)),
                Then::NeedServer | Then::HoldBack | Then::Collect { .. } | Then::Busy | Then::Release(_) => {
                    return FreeStep::Failed(Cause::ServerStateUnknown);
                }
            }
        }
        self.next(link, at, input.len() - at, out)
    }

    /// What is next when `consumed` bytes have been dealt with and `left` have come behind them.
    fn next(&mut self, link: &mut Link, consumed: usize, left: usize, out: &mut Vec<u8>) -> FreeStep {
        if self.cancel == Cancel::Due && link.is_at_work() {
            if !link.may_cancel() {
                return FreeStep::More { consumed };
            }
            (self.cancel, self.proof) = (Cancel::Settled, Proof::Needed);
            return FreeStep::Cancel { consumed };
        }
        self.cancel = Cancel::Settled;
        match self.go_on(link, out) {
            // What comes behind the last answer belongs to nobody.
            Ok(Some(())) if left > 0 => FreeStep::Failed(Cause::ServerStateUnknown),
            Ok(Some(())) => FreeStep::Done,
            Ok(None) => FreeStep::More { consumed },
            Err(cause) => FreeStep::Failed(cause),
        }
    }

    /// Says what is to be said as things are. `Some`: there is nothing left to do.
    fn go_on(&mut self, link: &mut Link, out: &mut Vec<u8>) -> Result<Option<()>, Cause> {
        if link.settling == Settling::Yes {
            return Ok(None);
        }
        if !link.can_be_freed() {
            return Err(Cause::ServerStateUnknown);
        }
        if matches!(link.copy, CopyIn::Active { .. }) {
            self.say(link, out, |out| encode::copy_fail(out, "the client is gone"))?;
        }
        if link.batch != Batch::Closed {
            // See the module: never Sync alone.
            self.say(link, out, bind_nothing)?;
            self.say(link, out, encode::sync)?;
        }
        if link.is_owed() {
            return Ok(None);
        }
        if link.tx != TxState::Idle {
            return self.roll_back(link, out).map(|()| None);
        }
        if let Some(farewell) = link.farewell() {
            return Err(farewell);
        }
        match (link.count, self.proof) {
            (Count::Known, Proof::Unneeded | Proof::Asked) => Ok(Some(())),
            (Count::Known, Proof::Needed) => {
                self.proof = Proof::Asked;
                self.say(link, out, |out| encode::query(out, b""))?;
                Ok(None)
            }
            (Count::Unknown, _) => self.ask_where_it_is(link, out).map(|()| None),
            (Count::Lost, _) => Err(Cause::ServerStateUnknown),
        }
    }

    /// Nobody knows how many ReadyForQuery are to come: after the answer to an empty query of ours there are none.
    fn ask_where_it_is(&mut self, link: &mut Link, out: &mut Vec<u8>) -> Result<(), Cause> {
        self.steps.clear();
        let released = self.stand_in.poll_release(link, &mut self.steps).is_some();
        self.take_steps(&[], out);
        if released || !link.is_owed() { Err(Cause::ServerStateUnknown) } else { Ok(()) }
    }

    fn roll_back(&mut self, link: &mut Link, out: &mut Vec<u8>) -> Result<(), Cause> {
        match self.rollback {
            Rollback::Said => Err(Cause::ServerStateUnknown),
            Rollback::Unsaid => {
                self.rollback = Rollback::Said;
                if self.proof == Proof::Needed {
                    self.proof = Proof::Asked;
                }
                self.say(link, out, |out| encode::query(out, b"ROLLBACK"))
            }
        }
    }

    /// Says a message as the client would.
    fn say(
        &mut self,
        link: &mut Link,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Cause> {
        let mut message = Vec::new();
        write(&mut message);
        let table = Unmanaged(RefCell::new(StatementTable::new("")));
        let outcome = self.stand_in.on_client(Some(link), &message, &table, &mut self.steps, SOME_TIME);
        self.take_steps(&message, out);
        if outcome.consumed == message.len() && outcome.then == Then::Continue {
            Ok(())
        } else {
            Err(Cause::ServerStateUnknown)
        }
    }

    /// What is for the server goes out.
    fn take_steps(&mut self, input: &[u8], out: &mut Vec<u8>) {
        for step in &self.steps.list {
            match step {
                Step::Forward { to: Side::Server, range } => out.extend_from_slice(&input[range.clone()]),
                Step::Inject { to: Side::Server, range } => {
                    out.extend_from_slice(&self.steps.bytes[range.clone()]);
                }
                Step::Forward { to: Side::Client, .. } | Step::Inject { to: Side::Client, .. } => {}
            }
        }
    }
}

/// Bind of the unnamed portal to a statement that does not exist: no formats, no parameters, no result formats.
fn bind_nothing(out: &mut Vec<u8>) {
    const COUNTS: [u8; 6] = [0; 6];
    let total = HEADER_BYTES + 1 + NO_STATEMENT.len() + 1 + COUNTS.len();
    encode::bind_head(out, total, b"", NO_STATEMENT);
    out.extend_from_slice(&COUNTS);
}
