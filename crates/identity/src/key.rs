//! The text of a key: `plim_<env>_<key id>_<secret><checksum>`.
//!
//! The key id is public: it is in the store, in logs and in lists. The secret is 256 bits of chance; the store has the
//! SHA-256 of it and nothing else, which is enough since nobody guesses 256 bits (a slow hash is for passwords). The
//! checksum is a CRC32 over all before it, so that a mistyped key is told from a wrong one without asking anybody, and a
//! scanner for secrets finds keys with a pattern and is sure of them.

use std::fmt;

use plimsoll_types::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::base62::{self, BITS_256_CHARS, CHECKSUM_CHARS};

/// What each begins with.
pub const KEY_PREFIX: &str = "plim_";

/// Longest `env`, characters.
pub const ENV_CHARS_MAX: usize = 8;

/// Characters of a key id.
pub const KEY_ID_CHARS: usize = 16;

/// Random bytes that a key is made of: 12 for the key id, 32 for the secret.
pub const KEY_CHANCE_BYTES: usize = KEY_ID_BYTES + 32;

const KEY_ID_BYTES: usize = 12;

/// What is wrong with the text of a key. The words never contain a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// It is something else.
    #[error("not a key: a key begins with {KEY_PREFIX}")]
    Prefix,
    /// Its parts are not three.
    #[error("not a whole key: behind {KEY_PREFIX} it has three parts with an underscore between them")]
    Parts,
    /// `env` is wrong.
    #[error("not a key: its environment has 1 to {ENV_CHARS_MAX} characters of a-z and 0-9")]
    Env,
    /// The key id is wrong.
    #[error("not a key: its key id has {KEY_ID_CHARS} letters and digits")]
    KeyId,
    /// There is less than there should be.
    #[error("the key was cut off: {missing} characters are missing at its end")]
    Short {
        /// How many are missing.
        missing: usize,
    },
    /// There is more than there should be.
    #[error("there is something behind the key: {extra} bytes (a blank, a line end, or twice pasted)")]
    Long {
        /// How many are too many.
        extra: usize,
    },
    /// There is something in the secret that is in no secret.
    #[error("not a key: its last part has letters and digits only")]
    Characters,
    /// The checksum does not fit.
    #[error("the key is mistyped: its checksum does not fit")]
    Checksum,
}

/// A key, whole. It is shown once, to whom it was made for.
#[derive(Clone)]
pub struct Key {
    text: Secret,
    parsed: ParsedKey,
}

impl Key {
    /// Makes one of an environment and chance.
    ///
    /// # Errors
    /// [`KeyFault::Env`].
    pub fn mint(env: &str, chance: &[u8; KEY_CHANCE_BYTES]) -> Result<Key, KeyFault> {
        check_env(env)?;
        let (id, secret) = chance.split_at(KEY_ID_BYTES);
        let key_id = base62::write(id, KEY_ID_CHARS);
        let secret = Secret::from_text(&base62::write(secret, BITS_256_CHARS));
        let body = format!("{KEY_PREFIX}{env}_{key_id}_{}", secret.expose_text().unwrap_or_default());
        let text = Secret::from_text(&base62::with_checksum(&body));
        Ok(Key { text, parsed: ParsedKey { env: env.into(), key_id: key_id.into(), secret } })
    }

    /// Reads one, without asking anybody.
    ///
    /// # Errors
    /// It is mistyped or something else.
    pub fn parse(text: &str) -> Result<ParsedKey, KeyFault> {
        let behind = text.strip_prefix(KEY_PREFIX).ok_or(KeyFault::Prefix)?;
        let (env, behind) = behind.split_once('_').ok_or(KeyFault::Parts)?;
        check_env(env)?;
        let (key_id, behind) = behind.split_once('_').ok_or(KeyFault::Parts)?;
        check_key_id(key_id)?;
        let wanted = BITS_256_CHARS + CHECKSUM_CHARS;
        match behind.len() {
            length if length < wanted => return Err(KeyFault::Short { missing: wanted - length }),
            length if length > wanted => return Err(KeyFault::Long { extra: length - wanted }),
            _ => {}
        }
        if !base62::is_all(behind) {
            return Err(KeyFault::Characters);
        }
        if !base62::has_checksum(text) {
            return Err(KeyFault::Checksum);
        }
        let secret = Secret::from_text(&behind[..BITS_256_CHARS]);
        Ok(ParsedKey { env: env.into(), key_id: key_id.into(), secret })
    }

    /// The whole text, to be shown once.
    pub fn text(&self) -> &Secret {
        &self.text
    }

    /// The public part.
    pub fn key_id(&self) -> &str {
        &self.parsed.key_id
    }

    /// What the store keeps.
    pub fn secret_sha256(&self) -> [u8; 32] {
        self.parsed.secret_sha256()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parsed.fmt(f)
    }
}

/// A key as somebody presents it.
#[derive(Clone)]
pub struct ParsedKey {
    /// Where it is used.
    pub env: Box<str>,
    /// The public part.
    pub key_id: Box<str>,
    /// The 43 characters that nobody else knows.
    pub secret: Secret,
}

impl ParsedKey {
    /// The SHA-256 of the secret.
    pub fn secret_sha256(&self) -> [u8; 32] {
        Sha256::digest(self.secret.expose()).into()
    }

    /// Whether it is the key that the store knows. For a key id that is not in the store, ask with [`NO_SECRET`]: it takes
    /// as long.
    pub fn matches(&self, stored_sha256: &[u8; 32]) -> bool {
        self.secret_sha256().ct_eq(stored_sha256).into()
    }
}

/// A hash that no secret is known to have.
pub const NO_SECRET: [u8; 32] = [0; 32];

impl fmt::Debug for ParsedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KEY_PREFIX}{}_{}_***", self.env, self.key_id)
    }
}

/// Checks the environment of a key.
///
/// # Errors
/// [`KeyFault::Env`].
pub fn check_env(env: &str) -> Result<(), KeyFault> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if (1..=ENV_CHARS_MAX).contains(&env.len()) && env.bytes().all(fits) {
        Ok(())
    } else {
        Err(KeyFault::Env)
    }
}

/// Checks a key id.
///
/// # Errors
/// [`KeyFault::KeyId`].
pub fn check_key_id(key_id: &str) -> Result<(), KeyFault> {
    if key_id.len() == KEY_ID_CHARS && base62::is_all(key_id) { Ok(()) } else { Err(KeyFault::KeyId) }
}

/// A key id of its own, for a credential without a secret (a public key, a certificate).
pub fn new_key_id(chance: &[u8; KEY_ID_BYTES]) -> String {
    base62::write(chance, KEY_ID_CHARS)
}

/// Whether a text means to be a key, right or mistyped.
pub fn looks_like_key(text: &str) -> bool {
    text.starts_with(KEY_PREFIX)
}

#[cfg(test)]
mod tests;
