//! Encryption of what touches a disk: AES-256-GCM (NIST SP 800-38D) with a key that dies with the process.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use plimsoll_types::Secret;

/// Bytes that encryption adds.
pub(super) const TAG_BYTES: usize = 16;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// What a chunk must be to be taken for itself: one of another spill, or another one of the same spill, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// The number of its spill, unique in the process.
    pub(super) spill: u64,
    /// Its own, unique in its spill.
    pub(super) chunk: u64,
}

/// Something did not verify, or cannot be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// The key, and the numbers that have been used with it. No `Debug`.
pub(super) struct Seal {
    key: LessSafeKey,
    nonces: AtomicU64,
}

impl Seal {
    /// A key that nobody else has and that is nowhere but in this process.
    pub(super) fn new() -> Result<Seal, Broken> {
        let secret = Secret::new(crate::random::bytes::<KEY_BYTES>());
        let key = UnboundKey::new(&AES_256_GCM, secret.expose()).map_err(|_| Broken)?;
        Ok(Seal { key: LessSafeKey::new(key), nonces: AtomicU64::new(0) })
    }

    /// Encrypts in place and appends the tag; the number to decrypt it with. With 2^64 of them none is used twice.
    pub(super) fn seal(&self, name: Name, bytes: &mut Vec<u8>) -> Result<u64, Broken> {
        let number = self.nonces.fetch_add(1, Ordering::Relaxed);
        let sealed = self.key.seal_in_place_append_tag(nonce(number), Aad::from(name.bytes()), bytes);
        sealed.map(|()| number).map_err(|_| Broken)
    }

    /// Decrypts in place and takes the tag off.
    pub(super) fn open(&self, name: Name, number: u64, bytes: &mut Vec<u8>) -> Result<(), Broken> {
        let opened = self.key.open_in_place(nonce(number), Aad::from(name.bytes()), bytes);
        let len = opened.map_err(|_| Broken)?.len();
        bytes.truncate(len);
        Ok(())
    }
}

impl Name {
    fn bytes(self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.spill.to_be_bytes());
        out[8..].copy_from_slice(&self.chunk.to_be_bytes());
        out
    }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Broken, Name, Seal, TAG_BYTES};

    const NAME: Name = Name { spill: 1, chunk: 2 };

    #[test]
    fn what_comes_back_is_what_was_given() {
        let seal = Seal::new().expect("a key");
        let (mut one, mut other) = (b"secret".to_vec(), b"secret".to_vec());
        let (first, second) = (seal.seal(NAME, &mut one), seal.seal(NAME, &mut other));
        assert_ne!(one, other, "every chunk has a number of its own");
        assert_eq!(one.len(), 6 + TAG_BYTES);
        assert!(!one.windows(6).any(|window| window == b"secret"));
        seal.open(NAME, first.expect("sealed"), &mut one).expect("its own");
        seal.open(NAME, second.expect("sealed"), &mut other).expect("its own");
        assert_eq!((&one[..], &other[..]), (&b"secret"[..], &b"secret"[..]));
    }

    #[test]
    fn nothing_else_is_taken_for_it() {
        let seal = Seal::new().expect("a key");
        let mut bytes = b"secret".to_vec();
        let number = seal.seal(NAME, &mut bytes).expect("sealed");
        let tries = [
            (Name { spill: 2, ..NAME }, number, bytes.clone()),
            (Name { chunk: 3, ..NAME }, number, bytes.clone()),
            (NAME, number + 1, bytes.clone()),
            (NAME, number, bytes[1..].to_vec()),
            (NAME, number, bytes.iter().map(|byte| byte ^ 1).collect()),
        ];
        for (name, number, mut bytes) in tries {
            assert_eq!(seal.open(name, number, &mut bytes), Err(Broken), "{name:?} {number}");
        }
        assert_eq!(Seal::new().expect("a key").open(NAME, number, &mut bytes.clone()), Err(Broken));
        seal.open(NAME, number, &mut bytes).expect("the bytes themselves are good");
    }
}
