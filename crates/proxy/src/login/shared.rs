//! What all logins share.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use parking_lot::Mutex;
use plimsoll_session::Params;
use tokio::sync::Semaphore;

use crate::map::Set;

/// How many passwords are hashed at a time.
const HASHING_MAX: usize = 2;

/// Below this many different sets of parameters nobody looks for forgotten ones.
const SETS_KEPT: usize = 64;

/// Shared by all logins.
pub(crate) struct Entrance {
    /// For costly hashing.
    pub(crate) hashing: Arc<Semaphore>,
    /// Sets of parameters that clients have.
    pub(super) params: ParamsTable,
    /// Clients of the console.
    pub(crate) console_clients: AtomicU32,
}

impl Default for Entrance {
    fn default() -> Entrance {
        Entrance {
            hashing: Arc::new(Semaphore::new(HASHING_MAX)),
            params: ParamsTable::default(),
            console_clients: AtomicU32::new(0),
        }
    }
}

/// Makes equal sets of parameters one: thousands of clients of one application share a few.
#[derive(Default)]
pub(super) struct ParamsTable(Mutex<Sets>);

#[derive(Default)]
struct Sets {
    all: Set<Arc<Params>>,
    /// When so many are there, those that nobody has any more are forgotten.
    look_at: usize,
}

impl ParamsTable {
    /// The set equal to this one.
    pub(super) fn intern(&self, params: Params) -> Arc<Params> {
        let mut sets = self.0.lock();
        if let Some(known) = sets.all.get(&params) {
            return known.clone();
        }
        if sets.all.len() >= sets.look_at {
            sets.all.retain(|set| Arc::strong_count(set) > 1);
            sets.look_at = SETS_KEPT.max(sets.all.len() * 2);
        }
        let params = Arc::new(params);
        sets.all.insert(params.clone());
        params
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(value: &str) -> Params {
        Params { values: vec![Some(Arc::from(value)), None].into() }
    }

    #[test]
    fn equal_sets_are_one() {
        let table = ParamsTable::default();
        let one = table.intern(params("UTC"));
        assert!(Arc::ptr_eq(&one, &table.intern(params("UTC"))));
        assert!(!Arc::ptr_eq(&one, &table.intern(params("CET"))));
    }

    #[test]
    fn sets_that_nobody_has_are_forgotten() {
        let table = ParamsTable::default();
        let kept = table.intern(params("kept"));
        for number in 0..10_000 {
            table.intern(params(&number.to_string()));
        }
        assert!(table.len() <= 2 * SETS_KEPT, "{}", table.len());
        assert!(Arc::ptr_eq(&kept, &table.intern(params("kept"))));
    }
}
