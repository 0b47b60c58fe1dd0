//! Secrets as they are kept: auth_file, auth_query, and keys captured from a login.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plimsoll_types::Secret;

use crate::scram::{self, KEY_BYTES, Keys, SALT_BYTES_MAX};
use crate::{ITERATIONS_MAX, md5};

#[cfg(test)]
mod tests;

/// A secret as written in auth_file or handed over by auth_query.
#[derive(Clone, Debug)]
pub enum Stored {
    /// A password in clear text (may be empty: never matches, fine for trust).
    Plain(Secret),
    /// `md5` and 32 hex digits.
    Md5(Secret),
    /// `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
    Scram(Verifier),
}

/// A SCRAM secret.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// The salt.
    pub salt: Box<[u8]>,
    /// H(ClientKey).
    pub stored_key: Secret,
    /// ServerKey.
    pub server_key: Secret,
}

/// What lets the pooler log in by SCRAM without knowing the password.
#[derive(Clone, Debug)]
pub struct ScramKeys {
    /// ClientKey, as recovered from a client's proof, or computed from a password.
    pub client_key: Secret,
    /// ServerKey.
    pub server_key: Secret,
}

impl Stored {
    /// Recognises the three kinds by their shape, as PostgreSQL and PgBouncer do; what fits neither md5 nor SCRAM is
    /// a password.
    pub fn parse(text: &str) -> Stored {
        if md5::is_secret(text) {
            return Stored::Md5(Secret::from_text(text));
        }
        match Verifier::parse(text) {
            Some(verifier) => Stored::Scram(verifier),
            None => Stored::Plain(Secret::from_text(text)),
        }
    }

    /// A secret that no password matches: of a user whose auth_query row holds NULL.
    pub fn impossible() -> Stored {
        Stored::Plain(Secret::default())
    }

    /// Whether any password at all can match.
    pub(crate) fn can_match(&self) -> bool {
        match self {
            Stored::Plain(password) => !password.is_empty(),
            Stored::Md5(_) | Stored::Scram(_) => true,
        }
    }
}

impl Verifier {
    /// Takes `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` apart (PostgreSQL manual, "pg_authid").
    fn parse(text: &str) -> Option<Verifier> {
        let mut parts = text.strip_prefix("SCRAM-SHA-256$")?.split('$');
        let (iterations, salt) = parts.next()?.split_once(':')?;
        let (stored_key, server_key) = parts.next()?.split_once(':')?;
        if parts.next().is_some() || salt.len() > SALT_BYTES_MAX * 2 {
            return None;
        }
        let salt = STANDARD.decode(salt).ok().filter(|salt| (1..=SALT_BYTES_MAX).contains(&salt.len()))?;
        Some(Verifier {
            iterations: scram::parse_iterations(iterations.as_bytes())?,
            salt: salt.into(),
            stored_key: parse_key(stored_key)?,
            server_key: parse_key(server_key)?,
        })
    }
}

fn parse_key(text: &str) -> Option<Secret> {
    scram::decode_key(text.as_bytes()).map(Secret::new)
}

/// The SCRAM secret of a password, as `CREATE ROLE … PASSWORD` takes it. `iterations` outside 1 to
/// [`ITERATIONS_MAX`] are brought inside. Costs what a [`crate::Job`] costs.
pub fn scram_verifier(password: &str, salt: &[u8], iterations: u32) -> String {
    let iterations = iterations.clamp(1, ITERATIONS_MAX);
    let prepared = scram::prepare(password.as_bytes());
    let keys = Keys::of(&scram::salted_password(prepared.expose(), salt, iterations));
    let stored_key: [u8; KEY_BYTES] = scram::sha256(&keys.client_key);
    format!(
        "SCRAM-SHA-256${iterations}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored_key),
        STANDARD.encode(keys.server_key)
    )
}
