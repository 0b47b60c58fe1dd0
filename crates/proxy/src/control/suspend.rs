//! SUSPEND: what has come in is dealt with and everything is sent; after that nothing is read from anybody until
//! RESUME.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use plimsoll_types::{Cause, ClientId, Moment};

use super::{CONSOLE, Control};
use crate::console::{ClientState, ControlError};
use crate::entry::ClientEntry;
use crate::hub::{Hub, Phase};

/// Whether traffic is suspended, since when and by whom.
#[derive(Debug, Default)]
pub(crate) struct Suspension {
    /// The same as `state`, for those who look with each turn.
    on: AtomicBool,
    state: Mutex<Option<Suspended>>,
}

#[derive(Clone, Copy, Debug)]
struct Suspended {
    since: Moment,
    /// The console client that will resume, if it is known yet: it ends with it.
    by: Option<ClientId>,
    flush: Flush,
}

/// Whether all that had come in before has been dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    /// Not yet. Next: `Done`, at the latest after `suspend_timeout`.
    Going,
    /// Yes. Who comes now waits for RESUME.
    Done,
}

impl Suspension {
    /// Whether nothing more is to be read from clients and servers.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    fn set(&self, state: Option<Suspended>) {
        let mut held = self.state.lock();
        *held = state;
        self.on.store(state.is_some(), Ordering::Relaxed);
    }
}

impl Control {
    /// `SUSPEND`. The caller waits for [`Until::Flushed`](crate::Until::Flushed).
    ///
    /// # Errors
    /// Shutting down, paused or suspended already, or a database is paused: its clients could never be dealt with.
    pub fn suspend(&self) -> Result<(), ControlError> {
        if self.hub.phase() != Phase::Running {
            return Err(ControlError::ShuttingDown);
        }
        if self.is_paused() || self.is_suspended() {
            return Err(ControlError::AlreadyPaused);
        }
        if self.hub.core.lock().pools.any_paused() {
            return Err(ControlError::DatabasesPaused);
        }
        tracing::info!("SUSPEND command issued");
        let suspended = Suspended { since: self.hub.now(), by: None, flush: Flush::Going };
        self.hub.suspension.set(Some(suspended));
        Ok(())
    }

    /// Whether traffic is suspended.
    pub fn is_suspended(&self) -> bool {
        self.hub.suspension.is_on()
    }

    /// Traffic goes on. Whether it was suspended.
    pub(crate) fn end_suspension(&self) -> bool {
        let was = self.is_suspended();
        self.hub.suspension.set(None);
        if was {
            // Those who have not looked at their sockets since do so now.
            self.hub.clients.lock().values().for_each(|client| client.post(|_| {}));
        }
        was
    }

    /// A console client waits for its SUSPEND: the suspension is its own from now on.
    pub(crate) fn own_suspension(&self, client: ClientId) {
        if let Some(suspended) = &mut *self.hub.suspension.state.lock() {
            suspended.by = Some(client);
        }
    }

    /// A console client has gone; what it has suspended goes on.
    pub(crate) fn console_left(&self, client: ClientId) {
        let owner = self.hub.suspension.state.lock().and_then(|suspended| suspended.by);
        if owner == Some(client) && self.end_suspension() {
            tracing::info!("admin disappeared when suspended, doing RESUME");
        }
    }

    /// Whether nothing is left to be sent, and nobody waits with a query that was read already.
    pub(crate) fn is_flushed(&self) -> bool {
        let flushed = unflushed(&self.hub).is_empty();
        if flushed && let Some(suspended) = &mut *self.hub.suspension.state.lock() {
            suspended.flush = Flush::Done;
        }
        flushed
    }

    /// `suspend_timeout`: clients that could not be dealt with are told so.
    pub(crate) fn end_late_flush(&self) {
        let hub = &self.hub;
        let Some(suspended) = *hub.suspension.state.lock() else { return };
        let is_late = hub.now().since(suspended.since) >= hub.plan().general.suspend_timeout;
        if suspended.flush == Flush::Done || self.is_flushed() || !is_late {
            return;
        }
        for client in unflushed(hub) {
            client.post(|mail| mail.kill = Some(Box::new(Cause::SuspendTimeout)));
        }
    }
}

/// Clients that wait for a server connection, and those that have not taken what their server sent, whether it is
/// theirs still or not.
fn unflushed(hub: &Hub) -> Vec<Arc<ClientEntry>> {
    let clients: Vec<_> = hub.clients.lock().values().cloned().collect();
    let unserved = hub.spills.unserved();
    let has_more = |client: &ClientEntry| unserved.contains(&client.id) || has_more(hub, client);
    clients.into_iter().filter(|client| &*client.database != CONSOLE && has_more(client)).collect()
}

fn has_more(hub: &Hub, client: &ClientEntry) -> bool {
    if client.state() == ClientState::Waiting {
        return true;
    }
    let server = client.held().and_then(|(slot, _)| hub.core.lock().server(slot).cloned());
    server.is_some_and(|server| server.record.lock().progress.unread_bytes > 0)
}
