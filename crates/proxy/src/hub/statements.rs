//! Statements that clients of all workers share.

use std::sync::Arc;

use parking_lot::Mutex;
use plimsoll_config::Compat;
use plimsoll_session::{Statement, StatementTable, Statements};

use crate::ledger::Flood;

/// The table of statements behind its lock.
#[derive(Debug)]
pub(crate) struct SharedStatements {
    table: Mutex<StatementTable>,
    flood: Flood,
}

impl SharedStatements {
    /// None yet; whose shape everything has is also the beginning of their names at the servers.
    pub(super) fn new(compat: Compat) -> SharedStatements {
        let prefix = match compat {
            Compat::Plimsoll => "PLIMSOLL_",
            Compat::Pgbouncer => "PGBOUNCER_",
        };
        SharedStatements { table: Mutex::new(StatementTable::new(prefix)), flood: Flood::new(compat) }
    }
}

impl SharedStatements {
    /// The table, for statements that come from another process.
    pub(crate) fn table(&self) -> parking_lot::MutexGuard<'_, StatementTable> {
        self.table.lock()
    }
}

impl Statements for SharedStatements {
    fn intern(&self, text_and_types: &[u8], reading: &str) -> Arc<Statement> {
        let mut table = self.table.lock();
        let before = table.len();
        let statement = table.intern(text_and_types, reading);
        let is_new = table.len() > before;
        drop(table);
        if is_new {
            self.flood.handle_new(statement.text());
        }
        statement
    }
}
