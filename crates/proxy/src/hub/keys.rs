//! Clients by their cancel keys.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::entry::ClientEntry;

/// Clients by cancel key. The keys are random and ours, so they are hashes already.
pub(crate) type Clients = HashMap<[u8; 8], Arc<ClientEntry>, BuildHasherDefault<KeyHasher>>;

/// Takes a cancel key as it is.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        // The top bit of a key's first byte is always clear: it must not be among the low bits, which choose the place.
        self.0.rotate_right(8)
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.0 ^= u64::from_le_bytes(word);
        }
    }
}
