//! The open holds of one worker.

use plimsoll_types::{ClientId, HoldId, Moment, Pins, PoolId, SlotId};

/// Where the text of a statement comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// From this statement itself.
    Here,
    /// From the Parse of a prepared statement, so many executions of it ago: a comment in it belongs to whoever
    /// prepared it.
    Parsed {
        /// Executions by this client since its Parse, this one not counted; 0 is as good as `Here`.
        executions: u32,
    },
    /// The text is not known.
    None,
}

/// What a hold is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldState {
    /// The server works on a statement.
    Executing,
    /// In a transaction, nothing running.
    InTransaction,
    /// In a failed transaction, nothing running.
    InFailedTransaction,
    /// Session pooling, nothing running.
    IdleInSession,
    /// The server has sent more than the client has taken.
    ClientNotReading,
    /// A batch (or COPY) was begun and its rest does not come.
    ClientNotSending,
    /// The client has gone; the connection is being cleaned.
    Cleaning,
    /// The connection is being closed.
    Draining,
}

/// What is known when a hold begins.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// Which hold.
    pub hold: HoldId,
    /// Who.
    pub client: ClientId,
    /// Of which pool.
    pub pool: PoolId,
    /// Which server connection: its place.
    pub slot: SlotId,
    /// Its number, unique for the life of the process.
    pub server: u64,
    /// Its backend process id.
    pub pid: u32,
    /// When it was opened.
    pub server_opened: Moment,
    /// When the client asked for it.
    pub asked: Moment,
    /// When it was granted.
    pub granted: Moment,
}

/// A statement as it goes by.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Its text, or the beginning of it.
    pub text: &'a [u8],
    /// Bytes of the whole text.
    pub bytes: usize,
    /// Where the text is from.
    pub provenance: Provenance,
}

/// How a hold is getting on: the caller keeps these and hands them over now and then.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What it is doing.
    pub state: HoldState,
    /// Why it cannot be given back.
    pub pins: Pins,
    /// When the client or the server last said something.
    pub used: Moment,
    /// When the transaction began; zero when there is none.
    pub xact_since: Moment,
    /// Statements begun.
    pub statements: u32,
    /// Rows the server sent.
    pub rows: u64,
    /// Bytes to the server.
    pub to_server: u64,
    /// Bytes to the client.
    pub to_client: u64,
    /// When the client last took a byte.
    pub client_took: Moment,
    /// When the first byte came that it has not taken; zero when there is none.
    pub unread_since: Moment,
    /// Bytes it has not taken, as far as we hold them.
    pub unread_bytes: u64,
}

/// A kept statement: the beginning of its text, raw. To be redacted before anybody sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The first bytes, at most the configured number.
    pub bytes: Vec<u8>,
    /// Bytes of the whole.
    pub total: usize,
    /// Where it is from.
    pub provenance: Provenance,
}
