//! Averages over the last `stats_period`, by database.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::console::StatsView;
use crate::stats::{Counter, Totals};

/// Averages as `SHOW STATS` shows them.
#[derive(Debug, Default)]
pub(crate) struct Averages(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_database: HashMap<Arc<str>, Period>,
    all: Totals,
}

/// A database's sums at the end of the last period, and what the period came to.
#[derive(Clone, Copy, Debug, Default)]
struct Period {
    total: Totals,
    average: Totals,
}

impl Averages {
    /// Nothing has been counted yet.
    pub(crate) fn new() -> Averages {
        Averages::default()
    }

    /// Averages of a database over the last period; zeros if there was none.
    pub(crate) fn of(&self, database: &str) -> Totals {
        self.0.lock().by_database.get(database).map_or_else(Totals::default, |period| period.average)
    }

    /// A period of this length is over, and these are the sums now.
    pub(crate) fn update(&self, stats: Vec<StatsView>, length: Duration) {
        let seconds = length.as_secs_f64();
        let mut inner = self.0.lock();
        let mut all = Totals::default();
        let mut by_database = HashMap::with_capacity(stats.len());
        for StatsView { database, total, average: _ } in stats {
            let before = inner.by_database.get(&database).map_or_else(Totals::default, |period| period.total);
            let counted = total.since(&before);
            all.add(&counted);
            by_database.insert(database, Period { total, average: counted.averages(seconds) });
        }
        *inner = Inner { by_database, all: all.averages(seconds) };
    }

    /// The line of `log_stats`, in PgBouncer's words.
    pub(crate) fn log_line(&self) -> String {
        let all = self.0.lock().all;
        let of = |counter| all.of(counter);
        format!(
            "stats: {} xacts/s, {} queries/s, {} client parses/s, {} server parses/s, {} binds/s, \
             in {} B/s, out {} B/s, xact {} us, query {} us, wait {} us",
            of(Counter::Xacts),
            of(Counter::Queries),
            of(Counter::ClientParses),
            of(Counter::ServerParses),
            of(Counter::Binds),
            of(Counter::Received),
            of(Counter::Sent),
            of(Counter::XactTime),
            of(Counter::QueryTime),
            of(Counter::WaitTime),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(database: &str, xacts: u64, xact_us: u64) -> StatsView {
        let mut total = Totals::default();
        total.0[Counter::Xacts as usize] = xacts;
        total.0[Counter::XactTime as usize] = xact_us;
        StatsView { database: database.into(), total, average: Totals::default() }
    }

    #[test]
    fn averages_are_of_the_last_period_only() {
        let averages = Averages::new();
        assert_eq!(averages.of("a"), Totals::default());
        averages.update(vec![view("a", 100, 1000), view("b", 10, 10)], Duration::from_secs(10));
        assert_eq!(averages.of("a").of(Counter::Xacts), 10);
        assert_eq!(averages.of("a").of(Counter::XactTime), 10);
        averages.update(vec![view("a", 120, 7000)], Duration::from_secs(10));
        assert_eq!(averages.of("a").of(Counter::Xacts), 2);
        assert_eq!(averages.of("a").of(Counter::XactTime), 300);
        assert_eq!(averages.of("b"), Totals::default());
    }

    #[test]
    fn the_log_line_sums_all_databases() {
        let averages = Averages::new();
        averages.update(vec![view("a", 100, 1000), view("b", 50, 2000)], Duration::from_secs(10));
        let line = averages.log_line();
        assert!(line.starts_with("stats: 15 xacts/s, 0 queries/s, "), "{line}");
        assert!(line.ends_with(", xact 20 us, query 0 us, wait 0 us"), "{line}");
    }
}
