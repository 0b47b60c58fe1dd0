//! One pool: its spec, its queue and how its attempts to connect have gone.

use std::time::Duration;

use plimsoll_types::{Cause, Moment, PoolId};

use crate::limits::{GroupId, Learned};
use crate::nouns::{Pick, PoolLimits, PoolSpec, Retry, Standing};
use crate::queue::Queue;

/// The next attempt comes no sooner than this after the last one began, whatever `server_login_retry` says: a retry
/// of zero against a port that refuses would be a loop without an end.
const RETRY_MIN: Duration = Duration::from_millis(10);

/// Whether a pool gives out connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Yes.
    Serving,
    /// Its database, or everything, is paused.
    Paused,
    /// Left the configuration, for this cause; forgotten when its last slot is gone.
    Removed(Cause),
}

/// How the last attempt to connect went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Well, or there was none.
    Well,
    /// It failed; newcomers go on waiting.
    Failing,
    /// It failed; newcomers are told the reason while no connection is left.
    Refusing {
        /// Message of the cause.
        reason: Box<str>,
    },
}

/// What was in the way of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing answered, or not like a server that takes clients.
    Unreachable,
    /// The server does not want us.
    Refused,
}

/// The wait after `last`: twice as long, from `min` to `max`, a little shorter by chance.
pub(crate) fn doubled(last: Duration, min: Duration, max: Duration, jitter: u32) -> Duration {
    let wait = (last * 2).clamp(min, max.max(min));
    wait - (wait / 8_000) * jitter.min(1_000)
}

/// Whether the pool ever had a connection, so that clients can have been welcomed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Welcome {
    /// Never yet: a newcomer is still in its login.
    Unknown,
    /// Since some time.
    Known,
}

/// How many clients are logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clients {
    /// None since then.
    NoneSince(Moment),
    /// None for `pool_idle_timeout`: what was idle has been closed, and the shell has been told.
    GivenUp,
    /// Some.
    Some,
}

/// A pool.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Changed by [`Pool::set_spec`] only.
    spec: PoolSpec,
    /// `server_lifetime` and `server_check_delay` in microseconds: what every return and every request compares with.
    lifetime_us: u64,
    check_delay_us: Option<u64>,
    pub(crate) database: GroupId,
    pub(crate) user: GroupId,
    pub(crate) queue: Queue,
    pub(crate) service: Service,
    pub(crate) clients: Clients,
    /// Position in `spec.targets` of the next one to try.
    pub(crate) cursor: usize,
    pub(crate) health: Health,
    /// Connects to targets that failed one after the other.
    pub(crate) failed_in_row: usize,
    /// How long nobody connects after the failure that `health` tells of.
    pub(crate) retry_wait: Duration,
    /// How many connections its role or database has at most, as far as refusals have told (53300, CONNECTION LIMIT).
    pub(crate) limited: Option<Learned>,
    /// Its part of the CONNECTION LIMIT of its role or its database, by a look at the server.
    pub(crate) allotted: Option<u32>,
    /// Why the last attempt failed, until one succeeds.
    pub(crate) failure: Option<Cause>,
    pub(crate) welcome: Welcome,
    /// When the last attempt to connect began.
    pub(crate) attempt: Option<Moment>,
    /// When a connection was closed for its age last.
    pub(crate) aged_out: Option<Moment>,
    /// The pool that shares its size: of one for replication the one beside, and the other way round.
    pub(crate) beside: Option<PoolId>,
    /// Cancel connections open.
    pub(crate) cancels: u32,
}

impl Pool {
    pub(crate) fn new(
        spec: PoolSpec,
        database: GroupId,
        user: GroupId,
        service: Service,
        now: Moment,
    ) -> Pool {
        Pool {
            lifetime_us: micros(spec.limits.lifetime),
            check_delay_us: spec.limits.check_delay.map(micros),
            spec,
            database,
            user,
            queue: Queue::default(),
            service,
            clients: Clients::NoneSince(now),
            cursor: 0,
            health: Health::Well,
            failed_in_row: 0,
            retry_wait: Duration::ZERO,
            limited: None,
            allotted: None,
            failure: None,
            welcome: Welcome::Unknown,
            attempt: None,
            aged_out: None,
            beside: None,
            cancels: 0,
        }
    }

    pub(crate) fn spec(&self) -> &PoolSpec {
        &self.spec
    }

    pub(crate) fn set_spec(&mut self, spec: PoolSpec) {
        self.lifetime_us = micros(spec.limits.lifetime);
        self.check_delay_us = spec.limits.check_delay.map(micros);
        self.spec = spec;
    }

    pub(crate) fn limits(&self) -> &PoolLimits {
        &self.spec.limits
    }

    /// Whether each of its connections is for one client alone.
    pub(crate) fn is_for_replication(&self) -> bool {
        match self.spec.standing {
            Standing::Replication { .. } => true,
            Standing::Ordinary | Standing::Guaranteed => false,
        }
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.service == Service::Serving
    }

    /// The most slots the pool may ever have, the reserve included. A `reserve_pool_timeout` of zero turns the
    /// reserve off, as in PgBouncer.
    pub(crate) fn size_max(&self) -> u32 {
        let limits = self.limits();
        let reserve = if limits.reserve_timeout.is_zero() { 0 } else { limits.reserve_size };
        limits.size.saturating_add(reserve)
    }

    /// How many slots its part of a CONNECTION LIMIT allows, as a look at the server has shown it.
    pub(crate) fn allotted_to(&self) -> u32 {
        self.allotted.unwrap_or(u32::MAX)
    }

    /// How many slots the pool may have now that its oldest waiter has waited since `oldest`.
    pub(crate) fn size_for(&self, oldest: Moment, now: Moment) -> u32 {
        let reserve = now >= oldest + self.limits().reserve_timeout;
        if reserve { self.size_max() } else { self.limits().size }
    }

    /// How many slots the role or the database leaves it, by what refusals have told and by what was asked.
    pub(crate) fn limited_to(&self) -> u32 {
        let learned = self.limited.map(|learned| learned.max);
        [learned, self.allotted].into_iter().flatten().min().unwrap_or(u32::MAX)
    }

    /// How many slots are kept open without anybody asking. PgBouncer: only while the pool has clients, or always
    /// with a forced user.
    pub(crate) fn size_min(&self) -> u32 {
        let limits = self.limits();
        let wanted = limits.min_always || self.clients == Clients::Some;
        if wanted { limits.min_size.min(limits.size) } else { 0 }
    }

    /// When the next attempt may begin; `None`: at once.
    pub(crate) fn retry_at(&self) -> Option<Moment> {
        match self.health {
            Health::Well => None,
            Health::Failing | Health::Refusing { .. } if self.has_untried_target() => None,
            Health::Failing | Health::Refusing { .. } => {
                Some(self.attempt? + self.retry_wait().max(RETRY_MIN))
            }
        }
    }

    /// How long nobody tries after the last failure, by the limits that hold now.
    fn retry_wait(&self) -> Duration {
        match self.limits().retry {
            Retry::Fixed(wait) => wait,
            Retry::Doubling { max, refused, .. } => self.retry_wait.min(max.max(refused)),
        }
    }

    /// An attempt failed: how long nobody tries. `jitter` is a number below 1,000.
    pub(crate) fn wait_after(&mut self, trouble: Trouble, jitter: u32) {
        self.retry_wait = match (self.limits().retry, trouble) {
            (Retry::Fixed(wait), _) => wait,
            (Retry::Doubling { refused, .. }, Trouble::Refused) => refused,
            (Retry::Doubling { min, max, .. }, Trouble::Unreachable) => {
                doubled(self.retry_wait, min, max, jitter)
            }
        };
    }

    /// Something has changed that may mend what failed: the next attempt need not wait.
    pub(crate) fn hope(&mut self) {
        (self.health, self.failed_in_row, self.retry_wait) = (Health::Well, 0, Duration::ZERO);
        (self.limited, self.failure) = (None, None);
    }

    /// Whether connecting failed at some, but not at all of the targets in turn. Only where they are tried in turn
    /// because they are ways to one server, or stand in for each other: elsewhere each failure is waited after.
    fn has_untried_target(&self) -> bool {
        match self.spec.pick {
            Pick::UntilFailure => {
                self.failed_in_row.checked_rem(self.spec.targets.len()).is_some_and(|tried| tried > 0)
            }
            Pick::RoundRobin => false,
        }
    }

    pub(crate) fn retry_is_due(&self, now: Moment) -> bool {
        self.retry_at().is_none_or(|at| now >= at)
    }

    /// Whether an idle connection has to be checked before it is given out.
    pub(crate) fn check_is_due(&self, idle_since: Moment, now: Moment) -> bool {
        self.check_delay_us.is_some_and(|delay_us| now.micros_since(idle_since) >= delay_us)
    }

    /// `server_check_delay = 0`: no connection is given out unchecked.
    pub(crate) fn checks_always(&self) -> bool {
        self.check_delay_us == Some(0)
    }

    /// Whether a connection that was opened then is old enough to be closed for its age.
    pub(crate) fn is_aged(&self, opened: Moment, now: Moment) -> bool {
        now.micros_since(opened) >= self.lifetime_us
    }

    /// When the pool's connections may be closed for their age again: PgBouncer spaces these closings by
    /// `server_lifetime / pool_size`, lest a pool that was filled in one go be emptied in one go.
    pub(crate) fn ageing_at(&self) -> Moment {
        let gap = self.limits().lifetime / self.limits().size.max(1);
        self.aged_out.map_or(Moment::default(), |last| last + gap)
    }
}

/// Microseconds; a time no one will see the end of is cut short.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
