//! Our signing keys. Each is kept in the store by its `kid`; the list of them is a state machine whose only input is time:
//!
//! | age of a key | it |
//! |---|---|
//! | 0 | is published, so that whoever keeps our keys for an hour knows it before it signs |
//! | 1 hour | signs (at once if there is no other) |
//! | 30 days | has a successor |
//! | 30 days and 2 hours | signs no more; is published until the last token that it signed has ended |
//!
//! Several instances on one store may each make a successor at the same time: both are published, and the younger one signs as soon as all know it.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use plimsoll_types::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PublicKey, SKEW_S};

const HOUR_MS: i64 = 3_600_000;

/// From when on a new key signs, if there is another.
const SETTLE_MS: i64 = HOUR_MS;

/// When a key has a successor made.
const ROTATE_MS: i64 = 30 * 24 * HOUR_MS;

/// When a key signs no more.
const RETIRE_MS: i64 = ROTATE_MS + 2 * HOUR_MS;

/// Longest life of a token, seconds. A retired key is published for as long.
pub(super) const LIFE_MAX_S: i64 = 24 * 3600;

const PUBLISHED_MS: i64 = (LIFE_MAX_S + 2 * SKEW_S) * 1000;

/// Something is wrong with a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningFault {
    /// What the store has is no signing key.
    #[error(
        "what the store has as a signing key cannot be read: it was damaged, or written by another version"
    )]
    Unreadable,
    /// No key can sign now.
    #[error("there is no key to sign with")]
    None,
    /// The cryptography failed.
    #[error("a key could not be made or used")]
    Crypto,
}

/// A signing key, ES256.
#[derive(Clone)]
pub struct SigningKey {
    kid: String,
    pkcs8: Secret,
    created_ms: i64,
    retire_ms: i64,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("created_ms", &self.created_ms)
            .field("retire_ms", &self.retire_ms)
            .finish_non_exhaustive()
    }
}

/// As it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    kid: String,
    pkcs8: String,
    created_ms: i64,
    retire_ms: i64,
}

impl SigningKey {
    /// Makes one.
    ///
    /// # Errors
    /// [`SigningFault::Crypto`].
    pub fn generate(now_ms: i64) -> Result<SigningKey, SigningFault> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| SigningFault::Crypto)?;
        let pkcs8 = Secret::new(document.as_ref());
        let (_, public, _) = open(&pkcs8)?;
        Ok(SigningKey {
            kid: public.thumbprint().to_owned(),
            pkcs8,
            created_ms: now_ms,
            retire_ms: now_ms.saturating_add(RETIRE_MS),
        })
    }

    /// Its name: the thumbprint of its public key. The store keeps it by that.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// When the store may forget it.
    pub fn ends_ms(&self) -> i64 {
        self.retire_ms.saturating_add(PUBLISHED_MS)
    }

    /// As it is kept: JSON, with the private key in it.
    pub fn write(&self) -> Secret {
        let stored = Stored {
            kid: self.kid.clone(),
            pkcs8: BASE64URL.encode(self.pkcs8.expose()),
            created_ms: self.created_ms,
            retire_ms: self.retire_ms,
        };
        Secret::from_text(&serde_json::to_string(&stored).unwrap_or_default())
    }

    /// Reads what was kept.
    ///
    /// # Errors
    /// [`SigningFault::Unreadable`]; also if the name is not that of the key.
    pub fn read(text: &str) -> Result<SigningKey, SigningFault> {
        let stored: Stored = serde_json::from_str(text).map_err(|_| SigningFault::Unreadable)?;
        let pkcs8 = BASE64URL.decode(&stored.pkcs8).map_err(|_| SigningFault::Unreadable)?;
        let pkcs8 = Secret::new(pkcs8);
        let (_, public, _) = open(&pkcs8).map_err(|_| SigningFault::Unreadable)?;
        if public.thumbprint() != stored.kid || stored.retire_ms < stored.created_ms {
            return Err(SigningFault::Unreadable);
        }
        Ok(SigningKey { kid: stored.kid, pkcs8, created_ms: stored.created_ms, retire_ms: stored.retire_ms })
    }

    /// The pair that signs, the public key, and its JWK.
    pub(super) fn open(&self) -> Result<(EcdsaKeyPair, PublicKey, Value), SigningFault> {
        open(&self.pkcs8)
    }

    fn signs(&self, now_ms: i64) -> bool {
        now_ms < self.retire_ms
    }

    fn is_settled(&self, now_ms: i64) -> bool {
        self.created_ms.saturating_add(SETTLE_MS) <= now_ms
    }
}

fn open(pkcs8: &Secret) -> Result<(EcdsaKeyPair, PublicKey, Value), SigningFault> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.expose())
        .map_err(|_| SigningFault::Crypto)?;
    let (public, jwk) = PublicKey::from_p256(pair.public_key().as_ref()).map_err(|_| SigningFault::Crypto)?;
    Ok((pair, public, jwk))
}

/// When the next signing key is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now,
    /// At that time, milliseconds since 1970.
    At(i64),
}

/// All our signing keys.
#[derive(Clone, Debug, Default)]
pub struct SigningKeys {
    /// The oldest first.
    keys: Vec<SigningKey>,
}

impl SigningKeys {
    /// Of what the store has.
    pub fn new(keys: impl IntoIterator<Item = SigningKey>) -> SigningKeys {
        let mut all = SigningKeys::default();
        for key in keys {
            all.add(key);
        }
        all
    }

    /// Adds one; one that is there already is not there twice.
    pub fn add(&mut self, key: SigningKey) {
        if self.keys.iter().all(|known| known.kid != key.kid) {
            self.keys.push(key);
            self.keys.sort_by(|a, b| (a.created_ms, &a.kid).cmp(&(b.created_ms, &b.kid)));
        }
    }

    /// Which signs now: the youngest of those that are known long enough, else the oldest. `None`: make one first.
    pub fn signer(&self, now_ms: i64) -> Option<&SigningKey> {
        let mut able = self.keys.iter().filter(|key| key.signs(now_ms));
        able.clone().rfind(|key| key.is_settled(now_ms)).or_else(|| able.next())
    }

    /// When the next is to be made.
    pub fn due(&self, now_ms: i64) -> Due {
        match self.keys.last() {
            Some(youngest) if youngest.signs(now_ms) => {
                let at_ms = youngest.created_ms.saturating_add(ROTATE_MS);
                if at_ms <= now_ms { Due::Now } else { Due::At(at_ms) }
            }
            _ => Due::Now,
        }
    }

    /// Which are published: tokens that they signed may still be good.
    pub fn published(&self, now_ms: i64) -> impl Iterator<Item = &SigningKey> {
        self.keys.iter().filter(move |key| now_ms < key.ends_ms())
    }

    /// When something of this is next different: another signs, or one is published no more.
    pub(super) fn next_change_ms(&self, now_ms: i64) -> i64 {
        let moments =
            |key: &SigningKey| [key.created_ms.saturating_add(SETTLE_MS), key.retire_ms, key.ends_ms()];
        self.keys.iter().flat_map(moments).filter(|at_ms| *at_ms > now_ms).min().unwrap_or(now_ms)
    }
}

#[cfg(test)]
mod tests;
