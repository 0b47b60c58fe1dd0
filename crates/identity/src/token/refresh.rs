//! Refresh tokens that rotate (RFC 9700, 4.14.2): each is good once and brings the next. All that come from one sign-in
//! are a family. When one that was used already comes again, somebody else has a copy, nobody can say who is the thief,
//! and the family ends.
//!
//! `plimr_<family><secret><checksum>`. The store keeps one record for a family, by its name, with the hash of the one
//! token that is good. A caller reads the record, asks [`Family::refresh`], and puts what comes out in the place of what it
//! read, if that is still there. Of two uses of one token at the same time thus one is second, which ends the family; and a
//! family that was ended meanwhile stays so.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use plimsoll_types::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::base62::{self, BITS_256_CHARS, CHECKSUM_CHARS};
use crate::id::Id;

const PREFIX: &str = "plimr_";

/// Characters of a family's name: 128 bits.
const FAMILY_CHARS: usize = 22;

const FAMILY_BYTES: usize = 16;

const CHANCE_BYTES: usize = 32;

/// Why there is no new token. To the application all of them are `invalid_grant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshFault {
    /// It is something else, or mistyped.
    #[error("not a refresh token, or mistyped")]
    Text,
    /// What the store has cannot be read.
    #[error("what the store has of this sign-in cannot be read")]
    Unreadable,
    /// It has ended.
    #[error("the sign-in has ended: too old, or not used for too long")]
    Ended,
    /// It was used before.
    #[error(
        "this refresh token was used before or never good: somebody has a copy, so the sign-in has ended"
    )]
    Reused,
    /// It belongs to another application.
    #[error("this refresh token is another application's: it was stolen, so the sign-in has ended")]
    OtherClient,
}

/// A refresh token.
#[derive(Clone)]
pub struct RefreshToken {
    family: Box<str>,
    text: Secret,
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}***")
    }
}

impl RefreshToken {
    fn mint(family: &str, chance: &[u8; CHANCE_BYTES]) -> RefreshToken {
        let body = format!("{PREFIX}{family}{}", base62::write(chance, BITS_256_CHARS));
        RefreshToken { family: family.into(), text: Secret::from_text(&base62::with_checksum(&body)) }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`RefreshFault::Text`].
    pub fn parse(text: &str) -> Result<RefreshToken, RefreshFault> {
        let behind = text.strip_prefix(PREFIX).ok_or(RefreshFault::Text)?;
        let fits = behind.len() == FAMILY_CHARS + BITS_256_CHARS + CHECKSUM_CHARS && base62::is_all(behind);
        if !fits || !base62::has_checksum(text) {
            return Err(RefreshFault::Text);
        }
        Ok(RefreshToken { family: behind[..FAMILY_CHARS].into(), text: Secret::from_text(text) })
    }

    /// The name of its family, by which the store keeps the record. It is no secret.
    pub fn family(&self) -> &str {
        &self.family
    }

    /// The whole text, to be sent once.
    pub fn text(&self) -> &Secret {
        &self.text
    }

    fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.text.expose()).into()
    }
}

/// What a sign-in is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewFamily {
    /// Who signed in.
    pub subject: Id,
    /// To which application.
    pub client: Id,
    /// Of which organisation.
    pub org: Id,
    /// For whom its access tokens are.
    pub audience: String,
    /// What they may be used for.
    pub scope: String,
    /// The key id of the application's credential, if it showed one.
    pub kid_used: Option<String>,
    /// When the sign-in ends, however often it is used; milliseconds since 1970.
    pub ends_ms: i64,
    /// How long a token may lie unused, milliseconds.
    pub idle_ms: i64,
}

/// A sign-in, as the store keeps it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// What it is for.
    pub about: NewFamily,
    /// SHA-256 of the token that is good, base64url.
    current: String,
    /// When that one was given out.
    rotated_ms: i64,
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("about", &self.about).finish_non_exhaustive()
    }
}

/// What becomes of a family.
#[derive(Clone, Debug)]
pub enum Refreshed {
    /// A new token; the record takes the place of the old one.
    Rotated(Family, RefreshToken),
    /// It ends: the record is removed.
    Ended(RefreshFault),
}

impl Family {
    /// Begins one.
    pub fn begin(
        about: NewFamily,
        now_ms: i64,
        name: &[u8; FAMILY_BYTES],
        chance: &[u8; CHANCE_BYTES],
    ) -> (Family, RefreshToken) {
        let token = RefreshToken::mint(&base62::write(name, FAMILY_CHARS), chance);
        (Family { about, current: BASE64URL.encode(token.sha256()), rotated_ms: now_ms }, token)
    }

    /// Reads what was kept.
    ///
    /// # Errors
    /// [`RefreshFault::Unreadable`].
    pub fn read(text: &str) -> Result<Family, RefreshFault> {
        serde_json::from_str(text).map_err(|_| RefreshFault::Unreadable)
    }

    /// As it is kept. There is no secret in it.
    pub fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// When the store may forget it.
    pub fn ends_ms(&self) -> i64 {
        self.about.ends_ms.min(self.rotated_ms.saturating_add(self.about.idle_ms))
    }

    /// Decides what becomes of it when an application presents one of its tokens.
    pub fn refresh(
        self,
        presented: &RefreshToken,
        client: &Id,
        now_ms: i64,
        chance: &[u8; CHANCE_BYTES],
    ) -> Refreshed {
        if now_ms >= self.ends_ms() {
            return Refreshed::Ended(RefreshFault::Ended);
        }
        let hash = BASE64URL.encode(presented.sha256());
        if !bool::from(hash.as_bytes().ct_eq(self.current.as_bytes())) {
            return Refreshed::Ended(RefreshFault::Reused);
        }
        if *client != self.about.client {
            return Refreshed::Ended(RefreshFault::OtherClient);
        }
        let next = RefreshToken::mint(presented.family(), chance);
        let current = BASE64URL.encode(next.sha256());
        Refreshed::Rotated(Family { current, rotated_ms: now_ms, ..self }, next)
    }
}

#[cfg(test)]
mod tests;
