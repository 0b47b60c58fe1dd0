//! `SHOW STATS`, `SHOW STATS_TOTALS`, `SHOW STATS_AVERAGES`.

use plimsoll_proxy::{Counter, StatsView, Totals};

use super::{CONSOLE, Scene, with_console};
use crate::table::{Column, Row, cell, numeric, text};

pub(super) const COLUMNS: &[Column] = &[
    text("database"),
    numeric("total_server_assignment_count"),
    numeric("total_xact_count"),
    numeric("total_query_count"),
    numeric("total_received"),
    numeric("total_sent"),
    numeric("total_xact_time"),
    numeric("total_query_time"),
    numeric("total_wait_time"),
    numeric("total_client_parse_count"),
    numeric("total_server_parse_count"),
    numeric("total_bind_count"),
    numeric("total_client_login_count"),
    numeric("avg_server_assignment_count"),
    numeric("avg_xact_count"),
    numeric("avg_query_count"),
    numeric("avg_recv"),
    numeric("avg_sent"),
    numeric("avg_xact_time"),
    numeric("avg_query_time"),
    numeric("avg_wait_time"),
    numeric("avg_client_parse_count"),
    numeric("avg_server_parse_count"),
    numeric("avg_bind_count"),
    numeric("avg_client_login_count"),
];

pub(super) const TOTALS: &[Column] = &[
    text("database"),
    numeric("server_assignment_count"),
    numeric("xact_count"),
    numeric("query_count"),
    numeric("bytes_received"),
    numeric("bytes_sent"),
    numeric("xact_time"),
    numeric("query_time"),
    numeric("wait_time"),
    numeric("client_parse_count"),
    numeric("server_parse_count"),
    numeric("bind_count"),
    numeric("client_login_count"),
];

pub(super) const AVERAGES: &[Column] = &[
    text("database"),
    numeric("server_assignment_count"),
    numeric("xact_count"),
    numeric("query_count"),
    numeric("bytes_received"),
    numeric("bytes_sent"),
    numeric("xact_time"),
    numeric("query_time"),
    numeric("wait_time"),
    numeric("avg_client_parse_count"),
    numeric("avg_server_parse_count"),
    numeric("avg_bind_count"),
    numeric("avg_client_login_count"),
];

/// Results that were not read, and what became of them.
pub(super) const APPENDED: &[Column] = &[
    numeric("total_spill_count"),
    numeric("total_spill_bytes"),
    numeric("total_spill_file_bytes"),
    numeric("total_spill_stop_count"),
];

pub(super) const TOTALS_APPENDED: &[Column] = &[
    numeric("spill_count"),
    numeric("spill_bytes"),
    numeric("spill_file_bytes"),
    numeric("spill_stop_count"),
];

/// Ours, behind them.
const OURS: [Counter; 4] =
    [Counter::Spills, Counter::SpilledBytes, Counter::SpillFileBytes, Counter::SpillStops];

/// The counters, in the order in which all three show them.
pub(super) const ORDER: [Counter; 12] = [
    Counter::Assignments,
    Counter::Xacts,
    Counter::Queries,
    Counter::Received,
    Counter::Sent,
    Counter::XactTime,
    Counter::QueryTime,
    Counter::WaitTime,
    Counter::ClientParses,
    Counter::ServerParses,
    Counter::Binds,
    Counter::Logins,
];

pub(super) fn rows(scene: &Scene<'_>) -> Vec<Row> {
    table(scene, &[|view| &view.total, |view| &view.average])
}

pub(super) fn total_rows(scene: &Scene<'_>) -> Vec<Row> {
    table(scene, &[|view| &view.total])
}

pub(super) fn average_rows(scene: &Scene<'_>) -> Vec<Row> {
    let mut rows = table(scene, &[|view| &view.average]);
    rows.iter_mut().for_each(|row| row.truncate(AVERAGES.len()));
    rows
}

type Part = fn(&StatsView) -> &Totals;

fn table(scene: &Scene<'_>, parts: &[Part]) -> Vec<Row> {
    let row = |view: &StatsView| {
        let mut row = vec![cell(&view.database)];
        for part in parts {
            row.extend(ORDER.map(|counter| cell(part(view).of(counter))));
        }
        row.extend(OURS.map(|counter| cell(view.total.of(counter))));
        row
    };
    let stats = scene.pooler.stats();
    let rows = stats.iter().map(|view| (&*view.database, row(view))).collect();
    with_console(rows, (CONSOLE, row(&console(scene))))
}

/// The console's own figures: its commands count as queries and transactions, its time and bytes do not count, and
/// it has no averages.
pub(super) fn console(scene: &Scene<'_>) -> StatsView {
    let mut total = Totals::default();
    for (counter, value) in [
        (Counter::Xacts, scene.figures.commands),
        (Counter::Queries, scene.figures.commands),
        (Counter::Logins, scene.figures.logins),
    ] {
        total.0[counter as usize] = value;
    }
    StatsView { database: CONSOLE.into(), total, average: Totals::default() }
}
