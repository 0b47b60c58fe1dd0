//! What other tasks leave for a client, and limits of time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::time::Duration;

use plimsoll_ledger::How;
use plimsoll_session::{Holding, Kept, Settings};
use plimsoll_types::{Cause, Moment, PoolMode, Side, Ticket};
use plimsoll_wire::encode;

use super::note::Last;
use super::{Ended, Phase, Relay, Told};
use crate::report;
use crate::stats::Counter;
use crate::worker::Scratch;

impl Relay {
    pub(super) fn read_mail(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), Ended> {
        let Some(mut mail) = self.entry.new_mail() else { return Ok(()) };
        let (grant, refused, kill) = (mail.grant.take(), mail.refused.take(), mail.kill.take());
        let (quit, heartbeat) = (mail.quit.take(), std::mem::take(&mut mail.heartbeat));
        if let Some(cause) = mail.leave.take() {
            self.leaving = Some(cause);
        }
        let (order, admitted) = (mail.order.take(), std::mem::take(&mut mail.admitted));
        drop(mail);
        let now = scratch.now(&self.hub);
        if let Some((conn, grant)) = grant {
            self.take_up(cx, scratch, conn, grant, now)?;
        }
        if let Some(cause) = kill.or(refused) {
            self.entry.set_active();
            if is_wait_end(&cause) {
                if self.conn.is_none() && self.ticket().is_none() {
                    return Ok(());
                }
                self.stats().add(Counter::WaitTimeouts, 1);
            }
            return Err((Side::Client, *cause));
        }
        if let Some(cause) = quit.filter(|_| self.is_session_at_rest()) {
            return Err((Side::Client, *cause));
        }
        if admitted {
            self.come_in(cx, scratch)?;
        }
        if let Some(order) = order {
            self.obey(cx, scratch, &order)?;
        }
        if heartbeat {
            self.beat(cx)?;
        }
        self.take_in_reload(now);
        self.look_at_clock(cx, now)
    }

    /// Its right to be here has ended: it goes if nothing of it is under way. Whoever waits for a server connection has
    /// nothing under way at a server.
    #[cold]
    pub(super) fn leave_if_idle(&mut self) -> Result<(), Ended> {
        let is_idle = match self.conn {
            None => self.output.is_empty(),
            Some(_) => self.is_session_at_rest(),
        };
        match self.leaving.take_if(|_| is_idle) {
            Some(cause) => Err((Side::Client, *cause)),
            None => Ok(()),
        }
    }

    /// Whether the client keeps its server connection for nothing but session pooling.
    fn is_session_at_rest(&self) -> bool {
        let holding = self.conn.as_ref().map(|conn| self.session.holding(&conn.link));
        self.is_at_rest() && holding == Some(Holding::Session)
    }

    /// A reload may have changed the limits of clients that do nothing, or nothing that needs another server
    /// connection. What a client does with the one it holds goes on by the rules it began with; a session that is
    /// not pooled as one any more ends when nothing is under way.
    fn take_in_reload(&mut self, now: Moment) {
        if self.generation == self.pool.generation.load(Ordering::Acquire) {
            return;
        }
        let renewed = self.entry.settings(&self.pool, || self.hub.plan());
        let held = self.session.settings();
        let (mode, prepared_max, clean) = (held.mode, held.prepared_max, held.clean);
        if mode == PoolMode::Session && renewed.mode != PoolMode::Session && self.is_session_at_rest() {
            self.end_session(now);
        }
        if self.conn.is_none() || (mode == PoolMode::Session && renewed.mode == PoolMode::Session) {
            self.renew_settings();
        } else {
            let settings = Settings { mode, prepared_max, clean, ..Settings::clone(&renewed) };
            self.session.set_settings(Arc::new(settings));
        }
        self.note_deadline();
    }

    /// A server has answered and stays with its client: if that is for session pooling alone, a reload may have
    /// changed it.
    #[inline]
    pub(super) fn look_at_mode(&mut self, now: Moment) {
        if self.generation != self.pool.generation.load(Ordering::Relaxed)
            && self.session.settings().mode == PoolMode::Session
        {
            self.take_in_reload(now);
        }
    }

    /// Gives the server connection back as the end of a session does: it may have left anything behind.
    fn end_session(&mut self, now: Moment) {
        let Some(conn) = &mut self.conn else { return };
        let release = self.session.detach(&mut conn.link);
        self.give_back(release, Last::default(), || How::Returned, now);
    }

    pub(super) fn ticket(&self) -> Option<Ticket> {
        match self.phase {
            Phase::Waiting { ticket, .. } => Some(ticket),
            Phase::New | Phase::Open | Phase::Gated { .. } | Phase::Settling(_) | Phase::Busy => None,
        }
    }

    /// Limits that are over by now.
    pub(super) fn look_at_clock(&mut self, cx: &mut Context<'_>, now: Moment) -> Result<(), Ended> {
        if !self.entry.is_due(now) {
            return Ok(());
        }
        if self.conn.is_some() && !self.output.is_empty() {
            self.session.note_reading(now);
        }
        if let Phase::Gated { since } = self.phase {
            if self.wait.longest > Duration::ZERO && since + self.wait.longest <= now {
                self.stats().add(Counter::WaitTimeouts, 1);
                return Err((Side::Client, self.wait.cause.cause()));
            }
        } else if let Phase::Waiting { ticket, since, told: Told::No } = self.phase {
            self.phase = Phase::Waiting { ticket, since, told: Told::Yes };
            let (plan, cause) = (self.hub.plan(), Cause::QueryWaitTimeout);
            let detail = report::detail_of_wait(&self.hub, &plan, &self.entry, &self.pool, &cause);
            self.send_client(cx, &queued_notice(detail.as_deref()))?;
        } else if let Some((at, cause)) = self.next_limit()
            && at <= now
            && !matches!(self.phase, Phase::Waiting { .. })
        {
            return Err((Side::Client, cause));
        }
        // Where no limit is set any more, nothing else would take it back, and the janitor would wake us for ever.
        self.entry.set_deadline(None);
        self.note_deadline();
        Ok(())
    }

    /// Tells the janitor when to wake us next.
    pub(super) fn note_deadline(&mut self) {
        if let Phase::Gated { since } = self.phase {
            let longest = self.wait.longest;
            self.entry.set_deadline((longest > Duration::ZERO).then(|| since + longest));
        } else if let Phase::Waiting { since, told, .. } = self.phase {
            let notify = self.hub.query_wait_notify();
            let at = (told == Told::No && notify > Duration::ZERO).then(|| since + notify);
            self.entry.set_deadline(at);
        } else if self.hub.timed.load(Ordering::Relaxed) || self.is_half_way() {
            self.set_deadline();
        }
    }

    /// The limit that is over next.
    fn next_limit(&self) -> Option<(Moment, Cause)> {
        let link = self.conn.as_ref().map(|conn| &conn.link);
        let kept = if self.input.is_empty() { Kept::Nothing } else { Kept::Part };
        let stall = link.filter(|_| self.is_clients_turn());
        let stall = stall.and_then(|link| self.session.poll_stall(link, kept));
        self.session.poll_timeout(link).into_iter().chain(stall).min_by_key(|(at, _)| *at)
    }

    /// Whether the client can send what it owes: it has been sent everything, and the server takes what comes.
    fn is_clients_turn(&self) -> bool {
        let server_takes = self.conn.as_ref().is_none_or(|conn| conn.output.is_empty());
        self.phase == Phase::Open && self.output.is_empty() && server_takes
    }

    /// A socket has taken what it had refused: if the client owes something, its time begins now.
    #[cold]
    pub(super) fn begin_turn(&mut self) {
        self.note_half_way(self.hub.now());
        self.note_deadline();
    }

    /// Also where no timeout is configured: what a client owes, and parameters that are being set, have limits of ours.
    pub(super) fn set_deadline(&self) {
        self.entry.set_deadline(self.next_limit().map(|(at, _)| at));
    }
}

fn queued_notice(detail: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    encode::notice_response(
        &mut out,
        &encode::Fields {
            severity: "NOTICE",
            sqlstate: "00000",
            message: "No server connection available in postgres backend, client being queued",
            detail,
            hint: None,
        },
    );
    out
}

fn is_wait_end(cause: &Cause) -> bool {
    matches!(cause, Cause::QueryWaitTimeout | Cause::QueryTimeoutWaiting)
}
