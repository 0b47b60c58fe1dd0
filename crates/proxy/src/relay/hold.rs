//! Getting a server connection and giving it back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::time::Duration;

use parking_lot::Mutex;
use plimsoll_ledger::How;
use plimsoll_pool::{Class, Fairness, Gate, Grant, Request, USUAL_WEIGHT, WaitCause};
use plimsoll_session::{Attach, Freeing, Params, Release, Session};
use plimsoll_types::{Cause, Moment, Side};

use super::note::Last;
use super::{Ended, Phase, Relay, SMALL_BYTES, Told};
use crate::closer;
use crate::directory::{PoolEntry, longest_wait, queue_fairness};
use crate::entry::ClientEntry;
use crate::hub::{Answer, Hub};
use crate::server::{Looked, ServerConn};
use crate::stats::Counter;
use crate::tally::Tally;
use crate::worker::Scratch;

impl Relay {
    pub(super) fn request(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        now: Moment,
    ) -> Result<(), Ended> {
        self.renew_settings();
        if self.entry.replication.is_some() {
            // It has had its own, and there is no other one for it.
            return Err((Side::Server, Cause::ServerEof));
        }
        // Who comes from the gate, or was granted what turned out to be dead, goes on waiting.
        let since = self.entry.waiting_since().unwrap_or(now);
        if self.hub.gate.is_for(&self.entry) && self.is_kept_out(since) {
            return Ok(());
        }
        let wait_cause = self.wait.cause;
        let wait_max = if since == now { self.wait.longest } else { self.wait.left(since, now) };
        let (pool, client, worker) = (self.pool.id, self.entry.id, self.worker);
        let (class, weight) = self.class();
        let request = Request { pool, client, worker, wait_max, wait_cause, class, weight };
        loop {
            match self.hub.request(request, &self.entry, now) {
                Answer::Granted(mut conn, grant) => match conn.look(cx, &self.hub.tracked) {
                    Ok(looked) => {
                        self.looked = looked;
                        return self.take_over(cx, scratch, conn, grant, since, now);
                    }
                    // It died while it was idle: nobody notices, the next one is taken.
                    Err(cause) => self.hub.give_back(conn, Release::Unusable(cause), now),
                },
                Answer::Queued(ticket) => {
                    self.entry.set_waiting(since);
                    self.phase = Phase::Waiting { ticket, since, told: Told::No };
                    return Ok(());
                }
                Answer::Refused(cause) => return Err((Side::Client, cause)),
                Answer::StandsStill => {
                    // It comes to rest now, and asks again here or in the other process.
                    self.entry.set_waiting(since);
                    self.phase = Phase::Gated { since };
                    return Ok(());
                }
            }
        }
    }

    /// Whose turns it takes in a queue, and what those weigh. What is proved goes before what is claimed.
    pub(super) fn class(&self) -> (Class, u32) {
        self.entry.stake().unwrap_or_else(|| match self.wait.fairness {
            Fairness::Fifo => (Class::Everybody, USUAL_WEIGHT),
            Fairness::Application => {
                let number = self.application().map_or(0, class_of);
                (Class::Application(number), USUAL_WEIGHT)
            }
        })
    }

    /// What it holds now it has waited for.
    #[cold]
    fn note_wait(&self, waited_us: u64) {
        self.stats().add(Counter::WaitTime, waited_us);
        self.stats().assigned_after(waited_us);
    }

    /// Whether a cap keeps the client from the queue of its pool, or from what it is granted there; it is told
    /// when it may join.
    #[cold]
    pub(super) fn is_kept_out(&mut self, since: Moment) -> bool {
        let application = self.application().unwrap_or_default();
        let (gate, caps_passed) = self.hub.gate.enter(&self.entry, self.pool.id, application, since);
        self.caps_passed = caps_passed;
        match gate {
            Gate::Free | Gate::Admitted => false,
            Gate::Shut => {
                self.entry.set_waiting(since);
                self.phase = Phase::Gated { since };
                true
            }
        }
    }

    /// A place under the caps has come free.
    pub(super) fn come_in(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), Ended> {
        if !matches!(self.phase, Phase::Gated { .. }) {
            return Ok(());
        }
        self.phase = Phase::Open;
        self.go_on(cx, scratch)
    }

    /// A server connection that it has waited for in the queue of its pool.
    pub(super) fn take_up(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        mut conn: Box<ServerConn>,
        grant: Grant,
        now: Moment,
    ) -> Result<(), Ended> {
        let asked = if let Phase::Waiting { since, .. } = self.phase { since } else { now };
        self.phase = Phase::Open;
        match conn.look(cx, &self.hub.tracked) {
            Ok(looked) => {
                self.looked = looked;
                self.take_over(cx, scratch, conn, grant, asked, now)?;
            }
            Err(cause) => self.hub.give_back(conn, Release::Unusable(cause), now),
        }
        self.go_on(cx, scratch)
    }

    /// What made the client wait is over: it asks again where it has to, and has waited all the time.
    fn go_on(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), Ended> {
        let heard = self.resume_client(cx, scratch);
        if !matches!(self.phase, Phase::Waiting { .. } | Phase::Gated { .. }) {
            self.entry.set_active();
            if self.conn.is_none() && self.entry.standing.is_known() {
                // It does not want one any more.
                self.hub.gate.leave(&self.entry);
            }
        }
        heard
    }

    /// After a reload the settings are read anew.
    pub(super) fn renew_settings(&mut self) {
        let generation = self.pool.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            self.session.set_settings(self.entry.settings(&self.pool, || self.hub.plan()));
            self.renew_noting();
            self.wait = Wait::of(&self.hub, &self.pool, &self.entry, &self.session);
        }
    }

    /// The name the client gives itself.
    pub(super) fn application(&self) -> Option<&str> {
        let index = self.hub.tracked.index(b"application_name")?;
        self.session.params().values.get(index)?.as_deref()
    }

    /// A server connection is ours from here on.
    pub(super) fn take_over(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        conn: Box<ServerConn>,
        grant: Grant,
        asked: Moment,
        now: Moment,
    ) -> Result<(), Ended> {
        let mut conn = conn;
        self.entry.standing.take();
        // A cap may have been made while it was in the queue, or between its asking and now.
        let is_capped = self.hub.gate.generation() != self.caps_passed && self.hub.gate.is_for(&self.entry);
        if is_capped && self.entry.replication.is_some() {
            self.hub.gate.hold(&self.entry, self.application().unwrap_or_default(), asked);
        } else if is_capped && self.is_kept_out(asked) {
            self.looked = Looked::Usable;
            self.hub.give_back(conn, Release::Clean, now);
            self.note_deadline();
            return Ok(());
        }
        self.entry.set_active();
        if conn.home != self.worker {
            conn = self.move_here(conn)?;
            self.looked = Looked::Usable;
        }
        if asked == now {
            self.stats().assigned();
        } else {
            self.note_wait(now.micros_since(asked));
        }
        conn.tally = Tally::begin(&grant, asked, now);
        self.phase = Phase::Open;
        let conn = self.conn.insert(conn);
        match self.session.attach(&mut conn.link, &self.hub.tracked, &mut scratch.steps, now) {
            Attach::Ready => {
                self.entry.set_held(&grant, now);
                Ok(())
            }
            Attach::Settling => {
                // Not held as far as others can see: a cancel now would hit our own SET, and the client with it.
                self.phase = Phase::Settling(grant);
                self.set_deadline();
                self.carry_out(cx, scratch, &[])
            }
        }
    }

    /// Registers the connection's socket with this worker's runtime.
    fn move_here(&mut self, conn: Box<ServerConn>) -> Result<Box<ServerConn>, Ended> {
        let (slot, entry) = (conn.slot, conn.entry.clone());
        conn.rehomed(self.worker).ok_or_else(|| {
            closer::cut_off(&self.hub, slot, &entry, &Cause::NoFileDescriptors);
            (Side::Server, Cause::NoFileDescriptors)
        })
    }

    pub(super) fn give_back(&mut self, release: Release, last: Last, how: impl FnOnce() -> How, now: Moment) {
        let Some(mut conn) = self.conn.take() else { return };
        self.entry.clear_held();
        let is_counted = self.entry.standing.give();
        self.note_end(&conn, last, how, now);
        let release = match release {
            Release::Unusable(cause) => Release::Unusable(cause),
            Release::Clean | Release::Dirty | Release::Unfinished if !conn.output.is_empty() => {
                Release::Unusable(Cause::ServerStateUnknown)
            }
            Release::Unfinished => {
                conn.unfinished = Some(Box::new(Freeing::new(&self.session, &conn.link)));
                Release::Unfinished
            }
            Release::Clean | Release::Dirty => match conn.take_in_rest(&self.hub.tracked) {
                Ok(()) => release,
                Err(cause) => Release::Unusable(cause),
            },
        };
        if matches!(release, Release::Clean) {
            conn.tally.note_returned();
        }
        self.share_records(&mut conn);
        if conn.input.capacity() > SMALL_BYTES {
            conn.input = Vec::new();
        }
        self.hub.give_back(conn, release, now);
        if is_counted {
            self.hub.gate.leave(&self.entry);
        }
    }

    /// The parameters the console shows of both during a hold, which may be as long as a session.
    pub(super) fn share_parameters(&mut self) {
        let Some(conn) = &mut self.conn else { return };
        show(&mut conn.shown, conn.link.params(), &conn.entry.params);
        show(&mut self.shown, self.session.params(), &self.entry.params);
    }

    /// The number of named statements the console shows: a Close may be answered without a server connection.
    pub(super) fn share_statements(&self) {
        if self.conn.is_none() {
            let mine = u32::try_from(self.session.prepared_count()).unwrap_or(u32::MAX);
            self.entry.prepared.store(mine, Ordering::Relaxed);
        }
    }

    /// What the console shows of both, where it has changed.
    fn share_records(&mut self, conn: &mut ServerConn) {
        let prepared = u32::try_from(conn.link.prepared_count()).unwrap_or(u32::MAX);
        conn.entry.prepared.store(prepared, Ordering::Relaxed);
        let mine = u32::try_from(self.session.prepared_count()).unwrap_or(u32::MAX);
        self.entry.prepared.store(mine, Ordering::Relaxed);
        show(&mut conn.shown, conn.link.params(), &conn.entry.params);
        show(&mut self.shown, self.session.params(), &self.entry.params);
    }
}

/// Equal pointers are equal values, so that nothing is locked as long as nothing changes.
fn show(shown: &mut Option<Arc<Params>>, params: &Arc<Params>, record: &Mutex<Option<Arc<Params>>>) {
    if !shown.as_ref().is_some_and(|shown| Arc::ptr_eq(shown, params)) {
        *shown = Some(params.clone());
        *record.lock() = Some(params.clone());
    }
}

/// How a client waits for a server connection.
#[derive(Clone, Copy)]
pub(super) struct Wait {
    /// How long at most; zero is for ever.
    pub(super) longest: Duration,
    /// What ends it then.
    pub(super) cause: WaitCause,
    pub(super) fairness: Fairness,
}

impl Wait {
    pub(super) fn of(hub: &Hub, pool: &PoolEntry, entry: &ClientEntry, session: &Session) -> Wait {
        let plan = hub.plan();
        let query_timeout = session.settings().query_timeout;
        let (longest, cause) = longest_wait(&plan, &pool.database.config(), &entry.user, query_timeout);
        Wait { longest, cause, fairness: queue_fairness(&plan) }
    }

    /// How long from now on, where it has been waiting since `since`; zero is for ever.
    #[cold]
    pub(super) fn left(&self, since: Moment, now: Moment) -> Duration {
        match self.longest {
            Duration::ZERO => Duration::ZERO,
            // It is over at the next look, not never.
            longest => longest.saturating_sub(now.since(since)).max(Duration::from_micros(1)),
        }
    }
}

/// A number for an application's name (FNV-1a): two names that share one share their turns, no more.
pub(super) fn class_of(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
