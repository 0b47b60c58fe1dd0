//! `SHOW MEM`.

use super::Scene;
use crate::table::{Column, Row, cell, int, text};

pub(super) const COLUMNS: &[Column] = &[text("name"), int("size"), int("used"), int("free"), int("memtotal")];

/// What there is and what it takes. Nothing is kept for later use, so nothing is ever free.
pub(super) fn rows(scene: &Scene<'_>) -> Vec<Row> {
    let caches = scene.pooler.memory();
    let row = |cache: &crate::pooler::Cache| {
        let total = cache.size.saturating_mul(cache.used);
        vec![cell(cache.name), cell(cache.size), cell(cache.used), cell(0), cell(int4(total))]
    };
    caches.iter().map(row).collect()
}

/// The column is an `int4`.
fn int4(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}
