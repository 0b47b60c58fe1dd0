//! What a pool has counted of waits and uses; the pool may go and come back, and its counters do not fall.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{PoolEntry, Purpose};
use crate::map::Map;
use crate::stats::{Counter, PoolTimes, Times};

/// Of so many pools of a database that are gone the times are remembered.
const RETIRED_POOLS_MAX: usize = 1000;

/// Times of the pools of a database that are gone.
pub(super) type Retired = Mutex<Map<(Purpose, Arc<str>), PoolTimes>>;

impl PoolEntry {
    /// Its times, and those of earlier pools with its key.
    pub(crate) fn times(&self) -> PoolTimes {
        let mut out = self.times_of_this();
        if let Some(before) = self.database.retired_times.lock().get(&(self.purpose, self.user.clone())) {
            out.add(before);
        }
        out
    }

    /// The pool goes: the next one with its key goes on counting from here.
    pub(super) fn retire_times(&self) {
        let mut retired = self.database.retired_times.lock();
        let key = (self.purpose, self.user.clone());
        if retired.len() < RETIRED_POOLS_MAX || retired.contains_key(&key) {
            retired.entry(key).or_default().add(&self.times_of_this());
        }
    }

    fn times_of_this(&self) -> PoolTimes {
        let mut waits = Times::default();
        self.stats.iter().for_each(|block| waits.add(&block.waits()));
        PoolTimes { waits, uses: self.uses.times(), timeouts: self.totals().of(Counter::WaitTimeouts) }
    }
}
