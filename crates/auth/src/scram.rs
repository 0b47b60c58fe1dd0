//! SCRAM-SHA-256 (RFC 5802, RFC 7677): what both sides of an exchange need.
//!
//! The primitives are the crates sha2, hmac, pbkdf2 and stringprep; here is how SCRAM puts them together.

pub(crate) mod client;
pub(crate) mod server;

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use plimsoll_types::Secret;
use sha2::{Digest, Sha256};
use stringprep::tables;
use subtle::ConstantTimeEq;

#[cfg(test)]
mod tests;

/// The one mechanism there is. Channel binding (`-PLUS`) is not offered.
pub(crate) const MECHANISM: &[u8] = b"SCRAM-SHA-256";

/// Length of every key, proof and signature.
pub(crate) const KEY_BYTES: usize = 32;

/// Length of a salt made here: PostgreSQL's own (its SCRAM_DEFAULT_SALT_LEN).
pub(crate) const SALT_BYTES: usize = 16;

/// Longest salt taken from a file or a server.
pub(crate) const SALT_BYTES_MAX: usize = 512;

/// Longest SCRAM message taken from a peer. PostgreSQL's own limit for what clients send is 1024
/// (PG_MAX_SASL_MESSAGE_LENGTH); a server's message holds our nonce, its nonce and the salt.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1024;

/// Most PBKDF2 rounds computed for anybody: some seconds of one core. PostgreSQL's default is 4096.
pub const ITERATIONS_MAX: u32 = 10_000_000;

/// One of the 32-byte values SCRAM is made of.
pub(crate) type Key = [u8; KEY_BYTES];

/// The two keys that come from a salted password.
pub(crate) struct Keys {
    /// Proves to the server that the client knows the password.
    pub(crate) client_key: Key,
    /// Proves to the client that the server knows the secret.
    pub(crate) server_key: Key,
}

impl Keys {
    /// RFC 5802, section 3.
    pub(crate) fn of(salted_password: &[u8]) -> Keys {
        Keys {
            client_key: hmac(salted_password, &[b"Client Key"]),
            server_key: hmac(salted_password, &[b"Server Key"]),
        }
    }
}

/// HMAC-SHA-256 over the parts, one after the other.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// SHA-256.
pub(crate) fn sha256(data: &[u8]) -> Key {
    Sha256::digest(data).into()
}

/// PBKDF2: the costly part. `password` has been prepared.
pub(crate) fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let mut salted = [0; KEY_BYTES];
    pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted);
    salted
}

/// SASLprep (RFC 4013). What is not UTF-8, holds what SASLprep forbids or comes to nothing is used as it is, as
/// PostgreSQL does (manual, "SCRAM-SHA-256 Authentication").
pub(crate) fn prepare(password: &[u8]) -> Secret {
    let text = std::str::from_utf8(password).ok().filter(|text| !text.chars().any(is_forbidden));
    match text.and_then(|text| stringprep::saslprep(text).ok()) {
        Some(Cow::Owned(prepared)) if !prepared.is_empty() => Secret::new(prepared.into_bytes()),
        Some(_) | None => Secret::new(password),
    }
}

/// What PostgreSQL looks for before normalisation, where `saslprep` looks after it: characters that Unicode 3.2 did
/// not know, and deprecated ones, some of which normalisation turns into allowed ones.
fn is_forbidden(c: char) -> bool {
    tables::unassigned_code_point(c) || tables::change_display_properties_or_deprecated(c)
}

/// A number of rounds, digits only, within 1 and [`ITERATIONS_MAX`].
pub(crate) fn parse_iterations(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u32 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (1..=ITERATIONS_MAX).contains(&number).then_some(number)
}

/// Reads a base64 value of exactly 32 bytes.
pub(crate) fn decode_key(text: &[u8]) -> Option<Key> {
    // 32 bytes are 44 characters; more is not worth decoding.
    if text.len() != KEY_BYTES.div_ceil(3) * 4 {
        return None;
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Each bit of one that is not in the other. A proof is a key hidden by a signature like this.
fn xor(a: &Key, b: &Key) -> Key {
    std::array::from_fn(|i| a[i] ^ b[i])
}

/// Compares in a time that depends on the lengths only.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Whether this may be a nonce: printable ASCII without a comma, at least one character (RFC 5802, section 7).
fn is_nonce(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_graphic() && *b != b',')
}

/// Whether this has the shape of an attribute: a letter, `=`, a value.
fn is_attribute(text: &[u8]) -> bool {
    matches!(text, [name, b'=', ..] if name.is_ascii_alphabetic())
}
