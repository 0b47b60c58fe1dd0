//! `SHOW TOTALS`: all databases together.

use plimsoll_proxy::{Counter, StatsView, Totals};

use super::Scene;
use super::stats::{ORDER, console};
use crate::table::{Column, Row, cell, numeric, text};

pub(super) const COLUMNS: &[Column] = &[text("name"), numeric("value")];

pub(super) fn rows(scene: &Scene<'_>) -> Vec<Row> {
    let mut stats = scene.pooler.stats();
    stats.push(console(scene));
    let mut total = Totals::default();
    for view in &stats {
        total.add(&view.total);
    }
    let average = average(&stats);
    let totals = ORDER.map(|counter| vec![cell(format!("total_{}", name(counter))), cell(total.of(counter))]);
    let averages =
        ORDER.map(|counter| vec![cell(format!("avg_{}", name(counter))), cell(average.of(counter))]);
    totals.into_iter().chain(averages).collect()
}

fn name(counter: Counter) -> &'static str {
    match counter {
        Counter::Assignments => "server_assignment_count",
        Counter::Xacts => "xact_count",
        Counter::Queries => "query_count",
        Counter::Received => "client_bytes",
        Counter::Sent => "server_bytes",
        Counter::XactTime => "xact_time",
        Counter::QueryTime => "query_time",
        Counter::WaitTime => "wait_time",
        Counter::ClientParses => "ps_client_parse_count",
        Counter::ServerParses => "ps_server_parse_count",
        Counter::Binds => "ps_bind_count",
        Counter::Logins => "client_login_count",
        Counter::Spills => "spill_count",
        Counter::SpilledBytes => "spill_bytes",
        Counter::SpillFileBytes => "spill_file_bytes",
        Counter::SpillStops => "spill_stop_count",
        Counter::WaitTimeouts => "wait_timeout_count",
    }
}

/// What happens per second adds up; the time of a transaction or query is a mean, so a database counts as often as
/// it has them.
fn average(stats: &[StatsView]) -> Totals {
    let mut out = Totals::default();
    for view in stats {
        out.add(&view.average);
    }
    out.0[Counter::XactTime as usize] = mean(stats, Counter::XactTime, Counter::Xacts);
    out.0[Counter::QueryTime as usize] = mean(stats, Counter::QueryTime, Counter::Queries);
    out
}

/// The mean of `time`, weighted by `count`. Less than one in a second is shown as 0 but has a time: it weighs 1.
fn mean(stats: &[StatsView], time: Counter, count: Counter) -> u64 {
    let (mut sum, mut weights) = (0_u128, 0_u128);
    for view in stats.iter().filter(|view| view.average.of(time) > 0) {
        let weight = u128::from(view.average.of(count).max(1));
        sum += u128::from(view.average.of(time)) * weight;
        weights += weight;
    }
    sum.checked_div(weights).and_then(|mean| u64::try_from(mean).ok()).unwrap_or(0)
}
