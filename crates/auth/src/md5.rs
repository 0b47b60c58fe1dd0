//! PostgreSQL's MD5 secrets and answers (PostgreSQL manual, "Message Flow / Start-up", AuthenticationMD5Password).

use md5::{Digest, Md5};
use plimsoll_types::Secret;

/// What stands in front of the 32 hex digits, in a secret and in an answer alike.
const PREFIX: &str = "md5";

/// Length of a secret and of an answer: `md5` and 32 hex digits.
pub(crate) const TEXT_BYTES: usize = 35;

/// Whether this is an MD5 secret: lower-case digits, as PostgreSQL writes and recognises them.
pub(crate) fn is_secret(text: &str) -> bool {
    text.len() == TEXT_BYTES
        && text
            .strip_prefix(PREFIX)
            .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

/// The secret of a password: `md5` and md5(password, user).
pub(crate) fn secret_of(password: &[u8], user: &str) -> Secret {
    hash(password, user.as_bytes())
}

/// The answer to a challenge: `md5` and md5(hex digits of the secret, salt). `None` if that is not an MD5 secret.
pub(crate) fn answer(secret: &Secret, salt: [u8; 4]) -> Option<Secret> {
    let hex = secret.expose().strip_prefix(PREFIX.as_bytes())?;
    Some(hash(hex, &salt))
}

fn hash(first: &[u8], second: &[u8]) -> Secret {
    let digest = Md5::new().chain_update(first).chain_update(second).finalize();
    let mut text = Vec::with_capacity(TEXT_BYTES);
    text.extend_from_slice(PREFIX.as_bytes());
    for byte in digest {
        text.push(hex_digit(byte >> 4));
        text.push(hex_digit(byte & 15));
    }
    Secret::new(text)
}

fn hex_digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'a' + (nibble & 15) - 10,
    }
}
