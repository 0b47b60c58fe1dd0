//! What was done about holds, by a policy or by hand, in fixed memory.

use std::collections::VecDeque;

use plimsoll_types::{HoldId, Moment};

use super::Who;
use crate::holds::HoldState;
use crate::site::SiteId;

/// How many are remembered.
pub const DEEDS_MAX: usize = 1000;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// The log was told.
    Warned,
    /// The statement was cancelled; the connection is taken when the server has dealt with that.
    Cancelled,
    /// What was begun is rolled back, and the server connection is not the client's any more.
    Taken,
    /// The client was closed.
    Closed,
    /// Nothing: the server works for the client.
    Busy,
    /// Nothing: the session would lose what it has at the server.
    Keeps,
    /// Nothing: it had been used again, or given back, by then.
    Over,
}

impl What {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            What::Warned => "warned",
            What::Cancelled => "statement cancelled",
            What::Taken => "taken",
            What::Closed => "client closed",
            What::Busy => "nothing: the server works for it",
            What::Keeps => "nothing: the session would lose what it has at the server",
            What::Over => "nothing: it was used again or given back meanwhile",
        }
    }
}

/// Something that was done about a hold.
#[derive(Clone, Debug)]
pub struct Deed {
    /// When.
    pub at: Moment,
    /// Which hold.
    pub hold: HoldId,
    /// Whose it was.
    pub who: Who,
    /// Its site.
    pub site: SiteId,
    /// What it was doing.
    pub state: HoldState,
    /// For how long it had not been used, microseconds.
    pub unused_us: u64,
    /// By which policy, or by whom.
    pub by: String,
    /// What came of it.
    pub what: What,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Deeds(VecDeque<Deed>);

impl Deeds {
    pub(super) fn push(&mut self, deed: Deed) {
        if self.0.len() >= DEEDS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(deed);
    }

    /// The newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Deed> {
        self.0.iter().rev()
    }
}
