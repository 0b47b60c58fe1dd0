//! The line `stats: …` that is logged every `stats_period`.

use std::time::Instant;

use plimsoll_proxy::{Control, Counter, Totals};

/// The totals at the beginning of the period.
pub(crate) struct Meter {
    totals: Totals,
    at: Instant,
}

impl Meter {
    /// Begins a period.
    pub(crate) fn start(control: &Control) -> Meter {
        Meter { totals: totals(control), at: Instant::now() }
    }

    /// Ends the period, begins the next, and gives the line.
    pub(crate) fn turn(&mut self, control: &Control) -> String {
        let next = Meter::start(control);
        let seconds = next.at.duration_since(self.at).as_secs_f64();
        let averages = next.totals.since(&self.totals).averages(seconds);
        *self = next;
        line(&averages)
    }
}

fn totals(control: &Control) -> Totals {
    let mut sum = Totals::default();
    for view in control.stats() {
        sum.add(&view.total);
    }
    sum
}

fn line(averages: &Totals) -> String {
    format!(
        "stats: {} xacts/s, {} queries/s, {} client parses/s, {} server parses/s, {} binds/s, \
         in {} B/s, out {} B/s, xact {} us, query {} us, wait {} us",
        averages.of(Counter::Xacts),
        averages.of(Counter::Queries),
        averages.of(Counter::ClientParses),
        averages.of(Counter::ServerParses),
        averages.of(Counter::Binds),
        averages.of(Counter::Received),
        averages.of(Counter::Sent),
        averages.of(Counter::XactTime),
        averages.of(Counter::QueryTime),
        averages.of(Counter::WaitTime),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_every_figure_at_its_place() {
        let averages = Totals(std::array::from_fn(|i| i as u64 + 1));
        let expected = "stats: 2 xacts/s, 3 queries/s, 9 client parses/s, 10 server parses/s, 11 binds/s, \
                        in 4 B/s, out 5 B/s, xact 6 us, query 7 us, wait 8 us";
        assert_eq!(line(&averages), expected);
    }
}
