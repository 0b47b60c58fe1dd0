//! What goes wrong at servers.

use plimsoll_pool::Failure;
use plimsoll_types::{Cause, SlotId};

use super::{Doing, Event, Kept, World, nth};
use crate::history::What;

impl World {
    pub(crate) fn fault(&mut self, what: &What) {
        let count = self.servers.len();
        match what {
            What::Mood { target, mood } => self.servers[*target as usize % count].mood = *mood,
            What::Foreign { target, ordinary, superusers } => {
                self.servers[*target as usize % count].host(*ordinary, *superusers);
            }
            What::Crash { target, notice_us } => {
                let target = *target as usize % count;
                let slots: Vec<SlotId> =
                    self.servers[target].backends().map(|(_, backend)| backend.slot).collect();
                for slot in slots {
                    self.kill(slot, notice_us * u64::from(slot.index % 3));
                }
            }
            What::Die { nth: n, notice_us } => {
                let alive: Vec<SlotId> =
                    self.connections.keys().copied().filter(|slot| self.is_alive(*slot)).collect();
                if let Some(slot) = nth(&alive, *n) {
                    self.kill(slot, *notice_us);
                }
            }
            _ => {}
        }
    }

    /// A backend dies; we notice after a while.
    pub(crate) fn kill(&mut self, slot: SlotId, notice_us: u64) {
        self.end_backend(slot, 0);
        self.enter(notice_us, Event::Notice(slot));
    }

    /// The end of a connection is noticed.
    pub(crate) fn notice(&mut self, slot: SlotId) -> Kept {
        let Some(connection) = self.connections.get(&slot).copied() else { return Ok(()) };
        self.tell(|| format!("{slot:?} is seen to be dead"));
        match connection.doing {
            Doing::Opening(_) => self.fail(slot, Failure::Connect(Cause::ServerEof)),
            Doing::Cleaning | Doing::Checking => self.fail(slot, Failure::Lost(Cause::ServerEof)),
            Doing::Idle => self.driver.idle_broken(slot, self.now),
            Doing::Held(client, _) => self.hold_breaks(client, slot)?,
            Doing::Closing | Doing::Lost => self.seen_closed(slot),
        }
        Ok(())
    }
}
