//! `SHOW DATABASES`.

use plimsoll_config::{Host, LoadBalance};
use plimsoll_proxy::DatabaseView;

use super::{CONSOLE, CONSOLE_MODE, CONSOLE_POOL_SIZE, Scene, with_console};
use crate::table::{Cell, Column, Row, cell, flag, int, text};

/// PostgreSQL's port, where a line names neither host nor port.
const POSTGRESQL_PORT: u16 = 5432;

pub(super) const COLUMNS: &[Column] = &[
    text("name"),
    text("host"),
    int("port"),
    text("database"),
    text("force_user"),
    int("pool_size"),
    int("min_pool_size"),
    int("reserve_pool_size"),
    int("server_lifetime"),
    text("pool_mode"),
    text("load_balance_hosts"),
    int("max_connections"),
    int("current_connections"),
    int("max_client_connections"),
    int("current_client_connections"),
    int("paused"),
    int("disabled"),
];

pub(super) fn rows(scene: &Scene<'_>) -> Vec<Row> {
    let databases = scene.pooler.databases();
    let rows = databases.iter().map(|view| (view.config.name.as_str(), row(view))).collect();
    with_console(rows, (CONSOLE, console_row(scene)))
}

fn row(view: &DatabaseView) -> Row {
    let config = &view.config;
    vec![
        cell(&config.name),
        config.host.clone(),
        cell(config.hosts.first().map_or(POSTGRESQL_PORT, port)),
        cell(config.dbname.as_ref().unwrap_or(&config.name)),
        config.user.clone(),
        cell(view.pool_size),
        cell(view.min_pool_size),
        cell(view.reserve_pool_size),
        cell(view.server_lifetime.as_secs()),
        config.pool_mode.map(|mode| mode.as_str().to_string()),
        load_balance(view),
        cell(view.max_connections),
        cell(view.current_connections),
        cell(view.max_client_connections),
        cell(view.current_client_connections),
        flag(view.paused),
        flag(view.disabled),
    ]
}

fn port(host: &Host) -> u16 {
    match host {
        Host::Tcp { port, .. } | Host::Unix { port, .. } => *port,
    }
}

/// NULL unless `host` is a list.
fn load_balance(view: &DatabaseView) -> Cell {
    let policy = match view.config.load_balance.unwrap_or_default() {
        LoadBalance::RoundRobin => "round-robin",
        LoadBalance::Disable => "disable",
    };
    (view.config.hosts.len() > 1).then(|| policy.to_string())
}

fn console_row(scene: &Scene<'_>) -> Row {
    let general = &scene.plan.general;
    vec![
        cell(CONSOLE),
        None,
        cell(general.listen_port),
        cell(CONSOLE),
        cell(CONSOLE),
        cell(CONSOLE_POOL_SIZE),
        cell(general.min_pool_size),
        cell(general.reserve_pool_size),
        cell(general.server_lifetime.as_secs()),
        cell(CONSOLE_MODE.as_str()),
        None,
        cell(general.max_db_connections),
        cell(0),
        cell(general.max_db_client_connections),
        cell(scene.console_clients()),
        flag(false),
        flag(false),
    ]
}
