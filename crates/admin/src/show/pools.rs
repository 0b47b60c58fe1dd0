//! `SHOW POOLS`.

use plimsoll_proxy::PoolView;

use super::clients::split;
use super::{CONSOLE, CONSOLE_MODE, Scene, with_console};
use crate::table::{Column, Row, cell, int, text};

pub(super) const COLUMNS: &[Column] = &[
    text("database"),
    text("user"),
    int("cl_active"),
    int("cl_waiting"),
    int("cl_active_cancel_req"),
    int("cl_waiting_cancel_req"),
    int("sv_active"),
    int("sv_active_cancel"),
    int("sv_being_canceled"),
    int("sv_idle"),
    int("sv_used"),
    int("sv_tested"),
    int("sv_login"),
    int("maxwait"),
    int("maxwait_us"),
    text("pool_mode"),
    text("load_balance_hosts"),
];

/// Server connections we have let go and that still take a place on the server.
pub(super) const APPENDED: &[Column] = &[int("sv_closing"), int("sv_lost")];

pub(super) fn rows(scene: &Scene<'_>) -> Vec<Row> {
    let pools = scene.pooler.pools();
    let rows = pools.iter().map(|view| ((&*view.database, &*view.user), row(view))).collect();
    with_console(rows, ((CONSOLE, CONSOLE), console_row(scene)))
}

fn row(view: &PoolView) -> Row {
    let counts = &view.counts;
    let (maxwait_s, maxwait_us) = split(counts.oldest_wait);
    vec![
        cell(&view.database),
        cell(&view.user),
        cell(view.clients_active),
        cell(view.clients_waiting),
        cell(view.cancels_active),
        cell(view.cancels_waiting),
        cell(counts.held),
        cell(counts.cancels),
        cell(counts.being_canceled),
        cell(counts.idle),
        cell(counts.used),
        cell(counts.tested),
        cell(counts.opening),
        cell(maxwait_s),
        cell(maxwait_us),
        cell(view.mode.as_str()),
        view.load_balance.map(str::to_string),
        cell(counts.closing),
        cell(counts.lost),
    ]
}

fn console_row(scene: &Scene<'_>) -> Row {
    let mut row = vec![cell(CONSOLE), cell(CONSOLE), cell(scene.console_clients())];
    let mode = COLUMNS.iter().position(|column| column.name == "pool_mode").unwrap_or(row.len());
    row.resize(mode, cell(0));
    row.extend([cell(CONSOLE_MODE.as_str()), None, cell(0), cell(0)]);
    row
}
