//! What was done about holds, by a policy or by hand, in fixed memory.

use std::collections::{BTreeMap, VecDeque};

use plimsoll_types::{HoldId, Moment};

use super::Who;
use crate::holds::{HoldCopy, HoldState};
use crate::policy::unused_us;
use crate::site::SiteId;

/// How many are remembered.
pub const DEEDS_MAX: usize = 1000;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// The log was told.
    Warned,
    /// The statement was cancelled; the connection is taken when the server has dealt with that.
    Cancelled,
    /// What was begun is rolled back, and the server connection is not the client's any more.
    Taken,
    /// The client was closed.
    Closed,
    /// Nothing: the server works for the client, is in the middle of an answer, or has done something it has not been
    /// told of.
    Busy,
    /// Nothing: the session would lose what it has at the server.
    Keeps,
    /// Nothing: it had been used again, or given back, by then.
    Over,
}

impl What {
    /// All of them.
    pub const ALL: [What; 7] =
        [What::Warned, What::Cancelled, What::Taken, What::Closed, What::Busy, What::Keeps, What::Over];

    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            What::Warned => "warned",
            What::Cancelled => "cancelled",
            What::Taken => "taken",
            What::Closed => "closed",
            What::Busy => "busy",
            What::Keeps => "keeps",
            What::Over => "over",
        }
    }

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            What::Warned => "warned",
            What::Cancelled => "statement cancelled",
            What::Taken => "taken",
            What::Closed => "client closed",
            What::Busy => "nothing: the server is not done with it",
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

impl Deed {
    /// What came, now, of what `by` did about a hold of `who`.
    pub fn of(hold: &HoldCopy, who: Who, by: String, what: What, now: Moment) -> Deed {
        Deed {
            at: now,
            hold: hold.opening.hold,
            who,
            site: hold.site,
            state: hold.progress.state,
            unused_us: unused_us(&hold.progress, now).unwrap_or(0),
            by,
            what,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    latest: VecDeque<Deed>,
    /// All there have been.
    counts: BTreeMap<What, u64>,
}

impl Deeds {
    pub(super) fn push(&mut self, deed: Deed) {
        *self.counts.entry(deed.what).or_default() += 1;
        if self.latest.len() >= DEEDS_MAX {
            self.latest.pop_front();
        }
        self.latest.push_back(deed);
    }

    /// How many there have been of a kind.
    pub(super) fn count(&self, what: What) -> u64 {
        self.counts.get(&what).copied().unwrap_or(0)
    }

    /// The newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Deed> {
        self.latest.iter().rev()
    }
}
