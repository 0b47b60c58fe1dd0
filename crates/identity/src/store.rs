//! The store: SQLite in a file, or PostgreSQL when several instances share it. One text of SQL for both.
//!
//! Every write that is told to somebody is one transaction with its entry of the audit log, and all of them are one
//! after the other: SQLite has one writer, on PostgreSQL they take an advisory lock. So the numbers of the audit log
//! are in the order of the writes and without a gap, and who follows the log misses none.
//!
//! None of the writing functions is cancel safe: whether something was written is unknown when its future is dropped
//! while it commits. It is written whole or not at all.

mod apps;
mod audit;
mod cells;
mod check;
mod credentials;
mod datasets;
mod facts;
mod grants;
mod listen;
mod noun;
mod open;
mod orgs;
mod read;
mod schema;
mod things;
mod tokens;
mod users;
mod write;

use std::sync::Arc;

use sqlx::AnyPool;
use tokio::sync::Notify;

pub use apps::AppFilter;
pub use audit::AuditFilter;
pub(crate) use check::ACTION_CHARS_MAX;
pub use credentials::{CertificateAsk, CertificateKeys, CredentialFilter, Rotated, Rotation};
pub use datasets::DataSetFilter;
pub use facts::{GrantFact, Holder, KeyFacts, SubjectFacts};
pub use grants::GrantFilter;
pub use open::{Create, StoreOptions};
pub use orgs::OrgFilter;
pub use things::{Put, Thing};
pub use tokens::RevokedToken;
pub use users::UserFilter;

/// Where everything is kept. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    reads: AnyPool,
    writes: AnyPool,
    backend: Backend,
    /// Told of every audited write of this process, and of others' where somebody listens.
    changed: Arc<Notify>,
}

/// What keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    Sqlite,
    Postgres,
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// There is no such thing.
    #[error("there is no such {what}")]
    Missing {
        /// What it would be.
        what: &'static str,
    },
    /// It contradicts what is there.
    #[error("{why}")]
    Conflict {
        /// In what.
        why: String,
    },
    /// It has been changed in between (`If-Match` did not match).
    #[error("it has been changed in between: its version is {version}")]
    Stale {
        /// What its version is now.
        version: i64,
    },
    /// What was given is not right in itself.
    #[error("{field}: {why}")]
    Invalid {
        /// Which part of it.
        field: &'static str,
        /// Why not.
        why: String,
    },
    /// There is no store, or nothing can be reached where it should be: it may be made or come back.
    #[error("{why}")]
    Absent {
        /// What is not there.
        why: String,
    },
    /// This is no store that this program can use; a second try does not help.
    #[error("{why}")]
    Unusable {
        /// Why not.
        why: String,
    },
    /// The database did not do it. A second try may help.
    #[error("the identity store does not answer: {0}")]
    Down(#[from] sqlx::Error),
}

/// Who does something, for the audit log.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// An id, `key KEYID`, or `init`.
    pub actor: &'a str,
    /// From which address.
    pub from: &'a str,
    /// The time, milliseconds since 1970.
    pub now_ms: i64,
}

/// Which part of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// [`Listed::next`] of the part before.
    pub after: Option<String>,
    /// At most how many, 1 to 200.
    pub limit: u32,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Listed<T> {
    /// In the order of their ids, that is of their making; keys in that of their key ids, the audit log from the
    /// newest on.
    pub items: Vec<T>,
    /// What to ask for next; `None`: this was the end.
    pub next: Option<String>,
}
