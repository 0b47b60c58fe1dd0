//! Issuers outside: who their tokens speak for, and when their keys are fetched.
//!
//! When is a state machine with time as its argument ([`JwksCache`]): a key that is known is used; one that is not known
//! has the set fetched, by one asker while the others wait, and at most once in 30 seconds whatever tokens invent; every
//! hour the set is renewed; a fetch that fails keeps what was there, for at most a day.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::fetch::{FETCH_MAX, check_uri};
use super::{Accepts, Alg, Claims, FetchFault, Fetcher, KeySet, TokenFault, Verifier};
use crate::id::{Id, Kind};

/// At most one fetch in that time.
const PAUSE_MS: i64 = 30_000;

/// How often a set is fetched anew.
const RENEW_MS: i64 = 3_600_000;

/// How long a set is used when it cannot be fetched anew.
const STALE_MAX_MS: i64 = 24 * 3_600_000;

/// A fetch that has not said how it ended after that time never will.
const LEASE_MS: i64 = 10_000;

/// A claim that says for whom a token speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRule {
    /// The claim; one inside another is named with dots (`realm_access.roles`).
    pub claim: String,
    /// The text that it has, or one of the texts if it is a list.
    pub value: String,
    /// For whom the token speaks then: an application or a user.
    pub subject: Id,
}

/// Whether tokens without `typ` are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Untyped {
    /// No.
    #[default]
    Refused,
    /// Yes: the issuer writes none.
    Accepted,
}

/// An issuer outside, as it is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideIssuer {
    /// Its name, exactly as in `iss`.
    pub issuer: String,
    /// The audience that its tokens have to have for us.
    pub audience: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// The algorithms it signs with.
    pub algorithms: Vec<Alg>,
    /// Whether tokens without `typ` are taken.
    pub untyped: Untyped,
    /// For whom its tokens speak; the first that fits counts.
    pub rules: Vec<ClaimRule>,
}

/// A setting of an issuer is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutsideFault {
    /// Nothing where there has to be something.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// The address.
    #[error("jwks_uri: {0}")]
    Uri(FetchFault),
    /// A rule that leads to something else.
    #[error("a rule leads to {0}: it has to be an application or a user")]
    Subject(Id),
}

impl OutsideIssuer {
    /// Checks the settings.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check(&self) -> Result<(), OutsideFault> {
        for (name, empty) in [
            ("issuer", self.issuer.is_empty()),
            ("audience", self.audience.is_empty()),
            ("algorithms", self.algorithms.is_empty()),
            ("rules", self.rules.is_empty()),
            ("the claim of a rule", self.rules.iter().any(|rule| rule.claim.is_empty())),
        ] {
            if empty {
                return Err(OutsideFault::Empty(name));
            }
        }
        check_uri(&self.jwks_uri).map_err(OutsideFault::Uri)?;
        match self.rules.iter().find(|rule| !matches!(rule.subject.kind(), Kind::App | Kind::User)) {
            Some(rule) => Err(OutsideFault::Subject(rule.subject.clone())),
            None => Ok(()),
        }
    }

    /// For whom a verified token of it speaks.
    ///
    /// # Errors
    /// [`TokenFault::Issuer`], [`TokenFault::NoRule`].
    pub fn subject_of(&self, claims: &Claims) -> Result<&Id, TokenFault> {
        if claims.issuer != self.issuer {
            return Err(TokenFault::Issuer);
        }
        let fits =
            |rule: &&ClaimRule| value_of(claims, &rule.claim).is_some_and(|value| says(value, &rule.value));
        self.rules.iter().find(fits).map(|rule| &rule.subject).ok_or(TokenFault::NoRule)
    }

    fn verifier(&self, keys: KeySet) -> Verifier {
        let accepts = match self.untyped {
            Untyped::Refused => Accepts::Outside,
            Untyped::Accepted => Accepts::OutsideUntyped,
        };
        Verifier::new(&self.issuer, accepts, &self.algorithms, keys)
    }
}

/// A claim by its whole name (names may have dots: `https://example.com/team`), else step by step.
fn value_of<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.all.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    rest.split('.').try_fold(claims.all.get(first)?, |value, step| value.as_object()?.get(step))
}

fn says(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Array(several) => several.iter().any(|one| one.as_str() == Some(wanted)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

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

/// The keys of one issuer, and when they are fetched.
#[derive(Debug, Default)]
pub struct JwksCache {
    keys: KeySet,
    /// When they were fetched.
    fetched_ms: Option<i64>,
    fetching: Fetching,
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
    /// Looks for a key; `None`: a token that names none. After [`Look::Fetch`] the caller owes [`JwksCache::fetched`].
    pub fn look(&mut self, kid: Option<&str>, now_ms: i64) -> Look {
        let usable = self.fetched_ms.is_some_and(|at_ms| elapsed_ms(at_ms, now_ms) < STALE_MAX_MS);
        if usable && kid.is_none_or(|kid| self.keys.has(kid)) {
            return Look::Have(self.keys.clone());
        }
        match self.pause(now_ms) {
            Pause::Running => Look::Wait,
            Pause::Until(until_ms) if usable => Look::Unknown { until_ms },
            Pause::Until(until_ms) => Look::NoKeys { until_ms },
            Pause::Over => {
                self.fetching = Fetching::Running { began_ms: now_ms };
                Look::Fetch
            }
        }
    }

    /// Whether the set is to be fetched because of its age. If so the caller owes [`JwksCache::fetched`].
    pub fn begin_renewal(&mut self, now_ms: i64) -> bool {
        let old = self.fetched_ms.is_none_or(|at_ms| elapsed_ms(at_ms, now_ms) >= RENEW_MS);
        let due = old && matches!(self.pause(now_ms), Pause::Over);
        if due {
            self.fetching = Fetching::Running { began_ms: now_ms };
        }
        due
    }

    /// A fetch has ended; without a set what was there stays.
    pub fn fetched(&mut self, keys: Option<KeySet>, now_ms: i64) {
        let began_ms = match self.fetching {
            Fetching::Never => now_ms,
            Fetching::Running { began_ms } | Fetching::Ended { began_ms } => began_ms,
        };
        self.fetching = Fetching::Ended { began_ms };
        if let Some(keys) = keys {
            self.keys = keys;
            self.fetched_ms = Some(now_ms);
        }
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

/// Time that went by. A clock that was set back has let much go by: nothing is locked until it has caught up.
fn elapsed_ms(since_ms: i64, now_ms: i64) -> i64 {
    if now_ms < since_ms { i64::MAX } else { now_ms.saturating_sub(since_ms) }
}

/// An issuer outside with its keys, which are fetched when needed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OutsideKeys {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    issuer: OutsideIssuer,
    fetcher: Fetcher,
    cache: Mutex<JwksCache>,
    ended: Notify,
}

impl OutsideKeys {
    /// Fetches nothing yet.
    pub fn new(issuer: OutsideIssuer, fetcher: Fetcher) -> OutsideKeys {
        let shared = Shared { issuer, fetcher, cache: Mutex::default(), ended: Notify::new() };
        OutsideKeys { shared: Arc::new(shared) }
    }

    /// The issuer.
    pub fn issuer(&self) -> &OutsideIssuer {
        &self.shared.issuer
    }

    /// What verifies a token that names a key; waits for a fetch if there has to be one, which takes at most 3 seconds.
    /// Cancel safe: a fetch that has begun goes on.
    ///
    /// # Errors
    /// [`TokenFault::UnknownKid`], [`TokenFault::NoKeys`].
    pub async fn verifier(&self, kid: Option<&str>, now_ms: i64) -> Result<Verifier, TokenFault> {
        let began = Instant::now();
        // More than one fetch is not waited for: one of another asker, and at most one of our own.
        for _ in 0..3 {
            let ended = self.shared.ended.notified();
            let now_ms = later_ms(now_ms, began);
            let look = self.shared.cache.lock().look(kid, now_ms);
            match look {
                Look::Have(keys) => return Ok(self.shared.issuer.verifier(keys)),
                Look::Unknown { .. } => return Err(TokenFault::UnknownKid),
                Look::NoKeys { .. } => return Err(TokenFault::NoKeys),
                // How it went is in the cache, and in the log.
                Look::Fetch => drop(self.fetch(now_ms).await),
                Look::Wait => {
                    // Whether it ended in time is seen at the next look.
                    let _ = tokio::time::timeout(FETCH_MAX + Duration::from_millis(500), ended).await;
                }
            }
        }
        Err(TokenFault::NoKeys)
    }

    /// Fetches the keys if they are an hour old or never came; to be called about once a minute. Says whether it did.
    ///
    /// # Errors
    /// It tried, and failed: what was there stays. Logged by the caller.
    pub async fn renew(&self, now_ms: i64) -> Result<Renewal, FetchFault> {
        if !self.shared.cache.lock().begin_renewal(now_ms) {
            return Ok(Renewal::NotDue);
        }
        self.fetch(now_ms).await.map(|()| Renewal::Done)
    }

    /// One fetch, in a task of its own, so that a client who goes away does not take it along. The task ends by itself
    /// after [`FETCH_MAX`].
    async fn fetch(&self, now_ms: i64) -> Result<(), FetchFault> {
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(async move {
            let began = Instant::now();
            let fetched = shared.fetch_once().await;
            if let Err(fault) = &fetched {
                tracing::warn!(issuer = %shared.issuer.issuer, "the keys of an issuer could not be fetched: {fault}");
            }
            let (keys, result) = match fetched {
                Ok(keys) => (Some(keys), Ok(())),
                Err(fault) => (None, Err(fault)),
            };
            shared.cache.lock().fetched(keys, later_ms(now_ms, began));
            shared.ended.notify_waiters();
            result
        });
        task.await.unwrap_or(Err(FetchFault::Cancelled))
    }
}

impl Shared {
    async fn fetch_once(&self) -> Result<KeySet, FetchFault> {
        let bytes = self.fetcher.fetch(&self.issuer.jwks_uri).await?;
        KeySet::read(&bytes).map_err(FetchFault::Keys)
    }
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It was not time.
    NotDue,
    /// The keys are new.
    Done,
}

fn later_ms(now_ms: i64, began: Instant) -> i64 {
    now_ms.saturating_add(i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
