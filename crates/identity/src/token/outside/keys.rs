//! An issuer with its keys, which are fetched when they are needed: one fetch at a time, a bounded number of askers that
//! wait for it, and nobody for long.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::{Begin, JwksCache, Look, OutsideIssuer, Turn};
use crate::token::fetch::FETCH_MAX;
use crate::token::{FetchFault, Fetcher, KeySet, Verifier};

/// Most who wait for the keys of one issuer at a time.
const WAITING_MAX: usize = 64;

/// How long one waits for a fetch of somebody else: a little longer than it can take.
const WAIT: Duration = FETCH_MAX.saturating_add(Duration::from_millis(500));

/// Why there is nothing to verify a token with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysFault {
    /// The issuer publishes no such key.
    #[error("it names a key (kid) which the issuer does not publish")]
    UnknownKid,
    /// Its keys could not be fetched, and those that are known do not do.
    #[error("its keys could not be fetched: {0}")]
    Unreachable(FetchFault),
    /// Too many wait for them already.
    #[error("its keys are being fetched, and {WAITING_MAX} wait for them already")]
    Busy,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It was not time.
    NotDue,
    /// The keys are new.
    Done,
}

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OutsideKeys {
    issuer: Arc<OutsideIssuer>,
    source: Arc<Source>,
}

/// Where keys come from, and those that came.
#[derive(Debug)]
pub(super) struct Source {
    jwks_uri: String,
    ca_file: Option<PathBuf>,
    fetcher: Fetcher,
    pub(super) cache: Mutex<JwksCache>,
    ended: Notify,
    waiting: Semaphore,
}

impl OutsideKeys {
    /// Fetches nothing yet.
    pub fn new(issuer: OutsideIssuer, fetcher: Fetcher) -> OutsideKeys {
        let source = Source {
            jwks_uri: issuer.jwks_uri.clone(),
            ca_file: issuer.ca_file.clone(),
            fetcher,
            cache: Mutex::default(),
            ended: Notify::new(),
            waiting: Semaphore::new(WAITING_MAX),
        };
        OutsideKeys { issuer: Arc::new(issuer), source: Arc::new(source) }
    }

    /// The same keys under other settings; `None`: they come from elsewhere now.
    pub(super) fn with(&self, issuer: OutsideIssuer) -> Option<OutsideKeys> {
        let is_same = self.source.comes_from(&issuer.jwks_uri, issuer.ca_file.as_deref());
        is_same.then(|| OutsideKeys { issuer: Arc::new(issuer), source: Arc::clone(&self.source) })
    }

    /// The issuer.
    pub fn issuer(&self) -> &Arc<OutsideIssuer> {
        &self.issuer
    }

    #[cfg(test)]
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// What verifies a token that names a key, if that key is known; nothing is fetched and nobody waits.
    pub fn known(&self, kid: Option<&str>, now_ms: i64) -> Option<Verifier> {
        let keys = self.source.cache.lock().known(kid, now_ms)?;
        Some(self.issuer.verifier(keys))
    }

    /// What verifies a token that names a key; waits for a fetch if there has to be one, which takes at most 3 seconds.
    /// Cancel safe: a fetch that has begun goes on.
    ///
    /// # Errors
    /// See [`KeysFault`].
    pub async fn verifier(&self, kid: Option<&str>, now_ms: i64) -> Result<Verifier, KeysFault> {
        if let Some(verifier) = self.known(kid, now_ms) {
            return Ok(verifier);
        }
        let _turn = self.source.waiting.try_acquire().map_err(|_| KeysFault::Busy)?;
        let began = Instant::now();
        // More than one fetch is not waited for: one of another asker, and at most one of our own.
        for _ in 0..3 {
            let ended = self.source.ended.notified();
            let now_ms = later_ms(now_ms, began);
            let look = self.source.cache.lock().look(kid, now_ms);
            match look {
                Look::Have(keys) => return Ok(self.issuer.verifier(keys)),
                Look::Unknown { .. } => return Err(self.source.unknown()),
                Look::NoKeys { .. } => return Err(KeysFault::Unreachable(self.source.fault())),
                // How it went is in the cache, and in the log.
                Look::Fetch => drop(self.fetch(now_ms).await),
                Look::Wait => wait(ended).await,
            }
        }
        Err(KeysFault::Unreachable(self.source.fault()))
    }

    /// Fetches the keys if they are an hour old or never came; to be called about once a minute. Says whether it did.
    ///
    /// # Errors
    /// It tried, and failed: what was there stays. The log has it.
    pub async fn renew(&self, now_ms: i64) -> Result<Renewal, FetchFault> {
        if !self.source.cache.lock().begin_renewal(now_ms) {
            return Ok(Renewal::NotDue);
        }
        self.fetch(now_ms).await.map(|()| Renewal::Done)
    }

    /// Fetches the keys though they are not old, if that may be: a token that names no key is not signed by the one that
    /// is known, which may be because the issuer has another by now. While somebody else fetches it waits for that.
    ///
    /// # Errors
    /// `Busy`.
    pub(crate) async fn refresh(&self, now_ms: i64) -> Result<Renewal, KeysFault> {
        let _turn = self.source.waiting.try_acquire().map_err(|_| KeysFault::Busy)?;
        let ended = self.source.ended.notified();
        let begin = self.source.cache.lock().begin(now_ms);
        match begin {
            Begin::Fetch => Ok(self.fetch(now_ms).await.map_or(Renewal::NotDue, |()| Renewal::Done)),
            Begin::Wait => {
                wait(ended).await;
                Ok(Renewal::Done)
            }
            Begin::NotDue => Ok(Renewal::NotDue),
        }
    }

    /// One fetch, in a task of its own, so that a client who goes away does not take it along. The task ends by itself
    /// after [`FETCH_MAX`].
    async fn fetch(&self, now_ms: i64) -> Result<(), FetchFault> {
        let (source, issuer) = (Arc::clone(&self.source), Arc::clone(&self.issuer));
        let task = tokio::spawn(async move {
            let began = Instant::now();
            let fetched = source.fetch_once().await;
            let result = fetched.as_ref().map(|_| ()).map_err(Clone::clone);
            let turn = source.cache.lock().fetched(fetched, later_ms(now_ms, began));
            match (turn, &result) {
                (Turn::Fails, Err(fault)) => tracing::warn!(
                    "issuer {}: its keys cannot be fetched from {}: {fault}; those that are known go on for at most a day",
                    issuer.name,
                    source.jwks_uri
                ),
                (Turn::Works, _) => tracing::info!("issuer {}: its keys can be fetched again", issuer.name),
                (Turn::None | Turn::Fails, _) => {}
            }
            source.ended.notify_waiters();
            result
        });
        task.await.unwrap_or(Err(FetchFault::Cancelled))
    }
}

impl Source {
    fn comes_from(&self, jwks_uri: &str, ca_file: Option<&Path>) -> bool {
        self.jwks_uri == jwks_uri && self.ca_file.as_deref() == ca_file
    }

    async fn fetch_once(&self) -> Result<KeySet, FetchFault> {
        let bytes = self.fetcher.fetch(&self.jwks_uri).await?;
        KeySet::read(&bytes).map_err(FetchFault::Keys)
    }

    /// A key that is not among the known ones may be new, if the last fetch did not bring any.
    fn unknown(&self) -> KeysFault {
        let failing = self.cache.lock().failing().cloned();
        failing.map_or(KeysFault::UnknownKid, KeysFault::Unreachable)
    }

    fn fault(&self) -> FetchFault {
        self.cache.lock().failing().cloned().unwrap_or(FetchFault::TimedOut)
    }
}

/// Whether it ended in time is seen at the next look.
async fn wait(ended: Notified<'_>) {
    let _ = tokio::time::timeout(WAIT, ended).await;
}

fn later_ms(now_ms: i64, began: Instant) -> i64 {
    now_ms.saturating_add(i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX))
}
