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
}

/// How many counters there are.
pub const COUNTERS: usize = 16;

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
pub(crate) struct Block([AtomicU64; COUNTERS]);

impl Block {
    /// Adds; only the worker that owns the block may call this.
    #[inline]
    pub(crate) fn add(&self, counter: Counter, n: u64) {
        let cell = &self.0[counter as usize];
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The sums of this block.
    pub(crate) fn totals(&self) -> Totals {
        Totals(std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed)))
    }
}
