//! The nouns of the pool's interface: specs, limits, requests, actions, states, views.

use std::time::Duration;

use plimsoll_types::{
    Cause, ClientId, DatabaseId, HoldId, Moment, PoolId, SlotId, TargetId, Ticket, UserId, WorkerId,
};

use crate::classes::Place;

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
    /// How long nobody connects after a failure.
    pub retry: Retry,
    /// What newcomers are told while nothing answers.
    pub unreachable: Unreachable,
    /// `guaranteed_pool_size`: below this nothing is taken for other pools.
    pub guaranteed: u32,
    /// `weight`: how much of what is scarce beside other pools; not 0.
    pub weight: u32,
    /// `queue_fairness`.
    pub fairness: Fairness,
    /// `pool_idle_timeout`: without clients for this long, idle servers go; zero is off.
    pub pool_idle_timeout: Duration,
    /// `server_round_robin`: least recently used first instead of last.
    pub round_robin: bool,
}

/// How long nobody connects after an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// `server_login_retry`: always the same, from the beginning of the last attempt.
    Fixed(Duration),
    /// Doubling from `min` to `max` with each failure in a row, with a little jitter, so that many pools do not come at
    /// once. A login that was refused for who we are is tried again after `refused`: only people can mend that.
    Doubling {
        /// `connect_backoff_min`.
        min: Duration,
        /// `connect_backoff_max`.
        max: Duration,
        /// `server_login_retry`.
        refused: Duration,
    },
}

/// What newcomers are told while nothing answers and no connection is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unreachable {
    /// They wait like everybody.
    #[default]
    Wait,
    /// The reason, at once (PgBouncer).
    Refuse,
}

/// In which order the waiters of a pool are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fairness {
    /// Who came first; where somebody's weight is not usual, as with the other.
    #[default]
    Fifo,
    /// Of each [`Class`] as many in turn as it has weight, in each the one that came first.
    Application,
}

/// The weight of who has none.
pub const USUAL_WEIGHT: u32 = 1;

/// The largest weight.
pub const WEIGHT_MAX: u32 = 1000;

/// Whose turns a client takes where a queue is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// All who belong to no other.
    Everybody,
    /// An application by what it calls itself; any number.
    Application(u32),
    /// A grant, by a number of its own.
    Grant(u64),
}

/// A waiter in a queue that classes share, ordered as they are served if nobody comes and nobody leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    place: Place,
    client: ClientId,
}

impl Turn {
    pub(crate) fn new(place: Place, client: ClientId) -> Turn {
        Turn { place, client }
    }

    /// Who.
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// Whose turns it takes.
    pub fn class(&self) -> Class {
        self.place.class
    }

    /// The weight of the class.
    pub fn weight(&self) -> u32 {
        self.place.weight
    }
}

/// How a pool with several targets chooses one for a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The next one each time.
    RoundRobin,
    /// The same one until a connect fails.
    UntilFailure,
}

/// Under which limits a pool opens connections, and for whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It has what is left of the limits that it shares with others.
    #[default]
    Ordinary,
    /// For replication, beside the pool of the same database and role: each connection is opened for one waiter, logs in
    /// with what that one has asked for, and is closed after it. It counts in the size of the pool beside, whose idle
    /// connections make room for it; and at its target among the walsenders ([`Walsenders`]), not in the budget.
    Replication {
        /// The pool whose size it shares; it must have been added before.
        beside: PoolId,
    },
    /// Its first connection does not wait for `max_db_connections` and `max_user_connections`: nobody could log in
    /// while those who are in use everything up. It counts, so that whatever is free goes.
    Guaranteed,
}

/// Which places replication connections take at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walsenders {
    /// Places of their own (since PostgreSQL 12): of those there are for us as many as this; `None`: not known.
    Apart(Option<u32>),
    /// The same as everybody: they count in the budget.
    Among,
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
    /// Whether it has a place of its own.
    pub standing: Standing,
    /// The limits.
    pub limits: PoolLimits,
}

/// Limits that span pools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globals {
    /// How much older another worker's waiter must be to be served before the home worker's oldest.
    pub fairness_slack: Duration,
    /// `connect_concurrency`: most logins in flight at one target.
    pub connect_concurrency: u32,
    /// How long after a refusal for want of a place (53300) one more is tried, while nobody tells us that there is one:
    /// doubling from the first to the second.
    pub full_backoff: (Duration, Duration),
    /// For the jitter of what doubles.
    pub seed: u64,
}

impl Default for Globals {
    fn default() -> Globals {
        Globals {
            fairness_slack: Duration::from_millis(5),
            connect_concurrency: 4,
            full_backoff: (Duration::from_millis(100), Duration::from_secs(2)),
            seed: 1,
        }
    }
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
    /// Whose turns it takes, where the queue is shared.
    pub class: Class,
    /// How many hand-outs of the queue its class gets beside others': the weight of the class from now on; not 0.
    pub weight: u32,
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
    /// The server has no place (53300): waiters go on waiting. As many connections as are open there now are the
    /// budget, until one of ours closes, a place is seen free, or it is time to try one more.
    Full(Cause),
    /// The role or the database has no place (53300, CONNECTION LIMIT): the same for this pool alone.
    Limited(Cause),
    /// Cleaning or the check failed: only this connection is gone; the waiter gets another.
    Lost(Cause),
}

impl Failure {
    /// Why.
    pub fn cause(&self) -> &Cause {
        match self {
            Failure::Connect(cause)
            | Failure::Login(cause)
            | Failure::Full(cause)
            | Failure::Limited(cause)
            | Failure::Lost(cause) => cause,
        }
    }
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
    /// Let go (cancel if busy, Terminate, read to the end), then call
    /// [`Pools::handle_closed`](crate::Pools::handle_closed) or [`Pools::handle_lost`](crate::Pools::handle_lost).
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
    /// Connecting and logging in. Out by `handle_opened`, `handle_failed`, `handle_failed_unseen`.
    Opening,
    /// Free. Out by a grant, a check, or a close.
    Idle,
    /// With a client. Out by `handle_returned`.
    Held,
    /// Its client is done, but a cancel request for it is still under way. Out by `handle_cancel_ended`.
    BeingCanceled,
    /// Reset query running. Out as from `Checking`.
    Cleaning,
    /// Check query running. Out by `handle_cleaned`, `handle_failed`, `handle_failed_unseen`.
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

impl PoolCounts {
    /// The same of two pools together.
    #[must_use]
    pub fn with(self, other: PoolCounts) -> PoolCounts {
        PoolCounts {
            waiting: self.waiting + other.waiting,
            opening: self.opening + other.opening,
            idle: self.idle + other.idle,
            used: self.used + other.used,
            held: self.held + other.held,
            being_canceled: self.being_canceled + other.being_canceled,
            tested: self.tested + other.tested,
            closing: self.closing + other.closing,
            lost: self.lost + other.lost,
            cancels: self.cancels + other.cancels,
            oldest_wait: self.oldest_wait.max(other.oldest_wait),
        }
    }
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
    /// Cancels for it that are under way.
    pub cancels: u32,
    /// Its worker.
    pub home: WorkerId,
}

impl SlotView {
    /// The slot alone, as counts.
    pub fn counted(&self) -> PoolCounts {
        let mut counts = PoolCounts::default();
        let count = match self.state {
            SlotState::Opening => &mut counts.opening,
            SlotState::Idle if self.check_due => &mut counts.used,
            SlotState::Idle => &mut counts.idle,
            SlotState::Held => &mut counts.held,
            SlotState::BeingCanceled => &mut counts.being_canceled,
            SlotState::Cleaning | SlotState::Checking => &mut counts.tested,
            SlotState::Closing => &mut counts.closing,
            SlotState::Lost => &mut counts.lost,
        };
        *count = 1;
        counts
    }
}

/// A target as the console shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetView {
    /// Most server connections there; `None`: no cap.
    pub budget: Option<u32>,
    /// Where that comes from.
    pub source: BudgetSource,
    /// `target_budget = N`.
    pub configured: Option<u32>,
    /// What the server has for us, by what it says itself.
    pub asked: Option<u32>,
    /// What it refused to give more than.
    pub learned: Option<u32>,
    /// When it refused last.
    pub refused: Option<Moment>,
    /// Ours: all that count.
    pub used: u32,
    /// Those that log in.
    pub opening: u32,
    /// Those that are being let go.
    pub closing: u32,
    /// Ours for replication, which count apart.
    pub walsenders: u32,
    /// As many as there may be of them; `None`: not known.
    pub walsenders_max: Option<u32>,
}

/// Where a budget comes from: the smallest of what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetSource {
    /// There is none.
    Unlimited,
    /// The configuration.
    Configured,
    /// The server was asked.
    Asked,
    /// The server cannot be asked, not yet or not any more: a few, or what it said last.
    Presumed,
    /// The server has refused more.
    Refused,
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
