//! `SHOW LISTS`.

use super::{Scene, users};
use crate::table::{Column, Row, cell, int, text};

pub(super) const COLUMNS: &[Column] = &[text("list"), int("items")];

/// Zones and a cache of free clients and servers do not exist here (an idle server connection is a used entry of
/// PgBouncer's cache, too): their lines are there, because scripts look for them,
/// and are truly 0.
pub(super) fn rows(scene: &Scene<'_>) -> Vec<Row> {
    let lists = scene.pooler.lists();
    let users = users::names(&scene.plan).len() as u64;
    let peers = scene.pooler.peers();
    let peer_pools = peers.iter().filter(|peer| peer.traffic.is_some()).count() as u64;
    let items = [
        ("databases", lists.databases),
        ("users", users),
        ("peers", peers.len() as u64),
        ("pools", lists.pools),
        ("peer_pools", peer_pools),
        ("free_clients", 0),
        ("used_clients", lists.used_clients),
        ("login_clients", lists.login_clients),
        ("free_servers", 0),
        ("used_servers", lists.used_servers),
        ("dns_names", lists.dns_names),
        ("dns_zones", 0),
        ("dns_queries", lists.dns_pending),
        ("dns_pending", lists.dns_pending),
    ];
    items.into_iter().map(|(list, count)| vec![cell(list), cell(count)]).collect()
}
