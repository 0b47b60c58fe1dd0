//! The keys of one issuer, and when they are fetched: a state machine with time as its argument.
//!
//! A key that is known is used; one that is not known has the set fetched, by one asker while the others wait, and at most
//! once in 30 seconds whatever tokens invent; every hour the set is renewed; a fetch that fails keeps what was there, for
//! at most a day.

use crate::token::{FetchFault, KeySet};

/// At most one fetch in that time.
pub(super) const PAUSE_MS: i64 = 30_000;

/// How often a set is fetched anew.
pub(super) const RENEW_MS: i64 = 3_600_000;

/// How long a set is used when it cannot be fetched anew.
pub(super) const STALE_MAX_MS: i64 = 24 * 3_600_000;

/// A fetch that has not said how it ended after that time never will.
pub(super) const LEASE_MS: i64 = 10_000;

/// What to do for a key.
#[derive(Clone, Debug)]
pub enum Look {
    /// It is among these.
    Have(KeySet),
    /// Fetch the set and say how that went ([`JwksCache::fetched`]).
    Fetch,
    /// Somebody fetches: look again afterwards.
    Wait,
    /// It is not known, and nothing is fetched before that time, milliseconds since 1970.
    Unknown {
        /// Until when.
        until_ms: i64,
    },
    /// There is no set, and nothing is fetched before that time.
    NoKeys {
        /// Until when.
        until_ms: i64,
    },
}

/// What comes of wanting another set though the one that is there is not old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Fetch it and say how that went ([`JwksCache::fetched`]).
    Fetch,
    /// Somebody fetches: wait for the end of that.
    Wait,
    /// The last fetch is not long enough ago.
    NotDue,
}

/// What the end of a fetch has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing: it went as the one before.
    None,
    /// The first that failed after one that did not.
    Fails,
    /// The first that did not fail after one that did.
    Works,
}

/// See the module.
#[derive(Debug, Default)]
pub struct JwksCache {
    keys: KeySet,
    /// When they were fetched.
    fetched_ms: Option<i64>,
    fetching: Fetching,
    /// Why the last fetch failed; `None`: it did not.
    failing: Option<FetchFault>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Fetching {
    /// None was begun. Leads to `Running`.
    #[default]
    Never,
    /// One began. Leads to `Ended`, or to `Running` when it never ended.
    Running { began_ms: i64 },
    /// One that began then has ended. Leads to `Running`.
    Ended { began_ms: i64 },
}

impl JwksCache {
    /// The set, if it may be used and has that key (`None`: a token that names none). Begins nothing.
    pub fn known(&self, kid: Option<&str>, now_ms: i64) -> Option<KeySet> {
        let usable = self.is_usable(now_ms) && kid.is_none_or(|kid| self.keys.has(kid));
        usable.then(|| self.keys.clone())
    }

    /// Looks for a key; `None`: a token that names none. After [`Look::Fetch`] the caller owes [`JwksCache::fetched`].
    pub fn look(&mut self, kid: Option<&str>, now_ms: i64) -> Look {
        if let Some(keys) = self.known(kid, now_ms) {
            return Look::Have(keys);
        }
        match self.pause(now_ms) {
            Pause::Running => Look::Wait,
            Pause::Until(until_ms) if self.is_usable(now_ms) => Look::Unknown { until_ms },
            Pause::Until(until_ms) => Look::NoKeys { until_ms },
            Pause::Over => {
                self.fetching = Fetching::Running { began_ms: now_ms };
                Look::Fetch
            }
        }
    }

    /// Whether the set is to be fetched because of its age. If so the caller owes [`JwksCache::fetched`].
    pub fn begin_renewal(&mut self, now_ms: i64) -> bool {
        let is_old = self.fetched_ms.is_none_or(|at_ms| elapsed_ms(at_ms, now_ms) >= RENEW_MS);
        is_old && self.begin(now_ms) == Begin::Fetch
    }

    /// Whether the set may be fetched though it is not old: what is there seems to be wrong. After [`Begin::Fetch`] the
    /// caller owes [`JwksCache::fetched`].
    pub fn begin(&mut self, now_ms: i64) -> Begin {
        match self.pause(now_ms) {
            Pause::Running => Begin::Wait,
            Pause::Until(_) => Begin::NotDue,
            Pause::Over => {
                self.fetching = Fetching::Running { began_ms: now_ms };
                Begin::Fetch
            }
        }
    }

    /// A fetch has ended; if it failed what was there stays.
    pub fn fetched(&mut self, fetched: Result<KeySet, FetchFault>, now_ms: i64) -> Turn {
        let began_ms = match self.fetching {
            Fetching::Never => now_ms,
            Fetching::Running { began_ms } | Fetching::Ended { began_ms } => began_ms,
        };
        self.fetching = Fetching::Ended { began_ms };
        match fetched {
            Ok(keys) => {
                self.keys = keys;
                self.fetched_ms = Some(now_ms);
                if self.failing.take().is_some() { Turn::Works } else { Turn::None }
            }
            Err(fault) => {
                if self.failing.replace(fault).is_none() {
                    Turn::Fails
                } else {
                    Turn::None
                }
            }
        }
    }

    /// Why the last fetch failed, if it did.
    pub fn failing(&self) -> Option<&FetchFault> {
        self.failing.as_ref()
    }

    fn is_usable(&self, now_ms: i64) -> bool {
        self.fetched_ms.is_some_and(|at_ms| elapsed_ms(at_ms, now_ms) < STALE_MAX_MS)
    }

    fn pause(&self, now_ms: i64) -> Pause {
        match self.fetching {
            Fetching::Never => Pause::Over,
            Fetching::Running { began_ms } if elapsed_ms(began_ms, now_ms) < LEASE_MS => Pause::Running,
            Fetching::Running { began_ms } | Fetching::Ended { began_ms } => {
                if elapsed_ms(began_ms, now_ms) < PAUSE_MS {
                    Pause::Until(began_ms.saturating_add(PAUSE_MS))
                } else {
                    Pause::Over
                }
            }
        }
    }
}

enum Pause {
    Running,
    Until(i64),
    Over,
}

/// Time that went by. A clock that was set back has let much go by: nothing is locked until it has caught up. But who asks
/// has read the clock before it waited, others after that: a little less is no time at all.
fn elapsed_ms(since_ms: i64, now_ms: i64) -> i64 {
    let elapsed_ms = now_ms.saturating_sub(since_ms);
    if elapsed_ms < -LEASE_MS { i64::MAX } else { elapsed_ms.max(0) }
}
