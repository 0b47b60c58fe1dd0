//! What a policy wants done about a hold that is kept and not used.

use plimsoll_types::{Moment, Pin};

use crate::holds::{HoldState, Progress};

/// How long nobody has used what is held, microseconds; `None`: it is being used.
///
/// What counts is the client's rest: since it last said or heard something, or, where an answer waits for it, since it
/// last took some of that. A statement that runs is no rest, however long it runs.
///
/// A replication connection is its client's from its login to its end: that it rests says nothing.
pub fn unused_us(progress: &Progress, now: Moment) -> Option<u64> {
    if progress.pins.has(Pin::Replication) {
        return None;
    }
    let since = match progress.state {
        HoldState::InTransaction
        | HoldState::InFailedTransaction
        | HoldState::IdleInSession
        | HoldState::ClientNotSending => progress.used,
        HoldState::ClientNotReading => progress.client_took.max(progress.unread_since),
        HoldState::Executing | HoldState::Cleaning | HoldState::Draining => return None,
    };
    Some(now.0.saturating_sub(since.0))
}

/// The limits of a policy, microseconds; `None` is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `leak_warn_after`.
    pub warn: Option<u64>,
    /// `leak_cancel_after`.
    pub cancel: Option<u64>,
    /// `leak_close_after`.
    pub close: Option<u64>,
}

/// What is due, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Due {
    /// The log is told.
    Warn,
    /// What was begun is cancelled and rolled back, and the connection taken.
    Cancel,
    /// The client is closed.
    Close,
}

impl Limits {
    /// The most that is due for a hold that was not used for so long.
    pub fn due(&self, unused_us: u64) -> Option<Due> {
        let over = |limit: Option<u64>| limit.is_some_and(|limit| unused_us >= limit);
        if over(self.close) {
            Some(Due::Close)
        } else if over(self.cancel) {
            Some(Due::Cancel)
        } else {
            over(self.warn).then_some(Due::Warn)
        }
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_types::{Moment, Pin, Pins};

    use super::{Due, Limits, unused_us};
    use crate::holds::{HoldState, Progress};

    #[test]
    fn what_rests_is_unused_and_what_works_is_not() {
        let now = Moment(100);
        let progress = |state| Progress {
            state,
            client_took: Moment(60),
            unread_since: Moment(20),
            ..Progress::begin(Moment(10))
        };
        for state in [
            HoldState::InTransaction,
            HoldState::InFailedTransaction,
            HoldState::IdleInSession,
            HoldState::ClientNotSending,
        ] {
            assert_eq!(unused_us(&progress(state), now), Some(90), "{state:?}");
        }
        assert_eq!(unused_us(&progress(HoldState::ClientNotReading), now), Some(40));
        for state in [HoldState::Executing, HoldState::Cleaning, HoldState::Draining] {
            assert_eq!(unused_us(&progress(state), now), None, "{state:?}");
        }
    }

    #[test]
    fn a_replication_connection_is_never_unused() {
        let pins = Pins::NONE.with(Pin::Replication);
        for state in [HoldState::IdleInSession, HoldState::ClientNotReading, HoldState::InTransaction] {
            let progress = Progress { state, pins, ..Progress::begin(Moment(1)) };
            assert_eq!(unused_us(&progress, Moment(u64::MAX)), None, "{state:?}");
        }
    }

    #[test]
    fn the_most_that_is_due_is_done() {
        let limits = Limits { warn: Some(10), cancel: Some(20), close: Some(30) };
        let due = |us| limits.due(us);
        assert_eq!(
            [due(9), due(10), due(20), due(30)],
            [None, Some(Due::Warn), Some(Due::Cancel), Some(Due::Close)]
        );
        assert_eq!(Limits::default().due(u64::MAX), None);
        // Closing alone, or sooner than cancelling: what is written down counts.
        assert_eq!(Limits { close: Some(5), ..limits }.due(6), Some(Due::Close));
    }
}
