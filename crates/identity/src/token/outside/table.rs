//! All issuers outside that are set up now, by their names in tokens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{OutsideFault, OutsideIssuer, OutsideKeys};
use crate::token::{Fetcher, Seen};

/// How often somebody looks whether keys have to be renewed.
const RENEW_EVERY: Duration = Duration::from_mins(1);

type ByUrl = HashMap<Box<str>, OutsideKeys>;

/// See the module. Shared as `Arc`; [`OutsideIssuers::keep`] keeps the keys up to date.
#[derive(Debug, Default)]
pub struct OutsideIssuers {
    by_url: RwLock<Arc<ByUrl>>,
    /// Tokens of theirs that were verified, of all of them together, so that memory has an end however many there are. They
    /// stay over a reload: what settings say is asked of them again. What is revoked of our own has nothing to do with them.
    seen: Mutex<Seen>,
    changed: Notify,
}

impl OutsideIssuers {
    /// From now on there are these. Those that stay as they are keep their keys, also where only their rules are others.
    ///
    /// # Errors
    /// One cannot be used; nothing has changed then.
    pub fn set(&self, issuers: Vec<OutsideIssuer>) -> Result<(), OutsideFault> {
        issuers.iter().try_for_each(OutsideIssuer::check)?;
        let before = Arc::clone(&self.by_url.read());
        let mut by_url = ByUrl::with_capacity(issuers.len());
        for issuer in issuers {
            let url = Box::from(issuer.issuer.as_str());
            let known = before.get(&url);
            let same = known.filter(|keys| **keys.issuer() == issuer).cloned();
            let keys = same.unwrap_or_else(|| {
                let fetcher = Fetcher::trusting(issuer.ca_file.clone());
                let moved = known.and_then(|keys| keys.with(issuer.clone()));
                moved.unwrap_or_else(|| OutsideKeys::new(issuer, fetcher))
            });
            by_url.insert(url, keys);
        }
        *self.by_url.write() = Arc::new(by_url);
        self.changed.notify_one();
        Ok(())
    }

    /// The issuer with this name in tokens, compared exactly.
    pub fn find(&self, url: &str) -> Option<OutsideKeys> {
        self.by_url.read().get(url).cloned()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_url.read().is_empty()
    }

    /// Tokens that were verified before.
    pub(crate) fn seen(&self) -> &Mutex<Seen> {
        &self.seen
    }

    /// Fetches keys before they are asked for, and renews them, for ever. Cancel safe.
    pub async fn keep(&self, now_ms: impl Fn() -> i64) {
        loop {
            let all = Arc::clone(&self.by_url.read());
            let mut renewals = JoinSet::new();
            for keys in all.values() {
                let (keys, now_ms) = (keys.clone(), now_ms());
                // What became of it is in the log.
                renewals.spawn(async move { drop(keys.renew(now_ms).await) });
            }
            renewals.join_all().await;
            // Whether something has changed or time went by makes no difference.
            let _ = tokio::time::timeout(RENEW_EVERY, self.changed.notified()).await;
        }
    }
}
