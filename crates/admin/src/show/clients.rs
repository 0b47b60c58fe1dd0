//! `SHOW CLIENTS` and `SHOW SERVERS`.

use std::time::Duration;

use plimsoll_config::Compat;
use plimsoll_pool::SlotState;
use plimsoll_proxy::{ClientState, ClientView, ServerView};

use super::Scene;
use crate::table::{Column, Row, big, cell, flag, int, text};

/// Columns of both.
pub(super) const COLUMNS: &[Column] = &[
    text("type"),
    text("user"),
    text("database"),
    text("replication"),
    text("state"),
    text("addr"),
    int("port"),
    text("local_addr"),
    int("local_port"),
    text("connect_time"),
    text("request_time"),
    int("wait"),
    int("wait_us"),
    int("close_needed"),
    text("ptr"),
    text("link"),
    int("remote_pid"),
    text("tls"),
    text("application_name"),
    int("prepared_statements"),
    int("id"),
];

/// Behind those of `SHOW SERVERS`: which of the secrets of a provider a server connection logged in with.
pub(super) const SERVERS_APPENDED: &[Column] = &[big("credential_epoch")];

/// Clients that are logged in.
pub(super) fn client_rows(scene: &Scene<'_>) -> Vec<Row> {
    let clients = scene.pooler.clients();
    clients.iter().filter_map(|client| Some(client_row(scene, client, client_state(client)?))).collect()
}

/// PgBouncer does not list a client that is still logging in.
fn client_state(client: &ClientView) -> Option<&'static str> {
    match (client.state, client.link) {
        (ClientState::Login, _) => None,
        (ClientState::Waiting, _) => Some("waiting"),
        (ClientState::Active, Some(_)) => Some("active"),
        (ClientState::Active, None) => Some("idle"),
    }
}

pub(super) fn client_row(scene: &Scene<'_>, client: &ClientView, state: &str) -> Row {
    let (wait_s, wait_us) = split(client.waiting_for);
    vec![
        cell("C"),
        cell(&client.user),
        cell(&client.database),
        cell(client.replication),
        cell(state),
        cell(&client.addr),
        cell(client.port),
        cell(&client.local_addr),
        cell(client.local_port),
        cell(scene.time(client.connected_for)),
        cell(scene.time(client.requested_for)),
        cell(wait_s),
        cell(wait_us),
        flag(false),
        cell(pointer(Some(client.ptr))),
        cell(pointer(client.link)),
        cell(client.remote_pid),
        cell(&client.tls),
        cell(&client.application_name),
        cell(client.prepared),
        cell(client.id),
    ]
}

/// Server connections; those that are on their way out only in our own shape, because PgBouncer has none.
pub(super) fn server_rows(scene: &Scene<'_>) -> Vec<Row> {
    let servers = scene.pooler.servers();
    let compat = scene.plan.own.compat;
    servers
        .iter()
        .filter_map(|server| {
            let mut row = server_row(scene, server, server_state(server, compat)?);
            row.push(server.credential_epoch.map(|epoch| epoch.to_string()));
            Some(row)
        })
        .collect()
}

fn server_state(server: &ServerView, compat: Compat) -> Option<&'static str> {
    match server.state {
        SlotState::Opening => Some("new"),
        SlotState::Idle if server.check_due => Some("used"),
        SlotState::Idle => Some("idle"),
        SlotState::Held => Some("active"),
        SlotState::BeingCanceled => Some("being_canceled"),
        SlotState::Cleaning | SlotState::Checking => Some("tested"),
        SlotState::Closing => own_only("closing", compat),
        SlotState::Lost => own_only("lost", compat),
    }
}

pub(super) fn own_only(state: &'static str, compat: Compat) -> Option<&'static str> {
    match compat {
        Compat::Plimsoll => Some(state),
        Compat::Pgbouncer => None,
    }
}

pub(super) fn server_row(scene: &Scene<'_>, server: &ServerView, state: &str) -> Row {
    vec![
        cell("S"),
        cell(&server.user),
        cell(&server.database),
        cell(server.replication),
        cell(state),
        cell(&server.addr),
        cell(server.port),
        cell(&server.local_addr),
        cell(server.local_port),
        cell(scene.time(server.connected_for)),
        cell(scene.time(server.requested_for)),
        cell(0),
        cell(0),
        flag(server.close_needed),
        cell(pointer(Some(server.ptr))),
        cell(pointer(server.link)),
        cell(server.pid),
        cell(&server.tls),
        cell(&server.application_name),
        cell(server.prepared),
        cell(server.id),
    ]
}

/// Whole seconds and the microseconds left over.
pub(super) fn split(wait: Duration) -> (u64, u32) {
    (wait.as_secs(), wait.subsec_micros())
}

fn pointer(ptr: Option<u64>) -> String {
    ptr.map(|ptr| format!("{ptr:#x}")).unwrap_or_default()
}
