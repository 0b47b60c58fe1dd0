//! A client that is moved to another process: what it is taken apart into, and put together from.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use plimsoll_pool::{Grant, Request};
use plimsoll_session::{Packing, Session, SessionImage, Settings};
use plimsoll_types::{Moment, Ticket};

use super::{Account, Phase, Relay, SMALL_BYTES, Told};
use crate::directory::PoolEntry;
use crate::entry::ClientEntry;
use crate::hub::{Answer, Hub};
use crate::listener::ClientGuard;
use crate::outlet::Outlet;
use crate::server::ServerConn;
use crate::socket::Stream;

/// A place in no queue: word is in the mailbox already.
const NOWHERE: Ticket = Ticket { index: u32::MAX, generation: u32::MAX };

/// What a client is doing, as far as another process can go on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Its bytes are read as they come, and what is kept of them is looked at again.
    Open,
    /// It waits for a server connection.
    Waiting { since: Moment, told: bool },
    /// Its parameters are being set on the connection it has been granted.
    Settling,
    /// Its bytes wait for answers.
    Busy,
}

/// A client's task, as plain values.
pub(crate) struct Parts {
    pub(crate) doing: Doing,
    pub(crate) session: SessionImage,
    pub(crate) input: Vec<u8>,
    pub(crate) wanted: usize,
    /// Bytes for the client. `None`: they are in a spill, and go out from here.
    pub(crate) output: Option<Vec<u8>>,
}

impl Relay {
    /// What it is, and what it holds. Nothing changes.
    pub(crate) fn parts(&self, packing: &mut Packing) -> Parts {
        let doing = match self.phase {
            Phase::New | Phase::Open => Doing::Open,
            Phase::Waiting { since, told, .. } => Doing::Waiting { since, told: told == Told::Yes },
            Phase::Gated { since } => Doing::Waiting { since, told: false },
            Phase::Settling(_) => Doing::Settling,
            Phase::Busy => Doing::Busy,
        };
        let is_spilled = self.output.spill().is_some() || self.output.has_fate();
        Parts {
            doing,
            session: self.session.image(packing),
            input: self.input.clone(),
            wanted: self.wanted,
            output: (!is_spilled).then(|| self.output.pending().to_vec()),
        }
    }

    /// Whether everything is to stand still.
    #[inline]
    pub(crate) fn is_to_rest(&self) -> bool {
        self.hub.stillness.is_still()
    }

    /// What all share.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// The client.
    pub(crate) fn entry(&self) -> &Arc<ClientEntry> {
        &self.entry
    }

    /// Its pool.
    pub(crate) fn pool(&self) -> &Arc<PoolEntry> {
        &self.pool
    }

    /// What it holds.
    pub(crate) fn conn(&self) -> Option<&ServerConn> {
        self.conn.as_deref()
    }

    /// Its socket.
    pub(crate) fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    /// The rules by which it uses what it holds.
    pub(crate) fn settings(&self) -> &Arc<Settings> {
        self.session.settings()
    }

    /// It belongs to another process: nothing is said, nothing given back. What is left of it here: its socket, what
    /// has yet to go out, and its server connection.
    pub(crate) fn let_go_of(mut self) -> (Option<Stream>, Outlet, Option<Box<ServerConn>>) {
        (self.stream.take(), std::mem::take(&mut self.output), self.conn.take())
    }

    /// A client that comes from another process.
    pub(crate) fn adopt(
        (hub, stream, entry, pool): (Arc<Hub>, Stream, Arc<ClientEntry>, Arc<PoolEntry>),
        session: Session,
        held: Option<(Box<ServerConn>, Grant)>,
        rest: Rest,
        guard: ClientGuard,
    ) -> Relay {
        let held_settings = session.settings().clone();
        let mut relay = Relay::new(hub, stream, rest.input, entry, pool, session, guard);
        relay.wanted = rest.wanted;
        if !rest.output.is_empty() {
            relay.output.push(&rest.output);
        }
        // What it does with what it holds goes on by the rules it began with.
        if let Some((conn, grant)) = held {
            relay.session.set_settings(held_settings);
            relay.generation = relay.generation.wrapping_sub(1);
            relay.entry.standing.take();
            if rest.doing == Doing::Settling {
                relay.phase = Phase::Settling(grant);
            } else {
                relay.entry.set_held(&grant, relay.entry.requested());
            }
            relay.conn = Some(conn);
        }
        relay.entry.set_active();
        match rest.doing {
            Doing::Busy => relay.phase = Phase::Busy,
            Doing::Open | Doing::Settling => {}
            Doing::Waiting { since, .. } => relay.entry.set_waiting(since),
        }
        relay.account_adopted();
        relay.set_deadline();
        relay
    }

    fn account_adopted(&mut self) {
        let size = if self.input.len() > SMALL_BYTES { self.input.len() } else { 0 };
        let (counter, account) = match self.phase {
            Phase::New | Phase::Open => (&self.hub.collected, Account::Collected),
            Phase::Waiting { .. } | Phase::Gated { .. } | Phase::Settling(_) | Phase::Busy => {
                (&self.hub.held_back, Account::HeldBack)
            }
        };
        counter.fetch_add(size, Ordering::Relaxed);
        (self.accounted, self.account) = (size, account);
    }

    /// It has waited for a server connection in another process, and goes on waiting in its place.
    pub(crate) fn wait_again(&mut self, since: Moment, told: bool, now: Moment) {
        if self.hub.gate.is_for(&self.entry) && self.is_kept_out(since) {
            self.note_deadline();
            return;
        }
        let (class, weight) = self.class();
        let request = Request {
            pool: self.pool.id,
            client: self.entry.id,
            worker: self.worker,
            wait_max: self.wait.left(since, now),
            wait_cause: self.wait.cause,
            class,
            weight,
        };
        let ticket = match self.hub.request(request, &self.entry, now) {
            Answer::Queued(ticket) => {
                self.hub.with_pools(|pools, _| pools.has_waited_since(ticket, since));
                ticket
            }
            Answer::Granted(conn, grant) => {
                self.entry.post(|mail| mail.grant = Some((conn, grant)));
                NOWHERE
            }
            Answer::Refused(cause) => {
                self.entry.post(|mail| mail.refused = Some(Box::new(cause)));
                NOWHERE
            }
            Answer::StandsStill => {
                self.phase = Phase::Gated { since };
                return;
            }
        };
        let told = if told { Told::Yes } else { Told::No };
        self.phase = Phase::Waiting { ticket, since, told };
        self.note_deadline();
    }
}

/// What else there is of an adopted client.
pub(crate) struct Rest {
    pub(crate) doing: Doing,
    pub(crate) input: Vec<u8>,
    pub(crate) wanted: usize,
    pub(crate) output: Vec<u8>,
}
