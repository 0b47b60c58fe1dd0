//! What whoever has a server connection knows of the hold before its record is opened.

use plimsoll_pool::Grant;
use plimsoll_types::{HoldId, Moment};

use crate::liveness::Bequest;
use crate::order::Order;

/// Travels with the server connection.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Which hold.
    pub(crate) hold: HoldId,
    /// When the client asked.
    pub(crate) asked: Moment,
    /// When it was granted.
    pub(crate) granted: Moment,
    /// It is to be taken from its client when the server has dealt with a cancel.
    pub(crate) order: Option<Box<Order>>,
    /// Its client was found dead: to be told what becomes of the connection.
    pub(crate) bequest: Option<Box<Bequest>>,
}

impl Tally {
    /// Nobody holds the connection.
    pub(crate) fn none() -> Tally {
        Tally { hold: HoldId(0), asked: Moment(0), granted: Moment(0), order: None, bequest: None }
    }

    /// A hold begins.
    #[inline]
    pub(crate) fn begin(grant: &Grant, asked: Moment, granted: Moment) -> Tally {
        Tally { hold: grant.hold, asked, granted, order: None, bequest: None }
    }

    /// The connection is clean, and the next client may have it.
    #[inline]
    pub(crate) fn note_returned(&mut self) {
        if let Some(bequest) = self.bequest.take() {
            bequest.note_returned();
        }
    }
}
