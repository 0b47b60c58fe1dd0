//! An order to a client's task to give up its server connection: by a policy, or by an administrator.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use plimsoll_ledger::{Deed, HoldCopy, What, policy};
use plimsoll_types::{HoldId, Moment};

use crate::entry::ClientEntry;
use crate::hub::Hub;
use crate::ledger::{application, who_of};
use crate::server::ServerConn;
use crate::views;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// Of which hold: any other is none of its business.
    pub(crate) hold: HoldId,
    /// Nothing is done if the connection has been used since.
    pub(crate) unused_since: Option<Moment>,
    pub(crate) want: Want,
    pub(crate) force: Force,
    /// Which policy, or who.
    pub(crate) by: Arc<str>,
    /// DETAIL of what the client is told.
    pub(crate) why: Arc<str>,
    /// What has come of it so far.
    pub(crate) done: Arc<Done>,
}

/// What is to become of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// It stays, without its server connection.
    Take,
    /// It goes.
    Close,
}

/// Whether something that the server does is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    No,
    Yes,
}

/// What has come of an order; `None`: nothing yet.
#[derive(Debug, Default)]
pub(crate) struct Done(Mutex<Option<What>>);

impl Done {
    pub(crate) fn get(&self) -> Option<What> {
        *self.0.lock()
    }

    pub(crate) fn set(&self, what: What) {
        *self.0.lock() = Some(what);
    }
}

impl Order {
    /// How the hold ends, for the history.
    pub(crate) fn how(&self, what: What) -> String {
        format!("{} by {}", what.as_str(), self.by)
    }

    /// What came of it: told to who has ordered it, and kept in the ledger.
    pub(crate) fn report(&self, hub: &Hub, held: Option<(&ClientEntry, &ServerConn)>, what: What) {
        self.done.set(what);
        if let Some((entry, conn)) = held
            && let Some(hold) = conn.entry.record.lock().copy()
        {
            self.record(hub, entry, conn, &hold, what);
        }
    }

    fn record(&self, hub: &Hub, entry: &ClientEntry, conn: &ServerConn, hold: &HoldCopy, what: What) {
        let now = hub.now();
        let unused_us = policy::unused_us(&hold.progress, now).unwrap_or(0);
        let (prefix, by, state) = (entry.log_prefix(), &self.by, hold.progress.state.as_str());
        let unused = views::age(Duration::from_micros(unused_us));
        let pid = hold.opening.pid;
        match what {
            What::Warned | What::Taken | What::Closed | What::Cancelled | What::Keeps => tracing::warn!(
                "{prefix}{by}: hold {} of server pid {pid}, {state}, not used for {unused}: {}",
                self.hold.0,
                what.as_str()
            ),
            What::Busy | What::Over => {}
        }
        let who = who_of(entry, &conn.entry, application(hub, conn.link.params()));
        hub.ledger.book.lock().note_deed(Deed::of(hold, who, self.by.to_string(), what, now));
    }
}
