//! What a dead client has left: a server connection, on its way to the next client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_types::Moment;

use crate::hub::Hub;

/// Travels with the server connection until that can be used again. One that is dropped before that goes with a
/// connection that is closed, and is counted as such.
pub(crate) struct Bequest {
    hub: Arc<Hub>,
    /// The client's last sign of life.
    heard: Moment,
    fate: Fate,
}

/// What became of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing yet, or it is closed. Next: `Returned`.
    Open,
    /// The next client may have it. Next: none.
    Returned,
}

impl Bequest {
    /// Of a client that was last heard of so long ago.
    pub(crate) fn new(hub: &Arc<Hub>, silent: Duration) -> Bequest {
        let micros = u64::try_from(silent.as_micros()).unwrap_or(u64::MAX);
        let heard = Moment(hub.now().0.saturating_sub(micros));
        Bequest { hub: hub.clone(), heard, fate: Fate::Open }
    }

    /// The connection is clean, and the next client may have it.
    pub(crate) fn note_returned(mut self) {
        self.fate = Fate::Returned;
    }
}

impl Drop for Bequest {
    fn drop(&mut self) {
        match self.fate {
            Fate::Open => self.hub.found.note_closed(),
            Fate::Returned => self.hub.found.note_return(self.hub.now().since(self.heard)),
        }
    }
}

impl fmt::Debug for Bequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bequest")
            .field("heard", &self.heard)
            .field("fate", &self.fate)
            .finish_non_exhaustive()
    }
}
