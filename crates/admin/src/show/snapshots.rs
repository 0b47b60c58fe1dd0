//! `SHOW SNAPSHOT` and `SHOW SNAPSHOTS`: what is held now as a document, and those that the black box has kept.

use std::time::SystemTime;

use plimsoll_ledger::snapshot::{Snapshot, Wall};
use plimsoll_proxy::Level;

use crate::blackbox::KeptView;
use crate::table::{Column, Table, big, cell, text};

const SNAPSHOTS: &[Column] =
    &[text("name"), text("taken"), big("age_us"), text("reason"), big("bytes"), text("run")];

/// The kept ones, the newest first.
pub(crate) fn snapshots(kept: &[KeptView]) -> Table {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = Wall::from_micros(i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX));
    let row = |kept: &KeptView| {
        vec![
            cell(&kept.name),
            cell(kept.taken.to_second()),
            cell(now.micros_since(kept.taken).max(0)),
            cell(kept.reason.as_str()),
            cell(kept.bytes),
            cell(kept.run.as_str()),
        ]
    };
    Table { columns: SNAPSHOTS.to_vec(), rows: kept.iter().map(row).collect() }
}

/// A snapshot as far as the reader may see it.
pub(crate) fn seen(snapshot: Snapshot, level: Level) -> Snapshot {
    match level {
        Level::Admin => snapshot,
        Level::Stats => snapshot.without_statements(),
    }
}
