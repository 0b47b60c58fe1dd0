//! What whoever has a server connection knows of the hold before its record is opened.

use plimsoll_pool::Grant;
use plimsoll_types::{HoldId, Moment};

/// Travels with the server connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    /// Which hold.
    pub(crate) hold: HoldId,
    /// When the client asked.
    pub(crate) asked: Moment,
    /// When it was granted.
    pub(crate) granted: Moment,
}

impl Tally {
    /// Nobody holds the connection.
    pub(crate) fn none() -> Tally {
        Tally { hold: HoldId(0), asked: Moment(0), granted: Moment(0) }
    }

    /// A hold begins.
    #[inline]
    pub(crate) fn begin(grant: &Grant, asked: Moment, granted: Moment) -> Tally {
        Tally { hold: grant.hold, asked, granted }
    }
}
