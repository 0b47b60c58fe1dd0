//! `SHOW MEM`: how many of what there are and what each takes at least, in the shape of PgBouncer's caches. Here nothing
//! is kept for later, so nothing is free.

use plimsoll_proxy::RECORD_BYTES;

use super::Scene;
use crate::table::{Column, Row, cell, int, text};

pub(super) const COLUMNS: &[Column] = &[text("name"), int("size"), int("used"), int("free"), int("memtotal")];

pub(super) fn rows(scene: &Scene<'_>) -> Vec<Row> {
    let lists = scene.pooler.lists();
    let counts = [
        ("db_cache", RECORD_BYTES.database, lists.databases),
        ("pool_cache", RECORD_BYTES.pool, lists.pools),
        ("server_cache", RECORD_BYTES.server, lists.free_servers + lists.used_servers),
        ("client_cache", RECORD_BYTES.client, lists.used_clients + lists.login_clients),
    ];
    let row = |(name, size, used): (&str, usize, u64)| {
        vec![cell(name), cell(size), cell(used), cell(0), cell(size as u64 * used)]
    };
    counts.into_iter().map(row).collect()
}
