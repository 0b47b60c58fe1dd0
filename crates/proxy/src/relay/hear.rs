//! Listening to both sides: bytes in, decisions of `session`, and what is kept.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use plimsoll_ledger::How;
use plimsoll_session::{Step, Then};
use plimsoll_types::{Cause, Moment, Side};

use super::gone::client_gone;
use super::note::Last;
use super::{Account, Ended, Phase, Relay, SMALL_BYTES, Turn};
use crate::socket::server_cause;
use crate::stats::Counter;
use crate::worker::Scratch;

/// Bytes that are read from a client which holds no server connection: what it sends beyond that stays in the kernel
/// until there is a server connection to send it to.
const UNLINKED_READ_BYTES: usize = 8 * 1024;

impl Relay {
    /// Reads once from the server. False if nothing was there.
    pub(super) fn read_server(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<bool, Ended> {
        let Some(conn) = &mut self.conn else { return Ok(false) };
        let kept = conn.input.len();
        if scratch.input.len() < kept + SMALL_BYTES {
            return Err((Side::Server, Cause::ServerProtocol { what: "message too long to look into" }));
        }
        scratch.input[..kept].copy_from_slice(&conn.input);
        let n = match conn.stream.poll_read(cx, &mut scratch.input[kept..]) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0)) => {
                let cause = conn.link.farewell().unwrap_or_else(|| conn.entry.end_cause());
                return Err((Side::Server, cause));
            }
            Poll::Ready(Err(e)) => {
                let cause = conn.link.farewell().unwrap_or_else(|| server_cause(&e));
                return Err((Side::Server, cause));
            }
            Poll::Ready(Ok(n)) => n,
        };
        conn.input.clear();
        let input = std::mem::take(&mut scratch.input);
        let heard = self.hear_server(cx, scratch, &input[..kept + n]);
        scratch.input = input;
        heard.map(|()| true)
    }

    pub(super) fn hear_server(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        bytes: &[u8],
    ) -> Result<(), Ended> {
        let now = scratch.now(&self.hub);
        let Some(conn) = &mut self.conn else { return Ok(()) };
        let outcome =
            self.session.on_server(&mut conn.link, bytes, &self.hub.tracked, &mut scratch.steps, now);
        // Kept before anything can fail: a connection of which bytes are missing must not look like one at rest.
        scratch.spare.keep(&mut conn.input, &bytes[outcome.consumed..]);
        let mut then = outcome.then;
        if let Then::Release(release) = &then
            && !goes_to_server(&scratch.steps.list)
        {
            // Before the client can see the end of its answer: whoever looks then finds the connection free.
            let last =
                Last { rows: std::mem::take(&mut scratch.steps.noted.rows), received: outcome.consumed };
            self.give_back(release.clone(), last, || How::Returned, now);
            then = Then::Continue;
        } else {
            self.note_heard(&mut scratch.steps.noted, outcome.consumed, now);
        }
        self.carry_out(cx, scratch, bytes)?;
        match then {
            Then::Release(release) => {
                self.give_back(release, Last::default(), || How::Returned, now);
                self.note_deadline();
                self.resume_client(cx, scratch)
            }
            Then::Continue if self.conn.is_none() => {
                self.note_deadline();
                self.resume_client(cx, scratch)
            }
            Then::Attached => {
                if let Phase::Settling(grant) = self.phase {
                    self.entry.set_held(&grant, now);
                }
                self.phase = Phase::Open;
                self.share_parameters();
                self.resume_client(cx, scratch)
            }
            Then::Close { side, cause } => Err((side, cause)),
            Then::Continue | Then::NeedServer | Then::HoldBack | Then::Collect { .. } | Then::Busy => {
                self.note_half_way(now);
                self.note_deadline();
                self.share_parameters();
                if self.conn.as_ref().is_some_and(|conn| conn.tally.order.is_some()) {
                    self.obey_now(cx, scratch)?;
                }
                if self.phase == Phase::Busy {
                    self.phase = Phase::Open;
                    return self.resume_client(cx, scratch);
                }
                self.look_at_mode(now);
                Ok(())
            }
        }
    }

    /// Deals with the client's bytes that were kept until now.
    pub(super) fn resume_client(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), Ended> {
        if self.phase != Phase::Open || self.input.is_empty() {
            return Ok(());
        }
        let kept = std::mem::take(&mut self.input);
        let heard = self.hear_client(cx, scratch, &kept);
        scratch.spare.put(kept);
        heard
    }

    pub(super) fn read_client(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<Turn, Ended> {
        let kept = self.input.len();
        if kept < self.wanted && self.wanted > scratch.input.len() / 2 {
            return self.collect(cx, scratch);
        }
        if kept >= scratch.input.len() {
            // Whatever is long is collected or waits for answers.
            debug_assert!(false, "{kept} bytes kept for nothing");
            return Err((Side::Client, Cause::CollectExhausted));
        }
        let mut input = std::mem::take(&mut scratch.input);
        // What is kept goes in front of what is read, in one piece.
        input[..kept].copy_from_slice(&self.input);
        let limit = match (&self.conn, self.account) {
            (Some(_), _) => input.len(),
            // Of a batch that is held back all is wanted, as long as there is room for it: it may have to wait.
            (None, Account::HeldBack) if self.has_hold_room(input.len() - kept) => input.len(),
            (None, Account::HeldBack | Account::Collected) => (kept + UNLINKED_READ_BYTES).min(input.len()),
        };
        let read = match &mut self.stream {
            Some(stream) => stream.poll_read(cx, &mut input[kept..limit]),
            None => Poll::Ready(Ok(0)),
        };
        let turn = match read {
            Poll::Pending => Ok(Turn::Wait),
            Poll::Ready(Ok(0)) => Err(self.client_ended()),
            Poll::Ready(Err(error)) => Err(client_gone(&self.entry, &error)),
            Poll::Ready(Ok(n)) => {
                self.stats().add(Counter::Received, n as u64);
                self.input.clear();
                self.hear_client(cx, scratch, &input[..kept + n]).map(|()| Turn::Again)
            }
        };
        scratch.input = input;
        turn
    }

    /// Reads on in a message that is collected and is too long to be looked at with every piece of it.
    fn collect(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<Turn, Ended> {
        let kept = self.input.len();
        let more = (self.wanted - kept).min(scratch.input.len());
        let stream = self.stream.as_mut().ok_or((Side::Client, Cause::ClientEof))?;
        let n = match stream.poll_read(cx, &mut scratch.input[..more]) {
            Poll::Pending => return Ok(Turn::Wait),
            Poll::Ready(Ok(0)) => return Err(self.client_ended()),
            Poll::Ready(Err(error)) => return Err(client_gone(&self.entry, &error)),
            Poll::Ready(Ok(n)) => n,
        };
        self.stats().add(Counter::Received, n as u64);
        self.account(kept + n)?;
        if self.input.capacity() - kept < n {
            self.input.reserve_exact((self.wanted - kept).min(kept.max(n)));
        }
        self.input.extend_from_slice(&scratch.input[..n]);
        self.begin_turn();
        if self.input.len() == self.wanted {
            let whole = std::mem::take(&mut self.input);
            self.hear_client(cx, scratch, &whole)?;
        }
        Ok(Turn::Again)
    }

    pub(super) fn hear_client(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        bytes: &[u8],
    ) -> Result<(), Ended> {
        let now = scratch.now(&self.hub);
        let mut rest = bytes;
        self.wanted = 0;
        loop {
            let link = self.conn.as_mut().map(|conn| &mut conn.link);
            let hub = &self.hub;
            let outcome = self.session.on_client(link, rest, &hub.statements, &mut scratch.steps, now);
            self.note_said(&mut scratch.steps.noted, rest, outcome.consumed, now);
            self.carry_out(cx, scratch, rest)?;
            rest = &rest[outcome.consumed..];
            match outcome.then {
                Then::Continue | Then::Attached => {
                    self.share_statements();
                    break;
                }
                Then::Collect { bytes } => {
                    self.wanted = bytes;
                    break;
                }
                Then::Busy => {
                    if self.phase == Phase::Open {
                        self.phase = Phase::Busy;
                    }
                    break;
                }
                Then::HoldBack if self.may_hold_back(rest.len()) => {
                    scratch.spare.keep(&mut self.input, rest);
                    self.note_deadline();
                    return Ok(());
                }
                Then::NeedServer | Then::HoldBack => {
                    self.request(cx, scratch, now)?;
                    if self.phase != Phase::Open {
                        break;
                    }
                }
                Then::Release(release) => {
                    self.give_back(release, Last::default(), || How::Returned, now);
                    if rest.is_empty() {
                        break;
                    }
                }
                Then::Close { side, cause } => return Err((side, cause)),
            }
        }
        self.keep_client(scratch, rest)?;
        self.note_half_way(now);
        self.note_deadline();
        Ok(())
    }

    /// Whether the client owes the rest of a message or of a batch while it has a server connection.
    #[inline]
    pub(super) fn is_half_way(&self) -> bool {
        self.conn.as_ref().is_some_and(|conn| conn.link.is_half_way() || !self.input.is_empty())
    }

    /// From now on the client may take its time, and no longer than `client_stall_timeout`.
    #[inline]
    pub(super) fn note_half_way(&mut self, now: Moment) {
        if self.is_half_way()
            && let Some(conn) = &mut self.conn
        {
            conn.link.note_half_way(now);
        }
    }

    /// Whether so many bytes of a batch may be kept until its end is there. False: there are too many of such batches,
    /// and this one takes a server connection now.
    #[cold]
    fn may_hold_back(&mut self, bytes: usize) -> bool {
        self.settle_account();
        let size = if bytes > SMALL_BYTES { bytes } else { 0 };
        if size > 0 && self.hub.held_back.fetch_add(size, Ordering::Relaxed) + size > self.hub.hold_memory() {
            self.hub.held_back.fetch_sub(size, Ordering::Relaxed);
            return false;
        }
        self.accounted = size;
        self.account = Account::HeldBack;
        true
    }

    /// Whether so many bytes more of batches may be kept. What is read then is counted before anybody else on this
    /// worker asks, so all together are at most one read of each worker too many.
    fn has_hold_room(&self, bytes: usize) -> bool {
        self.hub.held_back.load(Ordering::Relaxed) + bytes <= self.hub.hold_memory()
    }

    /// Nothing of the client is kept any more, as far as others count.
    pub(super) fn settle_account(&mut self) {
        self.counted().fetch_sub(self.accounted, Ordering::Relaxed);
        self.accounted = 0;
        self.account = Account::Collected;
    }

    /// Where what is kept of the client is counted.
    fn counted(&self) -> &AtomicUsize {
        match self.account {
            Account::Collected => &self.hub.collected,
            Account::HeldBack => &self.hub.held_back,
        }
    }

    /// Keeps bytes of the client, within what may be kept over all clients. Who waits for a server connection or for
    /// answers has no say in how long its bytes are kept, and is never ended for it: they are few, since none are read
    /// meanwhile.
    fn keep_client(&mut self, scratch: &mut Scratch, rest: &[u8]) -> Result<(), Ended> {
        match self.phase {
            Phase::Waiting { .. } | Phase::Gated { .. } | Phase::Settling(_) | Phase::Busy => {
                self.account_waiting(rest.len())
            }
            Phase::New | Phase::Open => self.account(rest.len())?,
        }
        scratch.spare.keep(&mut self.input, rest);
        Ok(())
    }

    /// So many bytes of the client are kept while it waits for something of ours. What has been counted stays where it
    /// is counted; more is held back, whether there is room or not: then others' batches are not.
    fn account_waiting(&mut self, kept: usize) {
        let size = if kept > SMALL_BYTES { kept } else { 0 };
        if size > self.accounted {
            self.settle_account();
            self.hub.held_back.fetch_add(size, Ordering::Relaxed);
            self.account = Account::HeldBack;
        } else {
            self.counted().fetch_sub(self.accounted - size, Ordering::Relaxed);
        }
        self.accounted = size;
    }

    /// So many bytes of the client are kept from now on.
    fn account(&mut self, kept: usize) -> Result<(), Ended> {
        let size = if kept > SMALL_BYTES { kept } else { 0 };
        if self.account == Account::HeldBack {
            self.settle_account();
        }
        if size > self.accounted {
            let limit = self.hub.collect_memory();
            let more = size - self.accounted;
            if self.hub.collected.fetch_add(more, Ordering::Relaxed) + more > limit {
                self.hub.collected.fetch_sub(more, Ordering::Relaxed);
                return Err((Side::Client, Cause::CollectExhausted));
            }
        } else if size < self.accounted {
            self.hub.collected.fetch_sub(self.accounted - size, Ordering::Relaxed);
        }
        // Else, which is all but always, nothing that the workers share is touched.
        self.accounted = size;
        Ok(())
    }
}

fn goes_to_server(steps: &[Step]) -> bool {
    steps.iter().any(|step| match step {
        Step::Forward { to, .. } | Step::Inject { to, .. } => *to == Side::Server,
    })
}
