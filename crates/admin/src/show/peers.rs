//! `SHOW PEERS` and `SHOW PEER_POOLS`.

use super::Scene;
use crate::table::{Column, Row, int, text};

pub(super) const PEERS: &[Column] = &[int("peer_id"), text("host"), int("port"), int("pool_size")];

pub(super) const POOLS: &[Column] = &[
    int("peer_id"),
    int("cl_active_cancel_req"),
    int("cl_waiting_cancel_req"),
    int("sv_active_cancel"),
    int("sv_login"),
];

/// A configuration with peers is refused, so there is none.
pub(super) fn rows(_: &Scene<'_>) -> Vec<Row> {
    Vec::new()
}
