//! Who gets which server connection, when.
//!
//! Pure decisions: no sockets, no clock, no locks, no wire messages. Events come in by `handle_*`, decisions go out by
//! [`Pools::poll_action`]; the shell (`proxy`) holds one short mutex around a [`Pools`], drains the actions and
//! carries them out. The invariants 1 to 4 of architecture.md hold after every call ([`Pools::check`]).

use std::time::Duration;

use plimsoll_types::{Cause, ClientId, DatabaseId, HoldId, Moment, PoolId, SlotId, TargetId, Ticket, UserId, WorkerId};

/// Limits of one pool, already merged from user, database and global settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// `pool_size`.
    pub size: u32,
    /// `min_pool_size`.
    pub min_size: u32,
    /// Keep `min_size` even while the pool has no client (forced user).
    pub min_always: bool,
    /// `reserve_pool_size`.
    pub reserve_size: u32,
    /// `reserve_pool_timeout`: how long the oldest waiter waits before the reserve is used.
    pub reserve_timeout: Duration,
    /// `server_lifetime`; zero closes on release.
    pub lifetime: Duration,
    /// `server_idle_timeout`; zero is off.
    pub idle_timeout: Duration,
    /// `server_check_delay`: idle longer than this is checked before it is given out; `None`: there is no check.
    pub check_delay: Option<Duration>,
    /// `server_login_retry`.
    pub login_retry: Duration,
    /// `pool_idle_timeout`: without clients for this long, idle servers go; zero is off.
    pub pool_idle_timeout: Duration,
    /// `server_round_robin`: least recently used first instead of last.
    pub round_robin: bool,
}

/// How a pool with several targets chooses one for a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The next one each time.
    RoundRobin,
    /// The same one until a connect fails.
    UntilFailure,
}

/// What a pool is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// The configured database.
    pub database: DatabaseId,
    /// The server login role.
    pub user: UserId,
    /// Where new connections may go; empty while the name does not resolve (opening then fails at once with
    /// [`Cause::DnsFailed`] and is retried).
    pub targets: Vec<TargetId>,
    /// How one is chosen.
    pub pick: Pick,
    /// The limits.
    pub limits: PoolLimits,
}

/// Limits that span pools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globals {
    /// How much older another worker's waiter must be to be served before the home worker's oldest.
    pub fairness_slack: Duration,
}

/// A client asks for a server connection.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// From which pool.
    pub pool: PoolId,
    /// Who.
    pub client: ClientId,
    /// On which worker the client lives.
    pub worker: WorkerId,
    /// Longest wait and the cause that ends it (`query_wait_timeout` or `query_timeout`); zero waits for ever.
    pub wait_max: Duration,
    /// What the client is told then.
    pub wait_cause: WaitCause,
}

/// Which limit ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitCause {
    /// [`Cause::QueryWaitTimeout`].
    QueryWaitTimeout,
    /// [`Cause::QueryTimeoutWaiting`].
    QueryTimeout,
}

/// A server connection given to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The slot.
    pub slot: SlotId,
    /// The hold that begins.
    pub hold: HoldId,
    /// The socket lives on another worker and has to move.
    pub moves: Moves,
}

/// Whether a grant takes a socket to another worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moves {
    /// At home already.
    Stays,
    /// From another worker.
    Moves,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requested {
    /// Here it is.
    Granted(Grant),
    /// Wait; [`Action::Grant`] or [`Action::Refuse`] follows.
    Queued(Ticket),
    /// Not now and not later.
    Refused(Cause),
}

/// In what state a client gives its server connection back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Returned {
    /// Ready for anybody.
    Clean,
    /// The reset query has to be run first.
    Dirty,
    /// To be closed.
    Unusable(Cause),
}

/// Why a connection could not be opened, cleaned or checked. Its socket is closed already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Connect refused, timed out, name unknown, starting up (57P03): waiters go on waiting.
    Connect(Cause),
    /// The server said no to the login (28P01, 3D000, …): waiters are told, if no server connection is left.
    Login(Cause),
    /// The server is full (53300): waiters go on waiting, the next try comes when a connection of ours to that
    /// target closes or after `login_retry`.
    Full(Cause),
    /// Cleaning or the check failed: only this connection is gone; the waiter gets another.
    Lost(Cause),
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Give the slot's connection to the waiter.
    Grant {
        /// Whose turn it is.
        ticket: Ticket,
        /// The client behind the ticket.
        client: ClientId,
        /// What it gets.
        grant: Grant,
    },
    /// Tell the waiter why not.
    Refuse {
        /// Whose wait ended.
        ticket: Ticket,
        /// The client behind the ticket.
        client: ClientId,
        /// Why.
        cause: Cause,
    },
    /// Connect and log in.
    Open {
        /// The slot.
        slot: SlotId,
        /// Its pool.
        pool: PoolId,
        /// Where to.
        target: TargetId,
        /// On which worker.
        worker: WorkerId,
    },
    /// Run the check query.
    Check {
        /// The slot.
        slot: SlotId,
    },
    /// Run the reset query.
    Clean {
        /// The slot.
        slot: SlotId,
    },
    /// Let go (cancel if busy, Terminate, read to the end), then call [`Pools::handle_closed`] or
    /// [`Pools::handle_lost`].
    Close {
        /// The slot.
        slot: SlotId,
        /// Why.
        cause: Cause,
    },
}

/// Where a slot is in its life. Each variant says what leads out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotState {
    /// Connecting and logging in. Out by `handle_opened`, `handle_failed`.
    Opening,
    /// Free. Out by a grant, a check, or a close.
    Idle,
    /// With a client. Out by `handle_returned`.
    Held,
    /// Its client is done, but a cancel request for it is still under way. Out by `handle_cancel_ended`.
    BeingCanceled,
    /// Reset query running. Out by `handle_cleaned`, `handle_failed`.
    Cleaning,
    /// Check query running. Out by `handle_cleaned`, `handle_failed`.
    Checking,
    /// Being let go. Out by `handle_closed`, `handle_lost`.
    Closing,
    /// Let go, not seen to end. Out by `handle_closed` or after `lost_max` by the shell calling `handle_closed`.
    Lost,
}

/// Counts of one pool, for the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// Clients waiting.
    pub waiting: u32,
    /// Slots by state.
    pub opening: u32,
    /// Free, and checked recently enough to be given out at once.
    pub idle: u32,
    /// Free, and due for a check (`sv_used`).
    pub used: u32,
    /// With a client.
    pub held: u32,
    /// See [`SlotState::BeingCanceled`].
    pub being_canceled: u32,
    /// Cleaning or checking (`sv_tested`).
    pub tested: u32,
    /// Being let go.
    pub closing: u32,
    /// Lost.
    pub lost: u32,
    /// Cancel connections open.
    pub cancels: u32,
    /// How long the oldest waiter has waited.
    pub oldest_wait: Duration,
}

/// A slot as the console shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotView {
    /// Its id.
    pub id: SlotId,
    /// Its pool.
    pub pool: PoolId,
    /// Its target.
    pub target: TargetId,
    /// Its state.
    pub state: SlotState,
    /// Idle, but due for a check before it is given out (`used` in SHOW SERVERS).
    pub check_due: bool,
    /// Who has it, and by which hold.
    pub holder: Option<(ClientId, HoldId)>,
    /// When opening began.
    pub opened: Moment,
    /// When it was granted or returned last.
    pub used: Moment,
    /// Closed as soon as it comes back.
    pub close_needed: bool,
    /// Its worker.
    pub home: WorkerId,
}

/// Whether a cancel may go ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelVerdict {
    /// Open a cancel connection now.
    Go,
    /// As many as may be are open already: ask again later.
    Wait,
    /// The query it was meant for is over: drop it.
    Stale,
}

/// All pools, slots, waiters and limits.
#[derive(Debug)]
pub struct Pools {
    _private: (),
}

#[allow(unused_variables)]
impl Pools {
    /// None yet.
    pub fn new(globals: Globals) -> Pools {
        todo!()
    }

    /// Changes what spans pools.
    pub fn set_globals(&mut self, globals: Globals) {
        todo!()
    }

    // ---- configuration; all limits may change at any time and act at once, nobody is cut off by a lower limit

    /// Adds a physical server; `budget`: most server connections on it, `None` is no cap.
    pub fn add_target(&mut self, budget: Option<u32>) -> TargetId {
        todo!()
    }

    /// Changes a budget.
    pub fn set_budget(&mut self, target: TargetId, budget: Option<u32>, now: Moment) {
        todo!()
    }

    /// `max_db_connections` of a database; `None` is no limit. Unknown ids are created.
    pub fn set_database_limit(&mut self, database: DatabaseId, max: Option<u32>, now: Moment) {
        todo!()
    }

    /// `max_user_connections` of a server login role; `None` is no limit. Unknown ids are created.
    pub fn set_user_limit(&mut self, user: UserId, max: Option<u32>, now: Moment) {
        todo!()
    }

    /// Adds a pool.
    pub fn add_pool(&mut self, spec: PoolSpec, now: Moment) -> PoolId {
        todo!()
    }

    /// Changes limits or targets of a pool. Connections to a target no longer listed are closed when they come back.
    pub fn set_pool(&mut self, pool: PoolId, spec: PoolSpec, now: Moment) {
        todo!()
    }

    /// Waiters are refused with `cause`, servers closed when they come back, idle ones at once; the pool itself is
    /// forgotten when its last slot is gone.
    pub fn remove_pool(&mut self, pool: PoolId, cause: Cause, now: Moment) {
        todo!()
    }

    /// How many clients are logged in to the pool (for min_pool_size and pool_idle_timeout).
    pub fn set_clients(&mut self, pool: PoolId, clients: u32, now: Moment) {
        todo!()
    }

    // ---- clients

    /// A client needs a server connection. A newcomer never overtakes a waiter. Cheap when one is idle.
    pub fn handle_request(&mut self, request: Request, now: Moment) -> Requested {
        todo!()
    }

    /// The client behind a ticket no longer wants: gone, or killed. If it had been granted meanwhile (the grant was
    /// drained but not taken up), the shell calls `handle_returned` instead. Unknown tickets are ignored.
    pub fn handle_withdrawn(&mut self, ticket: Ticket, now: Moment) {
        todo!()
    }

    /// A client gives its connection back, on the worker it lives on. Goes to the oldest waiter, if any.
    pub fn handle_returned(&mut self, slot: SlotId, returned: Returned, now: Moment) {
        todo!()
    }

    // ---- servers

    /// Opening succeeded; the connection lives on `worker`.
    pub fn handle_opened(&mut self, slot: SlotId, worker: WorkerId, now: Moment) {
        todo!()
    }

    /// Opening, cleaning or checking failed; the socket is closed and nothing of it is left at the server.
    pub fn handle_failed(&mut self, slot: SlotId, failure: Failure, now: Moment) {
        todo!()
    }

    /// Cleaning or checking succeeded.
    pub fn handle_cleaned(&mut self, slot: SlotId, now: Moment) {
        todo!()
    }

    /// An idle connection said something it should not, or ended. An [`Action::Close`] follows.
    pub fn handle_idle_broken(&mut self, slot: SlotId, cause: Cause, now: Moment) {
        todo!()
    }

    /// The server has been seen to end.
    pub fn handle_closed(&mut self, slot: SlotId, now: Moment) {
        todo!()
    }

    /// `close_timeout` is over and the server has not been seen to end: out of its pool's size, still in the budget.
    pub fn handle_lost(&mut self, slot: SlotId, now: Moment) {
        todo!()
    }

    // ---- cancel

    /// A cancel request for what `hold` is doing on `slot`. On `Go` the slot will not be given to anybody else until
    /// [`Pools::handle_cancel_ended`] has been called as often as `Go` was answered.
    pub fn handle_cancel(&mut self, slot: SlotId, hold: HoldId) -> CancelVerdict {
        todo!()
    }

    /// Whether `hold` still has `slot`: asked again just before the key is sent.
    pub fn is_held(&self, slot: SlotId, hold: HoldId) -> bool {
        todo!()
    }

    /// A cancel connection has been closed.
    pub fn handle_cancel_ended(&mut self, slot: SlotId, now: Moment) {
        todo!()
    }

    // ---- administration; `None` means all databases

    /// Grants stop, idle servers are closed; held ones are closed when they come back.
    pub fn pause(&mut self, database: Option<DatabaseId>, now: Moment) {
        todo!()
    }

    /// Grants go on.
    pub fn resume(&mut self, database: Option<DatabaseId>, now: Moment) {
        todo!()
    }

    /// Whether a database (or, for `None`, everything) is paused.
    pub fn is_paused(&self, database: Option<DatabaseId>) -> bool {
        todo!()
    }

    /// Whether no server connection is in use any more (opening, held, cleaning, checking, idle): what PAUSE waits for.
    pub fn is_quiet(&self, database: Option<DatabaseId>) -> bool {
        todo!()
    }

    /// Every server connection is closed when it comes back, idle ones now.
    pub fn reconnect(&mut self, database: Option<DatabaseId>, now: Moment) {
        todo!()
    }

    /// Refuses all waiters of the database with `cause` (KILL).
    pub fn refuse_waiters(&mut self, database: Option<DatabaseId>, cause: Cause, now: Moment) {
        todo!()
    }

    /// From now on whoever would have to wait, or waits now, is refused with `cause` (shutdown waiting for servers).
    pub fn refuse_all(&mut self, cause: Cause, now: Moment) {
        todo!()
    }

    // ---- time

    /// Earliest moment at which [`Pools::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Moment> {
        todo!()
    }

    /// Waits that are over, idle and lifetime limits, reserve, retry, min_pool_size.
    pub fn handle_timeout(&mut self, now: Moment) {
        todo!()
    }

    /// Next thing to do; drain it after every other call.
    pub fn poll_action(&mut self) -> Option<Action> {
        todo!()
    }

    // ---- looking

    /// Counts of a pool, from its counters.
    pub fn counts(&self, pool: PoolId, now: Moment) -> PoolCounts {
        todo!()
    }

    /// All slots.
    pub fn slots(&self) -> impl Iterator<Item = SlotView> {
        std::iter::empty()
    }

    /// A slot's view.
    pub fn slot(&self, slot: SlotId) -> Option<SlotView> {
        todo!()
    }

    /// Slots that count against a target's budget.
    pub fn target_used(&self, target: TargetId) -> u32 {
        todo!()
    }

    /// Server connections that count against a database's `max_db_connections`.
    pub fn database_used(&self, database: DatabaseId) -> u32 {
        todo!()
    }

    /// Server connections that count against a role's `max_user_connections`.
    pub fn user_used(&self, user: UserId) -> u32 {
        todo!()
    }

    /// Sockets that went from one worker to another since the start.
    pub fn moves(&self) -> u64 {
        todo!()
    }

    /// Recounts everything and compares with counters and lists: the invariants 1 to 4, for tests and the simulator.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn check(&self) -> Result<(), String> {
        todo!()
    }
}
