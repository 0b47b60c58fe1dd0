//! The reference model: what a shell knows of clients, connections and limits, kept apart from the machine's books.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll_pool::{
    CancelVerdict, Class, Failure, Globals, Pick, PoolSpec, Pools, Request, Requested, Returned, SlotState,
    Standing, WaitCause, Walsenders,
};
use plimsoll_types::{
    Cause, ClientId, DatabaseId, HoldId, Moment, PoolId, SlotId, TargetId, Ticket, UserId, WorkerId,
};

use crate::ops::{Back, Fail, Op, PoolShape, Shape};
use crate::shares::{Grants, Shares};

/// A client that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) pool: PoolId,
    pub(crate) worker: WorkerId,
    pub(crate) client: ClientId,
    pub(crate) since: Moment,
    pub(crate) turn: u64,
    pub(crate) class: Class,
    pub(crate) weight: u32,
}

/// What the shell is doing with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    Opening,
    Idle { since: Moment },
    Held { hold: HoldId },
    Cleaning,
    Checking,
    Closing,
    Lost,
}

/// A connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) pool: PoolId,
    pub(crate) target: TargetId,
    pub(crate) database: DatabaseId,
    pub(crate) user: UserId,
    pub(crate) home: WorkerId,
    pub(crate) doing: Doing,
    pub(crate) cancels: u32,
    /// Whether it is for replication, so that its place is among the walsenders.
    pub(crate) streams: bool,
}

/// The world outside the machine.
pub(crate) struct World {
    pub(crate) pools: Pools,
    pub(crate) now: Moment,
    pub(crate) slack: Duration,
    pub(crate) targets: Vec<(TargetId, Option<u32>)>,
    pub(crate) walsenders: BTreeMap<TargetId, Option<u32>>,
    pub(crate) databases: BTreeMap<u32, Option<u32>>,
    pub(crate) users: BTreeMap<u32, Option<u32>>,
    pub(crate) specs: BTreeMap<PoolId, PoolSpec>,
    pub(crate) paused: BTreeSet<Option<u32>>,
    pub(crate) waiting: BTreeMap<Ticket, Waits>,
    grants: Grants,
    pub(crate) shares: Shares,
    tickets: BTreeSet<Ticket>,
    pub(crate) connections: BTreeMap<SlotId, Connection>,
    pub(crate) gone: Vec<SlotId>,
    pub(crate) orphans: Vec<SlotId>,
    pub(crate) holds: BTreeSet<HoldId>,
    clients: u64,
    pub(crate) moves: u64,
}

/// The pool that one for replication stands beside.
fn beside(spec: &PoolSpec) -> Option<PoolId> {
    match spec.standing {
        Standing::Replication { beside } => Some(beside),
        Standing::Ordinary | Standing::Guaranteed => None,
    }
}

/// The same pool for replication.
fn stream_of(mut spec: PoolSpec, beside: PoolId) -> PoolSpec {
    spec.standing = Standing::Replication { beside };
    (spec.limits.min_size, spec.limits.guaranteed) = (0, 0);
    spec
}

/// The `n`th of some, going round.
fn pick<T: Copy>(some: &[T], n: usize) -> Option<T> {
    some.get(n.checked_rem(some.len())?).copied()
}

impl World {
    pub(crate) fn new(shape: &Shape, grants: Grants) -> World {
        let slack = Duration::from_millis(shape.slack_ms);
        let mut world = World {
            pools: Pools::new(Globals { fairness_slack: slack, ..Globals::default() }),
            now: Moment(1_000_000),
            slack,
            targets: Vec::new(),
            walsenders: BTreeMap::new(),
            databases: BTreeMap::new(),
            users: BTreeMap::new(),
            specs: BTreeMap::new(),
            paused: BTreeSet::new(),
            waiting: BTreeMap::new(),
            grants,
            shares: Shares::default(),
            tickets: BTreeSet::new(),
            connections: BTreeMap::new(),
            gone: Vec::new(),
            orphans: Vec::new(),
            holds: BTreeSet::new(),
            clients: 0,
            moves: 0,
        };
        for budget in &shape.budgets {
            let target = world.pools.add_target(*budget);
            world.targets.push((target, *budget));
        }
        for pool in &shape.pools {
            world.add_pool(pool);
        }
        world
    }

    fn spec(&self, shape: &PoolShape) -> PoolSpec {
        let targets = self.targets.iter().enumerate().filter(|(bit, _)| shape.targets & (1 << bit) != 0);
        PoolSpec {
            database: DatabaseId(shape.database),
            user: UserId(shape.user),
            targets: targets.map(|(_, (target, _))| *target).collect(),
            pick: if shape.until_failure { Pick::UntilFailure } else { Pick::RoundRobin },
            standing: Standing::Ordinary,
            limits: shape.limits.clone(),
        }
    }

    fn add_pool(&mut self, shape: &PoolShape) {
        let pool = self.add_spec(self.spec(shape));
        if shape.replicates {
            self.add_spec(stream_of(self.spec(shape), pool));
        }
    }

    fn add_spec(&mut self, spec: PoolSpec) -> PoolId {
        let pool = self.pools.add_pool(spec.clone(), self.now);
        assert!(self.specs.insert(pool, spec).is_none(), "{pool:?} used twice");
        pool
    }

    /// Whether a pool is for replication, and the other one of such a pair.
    pub(crate) fn is_stream(&self, pool: PoolId) -> bool {
        self.specs.get(&pool).is_some_and(|spec| beside(spec).is_some())
    }

    pub(crate) fn beside(&self, pool: PoolId) -> Option<PoolId> {
        let spec = self.specs.get(&pool)?;
        let is_its = |other: &PoolSpec| beside(other) == Some(pool);
        let stream = self.specs.iter().find(|(_, other)| is_its(other)).map(|(id, _)| *id);
        beside(spec).or(stream).filter(|other| self.specs.contains_key(other))
    }

    fn pool(&self, n: usize) -> Option<PoolId> {
        pick(&self.specs.keys().copied().collect::<Vec<_>>(), n)
    }

    pub(crate) fn slots(&self, is: impl Fn(&Connection) -> bool) -> Vec<SlotId> {
        self.connections.iter().filter(|(_, connection)| is(connection)).map(|(slot, _)| *slot).collect()
    }

    /// Lets one thing happen, carries out what the machine wants done, and compares.
    pub(crate) fn step(&mut self, op: &Op) {
        match op {
            Op::Request { pool, worker, wait_ms } => self.request(*pool, WorkerId(*worker), *wait_ms),
            Op::Withdraw(n) => self.withdraw(*n),
            Op::Cancel(n) => self.cancel(*n),
            Op::CancelEnded(n) => self.cancel_ended(*n),
            Op::Wait(ms) => self.wait(Duration::from_millis(*ms)),
            Op::Drift(ms) => self.now = self.now + Duration::from_millis(*ms),
            Op::Stale(n) => self.stale(*n),
            Op::Return(..)
            | Op::Opened(..)
            | Op::Failed(..)
            | Op::Cleaned(_)
            | Op::Closed(_)
            | Op::Lost(_)
            | Op::IdleBroken(_) => self.step_server(op),
            Op::Budget(..)
            | Op::Walsenders(..)
            | Op::DatabaseLimit(..)
            | Op::UserLimit(..)
            | Op::AddPool(_)
            | Op::SetPool(..)
            | Op::RemovePool(_)
            | Op::Clients(..) => self.step_configuration(op),
            Op::Pause(_) | Op::Resume(_) | Op::Reconnect(_) | Op::RefuseWaiters(_) => self.step_admin(op),
        }
        self.settle();
    }

    fn request(&mut self, n: usize, worker: WorkerId, wait_ms: u64) {
        let Some(pool) = self.pool(n) else { return };
        self.clients += 1;
        let client = ClientId(self.clients);
        let wait_max = Duration::from_millis(wait_ms);
        let (class, weight) = self.grants.of(n);
        let wait_cause = WaitCause::QueryWaitTimeout;
        let request = Request { pool, client, worker, wait_max, wait_cause, class, weight };
        match self.pools.handle_request(request, self.now) {
            Requested::Granted(grant) => {
                assert!(!self.waiting.values().any(|other| other.pool == pool), "overtook a waiter");
                self.granted(pool, worker, grant);
            }
            Requested::Queued(ticket) => {
                assert!(self.tickets.insert(ticket), "{ticket:?} used twice");
                let (since, turn) = (self.now, self.clients);
                let waits = Waits { pool, worker, client, since, turn, class, weight };
                self.share(&waits);
                self.waiting.insert(ticket, waits);
            }
            Requested::Refused(_) => {}
        }
    }

    fn withdraw(&mut self, n: usize) {
        let tickets: Vec<Ticket> = self.waiting.keys().copied().collect();
        if let Some(ticket) = pick(&tickets, n) {
            self.pools.handle_withdrawn(ticket, self.now);
            if let Some(waits) = self.waiting.remove(&ticket) {
                self.unshare(waits.pool);
            }
        }
    }

    fn step_server(&mut self, op: &Op) {
        match *op {
            Op::Return(n, back) => {
                let held = self.slots(|connection| matches!(connection.doing, Doing::Held { .. }));
                if let Some(slot) = pick(&held, n) {
                    self.give_back(slot, back);
                }
            }
            Op::Opened(n, worker) => {
                if let Some(slot) = pick(&self.slots(|connection| connection.doing == Doing::Opening), n) {
                    self.opened(slot, WorkerId(worker));
                }
            }
            Op::Failed(n, fail) => {
                let is = |doing| matches!(doing, Doing::Opening | Doing::Cleaning | Doing::Checking);
                if let Some(slot) = pick(&self.slots(|connection| is(connection.doing)), n) {
                    self.failed(slot, fail);
                }
            }
            Op::Cleaned(n) => {
                let is = |doing| matches!(doing, Doing::Cleaning | Doing::Checking);
                if let Some(slot) = pick(&self.slots(|connection| is(connection.doing)), n) {
                    self.cleaned(slot);
                }
            }
            Op::Closed(n) => {
                let is = |doing| matches!(doing, Doing::Closing | Doing::Lost);
                if let Some(slot) = pick(&self.slots(|connection| is(connection.doing)), n) {
                    self.closed(slot);
                }
            }
            Op::Lost(n) => {
                if let Some(slot) = pick(&self.slots(|connection| connection.doing == Doing::Closing), n) {
                    self.set(slot, Doing::Lost);
                    self.pools.handle_lost(slot, self.now);
                }
            }
            Op::IdleBroken(n) => {
                let idle = self.slots(|connection| matches!(connection.doing, Doing::Idle { .. }));
                if let Some(slot) = pick(&idle, n) {
                    self.pools.handle_idle_broken(slot, Cause::ServerEof, self.now);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn give_back(&mut self, slot: SlotId, back: Back) {
        self.set(slot, Doing::Idle { since: self.now });
        let returned = match back {
            Back::Clean => Returned::Clean,
            Back::Dirty => Returned::Dirty,
            Back::Unusable => Returned::Unusable(Cause::ServerStateUnknown),
        };
        self.pools.handle_returned(slot, returned, self.now);
    }

    pub(crate) fn opened(&mut self, slot: SlotId, worker: WorkerId) {
        self.set(slot, Doing::Idle { since: self.now });
        self.connection(slot).home = worker;
        self.pools.handle_opened(slot, worker, self.now);
    }

    fn failed(&mut self, slot: SlotId, fail: Fail) {
        self.forget(slot);
        let failure = match fail {
            Fail::Connect => Failure::Connect(Cause::ConnectFailed),
            Fail::Login => Failure::Login(Cause::WrongPasswordType),
            Fail::Full => Failure::Full(Cause::MaxClientConn),
            Fail::Lost => Failure::Lost(Cause::CleaningFailed),
        };
        self.pools.handle_failed(slot, failure, self.now);
    }

    pub(crate) fn cleaned(&mut self, slot: SlotId) {
        self.set(slot, Doing::Idle { since: self.now });
        self.pools.handle_cleaned(slot, self.now);
    }

    pub(crate) fn closed(&mut self, slot: SlotId) {
        self.forget(slot);
        self.pools.handle_closed(slot, self.now);
    }

    fn cancel(&mut self, n: usize) {
        let held = self.slots(|connection| matches!(connection.doing, Doing::Held { .. }));
        let Some(slot) = pick(&held, n) else { return };
        let Doing::Held { hold } = self.connection(slot).doing else { return };
        assert!(self.pools.is_held(slot, hold) && !self.pools.is_held(slot, HoldId(0)), "is_held");
        let pool = self.connection(slot).pool;
        let size = self.specs.get(&pool).map_or(0, |spec| spec.limits.size.max(1));
        match self.pools.handle_cancel(slot, hold) {
            CancelVerdict::Go => self.connection(slot).cancels += 1,
            CancelVerdict::Wait => {
                let pool = self.connection(slot).pool;
                assert!(
                    self.pools.counts(pool, self.now).cancels >= 2 * size.min(1 << 20),
                    "waits for nothing"
                );
            }
            CancelVerdict::Stale => panic!("{slot:?} is held by {hold:?}"),
        }
    }

    fn cancel_ended(&mut self, n: usize) {
        let mut slots = self.slots(|connection| connection.cancels > 0);
        slots.extend(&self.orphans);
        if let Some(slot) = pick(&slots, n) {
            self.end_cancel(slot);
        }
    }

    pub(crate) fn end_cancel(&mut self, slot: SlotId) {
        match self.connections.get_mut(&slot) {
            Some(connection) => {
                connection.cancels -= 1;
                if let Doing::Idle { since } = &mut connection.doing {
                    *since = self.now;
                }
            }
            None => {
                let at = self.orphans.iter().position(|orphan| *orphan == slot).expect("an orphan");
                self.orphans.swap_remove(at);
            }
        }
        self.pools.handle_cancel_ended(slot, self.now);
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.pools.handle_timeout(self.now);
        assert!(self.pools.poll_timeout().is_none_or(|due| due > self.now), "a timeout that never ends");
    }

    /// Ids of what is gone are harmless.
    fn stale(&mut self, n: usize) {
        let Some(slot) = pick(&self.gone, n) else { return };
        let before = self.states();
        self.pools.handle_returned(slot, Returned::Clean, self.now);
        self.pools.handle_opened(slot, WorkerId(0), self.now);
        self.pools.handle_failed(slot, Failure::Lost(Cause::CleaningFailed), self.now);
        self.pools.handle_cleaned(slot, self.now);
        self.pools.handle_idle_broken(slot, Cause::ServerEof, self.now);
        self.pools.handle_closed(slot, self.now);
        self.pools.handle_lost(slot, self.now);
        assert_eq!(self.pools.handle_cancel(slot, HoldId(1)), CancelVerdict::Stale);
        assert_eq!(self.pools.slot(slot), None);
        if !self.orphans.contains(&slot) {
            self.pools.handle_cancel_ended(slot, self.now);
        }
        assert_eq!(before, self.states());
        if let Some(ticket) = self.tickets.iter().find(|ticket| !self.waiting.contains_key(ticket)) {
            self.pools.handle_withdrawn(*ticket, self.now);
        }
    }

    fn states(&self) -> BTreeMap<SlotId, (SlotState, Option<HoldId>)> {
        self.pools.slots().map(|view| (view.id, (view.state, view.holder.map(|(_, hold)| hold)))).collect()
    }

    fn step_configuration(&mut self, op: &Op) {
        match op {
            Op::Budget(n, max) => {
                let n = n % self.targets.len();
                self.targets[n].1 = *max;
                self.pools.set_budget(self.targets[n].0, *max, self.now);
            }
            Op::Walsenders(n, max) => {
                let (target, _) = self.targets[n % self.targets.len()];
                self.walsenders.insert(target, *max);
                self.pools.set_walsenders(target, Walsenders::Apart(*max), self.now);
            }
            Op::DatabaseLimit(database, max) => {
                self.databases.insert(*database, *max);
                self.pools.set_database_limit(DatabaseId(*database), *max, self.now);
            }
            Op::UserLimit(user, max) => {
                self.users.insert(*user, *max);
                self.pools.set_user_limit(UserId(*user), *max, self.now);
            }
            Op::AddPool(shape) if self.specs.len() < 8 => self.add_pool(shape),
            Op::SetPool(n, shape) => self.set_pool(*n, shape),
            Op::RemovePool(n) => {
                if let Some(pool) = self.pool(*n) {
                    self.remove_pool(pool);
                }
            }
            Op::Clients(n, clients) => {
                if let Some(pool) = self.pool(*n) {
                    self.pools.set_clients(pool, *clients, self.now);
                }
            }
            _ => {}
        }
    }

    fn set_pool(&mut self, n: usize, shape: &PoolShape) {
        let Some(pool) = self.pool(n) else { return };
        let (pool, stream) = match (self.is_stream(pool), self.beside(pool)) {
            (false, stream) => (pool, stream),
            (true, Some(ordinary)) => (ordinary, Some(pool)),
            (true, None) => return,
        };
        let spec = self.spec(shape);
        self.pools.set_pool(pool, spec.clone(), self.now);
        self.specs.insert(pool, spec.clone());
        // What follows from that is done before the other one changes.
        self.settle();
        if let Some(stream) = stream {
            let spec = stream_of(spec.clone(), pool);
            self.pools.set_pool(stream, spec.clone(), self.now);
            self.specs.insert(stream, spec);
        }
    }

    pub(crate) fn remove_pool(&mut self, pool: PoolId) {
        self.specs.remove(&pool);
        self.pools.remove_pool(pool, Cause::DatabaseRemoved, self.now);
    }

    fn step_admin(&mut self, op: &Op) {
        let now = self.now;
        match *op {
            Op::Pause(scope) => {
                self.paused.insert(scope);
                self.pools.pause(scope.map(DatabaseId), now);
            }
            Op::Resume(scope) => {
                self.paused.remove(&scope);
                self.pools.resume(scope.map(DatabaseId), now);
                assert!(!self.pools.is_paused(scope.map(DatabaseId)));
            }
            Op::Reconnect(scope) => self.pools.reconnect(scope.map(DatabaseId), now),
            Op::RefuseWaiters(scope) => {
                self.pools.refuse_waiters(scope.map(DatabaseId), Cause::DatabaseRemoved, now);
            }
            _ => {}
        }
    }

    pub(crate) fn connection(&mut self, slot: SlotId) -> &mut Connection {
        self.connections.get_mut(&slot).expect("the machine speaks of connections that are there")
    }

    pub(crate) fn set(&mut self, slot: SlotId, doing: Doing) {
        self.connection(slot).doing = doing;
    }

    fn forget(&mut self, slot: SlotId) {
        if let Some(connection) = self.connections.remove(&slot) {
            self.gone.push(slot);
            self.orphans.extend(std::iter::repeat_n(slot, connection.cancels as usize));
        }
    }
}
