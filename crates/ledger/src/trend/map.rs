//! Maps from ids of our own, which nobody outside chooses: their hash may be quick.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A map from ids.
pub(super) type Fast<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Multiplies by an odd number and folds: ids are counted up, or are hashes already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        let product = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Whether `key` is there or may be entered: where a map is full, one that is not needed makes room.
pub(super) fn make_room<K: Copy + Eq + Hash, V>(
    map: &mut Fast<K, V>,
    key: &K,
    most: usize,
    is_needless: impl Fn(&V) -> bool,
) -> bool {
    if map.len() < most || map.contains_key(key) {
        return true;
    }
    let needless = map.iter().find(|(_, value)| is_needless(value)).map(|(key, _)| *key);
    needless.is_some_and(|key| map.remove(&key).is_some())
}
