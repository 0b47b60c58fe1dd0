//! What the ledger hears of what goes by: which statements began, how many rows came.

use std::ops::Range;
use std::sync::Arc;

use crate::statements::Statement;

/// Whether anything is noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Noting {
    /// Nothing: there is no ledger.
    #[default]
    Off,
    /// Everything.
    On,
}

/// What went by since the caller last took it.
#[derive(Debug, Default)]
pub struct Noted {
    /// Queries, function calls and executions begun.
    pub statements: u32,
    /// Rows sent to the client.
    pub rows: u32,
    /// The first statement of this call of `on_client`.
    pub first: Option<Seen>,
    /// The last one, if there was another.
    pub last: Option<Seen>,
}

/// A statement as it goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where its text is.
    pub text: SeenText,
    /// How often this client has executed it before, since its Parse.
    pub executions: u32,
    /// What is known of it at a glance.
    pub kind: Kind,
}

/// What is known of a statement at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One SELECT, INSERT, UPDATE, DELETE or COMMIT, and nothing behind it.
    Plain,
    /// Anything.
    Any,
}

/// Where the text of a statement is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenText {
    /// In the input of this call.
    Input {
        /// Its bytes, as far as they are there; without the zero at its end.
        range: Range<usize>,
        /// Bytes of the whole text.
        bytes: usize,
    },
    /// It was prepared earlier.
    Prepared(Arc<Statement>),
    /// Prepared in a way that nobody looked at.
    Unknown,
}

impl Noted {
    /// Forgets texts that were not taken: they speak of an input that is gone.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if self.first.is_some() {
            self.first = None;
            self.last = None;
        }
    }

    /// A text goes by.
    pub(crate) fn see(&mut self, text: SeenText, executions: u32, kind: Kind) {
        let seen = Seen { text, executions, kind };
        match self.first {
            None => self.first = Some(seen),
            Some(_) => self.last = Some(seen),
        }
    }

    /// A statement begins; if its text was never seen, that is noted too.
    pub(crate) fn begin(&mut self) {
        self.statements += 1;
        if self.first.is_none() {
            self.see(SeenText::Unknown, 0, Kind::Any);
        }
    }
}
