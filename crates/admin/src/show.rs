//! `SHOW`: a table of what there is to show, and what a row needs to know.
//!
//! Names, order and types of the columns are PgBouncer 1.25's: whoever reads them by name, by place or by type goes
//! on reading them. What only we have stands behind them and is left out when the shape is PgBouncer's.

mod backends;
mod clients;
mod config;
mod databases;
mod dns;
mod fds;
mod holds;
mod identities;
mod lists;
mod memory;
mod peers;
mod pools;
mod shares;
mod sites;
mod snapshots;
mod sockets;
mod spills;
mod stats;
mod targets;
mod totals;
mod trend;
mod users;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Zoned};
use plimsoll_config::{Compat, Plan};
use plimsoll_proxy::Level;
use plimsoll_types::PoolMode;

use crate::pooler::Pooler;
use crate::table::{Column, Row, Table, big, cell, text};
use crate::version::version;
pub(crate) use backends::{backends, joined};
pub(crate) use holds::{Words, words};
pub(crate) use shares::shares;
pub(crate) use sites::{hosts, tags};
pub(crate) use snapshots::{seen, snapshots};
pub(crate) use trend::name as trend_name;

/// Name of the console's database, its pool and the user of that pool.
pub(crate) const CONSOLE: &str = "pgbouncer";
/// `pool_size` PgBouncer shows for the console.
pub(crate) const CONSOLE_POOL_SIZE: u32 = 2;
/// Pool mode PgBouncer shows for the console.
pub(crate) const CONSOLE_MODE: PoolMode = PoolMode::Statement;

/// What the console counts of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Commands, this one included.
    pub(crate) commands: u64,
    /// Clients that logged in.
    pub(crate) logins: u64,
}

/// What the functions that make rows may look at.
pub(crate) struct Scene<'a> {
    pub(crate) pooler: &'a dyn Pooler,
    pub(crate) plan: Arc<Plan>,
    pub(crate) figures: Figures,
    pub(crate) now: Zoned,
    /// What the reader may see.
    pub(crate) level: Level,
}

impl Scene<'_> {
    /// The time `ago`, as `SHOW CLIENTS` writes it.
    pub(crate) fn time(&self, ago: Duration) -> String {
        let ago = SignedDuration::try_from(ago).unwrap_or(SignedDuration::MAX);
        let then = self.now.checked_sub(ago).unwrap_or_else(|_| self.now.clone());
        then.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
    }

    /// Clients on the console.
    pub(crate) fn console_clients(&self) -> usize {
        self.pooler.console_clients()
    }
}

/// Something to show.
pub(crate) struct Show {
    /// The word after SHOW, in lower case.
    pub(crate) name: &'static str,
    /// PgBouncer's columns.
    pub(crate) columns: &'static [Column],
    /// Ours, behind them.
    pub(crate) appended: &'static [Column],
    rows: fn(&Scene<'_>) -> Vec<Row>,
}

/// All of PgBouncer's.
pub(crate) const SHOWS: &[Show] = &[
    Show {
        name: "active_sockets",
        columns: sockets::COLUMNS,
        appended: sockets::APPENDED,
        rows: sockets::active_rows,
    },
    Show { name: "clients", columns: clients::COLUMNS, appended: &[], rows: clients::client_rows },
    Show { name: "config", columns: config::COLUMNS, appended: &[], rows: config::rows },
    Show { name: "databases", columns: databases::COLUMNS, appended: &[], rows: databases::rows },
    Show { name: "dns_hosts", columns: dns::HOSTS, appended: &[], rows: dns::host_rows },
    Show { name: "dns_zones", columns: dns::ZONES, appended: &[], rows: dns::zone_rows },
    Show { name: "fds", columns: fds::COLUMNS, appended: &[], rows: fds::rows },
    Show { name: "lists", columns: lists::COLUMNS, appended: &[], rows: lists::rows },
    Show { name: "mem", columns: memory::COLUMNS, appended: &[], rows: memory::rows },
    Show { name: "peer_pools", columns: peers::POOLS, appended: &[], rows: peers::pool_rows },
    Show { name: "peers", columns: peers::PEERS, appended: &[], rows: peers::rows },
    Show { name: "pools", columns: pools::COLUMNS, appended: pools::APPENDED, rows: pools::rows },
    Show {
        name: "servers",
        columns: clients::COLUMNS,
        appended: clients::SERVERS_APPENDED,
        rows: clients::server_rows,
    },
    Show { name: "sockets", columns: sockets::COLUMNS, appended: sockets::APPENDED, rows: sockets::rows },
    Show { name: "state", columns: STATE_COLUMNS, appended: &[], rows: state_rows },
    Show { name: "stats", columns: stats::COLUMNS, appended: stats::APPENDED, rows: stats::rows },
    Show { name: "stats_averages", columns: stats::AVERAGES, appended: &[], rows: stats::average_rows },
    Show {
        name: "stats_totals",
        columns: stats::TOTALS,
        appended: stats::TOTALS_APPENDED,
        rows: stats::total_rows,
    },
    Show { name: "totals", columns: totals::COLUMNS, appended: &[], rows: totals::rows },
    Show { name: "users", columns: users::COLUMNS, appended: &[], rows: users::rows },
    Show { name: "version", columns: VERSION_COLUMNS, appended: &[], rows: version_rows },
];

/// What PgBouncer does not have, and what is not shown in its shape.
pub(crate) const OWN_SHOWS: &[Show] =
    &[Show { name: "moves", columns: MOVES_COLUMNS, appended: &[], rows: moves_rows }];

/// The ledger: there in both shapes, since nobody meets it by accident and everybody needs it in a bad night.
pub(crate) const LEDGER_SHOWS: &[Show] = &[
    Show { name: "actions", columns: holds::ACTIONS, appended: &[], rows: holds::action_rows },
    Show { name: "history", columns: holds::HISTORY, appended: &[], rows: holds::history_rows },
    Show { name: "holds", columns: holds::HOLDS, appended: &[], rows: holds::hold_rows },
    Show { name: "leaks", columns: sites::LEAKS, appended: &[], rows: sites::leak_rows },
    Show { name: "liveness", columns: LIVENESS_COLUMNS, appended: &[], rows: liveness_rows },
    Show { name: "pool_keys", columns: targets::POOL_KEYS, appended: &[], rows: targets::key_rows },
    Show { name: "pins", columns: holds::PINS, appended: &[], rows: holds::pin_rows },
    Show { name: "sites", columns: sites::SITES, appended: &[], rows: sites::site_rows },
    Show { name: "identities", columns: identities::COLUMNS, appended: &[], rows: identities::rows },
    Show { name: "spill_store", columns: spills::STORE, appended: &[], rows: spills::store_rows },
    Show { name: "spills", columns: spills::SPILLS, appended: &[], rows: spills::rows },
    Show { name: "targets", columns: targets::TARGETS, appended: &[], rows: targets::target_rows },
    Show { name: "trend", columns: trend::TREND, appended: &[], rows: trend::rows },
    Show { name: "visitors", columns: holds::VISITORS, appended: &[], rows: holds::visitor_rows },
    Show { name: "waiters", columns: holds::WAITERS, appended: &[], rows: holds::waiter_rows },
];

/// Settings of PostgreSQL that drivers ask for without need, and what they hear.
const SETTINGS: &[(&str, &str)] = &[
    ("client_encoding", "UTF-8"),
    ("default_transaction_isolation", "read committed"),
    ("standard_conforming_strings", "on"),
    ("datestyle", "ISO"),
    ("timezone", "GMT"),
    ("extra_float_digits", "2"),
];

/// Whether SET of this key is only heard out: a setting of PostgreSQL, not one of the pooler.
pub(crate) fn is_session_setting(key: &str) -> bool {
    SETTINGS.iter().any(|(name, _)| name.eq_ignore_ascii_case(key))
}

/// The table behind `SHOW what`; `None` when there is nothing of this name.
pub(crate) fn find(what: &str, scene: &Scene<'_>) -> Option<Table> {
    let is_meant = |name: &str| name.eq_ignore_ascii_case(what);
    if let Some((name, value)) = SETTINGS.iter().find(|(name, _)| is_meant(name)) {
        return Some(Table { columns: vec![text(name)], rows: vec![vec![cell(value)]] });
    }
    let own = match scene.plan.own.compat {
        Compat::Plimsoll => OWN_SHOWS,
        Compat::Pgbouncer => &[],
    };
    let show = SHOWS.iter().chain(LEDGER_SHOWS).chain(own).find(|show| is_meant(show.name));
    show.map(|show| table(show, scene))
}

/// `SHOW HOLDS FULL`.
pub(crate) fn holds_in_full(scene: &Scene<'_>) -> Table {
    Table { columns: holds::HOLDS.to_vec(), rows: holds::full_rows(scene) }
}

/// Sections and their lines.
pub(crate) fn sections(lines: Vec<(&'static str, String)>) -> Table {
    let rows = lines.into_iter().map(|(section, line)| vec![cell(section), Some(line)]).collect();
    Table { columns: vec![text("section"), text("line")], rows }
}

/// Sentences.
pub(crate) fn sentences(lines: Vec<String>) -> Table {
    Table { columns: vec![text("line")], rows: lines.into_iter().map(|line| vec![Some(line)]).collect() }
}

fn table(show: &Show, scene: &Scene<'_>) -> Table {
    let mut columns = show.columns.to_vec();
    match scene.plan.own.compat {
        Compat::Plimsoll => columns.extend(show.appended),
        Compat::Pgbouncer => {}
    }
    Table { columns, rows: (show.rows)(scene) }
}

const VERSION_COLUMNS: &[Column] = &[text("version")];

fn version_rows(scene: &Scene<'_>) -> Vec<Row> {
    vec![vec![cell(version(scene.plan.own.compat))]]
}

const STATE_COLUMNS: &[Column] = &[text("key"), text("value")];

fn state_rows(scene: &Scene<'_>) -> Vec<Row> {
    let (paused, suspended) = (scene.pooler.is_paused(), scene.pooler.is_suspended());
    let state = [("active", !paused && !suspended), ("paused", paused), ("suspended", suspended)];
    state.into_iter().map(|(key, value)| vec![cell(key), yes_no(value)]).collect()
}

const MOVES_COLUMNS: &[Column] = &[big("moves")];

/// Sockets that went from one worker to another since the start.
fn moves_rows(scene: &Scene<'_>) -> Vec<Row> {
    vec![vec![cell(scene.pooler.moves())]]
}

const LIVENESS_COLUMNS: &[Column] = &[text("what"), text("by"), big("count")];

/// Who was found dead, by what, and how soon server connections came back.
fn liveness_rows(scene: &Scene<'_>) -> Vec<Row> {
    let found = scene.pooler.found_dead();
    found.into_iter().map(|view| vec![cell(view.what), cell(&view.by), cell(view.count)]).collect()
}

fn yes_no(value: bool) -> Option<String> {
    cell(if value { "yes" } else { "no" })
}

/// Puts the console's row among the others, which are in the order of their names.
fn with_console<T>(rows: Vec<(T, Row)>, console: (T, Row)) -> Vec<Row>
where
    T: Ord,
{
    let mut rows = rows;
    rows.push(console);
    rows.sort_by(|(one, _), (other, _)| one.cmp(other));
    rows.into_iter().map(|(_, row)| row).collect()
}

#[cfg(test)]
mod tests;
