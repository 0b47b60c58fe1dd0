//! One client and the server connection it holds: bytes in, decisions of `session`, bytes out.
//!
//! A hand-made future, so that an idle client costs one small allocation. It owns no buffer while it is idle: bytes
//! are read into the worker's scratch buffer and go on from there; only what a socket does not take at once, or what
//! has to wait, is copied.

mod end;
mod gone;
mod hear;
mod hold;
mod image;
mod mail;
mod note;
mod obey;
mod send;
mod spill;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use plimsoll_pool::Grant;
use plimsoll_session::{Noting, Params, Session};
use plimsoll_types::{Cause, Moment, Side, Ticket, WorkerId};

use crate::directory::PoolEntry;
use crate::entry::ClientEntry;
use crate::handover::Count;
use crate::hub::Hub;
use crate::listener::ClientGuard;
use crate::outlet::Outlet;
use crate::server::{Looked, ServerConn};
use crate::socket::{Stream, Watch};
use crate::stats::Block;
use crate::worker::Scratch;
use hold::Wait;
pub(crate) use image::{Doing, Rest};
use send::server_gone;

/// Kept bytes that are not worth accounting for.
const SMALL_BYTES: usize = 1024;

/// What the client's bytes wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// For the task to run for the first time.
    New,
    /// For nothing: they are read as they come.
    Open,
    /// For a server connection.
    Waiting { ticket: Ticket, since: Moment, told: Told },
    /// For a place under a cap, before it may ask for a server connection.
    Gated { since: Moment },
    /// For the parameters to be set on the server connection of this grant.
    Settling(Grant),
    /// For answers: too many are outstanding.
    Busy,
}

/// Whether the client has had its notice of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

/// What the bytes that are kept of a client count against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Account {
    /// `collect_memory`: they have to be kept.
    Collected,
    /// `batch_hold_memory`: they are kept so that no server connection is taken too early.
    HeldBack,
}

/// What one round of looking at both sockets came to.
enum Turn {
    /// Something was done: look again.
    Again,
    /// Nothing to do until somebody wakes us.
    Wait,
}

/// The end of a client: why, and who hears of it.
type Ended = (Side, Cause);

/// See the module.
pub(crate) struct Relay {
    hub: Arc<Hub>,
    entry: Arc<ClientEntry>,
    pool: Arc<PoolEntry>,
    stream: Option<Stream>,
    session: Session,
    conn: Option<Box<ServerConn>>,
    phase: Phase,
    /// Whether the server connection need not be asked before the next wait.
    looked: Looked,
    /// Bytes of the client that are kept: less than a header, a message that must be whole, or what waits.
    input: Vec<u8>,
    /// How many bytes `input` must have before they are looked at again: more than it has while a message is collected.
    wanted: usize,
    /// Bytes for the client which its socket has not taken.
    output: Outlet,
    /// The parameter values the console shows.
    shown: Option<Arc<Params>>,
    /// Bytes accounted for what is kept, and where.
    accounted: usize,
    account: Account,
    generation: u32,
    /// Which caps it has been let through.
    caps_passed: u32,
    /// Why it has to go as soon as it is outside a transaction.
    leaving: Option<Box<Cause>>,
    wait: Wait,
    worker: WorkerId,
    /// Counts the client for as long as the relay lives.
    _guard: ClientGuard,
}

impl Relay {
    /// A client that has just been welcomed. `input`: bytes it sent after its login.
    pub(crate) fn new(
        hub: Arc<Hub>,
        stream: Stream,
        input: Vec<u8>,
        entry: Arc<ClientEntry>,
        pool: Arc<PoolEntry>,
        mut session: Session,
        guard: ClientGuard,
    ) -> Relay {
        let generation = pool.generation.load(Ordering::Acquire);
        // There may have been a reload since the session was made.
        session.set_settings(entry.settings(&pool, || hub.plan()));
        let worker = guard.worker();
        *entry.params.lock() = Some(session.params().clone());
        session.set_number(entry.id.0);
        let on = hub.ledger.is_on();
        session.set_noting(if on { Noting::On } else { Noting::Off });
        let wait = Wait::of(&hub, &pool, &entry, &session);
        hub.stillness.add(Count::Relays);
        Relay {
            hub,
            entry,
            pool,
            stream: Some(stream),
            session,
            conn: None,
            phase: Phase::New,
            looked: Looked::Usable,
            input,
            wanted: 0,
            output: Outlet::default(),
            shown: None,
            accounted: 0,
            account: Account::Collected,
            generation,
            caps_passed: 0,
            leaving: None,
            wait,
            worker,
            _guard: guard,
        }
    }

    fn stats(&self) -> &Block {
        self.pool.stats(usize::from(self.worker.0))
    }

    fn run(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), Ended> {
        self.looked = Looked::Usable;
        if self.phase == Phase::New {
            // A task keeps its waker for life.
            self.entry.set_waker(cx.waker());
            self.phase = Phase::Open;
            // A client that never says a word has its limits, too.
            self.note_deadline();
            // One that wants replication has got its server connection in its login.
            self.read_mail(cx, scratch)?;
            // Bytes that came with the login.
            self.resume_client(cx, scratch)?;
        }
        self.read_mail(cx, scratch)?;
        loop {
            match self.turn(cx, scratch)? {
                // What follows may be much later than what was done.
                Turn::Again => scratch.now = None,
                Turn::Wait if self.leaving.is_some() => return self.leave_if_idle(),
                Turn::Wait => return Ok(()),
            }
        }
    }

    // In one piece with its only caller: about 65 instructions less for each transaction (callgrind).
    #[inline(always)]
    fn turn(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<Turn, Ended> {
        self.flush(cx)?;
        if self.hub.suspension.is_on() && self.is_at_rest() {
            // Whoever resumes wakes us; what comes until then stays where it is.
            return Ok(Turn::Wait);
        }
        let looked = std::mem::replace(&mut self.looked, Looked::Usable);
        if looked == Looked::Usable
            && self.conn.is_some()
            && (self.output.is_empty() || self.reads_ahead(cx))
            && self.read_server(cx, scratch)?
        {
            return Ok(Turn::Again);
        }
        let server_takes = self.conn.as_ref().is_none_or(|conn| conn.output.is_empty());
        if self.phase == Phase::Open && server_takes {
            if self.output.is_empty() {
                return self.read_client(cx, scratch);
            }
            if self.is_duplex() {
                return self.read_client_meanwhile(cx, scratch);
            }
        }
        // What the client sends now is not wanted yet; that it is still there is seen all the same.
        let stream = self.stream.as_mut().ok_or((Side::Client, Cause::ClientEof))?;
        match stream.poll_gone(cx) {
            Poll::Ready(Watch::Gone) => Err(self.client_ended()),
            Poll::Pending => self.look_at_unheard_server(),
        }
    }

    /// Whether both directions go on by themselves: a server may wait for word from a client that is still reading what
    /// it has sent before.
    #[cold]
    fn is_duplex(&self) -> bool {
        self.conn.as_ref().is_some_and(|conn| conn.link.is_copy_both())
    }

    /// Reads from a client that has not taken everything; the server is not listened to meanwhile.
    #[cold]
    fn read_client_meanwhile(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<Turn, Ended> {
        match self.read_client(cx, scratch)? {
            Turn::Again => Ok(Turn::Again),
            Turn::Wait => self.look_at_unheard_server(),
        }
    }

    /// Whether nothing is half done: nothing to be sent, and nothing kept that waits for more or for its turn.
    fn is_at_rest(&self) -> bool {
        let nothing_kept = |conn: &ServerConn| conn.output.is_empty() && conn.input.is_empty();
        self.phase == Phase::Open
            && self.input.is_empty()
            && self.output.is_empty()
            && self.conn.as_ref().is_none_or(|conn| nothing_kept(conn))
    }

    /// Sends what could not be sent before.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        if !self.output.is_empty() {
            self.drain(cx)?;
        }
        if let Some(conn) = &mut self.conn
            && !conn.output.is_empty()
        {
            let sent = conn.stream.poll_write(cx, conn.output.pending()).map_err(server_gone)?;
            conn.output.advance(sent);
            if conn.output.is_empty() {
                self.begin_turn();
            }
        }
        Ok(())
    }
}

impl Future for Relay {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        // One place where it runs: it is worth being compiled into this one.
        loop {
            match Scratch::lend(|scratch| this.run(cx, scratch)) {
                Ok(()) => return Poll::Pending,
                Err((side, cause)) => {
                    if !this.outlives(side, &cause) {
                        this.finish(cx, side, &cause);
                        return Poll::Ready(());
                    }
                }
            }
        }
    }
}

impl Drop for Relay {
    /// Also when the task is thrown away in the middle: the server connection and the place in the queue go back.
    fn drop(&mut self) {
        let now = self.hub.now();
        self.leave_queue(now);
        // After a panic nobody knows what has been sent.
        let (side, cause) = match std::thread::panicking() {
            true => (Side::Server, Cause::ServerStateUnknown),
            false => (Side::Client, Cause::ClientEof),
        };
        let release = self.release(side, &cause);
        self.let_go(release, &cause, now);
        if self.entry.standing.give() {
            // Also who waits for a place, and who waits with one.
            self.hub.gate.leave(&self.entry);
        }
        self.settle_account();
        self.hub.stillness.remove(Count::Relays);
    }
}
