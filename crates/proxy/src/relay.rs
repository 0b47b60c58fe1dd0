//! One client and the server connection it holds: bytes in, decisions of `session`, bytes out.
//!
//! A hand-made future, so that an idle client costs one small allocation. It owns no buffer while it is idle: bytes
//! are read into the worker's scratch buffer and go on from there; only what a socket does not take at once, or what
//! has to wait, is copied.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use plimsoll_pool::{Grant, Moves, Request, WaitCause};
use plimsoll_session::{Attach, Release, Session, Step, Then};
use plimsoll_types::{Cause, Moment, Side, Ticket, WorkerId};
use plimsoll_wire::encode;

use crate::carry::Carry;
use crate::directory::{PoolEntry, add_counts, query_wait_timeout};
use crate::entry::ClientEntry;
use crate::hub::{Answer, Hub};
use crate::listener::ClientGuard;
use crate::server::ServerConn;
use crate::socket::{Stream, Watch};
use crate::stats::{Block, Counter};
use crate::worker::Scratch;
use crate::{linger, report};

/// Bytes that are read from a client which holds no server connection: what it sends beyond that stays in the kernel
/// until there is a server connection to send it to.
const UNLINKED_READ_BYTES: usize = 8 * 1024;

/// Kept bytes that are not worth accounting for.
const SMALL_BYTES: usize = 1024;

/// What the client's bytes wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// For nothing: they are read as they come.
    Open,
    /// For a server connection.
    Waiting { ticket: Ticket, since: Moment, told: Told },
    /// For the parameters to be set on the server connection.
    Settling,
    /// For answers: too many are outstanding.
    Busy,
}

/// Whether the client has had its notice of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    No,
    Yes,
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
    /// Bytes of the client that are kept: less than a header, a message that must be whole, or what waits.
    input: Vec<u8>,
    /// Bytes for the client which its socket has not taken.
    output: Carry,
    /// Bytes accounted in the budget of kept messages.
    accounted: usize,
    generation: u32,
    /// Longest wait for a server connection, and what ends it.
    wait: (Duration, WaitCause),
    worker: WorkerId,
    guard: ClientGuard,
}

impl Relay {
    /// A client that has just been welcomed. `input`: bytes it sent after its login.
    pub(crate) fn new(
        hub: Arc<Hub>,
        worker: WorkerId,
        stream: Stream,
        input: Vec<u8>,
        entry: Arc<ClientEntry>,
        pool: Arc<PoolEntry>,
        session: Session,
        guard: ClientGuard,
    ) -> Relay {
        let generation = pool.generation.load(Ordering::Acquire);
        let wait = longest_wait(&hub, &pool, &entry, &session);
        Relay {
            hub,
            entry,
            pool,
            stream: Some(stream),
            session,
            conn: None,
            phase: Phase::Open,
            input,
            output: Carry::default(),
            accounted: 0,
            generation,
            wait,
            worker,
            guard,
        }
    }

    fn stats(&self) -> &Block {
        self.pool.stats(usize::from(self.worker.0))
    }

    fn run(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), Ended> {
        if self.entry.take_mail_flag() {
            self.read_mail(cx, scratch)?;
        }
        if self.phase == Phase::Open && !self.input.is_empty() && self.conn.is_none() && self.accounted == 0 {
            // Bytes that came with the login, or were kept for a moment.
            let kept = std::mem::take(&mut self.input);
            self.hear_client(cx, scratch, &kept)?;
        }
        loop {
            match self.turn(cx, scratch)? {
                Turn::Again => {}
                Turn::Wait => return Ok(()),
            }
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<Turn, Ended> {
        self.flush(cx)?;
        if self.output.is_empty() && self.conn.is_some() && self.read_server(cx, scratch)? {
            return Ok(Turn::Again);
        }
        let server_takes = self.conn.as_ref().is_none_or(|conn| conn.output.is_empty());
        if self.phase == Phase::Open && server_takes && self.output.is_empty() {
            return self.read_client(cx, scratch);
        }
        // What the client sends now is not wanted yet; that it is still there is seen all the same.
        let stream = self.stream.as_mut().ok_or((Side::Client, Cause::ClientEof))?;
        match stream.poll_gone(cx) {
            Poll::Ready(Watch::Gone) => Err((Side::Client, Cause::ClientEof)),
            Poll::Pending => Ok(Turn::Wait),
        }
    }

    /// Sends what could not be sent before.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        if !self.output.is_empty() {
            let stream = self.stream.as_mut().ok_or((Side::Client, Cause::ClientEof))?;
            let sent = stream.poll_write(cx, self.output.pending()).map_err(client_gone)?;
            self.output.advance(sent);
        }
        if let Some(conn) = &mut self.conn
            && !conn.output.is_empty()
        {
            let sent = conn.stream.poll_write(cx, conn.output.pending()).map_err(server_gone)?;
            conn.output.advance(sent);
        }
        Ok(())
    }

    // ---- from the server

    /// Reads once from the server. False if nothing was there.
    fn read_server(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<bool, Ended> {
        let Some(conn) = &mut self.conn else { return Ok(false) };
        let kept = conn.input.len();
        if scratch.input.len() < kept + SMALL_BYTES {
            return Err((Side::Server, Cause::ServerProtocol { what: "message too long to look into" }));
        }
        scratch.input[..kept].copy_from_slice(&conn.input);
        let n = match conn.stream.poll_read(cx, &mut scratch.input[kept..]) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Err((Side::Server, Cause::ServerCrashed)),
            Poll::Ready(Ok(n)) => n,
        };
        conn.input.clear();
        let input = std::mem::take(&mut scratch.input);
        let heard = self.hear_server(cx, scratch, &input[..kept + n]);
        scratch.input = input;
        heard.map(|()| true)
    }

    fn hear_server(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        bytes: &[u8],
    ) -> Result<(), Ended> {
        let now = self.hub.now();
        let Some(conn) = &mut self.conn else { return Ok(()) };
        let outcome =
            self.session.on_server(&mut conn.link, bytes, &self.hub.tracked, &mut scratch.steps, now);
        self.carry_out(cx, scratch, bytes)?;
        if let Some(conn) = &mut self.conn {
            keep(&mut conn.input, &bytes[outcome.consumed..]);
        }
        match outcome.then {
            Then::Release(release) => {
                self.give_back(release, now);
                self.note_deadline();
                self.resume_client(cx, scratch)
            }
            Then::Attached => {
                self.phase = Phase::Open;
                self.resume_client(cx, scratch)
            }
            Then::Close { side, cause } => Err((side, cause)),
            Then::Continue | Then::NeedServer | Then::Collect { .. } | Then::Busy => {
                self.note_deadline();
                if self.phase == Phase::Busy {
                    self.phase = Phase::Open;
                    return self.resume_client(cx, scratch);
                }
                Ok(())
            }
        }
    }

    /// Deals with the client's bytes that were kept until now.
    fn resume_client(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), Ended> {
        if self.phase != Phase::Open || self.input.is_empty() {
            return Ok(());
        }
        let kept = std::mem::take(&mut self.input);
        self.hear_client(cx, scratch, &kept)
    }

    // ---- from the client

    fn read_client(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<Turn, Ended> {
        let kept = self.input.len();
        let stream = self.stream.as_mut().ok_or((Side::Client, Cause::ClientEof))?;
        let mut input = std::mem::take(&mut scratch.input);
        // What is kept goes in front of what is read, in one piece; where it is long, the other way round.
        let long = kept > input.len() / 2;
        let from = if long { 0 } else { kept };
        input[..from].copy_from_slice(&self.input[..from]);
        let limit =
            if self.conn.is_some() { input.len() } else { (from + UNLINKED_READ_BYTES).min(input.len()) };
        let read = stream.poll_read(cx, &mut input[from..limit]);
        let turn = match read {
            Poll::Pending => Ok(Turn::Wait),
            Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => Err((Side::Client, Cause::ClientEof)),
            Poll::Ready(Ok(n)) => {
                self.stats().add(Counter::Received, n as u64);
                let heard = if long {
                    let mut whole = std::mem::take(&mut self.input);
                    whole.extend_from_slice(&input[..n]);
                    self.hear_client(cx, scratch, &whole)
                } else {
                    self.input.clear();
                    self.hear_client(cx, scratch, &input[..from + n])
                };
                heard.map(|()| Turn::Again)
            }
        };
        scratch.input = input;
        turn
    }

    fn hear_client(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        bytes: &[u8],
    ) -> Result<(), Ended> {
        let now = self.hub.now();
        let mut rest = bytes;
        loop {
            let link = self.conn.as_mut().map(|conn| &mut conn.link);
            let hub = &self.hub;
            let outcome = self.session.on_client(link, rest, &hub.statements, &mut scratch.steps, now);
            self.carry_out(cx, scratch, rest)?;
            rest = &rest[outcome.consumed..];
            match outcome.then {
                Then::Continue | Then::Attached => break,
                Then::Collect { bytes } => {
                    self.input.reserve_exact(bytes.min(rest.len() + UNLINKED_READ_BYTES));
                    break;
                }
                Then::Busy => {
                    if self.phase == Phase::Open {
                        self.phase = Phase::Busy;
                    }
                    break;
                }
                Then::NeedServer => {
                    self.request(cx, scratch, now)?;
                    if self.phase != Phase::Open {
                        break;
                    }
                }
                Then::Release(release) => {
                    self.give_back(release, now);
                    if rest.is_empty() {
                        break;
                    }
                }
                Then::Close { side, cause } => return Err((side, cause)),
            }
        }
        self.keep_client(rest)?;
        self.note_deadline();
        Ok(())
    }

    /// Keeps bytes of the client, within what may be kept over all clients.
    fn keep_client(&mut self, rest: &[u8]) -> Result<(), Ended> {
        keep(&mut self.input, rest);
        let size = if rest.len() > SMALL_BYTES { rest.len() } else { 0 };
        if size > self.accounted {
            let limit = self.hub.collect_memory();
            let more = size - self.accounted;
            if self.hub.collected.fetch_add(more, Ordering::Relaxed) + more > limit {
                self.hub.collected.fetch_sub(more, Ordering::Relaxed);
                return Err((Side::Client, Cause::CollectExhausted));
            }
        } else {
            self.hub.collected.fetch_sub(self.accounted - size, Ordering::Relaxed);
        }
        self.accounted = size;
        Ok(())
    }

    // ---- getting and giving back a server connection

    fn request(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch, now: Moment) -> Result<(), Ended> {
        self.renew_settings();
        let (wait_max, wait_cause) = self.wait;
        let (pool, client, worker) = (self.pool.id, self.entry.id, self.worker);
        let request = Request { pool, client, worker, wait_max, wait_cause };
        loop {
            match self.hub.request(request, &self.entry, now) {
                Answer::Granted(mut conn, grant) => match conn.look(cx, &self.hub.tracked) {
                    Ok(()) => return self.take_over(cx, scratch, conn, grant, now),
                    // It died while it was idle: nobody notices, the next one is taken.
                    Err(cause) => self.hub.give_back(conn, Release::Unusable(cause), now),
                },
                Answer::Queued(ticket) => {
                    self.entry.set_waiting(now);
                    self.phase = Phase::Waiting { ticket, since: now, told: Told::No };
                    return Ok(());
                }
                Answer::Refused(cause) => return Err((Side::Client, cause)),
            }
        }
    }

    /// After a reload the settings are read anew.
    fn renew_settings(&mut self) {
        let generation = self.pool.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            self.session.set_settings(self.pool.settings(&self.hub.plan(), &self.entry.user));
            self.wait = longest_wait(&self.hub, &self.pool, &self.entry, &self.session);
        }
    }

    /// A server connection is ours from here on.
    fn take_over(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        conn: Box<ServerConn>,
        grant: Grant,
        now: Moment,
    ) -> Result<(), Ended> {
        let mut conn = conn;
        if grant.moves == Moves::Moves || conn.home != self.worker {
            conn = self.move_here(conn)?;
        }
        self.entry.set_held(&grant, now);
        self.stats().add(Counter::Assignments, 1);
        self.phase = Phase::Open;
        let conn = self.conn.insert(conn);
        match self.session.attach(&mut conn.link, &self.hub.tracked, &mut scratch.steps, now) {
            Attach::Ready => Ok(()),
            Attach::Settling => {
                self.phase = Phase::Settling;
                self.carry_out(cx, scratch, &[])
            }
        }
    }

    /// Registers the connection's socket with this worker's runtime.
    fn move_here(&mut self, conn: Box<ServerConn>) -> Result<Box<ServerConn>, Ended> {
        let ServerConn { slot, pool, stream, link, input, output, entry, home: _ } = *conn;
        match stream.rehome() {
            Ok(stream) => {
                Ok(Box::new(ServerConn { slot, pool, stream, link, input, output, entry, home: self.worker }))
            }
            Err(_) => {
                // The socket is closed: the slot is free as soon as the server has noticed.
                self.hub.with_pools(|pools, now| {
                    let lost = plimsoll_pool::Returned::Unusable(Cause::NoFileDescriptors);
                    pools.handle_returned(slot, lost, now);
                });
                self.hub.closed(slot);
                Err((Side::Server, Cause::NoFileDescriptors))
            }
        }
    }

    fn give_back(&mut self, release: Release, now: Moment) {
        let Some(mut conn) = self.conn.take() else { return };
        self.entry.clear_held();
        self.share_records(&conn);
        let release = if conn.output.is_empty() && conn.input.is_empty() {
            release
        } else {
            Release::Unusable(Cause::ServerStateUnknown)
        };
        if conn.input.capacity() > SMALL_BYTES {
            conn.input = Vec::new();
        }
        self.hub.give_back(conn, release, now);
    }

    /// What the console shows of both, where it has changed.
    fn share_records(&self, conn: &ServerConn) {
        let prepared = u32::try_from(conn.link.prepared_count()).unwrap_or(u32::MAX);
        conn.entry.prepared.store(prepared, Ordering::Relaxed);
        let mine = u32::try_from(self.session.prepared_count()).unwrap_or(u32::MAX);
        self.entry.prepared.store(mine, Ordering::Relaxed);
        for (shown, params) in
            [(&conn.entry.params, conn.link.params()), (&self.entry.params, self.session.params())]
        {
            let mut shown = shown.lock();
            if !shown.as_ref().is_some_and(|s| Arc::ptr_eq(s, params)) {
                *shown = Some(params.clone());
            }
        }
    }

    // ---- mail and time

    fn read_mail(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), Ended> {
        let (grant, refused, kill) = {
            let mut mail = self.entry.mail();
            (mail.grant.take(), mail.refused.take(), mail.kill.take())
        };
        let now = self.hub.now();
        if let Some((mut conn, grant)) = grant {
            if let Phase::Waiting { since, .. } = self.phase {
                self.stats().add(Counter::WaitTime, now.micros_since(since));
            }
            self.entry.set_active();
            self.phase = Phase::Open;
            match conn.look(cx, &self.hub.tracked) {
                Ok(()) => self.take_over(cx, scratch, conn, grant, now)?,
                Err(cause) => self.hub.give_back(conn, Release::Unusable(cause), now),
            }
            self.resume_client(cx, scratch)?;
        }
        if let Some(cause) = kill.or(refused) {
            self.entry.set_active();
            if self.conn.is_none() && self.ticket().is_none() && is_wait_end(&cause) {
                return Ok(());
            }
            return Err((Side::Client, *cause));
        }
        self.look_at_clock(cx, now)
    }

    fn ticket(&self) -> Option<Ticket> {
        match self.phase {
            Phase::Waiting { ticket, .. } => Some(ticket),
            Phase::Open | Phase::Settling | Phase::Busy => None,
        }
    }

    /// Limits that are over by now.
    fn look_at_clock(&mut self, cx: &mut Context<'_>, now: Moment) -> Result<(), Ended> {
        if !self.entry.is_due(now) {
            return Ok(());
        }
        if let Phase::Waiting { ticket, since, told: Told::No } = self.phase {
            self.phase = Phase::Waiting { ticket, since, told: Told::Yes };
            self.send_client(cx, &queued_notice())?;
        } else if let Some((at, cause)) = self.session.poll_timeout(self.conn.as_ref().map(|conn| &conn.link))
            && at <= now
            && !matches!(self.phase, Phase::Waiting { .. })
        {
            return Err((Side::Client, cause));
        }
        self.note_deadline();
        Ok(())
    }

    /// Tells the janitor when to wake us next.
    fn note_deadline(&mut self) {
        if let Phase::Waiting { since, told, .. } = self.phase {
            let notify = self.hub.query_wait_notify();
            let at = (told == Told::No && notify > Duration::ZERO).then(|| since + notify);
            self.entry.set_deadline(at);
        } else if self.hub.timed.load(Ordering::Relaxed) {
            let due = self.session.poll_timeout(self.conn.as_ref().map(|conn| &conn.link));
            self.entry.set_deadline(due.map(|(at, _)| at));
        }
    }

    // ---- sending

    /// Carries out what the session machine decided on `bytes`.
    fn carry_out(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch, bytes: &[u8]) -> Result<(), Ended> {
        let counts = std::mem::take(&mut scratch.steps.counts);
        add_counts(self.stats(), counts);
        if let [Step::Forward { to, range }] = &scratch.steps.list[..] {
            let piece = &bytes[range.clone()];
            return match to {
                Side::Client => self.send_client(cx, piece),
                Side::Server => self.send_server(cx, piece),
            };
        }
        if scratch.steps.list.is_empty() {
            return Ok(());
        }
        let mut gather = std::mem::take(&mut scratch.gather);
        let mut result = Ok(());
        for side in [Side::Server, Side::Client] {
            gather.clear();
            for step in &scratch.steps.list {
                match step {
                    Step::Forward { to, range } if *to == side => {
                        gather.extend_from_slice(&bytes[range.clone()])
                    }
                    Step::Inject { to, range } if *to == side => {
                        gather.extend_from_slice(&scratch.steps.bytes[range.clone()]);
                    }
                    Step::Forward { .. } | Step::Inject { .. } => {}
                }
            }
            if !gather.is_empty() && result.is_ok() {
                result = match side {
                    Side::Client => self.send_client(cx, &gather),
                    Side::Server => self.send_server(cx, &gather),
                };
            }
        }
        scratch.gather = gather;
        result
    }

    fn send_client(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), Ended> {
        self.stats().add(Counter::Sent, bytes.len() as u64);
        let stream = self.stream.as_mut().ok_or((Side::Client, Cause::ClientEof))?;
        let sent =
            if self.output.is_empty() { stream.poll_write(cx, bytes).map_err(client_gone)? } else { 0 };
        if sent < bytes.len() {
            self.output.push(&bytes[sent..]);
        }
        Ok(())
    }

    fn send_server(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), Ended> {
        let Some(conn) = &mut self.conn else { return Err((Side::Server, Cause::ServerStateUnknown)) };
        let sent =
            if conn.output.is_empty() { conn.stream.poll_write(cx, bytes).map_err(server_gone)? } else { 0 };
        if sent < bytes.len() {
            conn.output.push(&bytes[sent..]);
        }
        Ok(())
    }

    // ---- the end

    /// Settles everything: the place in the queue, the server connection, the client's last message, the log.
    fn finish(&mut self, cx: &mut Context<'_>, side: Side, cause: &Cause) {
        let now = self.hub.now();
        let mid_message = self.conn.as_ref().is_some_and(|conn| conn.link.is_mid_message_to_client());
        self.leave_queue(now);
        // The log first: whoever sees the effect finds the cause there.
        let farewell = match cause {
            Cause::ClientClose | Cause::ClientEof => {
                report::leaving(&self.hub, &self.entry, cause);
                None
            }
            _ => Some(report::fatal(&self.hub, &self.entry, cause)),
        };
        self.let_go(side, cause, now);
        let Some(mut stream) = self.stream.take() else { return };
        if let Some(bytes) = farewell {
            if self.output.is_empty() && !mid_message {
                // A socket that does not take an error message has no reader for it.
                let _ = stream.poll_write(cx, &bytes);
            }
            linger::close(stream);
        }
    }

    fn leave_queue(&mut self, now: Moment) {
        if let Some(ticket) = self.ticket() {
            self.hub.withdraw(ticket, now);
            self.phase = Phase::Open;
        }
        let granted = self.entry.mail().grant.take();
        if let Some((conn, _)) = granted {
            self.hub.give_back(conn, Release::Clean, now);
        }
    }

    fn let_go(&mut self, side: Side, cause: &Cause, now: Moment) {
        let Some(conn) = &mut self.conn else { return };
        let release = match self.session.detach(&mut conn.link) {
            _ if side == Side::Server => Release::Unusable(cause.clone()),
            Release::Unusable(_) if !matches!(cause, Cause::ClientClose | Cause::ClientEof) => {
                Release::Unusable(cause.clone())
            }
            other => other,
        };
        self.give_back(release, now);
    }
}

/// query_wait_timeout or query_timeout, whichever is shorter.
fn longest_wait(
    hub: &Hub,
    pool: &PoolEntry,
    entry: &ClientEntry,
    session: &Session,
) -> (Duration, WaitCause) {
    let wait = query_wait_timeout(&hub.plan(), &pool.database.config(), &entry.user);
    let query = session.settings().query_timeout;
    if !query.is_zero() && (wait.is_zero() || query < wait) {
        (query, WaitCause::QueryTimeout)
    } else {
        (wait, WaitCause::QueryWaitTimeout)
    }
}

fn queued_notice() -> Vec<u8> {
    let mut out = Vec::new();
    encode::notice_response(
        &mut out,
        &encode::Fields {
            severity: "NOTICE",
            sqlstate: "00000",
            message: "No server connection available in postgres backend, client being queued",
            detail: None,
            hint: None,
        },
    );
    out
}

fn is_wait_end(cause: &Cause) -> bool {
    matches!(cause, Cause::QueryWaitTimeout | Cause::QueryTimeoutWaiting)
}

fn client_gone(_: io::Error) -> Ended {
    (Side::Client, Cause::ClientEof)
}

fn server_gone(_: io::Error) -> Ended {
    (Side::Server, Cause::ServerCrashed)
}

/// Replaces what was kept; gives memory back when there is nothing to keep.
fn keep(kept: &mut Vec<u8>, rest: &[u8]) {
    kept.clear();
    if rest.is_empty() {
        if kept.capacity() > 0 {
            *kept = Vec::new();
        }
    } else {
        kept.extend_from_slice(rest);
    }
}

impl Future for Relay {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let worker = usize::from(this.worker.0);
        this.entry.set_waker(cx.waker());
        let mut scratch = this.hub.workers[worker].take_scratch();
        let ran = this.run(cx, &mut scratch);
        this.hub.workers[worker].put_scratch(scratch);
        match ran {
            Ok(()) => Poll::Pending,
            Err((side, cause)) => {
                this.finish(cx, side, &cause);
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Relay {
    /// Also when the task is thrown away in the middle: the server connection and the place in the queue go back.
    fn drop(&mut self) {
        let now = self.hub.now();
        self.leave_queue(now);
        self.let_go(Side::Client, &Cause::ClientEof, now);
        self.hub.collected.fetch_sub(self.accounted, Ordering::Relaxed);
        let _ = &self.guard;
    }
}
