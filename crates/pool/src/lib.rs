//! Who gets which server connection, when.
//!
//! Pure decisions: no sockets, no clock, no locks, no wire messages. Events come in by `handle_*`, decisions go out by
//! [`Pools::poll_action`]; the shell (`proxy`) holds one short mutex around a [`Pools`], drains the actions and
//! carries them out. The invariants 1 to 4 of architecture.md hold after every call ([`Pools::check`]).
//!
//! | module | what it decides |
//! |---|---|
//! | `nouns` | the words of the interface |
//! | `clients` | requests, withdrawals, returns |
//! | `hand` | whose turn it is when a connection is free |
//! | `room` | may a pool open one more, and who has to make room for it |
//! | `learn` | how many places a server has for us |
//! | `share` | whose share of what is scarce is too large |
//! | `replication` | connections that are one client's alone: opened for it, closed after it |
//! | `open` | attempts to connect, their failures and retries |
//! | `close` | what has to be closed, and what follows when it is |
//! | `cancel` | cancel requests and the race with the next client |
//! | `timers` | everything that happens because time goes by |
//! | `configure`, `admin` | limits and specs; PAUSE, RESUME, RECONNECT, KILL |
//! | `caps` | the gate in front of the queues: temporary caps, limits of grants |
//! | `adopt` | connections that another process hands over |
//! | `explain` | what is in the way of a newcomer |
//! | `views`, `check` | what the console sees; the recount |
//! | `classes` | whose turn it is in a queue that is shared by weight |
//! | `slots`, `limits`, `queue`, `pool` | the state: one function changes a slot's and keeps all counters |
//! | `table`, `list` | rows with generations, lists through them |

mod admin;
mod adopt;
mod cancel;
mod caps;
mod check;
mod classes;
mod clients;
mod close;
mod configure;
mod explain;
mod hand;
mod learn;
mod limits;
mod list;
mod nouns;
mod open;
mod pool;
mod queue;
mod replication;
mod room;
mod share;
mod slots;
mod table;
mod timers;
mod views;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use plimsoll_types::{Cause, DatabaseId, Moment, PoolId, SlotId, WorkerId};

pub use crate::adopt::{Adopted, AdoptedState, Future};
pub use crate::caps::{CapOf, CapView, Caps, Gate, Reach, Subject};
pub use crate::explain::{Admission, Obstacle};
pub use crate::nouns::{
    Action, BudgetSource, CancelVerdict, Class, Failure, Fairness, Globals, Grant, Moves, Pick, PoolCounts,
    PoolLimits, PoolSpec, Request, Requested, Retry, Returned, SlotState, SlotView, Standing, TargetView,
    Turn, USUAL_WEIGHT, Unreachable, WEIGHT_MAX, WaitCause, Walsenders,
};
use crate::pool::Pool;
use crate::queue::Waiters;
use crate::room::Claim;
use crate::slots::Slots;

/// All pools, slots, waiters and limits.
#[derive(Debug)]
pub struct Pools {
    globals: Globals,
    slots: Slots,
    waiters: Waiters,
    /// By pool id; `None` for a pool that is gone. Ids are not used again: eight bytes for every pool there ever was.
    pools: Vec<Option<Box<Pool>>>,
    /// PAUSE with and without a database.
    paused: Paused,
    /// Whoever would have to wait is refused for this cause.
    refusing: Option<Cause>,
    /// Pools whose waiters need a place under a limit that others have used up, with nothing idle to evict: whoever
    /// gives a connection back looks here.
    hungry: Vec<PoolId>,
    /// Pools whose waiters will have a place when what is closing has closed.
    patient: Vec<Claim>,
    /// Pools for which something was closed: they come first, until they have opened what they wanted.
    promised: Vec<PoolId>,
    /// Pools for which there is room, but as many logins are in flight as may be.
    rationed: Vec<PoolId>,
    /// Pools with a place of their own.
    guaranteed: Vec<PoolId>,
    /// Cancel connections whose slot is gone.
    orphans: BTreeMap<SlotId, Orphan>,
    actions: VecDeque<Action>,
    /// Pools that `pool_idle_timeout` has emptied, and how long nobody used them; for [`Pools::poll_given_up`].
    given_up: VecDeque<(PoolId, Duration)>,
    /// The latest moment anybody told us. Workers read the clock before they have the lock, so moments come a
    /// little out of order; here time never goes back.
    clock: Moment,
    /// When [`Pools::handle_timeout`] was called last.
    looked: Moment,
    holds: u64,
    moves: u64,
    /// How many workers have been seen, and whose turn it is to open a connection nobody waits for.
    workers: Workers,
}

/// What is paused.
#[derive(Debug, Default)]
struct Paused {
    all: bool,
    databases: BTreeSet<DatabaseId>,
}

impl Paused {
    fn covers(&self, database: DatabaseId) -> bool {
        self.all || self.databases.contains(&database)
    }
}

/// Cancel connections that outlived the connection they were meant for.
#[derive(Debug)]
struct Orphan {
    pool: PoolId,
    cancels: u32,
}

/// Workers in turn.
#[derive(Debug, Default)]
struct Workers {
    seen: u16,
    next: u16,
}

impl Workers {
    fn note(&mut self, worker: WorkerId) {
        self.seen = self.seen.max(worker.0.saturating_add(1));
    }

    fn in_turn(&mut self) -> WorkerId {
        let worker = self.next;
        self.next = if worker.saturating_add(1) >= self.seen { 0 } else { worker + 1 };
        WorkerId(worker)
    }
}

impl Pools {
    /// None yet.
    pub fn new(globals: Globals) -> Pools {
        Pools {
            globals,
            slots: Slots::new(),
            waiters: Waiters::new(),
            pools: Vec::new(),
            paused: Paused::default(),
            refusing: None,
            hungry: Vec::new(),
            patient: Vec::new(),
            promised: Vec::new(),
            rationed: Vec::new(),
            guaranteed: Vec::new(),
            orphans: BTreeMap::new(),
            actions: VecDeque::new(),
            given_up: VecDeque::new(),
            clock: Moment::default(),
            looked: Moment::default(),
            holds: 0,
            moves: 0,
            workers: Workers::default(),
        }
    }

    /// Next thing to do; drain it after every other call.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Next pool that `pool_idle_timeout` has emptied, and how long it had no client: PgBouncer logs a line for each.
    pub fn poll_given_up(&mut self) -> Option<(PoolId, Duration)> {
        self.given_up.pop_front()
    }

    /// Takes note of the time and answers it, never earlier than before.
    fn tick(&mut self, now: Moment) -> Moment {
        self.clock = self.clock.max(now);
        self.clock
    }

    fn find_pool(&self, pool: PoolId) -> Option<&Pool> {
        self.pools.get(pool.0 as usize)?.as_deref()
    }

    fn find_pool_mut(&mut self, pool: PoolId) -> Option<&mut Pool> {
        self.pools.get_mut(pool.0 as usize)?.as_deref_mut()
    }

    /// The pool of a slot or a waiter, or one from [`Pools::all_pools`]: it exists as long as these do.
    fn pool(&self, pool: PoolId) -> &Pool {
        self.find_pool(pool).expect("a pool outlives its slots and waiters")
    }

    fn pool_mut(&mut self, pool: PoolId) -> &mut Pool {
        self.find_pool_mut(pool).expect("a pool outlives its slots and waiters")
    }

    fn all_pools(&self) -> impl Iterator<Item = (PoolId, &Pool)> {
        (0..).map(PoolId).zip(self.pools.iter()).filter_map(|(id, pool)| Some((id, pool.as_deref()?)))
    }

    /// Pools of a database; `None`: all.
    fn pools_of(&self, database: Option<DatabaseId>) -> Vec<PoolId> {
        let in_scope = |pool: &Pool| database.is_none_or(|database| pool.spec().database == database);
        self.all_pools().filter(|(_, pool)| in_scope(pool)).map(|(id, _)| id).collect()
    }
}
