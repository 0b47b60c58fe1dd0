//! Every rule of the pool, from outside.

use std::time::Duration;

use plimsoll_types::{
    Cause, ClientId, DatabaseId, Moment, PoolId, SlotId, TargetId, Ticket, UserId, WorkerId,
};

use crate::{
    Action, Failure, Globals, Grant, Moves, Pick, PoolLimits, PoolSpec, Pools, Request, Requested, Returned,
    SlotState, WaitCause,
};

/// A moment `ms` milliseconds after the start.
fn at(ms: u64) -> Moment {
    Moment(ms * 1000)
}

const HOME: WorkerId = WorkerId(0);
const AWAY: WorkerId = WorkerId(1);

/// PgBouncer's defaults, with a pool of two and nothing that closes by itself.
fn limits() -> PoolLimits {
    PoolLimits {
        size: 2,
        min_size: 0,
        min_always: false,
        reserve_size: 0,
        reserve_timeout: Duration::from_secs(5),
        lifetime: Duration::from_secs(3600),
        idle_timeout: Duration::from_secs(600),
        check_delay: Some(Duration::from_secs(30)),
        login_retry: Duration::from_secs(15),
        pool_idle_timeout: Duration::ZERO,
        round_robin: false,
    }
}

/// A [`Pools`] that is recounted after every call, and what it wanted done.
struct Bench {
    pools: Pools,
    clients: u64,
}

impl Bench {
    fn new() -> Bench {
        let globals = Globals { fairness_slack: Duration::from_millis(5) };
        Bench { pools: Pools::new(globals), clients: 0 }
    }

    /// One pool on one target without a budget.
    fn with_pool(limits: PoolLimits) -> (Bench, PoolId) {
        let mut bench = Bench::new();
        let target = bench.pools.add_target(None);
        let pool = bench.add_pool(0, 0, target, limits);
        (bench, pool)
    }

    fn add_pool(&mut self, database: u32, user: u32, target: TargetId, limits: PoolLimits) -> PoolId {
        let (database, user) = (DatabaseId(database), UserId(user));
        let spec = PoolSpec { database, user, targets: vec![target], pick: Pick::RoundRobin, limits };
        self.pools.add_pool(spec, at(0))
    }

    fn check(&self) {
        if let Err(difference) = self.pools.check() {
            panic!("{difference}");
        }
    }

    fn done(&mut self) -> Vec<Action> {
        self.check();
        std::iter::from_fn(|| self.pools.poll_action()).collect()
    }

    fn request(&mut self, pool: PoolId, worker: WorkerId, ms: u64) -> Requested {
        self.clients += 1;
        let client = ClientId(self.clients);
        let (wait_max, wait_cause) = (Duration::from_secs(120), WaitCause::QueryWaitTimeout);
        let answer =
            self.pools.handle_request(Request { pool, client, worker, wait_max, wait_cause }, at(ms));
        self.check();
        answer
    }
}

#[test]
fn first_request_opens_and_is_granted() {
    let (mut bench, pool) = Bench::with_pool(limits());
    let Requested::Queued(ticket) = bench.request(pool, HOME, 1) else { panic!("queued") };
    let [Action::Open { slot, .. }] = bench.done()[..] else { panic!("one opening") };
    bench.pools.handle_opened(slot, HOME, at(2));
    let [Action::Grant { ticket: granted, grant, .. }] = bench.done()[..] else { panic!("one grant") };
    assert_eq!((granted, grant.slot, grant.moves), (ticket, slot, Moves::Stays));
    bench.pools.handle_returned(slot, Returned::Clean, at(3));
    assert_eq!(bench.pools.slot(slot).map(|view| view.state), Some(SlotState::Idle));
    assert!(matches!(bench.request(pool, HOME, 4), Requested::Granted(Grant { moves: Moves::Stays, .. })));
    let _ = (AWAY, Cause::Exiting, SlotId { index: 0, generation: 0 }, Ticket { index: 0, generation: 0 });
    let _ = Failure::Lost(Cause::ServerCrashed);
}
