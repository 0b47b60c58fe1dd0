//! The client's half of the machine: attaching, detaching, limits of time. Its two ears are in `client.rs` and
//! `server.rs`.

use std::sync::Arc;
use std::time::Duration;

use plimsoll_types::{Cause, Moment, Pins, PoolMode, Side, TxState};
use plimsoll_wire::encode;
use serde::{Deserialize, Serialize};

use crate::expect::Expect;
use crate::link::{Batch, CopyIn, Count, Has, Link, Settling, Unnamed, Use};
use crate::noted::Noting;
use crate::params::{Params, Tracked, set_query};
use crate::revoke::Aftermath;
use crate::statements::Names;
use crate::steps::{Attach, CleanWhen, Holding, Kept, Release, Settings, Steps, Then};

/// The client's half.
#[derive(Debug)]
pub struct Session {
    pub(crate) settings: Arc<Settings>,
    pub(crate) params: Arc<Params>,
    pub(crate) names: Names,
    pub(crate) attached: Attached,
    /// Bytes of a message that goes nowhere, still to come.
    pub(crate) drop_left: usize,
    /// Counts the named Parses of the client.
    pub(crate) serial: u32,
    /// When the query under way began; zero when none is.
    pub(crate) query_began: Moment,
    /// When the transaction under way began; zero when none is.
    pub(crate) xact_began: Moment,
    /// When the server last said that it is ready.
    pub(crate) ready_at: Moment,
    /// When the last request came.
    pub(crate) requested: Moment,
    pub(crate) noting: Noting,
    /// Tells clients apart; 0: not known.
    number: u64,
    /// What it still believes in though its server connection was taken.
    pub(crate) aftermath: Option<Box<Aftermath>>,
}

/// Whether the client holds a server connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Attached {
    /// No.
    No,
    /// Parameters are being set.
    Settling,
    /// Yes.
    Yes,
    /// Yes, and bytes of the client wait for answers.
    Busy,
}

impl Session {
    /// A client that has just logged in. `params`: its values, gaps already filled with the pool's.
    pub fn new(settings: Arc<Settings>, params: Arc<Params>, now: Moment) -> Session {
        Session {
            settings,
            params,
            names: Names::default(),
            attached: Attached::No,
            drop_left: 0,
            serial: 0,
            query_began: Moment(0),
            xact_began: Moment(0),
            ready_at: now,
            requested: now,
            noting: Noting::Off,
            number: 0,
            aftermath: None,
        }
    }

    /// After a reload or SET.
    pub fn set_settings(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// A number that no other client has, so that a connection which comes back to its last holder is known again. Not 0.
    pub fn set_number(&mut self, number: u64) {
        self.number = number;
    }

    /// See [`Session::set_number`].
    pub fn number(&self) -> u64 {
        self.number
    }

    /// See [`Session::set_noting`].
    pub fn noting(&self) -> Noting {
        self.noting
    }

    /// Whether the ledger wants to hear of what goes by.
    pub fn set_noting(&mut self, noting: Noting) {
        self.noting = noting;
    }

    /// When the transaction under way began; zero when none is.
    pub fn xact_since(&self) -> Moment {
        self.xact_began
    }

    /// Why this session has to keep its server connection.
    pub fn pins(&self, link: &Link) -> Pins {
        match self.attached {
            Attached::No => Pins::NONE,
            Attached::Settling | Attached::Yes | Attached::Busy => link.pins(),
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The client's parameter values.
    pub fn params(&self) -> &Arc<Params> {
        &self.params
    }

    /// Whether named statements are managed.
    #[inline]
    pub(crate) fn manages_statements(&self) -> bool {
        self.settings.prepared_max > 0 && self.settings.mode != PoolMode::Session
    }

    /// A server connection was granted. Compares parameters; where they differ, a SET round goes first.
    pub fn attach(&mut self, link: &mut Link, tracked: &Tracked, steps: &mut Steps, now: Moment) -> Attach {
        steps.clear();
        self.attached = Attached::Yes;
        self.ready_at = now;
        if self.number == 0 || link.last_holder != self.number {
            // Somebody else may have prepared another one meanwhile.
            link.unnamed = Unnamed::Foreign;
            link.last_holder = self.number;
            link.has_named = Has::None;
        }
        link.left.serve(self.settings.mode);
        if Arc::ptr_eq(&self.params, &link.params) {
            return Attach::Ready;
        }
        let Some(query) = set_query(tracked, &self.params, &link.params) else {
            self.share_params(link);
            return Attach::Ready;
        };
        steps.inject(Side::Server, |out| encode::query(out, query.as_bytes()));
        self.attached = Attached::Settling;
        link.settling = Settling::Yes;
        Attach::Settling
    }

    /// After a SET round the server's spelling replaces the client's, or the SET would be repeated for ever; equal
    /// values share one allocation, so that the next comparison is one of pointers.
    pub(crate) fn share_params(&mut self, link: &mut Link) {
        if self.params.values == link.params.values {
            link.params = self.params.clone();
        } else {
            self.params = Arc::new(link.params.or(&self.params));
            if self.params.values == link.params.values {
                link.params = self.params.clone();
            }
        }
    }

    /// The client leaves (or is thrown out) while it holds `link`.
    pub fn detach(&mut self, link: &mut Link) -> Release {
        self.attached = Attached::No;
        self.query_began = Moment(0);
        self.xact_began = Moment(0);
        if link.purpose == Use::Replication {
            let resting = link.is_resting();
            Release::Unusable(if resting { Cause::ReplicationEnded } else { Cause::ClientLeftBusy })
        } else if link.is_resting() {
            self.release(link)
        } else if link.can_be_freed() {
            Release::Unfinished
        } else {
            Release::Unusable(Cause::ClientLeftBusy)
        }
    }

    /// What follows if nothing is under way any more: the connection is given back, or the server is asked where it is
    /// if that is not known.
    #[inline]
    pub(crate) fn poll_release(&mut self, link: &mut Link, steps: &mut Steps) -> Option<Then> {
        if self.attached != Attached::Yes || !link.is_resting() {
            return None;
        }
        if link.count == Count::Unknown {
            // After its answer to this, nothing else is on its way.
            steps.inject(Side::Server, |out| encode::query(out, b""));
            link.expected.push(Expect::Marker);
            return None;
        }
        if self.settings.mode == PoolMode::Session {
            return None;
        }
        self.attached = Attached::No;
        self.query_began = Moment(0);
        self.xact_began = Moment(0);
        Some(Then::Release(self.release(link)))
    }

    /// In what state a connection that rests is given back.
    fn release(&self, link: &Link) -> Release {
        if link.count != Count::Known {
            return Release::Unusable(Cause::ServerStateUnknown);
        }
        match (self.settings.clean, self.settings.mode) {
            (CleanWhen::Always, _) | (CleanWhen::AfterSession, PoolMode::Session) => Release::Dirty,
            (CleanWhen::Never, _)
            | (CleanWhen::AfterSession, PoolMode::Transaction | PoolMode::Statement) => Release::Clean,
        }
    }

    /// When which limit will be over, given what is going on now.
    pub fn poll_timeout(&self, link: Option<&Link>) -> Option<(Moment, Cause)> {
        let settings = &self.settings;
        let due =
            |limit: Duration, since: Moment, cause: Cause| (!limit.is_zero()).then(|| (since + limit, cause));
        let Some(link) = link.filter(|_| self.attached != Attached::No) else {
            // A client whose query ran for long has not been idle.
            let active = self.requested.max(self.ready_at);
            return due(settings.client_idle_timeout, active, Cause::ClientIdleTimeout);
        };
        if self.attached == Attached::Settling {
            let query = due(settings.query_timeout, self.ready_at, Cause::QueryTimeout);
            let ours = due(settings.settle_timeout, self.ready_at, Cause::ServerSilent);
            return query.into_iter().chain(ours).min_by_key(|(at, _)| *at);
        }
        let query = (self.query_began != Moment(0))
            .then(|| due(settings.query_timeout, self.query_began, Cause::QueryTimeout))
            .flatten();
        let idle = (link.tx != TxState::Idle && self.query_began == Moment(0))
            .then(|| due(settings.idle_transaction_timeout, self.ready_at, Cause::IdleTransactionTimeout))
            .flatten();
        let transaction = (link.tx != TxState::Idle && self.xact_began != Moment(0))
            .then(|| due(settings.transaction_timeout, self.xact_began, Cause::TransactionTimeout))
            .flatten();
        [query, idle, transaction].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// The client has taken bytes of an answer that is complete, or has yet to take some: so long it has not been idle.
    pub fn note_reading(&mut self, now: Moment) {
        if self.query_began == Moment(0) && self.attached != Attached::Settling {
            self.ready_at = self.ready_at.max(now);
        }
    }

    /// When a client is given up that has stopped in the middle of a message or of a batch. `kept`: the beginning of a
    /// message of which nothing has been sent on yet.
    pub fn poll_stall(&self, link: &Link, kept: Kept) -> Option<(Moment, Cause)> {
        let limit = self.settings.client_stall_timeout;
        if limit.is_zero() || link.half_since == Moment(0) || self.attached != Attached::Yes {
            return None;
        }
        let stopped = match kept {
            Kept::Part => !link.is_awaited(0),
            Kept::Nothing => link.is_waiting_for_client(),
        };
        stopped.then(|| (link.half_since + limit, Cause::ClientStalled))
    }

    /// Named statements the client has prepared.
    pub fn prepared_count(&self) -> usize {
        self.names.len()
    }

    /// Why the connection is held.
    pub fn holding(&self, link: &Link) -> Holding {
        match (self.attached, link.copy, link.batch, link.tx) {
            (Attached::No, ..) => Holding::Nothing,
            (Attached::Settling, ..) => Holding::Settling,
            (_, CopyIn::Active { .. }, ..) => Holding::CopyIn,
            (_, CopyIn::Both, ..) => Holding::Replicating,
            // The server waits for the rest of what it has to do next.
            _ if link.to_server_left > 0 && link.expected.len() <= 1 => Holding::HalfBatch,
            _ if !link.expected.is_empty() => Holding::Executing,
            (_, _, Batch::Open | Batch::Skipping, _) => Holding::HalfBatch,
            (_, _, _, TxState::Open) => Holding::InTransaction,
            (_, _, _, TxState::Failed) => Holding::InFailedTransaction,
            _ => Holding::Session,
        }
    }

    /// When the last client message that began a query came in (`request_time`).
    pub fn requested(&self) -> Moment {
        self.requested
    }

    /// A message that asks the server for something has come.
    #[inline]
    pub(crate) fn note_request(&mut self, link: &Link, steps: &mut Steps, now: Moment) {
        if self.query_began == Moment(0) {
            self.query_began = now;
            self.requested = now;
            steps.counts.queries += 1;
            if self.xact_began == Moment(0) && link.tx == TxState::Idle {
                self.xact_began = now;
                steps.counts.xacts += 1;
            }
        }
    }
}
