//! Listening to both sides: bytes in, decisions of `session`, and what is kept.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use plimsoll_session::Then;
use plimsoll_types::{Cause, Side};

use super::{Ended, Phase, Relay, SMALL_BYTES, Turn};
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
            Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Err((Side::Server, Cause::ServerCrashed)),
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
    pub(super) fn resume_client(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), Ended> {
        if self.phase != Phase::Open || self.input.is_empty() {
            return Ok(());
        }
        let kept = std::mem::take(&mut self.input);
        self.hear_client(cx, scratch, &kept)
    }

    pub(super) fn read_client(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<Turn, Ended> {
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

    pub(super) fn hear_client(
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
    pub(super) fn keep_client(&mut self, rest: &[u8]) -> Result<(), Ended> {
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
