//! Our signing keys at work: read from the store, followed there, and renewed in time. Several instances share them.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::Instant;

use crate::store::{Put, Store, StoreFault};
use crate::token::{Due, Issued, Issuer, NewToken, SigningFault, SigningKey, SigningKeys, Verifier};

/// The store's space of signing keys, each under its `kid`.
const SPACE: &str = "signing";

/// The store's space of whose turn it is to make the next key, and the only thing in it.
const TURN_SPACE: &str = "signing_turn";
const TURN: &str = "next";

/// How long a turn is: making a key takes a millisecond, and who dies at it lets the next one try after this.
const TURN_MS: i64 = 10_000;

/// How often somebody looks whether another instance has made the key.
const TURN_LOOK: Duration = Duration::from_millis(50);

/// How often the store is asked for keys of other instances, and for keys that were taken out.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Most keys: one is made in 30 days and kept for 31.
const KEYS_MAX: u32 = 100;

/// Why there is nothing to sign with.
#[derive(Debug, thiserror::Error)]
pub enum SignerFault {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A key could not be made or used.
    #[error(transparent)]
    Signing(#[from] SigningFault),
}

/// Signs our tokens with the key of the day. Shared as `Arc`; [`Signer::keep`] keeps it up to date.
#[derive(Debug)]
pub struct Signer {
    url: String,
    life_s: i64,
    now: RwLock<Arc<Current>>,
}

#[derive(Debug)]
struct Current {
    issuer: Issuer,
    verifier: Verifier,
    jwks: Arc<str>,
}

impl Signer {
    /// Reads the keys of the store, or makes the first. Tokens are of the issuer `url` and good for `life_s`.
    ///
    /// # Errors
    /// The store does not answer, or no key could be made.
    pub async fn open(store: &Store, url: &str, life_s: i64, now_ms: i64) -> Result<Signer, SignerFault> {
        let keys = keys_of(store, now_ms).await?;
        let current = Current::new(url, life_s, &keys, now_ms)?;
        Ok(Signer { url: url.to_owned(), life_s, now: RwLock::new(Arc::new(current)) })
    }

    /// The URL of the issuer.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Issues a token.
    ///
    /// # Errors
    /// [`SigningFault::Crypto`].
    pub fn issue(&self, new: &NewToken<'_>, now_s: i64, chance: &[u8; 16]) -> Result<Issued, SigningFault> {
        let current = Arc::clone(&self.now.read());
        current.issuer.issue(new, now_s, chance)
    }

    /// Verifies what it and other instances issue.
    pub fn verifier(&self) -> Verifier {
        self.now.read().verifier.clone()
    }

    /// The set of public keys, as JSON (RFC 7517, 5).
    pub fn jwks(&self) -> Arc<str> {
        Arc::clone(&self.now.read().jwks)
    }

    /// Asks the store for the keys, and makes the next one if it is time. Cancel safe: at worst nobody makes a key for
    /// ten seconds.
    ///
    /// # Errors
    /// The store does not answer, or no key could be made; what was there before stays.
    pub async fn look(&self, store: &Store, now_ms: i64) -> Result<(), SignerFault> {
        let keys = keys_of(store, now_ms).await?;
        let current = Current::new(&self.url, self.life_s, &keys, now_ms)?;
        *self.now.write() = Arc::new(current);
        Ok(())
    }

    /// Looks once a minute, for ever. The caller gives the task a name and ends it. Cancel safe.
    pub async fn keep(&self, store: &Store, now_ms: impl Fn() -> i64) {
        let mut failing = false;
        loop {
            let left_ms = self.now.read().issuer.good_until_ms().saturating_sub(now_ms());
            let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
            tokio::time::sleep(left.clamp(Duration::from_secs(1), LOOK_EVERY)).await;
            let looked = self.look(store, now_ms()).await;
            if let (Err(fault), false) = (&looked, failing) {
                tracing::warn!(fault = %fault, "the signing keys of tokens cannot be looked at: those known go on");
            }
            failing = looked.is_err();
        }
    }
}

impl Current {
    fn new(url: &str, life_s: i64, keys: &SigningKeys, now_ms: i64) -> Result<Current, SigningFault> {
        let issuer = Issuer::new(url, life_s, keys, now_ms)?;
        Ok(Current { verifier: issuer.verifier(), jwks: issuer.jwks().to_string().into(), issuer })
    }
}

/// The keys of the store, with the next one if it was time to make it.
async fn keys_of(store: &Store, now_ms: i64) -> Result<SigningKeys, SignerFault> {
    let begun = Instant::now();
    loop {
        let waited_ms = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        let now_ms = now_ms.saturating_add(waited_ms);
        let keys = read(store, now_ms).await?;
        if keys.due(now_ms) != Due::Now {
            return Ok(keys);
        }
        let turn_ends_ms = now_ms.saturating_add(TURN_MS);
        if store.put_thing(TURN_SPACE, TURN, "", turn_ends_ms, Put::IfAbsent, now_ms).await? {
            return make_next(store, now_ms).await;
        }
        // Another instance is at it. Whoever has a key goes on with that.
        if keys.signer(now_ms).is_some() {
            return Ok(keys);
        }
        tokio::time::sleep(TURN_LOOK).await;
    }
}

/// Makes the next key, if nobody has made it before the turn was ours.
async fn make_next(store: &Store, now_ms: i64) -> Result<SigningKeys, SignerFault> {
    let mut keys = read(store, now_ms).await?;
    if keys.due(now_ms) == Due::Now {
        let key = SigningKey::generate(now_ms)?;
        let text = key.write();
        let text = text.expose_text().unwrap_or_default();
        store.put_thing(SPACE, key.kid(), text, key.ends_ms(), Put::IfAbsent, now_ms).await?;
        tracing::info!(
            kid = key.kid(),
            "a new key signs tokens from now on, or in an hour if there is another"
        );
        keys.add(key);
    }
    Ok(keys)
}

async fn read(store: &Store, now_ms: i64) -> Result<SigningKeys, StoreFault> {
    let things = store.things(SPACE, now_ms, KEYS_MAX).await?;
    let read = things.iter().filter_map(|thing| match SigningKey::read(&thing.value) {
        Ok(key) => Some(key),
        Err(fault) => {
            tracing::warn!(kid = thing.key, fault = %fault, "a signing key is left out");
            None
        }
    });
    Ok(SigningKeys::new(read))
}
