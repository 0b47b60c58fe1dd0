//! Tokens that were verified before: a token that comes a second time costs a hash and no signature check. And what was
//! revoked, which is asked of every token, seen or not.
//!
//! Only good tokens are kept, so nobody fills it with inventions.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Claims, SKEW_S, TokenFault};

/// Most tokens that are kept.
pub const TOKENS_MAX: usize = 10_000;

/// Most bytes of tokens whose claims are kept: tokens may be long.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most revocations that are kept, of token ids and of key ids each.
const REVOKED_MAX: usize = 100_000;

type Hash = [u8; 32];

struct Token {
    claims: Arc<Claims>,
    signed_by: Arc<str>,
    bytes: usize,
}

/// Tokens that were seen, and what was revoked.
#[derive(Default)]
pub struct Seen {
    tokens: HashMap<Hash, Token>,
    /// When each ends: what ends first goes first.
    ends: BTreeSet<(i64, Hash)>,
    bytes: usize,
    revoked_tokens: Revoked,
    revoked_keys: Revoked,
    /// What was issued up to then is refused: the answer to more revocations than fit.
    refused_until_s: Option<i64>,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seen")
            .field("tokens", &self.tokens.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Seen {
    /// How many tokens are kept.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// A token's claims and the thumbprint of the key that signed it. Whether they are good for who asks is asked of the
    /// claims again.
    pub(super) fn find(&mut self, hash: &Hash, now_s: i64) -> Option<(Arc<Claims>, Arc<str>)> {
        self.forget_ended(now_s);
        let token = self.tokens.get(hash)?;
        Some((Arc::clone(&token.claims), Arc::clone(&token.signed_by)))
    }

    /// Keeps a token that is good. One that ends sooner than all others makes room when there is none.
    pub(super) fn remember(
        &mut self,
        hash: Hash,
        claims: Arc<Claims>,
        signed_by: Arc<str>,
        bytes: usize,
        now_s: i64,
    ) {
        self.forget_ended(now_s);
        self.forget(&hash);
        while self.tokens.len() >= TOKENS_MAX || self.bytes + bytes > BYTES_MAX {
            let Some((_, first)) = self.ends.first().copied() else { return };
            self.forget(&first);
        }
        self.ends.insert((claims.expires_s, hash));
        self.bytes += bytes;
        self.tokens.insert(hash, Token { claims, signed_by, bytes });
    }

    /// Revokes one token by its id (`jti`), which is asked until its end.
    pub fn revoke_token(&mut self, token_id: &str, ends_s: i64, now_s: i64) {
        let fits = self.revoked_tokens.add(token_id, ends_s, now_s);
        self.after_revoking(fits, now_s, |claims| claims.token_id.as_deref() == Some(token_id));
    }

    /// Revokes every token that was fetched with a key, until the last of them has ended.
    pub fn revoke_key(&mut self, key_id: &str, ends_s: i64, now_s: i64) {
        let fits = self.revoked_keys.add(key_id, ends_s, now_s);
        self.after_revoking(fits, now_s, |claims| claims.kid_used.as_deref() == Some(key_id));
    }

    /// Forgets the tokens of a subject, so that the next question about it is answered anew.
    pub fn forget_subject(&mut self, subject: &str) {
        self.forget_where(|claims| claims.subject == subject);
    }

    /// Whether a token with such claims was revoked.
    ///
    /// # Errors
    /// [`TokenFault::Revoked`].
    pub fn check_revoked(&self, claims: &Claims) -> Result<(), TokenFault> {
        let has = |set: &Revoked, name: &Option<String>| name.as_ref().is_some_and(|name| set.has(name));
        // What has neither of the two names cannot have been revoked by them.
        let has_name = claims.token_id.is_some() || claims.kid_used.is_some();
        let too_old = has_name
            && self.refused_until_s.is_some_and(|until_s| claims.issued_s.is_none_or(|at_s| at_s <= until_s));
        if too_old || has(&self.revoked_tokens, &claims.token_id) || has(&self.revoked_keys, &claims.kid_used)
        {
            Err(TokenFault::Revoked)
        } else {
            Ok(())
        }
    }

    /// Whether a token was revoked by its id.
    pub fn is_token_revoked(&self, token_id: &str) -> bool {
        self.revoked_tokens.has(token_id)
    }

    fn after_revoking(&mut self, fits: Fits, now_s: i64, hit: impl Fn(&Claims) -> bool) {
        match fits {
            Fits::Kept => self.forget_where(hit),
            // A revocation may not be lost, and memory has an end: whoever holds a token fetches a new one.
            Fits::Full => {
                self.refused_until_s = self.refused_until_s.max(Some(now_s));
                self.forget_where(|_| true);
            }
        }
    }

    fn forget_where(&mut self, hit: impl Fn(&Claims) -> bool) {
        let gone: Vec<_> =
            self.tokens.iter().filter(|(_, token)| hit(&token.claims)).map(|(hash, _)| *hash).collect();
        for hash in gone {
            self.forget(&hash);
        }
    }

    fn forget_ended(&mut self, now_s: i64) {
        while let Some((ends_s, hash)) = self.ends.first().copied()
            && ends_s.saturating_add(SKEW_S) <= now_s
        {
            self.forget(&hash);
        }
    }

    fn forget(&mut self, hash: &Hash) {
        if let Some(token) = self.tokens.remove(hash) {
            self.bytes -= token.bytes;
            self.ends.remove(&(token.claims.expires_s, *hash));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fits {
    Kept,
    Full,
}

/// Names that are refused until a time. Names come from outside and may be long: only their hashes are kept.
#[derive(Default)]
struct Revoked {
    names: HashMap<Hash, i64>,
}

impl Revoked {
    fn add(&mut self, name: &str, ends_s: i64, now_s: i64) -> Fits {
        if self.names.len() >= REVOKED_MAX {
            self.names.retain(|_, ends_s| ends_s.saturating_add(SKEW_S) > now_s);
        }
        if self.names.len() >= REVOKED_MAX {
            return Fits::Full;
        }
        let ends = self.names.entry(Sha256::digest(name).into()).or_insert(ends_s);
        *ends = ends_s.max(*ends);
        Fits::Kept
    }

    fn has(&self, name: &str) -> bool {
        !self.names.is_empty() && self.names.contains_key::<Hash>(&Sha256::digest(name).into())
    }
}

#[cfg(test)]
mod tests;
