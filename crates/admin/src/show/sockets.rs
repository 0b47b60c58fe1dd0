//! `SHOW SOCKETS`, `SHOW ACTIVE_SOCKETS`, `SHOW FDS`.

use super::{Scene, clients};
use crate::table::{Column, Row, big, bytes, cell, int, text};

/// Those of `SHOW CLIENTS` and seven positions in PgBouncer's buffers.
pub(super) const COLUMNS: &[Column] = &const {
    let mut all = [text(""); clients::COLUMNS.len() + POSITIONS.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = match at.checked_sub(clients::COLUMNS.len()) {
            None => clients::COLUMNS[at],
            Some(position) => POSITIONS[position],
        };
        at += 1;
    }
    all
};

const POSITIONS: [Column; 7] = [
    int("recv_pos"),
    int("pkt_pos"),
    int("pkt_remain"),
    int("send_pos"),
    int("send_remain"),
    int("pkt_avail"),
    int("send_avail"),
];

/// Where the state stands in a row.
const STATE: usize = 4;

/// All sockets. Buffers belong to the workers here and are empty between two events, so all positions are 0.
pub(super) fn rows(scene: &Scene<'_>) -> Vec<Row> {
    let clients = clients::client_rows(scene).into_iter().map(|row| row_of(row, "cl_"));
    clients.chain(clients::server_rows(scene).into_iter().map(|row| row_of(row, "sv_"))).collect()
}

/// Sockets on which something is under way.
pub(super) fn active_rows(scene: &Scene<'_>) -> Vec<Row> {
    let is_active = |row: &Row| {
        matches!(row[STATE].as_deref(), Some("cl_active" | "sv_active" | "sv_login" | "sv_tested"))
    };
    rows(scene).into_iter().filter(is_active).collect()
}

fn row_of(mut row: Row, side: &str) -> Row {
    row[STATE] = row[STATE].as_deref().map(|state| match state {
        "new" => format!("{side}login"),
        // A client without a server connection is active in this table.
        "idle" if side == "cl_" => "cl_active".to_string(),
        state => format!("{side}{state}"),
    });
    row.extend(POSITIONS.map(|_| cell(0)));
    row
}

pub(super) const FDS: &[Column] = &[
    int("fd"),
    text("task"),
    text("user"),
    text("database"),
    text("addr"),
    int("port"),
    big("cancel"),
    int("link"),
    text("client_encoding"),
    text("std_strings"),
    text("datestyle"),
    text("timezone"),
    text("password"),
    bytes("scram_client_key"),
    bytes("scram_server_key"),
];

/// For a process that takes over, which there is not yet; file descriptors and secrets are nobody else's business.
pub(super) fn fd_rows(_: &Scene<'_>) -> Vec<Row> {
    Vec::new()
}
