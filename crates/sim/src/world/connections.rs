//! What becomes of connections: logins, queries of ours, closing.

use plimsoll_pool::Failure;
use plimsoll_types::{Cause, Moment, PoolId, SlotId, TargetId, WorkerId};

use super::{Attempt, Connection, Doing, Event, Kept, Used, World};
use crate::history::{Answer, Farewell, Login};
use crate::server::{Admission, Condition};

/// `server_connect_timeout`, microseconds.
const CONNECT_TIMEOUT_US: u64 = 3_000_000;

/// How long the shell waits for the answer to a query of its own, microseconds.
const QUERY_TIMEOUT_US: u64 = 2_000_000;

/// `close_timeout`, microseconds.
const CLOSE_TIMEOUT_US: u64 = 2_000_000;

/// `lost_max`, microseconds: longer than any backend here lives.
pub(crate) const LOST_MAX_US: u64 = 32_000_000;

impl World {
    /// The shell connects. A login that is under way has a place at the server from its first moment.
    pub(crate) fn connect(&mut self, slot: SlotId, pool: PoolId, target: TargetId, home: WorkerId) {
        let shape = &self.pools[&pool].shape;
        let (database, user) = (shape.database, shape.user);
        let server = &mut self.servers[target.0 as usize];
        let mood = server.mood;
        let place = match mood.login {
            Login::Accept | Login::AcceptAndDie | Login::WrongPassword | Login::HangInside => {
                Some(server.admit(slot))
            }
            Login::Nobody | Login::StartingUp | Login::HangOutside | Login::RoleFull => None,
        };
        let (attempt, backend) = match (mood.login, place) {
            (_, Some(Admission::Full)) => (Attempt::Full, None),
            (Login::AcceptAndDie, Some(Admission::In(id))) => (Attempt::InAndDead, Some(id)),
            (Login::WrongPassword, Some(Admission::In(id))) => (Attempt::WrongPassword, Some(id)),
            (Login::HangInside, Some(Admission::In(id))) => (Attempt::NoAnswer, Some(id)),
            (_, Some(Admission::In(id))) => (Attempt::In, Some(id)),
            (Login::RoleFull, None) => (Attempt::RoleFull, None),
            (Login::HangOutside, None) => (Attempt::NoAnswer, None),
            (_, None) => (Attempt::Refused, None),
        };
        let after_us = if attempt == Attempt::NoAnswer { CONNECT_TIMEOUT_US } else { mood.login_us };
        self.connections.insert(
            slot,
            Connection {
                pool,
                target,
                database,
                user,
                home,
                doing: Doing::Opening(attempt),
                since: self.now,
                epoch: 0,
                used: Used::NotSince,
                cancels: 0,
                backend,
            },
        );
        self.enter(after_us, Event::LoginEnds(slot, 0));
    }

    pub(crate) fn login_ends(&mut self, slot: SlotId, epoch: u32) {
        let now = self.now;
        let Some(connection) = self.at_epoch(slot, epoch) else { return };
        let Doing::Opening(attempt) = connection.doing else { return };
        let (home, target) = (connection.home, connection.target);
        self.tell(|| format!("login of {slot:?}: {attempt:?}"));
        let failure = match attempt {
            Attempt::In | Attempt::InAndDead => {
                if !self.is_alive(slot) {
                    return;
                }
                self.set_condition(slot, Condition::Clean);
                self.set(slot, Doing::Idle);
                self.ledger.open(slot, now);
                self.talks.open(slot);
                if attempt == Attempt::InAndDead {
                    self.kill(slot, self.servers[target.0 as usize].mood.close_us);
                }
                return self.driver.opened(slot, home, now);
            }
            Attempt::NoAnswer if self.is_alive(slot) => {
                self.set(slot, Doing::Lost);
                self.driver.failed_unseen(slot, Failure::Connect(Cause::ConnectFailed), now);
                return self.await_end(slot);
            }
            Attempt::NoAnswer | Attempt::Refused => Failure::Connect(Cause::ConnectFailed),
            Attempt::Full => {
                self.tally.full += 1;
                Failure::Full(Cause::MaxClientConn)
            }
            Attempt::RoleFull => Failure::Limited(Cause::MaxClientConn),
            Attempt::WrongPassword => Failure::Login(Cause::WrongPasswordType),
        };
        self.end_backend(slot, 0);
        self.fail(slot, failure);
    }

    /// An attempt or a query of ours has failed, and nothing is left of the connection.
    pub(crate) fn fail(&mut self, slot: SlotId, failure: Failure) {
        self.forget(slot);
        self.driver.failed(slot, failure, self.now);
    }

    /// The shell begins a query of its own.
    pub(crate) fn query(&mut self, slot: SlotId, doing: Doing) {
        self.set(slot, doing);
        let connection = self.connection(slot);
        let (target, epoch) = (connection.target, connection.epoch);
        self.set_condition(slot, Condition::Busy);
        let answer_us = self.servers[target.0 as usize].mood.answer_us;
        self.enter(answer_us.min(QUERY_TIMEOUT_US), Event::QueryEnds(slot, epoch));
    }

    pub(crate) fn query_ends(&mut self, slot: SlotId, epoch: u32) -> Kept {
        let now = self.now;
        if !self.is_alive(slot) {
            return Ok(());
        }
        let Some(connection) = self.at_epoch(slot, epoch).copied() else { return Ok(()) };
        let doing = connection.doing;
        let since = connection.since;
        let mood = self.servers[connection.target.0 as usize].mood;
        if now.micros_since(since) >= QUERY_TIMEOUT_US {
            self.set(slot, Doing::Lost);
            self.driver.failed_unseen(slot, Failure::Lost(Cause::CleaningFailed), now);
            self.await_end(slot);
            return Ok(());
        }
        match mood.answer {
            Answer::Fails => {
                self.end_backend(slot, 0);
                self.fail(slot, Failure::Lost(Cause::CleaningFailed));
            }
            Answer::Well => {
                self.run_round(slot, doing)?;
                self.set_condition(slot, Condition::Clean);
                self.set(slot, Doing::Idle);
                if doing == Doing::Checking {
                    self.connection(slot).used = Used::NotSince;
                }
                self.driver.cleaned(slot, now);
            }
        }
        Ok(())
    }

    /// The shell lets a connection go.
    pub(crate) fn begin_close(&mut self, slot: SlotId) {
        self.tally.closes += 1;
        self.set(slot, Doing::Closing);
        let target = self.connection(slot).target;
        let mood = self.servers[target.0 as usize].mood;
        if !self.is_alive(slot) {
            return self.enter(0, Event::SeenClosed(slot));
        }
        self.end_backend(slot, mood.close_us);
        match mood.farewell {
            Farewell::Seen => self.enter(mood.close_us, Event::SeenClosed(slot)),
            Farewell::Unseen => self.enter(LOST_MAX_US, Event::SeenClosed(slot)),
        }
        self.enter(CLOSE_TIMEOUT_US, Event::CloseTimeout(slot));
    }

    /// The shell has let go without having been heard: when is the end seen?
    fn await_end(&mut self, slot: SlotId) {
        let target = self.connection(slot).target;
        let close_us = self.servers[target.0 as usize].mood.close_us;
        self.end_backend(slot, close_us);
        self.enter(close_us, Event::SeenClosed(slot));
    }

    pub(crate) fn close_timeout(&mut self, slot: SlotId) {
        let closing =
            self.connections.get(&slot).is_some_and(|connection| connection.doing == Doing::Closing);
        if closing {
            self.set(slot, Doing::Lost);
            self.driver.lost(slot, self.now);
        }
    }

    pub(crate) fn seen_closed(&mut self, slot: SlotId) {
        if self.connections.contains_key(&slot) {
            self.forget(slot);
            self.driver.closed(slot, self.now);
        }
    }

    /// The backend ends after a while.
    pub(crate) fn end_backend(&mut self, slot: SlotId, after_us: u64) {
        let Some(connection) = self.connections.get(&slot) else { return };
        let (target, Some(backend)) = (connection.target, connection.backend) else { return };
        let server = &mut self.servers[target.0 as usize];
        if after_us == 0 {
            server.end(backend);
        } else {
            server.set(backend, Condition::Ending);
            self.enter(after_us, Event::BackendEnds(target, backend));
        }
    }

    pub(crate) fn set_condition(&mut self, slot: SlotId, condition: Condition) {
        let Some(connection) = self.connections.get(&slot) else { return };
        if let Some(backend) = connection.backend {
            self.servers[connection.target.0 as usize].set(backend, condition);
        }
    }

    pub(crate) fn condition(&self, slot: SlotId) -> Option<Condition> {
        let connection = self.connections.get(&slot)?;
        let server = &self.servers[connection.target.0 as usize];
        server.backend(connection.backend?).map(|backend| backend.condition)
    }

    /// Whether the server has a backend for it.
    pub(crate) fn is_alive(&self, slot: SlotId) -> bool {
        self.condition(slot).is_some()
    }

    fn at_epoch(&mut self, slot: SlotId, epoch: u32) -> Option<&mut Connection> {
        self.connections.get_mut(&slot).filter(|connection| connection.epoch == epoch)
    }

    pub(crate) fn connection(&mut self, slot: SlotId) -> &mut Connection {
        self.connections.get_mut(&slot).expect("the model speaks of connections that are there")
    }

    pub(crate) fn set(&mut self, slot: SlotId, doing: Doing) {
        let now: Moment = self.now;
        let connection = self.connection(slot);
        connection.doing = doing;
        connection.since = now;
        connection.epoch += 1;
    }

    pub(crate) fn forget(&mut self, slot: SlotId) {
        if self.connections.remove(&slot).is_some() {
            self.ledger.close(slot);
            self.talks.forget_connection(slot);
            self.gone.push(slot);
            self.gone_slots.insert(slot);
        }
    }
}
