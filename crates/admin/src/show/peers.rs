//! `SHOW PEERS` and `SHOW PEER_POOLS`.

use super::Scene;
use crate::table::{Column, Row, cell, int, text};

pub(super) const PEERS: &[Column] = &[int("peer_id"), text("host"), int("port"), int("pool_size")];

pub(super) const POOLS: &[Column] = &[
    int("peer_id"),
    int("cl_active_cancel_req"),
    int("cl_waiting_cancel_req"),
    int("sv_active_cancel"),
    int("sv_login"),
];

pub(super) fn rows(scene: &Scene<'_>) -> Vec<Row> {
    let peers = scene.pooler.peers().into_iter();
    peers.map(|peer| vec![cell(peer.id), cell(peer.host), cell(peer.port), cell(peer.pool_size)]).collect()
}

/// Those to which something has been passed on. Nobody logs in at a peer: a cancel request is all that it is sent.
pub(super) fn pool_rows(scene: &Scene<'_>) -> Vec<Row> {
    let used = scene.pooler.peers().into_iter().filter_map(|peer| Some((peer.id, peer.traffic?)));
    used.map(|(id, it)| vec![cell(id), cell(it.active), cell(it.waiting), cell(it.active), cell(0)]).collect()
}
