//! The messages of an answer, put together.

use plimsoll_wire::{HEADER_BYTES, back};

use crate::failure::Said;
use crate::table::{Column, Kind, Row, Table};

/// Most bytes of rows of one answer: 50,000 holds are a tenth of it.
const ROW_BYTES_MAX: usize = 512 << 20;

/// What has come so far.
#[derive(Debug, Default)]
pub(super) struct Answer {
    table: Table,
    row_bytes: usize,
    said: Option<Said>,
}

impl Answer {
    /// Takes a message in.
    ///
    /// # Errors
    /// It is none that can come here.
    pub(super) fn take(&mut self, message: &[u8]) -> Result<(), &'static str> {
        match message.first() {
            Some(&back::ROW_DESCRIPTION) => {
                self.table.columns = columns(message).ok_or("a description of rows that is none")?;
            }
            Some(&back::DATA_ROW) => {
                self.row_bytes = self.row_bytes.saturating_add(message.len());
                if self.row_bytes > ROW_BYTES_MAX {
                    return Err("an answer without end");
                }
                let row: Row = back::data_row(message).map(|value| value.map(text)).collect();
                if row.len() != self.table.columns.len() {
                    return Err("a row that does not fit its description");
                }
                self.table.rows.push(row);
            }
            Some(&back::ERROR_RESPONSE) => self.said = Some(said(message)),
            Some(
                &(back::COMMAND_COMPLETE
                | back::EMPTY_QUERY_RESPONSE
                | back::NOTICE_RESPONSE
                | back::PARAMETER_STATUS),
            ) => {}
            _ => return Err("a message that has no place in an answer"),
        }
        Ok(())
    }

    /// What it was.
    pub(super) fn finish(self) -> Result<Table, Said> {
        match self.said {
            Some(said) => Err(said),
            None => Ok(self.table),
        }
    }
}

/// The fields of an ErrorResponse that people read.
pub(super) fn said(message: &[u8]) -> Said {
    let mut said = Said::default();
    for (field, value) in back::error_fields(message) {
        match field {
            b'C' => said.sqlstate = text(value),
            b'M' => said.message = text(value),
            b'H' => said.hint = text(value),
            _ => {}
        }
    }
    said
}

/// Whether the session is over with this ErrorResponse.
pub(super) fn is_fatal(message: &[u8]) -> bool {
    back::error_fields(message).any(|(field, value)| field == b'S' && matches!(value, b"FATAL" | b"PANIC"))
}

/// RowDescription: a count, then for each column a name and 18 bytes, of which the type's OID is the third field.
fn columns(message: &[u8]) -> Option<Vec<Column>> {
    let (count, mut rest) = message.get(HEADER_BYTES..)?.split_first_chunk::<2>()?;
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let end = rest.iter().position(|byte| *byte == 0)?;
        let (name, behind) = rest.split_at(end);
        let (fields, behind) = behind.get(1..)?.split_first_chunk::<18>()?;
        let &[_, _, _, _, _, _, a, b, c, d, ..] = fields;
        columns.push(Column { name: text(name), kind: Kind::of(u32::from_be_bytes([a, b, c, d])) });
        rest = behind;
    }
    Some(columns)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
