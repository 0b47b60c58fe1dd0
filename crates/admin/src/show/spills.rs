//! `SHOW SPILLS`, `SHOW SPILL_STORE`: results that are off their servers and that nobody has read.

use plimsoll_proxy::SpillView;

use super::Scene;
use super::holds::{C, statement, us, who, who_and, words};
use crate::table::{Column, Row, big, cell, int, text};

pub(super) const SPILLS: &[Column] = who_and![[]
    text("state"),
    big("memory_bytes"),
    big("disk_bytes"),
    big("total_bytes"),
    big("taken_bytes"),
    big("bytes_per_second"),
    big("age_us"),
    text("since"),
    text("statement"),
];

pub(super) fn rows(scene: &Scene<'_>) -> Vec<Row> {
    let words = words(scene.level);
    let row = |spill: &SpillView| {
        let mut row: Row = who(&spill.who).into();
        row.extend([
            cell(spill.state),
            cell(spill.memory),
            cell(spill.disk),
            cell(spill.total),
            cell(spill.taken),
            cell(spill.per_second),
            us(spill.age),
            cell(scene.time(spill.age)),
            statement(spill.statement.as_ref(), words),
        ]);
        row
    };
    scene.pooler.spills().iter().map(row).collect()
}

pub(super) const STORE: &[Column] = &[
    int("spills"),
    int("full"),
    big("memory_bytes"),
    big("spill_memory"),
    big("disk_bytes"),
    big("spill_disk"),
    big("spill_per_client"),
    text("disk_trouble"),
];

pub(super) fn store_rows(scene: &Scene<'_>) -> Vec<Row> {
    let store = scene.pooler.spill_store();
    vec![vec![
        cell(store.spills),
        cell(store.full),
        cell(store.memory.0),
        cell(store.memory.1),
        cell(store.disk.0),
        cell(store.disk.1),
        cell(store.client_max),
        store.trouble,
    ]]
}
