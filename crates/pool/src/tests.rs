//! Every rule of the pool, from outside; everything is recounted after every call.

mod admin;
mod cancel;
mod hand;
mod open;
mod replication;
mod room;
mod rush;
mod sharing;
mod timers;
mod weights;

use std::time::Duration;

use plimsoll_types::{
    Cause, ClientId, DatabaseId, HoldId, Moment, PoolId, SlotId, TargetId, Ticket, UserId, WorkerId,
};

use crate::{
    Action, Admission, BudgetSource, Class, Failure, Fairness, Globals, Grant, Obstacle, Pick, PoolLimits,
    PoolSpec, Pools, Request, Requested, Retry, Returned, SlotState, Standing, USUAL_WEIGHT, Unreachable,
    WaitCause,
};

/// A moment `ms` milliseconds after the start.
fn at(ms: u64) -> Moment {
    Moment(ms * 1000)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const HOME: WorkerId = WorkerId(0);
const AWAY: WorkerId = WorkerId(1);

/// PgBouncer's defaults with a small size.
fn limits(size: u32) -> PoolLimits {
    PoolLimits {
        size,
        min_size: 0,
        min_always: false,
        reserve_size: 0,
        reserve_timeout: secs(5),
        lifetime: secs(3600),
        idle_timeout: secs(600),
        check_delay: Some(secs(30)),
        retry: Retry::Fixed(secs(15)),
        unreachable: Unreachable::Refuse,
        guaranteed: 0,
        weight: 1,
        fairness: Fairness::Fifo,
        pool_idle_timeout: Duration::ZERO,
        round_robin: false,
    }
}

/// A machine that is recounted after every call, and the shell around it.
struct Bench {
    pools: Pools,
    clients: u64,
}

impl Bench {
    fn new() -> Bench {
        Bench { pools: Pools::new(Globals::default()), clients: 0 }
    }

    /// One pool on one target without a budget.
    fn with_pool(limits: PoolLimits) -> (Bench, PoolId) {
        let mut bench = Bench::new();
        let target = bench.pools.add_target(None);
        let pool = bench.add_pool(0, 0, &[target], limits);
        (bench, pool)
    }

    fn spec(database: u32, user: u32, targets: &[TargetId], limits: PoolLimits) -> PoolSpec {
        let (database, user, targets) = (DatabaseId(database), UserId(user), targets.to_vec());
        PoolSpec { database, user, targets, pick: Pick::RoundRobin, standing: Standing::Ordinary, limits }
    }

    fn add_pool(&mut self, database: u32, user: u32, targets: &[TargetId], limits: PoolLimits) -> PoolId {
        self.pools.add_pool(Bench::spec(database, user, targets, limits), at(0))
    }

    /// What is to be done now.
    fn done(&mut self) -> Vec<Action> {
        self.check();
        std::iter::from_fn(|| self.pools.poll_action()).collect()
    }

    fn check(&self) {
        if let Err(difference) = self.pools.check() {
            panic!("{difference}");
        }
    }

    fn request(&mut self, pool: PoolId, worker: WorkerId, ms: u64) -> Requested {
        self.clients += 1;
        let client = ClientId(self.clients);
        let (wait_max, wait_cause) = (secs(120), WaitCause::QueryWaitTimeout);
        let answer = self.pools.handle_request(
            Request {
                pool,
                client,
                worker,
                wait_max,
                wait_cause,
                class: Class::Everybody,
                weight: USUAL_WEIGHT,
            },
            at(ms),
        );
        self.check();
        answer
    }

    fn granted(&mut self, pool: PoolId, worker: WorkerId, ms: u64) -> Grant {
        match self.request(pool, worker, ms) {
            Requested::Granted(grant) => grant,
            other => panic!("{other:?} instead of a grant"),
        }
    }

    fn queued(&mut self, pool: PoolId, worker: WorkerId, ms: u64) -> Ticket {
        match self.request(pool, worker, ms) {
            Requested::Queued(ticket) => ticket,
            other => panic!("{other:?} instead of a ticket"),
        }
    }

    fn refused(&mut self, pool: PoolId, ms: u64) -> Cause {
        match self.request(pool, HOME, ms) {
            Requested::Refused(cause) => cause,
            other => panic!("{other:?} instead of a refusal"),
        }
    }

    /// The one opening that is to be done now.
    fn opening(&mut self) -> SlotId {
        match self.done()[..] {
            [Action::Open { slot, .. }] => slot,
            ref other => panic!("{other:?} instead of an opening"),
        }
    }

    /// The one grant that is to be done now.
    fn grant(&mut self) -> (Ticket, Grant) {
        match self.done()[..] {
            [Action::Grant { ticket, grant, .. }] => (ticket, grant),
            ref other => panic!("{other:?} instead of a grant"),
        }
    }

    /// The one closing that is to be done now.
    fn closing(&mut self) -> (SlotId, Cause) {
        match &self.done()[..] {
            [Action::Close { slot, cause }] => (*slot, cause.clone()),
            other => panic!("{other:?} instead of a closing"),
        }
    }

    fn nothing(&mut self) {
        assert_eq!(self.done(), []);
    }

    /// A client of `worker` gets a connection that has to be opened for it.
    fn hold(&mut self, pool: PoolId, worker: WorkerId, ms: u64) -> Grant {
        let ticket = self.queued(pool, worker, ms);
        let slot = self.opening();
        self.pools.handle_opened(slot, worker, at(ms));
        let (granted, grant) = self.grant();
        assert_eq!((granted, grant.slot), (ticket, slot));
        grant
    }

    /// Clients of `worker` hold `count` newly opened connections.
    fn hold_many(&mut self, pool: PoolId, worker: WorkerId, count: usize, ms: u64) -> Vec<SlotId> {
        (0..count).map(|_| self.hold(pool, worker, ms).slot).collect()
    }

    fn give_back(&mut self, slot: SlotId, ms: u64) {
        self.pools.handle_returned(slot, Returned::Clean, at(ms));
    }

    fn fail(&mut self, slot: SlotId, failure: Failure, ms: u64) {
        self.pools.handle_failed(slot, failure, at(ms));
    }

    fn state(&self, slot: SlotId) -> Option<SlotState> {
        self.pools.slot(slot).map(|view| view.state)
    }
}
