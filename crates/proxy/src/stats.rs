//! Counters of a pool: one block for each worker, written by that worker only, so that no query pays for a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// Names of the counters, in the order of `SHOW STATS_TOTALS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Server connections given to clients.
    Assignments,
    /// Transactions.
    Xacts,
    /// Queries.
    Queries,
    /// Bytes from clients.
    Received,
    /// Bytes to clients.
    Sent,
    /// Microseconds in transactions.
    XactTime,
    /// Microseconds in queries.
    QueryTime,
    /// Microseconds clients waited for a server connection.
    WaitTime,
    /// Named Parse messages from clients.
    ClientParses,
    /// Parse messages to servers for named statements.
    ServerParses,
    /// Named Bind messages.
    Binds,
    /// Logins.
    Logins,
    /// Results that began to be spilled.
    Spills,
    /// Bytes of them that went into memory or a file.
    SpilledBytes,
    /// Bytes of them that went into a file.
    SpillFileBytes,
    /// How often the server had to wait for the reader all the same, as a budget was used up.
    SpillStops,
    /// Clients that waited for a server connection until their limit was over.
    WaitTimeouts,
}

/// How many counters there are.
pub const COUNTERS: usize = 17;

/// The sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals(pub [u64; COUNTERS]);

impl Totals {
    /// One of them.
    pub fn of(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// Adds another block.
    pub fn add(&mut self, other: &Totals) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.wrapping_add(theirs);
        }
    }

    /// What was added since `earlier`.
    pub fn since(&self, earlier: &Totals) -> Totals {
        let mut out = *self;
        for (mine, theirs) in out.0.iter_mut().zip(earlier.0) {
            *mine = mine.saturating_sub(theirs);
        }
        out
    }

    /// Averages over `seconds`, as PgBouncer counts them: times are per item, the rest per second.
    pub fn averages(&self, seconds: f64) -> Totals {
        let per =
            |counter: Counter, count: Counter| self.of(counter).checked_div(self.of(count)).unwrap_or(0);
        let mut out = Totals(self.0.map(|sum| (sum as f64 / seconds.max(0.001)) as u64));
        out.0[Counter::XactTime as usize] = per(Counter::XactTime, Counter::Xacts);
        out.0[Counter::QueryTime as usize] = per(Counter::QueryTime, Counter::Queries);
        out.0[Counter::WaitTime as usize] =
            self.of(Counter::WaitTime).checked_div(seconds as u64).unwrap_or(0);
        out
    }
}

/// One worker's block; padded so that two workers do not share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Block {
    counters: [AtomicU64; COUNTERS],
    /// How long clients waited for the server connections they were given.
    waits: TimeCells,
}

impl Block {
    /// Adds; only the worker that owns the block may call this.
    #[inline]
    pub(crate) fn add(&self, counter: Counter, n: u64) {
        bump(&self.counters[counter as usize], n);
    }

    /// A client has been given a server connection at once; only the worker that owns the block may call this.
    #[inline]
    pub(crate) fn assigned(&self) {
        self.add(Counter::Assignments, 1);
        bump(&self.waits.classes[0], 1);
    }

    /// A client has been given a server connection that it had waited for; only the worker that owns the block may call
    /// this.
    #[cold]
    pub(crate) fn assigned_after(&self, waited_us: u64) {
        self.add(Counter::Assignments, 1);
        bump(&self.waits.classes[class_of(waited_us)], 1);
        bump(&self.waits.sum_us, waited_us);
    }

    /// The sums of this block.
    pub(crate) fn totals(&self) -> Totals {
        Totals(std::array::from_fn(|i| self.counters[i].load(Ordering::Relaxed)))
    }

    /// The waits of this block.
    pub(crate) fn waits(&self) -> Times {
        self.waits.times()
    }
}

/// Adds where there is one writer.
#[inline]
fn bump(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// Upper ends of the classes of times, microseconds, each in its class; the last class has no end.
pub const TIME_ENDS_US: [u64; 13] = [
    500,
    1_000,
    5_000,
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    60_000_000,
    300_000_000,
    3_600_000_000,
];

/// Classes of times.
const CLASSES: usize = TIME_ENDS_US.len() + 1;

fn class_of(us: u64) -> usize {
    TIME_ENDS_US.iter().position(|end| us <= *end).unwrap_or(TIME_ENDS_US.len())
}

/// How many times there were in each class of [`TIME_ENDS_US`], and their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How many in each class, not counting the shorter ones.
    pub classes: [u64; CLASSES],
    /// All of them together, microseconds.
    pub sum_us: u64,
}

impl Times {
    /// Adds others.
    pub fn add(&mut self, other: &Times) {
        for (mine, theirs) in self.classes.iter_mut().zip(other.classes) {
            *mine = mine.wrapping_add(theirs);
        }
        self.sum_us = self.sum_us.wrapping_add(other.sum_us);
    }
}

/// The same, while it grows.
#[derive(Debug, Default)]
pub(crate) struct TimeCells {
    classes: [AtomicU64; CLASSES],
    sum_us: AtomicU64,
}

impl TimeCells {
    /// Adds a time as often as `weight` says; from any thread.
    pub(crate) fn add(&self, us: u64, weight: u32) {
        self.classes[class_of(us)].fetch_add(weight.into(), Ordering::Relaxed);
        self.sum_us.fetch_add(us.saturating_mul(weight.into()), Ordering::Relaxed);
    }

    /// What there is.
    pub(crate) fn times(&self) -> Times {
        Times {
            classes: std::array::from_fn(|i| self.classes[i].load(Ordering::Relaxed)),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

/// What a pool has counted since the start, over all the lives it had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolTimes {
    /// Waits of clients that were given a server connection, those that were given one at once included.
    pub waits: Times,
    /// How long they kept it, from a sample.
    pub uses: Times,
    /// Waits that were too long.
    pub timeouts: u64,
}

impl PoolTimes {
    /// Adds those of another pool.
    pub fn add(&mut self, other: &PoolTimes) {
        self.waits.add(&other.waits);
        self.uses.add(&other.uses);
        self.timeouts = self.timeouts.wrapping_add(other.timeouts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_class_whose_end_it_does_not_pass() {
        for (us, class) in [(0, 0), (500, 0), (501, 1), (1_000_000, 7), (1_000_001, 8), (u64::MAX, 13)] {
            assert_eq!(class_of(us), class, "{us}");
        }
        assert!(TIME_ENDS_US.is_sorted());
    }

    #[test]
    fn every_assignment_is_one_wait() {
        let block = Block::default();
        block.assigned();
        block.assigned_after(700);
        block.assigned_after(2_000_000);
        let waits = block.waits();
        assert_eq!(
            (waits.classes[0], waits.classes[1], waits.classes[8], waits.sum_us),
            (1, 1, 1, 2_000_700)
        );
        assert_eq!(waits.classes.iter().sum::<u64>(), block.totals().of(Counter::Assignments));
    }

    #[test]
    fn a_sample_counts_as_often_as_what_it_stands_for() {
        let cells = TimeCells::default();
        cells.add(600, 64);
        cells.add(600, 0);
        let mut times = cells.times();
        assert_eq!((times.classes[1], times.sum_us), (64, 38_400));
        times.add(&cells.times());
        assert_eq!((times.classes[1], times.sum_us), (128, 76_800));
    }
}
