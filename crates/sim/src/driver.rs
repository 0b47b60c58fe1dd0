//! The one place where the pool is called. [`Sabotage`] breaks it here on purpose, so that the simulator can be shown
//! to notice.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_pool::{
    Action, CancelVerdict, Failure, Fairness, Globals, Pick, PoolCounts, PoolLimits, PoolSpec, Pools,
    Request, Requested, Retry, Returned, SlotView, Standing, USUAL_WEIGHT, Unreachable, WaitCause,
};
use plimsoll_types::{Cause, DatabaseId, HoldId, Moment, PoolId, SlotId, TargetId, Ticket, UserId, WorkerId};

use crate::history::{Backoff, Limits, Minimum, Newcomers, Order, Picks, Place, PoolShape, Shape, Turns};

/// A wait that doubles with each failure grows to so many times what it was.
pub(crate) const BACKOFF: u64 = 4;

/// A mistake that is made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A connection that comes back is not reported.
    ForgetReturn,
    /// What must be cleaned is reported as clean.
    SkipCleaning,
    /// A client that waits is secretly put behind the one that has just come.
    SwapWaiters,
    /// What a client's grant weighs is not told.
    ForgetWeight,
    /// A grant gets lost.
    LoseGrant,
    /// The connection is reported closed when its closing begins.
    CloseEarly,
    /// Timeouts are not looked at any more.
    StopClock,
    /// An attempt to connect that failed is not reported.
    ForgetFailure,
    /// The end of a cancel request is reported when it begins.
    EndCancelEarly,
    /// Bytes of a server that are kept for later are forgotten.
    ForgetBytes,
    /// A connection that is left in the middle of something is given back as clean.
    LeaveBusy,
    /// What a server answers goes to another client.
    SwapClients,
    /// The bytes of a client that waited for a connection are lost.
    ForgetRequest,
    /// The reset query is taken for answered before it is sent.
    FakeReset,
}

/// The pool, and what we tell it.
#[derive(Debug)]
pub(crate) struct Driver {
    pools: Pools,
    sabotage: Option<Sabotage>,
    skew_us: u64,
    calls: u64,
    /// Counts what the pool was told and what it has decided.
    told: u64,
    /// That count when its books were last recounted.
    recounted: Cell<u64>,
    /// Who came last in a queue, and who is behind which ticket: for a sabotage.
    last: Option<(Request, Ticket)>,
    renamed: BTreeMap<Ticket, Ticket>,
}

fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

fn globals(slack_us: u64, logins_max: u32) -> Globals {
    Globals { fairness_slack: us(slack_us), connect_concurrency: logins_max, ..Globals::default() }
}

fn limits(limits: &Limits) -> PoolLimits {
    PoolLimits {
        size: limits.size,
        min_size: limits.min_size,
        min_always: limits.min == Minimum::Always,
        reserve_size: limits.reserve_size,
        reserve_timeout: us(limits.reserve_us),
        lifetime: us(limits.lifetime_us),
        idle_timeout: us(limits.idle_us),
        check_delay: limits.check_us.map(us),
        retry: match limits.backoff {
            Backoff::Fixed => Retry::Fixed(us(limits.login_retry_us)),
            Backoff::Doubling => Retry::Doubling {
                min: us(limits.login_retry_us),
                max: us(limits.login_retry_us * BACKOFF),
                refused: us(limits.login_retry_us * BACKOFF),
            },
        },
        unreachable: match limits.newcomers {
            Newcomers::Wait => Unreachable::Wait,
            Newcomers::AreRefused => Unreachable::Refuse,
        },
        guaranteed: limits.guaranteed,
        weight: limits.weight,
        fairness: match limits.turns {
            Turns::Arrival => Fairness::Fifo,
            Turns::Application => Fairness::Application,
        },
        pool_idle_timeout: us(limits.pool_idle_us),
        round_robin: limits.order == Order::Oldest,
    }
}

fn spec(shape: &PoolShape, targets: &[TargetId]) -> PoolSpec {
    PoolSpec {
        database: DatabaseId(shape.database),
        user: UserId(shape.user),
        targets: targets.to_vec(),
        pick: match shape.picks {
            Picks::InTurn => Pick::RoundRobin,
            Picks::UntilFailure => Pick::UntilFailure,
        },
        standing: match shape.place {
            Place::Ordinary => Standing::Ordinary,
            Place::Guaranteed => Standing::Guaranteed,
        },
        limits: limits(&shape.limits),
    }
}

impl Driver {
    pub(crate) fn new(shape: &Shape, sabotage: Option<Sabotage>) -> Driver {
        let pools = Pools::new(globals(shape.slack_us, shape.logins_max));
        let skew_us = shape.skew_us;
        Driver {
            pools,
            sabotage,
            skew_us,
            calls: 0,
            told: 1,
            recounted: Cell::new(0),
            last: None,
            renamed: BTreeMap::new(),
        }
    }

    /// How often something was told to the pool, or decided by it.
    pub(crate) fn times_told(&self) -> u64 {
        self.told
    }

    /// The pool, which is told something.
    fn told(&mut self) -> &mut Pools {
        self.told += 1;
        &mut self.pools
    }

    pub(crate) fn does(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }

    /// What a worker's clock said before it had the lock.
    fn clock(&mut self, now: Moment) -> Moment {
        self.calls += 1;
        Moment(now.0 - (self.calls * 7919) % (self.skew_us + 1))
    }

    // Clients.

    pub(crate) fn request(&mut self, mut request: Request, now: Moment) -> Requested {
        if self.does(Sabotage::ForgetWeight) {
            request.weight = USUAL_WEIGHT;
        }
        let now = self.clock(now);
        let answer = self.told().handle_request(request, now);
        if let Requested::Queued(ticket) = answer
            && self.does(Sabotage::SwapWaiters)
        {
            self.swap(request, ticket, now);
        }
        answer
    }

    /// Whoever came before this one is put behind it.
    fn swap(&mut self, request: Request, ticket: Ticket, now: Moment) {
        let before = self.last.replace((request, ticket));
        let Some((first, waits)) = before.filter(|(first, _)| first.pool == request.pool) else { return };
        self.told().handle_withdrawn(waits, now);
        if let Requested::Queued(behind) = self.told().handle_request(first, now) {
            self.renamed.insert(behind, waits);
        }
    }

    pub(crate) fn withdrawn(&mut self, ticket: Ticket, now: Moment) {
        let now = self.clock(now);
        let renamed = self.renamed.iter().find(|(_, known)| **known == ticket);
        let ticket = renamed.map_or(ticket, |(ticket, _)| *ticket);
        self.last = None;
        self.told().handle_withdrawn(ticket, now);
    }

    pub(crate) fn returned(&mut self, slot: SlotId, returned: Returned, now: Moment) {
        let returned = match returned {
            Returned::Dirty if self.does(Sabotage::SkipCleaning) => Returned::Clean,
            _ if self.does(Sabotage::ForgetReturn) => return,
            other => other,
        };
        let now = self.clock(now);
        self.told().handle_returned(slot, returned, now);
    }

    // Connections.

    pub(crate) fn opened(&mut self, slot: SlotId, worker: WorkerId, now: Moment) {
        let now = self.clock(now);
        self.told().handle_opened(slot, worker, now);
    }

    pub(crate) fn failed(&mut self, slot: SlotId, failure: Failure, now: Moment) {
        if !self.does(Sabotage::ForgetFailure) {
            let now = self.clock(now);
            self.told().handle_failed(slot, failure, now);
        }
    }

    pub(crate) fn failed_unseen(&mut self, slot: SlotId, failure: Failure, now: Moment) {
        let now = self.clock(now);
        self.told().handle_failed_unseen(slot, failure, now);
    }

    pub(crate) fn cleaned(&mut self, slot: SlotId, now: Moment) {
        let now = self.clock(now);
        self.told().handle_cleaned(slot, now);
    }

    pub(crate) fn closed(&mut self, slot: SlotId, now: Moment) {
        let now = self.clock(now);
        self.told().handle_closed(slot, now);
    }

    pub(crate) fn lost(&mut self, slot: SlotId, now: Moment) {
        let now = self.clock(now);
        self.told().handle_lost(slot, now);
    }

    pub(crate) fn idle_broken(&mut self, slot: SlotId, now: Moment) {
        let now = self.clock(now);
        self.told().handle_idle_broken(slot, Cause::ServerEof, now);
    }

    // Cancels.

    pub(crate) fn cancel(&mut self, slot: SlotId, hold: HoldId, now: Moment) -> CancelVerdict {
        let verdict = self.told().handle_cancel(slot, hold);
        if verdict == CancelVerdict::Go && self.does(Sabotage::EndCancelEarly) {
            self.told().handle_cancel_ended(slot, now);
        }
        verdict
    }

    pub(crate) fn is_held(&self, slot: SlotId, hold: HoldId) -> bool {
        self.pools.is_held(slot, hold)
    }

    pub(crate) fn cancel_ended(&mut self, slot: SlotId, now: Moment) {
        let now = self.clock(now);
        if !self.does(Sabotage::EndCancelEarly) {
            self.told().handle_cancel_ended(slot, now);
        }
    }

    pub(crate) fn cancel_lost(&mut self, slot: SlotId, now: Moment) {
        let now = self.clock(now);
        if !self.does(Sabotage::EndCancelEarly) {
            self.told().handle_cancel_lost(slot, now);
        }
    }

    // Time.

    pub(crate) fn timeout(&mut self, now: Moment) {
        if !self.does(Sabotage::StopClock) {
            self.told().handle_timeout(now);
        }
        while self.pools.poll_given_up().is_some() {}
    }

    pub(crate) fn due(&self) -> Option<Moment> {
        self.pools.poll_timeout()
    }

    // What it wants done.

    pub(crate) fn next_action(&mut self, now: Moment) -> Option<Action> {
        let mut action = self.pools.poll_action()?;
        self.told += 1;
        match &mut action {
            Action::Grant { .. } if self.does(Sabotage::LoseGrant) => return self.next_action(now),
            Action::Grant { ticket, .. } | Action::Refuse { ticket, .. } => {
                self.last = None;
                *ticket = self.renamed.remove(ticket).unwrap_or(*ticket);
            }
            Action::Close { slot, .. } if self.does(Sabotage::CloseEarly) => {
                self.told().handle_closed(*slot, now);
            }
            Action::Open { .. } | Action::Check { .. } | Action::Clean { .. } | Action::Close { .. } => {}
        }
        Some(action)
    }

    // Configuration.

    pub(crate) fn set_slack(&mut self, slack_us: u64, logins_max: u32) {
        self.told().set_globals(globals(slack_us, logins_max));
    }

    pub(crate) fn set_asked(&mut self, target: TargetId, places: Option<u32>, now: Moment) {
        self.told().set_asked(target, places, now);
    }

    pub(crate) fn set_allotted(&mut self, pool: PoolId, places: Option<u32>, now: Moment) {
        self.told().set_allotted(pool, places, now);
    }

    pub(crate) fn secret_changed(&mut self, pool: PoolId, now: Moment) {
        self.told().handle_secret_changed(pool, now);
    }

    pub(crate) fn add_target(&mut self, budget: Option<u32>) -> TargetId {
        self.told().add_target(budget)
    }

    pub(crate) fn set_budget(&mut self, target: TargetId, budget: Option<u32>, now: Moment) {
        self.told().set_budget(target, budget, now);
    }

    pub(crate) fn set_database_max(&mut self, database: u32, max: Option<u32>, now: Moment) {
        self.told().set_database_limit(DatabaseId(database), max, now);
    }

    pub(crate) fn set_user_max(&mut self, user: u32, max: Option<u32>, now: Moment) {
        self.told().set_user_limit(UserId(user), max, now);
    }

    pub(crate) fn add_pool(&mut self, shape: &PoolShape, targets: &[TargetId], now: Moment) -> PoolId {
        self.told().add_pool(spec(shape, targets), now)
    }

    pub(crate) fn set_pool(&mut self, pool: PoolId, shape: &PoolShape, targets: &[TargetId], now: Moment) {
        self.told().set_pool(pool, spec(shape, targets), now);
    }

    pub(crate) fn remove_pool(&mut self, pool: PoolId, now: Moment) {
        self.told().remove_pool(pool, Cause::DatabaseRemoved, now);
    }

    pub(crate) fn set_clients(&mut self, pool: PoolId, clients: u32, now: Moment) {
        self.told().set_clients(pool, clients, now);
    }

    pub(crate) fn renew_waits(&mut self, wait_us: u64) {
        self.told().renew_waits(|_, _| Some((us(wait_us), WaitCause::QueryWaitTimeout)));
    }

    // The console.

    pub(crate) fn pause(&mut self, database: Option<u32>, now: Moment) {
        self.told().pause(database.map(DatabaseId), now);
    }

    pub(crate) fn resume(&mut self, database: Option<u32>, now: Moment) {
        self.told().resume(database.map(DatabaseId), now);
    }

    pub(crate) fn reconnect(&mut self, database: Option<u32>, now: Moment) {
        self.told().reconnect(database.map(DatabaseId), now);
    }

    pub(crate) fn refuse_waiters(&mut self, database: Option<u32>, now: Moment) {
        self.told().refuse_waiters(database.map(DatabaseId), Cause::ServerShuttingDown, now);
    }

    pub(crate) fn refuse_all(&mut self, now: Moment) {
        self.told().refuse_all(Cause::ServerShuttingDown, now);
    }

    // What it thinks.

    /// The pool's own recount; there is nothing new to count if it has heard of nothing since.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.recounted.replace(self.told) == self.told {
            return Ok(());
        }
        self.pools.check()
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotView> {
        self.pools.slots()
    }

    pub(crate) fn slot(&self, slot: SlotId) -> Option<SlotView> {
        self.pools.slot(slot)
    }

    pub(crate) fn counts(&self, pool: PoolId, now: Moment) -> PoolCounts {
        self.pools.counts(pool, now)
    }

    pub(crate) fn target_used(&self, target: TargetId) -> u32 {
        self.pools.target_used(target)
    }

    pub(crate) fn database_used(&self, database: u32) -> u32 {
        self.pools.database_used(DatabaseId(database))
    }

    pub(crate) fn user_used(&self, user: u32) -> u32 {
        self.pools.user_used(UserId(user))
    }

    pub(crate) fn moves(&self) -> u64 {
        self.pools.moves()
    }
}
