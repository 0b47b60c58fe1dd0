//! A client that does not read: its answer comes off the server all the same.

use std::task::Context;
use std::time::Duration;

use plimsoll_types::{Cause, Side};
use tokio::time::Instant;

use super::gone::client_gone;
use super::{Ended, Relay};
use crate::outlet::Cut;
use crate::spill::{Lack, Medium, Origin, Spill, Terms};
use crate::stats::Counter;

/// How often a spill that lacks room looks whether others have left some.
const RETRY: Duration = Duration::from_millis(20);

impl Relay {
    /// The client has not taken everything: whether the server is to be read all the same. Wakes the task when the
    /// answer may become yes.
    #[cold]
    pub(super) fn reads_ahead(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(conn) = &self.conn else { return false };
        let (mode, tx) = (self.session.settings().mode, conn.link.tx());
        let (hub, pool, user) = (&self.hub, &self.pool, &self.entry.user);
        let slow = self.output.slow(|| Terms::of(&hub.plan(), &pool.database.config(), user));
        let Some(medium) = slow.terms.medium(mode, tx) else {
            let Some(spill) = &mut slow.spill else { return false };
            spill.rest();
            return self.note_room(cx, Err(Lack::Terms));
        };
        if slow.spill.is_none() {
            if slow.poll_patience(cx).is_pending() {
                return false;
            }
            self.begin_spill(cx, medium);
        }
        let room = match self.output.spill_mut() {
            Some(spill) => spill.make_room(),
            None => return false,
        };
        self.note_room(cx, room)
    }

    #[cold]
    fn begin_spill(&mut self, cx: &mut Context<'_>, medium: Medium) {
        let Some(conn) = &self.conn else { return };
        let hold = conn.entry.record.lock().copy();
        let statement = hold.and_then(|hold| hold.last().or(hold.first.as_ref()).cloned());
        let origin = Origin { client: self.entry.clone(), statement };
        let spill = Spill::begin(&self.hub.spills, medium, origin, cx.waker());
        if let Some(slow) = self.output.slow_mut() {
            slow.spill = Some(spill);
        }
    }

    /// Whether there is room for more; what has changed is counted and shown.
    fn note_room(&mut self, cx: &mut Context<'_>, room: Result<(), Lack>) -> bool {
        let Some(slow) = self.output.slow_mut() else { return false };
        let lack = room.err();
        let held_up = slow.holds_up();
        let before = std::mem::replace(&mut slow.lack, lack);
        let holds_up = slow.holds_up();
        if lack.is_some_and(Lack::ends_elsewhere) {
            slow.wake_at(cx, Instant::now() + RETRY);
        }
        if before != lack
            && let Some(spill) = &slow.spill
        {
            spill.note_full(lack);
        }
        if let Some(lack) = lack.filter(|lack| lack.is_of_budget())
            && !before.is_some_and(Lack::is_of_budget)
        {
            self.hub.spills.note_full(lack);
            self.stats().add(Counter::SpillStops, 1);
        }
        if held_up != holds_up {
            self.note_unread(0, self.hub.now());
        }
        lack.is_none()
    }

    /// Sends the client what it has not taken before.
    pub(super) fn drain(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        self.take_in_spill()?;
        let stream = self.stream.as_mut().ok_or((Side::Client, Cause::ClientEof))?;
        let mut taken = 0;
        loop {
            let pending = self.output.pending();
            let wanted = pending.len();
            if wanted == 0 {
                break;
            }
            let sent = stream.poll_write(cx, pending).map_err(|error| client_gone(&self.entry, &error))?;
            self.output.advance(sent);
            taken += sent;
            if sent < wanted {
                break;
            }
        }
        if taken > 0 {
            self.session.note_reading(self.hub.now());
        }
        if self.conn.is_none() {
            self.drain_alone();
        } else if taken > 0 {
            self.note_unread(taken, self.hub.now());
            if self.output.is_empty() {
                self.begin_turn();
            }
        }
        self.output.fate().map_or(Ok(()), Err)
    }

    /// The server has been given back, and the client has not taken everything: those see it who wait for clients that
    /// would lose something.
    #[cold]
    pub(super) fn drain_alone(&mut self) {
        if let Some(spill) = self.output.spill_mut() {
            spill.rest();
        } else if !self.output.is_empty() {
            let (hub, pool, entry) = (&self.hub, &self.pool, &self.entry);
            let slow = self.output.slow(|| Terms::of(&hub.plan(), &pool.database.config(), &entry.user));
            slow.fall_behind(|| hub.spills.fall_behind(entry.id));
        }
    }

    /// What has been read and written since.
    fn take_in_spill(&mut self) -> Result<(), Ended> {
        let Some(spill) = self.output.spill_mut() else { return Ok(()) };
        let result = spill.take_in();
        let (written, begun) = (spill.take_written(), spill.take_begun());
        if begun {
            self.stats().add(Counter::Spills, 1);
        }
        if written > 0 {
            self.stats().add(Counter::SpillFileBytes, written);
        }
        result.map_err(|cause| {
            tracing::error!("{}{}", self.entry.log_prefix(), cause.message());
            (Side::Client, cause)
        })
    }

    /// The server has gone, and its client has not read yet what it said before: it is told of the end when it has, as
    /// it would have been without a spill. Whether that is so.
    #[cold]
    pub(super) fn outlives(&mut self, side: Side, cause: &Cause) -> bool {
        if side != Side::Server || self.output.spill().is_none() || self.output.has_fate() {
            return false;
        }
        let Some(conn) = &mut self.conn else { return false };
        let last_words = if cause.is_crash() { conn.last_words() } else { None };
        let cause = last_words.unwrap_or_else(|| cause.clone());
        let cut = if conn.link.is_mid_message_to_client() { Cut::Inside } else { Cut::Between };
        let now = self.hub.now();
        let release = self.release(side, &cause);
        self.tell_of_server(release.as_ref(), &cause);
        self.let_go(release, &cause, now);
        self.output.end_with(cause, cut);
        true
    }
}
