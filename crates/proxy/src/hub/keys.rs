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
        // Some bits of a key are the same in all of them: our peer_id, the top bit of the first byte. Multiplied by an
        // odd number without a pattern (2^64 divided by the golden ratio) all others count in the upper half, which
        // goes where the low bits are: those choose the place.
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.0 ^= u64::from_le_bytes(word);
        }
    }
}
