//! Tokens that were verified before: a token that comes a second time costs a hash and no signature check. And what was
//! revoked, which is asked of every token, seen or not.
//!
//! Only good tokens are kept, so nobody fills it with inventions.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Alg, Claims, SKEW_S, TokenFault, Typ};

/// Most tokens that are kept.
const TOKENS_MAX: usize = 10_000;

/// Most bytes of tokens whose claims are kept: tokens may be long.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most revocations that are kept.
pub(crate) const REVOKED_MAX: usize = 100_000;

/// No token of ours that is revoked lives longer, seconds.
const LIFE_MAX_S: i64 = 86_400;

type Hash = [u8; 32];

/// What of a token is not in its claims and was looked at when it was verified: asked again when it comes again, for it
/// may be asked by settings that take less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    /// The thumbprint of the key that signed it.
    pub(super) by: Arc<str>,
    /// With which algorithm.
    pub(super) alg: Alg,
    /// Of which type it says it is.
    pub(super) typ: Typ,
}

struct Token {
    claims: Arc<Claims>,
    signed: Signed,
    bytes: usize,
}

/// Tokens that were seen, and what was revoked.
#[derive(Default)]
pub struct Seen {
    tokens: HashMap<Hash, Token>,
    /// When each ends: what ends first goes first.
    ends: BTreeSet<(i64, Hash)>,
    bytes: usize,
    revoked: Revoked,
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
    /// A token's claims and how it was signed. Whether they are good for who asks is asked of them again.
    pub(super) fn find(&mut self, hash: &Hash, now_s: i64) -> Option<(Arc<Claims>, Signed)> {
        self.forget_ended(now_s);
        let token = self.tokens.get(hash)?;
        Some((Arc::clone(&token.claims), token.signed.clone()))
    }

    /// Keeps a token that is good. One that ends sooner than all others makes room when there is none.
    pub(super) fn remember(
        &mut self,
        hash: Hash,
        claims: Arc<Claims>,
        signed: Signed,
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
        self.tokens.insert(hash, Token { claims, signed, bytes });
    }

    /// Revokes one token by its id (`jti`), which is asked until its end.
    pub fn revoke_token(&mut self, token_id: &str, ends_s: i64, now_s: i64) {
        match self.revoked.add(token_id, ends_s, now_s) {
            Fits::Kept => self.forget_where(|claims| claims.token_id.as_deref() == Some(token_id)),
            // A revocation may not be lost, and memory has an end: whoever holds a token fetches a new one.
            Fits::Full => {
                self.refused_until_s = self.refused_until_s.max(Some(now_s));
                self.forget_where(|_| true);
            }
        }
    }

    /// Whether a token with such claims was revoked.
    ///
    /// # Errors
    /// [`TokenFault::Revoked`].
    pub fn check_revoked(&self, claims: &Claims) -> Result<(), TokenFault> {
        // What has no id cannot have been revoked by it.
        let Some(token_id) = &claims.token_id else { return Ok(()) };
        let too_old =
            self.refused_until_s.is_some_and(|until_s| claims.issued_s.is_none_or(|at_s| at_s <= until_s));
        if too_old || self.revoked.has(token_id) { Err(TokenFault::Revoked) } else { Ok(()) }
    }

    /// Whether a token was revoked by its id; `None`: more was revoked than fits, and it may be one of those.
    pub fn is_token_revoked(&self, token_id: &str, now_s: i64) -> Option<bool> {
        let known = self.revoked.has(token_id);
        let lost = self.refused_until_s.is_some_and(|until_s| now_s < until_s.saturating_add(LIFE_MAX_S));
        if lost && !known { None } else { Some(known) }
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
