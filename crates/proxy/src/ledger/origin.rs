//! Which process this is, and when it started by the clock on the wall.

use std::time::SystemTime;

use parking_lot::Mutex;
use plimsoll_ledger::snapshot::Wall;
use plimsoll_types::Moment;

/// The clock on the wall may differ by so much before the start is reckoned anew, microseconds: then it has been set.
const SET_US: u64 = 1_000_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Drawn at the start.
    instance: u64,
    started: Mutex<Option<Wall>>,
}

impl Origin {
    /// A number that no other process has.
    pub(crate) fn draw() -> Origin {
        Origin { instance: u64::from_le_bytes(crate::random::bytes()), started: Mutex::new(None) }
    }

    /// The number, as snapshots have it.
    pub(crate) fn instance(&self) -> String {
        format!("{:016x}", self.instance)
    }

    /// When the process started. It stays the same as long as nobody sets the clock, so that a hold has the same times
    /// in all snapshots.
    pub(crate) fn started(&self, now: Moment) -> Wall {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX);
        let reckoned =
            Wall::from_micros(wall).plus(i64::try_from(now.0).unwrap_or(i64::MAX).saturating_neg());
        let mut started = self.started.lock();
        let known = started.filter(|known| known.micros_since(reckoned).unsigned_abs() <= SET_US);
        *started.insert(known.unwrap_or(reckoned))
    }
}
