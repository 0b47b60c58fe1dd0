//! Replies as bytes: whole messages, ReadyForQuery included.

use plimsoll_types::Severity;
use plimsoll_wire::encode::{self, Fields};

use crate::failure::Told;
use crate::table::Table;

/// SQLSTATE of a notice.
const NOTICE_SQLSTATE: &str = "00000";

/// CommandComplete and ReadyForQuery.
pub(crate) fn done(tag: &str) -> Vec<u8> {
    let mut out = Vec::new();
    end(&mut out, tag);
    out
}

/// A notice, then CommandComplete and ReadyForQuery.
pub(crate) fn notice(message: &str, detail: Option<&str>, tag: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let severity = Severity::Notice.as_str();
    encode::notice_response(
        &mut out,
        &Fields { severity, sqlstate: NOTICE_SQLSTATE, message, detail, hint: None },
    );
    end(&mut out, tag);
    out
}

/// An error that leaves the session open.
pub(crate) fn error(told: &Told) -> Vec<u8> {
    let mut out = Vec::new();
    encode::error_response(
        &mut out,
        &Fields {
            severity: Severity::Error.as_str(),
            sqlstate: told.sqlstate.as_str(),
            message: &told.message,
            detail: told.detail.as_deref(),
            hint: told.hint,
        },
    );
    encode::ready_for_query(&mut out, b'I');
    out
}

/// The rows of a SHOW.
pub(crate) fn table(table: &Table) -> Vec<u8> {
    let mut out = Vec::new();
    let columns: Vec<encode::Column<'_>> = table
        .columns
        .iter()
        .map(|column| encode::Column { name: column.name, type_oid: column.kind.oid() })
        .collect();
    encode::row_description(&mut out, &columns);
    for row in &table.rows {
        // A row that is longer than the list of columns carries what only our own shape shows.
        let cells = row.iter().take(columns.len());
        let values: Vec<Option<&[u8]>> = cells.map(|cell| cell.as_deref().map(str::as_bytes)).collect();
        encode::data_row(&mut out, &values);
    }
    end(&mut out, "SHOW");
    out
}

fn end(out: &mut Vec<u8>, tag: &str) {
    encode::command_complete(out, tag);
    encode::ready_for_query(out, b'I');
}
