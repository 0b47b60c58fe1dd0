//! The nouns every other crate shares: ids, time, units, SQLSTATE, [`Cause`], [`Secret`].
//!
//! Nothing here does I/O, reads a clock or knows a policy.

mod cause;
mod evidence;
mod id;
mod moment;
mod pam;
mod pins;
mod secret;
mod sqlstate;
mod ssl_mode;

pub use cause::{Cause, Severity, Side, View};
pub use evidence::Evidence;
pub use id::{ClientId, DatabaseId, HoldId, PoolId, SlotId, TargetId, Ticket, UserId, WorkerId};
pub use moment::Moment;
pub use pam::is_pam_service;
pub use pins::{Pin, Pins};
pub use secret::Secret;
pub use sqlstate::SqlState;
pub use ssl_mode::SslMode;

/// How long a client keeps a server connection (`pool_mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PoolMode {
    /// From the first query until the client leaves.
    #[default]
    Session,
    /// From the first message of a transaction to its end.
    Transaction,
    /// For one statement; transactions of several statements are refused.
    Statement,
}

impl PoolMode {
    /// The word the ini file and `SHOW` use.
    pub fn as_str(self) -> &'static str {
        match self {
            PoolMode::Session => "session",
            PoolMode::Transaction => "transaction",
            PoolMode::Statement => "statement",
        }
    }
}

/// Transaction status byte of ReadyForQuery (PostgreSQL manual, "Message Formats").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TxState {
    /// `I`: not in a transaction.
    #[default]
    Idle,
    /// `T`: in a transaction.
    Open,
    /// `E`: in a failed transaction.
    Failed,
}

impl TxState {
    /// Reads the status byte; `None` for a byte the protocol does not know.
    pub fn from_byte(byte: u8) -> Option<TxState> {
        match byte {
            b'I' => Some(TxState::Idle),
            b'T' => Some(TxState::Open),
            b'E' => Some(TxState::Failed),
            _ => None,
        }
    }
}
