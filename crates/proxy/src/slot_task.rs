//! Tasks that open, clean, check or close a server connection: each owes the pool a word at its end, and the pool gets
//! one even if the task breaks down. Else the slot would be lost for ever, and with it a place at the server.

use std::sync::Arc;

use plimsoll_types::SlotId;

use crate::hub::Hub;

/// Tells the pool when it is dropped before the work is done.
struct Watch {
    hub: Arc<Hub>,
    /// `None`: the work is done.
    slot: Option<SlotId>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.hub.broke_down(slot);
        }
    }
}

/// Does `work`, which tells the pool what became of the slot when it ends by itself.
pub(crate) async fn watched(hub: Arc<Hub>, slot: SlotId, work: impl Future<Output = ()>) {
    let mut watch = Watch { hub, slot: Some(slot) };
    work.await;
    watch.slot = None;
}
